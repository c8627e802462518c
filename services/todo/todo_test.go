package todo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/todo"
)

const key = "7f0c4c9e-3b0e-4f0b-8d2a-2a1c5d6e7f80"

// contoso returns a simulator whose clock is that of the bubble.
func contoso() *simulator.Simulator { return simulator.Contoso(simulator.Options{Now: time.Now}) }

// A target is the default list of Adele. It implements services.Target.
type target struct {
	graph      *graph.Client
	operations []services.Operation
	loc        *time.Location
}

func newTarget(t testing.TB, transport http.RoundTripper, s *simulator.Simulator) *target {
	t.Helper()
	return &target{graphtest.ClientVia(t, s, transport, simulator.Adele, "Tasks.ReadWrite"), todo.Operations(todo.Target{List: "defaultList"}), time.UTC}
}

func (t *target) Operation(name string) (services.Operation, error) {
	for _, op := range t.operations {
		if op.Name == name {
			return op, nil
		}
	}
	return services.Operation{}, &services.Error{Code: services.UnknownOp, Message: name}
}

func (t *target) Parse(string, string) (string, map[string]json.RawMessage, error) {
	return "", nil, nil
}

func (t *target) Resolve(context.Context, map[string]json.RawMessage) (services.Ref, services.Target, error) {
	return services.Ref{Account: "work", Sensor: "todo"}, t, nil
}
func (t *target) Graph() *graph.Client     { return t.graph }
func (t *target) User() string             { return "" }
func (t *target) Location() *time.Location { return t.loc }
func (t *target) OnSuccess(context.Context, string, any) func(services.Tx) {
	return nil
}
func (t *target) OnRejected() {}

type resolver struct{ target services.Target }

func (r resolver) Resolve(services.Ref) (services.Target, error) { return r.target, nil }

// execute executes a request as the bridge does, with its repetitions.
func (t *target) execute(ctx context.Context, name, request string) services.Response {
	d := services.NewDispatcher(services.DispatcherOptions{Resolver: resolver{t}})
	return d.Execute(ctx, services.Inbound{Target: services.Ref{Account: "work", Sensor: "todo"}, Operation: name, Payload: []byte(request), Received: time.Now()})
}

// A lossy transport executes the request with number lose and loses its answer: a gateway answers 504.
type lossy struct {
	next http.RoundTripper
	lose int
	n    int
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if l.n++; err != nil || l.n != l.lose {
		return resp, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	resp.StatusCode, resp.Status = http.StatusGatewayTimeout, "504 Gateway Timeout"
	resp.Body = io.NopCloser(strings.NewReader(`{"error": {"code": "UnknownError", "message": ""}}`))
	resp.ContentLength = -1
	return resp, nil
}

// cases returns requests of each operation that changes something.
func cases() []struct{ name, request string } {
	return []struct{ name, request string }{
		{"new", `{"subject": "new one", "due": "2000-02-01", "recurrence": {"type": "daily"}}`},
		{"update", `{"todo_id": "$plain", "subject": "changed", "remove_due": true}`},
		{"update", `{"todo_id": "$plain", "recurrence": {"type": "daily", "count": 3}}`},
		{"delete", `{"todo_id": "$plain"}`},
		{"complete", `{"todo_id": "$plain"}`},
		{"complete", `{"todo_id": "$weekly"}`},
		{"reopen", `{"todo_id": "$done"}`},
		{"checklist_new", `{"todo_id": "$plain", "name": "new step"}`},
		{"checklist_update", `{"todo_id": "$plain", "checklist_item_id": "$step", "name": "renamed", "completed": true}`},
		{"checklist_complete", `{"todo_id": "$plain", "checklist_item_id": "$step"}`},
		{"checklist_delete", `{"todo_id": "$plain", "checklist_item_id": "$step"}`},
		{"list_new", `{"name": "Garden"}`},
		{"list_rename", `{"list": "Shopping", "name": "Groceries"}`},
		{"list_delete", `{"list": "Shopping"}`},
	}
}

// world returns a simulator with the tasks of cases, and replaces the placeholders in a request.
func world(o simulator.TodoOptions) (s *simulator.Simulator, replace func(string) string) {
	s = contoso()
	s.SetTodoOptions(simulator.Adele, o)
	s.AddTodoList(simulator.Adele, "Shopping")
	today := time.Now().UTC().Truncate(24 * time.Hour)
	plain := s.AddTask(simulator.Adele, "", simulator.Task{Title: "plain", Due: today, Steps: []simulator.TaskStep{{Name: "step"}}})
	weekly := s.AddTask(simulator.Adele, "", simulator.Task{Title: "weekly", Due: today, Created: time.Now().Add(time.Second), Recurrence: map[string]any{
		"pattern": map[string]any{"type": "weekly", "interval": 1.0, "daysOfWeek": []any{"saturday"}}, "range": map[string]any{"type": "noEnd", "startDate": today.Format(time.DateOnly)},
	}})
	done := s.AddTask(simulator.Adele, "", simulator.Task{Title: "done", Status: "completed"})
	return s, strings.NewReplacer("$plain", plain.ID, "$weekly", weekly.ID, "$done", done.ID, "$step", plain.Steps[0].ID).Replace
}

// picture returns what the lists hold, without ids and times that differ between runs.
func picture(s *simulator.Simulator) map[string][]string {
	p := map[string][]string{}
	for _, l := range s.TodoLists(simulator.Adele) {
		p[l.Name] = []string{}
		for _, t := range s.Tasks(simulator.Adele, l.ID) {
			text := fmt.Sprintf("%s %s due %s recurring %t completed %s", t.Title, t.Status, t.Due.Format(time.DateOnly), t.Recurrence != nil, t.Completed)
			for _, step := range t.Steps {
				text += fmt.Sprintf(" %s=%t", step.Name, step.Checked)
			}
			p[l.Name] = append(p[l.Name], text)
		}
	}
	return p
}

// An operation whose answer is lost at any step is done once, or in doubt and done at most once. No future occurrence is completed.
func TestLostAnswers(t *testing.T) {
	for recurring, o := range map[string]simulator.TodoOptions{"same id": {}, "new id": {Recurring: "new"}} {
		for _, c := range cases() {
			t.Run(recurring+" "+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, replace := world(o)
					time.Sleep(time.Hour)
					before := picture(s)
					plain := &lossy{next: s.Transport()}
					if r := newTarget(t, plain, s).execute(t.Context(), c.name, replace(c.request)); r.Error != nil {
						t.Fatalf("without a loss: %v", r.Error)
					}
					once := picture(s)
					if cmp.Equal(before, once) {
						t.Fatal("it does nothing")
					}
					inDoubt := 0
					for lose := 1; lose <= plain.n; lose++ {
						s, replace := world(o)
						time.Sleep(time.Hour)
						l := &lossy{next: s.Transport(), lose: lose}
						r := newTarget(t, l, s).execute(t.Context(), c.name, replace(c.request))
						switch {
						case r.Error != nil && r.Error.Code == services.InDoubt:
							inDoubt++
						case r.Error != nil:
							t.Errorf("loss of request %d: %v", lose, r.Error)
						}
						if diff := cmp.Diff(once, picture(s)); diff != "" {
							t.Errorf("loss of request %d (-once +got):\n%s", lose, diff)
						}
					}
					mayDoubt := c.name == "list_new" || c.name == "complete" && strings.Contains(c.request, "weekly") && o.Recurring == ""
					if inDoubt > 1 || inDoubt == 1 && !mayDoubt {
						t.Errorf("%d are in doubt", inDoubt)
					}
				})
			})
		}
	}
}

// A recurring task that nobody touched for long was not completed by an attempt without an answer.
func TestRepeatedCompletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, replace := world(simulator.TodoOptions{})
		time.Sleep(time.Hour)
		s.Fail(simulator.Fault{Method: "PATCH", Path: "/v1.0/", Status: 504})
		if r := newTarget(t, s.Transport(), s).execute(t.Context(), "complete", replace(`{"todo_id": "$weekly"}`)); r.Error != nil {
			t.Fatal(r.Error)
		}
		completed := 0
		for _, task := range s.Tasks(simulator.Adele, "") {
			if task.Title == "weekly" && task.Status == "completed" {
				completed++
			}
		}
		if completed != 1 {
			t.Errorf("%d occurrences are completed", completed)
		}
	})
}

// Each operation works with the permissions that it declares, and with none less.
func TestPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := append(cases(), struct{ name, request string }{"list", `{}`})
		for _, c := range requests {
			for _, op := range todo.Operations(todo.Target{List: "defaultList"}) {
				if op.Name != c.name {
					continue
				}
				scopes := graph.Scopes(op.Permissions)
				want := []string{"Tasks.ReadWrite"}
				if op.Reads {
					want = []string{"Tasks.Read"}
				}
				if diff := cmp.Diff(want, scopes); diff != "" {
					t.Errorf("%s: %s", c.name, diff)
				}
				for _, tt := range []struct {
					granted []string
					refused bool
				}{{append(scopes, "User.Read"), false}, {[]string{"User.Read", "Tasks.Read"}, !op.Reads}, {[]string{"User.Read", "Mail.ReadWrite"}, true}} {
					s, replace := world(simulator.TodoOptions{})
					request, err := services.Decode(op, []byte(replace(c.request)))
					if err != nil {
						t.Fatal(err)
					}
					_, err = request.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, tt.granted...), services.Attempt{ID: key, Now: time.Now().UTC()})
					if tt.refused && !graph.Is(err, graph.PermissionMissing) || !tt.refused && err != nil {
						t.Errorf("%s with %v: %v", c.name, tt.granted, err)
					}
				}
			}
		}
	})
}

// Every field arrives at Graph.
func TestFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, replace := world(simulator.TodoOptions{})
		g := newTarget(t, s.Transport(), s)
		loc := graphtest.Zone(t, "Europe/Berlin")
		run := func(name, request string) any {
			t.Helper()
			op, err := g.Operation(name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := services.Decode(op, []byte(replace(request)))
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Execute(t.Context(), g.graph, services.Attempt{ID: key, Now: time.Date(2000, 1, 1, 12, 0, 0, 0, loc)})
			if err != nil {
				t.Fatal(err)
			}
			return result
		}
		last := func() simulator.Task {
			all := s.Tasks(simulator.Adele, "")
			task := all[len(all)-1]
			task.ID, task.Created, task.Steps = "", time.Time{}, nil
			return task
		}
		run("new", `{"subject": "a", "description": "b", "due": "2000-07-01", "reminder": "2000-07-01 08:00", "importance": "HIGH", "categories": ["c", "d"], "recurrence": {"type": "weekly"}}`)
		want := simulator.Task{
			Title: "a", Body: "b", Status: "notStarted", Importance: "high", Categories: []string{"c", "d"}, Due: time.Date(2000, 7, 1, 0, 0, 0, 0, loc), Reminder: time.Date(2000, 7, 1, 8, 0, 0, 0, loc),
		}
		if diff := cmp.Diff(want, last(), cmpopts.IgnoreFields(simulator.Task{}, "Recurrence")); diff != "" {
			t.Error(diff)
		}
		if pattern := last().Recurrence["pattern"].(map[string]any); pattern["type"] != "weekly" || !cmp.Equal(pattern["daysOfWeek"], []any{"saturday"}) {
			t.Errorf("recurrence %v", pattern)
		}
		all := s.Tasks(simulator.Adele, "")
		id := all[len(all)-1].ID
		run("update", `{"todo_id": "`+id+`", "subject": "x", "description": "", "due": "2000-07-02T23:00:00-04:00", "remove_reminder": true, "importance": "low", "categories": [], "status": "deferred"}`)
		want = simulator.Task{Title: "x", Status: "deferred", Importance: "low", Due: time.Date(2000, 7, 3, 0, 0, 0, 0, loc)}
		if diff := cmp.Diff(want, last(), cmpopts.IgnoreFields(simulator.Task{}, "Recurrence")); diff != "" {
			t.Error(diff)
		}
		if last().Recurrence == nil {
			t.Error("the recurrence is gone")
		}
		run("update", `{"todo_id": "$plain", "remove_due": true}`)
		if due := s.Tasks(simulator.Adele, "")[0].Due; !due.IsZero() {
			t.Errorf("still due %s", due)
		}
	})
}

// What cannot work is refused before Graph is asked, with what is accepted.
func TestRefusals(t *testing.T) {
	for request, want := range map[string]string{
		`new {}`:               "subject is required",
		`new {"subject": " "}`: "subject: want a text that is not empty",
		`new {"subject": "` + strings.Repeat("x", 256) + `"}`:                              "subject: want at most 255 characters, not 256",
		`new {"subject": "a", "due": "soon"}`:                                              `due: want a date, such as 2026-12-01, not "soon"`,
		`new {"subject": "a", "reminder": "soon"}`:                                         `reminder: want a time with or without zone, such as 2026-01-01T12:00:00, not "soon"`,
		`new {"subject": "a", "importance": "urgent"}`:                                     `importance: want one of low, normal, high, not "urgent"`,
		`new {"subject": "a", "categories": ["a,b"]}`:                                      `categories: want names without commas, not "a,b"`,
		`new {"subject": "a", "recurrence": {"type": "daily"}}`:                            "recurrence: want due as well, the day on which it is due first",
		`update {"todo_id": "x"}`:                                                          "want a field to change: subject, description, due, reminder, importance, categories, recurrence, status, remove_due or remove_reminder",
		`update {"todo_id": "x", "due": "2000-01-01", "remove_due": true}`:                 "remove_due: not with due",
		`update {"todo_id": "x", "reminder": "2000-01-01T12:00", "remove_reminder": true}`: "remove_reminder: not with reminder",
		`update {"todo_id": "x", "recurrence": {"type": "daily"}, "remove_due": true}`:     "remove_due: not with recurrence, which repeats the due date",
		`update {"todo_id": "x", "status": "completed"}`:                                   `status: want one of notStarted, inProgress, waitingOnOthers, deferred, not "completed"`,
		`update {"todo_id": "x", "subject": ""}`:                                           "subject: want a text that is not empty",
		`delete {"todo_id": ""}`:                                                           "todo_id: want the id of a task, as in the list",
		`complete {"todo_id": ""}`:                                                         "todo_id: want the id of a task, as in the list",
		`reopen {}`:                                                                        "todo_id is required",
		`checklist_new {"todo_id": "x", "name": ""}`:                                       "name: want a text that is not empty",
		`checklist_update {"todo_id": "x", "checklist_item_id": "y"}`:                      "want a field to change: name or completed",
		`checklist_complete {"todo_id": "x", "checklist_item_id": ""}`:                     "checklist_item_id: want the id of a step, as in the list",
		`checklist_delete {"todo_id": "x"}`:                                                "checklist_item_id is required",
		`list {"limit": 0}`:                                                                "limit: want 1 to 500, not 0",
		`list_new {"name": ""}`:                                                            "name: want a text that is not empty",
		`list_rename {"list": "Tasks", "name": "x"}`:                                       `list: want a list that you created: "Tasks" is built in and cannot be renamed`,
		`list_delete {"list": "flaggedEmails"}`:                                            `list: want a list that you created: "Flagged Emails" is built in and cannot be deleted`,
		`list_delete {"list": "Nothing"}`:                                                  "find the task list: there is no task list Nothing; there are: Flagged Emails, Shopping, Tasks",
	} {
		synctest.Test(t, func(t *testing.T) {
			s, replace := world(simulator.TodoOptions{})
			before := picture(s)
			name, fields, _ := strings.Cut(request, " ")
			r := newTarget(t, s.Transport(), s).execute(t.Context(), name, replace(fields))
			if r.Error == nil || r.Error.Message != want {
				t.Errorf("%s: got %+v, want %s", request, r.Error, want)
			}
			if diff := cmp.Diff(before, picture(s)); diff != "" {
				t.Errorf("%s: %s", request, diff)
			}
		})
	}
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := world(simulator.TodoOptions{})
		g := newTarget(t, s.Transport(), s)
		for request, want := range map[string]string{
			`{}`:                   "plain weekly done true",
			`{"completed": false}`: "plain weekly true",
			`{"completed": true}`:  "done true",
			`{"limit": 1}`:         "plain false",
		} {
			r := g.execute(t.Context(), "list", request)
			if r.Error != nil {
				t.Fatal(r.Error)
			}
			todos := r.Data.(todo.Todos)
			var got []string
			for _, item := range todos.Todos {
				got = append(got, item["subject"].(string))
			}
			if got := strings.Join(append(got, fmt.Sprint(todos.Complete)), " "); got != want {
				t.Errorf("%s: got %s, want %s", request, got, want)
			}
		}
	})
}

// Pages of a list go on where the page before ended, whatever was completed or deleted meanwhile.
func TestPagesOfTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso()
		var ids []string
		for i := range 1200 {
			ids = append(ids, s.AddTask(simulator.Adele, "Tasks", simulator.Task{
				Title: fmt.Sprint(i), Body: strings.Repeat("x", 3000), Due: time.Now().Truncate(24*time.Hour).AddDate(0, 0, i/10),
			}).ID)
		}
		g := newTarget(t, s.Transport(), s)
		d := services.NewDispatcher(services.DispatcherOptions{Resolver: resolver{g}})
		seen := map[string]int{}
		pages := 0
		for cursor := ""; ; pages++ {
			request := fmt.Sprintf(`{"completed": false, "limit": 500, "cursor": %q}`, cursor)
			r := d.Execute(t.Context(), services.Inbound{Target: services.Ref{Account: "work", Sensor: "todo"}, Operation: "list", Payload: []byte(request), Received: time.Now()})
			if r.Error != nil {
				t.Fatal(r.Error)
			}
			if n := len(r.Encode()); n > 512<<10 {
				t.Errorf("a page of %d bytes", n)
			}
			todos := r.Data.(todo.Todos)
			for _, item := range todos.Todos {
				seen[item["todo_id"].(string)]++
			}
			if todos.Complete != (r.Cursor == "") || len(todos.Todos) == 0 {
				t.Fatalf("page %d: %d tasks, complete is %t, cursor %q", pages, len(todos.Todos), todos.Complete, r.Cursor)
			}
			if cursor = r.Cursor; cursor == "" {
				break
			}
			s.RemoveTask(simulator.Adele, ids[pages]) // which was listed
			last := todos.Todos[len(todos.Todos)-1]["todo_id"].(string)
			s.RemoveTask(simulator.Adele, last)
		}
		for i, id := range ids {
			if seen[id] != 1 {
				t.Errorf("task %d was listed %d times", i, seen[id])
			}
		}
		if pages < 3 {
			t.Errorf("%d pages", pages)
		}
	})
}

// In Santiago clocks are set forward at midnight: the 6th of September 2026 begins at 1:00.
func TestDueOnDayWithoutMidnight(t *testing.T) {
	s := contoso()
	g := newTarget(t, s.Transport(), s)
	g.loc = graphtest.Zone(t, "America/Santiago")
	if r := g.execute(t.Context(), "new", `{"subject": "x", "due": "2026-09-06"}`); r.Error != nil {
		t.Fatal(r.Error)
	}
	body := ""
	for _, r := range s.Requests() {
		body += string(r.Body)
	}
	if want := `"dueDateTime":{"dateTime":"2026-09-06T00:00:00.0000000","timeZone":"Pacific SA Standard Time"}`; !strings.Contains(body, want) {
		t.Errorf("sent %s, want %s", body, want)
	}
}
