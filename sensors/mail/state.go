package mail

import (
	"cmp"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/services"
	mailops "github.com/graph2mqtt/graph2mqtt/services/mail"
)

// The types of the events, in the order of their documentation.
const (
	received = "mail_received"
	read     = "mail_read"
	removed  = "mail_removed"
)

// Entities implements sensors.Source.
func (o *Options) Entities() []entity.Entity {
	const icon = "mdi:email"
	entities := []entity.Entity{
		entity.Count("matching", "Mails").WithIcon(icon).AsPrimary().WithDoc("How many mails match: all mails of the folder, or those that match `is_unread` and the filters. All matching mails are counted, not only those in the list."),
		entity.Count("unread", "Unread mails").WithIcon("mdi:email-mark-as-unread").WithDoc("How many mails of the folder are unread, regardless of the filters."),
		entity.Sensor("latest_subject", "Latest subject").WithIcon(icon).WithDoc("Subject of the newest matching mail, `(no subject)` without one."),
		entity.Sensor("latest_from", "Latest sender").WithIcon("mdi:account").WithDoc("Sender of the newest matching mail: the name, or the address without one."),
		entity.Timestamp("latest_received", "Latest received").WithDoc("When the newest matching mail was received."),
		entity.EventEntity(received, read, removed).WithIcon(icon).WithDoc("Fires when a mail arrives, is read or leaves the folder."),
	}
	if o.Notify == nil {
		return entities
	}
	send := entity.Notify("send", "Send mail", mailops.Send, "message").WithIcon("mdi:email-fast").WithDoc("Sends a message as a mail with the recipients and the subject in `notify`. Exists only with that option.")
	send.DefaultFields = map[string]any{"subject": cmp.Or(o.Notify.Subject, "Message from Home Assistant")}
	if len(o.Notify.To) > 0 {
		send.DefaultFields["to"] = o.Notify.To
	}
	if len(o.Notify.Cc) > 0 {
		send.DefaultFields["cc"] = o.Notify.Cc
	}
	return append(entities, send)
}

// Entities implements sensors.Source. The names tell the mails that the filters select from those of the whole folder.
func (q *Query) Entities() []entity.Entity {
	entities := q.Options.Entities()
	entities[0].Name, entities[1].Name = "Matching mails", "Unread in the folder"
	return entities
}

// noSubject stands for a missing subject, as in Outlook.
const noSubject = "(no subject)"

// State implements sensors.Source.
func (o *Options) State(s *Snapshot, _, now time.Time) entity.State {
	st := entity.State{ItemsKey: "data", FirstComplete: true}
	if s == nil {
		return st
	}
	st.Values = map[string]any{"matching": s.Matching, "unread": s.Unread}
	if len(s.Messages) > 0 {
		latest := s.Messages[0]
		subject, from := latest.Subject, latest.From.Name
		if subject == "" {
			subject = noSubject
		}
		if from == "" {
			from = latest.From.Address
		}
		st.Values["latest_subject"] = services.Truncate(subject, entity.MaxText)
		if from != "" {
			st.Values["latest_from"] = services.Truncate(from, entity.MaxText)
		}
		if !latest.Received.IsZero() {
			st.Values["latest_received"] = latest.Received.In(now.Location())
		}
	}
	st.Attributes = map[string]any{"matching_complete": s.Complete}
	st.Items = make([]any, 0, len(s.Messages))
	for _, e := range s.Messages {
		st.Items = append(st.Items, e.item(now.Location()))
	}
	return st
}

// item returns the mail as lists show it.
func (e Entry) item(loc *time.Location) map[string]any {
	item := e.summary(loc)
	item["body"] = nil
	if e.Body != nil {
		item["body"] = *e.Body
	}
	return item
}

// summary returns the mail as events show it: without its body.
func (e Entry) summary(loc *time.Location) map[string]any {
	item := e.Item(loc)
	names, info := []any{}, []any{}
	for _, a := range e.Attachments {
		i := a.Item()
		names, info = append(names, i["name"]), append(info, i)
	}
	item["attachments"], item["attachment_info"] = names, info
	item["unreadable"] = e.Unreadable
	return item
}

// Events implements sensors.Source.
func (o *Options) Events(before, after *Snapshot, now time.Time) []entity.Event {
	var events []entity.Event
	add := func(what string, e Entry) {
		events = append(events, eventOf(what, e, false, now))
	}
	outcomes := map[string]Outcome{}
	for _, outcome := range after.Outcomes {
		outcomes[outcome.ID] = outcome
	}
	for _, e := range before.Messages {
		switch outcome := outcomes[e.ID]; {
		case outcome.Removed:
			add(removed, e)
		case outcome.Read:
			e.Read = true
			add(read, e)
		}
	}
	for i := len(after.Fresh) - 1; i >= 0; i-- { // the oldest first
		if !before.knows(after.Fresh[i].ID) {
			add(received, after.Fresh[i])
		}
	}
	return events
}

// eventOf returns the event to publish for a change of a mail. own: this program caused it.
func eventOf(what string, e Entry, own bool, now time.Time) entity.Event {
	data := e.summary(now.Location())
	data["own"] = own
	return entity.Event{Type: what, Data: data}
}

// describe implements sensors.Kind.Describe.
func describe(e entity.Event) string {
	subject, _ := e.Data["subject"].(string)
	if subject == "" {
		subject = noSubject
	}
	from, _ := e.Data["sender_name"].(string)
	if from == "" {
		from, _ = e.Data["sender"].(string)
	}
	if from != "" {
		from = " from " + from
	}
	switch e.Type {
	case received:
		return fmt.Sprintf("new mail%s: %s", from, subject)
	case read:
		return fmt.Sprintf("the mail%s was read: %s", from, subject)
	case removed:
		return fmt.Sprintf("the mail%s left the folder: %s", from, subject)
	}
	return ""
}
