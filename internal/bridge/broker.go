package bridge

import (
	"crypto/tls"
	"fmt"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// Broker returns the options that reach the configured broker.
func Broker(c config.MQTT) (mqtt.Options, error) {
	t, err := clientTLS("mqtt", c.CAFile, c.CertFile, c.KeyFile)
	return mqtt.Options{URLs: c.Brokers(), Username: c.Username, Password: c.Password.Reveal(), TLS: t}, err
}

// Cluster returns the NATS servers that hold the configured state.
func Cluster(c config.Cluster) (state.ClusterOptions, error) {
	out := state.ClusterOptions{
		Servers: c.NATS, Credentials: c.CredentialsFile, Username: c.Username, Password: c.Password.Reveal(), Bucket: c.Bucket, Replicas: c.Replicas, Lease: c.Lease, Shards: c.Shards,
	}
	var err error
	if c.CAFile != "" || c.CertFile != "" {
		out.TLS, err = clientTLS("cluster", c.CAFile, c.CertFile, c.KeyFile)
	}
	return out, err
}

// clientTLS returns the configuration of encrypted connections. The names of the keys of the files are below path.
func clientTLS(path, caFile, certFile, keyFile string) (*tls.Config, error) {
	t := &tls.Config{}
	if caFile != "" {
		pool, err := config.ReadCertPool(caFile)
		if err != nil {
			return nil, fmt.Errorf("%s.ca_file: %w", path, err)
		}
		t.RootCAs = pool
	}
	if certFile != "" {
		// Certificates are renewed in place, so each connection reads them anew.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := config.ReadClientCertificate(certFile, keyFile)
			return &pair, config.At(path, err)
		}
	}
	return t, nil
}
