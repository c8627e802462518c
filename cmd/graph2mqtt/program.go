package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A program is one invocation of graph2mqtt.
type program struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stdout is one
	appPaths       appPaths
	app            *app // nil: this is no app of Home Assistant

	flags struct{ config, stateDir, logLevel, logFormat, listen string }
}

func (p *program) root() *cobra.Command {
	showVersion := false
	root := &cobra.Command{
		Use:   "graph2mqtt",
		Short: "Microsoft 365 over MQTT, for Home Assistant",
		Long: "graph2mqtt reads Microsoft 365 accounts through Microsoft Graph, publishes them over MQTT with Home Assistant discovery, and lets\n" +
			"you control them from Home Assistant. Without a command it runs the bridge.",
		Example: "  graph2mqtt demo\n" +
			"  graph2mqtt login work\n" +
			"  graph2mqtt --config /etc/graph2mqtt/graph2mqtt.yaml",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: p.do(func(ctx context.Context, args []string) error {
			if showVersion {
				return p.printVersion()
			}
			return p.bridge(ctx, args)
		}),
	}
	p.listenFlag(root)
	root.Flags().BoolVar(&showVersion, "version", false, "print the versions of the program, of Go and of Microsoft's SDK")
	f := root.PersistentFlags()
	f.StringVar(&p.flags.config, "config", "", "configuration `file`; default: graph2mqtt.yaml in the working directory, ~/.config/graph2mqtt or /etc/graph2mqtt")
	f.StringVar(&p.flags.stateDir, "state-dir", "", "`directory` for sign-ins and requests; default: $STATE_DIRECTORY, /var/lib/graph2mqtt for a configuration in /etc/graph2mqtt, or ~/.local/state/graph2mqtt")
	f.StringVar(&p.flags.logLevel, "log-level", "", "`level`: debug, info, warn or error")
	f.StringVar(&p.flags.logFormat, "log-format", "", "`format`: text or json")
	for name, values := range map[string][]string{"log-level": {"debug", "info", "warn", "error"}, "log-format": {"text", "json"}} {
		must(root.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
	}
	must(root.MarkPersistentFlagFilename("config", "yaml", "yml", "toml", "json"))
	must(root.MarkPersistentFlagDirname("state-dir"))
	root.SetHelpCommand(helpCommand())
	root.AddCommand(p.runCommand(), p.checkCommand(), p.healthCommand(), p.initCommand(), p.loginCommand(), p.linkCommand(), p.logoutCommand(), p.accountsCommand(),
		p.permissionsCommand(), p.discoverCommand(), p.dashboardCommand(), p.migrateCommand(), p.callCommand(), p.calendarsCommand(), p.watchCommand(),
		p.configCommand(), p.stateCommand(), p.demoCommand(), p.simulateCommand(), p.versionCommand())
	root.SetOut(p.stdout) // the completion command keeps it
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = cobra.ArbitraryArgs, runParent
		}
	}
	return root
}

// helpCommand returns cobra's help command, except that it fails for a command that does not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Example: "  graph2mqtt help login\n  graph2mqtt help config schema",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			parent, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var all []cobra.Completion
			for _, c := range parent.Commands() {
				if c.IsAvailableCommand() {
					all = append(all, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return all, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return fmt.Errorf("unknown command %q for %q", rest[0], found.CommandPath())
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// must panics on mistakes in the declaration of a command.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// do wraps the errors of a command, so that they differ from those that cobra finds in the arguments.
func (p *program) do(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return &commandError{err}
		}
		return nil
	}
}

// optionalArgs accepts at most n arguments. If one is missing, the command lists the possible values.
func optionalArgs(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("unexpected argument %q", args[n])
		}
		return nil
	}
}

// sources returns the sources of the configuration.
func (p *program) sources() config.Sources {
	s := config.Sources{File: p.configFile(), Environ: p.environ, Flags: map[string]any{}, Root: os.Geteuid() == 0}
	for path, value := range map[string]string{"state_dir": p.flags.stateDir, "log.level": p.flags.logLevel, "log.format": p.flags.logFormat, "http.listen": p.flags.listen} {
		if value != "" {
			s.Flags[path] = value
		}
	}
	if p.app != nil {
		s.Defaults = p.app.defaults()
	}
	return s
}

// configFile returns the configuration file that is named, or that of an app; "" if the usual directories are searched.
func (p *program) configFile() string {
	file := cmp.Or(p.flags.config, p.environment("GRAPH2MQTT_CONFIG"))
	if file == "" && p.app != nil {
		return p.app.paths.config
	}
	return file
}

// load loads the configuration. If it lacks a broker, or there is none yet, an app of Home Assistant asks for the broker that Home Assistant
// uses.
func (p *program) load() (*config.Config, error) {
	c, err := p.loadOnce()
	if err == nil || p.app == nil {
		return c, err
	}
	missing := missingBroker(err)
	if missing == nil { // the form for the first configuration asks for a broker unless there is one
		if s := p.sources(); !s.Missing() || s.Broker() != "" {
			return nil, err
		}
	}
	if p.app.findBroker(context.Background()) {
		return p.loadOnce()
	}
	if missing != nil {
		p.app.explainMissingBroker(missing)
	}
	return nil, err
}

func (p *program) loadOnce() (*config.Config, error) {
	if p.app != nil {
		if _, err := p.app.readOptions(); err != nil {
			return nil, err
		}
	}
	return runtime.Load(p.sources(), runtime.Kinds())
}

// logger returns the logger that the configuration describes.
func (p *program) logger(c *config.Config) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	must(level.UnmarshalText([]byte(c.Log.Level))) // checked when it was loaded
	o := &slog.HandlerOptions{Level: level}
	log := slog.New(slog.NewTextHandler(p.stderr, o))
	if c.Log.Format == "json" {
		log = slog.New(slog.NewJSONHandler(p.stderr, o))
	}
	logWarnings(log, &config.Config{}, c)
	return log, level
}

// quietLogger returns the logger of a command that reports failures itself: only --log-level makes it log anything but warnings about
// the configuration and errors.
func (p *program) quietLogger(c *config.Config) (*slog.Logger, *slog.LevelVar) {
	log, level := p.logger(c)
	if p.flags.logLevel == "" {
		level.Set(slog.LevelError)
	}
	return log, level
}

// logWarnings logs the warnings about a loaded configuration that the one before did not cause.
func logWarnings(log *slog.Logger, before, c *config.Config) {
	for _, warning := range c.Warnings {
		if !slices.Contains(before.Warnings, warning) {
			log.Warn("configuration warning", "warning", warning)
		}
	}
	for _, f := range c.RefusedFiles {
		if slices.ContainsFunc(before.RefusedFiles, f.Equal) {
			continue
		}
		message := "account file invalid, the account does not run"
		if f.Running {
			message = "account file invalid, keeping the running account"
		}
		log.Error(message, "account", f.Account, "file", f.Name, "error", f.Problems)
	}
	for _, ignored := range c.Ignored {
		log.Debug("environment variable ignored", "variable", ignored)
	}
}

// account returns the account that an argument names.
func account(c *config.Config, id string) (*config.Account, error) {
	if a, ok := c.Accounts[id]; ok {
		return a, nil
	}
	for _, f := range c.RefusedFiles {
		if f.Account == id {
			return nil, f.Problems
		}
	}
	return nil, &usageError{fmt.Sprintf("there is no account %q; the configuration has: %s", id, strings.Join(slices.Sorted(maps.Keys(c.Accounts)), ", "))}
}

// loadAccount loads the configuration, and returns it and the account that the first argument names; without one, an error that lists
// the accounts.
func (p *program) loadAccount(args []string) (*config.Config, *config.Account, error) {
	c, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 {
		return nil, nil, &usageError{"want an account; the configuration has: " + strings.Join(slices.Sorted(maps.Keys(c.Accounts)), ", ")}
	}
	a, err := account(c, args[0])
	return c, a, err
}

// openState opens the state directory with the quiet logger.
func (p *program) openState(c *config.Config) (*state.Dir, *slog.Logger, error) {
	log, _ := p.quietLogger(c)
	dir, err := openState(context.Background(), c, log)
	return dir, log, err
}

// openState opens the state directory, or the state that several machines share. It waits for neither.
func openState(ctx context.Context, c *config.Config, log *slog.Logger) (*state.Dir, error) {
	if !c.Cluster.IsConfigured() {
		return state.Open(c.StateDir, c.KeyFile, log)
	}
	cluster, err := bridge.Cluster(c.Cluster)
	if err != nil {
		return nil, err
	}
	return state.OpenCluster(ctx, c.StateDir, c.KeyFile, cluster, log)
}

// session opens the sign-in of an account.
func (p *program) session(c *config.Config, a *config.Account) (*auth.Session, error) {
	dir, log, err := p.openState(c)
	if err != nil {
		return nil, err
	}
	return runtime.OpenSession(a, dir, log)
}

// environment returns the value of an environment variable.
func (p *program) environment(name string) string {
	for _, v := range slices.Backward(p.environ) {
		if n, value, ok := strings.Cut(v, "="); ok && n == name {
			return value
		}
	}
	return ""
}

// paint returns a color; none unless the output is a terminal. See https://no-color.org.
func (p *program) paint(a ...color.Attribute) *color.Color {
	c := color.New(a...)
	if p.terminal && p.environment("NO_COLOR") == "" && p.environment("TERM") != "dumb" {
		c.EnableColor()
	} else {
		c.DisableColor()
	}
	return c
}

// printRows prints rows for a program, with tabs between the columns.
func (p *program) printRows(rows [][]string) {
	for _, row := range rows {
		fmt.Fprintln(p.stdout, strings.Join(row, "\t"))
	}
}

// dedupe returns the texts without repetitions.
func dedupe(texts []string) []string {
	var once []string
	for _, t := range texts {
		if !slices.Contains(once, t) {
			once = append(once, t)
		}
	}
	return once
}
