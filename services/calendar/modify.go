package calendar

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Modify changes an event, or one occurrence of a series.
type Modify struct {
	calendar Calendar

	EventID string  `json:"event_id" required:"true" doc:"the event: its uid in the list; of a series its series_id"`
	Subject *string `json:"subject" doc:"title"`
	Start   *string `json:"start" doc:"when it begins, in timezone unless it has its own zone; of whole days, a date"`
	End     *string `json:"end" doc:"when it ends, like start"`
	Details
}

// Validate finds what Graph would refuse. Whether times must be dates is known only then.
func (r *Modify) Validate() error {
	if r.Subject == nil && r.Start == nil && r.End == nil && reflect.DeepEqual(r.Details, Details{Timezone: r.Timezone}) {
		return graph.Invalid("want something to change beside event_id")
	}
	return r.Details.Validate()
}

// Execute implements services.Request.
func (r *Modify) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	const op = "change the event"
	e := models.NewEvent()
	if r.Subject != nil {
		e.SetSubject(r.Subject)
	}
	if err := r.put(e); err != nil {
		return nil, err
	}
	if r.Start != nil || r.End != nil || r.IsAllDay != nil || r.Recurrence != nil {
		old, err := r.calendar.get(ctx, g, r.EventID)
		if err != nil {
			return nil, err
		}
		if err := r.putTimes(e, old, c.Now.Location()); err != nil {
			return nil, err
		}
	}
	request, err := r.calendar.event(g, r.EventID).ToPatchRequestInformation(ctx, e, &users.ItemEventsEventItemRequestBuilderPatchRequestConfiguration{Headers: headers()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var a answer
	if err := g.Do(ctx, op, request, &a); err != nil {
		return nil, err
	}
	if changed, ok := a.event(); ok {
		return changed, nil
	}
	return r.calendar.get(ctx, g, r.EventID)
}

// putTimes says in e when the event takes place, as far as that is given. An event of whole days stays one unless is_all_day says otherwise.
func (r *Modify) putTimes(e models.Eventable, old Event, account *time.Location) error {
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
		start, end = midnight(start, loc), midnight(end.Add(24*time.Hour-1), loc)
		if !end.After(start) {
			end = start.AddDate(0, 0, 1)
		}
	case !days && old.AllDay && (r.Start == nil || r.End == nil):
		return graph.Invalid("start: want start and end together with is_all_day, for whole days have no times")
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
	if err := order(start, end, days); err != nil {
		return err
	}
	switch {
	case days && (r.Start != nil || r.End != nil || !old.AllDay): // both must be in the same zone
		e.SetStart(graph.FormatDate(start))
		e.SetEnd(graph.FormatDate(end))
	case !days:
		if r.Start != nil {
			e.SetStart(moment(start))
		}
		if r.End != nil {
			e.SetEnd(moment(end))
		}
	}
	if days != old.AllDay {
		e.SetIsAllDay(&days)
	}
	if r.Recurrence != nil {
		series, err := r.Recurrence.Model("recurrence", start)
		if err != nil {
			return err
		}
		e.SetRecurrence(series)
	}
	return nil
}

// Remove deletes an event, or one occurrence of a series.
type Remove struct {
	calendar Calendar

	EventID string `json:"event_id" required:"true" doc:"the event: its uid in the list; of a series its series_id"`
}

// Execute implements services.Request.
func (r *Remove) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	const op = "remove the event"
	request, err := r.calendar.event(g, r.EventID).ToDeleteRequestInformation(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if err := g.Do(ctx, op, request, nil); err != nil && !(c.Repeated && graph.Is(err, graph.NotFound)) {
		return nil, err
	}
	return Gone{ID: r.EventID}, nil
}

// Cancel cancels a meeting that the owner of the calendar organizes.
type Cancel struct {
	calendar Calendar

	EventID string  `json:"event_id" required:"true" doc:"the event: its uid in the list; of a series its series_id"`
	Message *string `json:"message" doc:"what the attendees are told"`
}

// Execute implements services.Request.
func (r *Cancel) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	const op = "cancel the event"
	body := users.NewItemEventsItemCancelPostRequestBody()
	if r.Message != nil {
		body.SetComment(r.Message)
	}
	request, err := r.calendar.event(g, r.EventID).Cancel().ToPostRequestInformation(ctx, body, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if err := g.Do(ctx, op, request, nil); err != nil && !(c.Repeated && graph.Is(err, graph.NotFound)) {
		return nil, err
	}
	return Gone{ID: r.EventID, Cancelled: true}, nil
}

// Gone is the result of a request that took an event away.
type Gone struct {
	ID        string // of the event, or of the series
	Cancelled bool
}

// Data is what the request is answered.
func (g Gone) Data() any {
	return map[string]any{"event_id": g.ID}
}

func (c Calendar) event(g *graph.Client, id string) *users.ItemEventsEventItemRequestBuilder {
	return c.user(g).Events().ByEventId(id)
}

// get asks for one event.
func (c Calendar) get(ctx context.Context, g *graph.Client, id string) (Event, error) {
	e, _, err := c.whole(ctx, g, id)
	return e, err
}

// whole asks for one event, and for all of its description.
func (c Calendar) whole(ctx context.Context, g *graph.Client, id string) (e Event, description string, err error) {
	const op = "read the event"
	r, err := c.event(g, id).ToGetRequestInformation(ctx, &users.ItemEventsEventItemRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemEventsEventItemRequestBuilderGetQueryParameters{Select: append(fields(c.Basic), "type")},
	})
	if err != nil {
		return e, "", fmt.Errorf("%s: %w", op, err)
	}
	var a answer
	if err := g.Do(ctx, op, r, &a); err != nil {
		return e, "", err
	}
	e, ok := a.event()
	if !ok {
		return e, "", &graph.Error{Reason: graph.Refused, Op: op, Err: errNoEvent}
	}
	return e, a.text(), nil
}
