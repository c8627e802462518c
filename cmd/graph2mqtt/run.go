package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	stdruntime "runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

func (p *program) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the bridge in the foreground",
		Long: "run publishes the accounts until SIGINT or SIGTERM. Accounts that are not signed in are offline until you sign in on the status\n" +
			"page, or run graph2mqtt login ACCOUNT in another terminal. Changes to the configuration file and to the files of accounts are\n" +
			"applied automatically; SIGHUP also reloads them.\n\n" +
			"With --listen (or http.listen) it serves the status page. If there is no configuration, the page asks for one and writes the file,\n" +
			"and run continues with it. Any address but a loopback address needs a password: set GRAPH2MQTT_HTTP__PASSWORD or http.password.",
		Example: "  graph2mqtt run --config graph2mqtt.yaml\n" +
			"  graph2mqtt run --listen 127.0.0.1:8099\n" +
			"  graph2mqtt run --log-level debug",
		Args: cobra.NoArgs,
		RunE: p.do(p.bridge),
	}
	p.listenFlag(cmd)
	return cmd
}

func (p *program) listenFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.flags.listen, "listen", "", "`address` of the status page, such as 127.0.0.1:8099; default: http.listen")
}

func (p *program) bridge(ctx context.Context, _ []string) (err error) {
	now := make(chan os.Signal, 1)
	signal.Notify(now, syscall.SIGHUP)
	defer signal.Stop(now)
	file := bridge.NewConfigFile(p.sources, runtime.Kinds(), "")
	watcher, c, err := p.firstConfig(ctx, file)
	if err != nil || c == nil {
		return err
	}
	processors := stdruntime.GOMAXPROCS(0)
	defer stdruntime.GOMAXPROCS(processors)
	p.limitProcessors(processors, len(c.Accounts))
	log, level := p.logger(c)
	var changes fanOut
	var outdated atomic.Bool // the newest configuration is invalid
	var listener *shardListener
	if c.Cluster.Shards > 1 {
		file.SetReadOnly("several machines have the same configuration (cluster.shards); change it on each of them")
		if listener, err = p.listenForShards(c, file, &changes, outdated.Load, log); err != nil {
			return err
		}
		var end func() error
		ctx, end = listener.start(ctx)
		defer func() { err = errors.Join(err, end()) }()
	}
	dir, err := p.waitForState(ctx, c, log)
	if err != nil || dir == nil {
		return err
	}
	defer dir.Close()
	reloads := make(chan *config.Config)
	var current atomic.Pointer[config.Config]
	current.Store(c)
	announce(dir, c)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		_ = watcher.Run(watching, now, func(next *config.Config, err error) {
			message := "configuration invalid, keeping the running one"
			if err == nil && c.Cluster.Shards > 1 && next.Cluster.Shards != c.Cluster.Shards { // accounts would be in other shards than their data
				message, err = "configuration not applied, keeping the running one", errShardsChanged
			}
			before := outdated.Swap(err != nil)
			if err != nil {
				log.Error(message, "error", err)
				file.Report(err)
				return
			}
			if before {
				log.Info("configuration valid again")
			}
			next.KeepAccounts(current.Load())
			logWarnings(log, current.Load(), next)
			p.limitProcessors(processors, len(next.Accounts))
			current.Store(next)
			announce(dir, next)
			if c.Cluster.Shards > 1 {
				changes.send(next)
				return
			}
			select {
			case reloads <- next:
			case <-watching.Done():
			}
		})
	})
	if c.Cluster.Shards > 1 {
		listener.open(dir)
		s := &shardServer{program: p, level: level, log: log, current: &current, changes: &changes, outdated: outdated.Load, listener: listener, connected: map[int]func() bool{}}
		return s.run(ctx, dir)
	}
	for {
		o := bridge.Options{Dir: dir, Log: log, Level: level, Reloads: reloads, Outdated: outdated.Load, File: file}
		if o.Lease, err = p.standBy(ctx, dir, log); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		o.Config = current.Load()
		err := p.serve(ctx, o)
		changed := (*brokerChangedError)(nil)
		switch {
		case errors.Is(err, state.ErrLeaseLost):
			log.Error("stopped: another machine may have the state now; standing by", "error", err)
		case errors.As(err, &changed):
			current.Store(changed.config)
		case !errors.Is(err, bridge.ErrRestart):
			return err
		}
	}
}

// errShardsChanged is the error of a new configuration with another number of shards.
var errShardsChanged = errors.New("cluster.shards was changed, which needs another bucket and a restart of all machines")

// announce announces to the other machines of a cluster which configuration this one has.
func announce(dir *state.Dir, c *config.Config) {
	if dir.IsShared() {
		dir.Announce(c.Shared())
	}
}

// A brokerChangedError ends a bridge whose broker has another address or other credentials in Home Assistant.
type brokerChangedError struct{ config *config.Config }

func (e *brokerChangedError) Error() string { return "Home Assistant has another broker" }

// stateRetryInterval separates attempts to reach the shared state at the start.
const stateRetryInterval = 5 * time.Second

// waitForState opens the state. While the servers of a cluster do not answer it waits for them; it returns nil if ctx is done first.
func (p *program) waitForState(ctx context.Context, c *config.Config, log *slog.Logger) (*state.Dir, error) {
	dir, err := openState(ctx, c, log)
	if !errors.Is(err, state.ErrUnavailable) {
		return dir, err
	}
	var last atomic.Pointer[error]
	last.Store(&err)
	defer p.reportStandby(ctx, c.StateDir, log, func() error { return fmt.Errorf("the shared state cannot be reached: %w", *last.Load()) })()
	for logged := ""; ; {
		err := *last.Load()
		if message := err.Error(); message != logged && ctx.Err() == nil {
			log.Error("the shared state cannot be reached", "error", err, "retry_in", stateRetryInterval)
			logged = message
		}
		if graph.Pause(ctx, stateRetryInterval) != nil {
			return nil, nil
		}
		dir, next := openState(ctx, c, log)
		if !errors.Is(next, state.ErrUnavailable) {
			return dir, next
		}
		last.Store(&next)
	}
}

// standBy waits until no other machine works with the shared state. It returns nil at once if the state is this machine's alone.
func (p *program) standBy(ctx context.Context, dir *state.Dir, log *slog.Logger) (*state.Lease, error) {
	if !dir.IsShared() {
		return nil, nil
	}
	defer p.reportStandby(ctx, dir.Path(), log, dir.Unusable)()
	return dir.Acquire(ctx)
}

// reportStandby reports to systemd and to `graph2mqtt health` that the program waits, until the returned function is called. unusable returns why
// the shared state cannot be used; nil: it can, or another machine has it.
func (p *program) reportStandby(ctx context.Context, dir string, log *slog.Logger, unusable func() error) (stop func()) {
	health := startHealth(dir, log, func() liveness { return standby(unusable()) })
	systemd := p.newNotifier()
	running, cancel := context.WithCancel(ctx)
	var reports sync.WaitGroup
	reports.Go(func() {
		systemd.run(running, func() string {
			if err := unusable(); err != nil {
				return "Waiting: " + err.Error()
			}
			return "Standing by"
		})
	})
	return func() {
		cancel()
		reports.Wait()
		health.close()
	}
}

// serve runs a bridge with all kinds of sensors until ctx is done, or the lease of a shared state has ended.
func (p *program) serve(ctx context.Context, o bridge.Options) (err error) {
	return p.serveSupervised(ctx, o, func(ctx context.Context, b *bridge.Bridge) (stop func()) {
		return p.supervise(ctx, b, o.Dir, o.Log)
	})
}

// serveSupervised is serve with something else that supervises the bridge.
func (p *program) serveSupervised(ctx context.Context, o bridge.Options, supervise func(context.Context, *bridge.Bridge) (stop func())) (err error) {
	o.Kinds, o.Version = runtime.Kinds(), readBuild().version
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.Lease != nil {
		defer o.Lease.Release()
		stop := context.AfterFunc(o.Lease.Context(), func() { cancel(context.Cause(o.Lease.Context())) })
		defer func() {
			stop()
			if lost := o.Lease.Err(); lost != nil { // what could not be written any more is a consequence
				err = lost
			}
		}()
	}
	if p.app != nil {
		o.OnConnectFailed = func() {
			if changed := p.app.changedBroker(ctx, o.Config); changed != nil {
				o.Log.Info("the broker of Home Assistant changed", "broker", changed.MQTT.URL)
				cancel(&brokerChangedError{changed})
			}
		}
	}
	b, err := bridge.New(o)
	if err != nil {
		return err
	}
	o.Log.Info("starting", "version", o.Version, "config", o.Config.File, "state_dir", o.Dir.Path(), "accounts", len(o.Config.Accounts))
	supervised := supervise(ctx, b)
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	released := time.AfterFunc(startDuration, func() {
		debug.FreeOSMemory()
		if err := releaseStartPages(); err != nil {
			o.Log.Debug("unused memory not released", "error", err)
		}
	})
	defer released.Stop()
	err = b.Run(ctx)
	supervised()
	o.Log.Info("stopped")
	if err == nil && isBrokerChanged(ctx) {
		return context.Cause(ctx)
	}
	return err
}

func isBrokerChanged(ctx context.Context) bool {
	return errors.As(context.Cause(ctx), new(*brokerChangedError))
}

// supervise reports the state of the bridge to systemd and to `graph2mqtt health` until the returned function is called.
func (p *program) supervise(ctx context.Context, b *bridge.Bridge, dir *state.Dir, log *slog.Logger) (stop func()) {
	health := startHealth(dir.Path(), log, func() liveness { return liveness{Broker: b.Connected()} })
	systemd := p.newNotifier()
	stopping := context.AfterFunc(ctx, func() {
		if !isBrokerChanged(ctx) && !errors.Is(context.Cause(ctx), state.ErrLeaseLost) {
			systemd.notify("STOPPING=1")
		}
	})
	// The watchdog is satisfied until the bridge has stopped.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var reports sync.WaitGroup
	reports.Go(func() {
		systemd.run(running, func() string {
			if b.Connected() {
				return "Connected to the broker"
			}
			return "Not connected to the broker"
		})
	})
	return func() {
		stopping()
		cancel()
		reports.Wait()
		health.close()
	}
}

// gcPercent is the growth of the heap in percent at which the garbage collector runs. With 12 sensors it saves 2 MiB compared with Go's
// default of 100, and the collector takes less than 1 % of a processor.
const gcPercent = 60

// startDuration is the time after which a bridge has done what it does once.
const startDuration = 20 * time.Second

// accountsPerProcessor is the number of accounts for which the bridge uses one more processor. Idle processors take part in each
// garbage collection, which costs a bridge that mostly waits a quarter of its CPU time.
const accountsPerProcessor = 10

// limitProcessors makes the bridge use up to limit processors, as many as its accounts need.
func (p *program) limitProcessors(limit, accounts int) {
	if p.environment("GOMAXPROCS") == "" {
		stdruntime.GOMAXPROCS(min(limit, 1+accounts/accountsPerProcessor))
	}
}

func (p *program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the configuration",
		Long: "check prints every problem of the configuration and exits with 1. If the configuration is valid, it prints nothing and exits with 0.\n" +
			"It reads the files that the configuration names, and the key of the state directory where run would look for it, so start it as the\n" +
			"same user and with the same environment variables. It connects to nothing and creates nothing.",
		Example: "  graph2mqtt check\n" +
			"  graph2mqtt check --config graph2mqtt.yaml && systemctl restart graph2mqtt",
		Args: cobra.NoArgs,
		RunE: p.do(func(context.Context, []string) error {
			c, err := p.load()
			var problems config.Problems
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			if err == nil {
				problems = append(c.AccountProblems(), c.TokenProblems()...)
				problems.Sort()
			}
			for _, problem := range problems {
				fmt.Fprintln(p.stdout, problem)
			}
			if err == nil {
				if err = state.CheckKey(c.StateDir, c.KeyFile, c.Cluster.IsConfigured()); err != nil {
					fmt.Fprintln(p.stdout, err)
				}
			}
			if err != nil || len(problems) > 0 {
				return &reportedError{exitUsage}
			}
			return nil
		}),
	}
}
