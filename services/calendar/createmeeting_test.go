package calendar_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const callWithAnn = `{"subject": "Call with Ann", "start": "2026-03-02T10:00:00", "end": "2026-03-02T11:00:00"}`

func TestCreateMeeting(t *testing.T) {
	s := contoso(t)
	result, err := call(t, s, calendars.Calendar{}, "create_meeting", callWithAnn, false, "OnlineMeetings.ReadWrite", "User.Read")
	if err != nil {
		t.Fatal(err)
	}
	all := s.OnlineMeetings()
	if len(all) != 1 || all[0].Subject != "Call with Ann" || all[0].Organizer != simulator.Adele {
		t.Fatalf("meetings: %+v", all)
	}
	got := result.(map[string]any)
	delete(got, "id")
	want := map[string]any{
		"join_url": all[0].JoinURL, "meeting_id": "398765432109", "passcode": "x9Y8z7", "lobby": "organization", "presenters": "everyone", "recording": false,
		"toll_number": "+1 425 555 0123", "toll_free_number": nil, "conference_id": "123456789",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, r := range s.Requests() {
		if r.Method != http.MethodPost {
			continue
		}
		var body map[string]any
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"externalId": circumstances(t).ID, "subject": "Call with Ann", "startDateTime": "2026-03-02T09:00:00Z", "endDateTime": "2026-03-02T10:00:00Z"}
		if d := cmp.Diff(want, body); d != "" {
			t.Errorf("sent (-want +got):\n%s", d)
		}
	}
}

// TestCreateMeetingTwice: a request whose answer was lost is repeated, and there is one meeting.
func TestCreateMeetingTwice(t *testing.T) {
	s := contoso(t)
	s.Fail(simulator.Fault{Method: http.MethodPost, Status: http.StatusGatewayTimeout, Done: true})
	if _, err := call(t, s, calendars.Calendar{}, "create_meeting", callWithAnn, false, "OnlineMeetings.ReadWrite", "User.Read"); err == nil {
		t.Error("no error though the answer was lost")
	}
	result, err := call(t, s, calendars.Calendar{}, "create_meeting", callWithAnn, true, "OnlineMeetings.ReadWrite", "User.Read")
	if err != nil {
		t.Fatal(err)
	}
	if all := s.OnlineMeetings(); len(all) != 1 || result.(map[string]any)["join_url"] != all[0].JoinURL {
		t.Errorf("got %v of %+v", result, all)
	}
}

// TestCreateMeetingNeeds pins that it needs one scope, without which Graph refuses it, and a work account.
func TestCreateMeetingNeeds(t *testing.T) {
	op := operation(t, calendars.Calendar{}, "create_meeting")
	if d := cmp.Diff([]string{"OnlineMeetings.ReadWrite"}, graph.Scopes(op.Permissions)); d != "" || !op.Optional || !op.WorkOnly || op.Reads || op.Retry != services.IdempotencyKey {
		t.Errorf("%+v (-want +got):\n%s", op, d)
	}
	if _, err := call(t, contoso(t), calendars.Calendar{}, "create_meeting", callWithAnn, false, "Calendars.ReadWrite", "OnlineMeetings.Read", "User.Read"); !graph.Is(err, graph.PermissionMissing) {
		t.Errorf("without: %v", err)
	}
	s := contoso(t)
	s.AddUser(simulator.User{Address: simulator.Ann, Name: "Ann Example", Personal: true})
	r, err := decode(t, calendars.Calendar{}, "create_meeting", callWithAnn)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Execute(t.Context(), graphtest.Client(t, s, simulator.Ann, "Calendars.ReadWrite", "User.Read"), circumstances(t))
	if want := "a personal Microsoft account has no online meetings in Teams"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCreateMeetingRefused(t *testing.T) {
	for _, tt := range []struct {
		c             calendars.Calendar
		request, want string
	}{
		{calendars.Calendar{}, `{}`, `subject is required; start is required; end is required`},
		{calendars.Calendar{}, `{"subject": "x", "start": "noon", "end": "2026-03-02T11:00:00"}`, `start: want a time with or without zone, such as 2026-01-01T12:00:00, not "noon"`},
		{calendars.Calendar{}, `{"subject": "x", "start": "2026-03-02T11:00:00", "end": "2026-03-02T10:00:00"}`,
			`end: want a time after start, 2026-03-02T11:00:00+01:00, not 2026-03-02T10:00:00+01:00`},
		{calendars.Calendar{}, `{"subject": "x", "start": "2026-03-02T10:00:00", "end": "2026-03-02T11:00:00", "attendees": []}`,
			`attendees: unknown field; known fields: end, start, subject`},
	} {
		s := contoso(t)
		_, err := call(t, s, tt.c, "create_meeting", tt.request, false, "OnlineMeetings.ReadWrite", "User.Read")
		if err == nil || err.Error() != tt.want || s.Total() > 0 {
			t.Errorf("%s: %d requests\n got %v\nwant %s", tt.request, s.Total(), err, tt.want)
		}
	}
	s := contoso(t)
	s.Fail(simulator.Fault{Method: http.MethodPost, Change: func(body map[string]any) { delete(body, "joinWebUrl") }})
	if _, err := call(t, s, calendars.Calendar{}, "create_meeting", callWithAnn, false, "OnlineMeetings.ReadWrite", "User.Read"); err == nil {
		t.Error("no error though the answer has no link")
	}
}
