// Package status sets the signed-in user's presence in Teams.
package status

import (
	"context"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Preferable are the availabilities that a user can prefer, in Microsoft's spelling.
func Preferable() []string {
	return []string{"Available", "Busy", "DoNotDisturb", "BeRightBack", "Away", "Offline"}
}

// Session is what this program says of the user beside the user's own devices; the zero one says nothing.
type Session struct {
	Availability, Activity string
	Until                  time.Time
}

// Data is what a request is answered.
func (s Session) Data() any {
	return map[string]any{"availability": known(s.Availability), "activity": known(s.Activity), "until": known(s.Until)}
}

// Preferred is what is shown whatever the user does; the zero one leaves it to Teams.
type Preferred struct {
	Availability string
	Until        time.Time
}

// Data is what a request is answered.
func (p Preferred) Data() any {
	return map[string]any{"availability": known(p.Availability), "activity": known(activity(p.Availability)), "until": known(p.Until)}
}

// activity is the one that Graph takes with a preferred availability.
//
// https://learn.microsoft.com/graph/api/presence-setuserpreferredpresence
func activity(availability string) string {
	if availability == "Offline" {
		return "OffWork"
	}
	return availability
}

func known[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}

// own is one's own presence. Graph takes changes of it below the user's id only.
func own(ctx context.Context, g *graph.Client) (*users.ItemPresenceRequestBuilder, error) {
	a, err := g.Account(ctx)
	if err != nil {
		return nil, err
	}
	if a.Personal {
		return nil, &graph.Error{Reason: graph.Refused, Message: "a personal Microsoft account has no presence"}
	}
	return g.User(a.ID).Presence(), nil
}

// send sends a change, which has no answer.
func send(ctx context.Context, g *graph.Client, op string, r *abstractions.RequestInformation, err error) error {
	if err != nil {
		return err
	}
	return g.Do(ctx, op, r, nil)
}
