// Package planner shows the tasks that are assigned to the signed-in user in Microsoft Planner.
package planner

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	plannerops "github.com/graph2mqtt/graph2mqtt/services/planner"
)

// Kind returns the kind planner.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:  "planner",
		Title: "Planner",
		Doc: "The tasks that are assigned to you in Microsoft Planner: how many are open, how many are overdue, and when the next one is due. " +
			"Graph returns only tasks of basic plans, not those of premium plans (Planner Plan 1, Project). " +
			"Changed texts of checklist items appear within an hour, new names of plans and buckets within a day, all other changes at the next poll.",
		Interval:   120 * time.Second,
		WorkOnly:   true,
		UserOnly:   "Planner lists the tasks that are assigned to the user who signs in",
		New:        func() sensors.Sensor { return sensors.Of(new(Options)) },
		Attributes: attributeFields(),
		Events:     events(),
		Describe:   describe,
		Candidates: candidates,
	}
}

// Options are the options of a planner. They are the sensors.Source of the tasks.
type Options struct {
	Plan          string `koanf:"plan" form:"true" doc:"The name or the id of a plan, to show only its tasks. Default: the tasks of all plans."`
	ShowCompleted bool   `koanf:"show_completed" doc:"Also list completed tasks, after the open ones."`
}

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission {
	return []graph.Permission{planner.ReadPermission()}
}

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation { return plannerops.Operations() }

// candidates lists the plans.
func candidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	tasks, err := planner.Tasks(ctx, g)
	if err != nil {
		return nil, err
	}
	plans, err := knownPlans(ctx, g, tasks)
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for _, p := range plans {
		found = append(found, sensors.Candidate{Name: cmp.Or(p.Title, p.ID), Options: map[string]string{"plan": p.ID}, SelectedBy: sensors.SelectedBy(func(o *Options) bool {
			return o.Plan == p.ID || o.Plan != "" && strings.EqualFold(o.Plan, p.Title)
		})})
	}
	return found, nil
}

// knownPlans returns the plans that Planner lists and those of the tasks, by title. A title that the user may not read is "".
func knownPlans(ctx context.Context, g *graph.Client, tasks []planner.Task) ([]planner.Plan, error) {
	plans, err := planner.Plans(ctx, g)
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		if t.PlanID == "" || slices.ContainsFunc(plans, func(p planner.Plan) bool { return p.ID == t.PlanID }) {
			continue
		}
		p, err := planner.ReadPlan(ctx, g, t.PlanID)
		if err != nil && !unreadable(err) {
			return nil, err
		}
		plans = append(plans, planner.Plan{ID: t.PlanID, Title: p.Title})
	}
	slices.SortFunc(plans, func(a, b planner.Plan) int { return cmp.Or(cmp.Compare(a.Title, b.Title), cmp.Compare(a.ID, b.ID)) })
	return plans, nil
}

// findPlan returns the id of the plan with the given id or title. The case of the title matters only between plans that differ in
// nothing else.
func findPlan(ctx context.Context, g *graph.Client, name string, tasks []planner.Task) (string, error) {
	plans, err := knownPlans(ctx, g, tasks)
	if err != nil {
		return "", err
	}
	found, err := graph.FindByName("plan", name, plans, func(p planner.Plan) string { return p.ID }, func(p planner.Plan) string { return cmp.Or(p.Title, p.ID) },
		func(p planner.Plan) bool { return p.ID == name },
		func(p planner.Plan) bool { return p.Title == name },
		func(p planner.Plan) bool { return p.Title != "" && strings.EqualFold(p.Title, name) },
	)
	if err != nil && isID(name) { // Planner does not list every plan
		if p, unread := planner.ReadPlan(ctx, g, name); unread == nil || !unreadable(unread) {
			return p.ID, unread
		}
	}
	return found.ID, err
}

// isID reports whether a text looks like an id of Planner.
//
// https://learn.microsoft.com/graph/api/resources/planner-identifiers-disclaimer
func isID(s string) bool {
	return len(s) == 28 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
