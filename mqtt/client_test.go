package mqtt_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

func device(keys ...string) hub.Device {
	d := hub.Device{ID: hub.ID{Account: "a", Sensor: "s"}, Name: "Work", Slug: "a_s"}
	for _, key := range keys {
		d.Entities = append(d.Entities, entity.Entity{Key: key, Platform: "sensor", Name: "The " + key})
	}
	return d
}

const oldest = "2025.4"

const deviceTopic = "ha/device/g-a-s/config"

func TestNewRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"http://host":                `mqtt url: want mqtt://, mqtts://, ws:// or wss:// and a host, not "http://host"`,
		"mqtt://":                    `mqtt url: want mqtt://, mqtts://, ws:// or wss:// and a host, not "mqtt:"`,
		"host:1883":                  `mqtt url: want mqtt://, mqtts://, ws:// or wss:// and a host, not "host:1883"`,
		"x://user:secret@host":       `mqtt url: want mqtt://, mqtts://, ws:// or wss:// and a host, not "x://user:xxxxx@host"`,
		"mqtt://user:secret@ho st:x": `mqtt url: not a URL`,
	} {
		o := options(url)
		if _, err := mqtt.New(o); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", url, err, want)
		}
	}
	o := options("mqtt://host")
	for _, base := range []string{"a/+", "#", "$SYS", "a b", "a\tb", "a\u007fb", "a\u00a0b", "a\x00", ""} {
		o.Base = base
		want := fmt.Sprintf("base topic: want a topic without +, #, spaces, control characters and a leading $, not %q", base)
		if _, err := mqtt.New(o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	o.URLs = nil
	if _, err := mqtt.New(o); err == nil || err.Error() != "mqtt url: want at least one" {
		t.Errorf("got %v", err)
	}
}

func TestStartAndStop(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		s := newSpy(t, url)
		b := run(t, options(url), nil)
		b.connected(1)
		b.declare(device("x"))
		b.Retain("g/a/s/availability", []byte("online"))
		b.Retain("g/a/s/state", []byte(`{"x":1}`))
		// A message that is not retained is sent at once, and shows that nothing was sent before it.
		if err := b.Send(t.Context(), "g/a/s/response/x", []byte("1")); err != nil {
			t.Fatal(err)
		}
		s.sees("g/a/s/response/x", "1")
		if _, ok := s.last("g/bridge/state"); ok {
			t.Error("online before everything was declared")
		}
		b.Ready()
		s.sees("g/bridge/state", "online")
		var order []string
		for _, m := range s.log() {
			if m.Topic() != "g/bridge/barrier" && !slices.Contains(order, m.Topic()) {
				order = append(order, m.Topic())
			}
		}
		if want := []string{"g/a/s/response/x", deviceTopic, "g/a/s/state", "g/a/s/availability", "g/bridge/state"}; !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}

		// Unchanged topics are not published: counted when everything was sent again after the barrier.
		b.awaitIdle()
		before := b.Stats().Published
		b.declare(device("x"))
		b.Retain("g/a/s/state", []byte(`{"x":1}`))
		if err := b.Send(t.Context(), "g/a/s/response/x", []byte("2")); err != nil {
			t.Fatal(err)
		}
		if after := b.Stats().Published; after != before+1 {
			t.Errorf("%d messages, want 1", after-before)
		}

		b.stop()
		s.sees("g/bridge/state", "offline")
		got := retained(t, url)
		for topic, want := range map[string]string{"g/bridge/state": "offline", "g/a/s/state": `{"x":1}`, "g/a/s/availability": "online"} {
			if got[topic] != want {
				t.Errorf("%s holds %q, want %q", topic, got[topic], want)
			}
		}
		if errs := mqtttest.CheckAll(map[string][]byte{deviceTopic: []byte(got[deviceTopic]), "g/a/s/state": []byte(got["g/a/s/state"])}, oldest); errs != nil {
			t.Error(errs)
		}
		if err := b.Send(t.Context(), "g/x", nil); !errors.Is(err, mqtt.ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// awaitIdle waits until the barrier was received and everything was sent.
func (b *testClient) awaitIdle() {
	b.t.Helper()
	timeout := time.After(10 * waitTimeout)
	rounds := 0 // that found nothing else; one message may be neither queued nor counted yet
	for last := uint64(0); ; {
		// Each round goes to the broker and back, behind all that is sent.
		if err := b.Send(b.t.Context(), "g/a/request/probe", []byte("probe")); err != nil {
			b.t.Fatal(err)
		}
		s := b.Stats()
		if !s.Backlog && s.Queued == 0 && s.Published == last+1 {
			rounds++
		} else {
			rounds = 0
		}
		if rounds == 2 {
			return
		}
		last = s.Published
		select {
		case <-timeout:
			b.t.Fatalf("never idle: %+v", s)
		default:
		}
	}
}

func TestBrokerComesBack(t *testing.T) {
	for name, conf := range map[string]string{"empty": "", "with all it had": "persistence true\npersistence_location DIR/"} {
		t.Run(name, func(t *testing.T) {
			m := brokertest.New(t, conf)
			s := newSpy(t, m.URL)
			b := run(t, options(m.URL), nil)
			b.Subscribe("g/+/request/#")
			b.declare(device("x"))
			b.Retain("g/a/s/state", []byte("1"))
			b.Ready()
			s.sees("g/bridge/state", "online")
			b.awaitIdle()
			b.PublishEvent("g/a/s/event", []byte("heard"))
			s.sees("g/a/s/event", "heard")
			b.awaitIdle() // it is acknowledged

			if conf == "" {
				m.Kill()
			} else {
				m.Stop()
			}
			b.logged("connection to the broker lost")
			b.PublishEvent("g/a/s/event", []byte("unheard"))
			b.Retain("g/a/s/state", []byte("2"))
			b.Retain("g/a/s/state", []byte("3"))
			b.logged("cannot connect to the broker")
			failures := b.Stats().Failures
			for b.Stats().Failures < failures+3 { // each of them an attempt that takes a while
				time.Sleep(time.Millisecond)
			}
			m.Start()
			b.connected(2)
			s.sees("g/a/s/state", "3")
			b.awaitIdle()
			s.publish("g/a/request/x", "again", false)
			b.received("again")
			b.loggedOnce("connection to the broker lost")
			b.loggedOnce("cannot connect to the broker")

			if present := b.present()[1]; present != (conf != "") {
				t.Errorf("session present: %v", present)
			}
			if got := b.Stats(); got.Dropped != 0 || got.Connections != 2 || !got.Connected {
				t.Errorf("got %+v", got)
			}
			got := retained(t, m.URL)
			if got["g/bridge/state"] != "online" || got["g/a/s/state"] != "3" || got[deviceTopic] == "" {
				t.Errorf("the broker holds %v", got)
			}
			if n := s.seen("g/a/s/state", "2"); n != 0 {
				t.Errorf("an old value came %d times", n)
			}
		})
	}
}

// Events are kept while the broker is away, and published in order: first those that it did not acknowledge.
func TestEventsAreKept(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	s := newSpy(t, m.URL)
	b := run(t, options(p.url), nil)
	b.Ready()
	s.sees("g/bridge/state", "online")
	b.awaitIdle()
	p.hang(true)
	for i := range 20 {
		b.PublishEvent("g/a/s/event", []byte(fmt.Sprint("unacknowledged ", i)))
	}
	for b.Stats().Queued > 4 { // 16 are in flight
		time.Sleep(time.Millisecond)
	}
	p.refuse(true)
	p.drop()
	b.logged("connection to the broker lost")
	for i := range 1000 {
		b.PublishEvent("g/a/s/event", []byte(fmt.Sprint("waited ", i)))
	}
	if got := b.Stats(); got.Dropped != 20 || got.Queued < 1000 {
		t.Errorf("got %+v", got)
	}
	for i := range 5 {
		b.PublishEvent("g/a/s/event", []byte(fmt.Sprint("late ", i)))
	}
	p.hang(false)
	p.refuse(false)
	s.sees("g/a/s/event", "late 4")
	var got []string
	for _, m := range s.log() {
		if m.Topic() == "g/a/s/event" {
			got = append(got, string(m.Payload()))
		}
	}
	if len(got) != 1000 || got[0] != "waited 5" || got[994] != "waited 999" || got[995] != "late 0" {
		t.Errorf("%d events: %.200v", len(got), got)
	}
	if dropped := b.Stats().Dropped; dropped != 25 {
		t.Errorf("%d dropped", dropped)
	}
}

// An event that is too old when the broker is back is dropped; a response never is.
func TestOldEventsAreDropped(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	s := newSpy(t, m.URL)
	o := options(p.url)
	o.Timing.EventAge = time.Nanosecond
	b := run(t, o, nil)
	b.Ready()
	b.connected(1)
	b.awaitIdle()
	p.refuse(true)
	p.drop()
	b.logged("connection to the broker lost")
	b.PublishEvent("g/a/s/event", []byte("old"))
	b.PublishTransient("g/bridge/logging", []byte("old"))
	sent := make(chan error, 1)
	go func() { sent <- b.Send(t.Context(), "g/a/response/x", []byte("1")) }()
	p.refuse(false)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	s.sync(b)
	if n := s.seen("g/a/s/event", "old"); n != 0 || b.Stats().Dropped != 1 {
		t.Errorf("published %d times, %d dropped", n, b.Stats().Dropped)
	}
	b.PublishTransient("g/bridge/logging", []byte("new"))
	s.sees("g/bridge/logging", "new")
	if n := s.seen("g/bridge/logging", "old"); n != 0 {
		t.Error("a transient message is kept while disconnected")
	}
}

// Messages that were in flight when the connection was lost are sent before those that waited.
func TestUnacknowledgedComesFirst(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	s := newSpy(t, m.URL)
	b := run(t, options(p.url), nil)
	b.Ready()
	s.sees("g/bridge/state", "online")
	b.awaitIdle()
	p.hang(true)
	for i := range 20 {
		b.PublishEvent("g/a/s/event", []byte(fmt.Sprint(i)))
	}
	for b.Stats().Queued > 4 {
		time.Sleep(time.Millisecond)
	}
	p.drop()
	p.hang(false)
	s.sees("g/a/s/event", "19")
	for i, m := range slices.DeleteFunc(s.log(), func(m paho.Message) bool { return m.Topic() != "g/a/s/event" }) {
		if want := fmt.Sprint(i); string(m.Payload()) != want {
			t.Fatalf("event %d is %s", i, m.Payload())
		}
	}
}

// A confirmation comes after everything that was sent before it, acknowledgements included, and never for a connection that was lost.
func TestConfirm(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		p := newProxy(t, url)
		s := newSpy(t, url)
		confirmed := make(chan uint16, 100)
		var b *testClient
		b = run(t, options(p.url), func(m mqtt.Message) {
			m.Ack()
			if strings.HasPrefix(string(m.Payload), "x") {
				b.Confirm(func() { confirmed <- m.PacketID })
			}
		})
		b.Confirm(func() { t.Error("confirmed without a connection") })
		b.Subscribe("g/+/request/#")
		b.Ready()
		s.sees("g/bridge/state", "online")
		for i := range 50 {
			s.publish("g/a/request/x", fmt.Sprint("x", i), false)
		}
		for range 50 {
			select {
			case <-confirmed:
			case <-time.After(waitTimeout):
				t.Fatal("not confirmed")
			}
		}
		b.Retain("g/a/request/x", []byte("kept"))
		b.Retain("g/a/request/x", nil)
		b.Retain("g/a/status", []byte("1"))
		b.Confirm(func() { close(confirmed) })
		<-confirmed
		if got := retained(t, url)["g/a/status"]; got != "1" {
			t.Errorf("confirmed before it was sent: %q", got)
		}
		// A confirmed message is not delivered again.
		p.drop()
		b.connected(2)
		b.awaitIdle()
		for _, m := range b.inbox() {
			if m.Duplicate && len(m.Payload) > 0 {
				t.Errorf("%s was delivered again", m.Payload)
			}
		}
		p.hang(true)
		b.Confirm(func() { t.Error("confirmed by a lost connection") })
		p.drop()
		p.hang(false)
		b.connected(3)
		b.awaitIdle()
	})
}

// The broker closes the connection on a message that is larger than it allows. The message is given up, and everything else is published.
func TestBrokerRefusesAMessage(t *testing.T) {
	const limit = 20000
	large := []byte(strings.Repeat("x", limit))
	check := func(t *testing.T, url string) {
		s := newSpy(t, url)
		b := run(t, options(url), nil)
		b.Retain("g/a/s/attributes", []byte("1"))
		b.Retain("g/a/s/items", large)
		// A constant flow of other messages does not keep it from being sent alone.
		busy, stop := context.WithCancel(t.Context())
		var publishing sync.WaitGroup
		for _, publish := range []func(i int){
			func(i int) { b.PublishEvent("g/a/busy/event", []byte(fmt.Sprint(i))) },
			func(i int) { b.Retain("g/a/busy/state", []byte(fmt.Sprint(i))) },
		} {
			publishing.Go(func() {
				for i := 0; busy.Err() == nil; i++ {
					publish(i)
					if b.Stats().Queued > 100 {
						_ = b.Send(busy, "g/a/busy/response", nil) // until some are sent, or the end
					}
				}
			})
		}
		b.Retain("g/a/s/state", []byte("1"))
		b.Ready()
		s.sees("g/bridge/state", "online")
		s.sees("g/a/s/state", "1")
		b.loggedOnce(fmt.Sprintf("kind=retained topic=g/a/s/items bytes=%d", limit))

		var refused *mqtt.RefusedError
		if err := b.Send(t.Context(), "g/a/response/list", large); !errors.As(err, &refused) || !refused.TooLarge || refused.Topic != "g/a/response/list" {
			t.Errorf("got %v", err)
		}
		if err := b.Send(t.Context(), "g/a/response/other", nil); err != nil { // there is a connection again
			t.Error(err)
		}
		connections := b.Stats().Connections
		if err := b.Send(t.Context(), "g/a/response/list", large); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
		if err := b.Send(t.Context(), "g/a/response/list", []byte("too large")); err != nil {
			t.Error(err)
		}
		if n := b.Stats().Connections; n != connections {
			t.Errorf("%d connections for a known limit", n-connections)
		}
		b.PublishEvent("g/a/s/event", large)
		b.PublishEvent("g/a/s/event", []byte("small"))
		s.sees("g/a/s/event", "small")
		b.Retain("g/a/s/items", []byte("small"))
		s.sees("g/a/s/items", "small")
		stop()
		publishing.Wait()
		b.awaitIdle()
		if got := retained(t, url); got["g/a/s/state"] != "1" || got["g/a/s/attributes"] != "1" {
			t.Errorf("the broker holds %v", got)
		}
		// The will of a lost connection may come late.
		s.await(t, "the bridge to be online", func() bool { return retained(t, url)["g/bridge/state"] == "online" })
		if got := b.Stats(); got.Refused != 3 || got.Dropped == 0 {
			t.Errorf("got %+v", got)
		}
		if b.log.count("is another client connected") != 0 {
			t.Error("another client is suspected")
		}
	}
	t.Run("mochi", func(t *testing.T) {
		m, err := broker.New("127.0.0.1:0", broker.Options{MaxPacket: limit})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		check(t, m.URL())
	})
	t.Run("mosquitto", func(t *testing.T) { check(t, brokertest.New(t, fmt.Sprintf("max_packet_size %d", limit)).URL) })
}

// silentHook neither acknowledges nor refuses messages to one topic.
type silentHook struct{ strictHook }

func (*silentHook) Provides(b byte) bool { return (&strictHook{}).Provides(b) || b == mochi.OnPublish }
func (*silentHook) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if p.TopicName == "g/a/s/items" {
		return p, packets.ErrRejectPacket
	}
	return p, nil
}

// A message that the broker never acknowledges is given up, too.
func TestBrokerIgnoresAMessage(t *testing.T) {
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := errors.Join(server.AddHook(&silentHook{}, nil), server.AddListener(listener), server.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // after the client has stopped
	url := "mqtt://" + listener.Address()
	s := newSpy(t, url)
	o := options(url)
	o.Timing.Ack = 200 * time.Millisecond
	b := run(t, o, nil)
	b.Retain("g/a/s/items", []byte("1"))
	b.Retain("g/a/s/state", []byte("1"))
	b.Ready()
	s.sees("g/bridge/state", "online")
	s.sees("g/a/s/state", "1")
	b.loggedOnce("kind=retained topic=g/a/s/items bytes=1")
	b.awaitIdle()
}

// A topic that no broker takes is refused before it is sent.
func TestIllegalTopics(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		b := run(t, options(url), nil)
		b.Ready()
		for topic, want := range map[string]string{
			"":                                "publish 1 bytes to : the topic is empty",
			"g/a" + strings.Repeat("/", 196):  "publish 1 bytes to g/a" + strings.Repeat("/", 97) + "…: the topic has 198 levels, want at most 128",
			"g/" + strings.Repeat("ä", 40000): "publish 1 bytes to g/" + strings.Repeat("ä", 49) + "…: the topic has 80002 bytes, want at most 65535",
			"g/+":                             "publish 1 bytes to g/+: the topic has a wildcard or characters that are not allowed",
			"g/\xff":                          "publish 1 bytes to g/\xff: the topic has a wildcard or characters that are not allowed",
		} {
			var refused *mqtt.RefusedError
			if err := b.Send(t.Context(), topic, []byte("1")); !errors.As(err, &refused) || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			b.Retain(topic, []byte("1"))
			b.PublishEvent(topic, []byte("1"))
		}
		if err := b.Send(t.Context(), "g/x", nil); err != nil {
			t.Error(err)
		}
		if got := b.Stats(); got.Connections != 1 || got.Dropped != 5 {
			t.Errorf("got %+v", got)
		}
	})
}

// A message that waited while the process was frozen is as old as the freeze may have been long.
func TestFrozen(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	s := newSpy(t, m.URL)
	o := options(p.url)
	o.Timing.Heartbeat = time.Hour // the test sets the clock back instead
	b := run(t, o, nil)
	b.Subscribe("g/a/request/#")
	b.Ready()
	s.sees("g/bridge/state", "online")
	b.awaitIdle()
	s.publish("g/a/request/x", "live", false)
	if age := b.received("live").Age; age != 0 {
		t.Errorf("a live message is %v old", age)
	}
	b.SetAlive(time.Now().Add(-3 * time.Hour))
	s.publish("g/a/request/x", "frozen", false)
	if age := b.received("frozen").Age; age < 3*time.Hour || age > 4*time.Hour {
		t.Errorf("%v old", age)
	}
	b.awaitIdle() // the barrier was received again
	s.publish("g/a/request/x", "live again", false)
	if age := b.received("live again").Age; age != 0 {
		t.Errorf("a live message is %v old", age)
	}
}

// A discovery message that another client overwrites is published again.
func TestOverwrittenDiscovery(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		s := newSpy(t, url)
		b := run(t, options(url), nil)
		b.declare(device("x"))
		b.Ready()
		s.sees("g/bridge/state", "online")
		b.awaitIdle()
		s.sync(b)
		config, _ := s.last(deviceTopic)
		n := s.seen(deviceTopic, config)
		for i, other := range []string{"{}", ""} {
			s.publish(deviceTopic, other, true)
			s.awaitSeen(deviceTopic, config, n+i+1)
		}
		b.loggedOnce("discovery message overwritten by another client")
		if got := retained(t, url)[deviceTopic]; got != config {
			t.Errorf("the broker holds %s", got)
		}
	})
}

// Starting with many topics takes few commits, and so does a reconnect.
func TestCommits(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	o := options(p.url)
	store := o.Store.(*memoryStore)
	b := run(t, o, nil)
	for i := range 300 {
		b.Retain(fmt.Sprintf("g/a/s%d/state", i), []byte("1"))
	}
	b.Ready()
	b.connected(1)
	b.awaitIdle()
	counted := func() int {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.commits
	}
	atStart := counted()
	p.drop()
	b.connected(2)
	b.awaitIdle()
	t.Logf("%d commits at the start, %d for a reconnect", atStart, counted()-atStart)
	if atStart > 6 || counted()-atStart > 4 {
		t.Errorf("%d commits at the start, %d for a reconnect", atStart, counted()-atStart)
	}
}

func TestBrokerIsAwayAtStart(t *testing.T) {
	m := brokertest.New(t, "")
	m.Kill()
	b := run(t, options(m.URL), nil)
	b.Retain("g/a/status", []byte("1"))
	b.Ready()
	b.logged("cannot connect to the broker")
	sent := make(chan error, 1)
	go func() { sent <- b.Send(t.Context(), "g/a/response/x", []byte("late")) }()
	m.Start()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	b.awaitIdle()
	if got := retained(t, m.URL); got["g/a/status"] != "1" || got["g/bridge/state"] != "online" {
		t.Errorf("the broker holds %v", got)
	}
}

func TestSendGivesUp(t *testing.T) {
	m := brokertest.New(t, "")
	m.Kill()
	b := run(t, options(m.URL), nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := b.Send(ctx, "g/x", nil); err == nil || err.Error() != "publish to g/x: enough" {
		t.Errorf("got %v", err)
	}
	if got := b.Stats().Queued; got != 0 {
		t.Errorf("%d messages wait", got)
	}
}

func TestPasswordIsWrong(t *testing.T) {
	m := brokertest.New(t, "password_file "+brokertest.Password(t, "me", "right"))
	o := options(m.URL)
	o.Username, o.Password = "me", "wrong-secret"
	failed := make(chan struct{}, 1000)
	o.OnConnectFailed = func() { failed <- struct{}{} }
	b := run(t, o, nil)
	b.logged("cannot connect to the broker")
	<-failed
	<-failed
	for b.Stats().Failures < 3 {
		time.Sleep(time.Millisecond)
	}
	b.loggedOnce(`reason="the broker does not authorize this client: are the user name and the password right?"`)
	if strings.Contains(b.log.String(), "secret") {
		t.Error("the password is in the log")
	}
	b.stop()
	o.Password = "right"
	o.OnConnectFailed = func() { t.Error("the connection failed") }
	b = run(t, o, nil)
	b.connected(1)
}

// Two clients with one id take the session over from each other, and the broker does not report why.
func TestSessionIsTakenOver(t *testing.T) {
	m := brokertest.New(t, "")
	o := options(m.URL)
	b := run(t, o, nil)
	b.Ready()
	rival := func() paho.Client {
		c := paho.NewClient(paho.NewClientOptions().AddBroker(m.URL).SetClientID(o.ClientID).SetAutoReconnect(false))
		if token := c.Connect(); !token.WaitTimeout(waitTimeout) || token.Error() != nil {
			t.Fatal(token.Error())
		}
		return c
	}
	for i := range 5 {
		b.connected(i + 1)
		c := rival()
		defer c.Disconnect(0)
	}
	b.loggedOnce("is another client connected with the same client id?")
	b.connected(6)
	b.loggedOnce("the connection to the broker is stable again")
	if n := b.log.count("connection to the broker lost"); n != 2 {
		t.Errorf("%d lines of lost connections", n)
	}
	b.awaitIdle()
	if got := retained(t, m.URL)["g/bridge/state"]; got != "online" {
		t.Errorf("the bridge is %s", got)
	}
}

// strictHook refuses one filter until allowed is set.
type strictHook struct {
	mochi.HookBase
	allowed atomic.Bool
}

func (*strictHook) ID() string { return "strict" }
func (*strictHook) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (*strictHook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (h *strictHook) OnACLCheck(_ *mochi.Client, topic string, _ bool) bool {
	return topic != "g/+/request/#" || h.allowed.Load()
}

func TestSubscriptionIsRefused(t *testing.T) {
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	hook := &strictHook{}
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := errors.Join(server.AddHook(hook, nil), server.AddListener(listener), server.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // after the client has stopped
	b := run(t, options("mqtt://"+listener.Address()), nil)
	b.Subscribe("g/+/request/#")
	b.Ready()
	b.loggedOnce(`msg="the broker refuses a subscription: is this client allowed to read it?" filter=g/+/request/# code=0x80`)
	b.awaitIdle()
	hook.allowed.Store(true)
	b.loggedOnce(`msg="the broker grants the subscription" filter=g/+/request/#`)
}

// busyHook makes mochi refuse the first SUBSCRIBE because its packet id is in use.
type busyHook struct {
	mochi.HookBase
	refused atomic.Bool
	grant   sync.Once
	granted chan struct{}
}

func (*busyHook) ID() string { return "busy" }
func (*busyHook) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck || b == mochi.OnSubscribe || b == mochi.OnSubscribed
}
func (*busyHook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*busyHook) OnACLCheck(*mochi.Client, string, bool) bool              { return true }
func (h *busyHook) OnSubscribe(c *mochi.Client, p packets.Packet) packets.Packet {
	if !h.refused.Load() {
		c.State.Inflight.Set(packets.Packet{PacketID: p.PacketID})
	}
	return p
}
func (h *busyHook) OnSubscribed(c *mochi.Client, p packets.Packet, codes []byte) {
	if h.refused.CompareAndSwap(false, true) {
		c.State.Inflight.Delete(p.PacketID)
	} else if codes[0] < 0x80 {
		h.grant.Do(func() { close(h.granted) })
	}
}

func TestSubscriptionWithAPacketIDInUse(t *testing.T) {
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	hook := &busyHook{granted: make(chan struct{})}
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := errors.Join(server.AddHook(hook, nil), server.AddListener(listener), server.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // after the client has stopped
	b := run(t, options("mqtt://"+listener.Address()), nil)
	b.Ready()
	select {
	case <-hook.granted:
	case <-time.After(waitTimeout):
		t.Fatal("the client does not subscribe again")
	}
	b.awaitIdle()
	if !hook.refused.Load() || b.log.count("refuses a subscription") != 0 {
		t.Error("a refusal that passes was logged")
	}
}

// Mosquitto grants a subscription that its access list does not allow, and then delivers nothing.
func TestNothingIsDelivered(t *testing.T) {
	acl := filepath.Join(t.TempDir(), "acl")
	write := func(text string) {
		if err := os.WriteFile(acl, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("topic write #\n")
	m := brokertest.New(t, "acl_file "+acl)
	o := options(m.URL)
	o.Timing.Barrier = time.Millisecond
	b := run(t, o, nil)
	b.Subscribe("g/+/request/#")
	b.Ready()
	b.loggedOnce(`msg="the broker does not deliver our own messages: is this client allowed to publish and to read them?" topic=g/bridge/barrier`)
	write("topic readwrite #\n")
	m.Kill()
	m.Start()
	b.connected(2)
	b.awaitIdle()
	s := newSpy(t, m.URL)
	s.publish("g/a/request/x", "now", false)
	b.received("now")
}

// The broker's queue for the client is full, so it drops the barrier at first.
func TestBacklog(t *testing.T) {
	m := brokertest.New(t, "")
	s := newSpy(t, m.URL)
	o := options(m.URL)
	b := run(t, o, nil)
	b.Subscribe("g/+/request/#")
	b.Ready()
	b.awaitIdle()
	s.publish("g/a/request/x", "live", false)
	if got := b.received("live"); got.Age != 0 || got.Retained || got.Duplicate || got.Connection != 1 || got.Topic != "g/a/request/x" {
		t.Errorf("got %+v", got)
	}
	b.stop()

	for i := range 1200 {
		s.paho.Publish("g/a/request/x", 1, false, fmt.Sprint("waited ", i))
	}
	s.publish("g/a/request/x", "too many", false)
	b = run(t, o, nil)
	b.Subscribe("g/+/request/#")
	b.Ready()
	s.sees("g/bridge/state", "online")
	b.awaitIdle()
	b.received("waited 999")
	s.publish("g/a/request/x", "live again", false)
	if got := b.received("live again"); got.Age != 0 || got.Connection != 2 {
		t.Errorf("got %+v", got)
	}
	waited := 0
	for _, m := range b.inbox() {
		if !strings.HasPrefix(string(m.Payload), "waited") {
			continue
		}
		if want := fmt.Sprint("waited ", waited); string(m.Payload) != want || m.Age <= 0 {
			t.Fatalf("got %s, age %v, want %s", m.Payload, m.Age, want)
		}
		waited++
	}
	if waited < 1000 {
		t.Errorf("%d messages had waited", waited)
	}
}

// The broker delivers a message again, marked as a duplicate, until it is acknowledged.
func TestRedelivery(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	s := newSpy(t, m.URL)
	acknowledged := make(chan struct{})
	b := run(t, options(p.url), func(m mqtt.Message) {
		if m.Duplicate {
			m.Ack()
			close(acknowledged)
		}
	})
	b.Subscribe("g/+/request/#")
	b.Ready()
	s.sees("g/bridge/state", "online")
	s.publish("g/a/request/x", "once", false)
	first := b.received("once")
	p.drop()
	var second mqtt.Message
	b.in.await(t, "the message again", func() bool {
		all := b.inbox()
		second = all[len(all)-1]
		return second.Duplicate
	})
	if second.PacketID != first.PacketID || first.PacketID == 0 || second.Connection != first.Connection+1 || second.Age <= 0 || string(second.Payload) != "once" {
		t.Errorf("first %+v, then %+v", first, second)
	}
	first.Ack() // its connection has gone: nothing happens
	<-acknowledged
	// The broker has what was sent before this.
	if err := b.Send(t.Context(), "g/a/response/x", nil); err != nil {
		t.Fatal(err)
	}

	p.drop()
	b.connected(3)
	s.publish("g/a/request/x", "end", false)
	b.received("end")
	if len(b.inbox()) != 3 {
		t.Errorf("%d messages, want 3", len(b.inbox()))
	}
}

func TestConnectionHangs(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	s := newSpy(t, m.URL)
	o := options(p.url)
	o.Timing.Ack = 100 * time.Millisecond
	b := run(t, o, nil)
	b.Ready()
	s.sees("g/bridge/state", "online")
	b.awaitIdle()
	p.hang(true)
	b.Retain("g/a/status", []byte("1"))
	sent := make(chan error, 1)
	go func() { sent <- b.Send(t.Context(), "g/a/response/x", []byte("1")) }()
	b.logged("the broker does not acknowledge")
	b.Retain("g/a/status", []byte("2"))
	p.drop()
	p.hang(false)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	s.sees("g/a/status", "2")
	s.sees("g/a/response/x", "1")
}

// The connection is closed in the middle of a message, and the value changes before the next connection.
func TestLastChangeWins(t *testing.T) {
	m := brokertest.New(t, "")
	p := newProxy(t, m.URL)
	s := newSpy(t, m.URL)
	b := run(t, options(p.url), nil)
	b.Ready()
	s.sees("g/bridge/state", "online")
	b.awaitIdle()
	for i := range 10 {
		p.cutAfter(20 + 10*i) // of a PUBLISH of about 130 bytes
		text := fmt.Sprintf(`{"x":%d,"y":"%s"}`, i, strings.Repeat("x", 100))
		b.Retain("g/a/s/state", []byte(`{"old":`+text+`}`))
		b.connected(i + 2)
		b.Retain("g/a/s/state", []byte(text))
		b.awaitIdle()
		s.sees("g/a/s/state", text)
		s.sees("g/bridge/state", "online")
		if got := retained(t, m.URL); got["g/a/s/state"] != text || got["g/bridge/state"] != "online" {
			t.Fatalf("round %d: the broker holds %v", i, got)
		}
	}
}

func TestUnsubscribe(t *testing.T) {
	m := brokertest.New(t, "")
	s := newSpy(t, m.URL)
	o := options(m.URL)
	store := o.Store.(*memoryStore)
	b := run(t, o, nil)
	b.Subscribe("g/a/request/#", "g/b/request/#")
	b.Ready()
	b.awaitIdle()
	s.publish("g/a/request/x", "first", false)
	b.received("first")
	b.stop()

	b = run(t, o, nil)
	b.Subscribe("g/b/request/#")
	b.Ready()
	store.await(t, "the subscription is forgotten", func() bool { return !store.has("subscription/g/a/request/#") })
	s.publish("g/a/request/x", "unsubscribed", false)
	s.publish("g/b/request/x", "second", false)
	b.received("second")
	if len(b.inbox()) != 1 {
		t.Errorf("got %d messages", len(b.inbox()))
	}
	b.Subscribe("g/c/request/#")
	store.await(t, "the other is forgotten", func() bool { return !store.has("subscription/g/b/request/#") })
	s.publish("g/b/request/x", "unsubscribed", false)
	b.Subscribe("g/c/request/#", "g/b/request/#")
	store.await(t, "it is wanted again", func() bool { return store.has("subscription/g/b/request/#") })
	b.awaitIdle()
	s.publish("g/b/request/x", "third", false)
	b.received("third")
	if len(b.inbox()) != 2 {
		t.Errorf("got %d messages", len(b.inbox()))
	}
}

func TestRemovalOverRestarts(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		s := newSpy(t, url)
		o := options(url)
		store := o.Store.(*memoryStore)
		other := device("x")
		other.ID.Sensor, other.Name, other.Slug = "t", "Other", "a_t"
		b := run(t, o, nil)
		b.declare(device("x", "y"))
		b.declare(other)
		b.Retain("g/a/s/state", []byte("1"))
		b.Retain("g/a/t/state", []byte("1"))
		b.Ready()
		s.sees("g/bridge/state", "online")
		full, _ := s.last(deviceTopic)
		gone, _ := s.last("ha/device/g-a-t/config")
		b.stop()

		b = run(t, o, nil)
		b.declare(device("x"))
		b.Retain("g/a/s/state", []byte("1"))
		b.Ready()
		s.sees("ha/device/g-a-t/config", "")
		s.sees("g/a/t/state", "")
		s.await(t, "the component goes", func() bool {
			last, _ := s.last(deviceTopic)
			return !strings.Contains(last, `"y"`)
		})
		without, _ := s.last(deviceTopic)
		if n := s.seen(deviceTopic, strings.Replace(without, `"components":{`, `"components":{`, 1)); n == 0 {
			t.Error("never without it")
		}
		removal := strings.TrimSuffix(without[:strings.Index(without, `},"device"`)], "}") + `},"y":{"platform":"sensor"}},"device"`
		if s.count(deviceTopic, removal) != 1 {
			t.Errorf("no removal %s", removal)
		}
		b.awaitIdle()
		if got := retained(t, url); got["g/a/t/state"] != "" || got["ha/device/g-a-t/config"] != "" || got[deviceTopic] != without {
			t.Errorf("the broker holds %v", got)
		}

		// Home Assistant was stopped, and starts.
		s.publish("ha/status", "online", false)
		s.awaitSeen("ha/device/g-a-t/config", gone, 2)
		s.awaitSeen(deviceTopic, full, 2)
		store.await(t, "the removals are done", func() bool {
			return !store.has("removed/ha/device/g-a-t/config") && !store.has("removed/"+deviceTopic)
		})
		s.sees("ha/device/g-a-t/config", "")
		s.sees(deviceTopic, without)
		b.awaitIdle()
		if got := retained(t, url); got["ha/device/g-a-t/config"] != "" || got[deviceTopic] != without {
			t.Errorf("the broker holds %v", got)
		}

		b.Remove(deviceTopic, "g/a/s/state")
		s.sees(deviceTopic, "")
		s.sees("g/a/s/state", "")
	})
}

// count returns how many messages of a topic contain text.
func (s *spy) count(topic, text string) int {
	n := 0
	for _, m := range s.log() {
		if m.Topic() == topic && strings.Contains(string(m.Payload()), text) {
			n++
		}
	}
	return n
}

func TestBirth(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		s := newSpy(t, url)
		s.publish("ha/status", "online", true)
		b := run(t, options(url), nil)
		b.declare(device("x"))
		b.Retain("g/a/s/state", []byte("1"))
		b.Ready()
		s.sees("g/bridge/state", "online")
		b.awaitIdle()
		s.sync(b) // this broker acknowledges before it distributes
		config, _ := s.last(deviceTopic)
		configs, states, onlines := s.seen(deviceTopic, config), s.seen("g/a/s/state", "1"), s.seen("g/bridge/state", "online")
		s.publish("ha/status", "offline", true)
		s.publish("ha/status", "online", true)
		s.awaitSeen("g/bridge/state", "online", onlines+1)
		if c, n := s.seen(deviceTopic, config), s.seen("g/a/s/state", "1"); c != configs+1 || n != states+1 {
			t.Errorf("%d times discovery, %d times the state", c-configs, n-states)
		}
		b.RepublishAll()
		s.awaitSeen("g/bridge/state", "online", onlines+2)
		if c := s.seen(deviceTopic, config); c != configs+2 {
			t.Errorf("%d times discovery", c-configs)
		}
	})
}

// The will of an older connection arrives late.
func TestOnlineIsKept(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		s := newSpy(t, url)
		b := run(t, options(url), nil)
		b.Ready()
		s.sees("g/bridge/state", "online")
		b.awaitIdle()
		s.sync(b)
		onlines := s.seen("g/bridge/state", "online")
		s.publish("g/bridge/state", "offline", true)
		s.awaitSeen("g/bridge/state", "online", onlines+1) // the spy of an embedded broker may see it before the other
		if got := retained(t, url)["g/bridge/state"]; got != "online" {
			t.Errorf("the bridge is %s", got)
		}
	})
}

func TestRetainedCommandIsMarkedAndEmptied(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		s := newSpy(t, url)
		s.publish("g/a/request/x", "kept", true)
		retained(t, url) // waits until it is stored
		b := run(t, options(url), nil)
		b.Subscribe("g/a/request/#")
		b.Ready()
		if !b.received("kept").Retained {
			t.Error("not marked")
		}
		b.Retain("g/a/request/x", nil)
		b.received("")
		b.awaitIdle()
		if got := retained(t, url); got["g/a/request/x"] != "" {
			t.Errorf("still there: %q", got["g/a/request/x"])
		}
	})
}

func TestRemoveAll(t *testing.T) {
	m := brokertest.New(t, "")
	s := newSpy(t, m.URL)
	o := options(m.URL)
	b := run(t, o, nil)
	b.declare(device("x"))
	b.Retain("g/a/s/state", []byte("1"))
	b.Ready()
	s.sees("g/bridge/state", "online")
	b.awaitIdle()
	b.RemoveAll()
	s.sees(deviceTopic, "")
	b.awaitIdle()
	b.declare(device("x", "y"))
	s.sync(b)
	states := s.seen("g/a/s/state", "1")
	s.publish("ha/status", "online", false)
	s.awaitSeen("g/a/s/state", "1", states+1)
	b.awaitIdle()
	if got := retained(t, m.URL); got[deviceTopic] != "" || got["g/a/s/state"] != "1" {
		t.Errorf("the broker holds %v", got)
	}
	b.RepublishAll()
	s.await(t, "the device", func() bool { last, _ := s.last(deviceTopic); return strings.Contains(last, `"y":`) })

	// A restart brings it back, too.
	b.RemoveAll()
	s.sees(deviceTopic, "")
	b.stop()
	b = run(t, o, nil)
	b.declare(device("x"))
	b.Ready()
	s.await(t, "the device", func() bool { last, _ := s.last(deviceTopic); return strings.Contains(last, `"x":`) })
}

func TestSchemes(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	hook := &strictHook{}
	hook.allowed.Store(true)
	if err := server.AddHook(hook, nil); err != nil {
		t.Fatal(err)
	}
	all := map[string]listeners.Listener{
		"mqtt":  listeners.NewTCP(listeners.Config{ID: "mqtt", Address: "127.0.0.1:0"}),
		"mqtts": listeners.NewTCP(listeners.Config{ID: "mqtts", Address: "127.0.0.1:0", TLSConfig: web.TLS}),
	}
	for _, l := range all {
		if err := server.AddListener(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // after the client has stopped
	urls := map[string]string{}
	for scheme, l := range all {
		urls[scheme] = scheme + "://" + l.Address()
	}
	// The other two are a WebSocket in front of the first.
	bridge := websocketTo(all["mqtt"].Address())
	plain, secure := httptest.NewServer(bridge), httptest.NewUnstartedServer(bridge)
	secure.TLS = web.TLS.Clone()
	secure.TLS.NextProtos = []string{"http/1.1"}
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	urls["ws"] = strings.Replace(plain.URL, "http", "ws", 1) + "/mqtt"
	urls["wss"] = strings.Replace(secure.URL, "http", "ws", 1) + "/mqtt"

	for scheme, url := range urls {
		t.Run(scheme, func(t *testing.T) {
			o := options(url)
			o.ClientID += scheme
			o.TLS = &tls.Config{RootCAs: roots}
			b := run(t, o, nil)
			b.connected(1)
			if err := b.Send(t.Context(), "g/x", []byte("1")); err != nil {
				t.Error(err)
			}
			b.stop()
			if scheme == "mqtts" {
				o.TLS = nil
				b = run(t, o, nil)
				b.logged("reason=certificate")
				b.loggedOnce("certificate signed by unknown authority")
			}
		})
	}
}

// Errors of TLS name the certificate, not the network.
func TestTLSFailures(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	for name, test := range map[string]struct {
		server, client *tls.Config
		host, want     string
	}{
		"unknown authority": {web.TLS, nil, "", "reason=certificate"},
		"another host":      {web.TLS, &tls.Config{RootCAs: roots}, "localhost", "reason=certificate"},
		"no client certificate": {
			&tls.Config{Certificates: web.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert}, &tls.Config{RootCAs: roots}, "", `reason="the broker refuses the client certificate"`,
		},
		"no TLS": {nil, &tls.Config{RootCAs: roots}, "", `reason="the broker does not speak TLS on this port"`},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					if test.server == nil {
						_, _ = conn.Write([]byte("220 no TLS here\r\n"))
						continue
					}
					secured := tls.Server(conn, test.server)
					_ = secured.Handshake() // the other side reports it
					_ = secured.Close()
				}
			}()
			url := "mqtts://" + l.Addr().String()
			if test.host != "" {
				url = strings.Replace(url, "127.0.0.1", test.host, 1)
			}
			o := options(url)
			o.TLS = test.client
			b := run(t, o, nil)
			b.logged("cannot connect to the broker")
			if !strings.Contains(b.log.String(), test.want) {
				t.Errorf("got %s", b.log)
			}
		})
	}
}

// websocketTo forwards a WebSocket to a TCP address.
func websocketTo(addr string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			return
		}
		in := websocket.NetConn(r.Context(), socket, websocket.MessageBinary)
		defer func() { _ = in.Close() }()
		out, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer func() { _ = out.Close() }()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		_, _ = io.Copy(out, in)
	})
}

// A session can hold the barriers of an earlier process or of another client with the same base topic before the requests that waited: after a
// lost state directory, or in another bucket of a cluster.
func TestBarriersOfOthersThatWaited(t *testing.T) {
	m := brokertest.New(t, "")
	s := newSpy(t, m.URL)
	b := run(t, options(m.URL), nil)
	b.Subscribe("g/a/request/#")
	b.Ready()
	b.awaitIdle()
	b.stop()
	for _, number := range []string{"1", "2", "1.1"} {
		s.publish("g/bridge/barrier", number, false)
		s.publish("g/a/request/barrier", number, false)
	}
	s.publish("g/a/request/x", "waited", false)
	b = run(t, options(m.URL), nil) // with a store that knows nothing
	b.Subscribe("g/a/request/#")
	if age := b.received("waited").Age; age != math.MaxInt64 {
		t.Errorf("a request that waited is %v old", age)
	}
}

// The age is unknown if no time was recorded or the clock is behind it; then it is the longest.
func TestAgeIsUnknown(t *testing.T) {
	m := brokertest.New(t, "")
	s := newSpy(t, m.URL)
	o := options(m.URL)
	store := o.Store.(*memoryStore)
	b := run(t, o, nil)
	b.Subscribe("g/a/request/#")
	b.Ready()
	b.awaitIdle()
	s.publish("g/a/request/x", "first", false)
	if age := b.received("first").Age; age != 0 {
		t.Errorf("a live message is %v old", age)
	}
	b.stop()
	s.publish("g/a/request/x", "second", false)
	for _, seen := range []struct {
		value   string
		want    func(time.Duration) bool
		payload string
	}{
		{time.Now().Add(-time.Hour).Format(time.RFC3339), func(d time.Duration) bool { return d > 59*time.Minute && d < 2*time.Hour }, "second"},
		{"corrupt", func(d time.Duration) bool { return d == math.MaxInt64 }, "third"},
		{time.Now().Add(time.Hour).Format(time.RFC3339), func(d time.Duration) bool { return d == math.MaxInt64 }, "fourth"},
	} {
		store.put("seen", seen.value)
		s.publish("g/a/request/x", seen.payload, false)
		b = run(t, o, nil)
		if age := b.received(seen.payload).Age; !seen.want(age) {
			t.Errorf("%s: %v old", seen.value, age)
		}
		b.stop()
	}
}
