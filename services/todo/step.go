package todo

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// CreateStep adds a step to a task.
type CreateStep struct {
	target Target

	TodoID string `json:"todo_id" required:"true" doc:"Id of the task, as in the list."`
	Name   string `json:"name" required:"true" doc:"Text of the step."`
}

// Validate returns an error for values that Graph would refuse.
func (r *CreateStep) Validate() error {
	if err := checkID(r.TodoID); err != nil {
		return err
	}
	return checkSubject("name", r.Name)
}

// Execute implements services.Request.
func (r *CreateStep) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	return tasks.CreateStep(ctx, g, list, r.TodoID, r.Name)
}

// stepSkew bounds how much this machine's clock may be ahead of Exchange's for a new step to be recognized. A larger value might take an
// older step of the same name for it.
const stepSkew = 5 * time.Second

// Verify implements services.Verifier: a step has no place for a key, so it is recognized by its name and time.
func (r *CreateStep) Verify(ctx context.Context, g *graph.Client, a services.Attempt) (any, bool, error) {
	return verify(ctx, g, r.target, func(ctx context.Context, list string) (any, bool, error) {
		t, err := tasks.Get(ctx, g, list, r.TodoID)
		if err != nil {
			return nil, false, err
		}
		for _, s := range t.Steps {
			if s.Name == r.Name && !s.Created.Before(a.Now.Add(-stepSkew)) {
				return tasks.StepChanged{TaskID: t.ID, Step: s}, true, nil
			}
		}
		return nil, false, nil
	})
}

// A step is bound to a step of a task.
type step struct {
	target Target

	TodoID          string `json:"todo_id" required:"true" doc:"Id of the task, as in the list."`
	ChecklistItemID string `json:"checklist_item_id" required:"true" doc:"Id of the step, as in the list."`
}

// Validate returns an error for ids that are empty.
func (r *step) Validate() error { return checkStep(r.TodoID, r.ChecklistItemID) }

func checkStep(todoID, stepID string) error {
	if err := checkID(todoID); err != nil {
		return err
	}
	if stepID == "" {
		return graph.Invalid("checklist_item_id: want the id of a step, as in the list")
	}
	return nil
}

// UpdateStep changes a step.
type UpdateStep struct {
	target Target

	TodoID          string  `json:"todo_id" required:"true" doc:"Id of the task, as in the list."`
	ChecklistItemID string  `json:"checklist_item_id" required:"true" doc:"Id of the step, as in the list."`
	Name            *string `json:"name" doc:"Text of the step."`
	Completed       *bool   `json:"completed" doc:"Whether the step is checked."`
}

// Validate returns an error for values that Graph would refuse.
func (r *UpdateStep) Validate() error {
	if err := checkStep(r.TodoID, r.ChecklistItemID); err != nil {
		return err
	}
	switch {
	case r.Name == nil && r.Completed == nil:
		return graph.Invalid("want a field to change: name or completed")
	case r.Name != nil:
		return checkSubject("name", *r.Name)
	}
	return nil
}

// Execute implements services.Request.
func (r *UpdateStep) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	return tasks.UpdateStep(ctx, g, list, r.TodoID, r.ChecklistItemID, r.Name, r.Completed)
}

// CompleteStep checks a step.
type CompleteStep struct{ step }

// Execute implements services.Request.
func (r *CompleteStep) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	return tasks.UpdateStep(ctx, g, list, r.TodoID, r.ChecklistItemID, nil, new(true))
}

// DeleteStep deletes a step.
type DeleteStep struct{ step }

// Execute implements services.Request.
func (r *DeleteStep) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	deleted, err := tasks.DeleteStep(ctx, g, list, r.TodoID, r.ChecklistItemID)
	return deleted, goneIfRepeated(err, a)
}
