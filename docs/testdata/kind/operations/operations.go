// Package operations defines the operations of a task list.
package operations

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/docs/testdata/kind/tasks"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations returns the operations of a list.
func Operations(list string) []services.Operation {
	return []services.Operation{{
		Name: "complete", Doc: "Completes a task.", Example: `{"task_id": "AAMk…"}`, Retry: services.Idempotent,
		Permissions: []graph.Permission{{Scope: "Tasks.ReadWrite", Purpose: "completes tasks", Impact: "tasks are shown but cannot be changed"}},
		New:         func() services.Request { return &Complete{list: list} },
	}}
}

// Complete completes a task.
type Complete struct {
	list string

	TaskID string `json:"task_id" required:"true" doc:"Id of the task."`
}

// Execute implements services.Request.
func (r *Complete) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	return nil, tasks.Complete(ctx, g, r.list, r.TaskID)
}
