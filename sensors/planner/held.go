package planner

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

// HeldTasks returns the tasks of a snapshot that the options list, as tasks of To Do.
func (o *Options) HeldTasks(snapshot any) []tasks.Task {
	var held []tasks.Task
	for _, e := range snapshot.(*Snapshot).Tasks {
		if o.lists(e.Task) {
			held = append(held, todoOf(e.Task))
		}
	}
	return held
}

// ReadCompleted reads the completed tasks of a snapshot's plan, or of all plans.
func (o *Options) ReadCompleted(ctx context.Context, g *graph.Client, snapshot any) ([]tasks.Task, error) {
	all, err := planner.Tasks(ctx, g)
	if err != nil {
		return nil, err
	}
	s := snapshot.(*Snapshot)
	completed := []tasks.Task{}
	for _, t := range all {
		if t.IsCompleted() && (s.PlanID == "" || t.PlanID == s.PlanID) {
			completed = append(completed, todoOf(t))
		}
	}
	return completed, nil
}

// todoOf returns a task as To Do would show it.
func todoOf(t planner.Task) tasks.Task {
	todo := tasks.Task{ID: t.ID, Subject: t.Title, Status: "notStarted", Importance: "normal", DueZoned: t.Due}
	switch {
	case t.IsCompleted():
		todo.Status = tasks.Completed
	case t.Percent > 0:
		todo.Status = "inProgress"
	}
	switch t.PriorityLabel() {
	case "urgent", "important":
		todo.Importance = "high"
	case "low":
		todo.Importance = "low"
	}
	return todo
}
