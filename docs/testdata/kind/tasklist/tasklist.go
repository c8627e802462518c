// Package tasklist shows the tasks of a list in Microsoft To Do.
package tasklist

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/docs/testdata/kind/operations"
	"github.com/graph2mqtt/graph2mqtt/docs/testdata/kind/tasks"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Kind returns the kind tasklist.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name: "tasklist", Title: "Task list", Doc: "The tasks of a list in Microsoft To Do.", Interval: time.Minute,
		New:        func() sensors.Sensor { return sensors.Of(new(Options)) },
		Attributes: []schema.Field{{Key: "tasks", Type: "list of text", Doc: "Titles of the open tasks."}},
	}
}

// Options are the options of a sensor of this kind. They implement sensors.Source.
type Options struct {
	List string `koanf:"list" required:"true" example:"AQMk…" doc:"The id of the list."`
}

// A Snapshot holds the tasks that a poll has read.
type Snapshot struct{ Tasks []tasks.Task }

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission {
	return []graph.Permission{{Scope: "Tasks.Read", Alternatives: []string{"Tasks.ReadWrite"}, Purpose: "reads your tasks", Impact: "the list is unavailable"}}
}

// Entities implements sensors.Source.
func (o *Options) Entities() []entity.Entity {
	return []entity.Entity{entity.Count("open", "Open tasks").WithDoc("Number of open tasks.").WithIcon("mdi:check").AsPrimary()}
}

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation { return operations.Operations(o.List) }

// Poll implements sensors.Source.
func (o *Options) Poll(ctx context.Context, g *graph.Client, _ *Snapshot, _ time.Time) (*Snapshot, error) {
	all, err := tasks.Read(ctx, g, o.List)
	if err != nil {
		return nil, err
	}
	return &Snapshot{all}, nil
}

// Events implements sensors.Source.
func (o *Options) Events(before, after *Snapshot, now time.Time) []entity.Event { return nil }

// State implements sensors.Source.
func (o *Options) State(s *Snapshot, since, now time.Time) entity.State {
	if s == nil {
		return entity.State{} // unknown
	}
	open := []string{}
	for _, t := range s.Tasks {
		if t.Status != "completed" {
			open = append(open, t.Title)
		}
	}
	return entity.State{Values: map[string]any{"open": len(open)}, Attributes: map[string]any{"tasks": open}}
}
