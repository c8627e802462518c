package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/pprof"
	stdruntime "runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/metrics"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// maxUpkeepAge is the longest time between two iterations of the main loop, which runs at least once in healthInterval.
const maxUpkeepAge = 3 * healthInterval

// A listener is the HTTP listener with its parts.
type listener struct {
	server *web.Server
	tasks  []func(ctx context.Context) error // of parts that run beside the server; they return nil when ctx is done
	stop   context.CancelFunc
	ended  chan struct{}
}

// listen returns the configured listener, which holds its address; nil if none is configured.
func (b *Bridge) listen(c config.HTTP) (_ *listener, err error) {
	if c.Listen == "" {
		return nil, b.setMetrics(false)
	}
	if err := b.setMetrics(c.Metrics); err != nil {
		return nil, err
	}
	l, err := newListener(c, b.isHealthy, b.isReady, b.metrics.Load(), b.log)
	if err != nil {
		return nil, err
	}
	if c.Calendars {
		b.mountCalendars(l, c)
	}
	if err := b.mountPage(l, c); err != nil {
		return nil, errors.Join(err, l.server.Close())
	}
	return l, nil
}

// newListener returns a listener with the health checks, the profiles, and the metrics unless m is nil.
func newListener(c config.HTTP, healthy, ready func() bool, m *metrics.Handler, log *slog.Logger) (_ *listener, err error) {
	o, err := serverOptions(c)
	if err != nil {
		return nil, err
	}
	o.Healthy, o.Ready, o.Log = healthy, ready, log.With("component", "http")
	if m != nil {
		o.OnRequest = m.Served
	}
	l := &listener{}
	if l.server, err = web.New(o); err != nil {
		return nil, err
	}
	if m != nil {
		l.server.Mount("/metrics", web.Secret, m)
	}
	if c.Pprof {
		mountProfiles(l.server)
	}
	return l, nil
}

// serverOptions returns what the configuration tells of a listener.
func serverOptions(c config.HTTP) (web.Options, error) {
	o := web.Options{Listen: c.Listen, Password: c.Password.Reveal(), ExternalURL: c.ExternalURL, Hosts: c.Hosts, Ingress: c.Ingress}
	if c.TLSCertFile != "" {
		pair, err := config.ReadServerCertificate(c.TLSCertFile, c.TLSKeyFile)
		if err != nil {
			return o, config.At("http", err)
		}
		o.Certificate = &pair
	}
	return o, nil
}

// memProfileRate is the memory in bytes of which one allocation is recorded for profiles: Go's default.
const memProfileRate = 512 << 10

// mountProfiles mounts the profiles. Importing their package has added them to http.DefaultServeMux, too, which must not be served. The
// program records allocations only from then on.
func mountProfiles(s *web.Server) {
	if stdruntime.MemProfileRate == 0 {
		stdruntime.MemProfileRate = memProfileRate
	}
	for name, h := range map[string]http.HandlerFunc{"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace} {
		s.Mount("/debug/pprof/"+name, web.Secret, h)
	}
}

// setMetrics makes or drops the metrics. They count on when the listener is replaced.
func (b *Bridge) setMetrics(wanted bool) error {
	switch present := b.metrics.Load(); {
	case wanted && present == nil:
		m, err := metrics.New(metrics.Options{Version: b.options.Version, Log: b.log})
		if err != nil {
			return fmt.Errorf("make the metrics: %w", err)
		}
		b.attach(m)
	case !wanted && present != nil:
		b.hub.OnPoll(nil)
		b.metrics.Store(nil)
	}
	return nil
}

// attach has m count what happens in the bridge, until the returned function is called.
func (b *Bridge) attach(m *metrics.Handler) (detach func()) {
	s := metrics.Source{Devices: b.hub, Accounts: b.accountMetrics, Broker: b.brokerMetrics, Waiting: b.dispatcher.Waiting, Reload: b.lastReload}
	if b.currentConfig().Notifications.Enabled() {
		s.Notifications = b.runtime.Notified
	}
	remove := m.Add(s)
	b.metrics.Store(m)
	b.hub.OnPoll(m.Polled)
	return func() {
		b.hub.OnPoll(nil)
		b.metrics.Store(nil)
		remove()
	}
}

// onExchange counts a request to Graph.
func (b *Bridge) onExchange(account, method string, status int, took time.Duration) {
	if m := b.metrics.Load(); m != nil {
		m.Exchanged(account, method, status, took)
	}
}

// onResponse counts a response.
func (b *Bridge) onResponse(target services.Ref, operation string, r services.Response) {
	if m := b.metrics.Load(); m != nil {
		m.Answered(target, operation, r)
	}
}

func (b *Bridge) accountMetrics() []metrics.AccountConnection {
	var all []metrics.AccountConnection
	for _, a := range b.runtime.AccountStats() {
		all = append(all, metrics.AccountConnection{ID: a.ID, SignInExpires: a.SignInExpires, ThrottledFor: a.Graph.ThrottledFor})
	}
	return all
}

func (b *Bridge) brokerMetrics() metrics.BrokerConnection {
	s := b.mqtt.Stats()
	return metrics.BrokerConnection{Connected: s.Connected, Connects: s.Connections, Published: s.Published}
}

// lastReload returns when the running configuration was set, and whether it is the newest, with every file of an account.
func (b *Bridge) lastReload() (loaded time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.configured, !b.unapplied && len(b.config.RefusedFiles) == 0 && (b.options.Outdated == nil || !b.options.Outdated())
}

// start runs the listener in work until ctx is done or close is called.
func (l *listener) start(ctx context.Context, work *errgroup.Group) {
	if l == nil {
		return
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.ended = make(chan struct{})
	work.Go(func() error {
		defer close(l.ended)
		defer l.stop()
		parts, partsContext := errgroup.WithContext(ctx)
		for _, task := range l.tasks {
			parts.Go(func() error { return task(partsContext) })
		}
		parts.Go(func() error { return l.server.Run(partsContext) })
		return parts.Wait()
	})
}

// abandon frees the address of a listener that was not started.
func (l *listener) abandon() error {
	if l == nil {
		return nil
	}
	return l.server.Close()
}

// close stops the listener and waits for it.
func (l *listener) close() {
	if l != nil {
		l.stop()
		<-l.ended
	}
}

// replaceListener replaces the listener with that of another configuration, which it returns. If that one cannot listen, it returns the
// configuration with the listener as it was, and the reason.
func (b *Bridge) replaceListener(ctx context.Context, work *errgroup.Group, after *config.Config) (applied *config.Config, refused, err error) {
	b.listener, applied, refused, err = replaceListener(b.listener, b.config, after, b.listen, b.log)
	if err == nil {
		b.listener.start(ctx, work)
	}
	return applied, refused, err
}

// replaceListener closes the listener of a configuration and makes that of another one. If that one cannot listen, it returns the
// configuration with the listener as it was, and the reason.
func replaceListener(running *listener, before, after *config.Config, listen func(config.HTTP) (*listener, error), log *slog.Logger) (_ *listener, applied *config.Config, refused, err error) {
	running.close()
	next, refused := listen(after.HTTP)
	if refused == nil {
		return next, after, nil, nil
	}
	log.Error("HTTP listener not changed, keeping the running one", "error", refused)
	changed := *after
	changed.HTTP, changed.Digests = before.HTTP, maps.Clone(after.Digests)
	delete(changed.Digests, "http")
	if digest, ok := before.Digests["http"]; ok {
		changed.Digests["http"] = digest
	}
	if next, err = listen(changed.HTTP); err != nil {
		return nil, nil, nil, errors.Join(refused, err)
	}
	return next, &changed, refused, nil
}

// isHealthy reports whether the main loop runs, or has not begun yet.
func (b *Bridge) isHealthy() bool {
	last := b.started
	if upkeep := b.lastUpkeep.Load(); upkeep != nil {
		last = *upkeep
	}
	return time.Since(last) < maxUpkeepAge
}

// isReady reports whether the broker is connected and every account has tried to read.
func (b *Bridge) isReady() bool { return b.mqtt.Stats().Connected && b.runtime.Polled() }
