//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A House is all that a user has: an account at Microsoft, a broker and the program.
type House struct {
	Microsoft *simulator.Simulator
	Broker    *Mosquitto
	Program   *Program
	Bridge    *Process // the program that runs, or ran last
	authority string   // file with what signs Microsoft's certificates
}

// NewHouse returns a house in which nobody is signed in and no program runs.
func NewHouse(t testing.TB, o MosquittoOptions) *House {
	t.Helper()
	h := &House{Microsoft: simulator.Contoso(simulator.Options{}), Broker: StartMosquitto(t, o), Program: NewProgram(t, "")}
	if err := h.Microsoft.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Microsoft.Close(); err != nil {
			t.Error(err)
		}
	})
	h.authority = filepath.Join(h.Program.Dir, "microsoft.pem")
	if err := os.WriteFile(h.authority, h.Microsoft.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// Configure configures an account "work" with these sensors, each a line of YAML. Settings are the account's other lines.
func (h *House) Configure(t testing.TB, settings []string, sensors ...string) {
	t.Helper()
	lines := []string{"mqtt:", "  url: " + h.Broker.URL}
	if o := h.Broker.Options; o.Username != "" {
		lines = append(lines, "  username: "+o.Username, "  password: "+o.Password)
	}
	if h.Broker.Options.Authority != "" {
		lines = append(lines, "  ca_file: "+h.Broker.Options.Authority)
	}
	lines = append(lines, "accounts:", "  work:", "    client_id: "+simulator.ContosoClient,
		fmt.Sprintf("    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}", h.Microsoft.LoginURL(), h.Microsoft.GraphURL(), h.authority))
	for _, s := range settings {
		lines = append(lines, "    "+s)
	}
	lines = append(lines, "    sensors:")
	for _, s := range sensors {
		lines = append(lines, "      "+s)
	}
	h.Program.Configure(t, strings.Join(lines, "\n")+"\n")
}

// SignIn signs the account in by the command line and a browser.
func (h *House) SignIn(t testing.TB) {
	t.Helper()
	login := h.Program.Start(t, "login", "work")
	h.visit(t, strings.TrimSpace(login.Line(t, h.Microsoft.LoginURL())))
	if code := login.Wait(t); code != 0 {
		t.Fatalf("login ended with %d:\n%s%s", code, login.Stdout(), login.Stderr())
	}
}

// visit does what the user's browser does.
func (h *House) visit(t testing.TB, url string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(h.Microsoft.CA())
	browser := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: patience}
	defer browser.CloseIdleConnections()
	res, err := browser.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// Start starts the bridge.
func (h *House) Start(t testing.TB) {
	t.Helper()
	h.Bridge = h.Program.Start(t, "run")
}

// Stop stops the bridge as a service manager does.
func (h *House) Stop(t testing.TB) {
	t.Helper()
	if code := h.Bridge.Stop(t); code != 0 {
		t.Errorf("the bridge ended with %d:\n%s", code, h.Bridge.Stderr())
	}
}

// A Response is the answer to a request over MQTT.
type Response struct {
	Transaction string
	Op, Status  string
	Data        map[string]any
	Error       *struct{ Code, Message string }
	Duplicate   bool
}

// responses are those that came on a topic.
func responses(t testing.TB, s *Subscription, topic string) []Response {
	t.Helper()
	var rs []Response
	for _, payload := range s.On(topic) {
		var r Response
		if err := json.Unmarshal([]byte(payload), &r); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		rs = append(rs, r)
	}
	return rs
}

// includes reports whether a JSON object has these values.
func includes(payload string, want map[string]any) bool {
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

// Values waits until the newest message of a topic has these values.
func (s *Subscription) Values(t testing.TB, topic string, want map[string]any) string {
	t.Helper()
	return s.Newest(t, topic, fmt.Sprintf("has %v", want), func(payload string) bool { return includes(payload, want) })
}
