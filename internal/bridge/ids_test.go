package bridge_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

var update = flag.Bool("update", false, "write testdata/ids anew")

// Every id that identifies an entity in Home Assistant, in one file for each kind of sensor. A changed or removed line breaks users' dashboards and automations.
func TestIDs(t *testing.T) {
	h := newHarness(t)
	var configured []string
	for _, k := range runtime.Kinds() {
		options := ""
		if len(k.New().Operations()) > 0 {
			options = ", enable_update: true"
		}
		if k.WriteOnly {
			options += ", read: true"
		}
		for _, f := range config.Fields(k.New().Options()) {
			if f.Required {
				options += fmt.Sprintf(", %s: %q", f.Key, f.Example)
			}
		}
		if k.New().Group() != nil { // which has no device: one of its members has
			options += ", " + k.MemberField + ": Shopping"
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
	got := map[string]string{} // by file
	slices.Sort(ids)
	for _, id := range ids {
		name := "graph2mqtt"
		if m := kindOfID.FindStringSubmatch(id); m != nil {
			name = m[1]
		}
		got[name+".txt"] += id + "\n"
	}
	if *update {
		for name, text := range got {
			if err := os.WriteFile(filepath.Join("testdata/ids", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := os.ReadDir("testdata/ids")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join("testdata/ids", file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		want[file.Name()] = string(b)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ids have changed (-want +got); new ones are written by go test ./internal/bridge -run IDs -update:\n%s", diff)
	}
}

// kindOfID finds the kind of sensor in a line of TestIDs. Lines without one are of the account or the bridge.
var kindOfID = regexp.MustCompile(`^\w+/graph2mqtt-work-my_([a-z0-9_]+)[ /]`)
