package auth_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
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

func TestSignedOut(t *testing.T) {
	w := newEnvironment(t)
	s := w.open()
	wantStatus(t, s, auth.SignedOut, "not signed in; run: graph2mqtt login work")
	_, err := s.Token(t.Context())
	wantSignInRequired(t, err, "not signed in; run: graph2mqtt login work")
	if got := s.Granted(); got != nil {
		t.Errorf("granted: %v", got)
	}
	if n := w.sim.Total(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestSignedInStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		wantChanged(t, s)
		want := auth.Status{
			State:     auth.SignedIn,
			User:      auth.User{ID: "87d349ed-44d7-43e1-9a83-5f2406dee5bd", Address: simulator.Adele, Name: "Adele Vance", Tenant: simulator.ContosoTenant},
			Granted:   reading,
			Requested: reading,
			SignedIn:  time.Now(),
			Expires:   time.Now().Add(90 * 24 * time.Hour),
		}
		if diff := cmp.Diff(want, s.Status()); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		// As another process sees it.
		if diff := cmp.Diff(want, w.open().Status()); diff != "" {
			t.Errorf("status after opening again (-want +got):\n%s", diff)
		}
	})
}

func TestTokenIsReusedUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		first := w.token(s)
		n := w.tokens()
		time.Sleep(54 * time.Minute)
		if got := w.token(s); got != first {
			t.Error("renewed with 6 minutes left")
		}
		if got := w.token(w.open()); got != first {
			t.Error("renewed after a restart with 6 minutes left")
		}
		if got := w.tokens(); got != n {
			t.Errorf("%d requests for tokens, want none", got-n)
		}
		time.Sleep(2 * time.Minute)
		if got := w.token(s); got == first {
			t.Error("not renewed with 4 minutes left")
		}
		if got := w.tokens(); got != n+1 {
			t.Errorf("%d renewals, want 1", got-n)
		}
	})
}

// Refresh tokens are replaced at each use, also across restarts.
func TestRotationAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		w.signedIn(reading...)
		seen := map[string]bool{}
		for range 4 {
			time.Sleep(80 * 24 * time.Hour) // so that a token of the round before the last would have lapsed
			s := w.open()
			seen[w.token(s)] = true
			if diff := cmp.Diff(reading, s.Granted()); diff != "" {
				t.Errorf("granted (-want +got):\n%s", diff)
			}
		}
		if len(seen) != 4 {
			t.Errorf("%d different tokens, want 4", len(seen))
		}
		time.Sleep(91 * 24 * time.Hour)
		_, err := w.open().Token(t.Context())
		wantSignInRequired(t, err, "the sign-in has expired (AADSTS700082); run: graph2mqtt login work")
	})
}

func TestConcurrentCallersShareOneRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		// Two sessions stand for two processes.
		sessions := []*auth.Session{w.signedIn(reading...), w.open()}
		time.Sleep(2 * time.Hour)
		n := w.tokens()
		w.sim.Fail(simulator.Fault{Method: http.MethodPost, Path: "/common/oauth2/v2.0/token", Delay: time.Second, Done: true})
		var wg sync.WaitGroup
		got := make([]string, 16)
		for i := range got {
			wg.Go(func() { got[i] = w.token(sessions[i%2]) })
		}
		wg.Wait()
		for _, token := range got {
			if token != got[0] {
				t.Error("different tokens were given")
			}
		}
		if got := w.tokens(); got != n+1 {
			t.Errorf("%d renewals, want 1", got-n)
		}
	})
}

func TestRenewReplacesRejectedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		rejected := w.token(s)
		w.sim.ExpireAccessTokens()
		n := w.tokens()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				token, err := s.Renew(t.Context(), rejected, "")
				if err != nil || token == rejected {
					t.Errorf("Renew: the same token: %v, %v", token == rejected, err)
				}
			})
		}
		wg.Wait()
		if got := w.tokens(); got != n+1 {
			t.Errorf("%d renewals, want 1", got-n)
		}
		w.accepted(w.token(s))
	})
}

func TestClockSetBack(t *testing.T) {
	w := newEnvironment(t)
	var s *auth.Session
	synctest.Test(t, func(t *testing.T) { // a bubble's clock begins in the year 2000
		w.t = t
		time.Sleep(30 * 24 * time.Hour)
		w.signedIn(reading...)
	})
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		s = w.open()
		n := w.tokens()
		if _, err := s.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.tokens() != n+1 {
			t.Error("a token from the future was trusted")
		}
	})
}

// A refused renewal is reported and stored, and keeps the sign-in.
func TestRefusedRenewal(t *testing.T) {
	for name, test := range map[string]struct {
		refuse func(*simulator.Simulator)
		want   string
	}{
		"revoked": {func(s *simulator.Simulator) { s.RevokeSessions(simulator.Adele) },
			"the sign-in was revoked, or the password was changed (AADSTS50173); run: graph2mqtt login work"},
		"second factor": {func(s *simulator.Simulator) { s.FailRefreshWith(simulator.Adele, simulator.SecondFactorRequired) },
			"the organization requires multi-factor authentication (AADSTS50076); run: graph2mqtt login work"},
		"conditional access": {func(s *simulator.Simulator) { s.FailRefreshWith(simulator.Adele, simulator.Blocked) },
			"Conditional Access, a policy of the organization, blocks this sign-in; try the other flow: graph2mqtt login work --device-code (AADSTS53003); run: graph2mqtt login work"},
		"device": {func(s *simulator.Simulator) { s.FailRefreshWith(simulator.Adele, simulator.DeviceRequired) },
			"the organization requires a managed device; try the other flow: graph2mqtt login work --device-code (AADSTS50097); run: graph2mqtt login work"},
		"disabled": {func(s *simulator.Simulator) { s.FailRefreshWith(simulator.Adele, simulator.AccountDisabled) },
			"the account is disabled (AADSTS50057); run: graph2mqtt login work"},
		"consent withdrawn": {func(s *simulator.Simulator) { s.WithdrawConsent(simulator.Adele, simulator.ContosoClient) },
			"a permission was withdrawn, or never granted (AADSTS65001); run: graph2mqtt login work"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newEnvironment(t)
				s := w.signedIn(reading...)
				<-s.Changed()
				time.Sleep(2 * time.Hour)
				test.refuse(w.sim)
				n := w.tokens()
				_, err := s.Token(t.Context())
				wantSignInRequired(t, err, test.want)
				wantStatus(t, s, auth.SignInRequired, test.want)
				wantChanged(t, s)
				wantStatus(t, w.open(), auth.SignInRequired, test.want)
				if got := s.Status().User.Address; got != simulator.Adele {
					t.Errorf("the user is forgotten: %q", got)
				}
				for range 3 {
					_, err := s.Token(t.Context())
					wantSignInRequired(t, err, test.want)
				}
				if got := w.tokens(); got != n+1 {
					t.Errorf("asked %d times, want 1", got-n)
				}
				// A new sign-in ends the state, also in other sessions.
				other := w.open()
				if _, _, err := w.signIn(s, reading); err != nil {
					t.Fatal(err)
				}
				wantStatus(t, s, auth.SignedIn, "")
				w.token(s)
				w.token(other)
			})
		})
	}
}

// A token that Graph rejected is not returned again, even if it has not expired.
func TestRejectedTokenAndRefusedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		w.sim.SetTokenLifetime(24*time.Hour, 0)
		s := w.signedIn(reading...)
		rejected := w.token(s)
		w.sim.RevokeSessions(simulator.Adele)
		for range 3 {
			_, err := s.Renew(t.Context(), rejected, "")
			wantSignInRequired(t, err, "the sign-in was revoked, or the password was changed (AADSTS50173); run: graph2mqtt login work")
			time.Sleep(2 * time.Hour)
			_, err = s.Token(t.Context())
			wantSignInRequired(t, err, "the sign-in was revoked, or the password was changed (AADSTS50173); run: graph2mqtt login work")
		}
	})
}

func TestRefusalIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		defer wg.Wait()
		defer stop()
		time.Sleep(2 * time.Hour)
		w.sim.FailRefreshWith(simulator.Adele, simulator.Blocked)
		if _, err := s.Token(t.Context()); !graph.Is(err, graph.SignInRequired) {
			t.Fatal(err)
		}
		n := w.tokens()
		time.Sleep(150 * time.Minute)
		if got := w.tokens() - n; got != 2 {
			t.Errorf("asked again %d times in two and a half hours, want 2", got)
		}
		if got := strings.Count(w.log.String(), "sign-in renewal refused"); got != 1 {
			t.Errorf("logged %d times, want once", got)
		}
		w.sim.FailRefreshWith(simulator.Adele, 0)
		time.Sleep(time.Hour)
		wantStatus(t, s, auth.SignedIn, "")
	})
}

// A transient failure does not change the state.
func TestTransientRenewalFailure(t *testing.T) {
	for name, test := range map[string]struct {
		fault simulator.Fault
		want  string
	}{
		"unavailable": {simulator.Fault{Status: http.StatusServiceUnavailable}, "renew the sign-in of work: Microsoft answered The simulator was told to fail."},
		"reset":       {simulator.Fault{Reset: true}, "renew the sign-in of work: login.simulator.test: read tcp: connection reset by peer"},
		"throttled":   {simulator.Fault{Status: http.StatusTooManyRequests, RetryAfter: "60"}, "renew the sign-in of work: Microsoft answered The simulator was told to fail."},
		"no answer":   {simulator.Fault{Delay: time.Hour}, "renew the sign-in of work: login.simulator.test: context deadline exceeded"},
		"garbage":     {simulator.Fault{Body: new("{")}, "renew the sign-in of work: not an answer of Entra ID"},
		"strange": {simulator.Fault{Change: func(body map[string]any) { body["token_type"] = 7 }},
			"renew the sign-in of work: not an answer of Entra ID"}, // MSAL's own error would contain the tokens
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newEnvironment(t)
				s := w.signedIn(reading...)
				<-s.Changed()
				first := w.token(s)
				test.fault.Method, test.fault.Path = http.MethodPost, "/common/oauth2/v2.0/token"
				test.fault.Times = -1
				w.sim.Fail(test.fault)

				time.Sleep(58 * time.Minute)
				if got := w.token(s); got != first {
					t.Error("the rest of the token was not used")
				}
				time.Sleep(time.Hour)
				_, err := s.Token(t.Context())
				wantError(t, err, test.want)
				if !isRetryable(err) {
					t.Errorf("%v is not retryable", err)
				}
				wantStatus(t, s, auth.SignedIn, "")
				select {
				case <-s.Changed():
					t.Error("a change was signaled")
				default:
				}
				// Further callers do not repeat the request within the backoff.
				n := w.tokens()
				for range 10 {
					if _, err := s.Token(t.Context()); err == nil {
						t.Error("no error")
					}
				}
				if got := w.tokens(); got != n {
					t.Errorf("%d more requests within the pause", got-n)
				}

				w.sim.ClearFaults()
				time.Sleep(time.Minute)
				w.token(s)
			})
		})
	}
}

func TestTokenEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		time.Sleep(2 * time.Hour)
		w.sim.Fail(simulator.Fault{Method: http.MethodPost, Path: "/common/oauth2/v2.0/token", Delay: 20 * time.Second, Done: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { // holds the semaphore
			_, err := s.Token(ctx)
			if !graph.Is(err, graph.Timeout) {
				t.Errorf("Token: %v, want a timeout", err)
			}
		})
		synctest.Wait()
		short, cancelShort := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancelShort()
		_, err := s.Token(short) // waits for the semaphore
		wantError(t, err, "renew the sign-in of work: context deadline exceeded")
		wg.Wait()
		w.token(s) // a canceled caller does not fail others
	})
}

func TestSignInByAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		bridge := w.open()
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.stateDir().Watch(ctx, func(string) { bridge.Reload() }) })
		defer wg.Wait()
		defer stop()

		login := w.signedIn(reading...)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantStatus(t, bridge, auth.SignedIn, "")
		wantChanged(t, bridge)
		w.token(bridge)

		// More was granted.
		if _, _, err := w.signIn(login, writing); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantChanged(t, bridge)
		if got := bridge.Granted(); !cmp.Equal(got, login.Granted()) {
			t.Errorf("granted: %v, want %v", got, login.Granted())
		}

		if _, err := login.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantStatus(t, bridge, auth.SignedOut, "not signed in; run: graph2mqtt login work")
		wantChanged(t, bridge)
	})
}

func TestSignOut(t *testing.T) {
	w := newEnvironment(t)
	s := w.signedIn(reading...)
	if _, _, err := w.signIn(s, reading); err != nil { // creates the previous copy
		t.Fatal(err)
	}
	remains, err := s.SignOut(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "Microsoft still remembers which permissions were granted; take them back at https://myapps.microsoft.com"; remains != want {
		t.Errorf("remains: %q, want %q", remains, want)
	}
	wantStatus(t, s, auth.SignedOut, "not signed in; run: graph2mqtt login work")
	wantStatus(t, w.open(), auth.SignedOut, "not signed in; run: graph2mqtt login work")
	files, err := filepath.Glob(filepath.Join(w.dir, "tokens-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f, ".lock") {
			t.Errorf("%s is left", f)
		}
	}
}

func TestCorruptStore(t *testing.T) {
	w := newEnvironment(t)
	w.signedIn(reading...)
	file := filepath.Join(w.dir, "tokens-work")
	if err := os.WriteFile(file, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	message := "the stored sign-in cannot be read: " + file + " is corrupt, and there is no good copy of it; run: graph2mqtt login work"
	s := w.open()
	wantStatus(t, s, auth.Unreadable, message)
	_, err := s.Token(t.Context())
	wantSignInRequired(t, err, message)
	if b, err := os.ReadFile(file); err != nil || string(b) != "broken" {
		t.Errorf("the broken file was touched: %q, %v", b, err)
	}
	// A sign-in repairs it; from the second one on there is a previous copy.
	for range 2 {
		if _, _, err := w.signIn(s, reading); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	wantStatus(t, s, auth.SignedIn, "")
	w.token(s)
}

func TestStoreWithAnotherKey(t *testing.T) {
	w := newEnvironment(t)
	w.signedIn(reading...)
	t.Setenv("GRAPH2MQTT_KEY", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	s := func() *auth.Session {
		w := *w
		return w.open()
	}()
	wantStatus(t, s, auth.Unreadable, "the stored sign-in "+filepath.Join(w.dir, "tokens-work")+
		" was sealed with another key; give graph2mqtt that key again (GRAPH2MQTT_KEY, the credential graph2mqtt-key or key_file), or run: graph2mqtt login work")
}

func TestChangedConfiguration(t *testing.T) {
	w := newEnvironment(t)
	w.signedIn(reading...)
	other := simulator.Registration{ClientID: "11111111-2222-3333-4444-555555555555", RedirectURIs: []string{nativeRedirect}}
	w.sim.Register(other)
	for name, test := range map[string]struct {
		change func(*auth.Options)
		want   string
	}{
		"client": {func(o *auth.Options) { o.ClientID = other.ClientID },
			"the sign-in belongs to the client_id " + simulator.ContosoClient + ", but the configuration has " + other.ClientID},
		"cloud": {func(o *auth.Options) { o.Login = "https://login.microsoftonline.us/" },
			"the sign-in belongs to the cloud https://login.simulator.test, but the configuration has https://login.microsoftonline.us"},
		"user": {func(o *auth.Options) { o.User = "ben@contoso.example" },
			simulator.Adele + " is signed in, but the configuration expects ben@contoso.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.open(test.change)
			wantStatus(t, s, auth.SignInRequired, test.want+"; run: graph2mqtt login work")
			_, err := s.Token(t.Context())
			wantSignInRequired(t, err, test.want+"; run: graph2mqtt login work")
		})
	}
	wantStatus(t, w.open(func(o *auth.Options) { o.User = strings.ToUpper(simulator.Adele) }), auth.SignedIn, "")
}

func TestOpenRejectsOptions(t *testing.T) {
	for name, test := range map[string]struct {
		o    auth.Options
		want string
	}{
		"no client":     {auth.Options{}, "sign-in of work: client_id is missing"},
		"no https":      {auth.Options{ClientID: "x", Login: "http://login"}, `sign-in of work: login: want an address such as https://login.microsoftonline.com, not "http://login"`},
		"with a tenant": {auth.Options{ClientID: "x", Login: "https://login/common"}, `sign-in of work: login: want an address such as https://login.microsoftonline.com, not "https://login/common"`},
	} {
		t.Run(name, func(t *testing.T) {
			test.o.Account = "work"
			_, err := auth.Open(test.o)
			wantError(t, err, test.want)
		})
	}
}

func TestExtend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.signedIn(reading...)
		n := w.tokens()
		if more, err := s.Extend(t.Context(), reading); more || err != nil || w.tokens() != n {
			t.Errorf("Extend by what is granted: %v, %v, %d requests", more, err, w.tokens()-n)
		}
		if more, err := s.Extend(t.Context(), writing); more || err != nil {
			t.Errorf("Extend before the consent: %v, %v", more, err)
		}
		wantStatus(t, s, auth.SignedIn, "")
		w.sim.ConsentForAll(simulator.ContosoTenant, simulator.ContosoClient, writing...)
		if more, err := s.Extend(t.Context(), writing); !more || err != nil {
			t.Errorf("Extend after the consent: %v, %v", more, err)
		}
		want := []string{"Calendars.Read", "Calendars.ReadWrite", "MailboxSettings.Read", "MailboxSettings.ReadWrite", "User.Read"}
		if diff := cmp.Diff(want, s.Granted()); diff != "" {
			t.Errorf("granted (-want +got):\n%s", diff)
		}
		w.token(s)
	})
}

// A disk that cannot be written does not end the session.
func TestUnwritableStore(t *testing.T) {
	w := newEnvironment(t)
	s := w.signedIn(reading...)
	w.sim.ExpireAccessTokens()
	rejected, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A directory instead of the copy, because permissions do not restrict root.
	if err := os.Mkdir(filepath.Join(w.dir, "tokens-work.previous"), 0o700); err != nil {
		t.Fatal(err)
	}
	token, err := s.Renew(t.Context(), rejected, "")
	if err != nil {
		t.Fatal(err)
	}
	w.accepted(token)
	if got := w.token(s); got != token {
		t.Error("the new token is forgotten")
	}
	if !strings.Contains(w.log.String(), "sign-in could not be stored") {
		t.Errorf("not logged:\n%s", w.log)
	}
	// A sign-in that cannot be stored fails.
	_, _, err = w.signIn(s, reading)
	wantError(t, err, "sign in to work: write "+filepath.Join(w.dir, "tokens-work.previous")+": file exists")
}
