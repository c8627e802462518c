package bridge

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// userNeed is what every account has, to tell who signed in.
var userNeed = graph.Permission{
	Scope:   "User.Read",
	Purpose: "tells who signed in", Impact: "nothing works",
}

// zoneNeed is what `timezone: mailbox` has.
var zoneNeed = graph.Permission{
	Scope: "MailboxSettings.Read", Alternatives: []string{"MailboxSettings.ReadWrite"},
	Purpose: "reads the mailbox's time zone", Impact: "the machine's time zone is used",
}

// A RequiredPermission is one thing that an account needs a permission for.
type RequiredPermission struct {
	graph.Permission
	Sensor    string // empty: the account itself
	Operation string // empty: reading
}

// RequiredPermissions lists what a configured account needs permissions for, in the order of its sensors.
func RequiredPermissions(c *config.Account) []RequiredPermission {
	ps := []RequiredPermission{{Permission: userNeed}}
	if c.Timezone == "mailbox" {
		ps = append(ps, RequiredPermission{Permission: zoneNeed})
	}
	for id, s := range config.Sorted(c.Sensors) {
		decoded := s.Options.(sensors.Sensor)
		if s.Read {
			for _, n := range decoded.Permissions() {
				ps = append(ps, RequiredPermission{Permission: n, Sensor: id})
			}
		}
		for _, op := range offered(s, decoded) {
			for _, n := range op.Permissions {
				ps = append(ps, RequiredPermission{Permission: n, Sensor: id, Operation: op.Name})
			}
		}
	}
	return ps
}

// AccountPermissions are the permissions that an account is signed in with.
func AccountPermissions(c *config.Account) []graph.Permission { return needsOf(RequiredPermissions(c)) }

// ReadingPermissions are what a sensor of this kind needs permissions for, as it is where nothing is configured.
func ReadingPermissions(k sensors.Kind) []RequiredPermission {
	var ps []RequiredPermission
	for _, n := range k.New().Permissions() {
		ps = append(ps, RequiredPermission{Permission: n, Sensor: k.Name})
	}
	return ps
}

// SignInScopes are the sets of scopes to ask for, one after the other as each is refused: all that the account and more need; the
// same without what only operations need; and that without what users of a work tenant cannot grant themselves: what an
// administrator must consent to, and what the default policy of consent keeps from them.
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
		if set := graph.Scopes(needsOf(ps)); len(sets) == 0 || !slices.Equal(set, sets[len(sets)-1]) {
			sets = append(sets, set)
		}
	}
	return sets
}

func needsOf(ps []RequiredPermission) []graph.Permission {
	var ns []graph.Permission
	for _, p := range ps {
		ns = append(ns, p.Permission)
	}
	return ns
}
