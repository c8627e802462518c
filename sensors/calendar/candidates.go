package calendar

import (
	"context"
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
		name := graph.UniqueName(listed, i, func(c calendars.Info) string { return c.ID }, func(c calendars.Info) string { return c.Name }, all)
		found = append(found, sensors.Candidate{Name: l.Name, Options: map[string]string{"calendar": name}, SelectedBy: sensors.SelectedBy(func(o *Options) bool {
			return o.SharedMailbox == "" && (o.Calendar == l.ID || strings.EqualFold(o.Calendar, name) || o.Calendar == "" && l.ID == standard.ID ||
				o.Calendar == all && !named(o.Except, l.ID, l.Name))
		})})
	}
	return found, nil
}
