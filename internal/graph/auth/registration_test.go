package auth_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
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
	signedIn := func(t *testing.T) (*environment, *auth.Session) {
		w := newEnvironment(t)
		register(w, "shh-secret")
		s := w.open(withSecret("shh-secret"))
		if _, _, err := w.signIn(s, reading); err != nil {
			t.Fatal(err)
		}
		return w, s
	}
	refuse := func(t *testing.T, w *environment, s *auth.Session) {
		register(w, "shh-secret-2")
		_, err := s.Token(t.Context())
		wantSignInRequired(t, err, wrong)
		wantStatus(t, s, auth.SignInRequired, wrong)
	}
	t.Run("in the configuration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, s := signedIn(t)
			time.Sleep(2 * time.Hour)
			refuse(t, w, s)
			wantStatus(t, w.open(withSecret("shh-secret")), auth.SignInRequired, wrong)
			s = w.open(withSecret("shh-secret-2"))
			wantStatus(t, s, auth.SignedIn, "")
			w.token(s)
		})
	})
	t.Run("in Entra ID", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, s := signedIn(t)
			time.Sleep(2 * time.Hour)
			refuse(t, w, s)
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
	t.Run("when the file is read again meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, s := signedIn(t)
			time.Sleep(2 * time.Hour)
			refuse(t, w, s)
			register(w, "shh-secret")
			s.MarkForRetry()
			file := filepath.Join(w.dir, "tokens-work")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.WriteFile(file+".new", text, 0o600), os.Rename(file+".new", file)); err != nil {
				t.Fatal(err)
			}
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
		w.sim.FailRefreshWith(simulator.Adele, simulator.AccountDisabled)
		if _, err := s.Token(t.Context()); !graph.Is(err, graph.SignInRequired) {
			t.Fatal(err)
		}
		const disabled = "the account is disabled (AADSTS50057); run: graph2mqtt login work"
		wantStatus(t, w.open(func(o *auth.Options) { o.Tenant = simulator.ContosoTenant }), auth.SignInRequired, disabled)
		w.sim.FailRefreshWith(simulator.Adele, 0)
		if err := s.RetryRefused(t.Context()); err != nil {
			t.Error(err)
		}
		wantStatus(t, s, auth.SignedIn, "")
	})
}

// A secret or certificate that cannot be used is the state of the sign-in, and keeps what is stored.
func TestUnusableRegistration(t *testing.T) {
	const noPEM = "certificate_file: want a private key in PEM form; the file has none"
	other := certificate(t)
	for name, test := range map[string]struct {
		change func(*auth.Options)
		want   string
	}{
		"no certificate": {func(o *auth.Options) { o.Certificate = []byte("shh-secret") }, noPEM},
		"of another key": {func(o *auth.Options) {
			key, _ := pem.Decode(other[bytes.Index(other, []byte("-----BEGIN PRIVATE")):])
			cert, _ := pem.Decode(certificate(t))
			o.Certificate = append(pem.EncodeToMemory(cert), pem.EncodeToMemory(key)...)
		}, "certificate_file: the private key belongs to another certificate"},
		"another key": {func(o *auth.Options) { o.Certificate, o.CredentialKey = []byte("x"), "accounts.work.certificate_file" }, "accounts.work." + noPEM},
		"unreadable": {func(o *auth.Options) {
			o.Unusable = errors.New("accounts.work.certificate_file: open x: no such file or directory")
		}, "accounts.work.certificate_file: open x: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnvironment(t)
			wantStatus(t, w.open(test.change), auth.SignInRequired, test.want)
			w.signedIn(reading...)
			s := w.open(test.change)
			wantStatus(t, s, auth.SignInRequired, test.want)
			if got := s.Status().User.Address; got != simulator.Adele {
				t.Errorf("user: %q", got)
			}
			n := w.sim.Total()
			_, err := s.Token(t.Context())
			wantSignInRequired(t, err, test.want)
			if err := s.RetryRefused(t.Context()); err != nil {
				t.Error(err)
			}
			if more, err := s.Extend(t.Context(), writing); more || err != nil {
				t.Errorf("Extend: %v, %v", more, err)
			}
			_, _, err = w.signIn(s, reading)
			wantError(t, err, "sign in to work: "+test.want)
			_, err = s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(auth.Prompt) { t.Error("prompted") }})
			wantError(t, err, "sign in to work: "+test.want)
			if got := w.sim.Total(); got != n {
				t.Errorf("%d requests", got-n)
			}
			wantStatus(t, w.open(), auth.SignedIn, "")
			if _, err := s.SignOut(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
