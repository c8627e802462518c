package services

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	// callTimeout bounds a single attempt; requestTimeout bounds all attempts of one request.
	callTimeout    = 30 * time.Second
	requestTimeout = time.Minute
	// journalRetryInterval is the pause before what could not be written to the journal can be written again.
	journalRetryInterval = time.Second
	// maintenanceInterval is the pause between two looks at the journal.
	maintenanceInterval = time.Hour
)

// Run executes what is in the journal and what is submitted, and sends the responses, until ctx is done. It then finishes what has
// begun; what could not be answered stays in the journal.
func (d *Dispatcher) Run(ctx context.Context) error {
	replying, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var workers, replies sync.WaitGroup
	defer d.rejected.stop()
	defer replies.Wait()
	done := ctx.Done()
	var worked chan struct{}
	var grace <-chan time.Time
	timer := time.NewTimer(maintenanceInterval)
	defer timer.Stop()
	for {
		select {
		case <-done:
			done, worked = nil, make(chan struct{})
			d.stop()
			d.startTasks(ctx, replying, &workers, &replies) // the last that work
			go func() {
				workers.Wait()
				close(worked)
			}()
		case <-worked:
			if d.ended() { // there is no connection to send responses with
				giveUp()
				return nil
			}
			worked, grace = nil, time.After(shutdownGrace)
			d.refuseReads()
		case <-grace:
			giveUp()
			return nil
		case <-d.wake:
		case <-timer.C:
		}
		d.startTasks(ctx, replying, &workers, &replies)
		if grace != nil && d.idle() {
			return nil
		}
		if d.journal.maintain() {
			timer.Reset(journalRetryInterval)
		} else {
			timer.Reset(maintenanceInterval)
		}
	}
}

// startTasks starts what waits to be run.
func (d *Dispatcher) startTasks(ctx, replying context.Context, workers, replies *sync.WaitGroup) {
	d.mu.Lock()
	work, answers := d.workTasks, d.replyTasks
	d.workTasks, d.replyTasks = nil, nil
	d.mu.Unlock()
	for _, f := range work {
		workers.Go(func() { f(ctx) })
	}
	for _, f := range answers {
		replies.Go(func() { f(replying) })
	}
}

// idle reports whether every reply was sent.
func (d *Dispatcher) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.outstanding == 0
}

// stop refuses the requests to come that are not journalled, and lets no lane begin another one.
func (d *Dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = true
}

// refuseReads answers the requests that are not journalled and have not begun.
func (d *Dispatcher) refuseReads() {
	d.mu.Lock()
	var reads []*job
	for _, l := range d.lanes {
		l.jobs = slices.DeleteFunc(l.jobs, func(j *job) bool {
			if j.operation.Reads {
				reads = append(reads, j)
			}
			return j.operation.Reads
		})
		l.reads = 0
	}
	d.mu.Unlock()
	for _, j := range reads {
		d.respond(j, j.response().Fail(shuttingDown()))
	}
}

// work executes the requests of a lane until none is ready, or ctx is done.
func (d *Dispatcher) work(ctx context.Context, l *lane) {
	for {
		j := d.nextJob(ctx, l)
		switch {
		case j == nil:
			return
		case j.operation.Reads:
			d.read(ctx, j)
		default:
			d.execute(ctx, l, j)
		}
	}
}

func (d *Dispatcher) nextJob(ctx context.Context, l *lane) *job {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil || len(l.jobs) == 0 || !l.jobs[0].ready {
		l.active = false
		return nil
	}
	j := l.jobs[0]
	l.jobs = l.jobs[1:]
	if j.operation.Reads {
		l.reads--
	}
	return j
}

// An interruptedError is the error of a request that is continued after the next start.
type interruptedError struct{ error }

func (e interruptedError) Unwrap() error { return e.error }

func isInterrupted(err error) bool { return errors.As(err, new(interruptedError)) }

// read executes a request that changes nothing.
func (d *Dispatcher) read(ctx context.Context, j *job) {
	result, err := d.perform(ctx, j)
	switch {
	case isInterrupted(err), err != nil && d.ended():
		d.respond(j, j.response().Fail(shuttingDown()))
	case err != nil:
		d.respond(j, j.response().Fail(err))
	default:
		d.respond(j, d.succeed(j, result))
	}
}

// respond sends the response to a request that is not journalled.
func (d *Dispatcher) respond(j *job, r Response) {
	d.count(j.ref(), j.operation.Name, r)
	d.mu.Lock()
	waiters, q := j.waiters, d.lane(j.Account).replies
	d.mu.Unlock()
	for _, f := range waiters {
		f(r)
	}
	if j.ReplyTo != "" {
		d.enqueueReply(q, reply{to: j.ReplyTo, response: r})
	}
}

// reply sends the response to a journalled request.
func (d *Dispatcher) reply(e *entry, r Response) {
	if e.ReplyTo == "" {
		d.journal.markAnswered(e)
		return
	}
	d.mu.Lock()
	q := d.lane(e.Account).replies
	d.mu.Unlock()
	d.enqueueReply(q, reply{to: e.ReplyTo, response: r, sent: func() { d.journal.markAnswered(e) }})
}

// runImmediate executes an Immediate request.
func (d *Dispatcher) runImmediate(ctx context.Context, l *lane, j *job) {
	calling, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := ctx.Err()
	var result any
	if err == nil {
		result, err = d.attempt(calling, j.target.Graph(), j.request, j.attempt(j.target))
	}
	d.mu.Lock()
	l.immediate--
	d.mu.Unlock()
	switch {
	case err == nil:
		d.respond(j, j.response().Succeed(result))
	case ctx.Err() != nil:
		d.respond(j, j.response().Fail(shuttingDown()))
	default:
		r := j.response().Fail(err)
		if !errors.As(err, new(*LoggedError)) {
			d.log.Warn("request failed", "account", j.Account, "operation", j.Operation, "code", r.Error.Code, "error", err)
		}
		d.respond(j, r)
	}
}

// execute executes a request of the journal, records its response there and sends it.
func (d *Dispatcher) execute(ctx context.Context, l *lane, j *job) {
	traced, report := d.traceWrite(ctx)
	result, err := d.perform(traced, j)
	if isInterrupted(err) || err != nil && d.ended() {
		return
	}
	d.step("called")
	var r Response
	var persist func(Tx)
	if err == nil {
		r = j.response().Succeed(result)
		persist = d.onSuccess(ctx, j, result)
	} else {
		r = j.response().Fail(err)
		if j.target != nil {
			d.onRejected(j.target)
		}
	}
	report(j.entry, r)
	d.step("shown")
	// The next request of the account may begin only when this is on disk: after a crash only the oldest is taken for begun.
	written := make(chan error, 1)
	d.journal.finish(j.entry, r, persist, func(err error) { written <- err })
	if err := <-written; err != nil && d.ended() {
		return
	} // the response is given all the same after other errors
	d.step("recorded")
	d.mu.Lock()
	l.unfinished--
	delete(d.jobs, j.entry)
	waiters := j.waiters
	d.mu.Unlock()
	r = *d.journal.response(j.entry)
	d.reply(j.entry, r)
	for _, f := range waiters {
		f(r)
	}
	if r.Error != nil {
		d.log.Warn("request failed", "account", j.Account, "sensor", j.Sensor, "operation", j.Operation, "code", r.Error.Code, "error", r.Error.Message)
	} else {
		d.log.Info("request completed", "account", j.Account, "sensor", j.Sensor, "operation", j.Operation)
	}
	d.count(j.ref(), j.Operation, r) // the journal has only known operations
	d.complete(j.ref(), r)
}

// onSuccess shows the effect of a request.
func (d *Dispatcher) onSuccess(ctx context.Context, j *job, result any) (persist func(Tx)) {
	var err error
	defer d.recovered(&err)
	if target, err := d.resolver.Resolve(j.ref()); err == nil {
		j.target = target // a new configuration may have replaced it since
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return j.target.OnSuccess(ctx, j.Operation, result)
}

// perform checks again what may have changed since a request was accepted, and executes it.
func (d *Dispatcher) perform(ctx context.Context, j *job) (result any, err error) {
	defer d.recovered(&err)
	sent := d.journal.hasStarted(j.entry) // at most once: it must not be said not to have happened
	old := d.expired(j)
	target, err := d.resolver.Resolve(j.ref())
	if err == nil {
		j.target = target
	}
	if old != nil && !sent && !j.attempted {
		return nil, old
	}
	if err == nil {
		err = j.checkUser(target)
	}
	if err == nil {
		j.operation, err = target.Operation(j.Operation)
	}
	if old != nil && !sent {
		if err == nil && j.operation.Retry == IdempotencyKey { // the client would send it again with another key
			return nil, errInDoubt(old)
		}
		return nil, old
	}
	if err == nil && j.request == nil {
		j.request, err = Decode(j.operation, j.Request)
	}
	if err != nil && sent {
		return nil, errInDoubt(err)
	}
	if err != nil {
		return nil, err
	}
	a := j.attempt(target)
	if a.Repeated = j.attempted && (sent || j.operation.Retry != AtMostOnce); j.operation.Retry == AtMostOnce && !j.operation.Reads && !sent {
		// Otherwise it could be executed again after a crash.
		written := make(chan error, 1)
		d.journal.start(j.entry, func(err error) { written <- err })
		if err := <-written; err != nil {
			return nil, fmt.Errorf("the journal could not be written: %w", err)
		}
	}
	d.step("started")
	result, err = d.try(ctx, target.Graph(), j.operation, j.request, a)
	return result, explain(target, j.operation, err)
}

// checkUser returns an error if the request was received for another user than the one who is signed in now.
func (j *job) checkUser(t Target) error {
	user := t.User()
	if j.User == "" || user == "" || j.User == user {
		return nil
	}
	err := &Error{Conflict, "another user has signed in since the request was received; it is not executed for them"}
	if j.attempted {
		return errInDoubt(err)
	}
	return err
}

// attempt returns the first attempt of a request.
func (j *job) attempt(t Target) Attempt {
	return Attempt{ID: j.ID, Now: j.Received.In(t.Location()), Position: j.position, Owner: j.owner}
}

// try executes a request until its outcome is known, or time is up. When the program stops, what has begun is finished, and what
// would have to be tried again is interrupted.
func (d *Dispatcher) try(stop context.Context, g *graph.Client, op Operation, request Request, a Attempt) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stop), requestTimeout)
	defer cancel()
	if d.guard != nil {
		defer context.AfterFunc(d.guard.Context(), cancel)()
	}
	deadline, _ := ctx.Deadline()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = time.Second
	for {
		if op.Retry == AtMostOnce && a.Repeated {
			return d.verify(ctx, g, request, a, errors.New("no answer was received"))
		}
		result, err := d.attempt(ctx, g, request, a)
		if err == nil {
			return result, nil
		}
		var e *graph.Error
		if errors.As(err, &e) && e.OutcomeUnknown {
			a.Repeated = true
		}
		if a.Repeated && op.Retry == AtMostOnce {
			continue
		}
		pause := wait.NextBackOff()
		if e != nil {
			pause = max(pause, e.RetryAfter)
		}
		final := !isTransient(err) || op.Immediate
		if !final && stop.Err() != nil && op.Retry != AtMostOnce {
			return nil, interruptedError{err}
		}
		if final || time.Until(deadline) < pause {
			if a.Repeated && op.Retry == IdempotencyKey && isTransient(err) {
				return d.verify(ctx, g, request, a, err)
			}
			return nil, err
		}
		d.log.Debug("request retried", "operation", op.Name, "error", err, "retry_in", pause)
		select {
		case <-stop.Done():
			if op.Retry == AtMostOnce {
				return nil, err
			}
			return nil, interruptedError{err}
		case <-time.After(pause):
		}
	}
}

// attempt executes a request once.
func (d *Dispatcher) attempt(ctx context.Context, g *graph.Client, request Request, a Attempt) (result any, err error) {
	defer d.recovered(&err)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return request.Execute(ctx, g, a)
}

// recovered turns a panic into the error of its request.
func (d *Dispatcher) recovered(err *error) {
	if r := recover(); r != nil {
		d.log.Error("request panicked", "panic", r, "stack", string(debug.Stack()))
		*err = fmt.Errorf("panic: %v", r)
	}
}

// verify answers a request of unknown outcome that is not executed again.
func (d *Dispatcher) verify(ctx context.Context, g *graph.Client, request Request, a Attempt, cause error) (any, error) {
	v, ok := request.(Verifier)
	if !ok {
		return nil, errInDoubt(cause)
	}
	result, found, err := d.find(ctx, g, v, a)
	switch {
	case err != nil:
		return nil, errInDoubt(err)
	case !found:
		return nil, &Error{InDoubt, "it was not found to have happened; it is not executed again"}
	}
	return result, nil
}

func (d *Dispatcher) find(ctx context.Context, g *graph.Client, v Verifier, a Attempt) (result any, found bool, err error) {
	defer d.recovered(&err)
	return v.Verify(ctx, g, a)
}

func errInDoubt(err error) error {
	return &Error{InDoubt, "it is not known whether it was executed, and it is not executed again: " + err.Error()}
}

// isTransient reports whether a repetition may succeed; whether it is allowed is up to the retry policy.
func isTransient(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && e.Transient()
}
