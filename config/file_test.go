package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// problem returns the error of loading a file, with its name as FILE.
func problem(t *testing.T, file string, env ...string) string {
	t.Helper()
	_, err := config.Load(config.Sources{File: file, Environ: environ(env...)}, kinds())
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), file, "FILE")
}

func TestUnusualContent(t *testing.T) {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9)+fmt.Sprintf("*a%d", i))
	}
	keys := func(format string) string {
		var b strings.Builder
		for i := range 10_001 {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, test := range []struct{ name, content, want string }{
		{"a.yaml", bomb, "FILE (line 1): want at most 10000 values, with every alias expanded"},
		{"a.yaml", keys("%d: 1\n"), "FILE (line 9999): want at most 10000 values, with every alias expanded"},
		{"a.toml", keys("%d = 1\n"), "FILE: want at most 10000 values"},
		{"a.json", "{" + keys("\"%d\": 1, ") + "\"x\": 1}", "FILE: want at most 10000 values"},
		{"a.yaml", "mqtt: &a\n  url: *a\n", "FILE (line 2): the alias a refers to a value that contains it"},
		{"a.yaml", "mqtt: &a\n  <<: *a\n", "FILE (line 2): the alias a refers to a value that contains it"},
		{"a.yaml", "mqtt: {}\n---\naccounts: {}\n", "FILE (line 2): want one YAML document, not several: remove the line ---"},
		{"a.yaml", "mqtt: {}\n---\n\tx\n", "FILE (line 3): found character that cannot start any token; indent with spaces, and put text that begins with @, ` or % in quotes"},
		{"a.yaml", "\xff\xfea\x00", "FILE: want UTF-8 text, not UTF-16 or binary data"},
		{"a.yaml", "mqtt: {url: mqtt://h}\n# all\naccounts: {a: {name: B\xfcro}}\n", "FILE (line 3): want UTF-8 text; save the file with the encoding UTF-8, not Latin-1 or Windows-1252"},
		{"a.toml", "# all\nx = \"B\xfcro\"\n", "FILE (line 2): want UTF-8 text; save the file with the encoding UTF-8, not Latin-1 or Windows-1252"},
		{"a.json", "{\n\"x\": \"B\xfcro\"}", "FILE (line 2): want UTF-8 text; save the file with the encoding UTF-8, not Latin-1 or Windows-1252"},
		{"a.json", `{"a": 1} {}`, "FILE (line 1): want JSON: invalid character '{' after top-level value"},
		{"a.json", strings.Repeat("[", 200) + strings.Repeat("]", 200), "FILE (line 1): want values that are nested at most 100 levels deep"},
	} {
		if got := problem(t, write(t, test.name, test.content)); got != test.want {
			t.Errorf("%.60q:\ngot  %s\nwant %s", test.content, got, test.want)
		}
	}
	// Document marks at the beginning and end do not start a second document.
	if got := problem(t, write(t, "a.yaml", "---"+minimal+"...\n")); got != "" {
		t.Error(got)
	}
}

// Merge keys and aliases work, and their problems have lines.
func TestAliases(t *testing.T) {
	file := write(t, "a.yaml", `
mqtt: {url: mqtt://h}
accounts:
  a: &a
    client_id: 01234567-89ab-cdef-0123-456789abcdef
    stale_after: 1
  b:
    <<: *a
    tenant: contoso.com
    sensors:
      c:
        type: calendar
        exclude:
          - x
          - 5
`)
	want := `accounts.a.stale_after (line 6): want a duration with a unit, such as 30s, 15m or 24h, not 1
accounts.b.sensors.c.exclude[1] (line 15): want text, not 5; put it in quotes
accounts.b.stale_after (line 6): want a duration with a unit, such as 30s, 15m or 24h, not 1`
	if diff := cmp.Diff(want, problem(t, file)); diff != "" {
		t.Error(diff)
	}
}

func TestLinesOfTOML(t *testing.T) {
	file := write(t, "a.toml", `
mqtt = {url = "mqtt://h", keepaliv = "1m"}
commands.queue = 0

[accounts.a]
client_id = "01234567-89ab-cdef-0123-456789abcdef"
sensors.c.type = "calendar"
sensors.c.exclude = [
  "x",
  5,
]
sensors."a.b" = {type = "emal"}
`)
	want := `accounts.a.sensors."a.b" (line 12): want an id of the letters a to z, digits and underscores
accounts.a.sensors."a.b".type (line 12): want one of calendar, email, status, not "emal"; did you mean email?
accounts.a.sensors.c.exclude[1] (line 8): want text, not 5; put it in quotes
commands.queue (line 3): want at least 1, not 0
mqtt.keepaliv (line 2): unknown key; did you mean keepalive? known keys: base_topic, ca_file, cert_file, client_id, keepalive, key_file, password, password_file, url, urls, username`
	if diff := cmp.Diff(want, problem(t, file)); diff != "" {
		t.Error(diff)
	}
}

// A problem with a value of the environment has no line.
func TestNoLinesForTheEnvironment(t *testing.T) {
	file := write(t, "a.yaml", minimal)
	if got := problem(t, file, "GRAPH2MQTT_MQTT__URL=x"); got != "mqtt.url: want mqtt://HOST:PORT (or mqtts, ws, wss), not \"x\"" {
		t.Error(got)
	}
}

// Keys and forms that other programs use are answered with the right ones.
func TestOtherForms(t *testing.T) {
	const rest = "\naccounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}\n"
	for _, test := range []struct{ content, want string }{
		{"mqtt: {host: 192.168.1.10, port: 1884}", "mqtt.host (line 1): unknown key; use url: mqtt://192.168.1.10:1884"},
		{"mqtt: {host: localhost}", "mqtt.host (line 1): unknown key; use url: mqtt://localhost"},
		{"mqtt: {port: 1883}", "mqtt.port (line 1): unknown key; use url: mqtt://HOST:PORT"},
		{"mqtt: {server: '::1', port: '1883'}", "mqtt.server (line 1): unknown key; use url: mqtt://[::1]:1883"},
		{"mqtt: {broker: 'tcp://h:1883'}", "mqtt.broker (line 1): unknown key; use url: mqtt://h:1883"},
		{"mqtt: {broker: 'ssl://h:8883'}", "mqtt.broker (line 1): unknown key; use url: mqtts://h:8883"},
		{"mqtt: {broker: 'mqtt://ann:hunter2@h'}", "mqtt.broker (line 1): unknown key; use url: mqtt://HOST:PORT"},
		{"mqtt: {url: mqtt://h, user: u}", "mqtt.user (line 1): unknown key; use username"},
		{"mqtt: {url: mqtt://h, topic: u}", "mqtt.topic (line 1): unknown key; use base_topic"},
		{"mqtt: {tls: true}", "mqtt.tls (line 1): unknown key; use url: mqtts://HOST:PORT"},
		{"broker: mqtt://h:1883", "broker (line 1): unknown key; use mqtt.url: mqtt://h:1883"},
		{"host: 192.168.1.10\nport: 1884", "host (line 1): unknown key; use mqtt.url: mqtt://192.168.1.10:1884"},
		{"mqtt_host: h.example\nmqtt_port: 1884", "mqtt_host (line 1): unknown key; use mqtt.url: mqtt://h.example:1884"},
		{"mqtt: 192.168.1.10:1883", "mqtt (line 1): want a mapping of keys, not text; use mqtt.url: mqtt://192.168.1.10:1883"},
		{"mqtt: mqtt://h", "mqtt (line 1): want a mapping of keys, not text; use mqtt.url: mqtt://h"},
		{"mqtt: hunter2", "mqtt (line 1): want a mapping of keys, not text; use mqtt.url: mqtt://HOST:PORT"},
		{"mqtt: {url: broker.local}", `mqtt.url (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss), not "broker.local"; use mqtt://broker.local`},
		{"mqtt: {url: 'mqtt://::1:1883'}", "mqtt.url (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss): an IPv6 address needs brackets; use mqtt://[::1]:1883"},
		{"mqtt: {url: 'mqtts://2001:db8::7'}", "mqtt.url (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss): an IPv6 address needs brackets; use mqtts://[2001:db8::7]"},
		{"mqtt: {url: '127.0.0.1:1883'}", `mqtt.url (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss), not "127.0.0.1:1883"; use mqtt://127.0.0.1:1883`},
		{"mqtt: {url: 'mqtt://h:99999'}", "mqtt.url (line 1): want a port from 1 to 65535, not 99999"},
		{"cluster: {nats: ['127.0.0.1:4222']}", `cluster.nats[0] (line 1): want nats://HOST:PORT or tls://HOST:PORT, not "127.0.0.1:4222"; use nats://127.0.0.1:4222`},
		{"cluster: {nats: [n1.example]}", `cluster.nats[0] (line 1): want nats://HOST:PORT or tls://HOST:PORT, not "n1.example"; use nats://n1.example`},
		{"cluster: {nats: ['https://n1.example']}", `cluster.nats[0] (line 1): want nats://HOST:PORT or tls://HOST:PORT, not "https://n1.example"; use tls://n1.example`},
		{"cluster: {nats: ['mqtt://n1']}", `cluster.nats[0] (line 1): want nats://HOST:PORT or tls://HOST:PORT, not "mqtt://n1"`},
		{"cluster: {nats: ['nats://::1:4222']}", "cluster.nats[0] (line 1): want nats://HOST:PORT or tls://HOST:PORT: an IPv6 address needs brackets; use nats://[::1]:4222"},
		{"cluster: {nats: ['ann:hunter2@n1']}", "cluster.nats[0] (line 1): want nats://HOST:PORT or tls://HOST:PORT"},
		{"cluster: {nats: ['nats://127.0.0.1:99999']}", "cluster.nats[0] (line 1): want a port from 1 to 65535, not 99999"},
		{"cluster: {nats: ['tls://127.0.0.1:0']}", "cluster.nats[0] (line 1): want a port from 1 to 65535, not 0"},
		{"home_assistant: {}", "home_assistant (line 1): unknown key; use homeassistant"},
		{"homeassistant: {prefix: ha}", "homeassistant.prefix (line 1): unknown key; use discovery_topic"},
	} {
		got := problem(t, write(t, "a.yaml", test.content+rest))
		if !slices.Contains(strings.Split(got, "\n"), test.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", test.content, got, test.want)
		}
	}
	for _, test := range []struct{ content, want string }{
		{"secret: x", "accounts.a.secret (line 1): unknown key; use client_secret"},
		{"sensors: {c: {type: presence}}", `accounts.a.sensors.c.type (line 1): want one of calendar, email, status, not "presence"; did you mean status?`},
		{"sensors: {c: {type: Mail}}", `accounts.a.sensors.c.type (line 1): want one of calendar, email, status, not "Mail"; did you mean email?`},
		{"sensors: {c: {type: status, scan_interval: 30}}", "accounts.a.sensors.c.scan_interval (line 1): unknown key; use interval"},
	} {
		content := "{mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef, " + test.content + "}}}"
		if got := problem(t, write(t, "a.yaml", content)); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.content, got, test.want)
		}
	}
}

func TestEnvironmentOfTheMachine(t *testing.T) {
	file := write(t, "a.yaml", minimal)
	for env, want := range map[string]string{
		"HTTPS_PROXY=http://proxy:3128":           "",
		"HTTPS_PROXY=proxy.example:3128":          "",
		"HTTPS_PROXY=socks5://ann:hunter2@p:1080": "",
		"HTTPS_PROXY=http://ann:hunter2@p:x":      "HTTPS_PROXY: want the address of a proxy, such as http://proxy.example:3128; as it is, it would be ignored",
		"https_proxy=:3128":                       "https_proxy: want the address of a proxy, such as http://proxy.example:3128; as it is, it would be ignored",
		"HTTP_PROXY=http://":                      "HTTP_PROXY: want the address of a proxy, such as http://proxy.example:3128; as it is, it would be ignored",
	} {
		if got := problem(t, file, env); got != want {
			t.Errorf("%s: got %s", env, got)
		}
	}
	for zone, want := range map[string][]string{
		"": nil, "Europe/Berlin": nil, ":Europe/Berlin": nil, "UTC": nil,
		"Europe/Berlijn":              {`TZ: the time zone "Europe/Berlijn" is unknown, so UTC is used; want a name such as Europe/Berlin`},
		"CET-1CEST":                   {`TZ: the time zone "CET-1CEST" is unknown, so UTC is used; want a name such as Europe/Berlin`},
		"/nowhere/zoneinfo/Etc/Moved": {`TZ: the time zone "/nowhere/zoneinfo/Etc/Moved" is unknown, so UTC is used; want a name such as Europe/Berlin`},
	} {
		c, err := config.Load(config.Sources{File: file, Environ: environ("TZ=" + zone)}, kinds())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.Warnings); diff != "" {
			t.Errorf("TZ=%s: %s", zone, diff)
		}
	}
}

func TestTimezoneAliases(t *testing.T) {
	for name, want := range map[string]string{"GB": "GB", "US/Eastern": "US/Eastern", "Europe/Berlin": "Europe/Berlin", "LOCAL": "local"} {
		c, err := config.Load(config.Sources{File: write(t, "a.yaml", strings.Replace(minimal, "{client_id", "{timezone: "+name+", client_id", 1)), Environ: environ()}, kinds())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Accounts["work"].Timezone; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
