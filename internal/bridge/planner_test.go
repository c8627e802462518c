package bridge_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// startPlanner starts a bridge with one task that is assigned to Adele. No poll comes sooner than pause after an operation: one that comes
// between a request's effect and its response takes the effect for another user's.
func startPlanner(t *testing.T, pause time.Duration) (*harness, simulator.PlannerTask) {
	t.Helper()
	h := newHarness(t)
	h.pause = pause
	p := h.Microsoft.AddPlan(simulator.PlannerPlan{Title: "Move", Members: []string{simulator.Adele}})
	task := h.Microsoft.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "Pack", Assigned: []string{simulator.Adele}})
	h.one("enable_update: true", "planner: {type: planner}")
	h.SignIn("work")
	h.Start()
	h.Values("graph2mqtt/work/planner/state", map[string]any{"open": 1, "overdue": 0, "next_due": nil})
	h.Shows("graph2mqtt/work/planner/commands", "online")
	return h, task
}

// requestPlanner requests an operation and returns the code of its response; "" if it succeeded.
func (h *harness) requestPlanner(operation, request string) string {
	h.t.Helper()
	mark := h.mark()
	h.Publish("graph2mqtt/work/planner/request/"+operation, request)
	response := h.Next(mark, "graph2mqtt/work/planner/response/"+operation, func(string) bool { return true })
	var r struct{ Error struct{ Code string } }
	if err := json.Unmarshal([]byte(response), &r); err != nil {
		h.t.Fatalf("response %s: %v", response, err)
	}
	return r.Error.Code
}

func TestPlannerOverMQTT(t *testing.T) {
	t.Parallel()
	h, task := startPlanner(t, sensors.DefaultPause)
	announced := h.Holds("homeassistant/device/graph2mqtt-work-planner/config", func(p string) bool { return p != "" })
	for _, err := range mqtttest.Check("homeassistant/device/graph2mqtt-work-planner/config", []byte(announced), "2025.4") {
		t.Error(err)
	}
	mark := h.mark()
	if code := h.requestPlanner("progress", fmt.Sprintf(`{"task_id": %q, "percent": 40}`, task.ID)); code != "" {
		t.Errorf("refused: %s", code)
	}
	h.Next(mark, "graph2mqtt/work/planner/event", func(p string) bool {
		return includes(p, map[string]any{"event_type": "task_changed", "task_id": task.ID, "percent": 40, "own": true})
	})
	mark = h.mark()
	for range 2 { // the second changes nothing
		if code := h.requestPlanner("complete", fmt.Sprintf(`{"task_id": %q}`, task.ID)); code != "" {
			t.Errorf("refused: %s", code)
		}
	}
	h.Values("graph2mqtt/work/planner/state", map[string]any{"open": 0})
	polls := h.Microsoft.Count("GET", "/v1.0/me/planner/tasks")
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Next(mark, "graph2mqtt/work/response/refresh", func(string) bool { return true })
	h.Microsoft.AddPlannerTask(simulator.PlannerTask{Plan: task.Plan, Title: "Unpack", Assigned: []string{simulator.Adele}})
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Next(mark, "graph2mqtt/work/planner/event", func(p string) bool { return includes(p, map[string]any{"event_type": "task_assigned", "own": false}) })
	if h.Microsoft.Count("GET", "/v1.0/me/planner/tasks") == polls {
		t.Error("it was not polled")
	}
	var fired []string
	for _, m := range h.since(mark) {
		if m.Topic == "graph2mqtt/work/planner/event" {
			fired = append(fired, m.Payload)
		}
	}
	if len(fired) != 2 || !includes(fired[0], map[string]any{"event_type": "task_completed", "own": true}) {
		t.Errorf("events: %s", fired)
	}
	for request, want := range map[string]string{
		`complete {}`: "invalid_argument",
		`complete {"task_id": "` + strings.Repeat("x", 28) + `"}`:        "not_found",
		fmt.Sprintf(`progress {"task_id": %q, "percent": 101}`, task.ID): "invalid_argument",
	} {
		operation, fields, _ := strings.Cut(request, " ")
		if code := h.requestPlanner(operation, fields); code != want {
			t.Errorf("%s: %q, want %s", request, code, want)
		}
	}
}

// Whatever is lost at whatever step, a request takes effect once, and its response says so.
func TestPlannerIsWrittenOnce(t *testing.T) {
	t.Parallel()
	h, task := startPlanner(t, time.Hour) // a request is repeated for an unknown time
	path := "/v1.0/planner/tasks/" + task.ID
	for i, fault := range []simulator.Fault{
		{Method: "GET", Status: 504}, {Method: "GET", Reset: true}, {Method: "GET", Truncate: 20},
		{Method: "PATCH", Status: 504}, {Method: "PATCH", Status: 504, Done: true}, {Method: "PATCH", Reset: true}, {Method: "PATCH", Reset: true, Done: true}, {Method: "PATCH", Truncate: 20},
		{Method: "PATCH", Status: 409}, {Method: "PATCH", Status: 412},
	} {
		mark, percent := h.mark(), 10+i
		operation, fields := "progress", fmt.Sprintf(`{"task_id": %q, "percent": %d}`, task.ID, percent)
		if i%2 == 1 {
			h.Microsoft.ChangePlannerTask(task.ID, func(t *simulator.PlannerTask) { t.Percent = 0 })
			operation, fields, percent = "complete", fmt.Sprintf(`{"task_id": %q}`, task.ID), 100
		}
		fault.Path = path
		versions := h.Microsoft.PlannerVersions(task.ID)
		h.Microsoft.Fail(fault)
		if code := h.requestPlanner(operation, fields); code != "" {
			t.Errorf("%+v: %s", fault, code)
		}
		if n := h.Microsoft.PlannerVersions(task.ID) - versions; n != 1 || h.Microsoft.PlannerTasks(simulator.Adele)[0].Percent != percent {
			t.Errorf("%+v: it was changed %d times", fault, n)
		}
		if len(h.Microsoft.Faults()) > 0 {
			t.Errorf("%+v: no request was affected", fault)
		}
		h.Next(mark, "graph2mqtt/work/planner/event", func(p string) bool { return includes(p, map[string]any{"percent": percent, "own": true}) })
	}
	h.Microsoft.Fail(simulator.Fault{Method: "PATCH", Path: path, Status: 412, Times: 2})
	if code := h.requestPlanner("progress", fmt.Sprintf(`{"task_id": %q, "percent": 77}`, task.ID)); code != "conflict" {
		t.Errorf("a lasting conflict: %q", code)
	}
}

func TestPlannerNeedsAnOrganization(t *testing.T) {
	h := newHarness(t)
	h.one("tenant: consumers", "planner: {type: planner}")
	_, err := runtime.Load(config.Sources{File: h.path("graph2mqtt.yaml")}, runtime.Kinds())
	if want := "planner is for work and school accounts: the tenant consumers has personal ones only"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
