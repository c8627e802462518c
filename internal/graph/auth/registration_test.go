package auth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func withSecret(secret string) func(*auth.Options) {
	return func(o *auth.Options) { o.ClientID, o.ClientSecret = "web", secret }
}

// A refused secret is named, and tried again once it is replaced or on request.
func TestReplacedClientSecret(t *testing.T) {
	const wrong = "the client_secret (or client_secret_file) is wrong; it must be the secret's value, not its id (AADSTS7000215)"
	register := func(w *environment, secret string) {
		w.sim.Register(simulator.Registration{ClientID: "web", Web: []string{nativeRedirect}, Secret: secret})
	}
	refused := func(t *testing.T) (*environment, *auth.Session) {
		w := newEnvironment(t)
		register(w, "shh-secret")
		s := w.open(withSecret("shh-secret"))
		if _, _, err := w.signIn(s, reading); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		register(w, "shh-secret-2")
		_, err := s.Token(t.Context())
		wantSignInRequired(t, err, wrong)
		wantStatus(t, s, auth.SignInRequired, wrong)
		return w, s
	}
	t.Run("in the configuration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, _ := refused(t)
			wantStatus(t, w.open(withSecret("shh-secret")), auth.SignInRequired, wrong)
			s := w.open(withSecret("shh-secret-2"))
			wantStatus(t, s, auth.SignedIn, "")
			w.token(s)
		})
	})
	t.Run("in Entra ID", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, s := refused(t)
			n := w.tokens()
			if err := s.RetryRefused(t.Context()); !graph.Is(err, graph.SignInRequired) {
				t.Errorf("while it is still refused: %v", err)
			}
			if _, err := s.Token(t.Context()); !graph.Is(err, graph.SignInRequired) {
				t.Errorf("Token: %v", err)
			}
			if got := w.tokens() - n; got != 1 {
				t.Errorf("%d requests, want 1", got)
			}
			register(w, "shh-secret")
			if err := s.RetryRefused(t.Context()); err != nil {
				t.Error(err)
			}
			wantStatus(t, s, auth.SignedIn, "")
			w.token(s)
		})
	})
	t.Run("without a refusal", func(t *testing.T) {
		w := newEnvironment(t)
		s := w.open()
		if err := s.RetryRefused(t.Context()); err != nil || w.sim.Total() != 0 {
			t.Errorf("signed out: %v, %d requests", err, w.sim.Total())
		}
	})
}

// A refusal of the user lasts when the registration is the same one.
func TestRefusedUserIsNotRetriedByReopening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		time.Sleep(2 * time.Hour)
		w.sim.Demand(simulator.Adele, simulator.AccountDisabled)
		if _, err := s.Token(t.Context()); !graph.Is(err, graph.SignInRequired) {
			t.Fatal(err)
		}
		const disabled = "the account is disabled (AADSTS50057); run: graph2mqtt login work"
		wantStatus(t, w.open(func(o *auth.Options) { o.Tenant = simulator.ContosoTenant }), auth.SignInRequired, disabled)
		w.sim.Demand(simulator.Adele, 0)
		if err := s.RetryRefused(t.Context()); err != nil {
			t.Error(err)
		}
		wantStatus(t, s, auth.SignedIn, "")
	})
}
