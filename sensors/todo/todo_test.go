package todo_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	"github.com/graph2mqtt/graph2mqtt/sensors/todo"
	"github.com/graph2mqtt/graph2mqtt/services"
	todoops "github.com/graph2mqtt/graph2mqtt/services/todo"
)

// contoso returns a simulator whose clock is that of the bubble.
func contoso() *simulator.Simulator { return simulator.Contoso(simulator.Options{Now: time.Now}) }

type driver = sensorstest.Driver[todo.Snapshot]

func list(t testing.TB, raw map[string]any) *driver {
	t.Helper()
	o := todo.Kind().New().Options().(*todo.Options)
	if err := schema.Decode(o, raw); err != nil {
		t.Fatal(err)
	}
	return sensorstest.Of(o)
}

func reader(t testing.TB, s *simulator.Simulator) *graph.Client {
	return graphtest.Client(t, s, simulator.Adele, "Tasks.Read")
}

func expect(t testing.TB, what string, events []entity.Event, want ...string) {
	t.Helper()
	var got []string
	for _, e := range events {
		text := fmt.Sprintf("%s %s", e.Type, e.Data["subject"])
		if e.Data["own"] == true {
			text += " own"
		}
		got = append(got, text)
		if _, ok := e.Data["description"]; ok {
			t.Errorf("%s: an event has the description", what)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call executes an operation of the list, as Adele, and applies its result.
func call(t testing.TB, s *simulator.Simulator, d *driver, list, name, request string) []entity.Event {
	t.Helper()
	for _, op := range todoops.Operations(todoops.Target{List: list}) {
		if op.Name != name {
			continue
		}
		r, err := services.Decode(op, []byte(request))
		must(t, err)
		result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, graph.Scopes(op.Permissions)...), services.Attempt{ID: name, Now: time.Now()})
		must(t, err)
		return d.Apply(t, result, time.Now())
	}
	t.Fatalf("no operation %s", name)
	return nil
}

// Each way of noticing changes leads to the same events, once each.
func TestEventsComeOnce(t *testing.T) {
	for name, o := range map[string]simulator.TodoOptions{"delta": {}, "probe": {NoDelta: true}, "read": {NoDelta: true, NoOrder: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := contoso()
				s.SetTodoOptions(simulator.Adele, o)
				s.AddTask(simulator.Adele, "", simulator.Task{Title: "old"})
				s.AddTask(simulator.Adele, "", simulator.Task{Title: "done long ago", Status: "completed"})
				d, g := list(t, map[string]any{"list": "Tasks"}), reader(t, s)
				poll := func() []entity.Event {
					time.Sleep(time.Minute)
					return d.Poll(t, g, time.Now())
				}
				expect(t, "at first", poll())
				a := s.AddTask(simulator.Adele, "", simulator.Task{Title: "a"})
				expect(t, "new", poll(), "todo_created a")
				expect(t, "idle", poll())
				d.Restart(t)
				expect(t, "after a restart", poll())
				must(t, s.ChangeTask(simulator.Adele, a.ID, map[string]any{"importance": "high"}))
				expect(t, "changed", poll(), "todo_changed a")
				must(t, s.CompleteTask(simulator.Adele, a.ID))
				events := poll()
				expect(t, "completed", events, "todo_completed a")
				if at := events[0].Data["completed_at"].(time.Time); !at.Equal(time.Now()) || events[0].Data["completed"] != time.Now().UTC().Format(time.DateOnly) {
					t.Errorf("completed at %s, on %s", at, events[0].Data["completed"])
				}
				must(t, s.ChangeTask(simulator.Adele, a.ID, map[string]any{"status": "notStarted"}))
				expect(t, "reopened", poll(), "todo_changed a")
				s.RemoveTask(simulator.Adele, a.ID)
				expect(t, "deleted", poll(), "todo_removed a")
				s.ExpireDeltaTokens()
				expect(t, "after a new synchronization", poll())
				s.ExpireDeltaTokens()
				s.AddTask(simulator.Adele, "", simulator.Task{Title: "b"})
				must(t, s.CompleteTask(simulator.Adele, "old"))
				expect(t, "in a new synchronization", poll(), "todo_completed old", "todo_created b")
				var want []string
				for i := range 12 {
					s.AddTask(simulator.Adele, "", simulator.Task{Title: fmt.Sprint(i)})
					want = append(want, fmt.Sprintf("todo_created %d", i))
				}
				expect(t, "many", poll(), want...)
				want = nil
				for i := range 12 {
					if i%2 == 0 {
						must(t, s.CompleteTask(simulator.Adele, fmt.Sprint(i)))
						want = append(want, fmt.Sprintf("todo_completed %d", i))
					} else {
						s.RemoveTask(simulator.Adele, fmt.Sprint(i))
						want = append(want, fmt.Sprintf("todo_removed %d", i))
					}
				}
				expect(t, "many end", poll(), want...)
				if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 1 {
					t.Errorf("state %v", st.Values)
				}
			})
		})
	}
}

// What this program does is shown at once, and is no news for the next poll.
func TestOwnChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso()
		d, g := list(t, map[string]any{"list": "Tasks", "show_completed": true}), reader(t, s)
		poll := func() []entity.Event {
			time.Sleep(time.Minute)
			return d.Poll(t, g, time.Now())
		}
		poll()
		for _, step := range []struct{ operation, request, want string }{
			{"new", `{"subject": "a", "due": "2030-01-01"}`, "todo_created a own"},
			{"update", `{"todo_id": "$id", "description": "note"}`, "todo_changed a own"},
			{"checklist_new", `{"todo_id": "$id", "name": "step"}`, "todo_changed a own"},
			{"checklist_update", `{"todo_id": "$id", "checklist_item_id": "$step", "name": "big step"}`, "todo_changed a own"},
			{"checklist_complete", `{"todo_id": "$id", "checklist_item_id": "$step"}`, "todo_changed a own"},
			{"checklist_complete", `{"todo_id": "$id", "checklist_item_id": "$step"}`, ""},
			{"complete", `{"todo_id": "$id"}`, "todo_completed a own"},
			{"complete", `{"todo_id": "$id"}`, ""},
			{"reopen", `{"todo_id": "$id"}`, "todo_changed a own"},
			{"checklist_delete", `{"todo_id": "$id", "checklist_item_id": "$step"}`, "todo_changed a own"},
			{"delete", `{"todo_id": "$id"}`, "todo_removed a own"},
		} {
			request := step.request
			for _, task := range s.Tasks(simulator.Adele, "") {
				request = strings.ReplaceAll(request, "$id", task.ID)
				for _, st := range task.Steps {
					request = strings.ReplaceAll(request, "$step", st.ID)
				}
			}
			var want []string
			if step.want != "" {
				want = []string{step.want}
			}
			expect(t, step.operation, call(t, s, d, "Tasks", step.operation, request), want...)
			before := d.State(t, time.Now(), time.Now())
			expect(t, "poll after "+step.operation, poll())
			if diff := cmp.Diff(before.Items, d.State(t, time.Now(), time.Now()).Items); diff != "" {
				t.Errorf("the poll after %s shows something else (-effect +poll):\n%s", step.operation, diff)
			}
		}
	})
}

func weekly(start time.Time) map[string]any {
	return map[string]any{
		"pattern": map[string]any{"type": "weekly", "interval": 1.0, "daysOfWeek": []any{strings.ToLower(start.Weekday().String())}},
		"range":   map[string]any{"type": "noEnd", "startDate": start.Format(time.DateOnly)},
	}
}

// It is not known whether a recurring task that is completed goes on under its id.
func TestRecurringTask(t *testing.T) {
	for name, tt := range map[string]struct {
		options       simulator.TodoOptions
		byOthers, own []string
		ownPoll       []string
	}{
		"the same id": {simulator.TodoOptions{}, []string{"todo_completed plants", "todo_changed plants"}, []string{"todo_completed plants own"}, nil},
		"a new id": {simulator.TodoOptions{Recurring: "new"}, []string{"todo_completed plants", "todo_created plants"}, []string{"todo_completed plants own"},
			[]string{"todo_created plants"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				loc := graphtest.Zone(t, "Europe/Berlin")
				s := contoso()
				s.SetTodoOptions(simulator.Adele, tt.options)
				due := time.Date(2000, 3, 23, 0, 0, 0, 0, loc) // the week in which clocks change
				s.AddTask(simulator.Adele, "", simulator.Task{Title: "plants", Due: due, Recurrence: weekly(due)})
				d, g := list(t, map[string]any{"list": "Tasks"}), reader(t, s)
				poll := func() []entity.Event {
					time.Sleep(time.Minute)
					return d.Poll(t, g, time.Now().In(loc))
				}
				shown := func() any {
					st := d.State(t, time.Now().In(loc), time.Now().In(loc))
					if len(st.Items) != 1 || st.Items[0].(map[string]any)["recurring"] != true {
						t.Fatalf("items %v", st.Items)
					}
					return st.Items[0].(map[string]any)["due"]
				}
				poll()
				must(t, s.CompleteTask(simulator.Adele, s.Tasks(simulator.Adele, "")[0].ID))
				expect(t, "by others", poll(), tt.byOthers...)
				if due := shown(); due != "2000-03-30" {
					t.Errorf("next due %s", due)
				}
				var id string
				for _, task := range s.Tasks(simulator.Adele, "") {
					if task.Status != "completed" {
						id = task.ID
					}
				}
				expect(t, "own", call(t, s, d, "Tasks", "complete", `{"todo_id": "`+id+`"}`), tt.own...)
				expect(t, "after own", poll(), tt.ownPoll...)
				expect(t, "idle", poll())
				if due := shown(); due != "2000-04-06" {
					t.Errorf("next due %s", due)
				}
				completed := 0
				for _, task := range s.Tasks(simulator.Adele, "") {
					if task.Status == "completed" {
						completed++
					}
				}
				if completed != 2 {
					t.Errorf("%d occurrences are completed", completed)
				}
			})
		})
	}
}

// Graph does not report that a step changed.
func TestStepsAreSeenWithinFiveMinutes(t *testing.T) {
	for name, o := range map[string]simulator.TodoOptions{"silent": {}, "reported": {StepsChange: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := contoso()
				s.SetTodoOptions(simulator.Adele, o)
				task := s.AddTask(simulator.Adele, "", simulator.Task{Title: "a", Steps: []simulator.TaskStep{{Name: "x"}}})
				d, g := list(t, map[string]any{"list": "defaultlist"}), reader(t, s)
				d.Poll(t, g, time.Now())
				must(t, s.ChangeTask(simulator.Adele, task.ID, map[string]any{"checklistItems": []any{map[string]any{"displayName": "y"}}}))
				changed := time.Now()
				for time.Since(changed) < 5*time.Minute {
					time.Sleep(time.Minute)
					if events := d.Poll(t, g, time.Now()); len(events) > 0 {
						expect(t, name, events, "todo_changed a")
						if o.StepsChange && time.Since(changed) > time.Minute {
							t.Error("not at the next poll")
						}
						return
					}
				}
				t.Error("not seen")
			})
		})
	}
}

func TestManyTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso()
		today := time.Now().UTC().Truncate(24 * time.Hour)
		for i := range 2000 {
			s.AddTask(simulator.Adele, "", simulator.Task{Title: fmt.Sprint(i), Due: today.AddDate(0, 0, i-1000)})
		}
		for i := range 200 {
			s.AddTask(simulator.Adele, "", simulator.Task{Title: fmt.Sprint("done ", i), Status: "completed"})
		}
		d := list(t, map[string]any{"list": "Tasks"})
		g, wire := graphtest.Counted(t, s, simulator.Adele, "Tasks.Read")
		now := time.Now().UTC()
		d.Poll(t, g, now)
		st := d.State(t, now, now)
		if st.Values["open"] != 2000 || st.Values["overdue"] != 1000 || st.Values["next_due"] != entity.Date(today.Format(time.DateOnly)) || len(st.Items) != 100 || len(st.Attributes["overdue_todos"].([]any)) != 20 {
			t.Errorf("got %v, %d items", st.Values, len(st.Items))
		}
		if n := len(s.Requests()); n > 30 {
			t.Errorf("%d requests at first", n)
		}
		s.ForgetRequests()
		wire.Take()
		time.Sleep(time.Minute)
		expect(t, "idle", d.Poll(t, g, time.Now().UTC()))
		if n, bytes := wire.Take(); n != 1 || bytes > 600 {
			t.Errorf("an idle poll: %d requests, %d bytes", n, bytes)
		}
		s.RemoveTask(simulator.Adele, "7")
		time.Sleep(time.Minute)
		expect(t, "one of many", d.Poll(t, g, time.Now().UTC()), "todo_removed 7")
	})
}

// The state changes by itself at midnight, in the user's zone.
func TestOverdueByTheUsersDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loc := graphtest.Zone(t, "America/New_York")
		s := contoso()
		s.AddTask(simulator.Adele, "", simulator.Task{Title: "a", Due: time.Date(2000, 4, 1, 0, 0, 0, 0, loc)})
		s.AddTask(simulator.Adele, "", simulator.Task{Title: "b", Due: time.Date(2000, 4, 3, 0, 0, 0, 0, loc)})
		d, g := list(t, map[string]any{"list": "Tasks"}), reader(t, s)
		d.Poll(t, g, time.Now())
		for at, want := range map[time.Time][3]any{
			time.Date(2000, 4, 1, 23, 59, 59, 0, loc): {0, entity.Date("2000-04-01"), time.Date(2000, 4, 2, 0, 0, 0, 0, loc)},
			time.Date(2000, 4, 2, 0, 0, 0, 0, loc):    {1, entity.Date("2000-04-03"), time.Date(2000, 4, 3, 0, 0, 0, 0, loc)},
			time.Date(2000, 4, 4, 0, 0, 0, 0, loc):    {2, nil, time.Date(2000, 4, 5, 0, 0, 0, 0, loc)},
		} {
			st := d.State(t, at, at)
			if st.Values["overdue"] != want[0] || st.Values["next_due"] != want[1] || !st.Next.Equal(want[2].(time.Time)) {
				t.Errorf("%s: %v, next %s", at, st.Values, st.Next)
			}
		}
	})
}

// In Santiago clocks are set forward at midnight: the 6th of September 2026 begins at 1:00.
func TestOverdueWithoutMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loc := graphtest.Zone(t, "America/Santiago")
		s := contoso()
		s.AddTask(simulator.Adele, "", simulator.Task{Title: "a", Due: time.Date(2026, 9, 5, 0, 0, 0, 0, loc)})
		d, g := list(t, map[string]any{"list": "Tasks"}), reader(t, s)
		d.Poll(t, g, time.Now())
		now := time.Date(2026, 9, 5, 23, 30, 0, 0, loc)
		st := d.State(t, now, now)
		if want := time.Date(2026, 9, 6, 1, 0, 0, 0, loc); st.Values["overdue"] != 0 || !st.Next.Equal(want) {
			t.Errorf("%v, next %s, want %s", st.Values, st.Next, want)
		}
		if st := d.State(t, st.Next, st.Next); st.Values["overdue"] != 1 {
			t.Errorf("on the next day: %v", st.Values)
		}

		s.AddTask(simulator.Adele, "", simulator.Task{Title: "b", Due: time.Date(2026, 9, 7, 0, 0, 0, 0, loc)})
		d = list(t, map[string]any{"list": "Tasks", "due_start_offset": "24h", "due_end_offset": "24h"})
		d.Poll(t, g, time.Now())
		if now = time.Date(2026, 9, 6, 12, 0, 0, 0, loc); d.State(t, now, now).Values["open"] != 1 {
			t.Errorf("due tomorrow: %v", d.State(t, now, now).Values)
		}
	})
}

func TestOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		raw  map[string]any
		want string
	}{
		"except":  {map[string]any{"list": "Tasks", "except": []any{"x"}}, "except: only with list: all"},
		"no list": {map[string]any{"list": ""}, "list: want the name or id of a list, or all"},
		"offsets": {map[string]any{"due_start_offset": "24h", "due_end_offset": "0h"}, "due_end_offset: want at least due_start_offset, 24h0m0s, not 0s"},
		"max":     {map[string]any{"max_todos": 0}, "max_todos: want at least 1, not 0"},
	} {
		o := todo.Kind().New().Options().(*todo.Options)
		if err := schema.Decode(o, tt.raw); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

func TestAllLists(t *testing.T) {
	s := contoso()
	for i := range 118 {
		s.AddTodoList(simulator.Adele, fmt.Sprintf("List %d", i))
	}
	o := todo.Kind().New()
	members, err := o.Group().Members(t.Context(), reader(t, s))
	if err != nil || len(members) != 120 {
		t.Fatalf("%d members, %v", len(members), err)
	}
	must(t, schema.Decode(o.Options(), map[string]any{"except": []any{"list 5", "flaggedEmails", members[9].ID}}))
	if members, err = o.Group().Members(t.Context(), reader(t, s)); err != nil || len(members) != 117 {
		t.Errorf("%d members, %v", len(members), err)
	}
}

// Names of lists may have every character.
func TestNameOfList(t *testing.T) {
	const name = `Bob's "list" / 2`
	s := contoso()
	s.AddTodoList(simulator.Adele, name)
	s.AddTask(simulator.Adele, name, simulator.Task{Title: "a"})
	d := list(t, map[string]any{"list": name})
	d.Poll(t, reader(t, s), time.Now())
	if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 1 {
		t.Errorf("state %v", st.Values)
	}
	candidates, err := todo.Kind().Candidates(t.Context(), reader(t, s))
	if err != nil || candidates[2].Options["list"] != name {
		t.Errorf("candidates %v, %v", candidates, err)
	}
	s.AddTodoList(simulator.Adele, strings.ToUpper(name))
	s.AddTodoList(simulator.Adele, "all")
	candidates, err = todo.Kind().Candidates(t.Context(), reader(t, s))
	for _, c := range candidates[2:] {
		if c.Options["list"] == c.Name {
			t.Errorf("%s is ambiguous", c.Name)
		}
	}
	must(t, err)
	const want = "find the task list: there is no task list Nothing; there are: " + `BOB'S "LIST" / 2, Bob's "list" / 2, Flagged Emails, Tasks, all`
	if _, err := list(t, map[string]any{"list": "Nothing"}).TryPoll(t, reader(t, s), time.Now()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A list that was deleted and created again is found by its name.
func TestListIsCreatedAgain(t *testing.T) {
	s := contoso()
	s.AddTodoList(simulator.Adele, "Shopping")
	d, g := list(t, map[string]any{"list": "shopping"}), reader(t, s)
	d.Poll(t, g, time.Now())
	s.RemoveTodoList(simulator.Adele, "Shopping")
	if _, err := d.TryPoll(t, g, time.Now()); !graph.Is(err, graph.NotFound) {
		t.Errorf("got %v", err)
	}
	s.AddTodoList(simulator.Adele, "Shopping")
	s.AddTask(simulator.Adele, "Shopping", simulator.Task{Title: "a"})
	d.Poll(t, g, time.Now())
	if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 1 {
		t.Errorf("state %v", st.Values)
	}
}

// Each form of a request that Graph refuses has another one.
func TestRefusedForms(t *testing.T) {
	s := contoso()
	s.AddTask(simulator.Adele, "", simulator.Task{Title: "a"})
	d, g := list(t, map[string]any{"list": s.TodoLists(simulator.Adele)[0].ID}), reader(t, s)
	s.Fail(simulator.Fault{Path: "/v1.0/me/todo/lists/", Status: 400, Times: 3})
	d.Poll(t, g, time.Now())
	var asked []string
	for _, r := range s.Requests() {
		asked = append(asked, fmt.Sprint(strings.Contains(r.Path, "delta"), r.Query.Has("$orderby"), r.Query.Has("$select"), r.Status))
	}
	if diff := cmp.Diff([]string{"true false true 400", "false true true 400", "false false true 400", "false false false 200"}, asked); diff != "" {
		t.Error(diff)
	}
	if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 1 {
		t.Errorf("state %v", st.Values)
	}
}

// A list that others share is read, unless Graph refuses it.
func TestSharedList(t *testing.T) {
	s := contoso()
	s.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan"})
	s.AddTodoList("megan@contoso.example", "Ours")
	s.AddTask("megan@contoso.example", "Ours", simulator.Task{Title: "a"})
	s.ShareTodoList("megan@contoso.example", "Ours", simulator.Adele, false)
	d, g := list(t, map[string]any{"list": "Ours"}), reader(t, s)
	d.Poll(t, g, time.Now())
	if st := d.State(t, time.Now(), time.Now()); st.Values["open"] != 1 {
		t.Errorf("state %v", st.Values)
	}
	s.ShareTodoList("megan@contoso.example", "Ours", simulator.Adele, true)
	if _, err := d.TryPoll(t, g, time.Now()); !graph.Is(err, graph.PermissionMissing) {
		t.Errorf("got %v", err)
	}
}

// What was noted while the clock was ahead does not last until that time comes.
func TestClockSetBack(t *testing.T) {
	s, d, now := contoso(), list(t, map[string]any{"list": "Tasks"}), time.Now()
	g := reader(t, s)
	d.Poll(t, g, now)
	ahead := now.Add(365 * 24 * time.Hour)
	d.Snapshot.Copies = []todo.Copy{{Subject: "Water the plants", At: ahead}}
	d.Snapshot.Watch.NoDelta = graph.Refusal{At: ahead, Times: 1}
	d.Poll(t, g, now.Add(time.Minute))
	if len(d.Snapshot.Copies) != 0 || d.Snapshot.Watch.NoDelta.Times != 0 {
		t.Errorf("got %+v, %+v", d.Snapshot.Copies, d.Snapshot.Watch)
	}
}
