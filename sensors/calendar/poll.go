package calendar

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
)

const (
	// readInterval is the time after which the events are read although nothing seems to have changed.
	readInterval = 10 * time.Minute
	// pollJitter bounds by how much polls come too early or too late.
	pollJitter = 5 * time.Second
	// maxZone bounds the distance of an all-day event from its place in UTC.
	maxZone = 14 * time.Hour
	// maxDelta is the longest range that is watched by a delta query, whose first round has every event in it with its body.
	maxDelta = 31 * 24 * time.Hour
)

// A Watch holds what finds out, in one small request, whether events may have changed.
type Watch struct {
	ReadAt   time.Time // when the events were read; zero: read them with the next poll
	From, To time.Time // of the delta query
	graph.Watch
}

// poll reads the events of target if they may have changed, and otherwise returns those of last.
func (o *View) poll(ctx context.Context, g *graph.Client, target calendars.Calendar, last *Snapshot, now time.Time) (*Snapshot, error) {
	from, to := o.window(now)
	s := new(Snapshot)
	if last != nil {
		*s = *last
	} else if err := s.find(ctx, g, target, now); err != nil {
		return nil, err
	}
	due := last == nil || !last.isCurrent(from, to, now)
	if !due {
		changed, err := s.hasChanged(ctx, g, target, from, to, now)
		if graph.Is(err, graph.SignInRequired) || graph.IsUnauthorized(err) || graph.Is(err, graph.Throttled) || ctx.Err() != nil {
			return nil, err // so would be the reading
		}
		due = changed || err != nil
	}
	if due {
		if err := o.read(ctx, g, target, s, from, to, now); err != nil {
			return nil, err
		}
	}
	// The first answer need not wait for them.
	if last != nil && now.Sub(s.InfoAt).Abs() >= infoInterval {
		s.InfoAt = now.UTC()
		if info, err := target.Get(ctx, g, s.CalendarID); err == nil {
			s.Info = &info
		}
	}
	return s, nil
}

// window returns the range of events that State shows at now.
func (o *View) window(now time.Time) (from, to time.Time) {
	today, tomorrow := day(now)
	from, to = now.Add(o.StartOffset), now.Add(o.EndOffset)
	if today.Before(from) {
		from = today
	}
	return from, later(to, tomorrow)
}

// isCurrent reports whether the entries are those of the range unless something changed since they were read.
func (s *Snapshot) isCurrent(from, to, now time.Time) bool {
	age := now.Sub(s.Watch.ReadAt)
	return age > -pollJitter && age < readInterval-pollJitter && !from.Add(-maxZone).Before(s.From) && !to.Add(maxZone).After(s.To)
}

// find looks up the configured calendar.
func (s *Snapshot) find(ctx context.Context, g *graph.Client, target calendars.Calendar, now time.Time) error {
	info, err := target.Find(ctx, g)
	if err != nil {
		return err
	}
	s.CalendarID, s.Info, s.InfoAt = info.ID, nil, time.Time{}
	if info.Name != "" && target.Group == "" { // it comes with its properties
		s.Info, s.InfoAt = &info, now.UTC()
	}
	return nil
}

// read reads the events into s.
func (o *View) read(ctx context.Context, g *graph.Client, target calendars.Calendar, s *Snapshot, from, to, now time.Time) error {
	entryOf, err := o.filter()
	if err != nil {
		return err
	}
	from, to = from.Add(-allDaySlack).UTC(), to.Add(allDaySlack).UTC()
	events, err := target.View(ctx, g, s.CalendarID, from, to)
	if !s.From.IsZero() && graph.Is(err, graph.NotFound) { // it may have been removed and created again
		before := s.CalendarID
		if lost := s.find(ctx, g, target, now); lost != nil {
			return lost
		}
		if s.CalendarID != before {
			s.Watch = Watch{}
			events, err = target.View(ctx, g, s.CalendarID, from, to)
		}
	}
	if err != nil {
		return err
	}
	s.From, s.To, s.Watch.ReadAt = from, to, now.UTC()
	s.Entries = make([]Entry, 0, len(events))
	for _, e := range events {
		s.Entries = append(s.Entries, entryOf(e))
	}
	s.sort()
	return nil
}

// hasChanged asks whether events may have changed since it was last asked. At first, and where Graph offers nothing to ask, they may.
func (s *Snapshot) hasChanged(ctx context.Context, g *graph.Client, target calendars.Calendar, from, to, now time.Time) (bool, error) {
	w := &s.Watch
	var delta func(link string) (graph.DeltaChanges[graph.Item], error)
	if target.HasChanges() && to.Sub(from) <= maxDelta {
		from, to := from.Add(-allDaySlack), to.Add(allDaySlack)
		if from.Before(w.From) || to.After(w.To) {
			w.Link = "" // it is of another range
		}
		delta = func(link string) (graph.DeltaChanges[graph.Item], error) {
			if link == "" { // by a day longer, so that it lasts for a day
				const oneDay = 24 * time.Hour
				w.From, w.To = from.UTC().Truncate(oneDay), to.UTC().Add(2*oneDay-1).Truncate(oneDay)
			}
			return target.Changes(ctx, g, s.CalendarID, w.From, w.To, link)
		}
	}
	c, err := graph.Ask(&w.Watch, now, delta, func() (graph.Probe, error) { return target.Probe(ctx, g, s.CalendarID) })
	return c.Any() || err != nil, err
}
