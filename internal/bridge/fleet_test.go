package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	stdruntime "runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// fleetSensors are the sensors of each account of a fleet.
const fleetSensors = `      out_of_office: {type: auto_reply}
      presence: {type: status}
      calendar: {type: calendar}
      birthdays: {type: calendar, calendar: Birthdays}
      week: {type: calendar, end_offset: 168h}
`

// sensorsPerAccount is the number of fleetSensors.
const sensorsPerAccount = 5

// idleSensors are sensors that poll once a day.
var idleSensors = strings.ReplaceAll(fleetSensors, "{", "{interval: 24h, ")

// maxAccounts is the number of accounts with these sensors that fit into one configuration file.
const maxAccounts = 300

// fleetConfig returns the configuration of n accounts with these sensors and further keys.
func fleetConfig(t testing.TB, dir, broker string, m *simulator.Simulator, n int, more, sensors string) *config.Config {
	t.Helper()
	ca := ""
	if m.CA() != nil {
		ca = fmt.Sprintf(", ca_file: %q", filepath.Join(dir, "ca.pem"))
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), m.CA(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var all *config.Config
	for first := 0; first < n; first += maxAccounts {
		var text strings.Builder
		fmt.Fprintf(&text, "mqtt: {url: %q}\nstate_dir: %q\naccounts:\n", broker, filepath.Join(dir, "state"))
		for i := first; i < min(n, first+maxAccounts); i++ {
			fmt.Fprintf(&text, "  a%03d:\n    client_id: %s\n    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com%s}\n    timezone: Europe/Berlin\n%s    sensors:\n%s",
				i, simulator.ContosoClient, m.LoginURL(), m.GraphURL(), ca, more, sensors)
		}
		file := filepath.Join(dir, "graph2mqtt.yaml")
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := runtime.Load(config.Sources{File: file}, runtime.Kinds())
		if err != nil {
			t.Fatal(err)
		}
		if all == nil {
			all = c
		} else {
			maps.Copy(all.Accounts, c.Accounts)
		}
	}
	return all
}

// address returns the address of the user of an account, if there is one.
func address(account string) string { return account + "@contoso.example" }

// The application of an organizationConfig signs in with workloadToken.
const workloadToken = "workload"

// organizationConfig returns the configuration of the organization contoso with these keys.
func organizationConfig(t testing.TB, dir string, m *simulator.Simulator, keys string) *config.Config {
	t.Helper()
	file := filepath.Join(dir, "graph2mqtt.yaml")
	text := fmt.Sprintf("mqtt: {url: \"mqtt://127.0.0.1\"}\nstate_dir: %q\norganizations:\n  contoso:\n    tenant: contoso.example\n    client_id: %s\n    federated_token_file: %q\n"+
		"    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com}\n    timezone: Europe/Berlin\n%s",
		filepath.Join(dir, "state"), application, filepath.Join(dir, "token"), m.LoginURL(), m.GraphURL(), keys)
	for name, content := range map[string]string{file: text, filepath.Join(dir, "token"): workloadToken} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := runtime.Load(config.Sources{File: file}, runtime.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signInFleet stores a sign-in for every account, as package auth does: of its user, or of Adele. The tokens are valid for as long as the simulator's
// clock stands still.
func signInFleet(t testing.TB, dir *state.Dir, c *config.Config, m *simulator.Simulator) {
	t.Helper()
	m.FreezeClock(true)
	users := map[string]simulator.User{}
	for _, u := range m.Users() {
		users[u.Address] = u
	}
	for id, a := range c.Accounts {
		if a.Application {
			continue
		}
		user, ok := users[address(id)]
		if !ok {
			user = users[simulator.Adele]
		}
		scopes := runtime.SignInScopes(a)[0]
		now := time.Now()
		signIn, err := json.Marshal(map[string]any{
			"client_id": a.ClientID, "login": a.Cloud.Login, "home_account_id": user.ID + "." + user.Tenant,
			"user":    map[string]any{"id": user.ID, "address": user.Address, "name": user.Name, "tenant": user.Tenant},
			"granted": scopes, "requested": scopes, "access_token": m.Token(user.Address, scopes...),
			"signed_in": now, "renewed": now, "expires": now.Add(30 * 24 * time.Hour), "cache": map[string]any{},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.Write("tokens-"+id, signIn); err != nil {
			t.Fatal(err)
		}
	}
}

// A fleet is a runtime with many accounts, its database and its publisher, without a broker: it runs inside testing/synctest.
type fleet struct {
	Microsoft *simulator.Simulator
	Database  *state.Database
	Runtime   *runtime.Runtime
	Published *publications
	Config    *config.Config

	dispatcher *services.Dispatcher
	dir        *state.Dir
	stop       func()
}

// newFleet starts n accounts in the bubble of a test and stops them when it ends.
func newFleet(t *testing.T, n int, more, sensors string) *fleet {
	t.Helper()
	return newFleetOn(t, nil, n, more, sensors)
}

// newFleetOn is newFleet with another store than the database, and a mailbox for each account.
func newFleetOn(t *testing.T, store runtime.Store, n int, more, sensors string) *fleet {
	t.Helper()
	return startFleet(t, fleetSetup{accounts: n, more: more, sensors: sensors, store: store})
}

// A fleetSetup describes a fleet.
type fleetSetup struct {
	accounts      int
	more, sensors string                                    // further keys of each account, and its sensors
	store         runtime.Store                             // nil: the database
	simulator     *simulator.Simulator                      // nil: a new one
	transport     func(http.RoundTripper) http.RoundTripper // wraps the way to Microsoft
	notifications *runtime.NotificationOptions              // nil: none
	onRuntime     func(*runtime.Runtime)                    // is called before it runs; nil: nothing is
	wrap          func(runtime.Store) runtime.Store         // wraps the store of the runtime; nil: nothing does
	ownMailboxes  bool                                      // each account has its own mailbox, also with the database
	organization  string                                    // keys of the organization contoso, which is there instead of accounts; "": none
	dir           string                                    // of an earlier fleet, whose state it continues; "": a new one
}

// startFleet starts a fleet in the bubble of a test and stops it when the test ends.
func startFleet(t *testing.T, setup fleetSetup) *fleet {
	t.Helper()
	f := &fleet{Microsoft: setup.simulator, Published: &publications{held: map[string][]byte{}, changes: map[string]int{}}}
	if f.Microsoft == nil {
		f.Microsoft = simulator.Contoso(simulator.Options{})
	}
	if setup.dir == "" {
		setup.dir = t.TempDir()
	}
	if setup.organization != "" {
		f.Config = organizationConfig(t, setup.dir, f.Microsoft, setup.organization)
	} else {
		f.Config = fleetConfig(t, setup.dir, "mqtt://127.0.0.1", f.Microsoft, setup.accounts, setup.more, setup.sensors)
	}
	store, transport := setup.store, f.Microsoft.Transport()
	if setup.transport != nil {
		transport = setup.transport(transport)
	}
	log := testLogger(t)
	dir, err := state.Open(f.Config.StateDir, "", log)
	if err != nil {
		t.Fatal(err)
	}
	if store != nil || setup.ownMailboxes { // Microsoft serves few requests at a time of one mailbox
		for id := range f.Config.Accounts {
			f.Microsoft.AddUser(simulator.User{Address: address(id), Name: id})
		}
	}
	f.dir = dir
	signInFleet(t, dir, f.Config, f.Microsoft)
	if f.Database, err = dir.OpenDatabase(); err != nil {
		t.Fatal(err)
	}
	if store == nil {
		store = bridge.Store{Database: f.Database}
	}
	if setup.wrap != nil {
		store = setup.wrap(store)
	}
	h := hub.New()
	f.Runtime, err = runtime.New(runtime.Options{Kinds: runtime.Kinds(), Dir: dir, Store: store, Hub: h, Log: log, Transport: transport, Notifications: setup.notifications}, f.Config.Accounts)
	if err != nil {
		t.Fatal(err)
	}
	if setup.onRuntime != nil {
		setup.onRuntime(f.Runtime)
	}
	journal, err := services.OpenJournal(store, f.Database.Bucket(services.JournalBucket).Each, log)
	if err != nil {
		t.Fatal(err)
	}
	f.dispatcher = services.NewDispatcher(services.DispatcherOptions{
		Journal: journal, Resolver: f.Runtime, MaxAge: time.Hour, Queue: 1000, OnCompleted: f.Runtime.Completed, Log: log,
	})
	publisher := homeassistant.NewPublisher(h, f.Published, homeassistant.Discovery{Enabled: true, Topic: "homeassistant", Mode: "device", QoS: 1, Base: "graph2mqtt"}, log)
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	for _, run := range []func(context.Context) error{publisher.Run, f.Runtime.Run, f.dispatcher.Run} {
		tasks.Go(func() { _ = run(ctx) })
	}
	f.stop = sync.OnceFunc(func() {
		cancel()
		tasks.Wait()
		if err := f.Database.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

// Requests returns how many requests Microsoft has answered.
func (f *fleet) Requests() uint64 { return f.Runtime.Stats().Requests }

// Execute submits a request and waits for its response.
func (f *fleet) Execute(t *testing.T, account, sensor, operation, payload string) {
	t.Helper()
	done := make(chan services.Response, 1)
	f.submit(account, sensor, operation, payload, func(r services.Response) { done <- r })
	if r := <-done; r.Error != nil {
		t.Fatalf("%s of %s/%s: %v", operation, account, sensor, r.Error)
	}
}

func (f *fleet) submit(account, sensor, operation, payload string, done func(services.Response)) {
	f.dispatcher.Submit(services.Inbound{
		Target: services.Ref{Account: account, Sensor: sensor}, Operation: operation, Payload: []byte(payload), Received: time.Now(), Done: done,
	})
}

// A slowStore is a store in memory whose transactions take some time, of many calls each.
type slowStore struct {
	commit time.Duration

	mu    sync.Mutex
	busy  bool
	queue []func(error)
}

func (s *slowStore) Commit(write func(services.Tx), done func(error)) {
	write(discard{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, done)
	if !s.busy {
		s.busy = true
		go s.run()
	}
}

func (s *slowStore) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		// In a bubble no time passes while other goroutines compute: their writes of this moment are part of the transaction.
		s.mu.Unlock()
		time.Sleep(time.Nanosecond)
		s.mu.Lock()
		batch := s.queue
		s.queue = nil
		s.mu.Unlock()
		time.Sleep(s.commit)
		for _, done := range batch {
			if done != nil {
				done(nil)
			}
		}
		s.mu.Lock()
	}
	s.busy = false
}

func (s *slowStore) CommitWithin(_ time.Duration, write func(services.Tx), done func(error)) {
	s.Commit(write, done)
}
func (s *slowStore) CommitLazily(func(services.Tx))                {}
func (s *slowStore) Get(string, string) ([]byte, error)            { return nil, nil }
func (s *slowStore) Each(string, func(string, []byte) error) error { return nil }

type discard struct{}

func (discard) Put(string, string, []byte) {}
func (discard) Delete(string, string)      {}

// publications implements homeassistant.Client and counts the calls.
type publications struct {
	mu      sync.Mutex
	held    map[string][]byte
	encoded int            // calls of Retain with JSON
	changes map[string]int // messages that the broker would get, by topic
}

func (p *publications) Retain(topic string, payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held, ok := p.held[topic]; !ok || !bytes.Equal(held, payload) {
		p.changes[topic]++
	}
	p.held[topic] = payload
	if bytes.HasPrefix(payload, []byte("{")) || bytes.HasPrefix(payload, []byte("[")) {
		p.encoded++
	}
}
func (p *publications) Remove(...string) {}
func (p *publications) Republish(string) {}
func (p *publications) Ready()           {}

func (p *publications) PublishEvent(topic string, _ []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes[topic]++
}

// TakeChanges returns how many messages each topic got since the last call.
func (p *publications) TakeChanges() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.changes
	p.changes = map[string]int{}
	return taken
}

// Held returns what the broker would retain on a topic.
func (p *publications) Held(topic string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[topic]
}

// Encoded returns how many payloads were encoded.
func (p *publications) Encoded() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.encoded
}

// holding returns how many topics of this name hold a payload.
func (p *publications) holding(name, payload string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, held := range p.held {
		if strings.HasSuffix(topic, "/"+name) && bytes.Equal(held, []byte(payload)) {
			n++
		}
	}
	return n
}

// testLogger returns a logger of errors.
func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelError}))
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Helper()
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// wakeUps returns an estimate of how often goroutines of this process began to run: the scheduler counts one of eight.
func wakeUps() uint64 {
	s := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(s)
	n := uint64(0)
	for _, c := range s[0].Value.Float64Histogram().Counts {
		n += c
	}
	return 8 * n
}

// A fleetBridge is a bridge with many accounts, a real Mosquitto and Microsoft on a loopback port.
type fleetBridge struct {
	*bridge.Bridge
	t         testing.TB
	Microsoft *simulator.Simulator
	Broker    *brokertest.Mosquitto
	Config    *config.Config
	Dir       *state.Dir
	Reloads   chan *config.Config
	Log       *buffer

	n, sensors int
	cancel     context.CancelFunc
	ended      chan struct{}
}

// newFleetBridge prepares n accounts with these sensors. Start runs them.
func newFleetBridge(t testing.TB, n int, more, sensors string) *fleetBridge {
	t.Helper()
	f := &fleetBridge{t: t, n: n, sensors: strings.Count(sensors, "\n"), Broker: brokertest.New(t, "max_queued_messages 0"), Microsoft: simulator.Contoso(simulator.Options{}), Log: new(buffer)}
	if err := f.Microsoft.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Stop()
		if err := f.Microsoft.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the bridge:\n%s", f.Log)
		}
	})
	f.Config = fleetConfig(t, t.TempDir(), f.Broker.URL, f.Microsoft, n, more, sensors)
	var err error
	if f.Dir, err = state.Open(f.Config.StateDir, "", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	signInFleet(t, f.Dir, f.Config, f.Microsoft)
	return f
}

// Start runs the bridge. It returns when all sensors are online at the broker and nothing is left to be published.
func (f *fleetBridge) Start() {
	f.t.Helper()
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	f.Reloads = make(chan *config.Config)
	b, err := bridge.New(bridge.Options{
		Config: f.Config, Kinds: runtime.Kinds(), Dir: f.Dir, Version: "1.2.3", Level: level, Reloads: f.Reloads,
		Timing: mqtt.Timing{BirthMin: time.Millisecond, BirthMax: 2 * time.Millisecond, RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond},
		Log:    slog.New(slog.NewTextHandler(f.Log, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.Bridge = b
	online := f.watch("graph2mqtt/+/+/availability")
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	f.ended = make(chan struct{})
	go func() {
		defer close(f.ended)
		if err := b.Run(ctx); err != nil {
			f.t.Errorf("the bridge ended with: %v", err)
		}
	}()
	seen := map[string]bool{}
	deadline := time.After(4 * waitTimeout)
	for len(seen) < f.n*f.sensors {
		select {
		case m := <-online.messages:
			if string(m.Payload) == "online" {
				seen[m.Topic] = true
			}
		case <-deadline:
			f.t.Fatalf("%d of %d sensors are online", len(seen), f.n*f.sensors)
		}
	}
	online.Close()
	f.settle()
}

// Stop stops the bridge.
func (f *fleetBridge) Stop() {
	if f.cancel != nil {
		f.cancel()
		<-f.ended
		f.cancel = nil
	}
}

// settle waits until nothing is left to be published.
func (f *fleetBridge) settle() {
	f.t.Helper()
	for deadline := time.Now().Add(4 * waitTimeout); ; time.Sleep(time.Millisecond) {
		if s := f.MQTTStats(); s.Connected && !s.Backlog && s.Queued == 0 {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("not everything is published: %+v", f.MQTTStats())
		}
	}
}

// A watch returns the messages of some topics.
type watch struct {
	*mqtt.Observer
	messages chan mqtt.Message
}

func (f *fleetBridge) watch(filters ...string) watch {
	f.t.Helper()
	w := watch{messages: make(chan mqtt.Message, 10000)}
	var err error
	w.Observer, err = mqtt.Observe(mqtt.Options{URLs: []string{f.Broker.URL}, Base: "graph2mqtt"}, func(m mqtt.Message) { w.messages <- m }, filters...)
	if err != nil {
		f.t.Fatal(err)
	}
	return w
}

// publisher starts another client, which publishes with the function it returns.
func (f *fleetBridge) publisher() (publish func(topic, payload string)) {
	f.t.Helper()
	c, err := mqtt.New(mqtt.Options{URLs: []string{f.Broker.URL}, ClientID: "publisher", Base: "publisher", KeepAlive: time.Minute, Store: noRecords{}})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	f.t.Cleanup(func() { cancel(); running.Wait() })
	return func(topic, payload string) {
		if err := c.Send(ctx, topic, []byte(payload)); err != nil {
			f.t.Error(err)
		}
	}
}

// noRecords implements mqtt.Store.
type noRecords struct{}

func (noRecords) Commit(write func(mqtt.Tx), done func(error)) {
	write(discard{})
	if done != nil {
		go done(nil)
	}
}

// Birth publishes that Home Assistant has started, and waits until everything is published again.
func (f *fleetBridge) Birth(publish func(topic, payload string), messages uint64) {
	f.t.Helper()
	before := f.MQTTStats().Published
	publish("homeassistant/status", "online")
	for deadline := time.Now().Add(waitTimeout); f.MQTTStats().Published-before < messages; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%d messages after the birth, want %d", f.MQTTStats().Published-before, messages)
		}
	}
	f.settle()
}

// Reconnect restarts the broker, which forgets everything, and waits until everything is published again.
func (f *fleetBridge) Reconnect() {
	f.t.Helper()
	before := f.MQTTStats().Connections
	f.Broker.Kill()
	f.Broker.Start()
	for deadline := time.Now().Add(waitTimeout); f.MQTTStats().Connections == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatal("the bridge does not connect again")
		}
	}
	f.settle()
}

// liveMemory returns what is reachable, stacks included.
func liveMemory() uint64 {
	stdruntime.GC()
	stdruntime.GC()
	var m stdruntime.MemStats
	stdruntime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
