package graph

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// maxApplicationInFlight is enough for the calendars of 10,000 mailboxes a minute.
	maxApplicationInFlight = 50
	// probeInterval is the time without a throttled answer after which more requests are tried than were throttled before.
	probeInterval = time.Minute
)

// A Limiter bounds how many requests of an application to Exchange are in flight at a time. Microsoft documents four for an app and a
// mailbox, and elsewhere four for an app, whatever the mailbox. So a Limiter begins with four and finds its level: it grows while
// nothing is throttled, and halves when something is. Clients that share an application share a Limiter.
//
// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
type Limiter struct {
	log *slog.Logger

	mu        sync.Mutex
	limit     int
	inFlight  int
	succeeded int             // answers since the limit changed
	ceiling   int             // the highest limit that was not throttled; 0: not known
	throttled time.Time       // when the limit was halved last
	waiting   []chan struct{} // the oldest first; closed when a slot is handed over
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

// acquire waits for a slot, which release gives back. Requests get them in the order in which they came. A nil Limiter has any number.
func (l *Limiter) acquire(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	if l.inFlight < l.limit && len(l.waiting) == 0 {
		l.inFlight++
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, turn); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
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
		l.ceiling = max(l.limit-1, 1)
		l.limit, l.succeeded, l.throttled = max(l.limit/2, 1), 0, now
		l.log.Debug("fewer requests at a time", "limit", l.limit)
	case answered && full:
		l.succeeded++
		mayGrow := l.ceiling == 0 || l.limit < l.ceiling || now.Sub(l.throttled) >= probeInterval
		if l.succeeded >= l.limit && l.limit < maxApplicationInFlight && mayGrow {
			l.limit, l.succeeded = l.limit+1, 0
			if l.ceiling != 0 && l.limit > l.ceiling {
				l.ceiling, l.throttled = l.limit, now // one more each time that nothing was throttled for long
			}
		}
	}
	l.handOver()
}

// handOver gives free slots to the waiting requests, the oldest first. The caller holds mu.
func (l *Limiter) handOver() {
	for len(l.waiting) > 0 && l.inFlight < l.limit {
		l.inFlight++
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}
