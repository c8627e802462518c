package calendar_test

import (
	"bytes"
	"encoding/json"
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
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

const key = "7f0c4c9e-3b0e-4f0b-8d2a-2a1c5d6e7f80"

// now is the moment of every test: a winter's noon in Berlin.
func now(t testing.TB) time.Time {
	return time.Date(2026, 1, 15, 12, 0, 0, 0, graphtest.Zone(t, "Europe/Berlin"))
}

func contoso(t testing.TB) *simulator.Simulator {
	return simulator.Contoso(simulator.Options{Now: func() time.Time { return now(t) }})
}

func operation(t testing.TB, c calendars.Calendar, name string) services.Operation {
	t.Helper()
	for _, op := range calendar.Operations(c) {
		if op.Name == name {
			return op
		}
	}
	t.Fatalf("no operation %q", name)
	return services.Operation{}
}

func decode(t testing.TB, c calendars.Calendar, name, request string) (services.Request, error) {
	t.Helper()
	return services.Decode(operation(t, c, name), []byte(request))
}

func circumstances(t testing.TB) services.Attempt { return services.Attempt{ID: key, Now: now(t)} }

func call(t testing.TB, s *simulator.Simulator, c calendars.Calendar, name, request string, again bool, scopes ...string) (any, error) {
	t.Helper()
	r, err := decode(t, c, name, request)
	if err != nil {
		return nil, err
	}
	circumstances := circumstances(t)
	circumstances.Repeated = again
	return r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, scopes...), circumstances)
}

func create(t testing.TB, s *simulator.Simulator, c calendars.Calendar, request string) (calendars.Event, error) {
	t.Helper()
	result, err := call(t, s, c, "create", request, false, "Calendars.ReadWrite")
	if err != nil {
		return calendars.Event{}, err
	}
	return result.(calendars.Event), nil
}

// sent are the writes, their JSON with sorted properties.
func sent(t testing.TB, s *simulator.Simulator) []string {
	t.Helper()
	var out []string
	for _, r := range s.Requests() {
		if r.Method == http.MethodGet {
			continue
		}
		line := r.Method + " " + r.Path
		if len(r.Body) > 0 {
			line += " " + sorted(t, string(r.Body))
		}
		out = append(out, line)
	}
	return out
}

func sorted(t testing.TB, object string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(object), &v); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// TestCreateSent pins what is sent for what is given: no more, no less.
func TestCreateSent(t *testing.T) {
	const (
		times       = `"subject": "x", "start": "2026-03-01T10:00:00", "end": "2026-03-01T11:00:00"`
		berlinTimes = `"start":{"dateTime":"2026-03-01T10:00:00.0000000","timeZone":"W. Europe Standard Time"},"end":{"dateTime":"2026-03-01T11:00:00.0000000","timeZone":"W. Europe Standard Time"}`
		always      = `"@odata.type":"#microsoft.graph.event","subject":"x","transactionId":"` + key + `"`
		series      = `"pattern":{"type":"weekly","interval":1,"daysOfWeek":["sunday"]}`
	)
	days := func(from, to, zone string) string {
		return `"isAllDay":true,"showAs":"free","start":{"dateTime":"` + from + `T00:00:00.0000000","timeZone":"` + zone + `"},"end":{"dateTime":"` + to + `T00:00:00.0000000","timeZone":"` + zone + `"}`
	}
	for _, tt := range []struct{ name, request, want string }{
		{"times alone", times, berlinTimes},
		{"times in summer", `"subject": "x", "start": "2026-07-01 10:00", "end": "2026-07-01 11:00:00"`,
			`"start":{"dateTime":"2026-07-01T10:00:00.0000000","timeZone":"W. Europe Standard Time"},"end":{"dateTime":"2026-07-01T11:00:00.0000000","timeZone":"W. Europe Standard Time"}`},
		{"times with zones", `"subject": "x", "start": "2026-03-01T09:00:00Z", "end": "2026-03-01T02:00:00-08:00"`, berlinTimes},
		{"times in another zone", times + `, "timezone": "America/Los_Angeles"`,
			`"start":{"dateTime":"2026-03-01T10:00:00.0000000","timeZone":"Pacific Standard Time"},"end":{"dateTime":"2026-03-01T11:00:00.0000000","timeZone":"Pacific Standard Time"}`},
		{"times in a zone of Windows", times + `, "timezone": "Pacific Standard Time"`,
			`"start":{"dateTime":"2026-03-01T10:00:00.0000000","timeZone":"Pacific Standard Time"},"end":{"dateTime":"2026-03-01T11:00:00.0000000","timeZone":"Pacific Standard Time"}`},
		{"times in UTC", times + `, "timezone": "UTC"`,
			`"start":{"dateTime":"2026-03-01T10:00:00.0000000","timeZone":"UTC"},"end":{"dateTime":"2026-03-01T11:00:00.0000000","timeZone":"UTC"}`},
		{"the hour that comes twice", `"subject": "x", "start": "2026-10-25T02:30:00+01:00", "end": "2026-10-25T03:30:00+01:00"`,
			`"start":{"dateTime":"2026-10-25T01:30:00.0000000","timeZone":"UTC"},"end":{"dateTime":"2026-10-25T03:30:00.0000000","timeZone":"W. Europe Standard Time"}`},
		{"a moment", `"subject": "x", "start": "2026-03-01T10:00:00", "end": "2026-03-01T10:00:00"`,
			`"start":{"dateTime":"2026-03-01T10:00:00.0000000","timeZone":"W. Europe Standard Time"},"end":{"dateTime":"2026-03-01T10:00:00.0000000","timeZone":"W. Europe Standard Time"}`},
		{"whole days", `"subject": "x", "start": "2026-03-01", "end": "2026-03-03", "is_all_day": true`, days("2026-03-01", "2026-03-03", "W. Europe Standard Time")},
		{"whole days as O365 writes them", `"subject": "x", "start": "2026-03-01T00:00:00", "end": "2026-03-02 00:00:00", "is_all_day": true`, days("2026-03-01", "2026-03-02", "W. Europe Standard Time")},
		{"whole days elsewhere", `"subject": "x", "start": "2026-03-01", "end": "2026-03-02", "is_all_day": true, "timezone": "Asia/Singapore"`, days("2026-03-01", "2026-03-02", "Singapore Standard Time")},
		{"the day that has 23 hours", `"subject": "x", "start": "2026-03-29", "end": "2026-03-30", "is_all_day": true`, days("2026-03-29", "2026-03-30", "W. Europe Standard Time")},
		{"a day without midnight", `"subject": "x", "start": "2026-04-24", "end": "2026-04-25", "is_all_day": true, "timezone": "Africa/Cairo"`, days("2026-04-24", "2026-04-25", "Egypt Standard Time")},
		{"until a day without midnight", `"subject": "x", "start": "2026-09-05", "end": "2026-09-06", "is_all_day": true, "timezone": "America/Santiago"`, days("2026-09-05", "2026-09-06", "Pacific SA Standard Time")},
		{"whole days as they are said to be shown", `"subject": "x", "start": "2026-03-01", "end": "2026-03-03", "is_all_day": true, "show_as": "oof"`,
			strings.Replace(days("2026-03-01", "2026-03-03", "W. Europe Standard Time"), "free", "oof", 1)},
		{"not whole days", times + `, "is_all_day": false`, berlinTimes + `,"isAllDay":false`},
		{"text", times + `, "body": "a < b"`, berlinTimes + `,"body":{"contentType":"text","content":"a < b"}`},
		{"HTML", times + `, "body": "<p>a</p>"`, berlinTimes + `,"body":{"contentType":"html","content":"<p>a</p>"}`},
		{"location", times + `, "location": "Room 1"`, berlinTimes + `,"location":{"displayName":"Room 1"}`},
		{"categories", times + `, "categories": ["Red", "Blue"]`, berlinTimes + `,"categories":["Red","Blue"]`},
		{"enumerations in any case", times + `, "sensitivity": "PRIVATE", "show_as": "workingelsewhere"`, berlinTimes + `,"sensitivity":"private","showAs":"workingElsewhere"`},
		{"attendees", times + `, "attendees": [{"email": "ann@contoso.com"}, {"email": "room@contoso.com", "type": "Resource"}]`,
			berlinTimes + `,"attendees":[{"@odata.type":"#microsoft.graph.attendee","emailAddress":{"address":"ann@contoso.com"},"type":"required"},{"@odata.type":"#microsoft.graph.attendee","emailAddress":{"address":"room@contoso.com"},"type":"resource"}]`},
		{"a reminder", times + `, "remind_before_minutes": 0`, berlinTimes + `,"isReminderOn":true,"reminderMinutesBeforeStart":0`},
		{"no reminder", times + `, "is_reminder_on": false, "remind_before_minutes": 5`, berlinTimes + `,"isReminderOn":false,"reminderMinutesBeforeStart":5`},
		{"online", times + `, "online_meeting": true`, berlinTimes + `,"isOnlineMeeting":true`},
		{"every week", times + `, "recurrence": {"type": "weekly"}`, berlinTimes + `,"recurrence":{` + series + `,"range":{"type":"noEnd","startDate":"2026-03-01"}}`},
		{"every second week, five times", times + `, "recurrence": {"type": "Weekly", "interval": 2, "days_of_week": ["Monday", "friday"], "first_day_of_week": "monday", "count": 5}`,
			berlinTimes + `,"recurrence":{"pattern":{"type":"weekly","interval":2,"daysOfWeek":["monday","friday"],"firstDayOfWeek":"monday"},"range":{"type":"numbered","startDate":"2026-03-01","numberOfOccurrences":5}}`},
		{"every day until", times + `, "recurrence": {"type": "daily", "until": "2026-03-31"}`,
			berlinTimes + `,"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"endDate","startDate":"2026-03-01","endDate":"2026-03-31"}}`},
		{"every month", times + `, "recurrence": {"type": "absoluteMonthly"}`, berlinTimes + `,"recurrence":{"pattern":{"type":"absoluteMonthly","interval":1,"dayOfMonth":1},"range":{"type":"noEnd","startDate":"2026-03-01"}}`},
		{"every month by weekday", times + `, "recurrence": {"type": "relativeMonthly"}`,
			berlinTimes + `,"recurrence":{"pattern":{"type":"relativeMonthly","interval":1,"daysOfWeek":["sunday"],"index":"first"},"range":{"type":"noEnd","startDate":"2026-03-01"}}`},
		{"every year", times + `, "recurrence": {"type": "absoluteYearly"}`, berlinTimes + `,"recurrence":{"pattern":{"type":"absoluteYearly","interval":1,"dayOfMonth":1,"month":3},"range":{"type":"noEnd","startDate":"2026-03-01"}}`},
		{"every year by weekday", times + `, "recurrence": {"type": "relativeYearly", "index": "last", "days_of_week": ["thursday"], "month": 11}`,
			berlinTimes + `,"recurrence":{"pattern":{"type":"relativeYearly","interval":1,"daysOfWeek":["thursday"],"index":"last","month":11},"range":{"type":"noEnd","startDate":"2026-03-01"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso(t)
			// The simulator knows no relative patterns; what it was sent counts.
			if _, err := create(t, s, calendars.Calendar{}, "{"+tt.request+"}"); err != nil && !strings.Contains(err.Error(), "'relative") {
				t.Fatal(err)
			}
			want := []string{"POST /v1.0/me/events " + sorted(t, "{"+always+","+tt.want+"}")}
			if d := cmp.Diff(want, sent(t, s)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if n := s.Total(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestCreateRefused(t *testing.T) {
	const times = `"subject": "x", "start": "2026-03-01T10:00:00", "end": "2026-03-01T11:00:00"`
	for _, tt := range []struct{ request, want string }{
		{`{}`, `subject is required; start is required; end is required`},
		{`{"subject": "` + strings.Repeat("ü", 256) + `", "start": "2026-03-01T10:00:00", "end": "2026-03-01T11:00:00"}`, `subject: want at most 255 characters, not 256`},
		{`{"subject": "x", "start": "noon", "end": "2026-03-01T11:00:00"}`, `start: want a time with or without zone, such as 2026-01-01T12:00:00, not "noon"`},
		{`{"subject": "x", "start": "2026-03-01T11:00:00", "end": "2026-03-02"}`, `end: want a time with or without zone, such as 2026-01-01T12:00:00, not "2026-03-02"`},
		{`{"subject": "x", "start": "2026-03-01T11:00:00", "end": "2026-03-01T10:00:00"}`, `end: want a time not before the start, 2026-03-01T11:00:00+01:00, not 2026-03-01T10:00:00+01:00`},
		{`{"subject": "x", "start": "2026-03-01T11:00:00", "end": "2026-03-01T09:59:59Z"}`, `end: want a time not before the start, 2026-03-01T11:00:00+01:00, not 2026-03-01T10:59:59+01:00`},
		{`{"subject": "x", "start": "2026-03-01T11:00:00", "end": "2026-03-02", "is_all_day": true}`, `start: want a date, such as 2026-01-01, not "2026-03-01T11:00:00"`},
		{`{"subject": "x", "start": "2026-03-01", "end": "tomorrow", "is_all_day": true}`, `end: want a date, such as 2026-01-01, not "tomorrow"`},
		{`{"subject": "x", "start": "2026-03-01", "end": "2026-03-01", "is_all_day": true}`, `end: want a date after the start, 2026-03-01, because it is the first day after the event, not 2026-03-01`},
		{`{` + times + `, "timezone": "Mars"}`, `timezone: want a name of IANA or Windows, such as Europe/Berlin, not "Mars"`},
		{`{` + times + `, "timezone": "Local"}`, `timezone: want a name of IANA or Windows, such as Europe/Berlin, not "Local"`},
		{`{` + times + `, "sensitivity": "secret"}`, `sensitivity: want one of normal, personal, private, confidential, not "secret"`},
		{`{` + times + `, "show_as": "away"}`, `show_as: want one of free, tentative, busy, oof, workingElsewhere, unknown, not "away"`},
		{`{` + times + `, "attendees": [{"type": "optional"}]}`, `attendees[0].email is required`},
		{`{` + times + `, "attendees": [{"email": "ann@contoso.com", "type": "boss"}]}`, `attendees[0].type: want one of required, optional, resource, not "boss"`},
		{`{` + times + `, "attendees": [{"email": "ann", "type": "required"}]}`, `attendees: want an address as email, such as ann@contoso.com, not "ann"`},
		{`{` + times + `, "remind_before_minutes": -1}`, `remind_before_minutes: want 0 to 40320, which is four weeks, not -1`},
		{`{` + times + `, "remind_before_minutes": 1.5}`, `remind_before_minutes: want a whole number, not 1.5`},
		{`{` + times + `, "recurrence": {}}`, `recurrence.type is required`},
		{`{` + times + `, "recurrence": {"type": "hourly"}}`, `recurrence.type: want one of daily, weekly, absoluteMonthly, relativeMonthly, absoluteYearly, relativeYearly, not "hourly"`},
		{`{` + times + `, "recurrence": {"type": "daily", "interval": 0}}`, `recurrence.interval: want 1 to 999, not 0`},
		{`{` + times + `, "recurrence": {"type": "weekly", "days_of_week": ["someday"]}}`, `recurrence.days_of_week: want days from sunday to saturday, not "someday"`},
		{`{` + times + `, "recurrence": {"type": "daily", "until": "2026-04-01", "count": 3}}`, `recurrence: want until or count, not both`},
		{`{` + times + `, "recurrence": {"type": "daily", "until": "soon"}}`, `recurrence.until: want a date, such as 2026-01-01, not "soon"`},
		{`{` + times + `, "recurrence": {"type": "daily", "until": "2026-02-28"}}`, `recurrence.until: want a date not before the start, 2026-03-01, not 2026-02-28`},
	} {
		s := contoso(t)
		_, err := create(t, s, calendars.Calendar{}, tt.request)
		if err == nil || err.Error() != tt.want || !graph.Is(err, graph.InvalidArgument) {
			t.Errorf("%s:\n got %v\nwant %s", tt.request, err, tt.want)
		}
		if n := s.Total(); n != 0 {
			t.Errorf("%s: %d requests", tt.request, n)
		}
	}
}

const meeting = `{"subject": "Board", "start": "2026-03-01T10:00:00", "end": "2026-03-01T11:00:00", "body": "agenda"}`

// TestCreated pins what is known of the event then, and what the request is answered.
func TestCreated(t *testing.T) {
	s := contoso(t)
	e, err := create(t, s, calendars.Calendar{}, meeting)
	if err != nil {
		t.Fatal(err)
	}
	viewed, err := calendars.Calendar{}.View(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.Read"), "", now(t), now(t).AddDate(0, 3, 0))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]calendars.Event{e}, viewed); d != "" {
		t.Errorf("a poll tells another event (-created +polled):\n%s", d)
	}
	if want := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC); !e.Start.Equal(want) || e.Description != "agenda" {
		t.Errorf("got %+v", e)
	}
	var data map[string]string
	b, err := json.Marshal(e.Data())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &data); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"event_id": e.ID, "ical_uid": e.ICalUID, "web_link": e.WebLink}, data); d != "" || e.ID == "" || e.ICalUID == "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestCreateInNamed(t *testing.T) {
	s := contoso(t)
	id := s.AddCalendar(simulator.Adele, "Project X").ID
	for _, name := range []string{"Project X", "project x", id} {
		s.ForgetRequests()
		if _, err := create(t, s, calendars.Calendar{Name: name}, meeting); err != nil {
			t.Fatal(err)
		}
		requests := s.Requests()
		if last := requests[len(requests)-1]; last.Path != "/v1.0/me/calendars/"+id+"/events" {
			t.Errorf("%s: sent to %s", name, last.Path)
		}
	}
	_, err := create(t, s, calendars.Calendar{Name: "Project Y"}, meeting)
	if want := `find the calendar: there is no calendar Project Y; there are: Birthdays, Calendar, Project X`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	other := s.AddCalendar(simulator.Adele, "project x").ID
	if _, err := create(t, s, calendars.Calendar{Name: "Project X"}, meeting); err != nil {
		t.Errorf("of two that differ by case, the exact one: %v", err)
	}
	_, err = create(t, s, calendars.Calendar{Name: "PROJECT X"}, meeting)
	if want := `find the calendar: 2 calendars are named PROJECT X; want the id of one of them: ` + id + ", " + other; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestManyCalendars pins that those on later pages are found.
func TestManyCalendars(t *testing.T) {
	s := contoso(t)
	for i := range 120 {
		s.AddCalendar(simulator.Adele, strings.Repeat("c", i+1))
	}
	last := s.AddCalendar(simulator.Adele, "last").ID
	found, err := calendars.Calendar{Name: "last"}.Find(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.Read"))
	if err != nil || found.ID != last || found.Name != "last" {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestNeeds(t *testing.T) {
	const boss = "boss@contoso.example"
	for _, c := range []calendars.Calendar{{}, {Name: "Calendar"}, {Mailbox: boss}, {Mailbox: boss, Name: "Calendar"}} {
		for _, op := range calendar.Operations(c) {
			permissions := op.Permissions
			if op.Name == calendar.ExpandGroups {
				continue // see TestExpandGroupsNeeds
			}
			if len(permissions) != 1 {
				t.Fatalf("%+v: %s needs %v", c, op.Name, permissions)
			}
			s := contoso(t)
			s.AddUser(simulator.User{Address: boss, Name: "Boss", Tenant: simulator.ContosoTenant})
			s.Share(boss, simulator.Adele, true)
			if op.Name != "create" {
				continue
			}
			if _, err := call(t, s, c, op.Name, meeting, false, permissions[0].Scope); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
			_, err := call(t, s, c, op.Name, meeting, false, "Calendars.Read", "Calendars.Read.Shared")
			if !graph.Is(err, graph.PermissionMissing) {
				t.Errorf("%+v without %s: %v", c, permissions[0].Scope, err)
			}
		}
	}
}

// TestAgain pins that a lost answer makes no second event.
func TestAgain(t *testing.T) {
	s := contoso(t)
	if op := operation(t, calendars.Calendar{}, "create"); op.Retry != services.IdempotencyKey {
		t.Fatal("create must be repeated with its key")
	}
	s.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/me/events", Status: http.StatusGatewayTimeout, Done: true})
	if _, err := create(t, s, calendars.Calendar{}, meeting); err == nil {
		t.Fatal("no error")
	}
	for range 2 {
		if _, err := call(t, s, calendars.Calendar{}, "create", meeting, true, "Calendars.ReadWrite"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Events(simulator.Adele, "")); n != 1 {
		t.Errorf("%d events", n)
	}
	bodies := sent(t, s)
	if len(bodies) != 3 || bodies[0] != bodies[1] || bodies[1] != bodies[2] {
		t.Errorf("not the same was sent: %q", bodies)
	}
}

func TestCreateFaults(t *testing.T) {
	for _, tt := range []struct {
		fault   simulator.Fault
		want    string
		unknown bool
	}{
		{simulator.Fault{Status: http.StatusForbidden}, "create the event: Graph answered 403 ErrorAccessDenied: The simulator was told to fail.", false},
		{simulator.Fault{Status: http.StatusCreated, Done: true, Body: new(string)}, "create the event: the answer has no id of an event", true},
		{simulator.Fault{Change: func(b map[string]any) { delete(b, "id") }}, "create the event: the answer has no id of an event", true},
	} {
		s := contoso(t)
		tt.fault.Method = http.MethodPost
		s.Fail(tt.fault)
		_, err := create(t, s, calendars.Calendar{}, meeting)
		e, ok := err.(*graph.Error)
		if !ok || err.Error() != tt.want || e.OutcomeUnknown != tt.unknown {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
