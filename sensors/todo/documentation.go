package todo

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services/todo"
)

// attributeFields documents the attributes.
func attributeFields() []schema.Field {
	item := append(todo.ItemFields(), schema.Field{Key: "description", Type: "text", Doc: "Note, at most 1,000 characters."})
	overdue := slices.DeleteFunc(todo.ItemFields(), func(f schema.Field) bool {
		return !slices.Contains([]string{"subject", "todo_id", "status", "due", "reminder", "importance"}, f.Key)
	})
	return []schema.Field{
		{Key: "overdue_todos", Type: "list of objects", Doc: "The tasks that were due before today, at most 20, the oldest first.", Fields: overdue},
		{Key: "all_todos", Type: "list of objects", Doc: "The tasks: open ones by due date and reminder, then those without a due date; with `show_completed`, then the completed ones.", Fields: item},
	}
}

// events documents the events.
func events() []sensors.EventType {
	fields := append(todo.ItemFields(), schema.Field{Key: "own", Type: "true or false", Doc: "Whether a request to graph2mqtt caused the event."})
	finished := append(slices.Clone(fields), schema.Field{Key: "completed_at", Type: "time", Doc: "When graph2mqtt noticed it."})
	return []sensors.EventType{
		{Name: created, Doc: "A task was added to the list.", Fields: fields},
		{Name: changedType, Doc: "An open task or one of its steps was changed, a completed task was opened again, or a recurring task moved on to its next day.", Fields: fields},
		{Name: removed, Doc: "A task was deleted or moved to another list.", Fields: fields},
		{Name: completed, Doc: "A task was completed. For a recurring task, the completed task may be a copy with a different id.", Fields: finished},
	}
}
