package calendar_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

// office returns a simulator in which Megan is busy from 10 to 11 in Berlin, and Adele from 11 to 12.
func office(t testing.TB) *simulator.Simulator {
	s := contoso(t)
	s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	s.AddEvent(simulator.Megan, "", simulator.Event{Subject: "Plan", Start: start, End: start.Add(time.Hour)})
	s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Call", Start: start.Add(time.Hour), End: start.Add(2 * time.Hour)})
	return s
}

func TestFindTimes(t *testing.T) {
	for _, tt := range []struct {
		request string
		want    []string
		reason  any
	}{
		{`"duration": "1h", "start": "2026-03-02T09:00:00", "end": "2026-03-02T13:30:00"`, []string{"09:00-10:00", "12:00-13:00", "12:30-13:30"}, nil},
		{`"duration": "PT90M", "start": "2026-03-02T09:00:00", "end": "2026-03-02T13:30:00"`, []string{"12:00-13:30"}, nil},
		{`"duration": "2h", "start": "2026-03-02T09:00:00", "end": "2026-03-02T13:30:00"`, nil, "AttendeesUnavailable"},
		{`"duration": "1h", "start": "2026-03-02T07:00:00", "end": "2026-03-02T10:00:00", "working_hours": true`, []string{"09:00-10:00"}, nil},
	} {
		s := office(t)
		result, err := call(t, s, calendars.Calendar{}, "find_times", `{"attendees": ["`+simulator.Megan+`", "x@fabrikam.example"], `+tt.request+`}`, false, "Calendars.Read.Shared", "User.Read")
		if err != nil {
			t.Fatal(err)
		}
		found := result.(calendar.SuggestedTimes)
		var got []string
		for _, x := range found.Suggestions {
			got = append(got, fmt.Sprintf("%s-%s", x.Start.Format("15:04"), x.End.Format("15:04")))
			want := []calendar.Attendance{{Email: simulator.Megan, Availability: "free"}, {Email: "x@fabrikam.example", Availability: "unknown"}}
			if d := cmp.Diff(want, x.Attendees); d != "" || x.Confidence != 100 || x.Organizer != "free" || x.Reason == nil {
				t.Errorf("%s: %+v (-want +got):\n%s", tt.request, x, d)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" || found.Reason != tt.reason {
			t.Errorf("%s: %v (-want +got):\n%s", tt.request, found.Reason, d)
		}
	}
}

// TestFindTimesNeeds pins that it needs one scope of its own, and that reading the calendar is not enough.
func TestFindTimesNeeds(t *testing.T) {
	op := operation(t, calendars.Calendar{}, "find_times")
	if d := cmp.Diff([]string{"Calendars.Read.Shared"}, graph.Scopes(op.Permissions)); d != "" || !op.Optional || !op.Reads || !op.WorkOnly {
		t.Errorf("%+v (-want +got):\n%s", op, d)
	}
	const request = `{"attendees": ["` + simulator.Megan + `"], "duration": "1h", "start": "2026-03-02", "end": "2026-03-03"}`
	for _, scope := range []string{"Calendars.Read.Shared", "Calendars.ReadWrite.Shared"} {
		if _, err := call(t, office(t), calendars.Calendar{}, "find_times", request, false, scope, "User.Read"); err != nil {
			t.Errorf("with %s: %v", scope, err)
		}
	}
	if _, err := call(t, office(t), calendars.Calendar{}, "find_times", request, false, "Calendars.ReadWrite", "User.Read"); !graph.Is(err, graph.PermissionMissing) {
		t.Errorf("without: %v", err)
	}
	s := contoso(t)
	s.AddUser(simulator.User{Address: simulator.Ann, Name: "Ann Example", Personal: true})
	r, err := decode(t, calendars.Calendar{}, "find_times", request)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Execute(t.Context(), graphtest.Client(t, s, simulator.Ann, "Calendars.Read", "User.Read"), circumstances(t))
	if want := "a personal Microsoft account has no colleagues whose calendars it could ask"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFindTimesRefused(t *testing.T) {
	const (
		day = `"start": "2026-03-02", "end": "2026-03-03"`
		ann = `"attendees": ["ann@contoso.example"]`
	)
	for _, tt := range []struct {
		c             calendars.Calendar
		request, want string
	}{
		{calendars.Calendar{}, day, `attendees is required; duration is required`},
		{calendars.Calendar{}, `"attendees": [], "duration": "1h", ` + day, `attendees: want 1 to 20 addresses, not 0`},
		{calendars.Calendar{}, `"attendees": ["ann"], "duration": "1h", ` + day, `attendees: want addresses, such as ann@contoso.com, not "ann"`},
		{calendars.Calendar{}, ann + `, "duration": "an hour", ` + day, `duration: want a duration in whole seconds, such as PT1H30M or 1h30m, not "an hour"`},
		{calendars.Calendar{}, ann + `, "duration": "25h", ` + day, `duration: want PT1M to PT24H, not "25h"`},
		{calendars.Calendar{}, ann + `, "duration": "2h", "start": "2026-03-02T12:00:00", "end": "2026-03-02T13:00:00"`,
			`end: want a time from 2h, the duration, to 62 days after start, 2026-03-02T12:00:00+01:00, not 2026-03-02T13:00:00+01:00`},
	} {
		s := contoso(t)
		_, err := call(t, s, tt.c, "find_times", "{"+tt.request+"}", false, "Calendars.Read.Shared", "User.Read")
		if err == nil || err.Error() != tt.want || s.Total() > 0 {
			t.Errorf("%s: %d requests\n got %v\nwant %s", tt.request, s.Total(), err, tt.want)
		}
	}
}
