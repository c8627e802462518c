package bridge

import (
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// StoreStats returns the counters of the database.
func (b *Bridge) StoreStats() state.Stats { return b.database.Stats() }

// MQTTStats returns the counters of the connection to the broker.
func (b *Bridge) MQTTStats() mqtt.Stats { return b.mqtt.Stats() }

// Routes returns the routes of the listener that the bridge began with.
func (b *Bridge) Routes() []web.Route { return b.listener.server.Routes() }

// A Store is the database as the runtime and the dispatcher use it.
type Store = store
