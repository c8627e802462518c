// Package mqtt is the connection to the broker: what it should hold of ours, what Home Assistant is told of devices, and
// what arrives. It knows topics and payloads, and of operations only that they are asked for by messages.
package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	online  = "online"
	offline = "offline"

	qos = 1

	// inflightMax is how many messages may be unacknowledged. Mosquitto's own limit is 20.
	inflightMax = 16
	// queueMax is how many events wait at most.
	queueMax = 1000
)

// Keys of the Store.
const (
	publishedKey    = "published/"    // and the topic: what the broker may hold of ours
	removedKey      = "removed/"      // and the topic: the discovery message whose removal is to be repeated
	subscriptionKey = "subscription/" // and the filter: it lives in the broker's session
	connectionKey   = "connection"    // the number of the last connection
	seenKey         = "seen"          // when there was a connection last
)

// ErrStopped is the error of Send when Run has ended.
var ErrStopped = errors.New("mqtt: stopped")

// A Store keeps what must outlive a restart. Get of what is absent is nil.
type Store interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
	Delete(key string) error
	Each(f func(key string, value []byte) error) error
}

// Options say which broker, and what is done with what it sends.
type Options struct {
	URL                string // mqtt://, mqtts://, ws:// or wss://
	Username, Password string
	ClientID           string // always the same one: the broker's session, and with it what waits in it, goes by it
	KeepAlive          time.Duration
	TLS                *tls.Config

	Base      string // the base topic, "graph2mqtt"
	Discovery Discovery
	Version   string // of this program

	Store Store
	Log   *slog.Logger

	// Handle is called with each message, one after the other. It must not wait for a publication. A message stays in the
	// broker until its Ack.
	Handle func(Message)
	// OnSession, where set, is called before the first message of a connection. Present says that the broker has kept our
	// session, and with it its packet ids.
	OnSession func(present bool, connection uint64)

	Timing Timing
}

// Timing holds the client's times; what is zero has the time that is told.
type Timing struct {
	BirthMin, BirthMax time.Duration // between Home Assistant's birth and our messages: 1 s to 5 s
	Pause              time.Duration // between different discovery messages of one topic: 10 s
	Barrier            time.Duration // between two tries of the barrier: 2 s
	Stamp              time.Duration // between two notes of when we were connected: 30 s
	RetryMin, RetryMax time.Duration // between tries to connect: 1 s to 60 s
	Ack                time.Duration // how long the broker may take to acknowledge: 20 s
	Stop               time.Duration // how long stopping may take: 5 s
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&t.BirthMin, time.Second}, {&t.BirthMax, 5 * time.Second}, {&t.Pause, 10 * time.Second}, {&t.Barrier, 2 * time.Second},
		{&t.Stamp, 30 * time.Second}, {&t.RetryMin, time.Second}, {&t.RetryMax, time.Minute}, {&t.Ack, 20 * time.Second},
		{&t.Stop, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	return t
}

// A Message is what arrived.
type Message struct {
	Topic      string
	Payload    []byte
	Retained   bool
	Duplicate  bool // the broker has sent it before
	PacketID   uint16
	Connection uint64        // grows with each connection, also over restarts
	Backlog    bool          // it may have waited: our own barrier, sent after connecting, has not come back yet
	Away       time.Duration // how long we had been away before this connection; the longest possible where that is unknown
	Received   time.Time

	ack func()
}

// Ack tells the broker that the message need not be sent again. After the connection is lost it does nothing: the message
// will come again.
func (m Message) Ack() {
	if m.ack != nil {
		m.ack()
	}
}

// Stats are counted from New on.
type Stats struct {
	Connected   bool   `json:"connected"`
	Backlog     bool   `json:"backlog"`     // what arrives now may have waited in the broker
	Connection  uint64 `json:"connection"`  // the number of the last one
	Connections uint64 `json:"connections"` // made
	Failures    uint64 `json:"failures"`    // tries that failed, and connections that were lost
	Published   uint64 `json:"published"`   // acknowledged by the broker
	Received    uint64 `json:"received"`
	Dropped     uint64 `json:"dropped"` // events that nobody will get
	Queued      int    `json:"queued"`  // waiting to be sent
}

// A Client keeps the connection. Run is called once; the other methods at any time, by anybody.
type Client struct {
	options Options
	url     *url.URL
	topics  Topics
	log     *slog.Logger
	wake    chan struct{} // something is to be done

	inbound sync.Mutex // held while a message is handled: those of two connections never mix

	mu            sync.Mutex
	retained      *retained
	queue         []*message
	filters       []string // wanted
	subscriptions map[string]bool
	conn          *connection
	stats         Stats
	lastConnected time.Time
	stopped       bool

	shortLived       int             // connections that the broker closed soon
	shortLivedLogged bool            // and it was said
	loggedFailures   map[string]bool // failures that were logged since the last connection
	rejectedFilters  map[string]bool // filters whose refusal was logged
}

// A message is not retained.
type message struct {
	topic   string
	payload []byte
	done    chan error // nil: an event
	dropped bool       // whoever waited has gone
}

// New makes a client from what an earlier run has put into the Store. It contacts nobody.
func New(o Options) (*Client, error) {
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Base == "" || strings.ContainsAny(o.Base, "+#\x00") {
		return nil, fmt.Errorf("base topic: want a topic without + and #, not %q", o.Base)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Discovery.Mode == "" {
		o.Discovery.Mode = DeviceMode
	}
	o.Timing = o.Timing.withDefaults()
	c := &Client{
		options: o, url: u, topics: Topics(o.Base), log: o.Log, wake: make(chan struct{}, 1),
		retained: newRetained(o), subscriptions: map[string]bool{}, loggedFailures: map[string]bool{}, rejectedFilters: map[string]bool{},
	}
	if err := c.load(); err != nil {
		c.log.Error("some of what was published before is forgotten, and stays at the broker", "error", err)
	}
	return c, nil
}

func (c *Client) load() error {
	return c.options.Store.Each(func(key string, value []byte) error {
		if topic, ok := strings.CutPrefix(key, publishedKey); ok {
			c.retained.published[topic] = slices.Clone(value)
		} else if topic, ok := strings.CutPrefix(key, removedKey); ok {
			c.retained.removed[topic] = slices.Clone(value)
		} else if filter, ok := strings.CutPrefix(key, subscriptionKey); ok {
			c.subscriptions[filter] = true
		} else if key == connectionKey {
			c.stats.Connection, _ = strconv.ParseUint(string(value), 10, 64) // spoilt, it starts anew
		} else if key == seenKey {
			c.lastConnected, _ = time.Parse(time.RFC3339Nano, string(value)) // spoilt, it is unknown
		}
		return nil
	})
}

// parseURL checks a broker's address and adds the port that its scheme stands for.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("mqtt url: not a URL") // the error would show a password in it
	}
	port := map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}[u.Scheme]
	if port == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("mqtt url: want mqtt://, mqtts://, ws:// or wss:// and a host, not %q", u.Redacted())
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u, nil
}

// SetDevice sets what Home Assistant is told of a device. A device that changes is announced again after a pause.
func (c *Client) SetDevice(d Device) {
	c.change(func() bool { return c.retained.setDevice(d) })
}

// Remove takes a device away from Home Assistant, and all retained messages below its topic from the broker.
func (c *Client) Remove(deviceID string) {
	c.change(func() bool { return c.retained.remove(deviceID, time.Now()) })
}

// Retain sets what the broker holds at topic; an empty payload removes it. It is sent when it has changed, when a
// connection is made, and when Home Assistant starts. The payload must not be changed afterwards. The bridge's state is the
// client's own.
func (c *Client) Retain(topic string, payload []byte) {
	c.change(func() bool { return c.retained.retain(topic, payload) })
}

// Republish sends what topic should hold once more, though it has not changed: to somebody who has asked for something else.
func (c *Client) Republish(topic string) {
	c.change(func() bool { return c.retained.republish(topic) })
}

// Ready says that all that is configured has been declared, retained and subscribed to. Nothing retained is sent before,
// nor is the bridge online; what an earlier run has left is removed, and unsubscribed from.
func (c *Client) Ready() {
	c.change(func() bool { c.retained.ready(time.Now()); return true })
}

// RepublishAll sends everything again.
func (c *Client) RepublishAll() {
	c.change(func() bool { c.markAllPending(true); return true })
}

// RemoveAll removes everything that this and earlier runs have published, and what is declared, too.
func (c *Client) RemoveAll() {
	c.change(func() bool { c.retained.removeAll(time.Now()); return true })
}

// Subscribe sets the wanted filters.
func (c *Client) Subscribe(filters ...string) {
	c.change(func() bool { c.filters = slices.Clone(filters); return true })
}

// PublishEvent publishes what is of the moment. Without a connection it is dropped.
func (c *Client) PublishEvent(topic string, payload []byte) {
	c.change(func() bool {
		if c.conn == nil || len(c.queue) >= queueMax {
			c.stats.Dropped++
			return false
		}
		c.queue = append(c.queue, &message{topic: topic, payload: payload})
		return true
	})
}

// Send publishes, and waits until the broker has it, over several connections if need be: it may then arrive twice. The
// error is ErrStopped, or wraps that of ctx.
func (c *Client) Send(ctx context.Context, topic string, payload []byte) error {
	m := &message{topic: topic, payload: payload, done: make(chan error, 1)}
	c.change(func() bool {
		if c.stopped {
			m.done <- ErrStopped
			return false
		}
		c.queue = append(c.queue, m)
		return true
	})
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		c.change(func() bool {
			m.dropped = true
			c.queue = slices.DeleteFunc(c.queue, func(other *message) bool { return other == m })
			return false
		})
		return fmt.Errorf("publish to %s: %w", topic, context.Cause(ctx))
	}
}

// Stats tells how it goes.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Connected, s.Backlog = c.conn != nil, c.conn != nil && !c.conn.barrierPassed
	s.Queued = c.retained.waiting() + len(c.queue)
	return s
}

// change does something under the lock, and wakes the writer where there is something to do.
func (c *Client) change(f func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f() {
		c.wakeWriter()
	}
}

func (c *Client) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// markAllPending has everything sent again, and that we are online after it.
func (c *Client) markAllPending(discovery bool) {
	c.retained.markAllPending(discovery)
	if c.conn != nil {
		c.conn.online = false
	}
}

// Run connects and keeps connected until ctx is done, then says that we are offline and disconnects. Failures are logged,
// once each, and tried again: it returns nil.
func (c *Client) Run(ctx context.Context) error {
	defer c.stop()
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = c.options.Timing.RetryMin, c.options.Timing.RetryMax
	for ctx.Err() == nil {
		steady, err := c.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		if steady {
			retry.Reset()
		}
		c.logFailure(err, steady)
		select {
		case <-ctx.Done():
		case <-time.After(retry.NextBackOff()):
		}
	}
	return nil
}

// connection makes one connection and serves it to its end. It was steady if it lasted.
func (c *Client) connection(ctx context.Context) (steady bool, err error) {
	conn, present, err := c.connect(ctx)
	if err != nil {
		return false, err
	}
	begun := time.Now()
	c.onConnected(conn, present)
	err = conn.serve(ctx)
	c.onDisconnected(conn)
	return time.Since(begun) >= c.steadyAfter(), err
}

// steadyAfter is long enough for another client with our id to have come back.
func (c *Client) steadyAfter() time.Duration { return 2 * c.options.Timing.RetryMax }

func (c *Client) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, m := range c.queue {
		c.giveUp(m, ErrStopped)
	}
	c.queue = nil
}

// giveUp is the end of a message that was not sent.
func (c *Client) giveUp(m *message, err error) {
	if m.done == nil {
		c.stats.Dropped++
	} else {
		m.done <- err
	}
}

// A failure is an error of a kind; each kind is logged once.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// lost is the kind of failure of a connection that there was.
const lost = "lost"

func (c *Client) logFailure(err error, steady bool) {
	c.mu.Lock()
	c.stats.Failures++
	c.mu.Unlock()
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{kind: "network", err: err}
	}
	if f.kind != lost {
		c.shortLived = 0
		if !c.loggedFailures[f.kind] {
			c.log.Error("cannot connect to the broker", "url", c.url.Redacted(), "reason", f.kind, "error", f.err)
			c.loggedFailures[f.kind] = true
		}
		return
	}
	if c.shortLived++; steady || !closedByPeer(f.err) {
		c.shortLived = 0
	}
	switch {
	case c.shortLivedLogged:
	case c.shortLived < 3:
		c.log.Warn("connection to the broker lost", "url", c.url.Redacted(), "error", f.err)
	default:
		c.shortLivedLogged = true
		c.log.Error("the broker closes the connection again and again: is another client connected with the same client id?",
			"url", c.url.Redacted(), "client_id", c.options.ClientID)
	}
}

func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// onStable is told that the connection has lasted.
func (c *Client) onStable() {
	c.shortLived = 0
	if c.shortLivedLogged {
		c.shortLivedLogged = false
		c.log.Info("the connection to the broker lasts again", "url", c.url.Redacted())
	}
}

// connect makes a new paho client: one that reconnects by itself forgets whether the broker kept the session, and sends
// again what it had stored, however old.
func (c *Client) connect(ctx context.Context) (*connection, bool, error) {
	conn := &connection{
		client: c, ready: make(chan struct{}), gone: make(chan struct{}), lost: make(chan error, 1),
		subscribed: map[string]bool{}, leaving: map[string]bool{}, refused: map[string]*refusal{},
	}
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{c.url}
	o.SetClientID(c.options.ClientID).SetCleanSession(false).SetProtocolVersion(4)
	o.SetUsername(c.options.Username).SetPassword(c.options.Password)
	if c.options.TLS != nil {
		o.SetTLSConfig(c.options.TLS)
	}
	o.SetKeepAlive(cmp.Or(c.options.KeepAlive, time.Minute)).SetPingTimeout(10 * time.Second)
	o.SetConnectTimeout(10 * time.Second).SetWriteTimeout(10 * time.Second)
	o.SetAutoReconnect(false).SetConnectRetry(false)
	o.SetOrderMatters(true).SetAutoAckDisabled(true)
	o.SetBinaryWill(c.topics.Bridge("state"), []byte(offline), qos, true)
	o.SetStore(paho.NewMemoryStore())
	// Set before connecting: what waits in the session comes at once.
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { c.onMessage(conn, m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { conn.lost <- err })
	conn.paho = paho.NewClient(o)

	token := conn.paho.Connect().(*paho.ConnectToken)
	select {
	case <-token.Done():
	case <-ctx.Done():
		close(conn.gone)
		conn.paho.Disconnect(0)
		return nil, false, ctx.Err()
	}
	if err := token.Error(); err != nil {
		return nil, false, &failure{kind: refusedBy(token.ReturnCode()), err: err}
	}
	return conn, token.SessionPresent(), nil
}

// refusedBy names the return codes of CONNACK (MQTT 3.1.1, section 3.2.2.3).
func refusedBy(code byte) string {
	switch code {
	case 1:
		return "the broker does not speak MQTT 3.1.1"
	case 2:
		return "the broker refuses the client id"
	case 3:
		return "the broker is not available"
	case 4:
		return "the broker refuses the user name or the password"
	case 5:
		return "the broker does not authorize this client"
	}
	return "network"
}

// onConnected makes a connection the current one.
func (c *Client) onConnected(conn *connection, present bool) {
	c.inbound.Lock()
	defer c.inbound.Unlock()
	c.mu.Lock()
	now := time.Now()
	c.stats.Connection++
	c.stats.Connections++
	conn.number = c.stats.Connection
	switch {
	case !c.lastConnected.IsZero():
		conn.away = max(0, now.Sub(c.lastConnected))
	case present:
		conn.away = math.MaxInt64
	}
	if !present {
		c.forgetSession()
	}
	c.conn = conn
	c.markAllPending(true)
	c.mu.Unlock()
	c.put(connectionKey, strconv.AppendUint(nil, conn.number, 10))
	c.recordConnected(now)

	if !c.shortLivedLogged {
		c.log.Info("connected to the broker", "url", c.url.Redacted(), "session_present", present)
	}
	clear(c.loggedFailures)
	if c.options.OnSession != nil {
		c.options.OnSession(present, conn.number)
	}
	close(conn.ready)
}

// forgetSession drops the subscriptions that went with the broker's session.
func (c *Client) forgetSession() {
	for filter := range c.subscriptions {
		delete(c.subscriptions, filter)
		c.retained.write(subscriptionKey+filter, nil)
	}
}

func (c *Client) onDisconnected(conn *connection) {
	close(conn.gone)
	conn.paho.Disconnect(250)
	c.flush()
	c.recordConnected(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	// What was sent and not acknowledged goes before what waits.
	again := []*message{}
	for _, f := range conn.inflight {
		if f.message == nil || f.message.dropped {
			continue
		}
		if f.message.done == nil {
			c.stats.Dropped++
			continue
		}
		again = append(again, f.message)
	}
	for _, m := range c.queue {
		if m.done == nil {
			c.stats.Dropped++
			continue
		}
		again = append(again, m)
	}
	c.queue = again
}

// recordConnected notes that there is a connection.
func (c *Client) recordConnected(now time.Time) {
	c.mu.Lock()
	c.lastConnected = now
	c.mu.Unlock()
	c.put(seenKey, []byte(now.UTC().Format(time.RFC3339Nano)))
}

func (c *Client) put(key string, value []byte) {
	var err error
	if value == nil {
		err = c.options.Store.Delete(key)
	} else {
		err = c.options.Store.Put(key, value)
	}
	if err != nil {
		c.log.Error("cannot keep what was published", "key", key, "error", err)
	}
}

// flush puts into the Store what has changed, before it is sent.
func (c *Client) flush() {
	c.mu.Lock()
	writes := c.retained.writes
	c.retained.writes = nil
	c.mu.Unlock()
	for _, w := range writes {
		c.put(w.key, w.value)
	}
}

// onMessage is paho's handler.
func (c *Client) onMessage(conn *connection, m paho.Message) {
	select {
	case <-conn.ready:
	case <-conn.gone:
		return
	}
	c.inbound.Lock()
	defer c.inbound.Unlock()
	select {
	case <-conn.gone:
		return // it is not acknowledged, and comes again
	default:
	}
	now := time.Now()
	c.mu.Lock()
	c.stats.Received++
	own := c.handleInternal(conn, m, now)
	message := Message{
		Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Duplicate: m.Duplicate(), PacketID: m.MessageID(),
		Connection: conn.number, Backlog: !conn.barrierPassed, Away: conn.away, Received: now, ack: m.Ack,
	}
	c.mu.Unlock()
	if own || c.options.Handle == nil {
		m.Ack()
		return
	}
	c.options.Handle(message)
}

// handleInternal takes what is for the client itself.
func (c *Client) handleInternal(conn *connection, m paho.Message, now time.Time) bool {
	switch topic, payload := m.Topic(), string(m.Payload()); topic {
	case c.topics.Bridge("barrier"):
		if payload == conn.barrier() && !conn.barrierPassed {
			conn.barrierPassed = true
			// What an old connection had still on its way may have come between.
			c.markAllPending(false)
			c.wakeWriter()
		}
	case c.topics.Bridge("state"):
		// The will of a connection that died unnoticed, or somebody else's doing.
		if payload == offline && conn.online && !conn.stopping {
			conn.online = false
			c.wakeWriter()
		}
	case c.options.Discovery.StatusTopic:
		// A retained one tells nothing new.
		if payload == online && !m.Retained() && conn.birth.IsZero() {
			t := c.options.Timing
			conn.birth = now.Add(t.BirthMin + rand.N(max(t.BirthMax-t.BirthMin, 1)))
			c.wakeWriter()
		}
	default:
		return false
	}
	return true
}
