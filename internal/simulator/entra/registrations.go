package entra

import (
	"net/url"
	"slices"
	"strings"
)

// nativeClient is the path of Microsoft's redirect page for native clients.
const nativeClient = "/common/oauth2/nativeclient"

// A Registration is an app registration.
type Registration struct {
	ClientID     string   `json:"clientId"`
	Name         string   `json:"name"`
	Tenant       string   `json:"tenant"`       // the only tenant whose users can sign in; "": all work and personal accounts
	RedirectURIs []string `json:"redirectUris"` // http://localhost matches every port
	Web          []string `json:"web"`          // redirect URIs of the platform Web: their sessions require the secret
	Secret       string   `json:"secret"`       // "": public client
	PublicClient bool     `json:"publicClient"` // allows public client flows, that is, device codes

	Certificates   string   `json:"certificates"`   // that it signs in with, in PEM; several are valid at once
	FederatedToken string   `json:"federatedToken"` // the token of a workload that it trusts; "": none
	Roles          []string `json:"roles"`          // application permissions that an administrator granted
}

// Register adds or replaces a registration.
func (s *Service) Register(r Registration) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.registrations[r.ClientID] = r
}

// redirects reports whether a redirect URI is registered, and whether for the platform Web.
// The nativeclient page also matches on the host of the simulated Entra ID.
func (r Registration) redirects(host, uri string) (ok, web bool) {
	if uri == "https://"+host+nativeClient {
		uri = "https://login.microsoftonline.com" + nativeClient
	}
	is := func(registered string) bool { return sameRedirect(registered, uri) }
	if slices.ContainsFunc(r.RedirectURIs, is) {
		return true, false
	}
	return slices.ContainsFunc(r.Web, is), true
}

// sameRedirect compares redirect URIs exactly, except for the port of http://localhost.
// See https://learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions.
func sameRedirect(registered, uri string) bool {
	if registered == uri {
		return true
	}
	a, err := url.Parse(registered)
	if err != nil {
		return false
	}
	b, err := url.Parse(uri)
	if err != nil {
		return false
	}
	return a.Scheme == "http" && b.Scheme == "http" && a.Hostname() == "localhost" && b.Hostname() == "localhost" &&
		strings.TrimSuffix(a.Path, "/") == strings.TrimSuffix(b.Path, "/") && b.RawQuery == a.RawQuery && b.User == nil
}
