//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// An Environment combines a simulated Microsoft 365 account, a broker and the program.
type Environment struct {
	Microsoft *simulator.Simulator
	Broker    *Mosquitto
	Program   *Program
	Bridge    *Process // the bridge that was started last
	caFile    string   // the CA of the simulator's certificates
}

// NewEnvironment starts a simulator and a broker. The account is not signed in and the bridge is not running.
func NewEnvironment(t testing.TB, o MosquittoOptions) *Environment {
	t.Helper()
	env := &Environment{Microsoft: simulator.Contoso(simulator.Options{}), Broker: StartMosquitto(t, o), Program: NewProgram(t, "")}
	env.serve(t)
	return env
}

// serve starts the simulator.
func (env *Environment) serve(t testing.TB) {
	t.Helper()
	if err := env.Microsoft.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Microsoft.Close(); err != nil {
			t.Error(err)
		}
	})
	env.caFile = filepath.Join(env.Program.Dir, "microsoft.pem")
	writeFile(t, env.caFile, string(env.Microsoft.CA()))
}

// Configure writes a configuration with the account "work". Each setting and each sensor is a line of YAML.
func (env *Environment) Configure(t testing.TB, settings []string, sensors ...string) {
	t.Helper()
	lines := []string{"mqtt:", "  url: " + env.Broker.URL}
	if o := env.Broker.Options; o.Username != "" {
		lines = append(lines, "  username: "+o.Username, "  password: "+o.Password)
	}
	if env.Broker.Options.CAFile != "" {
		lines = append(lines, "  ca_file: "+env.Broker.Options.CAFile)
	}
	lines = append(lines, "accounts:", "  work:", "    client_id: "+simulator.ContosoClient,
		fmt.Sprintf("    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}", env.Microsoft.LoginURL(), env.Microsoft.GraphURL(), env.caFile))
	for _, s := range settings {
		lines = append(lines, "    "+s)
	}
	lines = append(lines, "    sensors:")
	for _, s := range sensors {
		lines = append(lines, "      "+s)
	}
	env.Program.Configure(t, strings.Join(lines, "\n")+"\n")
}

// SignIn signs the account in with the command line and a browser.
func (env *Environment) SignIn(t testing.TB) {
	t.Helper()
	login := env.Program.Start(t, "login", "work")
	env.openURL(t, strings.TrimSpace(login.AwaitLine(t, env.Microsoft.LoginURL())))
	if code := login.Wait(t); code != 0 {
		t.Fatalf("login ended with %d:\n%s%s", code, login.Stdout(), login.Stderr())
	}
}

// openURL opens a URL as a browser does.
func (env *Environment) openURL(t testing.TB, url string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(env.Microsoft.CA())
	browser := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: waitTimeout}
	defer browser.CloseIdleConnections()
	res, err := browser.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// Start starts the bridge.
func (env *Environment) Start(t testing.TB) {
	t.Helper()
	env.Bridge = env.Program.Start(t, "run")
}

// Stop stops the bridge with SIGTERM, as a service manager does.
func (env *Environment) Stop(t testing.TB) {
	t.Helper()
	if code := env.Bridge.Stop(t); code != 0 {
		t.Errorf("the bridge ended with %d:\n%s", code, env.Bridge.Stderr())
	}
}

// A Response answers a request over MQTT.
type Response struct {
	Transaction string
	Op, Status  string
	Data        map[string]any
	Error       *struct{ Code, Message string }
	Duplicate   bool
}

// responsesOn decodes the responses received on a topic.
func responsesOn(t testing.TB, s *Subscription, topic string) []Response {
	t.Helper()
	var rs []Response
	for _, payload := range s.Payloads(topic) {
		var r Response
		Message{Topic: topic, Payload: payload}.Decode(t, &r)
		rs = append(rs, r)
	}
	return rs
}

// decode decodes JSON.
func decode(payload string, into any) error { return json.Unmarshal([]byte(payload), into) }

// hasValues reports whether a JSON object contains the wanted values.
func hasValues(payload string, want map[string]any) bool {
	var got map[string]any
	if json.Unmarshal([]byte(payload), &got) != nil {
		return false
	}
	for key, value := range want {
		if fmt.Sprint(got[key]) != fmt.Sprint(value) {
			return false
		}
	}
	return true
}

// AwaitValues waits until the newest message on a topic contains the wanted values.
func (s *Subscription) AwaitValues(t testing.TB, topic string, want map[string]any) string {
	t.Helper()
	return s.AwaitNewest(t, topic, fmt.Sprintf("has %v", want), func(payload string) bool { return hasValues(payload, want) })
}
