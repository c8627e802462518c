package auth_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const ben = "ben@contoso.example"

// A sign-in that names its user refuses any other, by either flow, and keeps what is stored.
func TestSignInOfNamedUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const refused = "sign in to work: " + ben + " signed in, but only " + simulator.Adele + " is accepted; sign in as " + simulator.Adele + ", or run: graph2mqtt login work"
		w := newEnvironment(t)
		w.sim.AddUser(simulator.User{Address: ben, Name: "Ben", Tenant: simulator.ContosoTenant})
		w.sim.SetSignIn(simulator.SignIn{User: ben})
		s := w.open()
		if got := s.ExpectedUser(); got != "" {
			t.Errorf("expected user before the first sign-in: %q", got)
		}
		device := func(user string) error {
			_, err := s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{reading}, User: user, OnPrompt: func(p auth.Prompt) {
				if err := w.sim.ApproveDevice(p.Code); err != nil {
					t.Error(err)
				}
			}})
			return err
		}
		redirects := make(chan string, 1)
		var prompt auth.Prompt
		browser := func(user string) error {
			_, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, User: user, OnPrompt: func(p auth.Prompt) {
				prompt = p
				redirects <- w.visit(p.URL)
			}}, auth.Browser{PastedRedirects: redirects, OnInvalidRedirect: func(err error) { t.Error(err) }})
			return err
		}
		wantError(t, device(simulator.Adele), refused)
		wantError(t, browser(simulator.Adele), refused)
		if got := must(url.Parse(prompt.URL)).Query().Get("login_hint"); got != simulator.Adele {
			t.Errorf("login_hint %q", got)
		}
		wantStatus(t, s, auth.SignedOut, "not signed in; run: graph2mqtt login work")

		w.sim.SetSignIn(simulator.SignIn{User: simulator.Adele})
		if err := device("ADELE@contoso.example"); err != nil {
			t.Fatal(err)
		}
		if got := s.ExpectedUser(); got != simulator.Adele {
			t.Errorf("expected user: %q", got)
		}
		w.sim.SetSignIn(simulator.SignIn{User: ben})
		wantError(t, browser(simulator.Adele), refused)
		if got := s.Status().User.Address; got != simulator.Adele {
			t.Errorf("%q is signed in", got)
		}
		w.token(s)

		// It stays the expected one when Microsoft requires a new sign-in.
		w.sim.RevokeSessions(simulator.Adele)
		time.Sleep(2 * time.Hour)
		if _, err := s.Token(t.Context()); !graph.Is(err, graph.SignInRequired) {
			t.Fatal(err)
		}
		if got := w.open().ExpectedUser(); got != simulator.Adele {
			t.Errorf("expected user after a refused renewal: %q", got)
		}
		if got := w.open(func(o *auth.Options) { o.User = ben }).ExpectedUser(); got != ben {
			t.Errorf("expected user of the configuration: %q", got)
		}
	})
}

// If the stored sign-in cannot be read, its user is not known; a sign-in that names one still refuses others.
func TestSignInOfNamedUserReplacesUnreadableStore(t *testing.T) {
	w := newEnvironment(t)
	w.sim.AddUser(simulator.User{Address: ben, Name: "Ben", Tenant: simulator.ContosoTenant})
	w.signedIn(reading...)
	if err := os.WriteFile(filepath.Join(w.dir, "tokens-work"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := w.open()
	if got := s.ExpectedUser(); got != "" {
		t.Errorf("expected user: %q", got)
	}
	w.sim.SetSignIn(simulator.SignIn{User: ben})
	redirects := make(chan string, 1)
	_, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, User: simulator.Adele, OnPrompt: func(p auth.Prompt) { redirects <- w.visit(p.URL) }},
		auth.Browser{PastedRedirects: redirects, OnInvalidRedirect: func(err error) { t.Error(err) }})
	if err == nil {
		t.Error("another user was accepted")
	}
	if got := s.Status().State; got != auth.Unreadable {
		t.Errorf("state: %s", got)
	}
}
