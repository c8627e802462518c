package homeassistant

import (
	"cmp"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

// device returns Home Assistant's device for a device of the hub.
func (o Discovery) device(d hub.Device) device {
	t := o.Base
	bridge := []string{t.Shard(o.Shard, "state")}
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
		if d.Application { // it signs in by itself
			built.components = slices.DeleteFunc(built.components, func(c component) bool {
				return c.Key == "sign_in_code" || c.Key == "sign_in_link" || c.Key == "sign_in"
			})
		}
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
	built.name, built.model, built.slug, built.qos = d.Name, d.Model, d.Slug, o.QoS
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

// Entities returns the entities that are announced for d, those included that each bridge, account and sensor has.
func (o Discovery) Entities(d hub.Device) []entity.Entity {
	var all []entity.Entity
	for _, c := range o.device(d).components {
		all = append(all, c.Entity)
	}
	return all
}

// An Announcement describes an entity as Home Assistant registers it when it first sees it.
type Announcement struct {
	entity.Entity
	EntityID string
	Disabled bool // until the user enables it
}

// Announcements returns the entities that are announced for d, with their ids.
func (o Discovery) Announcements(d hub.Device) []Announcement {
	var all []Announcement
	built := o.device(d)
	for _, c := range built.components {
		all = append(all, Announcement{Entity: c.Entity, EntityID: c.Platform + "." + built.objectID(c), Disabled: c.disabled})
	}
	return all
}

// pair finds entities that share their key: a value and the entity that sets it. The latter has a component key of its own, and the former is
// disabled at first, unless the latter is one that old versions of Home Assistant do not have. Attributes are on the one that is enabled.
func pair(components []component) []component {
	reading, setting := map[string]component{}, map[string]string{}
	for _, c := range components {
		if c.IsCommand() {
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
		case c.IsCommand():
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
	remaining := components[:0]
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
		remaining = append(remaining, c)
	}
	return remaining
}

// problemComponent returns the entity that says why a sensor does not work. It stays available when the sensor is not.
func (o Discovery) problemComponent(id hub.ID) component {
	status := o.Base.Sensor(id.Account, id.Sensor, "status")
	return component{
		Entity: entity.Entity{Key: "problem", Platform: "binary_sensor", Name: "Problem", DeviceClass: "problem", Category: "diagnostic",
			Doc: "Whether the sensor cannot be read. Its attribute `message` names the reason, `since` the time of the first failure."},
		stateTopic: status, template: "{{ 'ON' if value_json['problem'] else 'OFF' }}",
		attributesTopic: status, attributesTemplate: "{{ {'message': value_json['message'], 'since': value_json['since']} | to_json }}",
		availability: []string{o.Base.Shard(o.Shard, "state")},
	}
}

// logLevels is the select that sets the log level.
var logLevels = entity.Entity{
	Key: "log_level", Platform: "select", Name: "Log level", Category: "config", Icon: "mdi:text-long", Doc: "Sets the log level until the next start.",
	Options: []string{"debug", "info", "warn", "error"}, Operations: []string{"log_level"},
	Labels: map[string]string{"debug": "Debug", "info": "Info", "warn": "Warning", "error": "Error"},
}

func (o Discovery) bridgeComponents() []component {
	info := o.Base.Bridge("info")
	return []component{
		{
			Entity: entity.Entity{Key: "connection", Platform: "binary_sensor", Name: "Connection", DeviceClass: "connectivity", Category: "diagnostic",
				Doc: "Whether the bridge is connected to the broker."},
			// The entity that shows that the bridge is offline is itself always available.
			stateTopic: o.Base.Bridge("state"), template: "{{ 'ON' if value == 'online' else 'OFF' }}", availability: []string{},
		},
		{
			Entity:     entity.Entity{Key: "version", Platform: "sensor", Name: "Version", Category: "diagnostic", Icon: "mdi:tag", Doc: "Version of graph2mqtt."},
			stateTopic: info, template: "{{ value_json['version'] }}",
		},
		{
			Entity: logLevels, stateTopic: info, template: valueTemplate(logLevels),
			commandTopic:    o.Base.Bridge("request/log_level"),
			commandTemplate: `{"level": {{ ` + dictionary(logLevels, true) + `[value] | to_json }}}`,
		},
		{Entity: button("refresh", "Refresh", "mdi:refresh", "Reads every sensor of every account now.")},
	}
}

func (o Discovery) accountComponents(account string) []component {
	status := o.Base.Account(account, "status")
	sensor := func(key, name, template, doc string) component {
		return component{
			Entity:     entity.Entity{Key: key, Platform: "sensor", Name: name, Category: "diagnostic", Doc: doc},
			stateTopic: status, template: template,
		}
	}
	code := sensor("sign_in_code", "Sign-in code", "{{ value_json['sign_in']['code'] }}", "Code to enter at the sign-in link while a sign-in is pending.")
	code.Icon = "mdi:form-textbox-password"
	link := sensor("sign_in_link", "Sign-in link",
		"{% set url = value_json['sign_in']['url'] %}{{ url if url is not none and url | length <= 255 else none }}",
		"Link to open while a sign-in is pending. If it is longer than 255 characters, it is only in the attribute `url`.")
	link.Icon = "mdi:link"
	link.attributesTopic, link.attributesTemplate = status, "{{ {'url': value_json['sign_in']['url']} | to_json }}"
	sync := sensor("last_sync", "Last sync", "{{ value_json['last_sync'] }}", "When a sensor of the account was last read. It is updated at most every 5 minutes.")
	sync.DeviceClass = "timestamp"
	var more []component
	if o.Notifications {
		more = append(more, notificationComponent(status))
	}
	return append(more, []component{
		{
			Entity: entity.Entity{Key: "connection", Platform: "binary_sensor", Name: "Connection", DeviceClass: "connectivity", Category: "diagnostic",
				Doc: "Whether anything of the account can be read. Its attribute `problems` lists the sensors that cannot: `sensor`, `code`, `message`."},
			stateTopic: status, template: "{{ 'ON' if value_json['connected'] else 'OFF' }}",
			attributesTopic: status, attributesTemplate: "{{ {'problems': value_json['problems']} | to_json }}",
		},
		{
			Entity: entity.Entity{Key: "sign_in_required", Platform: "binary_sensor", Name: "Sign-in required", DeviceClass: "problem", Category: "diagnostic",
				Doc: "Whether you have to sign in. Its attributes are `sign_in_state`, `message` (what to do), `url`, `user`, `granted` and `missing` (permissions)."},
			stateTopic: status, template: "{{ 'OFF' if value_json['sign_in']['state'] == 'signed_in' else 'ON' }}",
			attributesTopic: status,
			// A key "state" would be removed: it is an attribute of Home Assistant's own.
			attributesTemplate: "{{ {'sign_in_state': value_json['sign_in']['state'], 'message': value_json['sign_in']['message'], " +
				"'url': value_json['sign_in']['url'], 'user': value_json['user'], 'granted': value_json['granted'], 'missing': value_json['missing']} | to_json }}",
		},
		code, link, sync,
		{Entity: button("refresh", "Refresh", "mdi:refresh", "Reads every sensor of the account now.")},
		{Entity: button("rescan", "Rescan", "mdi:magnify", "Looks for new calendars and newly granted permissions.")},
		{Entity: button("sign_in", "Sign in", "mdi:login", "Starts a sign-in with a device code.")},
		{Entity: entity.Entity{
			Key: "event", Platform: "event", Name: "Event", Category: "diagnostic", Doc: "Fires when a request was completed or failed, when a sign-in is required, and when a user signed in.",
			Options: []string{"command_ok", "command_failed", "sign_in_required", "signed_in"},
		}},
	}...)
}

// notificationComponent shows how Graph announces changes to an account.
func notificationComponent(status string) component {
	const value = "value_json['notifications']"
	return component{
		Entity: entity.Entity{Key: "notifications", Platform: "sensor", Name: "Notifications", DeviceClass: "enum", Category: "diagnostic", Icon: "mdi:webhook", Options: []string{"ok", "degraded", "off"},
			Doc: "Whether Microsoft announces changes. Its attributes are `sensors` (`sensor`, `state`, `message`) and `unannounced`, the number of changes that it did not announce."},
		stateTopic: status, template: "{{ " + value + "['state'] }}",
		attributesTopic: status, attributesTemplate: "{{ {'sensors': " + value + "['sensors'], 'unannounced': " + value + "['unannounced']} | to_json }}",
	}
}

func button(operation, name, icon, doc string) entity.Entity {
	return entity.Entity{Key: operation, Platform: "button", Name: name, Category: "diagnostic", Icon: icon, Doc: doc, Operations: []string{operation}}
}
