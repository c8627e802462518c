package homeassistant

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// Rules returns the client's rules for discovery topics.
func (o Discovery) Rules() mqtt.Rules {
	r := mqtt.Rules{
		Announcement: func(topic string) (string, bool) {
			t, ok := o.parseTopic(topic)
			return t.device, ok
		},
		Diff: diffComponents, Order: o.order,
	}
	if !o.Enabled {
		return r
	}
	r.StatusTopic = o.StatusTopic
	if o.Mode == ComponentMode {
		r.Watch = []string{o.Topic + "/+/+/+/config"}
	} else {
		r.Watch = []string{o.Topic + "/device/+/config", o.Topic + "/datetime/+/+/config"}
	}
	return r
}

// diffComponents compares two discovery messages of one topic. Home Assistant keeps components that next lacks, or has on another platform, and
// reads enabled_by_default only when it first sees an entity, so one that was announced as disabled has to be removed before it is enabled.
// Announced is next with those components as they were, removing is next with their removal. Both are nil if there are none.
func diffComponents(old, next []byte) (announced, removing []byte) {
	var was, is struct {
		Components map[string]json.RawMessage `json:"components"`
	}
	var root map[string]json.RawMessage
	if len(next) == 0 || json.Unmarshal(old, &was) != nil || json.Unmarshal(next, &is) != nil || json.Unmarshal(next, &root) != nil {
		return nil, nil
	}
	if was.Components == nil && is.Components == nil { // an entity with its own topic
		if isDisabled(old) && !isDisabled(next) {
			return old, []byte{}
		}
		return nil, nil
	}
	announce, remove := map[string]any{}, map[string]any{}
	for key, component := range is.Components {
		announce[key], remove[key] = component, component
	}
	found := false
	for key, component := range was.Components {
		before, now := platformOf(component), platformOf(is.Components[key])
		if before == now && (!isDisabled(component) || isDisabled(is.Components[key])) {
			continue
		}
		found = true
		announce[key], remove[key] = component, map[string]string{"platform": before}
	}
	if !found {
		return nil, nil
	}
	with := func(components map[string]any) []byte {
		root["components"] = encode(components)
		return encode(root)
	}
	return with(announce), with(remove)
}

func platformOf(component json.RawMessage) string {
	var c struct {
		Platform string `json:"platform"`
	}
	_ = json.Unmarshal(component, &c) // a missing component has no platform
	return c.Platform
}

func isDisabled(component json.RawMessage) bool {
	if !bytes.Contains(component, []byte("enabled_by_default")) {
		return false
	}
	var c struct {
		Enabled *bool `json:"enabled_by_default"`
	}
	return json.Unmarshal(component, &c) == nil && c.Enabled != nil && !*c.Enabled
}

// A discoveryTopic is a parsed discovery topic.
type discoveryTopic struct {
	platform string // "device": a whole device
	device   string // its id
	entity   string // empty for a device
}

func (o Discovery) parseTopic(topic string) (discoveryTopic, bool) {
	rest, ok := strings.CutPrefix(topic, o.Topic+"/")
	if !ok {
		return discoveryTopic{}, false
	}
	rest, ok = strings.CutSuffix(rest, "/config")
	if !ok {
		return discoveryTopic{}, false
	}
	switch levels := strings.Split(rest, "/"); {
	case len(levels) == 2 && levels[0] == "device":
		return discoveryTopic{platform: levels[0], device: levels[1]}, true
	case len(levels) == 3:
		return discoveryTopic{platform: levels[0], device: levels[1], entity: levels[2]}, true
	}
	return discoveryTopic{}, false
}

// Account returns the account that a topic belongs to; "" for those of the bridge and its shards.
func (o Discovery) Account(topic string) string {
	account := ""
	if t, ok := o.parseTopic(topic); ok {
		keys, _ := strings.CutPrefix(t.device, o.Base.ID()+"-")
		account, _, _ = strings.Cut(keys, "-")
	} else {
		rest, _ := strings.CutPrefix(topic, string(o.Base)+"/")
		account, _, _ = strings.Cut(rest, "/")
	}
	if account == "bridge" {
		return ""
	}
	return account
}

// order returns the sort key of a topic: removals first; then the bridge, the accounts and the sensors, and of each its discovery, state,
// attributes, the rest, and availability last: stale retained states must not become available before they are refreshed. Removals begin
// with entities that have their own topic: after their device Home Assistant would warn of a conflicting message.
func (o Discovery) order(topic string, removal bool) string {
	group, name := "", ""
	kind := 0
	if t, ok := o.parseTopic(topic); ok {
		if keys, ok := strings.CutPrefix(t.device, o.Base.ID()+"-"); ok {
			group = strings.Replace(keys, "-", "/", 1)
		}
		if (t.platform == "device") == removal {
			kind = 1
		}
		name = topic
	} else {
		rest, _ := strings.CutPrefix(topic, string(o.Base)+"/")
		levels := strings.Split(rest, "/")
		depth := min(len(levels)-1, 2)
		if levels[0] == "bridge" { // also the topics of its shards
			depth = 1
		}
		group, name = strings.Join(levels[:depth], "/"), strings.Join(levels[depth:], "/")
		kind = 4
		if i := slices.Index([]string{"state", "attributes"}, name); i >= 0 {
			kind = 2 + i
		}
		if name == "commands" || name == "availability" || depth == 1 && name == "state" {
			kind = 5
		}
	}
	class := 3
	switch {
	case removal:
		class = 0
		// All discovery messages go before the topics of their devices.
		if kind > 1 {
			class = 1
		}
		group = ""
	case group == "bridge":
		class = 2
	default:
		class += strings.Count(group, "/")
	}
	return string(rune('0'+class)) + " " + group + " " + string(rune('0'+kind)) + " " + name
}
