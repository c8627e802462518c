// Package planner simulates the basic plans of Microsoft Planner: plans with their buckets, tasks and checklists.
package planner

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the plans of all tenants. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	plans     []*plan
	tasks     []*task
	last      int // number given last, to an id or a version
}

// New returns a Planner without plans.
func New(d *directory.Directory) *Service { return &Service{directory: d} }

//go:embed permissions.json
var permissions []byte

// Resource returns the plans and tasks of Graph.
func (s *Service) Resource() odata.Resource {
	return odata.Resource{Routes: s.routes(), Permissions: permissions, Controls: s.controls(), Seed: s.seed}
}

func (s *Service) seed(colleagues bool) {
	if !colleagues {
		return
	}
	day := s.directory.Now().UTC().Truncate(24 * time.Hour)
	p := s.AddPlan(PlannerPlan{Title: "Office move", Buckets: []string{"To do", "Doing"}, Members: []string{directory.Adele, directory.Megan}})
	both, adele := []string{directory.Adele, directory.Megan}, []string{directory.Adele}
	s.AddPlannerTask(PlannerTask{Plan: p.ID, Bucket: "To do", Title: "Order the desks", Due: day.AddDate(0, 0, -1), Priority: 1, Assigned: adele})
	s.AddPlannerTask(PlannerTask{
		Plan: p.ID, Bucket: "Doing", Title: "Pack the archive", Due: day.AddDate(0, 0, 7), Percent: 50, Priority: 5, Assigned: both,
		Checklist: []PlannerChecklistItem{{Title: "Boxes", Checked: true}, {Title: "Labels"}},
	})
}

// A PlannerPlan is a plan. Only its members see its title and its buckets; others see the tasks that are assigned to them.
type PlannerPlan struct {
	ID      string   `json:"id,omitempty"`
	Title   string   `json:"title"`
	Buckets []string `json:"buckets"` // names
	Members []string `json:"members"` // addresses
}

// A PlannerTask is a task of a plan.
type PlannerTask struct {
	ID        string                 `json:"id,omitempty"`
	Plan      string                 `json:"plan"`   // id, or title when it is added
	Bucket    string                 `json:"bucket"` // name; "": none
	Title     string                 `json:"title"`
	Percent   int                    `json:"percent"`
	Due       time.Time              `json:"due,omitzero"` // zero: none
	Priority  int                    `json:"priority"`
	Assigned  []string               `json:"assigned"` // addresses
	Checklist []PlannerChecklistItem `json:"checklist,omitempty"`
}

// A PlannerChecklistItem is an item of a task's checklist.
type PlannerChecklistItem struct {
	Title   string `json:"title"`
	Checked bool   `json:"checked"`
}

// A plan is a stored plan.
type plan struct {
	PlannerPlan
	buckets map[string]string // name → id
}

// A task is a stored task.
type task struct {
	PlannerTask
	plan     *plan
	created  time.Time
	finished time.Time      // when it was completed; zero: it is open
	versions []int          // all it had, the current one last
	changed  map[string]int // version of the last change, by property
	details  int            // version of the details
}

// number returns a number that was not given before.
func (s *Service) number() int {
	s.last++
	return s.last
}

// newID returns an id such as Planner's, of 28 characters.
func (s *Service) newID(kind string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, s.number()))
	return base64.RawURLEncoding.EncodeToString(sum[:21])
}

// etag returns the etag of a version of a task or of its details.
func etag(kind string, version int) string {
	return `W/"` + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "'1-%s  %017d'", kind, version)) + `"`
}

// AddPlan adds a plan and returns it with its id.
func (s *Service) AddPlan(p PlannerPlan) PlannerPlan {
	s.directory.Lock()
	defer s.directory.Unlock()
	if p.Title == "" {
		panic(control.Invalid("title is required"))
	}
	p.ID = s.newID("plan")
	added := &plan{buckets: map[string]string{}}
	s.setPlan(added, p)
	s.plans = append(s.plans, added)
	return added.copy()
}

// ChangePlan changes a plan, given by its id. Renamed buckets are new ones.
func (s *Service) ChangePlan(id string, change func(*PlannerPlan)) PlannerPlan {
	s.directory.Lock()
	defer s.directory.Unlock()
	p := s.mustPlan(id)
	changed := p.copy()
	change(&changed)
	changed.ID = p.ID
	s.setPlan(p, changed)
	return p.copy()
}

func (s *Service) setPlan(p *plan, to PlannerPlan) {
	for _, address := range to.Members {
		s.directory.MustUser(address)
	}
	for _, name := range to.Buckets {
		if p.buckets[name] == "" {
			p.buckets[name] = s.newID("bucket")
		}
	}
	p.PlannerPlan = to
	p.PlannerPlan = p.copy()
}

func (p *plan) copy() PlannerPlan {
	c := p.PlannerPlan
	c.Buckets, c.Members = append([]string{}, p.Buckets...), append([]string{}, p.Members...)
	return c
}

// Plans returns all plans.
func (s *Service) Plans() []PlannerPlan {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []PlannerPlan
	for _, p := range s.plans {
		all = append(all, p.copy())
	}
	return all
}

// mustPlan returns the plan with this id, or the only one with this title. It panics if there is none.
func (s *Service) mustPlan(name string) *plan {
	var found []*plan
	for _, p := range s.plans {
		if p.ID == name {
			return p
		}
		if p.Title == name {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		panic(control.NotFound("no plan %q, or several", name))
	}
	return found[0]
}

// AddPlannerTask adds a task and returns it with its id.
func (s *Service) AddPlannerTask(t PlannerTask) PlannerTask {
	s.directory.Lock()
	defer s.directory.Unlock()
	p := s.mustPlan(t.Plan)
	t.ID, t.Plan = s.newID("task"), p.ID
	added := &task{plan: p, created: s.directory.Now(), changed: map[string]int{}}
	s.setTask(added, t)
	s.tasks = append(s.tasks, added)
	return added.copy()
}

// ChangePlannerTask changes a task, given by its id. Its plan stays.
func (s *Service) ChangePlannerTask(id string, change func(*PlannerTask)) PlannerTask {
	s.directory.Lock()
	defer s.directory.Unlock()
	t := s.mustTask(id)
	changed := t.copy()
	change(&changed)
	changed.ID, changed.Plan = t.ID, t.Plan
	s.setTask(t, changed)
	return t.copy()
}

// RemovePlannerTask deletes a task.
func (s *Service) RemovePlannerTask(id string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	gone := s.mustTask(id)
	s.tasks = slices.DeleteFunc(s.tasks, func(t *task) bool { return t == gone })
}

// PlannerTasks returns the tasks that are assigned to a user.
func (s *Service) PlannerTasks(address string) []PlannerTask {
	s.directory.Lock()
	defer s.directory.Unlock()
	u := s.directory.MustUser(address)
	var all []PlannerTask
	for _, t := range s.tasks {
		if t.isAssigned(u) {
			all = append(all, t.copy())
		}
	}
	return all
}

// PlannerVersions returns how many versions a task has had: one for each change of it, but not of the texts in its checklist.
func (s *Service) PlannerVersions(id string) int {
	s.directory.Lock()
	defer s.directory.Unlock()
	return len(s.mustTask(id).versions)
}

func (s *Service) mustTask(id string) *task {
	t := s.task(id)
	if t == nil {
		panic(control.NotFound("no task %q", id))
	}
	return t
}

func (s *Service) task(id string) *task {
	if i := slices.IndexFunc(s.tasks, func(t *task) bool { return t.ID == id }); i >= 0 {
		return s.tasks[i]
	}
	return nil
}

func (s *Service) plan(id string) *plan {
	if i := slices.IndexFunc(s.plans, func(p *plan) bool { return p.ID == id }); i >= 0 {
		return s.plans[i]
	}
	return nil
}

// setTask stores a changed task and gives it a new version where a property of the task itself changed.
func (s *Service) setTask(t *task, to PlannerTask) {
	switch {
	case to.Title == "":
		panic(control.Invalid("title is required"))
	case to.Percent < 0 || to.Percent > 100:
		panic(control.Invalid("percent: want 0 to 100, not %d", to.Percent))
	case to.Priority < 0 || to.Priority > 10:
		panic(control.Invalid("priority: want 0 to 10, not %d", to.Priority))
	case to.Bucket != "" && !slices.Contains(t.plan.Buckets, to.Bucket):
		panic(control.Invalid("bucket: want one of %s, not %q", strings.Join(t.plan.Buckets, ", "), to.Bucket))
	}
	for _, address := range to.Assigned {
		s.directory.MustUser(address)
	}
	version := s.number()
	old := t.properties()
	items := !slices.Equal(t.Checklist, to.Checklist)
	t.PlannerTask = to
	t.PlannerTask = t.copy()
	if t.Percent < 100 {
		t.finished = time.Time{}
	} else if t.finished.IsZero() {
		t.finished = s.directory.Now()
	}
	for name, v := range t.properties() {
		if old[name] != v || len(t.versions) == 0 {
			t.changed[name] = version
		}
	}
	if items || t.details == 0 {
		t.details = version
	}
	if slices.Contains(mapValues(t.changed), version) {
		t.versions = append(t.versions, version)
	}
}

func mapValues(m map[string]int) []int {
	var all []int
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// properties returns the properties of the task itself that can change, in a form that can be compared.
func (t *task) properties() map[string]any {
	return map[string]any{
		"title": t.Title, "bucketId": t.Bucket, "percentComplete": t.Percent, "dueDateTime": instant(t.Due), "priority": t.Priority,
		"assignments": strings.Join(t.Assigned, " "), "checklistItemCount": len(t.Checklist), "activeChecklistItemCount": t.active(),
	}
}

// active returns the number of items that are not checked.
func (t *task) active() int {
	n := 0
	for _, item := range t.Checklist {
		if !item.Checked {
			n++
		}
	}
	return n
}

func (t *task) copy() PlannerTask {
	c := t.PlannerTask
	c.Assigned, c.Checklist = append([]string{}, t.Assigned...), slices.Clone(t.Checklist)
	return c
}

func (t *task) isAssigned(u *directory.User) bool { return containsFold(t.Assigned, u.Address) }

func (t *task) version() int { return t.versions[len(t.versions)-1] }

func (p *plan) isMember(u *directory.User) bool { return containsFold(p.Members, u.Address) }

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
}
