package bridge

import (
	"context"
	"net/http"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
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

// ShardHandler returns the handler of the accounts of the bridge for a ShardListener.
func (b *Bridge) ShardHandler(c config.HTTP) (http.Handler, error) {
	return b.handler(c, OpenSignInLinks(b.options.Dir, b.log), OpenCalendarPasswords(b.options.Dir, b.log))
}

// AskRequest and AnswerRequests pass requests about a shard from one machine to another.
var (
	AskRequest     = askRequest
	AnswerRequests = answerRequests
)

// SetRunning sets the configuration in use, as a bridge does.
func (f *ConfigFile) SetRunning(c *config.Config) { f.setRunning(c, nil) }

// Running returns the configuration in use.
func (f *ConfigFile) Running() *config.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// Notify takes notifications, as the listener and the event hub pass them.
func (r *SharedReceiver) Notify(ctx context.Context, all []subscriptions.Notification) error {
	return r.notify(ctx, all)
}

// ClientState returns a secret with the number of its shard.
func (r *SharedReceiver) ClientState(shard int, secret string) string {
	return r.clientState(shard, secret)
}

// Held returns those of some subscriptions that other shards have.
func (r *SharedReceiver) Held(ctx context.Context, shard int, ids []string) ([]string, error) {
	return r.held(ctx, shard, ids)
}

// AnswerShard answers for a shard as its bridge does, with the result of take and the subscriptions that it holds.
func AnswerShard(dir *state.Dir, shard int, take func([]subscriptions.Notification) error, holds ...string) (stop func(), err error) {
	return answerQuestions(dir, shard, func(_ context.Context, q question) (answer, bool) {
		a := answer{Subscriptions: holds}
		if err := take(q.Notifications); err != nil {
			a.Error = err.Error()
		}
		return a, true
	})
}
