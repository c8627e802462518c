package auth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestSignInByPastedAddress(t *testing.T) {
	w := newEnvironment(t)
	s := w.open()
	result, prompts, err := w.signIn(s, writing, reading)
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Result{
		User:    auth.User{ID: "87d349ed-44d7-43e1-9a83-5f2406dee5bd", Address: simulator.Adele, Name: "Adele Vance", Tenant: simulator.ContosoTenant},
		Granted: writing,
	}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if len(prompts) != 1 || prompts[0].Listening || prompts[0].Redirect != nativeRedirect || !cmp.Equal(prompts[0].Scopes, writing) {
		t.Errorf("prompts: %+v", prompts)
	}
	if want := "Microsoft's page may hide that address. Then add http://localhost to the app registration in Entra ID (Authentication, Mobile and desktop applications) and set redirect_uri: http://localhost"; prompts[0].Note != want {
		t.Errorf("note: %q, want %q", prompts[0].Note, want)
	}
	q := must(url.Parse(prompts[0].URL)).Query()
	for k, want := range map[string]string{
		"client_id": simulator.ContosoClient, "response_type": "code", "response_mode": "query", "redirect_uri": nativeRedirect, "code_challenge_method": "S256",
		"prompt": "select_account",
		"scope": "https://graph.microsoft.com/Calendars.ReadWrite https://graph.microsoft.com/MailboxSettings.ReadWrite https://graph.microsoft.com/User.Read " +
			"openid profile offline_access",
	} {
		if got := q.Get(k); got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
	if len(q.Get("state")) < 20 || len(q.Get("code_challenge")) != 43 {
		t.Errorf("state %q, challenge %q", q.Get("state"), q.Get("code_challenge"))
	}
	w.token(s)

	// The next sign-in starts with the same user.
	_, prompts, err = w.signIn(s, reading)
	if err != nil {
		t.Fatal(err)
	}
	q = must(url.Parse(prompts[0].URL)).Query()
	if got := q.Get("login_hint"); got != simulator.Adele || q.Has("prompt") {
		t.Errorf("login_hint %q, prompt %q", got, q.Get("prompt"))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Pasted addresses are often mangled.
func TestPastedAddress(t *testing.T) {
	for name, mangle := range map[string]func(string) string{
		"whole":       func(s string) string { return s },
		"quoted":      func(s string) string { return "  \"" + s + "\"\r\n" },
		"in brackets": func(s string) string { return "<" + s + ">" },
		"broken line": func(s string) string { return s[:60] + "\n" + s[60:90] + " \n" + s[90:] },
		"query":       func(s string) string { return s[strings.Index(s, "?"):] },
		"bare query":  func(s string) string { return s[strings.Index(s, "?")+1:] },
		"fragment":    func(s string) string { return strings.Replace(s, "?", "#", 1) },
		"from HTML":   func(s string) string { return strings.ReplaceAll(s, "&", "&amp;") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnvironment(t)
			s := w.open()
			pasted := make(chan string, 1)
			_, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) { pasted <- mangle(w.visit(p.URL)) }},
				auth.Browser{PastedRedirects: pasted, OnInvalidRedirect: func(err error) { t.Error(err) }})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInvalidRedirect(t *testing.T) {
	w := newEnvironment(t)
	s := w.open()
	older := ""
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.SignInByBrowser(ctx, auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) {
		older = w.visit(p.URL)
		cancel()
	}}, auth.Browser{})
	wantError(t, err, "sign in to work: context canceled")

	pasted := make(chan string, 9)
	var got []string
	_, err = s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) {
		right := w.visit(p.URL)
		q := must(url.Parse(right)).Query()
		for _, text := range []string{"", "yes", "https://www.example.com/?q=1", p.URL, nativeRedirect + "?code=" + q.Get("code"), older, right} {
			pasted <- text
		}
	}}, auth.Browser{PastedRedirects: pasted, OnInvalidRedirect: func(err error) { got = append(got, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	unlike := "this is not a redirect address: want one such as " + nativeRedirect + "/?code=…&state=…"
	want := []string{
		unlike, unlike, unlike,
		"this is the sign-in link; paste the address that the browser shows afterwards, which begins with " + nativeRedirect,
		"this is only a part of the address; paste all of it, with code and state",
		"this address belongs to an outdated sign-in link; open the newest link and paste the address that the browser shows afterwards",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unusable (-want +got):\n%s", diff)
	}
}

func TestRefusedScopesStepDown(t *testing.T) {
	least := []string{"User.Read"}
	for name, test := range map[string]struct {
		page simulator.SignIn
		why  string
	}{
		"declined": {simulator.SignIn{Declines: []string{"Calendars.ReadWrite", "Calendars.Read"}}, "the permissions were declined (AADSTS65004)"},
		"administrator": {simulator.SignIn{AdminOnly: []string{"MailboxSettings.ReadWrite", "MailboxSettings.Read"}},
			"an administrator of the organization must consent; for a link to send them, run: graph2mqtt permissions work --format link (AADSTS90094)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newEnvironment(t)
				w.sim.SetSignIn(test.page)
				s := w.open()
				result, prompts, err := w.signIn(s, writing, reading, reading, least)
				if err != nil {
					t.Fatal(err)
				}
				type step struct {
					Scopes, Refused []string
					Why             string
				}
				var got []step
				for _, p := range prompts {
					got = append(got, step{p.Scopes, p.Refused, p.Why})
				}
				want := []step{
					{Scopes: writing},
					{Scopes: reading, Refused: []string{"Calendars.ReadWrite", "MailboxSettings.ReadWrite"}, Why: test.why},
					{Scopes: least, Refused: []string{"Calendars.Read", "MailboxSettings.Read"}, Why: test.why},
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("prompts (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(least, result.Granted); diff != "" {
					t.Errorf("granted (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"Calendars.ReadWrite", "MailboxSettings.ReadWrite"}, result.Missing); diff != "" {
					t.Errorf("missing (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(writing, s.Status().Requested); diff != "" {
					t.Errorf("requested (-want +got):\n%s", diff)
				}
				// Refused scopes are not requested by renewals.
				time.Sleep(2 * time.Hour)
				w.token(s)
			})
		})
	}
	t.Run("all", func(t *testing.T) {
		w := newEnvironment(t)
		w.sim.SetSignIn(simulator.SignIn{Refuse: simulator.Declined})
		s := w.open()
		_, _, err := w.signIn(s, writing, reading)
		wantSignInRequired(t, err, "sign in to work: Microsoft refused even the smallest set of permissions: the permissions were declined (AADSTS65004)")
		wantStatus(t, s, auth.SignedOut, "not signed in; run: graph2mqtt login work")
	})
	t.Run("not about scopes", func(t *testing.T) {
		w := newEnvironment(t)
		w.sim.SetSignIn(simulator.SignIn{Refuse: simulator.Blocked})
		_, prompts, err := w.signIn(w.open(), writing, reading)
		wantSignInRequired(t, err, "sign in to work: Conditional Access, a policy of the organization, blocks this sign-in; "+
			"try the other flow: graph2mqtt login work --device-code (AADSTS53003)")
		if len(prompts) != 1 {
			t.Errorf("%d prompts, want 1", len(prompts))
		}
	})
}

func TestPartialGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		w.sim.SetSignIn(simulator.SignIn{Withhold: []string{"Calendars.ReadWrite"}})
		s := w.open()
		result, _, err := w.signIn(s, writing)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"MailboxSettings.ReadWrite", "User.Read"}
		if !cmp.Equal(result.Granted, want) || !cmp.Equal(result.Missing, []string{"Calendars.ReadWrite"}) {
			t.Errorf("result: %+v", result)
		}
		// It can be renewed.
		for range 3 {
			time.Sleep(2 * time.Hour)
			w.token(s)
			if got := s.Granted(); !cmp.Equal(got, want) {
				t.Errorf("granted: %v, want %v", got, want)
			}
		}
	})
}

func TestNothingGranted(t *testing.T) {
	w := newEnvironment(t)
	w.sim.SetSignIn(simulator.SignIn{Withhold: reading})
	_, _, err := w.signIn(w.open(), reading)
	wantSignInRequired(t, err, "sign in to work: Microsoft granted none of the permissions")
}

// A sign-in without a refresh token fails.
func TestNoRefreshToken(t *testing.T) {
	w := newEnvironment(t)
	w.sim.Fail(simulator.Fault{Method: http.MethodPost, Path: "/common/oauth2/v2.0/token", Change: func(body map[string]any) { delete(body, "refresh_token") }})
	s := w.open()
	_, _, err := w.signIn(s, reading)
	wantError(t, err, "sign in to work: the permission to maintain access to data (offline_access) was not granted: Microsoft returned no refresh token")
	wantStatus(t, s, auth.SignedOut, "not signed in; run: graph2mqtt login work")
}

func TestSignInAsAnotherUser(t *testing.T) {
	w := newEnvironment(t)
	w.sim.AddUser(simulator.User{Address: "ben@contoso.example", Name: "Ben", Tenant: simulator.ContosoTenant})
	s := w.signedIn(reading...)
	w.sim.SetSignIn(simulator.SignIn{User: "ben@contoso.example"})
	_, _, err := w.signIn(s, reading)
	wantError(t, err, "sign in to work: ben@contoso.example signed in, but the stored sign-in belongs to "+simulator.Adele+"; sign in as "+simulator.Adele+
		", or first run: graph2mqtt logout work")
	if got := s.Status().User.Address; got != simulator.Adele {
		t.Errorf("user: %s", got)
	}
	w.token(s)

	other := w.open(func(o *auth.Options) { o.Account, o.User = "other", simulator.Adele })
	_, _, err = w.signIn(other, reading)
	wantError(t, err, "sign in to other: ben@contoso.example signed in, but the configuration expects "+simulator.Adele+"; sign in as "+simulator.Adele+
		", or change accounts.other.user")
	wantStatus(t, other, auth.SignedOut, "not signed in; run: graph2mqtt login other")

	if _, err := s.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.signIn(s, reading); err != nil {
		t.Errorf("after signing out: %v", err)
	}
}

func TestPersonalAccount(t *testing.T) {
	w := newEnvironment(t)
	w.sim.AddUser(simulator.User{Address: "casey@outlook.example", Name: "Casey", Personal: true})
	w.sim.SetSignIn(simulator.SignIn{User: "casey@outlook.example"})
	s := w.signedIn(reading...)
	got := s.Status().User
	if !got.Personal || got.Tenant != simulator.PersonalTenant || got.Address != "casey@outlook.example" {
		t.Errorf("user: %+v", got)
	}
	remains, err := s.SignOut(t.Context())
	if err != nil || !strings.HasSuffix(remains, "https://account.live.com/consent/Manage") {
		t.Errorf("SignOut: %q, %v", remains, err)
	}
}

func TestPrivateCloud(t *testing.T) {
	w := newEnvironment(t)
	w.sim = simulator.Contoso(simulator.Options{Audience: "https://graph.cloud.example"})
	s := w.open(func(o *auth.Options) { o.Audience, o.Tenant = "https://graph.cloud.example/", simulator.ContosoTenant })
	if _, _, err := w.signIn(s, reading); err != nil {
		t.Fatal(err)
	}
	if got := s.Granted(); !cmp.Equal(got, reading) {
		t.Errorf("granted: %v", got)
	}
	if n := w.sim.Count("", "/common/discovery"); n != 0 {
		t.Error("instance discovery was asked")
	}
	if n := w.sim.Count(http.MethodPost, "/"+simulator.ContosoTenant+"/oauth2/v2.0/token"); n != 1 {
		t.Errorf("%d requests for tokens in the tenant, want 1", n)
	}
}

func TestUnsuitableRegistrations(t *testing.T) {
	const client = "11111111-2222-3333-4444-555555555555"
	for name, test := range map[string]struct {
		registration simulator.Registration
		change       func(*auth.Options)
		want         string
	}{
		"unknown": {simulator.Registration{ClientID: "another"}, nil,
			"sign in to work: the client_id " + client + " is not known to the tenant common; compare both with the app registration (AADSTS700016)"},
		"one tenant": {simulator.Registration{ClientID: client, Tenant: simulator.ContosoTenant, PublicClient: true}, nil,
			"sign in to work: the app registration is for one tenant; set tenant to that tenant's id (AADSTS50194)"},
		"no such tenant": {simulator.Registration{ClientID: client, PublicClient: true}, func(o *auth.Options) { o.Tenant = "nowhere.example" },
			"sign in to work: there is no tenant nowhere.example (AADSTS90002)"},
		"not public": {simulator.Registration{ClientID: client}, nil,
			"sign in to work: the app registration does not allow public client flows; allow them in Entra ID under Authentication, or configure client_secret (AADSTS7000218)"},
		"has a secret": {simulator.Registration{ClientID: client, PublicClient: true, Secret: "shh-secret"}, func(o *auth.Options) { o.ClientSecret = "shh-secret" },
			"sign in to work: a registration with a secret or certificate cannot use the device code flow; sign in with the browser"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnvironment(t)
			w.sim.Register(test.registration)
			s := w.open(func(o *auth.Options) { o.ClientID = client }, func(o *auth.Options) {
				if test.change != nil {
					test.change(o)
				}
			})
			_, err := s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(auth.Prompt) { t.Error("shown") }})
			wantError(t, err, test.want)
		})
	}
}

// Registrations of the platform Web have a secret.
func TestClientSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		w.sim.Register(simulator.Registration{ClientID: "web", Web: []string{nativeRedirect}, Secret: "shh-secret"})
		for secret, want := range map[string]string{
			"":      "sign in to work: the app registration does not allow public client flows; allow them in Entra ID under Authentication, or configure client_secret (AADSTS7000218)",
			"wrong": "sign in to work: the client_secret (or client_secret_file) is wrong; it must be the secret's value, not its id (AADSTS7000215)",
		} {
			_, _, err := w.signIn(w.open(func(o *auth.Options) { o.ClientID, o.ClientSecret = "web", secret }), reading)
			wantSignInRequired(t, err, want)
		}
		s := w.open(func(o *auth.Options) { o.ClientID, o.ClientSecret = "web", "shh-secret" })
		if _, _, err := w.signIn(s, reading); err != nil {
			t.Fatal(err)
		}
		first := w.token(s)
		time.Sleep(2 * time.Hour)
		s = w.open(func(o *auth.Options) { o.ClientID, o.ClientSecret = "web", "shh-secret" })
		if w.token(s) == first {
			t.Error("not renewed")
		}
	})
}

// A certificate signs an assertion instead of a secret.
func TestClientCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		w.sim.Register(simulator.Registration{ClientID: "web", Web: []string{nativeRedirect}, Secret: "shh-secret"})
		signed := 0
		s := w.open(func(o *auth.Options) {
			o.ClientID, o.Certificate = "web", certificate(t)
			o.Transport = graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPost {
					form := must(url.ParseQuery(string(must(io.ReadAll(r.Body)))))
					if strings.Count(form.Get("client_assertion"), ".") == 2 && form.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
						signed++
					}
					form.Set("client_secret", "shh-secret") // the simulator does not verify assertions
					r = r.Clone(r.Context())
					r.Body = io.NopCloser(strings.NewReader(form.Encode()))
				}
				return w.sim.Transport().RoundTrip(r)
			})
		})
		if _, _, err := w.signIn(s, reading); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		w.token(s)
		if signed != 2 {
			t.Errorf("%d signed requests, want 2", signed)
		}
	})
}

// certificate returns a self-signed certificate and its key, in PEM.
func certificate(t *testing.T) []byte {
	t.Helper()
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})...)
}

func TestSignInByDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.open()
		w.sim.Fail(simulator.Fault{Method: http.MethodPost, Path: "/common/oauth2/v2.0/token", Status: http.StatusBadRequest, Code: "slow_down", Times: 2})
		var wg sync.WaitGroup
		defer wg.Wait()
		var shown auth.Prompt
		result, err := s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) {
			shown = p
			wg.Go(func() {
				time.Sleep(time.Minute)
				if err := w.sim.ApproveDevice(p.Code); err != nil {
					t.Error(err)
				}
			})
		}})
		if err != nil {
			t.Fatal(err)
		}
		if shown.URL != "https://login.simulator.test/common/oauth2/deviceauth" || shown.Code == "" || shown.Expires.IsZero() || !cmp.Equal(shown.Scopes, reading) {
			t.Errorf("prompt: %+v", shown)
		}
		if !cmp.Equal(result.Granted, reading) || result.User.Address != simulator.Adele {
			t.Errorf("result: %+v", result)
		}
		w.token(s)

		// A policy against device codes ends the session, and the message names the other flow.
		w.sim.BlockDeviceCode(true)
		time.Sleep(2 * time.Hour)
		_, err = s.Token(t.Context())
		wantSignInRequired(t, err, "Conditional Access, a policy of the organization, blocks this sign-in; try a browser sign-in, without --device-code (AADSTS53003); "+
			"run: graph2mqtt login work")
	})
}

func TestSignInByDeviceStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEnvironment(t)
		s := w.open()
		w.sim.SetSignIn(simulator.SignIn{AdminOnly: []string{"MailboxSettings.ReadWrite"}})
		var refused [][]string
		result, err := s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{writing, reading}, OnPrompt: func(p auth.Prompt) {
			refused = append(refused, p.Refused)
			err := w.sim.ApproveDevice(p.Code)
			if (err != nil) != slices.Contains(p.Scopes, "MailboxSettings.ReadWrite") {
				t.Errorf("approve: %v", err)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][]string{nil, {"Calendars.ReadWrite", "MailboxSettings.ReadWrite"}}, refused); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
		if !cmp.Equal(result.Granted, reading) {
			t.Errorf("granted: %v", result.Granted)
		}
	})
}

func TestSignInByDeviceEnds(t *testing.T) {
	for name, test := range map[string]struct {
		show func(*testing.T, *simulator.Simulator, auth.Prompt)
		want string
	}{
		"declined": {func(t *testing.T, s *simulator.Simulator, p auth.Prompt) {
			if err := s.DeclineDevice(p.Code); err != nil {
				t.Error(err)
			}
		}, "sign in to work: Microsoft refused even the smallest set of permissions: the permissions were declined (AADSTS65004)"},
		"not entered": {func(*testing.T, *simulator.Simulator, auth.Prompt) {}, "sign in to work: the code was not entered in time"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newEnvironment(t)
				s := w.open()
				_, err := s.SignInByDevice(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) { test.show(t, w.sim, p) }})
				wantSignInRequired(t, err, test.want)
				wantStatus(t, s, auth.SignedOut, "not signed in; run: graph2mqtt login work")
			})
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newEnvironment(t)
			ctx, cancel := context.WithCancel(t.Context())
			_, err := w.open().SignInByDevice(ctx, auth.Request{Scopes: [][]string{reading}, OnPrompt: func(auth.Prompt) { cancel() }})
			wantError(t, err, "sign in to work: context canceled")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v is not context.Canceled", err)
			}
		})
	})
}

func TestSignInWithoutNetwork(t *testing.T) {
	w := newEnvironment(t)
	w.sim.Fail(simulator.Fault{Reset: true, Times: -1})
	_, err := w.open().SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(auth.Prompt) { t.Error("shown") }}, auth.Browser{})
	wantError(t, err, "sign in to work: login.simulator.test: read tcp: connection reset by peer")
	if !graph.Is(err, graph.Network) {
		t.Errorf("%v is no graph.Network", err)
	}
}

// browse opens a link as a browser does: over real sockets on localhost, and through sim otherwise.
func browse(t *testing.T, sim http.RoundTripper, link string) (status int, body string) {
	t.Helper()
	c := &http.Client{Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Hostname() == "localhost" {
			return http.DefaultTransport.RoundTrip(r)
		}
		return sim.RoundTrip(r)
	})}
	res, err := c.Get(link)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	if got := res.Header.Get("Referrer-Policy"); res.StatusCode == http.StatusOK && got != "no-referrer" {
		t.Errorf("Referrer-Policy is %q", got)
	}
	return res.StatusCode, string(b)
}

// local selects the redirect to localhost.
func local(o *auth.Options) { o.RedirectURI = "" }

func TestSignInByBrowser(t *testing.T) {
	for name, test := range map[string]struct {
		page simulator.SignIn
		want string // on the last page
		err  string
	}{
		"signed in": {simulator.SignIn{}, "<h1>Signed in as adele@contoso.example</h1><p>You can close this window.</p>", ""},
		"stepped down": {simulator.SignIn{Declines: []string{"Calendars.ReadWrite"}}, // the browser is redirected to the next request
			"<h1>Signed in as adele@contoso.example</h1><p>You can close this window.</p>", ""},
		"refused": {simulator.SignIn{Refuse: simulator.Declined}, "<h1>Not signed in</h1><p>Microsoft refused even the smallest set of permissions: the permissions were declined (AADSTS65004)</p>",
			"sign in to work: Microsoft refused even the smallest set of permissions: the permissions were declined (AADSTS65004)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnvironment(t)
			w.sim.SetSignIn(test.page)
			s := w.open(local)
			var wg sync.WaitGroup
			first := true
			_, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{writing, reading}, OnPrompt: func(p auth.Prompt) {
				if !p.Listening || p.Note != "" || !strings.HasPrefix(p.Redirect, "http://localhost:") {
					t.Errorf("prompt: %+v", p)
				}
				if !first {
					return
				}
				first = false
				wg.Go(func() {
					if status, _ := browse(t, w.sim.Transport(), p.Redirect+"/favicon.ico"); status != http.StatusNotFound {
						t.Errorf("favicon: %d", status)
					}
					if _, body := browse(t, w.sim.Transport(), p.Redirect+"/?code=x&state=y"); !strings.Contains(body, "This sign-in link is outdated") {
						t.Errorf("with another state: %s", body)
					}
					if status, body := browse(t, w.sim.Transport(), p.URL); status != http.StatusOK || !strings.Contains(body, test.want) {
						t.Errorf("page: %d %s\nlacks %s", status, body, test.want)
					}
				})
			}}, auth.Browser{})
			wg.Wait()
			if test.err != "" {
				wantError(t, err, test.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.token(s)
		})
	}
}

// All over real sockets and TLS, on a given port.
func TestSignInByBrowserOverTLS(t *testing.T) {
	w := newEnvironment(t)
	if err := w.sim.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.sim.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.sim.CA())
	web := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer web.CloseIdleConnections()

	l := must(net.Listen("tcp", "127.0.0.1:0"))
	port := l.Addr().(*net.TCPAddr).Port
	s := w.open(local, func(o *auth.Options) { o.Transport = web })
	_, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(auth.Prompt) { t.Error("shown") }}, auth.Browser{Port: port})
	wantError(t, err, fmt.Sprintf("sign in to work: another program is listening on http://localhost:%d; choose another one with --port", port))
	l.Close()

	var wg sync.WaitGroup
	result, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) {
		if want := "http://localhost:" + strconv.Itoa(port); p.Redirect != want {
			t.Errorf("redirect: %s, want %s", p.Redirect, want)
		}
		wg.Go(func() { browse(t, web, p.URL) })
	}}, auth.Browser{Port: port})
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(result.Granted, reading) {
		t.Errorf("granted: %v", result.Granted)
	}
	if _, err := s.Renew(t.Context(), must(s.Token(t.Context())), ""); err != nil {
		t.Error(err)
	}
}
