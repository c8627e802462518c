package bridge

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// refusedAccounts returns the accounts that do not run because their files are refused.
func refusedAccounts(c *config.Config) []string {
	var ids []string
	for _, f := range c.RefusedFiles {
		if c.Accounts[f.Account] == nil && config.CheckAccountID(f.Account) == nil {
			ids = append(ids, f.Account)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// holdRefused publishes the accounts whose files are refused at the start as offline. What an earlier run published of them stays at the
// broker, so that Home Assistant does not forget their entities because of a mistake in a file.
func (b *Bridge) holdRefused() {
	held := refusedAccounts(b.config)
	b.held.Store(&held)
	for _, id := range held {
		b.mqtt.Retain(b.topics.Account(id, "state"), []byte("offline"))
	}
}

// keepsTopic reports whether a topic of an earlier run belongs to an account whose file is refused: its own topics, and announcements that
// name one of them.
func (b *Bridge) keepsTopic(topic string, payload []byte) bool {
	return slices.ContainsFunc(*b.held.Load(), func(id string) bool {
		prefix := b.topics.Account(id, "") + "/"
		quoted, err := json.Marshal(prefix)
		return strings.HasPrefix(topic, prefix) || err == nil && bytes.Contains(payload, bytes.TrimSuffix(quoted, []byte(`"`)))
	})
}

// releaseRefused removes what was held of accounts whose files are gone, or can be used.
func (b *Bridge) releaseRefused(after *config.Config) {
	before, refused := *b.held.Load(), refusedAccounts(after)
	held := slices.DeleteFunc(slices.Clone(before), func(id string) bool { return !slices.Contains(refused, id) })
	if len(held) == len(before) {
		return
	}
	b.held.Store(&held)
	for _, id := range before {
		if !slices.Contains(held, id) && after.Accounts[id] == nil {
			b.mqtt.Remove(b.topics.Account(id, "state"))
		}
	}
	b.hub.Ready() // removes the rest
}
