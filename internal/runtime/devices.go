package runtime

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Devices returns the devices of an account and of its sensors as they are announced. A sensor that stands for several, such as all
// calendars, has none: Graph knows its members.
func Devices(a *config.Account) []hub.Device {
	devices := []hub.Device{accountDevice(a)}
	kinds := Kinds()
	for _, c := range config.Sorted(a.Sensors) {
		source := c.Options.(sensors.Sensor)
		if source.Group() != nil {
			continue
		}
		operations := Operations(c)
		kind := kinds[slices.IndexFunc(kinds, func(k sensors.Kind) bool { return k.Name == c.Type })]
		devices = append(devices, sensorDevice(a, c, kind, sensorSlug(a, c), offeredEntities(c, source, operations), operations))
	}
	return devices
}

// device describes the account itself.
func (a *account) device() hub.Device { return accountDevice(a.config) }

// accountDevice describes an account. Its entities show the account's status.
func accountDevice(a *config.Account) hub.Device {
	model := "Microsoft 365 account"
	if a.Application {
		model = "Microsoft 365 organization"
	}
	return hub.Device{ID: hub.ID{Account: a.ID}, Name: a.Name, Model: model, Slug: a.ID, Commands: true, Application: a.Application}
}

// EventTypes documents the events of an account.
func EventTypes() []sensors.EventType {
	request := []schema.Field{
		{Key: "sensor", Type: "text", Doc: "Id of the sensor."},
		{Key: "op", Type: "text", Doc: "Operation."},
		{Key: "transaction", Type: "text", Doc: "The request's transaction."},
	}
	return []sensors.EventType{
		{Name: commandOK, Doc: "A request to a sensor was completed.", Fields: request},
		{Name: commandFailed, Doc: "A request to a sensor failed.", Fields: append(slices.Clone(request),
			schema.Field{Key: "code", Type: "text", Doc: "[Code](mqtt.md#codes) of the error."},
			schema.Field{Key: "message", Type: "text", Doc: "What is wrong, and what is accepted."})},
		{Name: signInRequired, Doc: "You have to sign in.", Fields: []schema.Field{{Key: "message", Type: "text", Doc: "What to do."}}},
		{Name: signedIn, Doc: "A user signed in.", Fields: []schema.Field{{Key: "user", Type: "text", Doc: "Address of the user."}}},
	}
}

// device describes the sensor.
func (s *sensor) device() hub.Device {
	d := sensorDevice(s.account.config, s.config, s.kind, s.slug, s.entities, s.operations)
	if s.poller != nil {
		d.Interval = s.config.Interval
	}
	return d
}

// sensorSlug returns the prefix of the entity ids of a configured sensor.
func sensorSlug(a *config.Account, c *config.Sensor) string { return a.ID + "_" + c.ID }

// sensorDevice describes a sensor with the entities and operations that the configuration offers.
func sensorDevice(a *config.Account, c *config.Sensor, kind sensors.Kind, slug string, entities []entity.Entity, operations []services.Operation) hub.Device {
	d := hub.Device{
		ID: hub.ID{Account: a.ID, Sensor: c.ID}, Name: a.Name + " " + c.Name, Model: kind.Title, Slug: slug,
		Entities: entities, Overrides: map[string]hub.Override{}, Items: c.PublishItems, Commands: len(operations) > 0,
	}
	for key, o := range c.Entities {
		d.Overrides[key] = hub.Override{Enabled: o.Enabled, Name: o.Name, Icon: o.Icon, EntityID: o.EntityID}
	}
	return d
}
