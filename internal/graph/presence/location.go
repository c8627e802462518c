package presence

import (
	"context"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// NoLocation is the work location of a user for whom none is set, detected or in the calendar.
const NoLocation = "unspecified"

// WorkLocations returns the values that Microsoft has documented.
//
// https://learn.microsoft.com/graph/api/resources/userworklocation
func WorkLocations() []string { return []string{"office", "remote", "timeOff", NoLocation} }

// The layers of a work location that can be set, in Microsoft's spelling. A manual location has precedence over an automatic one,
// and that over the calendar.
const (
	Manual    = "manual"
	Automatic = "automatic"
)

// A Location is a work location that was set; the zero one is none.
type Location struct {
	Type    string // office, remote or timeOff
	PlaceID string // of the building, as in Microsoft Places; empty: none
	Source  string // Manual or Automatic
}

// Data returns the location as it answers the request that set it.
func (l Location) Data() any {
	return map[string]any{"work_location": graph.NullIfZero(l.Type), "place_id": graph.NullIfZero(l.PlaceID), "source": graph.NullIfZero(l.Source)}
}

// SetLocation sets the work location for the current day.
func SetLocation(ctx context.Context, g *graph.Client, l Location) error {
	const op = "set the work location"
	if err := requireGlobal(g); err != nil {
		return err
	}
	id, err := ownID(ctx, g)
	if err != nil {
		return err
	}
	v, err := models.ParseWorkLocationType(l.Type)
	if err != nil || v == nil {
		return graph.Invalid("location: unknown value %q", l.Type)
	}
	kind := v.(*models.WorkLocationType)
	var place *string
	if l.PlaceID != "" {
		place = &l.PlaceID
	}
	if l.Source == Automatic {
		var body users.ItemPresenceSetAutomaticLocationPostRequestBodyable = users.NewItemPresenceSetAutomaticLocationPostRequestBody()
		body.SetWorkLocationType(kind)
		body.SetPlaceId(place)
		_, err = graph.Send[graph.None](ctx, g, op, g.User(id).Presence().SetAutomaticLocation().ToPostRequestInformation, body, nil)
	} else {
		var body users.ItemPresenceSetManualLocationPostRequestBodyable = users.NewItemPresenceSetManualLocationPostRequestBody()
		body.SetWorkLocationType(kind)
		body.SetPlaceId(place)
		_, err = graph.Send[graph.None](ctx, g, op, g.User(id).Presence().SetManualLocation().ToPostRequestInformation, body, nil)
	}
	return explainOwn(g, err, "Presence.ReadWrite")
}

// ClearLocation removes the location that SetLocation set, so that the calendar's work location applies again.
func ClearLocation(ctx context.Context, g *graph.Client) error {
	if err := requireGlobal(g); err != nil {
		return err
	}
	id, err := ownID(ctx, g)
	if err != nil {
		return err
	}
	err = graph.Call(ctx, g, "clear the work location", g.User(id).Presence().ClearLocation().ToPostRequestInformation, nil)
	return ignoreNotFound(explainOwn(g, err, "Presence.ReadWrite"))
}

// requireGlobal returns an error in Microsoft's national clouds, which cannot set a work location.
//
// https://learn.microsoft.com/graph/api/presence-setmanuallocation
func requireGlobal(g *graph.Client) error {
	if g.NationalCloud() {
		return &graph.Error{Reason: graph.Refused, Message: "only Microsoft's global cloud can set a work location, not the cloud of this account"}
	}
	return nil
}
