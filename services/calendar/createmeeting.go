package calendar

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// createMeetingOperation returns the operation that creates an online meeting without an event.
func createMeetingOperation() services.Operation {
	return services.Operation{
		Name: createMeeting,
		Doc: "Creates an online meeting of Teams and returns its link, without an event in a calendar. Use create with `online_meeting: true` " +
			"for an event with a link. Work accounts only, and not with `shared_mailbox`.",
		Example: `{"subject": "Call with Ann", "start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00"}`,
		Returns: append([]schema.Field{
			{Key: "id", Type: "text", Doc: "Id of the online meeting."},
			{Key: "join_url", Type: "text", Doc: "Link to join the meeting."},
			{Key: "toll_number", Type: "text", Doc: "Phone number; null: the organization has no dial-in."},
			{Key: "toll_free_number", Type: "text", Doc: "Toll-free phone number."},
			{Key: "conference_id", Type: "text", Doc: "Conference id to enter on the phone."},
		}, MeetingFields()...),
		Permissions: []graph.Permission{{Scope: "OnlineMeetings.ReadWrite", Purpose: "creates online meetings", Impact: "create_meeting is unavailable"}},
		Optional:    true, WorkOnly: true, UserOnly: "Teams creates meetings for a user who is signed in only, unless an administrator makes a policy for the application",
		Retry: services.IdempotencyKey, New: func() services.Request { return new(CreateMeeting) },
	}
}

// MeetingFields documents the details of an online meeting.
func MeetingFields() []schema.Field {
	return []schema.Field{
		{Key: "meeting_id", Type: "text", Doc: "Meeting id, to join without the link."},
		{Key: "passcode", Type: "text", Doc: "Passcode."},
		{Key: "lobby", Type: "text", Doc: "Who bypasses the lobby: `organizer`, `invited`, `organization`, `organizationAndFederated`, `organizationExcludingGuests` or `everyone`."},
		{Key: "presenters", Type: "text", Doc: "Who may present: `everyone`, `organization`, `roleIsPresenter` or `organizer`."},
		{Key: "recording", Type: "true or false", Doc: "Whether it is recorded from the start."},
	}
}

// CreateMeeting creates an online meeting.
type CreateMeeting struct {
	Subject string `json:"subject" required:"true" doc:"Title."`
	Start   string `json:"start" required:"true" doc:"Start, in the account's time zone unless an offset is given."`
	End     string `json:"end" required:"true" doc:"End, like start."`
}

// Validate returns an error for values that are wrong in every time zone.
func (r *CreateMeeting) Validate() error {
	if _, err := services.ParseTime("start", r.Start, time.UTC); err != nil {
		return err
	}
	_, err := services.ParseTime("end", r.End, time.UTC)
	return err
}

// Execute implements services.Request.
func (r *CreateMeeting) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	start, end, err := parsePeriod("", services.ParseTime, r.Start, r.End, a.Now.Location())
	if err != nil {
		return nil, err
	}
	if err := directory.RequireWork(ctx, g, "no online meetings in Teams"); err != nil {
		return nil, err
	}
	m, err := calendars.CreateMeeting(ctx, g, a.ID, r.Subject, start, end)
	if err != nil {
		return nil, err
	}
	data := m.Item()
	data["id"], data["join_url"] = graph.NullIfZero(m.ID), m.JoinURL
	data["toll_number"], data["toll_free_number"] = graph.NullIfZero(m.DialIn.TollNumber), graph.NullIfZero(m.DialIn.TollFreeNumber)
	data["conference_id"] = graph.NullIfZero(m.DialIn.ConferenceID)
	return data, nil
}
