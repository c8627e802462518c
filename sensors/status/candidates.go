package status

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/people"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// candidates lists the own status, where People.Read is granted those of the colleagues that the user works with, and where chats may
// be read those of the colleagues in them.
func candidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	all := []sensors.Candidate{{Name: "My status", SelectedBy: sensors.SelectedBy(func(o *Options) bool { return o.User == "" })}}
	seen := map[string]bool{}
	add := func(name, address string) {
		if key := strings.ToLower(address); key != "" && !seen[key] {
			seen[key] = true
			all = append(all, sensors.Candidate{Name: name, Options: map[string]string{"user": address}, SelectedBy: sensors.SelectedBy(func(o *Options) bool { return strings.EqualFold(o.User, address) })})
		}
	}
	if g.Granted(graph.Permission{Scope: "People.Read"}) {
		found, err := people.Search(ctx, g, "")
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if p.Class != "Group" { // who has no user name is outside the organization and has no presence
				add(p.Name, p.UserName)
			}
		}
	}
	if g.Granted(chats.ReadPermission(true)) && !g.Personal() {
		met, err := chatMembers(ctx, g)
		if err != nil {
			return nil, err
		}
		for _, m := range met {
			add(m.Label(), m.Address)
		}
	}
	return all, nil
}

// chatMembers returns the colleagues in the chats of the signed-in user, by name.
func chatMembers(ctx context.Context, g *graph.Client) ([]chats.Member, error) {
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return nil, err
	}
	all, err := chats.All(ctx, g)
	if err != nil {
		return nil, err
	}
	var found []chats.Member
	for _, c := range all {
		i := slices.IndexFunc(c.Members, func(m chats.Member) bool { return strings.EqualFold(m.UserID, me.ID) })
		if i < 0 {
			continue
		}
		for j, m := range c.Members { // those of other tenants have no presence here
			if j != i && m.Tenant != "" && strings.EqualFold(m.Tenant, c.Members[i].Tenant) {
				found = append(found, m)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b chats.Member) int {
		return cmp.Or(cmp.Compare(a.Label(), b.Label()), cmp.Compare(a.Address, b.Address))
	})
	return found, nil
}
