package config

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// maxPEM is the size of a file with certificates or a key. The bundle of a system has about 250 KB.
const maxPEM = 1 << 20

// ReadPEM reads a file with certificates or a key. It returns at once for anything but a regular file of at most 1 MiB.
func ReadPEM(file string) ([]byte, error) {
	b, err := schema.ReadFile(file, maxPEM)
	if err == nil && strings.TrimSpace(string(b)) == "" {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return b, nil
}

// ReadCertPool reads the CA certificates of a file.
func ReadCertPool(file string) (*x509.CertPool, error) {
	b, err := ReadPEM(file)
	if err != nil {
		return nil, err
	}
	pool, err := ParseCertPool(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return pool, nil
}

// ParseCertPool parses CA certificates.
func ParseCertPool(b []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New("want at least one CA certificate in PEM form; the file has none")
	}
	return pool, nil
}

// ReadClientCertificate reads a certificate and its key from the files of the keys cert_file and key_file.
func ReadClientCertificate(certFile, keyFile string) (tls.Certificate, error) {
	return readCertificate("", certFile, keyFile)
}

// ReadServerCertificate reads a certificate and its key from the files of the keys tls_cert_file and tls_key_file.
func ReadServerCertificate(certFile, keyFile string) (tls.Certificate, error) {
	return readCertificate("tls_", certFile, keyFile)
}

// readCertificate reads a certificate and its key. Its errors name the keys of the files, which begin with prefix.
func readCertificate(prefix, certFile, keyFile string) (tls.Certificate, error) {
	certificate, err := ReadPEM(certFile)
	if err != nil {
		return tls.Certificate{}, At(prefix+"cert_file", err)
	}
	key, err := ReadPEM(keyFile)
	if err != nil {
		return tls.Certificate{}, At(prefix+"key_file", err)
	}
	if blocks(certificate)["CERTIFICATE"] == 0 {
		return tls.Certificate{}, At(prefix+"cert_file", fmt.Errorf("read %s: want a certificate in PEM form; the file has none", certFile))
	}
	if err := checkKey(key); err != nil {
		return tls.Certificate{}, At(prefix+"key_file", fmt.Errorf("read %s: %w", keyFile, err))
	}
	pair, err := tls.X509KeyPair(certificate, key)
	switch {
	case err == nil:
		return pair, nil
	case strings.Contains(err.Error(), "does not match"):
		return tls.Certificate{}, At(prefix+"key_file", fmt.Errorf("read %s: the private key belongs to another certificate than that in %s", keyFile, certFile))
	}
	return tls.Certificate{}, At(prefix+"cert_file", fmt.Errorf("read %s: %w", certFile, err))
}

// ParseSignInCertificate parses the certificates and the RSA key that an app registration signs in with. One of the certificates
// belongs to the key.
func ParseSignInCertificate(b []byte) ([]*x509.Certificate, crypto.PrivateKey, error) {
	if err := checkKey(b); err != nil {
		return nil, nil, err
	}
	var certificates []*x509.Certificate
	var key crypto.PrivateKey
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		var err error
		switch block.Type {
		case "CERTIFICATE":
			var c *x509.Certificate
			c, err = x509.ParseCertificate(block.Bytes)
			certificates = append(certificates, c)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s cannot be parsed: %w", strings.ToLower(block.Type), err)
		}
	}
	if len(certificates) == 0 {
		return nil, nil, errors.New("want a certificate in PEM form besides the key; the file has none")
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, nil, errors.New("want an RSA key: Microsoft accepts no other kind")
	}
	for _, c := range certificates {
		if private.PublicKey.Equal(c.PublicKey) {
			return certificates, private, nil
		}
	}
	return nil, nil, errors.New("the private key belongs to another certificate")
}

// checkKey reports whether there is exactly one private key, which needs no passphrase.
func checkKey(b []byte) error {
	keys := 0
	for kind, n := range blocks(b) {
		switch {
		case kind == encrypted:
			return errors.New("want a private key without a passphrase")
		case strings.HasSuffix(kind, "PRIVATE KEY"):
			keys += n
		}
	}
	switch keys {
	case 0:
		return errors.New("want a private key in PEM form; the file has none")
	case 1:
		return nil
	}
	return fmt.Errorf("want one private key, not %d", keys)
}

const encrypted = "ENCRYPTED PRIVATE KEY"

// blocks counts the PEM blocks by their type.
func blocks(b []byte) map[string]int {
	found := map[string]int{}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Headers["DEK-Info"] != "" {
			block.Type = encrypted
		}
		found[block.Type]++
	}
	return found
}

// checkFiles validates the files of the connection to the broker. The client certificate is read again for each connection.
func (m *MQTT) checkFiles() error {
	var errs []error
	if m.CAFile != "" {
		_, err := ReadCertPool(m.CAFile)
		errs = append(errs, At("ca_file", err))
	}
	if m.CertFile != "" && m.KeyFile != "" {
		_, err := ReadClientCertificate(m.CertFile, m.KeyFile)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkFiles validates the files of an account.
func (a *Account) checkFiles() error {
	var errs []error
	if a.CertificateFile != "" {
		b, err := ReadPEM(a.CertificateFile)
		if err == nil {
			if _, _, err = ParseSignInCertificate(b); err != nil {
				err = fmt.Errorf("read %s: %w", a.CertificateFile, err)
			}
		}
		errs = append(errs, At("certificate_file", err))
	}
	if a.Cloud.CAFile != "" {
		_, err := ReadCertPool(a.Cloud.CAFile)
		errs = append(errs, At("cloud.ca_file", err))
	}
	return errors.Join(errs...)
}

// digests hashes the files that are read only once.
func (c *Config) digests() {
	add := func(key string, files ...string) {
		if files = slices.DeleteFunc(files, func(name string) bool { return name == "" }); len(files) > 0 {
			if c.Digests == nil {
				c.Digests = map[string]string{}
			}
			c.Digests[key] = digest(files)
		}
	}
	add("mqtt", c.MQTT.CAFile)
	add("http", c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile)
	add("notifications", c.Notifications.Webhook.TLSCertFile, c.Notifications.Webhook.TLSKeyFile)
	for id, a := range c.Accounts {
		if a.Application { // which reads its certificate for each token
			add("accounts."+id, a.Cloud.CAFile)
			continue
		}
		add("accounts."+id, a.CertificateFile, a.Cloud.CAFile)
	}
}

// digest returns a hash of the contents of files, or of the errors of reading them. They are small, and a file's modification
// time does not show every change.
func digest(files []string) string {
	sum := sha256.New()
	for _, name := range files {
		b, err := schema.ReadFile(name, maxPEM)
		fmt.Fprintf(sum, "%q %d %v\n", name, len(b), err)
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
