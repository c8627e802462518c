// Package mqtttest checks published messages against the rules of Home Assistant, which does not report what it refuses.
package mqtttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
)

// Check returns the faults of one of our messages. Oldest is the oldest version of Home Assistant that must accept it, such as
// "2025.4". The rules are Home Assistant's own (homeassistant/components/mqtt: schemas.py, discovery.py, entity.py), and some
// stricter ones of ours. A topic that the bridge does not have is an error.
func Check(topic string, payload []byte, oldest string) []error {
	c := &checker{oldest: oldest}
	levels := strings.Split(topic, "/")
	switch p, ok := parseTopic(topic); {
	case ok && len(payload) == 0:
	case ok && p.platform == "device":
		c.device(p, payload)
	case ok:
		c.single(p, payload)
	case isCommandTopic(levels):
		if len(levels) > 1 && slices.Contains(levels, "response") {
			c.object(payload)
		}
	default:
		c.other(levels[max(len(levels)-2, 0):], payload)
	}
	for i, err := range c.errs {
		c.errs[i] = fmt.Errorf("%s: %w", topic, err)
	}
	return c.errs
}

// isCommandTopic reports whether a topic is …/request/<operation>, …/set/<entity> or one of their responses.
func isCommandTopic(levels []string) bool {
	n := len(levels)
	return n >= 4 && (levels[n-2] == "request" || levels[n-2] == "response" || levels[n-2] == "set" && n >= 5)
}

// other checks a message that is neither a discovery message nor a request.
func (c *checker) other(end []string, payload []byte) {
	name := end[len(end)-1]
	if len(payload) == 0 {
		switch name {
		case "state", "attributes", "items", "availability", "commands", "status":
			return // removed
		}
	}
	switch name {
	case "attributes":
		c.attributes(payload)
	case "event":
		c.event(payload)
	case "state":
		c.state(payload)
	case "availability", "commands":
		if s := string(payload); s != "online" && s != "offline" {
			c.fail("want online or offline, not %q", s)
		}
	case "items":
		var list []any
		if json.Unmarshal(payload, &list) != nil || list == nil {
			c.fail("want a JSON list")
		}
	case "status":
		c.status(payload)
	case "info", "health", "logging", "barrier":
		if end[0] != "bridge" {
			c.fail("unknown topic")
		} else if name != "barrier" {
			c.object(payload)
		}
	default:
		c.fail("unknown topic")
	}
}

func (c *checker) object(payload []byte) (m map[string]any) {
	if json.Unmarshal(payload, &m) != nil || m == nil {
		c.fail("want a JSON object")
	}
	return m
}

// status checks the status of a sensor, or of an account.
func (c *checker) status(payload []byte) {
	m := c.object(payload)
	if m == nil {
		return
	}
	keys := []string{"problem", "code", "message", "since"}
	if _, ok := m["sign_in"]; ok {
		keys = []string{"sign_in", "connected", "user", "granted", "missing", "problems", "last_sync", "throttled_until", "error"}
		signIn, _ := m["sign_in"].(map[string]any)
		for _, key := range []string{"state", "message", "url", "code", "expires_at"} {
			if _, ok := signIn[key]; !ok {
				c.fail("sign_in: %s is missing", key)
			}
		}
		for _, key := range []string{"granted", "missing", "problems"} {
			if _, isList := m[key].([]any); !isList {
				c.fail("%s: want a list", key)
			}
		}
	}
	for _, key := range keys {
		if _, ok := m[key]; !ok {
			c.fail("%s is missing", key)
		}
	}
	if _, isBool := m["problem"].(bool); !isBool && m["sign_in"] == nil {
		c.fail("problem: want true or false")
	}
	c.keys("the status", m, keys)
}

// CheckAll checks retained messages by topic, and across them that unique ids are unique and that what entities read is there and fits.
func CheckAll(messages map[string][]byte, oldest string) []error {
	var errs []error
	ids := map[string]string{}
	byID := map[string][]map[string]any{}
	for topic, payload := range messages {
		for _, component := range componentsOf(topic, payload) {
			id := fmt.Sprint(component["unique_id"])
			byID[id] = append(byID[id], component)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(messages)) {
		errs = append(errs, Check(topic, messages[topic], oldest)...)
		for key, component := range componentsOf(topic, messages[topic]) {
			at := topic + " " + key
			id := fmt.Sprint(component["platform"], " ", component["unique_id"])
			if err := checkTwins(component, byID); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", at, err))
			}
			if other, taken := ids[id]; taken {
				errs = append(errs, fmt.Errorf("%s: unique_id %v is also that of %s", at, component["unique_id"], other))
			}
			ids[id] = at
			if err := checkValue(component, messages); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", at, err))
			}
		}
	}
	return errs
}

type checker struct {
	oldest string
	errs   []error
}

func (c *checker) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// shared returns the keys of the payload's root that are copied into components.
func shared() []string {
	return []string{"availability", "availability_mode", "availability_template", "availability_topic", "command_topic",
		"encoding", "payload_available", "payload_not_available", "state_topic", "qos"}
}

func (c *checker) device(p discoveryTopic, payload []byte) {
	var root map[string]any
	if err := json.Unmarshal(payload, &root); err != nil {
		c.fail("not a JSON object: %w", err)
		return
	}
	allowed := append([]string{"device", "origin", "components"}, shared()...)
	if c.since("2026.6") {
		allowed = append(allowed, "message_expiry_interval")
	}
	c.keys("the payload", root, allowed)
	if !idForm.MatchString(p.device) {
		c.fail("object id %q: want letters, digits, _ and -", p.device)
	}
	name := c.origins(root)
	components, ok := root["components"].(map[string]any)
	if !ok {
		c.fail("components is missing")
		return
	}
	for _, key := range slices.Sorted(maps.Keys(components)) {
		own, _ := components[key].(map[string]any)
		if !idForm.MatchString(key) {
			c.fail("component %q: want letters, digits, _ and - as its key", key)
		}
		platform, _ := own["platform"].(string)
		if !c.known(platform) {
			c.fail("component %s: platform %q is unknown to Home Assistant %s, which refuses the whole device", key, platform, c.oldest)
		}
		if len(own) == 1 && own["platform"] != nil {
			continue // a removal
		}
		if own["qos"] != float64(1) {
			c.fail("component %s: qos: want 1 in each component", key)
		}
		merged := maps.Clone(own)
		if merged == nil {
			merged = map[string]any{}
		}
		for _, s := range shared() {
			if v, ok := root[s]; ok {
				if _, has := merged[s]; !has {
					merged[s] = v
				}
			}
		}
		c.component("component "+key, platform, name, merged)
	}
}

func (c *checker) single(p discoveryTopic, payload []byte) {
	var config map[string]any
	if err := json.Unmarshal(payload, &config); err != nil {
		c.fail("not a JSON object: %w", err)
		return
	}
	for _, id := range []string{p.device, p.entity} {
		if !idForm.MatchString(id) {
			c.fail("id %q in the topic: want letters, digits, _ and -", id)
		}
	}
	if !slices.Contains(platforms(), p.platform) && !newPlatform(p.platform) {
		c.fail("platform %q is unknown to Home Assistant", p.platform)
	}
	if config["qos"] != float64(1) {
		c.fail("qos: want 1")
	}
	c.component("the payload", p.platform, c.origins(config), config)
}

// origins checks device and origin, and returns the device's name.
func (c *checker) origins(root map[string]any) string {
	device, ok := root["device"].(map[string]any)
	if !ok {
		c.fail("device is missing")
	} else {
		c.keys("device", device, []string{"identifiers", "connections", "manufacturer", "model", "model_id", "name", "hw_version",
			"serial_number", "sw_version", "via_device", "suggested_area", "configuration_url"})
		identifiers, _ := device["identifiers"].([]any)
		connections, _ := device["connections"].([]any)
		if len(identifiers)+len(connections) == 0 {
			c.fail("device: want identifiers or connections")
		}
		if device["name"] == "" || device["name"] == nil {
			c.fail("device: name is missing")
		}
	}
	origin, ok := root["origin"].(map[string]any)
	if !ok {
		c.fail("origin is missing")
	} else {
		c.keys("origin", origin, []string{"name", "sw_version", "support_url"})
		if origin["name"] == "" || origin["name"] == nil {
			c.fail("origin: name is missing")
		}
	}
	for _, url := range []any{device["configuration_url"], origin["support_url"]} {
		if text, _ := url.(string); url != nil && !urlForm.MatchString(text) {
			c.fail("want a URL with http, https or homeassistant, not %q", text)
		}
	}
	name, _ := device["name"].(string)
	return name
}

func (c *checker) component(at, platform, device string, m map[string]any) {
	fail := func(format string, args ...any) { c.fail("%s: %w", at, fmt.Errorf(format, args...)) }
	text := func(key string) string { s, _ := m[key].(string); return s }

	if text("unique_id") == "" {
		fail("unique_id is missing")
	}
	list, isList := m["availability"].([]any)
	if _, ok := m["availability_topic"]; ok {
		fail("availability_topic: want the list form only")
	}
	if !isList {
		fail("availability: want a list")
	}
	for _, v := range list {
		entry, _ := v.(map[string]any)
		for key := range entry {
			if !slices.Contains([]string{"topic", "payload_available", "payload_not_available", "value_template"}, key) {
				fail("availability: unknown key %q", key)
			}
		}
		if topic, _ := entry["topic"].(string); topicError(topic) != nil {
			fail("availability: %w", topicError(topic))
		}
	}
	if m["availability_mode"] != "all" {
		fail("availability_mode: want all, not %v", m["availability_mode"])
	}
	for _, key := range required(platform) {
		switch v := m[key].(type) {
		case string:
			if v == "" {
				fail("%s is empty", key)
			}
		case []any:
			if len(v) == 0 {
				fail("%s is empty", key)
			}
		default:
			fail("%s is missing", key)
		}
	}
	if platform == "image" && (m["image_topic"] == nil) == (m["url_topic"] == nil) {
		fail("want one of image_topic and url_topic")
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasSuffix(key, "_topic") {
			if err := topicError(text(key)); err != nil {
				fail("%s: %w", key, err)
			}
		}
	}
	switch category := m["entity_category"]; {
	case category != nil && category != "config" && category != "diagnostic":
		fail("entity_category: want config or diagnostic, not %v", category)
	case category == "config" && (platform == "sensor" || platform == "binary_sensor"):
		fail("entity_category: a %s cannot have config", platform)
	}
	if name := text("name"); name != "" && device != "" && hasPrefixFold(name, device) {
		fail("name %q begins with the device's", name)
	}
	if _, ok := m["name"]; !ok {
		fail("name is missing")
	}
	if platform == "sensor" {
		_, options := m["options"]
		class, unit, state := text("device_class"), m["unit_of_measurement"], m["state_class"]
		if options && class != "enum" {
			fail("options: only with device_class enum")
		}
		if (options || class == "enum" || class == "timestamp" || class == "date") && (unit != nil || state != nil) {
			fail("neither unit_of_measurement nor state_class with device_class %s", class)
		}
	}
	if longest, ok := m["max"].(float64); platform == "text" && ok && longest > homeassistant.MaxState {
		fail("max: want %d at most", homeassistant.MaxState)
	}
	if tpl := text("value_template"); platform == "text" && tpl != "" && !strings.Contains(tpl, "none") {
		fail("value_template: a text would show None where the value is null")
	}
	if command := text("command_template"); platform == "select" && strings.Contains(text("value_template"), "}.get(") && !strings.Contains(command, "[value]") {
		fail("command_template: words have to become options again")
	}
	if v, ok := m["enabled_by_default"]; ok && v != false {
		fail("enabled_by_default: want false, or none")
	}
	if platform == "event" && m["value_template"] != nil {
		fail("value_template: an event must have the whole object")
	}
	if class := text("device_class"); platform == "button" && class != "" && !slices.Contains([]string{"restart", "identify", "update"}, class) {
		fail("device_class: a button cannot have %s", class)
	}
	if m["retain"] == true {
		fail("retain: commands are never retained")
	}
	id := text("default_entity_id")
	if rest, ok := strings.CutPrefix(id, platform+"."); !ok || !slugForm.MatchString(rest) {
		fail("default_entity_id: want %s.<a-z, 0-9, _>, not %q", platform, id)
	} else if text("object_id") != rest {
		fail("object_id: want %q, as in default_entity_id, not %q", rest, text("object_id"))
	}
	if icon, ok := m["icon"]; ok && !iconForm.MatchString(fmt.Sprint(icon)) {
		fail("icon: want mdi:name, not %q", icon)
	}
}

func (c *checker) attributes(payload []byte) {
	var m map[string]any
	if err := json.Unmarshal(payload, &m); err != nil || m == nil {
		c.fail("want a JSON object")
	}
	if len(payload) > homeassistant.MaxAttributes {
		c.fail("%d bytes: want %d at most", len(payload), homeassistant.MaxAttributes)
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if homeassistant.Reserved(key) {
			c.fail("%q is an attribute of Home Assistant's own", key)
		}
	}
}

func (c *checker) event(payload []byte) {
	var m map[string]any
	if err := json.Unmarshal(payload, &m); err != nil {
		c.fail("want a JSON object")
		return
	}
	if kind, _ := m["event_type"].(string); kind == "" {
		c.fail("event_type is missing")
	}
	c.attributes(payload)
}

func (c *checker) state(payload []byte) {
	if s := string(payload); s == "online" || s == "offline" || s == "" {
		return
	}
	var m map[string]any
	if err := json.Unmarshal(payload, &m); err != nil || m == nil {
		c.fail("want a JSON object, online or offline")
		return
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch v := m[key].(type) {
		case string:
			if n := utf8.RuneCountInString(v); n > homeassistant.MaxState {
				c.fail("%s: %d characters: want %d at most", key, n, homeassistant.MaxState)
			}
		case map[string]any, []any:
			c.fail("%s: want a value, not a list or an object", key)
		}
	}
}

func (c *checker) keys(at string, m map[string]any, allowed []string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(allowed, key) {
			c.fail("%s: unknown key %q", at, key)
		}
	}
}

func (c *checker) known(platform string) bool {
	switch {
	case hasOwnTopic(platform):
		return c.since("2026.5")
	case platform == "infrared":
		return c.since("2026.7")
	}
	return slices.Contains(platforms(), platform)
}

func (c *checker) since(version string) bool {
	return slices.Compare(numbers(c.oldest), numbers(version)) >= 0
}

func numbers(version string) []int {
	var out []int
	for _, part := range strings.Split(version, ".") {
		n, _ := strconv.Atoi(part) // "0b1" of a beta counts as 0
		out = append(out, n)
	}
	return out
}

// checkTwins checks a value and the entity that sets it, which share their unique id: they have one name, and the value is disabled at first, unless
// old versions of Home Assistant lack the other's platform.
func checkTwins(component map[string]any, byID map[string][]map[string]any) error {
	all := byID[fmt.Sprint(component["unique_id"])]
	if component["command_topic"] != nil {
		return nil
	}
	for _, other := range all {
		platform, _ := other["platform"].(string)
		switch {
		case other["command_topic"] == nil:
		case other["name"] != component["name"]:
			return fmt.Errorf("name %v: want %v, as the entity that sets it", component["name"], other["name"])
		case (component["enabled_by_default"] != false) != hasOwnTopic(platform):
			return fmt.Errorf("enabled_by_default: want false exactly where a %s does not exist on old versions", platform)
		default:
			return nil
		}
	}
	if component["enabled_by_default"] != nil {
		return errors.New("enabled_by_default: only where another entity sets the value")
	}
	return nil
}

// checkValue checks the value that a component reads from its state topic, if that is among the messages.
func checkValue(component map[string]any, messages map[string][]byte) error {
	topic, _ := component["state_topic"].(string)
	tpl, _ := component["value_template"].(string)
	key := keyForm.FindStringSubmatch(tpl)
	payload, published := messages[topic]
	if key == nil || !published {
		return nil
	}
	var state map[string]any
	if err := json.Unmarshal(payload, &state); err != nil {
		return fmt.Errorf("%s is no JSON object", topic)
	}
	value, ok := state[key[1]]
	text, isText := value.(string)
	options, _ := component["options"].([]any)
	if strings.Contains(tpl, "}.get(value_json") { // a select with words
		options = nil
		if value != nil && !strings.Contains(tpl, fmt.Sprintf("'%v':", value)) {
			return fmt.Errorf("%v has no word", value)
		}
	}
	switch {
	case !ok:
		return fmt.Errorf("%s has no key %q", topic, key[1])
	case value == nil:
	case value == "" && component["platform"] != "text" && !strings.Contains(fmt.Sprint(component["platform"]), "binary"):
		return errors.New("want null where there is no value")
	case len(options) > 0 && !slices.Contains(options, value):
		return fmt.Errorf("%v is none of the options", value)
	case component["device_class"] == "timestamp" || component["platform"] == "datetime":
		if _, err := time.Parse(time.RFC3339, text); !isText || err != nil {
			return fmt.Errorf("want a time with a zone, not %v", value)
		}
	case component["device_class"] == "date" || component["platform"] == "date":
		if _, err := time.Parse(time.DateOnly, text); !isText || err != nil {
			return fmt.Errorf("want a date, not %v", value)
		}
	case component["state_class"] != nil || component["unit_of_measurement"] != nil:
		if _, number := value.(float64); !number {
			return fmt.Errorf("want a number, not %v", value)
		}
	}
	return nil
}

// componentsOf returns the components of a discovery message by key, each with its platform.
func componentsOf(topic string, payload []byte) map[string]map[string]any {
	p, ok := parseTopic(topic)
	if !ok {
		return nil
	}
	if p.platform == "device" {
		var root struct{ Components map[string]map[string]any }
		_ = json.Unmarshal(payload, &root) // Check reports it
		maps.DeleteFunc(root.Components, func(_ string, c map[string]any) bool { return len(c) <= 1 })
		return root.Components
	}
	var config map[string]any
	if json.Unmarshal(payload, &config) != nil {
		return nil
	}
	config["platform"] = p.platform
	return map[string]map[string]any{p.entity: config}
}

// A discoveryTopic is a parsed discovery topic.
type discoveryTopic struct {
	platform string // "device": a whole device
	device   string // its id
	entity   string // empty for a device
}

// parseTopic parses a discovery topic below any prefix.
func parseTopic(topic string) (discoveryTopic, bool) {
	levels := strings.Split(topic, "/")
	n := len(levels)
	switch {
	case n < 4 || levels[n-1] != "config":
		return discoveryTopic{}, false
	case levels[n-3] == "device":
		return discoveryTopic{platform: "device", device: levels[n-2]}, true
	case n < 5:
		return discoveryTopic{}, false
	}
	return discoveryTopic{platform: levels[n-4], device: levels[n-3], entity: levels[n-2]}, true
}

// hasOwnTopic reports whether Home Assistant before 2026.5 does not know a platform, and would refuse the whole device.
func hasOwnTopic(platform string) bool {
	return platform == "date" || platform == "time" || platform == "datetime"
}

func required(platform string) []string {
	switch platform {
	case "sensor", "binary_sensor", "update":
		return []string{"state_topic"}
	case "event":
		return []string{"state_topic", "event_types"}
	case "switch", "text", "number", "button", "notify", "date", "datetime", "time":
		return []string{"command_topic"}
	case "select":
		return []string{"command_topic", "options"}
	}
	return nil
}

func platforms() []string {
	return []string{"alarm_control_panel", "binary_sensor", "button", "camera", "climate", "cover", "device_automation",
		"device_tracker", "event", "fan", "humidifier", "image", "lawn_mower", "light", "lock", "notify", "number", "scene", "siren",
		"select", "sensor", "switch", "tag", "text", "update", "vacuum", "valve", "water_heater"}
}

func newPlatform(platform string) bool { return hasOwnTopic(platform) || platform == "infrared" }

func topicError(topic string) error {
	switch {
	case topic == "" || len(topic) > 65534 || !utf8.ValidString(topic) || strings.ContainsRune(topic, 0):
		return errors.New("want 1 to 65534 bytes of UTF-8 without NUL")
	case strings.ContainsAny(topic, "+#"):
		return fmt.Errorf("%q: want a topic without + and #", topic)
	}
	return nil
}

var (
	idForm   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	urlForm  = regexp.MustCompile(`^(https?|homeassistant)://.+`)
	slugForm = regexp.MustCompile(`^[a-z0-9_]+$`)
	iconForm = regexp.MustCompile(`^[a-z]+:[a-z0-9-]+$`)
	keyForm  = regexp.MustCompile(`value_json\['([a-z0-9_]+)'\]`)
)

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}
