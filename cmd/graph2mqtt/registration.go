package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

// A registration is the app registration that accounts sign in with.
type registration struct {
	accounts []*config.Account
	scopes   []string
	roles    []string        // application permissions that are granted in Entra ID
	exchange []exchangeScope // those that are assigned in Exchange
}

// An exchangeScope is a set of mailboxes for which Exchange assigns the same permissions.
type exchangeScope struct {
	roles     []string
	mailboxes []string // addresses or ids; nil: all rooms
}

// registrationOf returns the one registration of some accounts, with the permissions that other accounts of the configuration need from it.
func registrationOf(c *config.Config, some map[string]*config.Account) (registration, error) {
	var r registration
	var organizations []*config.Account
	id := ""
	for _, a := range some {
		if id != "" && !strings.EqualFold(id, a.ClientID) {
			return r, &usageError{"the accounts have different app registrations; want one of " + strings.Join(slices.Sorted(maps.Keys(some)), ", ")}
		}
		id = a.ClientID
	}
	for _, a := range config.Sorted(c.Accounts) {
		if strings.EqualFold(id, a.ClientID) {
			r.accounts = append(r.accounts, a)
			if a.Application {
				for _, role := range runtime.SignInScopes(a)[0] {
					if info, _ := graph.LookupRole(role); !info.Exchange {
						r.roles = append(r.roles, role)
					}
				}
				organizations = append(organizations, a)
				continue
			}
			r.scopes = append(r.scopes, runtime.SignInScopes(a)[0]...)
		}
	}
	r.exchange = exchangeScopes(organizations)
	for _, names := range []*[]string{&r.scopes, &r.roles} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	if r.signsIn() {
		r.scopes = append(r.scopes, runtime.IdentityScopes()...)
	}
	return r, nil
}

// mailboxOf returns the mailbox that a sensor of an organization names, in lower case; "" stands for its rooms. It reports false for sensors
// that read no mailbox.
func mailboxOf(a *config.Account, sensor string) (string, bool) {
	s := a.Sensors[sensor]
	return strings.ToLower(s.User), s.User != "" || s.Type == "room"
}

// exchangeScopes returns which permissions organizations need in Exchange: for their rooms, and for each mailbox that sensors name, those of
// its own sensors alone.
func exchangeScopes(organizations []*config.Account) []exchangeScope {
	needs := map[string][]graph.Permission{} // by mailbox; "": the rooms
	for _, a := range organizations {
		for _, p := range runtime.RequiredPermissions(a) {
			if mailbox, ok := mailboxOf(a, p.Sensor); ok {
				needs[mailbox] = append(needs[mailbox], p.Permission)
			}
		}
	}
	var scopes []exchangeScope
	for mailbox, permissions := range config.Sorted(needs) {
		roles := slices.DeleteFunc(graph.Scopes(permissions), func(role string) bool { info, _ := graph.LookupRole(role); return !info.Exchange })
		i := slices.IndexFunc(scopes, func(s exchangeScope) bool { return s.mailboxes != nil && slices.Equal(s.roles, roles) })
		switch {
		case len(roles) == 0:
		case mailbox == "":
			scopes = append(scopes, exchangeScope{roles: roles})
		case i < 0:
			scopes = append(scopes, exchangeScope{roles, []string{mailbox}})
		default:
			scopes[i].mailboxes = append(scopes[i].mailboxes, mailbox)
		}
	}
	return scopes
}

// isFor reports whether the scope has a mailbox, as mailboxOf returns it.
func (s exchangeScope) isFor(mailbox string) bool {
	return mailbox == "" && s.mailboxes == nil || slices.Contains(s.mailboxes, mailbox)
}

// filter returns the recipients in the scope, as Exchange filters them.
//
// https://learn.microsoft.com/powershell/exchange/recipientfilter-properties
func (s exchangeScope) filter() string {
	if s.mailboxes == nil {
		return "RecipientTypeDetails -eq 'RoomMailbox'"
	}
	var conditions []string
	for _, m := range s.mailboxes {
		property := "ExternalDirectoryObjectId"
		if strings.Contains(m, "@") {
			property = "PrimarySmtpAddress"
		}
		// Double quotes of PowerShell surround the filter.
		m = strings.NewReplacer("'", "''", "`", "``", "$", "`$").Replace(m)
		conditions = append(conditions, property+" -eq '"+m+"'")
	}
	return strings.Join(conditions, " -or ")
}

// signsIn reports whether users sign in to the registration.
func (r registration) signsIn() bool {
	return slices.ContainsFunc(r.accounts, func(a *config.Account) bool { return !a.Application })
}

// graphApplication is Microsoft Graph among the applications of Entra ID, the same in every cloud.
const graphApplication = "00000003-0000-0000-c000-000000000000"

// resourceAccess lists the permissions that a registration requests of one application.
// See https://learn.microsoft.com/graph/api/resources/requiredresourceaccess.
type resourceAccess struct {
	Application string   `json:"resourceAppId"`
	Access      []access `json:"resourceAccess"`
}

type access struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// access returns the registration's requiredResourceAccess.
func (r registration) access() []resourceAccess {
	of := resourceAccess{Application: graphApplication}
	for _, scope := range r.scopes {
		facts, _ := graph.LookupScope(scope)
		of.Access = append(of.Access, access{facts.ID, "Scope"})
	}
	for _, role := range r.roles {
		facts, _ := graph.LookupRole(role)
		of.Access = append(of.Access, access{facts.ID, "Role"})
	}
	if len(of.Access) == 0 {
		return []resourceAccess{}
	}
	return []resourceAccess{of}
}

// audience returns the registration's signInAudience. See https://learn.microsoft.com/graph/api/resources/application.
func (r registration) audience() string {
	tenants := map[string]bool{}
	personal, work := false, false
	for _, a := range r.accounts {
		tenants[strings.ToLower(a.Tenant)] = true
		personal = personal || entra.AllowsPersonal(a.Tenant, a.Cloud.Login)
		work = work || !entra.IsPersonalTenant(a.Tenant)
	}
	switch {
	case personal && work:
		return "AzureADandPersonalMicrosoftAccount"
	case personal:
		return "PersonalMicrosoftAccount"
	case tenants["common"], tenants["organizations"], len(tenants) > 1:
		return "AzureADMultipleOrgs"
	}
	return "AzureADMyOrg"
}

// commands returns the commands of the Azure CLI that create the registration.
func (r registration) commands() string {
	var public, web, names []string
	var secret, certificate string
	for _, a := range r.accounts {
		names = append(names, a.ID)
		if a.Application {
			if a.CertificateFile != "" {
				certificate = a.CertificateFile
			}
			continue
		}
		if a.ClientSecret != "" || a.CertificateFile != "" {
			web = append(web, a.RedirectURI)
			if a.CertificateFile != "" {
				certificate = a.CertificateFile
			} else {
				secret = a.ID
			}
		} else {
			public = append(public, a.RedirectURI)
		}
	}
	list, err := json.Marshal(r.access())
	must(err)
	first := r.accounts[0]
	audience := r.audience()
	withPersonal := strings.Contains(audience, "Personal")
	create := []string{"az", "ad", "app", "create", "--display-name", "graph2mqtt"}
	if withPersonal {
		create = append(create, "--sign-in-audience", "AzureADMultipleOrgs")
	} else {
		create = append(create, "--sign-in-audience", audience)
	}
	if len(public) > 0 {
		create = append(append(create, "--public-client-redirect-uris"), dedupe(public)...)
	}
	if len(web) > 0 {
		create = append(append(create, "--web-redirect-uris"), dedupe(web)...)
	}
	create = append(create, "--is-fallback-public-client", fmt.Sprint(len(public) > 0))
	if len(r.access()) > 0 {
		create = append(create, "--required-resource-accesses", string(list))
	}
	create = append(create, "--query", "appId", "--output", "tsv")

	var b strings.Builder
	fmt.Fprintf(&b, "# Create the app registration of %s with the Azure CLI.\n", strings.Join(names, ", "))
	switch first.Cloud.Name {
	case "us_gov", "us_gov_dod":
		b.WriteString("az cloud set --name AzureUSGovernment\n")
	case "china":
		b.WriteString("az cloud set --name AzureChinaCloud\n")
	}
	if audience == "AzureADMyOrg" {
		b.WriteString(command("az", "login", "--allow-no-subscriptions", "--tenant", first.Tenant) + "\n")
	} else {
		b.WriteString("az login --allow-no-subscriptions\n")
	}
	fmt.Fprintf(&b, "client_id=$(%s)\n", command(create...))
	if withPersonal {
		// The Azure CLI cannot set both at once, and one without the other is refused.
		b.WriteString(`az rest --method PATCH --url "` + first.Cloud.Audience + `/v1.0/applications(appId='$client_id')" \` +
			"\n  --body '" + `{"signInAudience": "` + audience + `", "api": {"requestedAccessTokenVersion": 2}}'` + "\n")
	}
	b.WriteString(`echo "client_id: $client_id"` + "\n")
	if certificate != "" {
		b.WriteString(`az ad app credential reset --id "$client_id" --append --cert "$(openssl x509 -in ` + quote(certificate) + `)"` + "\n")
	}
	b.WriteString(r.assignments())
	if secret != "" {
		b.WriteString(`echo "client_secret: $(az ad app credential reset --id "$client_id" --append --years 2 --query password --output tsv)"` + "\n")
	}
	return b.String()
}

// assignments returns the commands that give an application its permissions. Those of Exchange are for PowerShell.
func (r registration) assignments() string {
	if !slices.ContainsFunc(r.accounts, func(a *config.Account) bool { return a.Application }) {
		return ""
	}
	var b strings.Builder
	b.WriteString(`object_id=$(az ad sp create --id "$client_id" --query id --output tsv)` + "\n")
	for _, role := range r.roles {
		info, _ := graph.LookupRole(role)
		fmt.Fprintf(&b, "# %s\n", role)
		b.WriteString(`az rest --method POST --url "` + r.accounts[0].Cloud.Audience + `/v1.0/servicePrincipals/$object_id/appRoleAssignments" \` + "\n" +
			`  --body "{\"principalId\": \"$object_id\", \"resourceId\": \"$(az ad sp show --id ` + graphApplication + ` --query id --output tsv)\", \"appRoleId\": \"` + info.ID + `\"}"` + "\n")
	}
	if len(r.exchange) == 0 {
		return b.String()
	}
	b.WriteString("cat <<END\n\nRun in the PowerShell of Exchange Online.")
	if slices.ContainsFunc(r.exchange, func(s exchangeScope) bool { return s.mailboxes == nil }) {
		b.WriteString(" The scope of the rooms is an example: all rooms.")
	}
	b.WriteString("\n\nConnect-ExchangeOnline\nNew-ServicePrincipal -AppId $client_id -ObjectId $object_id -DisplayName graph2mqtt\n")
	for i, s := range r.exchange {
		name, example := "graph2mqtt", "ROOM"
		if i > 0 {
			name = fmt.Sprintf("graph2mqtt-%d", i+1)
		}
		if s.mailboxes != nil {
			example = quotePowerShell(s.mailboxes[0])
		}
		fmt.Fprintf(&b, "New-ManagementScope -Name %s -RecipientRestrictionFilter \"%s\"\n", name, quoteHere(s.filter()))
		for _, role := range s.roles {
			fmt.Fprintf(&b, "New-ManagementRoleAssignment -App $client_id -Role \"%s\" -CustomResourceScope %s\n", graph.ExchangeRole(role), name)
		}
		fmt.Fprintf(&b, "Test-ServicePrincipalAuthorization -Identity $client_id -Resource %s\n", quoteHere(example))
	}
	b.WriteString("END\n")
	return b.String()
}

// command returns a command line; a long one has each option on a line of its own.
func command(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case len(words) > 8 && strings.HasPrefix(w, "--"):
			b.WriteString(" \\\n  ")
		default:
			b.WriteString(" ")
		}
		b.WriteString(quote(w))
	}
	return b.String()
}

var plain = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quotePowerShell quotes a text as one word of PowerShell.
func quotePowerShell(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// quoteHere quotes a text in a here-document of a POSIX shell.
func quoteHere(s string) string {
	return strings.NewReplacer(`\`, `\\`, "$", `\$`, "`", "\\`").Replace(s)
}

// quote quotes a text as one word of a POSIX shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
