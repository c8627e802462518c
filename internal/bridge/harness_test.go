package bridge_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// waitTimeout bounds waiting for something that happens unless there is a bug.
const waitTimeout = 30 * time.Second

// A harness runs a bridge with a simulated Microsoft 365, a broker and its clients.
type harness struct {
	pause     time.Duration // see bridge.Options
	http      string        // the key http of the configuration; "": none
	push      string        // the key notifications of the configuration; "": none
	environ   []string      // of the configuration
	file      *bridge.ConfigFile
	t         *testing.T
	dir       string
	Microsoft *simulator.Simulator
	Broker    *broker.Broker
	Log       *buffer

	stop    func()
	reloads chan *config.Config
	ended   chan error // of the bridge
	bridge  *bridge.Bridge
	started int // the mark of the last start

	mu       sync.Mutex
	arrived  chan struct{}
	messages []message
	retained map[string]string // what the broker holds, as of the last of messages
	watches  int
}

type message struct {
	Topic, Payload string
	Retained       bool
}

// newHarness starts the simulated Microsoft 365 and a broker.
func newHarness(t *testing.T) *harness {
	t.Helper()
	return newHarnessWith(t, simulator.Options{})
}

// newHarnessWith is newHarness with options of the simulated Microsoft 365.
func newHarnessWith(t *testing.T, o simulator.Options) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir(), Microsoft: simulator.Contoso(o), Log: new(buffer), arrived: make(chan struct{}), stop: func() {}, pause: 100 * time.Millisecond}
	if err := h.Microsoft.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Microsoft.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(h.path("ca.pem"), h.Microsoft.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	h.StartBroker("127.0.0.1:0")
	t.Cleanup(func() {
		h.stop()
		h.StopBroker()
		if t.Failed() {
			t.Logf("log of the bridge:\n%s", h.Log)
		}
	})
	return h
}

// startOne configures and signs in one account, "work", with these sensors, and starts the bridge.
func startOne(t *testing.T, more string, sensors ...string) *harness {
	t.Helper()
	h := newHarness(t)
	h.one(more, sensors...)
	h.SignIn("work")
	h.Start()
	return h
}

func (h *harness) path(name string) string { return filepath.Join(h.dir, name) }

// StartBroker starts an empty broker and records every message.
func (h *harness) StartBroker(addr string) {
	h.t.Helper()
	b, err := broker.Embedded(addr)
	if err != nil {
		h.t.Fatal(err)
	}
	held := map[string]string{}
	h.mu.Lock()
	h.Broker, h.retained = b, held
	h.watches++
	id := h.watches
	h.mu.Unlock()
	if err := b.Watch(id, "#", func(topic string, payload []byte, retained bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.messages = append(h.messages, message{topic, string(payload), retained})
		if retained && len(payload) > 0 {
			held[topic] = string(payload)
		} else if retained {
			delete(held, topic)
		}
		close(h.arrived)
		h.arrived = make(chan struct{})
	}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) StopBroker() {
	if err := h.Broker.Close(); err != nil {
		h.t.Error(err)
	}
}

// Configure writes the configuration: the accounts as YAML, below the key accounts.
func (h *harness) Configure(accounts string) {
	h.t.Helper()
	accounts = strings.NewReplacer("\t", "  ", "$CLOUD", fmt.Sprintf("{login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}",
		h.Microsoft.LoginURL(), h.Microsoft.GraphURL(), h.path("ca.pem")), "$CLIENT", simulator.ContosoClient).Replace(accounts)
	text := fmt.Sprintf("mqtt: {url: %q}\nstate_dir: %q\naccounts:\n%s", h.Broker.URL(), h.path("state"), accounts)
	if h.http != "" {
		text += "http: " + h.http + "\n"
	}
	if h.push != "" {
		text += "notifications: " + h.push + "\n"
	}
	if err := os.WriteFile(h.path("graph2mqtt.yaml"), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// one configures one account, "work", with these sensors and further keys.
func (h *harness) one(more string, sensors ...string) {
	h.t.Helper()
	text := "  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n"
	if more != "" {
		text += "    " + more + "\n"
	}
	text += "    sensors:\n"
	for _, s := range sensors {
		text += "      " + s + "\n"
	}
	h.Configure(text)
}

func (h *harness) load() *config.Config {
	h.t.Helper()
	c, err := runtime.Load(h.sources(), runtime.Kinds())
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *harness) sources() config.Sources {
	return config.Sources{File: h.path("graph2mqtt.yaml"), Environ: h.environ}
}

func (h *harness) open(c *config.Config) *state.Dir {
	h.t.Helper()
	dir, err := state.Open(c.StateDir, c.KeyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	return dir
}

// SignIn signs an account in, as `graph2mqtt login` does.
func (h *harness) SignIn(account string) auth.Result {
	h.t.Helper()
	return h.signIn(account, h.Microsoft)
}

// signIn signs an account of a cloud in.
func (h *harness) signIn(account string, cloud *simulator.Simulator) auth.Result {
	h.t.Helper()
	c := h.load()
	session, err := runtime.OpenSession(c.Accounts[account], h.open(c), slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	var visits sync.WaitGroup
	defer visits.Wait()
	var first sync.Once // where a consent is refused the browser is sent on
	result, err := session.SignInByBrowser(h.t.Context(), auth.Request{
		Scopes:   runtime.SignInScopes(c.Accounts[account]),
		OnPrompt: func(p auth.Prompt) { first.Do(func() { visits.Go(func() { h.visit(cloud, p.URL) }) }) },
	}, auth.Browser{})
	if err != nil {
		h.t.Fatal(err)
	}
	return result
}

// visit opens an address as the user's browser does.
func (h *harness) visit(cloud *simulator.Simulator, url string) {
	res, err := h.browser(cloud, nil).Get(url)
	if err != nil {
		h.t.Errorf("the browser: %v", err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// redirect returns the address on which the user's browser ends, where no program listens.
func (h *harness) redirect(url string) string {
	h.t.Helper()
	res, err := h.browser(h.Microsoft, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }).Get(url)
	if err != nil {
		h.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.Header.Get("Location")
}

func (h *harness) browser(cloud *simulator.Simulator, redirect func(*http.Request, []*http.Request) error) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cloud.CA())
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: waitTimeout, CheckRedirect: redirect}
	h.t.Cleanup(browser.CloseIdleConnections)
	return browser
}

// Start starts the bridge.
func (h *harness) Start() {
	h.t.Helper()
	c := h.load()
	h.reloads, h.ended = make(chan *config.Config), make(chan error, 2)
	level := new(slog.LevelVar)
	level.Set(slog.LevelDebug)
	h.file = bridge.NewConfigFile(h.sources, runtime.Kinds(), "")
	b, err := bridge.New(bridge.Options{
		File:   h.file,
		Config: c, Kinds: runtime.Kinds(), Dir: h.open(c), Version: "1.2.3", Level: level, Reloads: h.reloads,
		Timing: mqtt.Timing{BirthMin: time.Millisecond, BirthMax: 2 * time.Millisecond, Pause: 100 * time.Millisecond, RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond},
		Pause:  h.pause,
		Log:    slog.New(slog.NewTextHandler(h.Log, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.bridge, h.started = b, h.mark()
	ctx, cancel := context.WithCancel(context.Background())
	ended := h.ended
	done := make(chan struct{})
	go func() { defer close(done); ended <- b.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		select {
		case err := <-ended:
			if err != nil {
				h.t.Errorf("the bridge ended with: %v", err)
			}
		default: // received by the test
		}
	})
}

// Reload gives the bridge the configuration as it is now.
func (h *harness) Reload() {
	h.t.Helper()
	h.Give(h.load())
}

// Give gives the bridge a configuration.
func (h *harness) Give(c *config.Config) {
	h.t.Helper()
	select {
	case h.reloads <- c:
	case <-time.After(waitTimeout):
		h.t.Fatal("the bridge does not apply a configuration")
	}
}

// Stop stops the bridge.
func (h *harness) Stop() { h.stop() }

// Publish publishes as any client would.
func (h *harness) Publish(topic, payload string) {
	h.t.Helper()
	if err := h.Broker.Publish(topic, []byte(payload), false); err != nil {
		h.t.Fatal(err)
	}
}

// mark returns the number of messages so far.
func (h *harness) mark() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.messages)
}

// settledMark returns a mark after what is published twice after connecting.
func (h *harness) settledMark() int {
	h.t.Helper()
	// The bridge publishes everything again when it receives its barrier. The broker delivers the barrier before it accepts the first response,
	// so the bridge receives the second request after the barrier, and sends the second response after everything.
	h.Next(h.started, "graph2mqtt/bridge/barrier", func(string) bool { return true })
	for range 2 {
		mark := h.mark()
		h.Publish("graph2mqtt/bridge/request/ping", "{}")
		h.Next(mark, "graph2mqtt/bridge/response/ping", func(string) bool { return true })
	}
	return h.mark()
}

// since returns the messages after a mark.
func (h *harness) since(mark int) []message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages[mark:])
}

// Next waits for a message on a topic after a mark for which content reports true, and returns it.
func (h *harness) Next(mark int, topic string, content func(payload string) bool) string {
	h.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		h.mu.Lock()
		arrived := h.arrived
		for _, m := range h.messages[mark:] {
			if m.Topic == topic && content(m.Payload) {
				h.mu.Unlock()
				return m.Payload
			}
		}
		var seen []string
		for _, m := range h.messages[mark:] {
			if m.Topic == topic {
				seen = append(seen, m.Payload)
			}
		}
		h.mu.Unlock()
		select {
		case <-arrived:
		case <-deadline:
			h.t.Fatalf("no matching message on %s; seen: %q", topic, seen)
		}
	}
}

// Shows waits until the retained payload of a topic is this one.
func (h *harness) Shows(topic, payload string) {
	h.t.Helper()
	h.Holds(topic, func(p string) bool { return p == payload })
}

// Holds waits until content reports true for the retained payload of a topic, and returns it. It does not ask the broker, which retains a
// message before it distributes it: the message would not be among the recorded ones yet.
func (h *harness) Holds(topic string, content func(payload string) bool) string {
	h.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		h.mu.Lock()
		arrived, payload := h.arrived, h.retained[topic]
		h.mu.Unlock()
		if content(payload) {
			return payload
		}
		select {
		case <-arrived:
		case <-deadline:
			h.t.Fatalf("%s holds %q", topic, payload)
		}
	}
}

// Values waits until a state topic shows these values.
func (h *harness) Values(topic string, want map[string]any) {
	h.t.Helper()
	h.Holds(topic, func(payload string) bool { return includes(payload, want) })
}

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

// Gone waits until no retained topic has this in its name.
func (h *harness) Gone(part string) {
	h.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		h.mu.Lock()
		arrived := h.arrived
		left := slices.DeleteFunc(slices.Sorted(maps.Keys(h.retained)), func(topic string) bool { return !strings.Contains(topic, part) })
		h.mu.Unlock()
		if len(left) == 0 {
			return
		}
		select {
		case <-arrived:
		case <-deadline:
			h.t.Fatalf("left: %v", left)
		}
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
