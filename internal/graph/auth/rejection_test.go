package auth_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// Tokens that Graph keeps rejecting are renewed after growing pauses.
func TestRenewPausesWhileGraphRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		token := w.token(s)
		n := w.tokens()
		var pauses []time.Duration
		for range 8 {
			for {
				next, err := s.Renew(t.Context(), token, "")
				var rejected *graph.RejectedError
				if errors.As(err, &rejected) {
					pauses = append(pauses, rejected.RetryAfter)
					// Another caller that rejects the same token does not extend the pause.
					if _, err := s.Renew(t.Context(), token, ""); !errors.As(err, &rejected) || rejected.RetryAfter != pauses[len(pauses)-1] {
						t.Errorf("second caller: %v", err)
					}
					time.Sleep(rejected.RetryAfter)
					continue
				}
				if err != nil || next == token {
					t.Fatalf("Renew: the same token: %v, %v", next == token, err)
				}
				token = next
				break
			}
		}
		want := []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
		if got := w.tokens() - n; got != 8 {
			t.Errorf("%d renewals, want 8", got)
		}
		wantStatus(t, s, auth.SignedIn, "")

		// A token that was accepted meanwhile and renewed as usual starts over.
		time.Sleep(2 * time.Hour)
		token = w.token(s)
		if _, err := s.Renew(t.Context(), token, ""); err != nil {
			t.Errorf("after a usual renewal: %v", err)
		}
	})
}

// Polling while Graph answers 401 costs a few tokens, and each is sent once to the path that rejects it.
func TestPollingWhileGraphRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		sent := map[string]int{}
		c, err := graph.New(graph.Options{Root: w.sim.GraphURL(), Tokens: s, Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/mailboxSettings") {
				sent[r.Header.Get("Authorization")]++
			}
			return w.sim.Transport().RoundTrip(r)
		})})
		if err != nil {
			t.Fatal(err)
		}
		n := w.tokens()
		w.sim.Fail(simulator.Fault{Path: "/v1.0/me/mailboxSettings", Status: http.StatusUnauthorized, Times: -1})
		for range 10 * 60 {
			_, err := mailbox.TimeZone(t.Context(), c)
			if !graph.IsUnauthorized(err) {
				t.Fatalf("error: %v", err)
			}
			if _, err := directory.SignedIn(t.Context(), c); err != nil {
				t.Fatalf("another path: %v", err)
			}
			time.Sleep(time.Second)
		}
		if got := w.tokens() - n; got < 10 || got > 16 {
			t.Errorf("%d renewals in ten minutes", got)
		}
		for _, count := range sent {
			if count > 1 {
				t.Errorf("a rejected token was sent %d times", count)
			}
		}
		w.sim.ClearFaults()
		time.Sleep(time.Minute)
		if _, err := mailbox.TimeZone(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
}

// Claims of a challenge are part of the renewal, and of the next sign-in if the renewal is refused.
func TestClaimsChallenge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const claims = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
		w := newEnvironment(t)
		w.signedIn(reading...)
		var got []string
		s := w.open(func(o *auth.Options) {
			o.Transport = graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPost {
					body := string(must(io.ReadAll(r.Body)))
					got = append(got, must(url.ParseQuery(body)).Get("claims"))
					r = r.Clone(r.Context())
					r.Body = io.NopCloser(strings.NewReader(body))
				}
				return w.sim.Transport().RoundTrip(r)
			})
		})
		first := w.token(s)
		second, err := s.Renew(t.Context(), first, "")
		if err != nil {
			t.Fatal(err)
		}
		// The claims were not part of the last renewal, so that it does not have to wait.
		third, err := s.Renew(t.Context(), second, claims)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Renew(t.Context(), third, claims); !errors.As(err, new(*graph.RejectedError)) {
			t.Errorf("the same claims again: %v", err)
		}
		if want := []string{"", claims}; !cmp.Equal(got, want) {
			t.Errorf("claims of the renewals: %q, want %q", got, want)
		}

		time.Sleep(time.Minute)
		w.sim.FailRefreshWith(simulator.Adele, simulator.SecondFactorRequired)
		_, err = s.Renew(t.Context(), third, claims)
		wantSignInRequired(t, err, "the organization requires multi-factor authentication (AADSTS50076); run: graph2mqtt login work")
		_, prompts, err := w.signIn(s, reading)
		if err != nil {
			t.Fatal(err)
		}
		if got := must(url.Parse(prompts[0].URL)).Query().Get("claims"); got != claims {
			t.Errorf("claims of the sign-in: %q, want %q", got, claims)
		}
		if _, prompts, err = w.signIn(s, reading); err != nil {
			t.Fatal(err)
		}
		if must(url.Parse(prompts[0].URL)).Query().Has("claims") {
			t.Error("the claims outlived the sign-in")
		}
	})
}
