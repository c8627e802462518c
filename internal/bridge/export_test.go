package bridge

import "github.com/graph2mqtt/graph2mqtt/internal/state"

// StoreStats returns the counters of the database.
func (b *Bridge) StoreStats() state.Stats { return b.database.Stats() }

// A Store is the database as the runtime and the dispatcher use it.
type Store = store
