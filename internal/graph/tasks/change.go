package tasks

import (
	"context"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const opChanges = "ask for changed tasks"

// Changes returns what changed in the list with this id since the round that gave link; in the first round, without a link, all tasks.
// The tasks have their ids and states only. Changes of steps alone may be missing.
//
// https://learn.microsoft.com/graph/api/todotask-delta
func Changes(ctx context.Context, g *graph.Client, list, link string) (graph.DeltaChanges[Task], error) {
	h := headers("odata.maxpagesize=1000")
	c, err := graph.Delta[taskDTO](ctx, g, opChanges, "a task", link, h, tasksOf(g, list).Delta().ToGetRequestInformation,
		&users.ItemTodoListsItemTasksDeltaRequestBuilderGetRequestConfiguration{
			Headers: h, QueryParameters: &users.ItemTodoListsItemTasksDeltaRequestBuilderGetQueryParameters{Select: stateFields()},
		})
	if err != nil {
		return graph.DeltaChanges[Task]{}, err
	}
	changed, err := convert(opChanges, c.Changed)
	return graph.DeltaChanges[Task]{Link: c.Link, Changed: changed, Removed: c.Removed, Expired: c.Expired}, err
}

// ReadProbe returns the probe of the list with this id. It is for lists of which Graph reports no changes.
func ReadProbe(ctx context.Context, g *graph.Client, list string) (graph.Probe, error) {
	return graph.GetProbe(ctx, g, opChanges, tasksOf(g, list).ToGetRequestInformation, &users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{
			Count: new(true), Top: new(int32(1)), Select: []string{"id", "lastModifiedDateTime"}, Orderby: []string{"lastModifiedDateTime desc"},
		},
	})
}
