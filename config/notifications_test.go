package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

func TestNotifications(t *testing.T) {
	const (
		account   = ", mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef"
		simulated = account + ", cloud: {login: https://127.0.0.1:1, graph: https://127.0.0.1:1}}}"
		microsoft = account + "}}"
		prefix    = "notifications.webhook"
		listen    = "listen: '127.0.0.1:8443', "
	)
	for _, test := range []struct{ webhook, rest, want string }{
		{listen + "url: https://hooks.example.com/graph", microsoft, ""},
		{listen + "url: https://hooks.example.com", microsoft, ""},
		{listen + "url: https://hooks.example.com/graph, tls_cert_file: testdata/client.pem, tls_key_file: testdata/client.key", microsoft, ""},
		{listen + "url: http://127.0.0.1:8443/graph", simulated, ""},
		{listen + "url: http://127.0.0.1:8443/graph", microsoft, prefix + ".url (line 1): want https: http is for a simulator on this machine, which account a does not use"},
		{listen + "url: http://hooks.example.com/graph", simulated, prefix + `.url (line 1): want https: Microsoft sends notifications to no other address, not "http://hooks.example.com/graph"`},
		{"url: https://hooks.example.com/graph", microsoft, prefix + ".listen (line 1) is required with url"},
		{"listen: '127.0.0.1:8443'", microsoft, prefix + ".url (line 1) is required with listen: Microsoft must reach the listener"},
		{"listen: '8443', url: https://hooks.example.com/graph", microsoft, prefix + `.listen (line 1): want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses, not "8443"; use :8443`},
		{listen + "url: hooks.example.com", microsoft, prefix + `.url (line 1): want an address such as https://hooks.example.com/graph, not "hooks.example.com"`},
		{listen + "url: 'https://u:secret@hooks.example.com/graph'", microsoft, prefix + ".url (line 1): want an address such as https://hooks.example.com/graph, without user and password"},
		{listen + "url: 'https://hooks.example.com/graph?x'", microsoft, prefix + `.url (line 1): want an address such as https://hooks.example.com/graph, not "https://hooks.example.com/graph?x"`},
		{listen + "url: 'https://hooks.example.com/{graph}'", microsoft, prefix + `.url (line 1): want a path of letters, digits and slashes, not "/{graph}"`},
		{listen + "url: 'https://192.168.1.2/graph'", microsoft, prefix + `.url (line 1): want an address that Microsoft reaches from the internet, not "https://192.168.1.2/graph"`},
		{listen + "url: 'https://nas.local/graph'", microsoft, prefix + `.url (line 1): want an address that Microsoft reaches from the internet, not "https://nas.local/graph"`},
		{listen + "url: 'https://localhost/graph'", microsoft, prefix + `.url (line 1): want an address that Microsoft reaches from the internet, not "https://localhost/graph"`},
		{listen + "url: https://hooks.example.com/graph, tls_cert_file: testdata/client.pem", microsoft, prefix + ".tls_key_file (line 1) is required with tls_cert_file"},
		{listen + "url: https://hooks.example.com/graph, tls_cert_file: testdata/client.key, tls_key_file: testdata/client.key", microsoft, prefix + ".tls_cert_file (line 1): read testdata/client.key: want a certificate in PEM form; the file has none"},
		{listen + "url: https://hooks.example.com/graph", ", http: {listen: '127.0.0.1:8443'}" + microsoft, prefix + ".listen (line 1): want another address than http.listen, 127.0.0.1:8443: strangers reach this one"},
		{listen + "public_url: https://hooks.example.com/graph", microsoft, prefix + ".public_url (line 1): unknown key; use url\n" + prefix + ".url (line 1) is required with listen: Microsoft must reach the listener"},
	} {
		_, err := config.Load(config.Sources{File: write(t, "c.yaml", "{notifications: {webhook: {"+test.webhook+"}}"+test.rest+"}"), Environ: environ()}, kinds())
		if got := strings.TrimPrefix(fmt.Sprint(err), "<nil>"); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.webhook, got, test.want)
		}
	}
	c, err := config.Load(config.Sources{File: write(t, "c.yaml", "{notifications: {safety: 5m}"+microsoft+"}"), Environ: environ()}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"notifications.safety has no effect without notifications.webhook"}, c.Warnings); diff != "" || c.Notifications.Enabled() {
		t.Error(diff)
	}
	if c.Notifications.Safety != 5*time.Minute {
		t.Errorf("%s", c.Notifications.Safety)
	}
	_, err = config.Load(config.Sources{File: write(t, "c.yaml", "{notifications: {webhook: 'https://hooks.example.com/graph'}"+microsoft+"}"), Environ: environ()}, kinds())
	if want := "notifications.webhook (line 1): want a mapping of keys, not text; use notifications.webhook.url"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
