package calendar

import (
	"context"
	"fmt"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations are what can be asked of the calendar.
func (c Calendar) Operations() []services.Operation {
	need := graph.Permission{
		Scope:   "Calendars.ReadWrite",
		Purpose: "creates and changes events of the calendar",
		Impact:  "the calendar is shown but its events cannot be changed",
	}
	if c.Mailbox != "" {
		need.Scope = "Calendars.ReadWrite.Shared"
	}
	permissions := []graph.Permission{need}
	return append([]services.Operation{
		{
			Name: "create", Doc: "Creates an event, or a series of events.",
			Permissions: permissions, Retry: services.IdempotencyKey, New: func() services.Request { return &Create{calendar: c} },
		},
		{
			Name: "modify", Doc: "Changes of an event what is given, and nothing else.",
			Permissions: permissions, Retry: services.Idempotent, New: func() services.Request { return &Modify{calendar: c} },
		},
		{
			Name: "remove", Doc: "Removes an event. Where others were invited, cancel tells them.",
			Permissions: permissions, Retry: services.Idempotent, New: func() services.Request { return &Remove{calendar: c} },
		},
		{
			Name: "cancel", Doc: "Cancels a meeting that you organize, and tells those who were invited.",
			Permissions: permissions, Retry: services.Idempotent, New: func() services.Request { return &Cancel{calendar: c} },
		},
		{
			Name: "respond", Doc: "Accepts or declines a meeting to which you were invited.",
			Permissions: permissions, Retry: services.AtMostOnce, New: func() services.Request { return &Respond{calendar: c} },
		},
	}, c.reading()...)
}

// Create puts an event into a calendar.
type Create struct {
	calendar Calendar

	Subject string `json:"subject" required:"true" doc:"title"`
	Start   string `json:"start" required:"true" doc:"when it begins, in timezone unless it has its own zone; of whole days, a date"`
	End     string `json:"end" required:"true" doc:"when it ends, like start"`
	Details
}

// Validate finds what Graph would refuse.
func (r *Create) Validate() error {
	if err := r.Details.Validate(); err != nil {
		return err
	}
	// Which of them comes first is known in the account's zone only.
	if _, err := parse("start", r.Start, r.wholeDays(), time.UTC); err != nil {
		return err
	}
	_, err := parse("end", r.End, r.wholeDays(), time.UTC)
	return err
}

func (r *Create) wholeDays() bool { return r.IsAllDay != nil && *r.IsAllDay }

// Execute implements services.Request.
func (r *Create) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	const op = "create the event"
	e, err := r.model(c.Now.Location())
	if err != nil {
		return nil, err
	}
	e.SetTransactionId(&c.ID)
	id, err := r.calendar.Find(ctx, g)
	if err != nil {
		return nil, err
	}
	request, err := r.calendar.post(ctx, g, id, e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var a answer
	if err := g.Do(ctx, op, request, &a); err != nil {
		return nil, err
	}
	created, ok := a.event()
	if !ok {
		return nil, &graph.Error{Reason: graph.Refused, Op: op, OutcomeUnknown: true, Err: errNoEvent}
	}
	return created, nil
}

// model is what Graph is sent; it depends on nothing but the request, so that doing it again sends the same.
func (r *Create) model(account *time.Location) (models.Eventable, error) {
	e := models.NewEvent()
	e.SetSubject(&r.Subject)
	loc, err := r.zone(account)
	if err != nil {
		return nil, err
	}
	start, err := parse("start", r.Start, r.wholeDays(), loc)
	if err != nil {
		return nil, err
	}
	end, err := parse("end", r.End, r.wholeDays(), loc)
	if err != nil {
		return nil, err
	}
	if err := order(start, end, r.wholeDays()); err != nil {
		return nil, err
	}
	if r.wholeDays() {
		e.SetStart(graph.FormatDate(start))
		e.SetEnd(graph.FormatDate(end))
	} else {
		e.SetStart(moment(start))
		e.SetEnd(moment(end))
	}
	if r.IsAllDay != nil {
		e.SetIsAllDay(r.IsAllDay)
	}
	if r.Recurrence != nil {
		series, err := r.Recurrence.Model("recurrence", start)
		if err != nil {
			return nil, err
		}
		e.SetRecurrence(series)
	}
	return e, r.put(e)
}
