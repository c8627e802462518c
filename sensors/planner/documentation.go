package planner

import (
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// attributeFields documents the attributes.
func attributeFields() []schema.Field {
	return []schema.Field{
		{Key: "data", Type: "list of objects", Doc: "The open tasks, ordered by due date. With `show_completed`, completed ones follow.", Fields: itemFields()},
	}
}

// itemFields documents what lists and events have in common.
func itemFields() []schema.Field {
	return []schema.Field{
		{Key: "title", Type: "text", Doc: "Title."},
		{Key: "task_id", Type: "text", Doc: "Id of the task."},
		{Key: "plan", Type: "text", Doc: "Name of the plan; null if you may not see it."},
		{Key: "bucket", Type: "text", Doc: "Name of the bucket; null if there is none or you may not see it."},
		{Key: "due", Type: "date", Doc: "Date on which it is due, in UTC as in Planner; null if there is none."},
		{Key: "percent", Type: "whole number", Doc: "Progress, 0 to 100. 100 is completed."},
		{Key: "priority", Type: "text", Doc: "Priority: `urgent`, `important`, `medium` or `low`; null if unknown."},
		{Key: "checklist", Type: "list of objects", Doc: "Items of the checklist; null if they were not read yet.", Fields: []schema.Field{
			{Key: "title", Type: "text", Doc: "Text."},
			{Key: "is_checked", Type: "true or false", Doc: "Whether it is done."},
		}},
	}
}

// events documents the events.
func events() []sensors.EventType {
	fields := append(itemFields(), schema.Field{Key: "own", Type: "true or false", Doc: "Whether a request to graph2mqtt caused the event."})
	return []sensors.EventType{
		{Name: assigned, Doc: "A task was assigned to you.", Fields: fields},
		{Name: completed, Doc: "A task was completed, by you or by somebody else.", Fields: fields},
		{Name: changed, Doc: "A task in the list was changed: its title, bucket, due date, progress, priority or checklist. A completed task that is reopened counts as changed, too.", Fields: fields},
		{Name: removed, Doc: "A task in the list was deleted, or is no longer assigned to you.", Fields: fields},
	}
}
