// Package tasks reads and changes the tasks of Microsoft To Do.
package tasks

import (
	"context"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Task is a task in a list.
type Task struct{ ID, Title, Status string }

// Read returns the tasks of a list.
func Read(ctx context.Context, g *graph.Client, list string) ([]Task, error) {
	return graph.GetAll[Task](ctx, g, "read the tasks", g.Me().Todo().Lists().ByTodoTaskListId(list).Tasks().ToGetRequestInformation,
		&users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{Select: []string{"id", "title", "status"}},
		})
}

// Complete completes a task.
func Complete(ctx context.Context, g *graph.Client, list, id string) error {
	completed := models.COMPLETED_TASKSTATUS
	task := models.NewTodoTask()
	task.SetStatus(&completed)
	build := g.Me().Todo().Lists().ByTodoTaskListId(list).Tasks().ByTodoTaskId(id).ToPatchRequestInformation
	_, err := graph.Send[graph.None](ctx, g, "complete the task", build, models.TodoTaskable(task), nil)
	return err
}
