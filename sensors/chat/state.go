package chat

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	chatops "github.com/graph2mqtt/graph2mqtt/services/chat"
)

// The types of the events, in the order of their documentation.
const (
	received  = "message_received"
	mentioned = "mention_received"
)

const icon = "mdi:chat"

// latestEntities returns the entities of the newest message.
func latestEntities() []entity.Entity {
	return []entity.Entity{
		entity.Sensor("latest", "Latest message").WithIcon(icon).AsPrimary().WithDoc("Beginning of the newest message.").AsPrivate(),
		entity.Sensor("latest_from", "Latest sender").WithIcon("mdi:account").WithDoc("Sender of the newest message."),
		entity.Timestamp("latest_received", "Latest received").WithDoc("When the newest message was sent."),
	}
}

func eventEntity() entity.Entity {
	return entity.EventEntity(received, mentioned).WithIcon(icon).WithDoc("Fires for each message from another person, and again if the message mentions you or everybody.")
}

// Entities implements sensors.Source.
func (o *Options) Entities() []entity.Entity {
	entities := append(latestEntities(), entity.Count("unread", "Unread chats").WithIcon("mdi:chat-alert").WithDoc("Number of chats with a message from another person that you have not read."))
	if !o.Basic {
		entities = append(entities, eventEntity())
	}
	if o.Notify == nil {
		return entities
	}
	send := entity.Notify("send", "Send message", chatops.SendOperation, "message").WithIcon("mdi:send").WithDoc("Sends a message to the receiver in `notify`.")
	if o.Notify.Chat != "" {
		send.DefaultFields = map[string]any{"chat_id": o.Notify.Chat}
	} else {
		send.DefaultFields = map[string]any{"to": o.Notify.To}
	}
	return append(entities, send)
}

// latestValues returns the values of the newest message.
func latestValues(m *chatmessage.Message, content bool, loc *time.Location) map[string]any {
	values := map[string]any{}
	if m == nil {
		return values
	}
	if content {
		values["latest"] = m.Preview(entity.MaxText)
	}
	if m.From.Name != "" {
		values["latest_from"] = graph.Truncate(m.From.Name, entity.MaxText)
	}
	if !m.Created.IsZero() {
		values["latest_received"] = m.Created.In(loc)
	}
	return values
}

// latestAttributes returns the attributes of the newest message.
func latestAttributes(m *chatmessage.Message, content bool) map[string]any {
	attributes := map[string]any{"from_display_name": nil, "content": nil, "importance": nil, "subject": nil, "summary": nil, "message_id": nil}
	if m == nil {
		return attributes
	}
	attributes["from_display_name"], attributes["importance"], attributes["message_id"] = graph.NullIfZero(m.From.Name), graph.NullIfZero(m.Importance), m.ID
	if content {
		attributes["content"], attributes["subject"], attributes["summary"] = m.Text, graph.NullIfZero(m.Subject), graph.NullIfZero(m.Summary)
	}
	return attributes
}

// State implements sensors.Source.
func (o *Options) State(s *Snapshot, _, now time.Time) entity.State {
	st := entity.State{ItemsKey: "data"}
	if s == nil {
		return st
	}
	var latest *chatmessage.Message
	var chat any
	if e := s.latest(); e != nil && !o.Basic {
		latest, chat = e.message(), e.ID
	}
	st.Values = latestValues(latest, o.ShowContent, now.Location())
	st.Attributes = latestAttributes(latest, o.ShowContent)
	st.Attributes["chat_id"], st.Attributes["unread_complete"] = chat, nil
	if !o.Basic {
		unread := 0
		for i := range s.Chats {
			if s.Chats[i].unread(s.Me) {
				unread++
			}
		}
		st.Values["unread"] = unread
		st.Attributes["unread_complete"] = !s.More || len(o.Chats) > 0
	}
	st.Items = []any{}
	for i := range s.Chats[:min(len(s.Chats), o.MaxChats)] {
		st.Items = append(st.Items, o.item(s, &s.Chats[i], now.Location()))
	}
	return st
}

// message returns the newest message of the chat, with its sender's name from the members if the message lacks it.
func (e *Entry) message() *chatmessage.Message {
	if e.Message == nil {
		return nil
	}
	m := e.named(*e.Message)
	return &m
}

func (e *Entry) named(m chatmessage.Message) chatmessage.Message {
	if m.From.Name != "" || m.From.ID == "" {
		return m
	}
	for _, who := range e.Members {
		if who.UserID == m.From.ID {
			m.From.Name = cmp.Or(who.Name, who.Address)
		}
	}
	return m
}

// item returns a chat as the list shows it.
func (o *Options) item(s *Snapshot, e *Entry, loc *time.Location) map[string]any {
	item := o.chat(s, e)
	item["last_message"] = nil
	if m := e.message(); m != nil && !o.Basic {
		item["last_message"] = m.Item(loc, o.ShowContent)
	}
	return item
}

// chat returns a chat without its message.
func (o *Options) chat(s *Snapshot, e *Entry) map[string]any {
	members := []any{}
	for _, m := range e.Members {
		members = append(members, m.Label())
	}
	item := map[string]any{
		"chat_id": e.ID, "chat_type": graph.NullIfZero(e.Type), "topic": graph.NullIfZero(e.Topic), "members": members,
		"unread": nil, "web_link": graph.NullIfZero(e.WebLink),
	}
	if !o.Basic {
		item["unread"] = e.unread(s.Me)
	}
	return item
}

// Events implements sensors.Source.
func (o *Options) Events(_, after *Snapshot, now time.Time) []entity.Event {
	var events []entity.Event
	for _, f := range after.Fresh {
		i := slices.IndexFunc(after.Chats, func(e Entry) bool { return e.ID == f.ChatID })
		if i < 0 {
			continue
		}
		e := &after.Chats[i]
		m := e.named(f.Message)
		events = append(events, messageEvents(o.chat(after, e), &m, after.Me, o.ShowContent, now.Location())...)
	}
	return events
}

// messageEvents returns the events of a new message in a chat or a channel.
func messageEvents(where map[string]any, m *chatmessage.Message, me string, content bool, loc *time.Location) []entity.Event {
	mentionsMe, everyone := m.MentionsUser(me), m.MentionsEveryone()
	data := m.Item(loc, content)
	for k, v := range where {
		data[k] = v
	}
	data["mentions_me"], data["mentions_everyone"], data["own"] = mentionsMe, everyone, false
	events := []entity.Event{{Type: received, Data: data}}
	if mentionsMe || everyone {
		events = append(events, entity.Event{Type: mentioned, Data: data})
	}
	return events
}

// describe implements sensors.Kind.Describe.
func describe(e entity.Event) string {
	from, _ := e.Data["from_display_name"].(string)
	from = cmp.Or(from, "somebody")
	text, _ := e.Data["preview"].(string)
	if text != "" {
		text = ": " + text
	}
	switch e.Type {
	case received:
		return fmt.Sprintf("message from %s%s", from, text)
	case mentioned:
		return fmt.Sprintf("%s mentioned you%s", from, text)
	}
	return ""
}

// Effects implements sensors.EffectProvider.
func (o *Options) Effects() []sensors.Effect[Snapshot] {
	return []sensors.Effect[Snapshot]{
		sensors.On(func(s *Snapshot, r chatops.Sent, _ time.Time) (*Snapshot, []entity.Event) {
			return s.withGroup(r.Group, r.ChatID), nil
		}),
		sensors.On(func(s *Snapshot, r chatops.Created, _ time.Time) (*Snapshot, []entity.Event) {
			return s.withGroup(r.Group, r.ChatID), nil
		}),
		sensors.On(func(s *Snapshot, r chatops.Marked, _ time.Time) (*Snapshot, []entity.Event) {
			i := slices.IndexFunc(s.Chats, func(e Entry) bool { return e.ID == r.ID })
			if i < 0 {
				return s, nil
			}
			after := *s
			after.Fresh = nil
			after.Chats = slices.Clone(s.Chats)
			after.Chats[i].Read = r.Read.UTC()
			return &after, nil
		}),
	}
}

// withGroup returns s with a group that was made.
func (s *Snapshot) withGroup(key, id string) *Snapshot {
	if key == "" || s.Groups[key] == id {
		return s
	}
	after := *s
	after.Fresh = nil
	after.Groups = map[string]string{key: id}
	for k, v := range s.Groups {
		if k != key {
			after.Groups[k] = v
		}
	}
	return &after
}
