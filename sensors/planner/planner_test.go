package planner_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	graphplanner "github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/planner"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

type driver = sensorstest.Driver[planner.Snapshot]

func newDriver(t testing.TB, raw map[string]any) *driver {
	t.Helper()
	o := planner.Kind().New().Options().(*planner.Options)
	if err := schema.Decode(o, raw); err != nil {
		t.Fatal(err)
	}
	return sensorstest.Of(o)
}

// An office is a simulator with a plan of Adele's. Its clock is that of the bubble.
type office struct {
	*simulator.Simulator
	plan simulator.PlannerPlan
}

func newOffice(t testing.TB) office {
	t.Helper()
	s := simulator.Contoso(simulator.Options{Now: time.Now})
	s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	return office{s, s.AddPlan(simulator.PlannerPlan{Title: "Move", Buckets: []string{"To do", "Doing"}, Members: []string{simulator.Adele}})}
}

func (o office) client(t testing.TB, scopes ...string) *graph.Client {
	t.Helper()
	if scopes == nil {
		scopes = []string{"Tasks.Read"}
	}
	return graphtest.Client(t, o.Simulator, simulator.Adele, scopes...)
}

func (o office) add(title string, change ...func(*simulator.PlannerTask)) simulator.PlannerTask {
	task := simulator.PlannerTask{Plan: o.plan.ID, Bucket: "To do", Title: title, Priority: 5, Assigned: []string{simulator.Adele}}
	for _, f := range change {
		f(&task)
	}
	return o.AddPlannerTask(task)
}

func checklist(titles ...string) func(*simulator.PlannerTask) {
	return func(t *simulator.PlannerTask) {
		t.Checklist = nil
		for _, title := range titles {
			t.Checklist = append(t.Checklist, simulator.PlannerChecklistItem{Title: title})
		}
	}
}

// names returns events as "type title".
func names(events []entity.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s", e.Type, e.Data["title"]))
	}
	return out
}

func expect(t testing.TB, what string, events []entity.Event, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, names(events)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// column returns a field of every listed task.
func column(t testing.TB, d *driver, field string) []any {
	t.Helper()
	out := []any{}
	now := time.Now()
	for _, i := range d.State(t, now, now).Items {
		out = append(out, i.(map[string]any)[field])
	}
	return out
}

func expectColumn(t testing.TB, d *driver, field string, want ...any) {
	t.Helper()
	if diff := cmp.Diff(append([]any{}, want...), column(t, d, field)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", field, diff)
	}
}

func TestEventsComeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		d, g := newDriver(t, nil), o.client(t)
		poll := func() []entity.Event {
			time.Sleep(2 * time.Minute)
			return d.Poll(t, g, time.Now())
		}
		a := o.add("a", checklist("x"))
		done := o.add("done", func(t *simulator.PlannerTask) { t.Percent = 100 })
		expect(t, "at first", poll())
		expect(t, "idle", poll())
		d.Restart(t)
		expect(t, "after a restart", poll())
		b := o.add("b")
		expect(t, "assigned", poll(), "task_assigned b")
		for what, change := range map[string]func(*simulator.PlannerTask){
			"title":     func(t *simulator.PlannerTask) { t.Title = "a2" },
			"bucket":    func(t *simulator.PlannerTask) { t.Bucket = "Doing" },
			"due":       func(t *simulator.PlannerTask) { t.Due = time.Now().Add(48 * time.Hour) },
			"progress":  func(t *simulator.PlannerTask) { t.Percent = 50 },
			"priority":  func(t *simulator.PlannerTask) { t.Priority = 1 },
			"checked":   func(t *simulator.PlannerTask) { t.Checklist[0].Checked = true },
			"checklist": checklist("x", "y"),
		} {
			changed := o.ChangePlannerTask(a.ID, change)
			expect(t, what, poll(), "task_changed "+changed.Title)
			d.Restart(t)
			expect(t, what+", again", poll())
		}
		o.ChangePlannerTask(a.ID, func(t *simulator.PlannerTask) { t.Percent = 100 })
		expect(t, "completed", poll(), "task_completed a2")
		o.ChangePlannerTask(a.ID, func(t *simulator.PlannerTask) { t.Title = "a" })
		o.RemovePlannerTask(done.ID)
		expect(t, "completed tasks are not listed", poll())
		o.ChangePlannerTask(a.ID, func(t *simulator.PlannerTask) { t.Percent = 50 })
		expect(t, "reopened", poll(), "task_changed a")
		o.ChangePlannerTask(b.ID, func(t *simulator.PlannerTask) { t.Assigned = []string{simulator.Megan} })
		expect(t, "given to somebody else", poll(), "task_removed b")
		o.RemovePlannerTask(a.ID)
		expect(t, "deleted", poll(), "task_removed a")
		expect(t, "idle", poll())
	})
}

// With show_completed, completed tasks follow the open ones and have all events.
func TestShowCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		d, g := newDriver(t, map[string]any{"show_completed": true}), o.client(t)
		due := func(days int, priority int) func(*simulator.PlannerTask) {
			return func(t *simulator.PlannerTask) {
				t.Priority = priority
				if days != 0 {
					t.Due = time.Now().AddDate(0, 0, days)
				}
			}
		}
		done := o.add("done", due(-9, 1), func(t *simulator.PlannerTask) { t.Percent = 100 })
		o.add("later", due(9, 1))
		o.add("never, urgent", due(0, 1))
		o.add("never b", due(0, 5))
		o.add("never a", due(0, 5))
		o.add("soon", due(1, 9))
		o.add("soon and important", due(1, 3))
		o.add("overdue", due(-1, 9))
		d.Poll(t, g, time.Now())
		expectColumn(t, d, "title", "overdue", "soon and important", "soon", "later", "never, urgent", "never a", "never b", "done")
		if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 7 || st.Values["overdue"] != 1 || st.Values["next_due"] != entity.Date(time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)) {
			t.Errorf("got %v", st.Values)
		}
		o.ChangePlannerTask(done.ID, func(t *simulator.PlannerTask) { t.Title = "done well" })
		expect(t, "changed", d.Poll(t, g, time.Now()), "task_changed done well")
		o.RemovePlannerTask(done.ID)
		expect(t, "removed", d.Poll(t, g, time.Now()), "task_removed done well")
	})
}

// A day is the user's own, a due date that of Planner.
func TestOverdue(t *testing.T) {
	instant := time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC)
	for zone, want := range map[string]struct {
		overdue int
		next    any
		changes string // when the state does
	}{
		"Pacific/Kiritimati": {2, nil, ""},                                                // the 16th
		"Europe/Berlin":      {1, entity.Date("2026-01-15"), "2026-01-16T00:00:00+01:00"}, // the 15th
		"Pacific/Honolulu":   {1, entity.Date("2026-01-15"), "2026-01-16T00:00:00-10:00"}, // the 15th, half past midnight
		"Pacific/Pago_Pago":  {0, entity.Date("2026-01-14"), "2026-01-15T00:00:00-11:00"}, // the 14th
	} {
		t.Run(zone, func(t *testing.T) {
			o := newOffice(t)
			for _, day := range []int{14, 15} {
				o.add(fmt.Sprint(day), func(t *simulator.PlannerTask) { t.Due = time.Date(2026, 1, day, 10, 0, 0, 0, time.UTC) })
			}
			o.add("never")
			o.add("done", func(t *simulator.PlannerTask) { t.Percent, t.Due = 100, time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC) })
			d, now := newDriver(t, nil), instant.In(graphtest.Zone(t, zone))
			d.Poll(t, o.client(t), now)
			st := d.State(t, now, now)
			if st.Values["open"] != 3 || st.Values["overdue"] != want.overdue || st.Values["next_due"] != want.next {
				t.Errorf("got %v, want %v", st.Values, want)
			}
			changes := ""
			if !st.Next.IsZero() {
				changes = st.Next.Format(time.RFC3339)
			}
			if changes != want.changes {
				t.Errorf("it changes at %s, want %s", changes, want.changes)
			}
			if st.Next.IsZero() {
				return
			}
			if later := d.State(t, now, st.Next); later.Values["overdue"] != want.overdue+1 {
				t.Errorf("at %s %v are overdue", st.Next, later.Values["overdue"])
			}
		})
	}
}

// In Cairo clocks are set forward at midnight: the 24th of April 2026 begins at 1:00.
func TestDayWithoutMidnight(t *testing.T) {
	o := newOffice(t)
	o.add("a", func(t *simulator.PlannerTask) { t.Due = time.Date(2026, 4, 23, 10, 0, 0, 0, time.UTC) })
	d, now := newDriver(t, nil), time.Date(2026, 4, 23, 12, 0, 0, 0, graphtest.Zone(t, "Africa/Cairo"))
	d.Poll(t, o.client(t), now)
	st := d.State(t, now, now)
	if got := st.Next.Format(time.RFC3339); got != "2026-04-24T01:00:00+03:00" {
		t.Errorf("it changes at %s", got)
	}
	if later := d.State(t, now, st.Next); later.Values["overdue"] != 1 {
		t.Errorf("got %v", later.Values)
	}
}

// requests returns the logged requests by the last segments of their paths, and clears the log.
func (o office) requests() map[string]int {
	n := map[string]int{}
	for _, r := range o.Requests() {
		path := strings.Split(r.Path, "/")
		switch last := path[len(path)-1]; last {
		case "tasks", "details", "buckets":
			n[last]++
		default:
			n[path[len(path)-2]]++
		}
	}
	o.ForgetRequests()
	return n
}

func (o office) expectRequests(t testing.TB, what string, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, o.requests()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// An idle poll is one request. Checklists are read when the task changed, and hourly; titles daily.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		a := o.add("a", checklist("x", "y"))
		o.add("without a checklist")
		o.add("completed", checklist("x"), func(t *simulator.PlannerTask) { t.Percent = 100 })
		d, g := newDriver(t, nil), o.client(t)
		idle := map[string]int{"tasks": 1}
		d.Poll(t, g, time.Now())
		o.expectRequests(t, "at first", map[string]int{"tasks": 1, "plans": 1, "buckets": 1, "details": 1})
		begin := time.Now()
		for time.Since(begin) < 56*time.Minute {
			time.Sleep(2 * time.Minute)
			expect(t, "idle", d.Poll(t, g, time.Now()))
			o.expectRequests(t, "idle", idle)
		}
		o.ChangePlannerTask(a.ID, func(t *simulator.PlannerTask) { t.Checklist[0].Title = "z" })
		time.Sleep(2 * time.Minute)
		expect(t, "not seen yet", d.Poll(t, g, time.Now()))
		o.expectRequests(t, "not seen yet", idle)
		time.Sleep(2 * time.Minute)
		expect(t, "after an hour", d.Poll(t, g, time.Now()), "task_changed a")
		o.expectRequests(t, "after an hour", map[string]int{"tasks": 1, "details": 1})
		o.ChangePlannerTask(a.ID, func(t *simulator.PlannerTask) { t.Checklist[0].Checked = true })
		time.Sleep(2 * time.Minute)
		expect(t, "an item is checked", d.Poll(t, g, time.Now()), "task_changed a")
		o.expectRequests(t, "an item is checked", map[string]int{"tasks": 1, "details": 1})

		o.ChangePlan(o.plan.ID, func(p *simulator.PlannerPlan) { p.Title = "Move in"; p.Buckets = append(p.Buckets, "New") })
		o.ChangePlannerTask(a.ID, func(t *simulator.PlannerTask) { t.Bucket = "New" })
		time.Sleep(2 * time.Minute)
		expect(t, "a new bucket", d.Poll(t, g, time.Now()), "task_changed a")
		o.expectRequests(t, "a new bucket", map[string]int{"tasks": 1, "details": 1, "plans": 1, "buckets": 1})
		expectColumn(t, d, "bucket", "New", "To do")
		o.ChangePlan(o.plan.ID, func(p *simulator.PlannerPlan) { p.Title = "Moved" })
		time.Sleep(23*time.Hour + 50*time.Minute)
		expect(t, "the title is not read yet", d.Poll(t, g, time.Now()))
		o.expectRequests(t, "the title is not read yet", map[string]int{"tasks": 1, "details": 1})
		time.Sleep(10 * time.Minute)
		expect(t, "a new title is no event", d.Poll(t, g, time.Now()))
		o.expectRequests(t, "the title is read", map[string]int{"tasks": 1, "plans": 1, "buckets": 1})
		expectColumn(t, d, "plan", "Moved", "Moved")
	})
}

// A plan that the user may not see has no title, and is not asked for again until tomorrow.
func TestForbiddenPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		secret := o.AddPlan(simulator.PlannerPlan{Title: "Secret", Buckets: []string{"All"}, Members: []string{simulator.Megan}})
		o.AddPlannerTask(simulator.PlannerTask{Plan: secret.ID, Bucket: "All", Title: "a", Assigned: []string{simulator.Adele}, Priority: 1})
		o.add("b", func(t *simulator.PlannerTask) { t.Bucket = "" })
		d, g := newDriver(t, nil), o.client(t)
		d.Poll(t, g, time.Now())
		expectColumn(t, d, "plan", nil, "Move")
		expectColumn(t, d, "bucket", nil, nil)
		o.requests()
		for range 3 {
			time.Sleep(2 * time.Minute)
			expect(t, "idle", d.Poll(t, g, time.Now()))
			o.expectRequests(t, "idle", map[string]int{"tasks": 1})
		}
		o.ChangePlan(secret.ID, func(p *simulator.PlannerPlan) { p.Members = []string{simulator.Adele} })
		time.Sleep(24 * time.Hour)
		expect(t, "the title is no event", d.Poll(t, g, time.Now()))
		expectColumn(t, d, "plan", "Secret", "Move")
		expectColumn(t, d, "bucket", "All", nil)
	})
}

// Titles and checklists that cannot be read do not keep the tasks from being shown, and are read later.
func TestDetailsFail(t *testing.T) {
	for name, tt := range map[string]struct {
		fault simulator.Fault
		asked map[string]int // of the first poll
	}{
		"throttled": {simulator.Fault{Status: 429, RetryAfter: "60"}, map[string]int{"tasks": 1, "plans": 1}},
		"reset":     {simulator.Fault{Reset: true}, map[string]int{"tasks": 1, "plans": 1}},
		"504":       {simulator.Fault{Status: 504}, map[string]int{"tasks": 1, "plans": 1}},
		"500":       {simulator.Fault{Status: 500}, map[string]int{"tasks": 1, "plans": 1, "details": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				o.add("a", checklist("x"))
				o.add("b", checklist("y"))
				d, g := newDriver(t, nil), o.client(t)
				tt.fault.Path, tt.fault.Times = "/v1.0/planner/", -1
				o.Fail(tt.fault)
				d.Poll(t, g, time.Now())
				o.expectRequests(t, "failing", tt.asked)
				expectColumn(t, d, "title", "a", "b")
				expectColumn(t, d, "plan", nil, nil)
				expectColumn(t, d, "checklist", nil, nil)
				o.ClearFaults()
				time.Sleep(2 * time.Minute)
				expect(t, "read later", d.Poll(t, g, time.Now()))
				expectColumn(t, d, "plan", "Move", "Move")
				item := func(title string) []any { return []any{map[string]any{"title": title, "is_checked": false}} }
				expectColumn(t, d, "checklist", item("x"), item("y"))
			})
		})
	}
}

// A checklist that does not exist is not asked for at every poll.
func TestUnreadableChecklist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		a := o.add("a", checklist("x"))
		d, g := newDriver(t, nil), o.client(t)
		o.Fail(simulator.Fault{Path: "/v1.0/planner/tasks/" + a.ID + "/details", Status: 403})
		d.Poll(t, g, time.Now())
		o.requests()
		time.Sleep(2 * time.Minute)
		d.Poll(t, g, time.Now())
		o.expectRequests(t, "idle", map[string]int{"tasks": 1})
		expectColumn(t, d, "checklist", nil)
		time.Sleep(time.Hour)
		expect(t, "read at last", d.Poll(t, g, time.Now()))
		expectColumn(t, d, "checklist", []any{map[string]any{"title": "x", "is_checked": false}})
	})
}

// A failed list fails the poll; the tasks stay as they were.
func TestListFails(t *testing.T) {
	o := newOffice(t)
	for i := range 401 {
		o.add(fmt.Sprint(i))
	}
	d, g := newDriver(t, nil), o.client(t)
	d.Poll(t, g, time.Now())
	calls := 0
	o.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Times: 2, Change: func(page map[string]any) {
		if calls++; calls == 2 { // the second page is no list
			delete(page, "value")
		}
	}})
	if _, err := d.TryPoll(t, g, time.Now()); err == nil {
		t.Error("half a list was taken for all of it")
	}
	expect(t, "later", d.Poll(t, g, time.Now()))
}

// 500 tasks come in pages; their checklists are read 100 at a time, without an event.
func TestManyTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		for i := range 500 {
			o.add(fmt.Sprintf("%03d", i), checklist("x"))
		}
		d, g := newDriver(t, nil), o.client(t)
		for n := 1; n <= 7; n++ {
			time.Sleep(2 * time.Minute)
			expect(t, "no event", d.Poll(t, g, time.Now()))
			got := o.requests()
			if asked := got["details"] + got["plans"]; got["tasks"] != 2 || asked > 100 || n <= 5 && asked < 99 {
				t.Errorf("poll %d: %v", n, got)
			}
		}
		if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 500 || len(st.Items) != 500 || slices.Contains(column(t, d, "checklist"), nil) {
			t.Errorf("got %v, %d items", st.Values, len(st.Items))
		}
	})
}

// What the sensor's own operations did is shown at once, as its own, and no poll reports it again, even if Planner still lists the
// task as it was.
func TestOwnWrites(t *testing.T) {
	for _, completed := range []bool{false, true} {
		for _, stale := range []bool{false, true} {
			t.Run(fmt.Sprintf("show_completed %t, stale %t", completed, stale), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := newOffice(t)
					a := o.add("a", checklist("x"))
					d, g := newDriver(t, map[string]any{"show_completed": completed}), o.client(t, "Tasks.ReadWrite")
					d.Poll(t, g, time.Now())
					var pages []map[string]any
					page := func() {
						o.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Change: func(p map[string]any) { pages = append(pages, map[string]any{"value": p["value"]}) }})
						if _, err := graphplanner.Tasks(t.Context(), g); err != nil {
							t.Fatal(err)
						}
					}
					write := func(percent int, want string) {
						t.Helper()
						page()
						c, err := graphplanner.SetPercent(t.Context(), g, a.ID, percent, false)
						if err != nil {
							t.Fatal(err)
						}
						events := d.Apply(t, c, time.Now())
						expect(t, "own", events, want+" a")
						if len(events) == 1 && (events[0].Data["own"] != true || events[0].Data["percent"] != percent) {
							t.Errorf("got %v", events[0].Data)
						}
					}
					write(40, "task_changed")
					write(60, "task_changed")
					write(100, "task_completed")
					for i := range pages {
						if stale {
							o.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Change: func(p map[string]any) { p["value"] = pages[i]["value"] }})
						}
						d.Restart(t)
						time.Sleep(30 * time.Second)
						expect(t, "polled", d.Poll(t, g, time.Now()))
						if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 0 {
							t.Errorf("%v open", st.Values["open"])
						}
					}
					write(20, "task_changed")
					expect(t, "polled", d.Poll(t, g, time.Now()))
					o.ChangePlannerTask(a.ID, func(t *simulator.PlannerTask) { t.Percent = 100 })
					events := d.Poll(t, g, time.Now())
					expect(t, "by somebody else", events, "task_completed a")
					if len(events) == 1 && events[0].Data["own"] != false {
						t.Errorf("got %v", events[0].Data)
					}
				})
			})
		}
	}
}

// Planner's word counts again some minutes after a change: it may have been undone.
func TestWritesAreUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		a := o.add("a")
		d, g := newDriver(t, nil), o.client(t, "Tasks.ReadWrite")
		var old any
		o.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Change: func(p map[string]any) { old = p["value"] }})
		d.Poll(t, g, time.Now())
		c, err := graphplanner.SetPercent(t.Context(), g, a.ID, 100, false)
		if err != nil {
			t.Fatal(err)
		}
		d.Apply(t, c, time.Now())
		o.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Times: -1, Change: func(p map[string]any) { p["value"] = old }})
		time.Sleep(5 * time.Minute)
		expect(t, "stale", d.Poll(t, g, time.Now()))
		time.Sleep(2 * time.Minute)
		expect(t, "undone", d.Poll(t, g, time.Now()), "task_changed a")
	})
}

func TestEffectsOnOtherTasks(t *testing.T) {
	o := newOffice(t)
	a := o.add("a")
	d := newDriver(t, nil)
	d.Poll(t, o.client(t), time.Now())
	expect(t, "unknown", d.Apply(t, graphplanner.Changed{Task: graphplanner.Task{ID: "x", Percent: 100}, Own: true}, time.Now()))
	expect(t, "not our own", d.Apply(t, graphplanner.Changed{Task: graphplanner.Task{ID: a.ID, Percent: 100}}, time.Now()))
	if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 1 {
		t.Errorf("got %v", st.Values)
	}
}

func TestPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		garden := o.AddPlan(simulator.PlannerPlan{Title: "Garden", Members: []string{simulator.Adele}})
		secret := o.AddPlan(simulator.PlannerPlan{Title: "Secret", Members: []string{simulator.Megan}})
		twins := []simulator.PlannerPlan{o.AddPlan(simulator.PlannerPlan{Title: "Twins", Members: []string{simulator.Adele}}), o.AddPlan(simulator.PlannerPlan{Title: "Twins", Members: []string{simulator.Adele}})}
		upper := o.AddPlan(simulator.PlannerPlan{Title: "GARDEN", Members: []string{simulator.Adele}})
		o.add("a")
		for _, p := range []simulator.PlannerPlan{garden, secret, twins[1], upper} {
			o.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "in " + p.Title, Assigned: []string{simulator.Adele}})
		}
		g := o.client(t)
		for name, want := range map[string]string{
			"Move": "a", "move": "a", o.plan.ID: "a", "Garden": "in Garden", "GARDEN": "in GARDEN", garden.ID: "in Garden", secret.ID: "in Secret", twins[1].ID: "in Twins",
		} {
			d := newDriver(t, map[string]any{"plan": name})
			d.Poll(t, g, time.Now())
			expectColumn(t, d, "title", want)
			o.requests()
			d.Poll(t, g, time.Now())
			o.expectRequests(t, name, map[string]int{"tasks": 1})
		}
		ids := []string{twins[0].ID, twins[1].ID}
		slices.Sort(ids)
		both := []string{upper.ID, garden.ID} // by their titles
		titles := []string{secret.ID, "GARDEN", "Garden", "Move", "Twins", "Twins"}
		slices.Sort(titles)
		there := strings.Join(titles, ", ")
		unknown := strings.Repeat("x", 28)
		for name, want := range map[string]string{
			"Twins":   `find the plan: 2 plans are named Twins; want the id of one of them: ` + strings.Join(ids, ", "),
			"gardeN":  `find the plan: 2 plans are named gardeN; want the id of one of them: ` + strings.Join(both, ", "),
			"Nowhere": `find the plan: there is no plan Nowhere; there are: ` + there,
			unknown:   `find the plan: there is no plan ` + unknown + `; there are: ` + there,
		} {
			_, err := newDriver(t, map[string]any{"plan": name}).TryPoll(t, g, time.Now())
			if !graph.Is(err, graph.NotFound) || err.Error() != want {
				t.Errorf("%s: got %v, want %s", name, err, want)
			}
		}
	})
}

// A plan keeps its place when it is renamed. One that is gone is looked for by its name again.
func TestPlanIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		a := o.add("a")
		d, g := newDriver(t, map[string]any{"plan": "Move"}), o.client(t)
		d.Poll(t, g, time.Now())
		o.ChangePlan(o.plan.ID, func(p *simulator.PlannerPlan) { p.Title = "Moved" })
		time.Sleep(25 * time.Hour)
		expect(t, "renamed", d.Poll(t, g, time.Now()))
		expectColumn(t, d, "plan", "Moved")

		o.RemovePlannerTask(a.ID)
		o.ChangePlan(o.plan.ID, func(p *simulator.PlannerPlan) { p.Members = nil })
		time.Sleep(2 * time.Minute)
		expect(t, "gone", d.Poll(t, g, time.Now()), "task_removed a")
		time.Sleep(25 * time.Hour)
		if _, err := d.TryPoll(t, g, time.Now()); err == nil || err.Error() != `find the plan: there is no plan Move; there are none` {
			t.Errorf("got %v", err)
		}
		o.plan = o.AddPlan(simulator.PlannerPlan{Title: "Move", Buckets: []string{"To do"}, Members: []string{simulator.Adele}})
		o.add("b")
		expect(t, "made again", d.Poll(t, g, time.Now()), "task_assigned b")
	})
}

// Sensors of several plans that poll together share one request.
func TestSensorsShareTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.add("a")
		garden := o.AddPlan(simulator.PlannerPlan{Title: "Garden", Members: []string{simulator.Adele}})
		o.AddPlannerTask(simulator.PlannerTask{Plan: garden.ID, Title: "b", Assigned: []string{simulator.Adele}})
		g := o.client(t)
		sensors := map[string]*driver{"b": newDriver(t, map[string]any{"plan": "Garden"}), "a": newDriver(t, map[string]any{"plan": "Move"})}
		poll := func() {
			var all sync.WaitGroup
			for _, d := range sensors {
				all.Go(func() { d.Poll(t, g, time.Now()) })
			}
			all.Wait()
		}
		poll()
		o.requests()
		poll()
		o.expectRequests(t, "together", map[string]int{"tasks": 1})
		for title, d := range sensors {
			expectColumn(t, d, "title", title)
		}
	})
}

func TestCandidates(t *testing.T) {
	o := newOffice(t)
	secret := o.AddPlan(simulator.PlannerPlan{Title: "Secret", Members: []string{simulator.Megan}})
	o.AddPlannerTask(simulator.PlannerTask{Plan: secret.ID, Title: "x", Assigned: []string{simulator.Adele}})
	found, err := planner.Kind().Candidates(t.Context(), o.client(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range found {
		got = append(got, c.Name+": "+c.Options["plan"])
	}
	if diff := cmp.Diff([]string{secret.ID + ": " + secret.ID, "Move: " + o.plan.ID}, got); diff != "" {
		t.Error(diff)
	}
}

// Reading needs exactly the permission that it requests.
func TestPermissions(t *testing.T) {
	o := newOffice(t)
	o.add("a", checklist("x"))
	if diff := cmp.Diff([]string{"Tasks.Read"}, graph.Scopes(newDriver(t, nil).Source.Permissions())); diff != "" {
		t.Error(diff)
	}
	for scope, granted := range map[string]bool{"Tasks.Read": true, "Tasks.ReadWrite": true, "User.Read": false, "Mail.Read": false} {
		d := newDriver(t, nil)
		_, err := d.TryPoll(t, o.client(t, scope), time.Now())
		if granted != (err == nil) || !granted && !graph.Is(err, graph.PermissionMissing) {
			t.Errorf("%s: %v", scope, err)
		}
		if granted {
			expectColumn(t, d, "checklist", []any{map[string]any{"title": "x", "is_checked": false}})
		}
	}
}

func TestCanceledPoll(t *testing.T) {
	o := newOffice(t)
	o.add("a", checklist("x"))
	ctx, cancel := context.WithCancel(t.Context())
	o.OnRequest(func(r simulator.Request) {
		if strings.HasSuffix(r.Path, "/buckets") {
			cancel()
		}
	})
	source := newDriver(t, nil).Source
	if s, err := source.Poll(ctx, o.client(t), nil, time.Now()); err == nil {
		t.Errorf("got %v", s)
	}
}

// What was read is not lost when a poll takes long: it ends before it would be given up.
func TestSlowDetails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		for i := range 9 {
			o.add(fmt.Sprint(i), checklist("x"))
		}
		o.Fail(simulator.Fault{Path: "/v1.0/planner/", Delay: 10 * time.Second, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		d := newDriver(t, nil)
		s, err := d.Source.Poll(ctx, o.client(t), nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		d.Snapshot = s
		if got := o.requests(); got["details"] == 0 || got["details"] == 9 || len(column(t, d, "title")) != 9 {
			t.Errorf("%v", got)
		}
	})
}

func TestOptions(t *testing.T) {
	for raw, want := range map[string]string{
		"plan":           "plan: want text, not 5",
		"show_completed": "show_completed: want true or false, not 5",
		"plans":          "plans: unknown key",
	} {
		o := planner.Kind().New().Options()
		if err := schema.Decode(o, map[string]any{raw: 5}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
}

// BenchmarkIdle measures a minute of a sensor of 30 open and 10 completed tasks, a third of which have checklists, while nothing
// changes.
func BenchmarkIdle(b *testing.B) {
	o := newOffice(b)
	for i := range 40 {
		o.add(fmt.Sprintf("Task %d", i), func(t *simulator.PlannerTask) {
			t.Due = time.Now().AddDate(0, 0, i)
			if i%3 == 0 {
				checklist("Boxes", "Labels")(t)
			}
			if i >= 30 {
				t.Percent = 100
			}
		})
	}
	g, wire := graphtest.Counted(b, o.Simulator, simulator.Adele, "Tasks.Read")
	d := newDriver(b, nil)
	d.Poll(b, g, time.Now())
	if diff := cmp.Diff(map[string]int{"tasks": 1, "plans": 1, "buckets": 1, "details": 10}, o.requests()); diff != "" {
		b.Error(diff)
	}
	wire.Take()
	polls := 0
	for b.Loop() {
		d.Poll(b, g, time.Now())
		polls++
	}
	requests, bytes := wire.Take()
	if requests != polls {
		b.Errorf("%d requests in %d polls", requests, polls)
	}
	perMinute := planner.Kind().Interval.Minutes()
	b.ReportMetric(float64(requests)/float64(polls)/perMinute, "requests/min")
	b.ReportMetric(float64(bytes)/float64(polls)/perMinute, "bytes/min")
}
