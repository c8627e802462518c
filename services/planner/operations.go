// Package planner has the operations of tasks in Microsoft Planner.
package planner

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations returns the operations of tasks. Each of them is idempotent: a task that already has the progress is not written.
func Operations() []services.Operation {
	write := []graph.Permission{planner.WritePermission()}
	return []services.Operation{
		{
			Name: "complete", Doc: "Completes a task.",
			Permissions: write, Retry: services.Idempotent, Example: `{"task_id": "01gz…"}`, Returns: changedFields(), New: func() services.Request { return new(Complete) },
		},
		{
			Name: "progress", Doc: "Sets the progress of a task. Planner shows 0 as not started, 1 to 99 as in progress and 100 as completed; less than 100 reopens a completed task.",
			Permissions: write, Retry: services.Idempotent, Example: `{"task_id": "01gz…", "percent": 50}`, Returns: changedFields(), New: func() services.Request { return new(Progress) },
		},
	}
}

// changedFields documents [planner.Changed.Data].
func changedFields() []schema.Field {
	return []schema.Field{
		{Key: "task_id", Type: "text", Doc: "Id of the task."},
		{Key: "percent", Type: "whole number", Doc: "New progress, 0 to 100."},
	}
}

// checkID returns an error for an empty id, which would name all tasks.
func checkID(id string) error {
	if id == "" {
		return graph.Invalid("task_id: want the id of a task, as in the list")
	}
	return nil
}

// Complete completes a task.
type Complete struct {
	TaskID string `json:"task_id" required:"true" doc:"Id of the task, as in the list."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Complete) Validate() error { return checkID(r.TaskID) }

// Execute implements services.Request.
func (r *Complete) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	return planner.SetPercent(ctx, g, r.TaskID, planner.Completed, a.Repeated)
}

// Progress sets the progress of a task.
type Progress struct {
	TaskID  string `json:"task_id" required:"true" doc:"Id of the task, as in the list."`
	Percent int    `json:"percent" required:"true" min:"0" max:"100" doc:"The progress in percent."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Progress) Validate() error { return checkID(r.TaskID) }

// Execute implements services.Request.
func (r *Progress) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	return planner.SetPercent(ctx, g, r.TaskID, r.Percent, a.Repeated)
}
