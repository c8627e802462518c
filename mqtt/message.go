package mqtt

import (
	"math/rand/v2"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A Message is a message that arrived.
type Message struct {
	Topic      string
	Payload    []byte
	Retained   bool
	Duplicate  bool // the broker has sent it before
	PacketID   uint16
	Connection uint64 // grows with each connection, also over restarts
	// Age is the longest time that the message can have been under way: 0 for a live one, the longest duration if it is unknown.
	Age      time.Duration
	Received time.Time

	ack func()
}

// Ack acknowledges the message, so that the broker does not send it again. After the connection is lost it does nothing, and the message arrives again.
func (m Message) Ack() {
	if m.ack != nil {
		m.ack()
	}
}

// onMessage handles a message from paho.
func (c *Client) onMessage(conn *connection, m paho.Message) {
	select {
	case <-conn.ready:
	case <-conn.ended:
		return
	}
	c.inbound.Lock()
	defer c.inbound.Unlock()
	select {
	case <-conn.ended:
		return // not acknowledged, it arrives again
	default:
	}
	now := time.Now()
	ack := sync.OnceFunc(func() {
		if m.Qos() > 0 {
			c.mu.Lock()
			conn.acksRequested++
			c.mu.Unlock()
		}
		m.Ack()
	})
	c.mu.Lock()
	c.stats.Received++
	internal := c.handleInternal(conn, m, now)
	message := Message{
		Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Duplicate: m.Duplicate(), PacketID: m.MessageID(),
		Connection: conn.number, Received: now, ack: ack,
	}
	message.Age = conn.age(message.Topic, message.Duplicate, now)
	c.mu.Unlock()
	if internal || c.options.Handle == nil {
		ack()
		return
	}
	c.options.Handle(message)
}

// handleInternal handles messages to the client itself.
func (c *Client) handleInternal(conn *connection, m paho.Message, now time.Time) bool {
	topic := m.Topic()
	switch topic {
	case c.bridgeTopic("barrier"):
		if string(m.Payload()) == conn.barrier() && !conn.barrierPassed {
			conn.barrierPassed = true
			if !conn.asserted {
				conn.asserted = true
				// Messages of an earlier connection may have arrived in between.
				c.markAllPending(false)
			}
			c.wakeWriter()
		}
		return true
	case c.bridgeTopic("state"):
		// The will of a connection that died unnoticed, or another client's message.
		if string(m.Payload()) == offline && conn.online && !conn.stopping {
			conn.online = false
			c.wakeWriter()
		}
		return true
	case c.options.Rules.StatusTopic:
		// A retained one says nothing new.
		if string(m.Payload()) == online && !m.Retained() && conn.birth.IsZero() {
			t := c.options.Timing
			conn.birth = now.Add(t.BirthMin + rand.N(max(t.BirthMax-t.BirthMin, 1)))
			c.wakeWriter()
		}
		return true
	}
	if c.isFilterBarrier(topic, m.Payload()) {
		if string(m.Payload()) == conn.barrier() {
			delete(conn.barriers, topic)
			c.wakeWriter()
		}
		return true
	}
	if _, ok := c.retained.rules.Announcement(topic); !ok {
		return false
	}
	// A retained copy is older than what was sent on this connection.
	if !m.Retained() && c.retained.onForeign(topic, m.Payload(), now) {
		if !c.overwritten[topic] {
			c.overwritten[topic] = true
			c.deferLog(func() {
				c.log.Warn("discovery message overwritten by another client; publishing it again", "topic", topic)
			})
		}
		c.wakeWriter()
	}
	return true
}
