package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A build describes how this program was built.
type build struct{ version, commit, sdk string }

const sdkModule = "github.com/microsoftgraph/msgraph-sdk-go"

func readBuild() build {
	b := build{version: "devel"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.version = v
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if b.commit != "" && modified {
		b.commit += " (modified)"
	}
	for _, m := range info.Deps {
		if m.Path == sdkModule {
			b.sdk = m.Version
		}
	}
	return b
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of the program, of Go and of Microsoft's SDK",
		Example: "  graph2mqtt version",
		Args:    cobra.NoArgs,
		RunE:    p.do(func(context.Context, []string) error { return p.printVersion() }),
	}
}

func (p *program) printVersion() error {
	b := readBuild()
	fmt.Fprintln(p.stdout, "graph2mqtt", b.version)
	if b.commit != "" {
		fmt.Fprintln(p.stdout, "commit", b.commit)
	}
	fmt.Fprintln(p.stdout, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	_, err := fmt.Fprintln(p.stdout, "msgraph-sdk-go", b.sdk)
	return err
}
