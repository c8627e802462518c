// Package e2e tests the built program against a real Home Assistant and a real Mosquitto.
//
// Its tests want the build tag e2e, mosquitto with its clients on PATH, and in HOME_ASSISTANT the directories, separated by
// colons, that homeassistant/install.sh installed into:
//
//	internal/e2e/homeassistant/install.sh older /opt/homeassistant-older
//	HOME_ASSISTANT=/opt/homeassistant-older go test -tags e2e ./internal/e2e/
//
// Those of the simulator want, in MSAL_CLIENT, the directory that msalclient/install.sh installed into, and nothing else.
//
// A scenario is a test that puts together what it needs of StartMosquitto, StartHomeAssistant, RunProgram and Subscribe, and waits
// for what must happen with their Await methods. What was started ends with the test, and on failure says what it saw.
package e2e
