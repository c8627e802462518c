package runtime

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
)

// AccountDetails describes an account beyond its status in the hub.
type AccountDetails struct {
	Application bool   // an organization, to which no user signs in
	Tenant      string // configured
	Expected    string // the user who must sign in, as configured; "": anyone
	User        auth.User
	SignedIn    time.Time // zero: nobody is signed in
	Expires     time.Time // of the sign-in if it is not used
	Permissions []DetailedPermission
	ConsentLink string // with which an administrator grants everything; empty: only the user can
}

// A DetailedPermission is a permission that an account requests.
type DetailedPermission struct {
	RequiredPermission
	Granted     bool
	Unavailable bool // personal accounts do not have it
	Restricted  bool // an administrator must consent, always or by the default policy
}

// Details describes an account. It reports false if there is none.
func (r *Runtime) Details(id string) (AccountDetails, bool) {
	a := r.account(id)
	if a == nil {
		return AccountDetails{}, false
	}
	c, s := a.current.Load(), a.session.Status()
	d := AccountDetails{Application: c.Application, Tenant: c.Tenant, Expected: c.User, User: s.User, SignedIn: s.SignedIn, Expires: s.Expires}
	d.ConsentLink, _ = ConsentLink(c)
	personal := s.User.Personal || entra.IsPersonalTenant(c.Tenant)
	if personal {
		d.ConsentLink = ""
	}
	if c.Application {
		for _, p := range RequiredPermissions(c) {
			d.Permissions = append(d.Permissions, DetailedPermission{RequiredPermission: p, Granted: p.Satisfied(a.session.Granted()), Restricted: true})
		}
		return d, true
	}
	for _, p := range RequiredPermissions(c) {
		info, known := graph.LookupScope(p.Scope)
		d.Permissions = append(d.Permissions, DetailedPermission{
			RequiredPermission: p, Granted: p.Satisfied(s.Granted),
			Unavailable: personal && known && !info.Personal, Restricted: !personal && known && !info.UserConsentable(),
		})
	}
	return d, true
}

// IdentityScopes returns the scopes that every sign-in requests beside Graph's.
func IdentityScopes() []string { return []string{"openid", "profile", "offline_access"} }

// ConsentLink returns the address at which an administrator consents to everything that an account requests, for all users of the
// tenant. It reports false for personal accounts, which have no administrator.
// See https://learn.microsoft.com/entra/identity-platform/v2-admin-consent.
func ConsentLink(a *config.Account) (link string, ok bool) {
	if entra.IsPersonalTenant(a.Tenant) {
		return "", false
	}
	if a.Application { // to what the app registration lists
		if !slices.ContainsFunc(SignInScopes(a)[0], func(s string) bool { info, ok := graph.LookupRole(s); return ok && !info.Exchange }) {
			return "", false
		}
		q := url.Values{"client_id": {a.ClientID}, "scope": {a.Cloud.Audience + "/.default"}, "redirect_uri": {a.RedirectURI}}
		return a.Cloud.Login + "/" + a.Tenant + "/v2.0/adminconsent?" + q.Encode(), true
	}
	tenant := a.Tenant
	if strings.EqualFold(tenant, "common") {
		tenant = "organizations"
	}
	scopes := IdentityScopes()
	for _, s := range SignInScopes(a)[0] {
		scopes = append(scopes, a.Cloud.Audience+"/"+s)
	}
	q := url.Values{"client_id": {a.ClientID}, "scope": {strings.Join(scopes, " ")}, "redirect_uri": {a.RedirectURI}}
	return a.Cloud.Login + "/" + tenant + "/v2.0/adminconsent?" + q.Encode(), true
}
