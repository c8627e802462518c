package sensors

import (
	"errors"
	"hash/fnv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// DefaultPause is the default of PollerOptions.Pause: after it Graph's answer contains the effect of an operation.
const DefaultPause = 5 * time.Second

// A schedule decides when to poll.
type schedule struct {
	interval   time.Duration
	pause      time.Duration // see PollerOptions
	tick       time.Time     // the next of the regular schedule, which neither failures nor operations move
	regular    time.Time     // the next regular poll, or the retry of a failed one
	forced     time.Time     // the next requested poll; zero: none
	lastForced time.Time
	notBefore  time.Time // until then Graph may not know yet what an operation did
	retry      *backoff.ExponentialBackOff
}

func newSchedule(interval, pause time.Duration, phaseKey string) *schedule {
	now := time.Now()
	s := &schedule{interval: interval, pause: pause, regular: now, retry: backoff.NewExponentialBackOff()}
	// Sensors of one key and interval poll at the same moments.
	h := fnv.New64a()
	h.Write([]byte(phaseKey))
	phase := time.Duration(h.Sum64() % uint64(interval))
	s.tick = now.Add(interval - (time.Duration(now.UnixNano())-phase)%interval)
	s.retry.InitialInterval = min(5*time.Second, interval)
	s.retry.Multiplier = 2
	s.retry.MaxInterval = max(30*time.Second, interval)
	return s
}

// due returns when the next poll begins.
func (s *schedule) due() time.Time {
	due := s.regular
	if !s.forced.IsZero() && s.forced.Before(due) {
		due = s.forced
	}
	if due.Before(s.notBefore) {
		due = s.notBefore
	}
	return due
}

// start takes note of a poll that begins. It fulfills all earlier requests for a poll.
func (s *schedule) start(now time.Time) {
	if !s.forced.IsZero() && !s.forced.After(now) {
		s.lastForced = now
	}
	s.forced = time.Time{}
	for !s.tick.After(now) {
		s.tick = s.tick.Add(s.interval)
	}
	s.regular = s.tick
}

// force polls as soon as the last forced poll is long enough ago.
func (s *schedule) force(now time.Time) {
	at := now
	if pause := s.lastForced.Add(s.pause); !s.lastForced.IsZero() && at.Before(pause) {
		at = pause
	}
	if s.forced.IsZero() || at.Before(s.forced) {
		s.forced = at
	}
}

// repoll polls when Graph knows what an operation did, and not earlier.
func (s *schedule) repoll(now time.Time) {
	s.notBefore = now.Add(s.pause)
	s.forced = s.notBefore
}

// require polls at a time or earlier, but not at once. A failed poll is repeated as always.
func (s *schedule) require(at, now time.Time) {
	if at.IsZero() {
		return
	}
	if earliest := now.Add(s.pause); at.Before(earliest) {
		at = earliest
	}
	if at.Before(s.regular) {
		s.regular = at
	}
}

func (s *schedule) succeeded() { s.retry.Reset() }

func (s *schedule) failed(err error) {
	var e *graph.Error
	switch {
	case errors.As(err, &e) && e.RetryAfter > 0:
		s.regular = time.Now().Add(e.RetryAfter)
	case errors.As(err, &e) && (e.Reason == graph.SignInRequired || e.Reason == graph.PermissionMissing):
		// Only a sign-in changes that, and it refreshes.
	default:
		s.regular = time.Now().Add(s.retry.NextBackOff())
	}
}
