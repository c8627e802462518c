package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func (p *program) permissionsCommand() *cobra.Command {
	formats := []string{"table", "json", "link"}
	format := formats[0]
	cmd := &cobra.Command{
		Use:   "permissions [ACCOUNT]",
		Short: "Show which permissions are asked for, and why",
		Long: "permissions shows what the configuration makes a sign-in ask for: each permission, what it is for, whether an administrator must\n" +
			"consent, and what is lost without it. With --format link it prints the address at which an administrator consents for everybody.",
		Example: "  graph2mqtt permissions\n" +
			"  graph2mqtt permissions work --format json\n" +
			"  graph2mqtt permissions work --format link",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE: p.do(func(_ context.Context, args []string) error {
			if !slices.Contains(formats, format) {
				return &wrong{fmt.Sprintf("--format: want %s, not %q", strings.Join(formats, ", "), format)}
			}
			return p.permissions(args, format)
		}),
	}
	cmd.Flags().StringVar(&format, "format", format, strings.Join(formats, ", "))
	must(cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// A request is what the sign-in of one account asks for.
type request struct {
	Requested   []string     `json:"requested"`
	Permissions []permission `json:"permissions"`
}

// A permission is one scope of a request.
type permission struct {
	Scope         string   `json:"scope"`
	Kind          string   `json:"kind"`
	For           []string `json:"for"` // sensors
	Why           string   `json:"why"`
	AdminConsent  bool     `json:"admin_consent"`
	UserByDefault bool     `json:"user_consent_by_default"`
	Accounts      []string `json:"accounts"`
	WithoutIt     string   `json:"without_it"`
}

func requestOf(a *config.Account) request {
	r := request{Requested: bridge.SignInScopes(a)[0]}
	all := bridge.Permissions(a)
	for _, scope := range r.Requested {
		facts, _ := graph.Describe(scope)
		x := permission{
			Scope: scope, Kind: "delegated", For: []string{},
			AdminConsent: facts.Admin, UserByDefault: facts.UserByDefault(), Accounts: facts.Accounts(),
		}
		var why, own, without []string
		for _, n := range all {
			if !n.Satisfied([]string{scope}) {
				continue
			}
			if n.Sensor != "" && !slices.Contains(x.For, n.Sensor) {
				x.For = append(x.For, n.Sensor)
			}
			why = append(why, n.Why)
			without = append(without, n.Without)
			if n.Scope == scope {
				own = append(own, n.Without)
			}
		}
		if len(own) > 0 { // a lower scope is asked for where this one is refused
			without = own
		}
		x.Why, x.WithoutIt = unique(why), unique(without)
		r.Permissions = append(r.Permissions, x)
	}
	return r
}

func (p *program) permissions(args []string, format string) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	accounts := c.Accounts
	if len(args) > 0 {
		a, err := account(c, args[0])
		if err != nil {
			return err
		}
		accounts = map[string]*config.Account{a.ID: a}
	}
	switch format {
	case "json":
		requests := map[string]request{}
		for id, a := range accounts {
			requests[id] = requestOf(a)
		}
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		return e.Encode(requests)
	case "link":
		for _, a := range config.Sorted(accounts) {
			if !personal(a) {
				fmt.Fprintln(p.stdout, adminConsent(a))
			} else if len(args) > 0 {
				return &wrong{fmt.Sprintf("account %s: personal accounts have no administrator", a.ID)}
			}
		}
		return nil
	}
	var rows [][]string
	for id, a := range config.Sorted(accounts) {
		r := requestOf(a)
		if p.terminal() {
			p.explain(a, r)
		}
		for _, x := range r.Permissions {
			rows = append(rows, []string{id, x.Scope, strings.Join(x.For, " "), whoConsents(a, x), x.Why, x.WithoutIt})
		}
	}
	if p.terminal() { // the sentences are too long for columns
		return nil
	}
	return p.table(nil, rows)
}

// explain writes a request for a person.
func (p *program) explain(a *config.Account, r request) {
	bold := p.paint(color.Bold)
	fmt.Fprintf(p.stdout, "%s\n", bold.Sprint(a.ID))
	for _, x := range r.Permissions {
		sensors := ""
		if len(x.For) > 0 {
			sensors = " for " + strings.Join(x.For, ", ")
		}
		fmt.Fprintf(p.stdout, "  %s%s\n    %s\n    without it: %s\n    consent: %s\n", bold.Sprint(x.Scope), sensors, x.Why, x.WithoutIt, whoConsents(a, x))
	}
}

func personal(a *config.Account) bool { return strings.EqualFold(a.Tenant, "consumers") }

func whoConsents(a *config.Account, x permission) string {
	switch {
	case personal(a):
		return "user"
	case x.AdminConsent:
		return "administrator"
	case x.UserByDefault:
		return "user"
	}
	return "user, in many organisations an administrator"
}

// adminConsent is where an administrator consents for all users of the tenant.
// See https://learn.microsoft.com/entra/identity-platform/v2-admin-consent.
func adminConsent(a *config.Account) string {
	tenant := a.Tenant
	if strings.EqualFold(tenant, "common") {
		tenant = "organizations"
	}
	var scopes []string
	for _, s := range bridge.SignInScopes(a)[0] {
		scopes = append(scopes, a.Cloud.Audience+"/"+s)
	}
	q := url.Values{"client_id": {a.ClientID}, "scope": {strings.Join(scopes, " ")}, "redirect_uri": {a.RedirectURI}}
	return a.Cloud.Login + "/" + tenant + "/v2.0/adminconsent?" + q.Encode()
}
