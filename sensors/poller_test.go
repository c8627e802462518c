package sensors_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// tokens are granted scopes without a sign-in.
type tokens []string

func (tokens) Token(context.Context) (string, error)                 { return "token", nil }
func (tokens) Renew(context.Context, string, string) (string, error) { return "token", nil }
func (tokens) Personal() bool                                        { return false }
func (t tokens) Granted() []string                                   { return t }

type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody answers")
}

// meeting is a sensor of one meeting. Its answers are what ask says.
type meeting struct {
	ask   func(ctx context.Context, now time.Time) (start, end time.Time, err error)
	start time.Time
	end   time.Time
}

func (m *meeting) Permissions() []graph.Permission {
	return []graph.Permission{{Scope: "Calendars.Read", Alternatives: []string{"Calendars.ReadWrite"}}}
}
func (m *meeting) Entities() []entity.Entity { return nil }
func (m *meeting) Poll(ctx context.Context, _ *graph.Client, now time.Time) (sensors.Take, error) {
	start, end, err := m.ask(ctx, now)
	if err != nil {
		return nil, err
	}
	return func(now time.Time) []entity.Event { return m.Apply(now, "", [2]time.Time{start, end}) }, nil
}

func (m *meeting) Apply(_ time.Time, _ string, result any) []entity.Event {
	before := m.start
	m.start, m.end = result.([2]time.Time)[0], result.([2]time.Time)[1]
	if before.IsZero() || before.Equal(m.start) {
		return nil
	}
	return []entity.Event{{Type: "changed"}}
}

func (m *meeting) State(since, now time.Time) entity.State {
	s := entity.State{Values: map[string]any{"busy": !now.Before(m.start) && now.Before(m.end)}}
	for _, t := range []time.Time{m.end, m.start} {
		if t.After(now) {
			s.Next = t
		}
	}
	if m.start.After(since) && !m.start.After(now) {
		s.Events = append(s.Events, entity.Event{Type: "started"})
	}
	return s
}

// A record is what happened so far.
type record struct {
	mu   sync.Mutex
	what []any
}

func (r *record) add(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.what = append(r.what, v)
}

func all[T any](r *record) func() []T {
	return func() []T {
		r.mu.Lock()
		defer r.mu.Unlock()
		var ts []T
		for _, v := range r.what {
			t, _ := v.(T) // the nil of an interface has no type
			ts = append(ts, t)
		}
		return ts
	}
}

// run runs a poller and returns what it has shown and how its polls ended so far.
func run(t *testing.T, p *sensors.Poller, granted ...string) (shown func() []sensors.Shown, polled func() []error, log *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return runUntil(ctx, t, p, granted...)
}

func runUntil(ctx context.Context, t *testing.T, p *sensors.Poller, granted ...string) (shown func() []sensors.Shown, polled func() []error, log *bytes.Buffer) {
	t.Helper()
	g, err := graph.New(graph.Options{Root: "https://graph.example", Transport: nobody{}, Tokens: tokens(granted)})
	if err != nil {
		t.Fatal(err)
	}
	var shows, polls record
	shown, polled, log = all[sensors.Shown](&shows), all[error](&polls), new(bytes.Buffer)
	p.Graph, p.Interval = g, time.Minute
	p.Zone = func() *time.Location { return time.UTC }
	p.Log = slog.New(slog.NewTextHandler(log, nil))
	p.Show = func(s sensors.Shown) { shows.add(s) }
	p.Polled = func(err error) { polls.add(err) }
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return shown, polled, log
}

func types(shown []sensors.Shown) []string {
	var names []string
	for _, s := range shown {
		for _, e := range s.Events {
			names = append(names, e.Type)
		}
	}
	return names
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func TestStateTurnsAtItsSecondWhileAPollHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().Add(95 * time.Second)
		polls := 0
		m := &meeting{ask: func(ctx context.Context, _ time.Time) (time.Time, time.Time, error) {
			if polls++; polls > 1 {
				if err := wait(ctx, 50*time.Second); err != nil {
					return time.Time{}, time.Time{}, err
				}
			}
			return start, start.Add(time.Hour), nil
		}}
		shown, _, _ := run(t, &sensors.Poller{Sensor: m}, "Calendars.Read")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		i := slices.IndexFunc(shown(), func(s sensors.Shown) bool { return s.State.Values["busy"] == true })
		if i < 0 || !shown()[i].At.Equal(start) {
			t.Fatalf("busy at %v, want %v", shown()[i].At, start)
		}
		if diff := cmp.Diff([]string{"started"}, types(shown())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPollsAtItsIntervalWhateverAPollTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		m := &meeting{ask: func(ctx context.Context, now time.Time) (time.Time, time.Time, error) {
			at = append(at, now)
			return now, now, wait(ctx, 20*time.Second)
		}}
		run(t, &sensors.Poller{Sensor: m, Spread: "work calendar"}, "Calendars.Read")
		time.Sleep(time.Hour)
		synctest.Wait()
		for i := 2; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d != time.Minute {
				t.Errorf("poll %d came %v after the one before, want 1m", i, d)
			}
		}
		if len(at) < 60 || at[1].Sub(at[0]) > time.Minute {
			t.Errorf("%d polls in an hour, the second %v after the first", len(at), at[1].Sub(at[0]))
		}
	})
}

func TestAnOperationsAnswerShowsAtOnceAndIsNotTakenBackByAnOlderPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stale := time.Now().Add(10 * time.Hour)
		var polls atomic.Int32
		m := &meeting{ask: func(ctx context.Context, now time.Time) (time.Time, time.Time, error) {
			if polls.Add(1) == 2 {
				_ = wait(context.WithoutCancel(ctx), 20*time.Second) // an answer that comes though nobody waits for it
			}
			return stale, stale, nil
		}}
		p := &sensors.Poller{Sensor: m}
		shown, _, _ := run(t, p, "Calendars.Read")
		for synctest.Wait(); polls.Load() < 2; synctest.Wait() {
			time.Sleep(time.Second)
		}
		now := time.Now()
		p.Apply(t.Context(), "create", [2]time.Time{now, now.Add(time.Hour)})
		if !time.Now().Equal(now) {
			t.Errorf("the operation's answer waited %v", time.Since(now))
		}
		synctest.Wait()
		last := shown()[len(shown())-1]
		if last.State.Values["busy"] != true || len(last.Events) == 0 {
			t.Errorf("shown after the operation: %+v", last)
		}
		count := len(shown())
		time.Sleep(19 * time.Second)
		synctest.Wait()
		if len(shown()) != count {
			t.Errorf("the dropped poll's answer was shown: %+v", shown()[count:])
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := polls.Load(); n != 3 {
			t.Errorf("%d polls, want the third as soon as the dropped one is over", n)
		}
	})
}

func TestGraphIsAskedAgainSoonAfterAnOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var polls []time.Time
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
			polls = append(polls, now)
			return now, now, nil
		}}
		p := &sensors.Poller{Sensor: m}
		run(t, p, "Calendars.Read")
		time.Sleep(time.Second)
		synctest.Wait()
		now := time.Now()
		p.Apply(t.Context(), "create", [2]time.Time{now, now})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(polls) < 2 || !polls[1].Equal(now.Add(5*time.Second)) {
			t.Errorf("polled at %v, want 5 s after %v", polls, now)
		}
	})
}

func TestFailures(t *testing.T) {
	broken := &graph.Error{Reason: graph.Refused, Op: "read the calendar", Status: 503, Code: "ServiceUnavailable", Message: "later"}
	for _, test := range []struct {
		name string
		err  error
		late time.Duration // at most, between two polls after a failure
		soon time.Duration // at least
	}{
		{"a server's", broken, 90 * time.Second, time.Second},
		{"throttled", &graph.Error{Reason: graph.Throttled, Status: 429, RetryAfter: 10 * time.Minute}, 10 * time.Minute, 10 * time.Minute},
		{"signed out", &graph.Error{Reason: graph.SignInRequired}, time.Minute, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
					at = append(at, now)
					return now, now, test.err
				}}
				shown, polled, log := run(t, &sensors.Poller{Sensor: m}, "Calendars.Read")
				time.Sleep(time.Hour)
				synctest.Wait()
				for i := 2; i < len(at); i++ {
					if d := at[i].Sub(at[i-1]); d > test.late || d < test.soon {
						t.Errorf("poll %d came %v after the one before, want %v to %v", i, d, test.soon, test.late)
					}
				}
				if len(shown()) > 0 {
					t.Errorf("shown without an answer: %v", shown())
				}
				if len(polled()) != len(at) || !errors.Is(polled()[0], test.err) {
					t.Errorf("told %v of %d polls", polled(), len(at))
				}
				if n := strings.Count(log.String(), "polling failed"); n > 1 {
					t.Errorf("the same failure was logged %d times:\n%s", n, log)
				}
			})
		})
	}
}

func TestARecoveryIsLoggedAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polls := 0
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
			switch polls++; polls {
			case 1, 2:
				return now, now, &graph.Error{Reason: graph.Network, Message: "no route"}
			case 3:
				panic("an answer that nobody expected")
			}
			return now, now.Add(time.Hour), nil
		}}
		shown, polled, log := run(t, &sensors.Poller{Sensor: m}, "Calendars.Read")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(shown()) == 0 {
			t.Error("nothing shown after the recovery")
		}
		if len(polled()) < 4 || polled()[2].Error() != "panic: an answer that nobody expected" || polled()[3] != nil {
			t.Errorf("polls ended as %v", polled())
		}
		if !strings.Contains(log.String(), "polling works again") || !strings.Contains(log.String(), "failures=3") || !strings.Contains(log.String(), "stack=") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestWithoutItsPermissionNothingIsAsked(t *testing.T) {
	for _, test := range []struct {
		granted []string
		want    string
	}{
		{nil, "not signed in"},
		{[]string{"User.Read"}, "minimum required permissions not granted: Calendars.Read (or Calendars.ReadWrite)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) {
				t.Error("asked")
				return time.Time{}, time.Time{}, nil
			}}
			_, polled, _ := run(t, &sensors.Poller{Sensor: m}, test.granted...)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if len(polled()) == 0 || polled()[0].Error() != test.want {
				t.Errorf("got %v, want %s", polled(), test.want)
			}
		})
	}
}

func TestWhatIsRememberedShowsWithoutGraph(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for _, test := range []struct {
			name   string
			start  time.Time
			since  time.Time
			events []string
		}{
			{"began while it was away", now.Add(-time.Minute), now.Add(-2 * time.Minute), []string{"started"}},
			{"began before and was told", now.Add(-time.Minute), now.Add(-30 * time.Second), nil},
			{"began too long ago to be news", now.Add(-time.Hour), now.Add(-2 * time.Hour), nil},
		} {
			m := &meeting{start: test.start, end: now.Add(time.Hour), ask: func(context.Context, time.Time) (time.Time, time.Time, error) {
				return now, now, &graph.Error{Reason: graph.Network}
			}}
			shown, _, _ := run(t, &sensors.Poller{Sensor: m, Known: true, Since: test.since}, "Calendars.Read")
			synctest.Wait()
			if len(shown()) != 1 || shown()[0].State.Values["busy"] != true {
				t.Fatalf("%s: shown %+v", test.name, shown())
			}
			if diff := cmp.Diff(test.events, types(shown())); diff != "" {
				t.Errorf("%s: %s", test.name, diff)
			}
		}
	})
}

func TestSensorsOfTheSameSpreadPollTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at [3][]time.Time
		for i, spread := range []string{"work status", "work status", "work calendar"} {
			m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
				at[i] = append(at[i], now)
				return now, now, nil
			}}
			run(t, &sensors.Poller{Sensor: m, Spread: spread}, "Calendars.Read")
			time.Sleep(7 * time.Second)
			synctest.Wait()
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		last := func(i int) time.Time { return at[i][len(at[i])-1] }
		if !last(0).Equal(last(1)) || last(0).Equal(last(2)) {
			t.Errorf("last polls at %v, %v, %v", last(0), last(1), last(2))
		}
	})
}

// A request may be carried out while its sensor is taken away.
func TestAnOperationsAnswerIsNotWaitedForAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{ask: func(context.Context, time.Time) (start, end time.Time, err error) { return }}
		p := &sensors.Poller{Sensor: m}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		runUntil(ctx, t, p, "Calendars.Read")
		synctest.Wait()
		begun := time.Now()
		p.Apply(t.Context(), "modify", nil)
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited for %s", d)
		}
	})
}

func TestARefreshAfterAnOperationWaitsUntilGraphTellsOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
			at = append(at, now)
			return now.Add(time.Hour), now.Add(2 * time.Hour), nil
		}}
		p := &sensors.Poller{Sensor: m}
		run(t, p, "Calendars.Read")
		synctest.Wait()
		at = nil
		begun := time.Now()
		p.Apply(t.Context(), "modify", [2]time.Time{begun.Add(3 * time.Hour), begun.Add(4 * time.Hour)})
		time.Sleep(time.Second)
		p.Refresh()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(at) == 0 || !at[0].Equal(begun.Add(5*time.Second).UTC()) {
			t.Errorf("asked at %v, want 5 s after %s", at, begun)
		}
	})
}

func TestAClockSetBackBringsNoEventAgain(t *testing.T) {
	for _, test := range []struct {
		back time.Duration
		want []string
	}{
		{2 * time.Minute, nil},
		{24 * time.Hour, []string{"started"}}, // before the restart the clock was wrong
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now().Add(time.Minute)
			m := &meeting{start: start, end: start.Add(time.Hour)}
			m.ask = func(context.Context, time.Time) (time.Time, time.Time, error) {
				return time.Time{}, time.Time{}, errors.New("away")
			}
			shown, _, _ := run(t, &sensors.Poller{Sensor: m, Known: true, Since: time.Now().Add(test.back)}, "Calendars.Read")
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if diff := cmp.Diff(test.want, types(shown())); diff != "" {
				t.Errorf("back by %s: %s", test.back, diff)
			}
		})
	}
}

// restless is a sensor that says it changes at once, always.
type restless struct{ *meeting }

func (r restless) State(since, now time.Time) entity.State {
	s := r.meeting.State(since, now)
	s.Next = now
	return s
}

func TestASensorThatAlwaysChangesKeepsNobodyBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) { return now, now, nil }}
		shown, _, _ := run(t, &sensors.Poller{Sensor: restless{m}}, "Calendars.Read")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(shown()); n > 20 {
			t.Errorf("shown %d times in 10 s", n)
		}
	})
}
