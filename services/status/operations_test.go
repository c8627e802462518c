package status_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/status"
)

const (
	presencePath = "/v1.0/users/87d349ed-44d7-43e1-9a83-5f2406dee5bd/presence/"
	client       = `"sessionId":"` + simulator.ContosoClient + `"`
)

// now is the moment of every test: a winter's noon in Berlin.
func now(t testing.TB) time.Time {
	return time.Date(2026, 1, 15, 12, 0, 0, 0, graphtest.Zone(t, "Europe/Berlin"))
}

func contoso(t testing.TB) *simulator.Simulator {
	return simulator.Contoso(simulator.Options{Now: func() time.Time { return now(t) }})
}

func operation(t testing.TB, name string) services.Operation {
	t.Helper()
	i := slices.IndexFunc(status.Operations(status.NewKeeper()), func(op services.Operation) bool { return op.Name == name })
	if i < 0 {
		t.Fatalf("no operation %q", name)
	}
	return status.Operations(status.NewKeeper())[i]
}

func call(t testing.TB, s *simulator.Simulator, address, name, request string, scopes ...string) (any, error) {
	t.Helper()
	r, err := services.Decode(operation(t, name), []byte(request))
	if err != nil {
		return nil, err
	}
	return r.Execute(t.Context(), graphtest.Client(t, s, address, scopes...), services.Attempt{ID: "1", Now: now(t)})
}

// sent are the writes, their bodies with sorted properties.
func sent(t testing.TB, s *simulator.Simulator) []string {
	t.Helper()
	var writes []string
	for _, r := range s.Requests() {
		if r.Method == http.MethodGet {
			continue
		}
		line := r.Method + " " + r.Path
		if len(r.Body) > 0 {
			var v any
			if err := json.Unmarshal(r.Body, &v); err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			line += " " + string(b)
		}
		writes = append(writes, line)
	}
	return writes
}

// TestSent pins what each request sends, and what it is answered.
func TestSent(t *testing.T) {
	for _, tt := range []struct{ name, op, json, want, data string }{
		{"status", "update_user_status", `{"availability": "busy", "activity": "inacall", "expiration_duration": "1h30m"}`,
			`setPresence {"activity":"InACall","availability":"Busy","expirationDuration":"PT1H30M0S",` + client + `}`,
			`{"activity":"InACall","availability":"Busy","until":"2026-01-15T13:30:00+01:00"}`},
		{"status for five minutes", "update_user_status", `{"availability": "DoNotDisturb", "activity": "Presenting"}`,
			`setPresence {"activity":"Presenting","availability":"DoNotDisturb","expirationDuration":"PT5M0S",` + client + `}`,
			`{"activity":"Presenting","availability":"DoNotDisturb","until":"2026-01-15T12:05:00+01:00"}`},
		{"no status", "clear_status", `{}`, `clearPresence {` + client + `}`, `{"activity":null,"availability":null,"until":null}`},
		{"preferred", "update_user_preferred_status", `{"availability": "Offline", "expiration_duration": "PT8H"}`,
			`setUserPreferredPresence {"activity":"OffWork","availability":"Offline","expirationDuration":"PT8H0M0S"}`,
			`{"activity":"OffWork","availability":"Offline","until":"2026-01-15T20:00:00+01:00"}`},
		{"preferred for a day", "update_user_preferred_status", `{"availability": "DoNotDisturb"}`,
			`setUserPreferredPresence {"activity":"DoNotDisturb","availability":"DoNotDisturb","expirationDuration":"PT24H0M0S"}`,
			`{"activity":"DoNotDisturb","availability":"DoNotDisturb","until":"2026-01-16T12:00:00+01:00"}`},
		{"preferred for a week", "update_user_preferred_status", `{"availability": "Away"}`,
			`setUserPreferredPresence {"activity":"Away","availability":"Away","expirationDuration":"PT168H0M0S"}`,
			`{"activity":"Away","availability":"Away","until":"2026-01-22T12:00:00+01:00"}`},
		{"not preferred", "clear_preferred_status", `{}`, `clearUserPreferredPresence`, `{"activity":null,"availability":null,"until":null}`},
		{"message", "set_status_message", `{"message": " At lunch\n"}`,
			`setStatusMessage {"statusMessage":{"message":{"content":"At lunch","contentType":"text"}}}`, `{"expiry":null,"status_message":"At lunch"}`},
		{"message for a time", "set_status_message", `{"message": "1 < 2 & 3", "expiry": "2026-07-15T13:00"}`,
			`setStatusMessage {"statusMessage":{"expiryDateTime":{"dateTime":"2026-07-15T11:00:00.0000000","timeZone":"UTC"},"message":{"content":"1 \u003c 2 \u0026 3","contentType":"text"}}}`,
			`{"expiry":"2026-07-15T13:00:00+02:00","status_message":"1 \u003c 2 \u0026 3"}`},
		{"message until a time with a zone", "set_status_message", `{"message": "x", "expiry": "2026-01-15T13:00:00Z"}`,
			`setStatusMessage {"statusMessage":{"expiryDateTime":{"dateTime":"2026-01-15T13:00:00.0000000","timeZone":"UTC"},"message":{"content":"x","contentType":"text"}}}`,
			`{"expiry":"2026-01-15T14:00:00+01:00","status_message":"x"}`},
		{"work location", "set_work_location", `{"location": "timeoff"}`,
			`setManualLocation {"placeId":null,"workLocationType":"timeOff"}`, `{"place_id":null,"source":"manual","work_location":"timeOff"}`},
		{"detected work location", "set_work_location", `{"location": "office", "place_id": "eb706f15", "automatic": true}`,
			`setAutomaticLocation {"placeId":"eb706f15","workLocationType":"office"}`, `{"place_id":"eb706f15","source":"automatic","work_location":"office"}`},
		{"no work location", "clear_work_location", `{}`, `clearLocation`, `{"place_id":null,"source":null,"work_location":null}`},
		{"no message", "set_status_message", `{"message": ""}`,
			`setStatusMessage {"statusMessage":{"message":{"content":"","contentType":"text"}}}`, `{"expiry":null,"status_message":""}`},
		{"message of the longest text that is no shortened one", "set_status_message", `{"message": "` + strings.Repeat("x", 254) + `…"}`,
			`setStatusMessage {"statusMessage":{"message":{"content":"` + strings.Repeat("x", 254) + `…","contentType":"text"}}}`,
			`{"expiry":null,"status_message":"` + strings.Repeat("x", 254) + `…"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso(t)
			result, err := call(t, s, simulator.Adele, tt.op, tt.json, "User.Read", "Presence.Read", "Presence.ReadWrite")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"POST " + presencePath + tt.want}, sent(t, s)); d != "" {
				t.Errorf("sent (-want +got):\n%s", d)
			}
			data, err := json.Marshal(result.(interface{ Data() any }).Data())
			if err != nil || string(data) != tt.data {
				t.Errorf("answered %s, %v\nwant     %s", data, err, tt.data)
			}
		})
	}
}

func TestDone(t *testing.T) {
	s := contoso(t)
	do := func(op, request string) {
		t.Helper()
		if _, err := call(t, s, simulator.Adele, op, request, "User.Read", "Presence.ReadWrite"); err != nil {
			t.Fatal(err)
		}
	}
	do("update_user_status", `{"availability": "Busy", "activity": "InACall", "expiration_duration": "PT4H"}`)
	if got, want := s.PresenceSession(simulator.Adele, simulator.ContosoClient).Expires, now(t).Add(4*time.Hour); !got.Equal(want) {
		t.Errorf("the session expires %v, want %v", got, want)
	}
	do("update_user_preferred_status", `{"availability": "BeRightBack"}`)
	do("set_status_message", `{"message": "Back soon"}`)
	if p := s.Presence(simulator.Adele); p.Activity != "BeRightBack" || p.Message != "Back soon" {
		t.Errorf("set: %+v", p)
	}
	do("clear_preferred_status", `{}`)
	do("set_status_message", `{"message": ""}`)
	if p := s.Presence(simulator.Adele); p.Activity != "InACall" || p.Message != "" {
		t.Errorf("cleared: %+v", p)
	}
	do("clear_status", `{}`)
	do("clear_status", `{}`)
	if p := s.Presence(simulator.Adele); p.Activity != "Available" {
		t.Errorf("cleared: %+v", p)
	}
}

func TestRefused(t *testing.T) {
	const duration = `, such as PT1H30M or 1h30m, not `
	for _, tt := range []struct{ op, json, want string }{
		{"update_user_status", `{}`, `availability is required; activity is required`},
		{"update_user_status", `{"availability": "Offline", "activity": "Away"}`, `availability: want one of Available, Busy, Away, DoNotDisturb, not "Offline"`},
		{"update_user_status", `{"availability": "Busy", "activity": "Busy"}`, `activity: want one of Available, InACall, InAConferenceCall, Away, Presenting, not "Busy"`},
		{"update_user_status", `{"availability": "Busy", "activity": "Away"}`, `activity: want InACall or InAConferenceCall with the availability Busy, not Away`},
		{"update_user_status", `{"availability": "Away", "activity": "InACall"}`, `activity: want Away with the availability Away, not InACall`},
		{"update_user_status", `{"availability": "DoNotDisturb", "activity": "Away"}`, `activity: want Presenting with the availability DoNotDisturb, not Away`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "expiration_duration": "1 hour"}`, `expiration_duration: want a duration in whole seconds` + duration + `"1 hour"`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "expiration_duration": 60}`, `expiration_duration: want text, not 60`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "expiration_duration": "PT4M59S"}`, `expiration_duration: want PT5M to PT4H, with keep to PT12H, not "PT4M59S"`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "expiration_duration": "4h1s"}`, `expiration_duration: want PT5M to PT4H, with keep to PT12H, not "4h1s"`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "expiration_duration": "12h1s", "keep": true}`, `expiration_duration: want PT5M to PT12H, not "12h1s"`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "keep": true}`, `expiration_duration is required with keep: want PT5M to PT12H`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "keep": "yes"}`, `keep: want true or false, not "yes"`},
		{"update_user_status", `{"availability": "Away", "activity": "Away", "expirationDutaion": "PT1H"}`, `expirationDutaion: unknown field; did you mean expiration_duration? known fields: activity, availability, expiration_duration, keep`},
		{"update_user_preferred_status", `{}`, `availability is required`},
		{"update_user_preferred_status", `{"availability": "Automatic"}`, `availability: want one of Available, Busy, DoNotDisturb, BeRightBack, Away, Offline, not "Automatic"`},
		{"update_user_preferred_status", `{"availability": "Busy", "expiration_duration": "P1M"}`, `expiration_duration: want a duration in whole seconds` + duration + `"P1M"`},
		{"set_status_message", `{}`, `message is required`},
		{"set_status_message", `{"message": "` + strings.Repeat("ä", 281) + `"}`, `message: want at most 280 characters, not 281`},
		{"set_status_message", `{"message": " ", "expiry": "2026-07-15T13:00"}`, `expiry: there is no message that could expire`},
		{"set_status_message", `{"message": "x", "expiry": "noon"}`, `expiry: want a time with or without zone, such as 2026-01-01T12:00:00, not "noon"`},
		{"set_status_message", `{"message": "x", "expiry": "2026-01-15T12:00:00"}`, `expiry: want a time in the future, not 2026-01-15T12:00:00+01:00`},
		{"clear_status", `{"availability": "Busy"}`, `availability: unknown field; there are no fields`},
	} {
		s := contoso(t)
		_, err := call(t, s, simulator.Adele, tt.op, tt.json, "User.Read", "Presence.ReadWrite")
		if err == nil || err.Error() != tt.want || !graph.Is(err, graph.InvalidArgument) {
			t.Errorf("%s %s:\n got %v\nwant %s", tt.op, tt.json, err, tt.want)
		}
		if n := s.Total(); n > 0 {
			t.Errorf("%s %s: %d requests", tt.op, tt.json, n)
		}
	}
}

// requests are one for each operation.
var requests = map[string]string{
	"update_user_status":           `{"availability": "Away", "activity": "Away"}`,
	"update_user_preferred_status": `{"availability": "Away"}`,
	"clear_status":                 `{}`,
	"clear_preferred_status":       `{}`,
	"set_status_message":           `{"message": "x"}`,
	"set_work_location":            `{"location": "remote"}`,
	"clear_work_location":          `{}`,
}

// TestNeeds pins that what an operation says it needs is enough beside who signed in, and not more than that.
func TestNeeds(t *testing.T) {
	for _, op := range status.Operations(status.NewKeeper()) {
		if _, err := call(t, contoso(t), simulator.Adele, op.Name, requests[op.Name], append(graph.Scopes(op.Permissions), "User.Read")...); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
		if _, err := call(t, contoso(t), simulator.Adele, op.Name, requests[op.Name], "User.Read", "Presence.Read", "Presence.Read.All"); !graph.Is(err, graph.PermissionMissing) {
			t.Errorf("%s without %s: %v", op.Name, op.Permissions[0].Scope, err)
		}
		if op.Retry != services.Idempotent {
			t.Errorf("%s: an unknown outcome must be tried again", op.Name)
		}
	}
}

func TestPersonalAccountsHaveNoPresence(t *testing.T) {
	s := contoso(t)
	s.AddUser(simulator.User{Address: "adele@outlook.example", Name: "Adele Vance", Personal: true})
	for op, request := range requests {
		_, err := call(t, s, "adele@outlook.example", op, request, "User.Read")
		if want := "a personal Microsoft account has no presence"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", op, err, want)
		}
	}
	if got := sent(t, s); got != nil {
		t.Errorf("sent %q", got)
	}
}

// TestNationalClouds pins that only the global cloud is asked for a work location.
func TestNationalClouds(t *testing.T) {
	for _, host := range []string{"graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn", "graph.microsoft.com"} {
		for _, op := range []string{"set_work_location", "clear_work_location"} {
			r, err := services.Decode(operation(t, op), []byte(requests[op]))
			if err != nil {
				t.Fatal(err)
			}
			g, err := graph.New(graph.Options{Root: "https://" + host, Transport: graphtest.JSON(`{"id": "1"}`), Tokens: graphtest.Tokens{Scopes: []string{"Presence.ReadWrite"}}})
			if err != nil {
				t.Fatal(err)
			}
			want := "only Microsoft's global cloud can set a work location, not the cloud of this account"
			if host == "graph.microsoft.com" {
				want = "<nil>"
			}
			if _, err := r.Execute(t.Context(), g, services.Attempt{ID: "1", Now: now(t)}); fmt.Sprint(err) != want {
				t.Errorf("%s %s: got %v, want %s", host, op, err, want)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	for op, request := range requests {
		s := contoso(t)
		s.Fail(simulator.Fault{Method: http.MethodPost, Status: http.StatusGatewayTimeout, Done: true})
		if _, err := call(t, s, simulator.Adele, op, request, "User.Read", "Presence.ReadWrite"); err == nil {
			t.Errorf("%s: no error though the answer was lost", op)
		}
		if _, err := call(t, s, simulator.Adele, op, request, "User.Read", "Presence.ReadWrite"); err != nil {
			t.Errorf("%s: done again: %v", op, err)
		}
		s.Fail(simulator.Fault{Method: http.MethodPost, Status: http.StatusNotFound})
		_, err := call(t, s, simulator.Adele, op, request, "User.Read", "Presence.ReadWrite")
		if clears := strings.HasPrefix(op, "clear_"); clears != (err == nil) {
			t.Errorf("%s: where nothing was found: %v", op, err)
		}
		if err != nil && !strings.Contains(err.Error(), "Microsoft Teams does not know you; does your account have a Teams license?") {
			t.Errorf("%s: where nothing was found: %v", op, err)
		}
	}
}

func TestLongMessage(t *testing.T) {
	s := contoso(t)
	long := strings.Repeat("äbc ", 70) + "."
	s.SetPresence(simulator.Adele, simulator.Presence{Message: long + "<pinnednote></pinnednote>"})
	request, err := json.Marshal(map[string]string{"message": services.Truncate(long, 255)})
	if err != nil {
		t.Fatal(err)
	}
	result, err := call(t, s, simulator.Adele, "set_status_message", string(request), "User.Read", "Presence.Read", "Presence.ReadWrite")
	if err != nil || result.(presence.Message).Text != long {
		t.Errorf("got %v, %v", result, err)
	}
	if got := sent(t, s); got != nil {
		t.Errorf("setting what is shown sent %s", got)
	}
}
