package entra

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
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
func (s *Service) SetSignIn(in SignIn) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.signIn = in
}

// SignIn returns the configuration of the sign-in page.
func (s *Service) SignIn() SignIn {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.signIn
}

// Consent records the user's consent to these scopes (short names) without a sign-in.
func (s *Service) Consent(address, clientID string, scopes ...string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.consent(consentKey{s.directory.MustUser(address).ObjectID(), clientID}, scopes)
}

// ConsentForAll records an administrator's consent for all users of the tenant.
func (s *Service) ConsentForAll(tenant, clientID string, scopes ...string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.consent(consentKey{tenant, clientID}, scopes)
}

// Consented returns the scopes that the user or an administrator consented to: short names, sorted.
func (s *Service) Consented(address, clientID string) []string {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.consented(s.directory.MustUser(address), clientID)
}

// WithdrawConsent removes the user's consents. Issued access tokens keep their scopes.
func (s *Service) WithdrawConsent(address, clientID string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	delete(s.consents, consentKey{s.directory.MustUser(address).ObjectID(), clientID})
}

// FailRefreshWith fails every token refresh of the user with this error, for example SecondFactorRequired, Blocked, AccountDisabled
// or ExpiredToken; 0 stops it, and so does a new sign-in.
func (s *Service) FailRefreshWith(address string, e AADSTS) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.refreshErrors[s.directory.MustUser(address)] = e
}

// RevokeSessions revokes the user's refresh tokens, like a password change. Access tokens stay valid until they expire.
func (s *Service) RevokeSessions(address string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	a := s.directory.MustUser(address)
	maps.DeleteFunc(s.codes, func(_ string, c *authCode) bool { return c.user == a })
	for _, r := range s.refresh {
		r.revoked = r.revoked || r.user == a
	}
}

// ExpireAccessTokens expires all issued access tokens.
func (s *Service) ExpireAccessTokens() {
	s.directory.Lock()
	defer s.directory.Unlock()
	for _, t := range s.access {
		t.Expires = s.directory.Now()
	}
}

// SetTokenLifetime sets the lifetime of access tokens issued from now on, and the refresh_in that clients are sent
// (0: none). The default is one hour without refresh_in.
func (s *Service) SetTokenLifetime(lifetime, refreshIn time.Duration) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.lifetime, s.refreshIn = lifetime, refreshIn
}

// BlockDeviceCode enables the Conditional Access policy of that name: device codes no longer lead to tokens, and sessions that began with
// one are refused their refresh. See https://learn.microsoft.com/entra/identity/conditional-access/concept-authentication-flows.
func (s *Service) BlockDeviceCode(block bool) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.blockDevice = block
}

// Token issues an access token with exactly these scopes (short names), without a sign-in.
func (s *Service) Token(address string, scopes ...string) string {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.newAccess(&directory.AccessToken{User: s.directory.MustUser(address), Scopes: slices.Clone(scopes), Expires: s.directory.Now().Add(s.lifetime)}, s.directory.Now())
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

func (s *Service) consent(k consentKey, scopes []string) {
	all := append(slices.Clone(s.consents[k]), scopes...)
	slices.Sort(all)
	s.consents[k] = slices.CompactFunc(all, strings.EqualFold)
}

func (s *Service) consented(u *directory.User, client string) []string {
	all := append(slices.Clone(s.consents[consentKey{u.ObjectID(), client}]), s.consents[consentKey{u.Tenant, client}]...)
	slices.Sort(all)
	return slices.CompactFunc(all, strings.EqualFold)
}

// missing returns the scopes without consent.
func (s *Service) missing(u *directory.User, client string, scopes []string) []string {
	return difference(scopes, s.consented(u, client))
}

// difference returns a without b, ignoring case.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return containsFold(b, s) })
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
}
