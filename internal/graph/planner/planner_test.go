package planner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func contoso(t testing.TB) (*simulator.Simulator, *graph.Client, simulator.PlannerPlan) {
	t.Helper()
	s := simulator.Contoso(simulator.Options{})
	p := s.AddPlan(simulator.PlannerPlan{Title: "Move", Buckets: []string{"To do", "Doing"}, Members: []string{simulator.Adele}})
	return s, graphtest.Client(t, s, simulator.Adele, "Tasks.ReadWrite"), p
}

func add(s *simulator.Simulator, plan, title string, change ...func(*simulator.PlannerTask)) simulator.PlannerTask {
	task := simulator.PlannerTask{Plan: plan, Title: title, Priority: 5, Assigned: []string{simulator.Adele}}
	for _, f := range change {
		f(&task)
	}
	return s.AddPlannerTask(task)
}

func TestTasks(t *testing.T) {
	s, g, p := contoso(t)
	late := time.Date(2026, 1, 15, 23, 30, 0, 0, time.FixedZone("", -5*3600)) // the 16th in UTC
	a := add(s, p.ID, "Pack", func(t *simulator.PlannerTask) {
		t.Bucket, t.Percent, t.Due, t.Priority = "Doing", 50, late, 1
		t.Checklist = []simulator.PlannerChecklistItem{{Title: "Boxes", Checked: true}, {Title: "Labels"}, {Title: "Tape"}}
	})
	b := add(s, p.ID, "Done", func(t *simulator.PlannerTask) { t.Percent = 100 })
	tasks, err := planner.Tasks(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	buckets, err := planner.Buckets(t.Context(), g, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	one, five := 1, 5
	want := []planner.Task{
		{ID: a.ID, Title: "Pack", PlanID: p.ID, Percent: 50, Due: "2026-01-16", Priority: &one, Items: 3, Active: 2},
		{ID: b.ID, Title: "Done", PlanID: p.ID, Percent: 100, Priority: &five},
	}
	slices.SortFunc(tasks, func(a, b planner.Task) int { return b.Percent - a.Percent })
	slices.Reverse(tasks)
	for i := range tasks {
		if tasks[i].ETag == "" {
			t.Errorf("%s has no version", tasks[i].Title)
		}
		if i == 0 && buckets[tasks[i].BucketID] != "Doing" {
			t.Errorf("bucket %q of %v", tasks[i].BucketID, buckets)
		}
		tasks[i].ETag, tasks[i].BucketID = "", ""
	}
	if diff := cmp.Diff(want, tasks); diff != "" {
		t.Error(diff)
	}
	items, err := planner.Checklist(t.Context(), g, a.ID)
	if diff := cmp.Diff([]planner.Item{{Title: "Boxes", Checked: true}, {Title: "Labels"}, {Title: "Tape"}}, items); diff != "" || err != nil {
		t.Error(diff, err)
	}
	plans, err := planner.Plans(t.Context(), g)
	if diff := cmp.Diff([]planner.Plan{{ID: p.ID, Title: "Move"}}, plans); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAllPages(t *testing.T) {
	s, g, p := contoso(t)
	for i := range 500 {
		add(s, p.ID, fmt.Sprint(i))
	}
	tasks, err := planner.Tasks(t.Context(), g)
	if err != nil || len(tasks) != 500 || !slices.ContainsFunc(tasks, func(t planner.Task) bool { return t.Title == "499" }) {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
	if n := s.Count("GET", "/v1.0/me/planner/tasks"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestPriorities(t *testing.T) {
	labels := map[string]string{}
	for i := -1; i <= 11; i++ {
		label := planner.Task{Priority: &i}.PriorityLabel()
		labels[label] += fmt.Sprintf("%d ", i)
	}
	want := map[string]string{"": "-1 11 ", "urgent": "0 1 ", "important": "2 3 4 ", "medium": "5 6 7 ", "low": "8 9 10 "}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Error(diff)
	}
	if got := (planner.Task{}).PriorityLabel(); got != "" {
		t.Errorf("without a priority: %q", got)
	}
}

// What Graph leaves out is unknown; it does not fail the list.
func TestDamagedAnswers(t *testing.T) {
	s, g, p := contoso(t)
	add(s, p.ID, "Pack", func(t *simulator.PlannerTask) { t.Due = time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC) })
	var body []byte
	s.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Change: func(page map[string]any) {
		delete(page, "@odata.context")
		body, _ = json.Marshal(page)
	}})
	if _, err := planner.Tasks(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	failed := 0
	graphtest.Damaged(t, body, func(name string, document []byte) {
		text := string(document)
		s.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Body: &text})
		tasks, err := planner.Tasks(t.Context(), g)
		needed := strings.HasPrefix(name, ".value is") || name == ".value[0].id is null" || name == ".value[0].id is missing"
		if (err != nil) != needed {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			failed++
		} else if len(tasks) != 1 {
			t.Errorf("%s: %d tasks", name, len(tasks))
		}
	})
	if failed == 0 {
		t.Error("nothing was damaged")
	}
}

// A value of a wrong type is unknown. It fails neither its task nor the others.
func TestWrongTypes(t *testing.T) {
	s, g, p := contoso(t)
	due := time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	add(s, p.ID, "First")
	add(s, p.ID, "Pack", func(t *simulator.PlannerTask) { t.Due, t.Percent = due, 50 })
	for field, check := range map[string]func(planner.Task) bool{
		"title":                    func(t planner.Task) bool { return t.Title == "" && t.Due == "2026-01-15" },
		"planId":                   func(t planner.Task) bool { return t.PlanID == "" && t.Title == "Pack" },
		"percentComplete":          func(t planner.Task) bool { return t.Percent == 0 && t.Title == "Pack" },
		"dueDateTime":              func(t planner.Task) bool { return t.Due == "" && t.Percent == 50 },
		"priority":                 func(t planner.Task) bool { return t.Priority == nil && t.Percent == 50 },
		"checklistItemCount":       func(t planner.Task) bool { return t.Items == 0 && t.Percent == 50 },
		"activeChecklistItemCount": func(t planner.Task) bool { return t.Active == 0 && t.Percent == 50 },
	} {
		for _, wrong := range []any{map[string]any{}, []any{1}, true} {
			s.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Change: func(page map[string]any) {
				for _, task := range page["value"].([]any) {
					if task := task.(map[string]any); task["percentComplete"] == 50 || task["percentComplete"] == 50.0 {
						task[field] = wrong
					}
				}
			}})
			tasks, err := planner.Tasks(t.Context(), g)
			if err != nil || len(tasks) != 2 || !slices.ContainsFunc(tasks, func(t planner.Task) bool { return t.Title == "First" && t.Priority != nil }) || !slices.ContainsFunc(tasks, check) {
				t.Errorf("%s is %v: %+v, %v", field, wrong, tasks, err)
			}
		}
	}
}

// A page that repeats a task, because the list changed while it was read, does not repeat it for the caller.
func TestRepeatedTasks(t *testing.T) {
	s, g, p := contoso(t)
	add(s, p.ID, "a")
	s.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Change: func(page map[string]any) {
		all := page["value"].([]any)
		page["value"] = append(all, all...)
	}})
	if tasks, err := planner.Tasks(t.Context(), g); err != nil || len(tasks) != 1 {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
}

func TestUnavailable(t *testing.T) {
	s, g, _ := contoso(t)
	for _, status := range []int{403, 404} {
		s.Fail(simulator.Fault{Path: "/v1.0/me/planner/tasks", Status: status, Code: "UnknownError"})
		want := fmt.Sprintf("read the tasks: Microsoft Planner refuses; does your account have a license for it? (Graph answered %d UnknownError)", status)
		if _, err := planner.Tasks(t.Context(), g); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The permission is also that of To Do, which personal accounts have.
func TestPersonalAccount(t *testing.T) {
	s := simulator.ContosoWithColleagues(simulator.Options{})
	g := graphtest.Client(t, s, simulator.Ann, "Tasks.ReadWrite")
	_, listing := planner.Tasks(t.Context(), g)
	_, plans := planner.Plans(t.Context(), g)
	_, writing := planner.SetPercent(t.Context(), g, strings.Repeat("x", 28), 50, false)
	for _, err := range []error{listing, plans, writing} {
		if err == nil || !strings.Contains(err.Error(), "a personal Microsoft account has no Planner") {
			t.Errorf("got %v", err)
		}
	}
}

func TestSetPercent(t *testing.T) {
	s, g, p := contoso(t)
	task := add(s, p.ID, "Pack")
	percent := func() int { return s.PlannerTasks(simulator.Adele)[0].Percent }
	c, err := planner.SetPercent(t.Context(), g, task.ID, 40, false)
	if err != nil || percent() != 40 || c.Percent != 40 || !c.Own || c.Replaced == "" || c.ETag == c.Replaced || c.Title != "Pack" {
		t.Errorf("got %+v, %v", c, err)
	}
	s.ForgetRequests()
	for _, repeated := range []bool{false, true} { // it has it already
		c, err = planner.SetPercent(t.Context(), g, task.ID, 40, repeated)
		if err != nil || c.Own != repeated || c.Replaced != "" {
			t.Errorf("got %+v, %v", c, err)
		}
	}
	if n := s.Count("PATCH", ""); n != 0 {
		t.Errorf("%d writes", n)
	}
	// Planner need not return the task.
	empty := ""
	s.Fail(simulator.Fault{Method: "PATCH", Body: &empty})
	if c, err = planner.SetPercent(t.Context(), g, task.ID, 60, false); err != nil || c.Percent != 60 || c.Title != "Pack" || !c.Own {
		t.Errorf("got %+v, %v", c, err)
	}
	s.Fail(simulator.Fault{Method: "GET", Change: func(body map[string]any) { delete(body, "@odata.etag") }})
	if _, err = planner.SetPercent(t.Context(), g, task.ID, 70, false); err == nil || err.Error() != "set the progress of the task: the answer has no version of the task" {
		t.Errorf("got %v", err)
	}
}

// A change by somebody else is read and the own one repeated once.
func TestConflicts(t *testing.T) {
	for _, status := range []int{http.StatusConflict, http.StatusPreconditionFailed} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s, g, p := contoso(t)
			task := add(s, p.ID, "Pack")
			s.Fail(simulator.Fault{Method: "PATCH", Status: status})
			if _, err := planner.SetPercent(t.Context(), g, task.ID, 40, false); err != nil {
				t.Error(err)
			}
			if reads, writes := s.Count("GET", "/v1.0/planner/tasks"), s.Count("PATCH", ""); reads != 2 || writes != 2 {
				t.Errorf("%d reads, %d writes", reads, writes)
			}
			s.ForgetRequests()
			s.Fail(simulator.Fault{Method: "PATCH", Status: status, Times: 2})
			_, err := planner.SetPercent(t.Context(), g, task.ID, 60, false)
			if !graph.Is(err, graph.Conflict) || !strings.Contains(err.Error(), "somebody else changed the task at the same time") {
				t.Errorf("got %v", err)
			}
			if reads, writes := s.Count("GET", "/v1.0/planner/tasks"), s.Count("PATCH", ""); reads != 2 || writes != 2 {
				t.Errorf("%d reads, %d writes", reads, writes)
			}
		})
	}
}

// A real conflict: somebody else sets the progress between the reading and the writing.
func TestRace(t *testing.T) {
	s, g, p := contoso(t)
	task := add(s, p.ID, "Pack")
	raced := false
	s.OnRequest(func(r simulator.Request) {
		if r.Method == http.MethodGet && !raced {
			raced = true
			s.ChangePlannerTask(task.ID, func(t *simulator.PlannerTask) { t.Percent = 10 })
		}
	})
	if _, err := planner.SetPercent(t.Context(), g, task.ID, 40, false); err != nil {
		t.Fatal(err)
	}
	if got := s.PlannerTasks(simulator.Adele)[0].Percent; got != 40 || !raced {
		t.Errorf("%d percent, raced: %t", got, raced)
	}
}

func TestRefusedTasks(t *testing.T) {
	s, g, p := contoso(t)
	task := add(s, p.ID, "Pack")
	other := s.AddPlan(simulator.PlannerPlan{Title: "Secret"})
	hidden := s.AddPlannerTask(simulator.PlannerTask{Plan: other.ID, Title: "x"})
	for id, want := range map[string]string{
		"x":                     "read the task: there is no such task (Graph answered 400)",
		"a/b?c":                 "read the task: there is no such task (Graph answered 400)",
		strings.Repeat("x", 28): "read the task: there is no such task (Graph answered 404)",
		hidden.ID:               "read the task: there is no such task, or you have no access to it (Graph answered 403)",
	} {
		_, err := planner.SetPercent(t.Context(), g, id, 1, false)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", id, err, want)
		}
		if id != hidden.ID && !graph.Is(err, graph.NotFound) {
			t.Errorf("%s: %v is not not_found", id, err)
		}
	}
	s.Fail(simulator.Fault{Method: "PATCH", Status: 403, Code: "MaximumActiveTasksInProject"})
	want := "set the progress of the task: you may not change this task (Graph answered 403 MaximumActiveTasksInProject)"
	if _, err := planner.SetPercent(t.Context(), g, task.ID, 1, false); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Whatever breaks, the next attempt finds out what happened, and nothing is written twice.
func TestLostAnswers(t *testing.T) {
	for _, method := range []string{"GET", "PATCH"} {
		for name, fault := range map[string]simulator.Fault{
			"504 after the effect": {Status: 504, Done: true}, "reset after the effect": {Reset: true, Done: true},
			"504 without effect": {Status: 504}, "reset without effect": {Reset: true},
		} {
			t.Run(method+" "+name, func(t *testing.T) {
				s, g, p := contoso(t)
				task := add(s, p.ID, "Pack")
				versions := s.PlannerVersions(task.ID)
				fault.Method, fault.Path = method, "/v1.0/planner/tasks/"
				s.Fail(fault)
				_, err := planner.SetPercent(t.Context(), g, task.ID, 100, false)
				var e *graph.Error
				if !errors.As(err, &e) || !e.Transient() || e.OutcomeUnknown != (method == "PATCH") {
					t.Fatalf("got %v", err)
				}
				c, err := planner.SetPercent(t.Context(), g, task.ID, 100, e.OutcomeUnknown)
				if err != nil || !c.Own || c.Percent != 100 {
					t.Errorf("got %+v, %v", c, err)
				}
				if n := s.PlannerVersions(task.ID) - versions; n != 1 {
					t.Errorf("it was changed %d times", n)
				}
			})
		}
	}
}

func TestCanceled(t *testing.T) {
	s, g, p := contoso(t)
	task := add(s, p.ID, "Pack")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := planner.SetPercent(ctx, g, task.ID, 100, false); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
