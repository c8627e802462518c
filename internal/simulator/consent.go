package simulator

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A SignIn is what happens at the sign-in page, which in the real thing a person fills in. The zero value signs in the first user, who consents to everything.
type SignIn struct {
	User      string   `json:"user"`      // address of who signs in; "": the user who was added first
	Refuse    AADSTS   `json:"refuse"`    // the page ends with this error, such as Declined or Blocked; 0: it does not
	Declines  []string `json:"declines"`  // scopes the user refuses: a request with one of them, not consented to before, is refused as a whole
	AdminOnly []string `json:"adminOnly"` // scopes that only an administrator may consent to
	Withhold  []string `json:"withhold"`  // scopes that are consented to and yet in no token: the answer's scope is narrower than what was asked
}

// SetSignIn sets what happens at the sign-in page from now on.
func (s *Simulator) SetSignIn(in SignIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.signIn = in
}

// SignIn is what happens there.
func (s *Simulator) SignIn() SignIn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login.signIn
}

// Consent has the user consent to these scopes (short names) without a sign-in.
func (s *Simulator) Consent(address, clientID string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.consent(consentKey{s.mustUser(address).oid(), clientID}, scopes)
}

// ConsentForAll has an administrator consent for all users of the tenant.
func (s *Simulator) ConsentForAll(tenant, clientID string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.consent(consentKey{tenant, clientID}, scopes)
}

// Consented are the scopes that the user or an administrator has consented to, sorted, short.
func (s *Simulator) Consented(address, clientID string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login.consented(s.mustUser(address).User, clientID)
}

// WithdrawConsent takes back all that the user consented to. Access tokens that are out keep what they have.
func (s *Simulator) WithdrawConsent(address, clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.login.consents, consentKey{s.mustUser(address).oid(), clientID})
}

// FailRefreshWith makes the token endpoint answer every refresh of the user's with this error; 0: no longer. SecondFactorRequired, Blocked,
// AccountDisabled or ExpiredToken are what real tenants come up with. A sign-in ends the refreshError.
func (s *Simulator) FailRefreshWith(address string, e AADSTS) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustUser(address).refreshError = e
}

// RevokeSessions makes every refresh token of the user's useless, as a changed password does. Access tokens live on until they expire.
func (s *Simulator) RevokeSessions(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.mustUser(address)
	maps.DeleteFunc(s.login.codes, func(_ string, c *authCode) bool { return c.user == a })
	for _, r := range s.login.refresh {
		r.revoked = r.revoked || r.user == a
	}
}

// ExpireAccessTokens makes Graph refuse every access token that is out.
func (s *Simulator) ExpireAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.login.access {
		t.expires = s.now()
	}
}

// SetTokenLifetime sets how long access tokens live from now on, and after which time clients are told to refresh them
// (refresh_in; 0: they are not told). At first it is one hour, and they are not.
func (s *Simulator) SetTokenLifetime(lifetime, refreshIn time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.lifetime, s.login.refreshIn = lifetime, refreshIn
}

// BlockDeviceCode is the Conditional Access policy of that name: no device code leads to a token any more, and sessions that began with
// one are refused their refresh. See https://learn.microsoft.com/entra/identity/conditional-access/concept-authentication-flows.
func (s *Simulator) BlockDeviceCode(block bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.blockDevice = block
}

// Token makes an access token for Graph out of nothing, with exactly these scopes (short names) and one hour to live.
func (s *Simulator) Token(address string, scopes ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login.newAccess(&accessToken{user: s.mustUser(address), scopes: slices.Clone(scopes), expires: s.now().Add(time.Hour)}, s.now())
}

// AdminConsentScopes are the scopes that users of a work tenant may not consent to where Microsoft manages the policy, as new tenants have it: those that
// always want an administrator, and those of the policy. They are meant for SignIn's AdminOnly.
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

// A consentKey is a user's (by object id) or a tenant's.
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

// missing are the scopes that were not consented to yet.
func (l *loginState) missing(u User, client string, scopes []string) []string {
	return difference(scopes, l.consented(u, client))
}

// without is a less b; scopes have no case.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return containsFold(b, s) })
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
}
