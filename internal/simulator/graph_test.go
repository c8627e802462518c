package simulator_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A graphClient calls Graph without a library.
type graphClient struct {
	t      *testing.T
	s      *simulator.Simulator
	token  string
	client *http.Client
}

func newGraphClient(t *testing.T, scopes ...string) graphClient {
	t.Helper()
	s := simulator.Contoso(simulator.Options{})
	return graphClient{t, s, s.Token(simulator.Adele, scopes...), &http.Client{Transport: s.Transport()}}
}

// do sends a request and decodes its response; headers are pairs.
func (v graphClient) do(method, path, body string, headers ...string) (*http.Response, map[string]any) {
	v.t.Helper()
	if !strings.HasPrefix(path, "https:") {
		path = v.s.GraphURL() + "/v1.0" + path
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if v.token != "" {
		r.Header.Set("Authorization", "Bearer "+v.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	var out map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			v.t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return resp, out
}

// want calls do and expects a status.
func (v graphClient) want(status int, method, path, body string, headers ...string) map[string]any {
	v.t.Helper()
	resp, out := v.do(method, path, body, headers...)
	if resp.StatusCode != status {
		v.t.Fatalf("%s %s: %s %v, want %d", method, path, resp.Status, out, status)
	}
	return out
}

// refused expects an error.
func (v graphClient) refused(status int, code, method, path, body string, headers ...string) {
	v.t.Helper()
	resp, out := v.do(method, path, body, headers...)
	e, _ := out["error"].(map[string]any)
	inner, _ := e["innerError"].(map[string]any)
	if resp.StatusCode != status || e["code"] != code {
		v.t.Errorf("%s %s: %s %v, want %d %s", method, path, resp.Status, out, status, code)
		return
	}
	if e["message"] == "" || inner["request-id"] != resp.Header.Get("request-id") || resp.Header.Get("request-id") == "" {
		v.t.Errorf("%s %s: incomplete error %v", method, path, out)
	}
}

func TestToken(t *testing.T) {
	v := newGraphClient(t, "User.Read")
	v.want(200, "GET", "/me", "")
	v.s.ExpireAccessTokens()
	v.refused(401, "InvalidAuthenticationToken", "GET", "/me", "")
	for _, token := range []string{"", "made up"} {
		v.token = token
		v.refused(401, "InvalidAuthenticationToken", "GET", "/me", "")
		if resp, _ := v.do("GET", "/me", ""); !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("WWW-Authenticate: %q", resp.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestMe(t *testing.T) {
	v := newGraphClient(t, "User.Read")
	me := v.want(200, "GET", "/me", "")
	if me["displayName"] != "Adele Vance" || me["mail"] != simulator.Adele || me["id"] != v.s.Users()[0].ID {
		t.Errorf("me: %v", me)
	}
	me = v.want(200, "GET", "/me?$select=id,userType", "")
	delete(me, "@odata.context")
	if want := map[string]any{"id": v.s.Users()[0].ID, "userType": nil}; !cmp.Equal(me, want) {
		t.Errorf("selected: %v, want %v", me, want)
	}
	v.refused(400, "RequestBroker--ParseUri", "GET", "/me?$select=shoeSize", "")
	v.refused(400, "BadRequest", "GET", "/me?$top=1", "")
	v.refused(501, "NotSimulated", "GET", "/me/shoes", "")
	v.refused(405, "Request_BadRequest", "PUT", "/me", "")
	v.want(200, "GET", "/users/"+simulator.Adele, "")

	megan := v.s.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
	v.refused(403, "Authorization_RequestDenied", "GET", "/users/megan@contoso.example", "")
	v.token = v.s.Token(simulator.Adele, "User.ReadBasic.All")
	if got := v.want(200, "GET", "/users/megan@contoso.example?$select=id", "")["id"]; got != megan.ID {
		t.Errorf("Megan's id: %v, want %s", got, megan.ID)
	}
	v.refused(404, "Request_ResourceNotFound", "GET", "/users/nobody@contoso.example", "")
}

// Every operation with its least permission, and with one that is not enough.
func TestPermissions(t *testing.T) {
	const day = "?startDateTime=2026-01-01T00:00:00Z&endDateTime=2026-01-02T00:00:00Z"
	body := `{"subject":"x","start":{"dateTime":"2026-01-01T10:00:00","timeZone":"UTC"},"end":{"dateTime":"2026-01-01T11:00:00","timeZone":"UTC"}}`
	for _, test := range []struct{ method, path, body, least, lower string }{
		{"GET", "/me", "", "User.Read", "Mail.Read"},
		{"GET", "/me/mailboxSettings", "", "MailboxSettings.Read", "User.Read"},
		{"GET", "/me/mailboxSettings", "", "MailboxSettings.ReadWrite", "Calendars.ReadWrite"},
		{"GET", "/me/mailboxSettings/automaticRepliesSetting", "", "MailboxSettings.Read", "User.Read"},
		{"PATCH", "/me/mailboxSettings", `{"timeZone":"UTC"}`, "MailboxSettings.ReadWrite", "MailboxSettings.Read"},
		{"GET", "/me/calendars", "", "Calendars.ReadBasic", "User.Read"},
		{"GET", "/me/calendar", "", "Calendars.ReadBasic", "User.Read"},
		{"GET", "/me/calendarView" + day, "", "Calendars.ReadBasic", "MailboxSettings.ReadWrite"},
		{"GET", "/me/calendar/calendarView" + day, "", "Calendars.Read", "Calendars.Read.Shared"},
		{"GET", "/me/calendars/{calendar}/calendarView" + day, "", "Calendars.Read", "User.Read"},
		{"POST", "/me/events", body, "Calendars.ReadWrite", "Calendars.Read"},
		{"POST", "/me/calendars/{calendar}/events", body, "Calendars.ReadWrite", "Calendars.Read"},
		{"GET", "/me/events/{event}", "", "Calendars.ReadBasic", "User.Read"},
		{"GET", "/me/events/{event}", "", "Calendars.ReadWrite", "MailboxSettings.ReadWrite"},
		{"PATCH", "/me/events/{event}", `{"subject":"y"}`, "Calendars.ReadWrite", "Calendars.Read"},
		{"DELETE", "/me/events/{event}", "", "Calendars.ReadWrite", "Calendars.Read"},
		{"GET", "/users/megan@contoso.example/calendarView" + day, "", "Calendars.Read.Shared", "Calendars.ReadWrite"},
		{"GET", "/users/megan@contoso.example/calendars", "", "Calendars.Read.Shared", "Calendars.Read"},
		{"POST", "/users/megan@contoso.example/events", body, "Calendars.ReadWrite.Shared", "Calendars.ReadWrite"},
		{"GET", "/users/" + simulator.Adele + "/calendarView" + day, "", "Calendars.Read", "Calendars.Read.Shared"},
		{"GET", "/groups/{group}/calendarView" + day, "", "Group.Read.All", "Calendars.ReadWrite"},
		{"POST", "/groups/{group}/events", body, "Group.ReadWrite.All", "Group.Read.All"},
	} {
		t.Run(test.method+" "+test.least+" "+test.path, func(t *testing.T) {
			v := newGraphClient(t)
			v.s.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
			v.s.Share("megan@contoso.example", simulator.Adele, true)
			group := v.s.AddGroup(simulator.Group{Name: "Project", Address: "project@contoso.example", Members: []string{simulator.Adele}})
			id := v.s.AddEvent(simulator.Adele, "", simulator.Event{Start: time.Now(), End: time.Now()})
			path := strings.NewReplacer("{calendar}", v.s.Calendars(simulator.Adele)[1].ID, "{event}", url.PathEscape(id), "{group}", group.ID).Replace(test.path)

			code := "ErrorAccessDenied"
			if test.path == "/me" {
				code = "Authorization_RequestDenied"
			}
			v.token = v.s.Token(simulator.Adele, test.lower)
			v.refused(403, code, test.method, path, test.body)
			v.token = v.s.Token(simulator.Adele, test.least)
			if resp, out := v.do(test.method, path, test.body); resp.StatusCode >= 300 {
				t.Errorf("with %s: %s %v", test.least, resp.Status, out)
			}
		})
	}
}

func TestMailboxSettings(t *testing.T) {
	v := newGraphClient(t, "MailboxSettings.ReadWrite")
	before := v.s.AutomaticReplies(simulator.Adele)
	if before.Status != "disabled" || !strings.HasPrefix(before.InternalReply, "<html>") {
		t.Fatalf("at first: %+v", before)
	}

	// Only the given properties change; text becomes a document.
	v.want(200, "PATCH", "/me/mailboxSettings", `{"automaticRepliesSetting":{"status":"Scheduled","internalReplyMessage":"Gone",
		"scheduledStartDateTime":{"dateTime":"2026-07-01T09:00:00","timeZone":"W. Europe Standard Time"},
		"scheduledEndDateTime":{"dateTime":"2026-07-02T00:00:00.0000000","timeZone":"America/New_York"}}}`)
	after := v.s.AutomaticReplies(simulator.Adele)
	want := before
	want.Status, want.InternalReply = "scheduled", "<html>\n<body>\nGone\n</body>\n</html>\n"
	want.Start, want.End = time.Date(2026, 7, 1, 7, 0, 0, 0, time.UTC), time.Date(2026, 7, 2, 4, 0, 0, 0, time.UTC)
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("after the change (-want +got):\n%s", diff)
	}
	got := v.want(200, "GET", "/me/mailboxSettings?$select=automaticRepliesSetting,timeZone", "")
	if len(got) != 3 || got["timeZone"] != "W. Europe Standard Time" {
		t.Errorf("selected: %v", got)
	}
	replies := got["automaticRepliesSetting"].(map[string]any)
	if !cmp.Equal(replies["scheduledStartDateTime"], any(map[string]any{"dateTime": "2026-07-01T07:00:00.0000000", "timeZone": "UTC"})) {
		t.Errorf("start: %v", replies["scheduledStartDateTime"])
	}
	alone := v.want(200, "GET", "/me/mailboxSettings/automaticRepliesSetting", "")
	delete(alone, "@odata.context")
	if diff := cmp.Diff(replies, alone); diff != "" {
		t.Errorf("automaticRepliesSetting alone:\n%s", diff)
	}

	for body, code := range map[string]string{
		`{"automaticRepliesSetting":{"scheduledEndDateTime":{"dateTime":"2026-06-30T00:00:00","timeZone":"UTC"}}}`:      "ErrorInvalidParameter",
		`{"automaticRepliesSetting":{"scheduledEndDateTime":{"dateTime":"2026-08-30T00:00:00","timeZone":"Atlantis"}}}`: "TimeZoneNotSupportedException",
		`{"automaticRepliesSetting":{"status":"sometimes"}}`:                                                            "BadRequest",
		`{"automaticRepliesSetting":{"color":"red"}}`:                                                                   "BadRequest",
		`{"color":"red"}`:         "BadRequest",
		`{`:                       "BadRequest",
		`{"timeZone":"Atlantis"}`: "ErrorInvalidTimeZone",
	} {
		v.refused(400, code, "PATCH", "/me/mailboxSettings", body)
	}
	if diff := cmp.Diff(after, v.s.AutomaticReplies(simulator.Adele)); diff != "" {
		t.Errorf("a refused change changed:\n%s", diff)
	}

	v.s.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
	v.refused(403, "ErrorAccessDenied", "GET", "/users/megan@contoso.example/mailboxSettings", "")
}

func TestGzip(t *testing.T) {
	v := newGraphClient(t, "MailboxSettings.ReadWrite")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(`{"timeZone":"UTC"}`))
	z.Close()
	v.want(200, "PATCH", "/me/mailboxSettings", b.String(), "Content-Encoding", "gzip")
	if got := v.s.TimeZone(simulator.Adele); got != "UTC" {
		t.Errorf("time zone %q", got)
	}
	if got := v.s.Requests()[0].Body; string(got) != `{"timeZone":"UTC"}` {
		t.Errorf("recorded %q", got)
	}
	v.s.RefuseGzip(true)
	v.refused(415, "UnsupportedMediaType", "PATCH", "/me/mailboxSettings", b.String(), "Content-Encoding", "gzip")
}

func TestRequestsAreRecorded(t *testing.T) {
	v := newGraphClient(t, "User.Read")
	var hooked []string
	v.s.OnRequest(func(r simulator.Request) { hooked = append(hooked, r.Method+" "+r.Path); _ = v.s.Total() })
	v.want(200, "GET", "/me?$select=id", "")
	v.refused(403, "ErrorAccessDenied", "GET", "/me/calendars", "")
	client, _ := newClient(t, v.s, "common")
	signIn(t, v.s, client, "User.Read")

	requests := v.s.Requests()
	if r := requests[0]; r.Method != "GET" || r.Path != "/v1.0/me" || r.Query.Get("$select") != "id" || r.User != simulator.Adele || r.Status != 200 {
		t.Errorf("first: %+v", r)
	}
	if v.s.Count("GET", "/v1.0/ME") != 2 || v.s.Count("", "/v1.0/me/calendars") != 1 || v.s.Total() != len(requests) || len(hooked) != len(requests) {
		t.Errorf("%d, %d, %d requests of %d, %d hooked", v.s.Count("GET", "/v1.0/ME"), v.s.Count("", "/v1.0/me/calendars"), v.s.Total(), len(requests), len(hooked))
	}
	for _, r := range requests {
		if r.Header.Get("Authorization") != "" || strings.Contains(string(r.Body), "verifier=verifier") {
			t.Errorf("a secret in the log: %v %s", r.Header, r.Body)
		}
	}
}

func TestFaults(t *testing.T) {
	empty, broken := "", `{"value":`
	for name, test := range map[string]struct {
		fault  simulator.Fault
		status int
		retry  string
		body   string
	}{
		"throttled":      {simulator.Fault{Status: 429, RetryAfter: "7"}, 429, "7", `"TooManyRequests"`},
		"fraction":       {simulator.Fault{Status: 503, RetryAfter: "1.9"}, 503, "1.9", `"ServiceUnavailable"`},
		"date":           {simulator.Fault{Status: 503, RetryAfter: "Thu, 01 Jan 2026 00:00:00 GMT"}, 503, "Thu, 01 Jan 2026 00:00:00 GMT", ""},
		"absent":         {simulator.Fault{Status: 429}, 429, "", ""},
		"gateway":        {simulator.Fault{Status: 504}, 504, "", `"GatewayTimeout"`},
		"code":           {simulator.Fault{Status: 500, Code: "UnknownError"}, 500, "", `"UnknownError"`},
		"empty":          {simulator.Fault{Body: &empty}, 200, "", ""},
		"broken":         {simulator.Fault{Body: &broken}, 200, "", `{"value":`},
		"challenge":      {simulator.Fault{Status: 401, Header: http.Header{"Www-Authenticate": {`Bearer claims="e30="`}}}, 401, "", `"InvalidAuthenticationToken"`},
		"unknown member": {simulator.Fault{Change: func(b map[string]any) { b["displayName"] = "from the future" }}, 200, "", "from the future"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newGraphClient(t, "User.Read")
			test.fault.Path = "/v1.0/me"
			v.s.Fail(test.fault)
			for i := range 2 {
				r, _ := http.NewRequestWithContext(t.Context(), "GET", v.s.GraphURL()+"/v1.0/me", nil)
				r.Header.Set("Authorization", "Bearer "+v.token)
				resp, err := v.client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if i == 1 {
					if resp.StatusCode != 200 || !strings.Contains(string(b), "Adele Vance") || v.s.Requests()[1].Fault {
						t.Errorf("after the fault: %s %s", resp.Status, b)
					}
					continue
				}
				if got := resp.Header.Get("WWW-Authenticate"); got != test.fault.Header.Get("WWW-Authenticate") {
					t.Errorf("WWW-Authenticate %q", got)
				}
				if resp.StatusCode != test.status || resp.Header.Get("Retry-After") != test.retry || !strings.Contains(string(b), test.body) || test.fault.Body == &empty && len(b) > 0 {
					t.Errorf("got %s, Retry-After %q, %s", resp.Status, resp.Header.Get("Retry-After"), b)
				}
			}
		})
	}
}

// The write happens but its response is lost.
func TestAnswerIsLost(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"reset":   {Method: "PATCH", Reset: true, Done: true},
		"gateway": {Method: "PATCH", Status: 504, Done: true},
		"undone":  {Method: "PATCH", Reset: true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newGraphClient(t, "MailboxSettings.ReadWrite")
			v.s.Fail(fault)
			r, _ := http.NewRequestWithContext(t.Context(), "PATCH", v.s.GraphURL()+"/v1.0/me/mailboxSettings", strings.NewReader(`{"timeZone":"UTC"}`))
			r.Header.Set("Authorization", "Bearer "+v.token)
			resp, err := v.client.Do(r)
			if fault.Reset {
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("want a broken connection, not %v", err)
				}
			} else if err != nil || resp.StatusCode != fault.Status {
				t.Errorf("%v, %v", resp, err)
			}
			if got := v.s.TimeZone(simulator.Adele) == "UTC"; got != fault.Done {
				t.Errorf("carried out: %t, want %t", got, fault.Done)
			}
		})
	}
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newGraphClient(t, "User.Read")
		v.s.Fail(simulator.Fault{Delay: time.Minute})
		start := time.Now()
		v.want(200, "GET", "/me", "")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("answered after %s, want 1m", took)
		}

		v.s.Fail(simulator.Fault{Delay: simulator.Forever})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "GET", v.s.GraphURL()+"/v1.0/me", nil)
		if _, err := v.client.Do(r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request without an answer ended with %v", err)
		}
	})
}

func TestMailboxConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newGraphClient(t, "MailboxSettings.Read", "User.Read")
		v.s.Fail(simulator.Fault{Path: "/v1.0/me/mailboxSettings", Delay: time.Minute, Times: 4})
		var inflight sync.WaitGroup
		for range 4 {
			inflight.Go(func() { v.want(200, "GET", "/me/mailboxSettings", "") })
		}
		synctest.Wait()
		v.refused(429, "ApplicationThrottled", "GET", "/me/mailboxSettings", "")
		v.want(200, "GET", "/me", "")
		inflight.Wait()
		v.want(200, "GET", "/me/mailboxSettings", "")
	})
}

func TestOtherHosts(t *testing.T) {
	v := newGraphClient(t)
	if _, err := v.client.Get("https://elsewhere.example/v1.0/me"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("elsewhere: %v", err)
	}
}

// server starts the server and returns a client that trusts it.
func (v graphClient) server() *http.Client {
	v.t.Helper()
	if err := v.s.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = v.s.Close() })
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(v.s.CA()) {
		v.t.Fatal("the authority is not a certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	v.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestServer(t *testing.T) {
	v := newGraphClient(t, "User.Read", "MailboxSettings.ReadWrite")
	memory := v.client
	v.client = v.server()
	transport := v.client.Transport
	resp, _ := v.do("GET", "/me", "")
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("%s %s, want HTTP/2.0 200", resp.Proto, resp.Status)
	}
	// The certificate covers localhost too.
	u, _ := url.Parse(v.s.GraphURL())
	v.want(200, "GET", "https://localhost:"+u.Port()+"/v1.0/me", "")

	// The in-memory transport still works.
	v.client = memory
	v.want(200, "GET", "/me", "")

	// A hanging request does not block Close.
	arrived := make(chan struct{})
	v.s.Fail(simulator.Fault{Delay: simulator.Forever, Change: func(map[string]any) { close(arrived) }})
	failed := make(chan error)
	go func() {
		r, _ := http.NewRequest("GET", v.s.GraphURL()+"/v1.0/me", nil)
		r.Header.Set("Authorization", "Bearer "+v.token)
		_, err := (&http.Client{Transport: transport}).Do(r)
		failed <- err
	}()
	<-arrived
	if err := v.s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("a hanging request was answered")
	}
}

// Our responses have every property of Microsoft's published examples.
func TestPublishedExamples(t *testing.T) {
	const window = "?startDateTime=2026-01-01T00:00:00Z&endDateTime=2026-01-02T00:00:00Z"
	v := newGraphClient(t, "User.Read", "MailboxSettings.Read", "Calendars.Read")
	at := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	id := v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: at, End: at.Add(time.Hour)})
	ours := map[string]string{
		"/v1.0/me":                 "/me",
		"/v1.0/me/mailboxSettings": "/me/mailboxSettings",
		"/v1.0/me/mailboxSettings/automaticRepliesSetting": "/me/mailboxSettings/automaticRepliesSetting",
		"/v1.0/me/calendar":              "/me/calendar",
		"/v1.0/me/calendars":             "/me/calendars",
		"/v1.0/me/calendarView":          "/me/calendarView" + window,
		"/v1.0/me/calendar/calendarView": "/me/calendar/calendarView" + window,
		"/v1.0/me/calendar/events":       "/me/calendar/events",
		"/v1.0/me/events/":               "/me/events/" + id,
	}
	checked := 0
	for _, file := range []string{"users.json", "mailbox-settings.json", "calendar.json"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var examples []struct {
			Method, URL  string
			ResponseBody any
		}
		if err := json.Unmarshal(data, &examples); err != nil {
			t.Fatal(err)
		}
		for _, e := range examples {
			path, _, _ := strings.Cut(strings.TrimPrefix(e.URL, "https://graph.microsoft.com"), "?")
			if rest, ok := strings.CutPrefix(path, "/v1.0/me/events/"); ok && !strings.Contains(rest, "/") {
				path = "/v1.0/me/events/"
			}
			ask, ok := ours[path]
			if !ok || e.Method != "GET" {
				continue
			}
			checked++
			published, got := first(e.ResponseBody), first(v.want(200, "GET", ask, ""))
			for k := range published {
				if _, ok := got[k]; !ok && !strings.Contains(k, "@odata.") {
					t.Errorf("GET %s: %s is missing", ask, k)
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d examples were compared", checked)
	}
}

// first returns the entity, or the first one of a collection.
func first(body any) map[string]any {
	m, _ := body.(map[string]any)
	if list, ok := m["value"].([]any); ok && len(list) > 0 {
		m, _ = list[0].(map[string]any)
	}
	return m
}

// names returns the subjects or names of a collection.
func names(body map[string]any, key string) []string {
	var out []string
	for _, v := range body["value"].([]any) {
		out = append(out, v.(map[string]any)[key].(string))
	}
	slices.Sort(out)
	return out
}
