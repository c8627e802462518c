package simulator

import (
	"crypto/rand"
	"crypto/sha256"
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
)

const (
	codeLifetime    = 10 * time.Minute
	refreshLifetime = 90 * 24 * time.Hour
	deviceLifetime  = 15 * time.Minute
)

// loginState is the state of Entra ID.
type loginState struct {
	signIn      SignIn
	consents    map[consentKey][]string
	codes       map[string]*authCode
	devices     map[string]*deviceGrant // by device code
	refresh     map[string]*refreshToken
	access      map[string]*accessToken
	lifetime    time.Duration
	refreshIn   time.Duration
	blockDevice bool
}

func newLoginState() loginState {
	return loginState{
		consents: map[consentKey][]string{},
		codes:    map[string]*authCode{},
		devices:  map[string]*deviceGrant{},
		refresh:  map[string]*refreshToken{},
		access:   map[string]*accessToken{},
		lifetime: time.Hour,
	}
}

// An authCode is an authorization code.
type authCode struct {
	user      *account
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
	user   *account
	client string
	device bool // started with a device code
	web    bool // started at a redirect URI of the platform Web, which requires the secret
}

type refreshToken struct {
	signInSession
	used    time.Time
	revoked bool
}

type accessToken struct {
	user    *account
	scopes  []string // short names
	expires time.Time
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
func (s *Simulator) parseScopes(scope string) (scopeRequest, *loginError) {
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
				if short = f[j+1:]; !strings.EqualFold(resource, s.options.Audience) {
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

// serveLogin handles requests to Entra ID.
func (s *Simulator) serveLogin(r *http.Request, body []byte) response {
	s.mu.Lock()
	defer s.mu.Unlock()
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
			return err.response(s.now())
		}
		return a
	case "POST oauth2/v2.0/devicecode":
		a, err := s.deviceCode(r, tenant, form)
		if err != nil {
			return err.response(s.now())
		}
		return a
	case "GET oauth2/deviceauth", "POST oauth2/deviceauth":
		return s.devicePage(r.URL.Query().Get("otc"), form)
	case "GET v2.0/adminconsent":
		return s.adminConsent(r, tenant, r.URL.Query())
	case "GET oauth2/nativeclient":
		// Microsoft's page is blank too: only the address matters.
		return response{status: http.StatusOK, contentType: "text/html; charset=utf-8"}
	}
	return page(http.StatusNotFound, "Page not found", "There is nothing at this address.")
}

// instance returns the host aliases. MSAL does not ask for them if instance discovery is off.
func (s *Simulator) instance(r *http.Request) response {
	return response{status: http.StatusOK, body: map[string]any{
		"tenant_discovery_endpoint": "https://" + r.Host + "/common/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{map[string]any{
			"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host},
		}},
	}}
}

func (s *Simulator) openIDConfiguration(r *http.Request, tenant string) response {
	if !s.tenant(tenant) {
		return (&loginError{code: UnknownTenant, about: tenant}).response(s.now())
	}
	issuer := tenant
	switch tenant {
	case "common", "organizations":
		issuer = "{tenantid}"
	case "consumers":
		issuer = PersonalTenant
	}
	root := "https://" + r.Host + "/"
	return response{status: http.StatusOK, body: map[string]any{
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
func (s *Simulator) tenant(name string) bool {
	switch name {
	case "common", "organizations", "consumers", PersonalTenant:
		return true
	}
	return slices.ContainsFunc(s.users, func(a *account) bool { return a.belongsTo(name) })
}

// belongsTo reports whether the account can sign in at this tenant.
func (a *account) belongsTo(tenant string) bool {
	switch tenant {
	case "common":
		return true
	case "organizations":
		return !a.Personal
	case "consumers":
		return a.Personal
	}
	_, domain, _ := strings.Cut(a.Address, "@")
	return strings.EqualFold(a.Tenant, tenant) || !a.Personal && strings.EqualFold(domain, tenant)
}

// registered returns the client's registration unless it excludes the tenant.
func (s *Simulator) registered(client, tenant string) (Registration, *loginError) {
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
func (s *Simulator) signingInUser(r Registration, tenant string) (*account, *loginError) {
	if e := s.login.signIn.Refuse; e != 0 {
		return nil, &loginError{code: e}
	}
	var a *account
	if address := s.login.signIn.User; address != "" {
		a = s.byAddress(address)
	} else if len(s.users) > 0 {
		a = s.users[0]
	}
	switch {
	case a == nil:
		return nil, &loginError{code: OtherAccounts, about: s.login.signIn.User, oauth: "access_denied"}
	case !a.belongsTo(tenant), r.Tenant != "" && a.Tenant != r.Tenant:
		return nil, &loginError{code: OtherAccounts, about: a.Address, oauth: "access_denied"}
	}
	return a, nil
}

// askConsent shows the consent screen, which offers no choice per scope.
// See https://learn.microsoft.com/entra/identity-platform/consent-types-developer.
func (s *Simulator) askConsent(a *account, client string, scopes []string) *loginError {
	missing := s.login.missing(a.User, client, scopes)
	for _, scope := range missing {
		switch {
		case !a.Personal && containsFold(s.login.signIn.AdminOnly, scope):
			return &loginError{code: NeedsAdministrator}
		case containsFold(s.login.signIn.Declines, scope):
			return &loginError{code: Declined}
		}
	}
	s.login.consent(consentKey{a.oid(), client}, missing)
	return nil
}

func (s *Simulator) authorize(r *http.Request, tenant string, q url.Values) response {
	return s.redirectResult(r, tenant, q, q.Get("response_mode"), func(registration Registration, result url.Values) *loginError {
		c, err := s.signIn(registration, tenant, q)
		if err != nil {
			return err
		}
		result.Set("code", c)
		result.Set("session_state", uuid.NewString())
		return nil
	})
}

// redirectResult ends a page of Entra ID at the client's redirect URI, with the result or error of do.
func (s *Simulator) redirectResult(r *http.Request, tenant string, q url.Values, mode string, do func(Registration, url.Values) *loginError) response {
	registration, err := s.registered(q.Get("client_id"), tenant)
	target := q.Get("redirect_uri")
	if err == nil {
		if ok, _ := registration.redirects(r.Host, target); !ok {
			err = &loginError{code: WrongRedirect, about: target}
		}
	}
	if err != nil {
		// Errors are not sent to unregistered addresses: they stay on the page.
		_, description := err.describe(s.now())
		return page(http.StatusBadRequest, "Sorry, but we're having trouble signing you in.", description)
	}
	result := url.Values{}
	if err := do(registration, result); err != nil {
		name, description := err.describe(s.now())
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

// signIn returns an authorization code.
func (s *Simulator) signIn(registration Registration, tenant string, q url.Values) (string, *loginError) {
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
	if q.Get("prompt") == "none" && len(s.login.missing(a.User, registration.ClientID, requested.scopes)) > 0 {
		return "", &loginError{code: NeverConsented, about: registration.ClientID, oauth: "interaction_required"}
	}
	if err := s.askConsent(a, registration.ClientID, requested.scopes); err != nil {
		return "", err
	}
	challenge := q.Get("code_challenge")
	if challenge != "" && q.Get("code_challenge_method") != "S256" {
		challenge = hash(challenge)
	}
	key := "1.AX" + random(48)
	maps.DeleteFunc(s.login.codes, func(_ string, c *authCode) bool { return s.now().After(c.expires.Add(codeLifetime)) })
	s.login.codes[key] = &authCode{user: a, client: registration.ClientID, redirect: q.Get("redirect_uri"), challenge: challenge, requested: requested,
		nonce: q.Get("nonce"), expires: s.now().Add(codeLifetime)}
	return key, nil
}

// redirectTo sends the browser back to the client.
func redirectTo(target, mode string, result url.Values) response {
	if mode == "form_post" {
		var fields strings.Builder
		for name := range result {
			fmt.Fprintf(&fields, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(result.Get(name)))
		}
		return response{status: http.StatusOK, contentType: "text/html; charset=utf-8", text: fmt.Sprintf(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Working…</title>
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
	return response{status: http.StatusFound, header: http.Header{"Location": {target + separator + result.Encode()}}}
}

func (s *Simulator) token(r *http.Request, tenant string, form url.Values) (response, *loginError) {
	registration, err := s.registered(form.Get("client_id"), tenant)
	if err != nil {
		return response{}, err
	}
	if secret := form.Get("client_secret"); form.Has("client_secret") && (registration.Secret == "" || secret != registration.Secret) {
		return response{}, &loginError{code: WrongSecret, about: registration.ClientID}
	}
	requested, err := s.parseScopes(form.Get("scope"))
	if err != nil {
		return response{}, err
	}
	switch grant := form.Get("grant_type"); grant {
	case "authorization_code":
		return s.redeemCode(r, registration, requested, form)
	case "refresh_token":
		return s.redeemRefresh(r, registration, tenant, requested, form)
	case "urn:ietf:params:oauth:grant-type:device_code", "device_code":
		return s.redeemDevice(r, registration, form)
	default:
		return response{}, &loginError{code: UnsupportedGrant, about: grant}
	}
}

func (s *Simulator) redeemCode(r *http.Request, registration Registration, requested scopeRequest, form url.Values) (response, *loginError) {
	c := s.login.codes[form.Get("code")]
	switch {
	case c == nil || c.client != registration.ClientID:
		return response{}, &loginError{code: MalformedToken}
	case c.used:
		return response{}, &loginError{code: UsedCode}
	case s.now().After(c.expires):
		return response{}, &loginError{code: ExpiredCode}
	case form.Get("redirect_uri") != c.redirect:
		return response{}, &loginError{code: WrongRedirect, about: form.Get("redirect_uri"), oauth: "invalid_grant"}
	}
	_, web := registration.redirects(r.Host, c.redirect)
	if web && !form.Has("client_secret") {
		return response{}, &loginError{code: MissingSecret}
	}
	if c.challenge != "" {
		switch verifier := form.Get("code_verifier"); {
		case verifier == "":
			return response{}, &loginError{code: MissingVerifier}
		case hash(verifier) != c.challenge:
			return response{}, &loginError{code: WrongVerifier}
		}
	}
	c.used = true
	if len(requested.scopes) == 0 {
		requested = c.requested
	}
	if missing := s.login.missing(c.user.User, c.client, requested.scopes); len(missing) > 0 {
		return response{}, &loginError{code: NeverConsented, about: c.client}
	}
	c.user.refreshError = 0
	return s.issue(r, requested, signInSession{user: c.user, client: c.client, web: web}, c.requested.offline, c.nonce), nil
}

func (s *Simulator) redeemRefresh(r *http.Request, registration Registration, tenant string, requested scopeRequest, form url.Values) (response, *loginError) {
	t := s.login.refresh[form.Get("refresh_token")]
	switch {
	case t == nil || t.client != registration.ClientID:
		return response{}, &loginError{code: MalformedToken}
	case t.revoked:
		return response{}, &loginError{code: RevokedToken}
	case s.now().Sub(t.used) > refreshLifetime:
		return response{}, &loginError{code: ExpiredToken}
	case !t.user.belongsTo(tenant):
		return response{}, &loginError{code: OtherAccounts, about: t.user.Address, oauth: "invalid_grant"}
	case t.web && !form.Has("client_secret"):
		return response{}, &loginError{code: MissingSecret}
	case t.user.refreshError != 0:
		return response{}, &loginError{code: t.user.refreshError}
	case t.device && s.login.blockDevice:
		return response{}, &loginError{code: Blocked}
	}
	if missing := s.login.missing(t.user.User, t.client, requested.scopes); len(missing) > 0 {
		return response{}, &loginError{code: NeverConsented, about: t.client}
	}
	t.used = s.now()
	return s.issue(r, requested, t.signInSession, true, ""), nil
}

// issue returns new tokens. The access token has every scope consented to, whatever was requested.
func (s *Simulator) issue(r *http.Request, requested scopeRequest, in signInSession, offline bool, nonce string) response {
	now, a := s.now(), in.user
	scopes := difference(s.login.consented(a.User, in.client), s.login.signIn.Withhold)
	body := map[string]any{
		"token_type":     "Bearer",
		"scope":          s.scopeAnswer(requested, scopes),
		"expires_in":     int(s.login.lifetime / time.Second),
		"ext_expires_in": int(s.login.lifetime / time.Second),
		"access_token":   s.login.newAccess(&accessToken{user: a, scopes: scopes, expires: now.Add(s.login.lifetime)}, now),
		"client_info":    encode(map[string]any{"uid": a.oid(), "utid": a.Tenant}),
	}
	if s.login.refreshIn > 0 {
		body["refresh_in"] = int(s.login.refreshIn / time.Second)
	}
	if offline {
		// The previous refresh token stays valid, as in Entra ID.
		key := "1.AR" + random(96)
		maps.DeleteFunc(s.login.refresh, func(_ string, t *refreshToken) bool { return now.Sub(t.used) > 2*refreshLifetime })
		s.login.refresh[key] = &refreshToken{signInSession: in, used: now}
		body["refresh_token"] = key
	}
	if requested.openid {
		claims := map[string]any{
			"aud": in.client, "iss": "https://" + r.Host + "/" + a.Tenant + "/v2.0", "iat": now.Unix(), "nbf": now.Unix(),
			"exp": now.Add(s.login.lifetime).Unix(), "name": a.Name, "oid": a.oid(), "preferred_username": a.Address,
			"sub": hash(a.oid() + in.client), "tid": a.Tenant, "ver": "2.0",
		}
		if requested.email {
			claims["email"] = a.Address
		}
		if nonce != "" {
			claims["nonce"] = nonce
		}
		body["id_token"] = encode(map[string]any{"typ": "JWT", "alg": "RS256", "kid": "simulator"}) + "." + encode(claims) + "." + random(64)
	}
	return response{status: http.StatusOK, header: http.Header{"Cache-Control": {"no-store, no-cache"}}, body: body}
}

// scopeAnswer returns the granted scopes in the form in which they were requested, without offline_access.
func (s *Simulator) scopeAnswer(requested scopeRequest, scopes []string) string {
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
		prefix = s.options.Audience + "/"
	}
	for _, scope := range scopes {
		out = append(out, prefix+scope)
	}
	if requested.def {
		out = append(out, prefix+".default")
	}
	return strings.Join(out, " ")
}

func (l *loginState) newAccess(t *accessToken, now time.Time) string {
	maps.DeleteFunc(l.access, func(_ string, t *accessToken) bool { return now.Sub(t.expires) > time.Hour })
	key := "eyJ0eXAiOiJKV1Qi." + random(120) + "." + random(64)
	l.access[key] = t
	return key
}

// adminConsent handles an administrator's consent for the tenant. Every user who signs in counts as administrator.
// See https://learn.microsoft.com/entra/identity-platform/v2-admin-consent.
func (s *Simulator) adminConsent(r *http.Request, tenant string, q url.Values) response {
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
		s.login.consent(consentKey{a.Tenant, registration.ClientID}, requested.scopes)
		result.Set("admin_consent", "True")
		result.Set("tenant", a.Tenant)
		result.Set("scope", s.scopeAnswer(requested, requested.scopes))
		return nil
	})
}

// page returns an HTML page.
func page(status int, title, text string) response {
	return response{status: status, contentType: "text/html; charset=utf-8", text: fmt.Sprintf(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in</title>
<body style="font-family:sans-serif;max-width:32em;margin:4em auto"><h1>%s</h1><p>%s</p></body></html>
`, html.EscapeString(title), html.EscapeString(text))}
}

// codePage returns the form for a device's user code.
func codePage(text, code string) response {
	a := page(http.StatusOK, "Enter code", text)
	a.text = strings.Replace(a.text, "</body>", fmt.Sprintf(`<form method="post"><label>Code <input name="otc" value="%s" autofocus></label>
<button name="do" value="approve">Next</button> <button name="do" value="decline">Cancel</button></form></body>`, html.EscapeString(code)), 1)
	return a
}

// random returns n unguessable characters that are safe in a URL.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
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
