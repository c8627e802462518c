package bridge_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
)

// The bridge is connected to the first broker. When that ends, it goes on at the second, which gets everything and answers requests.
func TestSeveralBrokers(t *testing.T) {
	h := newHarness(t)
	first, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	info := make(chan string, 100)
	if err := first.Watch(1, "graph2mqtt/bridge/info", func(_ string, payload []byte, _ bool) { info <- string(payload) }); err != nil {
		t.Fatal(err)
	}
	h.one("", "calendar: {type: calendar}")
	h.SignIn("work")
	content, err := os.ReadFile(h.path("graph2mqtt.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	one, both := fmt.Sprintf("{url: %q}", h.Broker.URL()), fmt.Sprintf("{urls: [%q, %q]}", first.URL(), h.Broker.URL())
	text := strings.Replace(string(content), one, both, 1)
	if text == string(content) {
		t.Fatalf("no %s in %s", one, text)
	}
	if err := os.WriteFile(h.path("graph2mqtt.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Start()
	if got := <-info; !includes(got, map[string]any{"broker": first.URL()}) {
		t.Errorf("at the first broker: %s", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	h.Shows("graph2mqtt/bridge/state", "online")
	h.Holds("graph2mqtt/bridge/info", func(p string) bool { return includes(p, map[string]any{"broker": h.Broker.URL()}) })
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	mark := h.mark()
	h.Publish("graph2mqtt/bridge/request/ping", "{}")
	h.Next(mark, "graph2mqtt/bridge/response/ping", func(p string) bool { return includes(p, map[string]any{"status": "ok"}) })
}
