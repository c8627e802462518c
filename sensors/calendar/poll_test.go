package calendar_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/calendar"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const team = "team@contoso.example"

// A watched is a calendar that is polled once a minute of a clock of its own, which is also the simulator's.
type watched struct {
	t       testing.TB
	s       *simulator.Simulator
	now     time.Time
	mailbox string // of the calendar
	driver  *driver
	client  *graph.Client
	wire    *graphtest.Counter
}

// watch returns a calendar with ten events around noon. shared is whether it is somebody else's.
func watch(t testing.TB, shared bool, change func(*calendar.Options)) *watched {
	w := &watched{t: t, now: noon(t), mailbox: simulator.Adele}
	w.s = simulator.Contoso(simulator.Options{Now: func() time.Time { return w.now }})
	for _, e := range w.s.Events(simulator.Adele, "") {
		w.s.RemoveEvent(simulator.Adele, e["id"].(string))
	}
	o := options(change)
	if shared {
		w.mailbox, o.SharedMailbox = team, team
		w.s.AddUser(simulator.User{Address: team, Tenant: simulator.ContosoTenant})
		w.s.Share(team, simulator.Adele, true)
	}
	none := -time.Minute
	for i := range 10 {
		start := w.now.Add(time.Duration(i+2) * time.Hour)
		w.s.AddEvent(w.mailbox, "", simulator.Event{Subject: fmt.Sprint("Meeting ", i), Start: start, End: start.Add(time.Hour), Reminder: &none, Body: "<p>" + fmt.Sprintf("%0300d", i) + "</p>"})
	}
	w.client, w.wire = graphtest.Counted(t, w.s, simulator.Adele, "Calendars.ReadWrite", "Calendars.ReadWrite.Shared")
	w.driver = sensorstest.Of(o)
	return w
}

// poll polls some time later and returns what happened, and the names of the requests.
func (w *watched) poll(after time.Duration) (events, requests []string) {
	w.t.Helper()
	since := w.now
	w.now = w.now.Add(after)
	w.s.ForgetRequests()
	if w.driver.Snapshot != nil {
		events = told(w.driver.State(w.t, since, w.now).Events)
	}
	events = append(events, told(w.driver.Poll(w.t, w.client, w.now))...)
	return events, w.requests()
}

// requests returns "view" for a list of events, "delta" for the first round of a delta query, "changes" for a further one, "next" for
// a page, and "probe".
func (w *watched) requests() (names []string) {
	for _, r := range w.s.Requests() {
		name := r.Path[strings.LastIndexByte(r.Path, '/')+1:]
		switch {
		case name == "calendarView":
			name = "view"
		case r.Query.Has("$deltatoken"):
			name = "changes"
		case r.Query.Has("$skiptoken"):
			name = "next"
		case name == "delta()" || name == "delta":
			name = "delta"
		case name == "events":
			name = "probe"
		}
		names = append(names, name)
	}
	w.s.ForgetRequests()
	return names
}

func (w *watched) expect(what string, after time.Duration, events, requests []string) {
	w.t.Helper()
	gotEvents, gotRequests := w.poll(after)
	if d := cmp.Diff(events, gotEvents); d != "" {
		w.t.Errorf("%s: events (-want +got):\n%s", what, d)
	}
	if d := cmp.Diff(requests, gotRequests); d != "" {
		w.t.Errorf("%s: requests (-want +got):\n%s", what, d)
	}
}

// TestIdle pins that a calendar in which nothing changes costs one request a minute without events in its answer.
func TestIdle(t *testing.T) {
	long := func(o *calendar.Options) { o.EndOffset = 32 * 24 * time.Hour }
	for _, tt := range []struct {
		name    string
		shared  bool
		change  func(*calendar.Options)
		at, ask string
	}{
		{"own", false, nil, "delta", "changes"},
		{"own, by name", false, func(o *calendar.Options) { o.Calendar = "calendar" }, "delta", "changes"},
		{"own, basic", false, func(o *calendar.Options) { o.BasicCalendar = true }, "delta", "changes"},
		{"own, 31 days", false, func(o *calendar.Options) { o.EndOffset = 30 * 24 * time.Hour }, "delta", "changes"},
		{"own, longer", false, long, "probe", "probe"},
		{"shared", true, nil, "probe", "probe"},
		{"shared, by name", true, func(o *calendar.Options) { o.Calendar = "calendar" }, "probe", "probe"},
		{"shared, longer", true, long, "probe", "probe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := watch(t, tt.shared, tt.change)
			first := []string{"view"}
			if w.driver.Source.(*calendar.Options).Calendar != "" {
				first = []string{"calendars", "view"}
			}
			w.expect("first", 0, nil, first)
			second := []string{tt.at, "view"}
			if len(first) == 1 { // the properties of a calendar come with its name
				second = append(second, "calendar")
			}
			w.expect("second", time.Minute, nil, second)
			for i := range 9 {
				w.wire.Take()
				w.expect(fmt.Sprint("idle ", i), time.Minute, nil, []string{tt.ask})
				if _, bytes := w.wire.Take(); bytes > 600 {
					t.Errorf("%d bytes in the answer to an idle poll", bytes)
				}
			}
			w.expect("after ten minutes", time.Minute, nil, []string{"view"})
			w.expect("idle again", time.Minute, nil, []string{tt.ask})
			w.driver.Restart(t)
			w.expect("after a restart", time.Minute, nil, []string{tt.ask})
		})
	}
}

// TestChangesOfOthers pins that each kind of change is seen by the next poll, and once.
func TestChangesOfOthers(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprint("shared ", shared), func(t *testing.T) {
			w := watch(t, shared, func(o *calendar.Options) { o.Exclude, o.EndOffset = []string{"^Meeting"}, 48*time.Hour })
			none := -time.Minute
			add := func(subject string, repeats map[string]any) string {
				start := w.now.Add(3 * time.Hour)
				return w.s.AddEvent(w.mailbox, "", simulator.Event{Subject: subject, Start: start, End: start.Add(time.Hour), Reminder: &none, Recurrence: repeats})
			}
			change := func(id string, properties map[string]any) {
				t.Helper()
				if err := w.s.ChangeEvent(w.mailbox, id, properties); err != nil {
					t.Fatal(err)
				}
			}
			w.poll(0)
			w.poll(time.Minute)
			w.poll(time.Minute)
			seen := func(what string, want ...string) {
				t.Helper()
				got, requests := w.poll(time.Minute)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s (-want +got):\n%s", what, d)
				}
				if !slices.Contains(requests, "view") {
					t.Errorf("%s: %v", what, requests)
				}
				if got, requests := w.poll(time.Minute); got != nil || len(requests) != 1 {
					t.Errorf("after %s: %v, requests %v", what, got, requests)
				}
			}
			one := add("One", nil)
			seen("created", "event_created One")
			change(one, map[string]any{"subject": "Two"})
			seen("renamed", "event_changed Two")
			w.s.RemoveEvent(w.mailbox, one)
			seen("removed", "event_removed Two")
			series := add("Daily", map[string]any{
				"pattern": map[string]any{"type": "daily", "interval": 1}, "range": map[string]any{"type": "numbered", "startDate": "2026-01-15", "numberOfOccurrences": 2},
			})
			seen("series", "event_created Daily", "event_created Daily")
			occurrence := func(i int) string { return w.driver.Snapshot.Entries[indexes(w.driver.Snapshot, "Daily")[i]].ID }
			change(occurrence(0), map[string]any{"subject": "Today"})
			seen("an occurrence changed", "event_changed Today")
			w.s.RemoveEvent(w.mailbox, occurrence(0))
			seen("an occurrence removed", "event_removed Daily")
			w.s.RemoveEvent(w.mailbox, series)
			seen("the series removed", "event_removed Today")
		})
	}
}

func indexes(s *calendar.Snapshot, subject string) (found []int) {
	for i, e := range s.Entries {
		if e.Subject == subject {
			found = append(found, i)
		}
	}
	return found
}

// TestRefusedProbes pins what is asked where Graph refuses the delta query, the probe, or both: it is asked again, at last after a day.
func TestRefusedProbes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		status  int
		refused []string // paths
		second  []string
		idle    []string
	}{
		{"delta", 403, []string{"calendarView/delta()"}, []string{"delta", "probe", "view", "calendar"}, []string{"probe"}},
		{"delta", 400, []string{"calendarView/delta()"}, []string{"delta", "probe", "view", "calendar"}, []string{"probe"}},
		{"delta", 404, []string{"calendarView/delta()"}, []string{"delta", "probe", "view", "calendar"}, []string{"probe"}},
		{"both", 400, []string{"calendarView/delta()", "calendar/events"}, []string{"delta", "probe", "view", "calendar"}, []string{"view"}},
		{"both fail", 500, []string{"calendarView/delta()", "calendar/events"}, []string{"delta", "view", "calendar"}, []string{"delta", "view"}},
	} {
		t.Run(fmt.Sprint(tt.name, " ", tt.status), func(t *testing.T) {
			w := watch(t, false, nil)
			for _, path := range tt.refused {
				w.s.Fail(simulator.Fault{Path: "/v1.0/me/" + path, Status: tt.status, Times: -1})
			}
			w.expect("first", 0, nil, []string{"view"})
			w.expect("second", time.Minute, nil, tt.second)
			w.expect("idle", time.Minute, nil, tt.idle)
			w.driver.Restart(t)
			w.expect("after a restart", time.Minute, nil, tt.idle)
			w.s.AddEvent(w.mailbox, "", simulator.Event{Subject: "New", Start: w.now.Add(3 * time.Hour), End: w.now.Add(4 * time.Hour)})
			if events, _ := w.poll(time.Minute); !slices.Equal(events, []string{"event_created New"}) {
				t.Errorf("got %v", events)
			}
			if tt.status < 500 {
				w.expect("asked again", 5*time.Minute, nil, append(slices.Clone(tt.second[:len(tt.refused)]), tt.idle...))
				w.expect("not at once", time.Minute, nil, tt.idle)
			}
			w.s.ClearFaults()
			w.poll(25 * time.Hour)
			if _, requests := w.poll(time.Minute); requests[0] != "delta" {
				t.Errorf("a day later: %v", requests)
			}
			w.expect("idle a day later", time.Minute, nil, []string{"changes"})
		})
	}
}

// TestRefusedOnce pins that a single refusal does not last: minutes later nothing is read without need.
func TestRefusedOnce(t *testing.T) {
	w := watch(t, false, nil)
	for _, path := range []string{"calendarView/delta()", "calendar/events"} {
		w.s.Fail(simulator.Fault{Path: "/v1.0/me/" + path, Status: http.StatusNotFound})
	}
	w.poll(0)
	w.expect("refused", time.Minute, nil, []string{"delta", "probe", "view", "calendar"})
	w.expect("asked again", 5*time.Minute, nil, []string{"delta", "view"})
	w.expect("idle", time.Minute, nil, []string{"changes"})
}

// TestAcceptedCalendar pins that a calendar that somebody shares, and of which Graph answers only the first page of a delta query, is
// watched by a probe.
func TestAcceptedCalendar(t *testing.T) {
	w := watch(t, true, nil)
	id := w.s.AcceptCalendar(simulator.Adele, team, "").ID
	w.driver = sensorstest.Of(options(func(o *calendar.Options) { o.Calendar = id }))
	w.expect("first", 0, nil, []string{"view"})
	w.expect("second", time.Minute, nil, []string{"delta", "view", id})
	w.expect("third", time.Minute, nil, []string{"changes", "probe", "view"})
	w.expect("idle", time.Minute, nil, []string{"probe"})
}

// TestExpiredLink pins that a link that Graph no longer knows begins anew without an event, and that nothing is lost meanwhile.
func TestExpiredLink(t *testing.T) {
	w := watch(t, false, nil)
	w.poll(0)
	w.poll(time.Minute)
	w.s.ExpireDeltaTokens()
	w.expect("expired", time.Minute, nil, []string{"changes", "delta", "view"})
	w.expect("idle", time.Minute, nil, []string{"changes"})
	w.s.ExpireDeltaTokens()
	w.s.AddEvent(w.mailbox, "", simulator.Event{Subject: "New", Start: w.now.Add(3 * time.Hour), End: w.now.Add(4 * time.Hour)})
	w.expect("expired", time.Minute, []string{"event_created New"}, []string{"changes", "delta", "view"})
	w.expect("idle", time.Minute, nil, []string{"changes"})
}

// TestRenewal pins that a delta query lasts for a day, and that nothing happens when it is renewed.
func TestRenewal(t *testing.T) {
	for _, end := range []time.Duration{time.Hour, 20 * 24 * time.Hour} {
		t.Run(end.String(), func(t *testing.T) {
			w := watch(t, false, func(o *calendar.Options) { o.EndOffset = end })
			for day := range 8 { // an event each day, some of which come into the window by time alone
				start := w.now.AddDate(0, 0, day).Add(30 * time.Minute)
				w.s.AddEvent(w.mailbox, "", simulator.Event{Subject: fmt.Sprint("Day ", day), Start: start, End: start.Add(time.Hour)})
			}
			rounds, reads := 0, 0
			for range 30 * 12 { // a day and a quarter
				events, requests := w.poll(5 * time.Minute)
				for _, e := range events {
					if strings.HasPrefix(e, "event_created") || strings.HasPrefix(e, "event_removed") || strings.HasPrefix(e, "event_changed") {
						t.Fatalf("%s: %s", w.now, e)
					}
				}
				for _, r := range requests {
					switch r {
					case "delta":
						rounds++
					case "view":
						reads++
					}
				}
			}
			if rounds < 1 || rounds > 2 {
				t.Errorf("%d delta queries in 30 hours", rounds)
			}
			if most := 30*6 + 20; reads > most {
				t.Errorf("%d readings in 30 hours, want at most %d", reads, most)
			}
		})
	}
}

// TestOwnWrite pins that the events are read after an operation of ours, whatever the probe says, and that events are not repeated.
func TestOwnWrite(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for _, request := range []string{
			`create {"subject": "Board", "start": "2026-01-15T20:00:00", "end": "2026-01-15T21:00:00", "is_reminder_on": false}`,
			`create {"subject": "Series", "start": "2026-01-15T20:00:00", "end": "2026-01-15T21:00:00", "is_reminder_on": false, "recurrence": {"type": "weekly"}}`,
			`create {"subject": "Far", "start": "2026-08-15T20:00:00", "end": "2026-08-15T21:00:00"}`,
			`modify {"event_id": "ID", "subject": "Renamed"}`,
			`remove {"event_id": "ID"}`,
			`cancel {"event_id": "ID"}`,
		} {
			t.Run(fmt.Sprint(request, shared), func(t *testing.T) {
				w := watch(t, shared, nil)
				w.poll(0)
				w.poll(time.Minute)
				w.poll(time.Minute)
				name, payload, _ := strings.Cut(request, " ")
				operations := w.driver.Source.(*calendar.Options).Operations()
				i := slices.IndexFunc(operations, func(o services.Operation) bool { return o.Name == name })
				r, err := services.Decode(operations[i], []byte(strings.ReplaceAll(payload, "ID", w.driver.Snapshot.Entries[3].ID)))
				if err != nil {
					t.Fatal(err)
				}
				result, err := r.Execute(t.Context(), w.client, services.Attempt{ID: "1", Now: w.now})
				if err != nil {
					t.Fatal(err)
				}
				events := told(w.driver.Apply(t, result, w.now))
				if strings.Contains(payload, "Series") {
					w.expect("the next poll", time.Second, []string{"event_created Series"}, []string{"view"})
				} else {
					if len(events) != 1 {
						t.Errorf("got %v", events)
					}
					w.expect("the next poll", time.Second, nil, []string{"view"})
				}
				w.poll(time.Minute) // the probe has the change
				if events, requests := w.poll(time.Minute); events != nil || len(requests) != 1 {
					t.Errorf("afterwards: %v, %v", events, requests)
				}
			})
		}
	}
}

// TestEntersMeanwhile pins that an event that is created in the part of the window that came in since the last reading is told.
func TestEntersMeanwhile(t *testing.T) {
	w := watch(t, false, nil)
	w.poll(0)
	w.poll(time.Minute)
	for range 8 {
		w.poll(time.Minute)
	}
	start := w.now.Add(24*time.Hour - 30*time.Second)
	w.s.AddEvent(w.mailbox, "", simulator.Event{Subject: "Edge", Start: start, End: start.Add(time.Hour)})
	w.expect("created at the edge", time.Minute, []string{"event_created Edge"}, []string{"changes", "view"})
}

// TestProbeFails pins which failures of a probe are those of the poll, and that the next poll continues.
func TestProbeFails(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusTooManyRequests: "ask for changed events: Microsoft asked to wait",
		http.StatusUnauthorized:    "ask for changed events: Microsoft Graph refuses the sign-in (401 InvalidAuthenticationToken) although it was just renewed",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := watch(t, false, nil)
			w.poll(0)
			w.poll(time.Minute)
			w.s.Fail(simulator.Fault{Path: "/v1.0/me/calendarView/delta()", Status: status, Times: -1})
			_, err := w.driver.TryPoll(t, w.client, w.now.Add(time.Minute))
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// TestDeltaQuery pins the first round: whole days, and no option that Graph refuses.
func TestDeltaQuery(t *testing.T) {
	w := watch(t, false, nil)
	w.poll(0)
	w.now = w.now.Add(time.Minute)
	w.driver.Poll(t, w.client, w.now)
	r := w.s.Requests()[0]
	if d := cmp.Diff(url.Values{"startDateTime": {"2026-01-13T00:00:00Z"}, "endDateTime": {"2026-01-19T00:00:00Z"}}, r.Query); d != "" || r.Path != "/v1.0/me/calendarView/delta()" {
		t.Errorf("%s (-want +got):\n%s", r.Path, d)
	}
	if prefer := r.Header.Values("Prefer"); !slices.Contains(prefer, "odata.maxpagesize=200") || !slices.Contains(prefer, `IdType="ImmutableId"`) {
		t.Errorf("Prefer: %v", prefer)
	}
}

// BenchmarkIdle measures ten idle minutes of three calendars of ten events. The MS365 integration for Home Assistant needs 3 requests
// and 12,108 bytes a minute. The first two polls are not counted.
func BenchmarkIdle(b *testing.B) {
	answers, bytes, minutes := 0, 0, 0
	for b.Loop() {
		a, n := idleCalendars(b)
		answers, bytes, minutes = answers+a, bytes+n, minutes+10
	}
	b.ReportMetric(float64(answers)/float64(minutes), "requests/min")
	b.ReportMetric(float64(bytes)/float64(minutes), "bytes/min")
}

// TestIdleCost pins what BenchmarkIdle measures.
func TestIdleCost(t *testing.T) {
	answers, bytes := idleCalendars(t)
	if answers != 30 {
		t.Errorf("%d requests in ten minutes of three calendars, want 30", answers)
	}
	if bytes > 10*3000 {
		t.Errorf("%d bytes in ten minutes, want at most 30000", bytes)
	}
}

func idleCalendars(t testing.TB) (answers, bytes int) {
	for range 3 {
		a, n := idleTenMinutes(watch(t, false, nil))
		answers, bytes = answers+a, bytes+n
	}
	return answers, bytes
}

// idleTenMinutes polls a calendar once a minute for ten minutes, in one of which its events are read.
func idleTenMinutes(w *watched) (answers, bytes int) {
	w.poll(0)
	w.poll(time.Minute)
	w.wire.Take()
	for range 10 {
		w.poll(time.Minute)
	}
	return w.wire.Take()
}

// A clock that was ahead for a while does not delay the properties of the calendar for as long.
func TestClockSetBack(t *testing.T) {
	const year = 365 * 24 * time.Hour
	w := watch(t, false, nil)
	w.poll(0)
	if _, requests := w.poll(year); !slices.Contains(requests, "calendar") {
		t.Fatalf("the properties are not read: %q", requests)
	}
	if _, requests := w.poll(-year); !slices.Contains(requests, "calendar") {
		t.Errorf("requests after the clock was set back: %q", requests)
	}
}
