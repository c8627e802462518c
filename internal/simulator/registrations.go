package simulator

import (
	"net/url"
	"slices"
	"strings"
)

// nativeClient is the path of Microsoft's own redirect address for clients without one.
const nativeClient = "/common/oauth2/nativeclient"

// A Registration is an app registration.
type Registration struct {
	ClientID     string   `json:"clientId"`
	Name         string   `json:"name"`
	Tenant       string   `json:"tenant"`       // the only one whose users can use it; "": every work account and every personal one
	RedirectURIs []string `json:"redirectUris"` // http://localhost stands for every port
	Web          []string `json:"web"`          // redirect addresses of the platform Web: sessions that begin there want the secret
	Secret       string   `json:"secret"`       // "": the client has none
	PublicClient bool     `json:"publicClient"` // "Allow public client flows": device codes
}

// Register adds or replaces a registration.
func (s *Simulator) Register(r Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registrations[r.ClientID] = r
}

// redirects reports whether an address is registered, and whether as one of the platform Web.
// The page nativeclient is known at the host of Entra ID, whichever that is.
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

// sameRedirect compares exactly, but for the port of http://localhost.
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
