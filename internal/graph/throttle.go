package graph

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"
)

const (
	// maxInFlight is the maximum number of concurrent requests of an app in one mailbox of Outlook.
	//
	// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
	maxInFlight = 4
	longestWait = time.Hour
)

// A throttle fails requests locally while a Retry-After is pending: Graph counts rejected requests against the limit too.
type throttle struct {
	log *slog.Logger

	mu      sync.Mutex
	buckets map[string]*bucket // by limit
}

func newThrottle(log *slog.Logger) *throttle {
	return &throttle{log: log, buckets: map[string]*bucket{}}
}

// bucket returns the bucket of all requests that share a limit.
func (t *throttle) bucket(limit string) *bucket {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buckets[limit]
	if b == nil {
		b = &bucket{
			log:     t.log.With("limit", limit),
			outlook: strings.HasPrefix(limit, "outlook of "),
			slots:   semaphore.NewWeighted(maxInFlight),
			// 2 s … 5 min
			backoff: backoff.ExponentialBackOff{InitialInterval: 3 * time.Second, RandomizationFactor: 1. / 3, Multiplier: 2, MaxInterval: 225 * time.Second},
		}
		t.buckets[limit] = b
	}
	return b
}

// state returns when the last bucket is unblocked, zero when none is blocked, and how long all buckets together were blocked.
func (t *throttle) state() (until time.Time, total time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.buckets {
		b.mu.Lock()
		if b.blocked.After(until) && b.blocked.After(time.Now()) {
			until = b.blocked
		}
		total += b.total
		b.mu.Unlock()
	}
	return until, total
}

// subscriptionsLimit is the limit of requests about subscriptions to change notifications.
const subscriptionsLimit = "subscriptions"

// limitOf names the limit that a request counts against: one for each mailbox, one for each of the other services.
func limitOf(path string) string {
	segments := strings.Split(strings.Trim(strings.TrimPrefix(path, "/v1.0/"), "/"), "/")
	owner, rest := segments[0], segments[1:]
	switch owner {
	case "me":
	case "users", "groups":
		if len(rest) == 0 {
			return "directory"
		}
		if owner += "/" + rest[0]; owner == "users/"+meToken {
			owner = "me"
		}
		owner = strings.Replace(owner, "users/"+groupToken, "groups/", 1)
		rest = rest[1:]
	case "communications":
		return "presence"
	case "planner":
		return "planner"
	case "chats", "teams", "teamwork":
		return "teams"
	case "subscriptions":
		return subscriptionsLimit
	}
	if len(rest) == 0 {
		return "directory"
	}
	switch rest[0] {
	case "todo":
		if owner != "me" { // of a mailbox of an organization, whose throttling must not hold others up
			return "todo of " + owner
		}
		return "todo"
	case "planner", "presence":
		return rest[0]
	case "chats", "joinedTeams", "teamwork", "onlineMeetings":
		return "teams"
	case "calendar", "calendars", "calendarView", "events", "findMeetingTimes",
		"mailFolders", "messages", "mailboxSettings", "sendMail", "outlook", "translateExchangeIds",
		"contacts", "contactFolders", "people", "photo", "photos", "settings":
		return "outlook of " + owner
	}
	return "directory"
}

// A bucket lets a few requests through at a time, and none while it is blocked.
type bucket struct {
	log     *slog.Logger
	outlook bool // it is a mailbox's
	slots   *semaphore.Weighted

	mu        sync.Mutex    // guards the following
	blocked   time.Time     // until
	total     time.Duration // for which it was blocked, or will be
	throttled bool          // a throttling was logged, its end not yet
	backoff   backoff.ExponentialBackOff
}

// acquire waits for a slot, which release gives back. While the bucket is blocked it fails at once: that may take an hour.
func (b *bucket) acquire(ctx context.Context) error {
	if err := b.check(); err != nil {
		return err
	}
	if err := b.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	err := ctx.Err()
	if err == nil {
		err = b.check() // it may have been blocked meanwhile
	}
	if err != nil {
		b.release()
	}
	return err
}

func (b *bucket) release() { b.slots.Release(1) }

// check returns an error while the bucket is blocked.
func (b *bucket) check() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := time.Until(b.blocked); wait > 0 {
		return &Error{Reason: Throttled, RetryAfter: wait}
	}
	return nil
}

// block fails all requests for as long as Graph says, or ever longer where it does not say. It returns how long.
func (b *bucket) block(wait time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if wait == 0 && !b.blocked.After(now) { // several in flight are refused together
		wait = b.backoff.NextBackOff()
	}
	if until := now.Add(wait); until.After(b.blocked) {
		if b.blocked.After(now) {
			b.total += until.Sub(b.blocked)
		} else {
			b.total += wait
		}
		b.blocked = until
	}
	wait = b.blocked.Sub(now)
	if !b.throttled {
		b.throttled = true
		b.log.Warn("throttled by Microsoft", "retry_in", wait.Round(time.Second))
	}
	return wait
}

// reset forgets earlier refusals: a request was answered.
func (b *bucket) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backoff.Reset()
	if b.throttled && !b.blocked.After(time.Now()) { // others in flight may still be answered while it is blocked
		b.throttled = false
		b.log.Info("no longer throttled by Microsoft")
	}
}
