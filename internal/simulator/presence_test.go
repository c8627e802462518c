package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const adeleID = "87d349ed-44d7-43e1-9a83-5f2406dee5bd"

func TestPresence(t *testing.T) {
	v := newGraphClient(t, "Presence.Read")
	published := time.Date(2026, 1, 15, 11, 0, 0, 0, time.UTC)
	v.s.SetPresence(simulator.Adele, simulator.Presence{
		Availability: "Busy", Activity: "InAMeeting", Message: "Back soon", MessagePublished: published, MessageExpires: time.Date(2126, 1, 15, 13, 0, 0, 0, time.UTC),
		OutOfOffice: true, OutOfOfficeMessage: "Away", WorkLocation: "remote", WorkLocationSource: "manual",
	})
	want := map[string]any{
		"id": adeleID, "availability": "Busy", "activity": "InAMeeting",
		"statusMessage": map[string]any{
			"message": map[string]any{"content": "Back soon", "contentType": "text"}, "publishedDateTime": "2026-01-15T11:00:00.0000000Z",
			"expiryDateTime": map[string]any{"dateTime": "2126-01-15T13:00:00.0000000", "timeZone": "UTC"},
		},
		"outOfOfficeSettings": map[string]any{"isOutOfOffice": true, "message": "Away"},
		"workLocation":        map[string]any{"workLocationType": "remote", "source": "manual", "placeId": nil},
	}
	for _, path := range []string{"/me/presence", "/users/" + adeleID + "/presence"} {
		got := v.want(200, "GET", path, "")
		delete(got, "@odata.context")
		delete(got, "sequenceNumber")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
	v.refused(400, "BadRequest", "GET", "/users/"+simulator.Adele+"/presence", "")

	// Only the user sees when a message was published and when it expires.
	megan := v.s.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen"})
	stranger := v.s.AddUser(simulator.User{Address: "ann@fabrikam.example", Name: "Ann Beebe"})
	v.refused(403, "Forbidden", "GET", "/users/"+megan.ID+"/presence", "")
	v.token = v.s.Token(megan.Address, "Presence.Read.All")
	got := v.want(200, "GET", "/users/"+strings.ToUpper(adeleID)+"/presence", "")
	if d := cmp.Diff(map[string]any{"message": map[string]any{"content": "Back soon", "contentType": "text"}}, got["statusMessage"]); d != "" {
		t.Errorf("of somebody else (-want +got):\n%s", d)
	}
	v.refused(404, "NotFound", "GET", "/users/"+stranger.ID+"/presence", "")

	v.s.RemoveTeams(simulator.Adele)
	v.refused(403, "Forbidden", "GET", "/users/"+adeleID+"/presence", "")
	ids := fmt.Sprintf(`{"ids": [%q, %q, %q]}`, megan.ID, adeleID, stranger.ID)
	var seen []string
	for _, p := range v.want(200, "POST", "/communications/getPresencesByUserId", ids)["value"].([]any) {
		p := p.(map[string]any)
		seen = append(seen, fmt.Sprint(p["id"], " ", p["availability"], " ", p["activity"]))
	}
	if d := cmp.Diff([]string{megan.ID + " Offline Offline", adeleID + " PresenceUnknown PresenceUnknown", stranger.ID + " PresenceUnknown PresenceUnknown"}, seen); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	many := strings.TrimSuffix(strings.Repeat(`"`+adeleID+`",`, 651), ",")
	for _, body := range []string{`{"ids": [` + many + `]}`, `{"ids": []}`, `{"ids": ["` + simulator.Adele + `"]}`, `{}`, ``, `{"users": []}`} {
		v.refused(400, "BadRequest", "POST", "/communications/getPresencesByUserId", body)
	}
}

const (
	session = `"sessionId": "` + simulator.ContosoClient + `"`
	set     = "/users/" + adeleID + "/presence/setPresence"
	prefer  = "/users/" + adeleID + "/presence/setUserPreferredPresence"
)

// TestPresencePermissions: read scopes do not write, write scopes do not read, and personal accounts have no presence.
func TestPresencePermissions(t *testing.T) {
	actions := map[string]string{
		"setPresence": `{` + session + `, "availability": "Away", "activity": "Away"}`, "clearPresence": `{` + session + `}`,
		"setUserPreferredPresence": `{"availability": "Away", "activity": "Away"}`, "clearUserPreferredPresence": ``,
		"setStatusMessage": `{"statusMessage": {"message": {"content": "", "contentType": "text"}}}`,
	}
	v := newGraphClient(t, "Presence.ReadWrite")
	megan := v.s.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen"})
	for action, body := range actions {
		v.want(200, "POST", "/users/"+adeleID+"/presence/"+action, body)
		v.refused(403, "Forbidden", "POST", "/users/"+megan.ID+"/presence/"+action, body)
		v.want(200, "POST", "/me/presence/"+action, body)
	}
	v.refused(403, "Forbidden", "GET", "/me/presence", "")
	v.token = v.s.Token(simulator.Adele, "Presence.Read", "Presence.Read.All")
	for action, body := range actions {
		v.refused(403, "Forbidden", "POST", "/users/"+adeleID+"/presence/"+action, body)
	}
	v.token = v.s.Token(simulator.Adele, "Presence.Read")
	v.refused(403, "Forbidden", "POST", "/communications/getPresencesByUserId", `{"ids": ["`+adeleID+`"]}`)
	v.refused(403, "Forbidden", "GET", "/users/"+megan.ID+"/presence", "")

	me := v.s.AddUser(simulator.User{Address: "adele@outlook.example", Name: "Adele Vance", Personal: true})
	v.token = v.s.Token(me.Address, "User.Read")
	v.refused(403, "Forbidden", "GET", "/me/presence", "")
	v.refused(403, "Forbidden", "POST", "/users/"+me.ID+"/presence/setPresence", actions["setPresence"])
}

func TestPresenceRefuses(t *testing.T) {
	v := newGraphClient(t, "Presence.ReadWrite")
	for path, bodies := range map[string][]string{
		set: {
			`{"availability": "Away", "activity": "Away"}`,
			`{"sessionId": "mine", "availability": "Away", "activity": "Away"}`,
			`{` + session + `, "availability": "Busy", "activity": "Busy"}`,
			`{` + session + `, "availability": "Busy"}`,
			`{` + session + `, "availability": "Away", "activity": "Away", "expirationDutaion": "PT1H"}`,
			`{` + session + `, "availability": "Away", "activity": "Away", "expirationDuration": "PT4M59S"}`,
			`{` + session + `, "availability": "Away", "activity": "Away", "expirationDuration": "PT4H1S"}`,
			`{` + session + `, "availability": "Away", "activity": "Away", "expirationDuration": "1h"}`,
			`{` + session + `, "availability": "Away", "activity": "Away", "expirationDuration": 60}`,
			`{`,
		},
		prefer: {
			`{"availability": "Offline", "activity": "Offline"}`,
			`{"availability": "Busy", "activity": "InACall"}`,
			`{"availability": "Busy", "activity": "Busy", "expirationDuration": "P1W"}`,
			`{"availability": "Busy", "activity": "Busy", "expirationDuration": "PT"}`,
		},
		"/users/" + adeleID + "/presence/clearPresence":              {`{}`, ``},
		"/users/" + adeleID + "/presence/clearUserPreferredPresence": {`{` + session + `}`},
		"/users/" + adeleID + "/presence/setStatusMessage": {
			`{}`,
			`{"statusMessage": {"message": {"content": "x", "contentType": "html"}}}`,
			`{"statusMessage": {"message": "x"}}`,
			`{"statusMessage": {"message": {"content": "x", "contentType": "text"}, "expires": "now"}}`,
			`{"statusMessage": {"message": {"content": "x", "contentType": "text"}, "expiryDateTime": {"dateTime": "2026-01-15T13:00:00", "timeZone": "Mars"}}}`,
		},
	} {
		for _, body := range bodies {
			if resp, out := v.do("POST", path, body); resp.StatusCode != 400 {
				t.Errorf("POST %s %s: %s %v", path, body, resp.Status, out)
			}
		}
	}
	if d := cmp.Diff(simulator.Session{}, v.s.PresenceSession(simulator.Adele, simulator.ContosoClient)); d != "" {
		t.Errorf("a refused session was set: %s", d)
	}
}

// TestPresenceOverTime: the preferred presence takes precedence over the highest-ranking session if there is any session,
// each until it expires.
func TestPresenceOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newGraphClient(t, "Presence.Read", "Presence.ReadWrite")
		start := time.Now()
		shows := func(want string) {
			t.Helper()
			p := v.want(200, "GET", "/me/presence", "")
			if got := fmt.Sprint(p["availability"], " ", p["activity"]); got != want {
				t.Errorf("after %s: %s, want %s", time.Since(start), got, want)
			}
			shown := v.s.Presence(simulator.Adele)
			if got := shown.Availability + " " + shown.Activity; got != want {
				t.Errorf("after %s the control side has %s, want %s", time.Since(start), got, want)
			}
		}
		shows("Available Available")
		v.want(200, "POST", set, `{`+session+`, "availability": "Busy", "activity": "InACall", "expirationDuration": "PT10M"}`)
		shows("Busy InACall")
		v.want(200, "POST", prefer, `{"availability": "Offline", "activity": "OffWork", "expirationDuration": "PT5M"}`)
		shows("Offline OffWork")
		time.Sleep(5 * time.Minute)
		shows("Busy InACall")
		v.s.SetPresence(simulator.Adele, simulator.Presence{})
		v.want(200, "POST", prefer, `{"availability": "DoNotDisturb", "activity": "DoNotDisturb"}`)
		if got, want := v.s.PreferredPresence(simulator.Adele).Expires, time.Now().Add(24*time.Hour); !got.Equal(want) {
			t.Errorf("the preferred presence expires %v, want %v", got, want)
		}
		shows("DoNotDisturb DoNotDisturb")
		time.Sleep(5 * time.Minute)
		shows("Offline Offline") // without a session no preferred presence
		v.want(200, "POST", "/users/"+adeleID+"/presence/clearUserPreferredPresence", "")

		v.want(200, "POST", set, `{`+session+`, "availability": "Available", "activity": "Available", "expirationDuration": "PT1H"}`)
		shows("Available Available")
		time.Sleep(5 * time.Minute)
		shows("Available AvailableInactive")
		time.Sleep(5 * time.Minute)
		shows("Away Away")
		v.want(200, "POST", "/users/"+adeleID+"/presence/clearPresence", `{`+session+`}`)
		shows("Offline Offline")

		v.want(200, "POST", "/users/"+adeleID+"/presence/setStatusMessage", fmt.Sprintf(
			`{"statusMessage": {"message": {"content": "At lunch", "contentType": "text"}, "expiryDateTime": {"dateTime": %q, "timeZone": "UTC"}}}`,
			time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05")))
		if got := v.s.Presence(simulator.Adele).Message; got != "At lunch" {
			t.Errorf("the message is %q", got)
		}
		time.Sleep(time.Hour)
		v.token = v.s.Token(simulator.Adele, "Presence.Read")
		if got := v.want(200, "GET", "/me/presence", "")["statusMessage"]; got != nil {
			t.Errorf("after its end the message is %v", got)
		}
	})
}
