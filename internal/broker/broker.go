// Package broker runs an MQTT broker within the process, for the demo and for tests.
package broker

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A Broker takes anybody in, and keeps what it is told in memory.
type Broker struct {
	server *mochi.Server
	door   *door
	addr   string
}

// Embedded starts a broker that listens on addr, such as "127.0.0.1:0".
func Embedded(addr string) (*Broker, error) {
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumMessageExpiryInterval = 0 // retained messages would be gone after a day
	server := mochi.New(&mochi.Options{InlineClient: true, Capabilities: capabilities, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	d := &door{entering: map[net.Conn]bool{}}
	d.entered.L = &d.mu
	if err := server.AddHook(d, nil); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})
	if err := server.AddListener(guarded{listener, d}); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		_ = server.Close() // it never served
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return &Broker{server: server, door: d, addr: listener.Address()}, nil
}

// URL is where it listens.
func (b *Broker) URL() string { return "mqtt://" + b.addr }

// Watch calls f with every message below the filter from now on, and with those retained there. Each call has another id.
func (b *Broker) Watch(id int, filter string, f func(topic string, payload []byte, retained bool)) error {
	return b.server.Subscribe(filter, id, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		f(p.TopicName, p.Payload, p.FixedHeader.Retain)
	})
}

// Retained is what is retained at a topic; empty where nothing is.
func (b *Broker) Retained(topic string) []byte {
	for _, p := range b.server.Topics.Messages(topic) {
		return p.Payload
	}
	return nil
}

// Publish publishes as a client would, at QoS 1.
func (b *Broker) Publish(topic string, payload []byte, retained bool) error {
	return b.server.Publish(topic, payload, retained, 1)
}

// Close ends all connections. What the broker kept is lost.
func (b *Broker) Close() error {
	b.door.shut()
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("close the embedded broker: %w", err)
	}
	return nil
}

// A door lets anybody in and do anything: by default the server lets nobody in.
type door struct {
	mochi.HookBase

	mu       sync.Mutex
	closed   bool
	entering map[net.Conn]bool // accepted, and perhaps not yet counted by the server
	entered  sync.Cond
}

func (*door) ID() string { return "door" }

func (*door) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (d *door) OnConnectAuthenticate(c *mochi.Client, _ packets.Packet) bool {
	d.through(c.Net.Conn)
	return true
}

func (*door) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func (d *door) enter(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.entering[c] = true
	}
	return !d.closed
}

func (d *door) through(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.entering, c)
	d.entered.Broadcast()
}

// shut lets nobody in any more, and returns when nobody is on the threshold: the server's own end does not wait for those.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for c := range d.entering {
		_ = c.Close()
	}
	for len(d.entering) > 0 {
		d.entered.Wait()
	}
}

// guarded is a listener whose connections come through the door.
type guarded struct {
	listeners.Listener
	door *door
}

func (g guarded) Serve(establish listeners.EstablishFn) {
	g.Listener.Serve(func(id string, c net.Conn) error {
		if !g.door.enter(c) {
			return c.Close()
		}
		defer g.door.through(c)
		return establish(id, c)
	})
}
