package status

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// ChangeFeed implements sensors.FeedProvider. Graph announces presences only to those who may read everybody's, in one subscription
// for all of them.
//
// https://learn.microsoft.com/graph/changenotifications-for-presence
func (o *Options) ChangeFeed(s *Snapshot) sensors.ChangeFeed {
	switch {
	case o.User == "":
		return sensors.ChangeFeed{UserOnly: true, Reason: "Microsoft sends notifications about a presence only with Presence.Read.All, which your own presence does not need"}
	case s == nil || s.User.ID == "":
		return sensors.ChangeFeed{UserOnly: true}
	}
	return sensors.ChangeFeed{
		Resources: []string{"/communications/presences?$filter=id in (%s)"}, Item: s.User.ID, Changes: "updated",
		Permission: graph.Permission{Scope: "Presence.Read.All"}, WorkOnly: true, UserOnly: true, Lifetime: time.Hour, Latency: time.Minute,
	}
}
