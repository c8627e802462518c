// Package broker runs an MQTT broker within the process, for the demo and for tests.
package broker

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// ReleaseTestData releases the data of the library's own tests, which takes 0.4 MB in each program that contains it.
func ReleaseTestData() { packets.TPacketData = nil }

// A Broker accepts every client and keeps sessions and retained messages in memory.
type Broker struct {
	server   *mochi.Server
	conns    *connTracker
	retained *retainedLock
	addr     string
}

// Options configure a broker. The zero Options accept everything.
type Options struct {
	// MaxPacket is the size of the largest packet, in bytes; the broker closes the connection on a larger one. 0: as large as MQTT allows.
	MaxPacket uint32
	// WriteTimeout is the time after which a client is disconnected that does not read what it is sent; 0: 10 s. Until then it can stop all
	// others, because the library waits for it while it reads the retained messages of a subscription.
	WriteTimeout time.Duration
}

// Embedded starts a broker that listens on addr, such as "127.0.0.1:0".
func Embedded(addr string) (*Broker, error) { return New(addr, Options{}) }

// New starts a broker that listens on addr.
func New(addr string, o Options) (*Broker, error) {
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumMessageExpiryInterval = 0 // retained messages would be gone after a day
	capabilities.MaximumPacketSize = o.MaxPacket
	server := mochi.New(&mochi.Options{InlineClient: true, Capabilities: capabilities, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	conns := &connTracker{pending: map[net.Conn]bool{}}
	conns.registered.L = &conns.mu
	retained := &retainedLock{}
	for _, hook := range []mochi.Hook{conns, retained} {
		if err := server.AddHook(hook, nil); err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
	}
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})
	if err := server.AddListener(trackedListener{listener, conns, cmp.Or(o.WriteTimeout, 10*time.Second)}); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		_ = server.Close() // it never served
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return &Broker{server: server, conns: conns, retained: retained, addr: listener.Address()}, nil
}

// URL returns the address that it listens on, with its scheme.
func (b *Broker) URL() string { return "mqtt://" + b.addr }

// Watch calls f with every message that matches filter: first the retained ones, then each as it is published; retained says that the
// broker retains it. Each call needs its own id. f must not publish, watch or wait for a publisher.
func (b *Broker) Watch(id int, filter string, f func(topic string, payload []byte, retained bool)) error {
	b.retained.mu.RLock()
	defer b.retained.mu.RUnlock()
	return b.server.Subscribe(filter, id, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		if strings.HasPrefix(p.TopicName, mochi.SysPrefix) && !strings.HasPrefix(filter, mochi.SysPrefix) {
			return // the broker's figures; for clients of the network the library obeys this rule of MQTT by itself
		}
		f(p.TopicName, p.Payload, p.FixedHeader.Retain)
	})
}

// Retained returns the payload retained at topic; empty if there is none. A watcher may not have been called with it yet.
func (b *Broker) Retained(topic string) []byte {
	for _, p := range b.server.Topics.Messages(topic) {
		return p.Payload
	}
	return nil
}

// Publish publishes a message at QoS 1.
func (b *Broker) Publish(topic string, payload []byte, retained bool) error {
	return b.server.Publish(topic, payload, retained, 1)
}

// Close ends all connections and discards sessions and retained messages.
func (b *Broker) Close() error {
	b.conns.closeAndWait()
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("close the embedded broker: %w", err)
	}
	return nil
}

// connTracker tracks accepted connections until the server has registered them. As a hook it allows everything; without one the server
// refuses every client.
type connTracker struct {
	mochi.HookBase

	mu         sync.Mutex
	closed     bool
	pending    map[net.Conn]bool // accepted, and perhaps not yet registered by the server
	registered sync.Cond
}

func (*connTracker) ID() string { return "connections" }

func (*connTracker) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (t *connTracker) OnConnectAuthenticate(c *mochi.Client, _ packets.Packet) bool {
	t.done(c.Net.Conn)
	return true
}

func (*connTracker) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func (t *connTracker) add(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.pending[c] = true
	}
	return !t.closed
}

func (t *connTracker) done(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pending, c)
	t.registered.Broadcast()
}

// closeAndWait closes connections that are not registered yet, refuses further ones and returns once none is pending. The server's Close
// panics while a connection is being registered.
func (t *connTracker) closeAndWait() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.pending {
		_ = c.Close()
	}
	for len(t.pending) > 0 {
		t.registered.Wait()
	}
}

// trackedListener is a listener whose connections are tracked, and closed when a write takes too long.
type trackedListener struct {
	listeners.Listener
	conns        *connTracker
	writeTimeout time.Duration
}

func (l trackedListener) Serve(establish listeners.EstablishFn) {
	l.Listener.Serve(func(id string, c net.Conn) error {
		c = timedConn{c, l.writeTimeout}
		if !l.conns.add(c) {
			return c.Close()
		}
		defer l.conns.done(c)
		return establish(id, c)
	})
}

// A timedConn is closed when a write takes too long.
type timedConn struct {
	net.Conn
	timeout time.Duration
}

func (c timedConn) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)) // a closed connection fails below
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

// SetDeadline sets the deadline of reads. The library calls it before each read, with the time until which the client must send something.
func (c timedConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }
