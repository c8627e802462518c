package outlook

import (
	"net/http"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A List is a distribution list.
type List struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Members []string `json:"members"` // addresses of users, of groups and of other lists
	Dynamic bool     `json:"dynamic"` // a dynamic distribution list of Exchange, which Graph does not have
}

// AddList adds a distribution list.
func (s *Service) AddList(l List) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.directory.Claim(l.Address)
	s.groups = append(s.groups, &Group{ID: directory.NewGUID(l.Address), Name: l.Name, Address: l.Address, Members: slices.Clone(l.Members), list: true, dynamic: l.Dynamic})
}

func (s *Service) postList(r *http.Request) (any, error) {
	in, err := control.Decode[List](r)
	if err != nil {
		return nil, err
	}
	s.AddList(in)
	return in, nil
}

// listMembers returns the users and groups in a group, at any depth. Without a permission for users only their ids are known.
//
// https://learn.microsoft.com/graph/api/group-list-transitivemembers
func listMembers(c *call) (odata.Response, error) {
	of, err := c.group()
	if err != nil {
		return odata.Response{}, err
	}
	detailed := c.Granted("User.ReadBasic.All", "User.Read.All")
	value := []any{}
	seen := map[string]bool{}
	var add func(*Group)
	add = func(g *Group) {
		for _, address := range g.Members {
			if seen[strings.ToLower(address)] {
				continue
			}
			seen[strings.ToLower(address)] = true
			if i := slices.IndexFunc(c.s.groups, func(g *Group) bool { return strings.EqualFold(g.Address, address) }); i >= 0 {
				inner := c.s.groups[i]
				value = append(value, map[string]any{"@odata.type": "#microsoft.graph.group", "id": inner.ID, "mail": inner.Address})
				add(inner)
				continue
			}
			u := c.s.directory.MustUser(address)
			m := map[string]any{"@odata.type": "#microsoft.graph.user", "id": u.ID, "mail": nil, "userPrincipalName": nil, "displayName": nil}
			if detailed {
				m["mail"], m["userPrincipalName"], m["displayName"] = u.Address, u.Address, u.Name
			}
			value = append(value, m)
		}
	}
	add(of)
	return odata.Response{Status: http.StatusOK, Body: map[string]any{"@odata.context": c.Context("directoryObjects"), "value": value}}, nil
}
