package chat

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/teams"
	chatops "github.com/graph2mqtt/graph2mqtt/services/chat"
)

// A ChannelSnapshot holds the newest messages of the channels.
type ChannelSnapshot struct {
	Me       string // id of the signed-in user
	Messages []ChannelMessage
	Newest   map[string]time.Time // when the newest message was written, by the id of the channel; messages of the future do not count
	Recent   map[string]times     // messages that are not older than visibleWithin before Newest, or of the future, by the id of the channel
	Fresh    []ChannelMessage     // that came with the last poll
}

// times has the time of each message, by its id.
type times map[string]time.Time

// A ChannelMessage is a message or a reply in a channel.
type ChannelMessage struct {
	ChannelID, Channel string // Channel is as the configuration names it
	chatmessage.Message
}

// Entities implements sensors.Source.
func (o *ChannelOptions) Entities() []entity.Entity {
	send := entity.Notify("send", "Send message", chatops.SendOperation, "message").WithIcon("mdi:send").WithDoc("Sends a message to the channel, or the first one of several.")
	if t := o.target(); len(t.Channels) > 1 {
		send.DefaultFields = map[string]any{"channel": t.Channels[0]}
	}
	return append(latestEntities(), eventEntity(), send)
}

const maxMessages = 20

// Poll implements sensors.Source.
func (o *ChannelOptions) Poll(ctx context.Context, g *graph.Client, last *ChannelSnapshot, now time.Time) (*ChannelSnapshot, error) {
	if err := directory.RequireWork(ctx, g, chatops.NoTeams); err != nil {
		return nil, err
	}
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return nil, err
	}
	s := &ChannelSnapshot{Me: me.ID, Newest: map[string]time.Time{}, Recent: map[string]times{}}
	t := o.target()
	team, err := teams.FindTeam(ctx, g, t.Team)
	if err != nil {
		return nil, err
	}
	for _, name := range t.Channels {
		channel, err := teams.FindChannel(ctx, g, team, name)
		if err != nil {
			return nil, err
		}
		var since, newest time.Time
		var recent times
		known := false
		if last != nil {
			newest, known = last.Newest[channel.ID]
			recent = last.Recent[channel.ID]
		}
		before := newest // the pages with what was written since are read; what appears late is on the first one
		if known {
			since = newest.Add(-visibleWithin)
			if newest.IsZero() {
				before = since // there were none
			}
		}
		messages, err := teams.Messages(ctx, g, team.ID, channel.ID, before)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if m.Created.After(newest) && !isOfFuture(m.Created, now) {
				newest = m.Created
			}
		}
		s.Newest[channel.ID], s.Recent[channel.ID] = newest, times{}
		keep := func(id string, written time.Time) {
			if written.After(newest.Add(-visibleWithin)) {
				s.Recent[channel.ID][id] = written
			}
		}
		for id, written := range recent {
			keep(id, written)
		}
		for _, m := range messages {
			keep(m.ID, m.Created)
			if !m.Shown() {
				continue
			}
			x := ChannelMessage{channel.ID, cmp.Or(channel.Name, name), m}
			s.Messages = append(s.Messages, x)
			if _, seen := recent[m.ID]; known && !seen && m.Created.After(since) && !m.IsFrom(s.Me) {
				s.Fresh = append(s.Fresh, x)
			}
		}
	}
	byTime := func(a, b ChannelMessage) int { return a.Created.Compare(b.Created) }
	slices.SortStableFunc(s.Messages, func(a, b ChannelMessage) int { return byTime(b, a) })
	s.Messages = s.Messages[:min(len(s.Messages), cmp.Or(o.MaxMessages, maxMessages))]
	slices.SortStableFunc(s.Fresh, byTime)
	return s, nil
}

// Same implements sensors.Comparer: messages are new only once.
func (o *ChannelOptions) Same(a, b *ChannelSnapshot) bool {
	x, y := *a, *b
	x.Fresh, y.Fresh = nil, nil
	return reflect.DeepEqual(x, y)
}

// State implements sensors.Source.
func (o *ChannelOptions) State(s *ChannelSnapshot, _, now time.Time) entity.State {
	st := entity.State{ItemsKey: "data"}
	if s == nil {
		return st
	}
	var latest *chatmessage.Message
	if len(s.Messages) > 0 {
		latest = &s.Messages[0].Message
	}
	st.Values = latestValues(latest, o.showsContent(), now.Location())
	st.Attributes = latestAttributes(latest, o.showsContent())
	st.Attributes["channel_id"] = nil
	if latest != nil {
		st.Attributes["channel_id"] = s.Messages[0].ChannelID
	}
	st.Items = []any{}
	for i := range s.Messages {
		m := &s.Messages[i]
		item := m.Item(now.Location(), o.showsContent())
		for k, v := range m.where() {
			item[k] = v
		}
		st.Items = append(st.Items, item)
	}
	return st
}

// where returns the place of a message.
func (m *ChannelMessage) where() map[string]any {
	return map[string]any{"channel_id": m.ChannelID, "channel": m.Channel, "reply_to": graph.NullIfZero(m.ReplyTo), "web_link": graph.NullIfZero(m.WebLink)}
}

// Events implements sensors.Source.
func (o *ChannelOptions) Events(_, after *ChannelSnapshot, now time.Time) []entity.Event {
	var events []entity.Event
	for i := range after.Fresh {
		m := &after.Fresh[i]
		events = append(events, messageEvents(m.where(), &m.Message, after.Me, o.showsContent(), now.Location())...)
	}
	return events
}
