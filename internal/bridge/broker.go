package bridge

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// Broker returns the options that reach the configured broker.
func Broker(c config.MQTT) (mqtt.Options, error) {
	t, err := brokerTLS(c)
	return mqtt.Options{URL: c.URL, Username: c.Username, Password: c.Password.Reveal(), TLS: t}, err
}

// CheckFiles returns what is wrong with the files that the configuration of the broker names.
func CheckFiles(c config.MQTT) error {
	if _, err := brokerTLS(c); err != nil {
		return err
	}
	if c.CertFile == "" {
		return nil
	}
	_, err := clientCertificate(c)
	return err
}

func brokerTLS(c config.MQTT) (*tls.Config, error) {
	t := &tls.Config{}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("mqtt.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("mqtt.ca_file: %s holds no certificate in PEM form", c.CAFile)
		}
	}
	if c.CertFile != "" {
		// Certificates are renewed in place, so each connection reads them anew.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return clientCertificate(c) }
	}
	return t, nil
}

// clientCertificate reads the certificate for the broker and its key.
func clientCertificate(c config.MQTT) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("mqtt.cert_file: %w", err)
	}
	return &pair, nil
}
