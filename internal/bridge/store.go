package bridge

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A store is the database as the runtime and the dispatcher use it.
type store struct{ *state.Database }

// Commit implements services.Store. Its transaction has a method OnCommit, with which parts of a commit follow its outcome.
func (s store) Commit(write func(services.Tx), done func(error)) { s.CommitWithin(0, write, done) }

// CommitWithin implements sensors.Store.
func (s store) CommitWithin(delay time.Duration, write func(services.Tx), done func(error)) {
	var hooks []func(error)
	s.Database.CommitWithin(delay, func(inner state.Tx) {
		outer := &tx{Tx: inner}
		write(outer)
		hooks = outer.hooks
	}, func(err error) {
		for _, hook := range hooks {
			hook(err)
		}
		if done != nil {
			done(err)
		}
	})
}

type tx struct {
	state.Tx
	hooks []func(error)
}

// OnCommit has f called, before the commit's own done, when the transaction is on disk or has failed.
func (t *tx) OnCommit(f func(error)) { t.hooks = append(t.hooks, f) }

// CommitLazily implements services.Store.
func (s store) CommitLazily(write func(services.Tx)) {
	s.Database.CommitLazily(func(tx state.Tx) { write(tx) })
}

// Get implements runtime.Store.
func (s store) Get(bucket, key string) ([]byte, error) { return s.Bucket(bucket).Get(key) }

// Each implements runtime.Store.
func (s store) Each(bucket string, f func(key string, value []byte) error) error {
	return s.Bucket(bucket).Each(f)
}

// An mqttStore is the database as the MQTT client uses it.
type mqttStore struct{ *state.Database }

// Commit implements mqtt.Store.
func (s mqttStore) Commit(write func(mqtt.Tx), done func(error)) {
	s.Database.Commit(func(tx state.Tx) { write(tx) }, done)
}
