package runtime

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// device describes the account itself. Its entities show the account's status.
func (a *account) device() hub.Device {
	return hub.Device{ID: a.id(), Name: a.config.Name, Model: "Microsoft 365 account", Slug: a.config.ID, Commands: true}
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
	d := hub.Device{
		ID: s.id(), Name: s.account.config.Name + " " + s.config.Name, Model: s.kind.Title, Slug: s.slug,
		Entities: s.entities, Overrides: map[string]hub.Override{}, Items: s.config.PublishItems, Commands: len(s.operations) > 0,
	}
	if s.poller != nil {
		d.Interval = s.config.Interval
	}
	for key, o := range s.config.Entities {
		d.Overrides[key] = hub.Override{Enabled: o.Enabled, Name: o.Name, Icon: o.Icon, EntityID: o.EntityID}
	}
	return d
}
