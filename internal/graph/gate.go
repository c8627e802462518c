package graph

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// inFlight is what Outlook allows an app in one mailbox.
	//
	// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
	inFlight    = 4
	longestWait = time.Hour
)

// A gate holds back requests that Graph would only refuse: what is asked while throttled counts as well.
type gate struct {
	mu    sync.Mutex
	lanes map[string]*lane // by limit
}

// lane is for all requests that share a limit.
func (g *gate) lane(limit string) *lane {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lanes[limit]
	if l == nil {
		l = &lane{
			slots: make(chan struct{}, inFlight),
			// 2 s … 5 min
			backoff: backoff.ExponentialBackOff{InitialInterval: 3 * time.Second, RandomizationFactor: 1. / 3, Multiplier: 2, MaxInterval: 225 * time.Second},
		}
		g.lanes[limit] = l
	}
	return l
}

// until is when the last lane opens; zero when all are open.
func (g *gate) until() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	var until time.Time
	for _, l := range g.lanes {
		l.mu.Lock()
		if l.closed.After(until) && l.closed.After(time.Now()) {
			until = l.closed
		}
		l.mu.Unlock()
	}
	return until
}

// limit names the limit that a request counts against: one for each mailbox, one for each of the other services.
func limit(path string) string {
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
		rest = rest[1:]
	case "communications":
		return "presence"
	case "chats", "teams", "teamwork":
		return "teams"
	}
	if len(rest) == 0 {
		return "directory"
	}
	switch rest[0] {
	case "todo", "presence":
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

// A lane lets a few through at a time, and nobody while it is closed.
type lane struct {
	slots chan struct{}

	mu      sync.Mutex
	closed  time.Time // until
	backoff backoff.ExponentialBackOff
}

// enter waits for a slot, which leave gives back. In a closed lane nobody waits: it may take an hour.
func (l *lane) enter(ctx context.Context) error {
	if err := l.throttled(); err != nil {
		return err
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := ctx.Err()
	if err == nil {
		err = l.throttled() // meanwhile
	}
	if err != nil {
		l.leave()
	}
	return err
}

func (l *lane) leave() { <-l.slots }

func (l *lane) throttled() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := time.Until(l.closed); wait > 0 {
		return &Error{Reason: Throttled, Message: "Microsoft asked to wait", RetryAfter: wait}
	}
	return nil
}

// close holds everybody back for as long as Graph says, or ever longer where it does not say. It returns how long.
func (l *lane) close(wait time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if wait == 0 && !l.closed.After(now) { // several in flight are refused together
		wait = l.backoff.NextBackOff()
	}
	if until := now.Add(wait); until.After(l.closed) {
		l.closed = until
	}
	return l.closed.Sub(now)
}

// open forgets earlier refusals: a request has been answered.
func (l *lane) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backoff.Reset()
}
