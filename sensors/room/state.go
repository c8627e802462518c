package room

import (
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// busyText stands for what is not shown of a meeting.
const busyText = "Busy"

// Entities implements sensors.Source.
func (o *Options) Entities() []entity.Entity {
	const icon = "mdi:door"
	return []entity.Entity{
		entity.BinarySensor("busy", "Busy").WithDoc("Whether the room is busy now.").WithIcon(icon).AsPrimary(),
		entity.Sensor("current", "Current meeting").WithDoc("`Busy`, or with `show_subject` the subject of the current meeting. Always `Busy` for a private meeting.").WithIcon(icon),
		entity.Sensor("organizer", "Organizer").WithDoc("Name of the organizer of the current meeting; unknown for a private meeting and for a booking made at the room.").WithIcon("mdi:account"),
		entity.Timestamp("busy_until", "Busy until").WithDoc("When the room is free again. Meetings without a pause between them count as one."),
		entity.Timestamp("free_until", "Free until").WithDoc("When the next meeting begins, if the room is free now. Unknown if there is none until the end of the next day."),
		entity.Sensor("next", "Next meeting").WithDoc("Like `current`, for the next meeting.").WithIcon(icon),
		entity.Timestamp("next_start", "Next meeting starts").WithDoc("When the next meeting begins, up to the end of the next day."),
		entity.Button("book", "Book now", "book", nil).WithDoc("Books the room for `book_minutes`, starting now.").WithIcon("mdi:calendar-plus"),
		entity.Button("end", "End booking", "end", nil).WithDoc("Ends the current booking if it was made at the room.").WithIcon("mdi:calendar-remove"),
	}
}

// attributeFields documents the attributes.
func attributeFields() []schema.Field {
	return []schema.Field{{Key: "data", Type: "list of objects", Doc: "The bookings from today until the end of the next day, ordered by start.", Fields: []schema.Field{
		{Key: "start", Type: "time", Doc: "Start; of an all-day booking, its first day."},
		{Key: "end", Type: "time", Doc: "End; of an all-day booking, the day after it."},
		{Key: "all_day", Type: "true or false", Doc: "Whether it is an all-day booking."},
		{Key: "subject", Type: "text", Doc: "Subject with `show_subject`; otherwise, and for a private meeting, null."},
		{Key: "organizer", Type: "text", Doc: "Name of the organizer; null for a private meeting and for a booking made at the room."},
		{Key: "private", Type: "true or false", Doc: "Whether only the times are shown, because the meeting is private or confidential."},
		{Key: "tentative", Type: "true or false", Doc: "Whether the room has not accepted it yet."},
		{Key: "own", Type: "true or false", Doc: "Whether it was made at the room, which is then its organizer. Only such a booking can be ended there."},
		{Key: "event_id", Type: "text", Doc: "Id of the event in the calendar of the room."},
	}}}
}

// A slot is a booking with its times in one zone.
type slot struct {
	calendars.Booking
	start, end time.Time
}

// State implements sensors.Source.
func (o *Options) State(s *Snapshot, _, now time.Time) entity.State {
	st := entity.State{ItemsKey: "data"}
	if s == nil {
		return st
	}
	loc := now.Location()
	slots := make([]slot, 0, len(s.Bookings))
	for _, b := range s.Bookings {
		start, end := b.Span(loc)
		slots = append(slots, slot{b, start, end})
	}
	slices.SortStableFunc(slots, func(a, b slot) int { return a.start.Compare(b.start) })
	var current, next *slot
	for i, b := range slots {
		for _, t := range []time.Time{b.start, b.end} {
			if t.After(now) && (st.Next.IsZero() || t.Before(st.Next)) {
				st.Next = t
			}
		}
		switch {
		case b.start.After(now) && next == nil:
			next = &slots[i]
		case !b.start.After(now) && b.end.After(now) && (current == nil || current.AllDay || !b.AllDay):
			current = &slots[i] // the one that began last, and an all-day one only if there is no other
		}
		st.Items = append(st.Items, o.item(b))
	}
	st.Values = map[string]any{"busy": current != nil, "current": nil, "organizer": nil, "busy_until": nil, "free_until": nil, "next": nil, "next_start": nil}
	if current != nil {
		st.Values["current"], st.Values["organizer"] = o.title(current.Booking), text(current.Organizer)
		until := now
		for _, b := range slots {
			if !b.start.After(until) && b.end.After(until) {
				until = b.end
			}
		}
		st.Values["busy_until"] = until
	}
	if next != nil {
		st.Values["next"], st.Values["next_start"] = o.title(next.Booking), next.start
		if current == nil {
			st.Values["free_until"] = next.start
		}
	}
	return st
}

// item returns the entry of a booking in the list.
func (o *Options) item(b slot) map[string]any {
	item := map[string]any{
		"start": b.start, "end": b.end, "all_day": b.AllDay, "subject": text(b.Subject), "organizer": text(b.Organizer), "private": b.Private,
		"tentative": b.Tentative, "own": b.Own, "event_id": b.ID,
	}
	if b.AllDay {
		item["start"], item["end"] = entity.Date(b.start.Format(time.DateOnly)), entity.Date(b.end.Format(time.DateOnly))
	}
	return item
}

// title returns what is shown of a booking.
func (o *Options) title(b calendars.Booking) string {
	switch {
	case !o.ShowSubject || b.Private:
		return busyText
	case b.Subject == "":
		return "(no subject)"
	}
	return b.Subject
}

// text returns nil for "".
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}
