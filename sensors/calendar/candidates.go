package calendar

import (
	"context"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// candidates lists the calendars of the mailbox. One is named by its id where its name could mean another.
func candidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	listed, err := calendars.Calendar{}.List(ctx, g)
	if err != nil {
		return nil, err
	}
	standard, err := calendars.Calendar{}.Get(ctx, g, "")
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for i, l := range listed {
		name := l.Name
		if name == "" || name == all || slices.ContainsFunc(slices.Concat(listed[:i], listed[i+1:]), func(other calendars.Info) bool { return strings.EqualFold(other.Name, name) }) {
			name = l.ID
		}
		found = append(found, sensors.Candidate{Name: l.Name, Options: map[string]string{"calendar": name}, SelectedBy: func(options any) bool {
			o, ok := options.(*Options)
			return ok && o.SharedMailbox == "" && (o.Calendar == l.ID || o.Calendar == name || o.Calendar == "" && l.ID == standard.ID)
		}})
	}
	return found, nil
}
