package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// A plan is a Source whose snapshots are numbers. It counts its calls.
type plan struct {
	Option string
	answer func(n int) *number
	polls  int
	states atomic.Int32
}

type number struct {
	N      int
	Window time.Time // ignored by Same
	encode func()    // is called when it is encoded
}

func (n *number) MarshalText() ([]byte, error) {
	if n.encode != nil {
		n.encode()
	}
	return fmt.Appendf(nil, "%d %s", n.N, n.Window.Format(time.RFC3339)), nil
}

func (n *number) UnmarshalText(b []byte) (err error) {
	var window string
	if _, err = fmt.Sscan(string(b), &n.N, &window); err == nil {
		n.Window, err = time.Parse(time.RFC3339, window)
	}
	return err
}

func (p *plan) Permissions() []graph.Permission { return nil }
func (p *plan) Entities() []entity.Entity       { return []entity.Entity{entity.Sensor("n", "N")} }

func (p *plan) Poll(_ context.Context, _ *graph.Client, _ *number, now time.Time) (*number, error) {
	p.polls++
	n := p.answer(p.polls)
	if n == nil {
		return nil, errors.New("no answer")
	}
	n.Window = now
	return n, nil
}

func (p *plan) Events(before, after *number, _ time.Time) []entity.Event {
	if before.N == after.N {
		return nil
	}
	return []entity.Event{{Type: fmt.Sprint(before.N, " to ", after.N)}}
}

func (p *plan) State(s *number, since, now time.Time) entity.State {
	p.states.Add(1)
	if s == nil {
		return entity.State{}
	}
	return entity.State{Values: map[string]any{"n": s.N}}
}

func (p *plan) Same(a, b *number) bool { return a.N == b.N }

func TestAnIdlePollWritesAndEncodesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		encoded := 0
		p := &plan{answer: func(int) *number { return &number{N: 1, encode: func() { encoded++ }} }}
		o := options(t, "User.Read")
		h := newHarness(t, p, o)
		stop := h.start(t)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if n := h.store.count(); n != 1 || encoded != 1 || p.states.Load() != 1 {
			t.Errorf("%d commits, encoded %d times, evaluated %d times, want 1", n, encoded, p.states.Load())
		}
		if n := len(h.shown()); n < 59 || h.shown()[n-1].Values["n"] != 1 || time.Since(h.shown()[n-1].AnsweredAt) > time.Minute {
			t.Errorf("shown %d times, last %+v", n, h.shown()[n-1])
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := h.store.count(); n != 13 {
			t.Errorf("%d commits in 13 hours, want one an hour", n)
		}
		before := h.store.count()
		stop()
		if n := h.store.count(); n != before+1 {
			t.Errorf("%d commits at the stop, want 1", n-before)
		}
		var got []time.Time
		for _, s := range h.shown() {
			got = append(got, s.AnsweredAt)
		}
		o.Stored = h.store.stored()
		again := run(t, &plan{answer: func(int) *number { return nil }}, o)
		synctest.Wait()
		if s := again.shown()[0]; !s.AnsweredAt.Equal(got[len(got)-1]) {
			t.Errorf("answered at %s, want %s", s.AnsweredAt, got[len(got)-1])
		}
	})
}

// Only an event has to wait for its snapshot: another one may be written together with those of other sensors.
func TestHowLongASnapshotMayWaitToBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan{answer: func(n int) *number { return &number{N: max(n-90, 1)} }}
		h := newHarness(t, p, options(t, "User.Read"))
		stop := h.start(t)
		time.Sleep(65 * time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]time.Duration{5 * time.Second, time.Minute}, h.store.waits()); d != "" {
			t.Errorf("the first answer, and one that is the same after an hour: %s", d)
		}
		for len(h.events()) == 0 {
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if waits := h.store.waits(); len(waits) != 3 || waits[2] != 0 {
			t.Errorf("with an event: %v", waits)
		}
		stop()
		if waits := h.store.waits(); waits[len(waits)-1] != 0 {
			t.Errorf("at the stop: %v", waits)
		}
	})
}

func TestEventsFollowTheirSnapshotToDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan{answer: func(n int) *number { return &number{N: n} }}
		h := run(t, p, options(t, "User.Read"))
		synctest.Wait()
		h.store.set(20*time.Second, nil)
		for len(h.shown()) < 2 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if len(h.events()) > 0 {
			t.Errorf("events %v before the snapshot was on disk", h.events())
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"1 to 2"}, h.events()); d != "" {
			t.Error(d)
		}
	})
}

func TestEventsOfAFailedCommitFollowTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan{answer: func(n int) *number { return &number{N: min(n, 4)} }}
		h := run(t, p, options(t, "User.Read"))
		synctest.Wait()
		h.store.set(0, errors.New("no space left on device"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(h.events()) > 0 || h.shown()[len(h.shown())-1].Values["n"] != 4 {
			t.Errorf("events %v, shown %+v", h.events(), h.shown()[len(h.shown())-1])
		}
		h.store.set(0, nil)
		time.Sleep(30 * time.Second) // without waiting for a change
		synctest.Wait()
		if d := cmp.Diff([]string{"1 to 2", "2 to 3", "3 to 4"}, h.events()); d != "" {
			t.Error(d)
		}
		for text, want := range map[string]int{"snapshot not saved": 1, "snapshot saved again": 1} {
			if n := strings.Count(h.log.String(), text); n != want {
				t.Errorf("%q %d times in the log, want %d:\n%s", text, n, want, h.log)
			}
		}
	})
}

func TestOrderAtANewSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().Add(150 * time.Second)
		m := &meeting{}
		m.ask = func(ctx context.Context, now time.Time) (time.Time, time.Time, error) {
			if now.Before(start) {
				return start, start.Add(time.Hour), nil
			}
			return now.Add(time.Hour), now.Add(2 * time.Hour), nil
		}
		h := run(t, m, options(t, "Calendars.Read"))
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		// Time-based events of the old snapshot come before those of the change.
		if d := cmp.Diff([]string{"started", "changed"}, h.events()[:2]); d != "" {
			t.Error(d)
		}
	})
}

// TestResults pins that the caller of Apply writes the snapshot within its own transaction, and that events follow it.
func TestResults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		commit func(*store, func(sensors.Tx))
		events int // commits until the events are passed on
	}{
		{"with a hook", (*store).commitHooked, 1},
		{"without", func(s *store, write func(sensors.Tx)) { s.Commit(write, nil) }, 2},
		{"not written by the caller", func(*store, func(sensors.Tx)) {}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				m := &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) {
					return now.Add(10 * time.Hour), now.Add(11 * time.Hour), nil
				}}
				o := options(t, "Calendars.Read")
				o.Interval = time.Hour
				h := newHarness(t, m, o)
				stop := h.start(t)
				synctest.Wait()
				commits, result := h.store.count(), [2]time.Time{now.Add(20 * time.Hour), now.Add(21 * time.Hour)}
				m.ask = func(context.Context, time.Time) (time.Time, time.Time, error) { return result[0], result[1], nil }
				persist := h.Apply(t.Context(), result)
				if len(h.events()) > 0 {
					t.Errorf("events %v before the snapshot was on disk", h.events())
				}
				tt.commit(h.store, persist)
				time.Sleep(6 * time.Second)
				synctest.Wait()
				if d := cmp.Diff([]string{"changed by us"}, h.events()); d != "" {
					t.Error(d)
				}
				if n := h.store.count() - commits; n != tt.events {
					t.Errorf("%d commits, want %d", n, tt.events)
				}
				stop()
				o.Stored = h.store.stored()
				again := newHarness(t, m, o)
				if next := again.Initial().Next; !next.Equal(result[0]) {
					t.Errorf("after a restart the start is %s, want %s", next, result[0])
				}
			})
		})
	}
}

func TestAResultIsNotAppliedBeforeTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{ask: func(ctx context.Context, _ time.Time) (start, end time.Time, err error) {
			return start, end, wait(ctx, time.Minute)
		}}
		h := run(t, m, options(t, "Calendars.Read"))
		if persist := h.Apply(t.Context(), [2]time.Time{time.Now(), time.Now()}); persist != nil || h.HasAnswer() || len(h.shown()) > 0 {
			t.Errorf("shown %v", h.shown())
		}
	})
}

func TestAPanicOfAnEffectIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		m := &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) { return now, now.Add(time.Hour), nil }}
		h := run(t, m, options(t, "Calendars.Read"))
		synctest.Wait()
		if persist := h.Apply(t.Context(), errors.New("a result")); persist != nil {
			t.Error("something is to be written")
		}
		if !strings.Contains(h.log.String(), "result of an operation not applied") {
			t.Errorf("log:\n%s", h.log)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(h.polled()) != 2 {
			t.Errorf("%d polls, want the second after 5 s", len(h.polled()))
		}
	})
}

// TestStored pins which stored records are used.
func TestStored(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(string) string
		option string
		want   any
		log    string
	}{
		{"as it was", func(s string) string { return s }, "a", 7, ""},
		{"other options", func(s string) string { return s }, "b", nil, ""},
		{"another version's snapshot", func(s string) string { return strings.Replace(s, `"hash":"`, `"hash":"0`, 1) }, "a", nil, ""},
		{"not JSON", func(string) string { return "\x00" }, "a", nil, "stored snapshot ignored"},
		{"half", func(s string) string { return s[:len(s)/2] }, "a", nil, "stored snapshot ignored"},
		{"not a snapshot", func(s string) string { return strings.Replace(s, `"7 `, `"x `, 1) }, "a", nil, "stored snapshot ignored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(t, "User.Read")
				h := newHarness(t, &plan{Option: "a", answer: func(int) *number { return &number{N: 7} }}, o)
				stop := h.start(t)
				synctest.Wait()
				stop()
				o.Stored = []byte(tt.change(string(h.store.stored())))
				again := newHarness(t, &plan{Option: tt.option, answer: func(int) *number { return nil }}, o)
				if d := cmp.Diff(map[string]any{"n": tt.want}, again.Initial().Values); d != "" || again.HasAnswer() != (tt.want != nil) {
					t.Errorf("initially %s", d)
				}
				if logged := strings.Contains(again.log.String(), "stored snapshot ignored"); logged != (tt.log != "") {
					t.Errorf("log:\n%s", again.log)
				}
			})
		})
	}
}

func TestForcedPollsKeepTheirDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
			at = append(at, now.Sub(begun))
			return begun, begun, nil
		}}
		o := options(t, "Calendars.Read")
		o.Interval = time.Hour
		h := run(t, m, o)
		synctest.Wait()
		for range 100 { // in 10 s
			h.Refresh()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]time.Duration{0, 0, 5 * time.Second, 10 * time.Second}, at); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestAConsistentReaderIsPolledAtOnceAfterAWrite(t *testing.T) {
	for _, tt := range []struct {
		immediate bool
		result    any
		want      time.Duration
	}{
		{true, "a result that the snapshot does not show", 0},
		{false, "a result that the snapshot does not show", 5 * time.Second},
		{true, [2]time.Time{time.Unix(0, 0), time.Unix(1, 0)}, 5 * time.Second}, // it is shown already
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Time
			m := &meeting{immediate: tt.immediate, ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
				at = append(at, now)
				return now, now, nil
			}}
			o := options(t, "Calendars.Read")
			o.Interval = time.Hour
			h := run(t, m, o)
			time.Sleep(time.Second)
			begun := time.Now()
			h.Apply(t.Context(), tt.result)
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(at) != 2 || at[1].Sub(begun) != tt.want {
				t.Errorf("%v: polled at %v, want %s after %s", tt, at, tt.want, begun)
			}
		})
	}
}

// The Graph client logs throttling, once for all sensors that share the limit.
func TestThrottlingIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := 0
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
			if p++; p%2 == 0 {
				return now, now, &graph.Error{Reason: graph.Throttled, Message: "still asked to wait"}
			}
			return now, now, &graph.Error{Reason: graph.Throttled, Status: 429, Code: "TooManyRequests"}
		}}
		h := run(t, m, options(t, "Calendars.Read"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(h.log.String(), "polling failed"); n != 0 || p < 10 {
			t.Errorf("%d polls, logged %d times:\n%s", p, n, h.log)
		}
	})
}

func TestComplete(t *testing.T) {
	long := strings.Repeat("x", 300)
	entities := []entity.Entity{
		entity.Sensor("mode", "Mode"), entity.Select("mode", "Mode", "a"), entity.Text("note", "Note"), entity.Text("short", "Short"),
		entity.Enum("known", "Known", "a", "b"), entity.Enum("unlisted", "Unlisted", "a", "b"),
		entity.Timestamp("start", "Start"), entity.EventEntity("x"), entity.Button("press", "Press", "x", nil), entity.Notify("send", "Send", "x", "y"),
	}
	values := map[string]any{"mode": "a", "note": long, "short": "a\nb", "known": "b", "unlisted": "c"}
	got := sensors.Complete(entities, entity.State{Values: values})
	want := entity.State{
		Values: map[string]any{"mode": "a", "note": long[:254] + "…", "short": "a ⏎ b", "start": nil, "known": "b", "unlisted": nil},
		Texts:  map[string]string{"note": long},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if values["note"] != long {
		t.Error("the argument was changed")
	}
}
