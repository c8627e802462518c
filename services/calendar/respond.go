package calendar

import (
	"context"
	"fmt"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Respond answers an invitation.
type Respond struct {
	calendar Calendar

	EventID      string  `json:"event_id" required:"true" doc:"the event: its uid in the list; of a series its series_id"`
	Response     string  `json:"response" required:"true" doc:"the answer; a meeting that is declined leaves the calendar" enum:"accept,tentative,decline"`
	Message      *string `json:"message" doc:"what the organizer is told"`
	SendResponse *bool   `json:"send_response" doc:"whether the organizer is told at all; default: true"`
	ProposeStart *string `json:"propose_start" doc:"another time, with tentative and decline: when it begins"`
	ProposeEnd   *string `json:"propose_end" doc:"another time: when it ends"`
}

// Validate finds what Graph would refuse.
func (r *Respond) Validate() error {
	switch {
	case r.ProposeStart == nil && r.ProposeEnd == nil:
		return nil
	case r.ProposeStart == nil:
		return graph.Invalid("propose_start: want both propose_start and propose_end, or neither of them")
	case r.ProposeEnd == nil:
		return graph.Invalid("propose_end: want both propose_start and propose_end, or neither of them")
	case r.Response == "accept":
		return graph.Invalid("propose_start: want tentative or decline as response, not accept")
	case r.SendResponse != nil && !*r.SendResponse:
		return graph.Invalid("propose_start: want the response sent, not send_response false")
	}
	if _, err := services.ParseTime("propose_start", *r.ProposeStart, time.UTC); err != nil {
		return err
	}
	_, err := services.ParseTime("propose_end", *r.ProposeEnd, time.UTC)
	return err
}

// Execute implements services.Request.
func (r *Respond) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	const op = "respond to the event"
	proposal, err := r.proposal(c.Now.Location())
	if err != nil {
		return nil, err
	}
	send := r.SendResponse == nil || *r.SendResponse
	event := r.calendar.event(g, r.EventID)
	var request *abstractions.RequestInformation
	switch r.Response {
	case "accept":
		body := users.NewItemEventsItemAcceptPostRequestBody()
		say(body, send, r.Message)
		request, err = event.Accept().ToPostRequestInformation(ctx, body, nil)
	case "tentative":
		body := users.NewItemEventsItemTentativelyAcceptPostRequestBody()
		say(body, send, r.Message)
		if proposal != nil {
			body.SetProposedNewTime(proposal)
		}
		request, err = event.TentativelyAccept().ToPostRequestInformation(ctx, body, nil)
	default:
		body := users.NewItemEventsItemDeclinePostRequestBody()
		say(body, send, r.Message)
		if proposal != nil {
			body.SetProposedNewTime(proposal)
		}
		request, err = event.Decline().ToPostRequestInformation(ctx, body, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if err := g.Do(ctx, op, request, nil); err != nil {
		return nil, err
	}
	return r.outcome(ctx, g)
}

// Verify implements services.Finder: the organizer must not be told twice.
func (r *Respond) Verify(ctx context.Context, g *graph.Client, _ services.Attempt) (result any, happened bool, err error) {
	result, err = r.outcome(ctx, g)
	if err != nil {
		return nil, false, err
	}
	e, there := result.(Event)
	want := map[string]string{"accept": "accepted", "tentative": "tentativelyAccepted", "decline": "declined"}[r.Response]
	return result, !there || e.Response == want, nil
}

// outcome is the event as it is now, or Gone where that is what declining did.
func (r *Respond) outcome(ctx context.Context, g *graph.Client) (any, error) {
	e, err := r.calendar.get(ctx, g, r.EventID)
	switch {
	case r.Response == "decline" && graph.Is(err, graph.NotFound):
		return Gone{ID: r.EventID}, nil
	case err != nil:
		return nil, err
	}
	return e, nil
}

func say(body interface {
	SetSendResponse(*bool)
	SetComment(*string)
}, send bool, message *string) {
	body.SetSendResponse(&send)
	if message != nil {
		body.SetComment(message)
	}
}

// proposal is nil where none is made.
func (r *Respond) proposal(loc *time.Location) (models.TimeSlotable, error) {
	if r.ProposeStart == nil || r.ProposeEnd == nil {
		return nil, nil
	}
	start, end, err := parsePeriod("propose_", *r.ProposeStart, *r.ProposeEnd, loc)
	if err != nil {
		return nil, err
	}
	slot := models.NewTimeSlot()
	slot.SetStart(moment(start.In(loc)))
	slot.SetEnd(moment(end.In(loc)))
	return slot, nil
}
