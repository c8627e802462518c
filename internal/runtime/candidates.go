package runtime

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A candidatesRequest lists what a new sensor of a type can be configured for.
type candidatesRequest struct {
	account *account

	Type string `json:"type" required:"true" doc:"The type of sensor."`
}

// A sensorCandidate is something that a new sensor can be configured for.
type sensorCandidate struct {
	ID      string            `json:"id"` // suggested for the sensor
	Name    string            `json:"name"`
	Note    string            `json:"note"`
	Options map[string]string `json:"options"`
}

// A candidatesResult has the candidates, or why they are not listed.
type candidatesResult struct {
	Candidates []sensorCandidate `json:"candidates"`
	Missing    string            `json:"missing"` // permissions that are not granted; "": none
}

// Execute implements services.Request. A permission that is not granted is no failure: no such sensor is configured yet.
func (r *candidatesRequest) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	var types []string
	for _, k := range r.account.runtime.options.Kinds {
		if k.Candidates == nil {
			continue
		}
		if k.Name != r.Type {
			types = append(types, k.Name)
			continue
		}
		if err := g.CheckGranted(k.ListPermissions()); err != nil {
			return candidatesResult{[]sensorCandidate{}, err.Error()}, nil
		}
		found, err := k.Candidates(ctx, g)
		if err != nil {
			return nil, err
		}
		all := make([]sensorCandidate, 0, len(found))
		for _, c := range found {
			all = append(all, sensorCandidate{cmp.Or(entity.Slug(c.Name), k.Name), c.Name, c.Note, c.Options})
		}
		return candidatesResult{Candidates: all}, nil
	}
	slices.Sort(types)
	return nil, graph.Invalid("type: want one of %s, not %s", strings.Join(types, ", "), services.QuoteForError(r.Type))
}
