package status

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// The names of the operations of the work location.
const (
	SetLocation   = "set_work_location"
	ClearLocation = "clear_work_location"
)

// locationOperations returns the operations of one's own work location.
func locationOperations(permissions []graph.Permission) []services.Operation {
	return []services.Operation{
		{
			Name:        SetLocation,
			Doc:         "Sets your work location of today. It takes precedence over the one in your calendar. Only in the global cloud, not in national clouds.",
			Permissions: permissions,
			Example:     `{"location": "remote"}`,
			Returns:     locationResult(),
			New:         func() services.Request { return new(SetWorkLocation) },
		},
		{
			Name:        ClearLocation,
			Doc:         "Clears the work location of today, whether set or detected; the one in your calendar applies again. Only in the global cloud, not in national clouds.",
			Permissions: permissions,
			Example:     `{}`,
			Returns:     locationResult(),
			New:         func() services.Request { return new(ClearWorkLocation) },
		},
	}
}

// locationResult documents the response.
func locationResult() []schema.Field {
	return []schema.Field{
		{Key: "work_location", Type: "text", Doc: "Work location that was set; null: none."},
		{Key: "place_id", Type: "text", Doc: "Id of the building."},
		{Key: "source", Type: "text", Doc: "`manual` or `automatic`."},
	}
}

// SetWorkLocation sets the work location of the current day.
type SetWorkLocation struct {
	Location  string  `json:"location" required:"true" doc:"Where you work." enum:"office,remote,timeOff"`
	PlaceID   *string `json:"place_id" doc:"The id of the building in Microsoft Places. Default: none."`
	Automatic bool    `json:"automatic" doc:"Whether the location was detected rather than chosen. A chosen one takes precedence. Default: false."`
}

// Execute implements services.Request.
func (s *SetWorkLocation) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	l := presence.Location{Type: s.Location, Source: presence.Manual}
	if s.PlaceID != nil {
		l.PlaceID = *s.PlaceID
	}
	if s.Automatic {
		l.Source = presence.Automatic
	}
	if err := presence.SetLocation(ctx, g, l); err != nil {
		return nil, err
	}
	return l, nil
}

// ClearWorkLocation clears the work location of the current day.
type ClearWorkLocation struct{}

// Execute implements services.Request.
func (*ClearWorkLocation) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := presence.ClearLocation(ctx, g); err != nil {
		return nil, err
	}
	return presence.Location{}, nil
}
