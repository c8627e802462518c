// Package inbox turns the messages of command topics into requests, acknowledges them when they are durable, and sends responses.
// Everything that only MQTT has (packet ids, DUP, retained copies, backlog) stays here.
package inbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Scheme is the name under which an Inbox is registered as a Replier.
const Scheme = "mqtt"

const (
	// maxLevel is the length of the longest id of an account or a sensor in bytes.
	maxLevel = 255
	// maxLogged bounds the characters of a name that are logged.
	maxLogged = 64
	// invalidInterval is the pause between two log messages about invalid names.
	invalidInterval = time.Hour
	// emptyBatch is the number of retained requests that are removed at once, so that other messages get their turn.
	emptyBatch = 100
	// echoGrace is the least time for which the echo of an empty message is expected: a reconnecting client may send the message again.
	echoGrace = 10 * time.Second
	// redeliveryPeriod is the longest time after which a broker delivers again what was unacknowledged when a connection was made.
	redeliveryPeriod = 10 * time.Minute
)

// A Client sends messages. [*mqtt.Client] is one.
type Client interface {
	Send(ctx context.Context, topic string, payload []byte) error
	Retain(topic string, payload []byte)
	// Confirm calls f when the broker has processed everything that was sent on this connection before, acknowledgements
	// included. If the connection is lost first, f is not called.
	Confirm(f func())
}

// A Dispatcher takes requests in. [*services.Dispatcher] is one.
type Dispatcher interface{ Submit(services.Inbound) }

// A Journal remembers where requests came from. [*services.Journal] is one.
type Journal interface {
	Origins() []string
	Release(origins ...string)
}

// Options configure an Inbox.
type Options struct {
	Topics     mqtt.Topics
	Dispatcher Dispatcher
	Journal    Journal
	Log        *slog.Logger
}

// Stats are counted since New.
type Stats struct {
	Invalid     uint64 `json:"invalid"`     // messages with invalid names, which are not answered
	Retained    uint64 `json:"retained"`    // copies of retained requests
	Redelivered uint64 `json:"redelivered"` // messages that were received over an earlier connection
}

// An Inbox takes the messages of command topics in and implements services.Replier.
type Inbox struct {
	topics     mqtt.Topics
	dispatcher Dispatcher
	journal    Journal
	log        *slog.Logger
	wake       chan struct{}

	mu         sync.Mutex // guards what follows
	client     Client
	session    mqtt.BrokerSession
	begun      time.Time            // when the session was entered
	origins    map[string][]*origin // by digest: messages that may be delivered again
	packets    map[uint16]*origin   // by packet id: those of this connection
	messages   uint64               // received
	acks       []ack                // to be sent
	unaccepted map[uint64]func()    // acknowledgements of this connection's messages that are not accepted yet, by number
	numbered   uint64               // the last number
	sent       []ack                // whose arrival is to be confirmed
	toEmpty    []string             // topics of retained requests
	echoes     map[string]*echo     // by topic: empty messages of our own that we receive
	confirming bool
	stats      Stats
	loggedAt   time.Time // the last message about invalid names
	unlogged   uint64    // invalid names since then
}

// An ack is an acknowledgement of a message.
type ack struct {
	send       func()
	origin     string // empty: none
	connection uint64
}

// An echo is an empty message of our own that we receive because we subscribe to its topic.
type echo struct {
	until     time.Time
	confirmed bool // it was received
	queued    bool // it is still to be sent
}

// New returns an Inbox. Attach must be called before Run.
func New(o Options) *Inbox {
	b := &Inbox{
		topics: o.Topics, dispatcher: o.Dispatcher, journal: o.Journal, log: o.Log, wake: make(chan struct{}, 1),
		origins: map[string][]*origin{}, packets: map[uint16]*origin{}, echoes: map[string]*echo{}, unaccepted: map[uint64]func(){},
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	for _, text := range o.Journal.Origins() {
		if o, ok := parseOrigin(text); ok {
			b.origins[o.digest] = append(b.origins[o.digest], o)
		}
	}
	return b
}

// Attach sets the client, which calls Handle and OnSession.
func (b *Inbox) Attach(c Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.client = c
}

// Stats returns the counters.
func (b *Inbox) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

// Run sends acknowledgements and removes retained requests until ctx is done.
func (b *Inbox) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			b.process()
			return nil
		case <-b.wake:
			b.process()
		}
	}
}

func (b *Inbox) notify() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// process sends the acknowledgements that are due, removes some retained requests, and asks for the confirmation of both.
func (b *Inbox) process() {
	b.mu.Lock()
	acks := b.acks
	b.acks = nil
	b.mu.Unlock()
	for i := range acks {
		acks[i].send()
		acks[i].send = nil // it holds the message, and the confirmation may take long
	}

	b.mu.Lock()
	for _, a := range acks {
		// An acknowledgement after the connection was lost never arrives: the message is delivered again.
		if a.connection == b.session.Connection && a.origin != "" {
			b.sent = append(b.sent, a)
		}
	}
	if b.confirming || len(b.sent) == 0 && len(b.toEmpty) == 0 {
		b.mu.Unlock()
		return
	}
	b.confirming = true
	sent := b.sent
	n := min(len(b.toEmpty), emptyBatch)
	topics := b.toEmpty[:n:n]
	b.sent, b.toEmpty = nil, b.toEmpty[n:]
	connection, client := b.session.Connection, b.client
	now := time.Now()
	for topic, e := range b.echoes {
		if e.confirmed && now.After(e.until) {
			delete(b.echoes, topic)
		}
	}
	for _, topic := range topics {
		if e := b.echoes[topic]; e != nil {
			e.queued, e.until = false, now.Add(echoGrace)
		}
	}
	b.mu.Unlock()
	for _, topic := range topics {
		client.Retain(topic, nil)
	}
	if n > 0 {
		b.log.Warn("retained requests refused and removed", "count", n, "topic", services.Truncate(topics[0], maxLogged))
	}
	client.Confirm(func() { b.onConfirmed(connection, sent, topics) })
}

// onConfirmed forgets what the broker will not send again.
func (b *Inbox) onConfirmed(connection uint64, sent []ack, topics []string) {
	b.mu.Lock()
	if connection != b.session.Connection {
		b.mu.Unlock()
		return
	}
	b.confirming = false
	var released []string
	for _, a := range sent {
		released = append(released, a.origin)
		if o, ok := parseOrigin(a.origin); ok {
			b.forget(o.digest, func(open *origin) bool { return open.String() == a.origin })
		}
	}
	for _, topic := range topics {
		if e := b.echoes[topic]; e != nil && !e.queued {
			e.confirmed = true
		}
	}
	b.mu.Unlock()
	if len(released) > 0 {
		b.journal.Release(released...)
	}
	b.notify()
}

// forget removes the origins with a digest that f returns true for, and returns their texts.
func (b *Inbox) forget(digest string, f func(*origin) bool) (forgotten []string) {
	b.origins[digest] = slices.DeleteFunc(b.origins[digest], func(o *origin) bool {
		if !f(o) {
			return false
		}
		forgotten = append(forgotten, o.String())
		return true
	})
	if len(b.origins[digest]) == 0 {
		delete(b.origins, digest)
	}
	return forgotten
}

// forgetAll is forget for all digests.
func (b *Inbox) forgetAll(f func(*origin) bool) (forgotten []string) {
	for digest := range b.origins {
		forgotten = append(forgotten, b.forget(digest, f)...)
	}
	return forgotten
}

// OnSession begins a connection. If the broker has no session of ours, nothing is delivered again.
func (b *Inbox) OnSession(s mqtt.BrokerSession) {
	b.mu.Lock()
	b.session, b.begun, b.confirming, b.sent = s, time.Now(), false, nil
	clear(b.unaccepted)
	clear(b.packets)
	// Unconfirmed messages may have been lost with the connection.
	b.toEmpty = nil
	for topic, e := range b.echoes {
		if !e.confirmed {
			e.queued = true
			b.toEmpty = append(b.toEmpty, topic)
		}
	}
	slices.Sort(b.toEmpty)
	var forgotten []string
	if !s.Present {
		forgotten = b.forgetAll(func(o *origin) bool { return o.session == s.Number })
	}
	b.mu.Unlock()
	if len(forgotten) > 0 {
		b.journal.Release(forgotten...)
	}
	b.notify()
}

// Handle handles a message without waiting.
func (b *Inbox) Handle(m mqtt.Message) { b.handle(m, m.Ack) }

func (b *Inbox) handle(m mqtt.Message, send func()) {
	address, ok := b.topics.Parse(m.Topic)
	switch {
	case !ok:
	case !valid(address):
		b.onInvalid(m, address)
	case len(m.Payload) == 0 && (address.Verb != mqtt.Set || address.Sensor == "" || m.Retained || b.isEcho(m.Topic)):
	case m.Retained:
		// Acknowledged at once: it is delivered again as long as it is retained.
		b.removeRetained(m.Topic)
		r := b.inbound(m, address)
		r.Refused = &services.Error{Code: services.RetainedRefused, Message: "a request must not be published as retained"}
		b.acknowledge(ack{send: send, connection: m.Connection})
		b.dispatcher.Submit(r)
		return
	default:
		r := b.inbound(m, address)
		r.Origin = b.originOf(m)
		r.Accepted = b.onAccepted(send, r.Origin, m.Connection)
		b.dispatcher.Submit(r)
		return
	}
	b.acknowledge(ack{send: send, connection: m.Connection})
}

// valid reports whether a response topic can be built from an address.
func valid(a mqtt.Address) bool {
	return services.ValidName(a.Name) && len(a.Account) <= maxLevel && len(a.Sensor) <= maxLevel
}

// inbound returns the request of a message.
func (b *Inbox) inbound(m mqtt.Message, a mqtt.Address) services.Inbound {
	r := services.Inbound{
		Payload: m.Payload, ReplyTo: Scheme + ":" + b.topics.Response(a), Received: m.Received, Age: m.Age,
	}
	if !a.IsBridge() {
		r.Target = services.Ref{Account: a.Account, Sensor: a.Sensor}
	}
	if a.Verb == mqtt.Set {
		r.Entity = a.Name
	} else {
		r.Operation = a.Name
	}
	return r
}

// onAccepted returns the function that acknowledges a message. It does not hold the message, whose acknowledgement holds its
// payload: those of a lost connection are dropped, because they would never arrive.
func (b *Inbox) onAccepted(send func(), origin string, connection uint64) func(error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.numbered++
	number := b.numbered
	b.unaccepted[number] = send
	return func(err error) {
		if err != nil {
			return
		}
		b.mu.Lock()
		send, ok := b.unaccepted[number]
		delete(b.unaccepted, number)
		b.mu.Unlock()
		if ok {
			b.acknowledge(ack{send, origin, connection})
		}
	}
}

func (b *Inbox) acknowledge(a ack) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks = append(b.acks, a)
	b.notify()
}

// onInvalid counts a message whose name allows no response. There can be many, so they are logged at most once an hour.
func (b *Inbox) onInvalid(m mqtt.Message, a mqtt.Address) {
	if m.Retained {
		b.removeRetained(m.Topic)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.Invalid++
	b.unlogged++
	if now := time.Now(); b.loggedAt.IsZero() || now.Sub(b.loggedAt) >= invalidInterval {
		b.log.Warn("request with an invalid name ignored", "account", services.Truncate(a.Account, maxLogged), "sensor", services.Truncate(a.Sensor, maxLogged),
			"operation", services.Truncate(a.Name, maxLogged), "length", len(m.Topic), "count", b.unlogged)
		b.loggedAt, b.unlogged = now, 0
	}
}

// removeRetained removes a retained request from the broker.
func (b *Inbox) removeRetained(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.Retained++
	e := b.echoes[topic]
	if e == nil {
		e = new(echo)
		b.echoes[topic] = e
	}
	e.confirmed = false
	if !e.queued {
		e.queued = true
		b.toEmpty = append(b.toEmpty, topic)
	}
	b.notify()
}

// isEcho reports whether an empty message is probably our own.
func (b *Inbox) isEcho(topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.echoes[topic]
	return e != nil && (!e.confirmed || !time.Now().After(e.until))
}

// An origin identifies a message that the broker may deliver again.
type origin struct {
	connection uint64
	packet     uint16
	number     uint64 // of the message: packet id and content may be those of another one of the same connection
	digest     string // of topic and payload
	session    int

	delivered uint64 // the last connection that it was delivered over; not part of the text
}

// String returns the text of an origin. Session 0 is not written.
func (o *origin) String() string {
	text := fmt.Sprintf("%d/%d/%d/%s", o.connection, o.packet, o.number, o.digest)
	if o.session != 0 {
		text += "/" + strconv.Itoa(o.session)
	}
	return text
}

func parseOrigin(text string) (o *origin, ok bool) {
	parts := strings.Split(text, "/")
	session := 0
	if len(parts) == 5 {
		var err error
		if session, err = strconv.Atoi(parts[4]); err != nil {
			return nil, false
		}
	} else if len(parts) != 4 {
		return nil, false
	}
	connection, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return o, false
	}
	packet, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil {
		return o, false
	}
	number, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return o, false
	}
	return &origin{connection: connection, packet: uint16(packet), number: number, digest: parts[3], session: session, delivered: connection}, true
}

// originOf returns the origin of a message. It is that of an earlier message if this is the same one, delivered again: DUP is set, and
// topic and payload are those of a message of the same session whose acknowledgement may not have arrived. The packet id does not tell:
// it should be the same, but some brokers, such as NATS, deliver a message again with another one, also over the same connection.
func (b *Inbox) originOf(m mqtt.Message) string {
	if m.PacketID == 0 { // QoS 0 is never delivered again
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", m.Topic)
	h.Write(m.Payload)
	digest := hex.EncodeToString(h.Sum(nil)[:16])
	b.mu.Lock()
	released := b.forgetUndelivered()
	o := b.redelivered(m, digest)
	if o != nil {
		b.stats.Redelivered++
	} else {
		b.messages++
		o = &origin{connection: m.Connection, packet: m.PacketID, number: b.messages, digest: digest, session: b.session.Number}
		b.origins[digest] = append(b.origins[digest], o)
	}
	o.delivered = m.Connection
	// On one connection the broker uses a packet id again only after the acknowledgement of the message before arrived.
	if before := b.packets[m.PacketID]; before != nil && before != o {
		released = append(released, b.forget(before.digest, func(open *origin) bool { return open == before })...)
	}
	b.packets[m.PacketID] = o
	text := o.String()
	b.mu.Unlock()
	if len(released) > 0 {
		b.journal.Release(released...)
	}
	return text
}

// redelivered returns the origin of the message that m is a redelivery of; nil if there is none.
func (b *Inbox) redelivered(m mqtt.Message, digest string) (found *origin) {
	if !m.Duplicate {
		return nil
	}
	for _, o := range b.origins[digest] {
		switch {
		case o.session != b.session.Number:
		case o.packet == m.PacketID:
			return o
		case found == nil || o.delivered < found.delivered: // of several that are alike, each in turn
			found = o
		}
	}
	return found
}

// forgetUndelivered forgets messages of earlier connections that the broker would have delivered again by now.
func (b *Inbox) forgetUndelivered() []string {
	if time.Since(b.begun) < redeliveryPeriod {
		return nil
	}
	b.begun = time.Now()
	return b.forgetAll(func(o *origin) bool { return o.session == b.session.Number && o.delivered < b.session.Connection })
}

// Reply sends a response. One that the broker does not accept is replaced by a short one.
func (b *Inbox) Reply(ctx context.Context, topic string, r services.Response) error {
	b.mu.Lock()
	client := b.client
	b.mu.Unlock()
	err := client.Send(ctx, topic, r.Encode())
	var refused *mqtt.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	e := &services.Error{Code: services.Internal, Message: "the broker does not accept the response"}
	if refused.TooLarge {
		e.Code, e.Message = services.TooLarge, fmt.Sprintf("the broker does not accept the response of %d bytes", refused.Size)
	}
	if r.Error == nil {
		e.Message += "; the request was completed"
	}
	short := services.Response{Transaction: r.Transaction, Op: r.Op, Duplicate: r.Duplicate, ReceivedAt: r.ReceivedAt}.Fail(e)
	if err = client.Send(ctx, topic, short.Encode()); errors.As(err, &refused) {
		return nil // the client logged it; nothing that is sent to this topic arrives
	}
	return err
}
