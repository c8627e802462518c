package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/caldav"
	"github.com/graph2mqtt/graph2mqtt/internal/web/metrics"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
)

// ShardListenerOptions configure a ShardListener.
type ShardListenerOptions struct {
	Config  *config.Config
	Version string
	File    *ConfigFile // of Config
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

// A ShardListener is the HTTP listener of a process with a bridge for each of its shards. It offers the health checks, the metrics and the
// profiles of the process, and the status page and the calendars of all accounts: what is about an account is answered by the bridge that
// has its shard, in this process or on another machine.
type ShardListener struct {
	options  ShardListenerOptions
	log      *slog.Logger
	started  time.Time
	shards   *page.Shards
	listener *listener // nil: none is configured; Run's

	opened    chan struct{} // closed when what follows is set
	dir       *state.Dir
	links     *page.Links
	passwords *caldav.Credentials // of calendar clients

	mu        sync.Mutex
	bridges   map[*Bridge]*shardBridge
	metrics   *metrics.Handler // nil: they are not configured
	http      config.HTTP      // of the running listener
	config    *config.Config   // with it
	applied   time.Time        // when config was set
	unapplied bool             // the newest listener could not be made
}

// A shardBridge is a bridge of the process.
type shardBridge struct {
	detach  func()             // ends its metrics; nil: it has none
	handler http.Handler       // answers requests about its accounts; nil: no listener is configured
	cancel  context.CancelFunc // cancels the requests of handler; nil: there is no handler
	stop    func()             // ends answering requests that other machines received, and waits for them; nil: it does not answer them
}

// NewShardListener returns the configured listener, which holds its address until Run returns.
func NewShardListener(o ShardListenerOptions) (_ *ShardListener, err error) {
	l := &ShardListener{
		options: o, log: o.Log.With("component", "http"), started: time.Now(), opened: make(chan struct{}), bridges: map[*Bridge]*shardBridge{}, config: o.Config, applied: time.Now(),
	}
	l.shards = page.NewShards(page.ShardsOptions{Count: o.Config.Cluster.Shards, Accounts: l.accounts, Do: l.do, Problem: l.problem, Log: l.log})
	if l.listener, err = l.listen(o.Config.HTTP); err != nil {
		return nil, err
	}
	o.File.setRunning(o.Config, nil)
	return l, nil
}

// Open offers the status page and the calendars from now on. It is called once, before a bridge is added.
func (l *ShardListener) Open(dir *state.Dir) {
	l.dir, l.links, l.passwords = dir, OpenSignInLinks(dir, l.options.Log), OpenCalendarPasswords(dir, l.options.Log)
	close(l.opened)
}

// isOpen reports whether Open was called.
func (l *ShardListener) isOpen() bool {
	select {
	case <-l.opened:
		return true
	default:
		return false
	}
}

// Add adds the bridge of a shard before it runs. The returned function removes it when it has ended.
func (l *ShardListener) Add(b *Bridge) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	added := &shardBridge{}
	l.bridges[b] = added
	if l.metrics != nil {
		added.detach = b.attach(l.metrics)
	}
	l.serve(b, added)
	removeFile := l.options.File.addShard(b.options.File)
	return func() {
		removeFile()
		l.mu.Lock()
		if added.detach != nil {
			added.detach()
		}
		wait := added.end()
		delete(l.bridges, b)
		l.mu.Unlock()
		wait()
	}
}

// serve has a bridge answer requests about its accounts if a listener is configured. The caller holds l.mu.
func (l *ShardListener) serve(b *Bridge, served *shardBridge) {
	if l.http.Listen == "" {
		return
	}
	handler, err := b.handler(l.http, l.links, l.passwords)
	if err == nil {
		running, cancel := context.WithCancel(context.Background())
		served.handler, served.cancel = until(running, handler), cancel
		served.stop, err = answerRequests(l.dir, b.options.Shard, b.holdsShard, served.handler, b.log.With("component", "http"))
	}
	if err != nil {
		b.log.Error("requests that other machines receive are not answered", "error", err)
	}
}

// until returns a handler whose requests are canceled when a context is done. From then on it answers none.
func until(running context.Context, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if running.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), relayTimeout)
		defer cancel()
		defer context.AfterFunc(running, cancel)()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// end has the bridge answer no more requests about its accounts. wait waits for those that have begun, which may want to store something: no
// lock is held meanwhile.
func (s *shardBridge) end() (wait func()) {
	if wait = s.stop; wait == nil {
		wait = func() {}
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.handler, s.cancel, s.stop = nil, nil, nil
	return wait
}

// do has the bridge of a shard answer a request.
func (l *ShardListener) do(shard int, r *http.Request) (*web.RecordedResponse, error) {
	if !l.isOpen() {
		return nil, errNotOpen
	}
	if h := l.handlerOf(shard); h != nil {
		response := web.Record(h, r, l.log)
		if response.Status == 0 {
			return nil, errMoving
		}
		return response, nil
	}
	response, err := askRequest(l.dir, shard, r)
	if errors.Is(err, state.ErrUnanswered) { // without NATS, the leases expire and no machine has a shard
		err = cmp.Or(l.dir.Unusable(), err)
	}
	return response, err
}

// problem returns why this machine cannot use the shared state; nil: it can, or waits for it in the beginning, when there is no page.
func (l *ShardListener) problem() error {
	if !l.isOpen() {
		return nil
	}
	return l.dir.Unusable()
}

// errNotOpen is the error of requests before Open.
var errNotOpen = errors.New("the shared state cannot be reached yet, see the log")

// handlerOf returns the handler of a shard; nil: this process does not have it.
func (l *ShardListener) handlerOf(shard int) http.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b, served := range l.bridges {
		if b.options.Shard == shard {
			return served.handler
		}
	}
	return nil
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
	applied, refused := after, error(nil)
	if config.Diff(l.config, after).Has("http") {
		var err error
		if l.listener, applied, refused, err = replaceListener(l.listener, l.config, after, l.listen, l.options.Log); err != nil {
			return err
		}
		l.listener.start(ctx, work)
	}
	l.mu.Lock()
	before := l.unapplied
	l.config, l.applied, l.unapplied = applied, time.Now(), refused != nil
	l.mu.Unlock()
	l.options.File.setRunning(applied, config.Diff(l.options.Config, applied).Restart)
	switch {
	case refused != nil:
		l.options.File.Report(refused)
	case before:
		l.log.Info("HTTP listener as configured again")
	}
	return nil
}

// listen returns the configured listener, which holds its address; nil if none is configured.
func (l *ShardListener) listen(c config.HTTP) (*listener, error) {
	m, err := l.setMetrics(c.Listen != "" && c.Metrics)
	if err != nil {
		return nil, err
	}
	var made *listener
	if c.Listen != "" {
		if made, err = newListener(c, l.isHealthy, l.isReady, m, l.options.Log); err != nil {
			return nil, err
		}
		l.mount(made, c)
	}
	l.mu.Lock()
	l.http = c
	var ending []func()
	for b, served := range l.bridges {
		ending = append(ending, served.end())
		l.serve(b, served)
	}
	l.mu.Unlock()
	for _, wait := range ending {
		wait()
	}
	return made, nil
}

// mount adds the status page and the calendars of all accounts to a listener.
func (l *ShardListener) mount(to *listener, c config.HTTP) {
	statusPage := sync.OnceValues(func() (*page.StatusPage, error) { return l.newPage(c, to.server.Addr()) })
	pagePart := func(part func(*page.StatusPage) http.Handler) http.Handler {
		return l.whenOpen(func() (http.Handler, error) {
			p, err := statusPage()
			if err != nil {
				return nil, err
			}
			return part(p), nil
		})
	}
	to.server.Mount("/", web.Page, pagePart(func(p *page.StatusPage) http.Handler { return p }))
	to.server.Mount(SignInPath, web.Open, pagePart((*page.StatusPage).SignInFiles))
	to.server.Mount(page.SignInAPIPath, web.Delegated, pagePart((*page.StatusPage).SignInAPI))
	to.tasks = append(to.tasks, l.task(l.shards.Run), l.task(func(ctx context.Context) error { return l.links.Run(ctx, l.signedInAt) }))
	if !c.Calendars {
		return
	}
	server := sync.OnceValue(func() http.Handler {
		return caldav.New(caldav.Options{
			Collections: func(account string) ([]caldav.Collection, bool, error) {
				_, ok := l.account(account)
				return nil, ok, nil
			},
			Forward: func(account string, r *http.Request) (*web.RecordedResponse, error) {
				return l.do(l.options.Config.Cluster.ShardOf(account), r)
			},
			Credentials: l.passwords, Prefix: pathPrefix(c), Log: l.options.Log.With("component", "caldav"),
		})
	})
	for _, pattern := range caldav.Patterns() {
		to.server.Mount(pattern, web.Delegated, l.whenOpen(func() (http.Handler, error) { return server(), nil }))
	}
	to.tasks = append(to.tasks, l.task(func(ctx context.Context) error { return l.passwords.Run(ctx) }))
}

// newPage returns the status page of all shards for a listener.
func (l *ShardListener) newPage(c config.HTTP, address string) (*page.StatusPage, error) {
	o := page.Options{
		Version: l.options.Version, Started: l.started, Log: l.log, Configuration: l.options.File, Account: l.account, Links: l.links, Shards: l.shards,
		Root: func(base string) string { return rootURL(base, c.ExternalURL, address) },
	}
	if c.Calendars {
		o.Calendars = calendars{l.passwords, c.ExternalURL, address}
	}
	p, err := page.New(o)
	if err != nil {
		return nil, err
	}
	l.options.File.setOnChange(p.Notify)
	return p, nil
}

// whenOpen returns a handler that answers with another one after Open.
func (l *ShardListener) whenOpen(handler func() (http.Handler, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := errNotOpen
		if l.isOpen() {
			var h http.Handler
			if h, err = handler(); err == nil {
				h.ServeHTTP(w, r)
				return
			}
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	})
}

// task returns a task of a listener that begins after Open.
func (l *ShardListener) task(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-l.opened:
			return run(ctx)
		}
	}
}

// currentConfig returns the configuration with the running listener.
func (l *ShardListener) currentConfig() *config.Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config
}

// accounts returns the accounts of all shards.
func (l *ShardListener) accounts() []page.ConfiguredAccount {
	c := l.currentConfig()
	all := make([]page.ConfiguredAccount, 0, len(c.Accounts))
	for id, a := range c.Accounts {
		all = append(all, page.ConfiguredAccount{ID: id, Name: a.Name, Application: a.Application, Shard: c.Cluster.ShardOf(id)})
	}
	return all
}

// account returns what the configuration has of an account.
func (l *ShardListener) account(id string) (page.AccountInfo, bool) {
	a, ok := l.currentConfig().Accounts[id]
	if !ok {
		return page.AccountInfo{}, false
	}
	return page.AccountInfo{Application: a.Application}, true
}

// signedInAt returns the time of the last sign-in to an account, the zero time if no user is signed in or another machine has the account.
func (l *ShardListener) signedInAt(account string) time.Time {
	for _, b := range l.running() {
		if at := b.signedInAt(account); !at.IsZero() {
			return at
		}
	}
	return time.Time{}
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
		for b, served := range l.bridges {
			served.detach = b.attach(l.metrics)
		}
	case !wanted && l.metrics != nil:
		for _, served := range l.bridges {
			served.detach()
			served.detach = nil
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

// lastReload returns when the newest configuration was passed on to the bridges, and whether it is in use, by all of them.
func (l *ShardListener) lastReload() (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied, !l.unapplied && !l.options.Outdated() && !l.options.File.isRefused()
}
