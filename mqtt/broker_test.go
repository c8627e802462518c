package mqtt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
)

// waitTimeout bounds how long a test waits for an event.
const waitTimeout = 10 * time.Second

// An observable lets tests wait for its changes.
type observable struct {
	mu      sync.Mutex
	changed chan struct{}
}

func (w *observable) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	if w.changed != nil {
		close(w.changed)
	}
	w.changed = make(chan struct{})
}

// await waits until f, which does its own locking, returns true.
func (w *observable) await(t testing.TB, what string, f func() bool) {
	t.Helper()
	timeout := time.After(waitTimeout)
	for {
		w.mu.Lock()
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		w.mu.Unlock()
		if f() {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// A memoryStore is a Store that outlives its clients.
type memoryStore struct {
	observable
	m       map[string][]byte
	commits int
	done    []func(error)
	calling sync.Mutex
}

func (s *memoryStore) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[key] != nil
}

// Commit writes at once, and calls done in order on another goroutine.
func (s *memoryStore) Commit(write func(mqtt.Tx), done func(error)) {
	s.change(func() {
		if s.m == nil {
			s.m = map[string][]byte{}
		}
		write(tx(s.m))
		s.commits++
		s.done = append(s.done, done)
	})
	go func() {
		s.calling.Lock()
		defer s.calling.Unlock()
		s.mu.Lock()
		first := s.done[0]
		s.done = s.done[1:]
		s.mu.Unlock()
		if first != nil {
			first(nil)
		}
	}()
}

// put sets a record.
func (s *memoryStore) put(key, value string) {
	s.Commit(func(tx mqtt.Tx) { tx.Put("mqtt", key, []byte(value)) }, nil)
}

type tx map[string][]byte

func (t tx) Put(_, key string, value []byte) { t[key] = bytes.Clone(value) }
func (t tx) Delete(_, key string)            { delete(t, key) }

func (s *memoryStore) Each(f func(string, []byte) error) error {
	s.mu.Lock()
	m := maps.Clone(s.m)
	s.mu.Unlock()
	for key, v := range m {
		if err := f(key, v); err != nil {
			return err
		}
	}
	return nil
}

// A logRecorder keeps log lines.
type logRecorder struct {
	observable
	b bytes.Buffer
}

func (r *logRecorder) Write(p []byte) (int, error) {
	r.change(func() { r.b.Write(p) })
	return len(p), nil
}

func (r *logRecorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

func (r *logRecorder) count(text string) int { return strings.Count(r.String(), text) }

// A testClient is a client under test with everything that it received.
type testClient struct {
	*mqtt.Client
	t    testing.TB
	log  *logRecorder
	stop func()

	in          observable
	messages    []mqtt.Message
	connections []bool // was the session there?
	sessions    []mqtt.BrokerSession
}

var discovery = homeassistant.Discovery{Enabled: true, Topic: "ha", StatusTopic: "ha/status", Mode: homeassistant.DeviceMode, QoS: 1, Base: "g", Version: "1.2.3"}

// declare announces a device.
func (b *testClient) declare(d hub.Device) {
	for topic, payload := range discovery.Payloads(d) {
		b.Retain(topic, payload)
	}
}

func options(url string) mqtt.Options {
	store := &memoryStore{}
	return mqtt.Options{
		URLs: []string{url}, ClientID: "graph2mqtt-test", Base: "g", Store: store, Load: store.Each, Rules: discovery.Rules(),
		Timing: mqtt.Timing{
			BirthMin: time.Millisecond, BirthMax: 2 * time.Millisecond, Pause: 30 * time.Millisecond, Barrier: 50 * time.Millisecond,
			RetryMin: 5 * time.Millisecond, RetryMax: 100 * time.Millisecond, Ack: 10 * time.Second,
		},
	}
}

// run starts a client. Messages are acknowledged by handle, or at once if it is nil.
func run(t testing.TB, o mqtt.Options, handle func(mqtt.Message)) *testClient {
	t.Helper()
	b := &testClient{t: t, log: &logRecorder{}}
	o.Log = slog.New(slog.NewTextHandler(b.log, nil))
	o.Handle = func(m mqtt.Message) {
		b.in.change(func() { b.messages = append(b.messages, m) })
		if handle == nil {
			m.Ack()
		} else {
			handle(m)
		}
	}
	o.OnSession = func(s mqtt.BrokerSession) {
		b.in.change(func() { b.connections, b.sessions = append(b.connections, s.Present), append(b.sessions, s) })
	}
	client, err := mqtt.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Client = client
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := client.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	b.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(func() {
		b.stop()
		if t.Failed() {
			t.Logf("log:\n%s", b.log)
		}
	})
	return b
}

// received waits for a message with this payload and returns it.
func (b *testClient) received(payload string) (found mqtt.Message) {
	b.t.Helper()
	b.in.await(b.t, "message "+payload, func() bool {
		for _, m := range b.inbox() {
			if string(m.Payload) == payload {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// inbox returns the messages received so far.
func (b *testClient) inbox() []mqtt.Message {
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	return slices.Clone(b.messages)
}

// present returns for each connection whether the broker had kept the session.
func (b *testClient) present() []bool {
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	return slices.Clone(b.connections)
}

// connected waits for the nth connection.
func (b *testClient) connected(n int) {
	b.t.Helper()
	b.in.await(b.t, "connection", func() bool { return len(b.present()) >= n })
}

func (b *testClient) logged(text string) {
	b.t.Helper()
	b.log.await(b.t, "log line "+text, func() bool { return b.log.count(text) > 0 })
}

// loggedOnce asserts that a line was logged exactly once.
func (b *testClient) loggedOnce(text string) {
	b.t.Helper()
	b.logged(text)
	if n := b.log.count(text); n != 1 {
		b.t.Errorf("%d lines with %q", n, text)
	}
}

// A spy is a second client that subscribes to everything.
type spy struct {
	observable
	t    *testing.T
	paho paho.Client
	all  []paho.Message

	ready atomic.Bool
	syncs atomic.Int64
}

func newSpy(t *testing.T, url string) *spy {
	t.Helper()
	s := &spy{t: t}
	// The broker chooses a client id for each connection: of two with the same, the end of the first may unsubscribe the second.
	o := paho.NewClientOptions().AddBroker(url).SetOrderMatters(true).SetAutoReconnect(true).SetMaxReconnectInterval(100 * time.Millisecond)
	o.SetOnConnectHandler(func(c paho.Client) {
		c.Subscribe("#", 1, func(_ paho.Client, m paho.Message) { s.change(func() { s.all = append(s.all, m) }) }).Wait()
		s.change(func() { s.ready.Store(true) })
	})
	s.paho = paho.NewClient(o)
	if token := s.paho.Connect(); !token.WaitTimeout(waitTimeout) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { s.paho.Disconnect(0) })
	s.await(t, "the spy's subscription", func() bool { return s.ready.Load() })
	return s
}

func (s *spy) publish(topic, payload string, retained bool) {
	s.t.Helper()
	if token := s.paho.Publish(topic, 1, retained, payload); !token.WaitTimeout(waitTimeout) || token.Error() != nil {
		s.t.Fatal(token.Error())
	}
}

// sees waits until the last message of a topic has this payload.
func (s *spy) sees(topic, payload string) {
	s.t.Helper()
	s.await(s.t, topic+" "+payload, func() bool {
		last, ok := s.last(topic)
		return ok && last == payload
	})
}

func (s *spy) last(topic string) (payload string, ok bool) {
	for _, m := range s.log() {
		if m.Topic() == topic {
			payload, ok = string(m.Payload()), true
		}
	}
	return payload, ok
}

// log returns everything seen so far.
func (s *spy) log() []paho.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// seen returns how often a payload was published to a topic.
func (s *spy) seen(topic, payload string) int {
	n := 0
	for _, m := range s.log() {
		if m.Topic() == topic && string(m.Payload()) == payload {
			n++
		}
	}
	return n
}

func (s *spy) awaitSeen(topic, payload string, n int) {
	s.t.Helper()
	s.await(s.t, topic+" "+payload, func() bool { return s.seen(topic, payload) >= n })
}

// sync waits until the spy has seen everything that b has sent so far.
func (s *spy) sync(b *testClient) {
	s.t.Helper()
	payload := fmt.Sprint(s.syncs.Add(1))
	if err := b.Send(s.t.Context(), "g/sync", []byte(payload)); err != nil {
		s.t.Fatal(err)
	}
	s.sees("g/sync", payload)
}

// retained returns what the broker holds. No client should change that meanwhile: the embedded broker does not guard a subscription with
// wildcards against it.
func retained(t *testing.T, url string) map[string]string {
	t.Helper()
	c := newPaho(t, url)
	defer c.Disconnect(0)
	marker := "marker/" + rand.Text()
	c.Publish(marker, 1, true, "stored").Wait()
	defer func() { c.Publish(marker, 1, true, "").Wait() }()
	// NATS stores retained messages after it has acknowledged them, one after the other.
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); {
		if got := readRetained(t, url); got[marker] != "" {
			return got
		}
	}
	t.Fatal("the broker does not store a retained message")
	return nil
}

// newPaho returns a connected client.
func newPaho(t *testing.T, url string) paho.Client {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetOrderMatters(true))
	if token := c.Connect(); !token.WaitTimeout(waitTimeout) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	return c
}

// readRetained returns what the broker sends to a new subscription.
func readRetained(t *testing.T, url string) map[string]string {
	t.Helper()
	got := map[string]string{}
	reader := "reader/" + rand.Text() // another reader sends its own
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) }) // QoS 1 may deliver a message twice
	c := newPaho(t, url)
	defer c.Disconnect(0)
	c.Subscribe("#", 1, func(_ paho.Client, m paho.Message) {
		switch {
		case m.Topic() == reader:
			finish()
		case m.Retained():
			got[m.Topic()] = string(m.Payload())
		}
	}).Wait()
	c.Publish(reader, 1, false, "")
	select {
	case <-done:
	case <-time.After(waitTimeout):
		t.Fatal("the reader does not receive its own message")
	}
	return got
}

// eachBroker runs a test with the embedded broker, Mosquitto and NATS.
func eachBroker(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("mochi", func(t *testing.T) {
		b, err := broker.Embedded("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		f(t, b.URL())
	})
	t.Run("mosquitto", func(t *testing.T) { f(t, brokertest.New(t, "").URL) })
	t.Run("nats", func(t *testing.T) { f(t, natstest.New(t).URL) })
}

// A proxy forwards connections to the broker and can break them.
type proxy struct {
	url    string
	target string
	l      net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	hung  bool
	shut  bool
	cut   int // bytes until the connection is cut; 0: never
	wg    sync.WaitGroup
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "mqtt://" + l.Addr().String(), target: strings.TrimPrefix(target, "mqtt://"), l: l, conns: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			shut := p.shut
			p.mu.Unlock()
			out, err := net.Dial("tcp", p.target)
			if err != nil || shut {
				_ = in.Close()
				if err == nil {
					_ = out.Close()
				}
				continue
			}
			p.mu.Lock()
			p.conns[in], p.conns[out] = true, true
			p.mu.Unlock()
			p.wg.Go(func() { p.copy(out, in, true) })
			p.wg.Go(func() { p.copy(in, out, false) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.drop()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) copy(to, from net.Conn, up bool) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		hung, end := p.hung, false
		if up && p.cut > 0 {
			if end = n >= p.cut; end {
				n = p.cut
			}
			p.cut -= n
		}
		p.mu.Unlock()
		if !hung {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil || end {
			return
		}
	}
}

// hang drops everything on the current connections.
func (p *proxy) hang(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung = on
}

// refuse closes every new connection.
func (p *proxy) refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = on
}

// cutAfter closes the connection after n more bytes to the broker.
func (p *proxy) cutAfter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = n
}

// drop closes all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}
