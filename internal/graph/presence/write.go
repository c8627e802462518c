package presence

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// PreferredAvailabilities returns the availabilities that a user can prefer, in Microsoft's spelling.
func PreferredAvailabilities() []string {
	return []string{"Available", "Busy", "DoNotDisturb", "BeRightBack", "Away", "Offline"}
}

// AllowedActivities returns the activities that Graph takes with an availability of a session.
//
// https://learn.microsoft.com/graph/api/presence-setpresence
func AllowedActivities(availability string) []string {
	switch availability {
	case "Busy":
		return []string{"InACall", "InAConferenceCall"}
	case "DoNotDisturb":
		return []string{"Presenting"}
	}
	return []string{availability}
}

// A Session is the presence that this program reports beside the user's own devices; the zero one is none.
type Session struct {
	Availability, Activity string
	Until                  time.Time
	Kept                   bool // it is repeated until then
}

// Data returns the session as it answers the request that set it.
func (s Session) Data() any {
	return map[string]any{"availability": graph.NullIfZero(s.Availability), "activity": graph.NullIfZero(s.Activity), "until": graph.NullIfZero(s.Until)}
}

// SetSession reports a presence for some time.
func SetSession(ctx context.Context, g *graph.Client, availability, activity string, lasts time.Duration) error {
	id, err := ownID(ctx, g)
	if err != nil {
		return err
	}
	var body users.ItemPresenceSetPresencePostRequestBodyable = users.NewItemPresenceSetPresencePostRequestBody()
	body.SetSessionId(new(g.ClientID())) // https://learn.microsoft.com/graph/api/presence-setpresence wants the application's
	body.SetAvailability(&availability)
	body.SetActivity(&activity)
	body.SetAdditionalData(withExpiration(lasts))
	_, err = graph.Send[graph.None](ctx, g, "set the status", g.User(id).Presence().SetPresence().ToPostRequestInformation, body, nil)
	return explainOwn(g, err, "Presence.ReadWrite")
}

// ClearSession removes the presence that SetSession reported. It is no error if there is none.
func ClearSession(ctx context.Context, g *graph.Client) error {
	id, err := ownID(ctx, g)
	if err != nil {
		return err
	}
	var body users.ItemPresenceClearPresencePostRequestBodyable = users.NewItemPresenceClearPresencePostRequestBody()
	body.SetSessionId(new(g.ClientID()))
	_, err = graph.Send[graph.None](ctx, g, "clear the status", g.User(id).Presence().ClearPresence().ToPostRequestInformation, body, nil)
	return ignoreNotFound(explainOwn(g, err, "Presence.ReadWrite"))
}

// Preferred is the presence that Teams shows regardless of the user's activity; the zero one is none.
type Preferred struct {
	Availability string
	Until        time.Time
}

// Data returns the preferred presence as it answers the request that set it.
func (p Preferred) Data() any {
	return map[string]any{
		"availability": graph.NullIfZero(p.Availability), "activity": graph.NullIfZero(preferredActivity(p.Availability)), "until": graph.NullIfZero(p.Until),
	}
}

// preferredActivity returns the activity that Graph takes with a preferred availability.
//
// https://learn.microsoft.com/graph/api/presence-setuserpreferredpresence
func preferredActivity(availability string) string {
	if availability == "Offline" {
		return "OffWork"
	}
	return availability
}

// SetPreferred sets the preferred presence for some time.
func SetPreferred(ctx context.Context, g *graph.Client, availability string, lasts time.Duration) error {
	id, err := ownID(ctx, g)
	if err != nil {
		return err
	}
	activity := preferredActivity(availability)
	var body users.ItemPresenceSetUserPreferredPresencePostRequestBodyable = users.NewItemPresenceSetUserPreferredPresencePostRequestBody()
	body.SetAvailability(&availability)
	body.SetActivity(&activity)
	body.SetAdditionalData(withExpiration(lasts))
	_, err = graph.Send[graph.None](ctx, g, "set the preferred status", g.User(id).Presence().SetUserPreferredPresence().ToPostRequestInformation, body, nil)
	return explainOwn(g, err, "Presence.ReadWrite")
}

// ClearPreferred removes the preferred presence, so that Teams decides again. It is no error if there is none.
func ClearPreferred(ctx context.Context, g *graph.Client) error {
	id, err := ownID(ctx, g)
	if err != nil {
		return err
	}
	err = graph.Call(ctx, g, "clear the preferred status", g.User(id).Presence().ClearUserPreferredPresence().ToPostRequestInformation, nil)
	return ignoreNotFound(explainOwn(g, err, "Presence.ReadWrite"))
}

func ignoreNotFound(err error) error {
	if graph.Is(err, graph.NotFound) {
		return nil
	}
	return err
}

// SetMessage sets the status message, or clears it with an empty text.
func SetMessage(ctx context.Context, g *graph.Client, m Message) error {
	id, err := ownID(ctx, g)
	if err != nil {
		return err
	}
	message := models.NewPresenceStatusMessage()
	message.SetMessage(graph.ItemBody(m.Text, false))
	if !m.Expiry.IsZero() {
		message.SetExpiryDateTime(graph.FormatUTC(m.Expiry))
	}
	var body users.ItemPresenceSetStatusMessagePostRequestBodyable = users.NewItemPresenceSetStatusMessagePostRequestBody()
	body.SetStatusMessage(message)
	_, err = graph.Send[graph.None](ctx, g, "set the status message", g.User(id).Presence().SetStatusMessage().ToPostRequestInformation, body, nil)
	return explainOwn(g, err, "Presence.ReadWrite")
}

// withExpiration returns the expirationDuration of a body.
func withExpiration(d time.Duration) map[string]any {
	return map[string]any{"expirationDuration": graph.FormatDuration(d)}
}
