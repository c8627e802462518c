package planner_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	client "github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/planner"
)

// contoso returns a simulator in which one task is assigned to Adele.
func contoso(t testing.TB) (*simulator.Simulator, simulator.PlannerTask) {
	t.Helper()
	s := simulator.Contoso(simulator.Options{})
	p := s.AddPlan(simulator.PlannerPlan{Title: "Move", Members: []string{simulator.Adele}})
	return s, s.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "Pack", Assigned: []string{simulator.Adele}})
}

func percent(s *simulator.Simulator) int { return s.PlannerTasks(simulator.Adele)[0].Percent }

// call executes a request with these scopes.
func call(t testing.TB, s *simulator.Simulator, name, request string, scopes ...string) (any, error) {
	t.Helper()
	for _, op := range planner.Operations() {
		if op.Name != name {
			continue
		}
		if scopes == nil {
			scopes = graph.Scopes(op.Permissions)
		}
		r, err := services.Decode(op, []byte(request))
		if err != nil {
			return nil, err
		}
		return r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, scopes...), services.Attempt{ID: "7f0c4c9e-3b0e-4f0b-8d2a-2a1c5d6e7f80", Now: time.Now()})
	}
	t.Fatalf("no operation %q", name)
	return nil, nil
}

func TestOperations(t *testing.T) {
	s, task := contoso(t)
	for _, tt := range []struct {
		name, fields string
		want         int
	}{{"progress", `, "percent": 50`, 50}, {"complete", "", 100}, {"complete", "", 100}, {"progress", `, "percent": 0`, 0}, {"progress", `, "percent": 100`, 100}} {
		result, err := call(t, s, tt.name, fmt.Sprintf(`{"task_id": %q%s}`, task.ID, tt.fields))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"task_id": task.ID, "percent": tt.want}, result.(client.Changed).Data()); diff != "" || percent(s) != tt.want {
			t.Errorf("%s%s: %s, %d percent", tt.name, tt.fields, diff, percent(s))
		}
	}
}

// Each operation needs exactly the permission that it requests.
func TestPermissions(t *testing.T) {
	for name, fields := range map[string]string{"complete": "", "progress": `, "percent": 50`} {
		s, task := contoso(t)
		request := fmt.Sprintf(`{"task_id": %q%s}`, task.ID, fields)
		for _, op := range planner.Operations() {
			if got := strings.Join(graph.Scopes(op.Permissions), " "); got != "Tasks.ReadWrite" {
				t.Errorf("%s requests %s", op.Name, got)
			}
		}
		for _, scopes := range [][]string{{"User.Read"}, {"Tasks.Read"}} {
			if _, err := call(t, s, name, request, scopes...); !graph.Is(err, graph.PermissionMissing) || percent(s) != 0 {
				t.Errorf("%s with %s: %v, %d percent", name, scopes, err, percent(s))
			}
		}
		if _, err := call(t, s, name, request, "Tasks.ReadWrite"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadInput(t *testing.T) {
	s, task := contoso(t)
	for request, want := range map[string]string{
		`complete {}`:                                 `task_id is required`,
		`complete {"task_id": ""}`:                    `task_id: want the id of a task, as in the list`,
		`complete {"task_id": 5}`:                     `task_id: want text, not 5`,
		`complete {"taskid": "x"}`:                    `task_id is required; taskid: unknown field; did you mean task_id? known fields: task_id`,
		`complete {"task_id": null}`:                  `task_id is required`,
		`progress {"task_id": "x"}`:                   `percent is required`,
		`progress {"task_id": "x", "percent": 101}`:   `percent: want at most 100, not 101`,
		`progress {"task_id": "x", "percent": -1}`:    `percent: want at least 0, not -1`,
		`progress {"task_id": "x", "percent": 50.5}`:  `percent: want a whole number, not 50.5`,
		`progress {"task_id": "x", "percent": "all"}`: `percent: want a whole number, not "all"`,
		`progress {"task_id": "", "percent": 5}`:      `task_id: want the id of a task, as in the list`,
	} {
		name, fields, _ := strings.Cut(request, " ")
		_, err := call(t, s, name, fields)
		if !graph.Is(err, graph.InvalidArgument) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", request, err, want)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := call(t, s, "complete", fmt.Sprintf(`{"task_id": %q}`, strings.Repeat("x", 28))); !graph.Is(err, graph.NotFound) {
		t.Errorf("got %v", err)
	}
	if task.Percent != percent(s) {
		t.Error("the task was changed")
	}
}
