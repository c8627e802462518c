package calendar

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// ChangeFeed implements sensors.FeedProvider. Graph announces the events of the user's own default calendar only.
//
// https://learn.microsoft.com/graph/outlook-change-notifications-overview
func (o *Options) ChangeFeed(*Snapshot) sensors.ChangeFeed {
	switch {
	case o.SharedMailbox != "":
		return sensors.ChangeFeed{Reason: "Microsoft sends no notifications about the calendars of others"}
	case o.Calendar != "":
		return sensors.ChangeFeed{Reason: "Microsoft sends notifications about the default calendar only: leave calendar out"}
	}
	return sensors.ChangeFeed{
		Resources:  []string{"/me/events"},
		Permission: graph.Permission{Scope: "Calendars.Read", Alternatives: []string{"Calendars.ReadWrite"}},
		Lifetime:   4230 * time.Minute, Latency: 3 * time.Minute,
	}
}
