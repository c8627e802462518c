package main

import (
	"crypto/x509"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// addCertificates adds the CA certificates that the program contains if the system has none, as in a container from scratch. Only then
// are they parsed: that takes 0.7 MB.
func addCertificates() error {
	if system, err := x509.SystemCertPool(); err == nil && !system.Equal(x509.NewCertPool()) {
		return nil
	}
	roots := x509.NewCertPool()
	for r := range bundle.Roots() {
		c, err := x509.ParseCertificate(r.Certificate)
		if err != nil {
			return fmt.Errorf("parse the CA certificates: %w", err)
		}
		if r.Constraint == nil {
			roots.AddCert(c)
		} else {
			roots.AddCertWithConstraint(c, r.Constraint)
		}
	}
	x509.SetFallbackRoots(roots)
	return nil
}
