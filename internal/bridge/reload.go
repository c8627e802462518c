package bridge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// apply replaces the configuration and touches only what changed. A configuration that cannot be applied is logged, and everything
// stays as it was.
func (b *Bridge) apply(ctx context.Context, work *errgroup.Group, after *config.Config) error {
	changes := config.Diff(b.config, after)
	sameRefused := slices.Equal(refusedAccounts(b.config), refusedAccounts(after))
	// Keys that need a restart are compared with the running configuration: changing one back is no change.
	restart := config.Diff(b.options.Config, after).Restart
	if len(restart) > 0 {
		b.log.Warn("configuration changed in keys that need a restart", "keys", strings.Join(restart, " "))
	}
	listenerChanged := false
	for _, key := range changes.Keys {
		switch {
		case key == "log.level", key == "commands.max_age", key == "commands.queue", key == "accounts_dir":
		case strings.HasPrefix(key, "http."):
			listenerChanged = true
		default:
			return ErrRestart
		}
	}
	err := b.runtime.Apply(ctx, after.Accounts, changes)
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case err != nil:
		b.log.Error("configuration not applied, keeping the running one", "error", err)
		b.options.File.Report(err)
		b.setUnapplied()
		return nil
	}
	applied, refused := after, error(nil)
	if listenerChanged {
		if applied, refused, err = b.replaceListener(ctx, work, after); err != nil {
			return err
		}
	}
	b.releaseRefused(applied)
	refusedBefore := b.isUnapplied()
	b.setConfig(applied)
	b.options.File.setRunning(applied, restart)
	if refused != nil {
		b.options.File.Report(refused)
		b.setUnapplied()
	}
	if slices.Contains(changes.Keys, "log.level") {
		b.setLevel(after.Log.Level)
	}
	b.dispatcher.SetLimits(after.Commands.MaxAge, after.Commands.Queue)
	b.subscribe()
	b.publishInfo()
	if !changes.Any() && sameRefused { // such as a new certificate of an organization, which is read for each token
		level := slog.LevelInfo
		if b.options.Receiver != nil && !refusedBefore { // what changed may be of another shard, or of the listener of all
			level = slog.LevelDebug
		}
		b.log.Log(ctx, level, "configuration unchanged")
		return nil
	}
	b.log.Info("configuration reloaded")
	return nil
}
