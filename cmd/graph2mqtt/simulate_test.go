package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// trust makes the harness's browser trust the authority in a file.
func (h *harness) trust(t *testing.T, file string) {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s is no certificate", file)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	h.web = &http.Client{Transport: transport}
}

// The printed configuration works.
func TestSimulate(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	h := newHarness(t)
	p := h.start(t, "simulate", "--addr", "127.0.0.1:0")
	configuration := p.stdout.find(t, regexp.MustCompile(`(?s)\nConfiguration of graph2mqtt:\n\n(accounts:\n.*calendar: \{type: calendar\}\n)`))
	ca := p.stdout.find(t, regexp.MustCompile(`  CA file +(\S+)\n`))
	control := p.stdout.find(t, regexp.MustCompile(`  control +(https://127\.0\.0\.1:\d+/control)\n`))
	p.stdout.find(t, regexp.MustCompile(`  users +adele@contoso\.example \(Adele Vance, signs in by default\)\n`))
	p.stdout.find(t, regexp.MustCompile(` +ann@outlook\.example \(Ann Example, a personal account\)\n`))
	h.write(t, "graph2mqtt.yaml", "mqtt: {url: mqtt://127.0.0.1:1}\n"+configuration)
	h.trust(t, ca)
	h.login(t)
	if code, out, stderr := h.call(t, "accounts"); code != 0 || !strings.Contains(out, simulator.Adele) {
		t.Errorf("accounts: %d, %s%s", code, out, stderr)
	}
	if got := h.openURL(t, control); !strings.Contains(got, `"path":"/control/clock"`) {
		t.Errorf("control: %s", got)
	}

	p.interrupt()
	if code := p.wait(t); code != 0 || p.stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if files, err := os.ReadDir(temporary); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

func TestSimulateJSON(t *testing.T) {
	h := newHarness(t)
	ca := filepath.Join(h.dir, "authority.pem")
	h.write(t, "authority.pem", "from an earlier run")
	p := h.start(t, "simulate", "--addr", "127.0.0.1:0", "--ca-file", ca, "--json")
	p.stdout.find(t, regexp.MustCompile(`\n}\n`))
	var x simulation
	if err := json.Unmarshal([]byte(p.stdout.String()), &x); err != nil {
		t.Fatal(err)
	}
	if x.CAFile != ca || x.ClientID != simulator.ContosoClient || x.Tenant != simulator.ContosoTenant || x.Control != x.Login+"/control" || len(x.Users) != 4 {
		t.Errorf("%+v", x)
	}
	h.trust(t, ca)
	if got := h.openURL(t, x.Login+"/common/v2.0/.well-known/openid-configuration"); !strings.Contains(got, `"token_endpoint":"`+x.Login) {
		t.Errorf("it says %s", got)
	}
	p.interrupt()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if _, err := os.Stat(ca); err != nil {
		t.Error(err) // the user chose this file
	}
}

func TestSimulateProxy(t *testing.T) {
	h := newHarness(t)
	p := h.start(t, "simulate", "--addr", "127.0.0.1:0", "--proxy", "127.0.0.1:0")
	ca := p.stdout.find(t, regexp.MustCompile(`  CA file +(\S+)\n`))
	address := p.stdout.find(t, regexp.MustCompile(`\nHTTPS_PROXY=(http://127\.0\.0\.1:\d+)\n`))
	p.stdout.find(t, regexp.MustCompile(`  proxy +`+regexp.QuoteMeta(address)+`()\n`))
	proxy, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	h.trust(t, ca)
	h.web.Transport.(*http.Transport).Proxy = http.ProxyURL(proxy)
	if got := h.openURL(t, "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"); !strings.Contains(got, `"token_endpoint":"https://login.microsoftonline.com/common/`) {
		t.Errorf("through the proxy: %s", got)
	}
}

func TestSimulateOnAllInterfaces(t *testing.T) {
	h := newHarness(t)
	p := h.start(t, "simulate", "--addr", "0.0.0.0:0")
	p.stdout.find(t, regexp.MustCompile(`  control +not available: the simulator listens beyond this machine\n`))
}

func TestSimulateRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	h := newHarness(t)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--addr", "8443"}, 1, `graph2mqtt: --addr: want HOST:PORT, not "8443"`},
		{[]string{"--addr", "127.0.0.1:0", "--proxy", "8444"}, 1, `graph2mqtt: --proxy: want HOST:PORT, not "8444"`},
		{[]string{"--addr", "127.0.0.1:0", "--proxy", taken.Addr().String()}, 2, "graph2mqtt: start the proxy: listen tcp " + taken.Addr().String() + ": bind: address already in use"},
		{[]string{"--addr", taken.Addr().String()}, 2, "graph2mqtt: start the simulator: listen tcp " + taken.Addr().String() + ": bind: address already in use"},
		{[]string{"--addr", "127.0.0.1:0", "--ca-file", filepath.Join(h.dir, "none", "ca.pem")}, 2, "graph2mqtt: write the certificate: "},
		{[]string{"now"}, 1, `graph2mqtt: unknown command "now" for "graph2mqtt simulate"`},
	} {
		code, stdout, stderr := h.call(t, append([]string{"simulate"}, test.args...)...)
		if code != test.code || !strings.HasPrefix(stderr, test.want) || stdout != "" {
			t.Errorf("%v: %d, %s%s", test.args, code, stdout, stderr)
		}
	}
}
