package homeassistant_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

var update = flag.Bool("update", false, "write the golden files")

const oldest = "2025.4"

const base = mqtt.Topics("graph2mqtt")

func discovery(mode homeassistant.Mode) homeassistant.Discovery {
	return homeassistant.Discovery{
		Enabled: true, Topic: "homeassistant", StatusTopic: "homeassistant/status", Mode: mode, QoS: 1, Base: base, Version: "1.2.3",
	}
}

var (
	bridgeDevice   = hub.Device{Name: "graph2mqtt", Model: "Bridge", Slug: "graph2mqtt"}
	accountDevice  = hub.Device{ID: hub.ID{Account: "work"}, Name: "Work", Model: "Microsoft 365 account", Slug: "work"}
	calendarDevice = hub.Device{
		ID: hub.ID{Account: "work", Sensor: "calendar"}, Name: "Work calendar", Model: "Calendar", Slug: "work_calendar", Commands: true,
		Entities: []entity.Entity{
			{Key: "busy", Platform: "binary_sensor", Name: "Busy", Icon: "mdi:calendar", Primary: true},
			{Key: "next", Platform: "sensor", Name: "Work calendar"},
			{Key: "next_start", Platform: "sensor", Name: "Next event starts", DeviceClass: "timestamp"},
			{Key: "today", Platform: "sensor", Name: "Work Calendar today", StateClass: "measurement"},
			{Key: "event", Platform: "event", Name: "Event", Options: []string{"event_started", "event_ended"}},
			{
				Key: "add", Platform: "notify", Name: "Add", Operations: []string{"create"}, MessageField: "subject",
				DefaultFields: map[string]any{"location": `{{ "ä" }}`, "nested": map[string]any{"a": map[string]any{"b": 1}}},
			},
		},
	}
	replyModes  = []string{"disabled", "alwaysEnabled", "scheduled"}
	replyDevice = hub.Device{
		ID: hub.ID{Account: "work", Sensor: "auto_reply"}, Name: "Work auto reply", Model: "Automatic replies", Slug: "work_auto_reply", Commands: true,
		Overrides: map[string]hub.Override{"enabled": {Enabled: true, EntityID: "switch.my_reply"}, "external_reply": {}, "internal_reply": {Enabled: true, Name: "Reply"}},
		Entities: []entity.Entity{
			{Key: "mode", Platform: "sensor", Name: "Mode", DeviceClass: "enum", Options: replyModes, Primary: true},
			{
				Key: "mode", Platform: "select", Name: "Mode", Category: "config", Options: replyModes, Operations: []string{"update"},
				Labels: map[string]string{"disabled": "Off", "alwaysEnabled": "Always", "scheduled": "It's \\ {{ 'x' }}"},
			},
			{Key: "enabled", Platform: "switch", Name: "Automatic replies", Operations: []string{"enable", "disable"}},
			{Key: "internal_reply", Platform: "sensor", Name: "Internal reply"},
			{Key: "internal_reply", Platform: "text", Name: "Internal reply", Category: "config", Operations: []string{"update"}},
			{Key: "external_reply", Platform: "text", Name: "External reply", Category: "config", Operations: []string{"update"}},
			{Key: "start", Platform: "sensor", Name: "Start", DeviceClass: "timestamp"},
			{Key: "start", Platform: "datetime", Name: "Start", Category: "config", Operations: []string{"update"}},
		},
	}
)

// devices returns a bridge, an account and two sensors, with an entity of each kind.
func devices() []hub.Device {
	return []hub.Device{bridgeDevice, accountDevice, calendarDevice, replyDevice}
}

// The golden files hold everything that users' entities depend on: a change of a topic, a key, a platform or an id in them breaks
// dashboards and automations.
func TestDiscoveryGolden(t *testing.T) {
	for _, mode := range []homeassistant.Mode{homeassistant.DeviceMode, homeassistant.ComponentMode} {
		all := map[string][]byte{}
		for _, d := range devices() {
			maps.Copy(all, discovery(mode).Payloads(d))
		}
		if errs := mqtttest.CheckAll(all, oldest); errs != nil {
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

// Announcements have the ids, and the entities that are disabled at first, of the messages.
func TestAnnouncements(t *testing.T) {
	o := discovery(homeassistant.ComponentMode)
	for _, d := range devices() {
		type registered struct {
			ID      string `json:"default_entity_id"`
			Enabled *bool  `json:"enabled_by_default"`
		}
		want, got := map[string]bool{}, map[string]bool{}
		for _, payload := range o.Payloads(d) {
			var e registered
			if err := json.Unmarshal(payload, &e); err != nil {
				t.Fatal(err)
			}
			want[e.ID] = e.Enabled != nil && !*e.Enabled
		}
		for _, a := range o.Announcements(d) {
			got[a.EntityID] = a.Disabled
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", d.Name, diff)
		}
	}
}

func TestDiscoveryDisabled(t *testing.T) {
	d := discovery(homeassistant.DeviceMode)
	d.Enabled = false
	if got := d.Payloads(calendarDevice); len(got) != 0 {
		t.Errorf("got %s", got)
	}
	if r := d.Rules(); r.StatusTopic != "" || len(r.Watch) != 0 {
		t.Errorf("got %+v", r)
	}
}

// components returns the components of a device's message.
func components(t *testing.T, payload []byte) map[string]map[string]any {
	t.Helper()
	var root struct{ Components map[string]map[string]any }
	if err := json.Unmarshal(payload, &root); err != nil {
		t.Fatal(err)
	}
	return root.Components
}

const replyTopic = "homeassistant/device/graph2mqtt-work-auto_reply/config"

func TestEachThingOnce(t *testing.T) {
	payloads := discovery(homeassistant.DeviceMode).Payloads(replyDevice)
	c := components(t, payloads[replyTopic])
	for _, key := range []string{"mode", "internal_reply"} {
		read, set := c[key], c["set_"+key]
		if read["enabled_by_default"] != false || set["enabled_by_default"] != nil {
			t.Errorf("%s: enabled_by_default is %v and %v", key, read["enabled_by_default"], set["enabled_by_default"])
		}
		if read["name"] != set["name"] || read["unique_id"] != set["unique_id"] || read["object_id"] != set["object_id"] {
			t.Errorf("%s: %v and %v", key, read, set)
		}
		if topic := "graph2mqtt/work/auto_reply/set/" + key; set["command_topic"] != topic {
			t.Errorf("%s: command topic %v", key, set["command_topic"])
		}
	}
	if c["set_mode"]["json_attributes_topic"] != "graph2mqtt/work/auto_reply/attributes" {
		t.Error("the attributes are on an entity that is disabled")
	}
	if c["start"]["enabled_by_default"] != nil {
		t.Error("start is disabled, and old versions have no datetime")
	}
	if payloads["homeassistant/datetime/graph2mqtt-work-auto_reply/start/config"] == nil {
		t.Error("no datetime")
	}
	if c["set_enabled"] != nil || c["enabled"] == nil || c["external_reply"] != nil {
		t.Errorf("components: %v", slices.Sorted(maps.Keys(c)))
	}
}

// Updates are switched off: Home Assistant keeps the read-only twin disabled until it is removed and announced again.
func TestTwinIsEnabledAgain(t *testing.T) {
	for _, mode := range []homeassistant.Mode{homeassistant.DeviceMode, homeassistant.ComponentMode} {
		d := discovery(mode)
		readOnly := replyDevice
		readOnly.Entities = slices.DeleteFunc(slices.Clone(replyDevice.Entities), entity.Entity.IsCommand)
		topic := map[homeassistant.Mode]string{homeassistant.DeviceMode: replyTopic, homeassistant.ComponentMode: "homeassistant/sensor/graph2mqtt-work-auto_reply/mode/config"}[mode]
		old, next := d.Payloads(replyDevice)[topic], d.Payloads(readOnly)[topic]
		announced, removing := d.Rules().Diff(old, next)
		if announced == nil || removing == nil {
			t.Fatalf("%s: nothing is removed", mode)
		}
		if mode == homeassistant.ComponentMode {
			if len(removing) != 0 {
				t.Errorf("%s: removing is %s", mode, removing)
			}
		} else if got := components(t, removing)["mode"]; !reflect.DeepEqual(got, map[string]any{"platform": "sensor"}) {
			t.Errorf("%s: removing holds %v", mode, got)
		}
		if _, removing := d.Rules().Diff(next, old); removing != nil && mode == homeassistant.ComponentMode {
			t.Errorf("%s: switching updates on removes %s", mode, removing)
		}
		if mode == homeassistant.DeviceMode {
			if _, removing := d.Rules().Diff(next, old); removing != nil {
				t.Errorf("switching updates on removes %s", removing)
			}
		}
	}
}

// A template must not run anything that the configuration holds.
func TestNotifyTemplateIsInert(t *testing.T) {
	request := map[string]any{"to": []any{`{{ states('x') }}`, `{% x %}`, `{# x #}`, `}}`, `"`}}
	payload := discovery(homeassistant.ComponentMode).Payloads(hub.Device{ID: hub.ID{Account: "a", Sensor: "s"}, Name: "X", Slug: "a_s", Entities: []entity.Entity{
		{Key: "send", Platform: "notify", Name: "Send", Operations: []string{"send"}, MessageField: "message", DefaultFields: request},
	}})["homeassistant/notify/graph2mqtt-a-s/send/config"]
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

// The quality of service stands in each component: Home Assistant 2025.4 does not take it from the root.
func TestQoS(t *testing.T) {
	for _, qos := range []int{0, 1} {
		for _, mode := range []homeassistant.Mode{homeassistant.DeviceMode, homeassistant.ComponentMode} {
			o := discovery(mode)
			o.QoS = qos
			n := 0
			for topic, payload := range o.Payloads(calendarDevice) {
				var root struct {
					QoS        *int
					Components map[string]struct{ QoS *int }
				}
				if err := json.Unmarshal(payload, &root); err != nil {
					t.Fatal(err)
				}
				all := []*int{root.QoS}
				for _, c := range root.Components {
					all = append(all, c.QoS)
				}
				for _, got := range all {
					if n++; got == nil || *got != qos {
						t.Errorf("%s: want qos %d in %s", topic, qos, payload)
					}
				}
			}
			if n < len(calendarDevice.Entities) {
				t.Errorf("%s: only %d found", mode, n)
			}
		}
	}
}
