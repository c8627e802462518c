package main

import (
	"path/filepath"
	"testing"
)

// check reads certificates and keys as run does.
func TestCheckReadsCertificates(t *testing.T) {
	h := newHome(t)
	for _, name := range []string{"empty.pem", "text.pem"} {
		h.write(t, name, map[string]string{"text.pem": "nothing of the kind"}[name])
	}
	path := func(name string) string { return filepath.Join(h.dir, name) }
	h.write(t, "graph2mqtt.yaml", `mqtt: {url: "mqtts://127.0.0.1:1", cert_file: `+path("text.pem")+`, key_file: `+path("text.pem")+`}
accounts:
  a:
    client_id: 00000000-0000-0000-0000-000000000000
    certificate_file: `+path("text.pem")+`
  b:
    client_id: 00000000-0000-0000-0000-000000000000
    certificate_file: `+path("empty.pem")+`
  c:
    client_id: 00000000-0000-0000-0000-000000000000
    cloud: {login: "https://login.example", graph: "https://graph.example", ca_file: `+path("text.pem")+`}
  d:
    client_id: 00000000-0000-0000-0000-000000000000
`)
	want := `accounts.a.certificate_file (line 5): read ` + path("text.pem") + `: want a private key in PEM form; the file has none
accounts.b.certificate_file (line 8): read ` + path("empty.pem") + `: the file is empty
accounts.c.cloud.ca_file (line 11): read ` + path("text.pem") + `: want at least one CA certificate in PEM form; the file has none
mqtt.cert_file (line 1): read ` + path("text.pem") + `: want a certificate in PEM form; the file has none
`
	if code, stdout, stderr := h.call(t, "check"); code != 1 || stdout != want || stderr != "" {
		t.Errorf("%d, %s\nwant:\n%s\nstderr: %s", code, stdout, want, stderr)
	}
}
