package autoreply_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
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
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/autoreply"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	"github.com/graph2mqtt/graph2mqtt/services"
	operations "github.com/graph2mqtt/graph2mqtt/services/autoreply"
)

const settingsPath = "/v1.0/me/mailboxSettings"

// now is the moment of every test: a winter's noon in Berlin.
func now(t testing.TB) time.Time {
	return time.Date(2026, 1, 15, 12, 0, 0, 0, graphtest.Zone(t, "Europe/Berlin"))
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func contoso(t testing.TB, r simulator.AutomaticReplies) *simulator.Simulator {
	s := simulator.Contoso(simulator.Options{Now: func() time.Time { return now(t) }})
	s.SetAutomaticReplies(simulator.Adele, r)
	return s
}

type driver = sensorstest.Driver[mailbox.AutomaticReplies]

func sensor() *driver {
	return sensorstest.Of(autoreply.Kind().New().Options().(sensors.Source[mailbox.AutomaticReplies]))
}

func poll(t testing.TB, sensor *driver, s *simulator.Simulator, now time.Time) []entity.Event {
	t.Helper()
	return sensor.Poll(t, graphtest.Client(t, s, simulator.Adele, "MailboxSettings.Read"), now)
}

func TestState(t *testing.T) {
	berlin := now(t).Location()
	start, end := at("2026-02-01T08:00:00Z"), at("2026-07-08T08:00:00Z")
	values := func(change map[string]any) map[string]any {
		v := map[string]any{
			"mode": "scheduled", "active": false, "external_audience": "all", "start": start.In(berlin), "end": end.In(berlin), "enabled": true,
			"internal_reply": "I am away. Please ask Megan.", "external_reply": "I am away and will answer when I am back.",
		}
		for k, c := range change {
			v[k] = c
		}
		return v
	}
	for _, tt := range []struct {
		name, status string
		now          time.Time
		want         map[string]any
		next         time.Time
	}{
		{"disabled", "disabled", at("2026-01-15T12:00:00Z"), map[string]any{"mode": "disabled", "enabled": false}, time.Time{}},
		{"always", "alwaysEnabled", at("2026-01-15T12:00:00Z"), map[string]any{"mode": "alwaysEnabled", "active": true}, time.Time{}},
		{"before the schedule", "scheduled", at("2026-02-01T07:59:59.999Z"), nil, start},
		{"at its start", "scheduled", start, map[string]any{"active": true}, end},
		{"before its end", "scheduled", end.Add(-1), map[string]any{"active": true}, end},
		{"at its end", "scheduled", end, map[string]any{"enabled": false}, time.Time{}},
		{"unknown mode", "onHolidaysOnly", start, map[string]any{"mode": nil, "active": nil, "enabled": nil}, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso(t, simulator.AutomaticReplies{Status: tt.status, Start: start, End: end})
			sensor := sensor()
			if events := poll(t, sensor, s, tt.now.In(berlin)); events != nil {
				t.Errorf("the first answer brought %v", events)
			}
			got := sensor.State(t, tt.now.Add(-time.Hour), tt.now.In(berlin))
			want := entity.State{Values: values(tt.want), Next: tt.next, Attributes: map[string]any{
				"internal_reply": "I am away. Please ask Megan.", "external_reply": "I am away and will answer when I am back.",
				"external_audience": "all", "start": start.In(berlin), "end": end.In(berlin),
			}}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestRequest pins the one request of a poll, and how little it asks for.
func TestRequest(t *testing.T) {
	s := contoso(t, simulator.AutomaticReplies{})
	poll(t, sensor(), s, now(t))
	var got []string
	for _, r := range s.Requests() {
		got = append(got, r.Method+" "+r.Path+"?"+r.Query.Encode())
	}
	if want := []string{"GET " + settingsPath + "?%24select=automaticRepliesSetting"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNeeds(t *testing.T) {
	permissions := sensor().Source.Permissions()
	for _, scopes := range [][]string{graph.Scopes(permissions), {"MailboxSettings.ReadWrite"}} {
		if !permissions[0].Satisfied(scopes) {
			t.Errorf("%v do not satisfy", scopes)
		}
		if _, err := sensor().TryPoll(t, graphtest.Client(t, contoso(t, simulator.AutomaticReplies{}), simulator.Adele, scopes...), now(t)); err != nil {
			t.Errorf("with %v: %v", scopes, err)
		}
	}
	_, err := sensor().TryPoll(t, graphtest.Client(t, contoso(t, simulator.AutomaticReplies{}), simulator.Adele, "Mail.Read"), now(t))
	if want := "read the automatic replies: Graph answered 403 ErrorAccessDenied: Access is denied. Check credentials and try again."; err == nil || err.Error() != want {
		t.Errorf("without: got %v, want %s", err, want)
	}
}

func TestBeforeTheFirstAnswer(t *testing.T) {
	s := sensor()
	st := s.State(t, now(t).Add(-time.Hour), now(t))
	for _, e := range s.Source.Entities() {
		v, ok := st.Values[e.StateKey()]
		if wants := e.Platform != "event" && e.Platform != "notify"; ok != wants || v != nil {
			t.Errorf("%s: got %v, %v", e.Key, v, ok)
		}
	}
	if st.Events != nil || !st.Next.IsZero() {
		t.Errorf("got events %v, next %v", st.Events, st.Next)
	}
}

func TestChanged(t *testing.T) {
	s := contoso(t, simulator.AutomaticReplies{Start: at("2026-02-01T08:00:00Z"), End: at("2026-02-08T08:00:00Z")})
	sensor := sensor()
	poll(t, sensor, s, now(t))
	if events := poll(t, sensor, s, now(t)); events != nil {
		t.Errorf("the same answer brought %v", events)
	}
	restarted := *sensor
	restarted.Restart(t)
	want := []entity.Event{{Type: "auto_reply_changed", Data: map[string]any{
		"mode": "scheduled", "previous_mode": "disabled", "external_audience": "none",
		"start": at("2026-02-01T08:00:00Z").In(now(t).Location()), "end": at("2026-02-08T08:00:00Z").In(now(t).Location()),
	}}}
	s.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "scheduled", ExternalAudience: "none"})
	if d := cmp.Diff(want, poll(t, sensor, s, now(t))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	if v := restarted.State(t, time.Time{}, now(t)).Values["mode"]; v != "disabled" {
		t.Errorf("after a restart the mode is %v", v)
	}
	if d := cmp.Diff(want, poll(t, &restarted, s, now(t))); d != "" {
		t.Errorf("after a restart (-want +got):\n%s", d)
	}
}

// TestMadeUpSchedule pins that the schedule which Exchange makes up is no news when it moves on.
func TestMadeUpSchedule(t *testing.T) {
	s := sensor()
	next := now(t).UTC().Truncate(time.Hour).Add(time.Hour)
	made := func(start time.Time, mode string) mailbox.AutomaticReplies {
		return mailbox.AutomaticReplies{Mode: mode, Start: start, End: start.Add(24 * time.Hour)}
	}
	first := made(next.Add(-time.Hour), "disabled")
	s.Snapshot = &first
	for _, step := range []struct {
		setting mailbox.AutomaticReplies
		events  int
	}{
		{made(next, "disabled"), 0},
		{made(next.Add(time.Hour), "disabled"), 1}, // set by a user
		{made(next, "alwaysEnabled"), 1},
	} {
		if got := s.Apply(t, step.setting, now(t)); len(got) != step.events {
			t.Errorf("%+v: events %v", step.setting, got)
		}
	}
}

// TestCommands sends a payload to each settable entity, and looks at what Graph stores then and what the sensor shows.
func TestCommands(t *testing.T) {
	granted := []string{"MailboxSettings.ReadWrite"}
	for _, tt := range []struct{ entity, payload, key, want string }{
		{"enabled", "ON", "mode", "alwaysEnabled"},
		{"enabled", "OFF", "mode", "disabled"},
		{"mode", "scheduled", "mode", "scheduled"},
		{"mode", "Always", "mode", "alwaysEnabled"},
		{"external_audience", "contactsOnly", "external_audience", "contactsOnly"},
		{"external_audience", "Nobody", "external_audience", "none"},
		{"internal_reply", "Back soon & fit", "internal_reply", "Back soon & fit"},
		{"internal_reply", "Hello, ⏎ back soon", "internal_reply", "Hello, ⏎ back soon"},
		{"external_reply", "<p>Gone</p>", "external_reply", "Gone"},
		{"start", "2026-01-02T09:30:00+00:00", "start", "2026-01-02T10:30:00+01:00"},
		{"end", "2026-08-02T09:30:00+00:00", "end", "2026-08-02T11:30:00+02:00"},
	} {
		t.Run(tt.entity+" "+tt.payload, func(t *testing.T) {
			s := contoso(t, simulator.AutomaticReplies{Start: at("2026-01-01T08:00:00Z"), End: at("2026-01-08T08:00:00Z")})
			sensor := sensor()
			poll(t, sensor, s, now(t))
			entities, ops := sensor.Source.Entities(), operations.Operations()
			e := entities[slices.IndexFunc(entities, func(e entity.Entity) bool { return e.Key == tt.entity && e.Parse != nil })]
			name, request, err := e.Request(tt.payload, sensor.State(t, time.Time{}, now(t)))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(e.Operations, name) {
				t.Errorf("asks for %s, which it does not say", name)
			}
			j := slices.IndexFunc(ops, func(o services.Operation) bool { return o.Name == name })
			object, err := json.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			if request == nil {
				object = []byte("{}")
			}
			r, err := services.Decode(ops[j], object)
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, granted...), services.Attempt{ID: "1", Now: now(t)})
			if err != nil {
				t.Fatal(err)
			}
			before := sensor.State(t, time.Time{}, now(t)).Values[e.StateKey()]
			events := sensor.Apply(t, result, now(t))
			got := sensor.State(t, time.Time{}, now(t)).Values[tt.key]
			if v, ok := got.(time.Time); ok {
				got = v.Format(time.RFC3339)
			}
			if got != tt.want {
				t.Errorf("shows %v, want %s", got, tt.want)
			}
			if changed := before != sensor.State(t, time.Time{}, now(t)).Values[e.StateKey()]; changed != (len(events) == 1) {
				t.Errorf("changed: %v, events: %v", changed, events)
			}
			if events := poll(t, sensor, s, now(t)); events != nil {
				t.Errorf("the next poll brought %v", events)
			}
		})
	}
}

func TestSwitchRefuses(t *testing.T) {
	for _, e := range sensor().Source.Entities() {
		if e.Key != "enabled" {
			continue
		}
		if _, _, err := e.Parse("on"); err == nil || err.Error() != `want ON or OFF, not "on"` {
			t.Errorf("got %v", err)
		}
	}
}

// TestEntities pins what a change would break: keys, platforms and what they ask for.
func TestEntities(t *testing.T) {
	ops := map[string]services.Operation{}
	for _, op := range operations.Operations() {
		ops[op.Name] = op
	}
	var got []string
	for _, e := range sensor().Source.Entities() {
		line := e.Key + " " + e.Platform
		if e.Primary {
			line += " primary"
		}
		for _, op := range e.Operations {
			line += " " + op
			if e.MessageField != "" && !slices.ContainsFunc(services.Fields(ops[op].New()), func(f services.Field) bool { return f.Name == e.MessageField }) {
				t.Errorf("%s: %s has no field %s", e.Key, op, e.MessageField)
			}
		}
		if (e.Parse != nil) == (e.Platform == "notify" || !e.IsCommand()) {
			t.Errorf("%s: Set does not fit", e.Key)
		}
		got = append(got, line)
	}
	want := []string{
		"mode sensor primary", "active binary_sensor", "external_audience sensor", "start sensor", "end sensor", "event event",
		"enabled switch enable disable", "mode select primary update", "external_audience select update", "internal_reply text update", "external_reply text update",
		"start datetime update", "end datetime update", "long_internal_reply notify update", "long_external_reply notify update",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestDamaged feeds Microsoft's own examples with one property of them null, missing or of an unknown value.
func TestDamaged(t *testing.T) {
	documents, err := os.ReadFile("testdata/settings.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples []json.RawMessage
	if err := json.Unmarshal(documents, &examples); err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		graphtest.Damaged(t, example, func(name string, document []byte) {
			s := contoso(t, simulator.AutomaticReplies{})
			body := string(document)
			s.Fail(simulator.Fault{Path: settingsPath, Body: &body})
			sensor := sensor()
			_, err := sensor.TryPoll(t, graphtest.Client(t, s, simulator.Adele, "MailboxSettings.Read"), now(t))
			// An answer without a mode says nothing: it must not empty every value.
			essential := strings.HasPrefix(name, ".automaticRepliesSetting is") || strings.HasPrefix(name, ".automaticRepliesSetting.status is") && !strings.HasSuffix(name, "new")
			if essential || err != nil {
				if !essential || !graph.Is(err, graph.Refused) {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			st := sensor.State(t, time.Time{}, now(t))
			for _, e := range sensor.Source.Entities() {
				if v, ok := st.Values[e.Key].(string); ok && e.Options != nil && !slices.Contains(e.Options, v) {
					t.Errorf("%s: %s is %q", name, e.Key, v)
				}
			}
			if strings.Contains(name, "externalAudience is something new") && st.Attributes["external_audience"] != "somethingNew" {
				t.Errorf("%s: the attribute is %v", name, st.Attributes["external_audience"])
			}
			if _, err := json.Marshal(st); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// TestPolled runs it as the program does: a schedule begins and ends at its seconds, though Graph is asked every two minutes
// only, and then not at all.
func TestPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		start := time.Now().Add(time.Hour).Truncate(time.Second)
		s.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "scheduled", Start: start, End: start.Add(time.Hour)})
		var mu sync.Mutex
		var seen []string
		last := ""
		kind := autoreply.Kind()
		p := kind.New().NewPoller(sensors.PollerOptions{
			Graph: graphtest.Client(t, s, simulator.Adele, "MailboxSettings.Read"), Interval: kind.Interval, PhaseKey: "work",
			Location: func() *time.Location { return time.UTC }, Log: slog.New(slog.DiscardHandler),
			OnState: func(shown sensors.State) {
				mu.Lock()
				defer mu.Unlock()
				state := "off"
				if shown.Values["active"] == true {
					state = "on"
				}
				if state != last {
					seen, last = append(seen, shown.EvaluatedAt.Sub(start).String()+" "+state), state
				}
			},
		})
		var running sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		defer running.Wait()
		defer stop()
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(30 * time.Minute)
		s.Fail(simulator.Fault{Times: -1, Status: http.StatusInternalServerError})
		time.Sleep(3 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if d := cmp.Diff([]string{"-1h0m0s off", "0s on", "1h0m0s off"}, seen); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestCases(t *testing.T) { sensorstest.Run(t, autoreply.Kind(), "testdata/cases") }

// TestLongReply pins that a reply which the text box shows shortened is never stored shortened.
func TestLongReply(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("I am away. ", 40))
	s := contoso(t, simulator.AutomaticReplies{InternalReply: long})
	sensor := sensor()
	poll(t, sensor, s, now(t))
	st := sensor.State(t, time.Time{}, now(t))
	shown, _ := st.Values["internal_reply"].(string)
	if !strings.HasSuffix(shown, "…") || st.Attributes["internal_reply"] != long {
		t.Errorf("shows %q", shown)
	}
	for _, e := range sensor.Source.Entities() {
		if e.Key != "internal_reply" {
			continue
		}
		const want = `want a text that does not end in …: the stored one is longer than this box shows, and its end would be lost; ` +
			`set long texts with the notify entity "Long internal reply" or the request update`
		if _, _, err := e.Request("Hello! "+shown, st); err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		event entity.Event
		want  string
	}{
		{entity.Event{Type: "auto_reply_changed", Data: map[string]any{"mode": "scheduled", "previous_mode": "disabled"}}, "now Scheduled, was Off"},
		{entity.Event{Type: "auto_reply_changed", Data: map[string]any{"mode": "disabled", "previous_mode": "disabled"}}, "settings changed, mode is Off"},
		{entity.Event{Type: "auto_reply_changed", Data: map[string]any{"mode": "some", "previous_mode": nil}}, "now some, was unknown"},
		{entity.Event{Type: "other"}, ""},
	} {
		if got := autoreply.Kind().Describe(tt.event); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
