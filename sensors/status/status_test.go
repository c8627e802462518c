package status_test

import (
	"context"
	"encoding/json"
	"fmt"
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
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	"github.com/graph2mqtt/graph2mqtt/sensors/status"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	megan = "megan@contoso.example"
	many  = "/v1.0/communications/getPresencesByUserId"
)

// now is the moment of most tests: a winter's noon in Berlin.
func now(t testing.TB) time.Time {
	return time.Date(2026, 1, 15, 12, 0, 0, 0, graphtest.Zone(t, "Europe/Berlin"))
}

func contoso(t testing.TB) *simulator.Simulator {
	s := simulator.Contoso(simulator.Options{Now: func() time.Time { return now(t) }})
	s.AddUser(simulator.User{ID: "48d31887-5fad-4d73-a9f5-3c356e68a038", Address: megan, Name: "Megan Bowen"})
	return s
}

type driver = sensorstest.Driver[status.Snapshot]

// options returns the decoded options.
func options(t testing.TB, raw map[string]any) *status.Options {
	t.Helper()
	o := status.Kind().New().Options().(*status.Options)
	if err := schema.Decode(o, raw); err != nil {
		t.Fatal(err)
	}
	return o
}

func own(t testing.TB) *driver { return sensorstest.Of(options(t, nil)) }
func of(t testing.TB, user string) *driver {
	return sensorstest.Of(options(t, map[string]any{"user": user}))
}

func poll(t testing.TB, sensor *driver, s *simulator.Simulator, now time.Time) []entity.Event {
	t.Helper()
	return sensor.Poll(t, graphtest.Client(t, s, simulator.Adele, graph.Scopes(sensor.Source.Permissions())...), now)
}

// find returns the entity with this key that can be set, or pressed.
func find(t testing.TB, key string) entity.Entity {
	t.Helper()
	all := options(t, nil).Entities()
	return all[slices.IndexFunc(all, func(e entity.Entity) bool { return e.Key == key && e.IsCommand() })]
}

// asked are the requests that came.
func asked(s *simulator.Simulator) []string {
	var all []string
	for _, r := range s.Requests() {
		line := r.Method + " " + r.Path
		if q := r.Query.Encode(); q != "" {
			line += "?" + q
		}
		all = append(all, line)
	}
	return all
}

func TestState(t *testing.T) {
	s := contoso(t)
	published, expires := now(t).Add(-time.Hour), now(t).Add(time.Hour)
	s.SetPresence(simulator.Adele, simulator.Presence{
		Availability: "Busy", Activity: "InACall", Message: "Back soon", MessagePublished: published, MessageExpires: expires,
		OutOfOffice: true, OutOfOfficeMessage: "I am away.", WorkLocation: "remote", WorkLocationSource: "manual",
	})
	sensor := own(t)
	if events := poll(t, sensor, s, now(t)); events != nil {
		t.Errorf("the first answer brought %v", events)
	}
	want := entity.State{
		Values: map[string]any{
			"activity": "InACall", "availability": "Busy", "in_call": true, "status_message": "Back soon", "work_location": "remote", "out_of_office": true,
			"preferred": nil,
		},
		Attributes: map[string]any{
			"user_id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "activity": "InACall", "availability": "Busy",
			"status_message": "Back soon", "status_message_published": published, "status_message_expires": expires,
			"out_of_office": true, "out_of_office_message": "I am away.",
			"work_location": "remote", "work_location_source": "manual", "work_location_place": nil, "preferred_until": nil, "kept_until": nil,
		},
		Next: expires,
	}
	if d := cmp.Diff(want, sensor.State(t, now(t).Add(-time.Hour), now(t))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	want.Values["status_message"], want.Attributes["status_message"] = nil, ""
	want.Attributes["status_message_published"], want.Attributes["status_message_expires"], want.Next = nil, nil, time.Time{}
	if d := cmp.Diff(want, sensor.State(t, now(t), expires)); d != "" {
		t.Errorf("when the message expires (-want +got):\n%s", d)
	}
	if want := []string{"GET /v1.0/me/presence"}; !slices.Equal(asked(s), want) {
		t.Errorf("asked %q, want %q", asked(s), want)
	}
}

func TestInCall(t *testing.T) {
	for _, tt := range []struct {
		availability, activity string
		want                   any
	}{
		{"Available", "Available", false},
		{"Busy", "InACall", true},
		{"Busy", "InAConferenceCall", true},
		{"DoNotDisturb", "Presenting", true},
		{"InACall", "Busy", true},
		{"Busy", "InAMeeting", false},
		{"Busy", "inAConferenceCall", true},
		{"Busy", "Dancing", nil},
		{"PresenceUnknown", "PresenceUnknown", nil},
	} {
		s := contoso(t)
		s.SetPresence(simulator.Adele, simulator.Presence{Availability: tt.availability, Activity: tt.activity})
		sensor := own(t)
		poll(t, sensor, s, now(t))
		if got := sensor.State(t, time.Time{}, now(t)).Values["in_call"]; got != tt.want {
			t.Errorf("%s %s: got %v, want %v", tt.availability, tt.activity, got, tt.want)
		}
	}
}

// TestUnknownValues: what Microsoft adds is null where Home Assistant has a list, and comes as it is elsewhere.
func TestUnknownValues(t *testing.T) {
	s := contoso(t)
	s.SetPresence(simulator.Adele, simulator.Presence{Availability: "Elated", Activity: "Dancing", WorkLocation: "moon"})
	sensor := own(t)
	poll(t, sensor, s, now(t))
	st := sensor.State(t, time.Time{}, now(t))
	got := []any{st.Values["availability"], st.Attributes["availability"], st.Values["activity"], st.Values["work_location"], st.Attributes["work_location"]}
	if d := cmp.Diff([]any{nil, "Elated", "Dancing", nil, "moon"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAnotherUser(t *testing.T) {
	s := contoso(t)
	s.SetPresence(megan, simulator.Presence{Availability: "Away", Message: "Out", MessagePublished: now(t)})
	for _, tt := range []struct {
		user string
		want []string
	}{
		{megan, []string{"GET /v1.0/users/megan@contoso.example?%24select=id", "POST " + many, "POST " + many}},
		{"48D31887-5FAD-4D73-A9F5-3C356E68A038", []string{"POST " + many, "POST " + many}},
	} {
		s.ForgetRequests()
		sensor := of(t, tt.user)
		poll(t, sensor, s, now(t))
		poll(t, sensor, s, now(t))
		if d := cmp.Diff(tt.want, asked(s)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.user, d)
		}
		st := sensor.State(t, time.Time{}, now(t))
		want := map[string]any{"activity": "Away", "availability": "Away", "in_call": false, "status_message": "Out", "work_location": "unspecified", "out_of_office": false}
		if d := cmp.Diff(want, st.Values); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.user, d)
		}
		if o := options(t, map[string]any{"user": tt.user}); o.Operations() != nil || slices.ContainsFunc(o.Entities(), entity.Entity.IsCommand) {
			t.Errorf("%s: the status of somebody else can be set", tt.user)
		}
	}
}

// TestAddressIsLookedUpOnce pins that an address is looked up once, also after a restart, and again only a day after the last
// look-up if the user has no presence any more.
func TestAddressIsLookedUpOnce(t *testing.T) {
	s := contoso(t)
	sensor := of(t, megan)
	poll(t, sensor, s, now(t))
	s.RemoveTeams(megan)
	restarted := of(t, megan)
	restarted.Snapshot = sensor.Snapshot
	restarted.Restart(t)
	for _, tt := range []struct {
		after   time.Duration
		lookups int
	}{{0, 1}, {24 * time.Hour, 1}, {24*time.Hour + time.Second, 2}, {25 * time.Hour, 2}, {49 * time.Hour, 3}} {
		poll(t, restarted, s, now(t).Add(tt.after))
		if n := s.Count(http.MethodGet, "/v1.0/users/"); n != tt.lookups {
			t.Errorf("after %v: %d look-ups, want %d", tt.after, n, tt.lookups)
		}
	}
}

func TestFailures(t *testing.T) {
	null := "null"
	for _, tt := range []struct {
		name, user, want string
		fault            simulator.Fault
		scopes           []string
	}{
		{"no permission", "", "read the status: Graph answered 403 Forbidden: The application lacks a permission that the request needs.",
			simulator.Fault{}, []string{"User.Read"}},
		{"no permission for others", megan, "read the status of others: Graph answered 403 Forbidden: The application lacks a permission that the request needs.",
			simulator.Fault{}, []string{"Presence.Read", "User.ReadBasic.All"}},
		{"no permission to look up", megan, "look up the user: Graph answered 403 Authorization_RequestDenied: Insufficient privileges to complete the operation.",
			simulator.Fault{}, []string{"Presence.Read.All"}},
		{"nobody", "nobody@contoso.example", "look up the user: there is no user nobody@contoso.example in your organization (Graph answered 404 Request_ResourceNotFound)",
			simulator.Fault{}, nil},
		{"an empty answer", "", "read the status: Graph answered 200: the answer is empty", simulator.Fault{Path: "/v1.0/me/presence", Body: new(string)}, nil},
		{"no id", megan, "look up the user: the answer has no id",
			simulator.Fault{Path: "/v1.0/users", Change: func(body map[string]any) { delete(body, "id") }}, nil},
		{"not in the answer", megan, "read the status of others: the answer does not have it",
			simulator.Fault{Path: many, Change: func(body map[string]any) { body["value"] = []any{} }}, nil},
		{"no list", megan, "read the status of others: the answer is not a list",
			simulator.Fault{Path: many, Change: func(body map[string]any) { delete(body, "value") }}, nil},
		{"no presence", "", "read the status: the answer has no availability",
			simulator.Fault{Path: "/v1.0/me/presence", Change: func(body map[string]any) { clear(body) }}, nil},
		{"null", "", "read the status: the answer has no availability", simulator.Fault{Path: "/v1.0/me/presence", Body: &null}, nil},
		{"no presence of others", megan, "read the status of others: the answer has no availability",
			simulator.Fault{Path: many, Change: func(body map[string]any) {
				for _, p := range body["value"].([]any) {
					p := p.(map[string]any)
					p["availability"], p["activity"] = nil, nil
				}
			}}, nil},
		{"no license", "", "read the status: Microsoft Teams refuses; does your account have a Teams license? (Graph answered 403 Forbidden)",
			simulator.Fault{Path: "/v1.0/me/presence", Status: 403, Code: "Forbidden"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso(t)
			if tt.fault.Path != "" {
				s.Fail(tt.fault)
			}
			sensor := of(t, tt.user)
			if tt.scopes == nil {
				tt.scopes = graph.Scopes(sensor.Source.Permissions())
			}
			_, err := sensor.TryPoll(t, graphtest.Client(t, s, simulator.Adele, tt.scopes...), now(t))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	for user, want := range map[string][]string{
		"":                                     {"Presence.Read"},
		megan:                                  {"Presence.Read.All", "User.ReadBasic.All"},
		"48d31887-5fad-4d73-a9f5-3c356e68a038": {"Presence.Read.All"},
	} {
		if got := graph.Scopes(of(t, user).Source.Permissions()); !slices.Equal(got, want) {
			t.Errorf("%q needs %q, want %q", user, got, want)
		}
	}
	for _, need := range own(t).Source.Permissions() {
		for _, scope := range need.Alternatives {
			if _, err := own(t).TryPoll(t, graphtest.Client(t, contoso(t), simulator.Adele, scope), now(t)); err != nil {
				t.Errorf("with %s: %v", scope, err)
			}
		}
	}
}

func TestUser(t *testing.T) {
	for _, user := range []string{"", megan, "guest_fabrikam.com#EXT#@contoso.onmicrosoft.com", "48d31887-5fad-4d73-a9f5-3c356e68a038"} {
		of(t, user)
	}
	for _, user := range []string{"Megan", "Megan <megan@contoso.example>", "megan@", "48d31887", "{48d31887-5fad-4d73-a9f5-3c356e68a038}"} {
		err := schema.Decode(status.Kind().New().Options(), map[string]any{"user": user})
		if want := fmt.Sprintf("user: want an address, such as ann@contoso.com, or an object id, not %q", user); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestBeforeTheFirstAnswer(t *testing.T) {
	for _, s := range []*driver{own(t), of(t, megan)} {
		st := s.State(t, now(t).Add(-time.Hour), now(t))
		for _, e := range s.Source.Entities() {
			v, ok := st.Values[e.StateKey()]
			if wants := e.Platform != "event" && e.Platform != "button"; ok != wants || v != nil {
				t.Errorf("%s: got %v, %v", e.Key, v, ok)
			}
		}
		if st.Events != nil || !st.Next.IsZero() {
			t.Errorf("got events %v, next %v", st.Events, st.Next)
		}
	}
}

func TestChanged(t *testing.T) {
	s := contoso(t)
	sensor := own(t)
	poll(t, sensor, s, now(t))
	if events := poll(t, sensor, s, now(t)); events != nil {
		t.Errorf("the same answer brought %v", events)
	}
	restarted := own(t)
	restarted.Snapshot = sensor.Snapshot
	restarted.Restart(t)
	want := []entity.Event{{Type: "status_changed", Data: map[string]any{
		"availability": "Busy", "activity": "InAMeeting", "previous_availability": "Available", "previous_activity": "Available",
		"status_message": "", "work_location": "office", "out_of_office": false,
	}}}
	office := simulator.Presence{Availability: "Busy", Activity: "InAMeeting", WorkLocation: "office"}
	s.SetPresence(simulator.Adele, office)
	if d := cmp.Diff(want, poll(t, sensor, s, now(t))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if v := restarted.State(t, time.Time{}, now(t)).Values["activity"]; v != "Available" {
		t.Errorf("after a restart the activity is %v", v)
	}
	if d := cmp.Diff(want, poll(t, restarted, s, now(t))); d != "" {
		t.Errorf("after a restart (-want +got):\n%s", d)
	}
	for _, change := range []func(*simulator.Presence){
		func(p *simulator.Presence) { p.Message = "Hey" },
		func(p *simulator.Presence) { p.OutOfOffice = true },
		func(p *simulator.Presence) { p.WorkLocation = "remote" },
	} {
		changed := office
		change(&changed)
		s.SetPresence(simulator.Adele, changed)
		if events := poll(t, sensor, s, now(t)); len(events) != 1 {
			t.Errorf("%+v brought %v", changed, events)
		}
		s.SetPresence(simulator.Adele, office)
		poll(t, sensor, s, now(t))
	}
}

// TestCommands sends a payload to each entity that can be set, and looks at what Graph then has and what the sensor shows.
func TestCommands(t *testing.T) {
	for _, tt := range []struct{ entity, payload, key, want, activity, message string }{
		{"preferred", "Available", "preferred", "Available", "Available", "Hey"},
		{"preferred", "Busy", "preferred", "Busy", "Busy", "Hey"},
		{"preferred", "DoNotDisturb", "preferred", "DoNotDisturb", "DoNotDisturb", "Hey"},
		{"preferred", "BeRightBack", "preferred", "BeRightBack", "BeRightBack", "Hey"},
		{"preferred", "Away", "preferred", "Away", "Away", "Hey"},
		{"preferred", "Offline", "preferred", "Offline", "OffWork", "Hey"},
		{"preferred", "Automatic", "preferred", "Automatic", "Available", "Hey"},
		{"preferred", "Do not disturb", "preferred", "DoNotDisturb", "DoNotDisturb", "Hey"},
		{"work_location", "Time off", "work_location", "timeOff", "Available", "Hey"},
		{"work_location", "Automatic", "work_location", "unspecified", "Available", "Hey"},
		{"status_message", "At lunch", "status_message", "At lunch", "Available", "At lunch"},
		{"status_message", "", "status_message", "", "Available", ""},
		{"clear_status_message", "", "status_message", "", "Available", ""},
	} {
		t.Run(tt.entity+" "+tt.payload, func(t *testing.T) {
			s := contoso(t)
			s.SetPresence(simulator.Adele, simulator.Presence{Availability: "Available", Message: "Hey"})
			sensor := own(t)
			poll(t, sensor, s, now(t))
			e := find(t, tt.entity)
			name, request := e.Operations[0], e.DefaultFields
			if e.Parse != nil {
				var err error
				if name, request, err = e.Request(tt.payload, sensor.State(t, now(t), now(t))); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Contains(e.Operations, name) {
				t.Errorf("asks for %s, which it does not say", name)
			}
			all := options(t, nil).Operations()
			i := slices.IndexFunc(all, func(o services.Operation) bool { return o.Name == name })
			object, err := json.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			if request == nil {
				object = []byte("{}")
			}
			r, err := services.Decode(all[i], object)
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, "User.Read", "Presence.ReadWrite"), services.Attempt{ID: "1", Now: now(t)})
			if err != nil {
				t.Fatal(err)
			}
			if events := sensor.Apply(t, result, now(t)); (len(events) == 1) != (tt.message != "Hey" || tt.want == "timeOff") {
				t.Errorf("brought %v", events)
			}
			if got := sensor.State(t, time.Time{}, now(t)).Values[tt.key]; got != tt.want && !(got == nil && tt.want == "") {
				t.Errorf("shows %v, want %s", got, tt.want)
			}
			if p := s.Presence(simulator.Adele); p.Activity != tt.activity || p.Message != tt.message {
				t.Errorf("Graph has %+v", p)
			}
			if events := poll(t, sensor, s, now(t)); (len(events) == 1) != (tt.activity != "Available") {
				t.Errorf("the next poll brought %v", events)
			}
		})
	}
}

func TestSelectRefuses(t *testing.T) {
	e := find(t, "preferred")
	const want = `want one of Automatic, Available, Busy, DoNotDisturb, BeRightBack, Away, Offline, not "busy"`
	if _, _, err := e.Parse("busy"); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestApplyOfOtherResults: what changes nothing that is shown, and what comes before the first answer.
func TestApplyOfOtherResults(t *testing.T) {
	sensor := own(t)
	for _, result := range []any{presence.Session{Availability: "Busy"}, presence.Message{Text: "Hey"}, nil} {
		if events := sensor.Apply(t, result, now(t)); events != nil {
			t.Errorf("%v brought %v", result, events)
		}
	}
	if v := sensor.State(t, time.Time{}, now(t)).Values["status_message"]; v != nil {
		t.Errorf("shows %v", v)
	}
}

// TestEntities pins what a change would break: keys, platforms and what they ask for.
func TestEntities(t *testing.T) {
	var got []string
	for _, e := range own(t).Source.Entities() {
		line := e.Key + " " + e.Platform
		if e.Primary {
			line += " primary"
		}
		got = append(got, strings.Join(append([]string{line}, e.Operations...), " "))
		if (e.Parse != nil) != (e.IsCommand() && e.Platform != "button") {
			t.Errorf("%s: Set does not fit", e.Key)
		}
	}
	want := []string{
		"activity sensor primary", "availability sensor", "in_call binary_sensor", "status_message sensor", "work_location sensor", "out_of_office binary_sensor",
		"event event", "preferred select update_user_preferred_status clear_preferred_status",
		"status_message text set_status_message", "clear_status_message button set_status_message",
		"work_location select set_work_location clear_work_location",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestDamaged feeds presences with one property of them null, missing or of an unknown value: Microsoft's own examples
// and one that is complete.
func TestDamaged(t *testing.T) {
	documents, err := os.ReadFile("testdata/presences.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples []json.RawMessage
	if err := json.Unmarshal(documents, &examples); err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		graphtest.Damaged(t, example, func(name string, document []byte) {
			s := contoso(t)
			body := string(document)
			s.Fail(simulator.Fault{Path: "/v1.0/me/presence", Body: &body})
			sensor := own(t)
			poll(t, sensor, s, now(t))
			st := sensor.State(t, time.Time{}, now(t))
			for _, e := range sensor.Source.Entities() {
				if v, ok := st.Values[e.Key].(string); ok && e.Options != nil && !slices.Contains(e.Options, v) {
					t.Errorf("%s: %s is %q", name, e.Key, v)
				}
			}
			if _, err := json.Marshal(st); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// run polls sensors as the program does until the test ends.
func run(t *testing.T, s *simulator.Simulator, show func(sensors.State), all ...*driver) (apply func(result any)) {
	t.Helper()
	return runWith(t, graphtest.Client(t, s, simulator.Adele, "User.Read", "Presence.Read", "Presence.Read.All", "Presence.ReadWrite", "User.ReadBasic.All"), show, all...)
}

// runWith is run with a client.
func runWith(t *testing.T, g *graph.Client, show func(sensors.State), all ...*driver) (apply func(result any)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	for _, sensor := range all {
		p := sensors.Of(sensor.Source).NewPoller(sensors.PollerOptions{
			Graph: g, Interval: status.Kind().Interval, PhaseKey: "work status",
			Location: func() *time.Location { return time.UTC }, Log: slog.New(slog.DiscardHandler),
			OnState: show, OnPoll: func(p sensors.Poll) {
				if p.Err != nil {
					t.Error(p.Err)
				}
			},
		})
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		apply = func(result any) { p.Apply(ctx, result) }
	}
	return apply
}

// TestManyUsers: one's own presence and that of any number of others are two requests in each interval.
func TestManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		all := []*driver{own(t)}
		for i := range 50 {
			u := s.AddUser(simulator.User{Address: fmt.Sprintf("user%d@contoso.example", i), Name: "User"})
			s.SetPresence(u.Address, simulator.Presence{Availability: "Busy", Activity: "InACall"})
			if i%2 == 0 {
				all = append(all, of(t, u.Address))
			} else {
				all = append(all, of(t, u.ID))
			}
		}
		var mu sync.Mutex
		calls := 0
		run(t, s, func(shown sensors.State) {
			mu.Lock()
			defer mu.Unlock()
			if shown.Values["activity"] == "InACall" {
				calls++
			}
		}, all...)
		time.Sleep(35 * time.Second) // the first polls, which look the addresses up, are behind
		if n := s.Count(http.MethodGet, "/v1.0/users/"); n != 25 {
			t.Errorf("%d look-ups of 25 addresses", n)
		}
		s.ForgetRequests()
		mu.Lock()
		before := calls
		mu.Unlock()
		const intervals = 20
		time.Sleep(intervals * status.Kind().Interval)
		counts := map[string]int{}
		for _, line := range asked(s) {
			counts[line]++
		}
		if d := cmp.Diff(map[string]int{"GET /v1.0/me/presence": intervals, "POST " + many: intervals}, counts); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		mu.Lock()
		defer mu.Unlock()
		if got := calls - before; got != 50*intervals {
			t.Errorf("50 users were shown %d times in %d intervals", got, intervals)
		}
	})
}

// TestMoreThanOneRequestHolds: Graph takes 650 users at a time.
func TestMoreThanOneRequestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		var all []*driver
		for i := range 651 {
			all = append(all, of(t, fmt.Sprintf("00000000-0000-4000-8000-%012d", i)))
		}
		var mu sync.Mutex
		shown := 0
		run(t, s, func(sensors.State) {
			mu.Lock()
			defer mu.Unlock()
			shown++
		}, all...)
		time.Sleep(time.Second)
		if n := s.Count(http.MethodPost, many); n != 2 || s.Total() != 2 {
			t.Errorf("%d of %d requests", n, s.Total())
		}
		mu.Lock()
		defer mu.Unlock()
		if shown != len(all) {
			t.Errorf("%d of %d users were shown", shown, len(all))
		}
	})
}

// The people of an organization are read by the application, at most 650 with each request.
func TestOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people, intervals = 1500, 3
		s := simulator.Contoso(simulator.Options{})
		g := graphtest.Application(t, s, "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11", "Presence.Read.All", "User.ReadBasic.All")
		var all []*driver
		for i := range people {
			u := s.AddUser(simulator.User{Address: fmt.Sprintf("user%d@contoso.example", i), Name: "User"})
			s.SetPresence(u.Address, simulator.Presence{Availability: "Busy", Activity: "InACall"})
			if i%3 == 0 {
				all = append(all, of(t, u.Address))
			} else {
				all = append(all, of(t, u.ID))
			}
		}
		var mu sync.Mutex
		shown := 0
		runWith(t, g, func(state sensors.State) {
			mu.Lock()
			defer mu.Unlock()
			if state.Values["availability"] == "Busy" {
				shown++
			}
		}, all...)
		time.Sleep(35 * time.Second) // the first polls, which look the addresses up, are behind
		s.ForgetRequests()
		mu.Lock()
		before := shown
		mu.Unlock()
		time.Sleep(intervals * status.Kind().Interval)
		counts := map[string]int{}
		for _, line := range asked(s) {
			counts[line]++
		}
		if d := cmp.Diff(map[string]int{"POST " + many: 3 * intervals}, counts); d != "" {
			t.Errorf("requests of %d people in %d intervals (-want +got):\n%s", people, intervals, d)
		}
		mu.Lock()
		defer mu.Unlock()
		if got := shown - before; got != people*intervals {
			t.Errorf("%d states in %d intervals, want %d", got, intervals, people*intervals)
		}
	})
}

// TestPreferredRunsOut: to the second, though Graph is asked every half a minute, and then not at all.
func TestPreferredRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		start := time.Now()
		var mu sync.Mutex
		var seen []string
		sensor := own(t)
		apply := run(t, s, func(shown sensors.State) {
			mu.Lock()
			defer mu.Unlock()
			line := fmt.Sprint(shown.Values["preferred"], " ", shown.Values["activity"])
			if len(seen) == 0 || !strings.HasSuffix(seen[len(seen)-1], ": "+line) {
				seen = append(seen, fmt.Sprint(shown.EvaluatedAt.Sub(start).Round(time.Second), ": ", line))
			}
		}, sensor)
		time.Sleep(time.Minute)
		ask := func(name, request string) {
			t.Helper()
			all := options(t, nil).Operations()
			op := all[slices.IndexFunc(all, func(o services.Operation) bool { return o.Name == name })]
			r, err := services.Decode(op, []byte(request))
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, "User.Read", "Presence.ReadWrite"), services.Attempt{ID: "1", Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			apply(result)
		}
		ask("update_user_preferred_status", `{"availability": "Busy", "expiration_duration": "10m10s"}`)
		time.Sleep(20 * time.Minute)
		ask("clear_preferred_status", `{}`)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		var texts []string
		for _, line := range seen {
			_, text, _ := strings.Cut(line, ": ")
			texts = append(texts, text)
		}
		if d := cmp.Diff([]string{"<nil> Available", "Busy Available", "Busy Busy", "<nil> Busy", "<nil> Available", "Automatic Available"}, texts); d != "" {
			t.Fatalf("(-want +got):\n%s\n%q", d, seen)
		}
		if want := "11m10s: <nil> Busy"; seen[3] != want {
			t.Errorf("ran out at %s, want %s", seen[3], want)
		}
	})
}

func TestCases(t *testing.T) { sensorstest.Run(t, status.Kind(), "testdata/cases") }

// TestCalls pins that a call is reported once, though Teams does not know of it for a while.
func TestCalls(t *testing.T) {
	s := contoso(t)
	sensor := own(t)
	poll(t, sensor, s, now(t))
	for _, tt := range []struct {
		activity string
		want     []string
	}{
		{"InACall", []string{"status_changed", "call_started"}},
		{"Presenting", []string{"status_changed"}},
		{"PresenceUnknown", []string{"status_changed"}},
		{"InACall", []string{"status_changed"}},
		{"PresenceUnknown", []string{"status_changed"}},
		{"InAMeeting", []string{"status_changed", "call_ended"}},
	} {
		s.SetPresence(simulator.Adele, simulator.Presence{Availability: "Busy", Activity: tt.activity})
		var got []string
		for _, e := range poll(t, sensor, s, now(t)) {
			got = append(got, e.Type)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.activity, d)
		}
	}
}

func TestWorkLocation(t *testing.T) {
	e := find(t, "work_location")
	for payload, want := range map[string]string{
		"Office": `set_work_location map[location:office]`, "timeOff": `set_work_location map[location:timeOff]`, "Time off": `set_work_location map[location:timeOff]`,
		"Automatic": `clear_work_location map[]`, "unspecified": `clear_work_location map[]`,
		"Beach": `want one of Office, Remote, Time off, Automatic, not "Beach"`,
	} {
		operation, request, err := e.Request(payload, entity.State{})
		got := fmt.Sprint(operation, " ", request)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", payload, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	data := func(availability, activity, previous string) map[string]any {
		return map[string]any{"availability": availability, "activity": activity, "previous_availability": previous, "previous_activity": previous}
	}
	for _, tt := range []struct {
		event entity.Event
		want  string
	}{
		{entity.Event{Type: "status_changed", Data: data("Busy", "InAMeeting", "Available")}, "now Busy (InAMeeting), was Available"},
		{entity.Event{Type: "status_changed", Data: data("Away", "Away", "Away")}, "details changed, still Away"},
		{entity.Event{Type: "status_changed", Data: map[string]any{"availability": "Away"}}, "now Away, was unknown"},
		{entity.Event{Type: "call_started"}, "call started"},
		{entity.Event{Type: "call_ended"}, "call ended"},
		{entity.Event{Type: "other"}, ""},
	} {
		if got := status.Kind().Describe(tt.event); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
