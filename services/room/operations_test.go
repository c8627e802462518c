package room_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/room"
)

const (
	berlin      = "berlin@contoso.example"
	application = "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11"
)

// A panel books one room, as an application.
type panel struct {
	t   *testing.T
	s   *simulator.Simulator
	g   *graph.Client
	now time.Time
	n   int // attempts
}

func newPanel(t *testing.T, roles ...string) *panel {
	t.Helper()
	now := time.Date(2026, 1, 15, 12, 10, 30, 0, graphtest.Zone(t, "Europe/Berlin"))
	s := simulator.Contoso(simulator.Options{Now: func() time.Time { return now }})
	s.AddRoom(simulator.Room{Address: berlin, Name: "Berlin"})
	if roles == nil {
		roles = []string{"Calendars.ReadWrite"}
	}
	return &panel{t: t, s: s, g: graphtest.Application(t, s, application, roles...), now: now}
}

// at returns a time, of the day unless it has a date.
func (p *panel) at(clock string) time.Time {
	p.t.Helper()
	if !strings.Contains(clock, " ") {
		clock = p.now.Format(time.DateOnly) + " " + clock
	}
	t, err := time.ParseInLocation("2006-01-02 15:04", clock, p.now.Location())
	if err != nil {
		p.t.Fatal(err)
	}
	return t
}

// meet adds a meeting of somebody.
func (p *panel) meet(from, to string) string {
	return p.s.AddEvent(berlin, "", simulator.Event{Subject: "Review", Start: p.at(from), End: p.at(to), Organizer: simulator.Adele})
}

// do executes a request; repeated ones are those whose outcome was lost.
func (p *panel) do(name, request string, repeated bool) (any, error) {
	p.t.Helper()
	for _, op := range room.Operations(calendars.Calendar{Mailbox: berlin}, 30) {
		if op.Name != name {
			continue
		}
		r, err := services.Decode(op, []byte(request))
		if err != nil {
			return nil, err
		}
		if !repeated {
			p.n++
		}
		result, err := r.Execute(p.t.Context(), p.g, services.Attempt{ID: fmt.Sprintf("7f0c4c9e-3b0e-4f0b-8d2a-%012d", p.n), Now: p.now, Repeated: repeated})
		if err != nil {
			return nil, err
		}
		return result.(interface{ Data() any }).Data(), nil
	}
	p.t.Fatalf("no operation %s", name)
	return nil, nil
}

// booked returns the bookings of the day as texts.
func (p *panel) booked() []string {
	p.t.Helper()
	all, err := calendars.Bookings(p.t.Context(), p.g, berlin, p.at("00:00"), p.at("23:59"), true)
	if err != nil {
		p.t.Fatal(err)
	}
	texts := []string{}
	for _, b := range all {
		start, end := b.Span(p.now.Location())
		texts = append(texts, fmt.Sprintf("%s-%s %s", start.Format("15:04"), end.Format("15:04"), b.Subject))
	}
	return texts
}

func (p *panel) want(want ...string) {
	p.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), p.booked()); diff != "" {
		p.t.Error(diff)
	}
}

// message returns the message of a conflict, or the text of another error.
func message(err error) string {
	var e *services.Error
	if errors.As(err, &e) {
		return string(e.Code) + ": " + e.Message
	}
	return fmt.Sprint(err)
}

// A booking takes as long as it may: what was asked for, or until the next meeting.
func TestBook(t *testing.T) {
	for name, test := range map[string]struct {
		request  string
		meetings [][2]string
		want     []string
		refused  string
	}{
		"now":             {`{}`, nil, []string{"12:10-12:40 Booked at the room"}, ""},
		"with a subject":  {`{"minutes": 45, "subject": "Standup"}`, nil, []string{"12:10-12:55 Standup"}, ""},
		"later":           {`{"start": "2026-01-15T15:00:00", "minutes": 60}`, nil, []string{"15:00-16:00 Booked at the room"}, ""},
		"shortened":       {`{}`, [][2]string{{"12:25", "13:00"}}, []string{"12:10-12:25 Booked at the room", "12:25-13:00 Review"}, ""},
		"after a meeting": {`{}`, [][2]string{{"11:00", "12:10"}}, []string{"11:00-12:10 Review", "12:10-12:40 Booked at the room"}, ""},
		"too short":       {`{}`, [][2]string{{"12:14", "13:00"}}, nil, "conflict: the room is busy from 12:14 to 13:00"},
		"busy":            {`{}`, [][2]string{{"12:00", "13:00"}}, nil, "conflict: the room is busy from 12:00 to 13:00"},
		"busy later":      {`{"minutes": 60}`, [][2]string{{"13:00", "14:00"}}, nil, "conflict: the room is busy from 13:00 to 14:00"},
		"busy tomorrow":   {`{"start": "2026-01-16T10:00:00", "minutes": 60}`, [][2]string{{"2026-01-16 10:30", "2026-01-16 11:00"}}, nil, "conflict: the room is busy from 2026-01-16 10:30 to 11:00"},
		"over midnight":   {`{"start": "2026-01-15T23:00:00", "minutes": 60}`, [][2]string{{"23:30", "2026-01-16 00:30"}}, nil, "conflict: the room is busy from 23:30 to 2026-01-16 00:30"},
		"a long subject":  {`{"subject": "` + strings.Repeat("ü", 256) + `"}`, nil, nil, "subject: want at most 255 characters, not 256"},
		"in the past":     {`{"start": "2026-01-15T10:00:00"}`, nil, nil, "start: want a booking that ends in the future, not at 2026-01-15T10:30:00+01:00"},
		"not a time":      {`{"start": "noon"}`, nil, nil, `start: want a time with or without zone, such as 2026-01-01T12:00:00, not "noon"`},
		"too few":         {`{"minutes": 1}`, nil, nil, "minutes: want at least 5, not 1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPanel(t)
			for _, m := range test.meetings {
				p.meet(m[0], m[1])
			}
			data, err := p.do("book", test.request, false)
			if test.refused != "" {
				if message(err) != test.refused {
					t.Errorf("got %s\nwant %s", message(err), test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p.want(test.want...)
			if data.(map[string]any)["event_id"] == "" {
				t.Errorf("answered %v", data)
			}
			if _, err := p.do("book", test.request, true); err != nil { // the answer was lost
				t.Errorf("repeated: %v", err)
			}
			p.want(test.want...)
			for _, r := range p.s.Requests() {
				if r.Path[:len("/v1.0/users/")] != "/v1.0/users/" {
					t.Errorf("%s %s", r.Method, r.Path)
				}
			}
		})
	}
}

// Only what was booked at the room can be ended there.
func TestEnd(t *testing.T) {
	p := newPanel(t)
	if _, err := p.do("end", `{}`, false); message(err) != "conflict: the room is free" {
		t.Errorf("a free room: %s", message(err))
	}
	if _, err := p.do("book", `{"minutes": 30}`, false); err != nil {
		t.Fatal(err)
	}
	p.now = p.now.Add(7 * time.Minute)
	for _, repeated := range []bool{false, true} {
		if _, err := p.do("end", `{}`, repeated); err != nil {
			t.Fatal(err)
		}
		p.want("12:10-12:17 Booked at the room")
	}
	// What has just begun leaves nothing.
	data, err := p.do("book", `{"minutes": 30}`, false)
	if err != nil {
		t.Fatal(err)
	}
	id := data.(map[string]any)["event_id"]
	for _, repeated := range []bool{false, true} {
		if _, err := p.do("end", fmt.Sprintf(`{"event_id": %q}`, id), repeated); err != nil {
			t.Fatal(err)
		}
		p.want("12:10-12:17 Booked at the room")
	}
	if _, err := p.do("end", `{"event_id": "AAMkUnknown="}`, false); !graph.Is(err, graph.NotFound) {
		t.Errorf("an unknown booking: %v", err)
	}
	p.meet("12:15", "13:00")
	if _, err := p.do("end", `{}`, false); message(err) != "conflict: the current meeting was not booked at the room; its organizer ends it" {
		t.Errorf("a meeting of somebody: %s", message(err))
	}
}
