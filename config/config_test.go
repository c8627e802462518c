package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

var update = flag.Bool("update", false, "update the files in testdata")

type calendar struct {
	Calendar      string        `koanf:"calendar" doc:"The name or id."`
	SharedMailbox string        `koanf:"shared_mailbox" doc:"The address of the mailbox."`
	Exclude       []string      `koanf:"exclude" doc:"The subjects that are not shown."`
	Sensitivity   []string      `koanf:"sensitivity_exclude" enum:"normal,personal,private,confidential" doc:"The sensitivities that are not shown."`
	StartOffset   time.Duration `koanf:"start_offset" min:"-8760h" max:"8760h" doc:"The start of the window."`
	EndOffset     time.Duration `koanf:"end_offset" max:"8760h" doc:"The end of the window."`
	MaxResults    int           `koanf:"max_results" min:"1" doc:"The number of events."`
	Ratio         float64       `koanf:"ratio" min:"0" max:"1" doc:"A share."`
	Cancelled     *bool         `koanf:"include_cancelled" doc:"Show canceled events."`

	Answer chan int // has no key, so it is not decoded
}

func (c *calendar) Validate() error {
	var errs []error
	if c.Exclude == nil && c.Calendar == "strict" {
		errs = append(errs, config.At("exclude", errors.New("empty")))
	}
	if c.EndOffset <= c.StartOffset {
		errs = append(errs, config.At("end_offset", errors.New("want an end after the start")))
	}
	for i, e := range c.Exclude {
		if _, err := regexp.Compile(e); err != nil {
			errs = append(errs, config.At(fmt.Sprintf("exclude[%d]", i), err))
		}
	}
	return errors.Join(errs...)
}

type mail struct {
	SharedMailbox string        `koanf:"shared_mailbox" doc:"The address of the mailbox."`
	Unread        bool          `koanf:"is_unread" doc:"Count only unread mail."`
	Token         config.Secret `koanf:"token" doc:"A secret."`
}

type status struct {
	User string `koanf:"user" doc:"The address of another user."`
}

func kinds() []config.Kind {
	return []config.Kind{
		{Name: "calendar", Doc: "A calendar.", Interval: time.Minute, New: func() any { return &calendar{EndOffset: 24 * time.Hour, MaxResults: 5} }},
		{Name: "email", Doc: "A folder of mail.", Aliases: []string{"mail"}, Interval: 30 * time.Second, New: func() any { return &mail{} }},
		{Name: "status", Doc: "A presence.", Aliases: []string{"presence"}, Interval: 30 * time.Second, OwnUpdates: true, WorkOnly: true, New: func() any { return &status{} },
			Check: func(s *config.Sensor) error {
				if s.EnableUpdate && s.Options.(*status).User != "" {
					return config.At("enable_update", errors.New("the status of somebody else cannot be changed"))
				}
				return nil
			}},
	}
}

// environ returns an environment that contains no configuration besides vars.
func environ(vars ...string) []string {
	return append([]string{"HOME=/home/ann", "PATH=/bin"}, vars...)
}

// write creates a file in a temporary directory and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const minimal = `
mqtt: {url: mqtt://localhost}
accounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}
`

func TestDefaults(t *testing.T) {
	file := write(t, "c.yaml", minimal)
	got, err := config.Load(config.Sources{File: file, Environ: environ()}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Config{
		File: file, Files: []string{file}, WatchedDir: filepath.Join(filepath.Dir(file), "accounts.d"),
		MQTT:          config.MQTT{URL: "mqtt://localhost", BaseTopic: "graph2mqtt", Keepalive: time.Minute},
		HomeAssistant: config.HomeAssistant{Enabled: true, DiscoveryTopic: "homeassistant", StatusTopic: "homeassistant/status", QoS: 1, Discovery: "device"},
		StateDir:      "/home/ann/.local/state/graph2mqtt",
		Log:           config.Log{Level: "info", Format: "text"},
		Cluster:       config.Cluster{Bucket: "graph2mqtt", Shards: 1, Lease: 10 * time.Second},
		Commands:      config.Commands{MaxAge: 15 * time.Minute, Queue: 100},
		Notifications: config.Notifications{EventHubs: config.EventHubs{ConsumerGroup: "graph2mqtt"}, Safety: 15 * time.Minute},
		Audit:         config.Audit{MaxSize: 10, MaxFiles: 10},
		Accounts: map[string]*config.Account{"work": {
			ID: "work", Name: "Work", ClientID: "01234567-89ab-cdef-0123-456789abcdef", Tenant: "common", RedirectURI: "http://localhost",
			Cloud:    config.Cloud{Name: "global", Login: "https://login.microsoftonline.com", Graph: "https://graph.microsoft.com", Audience: "https://graph.microsoft.com"},
			Timezone: "auto", StaleAfter: time.Hour, Sensors: map[string]*config.Sensor{},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFull loads every key in each format, with the same result.
func TestFull(t *testing.T) {
	var first any
	for _, name := range []string{"full.yaml", "full.toml", "full.json"} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Load(config.Sources{File: filepath.Join("testdata", name), Environ: environ()}, kinds())
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"testdata/account.pem", "testdata/ca.pem", "testdata/client.key", "testdata/client.pem", filepath.Join("testdata", name), "testdata/secret.txt"}
			if diff := cmp.Diff(want, c.Files); diff != "" {
				t.Error(diff)
			}
			for path, s := range map[string]config.Secret{"mqtt": c.MQTT.Password, "work": c.Accounts["work"].ClientSecret, "inbox": c.Accounts["work"].Sensors["inbox"].Options.(*mail).Token} {
				if s.Reveal() != "hunter2 " {
					t.Errorf("the secret of %s is %q", path, s.Reveal())
				}
			}
			if first == nil {
				first = c.Redacted()
				golden(t, "full.redacted.json", indent(t, first))
			}
			if diff := cmp.Diff(first, c.Redacted()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func indent(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestInvalid compares the problems of every invalid file with the text file beside it.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.*")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range files {
		if filepath.Ext(file) == ".txt" {
			continue
		}
		ran++
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := config.Load(config.Sources{File: file, Environ: environ()}, kinds())
			var problems config.Problems
			if c != nil || !errors.As(err, &problems) {
				t.Fatalf("got %v, %v", c, err)
			}
			if !slices.IsSortedFunc(problems, func(a, b config.Problem) int { return strings.Compare(a.Path, b.Path) }) {
				t.Error("not sorted")
			}
			golden(t, filepath.Base(file)+".txt", err.Error()+"\n")
		})
	}
	if ran < 10 {
		t.Errorf("only %d files", ran)
	}
}

// TestRules covers the limits that the files in testdata exceed by far.
func TestRules(t *testing.T) {
	const account = ", accounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}"
	for _, test := range []struct{ content, want string }{
		{"mqtt: {url: mqtt://h, base_topic: x/}" + account, `mqtt.base_topic (line 1): want a topic without empty levels, not "x/"`},
		{"mqtt: {url: mqtt://h, base_topic: " + strings.Repeat("x", 257) + "}" + account, "mqtt.base_topic (line 1): want at most 256 bytes, not 257"},
		{"mqtt: {url: mqtt://h, base_topic: " + strings.Repeat("x", 256) + "}" + account, ""},
		{`mqtt: {url: mqtt://h, base_topic: "a\u0007"}` + account, `mqtt.base_topic (line 1): want a topic without spaces and control characters, which some brokers refuse, not "a\a"`},
		{`mqtt: {url: mqtt://h, base_topic: "a b"}` + account, `mqtt.base_topic (line 1): want a topic without spaces and control characters, which some brokers refuse, not "a b"`},
		{`mqtt: {url: mqtt://h, base_topic: "a\u007f"}` + account, `mqtt.base_topic (line 1): want a topic without spaces and control characters, which some brokers refuse, not "a\x7f"`},
		{`mqtt: {url: mqtt://h, base_topic: "a\tb"}` + account, `mqtt.base_topic (line 1): want a topic without spaces and control characters, which some brokers refuse, not "a\tb"`},
		{`mqtt: {url: mqtt://h, base_topic: "a/+"}` + account, `mqtt.base_topic (line 1): want a topic without the wildcards + and #, not "a/+"`},
		{`mqtt: {url: mqtt://h, base_topic: "$a"}` + account, `mqtt.base_topic (line 1): want a topic that does not begin with $, which is reserved for the broker, not "$a"`},
		{"mqtt: {url: mqtt://h}, homeassistant: {discovery_topic: 'a b'}" + account, `homeassistant.discovery_topic (line 1): want a topic without spaces and control characters, which some brokers refuse, not "a b"`},
		{"mqtt: {url: mqtt://h}, homeassistant: {qos: 2}" + account, "homeassistant.qos (line 1): want at most 1, not 2"},
		{"mqtt: {url: mqtt://h}, accounts: {'my work': {client_id: 01234567-89ab-cdef-0123-456789abcdef}}", `accounts."my work" (line 1): want an id of the letters a to z, digits and underscores`},
		{"mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, sensors: {'#': {type: calendar}}}}", `accounts.a.sensors.# (line 1): want an id of the letters a to z, digits and underscores`},
		{"mqtt: {urls: [mqtt://a, 'wss://b/mqtt']}" + account, ""},
		{"mqtt: {urls: mqtt://a}" + account, `mqtt.urls (line 1): want a list of text, not "mqtt://a"`},
		{"mqtt: {urls: []}" + account, "mqtt.urls (line 1): want at least one address, such as mqtt://192.168.1.10:1883"},
		{"mqtt: {}" + account, "mqtt.url (line 1) is required, such as mqtt://192.168.1.10:1883"},
		{"mqtt: {url: mqtt://a, urls: [mqtt://b]}" + account, "mqtt.url (line 1): given together with urls: only one of them can be right"},
		{"mqtt: {urls: [mqtt://a, mqtt://b, mqtt://a]}" + account, "mqtt.urls[2] (line 1): want each broker once: urls[0] is the same"},
		{"mqtt: {urls: [mqtt://a, b]}" + account, `mqtt.urls[1] (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss), not "b"`},
		{"mqtt: {urls: [mqtt://a, 'mqtt://u:p@b']}" + account, "mqtt.urls[1] (line 1): want an address without user and password; use mqtt.username and mqtt.password"},
		{"mqtt: {urls: [mqtts://a, mqtt://b], ca_file: testdata/ca.pem}" + account, "mqtt.urls[1] (line 1): want mqtts:// or wss://: certificates are given, but this connection is not encrypted"},
		{"mqtt: {brokers: [mqtt://a]}" + account, "mqtt.brokers (line 1): unknown key; use urls\nmqtt.url (line 1) is required, such as mqtt://192.168.1.10:1883"},
		{`mqtt: {url: mqtt://h, client_id: "a\0"}` + account, "mqtt.client_id (line 1): want text without control characters"},
		{`mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, name: "a\x01b", sensors: {c: {type: calendar, name: "a\nb", entities: {count: {name: "\x7f"}}}}}}`,
			"accounts.a.name (line 1): want text without control characters\naccounts.a.sensors.c.entities.count.name (line 1): want text without control characters\naccounts.a.sensors.c.name (line 1): want text without control characters"},
		{`mqtt: {url: mqtt://h}, organizations: {o: {client_id: 01234567-89ab-cdef-0123-456789abcdef, tenant: contoso.com, federated_token_file: token, name: "a\x01b"}}`, "organizations.o.name (line 1): want text without control characters"},
		{"mqtt: {url: 'ws://h/mqtt?x=1'}" + account, `mqtt.url (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss), not "ws://h/mqtt?x=1"`},
		{"mqtt: {url: 'mqtt://:1883'}" + account, `mqtt.url (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss), not "mqtt://:1883"`},
		{"mqtt: {url: 'mqtt://[::1]:65535/'}" + account, ""},
		{"mqtt: {url: 'mqtt://h:0'}" + account, "mqtt.url (line 1): want a port from 1 to 65535, not 0"},
		{"mqtt: {url: ''}" + account, "mqtt.url (line 1) is required, such as mqtt://192.168.1.10:1883"},
		{"mqtt: {url: mqtt://h, keepalive: '0'}" + account, `mqtt.keepalive (line 1): want a duration with a unit, such as 30s, 15m or 24h, not "0"`},
		{"mqtt: {url: mqtt://h, keepalive: 5s}" + account, ""},
		{"mqtt: {url: mqtt://h}, commands: {queue: 18446744073709551615}" + account, "commands.queue (line 1): want a whole number, not 18446744073709551615"},
		{"mqtt: {url: mqtt://h}, commands: {queue: 10000}" + account, ""},
		{"mqtt: {url: mqtt://h}, commands: {queue: 10001}" + account, "commands.queue (line 1): want at most 10000, not 10001"},
		{"mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, tenant: Consumers, sensors: {s: {type: status}}}}",
			"accounts.a.sensors.s.type (line 1): status is for work and school accounts: the tenant consumers has personal ones only"},
		{"mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, tenant: Consumers, cloud: us_gov}}",
			`accounts.a.tenant (line 1): the cloud us_gov has no personal accounts: want organizations, or the id or domain of a tenant, not "Consumers"`},
		{"mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, sensors: {c: {type: calendar, ratio: .inf}}}}",
			"accounts.a.sensors.c.ratio (line 1): want a number, not +Inf"},
		{"mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, redirect_uri: 'http://127.0.0.1:1'}}", ""},
	} {
		_, err := config.Load(config.Sources{File: write(t, "c.yaml", "{"+test.content+"}"), Environ: environ()}, kinds())
		if got := strings.TrimPrefix(fmt.Sprint(err), "<nil>"); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.content, got, test.want)
		}
	}
}

func TestHTTP(t *testing.T) {
	const account = ", mqtt: {url: mqtt://h}, accounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}"
	const password = ", password: hunter2hunter2"
	const app = "SUPERVISOR_TOKEN=x"
	for _, test := range []struct{ content, environment, want string }{
		{"listen: ':8099'" + password, "", ""},
		{"listen: '127.0.0.1:8099'", "", ""},
		{"listen: '127.1.2.3:8099', metrics: true, calendars: true", "", ""},
		{"listen: '[::1]:8099'", "", ""},
		{"listen: '[::ffff:127.0.0.1]:8099'", "", ""},
		{"listen: 'Localhost:8099'", "", ""},
		{"listen: '0.0.0.0:8099'", app, ""},
		{"listen: ':8099'", "", "http.password (line 1) is required: others can reach :8099; listen on 127.0.0.1 to go without"},
		{"listen: '0.0.0.0:8099'", "", "http.password (line 1) is required: others can reach 0.0.0.0:8099; listen on 127.0.0.1 to go without"},
		{"listen: '[::]:8099'", "", "http.password (line 1) is required: others can reach [::]:8099; listen on 127.0.0.1 to go without"},
		{"listen: 'myhost:8099'", "", "http.password (line 1) is required: others can reach myhost:8099; listen on 127.0.0.1 to go without"},
		{"listen: '127.0.0.1:8099', hosts: [a.example]", "", "http.password (line 1) is required: http.external_url and http.hosts are for others than this machine"},
		{"listen: '127.0.0.1:8099', external_url: 'https://a.example'", "", "http.password (line 1) is required: http.external_url and http.hosts are for others than this machine"},
		{"listen: '127.0.0.1:8099', pprof: true", "", "http.password (line 1) is required with http.pprof: profiles show details of the running program"},
		{"listen: ':8099', metrics: true", app, "http.password (line 1) is required with http.metrics: Prometheus cannot sign in with Home Assistant's ingress"},
		{"listen: ':8099', password: hunter2", "", "http.password (line 1): want at least 8 characters, not 7"},
		{`listen: ':8099', password: "hunter2	hunter2"`, "", "http.password (line 1): want text without control characters"},
		{"listen: 8099", "", "http.listen (line 1): want text, not 8099; put it in quotes"},
		{"listen: '8099'", "", `http.listen (line 1): want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses, not "8099"; use :8099`},
		{"listen: '127.0.0.1'", "", `http.listen (line 1): want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses, not "127.0.0.1"`},
		{"listen: '127.0.0.1:http'", "", `http.listen (line 1): want a port from 0 to 65535 after the address, not "http"`},
		{"listen: '127.0.0.1:65536'", "", `http.listen (line 1): want a port from 0 to 65535 after the address, not "65536"`},
		{"listen: '::1:8099'", "", "http.listen (line 1): want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses; an IPv6 address needs brackets: [::1]:8099"},
		{"listen: 'http://127.0.0.1:8099'", "", "http.listen (line 1): want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses, without http://"},
		{"listen: 'a b:8099'", "", `http.listen (line 1): want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses, not "a b:8099"`},
		{"tls_cert_file: testdata/client.pem", "", "http.tls_key_file (line 1) is required with tls_cert_file"},
		{"tls_key_file: testdata/client.key", "", "http.tls_cert_file (line 1) is required with tls_key_file"},
		{"tls_cert_file: testdata/client.pem, tls_key_file: testdata/client.key", "", ""},
		{"tls_cert_file: testdata/client.pem, tls_key_file: testdata/no.key", "", "http.tls_key_file (line 1): read testdata/no.key: no such file or directory"},
		{"tls_cert_file: testdata/client.key, tls_key_file: testdata/client.key", "", "http.tls_cert_file (line 1): read testdata/client.key: want a certificate in PEM form; the file has none"},
		{"hosts: [A.example., 'fe80::1', my_host]" + password, "", ""},
		{"hosts: ['a.example:8099']" + password, "", `http.hosts[0] (line 1): want a host name without scheme, port and wildcard, such as graph2mqtt.example.com, not "a.example:8099"`},
		{"hosts: ['*.example']" + password, "", `http.hosts[0] (line 1): want a host name without scheme, port and wildcard, such as graph2mqtt.example.com, not "*.example"`},
		{"external_url: 'https://a.example/graph/'" + password, "", ""},
		{"external_url: a.example" + password, "", `http.external_url (line 1): want an address such as https://graph2mqtt.example.com, not "a.example"`},
		{"external_url: 'https://u:p@a.example'" + password, "", "http.external_url (line 1): want an address such as https://graph2mqtt.example.com, without user and password"},
		{"external_url: 'https://a.example/?x'" + password, "", `http.external_url (line 1): want an address such as https://graph2mqtt.example.com, not "https://a.example/?x"`},
		{"bind: x", "", "http.bind (line 1): unknown key; use listen"},
		{"metric: true", "", "http.metric (line 1): unknown key; did you mean metrics? known keys: calendars, external_url, hosts, listen, metrics, password, password_file, pprof, tls_cert_file, tls_key_file"},
	} {
		_, err := config.Load(config.Sources{File: write(t, "c.yaml", "{http: {"+test.content+"}"+account+"}"), Environ: environ(test.environment)}, kinds())
		if got := strings.TrimPrefix(fmt.Sprint(err), "<nil>"); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.content, got, test.want)
		}
	}

	c, err := config.Load(config.Sources{
		File:    write(t, "c.yaml", "{http: {hosts: [A.example., '[FE80::1]'], external_url: 'https://b.example/x/', password: hunter2hunter2, metrics: true}"+account+"}"),
		Environ: environ(app),
	}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	want := config.HTTP{Listen: ":8099", Hosts: []string{"a.example", "fe80::1"}, ExternalURL: "https://b.example/x", Password: "hunter2hunter2", Metrics: true, Ingress: true}
	if diff := cmp.Diff(want, c.HTTP); diff != "" {
		t.Error(diff)
	}
	c, err = config.Load(config.Sources{File: write(t, "c.yaml", "{http: {metrics: true}"+account+"}"), Environ: environ("")}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"http.metrics has no effect without http.listen"}, c.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "newline": "\n", "crlf": "pass\r\n", "two": "a\n\n", "bom": "\ufeffpass\n", "utf16": "\xff\xfep\x00a\x00\n\x00", "latin1": "p\xe4ss\n", "long": strings.Repeat("x", 1<<16+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, want, err string }{
		{name: "crlf", want: "pass"},
		{name: "two", err: "mqtt.password_file: read DIR/two: want one line, not several"},
		{name: "bom", err: "mqtt.password_file: read DIR/bom: want UTF-8 text without a byte order mark"},
		{name: "utf16", err: "mqtt.password_file: read DIR/utf16: want UTF-8 text, not UTF-16 or binary data"},
		{name: "latin1", err: "mqtt.password_file: read DIR/latin1: want UTF-8 text, not UTF-16 or binary data"},
		{name: "empty", err: "mqtt.password_file: read DIR/empty: the file is empty"},
		{name: "newline", err: "mqtt.password_file: read DIR/newline: the file is empty"},
		{name: "missing", err: "mqtt.password_file: read DIR/missing: no such file or directory"},
		{name: ".", err: "mqtt.password_file: read DIR/.: is a directory"},
		{name: "long", err: "mqtt.password_file: read DIR/long: more than 65536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, "c.yaml", minimal)
			c, err := config.Load(config.Sources{File: file, Environ: environ("GRAPH2MQTT_MQTT__USERNAME=u", "GRAPH2MQTT_MQTT__PASSWORD_FILE="+dir+"/"+test.name)}, kinds())
			if got := strings.ReplaceAll(fmt.Sprint(err), dir, "DIR"); err != nil && got != test.err || err == nil && test.err != "" {
				t.Fatalf("got %v\nwant %s", got, test.err)
			}
			if err == nil && c.MQTT.Password.Reveal() != test.want {
				t.Errorf("got %q", c.MQTT.Password.Reveal())
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	file := write(t, "c.yaml", minimal)
	c, err := config.Load(config.Sources{File: file, Flags: map[string]any{"log.level": "DEBUG"}, Environ: environ(
		"GRAPH2MQTT_MQTT__URL=wss://broker.example/mqtt",
		"GRAPH2MQTT_MQTT__KEEPALIVE=", // not set
		"GRAPH2MQTT_HOMEASSISTANT__ENABLED=FALSE",
		"GRAPH2MQTT_COMMANDS__QUEUE=7",
		"GRAPH2MQTT_COMMANDS__MAX_AGE=2m",
		"GRAPH2MQTT_ACCOUNTS__HOME__SENSORS__CAL__EXCLUDE=/a, /b",
		"GRAPH2MQTT_LOG_LEVEL=warn",
		"GRAPH2MQTT_LOG_FORMAT=json",
		"GRAPH2MQTT_STATE_DIR=/s",
		"GRAPH2MQTT_KEY=secret",
		"GRAPH2MQTT_ACCOUNTS__WORK__TENANT=contoso.com",
		"GRAPH2MQTT_ACCOUNTS__HOME__CLIENT_ID=01234567-89ab-cdef-0123-456789abcdef",
		"GRAPH2MQTT_ACCOUNTS__HOME__CLOUD__LOGIN=https://login.example",
		"GRAPH2MQTT_ACCOUNTS__HOME__CLOUD__GRAPH=https://graph.example/",
		"GRAPH2MQTT_ACCOUNTS__HOME__SENSORS__INBOX__TYPE=Email",
		"GRAPH2MQTT_ACCOUNTS__HOME__SENSORS__INBOX__IS_UNREAD=true",
		"GRAPH2MQTT_ACCOUNTS__HOME__SENSORS__CAL__TYPE=calendar",
		"GRAPH2MQTT_ACCOUNTS__HOME__SENSORS__CAL__RATIO=0.5",
		"GRAPH2MQTT_ACCOUNTS__HOME__SENSORS__CAL__ENTITIES__NEXT__ICON=mdi:calendar",
		// Kubernetes sets these for services named graph2mqtt and graph2mqtt-mqtt.
		"GRAPH2MQTT_SERVICE_HOST=10.0.0.1", "GRAPH2MQTT_SERVICE_PORT=80", "GRAPH2MQTT_SERVICE_PORT_HTTP=80", "GRAPH2MQTT_PORT=tcp://10.0.0.1:80",
		"GRAPH2MQTT_PORT_80_TCP=tcp://10.0.0.1:80", "GRAPH2MQTT_PORT_80_TCP_PROTO=tcp", "GRAPH2MQTT_PORT_80_TCP_PORT=80", "GRAPH2MQTT_PORT_80_TCP_ADDR=10.0.0.1",
		"GRAPH2MQTT_MQTT_SERVICE_HOST=10.0.0.1", "GRAPH2MQTT_MQTT_SERVICE_PORT=1883", "GRAPH2MQTT_MQTT_PORT=tcp://10.0.0.1:1883", "GRAPH2MQTT_MQTT_PORT_1883_TCP_ADDR=10.0.0.1",
	)}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	home := c.Accounts["home"]
	cal, inbox := home.Sensors["cal"], home.Sensors["inbox"]
	got := []any{c.MQTT.URL, c.HomeAssistant.Enabled, c.Commands, cal.Options.(*calendar).Exclude, c.Log, c.StateDir, c.Accounts["work"].Tenant,
		home.Cloud, inbox.Type, inbox.Options, cal.Options.(*calendar).Ratio, cal.Entities}
	want := []any{"wss://broker.example/mqtt", false, config.Commands{MaxAge: 2 * time.Minute, Queue: 7}, []string{"/a", "/b"},
		config.Log{Level: "debug", Format: "json"}, "/s", "contoso.com",
		config.Cloud{Name: "custom", Login: "https://login.example", Graph: "https://graph.example", Audience: "https://graph.example"},
		"email", &mail{Unread: true}, 0.5, map[string]config.EntityOverride{"next": {Enabled: true, Icon: "mdi:calendar"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(c.Ignored) != 12 || c.Ignored[0] != "GRAPH2MQTT_MQTT_PORT is ignored: no key of the configuration has this name" {
		t.Errorf("ignored: %q", c.Ignored)
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	for _, test := range []struct{ variable, want string }{
		{"GRAPH2MQTT_MQTT_URL=x", "GRAPH2MQTT_MQTT_URL: no such variable; did you mean GRAPH2MQTT_MQTT__URL?"},
		{"GRAPH2MQTT_LOGLEVEL=x", "GRAPH2MQTT_LOGLEVEL: no such variable; did you mean GRAPH2MQTT_LOG_LEVEL?"},
		{"GRAPH2MQTT_MQTT_PASSWORD=x", "GRAPH2MQTT_MQTT_PASSWORD: no such variable; did you mean GRAPH2MQTT_MQTT__PASSWORD?"},
		{"GRAPH2MQTT_ACOUNTS__WORK__TENANT=x", "GRAPH2MQTT_ACOUNTS__WORK__TENANT: no such variable; did you mean GRAPH2MQTT_ACCOUNTS__WORK__TENANT?"},
		{"GRAPH2MQTT_ACCOUNTS_WORK_TENANT=x", "GRAPH2MQTT_ACCOUNTS_WORK_TENANT: no such variable; did you mean GRAPH2MQTT_ACCOUNTS__ID__KEY?"},
		{"GRAPH2MQTT_MQTT=x", "GRAPH2MQTT_MQTT: given together with variables for keys below it"},
		{"GRAPH2MQTT_LOG=x", "log: want a mapping of keys, not text"},
		{"GRAPH2MQTT_ACCOUNTS=x", "accounts: want a mapping of keys, not text"},
		{"GRAPH2MQTT_MQTT__KEEPALIV=x", "mqtt.keepaliv: unknown key; did you mean keepalive? known keys: base_topic, ca_file, cert_file, client_id, keepalive, key_file, password, password_file, url, urls, username"},
		{"GRAPH2MQTT_MQTT__KEEPALIVE=30", `mqtt.keepalive: want a duration with a unit, such as 30s, 15m or 24h, not "30"`},
		{"GRAPH2MQTT_COMMANDS__QUEUE=many", `commands.queue: want a whole number, not "many"`},
		{"GRAPH2MQTT_COMMANDS__QUEUE=1.0", `commands.queue: want a whole number, not "1.0"`},
		{"GRAPH2MQTT_HOMEASSISTANT__ENABLED=yes", `homeassistant.enabled: want true or false, not "yes"`},
	} {
		t.Run(test.variable, func(t *testing.T) {
			_, err := config.Load(config.Sources{File: write(t, "c.yaml", minimal), Environ: environ("GRAPH2MQTT_MQTT__USERNAME=u", test.variable)}, kinds())
			if fmt.Sprint(err) != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestWithoutFile(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := config.Load(config.Sources{Environ: environ("XDG_CONFIG_HOME=/xdg")}, kinds())
	want := "no configuration: none of graph2mqtt.yaml, /xdg/graph2mqtt/graph2mqtt.yaml, /etc/graph2mqtt/graph2mqtt.yaml exists; name one with --config, or write one with `graph2mqtt init`"
	if fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	c, err := config.Load(config.Sources{Environ: environ("GRAPH2MQTT_MQTT__URL=mqtt://localhost", "GRAPH2MQTT_ACCOUNTS__WORK__CLIENT_ID=01234567-89ab-cdef-0123-456789abcdef")}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	if c.File != "" || len(c.Files) != 0 || c.Accounts["work"].Name != "Work" {
		t.Errorf("got %+v", c)
	}
}

// The environment can list several brokers, too, but not beside the one of the file.
func TestBrokersInTheEnvironment(t *testing.T) {
	const account = "accounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}"
	load := func(content string) (*config.Config, error) {
		return config.Load(config.Sources{File: write(t, "c.yaml", content), Environ: environ("GRAPH2MQTT_MQTT__URLS=mqtt://a,mqtt://b")}, kinds())
	}
	c, err := load(account)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.MQTT.Brokers(); !slices.Equal(got, []string{"mqtt://a", "mqtt://b"}) {
		t.Errorf("brokers %v", got)
	}
	if _, err := load("mqtt: {url: mqtt://c}\n" + account); err == nil || err.Error() != "mqtt.url (line 1): given together with urls: only one of them can be right" {
		t.Errorf("got %v", err)
	}
}

func TestSearch(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	t.Chdir(dir)
	below := filepath.Join(home, ".config", "graph2mqtt")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ add, env, want string }{
		{add: filepath.Join(below, "graph2mqtt.json"), want: filepath.Join(below, "graph2mqtt.json")},
		{add: filepath.Join(dir, "graph2mqtt.yaml"), want: "graph2mqtt.yaml"},
		{add: filepath.Join(dir, "other.yml"), env: "other.yml", want: "other.yml"},
	} {
		content := `{"mqtt": {"url": "mqtt://localhost"}, "accounts": {"work": {"client_id": "01234567-89ab-cdef-0123-456789abcdef"}}}`
		if err := os.WriteFile(step.add, []byte("\ufeff"+content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Sources{Environ: []string{"HOME=" + home, "GRAPH2MQTT_CONFIG=" + step.env}}, kinds())
		if err != nil {
			t.Fatal(err)
		}
		if c.File != step.want {
			t.Errorf("got %s, want %s", c.File, step.want)
		}
	}
	c, err := config.Load(config.Sources{Environ: []string{"HOME=" + home}}, kinds())
	want := []string{filepath.Join(below, "graph2mqtt.json") + " is not read: graph2mqtt.yaml comes first"}
	if diff := cmp.Diff(want, c.Warnings); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestFileProblems(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ name, content, want string }{
		{"a.ini", "x", "want a file that ends in .yaml, .yml, .toml or .json"},
		{"a.yaml", "", "the file is empty"},
		{"a.yaml", " \n", "the file is empty"},
		{"a.yaml", "mqtt: {}\n\tx", "(line 2): found character that cannot start any token; indent with spaces, and put text that begins with @, ` or % in quotes"},
		{"a.yaml", "mqtt:\n  password: se#cret: hunter2\n", "(line 2): mapping values are not allowed in this context; compare the indentation, and put text with a colon and a space in quotes"},
		{"a.yaml", "mqtt: 1\nlog: 2\nmqtt: 3\nlog: 4\n", "(line 3): mapping key \"mqtt\" already defined at line 1\nFILE (line 4): mapping key \"log\" already defined at line 2"},
		{"a.yaml", "hunter2", "want a mapping of keys at the top"},
		{"a.yaml", "- hunter2", "want a mapping of keys at the top"},
		{"a.json", "{\n\"a\": hunter2\n}", "(line 2): want JSON: invalid character 'h' looking for beginning of value"},
		{"a.json", `{"a": {"b": [{"b": 1}, "b", "b"], "c": "b"}, "b": 1,` + "\n" + `"\u0061": 2}`, `(line 2): key "a" is given twice`},
		{"a.json", "[1]", "want a mapping of keys at the top"},
		{"a.toml", "a = 1\nb", "(line 2): expected '=' after key"},
		{"a.toml", "[a]\nb = 1\nb = 2\n", "(line 3): key b is already defined"},
	} {
		t.Run(test.name+" "+test.content, func(t *testing.T) {
			file := filepath.Join(dir, test.name)
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load(config.Sources{File: file, Environ: environ()}, kinds())
			if got := strings.ReplaceAll(fmt.Sprint(err), file, "FILE"); got != "FILE: "+test.want && got != "FILE "+test.want {
				t.Errorf("got  %s\nwant FILE: %s", got, test.want)
			}
		})
	}
	for file, want := range map[string]string{dir + "/missing.yaml": ": no such file or directory", dir + "/d.yaml": " is a directory"} {
		if err := os.MkdirAll(dir+"/d.yaml", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Sources{File: file, Environ: environ()}, kinds()); fmt.Sprint(err) != file+want {
			t.Errorf("got %v", err)
		}
	}
}

func TestStateDir(t *testing.T) {
	file := write(t, "c.yaml", minimal)
	for _, test := range []struct {
		env  []string
		flag map[string]any
		want string
	}{
		{env: []string{"STATE_DIRECTORY=/var/lib/a:/var/lib/b", "XDG_STATE_HOME=/x"}, want: "/var/lib/a"},
		{env: []string{"XDG_STATE_HOME=/w", "XDG_STATE_HOME=/x"}, want: "/x/graph2mqtt"},
		{env: []string{"XDG_STATE_HOME=relative", "HOME=/h"}, want: "/h/.local/state/graph2mqtt"},
		{env: []string{"STATE_DIRECTORY=/a", "GRAPH2MQTT_STATE_DIR=/b"}, want: "/b"},
		{env: []string{"GRAPH2MQTT_STATE_DIR=/b"}, flag: map[string]any{"state_dir": "/c"}, want: "/c"},
	} {
		c, err := config.Load(config.Sources{File: file, Environ: test.env, Flags: test.flag}, kinds())
		if err != nil {
			t.Fatal(err)
		}
		if c.StateDir != test.want {
			t.Errorf("%v: got %s, want %s", test.env, c.StateDir, test.want)
		}
	}
	_, err := config.Load(config.Sources{File: file}, kinds())
	if want := "state_dir is required: its default needs STATE_DIRECTORY, XDG_STATE_HOME or HOME in the environment"; fmt.Sprint(err) != want {
		t.Errorf("got %v", err)
	}
}

// StateDir finds the directory of a configuration that is invalid otherwise, too.
func TestStateDirOfAnInvalidConfiguration(t *testing.T) {
	for content, want := range map[string]string{
		minimal:                              "/home/ann/.local/state/graph2mqtt",
		"state_dir: /srv/state\naccounts: 1": "/srv/state",
		"state_dir: /srv/state\naccounts: {": "/default", // it cannot be parsed
		"state_dir: [1]":                     "/default",
		"mqtt: {url: http://localhost}":      "/default",
	} {
		s := config.Sources{File: write(t, "c.yaml", content), Environ: environ()}
		if want == "/default" {
			s.Defaults = map[string]any{"state_dir": want}
		}
		if dir, err := config.StateDir(s); dir != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", content, dir, err, want)
		}
	}
	s := config.Sources{File: write(t, "c.yaml", minimal+"state_dir: /file\n"), Environ: environ("GRAPH2MQTT_STATE_DIR=/environment")}
	if dir, err := config.StateDir(s); dir != "/environment" || err != nil {
		t.Errorf("got %s, %v", dir, err)
	}
	s.Flags = map[string]any{"state_dir": "/flag"}
	if dir, err := config.StateDir(s); dir != "/flag" || err != nil {
		t.Errorf("got %s, %v", dir, err)
	}
	_, err := config.StateDir(config.Sources{File: "none.yaml"})
	if want := "state_dir is required: its default needs STATE_DIRECTORY, XDG_STATE_HOME or HOME in the environment"; fmt.Sprint(err) != want {
		t.Errorf("got %v", err)
	}
}

// The defaults of a broker apply only to that broker: its password must not be sent to another.
func TestDefaultsOfTheBroker(t *testing.T) {
	const accounts = "accounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}\n"
	defaults := map[string]any{"mqtt.url": "mqtt://core-mosquitto:1883", "mqtt.username": "addons", "mqtt.password": "secret", "log.level": "debug"}
	for _, test := range []struct {
		file string
		env  []string
		want config.MQTT
	}{
		{file: "", want: config.MQTT{URL: "mqtt://core-mosquitto:1883", Username: "addons", Password: "secret"}},
		{file: "mqtt: {base_topic: graph2mqtt}", want: config.MQTT{URL: "mqtt://core-mosquitto:1883", Username: "addons", Password: "secret"}},
		{file: "mqtt: {url: mqtt://other}", want: config.MQTT{URL: "mqtt://other"}},
		{file: "mqtt: {url: mqtt://other, username: ann, password: pw}", want: config.MQTT{URL: "mqtt://other", Username: "ann", Password: "pw"}},
		{file: "mqtt: {username: ann, password: pw}", want: config.MQTT{URL: "mqtt://core-mosquitto:1883", Username: "ann", Password: "pw"}},
		{file: "mqtt: {username: ann}", want: config.MQTT{URL: "mqtt://core-mosquitto:1883", Username: "ann"}},
		{env: []string{"GRAPH2MQTT_MQTT__URL=mqtt://other"}, want: config.MQTT{URL: "mqtt://other"}},
		{file: "mqtt: {urls: [mqtt://b1, mqtt://b2]}", want: config.MQTT{URLs: []string{"mqtt://b1", "mqtt://b2"}}},
		{env: []string{"GRAPH2MQTT_MQTT__URLS=mqtt://b1, mqtt://b2"}, want: config.MQTT{URLs: []string{"mqtt://b1", "mqtt://b2"}}},
	} {
		c, err := config.Load(config.Sources{File: write(t, "c.yaml", accounts+test.file), Environ: environ(test.env...), Defaults: defaults}, kinds())
		if err != nil {
			t.Errorf("%s: %v", test.file, err)
			continue
		}
		if got := c.MQTT; got.URL != test.want.URL || !slices.Equal(got.URLs, test.want.URLs) || got.Username != test.want.Username || got.Password != test.want.Password {
			t.Errorf("%s %v: got %s %v, user %s, password %s", test.file, test.env, got.URL, got.URLs, got.Username, got.Password.Reveal())
		}
		if c.Log.Level != "debug" {
			t.Errorf("%s: log level %s", test.file, c.Log.Level)
		}
	}
	c, err := config.Load(config.Sources{File: write(t, "c.yaml", accounts+"log: {level: warn}"), Environ: environ(), Defaults: defaults}, kinds())
	if err != nil || c.Log.Level != "warn" {
		t.Errorf("the file does not override the default: %v", err)
	}
}

func TestBrokerWithoutAFile(t *testing.T) {
	defaults := map[string]any{"mqtt.url": "mqtt://default"}
	for _, test := range []struct {
		env  []string
		want string
	}{
		{want: "mqtt://default"},
		{env: []string{"GRAPH2MQTT_MQTT__URL=mqtt://a"}, want: "mqtt://a"},
		{env: []string{"GRAPH2MQTT_MQTT__URLS=mqtt://a, mqtt://b"}, want: "mqtt://a, mqtt://b"},
	} {
		if got := (config.Sources{Environ: environ(test.env...), Defaults: defaults}).Broker(); got != test.want {
			t.Errorf("%v: got %q, want %q", test.env, got, test.want)
		}
	}
	if got := (config.Sources{Environ: environ()}).Broker(); got != "" {
		t.Errorf("without any: got %q", got)
	}
}

// What is to be written to a file is checked before.
func TestContentWithoutAFile(t *testing.T) {
	c, err := config.Load(config.Sources{File: "none.yaml", Content: []byte(minimal), Environ: environ()}, kinds())
	if err != nil || c.Accounts["work"] == nil {
		t.Errorf("got %v", err)
	}
	if _, err = config.Load(config.Sources{File: "none.yaml", Content: []byte("mqtt: 1"), Environ: environ()}, kinds()); err == nil || !strings.Contains(err.Error(), "(line 1)") {
		t.Errorf("got %v", err)
	}
	if _, err = config.Load(config.Sources{File: "none.yaml", Content: []byte{}, Environ: environ()}, kinds()); fmt.Sprint(err) != "none.yaml: the file is empty" {
		t.Errorf("got %v", err)
	}
}

func TestEnableUpdate(t *testing.T) {
	c, err := config.Load(config.Sources{Environ: environ(), File: write(t, "c.yaml", `
mqtt: {url: mqtt://localhost}
accounts:
  work:
    client_id: 01234567-89ab-cdef-0123-456789abcdef
    enable_update: true
    sensors:
      a: {type: calendar}
      b: {type: calendar, enable_update: false}
      c: {type: status}
      d: {type: status, enable_update: true}
`)}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for id, s := range config.Sorted(c.Accounts["work"].Sensors) {
		got += fmt.Sprintf("%s %t ", id, s.EnableUpdate)
	}
	if got != "a true b false c false d true " {
		t.Error(got)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	s := config.Secret("hunter2")
	var log strings.Builder
	withoutTime := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey { // may have the digits 104
			return slog.Attr{}
		}
		return a
	}}
	slog.New(slog.NewTextHandler(&log, withoutTime)).Info("x", "secret", s, "struct", struct{ S config.Secret }{s})
	b, err := json.Marshal(map[string]any{"a": s, "b": &s, "c": []config.Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	printed := log.String() + string(b) + fmt.Sprint(s, &s, []config.Secret{s}, errors.New(fmt.Sprint(s)))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%U", "%5.2s", "%T"} {
		printed += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, struct{ S config.Secret }{s}) + fmt.Sprintf(verb, config.MQTT{Password: s})
	}
	for _, leak := range []string{"hunter", "68756e74", "68756E74", "104"} {
		if strings.Contains(printed, leak) {
			t.Errorf("%q is in %s", leak, printed)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("lost")
	}
}

// TestSecretIsNotInProblems gives a password in every wrong place.
func TestSecretIsNotInProblems(t *testing.T) {
	for _, content := range []string{
		"mqtt: mqtt://ann:hunter2@host", "mqtt: {url: 'mqtt://ann:hunter2@host'}", "mqtt: {url: 'ann:hunter2@host'}", "mqtt: {url: 'mqtt://ann:hunter2'}",
		"mqtt: {pasword: hunter2}", "mqtt: {password: [hunter2]}", "mqtt: {password: {a: hunter2}}", "hunter2", "mqtt: {url: 'mqtt://ann:hunter2@host:x'}",
		"mqtt: {url: 'x://ann:hunter2@host'}", "mqtt: {url: '//ann:hunter2@host'}", "mqtt: {url: 'mqtt:ann:hunter2@host'}",
		"accounts: {work: hunter2}", "accounts: hunter2", "accounts: {work: {client_secret: 1, sensors: hunter2}}",
	} {
		_, err := config.Load(config.Sources{File: write(t, "c.yaml", content), Environ: environ()}, kinds())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", content, err)
		}
	}
}

func TestDecode(t *testing.T) {
	type point struct {
		X uint8 `koanf:"x"`
	}
	type request struct {
		Start  time.Time      `koanf:"start" required:"true"`
		Level  *string        `koanf:"level" enum:"Low,High"`
		Points []point        `koanf:"points"`
		Extra  map[string]any `koanf:"extra"`
	}
	var r request
	err := config.Decode(&r, map[string]any{"start": "2026-01-02T03:04:05Z", "level": "high", "points": []any{map[string]any{"x": 255.0}}, "extra": map[string]any{"a": []any{1.0}}})
	level := "High"
	want := request{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), &level, []point{{255}}, map[string]any{"a": []any{1.0}}}
	if diff := cmp.Diff(want, r); err != nil || diff != "" {
		t.Error(err, diff)
	}
	err = config.Decode(&request{}, map[string]any{"level": "mid", "points": []any{map[string]any{"x": 256}, map[string]any{"x": 1.5}, nil, 7, map[string]any{"x": -1}}, "xtra": 1})
	wantErr := `level: want one of Low, High, not "mid"
points[0].x: 256 is out of range
points[1].x: want a whole number, not 1.5
points[2] is empty
points[3]: want a mapping of keys, not 7
points[4].x: -1 is out of range
start is required
xtra: unknown key; did you mean extra? known keys: extra, level, points, start`
	if diff := cmp.Diff(wantErr, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}

// A Validator's problem with a key that already has one is dropped: the Validator saw the default.
func TestProblemsDoNotFollowFromOthers(t *testing.T) {
	c := calendar{EndOffset: 1}
	err := config.Decode(&c, map[string]any{"calendar": "strict", "exclude": 5, "end_offset": 30})
	want := `end_offset: want a duration with a unit, such as 30s, 15m or 24h, not 30
exclude: want a list of text, not 5`
	if fmt.Sprint(err) != want {
		t.Errorf("got %v", err)
	}
}

// A short list replaces a longer default completely.
func TestDecodeReplacesLists(t *testing.T) {
	c := calendar{Exclude: []string{"a", "b", "c"}, EndOffset: 1}
	if err := config.Decode(&c, map[string]any{"exclude": []any{"x"}}); err != nil || !slices.Equal(c.Exclude, []string{"x"}) {
		t.Error(c.Exclude, err)
	}
}

func TestDiff(t *testing.T) {
	load := func(content string) *config.Config {
		c, err := config.Load(config.Sources{File: write(t, "c.yaml", content), Environ: environ()}, kinds())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const id = "client_id: 01234567-89ab-cdef-0123-456789abcdef"
	before := load(`
mqtt: {url: mqtt://localhost, username: u, password: a}
accounts:
  gone: {` + id + `}
  same: {` + id + `, sensors: {x: {type: email}, y: {type: email}, z: {type: email, token: a}}}
  other: {` + id + `, sensors: {x: {type: calendar}}}
`)
	if c := config.Diff(before, before); c.Any() {
		t.Errorf("got %+v", c)
	}
	after := load(`
mqtt: {url: mqtts://localhost, username: u, password: b, base_topic: x}
log: {level: debug}
http: {listen: ':1', password: hunter2hunter2, hosts: [a.example]}
accounts:
  new: {` + id + `}
  same: {` + id + `, sensors: {x: {type: email}, z: {type: email, token: b}, w: {type: email}}}
  other: {` + id + `, client_secret: x, sensors: {x: {type: calendar, end_offset: 1h}}}
`)
	want := config.Changes{
		Restart:  []string{"mqtt.url", "mqtt.base_topic"},
		Keys:     []string{"mqtt.password", "log.level", "http.listen", "http.password", "http.hosts"},
		Accounts: config.Delta{Added: []string{"new"}, Removed: []string{"gone"}, Changed: []string{"other"}},
		Sensors:  config.Delta{Added: []string{"same/w"}, Removed: []string{"same/y"}, Changed: []string{"other/x", "same/z"}},
	}
	if diff := cmp.Diff(want, config.Diff(before, after)); diff != "" {
		t.Error(diff)
	}
}

func TestGenerated(t *testing.T) {
	golden(t, "schema.json", string(config.Schema(kinds())))
	golden(t, "reference.md", config.Reference(kinds()))
	golden(t, "example.yaml", config.Example(kinds()))
}

// What is printed for the file of an account is the part below the account's id.
func TestGeneratedForAccountFiles(t *testing.T) {
	p := newPlace(t, "")
	p.write("accounts.d/work.yaml", strings.Replace(config.AccountExample(kinds()), "00000000-0000-0000-0000-000000000000", client, 1))
	c := p.mustLoad()
	if diff := cmp.Diff([]string{"calendar", "email", "my_status"}, slices.Sorted(maps.Keys(c.Accounts["work"].Sensors))); diff != "" {
		t.Error(diff)
	}
	var whole, account map[string]any
	if err := errors.Join(json.Unmarshal(config.Schema(kinds()), &whole), json.Unmarshal(config.AccountSchema(kinds()), &account)); err != nil {
		t.Fatal(err)
	}
	accounts := whole["properties"].(map[string]any)["accounts"].(map[string]any)
	if diff := cmp.Diff(accounts["additionalProperties"].(map[string]any)["properties"], account["properties"]); diff != "" {
		t.Error(diff)
	}
}

// TestExample loads the example as printed, and with every commented key set.
func TestExample(t *testing.T) {
	example := config.Example(kinds())
	load := func(content string) *config.Config {
		t.Helper()
		// Without an app registration of the user's the example is not complete.
		file := write(t, "c.yaml", content)
		const incomplete = "accounts.work.client_id (line 191): want the application (client) id of your app registration in Entra ID, not the placeholder of the examples"
		if _, err := config.Load(config.Sources{File: file, Environ: environ()}, kinds()); err == nil || err.Error() != incomplete {
			t.Errorf("with the placeholder: %v, want %s", err, incomplete)
		}
		c, err := config.Load(config.Sources{File: file, Environ: environ(), Flags: map[string]any{"accounts.work.client_id": "01234567-89ab-cdef-0123-456789abcdef"}}, kinds())
		if err != nil {
			t.Fatalf("%v in\n%s", err, content)
		}
		c.File, c.Files, c.WatchedDir = "", nil, ""
		return c
	}
	plain := load(example)
	if got := slices.Sorted(maps.Keys(plain.Accounts["work"].Sensors)); !slices.Equal(got, []string{"calendar", "email", "my_status"}) {
		t.Errorf("got %v", got)
	}
	// The commented keys show the defaults, so setting them changes nothing.
	all := load(regexp.MustCompile(`(?m)^( *)#(\w+: )`).ReplaceAllString(example, "$1$2"))
	if diff := cmp.Diff(plain.Redacted(), all.Redacted()); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	var check func(path string, fs []config.Field)
	check = func(path string, fs []config.Field) {
		for _, f := range fs {
			if !strings.HasSuffix(f.Doc, ".") {
				t.Errorf("%s%s: %q is no sentence", path, f.Key, f.Doc)
			}
			check(path+f.Key+".", f.Fields)
		}
	}
	check("", config.Fields(&config.Config{}))
	check("account.", config.Fields(&config.Account{}))
	check("sensor.", config.Fields(&config.Sensor{}))
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(strings.TrimPrefix(filepath.Ext(file), "."), b, "GRAPH2MQTT_MQTT__URL=x")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, ext string, b []byte, variable string) {
		if !slices.Contains([]string{"yaml", "toml", "json"}, ext) {
			ext = "yaml"
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.%s", os.Getpid(), ext))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Sources{File: file, Environ: environ(variable)}, kinds())
		var problems config.Problems
		if (c == nil) == (err == nil) || err != nil && !errors.As(err, &problems) {
			t.Fatalf("got %v, %v", c, err)
		}
		for _, p := range problems {
			if strings.ContainsAny(p.Error(), "\n\r") {
				t.Fatalf("more than one line: %q", p)
			}
		}
		if c != nil {
			if _, err := json.Marshal(c.Redacted()); err != nil {
				t.Fatal(err)
			}
			if config.Diff(c, c).Any() {
				t.Fatal("differs from itself")
			}
		}
	})
}
