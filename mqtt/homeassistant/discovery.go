// Package homeassistant publishes what the hub holds in the form that Home Assistant reads: discovery messages, states, attributes and
// events.
package homeassistant

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// supportURL is shown by Home Assistant beside the origin of a discovery message.
const supportURL = "https://github.com/graph2mqtt/graph2mqtt"

// A Mode is the form of discovery messages.
type Mode string

const (
	// DeviceMode announces a device with all its entities in one message (Home Assistant 2024.11 and newer).
	DeviceMode Mode = "device"
	// ComponentMode announces each entity in its own message, which openHAB and Domoticz understand too.
	ComponentMode Mode = "component"
)

// Discovery configures discovery messages.
type Discovery struct {
	Enabled     bool
	Topic       string // "homeassistant"
	StatusTopic string // "homeassistant/status"
	Mode        Mode   // empty: DeviceMode
	Base        mqtt.Topics
	Version     string // of this program
}

// A device is a device of Home Assistant: a sensor, an account or the bridge.
type device struct {
	id           string
	name         string
	model        string
	manufacturer string
	version      string // of its software; only the bridge has one
	via          string // id of the device that it belongs to
	topic        string // prefix of its topics
	slug         string // prefix of its entity ids

	availability []string // topics that must all say "online"
	commands     string   // the topic that must also say "online" for command entities; may be empty
	components   []component
}

// A component is an entity with its topics; what is empty follows from the device and the entity.
type component struct {
	entity.Entity
	key                string // in the device's message; default: the entity's
	entityID           string // without its platform; default <slug>_<key>
	disabled           bool   // in Home Assistant until the user enables it
	stateTopic         string // default <topic>/state, of an event <topic>/event
	template           string // of its value; default: the entity's value in the object of the state topic
	attributesTopic    string // default <topic>/attributes for the primary entity, otherwise none
	attributesTemplate string // default: the whole message
	commandTopic       string // default <topic>/set/<key>, of buttons and notify entities <topic>/request/<operation>
	commandTemplate    string
	availability       []string // nil: the device's; empty: always available
}

// Slug returns a name in the form of an entity id: "Büro & Küche" becomes "buro_kuche".
func Slug(name string) string {
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(notASCII.ReplaceAllString(norm.NFKD.String(name), "")), "_"), "_")
}

// DisplayName returns the name shown for a configuration key that has no name of its own: spaces for "_".
func DisplayName(key string) string { return strings.ReplaceAll(key, "_", " ") }

// AccountName returns the name shown for an account's key that has no name of its own: spaces for "_", and a capital.
func AccountName(key string) string {
	name := []rune(DisplayName(key))
	if len(name) > 0 {
		name[0] = []rune(strings.ToUpper(string(name[0])))[0]
	}
	return string(name)
}

var (
	notASCII = regexp.MustCompile(`[^\x00-\x7f]+`)
	notSlug  = regexp.MustCompile(`[^a-z0-9]+`)
)

// Payloads returns the discovery messages of d by topic; none if discovery is disabled.
func (o Discovery) Payloads(d hub.Device) map[string][]byte {
	payloads := map[string][]byte{}
	if !o.Enabled {
		return payloads
	}
	device := o.device(d)
	components := map[string]any{}
	for _, c := range device.components {
		config := device.config(c)
		if o.Mode == ComponentMode || hasOwnTopic(c.Platform) {
			o.common(config, device)
			if config["availability"] == nil {
				config["availability"] = topics(device.availability)
			}
			payloads[o.Topic+"/"+c.Platform+"/"+device.id+"/"+c.Key+"/config"] = encode(config)
			continue
		}
		config["platform"] = c.Platform
		components[cmp.Or(c.key, c.Key)] = config
	}
	if len(components) > 0 {
		config := map[string]any{"availability": topics(device.availability), "qos": 1, "components": components}
		o.common(config, device)
		payloads[o.Topic+"/device/"+device.id+"/config"] = encode(config)
	}
	return payloads
}

// hasOwnTopic reports whether an entity needs its own topic: Home Assistant before 2026.5 refuses a device with a platform that it does not
// know, and with it all other entities.
func hasOwnTopic(platform string) bool {
	return platform == "date" || platform == "time" || platform == "datetime"
}

func (o Discovery) common(config map[string]any, d device) {
	description := map[string]any{"identifiers": []string{d.id}, "name": d.name, "manufacturer": "graph2mqtt"}
	for key, value := range map[string]string{"manufacturer": d.manufacturer, "model": d.model, "sw_version": d.version, "via_device": d.via} {
		if value != "" {
			description[key] = value
		}
	}
	origin := map[string]any{"name": "graph2mqtt", "support_url": supportURL}
	if o.Version != "" {
		origin["sw_version"] = o.Version
	}
	config["device"], config["origin"], config["availability_mode"] = description, origin, "all"
}

func (d device) config(c component) map[string]any {
	id := cmp.Or(c.entityID, d.slug+"_"+c.Key)
	config := map[string]any{
		"unique_id": d.id + "-" + c.Key,
		"object_id": id, "default_entity_id": c.Platform + "." + id, // Home Assistant before 2025.10 knows the former only
		"qos": 1, // Home Assistant 2025.4 does not take it from the root, and would send commands at QoS 0
	}
	// A name that begins with the device's changes the entity's id; one that is the device's is written as null.
	if name := withoutPrefix(c.Name, d.name); name != "" {
		config["name"] = name
	} else {
		config["name"] = nil
	}
	put := func(key, value string) {
		if value != "" {
			config[key] = value
		}
	}
	put("icon", c.Icon)
	put("device_class", c.DeviceClass)
	put("state_class", c.StateClass)
	put("unit_of_measurement", c.Unit)
	put("entity_category", c.Category)
	if c.disabled {
		config["enabled_by_default"] = false
	}

	put("json_attributes_template", c.attributesTemplate)
	if c.attributesTopic != "" {
		config["json_attributes_topic"] = c.attributesTopic
	} else if c.Primary {
		config["json_attributes_topic"] = d.topic + "/attributes"
	}
	switch {
	case c.Platform == "event":
		config["state_topic"], config["event_types"] = cmp.Or(c.stateTopic, d.topic+"/event"), c.Options
	case showsValue(c.Platform):
		config["state_topic"] = cmp.Or(c.stateTopic, d.topic+"/state")
		if len(c.Options) > 0 {
			config["options"] = labels(c.Entity)
		}
		// Without a state topic of its own it reads the sensor's object.
		if c.template != "" || c.stateTopic == "" {
			config["value_template"] = cmp.Or(c.template, valueTemplate(c.Entity))
		}
	}
	if isCommand(c.Platform) {
		config["command_topic"] = cmp.Or(c.commandTopic, d.commandTopic(c.Entity))
		switch {
		case c.Platform == "button":
			config["payload_press"] = requestTemplate(c.DefaultFields)
		case c.Platform == "notify":
			config["command_template"] = cmp.Or(c.commandTemplate, notifyTemplate(c.Entity))
		case c.Platform == "select" && len(c.Labels) > 0:
			config["command_template"] = cmp.Or(c.commandTemplate, "{{ "+dictionary(c.Entity, true)+"[value] }}")
		default:
			put("command_template", c.commandTemplate)
		}
	}
	if c.Platform == "text" {
		config["max"] = MaxState
	}
	availability := c.availability
	if availability == nil && isCommand(c.Platform) && d.commands != "" {
		availability = append(slices.Clone(d.availability), d.commands)
	}
	if availability != nil {
		config["availability"] = topics(availability)
	}
	return config
}

func (d device) commandTopic(e entity.Entity) string {
	if e.Platform == "button" || e.Platform == "notify" {
		operation := e.Key
		if len(e.Operations) > 0 {
			operation = e.Operations[0]
		}
		return d.topic + "/request/" + operation
	}
	return d.topic + "/set/" + e.Key
}

// label returns the word that a select shows for an option.
func label(e entity.Entity, option string) string { return cmp.Or(e.Labels[option], option) }

// labels returns the options as Home Assistant shows them.
func labels(e entity.Entity) []string {
	if e.Platform != "select" {
		return e.Options
	}
	words := make([]string, len(e.Options))
	for i, option := range e.Options {
		words[i] = label(e, option)
	}
	return words
}

// dictionary returns a Jinja dictionary from options to labels, or from labels to options.
func dictionary(e entity.Entity, toOptions bool) string {
	pairs := make([]string, len(e.Options))
	for i, option := range e.Options {
		from, to := option, label(e, option)
		if toOptions {
			from, to = to, from
		}
		pairs[i] = quote(from) + ":" + quote(to)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// quote returns a Jinja string. Braces cannot end the expression that it stands in.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "{", `\x7b`, "}", `\x7d`, "%", `\x25`).Replace(text) + "'"
}

// valueTemplate returns the template that reads a value. It handles null, which Jinja writes as None: a text would show that word, and a plain
// test for truth would read it as off. The subscript is for keys such as "items", which are methods of a dictionary.
func valueTemplate(e entity.Entity) string {
	value := "value_json['" + e.StateKey() + "']"
	switch {
	case e.Platform == "binary_sensor" || e.Platform == "switch":
		return "{{ 'None' if " + value + " is none else 'ON' if " + value + " else 'OFF' }}"
	case e.Platform == "text":
		return "{{ '' if " + value + " is none else " + value + " }}"
	case e.Platform == "select" && len(e.Labels) > 0:
		return "{{ " + dictionary(e, false) + ".get(" + value + ") }}"
	}
	return "{{ " + value + " }}"
}

// notifyTemplate returns the template that makes a request of a message. Its transaction is a new one each time: the hop from Home Assistant to
// the broker delivers at least once, and the same notification must not go out twice.
func notifyTemplate(e entity.Entity) string {
	rest := "}"
	if len(e.DefaultFields) > 0 {
		rest = ", " + strings.TrimPrefix(requestTemplate(e.DefaultFields), "{")
	}
	// Home Assistant allows a range of up to 100,000.
	return `{"transaction": "{{ now().timestamp() }}-{{ range(100000) | random }}", ` + string(encode(e.MessageField)) + `: {{ value | to_json }}` + rest
}

// requestTemplate returns JSON that is safe within a template.
func requestTemplate(fields map[string]any) string {
	if len(fields) == 0 {
		return "{}"
	}
	return strings.NewReplacer("{{", `{\u007b`, "{%", `\u007b%`, "{#", `\u007b#`).Replace(string(encode(fields)))
}

func isCommand(platform string) bool {
	switch platform {
	case "sensor", "binary_sensor", "event":
		return false
	}
	return true
}

func showsValue(platform string) bool {
	switch platform {
	case "event", "button", "notify":
		return false
	}
	return true
}

func topics(list []string) []any {
	out := []any{}
	for _, topic := range list {
		out = append(out, map[string]string{"topic": topic})
	}
	return out
}

func withoutPrefix(name, device string) string {
	if len(name) < len(device) || device == "" || !strings.EqualFold(name[:len(device)], device) {
		return name
	}
	return strings.TrimSpace(name[len(device):])
}

// Rules returns what the client must know of discovery topics.
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
	var whole map[string]json.RawMessage
	if len(next) == 0 || json.Unmarshal(old, &was) != nil || json.Unmarshal(next, &is) != nil || json.Unmarshal(next, &whole) != nil {
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
		payload := map[string]any{}
		for key, value := range whole {
			payload[key] = value
		}
		payload["components"] = components
		return encode(payload)
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

// device returns Home Assistant's device for a device of the hub.
func (o Discovery) device(d hub.Device) device {
	t := o.Base
	bridge := []string{t.Bridge("state")}
	var built device
	switch {
	case d.ID.Account == "":
		built = device{id: t.ID("bridge"), manufacturer: "graph2mqtt", version: o.Version, topic: t.Bridge(""), availability: bridge}
		built.components = o.bridgeComponents()
	case d.ID.Sensor == "":
		built = device{
			id: t.ID(d.ID.Account), manufacturer: "Microsoft", via: t.ID("bridge"), topic: t.Account(d.ID.Account, ""), availability: bridge,
		}
		built.components = o.accountComponents(d.ID.Account)
	default:
		built = device{
			id: t.ID(d.ID.Account, d.ID.Sensor), manufacturer: "Microsoft", via: t.ID(d.ID.Account),
			topic:        t.Sensor(d.ID.Account, d.ID.Sensor, ""),
			availability: append(slices.Clone(bridge), t.Account(d.ID.Account, "state"), t.Sensor(d.ID.Account, d.ID.Sensor, "availability")),
		}
		if d.Commands {
			built.commands = t.Sensor(d.ID.Account, d.ID.Sensor, "commands")
		}
		built.components = []component{o.problemComponent(d.ID)}
	}
	built.name, built.model, built.slug = d.Name, d.Model, d.Slug
	fixed := map[string]bool{}
	for _, c := range built.components {
		fixed[c.Key] = true
	}
	for _, e := range d.Entities {
		if !fixed[e.Key] {
			built.components = append(built.components, component{Entity: e})
		}
	}
	built.components = override(pair(built.components), d.Overrides)
	return built
}

// pair finds entities that share their key: a value and the entity that sets it. The latter has a component key of its own, and the former is
// disabled at first, unless the latter is one that old versions of Home Assistant do not have. Attributes are on the one that is enabled.
func pair(components []component) []component {
	reading, setting := map[string]component{}, map[string]string{}
	for _, c := range components {
		if isCommand(c.Platform) {
			setting[c.Key] = c.Platform
		} else {
			reading[c.Key] = c
		}
	}
	for i, c := range components {
		platform, settable := setting[c.Key]
		twin, readable := reading[c.Key]
		switch {
		case !settable || !readable:
		case isCommand(c.Platform):
			components[i].key = "set_" + c.Key
			components[i].Primary = twin.Primary && !hasOwnTopic(platform)
		default:
			components[i].disabled = !hasOwnTopic(platform)
		}
	}
	return components
}

// override applies the configuration's changes. They are by entity key, so they apply to a value and to the entity that sets it.
func override(components []component, overrides map[string]hub.Override) []component {
	kept := components[:0]
	for _, c := range components {
		if o, ok := overrides[c.Key]; ok {
			if !o.Enabled {
				continue
			}
			c.Name, c.Icon = cmp.Or(o.Name, c.Name), cmp.Or(o.Icon, c.Icon)
			c.entityID = o.EntityID
			if _, id, ok := strings.Cut(o.EntityID, "."); ok {
				c.entityID = id
			}
		}
		kept = append(kept, c)
	}
	return kept
}

// problemComponent returns the entity that says why a sensor does not work. It must not be unavailable just then.
func (o Discovery) problemComponent(id hub.ID) component {
	status := o.Base.Sensor(id.Account, id.Sensor, "status")
	return component{
		Entity:     entity.Entity{Key: "problem", Platform: "binary_sensor", Name: "Problem", DeviceClass: "problem", Category: "diagnostic"},
		stateTopic: status, template: "{{ 'ON' if value_json['problem'] else 'OFF' }}",
		attributesTopic: status, attributesTemplate: "{{ {'message': value_json['message'], 'since': value_json['since']} | to_json }}",
		availability: []string{o.Base.Bridge("state")},
	}
}

// logLevels is the select that sets the log level.
var logLevels = entity.Entity{
	Key: "log_level", Platform: "select", Name: "Log level", Category: "config", Icon: "mdi:text-long",
	Options: []string{"debug", "info", "warn", "error"}, Operations: []string{"log_level"},
	Labels: map[string]string{"debug": "Debug", "info": "Info", "warn": "Warning", "error": "Error"},
}

func (o Discovery) bridgeComponents() []component {
	info := o.Base.Bridge("info")
	return []component{
		{
			Entity: entity.Entity{Key: "connection", Platform: "binary_sensor", Name: "Connection", DeviceClass: "connectivity", Category: "diagnostic"},
			// The entity that shows that the bridge is offline is itself always available.
			stateTopic: o.Base.Bridge("state"), template: "{{ 'ON' if value == 'online' else 'OFF' }}", availability: []string{},
		},
		{
			Entity:     entity.Entity{Key: "version", Platform: "sensor", Name: "Version", Category: "diagnostic", Icon: "mdi:tag"},
			stateTopic: info, template: "{{ value_json['version'] }}",
		},
		{
			Entity: logLevels, stateTopic: info, template: valueTemplate(logLevels),
			commandTopic:    o.Base.Bridge("request/log_level"),
			commandTemplate: `{"level": {{ ` + dictionary(logLevels, true) + `[value] | to_json }}}`,
		},
		{Entity: button("refresh", "Refresh", "mdi:refresh")},
	}
}

func (o Discovery) accountComponents(account string) []component {
	status := o.Base.Account(account, "status")
	sensor := func(key, name, template string) component {
		return component{
			Entity:     entity.Entity{Key: key, Platform: "sensor", Name: name, Category: "diagnostic"},
			stateTopic: status, template: template,
		}
	}
	code := sensor("sign_in_code", "Sign-in code", "{{ value_json['sign_in']['code'] }}")
	code.Icon = "mdi:form-textbox-password"
	link := sensor("sign_in_link", "Sign-in link",
		"{% set url = value_json['sign_in']['url'] %}{{ url if url is not none and url | length <= 255 else none }}")
	link.Icon = "mdi:link"
	link.attributesTopic, link.attributesTemplate = status, "{{ {'url': value_json['sign_in']['url']} | to_json }}"
	sync := sensor("last_sync", "Last sync", "{{ value_json['last_sync'] }}")
	sync.DeviceClass = "timestamp"
	return []component{
		{
			Entity:     entity.Entity{Key: "connection", Platform: "binary_sensor", Name: "Connection", DeviceClass: "connectivity", Category: "diagnostic"},
			stateTopic: status, template: "{{ 'ON' if value_json['connected'] else 'OFF' }}",
			attributesTopic: status, attributesTemplate: "{{ {'problems': value_json['problems']} | to_json }}",
		},
		{
			Entity:     entity.Entity{Key: "sign_in_required", Platform: "binary_sensor", Name: "Sign-in required", DeviceClass: "problem", Category: "diagnostic"},
			stateTopic: status, template: "{{ 'OFF' if value_json['sign_in']['state'] == 'signed_in' else 'ON' }}",
			attributesTopic: status,
			// A key "state" would be removed: it is an attribute of Home Assistant's own.
			attributesTemplate: "{{ {'sign_in_state': value_json['sign_in']['state'], 'message': value_json['sign_in']['message'], " +
				"'url': value_json['sign_in']['url'], 'user': value_json['user'], 'granted': value_json['granted'], 'missing': value_json['missing']} | to_json }}",
		},
		code, link, sync,
		{Entity: button("refresh", "Refresh", "mdi:refresh")},
		{Entity: button("rescan", "Rescan", "mdi:magnify")},
		{Entity: button("sign_in", "Sign in", "mdi:login")},
		{Entity: entity.Entity{
			Key: "event", Platform: "event", Name: "Event", Category: "diagnostic",
			Options: []string{"command_ok", "command_failed", "sign_in_required", "signed_in"},
		}},
	}
}

func button(operation, name, icon string) entity.Entity {
	return entity.Entity{Key: operation, Platform: "button", Name: name, Category: "diagnostic", Icon: icon, Operations: []string{operation}}
}
