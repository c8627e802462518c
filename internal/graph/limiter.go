package graph

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// maxApplicationInFlight is enough for the calendars of 10,000 mailboxes a minute.
	maxApplicationInFlight = 50
	// probeInterval is the time without a throttled answer after which more requests are tried than were throttled before: for each of the limit,
	// at most maxProbeInterval. So of several processes that share a limit, the one with the least tries first.
	probeInterval    = 15 * time.Second
	maxProbeInterval = time.Minute
	// growInterval is the least time between two steps up to what was not throttled before. It lets others grow, too.
	growInterval = 2 * time.Second
	// When one request at a time is too much, because others use the same limit, a rest follows each answer: restUnit, or 3, 7, 15 times as
	// long. It is shortened after restInterval without a throttled answer.
	restUnit     = 300 * time.Millisecond
	maxRests     = 4
	restInterval = 5 * time.Second
	// A limiter with more than one slot that was throttled before leaves one unused for yieldTime once in yieldInterval. Otherwise a process
	// that takes each slot again at once, because the network is fast, would leave none to another one that begins later.
	yieldInterval = 10 * time.Second
	yieldTime     = time.Second
	// maxAhead is the number of requests that go before one in the background, which would otherwise wait for ever.
	maxAhead = 9
)

// A Limiter bounds how many requests of an application to Exchange are in flight at a time. Microsoft documents four for an app and a
// mailbox, and elsewhere four for an app, whatever the mailbox. So a Limiter begins with four and finds its level: it grows while
// nothing is throttled, and halves when something is. Clients that share an application share a Limiter; those of other processes find the
// level together with it.
//
// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
type Limiter struct {
	log *slog.Logger

	mu        sync.Mutex
	limit     int
	inFlight  int
	succeeded int       // answers since the limit changed
	ceiling   int       // the highest limit that was not throttled; 0: not known
	throttled time.Time // when the limit was halved last
	changed   time.Time // when the limit or rests changed last
	rests     int       // how often the limit was to be halved soon again although it was one
	restUntil time.Time // until then no request is let through
	yielded   time.Time // when a slot was left to other processes last
	// The oldest are first; a channel is closed when a slot is handed over.
	waiting    []chan struct{}
	background []chan struct{} // those that let others go first
	ahead      int             // slots handed over in a row while others waited in the background
}

// isBackground is the key of InBackground.
type isBackground struct{}

// InBackground marks requests that let others of the same Limiter go first, at most maxAhead in a row: thousands of polls must not hold up
// a booking.
func InBackground(ctx context.Context) context.Context {
	return context.WithValue(ctx, isBackground{}, true)
}

// IsInBackground reports whether the requests of ctx let others go first.
func IsInBackground(ctx context.Context) bool { return ctx.Value(isBackground{}) != nil }

// inBackgroundAs returns a context without end that is in the background if ctx is.
func inBackgroundAs(ctx context.Context) context.Context {
	if IsInBackground(ctx) {
		return InBackground(context.Background())
	}
	return context.Background()
}

// NewLimiter returns a limiter that lets four requests through at a time.
func NewLimiter(log *slog.Logger) *Limiter {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Limiter{log: log, limit: maxInFlight}
}

// Limit returns how many requests are let through at a time now.
func (l *Limiter) Limit() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// acquire waits for a slot, which release gives back. Requests get them in the order in which they came, those in the background last. A nil
// Limiter has any number.
func (l *Limiter) acquire(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	if l.inFlight < l.limit && len(l.waiting)+len(l.background) == 0 && !time.Now().Before(l.restUntil) {
		l.inFlight++
		l.mu.Unlock()
		return nil
	}
	queue := &l.waiting
	if IsInBackground(ctx) {
		queue = &l.background
	}
	turn := make(chan struct{})
	*queue = append(*queue, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(*queue, turn); i >= 0 {
		*queue = slices.Delete(*queue, i, i+1)
		return ctx.Err()
	}
	l.inFlight-- // it was handed over meanwhile
	l.handOver()
	return ctx.Err()
}

// release gives the slot of a request that began at a time back, and adapts the limit to its outcome.
func (l *Limiter) release(began time.Time, answered, throttled bool) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.inFlight >= l.limit
	l.inFlight--
	now := time.Now()
	switch {
	case throttled && began.Before(l.throttled): // it was in flight when the limit was halved
	case throttled:
		if l.limit == 1 && now.Sub(l.throttled) < restInterval {
			l.rests = min(l.rests+1, maxRests)
		}
		l.ceiling = max(l.limit-1, 1)
		l.limit, l.succeeded, l.throttled, l.changed = max(l.limit/2, 1), 0, now, now
		l.log.Debug("fewer requests at a time", "limit", l.limit, "rests", l.rests)
	case answered && l.rests > 0:
		if now.Sub(l.changed) >= restInterval {
			l.rests, l.changed = l.rests-1, now
		}
	case answered && full:
		l.succeeded++
		mayGrow := l.ceiling == 0 || l.limit < l.ceiling && now.Sub(l.changed) >= growInterval || now.Sub(l.throttled) >= min(probeInterval*time.Duration(l.limit), maxProbeInterval)
		if l.succeeded >= l.limit && l.limit < maxApplicationInFlight && mayGrow {
			l.limit, l.succeeded, l.changed = l.limit+1, 0, now
			if l.ceiling != 0 && l.limit > l.ceiling {
				l.ceiling, l.throttled = l.limit, now // one more each time that nothing was throttled for long
			}
		}
	}
	if l.rests > 0 {
		rest := (1<<l.rests - 1) * restUnit
		rest = rest/2 + rand.N(rest) // or those of several processes are in step
		l.restUntil = now.Add(rest)
		l.handOverAfter(rest, 0)
	}
	if l.ceiling != 0 && l.limit > 1 && now.Sub(l.yielded) >= yieldInterval {
		l.yielded = now
		l.inFlight++
		l.handOverAfter(yieldTime, 1)
	}
	l.handOver()
}

// handOverAfter gives back slots after a time, and hands over what is free then.
func (l *Limiter) handOverAfter(d time.Duration, slots int) {
	time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.inFlight -= slots
		l.handOver()
	})
}

// handOver gives free slots to the waiting requests, the oldest first. The caller holds mu.
func (l *Limiter) handOver() {
	if time.Now().Before(l.restUntil) {
		return
	}
	for l.inFlight < l.limit && len(l.waiting)+len(l.background) > 0 {
		queue := &l.waiting
		if l.ahead++; len(l.waiting) == 0 || len(l.background) > 0 && l.ahead > maxAhead {
			queue, l.ahead = &l.background, 0
		}
		l.inFlight++
		close((*queue)[0])
		*queue = (*queue)[1:]
	}
}
