package calendar_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// furnished has a meeting, a holiday and an invitation, and gives their ids.
func furnished(t testing.TB) (s *simulator.Simulator, ids map[string]string) {
	s = contoso(t)
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, now(t).Location())
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ids = map[string]string{}
	for _, e := range []simulator.Event{
		{Subject: "meeting", Start: start, End: start.Add(time.Hour), Categories: []string{"Red"}, Body: "<p>agenda</p>"},
		{Subject: "holiday", Start: day, End: day.AddDate(0, 0, 2), AllDay: true},
		{Subject: "invitation", Start: start, End: start.Add(time.Hour), Organizer: "boss@contoso.example"},
	} {
		ids[e.Subject] = s.AddEvent(simulator.Adele, "", e)
	}
	return s, ids
}

func TestModify(t *testing.T) {
	at := func(field, s string) string {
		return fmt.Sprintf(`"%s":{"dateTime":"%s:00.0000000","timeZone":"W. Europe Standard Time"}`, field, s)
	}
	for _, tt := range []struct{ name, event, request, want string }{
		{"subject", "meeting", `"subject": "y"`, `"subject":"y"`},
		{"no categories", "meeting", `"categories": []`, `"categories":[]`},
		{"location of whole days", "holiday", `"location": "home"`, `"location":{"displayName":"home"}`},
		{"start", "meeting", `"start": "2026-03-01T09:30:00"`, at("start", "2026-03-01T09:30")},
		{"end", "meeting", `"end": "2026-03-01T10:00:00Z"`, at("end", "2026-03-01T11:00")},
		{"start of whole days", "holiday", `"start": "2026-03-02"`, at("start", "2026-03-02T00:00") + "," + at("end", "2026-03-03T00:00")},
		{"the same kind", "meeting", `"is_all_day": false, "subject": "y"`, `"subject":"y"`},
		{"to whole days", "meeting", `"is_all_day": true`, at("start", "2026-03-01T00:00") + "," + at("end", "2026-03-02T00:00") + `,"isAllDay":true`},
		{"to times", "holiday", `"is_all_day": false, "start": "2026-03-01T09:30", "end": "2026-03-01T10:30"`, at("start", "2026-03-01T09:30") + "," + at("end", "2026-03-01T10:30") + `,"isAllDay":false`},
		{"reminder off", "meeting", `"is_reminder_on": false`, `"isReminderOn":false`},
		{"every day", "meeting", `"recurrence": {"type": "daily", "count": 3}`, `"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"numbered","startDate":"2026-03-01","numberOfOccurrences":3}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, ids := furnished(t)
			result, err := call(t, s, calendars.Calendar{}, "modify", fmt.Sprintf(`{"event_id": %q, %s}`, ids[tt.event], tt.request), false, "Calendars.ReadWrite")
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"PATCH /v1.0/me/events/" + ids[tt.event] + " " + sorted(t, `{"@odata.type":"#microsoft.graph.event",`+tt.want+"}")}
			if d := cmp.Diff(want, sent(t, s)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if e := result.(calendars.Event); tt.event == "meeting" && tt.name != "no categories" && !cmp.Equal(e.Categories, []string{"Red"}) {
				t.Errorf("the categories are %v", e.Categories)
			} else if tt.event == "holiday" && e.AllDay != (tt.name != "to times") {
				t.Errorf("all day is %v", e.AllDay)
			}
		})
	}
}

// An event that ends at midnight does not take the day that begins then, also where that has 23 hours or begins at 1:00.
func TestToWholeDays(t *testing.T) {
	for _, tt := range []struct{ zone, start, end, want string }{
		{"Europe/Berlin", "2026-03-28T22:00:00+01:00", "2026-03-29T00:00:00+01:00", "2026-03-28 2026-03-29"},
		{"Europe/Berlin", "2026-03-28T22:00:00+01:00", "2026-03-29T04:00:00+02:00", "2026-03-28 2026-03-30"},
		{"Europe/Berlin", "2026-10-25T01:00:00+02:00", "2026-10-25T23:30:00+01:00", "2026-10-25 2026-10-26"},
		{"America/Santiago", "2026-09-06T10:00:00-03:00", "2026-09-06T11:00:00-03:00", "2026-09-06 2026-09-07"},
		{"Africa/Cairo", "2026-04-23T22:00:00+02:00", "2026-04-24T01:00:00+03:00", "2026-04-23 2026-04-24"},
		{"Africa/Cairo", "2026-04-24T10:00:00+03:00", "2026-04-24T10:00:00+03:00", "2026-04-24 2026-04-25"},
	} {
		s := contoso(t)
		at := func(text string) time.Time {
			v, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		id := s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: at(tt.start), End: at(tt.end)})
		if _, err := call(t, s, calendars.Calendar{}, "modify", fmt.Sprintf(`{"event_id": %q, "is_all_day": true, "timezone": %q}`, id, tt.zone), false, "Calendars.ReadWrite"); err != nil {
			t.Fatal(err)
		}
		request := sent(t, s)[0]
		from, to, _ := strings.Cut(tt.want, " ")
		for field, day := range map[string]string{"start": from, "end": to} {
			if want := fmt.Sprintf(`"%s":{"dateTime":"%sT00:00:00.0000000"`, field, day); !strings.Contains(request, want) {
				t.Errorf("%s to %s in %s: sent %s, want %s", tt.start, tt.end, tt.zone, request, want)
			}
		}
	}
}

func TestChangesRefused(t *testing.T) {
	for _, tt := range []struct{ op, event, request, want string }{
		{"modify", "meeting", ``, `want at least one field to change besides event_id`},
		{"modify", "meeting", `, "timezone": "UTC"`, `want at least one field to change besides event_id`},
		{"modify", "meeting", `, "subject": "` + strings.Repeat("ü", 256) + `"`, `subject: want at most 255 characters, not 256`},
		{"modify", "meeting", `, "start": "2026-03-01"`, `start: want a time with or without zone, such as 2026-01-01T12:00:00, not "2026-03-01"`},
		{"modify", "meeting", `, "start": "2026-03-01T12:00:00"`, `end: want a time not before the start, 2026-03-01T12:00:00+01:00, not 2026-03-01T11:00:00+01:00`},
		{"modify", "holiday", `, "end": "2026-03-02T10:00:00"`, `end: want a date, such as 2026-01-01, not "2026-03-02T10:00:00"`},
		{"modify", "holiday", `, "is_all_day": false, "start": "2026-03-02T10:00:00"`, `start: want start and end together with is_all_day, because all-day events have dates instead of times`},
		{"modify", "nothing", `, "start": "2026-03-02T10:00:00"`, `read the event: Graph answered 400 ErrorInvalidIdMalformed: Id is malformed.`},
		{"respond", "invitation", `, "response": "maybe"`, `response: want one of accept, tentative, decline, not "maybe"`},
		{"respond", "invitation", `, "response": "decline", "propose_start": "2026-03-01T12:00:00"`, `propose_end: want both propose_start and propose_end, or neither of them`},
		{"respond", "invitation", `, "response": "decline", "propose_end": "2026-03-01T12:00:00"`, `propose_start: want both propose_start and propose_end, or neither of them`},
		{"respond", "invitation", `, "response": "accept", "propose_start": "2026-03-01T12:00:00", "propose_end": "2026-03-01T13:00:00"`, `propose_start: want tentative or decline as response, not accept`},
		{"respond", "invitation", `, "response": "decline", "send_response": false, "propose_start": "2026-03-01T12:00:00", "propose_end": "2026-03-01T13:00:00"`, `propose_start: want the response sent, not send_response false`},
		{"respond", "invitation", `, "response": "decline", "propose_start": "2026-03-01T12:00:00", "propose_end": "2026-03-01T12:00:00"`, `propose_end: want a time after propose_start, 2026-03-01T12:00:00+01:00, not 2026-03-01T12:00:00+01:00`},
		{"respond", "invitation", `, "response": "decline", "propose_start": "noon", "propose_end": "2026-03-01T12:00:00"`, `propose_start: want a time with or without zone, such as 2026-01-01T12:00:00, not "noon"`},
	} {
		s, ids := furnished(t)
		ids["nothing"] = "x"
		_, err := call(t, s, calendars.Calendar{}, tt.op, fmt.Sprintf(`{"event_id": %q%s}`, ids[tt.event], tt.request), false, "Calendars.ReadWrite")
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s %s:\n got %v\nwant %s", tt.op, tt.request, err, tt.want)
		}
		if got := sent(t, s); got != nil {
			t.Errorf("%s %s: sent %q", tt.op, tt.request, got)
		}
	}
}

func TestRemoveAndCancel(t *testing.T) {
	for _, tt := range []struct{ op, extra, want string }{
		{"remove", "", "DELETE /v1.0/me/events/%s"},
		{"cancel", "", "POST /v1.0/me/events/%s/cancel {}"},
		{"cancel", `, "message": "ill"`, `POST /v1.0/me/events/%s/cancel {"Comment":"ill"}`},
	} {
		s, ids := furnished(t)
		request := fmt.Sprintf(`{"event_id": %q%s}`, ids["meeting"], tt.extra)
		result, err := call(t, s, calendars.Calendar{}, tt.op, request, false, "Calendars.ReadWrite")
		if err != nil {
			t.Errorf("%s: %v", tt.op, err)
		}
		if d := cmp.Diff(calendars.Removed{ID: ids["meeting"], Cancelled: tt.op == "cancel"}, result); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.op, d)
		}
		if d := cmp.Diff([]string{fmt.Sprintf(tt.want, ids["meeting"])}, sent(t, s)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.op, d)
		}
		if _, err := call(t, s, calendars.Calendar{}, tt.op, request, true, "Calendars.ReadWrite"); err != nil {
			t.Errorf("%s again after an unknown outcome: %v", tt.op, err)
		}
		if _, err := call(t, s, calendars.Calendar{}, tt.op, request, false, "Calendars.ReadWrite"); !graph.Is(err, graph.NotFound) {
			t.Errorf("%s of what is gone: %v", tt.op, err)
		}
	}
}

func TestRespond(t *testing.T) {
	for _, tt := range []struct{ response, request, want, result string }{
		{"accept", ``, `accept {"SendResponse":true}`, "accepted"},
		{"Tentative", `, "message": "perhaps"`, `tentativelyAccept {"Comment":"perhaps","SendResponse":true}`, "tentativelyAccepted"},
		{"tentative", `, "propose_start": "2026-03-01T12:00:00", "propose_end": "2026-03-01T12:00:00Z"`,
			`tentativelyAccept {"ProposedNewTime":{"end":{"dateTime":"2026-03-01T13:00:00.0000000","timeZone":"W. Europe Standard Time"},"start":{"dateTime":"2026-03-01T12:00:00.0000000","timeZone":"W. Europe Standard Time"}},"SendResponse":true}`, "tentativelyAccepted"},
		{"decline", `, "send_response": false`, `decline {"SendResponse":false}`, ""},
	} {
		s, ids := furnished(t)
		id := ids["invitation"]
		request := fmt.Sprintf(`{"event_id": %q, "response": %q%s}`, id, tt.response, tt.request)
		find := func() bool {
			t.Helper()
			r, err := services.Decode(operation(t, calendars.Calendar{}, "respond"), []byte(request))
			if err != nil {
				t.Fatal(err)
			}
			_, happened, err := r.(services.Verifier).Verify(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.ReadWrite"), services.Attempt{Repeated: true, Now: now(t)})
			if err != nil {
				t.Error(err)
			}
			return happened
		}
		if find() {
			t.Errorf("%s: found before it was done", tt.response)
		}
		result, err := call(t, s, calendars.Calendar{}, "respond", request, false, "Calendars.ReadWrite")
		if err != nil {
			t.Errorf("%s: %v", tt.response, err)
			continue
		}
		if d := cmp.Diff([]string{"POST /v1.0/me/events/" + id + "/" + tt.want}, sent(t, s)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.response, d)
		}
		if e, ok := result.(calendars.Event); ok != (tt.result != "") || e.Response != tt.result {
			t.Errorf("%s: got %+v", tt.response, result)
		}
		if !find() {
			t.Errorf("%s: not found after it was done", tt.response)
		}
	}
	if op := operation(t, calendars.Calendar{}, "respond"); op.Retry != services.AtMostOnce {
		t.Error("the organizer must not get two responses")
	}
}

// TestShared pins that everything is asked of the mailbox that is configured.
func TestShared(t *testing.T) {
	const boss = "boss@contoso.example"
	s := contoso(t)
	s.AddUser(simulator.User{Address: boss, Tenant: simulator.ContosoTenant})
	s.Share(boss, simulator.Adele, true)
	c := calendars.Calendar{Mailbox: boss}
	result, err := call(t, s, c, "create", meeting, false, "Calendars.ReadWrite.Shared")
	if err != nil {
		t.Fatal(err)
	}
	id := result.(calendars.Event).ID
	for _, tt := range []struct{ op, extra string }{{"modify", `, "subject": "y"`}, {"cancel", ""}} {
		if _, err := call(t, s, c, tt.op, fmt.Sprintf(`{"event_id": %q%s}`, id, tt.extra), false, "Calendars.ReadWrite.Shared"); err != nil {
			t.Errorf("%s: %v", tt.op, err)
		}
	}
	for _, r := range s.Requests() {
		if r.Path[:len("/v1.0/users/"+boss)] != "/v1.0/users/"+boss {
			t.Errorf("asked %s", r.Path)
		}
	}
}

// TestChangesNeeds pins that each operation can do with what it says it needs, and not with less.
func TestChangesNeeds(t *testing.T) {
	for op, request := range map[string]string{
		"modify": `{"event_id": %q, "start": "2026-03-01T09:00:00"}`, "remove": `{"event_id": %q}`, "cancel": `{"event_id": %q}`, "respond": `{"event_id": %q, "response": "accept"}`,
	} {
		for _, granted := range []string{"Calendars.ReadWrite", "Calendars.Read"} {
			s, ids := furnished(t)
			id := ids["meeting"]
			if op == "respond" {
				id = ids["invitation"]
			}
			_, err := call(t, s, calendars.Calendar{}, op, fmt.Sprintf(request, id), false, granted)
			if enough := granted == operation(t, calendars.Calendar{}, op).Permissions[0].Scope; enough != (err == nil) || !enough && !graph.Is(err, graph.PermissionMissing) {
				t.Errorf("%s with %s: %v", op, granted, err)
			}
		}
	}
}

func TestModifyWithoutAnswer(t *testing.T) {
	s, ids := furnished(t)
	s.Fail(simulator.Fault{Method: http.MethodPatch, Status: http.StatusNoContent, Done: true, Body: new(string)})
	result, err := call(t, s, calendars.Calendar{}, "modify", fmt.Sprintf(`{"event_id": %q, "subject": "y"}`, ids["meeting"]), false, "Calendars.ReadWrite")
	if err != nil || result.(calendars.Event).Subject != "y" {
		t.Errorf("got %+v, %v", result, err)
	}
}

// TestRespondUnconfirmed pins that an answered invitation is verified, not answered again, if the event cannot be read afterwards.
func TestRespondUnconfirmed(t *testing.T) {
	s, ids := furnished(t)
	s.Fail(simulator.Fault{Method: http.MethodGet, Path: "/v1.0/me/events/" + ids["invitation"], Status: http.StatusServiceUnavailable})
	_, err := call(t, s, calendars.Calendar{}, "respond", fmt.Sprintf(`{"event_id": %q, "response": "accept"}`, ids["invitation"]), false, "Calendars.ReadWrite")
	var e *graph.Error
	if !errors.As(err, &e) || !e.OutcomeUnknown || e.Retryable() {
		t.Errorf("got %+v", err)
	}
}

// TestSeriesKeepsItsZone pins that a series in a zone that Graph does not know is refused, made as well as changed.
func TestSeriesKeepsItsZone(t *testing.T) {
	s, ids := furnished(t)
	const want = "timezone: Microsoft does not know the time zone Antarctica/Troll, so a series in it would move when its clocks change; want another one, such as Europe/Berlin"
	for op, request := range map[string]string{
		"create": `{"subject": "x", "start": "2026-03-01T10:00:00", "end": "2026-03-01T11:00:00", "timezone": "Antarctica/Troll", "recurrence": {"type": "weekly"}}`,
		"modify": fmt.Sprintf(`{"event_id": %q, "start": "2026-03-01T09:00:00", "timezone": "Antarctica/Troll", "recurrence": {"type": "weekly"}}`, ids["meeting"]),
	} {
		_, err := call(t, s, calendars.Calendar{}, op, request, false, "Calendars.ReadWrite")
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v\nwant %s", op, err, want)
		}
	}
	if got := sent(t, s); got != nil {
		t.Errorf("sent %q", got)
	}
}
