package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

func (p *program) discoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "discover ACCOUNT",
		Short: "List what sensors can be configured for, as lines to paste",
		Long: "discover asks Microsoft what there is in an account, such as its calendars, and prints a line of configuration for each. What was not\n" +
			"granted yet can be had with graph2mqtt login ACCOUNT --for TYPE.",
		Example:           "  graph2mqtt discover work",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE:              p.do(func(ctx context.Context, args []string) error { return p.discover(ctx, args[0]) }),
	}
}

func (p *program) discover(ctx context.Context, id string) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	a, session, err := p.session(c, id)
	if err != nil {
		return err
	}
	status := session.Status()
	if status.State != auth.SignedIn {
		return errors.New(status.Message)
	}
	log, _ := p.logger(c, true)
	g, err := runtime.OpenGraph(a, session, log)
	if err != nil {
		return err
	}
	defer g.Close()
	var taken []string
	for name := range a.Sensors {
		taken = append(taken, name)
	}
	var failed []error
	for _, k := range runtime.Kinds() {
		if k.Candidates == nil || k.WorkOnly && status.User.Personal {
			continue
		}
		if err := graph.MissingError(status.Granted, k.New().Permissions()); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w; run: graph2mqtt login %s --for %s", k.Name, err, id, k.Name))
			continue
		}
		choices, err := k.Candidates(ctx, g)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", k.Name, err))
			continue
		}
		fmt.Fprintf(p.stdout, "      # %s: %d found, to be pasted below accounts.%s.sensors\n", k.Name, len(choices), id)
		for _, choice := range choices {
			name := freeName(k, choice, taken)
			taken = append(taken, name)
			fmt.Fprintf(p.stdout, "      %s: %s\n", name, flow(k, choice))
		}
	}
	return errors.Join(failed...)
}

// freeName is an id for a new sensor.
func freeName(k sensors.Kind, choice sensors.Candidate, taken []string) string {
	base := cmp.Or(entity.Slug(choice.Name), k.Name)
	name := base
	for n := 2; slices.Contains(taken, name) || config.Reserved(name); n++ {
		name = base + "_" + strconv.Itoa(n)
	}
	return name
}

// flow is a sensor as YAML on one line.
func flow(k sensors.Kind, choice sensors.Candidate) string {
	parts := []string{"type: " + k.Name}
	for key, value := range config.Sorted(choice.Options) {
		parts = append(parts, key+": "+scalar(value))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// harmless are the texts that YAML takes for what they are.
var harmless = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.@-]*( [A-Za-z0-9_.@-]+)*$`)

func scalar(s string) string {
	words := []string{"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
	if harmless.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	b, err := json.Marshal(s) // JSON is YAML
	must(err)
	return string(b)
}
