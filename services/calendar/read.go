package calendar

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Permissions are what reading the calendar needs.
func (c Calendar) Permissions() []graph.Permission {
	need := graph.Permission{
		Scope:        "Calendars.Read",
		Alternatives: []string{"Calendars.ReadWrite"},
		Purpose:      "reads the events of the calendar",
		Impact:       "the calendar is unavailable",
	}
	switch {
	case c.Mailbox != "":
		need.Scope, need.Alternatives = "Calendars.Read.Shared", []string{"Calendars.ReadWrite.Shared"}
		need.Purpose = "reads the events of a calendar that others share"
	case c.Basic:
		need.Scope, need.Alternatives = "Calendars.ReadBasic", []string{"Calendars.Read", "Calendars.ReadWrite"}
		need.Purpose = "reads the events of the calendar, but not their descriptions"
	}
	return []graph.Permission{need}
}

// reading are the operations that change nothing. None of them needs more than what shows the calendar.
func (c Calendar) reading() []services.Operation {
	permissions := c.Permissions()
	others := permissions
	if c.Mailbox == "" {
		others = []graph.Permission{{
			Scope:        "Calendars.ReadBasic",
			Alternatives: []string{"Calendars.Read", "Calendars.ReadWrite"},
			Purpose:      "tells when others are free",
			Impact:       "it is not known when others are free",
		}}
	}
	return []services.Operation{
		{
			Name: "list", Doc: "Lists the events of any time, up to 20 years, as `events`: each as in the attribute `data`, the first to begin first. The sensor's filters do not count.",
			Permissions: permissions, Reads: true, New: func() services.Request { return &List{calendar: c} },
		},
		{
			Name: "get", Doc: "Tells one event, as `list` does, but with its whole description.",
			Permissions: permissions, Reads: true, New: func() services.Request { return &Get{calendar: c} },
		},
		{
			Name: "free_busy", Doc: "Tells when others are free, as `attendees`: of each the `email`, in `availability` a digit for each interval (0 free, 1 tentative, 2 busy, " +
				"3 out of office, 4 working elsewhere), in `events` as much as they let you see, or the `error`. Work accounts only, and not with `shared_mailbox`.",
			Permissions: others, Reads: true, New: func() services.Request { return &FreeBusy{calendar: c, Interval: 30} },
		},
	}
}

// A Period is the time that a request asks about.
type Period struct {
	Start string `json:"start" required:"true" doc:"where the time begins, in the account's zone unless it has its own"`
	End   string `json:"end" required:"true" doc:"where it ends, like start"`
}

// Validate finds what cannot be meant in any zone.
func (p *Period) Validate() error {
	if _, err := services.ParseTime("start", p.Start, time.UTC); err != nil {
		return err
	}
	_, err := services.ParseTime("end", p.End, time.UTC)
	return err
}

func (p *Period) parse(loc *time.Location) (from, to time.Time, err error) {
	return parsePeriod("", p.Start, p.End, loc)
}

// List asks for what takes place in some time.
type List struct {
	calendar Calendar

	Period
	Search string `json:"search" doc:"only events whose subject contains this, in any case"`
}

const (
	// longestList keeps what is asked for within the patience of whoever asked.
	longestList = 20 // years
	// longestView is the most that Graph answers at once.
	//
	// https://github.com/microsoftgraph/microsoft-graph-docs/issues/6284
	longestView = 1825 * 24 * time.Hour
	// margin is how far an all-day event can be from where UTC would put it, rounded up to a day.
	margin = 24 * time.Hour
)

// Execute implements services.Request.
func (r *List) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	loc := c.Now.Location()
	from, to, err := r.parse(loc)
	if err != nil {
		return nil, err
	}
	if last := from.AddDate(longestList, 0, 0); to.After(last) {
		return nil, graph.Invalid("end: want a time at most %d years after start, %s, not %s", longestList, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	id, err := r.calendar.Find(ctx, g)
	if err != nil {
		return nil, err
	}
	var events []Event
	seen := map[string]bool{} // what is on where one view ends and the next begins is in both
	search := strings.ToLower(r.Search)
	for begin, stop := from.Add(-margin), to.Add(margin); begin.Before(stop); begin = begin.Add(longestView) {
		view, err := r.calendar.View(ctx, g, id, begin, earlier(begin.Add(longestView), stop))
		if err != nil {
			return nil, err
		}
		for _, e := range view {
			if !seen[e.ID] && e.Within(loc, from, to) && strings.Contains(strings.ToLower(e.Subject), search) {
				seen[e.ID] = true
				events = append(events, e)
			}
		}
	}
	slices.SortFunc(events, func(a, b Event) int {
		aStart, aEnd := a.Span(loc)
		bStart, bEnd := b.Span(loc)
		return cmp.Or(aStart.Compare(bStart), aEnd.Compare(bEnd), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.ID, b.ID))
	})
	listed := Events{Events: []Item{}}
	for _, e := range events {
		listed.Events = append(listed.Events, e.Item(loc))
	}
	return listed, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Events is what List is answered.
type Events struct {
	Events []Item `json:"events"`
}

// Get asks for one event.
type Get struct {
	calendar Calendar

	EventID string `json:"event_id" required:"true" doc:"the event: its uid in the list; of a series its series_id"`
}

// Execute implements services.Request.
func (r *Get) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	e, description, err := r.calendar.whole(ctx, g, r.EventID)
	if err != nil {
		return nil, err
	}
	e.Description = description
	return e.Item(c.Now.Location()), nil
}

// FreeBusy asks when others are free.
type FreeBusy struct {
	calendar Calendar

	Attendees []string `json:"attendees" required:"true" doc:"addresses of people, rooms or lists, at most 20"`
	Period
	Interval int `json:"interval" doc:"minutes that one digit stands for, 5 to 1440; default: 30"`
}

// What getSchedule takes.
//
// https://learn.microsoft.com/graph/api/calendar-getschedule
const (
	mostSchedules   = 20
	longestSchedule = 62 * 24 * time.Hour
	leastInterval   = 5
	mostInterval    = 1440
)

// Validate finds what Graph would refuse.
func (r *FreeBusy) Validate() error {
	if r.calendar.Mailbox != "" {
		return graph.Invalid("free_busy: not with shared_mailbox, for Microsoft has no such permission; ask a calendar without it")
	}
	if n := len(r.Attendees); n == 0 || n > mostSchedules {
		return graph.Invalid("attendees: want 1 to %d addresses, not %d", mostSchedules, n)
	}
	for _, a := range r.Attendees {
		if !isAddress(a) {
			return graph.Invalid("attendees: want addresses, such as ann@contoso.com, not %s", services.QuoteForError(a))
		}
	}
	if r.Interval < leastInterval || r.Interval > mostInterval {
		return graph.Invalid("interval: want %d to %d minutes, not %d", leastInterval, mostInterval, r.Interval)
	}
	return r.Period.Validate()
}

// Execute implements services.Request.
func (r *FreeBusy) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	const op = "read when others are free"
	loc := c.Now.Location()
	from, to, err := r.parse(loc)
	if err != nil {
		return nil, err
	}
	if length := to.Sub(from); length > longestSchedule || length < time.Duration(r.Interval)*time.Minute {
		return nil, graph.Invalid("end: want a time %d minutes, which is one interval, to 62 days after start, %s, not %s", r.Interval, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	account, err := g.Account(ctx)
	if err != nil {
		return nil, err
	}
	if account.Personal {
		return nil, &graph.Error{Reason: graph.Refused, Message: "a personal Microsoft account has no colleagues whose calendars it could ask"}
	}
	minutes := int32(r.Interval)
	body := users.NewItemCalendarGetSchedulePostRequestBody()
	body.SetSchedules(r.Attendees)
	body.SetStartTime(graph.FormatUTC(from))
	body.SetEndTime(graph.FormatUTC(to))
	body.SetAvailabilityViewInterval(&minutes)
	request, err := g.Me().Calendar().GetSchedule().ToPostRequestInformation(ctx, body, &users.ItemCalendarGetScheduleRequestBuilderPostRequestConfiguration{Headers: headers()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var schedules struct{ Value []schedule }
	if err := g.Do(ctx, op, request, &schedules); err != nil {
		return nil, err
	}
	times := Times{Start: from.In(loc), End: to.In(loc), Interval: r.Interval, Attendees: []Availability{}}
	for _, s := range schedules.Value {
		times.Attendees = append(times.Attendees, s.availability(loc))
	}
	return times, nil
}

// Times is what FreeBusy is answered.
type Times struct {
	Start     time.Time      `json:"start"`
	End       time.Time      `json:"end"`
	Interval  int            `json:"interval"` // minutes
	Attendees []Availability `json:"attendees"`
}

// An Availability says when one attendee is free.
type Availability struct {
	Email        string  `json:"email"`
	Availability string  `json:"availability"` // a digit for each interval, from the start on
	Events       []Taken `json:"events"`
	Error        any     `json:"error"` // text; nil: it is known
}

// Taken is a time when somebody is not free. Who may not see more of it sees its times.
type Taken struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	ShowAs   any       `json:"show_as"`
	Summary  any       `json:"summary"`
	Location any       `json:"location"`
}

// A schedule is Graph's scheduleInformation. Each part of it may be null or missing.
type schedule struct {
	ScheduleID       string `json:"scheduleId"`
	AvailabilityView string `json:"availabilityView"`
	ScheduleItems    []struct {
		Start, End                graph.DateTimeTimeZone
		Status, Subject, Location string
	} `json:"scheduleItems"`
	Error *struct{ Message, ResponseCode string } `json:"error"`
}

func (s schedule) availability(loc *time.Location) Availability {
	a := Availability{Email: s.ScheduleID, Availability: s.AvailabilityView, Events: []Taken{}}
	if s.Error != nil {
		a.Error = cmp.Or(s.Error.Message, s.Error.ResponseCode, "Graph does not say why it is not known")
	}
	for _, i := range s.ScheduleItems {
		start, end := instant(i.Start), instant(i.End)
		if start.IsZero() || end.IsZero() {
			continue
		}
		a.Events = append(a.Events, Taken{start.In(loc), end.In(loc), capital(i.Status), known(i.Subject), known(i.Location)})
	}
	return a
}
