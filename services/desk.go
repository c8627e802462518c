package services

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// largest is the longest request that is read.
const largest = 4 << 20

// A Delivery is a request as it came in.
type Delivery struct {
	Topic, Answer string // where it came in, where its response goes
	Account       string
	Sensor        string
	Entity        string // of a raw value for an entity; else Operation
	Operation     string
	Payload       []byte

	Retained   bool
	Duplicate  bool
	PacketID   uint16
	Connection uint64
	Waited     time.Duration // at most so long in the broker
	Received   time.Time
	Ack        func()
}

// A Target is the sensor that a request is for.
type Target interface {
	// Set says which operation a raw value for one of its entities asks for.
	Set(entity, payload string) (operation string, request map[string]any, err error)
	// Operation is one of its operations, or the reason why it cannot be asked for now: an *Error or a *graph.Error.
	Operation(name string) (Operation, error)
	// Member is the sensor that a request is for, and the request without what names it: the target itself, unless it stands
	// for several.
	Member(request json.RawMessage) (sensor string, rest json.RawMessage, err error)
	// Graph is its account.
	Graph() *graph.Client
	// Zone is its account's.
	Zone() *time.Location
	// OnSuccess shows what an operation did.
	OnSuccess(ctx context.Context, operation string, result any)
	// OnRejected shows what is true, where the request of an operation was refused.
	OnRejected()
}

// A Desk takes in the requests to the sensors of one account, has them carried out one after the other, and sees to it that each
// is answered.
type Desk struct {
	Account string
	Journal *Journal
	MaxAge  time.Duration // what waited longer in the broker is expired
	Queue   int           // how many may wait
	Targets func(sensor string) (Target, error)
	// Publish sends an answer; nil means that the broker has it.
	Publish func(ctx context.Context, topic string, payload []byte) error
	// Empty removes a retained request.
	Empty func(topic string)
	// Ended is told of every request that was carried out or refused.
	Ended func(sensor string, r Response)
	Log   *slog.Logger
	// Step is told of each step of a request: where a test lets the program die. Nil outside tests.
	Step func(step string)

	once    sync.Once
	waiting chan struct{}
	answers chan struct{}

	mu     sync.Mutex
	reads  []entry // requests that change nothing: the journal does not have them
	read   []entry // those of them that are done
	closed bool    // no more of them are carried out
}

func (d *Desk) init() {
	d.once.Do(func() {
		d.waiting = make(chan struct{}, 1)
		d.answers = make(chan struct{}, 1)
	})
}

// Open takes up what an earlier desk of the account left. What is received before waits for Run.
func (d *Desk) Open() {
	d.init()
	for _, e := range d.Journal.of(d.Account, done) {
		_ = d.write(e.again()) // the program ended before it knew whether this was answered
	}
}

// envelope is what every request may have beside its operation's own fields.
type envelope struct {
	Transaction string
	Expires     time.Time
	Request     json.RawMessage // without these two
}

// Receive takes in one request. It waits for the disk, and for nothing else.
func (d *Desk) Receive(m Delivery) {
	d.init()
	d.step("delivered")
	if len(m.Payload) == 0 {
		m.Ack()
		return
	}
	e := entry{
		ID: newID(), Topic: m.Topic, Answer: m.Answer, Digest: digest(m.Payload), Packet: m.PacketID, Connection: m.Connection,
		Account: m.Account, Sensor: m.Sensor, Operation: m.Operation, Received: m.Received.UTC(), Stage: received,
	}
	if e.Operation == "" {
		e.Operation = m.Entity
	}
	if m.Retained {
		d.Empty(m.Topic)
		d.refuse(m, e, nil, &Error{RetainedRefused, "a request must not be published as retained"})
		return
	}
	var sent envelope
	var malformed error
	switch {
	case len(m.Payload) > largest:
		malformed = &Error{TooLarge, fmt.Sprintf("%d bytes are more than the %d that a request may have", len(m.Payload), largest)}
	case m.Entity == "":
		sent, malformed = open(m.Payload)
		e.Transaction, e.Expires = sent.Transaction, sent.Expires
	}
	if before, found, equal := d.Journal.same(m, e.Transaction); found {
		switch {
		case !equal:
			e.Transaction = "" // the entry that has it stays
			r := e.response().Fail(&Error{Conflict, fmt.Sprintf("transaction %q was used for another request in the last 24 hours", before.Transaction)})
			r.Transaction = before.Transaction
			d.keep(m, e, r)
			d.Ended(m.Sensor, r)
		default:
			d.change(before, entry.repeat)
			m.Ack()
			d.wake()
		}
		return
	}
	target, op, err := d.admit(m, &e, sent, malformed)
	if err == nil && op.Reads {
		if err = d.queue(e); err == nil {
			m.Ack()
			d.wake()
			return
		}
	}
	if err != nil {
		d.refuse(m, e, target, err)
		return
	}
	d.step("decoded")
	if err := d.Journal.add(e); err != nil {
		// Not acknowledged: the broker delivers it again.
		d.Log.Error("a request could not be written to the journal", "sensor", m.Sensor, "operation", e.Operation, "error", err)
		return
	}
	d.step("journalled")
	m.Ack()
	d.step("acknowledged")
	d.wake()
}

// accept finds out what a request asks for, and of which sensor, or why it cannot be done.
func (e *entry) accept(target Target, sent envelope, malformed error) (op Operation, err error) {
	if op, err = target.Operation(e.Operation); err != nil {
		return op, err
	}
	if malformed != nil {
		return op, malformed
	}
	sensor, request, err := target.Member(sent.Request)
	if err != nil {
		return op, err
	}
	e.Sensor, e.Request = sensor, request
	_, err = Decode(op, request)
	return op, err
}

// Do carries out one request at once and returns the answer that it would get over MQTT; nothing is published. The Desk needs no more
// for it than its Journal, Targets and Log.
func (d *Desk) Do(ctx context.Context, sensor, operation string, payload []byte) Response {
	e := entry{ID: newID(), Account: d.Account, Sensor: sensor, Operation: operation, Received: time.Now().UTC(), Stage: received}
	sent, malformed := open(payload)
	e.Transaction = sent.Transaction
	target, err := d.Targets(sensor)
	if err == nil {
		_, err = e.accept(target, sent, malformed)
	}
	if err != nil {
		return e.response().Fail(err)
	}
	r, _ := d.call(ctx, e)
	if r.Status == "" {
		r = e.response().Fail(&Error{ShuttingDown, "graph2mqtt stops"})
	}
	return r
}

// admit says which sensor and operation a request is for, or why it is not carried out.
func (d *Desk) admit(m Delivery, e *entry, sent envelope, malformed error) (target Target, op Operation, err error) {
	defer d.recovered(&err)
	if m.Waited > d.MaxAge {
		err = &Error{Expired, fmt.Sprintf("waited in the broker while graph2mqtt was away for %s, longer than commands.max_age (%s)", m.Waited.Round(time.Second), d.MaxAge)}
	} else {
		err = expired(sent.Expires, m.Received)
	}
	target, unknown := d.Targets(m.Sensor)
	if err == nil {
		err = unknown
	}
	if err == nil && m.Entity != "" {
		if err = malformed; err == nil {
			var request map[string]any
			if e.Operation, request, err = set(target, m); err == nil {
				sent.Request, err = object(request)
			}
		}
	}
	if err == nil {
		op, err = e.accept(target, sent, malformed)
	}
	if err == nil && d.Journal.waiting(d.Account) >= d.Queue {
		err = d.overloaded()
	}
	return target, op, err
}

// set is the operation of a raw value; of one that is refused, the entity.
func set(target Target, m Delivery) (operation string, request map[string]any, err error) {
	if operation, request, err = target.Set(m.Entity, string(m.Payload)); err != nil {
		operation = m.Entity
	}
	return operation, request, err
}

func (d *Desk) overloaded() error {
	return &Error{Overloaded, fmt.Sprintf("%d requests are waiting already", d.Queue)}
}

func expired(at, now time.Time) error {
	if at.IsZero() || !now.After(at) {
		return nil
	}
	return &Error{Expired, "expired at " + at.Format(time.RFC3339)}
}

// queue queues a request that changes nothing.
func (d *Desk) queue(e entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return stopping()
	case len(d.reads) >= d.Queue:
		return d.overloaded()
	}
	d.reads = append(d.reads, e)
	return nil
}

func stopping() error { return &Error{ShuttingDown, "graph2mqtt stops"} }

// nextRead takes the oldest request that changes nothing.
func (d *Desk) nextRead() (e entry, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reads) == 0 {
		return e, false
	}
	e, d.reads = d.reads[0], d.reads[1:]
	return e, true
}

// tell has a request that changes nothing answered.
func (d *Desk) tell(e entry, r Response) {
	e.Response = &r
	d.mu.Lock()
	d.read = append(d.read, e)
	d.mu.Unlock()
	d.wake()
}

// close refuses the requests that change nothing, and those to come.
func (d *Desk) close() {
	d.mu.Lock()
	reads := d.reads
	d.reads, d.closed = nil, true
	d.mu.Unlock()
	for _, e := range reads {
		d.tell(e, e.response().Fail(stopping()))
	}
}

// refuse answers a request that is not carried out.
func (d *Desk) refuse(m Delivery, e entry, target Target, err error) {
	r := e.response().Fail(err)
	d.Log.Warn("refused a request", "sensor", m.Sensor, "operation", e.Operation, "code", r.Error.Code, "error", err)
	d.keep(m, e, r)
	if target != nil {
		target.OnRejected()
	}
	d.Ended(m.Sensor, r)
}

// keep journals a request with its answer.
func (d *Desk) keep(m Delivery, e entry, r Response) {
	e.Stage, e.Response, e.Request = done, &r, nil
	if err := d.Journal.add(e); err != nil {
		d.Log.Error("an answer could not be written to the journal", "sensor", m.Sensor, "operation", e.Operation, "error", err)
		return
	}
	m.Ack()
	d.wake()
}

func (d *Desk) write(e entry) error {
	err := d.Journal.put(e)
	d.written(e, err)
	return err
}

func (d *Desk) change(e entry, to func(entry) entry) { d.written(e, d.Journal.change(e.ID, to)) }

func (d *Desk) written(e entry, err error) {
	if err != nil {
		d.Log.Error("the journal could not be written", "sensor", e.Sensor, "operation", e.Operation, "error", err)
	}
}

func (d *Desk) wake() {
	for _, c := range []chan struct{}{d.waiting, d.answers} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// again is the entry with its answer to be given once more.
func (e entry) again() entry {
	r := *e.Response
	r.Duplicate = true
	e.Stage, e.Response, e.Repeated = done, &r, false
	return e
}

// repeat is the entry after the same request came again.
func (e entry) repeat() entry {
	switch e.Stage {
	case answered:
		return e.again()
	case done:
		e.Repeated = true // the answer may have left before this came
	}
	return e // it will be answered
}

// told is the entry after its answer was published.
func (e entry) told() entry {
	if e.Repeated {
		return e.again()
	}
	e.Stage = answered
	return e
}

func (e entry) response() Response {
	return Response{Transaction: e.Transaction, Op: e.Operation, ReceivedAt: e.Received}
}

func (d *Desk) step(name string) {
	if d.Step != nil {
		d.Step(name)
	}
}

// open separates a request's own fields from those that every request may have.
func open(payload []byte) (envelope, error) {
	var e envelope
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(payload, &fields); err != nil || fields == nil {
		return e, &Error{InvalidJSON, "want a JSON object, such as {}, not " + short(payload)}
	}
	// Unmarshal takes the last of several fields with one name.
	if err := schema.CheckObject(payload); err != nil {
		return e, &Error{InvalidJSON, err.Error()}
	}
	var problem error
	if raw, ok := fields["transaction"]; ok && json.Unmarshal(raw, &e.Transaction) != nil {
		problem = graph.Invalid("transaction: want text, not %s", short(raw))
	}
	if raw, ok := fields["expires"]; ok && json.Unmarshal(raw, &e.Expires) != nil {
		problem = graph.Invalid("expires: want a time with zone, such as 2026-01-01T12:00:00Z, not %s", short(raw))
	}
	delete(fields, "transaction")
	delete(fields, "expires")
	var err error
	if e.Request, err = json.Marshal(fields); err != nil {
		return e, err
	}
	return e, problem
}

// object is the JSON object of a request's fields, of which there may be none.
func object(fields map[string]any) ([]byte, error) {
	if fields == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(fields)
}
