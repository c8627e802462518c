// Package e2e tests the built program against a real Home Assistant and a real Mosquitto.
//
// The tests need the build tag e2e, mosquitto and its clients on PATH, and HOME_ASSISTANT: the directories that
// homeassistant/install.sh installed into, separated by colons.
//
//	internal/e2e/homeassistant/install.sh older /opt/homeassistant-older
//	HOME_ASSISTANT=/opt/homeassistant-older go test -tags e2e ./internal/e2e/
//
// Those that look at pages need chromium on PATH. The pictures of the documentation are made by:
//
//	HOME_ASSISTANT=/opt/homeassistant-newest go test -tags e2e ./internal/e2e/ -run TestPictures -pictures "$PWD/docs/pictures"
//
// The tests of the simulator need only GRAPH_CLIENTS: the directory that clients/install.sh installed into.
//
// A test combines StartMosquitto, StartHomeAssistant, NewEnvironment and Subscribe, and waits for events with their Await methods.
// Everything that a test starts ends with it, and prints its recent output if the test failed.
package e2e
