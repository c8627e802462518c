package config_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// newCertificate returns a certificate and its key in PEM form.
func newCertificate(t *testing.T, key crypto.Signer) (certificate, private string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", secret)
}

type pemFiles struct{ certificate, key, otherCertificate, otherKey, ecCertificate, ecKey, protected, legacy string }

func newPEMFiles(t *testing.T) (f pemFiles) {
	t.Helper()
	newKey := func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	f.certificate, f.key = newCertificate(t, newKey())
	f.otherCertificate, f.otherKey = newCertificate(t, newKey())
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.ecCertificate, f.ecKey = newCertificate(t, ec)
	f.protected = pemOf("ENCRYPTED PRIVATE KEY", []byte("hunter2"))
	f.legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\naHVudGVyMg==\n-----END RSA PRIVATE KEY-----\n"
	return f
}

// Unusable files of an account are problems of that account only.
func TestFilesOfAccounts(t *testing.T) {
	f := newPEMFiles(t)
	dir := t.TempDir()
	for _, test := range []struct{ key, content, want string }{
		{"certificate_file", f.certificate + f.key, ""},
		{"certificate_file", f.key + f.otherCertificate + f.certificate, ""},
		{"certificate_file", "", "the file is empty"},
		{"certificate_file", "hunter2", "want a private key in PEM form; the file has none"},
		{"certificate_file", f.key, "want a certificate in PEM form besides the key; the file has none"},
		{"certificate_file", f.certificate, "want a private key in PEM form; the file has none"},
		{"certificate_file", f.certificate + f.otherKey, "the private key belongs to another certificate"},
		{"certificate_file", f.certificate + f.key + f.otherKey, "want one private key, not 2"},
		{"certificate_file", f.certificate + f.protected, "want a private key without a passphrase"},
		{"certificate_file", f.certificate + f.legacy, "want a private key without a passphrase"},
		{"certificate_file", f.ecCertificate + f.ecKey, "want an RSA key: Microsoft accepts no other kind"},
		{"cloud.ca_file", f.certificate, ""},
		{"cloud.ca_file", f.key, "want at least one CA certificate in PEM form; the file has none"},
		{"cloud.ca_file", "\n", "the file is empty"},
		{"cloud.ca_file", pemOf("CERTIFICATE", []byte("x")), "want at least one CA certificate in PEM form; the file has none"},
	} {
		file := filepath.Join(dir, "file.pem")
		if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		content := "mqtt: {url: mqtt://h}\naccounts:\n  a:\n    client_id: 01234567-89ab-cdef-0123-456789abcdef\n    " + test.key + ": " + file + "\n"
		content = strings.Replace(content, "cloud.ca_file: "+file, "cloud: {ca_file: "+file+"}", 1)
		c, err := config.Load(config.Sources{File: write(t, "a.yaml", content), Environ: environ()}, kinds())
		if err != nil {
			t.Errorf("%s: %v", test.key, err)
			continue
		}
		want := ""
		if test.want != "" {
			want = "accounts.a." + test.key + " (line 5): read " + file + ": " + test.want
		}
		if diff := cmp.Diff(want, c.AccountProblems().Error()); diff != "" {
			t.Error(diff)
		}
		if len(c.Accounts["a"].Problems) != len(c.AccountProblems()) || len(c.Files) != 2 {
			t.Errorf("%v, %v", c.Accounts["a"].Problems, c.Files)
		}
	}
}

// Unusable files of the broker's connection make the configuration invalid.
func TestFilesOfTheBroker(t *testing.T) {
	f := newPEMFiles(t)
	dir := t.TempDir()
	for _, test := range []struct{ certificate, key, ca, want string }{
		{f.certificate, f.key, f.ecCertificate, ""},
		{f.ecCertificate, f.ecKey, f.ecCertificate, ""},
		{f.certificate, f.otherKey, f.certificate, "mqtt.key_file (line 1): read DIR/key.pem: the private key belongs to another certificate than that in DIR/cert.pem"},
		{f.certificate, f.protected, f.certificate, "mqtt.key_file (line 1): read DIR/key.pem: want a private key without a passphrase"},
		{f.key, f.key, f.certificate, "mqtt.cert_file (line 1): read DIR/cert.pem: want a certificate in PEM form; the file has none"},
		{f.certificate, " ", f.certificate, "mqtt.key_file (line 1): read DIR/key.pem: the file is empty"},
		{f.certificate, f.key, f.key, "mqtt.ca_file (line 1): read DIR/ca.pem: want at least one CA certificate in PEM form; the file has none"},
	} {
		for name, content := range map[string]string{"cert.pem": test.certificate, "key.pem": test.key, "ca.pem": test.ca} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		content := "mqtt: {url: mqtts://h, cert_file: DIR/cert.pem, key_file: DIR/key.pem, ca_file: DIR/ca.pem}\naccounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}\n"
		got := strings.ReplaceAll(problem(t, write(t, "a.yaml", strings.ReplaceAll(content, "DIR", dir))), dir, "DIR")
		if got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// A bundle of CA certificates may be larger than a secret.
func TestLargeCAFile(t *testing.T) {
	f := newPEMFiles(t)
	file := write(t, "ca.pem", strings.Repeat(f.certificate, 300))
	if _, err := config.ReadCertPool(file); err != nil {
		t.Error(err)
	}
}

// Replacing a certificate in its file changes the account; replacing a CA file changes the connection.
func TestDiffOfFiles(t *testing.T) {
	f := newPEMFiles(t)
	ca, own := write(t, "ca.pem", f.certificate), write(t, "own.pem", f.certificate+f.key)
	served, private := write(t, "served.pem", f.certificate), write(t, "served.key", f.key)
	file := write(t, "a.yaml", "mqtt: {url: mqtts://h, ca_file: "+ca+"}\nhttp: {tls_cert_file: "+served+", tls_key_file: "+private+"}\naccounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, certificate_file: "+own+"}}\n")
	load := func() *config.Config {
		c, err := config.Load(config.Sources{File: file, Environ: environ()}, kinds())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := load()
	for name, content := range map[string]string{ca: f.otherCertificate, own: f.otherCertificate + f.otherKey, served: f.otherCertificate, private: f.otherKey} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := config.Changes{Keys: []string{"mqtt.ca_file", "http.tls_cert_file"}, Accounts: config.Delta{Changed: []string{"a"}}}
	if diff := cmp.Diff(want, config.Diff(before, load())); diff != "" {
		t.Error(diff)
	}
}
