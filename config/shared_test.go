package config_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// Machines whose configurations differ only in what belongs to a machine have the same in common; any other difference shows.
func TestShared(t *testing.T) {
	const base = `
mqtt: {url: mqtt://h}
cluster: {nats: [nats://n1]}
http: {password: correct horse}
notifications: {webhook: {listen: ":8443", url: https://hooks.example.com/graph}}
accounts:
  work:
    client_id: 01234567-89ab-cdef-0123-456789abcdef
    client_secret: hush
    sensors: {calendar: {type: calendar, interval: 5m}}
`
	shared := func(text string) string {
		t.Helper()
		c, err := config.Load(config.Sources{File: write(t, "c.yaml", text), Environ: environ()}, kinds())
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Shared())
	}
	want := shared(base)
	for name, change := range map[string][2]string{
		"broker":       {"{url: mqtt://h}", "{url: mqtt://other, username: u, password: p, keepalive: 30s}"},
		"NATS":         {"{nats: [nats://n1]}", "{nats: [nats://n2], username: u, password: p, lease: 20s}"},
		"state_dir":    {"mqtt:", "state_dir: /var/lib/other\nkey_file: /etc/key\nmqtt:"},
		"log":          {"mqtt:", "log: {level: debug, format: json}\nmqtt:"},
		"http":         {"horse}", "horse, listen: 127.0.0.1:8099, hosts: [n1.example.com], metrics: true}"},
		"audit file":   {"mqtt:", "audit: {file: /var/log/audit.jsonl}\nmqtt:"},
		"listener":     {`":8443"`, `":8444"`},
		"other order":  {"{type: calendar, interval: 5m}", "{interval: 300s, type: calendar}"},
		"the defaults": {"mqtt:", "homeassistant: {enabled: true}\nmqtt:"},
	} {
		if got := shared(strings.Replace(base, change[0], change[1], 1)); got != want {
			t.Errorf("%s differs:\n%s\n%s", name, got, want)
		}
	}
	for name, change := range map[string][2]string{
		"base topic":    {"{url: mqtt://h}", "{url: mqtt://h, base_topic: other}"},
		"client id":     {"{url: mqtt://h}", "{url: mqtt://h, client_id: other}"},
		"discovery":     {"mqtt:", "homeassistant: {enabled: false}\nmqtt:"},
		"password":      {"horse", "pony"},
		"external URL":  {"horse}", "horse, external_url: https://other.example.com}"},
		"calendars":     {"horse}", "horse, calendars: true}"},
		"commands":      {"mqtt:", "commands: {max_age: 1m}\nmqtt:"},
		"notifications": {"hooks.example.com", "other.example.com"},
		"safety":        {"notifications: {", "notifications: {safety: 30m, "},
		"audit stream":  {"mqtt:", "audit: {stream: audit}\nmqtt:"},
		"attachments":   {"mqtt:", "attachments: {directories: [/srv]}\nmqtt:"},
		"secret":        {"hush", "other"},
		"account":       {"  work:", "  home:"},
		"interval":      {"5m", "6m"},
		"update":        {"    client_secret", "    enable_update: true\n    client_secret"},
		"cloud":         {"    client_secret", "    cloud: us_gov\n    client_secret"},
	} {
		if got := shared(strings.Replace(base, change[0], change[1], 1)); got == want {
			t.Errorf("another %s makes no difference", name)
		}
	}
}
