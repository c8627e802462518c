// Package planner is a client for the tasks of Microsoft Planner that are assigned to the signed-in user.
package planner

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/planner"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// ReadPermission returns the permission to read plans and tasks.
func ReadPermission() graph.Permission {
	return graph.Permission{
		Scope: "Tasks.Read", Alternatives: []string{"Tasks.ReadWrite"},
		Purpose: "reads the tasks assigned to you in Planner", Impact: "the tasks are unavailable",
	}
}

// WritePermission returns the permission to change tasks.
func WritePermission() graph.Permission {
	return graph.Permission{Scope: "Tasks.ReadWrite", Purpose: "sets the progress of tasks in Planner", Impact: "the tasks are shown but cannot be changed"}
}

// Completed is the percentage of a completed task.
const Completed = 100

// A Task is a task without its details. Null or missing values are zero.
type Task struct {
	ID       string
	ETag     string // of this version; "": not known
	Title    string
	PlanID   string
	BucketID string
	Percent  int
	Due      string // the date in UTC, 2006-01-02; "": none
	Priority *int   // 0 (urgent) to 10 (low); nil: not known
	Items    int    // in the checklist
	Active   int    // of them, not checked
}

// IsCompleted reports whether the task is completed.
func (t Task) IsCompleted() bool { return t.Percent >= Completed }

// PriorityLabel returns the priority as Planner shows it: urgent, important, medium or low; "" if it is not known.
//
// https://learn.microsoft.com/graph/api/resources/plannertask
func (t Task) PriorityLabel() string {
	switch {
	case t.Priority == nil || *t.Priority < 0 || *t.Priority > 10:
		return ""
	case *t.Priority <= 1:
		return "urgent"
	case *t.Priority <= 4:
		return "important"
	case *t.Priority <= 7:
		return "medium"
	}
	return "low"
}

// taskDTO is the part of a task that is read.
type taskDTO struct {
	ETag     string  `json:"@odata.etag"`
	ID       string  `json:"id"`
	Title    string  `json:"title"`
	PlanID   string  `json:"planId"`
	BucketID string  `json:"bucketId"`
	Percent  float64 `json:"percentComplete"`
	Due      string  `json:"dueDateTime"`
	Priority any     `json:"priority"` // 0 is one, so that a wrong value must not become it
	Items    int     `json:"checklistItemCount"`
	Active   int     `json:"activeChecklistItemCount"`
}

// UnmarshalJSON implements [json.Unmarshaler]. One task with a wrong value must not hide all others.
func (d *taskDTO) UnmarshalJSON(b []byte) error {
	type plain taskDTO
	return graph.UnmarshalTolerantly(b, (*plain)(d))
}

func taskFields() []string {
	return []string{"id", "title", "planId", "bucketId", "percentComplete", "dueDateTime", "priority", "checklistItemCount", "activeChecklistItemCount"}
}

func (d taskDTO) task(op string) (Task, error) {
	if d.ID == "" {
		return Task{}, graph.Incomplete(op, "id of a task")
	}
	t := Task{
		ID: d.ID, ETag: d.ETag, Title: d.Title, PlanID: d.PlanID, BucketID: d.BucketID, Percent: int(d.Percent),
		Items: d.Items, Active: d.Active,
	}
	if p, ok := d.Priority.(float64); ok {
		t.Priority = new(int(p))
	}
	// An unreadable date is none: the task must be shown all the same.
	if due, err := time.Parse(time.RFC3339, d.Due); err == nil {
		t.Due = due.UTC().Format(time.DateOnly)
	}
	return t, nil
}

// Tasks returns all tasks that are assigned to the signed-in user, also completed ones, by id. Callers that ask at about the same time share
// the answer, which they must not change.
func Tasks(ctx context.Context, g *graph.Client) ([]Task, error) {
	const op = "read the tasks"
	return graph.Batch(ctx, g, op, op, func(ctx context.Context, _ []string) (map[string][]Task, error) {
		tasks, err := list(ctx, g, op)
		return map[string][]Task{op: tasks}, err
	})
}

func list(ctx context.Context, g *graph.Client, op string) ([]Task, error) {
	page, err := graph.GetAll[taskDTO](ctx, g, op, g.Me().Planner().Tasks().ToGetRequestInformation, &users.ItemPlannerTasksRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemPlannerTasksRequestBuilderGetQueryParameters{Select: taskFields()},
	})
	if err != nil {
		return nil, explain(g, err)
	}
	tasks := make([]Task, 0, len(page))
	seen := make(map[string]bool, len(page)) // a task that moves between pages while they are read may be on two
	for _, d := range page {
		t, err := d.task(op)
		if err != nil {
			return nil, err
		}
		if !seen[t.ID] {
			seen[t.ID] = true
			tasks = append(tasks, t)
		}
	}
	slices.SortFunc(tasks, func(a, b Task) int { return cmp.Compare(a.ID, b.ID) })
	return tasks, nil
}

// explain explains in the user's words why Planner refuses everything although a sufficient scope is granted.
func explain(g *graph.Client, err error) error {
	if !graph.Is(err, graph.PermissionMissing) && !graph.Is(err, graph.NotFound) || !g.Granted(ReadPermission()) {
		return err
	}
	if g.Personal() {
		return graph.Explain(err, "a personal Microsoft account has no Planner")
	}
	return graph.Explain(err, "Microsoft Planner refuses; does your account have a license for it?")
}

// An Item is an item of a checklist.
type Item struct {
	Title   string
	Checked bool
}

// Checklist returns the checklist of a task in its order.
func Checklist(ctx context.Context, g *graph.Client, id string) ([]Item, error) {
	d, err := graph.Get[struct {
		Checklist map[string]*struct {
			Title   string `json:"title"`
			Checked bool   `json:"isChecked"`
			Order   string `json:"orderHint"`
		} `json:"checklist"`
	}](ctx, g, "read the checklist of a task", builder(g).Tasks().ByPlannerTaskId(id).Details().ToGetRequestInformation, &planner.TasksItemDetailsRequestBuilderGetRequestConfiguration{
		QueryParameters: &planner.TasksItemDetailsRequestBuilderGetQueryParameters{Select: []string{"checklist"}},
	})
	if err != nil {
		return nil, err
	}
	type ordered struct {
		Item
		order, key string
	}
	var all []ordered
	for key, item := range d.Checklist {
		if item != nil {
			all = append(all, ordered{Item{item.Title, item.Checked}, item.Order, key})
		}
	}
	slices.SortFunc(all, func(a, b ordered) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.key, b.key)) })
	items := []Item{}
	for _, o := range all {
		items = append(items, o.Item)
	}
	return items, nil
}

// A Plan is a plan of Planner.
type Plan struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Plans returns the plans that Planner shows to the signed-in user. Tasks may be assigned in others, too.
func Plans(ctx context.Context, g *graph.Client) ([]Plan, error) {
	plans, err := graph.GetAll[Plan](ctx, g, "read the plans", g.Me().Planner().Plans().ToGetRequestInformation, &users.ItemPlannerPlansRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemPlannerPlansRequestBuilderGetQueryParameters{Select: []string{"id", "title"}},
	})
	if err != nil {
		return nil, explain(g, err)
	}
	return slices.DeleteFunc(plans, func(p Plan) bool { return p.ID == "" }), nil
}

// ReadPlan returns a plan by its id.
func ReadPlan(ctx context.Context, g *graph.Client, id string) (Plan, error) {
	const op = "read the plan"
	p, err := graph.Get[Plan](ctx, g, op, builder(g).Plans().ByPlannerPlanId(id).ToGetRequestInformation, &planner.PlansPlannerPlanItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &planner.PlansPlannerPlanItemRequestBuilderGetQueryParameters{Select: []string{"id", "title"}},
	})
	if err == nil && p.ID == "" {
		err = graph.Incomplete(op, "id")
	}
	return p, err
}

// Buckets returns the names of a plan's buckets by id.
func Buckets(ctx context.Context, g *graph.Client, plan string) (map[string]string, error) {
	page, err := graph.GetAll[struct{ ID, Name string }](ctx, g, "read the buckets", builder(g).Plans().ByPlannerPlanId(plan).Buckets().ToGetRequestInformation, &planner.PlansItemBucketsRequestBuilderGetRequestConfiguration{
		QueryParameters: &planner.PlansItemBucketsRequestBuilderGetQueryParameters{Select: []string{"id", "name"}},
	})
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, b := range page {
		names[b.ID] = b.Name
	}
	return names, nil
}

// builder returns a fresh request builder of Planner.
func builder(g *graph.Client) *planner.PlannerRequestBuilder {
	return planner.NewPlannerRequestBuilderInternal(map[string]string{}, g.Adapter())
}
