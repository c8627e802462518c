package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A program is one call of graph2mqtt.
type program struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer

	flags struct{ config, stateDir, logLevel, logFormat string }
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "graph2mqtt",
		Short: "Microsoft 365 over MQTT, for Home Assistant",
		Long: "graph2mqtt reads Microsoft 365 accounts through Microsoft Graph, publishes them over MQTT with Home Assistant discovery, and takes\n" +
			"commands back. Without a command it runs the bridge.",
		Example: "  graph2mqtt demo\n" +
			"  graph2mqtt login work\n" +
			"  graph2mqtt --config /etc/graph2mqtt/graph2mqtt.yaml",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          p.do(p.bridge),
	}
	f := root.PersistentFlags()
	f.StringVar(&p.flags.config, "config", "", "configuration `file`; otherwise graph2mqtt.yaml here, in ~/.config/graph2mqtt or in /etc/graph2mqtt")
	f.StringVar(&p.flags.stateDir, "state-dir", "", "`directory` of sign-ins and requests; otherwise $STATE_DIRECTORY or ~/.local/state/graph2mqtt")
	f.StringVar(&p.flags.logLevel, "log-level", "", "debug, info, warn or error")
	f.StringVar(&p.flags.logFormat, "log-format", "", "text or json")
	for name, values := range map[string][]string{"log-level": {"debug", "info", "warn", "error"}, "log-format": {"text", "json"}} {
		must(root.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
	}
	must(root.MarkPersistentFlagFilename("config", "yaml", "yml", "toml", "json"))
	must(root.MarkPersistentFlagDirname("state-dir"))
	root.AddCommand(p.runCommand(), p.checkCommand(), p.loginCommand(), p.logoutCommand(), p.accountsCommand(),
		p.permissionsCommand(), p.discoverCommand(), p.callCommand(), p.watchCommand(), p.configCommand(), p.demoCommand(), p.simulateCommand(), p.versionCommand())
	return root
}

// must is for mistakes in the declaration of a command.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// do marks what a command's errors are, beside those that cobra finds in the arguments.
func (p *program) do(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return &commandError{err}
		}
		return nil
	}
}

// load loads the configuration.
func (p *program) load() (*config.Config, error) {
	flags := map[string]any{}
	for path, value := range map[string]string{"state_dir": p.flags.stateDir, "log.level": p.flags.logLevel, "log.format": p.flags.logFormat} {
		if value != "" {
			flags[path] = value
		}
	}
	return runtime.Load(config.Sources{File: p.flags.config, Environ: p.environ, Flags: flags}, runtime.Kinds())
}

// logger logs as configured. What a command does in a moment is told by its output: quiet leaves only warnings.
func (p *program) logger(c *config.Config, quiet bool) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	must(level.UnmarshalText([]byte(c.Log.Level))) // checked when it was loaded
	if quiet && p.flags.logLevel == "" {
		level.Set(max(level.Level(), slog.LevelWarn))
	}
	o := &slog.HandlerOptions{Level: level}
	log := slog.New(slog.NewTextHandler(p.stderr, o))
	if c.Log.Format == "json" {
		log = slog.New(slog.NewJSONHandler(p.stderr, o))
	}
	logWarnings(log, c)
	return log, level
}

// logWarnings logs what is strange about a configuration that was loaded.
func logWarnings(log *slog.Logger, c *config.Config) {
	for _, warning := range c.Warnings {
		log.Warn("the configuration has a warning", "warning", warning)
	}
	for _, ignored := range c.Ignored {
		log.Debug("an environment variable is ignored", "variable", ignored)
	}
}

// account is the account that an argument names.
func account(c *config.Config, id string) (*config.Account, error) {
	if a, ok := c.Accounts[id]; ok {
		return a, nil
	}
	return nil, &usageError{fmt.Sprintf("there is no account %q; the configuration has: %s", id, strings.Join(slices.Sorted(maps.Keys(c.Accounts)), ", "))}
}

// session opens the sign-in of an account.
func (p *program) session(c *config.Config, id string) (*config.Account, *auth.Session, error) {
	a, err := account(c, id)
	if err != nil {
		return nil, nil, err
	}
	log, _ := p.logger(c, true)
	dir, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return nil, nil, err
	}
	s, err := runtime.OpenSession(a, dir, log)
	return a, s, err
}

func (p *program) environment(name string) string {
	for _, v := range slices.Backward(p.environ) {
		if n, value, ok := strings.Cut(v, "="); ok && n == name {
			return value
		}
	}
	return ""
}

// terminal reports whether a person reads the output.
func (p *program) terminal() bool {
	f, ok := p.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// paint makes a colour, which is none where nobody wants to see it. See https://no-color.org.
func (p *program) paint(a ...color.Attribute) *color.Color {
	c := color.New(a...)
	if p.terminal() && p.environment("NO_COLOR") == "" && p.environment("TERM") != "dumb" {
		c.EnableColor()
	} else {
		c.DisableColor()
	}
	return c
}

// table writes rows under a head for a person, and for a program the rows alone, with tabs between the columns.
func (p *program) table(head []string, rows [][]string) error {
	if !p.terminal() {
		for _, row := range rows {
			fmt.Fprintln(p.stdout, strings.Join(row, "\t"))
		}
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}
