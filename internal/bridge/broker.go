package bridge

import (
	"crypto/tls"
	"fmt"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// Broker returns the options that reach the configured broker.
func Broker(c config.MQTT) (mqtt.Options, error) {
	t, err := brokerTLS(c)
	return mqtt.Options{URLs: c.Brokers(), Username: c.Username, Password: c.Password.Reveal(), TLS: t}, err
}

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
	return &pair, config.At("mqtt", err)
}
