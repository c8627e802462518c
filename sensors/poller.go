package sensors

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	pollTimeout = time.Minute
	// applied is how long after an operation Graph is asked again: by then it tells what the operation did.
	applied = 5 * time.Second
	// late is how old an event may be that time brought in while the program was away or the machine asleep.
	late = 5 * time.Minute
	// steady bounds every wait, so that a clock that is set (a board without a clock of its own learns the time some
	// seconds after it starts) delays no transition for longer.
	steady = 30 * time.Second
)

// A Poller keeps one sensor up to date: it asks Graph at the sensor's interval, and shows what the sensor says of it whenever that
// changes by an answer, by an operation or by time alone.
type Poller struct {
	Sensor   Sensor
	Graph    *graph.Client
	Interval time.Duration
	Spread   string                // sensors with the same spread and interval poll together
	Zone     func() *time.Location // the account's
	Log      *slog.Logger

	// Since is when the sensor's state was last looked at before a restart; zero without one. Known says that the
	// sensor has a remembered answer, and Answered when Graph gave it.
	Since    time.Time
	Known    bool
	Answered time.Time

	// Show is told what the sensor shows, and what happened. It is never called before the first answer.
	Show func(Shown)
	// Polled is told how each poll ended.
	Polled func(err error)

	once    sync.Once
	applies chan applying
	refresh chan struct{}
	ended   chan struct{} // closed when Run has returned
}

// Shown is what a sensor showed at one moment.
type Shown struct {
	At       time.Time // the next State's since
	Answered time.Time // when Graph gave the last answer
	State    entity.State
	Events   []entity.Event // those of the state among them
}

type applying struct {
	operation string
	result    any
	done      chan struct{}
}

type answer struct {
	take Take
	err  error
}

func (p *Poller) init() {
	p.once.Do(func() {
		p.applies = make(chan applying)
		p.refresh = make(chan struct{}, 1)
		p.ended = make(chan struct{})
	})
}

// Apply puts an operation's answer in place and returns when it was shown, or will not be: after Run has returned. Graph is asked
// again soon after.
func (p *Poller) Apply(ctx context.Context, operation string, result any) {
	p.init()
	a := applying{operation, result, make(chan struct{})}
	select {
	case p.applies <- a:
		<-a.done
	case <-p.ended:
	case <-ctx.Done():
	}
}

// Refresh asks Graph as soon as possible.
func (p *Poller) Refresh() {
	p.init()
	select {
	case p.refresh <- struct{}{}:
	default:
	}
}

// Run polls until ctx is done, and returns when nothing of it runs any more.
func (p *Poller) Run(ctx context.Context) {
	p.init()
	defer close(p.ended)
	var (
		flying flight // the poll that runs
		polls  sync.WaitGroup

		slot   = p.firstSlot() // of the regular schedule, which neither failures nor operations move
		due    = time.Now()    // when Graph is asked next
		fresh  time.Time       // until then Graph may not tell yet what an operation did
		next   time.Time       // when the state changes by itself; zero: never
		retry  = p.backoff()
		failed failure
	)
	defer polls.Wait()
	if p.Known {
		next = p.look()
	}
	for ctx.Err() == nil {
		if flying.answer == nil && !time.Now().Before(due) {
			poll, cancel := context.WithTimeout(ctx, pollTimeout)
			flying = flight{answer: make(chan answer, 1), cancel: cancel}
			answers := flying.answer
			polls.Go(func() {
				defer cancel()
				answers <- p.poll(poll)
			})
			for now := time.Now(); !slot.After(now); {
				slot = slot.Add(p.Interval)
			}
			due = slot
		}
		timer := time.NewTimer(wait(flying.answer != nil, due, next))
		select {
		case <-ctx.Done():
		case <-p.refresh:
			if due = time.Now(); due.Before(fresh) {
				due = fresh
			}
		case a := <-p.applies:
			flying.drop()
			if applier, ok := p.Sensor.(Applier); ok && p.Known {
				var err error
				if next, err = p.show(func(now time.Time) []entity.Event { return applier.Apply(now, a.operation, a.result) }); err != nil {
					p.Log.Error("an operation's answer could not be shown", "operation", a.operation, "error", err, stack(err))
				}
			}
			due = time.Now().Add(applied)
			fresh = due
			close(a.done)
		case a := <-flying.answer:
			dropped := flying.dropped
			flying = flight{}
			if dropped || ctx.Err() != nil {
				break
			}
			if a.err == nil {
				if p.Since.IsZero() {
					p.Since = p.now() // before the first answer nothing happened
				}
				before := p.Answered
				p.Answered = time.Now()
				if next, a.err = p.show(a.take); a.err == nil {
					p.Known = true
				} else {
					p.Answered = before
				}
			}
			if a.err != nil {
				due = later(a.err, retry, due)
			} else {
				retry.Reset()
			}
			failed.log(p.Log, a.err)
			p.Polled(a.err)
		case <-timer.C:
			if !next.IsZero() && !time.Now().Before(next) {
				next = p.look()
			}
		}
		timer.Stop()
	}
	flying.drop()
}

// A flight is a poll that runs; the zero one does not.
type flight struct {
	answer  chan answer
	cancel  context.CancelFunc
	dropped bool // its answer is not to be taken
}

func (f *flight) drop() {
	if f.answer != nil {
		f.dropped = true
		f.cancel()
	}
}

// firstSlot is the next moment at which sensors of this spread and interval poll.
func (p *Poller) firstSlot() time.Time {
	h := fnv.New64a()
	h.Write([]byte(p.Spread))
	phase := time.Duration(h.Sum64() % uint64(p.Interval))
	now := time.Now()
	return now.Add(p.Interval - (time.Duration(now.UnixNano())-phase)%p.Interval)
}

func wait(polling bool, due, next time.Time) time.Duration {
	wait := steady
	if !polling {
		wait = min(wait, time.Until(due))
	}
	if !next.IsZero() {
		wait = min(wait, time.Until(next))
	}
	return max(wait, 0)
}

func (p *Poller) backoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = min(5*time.Second, p.Interval)
	b.Multiplier = 2
	b.MaxInterval = max(30*time.Second, p.Interval)
	return b
}

// later is when to ask again after err.
func later(err error, retry *backoff.ExponentialBackOff, due time.Time) time.Time {
	var e *graph.Error
	switch {
	case errors.As(err, &e) && e.RetryAfter > 0:
		return time.Now().Add(e.RetryAfter)
	case errors.As(err, &e) && (e.Reason == graph.SignInRequired || e.Reason == graph.PermissionMissing):
		return due // only a sign-in changes that, and it refreshes
	}
	return time.Now().Add(retry.NextBackOff())
}

// now is the time of day in the account's zone.
func (p *Poller) now() time.Time { return time.Now().In(p.Zone()) }

func (p *Poller) poll(ctx context.Context) (a answer) {
	defer recovered(&a.err)
	if a.err = p.Graph.CheckGranted(p.Sensor.Permissions()); a.err == nil {
		a.take, a.err = p.Sensor.Poll(ctx, p.Graph, p.now())
	}
	return a
}

// look shows what time alone has changed.
func (p *Poller) look() time.Time {
	next, err := p.show(func(time.Time) []entity.Event { return nil })
	if err != nil {
		p.Log.Error("the state could not be shown", "error", err, stack(err))
	}
	return next
}

// show changes the sensor, shows its state and says when that changes next.
func (p *Poller) show(change Take) (next time.Time, err error) {
	defer recovered(&err)
	now := p.now()
	events := change(now)
	since := p.Since
	if oldest := now.Add(-late); since.Before(oldest) {
		since = oldest
	}
	state := p.Sensor.State(since, now)
	// A clock that is set back a little must not bring the same events again. One that was far ahead was wrong.
	if !since.After(now) || since.After(now.Add(late)) {
		since = now
	}
	p.Since = since
	p.Show(Shown{At: since, Answered: p.Answered, State: state, Events: append(events, state.Events...)})
	if next = state.Next; !next.IsZero() && !next.After(now) {
		next = now.Add(time.Second) // a sensor that is wrong about that keeps nobody busy
	}
	return next, nil
}

// failure remembers the last one, so that each is logged once, and its end.
type failure struct {
	text  string
	count int
}

func (f *failure) log(log *slog.Logger, err error) {
	switch {
	case err == nil && f.count > 0:
		log.Info("polling works again", "failures", f.count)
		*f = failure{}
	case err == nil:
	case graph.Is(err, graph.SignInRequired):
		// The account says it once for all its sensors.
	default:
		f.count++
		if text := kind(err); text != f.text {
			f.text = text
			log.Warn("polling failed", "error", err, stack(err))
		}
	}
}

// kind is what two errors of the same kind have in common: not the id of the request.
func kind(err error) string {
	var e *graph.Error
	if errors.As(err, &e) {
		return fmt.Sprint(e.Reason, e.Status, e.Code)
	}
	return err.Error()
}

// panicked is the error of a sensor that panicked. The stack is for the log alone.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = &panicked{r, debug.Stack()}
	}
}

// stack is an attribute of err's line in the log; without a panic, none.
func stack(err error) slog.Attr {
	var p *panicked
	if !errors.As(err, &p) {
		return slog.Attr{}
	}
	return slog.String("stack", string(p.stack))
}
