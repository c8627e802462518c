package calendar

import (
	"context"
	"errors"
	"net/http"
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
	// refusalTTL is the time after which Graph is asked again for what it does not offer for a calendar.
	refusalTTL = 24 * time.Hour
)

// A Watch holds what finds out, in one small request, whether events may have changed.
type Watch struct {
	ReadAt   time.Time    // when the events were read; zero: read them with the next poll
	Link     string       // of the delta query; "": none
	From, To time.Time    // of the delta query
	Probe    *graph.Probe // where there is no delta query; nil: none yet

	NoDelta, NoProbe time.Time // when Graph refused it; zero: never
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
	if target.HasChanges() && to.Sub(from) <= maxDelta && !isRecent(w.NoDelta, now) {
		changed, err := w.askChanges(ctx, g, target, s.CalendarID, from.Add(-allDaySlack), to.Add(allDaySlack))
		if !isRefusal(err) {
			return changed, err
		}
		w.Link, w.NoDelta = "", now.UTC()
	}
	if isRecent(w.NoProbe, now) {
		return true, nil
	}
	p, err := target.Probe(ctx, g, s.CalendarID)
	if isRefusal(err) {
		w.Probe, w.NoProbe = nil, now.UTC()
		return true, nil
	}
	if err != nil {
		return true, err
	}
	changed := w.Probe == nil || !w.Probe.Equal(p)
	w.Probe = &p
	return changed, nil
}

// askChanges continues the delta query, or begins one if there is none for the range.
func (w *Watch) askChanges(ctx context.Context, g *graph.Client, target calendars.Calendar, id string, from, to time.Time) (bool, error) {
	if w.Link != "" && !from.Before(w.From) && !to.After(w.To) {
		c, err := target.Changes(ctx, g, id, w.From, w.To, w.Link)
		if err != nil {
			return true, err
		}
		if w.Link = c.Link; !c.Expired {
			return c.Any(), nil
		}
	}
	// By a day longer, so that it lasts for a day.
	const oneDay = 24 * time.Hour
	w.From, w.To = from.UTC().Truncate(oneDay), to.UTC().Add(2*oneDay-1).Truncate(oneDay)
	c, err := target.Changes(ctx, g, id, w.From, w.To, "")
	w.Link = c.Link
	return true, err
}

// isRefusal reports whether Graph does not offer a request, rather than that it failed this time.
func isRefusal(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500 && !e.Transient() && e.Status != http.StatusUnauthorized
}

func isRecent(refused, now time.Time) bool {
	return !refused.IsZero() && now.Sub(refused).Abs() < refusalTTL
}
