package mqtttest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

const oldest = "2025.4"

const goodDevice = `{
 "device": {"identifiers": ["g-a-s"], "name": "Work"}, "origin": {"name": "graph2mqtt", "support_url": "https://example.com"},
 "availability": [{"topic": "g/bridge/state"}], "availability_mode": "all", "qos": 1,
 "components": {"x": {"platform": "sensor", "unique_id": "g-a-s-x", "object_id": "work_x", "default_entity_id": "sensor.work_x",
  "name": "X", "qos": 1, "state_topic": "g/a/s/state", "value_template": "{{ value_json['x'] }}"}}}`

// each changes the good payload in one place; with the message that it brings.
func TestCheck(t *testing.T) {
	type m = map[string]any
	component := func(f func(m)) func(m) {
		return func(root m) { f(root["components"].(m)["x"].(m)) }
	}
	become := func(platform string, f func(m)) func(m) {
		return component(func(c m) {
			c["platform"], c["default_entity_id"] = platform, platform+".work_x"
			f(c)
		})
	}
	for name, test := range map[string]struct {
		change func(m)
		oldest string
		want   string // of the one error; empty: none
	}{
		"good":                    {func(m) {}, "2025.4", ""},
		"unknown root key":        {func(r m) { r["~"] = "x" }, "2025.4", `the payload: unknown key "~"`},
		"abbreviation":            {func(r m) { r["dev"] = r["device"] }, "2025.4", `the payload: unknown key "dev"`},
		"expiry, older":           {func(r m) { r["message_expiry_interval"] = 1 }, "2026.5.1", `the payload: unknown key "message_expiry_interval"`},
		"expiry, newer":           {func(r m) { r["message_expiry_interval"] = 1 }, "2026.6", ""},
		"no device":               {func(r m) { delete(r, "device") }, "2025.4", "device is missing"},
		"no origin":               {func(r m) { delete(r, "origin") }, "2025.4", "origin is missing"},
		"no components":           {func(r m) { delete(r, "components") }, "2025.4", "components is missing"},
		"device key":              {func(r m) { r["device"].(m)["x"] = 1 }, "2025.4", `device: unknown key "x"`},
		"no identifiers":          {func(r m) { r["device"].(m)["identifiers"] = []any{} }, "2025.4", "device: want identifiers or connections"},
		"no device name":          {func(r m) { r["device"].(m)["name"] = "" }, "2025.4", "device: name is missing"},
		"no origin name":          {func(r m) { delete(r["origin"].(m), "name") }, "2025.4", "origin: name is missing"},
		"empty url":               {func(r m) { r["device"].(m)["configuration_url"] = "" }, "2025.4", `want a URL with http, https or homeassistant, not ""`},
		"support url":             {func(r m) { r["origin"].(m)["support_url"] = "ftp://x" }, "2025.4", `want a URL with http, https or homeassistant, not "ftp://x"`},
		"component key":           {func(r m) { r["components"].(m)["a b"] = m{"platform": "sensor"} }, "2025.4", `component "a b": want letters, digits, _ and - as its key`},
		"removal":                 {func(r m) { r["components"].(m)["y"] = m{"platform": "sensor"} }, "2025.4", ""},
		"datetime, older":         {become("datetime", func(c m) { c["command_topic"] = "g/x" }), "2026.4", `component x: platform "datetime" is unknown to Home Assistant 2026.4, which refuses the whole device`},
		"datetime, newer":         {become("datetime", func(c m) { c["command_topic"] = "g/x" }), "2026.5", ""},
		"infrared":                {become("infrared", func(c m) {}), "2026.6", `component x: platform "infrared" is unknown to Home Assistant 2026.6, which refuses the whole device`},
		"no such platform":        {become("todo", func(c m) {}), "2026.11", `component x: platform "todo" is unknown to Home Assistant 2026.11, which refuses the whole device`},
		"no unique id":            {component(func(c m) { delete(c, "unique_id") }), "2025.4", "component x: unique_id is missing"},
		"no qos":                  {component(func(c m) { delete(c, "qos") }), "2025.4", "component x: qos: want 1 in each component"},
		"availability topic":      {component(func(c m) { c["availability_topic"] = "g/x" }), "2025.4", "component x: availability_topic: want the list form only"},
		"root availability topic": {func(r m) { r["availability_topic"] = "g/x" }, "2025.4", "component x: availability_topic: want the list form only"},
		"no availability":         {func(r m) { delete(r, "availability") }, "2025.4", "component x: availability: want a list"},
		"opted out":               {component(func(c m) { c["availability"] = []any{} }), "2025.4", ""},
		"availability key":        {component(func(c m) { c["availability"] = []any{m{"topic": "g", "x": 1}} }), "2025.4", `component x: availability: unknown key "x"`},
		"availability wildcard":   {component(func(c m) { c["availability"] = []any{m{"topic": "g/#"}} }), "2025.4", `component x: availability: "g/#": want a topic without + and #`},
		"mode":                    {func(r m) { delete(r, "availability_mode") }, "2025.4", "component x: availability_mode: want all, not <nil>"},
		"no state topic":          {component(func(c m) { delete(c, "state_topic") }), "2025.4", "component x: state_topic is missing"},
		"no event types":          {become("event", func(c m) { delete(c, "value_template"); c["event_types"] = []any{} }), "2025.4", "component x: event_types is empty"},
		"event template":          {become("event", func(c m) { c["event_types"] = []any{"x"} }), "2025.4", "component x: value_template: an event must have the whole object"},
		"no command topic":        {become("switch", func(c m) {}), "2025.4", "component x: command_topic is missing"},
		"command wildcard":        {become("switch", func(c m) { c["command_topic"] = "g/+" }), "2025.4", `component x: command_topic: "g/+": want a topic without + and #`},
		"no options":              {become("select", func(c m) { c["command_topic"] = "g/x" }), "2025.4", "component x: options is missing"},
		"image":                   {become("image", func(c m) {}), "2025.4", "component x: want one of image_topic and url_topic"},
		"category":                {component(func(c m) { c["entity_category"] = "config" }), "2025.4", "component x: entity_category: a sensor cannot have config"},
		"no category":             {component(func(c m) { c["entity_category"] = "system" }), "2025.4", "component x: entity_category: want config or diagnostic, not system"},
		"name":                    {component(func(c m) { c["name"] = "WORK x" }), "2025.4", `component x: name "WORK x" begins with the device's`},
		"no name":                 {component(func(c m) { c["name"] = nil }), "2025.4", ""},
		"options without class":   {component(func(c m) { c["options"] = []any{"a"} }), "2025.4", "component x: options: only with device_class enum"},
		"timestamp with a unit":   {component(func(c m) { c["device_class"], c["unit_of_measurement"] = "timestamp", "s" }), "2025.4", "component x: neither unit_of_measurement nor state_class with device_class timestamp"},
		"text too long":           {become("text", func(c m) { c["command_topic"], c["max"] = "g/x", 256; delete(c, "value_template") }), "2025.4", "component x: max: want 255 at most"},
		"text shows None":         {become("text", func(c m) { c["command_topic"] = "g/x" }), "2025.4", "component x: value_template: a text would show None where the value is null"},
		"button class":            {become("button", func(c m) { c["command_topic"], c["device_class"] = "g/x", "timestamp" }), "2025.4", "component x: device_class: a button cannot have timestamp"},
		"retain":                  {component(func(c m) { c["retain"] = true }), "2025.4", "component x: retain: commands are never retained"},
		"entity id":               {component(func(c m) { c["default_entity_id"] = "sensor.Work" }), "2025.4", `component x: default_entity_id: want sensor.<a-z, 0-9, _>, not "sensor.Work"`},
		"object id":               {component(func(c m) { delete(c, "object_id") }), "2025.4", `component x: object_id: want "work_x", as in default_entity_id, not ""`},
		"icon":                    {component(func(c m) { c["icon"] = "calendar" }), "2025.4", `component x: icon: want mdi:name, not "calendar"`},
	} {
		var root m
		if err := json.Unmarshal([]byte(goodDevice), &root); err != nil {
			t.Fatal(err)
		}
		test.change(root)
		payload, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		const topic = "ha/x/device/g-a-s/config"
		var want []string
		if test.want != "" {
			want = []string{topic + ": " + test.want}
		}
		if got := mqtttest.Check(topic, payload, test.oldest); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, want)
		}
	}
}

func TestCheckOthers(t *testing.T) {
	const sensor = `{"device": {"identifiers": ["d"], "name": "D"}, "origin": {"name": "o"}, "availability": [], "availability_mode": "all", "qos": 1,
		"unique_id": "u", "object_id": "x", "default_entity_id": "sensor.x", "name": "X", "state_topic": "g/a/s/state"}`
	for _, test := range []struct{ topic, payload, want string }{
		{"ha/sensor/d/x/config", sensor, ""},
		{"ha/sensor/d/x/config", "", ""},
		{"ha/sensor/d/x/config", "[]", "not a JSON object: json: cannot unmarshal array into Go value of type map[string]interface {}"},
		{"ha/sensor/d.d/x/config", sensor, `id "d.d" in the topic: want letters, digits, _ and -`},
		{"ha/sensor/d/x/config", strings.Replace(sensor, `"qos": 1`, `"qos": 0`, 1), "qos: want 1"},
		{"ha/device/d/config", "x", "not a JSON object: invalid character 'x' looking for beginning of value"},
		{"g/a/s/attributes", "null", "want a JSON object"},
		{"g/a/s/attributes", `{"icon":1}`, `"icon" is an attribute of Home Assistant's own`},
		{"g/a/s/attributes", `{"x":"` + strings.Repeat("x", homeassistant.MaxAttributes) + `"}`, "12296 bytes: want 12288 at most"},
		{"g/a/s/event", `{"type":"x"}`, "event_type is missing"},
		{"g/a/s/event", `x`, "want a JSON object"},
		{"g/a/s/state", `online`, ""},
		{"g/a/s/state", `on`, "want a JSON object, online or offline"},
		{"g/a/s/state", `{"a":[]}`, "a: want a value, not a list or an object"},
		{"g/a/s/state", `{"a":"` + strings.Repeat("ü", 256) + `"}`, "a: 256 characters: want 255 at most"},
		{"g/a/s/state", "", ""},
		{"g/a/s/items", `[]`, ""},
		{"g/a/s/items", `{}`, "want a JSON list"},
		{"g/a/s/availability", `on`, `want online or offline, not "on"`},
		{"g/a/s/commands", `offline`, ""},
		{"g/a/s/status", `{"problem":false,"code":null,"message":null,"since":null}`, ""},
		{"g/a/s/status", `{"problem":null,"code":null,"message":null,"since":null}`, "problem: want true or false"},
		{"g/a/s/status", `{"problem":true,"code":"x","message":"y"}`, "since is missing"},
		{"g/a/status", `{"sign_in":{"state":"required","message":null,"url":null,"code":null,"expires_at":null},"connected":true,"user":null,"granted":[],"missing":[],"problems":null,"last_sync":null,"throttled_until":null,"error":null}`, "problems: want a list"},
		{"g/a/s/nothing", `1`, "unknown topic"},
		{"g/a/s/info", `{}`, "unknown topic"},
		{"g/bridge/info", `{}`, ""},
		{"g/a/s/request/create", `x`, ""},
		{"g/a/s/set/mode", `x`, ""},
		{"g/a/s/response/set/mode", `x`, "want a JSON object"},
	} {
		var want []string
		if test.want != "" {
			want = []string{test.topic + ": " + test.want}
		}
		if got := mqtttest.Check(test.topic, []byte(test.payload), oldest); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\ngot  %v\nwant %v", test.topic, got, want)
		}
	}
}

func TestCheckAll(t *testing.T) {
	with := func(changes ...string) []byte { return []byte(strings.NewReplacer(changes...).Replace(goodDevice)) }
	for name, test := range map[string]struct {
		messages map[string][]byte
		want     string
	}{
		"same id": {
			map[string][]byte{"ha/device/a/config": with(), "ha/device/b/config": with()},
			"[ha/device/b/config x: unique_id g-a-s-x is also that of ha/device/a/config x]",
		},
		"missing key": {
			map[string][]byte{"ha/device/a/config": with(), "g/a/s/state": []byte(`{"y":1}`)},
			`[ha/device/a/config x: g/a/s/state has no key "x"]`,
		},
		"no time": {
			map[string][]byte{"ha/device/a/config": with(`"name": "X"`, `"name": "X", "device_class": "timestamp"`), "g/a/s/state": []byte(`{"x":"2026-01-01T00:00:00"}`)},
			"[ha/device/a/config x: want a time with a zone, not 2026-01-01T00:00:00]",
		},
		"no date": {
			map[string][]byte{"ha/device/a/config": with(`"name": "X"`, `"name": "X", "device_class": "date"`), "g/a/s/state": []byte(`{"x":"today"}`)},
			"[ha/device/a/config x: want a date, not today]",
		},
		"no number": {
			map[string][]byte{"ha/device/a/config": with(`"name": "X"`, `"name": "X", "state_class": "measurement"`), "g/a/s/state": []byte(`{"x":"many"}`)},
			"[ha/device/a/config x: want a number, not many]",
		},
		"no option": {
			map[string][]byte{"ha/device/a/config": with(`"name": "X"`, `"name": "X", "device_class": "enum", "options": ["a"]`), "g/a/s/state": []byte(`{"x":"b"}`)},
			"[ha/device/a/config x: b is none of the options]",
		},
		"unknown value": {
			map[string][]byte{"ha/device/a/config": with(`"name": "X"`, `"name": "X", "device_class": "enum", "options": ["a"]`), "g/a/s/state": []byte(`{"x":null}`)},
			"[]",
		},
	} {
		if got := fmt.Sprint(mqtttest.CheckAll(test.messages, oldest)); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
}

// A value and the entity that sets it are one thing: they share key, name and unique id, and the value is disabled at first.
func TestTwins(t *testing.T) {
	twin := func(platform, more, enabled string) []byte {
		return []byte(`{"device": {"identifiers": ["d"], "name": "D"}, "origin": {"name": "o"}, "availability": [], "availability_mode": "all", "qos": 1,
			"components": {
				"mode": {"platform": "sensor", "unique_id": "u", "object_id": "x", "default_entity_id": "sensor.x", "name": "Mode", "qos": 1, "state_topic": "g/a/s/state"` + enabled + `},
				"set_mode": {"platform": "` + platform + `", "unique_id": "u", "object_id": "x", "default_entity_id": "` + platform + `.x", "qos": 1, "state_topic": "g/a/s/state",
					"command_topic": "g/a/s/set/mode"` + more + `}}}`)
	}
	const (
		words    = `, "name": "Mode", "options": ["Off"], "value_template": "{{ {'disabled':'Off'}.get(value_json['mode']) }}"`
		back     = `, "command_template": "{{ {'Off':'disabled'}[value] }}"`
		disabled = `, "enabled_by_default": false`
		at       = "[ha/device/d/config mode: "
	)
	for name, test := range map[string]struct {
		payload []byte
		state   string
		want    string
	}{
		"right":          {twin("select", words+back, disabled), `{"mode":"disabled"}`, "[]"},
		"both enabled":   {twin("select", words+back, ""), `{"mode":"disabled"}`, at + "enabled_by_default: want false exactly where a select does not exist on old versions]"},
		"other name":     {twin("switch", `, "name": "Set mode"`, disabled), `{}`, at + "name Mode: want Set mode, as the entity that sets it]"},
		"no word":        {twin("select", words+back, disabled), `{"mode":"scheduled"}`, "[ha/device/d/config set_mode: scheduled has no word]"},
		"only one way":   {twin("select", words, disabled), `{"mode":"disabled"}`, "[ha/device/d/config: component set_mode: command_template: words have to become options again]"},
		"enabled anyway": {twin("switch", `, "name": "Mode"`, `, "enabled_by_default": true`), `{}`, "[ha/device/d/config: component mode: enabled_by_default: want false, or none ha/device/d/config mode: enabled_by_default: want false exactly where a switch does not exist on old versions]"},
	} {
		messages := map[string][]byte{"ha/device/d/config": test.payload, "g/a/s/state": []byte(test.state)}
		if got := fmt.Sprint(mqtttest.CheckAll(messages, "2026.11")); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
}
