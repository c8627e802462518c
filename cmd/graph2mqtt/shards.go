package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A fanOut passes the newest configuration on to several bridges.
type fanOut struct {
	mu       sync.Mutex
	channels map[chan *config.Config]bool
}

// subscribe returns a channel of later configurations, until the returned function is called.
func (f *fanOut) subscribe() (changes <-chan *config.Config, end func()) {
	c := make(chan *config.Config, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.channels == nil {
		f.channels = map[chan *config.Config]bool{}
	}
	f.channels[c] = true
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.channels, c)
	}
}

// send passes a configuration on. It replaces one that a bridge has not taken yet.
func (f *fanOut) send(c *config.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for channel := range f.channels {
		select {
		case <-channel:
		default:
		}
		channel <- c
	}
}

// A shardServer runs a bridge for each shard that this machine has.
type shardServer struct {
	program  *program
	log      *slog.Logger
	level    *slog.LevelVar
	current  *atomic.Pointer[config.Config]
	changes  *fanOut
	outdated func() bool
	listener *shardListener
	receiver *bridge.SharedReceiver

	mu        sync.Mutex
	connected map[int]func() bool // by shard
}

// run serves shards until ctx is done.
func (s *shardServer) run(ctx context.Context, dir *state.Dir) error {
	health := startHealth(dir.Path(), s.log, func() liveness {
		served, connected := s.count()
		if served == 0 {
			return standby(unusable(dir))
		}
		return liveness{Broker: served == connected}
	})
	defer health.close()
	systemd := s.program.newNotifier()
	stopping := context.AfterFunc(ctx, func() { systemd.notify("STOPPING=1") })
	defer stopping()
	reporting, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the watchdog is satisfied until every shard has stopped
	var reports sync.WaitGroup
	reports.Go(func() {
		systemd.run(reporting, func() string {
			served, connected := s.count()
			if err := unusable(dir); served == 0 && err != nil {
				return "Waiting: " + err.Error()
			}
			return fmt.Sprintf("Serving %d of %d shards, %d connected to the broker", served, dir.Shards(), connected)
		})
	})
	defer reports.Wait()
	defer cancel()
	s.receiver = bridge.NewSharedReceiver(dir, s.log)
	s.listener.receiver.Store(s.receiver)
	changes, end := s.changes.subscribe()
	defer end()
	work, workContext := errgroup.WithContext(ctx)
	work.Go(func() error { return s.receiver.Run(workContext, s.current.Load(), changes) })
	work.Go(func() error { return dir.ServeShards(workContext, s.serve) })
	return work.Wait()
}

// errNotMember is the error of a machine that has no shard, and would get none.
var errNotMember = errors.New("this machine does not take part in sharing the shards yet")

// unusable returns why this machine cannot take a shard; nil: it can.
func unusable(dir *state.Dir) error {
	if dir.IsMember() {
		return nil
	}
	return cmp.Or(dir.Unusable(), errNotMember)
}

// serve runs the bridge of a shard.
func (s *shardServer) serve(ctx context.Context, shard state.Shard) error {
	changes, end := s.changes.subscribe()
	defer end()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	reloads := make(chan *config.Config)
	var passing sync.WaitGroup
	defer passing.Wait()
	defer cancel()
	passing.Go(func() {
		for {
			select {
			case <-running.Done():
				return
			case c := <-changes:
				select {
				case reloads <- c.Shard(shard.Number):
				case <-running.Done():
					return
				}
			}
		}
	})
	log := s.log.With("shard", shard.Number)
	o := bridge.Options{
		Config: s.current.Load().Shard(shard.Number), Dir: shard.Dir, Lease: shard.Lease, Shard: shard.Number, Log: log, Level: s.level, Reloads: reloads, Outdated: s.outdated, Receiver: s.receiver,
	}
	err := s.program.serveSupervised(ctx, o, func(_ context.Context, b *bridge.Bridge) func() {
		s.set(shard.Number, b.Connected)
		remove := s.listener.http.Add(b)
		return func() {
			remove()
			s.set(shard.Number, nil)
		}
	})
	changed := (*brokerChangedError)(nil)
	switch {
	case errors.As(err, &changed):
		next := *s.current.Load() // the other one has only the accounts of this shard
		next.MQTT = changed.config.MQTT
		s.current.Store(&next)
		return nil
	case errors.Is(err, bridge.ErrRestart): // it is taken again
		return nil
	}
	return err
}

// set sets how to ask whether the bridge of a shard is connected to the broker; nil: it does not run.
func (s *shardServer) set(shard int, connected func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if connected == nil {
		delete(s.connected, shard)
		return
	}
	s.connected[shard] = connected
}

// count returns the number of shards that are served, and of those whose bridges are connected to the broker.
func (s *shardServer) count() (served, connected int) {
	s.mu.Lock()
	var all []func() bool
	for _, f := range s.connected {
		all = append(all, f)
	}
	s.mu.Unlock()
	for _, f := range all {
		if f() {
			connected++
		}
	}
	return len(all), connected
}
