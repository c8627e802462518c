package planner

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// pageSize is the number of entities in a page for which the client sets no size.
const pageSize = "400"

// A call is a request to Graph.
type call struct {
	*odata.Call
	s *Service
}

func entityType(name string, p odata.Properties) *odata.Type {
	t := odata.ComplexType(name, p)
	t.Denied = odata.NewError(http.StatusForbidden, "Forbidden", "The caller does not have a permission that the request needs.")
	return t
}

func identity() odata.Property {
	user := odata.ComplexType("identity", odata.Properties{"id": odata.String(), "displayName": odata.String()})
	return odata.Of(odata.ComplexType("identitySet", odata.Properties{"user": odata.Of(user)}))
}

func planType() *odata.Type {
	return entityType("plannerPlan", odata.Properties{
		"id": odata.String().Computed(), "title": odata.String(), "owner": odata.String(), "createdDateTime": odata.DateTimeOffset().Computed(), "createdBy": identity().Computed(),
	})
}

func bucketType() *odata.Type {
	return entityType("plannerBucket", odata.Properties{
		"id": odata.String().Computed(), "name": odata.String(), "planId": odata.String(), "orderHint": odata.String(),
	})
}

func taskType() *odata.Type {
	assignments := odata.ComplexType("plannerAssignments", odata.Properties{})
	assignments.Open = true
	categories := odata.ComplexType("plannerAppliedCategories", odata.Properties{})
	categories.Open = true
	return entityType("plannerTask", odata.Properties{
		"id": odata.String().Computed(), "title": odata.String().NotNull(), "planId": odata.String(), "bucketId": odata.String(), "percentComplete": odata.Int32().NotNull(),
		"dueDateTime": odata.DateTimeOffset(), "startDateTime": odata.DateTimeOffset(), "priority": odata.Int32().NotNull(), "orderHint": odata.String(), "assigneePriority": odata.String(),
		"assignments": odata.Of(assignments), "appliedCategories": odata.Of(categories), "createdDateTime": odata.DateTimeOffset().Computed(),
		"completedDateTime": odata.DateTimeOffset().Computed(), "createdBy": identity().Computed(), "completedBy": identity().Computed(), "hasDescription": odata.Boolean().Computed(),
		"checklistItemCount": odata.Int32().Computed(), "activeChecklistItemCount": odata.Int32().Computed(), "referenceCount": odata.Int32().Computed(),
		"previewType": odata.String(), "conversationThreadId": odata.String(),
	})
}

func detailsType() *odata.Type {
	checklist := odata.ComplexType("plannerChecklistItems", odata.Properties{})
	checklist.Open = true
	references := odata.ComplexType("plannerExternalReferences", odata.Properties{})
	references.Open = true
	return entityType("plannerTaskDetails", odata.Properties{
		"id": odata.String().Computed(), "description": odata.String(), "previewType": odata.String(), "checklist": odata.Of(checklist), "references": odata.Of(references),
	})
}

func (s *Service) routes() []odata.Route {
	route := func(method, path string, t *odata.Type, do func(*call) (odata.Response, error), options ...string) odata.Route {
		return odata.Route{Method: method, Path: path, Type: t, Options: options, Do: func(c *odata.Call) (odata.Response, error) { return do(&call{c, s}) }}
	}
	list := []string{"$select", "$top", "$skip"}
	tasks := taskType()
	return []odata.Route{
		route("GET", "/me/planner/tasks", tasks, ownTasks, list...),
		route("GET", "/me/planner/plans", planType(), ownPlans, list...),
		route("GET", "/planner/plans/{plan}", planType(), getPlan, "$select"),
		route("GET", "/planner/plans/{plan}/buckets", bucketType(), getBuckets, list...),
		route("GET", "/planner/plans/{plan}/tasks", tasks, planTasks, list...),
		route("GET", "/planner/tasks/{task}", tasks, getTask, "$select"),
		route("GET", "/planner/tasks/{task}/details", detailsType(), getDetails, "$select"),
		route("PATCH", "/planner/tasks/{task}", tasks, changeTask),
	}
}

// denied returns Planner's error for an item that the user may not see. It does not tell whether the item exists.
func denied() *odata.Error {
	return odata.NewError(http.StatusForbidden, "", "You do not have the required permissions to access this item, or the item may not exist.")
}

// collection returns a page of entities.
func (c *call) collection(set string, all []map[string]any) (odata.Response, error) {
	if !c.Query.Has("$top") {
		c.Query.Set("$top", pageSize)
	}
	return c.Collection(set, all)
}

// entity returns a single entity.
func (c *call) entity(set string, e map[string]any) (odata.Response, error) {
	body, err := c.Project(e)
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity(set, body), nil
}

func (c *call) targetPlan() (*plan, error) {
	p := c.s.plan(c.Params["plan"])
	if p == nil || !p.isMember(c.User) {
		return nil, denied()
	}
	return p, nil
}

func (c *call) targetTask() (*task, error) {
	id := c.Params["task"]
	if len(id) != 28 {
		return nil, odata.NewError(http.StatusBadRequest, "", "The id '%s' is not valid.", id)
	}
	t := c.s.task(id)
	if t == nil {
		return nil, odata.NewError(http.StatusNotFound, "", "The requested item is not found.")
	}
	if !t.isAssigned(c.User) && !t.plan.isMember(c.User) {
		return nil, denied()
	}
	return t, nil
}

func ownPlans(c *call) (odata.Response, error) {
	var all []map[string]any
	for _, p := range c.s.plans {
		if p.isMember(c.User) {
			all = append(all, p.json())
		}
	}
	return c.collection("planner/plans", all)
}

func getPlan(c *call) (odata.Response, error) {
	p, err := c.targetPlan()
	if err != nil {
		return odata.Response{}, err
	}
	return c.entity("planner/plans", p.json())
}

func getBuckets(c *call) (odata.Response, error) {
	p, err := c.targetPlan()
	if err != nil {
		return odata.Response{}, err
	}
	var all []map[string]any
	for i, name := range p.Buckets {
		id := p.buckets[name]
		all = append(all, map[string]any{"@odata.etag": etag("Bucket", 1), "id": id, "name": name, "planId": p.ID, "orderHint": fmt.Sprintf("85%015d", i)})
	}
	return c.collection("planner/plans('"+p.ID+"')/buckets", all)
}

func planTasks(c *call) (odata.Response, error) {
	p, err := c.targetPlan()
	if err != nil {
		return odata.Response{}, err
	}
	return c.tasks(func(t *task) bool { return t.plan == p })
}

func ownTasks(c *call) (odata.Response, error) {
	return c.tasks(func(t *task) bool { return t.isAssigned(c.User) })
}

func (c *call) tasks(match func(*task) bool) (odata.Response, error) {
	var all []map[string]any
	for _, t := range c.s.tasks {
		if match(t) {
			all = append(all, t.json(c.s.directory))
		}
	}
	return c.collection("Collection(microsoft.graph.plannerTask)", all)
}

func getTask(c *call) (odata.Response, error) {
	t, err := c.targetTask()
	if err != nil {
		return odata.Response{}, err
	}
	return c.entity("planner/tasks", t.json(c.s.directory))
}

func getDetails(c *call) (odata.Response, error) {
	t, err := c.targetTask()
	if err != nil {
		return odata.Response{}, err
	}
	checklist := map[string]any{}
	for i, item := range t.Checklist {
		key := directory.NewGUID(fmt.Sprintf("%s-%d", t.ID, i))
		checklist[key] = map[string]any{
			"@odata.type": "#microsoft.graph.plannerChecklistItem", "title": item.Title, "isChecked": item.Checked, "orderHint": fmt.Sprintf("85%015d", i),
		}
	}
	return c.entity("planner/tasks('"+t.ID+"')/details", map[string]any{
		"@odata.etag": etag("TaskDetails", t.details), "id": t.ID, "description": "", "previewType": "automatic", "checklist": checklist, "references": map[string]any{},
	})
}

// changeTask changes a task. The client names the version that it knows in If-Match. It may be an older one, unless a property was changed since
// that the request changes as well.
//
// https://learn.microsoft.com/graph/api/resources/planner-overview#planner-resource-versioning
func changeTask(c *call) (odata.Response, error) {
	t, err := c.targetTask()
	if err != nil {
		return odata.Response{}, err
	}
	body, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	known := slices.IndexFunc(t.versions, func(v int) bool { return etag("Task", v) == c.Request.Header.Get("If-Match") })
	if known < 0 {
		return odata.Response{}, odata.NewError(http.StatusPreconditionFailed, "", "The If-Match header does not name a version of the item.")
	}
	changed := t.copy()
	for name, v := range body {
		if t.changed[name] > t.versions[known] {
			return odata.Response{}, odata.NewError(http.StatusConflict, "", "The attempted changes conflicted with other accepted changes. Read the item and try again.")
		}
		if err := changed.set(t.plan, name, v); err != nil {
			return odata.Response{}, err
		}
	}
	c.s.setTask(t, changed)
	if !strings.EqualFold(c.Prefer["return"], "representation") {
		return odata.Response{Status: http.StatusNoContent}, nil
	}
	c.Applied("return=representation")
	return c.entity("planner/tasks", t.json(c.s.directory))
}

// set sets a property from a request.
func (t *PlannerTask) set(p *plan, name string, v any) error {
	wrong := odata.BadRequest("The value of '%s' is not valid.", name)
	switch name {
	case "title":
		if t.Title, _ = v.(string); t.Title == "" {
			return wrong
		}
	case "percentComplete", "priority":
		n, _ := v.(float64)
		most := 100
		field := &t.Percent
		if name == "priority" {
			most, field = 10, &t.Priority
		}
		if n < 0 || int(n) > most {
			return wrong
		}
		*field = int(n)
	case "dueDateTime":
		t.Due = time.Time{}
		if text, ok := v.(string); ok {
			due, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return wrong
			}
			t.Due = due
		}
	case "bucketId":
		i := slices.IndexFunc(p.Buckets, func(b string) bool { return p.buckets[b] == v })
		if i < 0 {
			return wrong
		}
		t.Bucket = p.Buckets[i]
	default:
		return odata.NotSimulated("a change of '%s'.", name)
	}
	return nil
}

func (p *plan) json() map[string]any {
	return map[string]any{"@odata.etag": etag("Plan", 1), "id": p.ID, "title": p.Title, "owner": nil, "createdDateTime": nil, "createdBy": nil}
}

func (t *task) json(d *directory.Directory) map[string]any {
	assignments := map[string]any{}
	for _, address := range t.Assigned {
		assignments[d.MustUser(address).ID] = map[string]any{
			"@odata.type": "#microsoft.graph.plannerAssignment", "assignedDateTime": instant(t.created), "orderHint": "8585Px9n",
		}
	}
	return map[string]any{
		"@odata.etag": etag("Task", t.version()), "id": t.ID, "title": t.Title, "planId": t.plan.ID, "bucketId": orNil(t.plan.buckets[t.Bucket]),
		"percentComplete": t.Percent, "dueDateTime": instant(t.Due), "startDateTime": nil, "priority": t.Priority, "orderHint": "8585" + base64.RawStdEncoding.EncodeToString([]byte(t.ID[:6])),
		"assigneePriority": "", "assignments": assignments, "appliedCategories": map[string]any{}, "createdDateTime": instant(t.created), "completedDateTime": instant(t.finished),
		"createdBy": nil, "completedBy": nil, "hasDescription": false, "checklistItemCount": len(t.Checklist), "activeChecklistItemCount": t.active(), "referenceCount": 0,
		"previewType": "automatic", "conversationThreadId": nil,
	}
}

// instant formats a time as Graph does; nil for the zero time.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
