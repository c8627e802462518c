package sensors

import (
	"errors"
	"hash/fnv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A poll that something woke begins when nothing else has woken it for wakeQuiet, at the latest after wakeDelay: Graph announces one
// change several times.
const (
	wakeQuiet = 2 * time.Second
	wakeDelay = 5 * time.Second
)

// DefaultPause is the default of PollerOptions.Pause: after it Graph's answer contains the effect of an operation.
const DefaultPause = 5 * time.Second

// A schedule decides when to poll.
type schedule struct {
	interval   time.Duration
	pause      time.Duration // see PollerOptions
	phaseHash  uint64        // of the key
	tick       time.Time     // the next of the regular schedule, which neither failures nor operations move
	regular    time.Time     // the next regular poll, or the retry of a failed one
	forced     time.Time     // the next requested poll; zero: none
	lastForced time.Time
	woken      time.Time // the next poll that something woke; zero: none
	wokenSince time.Time // when it was woken first
	notBefore  time.Time // until then Graph may not know yet what an operation did
	retry      *backoff.ExponentialBackOff
}

func newSchedule(interval, pause time.Duration, phaseKey string) *schedule {
	now := time.Now()
	h := fnv.New64a()
	h.Write([]byte(phaseKey))
	s := &schedule{interval: interval, pause: pause, phaseHash: h.Sum64(), regular: now, retry: backoff.NewExponentialBackOff()}
	s.tick = s.nextTick(now)
	s.retry.InitialInterval = min(5*time.Second, interval)
	s.retry.Multiplier = 2
	s.retry.MaxInterval = max(30*time.Second, interval)
	return s
}

// nextTick returns the next time of the regular schedule. Sensors of one key and interval poll at the same moments.
func (s *schedule) nextTick(now time.Time) time.Time {
	phase := time.Duration(s.phaseHash % uint64(s.interval))
	return now.Add(s.interval - (time.Duration(now.UnixNano())-phase)%s.interval)
}

// setInterval changes the regular schedule. A retry or a required poll that comes earlier stays.
func (s *schedule) setInterval(interval time.Duration, now time.Time) {
	if interval <= 0 || interval == s.interval {
		return
	}
	s.interval = interval
	before := s.tick
	s.tick = s.nextTick(now)
	if s.regular.Equal(before) || s.tick.Before(s.regular) {
		s.regular = s.tick
	}
}

// wake polls when several notifications of one change have come.
func (s *schedule) wake(now time.Time) {
	if s.woken.IsZero() {
		s.wokenSince = now
	}
	s.woken = now.Add(wakeQuiet)
	if last := s.wokenSince.Add(wakeDelay); last.Before(s.woken) {
		s.woken = last
	}
	if pause := s.lastForced.Add(s.pause); !s.lastForced.IsZero() && s.woken.Before(pause) {
		s.woken = pause
	}
}

// wokenAt returns when the next poll that something woke begins.
func (s *schedule) wokenAt() time.Time {
	if s.woken.Before(s.notBefore) {
		return s.notBefore
	}
	return s.woken
}

// due returns when the next poll begins.
func (s *schedule) due() time.Time {
	due := s.regular
	if !s.forced.IsZero() && s.forced.Before(due) {
		due = s.forced
	}
	if !s.woken.IsZero() && s.woken.Before(due) {
		due = s.woken
	}
	if due.Before(s.notBefore) {
		due = s.notBefore
	}
	return due
}

// start records a poll that begins, and reports whether something woke it. It fulfills all earlier requests for a poll, except
// that of a notification that has just come.
func (s *schedule) start(now time.Time) (woken bool) {
	isDue := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	woken = isDue(s.woken)
	if isDue(s.forced) || woken {
		s.lastForced = now
	}
	s.forced = time.Time{}
	if woken {
		s.woken = time.Time{}
	}
	for !s.tick.After(now) {
		s.tick = s.tick.Add(s.interval)
	}
	s.regular = s.tick
	return woken
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
