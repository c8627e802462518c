package auth_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// National clouds have no personal accounts, and portals of their own.
func TestNationalClouds(t *testing.T) {
	for login, want := range map[string]string{
		"https://login.microsoftonline.us":          "at https://myapps.microsoft.us",
		"https://login.partner.microsoftonline.cn/": "in the My Apps portal of the organization",
	} {
		t.Run(login, func(t *testing.T) {
			w := newEnvironment(t)
			simulated := must(url.Parse(w.sim.LoginURL())).Host
			s := w.open(func(o *auth.Options) {
				o.Login = login
				o.Transport = graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
					r = r.Clone(r.Context())
					host := r.URL.Host
					r.URL.Host = simulated
					res, err := w.sim.Transport().RoundTrip(r)
					if err == nil { // MSAL compares the issuer
						body := strings.ReplaceAll(string(must(io.ReadAll(res.Body))), simulated, host)
						res.Body, res.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
					}
					return res, err
				})
			})
			redirects := make(chan string, 1)
			_, err := s.SignInByBrowser(t.Context(), auth.Request{Scopes: [][]string{reading}, OnPrompt: func(p auth.Prompt) {
				link := must(url.Parse(p.URL))
				if !strings.HasPrefix(p.URL, strings.TrimSuffix(login, "/")) || !strings.HasPrefix(link.Path, "/organizations/") {
					t.Errorf("link: %s", p.URL)
				}
				link.Host = simulated
				redirects <- w.visit(link.String())
			}}, auth.Browser{PastedRedirects: redirects, OnInvalidRedirect: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			remains, err := s.SignOut(t.Context())
			if want := "Microsoft still remembers which permissions were granted; take them back " + want; remains != want || err != nil {
				t.Errorf("SignOut: %q, %v, want %q", remains, err, want)
			}
		})
	}
}
