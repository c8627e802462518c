package todo

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

func (s *Service) newStep(given map[string]any) map[string]any {
	name, _ := given["displayName"].(string)
	step := map[string]any{"id": uuid.NewString(), "displayName": name, "isChecked": false, "createdDateTime": s.directory.Now().UTC().Format(time.RFC3339Nano)}
	s.check(step, given)
	return step
}

// check sets whether a step is done.
func (s *Service) check(step, given map[string]any) {
	checked, ok := given["isChecked"].(bool)
	if !ok {
		return
	}
	step["isChecked"] = checked
	if delete(step, "checkedDateTime"); checked {
		step["checkedDateTime"] = s.directory.Now().UTC().Format(time.RFC3339Nano)
	}
}

// stepsChanged records a change of a step.
func (s *Service) stepsChanged(l *list, t *task) {
	if l.owner.options.StepsChange {
		t.modified, t.etag = s.directory.Now(), s.etag()
		s.announce(l, t, "updated")
	}
}

func (c *call) step() (map[string]any, error) {
	i := slices.IndexFunc(c.t.steps, func(step map[string]any) bool { return step["id"] == c.Params["step"] })
	if i < 0 {
		return nil, odata.ItemNotFound()
	}
	return c.t.steps[i], nil
}

func (c *call) stepResponse(status int, step map[string]any) (odata.Response, error) {
	body, err := c.Project(maps.Clone(step))
	if err != nil {
		return odata.Response{}, err
	}
	r := c.Entity(c.set()+"('"+c.t.id+"')/checklistItems", body)
	r.Status = status
	return r, nil
}

func getSteps(c *call) (odata.Response, error) {
	return c.Collection(c.set()+"('"+c.t.id+"')/checklistItems", slices.Clone(c.t.steps))
}

func getStep(c *call) (odata.Response, error) {
	step, err := c.step()
	if err != nil {
		return odata.Response{}, err
	}
	return c.stepResponse(http.StatusOK, step)
}

func createStep(c *call) (odata.Response, error) {
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	if name, _ := given["displayName"].(string); name == "" {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "invalidRequest", "The property 'displayName' must not be empty.")
	}
	step := c.s.newStep(given)
	c.t.steps = append(c.t.steps, step)
	c.s.stepsChanged(c.l, c.t)
	return c.stepResponse(http.StatusCreated, step)
}

func patchStep(c *call) (odata.Response, error) {
	step, err := c.step()
	if err != nil {
		return odata.Response{}, err
	}
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	if name, ok := given["displayName"].(string); ok {
		if name == "" {
			return odata.Response{}, odata.NewError(http.StatusBadRequest, "invalidRequest", "The property 'displayName' must not be empty.")
		}
		step["displayName"] = name
	}
	c.s.check(step, given)
	c.s.stepsChanged(c.l, c.t)
	return c.stepResponse(http.StatusOK, step)
}

func deleteStep(c *call) (odata.Response, error) {
	step, err := c.step()
	if err != nil {
		return odata.Response{}, err
	}
	c.t.steps = slices.DeleteFunc(c.t.steps, func(other map[string]any) bool { return other["id"] == step["id"] })
	c.s.stepsChanged(c.l, c.t)
	return odata.Response{Status: http.StatusNoContent}, nil
}
