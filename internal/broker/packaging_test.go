package broker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
)

// Mosquitto starts with its configuration in the packaging, apart from its address and its files.
func TestPackagedMosquitto(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("..", "..", "packaging", "cluster", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, text := range map[string]string{"acl": read("mosquitto.acl"), "passwords": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := read("mosquitto.conf")
	for _, want := range []string{"listener 8883", "certfile ", "keyfile ", "persistence true", "max_queued_messages 10000"} {
		if !strings.Contains(text, want) {
			t.Errorf("mosquitto.conf lacks %q", want)
		}
	}
	text = regexp.MustCompile(`(?m)^(listener|certfile|keyfile) .*`).ReplaceAllString(text, "")
	text = strings.NewReplacer("/etc/mosquitto", dir, "/var/lib/mosquitto", dir).Replace(text)
	brokertest.New(t, text) // waits until it listens
}
