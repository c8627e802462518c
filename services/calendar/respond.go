package calendar

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Respond answers an invitation.
type Respond struct {
	calendar calendars.Calendar

	EventID      string  `json:"event_id" required:"true" doc:"Id of the event, as in the list; for a whole series, its series_id."`
	Response     string  `json:"response" required:"true" doc:"The answer. A declined meeting disappears from the calendar." enum:"accept,tentative,decline"`
	Message      *string `json:"message" doc:"Message to the organizer."`
	SendResponse *bool   `json:"send_response" doc:"Whether the organizer is notified. Default: true."`
	ProposeStart *string `json:"propose_start" doc:"Start of another time that you propose, with tentative or decline."`
	ProposeEnd   *string `json:"propose_end" doc:"End of the time that you propose."`
}

// Validate returns an error for values that Graph would refuse.
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
func (r *Respond) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	reply := calendars.Reply{Response: r.Response, Send: r.SendResponse == nil || *r.SendResponse, Message: r.Message}
	if r.ProposeStart != nil && r.ProposeEnd != nil {
		loc := a.Now.Location()
		start, end, err := parsePeriod("propose_", services.ParseTime, *r.ProposeStart, *r.ProposeEnd, loc)
		if err != nil {
			return nil, err
		}
		reply.ProposedStart, reply.ProposedEnd = start.In(loc), end.In(loc)
	}
	if err := r.calendar.Respond(ctx, g, r.EventID, reply); err != nil {
		return nil, err
	}
	result, err := r.outcome(ctx, g)
	return result, graph.Unconfirmed(err)
}

// Verify implements services.Verifier: the organizer must not get two responses.
func (r *Respond) Verify(ctx context.Context, g *graph.Client, _ services.Attempt) (result any, happened bool, err error) {
	result, err = r.outcome(ctx, g)
	if err != nil {
		return nil, false, err
	}
	e, there := result.(calendars.Event)
	want := map[string]string{"accept": "accepted", "tentative": "tentativelyAccepted", "decline": "declined"}[r.Response]
	return result, !there || e.Response == want, nil
}

// outcome returns the event as it is now, or Removed if declining has removed it.
func (r *Respond) outcome(ctx context.Context, g *graph.Client) (any, error) {
	e, err := r.calendar.Read(ctx, g, r.EventID)
	switch {
	case r.Response == "decline" && graph.Is(err, graph.NotFound):
		return calendars.Removed{ID: r.EventID}, nil
	case err != nil:
		return nil, err
	}
	return e, nil
}
