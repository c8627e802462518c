package planner

import (
	"context"
	"errors"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/planner"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Changed is the answer to a request for progress.
type Changed struct {
	Task
	Replaced string // the version that was changed; "": none was
	Own      bool   // this program changed it
}

// Data returns the answer as a response shows it.
func (c Changed) Data() any { return map[string]any{"task_id": c.ID, "percent": c.Percent} }

// SetPercent sets the progress of a task. A task that has it already is not written. repeated: an earlier attempt may have written it.
//
// Planner refuses a change that contradicts one by somebody else. Then the task is read again and the change is tried once more.
//
// https://learn.microsoft.com/graph/api/resources/planner-overview#planner-resource-versioning
func SetPercent(ctx context.Context, g *graph.Client, id string, percent int, repeated bool) (Changed, error) {
	c, err := setPercent(ctx, g, id, percent, repeated)
	if graph.Is(err, graph.Conflict) {
		c, err = setPercent(ctx, g, id, percent, repeated)
	}
	if graph.Is(err, graph.Conflict) {
		return c, graph.Explain(err, "somebody else changed the task at the same time")
	}
	return c, err
}

func setPercent(ctx context.Context, g *graph.Client, id string, percent int, repeated bool) (Changed, error) {
	old, err := read(ctx, g, id)
	if err != nil {
		return Changed{}, err
	}
	if old.Percent == percent {
		return Changed{Task: old, Own: repeated}, nil
	}
	const op = "set the progress of the task"
	if old.ETag == "" {
		return Changed{}, graph.Incomplete(op, "version of the task")
	}
	value := int32(percent)
	body := models.NewPlannerTask()
	body.SetPercentComplete(&value)
	headers := abstractions.NewRequestHeaders()
	headers.Add("If-Match", old.ETag)
	headers.Add("Prefer", "return=representation")
	d, err := graph.Send[taskDTO](ctx, g, op, builder(g).Tasks().ByPlannerTaskId(id).ToPatchRequestInformation, models.PlannerTaskable(body),
		&planner.TasksPlannerTaskItemRequestBuilderPatchRequestConfiguration{Headers: headers})
	if graph.Is(err, graph.PermissionMissing) && g.Granted(WritePermission()) {
		err = graph.Explain(err, "you may not change this task")
	}
	if err != nil {
		return Changed{}, err
	}
	written := Changed{Replaced: old.ETag, Own: true}
	if d.ID != "" {
		written.Task, err = d.task(op)
		return written, err
	}
	// Planner need not return the task.
	written.Task, err = read(ctx, g, id)
	return written, graph.Unconfirmed(err)
}

// read returns a task by its id.
func read(ctx context.Context, g *graph.Client, id string) (Task, error) {
	const op = "read the task"
	d, err := graph.Get[taskDTO](ctx, g, op, builder(g).Tasks().ByPlannerTaskId(id).ToGetRequestInformation, &planner.TasksPlannerTaskItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &planner.TasksPlannerTaskItemRequestBuilderGetQueryParameters{Select: taskFields()},
	})
	switch {
	case err != nil && g.Personal():
		return Task{}, explain(g, err)
	case graph.Is(err, graph.NotFound), graph.Is(err, graph.InvalidArgument): // the latter for what cannot be an id
		explained := graph.Explain(err, "there is no such task")
		if e, ok := errors.AsType[*graph.Error](explained); ok {
			e.Reason = graph.NotFound
		}
		return Task{}, explained
	case graph.Is(err, graph.PermissionMissing) && g.Granted(ReadPermission()):
		return Task{}, graph.Explain(err, "there is no such task, or you have no access to it")
	case err != nil:
		return Task{}, err
	}
	return d.task(op)
}
