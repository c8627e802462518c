package bridge

import (
	"encoding/json"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Placement returns where the records of a database belong if the bridge is divided into shards: those of an account to its shard, those of
// the bridge to shard 0. Records about the session at the broker are left out, because each shard has a session of its own.
func Placement(c *config.Config) state.Placement {
	discovery := discoveryOf(c)
	shardOf := func(account string) int {
		if account == "" {
			return 0
		}
		return c.Cluster.ShardOf(account)
	}
	return func(bucket, key string, value []byte) (int, bool) {
		switch bucket {
		case mqtt.Bucket:
			topic, ok := mqtt.RecordTopic(key)
			if shard := discovery.Base.ParseShard(topic); shard > 0 && shard < c.Cluster.Shards {
				return shard, ok
			}
			return shardOf(discovery.Account(topic)), ok
		case services.JournalBucket:
			var entry struct{ ID, Account string }
			ok := json.Unmarshal(value, &entry) == nil && entry.ID == key // not the clock, nor the origin of a message of a session
			return shardOf(entry.Account), ok
		}
		account, _, _ := strings.Cut(key, "/")
		return shardOf(account), true
	}
}
