package bridge

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
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

// SignInScopes are the sets of scopes to ask for, one after the other as each is refused: all; the same without what only
// operations need.
func SignInScopes(c *config.Account) [][]string {
	all := Permissions(c)
	reading := slices.DeleteFunc(slices.Clone(all), func(p Permission) bool { return p.Operation != "" })
	sets := [][]string{graph.Scopes(needsOf(all))}
	if without := graph.Scopes(needsOf(reading)); !slices.Equal(without, sets[0]) {
		sets = append(sets, without)
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
