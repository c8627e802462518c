package mail

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// ChangeFeed implements sensors.FeedProvider. Graph announces the mails of the user's own folders.
//
// https://learn.microsoft.com/graph/outlook-change-notifications-overview
func (o *Options) ChangeFeed(s *Snapshot) sensors.ChangeFeed {
	switch {
	case o.SharedMailbox != "":
		return sensors.ChangeFeed{Reason: "Microsoft sends no notifications about the mailboxes of others"}
	case s == nil:
		return sensors.ChangeFeed{}
	case s.Search:
		return sensors.ChangeFeed{Reason: "Microsoft sends no notifications about search folders"}
	}
	return sensors.ChangeFeed{
		Resources:  []string{"/me/mailFolders('" + s.FolderID + "')/messages"},
		Permission: graph.Permission{Scope: "Mail.ReadBasic", Alternatives: []string{"Mail.Read", "Mail.ReadWrite"}},
		Lifetime:   4230 * time.Minute, Latency: 3 * time.Minute,
	}
}
