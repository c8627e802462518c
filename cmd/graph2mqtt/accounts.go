package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

func (p *program) accountsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "accounts",
		Short: "Show who is signed in, and with which permissions",
		Long: "accounts shows each account: who is signed in, the state of the sign-in, the permissions that were granted, those that are missing,\n" +
			"and when the sign-in ends unless it is used before. It asks nobody.",
		Example: "  graph2mqtt accounts\n" +
			"  graph2mqtt accounts | cut -f1,3",
		Args: cobra.NoArgs,
		RunE: p.do(p.accounts),
	}
}

func (p *program) accounts(context.Context, []string) error {
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
	for id, a := range config.Sorted(c.Accounts) {
		s, err := bridge.OpenSession(a, dir, log)
		if err != nil {
			return err
		}
		status := s.Status()
		expires := ""
		if !status.Expires.IsZero() {
			expires = status.Expires.Format(time.DateOnly)
		}
		var missing []string
		if status.State == auth.SignedIn {
			missing = missingScopes(a, status.Granted)
		}
		rows = append(rows, []string{id, status.User.Address, string(status.State), strings.Join(status.Granted, " "), strings.Join(missing, " "), expires})
		if status.Message != "" {
			sentences = append(sentences, id+": "+status.Message)
		}
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

// missingScopes are the permissions that the configuration needs and that were not granted.
func missingScopes(a *config.Account, granted []string) []string {
	var needs []graph.Need
	for _, n := range bridge.Needs(a) {
		if !n.Satisfied(granted) {
			needs = append(needs, n)
		}
	}
	return graph.Scopes(needs)
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
