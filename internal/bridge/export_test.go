package bridge

import (
	"net/http"

	"github.com/graph2mqtt/graph2mqtt/config"
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

// WebHandler returns the handler of the HTTP listener.
func (b *Bridge) WebHandler() http.Handler { return b.listener.server.Handler() }

// SetRunning sets the configuration in use, as a bridge does.
func (f *ConfigFile) SetRunning(c *config.Config) { f.setRunning(c, nil) }

// Running returns the configuration in use.
func (f *ConfigFile) Running() *config.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}
