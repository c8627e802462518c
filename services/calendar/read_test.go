package calendar_test

import (
	"encoding/json"
	"fmt"
	"slices"
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

const march = `"start": "2026-03-01T00:00:00", "end": "2026-04-01T00:00:00"`

// list are the subjects and starts of the events that are listed.
func list(t testing.TB, s *simulator.Simulator, c calendars.Calendar, request string) []string {
	t.Helper()
	var listed []string
	for _, page := range pages(t, s, c, request) {
		listed = append(listed, page...)
	}
	return listed
}

// pages are the subjects and starts of the events of each page.
func pages(t testing.TB, s *simulator.Simulator, c calendars.Calendar, request string) (all [][]string) {
	t.Helper()
	r, err := decode(t, c, "list", request)
	if err != nil {
		t.Fatal(err)
	}
	a := circumstances(t)
	for {
		result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.Read"), a)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(services.Response{}.Succeed(result).Encode()); n > 500<<10 {
			t.Errorf("a page of %d bytes", n)
		}
		page := result.(services.Page)
		var listed []string
		for _, i := range page.Value.(calendar.EventList).Events {
			start := fmt.Sprint(i.Start)
			if at, ok := i.Start.(time.Time); ok {
				start = at.Format(time.RFC3339)
			}
			listed = append(listed, i.Summary+" "+start)
		}
		all = append(all, listed)
		if page.Next == nil {
			return all
		}
		if a.Position, err = json.Marshal(page.Next); err != nil {
			t.Fatal(err)
		}
	}
}

func TestList(t *testing.T) {
	s, _ := furnished(t)
	cancelled := time.Date(2026, 3, 20, 9, 0, 0, 0, time.UTC)
	s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "called off", Start: cancelled, End: cancelled, Cancelled: true, Response: "declined", Sensitivity: "private"})
	for _, tt := range []struct {
		request string
		want    []string
	}{
		{march, []string{"holiday 2026-03-01", "invitation 2026-03-01T10:00:00+01:00", "meeting 2026-03-01T10:00:00+01:00", "called off 2026-03-20T10:00:00+01:00"}},
		{`"start": "2026-03-01T09:30:00Z", "end": "2026-03-01T09:31:00Z", "search": null`, []string{"holiday 2026-03-01", "invitation 2026-03-01T10:00:00+01:00", "meeting 2026-03-01T10:00:00+01:00"}},
		{`"start": "2026-03-01T11:00:00", "end": "2026-03-01 23:59"`, []string{"holiday 2026-03-01"}},
		{`"start": "2026-03-03T00:00:00", "end": "2026-03-20T10:00:00"`, nil},
		{`"start": "2026-02-20T00:00:00", "end": "2026-03-01T00:00:00"`, nil},
		{`"start": "2026-03-01", "end": "2026-03-02"`, []string{"holiday 2026-03-01", "invitation 2026-03-01T10:00:00+01:00", "meeting 2026-03-01T10:00:00+01:00"}},
		{`"start": "2026-03-03", "end": "2026-03-20"`, nil},
		{march + `, "search": "ME"`, []string{"meeting 2026-03-01T10:00:00+01:00"}},
	} {
		if d := cmp.Diff(tt.want, list(t, s, calendars.Calendar{}, "{"+tt.request+"}")); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.request, d)
		}
	}
}

func TestListSearch(t *testing.T) {
	s := contoso(t)
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for i, subject := range []string{`Ann's "birthday"`, `Anns birthday`, `100% (a+b)`, `ÄRZTE`} {
		s.AddEvent(simulator.Adele, "", simulator.Event{Subject: subject, Start: at.AddDate(0, 0, i), End: at.AddDate(0, 0, i)})
	}
	for search, want := range map[string]string{`ann's "b`: `Ann's "birthday"`, `' or '`: "", `100% (`: `100% (a+b)`, `ärzte`: `ÄRZTE`} {
		text, err := json.Marshal(search)
		if err != nil {
			t.Fatal(err)
		}
		got := list(t, s, calendars.Calendar{}, fmt.Sprintf(`{%s, "search": %s}`, march, text))
		if want == "" && got != nil || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want+" ")) {
			t.Errorf("%s: got %q, want %q", search, got, want)
		}
	}
}

// TestListYears pins that all pages of all years come, that none is asked for that Graph would refuse, and that nothing comes twice.
func TestListYears(t *testing.T) {
	s := contoso(t)
	midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, now(t).Location())
	s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "daily", Start: midnight.Add(9 * time.Hour), End: midnight.Add(10 * time.Hour), Recurrence: map[string]any{
		"pattern": map[string]any{"type": "daily", "interval": 1}, "range": map[string]any{"type": "noEnd", "startDate": "2026-01-01"},
	}})
	s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "sabbatical", Start: midnight.AddDate(1, 0, 0), End: midnight.AddDate(7, 0, 0)})
	s.ForgetRequests()
	listed := pages(t, s, calendars.Calendar{}, `{"start": "2026-01-01T00:00:00", "end": "2033-01-01T00:00:00"}`)
	if len(listed) < 2 {
		t.Errorf("%d pages", len(listed))
	}
	var want []string
	for day := midnight; day.Before(midnight.AddDate(7, 0, 0)); day = day.AddDate(0, 0, 1) {
		if day.Equal(midnight.AddDate(1, 0, 0)) {
			want = append(want, "sabbatical "+day.Format(time.RFC3339))
		}
		want = append(want, "daily "+day.Format("2006-01-02")+"T09:00:00"+day.Add(9*time.Hour).Format("Z07:00"))
	}
	if d := cmp.Diff(want, slices.Concat(listed...)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, r := range s.Requests() {
		q := r.Query
		from, err := time.Parse(time.RFC3339, q.Get("startDateTime"))
		if err != nil {
			t.Fatal(err)
		}
		to, err := time.Parse(time.RFC3339, q.Get("endDateTime"))
		if err != nil {
			t.Fatal(err)
		}
		if to.Sub(from) > 1825*24*time.Hour {
			t.Errorf("asked for %s to %s", from, to)
		}
	}
	// Each page reads at most what follows it.
	if n := len(s.Requests()); n > 2557/250+2+2*len(listed) {
		t.Errorf("%d requests for %d pages", n, len(listed))
	}
}

// Large events fill pages; none is lost or repeated where a page ends, also among those that begin at the same time or last long.
func TestListPages(t *testing.T) {
	s := contoso(t)
	at := time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)
	day := time.Date(2026, 3, 10, 0, 0, 0, 0, now(t).Location())
	s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "month", Start: at.AddDate(0, 0, -9), End: at.AddDate(0, 1, 0)})
	for i := range 700 {
		e := simulator.Event{Subject: fmt.Sprintf("%03d", i), Start: at, End: at.Add(time.Hour), Body: strings.Repeat("x", 1000), Location: strings.Repeat("y", 200)}
		switch {
		case i%3 == 0:
			e.Start, e.End, e.AllDay = day, day.AddDate(0, 0, 1), true
		case i%3 == 1:
			e.Start, e.End = at.Add(time.Duration(i)*time.Second), at.Add(time.Duration(i)*time.Second)
		}
		s.AddEvent(simulator.Adele, "", e)
	}
	got := pages(t, s, calendars.Calendar{}, "{"+march+"}")
	all := slices.Concat(got...)
	if distinct := slices.Compact(slices.Sorted(slices.Values(all))); len(got) < 3 || len(all) != 701 || len(distinct) != 701 {
		t.Errorf("%d pages, %d events, %d distinct ones", len(got), len(all), len(distinct))
	}
	if all[0] != "month 2026-03-01T10:00:00+01:00" || all[1] != "000 2026-03-10" || all[700] != "697 2026-03-10T10:11:37+01:00" {
		t.Errorf("got %s, %s … %s", all[0], all[1], all[700])
	}
}

func TestListNamed(t *testing.T) {
	s := contoso(t)
	id := s.AddCalendar(simulator.Adele, "Project X").ID
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	s.AddEvent(simulator.Adele, id, simulator.Event{Subject: "plan", Start: at, End: at.Add(time.Hour)})
	for _, name := range []string{"project x", id} {
		if d := cmp.Diff([]string{"plan 2026-03-01T10:00:00+01:00"}, list(t, s, calendars.Calendar{Name: name}, "{"+march+"}")); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	_, err := call(t, s, calendars.Calendar{Name: "Project Y"}, "list", "{"+march+"}", false, "Calendars.Read")
	if want := `find the calendar: there is no calendar Project Y; there are: Birthdays, Calendar, Project X`; err == nil || err.Error() != want || !graph.Is(err, graph.NotFound) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestRead pins the representation of an event: in a list, and alone with its complete description.
func TestRead(t *testing.T) {
	s := contoso(t)
	long := strings.TrimSpace(strings.Repeat("agenda ", 500))
	start := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	s.AddEvent(simulator.Adele, "", simulator.Event{
		Subject: "Board", Start: start, End: start.Add(time.Hour), Body: long, Location: "Room 1", ShowAs: "workingElsewhere", Organizer: "boss@contoso.example",
		Response: "tentativelyAccepted", Attendees: []simulator.Attendee{{Address: simulator.Adele, Name: "Adele Vance", Response: "accepted"}},
	})
	object := func(v any) (o map[string]any) {
		t.Helper()
		b, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(b, &o)
		}
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, tt := range []struct {
		basic       bool
		scope       string
		list, whole string
	}{
		{false, "Calendars.Read", long[:999] + "…", long},
		{true, "Calendars.ReadBasic", "", ""},
	} {
		c := calendars.Calendar{Basic: tt.basic}
		result, err := call(t, s, c, "list", "{"+march+"}", false, tt.scope)
		if err != nil {
			t.Fatal(err)
		}
		listed := object(result.(services.Page).Data())["events"].([]any)
		if len(listed) != 1 {
			t.Fatalf("got %v", listed)
		}
		got := listed[0].(map[string]any)
		want := map[string]any{
			"summary": "Board", "start": "2026-03-01T10:00:00+01:00", "end": "2026-03-01T11:00:00+01:00", "all_day": false, "description": tt.list, "location": "Room 1",
			"categories": []any{}, "sensitivity": "normal", "show_as": "workingElsewhere", "organizer": "boss@contoso.example",
			"attendees": []any{map[string]any{"email": simulator.Adele, "name": "Adele Vance", "status": "accepted", "type": "required"}},
			"reminder":  got["reminder"], "event_id": got["uid"], "uid": got["uid"], "dial_in": nil, "ical_uid": got["ical_uid"], "is_cancelled": false, "response_status": "tentativelyAccepted", "join_url": nil, "meeting": nil,
			"web_link": got["web_link"], "importance": "normal", "series_id": nil,
		}
		if d := cmp.Diff(want, got); d != "" || got["ical_uid"] == nil || got["web_link"] == nil {
			t.Errorf("list (-want +got):\n%s", d)
		}
		if result, err = call(t, s, c, "get", fmt.Sprintf(`{"event_id": %q}`, got["uid"]), false, tt.scope); err != nil {
			t.Fatal(err)
		}
		want["description"] = tt.whole
		if d := cmp.Diff(want, object(result)); d != "" {
			t.Errorf("get (-want +got):\n%s", d)
		}
	}
}

func TestFreeBusy(t *testing.T) {
	s := contoso(t)
	s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
	s.AddUser(simulator.User{Address: simulator.Alex, Name: "Alex Wilber", Tenant: simulator.ContosoTenant})
	s.Share(simulator.Alex, simulator.Adele, false)
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for _, address := range []string{simulator.Megan, simulator.Alex} {
		s.AddEvent(address, "", simulator.Event{Subject: "Plan", Start: start, End: start.Add(time.Hour), Location: "Room 1"})
		s.AddEvent(address, "", simulator.Event{Subject: "Away", Start: start.Add(2 * time.Hour), End: start.Add(150 * time.Minute), ShowAs: "oof", Sensitivity: "private"})
	}
	for request, view := range map[string]string{
		`"start": "2026-03-02T09:30:00", "end": "2026-03-02T12:30:00"`:                   "022003",
		`"start": "2026-03-02T08:30:00Z", "end": "2026-03-02T12:30:00", "interval": 60`:  "223",
		`"start": "2026-03-02T09:30:00", "end": "2026-03-02T12:30:00", "interval": null`: "022003",
	} {
		result, err := call(t, s, calendars.Calendar{}, "free_busy", `{"attendees": ["`+simulator.Megan+`", "`+simulator.Alex+`", "nobody@contoso.example"], `+request+`}`, false, "Calendars.ReadBasic", "User.Read")
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		interval := 30
		if strings.Contains(request, "60") {
			interval = 60
		}
		taken := func(from, to, as, summary, location string) string {
			return fmt.Sprintf(`{"start": "2026-03-02T%s:00+01:00", "end": "2026-03-02T%s:00+01:00", "show_as": %q, "summary": %s, "location": %s}`, from, to, as, summary, location)
		}
		want := fmt.Sprintf(`{"start": "2026-03-02T09:30:00+01:00", "end": "2026-03-02T12:30:00+01:00", "interval": %d, "attendees": [
			{"email": %q, "availability": %q, "events": [%s, %s], "error": null},
			{"email": %q, "availability": %q, "events": [%s, %s], "error": null},
			{"email": "nobody@contoso.example", "availability": "", "events": [], "error": "Unable to resolve e-mail address nobody@contoso.example to an Active Directory object."}]}`, interval,
			simulator.Megan, view, taken("10:00", "11:00", "busy", "null", "null"), taken("12:00", "12:30", "oof", "null", "null"),
			simulator.Alex, view, taken("10:00", "11:00", "busy", `"Plan"`, `"Room 1"`), taken("12:00", "12:30", "oof", "null", "null"))
		if d := cmp.Diff(sorted(t, want), sorted(t, string(got))); d != "" {
			t.Errorf("%s (-want +got):\n%s", request, d)
		}
	}
}

func TestFreeBusyOfPersonalAccounts(t *testing.T) {
	s := contoso(t)
	s.AddUser(simulator.User{Address: simulator.Ann, Name: "Ann Example", Personal: true})
	r, err := decode(t, calendars.Calendar{}, "free_busy", `{"attendees": ["ann@contoso.example"], `+march+`}`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Execute(t.Context(), graphtest.Client(t, s, simulator.Ann, "Calendars.Read", "User.Read"), circumstances(t))
	if want := "a personal Microsoft account has no colleagues whose calendars it could ask"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := sent(t, s); got != nil {
		t.Errorf("sent %q", got)
	}
}

func TestReadingRefused(t *testing.T) {
	const (
		backwards = `"start": "2026-03-01T12:00:00", "end": "2026-03-01T12:00:00"`
		ann       = `"attendees": ["ann@contoso.example"], `
	)
	many := strings.TrimSuffix(strings.Repeat(`"ann@contoso.example",`, 21), ",")
	for _, tt := range []struct {
		c                 calendars.Calendar
		op, request, want string
	}{
		{calendars.Calendar{}, "list", ``, `start is required; end is required`},
		{calendars.Calendar{}, "list", `"start": "2026-03-01", "end": "2026-03-01"`, `end: want a time after start, 2026-03-01T00:00:00+01:00, not 2026-03-01T00:00:00+01:00`},
		{calendars.Calendar{}, "list", `"start": "2026-03-01T00:00:00", "end": "soon"`, `end: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not "soon"`},
		{calendars.Calendar{}, "list", backwards, `end: want a time after start, 2026-03-01T12:00:00+01:00, not 2026-03-01T12:00:00+01:00`},
		{calendars.Calendar{}, "list", `"start": "2026-03-01T00:00:00", "end": "2046-03-01T00:00:01"`, `end: want a time at most 20 years after start, 2026-03-01T00:00:00+01:00, not 2046-03-01T00:00:01+01:00`},
		{calendars.Calendar{}, "list", march + `, "serach": "x"`, `serach: unknown field; did you mean search? known fields: end, search, start`},
		{calendars.Calendar{}, "get", ``, `event_id is required`},
		{calendars.Calendar{}, "free_busy", march, `attendees is required`},
		{calendars.Calendar{}, "free_busy", `"attendees": [], ` + march, `attendees: want 1 to 20 addresses, not 0`},
		{calendars.Calendar{}, "free_busy", `"attendees": [` + many + `], ` + march, `attendees: want 1 to 20 addresses, not 21`},
		{calendars.Calendar{}, "free_busy", `"attendees": ["ann"], ` + march, `attendees: want addresses, such as ann@contoso.com, not "ann"`},
		{calendars.Calendar{}, "free_busy", `"attendees": "ann@contoso.example", ` + march, `attendees: want a list of text, not "ann@contoso.example"`},
		{calendars.Calendar{}, "free_busy", ann + march + `, "interval": 4`, `interval: want 5 to 1440 minutes, not 4`},
		{calendars.Calendar{}, "free_busy", ann + backwards, `end: want a time after start, 2026-03-01T12:00:00+01:00, not 2026-03-01T12:00:00+01:00`},
		{calendars.Calendar{}, "free_busy", ann + `"start": "2026-03-01T12:00:00", "end": "2026-03-01T12:29:00"`, `end: want a time from 30 minutes (one interval) to 62 days after start, 2026-03-01T12:00:00+01:00, not 2026-03-01T12:29:00+01:00`},
		{calendars.Calendar{}, "free_busy", ann + `"start": "2026-03-01T12:00:00", "end": "2026-05-02T13:01:00"`, `end: want a time from 30 minutes (one interval) to 62 days after start, 2026-03-01T12:00:00+01:00, not 2026-05-02T13:01:00+02:00`},
	} {
		s := contoso(t)
		_, err := call(t, s, tt.c, tt.op, "{"+tt.request+"}", false, "Calendars.Read")
		if err == nil || err.Error() != tt.want || !graph.Is(err, graph.InvalidArgument) {
			t.Errorf("%s %s:\n got %v\nwant %s", tt.op, tt.request, err, tt.want)
		}
		if n := s.Total(); n != 0 {
			t.Errorf("%s %s: %d requests", tt.op, tt.request, n)
		}
	}
}

func TestGetNotFound(t *testing.T) {
	s, ids := furnished(t)
	request := fmt.Sprintf(`{"event_id": %q}`, ids["meeting"])
	if _, err := call(t, s, calendars.Calendar{}, "remove", request, false, "Calendars.ReadWrite"); err != nil {
		t.Fatal(err)
	}
	_, err := call(t, s, calendars.Calendar{}, "get", request, false, "Calendars.Read")
	if want := "read the event: Graph answered 404 ErrorItemNotFound: The specified object was not found in the store."; err == nil || err.Error() != want || !graph.Is(err, graph.NotFound) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestReadingNeeds pins that each operation can do with what shows the calendar, and with each of the permissions that it names, and
// not without.
func TestReadingNeeds(t *testing.T) {
	const boss = "boss@contoso.example"
	for _, c := range []calendars.Calendar{{}, {Basic: true}, {Name: "Calendar"}, {Mailbox: boss}, {Mailbox: boss, Name: "Calendar"}} {
		s := contoso(t)
		s.AddUser(simulator.User{Address: boss, Name: "Boss", Tenant: simulator.ContosoTenant})
		s.Share(boss, simulator.Adele, true)
		owner := simulator.Adele
		if c.Mailbox != "" {
			owner = boss
		}
		at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
		id := s.AddEvent(owner, "", simulator.Event{Subject: "meeting", Start: at, End: at.Add(time.Hour)})
		requests := map[string]string{"list": "{" + march + "}", "get": fmt.Sprintf(`{"event_id": %q}`, id), "free_busy": `{"attendees": ["` + boss + `"], ` + march + `}`}
		for _, op := range calendar.Operations(c) {
			if !op.Reads || op.Optional {
				continue
			}
			request, ok := requests[op.Name]
			if !ok {
				t.Fatalf("nothing asks for %s", op.Name)
			}
			if d := cmp.Diff(graph.Scopes([]graph.Permission{c.ReadPermission()}), graph.Scopes(append(op.Permissions, c.ReadPermission()))); d != "" {
				t.Errorf("%+v: %s asks for more (-want +got):\n%s", c, op.Name, d)
			}
			if c.Mailbox != "" && op.Name == "free_busy" {
				t.Error("free_busy is offered for the mailbox of somebody else")
			}
			for _, scope := range append([]string{op.Permissions[0].Scope}, op.Permissions[0].Alternatives...) {
				if _, err := call(t, s, c, op.Name, request, false, scope, "User.Read"); err != nil {
					t.Errorf("%+v: %s with %s: %v", c, op.Name, scope, err)
				}
			}
			if _, err := call(t, s, c, op.Name, request, false, "User.Read"); !graph.Is(err, graph.PermissionMissing) {
				t.Errorf("%+v: %s without: %v", c, op.Name, err)
			}
		}
	}
}
