package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

func (p *program) accountsCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "Show who is signed in, and with which permissions",
		Long: "accounts shows for each account who is signed in, the state of the sign-in, which permissions are granted and missing, and when an\n" +
			"unused sign-in expires. It works offline. An organization signs in by itself: its state is application.\n\n" +
			"In a pipe it prints one line for each account: account, user, state, granted, missing and expiry, separated by tabs.",
		Example: "  graph2mqtt accounts\n" +
			"  graph2mqtt accounts | cut -f1,3\n" +
			"  graph2mqtt accounts --json",
		Args: cobra.NoArgs,
		RunE: p.do(func(context.Context, []string) error { return p.accounts(asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// An accountStatus describes the sign-in of an account.
type accountStatus struct {
	User     string              `json:"user"`
	Name     string              `json:"name"`
	Personal bool                `json:"personal"`
	State    auth.SignInState    `json:"state"`
	Message  string              `json:"message"` // what the user should do; empty if signed in
	Granted  []string            `json:"granted"`
	Missing  []missingPermission `json:"missing"`
	SignedIn *time.Time          `json:"signed_in"`
	Expires  *time.Time          `json:"expires"` // if it is not used
}

// A missingPermission is a permission that was not granted.
type missingPermission struct {
	Scope   string `json:"scope"`
	Sensor  string `json:"sensor"` // empty: the account itself
	Without string `json:"without_it"`
}

func accountStatusOf(a *config.Account, s auth.Status) accountStatus {
	x := accountStatus{
		User: s.User.Address, Name: s.User.Name, Personal: s.User.Personal, State: s.State, Message: s.Message,
		Granted: append([]string{}, s.Granted...), Missing: []missingPermission{},
	}
	if s.State == auth.SignedIn {
		for _, n := range runtime.RequiredPermissions(a) {
			missing := missingPermission{n.Scope, n.Sensor, n.Impact}
			if !n.Satisfied(s.Granted) && !slices.Contains(x.Missing, missing) {
				x.Missing = append(x.Missing, missing)
			}
		}
	}
	for _, at := range []struct {
		to   **time.Time
		from time.Time
	}{{&x.SignedIn, s.SignedIn}, {&x.Expires, s.Expires}} {
		if !at.from.IsZero() {
			utc := at.from.UTC().Truncate(time.Second)
			*at.to = &utc
		}
	}
	return x
}

// applicationState is the state of an organization, which signs in by itself.
const applicationState auth.SignInState = "application"

// applicationStatusOf returns the status of an organization, as far as it is known offline.
func applicationStatusOf(s auth.Status) accountStatus {
	x := accountStatus{State: applicationState, Message: s.Message, Granted: []string{}, Missing: []missingPermission{}}
	if s.State != auth.SignedIn {
		x.State = s.State
	}
	return x
}

func (p *program) accounts(asJSON bool) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	dir, log, err := p.openState(c)
	if err != nil {
		return err
	}
	statuses := map[string]accountStatus{}
	for id, a := range c.Accounts {
		if a.Application {
			s, err := runtime.OpenApplication(a, log)
			if err != nil {
				return err
			}
			statuses[id] = applicationStatusOf(s.Status())
			continue
		}
		s, err := runtime.OpenSession(a, dir, log)
		if err != nil {
			return err
		}
		statuses[id] = accountStatusOf(a, s.Status())
	}
	if asJSON {
		return p.json(statuses)
	}
	if p.terminal {
		for id, x := range config.Sorted(statuses) {
			p.printAccount(c.Accounts[id], x)
		}
		return nil
	}
	var rows [][]string
	for id, x := range config.Sorted(statuses) {
		expires := ""
		if x.Expires != nil {
			expires = x.Expires.Format(time.DateOnly)
		}
		rows = append(rows, []string{id, x.User, string(x.State), strings.Join(x.Granted, " "), strings.Join(x.missingScopes(), " "), expires})
	}
	p.printRows(rows)
	return nil
}

// missingScopes returns the missing scopes in alphabetical order.
func (x accountStatus) missingScopes() []string {
	scopes := map[string]bool{}
	for _, m := range x.Missing {
		scopes[m.Scope] = true
	}
	return slices.Sorted(maps.Keys(scopes))
}

// printAccount prints the status of an account for a person.
func (p *program) printAccount(a *config.Account, x accountStatus) {
	warn := p.paint(color.FgYellow)
	fmt.Fprintln(p.stdout, p.paint(color.Bold).Sprint(a.ID))
	if x.User != "" {
		fmt.Fprintf(p.stdout, "  user: %s\n", userName(auth.User{Address: x.User, Name: x.Name}))
	}
	state := strings.ReplaceAll(string(x.State), "_", " ")
	switch {
	case x.State == applicationState:
		fmt.Fprintf(p.stdout, "  signs in by itself, as an application; to check that, run: graph2mqtt login %s\n", a.ID)
	case x.Message != "":
		fmt.Fprintf(p.stdout, "  %s\n", warn.Sprintf("%s: %s", state, x.Message))
	case x.Expires != nil:
		fmt.Fprintf(p.stdout, "  %s; expires on %s if it is not used\n", state, x.Expires.Local().Format(time.DateOnly))
	default:
		fmt.Fprintf(p.stdout, "  %s\n", state)
	}
	if len(x.Granted) > 0 {
		fmt.Fprintf(p.stdout, "  granted: %s\n", strings.Join(x.Granted, ", "))
	}
	byPermission := map[[2]string][]string{}
	for _, m := range x.Missing {
		key := [2]string{m.Scope, m.Without}
		byPermission[key] = append(byPermission[key], m.Sensor)
	}
	for _, m := range x.Missing {
		key := [2]string{m.Scope, m.Without}
		if sensors, ok := byPermission[key]; ok {
			delete(byPermission, key)
			fmt.Fprintf(p.stdout, "  %s\n", warn.Sprintf("missing: %s%s: %s", m.Scope, forSensors(sensors), m.Without))
		}
	}
	if text := howToGrant(a, x); text != "" {
		fmt.Fprintf(p.stdout, "  %s\n", text)
	}
}

// forSensors names the sensors that need a permission.
func forSensors(sensors []string) string {
	if sensors = nonEmpty(dedupe(sensors)...); len(sensors) == 0 {
		return ""
	}
	return " for " + strings.Join(sensors, ", ")
}

// howToGrant returns a sentence about how to grant what is missing.
func howToGrant(a *config.Account, x accountStatus) string {
	var grantable, restricted bool
	for _, scope := range x.missingScopes() {
		info, ok := graph.LookupScope(scope)
		if x.Personal && ok && !info.Personal {
			continue
		}
		grantable = true
		restricted = restricted || !x.Personal && ok && !info.UserConsentable()
	}
	switch {
	case len(x.Missing) == 0:
		return ""
	case !grantable:
		return "Personal accounts do not have these permissions."
	case restricted:
		return "Sign in again to grant them: graph2mqtt login " + a.ID + ". If an administrator must consent first, send them the link of: graph2mqtt permissions " + a.ID + " --format link"
	}
	return "Sign in again to grant them: graph2mqtt login " + a.ID
}

// userName returns the address of a user, with their name.
func userName(u auth.User) string {
	if u.Name == "" {
		return u.Address
	}
	return u.Address + " (" + u.Name + ")"
}

func (p *program) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout ACCOUNT",
		Short: "Sign an account out",
		Long: "logout deletes the stored tokens of an account, and its subscriptions to notifications. A running bridge notices within two\n" +
			"seconds. Microsoft still remembers which permissions were granted; logout prints where to revoke them.",
		Example:           "  graph2mqtt logout work",
		Args:              optionalArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE:              p.do(p.logout),
	}
}

// unsubscribeTimeout bounds what precedes a sign-out.
const unsubscribeTimeout = 15 * time.Second

// unsubscribe deletes the subscriptions of an account.
func (p *program) unsubscribe(ctx context.Context, c *config.Config, a *config.Account, s *auth.Session) error {
	ctx, cancel := context.WithTimeout(ctx, unsubscribeTimeout)
	defer cancel()
	return runtime.Unsubscribe(ctx, a, s, c.Notifications.URL(), slog.New(slog.DiscardHandler))
}

func (p *program) logout(ctx context.Context, args []string) error {
	c, a, err := p.loadAccount(args)
	if err != nil {
		return err
	}
	if a.Application {
		return &usageError{fmt.Sprintf("%s is an organization and has no sign-in to delete; to stop it, remove it from the configuration", a.ID)}
	}
	s, err := p.session(c, a)
	if err != nil || s.Status().State == auth.SignedOut {
		return err
	}
	if c.Notifications.Enabled() {
		if err := p.unsubscribe(ctx, c, a, s); err != nil {
			fmt.Fprintf(p.stderr, "Microsoft sends notifications for up to three days more: %v\n", err)
		}
	}
	remains, err := s.SignOut(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Signed out of %s. %s.\n", a.ID, remains)
	return nil
}
