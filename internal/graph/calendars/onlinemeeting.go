package calendars

import (
	"context"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Meeting holds the details of an online meeting of Teams. Unknown parts are empty.
type Meeting struct {
	MeetingID  string // by which one joins without the link
	Passcode   string
	Lobby      string // who bypasses it: organizer, organization, everyone …
	Presenters string // everyone, organization, roleIsPresenter, organizer
	Recording  *bool  // whether it is recorded from the start; nil: not known
}

// An OnlineMeeting is a meeting of Teams without an event in a calendar.
type OnlineMeeting struct {
	ID, JoinURL string
	Meeting
	DialIn DialIn
}

// A meetingDTO is Graph's onlineMeeting. Each part of it may be null or missing.
type meetingDTO struct {
	ID                    string                                   `json:"id"`
	JoinWebURL            string                                   `json:"joinWebUrl"`
	JoinMeetingIDSettings struct{ JoinMeetingID, Passcode string } `json:"joinMeetingIdSettings"`
	LobbyBypassSettings   struct{ Scope string }                   `json:"lobbyBypassSettings"`
	AllowedPresenters     string                                   `json:"allowedPresenters"`
	RecordAutomatically   *bool                                    `json:"recordAutomatically"`
	AudioConferencing     struct {
		TollNumber, TollFreeNumber, ConferenceID string
	} `json:"audioConferencing"`
}

func (d meetingDTO) meeting() Meeting {
	return Meeting{d.JoinMeetingIDSettings.JoinMeetingID, d.JoinMeetingIDSettings.Passcode, d.LobbyBypassSettings.Scope, d.AllowedPresenters, d.RecordAutomatically}
}

// MeetingPermission returns the permission for reading the details of online meetings.
func MeetingPermission() graph.Permission {
	return graph.Permission{
		Scope: "OnlineMeetings.Read", Alternatives: []string{"OnlineMeetings.ReadWrite"},
		Purpose: "reads meeting ids, passcodes and settings of online meetings", Impact: "the calendar is unavailable with meetings: true",
	}
}

// ReadMeeting returns the details of the meeting with this link, which the signed-in user organizes or is invited to. It returns nil
// where Teams does not know the meeting or does not let the user see it.
//
// https://learn.microsoft.com/graph/api/onlinemeeting-get
func ReadMeeting(ctx context.Context, g *graph.Client, joinURL string) (*Meeting, error) {
	const op = "read the online meeting"
	page, err := graph.Get[struct{ Value []meetingDTO }](ctx, g, op, g.Me().OnlineMeetings().ToGetRequestInformation,
		&users.ItemOnlineMeetingsRequestBuilderGetRequestConfiguration{QueryParameters: &users.ItemOnlineMeetingsRequestBuilderGetQueryParameters{
			Filter: new("JoinWebUrl eq '" + strings.ReplaceAll(joinURL, "'", "''") + "'"),
		}})
	switch {
	case graph.Is(err, graph.NotFound), graph.Is(err, graph.InvalidArgument), // such as the link of another provider
		graph.Is(err, graph.PermissionMissing) && g.Granted(MeetingPermission()):
		return nil, nil
	case err != nil:
		return nil, err
	case page.Value == nil:
		return nil, graph.NotAList(op)
	case len(page.Value) == 0:
		return nil, nil
	}
	m := page.Value[0].meeting()
	if m == (Meeting{}) {
		return nil, nil
	}
	return &m, nil
}

// CreateMeeting creates an online meeting. With a key for which there is one already, Graph answers with that.
//
// https://learn.microsoft.com/graph/api/onlinemeeting-createorget
func CreateMeeting(ctx context.Context, g *graph.Client, key, subject string, start, end time.Time) (OnlineMeeting, error) {
	const op = "create the online meeting"
	var body users.ItemOnlineMeetingsCreateOrGetPostRequestBodyable = users.NewItemOnlineMeetingsCreateOrGetPostRequestBody()
	body.SetExternalId(&key)
	body.SetSubject(&subject)
	body.SetStartDateTime(new(start.UTC()))
	body.SetEndDateTime(new(end.UTC()))
	d, err := graph.Send[meetingDTO](ctx, g, op, g.Me().OnlineMeetings().CreateOrGet().ToPostRequestInformation, body, nil)
	switch {
	case graph.Is(err, graph.PermissionMissing) && g.Granted(graph.Permission{Scope: "OnlineMeetings.ReadWrite"}):
		return OnlineMeeting{}, graph.Explain(err, "Microsoft Teams refuses; does your account have a Teams license?")
	case err != nil:
		return OnlineMeeting{}, err
	case d.JoinWebURL == "":
		return OnlineMeeting{}, graph.Unconfirmed(graph.Incomplete(op, "joinWebUrl"))
	}
	a := d.AudioConferencing
	return OnlineMeeting{d.ID, d.JoinWebURL, d.meeting(), DialIn{TollNumber: a.TollNumber, TollFreeNumber: a.TollFreeNumber, ConferenceID: a.ConferenceID}}, nil
}
