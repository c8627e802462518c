package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// waitTimeout bounds waiting for something that happens unless there is a bug.
const waitTimeout = 30 * time.Second

// A harness is a directory with a configuration and a simulated Microsoft 365.
type harness struct {
	dir       string
	simulator *simulator.Simulator
	web       *http.Client // a browser
	app       appPaths
	variables []string // of the environment, beside the usual ones
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{dir: t.TempDir(), simulator: simulator.Contoso(simulator.Options{})}
	if err := h.simulator.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.simulator.Close() })
	h.write(t, "ca.pem", string(h.simulator.CA()))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(h.simulator.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	h.web = &http.Client{Transport: transport}
	h.configure(t, "mqtt://127.0.0.1:1")
	return h
}

func (h *harness) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *harness) configure(t *testing.T, broker string) {
	t.Helper()
	h.write(t, "graph2mqtt.yaml", fmt.Sprintf(`mqtt: {url: %q}
accounts:
  work:
    %s
    enable_update: true
    sensors:
      calendar: {type: calendar, enable_update: false}
      out_of_office: {type: auto_reply}
`, broker, h.cloud()))
}

// cloud returns the keys of an account of the simulated Microsoft 365.
func (h *harness) cloud() string {
	return fmt.Sprintf("client_id: %s\n    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}",
		simulator.ContosoClient, h.simulator.LoginURL(), h.simulator.GraphURL(), filepath.Join(h.dir, "ca.pem"))
}

// configureWork configures the account work, with these keys and these sensors.
func (h *harness) configureWork(t *testing.T, keys, sensors string) {
	t.Helper()
	h.write(t, "graph2mqtt.yaml", "mqtt: {url: \"mqtt://127.0.0.1:1\"}\naccounts:\n  work:\n    "+h.cloud()+"\n    "+keys+"\n    sensors: "+sensors+"\n")
}

func (h *harness) environ() []string {
	return append([]string{"HOME=" + h.dir, "GRAPH2MQTT_CONFIG=" + filepath.Join(h.dir, "graph2mqtt.yaml"), "GRAPH2MQTT_STATE_DIR=" + filepath.Join(h.dir, "state")}, h.variables...)
}

// openURL opens a link like a browser and returns the last page.
func (h *harness) openURL(t *testing.T, link string) string {
	t.Helper()
	answer, err := h.web.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A process is a run of the program within this one.
type process struct {
	stdin          *io.PipeWriter
	stdout, stderr *output
	interrupt      context.CancelFunc
	code           chan int
}

func (h *harness) start(t *testing.T, args ...string) *process {
	t.Helper()
	return h.startWith(t, nil, args...)
}

// startWith starts a command whose standard output also goes through a filter, which may fail.
func (h *harness) startWith(t *testing.T, filter func([]byte) error, args ...string) *process {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	in, stdin := io.Pipe()
	p := &process{stdin: stdin, stdout: newOutput(), stderr: newOutput(), interrupt: interrupt, code: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.code <- run(ctx, h.app, args, h.environ(), in, filteredWriter{p.stdout, filter}, p.stderr)
	}()
	t.Cleanup(func() {
		interrupt()
		_ = stdin.Close()
		<-ended
		if t.Failed() {
			t.Logf("graph2mqtt %s\n%s%s", strings.Join(args, " "), p.stdout, p.stderr)
		}
	})
	return p
}

type filteredWriter struct {
	io.Writer
	filter func([]byte) error // nil: none
}

func (w filteredWriter) Write(b []byte) (int, error) {
	if w.filter != nil {
		if err := w.filter(b); err != nil {
			return 0, err
		}
	}
	return w.Writer.Write(b)
}

func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.code:
		return code
	case <-time.After(waitTimeout):
		t.Fatalf("the command does not end\n%s%s", p.stdout, p.stderr)
	}
	return 0
}

// call runs a command until it ends.
func (h *harness) call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := h.start(t, args...)
	_ = p.stdin.Close()
	code = p.wait(t)
	return code, p.stdout.String(), p.stderr.String()
}

// login signs the account work in.
func (h *harness) login(t *testing.T) {
	t.Helper()
	h.loginTo(t, "work")
}

func (h *harness) loginTo(t *testing.T, account string) {
	t.Helper()
	p := h.start(t, "login", account)
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("login: exit code %d: %s", code, p.stderr)
	}
}

var linkPattern = regexp.MustCompile(`(?m)^(https://\S+/authorize\S+)$`)

// An output collects what is written, and can be waited for.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	written chan struct{} // closed at the next write
}

func newOutput() *output { return &output{written: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.written)
	o.written = make(chan struct{})
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// find waits until the pattern matches and returns its last group.
func (o *output) find(t *testing.T, pattern *regexp.Regexp) string {
	t.Helper()
	timeout := time.After(waitTimeout)
	for {
		o.mu.Lock()
		written := o.written
		m := pattern.FindStringSubmatch(o.b.String())
		o.mu.Unlock()
		if m != nil {
			return m[len(m)-1]
		}
		select {
		case <-written:
		case <-timeout:
			t.Fatalf("no %s in:\n%s", pattern, o)
		}
	}
}

func startBroker(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
