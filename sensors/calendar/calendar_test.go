package calendar_test

import (
	orders "cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/calendar"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const viewPath = "/v1.0/me/calendar/calendarView"

// noon is the moment of most tests: of a winter's Thursday in Berlin.
func noon(t testing.TB) time.Time { return in(t, "Europe/Berlin", "2026-01-15 12:00") }

func in(t testing.TB, zone, s string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", s, graphtest.Zone(t, zone))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// berlin is a time of the clock in Berlin.
func berlin(t testing.TB, s string) time.Time { t.Helper(); return in(t, "Europe/Berlin", s) }

func contoso(t testing.TB, events ...simulator.Event) *simulator.Simulator {
	s := simulator.Contoso(simulator.Options{Now: func() time.Time { return noon(t) }})
	for _, e := range s.Events(simulator.Adele, "") {
		s.RemoveEvent(simulator.Adele, e["id"].(string))
	}
	for _, e := range events {
		s.AddEvent(simulator.Adele, "", e)
	}
	return s
}

type driver = sensorstest.Driver[calendar.Snapshot]

func options(change func(*calendar.Options)) *calendar.Options {
	o := calendar.Kind().New().Options().(*calendar.Options)
	if change != nil {
		change(o)
	}
	return o
}

func sensor(change func(*calendar.Options)) *driver { return sensorstest.Of(options(change)) }

func poll(t testing.TB, sensor *driver, s *simulator.Simulator, now time.Time) []entity.Event {
	t.Helper()
	return sensor.Poll(t, graphtest.Client(t, s, simulator.Adele, "Calendars.Read", "Calendars.Read.Shared"), now)
}

// step polls at now as a poller does whose last poll was at since: time-based events come first.
func step(t testing.TB, sensor *driver, s *simulator.Simulator, since, now time.Time) []entity.Event {
	t.Helper()
	events := sensor.State(t, since, now).Events
	return append(events, poll(t, sensor, s, now)...)
}

// told are events as "type summary".
func told(events []entity.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s", e.Type, e.Data["summary"]))
	}
	return out
}

// list are the summaries of data.
func list(t testing.TB, st entity.State) []string {
	t.Helper()
	var items []struct{ Summary string }
	b, err := json.Marshal(st.Items)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &items); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range items {
		out = append(out, i.Summary)
	}
	return out
}

func short(v any) any {
	if v, ok := v.(time.Time); ok {
		return v.Format("2006-01-02 15:04")
	}
	return v
}

// TestRequest pins the one request of a poll: how little it asks for, and how.
func TestRequest(t *testing.T) {
	const base = "categories,end,iCalUId,id,importance,isAllDay,isCancelled,isReminderOn,location,onlineMeeting,onlineMeetingUrl,organizer,reminderMinutesBeforeStart,responseStatus,sensitivity,seriesMasterId,showAs,start,subject,attendees,webLink"
	for _, tt := range []struct {
		name             string
		change           func(*calendar.Options)
		path, start, end string
		fields           string
	}{
		{"default", nil, viewPath, "2026-01-13T23:00:00Z", "2026-01-17T11:00:00Z", base + ",body"},
		{"basic", func(o *calendar.Options) { o.BasicCalendar = true }, viewPath, "2026-01-13T23:00:00Z", "2026-01-17T11:00:00Z", base},
		{"short", func(o *calendar.Options) { o.EndOffset = time.Hour }, viewPath, "2026-01-13T23:00:00Z", "2026-01-16T23:00:00Z", base + ",body"},
		{"far", func(o *calendar.Options) { o.StartOffset, o.EndOffset = -240*time.Hour, 8784*time.Hour }, viewPath, "2026-01-04T11:00:00Z", "2027-01-17T11:00:00Z", base + ",body"},
		{"shared", func(o *calendar.Options) { o.SharedMailbox = "room@contoso.example" }, "/v1.0/users/room@contoso.example/calendar/calendarView", "2026-01-13T23:00:00Z", "2026-01-17T11:00:00Z", base + ",body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso(t)
			s.AddUser(simulator.User{Address: "room@contoso.example", Tenant: simulator.ContosoTenant})
			s.Share("room@contoso.example", simulator.Adele, false)
			poll(t, sensor(tt.change), s, noon(t))
			requests := s.Requests()
			if len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			r := requests[0]
			if r.Method != http.MethodGet || r.Path != tt.path {
				t.Errorf("%s %s, want %s", r.Method, r.Path, tt.path)
			}
			got := map[string]string{}
			for k := range r.Query {
				got[k] = r.Query.Get(k)
			}
			split := func(s string) string {
				l := strings.Split(s, ",")
				slices.Sort(l)
				return strings.Join(l, ",")
			}
			got["$select"] = split(got["$select"])
			if d := cmp.Diff(map[string]string{"startDateTime": tt.start, "endDateTime": tt.end, "$select": split(tt.fields), "$top": "1000"}, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			prefer := r.Header.Values("Prefer")
			slices.Sort(prefer)
			if d := cmp.Diff([]string{`IdType="ImmutableId"`, `outlook.body-content-type="text"`, `outlook.timezone="UTC"`}, prefer); d != "" {
				t.Errorf("Prefer (-want +got):\n%s", d)
			}
		})
	}
}

func TestState(t *testing.T) {
	at := func(from, to string) simulator.Event {
		return simulator.Event{Start: berlin(t, from), End: berlin(t, to)}
	}
	named := func(subject string, e simulator.Event) simulator.Event { e.Subject = subject; return e }
	days := func(subject, from, to string) simulator.Event {
		e := named(subject, at(from+" 00:00", to+" 00:00"))
		e.AllDay = true
		return e
	}
	standup := named("Standup", at("2026-01-15 11:45", "2026-01-15 12:15"))
	lunch := named("Lunch", at("2026-01-15 12:30", "2026-01-15 13:00"))
	board := named("Board", at("2026-01-16 09:00", "2026-01-16 10:00"))
	for _, tt := range []struct {
		name   string
		now    string
		change func(*calendar.Options)
		events []simulator.Event
		want   map[string]any
		list   []string
		next   string
	}{
		{"nothing", "2026-01-15 12:00", nil, nil,
			map[string]any{"busy": false, "current": nil, "next": nil, "current_end": nil, "next_start": nil, "next_end": nil, "today": 0, "remaining": 0, "message": nil}, nil, "2026-01-16 00:00"},
		{"a meeting and the next one", "2026-01-15 12:00", nil, []simulator.Event{board, lunch, standup},
			map[string]any{"busy": true, "current": "Standup", "current_end": "2026-01-15 12:15", "next": "Lunch", "next_start": "2026-01-15 12:30", "next_end": "2026-01-15 13:00", "today": 2, "remaining": 2, "message": "Standup"},
			[]string{"Standup", "Lunch", "Board"}, "2026-01-15 12:15"},
		{"at the start", "2026-01-15 11:45", nil, []simulator.Event{standup}, map[string]any{"busy": true, "remaining": 1}, []string{"Standup"}, "2026-01-15 12:15"},
		{"at the end", "2026-01-15 12:15", nil, []simulator.Event{standup}, map[string]any{"busy": false, "today": 1, "remaining": 0, "message": nil}, nil, "2026-01-16 00:00"},
		{"before the reminder", "2026-01-15 12:14", nil, []simulator.Event{lunch}, map[string]any{"busy": false, "message": "Lunch", "next": "Lunch"}, []string{"Lunch"}, "2026-01-15 12:15"},
		{"a meeting beats the whole day", "2026-01-15 12:00", nil, []simulator.Event{days("Holiday", "2026-01-15", "2026-01-16"), standup},
			map[string]any{"busy": true, "current": "Standup", "message": "Standup", "today": 2, "remaining": 2}, []string{"Holiday", "Standup"}, "2026-01-15 12:15"},
		{"the whole day beats the next meeting", "2026-01-15 12:00", nil, []simulator.Event{days("Holiday", "2026-01-15", "2026-01-16"), lunch},
			map[string]any{"busy": true, "current": "Holiday", "current_end": "2026-01-16 00:00", "next": "Lunch", "message": "Holiday"}, []string{"Holiday", "Lunch"}, "2026-01-15 12:15"},
		{"tomorrow's whole day comes before tomorrow's meeting", "2026-01-15 12:00", nil, []simulator.Event{days("Holiday", "2026-01-16", "2026-01-17"), board},
			map[string]any{"busy": false, "next": "Holiday", "next_start": "2026-01-16 00:00", "next_end": "2026-01-17 00:00", "message": "Board", "today": 0}, []string{"Holiday", "Board"}, "2026-01-15 23:45"},
		{"of two at midnight the one with a time", "2026-01-15 23:50", nil, []simulator.Event{days("Holiday", "2026-01-16", "2026-01-17"), named("Night", at("2026-01-16 00:00", "2026-01-16 01:00"))},
			map[string]any{"next": "Night"}, []string{"Night", "Holiday"}, "2026-01-16 00:00"},
		{"yesterday's whole day is over at midnight", "2026-01-16 00:00", nil, []simulator.Event{days("Holiday", "2026-01-15", "2026-01-16")},
			map[string]any{"busy": false, "today": 0}, nil, "2026-01-17 00:00"},
		{"several days", "2026-01-15 12:00", nil, []simulator.Event{days("Trip", "2026-01-10", "2026-01-20")},
			map[string]any{"busy": true, "current": "Trip", "current_end": "2026-01-20 00:00", "today": 1}, []string{"Trip"}, "2026-01-16 00:00"},
		{"through midnight", "2026-01-15 12:00", nil, []simulator.Event{named("Night", at("2026-01-14 23:00", "2026-01-15 01:00"))},
			map[string]any{"today": 1, "remaining": 0, "busy": false}, nil, "2026-01-16 00:00"},
		{"a moment", "2026-01-15 12:30", nil, []simulator.Event{named("Ping", at("2026-01-15 12:30", "2026-01-15 12:30"))},
			map[string]any{"busy": false, "today": 1, "remaining": 0}, []string{"Ping"}, "2026-01-15 12:30"},
		{"beyond the list, but today", "2026-01-15 12:00", func(o *calendar.Options) { o.EndOffset = 15 * time.Minute }, []simulator.Event{lunch, board},
			map[string]any{"next": "Lunch", "today": 1}, nil, "2026-01-15 12:15"},
		{"beyond today, but listed", "2026-01-15 12:00", nil, []simulator.Event{board}, map[string]any{"next": "Board", "today": 0}, []string{"Board"}, "2026-01-16 00:00"},
		{"beyond both", "2026-01-15 12:00", func(o *calendar.Options) { o.EndOffset = time.Hour }, []simulator.Event{board}, map[string]any{"next": nil, "message": nil}, nil, "2026-01-16 00:00"},
		{"the list from later on", "2026-01-15 12:00", func(o *calendar.Options) { o.StartOffset = time.Hour }, []simulator.Event{standup, lunch, board},
			map[string]any{"busy": true, "current": "Standup", "next": "Lunch"}, []string{"Board"}, "2026-01-15 12:15"},
		{"the list of the past", "2026-01-15 14:00", func(o *calendar.Options) { o.StartOffset = -24 * time.Hour }, []simulator.Event{standup, lunch, board},
			map[string]any{"busy": false, "next": "Board"}, []string{"Board", "Lunch", "Standup"}, "2026-01-16 00:00"},
		{"at most two", "2026-01-15 12:00", func(o *calendar.Options) { o.MaxResults = 2 }, []simulator.Event{board, lunch, standup},
			map[string]any{"next": "Lunch", "today": 2}, []string{"Standup", "Lunch"}, "2026-01-15 12:15"},
		{"an offset", "2026-01-15 12:19", nil, []simulator.Event{named("Bus !!-10", at("2026-01-15 12:30", "2026-01-15 13:00"))},
			map[string]any{"message": "Bus", "next": "Bus", "offset_reached": false}, []string{"Bus !!-10"}, "2026-01-15 12:20"},
		{"an offset that is reached", "2026-01-15 12:20", nil, []simulator.Event{named("Bus !!-0:10", at("2026-01-15 12:30", "2026-01-15 13:00"))},
			map[string]any{"message": "Bus", "offset_reached": true}, []string{"Bus !!-0:10"}, "2026-01-15 12:30"},
		{"no subject", "2026-01-15 12:00", nil, []simulator.Event{named("", at("2026-01-15 11:45", "2026-01-15 12:15"))}, map[string]any{"busy": true, "current": "(no subject)", "message": ""}, []string{""}, "2026-01-15 12:15"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := berlin(t, tt.now)
			sensor := sensor(tt.change)
			if events := poll(t, sensor, contoso(t, tt.events...), now); events != nil {
				t.Errorf("the first answer brought %v", told(events))
			}
			st := sensor.State(t, now, now)
			if st.Events != nil {
				t.Errorf("what lies before the first answer brought %v", told(st.Events))
			}
			got := map[string]any{}
			for k := range tt.want {
				v, ok := st.Values[k]
				if !ok {
					v, ok = st.Attributes[k]
				}
				if !ok {
					t.Errorf("no %s", k)
				}
				got[k] = short(v)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.list, list(t, st)); d != "" {
				t.Errorf("data (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.next, short(st.Next)); d != "" {
				t.Errorf("next (-want +got):\n%s", d)
			}
		})
	}
}

// TestEdges pins that an event comes into the list, and leaves it, at its moment.
func TestEdges(t *testing.T) {
	none := -time.Minute
	s := contoso(t, simulator.Event{Subject: "x", Start: berlin(t, "2026-01-15 15:00"), End: berlin(t, "2026-01-15 16:00"), Reminder: &none})
	sensor := sensor(func(o *calendar.Options) { o.StartOffset, o.EndOffset = -2*time.Hour, time.Hour })
	poll(t, sensor, s, noon(t))
	var got []string
	for now := noon(t); now.Before(berlin(t, "2026-01-15 23:00")); now = sensor.State(t, time.Time{}, now).Next {
		got = append(got, fmt.Sprint(now.Format("15:04"), " ", len(sensor.State(t, time.Time{}, now).Items)))
	}
	if d := cmp.Diff([]string{"12:00 0", "14:00 1", "15:00 1", "16:00 1", "18:00 0"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestWholeDays pins that an all-day event takes the days of its dates, wherever it was made, wherever its calendar is looked at, and
// however long these days are.
func TestWholeDays(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "Asia/Singapore", "America/Los_Angeles", "Pacific/Auckland", "UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"} {
		for _, made := range []string{"UTC", "Singapore Standard Time", "Pacific Standard Time", "W. Europe Standard Time", "New Zealand Standard Time"} {
			for _, date := range []string{"2026-01-15", "2026-03-08", "2026-03-29", "2026-04-05", "2026-09-27", "2026-10-25", "2026-11-01"} {
				t.Run(zone+" "+made+" "+date, func(t *testing.T) {
					start := in(t, zone, date+" 00:00")
					end := start.AddDate(0, 0, 1)
					s := contoso(t, simulator.Event{Subject: "Holiday", Start: start, End: end, AllDay: true, TimeZone: made})
					for at, want := range map[time.Time]bool{start.Add(-time.Second): false, start: true, end.Add(-time.Second): true, end: false} {
						sensor := sensor(nil)
						poll(t, sensor, s, at)
						st := sensor.State(t, time.Time{}, at)
						if st.Values["busy"] != want {
							t.Errorf("%s: busy is %v", at, st.Values["busy"])
						}
						if onDay := at.Format(time.DateOnly) == date; (st.Values["today"] == 1) != onDay {
							t.Errorf("%s: today is %v", at, st.Values["today"])
						}
						if !want {
							continue
						}
						if got := st.Values["current_end"].(time.Time); !got.Equal(end) {
							t.Errorf("%s: ends at %s", at, got)
						}
						if st.Attributes["start_time"] != date || st.Attributes["end_time"] != end.Format(time.DateOnly) {
							t.Errorf("%s: %v to %v", at, st.Attributes["start_time"], st.Attributes["end_time"])
						}
						if !st.Next.Equal(end) && at.Equal(start) {
							t.Errorf("next is %s", st.Next)
						}
					}
				})
			}
		}
	}
}

// TestItem pins every key and every spelling of the list.
func TestItem(t *testing.T) {
	reminder := 10 * time.Minute
	s := contoso(t, simulator.Event{
		Subject: "Board", Start: berlin(t, "2026-01-15 13:00"), End: berlin(t, "2026-01-15 14:00"), Body: "<p>Agenda</p>", Location: "Room 1",
		Categories: []string{"Red"}, Sensitivity: "private", ShowAs: "workingElsewhere", Importance: "high", Organizer: "boss@contoso.example", Response: "tentativelyAccepted",
		Attendees: []simulator.Attendee{{Address: "ann@contoso.example", Name: "Ann", Type: "optional", Response: "notResponded"}, {Address: "bob@contoso.example", Type: "required", Response: "none"}},
		JoinURL:   "https://teams.example/1", Reminder: &reminder,
	})
	sensor := sensor(nil)
	poll(t, sensor, s, noon(t))
	st := sensor.State(t, time.Time{}, noon(t))
	b, err := json.Marshal(st.Items)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"event_id", "uid", "ical_uid", "web_link"} {
		if got[0][key] == "" || got[0][key] == nil {
			t.Errorf("no %s", key)
		}
		delete(got[0], key)
	}
	want := []map[string]any{{
		"summary": "Board", "start": "2026-01-15T13:00:00+01:00", "end": "2026-01-15T14:00:00+01:00", "all_day": false, "description": "Agenda", "location": "Room 1",
		"categories": []any{"Red"}, "sensitivity": "private", "show_as": "workingElsewhere", "importance": "high", "organizer": "boss@contoso.example",
		"attendees": []any{
			map[string]any{"email": "ann@contoso.example", "name": "Ann", "type": "optional", "status": "notResponded"},
			map[string]any{"email": "bob@contoso.example", "name": nil, "type": "required", "status": "none"},
		},
		"reminder": map[string]any{"minutes": 10.0, "is_on": true}, "is_cancelled": false, "response_status": "tentativelyAccepted", "join_url": "https://teams.example/1", "meeting": nil, "dial_in": nil, "series_id": nil,
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	attributes := map[string]any{
		"message": "Board", "all_day": false, "start_time": "2026-01-15 13:00", "end_time": "2026-01-15 14:00", "location": "Room 1", "description": "Agenda", "offset_reached": false,
		"color": nil, "hex_color": nil, "can_edit": nil,
	}
	for k, v := range st.Attributes {
		st.Attributes[k] = short(v)
	}
	if d := cmp.Diff(attributes, st.Attributes); d != "" || st.ItemsKey != "data" {
		t.Errorf("%s (-want +got):\n%s", st.ItemsKey, d)
	}
}

func TestFilters(t *testing.T) {
	at := func(e simulator.Event) simulator.Event {
		e.Start, e.End = berlin(t, "2026-01-15 13:00"), berlin(t, "2026-01-15 14:00")
		return e
	}
	s := contoso(t,
		at(simulator.Event{Subject: "Board meeting"}),
		at(simulator.Event{Subject: "Gym", Sensitivity: "private", ShowAs: "free"}),
		at(simulator.Event{Subject: "Trip", ShowAs: "oof"}),
		at(simulator.Event{Subject: "Party", Organizer: "boss@contoso.example", Response: "declined"}),
		at(simulator.Event{Subject: "Canceled: Review", Cancelled: true}),
		at(simulator.Event{Properties: map[string]any{"subject": nil}}),
	)
	for _, tt := range []struct {
		name   string
		change func(*calendar.Options)
		want   []string
	}{
		{"default", nil, []string{"", "Board meeting", "Gym", "Party", "Trip"}},
		{"cancelled, too", func(o *calendar.Options) { o.IncludeCancelled = true }, []string{"", "Board meeting", "Canceled: Review", "Gym", "Party", "Trip"}},
		{"not declined", func(o *calendar.Options) { o.IncludeDeclined = false }, []string{"", "Board meeting", "Gym", "Trip"}},
		{"search", func(o *calendar.Options) { o.Search = "MEET" }, []string{"Board meeting"}},
		{"exclude", func(o *calendar.Options) { o.Exclude = []string{"^board", "y.?$"} }, []string{"", "Trip"}},
		{"exclude what has no subject", func(o *calendar.Options) { o.Exclude = []string{"^$"} }, []string{"Board meeting", "Gym", "Party", "Trip"}},
		{"sensitivity", func(o *calendar.Options) { o.SensitivityExclude = []string{"Private"} }, []string{"", "Board meeting", "Party", "Trip"}},
		{"show as", func(o *calendar.Options) { o.ShowAsExclude = []string{"free", "OOF"} }, []string{"", "Board meeting", "Party"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sensor := sensor(tt.change)
			poll(t, sensor, s, noon(t))
			st := sensor.State(t, time.Time{}, noon(t))
			if d := cmp.Diff(tt.want, list(t, st)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if st.Values["today"] != len(tt.want) {
				t.Errorf("today is %v", st.Values["today"])
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*calendar.Options)
		want   string
	}{
		{nil, ""},
		{func(o *calendar.Options) { o.Exclude = []string{"ok", "("} }, "exclude[1]: want a regular expression, not \"(\": error parsing regexp: missing closing ): `(?i)(`"},
		{func(o *calendar.Options) { o.StartOffset = 24 * time.Hour }, "end_offset: want more than start_offset, 24h0m0s, not 24h0m0s"},
		{func(o *calendar.Options) { o.BasicCalendar, o.SharedMailbox = true, "a@b" }, "basic_calendar: not with shared_mailbox, because Microsoft has no such permission"},
	} {
		got := ""
		if err := options(tt.change).Validate(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestNews follows a calendar through an afternoon.
func TestNews(t *testing.T) {
	s := contoso(t)
	sensor := sensor(nil)
	now := noon(t)
	step := func(name string, minutes int, want ...string) {
		t.Helper()
		since := now
		now = now.Add(time.Duration(minutes) * time.Minute)
		var got []string
		if sensor.Snapshot == nil {
			got = told(poll(t, sensor, s, now))
		} else {
			got = told(step(t, sensor, s, since, now))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	change := func(id string, properties map[string]any) {
		t.Helper()
		if err := s.ChangeEvent(simulator.Adele, id, properties); err != nil {
			t.Fatal(err)
		}
	}
	at := func(clock string) map[string]any {
		return map[string]any{"dateTime": "2026-01-15T" + clock + ":00", "timeZone": "W. Europe Standard Time"}
	}
	add := func(subject, from, to string) string {
		return s.AddEvent(simulator.Adele, "", simulator.Event{Subject: subject, Start: berlin(t, "2026-01-15 "+from), End: berlin(t, "2026-01-15 "+to)})
	}

	step("first answer", 0)
	step("nothing", 1)
	meeting := add("Meeting", "13:00", "14:00")
	step("created", 1, "event_created Meeting")
	change(meeting, map[string]any{"location": map[string]any{"displayName": "Room 2"}})
	step("moved to a room", 1, "event_changed Meeting")
	step("reminder", 43, "reminder Meeting")
	step("started", 15, "event_started Meeting")
	change(meeting, map[string]any{"end": at("13:10")})
	step("cut short, later", 1, "event_changed Meeting")
	step("ended", 15, "event_ended Meeting")

	second := add("Second", "13:10", "14:00")
	step("created while it runs", 1, "event_created Second", "event_started Second")
	change(second, map[string]any{"end": at("13:15")})
	step("cut short, earlier", 1, "event_changed Second", "event_ended Second")
	change(second, map[string]any{"end": at("14:15")})
	step("goes on", 1, "event_changed Second", "event_started Second")
	change(second, map[string]any{"isCancelled": true, "subject": "Canceled: Second"})
	step("cancelled while it runs", 1, "event_cancelled Canceled: Second", "event_ended Canceled: Second")
	s.RemoveEvent(simulator.Adele, second)
	step("removed, cancelled before", 1)

	third := add("Third", "13:00", "15:00")
	step("created while it runs", 1, "event_created Third", "event_started Third")
	s.RemoveEvent(simulator.Adele, third)
	step("removed while it runs", 1, "event_removed Third", "event_ended Third")

	soon := add("Soon", "13:30", "14:00")
	step("created after its reminder", 1, "event_created Soon", "reminder Soon")
	change(soon, map[string]any{"start": at("14:00"), "end": at("14:30")})
	step("moved", 1, "event_changed Soon")
	step("reminded again", 21, "reminder Soon")
	s.RemoveEvent(simulator.Adele, soon)
	step("removed", 1, "event_removed Soon")

	add("Past", "09:00", "10:00")
	step("created when it was over", 1, "event_created Past")
}

// TestMemory pins that a restart tells what happened in between, and nothing twice.
func TestMemory(t *testing.T) {
	s := contoso(t, simulator.Event{Subject: "Meeting", Start: berlin(t, "2026-01-15 12:30"), End: berlin(t, "2026-01-15 13:00"), Categories: []string{}, Attendees: []simulator.Attendee{{Address: "ann@contoso.example"}}},
		simulator.Event{Subject: "Holiday", Start: berlin(t, "2026-01-16 00:00"), End: berlin(t, "2026-01-17 00:00"), AllDay: true})
	before := sensor(nil)
	poll(t, before, s, noon(t))
	after := sensor(nil)
	after.Snapshot = before.Snapshot
	after.Restart(t)
	now := berlin(t, "2026-01-15 12:40")
	if d := cmp.Diff(before.State(t, noon(t), now), after.State(t, noon(t), now)); d != "" {
		t.Errorf("after a restart (-before +after):\n%s", d)
	}
	if d := cmp.Diff([]string{"reminder Meeting", "event_started Meeting"}, told(after.State(t, noon(t), now).Events)); d != "" {
		t.Errorf("in between (-want +got):\n%s", d)
	}
	if events := poll(t, after, s, now); events != nil {
		t.Errorf("the same answer brought %v", told(events))
	}
	s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "New", Start: berlin(t, "2026-01-15 15:00"), End: berlin(t, "2026-01-15 16:00")})
	if d := cmp.Diff([]string{"event_created New"}, told(poll(t, after, s, now))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestPassage pins that an event that comes near, passes and is left behind brings nothing but what time brings; all of them for a week,
// in zones far from UTC.
func TestPassage(t *testing.T) {
	for _, zone := range []string{"Asia/Singapore", "America/Los_Angeles", "Pacific/Auckland"} {
		t.Run(zone, func(t *testing.T) {
			start := in(t, zone, "2026-01-18 00:00")
			none := -time.Minute
			s := contoso(t,
				simulator.Event{Subject: "Holiday", Start: start, End: start.AddDate(0, 0, 1), AllDay: true, Reminder: &none},
				simulator.Event{Subject: "Meeting", Start: start.Add(9 * time.Hour), End: start.Add(10 * time.Hour), Reminder: &none})
			sensor := sensor(nil)
			var got []string
			since := start.AddDate(0, 0, -4)
			poll(t, sensor, s, since)
			for now := since; now.Before(start.AddDate(0, 0, 4)); now = now.Add(time.Hour) {
				got = append(got, told(step(t, sensor, s, since, now))...)
				since = now
			}
			if d := cmp.Diff([]string{"event_started Holiday", "event_started Meeting", "event_ended Meeting", "event_ended Holiday"}, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestPaging pins that no event is lost on a later page, and that each page is asked for alike.
func TestPaging(t *testing.T) {
	s := contoso(t)
	for i := range 1100 {
		s.AddEvent(simulator.Adele, "", simulator.Event{Subject: fmt.Sprint(i), Start: noon(t).Add(time.Hour), End: noon(t).Add(2 * time.Hour)})
	}
	sensor := sensor(nil)
	poll(t, sensor, s, noon(t))
	if st := sensor.State(t, time.Time{}, noon(t)); len(st.Items) != 1100 || st.Values["today"] != 1100 {
		t.Errorf("%d items, today is %v", len(st.Items), st.Values["today"])
	}
	for _, r := range s.Requests() {
		if n := len(r.Header.Values("Prefer")); n != 3 {
			t.Errorf("%d preferences for %v", n, r.Query)
		}
	}
}

func TestSeries(t *testing.T) {
	start := berlin(t, "2026-01-01 13:00")
	s := contoso(t, simulator.Event{Subject: "Daily", Start: start, End: start.Add(time.Hour), Recurrence: map[string]any{
		"pattern": map[string]any{"type": "daily", "interval": 1}, "range": map[string]any{"type": "noEnd", "startDate": "2026-01-01"},
	}})
	sensor := sensor(nil)
	poll(t, sensor, s, noon(t))
	st := sensor.State(t, time.Time{}, noon(t))
	if d := cmp.Diff([]string{"Daily"}, list(t, st)); d != "" || short(st.Values["next_start"]) != "2026-01-15 13:00" {
		t.Errorf("next_start is %v, data (-want +got):\n%s", st.Values["next_start"], d)
	}
	now := noon(t)
	for range 10 {
		since := now
		now = now.Add(6 * time.Hour)
		for _, e := range step(t, sensor, s, since, now) {
			if e.Type != "event_started" && e.Type != "event_ended" && e.Type != "reminder" {
				t.Errorf("%s: %s", now, e.Type)
			}
			if e.Data["series_id"] == nil {
				t.Errorf("%s without the series", e.Type)
			}
		}
	}
}

// TestNamed pins that the name of a calendar is looked up once, and again where the calendar was made anew.
func TestNamed(t *testing.T) {
	s := contoso(t)
	id := s.AddCalendar(simulator.Adele, "Project").ID
	sensor := sensor(func(o *calendar.Options) { o.Calendar = "project" })
	later := noon(t).Add(time.Hour) // when the events are read in any case
	poll(t, sensor, s, noon(t))
	poll(t, sensor, s, later)
	if d := cmp.Diff([]string{"calendars", "calendars/" + id + "/calendarView", "calendars/" + id + "/calendarView"}, paths(s)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	s.RemoveCalendar(simulator.Adele, "Project")
	_, err := sensor.TryPoll(t, graphtest.Client(t, s, simulator.Adele, "Calendars.Read"), later.Add(time.Hour))
	if want := `find the calendar: there is no calendar project; there are: Birthdays, Calendar`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	paths(s)
	second := s.AddCalendar(simulator.Adele, "Project").ID
	poll(t, sensor, s, later.Add(2*time.Hour))
	poll(t, sensor, s, later.Add(3*time.Hour))
	if d := cmp.Diff([]string{"calendars/" + id + "/calendarView", "calendars", "calendars/" + second + "/calendarView", "calendars/" + second + "/calendarView"}, paths(s)); d != "" {
		t.Errorf("made anew (-want +got):\n%s", d)
	}
}

// paths returns the paths of the requests since the last call, below /me.
func paths(s *simulator.Simulator) (out []string) {
	for _, r := range s.Requests() {
		out = append(out, strings.TrimPrefix(strings.TrimPrefix(r.Path, "/v1.0/"), "me/"))
	}
	s.ForgetRequests()
	return out
}

// TestMembers pins that "all" stands for one sensor a calendar, each with the options of the whole.
func TestMembers(t *testing.T) {
	s := contoso(t, simulator.Event{Subject: "Default", Start: noon(t), End: noon(t).Add(time.Hour)})
	project := s.AddCalendar(simulator.Adele, "Project")
	s.AddEvent(simulator.Adele, "Project", simulator.Event{Subject: "Secret plan", Start: noon(t), End: noon(t).Add(time.Hour)})
	s.AddEvent(simulator.Adele, "Project", simulator.Event{Subject: "Plan", Start: noon(t), End: noon(t).Add(time.Hour)})
	all := options(func(o *calendar.Options) { o.Calendar, o.Exclude = "all", []string{"secret"} })
	if options(nil).IsGroup() || !all.IsGroup() {
		t.Error("only all is a group")
	}
	members, err := all.Members(t.Context(), graphtest.Client(t, s, simulator.Adele, graph.Scopes(all.Permissions())...))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(members, sensors.Member{ID: project.ID, Name: "Project"})
	if i < 0 {
		t.Fatalf("got %v", members)
	}
	s.ForgetRequests()
	member := sensorstest.Of(all.Member(members[i]))
	poll(t, member, s, noon(t))
	if d := cmp.Diff([]string{"Plan"}, list(t, member.State(t, time.Time{}, noon(t)))); d != "" || len(s.Requests()) != 1 {
		t.Errorf("%d requests, (-want +got):\n%s", len(s.Requests()), d)
	}
}

func TestNeeds(t *testing.T) {
	const room = "room@contoso.example"
	for _, tt := range []struct {
		change func(*calendar.Options)
		want   []string // each of which is enough
	}{
		{nil, []string{"Calendars.Read", "Calendars.ReadWrite"}},
		{func(o *calendar.Options) { o.Calendar = "Calendar" }, []string{"Calendars.Read", "Calendars.ReadWrite"}},
		{func(o *calendar.Options) { o.BasicCalendar = true }, []string{"Calendars.ReadBasic", "Calendars.Read", "Calendars.ReadWrite"}},
		{func(o *calendar.Options) { o.SharedMailbox = room }, []string{"Calendars.Read.Shared", "Calendars.ReadWrite.Shared"}},
		{func(o *calendar.Options) { o.SharedMailbox, o.Calendar = room, "Calendar" }, []string{"Calendars.Read.Shared", "Calendars.ReadWrite.Shared"}},
	} {
		permissions := options(tt.change).Permissions()
		if len(permissions) != 1 || !slices.Equal(append([]string{permissions[0].Scope}, permissions[0].Alternatives...), tt.want) || permissions[0].Purpose == "" || permissions[0].Impact == "" {
			t.Fatalf("got %+v, want %v", permissions, tt.want)
		}
		s := contoso(t)
		s.AddUser(simulator.User{Address: room, Tenant: simulator.ContosoTenant})
		s.Share(room, simulator.Adele, true)
		for _, scope := range tt.want {
			if _, err := sensor(tt.change).TryPoll(t, graphtest.Client(t, s, simulator.Adele, scope), noon(t)); err != nil {
				t.Errorf("with %s: %v", scope, err)
			}
		}
		_, err := sensor(tt.change).TryPoll(t, graphtest.Client(t, s, simulator.Adele, "User.Read"), noon(t))
		if !graph.Is(err, graph.PermissionMissing) {
			t.Errorf("without: %v", err)
		}
	}
}

// TestApply asks for an event as a user of Home Assistant does, and looks at what shows at once.
func TestApply(t *testing.T) {
	s := contoso(t)
	sensor := sensor(nil)
	apply := func(now time.Time, request string) []string {
		t.Helper()
		op := options(nil).Operations()[0]
		r, err := services.Decode(op, []byte(request))
		if err != nil {
			t.Fatal(err)
		}
		result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.ReadWrite"), services.Attempt{ID: request, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return told(sensor.Apply(t, result, now))
	}
	poll(t, sensor, s, noon(t))
	if d := cmp.Diff([]string{"event_created Board"}, apply(noon(t), `{"subject": "Board", "start": "2026-01-15T13:00:00", "end": "2026-01-15T14:00:00"}`)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	st := sensor.State(t, time.Time{}, noon(t))
	if st.Values["next"] != "Board" || st.Values["today"] != 1 || st.Attributes["message"] != "Board" {
		t.Errorf("shows %v", st.Values)
	}
	if d := cmp.Diff([]string{"event_created Now", "event_started Now"}, apply(noon(t), `{"subject": "Now", "start": "2026-01-15T11:55:00", "end": "2026-01-15T14:00:00", "is_reminder_on": false}`)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"event_created Far"}, apply(noon(t), `{"subject": "Far", "start": "2026-08-15T13:00:00", "end": "2026-08-15T14:00:00"}`)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := apply(noon(t), `{"subject": "Series", "start": "2026-01-15T15:00:00", "end": "2026-01-15T16:00:00", "recurrence": {"type": "weekly"}}`); got != nil {
		t.Errorf("a series, which the next poll brings: %v", got)
	}
	if d := cmp.Diff([]string{"event_created Series"}, told(poll(t, sensor, s, noon(t)))); d != "" {
		t.Errorf("the next poll (-want +got):\n%s", d)
	}
}

// TestApplied pins what the results of the other operations change at once, and that the next poll finds nothing new in it.
func TestApplied(t *testing.T) {
	for _, tt := range []struct {
		op, event, extra string
		want             []string
	}{
		{"modify", "Running", `, "end": "2026-01-15T11:59:00"`, []string{"event_changed Running", "event_ended Running"}},
		{"modify", "Coming", `, "subject": "Renamed"`, []string{"event_changed Renamed"}},
		{"modify", "Coming", `, "start": "2026-08-15T13:00:00", "end": "2026-08-15T14:00:00"`, []string{"event_changed Coming"}},
		{"remove", "Running", "", []string{"event_removed Running", "event_ended Running"}},
		{"cancel", "Coming", "", []string{"event_cancelled Coming"}},
		{"respond", "Invitation", `, "response": "accept"`, []string{"event_changed Invitation"}},
		{"respond", "Invitation", `, "response": "decline"`, []string{"event_removed Invitation"}},
		{"remove", "Daily", "", []string{"event_removed Daily"}},
	} {
		t.Run(tt.op+" "+tt.event, func(t *testing.T) {
			daily := map[string]any{"pattern": map[string]any{"type": "daily", "interval": 1}, "range": map[string]any{"type": "numbered", "startDate": "2026-01-15", "numberOfOccurrences": 2}}
			s := contoso(t,
				simulator.Event{Subject: "Running", Start: berlin(t, "2026-01-15 11:00"), End: berlin(t, "2026-01-15 13:00")},
				simulator.Event{Subject: "Coming", Start: berlin(t, "2026-01-15 15:00"), End: berlin(t, "2026-01-15 16:00")},
				simulator.Event{Subject: "Invitation", Start: berlin(t, "2026-01-15 15:00"), End: berlin(t, "2026-01-15 16:00"), Organizer: "boss@contoso.example"},
				simulator.Event{Subject: "Daily", Start: berlin(t, "2026-01-15 17:00"), End: berlin(t, "2026-01-15 18:00"), Recurrence: daily},
			)
			sensor := sensor(nil)
			poll(t, sensor, s, noon(t))
			id := ""
			for _, i := range sensor.State(t, time.Time{}, noon(t)).Items {
				b, err := json.Marshal(i)
				if err != nil {
					t.Fatal(err)
				}
				var item struct {
					Summary, UID string
					Series       string `json:"series_id"`
				}
				if err := json.Unmarshal(b, &item); err != nil {
					t.Fatal(err)
				}
				if item.Summary == tt.event {
					id = orders.Or(item.Series, item.UID)
				}
			}
			operations := options(nil).Operations()
			i := slices.IndexFunc(operations, func(o services.Operation) bool { return o.Name == tt.op })
			r, err := services.Decode(operations[i], fmt.Appendf(nil, `{"event_id": %q%s}`, id, tt.extra))
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.ReadWrite"), services.Attempt{ID: "1", Now: noon(t)})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, told(sensor.Apply(t, result, noon(t)))); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			shown := list(t, sensor.State(t, time.Time{}, noon(t)))
			if events := poll(t, sensor, s, noon(t)); events != nil {
				t.Errorf("the next poll brought %v", told(events))
			}
			if d := cmp.Diff(list(t, sensor.State(t, time.Time{}, noon(t))), shown); d != "" {
				t.Errorf("shown at once, but not after the next poll (-want +got):\n%s", d)
			}
		})
	}
}

func TestBeforeTheFirstAnswer(t *testing.T) {
	s := sensor(nil)
	st := s.State(t, noon(t).Add(-time.Hour), noon(t))
	for _, e := range s.Source.Entities() {
		if v, ok := st.Values[e.StateKey()]; ok == (e.Platform == "event") || v != nil {
			t.Errorf("%s: got %v, %v", e.Key, v, ok)
		}
	}
	if st.Events != nil || !st.Next.IsZero() || st.Items != nil {
		t.Errorf("got %+v", st)
	}
}

// TestEntities pins what a change would break.
func TestEntities(t *testing.T) {
	var got []string
	for _, e := range options(nil).Entities() {
		got = append(got, strings.Join(strings.Fields(fmt.Sprint(e.Key, " ", e.Platform, " ", e.DeviceClass, " ", e.StateClass, " ", e.Unit, " ", strings.Join(e.Options, " "))), " "))
	}
	want := []string{
		"busy binary_sensor", "current sensor", "next sensor", "current_end sensor timestamp", "next_start sensor timestamp", "next_end sensor timestamp",
		"today sensor measurement", "remaining sensor measurement",
		"event event event_started event_ended event_created event_changed event_cancelled event_removed reminder",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

var damagedEssential = regexp.MustCompile(`^\.value\[\d+\]\.(id is (null|missing)|start is|start\.dateTime is)`)

// TestDamaged feeds Microsoft's own examples with one property of them null, missing or of an unknown value.
func TestDamaged(t *testing.T) {
	documents, err := os.ReadFile("testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples []json.RawMessage
	if err := json.Unmarshal(documents, &examples); err != nil {
		t.Fatal(err)
	}
	var body string
	s := contoso(t)
	client := graphtest.Client(t, s, simulator.Adele, "Calendars.Read")
	for i, example := range examples {
		graphtest.Damaged(t, example, func(name string, document []byte) {
			if strings.HasPrefix(name, ".value is") {
				return // no list at all
			}
			body = string(document)
			s.Fail(simulator.Fault{Path: viewPath, Body: &body})
			sensor := sensor(nil)
			_, err := sensor.TryPoll(t, client, noon(t))
			// An event without an id or without times must not count as removed.
			if essential := damagedEssential.MatchString(name); essential || err != nil {
				if !essential || !graph.Is(err, graph.Refused) {
					t.Errorf("%d %s: %v", i, name, err)
				}
				return
			}
			if _, err := json.Marshal(sensor.State(t, noon(t).AddDate(-20, 0, 0), noon(t))); err != nil {
				t.Errorf("%d %s: %v", i, name, err)
			}
		})
	}
}

// TestPolled runs it as the program does: everything happens at its second, though Graph is asked once a minute, and then cannot be.
func TestPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		for _, e := range s.Events(simulator.Adele, "") {
			s.RemoveEvent(simulator.Adele, e["id"].(string))
		}
		first := time.Now().Add(30*time.Minute + 17*time.Second).Truncate(time.Second)
		s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "First", Start: first, End: first.Add(time.Hour), TimeZone: "UTC"})
		s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Second", Start: first.Add(time.Hour), End: first.Add(2 * time.Hour), TimeZone: "UTC"})
		var mu sync.Mutex
		var seen []string
		last := ""
		kind := calendar.Kind()
		p := kind.New().NewPoller(sensors.PollerOptions{
			Graph: graphtest.Client(t, s, simulator.Adele, "Calendars.Read"), Interval: kind.Interval, PhaseKey: "work",
			Location: func() *time.Location { return time.UTC }, Log: slog.New(slog.DiscardHandler),
			OnEvents: func(events []entity.Event) {
				mu.Lock()
				defer mu.Unlock()
				for _, e := range told(events) {
					seen = append(seen, time.Since(first).String()+" "+e)
				}
			},
			OnState: func(shown sensors.State) {
				mu.Lock()
				defer mu.Unlock()
				after := shown.EvaluatedAt.Sub(first).String()
				if now := fmt.Sprint(shown.Values["busy"], " ", shown.Values["current"]); now != last {
					if last != "" {
						seen = append(seen, after+" "+now)
					}
					last = now
				}
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(40 * time.Minute)
		s.Fail(simulator.Fault{Times: -1, Delay: simulator.Forever})
		time.Sleep(3 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if d := cmp.Diff([]string{
			"-15m0s reminder First",
			"0s true First", "0s event_started First",
			"45m0s reminder Second",
			"1h0m0s true Second", "1h0m0s event_ended First", "1h0m0s event_started Second",
			"2h0m0s false <nil>", "2h0m0s event_ended Second",
		}, seen); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}
