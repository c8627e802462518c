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
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

func (p *program) permissionsCommand() *cobra.Command {
	formats := []string{"table", "markdown", "json", "manifest", "link", "az"}
	format := formats[0]
	cmd := &cobra.Command{
		Use:   "permissions [ACCOUNT]",
		Short: "Show which permissions are asked for, and why",
		Long: "permissions shows what the configuration makes a sign-in ask for: each permission, what it is for, who must consent to it, which\n" +
			"accounts have it, and what is lost without it. The other formats are for an administrator, and for the app registration:\n\n" +
			"  markdown  the same as a page\n" +
			"  json      the same for a program\n" +
			"  manifest  the permissions as an app registration lists them (requiredResourceAccess)\n" +
			"  link      the address at which an administrator consents for everybody in the organisation\n" +
			"  az        the commands of the Azure CLI that make the app registration",
		Example: "  graph2mqtt permissions\n" +
			"  graph2mqtt permissions work --format json\n" +
			"  graph2mqtt permissions work --format link\n" +
			"  graph2mqtt permissions work --format az > register.sh",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE: p.do(func(_ context.Context, args []string) error {
			if !slices.Contains(formats, format) {
				return &usageError{fmt.Sprintf("--format: want %s, not %q", strings.Join(formats, ", "), format)}
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
	r := request{Requested: runtime.SignInScopes(a)[0]}
	all := runtime.RequiredPermissions(a)
	for _, scope := range r.Requested {
		facts, _ := graph.LookupScope(scope)
		x := permission{
			Scope: scope, Kind: "delegated", For: []string{},
			AdminConsent: facts.Admin, UserByDefault: facts.UserConsentable(), Accounts: facts.Accounts(),
		}
		if !entra.AllowsPersonal("common", a.Cloud.Login) {
			x.Accounts = slices.DeleteFunc(x.Accounts, func(kind string) bool { return kind == "personal" })
		}
		var why, own, without []string
		for _, n := range all {
			if !n.Satisfied([]string{scope}) {
				continue
			}
			if n.Sensor != "" && !slices.Contains(x.For, n.Sensor) {
				x.For = append(x.For, n.Sensor)
			}
			why = append(why, n.Purpose)
			without = append(without, n.Impact)
			if n.Scope == scope {
				own = append(own, n.Impact)
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
		return p.json(requests)
	case "link":
		return p.link(accounts)
	case "manifest", "az":
		r, err := registrationOf(c, accounts)
		if err != nil {
			return err
		}
		if format == "az" {
			fmt.Fprint(p.stdout, r.commands())
			return nil
		}
		return p.json(r.access())
	case "markdown":
		var pages []string
		for _, a := range config.Sorted(accounts) {
			pages = append(pages, markdown(a, requestOf(a)))
		}
		fmt.Fprint(p.stdout, strings.Join(pages, "\n"))
		return nil
	}
	if p.terminal() { // the sentences are too long for columns
		for _, a := range config.Sorted(accounts) {
			p.explain(a, requestOf(a))
		}
		return nil
	}
	var rows [][]string
	for id, a := range config.Sorted(accounts) {
		for _, x := range requestOf(a).Permissions {
			rows = append(rows, []string{id, x.Scope, strings.Join(x.For, " "), consent(a, x), strings.Join(x.Accounts, " "), x.Why, x.WithoutIt})
		}
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
		fmt.Fprintf(p.stdout, "  %s%s\n    %s\n    without it: %s\n    consent: %s\n    accounts: %s\n",
			bold.Sprint(x.Scope), sensors, x.Why, x.WithoutIt, whoConsents(a, x), whoHas(a, x))
	}
	if advice := advice(a, r); advice != "" {
		fmt.Fprintln(p.stdout, advice)
	}
}

// markdown is a request as a page.
func markdown(a *config.Account, r request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n| permission | for | what it does | consent | accounts | without it |\n|---|---|---|---|---|---|\n", a.ID)
	for _, x := range r.Permissions {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", x.Scope, strings.Join(x.For, ", "), x.Why, whoConsents(a, x), whoHas(a, x), x.WithoutIt)
	}
	if advice := advice(a, r); advice != "" {
		fmt.Fprintf(&b, "\n%s\n", advice)
	}
	return b.String()
}

func personal(a *config.Account) bool { return entra.IsPersonalTenant(a.Tenant) }

// consent is who must consent to a permission, in a word.
func consent(a *config.Account, x permission) string {
	switch {
	case personal(a), x.UserByDefault:
		return "user"
	case x.AdminConsent:
		return "administrator"
	}
	return "administrator by default"
}

// whoConsents says who must consent to a permission.
func whoConsents(a *config.Account, x permission) string {
	switch consent(a, x) {
	case "user":
		return "you, when you sign in"
	case "administrator":
		return "an administrator of the organisation"
	}
	return "an administrator, where the organisation has Microsoft's default policy, which keeps users from granting this; else you"
}

// whoHas says which accounts have a permission.
func whoHas(a *config.Account, x permission) string {
	switch {
	case slices.Contains(x.Accounts, "personal"):
		return "work and personal"
	case personal(a):
		return "work only, and this is a personal one"
	}
	return "work only"
}

// advice is what to do before the sign-in.
func advice(a *config.Account, r request) string {
	if !slices.ContainsFunc(r.Permissions, func(x permission) bool { return consent(a, x) != "user" }) {
		return ""
	}
	text := "Where an administrator must consent, sign in after that: graph2mqtt permissions " + a.ID + " --format link prints what to send them."
	if entra.AllowsPersonal(a.Tenant, a.Cloud.Login) {
		text += " A personal account has no administrator: you consent to everything."
	}
	return text
}

// oidc are what every sign-in asks for beside Graph's permissions.
var oidc = [...]string{"openid", "profile", "offline_access"}

// link prints where an administrator consents for all users of the tenant, and what to tell them.
// See https://learn.microsoft.com/entra/identity-platform/v2-admin-consent.
func (p *program) link(accounts map[string]*config.Account) error {
	ends := map[string]bool{}
	for id, a := range config.Sorted(accounts) {
		if personal(a) {
			if len(accounts) == 1 {
				return &usageError{fmt.Sprintf("account %s: personal accounts have no administrator", id)}
			}
			continue
		}
		tenant := a.Tenant
		if strings.EqualFold(tenant, "common") {
			tenant = "organizations"
		}
		scopes := slices.Clone(oidc[:])
		for _, s := range runtime.SignInScopes(a)[0] {
			scopes = append(scopes, a.Cloud.Audience+"/"+s)
		}
		q := url.Values{"client_id": {a.ClientID}, "scope": {strings.Join(scopes, " ")}, "redirect_uri": {a.RedirectURI}}
		fmt.Fprintln(p.stdout, a.Cloud.Login+"/"+tenant+"/v2.0/adminconsent?"+q.Encode())
		ends[a.RedirectURI] = true
	}
	// Not part of what is sent.
	for uri := range config.Sorted(ends) {
		fmt.Fprintf(p.stderr, "Send this to an administrator of the organisation. Their browser ends on %s, on their own machine, and may show an error there: the consent is given all the same.\n", uri)
	}
	return nil
}

// json prints a value for a program.
func (p *program) json(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
