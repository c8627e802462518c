// Package mqtt keeps the connection to the broker, the retained messages that the broker should hold, and the session in which requests
// arrive. It knows topics and payloads, but neither entities nor operations.
package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
)

const (
	online  = "online"
	offline = "offline"

	qos = 1

	// maxInflight is the number of messages that may be unacknowledged. Mosquitto's own limit is 20.
	maxInflight = 16
	// maxEvents is the number of events that are kept while the broker is away.
	maxEvents = 1000

	// suspectAfter is the number of connections after whose loss a message that was in flight is sent alone, refusedAfter the
	// number after which it is given up if it was in flight alone.
	suspectAfter = 2
	refusedAfter = 3
)

// Bucket is the bucket of the Store that the client keeps its records in.
const Bucket = "mqtt"

// The client stores its records in bucket, with these keys.
const (
	publishedKey    = "published/"    // and the topic: what the brokers may hold of ours
	removedKey      = "removed/"      // and the topic: the announcement whose removal is to be repeated
	subscriptionKey = "subscription/" // and the filter: it lives in the broker's session
	connectionKey   = "connection"    // the number of the last connection
	seenKey         = "seen"          // when session 0 was last heard; of others with a slash and the number
	brokerKey       = "broker/"       // and the address: the number of its session
)

// RecordTopic returns the topic that a stored record is about. It is not ok for records about the broker's session.
func RecordTopic(key string) (topic string, ok bool) {
	if topic, ok = strings.CutPrefix(key, publishedKey); !ok {
		topic, ok = strings.CutPrefix(key, removedKey)
	}
	return topic, ok
}

// ErrStopped is returned by Send after Run has ended.
var ErrStopped = errors.New("mqtt: stopped")

// A RefusedError is returned for a message that the broker cannot or does not accept. Sending it again is of no use.
type RefusedError struct {
	Topic    string // shortened
	Size     int    // of the payload
	TooLarge bool   // the size is the likely reason, so a shorter message may be taken
	Reason   string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("publish %d bytes to %s: %s", e.Size, e.Topic, e.Reason)
}

// A Tx collects the writes of one transaction.
type Tx = interface {
	Put(Bucket, key string, value []byte)
	Delete(Bucket, key string)
}

// A Store keeps what has to outlive a restart. Commit never waits: it calls done, which may be nil, when the writes are on disk or have
// failed, in the order of the calls and on another goroutine.
type Store interface {
	Commit(write func(Tx), done func(error))
}

// Options configure a Client.
type Options struct {
	URLs               []string // mqtt://, mqtts://, ws:// or wss://; after a lost connection the next one is tried
	Username, Password string
	ClientID           string // identifies the broker's session, so it must not change
	KeepAlive          time.Duration
	TLS                *tls.Config

	Base  string // the base topic, "graph2mqtt"
	Shard int    // whose topics those of the bridge are; 0: its own
	Rules Rules
	// Keep reports whether what an earlier run published on a topic stays although this one does not set it. The payload is that of an
	// announcement, unknown of others. Nil: nothing stays.
	Keep func(topic string, payload []byte) bool

	Store Store
	// Load calls f with every stored record of the bucket "mqtt". Nil: there are none.
	Load func(f func(key string, value []byte) error) error
	Log  *slog.Logger

	// Handle is called with each message, one after the other. It must not wait for a publication. The broker keeps a message
	// until its Ack.
	Handle func(Message)
	// OnSession, if set, is called before the first message of a connection.
	OnSession func(BrokerSession)
	// OnConnectFailed, if set, is called after each attempt to connect that failed. The next one waits until it returns.
	OnConnectFailed func()

	Timing Timing
}

// A BrokerSession identifies the session of a new connection: the subscriptions, waiting messages and packet ids that a broker keeps
// while the client is away.
type BrokerSession struct {
	Number     int    // the brokers of a cluster share one session, others have their own
	Present    bool   // the broker has kept it
	Connection uint64 // the number of the new connection
}

// Timing holds the client's durations; a zero field has the default given beside it.
type Timing struct {
	BirthMin, BirthMax time.Duration // between Home Assistant's birth and our messages: 1 s to 5 s
	Pause              time.Duration // between different payloads of one announcement: 10 s
	Barrier            time.Duration // between two attempts of the barrier: 2 s
	Stamp              time.Duration // between two records of when the broker was last heard: 60 s
	Heartbeat          time.Duration // between two checks of the clock, which detect that the process was frozen: 4 s
	RetryMin, RetryMax time.Duration // between attempts to connect: 1 s to 60 s
	Ack                time.Duration // how long the broker may take to acknowledge: 20 s
	Stop               time.Duration // how long stopping may take: 5 s
	EventAge           time.Duration // how long an event is kept while the broker is away: 5 min
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&t.BirthMin, time.Second}, {&t.BirthMax, 5 * time.Second}, {&t.Pause, 10 * time.Second}, {&t.Barrier, 2 * time.Second},
		{&t.Stamp, time.Minute}, {&t.Heartbeat, 4 * time.Second}, {&t.RetryMin, time.Second}, {&t.RetryMax, time.Minute},
		{&t.Ack, 20 * time.Second}, {&t.Stop, 5 * time.Second}, {&t.EventAge, 5 * time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	return t
}

// Stats are counted since New.
type Stats struct {
	Connected   bool   `json:"connected"`
	Backlog     bool   `json:"backlog"`     // messages that arrive now may have waited in the broker
	Connection  uint64 `json:"connection"`  // the number of the last one
	Connections uint64 `json:"connections"` // made
	Failures    uint64 `json:"failures"`    // failed attempts and lost connections
	Published   uint64 `json:"published"`   // acknowledged by the broker
	Received    uint64 `json:"received"`
	Dropped     uint64 `json:"dropped"` // events that were too many or too old, or that the broker does not accept
	Refused     uint64 `json:"refused"` // messages that the broker does not accept
	Queued      int    `json:"queued"`  // waiting to be sent
}

// A Client keeps the connection. Run is called once; the other methods are safe for concurrent use.
type Client struct {
	options Options
	urls    []*url.URL
	topics  Topics
	log     *slog.Logger
	wake    chan struct{} // the writer has something to do

	instance string // differs from that of every other client

	inbound sync.Mutex // held while a message is handled, so that those of two connections never mix

	mu            sync.Mutex // guards what follows
	retained      *retained
	queue         []*message // in order
	events        int        // in queue
	filters       []string   // wanted
	subscriptions map[string]bool
	conn          *connection
	stats         Stats
	broker        int               // the index of the URL that is connected to, or tried next
	connectedTo   int               // the index of the last one that was connected to; -1: none
	session       int               // the number of the last session
	sessions      map[string]int    // the number of the session by the address of a broker
	heard         map[int]time.Time // when a session was last heard on earlier connections, by the wall clock
	stopped       bool
	refused       map[string]int // smallest payload that the broker did not take, by topic
	overwritten   map[string]bool
	logs          []func() // to be called without the lock

	shortLived       int             // consecutive connections that the broker closed soon
	shortLivedLogged bool            // and it was logged
	loggedFailures   map[string]bool // failures that were logged since the last connection
	rejectedFilters  map[string]bool // filters whose refusal was logged
}

// A message is not retained.
type message struct {
	topic     string
	payload   []byte
	done      chan error // nil: no caller waits for it
	transient bool       // it is not kept while disconnected; otherwise, without done, it is an event
	queued    time.Time  // by the wall clock
	abandoned bool       // the sender does not wait any more
	losses    int        // connections that were lost while it was in flight
}

func (m *message) isEvent() bool { return m.done == nil && !m.transient }

// New returns a client that continues with what an earlier run stored. It does not connect.
func New(o Options) (*Client, error) {
	urls, err := o.parseURLs()
	if err != nil {
		return nil, err
	}
	if o.Base == "" || strings.ContainsAny(o.Base, "+#") || strings.HasPrefix(o.Base, "$") || strings.ContainsFunc(o.Base, isRisky) {
		return nil, fmt.Errorf("base topic: want a topic without +, #, spaces, control characters and a leading $, not %q", o.Base)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Timing = o.Timing.withDefaults()
	c := &Client{
		options: o, urls: urls, connectedTo: -1, instance: uuid.NewString(), sessions: map[string]int{}, heard: map[int]time.Time{}, topics: Topics(o.Base), log: o.Log, wake: make(chan struct{}, 1),
		retained: newRetained(o.Rules, o.Timing.Pause), subscriptions: map[string]bool{}, refused: map[string]int{}, overwritten: map[string]bool{},
		loggedFailures: map[string]bool{}, rejectedFilters: map[string]bool{},
	}
	c.retained.keep = o.Keep
	if o.Load != nil {
		if err := o.Load(c.load); err != nil {
			c.log.Error("records of published topics could not be read; some may stay at the broker", "error", err)
		}
	}
	for number, at := range c.heard {
		if at.After(c.heard[c.session]) {
			c.session = number
		}
	}
	return c, nil
}

// bridgeTopic returns a topic of the bridge, or of its shard.
func (c *Client) bridgeTopic(name string) string { return c.topics.Shard(c.options.Shard, name) }

// isRisky reports whether a topic must not contain a character because some brokers close the connection then.
func isRisky(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

func (c *Client) load(key string, value []byte) error {
	if topic, ok := strings.CutPrefix(key, publishedKey); ok {
		c.retained.published[topic] = slices.Clone(value)
	} else if topic, ok := strings.CutPrefix(key, removedKey); ok {
		c.retained.removed[topic] = slices.Clone(value)
	} else if filter, ok := strings.CutPrefix(key, subscriptionKey); ok {
		c.subscriptions[filter] = true
	} else if key == connectionKey {
		c.stats.Connection, _ = strconv.ParseUint(string(value), 10, 64) // corrupt, it starts anew
	} else if key == seenKey {
		c.heard[0], _ = time.Parse(time.RFC3339Nano, string(value)) // corrupt, it is unknown
	} else if text, ok := strings.CutPrefix(key, seenKey+"/"); ok {
		if number, err := strconv.Atoi(text); err == nil {
			c.heard[number], _ = time.Parse(time.RFC3339Nano, string(value))
		}
	} else if address, ok := strings.CutPrefix(key, brokerKey); ok {
		if number, err := strconv.Atoi(string(value)); err == nil {
			c.sessions[address] = number
		}
	}
	return nil
}

// parseURLs checks the addresses of the brokers.
func (o Options) parseURLs() (urls []*url.URL, err error) {
	for _, text := range o.URLs {
		u, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	if len(urls) == 0 {
		return nil, errors.New("mqtt url: want at least one")
	}
	return urls, nil
}

// parseURL checks a broker's address and adds the default port of its scheme.
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

// Retain sets what the broker holds at topic; an empty payload removes it. It is sent when it has changed, when a connection is made and
// when Home Assistant starts. The payload must not be changed afterwards. <base>/bridge/state, or that of the shard, is the client's own.
func (c *Client) Retain(topic string, payload []byte) {
	if err := checkTopic(topic, payload); err != nil {
		c.logRefused(err, "retained")
		return
	}
	c.change(func() bool { return c.retained.retain(topic, payload) })
}

// Remove empties topics: announcements at once, the others after a pause.
func (c *Client) Remove(topics ...string) {
	c.change(func() bool { c.retained.remove(topics, time.Now()); return true })
}

// Republish sends a retained topic again although it did not change.
func (c *Client) Republish(topic string) {
	c.change(func() bool { return c.retained.republish(topic) })
}

// Ready marks everything configured as retained and subscribed to. Before it nothing retained is sent and the bridge is not online;
// with it, what an earlier run left is removed and unsubscribed.
func (c *Client) Ready() {
	c.change(func() bool { c.retained.setReady(time.Now()); c.checkSubscriptions(); return true })
}

// RepublishAll sends everything again, announcements that RemoveAll holds back included.
func (c *Client) RepublishAll() {
	c.change(func() bool {
		clear(c.refused)
		c.retained.sendAll()
		c.announceOnline()
		return true
	})
}

// RemoveAll removes every announcement and holds announcements back until RepublishAll or a restart. Other topics stay.
func (c *Client) RemoveAll() {
	c.change(func() bool { c.retained.withhold(); return true })
}

// Subscribe sets the wanted filters.
func (c *Client) Subscribe(filters ...string) {
	c.change(func() bool { c.filters = slices.Clone(filters); c.checkSubscriptions(); return true })
}

func (c *Client) checkSubscriptions() {
	if c.conn != nil {
		c.conn.checkSubscriptions = true
	}
}

// PublishEvent publishes a message that is not retained. While disconnected it is kept, at most for 5 minutes and at most 1,000 in all; they
// are published in order after the reconnect.
func (c *Client) PublishEvent(topic string, payload []byte) {
	err := checkTopic(topic, payload)
	if err != nil {
		c.logRefused(err, "event")
	}
	c.change(func() bool {
		if err != nil || c.stopped {
			c.stats.Dropped++
			return false
		}
		if c.events >= maxEvents {
			c.dropEvent(slices.IndexFunc(c.queue, (*message).isEvent))
		}
		c.queue = append(c.queue, &message{topic: topic, payload: payload, queued: time.Now().Round(0)})
		c.events++
		return true
	})
}

// PublishTransient publishes a message that is of no use later, such as a log line. While disconnected it is discarded.
func (c *Client) PublishTransient(topic string, payload []byte) {
	if err := checkTopic(topic, payload); err != nil {
		c.logRefused(err, "transient")
		return
	}
	c.change(func() bool {
		if c.conn == nil || len(c.queue) >= maxEvents {
			return false
		}
		c.queue = append(c.queue, &message{topic: topic, payload: payload, transient: true})
		return true
	})
}

// dropEvent drops the event at an index of the queue.
func (c *Client) dropEvent(i int) {
	c.queue = slices.Delete(c.queue, i, i+1)
	c.events--
	c.stats.Dropped++
}

// Send publishes a message and waits until the broker has it, over several connections if necessary: it may then arrive twice. The
// error is ErrStopped, wraps that of ctx, or is a *RefusedError.
func (c *Client) Send(ctx context.Context, topic string, payload []byte) error {
	if err := checkTopic(topic, payload); err != nil {
		c.logRefused(err, "response")
		return err
	}
	m := &message{topic: topic, payload: payload, done: make(chan error, 1)}
	c.change(func() bool {
		if c.stopped {
			m.done <- ErrStopped
			return false
		}
		if c.isRefused(topic, payload) {
			m.done <- refusal(topic, payload)
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
			m.abandoned = true
			c.queue = slices.DeleteFunc(c.queue, func(other *message) bool { return other == m })
			return false
		})
		return fmt.Errorf("publish to %s: %w", topic, context.Cause(ctx))
	}
}

// Confirm calls f when the broker has processed everything that was to be sent on this connection before the call, acknowledgements included;
// discovery messages that wait for their pause are not. If the connection is lost first, or there is none, f is not called. It must not
// wait.
func (c *Client) Confirm(f func()) {
	c.change(func() bool {
		if c.conn == nil {
			return false
		}
		c.conn.confirmations = append(c.conn.confirmations, confirmation{f, c.conn.acksRequested})
		c.conn.confirming.Store(true)
		return true
	})
}

// Broker returns the address of the broker that is connected to, or tried next.
func (c *Client) Broker() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.url().Redacted()
}

// url returns the address of the broker that is connected to, or tried next. It is called with mu held.
func (c *Client) url() *url.URL { return c.urls[c.broker] }

// Stats returns the counters.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Connected, s.Backlog = c.conn != nil, c.conn != nil && c.conn.hasBacklog()
	s.Queued = c.retained.waiting() + len(c.queue)
	return s
}

// change calls f with the lock held and wakes the writer if f reports that there is something to do.
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

// announceOnline has the bridge's state sent again after everything else.
func (c *Client) announceOnline() {
	if c.conn != nil {
		c.conn.online = false
	}
}

// markAllPending has everything sent again, and after it that the bridge is online.
func (c *Client) markAllPending(announcements bool) {
	c.retained.markAllPending(announcements)
	c.announceOnline()
}

// Run connects and keeps connected until ctx is done, then publishes that the bridge is offline and disconnects. Failures are logged once each
// and retried; Run returns nil.
func (c *Client) Run(ctx context.Context) error {
	defer c.stop()
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = c.options.Timing.RetryMin, c.options.Timing.RetryMax
	for failed := 0; ctx.Err() == nil; {
		steady, refused, err := c.connectAndServe(ctx)
		if ctx.Err() != nil {
			break
		}
		if steady || refused {
			retry.Reset()
			failed = 0
		}
		c.logFailure(err, steady, refused)
		if f := (*failure)(nil); c.options.OnConnectFailed != nil && errors.As(err, &f) && f.kind != lost {
			c.options.OnConnectFailed()
		}
		c.tryNext()
		if failed++; failed%len(c.urls) != 0 {
			continue // the pause comes after the last broker
		}
		timer := time.NewTimer(retry.NextBackOff())
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// tryNext selects the next broker.
func (c *Client) tryNext() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broker = (c.broker + 1) % len(c.urls)
}

// connectAndServe makes one connection and serves it to its end. It was steady if it lasted; refused says that it was lost because of a message
// that was given up since.
func (c *Client) connectAndServe(ctx context.Context) (steady, refused bool, err error) {
	conn, present, err := c.connect(ctx)
	if err != nil {
		return false, false, err
	}
	begun := time.Now()
	c.onConnected(conn, present)
	err = conn.serve(ctx)
	refused = c.onDisconnected(conn, err)
	return time.Since(begun) >= c.steadyAfter(), refused, err
}

// steadyAfter is long enough for another client with the same id to have reconnected.
func (c *Client) steadyAfter() time.Duration { return 2 * c.options.Timing.RetryMax }

func (c *Client) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, m := range c.queue {
		switch {
		case m.done != nil:
			m.done <- ErrStopped
		case m.isEvent():
			c.stats.Dropped++
		}
	}
	c.queue, c.events = nil, 0
}

// onConnected makes a connection the current one.
func (c *Client) onConnected(conn *connection, present bool) {
	c.inbound.Lock()
	defer c.inbound.Unlock()
	c.mu.Lock()
	now := time.Now().Round(0)
	c.stats.Connection++
	c.stats.Connections++
	conn.number = c.stats.Connection
	conn.begun = now
	c.enterSession(present)
	switch heard := c.heard[c.session]; {
	case heard.IsZero() && !present: // nothing can have waited
	case heard.IsZero(), now.Before(heard): // unknown: the clock was wrong then, or is now
		conn.away = math.MaxInt64
	default:
		conn.away = now.Sub(heard)
	}
	conn.awayBefore = conn.away
	if present {
		conn.expectBarriers(slices.Collect(maps.Keys(c.subscriptions)))
	} else {
		c.forgetSession()
	}
	if c.connectedTo >= 0 && c.connectedTo != c.broker {
		c.retryRefused() // another broker may have other limits
	}
	c.connectedTo = c.broker
	c.conn = conn
	c.markAllPending(true)
	c.retained.write(connectionKey, strconv.AppendUint(nil, conn.number, 10))
	if !present {
		c.setHeard(now) // of the new session
	}
	logged, url, session := c.shortLivedLogged, c.url().Redacted(), c.session
	clear(c.loggedFailures)
	c.mu.Unlock()
	c.flush()

	if !logged {
		c.log.Info("connected to the broker", "url", url, "session_present", present)
	}
	if c.options.OnSession != nil {
		c.options.OnSession(BrokerSession{Number: session, Present: present, Connection: conn.number})
	}
	close(conn.ready)
}

// enterSession sets the number of the session at the broker that is connected to. A broker that has a session of ours although it
// was never connected to shares the last one: it belongs to the same cluster.
func (c *Client) enterSession(present bool) {
	address := addressOf(c.url())
	number, known := c.sessions[address]
	switch {
	case known:
	case present:
		number = c.session
	default:
		number = c.newSession()
	}
	if !known {
		c.sessions[address] = number
		c.retained.write(brokerKey+address, strconv.AppendInt(nil, int64(number), 10))
	}
	c.session = number
	var numbers []int
	for _, u := range c.urls {
		if number, known := c.sessions[addressOf(u)]; known {
			numbers = append(numbers, number)
		}
	}
	c.retained.enter(number, numbers)
}

// addressOf returns the part of a URL that identifies a broker.
func addressOf(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// newSession returns a number that no session has.
func (c *Client) newSession() (number int) {
	for _, used := range c.sessions {
		number = max(number, used+1)
	}
	for used := range c.heard {
		number = max(number, used+1)
	}
	return number
}

// forgetSession drops the subscriptions that were part of the broker's session, unless another broker may have them.
func (c *Client) forgetSession() {
	for _, number := range c.sessions {
		if number != c.session {
			return
		}
	}
	for filter := range c.subscriptions {
		delete(c.subscriptions, filter)
		c.retained.write(subscriptionKey+filter, nil)
	}
}

// onDisconnected ends a connection. It reports whether a message was given up that the broker does not accept.
func (c *Client) onDisconnected(conn *connection, err error) (refused bool) {
	close(conn.ended)
	conn.paho.Disconnect(250)
	c.mu.Lock()
	c.recordHeard(conn)
	c.conn = nil
	before := c.stats.Refused
	// A message that was sent and not acknowledged precedes those that wait.
	var unacknowledged []*message
	for _, f := range conn.inflight {
		if !c.keepAfterLoss(conn, f, err) {
			continue
		}
		unacknowledged = append(unacknowledged, f.message)
		if f.message.isEvent() {
			c.events++
		}
	}
	c.queue = slices.DeleteFunc(append(unacknowledged, c.queue...), func(m *message) bool { return m.transient })
	for c.events > maxEvents {
		c.dropEvent(slices.IndexFunc(c.queue, (*message).isEvent))
	}
	refused = c.stats.Refused > before
	c.mu.Unlock()
	c.flush()
	c.runDeferredLogs()
	return refused
}

// keepAfterLoss reports whether a message that was in flight when the connection was lost is to be sent again. A message, also a retained
// one, that the broker does not accept is given up.
func (c *Client) keepAfterLoss(conn *connection, f *inflight, err error) bool {
	var failed *failure
	wasLost := errors.As(err, &failed) // not ended by ourselves
	if f.message == nil {
		if wasLost && f.publication != nil && c.retained.onLost(*f.publication, conn.alone) {
			c.stats.Refused++
			refused := refusal(f.publication.topic, f.publication.payload)
			c.deferLog(func() { c.logRefused(refused, "retained") })
		}
		return false
	}
	m := f.message
	if m.abandoned {
		return false
	}
	if wasLost {
		if m.losses++; conn.alone && m.losses >= refusedAfter {
			c.refuse(m)
			return false
		}
	}
	return true
}

// isRefused reports whether the broker did not accept a payload of this size, or a smaller one, at topic.
func (c *Client) isRefused(topic string, payload []byte) bool {
	size, ok := c.refused[topic]
	return ok && len(payload) >= size
}

// refuse gives up a message that the broker does not accept.
func (c *Client) refuse(m *message) {
	err := refusal(m.topic, m.payload)
	c.stats.Refused++
	if !c.isRefused(m.topic, m.payload) {
		if len(c.refused) >= 1000 {
			clear(c.refused) // it only saves attempts
		}
		c.refused[m.topic] = max(len(m.payload), 1)
	}
	if m.done == nil {
		if m.isEvent() {
			c.stats.Dropped++
		}
		c.deferLog(func() { c.logRefused(err, "event") })
		return
	}
	c.deferLog(func() { c.logRefused(err, "response") })
	m.done <- err
}

// recordHeard stores when the broker was last heard. While messages may still arrive that waited in it, these are as old on the next
// connection as on this one.
func (c *Client) recordHeard(conn *connection) {
	if heard := conn.heard.Load(); heard != 0 && !conn.hasBacklog() {
		c.setHeard(time.Unix(0, heard))
	}
}

// setHeard stores when the session was last heard.
func (c *Client) setHeard(at time.Time) {
	c.heard[c.session] = at
	key := seenKey
	if c.session > 0 {
		key += "/" + strconv.Itoa(c.session)
	}
	c.retained.write(key, []byte(at.UTC().Format(time.RFC3339Nano)))
}

// flush commits what has changed.
func (c *Client) flush() {
	c.mu.Lock()
	writes, commit := c.retained.takeWrites()
	c.mu.Unlock()
	if commit == 0 {
		return
	}
	c.options.Store.Commit(func(tx Tx) {
		for _, w := range writes {
			if w.value == nil {
				tx.Delete(Bucket, w.key)
			} else {
				tx.Put(Bucket, w.key, w.value)
			}
		}
	}, func(err error) {
		if err != nil {
			c.log.Error("records of published topics could not be stored", "error", err)
		}
		c.change(func() bool { c.retained.onCommitted(commit); return true })
	})
}
