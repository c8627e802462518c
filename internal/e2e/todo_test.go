//go:build e2e

package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestTodo shows task lists in Home Assistant, and adds and completes tasks from there.
func TestTodo(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		const open, event, add = "sensor.work_todo_tasks_open", "event.work_todo_tasks_event", "notify.work_todo_tasks_add"
		const shopping, odd = "sensor.work_todo_shopping_open", "sensor.work_todo_bob_s_list_2_open"
		env := startEnvironment(t, ha, MosquittoOptions{Persistent: true, Username: "graph2mqtt", Password: "secret"},
			"todo: {type: todo, interval: 5s, except: [flaggedEmails], allow: [default, list_new, list_rename]}")
		rescan := func() { env.Broker.Publish(t, "graph2mqtt/work/request/rescan", "{}") }
		fired := func(eventType, subject string) {
			t.Helper()
			ha.AwaitEntity(t, event, eventType+" "+subject, func(s State) bool {
				return s.Attributes["event_type"] == eventType && s.Attributes["subject"] == subject
			})
		}

		ha.AwaitState(t, open, "0")
		ha.AwaitState(t, "sensor.work_todo_tasks_next_due", "unknown")
		day := time.Now().UTC().Truncate(24 * time.Hour)
		env.Microsoft.AddTask(simulator.Adele, "", simulator.Task{Title: "Late", Due: day.AddDate(0, 0, -3)})
		fired("todo_created", "Late")
		soon := env.Microsoft.AddTask(simulator.Adele, "", simulator.Task{Title: "Soon", Due: day.AddDate(0, 0, 3), Steps: []simulator.TaskStep{{Name: "Step"}}})
		fired("todo_created", "Soon")
		ha.AwaitState(t, open, "2")
		ha.AwaitState(t, "sensor.work_todo_tasks_overdue", "1")
		ha.AwaitState(t, "sensor.work_todo_tasks_next_due", day.AddDate(0, 0, 3).Format(time.DateOnly))
		ha.AwaitEntity(t, open, "lists the tasks", func(s State) bool {
			all, _ := s.Attributes["all_todos"].([]any)
			overdue, _ := s.Attributes["overdue_todos"].([]any)
			return len(all) == 2 && len(overdue) == 1 && all[0].(map[string]any)["subject"] == "Late"
		})

		ha.Service(t, "notify.send_message", add, map[string]any{"message": "Milk & \"honey\""})
		fired("todo_created", "Milk & \"honey\"")
		ha.AwaitState(t, open, "3")
		request, err := json.Marshal(map[string]any{"list": "Tasks", "todo_id": soon.ID})
		if err != nil {
			t.Fatal(err)
		}
		env.Broker.Publish(t, "graph2mqtt/work/todo/request/complete", string(request))
		fired("todo_completed", "Soon")
		ha.AwaitState(t, open, "2")
		for _, task := range env.Microsoft.Tasks(simulator.Adele, "") {
			if task.ID == soon.ID && task.Status != "completed" {
				t.Errorf("at Microsoft it is %s", task.Status)
			}
		}

		// Lists come, get another name and go.
		env.Broker.Publish(t, "graph2mqtt/work/todo/request/list_new", `{"name": "Shopping"}`)
		ha.AwaitState(t, shopping, "0")
		env.Broker.Publish(t, "graph2mqtt/work/todo/request/list_rename", `{"list": "Shopping", "name": "Groceries"}`)
		ha.AwaitEntity(t, shopping, "has the new name", func(s State) bool {
			return s.Attributes["friendly_name"] == "Work Groceries Open tasks"
		})
		env.Microsoft.AddTodoList(simulator.Adele, `Bob's "list" / 2`)
		rescan()
		ha.AwaitState(t, odd, "0")
		env.Microsoft.RemoveTodoList(simulator.Adele, "Groceries")
		rescan()
		ha.AwaitGone(t, shopping)
		env.Stop(t)
		ha.CheckLog(t, removalLogs...)
	})
}
