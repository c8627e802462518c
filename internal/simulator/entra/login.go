// Package entra simulates Microsoft Entra ID: sign-in, consent, tokens and device codes.
package entra

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

const (
	codeLifetime    = 10 * time.Minute
	refreshLifetime = 90 * 24 * time.Hour
	deviceLifetime  = 15 * time.Minute
)

// A Service is one Entra ID. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	audience  string
	scopes    []string // all delegated permissions of Graph

	registrations map[string]Registration
	signIn        SignIn
	consents      map[consentKey][]string
	codes         map[string]*authCode
	devices       map[string]*deviceGrant // by device code
	refresh       map[string]*refreshToken
	access        map[string]*directory.AccessToken
	refreshErrors map[*directory.User]AADSTS
	lifetime      time.Duration
	refreshIn     time.Duration
	blockDevice   bool
}

//go:embed scopes.json
var scopesJSON []byte

// New returns an Entra ID without app registrations. audience qualifies the long names of scopes.
func New(d *directory.Directory, audience string) *Service {
	s := &Service{
		directory:     d,
		audience:      audience,
		registrations: map[string]Registration{},
		consents:      map[consentKey][]string{},
		codes:         map[string]*authCode{},
		devices:       map[string]*deviceGrant{},
		refresh:       map[string]*refreshToken{},
		access:        map[string]*directory.AccessToken{},
		refreshErrors: map[*directory.User]AADSTS{},
		lifetime:      time.Hour,
	}
	if err := json.Unmarshal(scopesJSON, &s.scopes); err != nil {
		panic(err) // embedded file
	}
	return s
}

// AccessToken returns the access token with this value, valid or expired, or nil.
func (s *Service) AccessToken(value string) *directory.AccessToken { return s.access[value] }

// An authCode is an authorization code.
type authCode struct {
	user      *directory.User
	client    string
	redirect  string
	challenge string
	requested scopeRequest
	nonce     string
	expires   time.Time
	used      bool
}

// A signInSession starts with a sign-in and continues with refresh tokens.
type signInSession struct {
	user   *directory.User
	client string
	device bool // started with a device code
	web    bool // started at a redirect URI of the platform Web, which requires the secret
}

type refreshToken struct {
	signInSession
	used    time.Time
	revoked bool
}

// A scopeRequest is a parsed scope parameter.
type scopeRequest struct {
	scopes  []string // of Graph, short names, without those below
	long    bool     // the first scope was qualified with the audience
	def     bool     // .default
	openid  bool
	profile bool
	email   bool
	offline bool
}

// parseScopes accepts Graph's scopes as short and as qualified names, as Entra ID does.
func (s *Service) parseScopes(scope string) (scopeRequest, *loginError) {
	var a scopeRequest
	for _, f := range strings.Fields(scope) {
		switch strings.ToLower(f) {
		case "openid":
			a.openid = true
		case "profile":
			a.profile = true
		case "email":
			a.email = true
		case "offline_access":
			a.offline = true
		default:
			short := f
			if strings.Contains(f, "://") {
				j := strings.LastIndexByte(f, '/')
				resource := strings.TrimSuffix(f[:j], "/")
				if short = f[j+1:]; !strings.EqualFold(resource, s.audience) {
					return a, &loginError{code: UnknownResource, about: resource}
				}
				a.long = a.long || len(a.scopes) == 0
			}
			if short == ".default" {
				a.def = true
				continue
			}
			if !containsFold(s.scopes, short) {
				return a, &loginError{code: UnknownScope, about: short}
			}
			if !containsFold(a.scopes, short) {
				a.scopes = append(a.scopes, short)
			}
		}
	}
	return a, nil
}

// Serve handles a request.
func (s *Service) Serve(r *http.Request, body []byte) web.Response {
	s.directory.Lock()
	defer s.directory.Unlock()
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	tenant = strings.ToLower(tenant)
	form, err := url.ParseQuery(string(body))
	if err != nil {
		form = url.Values{}
	}
	switch r.Method + " " + strings.ToLower(rest) {
	case "GET discovery/instance":
		return s.instance(r)
	case "GET v2.0/.well-known/openid-configuration":
		return s.openIDConfiguration(r, tenant)
	case "GET oauth2/v2.0/authorize":
		return s.authorize(r, tenant, r.URL.Query())
	case "POST oauth2/v2.0/authorize":
		return s.authorize(r, tenant, form)
	case "POST oauth2/v2.0/token":
		a, err := s.token(r, tenant, form)
		if err != nil {
			return err.response(s.directory.Now())
		}
		return a
	case "POST oauth2/v2.0/devicecode":
		a, err := s.deviceCode(r, tenant, form)
		if err != nil {
			return err.response(s.directory.Now())
		}
		return a
	case "GET oauth2/deviceauth", "POST oauth2/deviceauth":
		return s.devicePage(r.URL.Query().Get("otc"), form)
	case "GET discovery/v2.0/keys":
		// Tokens are not signed.
		return web.Response{Status: http.StatusOK, Body: map[string]any{"keys": []any{}}}
	case "GET v2.0/adminconsent":
		return s.adminConsent(r, tenant, r.URL.Query())
	case "GET oauth2/nativeclient":
		// Microsoft's page is blank too: only the address matters.
		return web.Response{Status: http.StatusOK, ContentType: "text/html; charset=utf-8"}
	}
	return page(http.StatusNotImplemented, "Not simulated", fmt.Sprintf("The graph2mqtt simulator does not implement %s %s.", r.Method, r.URL.Path))
}

// instance returns the host aliases. MSAL does not ask for them if instance discovery is off.
func (s *Service) instance(r *http.Request) web.Response {
	return web.Response{Status: http.StatusOK, Body: map[string]any{
		"tenant_discovery_endpoint": "https://" + r.Host + "/common/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{map[string]any{
			"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host},
		}},
	}}
}

func (s *Service) openIDConfiguration(r *http.Request, tenant string) web.Response {
	if !s.tenant(tenant) {
		return (&loginError{code: UnknownTenant, about: tenant}).response(s.directory.Now())
	}
	issuer := tenant
	switch tenant {
	case "common", "organizations":
		issuer = "{tenantid}"
	case "consumers":
		issuer = directory.PersonalTenant
	}
	root := "https://" + r.Host + "/"
	return web.Response{Status: http.StatusOK, Body: map[string]any{
		"token_endpoint":                        root + tenant + "/oauth2/v2.0/token",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"jwks_uri":                              root + tenant + "/discovery/v2.0/keys",
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"issuer":                                root + issuer + "/v2.0",
		"authorization_endpoint":                root + tenant + "/oauth2/v2.0/authorize",
		"device_authorization_endpoint":         root + tenant + "/oauth2/v2.0/devicecode",
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid", "oid"},
		"msgraph_host":                          "graph.microsoft.com",
	}}
}

// tenant reports whether the tenant exists, by id or by the domain of a user.
func (s *Service) tenant(name string) bool {
	switch name {
	case "common", "organizations", "consumers", directory.PersonalTenant:
		return true
	}
	return slices.ContainsFunc(s.directory.Users(), func(a *directory.User) bool { return a.BelongsTo(name) })
}

// registered returns the client's registration unless it excludes the tenant.
func (s *Service) registered(client, tenant string) (Registration, *loginError) {
	if client == "" {
		return Registration{}, &loginError{code: MissingParameter, about: "client_id"}
	}
	if !s.tenant(tenant) {
		return Registration{}, &loginError{code: UnknownTenant, about: tenant}
	}
	r, ok := s.registrations[client]
	if !ok {
		return r, &loginError{code: UnknownClient, about: client}
	}
	if r.Tenant != "" {
		switch tenant {
		case "common", "organizations", "consumers":
			return r, &loginError{code: SingleTenant, about: client}
		}
	}
	return r, nil
}

// signingInUser returns the user at the sign-in page, if that user can use the client at this tenant.
func (s *Service) signingInUser(r Registration, tenant string) (*directory.User, *loginError) {
	if e := s.signIn.Refuse; e != 0 {
		return nil, &loginError{code: e}
	}
	var a *directory.User
	if address := s.signIn.User; address != "" {
		a = s.directory.ByAddress(address)
	} else if len(s.directory.Users()) > 0 {
		a = s.directory.Users()[0]
	}
	switch {
	case a == nil:
		return nil, &loginError{code: OtherAccounts, about: s.signIn.User, oauth: "access_denied"}
	case !a.BelongsTo(tenant), r.Tenant != "" && a.Tenant != r.Tenant:
		return nil, &loginError{code: OtherAccounts, about: a.Address, oauth: "access_denied"}
	}
	return a, nil
}

// askConsent shows the consent screen, which offers no choice per scope.
// See https://learn.microsoft.com/entra/identity-platform/consent-types-developer.
func (s *Service) askConsent(a *directory.User, client string, scopes []string) *loginError {
	missing := s.missing(a, client, scopes)
	for _, scope := range missing {
		switch {
		case !a.Personal && containsFold(s.signIn.AdminOnly, scope):
			return &loginError{code: NeedsAdministrator}
		case containsFold(s.signIn.Declines, scope):
			return &loginError{code: Declined}
		}
	}
	s.consent(consentKey{a.ObjectID(), client}, missing)
	return nil
}

func (s *Service) authorize(r *http.Request, tenant string, q url.Values) web.Response {
	return s.redirectResult(r, tenant, q, q.Get("response_mode"), func(registration Registration, result url.Values) *loginError {
		c, err := s.newAuthCode(registration, tenant, q)
		if err != nil {
			return err
		}
		result.Set("code", c)
		result.Set("session_state", uuid.NewString())
		return nil
	})
}

// redirectResult ends a page of Entra ID at the client's redirect URI, with the result or error of do.
func (s *Service) redirectResult(r *http.Request, tenant string, q url.Values, mode string, do func(Registration, url.Values) *loginError) web.Response {
	registration, err := s.registered(q.Get("client_id"), tenant)
	target := q.Get("redirect_uri")
	if err == nil {
		if ok, _ := registration.redirects(r.Host, target); !ok {
			err = &loginError{code: WrongRedirect, about: target}
		}
	}
	if err != nil {
		// Errors are not sent to unregistered addresses: they stay on the page.
		_, description := err.describe(s.directory.Now())
		return page(http.StatusBadRequest, "Sorry, but we're having trouble signing you in.", description)
	}
	result := url.Values{}
	if err := do(registration, result); err != nil {
		name, description := err.describe(s.directory.Now())
		result.Set("error", name)
		result.Set("error_description", description)
		if err.code == Declined {
			result.Set("error_subcode", "cancel")
		}
	}
	if q.Has("state") {
		result.Set("state", q.Get("state"))
	}
	return redirectTo(target, mode, result)
}

// newAuthCode returns an authorization code.
func (s *Service) newAuthCode(registration Registration, tenant string, q url.Values) (string, *loginError) {
	if q.Get("response_type") != "code" {
		return "", &loginError{code: UnsupportedResponse, about: q.Get("response_type")}
	}
	requested, err := s.parseScopes(q.Get("scope"))
	if err != nil {
		return "", err
	}
	if len(requested.scopes) == 0 && !requested.openid && !requested.def {
		return "", &loginError{code: MissingParameter, about: "scope"}
	}
	if method := q.Get("code_challenge_method"); q.Has("code_challenge") && method != "S256" && method != "plain" && method != "" {
		return "", &loginError{code: MissingParameter, about: "code_challenge_method"}
	}
	a, err := s.signingInUser(registration, tenant)
	if err != nil {
		return "", err
	}
	if q.Get("prompt") == "none" && len(s.missing(a, registration.ClientID, requested.scopes)) > 0 {
		return "", &loginError{code: NeverConsented, about: registration.ClientID, oauth: "interaction_required"}
	}
	if err := s.askConsent(a, registration.ClientID, requested.scopes); err != nil {
		return "", err
	}
	challenge := q.Get("code_challenge")
	if challenge != "" && q.Get("code_challenge_method") != "S256" {
		challenge = hash(challenge)
	}
	key := "1.AX" + directory.Random(48)
	maps.DeleteFunc(s.codes, func(_ string, c *authCode) bool { return s.directory.Now().After(c.expires.Add(codeLifetime)) })
	s.codes[key] = &authCode{user: a, client: registration.ClientID, redirect: q.Get("redirect_uri"), challenge: challenge, requested: requested,
		nonce: q.Get("nonce"), expires: s.directory.Now().Add(codeLifetime)}
	return key, nil
}

// redirectTo sends the browser back to the client.
func redirectTo(target, mode string, result url.Values) web.Response {
	if mode == "form_post" {
		var fields strings.Builder
		for name := range result {
			fmt.Fprintf(&fields, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(result.Get(name)))
		}
		return web.Response{Status: http.StatusOK, ContentType: "text/html; charset=utf-8", Text: fmt.Sprintf(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Working…</title>
<body><form method="post" action="%s">%s<noscript><button>Continue</button></noscript></form><script>document.forms[0].submit()</script></body></html>
`, html.EscapeString(target), fields.String())}
	}
	separator := "?"
	switch {
	case mode == "fragment":
		separator = "#"
	case strings.Contains(target, "?"):
		separator = "&"
	}
	return web.Response{Status: http.StatusFound, Header: http.Header{"Location": {target + separator + result.Encode()}}}
}

func (s *Service) token(r *http.Request, tenant string, form url.Values) (web.Response, *loginError) {
	registration, err := s.registered(form.Get("client_id"), tenant)
	if err != nil {
		return web.Response{}, err
	}
	if form.Get("grant_type") == "client_credentials" {
		return s.clientCredentials(r, registration, tenant, form)
	}
	if secret := form.Get("client_secret"); form.Has("client_secret") && (registration.Secret == "" || secret != registration.Secret) {
		return web.Response{}, &loginError{code: WrongSecret, about: registration.ClientID}
	}
	requested, err := s.parseScopes(form.Get("scope"))
	if err != nil {
		return web.Response{}, err
	}
	switch grant := form.Get("grant_type"); grant {
	case "authorization_code":
		return s.redeemCode(r, registration, requested, form)
	case "refresh_token":
		return s.redeemRefresh(r, registration, tenant, requested, form)
	case "urn:ietf:params:oauth:grant-type:device_code", "device_code":
		return s.redeemDevice(r, registration, form)
	default:
		return web.Response{}, &loginError{code: UnsupportedGrant, about: grant}
	}
}

func (s *Service) redeemCode(r *http.Request, registration Registration, requested scopeRequest, form url.Values) (web.Response, *loginError) {
	c := s.codes[form.Get("code")]
	switch {
	case c == nil || c.client != registration.ClientID:
		return web.Response{}, &loginError{code: MalformedToken}
	case c.used:
		return web.Response{}, &loginError{code: UsedCode}
	case s.directory.Now().After(c.expires):
		return web.Response{}, &loginError{code: ExpiredCode}
	case form.Get("redirect_uri") != c.redirect:
		return web.Response{}, &loginError{code: WrongRedirect, about: form.Get("redirect_uri"), oauth: "invalid_grant"}
	}
	_, isWeb := registration.redirects(r.Host, c.redirect)
	if isWeb && !form.Has("client_secret") {
		return web.Response{}, &loginError{code: MissingSecret}
	}
	if c.challenge != "" {
		switch verifier := form.Get("code_verifier"); {
		case verifier == "":
			return web.Response{}, &loginError{code: MissingVerifier}
		case hash(verifier) != c.challenge:
			return web.Response{}, &loginError{code: WrongVerifier}
		}
	}
	c.used = true
	if len(requested.scopes) == 0 {
		requested = c.requested
	}
	if missing := s.missing(c.user, c.client, requested.scopes); len(missing) > 0 {
		return web.Response{}, &loginError{code: NeverConsented, about: c.client}
	}
	delete(s.refreshErrors, c.user)
	return s.issue(r, requested, signInSession{user: c.user, client: c.client, web: isWeb}, c.requested.offline, c.nonce), nil
}

func (s *Service) redeemRefresh(r *http.Request, registration Registration, tenant string, requested scopeRequest, form url.Values) (web.Response, *loginError) {
	t := s.refresh[form.Get("refresh_token")]
	switch {
	case t == nil || t.client != registration.ClientID:
		return web.Response{}, &loginError{code: MalformedToken}
	case t.revoked:
		return web.Response{}, &loginError{code: RevokedToken}
	case s.directory.Now().Sub(t.used) > refreshLifetime:
		return web.Response{}, &loginError{code: ExpiredToken}
	case !t.user.BelongsTo(tenant):
		return web.Response{}, &loginError{code: OtherAccounts, about: t.user.Address, oauth: "invalid_grant"}
	case t.web && !form.Has("client_secret"):
		return web.Response{}, &loginError{code: MissingSecret}
	case s.refreshErrors[t.user] != 0:
		return web.Response{}, &loginError{code: s.refreshErrors[t.user]}
	case t.device && s.blockDevice:
		return web.Response{}, &loginError{code: Blocked}
	}
	if missing := s.missing(t.user, t.client, requested.scopes); len(missing) > 0 {
		return web.Response{}, &loginError{code: NeverConsented, about: t.client}
	}
	t.used = s.directory.Now()
	return s.issue(r, requested, t.signInSession, true, ""), nil
}

// issue returns new tokens. The access token has every scope consented to, regardless of the request.
func (s *Service) issue(r *http.Request, requested scopeRequest, in signInSession, offline bool, nonce string) web.Response {
	now, a := s.directory.Now(), in.user
	scopes := difference(s.consented(a, in.client), s.signIn.Withhold)
	body := map[string]any{
		"token_type":     "Bearer",
		"scope":          s.scopeAnswer(requested, scopes),
		"expires_in":     int(s.lifetime / time.Second),
		"ext_expires_in": int(s.lifetime / time.Second),
		"access_token":   s.newAccess(&directory.AccessToken{User: a, Scopes: scopes, Expires: now.Add(s.lifetime)}, now),
		"client_info":    encode(map[string]any{"uid": a.ObjectID(), "utid": a.Tenant}),
	}
	if s.refreshIn > 0 {
		body["refresh_in"] = int(s.refreshIn / time.Second)
	}
	if offline {
		// The previous refresh token stays valid, as in Entra ID.
		key := "1.AR" + directory.Random(96)
		maps.DeleteFunc(s.refresh, func(_ string, t *refreshToken) bool { return now.Sub(t.used) > 2*refreshLifetime })
		s.refresh[key] = &refreshToken{signInSession: in, used: now}
		body["refresh_token"] = key
	}
	if requested.openid {
		claims := map[string]any{
			"aud": in.client, "iss": "https://" + r.Host + "/" + a.Tenant + "/v2.0", "iat": now.Unix(), "nbf": now.Unix(),
			"exp": now.Add(s.lifetime).Unix(), "name": a.Name, "oid": a.ObjectID(), "preferred_username": a.Address,
			"sub": hash(a.ObjectID() + in.client), "tid": a.Tenant, "ver": "2.0",
		}
		if requested.email {
			claims["email"] = a.Address
		}
		if nonce != "" {
			claims["nonce"] = nonce
		}
		body["id_token"] = encode(map[string]any{"typ": "JWT", "alg": "RS256", "kid": "simulator"}) + "." + encode(claims) + "." + directory.Random(64)
	}
	return web.Response{Status: http.StatusOK, Header: http.Header{"Cache-Control": {"no-store, no-cache"}}, Body: body}
}

// scopeAnswer returns the granted scopes in the form in which they were requested, without offline_access.
func (s *Service) scopeAnswer(requested scopeRequest, scopes []string) string {
	var out []string
	for _, o := range []struct {
		name string
		on   bool
	}{{"openid", requested.openid}, {"profile", requested.profile || requested.openid}, {"email", requested.email || requested.openid}} {
		if o.on {
			out = append(out, o.name)
		}
	}
	prefix := ""
	if requested.long || requested.def {
		prefix = s.audience + "/"
	}
	for _, scope := range scopes {
		out = append(out, prefix+scope)
	}
	if requested.def {
		out = append(out, prefix+".default")
	}
	return strings.Join(out, " ")
}

func (s *Service) newAccess(t *directory.AccessToken, now time.Time) string {
	maps.DeleteFunc(s.access, func(_ string, t *directory.AccessToken) bool { return now.Sub(t.Expires) > time.Hour })
	key := "eyJ0eXAiOiJKV1Qi." + directory.Random(120) + "." + directory.Random(64)
	s.access[key] = t
	return key
}

// adminConsent handles an administrator's consent for the tenant. Every user who signs in counts as administrator.
// See https://learn.microsoft.com/entra/identity-platform/v2-admin-consent.
func (s *Service) adminConsent(r *http.Request, tenant string, q url.Values) web.Response {
	return s.redirectResult(r, tenant, q, "query", func(registration Registration, result url.Values) *loginError {
		requested, err := s.parseScopes(q.Get("scope"))
		if err != nil {
			return err
		}
		a, err := s.signingInUser(registration, tenant)
		if err != nil {
			return err
		}
		if a.Personal {
			return &loginError{code: OtherAccounts, about: a.Address, oauth: "access_denied"}
		}
		s.consent(consentKey{a.Tenant, registration.ClientID}, requested.scopes)
		result.Set("admin_consent", "True")
		result.Set("tenant", a.Tenant)
		result.Set("scope", s.scopeAnswer(requested, requested.scopes))
		return nil
	})
}

// page returns an HTML page.
func page(status int, title, text string) web.Response {
	return web.Response{Status: status, ContentType: "text/html; charset=utf-8", Text: fmt.Sprintf(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in</title>
<body style="font-family:sans-serif;max-width:32em;margin:4em auto"><h1>%s</h1><p>%s</p></body></html>
`, html.EscapeString(title), html.EscapeString(text))}
}

// codePage returns the form for a device's user code.
func codePage(text, code string) web.Response {
	a := page(http.StatusOK, "Enter code", text)
	a.Text = strings.Replace(a.Text, "</body>", fmt.Sprintf(`<form method="post"><label>Code <input name="otc" value="%s" autofocus></label>
<button name="do" value="approve">Next</button> <button name="do" value="decline">Cancel</button></form></body>`, html.EscapeString(code)), 1)
	return a
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// encode returns one part of a JWT.
func encode(claims map[string]any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
