package status

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
)

const (
	// repeatInterval is the time between two repetitions of a kept session: Available fades after five minutes.
	//
	// https://learn.microsoft.com/graph/api/presence-setpresence
	repeatInterval = 4 * time.Minute
	minSession     = 5 * time.Minute
	maxSession     = 4 * time.Hour
	maxKept        = 12 * time.Hour
)

// Kept is a session that is repeated until its end; the zero one is none.
type Kept struct {
	Availability, Activity string
	Until                  time.Time
	Sent                   time.Time // when it was last set or repeated
}

// Next returns when something is to be done for the session: repeat it or end it. It is zero for none.
func (k Kept) Next() time.Time {
	next := k.Sent.Add(repeatInterval)
	switch {
	case k.Until.IsZero():
		return time.Time{}
	case next.After(k.Until):
		return k.Until
	}
	return next
}

// A Keeper repeats the session that update_user_status set with keep. It never repeats one that another operation has replaced or
// cleared meanwhile.
type Keeper struct {
	allowed  atomic.Bool // the configuration offers update_user_status
	followed atomic.Bool // the presence is polled

	sem     chan struct{} // held while a session is set, repeated or cleared, and guards the rest
	decided bool          // an operation has set or cleared the session since the start
	session presence.Session
}

// NewKeeper returns a Keeper that is not allowed to repeat anything.
func NewKeeper() *Keeper { return &Keeper{sem: make(chan struct{}, 1)} }

func (k *Keeper) acquire(ctx context.Context) error {
	select {
	case k.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Keeper) release() { <-k.sem }

// Allow sets whether the configuration offers update_user_status.
func (k *Keeper) Allow(allowed bool) { k.allowed.Store(allowed) }

// Follow takes note that the presence is polled, so that a session can be repeated.
func (k *Keeper) Follow() { k.followed.Store(true) }

// decide sets or clears a session by calling send.
func (k *Keeper) decide(ctx context.Context, s presence.Session, send func() error) error {
	if s.Kept && !k.followed.Load() {
		return graph.Invalid("keep: want false, because only a running bridge that reads your presence can repeat it: send the request to it over MQTT")
	}
	if err := k.acquire(ctx); err != nil {
		return err
	}
	defer k.release()
	if err := send(); err != nil {
		return err
	}
	k.decided, k.session = true, s
	return nil
}

// Repeat repeats a kept session or ends it, if it is time for that. It returns what is kept from now on.
func (k *Keeper) Repeat(ctx context.Context, g *graph.Client, kept Kept, now time.Time) (Kept, error) {
	switch {
	case kept.Until.IsZero(), !k.allowed.Load(), !now.Before(kept.Until.Add(minSession)): // then it has expired by itself
		return Kept{}, nil
	case now.Before(kept.Next()):
		return kept, nil
	}
	if err := k.acquire(ctx); err != nil {
		return kept, err
	}
	defer k.release()
	// Where an operation has ended just now, its result follows.
	mine := !k.decided || k.session.Kept && k.session.Until.Equal(kept.Until) && k.session.Availability == kept.Availability && k.session.Activity == kept.Activity
	mine = mine && g.Granted(permission())
	kept.Sent = now.UTC()
	switch ended := !now.Before(kept.Until); {
	case ended && mine:
		return Kept{}, presence.ClearSession(ctx, g)
	case ended:
		return Kept{}, nil
	case mine:
		return kept, presence.SetSession(ctx, g, kept.Availability, kept.Activity, session(kept.Until.Sub(now)))
	}
	return kept, nil
}

// session returns the length nearest to d that Graph takes for a session, in whole seconds.
func session(d time.Duration) time.Duration {
	return min(max(d.Round(time.Second), minSession), maxSession)
}
