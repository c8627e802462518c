package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Where the system has no CA certificates, those of the program are used.
func TestAddCertificates(t *testing.T) {
	if os.Getenv("TEST_CHILD") == "" { // a process reads the certificates of the system once
		child := exec.Command(os.Args[0], "-test.run=^TestAddCertificates$")
		child.Env = append(os.Environ(), "TEST_CHILD=1", "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR="+t.TempDir())
		if output, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return
	}
	verify := func() (err error) {
		t.Helper()
		for r := range bundle.Roots() {
			c, parseErr := x509.ParseCertificate(r.Certificate)
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			if r.Constraint == nil {
				_, err = c.Verify(x509.VerifyOptions{CurrentTime: c.NotBefore.Add(time.Hour)})
				return err
			}
		}
		t.Fatal("the bundle is empty")
		return nil
	}
	if err := verify(); err == nil {
		t.Fatal("there are certificates of the system")
	}
	if err := addCertificates(); err != nil {
		t.Fatal(err)
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
}
