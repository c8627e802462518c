package bridge

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// userNeed is what every account has, to tell who signed in.
var userNeed = graph.Need{
	Scope: "User.Read",
	Why:   "tells who signed in", Without: "nothing works",
}

// zoneNeed is what `timezone: mailbox` has.
var zoneNeed = graph.Need{
	Scope: "MailboxSettings.Read", Or: []string{"MailboxSettings.ReadWrite"},
	Why: "reads the mailbox's time zone", Without: "the machine's time zone is used",
}

// A Permission is one thing that an account needs a permission for.
type Permission struct {
	graph.Need
	Sensor    string // empty: the account itself
	Operation string // empty: reading
}

// Permissions lists what a configured account needs permissions for, in the order of its sensors.
func Permissions(c *config.Account) []Permission {
	ps := []Permission{{Need: userNeed}}
	if c.Timezone == "mailbox" {
		ps = append(ps, Permission{Need: zoneNeed})
	}
	for id, s := range config.Sorted(c.Sensors) {
		decoded := s.Options.(sensors.Sensor)
		if s.Read {
			for _, n := range decoded.Needs() {
				ps = append(ps, Permission{Need: n, Sensor: id})
			}
		}
		for _, op := range offered(s, decoded) {
			for _, n := range op.Needs {
				ps = append(ps, Permission{Need: n, Sensor: id, Operation: op.Name})
			}
		}
	}
	return ps
}

// Needs are the permissions that an account is signed in with.
func Needs(c *config.Account) []graph.Need { return needsOf(Permissions(c)) }

// ReadingPermissions are what a sensor of this kind needs permissions for, as it is where nothing is configured.
func ReadingPermissions(k sensors.Kind) []Permission {
	var ps []Permission
	for _, n := range k.New().Needs() {
		ps = append(ps, Permission{Need: n, Sensor: k.Name})
	}
	return ps
}

// SignInScopes are the sets of scopes to ask for, one after the other as each is refused: all that the account and more need; the
// same without what only operations need; and that without what users of a work tenant cannot grant themselves: what an
// administrator must consent to, and what the default policy of consent keeps from them.
func SignInScopes(c *config.Account, more ...Permission) [][]string {
	all := append(Permissions(c), more...)
	reading := slices.DeleteFunc(slices.Clone(all), func(p Permission) bool { return p.Operation != "" })
	own := reading
	if !entra.IsPersonalTenant(c.Tenant) { // personal accounts have neither administrator nor policy
		own = slices.DeleteFunc(slices.Clone(reading), func(p Permission) bool {
			facts, ok := graph.Describe(p.Scope)
			return ok && !facts.UserByDefault()
		})
	}
	var sets [][]string
	for _, ps := range [][]Permission{all, reading, own} {
		if set := graph.Scopes(needsOf(ps)); len(sets) == 0 || !slices.Equal(set, sets[len(sets)-1]) {
			sets = append(sets, set)
		}
	}
	return sets
}

func needsOf(ps []Permission) []graph.Need {
	var ns []graph.Need
	for _, p := range ps {
		ns = append(ns, p.Need)
	}
	return ns
}
