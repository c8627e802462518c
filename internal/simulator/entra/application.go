package entra

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

// ApplicationRoles returns the application permissions that the simulator knows.
func ApplicationRoles() []string {
	return []string{
		"Calendars.Read", "Calendars.ReadBasic.All", "Calendars.ReadWrite", "Contacts.Read", "Directory.Read.All", "Group.Read.All", "GroupMember.Read.All",
		"Mail.Read", "Mail.ReadBasic.All", "Mail.ReadWrite", "Mail.Send", "MailboxSettings.Read", "MailboxSettings.ReadWrite",
		"Place.Read.All", "Presence.Read.All", "Presence.ReadWrite.All", "Tasks.Read.All", "Tasks.ReadWrite.All", "User.Read.All", "User.ReadBasic.All",
	}
}

// knownRoles refuses application permissions that the simulator does not know.
func knownRoles(field string, roles []string) error {
	for _, role := range roles {
		if !slices.Contains(ApplicationRoles(), role) {
			return control.Invalid("%s: unknown application permission %q", field, role)
		}
	}
	return nil
}

// GrantRoles sets the application permissions that an administrator granted to a registration. Issued access tokens keep theirs.
func (s *Service) GrantRoles(clientID string, roles ...string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	r := s.registrations[clientID]
	r.Roles = slices.Clone(roles)
	s.registrations[clientID] = r
}

// SetMailboxRoles sets the roles that an application has for the mailbox of one user, as Exchange's role-based access control for
// applications assigns them. They are in no token, and take effect at once.
func (s *Service) SetMailboxRoles(clientID, address string, roles ...string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.directory.SetMailboxRoles(clientID, address, roles)
}

// ApplicationToken issues an access token of a registered application in a tenant, without its credentials.
func (s *Service) ApplicationToken(clientID, tenant string) string {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.newApplicationAccess("https://login.microsoftonline.com", s.registrations[clientID], tenant)
}

// clientCredentials issues an access token of the application itself.
//
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
func (s *Service) clientCredentials(r *http.Request, registration Registration, tenant string, form url.Values) (web.Response, *loginError) {
	switch tenant {
	case "common", "organizations", "consumers":
		return web.Response{}, &loginError{code: NoTenant}
	}
	if err := s.checkCredentials(r, registration, form); err != nil {
		return web.Response{}, err
	}
	// MSAL requests openid, profile and offline_access as well, which have no effect.
	if requested, err := s.parseScopes(form.Get("scope")); err != nil || !requested.def || len(requested.scopes) > 0 {
		return web.Response{}, &loginError{code: NoDefaultScope, about: form.Get("scope")}
	}
	return web.Response{Status: http.StatusOK, Header: http.Header{"Cache-Control": {"no-store, no-cache"}}, Body: map[string]any{
		"token_type": "Bearer", "expires_in": int(s.lifetime / time.Second), "ext_expires_in": int(s.lifetime / time.Second),
		"access_token": s.newApplicationAccess("https://"+r.Host, registration, s.tenantID(tenant)),
	}}, nil
}

// tenantID returns the id of a tenant that is named by its id or by a domain.
func (s *Service) tenantID(name string) string {
	for _, u := range s.directory.Users() {
		if u.BelongsTo(name) {
			return u.Tenant
		}
	}
	return name
}

// newApplicationAccess returns an access token that is a JWT with the granted application permissions, as those of Entra ID.
func (s *Service) newApplicationAccess(issuer string, registration Registration, tenant string) string {
	now := s.directory.Now()
	principal := &directory.User{ID: directory.NewGUID(registration.ClientID + "@" + tenant), Name: registration.Name, Tenant: tenant}
	claims := map[string]any{
		"aud": s.audience, "iss": issuer + "/" + tenant + "/v2.0", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(s.lifetime).Unix(),
		"appid": registration.ClientID, "idtyp": "app", "oid": principal.ID, "sub": principal.ID, "tid": tenant, "ver": "1.0",
	}
	if len(registration.Roles) > 0 {
		claims["roles"] = registration.Roles
	}
	key := encode(map[string]any{"typ": "JWT", "alg": "RS256", "kid": "simulator"}) + "." + encode(claims) + "." + directory.Random(64)
	s.access[key] = &directory.AccessToken{
		User: principal, Application: registration.ClientID, Scopes: slices.Clone(registration.Roles), Expires: now.Add(s.lifetime),
	}
	return key
}

// checkCredentials refuses a request that is not made by the application itself.
func (s *Service) checkCredentials(r *http.Request, registration Registration, form url.Values) *loginError {
	assertion := form.Get("client_assertion")
	switch {
	case assertion == "" && !form.Has("client_secret"):
		return &loginError{code: MissingAssertion}
	case assertion == "":
		if registration.Secret == "" || form.Get("client_secret") != registration.Secret {
			return &loginError{code: WrongSecret, about: registration.ClientID}
		}
		return nil
	case registration.FederatedToken != "" && assertion == registration.FederatedToken:
		return nil
	}
	certificates, err := parseCertificates(registration.Certificates)
	if err != nil || len(certificates) == 0 {
		return &loginError{code: UntrustedToken, about: registration.ClientID}
	}
	_, err = jwt.Parse(assertion, func(t *jwt.Token) (any, error) {
		for _, c := range certificates {
			sum := sha256.Sum256(c.Raw)
			named, _ := t.Header["x5t#S256"].(string)
			named = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(named), "=") // MSAL for Go writes it so
			if named == base64.RawURLEncoding.EncodeToString(sum[:]) && s.directory.Now().Before(c.NotAfter) {
				return c.PublicKey, nil
			}
		}
		return nil, errors.New("no such certificate")
	}, jwt.WithValidMethods([]string{"PS256"}), jwt.WithAudience("https://"+r.Host+r.URL.Path), jwt.WithIssuer(registration.ClientID),
		jwt.WithSubject(registration.ClientID), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.directory.Now))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet):
		return &loginError{code: ExpiredAssertion}
	}
	return &loginError{code: WrongAssertion, about: registration.ClientID}
}

// parseCertificates returns the certificates in PEM.
func parseCertificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if text != "" && len(all) == 0 {
		return nil, errors.New("want certificates in PEM")
	}
	return all, nil
}
