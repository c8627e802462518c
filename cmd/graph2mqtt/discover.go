package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
		Short: "List what sensors can be configured for, as lines of configuration",
		Long: "discover lists the calendars, mail folders, plans, colleagues and so on for which sensors of an account can be configured, as\n" +
			"lines of configuration. Lines for what is already configured are comments. For a sensor for several, such as all calendars, it\n" +
			"also prints the id and the name of each of them.\n\n" +
			"Missing permissions? Sign in with graph2mqtt login ACCOUNT --for TYPE first.",
		Example:           "  graph2mqtt discover work",
		Args:              optionalArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE:              p.do(p.discover),
	}
}

func (p *program) discover(ctx context.Context, args []string) error {
	c, a, err := p.loadAccount(args)
	if err != nil {
		return err
	}
	dir, log, err := p.openState(c)
	if err != nil {
		return err
	}
	var tokens graph.Tokens
	var status auth.Status
	if a.Application {
		session, err := runtime.OpenApplication(a, log)
		if err != nil {
			return err
		}
		if _, err := session.Token(ctx); err != nil {
			return err
		}
		tokens, status = session, session.Status()
	} else {
		session, err := runtime.OpenSession(a, dir, log)
		if err != nil {
			return err
		}
		tokens, status = session, session.Status()
	}
	if status.State != auth.SignedIn {
		return errors.New(status.Message)
	}
	g, err := runtime.OpenGraph(a, tokens, log)
	if err != nil {
		return err
	}
	defer g.Close()
	used := slices.Collect(maps.Keys(a.Sensors))
	var failed, notGranted []error
	listed := false
	for _, k := range runtime.Kinds() {
		if a.Application && !k.OfOrganization { // its candidates are those of a user, but its sensors for several have members
			if err := p.printMembers(ctx, a, k, g); err != nil {
				failed = append(failed, err)
			}
			continue
		}
		if k.Candidates == nil || k.WorkOnly && status.User.Personal || a.Application != k.OfOrganization {
			continue
		}
		if err := g.CheckGranted(k.ListPermissions()); err != nil && a.Application {
			notGranted = append(notGranted, fmt.Errorf("%s: %w; see: graph2mqtt permissions %s", k.Name, err, a.ID))
			continue
		} else if err != nil {
			notGranted = append(notGranted, fmt.Errorf("%s: %w; run: graph2mqtt login %s --for %s", k.Name, err, a.ID, k.Name))
			continue
		}
		candidates, err := k.Candidates(ctx, g)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", k.Name, err))
			continue
		}
		listed = true
		fmt.Fprintf(p.stdout, "      # %s: %d found, to be pasted below %s.sensors\n", k.Name, len(candidates), a.Path())
		for _, candidate := range candidates {
			if id := configuredAs(a, k, candidate); id != "" {
				fmt.Fprintf(p.stdout, "      # %s is configured already: %s\n", scalar(candidate.Name), id)
				continue
			}
			name := freeName(k, candidate, used)
			used = append(used, name)
			note := ""
			if candidate.Note != "" {
				note = " # " + candidate.Note
			}
			fmt.Fprintf(p.stdout, "      %s: %s%s\n", name, flow(k, candidate), note)
		}
		if err := p.printMembers(ctx, a, k, g); err != nil {
			failed = append(failed, err)
		}
	}
	// If anything was listed, the missing permissions of other types are hints, not errors.
	if listed {
		for _, err := range notGranted {
			fmt.Fprintln(p.stderr, err)
		}
		return errors.Join(failed...)
	}
	return errors.Join(append(failed, notGranted...)...)
}

// printMembers prints the members of the configured groups of a kind, with the ids of their sensors.
func (p *program) printMembers(ctx context.Context, a *config.Account, k sensors.Kind, g *graph.Client) error {
	for id, s := range config.Sorted(a.Sensors) {
		group := s.Options.(sensors.Sensor).Group()
		if s.Type != k.Name || group == nil {
			continue
		}
		of := g
		if s.User != "" {
			of = g.ForMailbox(s.User)
		}
		members, err := group.Members(ctx, of)
		if err != nil {
			return fmt.Errorf("%s: %w", id, runtime.ExplainMailbox(s, s.Options.(sensors.Sensor).Permissions(), err))
		}
		fmt.Fprintf(p.stdout, "      # members of %s:\n", id)
		for _, m := range members {
			fmt.Fprintf(p.stdout, "      #   %s: %s\n", runtime.MemberID(id, m), m.Name)
		}
	}
	return nil
}

// configuredAs returns the id of the sensor that is configured for a candidate, or "".
func configuredAs(a *config.Account, k sensors.Kind, candidate sensors.Candidate) string {
	for id, s := range config.Sorted(a.Sensors) {
		if s.Type == k.Name && candidate.SelectedBy != nil && candidate.SelectedBy(s.Options.(sensors.Sensor).Options()) {
			return id
		}
	}
	return ""
}

// freeName returns an id for a new sensor.
func freeName(k sensors.Kind, candidate sensors.Candidate, used []string) string {
	base := cmp.Or(entity.Slug(candidate.Name), k.Name)
	name := base
	for n := 2; slices.Contains(used, name) || config.Reserved(name); n++ {
		name = base + "_" + strconv.Itoa(n)
	}
	return name
}

// flow returns a sensor as YAML on one line.
func flow(k sensors.Kind, candidate sensors.Candidate) string {
	parts := []string{"type: " + k.Name}
	if k.WriteOnly {
		parts = append(parts, "enable_update: true")
	}
	lists := map[string]bool{}
	for _, f := range config.Fields(k.New().Options()) {
		lists[f.Key] = strings.HasPrefix(f.Type, "list")
	}
	for key, value := range config.Sorted(candidate.Options) {
		value = scalar(value)
		if lists[key] {
			value = "[" + value + "]"
		}
		parts = append(parts, key+": "+value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// plainScalar matches texts that need no quotes in YAML.
var plainScalar = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.@-]*( [A-Za-z0-9_.@-]+)*$`)

// scalar returns a text as a YAML scalar.
func scalar(s string) string {
	words := []string{"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
	if plainScalar.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	b, err := json.Marshal(s) // JSON is YAML
	must(err)
	return string(b)
}
