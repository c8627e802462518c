package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

func (p *program) accountsCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "Show who is signed in, and with which permissions",
		Long: "accounts shows each account: who is signed in, the state of the sign-in, the permissions that were granted, those that are missing,\n" +
			"and when the sign-in ends unless it is used before. It asks nobody.",
		Example: "  graph2mqtt accounts\n" +
			"  graph2mqtt accounts | cut -f1,3\n" +
			"  graph2mqtt accounts --json",
		Args: cobra.NoArgs,
		RunE: p.do(func(context.Context, []string) error { return p.accounts(asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// An accountStatus is what is known of an account's sign-in.
type accountStatus struct {
	User     string              `json:"user"`
	Name     string              `json:"name"`
	Personal bool                `json:"personal"`
	State    auth.State          `json:"state"`
	Message  string              `json:"message"` // what to do; "" when signed in
	Granted  []string            `json:"granted"`
	Missing  []missingPermission `json:"missing"`
	SignedIn *time.Time          `json:"signed_in"`
	Expires  *time.Time          `json:"expires"` // unless it is used before
}

// A missingPermission is a permission that was not granted.
type missingPermission struct {
	Scope   string `json:"scope"`
	Sensor  string `json:"sensor"` // "": the account
	Without string `json:"without_it"`
}

func accountStatusOf(a *config.Account, s auth.Status) accountStatus {
	x := accountStatus{
		User: s.User.Address, Name: s.User.Name, Personal: s.User.Personal, State: s.State, Message: s.Message,
		Granted: append([]string{}, s.Granted...), Missing: []missingPermission{},
	}
	if s.State == auth.SignedIn {
		for _, n := range runtime.RequiredPermissions(a) {
			l := missingPermission{n.Scope, n.Sensor, n.Impact}
			if !n.Satisfied(s.Granted) && !slices.Contains(x.Missing, l) {
				x.Missing = append(x.Missing, l)
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

func (p *program) accounts(asJSON bool) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	log, _ := p.logger(c, true)
	dir, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return err
	}
	var rows [][]string
	var sentences []string
	statuses := map[string]accountStatus{}
	for id, a := range config.Sorted(c.Accounts) {
		s, err := runtime.OpenSession(a, dir, log)
		if err != nil {
			return err
		}
		x := accountStatusOf(a, s.Status())
		statuses[id] = x
		expires := ""
		if x.Expires != nil {
			expires = x.Expires.Format(time.DateOnly)
		}
		var missing []string
		for _, l := range x.Missing {
			missing = append(missing, l.Scope)
		}
		rows = append(rows, []string{id, x.User, string(x.State), strings.Join(x.Granted, " "), strings.Join(dedupe(missing), " "), expires})
		if x.Message != "" {
			sentences = append(sentences, id+": "+x.Message)
		}
	}
	if asJSON {
		return p.json(statuses)
	}
	if err := p.table([]string{"ACCOUNT", "USER", "SIGN-IN", "GRANTED", "MISSING", "EXPIRES"}, rows); err != nil {
		return err
	}
	// For a program the state says it all.
	if p.terminal() {
		for _, s := range sentences {
			fmt.Fprintln(p.stdout, s)
		}
	}
	return nil
}

func (p *program) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout ACCOUNT",
		Short: "Forget the sign-in of an account",
		Long: "logout removes what is stored of the account's sign-in. A running bridge notices within a second. Microsoft remembers the permissions\n" +
			"that were granted; logout says where they can be taken back.",
		Example:           "  graph2mqtt logout work",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE:              p.do(p.logout),
	}
}

func (p *program) logout(ctx context.Context, args []string) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	_, s, err := p.session(c, args[0])
	if err != nil || s.Status().State == auth.SignedOut {
		return err
	}
	remains, err := s.SignOut(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Signed out of %s. %s.\n", args[0], remains)
	return nil
}

// unique joins texts as one sentence, each once.
func unique(texts []string) string {
	var once []string
	for _, t := range texts {
		if !slices.Contains(once, t) {
			once = append(once, t)
		}
	}
	return strings.Join(once, "; ")
}
