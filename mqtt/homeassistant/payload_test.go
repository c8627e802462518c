package homeassistant_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

func TestStatePayload(t *testing.T) {
	long := strings.Repeat("ü", 300)
	berlin := time.FixedZone("", 2*3600)
	entities := []entity.Entity{
		{Key: "busy", Platform: "binary_sensor"},
		{Key: "subject", Platform: "sensor"},
		{Key: "start", Platform: "sensor", DeviceClass: "timestamp"},
		{Key: "day", Platform: "sensor", DeviceClass: "date"},
		{Key: "mode", Platform: "sensor", DeviceClass: "enum", Options: []string{"on", "off"}},
		{Key: "mode", Platform: "select", Options: []string{"on", "off"}},
		{Key: "reply", Platform: "text"},
		{Key: "message", Platform: "sensor"},
		{Key: "message", Platform: "text"},
		{Key: "event", Platform: "event", Options: []string{"changed"}},
		{Key: "press", Platform: "button"},
		{Key: "count", Platform: "sensor", StateClass: "measurement"},
	}
	for name, test := range map[string]struct {
		values map[string]any
		want   string
	}{
		"nothing": {nil, `{"busy":null,"count":null,"day":null,"message":null,"mode":null,"reply":"","start":null,"subject":null}`},
		"everything": {
			map[string]any{
				"busy": true, "subject": "<a>\r\nb\x00", "start": time.Date(2026, 9, 14, 9, 0, 0, 999, berlin), "day": entity.Date("2026-09-14"),
				"mode": "on", "reply": "two\r\nlines", "message": "one\nline", "count": 3,
			},
			`{"busy":true,"count":3,"day":"2026-09-14","message":"one ⏎ line","mode":"on","reply":"two ⏎ lines","start":"2026-09-14T09:00:00+02:00","subject":"<a>  b"}`,
		},
		"unfit": {
			map[string]any{"mode": "else", "start": time.Time{}, "count": math.NaN(), "subject": "\xff", "other": false},
			`{"busy":null,"count":null,"day":null,"message":null,"mode":null,"other":false,"reply":"","start":null,"subject":"` + "\uFFFD" + `"}`,
		},
		"nothing to show": {
			map[string]any{"subject": "", "reply": "", "message": "", "mode": ""},
			`{"busy":null,"count":null,"day":null,"message":"","mode":null,"reply":"","start":null,"subject":null}`,
		},
		"long": {
			map[string]any{"subject": long, "reply": long[:2*255], "message": long[:2*256]},
			fmt.Sprintf(`{"busy":null,"count":null,"day":null,"message":%q,"mode":null,"reply":%q,"start":null,"subject":%q}`,
				long[:2*254]+"…", long[:2*255], long[:2*254]+"…"),
		},
	} {
		if got := string(homeassistant.StatePayload(entities, entity.State{Values: test.values})); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
}

func TestAttributesPayload(t *testing.T) {
	items := func(n, size int) []any {
		var list []any
		for i := range n {
			list = append(list, map[string]any{"n": i, "text": strings.Repeat("x", size)})
		}
		return list
	}
	for name, test := range map[string]struct {
		state     entity.State
		items     int // -1: no key
		total     any
		truncated bool
	}{
		"empty":             {entity.State{}, -1, nil, false},
		"no items":          {entity.State{ItemsKey: "data"}, 0, 0.0, false},
		"all fit":           {entity.State{ItemsKey: "data", Items: items(10, 100)}, 10, 10.0, false},
		"some fit":          {entity.State{ItemsKey: "data", Items: items(100, 1000)}, 12, 100.0, true},
		"one is shortened":  {entity.State{ItemsKey: "data", Items: items(1, 20000)}, 1, 1.0, true},
		"text is shortened": {entity.State{Attributes: map[string]any{"reply": strings.Repeat("ü", 20000)}}, -1, nil, true},
		"text makes room":   {entity.State{Attributes: map[string]any{"reply": strings.Repeat("ü", 20000)}, ItemsKey: "data", Items: items(2, 10)}, 2, 2.0, true},
	} {
		payload := homeassistant.AttributesPayload(test.state)
		if errs := mqtttest.Check("g/a/s/attributes", payload, "2025.4"); errs != nil {
			t.Errorf("%s: %v", name, errs)
		}
		var got map[string]any
		if err := json.Unmarshal(payload, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list, has := got["data"].([]any)
		if !has {
			list = make([]any, 0)
		}
		if has != (test.items >= 0) || has && len(list) != test.items || got["total"] != test.total || got["truncated"] != test.truncated {
			t.Errorf("%s: got %d items, total %v, truncated %v, want %d, %v, %v", name, len(list), got["total"], got["truncated"], test.items, test.total, test.truncated)
		}
	}

	got := string(homeassistant.AttributesPayload(entity.State{
		Attributes: map[string]any{"icon": "x", "name": "x", "start": time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), "bad": math.Inf(1), "day": entity.Date("2026-01-02")},
		Items:      []any{struct{ A string }{"é"}}, ItemsKey: "data",
	}))
	if want := `{"bad":null,"data":[{"A":"é"}],"day":"2026-01-02","start":"2026-01-02T03:04:05Z","total":1,"truncated":false}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	many := map[string]any{}
	for i := range 1000 {
		many[fmt.Sprintf("key%04d", i)] = strings.Repeat("x", 50)
	}
	if payload := homeassistant.AttributesPayload(entity.State{Attributes: many}); len(payload) > homeassistant.MaxAttributes || !strings.Contains(string(payload), `"truncated":true`) {
		t.Errorf("many attributes: %d bytes", len(payload))
	}
}

// With FirstComplete the first item keeps its text as long as it takes at most half of the room.
func TestFirstComplete(t *testing.T) {
	for name, test := range map[string]struct {
		items, first, others int // number of items, bytes of the texts
		complete             bool
		shown                int // at least
	}{
		"all fit":           {2, 100, 100, true, 2},
		"long":              {5, 5000, 5000, true, 5},
		"many":              {100, 5000, 1000, true, 40},
		"too long":          {5, 9000, 1000, false, 5},
		"longer than all":   {5, 30000, 100, false, 5},
		"only other ones":   {5, 10, 30000, true, 5},
		"one that is alone": {1, 11000, 0, true, 1},
	} {
		var items []any
		for i := range test.items {
			n := test.others
			if i == 0 {
				n = test.first
			}
			items = append(items, map[string]any{"n": i, "body": strings.Repeat("x", n)})
		}
		payload := homeassistant.AttributesPayload(entity.State{ItemsKey: "data", Items: items, FirstComplete: true})
		var got struct {
			Data []struct {
				N    int
				Body string
			}
			Total     int
			Truncated bool
		}
		if err := json.Unmarshal(payload, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(payload) > homeassistant.MaxAttributes || len(got.Data) < test.shown || got.Total != test.items {
			t.Errorf("%s: %d bytes, %d items, total %d", name, len(payload), len(got.Data), got.Total)
			continue
		}
		all := len(got.Data) == test.items
		for i, item := range got.Data {
			all = all && len(item.Body) == len(items[i].(map[string]any)["body"].(string))
		}
		if first := len(got.Data[0].Body); (first == test.first) != test.complete || first < min(test.first, 2000) || got.Truncated == all {
			t.Errorf("%s: the first text has %d of %d bytes, truncated is %v", name, first, test.first, got.Truncated)
		}
	}
}

func TestEventPayload(t *testing.T) {
	got := string(homeassistant.EventPayload(entity.Event{Type: "event_started", Data: map[string]any{"subject": "<x>", "event_type": "other", "name": "gone", "start": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}))
	if want := `{"event_type":"event_started","start":"2026-01-02T03:04:05Z","subject":"<x>"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	long := homeassistant.EventPayload(entity.Event{Type: "mail_received", Data: map[string]any{"body": strings.Repeat("x", 1<<20)}})
	if errs := mqtttest.Check("g/a/s/event", long, "2025.4"); errs != nil {
		t.Error(errs)
	}
}

func FuzzPayloads(f *testing.F) {
	f.Add("key", "text", "item", 3)
	f.Add("state", strings.Repeat("\u00fc", 300), strings.Repeat("{", 5000), 40)
	f.Add("data", "\xff\n", "\x00", 0)
	f.Fuzz(func(t *testing.T, key, text, item string, n int) {
		s := entity.State{Values: map[string]any{key: text}, Attributes: map[string]any{key: text, "more": []any{text}}, ItemsKey: "data"}
		for range min(max(n, 0), 100) {
			s.Items = append(s.Items, map[string]any{key: item})
		}
		for _, platform := range []string{"sensor", "text"} {
			payload := homeassistant.StatePayload([]entity.Entity{{Key: key, Platform: platform}}, s)
			if errs := mqtttest.Check("g/a/s/state", payload, "2025.4"); errs != nil {
				t.Error(errs)
			}
		}
		if errs := mqtttest.Check("g/a/s/attributes", homeassistant.AttributesPayload(s), "2025.4"); errs != nil {
			t.Error(errs)
		}
		if errs := mqtttest.Check("g/a/s/event", homeassistant.EventPayload(entity.Event{Type: "x", Data: s.Attributes}), "2025.4"); errs != nil {
			t.Error(errs)
		}
		if short := homeassistant.Shorten(text); utf8.RuneCountInString(short) > homeassistant.MaxState || utf8.RuneCountInString(text) <= homeassistant.MaxState && utf8.ValidString(text) && short != text {
			t.Errorf("%q became %q", text, short)
		}
	})
}
