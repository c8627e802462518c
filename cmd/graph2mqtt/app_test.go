package main

import (
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/internal/supervisor/supervisortest"
)

// newAppHarness returns a harness in which the program is an app of Home Assistant, without a configuration.
func newAppHarness(t *testing.T) (*harness, *supervisortest.Supervisor) {
	t.Helper()
	h := newHarness(t)
	s := supervisortest.Start(t)
	h.app = appPaths{
		config: filepath.Join(h.dir, "app.yaml"), state: filepath.Join(h.dir, "state"), options: filepath.Join(h.dir, "options.json"), supervisor: s.URL,
	}
	h.variables = []string{"SUPERVISOR_TOKEN=" + supervisortest.Token, "GRAPH2MQTT_CONFIG=", "GRAPH2MQTT_STATE_DIR=", "GRAPH2MQTT_HTTP__LISTEN=127.0.0.1:0"}
	return h, s
}

// accounts returns a configuration that names no broker.
func (h *harness) accounts() string {
	return "accounts:\n  work:\n    " + h.cloud() + "\n    sensors: {out_of_office: {type: auto_reply}}\n"
}

// mosquitto starts a broker with one user and returns its port.
func mosquitto(t *testing.T, user, password string) (m *brokertest.Mosquitto, port int) {
	t.Helper()
	m = brokertest.New(t, "password_file "+brokertest.Password(t, user, password))
	_, text, err := net.SplitHostPort(m.Addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m, port
}

// An app starts before it is configured and before Home Assistant has a broker, and follows both.
func TestAppWaitsForItsConfigurationAndBroker(t *testing.T) {
	t.Parallel()
	_, port := mosquitto(t, "addons", "first")
	h, s := newAppHarness(t)
	p := h.start(t, "run")
	p.stderr.find(t, regexp.MustCompile(`msg="waiting for a configuration" config=\S+/app.yaml`))
	if code, _, stderr := h.call(t, "health", "--without-broker"); code != exitOK {
		t.Errorf("health: %d, %s", code, stderr)
	}
	if code, _, stderr := h.call(t, "health"); code != exitFailed || stderr != "graph2mqtt: the bridge waits for a valid configuration; its log lists the problems\n" {
		t.Errorf("health: %d, %s", code, stderr)
	}
	if n, _ := s.Requests(); n == 0 {
		t.Error("the Supervisor was not asked for the form of the first configuration")
	}

	h.write(t, "app.yaml", h.accounts())
	const missing = "mqtt.url is required: no app of Home Assistant is an MQTT broker (Service not enabled); install the app Mosquitto broker, or set mqtt.url or the option mqtt_url of this app"
	p.stderr.find(t, regexp.MustCompile(regexp.QuoteMeta(`msg="configuration invalid, waiting for a change" error="`+missing)))
	if code, stdout, _ := h.call(t, "check"); code != exitUsage || stdout != missing+"\n" {
		t.Errorf("check: %d, %s", code, stdout)
	}

	s.SetBroker("127.0.0.1", port, "addons", "first")
	p.stderr.find(t, regexp.MustCompile(`msg="running as an app of Home Assistant" broker=mqtt://127.0.0.1:\d+ broker_from="Home Assistant \(core_mosquitto\)"`))
	p.stderr.find(t, regexp.MustCompile(`msg=starting .*state_dir=\S+/state `))
	p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
	p.interrupt()
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if log := p.stderr.String(); strings.Contains(log, "first") {
		t.Errorf("the password is in the log: %s", log)
	}
}

// The broker's app makes a new password when it is installed again.
func TestAppFollowsTheCredentialsOfTheBroker(t *testing.T) {
	_, port := mosquitto(t, "addons", "second")
	h, s := newAppHarness(t)
	h.write(t, "app.yaml", h.accounts())
	s.SetBroker("127.0.0.1", port, "addons", "first")
	p := h.start(t, "run")
	p.stderr.find(t, regexp.MustCompile("msg=\"cannot connect to the broker\".*the broker does not authorize this client"))
	s.SetBroker("127.0.0.1", port, "addons", "second")
	p.stderr.find(t, regexp.MustCompile(`msg="the broker of Home Assistant changed"`))
	p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
	p.interrupt()
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// What the configuration names comes first, then the options of the app; the Supervisor is asked only if neither names a broker.
func TestAppAsksForABrokerOnlyIfNoneIsNamed(t *testing.T) {
	_, port := mosquitto(t, "ann", "secret")
	broker := "mqtt://127.0.0.1:" + strconv.Itoa(port)
	for _, test := range []struct{ name, config, options, from string }{
		{"configuration", "mqtt: {url: " + broker + ", username: ann, password: secret}\n", `{"mqtt_url": "mqtt://127.0.0.1:1", "mqtt_username": "bob", "mqtt_password": "other"}`, "the configuration"},
		{"several", "mqtt: {urls: [" + broker + ", \"mqtt://127.0.0.1:1\"], username: ann, password: secret}\n", `{}`, "the configuration"},
		{"options", "", `{"mqtt_url": "` + broker + `", "mqtt_username": "ann", "mqtt_password": "secret"}`, "the options of the app"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, s := newAppHarness(t)
			s.SetBroker("127.0.0.1", 1, "addons", "pw")
			h.write(t, "app.yaml", test.config+h.accounts())
			h.write(t, "options.json", test.options)
			p := h.start(t, "run")
			p.stderr.find(t, regexp.MustCompile(`broker_from="`+test.from+`"`))
			p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
			if code, _, stderr := h.call(t, "health"); code != exitOK || stderr != "" {
				t.Errorf("health: %d, %s", code, stderr)
			}
			if n, _ := s.Requests(); n != 0 {
				t.Errorf("the Supervisor was asked %d times", n)
			}
		})
	}
}

func TestOptionsOfTheApp(t *testing.T) {
	h, s := newAppHarness(t)
	s.SetBroker("127.0.0.1", 1, "addons", "pw")
	h.write(t, "app.yaml", h.accounts())
	for options, want := range map[string]string{
		`{"log_level": "debug", "mqtt_url": ""}`:  "",
		`{"log_level": "loud"}`:                   `log.level: want one of debug, info, warn, error, not "loud"`,
		`{"mqtt_url": "http://127.0.0.1"}`:        `mqtt.url: want mqtt://HOST:PORT`,
		`{"mqtt_username": "ann"}`:                "",
		`{"mqtt_password": "secret", "log_level"`: h.app.options + ": want JSON with the options of the app",
	} {
		h.write(t, "options.json", options)
		_, stdout, stderr := h.call(t, "check")
		if !strings.HasPrefix(stdout, want) || (want == "") != (stdout == "") || strings.Contains(stdout+stderr, "secret") {
			t.Errorf("%s: got %s%s, want %s", options, stdout, stderr, want)
		}
	}
}
