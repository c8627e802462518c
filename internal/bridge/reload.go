package bridge

import (
	"context"
	"errors"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// apply replaces the configuration and touches only what changed. One that cannot be applied is logged, and everything stays as it was.
func (b *Bridge) apply(ctx context.Context, after *config.Config) error {
	changes := config.Diff(b.config, after)
	// A key that needs a restart is compared with what runs: changing it back is no change.
	if restart := config.Diff(b.options.Config, after).Restart; len(restart) > 0 {
		b.log.Warn("configuration changed in keys that need a restart", "keys", strings.Join(restart, " "))
	}
	for _, key := range changes.Keys {
		if key != "log.level" {
			return ErrRestart
		}
	}
	if err := b.runtime.Apply(ctx, after.Accounts, changes); err != nil {
		if ctx.Err() == nil {
			b.log.Error("new configuration not applied", "error", err)
		}
		return nil
	}
	b.setConfig(after)
	if len(changes.Keys) > 0 {
		b.setLevel(after.Log.Level)
	}
	b.subscribe()
	b.publishInfo()
	b.log.Info("configuration reloaded")
	return nil
}
