package runtime

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// userPermission is requested for every account.
var userPermission = graph.Permission{
	Scope:   "User.Read",
	Purpose: "reads who is signed in", Impact: "nothing works",
}

// zonePermission is requested for `timezone: mailbox`.
var zonePermission = graph.Permission{
	Scope: "MailboxSettings.Read", Alternatives: []string{"MailboxSettings.ReadWrite"},
	Purpose: "reads the mailbox's time zone", Impact: "the machine's time zone is used",
}

// A RequiredPermission is a permission that an account requests, with the sensor and the operation that need it.
type RequiredPermission struct {
	graph.Permission
	Sensor    string // empty: the account itself
	Operation string // empty: reading
}

// RequiredPermissions returns the permissions that a configured account requests, in the order of its sensors. Those of an
// organization are application permissions.
func RequiredPermissions(c *config.Account) []RequiredPermission {
	var ps []RequiredPermission
	if !c.Application {
		ps = append(ps, RequiredPermission{Permission: userPermission})
	}
	if c.Timezone == "mailbox" {
		ps = append(ps, RequiredPermission{Permission: zonePermission})
	}
	for id, s := range config.Sorted(c.Sensors) {
		if s.Read {
			for _, p := range s.Options.(sensors.Sensor).Permissions() {
				ps = append(ps, RequiredPermission{Permission: p, Sensor: id})
			}
		}
		for _, op := range Operations(s) {
			for _, p := range op.Permissions {
				ps = append(ps, RequiredPermission{Permission: p, Sensor: id, Operation: op.Name})
			}
		}
	}
	if c.Application {
		for i, p := range ps {
			ps[i].Permission, _ = p.Application()
		}
	}
	return ps
}

// AccountPermissions returns the permissions that a configured account requests.
func AccountPermissions(c *config.Account) []graph.Permission {
	return permissionsOf(RequiredPermissions(c))
}

// ReadingPermissions returns the permissions that a sensor of this kind requests with default options, or those that listing what it
// can be configured for needs.
func ReadingPermissions(k sensors.Kind) []RequiredPermission {
	var ps []RequiredPermission
	for _, p := range k.ListPermissions() {
		ps = append(ps, RequiredPermission{Permission: p, Sensor: k.Name})
	}
	return ps
}

// SignInScopes returns the sets of scopes to request in a sign-in, each after the one before was refused: first all that the account
// and more require; then without the scopes of operations; then without the scopes that users of a work tenant cannot grant
// themselves, because an administrator must consent or the default consent policy restricts them.
func SignInScopes(c *config.Account, more ...RequiredPermission) [][]string {
	all := append(RequiredPermissions(c), more...)
	reading := slices.DeleteFunc(slices.Clone(all), func(p RequiredPermission) bool { return p.Operation != "" })
	own := reading
	if !entra.IsPersonalTenant(c.Tenant) { // personal accounts have neither administrator nor policy
		own = slices.DeleteFunc(slices.Clone(reading), func(p RequiredPermission) bool {
			facts, ok := graph.LookupScope(p.Scope)
			return ok && !facts.UserConsentable()
		})
	}
	var sets [][]string
	for _, ps := range [][]RequiredPermission{all, reading, own} {
		if set := graph.Scopes(permissionsOf(ps)); len(sets) == 0 || !slices.Equal(set, sets[len(sets)-1]) {
			sets = append(sets, set)
		}
	}
	return sets
}

func permissionsOf(ps []RequiredPermission) []graph.Permission {
	var permissions []graph.Permission
	for _, p := range ps {
		permissions = append(permissions, p.Permission)
	}
	return permissions
}
