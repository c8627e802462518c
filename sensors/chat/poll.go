package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	chatops "github.com/graph2mqtt/graph2mqtt/services/chat"
)

const (
	// searched is the number of messages in which the newest that somebody wrote is looked for.
	searched = 20
	// visibleWithin bounds the time from the writing of a message to its place in the list of chats.
	visibleWithin = 10 * time.Second
	// clockSkew bounds by how much this machine's clock may be ahead of Microsoft's.
	clockSkew = time.Minute
	// maxAhead bounds by how much the time of a message may be ahead of this machine's clock. One that is further ahead is of the future: it does
	// not say which messages are new.
	maxAhead = 24 * time.Hour
	// othersInterval is the time between two readings of a configured chat that is not on the page.
	othersInterval = 5 * time.Minute
	// maxPages bounds the pages of chats that one poll reads.
	maxPages = 10
)

// Poll implements sensors.Source. It reads a page of chats, and of those that changed the messages since the last poll.
func (o *Options) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	s := new(Snapshot)
	if last != nil {
		*s = *last
		s.Fresh = nil
		if err := chats.Remember(ctx, g, last.Groups); err != nil {
			return nil, err
		}
	}
	if s.Me == "" {
		if err := directory.RequireWork(ctx, g, chatops.NoTeams); err != nil {
			return nil, err
		}
		me, err := directory.SignedIn(ctx, g)
		if err != nil {
			return nil, err
		}
		s.Me = me.ID
	}
	if err := o.resolve(ctx, g, s); err != nil {
		return nil, err
	}
	s.Polled = now.UTC()
	page, err := o.page(ctx, g, s, last != nil)
	if err != nil {
		return nil, err
	}
	old := map[string]*Entry{}
	if last != nil {
		for i := range last.Chats {
			old[last.Chats[i].ID] = &last.Chats[i]
		}
	}
	s.Chats = nil
	for _, c := range o.selected(s, page) {
		e := Entry{Chat: c}
		if before := old[c.ID]; before != nil {
			e.Message, e.Members, e.MembersAt, e.HasMembers = before.Message, before.Members, before.MembersAt, before.HasMembers
		}
		if !o.Basic {
			if err := o.follow(ctx, g, &e, old[c.ID], s, last); err != nil {
				return nil, err
			}
		}
		s.Chats = append(s.Chats, e)
	}
	if err := o.others(ctx, g, s, last, old); err != nil {
		return nil, err
	}
	slices.SortStableFunc(s.Chats, func(a, b Entry) int {
		if n := b.at().Compare(a.at()); n != 0 || !o.Basic {
			return n
		}
		return b.Updated.Compare(a.Updated)
	})
	slices.SortStableFunc(s.Fresh, func(a, b Fresh) int { return a.Message.Created.Compare(b.Message.Created) })
	see := func(written time.Time) {
		if written.After(s.Newest) && !isOfFuture(written, now) {
			s.Newest = written
		}
	}
	for _, c := range page {
		if c.Last != nil {
			see(c.Last.Created)
		}
	}
	for _, f := range s.Fresh {
		see(f.Message.Created)
	}
	return s, o.complete(ctx, g, s)
}

// isOfFuture reports whether a message has a time that cannot be right.
func isOfFuture(written, now time.Time) bool { return written.After(now.Add(maxAhead)) }

// page returns the chats with the newest messages: one page, or more where every chat of it has a message since the last poll.
func (o *Options) page(ctx context.Context, g *graph.Client, s *Snapshot, known bool) ([]chats.Chat, error) {
	p, err := chats.List(ctx, g, o.Basic)
	if err != nil {
		return nil, err
	}
	all := p.Chats
	for n := 1; known && !o.Basic && p.Next != "" && n < maxPages && allSince(p.Chats, s.Newest); n++ {
		if p, err = chats.Next(ctx, g, p.Next); err != nil {
			return nil, err
		}
		all = append(all, p.Chats...)
	}
	s.More = p.Next != ""
	seen := map[string]bool{} // a chat with a new message moves to the front while the pages are read
	return slices.DeleteFunc(all, func(c chats.Chat) bool {
		twice := seen[c.ID]
		seen[c.ID] = true
		return twice
	}), nil
}

func allSince(page []chats.Chat, since time.Time) bool {
	return len(page) > 0 && !slices.ContainsFunc(page, func(c chats.Chat) bool { return c.Last == nil || !c.Last.Created.After(since) })
}

// selected returns the chats that the sensor is about.
func (o *Options) selected(s *Snapshot, page []chats.Chat) []chats.Chat {
	ids := o.ids(s)
	return slices.DeleteFunc(slices.Clone(page), func(c chats.Chat) bool {
		if ids != nil {
			return !slices.Contains(ids, c.ID)
		}
		return c.Hidden && !o.IncludeHidden
	})
}

// ids returns the ids of the configured chats; nil: all chats.
func (o *Options) ids(s *Snapshot) []string {
	var ids []string
	for _, name := range o.Chats {
		if id := s.Names[name]; id != "" {
			name = id
		}
		ids = append(ids, name)
	}
	return ids
}

// follow finds the newest message of a chat, and the messages since the last poll. Of a chat that cannot be read it takes what the list
// shows.
func (o *Options) follow(ctx context.Context, g *graph.Client, e, before *Entry, s, last *Snapshot) error {
	shown := e.Last
	switch {
	case shown == nil:
		e.Message = nil
		return nil
	case before != nil && before.Last != nil && before.Last.ID == shown.ID && before.Last.Deleted == shown.Deleted:
		if shown.Shown() && e.Message != nil && e.Message.ID == shown.ID && e.Message.Text != shown.Text { // it was edited
			edited := *e.Message
			edited.Text = shown.Text
			e.Message = &edited
		}
		return nil
	}
	if last != nil {
		since := last.Newest.Add(-visibleWithin)
		if polled := last.Polled.Add(-clockSkew); polled.After(since) {
			since = polled // the history of a chat that the user was added to is not new
		}
		if before != nil && before.Last != nil {
			if since = before.Last.Created; isOfFuture(since, s.Polled) {
				since = last.Newest
			}
		}
		if shown.Created.After(since) {
			messages, err := chats.MessagesSince(ctx, g, e.ID, since)
			if err != nil && !unreadable(err) {
				return err
			}
			if err != nil {
				messages = []chatmessage.Message{*shown}
			}
			for i := range messages {
				m := &messages[i]
				if !m.Shown() || m.ID != shown.ID && isOfFuture(m.Created, s.Polled) { // such a message was new when it was shown
					continue
				}
				if e.Message == nil || m.Created.After(e.Message.Created) {
					e.Message = m
				}
				if !m.IsFrom(s.Me) {
					s.Fresh = append(s.Fresh, Fresh{e.ID, *m})
				}
			}
		}
	}
	switch {
	case shown.Shown():
		if e.Message == nil || e.Message.ID != shown.ID {
			e.Message = shown
		}
		return nil
	case e.Message != nil && e.Message.ID != shown.ID:
		return nil // Teams itself said something since
	}
	messages, err := chats.Newest(ctx, g, e.ID, searched)
	if err != nil && !unreadable(err) {
		return err
	}
	e.Message = nil
	for i := range messages {
		if m := &messages[i]; m.Shown() && (e.Message == nil || m.Created.After(e.Message.Created)) {
			e.Message = m
		}
	}
	return nil
}

// others adds the configured chats that are not on the page. They have no new message, but may have been read or renamed: each poll reads
// the one that was not read for the longest time again.
func (o *Options) others(ctx context.Context, g *graph.Client, s, last *Snapshot, old map[string]*Entry) error {
	listed := len(s.Chats)
	for _, id := range o.ids(s) {
		if slices.ContainsFunc(s.Chats, func(e Entry) bool { return e.ID == id }) {
			continue
		}
		if before := old[id]; before != nil {
			s.Chats = append(s.Chats, *before)
			continue
		}
		c, err := chats.Read(ctx, g, id, o.Basic, false)
		if graph.Is(err, graph.PermissionMissing) { // of another organization
			c, err = chats.Chat{ID: id}, nil
		}
		if err != nil {
			return err
		}
		c.ID = id
		e := Entry{Chat: c, ReadAt: s.Polled}
		if !o.Basic {
			if err := o.follow(ctx, g, &e, nil, s, nil); err != nil {
				return err
			}
		}
		s.Chats = append(s.Chats, e)
	}
	if listed == len(s.Chats) {
		return nil
	}
	others := s.Chats[listed:]
	oldest := 0
	for i := range others {
		if others[i].ReadAt.Before(others[oldest].ReadAt) {
			oldest = i
		}
	}
	e := &others[oldest]
	if age := s.Polled.Sub(e.ReadAt); age >= 0 && age < othersInterval {
		return nil
	}
	c, err := chats.Read(ctx, g, e.ID, o.Basic, false)
	if err != nil && !unreadable(err) {
		return err
	}
	e.ReadAt = s.Polled
	if err != nil { // it stays as it was
		return nil
	}
	before := *e
	c.ID, c.Members = e.ID, e.Members
	e.Chat = c
	if o.Basic {
		return nil
	}
	return o.follow(ctx, g, e, &before, s, last)
}

// complete reads the members of the chats that are shown, once and when they have changed, and the details of the newest message.
func (o *Options) complete(ctx context.Context, g *graph.Client, s *Snapshot) error {
	for i := range s.Chats {
		e := &s.Chats[i]
		needed := i < o.MaxChats || slices.ContainsFunc(s.Fresh, func(f Fresh) bool { return f.ChatID == e.ID })
		if !needed || e.HasMembers && e.MembersAt.Equal(e.Updated) {
			continue
		}
		members, err := chats.Members(ctx, g, e.ID)
		if err != nil && !unreadable(err) {
			return err
		}
		e.Members, e.MembersAt, e.HasMembers = members, e.Updated, true
	}
	e := s.latest()
	if e == nil || e.Message.Complete {
		return nil
	}
	m, err := chats.ReadMessage(ctx, g, e.ID, e.Message.ID)
	switch {
	case err == nil:
	case unreadable(err):
		m = *e.Message
		m.Complete = true // as far as it can be
	default:
		return err
	}
	if m.Shown() {
		e.Message = &m
	}
	return nil
}

// latest returns the chat with the newest message, or nil.
func (s *Snapshot) latest() *Entry {
	var newest *Entry
	for i := range s.Chats {
		if e := &s.Chats[i]; e.Message != nil && (newest == nil || e.Message.Created.After(newest.Message.Created)) {
			newest = e
		}
	}
	return newest
}

// unreadable reports whether one chat cannot be read although others can.
func unreadable(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && !e.Transient() &&
		(e.Reason == graph.NotFound || e.Reason == graph.Refused || e.Reason == graph.InvalidArgument || e.Reason == graph.PermissionMissing)
}
