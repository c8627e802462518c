package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/metrics"
)

// ShardListenerOptions configure a ShardListener.
type ShardListenerOptions struct {
	Config  *config.Config
	Version string
	// Alive reports whether what takes shards and gives them up has run within a time.
	Alive func(within time.Duration) bool
	// Standby reports whether the process is ready while it has no shard.
	Standby func() bool
	// Ignored returns how many notifications were ignored because they are of no shard.
	Ignored func() uint64
	// Outdated reports whether a newer configuration exists that could not be loaded.
	Outdated func() bool
	Log      *slog.Logger
}

// A ShardListener is the HTTP listener of a process with a bridge for each of its shards: the health checks, the metrics of all and the
// profiles. What is about accounts, such as the status page, is not available, because another machine has the others.
type ShardListener struct {
	options  ShardListenerOptions
	listener *listener // nil: none is configured; Run's

	mu        sync.Mutex
	bridges   map[*Bridge]func() // how to detach its metrics; nil: it has none
	metrics   *metrics.Handler   // nil: they are not configured
	config    *config.Config     // with the running listener
	applied   time.Time          // when config was set
	unapplied bool               // the newest listener could not be made
}

// NewShardListener returns the configured listener, which holds its address until Run returns.
func NewShardListener(o ShardListenerOptions) (_ *ShardListener, err error) {
	l := &ShardListener{options: o, bridges: map[*Bridge]func(){}, config: o.Config, applied: time.Now()}
	if l.listener, err = l.listen(o.Config.HTTP); err != nil {
		return nil, err
	}
	return l, nil
}

// Add adds the bridge of a shard before it runs. The returned function removes it when it has ended.
func (l *ShardListener) Add(b *Bridge) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bridges[b] = nil
	if l.metrics != nil {
		l.bridges[b] = b.attach(l.metrics)
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if detach := l.bridges[b]; detach != nil {
			detach()
		}
		delete(l.bridges, b)
	}
}

// Run answers requests until ctx is done, and replaces the listener when a new configuration has another one.
func (l *ShardListener) Run(ctx context.Context, changes <-chan *config.Config) error {
	work, ctx := errgroup.WithContext(ctx)
	l.listener.start(ctx, work)
	work.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case after := <-changes:
				if err := l.apply(ctx, work, after); err != nil {
					return err
				}
			}
		}
	})
	return work.Wait()
}

// apply replaces the listener if that of a new configuration is another one.
func (l *ShardListener) apply(ctx context.Context, work *errgroup.Group, after *config.Config) error {
	applied := after
	if config.Diff(l.config, after).Has("http") {
		var err error
		if l.listener, applied, err = replaceListener(l.listener, l.config, after, l.listen, l.options.Log); err != nil {
			return err
		}
		l.listener.start(ctx, work)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.config, l.applied, l.unapplied = applied, time.Now(), applied != after
	return nil
}

// listen returns the configured listener, which holds its address; nil if none is configured.
func (l *ShardListener) listen(c config.HTTP) (*listener, error) {
	m, err := l.setMetrics(c.Listen != "" && c.Metrics)
	if err != nil || c.Listen == "" {
		return nil, err
	}
	made, err := newListener(c, l.isHealthy, l.isReady, m, l.options.Log)
	if err != nil {
		return nil, err
	}
	made.server.Mount("/", web.Open, http.HandlerFunc(explainNoPage))
	return made, nil
}

// explainNoPage answers requests for the status page and the calendars.
func explainNoPage(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "The status page and the calendars are not available with several shards (cluster.shards): this machine has only a part of the accounts.\n"+
		"Sign in with graph2mqtt login ACCOUNT on any machine. Health checks are at /healthz and /readyz, metrics at /metrics if http.metrics is set.", http.StatusNotFound)
}

// setMetrics makes or drops the metrics of all bridges. They count on when the listener is replaced.
func (l *ShardListener) setMetrics(wanted bool) (_ *metrics.Handler, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case wanted && l.metrics == nil:
		l.metrics, err = metrics.New(metrics.Options{Version: l.options.Version, Log: l.options.Log, Sharded: true, Reload: l.lastReload, Ignored: l.options.Ignored})
		if err != nil {
			return nil, fmt.Errorf("make the metrics: %w", err)
		}
		for b := range l.bridges {
			l.bridges[b] = b.attach(l.metrics)
		}
	case !wanted && l.metrics != nil:
		for b, detach := range l.bridges {
			detach()
			l.bridges[b] = nil
		}
		l.metrics = nil
	}
	return l.metrics, nil
}

// running returns the bridges.
func (l *ShardListener) running() []*Bridge {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Bridge, 0, len(l.bridges))
	for b := range l.bridges {
		all = append(all, b)
	}
	return all
}

// isHealthy reports whether the main loops of the process and of all bridges run.
func (l *ShardListener) isHealthy() bool {
	return l.options.Alive(maxUpkeepAge) && !slices.ContainsFunc(l.running(), func(b *Bridge) bool { return !b.isHealthy() })
}

// isReady reports whether all bridges are ready, or the process is without any.
func (l *ShardListener) isReady() bool {
	all := l.running()
	if len(all) == 0 {
		return l.options.Standby()
	}
	return !slices.ContainsFunc(all, func(b *Bridge) bool { return !b.isReady() })
}

// lastReload returns when the newest configuration was passed on to the bridges, and whether it is in use.
func (l *ShardListener) lastReload() (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied, !l.unapplied && !l.options.Outdated()
}
