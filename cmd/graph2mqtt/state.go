package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

func (p *program) stateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "state",
		Short:   "Copy the state between this machine and the servers of cluster.nats",
		Example: "  graph2mqtt state copy nats",
		RunE:    runParent,
	}
	replace := false
	copyCommand := &cobra.Command{
		Use:   "copy nats|directory",
		Short: "Copy the state from the state directory to NATS, or back",
		Long: "copy copies sign-ins, calendar passwords, requests, the latest responses of Graph and the id: to NATS from the state directory, or to\n" +
			"the state directory from NATS. The source stays as it is. cluster.nats must be set. No bridge may run meanwhile, on any machine.",
		Example: "  graph2mqtt state copy nats\n" +
			"  graph2mqtt state copy directory --replace",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains([]string{"nats", "directory"}, args[0]) {
				return fmt.Errorf("state copy: want where to copy to, nats or directory, not %q", strings.Join(args, " "))
			}
			return nil
		},
		ValidArgs: []string{"nats", "directory"},
		RunE: p.do(func(ctx context.Context, args []string) error {
			return p.copyState(ctx, args[0] == "nats", replace)
		}),
	}
	copyCommand.Flags().BoolVar(&replace, "replace", false, "replace what the target has")
	cmd.AddCommand(copyCommand)
	return cmd
}

// copyState copies the state to the cluster, or from there.
func (p *program) copyState(ctx context.Context, toCluster, replace bool) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	if !c.Cluster.IsConfigured() {
		return &usageError{"cluster.nats is required: the configuration names no servers to copy to or from"}
	}
	log, _ := p.quietLogger(c)
	// The cluster first: without a key it creates none.
	shared, err := openState(ctx, c, log)
	if err != nil {
		return err
	}
	defer shared.Close()
	local, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return err
	}
	directory, cluster := "the state directory "+local.Path(), "the bucket "+c.Cluster.Bucket+" of NATS"
	from, to, source, target := local, shared, directory, cluster
	if !toCluster {
		from, to, source, target = shared, local, cluster, directory
	}
	n, err := state.Copy(ctx, from, to, replace, bridge.Placement(c))
	switch {
	case errors.Is(err, state.ErrNotEmpty):
		return fmt.Errorf("%s: %w; use --replace to replace them", target, err)
	case err != nil:
		return err
	}
	fmt.Fprintf(p.stdout, "copied %d files and %d records from %s to %s\n", n.Files, n.Keys, source, target)
	return nil
}
