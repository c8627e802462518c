package bridge_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// Each task list is a device. New ones appear, renamed ones keep their ids, and deleted ones go; one that Graph does not show fails alone.
func TestAllTaskLists(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const odd, megan = `Bob's "list" / 2`, "megan@contoso.example"
	h.Microsoft.AddUser(simulator.User{Address: megan, Name: "Megan"})
	h.Microsoft.AddTodoList(megan, "Hidden")
	h.Microsoft.ShareTodoList(megan, "Hidden", simulator.Adele, true)
	h.Microsoft.AddTodoList(simulator.Adele, odd)
	h.Microsoft.AddTask(simulator.Adele, odd, simulator.Task{Title: "a"})
	h.Microsoft.AddTodoList(simulator.Adele, "Twice")
	h.Microsoft.AddTodoList(simulator.Adele, "Twice")
	h.one("enable_update: true", "todo: {type: todo, except: [flaggedEmails], allow: [default, list_new, list_rename, list_delete]}")
	h.SignIn("work")
	h.Start()
	for _, slug := range []string{"bob_s_list_2", "twice", "twice_2", "tasks", "hidden"} {
		h.shows(`"default_entity_id":"sensor.work_todo_` + slug + `_open"`)
	}
	members := h.members()
	h.Values(members["Work "+odd]+"/state", map[string]any{"open": 1.0, "overdue": 0.0, "next_due": nil})
	h.Holds(members["Work "+odd]+"/attributes", func(p string) bool { return strings.Contains(p, `"subject":"a"`) })
	h.Shows(members["Work Tasks"]+"/availability", "online")
	h.Shows(members["Work Hidden"]+"/availability", "offline")

	request := func(operation, payload, status string) string {
		t.Helper()
		mark := h.mark()
		h.Publish("graph2mqtt/work/todo/request/"+operation, payload)
		return h.Next(mark, "graph2mqtt/work/todo/response/"+operation, func(p string) bool {
			var r struct{ Status string }
			if json.Unmarshal([]byte(p), &r) != nil || r.Status != status {
				t.Errorf("%s: %s", operation, p)
			}
			return true
		})
	}
	// Operations of the group itself, and those of the member that a field names.
	request("list_new", `{"name": "Garden"}`, "ok")
	h.shows(`"default_entity_id":"sensor.work_todo_garden_open"`)
	garden := h.members()["Work Garden"]
	h.Shows(garden+"/availability", "online") // what is requested before the first poll makes no event
	mark := h.mark()
	request("new", `{"list": "garden", "subject": "Mow"}`, "ok")
	h.Values(garden+"/state", map[string]any{"open": 1.0})
	h.Next(mark, garden+"/event", func(p string) bool {
		return includes(p, map[string]any{"event_type": "todo_created", "subject": "Mow", "own": true})
	})
	request("list_rename", `{"list": "Garden", "name": "Yard"}`, "ok")
	h.Holds("homeassistant/device/graph2mqtt-work-"+strings.TrimPrefix(garden, "graph2mqtt/work/")+"/config", func(p string) bool {
		return strings.Contains(p, `"name":"Work Yard"`) && strings.Contains(p, `"default_entity_id":"sensor.work_todo_garden_open"`)
	})
	if r := request("list_rename", `{"list": "Tasks", "name": "x"}`, "error"); !strings.Contains(r, "is built in and cannot be renamed") {
		t.Errorf("answer %s", r)
	}
	if r := request("new", `{"subject": "x"}`, "error"); !strings.Contains(r, "list is required, as a text, because todo stands for several") {
		t.Errorf("answer %s", r)
	}
	// The notify entity of a list.
	mark = h.mark()
	h.Publish(garden+"/request/new", `{"subject": "Rake"}`)
	h.Next(mark, garden+"/response/new", func(p string) bool { return strings.Contains(p, `"status":"ok"`) })
	h.Values(garden+"/state", map[string]any{"open": 2.0})

	// Graph leaves lists out once. None is removed.
	var hidden []string
	for _, l := range h.Microsoft.TodoLists(simulator.Adele) {
		hidden = append(hidden, l.ID)
	}
	h.Microsoft.SetTodoOptions(simulator.Adele, simulator.TodoOptions{HideLists: hidden[1:]})
	var listings atomic.Int32
	listed := make(chan struct{})
	h.Microsoft.OnRequest(func(r simulator.Request) {
		if r.Method == "GET" && strings.HasPrefix(r.Path, "/v1.0/me/todo/lists") && !strings.Contains(r.Path, "/tasks") {
			if n := listings.Add(1); n == 1 {
				h.Microsoft.SetTodoOptions(simulator.Adele, simulator.TodoOptions{})
			} else if n == 2 {
				close(listed)
			}
		}
	})
	mark = h.mark()
	h.Publish("graph2mqtt/work/request/rescan", "{}")
	<-listed
	h.Microsoft.OnRequest(nil)
	request("list_delete", `{"list": "Yard"}`, "ok")
	h.Gone(strings.TrimPrefix(garden, "graph2mqtt/work/"))
	for _, m := range h.since(mark) {
		if strings.HasSuffix(m.Topic, "/config") && m.Payload == "" && !strings.Contains(m.Topic, strings.TrimPrefix(garden, "graph2mqtt/work/")) {
			t.Errorf("%s was removed", m.Topic)
		}
	}
	if n := strings.Count(h.Log.String(), "ErrorAccessDenied"); n != 1 {
		t.Errorf("the list that cannot be read is in the log %d times", n)
	}
}
