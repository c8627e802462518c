// Package broker runs an MQTT broker within the process, for the demo and for tests.
package broker

import (
	"fmt"
	"io"
	"log/slog"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A Broker takes anybody in, and keeps what it is told in memory.
type Broker struct {
	server *mochi.Server
	hook   *open
	addr   string
}

// Embedded starts a broker that listens on addr, such as "127.0.0.1:0".
func Embedded(addr string) (*Broker, error) {
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumMessageExpiryInterval = 0 // retained messages would be gone after a day
	server := mochi.New(&mochi.Options{InlineClient: true, Capabilities: capabilities, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	hook := new(open)
	if err := server.AddHook(hook, nil); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})
	if err := server.AddListener(listener); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		_ = server.Close() // it never served
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return &Broker{server: server, hook: hook, addr: listener.Address()}, nil
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
	b.hook.settle()
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("close the embedded broker: %w", err)
	}
	return nil
}

// open lets anybody do anything: by default the server lets nobody in.
type open struct {
	mochi.HookBase
	connecting sync.Mutex
}

func (*open) ID() string { return "open" }

func (*open) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (o *open) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool {
	o.connecting.Lock()
	defer o.connecting.Unlock()
	return true
}

// settle waits until everybody who has connected is counted: the server ends without waiting for that.
func (o *open) settle() {
	o.connecting.Lock()
	defer o.connecting.Unlock()
}

func (*open) OnACLCheck(*mochi.Client, string, bool) bool { return true }
