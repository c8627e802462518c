package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const tokenPath = "/common/oauth2/v2.0/token"

// The device code is polled at its interval, which slow_down and failures to answer extend by five seconds.
func TestDeviceCodePollingInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		var begin time.Time
		var polls []int
		s := w.open(func(o *auth.Options) {
			o.Transport = graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == tokenPath {
					polls = append(polls, int(time.Since(begin).Round(time.Second).Seconds()))
				}
				return w.sim.Transport().RoundTrip(r)
			})
		})
		w.sim.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/devicecode", Merge: map[string]any{"interval": 7}})
		w.sim.Fail(simulator.Fault{Path: tokenPath, Status: http.StatusBadRequest, Code: "authorization_pending"})
		w.sim.Fail(simulator.Fault{Path: tokenPath, Status: http.StatusBadRequest, Code: "slow_down"})
		w.sim.Fail(simulator.Fault{Path: tokenPath, Status: http.StatusServiceUnavailable})
		w.sim.Fail(simulator.Fault{Path: tokenPath, Reset: true})
		_, err := s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) {
			begin = time.Now()
			if err := w.sim.ApproveDevice(p.Code); err != nil {
				t.Error(err)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{7, 14, 26, 43, 65}; !cmp.Equal(polls, want) {
			t.Errorf("polled after %v seconds, want %v", polls, want)
		}
		w.token(s)
	})
}

// A refused consent continues with fewer permissions, regardless of its number.
func TestDeclinedDeviceCodeStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.open()
		declined := `{"error": "authorization_declined", "error_description": "AADSTS70099: The end user denied the request. Trace ID: 1", "error_codes": [70099]}`
		w.sim.Fail(simulator.Fault{Path: tokenPath, Status: http.StatusBadRequest, Body: &declined})
		var why []string
		_, err := s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{writing, reading}, OnPrompt: func(p auth.Prompt) {
			why = append(why, p.Why)
			if err := w.sim.ApproveDevice(p.Code); err != nil {
				t.Error(err)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"", "the permissions were declined (AADSTS70099)"}, why); diff != "" {
			t.Errorf("why (-want +got):\n%s", diff)
		}
		wantStatus(t, s, auth.SignedIn, "")
	})
}

// The name of an error decides whether the sign-in continues with fewer permissions; its number selects the message.
func TestRefusedSignIn(t *testing.T) {
	const (
		least   = "Microsoft refused even the smallest set of permissions: "
		blocked = "Conditional Access, a policy of the organization, blocks this sign-in; try the other flow: graph2mqtt login work --device-code"
	)
	for name, test := range map[string]struct {
		name, subcode string
		number        int
		prompts       int
		want          string
	}{
		"consent declined":     {"access_denied", "cancel", 65004, 2, least + "the permissions were declined (AADSTS65004)"},
		"personal account":     {"access_denied", "", 0, 2, least + "the permissions were declined"},
		"unknown refusal":      {"access_denied", "", 99999, 2, least + "the permissions were declined (AADSTS99999)"},
		"administrator":        {"consent_required", "", 90094, 2, least + "an administrator of the organization must consent; for a link to send them, run: graph2mqtt permissions work --format link (AADSTS90094)"},
		"unknown consent":      {"consent_required", "", 99999, 2, least + "a permission was withdrawn, or never granted (AADSTS99999)"},
		"sign-in canceled":     {"access_denied", "cancel", 50126, 1, "the sign-in was canceled (AADSTS50126)"},
		"not assigned":         {"access_denied", "", 50105, 1, "the app registration is restricted to assigned users; an administrator assigns users in Entra ID under Enterprise applications, Users and groups (AADSTS50105)"},
		"no tenant":            {"invalid_request", "", 50059, 1, "Microsoft cannot tell the organization from the tenant common; set tenant to its id or domain (AADSTS50059)"},
		"conditional access":   {"interaction_required", "", 530031, 1, blocked + " (AADSTS530031)"},
		"unauthorized":         {"unauthorized_client", "", 0, 1, "the app registration " + simulator.ContosoClient + " does not allow this sign-in; compare client_id and tenant with it"},
		"unknown registration": {"invalid_client", "", 0, 1, "the app registration does not allow public client flows, or client_id is wrong"},
		"expired":              {"login_required", "", 0, 1, "the sign-in has expired or was revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnvironment(t)
			s := w.open()
			prompts := 0
			redirects := make(chan string, 1)
			_, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{writing, reading}, OnPrompt: func(p auth.Prompt) {
				prompts++
				q := url.Values{"error": {test.name}, "state": {must(url.Parse(p.URL)).Query().Get("state")}}
				if test.subcode != "" {
					q.Set("error_subcode", test.subcode)
				}
				if test.number != 0 {
					q.Set("error_description", fmt.Sprintf("AADSTS%d: Something happened. Trace ID: 1", test.number))
				}
				redirects <- nativeRedirect + "?" + q.Encode()
			}}, auth.Browser{PastedRedirects: redirects, OnInvalidRedirect: func(err error) { t.Error(err) }})
			wantSignInRequired(t, err, "sign in to work: "+test.want)
			if prompts != test.prompts {
				t.Errorf("%d prompts, want %d", prompts, test.prompts)
			}
		})
	}
}

// A sign-in whose context ends while the device code is pending ends with it.
func TestDeviceCodeCanceledWhilePolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := w.open().SignInByDevice(ctx, auth.Request{Scopes: [][]string{reading}, OnPrompt: func(auth.Prompt) {}})
		if err == nil || !strings.HasSuffix(err.Error(), "context deadline exceeded") {
			t.Errorf("error: %v, want the deadline", err)
		}
		if got := w.tokens(); got != 11 { // 5 s and MSAL's 50 ms each
			t.Errorf("polled %d times in a minute, want 11", got)
		}
	})
}
