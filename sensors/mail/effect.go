package mail

import (
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	mailops "github.com/graph2mqtt/graph2mqtt/services/mail"
)

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation {
	return mailops.Operations(mailops.Target{Mailbox: o.mailbox(), SendAs: o.SendAs, Directories: o.directories, Large: o.large, Folder: o.Folder})
}

// Effects implements sensors.EffectProvider.
func (o *Options) Effects() []sensors.Effect[Snapshot] {
	return []sensors.Effect[Snapshot]{sensors.On(o.applyChange), sensors.On(o.applyMove)}
}

// applyChange puts in place a mail that was changed.
func (o *Options) applyChange(s *Snapshot, changed mail.Changed, now time.Time) (*Snapshot, []entity.Event) {
	at := slices.IndexFunc(s.Messages, func(e Entry) bool { return e.ID == changed.ID })
	if at < 0 {
		return s, nil // the next poll brings what it means
	}
	after := *s
	after.Fresh, after.Outcomes = nil, nil
	old, e := s.Messages[at], s.Messages[at]
	e.Message = changed.Message
	after.Messages = slices.Clone(s.Messages)
	after.Messages[at] = e
	var events []entity.Event
	switch {
	case e.Read && !old.Read:
		after.Unread = max(0, s.Unread-1)
		events = []entity.Event{eventOf(read, e, true, now)}
	case !e.Read && old.Read:
		after.Unread = s.Unread + 1
	}
	if o.IsUnread != nil && *o.IsUnread == e.Read {
		after.Messages = slices.Delete(after.Messages, at, at+1)
		after.Matching = max(0, s.Matching-1)
	}
	return &after, events
}

// applyMove takes away a mail that was moved to another folder.
func (o *Options) applyMove(s *Snapshot, moved mail.Moved, now time.Time) (*Snapshot, []entity.Event) {
	at := slices.IndexFunc(s.Messages, func(e Entry) bool { return e.ID == moved.ID })
	if at < 0 || moved.Folder == s.FolderID {
		return s, nil
	}
	after := *s
	after.Fresh, after.Outcomes = nil, nil
	e := s.Messages[at]
	after.Messages = slices.Delete(slices.Clone(s.Messages), at, at+1)
	after.Matching = max(0, s.Matching-1)
	if !e.Read {
		after.Unread = max(0, s.Unread-1)
	}
	return &after, []entity.Event{eventOf(removed, e, true, now)}
}
