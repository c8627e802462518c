package calendar

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// readOperations returns the operations that change nothing. None of them needs another permission than the sensor that shows the
// calendar.
func readOperations(c calendars.Calendar) []services.Operation {
	permissions := []graph.Permission{c.ReadPermission()}
	operations := []services.Operation{
		{
			Name: "list", Doc: "Lists the events of a period of up to 20 years, ordered by start. The sensor's filters do not apply.", Paged: true,
			Example:     `{"start": "2026-12-01", "end": "2027-01-01", "search": "dentist"}`,
			Returns:     []schema.Field{{Key: "events", Type: "list of objects", Doc: "The events, each as in the attribute `data`."}},
			Permissions: permissions, Reads: true, New: func() services.Request { return &List{calendar: c} },
		},
		{
			Name: "get", Doc: "Returns one event with its complete description. The response has the fields of the attribute `data[]`.",
			Example:     `{"event_id": "AAMk…"}`,
			Permissions: permissions, Reads: true, New: func() services.Request { return &Get{calendar: c} },
		},
	}
	if c.Group == "" && c.Mailbox == "" { // it would need a permission that the sensor does not have
		operations = append(operations, services.Operation{
			Name: freeBusy, Doc: "Returns when other people are free. Work accounts only, and not with `shared_mailbox`.",
			Example: `{"attendees": ["megan@contoso.example"], "start": "2026-12-01T08:00:00", "end": "2026-12-01T18:00:00"}`,
			Returns: []schema.Field{
				{Key: "start", Type: "time", Doc: "Start of the period."},
				{Key: "end", Type: "time", Doc: "End of the period."},
				{Key: "interval", Type: "whole number", Doc: "Minutes per digit."},
				{Key: "attendees", Type: "list of objects", Doc: "One for each address.", Fields: []schema.Field{
					{Key: "email", Type: "text", Doc: "Address."},
					{Key: "availability", Type: "text", Doc: "A digit for each interval: 0 free, 1 tentative, 2 busy, 3 out of office, 4 working elsewhere."},
					{Key: "events", Type: "list of objects", Doc: "Their events, as far as you may see them: `start`, `end`, `show_as`, `summary`, `location`."},
					{Key: "error", Type: "text", Doc: "Why their calendar cannot be read."},
				}},
			},
			Permissions: []graph.Permission{{
				Scope:        "Calendars.ReadBasic",
				Alternatives: []string{"Calendars.Read", "Calendars.ReadWrite"},
				Purpose:      "reads when others are free",
				Impact:       "free_busy is unavailable",
			}},
			Reads: true, New: func() services.Request { return &FreeBusy{Interval: 30} },
		}, findTimesOperation())
	}
	return operations
}

// A TimeRange is the span of a request.
type TimeRange struct {
	Start string `json:"start" required:"true" doc:"Start of the period: a time, in the account's time zone unless an offset is given, or a date, which means midnight."`
	End   string `json:"end" required:"true" doc:"End of the period, like start. A date is not included."`
}

// Validate returns an error for values that are wrong in every time zone.
func (p *TimeRange) Validate() error {
	if _, err := services.ParseTimeOrDate("start", p.Start, time.UTC); err != nil {
		return err
	}
	_, err := services.ParseTimeOrDate("end", p.End, time.UTC)
	return err
}

func (p *TimeRange) parse(loc *time.Location) (from, to time.Time, err error) {
	return parsePeriod("", services.ParseTimeOrDate, p.Start, p.End, loc)
}

// List lists the events of a span.
type List struct {
	calendar calendars.Calendar

	TimeRange
	Search string `json:"search" doc:"Only events whose subject contains this text, ignoring case."`
}

const (
	// maxListYears keeps the response within the time limit of a request.
	maxListYears = 20
	// allDaySlack is the greatest distance of an all-day event from where UTC would put it, rounded up to a day.
	allDaySlack = 24 * time.Hour
)

// Execute implements services.Request.
func (r *List) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	loc := c.Now.Location()
	from, to, err := r.parse(loc)
	if err != nil {
		return nil, err
	}
	if last := from.AddDate(maxListYears, 0, 0); to.After(last) {
		return nil, graph.Invalid("end: want a time at most %d years after start, %s, not %s", maxListYears, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	in, err := r.calendar.Find(ctx, g)
	if err != nil {
		return nil, err
	}
	var last *place
	if err := c.Resume(&last); err != nil {
		return nil, err
	}
	begin := from
	if last != nil && last.Start.After(from) {
		begin = last.Start
	}
	search := strings.ToLower(r.Search)
	page := services.PageItems[calendars.Item]{All: []calendars.Item{}}
	full := false
	// flush adds the events that begin before a time.
	var pending []calendars.Event
	flush := func(before time.Time) error {
		slices.SortFunc(pending, func(a, b calendars.Event) int { return placeOf(a, loc).compare(placeOf(b, loc)) })
		n := 0
		for _, e := range pending {
			at := placeOf(e, loc)
			if !at.Start.Before(before) {
				break
			}
			if n++; last != nil && at.compare(*last) <= 0 {
				continue // of an earlier page, or on the border of two views
			}
			if ok, err := page.Add(e.Item(loc)); err != nil || !ok {
				full = true
				return err
			}
			last = &at
		}
		pending = pending[n:]
		return nil
	}
	var failed error
	err = r.calendar.ViewInOrder(ctx, g, in.ID, begin.Add(-allDaySlack), to.Add(allDaySlack), func(e calendars.Event) bool {
		if e.Within(loc, from, to) && strings.Contains(strings.ToLower(e.Subject), search) {
			pending = append(pending, e)
		}
		// Graph sorts all-day events by the midnight of some zone.
		failed = flush(e.Start.Add(-2 * allDaySlack))
		return failed == nil && !full
	})
	if err == nil && failed == nil && !full {
		failed = flush(to)
	}
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	listed := services.Page{Value: EventList{Events: page.All}}
	if full {
		listed.Next = last
	}
	return listed, nil
}

// A place is the position of an event in the list.
type place struct {
	Start, End  time.Time
	Subject, ID string
}

func placeOf(e calendars.Event, loc *time.Location) place {
	start, end := e.Span(loc)
	return place{start, end, e.Subject, e.ID}
}

func (p place) compare(o place) int {
	return cmp.Or(p.Start.Compare(o.Start), p.End.Compare(o.End), cmp.Compare(p.Subject, o.Subject), cmp.Compare(p.ID, o.ID))
}

// An EventList is the response of List.
type EventList struct {
	Events []calendars.Item `json:"events"`
}

// Get returns one event.
type Get struct {
	calendar calendars.Calendar

	EventID string `json:"event_id" required:"true" doc:"Id of the event, as in the list; for a whole series, its series_id."`
}

// Execute implements services.Request.
func (r *Get) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	e, description, err := r.calendar.ReadWithBody(ctx, g, r.EventID)
	if err != nil {
		return nil, err
	}
	e.Description = description
	return e.Item(c.Now.Location()), nil
}

// FreeBusy returns when others are free.
type FreeBusy struct {
	Attendees []string `json:"attendees" required:"true" doc:"Addresses of people, rooms or lists, at most 20."`
	TimeRange
	Interval int `json:"interval" doc:"Minutes per digit, 5 to 1440. Default: 30."`
}

// Validate returns an error for values that Graph would refuse.
func (r *FreeBusy) Validate() error {
	if err := checkAttendees(r.Attendees); err != nil {
		return err
	}
	if r.Interval < calendars.MinScheduleInterval || r.Interval > calendars.MaxScheduleInterval {
		return graph.Invalid("interval: want %d to %d minutes, not %d", calendars.MinScheduleInterval, calendars.MaxScheduleInterval, r.Interval)
	}
	return r.TimeRange.Validate()
}

// checkAttendees returns an error unless there are 1 to 20 addresses.
func checkAttendees(attendees []string) error {
	if n := len(attendees); n == 0 || n > calendars.MaxSchedules {
		return graph.Invalid("attendees: want 1 to %d addresses, not %d", calendars.MaxSchedules, n)
	}
	for _, a := range attendees {
		if !isAddress(a) {
			return graph.Invalid("attendees: want addresses, such as ann@contoso.com, not %s", services.QuoteForError(a))
		}
	}
	return nil
}

// Execute implements services.Request.
func (r *FreeBusy) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	loc := c.Now.Location()
	from, to, err := r.parse(loc)
	if err != nil {
		return nil, err
	}
	if length := to.Sub(from); length > calendars.MaxScheduleLength || length < time.Duration(r.Interval)*time.Minute {
		return nil, graph.Invalid("end: want a time from %d minutes (one interval) to 62 days after start, %s, not %s", r.Interval, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if err := directory.RequireWork(ctx, g, "no colleagues whose calendars it could ask"); err != nil {
		return nil, err
	}
	schedules, err := calendars.GetSchedule(ctx, g, r.Attendees, from, to, r.Interval)
	if err != nil {
		return nil, err
	}
	answer := FreeBusyResult{Start: from.In(loc), End: to.In(loc), Interval: r.Interval, Attendees: []Availability{}}
	for _, s := range schedules {
		answer.Attendees = append(answer.Attendees, availability(s, loc))
	}
	return answer, nil
}

// A FreeBusyResult is the response of FreeBusy.
type FreeBusyResult struct {
	Start     time.Time      `json:"start"`
	End       time.Time      `json:"end"`
	Interval  int            `json:"interval"` // minutes
	Attendees []Availability `json:"attendees"`
}

// An Availability lists when one attendee is free.
type Availability struct {
	Email        string     `json:"email"`
	Availability string     `json:"availability"` // a digit for each interval, from the start on
	Events       []BusySlot `json:"events"`
	Error        any        `json:"error"` // text; nil: it is known
}

// A BusySlot is a time when somebody is not free. Details that the signed-in user may not see are null.
type BusySlot struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	ShowAs   any       `json:"show_as"`
	Summary  any       `json:"summary"`
	Location any       `json:"location"`
}

func availability(s calendars.Schedule, loc *time.Location) Availability {
	a := Availability{Email: s.Address, Availability: s.View, Events: []BusySlot{}, Error: known(s.Error)}
	for _, b := range s.Busy {
		a.Events = append(a.Events, BusySlot{b.Start.In(loc), b.End.In(loc), known(b.ShowAs), known(b.Subject), known(b.Location)})
	}
	return a
}

func known(s string) any {
	if s == "" {
		return nil
	}
	return s
}
