package auth_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const organization = "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11"

// application opens the session of a registered application, which signs in with what credential returns.
func (w *environment) application(credential func() ([]byte, error), change ...func(*auth.ApplicationOptions)) *auth.Application {
	w.t.Helper()
	o := auth.ApplicationOptions{
		Account: "contoso", ClientID: organization, Tenant: simulator.ContosoTenant, Login: w.sim.LoginURL(), Transport: w.sim.Transport(),
		Certificate: credential, CredentialKey: "organizations.contoso.certificate_file",
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&o)
	}
	return must(auth.OpenApplication(o))
}

// newCredential returns a certificate to be registered, and with its key.
func newCredential(t *testing.T) (string, []byte) {
	t.Helper()
	certificate, withKey, err := simulator.NewCertificate(time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return string(certificate), withKey
}

// requests counts the requests for tokens.
func (w *environment) requests() int {
	return w.sim.Count(http.MethodPost, "/"+simulator.ContosoTenant+"/oauth2/v2.0/token")
}

// One token serves all until it expires, nothing is stored, and its roles are known beside those that Exchange may assign.
func TestApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		registered, withKey := newCredential(t)
		w.sim.Register(simulator.Registration{ClientID: organization, Certificates: registered, Roles: []string{"Place.Read.All"}})
		a := w.application(func() ([]byte, error) { return withKey, nil })
		if !slices.Contains(a.Granted(), "Presence.Read.All") {
			t.Error("a permission is missing before the first token")
		}
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() {
				if _, err := a.Token(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		first := must(a.Token(t.Context()))
		if n := w.requests(); n != 1 {
			t.Errorf("%d requests for one token", n)
		}
		if s := a.Status(); s.State != auth.SignedIn || s.Message != "" || !cmp.Equal(s.Granted, []string{"Place.Read.All"}) || a.Personal() {
			t.Errorf("status: %+v", s)
		}
		for role, want := range map[string]bool{"Place.Read.All": true, "Calendars.ReadWrite": true, "Presence.Read.All": false} {
			if got := slices.Contains(a.Granted(), role); got != want {
				t.Errorf("%s: granted %v", role, got)
			}
		}
		time.Sleep(59 * time.Minute)
		if second := must(a.Token(t.Context())); second == first {
			t.Error("it was not renewed before it expires")
		}
		second := must(a.Token(t.Context()))
		if third := must(a.Renew(t.Context(), second, "")); third == second {
			t.Error("a rejected token is used again")
		}
		if n := w.requests(); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		w.sim.Fail(simulator.Fault{Method: http.MethodPost, Path: "/" + simulator.ContosoTenant, Status: http.StatusServiceUnavailable})
		time.Sleep(58 * time.Minute)
		if _, err := a.Token(t.Context()); err != nil {
			t.Errorf("a token that is still valid is not used: %v", err)
		}
	})
}

// A certificate is replaced while the program runs: the next token is requested with the new one, and a refusal is over within a minute.
func TestApplicationCertificateIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		oldRegistered, old := newCredential(t)
		newRegistered, replaced := newCredential(t)
		var mu sync.Mutex
		file := old
		put := func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			file = b
		}
		w.sim.Register(simulator.Registration{ClientID: organization, Certificates: oldRegistered + newRegistered})
		a := w.application(func() ([]byte, error) { mu.Lock(); defer mu.Unlock(); return file, nil })
		w.applicationToken(a)
		put(replaced)
		time.Sleep(time.Hour)
		w.applicationToken(a)

		// It is registered too late.
		w.sim.Register(simulator.Registration{ClientID: organization, Certificates: oldRegistered})
		ended := make(chan struct{})
		go func() { defer close(ended); _ = a.Run(t.Context()) }()
		time.Sleep(2 * time.Hour)
		_, err := a.Token(t.Context())
		const want = "the certificate in organizations.contoso.certificate_file does not belong to the app registration, or has expired; upload it in Entra ID under Certificates & secrets (AADSTS700027)"
		if !graph.Is(err, graph.SignInRequired) || a.Status().State != auth.SignInRequired || a.Status().Message != want {
			t.Errorf("got %v, status %+v", err, a.Status())
		}
		<-a.Changed()
		refused := w.requests()
		if _, err := a.Token(t.Context()); err == nil || w.requests() != refused {
			t.Errorf("it asks again at once: %v", err)
		}
		w.sim.Register(simulator.Registration{ClientID: organization, Certificates: newRegistered})
		<-a.Changed()
		if s := a.Status(); s.State != auth.SignedIn {
			t.Errorf("status: %+v", s)
		}

		// Half a file is not used, and ends nothing.
		put(replaced[:len(replaced)/2])
		w.applicationToken(a)
		time.Sleep(2 * time.Hour)
		if _, err := a.Token(t.Context()); !graph.Is(err, graph.SignInRequired) || !strings.Contains(err.Error(), "organizations.contoso.certificate_file") {
			t.Errorf("a damaged file: %v", err)
		}
		put(replaced)
		if err := a.RetryRefused(t.Context()); err != nil {
			t.Error(err)
		}
		w.applicationToken(a)
	})
}

// A refusal is retried although the token that Graph rejected has not expired.
func TestApplicationRetriesAfterRejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		unknown, _ := newCredential(t)
		registered, withKey := newCredential(t)
		w.sim.Register(simulator.Registration{ClientID: organization, Certificates: registered})
		a := w.application(func() ([]byte, error) { return withKey, nil })
		go func() { _ = a.Run(t.Context()) }()
		first := must(a.Token(t.Context()))
		w.sim.Register(simulator.Registration{ClientID: organization, Certificates: unknown})
		if _, err := a.Renew(t.Context(), first, ""); !graph.Is(err, graph.SignInRequired) {
			t.Errorf("got %v", err)
		}
		w.sim.Register(simulator.Registration{ClientID: organization, Certificates: registered})
		time.Sleep(2 * time.Minute)
		if s := a.Status(); s.State != auth.SignedIn {
			t.Errorf("status: %+v", s)
		}
		if second := must(a.Token(t.Context())); second == first {
			t.Error("a rejected token is used again")
		}
	})
}

func (w *environment) applicationToken(a *auth.Application) {
	w.t.Helper()
	if _, err := a.Token(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// A workload signs in with a token that its platform keeps fresh in a file.
func TestWorkloadIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		file := "first"
		a := w.application(nil, func(o *auth.ApplicationOptions) {
			o.Assertion, o.CredentialKey = func() (string, error) { return file, nil }, "organizations.contoso.federated_token_file"
		})
		w.sim.Register(simulator.Registration{ClientID: organization, FederatedToken: "first"})
		w.applicationToken(a)
		file = "second"
		w.sim.Register(simulator.Registration{ClientID: organization, FederatedToken: "second"})
		time.Sleep(2 * time.Hour)
		w.applicationToken(a)
		w.sim.Register(simulator.Registration{ClientID: organization, FederatedToken: "third"})
		time.Sleep(2 * time.Hour)
		_, err := a.Token(t.Context())
		const want = "the app registration does not trust the token of organizations.contoso.federated_token_file; compare issuer, subject and audience in Entra ID under Certificates & secrets, Federated credentials (AADSTS700213)"
		if err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	})
}
