package todo

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// ChangeFeed implements sensors.FeedProvider. Graph announces the tasks of a list, but not the changes of their steps.
//
// https://learn.microsoft.com/graph/todo-concept-overview
func (o *Options) ChangeFeed(s *Snapshot) sensors.ChangeFeed {
	if s == nil {
		return sensors.ChangeFeed{UserOnly: true}
	}
	return sensors.ChangeFeed{Resources: []string{"/me/todo/lists/" + s.ListID + "/tasks"}, GlobalOnly: true, UserOnly: true, Lifetime: 4230 * time.Minute, Latency: 15 * time.Minute}
}
