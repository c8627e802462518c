package bridge_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

var update = flag.Bool("update", false, "write testdata/ids.txt anew")

// Every id that identifies an entity in Home Assistant. A changed or removed line breaks users' dashboards and automations.
func TestIDs(t *testing.T) {
	h := newHarness(t)
	var configured []string
	for _, k := range runtime.Kinds() {
		options := ""
		if len(k.New().Operations()) > 0 {
			options = ", enable_update: true"
		}
		for _, f := range config.Fields(k.New().Options()) {
			if f.Required {
				options += fmt.Sprintf(", %s: %q", f.Key, f.Example)
			}
		}
		configured = append(configured, "my_"+k.Name+": {type: "+k.Name+options+"}")
	}
	h.one("", configured...)
	h.Start()
	h.Shows("graph2mqtt/bridge/state", "online")
	var ids []string
	h.mu.Lock()
	for topic, payload := range h.retained {
		place, ok := strings.CutPrefix(topic, "homeassistant/")
		if !ok {
			continue
		}
		type component struct {
			Platform        string `json:"platform"`
			UniqueID        string `json:"unique_id"`
			DefaultEntityID string `json:"default_entity_id"`
		}
		var d struct {
			component
			Components map[string]component
		}
		if err := json.Unmarshal([]byte(payload), &d); err != nil {
			t.Errorf("%s: %v", topic, err)
		}
		if d.Components == nil {
			d.Platform, _, _ = strings.Cut(place, "/")
			d.Components = map[string]component{"": d.component}
		}
		for key, c := range d.Components {
			ids = append(ids, strings.Join([]string{strings.TrimSuffix(place, "/config"), key, c.Platform, c.UniqueID, c.DefaultEntityID}, " "))
		}
	}
	h.mu.Unlock()
	slices.Sort(ids)
	got := strings.Join(ids, "\n") + "\n"
	const file = "testdata/ids.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("ids have changed (-want +got); new ones are written by go test ./internal/bridge -run IDs -update:\n%s", diff)
	}
}
