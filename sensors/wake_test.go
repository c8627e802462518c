package sensors_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// polls records the polls of a meeting.
type polls struct {
	mu    sync.Mutex
	at    []time.Duration // since the start
	full  []bool          // see ReadAll
	start time.Time
}

func (p *polls) meeting() *meeting {
	p.start = time.Now()
	return &meeting{ask: func(ctx context.Context, _ time.Time) (time.Time, time.Time, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.at, p.full = append(p.at, time.Since(p.start)), append(p.full, sensors.ReadAll(ctx))
		return time.Time{}, time.Time{}, nil
	}}
}

// take returns the polls since the last call.
func (p *polls) take() (at []time.Duration, full []bool) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	at, full = p.at, p.full
	p.at, p.full = nil, nil
	return at, full
}

// Calls of Wake that come in quick succession lead to one poll, which reads everything.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p polls
		o := options(t, "Calendars.Read")
		o.Interval = 24 * time.Hour
		h := run(t, p.meeting(), o)
		time.Sleep(time.Minute)
		if _, full := p.take(); !cmp.Equal(full, []bool{false}) {
			t.Errorf("the first poll: %v", full)
		}
		h.Wake()
		time.Sleep(time.Minute)
		if at, full := p.take(); !cmp.Equal(at, []time.Duration{time.Minute + 2*time.Second}) || !full[0] {
			t.Errorf("one call: %v %v", at, full)
		}
		for range 60 { // for 6 s
			h.Wake()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		at, full := p.take()
		begin := 2 * time.Minute
		if len(at) != 2 || at[0] != begin+5*time.Second || at[1] < begin+8*time.Second || at[1] > begin+11*time.Second || !full[0] || !full[1] {
			t.Errorf("many calls: %v %v", at, full)
		}
	})
}

// A notification that comes while a poll runs is about what that poll may have missed.
func TestWakeDuringAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		o := options(t, "Calendars.Read")
		o.Interval = 24 * time.Hour
		h := run(t, &meeting{ask: func(ctx context.Context, _ time.Time) (time.Time, time.Time, error) {
			n++
			return time.Time{}, time.Time{}, wait(ctx, 30*time.Second)
		}}, o)
		time.Sleep(10 * time.Second)
		h.Wake()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n != 2 {
			t.Errorf("%d polls, want 2", n)
		}
	})
}

// A poll of an application may wait long for those of others. What wakes the poller does not wait with it.
func TestWakeOfAWaitingPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var background []bool
		o := options(t, "Calendars.Read")
		var err error
		o.Graph, err = graph.New(graph.Options{Root: "https://graph.example", Transport: graphtest.Unreachable{}, Tokens: graphtest.Tokens{Scopes: []string{"Calendars.Read"}}, Application: true})
		if err != nil {
			t.Fatal(err)
		}
		o.Interval = 24 * time.Hour
		h := run(t, &meeting{ask: func(ctx context.Context, _ time.Time) (time.Time, time.Time, error) {
			background = append(background, graph.IsInBackground(ctx))
			if graph.IsInBackground(ctx) {
				return time.Time{}, time.Time{}, wait(ctx, 30*time.Minute)
			}
			return time.Time{}, time.Time{}, nil
		}}, o)
		time.Sleep(10 * time.Second)
		h.Wake()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !slices.Equal(background, []bool{true, false}) {
			t.Errorf("polls in the background: %v", background)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(background) != 2 {
			t.Errorf("%d polls", len(background))
		}
	})
}

func TestSetInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p polls
		h := run(t, p.meeting(), options(t, "Calendars.Read"))
		time.Sleep(10*time.Minute + time.Second)
		p.take()
		h.SetInterval(15 * time.Minute)
		time.Sleep(2 * time.Hour)
		at, full := p.take()
		if len(at) != 8 {
			t.Errorf("%d polls within 2 hours, want 8: %v", len(at), at)
		}
		for i, all := range full {
			if !all {
				t.Errorf("poll %d does not read everything", i)
			}
		}
		h.SetInterval(time.Minute)
		time.Sleep(10 * time.Minute)
		if at, full := p.take(); len(at) != 10 || full[0] {
			t.Errorf("%v %v, want 10 polls", at, full)
		}
	})
}

// A poll reports a change of what was read, but not of the time.
func TestChangedPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soon := time.Now().Add(90 * time.Second)
		var mu sync.Mutex
		start := soon
		o := options(t, "Calendars.Read")
		var changed []bool
		h := newHarness(t, &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) {
			mu.Lock()
			defer mu.Unlock()
			return start, start.Add(time.Hour), nil
		}}, o)
		h.changed = func(c bool) { mu.Lock(); defer mu.Unlock(); changed = append(changed, c) }
		h.start(t)
		time.Sleep(5*time.Minute + time.Second) // the meeting has started
		synctest.Wait()
		mu.Lock()
		for i, c := range changed {
			if c {
				t.Errorf("poll %d reports a change", i)
			}
		}
		changed, start = nil, soon.Add(24*time.Hour)
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !cmp.Equal(changed, []bool{true, false}) {
			t.Errorf("%v, want that the first poll reports a change", changed)
		}
	})
}
