package bridge

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// OpenSession opens the sign-in of an account.
func OpenSession(c *config.Account, dir *state.Dir, log *slog.Logger) (*auth.Session, error) {
	transport, err := Transport(c)
	if err != nil {
		return nil, err
	}
	o := auth.Options{
		Account: c.ID, User: c.User, ClientID: c.ClientID, Tenant: c.Tenant, Login: c.Cloud.Login, Audience: c.Cloud.Audience,
		RedirectURI: c.RedirectURI, ClientSecret: c.ClientSecret.Reveal(), Transport: transport, Dir: dir, Log: log,
	}
	if c.CertificateFile != "" {
		if o.Certificate, err = config.ReadPEM(c.CertificateFile); err != nil {
			return nil, fmt.Errorf("accounts.%s.certificate_file: %w", c.ID, err)
		}
	}
	return auth.Open(o)
}

// Transport is how an account's sign-in and Graph are reached.
func Transport(c *config.Account) (http.RoundTripper, error) {
	t := graph.NewTransport()
	if c.Cloud.CAFile != "" {
		pool, err := config.ReadCertPool(c.Cloud.CAFile)
		if err != nil {
			return nil, fmt.Errorf("accounts.%s.cloud.ca_file: %w", c.ID, err)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return t, nil
}

// brokerTLS is how the broker is recognised, and we to it.
func brokerTLS(c config.MQTT) (*tls.Config, error) {
	t := &tls.Config{}
	if c.CAFile != "" {
		pool, err := config.ReadCertPool(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("mqtt.ca_file: %w", err)
		}
		t.RootCAs = pool
	}
	if c.CertFile != "" {
		// Certificates are renewed in place, so each connection reads them anew.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := config.ReadClientCertificate(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, config.At("mqtt", err)
			}
			return &pair, nil
		}
	}
	return t, nil
}
