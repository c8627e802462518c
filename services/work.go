package services

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	// callTimeout bounds one try of an operation, patience all tries of one request: whoever asked is waiting.
	callTimeout = 30 * time.Second
	patience    = time.Minute
	// resend is how long an answer waits for a broker that is away.
	resend = time.Second
	// lookAgain is how often the journal is looked at without a reason: a request may have come in by the desk that was there
	// before this one.
	lookAgain = time.Minute
	// farewell is how long the last answers may take when the program stops.
	farewell = 2 * time.Second
)

// Run carries out what is in the journal, and what comes, and publishes the answers, until ctx is done. What runs then is
// finished first; what could not be answered waits in the journal.
func (d *Desk) Run(ctx context.Context) {
	d.init()
	answering, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	worked := make(chan struct{})
	var answers sync.WaitGroup
	answers.Go(func() { d.respond(answering, worked) })
	defer answers.Wait()
	defer close(worked)
	d.work(ctx)
	d.close()
	time.AfterFunc(farewell, giveUp)
}

func (d *Desk) work(ctx context.Context) {
	for ctx.Err() == nil {
		for _, e := range d.Journal.of(d.Account, received, started) {
			if ctx.Err() != nil {
				return
			}
			d.carryOut(ctx, e)
		}
		if e, ok := d.nextRead(); ok {
			r, _ := d.call(ctx, e)
			if r.Status == "" {
				r = e.response().Fail(stopping())
			}
			d.tell(e, r)
			continue
		}
		select {
		case <-ctx.Done():
		case <-d.waiting:
		case <-time.After(lookAgain):
		}
	}
}

// respond answers what is done until there is no more work.
func (d *Desk) respond(ctx context.Context, worked <-chan struct{}) {
	for {
		wait := lookAgain
		if !d.answer(ctx) {
			wait = resend
		}
		timer := time.NewTimer(wait)
		select {
		case <-worked:
			d.answer(ctx)
			return
		case <-d.answers:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// answer publishes the answers of what is done, in order, and reports whether the broker has them all.
func (d *Desk) answer(ctx context.Context) bool {
	if !d.answerReads(ctx) {
		return false
	}
	for _, e := range d.Journal.of(d.Account, done) {
		d.step("answering")
		if !d.publish(ctx, e, *e.Response) {
			return false
		}
		d.step("answered")
		d.change(e, entry.told)
	}
	return d.Journal.flush() == nil
}

func (d *Desk) answerReads(ctx context.Context) bool {
	for {
		d.mu.Lock()
		read := d.read
		d.mu.Unlock()
		if len(read) == 0 {
			return true
		}
		if !d.publish(ctx, read[0], *read[0].Response) {
			return false
		}
		d.mu.Lock()
		d.read = d.read[1:]
		d.mu.Unlock()
	}
}

func (d *Desk) publish(ctx context.Context, e entry, r Response) bool {
	payload, err := json.Marshal(r)
	if err != nil {
		payload, _ = json.Marshal(e.response().Fail(fmt.Errorf("the answer cannot be written as JSON: %w", err)))
	}
	return d.Publish(ctx, e.Answer, payload) == nil
}

// carryOut does one request of the journal and puts its answer there.
func (d *Desk) carryOut(ctx context.Context, e entry) {
	r, show := d.inTime(ctx, e)
	if r.Status == "" {
		return // the program stops: the journal has it
	}
	d.step("called")
	e.Stage, e.Response, e.Request = done, &r, nil
	_ = d.write(e) // the answer is given all the same
	d.step("recorded")
	show()
	d.step("shown")
	d.wake()
	if r.Error != nil {
		d.Log.Warn("a request failed", "sensor", e.Sensor, "operation", e.Operation, "code", r.Error.Code, "error", r.Error.Message)
	} else {
		d.Log.Info("carried out a request", "sensor", e.Sensor, "operation", e.Operation)
	}
	d.Ended(e.Sensor, r)
}

// inTime calls, unless the request has waited for too long: the program was away, or what came before took its time.
func (d *Desk) inTime(ctx context.Context, e entry) (r Response, show func()) {
	err := expired(e.Expires, time.Now())
	if waited := time.Since(e.Received); err == nil && waited > d.MaxAge {
		err = &Error{Expired, fmt.Sprintf("waited for %s, longer than commands.max_age (%s)", waited.Round(time.Second), d.MaxAge)}
	}
	if err == nil || e.Stage == started {
		return d.call(ctx, e)
	}
	show = func() {}
	if target, unknown := d.Targets(e.Sensor); unknown == nil {
		show = target.OnRejected
	}
	return e.response().Fail(err), show
}

// call asks Graph, and again where that is safe. It returns the response, and what shows its effect.
func (d *Desk) call(ctx context.Context, e entry) (r Response, show func()) {
	show = func() {}
	target, err := d.Targets(e.Sensor)
	if err != nil {
		return e.response().Fail(err), show
	}
	show = target.OnRejected
	op, err := target.Operation(e.Operation)
	if err != nil && e.Stage == received {
		return e.response().Fail(err), show
	} else if err != nil {
		return e.response().Fail(doubt(err)), show
	}
	request, err := Decode(op, e.Request)
	if err != nil {
		return e.response().Fail(err), show
	}
	c := Attempt{ID: e.ID, Repeated: e.Stage == started, Now: e.Received.In(target.Zone())}
	if !op.Reads {
		e.Stage = started
		if err := d.write(e); err != nil && op.Retry == AtMostOnce {
			return e.response().Fail(err), show // after a crash nobody would know that it must not be done again
		}
		d.step("started")
	}
	// What has begun is finished though the program stops.
	calling, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	result, err := d.try(calling, ctx, target.Graph(), op, request, c)
	if err != nil {
		if ctx.Err() != nil && op.Retry != AtMostOnce && transient(err) {
			return Response{}, show
		}
		return e.response().Fail(err), show
	}
	return e.response().Succeed(result), func() {
		applying, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		target.OnSuccess(applying, e.Operation, result)
	}
}

// try calls until it is known what happened, or patience or the program ends.
func (d *Desk) try(ctx, stop context.Context, g *graph.Client, op Operation, request Request, c Attempt) (any, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = time.Second
	for {
		var result any
		var err error
		if op.Retry == AtMostOnce && c.Repeated {
			return d.find(ctx, g, request, c)
		}
		result, err = d.ask(ctx, g, request, c)
		if err == nil {
			return result, nil
		}
		var e *graph.Error
		if errors.As(err, &e) && e.OutcomeUnknown {
			c.Repeated = true
		}
		pause := wait.NextBackOff()
		if e != nil {
			pause = max(pause, e.RetryAfter)
		}
		deadline, _ := ctx.Deadline()
		if c.Repeated && op.Retry == AtMostOnce {
			continue
		}
		if !transient(err) || time.Until(deadline) < pause {
			return nil, err
		}
		d.Log.Debug("trying a request again", "operation", op.Name, "error", err)
		select {
		case <-stop.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

func (d *Desk) ask(ctx context.Context, g *graph.Client, request Request, c Attempt) (result any, err error) {
	defer d.recovered(&err)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return request.Execute(ctx, g, c)
}

// recovered makes a panic the error of its request.
func (d *Desk) recovered(err *error) {
	if r := recover(); r != nil {
		d.Log.Error("a request panicked", "panic", r, "stack", string(debug.Stack()))
		*err = fmt.Errorf("panic: %v", r)
	}
}

// find answers a request that must not be done twice and perhaps was done.
func (d *Desk) find(ctx context.Context, g *graph.Client, request Request, c Attempt) (any, error) {
	f, ok := request.(Verifier)
	if !ok {
		return nil, doubt(errors.New("its answer never came"))
	}
	result, happened, err := d.search(ctx, g, f, c)
	if err != nil {
		return nil, doubt(err)
	}
	if !happened {
		return nil, &Error{InDoubt, "it was not found to have happened; it is not done again by itself"}
	}
	return result, nil
}

func (d *Desk) search(ctx context.Context, g *graph.Client, f Verifier, c Attempt) (result any, happened bool, err error) {
	defer d.recovered(&err)
	return f.Verify(ctx, g, c)
}

func doubt(err error) error {
	return &Error{InDoubt, "whether it was carried out is not known, and it is not done again: " + err.Error()}
}

// transient reports whether a repetition may succeed; whether it is allowed is the matter of the retry policy.
func transient(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && e.Transient()
}
