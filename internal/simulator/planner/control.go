package planner

import (
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

func (s *Service) controls() []control.Operation {
	return []control.Operation{
		{Method: "GET", Path: "/control/planner/plans", Description: "list the plans of Planner", Do: s.readPlans},
		{Method: "POST", Path: "/control/planner/plans", Description: "add a plan", Do: s.makePlan},
		{Method: "PATCH", Path: "/control/planner/plans/{plan}", Description: "rename a plan, or change its buckets or members", Do: s.putPlan},
		{Method: "POST", Path: "/control/planner/tasks", Description: "add a task to a plan", Do: s.makeTask},
		{Method: "PATCH", Path: "/control/planner/tasks/{task}", Description: "change the given properties of a task", Do: s.putTask},
		{Method: "DELETE", Path: "/control/planner/tasks/{task}", Description: "delete a task", Do: s.deleteTask},
		{Method: "GET", Path: "/control/users/{user}/plannerTasks", Description: "list the tasks in plans that are assigned to the user", Do: s.readTasks},
	}
}

func (s *Service) readPlans(*http.Request) (any, error) { return control.ListOf(s.Plans()), nil }

func (s *Service) makePlan(r *http.Request) (any, error) {
	in, err := control.Decode[PlannerPlan](r)
	if err != nil {
		return nil, err
	}
	if in.ID != "" {
		return nil, control.Invalid("id: the simulator gives the ids")
	}
	return s.AddPlan(in), nil
}

func (s *Service) putPlan(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Title   *string   `json:"title"`
		Buckets *[]string `json:"buckets"`
		Members *[]string `json:"members"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.ChangePlan(r.PathValue("plan"), func(p *PlannerPlan) {
		control.Set(&p.Title, in.Title)
		control.Set(&p.Buckets, in.Buckets)
		control.Set(&p.Members, in.Members)
	}), nil
}

func (s *Service) readTasks(r *http.Request) (any, error) {
	return control.ListOf(s.PlannerTasks(r.PathValue("user"))), nil
}

func (s *Service) makeTask(r *http.Request) (any, error) {
	in, err := control.Decode[PlannerTask](r)
	if err != nil {
		return nil, err
	}
	if in.ID != "" {
		return nil, control.Invalid("id: the simulator gives the ids")
	}
	return s.AddPlannerTask(in), nil
}

func (s *Service) putTask(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Bucket    *string                 `json:"bucket"`
		Title     *string                 `json:"title"`
		Percent   *int                    `json:"percent"`
		Due       *time.Time              `json:"due"`
		Priority  *int                    `json:"priority"`
		Assigned  *[]string               `json:"assigned"`
		Checklist *[]PlannerChecklistItem `json:"checklist"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.ChangePlannerTask(r.PathValue("task"), func(t *PlannerTask) {
		control.Set(&t.Bucket, in.Bucket)
		control.Set(&t.Title, in.Title)
		control.Set(&t.Percent, in.Percent)
		control.Set(&t.Due, in.Due)
		control.Set(&t.Priority, in.Priority)
		control.Set(&t.Assigned, in.Assigned)
		control.Set(&t.Checklist, in.Checklist)
	}), nil
}

func (s *Service) deleteTask(r *http.Request) (any, error) {
	s.RemovePlannerTask(r.PathValue("task"))
	return nil, nil
}
