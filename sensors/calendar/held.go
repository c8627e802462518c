package calendar

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
)

// HeldEvents returns the events of a snapshot that the options show, by start, and the span in which none is missing.
func (o *View) HeldEvents(snapshot any) (events []calendars.Event, from, to time.Time) {
	s := snapshot.(*Snapshot)
	for _, e := range s.Entries {
		if e.Shown {
			events = append(events, e.Event)
		}
	}
	return events, s.From.Add(maxZone), s.To.Add(-maxZone)
}

// CalendarInfo returns the properties of a snapshot's calendar, nil if they are not known.
func (o *View) CalendarInfo(snapshot any) *calendars.Info { return snapshot.(*Snapshot).Info }

// ReadEvents reads the events of another span than the snapshot's that the options show, with those that are near it in any time zone.
func (o *Options) ReadEvents(ctx context.Context, g *graph.Client, snapshot any, from, to time.Time) ([]calendars.Event, error) {
	return o.readShown(ctx, g, o.target(), snapshot.(*Snapshot).CalendarID, from, to)
}

// ReadEvents reads the events of another span than the snapshot's that the options show, with those that are near it in any time zone.
func (o *GroupOptions) ReadEvents(ctx context.Context, g *graph.Client, snapshot any, from, to time.Time) ([]calendars.Event, error) {
	return o.readShown(ctx, g, o.target(), snapshot.(*Snapshot).CalendarID, from, to)
}

func (o *View) readShown(ctx context.Context, g *graph.Client, target calendars.Calendar, id string, from, to time.Time) ([]calendars.Event, error) {
	entryOf, err := o.filter()
	if err != nil {
		return nil, err
	}
	all, err := target.View(ctx, g, id, from.Add(-maxZone), to.Add(maxZone))
	if err != nil {
		return nil, err
	}
	events := []calendars.Event{}
	for _, e := range all {
		if entry := entryOf(e); entry.Shown {
			events = append(events, entry.Event)
		}
	}
	return events, nil
}
