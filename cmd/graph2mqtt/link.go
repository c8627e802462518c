package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
)

// The shortest and the longest lifetime of a link.
const (
	minLinkLifetime = time.Minute
	maxLinkLifetime = 90 * 24 * time.Hour
)

func (p *program) linkCommand() *cobra.Command {
	expires, revoke, asJSON := "7d", false, false
	var cmd *cobra.Command
	cmd = &cobra.Command{
		Use:   "link ACCOUNT",
		Short: "Create a link for signing in to one account",
		Long: "link prints a secret link to a page of the running bridge. On that page a person can sign in to this account, but cannot see other\n" +
			"accounts. The link is valid until a user has signed in to the account, until it expires, or until you create another link for the\n" +
			"account. It is shown once, because only its hash is stored. A running bridge accepts it within two seconds.\n\n" +
			"Set user in the configuration of the account: other users are refused then. The link begins with http.external_url if that is set.\n\n" +
			"With --revoke, link invalidates the link of the account and creates no new one.",
		Example: "  graph2mqtt link adele\n" +
			"  graph2mqtt link adele --expires 12h\n" +
			"  graph2mqtt link adele --revoke",
		Args:              optionalArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE: p.do(func(_ context.Context, args []string) error {
			if f := cmd.Flags(); revoke && (f.Changed("expires") || asJSON) {
				return &usageError{"want --revoke alone: it creates no link"}
			}
			lifetime, err := parseLifetime(expires)
			if err != nil {
				return err
			}
			return p.makeLink(args, lifetime, revoke, asJSON)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&expires, "expires", expires, "how long the link is valid, such as 30m, 12h or 7d")
	f.BoolVar(&revoke, "revoke", false, "invalidate the link of the account, and create no new one")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// parseLifetime parses a duration that may be in days.
func parseLifetime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < minLinkLifetime || d > maxLinkLifetime {
		return 0, &usageError{fmt.Sprintf("--expires: want a time from 1m to 90d, such as 12h or 7d, not %q", text)}
	}
	return d, nil
}

// A signInLink holds a new link for printing.
type signInLink struct {
	Account string    `json:"account"`
	URL     string    `json:"url"`
	User    string    `json:"user"` // who is accepted; "": anyone
	Expires time.Time `json:"expires"`
}

func (p *program) makeLink(args []string, lifetime time.Duration, revoke, asJSON bool) error {
	c, a, err := p.loadAccount(args)
	if err != nil {
		return err
	}
	if a.Application {
		return &usageError{a.ID + " is an organization: it signs in by itself and needs no link"}
	}
	dir, log, err := p.openState(c)
	if err != nil {
		return err
	}
	links := bridge.OpenSignInLinks(dir, log)
	if revoke {
		if err := links.Revoke(a.ID); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "No link of the account %s is valid any more.\n", a.ID)
		return nil
	}
	if c.HTTP.Listen == "" {
		return &usageError{"the link needs the HTTP listener: set http.listen"}
	}
	secret, expires, err := links.Make(a.ID, lifetime)
	if err != nil {
		return err
	}
	l := signInLink{Account: a.ID, URL: listenerURL(c.HTTP) + bridge.SignInPath + "#" + secret, User: a.User, Expires: expires}
	if asJSON {
		return p.json(l)
	}
	fmt.Fprintln(p.stdout, l.URL)
	fmt.Fprintf(p.stderr, "The link is valid until %s, for one sign-in. It is not shown again.\n", expires.Local().Format("2006-01-02 15:04"))
	if a.User == "" {
		fmt.Fprintln(p.stderr, p.paint(color.FgYellow).Sprintf("Anyone who has the link can sign in, as any user. To accept only one user, set accounts.%s.user", a.ID))
	}
	return nil
}

// revokeLink revokes the link of an account after a sign-in.
func (p *program) revokeLink(c *config.Config, a *config.Account) error {
	dir, log, err := p.openState(c)
	if err != nil {
		return err
	}
	return bridge.OpenSignInLinks(dir, log).Revoke(a.ID)
}
