package runtime

import (
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

// device describes the account itself. Its entities show the account's status.
func (a *account) device() hub.Device {
	return hub.Device{ID: a.id(), Name: a.config.Name, Model: "Microsoft 365 account", Slug: a.config.ID, Commands: true}
}

// EventTypes returns the types of an account's events.
func EventTypes() []string { return []string{commandOK, commandFailed, signInRequired, signedIn} }

// device describes the sensor.
func (s *sensor) device() hub.Device {
	d := hub.Device{
		ID: s.id(), Name: s.account.config.Name + " " + s.config.Name, Model: s.kind.Title, Slug: s.slug,
		Entities: s.entities, Overrides: map[string]hub.Override{}, Items: s.config.PublishItems, Commands: len(s.operations) > 0,
	}
	for key, o := range s.config.Entities {
		d.Overrides[key] = hub.Override{Enabled: o.Enabled, Name: o.Name, Icon: o.Icon, EntityID: o.EntityID}
	}
	return d
}
