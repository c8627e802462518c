package sensors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	pollTimeout = time.Minute
	// queueTimeout bounds a poll of an application, whose requests can wait for those of thousands of other mailboxes.
	queueTimeout = time.Hour
	// maxEventAge drops time-based events older than this after downtime or suspend.
	maxEventAge = 5 * time.Minute
	// maxSleep bounds the wait for a transition whose time is known, so that a clock that is set (boards without an RTC set their
	// clock via NTP shortly after boot) or a suspended machine delays it no longer. Without a transition nothing wakes up.
	maxSleep = time.Minute
	// saveInterval is the interval at which a snapshot is written that changed only in what Same ignores.
	saveInterval = time.Hour
)

// PollerOptions configure the poller of one sensor.
type PollerOptions struct {
	Graph    *graph.Client
	Interval time.Duration
	Pause    time.Duration         // least time between two requested polls, and from an operation to the next poll; 0: DefaultPause
	PhaseKey string                // sensors with the same key and interval poll together
	Location func() *time.Location // the account's time zone
	Log      *slog.Logger
	Store    Store                // snapshots are committed here, in the bucket [Bucket]; nil: nothing is kept
	Key      string               // key in the bucket: "account/sensor"
	Stored   []byte               // what the bucket held at start; nil: nothing
	OnState  func(State)          // is called on Run's goroutine, never before the first answer
	OnEvents func([]entity.Event) // is called in order, after the snapshot that the events follow from is on disk
	OnPoll   func(Poll)           // is called on Run's goroutine after each poll
	// Explain returns the error of a poll with what the user can do about it; nil: as it is.
	Explain func(error) error
}

// Bucket is the bucket that snapshots are stored in.
const Bucket = "snapshots"

// State describes a sensor at one moment. Values has every key; Events is empty.
type State struct {
	entity.State
	EvaluatedAt time.Time // the moment that it describes
	AnsweredAt  time.Time // when Graph gave the last answer
	Snapshot    any       // what it describes: the source's *S, which nobody changes
}

// A Poll is one finished poll.
type Poll struct {
	At   time.Time // when it began
	Took time.Duration
	Err  error     // nil: it succeeded
	Next time.Time // when the next one begins if none is requested
	// Changed reports that the answer differs from the one before in more than the time at which it was given.
	Changed bool
}

// A Poller keeps one sensor up to date: it polls Graph at the sensor's interval, and passes the sensor's state on whenever that
// changes by an answer, by an operation or by time alone.
type Poller interface {
	// Run polls until ctx is done. It returns when nothing of it runs any more and all it had to save is on disk.
	Run(ctx context.Context) error
	// Refresh polls as soon as possible. There are at least 5 s between such polls; further calls join the next one.
	Refresh()
	// Wake polls some seconds later, because something may have changed. Further calls join the same poll.
	Wake()
	// SetInterval changes the time between two polls; while it is longer than that of the options, every poll reads everything.
	SetInterval(time.Duration)
	// Apply shows the result of an operation at once and polls soon after. It returns when that was passed to OnState, or never will
	// be. persist writes the changed snapshot with the caller's own changes; nil: there is nothing to write. Events of the
	// change follow when it is on disk.
	Apply(ctx context.Context, result any) (persist func(Tx))
	// Initial returns what to show before Run: the stored snapshot, or every value unknown.
	Initial() entity.State
	// HasAnswer reports whether there is a snapshot, also a stored one.
	HasAnswer() bool
}

type poller[S any] struct {
	source   Source[S]
	same     func(a, b *S) bool
	finder   ChangeFinder[S] // nil: events are changes
	effects  []Effect[S]
	deadline func(*S) time.Time // see Deadliner
	entities []entity.Entity
	o        PollerOptions
	hash     string     // of the options and of S
	restored *record[S] // nil: nothing was stored

	hasAnswer atomic.Bool
	saver     *saver
	refresh   chan struct{}
	wake      chan struct{}
	interval  atomic.Int64 // as set by SetInterval
	retuned   chan struct{}
	applies   chan application
	ended     chan struct{} // closed when Run has returned
}

// An application is a call of Apply.
type application struct {
	result  any
	persist chan func(Tx)
}

func newPoller[S any](source Source[S], o PollerOptions) *poller[S] {
	o.Pause = cmp.Or(o.Pause, DefaultPause)
	p := &poller[S]{
		source: source, same: same[S], entities: source.Entities(), o: o, hash: snapshotHash[S](source),
		saver:   newSaver(o),
		refresh: make(chan struct{}, 1), wake: make(chan struct{}, 1), retuned: make(chan struct{}, 1), applies: make(chan application), ended: make(chan struct{}),
	}
	if comparer, ok := source.(Comparer[S]); ok {
		p.same = comparer.Same
	}
	p.finder, _ = source.(ChangeFinder[S])
	if provider, ok := source.(EffectProvider[S]); ok {
		p.effects = provider.Effects()
	}
	p.deadline = func(*S) time.Time { return time.Time{} }
	if deadliner, ok := source.(Deadliner[S]); ok {
		p.deadline = deadliner.PollAt
	}
	if o.Graph != nil && o.Graph.Mailbox() != "" {
		p.hash += " " + strings.ToLower(o.Graph.Mailbox())
	}
	restored, err := decodeRecord[S](o.Stored, p.hash)
	if err != nil {
		o.Log.Warn("stored snapshot ignored", "error", err)
	}
	p.restored = restored
	p.hasAnswer.Store(restored != nil)
	return p
}

// HasAnswer implements Poller.
func (p *poller[S]) HasAnswer() bool { return p.hasAnswer.Load() }

// Initial implements Poller.
func (p *poller[S]) Initial() entity.State {
	var snapshot *S
	if p.restored != nil {
		snapshot = p.restored.Snapshot
	}
	var s entity.State
	now := p.now()
	if err := safely(func() { s = p.source.State(snapshot, now, now) }); err != nil {
		p.o.Log.Error("state not evaluated", "error", err, stack(err))
		s = entity.State{}
	}
	s.Events = nil
	return Complete(p.entities, s)
}

// Refresh implements Poller.
func (p *poller[S]) Refresh() {
	select {
	case p.refresh <- struct{}{}:
	default:
	}
}

// Wake implements Poller.
func (p *poller[S]) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// SetInterval implements Poller.
func (p *poller[S]) SetInterval(d time.Duration) {
	p.interval.Store(int64(d))
	select {
	case p.retuned <- struct{}{}:
	default:
	}
}

// Apply implements Poller.
func (p *poller[S]) Apply(ctx context.Context, result any) (persist func(Tx)) {
	a := application{result, make(chan func(Tx), 1)}
	select {
	case p.applies <- a:
		return <-a.persist
	case <-p.ended:
	case <-ctx.Done():
	}
	return nil
}

// now returns the wall clock's time in the account's zone. Without the monotonic reading comparisons notice a clock that was set.
func (p *poller[S]) now() time.Time { return time.Now().Round(0).In(p.o.Location()) }

// Run implements Poller.
func (p *poller[S]) Run(ctx context.Context) error {
	defer close(p.ended)
	r := &run[S]{poller: p, schedule: newSchedule(p.o.Interval, p.o.Pause, p.o.PhaseKey), savedAt: time.Now()}
	if p.restored != nil {
		r.snapshot, r.since, r.answeredAt, r.savedHash = p.restored.Snapshot, p.restored.Since, p.restored.AnsweredAt, p.restored.sum
		r.evaluate()
	}
	r.loop(ctx)
	r.inflight.drop()
	r.polls.Wait()
	if r.snapshot != nil && (r.unsaved || r.minor) {
		r.save(0)
	}
	p.saver.stop()
	return nil
}

// A run holds the state of a poller while it runs. Only Run's goroutine uses it.
type run[S any] struct {
	*poller[S]
	schedule *schedule
	inflight inflightPoll[S]
	polls    sync.WaitGroup
	failure  failure

	snapshot   *S        // nil before the first answer
	since      time.Time // until then time-based events were passed on
	answeredAt time.Time
	shown      *State    // the last one passed to OnState
	next       time.Time // when the state changes by itself; zero: never

	unsaved   bool      // something must be written that was not
	minor     bool      // something may be written that was not
	saveAt    time.Time // when to write what is unsaved; zero: not by time
	savedAt   time.Time
	savedHash [32]byte // of the snapshot's JSON
}

// An inflightPoll is a poll that runs; the zero one does not.
type inflightPoll[S any] struct {
	answer  chan answer[S]
	cancel  context.CancelFunc
	dropped bool // its answer is not to be used
	waits   bool // it may wait for its turn for long
}

type answer[S any] struct {
	snapshot *S
	poll     Poll
}

func (f *inflightPoll[S]) drop() {
	if f.answer != nil {
		f.dropped = true
		f.cancel()
	}
}

func (r *run[S]) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		if at, ok := r.overtakes(); ok && !now.Before(at) {
			r.inflight.drop() // the poll that follows does not wait for its turn
		}
		if r.inflight.answer == nil && !now.Before(r.schedule.due()) {
			pollCtx := ctx
			woken := r.schedule.start(now)
			if !woken {
				pollCtx = graph.InBackground(pollCtx)
			}
			if woken || r.schedule.interval > r.o.Interval {
				pollCtx = context.WithValue(pollCtx, isReadAll{}, true)
			}
			r.startPoll(pollCtx)
			r.inflight.waits = !woken && r.queues()
		}
		timer.Stop() // since Go 1.23 nothing stays in its channel
		if wait, ok := r.wait(); ok {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.refresh:
			r.schedule.force(time.Now())
		case <-r.wake:
			r.schedule.wake(time.Now())
		case <-r.retuned:
			r.schedule.setInterval(time.Duration(r.interval.Load()), time.Now())
		case a := <-r.applies:
			a.persist <- r.apply(a.result)
		case a := <-r.inflight.answer:
			dropped := r.inflight.dropped
			r.inflight = inflightPoll[S]{}
			if !dropped && ctx.Err() == nil {
				r.finishPoll(a)
			}
		case <-r.saver.changed:
			r.saverChanged()
		case <-timer.C:
		}
		if !r.next.IsZero() && !r.now().Before(r.next) {
			r.evaluate()
		}
		if !r.saveAt.IsZero() && !time.Now().Before(r.saveAt) {
			r.save(saveDelay)
		}
	}
}

// wait returns how long nothing is to be done, or false if that is until something else happens.
func (r *run[S]) wait() (wait time.Duration, ok bool) {
	until := func(d time.Duration) {
		if !ok || d < wait {
			wait, ok = max(d, 0), true
		}
	}
	if r.inflight.answer == nil {
		until(time.Until(r.schedule.due()))
	} else if at, ok := r.overtakes(); ok {
		until(time.Until(at))
	}
	if !r.next.IsZero() {
		until(min(time.Until(r.next), maxSleep))
	}
	if !r.saveAt.IsZero() {
		until(time.Until(r.saveAt))
	}
	return wait, ok
}

// queues reports whether polls wait for those of other mailboxes.
func (r *run[S]) queues() bool { return r.o.Graph != nil && r.o.Graph.Application() }

// overtakes returns when something that woke the poller does not wait any more for a poll that may wait for its turn.
func (r *run[S]) overtakes() (at time.Time, ok bool) {
	return r.schedule.wokenAt(), r.inflight.waits && !r.inflight.dropped && !r.schedule.woken.IsZero()
}

// startPoll starts a poll.
func (r *run[S]) startPoll(ctx context.Context) {
	timeout := pollTimeout
	if r.queues() {
		timeout = queueTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	answers := make(chan answer[S], 1)
	r.inflight = inflightPoll[S]{answer: answers, cancel: cancel}
	last := r.snapshot
	r.polls.Go(func() {
		defer cancel()
		a := answer[S]{poll: Poll{At: time.Now()}}
		if err := safely(func() { a.snapshot, a.poll.Err = r.ask(ctx, last) }); err != nil {
			a.poll.Err = err
		}
		a.poll.Took = time.Since(a.poll.At)
		answers <- a
	})
}

func (r *run[S]) ask(ctx context.Context, last *S) (*S, error) {
	if err := r.o.Graph.CheckGranted(r.source.Permissions()); err != nil {
		return nil, err
	}
	snapshot, err := r.source.Poll(ctx, r.o.Graph, last, r.now())
	if err != nil && r.o.Explain != nil {
		err = r.o.Explain(err)
	}
	if err == nil && snapshot == nil {
		err = errors.New("the sensor has no answer")
	}
	return snapshot, err
}

// finishPoll takes the answer of a poll.
func (r *run[S]) finishPoll(a answer[S]) {
	err := a.poll.Err
	if err == nil {
		err = safely(func() { a.poll.Changed = r.replace(a.snapshot) })
	}
	if err != nil {
		r.schedule.failed(err)
	} else {
		r.schedule.succeeded()
	}
	r.failure.log(r.o.Log, err)
	a.poll.Err, a.poll.Next = err, r.schedule.due()
	if r.o.OnPoll != nil {
		r.o.OnPoll(a.poll)
	}
}

// replace puts the answer of a poll in place, and reports whether it shows a change. Everything is computed before anything changes, so
// that a panic changes nothing.
func (r *run[S]) replace(after *S) (changed bool) {
	now := r.now()
	before := r.snapshot
	if before == nil { // before the first answer nothing happened
		state := r.source.State(after, now, now)
		r.since, r.snapshot, r.answeredAt = now, after, now
		r.hasAnswer.Store(true)
		r.show(state, now)
		r.unsaved = true
		r.save(saveDelay)
		return false
	}
	same := r.same(before, after)
	if same && r.current(now) {
		r.snapshot, r.answeredAt, r.since, r.minor = after, now, r.sinceAfter(now), true
		r.schedule.require(r.deadline(after), now)
		shown := *r.shown
		shown.EvaluatedAt, shown.AnsweredAt, shown.Snapshot = now, now, after
		r.shown = &shown
		r.o.OnState(shown)
		r.saveMinor()
		return false
	}
	events := r.source.State(before, r.sinceUntil(now), now).Events
	caused := r.source.Events(before, after, now)
	events = append(slices.Clip(events), caused...)
	state := r.source.State(after, now, now)
	r.snapshot, r.answeredAt, r.since, r.minor = after, now, r.sinceAfter(now), true
	r.show(state, now)
	r.saver.add(events)
	if !same || len(events) > 0 {
		r.unsaved = true
		r.saveChanged()
	} else {
		r.saveMinor()
	}
	return len(caused) > 0 || r.finder != nil && r.finder.HasChanged(before, after, now)
}

// current reports whether the snapshot still has the state that was shown last.
func (r *run[S]) current(now time.Time) bool {
	return r.shown != nil && (r.next.IsZero() || now.Before(r.next)) && !now.Before(r.shown.EvaluatedAt) && r.shown.EvaluatedAt.Location() == now.Location()
}

// evaluate shows what time alone has changed.
func (r *run[S]) evaluate() {
	now := r.now()
	r.next = now.Add(time.Second) // if it panics
	err := safely(func() {
		state := r.source.State(r.snapshot, r.sinceUntil(now), now)
		r.since, r.minor = r.sinceAfter(now), true
		events := state.Events
		r.show(state, now)
		if len(events) > 0 {
			r.saver.add(events)
			r.unsaved = true
			r.save(saveDelay)
		}
	})
	if err != nil {
		r.next = now.Add(maxSleep)
		r.o.Log.Error("state not evaluated", "error", err, stack(err))
	}
}

// sinceUntil returns since when time-based events are passed on at now.
func (r *run[S]) sinceUntil(now time.Time) time.Time {
	if oldest := now.Add(-maxEventAge); r.since.Before(oldest) {
		return oldest
	}
	return r.since
}

// sinceAfter returns the since that follows an evaluation at now. A clock that is set back a little must not bring the same events
// again; one that was far ahead was wrong.
func (r *run[S]) sinceAfter(now time.Time) time.Time {
	if since := r.sinceUntil(now); since.After(now) && !since.After(now.Add(maxEventAge)) {
		return since
	}
	return now
}

// show passes the state on.
func (r *run[S]) show(state entity.State, now time.Time) {
	r.schedule.require(r.deadline(r.snapshot), now)
	r.next = state.Next.Round(0)
	if !r.next.IsZero() && !r.next.After(now) {
		r.next = now.Add(time.Second) // guard against a busy loop
	}
	state.Events = nil
	r.shown = &State{Complete(r.entities, state), now, r.answeredAt, r.snapshot}
	r.o.OnState(*r.shown)
}

// apply shows the result of an operation, and polls soon after. A poll that runs may be older than the result and is dropped.
func (r *run[S]) apply(result any) (persist func(Tx)) {
	r.inflight.drop()
	before := r.snapshot
	unchanged := false
	err := safely(func() {
		persist = r.applyEffects(result)
		unchanged = r.snapshot == before || r.same(before, r.snapshot)
	})
	if err != nil {
		r.o.Log.Error("result of an operation not applied", "error", err, stack(err))
	}
	now := time.Now()
	if reader, ok := r.source.(ConsistentReader); ok && reader.ReadsOwnWrites() && unchanged {
		r.schedule.force(now)
	} else {
		r.schedule.repoll(now)
	}
	return persist
}

func (r *run[S]) applyEffects(result any) (persist func(Tx)) {
	before := r.snapshot
	if before == nil {
		return nil
	}
	now := r.now()
	for _, effect := range r.effects {
		after, caused, ok := effect.Apply(before, result, now)
		if !ok {
			continue
		}
		if after == before && len(caused) == 0 {
			return nil
		}
		events := slices.Clip(r.source.State(before, r.sinceUntil(now), now).Events)
		for _, e := range caused {
			events = append(events, own(e))
		}
		state := r.source.State(after, now, now)
		r.snapshot, r.since = after, r.sinceAfter(now)
		r.show(state, now)
		r.saver.add(events)
		r.unsaved = true
		record, err := r.encode()
		if err != nil {
			r.encodingFailed(err)
			return nil
		}
		// Usually the caller writes the record within the transaction of its own; if it does not, we do.
		r.saveAt = time.Now().Add(r.o.Pause)
		return r.saver.lend(record)
	}
	return nil
}

// own marks an event that this program caused.
func own(e entity.Event) entity.Event {
	data := map[string]any{"own": true}
	for key, v := range e.Data {
		data[key] = v
	}
	return entity.Event{Type: e.Type, Data: data}
}

// saverChanged handles the saver's notice.
func (r *run[S]) saverChanged() {
	switch n := r.saver.take(); {
	case n.failed:
		r.unsaved, r.saveAt = true, time.Now().Add(saveRetry)
	case n.again:
		r.unsaved = true
		r.save(saveDelay)
	case n.lent:
		r.unsaved, r.minor, r.saveAt, r.savedAt = false, false, time.Time{}, time.Now()
	}
}

func (r *run[S]) saveMinor() {
	switch {
	case r.unsaved:
		r.save(saveDelay)
	case time.Since(r.savedAt) >= saveInterval:
		r.save(minorDelay)
	}
}

// saveChanged saves unless no event waits and the snapshot's JSON was saved last: two snapshots can differ and be the same
// to JSON.
func (r *run[S]) saveChanged() {
	hash := r.savedHash
	record, err := r.encode()
	if err != nil {
		r.encodingFailed(err)
		return
	}
	if r.savedHash == hash && r.saver.waiting() == 0 {
		r.unsaved = !r.saveAt.IsZero()
		return
	}
	r.commit(record, saveDelay)
}

// save writes the snapshot, within delay if no event waits for it.
func (r *run[S]) save(delay time.Duration) {
	record, err := r.encode()
	if err != nil {
		r.encodingFailed(err)
		return
	}
	r.commit(record, delay)
}

func (r *run[S]) commit(record []byte, delay time.Duration) {
	r.unsaved, r.minor, r.saveAt, r.savedAt = false, false, time.Time{}, time.Now()
	r.saver.commit(record, delay)
}

func (r *run[S]) encode() ([]byte, error) {
	record, hash, err := encodeRecord(r.hash, r.since, r.answeredAt, r.snapshot)
	if err == nil {
		r.savedHash = hash
	}
	return record, err
}

// encodingFailed is not logged again until something else is to be saved: the same snapshot fails again.
func (r *run[S]) encodingFailed(err error) {
	r.unsaved, r.minor, r.saveAt = false, false, time.Time{}
	r.saver.report(fmt.Errorf("encode the snapshot: %w", err))
}

// failure remembers what failed, so that each kind of error is logged once until polls succeed again.
type failure struct {
	logged map[string]bool
	count  int
}

func (f *failure) log(log *slog.Logger, err error) {
	switch {
	case err == nil && f.count > 0:
		log.Info("polling works again", "failures", f.count)
		*f = failure{}
	case err == nil:
	case graph.Is(err, graph.SignInRequired), graph.Is(err, graph.Throttled), graph.IsUnauthorized(err):
		// The account and the Graph client log these once for all sensors.
	default:
		f.count++
		if kind := errorKind(err); !f.logged[kind] && len(f.logged) < maxLoggedKinds {
			if f.logged == nil {
				f.logged = map[string]bool{}
			}
			f.logged[kind] = true
			log.Warn("polling failed", "error", err, stack(err))
		}
	}
}

// maxLoggedKinds bounds the memory of errors whose texts differ each time.
const maxLoggedKinds = 20

// errorKind returns what errors of one kind have in common: not the id of the request. A Retry-After that is still waited for is of
// the same kind as the 429 before it.
func errorKind(err error) string {
	var e *graph.Error
	switch {
	case !errors.As(err, &e):
		return err.Error()
	case e.Reason == graph.Throttled:
		return string(e.Reason)
	}
	return fmt.Sprint(e.Reason, e.Status, e.Code)
}

// A panicError is the error of a function that panicked. The stack is for the log alone.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// safely calls f and returns its panic as an error.
func safely(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	f()
	return nil
}

// stack returns the stack of a panic as a log attribute; an empty one for other errors.
func stack(err error) slog.Attr {
	var p *panicError
	if !errors.As(err, &p) {
		return slog.Attr{}
	}
	return slog.String("stack", string(p.stack))
}
