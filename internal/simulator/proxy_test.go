package simulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// proxied starts the simulator and its proxy, and returns a client that has no setting but the proxy and the authority.
func proxied(t *testing.T, s *simulator.Simulator) *http.Client {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.StartProxy("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	proxy, err := url.Parse(s.ProxyURL())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA())
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Clients with Microsoft's addresses work unchanged: MSAL with instance discovery, links and Location.
func TestProxy(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	client := proxied(t, s)
	msal, err := public.New(simulator.ContosoClient, public.WithAuthority("https://login.microsoftonline.com/common"), public.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	device, err := msal.AcquireTokenByDeviceCode(t.Context(), []string{"User.Read", "Calendars.ReadWrite"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(device.Result.VerificationURL, "https://login.microsoftonline.com/") {
		t.Errorf("verification address %s", device.Result.VerificationURL)
	}
	if err := s.ApproveDevice(device.Result.UserCode); err != nil {
		t.Fatal(err)
	}
	auth, err := device.AuthenticationResult(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const root = "https://graph.microsoft.com/v1.0"
	v := graphClient{t, s, auth.AccessToken, client}
	resp, created := v.do("POST", root+"/me/events", lunch(""))
	if location := resp.Header.Get("Location"); !strings.HasPrefix(location, root+"/") || v.want(200, "GET", location, "")["id"] != created["id"] {
		t.Errorf("Location %q", location)
	}
	v.want(201, "POST", root+"/me/events", lunch(""))
	page := v.want(200, "GET", root+"/me/events?$top=1", "")
	if next, _ := page["@odata.nextLink"].(string); !strings.HasPrefix(next, root+"/me/events?") {
		t.Errorf("next page %q", next)
	}
	if host := s.Requests()[len(s.Requests())-1].Host; host != "graph.microsoft.com" {
		t.Errorf("logged host %s", host)
	}
	// The control API is only at the simulator's own address.
	r, err := client.Get("https://graph.microsoft.com/control/users")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusNotImplemented {
		t.Errorf("control through the proxy: %s", r.Status)
	}
}

func TestProxyRefuses(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	if err := s.StartProxy("127.0.0.1:0"); err == nil || s.ProxyURL() != "" {
		t.Errorf("started before the simulator: %v", err)
	}
	client := proxied(t, s)
	for _, address := range []string{"https://example.com/", "https://graph.microsoft.com:8443/v1.0/me", "https://graph.microsoft.com.example/"} {
		if _, err := client.Get(address); err == nil || !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if r, err := client.Get("http://graph.microsoft.com/v1.0/me"); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("without TLS: %v %v", r, err)
	} else {
		r.Body.Close()
	}
	if err := s.StartProxy("127.0.0.1:0"); err == nil || err.Error() != "start the proxy: already started" {
		t.Errorf("twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.Get("https://graph.microsoft.com/v1.0/me"); err == nil {
		t.Error("the proxy outlives the simulator")
	}
}
