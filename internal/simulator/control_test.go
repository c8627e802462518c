package simulator_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// control calls the control API and expects a status.
func (v graphClient) control(status int, method, path, body string) map[string]any {
	v.t.Helper()
	return v.want(status, method, v.s.ControlURL()+path, body)
}

func newColleaguesClient(t *testing.T) graphClient {
	t.Helper()
	s := simulator.ContosoWithColleagues(simulator.Options{})
	return graphClient{t, s, s.Token(simulator.Adele, "User.Read", "Calendars.ReadWrite", "Calendars.Read.Shared", "MailboxSettings.Read", "Presence.Read.All"), &http.Client{Transport: s.Transport()}}
}

func TestControlClock(t *testing.T) {
	begin := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	s := simulator.Contoso(simulator.Options{Now: func() time.Time { return begin }})
	v := graphClient{t, s, s.Token(simulator.Adele, "User.Read"), &http.Client{Transport: s.Transport()}}
	check := func(method, body, now, offset string, frozen bool) {
		t.Helper()
		want := map[string]any{"now": now, "offset": offset, "frozen": frozen}
		if got := v.control(200, method, "/clock", body); !cmp.Equal(got, want) {
			t.Errorf("%s %s: %v, want %v", method, body, got, want)
		}
	}
	check("GET", "", "2026-07-01T09:00:00Z", "0s", false)
	check("PATCH", `{"offset":"-2h","frozen":true}`, "2026-07-01T07:00:00Z", "-2h0m0s", true)
	begin = begin.Add(time.Minute)
	check("GET", "", "2026-07-01T07:00:00Z", "-2h1m0s", true)
	check("PATCH", `{"advance":"30m"}`, "2026-07-01T07:30:00Z", "-1h31m0s", true)
	check("PATCH", `{"frozen":false}`, "2026-07-01T07:30:00Z", "-1h31m0s", false)
	begin = begin.Add(time.Minute)
	check("GET", "", "2026-07-01T07:31:00Z", "-1h31m0s", false)
	check("PATCH", `{"now":"2026-07-01T12:02:00+02:00","frozen":true}`, "2026-07-01T10:02:00Z", "1h0m0s", true)

	// Tokens expire after an hour.
	v.refused(401, "InvalidAuthenticationToken", "GET", "/me", "")
	v.control(200, "PATCH", "/clock", `{"offset":"0s"}`)
	v.want(200, "GET", "/me", "")
}

func TestControlFaults(t *testing.T) {
	v := newColleaguesClient(t)
	faults := []any{
		map[string]any{"method": "GET", "path": "/v1.0/me", "times": 2.0, "status": 429.0, "retryAfter": "7", "header": map[string]any{"X-Reason": "test"}},
		map[string]any{"times": 1.0, "reset": true, "done": true},
		map[string]any{"path": "/v1.0/me", "times": -1.0, "delay": "10ms", "merge": map[string]any{"displayName": nil, "surname": "of the future"}},
		map[string]any{"path": "/common", "times": 1.0, "delay": "forever"},
		map[string]any{"path": "/v1.0/you", "times": 1.0, "body": ""},
	}
	v.control(200, "POST", "/faults", `{"method":"GET","path":"/v1.0/me","times":2,"status":429,"retryAfter":"7","header":{"x-reason":"test"}}`)
	v.control(200, "POST", "/faults", `{"reset":true,"done":true}`)
	v.control(200, "POST", "/faults", `{"path":"/v1.0/me","times":-1,"delay":"10ms","merge":{"displayName":null,"surname":"of the future"}}`)
	v.control(200, "POST", "/faults", `{"path":"/common","delay":"forever"}`)
	got := v.control(200, "POST", "/faults", `{"path":"/v1.0/you","body":""}`)
	if diff := cmp.Diff(map[string]any{"value": faults}, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if resp, _ := v.do("GET", "/me", ""); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" || resp.Header.Get("X-Reason") != "test" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	faults[0].(map[string]any)["times"] = 1.0
	if diff := cmp.Diff(map[string]any{"value": faults}, v.control(200, "GET", "/faults", "")); diff != "" {
		t.Errorf("struck once (-want +got):\n%s", diff)
	}
	v.do("GET", "/me", "")
	if _, err := v.client.Get(v.s.GraphURL() + "/v1.0/me"); err == nil {
		t.Error("the connection did not break")
	}
	if me := v.want(200, "GET", "/me", ""); me["surname"] != "of the future" || me["displayName"] != nil || me["givenName"] != "Adele" {
		t.Errorf("merged: %v", me)
	}
	v.control(204, "DELETE", "/faults", "")
	if got := v.control(200, "GET", "/faults", ""); !cmp.Equal(got, map[string]any{"value": []any{}}) {
		t.Errorf("cleared: %v", got)
	}
	if me := v.want(200, "GET", "/me", ""); me["surname"] != "Vance" {
		t.Errorf("after that: %v", me)
	}
}

func TestControlRequests(t *testing.T) {
	v := newColleaguesClient(t)
	v.want(200, "GET", "/me?$select=id", "")
	v.refused(403, "ErrorAccessDenied", "PATCH", "/me/mailboxSettings", `{"timeZone":"UTC"}`)
	all := v.control(200, "GET", "/requests?method=PATCH&path=/v1.0/ME", "")["value"].([]any)
	if len(all) != 1 {
		t.Fatalf("%d requests", len(all))
	}
	r := all[0].(map[string]any)
	if r["path"] != "/v1.0/me/mailboxSettings" || r["body"] != `{"timeZone":"UTC"}` || r["user"] != simulator.Adele || r["status"] != 403.0 || r["fault"] != false {
		t.Errorf("%v", r)
	}
	if h := r["header"].(map[string]any); h["Authorization"] != nil {
		t.Error("a secret in the log")
	}
	if n := len(v.control(200, "GET", "/requests", "")["value"].([]any)); n != 2 {
		t.Errorf("%d requests", n) // those to the control side are none
	}
	v.control(204, "DELETE", "/requests", "")
	if n := len(v.control(200, "GET", "/requests", "")["value"].([]any)); n != 0 {
		t.Errorf("%d requests after they were forgotten", n)
	}
}

func TestControlSignIn(t *testing.T) {
	v := newColleaguesClient(t)
	client, _ := newClient(t, v.s, "common")
	v.control(200, "PUT", "/signin", `{"user":"megan@contoso.example","withhold":["Calendars.Read"]}`)
	got := v.control(200, "GET", "/signin", "")
	want := map[string]any{"user": simulator.Megan, "refuse": 0.0, "declines": []any{}, "adminOnly": []any{}, "withhold": []any{"Calendars.Read"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	v.s.Consent(simulator.Megan, simulator.ContosoClient, "Calendars.Read")
	result := signIn(t, v.s, client, "User.Read")
	if result.Account.PreferredUsername != simulator.Megan {
		t.Errorf("signed in: %s", result.Account.PreferredUsername)
	}
	v.token = result.AccessToken
	v.want(200, "GET", "/me", "")
	v.refused(403, "ErrorAccessDenied", "GET", "/me/calendars", "")

	consents := "/users/" + simulator.Megan + "/consents/" + simulator.ContosoClient
	if got := v.control(200, "GET", consents, ""); !cmp.Equal(got, map[string]any{"value": []any{"Calendars.Read", "User.Read"}}) {
		t.Errorf("consents: %v", got)
	}
	v.control(204, "DELETE", consents, "")
	if got := v.s.Consented(simulator.Megan, simulator.ContosoClient); len(got) > 0 {
		t.Errorf("withdrawn: %v", got)
	}

	v.control(204, "POST", "/tokens/expire", "")
	v.refused(401, "InvalidAuthenticationToken", "GET", "/me", "")
	v.token = v.control(200, "POST", "/tokens", `{"user":"alex@contoso.example","scopes":["User.Read"]}`)["accessToken"].(string)
	if me := v.want(200, "GET", "/me", ""); me["mail"] != simulator.Alex {
		t.Errorf("the token is %v's", me["mail"])
	}
}

func TestControlSessions(t *testing.T) {
	v := newColleaguesClient(t)
	tokens := func(form url.Values) (int, map[string]any) {
		form.Set("client_id", simulator.ContosoClient)
		resp, out := v.do("POST", v.s.LoginURL()+"/common/oauth2/v2.0/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		return resp.StatusCode, out
	}
	device := v.want(200, "POST", v.s.LoginURL()+"/common/oauth2/v2.0/devicecode", "client_id="+simulator.ContosoClient+"&scope=User.Read+offline_access")
	code := device["user_code"].(string)
	if got := v.control(200, "GET", "/devices", ""); !cmp.Equal(got, map[string]any{"value": []any{code}}) {
		t.Errorf("devices: %v", got)
	}
	v.control(204, "POST", "/devices/"+strings.ToLower(code)+"/approve", "")
	if got := v.control(404, "POST", "/devices/"+code+"/decline", ""); got["error"] != `the device code "`+code+`" is unknown, has expired or was used` {
		t.Errorf("twice: %v", got)
	}
	v.control(204, "PATCH", "/tokens", `{"lifetime":"10m","refreshIn":"5m"}`)
	status, out := tokens(url.Values{"grant_type": {"device_code"}, "device_code": {device["device_code"].(string)}})
	if status != 200 || out["expires_in"] != 600.0 || out["refresh_in"] != 300.0 {
		t.Fatalf("%d %v", status, out)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {out["refresh_token"].(string)}, "scope": {"User.Read"}}
	fails := func(number float64) {
		t.Helper()
		if status, out := tokens(refresh); status != 400 || !cmp.Equal(out["error_codes"], any([]any{number})) {
			t.Errorf("%d %v, want %v", status, out, number)
		}
	}
	v.control(204, "PUT", "/users/"+simulator.Adele+"/refreshError", `{"error":50076}`)
	fails(50076)
	v.control(204, "PUT", "/users/"+simulator.Adele+"/refreshError", `{"error":0}`)
	if status, out := tokens(refresh); status != 200 {
		t.Errorf("%d %v", status, out)
	}
	v.control(204, "POST", "/users/"+simulator.Adele+"/revoke", "")
	fails(50173)

	// The sign-in page refuses.
	v.control(200, "PUT", "/signin", `{"refuse":53003}`)
	device = v.want(200, "POST", v.s.LoginURL()+"/common/oauth2/v2.0/devicecode", "client_id="+simulator.ContosoClient+"&scope=User.Read")
	if got := v.control(409, "POST", "/devices/"+device["user_code"].(string)+"/approve", ""); got["error"] != "approve the device code: AADSTS53003" {
		t.Errorf("blocked: %v", got)
	}
}

func TestControlRegistration(t *testing.T) {
	v := newColleaguesClient(t)
	v.control(204, "PUT", "/registrations/my-app", `{"name":"Mine","redirectUris":["myapp://auth"]}`)
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, _ := v.do("GET", v.s.LoginURL()+"/organizations/oauth2/v2.0/authorize?client_id=my-app&response_type=code&scope=User.Read&redirect_uri=myapp://auth", "")
	if !strings.HasPrefix(resp.Header.Get("Location"), "myapp://auth?code=") {
		t.Errorf("%s %s", resp.Status, resp.Header.Get("Location"))
	}
}

func TestControlTenant(t *testing.T) {
	v := newColleaguesClient(t)
	lee := v.control(200, "POST", "/users", `{"address":"lee@contoso.example","name":"Lee Gu"}`)
	if lee["tenant"] != simulator.ContosoTenant || lee["timeZone"] != "UTC" || lee["id"] == "" {
		t.Errorf("added: %v", lee)
	}
	if all := v.control(200, "GET", "/users", "")["value"].([]any); len(all) != 5 || !cmp.Equal(all[4], any(lee)) {
		t.Errorf("users: %v", all)
	}
	v.token = v.s.Token("lee@contoso.example", "MailboxSettings.Read", "Presence.Read", "Calendars.Read", "Calendars.Read.Shared")

	got := v.control(200, "PATCH", "/users/lee@contoso.example/mailboxSettings", `{"timeZone":"Customized Time Zone","automaticRepliesSetting":{"status":"alwaysEnabled","internalReplyMessage":"Gone"}}`)
	seen := v.want(200, "GET", "/me/mailboxSettings", "")
	delete(seen, "@odata.context")
	if diff := cmp.Diff(seen, got); diff != "" || got["timeZone"] != "Customized Time Zone" || got["automaticRepliesSetting"].(map[string]any)["status"] != "alwaysEnabled" {
		t.Errorf("settings (-Graph +control):\n%s", diff)
	}
	if got := v.control(400, "PATCH", "/users/lee@contoso.example/mailboxSettings", `{"automaticRepliesSetting":{"status":"sometimes"}}`); got["error"] != "Cannot convert the literal 'sometimes' to the expected type 'microsoft.graph.automaticRepliesStatus'." {
		t.Errorf("a wrong status: %v", got)
	}

	v.control(200, "PUT", "/users/lee@contoso.example/presence", `{"availability":"Busy","activity":"InACall","message":"On the phone","messageExpires":"2100-01-01T00:00:00Z"}`)
	if p := v.want(200, "GET", "/me/presence", ""); p["activity"] != "InACall" || p["statusMessage"] == nil {
		t.Errorf("presence: %v", p)
	}
	if p := v.control(200, "GET", "/users/lee@contoso.example/presence", ""); p["availability"] != "Busy" || p["messageExpires"] != "2100-01-01T00:00:00Z" || p["messagePublished"] != nil {
		t.Errorf("presence: %v", p)
	}

	v.control(200, "POST", "/users/lee@contoso.example/calendars", `{"name":"Holidays"}`)
	v.control(200, "PATCH", "/users/lee@contoso.example/calendars/Holidays", `{"name":"Bank holidays","readOnly":true}`)
	calendars := v.control(200, "GET", "/users/lee@contoso.example/calendars", "")["value"].([]any)
	if c := calendars[1].(map[string]any); len(calendars) != 2 || c["name"] != "Bank holidays" || c["readOnly"] != true || c["default"] != false {
		t.Errorf("calendars: %v", calendars)
	}
	events := "/users/lee@contoso.example/calendars/Bank%20holidays/events"
	id := v.control(200, "POST", events, `{"subject":"May Day","isAllDay":true,"showAs":"somethingNew",
		"start":{"dateTime":"2026-05-04T00:00:00","timeZone":"GMT Standard Time"},"end":{"dateTime":"2026-05-05T00:00:00","timeZone":"GMT Standard Time"}}`)["id"].(string)
	e := v.want(200, "GET", "/me/events/"+id, "")
	if e["subject"] != "May Day" || e["showAs"] != "somethingNew" || e["isAllDay"] != true {
		t.Errorf("event: %v", e)
	}
	v.control(204, "PATCH", "/users/lee@contoso.example/events/"+id, `{"isCancelled":true}`)
	if all := v.control(200, "GET", events, "")["value"].([]any); len(all) != 1 || all[0].(map[string]any)["isCancelled"] != true {
		t.Errorf("changed: %v", all)
	}
	v.control(204, "DELETE", "/users/lee@contoso.example/events/"+id, "")
	v.control(404, "DELETE", "/users/lee@contoso.example/events/"+id, "")
	v.control(204, "DELETE", "/users/lee@contoso.example/calendars/Bank%20holidays", "")

	v.control(204, "PUT", "/users/megan@contoso.example/shares/lee@contoso.example", `{"write":true}`)
	shared := v.control(200, "POST", "/users/lee@contoso.example/accepted", `{"owner":"megan@contoso.example"}`)
	if c := v.want(200, "GET", "/me/calendars/"+shared["id"].(string), ""); c["name"] != "Megan Bowen" || c["canEdit"] != true {
		t.Errorf("shared: %v", c)
	}
}

func TestControlRefuses(t *testing.T) {
	v := newColleaguesClient(t)
	for _, test := range []struct {
		status                int
		method, path, body, e string
	}{
		{404, "GET", "/weather", "", `unknown path /control/weather: GET /control lists the operations`},
		{405, "PUT", "/clock", "{}", "want GET, HEAD, PATCH, not PUT"},
		{400, "GET", "/requests?methd=GET", "", `unknown query parameter "methd"; known query parameters: method, path`},
		{400, "GET", "/users?path=/", "", `unknown query parameter "path"`},
		{400, "PATCH", "/clock", "", `the body is empty: want a JSON object`},
		{400, "PATCH", "/clock", "{", `the body is not JSON: unexpected EOF`},
		{400, "PATCH", "/clock", "[]", "the body: want an object, not a JSON array"},
		{400, "PATCH", "/clock", "{} {}", `the body continues after the JSON object`},
		{400, "POST", "/meetings", `{"link": "x"}`, `unknown field "link"; known fields: invited, joinUrl, lobby, meetingId, organizer, passcode, presenters, recorded, subject`},
		{400, "POST", "/groups", `{"list": true}`, `unknown field "list"; known fields: address, id, members, name, security`},
		{400, "PATCH", "/clock", `{"offste":"1h"}`, `unknown field "offste"; known fields: advance, frozen, now, offset`},
		{400, "PATCH", "/clock", `{"Offset":"1h"}`, `unknown field "Offset"; known fields: advance, frozen, now, offset`},
		{400, "POST", "/users", `{"address":"lee@contoso.example","admin":true}`, `unknown field "admin"; known fields: address, department, id, jobTitle, mail, manager, name, personal, photo, tenant, timeZone`},
		{400, "PATCH", "/users/adele@contoso.example/mailboxSettings", `{"colour":"red"}`,
			`unknown property "colour" of mailboxSettings; known properties: archiveFolder, automaticRepliesSetting, dateFormat, delegateMeetingMessageDeliveryOptions, language, timeFormat, timeZone, userPurpose, workingHours`},
		{400, "POST", "/faults", `{"claims":"nbf"}`, `claims: want JSON, not "nbf"`},
		{400, "POST", "/faults", `{"truncate":-1}`, "truncate: want at least 0, not -1"},
		{400, "PATCH", "/clock", `{"offset":1}`, "offset: want a string, not a JSON number"},
		{400, "PATCH", "/clock", `{"offset":"1 hour"}`, `offset: want a duration such as "1m30s", not "1 hour"`},
		{400, "PATCH", "/clock", `{"offset":"1h","advance":"1h"}`, "want one of now, offset and advance"},
		{400, "PATCH", "/clock", `{"now":"noon"}`, `want a time such as "2026-07-01T09:00:00Z", not "noon"`},
		{400, "POST", "/faults", `{}`, `the fault has no effect: want one of delay, reset, truncate, status, claims, retryAfter, header, body and merge`},
		{400, "POST", "/faults", `{"status":42}`, "status: want 200 to 599, not 42"},
		{400, "POST", "/faults", `{"status":503,"path":"me"}`, `path: want a path prefix such as /v1.0/me/events, not "me"`},
		{400, "POST", "/faults", `{"status":503,"method":"get"}`, `method: want upper case, such as GET, not "get"`},
		{400, "POST", "/faults", `{"delay":"5"}`, `delay: want a duration such as "1m30s", not "5"`},
		{400, "POST", "/faults", `{"status":503,"times":"all"}`, "times: want a whole number, not a JSON string"},
		{400, "PUT", "/signin", `{"user":"nobody@contoso.example"}`, `user: no user "nobody@contoso.example"`},
		{400, "PUT", "/signin", `{"refuse":1}`, "refuse: the simulator has no error AADSTS1"},
		{400, "PUT", "/signin", `{"declines":["Calendar.Read"]}`, `declines: unknown permission "Calendar.Read"`},
		{400, "PUT", "/signin", `{"declines":"Mail.Read"}`, "declines: want an array, not a JSON string"},
		{404, "POST", "/devices/ABC/approve", "", `the device code "ABC" is unknown, has expired or was used`},
		{400, "POST", "/tokens", `{"user":"adele@contoso.example","scopes":["All"]}`, `scopes: unknown permission "All"`},
		{404, "POST", "/tokens", `{"user":"nobody@contoso.example"}`, `no user "nobody@contoso.example"`},
		{400, "PATCH", "/tokens", `{"lifetime":"-1h"}`, `lifetime: want more than 0, not -1h0m0s`},
		{400, "PUT", "/registrations/a", `{"clientId":"b"}`, `clientId: want "a", as in the path, not "b"`},
		{400, "POST", "/users", `{"address":"lee"}`, `address: want one such as megan@contoso.example, not "lee"`},
		{409, "POST", "/users", `{"address":"ADELE@contoso.example"}`, `address: want an unused address, not "ADELE@contoso.example"`},
		{409, "POST", "/rooms", `{"address":"ADELE@contoso.example"}`, `address: want an unused address, not "ADELE@contoso.example"`},
		{409, "POST", "/users", `{"address":"lee@contoso.example","id":"87d349ed-44d7-43e1-9a83-5f2406dee5bd"}`, `id: want an unused id, not "87d349ed-44d7-43e1-9a83-5f2406dee5bd"`},
		{404, "POST", "/users/nobody@contoso.example/revoke", "", `no user "nobody@contoso.example"`},
		{400, "PUT", "/users/adele@contoso.example/refreshError", `{"error":7}`, "error: the simulator has no error AADSTS7"},
		{400, "PATCH", "/users/adele@contoso.example/mailboxSettings", `{"timeZone":1}`, "timeZone: want a string"},
		{400, "PUT", "/users/adele@contoso.example/presence", `{"outOfOffice":"yes"}`, "outOfOffice: want true or false, not a JSON string"},
		{400, "POST", "/users/adele@contoso.example/calendars", `{}`, `name is required`},
		{404, "GET", "/users/adele@contoso.example/calendars/Sports/events", "", `no calendar "Sports" in the mailbox adele@contoso.example`},
		{409, "DELETE", "/users/adele@contoso.example/calendars/Calendar", "", "the default calendar cannot be removed"},
		{400, "POST", "/users/adele@contoso.example/calendars/Calendar/events", `{"subject":"x"}`, `start is required, such as {"dateTime": "2026-07-01T09:00:00", "timeZone": "UTC"}`},
		{400, "POST", "/users/adele@contoso.example/calendars/Calendar/events", `{"colour":"red"}`, `unknown property "colour" of event; known properties: allowNewTimeProposals, attachments, attendees, body, bodyPreview, calendar, cancelledOccurrences, categories, changeKey, createdDateTime, end, extensions, hasAttachments, hideAttendees, iCalUId, id, importance, isAllDay, isCancelled, isDraft, isOnlineMeeting, isOrganizer, isReminderOn, lastModifiedDateTime, location, locations, multiValueExtendedProperties, occurrenceId, onlineMeeting, onlineMeetingProvider, onlineMeetingUrl, organizer, originalEndTimeZone, originalStart, originalStartTimeZone, recurrence, reminderMinutesBeforeStart, responseRequested, responseStatus, sensitivity, seriesMasterId, showAs, singleValueExtendedProperties, start, subject, transactionId, type, uid, webLink`},
		{400, "POST", "/users/adele@contoso.example/calendars/Calendar/events",
			`{"start":{"dateTime":"2026-07-01T09:00:00","timeZone":"Atlantis"},"end":{"dateTime":"2026-07-01T10:00:00","timeZone":"Atlantis"}}`,
			"A valid TimeZone value must be specified. The following TimeZone value is not supported: 'Atlantis'."},
		{404, "PATCH", "/users/adele@contoso.example/events/AAMk", `{"subject":"x"}`, "The specified object was not found in the store."},
		{409, "POST", "/users/adele@contoso.example/accepted", `{"owner":"megan@contoso.example"}`, "megan@contoso.example shares nothing with adele@contoso.example"},
	} {
		if got := v.control(test.status, test.method, test.path, test.body)["error"]; got != test.e {
			t.Errorf("%s %s %s: %v, want %s", test.method, test.path, test.body, got, test.e)
		}
	}
}

func TestControlIsLocal(t *testing.T) {
	for address, local := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": false} {
		s := simulator.Contoso(simulator.Options{Address: address})
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		v := graphClient{t, s, "", &http.Client{Transport: s.Transport()}}
		if local {
			v.want(200, "GET", s.ControlURL(), "")
			continue
		}
		const want = "the control API is available on a loopback address only: the simulator listens beyond this machine"
		if got := v.want(403, "GET", s.LoginURL()+"/control/users", ""); s.ControlURL() != "" || got["error"] != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
