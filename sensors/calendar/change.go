package calendar

import (
	"reflect"
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

// take puts an answer in place. What is new in it is told of events that belong to the time of both answers: one that merely
// comes near or has passed is no news.
func (s *Sensor) take(now time.Time, fresh *answer) []entity.Event {
	last := s.memory.Last
	s.memory.Last = fresh
	if last == nil {
		for i := range fresh.Entries {
			e := &fresh.Entries[i]
			e.StartSince, e.EndSince, e.ReminderSince = now, now, now
		}
		return nil
	}
	loc := now.Location()
	lastFrom, lastTo := last.core()
	from, to := fresh.core()
	before := map[string]entry{}
	for _, e := range last.Entries {
		before[e.ID] = e
	}
	var events []entity.Event
	tell := func(what string, e entry) { events = append(events, happened(what, e, loc)) }
	for i := range fresh.Entries {
		e := &fresh.Entries[i]
		old, known := before[e.ID]
		delete(before, e.ID)
		oldStart, oldEnd := old.Span(loc)
		start, end := e.Span(loc)
		e.StartSince, e.EndSince, e.ReminderSince = now, now, now
		if known && start.Equal(oldStart) {
			e.StartSince = old.StartSince
		}
		if known && end.Equal(oldEnd) {
			e.EndSince = old.EndSince
		}
		if at, ok := e.reminder(loc); known && ok {
			if oldAt, ok := old.reminder(loc); ok && at.Equal(oldAt) {
				e.ReminderSince = old.ReminderSince
			}
		}
		isNew := !known && e.Within(loc, lastFrom, lastTo)
		switch {
		case old.Shown && e.Cancelled && !old.Cancelled:
			tell(cancelled, *e)
		case e.Shown && (isNew || known && !old.Shown):
			tell(created, *e)
		case old.Shown && !e.Shown:
			tell(removed, *e)
		case e.Shown && known && !reflect.DeepEqual(old.Event, e.Event):
			tell(changed, *e)
		}
		switch was, is := old.on(now), e.on(now); {
		case is && !was && (known || isNew):
			tell(started, *e)
		case was && !is:
			tell(ended, *e)
		}
		// A meeting that is made or moved into the time of its reminder is one to be reminded of, as in Outlook.
		if at, ok := e.reminder(loc); ok && e.Shown && (known || isNew) && e.ReminderSince.Equal(now) && !at.After(now) && now.Before(start) {
			tell(reminder, *e)
		}
	}
	for _, e := range last.Entries {
		if _, gone := before[e.ID]; !gone || !e.Shown || !e.Within(loc, from, to) {
			continue
		}
		tell(removed, e)
		if e.on(now) {
			tell(ended, e)
		}
	}
	return events
}

// on reports whether the event is on now, and shown.
func (e entry) on(now time.Time) bool {
	start, end := e.Span(now.Location())
	return e.Shown && !now.Before(start) && now.Before(end)
}

// reminder is when the event's reminder comes, if it has one.
func (e entry) reminder(loc *time.Location) (time.Time, bool) {
	start, _ := e.Span(loc)
	return start.Add(-time.Duration(e.Minutes) * time.Minute), e.Reminder
}

// happened is what is published of an event to which something happened.
func happened(what string, e entry, loc *time.Location) entity.Event {
	i := e.Item(loc)
	data := map[string]any{
		"summary": i.Summary, "start": i.Start, "end": i.End, "all_day": i.AllDay, "location": i.Location, "categories": i.Categories,
		"sensitivity": i.Sensitivity, "show_as": i.ShowAs, "organizer": i.Organizer, "reminder": i.Reminder, "event_id": i.EventID, "uid": i.UID, "ical_uid": i.ICalUID,
		"is_cancelled": i.IsCancelled, "response_status": i.ResponseStatus, "join_url": i.JoinURL, "dial_in": i.DialIn, "web_link": i.WebLink,
		"importance": i.Importance, "series_id": i.SeriesID,
	}
	return entity.Event{Type: what, Data: data}
}
