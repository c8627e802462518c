package mqtt

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

// supportURL is where Home Assistant sends its user for help.
const supportURL = "https://github.com/graph2mqtt/graph2mqtt"

// A Mode is how devices are announced.
type Mode string

const (
	// DeviceMode announces a device with all its entities in one message (Home Assistant 2024.11 and newer).
	DeviceMode Mode = "device"
	// ComponentMode announces each entity in a message of its own, which openHAB and Domoticz understand, too.
	ComponentMode Mode = "component"
)

// Discovery is how Home Assistant is told of devices.
type Discovery struct {
	Enabled     bool
	Topic       string // "homeassistant"
	StatusTopic string // "homeassistant/status"
	Mode        Mode
}

// A Device is one device of Home Assistant's: a sensor, an account or the bridge.
type Device struct {
	ID           string // Topics.ID; it never changes
	Name         string // "Work Calendar"
	Model        string // "Calendar"
	Manufacturer string // empty: "graph2mqtt"
	Version      string // of its software; only the bridge has one
	Via          string // ID of the device that it hangs on
	Topic        string // below it: state, attributes, event, set/<key>, request/<operation>
	Slug         string // of its entities' ids: "work_calendar"

	Availability []string // topics that must all say "online"
	Commands     string   // the topic that must say so, too, for what commands; may be empty
	Components   []Component
}

// A Component is an entity and where it is found; what is empty follows from the device and the entity.
type Component struct {
	entity.Entity
	EntityID        string // Home Assistant's, with or without its platform; default <platform>.<slug>_<key>
	StateTopic      string // default <topic>/state, of an event <topic>/event
	Template        string // of its value; default: the entity's value in the object of the state topic
	AttributesTopic string // default <topic>/attributes for the primary entity, otherwise none
	// AttributesTemplate makes the attributes of what the attributes topic says; default: all of it.
	AttributesTemplate string
	CommandTopic       string // default <topic>/set/<key>, of buttons and notify entities <topic>/request/<operation>
	CommandTemplate    string
	Availability       []string // nil: the device's; empty: always available
}

// Slug is a name as it stands in an entity's id: "Büro & Küche" is "buro_kuche".
func Slug(name string) string {
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(notASCII.ReplaceAllString(norm.NFKD.String(name), "")), "_"), "_")
}

var (
	notASCII = regexp.MustCompile(`[^\x00-\x7f]+`)
	notSlug  = regexp.MustCompile(`[^a-z0-9]+`)
)

// Payloads are the discovery messages of d by topic.
func (o Discovery) Payloads(d Device, version string) map[string][]byte {
	payloads := map[string][]byte{}
	components := map[string]any{}
	for _, c := range d.Components {
		config := d.component(c)
		if o.Mode == ComponentMode || ownTopic(c.Platform) {
			o.common(config, d, version)
			if config["availability"] == nil {
				config["availability"] = topics(d.Availability)
			}
			payloads[o.Topic+"/"+c.Platform+"/"+d.ID+"/"+c.Key+"/config"] = encode(config)
			continue
		}
		config["platform"] = c.Platform
		components[c.Key] = config
	}
	if len(components) > 0 {
		config := map[string]any{"availability": topics(d.Availability), "qos": 1, "components": components}
		o.common(config, d, version)
		payloads[o.Topic+"/device/"+d.ID+"/config"] = encode(config)
	}
	return payloads
}

// ownTopic reports whether an entity has to have a topic of its own: Home Assistant before 2026.5 refuses a device with a
// platform that it does not know, and all the other entities with it.
func ownTopic(platform string) bool {
	return platform == "date" || platform == "time" || platform == "datetime"
}

func (o Discovery) common(config map[string]any, d Device, version string) {
	device := map[string]any{"identifiers": []string{d.ID}, "name": d.Name, "manufacturer": "graph2mqtt"}
	for key, value := range map[string]string{"manufacturer": d.Manufacturer, "model": d.Model, "sw_version": d.Version, "via_device": d.Via} {
		if value != "" {
			device[key] = value
		}
	}
	origin := map[string]any{"name": "graph2mqtt", "support_url": supportURL}
	if version != "" {
		origin["sw_version"] = version
	}
	config["device"], config["origin"], config["availability_mode"] = device, origin, "all"
}

func (d Device) component(c Component) map[string]any {
	id := strings.TrimPrefix(c.EntityID, c.Platform+".")
	if id == "" {
		id = d.Slug + "_" + c.Key
	}
	config := map[string]any{
		"unique_id": d.ID + "-" + c.Key,
		"object_id": id, "default_entity_id": c.Platform + "." + id, // Home Assistant before 2025.10 knows the former only
		"qos": 1, // Home Assistant 2025.4 does not take it from the root, and would send commands at QoS 0
	}
	// A name that begins with the device's changes the entity's id; one that is the device's is written as null.
	if name := withoutPrefix(c.Name, d.Name); name != "" {
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

	put("json_attributes_template", c.AttributesTemplate)
	if attributes := c.AttributesTopic; attributes != "" {
		config["json_attributes_topic"] = attributes
	} else if c.Primary {
		config["json_attributes_topic"] = d.Topic + "/attributes"
	}
	switch {
	case c.Platform == "event":
		config["state_topic"], config["event_types"] = cmp.Or(c.StateTopic, d.Topic+"/event"), c.Options
	case showsValue(c.Platform):
		config["state_topic"] = cmp.Or(c.StateTopic, d.Topic+"/state")
		if len(c.Options) > 0 {
			config["options"] = c.Options
		}
		// Without a state topic of its own it reads the sensor's object.
		if c.Template != "" || c.StateTopic == "" {
			config["value_template"] = cmp.Or(c.Template, template(c.Entity))
		}
	}
	if commands(c.Platform) {
		config["command_topic"] = cmp.Or(c.CommandTopic, d.commandTopic(c.Entity))
		switch c.Platform {
		case "button":
			config["payload_press"] = request(c.DefaultFields)
		case "notify":
			config["command_template"] = cmp.Or(c.CommandTemplate, notifyTemplate(c.Entity))
		default:
			put("command_template", c.CommandTemplate)
		}
	}
	if c.Platform == "text" {
		config["max"] = MaxState
	}
	availability := c.Availability
	if availability == nil && commands(c.Platform) && d.Commands != "" {
		availability = append(slices.Clone(d.Availability), d.Commands)
	}
	if availability != nil {
		config["availability"] = topics(availability)
	}
	return config
}

func (d Device) commandTopic(e entity.Entity) string {
	if e.Platform == "button" || e.Platform == "notify" {
		operation := e.Key
		if len(e.Operations) > 0 {
			operation = e.Operations[0]
		}
		return d.Topic + "/request/" + operation
	}
	return d.Topic + "/set/" + e.Key
}

// template reads a value. It holds for null, which Jinja writes as None: a text would show that word, and a plain test
// for truth would call it off. The subscript is for keys such as "items", which are methods of a dictionary.
func template(e entity.Entity) string {
	value := "value_json['" + e.StateKey() + "']"
	switch e.Platform {
	case "binary_sensor", "switch":
		return "{{ 'None' if " + value + " is none else 'ON' if " + value + " else 'OFF' }}"
	case "text":
		return "{{ '' if " + value + " is none else " + value + " }}"
	}
	return "{{ " + value + " }}"
}

// notifyTemplate makes a request of a message. Its transaction is a new one each time: the hop from Home Assistant to the
// broker delivers at least once, and the same notification must not go out twice.
func notifyTemplate(e entity.Entity) string {
	rest := ""
	if len(e.DefaultFields) > 0 {
		rest = ", " + strings.TrimPrefix(request(e.DefaultFields), "{")
	} else {
		rest = "}"
	}
	// Home Assistant allows a range of up to 100,000.
	return `{"transaction": "{{ now().timestamp() }}-{{ range(100000) | random }}", ` + string(encode(e.MessageField)) + `: {{ value | to_json }}` + rest
}

// request is JSON that is safe within a template.
func request(fields map[string]any) string {
	if len(fields) == 0 {
		return "{}"
	}
	return strings.NewReplacer("{{", `{\u007b`, "{%", `\u007b%`, "{#", `\u007b#`).Replace(string(encode(fields)))
}

func commands(platform string) bool {
	switch platform {
	case "sensor", "binary_sensor", "event":
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

// diffComponents compares two discovery messages of one topic. Components that only old has, or has on another platform, are left in
// Home Assistant by a message without them; announced is next with those as they were, removing is next with those
// removed. Both are nil where there are none.
func diffComponents(old, next []byte) (announced, removing []byte) {
	var was, is struct {
		Components map[string]json.RawMessage `json:"components"`
	}
	var whole map[string]json.RawMessage
	if len(next) == 0 || json.Unmarshal(old, &was) != nil || json.Unmarshal(next, &is) != nil || json.Unmarshal(next, &whole) != nil {
		return nil, nil
	}
	announce, remove := map[string]any{}, map[string]any{}
	for key, component := range is.Components {
		announce[key], remove[key] = component, component
	}
	found := false
	for key, component := range was.Components {
		before, now := platformOf(component), platformOf(is.Components[key])
		if before == now {
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

// A discoveryTopic is what a discovery topic says of itself.
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
