package entra

import (
	"errors"
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

// Controls returns the operations on sign-ins, tokens, consents and registrations.
func (s *Service) Controls() []control.Operation {
	return []control.Operation{
		{Method: "GET", Path: "/control/signin", Description: "read the configuration of the sign-in page", Do: s.getSignIn},
		{Method: "PUT", Path: "/control/signin", Description: "configure the sign-in page: who signs in, what is refused", Do: s.putSignIn},
		{Method: "GET", Path: "/control/devices", Description: "list the pending device codes", Do: s.getDevices},
		{Method: "POST", Path: "/control/devices/{code}/approve", Description: "enter a device code and sign in", Do: s.approveDevice},
		{Method: "POST", Path: "/control/devices/{code}/decline", Description: "enter a device code and cancel", Do: s.declineDevice},
		{Method: "PUT", Path: "/control/registrations/{client}", Description: "add or replace an app registration", Do: s.putRegistration},

		{Method: "PUT", Path: "/control/users/{user}/applications/{client}", Description: "set the Exchange roles that an application has for the user's mailbox", Do: s.putMailboxRoles},

		{Method: "POST", Path: "/control/tokens", Description: "issue an access token with exactly these scopes, without a sign-in", Do: s.addToken},
		{Method: "PATCH", Path: "/control/tokens", Description: "set the lifetime of access tokens issued from now on", Do: s.patchTokens},
		{Method: "POST", Path: "/control/tokens/expire", Description: "expire all issued access tokens", Do: s.expireTokens},

		{Method: "POST", Path: "/control/users/{user}/revoke", Description: "revoke the user's refresh tokens, like a password change", Do: s.revokeSessions},
		{Method: "PUT", Path: "/control/users/{user}/refreshError", Description: "fail every token refresh with this error until the user signs in", Do: s.putRefreshError},
		{Method: "GET", Path: "/control/users/{user}/consents/{client}", Description: "list the scopes that the user or an administrator consented to", Do: s.getConsents},
		{Method: "DELETE", Path: "/control/users/{user}/consents/{client}", Description: "withdraw the user's consent", Do: s.withdrawConsent},
	}
}

// knownScopes refuses scopes that Graph does not have.
func (s *Service) knownScopes(field string, scopes []string) error {
	for _, scope := range scopes {
		if !containsFold(s.scopes, scope) {
			return control.Invalid("%s: unknown permission %q", field, scope)
		}
	}
	return nil
}

func (s *Service) getSignIn(*http.Request) (any, error) {
	in := s.SignIn()
	for _, l := range []*[]string{&in.Declines, &in.AdminOnly, &in.Withhold} {
		*l = append([]string{}, *l...)
	}
	return in, nil
}

func (s *Service) putSignIn(r *http.Request) (any, error) {
	in, err := control.Decode[SignIn](r)
	if err != nil {
		return nil, err
	}
	s.directory.Lock()
	unknown := in.User != "" && s.directory.ByAddress(in.User) == nil
	s.directory.Unlock()
	if unknown {
		return nil, control.Invalid("user: no user %q", in.User)
	}
	if !in.Refuse.Known() {
		return nil, control.Invalid("refuse: the simulator has no error AADSTS%d", in.Refuse)
	}
	if err := errors.Join(s.knownScopes("declines", in.Declines), s.knownScopes("adminOnly", in.AdminOnly), s.knownScopes("withhold", in.Withhold)); err != nil {
		return nil, err
	}
	s.SetSignIn(in)
	return s.getSignIn(r)
}

func (s *Service) getDevices(*http.Request) (any, error) {
	return control.ListOf(s.DeviceCodes()), nil
}

func (s *Service) approveDevice(r *http.Request) (any, error) {
	return nil, deviceError(s.ApproveDevice(r.PathValue("code")))
}

func (s *Service) declineDevice(r *http.Request) (any, error) {
	return nil, deviceError(s.DeclineDevice(r.PathValue("code")))
}

func deviceError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*loginError)):
		return control.Conflict("%v", err)
	}
	return control.NotFound("%v", err)
}

func (s *Service) putRegistration(r *http.Request) (any, error) {
	in, err := control.Decode[Registration](r)
	if err != nil {
		return nil, err
	}
	if in.ClientID != "" && in.ClientID != r.PathValue("client") {
		return nil, control.Invalid("clientId: want %q, as in the path, not %q", r.PathValue("client"), in.ClientID)
	}
	in.ClientID = r.PathValue("client")
	if _, err := parseCertificates(in.Certificates); err != nil {
		return nil, control.Invalid("certificates: %v", err)
	}
	if err := knownRoles("roles", in.Roles); err != nil {
		return nil, err
	}
	s.Register(in)
	return nil, nil
}

func (s *Service) putMailboxRoles(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Roles []string `json:"roles"`
	}](r)
	if err != nil {
		return nil, err
	}
	if err := knownRoles("roles", in.Roles); err != nil {
		return nil, err
	}
	s.SetMailboxRoles(r.PathValue("client"), r.PathValue("user"), in.Roles...)
	return nil, nil
}

func (s *Service) addToken(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		User   string   `json:"user"`
		Scopes []string `json:"scopes"`
	}](r)
	if err != nil {
		return nil, err
	}
	if err := s.knownScopes("scopes", in.Scopes); err != nil {
		return nil, err
	}
	return map[string]string{"accessToken": s.Token(in.User, in.Scopes...)}, nil
}

func (s *Service) patchTokens(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Lifetime  string `json:"lifetime"`
		RefreshIn string `json:"refreshIn"`
	}](r)
	if err != nil {
		return nil, err
	}
	lifetime, err := control.Duration("lifetime", in.Lifetime)
	if err != nil {
		return nil, err
	}
	var refreshIn time.Duration
	if in.RefreshIn != "" {
		if refreshIn, err = control.Duration("refreshIn", in.RefreshIn); err != nil {
			return nil, err
		}
	}
	switch {
	case lifetime <= 0:
		return nil, control.Invalid("lifetime: want more than 0, not %s", lifetime)
	case refreshIn < 0 || refreshIn > lifetime:
		return nil, control.Invalid("refreshIn: want 0 to the lifetime, not %s", refreshIn)
	}
	s.SetTokenLifetime(lifetime, refreshIn)
	return nil, nil
}

func (s *Service) expireTokens(*http.Request) (any, error) {
	s.ExpireAccessTokens()
	return nil, nil
}

func (s *Service) revokeSessions(r *http.Request) (any, error) {
	s.RevokeSessions(r.PathValue("user"))
	return nil, nil
}

func (s *Service) putRefreshError(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Error AADSTS `json:"error"`
	}](r)
	if err != nil {
		return nil, err
	}
	if !in.Error.Known() {
		return nil, control.Invalid("error: the simulator has no error AADSTS%d", in.Error)
	}
	s.FailRefreshWith(r.PathValue("user"), in.Error)
	return nil, nil
}

func (s *Service) getConsents(r *http.Request) (any, error) {
	return control.ListOf(s.Consented(r.PathValue("user"), r.PathValue("client"))), nil
}

func (s *Service) withdrawConsent(r *http.Request) (any, error) {
	s.WithdrawConsent(r.PathValue("user"), r.PathValue("client"))
	return nil, nil
}
