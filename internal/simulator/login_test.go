package simulator_test

import (
	"context"
	"crypto/sha256"
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

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"
	msal "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const redirect = "http://localhost:8400"

// memory is an MSAL cache that tests can inspect.
type memory struct{ data []byte }

func (m *memory) Replace(_ context.Context, u cache.Unmarshaler, _ cache.ReplaceHints) error {
	if m.data == nil {
		return nil
	}
	return u.Unmarshal(m.data)
}

func (m *memory) Export(_ context.Context, e cache.Marshaler, _ cache.ExportHints) (err error) {
	m.data, err = e.Marshal()
	return err
}

// refreshToken returns the cached refresh token.
func (m *memory) refreshToken(t *testing.T) string {
	t.Helper()
	var contents struct {
		RefreshToken map[string]struct{ Secret string }
	}
	if err := json.Unmarshal(m.data, &contents); err != nil {
		t.Fatal(err)
	}
	for _, r := range contents.RefreshToken {
		return r.Secret
	}
	t.Fatal("no refresh token in the cache")
	return ""
}

func newClient(t *testing.T, s *simulator.Simulator, tenant string) (public.Client, *memory) {
	t.Helper()
	m := &memory{}
	client, err := public.New(simulator.ContosoClient,
		public.WithAuthority(s.LoginURL()+"/"+tenant),
		public.WithHTTPClient(&http.Client{Transport: s.Transport()}),
		public.WithInstanceDiscovery(false),
		public.WithCache(m))
	if err != nil {
		t.Fatal(err)
	}
	return client, m
}

// visit opens the sign-in page in a browser and returns the parameters of the redirect.
func visit(t *testing.T, s *simulator.Simulator, page string) url.Values {
	t.Helper()
	client := &http.Client{Transport: s.Transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("sign-in page: %s: %s", resp.Status, body)
	}
	u, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Scheme + "://" + u.Host; got != redirect {
		t.Fatalf("redirected to %s, want %s", got, redirect)
	}
	return u.Query()
}

// authorize returns the address of the sign-in page, built as by MSAL and its callers.
func authorize(t *testing.T, client public.Client, verifier string, scopes ...string) string {
	t.Helper()
	page, err := client.AuthCodeURL(t.Context(), simulator.ContosoClient, redirect, append([]string{"openid", "profile", "offline_access"}, scopes...))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(verifier))
	return page + "&" + url.Values{"state": {"s1"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}.Encode()
}

func signIn(t *testing.T, s *simulator.Simulator, client public.Client, scopes ...string) public.AuthResult {
	t.Helper()
	result := visit(t, s, authorize(t, client, "verifier", scopes...))
	if result.Get("state") != "s1" || result.Get("code") == "" {
		t.Fatalf("sign-in page answered %v", result)
	}
	auth, err := client.AcquireTokenByAuthCode(t.Context(), result.Get("code"), redirect, scopes, public.WithChallenge("verifier"))
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// aadsts returns the first error code of a token endpoint error, and its OAuth name.
func aadsts(t *testing.T, err error) (simulator.AADSTS, string) {
	t.Helper()
	var call msal.CallErr
	if !errors.As(err, &call) {
		t.Fatalf("want a refusal by the token endpoint, not %v", err)
	}
	var body struct {
		Error string             `json:"error"`
		Codes []simulator.AADSTS `json:"error_codes"`
	}
	if err := json.NewDecoder(call.Resp.Body).Decode(&body); err != nil || len(body.Codes) != 1 {
		t.Fatalf("refusal without a code: %v", err)
	}
	return body.Codes[0], body.Error
}

func TestSignInByCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		client, stored := newClient(t, s, "common")
		auth := signIn(t, s, client, "User.Read", "Calendars.Read")

		account := auth.Account
		if account.PreferredUsername != simulator.Adele || account.LocalAccountID != s.Users()[0].ID || account.HomeAccountID != s.Users()[0].ID+"."+simulator.ContosoTenant {
			t.Errorf("account %+v is not Adele's", account)
		}
		if got, want := auth.GrantedScopes, []string{"openid", "profile", "email", "Calendars.Read", "User.Read"}; !cmp.Equal(got, want) {
			t.Errorf("granted %v, want %v", got, want)
		}

		// The refresh token is rotated, and the previous one stays valid.
		first := stored.refreshToken(t)
		time.Sleep(2 * time.Hour)
		again, err := client.AcquireTokenSilent(t.Context(), []string{"User.Read"}, public.WithSilentAccount(account))
		if err != nil {
			t.Fatal(err)
		}
		if again.AccessToken == auth.AccessToken {
			t.Error("the same access token after it expired")
		}
		if stored.refreshToken(t) == first {
			t.Error("the refresh token was not rotated")
		}
		if status := redeem(t, s, first); status != http.StatusOK {
			t.Errorf("the refresh token before the last: status %d", status)
		}
	})
}

// redeem uses a refresh token without MSAL.
func redeem(t *testing.T, s *simulator.Simulator, token string) int {
	t.Helper()
	resp, err := (&http.Client{Transport: s.Transport()}).PostForm(s.LoginURL()+"/common/oauth2/v2.0/token", url.Values{
		"client_id": {simulator.ContosoClient}, "grant_type": {"refresh_token"}, "refresh_token": {token}, "scope": {"openid offline_access User.Read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestVerifierIsChecked(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	client, _ := newClient(t, s, "common")
	result := visit(t, s, authorize(t, client, "right", "User.Read"))
	_, err := client.AcquireTokenByAuthCode(t.Context(), result.Get("code"), redirect, []string{"User.Read"}, public.WithChallenge("wrong"))
	if got, _ := aadsts(t, err); got != simulator.WrongVerifier {
		t.Errorf("AADSTS%d, want AADSTS%d", got, simulator.WrongVerifier)
	}
}

func TestCodeIsUsedOnce(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	client, _ := newClient(t, s, "common")
	result := visit(t, s, authorize(t, client, "v", "User.Read"))
	for i, want := range []simulator.AADSTS{0, simulator.UsedCode} {
		_, err := client.AcquireTokenByAuthCode(t.Context(), result.Get("code"), redirect, []string{"User.Read"}, public.WithChallenge("v"))
		if want == 0 {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, name := aadsts(t, err); got != want || name != "invalid_grant" {
			t.Errorf("use %d: %s AADSTS%d, want invalid_grant AADSTS%d", i+1, name, got, want)
		}
	}
}

func TestSignInRefused(t *testing.T) {
	for name, test := range map[string]struct {
		in   simulator.SignIn
		err  string
		code string
	}{
		"by the user":          {simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}}, "access_denied", "AADSTS65004: "},
		"by the tenant":        {simulator.SignIn{AdminOnly: []string{"MailboxSettings.ReadWrite"}}, "consent_required", "AADSTS90094: "},
		"conditional access":   {simulator.SignIn{Refuse: simulator.Blocked}, "invalid_grant", "AADSTS53003: "},
		"somebody else's home": {simulator.SignIn{User: "nobody@elsewhere.example"}, "access_denied", "AADSTS50020: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := simulator.Contoso(simulator.Options{})
			s.SetSignIn(test.in)
			client, _ := newClient(t, s, "common")
			result := visit(t, s, authorize(t, client, "v", "User.Read", "MailboxSettings.ReadWrite"))
			if result.Get("error") != test.err || !strings.HasPrefix(result.Get("error_description"), test.code) || result.Get("state") != "s1" || result.Has("code") {
				t.Errorf("got %v, want %s %s", result, test.err, test.code)
			}
			if got := s.Consented(simulator.Adele, simulator.ContosoClient); len(got) != 0 {
				t.Errorf("refused, and yet consented to: %v", got)
			}
			if test.in.Declines == nil && test.in.AdminOnly == nil {
				return
			}
			// The request succeeds without the refused scopes.
			signIn(t, s, client, "User.Read")
		})
	}
}

func TestAdministratorConsents(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	s.SetSignIn(simulator.SignIn{AdminOnly: []string{"Calendars.Read"}})
	client, _ := newClient(t, s, "common")
	auth := signIn(t, s, client, "User.Read")

	_, err := client.AcquireTokenSilent(t.Context(), []string{"Calendars.Read"}, public.WithSilentAccount(auth.Account))
	if got, name := aadsts(t, err); got != simulator.NeverConsented || name != "invalid_grant" {
		t.Errorf("%s AADSTS%d before the consent, want invalid_grant AADSTS%d", name, got, simulator.NeverConsented)
	}

	result := visit(t, s, s.LoginURL()+"/organizations/v2.0/adminconsent?"+url.Values{
		"client_id": {simulator.ContosoClient}, "redirect_uri": {redirect}, "state": {"x"}, "scope": {"https://graph.microsoft.com/Calendars.Read"},
	}.Encode())
	if result.Get("admin_consent") != "True" || result.Get("tenant") != simulator.ContosoTenant || result.Get("state") != "x" {
		t.Errorf("the administrator's page answered %v", result)
	}
	if _, err := client.AcquireTokenSilent(t.Context(), []string{"Calendars.Read"}, public.WithSilentAccount(auth.Account)); err != nil {
		t.Errorf("after the consent: %v", err)
	}
}

func TestPartialGrant(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	s.SetSignIn(simulator.SignIn{Withhold: []string{"Calendars.Read"}})
	client, _ := newClient(t, s, "common")
	result := visit(t, s, authorize(t, client, "v", "User.Read", "Calendars.Read"))
	_, err := client.AcquireTokenByAuthCode(t.Context(), result.Get("code"), redirect, []string{"User.Read", "Calendars.Read"}, public.WithChallenge("v"))
	if err == nil || !strings.Contains(err.Error(), "declined scopes are present") {
		t.Errorf("MSAL took a narrower grant: %v", err)
	}
}

func TestLongScopesAreAnsweredLong(t *testing.T) {
	s := simulator.Contoso(simulator.Options{Audience: "https://graph.example/"})
	client, _ := newClient(t, s, "common")
	auth := signIn(t, s, client, "https://graph.example/User.Read")
	if got, want := auth.GrantedScopes, []string{"openid", "profile", "email", "https://graph.example/User.Read"}; !cmp.Equal(got, want) {
		t.Errorf("granted %v, want %v", got, want)
	}
	result := visit(t, s, authorize(t, client, "v", "https://graph.microsoft.com/User.Read"))
	if !strings.HasPrefix(result.Get("error_description"), "AADSTS500011: ") {
		t.Errorf("another audience: %v", result)
	}
}

func TestRefreshRefused(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*simulator.Simulator)
		want simulator.AADSTS
		name string
	}{
		"revoked":       {func(s *simulator.Simulator) { s.RevokeSessions(simulator.Adele) }, simulator.RevokedToken, "invalid_grant"},
		"unused":        {func(*simulator.Simulator) { time.Sleep(91 * 24 * time.Hour) }, simulator.ExpiredToken, "invalid_grant"},
		"second factor": {func(s *simulator.Simulator) { s.FailRefreshWith(simulator.Adele, simulator.SecondFactorRequired) }, simulator.SecondFactorRequired, "interaction_required"},
		"withdrawn": {func(s *simulator.Simulator) { s.WithdrawConsent(simulator.Adele, simulator.ContosoClient) },
			simulator.NeverConsented, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := simulator.Contoso(simulator.Options{})
				client, _ := newClient(t, s, "common")
				auth := signIn(t, s, client, "User.Read")
				test.do(s)
				time.Sleep(2 * time.Hour)
				_, err := client.AcquireTokenSilent(t.Context(), []string{"User.Read"}, public.WithSilentAccount(auth.Account))
				if got, name := aadsts(t, err); got != test.want || name != test.name {
					t.Errorf("%s AADSTS%d, want %s AADSTS%d", name, got, test.name, test.want)
				}
				// A new sign-in recovers.
				signIn(t, s, client, "User.Read")
				time.Sleep(2 * time.Hour)
				if _, err := client.AcquireTokenSilent(t.Context(), []string{"User.Read"}, public.WithSilentAccount(auth.Account)); err != nil {
					t.Errorf("after a new sign-in: %v", err)
				}
			})
		})
	}
}

func TestSignInByDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		client, _ := newClient(t, s, "common")
		device, err := client.AcquireTokenByDeviceCode(t.Context(), []string{"User.Read"})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := device.Result.VerificationURL, s.LoginURL()+"/common/oauth2/deviceauth"; got != want {
			t.Errorf("verification address %s, want %s", got, want)
		}
		if got := s.DeviceCodes(); len(got) != 1 || got[0] != device.Result.UserCode {
			t.Errorf("waiting: %v, want %s", got, device.Result.UserCode)
		}
		s.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/token", Status: 400, Code: "slow_down", Times: 2})
		time.AfterFunc(time.Minute, func() {
			// The page as a browser gets it.
			resp, err := (&http.Client{Transport: s.Transport()}).PostForm(device.Result.VerificationURL, url.Values{"otc": {strings.ToLower(device.Result.UserCode)}, "do": {"approve"}})
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
		auth, err := device.AuthenticationResult(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if auth.Account.PreferredUsername != simulator.Adele {
			t.Errorf("signed in: %+v", auth.Account)
		}
		if n := s.Count("POST", "/common/oauth2/v2.0/token"); n < 5 || len(s.DeviceCodes()) != 0 {
			t.Errorf("%d polls in a minute", n)
		}

		// The policy ends sessions that began with a device code.
		s.BlockDeviceCode(true)
		time.Sleep(2 * time.Hour)
		_, err = client.AcquireTokenSilent(t.Context(), []string{"User.Read"}, public.WithSilentAccount(auth.Account))
		if got, _ := aadsts(t, err); got != simulator.Blocked {
			t.Errorf("AADSTS%d, want AADSTS%d", got, simulator.Blocked)
		}
	})
}

func TestDeviceRefused(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*simulator.Simulator, string) error
		want string
	}{
		"declined": {func(s *simulator.Simulator, code string) error { return s.DeclineDevice(code) }, "authorization_declined"},
		"blocked": {func(s *simulator.Simulator, code string) error {
			s.BlockDeviceCode(true)
			return s.ApproveDevice(code)
		}, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := simulator.Contoso(simulator.Options{})
				client, _ := newClient(t, s, "common")
				device, err := client.AcquireTokenByDeviceCode(t.Context(), []string{"User.Read"})
				if err != nil {
					t.Fatal(err)
				}
				if err := test.do(s, device.Result.UserCode); err != nil {
					t.Fatal(err)
				}
				// MSAL has already read the body.
				if _, err = device.AuthenticationResult(t.Context()); err == nil || !strings.Contains(err.Error(), `"error":"`+test.want+`"`) {
					t.Errorf("%v, want %s", err, test.want)
				}
			})
		})
	}
}

func TestDeviceCodeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		client, _ := newClient(t, s, "common")
		device, err := client.AcquireTokenByDeviceCode(t.Context(), []string{"User.Read"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := device.AuthenticationResult(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("MSAL gave up with %v", err)
		}
		time.Sleep(time.Second)
		if err := s.ApproveDevice(device.Result.UserCode); err == nil {
			t.Error("an expired code was taken")
		}
	})
}

func TestKindsOfAccounts(t *testing.T) {
	for tenant, works := range map[string][2]bool{"common": {true, true}, "organizations": {true, false}, "consumers": {false, true}, simulator.ContosoTenant: {true, false}} {
		for i, address := range []string{simulator.Adele, "ann@outlook.example"} {
			s := simulator.Contoso(simulator.Options{})
			ann := s.AddUser(simulator.User{Address: "ann@outlook.example", Name: "Ann", Personal: true})
			s.SetSignIn(simulator.SignIn{User: address})
			client, _ := newClient(t, s, tenant)
			if !works[i] {
				if got := visit(t, s, authorize(t, client, "v", "User.Read")); !strings.HasPrefix(got.Get("error_description"), "AADSTS50020: ") {
					t.Errorf("%s at %s: %v", address, tenant, got)
				}
				continue
			}
			auth := signIn(t, s, client, "User.Read")
			if i == 1 && auth.Account.HomeAccountID != "00000000-0000-0000-"+ann.ID[:4]+"-"+ann.ID[4:]+"."+simulator.PersonalTenant {
				t.Errorf("a personal account's id is %s", auth.Account.HomeAccountID)
			}
		}
	}
}

func TestUnknownClient(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	for query, want := range map[string]string{
		"client_id=x&redirect_uri=http://localhost":                                              "AADSTS700016: ",
		"client_id=" + simulator.ContosoClient + "&redirect_uri=http://evil.example":             "AADSTS50011: ",
		"client_id=" + simulator.ContosoClient + "&redirect_uri=http://localhost.evil.example:1": "AADSTS50011: ",
	} {
		resp, err := (&http.Client{Transport: s.Transport()}).Get(s.LoginURL() + "/common/oauth2/v2.0/authorize?response_type=code&scope=User.Read&" + query)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %s, want 400 %s", query, resp.Status, body, want)
		}
	}
}

func TestScopeThatDoesNotExist(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	client, _ := newClient(t, s, "common")
	if got := visit(t, s, authorize(t, client, "v", "Calendar.Read")); !strings.HasPrefix(got.Get("error_description"), "AADSTS650053: The application asked for scope 'Calendar.Read' ") {
		t.Errorf("Calendar.Read: %v", got)
	}
}

func TestManagedPolicy(t *testing.T) {
	for address, allowed := range map[string]bool{simulator.Adele: false, "ann@outlook.example": true} {
		s := simulator.Contoso(simulator.Options{})
		s.AddUser(simulator.User{Address: "ann@outlook.example", Name: "Ann", Personal: true})
		s.SetSignIn(simulator.SignIn{User: address, AdminOnly: simulator.AdminConsentScopes()})
		client, _ := newClient(t, s, "common")
		page := authorize(t, client, "v", "Calendars.Read")
		if got := visit(t, s, page); got.Has("code") != allowed {
			t.Errorf("%s asks for Calendars.Read: %v", address, got)
		}
		s.ConsentForAll(simulator.ContosoTenant, simulator.ContosoClient, "Calendars.Read")
		if got := visit(t, s, page); !got.Has("code") {
			t.Errorf("%s, after the administrator consented: %v", address, got)
		}
	}
}

// A registration of the platform Web, as the O365 integration uses it.
func TestWebRegistration(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	s.Register(simulator.Registration{ClientID: "web", Web: []string{"https://login.microsoftonline.com/common/oauth2/nativeclient"}, Secret: "s3cret"})
	browser := &http.Client{Transport: s.Transport()}
	native := s.LoginURL() + "/common/oauth2/nativeclient"
	resp, err := browser.Get(s.LoginURL() + "/common/oauth2/v2.0/authorize?" + url.Values{
		"client_id": {"web"}, "response_type": {"code"}, "redirect_uri": {native}, "scope": {"offline_access User.Read"}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	code := resp.Request.URL.Query().Get("code")
	if resp.StatusCode != http.StatusOK || code == "" {
		t.Fatalf("ended at %s: %s", resp.Request.URL, resp.Status)
	}
	token := func(form url.Values) (int, map[string]any) {
		form.Set("client_id", "web")
		form.Set("scope", "offline_access User.Read")
		resp, err := browser.PostForm(s.LoginURL()+"/common/oauth2/v2.0/token", form)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {native}}
	if status, body := token(form); status != 401 || body["error"] != "invalid_client" {
		t.Errorf("without the secret: %d %v", status, body)
	}
	form.Set("client_secret", "guessed")
	if status, body := token(form); status != 401 || body["error"] != "invalid_client" {
		t.Errorf("with a wrong secret: %d %v", status, body)
	}
	form.Set("client_secret", "s3cret")
	status, body := token(form)
	if status != 200 || body["scope"] != "User.Read" {
		t.Fatalf("with the secret: %d %v", status, body)
	}
	form = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {body["refresh_token"].(string)}}
	if status, body := token(form); status != 401 {
		t.Errorf("refreshed without the secret: %d %v", status, body)
	}
	form.Set("client_secret", "s3cret")
	if status, body := token(form); status != 200 {
		t.Errorf("refreshed with the secret: %d %v", status, body)
	}
	// Device codes require a public client.
	if resp, err := browser.PostForm(s.LoginURL()+"/common/oauth2/v2.0/devicecode", url.Values{"client_id": {"web"}, "scope": {"User.Read"}}); err != nil || resp.StatusCode != 401 {
		t.Errorf("a device code for a confidential client: %v, %v", resp, err)
	}
}

func TestFormPost(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	client, _ := newClient(t, s, "common")
	resp, err := (&http.Client{Transport: s.Transport()}).Get(authorize(t, client, "v", "User.Read") + "&response_mode=form_post")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if !strings.Contains(string(body), `action="`+redirect+`"`) || !strings.Contains(string(body), `name="code"`) || !strings.Contains(string(body), `name="state" value="s1"`) {
		t.Errorf("page: %s", body)
	}
}

// If MSAL fails to refresh early, it returns the valid token and the error.
func TestRefreshIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{})
		s.SetTokenLifetime(2*time.Hour, time.Hour)
		client, _ := newClient(t, s, "common")
		auth := signIn(t, s, client, "User.Read")
		time.Sleep(90 * time.Minute)
		s.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/token", Status: 500, Times: -1})
		again, err := client.AcquireTokenSilent(t.Context(), []string{"User.Read"}, public.WithSilentAccount(auth.Account))
		if err == nil || again.AccessToken != auth.AccessToken {
			t.Errorf("token %t, error %v", again.AccessToken == auth.AccessToken, err)
		}
		s.ClearFaults()
		if again, err = client.AcquireTokenSilent(t.Context(), []string{"User.Read"}, public.WithSilentAccount(auth.Account)); err != nil || again.AccessToken == auth.AccessToken {
			t.Errorf("after the fault: %v", err)
		}
	})
}

// With Microsoft's host names in memory, MSAL needs only the transport.
func TestRealNames(t *testing.T) {
	s := simulator.Contoso(simulator.Options{LoginHost: "login.microsoftonline.com", GraphHost: "graph.microsoft.com"})
	client, err := public.New(simulator.ContosoClient, public.WithAuthority("https://login.microsoftonline.com/common"), public.WithHTTPClient(&http.Client{Transport: s.Transport()}))
	if err != nil {
		t.Fatal(err)
	}
	auth := signIn(t, s, client, "User.Read")
	if _, err := client.AcquireTokenSilent(t.Context(), []string{"User.Read"}, public.WithSilentAccount(auth.Account)); err != nil {
		t.Error(err)
	}
	if n := s.Count("GET", "/common/discovery/instance"); n == 0 {
		t.Error("MSAL did not ask which hosts are one")
	}
}
