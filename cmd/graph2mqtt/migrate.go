package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/migrate"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
)

func (p *program) migrateCommand() *cobra.Command {
	write := ""
	cmd := &cobra.Command{
		Use:   "migrate DIRECTORY",
		Short: "Convert the configuration of O365 or MS365",
		Long: "migrate reads the configuration directory of a Home Assistant with O365 or the MS365 integrations. It prints the configuration of\n" +
			"graph2mqtt, the replacement of each old entity, attribute, action and event, and the lines of automations, scripts, templates,\n" +
			"scenes, helpers and dashboards that use an old name. It does not change the directory and prints no secrets: comments say where to\n" +
			"put the client secret.\n\n" +
			"The output is a configuration file: the second and third part are comments. With --write only the configuration is written to a\n" +
			"file, and the other parts are printed.",
		Example: "  graph2mqtt migrate /config > graph2mqtt.yaml\n" +
			"  graph2mqtt migrate /config --write graph2mqtt.yaml",
		Args: optionalArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: p.do(func(_ context.Context, args []string) error {
			if len(args) == 0 {
				return &usageError{"want the configuration directory of Home Assistant, the one with configuration.yaml"}
			}
			return p.migrate(args[0], write)
		}),
	}
	cmd.Flags().StringVar(&write, "write", "", "write the configuration to this new `file`")
	must(cmd.MarkFlagFilename("write", "yaml", "yml"))
	return cmd
}

func (p *program) migrate(dir, write string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{dir + " does not exist: want the configuration directory of Home Assistant"}
	case err != nil:
		return err
	case !info.IsDir():
		return &usageError{dir + " is a file: want the configuration directory of Home Assistant"}
	}
	plan, err := migrate.Read(dir)
	if err != nil {
		if errors.As(err, new(config.Problems)) {
			return err
		}
		return &usageError{err.Error()}
	}
	text, successor, err := configuration(plan)
	if err != nil {
		return err
	}
	references, unread := plan.References(successor)
	for _, err := range unread {
		fmt.Fprintf(p.stderr, "graph2mqtt: not searched: %v\n", err)
	}
	prefix := "# "
	if write != "" {
		if err := writeNewFile(write, []byte(text)); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
		fmt.Fprintf(p.stdout, "%s is written. Check it with: graph2mqtt check --config %s\n\n", write, quote(write))
		prefix = ""
	} else {
		fmt.Fprintln(p.stdout, text)
	}
	printChanges(p.stdout, prefix, plan.Changes(successor), references)
	return nil
}

// configuration returns the new configuration without values that are not valid, and the ids of its entities.
func configuration(plan *migrate.Plan) (string, migrate.Successor, error) {
	for {
		text := plan.Configuration()
		successor, err := successors(text)
		if err == nil {
			return text, successor, nil
		}
		var problems config.Problems
		rejected := false
		if errors.As(err, &problems) {
			for _, p := range problems {
				rejected = plan.Reject(p.Path, p.Message) || rejected
			}
		}
		if !rejected {
			return "", nil, fmt.Errorf("the new configuration is not valid; please report this: %w", err)
		}
	}
}

// printChanges prints what has become of the old names, and where they are used.
func printChanges(w io.Writer, prefix string, changes []migrate.Change, references []migrate.Reference) {
	line := func(format string, args ...any) {
		fmt.Fprintln(w, strings.TrimRight(prefix+fmt.Sprintf(format, args...), " "))
	}
	successor := func(c migrate.Change) string {
		if c.New == "" {
			return "–"
		}
		return c.New
	}
	line("What has become of the old entities, attributes, actions and events:")
	line("")
	var columns strings.Builder
	table := tabwriter.NewWriter(&columns, 0, 0, 2, ' ', 0)
	for _, c := range changes {
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.Old, successor(c), plainText(c.Note))
	}
	_ = table.Flush() // cannot fail
	for row := range strings.Lines(columns.String()) {
		line("%s", strings.TrimRight(row, "\n"))
	}
	line("")
	if len(references) == 0 {
		line("No file names an old entity, action or event.")
		return
	}
	line("Lines to change:")
	line("")
	for _, r := range references {
		note := ""
		if r.Note != "" {
			note = " (" + strings.TrimSuffix(plainText(r.Note), ".") + ")"
		}
		line("%s:%d: %s -> %s%s", r.File, r.Line, r.Old, successor(r.Change), note)
	}
}

// plainText returns a note without the marks of Markdown.
func plainText(note string) string { return strings.ReplaceAll(note, "`", "") }

// successors loads a new configuration, as check does, and returns the ids of its entities.
func successors(text string) (migrate.Successor, error) {
	// A client_id that has to be entered yet does not change the ids.
	known := strings.ReplaceAll(text, migrate.Placeholder, "00000000-0000-0000-0000-000000000001")
	sources := config.Sources{File: "graph2mqtt.yaml", Content: []byte(known), OnlyFile: true, Flags: map[string]any{"state_dir": "."}} // its default needs an environment
	c, err := runtime.Load(sources, runtime.Kinds())
	if err != nil {
		return nil, err
	}
	discovery := homeassistant.Discovery{Base: mqtt.Topics(c.MQTT.BaseTopic)}
	ids := map[[3]string]string{}
	for _, a := range c.Accounts {
		for _, d := range runtime.Devices(a) {
			for _, e := range discovery.Announcements(d) {
				if !e.Disabled {
					ids[[3]string{a.ID, d.ID.Sensor, e.Key}] = e.EntityID
				}
			}
		}
	}
	return func(account, sensor, key string) string { return ids[[3]string{account, sensor, key}] }, nil
}
