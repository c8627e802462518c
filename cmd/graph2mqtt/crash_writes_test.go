package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
	"github.com/graph2mqtt/graph2mqtt/services/todo"
)

// A killedWrite is an operation that is killed at its only step, once before Graph executes it and once after.
type killedWrite struct {
	killedOperation
	beforeDoubt, afterDoubt bool // whether it is answered in_doubt
	unknown                 bool // killed before, it is looked for: see TestKilledWithUnknownTask
	options                 simulator.TodoOptions
}

// checkWrites kills operations, which must be all of a kind that write. reset restores what they change and replaces the ids in a request; read returns what they change.
func (v *victim) checkWrites(operations []services.Operation, all []killedWrite, reset func(simulator.TodoOptions) *strings.Replacer, read func() any) {
	v.t.Helper()
	for _, op := range operations {
		if !op.Reads && !slices.ContainsFunc(all, func(w killedWrite) bool { return w.name == op.Name }) {
			v.t.Errorf("%s is not killed", op.Name)
		}
	}
	v.start()
	equal := cmp.Options{cmpopts.IgnoreFields(simulator.Task{}, "ID", "Created", "Completed"), cmpopts.IgnoreFields(simulator.TaskStep{}, "ID")}
	for i, w := range all {
		execute := func(kill int, before bool) (r services.Response, label string, old, now any) {
			op := w.killedOperation
			op.fields = reset(w.options).Replace(op.fields)
			old, label = read(), fmt.Sprintf("%s-%d-%d-%v", op.name, i, kill, before)
			return v.execute(op, label, kill, before), label, old, read()
		}
		r, label, old, once := execute(-1, false)
		v.checkWritten(w.killedOperation, label, r)
		if cmp.Equal(old, once, equal) {
			v.t.Errorf("%s: it does nothing", label)
		}
		for _, before := range []bool{true, false} {
			if before && w.unknown {
				continue
			}
			r, label, old, now := execute(0, before)
			doubt, want := w.afterDoubt, once
			if before {
				if doubt = w.beforeDoubt; doubt {
					want = old
				}
			}
			if doubt != (r.Error != nil && r.Error.Code == services.InDoubt) || !doubt && r.Status != "ok" {
				v.t.Errorf("%s: %s, %+v, want in doubt: %t", label, r.Status, r.Error, doubt)
			}
			if diff := cmp.Diff(want, now, equal); diff != "" {
				v.t.Errorf("%s (-want +got):\n%s", label, diff)
			}
		}
	}
}

func todoWrites() []killedWrite {
	patch, remove, add := []step{{"PATCH", ""}}, []step{{"DELETE", ""}}, []step{{"POST", "/checklistItems"}}
	write := func(name, fields string, steps []step) killedWrite {
		if !strings.HasPrefix(name, "list_") {
			fields = `"list": "Tasks", ` + fields
		}
		return killedWrite{killedOperation: killedOperation{name: name, fields: fields, steps: steps}}
	}
	// A recurring task was changed when it was made, so it is not known whether completing it changed it.
	weekly := write("complete", `"todo_id": "WEEKLY"`, patch)
	weekly.beforeDoubt, weekly.afterDoubt = true, true
	weeklyNew := write("complete", `"todo_id": "WEEKLY"`, patch)
	weeklyNew.beforeDoubt, weeklyNew.options.Recurring = true, "new"
	list := write("list_new", `"name": "Garden"`, []step{{"POST", "/lists"}})
	list.beforeDoubt, list.afterDoubt = true, true
	task, item := write("new", `"subject": "new one", "due": "2030-02-01", "recurrence": {"type": "daily"}`, []step{{"POST", "/tasks"}}), write("checklist_new", `"todo_id": "PLAIN", "name": "new step"`, add)
	task.unknown, item.unknown = true, true
	return []killedWrite{
		task, item, weekly, weeklyNew, list,
		write("update", `"todo_id": "PLAIN", "subject": "changed", "remove_due": true`, patch),
		write("complete", `"todo_id": "PLAIN"`, patch),
		write("reopen", `"todo_id": "DONE"`, patch),
		write("delete", `"todo_id": "PLAIN"`, remove),
		write("checklist_update", `"todo_id": "PLAIN", "checklist_item_id": "STEP", "name": "renamed", "completed": true`, patch),
		write("checklist_complete", `"todo_id": "PLAIN", "checklist_item_id": "STEP"`, patch),
		write("checklist_delete", `"todo_id": "PLAIN", "checklist_item_id": "STEP"`, remove),
		write("list_rename", `"list": "Shopping", "name": "Groceries"`, patch),
		write("list_delete", `"list": "Shopping"`, remove),
	}
}

const todoVictim = "type: todo, except: [flaggedEmails], allow: [default, list_new, list_rename, list_delete]"

// resetTodo makes the lists and tasks that the operations change.
func (v *victim) resetTodo(o simulator.TodoOptions) *strings.Replacer {
	s := v.simulator
	for _, l := range s.TodoLists(simulator.Adele) {
		for _, t := range s.Tasks(simulator.Adele, l.ID) {
			s.RemoveTask(simulator.Adele, t.ID)
		}
		if l.WellKnown == "" {
			s.RemoveTodoList(simulator.Adele, l.ID)
		}
	}
	s.SetTodoOptions(simulator.Adele, o)
	s.AddTodoList(simulator.Adele, "Shopping")
	day := time.Date(2030, 1, 5, 0, 0, 0, 0, time.UTC)
	plain := s.AddTask(simulator.Adele, "", simulator.Task{Title: "plain", Due: day, Steps: []simulator.TaskStep{{Name: "step"}}})
	weekly := s.AddTask(simulator.Adele, "", simulator.Task{Title: "weekly", Due: day, Recurrence: map[string]any{
		"pattern": map[string]any{"type": "weekly", "interval": 1.0, "daysOfWeek": []any{"saturday"}}, "range": map[string]any{"type": "noEnd", "startDate": day.Format(time.DateOnly)},
	}})
	done := s.AddTask(simulator.Adele, "", simulator.Task{Title: "done", Status: "completed"})
	return strings.NewReplacer("PLAIN", plain.ID, "WEEKLY", weekly.ID, "DONE", done.ID, "STEP", plain.Steps[0].ID)
}

func (v *victim) readTodo() any {
	all := map[string][]simulator.Task{}
	for _, l := range v.simulator.TodoLists(simulator.Adele) {
		all[l.Name] = append([]simulator.Task{}, v.simulator.Tasks(simulator.Adele, l.ID)...)
	}
	return all
}

// A task or list is changed once, or it is in doubt and changed at most once.
func TestKilledWhileWritingTasks(t *testing.T) {
	t.Parallel()
	v := newVictimOf(t, "todo", todoVictim)
	v.checkWrites(todo.Operations(todo.Target{}), todoWrites(), v.resetTodo, v.readTodo)
}

// Whether a task or step was made is looked for, which is not awaited here. It is not made again.
func TestKilledWithUnknownTask(t *testing.T) {
	t.Parallel()
	for _, w := range todoWrites() {
		if !w.unknown {
			continue
		}
		v := newVictimOf(t, "todo", todoVictim)
		ids := v.resetTodo(w.options)
		v.start()
		old := v.readTodo()
		v.request(w.name, ids.Replace(`{`+w.fields+`}`), w.steps, 0, true)
		v.awaitEnd(w.name)
		writes := v.restart(func(r simulator.Request) bool {
			return strings.Contains(r.Query.Get("$expand"), "extensions") || strings.HasSuffix(r.Path, "/tasks/"+ids.Replace("PLAIN"))
		})
		if diff := cmp.Diff(old, v.readTodo()); diff != "" || len(writes) > 0 {
			t.Errorf("%s: %q (-want +got):\n%s", w.name, writes, diff)
		}
	}
}

// An event of a group is made, changed, removed or cancelled once, or again to the same effect.
func TestKilledWhileWritingGroupEvents(t *testing.T) {
	t.Parallel()
	const group = "project@contoso.example"
	v := newVictimOf(t, "project", "type: group_calendar, group: "+group)
	s := v.simulator
	s.AddGroup(simulator.Group{Name: "Project", Address: group, Members: []string{simulator.Adele}})
	start := time.Now().UTC().Truncate(time.Hour)
	reset := func(simulator.TodoOptions) *strings.Replacer {
		for _, e := range s.Events(group, "") {
			s.RemoveEvent(group, e["id"].(string))
		}
		id := s.AddEvent(group, "", simulator.Event{Subject: "Kickoff", Start: start, End: start.Add(time.Hour), Attendees: []simulator.Attendee{{Address: simulator.Adele}}})
		return strings.NewReplacer("ID", id)
	}
	read := func() any {
		all := []string{}
		for _, e := range s.Events(group, "") {
			all = append(all, fmt.Sprint(e["subject"], e["start"], e["end"], e["isCancelled"]))
		}
		return all
	}
	v.checkWrites(calendar.Operations(calendars.Calendar{Group: group}), []killedWrite{
		{killedOperation: killedOperation{name: "create", fields: `"subject": "Retro", "start": "2030-01-16T10:00:00", "end": "2030-01-16T11:00:00"`, steps: []step{{"POST", "/events"}}}},
		{killedOperation: killedOperation{name: "modify", fields: `"event_id": "ID", "subject": "Start", "start": "2030-01-16T10:00:00", "end": "2030-01-16T11:00:00", "body": "Agenda"`, steps: []step{{"PATCH", ""}}}},
		{killedOperation: killedOperation{name: "remove", fields: `"event_id": "ID"`, steps: []step{{"DELETE", ""}}}},
		{killedOperation: killedOperation{name: "cancel", fields: `"event_id": "ID", "message": "Sorry"`, steps: []step{{"POST", "/cancel"}}}},
	}, reset, read)
}
