package status

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/people"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// candidates lists the own status and, where People.Read is granted, those of the colleagues that the user works with.
func candidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	all := []sensors.Candidate{{Name: "My status"}}
	if !g.Granted(graph.Permission{Scope: "People.Read"}) {
		return all, nil
	}
	found, err := people.Search(ctx, g, "")
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		if p.UserName != "" && p.Class != "Group" { // others are outside the organization and have no presence
			all = append(all, sensors.Candidate{Name: p.Name, Options: map[string]string{"user": p.UserName}})
		}
	}
	return all, nil
}
