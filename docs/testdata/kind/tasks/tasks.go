// Package tasks reads the lists of Microsoft To Do.
package tasks

import (
	"context"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Task is a task of a list.
type Task struct{ ID, Title, Status string }

// Read returns the tasks of a list.
func Read(ctx context.Context, g *graph.Client, list string) ([]Task, error) {
	return graph.GetAll[Task](ctx, g, "read the tasks", g.Me().Todo().Lists().ByTodoTaskListId(list).Tasks().ToGetRequestInformation,
		&users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{Select: []string{"id", "title", "status"}},
		})
}
