package bridge

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// device is the bridge itself.
func (b *Bridge) device() mqtt.Device {
	info := b.topics.Bridge("info")
	return mqtt.Device{
		ID: b.topics.ID("bridge"), Name: "graph2mqtt", Model: "Bridge", Version: b.options.Version,
		Topic: b.topics.Bridge(""), Slug: mqtt.Slug(string(b.topics)), Availability: []string{b.topics.Bridge("state")},
		Components: []mqtt.Component{
			{
				Entity: entity.Entity{Key: "connection", Platform: "binary_sensor", Name: "Connection", DeviceClass: "connectivity", Category: "diagnostic"},
				// What says that the bridge is offline is itself always available.
				StateTopic: b.topics.Bridge("state"), Template: "{{ 'ON' if value == 'online' else 'OFF' }}", Availability: []string{},
			},
			{
				Entity:     entity.Entity{Key: "version", Platform: "sensor", Name: "Version", Category: "diagnostic", Icon: "mdi:tag"},
				StateTopic: info, Template: "{{ value_json.version }}",
			},
			{
				Entity: entity.Entity{
					Key: "log_level", Platform: "select", Name: "Log level", Category: "config", Icon: "mdi:text-long",
					Options: []string{"debug", "info", "warn", "error"}, Operations: []string{"log_level"},
				},
				StateTopic: info, Template: "{{ value_json.log_level }}",
				CommandTopic: b.topics.Bridge("request/log_level"), CommandTemplate: `{"level": {{ value | to_json }}}`,
			},
			{Entity: entity.Entity{Key: "refresh", Platform: "button", Name: "Refresh", Category: "diagnostic", Icon: "mdi:refresh", Operations: []string{"refresh"}}},
		},
	}
}

// device is the account's own.
func (a *account) device() mqtt.Device {
	status := a.topic("status")
	return mqtt.Device{
		ID: a.bridge.topics.ID(a.config.ID), Name: a.config.Name, Model: "Microsoft 365 account", Manufacturer: "Microsoft",
		Via: a.bridge.topics.ID("bridge"), Topic: a.topic(""), Slug: a.config.ID, Availability: []string{a.bridge.topics.Bridge("state")},
		Components: []mqtt.Component{
			{
				Entity:     entity.Entity{Key: "connection", Platform: "binary_sensor", Name: "Connection", DeviceClass: "connectivity", Category: "diagnostic"},
				StateTopic: status, Template: "{{ 'ON' if value_json.connected else 'OFF' }}",
			},
			{
				Entity:     entity.Entity{Key: "sign_in", Platform: "binary_sensor", Name: "Sign-in", DeviceClass: "problem", Category: "diagnostic"},
				StateTopic: status, Template: "{{ 'OFF' if value_json.sign_in.state == 'signed_in' else 'ON' }}",
				AttributesTopic:    status,
				AttributesTemplate: "{{ dict(value_json.sign_in, user=value_json.user, granted=value_json.granted, missing=value_json.missing) | to_json }}",
			},
			{
				Entity:     entity.Entity{Key: "last_sync", Platform: "sensor", Name: "Last sync", DeviceClass: "timestamp", Category: "diagnostic"},
				StateTopic: status, Template: "{{ value_json.last_sync }}",
			},
			{Entity: entity.Entity{Key: "refresh", Platform: "button", Name: "Refresh", Category: "diagnostic", Icon: "mdi:refresh", Operations: []string{"refresh"}}},
			{Entity: entity.Entity{Key: "rescan", Platform: "button", Name: "Rescan", Category: "diagnostic", Icon: "mdi:magnify", Operations: []string{"rescan"}}},
			{Entity: entity.Entity{
				Key: "event", Platform: "event", Name: "Event", Category: "diagnostic",
				Options: []string{"command_ok", "command_failed", "sign_in_required", "signed_in"},
			}},
		},
	}
}

// device is the sensor's.
func (s *sensor) device() mqtt.Device {
	t, a := s.account.bridge.topics, s.account
	d := mqtt.Device{
		ID: s.deviceID(), Name: a.config.Name + " " + s.config.Name, Model: s.kind.Title, Manufacturer: "Microsoft",
		Via: t.ID(a.config.ID), Topic: t.Sensor(a.config.ID, s.config.ID, ""), Slug: s.slug,
		Availability: []string{t.Bridge("state"), a.topic("state"), s.topic("availability")},
	}
	if s.commands() {
		d.Commands = s.topic("commands")
	}
	for _, e := range s.entities {
		c := mqtt.Component{Entity: e}
		if o, ok := s.config.Entities[e.Key]; ok {
			if !o.Enabled {
				continue
			}
			if o.Name != "" {
				c.Name = o.Name
			}
			if o.Icon != "" {
				c.Icon = o.Icon
			}
			c.EntityID = o.EntityID
		}
		d.Components = append(d.Components, c)
	}
	return d
}

// commands reports whether one of the sensor's entities asks for something.
func (s *sensor) commands() bool { return slices.ContainsFunc(s.entities, entity.Entity.IsCommand) }
