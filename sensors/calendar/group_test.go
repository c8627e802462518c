package calendar_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/calendar"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

const project = "project@contoso.example"

func groupOptions(group string) *calendar.GroupOptions {
	o := calendar.GroupKind().New().Options().(*calendar.GroupOptions)
	o.Group = group
	return o
}

// watchGroup returns the calendar of a group with ten events.
func watchGroup(t testing.TB, group string) *watched {
	w := watch(t, false, nil)
	w.mailbox = project
	w.s.AddGroup(simulator.Group{Name: "Project", Address: project, Members: []string{simulator.Adele}})
	none := -time.Minute
	for i := range 10 {
		start := w.now.Add(time.Duration(i+2) * time.Hour)
		w.s.AddEvent(project, "", simulator.Event{Subject: fmt.Sprint("Meeting ", i), Start: start, End: start.Add(time.Hour), Reminder: &none, Body: "<p>" + fmt.Sprintf("%0300d", i) + "</p>"})
	}
	w.client, w.wire = graphtest.Counted(t, w.s, simulator.Adele, "Group.Read.All")
	w.driver = sensorstest.Of[calendar.Snapshot](groupOptions(group))
	return w
}

// TestIdleGroup pins that the group is looked up once, and that nothing more than a probe is needed while nothing changes. The MS365
// integration for Home Assistant needs 1,886 bytes a minute.
func TestIdleGroup(t *testing.T) {
	for _, group := range []string{project, "Project"} {
		w := watchGroup(t, group)
		w.expect("first", 0, nil, []string{"groups", "view"})
		w.expect("second", time.Minute, nil, []string{"probe", "view", "calendar"})
		w.wire.Take()
		for i := range 9 {
			w.expect(fmt.Sprint("idle ", i), time.Minute, nil, []string{"probe"})
			answers, bytes := w.wire.Take()
			if answers != 1 || bytes > 600 {
				t.Errorf("%d answers of %d bytes to an idle poll", answers, bytes)
			}
		}
		w.expect("after ten minutes", time.Minute, nil, []string{"view"})
		w.driver.Restart(t)
		w.expect("after a restart", time.Minute, nil, []string{"probe"})
		w.s.AddEvent(project, "", simulator.Event{Subject: "New", Start: w.now.Add(3 * time.Hour), End: w.now.Add(4 * time.Hour)})
		w.expect("new", time.Minute, []string{"event_created New"}, []string{"probe", "view"})
	}
}

// TestGroupMadeAnew pins that a group that was removed and created again under its name is found again.
func TestGroupMadeAnew(t *testing.T) {
	w := watchGroup(t, "Project")
	w.poll(0)
	w.poll(time.Minute)
	w.s.RemoveGroup(project)
	_, err := w.driver.TryPoll(t, w.client, w.now.Add(time.Minute))
	if want := "find the group: there is no group Project in your organization; want the id, address or name of a Microsoft 365 group"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	w.s.AddGroup(simulator.Group{ID: "11111111-2222-4333-8444-555555555555", Name: "Project", Address: project, Members: []string{simulator.Adele}})
	w.s.AddEvent(project, "", simulator.Event{Subject: "Fresh start", Start: w.now.Add(3 * time.Hour), End: w.now.Add(4 * time.Hour)})
	w.poll(2 * time.Minute)
	if st := w.driver.State(t, w.now, w.now); st.Values["next"] != "Fresh start" {
		t.Errorf("shows %v", st.Values)
	}
}

// TestGroupPermissions pins that reading needs Group.Read.All, which Calendars.Read does not replace, and that its higher scope does.
func TestGroupPermissions(t *testing.T) {
	for _, group := range []string{"", "all", project} {
		permissions := groupOptions(group).Permissions()
		if d := cmp.Diff([]string{"Group.Read.All"}, graph.Scopes(permissions)); d != "" {
			t.Errorf("%q (-want +got):\n%s", group, d)
		}
	}
	for scope, wantErr := range map[string]bool{"Group.Read.All": false, "Group.ReadWrite.All": false, "Calendars.ReadWrite": true, "Calendars.ReadWrite.Shared": true, "User.Read": true} {
		w := watchGroup(t, project)
		_, err := w.driver.TryPoll(t, graphtest.Client(t, w.s, simulator.Adele, scope), w.now)
		if graph.Is(err, graph.PermissionMissing) != wantErr || (err != nil) != wantErr {
			t.Errorf("with %s: %v", scope, err)
		}
	}
}

// TestNoMember pins what a user sees who is not, or no longer, a member of a group.
func TestNoMember(t *testing.T) {
	w := watchGroup(t, project)
	w.poll(0)
	w.poll(time.Minute)
	w.s.SetMember(project, simulator.Adele, false)
	_, err := w.driver.TryPoll(t, w.client, w.now.Add(time.Minute))
	if want := "read the calendar: you are not a member of the group " + project + " (Graph answered 403 ErrorAccessDenied)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	w.s.SetMember(project, simulator.Adele, true)
	if events, _ := w.poll(2 * time.Minute); events != nil {
		t.Errorf("a member again: %v", events)
	}
}

// TestGroupMembers pins that "all" stands for each group of the user except those left out, and that each has the other options.
func TestGroupMembers(t *testing.T) {
	w := watchGroup(t, "all")
	for _, g := range []simulator.Group{
		{Name: "Board", Address: "board@contoso.example", Members: []string{simulator.Adele}},
		{Name: "Choir", Address: "choir@contoso.example", Members: []string{simulator.Adele}},
		{Name: "Others", Address: "others@contoso.example"},
		{Name: "Admins", Address: "admins@contoso.example", Members: []string{simulator.Adele}, Security: true},
	} {
		w.s.AddGroup(g)
	}
	names := func(except ...string) (names []string, members []sensors.Member) {
		t.Helper()
		o := groupOptions("all")
		o.Except, o.Exclude = except, []string{"3$"}
		members, err := o.Members(t.Context(), w.client)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			names = append(names, m.Name)
		}
		return names, members
	}
	got, members := names()
	if d := cmp.Diff([]string{"Board", "Choir", "Project"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	got, _ = names("board", "CHOIR@contoso.example", strings.ToUpper(members[2].ID))
	if got != nil {
		t.Errorf("all left out: %v", got)
	}
	o := groupOptions("all")
	o.Exclude = []string{"3$"}
	if !o.IsGroup() || groupOptions(project).IsGroup() {
		t.Error("only all is a group of sensors")
	}
	member := sensorstest.Of(o.Member(members[2]))
	member.Poll(t, w.client, w.now)
	if st := member.State(t, w.now, w.now); len(st.Items) != 9 {
		t.Errorf("%d items", len(st.Items))
	}
}

func TestGroupValidate(t *testing.T) {
	o := groupOptions(project)
	o.Except, o.EndOffset = []string{"Board"}, -time.Hour
	want := "except: only with group: all\nend_offset: want more than start_offset, 0s, not -1h0m0s"
	if err := o.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	o = groupOptions("all")
	o.Except = []string{"Board"}
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}

func TestGroupCandidates(t *testing.T) {
	w := watchGroup(t, project)
	id := w.s.AddGroup(simulator.Group{Name: "Second", Address: "second@contoso.example", Members: []string{simulator.Adele}}).ID
	found, err := calendar.GroupKind().Candidates(t.Context(), w.client)
	want := []sensors.Candidate{
		{Name: "Project", Options: map[string]string{"group": project}},
		{Name: "Second", Options: map[string]string{"group": "second@contoso.example"}},
	}
	if d := cmp.Diff(want, found, cmpopts.IgnoreFields(sensors.Candidate{}, "SelectedBy")); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if id == "" {
		t.Error("a group without id")
	}
}

// TestZones pins the start, the end and the reminder of an event of a whole day, and of one with a time, on the days when clocks
// change and on others, of an own calendar and of a group's, in zones of both halves of the world and at both ends of the day.
func TestZones(t *testing.T) {
	days := map[string][]string{
		"Pacific/Honolulu":   {"2026-01-15", "2026-07-15"}, // no summer time
		"Pacific/Kiritimati": {"2026-01-15", "2026-07-15"},
		"Europe/Berlin":      {"2026-01-15", "2026-03-29", "2026-10-25"},
		"America/New_York":   {"2026-01-15", "2026-03-08", "2026-11-01"},
		"Pacific/Auckland":   {"2026-01-15", "2026-04-05", "2026-09-27"},
		"Africa/Cairo":       {"2026-04-23", "2026-04-24"}, // which begins at 1:00
		"America/Santiago":   {"2026-09-05", "2026-09-06"},
	}
	for zone, dates := range days {
		for _, date := range dates {
			for _, group := range []bool{false, true} {
				t.Run(fmt.Sprint(zone, " ", date, " group ", group), func(t *testing.T) {
					y, m, d := in(t, zone, date+" 12:00").Date()
					midnight := graph.StartOfDay(y, m, d, graphtest.Zone(t, zone))
					next := graph.StartOfDay(y, m, d+1, midnight.Location())
					noon := time.Date(y, m, d, 12, 0, 0, 0, midnight.Location())
					clock := midnight.Add(-26 * time.Hour)
					s := simulator.Contoso(simulator.Options{Now: func() time.Time { return clock }})
					s.AddGroup(simulator.Group{Name: "Project", Address: project, Members: []string{simulator.Adele}})
					reminder, soon := 18*time.Hour, time.Hour
					var driver *driver
					mailbox := simulator.Adele
					if group {
						mailbox, driver = project, sensorstest.Of[calendar.Snapshot](groupOptions(project))
					} else {
						driver = sensor(nil)
					}
					s.AddEvent(mailbox, "", simulator.Event{Subject: "Day", Start: midnight, End: next, AllDay: true, Reminder: &reminder})
					s.AddEvent(mailbox, "", simulator.Event{Subject: "Lunch", Start: noon, End: noon.Add(time.Hour), Reminder: &soon})
					client := graphtest.Client(t, s, simulator.Adele, "Calendars.Read", "Group.Read.All")
					var got []string
					driver.Poll(t, client, clock)
					end := next.Add(2 * time.Hour)
					for clock.Before(end) {
						since := clock
						clock = clock.Add(time.Hour)
						for _, e := range driver.State(t, since, clock).Events {
							got = append(got, fmt.Sprint(clock.Format("01-02 15:04 "), e.Type, " ", e.Data["summary"]))
						}
						for _, e := range driver.Poll(t, client, clock) {
							t.Errorf("%s: %s %s", clock, e.Type, e.Data["summary"])
						}
						if onDay := !clock.Before(midnight) && clock.Before(next); onDay != (driver.State(t, clock, clock).Values["busy"] == true) {
							t.Fatalf("%s: busy is %v", clock, !onDay)
						}
					}
					want := []string{
						midnight.Add(-reminder).Format("01-02 15:04 ") + "reminder Day", midnight.Format("01-02 15:04 ") + "event_started Day",
						noon.Add(-soon).Format("01-02 15:04 ") + "reminder Lunch", noon.Format("01-02 15:04 ") + "event_started Lunch",
						noon.Add(time.Hour).Format("01-02 15:04 ") + "event_ended Lunch", next.Format("01-02 15:04 ") + "event_ended Day",
					}
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("(-want +got):\n%s", d)
					}
				})
			}
		}
	}
}

// BenchmarkIdleGroup measures ten idle minutes of a group's calendar of ten events. The MS365 integration for Home Assistant needs 1
// request and 1,886 bytes a minute. The first two polls are not counted.
func BenchmarkIdleGroup(b *testing.B) {
	answers, bytes, minutes := 0, 0, 0
	for b.Loop() {
		a, n := idleTenMinutes(watchGroup(b, project))
		answers, bytes, minutes = answers+a, bytes+n, minutes+10
	}
	b.ReportMetric(float64(answers)/float64(minutes), "requests/min")
	b.ReportMetric(float64(bytes)/float64(minutes), "bytes/min")
}

// TestIdleGroupCost pins what BenchmarkIdleGroup measures.
func TestIdleGroupCost(t *testing.T) {
	answers, bytes := idleTenMinutes(watchGroup(t, project))
	if answers != 10 || bytes > 10*1000 {
		t.Errorf("%d requests and %d bytes in ten minutes, want 10 and at most 10000", answers, bytes)
	}
}
