package calendar_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/calendar"
)

const meetingsPath = "/v1.0/me/onlineMeetings"

// meetings polls Adele's calendar with the details of its online meetings.
type meetings struct {
	s      *simulator.Simulator
	sensor *driver
}

func newMeetings(t testing.TB, now time.Time) *meetings {
	s := simulator.Contoso(simulator.Options{Now: func() time.Time { return now }})
	for _, address := range []string{simulator.Megan, simulator.Alex} {
		s.AddUser(simulator.User{Address: address, Name: address, Tenant: simulator.ContosoTenant})
	}
	return &meetings{s, sensor(func(o *calendar.Options) { o.Meetings = true })}
}

func (m *meetings) poll(t testing.TB, now time.Time) error {
	t.Helper()
	_, err := m.sensor.TryPoll(t, graphtest.Client(t, m.s, simulator.Adele, "Calendars.Read", "OnlineMeetings.Read"), now)
	return err
}

// passcodes returns the passcode of each event in the state.
func (m *meetings) passcodes(t testing.TB, now time.Time) map[string]any {
	t.Helper()
	shown := map[string]any{}
	for _, i := range m.sensor.State(t, now, now).Items {
		item := i.(calendars.Item)
		details, _ := item.Meeting.(map[string]any)
		shown[item.Summary] = details["passcode"]
	}
	return shown
}

// TestMeetings: the details come for the organizer and the invited, once for each version of an event, and are unknown where Teams says
// nothing.
func TestMeetings(t *testing.T) {
	now := noon(t)
	m := newMeetings(t, now)
	at := now.Add(time.Hour)
	add := func(subject, link string) string {
		return m.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: subject, Start: at, End: at.Add(time.Hour), JoinURL: link})
	}
	add("mine", "https://teams.example/mine")
	invited := add("invited", "https://teams.example/it's?a=1&b=%20c")
	add("theirs", "https://teams.example/theirs")
	add("none", "")
	m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Adele, JoinURL: "https://teams.example/mine", Passcode: "1"})
	m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Megan, Invited: []string{simulator.Adele}, JoinURL: "https://teams.example/it's?a=1&b=%20c", Passcode: "2"})
	m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Megan, Invited: []string{simulator.Alex}, JoinURL: "https://teams.example/theirs", Passcode: "3"})
	want := map[string]any{"mine": "1", "invited": "2", "theirs": nil, "none": nil}
	for i := range 3 {
		if err := m.poll(t, now); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, m.passcodes(t, now)); d != "" {
			t.Errorf("poll %d (-want +got):\n%s", i, d)
		}
	}
	if n := m.s.Count(http.MethodGet, meetingsPath); n != 3 {
		t.Errorf("%d requests for three meetings", n)
	}
	if err := m.s.ChangeEvent(simulator.Adele, invited, map[string]any{"subject": "invited again"}); err != nil {
		t.Fatal(err)
	}
	want["invited again"] = want["invited"]
	delete(want, "invited")
	if err := m.poll(t, now); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, m.passcodes(t, now)); d != "" || m.s.Count(http.MethodGet, meetingsPath) != 4 {
		t.Errorf("%d requests after a change (-want +got):\n%s", m.s.Count(http.MethodGet, meetingsPath), d)
	}
}

// TestMeetingsFail: the calendar is shown although Teams fails, and the next poll tries again.
func TestMeetingsFail(t *testing.T) {
	now := noon(t)
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
		m := newMeetings(t, now)
		m.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "mine", Start: now, End: now.Add(time.Hour), JoinURL: "https://teams.example/mine"})
		m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Adele, JoinURL: "https://teams.example/mine", Passcode: "1"})
		m.s.Fail(simulator.Fault{Path: meetingsPath, Status: status})
		var got []any
		for range 2 {
			if err := m.poll(t, now); err != nil {
				t.Fatal(err)
			}
			got = append(got, m.passcodes(t, now)["mine"])
		}
		want := []any{nil, nil} // Teams does not say: it is not asked again
		if status == http.StatusInternalServerError {
			want = []any{nil, "1"}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d (-want +got):\n%s", status, d)
		}
	}
}

// TestMeetingsUnreadable: an answer without a list does not say that Teams does not know the meeting.
func TestMeetingsUnreadable(t *testing.T) {
	now := noon(t)
	m := newMeetings(t, now)
	m.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "mine", Start: now, End: now.Add(time.Hour), JoinURL: "https://teams.example/mine"})
	m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Adele, JoinURL: "https://teams.example/mine", Passcode: "1"})
	m.s.Fail(simulator.Fault{Path: meetingsPath, Change: func(body map[string]any) { delete(body, "value") }})
	for _, want := range []any{nil, "1"} {
		if err := m.poll(t, now); err != nil {
			t.Fatal(err)
		}
		if got := m.passcodes(t, now)["mine"]; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// TestMeetingsFailAlone: a meeting that Teams always fails to read does not keep later ones from being read. While Microsoft refuses
// every request, none is sent.
func TestMeetingsFailAlone(t *testing.T) {
	now := noon(t)
	for status, want := range map[int]struct {
		last     any
		requests int
	}{http.StatusInternalServerError: {"3", 3}, http.StatusTooManyRequests: {nil, 1}} {
		m := newMeetings(t, now)
		for i, name := range []string{"1", "2", "3"} {
			link := "https://teams.example/" + name
			m.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: name, Start: now.Add(time.Duration(i) * time.Minute), End: now.Add(time.Hour), JoinURL: link})
			m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Adele, JoinURL: link, Passcode: name})
		}
		m.s.Fail(simulator.Fault{Path: meetingsPath, Status: status})
		if err := m.poll(t, now); err != nil {
			t.Fatal(err)
		}
		if n := m.s.Count(http.MethodGet, meetingsPath); n != want.requests || m.passcodes(t, now)["3"] != want.last {
			t.Errorf("%d: %d requests, %v", status, n, m.passcodes(t, now))
		}
		if err := m.poll(t, now); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[string]any{"1": "1", "2": "2", "3": "3"}, m.passcodes(t, now)); d != "" && status == http.StatusInternalServerError {
			t.Errorf("the next poll (-want +got):\n%s", d)
		}
	}
}

// TestMeetingsOfSeries: the occurrences of a series share a link, which is asked for once; a poll asks for 20 meetings at most.
func TestMeetingsOfSeries(t *testing.T) {
	now := noon(t)
	m := newMeetings(t, now)
	for i := range 30 {
		link := fmt.Sprintf("https://teams.example/%d", i)
		for range 2 {
			m.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: fmt.Sprint(i), Start: now, End: now.Add(time.Hour), JoinURL: link})
		}
		m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Adele, JoinURL: link, Passcode: "1"})
	}
	for _, want := range []int{20, 30, 30} {
		if err := m.poll(t, now); err != nil {
			t.Fatal(err)
		}
		if n := m.s.Count(http.MethodGet, meetingsPath); n != want {
			t.Errorf("%d requests, want %d", n, want)
		}
	}
	for subject, passcode := range m.passcodes(t, now) {
		if passcode != "1" {
			t.Errorf("%s: %v", subject, passcode)
		}
	}
}

// TestMeetingsNeeds pins the permissions, and that Graph refuses each request without its own.
func TestMeetingsNeeds(t *testing.T) {
	o := options(func(o *calendar.Options) { o.Meetings = true })
	if d := cmp.Diff([]string{"Calendars.Read", "OnlineMeetings.Read"}, graph.Scopes(o.Permissions())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	now := noon(t)
	m := newMeetings(t, now)
	m.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "mine", Start: now, End: now.Add(time.Hour), JoinURL: "https://teams.example/mine"})
	m.s.AddOnlineMeeting(simulator.OnlineMeeting{Organizer: simulator.Adele, JoinURL: "https://teams.example/mine", Passcode: "1"})
	for _, scopes := range [][]string{{"Calendars.Read"}, {"OnlineMeetings.Read"}} {
		_, _ = m.sensor.TryPoll(t, graphtest.Client(t, m.s, simulator.Adele, scopes...), now)
		all := m.s.Requests()
		if last := all[len(all)-1]; last.Status != http.StatusForbidden {
			t.Errorf("with %q: %s %s was answered %d", scopes, last.Method, last.Path, last.Status)
		}
	}
}
