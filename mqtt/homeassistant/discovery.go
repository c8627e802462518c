// Package homeassistant publishes what the hub holds in the form that Home Assistant reads: discovery messages, states, attributes and
// events.
package homeassistant

import (
	"cmp"
	"slices"
	"strings"

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
	QoS         int    // with which Home Assistant subscribes and publishes
	Base        mqtt.Topics
	Shard       int    // whose state is that of every device; 0: the bridge
	Version     string // of this program
	// Notifications announces how accounts get Graph's notifications.
	Notifications bool
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
	qos          int    // of subscriptions and commands

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
		config := map[string]any{"availability": topics(device.availability), "qos": o.QoS, "components": components}
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

// objectID returns the id of an entity without its platform.
func (d device) objectID(c component) string { return cmp.Or(c.entityID, d.slug+"_"+c.Key) }

func (d device) config(c component) map[string]any {
	id := d.objectID(c)
	config := map[string]any{
		"unique_id": d.id + "-" + c.Key,
		"object_id": id, "default_entity_id": c.Platform + "." + id, // Home Assistant before 2025.10 knows the former only
		"qos": d.qos, // Home Assistant 2025.4 does not take it from the root, and would send commands at QoS 0
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
	case c.ShowsValue():
		config["state_topic"] = cmp.Or(c.stateTopic, d.topic+"/state")
		if len(c.Options) > 0 {
			config["options"] = labels(c.Entity)
		}
		// Without a state topic of its own it reads the sensor's object.
		if c.template != "" || c.stateTopic == "" {
			config["value_template"] = cmp.Or(c.template, valueTemplate(c.Entity))
		}
	}
	if c.IsCommand() {
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
	if availability == nil && c.IsCommand() && d.commands != "" {
		availability = append(slices.Clone(d.availability), d.commands)
	}
	if availability != nil {
		config["availability"] = topics(availability)
	}
	return config
}

func (d device) commandTopic(e entity.Entity) string {
	if e.Platform == "button" || e.Platform == "notify" {
		return d.topic + "/request/" + e.Operations[0]
	}
	return d.topic + "/set/" + e.Key
}

// labels returns the options as Home Assistant shows them.
func labels(e entity.Entity) []string {
	if e.Platform != "select" {
		return e.Options
	}
	words := make([]string, len(e.Options))
	for i, option := range e.Options {
		words[i] = e.Label(option)
	}
	return words
}

// dictionary returns a Jinja dictionary from options to labels, or from labels to options.
func dictionary(e entity.Entity, toOptions bool) string {
	pairs := make([]string, len(e.Options))
	for i, option := range e.Options {
		from, to := option, e.Label(option)
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

// topics returns the availability that is said on topics. The payloads are Home Assistant's defaults: while it loads one platform it may
// not fill them in for an entity of another, which then fails with the KeyError payload_available.
func topics(list []string) []any {
	out := []any{}
	for _, topic := range list {
		out = append(out, map[string]string{"topic": topic, "payload_available": online, "payload_not_available": offline})
	}
	return out
}

func withoutPrefix(name, device string) string {
	if len(name) < len(device) || device == "" || !strings.EqualFold(name[:len(device)], device) {
		return name
	}
	return strings.TrimSpace(name[len(device):])
}
