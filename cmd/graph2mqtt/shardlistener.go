package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A shardListener runs the HTTP listener of a process with several shards from before the state is opened, which can take long, until all
// shards have stopped.
type shardListener struct {
	http    *bridge.ShardListener
	changes <-chan *config.Config
	end     func()                    // of changes
	dir     atomic.Pointer[state.Dir] // nil: it is not open yet

	receiver atomic.Pointer[bridge.SharedReceiver] // nil: there is none yet
}

// listenForShards returns the listener of the process.
func (p *program) listenForShards(c *config.Config, file *bridge.ConfigFile, changes *fanOut, outdated func() bool, log *slog.Logger) (_ *shardListener, err error) {
	l := &shardListener{}
	l.http, err = bridge.NewShardListener(bridge.ShardListenerOptions{
		Config: c, Version: readBuild().version, File: file, Outdated: outdated, Log: log,
		Alive: func(within time.Duration) bool {
			d := l.dir.Load()
			return d == nil || d.IsSharing(within)
		},
		Standby: func() bool { d := l.dir.Load(); return d != nil && d.IsMember() },
		Ignored: func() uint64 {
			if r := l.receiver.Load(); r != nil {
				return r.Ignored()
			}
			return 0
		},
	})
	if err != nil {
		return nil, err
	}
	l.changes, l.end = changes.subscribe()
	return l, nil
}

// open offers what needs the state.
func (l *shardListener) open(dir *state.Dir) {
	l.dir.Store(dir)
	l.http.Open(dir)
}

// start runs the listener until end is called. The returned context is done, too, if the listener fails; end returns its error.
func (l *shardListener) start(ctx context.Context) (_ context.Context, end func() error) {
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- l.http.Run(listening, l.changes)
	}()
	return ctx, func() error {
		stop()
		defer cancel()
		defer l.end()
		return <-ended
	}
}
