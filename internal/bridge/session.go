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

// OpenSession opens the sign-in of an account. A certificate that cannot be used is no error but the state of the sign-in.
func OpenSession(c *config.Account, dir *state.Dir, log *slog.Logger) (*auth.Session, error) {
	o := signInOptions(c)
	o.Dir, o.Log = dir, log
	return auth.Open(o)
}

// signInOptions returns the options of an account's session, without its state directory and log.
func signInOptions(c *config.Account) auth.Options {
	transport, err := Transport(c)
	o := auth.Options{
		Unusable: err,
		Account:  c.ID, User: c.User, ClientID: c.ClientID, Tenant: c.Tenant, Login: c.Cloud.Login, Audience: c.Cloud.Audience,
		RedirectURI: c.RedirectURI, ClientSecret: c.ClientSecret.Reveal(), Transport: transport,
	}
	if c.CertificateFile != "" {
		o.CredentialKey = "accounts." + c.ID + ".certificate_file"
		o.Certificate, err = config.ReadPEM(c.CertificateFile)
		if err != nil && o.Unusable == nil {
			o.Unusable = fmt.Errorf("%s: %w", o.CredentialKey, err)
		}
	}
	return o
}

// Transport returns the transport of an account for Entra ID and Graph. With an error it refuses every request.
func Transport(c *config.Account) (http.RoundTripper, error) {
	t := graph.NewTransport()
	if c.Cloud.CAFile != "" {
		pool, err := config.ReadCertPool(c.Cloud.CAFile)
		if err != nil {
			err = fmt.Errorf("accounts.%s.cloud.ca_file: %w", c.ID, err)
			return refusingTransport{err}, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return t, nil
}

// refusingTransport fails every request.
type refusingTransport struct{ err error }

func (t refusingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, t.err }

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
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return clientCertificate(c) }
	}
	return t, nil
}

// clientCertificate reads the certificate for the broker and its key.
func clientCertificate(c config.MQTT) (*tls.Certificate, error) {
	pair, err := config.ReadClientCertificate(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, config.At("mqtt", err)
	}
	return &pair, nil
}
