package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

// top is the root of the repository.
const top = "../.."

// documents returns the pages at the root of the repository and below docs, by file name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(top, "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pages at the root, %v", len(files), err)
	}
	err = filepath.WalkDir(filepath.Join(top, "docs"), func(path string, e fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(b)
	}
	return all
}

var fence = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```")

// Every configuration in the documents is valid, with the client_id of an app registration.
func TestConfigurationsInDocs(t *testing.T) {
	n := 0
	for file, text := range documents(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[1] != "yaml" || !strings.Contains(block[2], "accounts:") {
				continue
			}
			n++
			name := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
			if err := os.WriteFile(name, []byte(strings.ReplaceAll(block[2], "00000000-0000-0000-0000-000000000000", "01234567-89ab-cdef-0123-456789abcdef")), 0o600); err != nil {
				t.Fatal(err)
			}
			// The files that it names are on another machine.
			_, err := runtime.Load(config.Sources{File: name, Environ: []string{"HOME=/home/ann"}}, runtime.Kinds())
			if err != nil {
				t.Errorf("%s:\n%s%v", file, block[2], err)
			}
		}
	}
	if n == 0 {
		t.Error("no configuration was found")
	}
}

// Every command line in the documents parses.
func TestCommandsInDocs(t *testing.T) {
	n := 0
	for file, text := range documents(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[1] != "sh" {
				continue
			}
			for line := range strings.Lines(strings.ReplaceAll(block[2], "\\\n", " ")) {
				line = strings.TrimSpace(line)
				if program, ok := strings.CutPrefix(line, "go run ./cmd/graph2mqtt"); ok {
					line = "graph2mqtt" + program
				}
				if strings.HasPrefix(line, "graph2mqtt") {
					n++
					t.Run(file, func(t *testing.T) { checkCommandLine(t, line) })
				}
			}
		}
		for _, m := range regexp.MustCompile("`(graph2mqtt [a-z][^`]*)`").FindAllStringSubmatch(text, -1) {
			n++
			t.Run(file, func(t *testing.T) { checkCommandLine(t, m[1]) })
		}
	}
	if n == 0 {
		t.Error("no command was found")
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// The page about the command line is generated from the commands.
func TestCommandLineInDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("<!-- Generated from the code by go test ./cmd/graph2mqtt -update. -->\n\n# The command line\n\n" +
		"For anyone who runs graph2mqtt: every command with its flags and examples. To sign in and start the bridge:\n\n" +
		"```sh\ngraph2mqtt login work\ngraph2mqtt run\n```\n\n")
	root := (&program{}).root()
	b.WriteString("| command | |\n|---|---|\n")
	var commands []*cobra.Command
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Parent().Name() != "completion" {
			commands = append(commands, cmd)
			path := strings.TrimPrefix(cmd.CommandPath(), "graph2mqtt ")
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", path, strings.ReplaceAll(path, " ", "-"), cmd.Short)
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
	b.WriteString("| [`completion`](#completion) | Complete commands in the shell |\n\n" +
		"Without a command, graph2mqtt runs the bridge. All commands have these flags:\n\n")
	flags(&b, root.PersistentFlags())
	for _, cmd := range commands {
		long := cmd.Long
		if long == "" {
			long = cmd.Short + "."
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```text\n%s\n```\n\n```sh\n%s\n```\n", strings.TrimPrefix(cmd.CommandPath(), "graph2mqtt "),
			paragraphs(long), strings.TrimSuffix(cmd.UseLine(), " [flags]"), strings.ReplaceAll(strings.TrimSpace(cmd.Example), "\n  ", "\n"))
		if cmd.LocalNonPersistentFlags().HasFlags() {
			b.WriteString("\n")
			flags(&b, cmd.LocalNonPersistentFlags())
		}
	}
	b.WriteString("\n## completion\n\nAccounts, sensors, operations, their fields, types and formats are completed in bash, zsh and fish:\n\n" +
		"```sh\ngraph2mqtt completion bash > /etc/bash_completion.d/graph2mqtt\ngraph2mqtt completion zsh > \"${fpath[1]}/_graph2mqtt\"\n" +
		"graph2mqtt completion fish > ~/.config/fish/completions/graph2mqtt.fish\n```\n\nIn zsh `compinit` must be loaded.\n\n" +
		"## Exit codes\n\nSee [troubleshooting.md](troubleshooting.md#exit-codes).\n")
	golden(t, filepath.Join(top, "docs", "cli.md"), b.String())
}

// paragraphs joins the lines of each paragraph, except those of lists.
func paragraphs(text string) string {
	ps := strings.Split(text, "\n\n")
	for i, p := range ps {
		if strings.HasPrefix(p, "  ") {
			ps[i] = "```text\n" + p + "\n```"
		} else {
			ps[i] = strings.ReplaceAll(p, "\n", " ")
		}
	}
	return strings.Join(ps, "\n\n")
}

func flags(b *strings.Builder, set *pflag.FlagSet) {
	b.WriteString("| flag | |\n|---|---|\n")
	set.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			value = " " + strings.ToUpper(value)
		}
		fmt.Fprintf(b, "| `--%s%s` | %s |\n", f.Name, value, usage)
	})
}

// Links in the documents lead to existing files.
func TestLinksInDocs(t *testing.T) {
	for file, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// The README shows exactly the kinds of sensors that exist.
func TestKindsInReadme(t *testing.T) {
	readme := documents(t)[filepath.Join(top, "README.md")]
	var shown []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(readme, -1) {
		shown = append(shown, m[1])
	}
	var kinds []string
	for _, k := range runtime.Kinds() {
		kinds = append(kinds, k.Name)
	}
	slices.Sort(shown)
	slices.Sort(kinds)
	if !slices.Equal(shown, kinds) {
		t.Errorf("README shows %v, want %v", shown, kinds)
	}
}
