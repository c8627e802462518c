package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The manual page is generated from the commands.
func TestManualPage(t *testing.T) {
	var b strings.Builder
	root := (&program{}).root()
	b.WriteString(".\\\" Generated from the code by go test ./cmd/graph2mqtt -update.\n.TH GRAPH2MQTT 1 \"\" graph2mqtt\n.SH NAME\n")
	fmt.Fprintf(&b, "graph2mqtt \\- %s\n.SH SYNOPSIS\n.B graph2mqtt\n[COMMAND] [FLAGS]\n.SH DESCRIPTION\n%s.SH FLAGS\nAll commands have these flags:\n", roff(root.Short), roffText(root.Long))
	roffFlags(&b, root.PersistentFlags())
	b.WriteString(".SH COMMANDS\n")
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Parent() != nil && cmd.Parent().Name() != "completion" {
			fmt.Fprintf(&b, ".SS %s\n", roff(strings.TrimSuffix(strings.TrimPrefix(cmd.UseLine(), "graph2mqtt "), " [flags]")))
			long := cmd.Long
			if long == "" {
				long = cmd.Short + "."
			}
			b.WriteString(roffText(long))
			roffFlags(&b, cmd.LocalNonPersistentFlags())
			fmt.Fprintf(&b, ".PP\nExamples:\n.PP\n.nf\n%s\n.fi\n", roff(cmd.Example))
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
	b.WriteString(".SH FILES\n")
	for _, f := range [][2]string{
		{"/etc/graph2mqtt/graph2mqtt.yaml", "The configuration of the service. root writes it, and the group graph2mqtt reads it."},
		{"~/.config/graph2mqtt/graph2mqtt.yaml", "The configuration of a user."},
		{"/var/lib/graph2mqtt", "The state of the service: sign-ins, encrypted, and requests."},
	} {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	b.WriteString(".SH EXIT STATUS\n0: success. 1: the configuration or the arguments are wrong. 2: the command failed. 130: it was interrupted.\n" +
		".SH SEE ALSO\nhttps://github.com/graph2mqtt/graph2mqtt\n")
	golden(t, filepath.Join(top, "packaging", "graph2mqtt.1"), b.String())
}

// roff escapes text for troff.
func roff(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// roffText returns paragraphs, and lists as they are.
func roffText(text string) string {
	var b strings.Builder
	for _, p := range strings.Split(text, "\n\n") {
		if strings.HasPrefix(p, "  ") {
			fmt.Fprintf(&b, ".PP\n.nf\n%s\n.fi\n", roff(p))
		} else {
			fmt.Fprintf(&b, ".PP\n%s\n", roff(p))
		}
	}
	return b.String()
}

func roffFlags(b *strings.Builder, set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace("--"+f.Name+" "+strings.ToUpper(value))), roff(usage))
	})
}
