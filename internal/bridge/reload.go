package bridge

import (
	"context"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// apply goes over to another configuration, touching only what has changed.
func (b *Bridge) apply(ctx context.Context, after *config.Config, start func(*account)) error {
	changes := config.Diff(b.config, after)
	if len(changes.Restart) > 0 {
		b.log.Warn("the configuration was changed where only a restart takes it up", "keys", strings.Join(changes.Restart, " "))
	}
	for _, key := range changes.Keys {
		if key != "log.level" {
			return ErrRestart
		}
	}
	// The content of a certificate is not part of the configuration.
	for _, a := range b.all() {
		c, ok := after.Accounts[a.config.ID]
		if ok && !slices.Contains(changes.Accounts.Changed, c.ID) && a.session.Outdated(signInOptions(c)) {
			changes.Accounts.Changed = append(changes.Accounts.Changed, c.ID)
		}
	}
	// What is new is made before anything old is touched: where that fails, all stays as it was.
	made := map[string]*account{}
	for _, ids := range [][]string{changes.Accounts.Added, changes.Accounts.Changed} {
		for _, id := range ids {
			a, err := newAccount(b, after.Accounts[id])
			if err != nil {
				b.log.Error("the new configuration is not taken up", "error", err)
				return nil
			}
			made[id] = a
		}
	}
	b.informing.Lock()
	b.config = after
	b.informing.Unlock()
	if len(changes.Keys) > 0 {
		if err := b.SetLevel(after.Log.Level); err != nil {
			b.log.Error("the log level stays", "error", err)
		}
	}
	for _, id := range changes.Accounts.Removed {
		a := b.account(id)
		a.end()
		for _, s := range a.all() {
			s.leave()
		}
		b.mqtt.Remove(b.topics.ID(id))
		b.mu.Lock()
		delete(b.accounts, id)
		b.mu.Unlock()
	}
	for id, a := range config.Sorted(made) {
		before := b.account(id)
		if before != nil {
			before.end()
		}
		b.mu.Lock()
		b.accounts[id] = a
		b.mu.Unlock()
		a.prepare()
		if before != nil {
			for _, s := range before.all() {
				if now := a.sensor(s.config.ID); now != nil {
					now.replace(s)
				} else {
					s.leave()
				}
			}
		}
		start(a)
	}
	for _, a := range b.all() {
		if made[a.config.ID] == nil {
			a.reconfigure(ctx, after.Accounts[a.config.ID], changes.Sensors)
		}
	}
	b.subscribe()
	b.publishInfo()
	b.log.Info("the new configuration is taken up")
	return nil
}

// reconfigure takes up changed sensors of an account that is otherwise the same.
func (a *account) reconfigure(ctx context.Context, after *config.Account, d config.Delta) {
	mine := func(paths []string) []string {
		var ids []string
		for _, path := range paths {
			if id, ok := strings.CutPrefix(path, a.config.ID+"/"); ok {
				ids = append(ids, id)
			}
		}
		return ids
	}
	added, removed, changed := mine(d.Added), mine(d.Removed), mine(d.Changed)
	if len(added)+len(removed)+len(changed) == 0 {
		return
	}
	a.current.Store(after)
	a.rememberZone() // which depends on the permissions asked for
	a.askZoneAgain()
	var come []*sensor
	for _, id := range append(added, changed...) {
		come = append(come, a.make(after.Sensors[id])...)
	}
	a.change(ctx, append(removed, changed...), come)
}
