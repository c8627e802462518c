package calendar

import (
	"fmt"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

// The types of the events, in the order of their documentation.
const (
	started   = "event_started"
	ended     = "event_ended"
	created   = "event_created"
	changed   = "event_changed"
	cancelled = "event_cancelled"
	removed   = "event_removed"
	reminder  = "reminder"
)

func eventTypes() []string {
	return []string{started, ended, created, changed, cancelled, removed, reminder}
}

// Events implements sensors.Source. Only events within the time of both snapshots count: one that merely enters or leaves the
// window causes no event.
func (o *View) Events(last, fresh *Snapshot, now time.Time) []entity.Event {
	loc := now.Location()
	lastFrom, lastTo := last.stableWindow()
	from, to := fresh.stableWindow()
	before := make(map[string]*Entry, len(last.Entries))
	for i := range last.Entries {
		before[last.Entries[i].ID] = &last.Entries[i]
	}
	var events []entity.Event
	add := func(what string, e *Entry) { events = append(events, eventOf(what, *e, loc)) }
	for i := range fresh.Entries {
		e := &fresh.Entries[i]
		old, known := before[e.ID]
		delete(before, e.ID)
		if !known {
			old = new(Entry)
		}
		isNew := !known && e.Within(loc, lastFrom, lastTo)
		switch {
		case old.Shown && e.Cancelled && !old.Cancelled:
			add(cancelled, e)
		case e.Shown && (isNew || known && !old.Shown):
			add(created, e)
		case old.Shown && !e.Shown:
			add(removed, e)
		case e.Shown && known && !equal(&old.Event, &e.Event):
			add(changed, e)
		}
		switch was, is := known && old.isOngoing(now), e.isOngoing(now); {
		case is && !was && (known || isNew):
			add(started, e)
		case was && !is:
			add(ended, e)
		}
		// A meeting that is created or moved into the time of its reminder has one at once, as in Outlook.
		if at, ok := e.reminder(loc); ok && e.Shown && (known || isNew) && !at.After(now) {
			oldAt, had := old.reminder(loc)
			if start, _ := e.Span(loc); now.Before(start) && !(known && had && oldAt.Equal(at)) {
				add(reminder, e)
			}
		}
	}
	for i := range last.Entries {
		e := &last.Entries[i]
		if _, gone := before[e.ID]; !gone || !e.Shown || !e.Within(loc, from, to) {
			continue
		}
		add(removed, e)
		if e.isOngoing(now) {
			add(ended, e)
		}
	}
	return events
}

// isOngoing reports whether the event is shown and takes place at now.
func (e *Entry) isOngoing(now time.Time) bool {
	start, end := e.Span(now.Location())
	return e.Shown && !now.Before(start) && now.Before(end)
}

// reminder returns when the event's reminder comes, if it has one.
func (e *Entry) reminder(loc *time.Location) (time.Time, bool) {
	start, _ := e.Span(loc)
	return start.Add(-time.Duration(e.Minutes) * time.Minute), e.Reminder
}

// eventOf returns the event to publish for a change of a calendar event.
func eventOf(what string, e Entry, loc *time.Location) entity.Event {
	i := e.Item(loc)
	data := map[string]any{
		"summary": i.Summary, "start": i.Start, "end": i.End, "all_day": i.AllDay, "location": i.Location, "categories": i.Categories,
		"sensitivity": i.Sensitivity, "show_as": i.ShowAs, "organizer": i.Organizer, "reminder": i.Reminder, "event_id": i.EventID, "uid": i.UID, "ical_uid": i.ICalUID,
		"is_cancelled": i.IsCancelled, "response_status": i.ResponseStatus, "join_url": i.JoinURL, "dial_in": i.DialIn, "meeting": i.Meeting, "web_link": i.WebLink,
		"importance": i.Importance, "series_id": i.SeriesID, "attendees": i.Attendees,
	}
	return entity.Event{Type: what, Data: data}
}

// describe implements sensors.Kind.Describe.
func describe(e entity.Event) string {
	summary, _ := e.Data["summary"].(string)
	if summary == "" {
		summary = noSubject
	}
	switch e.Type {
	case started:
		return summary + " started"
	case ended:
		return summary + " ended"
	case created:
		return fmt.Sprintf("%s is new%s", summary, describeStart(e.Data["start"]))
	case changed:
		return fmt.Sprintf("%s was changed%s", summary, describeStart(e.Data["start"]))
	case cancelled:
		return strings.TrimPrefix(summary, "Canceled: ") + " was canceled" // Outlook's prefix
	case removed:
		return summary + " was removed"
	case reminder:
		return fmt.Sprintf("reminder of %s%s", summary, describeStart(e.Data["start"]))
	}
	return ""
}

func describeStart(start any) string {
	s, _ := start.(string)
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return ", starts " + t.Format("2006-01-02 15:04")
	}
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return ", on " + s
	}
	return ""
}
