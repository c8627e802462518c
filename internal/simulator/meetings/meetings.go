// Package meetings simulates the online meetings of Teams.
package meetings

import (
	_ "embed"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the online meetings. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	meetings  []*OnlineMeeting
}

// New returns a Teams without meetings.
func New(d *directory.Directory) *Service { return &Service{directory: d} }

// An OnlineMeeting is a meeting of Teams.
type OnlineMeeting struct {
	Organizer  string   `json:"organizer"` // address
	Invited    []string `json:"invited"`   // addresses
	JoinURL    string   `json:"joinUrl"`
	Subject    string   `json:"subject"`
	MeetingID  string   `json:"meetingId"`
	Passcode   string   `json:"passcode"`
	Lobby      string   `json:"lobby"`
	Presenters string   `json:"presenters"`
	Recorded   bool     `json:"recorded"`

	externalID string
	start, end string
}

// AddOnlineMeeting adds a meeting.
func (s *Service) AddOnlineMeeting(m OnlineMeeting) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.directory.MustUser(m.Organizer)
	s.meetings = append(s.meetings, &m)
}

// OnlineMeetings returns all meetings.
func (s *Service) OnlineMeetings() []OnlineMeeting {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []OnlineMeeting
	for _, m := range s.meetings {
		all = append(all, *m)
	}
	return all
}

//go:embed permissions.json
var permissions []byte

// Resource returns the online meetings of Graph.
func (s *Service) Resource() odata.Resource {
	t := &odata.Type{
		Name: "microsoft.graph.onlineMeeting", Open: true,
		Denied: odata.NewError(http.StatusForbidden, "Forbidden", "The application lacks a permission that the request needs."),
	}
	return odata.Resource{
		Routes: []odata.Route{
			{Method: "GET", Path: "/me/onlineMeetings", Type: t, Options: []string{"$filter"}, Do: s.find},
			{Method: "POST", Path: "/me/onlineMeetings/createOrGet", Type: t, Do: s.createOrGet},
		},
		Permissions: permissions,
		Controls: []control.Operation{{Method: "POST", Path: "/control/meetings", Description: "add an online meeting", Do: func(r *http.Request) (any, error) {
			in, err := control.Decode[OnlineMeeting](r)
			if err != nil {
				return nil, err
			}
			s.AddOnlineMeeting(in)
			return in, nil
		}}},
		Seed: func(colleagues bool) {
			if colleagues {
				s.AddOnlineMeeting(OnlineMeeting{
					Organizer: directory.Megan, Invited: []string{directory.Adele, directory.Alex}, JoinURL: "https://teams.example/join/1", Subject: "Design review",
					MeetingID: "312345678901", Passcode: "a1B2c3", Lobby: "organization", Presenters: "everyone",
				})
			}
		},
	}
}

var byLink = regexp.MustCompile(`^(?i:JoinWebUrl) eq '(.+)'$`)

// find returns the meeting with a link. There is no list of all meetings.
//
// https://learn.microsoft.com/graph/api/onlinemeeting-get
func (s *Service) find(c *odata.Call) (odata.Response, error) {
	filter := byLink.FindStringSubmatch(c.Query.Get("$filter"))
	if filter == nil {
		return odata.Response{}, odata.BadRequest("Filter expression expected - /onlineMeetings?$filter=JoinWebUrl eq '{url}'.")
	}
	value := []any{}
	for _, m := range s.meetings {
		invited := strings.EqualFold(m.Organizer, c.User.Address) || slices.ContainsFunc(m.Invited, func(a string) bool { return strings.EqualFold(a, c.User.Address) })
		if invited && m.JoinURL == strings.ReplaceAll(filter[1], "''", "'") {
			value = append(value, s.json(m))
		}
	}
	body := map[string]any{"@odata.context": c.Context("users('" + c.User.ID + "')/onlineMeetings"), "value": value}
	return odata.Response{Status: http.StatusOK, Body: body}, nil
}

// createOrGet creates a meeting, or returns the one that the user created with the same external id.
//
// https://learn.microsoft.com/graph/api/onlinemeeting-createorget
func (s *Service) createOrGet(c *odata.Call) (odata.Response, error) {
	in, err := c.Parameters(&odata.Type{Properties: odata.Properties{
		"externalId": odata.String(), "subject": odata.String(), "startDateTime": odata.DateTimeOffset(), "endDateTime": odata.DateTimeOffset(),
	}})
	if err != nil {
		return odata.Response{}, err
	}
	text := func(key string) string { v, _ := in[key].(string); return v }
	id := text("externalId")
	if id == "" {
		return odata.Response{}, odata.BadRequest("The property 'externalId' is required.")
	}
	for _, m := range s.meetings {
		if m.externalID == id && strings.EqualFold(m.Organizer, c.User.Address) {
			return odata.Response{Status: http.StatusOK, Body: s.json(m)}, nil
		}
	}
	m := &OnlineMeeting{
		Organizer: c.User.Address, JoinURL: "https://teams.example/l/meetup-join/19%3ameeting_" + directory.Random(12) + "%40thread.v2/0", Subject: text("subject"),
		MeetingID: "398765432109", Passcode: "x9Y8z7", Lobby: "organization", Presenters: "everyone", externalID: id,
		start: text("startDateTime"), end: text("endDateTime"),
	}
	s.meetings = append(s.meetings, m)
	return odata.Response{Status: http.StatusCreated, Body: s.json(m)}, nil
}

func (s *Service) json(m *OnlineMeeting) map[string]any {
	return map[string]any{
		"id": directory.NewGUID(m.JoinURL), "joinWebUrl": m.JoinURL, "subject": m.Subject, "externalId": m.externalID, "allowedPresenters": m.Presenters,
		"recordAutomatically": m.Recorded, "joinMeetingIdSettings": map[string]any{"joinMeetingId": m.MeetingID, "passcode": m.Passcode, "isPasscodeRequired": m.Passcode != ""},
		"lobbyBypassSettings": map[string]any{"scope": m.Lobby, "isDialInBypassEnabled": false}, "startDateTime": m.start, "endDateTime": m.end,
		"audioConferencing": map[string]any{"tollNumber": "+1 425 555 0123", "tollFreeNumber": nil, "conferenceId": "123456789"},
	}
}
