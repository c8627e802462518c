//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const plannerTopic = "graph2mqtt/work/planner/"

// TestPlanner shows tasks of Planner in Home Assistant, and completes them from there.
func TestPlanner(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := startEnvironment(t, ha, MosquittoOptions{Persistent: true}, "planner: {type: planner, interval: 5s}")
		const open, overdue, next = "sensor.work_planner_open", "sensor.work_planner_overdue", "sensor.work_planner_next_due"
		ha.AwaitState(t, open, "0")
		ha.AwaitState(t, next, "unknown")
		fired := func(what string, data map[string]any) {
			t.Helper()
			ha.Changes.AwaitItem(t, what+" on the event entity", 0, func(c Change) bool {
				if c.EntityID != "event.work_planner_event" || c.New == nil {
					return false
				}
				for key, want := range data {
					if c.New.Attributes[key] != want {
						return false
					}
				}
				return true
			})
		}

		// A task that was due a week ago, and one that is due in a week: whatever the zones, one is overdue.
		now := time.Now()
		p := env.Microsoft.AddPlan(simulator.PlannerPlan{Title: `Müller "Move" {{ 1 + 1 }}`, Buckets: []string{"To do"}, Members: []string{simulator.Adele}})
		late := env.Microsoft.AddPlannerTask(simulator.PlannerTask{
			Plan: p.ID, Bucket: "To do", Title: "Pack", Due: now.AddDate(0, 0, -7), Priority: 1, Assigned: []string{simulator.Adele},
			Checklist: []simulator.PlannerChecklistItem{{Title: "Boxes", Checked: true}, {Title: "Labels"}},
		})
		soon := env.Microsoft.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "Unpack", Due: now.AddDate(0, 0, 7), Priority: 5, Assigned: []string{simulator.Adele}})
		ha.AwaitState(t, open, "2")
		ha.AwaitState(t, overdue, "1")
		ha.AwaitState(t, next, now.AddDate(0, 0, 7).UTC().Format(time.DateOnly))
		ha.AwaitEntity(t, open, "has the list", func(s State) bool {
			data, _ := s.Attributes["data"].([]any)
			if len(data) != 2 {
				return false
			}
			first, _ := data[0].(map[string]any)
			checklist, _ := first["checklist"].([]any)
			return first["title"] == "Pack" && first["task_id"] == late.ID && first["plan"] == p.Title && first["bucket"] == "To do" && first["priority"] == "urgent" &&
				first["due"] == now.AddDate(0, 0, -7).UTC().Format(time.DateOnly) && len(checklist) == 2
		})
		fired("task_assigned", map[string]any{"event_type": "task_assigned", "task_id": late.ID, "own": false})

		// Complete the task the way an automation does.
		responses := env.Broker.Subscribe(t, plannerTopic+"response/#")
		request := func(operation string, fields map[string]any) {
			t.Helper()
			ha.Service(t, "mqtt.publish", "", map[string]any{"topic": plannerTopic + "request/" + operation, "qos": 1, "payload": string(encode(t, fields))})
		}
		request("complete", map[string]any{"task_id": late.ID, "transaction": "pack-1"})
		responses.AwaitValues(t, plannerTopic+"response/complete", map[string]any{"status": "ok", "transaction": "pack-1"})
		ha.AwaitState(t, open, "1")
		ha.AwaitState(t, overdue, "0")
		fired("task_completed", map[string]any{"event_type": "task_completed", "task_id": late.ID, "own": true})
		request("progress", map[string]any{"task_id": soon.ID, "percent": 101, "transaction": "unpack-1"})
		responses.AwaitValues(t, plannerTopic+"response/progress", map[string]any{"status": "error", "transaction": "unpack-1"})
		request("progress", map[string]any{"task_id": soon.ID, "percent": 40, "transaction": "unpack-2"})
		responses.AwaitValues(t, plannerTopic+"response/progress", map[string]any{"status": "ok", "transaction": "unpack-2"})
		fired("task_changed", map[string]any{"event_type": "task_changed", "task_id": soon.ID, "own": true, "percent": 40.0})
		for _, task := range env.Microsoft.PlannerTasks(simulator.Adele) {
			if want := map[string]int{late.ID: 100, soon.ID: 40}[task.ID]; task.Percent != want {
				t.Errorf("%s: %d percent at Microsoft, want %d", task.Title, task.Percent, want)
			}
		}

		// The task is deleted in Planner.
		env.Microsoft.RemovePlannerTask(soon.ID)
		ha.AwaitState(t, open, "0")
		ha.AwaitState(t, next, "unknown")
		fired("task_removed", map[string]any{"event_type": "task_removed", "task_id": soon.ID, "own": false})
		ha.CheckLog(t)
		env.Stop(t)
		ha.AwaitState(t, open, "unavailable")
	})
}

// TestPlannerKilledAtEveryStep checks that a task is changed once and the request answered, whichever step the bridge is killed at.
func TestPlannerKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"delivered", "decoded", "journalled", "acknowledged", "started", "called", "recorded", "shown", "answering", "answered"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			env := NewEnvironment(t, MosquittoOptions{})
			p := env.Microsoft.AddPlan(simulator.PlannerPlan{Title: "Move", Members: []string{simulator.Adele}})
			task := env.Microsoft.AddPlannerTask(simulator.PlannerTask{Plan: p.ID, Title: "Pack", Assigned: []string{simulator.Adele}})
			env.Configure(t, []string{"enable_update: true"}, "planner: {type: planner, interval: 5s}")
			env.SignIn(t)
			seen := env.Broker.Subscribe(t, "graph2mqtt/#")
			env.StartCrashing(t, step)
			seen.AwaitPayload(t, plannerTopic+"commands", "online")
			seen.AwaitValues(t, plannerTopic+"state", map[string]any{"open": 1})
			seen.AwaitPayload(t, "graph2mqtt/bridge/state", "online")
			versions := env.Microsoft.PlannerVersions(task.ID)
			env.Broker.Publish(t, plannerTopic+"request/complete", string(encode(t, map[string]any{"task_id": task.ID})))
			if code := env.Bridge.Wait(t); code == 0 {
				t.Fatal("the bridge did not crash")
			}
			seen.AwaitPayload(t, "graph2mqtt/bridge/state", "offline")

			env.Start(t)
			seen.AwaitValues(t, plannerTopic+"response/complete", map[string]any{"status": "ok"})
			seen.AwaitValues(t, plannerTopic+"state", map[string]any{"open": 0})
			// A second request shows that nothing of the first one is pending.
			env.Broker.Publish(t, plannerTopic+"request/progress", string(encode(t, map[string]any{"task_id": task.ID, "percent": 50})))
			seen.AwaitValues(t, plannerTopic+"response/progress", map[string]any{"status": "ok"})
			env.Stop(t)
			if n := env.Microsoft.PlannerVersions(task.ID) - versions; n != 2 || env.Microsoft.Count("PATCH", "") != 2 {
				t.Errorf("the task was changed %d times with %d requests, want one of each request", n, env.Microsoft.Count("PATCH", ""))
			}
		})
	}
}
