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

func (p *program) bridge(ctx context.Context, _ []string) error {
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
	dir, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return err
	}
	reloads := make(chan *config.Config)
	var current atomic.Pointer[config.Config]
	current.Store(c)
	var outdated atomic.Bool // the newest configuration is invalid
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		_ = watcher.Run(watching, now, func(next *config.Config, err error) {
			outdated.Store(err != nil)
			if err != nil {
				log.Error("configuration invalid, keeping the running one", "error", err)
				file.Report(err)
				return
			}
			next.KeepAccounts(current.Load())
			logWarnings(log, next)
			p.limitProcessors(processors, len(next.Accounts))
			current.Store(next)
			select {
			case reloads <- next:
			case <-watching.Done():
			}
		})
	})
	for {
		err := p.serve(ctx, bridge.Options{Config: current.Load(), Dir: dir, Log: log, Level: level, Reloads: reloads, Outdated: outdated.Load, File: file})
		changed := (*brokerChangedError)(nil)
		switch {
		case errors.As(err, &changed):
			current.Store(changed.config)
		case !errors.Is(err, bridge.ErrRestart):
			return err
		}
	}
}

// A brokerChangedError ends a bridge whose broker has another address or other credentials in Home Assistant.
type brokerChangedError struct{ config *config.Config }

func (e *brokerChangedError) Error() string { return "Home Assistant has another broker" }

// serve runs a bridge with all kinds of sensors until ctx is done.
func (p *program) serve(ctx context.Context, o bridge.Options) error {
	o.Kinds, o.Version = runtime.Kinds(), readBuild().version
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
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
	supervised := p.supervise(ctx, b, o.Dir, o.Log)
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	released := time.AfterFunc(startDuration, func() {
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
		if !isBrokerChanged(ctx) {
			systemd.notify("STOPPING=1")
		}
	})
	// The watchdog is satisfied until the bridge has stopped.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var reports sync.WaitGroup
	reports.Go(func() { systemd.run(running, b.Connected) })
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
		Long:  "check prints every problem of the configuration and exits with 1. If the configuration is valid, it prints nothing and exits with 0.",
		Example: "  graph2mqtt check\n" +
			"  graph2mqtt check --config graph2mqtt.yaml && systemctl restart graph2mqtt",
		Args: cobra.NoArgs,
		RunE: p.do(func(context.Context, []string) error {
			c, err := p.load()
			var problems config.Problems
			if err == nil {
				problems = c.AccountProblems()
			}
			if errors.As(err, &problems) || len(problems) > 0 {
				for _, problem := range problems {
					fmt.Fprintln(p.stdout, problem)
				}
				return &reportedError{exitUsage}
			}
			return err
		}),
	}
}
