package todo

import (
	"context"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// CreateList creates a list.
type CreateList struct {
	Name string `json:"name" required:"true" doc:"Its name."`
}

// Validate returns an error for values that Graph would refuse.
func (r *CreateList) Validate() error { return checkSubject("name", r.Name) }

// Execute implements services.Request.
func (r *CreateList) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	return tasks.CreateList(ctx, g, r.Name)
}

// RenameList renames a list.
type RenameList struct {
	List string `json:"list" required:"true" doc:"The name or id of the list."`
	Name string `json:"name" required:"true" doc:"Its new name."`
}

// Validate returns an error for values that Graph would refuse.
func (r *RenameList) Validate() error { return checkSubject("name", r.Name) }

// Execute implements services.Request.
func (r *RenameList) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	list, err := own(ctx, g, r.List, "renamed")
	if a.Repeated && graph.Is(err, graph.NotFound) { // the list may have its new name already
		if renamed, lost := tasks.Lookup(ctx, g, r.Name); lost == nil {
			return tasks.ListChanged{Info: renamed}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return tasks.RenameList(ctx, g, list.ID, r.Name)
}

// own returns the list with this name or id, with an error if To Do made it.
func own(ctx context.Context, g *graph.Client, list, participle string) (tasks.Info, error) {
	i, err := tasks.Lookup(ctx, g, list)
	if err == nil && i.BuiltIn() {
		err = graph.Invalid("list: want a list that you created: %s is built in and cannot be %s", services.QuoteForError(i.Name), participle)
	}
	return i, err
}

// DeleteList deletes a list.
type DeleteList struct {
	List string `json:"list" required:"true" doc:"The name or id of the list."`
}

// Execute implements services.Request.
func (r *DeleteList) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	list, err := own(ctx, g, r.List, "deleted")
	if a.Repeated && graph.Is(err, graph.NotFound) {
		if graph.IsOutlookID(r.List) {
			list.ID = r.List
		}
		return tasks.ListDeleted{ID: list.ID}, nil
	}
	if err != nil {
		return nil, err
	}
	deleted, err := tasks.DeleteList(ctx, g, list.ID)
	return deleted, goneIfRepeated(err, a)
}

const (
	defaultLimit = 100
	maxLimit     = 500
)

// List lists the tasks of a list.
type List struct {
	target Target

	Completed *bool `json:"completed" doc:"Only completed tasks, or with false only open ones."`
	Limit     int   `json:"limit" doc:"Maximum number of tasks on a page, 1 to 500. Default: 100."`
}

// Validate returns an error for values that are out of range.
func (r *List) Validate() error {
	if r.Limit < 1 || r.Limit > maxLimit {
		return graph.Invalid("limit: want 1 to %d, not %d", maxLimit, r.Limit)
	}
	return nil
}

// Todos is the answer to List.
type Todos struct {
	Todos    []map[string]any `json:"todos"`
	Complete bool             `json:"complete"`
}

// Execute implements services.Request.
func (r *List) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	// Tasks are not counted, because they may be deleted or completed meanwhile: the page begins after the last task of the one before.
	var last *tasks.Place
	if err := a.Resume(&last); err != nil {
		return nil, err
	}
	read := tasks.All
	if r.Completed != nil && !*r.Completed {
		read = tasks.Open
	}
	all, err := read(ctx, g, list)
	if err != nil {
		return nil, err
	}
	if r.Completed != nil && *r.Completed {
		all = slices.DeleteFunc(all, func(t tasks.Task) bool { return !t.Done() })
	}
	loc := a.Now.Location()
	tasks.Sort(all, loc)
	page := services.PageItems[map[string]any]{All: []map[string]any{}}
	for _, t := range all {
		at := t.Place(loc)
		if last != nil && at.Compare(*last) <= 0 {
			continue
		}
		ok := len(page.All) < r.Limit
		if ok {
			if ok, err = page.Add(t.Item(loc)); err != nil {
				return nil, err
			}
		}
		if !ok {
			return services.Page{Value: Todos{page.All, false}, Next: last}, nil
		}
		last = &at
	}
	return services.Page{Value: Todos{page.All, true}}, nil
}

// todosFields documents the answer of List.
func todosFields() []schema.Field {
	return []schema.Field{
		{Key: "todos", Type: "list of objects", Doc: "Tasks, each as in the attribute all_todos: open ones first, by due date."},
		{Key: "complete", Type: "true or false", Doc: "Whether this is the last page."},
	}
}

// ItemFields documents a task as [tasks.Task.Item] returns it.
func ItemFields() []schema.Field {
	return []schema.Field{
		{Key: "subject", Type: "text", Doc: "Title."},
		{Key: "todo_id", Type: "text", Doc: "Id."},
		{Key: "status", Type: "text", Doc: "Status: notStarted, inProgress, completed, waitingOnOthers or deferred."},
		{Key: "completed", Type: "date", Doc: "Day on which it was completed, in UTC: Graph keeps no time. null: it is open."},
		{Key: "due", Type: "date", Doc: "Day on which it is due."},
		{Key: "reminder", Type: "time", Doc: "Time of the reminder."},
		{Key: "checklist_items", Type: "list of objects", Doc: "Its steps.", Fields: []schema.Field{
			{Key: "id", Type: "text", Doc: "Id of the step, the `checklist_item_id` of operations."},
			{Key: "name", Type: "text", Doc: "Text of the step."},
			{Key: "is_checked", Type: "true or false", Doc: "Whether it is done."},
		}},
		{Key: "importance", Type: "text", Doc: "Importance: low, normal or high."},
		{Key: "categories", Type: "list of text", Doc: "Categories."},
		{Key: "recurring", Type: "true or false", Doc: "Whether it repeats."},
	}
}
