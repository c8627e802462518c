package simulator_test

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// raw sends a request and returns its response and what could be read of the body.
func (v graphClient) raw(method, path, body string, headers ...string) (*http.Response, string, error) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.s.GraphURL()+"/v1.0"+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+v.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := v.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// Writes whose effect happens although the response says otherwise, or nothing.
func TestWriteInDoubt(t *testing.T) {
	empty, partial, page := "", `{"id":`, "<html><body>Sign in to the Wi-Fi</body></html>"
	for name, test := range map[string]struct {
		fault  simulator.Fault
		done   bool
		status int
		body   string
		kind   string
	}{
		"504 after the effect":    {simulator.Fault{Status: 504, Done: true}, true, 504, "GatewayTimeout", "application/json"},
		"504 without it":          {simulator.Fault{Status: 504}, false, 504, "GatewayTimeout", "application/json"},
		"201 with an empty body":  {simulator.Fault{Body: &empty}, true, 201, "", "application/json"},
		"201 with a partial body": {simulator.Fault{Body: &partial}, true, 201, partial, "application/json"},
		"a page instead":          {simulator.Fault{Status: 200, Body: &page}, false, 200, page, "text/html"},
		"a page after the effect": {simulator.Fault{Status: 200, Body: &page, Done: true}, true, 200, page, "text/html"},
		"no license":              {simulator.Fault{Status: 403, Code: "Forbidden", Message: "The user has no license."}, false, 403, "The user has no license.", "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newGraphClient(t, "Calendars.ReadWrite")
			v.s.Fail(test.fault)
			resp, body, err := v.raw("POST", "/me/events", lunch(""))
			if err != nil || resp.StatusCode != test.status || !strings.Contains(body, test.body) || test.body == "" && body != "" || !strings.HasPrefix(resp.Header.Get("Content-Type"), test.kind) {
				t.Errorf("%v %v %q", err, resp, body)
			}
			if done := len(v.s.Events(simulator.Adele, "")) == 1; done != test.done {
				t.Errorf("done: %t, want %t", done, test.done)
			}
		})
	}
}

// The connection breaks in the middle of the body, in memory and over HTTPS.
func TestTruncate(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	check := func() {
		t.Helper()
		before := len(v.s.Events(simulator.Adele, ""))
		v.s.Fail(simulator.Fault{Method: "POST", Truncate: 20})
		resp, body, err := v.raw("POST", "/me/events", lunch(""))
		if !errors.Is(err, io.ErrUnexpectedEOF) || resp.StatusCode != 201 || len(body) != 20 || resp.ContentLength < 1000 {
			t.Errorf("%v %v %q", err, resp, body)
		}
		if got := len(v.s.Events(simulator.Adele, "")); got != before+1 {
			t.Errorf("%d events after %d", got, before)
		}
	}
	check()
	v.client = v.server()
	v.client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	check()
}

// A write without any answer.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newGraphClient(t, "Calendars.ReadWrite")
		v.s.Fail(simulator.Fault{Delay: simulator.Forever})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "POST", v.s.GraphURL()+"/v1.0/me/events", strings.NewReader(lunch("")))
		r.Header.Set("Authorization", "Bearer "+v.token)
		if _, err := v.client.Do(r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if len(v.s.Events(simulator.Adele, "")) != 1 {
			t.Error("the write did not happen")
		}
	})
}

// JSON that is valid but no state.
func TestEmptyState(t *testing.T) {
	v := newGraphClient(t, "MailboxSettings.Read", "Presence.Read")
	for _, body := range []string{"{}", "null"} {
		for _, path := range []string{"/me/mailboxSettings", "/me/presence"} {
			v.s.Fail(simulator.Fault{Path: "/v1.0" + path, Body: &body})
			if resp, got, err := v.raw("GET", path, ""); err != nil || resp.StatusCode != 200 || got != body {
				t.Errorf("%s: %v %q, want %s", path, err, got, body)
			}
		}
	}
}

// A 401 for one resource until the faults are cleared, with the usual challenge or one for claims.
func TestLasting401(t *testing.T) {
	v := newGraphClient(t, "User.Read", "MailboxSettings.Read")
	v.s.Fail(simulator.Fault{Path: "/v1.0/me/mailboxSettings", Status: 401, Times: -1})
	for range 3 {
		resp, out := v.do("GET", "/me/mailboxSettings", "")
		if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer ") || strings.Contains(resp.Header.Get("WWW-Authenticate"), "claims") {
			t.Errorf("%s %q %v", resp.Status, resp.Header.Get("WWW-Authenticate"), out)
		}
		v.want(200, "GET", "/me", "")
	}
	v.s.ClearFaults()
	const claims = `{"access_token":{"nbf":{"essential":true,"value":"1767225600"}}}`
	v.s.Fail(simulator.Fault{Path: "/v1.0/me", Claims: claims})
	resp, _ := v.do("GET", "/me", "")
	challenge := resp.Header.Get("WWW-Authenticate")
	if resp.StatusCode != 401 || !strings.Contains(challenge, `error="insufficient_claims"`) || !strings.Contains(challenge, `claims="`+base64.StdEncoding.EncodeToString([]byte(claims))+`"`) {
		t.Errorf("%s %s", resp.Status, challenge)
	}
}

func TestLicenses(t *testing.T) {
	v := newColleaguesClient(t)
	id := v.s.Users()[0].ID
	v.control(204, "DELETE", "/users/"+simulator.Adele+"/presence", "")
	v.control(204, "DELETE", "/users/"+simulator.Adele+"/mailbox", "")
	v.refused(403, "Forbidden", "GET", "/users/"+id+"/presence", "")
	for _, path := range []string{"/me/events", "/me/calendars", "/me/mailboxSettings", "/users/" + simulator.Adele + "/calendar"} {
		v.refused(404, "MailboxNotEnabledForRESTAPI", "GET", path, "")
	}
	v.want(200, "GET", "/me", "")
}

// deviceCode starts a device code sign-in and returns the user code and a function that requests the token.
func (v graphClient) deviceCode(scope string) (code string, poll func() (int, map[string]any)) {
	v.t.Helper()
	form := "client_id=" + simulator.ContosoClient + "&scope=" + url.QueryEscape(scope)
	device := v.want(200, "POST", v.s.LoginURL()+"/common/oauth2/v2.0/devicecode", form)
	return device["user_code"].(string), func() (int, map[string]any) {
		resp, out := v.do("POST", v.s.LoginURL()+"/common/oauth2/v2.0/token", url.Values{
			"client_id": {simulator.ContosoClient}, "grant_type": {"device_code"}, "device_code": {device["device_code"].(string)},
		}.Encode())
		return resp.StatusCode, out
	}
}

// A user who does not consent to a device code can only cancel.
func TestDeviceCodeRefused(t *testing.T) {
	for name, test := range map[string]struct {
		in     simulator.SignIn
		cancel bool
		err    string
		number simulator.AADSTS
	}{
		"canceled":            {simulator.SignIn{}, true, "authorization_declined", simulator.Declined},
		"consent declined":    {simulator.SignIn{Declines: []string{"Calendars.Read"}}, false, "authorization_declined", simulator.Declined},
		"needs administrator": {simulator.SignIn{AdminOnly: []string{"Calendars.Read"}}, false, "authorization_declined", simulator.NeedsAdministrator},
		"conditional access":  {simulator.SignIn{Refuse: simulator.Blocked}, false, "invalid_grant", simulator.Blocked},
		"access policy":       {simulator.SignIn{Refuse: simulator.PolicyBlocked}, false, "invalid_grant", simulator.PolicyBlocked},
		"not assigned":        {simulator.SignIn{Refuse: simulator.NotAssigned}, false, "invalid_grant", simulator.NotAssigned},
	} {
		t.Run(name, func(t *testing.T) {
			v := newGraphClient(t)
			v.s.SetSignIn(test.in)
			code, poll := v.deviceCode("User.Read Calendars.Read")
			if status, out := poll(); status != 400 || out["error"] != "authorization_pending" {
				t.Errorf("at first: %d %v", status, out)
			}
			if test.cancel {
				if err := v.s.DeclineDevice(code); err != nil {
					t.Fatal(err)
				}
			} else if err := v.s.ApproveDevice(code); err == nil {
				t.Error("the page did not refuse")
			}
			status, out := poll()
			if status != 400 || out["error"] != test.err || !cmp.Equal(out["error_codes"], any([]any{float64(test.number)})) {
				t.Errorf("%d %v, want %s AADSTS%d", status, out, test.err, test.number)
			}
		})
	}
}

func TestSlowDown(t *testing.T) {
	v := newGraphClient(t)
	code, poll := v.deviceCode("User.Read")
	v.s.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/token", Status: 400, Code: "slow_down"})
	if status, out := poll(); status != 400 || out["error"] != "slow_down" {
		t.Errorf("%d %v", status, out)
	}
	if err := v.s.ApproveDevice(code); err != nil {
		t.Fatal(err)
	}
	if status, out := poll(); status != 200 {
		t.Errorf("%d %v", status, out)
	}
}

// Responses are compressed for clients that accept it.
func TestCompressedResponse(t *testing.T) {
	v := newGraphClient(t, "User.Read")
	for accept, compressed := range map[string]bool{"gzip": true, "deflate, GZIP;q=0.5": true, "gzip;q=0": false, "br": false, "": false} {
		resp, body, err := v.raw("GET", "/me", "", "Accept-Encoding", accept)
		if err != nil || resp.StatusCode != 200 || (resp.Header.Get("Content-Encoding") == "gzip") != compressed {
			t.Errorf("%q: %v %v", accept, resp, err)
			continue
		}
		var reader io.Reader = strings.NewReader(body)
		if compressed {
			if reader, err = gzip.NewReader(reader); err != nil {
				t.Fatal(err)
			}
		}
		var me map[string]any
		if err := json.NewDecoder(reader).Decode(&me); err != nil || me["displayName"] != "Adele Vance" {
			t.Errorf("%q: %v %v", accept, err, me)
		}
	}
	v.client = v.server()
	if resp, body, err := v.raw("GET", "/me", ""); err != nil || !resp.Uncompressed || !strings.Contains(body, "Adele Vance") {
		t.Errorf("over HTTPS: %v %v", resp, err)
	}
}
