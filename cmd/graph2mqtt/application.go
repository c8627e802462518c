package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fatih/color"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// checkApplication signs in as the application of an organization, and prints what it may do.
func (p *program) checkApplication(ctx context.Context, c *config.Config, a *config.Account) error {
	_, log, err := p.openState(c)
	if err != nil {
		return err
	}
	session, err := runtime.OpenApplication(a, log)
	if err != nil {
		return err
	}
	if _, err := session.Token(ctx); err != nil {
		return err
	}
	g, err := runtime.OpenGraph(a, session, log)
	if err != nil {
		return err
	}
	defer g.Close()
	good, warn := p.paint(color.FgGreen), p.paint(color.FgYellow)
	fmt.Fprintf(p.stdout, "%s %s signs in as the application %s.\n", good.Sprint("✓"), a.ID, a.ClientID)
	failed := 0
	fail := func(id, name string, err error) {
		failed++
		fmt.Fprintf(p.stdout, "  %s%s: %s\n", id, name, warn.Sprint(err))
	}
	granted := session.Status().Granted
	for _, role := range granted {
		if info, known := graph.LookupRole(role); known && info.Exchange {
			fmt.Fprintln(p.stdout, warn.Sprintf("%s is granted in Entra ID: the application can use it in every mailbox of the organization.", role))
		}
	}
	if len(granted) > 0 {
		fmt.Fprintf(p.stdout, "  granted in Entra ID: %s\n", strings.Join(granted, ", "))
	}
	for id, s := range config.Sorted(a.Sensors) {
		source, of := s.Options.(sensors.Sensor), g
		if s.User != "" {
			of = g.ForMailbox(s.User)
		}
		var missing []string
		for _, op := range runtime.Operations(s) {
			err := g.CheckGranted(op.Permissions)
			if err == nil || slices.Contains(missing, err.Error()) {
				continue
			}
			missing = append(missing, err.Error())
			fail(id, "", fmt.Errorf("%s: %w", op.Name, err))
		}
		if !s.Read {
			continue
		}
		if err := g.CheckGranted(source.Permissions()); err != nil {
			fail(id, "", err)
			continue
		}
		probe := func(id, name string, source sensors.Sensor) {
			c := *s
			c.Options = source
			if err := source.Probe(ctx, of, time.Now()); err != nil {
				fail(id, name, runtime.ExplainMailbox(&c, source.Permissions(), err))
				return
			}
			fmt.Fprintf(p.stdout, "  %s%s: %s\n", id, name, good.Sprint("ok"))
		}
		group := source.Group()
		if group == nil {
			probe(id, "", source)
			continue
		}
		members, err := group.Members(ctx, of)
		if err != nil {
			fail(id, "", runtime.ExplainMailbox(s, source.Permissions(), err))
		}
		for _, m := range members {
			probe(runtime.MemberID(id, m), " ("+m.Name+")", group.Member(m))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of the sensors cannot be read or changed", failed)
	}
	return nil
}
