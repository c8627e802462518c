package simulator_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// planned returns a client of Adele's and a plan of which she is a member.
func planned(t *testing.T, scopes ...string) (graphClient, simulator.PlannerPlan) {
	t.Helper()
	v := newGraphClient(t, scopes...)
	v.s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	return v, v.s.AddPlan(simulator.PlannerPlan{Title: "Move", Buckets: []string{"To do", "Doing"}, Members: []string{simulator.Adele}})
}

func TestPlanner(t *testing.T) {
	v, p := planned(t, "Tasks.Read")
	other := v.s.AddPlan(simulator.PlannerPlan{Title: "Secret", Buckets: []string{"All"}, Members: []string{simulator.Megan}})
	due := time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)
	task := v.s.AddPlannerTask(simulator.PlannerTask{
		Plan: p.ID, Bucket: "Doing", Title: "Pack", Percent: 50, Due: due, Priority: 3, Assigned: []string{simulator.Adele},
		Checklist: []simulator.PlannerChecklistItem{{Title: "Boxes", Checked: true}, {Title: "Labels"}},
	})
	foreign := v.s.AddPlannerTask(simulator.PlannerTask{Plan: other.ID, Title: "Check", Percent: 100, Assigned: []string{simulator.Adele, simulator.Megan}})
	unseen := v.s.AddPlannerTask(simulator.PlannerTask{Plan: other.ID, Title: "Hidden", Assigned: []string{simulator.Megan}})
	v.s.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "Not mine"})

	tasks := v.want(200, "GET", "/me/planner/tasks", "")
	if diff := cmp.Diff([]string{"Pack", "Check"}, values(tasks, "title")); diff != "" {
		t.Error(diff)
	}
	got := tasks["value"].([]any)[0].(map[string]any)
	for name, want := range map[string]any{
		"id": task.ID, "planId": p.ID, "percentComplete": 50.0, "dueDateTime": "2026-01-15T10:00:00Z", "priority": 3.0, "checklistItemCount": 2.0, "activeChecklistItemCount": 1.0,
		"completedDateTime": nil,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if len(task.ID) != 28 || !strings.HasPrefix(fmt.Sprint(got["@odata.etag"]), `W/"JzEtVGFzayAg`) {
		t.Errorf("id %s, etag %v", task.ID, got["@odata.etag"])
	}
	if diff := cmp.Diff([]string{"@odata.etag", "title"}, keys(v.want(200, "GET", "/me/planner/tasks?$select=title", "")["value"].([]any)[0])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Move"}, values(v.want(200, "GET", "/me/planner/plans", ""), "title")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"To do", "Doing"}, values(v.want(200, "GET", "/planner/plans/"+p.ID+"/buckets", ""), "name")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Pack", "Not mine"}, values(v.want(200, "GET", "/planner/plans/"+p.ID+"/tasks", ""), "title")); diff != "" {
		t.Error(diff)
	}
	if got := v.want(200, "GET", "/planner/plans/"+p.ID, "")["title"]; got != "Move" {
		t.Errorf("got %v", got)
	}
	var items []string
	for _, item := range v.want(200, "GET", "/planner/tasks/"+task.ID+"/details", "")["checklist"].(map[string]any) {
		item := item.(map[string]any)
		items = append(items, fmt.Sprint(item["title"], item["isChecked"]))
	}
	slices.Sort(items)
	if diff := cmp.Diff([]string{"Boxestrue", "Labelsfalse"}, items); diff != "" {
		t.Error(diff)
	}
	v.want(200, "GET", "/planner/tasks/"+foreign.ID, "")
	for path, status := range map[string]int{
		"/planner/plans/" + other.ID: 403, "/planner/plans/" + other.ID + "/buckets": 403, "/planner/tasks/" + unseen.ID: 403, "/planner/tasks/x": 400,
		"/planner/tasks/" + strings.Repeat("x", 28): 404, "/planner/plans/" + strings.Repeat("x", 28): 403,
	} {
		v.refused(status, "", "GET", path, "")
	}
}

func keys(v any) []string {
	var all []string
	for key := range v.(map[string]any) {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

func TestPlannerPages(t *testing.T) {
	v, p := planned(t, "Tasks.Read")
	for i := range 401 {
		v.s.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: fmt.Sprint(i), Assigned: []string{simulator.Adele}})
	}
	first := v.want(200, "GET", "/me/planner/tasks?$select=title", "")
	second := v.want(200, "GET", relative(t, v, first, "@odata.nextLink"), "")
	if a, b := len(first["value"].([]any)), values(second, "title"); a != 400 || !slices.Equal(b, []string{"400"}) || second["@odata.nextLink"] != nil {
		t.Errorf("%d tasks, then %v", a, b)
	}
}

// A change names the version it is based on. Versions that are too old contradict later changes of the same property only.
func TestPlannerVersions(t *testing.T) {
	v, p := planned(t, "Tasks.ReadWrite")
	task := v.s.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "Pack", Assigned: []string{simulator.Adele}, Checklist: []simulator.PlannerChecklistItem{{Title: "a"}}})
	path := "/planner/tasks/" + task.ID
	etag := func() string { return v.want(200, "GET", path, "")["@odata.etag"].(string) }
	first := etag()
	v.refused(412, "", "PATCH", path, `{"percentComplete": 10}`)
	v.refused(412, "", "PATCH", path, `{"percentComplete": 10}`, "If-Match", `W/"x"`)
	changed := v.want(200, "PATCH", path, `{"percentComplete": 10}`, "If-Match", first, "Prefer", "return=representation")
	if changed["percentComplete"] != 10.0 || changed["@odata.etag"] == first || changed["@odata.etag"] != etag() {
		t.Errorf("%v", changed)
	}
	v.refused(409, "", "PATCH", path, `{"percentComplete": 20}`, "If-Match", first)
	v.want(204, "PATCH", path, `{"title": "Pack all", "dueDateTime": "2026-01-15T10:00:00Z", "priority": 1}`, "If-Match", first)
	v.refused(400, "BadRequest", "PATCH", path, `{"percentComplete": 101}`, "If-Match", etag())
	v.refused(400, "BadRequest", "PATCH", path, `{"percent": 1}`, "If-Match", etag())
	v.want(204, "PATCH", path, `{"percentComplete": 100}`, "If-Match", etag())
	if got := v.want(200, "GET", path, ""); got["completedDateTime"] == nil || got["title"] != "Pack all" || got["priority"] != 1.0 || got["dueDateTime"] != "2026-01-15T10:00:00Z" {
		t.Errorf("%v", got)
	}
	last := etag()
	details := func() any { return v.want(200, "GET", path+"/details", "")["@odata.etag"] }
	before := details()
	v.s.ChangePlannerTask(task.ID, func(t *simulator.PlannerTask) { t.Checklist[0].Title = "b" })
	if etag() != last || details() == before {
		t.Error("the text of a checklist item belongs to the details alone")
	}
	v.s.ChangePlannerTask(task.ID, func(t *simulator.PlannerTask) { t.Checklist[0].Checked = true })
	if etag() == last {
		t.Error("the counts of the checklist belong to the task")
	}
	v.s.RemovePlannerTask(task.ID)
	v.refused(404, "", "GET", path, "")
}

// Each request needs exactly the permissions of Microsoft's table, and a work account.
func TestPlannerPermissions(t *testing.T) {
	v, p := planned(t)
	task := v.s.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "Pack", Assigned: []string{simulator.Adele}})
	for _, r := range []struct {
		method, path string
		scopes       []string
	}{
		{"GET", "/me/planner/tasks", []string{"Tasks.Read", "Tasks.ReadWrite"}},
		{"GET", "/me/planner/plans", []string{"Tasks.Read", "Tasks.ReadWrite"}},
		{"GET", "/planner/plans/" + p.ID, []string{"Tasks.Read", "Tasks.ReadWrite"}},
		{"GET", "/planner/plans/" + p.ID + "/buckets", []string{"Tasks.Read", "Tasks.ReadWrite"}},
		{"GET", "/planner/tasks/" + task.ID, []string{"Tasks.Read", "Tasks.ReadWrite"}},
		{"GET", "/planner/tasks/" + task.ID + "/details", []string{"Tasks.Read", "Tasks.ReadWrite"}},
		{"PATCH", "/planner/tasks/" + task.ID, []string{"Tasks.ReadWrite"}},
	} {
		for _, scope := range []string{"User.Read", "Tasks.Read", "Tasks.ReadWrite", "Mail.ReadWrite", "Calendars.ReadWrite"} {
			v.token = v.s.Token(simulator.Adele, scope)
			resp, _ := v.do(r.method, r.path, `{"percentComplete": 1}`)
			if granted := resp.StatusCode != http.StatusForbidden; granted != slices.Contains(r.scopes, scope) {
				t.Errorf("%s %s with %s: %s", r.method, r.path, scope, resp.Status)
			}
		}
	}
	v.s.AddUser(simulator.User{Address: "ann@outlook.example", Personal: true})
	v.token = v.s.Token("ann@outlook.example", "Tasks.ReadWrite")
	v.refused(403, "Forbidden", "GET", "/me/planner/tasks", "")
}

func TestPlannerControl(t *testing.T) {
	v := newColleaguesClient(t)
	plan := v.control(200, "POST", "/planner/plans", `{"title": "Garden", "buckets": ["Now"], "members": ["adele@contoso.example"]}`)
	id := plan["id"].(string)
	task := v.control(200, "POST", "/planner/tasks", `{"plan": "Garden", "bucket": "Now", "title": "Water", "percent": 0, "priority": 5, "assigned": ["adele@contoso.example"], "due": "2026-01-15T10:00:00Z"}`)
	path := "/planner/tasks/" + task["id"].(string)
	if got := v.control(200, "PATCH", path, `{"percent": 50, "checklist": [{"title": "Can", "checked": true}]}`); got["percent"] != 50.0 || got["title"] != "Water" || got["plan"] != id {
		t.Errorf("%v", got)
	}
	if got := v.control(200, "PATCH", "/planner/plans/"+id, `{"title": "Yard"}`); got["title"] != "Yard" || len(got["members"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	if got := values(v.control(200, "GET", "/planner/plans", ""), "title"); !slices.Equal(got, []string{"Office move", "Yard"}) {
		t.Errorf("%v", got)
	}
	if got := values(v.control(200, "GET", "/users/adele@contoso.example/plannerTasks", ""), "title"); !slices.Equal(got, []string{"Order the desks", "Pack the archive", "Water"}) {
		t.Errorf("%v", got)
	}
	for _, wrong := range []struct {
		status             int
		method, path, body string
		want               string
	}{
		{400, "POST", "/planner/plans", `{"title": ""}`, "title is required"},
		{400, "POST", "/planner/plans", `{"id": "x", "title": "a"}`, "id: the simulator gives the ids"},
		{404, "POST", "/planner/plans", `{"title": "a", "members": ["x@contoso.example"]}`, `no user "x@contoso.example"`},
		{404, "POST", "/planner/tasks", `{"plan": "none", "title": "a"}`, `no plan "none", or several`},
		{400, "POST", "/planner/tasks", `{"plan": "Yard", "title": "a", "percent": 101}`, "percent: want 0 to 100, not 101"},
		{400, "POST", "/planner/tasks", `{"plan": "Yard", "title": "a", "priority": 11}`, "priority: want 0 to 10, not 11"},
		{400, "POST", "/planner/tasks", `{"plan": "Yard", "title": "a", "bucket": "Later"}`, `bucket: want one of Now, not "Later"`},
		{400, "POST", "/planner/tasks", `{"id": "x", "plan": "Yard", "title": "a"}`, "id: the simulator gives the ids"},
		{400, "PATCH", path, `{"title": ""}`, "title is required"},
		{400, "PATCH", path, `{"plan": "x"}`, `unknown field "plan"; known fields: assigned, bucket, checklist, due, percent, priority, title`},
		{404, "DELETE", "/planner/tasks/x", "", `no task "x"`},
	} {
		if got := v.control(wrong.status, wrong.method, wrong.path, wrong.body)["error"]; got != wrong.want {
			t.Errorf("%s %s %s: %v", wrong.method, wrong.path, wrong.body, got)
		}
	}
	v.control(204, "DELETE", path, "")
}
