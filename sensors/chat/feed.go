package chat

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// ChangeFeed implements sensors.FeedProvider. Graph announces the messages of single chats, but not what was read.
//
// https://learn.microsoft.com/graph/teams-changenotifications-chatmessage
func (o *Options) ChangeFeed(s *Snapshot) sensors.ChangeFeed {
	switch {
	case o.Basic:
		return sensors.ChangeFeed{Reason: "Microsoft sends no notifications about messages with Chat.ReadBasic"}
	case len(o.Chats) == 0:
		return sensors.ChangeFeed{Reason: "Microsoft sends notifications about single chats only: name them in chats"}
	case s == nil:
		return sensors.ChangeFeed{}
	}
	feed := sensors.ChangeFeed{
		Permission: graph.Permission{Scope: "Chat.Read", Alternatives: []string{"Chat.ReadWrite"}},
		Partial:    true, WorkOnly: true, Lifetime: 4320 * time.Minute, Latency: time.Minute,
	}
	for _, name := range o.Chats {
		id := name
		if !isChatID(name) {
			id = s.Names[name]
		}
		if id == "" {
			return sensors.ChangeFeed{}
		}
		feed.Resources = append(feed.Resources, "/chats/"+id+"/messages")
	}
	return feed
}
