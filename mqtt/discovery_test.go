package mqtt_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

var update = flag.Bool("update", false, "write the golden files")

const oldest = "2025.4"

// devices are a bridge, an account and two sensors, with an entity of each kind.
func devices() []mqtt.Device {
	bridge := mqtt.Device{
		ID: "graph2mqtt-bridge", Name: "graph2mqtt", Model: "Bridge", Version: "1.2.3", Topic: "graph2mqtt/bridge", Slug: "graph2mqtt",
		Availability: []string{"graph2mqtt/bridge/state"},
		Components: []mqtt.Component{
			{
				Entity:     entity.Entity{Key: "connection", Platform: "binary_sensor", Name: "Connection", DeviceClass: "connectivity", Category: "diagnostic"},
				StateTopic: "graph2mqtt/bridge/state", Template: "{{ 'ON' if value == 'online' else 'OFF' }}", Availability: []string{},
			},
			{
				Entity:     entity.Entity{Key: "log_level", Platform: "select", Name: "Log level", Category: "config", Options: []string{"debug", "info"}, Operations: []string{"log_level"}},
				StateTopic: "graph2mqtt/bridge/info", Template: "{{ value_json['log_level'] }}",
				CommandTopic: "graph2mqtt/bridge/request/log_level", CommandTemplate: `{"level": {{ value | to_json }}}`,
			},
			{Entity: entity.Entity{Key: "refresh", Platform: "button", Name: "Refresh", Category: "diagnostic", Operations: []string{"refresh"}}},
		},
	}
	account := mqtt.Device{
		ID: "graph2mqtt-work", Name: "Work", Model: "Microsoft 365 account", Manufacturer: "Microsoft", Via: bridge.ID, Topic: "graph2mqtt/work", Slug: "work",
		Availability: []string{"graph2mqtt/bridge/state"},
		Components: []mqtt.Component{
			{
				Entity:     entity.Entity{Key: "last_sync", Platform: "sensor", Name: "Last sync", DeviceClass: "timestamp", Category: "diagnostic"},
				StateTopic: "graph2mqtt/work/status", Template: "{{ value_json['last_sync'] }}",
			},
			{Entity: entity.Entity{Key: "event", Platform: "event", Name: "Event", Category: "diagnostic", Options: []string{"command_ok", "command_failed"}}},
		},
	}
	availability := func(sensor string) []string {
		return []string{"graph2mqtt/bridge/state", "graph2mqtt/work/state", "graph2mqtt/work/" + sensor + "/availability"}
	}
	calendar := mqtt.Device{
		ID: "graph2mqtt-work-calendar", Name: "Work Calendar", Model: "Calendar", Manufacturer: "Microsoft", Via: account.ID,
		Topic: "graph2mqtt/work/calendar", Slug: "work_calendar", Availability: availability("calendar"), Commands: "graph2mqtt/work/calendar/commands",
		Components: []mqtt.Component{
			{Entity: entity.Entity{Key: "busy", Platform: "binary_sensor", Name: "Busy", Icon: "mdi:calendar", Primary: true}},
			{Entity: entity.Entity{Key: "next", Platform: "sensor", Name: "Work calendar"}},
			{Entity: entity.Entity{Key: "next_start", Platform: "sensor", Name: "Next start", DeviceClass: "timestamp"}},
			{Entity: entity.Entity{Key: "today", Platform: "sensor", Name: "Work Calendar today", StateClass: "measurement", Unit: "events"}},
			{Entity: entity.Entity{Key: "event", Platform: "event", Name: "Event", Options: []string{"event_started", "event_ended"}}},
			{Entity: entity.Entity{
				Key: "add", Platform: "notify", Name: "Add", Operations: []string{"create"}, MessageField: "subject",
				DefaultFields: map[string]any{"location": `{{ "ä" }}`, "nested": map[string]any{"a": map[string]any{"b": 1}}},
			}},
		},
	}
	reply := mqtt.Device{
		ID: "graph2mqtt-work-auto_reply", Name: "Work Auto reply", Model: "Auto-reply", Manufacturer: "Microsoft", Via: account.ID,
		Topic: "graph2mqtt/work/auto_reply", Slug: "work_auto_reply", Availability: availability("auto_reply"), Commands: "graph2mqtt/work/auto_reply/commands",
		Components: []mqtt.Component{
			{Entity: entity.Entity{Key: "mode", Platform: "sensor", Name: "Mode", DeviceClass: "enum", Options: []string{"disabled", "alwaysEnabled", "scheduled"}, Primary: true}},
			{Entity: entity.Entity{Key: "set_mode", Platform: "select", Name: "Set mode", Category: "config", ValueKey: "mode", Options: []string{"disabled", "alwaysEnabled", "scheduled"}, Operations: []string{"update"}}},
			{Entity: entity.Entity{Key: "enabled", Platform: "switch", Name: "Enabled", Operations: []string{"enable", "disable"}}, EntityID: "switch.my_reply"},
			{Entity: entity.Entity{Key: "internal_text", Platform: "text", Name: "Internal text", Category: "config", Operations: []string{"update"}}},
			{Entity: entity.Entity{Key: "start", Platform: "sensor", Name: "Start", DeviceClass: "timestamp"}},
			{Entity: entity.Entity{Key: "set_start", Platform: "datetime", Name: "Set start", Category: "config", ValueKey: "start", Operations: []string{"update"}}},
		},
	}
	return []mqtt.Device{bridge, account, calendar, reply}
}

// The golden files hold all that users' entities go by: a change of a topic, a key, a platform or an id in them breaks
// what they have built on it.
func TestDiscoveryGolden(t *testing.T) {
	for _, mode := range []mqtt.Mode{mqtt.DeviceMode, mqtt.ComponentMode} {
		discovery := mqtt.Discovery{Enabled: true, Topic: "homeassistant", Mode: mode}
		all := map[string][]byte{}
		for _, d := range devices() {
			maps.Copy(all, discovery.Payloads(d, "1.2.3"))
		}
		if errs := mqtt.CheckAll(all, oldest); errs != nil {
			t.Errorf("%s: %v", mode, errs)
		}
		var got bytes.Buffer
		for _, topic := range slices.Sorted(maps.Keys(all)) {
			got.WriteString(topic + "\n")
			if err := json.Indent(&got, all[topic], "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteString("\n\n")
		}
		path := filepath.Join("testdata", "discovery_"+string(mode)+".golden")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", mode, diff)
		}
	}
}

func TestDiscoveryEmpty(t *testing.T) {
	discovery := mqtt.Discovery{Enabled: true, Topic: "homeassistant", Mode: mqtt.DeviceMode}
	if got := discovery.Payloads(mqtt.Device{ID: "x"}, ""); len(got) != 0 {
		t.Errorf("a device without entities: %s", got)
	}
}

// What a template holds of the configuration must not be run by Home Assistant.
func TestNotifyTemplateIsInert(t *testing.T) {
	discovery := mqtt.Discovery{Enabled: true, Topic: "homeassistant", Mode: mqtt.ComponentMode}
	request := map[string]any{"to": `{{ 1 }} {% x %} {# y #} {{{`}
	payload := discovery.Payloads(mqtt.Device{ID: "g-a-s", Topic: "g/a/s", Components: []mqtt.Component{
		{Entity: entity.Entity{Key: "send", Platform: "notify", Name: "Send", Operations: []string{"send"}, MessageField: "message", DefaultFields: request}},
	}}, "")["homeassistant/notify/g-a-s/send/config"]
	var config struct {
		Template string `json:"command_template"`
	}
	if err := json.Unmarshal(payload, &config); err != nil {
		t.Fatal(err)
	}
	// The template's own expressions, put in as Home Assistant would.
	rendered := strings.NewReplacer("{{ now().timestamp() }}", "1.5", "{{ range(100000) | random }}", "7", "{{ value | to_json }}", `"hi"`).Replace(config.Template)
	for _, mark := range []string{"{{", "{%", "{#"} {
		if strings.Contains(rendered, mark) {
			t.Errorf("%s is left in %s", mark, rendered)
		}
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(rendered), &got); err != nil {
		t.Fatalf("%s: %v", rendered, err)
	}
	if diff := cmp.Diff(map[string]any{"transaction": "1.5-7", "message": "hi", "to": request["to"]}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{
		"Work Calendar": "work_calendar", "Büro & Küche!": "buro_kuche", "  ": "", "Ünï_côdé 2": "uni_code_2", "日本": "",
	} {
		if got := mqtt.Slug(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
