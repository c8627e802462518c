package todo

import (
	"fmt"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/services/todo"
)

// The types of the events, in the order of their documentation.
const (
	created     = "todo_created"
	changedType = "todo_changed"
	removed     = "todo_removed"
	completed   = "todo_completed"
)

// maxOverdue bounds the overdue tasks in the attribute, which has to leave room for the list.
const maxOverdue = 20

// Entities implements sensors.Source.
func (o *Options) Entities() []entity.Entity {
	return []entity.Entity{
		entity.Count("open", "Open tasks").WithIcon("mdi:checkbox-marked-circle-outline").AsPrimary().WithDoc("How many tasks are open."),
		entity.Count("overdue", "Overdue tasks").WithIcon("mdi:alert-circle-outline").WithDoc("How many of them were due before today."),
		entity.Sensor("next_due", "Next due").WithDeviceClass("date").WithIcon("mdi:calendar-clock").WithDoc("The first day, starting today, on which one of them is due."),
		entity.EventEntity(created, changedType, removed, completed).WithIcon("mdi:checkbox-marked-circle-outline").WithDoc("Fires when a task of the list is created, completed, changed or deleted."),
		entity.Notify("add", "Add task", todo.New, "subject").WithIcon("mdi:plus").WithDoc("Creates a task with the message as its title."),
	}
}

// State implements sensors.Source.
func (o *Options) State(s *Snapshot, _, now time.Time) entity.State {
	st := entity.State{ItemsKey: "all_todos"}
	if s == nil {
		return st
	}
	loc := now.Location()
	day := now.Format(time.DateOnly)
	shown := o.filter(now)
	var open, done []tasks.Task
	for _, t := range s.Open {
		if shown(t) {
			open = append(open, t)
		}
	}
	for _, t := range s.Done {
		if shown(t) {
			done = append(done, t)
		}
	}
	tasks.Sort(open, loc)
	tasks.Sort(done, loc)
	overdue := []any{}
	late, next, dated := 0, "", false
	for _, t := range open {
		due := t.DueDate(loc)
		switch {
		case due == "":
			continue
		case due < day:
			late++
			if len(overdue) < maxOverdue {
				overdue = append(overdue, t.Summary(loc))
			}
		case next == "":
			next = due
		}
		dated = true
	}
	st.Values = map[string]any{"open": len(open), "overdue": late}
	if next != "" {
		st.Values["next_due"] = entity.Date(next)
	}
	st.Attributes = map[string]any{"overdue_todos": overdue}
	st.Items = []any{}
	for _, t := range slices.Concat(open, done) {
		if len(st.Items) == o.MaxTodos {
			break
		}
		st.Items = append(st.Items, t.Item(loc))
	}
	if dated || o.DueStartOffset != nil || o.DueEndOffset != nil {
		st.Next = tomorrow(now)
	}
	return st
}

// Events implements sensors.Source.
func (o *Options) Events(before, after *Snapshot, now time.Time) []entity.Event {
	var events []entity.Event
	outcomes := map[string]Outcome{}
	for _, outcome := range after.Outcomes {
		outcomes[outcome.ID] = outcome
	}
	old := byID(before.Open)
	for _, t := range slices.Concat(before.Open, before.Done) {
		switch outcome, ok := outcomes[t.ID]; {
		case !ok:
		case outcome.Removed:
			events = append(events, eventOf(removed, t, false, now))
		default:
			if done, ok := find(after.Done, t.ID); ok {
				t = done
			}
			t.Status, t.Completed = tasks.Completed, outcome.Completed
			events = append(events, completedEvent(t, false, now))
		}
	}
	for _, t := range after.Finished {
		events = append(events, completedEvent(t, false, now))
	}
	known := before.known()
	for _, t := range after.Open {
		was, ok := old[t.ID]
		switch {
		case ok && !was.Equal(t), !ok && known[hash(t.ID)]: // the latter was reopened
			events = append(events, eventOf(changedType, t, false, now))
		case !ok:
			events = append(events, eventOf(created, t, false, now))
		}
	}
	return events
}

// eventOf returns the event to publish for a change of a task. own: this program caused it.
func eventOf(what string, t tasks.Task, own bool, now time.Time) entity.Event {
	data := t.Item(now.Location())
	delete(data, "description")
	data["own"] = own
	return entity.Event{Type: what, Data: data}
}

// completedEvent returns the event of a completed task. Graph stores the day only, so the time is that of the poll.
func completedEvent(t tasks.Task, own bool, now time.Time) entity.Event {
	e := eventOf(completed, t, own, now)
	e.Data["completed_at"] = now
	return e
}

// describe implements sensors.Kind.Describe.
func describe(e entity.Event) string {
	subject, _ := e.Data["subject"].(string)
	words := map[string]string{created: "new task", completed: "task completed", changedType: "task changed", removed: "task deleted"}
	if words[e.Type] == "" {
		return ""
	}
	return fmt.Sprintf("%s: %s", words[e.Type], subject)
}
