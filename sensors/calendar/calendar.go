// Package calendar shows a calendar.
package calendar

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

// Kind is calendar.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:        "calendar",
		Title:       "Calendar",
		MemberField: "calendar",
		Doc: "The events of a calendar, your own or a shared one: what is on now, what comes next, and the list of both. An all-day " +
			"event is on from midnight to midnight in the account's time zone; a running event with a time is shown rather than it.",
		Interval: 60 * time.Second,
		New: func() sensors.Sensor {
			return &Sensor{Options: Options{IncludeDeclined: true, EndOffset: 24 * time.Hour}}
		},
		Candidates: discover,
	}
}

// Sensor is one calendar.
type Sensor struct {
	Options

	id     atomic.Pointer[string] // of the named calendar, as found by the last poll that was taken
	memory memory
}

type memory struct {
	Last *answer // nil before the first one
}

// An answer is what the calendar held between two instants.
type answer struct {
	From, To time.Time
	Entries  []entry
}

// core is the part of the answer's time in which no event is missing or to be found only because of its time zone.
func (a *answer) core() (from, to time.Time) { return a.From.Add(margin), a.To.Add(-margin) }

// margin is how far an all-day event can be from where UTC would put it, rounded up to a day.
const margin = 24 * time.Hour

// An entry is an event and what is known of it.
type entry struct {
	calendars.Event
	Shown bool // passes the filters
	// Since when its start, its end and its reminder are what they are: what lies before that was no news of time's.
	StartSince, EndSince, ReminderSince time.Time
}

func (s *Sensor) target() calendars.Calendar {
	return calendars.Calendar{Mailbox: s.SharedMailbox, Name: s.Calendar, Basic: s.BasicCalendar}
}

// Permissions implements sensors.Sensor.
func (s *Sensor) Permissions() []graph.Permission {
	return []graph.Permission{s.target().ReadPermission()}
}

// Operations implements sensors.Commander.
func (s *Sensor) Operations() []services.Operation { return calendar.Operations(s.target()) }

// Expands implements sensors.Expander.
func (s *Sensor) Expands() bool { return s.Calendar == "all" }

// Members implements sensors.Expander.
func (s *Sensor) Members(ctx context.Context, g *graph.Client) ([]sensors.Member, error) {
	all, err := s.target().List(ctx, g)
	if err != nil {
		return nil, err
	}
	var members []sensors.Member
	for _, c := range all {
		members = append(members, sensors.Member{ID: c.ID, Name: c.Name})
	}
	return members, nil
}

// Member implements sensors.Expander.
func (s *Sensor) Member(m sensors.Member) sensors.Sensor {
	member := &Sensor{Options: s.Options}
	member.Calendar = m.ID
	return member
}

// Memory implements sensors.Rememberer.
func (s *Sensor) Memory() any { return &s.memory }

// Poll implements sensors.Sensor.
func (s *Sensor) Poll(ctx context.Context, g *graph.Client, now time.Time) (sensors.Take, error) {
	shown, err := s.filter()
	if err != nil {
		return nil, err
	}
	today, tomorrow := day(now)
	from, to := now.Add(s.StartOffset), now.Add(s.EndOffset)
	if today.Before(from) {
		from = today
	}
	if tomorrow.After(to) {
		to = tomorrow
	}
	from, to = from.Add(-margin), to.Add(margin)

	target := s.target()
	var id string
	known := s.id.Load()
	if known != nil {
		id = *known
	} else {
		found, err := target.Find(ctx, g)
		if err != nil {
			return nil, err
		}
		id = found.ID
	}
	events, err := target.View(ctx, g, id, from, to)
	if known != nil && graph.Is(err, graph.NotFound) { // it may have been removed, and made anew
		again, lost := target.Find(ctx, g)
		if lost != nil {
			return nil, lost
		}
		if again.ID != id {
			id = again.ID
			events, err = target.View(ctx, g, id, from, to)
		}
	}
	if err != nil {
		return nil, err
	}
	fresh := &answer{From: from, To: to}
	for _, e := range events {
		fresh.Entries = append(fresh.Entries, entry{Event: e, Shown: shown(e)})
	}
	return func(now time.Time) []entity.Event {
		s.id.Store(&id)
		return s.take(now, fresh)
	}, nil
}

// Apply implements sensors.Applier.
func (s *Sensor) Apply(now time.Time, operation string, result any) []entity.Event {
	shown, err := s.filter()
	last := s.memory.Last
	if err != nil || last == nil {
		return nil
	}
	fresh := &answer{From: last.From, To: last.To}
	switch r := result.(type) {
	case calendars.Removed:
		for _, e := range last.Entries {
			if e.ID == r.ID || e.SeriesID == r.ID {
				if !r.Cancelled {
					continue
				}
				e.Cancelled = true
				e.Shown = shown(e.Event)
			}
			fresh.Entries = append(fresh.Entries, e)
		}
	case calendars.Event:
		if r.Series {
			return nil // the next poll brings what takes place
		}
		fresh.Entries = slices.DeleteFunc(slices.Clone(last.Entries), func(e entry) bool { return e.ID == r.ID })
		e := entry{Event: r, Shown: shown(r)}
		from, to := last.core()
		if isNew := len(fresh.Entries) == len(last.Entries); isNew && !e.Within(now.Location(), from, to) {
			if !e.Shown {
				return nil
			}
			return []entity.Event{happened(created, e, now.Location())}
		}
		fresh.Entries = append(fresh.Entries, e)
	default:
		return nil
	}
	return s.take(now, fresh)
}

// day is the midnight before and the midnight after now.
func day(now time.Time) (today, tomorrow time.Time) {
	y, m, d := now.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, now.Location()), time.Date(y, m, d+1, 0, 0, 0, 0, now.Location())
}
