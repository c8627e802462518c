package main

import (
	"context"
	"encoding/json"
	"fmt"
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
		Short: "Show which permissions are requested, and why",
		Long: "permissions shows what a sign-in with this configuration requests: each permission, what it is for, who must consent to it, which\n" +
			"kinds of accounts have it, and what does not work without it. Formats:\n\n" +
			"  table     for reading; in a pipe, columns separated by tabs\n" +
			"  markdown  for a document\n" +
			"  json      for programs\n" +
			"  manifest  the permissions as an app registration lists them (requiredResourceAccess)\n" +
			"  link      the link with which an administrator consents for the whole organization\n" +
			"  az        the commands of the Azure CLI that create the app registration\n\n" +
			"The permissions of an organization are application permissions. Those for mailboxes are assigned in Exchange, for the mailboxes alone,\n" +
			"so manifest and link leave them out; az prints the commands for Exchange as well.",
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
	cmd.Flags().StringVar(&format, "format", format, "`format`: "+strings.Join(formats, ", "))
	must(cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// A request lists what the sign-in of one account requests.
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
	AssignedIn    string   `json:"assigned_in,omitempty"` // of application permissions: exchange, for some mailboxes, or entra
	Mailboxes     []string `json:"mailboxes,omitempty"`   // of those of Exchange, which sensors name, beside rooms
}

func requestOf(a *config.Account) request {
	r := request{Requested: runtime.SignInScopes(a)[0]}
	all := runtime.RequiredPermissions(a)
	var exchange []exchangeScope
	if a.Application { // what Exchange assigns differs between mailboxes
		exchange = exchangeScopes([]*config.Account{a})
		r.Requested = slices.DeleteFunc(r.Requested, func(scope string) bool { role, _ := graph.LookupRole(scope); return role.Exchange })
		for _, s := range exchange {
			r.Requested = append(r.Requested, s.roles...)
		}
		slices.Sort(r.Requested)
		r.Requested = slices.Compact(r.Requested)
	}
	// uses reports whether what needs n uses one of the requested permissions.
	uses := func(n runtime.RequiredPermission, scope string) bool {
		role, _ := graph.LookupRole(scope)
		if !a.Application || !role.Exchange {
			return n.Satisfied([]string{scope})
		}
		mailbox, ok := mailboxOf(a, n.Sensor)
		return ok && n.Satisfied([]string{scope}) && slices.ContainsFunc(exchange, func(s exchangeScope) bool { return s.isFor(mailbox) && slices.Contains(s.roles, scope) })
	}
	for _, scope := range r.Requested {
		info, _ := graph.LookupScope(scope)
		x := permission{
			Scope: scope, Kind: "delegated", For: []string{},
			AdminConsent: info.Admin, UserByDefault: info.UserConsentable(), Accounts: info.Accounts(),
		}
		if a.Application {
			role, _ := graph.LookupRole(scope)
			x.Kind, x.AdminConsent, x.UserByDefault, x.Accounts, x.AssignedIn = "application", true, false, []string{"work"}, "entra"
			if role.Exchange {
				x.AssignedIn = "exchange"
			}
		}
		if !entra.AllowsPersonal("common", a.Cloud.Login) {
			x.Accounts = slices.DeleteFunc(x.Accounts, func(kind string) bool { return kind == "personal" })
		}
		var why, own, without []string
		for _, n := range all {
			if !uses(n, scope) {
				continue
			}
			if x.AssignedIn == "exchange" {
				if mailbox, _ := mailboxOf(a, n.Sensor); mailbox != "" && !slices.Contains(x.Mailboxes, mailbox) {
					x.Mailboxes = append(x.Mailboxes, mailbox)
				}
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
		if len(own) > 0 { // if this one is refused, a lower scope is requested
			without = own
		}
		x.Why, x.WithoutIt = strings.Join(dedupe(why), "; "), strings.Join(dedupe(without), "; ")
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
	if p.terminal { // the sentences are too long for columns
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
	p.printRows(rows)
	return nil
}

// explain prints a request for a person.
func (p *program) explain(a *config.Account, r request) {
	bold := p.paint(color.Bold)
	fmt.Fprintf(p.stdout, "%s\n", bold.Sprint(a.ID))
	for _, x := range r.Permissions {
		fmt.Fprintf(p.stdout, "  %s%s\n    %s\n    without it: %s\n    consent: %s\n    accounts: %s\n",
			bold.Sprint(x.Scope), forSensors(x.For), x.Why, x.WithoutIt, whoConsents(a, x), whoHas(a, x))
	}
	if advice := advice(a, r); advice != "" {
		fmt.Fprintln(p.stdout, advice)
	}
}

// markdown returns a request as a page.
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

// consent returns who must consent to a permission: user, administrator, or administrator by default.
func consent(a *config.Account, x permission) string {
	switch {
	case personal(a), x.UserByDefault:
		return "user"
	case x.AdminConsent:
		return "administrator"
	}
	return "administrator by default"
}

// whoConsents returns who must consent to a permission, as a sentence.
func whoConsents(a *config.Account, x permission) string {
	if x.AssignedIn == "exchange" {
		return "an administrator assigns it in Exchange, for these mailboxes alone"
	}
	switch consent(a, x) {
	case "user":
		return "you, when you sign in"
	case "administrator":
		return "an administrator of the organization"
	}
	return "an administrator if the organization has Microsoft's default policy, which does not let users grant it; otherwise you"
}

// whoHas returns which accounts have a permission.
func whoHas(a *config.Account, x permission) string {
	switch {
	case slices.Contains(x.Accounts, "personal"):
		return "work and personal"
	case personal(a):
		return "work only, and this is a personal one"
	}
	return "work only"
}

// advice returns what to do before the sign-in, or an empty string.
func advice(a *config.Account, r request) string {
	if a.Application {
		if !slices.ContainsFunc(r.Permissions, func(x permission) bool { return x.AssignedIn == "exchange" }) {
			return ""
		}
		return "Do not grant the permissions of Exchange in Entra ID: the application could use them in every mailbox. The commands that assign them are printed by graph2mqtt permissions " + a.ID + " --format az."
	}
	if !slices.ContainsFunc(r.Permissions, func(x permission) bool { return consent(a, x) != "user" }) {
		return ""
	}
	text := "If an administrator must consent, send them the link that graph2mqtt permissions " + a.ID + " --format link prints, and sign in afterwards."
	if entra.AllowsPersonal(a.Tenant, a.Cloud.Login) {
		text += " With a personal account you consent to everything yourself."
	}
	return text
}

// link prints the address at which an administrator consents for all users of the tenant, with instructions.
func (p *program) link(accounts map[string]*config.Account) error {
	ends := map[string]bool{}
	for id, a := range config.Sorted(accounts) {
		link, ok := runtime.ConsentLink(a)
		if !ok {
			if len(accounts) == 1 && a.Application {
				return &usageError{fmt.Sprintf("organization %[1]s: there is nothing to consent to in Entra ID; for the commands of Exchange, run: graph2mqtt permissions %[1]s --format az", id)}
			}
			if len(accounts) == 1 {
				return &usageError{fmt.Sprintf("account %s: personal accounts have no administrator", id)}
			}
			continue
		}
		fmt.Fprintln(p.stdout, link)
		ends[a.RedirectURI] = true
	}
	// Not part of the link.
	for uri := range config.Sorted(ends) {
		fmt.Fprintf(p.stderr, "Send this to an administrator of the organization. Their browser ends on %s, which may fail to load; the consent is given anyway.\n", uri)
	}
	return nil
}

// json prints a value as JSON.
func (p *program) json(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
