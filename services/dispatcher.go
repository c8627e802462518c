package services

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

const (
	// maxPayload is the size of the largest request in bytes.
	maxPayload = 4 << 20
	// maxTransaction is the length of the longest transaction in bytes.
	maxTransaction = 256
	// maxName is the length of the longest name of an operation or entity in characters.
	maxName = 64
)

// DispatcherOptions configure a Dispatcher.
type DispatcherOptions struct {
	Journal  *Journal
	Resolver Resolver
	MaxAge   time.Duration // older requests are expired
	Queue    int           // how many requests of each sort may wait per account
	// OnCompleted, which may be nil, is called with the response to each journalled request, and to each request of a sensor that
	// is rejected by the dispatcher.
	OnCompleted func(Ref, Response)
	// OnResponse, which may be nil, is called with every response, also to requests that were rejected or only read. The operation is
	// empty if the target has none of the requested name.
	OnResponse func(target Ref, operation string, r Response)
	// OnWrite, which may be nil, is called with each request that was executed and may have changed something, before its
	// response is written to the journal. It must not block.
	OnWrite func(Write)
	// Guard permits the dispatcher to work; nil: always. When the permission has ended, another process has the journal: requests that are
	// being executed are canceled, and what is not in the journal is not answered, because the other process answers it.
	Guard Guard
	// Sealer seals the cursors of pages, so that they stay valid. nil: none is valid in another process.
	Sealer Sealer
	Log    *slog.Logger
	// OnStep, which is nil outside of tests, is called at each step of a request, where a test kills the process.
	OnStep func(step string)
}

// A Dispatcher validates, journals and executes requests, and sends their responses. The requests of one account are executed in
// order, those of different accounts concurrently, and Immediate ones beside them.
type Dispatcher struct {
	journal     *Journal
	resolver    Resolver
	onCompleted func(Ref, Response)
	onResponse  func(target Ref, operation string, r Response)
	onWrite     func(Write)
	guard       Guard
	log         *slog.Logger
	sealer      Sealer
	onStep      func(step string)
	rejected    *rejectionLog
	wake        chan struct{}

	mu          sync.Mutex // guards what follows, and the fields of jobs and lanes that say so
	maxAge      time.Duration
	queue       int
	repliers    map[string]Replier
	lanes       map[string]*lane
	jobs        map[*entry]*job // those of the journal that have no response
	acceptances []*acceptance
	accepting   bool
	rejections  *replyQueue   // of requests that are accepted when they are answered
	held        []*acceptance // of those, the oldest first
	heldBytes   int
	background  *replyQueue // of those that were accepted before
	outstanding int         // replies
	workTasks   []func(context.Context)
	replyTasks  []func(context.Context)
	stopping    bool
}

// A lane holds the requests of one account. It is guarded by Dispatcher.mu.
type lane struct {
	jobs       []*job
	active     bool
	reads      int // that wait
	unfinished int // of the journal
	immediate  int // that run
	replies    *replyQueue
}

// A job is a request that waits for its turn.
type job struct {
	*entry
	operation Operation
	request   Request         // decoded; nil after a restart
	position  json.RawMessage // of the page; nil: the first
	attempted bool            // it may have reached Graph before
	owner     bool            // see Inbound; not journalled
	target    Target          // for OnRejected

	// guarded by Dispatcher.mu
	ready   bool             // on disk, or not journalled: it may be executed
	onReady []func(error)    // of duplicates that came before it was on disk
	waiters []func(Response) // called with its response
}

func (j *job) ref() Ref { return Ref{j.Account, j.Sensor} }

// NewDispatcher returns a Dispatcher that continues with what an earlier one left in the journal. Run executes it.
func NewDispatcher(o DispatcherOptions) *Dispatcher {
	d := &Dispatcher{
		journal: o.Journal, resolver: o.Resolver, maxAge: o.MaxAge, queue: o.Queue, onCompleted: o.OnCompleted, onResponse: o.OnResponse, onWrite: o.OnWrite, guard: o.Guard, log: o.Log, sealer: o.Sealer, onStep: o.OnStep,
		wake: make(chan struct{}, 1), repliers: map[string]Replier{}, lanes: map[string]*lane{}, jobs: map[*entry]*job{},
		rejections: &replyQueue{limit: 16}, background: &replyQueue{limit: 4},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.rejected = &rejectionLog{log: d.log}
	if d.sealer == nil {
		d.sealer = newSealer()
	}
	if d.journal != nil {
		d.journal.onDirty = d.notify
		d.recover()
	}
	return d
}

// Register sets the Replier for responses to "<name>:<to>". It must be called before Run.
func (d *Dispatcher) Register(name string, r Replier) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.repliers[name] = r
}

// SetLimits changes MaxAge and Queue.
func (d *Dispatcher) SetLimits(maxAge time.Duration, queue int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.maxAge, d.queue = maxAge, queue
}

// recover queues what an earlier process left.
func (d *Dispatcher) recover() {
	unfinished, finished := d.journal.unanswered()
	for _, e := range finished {
		d.reply(e, e.Response.asDuplicate())
	}
	for _, e := range unfinished {
		d.mu.Lock()
		l := d.lane(e.Account)
		// Requests of an account are executed one after the other: only the oldest can have begun.
		j := &job{entry: e, attempted: e.Stage == started || l.unfinished == 0, ready: true}
		d.jobs[e] = j
		l.unfinished++
		d.push(l, j)
		d.mu.Unlock()
	}
}

// lane returns the lane of an account.
func (d *Dispatcher) lane(account string) *lane {
	l := d.lanes[account]
	if l == nil {
		l = &lane{replies: &replyQueue{limit: 1}}
		d.lanes[account] = l
	}
	return l
}

// push appends a job to a lane.
func (d *Dispatcher) push(l *lane, j *job) {
	l.jobs = append(l.jobs, j)
	d.startLane(l)
}

// startLane has the first job of a lane executed if it is ready.
func (d *Dispatcher) startLane(l *lane) {
	if d.stopping || l.active || len(l.jobs) == 0 || !l.jobs[0].ready {
		return
	}
	l.active = true
	d.workTasks = append(d.workTasks, func(ctx context.Context) { d.work(ctx, l) })
	d.notify()
}

// notify wakes Run.
func (d *Dispatcher) notify() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// ValidName reports whether a name of an operation or entity is one level of at most 64 characters. Others are refused before
// anything is built from them.
func ValidName(name string) bool {
	return !strings.Contains(name, "/") && utf8.RuneCountInString(name) <= maxName
}

func invalidName(r Inbound) error {
	if ValidName(cmp.Or(r.Operation, r.Entity)) {
		return nil
	}
	return &Error{UnknownOp, fmt.Sprintf("want a name of one level and at most %d characters", maxName)}
}

// An acceptance is a call of Inbound.Accepted to come.
type acceptance struct {
	accepted func(error)
	settled  bool
	err      error
	size     int // of the request, while it is held
}

// expect reserves the place of a request in the order of acceptances.
func (d *Dispatcher) expect(accepted func(error)) *acceptance {
	a := &acceptance{accepted: accepted}
	if accepted != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.acceptances = append(d.acceptances, a)
	}
	return a
}

// settle calls Accepted of a request when those before it have been called.
func (d *Dispatcher) settle(a *acceptance, err error) {
	if a.accepted == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a.settled, a.err = true, err
	if d.accepting {
		return
	}
	d.accepting = true
	for len(d.acceptances) > 0 && d.acceptances[0].settled {
		first := d.acceptances[0]
		d.acceptances = d.acceptances[1:]
		d.mu.Unlock()
		first.accepted(first.err)
		d.mu.Lock()
	}
	d.accepting = false
}

// Submit takes a request in. It waits neither for the disk nor for the network.
func (d *Dispatcher) Submit(r Inbound) {
	d.step("delivered")
	accepted := d.expect(r.Accepted)
	j := newJob(r)
	err := invalidName(r)
	if r.Refused != nil {
		err = r.Refused
	}
	if err != nil {
		d.reject(r, j, err, accepted)
		return
	}
	fields, problem := j.parse(r)
	j.Clock = d.journal.now()
	if before, m := d.journal.lookup(j.entry); m != isNew {
		d.onDuplicate(r, j, before, m, accepted)
		return
	}
	err = d.resolve(context.Background(), r, j, fields, problem, d.expired(j))
	if errors.Is(err, ErrEmptyValue) && r.Done == nil {
		d.settle(accepted, nil)
		return
	}
	if err == nil {
		d.step("decoded")
		err = d.enqueue(r, j, accepted)
	}
	if err != nil {
		d.reject(r, j, err, accepted)
	}
}

func newJob(r Inbound) *job {
	name := cmp.Or(r.Operation, r.Entity)
	if !ValidName(name) {
		name = Truncate(strings.ReplaceAll(name, "/", "_"), maxName)
	}
	if r.Received.IsZero() {
		r.Received = time.Now()
	}
	return &job{entry: &entry{
		ID: newID(), Scope: scope(r), Digest: digest(r.Payload), ReplyTo: r.ReplyTo, Account: r.Target.Account, Sensor: r.Target.Sensor,
		Operation: name, Received: r.Received.Round(0).UTC(), Age: r.Age, origin: r.Origin,
	}}
}

// scope names what a transaction is unique for.
func scope(r Inbound) string {
	verb, name := "request", r.Operation
	if r.Entity != "" {
		verb, name = "set", r.Entity
	}
	return strings.Join([]string{r.Target.Account, r.Target.Sensor, verb, Truncate(name, maxName)}, "/")
}

// parse takes the fields that every request may have out of the payload, and returns the others.
func (j *job) parse(r Inbound) (fields map[string]json.RawMessage, err error) {
	switch {
	case len(r.Payload) > maxPayload:
		return nil, &Error{TooLarge, fmt.Sprintf("%d bytes are more than the %d that a request may have", len(r.Payload), maxPayload)}
	case r.Entity != "":
		return nil, nil
	}
	return parseEnvelope(r.Payload, &j.Transaction, &j.Expires)
}

// The fields that every request may have.
const (
	transactionField = "transaction"
	expiresField     = "expires"
)

// parseEnvelope separates the fields that every request may have from those of its operation.
func parseEnvelope(payload []byte, transaction *string, expires *time.Time) (fields map[string]json.RawMessage, problem error) {
	if err := json.Unmarshal(payload, &fields); err != nil || fields == nil {
		return nil, &Error{InvalidJSON, "want a JSON object, such as {}, not " + short(payload)}
	}
	// Unmarshal takes the last of several fields with one name.
	if err := schema.CheckObject(payload); err != nil {
		return nil, &Error{InvalidJSON, err.Error()}
	}
	if raw, ok := fields[transactionField]; ok {
		var text string
		switch {
		case json.Unmarshal(raw, &text) != nil:
			problem = graph.Invalid("transaction: want text, not %s", short(raw))
		case len(text) > maxTransaction:
			problem = graph.Invalid("transaction: want at most %d bytes, not %d", maxTransaction, len(text))
		default:
			*transaction = text
		}
	}
	if raw, ok := fields[expiresField]; ok && json.Unmarshal(raw, expires) != nil {
		problem = graph.Invalid("expires: want a time with zone, such as 2026-01-01T12:00:00Z, not %s", short(raw))
	}
	delete(fields, transactionField)
	delete(fields, expiresField)
	return fields, problem
}

// resolve finds the target and the operation of a request and decodes it. Of several reasons to reject it, that of the target
// counts more than problem, and old, if not nil, more than both.
func (d *Dispatcher) resolve(ctx context.Context, r Inbound, j *job, fields map[string]json.RawMessage, problem, old error) (err error) {
	defer d.recovered(&err)
	j.target, err = d.resolver.Resolve(r.Target)
	if old != nil {
		return old
	}
	if err != nil {
		return err
	}
	if r.Entity != "" {
		if problem != nil {
			return problem
		}
		var name string
		if name, fields, err = j.target.Parse(r.Entity, string(r.Payload)); err != nil {
			return err
		}
		j.Operation = name
	}
	if j.operation, err = j.target.Operation(j.Operation); err != nil {
		return err
	}
	if j.owner = r.Owner; j.operation.OwnerOnly && !j.owner {
		return &Error{UnknownOp, j.Operation + " is accepted only from the status page"}
	}
	if problem != nil {
		return problem
	}
	ref, target := r.Target, j.target
	also := []string{transactionField, expiresField}
	if !j.operation.OfGroup {
		given := maps.Clone(fields)
		if ref, target, err = j.target.Resolve(ctx, fields); err != nil {
			return err
		}
		for field := range given { // the one that names a member
			if _, ok := fields[field]; !ok {
				also = append(also, field)
			}
		}
	}
	j.Account, j.Sensor, j.target, j.User = ref.Account, ref.Sensor, target, target.User()
	if ref != r.Target { // a member's request is bound to the member
		if j.operation, err = target.Operation(j.Operation); err != nil {
			return err
		}
	}
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	cursor := ""
	if j.operation.Paged {
		if cursor, err = takeCursor(fields); err != nil {
			return err
		}
		also = append(also, cursorField)
	}
	if j.Request, err = json.Marshal(fields); err != nil {
		return err
	}
	if j.request, err = Decode(j.operation, j.Request, also...); err != nil {
		return err
	}
	j.position, err = d.openCursor(j, cursor)
	return err
}

// enqueue queues a request by its sort.
func (d *Dispatcher) enqueue(r Inbound, j *job, accepted *acceptance) error {
	d.mu.Lock()
	l := d.lane(j.Account)
	if r.Done != nil {
		j.waiters = append(j.waiters, r.Done)
	}
	var err error
	switch {
	case j.operation.Immediate:
		if err = d.room(l.immediate); err == nil {
			l.immediate++
			d.workTasks = append(d.workTasks, func(ctx context.Context) { d.runImmediate(ctx, l, j) })
			d.notify()
		}
	case j.operation.Reads:
		if err = d.room(l.reads); err == nil {
			l.reads++
			j.ready = true
			d.push(l, j)
		}
	case l.unfinished >= d.queue: // what is journalled at shutdown is executed after the next start
		err = overloaded(d.queue)
	default:
		var before *entry
		var m match
		before, m, err = d.journal.add(j.entry, func(err error) { d.onJournalled(r, l, j, accepted, err) })
		if err == nil && m == isNew {
			l.unfinished++
			d.jobs[j.entry] = j
			d.push(l, j)
		}
		d.mu.Unlock()
		if err == nil && m != isNew {
			d.onDuplicate(r, j, before, m, accepted)
		}
		return err
	}
	d.mu.Unlock()
	if err == nil {
		d.settle(accepted, nil)
	}
	return err
}

// room returns an error if no further request that is not journalled may wait beside n others.
func (d *Dispatcher) room(n int) error {
	switch {
	case d.stopping:
		return shuttingDown()
	case n >= d.queue:
		return overloaded(d.queue)
	}
	return nil
}

func overloaded(n int) error {
	return &Error{Overloaded, fmt.Sprintf("%d requests are waiting already", n)}
}

func shuttingDown() error { return &Error{ShuttingDown, "graph2mqtt is shutting down"} }

// onJournalled accepts a request that is on disk, and rejects one that could not be written.
func (d *Dispatcher) onJournalled(r Inbound, l *lane, j *job, accepted *acceptance, err error) {
	if err != nil && d.ended() { // it is delivered again to another process, or in its journal
		if r.Done != nil {
			r.Done(j.response().Fail(shuttingDown()))
		}
		return
	}
	if err != nil {
		d.mu.Lock()
		l.jobs = slices.DeleteFunc(l.jobs, func(other *job) bool { return other == j })
		l.unfinished--
		delete(d.jobs, j.entry)
		d.startLane(l)
		duplicates := j.onReady
		d.mu.Unlock()
		d.reject(r, j, err, accepted)
		for _, f := range duplicates {
			f(err)
		}
		return
	}
	d.step("journalled")
	d.settle(accepted, nil)
	d.step("acknowledged")
	d.mu.Lock()
	j.ready = true
	duplicates := j.onReady
	d.startLane(l)
	d.mu.Unlock()
	for _, f := range duplicates {
		f(nil)
	}
}

// onDuplicate answers a request that is in the journal already.
func (d *Dispatcher) onDuplicate(r Inbound, j *job, before *entry, m match, accepted *acceptance) {
	if m == isConflict {
		d.reject(r, j, &Error{Conflict, fmt.Sprintf("transaction %q was used for another request in the last 24 hours", j.Transaction)}, accepted)
		return
	}
	d.mu.Lock()
	first := d.jobs[before]
	if first != nil && !first.ready { // not on disk yet: neither is accepted before the other
		first.onReady = append(first.onReady, func(err error) { d.onDuplicateJournalled(r, j, before, accepted, err) })
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	d.onDuplicateJournalled(r, j, before, accepted, nil)
}

// onDuplicateJournalled answers a duplicate of a request that is on disk, or could not be written.
func (d *Dispatcher) onDuplicateJournalled(r Inbound, j *job, before *entry, accepted *acceptance, err error) {
	if err != nil {
		d.reject(r, j, err, accepted)
		return
	}
	d.mu.Lock()
	if first := d.jobs[before]; first != nil { // it is answered when the first is
		if r.ReplyTo != before.ReplyTo && r.ReplyTo != "" {
			q := d.lane(before.Account).replies
			first.waiters = append(first.waiters, func(response Response) {
				d.enqueueReply(q, reply{to: r.ReplyTo, response: response.asDuplicate()})
			})
		}
		if r.Done != nil {
			first.waiters = append(first.waiters, r.Done)
		}
		d.mu.Unlock()
		d.settle(accepted, nil)
		return
	}
	q := d.lane(before.Account).replies
	d.mu.Unlock()
	stored := d.journal.response(before)
	if stored == nil { // it could not be written after all
		d.reject(r, j, errNotWritten(), accepted)
		return
	}
	response := stored.asDuplicate()
	if r.Done != nil {
		r.Done(response)
	}
	if r.ReplyTo == "" {
		d.settle(accepted, nil)
		return
	}
	// Accepted afterwards: nothing else remembers that this copy waits for an answer.
	d.enqueueReply(q, reply{to: r.ReplyTo, response: response, sent: func() { d.settle(accepted, nil) }})
}

// reject answers a request that is not executed. It is accepted when it is answered, and not written to disk.
func (d *Dispatcher) reject(r Inbound, j *job, err error, accepted *acceptance) {
	response := j.response().Fail(err)
	kind := rejected{j.Account, Truncate(j.Sensor, maxName), j.Operation, response.Error.Code}
	if r.Refused != nil { // the transport reports these
		d.log.Debug("request rejected", append(kind.attrs(), "error", response.Error.Message)...)
	} else {
		d.rejected.add(kind, response.Error.Message)
	}
	d.count(j.ref(), j.operation.Name, response)
	if j.target != nil {
		d.onRejected(j.target)
	}
	if r.Target.Sensor != "" && r.Refused == nil {
		d.complete(j.ref(), response)
	}
	if r.Done != nil {
		r.Done(response)
	}
	switch {
	case r.ReplyTo == "":
		d.settle(accepted, nil)
	case r.Accepted != nil:
		d.hold(accepted, len(r.Payload))
		d.enqueueReply(d.rejections, reply{to: r.ReplyTo, response: response, sent: func() { d.release(accepted) }})
	default:
		d.mu.Lock()
		n := len(d.background.pending)
		d.mu.Unlock()
		if n < maxRejections {
			d.enqueueReply(d.background, reply{to: r.ReplyTo, response: response})
		}
	}
}

// Execute executes one request at once and returns its response. Nothing is journalled, sent or shown.
func (d *Dispatcher) Execute(ctx context.Context, r Inbound) Response {
	j := newJob(r)
	if err := invalidName(r); err != nil {
		return j.response().Fail(err)
	}
	fields, problem := j.parse(r)
	var old error
	if !j.Expires.IsZero() {
		old = expiredAt(j.Expires)
	}
	if err := d.resolve(ctx, r, j, fields, problem, old); err != nil {
		return j.response().Fail(err)
	}
	ctx, report := d.traceWrite(ctx)
	result, err := d.try(ctx, j.target.Graph(), j.operation, j.request, j.attempt(j.target))
	response := j.response()
	if err != nil {
		response = response.Fail(explain(j.target, j.operation, err))
	} else {
		response = d.succeed(j, result)
	}
	if !j.operation.Reads && !j.operation.Immediate {
		report(j.entry, response)
	}
	return response
}

// expired returns an error if a request is too old to be executed.
func (d *Dispatcher) expired(j *job) error {
	d.mu.Lock()
	maxAge := d.maxAge
	d.mu.Unlock()
	if j.Age == math.MaxInt64 {
		return &Error{Expired, fmt.Sprintf("waited before it arrived, for a time that is not known and may be longer than commands.max_age (%s)", maxAge)}
	}
	if j.Age > maxAge {
		return &Error{Expired, fmt.Sprintf("waited for up to %s before it arrived, longer than commands.max_age (%s)", j.Age.Round(time.Second), maxAge)}
	}
	if err := expiredAt(j.Expires); err != nil {
		return err
	}
	if waited := d.journal.waited(j.entry); waited > maxAge {
		return &Error{Expired, fmt.Sprintf("waited for %s, longer than commands.max_age (%s)", waited.Round(time.Second), maxAge)}
	}
	return nil
}

func expiredAt(at time.Time) error {
	if at.IsZero() || !time.Now().Round(0).After(at) {
		return nil
	}
	return &Error{Expired, "expired at " + at.Format(time.RFC3339)}
}

// Waiting returns the number of requests by account that have not been answered.
func (d *Dispatcher) Waiting() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := map[string]int{}
	for account, l := range d.lanes {
		waiting[account] = l.unfinished + l.reads + l.immediate
	}
	return waiting
}

// count reports a response.
func (d *Dispatcher) count(target Ref, operation string, r Response) {
	if d.onResponse != nil {
		d.onResponse(target, operation, r)
	}
}

// complete reports the end of a request.
func (d *Dispatcher) complete(ref Ref, r Response) {
	if d.onCompleted != nil {
		d.onCompleted(ref, r)
	}
}

// ended reports whether another process may work with the journal.
func (d *Dispatcher) ended() bool { return d.guard != nil && d.guard.Err() != nil }

// onRejected shows the true state of a target.
func (d *Dispatcher) onRejected(t Target) {
	var err error
	defer d.recovered(&err)
	t.OnRejected()
}

func (d *Dispatcher) step(name string) {
	if d.onStep != nil {
		d.onStep(name)
	}
}
