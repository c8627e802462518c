package calendar_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/calendar"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

func TestCases(t *testing.T) { sensorstest.Run(t, calendar.Kind(), "testdata/cases") }

func TestGroupCases(t *testing.T) { sensorstest.Run(t, calendar.GroupKind(), "testdata/group") }

// TestMask pins that only the times of a private event are stored and shown, and that the filters see all of it.
func TestMask(t *testing.T) {
	s := contoso(t)
	id := s.AddEvent(simulator.Adele, "", simulator.Event{
		Subject: "Doctor", Body: "secret", Location: "secret", Categories: []string{"secret"}, Sensitivity: "private", Organizer: "secret@contoso.example",
		Attendees: []simulator.Attendee{{Address: "secret@contoso.example"}}, JoinURL: "https://secret.example",
		Start: berlin(t, "2026-01-15 13:00"), End: berlin(t, "2026-01-15 14:00"),
	})
	masked := sensor(func(o *calendar.Options) { o.SensitivityMask, o.Search = true, "doc" })
	poll(t, masked, s, noon(t))
	st := masked.State(t, noon(t), noon(t))
	if st.Values["next"] != "Private" || short(st.Values["next_start"]) != "2026-01-15 13:00" || st.Attributes["message"] != "Private" {
		t.Errorf("shows %v", st.Values)
	}
	for name, v := range map[string]any{"the state": []any{st.Values, st.Attributes, st.Items}, "the snapshot": masked.Snapshot} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"Doctor", "secret"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds %s: %s", name, secret, text)
			}
		}
	}
	if err := s.ChangeEvent(simulator.Adele, id, map[string]any{"subject": "Doctor's"}); err != nil {
		t.Fatal(err)
	}
	if events := poll(t, masked, s, noon(t)); events != nil {
		t.Errorf("a subject that is not shown brought %v", told(events))
	}
	s.RemoveEvent(simulator.Adele, id)
	if d := cmp.Diff([]string{"event_removed Private"}, told(poll(t, masked, s, noon(t)))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestExcept(t *testing.T) {
	s := contoso(t)
	id := s.AddCalendar(simulator.Adele, "Project").ID
	s.AddCalendar(simulator.Adele, "Team")
	group := options(func(o *calendar.Options) { o.Calendar, o.Except = "all", []string{"birthdays", id} })
	members, err := group.Members(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.Read"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	if d := cmp.Diff([]string{"Calendar", "Team"}, names); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	err = schema.Decode(options(nil), map[string]any{"except": []any{"Team"}})
	if want := "except: only with calendar: all"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestGroup pins that all is a group, whose members are sensors of their own.
func TestGroup(t *testing.T) {
	s := contoso(t)
	if sensors.Of(options(nil)).Group() != nil {
		t.Error("one calendar is a group")
	}
	all := options(func(o *calendar.Options) { o.Calendar, o.Except, o.MaxResults = "all", []string{"Birthdays"}, 3 })
	group := sensors.Of(all).Group()
	members, err := group.Members(t.Context(), graphtest.Client(t, s, simulator.Adele, "Calendars.Read"))
	if err != nil || len(members) != 1 {
		t.Fatalf("%v, %v", members, err)
	}
	member := group.Member(members[0])
	if o := member.Options().(*calendar.Options); o.Calendar != members[0].ID || o.MaxResults != 3 || o.Except != nil || member.Group() != nil {
		t.Errorf("got %+v", o)
	}
	if all.Calendar != "all" {
		t.Error("the group was changed")
	}
}

func TestDescribe(t *testing.T) {
	at := map[string]any{"summary": "Standup", "start": "2026-01-15T13:00:00+01:00"}
	day := map[string]any{"summary": "", "start": "2026-01-15"}
	for _, tt := range []struct {
		what string
		data map[string]any
		want string
	}{
		{"event_started", at, "Standup started"},
		{"event_ended", at, "Standup ended"},
		{"event_created", at, "Standup is new, starts 2026-01-15 13:00"},
		{"event_created", day, "(no subject) is new, on 2026-01-15"},
		{"event_changed", at, "Standup was changed, starts 2026-01-15 13:00"},
		{"event_cancelled", at, "Standup was canceled"},
		{"event_removed", nil, "(no subject) was removed"},
		{"reminder", at, "reminder of Standup, starts 2026-01-15 13:00"},
		{"other", at, ""},
	} {
		if got := calendar.Kind().Describe(entity.Event{Type: tt.what, Data: tt.data}); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// events makes a snapshot of n meetings, the first of which takes place at now.
func events(n int, now time.Time) *driver {
	d := sensor(func(o *calendar.Options) { o.EndOffset = 8784 * time.Hour })
	s := &calendar.Snapshot{From: now.Add(-48 * time.Hour).UTC(), To: now.Add(9000 * time.Hour).UTC()}
	for i := range n {
		start := now.Add(time.Duration(i) * time.Hour).UTC()
		e := calendar.Entry{Shown: true}
		e.ID, e.Subject, e.Start, e.End = fmt.Sprintf("event %d", i), "Standup", start, start.Add(30*time.Minute)
		e.Description, e.Reminder, e.Minutes = "Agenda", true, 15
		s.Entries = append(s.Entries, e)
	}
	d.Snapshot = s
	return d
}

// TestCost pins the allocations for each of many events whose state is evaluated.
func TestCost(t *testing.T) {
	now := noon(t)
	allocations := func(n int) float64 {
		d := events(n, now)
		return testing.AllocsPerRun(1, func() { d.Source.State(d.Snapshot, now, now) })
	}
	few, many := allocations(500), allocations(5000)
	t.Logf("%.1f allocations per event", many/5000)
	if many > 5000*8 || many > few*11 {
		t.Errorf("%.0f allocations for 500 events, %.0f for 5,000", few, many)
	}
	d := events(5000, now)
	same := d.Source.(sensors.Comparer[calendar.Snapshot])
	if n := testing.AllocsPerRun(1, func() { same.Same(d.Snapshot, d.Snapshot) }); n > 10 {
		t.Errorf("%.0f allocations to compare 5,000 events", n)
	}
}

// BenchmarkState evaluates the state of a calendar.
func BenchmarkState(b *testing.B) {
	for _, n := range []int{50, 500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			now := noon(b)
			d := events(n, now)
			b.ReportAllocs()
			for b.Loop() {
				d.Source.State(d.Snapshot, now, now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}

// BenchmarkSame compares two answers without a change.
func BenchmarkSame(b *testing.B) {
	for _, n := range []int{50, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			now := noon(b)
			x, y := events(n, now), events(n, now)
			same := x.Source.(sensors.Comparer[calendar.Snapshot])
			b.ReportAllocs()
			for b.Loop() {
				if !same.Same(x.Snapshot, y.Snapshot) {
					b.Fatal("not the same")
				}
			}
		})
	}
}

// TestEveryPropertyCounts pins that a change of any property of an event makes another answer, and is an event.
func TestEveryPropertyCounts(t *testing.T) {
	now := noon(t)
	before := events(1, now)
	o := before.Source.(*calendar.Options)
	event := reflect.TypeFor[calendars.Event]()
	for i := range event.NumField() {
		field := event.Field(i)
		if field.Name == "ChangeKey" || field.Name == "Meeting" {
			continue // the online meeting was read, or is to be read again: nothing happened to the event
		}
		after := *before.Snapshot
		after.Entries = slices.Clone(after.Entries)
		switch v := reflect.ValueOf(&after.Entries[0].Event).Elem().Field(i); v.Interface().(type) {
		case string:
			v.SetString("another one")
		case bool:
			v.SetBool(!v.Bool())
		case int:
			v.SetInt(v.Int() + 1)
		case time.Time:
			v.Set(reflect.ValueOf(now.UTC().Add(time.Minute)))
		case []string:
			v.Set(reflect.ValueOf([]string{"Red"}))
		case []calendars.Attendee:
			v.Set(reflect.ValueOf([]calendars.Attendee{{Name: "Ann"}}))
		case *calendars.DialIn:
			v.Set(reflect.ValueOf(&calendars.DialIn{ConferenceID: "1"}))
		default:
			t.Fatalf("%s is of a new type", field.Name)
		}
		if o.Same(before.Snapshot, &after) {
			t.Errorf("another %s is the same answer", field.Name)
		}
		if len(o.Events(before.Snapshot, &after, now)) == 0 {
			t.Errorf("another %s is no event", field.Name)
		}
	}
}
