// Package todo shows task lists of Microsoft To Do.
package todo

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/todo"
)

// Kind returns the kind todo.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:        "todo",
		Aliases:     []string{"tasks", "task_list", "to_do"},
		Title:       "To Do",
		MemberField: "list",
		Doc: "The tasks of a list in Microsoft To Do, or with `list: all`, which is the default, of every list, with one device for each. " +
			"Graph returns a due date as midnight, without the time zone in which it was set. graph2mqtt shows the day whose midnight in the account's time zone is nearest. " +
			"If the task was created in a time zone that differs by 12 hours or more, this may be the day before or after. " +
			"A change appears at the next poll. New lists, and changes of only a step, which Graph does not report, appear after at most five minutes.",
		Interval:     time.Minute,
		ListInterval: 5 * time.Minute,
		Application:  true, OfMailbox: true,
		New: func() sensors.Sensor {
			return sensors.Of(&Options{List: all, MaxTodos: 100})
		},
		Attributes: attributeFields(),
		Events:     events(),
		Describe:   describe,
		Candidates: candidates,
	}
}

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission { return []graph.Permission{tasks.ReadPermission()} }

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation {
	return todo.Operations(todo.Target{List: o.List})
}

// IsGroup implements sensors.GroupSource.
func (o *Options) IsGroup() bool { return o.List == all }

// Members implements sensors.GroupSource.
func (o *Options) Members(ctx context.Context, g *graph.Client) ([]sensors.Member, error) {
	lists, err := tasks.Lists(ctx, g)
	if err != nil {
		return nil, err
	}
	var members []sensors.Member
	for _, l := range lists {
		if !o.leavesOut(l) {
			members = append(members, sensors.Member{ID: l.ID, Name: l.Name})
		}
	}
	return members, nil
}

// leavesOut reports whether a list is named in except.
func (o *Options) leavesOut(l tasks.Info) bool {
	return slices.ContainsFunc(o.Except, func(s string) bool {
		return s == l.ID || strings.EqualFold(s, l.Name) || l.BuiltIn() && strings.EqualFold(s, l.WellKnown)
	})
}

// Member implements sensors.GroupSource.
func (o *Options) Member(m sensors.Member) sensors.Source[Snapshot] {
	member := *o
	member.List, member.Except = m.ID, nil
	return &member
}

// candidates lists the task lists. One is named by its id where its name could mean another.
func candidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	lists, err := tasks.Lists(ctx, g)
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for i, l := range lists {
		name := graph.UniqueName(lists, i, func(l tasks.Info) string { return l.ID }, func(l tasks.Info) string { return l.Name }, all)
		found = append(found, sensors.Candidate{Name: l.Name, Options: map[string]string{"list": name}, SelectedBy: sensors.SelectedBy(func(o *Options) bool {
			return o.List == l.ID || strings.EqualFold(o.List, name) || o.List == all && !o.leavesOut(l)
		})})
	}
	return found, nil
}
