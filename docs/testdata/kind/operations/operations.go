// Package todo has the operations of a list.
package todo

import (
	"context"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations returns the operations of a list.
func Operations(list string) []services.Operation {
	return []services.Operation{{
		Name: "complete", Doc: "Completes a task.", Example: `{"todo_id": "AAMk…"}`, Retry: services.Idempotent,
		Permissions: []graph.Permission{{Scope: "Tasks.ReadWrite", Purpose: "completes tasks", Impact: "tasks are shown but cannot be changed"}},
		New:         func() services.Request { return &Complete{list: list} },
	}}
}

// Complete completes a task.
type Complete struct {
	list string

	TodoID string `json:"todo_id" required:"true" doc:"Id of the task."`
}

// Execute implements services.Request.
func (r *Complete) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	completed := models.COMPLETED_TASKSTATUS
	task := models.NewTodoTask()
	task.SetStatus(&completed)
	build := g.Me().Todo().Lists().ByTodoTaskListId(r.list).Tasks().ByTodoTaskId(r.TodoID).ToPatchRequestInformation
	_, err := graph.Send[graph.None](ctx, g, "complete the task", build, models.TodoTaskable(task), nil)
	return nil, err
}
