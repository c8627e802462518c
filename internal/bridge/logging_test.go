package bridge_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestTheLogIsPublished(t *testing.T) {
	h := startOne(t, "", outOfOffice)
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "disabled"})
	mark := h.mark()
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: 503, Times: -1})
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Next(mark, "graph2mqtt/bridge/logging", func(p string) bool {
		return includes(p, map[string]any{"level": "warn", "message": "polling failed", "account": "work", "sensor": "out_of_office"}) && strings.Contains(p, "503")
	})
	h.Publish("graph2mqtt/bridge/request/log_level", `{"level": "debug"}`)
	h.Next(mark, "graph2mqtt/bridge/response/log_level", func(p string) bool { return strings.Contains(p, `"ok"`) })
	h.Holds("graph2mqtt/bridge/info", func(p string) bool { return includes(p, map[string]any{"log_level": "debug"}) })
	var last string
	for _, m := range h.since(0) {
		if m.Topic != "graph2mqtt/bridge/logging" {
			continue
		}
		if strings.Contains(m.Payload, `"debug"`) {
			t.Errorf("published: %s", m.Payload)
		}
		if told, _, _ := strings.Cut(m.Payload, `"ts"`); told == last {
			t.Errorf("twice in a row: %s", m.Payload)
		} else {
			last = told
		}
	}
}

// A corrupt database is reported by the state directory, which has another log here.
func TestCorruptDatabaseIsReportedOnce(t *testing.T) {
	h := newHarness(t)
	h.one("", outOfOffice)
	h.SignIn("work")
	if err := os.WriteFile(filepath.Join(h.load().StateDir, "graph2mqtt.db"), []byte(strings.Repeat("nothing of the kind", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	if strings.Contains(h.Log.String(), "it was moved to") {
		t.Error("the bridge logs it, too")
	}
}
