package inbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/inbox"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A client records the sent messages.
type client struct {
	mu       sync.Mutex
	limit    int // of a payload; 0: none
	sent     []string
	removed  []string
	confirms []func()
	onRemove func(topic string)
}

func (c *client) Send(_ context.Context, topic string, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 && len(payload) > c.limit {
		return &mqtt.RefusedError{Topic: topic, Size: len(payload), TooLarge: true}
	}
	if strings.Contains(topic, "forbidden") {
		return &mqtt.RefusedError{Topic: topic, Size: len(payload)}
	}
	if strings.Contains(topic, "away") {
		return errors.New("not connected")
	}
	c.sent = append(c.sent, topic+" "+string(payload))
	return nil
}

func (c *client) Retain(topic string, payload []byte) {
	c.mu.Lock()
	if len(payload) > 0 {
		panic("an inbox retains nothing")
	}
	c.removed = append(c.removed, topic)
	f := c.onRemove
	c.mu.Unlock()
	if f != nil {
		f(topic)
	}
}

func (c *client) Confirm(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirms = append(c.confirms, f)
}

// confirm has everything confirmed that was sent so far.
func (c *client) confirm() {
	for {
		synctest.Wait()
		c.mu.Lock()
		confirms := c.confirms
		c.confirms = nil
		c.mu.Unlock()
		if len(confirms) == 0 {
			return
		}
		for _, f := range confirms {
			f()
		}
	}
}

// lose loses the connection: pending confirmations never arrive.
func (c *client) lose() {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirms = nil
}

// A requests is a Dispatcher that records the submitted requests.
type requests struct {
	mu  sync.Mutex
	all []services.Inbound
}

func (r *requests) Submit(i services.Inbound) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, i)
}

// nothing is a Journal without origins.
type nothing struct{}

func (nothing) Origins() []string { return nil }
func (nothing) Release(...string) {}

// A harness is an inbox and what was seen of it.
type harness struct {
	*inbox.Inbox
	client   *client
	requests *requests
	log      *strings.Builder

	mu    sync.Mutex
	acked int
}

// start runs an inbox without a dispatcher behind it.
func start(t *testing.T) *harness {
	t.Helper()
	h := &harness{client: &client{}, requests: &requests{}, log: &strings.Builder{}}
	h.Inbox = inbox.New(inbox.Options{Topics: "g2m", Dispatcher: h.requests, Journal: nothing{}, Log: slog.New(slog.NewTextHandler(h.log, nil))})
	h.Attach(h.client)
	run(t, h.Run)
	h.OnSession(mqtt.BrokerSession{Present: true, Connection: 1})
	return h
}

// run runs a task to the end of the test.
func run(t *testing.T, task func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := task(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

func (h *harness) receive(m mqtt.Message) {
	h.HandleWithAck(m, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.acked++
	})
}

func message(topic, payload string) mqtt.Message {
	return mqtt.Message{Topic: topic, Payload: []byte(payload), PacketID: 1, Connection: 1, Received: time.Now()}
}

func TestTopics(t *testing.T) {
	for _, test := range []struct {
		topic string
		want  services.Inbound
	}{
		{"g2m/work/calendar/request/create", services.Inbound{Target: services.Ref{Account: "work", Sensor: "calendar"}, Operation: "create", ReplyTo: "mqtt:g2m/work/calendar/response/create"}},
		{"g2m/work/auto_reply/set/mode", services.Inbound{Target: services.Ref{Account: "work", Sensor: "auto_reply"}, Entity: "mode", ReplyTo: "mqtt:g2m/work/auto_reply/response/set/mode"}},
		{"g2m/work/request/refresh", services.Inbound{Target: services.Ref{Account: "work"}, Operation: "refresh", ReplyTo: "mqtt:g2m/work/response/refresh"}},
		{"g2m/bridge/request/ping", services.Inbound{Operation: "ping", ReplyTo: "mqtt:g2m/bridge/response/ping"}},
		{"g2m/work/calendar/request", services.Inbound{Target: services.Ref{Account: "work", Sensor: "calendar"}, ReplyTo: "mqtt:g2m/work/calendar/response"}},
		{"g2m/work/calendar/request/" + strings.Repeat("ä", 64), services.Inbound{Target: services.Ref{Account: "work", Sensor: "calendar"}, Operation: strings.Repeat("ä", 64), ReplyTo: "mqtt:g2m/work/calendar/response/" + strings.Repeat("ä", 64)}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t)
			m := message(test.topic, `{}`)
			m.Age = time.Minute
			h.receive(m)
			synctest.Wait()
			if len(h.requests.all) != 1 || h.acked != 0 {
				t.Fatalf("%s: requests %+v, acknowledged %d", test.topic, h.requests.all, h.acked)
			}
			got := h.requests.all[0]
			test.want.Payload, test.want.Received, test.want.Age = []byte(`{}`), m.Received, time.Minute
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(services.Inbound{}, "Origin", "Accepted", "Done")); diff != "" {
				t.Errorf("%s: %s", test.topic, diff)
			}
			got.Accepted(errors.New("not taken"))
			synctest.Wait()
			if h.acked != 0 {
				t.Error("acknowledged a request that was not accepted")
			}
			got.Accepted(nil)
			synctest.Wait()
			if h.acked != 1 {
				t.Errorf("acknowledged %d times", h.acked)
			}
		})
	}
}

// Requests without a legal response topic are acknowledged, logged once, shortened, and counted.
func TestInvalidNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t)
		topics := []string{
			"g2m/work/calendar/set/" + strings.Repeat("/", 196) + "x",
			"g2m/work/calendar/request/" + strings.Repeat("ä", 32700),
			"g2m/work/calendar/request/" + strings.Repeat("x", 65),
			"g2m/work/request/a/b",
			"g2m/bridge/request/a/b",
			"g2m/work/" + strings.Repeat("x", 65000) + "/request/create",
		}
		for _, topic := range topics {
			h.receive(message(topic, `{}`))
		}
		retained := message(topics[0], `{}`)
		retained.Retained = true
		h.receive(retained)
		synctest.Wait()
		if len(h.requests.all) != 0 || h.acked != 7 || h.Stats().Invalid != 7 {
			t.Errorf("requests %+v, acknowledged %d, %+v", h.requests.all, h.acked, h.Stats())
		}
		if diff := cmp.Diff(topics[:1], h.client.removed); diff != "" {
			t.Errorf("removed: %s", diff)
		}
		if log := h.log.String(); strings.Count(log, "invalid name") != 1 || strings.Count(log, "\n") != 2 || len(log) > 800 {
			t.Errorf("logged: %.1000s", log)
		}
	})
}

func TestOtherTopicsAreAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t)
		h.receive(message("g2m/work/calendar/state", `{}`))
		h.receive(message("homeassistant/status", `online`))
		synctest.Wait()
		if len(h.requests.all) != 0 || h.acked != 2 {
			t.Errorf("requests %+v, acknowledged %d", h.requests.all, h.acked)
		}
	})
}

func TestEmptyPayloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t)
		const text = "g2m/work/auto_reply/set/internal_reply"
		h.receive(message("g2m/work/calendar/request/create", ""))
		h.receive(message("g2m/work/request/refresh", ""))
		retained := message(text, "")
		retained.Retained = true
		h.receive(retained)
		synctest.Wait()
		if len(h.requests.all) != 0 || h.acked != 3 {
			t.Fatalf("requests %+v, acknowledged %d", h.requests.all, h.acked)
		}
		h.receive(message(text, ""))
		synctest.Wait()
		if len(h.requests.all) != 1 || h.requests.all[0].Entity != "internal_reply" {
			t.Errorf("requests %+v", h.requests.all)
		}
	})
}

// The empty message that removes a retained command is received by us, and is no empty text.
func TestTheEchoOfARemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t)
		const text = "g2m/work/auto_reply/set/internal_reply"
		h.client.onRemove = func(topic string) { h.receive(message(topic, "")) }
		retained := message(text, "gone fishing")
		retained.Retained = true
		h.receive(retained)
		synctest.Wait()
		if len(h.requests.all) != 1 || h.acked != 2 {
			t.Errorf("requests %+v, acknowledged %d", h.requests.all, h.acked)
		}
		// Until the removal is confirmed it may be sent again.
		h.client.lose()
		h.OnSession(mqtt.BrokerSession{Present: true, Connection: 2})
		time.Sleep(time.Hour)
		h.receive(message(text, ""))
		h.client.confirm()
		if len(h.requests.all) != 1 {
			t.Errorf("requests %+v", h.requests.all)
		}
		time.Sleep(time.Minute)
		h.receive(message(text, ""))
		if len(h.requests.all) != 2 || h.requests.all[1].Refused != nil {
			t.Errorf("requests %+v", h.requests.all)
		}
	})
}

// Retained copies are refused and removed, a few at a time, and nothing waits for that.
func TestRetainedCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t)
		const n = 5000
		for i := range n {
			m := message(fmt.Sprintf("g2m/work/calendar/request/op%d", i), `{}`)
			m.Retained = true
			h.receive(m)
		}
		synctest.Wait()
		if len(h.requests.all) != n || h.acked != n || len(h.client.removed) > inbox.EmptyBatch {
			t.Fatalf("%d requests, acknowledged %d, removed %d", len(h.requests.all), h.acked, len(h.client.removed))
		}
		r := h.requests.all[0]
		if r.Refused == nil || r.Refused.Code != services.RetainedRefused || r.Refused.Message != "a request must not be published as retained" || r.Accepted != nil {
			t.Errorf("request %+v", r)
		}
		if n := strings.Count(h.log.String(), "\n"); n != 1 {
			t.Errorf("logged %d lines", n)
		}
		h.client.confirm()
		removed := slices.Clone(h.client.removed)
		slices.Sort(removed)
		if got := slices.Compact(removed); len(got) != n || len(h.client.removed) != n {
			t.Errorf("removed %d topics, %d of them once", len(h.client.removed), len(got))
		}
	})
}

// A store keeps what outlives its dispatcher in memory.
type store struct {
	mu     sync.Mutex
	values map[string][]byte
	lazy   []func()
	queue  []func()
	active bool
}

func (s *store) Put(bucket, key string, value []byte) {
	value = slices.Clone(value)
	s.lazy = append(s.lazy, func() { s.values[bucket+"/"+key] = value })
}

func (s *store) Delete(bucket, key string) {
	s.lazy = append(s.lazy, func() { delete(s.values, bucket+"/"+key) })
}

func (s *store) CommitLazily(write func(services.Tx)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	write(s)
}

func (s *store) Commit(write func(services.Tx), done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	write(s)
	for _, f := range s.lazy {
		f()
	}
	s.lazy = nil
	s.queue = append(s.queue, func() { done(nil) })
	if !s.active {
		s.active = true
		go s.run()
	}
}

func (s *store) run() {
	for {
		s.mu.Lock()
		queue := s.queue
		s.queue = nil
		s.active = len(queue) > 0
		s.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, f := range queue {
			f()
		}
	}
}

func (s *store) each(f func(string, []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if err := f(strings.TrimPrefix(key, services.JournalBucket+"/"), s.values[key]); err != nil {
			return err
		}
	}
	return nil
}

// A lamp is a target whose operation set counts how often it was executed.
type lamp struct {
	mu    sync.Mutex
	calls int
	modes []string // of the calls
	graph *graph.Client
}

type set struct {
	Mode string `json:"mode"`
	lamp *lamp
}

func (s *set) Execute(context.Context, *graph.Client, services.Attempt) (any, error) {
	s.lamp.mu.Lock()
	defer s.lamp.mu.Unlock()
	s.lamp.calls++
	s.lamp.modes = append(s.lamp.modes, s.Mode)
	return map[string]any{"mode": s.Mode}, nil
}

func (l *lamp) Resolve(services.Ref) (services.Target, error) { return target{l}, nil }

type target struct{ *lamp }

func (t target) Operation(name string) (services.Operation, error) {
	return services.Operation{Name: name, Retry: services.AtMostOnce, New: func() services.Request { return &set{lamp: t.lamp} }}, nil
}

func (t target) Parse(_, value string) (string, map[string]json.RawMessage, error) {
	raw, err := json.Marshal(value)
	return "set", map[string]json.RawMessage{"mode": raw}, err
}

func (t target) Resolve(context.Context, map[string]json.RawMessage) (services.Ref, services.Target, error) {
	return services.Ref{Account: "work", Sensor: "lamp"}, t, nil
}
func (t target) Graph() *graph.Client     { return t.graph }
func (t target) User() string             { return "" }
func (t target) Location() *time.Location { return time.UTC }
func (t target) OnRejected()              {}
func (t target) OnSuccess(context.Context, string, any) func(services.Tx) {
	return nil
}

// open returns an inbox with a dispatcher and a journal over s, for the operations of l.
func open(t *testing.T, s *store, l *lamp, queue int) (*inbox.Inbox, *services.Dispatcher, *services.Journal) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	journal, err := services.OpenJournal(s, s.each, log)
	if err != nil {
		t.Fatal(err)
	}
	dispatcher := services.NewDispatcher(services.DispatcherOptions{Journal: journal, Resolver: l, MaxAge: 15 * time.Minute, Queue: queue, Log: log})
	b := inbox.New(inbox.Options{Topics: "g2m", Dispatcher: dispatcher, Journal: journal, Log: log})
	dispatcher.Register(inbox.Scheme, b)
	return b, dispatcher, journal
}

// A program is an inbox with a dispatcher and a journal, over a store that outlives it.
type program struct {
	*harness
	store *store
	lamp  *lamp
	stop  func()
}

func (p *program) start(t *testing.T) {
	t.Helper()
	if p.store == nil {
		p.store, p.lamp = &store{values: map[string][]byte{}}, &lamp{}
		p.harness = &harness{client: &client{}, log: &strings.Builder{}}
	}
	b, dispatcher, _ := open(t, p.store, p.lamp, 100)
	p.Inbox = b
	p.Attach(p.client)
	stopInbox, stopDispatcher := run(t, p.Run), run(t, dispatcher.Run)
	p.stop = func() { stopDispatcher(); stopInbox(); p.client.lose() }
}

// duplicates returns for each answer whether it is a duplicate.
func (p *program) duplicates(t *testing.T) (all []bool) {
	t.Helper()
	for _, sent := range p.client.sent {
		var r services.Response
		_, payload, _ := strings.Cut(sent, " ")
		if err := json.Unmarshal([]byte(payload), &r); err != nil || r.Status != "ok" {
			t.Errorf("answer %s", sent)
		}
		all = append(all, r.Duplicate)
	}
	return all
}

func TestRedeliveries(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*mqtt.Message)
		absent  bool // the broker's session at the second connection
		confirm bool // the acknowledgement of the first
		calls   int
	}{
		{"delivered again", func(*mqtt.Message) {}, false, false, 1},
		{"pressed again", func(m *mqtt.Message) { m.Duplicate, m.PacketID = false, 2 }, false, false, 2},
		{"delivered again with another packet id", func(m *mqtt.Message) { m.PacketID = 2 }, false, false, 1},
		{"another value on the packet id", func(m *mqtt.Message) { m.Payload = []byte("off") }, false, false, 2},
		{"another topic on the packet id", func(m *mqtt.Message) { m.Topic = "g2m/work/lamp/set/other" }, false, false, 2},
		{"delivered again over the same connection", func(m *mqtt.Message) { m.Connection = 1 }, false, false, 1},
		{"delivered again over the same connection with another packet id", func(m *mqtt.Message) { m.Connection, m.PacketID = 1, 2 }, false, false, 1},
		{"a broker that lost its session", func(*mqtt.Message) {}, true, false, 2},
		{"the packet id was used again", func(*mqtt.Message) {}, false, true, 2},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &program{}
					p.start(t)
					p.OnSession(mqtt.BrokerSession{Present: true, Connection: 1})
					m := message("g2m/work/lamp/set/mode", "on")
					p.receive(m)
					synctest.Wait()
					if p.acked != 1 {
						t.Fatalf("acknowledged %d times", p.acked)
					}
					if test.confirm {
						p.client.confirm()
						// Something else is written before the program ends.
						other := m
						other.PacketID, other.Topic = 9, "g2m/work/lamp/set/else"
						p.receive(other)
						synctest.Wait()
						p.client.sent, p.acked, p.lamp.calls = p.client.sent[:1], 1, 1
					}
					p.client.lose()
					if restart {
						p.stop()
						p.start(t)
					}
					p.OnSession(mqtt.BrokerSession{Present: !test.absent, Connection: 2})
					m.Duplicate, m.Connection = true, 2
					test.change(&m)
					p.receive(m)
					synctest.Wait()
					duplicates := p.duplicates(t)
					if p.lamp.calls != test.calls || len(duplicates) < 2 || duplicates[len(duplicates)-1] != (test.calls == 1) || p.acked != 2 {
						t.Errorf("%d calls, want %d; duplicates %v, acknowledged %d", p.lamp.calls, test.calls, duplicates, p.acked)
					}
				})
			})
		}
	}
}

// A packet id that is used for something else was free: its acknowledgement arrived.
func TestAPacketIDThatIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		p.start(t)
		p.OnSession(mqtt.BrokerSession{Present: true, Connection: 1})
		m := message("g2m/work/lamp/set/mode", "on")
		p.receive(m)
		synctest.Wait()
		other := message("g2m/work/lamp/set/mode", "off")
		p.receive(other)
		synctest.Wait()
		p.client.lose()
		p.OnSession(mqtt.BrokerSession{Present: true, Connection: 2})
		m.Duplicate, m.Connection = true, 2
		p.receive(m)
		synctest.Wait()
		if p.lamp.calls != 3 {
			t.Errorf("%d calls, want 3", p.lamp.calls)
		}
	})
}

// A message of one broker is not a redelivery of that of another broker, unless both belong to one cluster.
func TestRedeliveriesBySession(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := &program{}
			p.start(t)
			p.OnSession(mqtt.BrokerSession{Number: 3, Present: true, Connection: 1})
			m := message("g2m/work/lamp/set/mode", "on")
			p.receive(m)
			for connection, test := range []struct {
				session mqtt.BrokerSession
				calls   int
			}{
				{mqtt.BrokerSession{Number: 4, Present: true}, 2},
				{mqtt.BrokerSession{Number: 0}, 3},
				{mqtt.BrokerSession{Number: 3, Present: true}, 3},
				{mqtt.BrokerSession{Number: 4}, 4},
				{mqtt.BrokerSession{Number: 3}, 5},
			} {
				synctest.Wait()
				p.client.lose()
				if restart {
					p.stop()
					p.start(t)
				}
				test.session.Connection = uint64(connection + 2)
				p.OnSession(test.session)
				m.Duplicate, m.Connection = true, test.session.Connection
				p.receive(m)
				synctest.Wait()
				if p.lamp.calls != test.calls {
					t.Errorf("restart %t, session %+v: %d calls, want %d", restart, test.session, p.lamp.calls, test.calls)
				}
			}
		})
	}
}

// A message that is not delivered again soon after a reconnect was acknowledged: one that is like it later is a new one.
func TestRedeliveryPeriod(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		calls int
	}{{9 * time.Minute, 2}, {11 * time.Minute, 3}} {
		synctest.Test(t, func(t *testing.T) {
			p := &program{}
			p.start(t)
			p.OnSession(mqtt.BrokerSession{Present: true, Connection: 1})
			m := message("g2m/work/lamp/set/mode", "on")
			p.receive(m)
			synctest.Wait()
			p.client.lose()
			p.OnSession(mqtt.BrokerSession{Present: true, Connection: 2})
			time.Sleep(test.after)
			other := message("g2m/work/lamp/set/other", "on")
			other.Connection, other.PacketID = 2, 7
			p.receive(other)
			m.Duplicate, m.Connection, m.PacketID = true, 2, 8
			p.receive(m)
			synctest.Wait()
			if p.lamp.calls != test.calls {
				t.Errorf("after %v: %d calls, want %d", test.after, p.lamp.calls, test.calls)
			}
		})
	}
}

// An acknowledgement that was sent over a connection that is lost proves nothing.
func TestAnAcknowledgementAfterTheConnectionWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		p.start(t)
		p.OnSession(mqtt.BrokerSession{Present: true, Connection: 1})
		m := message("g2m/work/lamp/set/mode", "on")
		p.receive(m)
		p.OnSession(mqtt.BrokerSession{Present: true, Connection: 2}) // before it is accepted
		p.client.confirm()
		p.client.lose()
		p.OnSession(mqtt.BrokerSession{Present: true, Connection: 3})
		m.Duplicate, m.Connection = true, 3
		p.receive(m)
		synctest.Wait()
		if p.lamp.calls != 1 {
			t.Errorf("%d calls, want 1", p.lamp.calls)
		}
	})
}

// Real requests are answered at once though thousands of retained ones came first.
func TestRetainedCopiesDoNotDelayARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &program{}
		p.start(t)
		p.OnSession(mqtt.BrokerSession{Present: true, Connection: 1})
		for i := range 5000 {
			m := message(fmt.Sprintf("g2m/work/lamp/set/e%d", i), "on")
			m.Retained = true
			p.receive(m)
		}
		begun := time.Now()
		p.receive(message("g2m/work/lamp/set/mode", "on"))
		synctest.Wait()
		if p.lamp.calls != 1 || p.acked != 5001 || time.Since(begun) > 2*time.Second {
			t.Errorf("%d calls, acknowledged %d", p.lamp.calls, p.acked)
		}
	})
}

func TestReplies(t *testing.T) {
	h := &harness{client: &client{limit: 400}}
	h.Inbox = inbox.New(inbox.Options{Topics: "g2m", Journal: nothing{}})
	h.Attach(h.client)
	large := services.Response{Op: "list", Transaction: "abc", Status: "ok", Data: strings.Repeat("x", 1000)}
	failed := services.Response{Op: "list"}.Fail(errors.New(strings.Repeat("x", 1000)))
	for _, test := range []struct {
		topic    string
		response services.Response
		code     services.Code
		message  string
	}{
		{"g2m/a", services.Response{Op: "list", Status: "ok"}, "", ""},
		{"g2m/a", large, services.TooLarge, fmt.Sprintf("the broker does not accept the response of %d bytes; the request was completed", len(large.Encode()))},
		{"g2m/a", failed, services.TooLarge, fmt.Sprintf("the broker does not accept the response of %d bytes", len(failed.Encode()))},
	} {
		h.client.sent = nil
		if err := h.Reply(t.Context(), test.topic, test.response); err != nil || len(h.client.sent) != 1 {
			t.Errorf("error %v, sent %v", err, h.client.sent)
			continue
		}
		var got services.Response
		if err := json.Unmarshal([]byte(strings.TrimPrefix(h.client.sent[0], test.topic+" ")), &got); err != nil {
			t.Fatal(err)
		}
		if got.Op != "list" || got.Transaction != test.response.Transaction {
			t.Errorf("sent %+v", got)
		}
		if got.Error != nil && (got.Error.Code != test.code || got.Error.Message != test.message || got.Error.Retryable) || (got.Error == nil) != (test.code == "") {
			t.Errorf("sent %+v, want %s: %s", got.Error, test.code, test.message)
		}
	}
	// A response to a topic that accepts nothing is given up; one to an unreachable broker is not.
	if err := h.Reply(t.Context(), "g2m/forbidden", large); err != nil {
		t.Errorf("a topic that takes nothing: %v", err)
	}
	for _, r := range []services.Response{{}, failed} {
		if err := h.Reply(t.Context(), "g2m/away", r); err == nil {
			t.Error("a broker that is away: no error")
		}
	}
}

func FuzzTopics(f *testing.F) {
	for _, seed := range []string{"g2m/work/calendar/request/create", "g2m/work/request", "g2m/bridge/request/ping", "g2m//set/x", "g2m/a/b/set/" + strings.Repeat("/", 200), "x"} {
		f.Add(seed, "{}", true)
	}
	f.Fuzz(func(t *testing.T, topic, payload string, retained bool) {
		r := &requests{}
		b := inbox.New(inbox.Options{Topics: "g2m", Dispatcher: r, Journal: nothing{}})
		m := message(topic, payload)
		m.Retained = retained
		b.HandleWithAck(m, func() {})
		for _, i := range r.all {
			reply := strings.TrimPrefix(i.ReplyTo, inbox.Scheme+":")
			if !strings.HasPrefix(reply, "g2m/") || !strings.Contains(reply, "/response") || len(reply) > len("g2m/")+2*256+len("/response/set/")+4*64 {
				t.Errorf("response topic %q", reply)
			}
			if strings.Count(reply, "/") > strings.Count(topic, "/")+1 {
				t.Errorf("%q has more levels than %q", reply, topic)
			}
			if i.Operation != "" && i.Entity != "" || len(i.Payload) == 0 && i.Entity == "" && !strings.HasSuffix(topic, "set") && !strings.HasSuffix(topic, "set/") {
				t.Errorf("request %+v", i)
			}
		}
	})
}

// The acknowledgement of a message holds its payload, and arrives on its own connection only.
func TestMessagesOfLostConnectionsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t)
		h.receive(message("g2m/work/calendar/request/create", `{}`))
		synctest.Wait()
		h.OnSession(mqtt.BrokerSession{Present: true, Connection: 2})
		h.requests.all[0].Accepted(nil)
		synctest.Wait()
		if h.acked != 0 {
			t.Error("acknowledged over a connection that is lost")
		}
	})
}

// While there is much to send, confirmations take long. Messages that were acknowledged do not stay in memory until then.
func TestAcknowledgedMessagesAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t)
		var held []weak.Pointer[byte]
		for i := range 3 {
			payload := new([1 << 20]byte)
			held = append(held, weak.Make(&payload[0]))
			m := mqtt.Message{Topic: "g2m/work/calendar/request/create", Payload: payload[:], PacketID: uint16(i + 1), Connection: 1, Received: time.Now()}
			h.HandleWithAck(m, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.acked += len(m.Payload) >> 20
			})
			h.requests.all[0].Accepted(nil)
			h.requests.all = nil
			synctest.Wait()
		}
		if h.acked != 3 || len(h.client.confirms) == 0 {
			t.Fatalf("acknowledged %d, to be confirmed %d", h.acked, len(h.client.confirms))
		}
		runtime.GC()
		for i, p := range held {
			if p.Value() != nil {
				t.Errorf("message %d is held", i)
			}
		}
		h.client.confirm()
	})
}
