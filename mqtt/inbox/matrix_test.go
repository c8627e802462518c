package inbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/inbox"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// eachBroker runs a test with each broker that requests are known to work with.
func eachBroker(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("mochi", func(t *testing.T) {
		b, err := broker.Embedded("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		f(t, b.URL())
	})
	eachReliableBroker(t, f)
}

// eachReliableBroker runs a test with each broker that loses nothing. The embedded one forgets a message that it has sent, or that
// waits, when it receives one with the same packet id.
func eachReliableBroker(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("mosquitto", func(t *testing.T) { f(t, brokertest.New(t, "").URL) })
	t.Run("nats", func(t *testing.T) { f(t, natstest.New(t).URL) })
}

// records are the records of a client, which outlive it.
type records struct {
	mu     sync.Mutex
	values map[string][]byte
	wait   sync.WaitGroup
}

func (r *records) Commit(write func(mqtt.Tx), done func(error)) {
	r.mu.Lock()
	write(r)
	r.mu.Unlock()
	if done != nil {
		r.wait.Go(func() { done(nil) })
	}
}

func (r *records) Put(_, key string, value []byte) { r.values[key] = bytes.Clone(value) }
func (r *records) Delete(_, key string)            { delete(r.values, key) }

func (r *records) each(f func(string, []byte) error) error {
	r.mu.Lock()
	values := maps.Clone(r.values)
	r.mu.Unlock()
	for key, value := range values {
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// A site is a client, an inbox and a dispatcher, and what others see of them.
type site struct {
	t       *testing.T
	urls    []string
	records *records
	inbox   *inbox.Inbox
	lamp    *lamp
	client  *mqtt.Client
	stop    func()

	mu             sync.Mutex
	heldConnection uint64          // the connection whose messages are not acknowledged, or 0
	receivedAfter  map[string]bool // payloads of messages that were received on later connections
	sessions       []mqtt.BrokerSession
	codes          map[string]int  // responses by status, or by code of the error
	rejected       map[string]bool // topics of responses with an error
}

// A holdingClient confirms nothing on the connection that is held.
type holdingClient struct {
	*mqtt.Client
	site *site
}

func (c holdingClient) Confirm(f func()) {
	if !c.site.holds(c.Stats().Connection) {
		c.Client.Confirm(f)
	}
}

func newSite(t *testing.T, urls ...string) *site {
	t.Helper()
	s := &site{t: t, urls: urls, records: &records{values: map[string][]byte{}}, lamp: &lamp{}, receivedAfter: map[string]bool{}, codes: map[string]int{}, rejected: map[string]bool{}}
	var dispatcher *services.Dispatcher
	s.inbox, dispatcher, _ = open(t, &store{values: map[string][]byte{}}, s.lamp, 1000)
	run(t, s.inbox.Run)
	run(t, dispatcher.Run)
	return s
}

// watch counts the responses that pass through the first broker of some addresses that answers. A request that was rejected may be answered
// again when it is delivered again.
func (s *site) watch(urls ...string) *mqtt.Observer {
	s.t.Helper()
	o, err := mqtt.Observe(mqtt.Options{URLs: urls}, func(m mqtt.Message) {
		var r services.Response
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			s.t.Error(err)
		}
		code := r.Status
		if r.Error != nil {
			code = string(r.Error.Code)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Duplicate || s.rejected[m.Topic] {
			return
		}
		s.rejected[m.Topic] = r.Error != nil
		s.codes[code]++
	}, "g2m/+/+/response/#")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(o.Close)
	return o
}

// connect starts the client, always as the same one.
func (s *site) connect() {
	s.t.Helper()
	o := mqtt.Options{
		URLs: s.urls, ClientID: "site", Base: "g2m", Store: s.records, Load: s.records.each,
		Timing: mqtt.Timing{Barrier: 50 * time.Millisecond, RetryMin: 5 * time.Millisecond, RetryMax: 100 * time.Millisecond},
		Handle: func(m mqtt.Message) {
			s.inbox.HandleWithAck(m, func() {
				if !s.holds(m.Connection) {
					m.Ack()
				}
			})
			s.mu.Lock()
			defer s.mu.Unlock()
			if m.Connection > s.heldConnection {
				s.receivedAfter[string(m.Payload)] = true
			}
		},
		OnSession: func(session mqtt.BrokerSession) {
			s.inbox.OnSession(session)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sessions = append(s.sessions, session)
		},
	}
	var err error
	if s.client, err = mqtt.New(o); err != nil {
		s.t.Fatal(err)
	}
	s.inbox.Attach(holdingClient{s.client, s})
	s.client.Subscribe("g2m/work/request/#", "g2m/work/+/request/#", "g2m/work/+/set/#")
	s.client.Retain("g2m/work/lamp/state", []byte("on"))
	s.client.Ready()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.client.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	s.stop = func() { cancel(); running.Wait(); s.records.wait.Wait() }
	s.t.Cleanup(s.stop)
	await(s.t, "the end of the backlog", func() bool { stats := s.client.Stats(); return stats.Connected && !stats.Backlog && stats.Queued == 0 })
}

// hold has the messages of the current connection not acknowledged.
func (s *site) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heldConnection, s.receivedAfter = s.client.Stats().Connection, map[string]bool{}
}

func (s *site) holds(connection uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return connection == s.heldConnection
}

func (s *site) count(code string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.codes[code]
}

// modes returns the modes that the lamp was set to, sorted.
func (s *site) modes() []string {
	s.lamp.mu.Lock()
	defer s.lamp.mu.Unlock()
	return slices.Sorted(slices.Values(s.lamp.modes))
}

// Requests that were executed, but whose acknowledgements were lost, are delivered again, by NATS later and with another packet id.
// They are not executed again, and new ones that are alike are.
func TestRedeliveriesOfEachBroker(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		redeliveries := uint64(4)
		if strings.HasSuffix(t.Name(), "/mochi") {
			redeliveries = 0 // those that it did not forget
		}
		s := newSite(t, url)
		s.connect()
		o := s.watch(url)
		s.hold()
		publish := func(topic, payload string) {
			t.Helper()
			if err := o.Publish("g2m/work/lamp/"+topic, []byte(payload), false); err != nil {
				t.Fatal(err)
			}
		}
		publish("set/mode", "on")
		publish("request/set", `{"mode": "off"}`)
		publish("set/mode", "on")
		publish("request/set", `{"mode": "dim"}`)
		want := []string{"dim", "off", "on", "on"}
		await(t, "the requests are executed", func() bool { return slices.Equal(s.modes(), want) })

		s.stop()
		before := s.inbox.Stats().Redelivered
		s.connect()
		await(t, "the redeliveries", func() bool { return s.inbox.Stats().Redelivered >= before+redeliveries })
		// Acknowledged, nothing is delivered any more.
		publish("set/mode", "on")
		publish("request/set", `{"mode": "off"}`)
		want = append(want, "off", "on")
		slices.Sort(want)
		await(t, "the new requests are executed", func() bool { return len(s.modes()) >= len(want) })
		if got := s.modes(); !slices.Equal(got, want) {
			t.Errorf("executed %v, want %v", got, want)
		}
	})
}

// Requests that waited for longer than commands.max_age are not executed, whatever order the broker delivers them and the barriers in.
func TestBacklogOfEachBroker(t *testing.T) {
	eachReliableBroker(t, func(t *testing.T, url string) {
		s := newSite(t, url)
		s.connect()
		o := s.watch(url)
		const n = 60
		for round := 1; round <= 3; round++ {
			s.stop()
			s.records.Put("", "seen", []byte(time.Now().Add(-time.Hour).Format(time.RFC3339Nano)))
			for i := range n {
				topic, payload := fmt.Sprintf("g2m/work/lamp%d-%d/set/mode", round, i), "late"
				if i%2 == 0 {
					topic, payload = fmt.Sprintf("g2m/work/lamp%d-%d/request/set", round, i), `{"mode": "late"}`
				}
				if err := o.Publish(topic, []byte(payload), false); err != nil {
					t.Fatal(err)
				}
			}
			s.connect()
			await(t, "the old requests are answered", func() bool { return s.count("expired") == n*round })
			if err := o.Publish("g2m/work/lamp/set/mode", []byte("fresh"), false); err != nil {
				t.Fatal(err)
			}
			await(t, "the fresh request is answered", func() bool { return s.count("ok") == round })
			if got, want := s.modes(), slices.Repeat([]string{"fresh"}, round); !slices.Equal(got, want) {
				t.Fatalf("executed %v, want %v", got, want)
			}
		}
	})
}

// The node of a cluster that a client is connected to ends. The session continues at another node, requests whose acknowledgements
// were lost are not executed again, and the retained messages are there.
func TestFailoverInACluster(t *testing.T) {
	nodes := natstest.NewCluster(t, 3)
	s := newSite(t, nodes[0].URL, nodes[1].URL, nodes[2].URL)
	s.connect()
	var want, lost, others []string
	publish := func(mode string) {
		t.Helper()
		deadline := time.Now().Add(waitTimeout)
		for try := 1; ; try++ {
			once := fmt.Sprint(mode, ", try ", try)
			o, err := mqtt.Observe(mqtt.Options{URLs: others}, nil)
			if err == nil {
				err = o.Publish("g2m/work/lamp/set/mode", []byte(once), false)
				o.Close()
			}
			if err == nil {
				want = append(want, once)
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			lost = append(lost, once) // a node without a leader closes connections; it may have stored the message before
		}
	}
	executed := func() []string {
		return slices.DeleteFunc(s.modes(), func(mode string) bool { return slices.Contains(lost, mode) })
	}
	var at int // the node that the client is connected to
	var unacknowledged []string
	for { // again, if the node closed the connection, as one may that has just started
		s.hold()
		at = slices.IndexFunc(nodes, func(n *natstest.NATS) bool { return n.URL == s.client.Broker() })
		others = slices.Delete(slices.Clone(s.urls), at, at+1)
		before := len(want)
		for range 5 {
			publish(fmt.Sprintf("before %d", len(want)))
		}
		await(t, "the requests are executed", func() bool { return len(executed()) == len(want) })
		unacknowledged = want[before:]
		if s.holds(s.client.Stats().Connection) {
			break
		}
	}
	s.mu.Lock()
	sessions := len(s.sessions)
	s.mu.Unlock()

	nodes[at].Kill()
	await(t, "the session at another node", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.sessions) > sessions
	})
	await(t, "the redeliveries", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !slices.ContainsFunc(unacknowledged, func(payload string) bool { return !s.receivedAfter[payload] })
	})
	for i := range 5 {
		publish(fmt.Sprintf("later %d", i))
	}
	await(t, "the new requests are executed", func() bool { return len(executed()) >= len(want) })
	if got := executed(); !slices.Equal(got, want) {
		t.Errorf("executed %v, want %v", got, want)
	}
	s.mu.Lock()
	last := s.sessions[len(s.sessions)-1]
	s.mu.Unlock()
	if !last.Present || last.Number != 0 {
		t.Errorf("the session at another node: %+v, want the same one", last)
	}
	if s.client.Broker() == nodes[at].URL {
		t.Error("the address is that of the node that ended")
	}
}
