package todo

import (
	"context"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

// maxCompleted bounds the completed tasks that ReadCompleted returns.
const maxCompleted = 1000

// HeldTasks returns the open tasks of a snapshot, whenever they are due, and the completed ones that the options show.
func (o *Options) HeldTasks(snapshot any) []tasks.Task {
	s := snapshot.(*Snapshot)
	if len(s.Done) == 0 {
		return s.Open // a copy of thousands of tasks takes a megabyte
	}
	return slices.Concat(s.Open, s.Done)
}

// ReadCompleted reads the tasks of a snapshot's list that were completed last, at most 1,000.
func (o *Options) ReadCompleted(ctx context.Context, g *graph.Client, snapshot any) ([]tasks.Task, error) {
	return tasks.Latest(ctx, g, snapshot.(*Snapshot).ListID, maxCompleted)
}
