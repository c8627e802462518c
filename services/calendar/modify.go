package calendar

import (
	"context"
	"reflect"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Modify changes an event, or one occurrence of a series.
type Modify struct {
	calendar calendars.Calendar

	EventID string  `json:"event_id" required:"true" doc:"Id of the event, as in the list; for a whole series, its series_id."`
	Subject *string `json:"subject" doc:"Title."`
	Start   *string `json:"start" doc:"Start. Uses timezone unless an offset is given. For all-day events, a date."`
	End     *string `json:"end" doc:"End, like start. For all-day events, the first day after it."`
	EventFields
}

// Validate implements services.Request: it returns an error for values that Graph would refuse. Whether times must be dates is
// known only when the event was read.
func (r *Modify) Validate() error {
	if r.Subject == nil && r.Start == nil && r.End == nil && reflect.DeepEqual(r.EventFields, EventFields{Timezone: r.Timezone}) {
		return graph.Invalid("want at least one field to change besides event_id")
	}
	if r.Subject != nil {
		if err := services.CheckSubject("subject", *r.Subject); err != nil {
			return err
		}
	}
	return r.EventFields.Validate()
}

// Execute implements services.Request.
func (r *Modify) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	f := calendars.Fields{Subject: r.Subject}
	r.applyTo(&f)
	var old calendars.Event
	if r.Start != nil || r.End != nil || r.IsAllDay != nil || r.Recurrence != nil {
		var err error
		if old, err = r.calendar.Read(ctx, g, r.EventID); err != nil {
			return nil, err
		}
		if err := r.applyTimes(&f, old, a.Now.Location()); err != nil {
			return nil, err
		}
	}
	return r.calendar.Update(ctx, g, r.EventID, f, old.Series)
}

// applyTimes sets the given times in f. An all-day event stays one unless is_all_day is given.
func (r *Modify) applyTimes(f *calendars.Fields, old calendars.Event, account *time.Location) error {
	loc, err := r.zone(account)
	if err != nil {
		return err
	}
	start, end := old.Span(loc)
	days := old.AllDay
	if r.IsAllDay != nil {
		days = *r.IsAllDay
	}
	switch {
	case days && !old.AllDay:
		last := end
		start, end = startOfDay(start, loc), startOfDay(last, loc)
		if last.After(end) || !end.After(start) { // that day is part of it
			end = graph.StartOfDay(last.Year(), last.Month(), last.Day()+1, loc)
		}
	case !days && old.AllDay && (r.Start == nil || r.End == nil):
		return graph.Invalid("start: want start and end together with is_all_day, because all-day events have dates instead of times")
	}
	if r.Start != nil {
		if start, err = parse("start", *r.Start, days, loc); err != nil {
			return err
		}
	}
	if r.End != nil {
		if end, err = parse("end", *r.End, days, loc); err != nil {
			return err
		}
	}
	if err := checkOrder(start, end, days); err != nil {
		return err
	}
	f.WholeDays = days
	if r.Start != nil || days && (r.End != nil || !old.AllDay) { // both dates must be in the same zone
		f.Start = start
	}
	if r.End != nil || days && (r.Start != nil || !old.AllDay) {
		f.End = end
	}
	if days != old.AllDay {
		f.AllDay = &days
	}
	if r.Recurrence != nil {
		f.Recurrence, err = r.Recurrence.Pattern("recurrence", start)
	}
	return err
}

// Remove deletes an event, or one occurrence of a series.
type Remove struct {
	calendar calendars.Calendar

	EventID string `json:"event_id" required:"true" doc:"Id of the event, as in the list; for a whole series, its series_id."`
}

// Execute implements services.Request.
func (r *Remove) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	if err := r.calendar.Delete(ctx, g, r.EventID); err != nil && !(a.Repeated && graph.Is(err, graph.NotFound)) {
		return nil, err
	}
	return calendars.Removed{ID: r.EventID}, nil
}

// Cancel cancels a meeting that the owner of the calendar organizes.
type Cancel struct {
	calendar calendars.Calendar

	EventID string  `json:"event_id" required:"true" doc:"Id of the event, as in the list; for a whole series, its series_id."`
	Message *string `json:"message" doc:"Message to the attendees."`
}

// Execute implements services.Request.
func (r *Cancel) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	if err := r.calendar.Cancel(ctx, g, r.EventID, r.Message); err != nil && !(a.Repeated && graph.Is(err, graph.NotFound)) {
		return nil, err
	}
	return calendars.Removed{ID: r.EventID, Cancelled: true}, nil
}
