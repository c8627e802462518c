package simulator

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// SignIn configures the sign-in page, which a person would fill in. With the zero value the first user signs in and consents to everything.
type SignIn struct {
	User      string   `json:"user"`      // address of the user who signs in; "": the first user
	Refuse    AADSTS   `json:"refuse"`    // the page ends with this error, such as Declined or Blocked; 0: none
	Declines  []string `json:"declines"`  // scopes the user does not consent to; a request that contains one of them is refused as a whole
	AdminOnly []string `json:"adminOnly"` // scopes that only an administrator may consent to
	Withhold  []string `json:"withhold"`  // scopes left out of tokens despite consent, so that the granted scope is narrower than requested
}

// SetSignIn configures the sign-in page.
func (s *Simulator) SetSignIn(in SignIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.signIn = in
}

// SignIn returns the configuration of the sign-in page.
func (s *Simulator) SignIn() SignIn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login.signIn
}

// Consent records the user's consent to these scopes (short names) without a sign-in.
func (s *Simulator) Consent(address, clientID string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.consent(consentKey{s.mustUser(address).oid(), clientID}, scopes)
}

// ConsentForAll records an administrator's consent for all users of the tenant.
func (s *Simulator) ConsentForAll(tenant, clientID string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.consent(consentKey{tenant, clientID}, scopes)
}

// Consented returns the scopes that the user or an administrator consented to: short names, sorted.
func (s *Simulator) Consented(address, clientID string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login.consented(s.mustUser(address).User, clientID)
}

// WithdrawConsent removes the user's consents. Issued access tokens keep their scopes.
func (s *Simulator) WithdrawConsent(address, clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.login.consents, consentKey{s.mustUser(address).oid(), clientID})
}

// FailRefreshWith fails every token refresh of the user with this error, for example SecondFactorRequired, Blocked, AccountDisabled
// or ExpiredToken; 0 stops it, and so does a new sign-in.
func (s *Simulator) FailRefreshWith(address string, e AADSTS) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustUser(address).refreshError = e
}

// RevokeSessions revokes the user's refresh tokens, like a password change. Access tokens stay valid until they expire.
func (s *Simulator) RevokeSessions(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.mustUser(address)
	maps.DeleteFunc(s.login.codes, func(_ string, c *authCode) bool { return c.user == a })
	for _, r := range s.login.refresh {
		r.revoked = r.revoked || r.user == a
	}
}

// ExpireAccessTokens expires all issued access tokens.
func (s *Simulator) ExpireAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.login.access {
		t.expires = s.now()
	}
}

// SetTokenLifetime sets the lifetime of access tokens issued from now on, and the refresh_in that clients are sent
// (0: none). The default is one hour without refresh_in.
func (s *Simulator) SetTokenLifetime(lifetime, refreshIn time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.lifetime, s.login.refreshIn = lifetime, refreshIn
}

// BlockDeviceCode enables the Conditional Access policy of that name: device codes no longer lead to tokens, and sessions that began with
// one are refused their refresh. See https://learn.microsoft.com/entra/identity/conditional-access/concept-authentication-flows.
func (s *Simulator) BlockDeviceCode(block bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.blockDevice = block
}

// Token issues an access token with exactly these scopes (short names) and a lifetime of one hour, without a sign-in.
func (s *Simulator) Token(address string, scopes ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login.newAccess(&accessToken{user: s.mustUser(address), scopes: slices.Clone(scopes), expires: s.now().Add(time.Hour)}, s.now())
}

// AdminConsentScopes returns the scopes that users may not consent to under the Microsoft-managed consent policy, the default of new tenants: the scopes that
// always require an administrator and those of the policy. Use them as SignIn.AdminOnly.
// See https://learn.microsoft.com/entra/identity/enterprise-apps/manage-app-consent-policies.
func AdminConsentScopes() []string {
	return []string{
		"Group.Read.All", "Group.ReadWrite.All", "GroupMember.Read.All", "ChannelMessage.Read.All", "ProfilePhoto.Read.All",
		"Mail.Read", "Mail.ReadWrite", "Mail.ReadBasic", "Mail.Read.Shared", "Mail.ReadWrite.Shared", "Mail.ReadBasic.Shared",
		"Calendars.Read", "Calendars.ReadBasic", "Calendars.ReadWrite", "Calendars.Read.Shared", "Calendars.ReadWrite.Shared",
		"Chat.Read", "Chat.ReadWrite", "OnlineMeetings.Read", "OnlineMeetings.ReadWrite", "MailboxSettings.Read", "MailboxSettings.ReadWrite",
		"Tasks.Read", "Tasks.ReadWrite", "Tasks.Read.Shared", "Tasks.ReadWrite.Shared", "Contacts.ReadWrite", "Contacts.Read.Shared", "Contacts.ReadWrite.Shared", "People.Read",
	}
}

// A consentKey names a user (by object id) or a tenant, and a client.
type consentKey struct{ who, client string }

func (l *loginState) consent(k consentKey, scopes []string) {
	all := append(slices.Clone(l.consents[k]), scopes...)
	slices.Sort(all)
	l.consents[k] = slices.CompactFunc(all, strings.EqualFold)
}

func (l *loginState) consented(u User, client string) []string {
	all := append(slices.Clone(l.consents[consentKey{u.oid(), client}]), l.consents[consentKey{u.Tenant, client}]...)
	slices.Sort(all)
	return slices.CompactFunc(all, strings.EqualFold)
}

// missing returns the scopes without consent.
func (l *loginState) missing(u User, client string, scopes []string) []string {
	return difference(scopes, l.consented(u, client))
}

// difference returns a without b, ignoring case.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return containsFold(b, s) })
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
}
