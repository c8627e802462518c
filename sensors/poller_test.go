package sensors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
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
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// meeting is a sensor of one meeting. ask returns its answers.
type meeting struct {
	ask func(ctx context.Context, now time.Time) (start, end time.Time, err error)
	// immediate: Graph knows at once what an operation did.
	immediate bool
}

// times is the snapshot of a meeting.
type times struct{ Start, End time.Time }

func (m *meeting) ReadsOwnWrites() bool { return m.immediate }

func (m *meeting) Permissions() []graph.Permission {
	return []graph.Permission{{Scope: "Calendars.Read", Alternatives: []string{"Calendars.ReadWrite"}}}
}

func (m *meeting) Entities() []entity.Entity {
	return []entity.Entity{
		entity.BinarySensor("busy", "Busy"), entity.Timestamp("next_start", "Next event starts"), entity.EventEntity("changed", "started"),
		entity.Text("note", "Note").SetsField("update", "note"), entity.Button("clear", "Clear", "update", nil),
	}
}

func (m *meeting) Poll(ctx context.Context, _ *graph.Client, _ *times, now time.Time) (*times, error) {
	start, end, err := m.ask(ctx, now)
	if err != nil {
		return nil, err
	}
	return &times{start, end}, nil
}

func (m *meeting) Events(before, after *times, _ time.Time) []entity.Event {
	if before.Start.Equal(after.Start) {
		return nil
	}
	return []entity.Event{{Type: "changed"}}
}

func (m *meeting) State(s *times, since, now time.Time) entity.State {
	if s == nil {
		return entity.State{}
	}
	st := entity.State{Values: map[string]any{"busy": !now.Before(s.Start) && now.Before(s.End)}}
	for _, t := range []time.Time{s.End, s.Start} {
		if t.After(now) {
			st.Next = t
		}
	}
	if s.Start.After(since) && !s.Start.After(now) {
		st.Events = append(st.Events, entity.Event{Type: "started"})
	}
	return st
}

func (m *meeting) Effects() []sensors.Effect[times] {
	return []sensors.Effect[times]{
		sensors.On(func(s *times, r [2]time.Time, now time.Time) (*times, []entity.Event) {
			after := &times{r[0], r[1]}
			return after, m.Events(s, after, now)
		}),
		sensors.On(func(s *times, _ error, _ time.Time) (*times, []entity.Event) { panic("an unexpected effect") }),
	}
}

// A record lists what happened so far.
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

// A harness runs a poller and records its calls.
type harness struct {
	sensors.Poller
	shown  func() []sensors.State
	polled func() []error
	events func() []string
	log    *lockedBuffer
	store  *store
	// changed is called with Poll.Changed of each poll; nil: nothing is.
	changed func(bool)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func options(t *testing.T, granted ...string) sensors.PollerOptions {
	t.Helper()
	g, err := graph.New(graph.Options{Root: "https://graph.example", Transport: graphtest.Unreachable{}, Tokens: graphtest.Tokens{Scopes: granted}})
	if err != nil {
		t.Fatal(err)
	}
	return sensors.PollerOptions{Graph: g, Interval: time.Minute, Location: func() *time.Location { return time.UTC }, Key: "home/calendar"}
}

// run runs a poller until the test ends.
func run[S any](t *testing.T, source sensors.Source[S], o sensors.PollerOptions) *harness {
	t.Helper()
	h := newHarness(t, source, o)
	h.start(t)
	return h
}

func newHarness[S any](t *testing.T, source sensors.Source[S], o sensors.PollerOptions) *harness {
	t.Helper()
	var shows, polls, events record
	h := &harness{shown: all[sensors.State](&shows), polled: all[error](&polls), events: all[string](&events), log: new(lockedBuffer)}
	if o.Store == nil {
		h.store = newStore(t)
		o.Store = h.store
	}
	o.Log = slog.New(slog.NewTextHandler(h.log, nil))
	o.OnState = func(s sensors.State) { shows.add(s) }
	o.OnPoll = func(p sensors.Poll) {
		polls.add(p.Err)
		if h.changed != nil {
			h.changed(p.Changed)
		}
	}
	o.OnEvents = func(es []entity.Event) {
		for _, e := range es {
			if e.Data["own"] == true {
				e.Type += " by us"
			}
			events.add(e.Type)
		}
	}
	h.Poller = sensors.Of(source).NewPoller(o)
	return h
}

// start runs the poller until stop is called or the test ends.
func (h *harness) start(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// A store is a services.Store in memory with a writer of its own.
type store struct {
	mu      sync.Mutex
	values  map[string][]byte
	commits int
	err     error           // of every commit
	delay   time.Duration   // of every commit
	delays  []time.Duration // that CommitWithin was called with
	queue   chan commit
}

type commit struct {
	put  map[string][]byte
	done func(error)
	// hooks are called, too.
	hooks []func(error)
}

func newStore(t *testing.T) *store {
	s := &store{values: map[string][]byte{}, queue: make(chan commit, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case c := <-s.queue:
				s.write(c)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func (s *store) write(c commit) {
	s.mu.Lock()
	delay := s.delay
	s.mu.Unlock()
	time.Sleep(delay)
	s.mu.Lock()
	s.commits++
	err := s.err
	if err == nil {
		maps.Copy(s.values, c.put)
	}
	s.mu.Unlock()
	for _, hook := range c.hooks {
		hook(err)
	}
	if c.done != nil {
		c.done(err)
	}
}

func (s *store) set(delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.err = delay, err
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

// waits returns the delays that CommitWithin was called with.
func (s *store) waits() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.delays)
}

func (s *store) stored() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[sensors.Bucket+"/home/calendar"]
}

// Commit implements sensors.Store.
func (s *store) Commit(write func(sensors.Tx), done func(error)) {
	c := tx{put: map[string][]byte{}}
	write(&c)
	s.queue <- commit{c.put, done, nil}
}

// CommitWithin implements sensors.Store. It does not make use of the delay.
func (s *store) CommitWithin(delay time.Duration, write func(sensors.Tx), done func(error)) {
	s.mu.Lock()
	s.delays = append(s.delays, delay)
	s.mu.Unlock()
	s.Commit(write, done)
}

// commitHooked is Commit with a transaction that has OnCommit.
func (s *store) commitHooked(write func(sensors.Tx)) {
	c := hookedTx{tx: tx{put: map[string][]byte{}}}
	write(&c)
	s.queue <- commit{c.put, nil, c.hooks}
}

type tx struct{ put map[string][]byte }

func (t *tx) Put(bucket, key string, value []byte) { t.put[bucket+"/"+key] = value }
func (t *tx) Delete(bucket, key string)            { delete(t.put, bucket+"/"+key) }

type hookedTx struct {
	tx
	hooks []func(error)
}

func (t *hookedTx) OnCommit(f func(error)) { t.hooks = append(t.hooks, f) }

// stored returns what the store holds of a meeting.
func stored(t *testing.T, s times, since time.Time) []byte {
	t.Helper()
	answers := &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) { return s.Start, s.End, nil }}
	h := newHarness(t, answers, options(t, "Calendars.Read"))
	stop := h.start(t)
	synctest.Wait()
	stop()
	var fields map[string]any
	if err := json.Unmarshal(h.store.stored(), &fields); err != nil {
		t.Fatal(err)
	}
	fields["since"] = since
	record, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return record
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
		h := run(t, m, options(t, "Calendars.Read"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		i := slices.IndexFunc(h.shown(), func(s sensors.State) bool { return s.Values["busy"] == true })
		if i < 0 || !h.shown()[i].EvaluatedAt.Equal(start) {
			t.Fatalf("busy at %v, want %v", h.shown()[i].EvaluatedAt, start)
		}
		if diff := cmp.Diff([]string{"started"}, h.events()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPollsAtItsIntervalRegardlessOfDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		m := &meeting{ask: func(ctx context.Context, now time.Time) (time.Time, time.Time, error) {
			at = append(at, now)
			return now, now, wait(ctx, 20*time.Second)
		}}
		o := options(t, "Calendars.Read")
		o.PhaseKey = "work calendar"
		run(t, m, o)
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

func TestAResultIsShownAtOnceAndNotReplacedByAnOlderPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stale := time.Now().Add(10 * time.Hour)
		var polls atomic.Int32
		m := &meeting{ask: func(ctx context.Context, now time.Time) (time.Time, time.Time, error) {
			if polls.Add(1) == 2 {
				_ = wait(context.WithoutCancel(ctx), 20*time.Second) // an answer that arrives although its poll was abandoned
			}
			return stale, stale, nil
		}}
		h := run(t, m, options(t, "Calendars.Read"))
		for synctest.Wait(); polls.Load() < 2; synctest.Wait() {
			time.Sleep(time.Second)
		}
		now := time.Now()
		h.Apply(t.Context(), [2]time.Time{now, now.Add(time.Hour)})
		if !time.Now().Equal(now) {
			t.Errorf("the operation's answer waited %v", time.Since(now))
		}
		synctest.Wait()
		if last := h.shown()[len(h.shown())-1]; last.Values["busy"] != true {
			t.Errorf("shown after the operation: %+v", last)
		}
		count := len(h.shown())
		time.Sleep(19 * time.Second)
		synctest.Wait()
		if len(h.shown()) != count {
			t.Errorf("the dropped poll's answer was shown: %+v", h.shown()[count:])
		}
		if diff := cmp.Diff([]string{"changed by us"}, h.events()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := polls.Load(); n != 3 {
			t.Errorf("%d polls, want the third as soon as the dropped one is over", n)
		}
	})
}

func TestPollsSoonAfterAnOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var polls []time.Time
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
			polls = append(polls, now)
			return now, now, nil
		}}
		h := run(t, m, options(t, "Calendars.Read"))
		time.Sleep(time.Second)
		synctest.Wait()
		now := time.Now()
		h.Apply(t.Context(), [2]time.Time{now, now})
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
				h := run(t, m, options(t, "Calendars.Read"))
				time.Sleep(time.Hour)
				synctest.Wait()
				for i := 2; i < len(at); i++ {
					if d := at[i].Sub(at[i-1]); d > test.late || d < test.soon {
						t.Errorf("poll %d came %v after the one before, want %v to %v", i, d, test.soon, test.late)
					}
				}
				if len(h.shown()) > 0 {
					t.Errorf("shown without an answer: %v", h.shown())
				}
				if len(h.polled()) != len(at) || !errors.Is(h.polled()[0], test.err) {
					t.Errorf("reported %v of %d polls", h.polled(), len(at))
				}
				if n := strings.Count(h.log.String(), "polling failed"); n > 1 {
					t.Errorf("the same failure was logged %d times:\n%s", n, h.log)
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
				panic("an unexpected answer")
			}
			return now, now.Add(time.Hour), nil
		}}
		h := run(t, m, options(t, "Calendars.Read"))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(h.shown()) == 0 {
			t.Error("nothing shown after the recovery")
		}
		if polled := h.polled(); len(polled) < 4 || polled[2].Error() != "panic: an unexpected answer" || polled[3] != nil {
			t.Errorf("polls ended as %v", polled)
		}
		for _, want := range []string{"polling works again", "failures=3", "stack="} {
			if !strings.Contains(h.log.String(), want) {
				t.Errorf("no %s in the log:\n%s", want, h.log)
			}
		}
	})
}

func TestNoPollWithoutItsPermission(t *testing.T) {
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
			h := run(t, m, options(t, test.granted...))
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if polled := h.polled(); len(polled) == 0 || polled[0].Error() != test.want {
				t.Errorf("got %v, want %s", polled, test.want)
			}
		})
	}
}

func TestAStoredSnapshotIsShownWithoutGraph(t *testing.T) {
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
			m := &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) {
				return now, now, &graph.Error{Reason: graph.Network}
			}}
			o := options(t, "Calendars.Read")
			o.Stored = stored(t, times{test.start, now.Add(time.Hour)}, test.since)
			h := run(t, m, o)
			if !h.HasAnswer() || h.Initial().Values["busy"] != true {
				t.Errorf("%s: initially %v", test.name, h.Initial())
			}
			synctest.Wait()
			if shown := h.shown(); len(shown) != 1 || shown[0].Values["busy"] != true || !shown[0].AnsweredAt.Equal(now) {
				t.Fatalf("%s: shown %+v", test.name, shown)
			}
			if diff := cmp.Diff(test.events, h.events()); diff != "" {
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
			o := options(t, "Calendars.Read")
			o.PhaseKey = spread
			run(t, m, o)
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

// A request may be executed while its sensor is removed.
func TestApplyDoesNotWaitAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{ask: func(context.Context, time.Time) (start, end time.Time, err error) { return }}
		h := newHarness(t, m, options(t, "Calendars.Read"))
		h.start(t)()
		begun := time.Now()
		h.Apply(t.Context(), nil)
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited for %s", d)
		}
	})
}

func TestARefreshAfterAnOperationWaitsForItsEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
			at = append(at, now)
			return now.Add(time.Hour), now.Add(2 * time.Hour), nil
		}}
		h := run(t, m, options(t, "Calendars.Read"))
		synctest.Wait()
		at = nil
		begun := time.Now()
		h.Apply(t.Context(), [2]time.Time{begun.Add(3 * time.Hour), begun.Add(4 * time.Hour)})
		time.Sleep(time.Second)
		h.Refresh()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(at) == 0 || !at[0].Equal(begun.Add(5*time.Second).UTC()) {
			t.Errorf("asked at %v, want 5 s after %s", at, begun)
		}
	})
}

func TestAClockSetBackRepeatsNoEvent(t *testing.T) {
	for _, test := range []struct {
		back time.Duration
		want []string
	}{
		{2 * time.Minute, nil},
		{24 * time.Hour, []string{"started"}}, // before the restart the clock was wrong
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now().Add(time.Minute)
			m := &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) {
				return time.Time{}, time.Time{}, errors.New("away")
			}}
			o := options(t, "Calendars.Read")
			o.Stored = stored(t, times{start, start.Add(time.Hour)}, time.Now().Add(test.back))
			h := run(t, m, o)
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if diff := cmp.Diff(test.want, h.events()); diff != "" {
				t.Errorf("back by %s: %s", test.back, diff)
			}
		})
	}
}

// restless is a sensor that says it changes at once, always.
type restless struct{ *meeting }

func (r restless) State(s *times, since, now time.Time) entity.State {
	st := r.meeting.State(s, since, now)
	st.Next = now
	return st
}

func TestASensorThatAlwaysChangesCausesNoBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) { return now, now, nil }}
		h := run(t, restless{m}, options(t, "Calendars.Read"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(h.shown()); n > 20 {
			t.Errorf("shown %d times in 10 s", n)
		}
	})
}

func TestNothingHappenedBeforeTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().Add(-time.Minute)
		m := &meeting{ask: func(context.Context, time.Time) (time.Time, time.Time, error) {
			return start, start.Add(time.Hour), nil
		}}
		h := run(t, m, options(t, "Calendars.Read"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(h.events()) > 0 || h.shown()[0].Values["busy"] != true {
			t.Errorf("events %v, shown %v", h.events(), h.shown()[0])
		}
		if d := cmp.Diff(map[string]any{"busy": nil, "next_start": nil, "note": nil}, newHarness(t, m, options(t)).Initial().Values); d != "" {
			t.Errorf("initially (-want +got):\n%s", d)
		}
	})
}

// A fixedMeeting is a meeting of which only the start is compared.
type fixedMeeting struct{ *meeting }

func (fixedMeeting) Same(a, b *times) bool { return a.Start.Equal(b.Start) }

// TestPollsAtOnceIfOnlyIgnoredPartsChanged pins when a sensor that reads its own writes is polled after an operation: at once if its
// result changed only what need not be written, some seconds later if it shows the result.
func TestPollsAtOnceIfOnlyIgnoredPartsChanged(t *testing.T) {
	for name, tt := range map[string]struct {
		moved bool
		after time.Duration
	}{"ignored part": {false, 0}, "compared part": {true, 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now().Add(time.Hour)
				var polls []time.Time
				m := &meeting{immediate: true, ask: func(_ context.Context, now time.Time) (time.Time, time.Time, error) {
					polls = append(polls, now)
					return start, start.Add(time.Hour), nil
				}}
				h := run(t, fixedMeeting{m}, options(t, "Calendars.Read"))
				time.Sleep(time.Second)
				synctest.Wait()
				now, from := time.Now(), start
				if tt.moved {
					from = start.Add(time.Minute)
				}
				h.Apply(t.Context(), [2]time.Time{from, start.Add(2 * time.Hour)})
				time.Sleep(6 * time.Second)
				synctest.Wait()
				if len(polls) < 2 || !polls[1].Equal(now.Add(tt.after)) {
					t.Errorf("polled at %v, want %s after %v", polls, tt.after, now)
				}
			})
		})
	}
}
