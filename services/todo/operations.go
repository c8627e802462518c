// Package todo has the operations of task lists.
package todo

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// New is the name of the operation that creates a task.
const New = "new"

// A Target is the task list that operations are bound to.
type Target struct {
	List string // name, id or wellknownListName
}

// id returns the id of the list.
func (t Target) id(ctx context.Context, g *graph.Client) (string, error) {
	i, err := tasks.Find(ctx, g, t.List)
	return i.ID, err
}

// Operations returns the operations of a task list. A new task without an answer is found again by an open extension; the others are
// idempotent, but for those that add a step or a list.
func Operations(t Target) []services.Operation {
	write := []graph.Permission{tasks.WritePermission()}
	lists := tasks.WritePermission()
	lists.Purpose, lists.Impact = "creates, renames and deletes task lists", "task lists cannot be changed"
	return []services.Operation{
		{
			Name: New, Doc: "Creates a task.",
			Permissions: write, Retry: services.AtMostOnce, Example: `{"subject": "Water the plants", "due": "2026-12-01", "reminder": "2026-12-01T08:00:00"}`, Returns: changedFields(), New: func() services.Request { return &Create{target: t} },
		},
		{
			Name: "update", Doc: "Changes only the given fields of a task. A recurring task stays recurring.",
			Permissions: write, Retry: services.Idempotent, Example: `{"todo_id": "AAMkTask…", "due": "2026-12-02", "remove_reminder": true}`, Returns: changedFields(), New: func() services.Request { return &Update{target: t} },
		},
		{
			Name: "delete", Doc: "Deletes a task. A recurring task is deleted with all future occurrences.",
			Permissions: write, Retry: services.Idempotent, Example: `{"todo_id": "AAMkTask…"}`, Returns: deletedFields(), New: func() services.Request { return &Delete{target: t} },
		},
		{
			Name: "complete", Doc: "Completes a task, or the current occurrence of a recurring task.",
			Permissions: write, Retry: services.Idempotent, Example: `{"todo_id": "AAMkTask…"}`, Returns: changedFields(), New: func() services.Request { return &Complete{target: t} },
		},
		{
			Name: "reopen", Doc: "Reopens a completed task.",
			Permissions: write, Retry: services.Idempotent, Example: `{"todo_id": "AAMkTask…"}`, Returns: changedFields(), New: func() services.Request { return &Reopen{target: t} },
		},
		{
			Name: "checklist_new", Doc: "Adds a step to a task.",
			Permissions: write, Retry: services.AtMostOnce, Example: `{"todo_id": "AAMkTask…", "name": "Buy soil"}`, Returns: stepFields(), New: func() services.Request { return &CreateStep{target: t} },
		},
		{
			Name: "checklist_update", Doc: "Renames a step, checks it or unchecks it.",
			Permissions: write, Retry: services.Idempotent, Example: `{"todo_id": "AAMkTask…", "checklist_item_id": "51d8a471…", "name": "Buy good soil"}`, Returns: stepFields(), New: func() services.Request { return &UpdateStep{target: t} },
		},
		{
			Name: "checklist_complete", Doc: "Checks a step.",
			Permissions: write, Retry: services.Idempotent, Example: `{"todo_id": "AAMkTask…", "checklist_item_id": "51d8a471…"}`, Returns: stepFields(), New: func() services.Request { return &CompleteStep{step: step{target: t}} },
		},
		{
			Name: "checklist_delete", Doc: "Deletes a step.",
			Permissions: write, Retry: services.Idempotent, Example: `{"todo_id": "AAMkTask…", "checklist_item_id": "51d8a471…"}`, Returns: stepFields(), New: func() services.Request { return &DeleteStep{step: step{target: t}} },
		},
		{
			Name: "list_new", Doc: "Creates a task list.",
			Permissions: []graph.Permission{lists}, Optional: true, OfGroup: true, Retry: services.AtMostOnce, Example: `{"name": "Garden"}`, Returns: listFields(), New: func() services.Request { return &CreateList{} },
		},
		{
			Name: "list_rename", Doc: "Renames a task list. Its entities keep their ids. Built-in lists cannot be renamed.",
			Permissions: []graph.Permission{lists}, Optional: true, OfGroup: true, Retry: services.Idempotent, Example: `{"list": "Shopping", "name": "Groceries"}`, Returns: listFields(), New: func() services.Request { return &RenameList{} },
		},
		{
			Name: "list_delete", Doc: "Deletes a task list and all its tasks. Built-in lists cannot be deleted.",
			Permissions: []graph.Permission{lists}, Optional: true, OfGroup: true, Retry: services.Idempotent, Example: `{"list": "Shopping"}`, Returns: listFields()[:1], New: func() services.Request { return &DeleteList{} },
		},
		{
			Name: "list", Doc: "Lists the tasks of the list as `todos`, each as in the attribute `all_todos`, also the completed ones. The sensor's filters do not apply.",
			Permissions: []graph.Permission{tasks.ReadPermission()}, Reads: true, Paged: true, Example: `{"completed": false, "limit": 10}`, Returns: todosFields(), New: func() services.Request { return &List{target: t, Limit: defaultLimit} },
		},
	}
}

// checkID returns an error for an empty id, which would name all tasks.
func checkID(id string) error {
	if id == "" {
		return graph.Invalid("todo_id: want the id of a task, as in the list")
	}
	return nil
}

// changedFields documents the answer of operations that change a task.
func changedFields() []schema.Field {
	return []schema.Field{
		{Key: "todo_id", Type: "text", Doc: "Id of the task."},
		{Key: "status", Type: "text", Doc: "Its status: notStarted, inProgress, completed, waitingOnOthers or deferred."},
	}
}

// deletedFields documents the answer of the operation that deletes a task.
func deletedFields() []schema.Field { return changedFields()[:1] }

// stepFields documents the answer of operations that change a step.
func stepFields() []schema.Field {
	return []schema.Field{
		{Key: "todo_id", Type: "text", Doc: "Id of the task."},
		{Key: "checklist_item_id", Type: "text", Doc: "Id of the step."},
	}
}

// listFields documents the answer of operations that change a list.
func listFields() []schema.Field {
	return []schema.Field{
		{Key: "list_id", Type: "text", Doc: "Id of the list."},
		{Key: "name", Type: "text", Doc: "Its name."},
	}
}
