package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

func (p *program) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Print an example, the schema or the reference of the configuration",
		Example: "  graph2mqtt config example > graph2mqtt.yaml",
		RunE:    runParent,
	}
	kinds := runtime.ConfigKinds(runtime.Kinds())
	for _, c := range []struct {
		use, short, example string
		text                func() string
		ofAccount           func() string // nil: there is none
	}{
		{"example", "Print an example file with every key", "  graph2mqtt config example > graph2mqtt.yaml\n  graph2mqtt config example --account > accounts.d/work.yaml",
			func() string { return config.Example(kinds) }, func() string { return config.AccountExample(kinds) }},
		{"schema", "Print a JSON Schema, for editors", "  graph2mqtt config schema > graph2mqtt.schema.json\n  graph2mqtt config schema --account > account.schema.json",
			func() string { return string(config.Schema(kinds)) }, func() string { return string(config.AccountSchema(kinds)) }},
		{"reference", "Print every key with its default, in Markdown", "  graph2mqtt config reference | less", func() string { return config.Reference(kinds) }, nil},
	} {
		account := false
		sub := &cobra.Command{
			Use: c.use, Short: c.short, Example: c.example, Args: cobra.NoArgs,
			RunE: p.do(func(context.Context, []string) error {
				text := c.text
				if account {
					text = c.ofAccount
				}
				_, err := fmt.Fprint(p.stdout, text())
				return err
			}),
		}
		if c.ofAccount != nil {
			sub.Flags().BoolVar(&account, "account", false, "of a file with one account, in accounts.d")
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

// runParent prints the help of a command that has only subcommands, and fails for one that it does not have.
func runParent(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return fmt.Errorf("%s: want one of %s, not %q", cmd.Name(), strings.Join(names, ", "), args[0])
}
