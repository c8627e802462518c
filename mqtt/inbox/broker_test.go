package inbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/inbox"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// waitTimeout bounds how long a test waits for an event.
const waitTimeout = 60 * time.Second

const barrier = "g2m/bridge/barrier"

// A connection is a Client over one connection to a real broker. Of package mqtt it has only what an inbox needs.
type connection struct {
	paho   paho.Client
	number uint64
	ready  chan struct{} // closed when the inbox knows of the session

	mu       sync.Mutex
	barriers int
	sent     int // messages of Send that the broker acknowledged
	confirms map[string]func()
	hold     bool // no acknowledgement leaves, nor anything that would confirm one
}

// connect connects as always the same client.
func connect(t *testing.T, url string, number uint64, b *inbox.Inbox) *connection {
	t.Helper()
	c := &connection{number: number, ready: make(chan struct{}), confirms: map[string]func(){}}
	o := paho.NewClientOptions().AddBroker("tcp://" + url[len("mqtt://"):]).SetClientID("inbox").SetCleanSession(false)
	o.SetAutoReconnect(false).SetAutoAckDisabled(true).SetOrderMatters(true)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		<-c.ready
		if m.Topic() == barrier {
			m.Ack()
			c.mu.Lock()
			f := c.confirms[string(m.Payload())]
			delete(c.confirms, string(m.Payload()))
			c.mu.Unlock()
			if f != nil {
				f()
			}
			return
		}
		b.HandleWithAck(mqtt.Message{
			Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Duplicate: m.Duplicate(), PacketID: m.MessageID(),
			Connection: number, Received: time.Now(),
		}, func() {
			c.mu.Lock()
			hold := c.hold
			c.mu.Unlock()
			if !hold {
				m.Ack()
			}
		})
	})
	c.paho = paho.NewClient(o)
	token := c.paho.Connect().(*paho.ConnectToken)
	if !token.WaitTimeout(waitTimeout) || token.Error() != nil {
		t.Fatal("connect: ", token.Error())
	}
	t.Cleanup(c.close)
	b.Attach(c)
	b.OnSession(mqtt.BrokerSession{Present: token.SessionPresent(), Connection: number})
	close(c.ready)
	filters := map[string]byte{barrier: 1, "g2m/work/+/request/#": 1, "g2m/work/+/set/#": 1}
	if token := c.paho.SubscribeMultiple(filters, nil); !token.WaitTimeout(waitTimeout) || token.Error() != nil {
		t.Fatal("subscribe: ", token.Error())
	}
	return c
}

func (c *connection) close() { c.paho.Disconnect(0) }

func (c *connection) Send(ctx context.Context, topic string, payload []byte) error {
	token := c.paho.Publish(topic, 1, false, payload)
	select {
	case <-token.Done():
		if token.Error() == nil {
			c.mu.Lock()
			c.sent++
			c.mu.Unlock()
		}
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *connection) Retain(topic string, payload []byte) {
	if payload == nil {
		payload = []byte{}
	}
	c.paho.Publish(topic, 1, true, payload)
}

func (c *connection) Confirm(f func()) {
	c.mu.Lock()
	if c.hold {
		c.mu.Unlock()
		return
	}
	c.barriers++
	payload := fmt.Sprintf("%d/%d", c.number, c.barriers)
	c.confirms[payload] = f
	c.mu.Unlock()
	c.paho.Publish(barrier, 1, false, payload)
}

// A server is a broker, and a program that is connected to it.
type server struct {
	*broker.Broker
	inbox   *inbox.Inbox
	journal *services.Journal
	lamp    *lamp

	mu      sync.Mutex
	answers []services.Response
}

func serve(t *testing.T) *server {
	t.Helper()
	embedded, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { embedded.Close() })
	s := &server{Broker: embedded, lamp: &lamp{}}
	b, dispatcher, journal := open(t, &store{values: map[string][]byte{}}, s.lamp, 1000)
	s.inbox, s.journal = b, journal
	err = s.Watch(1, "g2m/work/+/response/#", func(_ string, payload []byte, _ bool) {
		var r services.Response
		if err := json.Unmarshal(payload, &r); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answers = append(s.answers, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.inbox.Run)
	run(t, dispatcher.Run)
	return s
}

func (s *server) publish(t *testing.T, topic, payload string, retained bool) {
	t.Helper()
	if err := s.Publish(topic, []byte(payload), retained); err != nil {
		t.Fatal(err)
	}
}

// count returns how many answers have a status or code.
func (s *server) count(code string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.answers {
		if r.Status == code || r.Error != nil && string(r.Error.Code) == code {
			n++
		}
	}
	return n
}

func (s *server) calls() int {
	s.lamp.mu.Lock()
	defer s.lamp.mu.Unlock()
	return s.lamp.calls
}

// await waits until f returns true.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitTimeout)
	for !f() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if !f() {
		t.Fatal("timed out waiting for ", what)
	}
}

func TestCommandsThroughABroker(t *testing.T) {
	s := serve(t)
	connect(t, s.URL(), 1, s.inbox)
	const n = 50
	for i := range n {
		s.publish(t, "g2m/work/lamp/set/mode", strconv.Itoa(i), false)
	}
	await(t, "every command is answered", func() bool { return s.count("ok") == n })
	if s.calls() != n {
		t.Errorf("%d calls", s.calls())
	}
	// Every acknowledgement is confirmed, so nothing can be delivered again.
	await(t, "no origin is open", func() bool { return len(s.journal.Origins()) == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.answers, func(r services.Response) bool { return r.Duplicate }) {
		t.Errorf("answers %+v", s.answers)
	}
}

// A command whose acknowledgement did not arrive is delivered again over the next connection, and is executed once. The same
// command, given again on the same packet id, is executed.
func TestARedeliveryThroughABroker(t *testing.T) {
	s := serve(t)
	c := connect(t, s.URL(), 1, s.inbox)
	c.mu.Lock()
	c.hold = true
	c.mu.Unlock()
	s.publish(t, "g2m/work/lamp/set/mode", "on", false)
	await(t, "the command is answered", func() bool { return s.count("ok") == 1 })
	// Without it the answer would be sent again.
	await(t, "the acknowledgement of the answer", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.sent == 1
	})
	c.close()
	connect(t, s.URL(), 2, s.inbox)
	await(t, "the redelivery is answered", func() bool { return s.count("ok") == 2 })
	s.mu.Lock()
	duplicate := s.answers[1].Duplicate
	s.mu.Unlock()
	if s.calls() != 1 || !duplicate || s.inbox.Stats().Redelivered != 1 {
		t.Errorf("%d calls, duplicate %t, %+v", s.calls(), duplicate, s.inbox.Stats())
	}
	await(t, "no origin is open", func() bool { return len(s.journal.Origins()) == 0 })
	s.publish(t, "g2m/work/lamp/set/mode", "on", false)
	await(t, "the command is answered again", func() bool { return s.count("ok") == 3 && s.calls() == 2 })
}

// Retained commands are refused and removed from the broker, and do not hold up a real one.
func TestRetainedCommandsAtABroker(t *testing.T) {
	s := serve(t)
	const n = 300
	topic := func(i int) string { return fmt.Sprintf("g2m/work/lamp/set/text%d", i) }
	for i := range n {
		s.publish(t, topic(i), "gone fishing", true)
	}
	connect(t, s.URL(), 1, s.inbox)
	s.publish(t, "g2m/work/lamp/set/mode", "on", false)
	await(t, "the real command is answered", func() bool { return s.count("ok") == 1 })
	await(t, "every retained command is refused", func() bool { return s.count(string(services.RetainedRefused)) == n })
	await(t, "no retained command is left", func() bool {
		for i := range n {
			if len(s.Retained(topic(i))) > 0 {
				return false
			}
		}
		return true
	})
	// The messages that removed them were received as empty texts.
	s.publish(t, "g2m/work/lamp/set/mode", "off", false)
	await(t, "the next command is answered", func() bool { return s.count("ok") == 2 })
	if s.calls() != 2 {
		t.Errorf("%d calls, want 2", s.calls())
	}
}
