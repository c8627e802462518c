package room

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// ChangeFeed implements sensors.FeedProvider. Graph announces the events of a room to applications only: for a user it is the calendar of
// another one.
//
// https://learn.microsoft.com/graph/outlook-change-notifications-overview
func (o *Options) ChangeFeed(*Snapshot) sensors.ChangeFeed {
	return sensors.ChangeFeed{
		Resources: []string{"/me/events"}, ApplicationOnly: true,
		Permission: graph.Permission{Scope: "Calendars.Read", Alternatives: []string{"Calendars.ReadWrite"}},
		Lifetime:   4230 * time.Minute, Latency: 3 * time.Minute,
	}
}
