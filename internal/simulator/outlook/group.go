package outlook

import (
	"net/http"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Group is a group of a tenant. A Microsoft 365 group has a calendar.
type Group struct {
	ID       string   `json:"id"` // "": derived from the address
	Name     string   `json:"name"`
	Address  string   `json:"address"`
	Members  []string `json:"members"`  // addresses
	Security bool     `json:"security"` // a security group, which has no calendar

	list    bool // a distribution list, which has no calendar
	dynamic bool // a dynamic one
}

// AddGroup adds a group with an empty calendar and returns it with its id.
func (s *Service) AddGroup(g Group) Group {
	s.directory.Lock()
	defer s.directory.Unlock()
	if g.ID == "" {
		g.ID = directory.NewGUID(g.Address)
	}
	s.directory.Claim(g.Address)
	for _, m := range g.Members {
		s.directory.MustUser(m)
	}
	stored := g
	stored.Members = slices.Clone(g.Members)
	s.groups = append(s.groups, &stored)
	if !g.Security {
		s.addMailbox(g.ID, g.Name, g.Address)
	}
	for _, m := range g.Members {
		s.shares[share{g.ID, s.directory.MustUser(m).ID}] = true
	}
	return g
}

// Groups returns the groups.
func (s *Service) Groups() []Group {
	s.directory.Lock()
	defer s.directory.Unlock()
	all := []Group{}
	for _, g := range s.groups {
		if g.list {
			continue
		}
		copied := *g
		copied.Members = slices.Clone(g.Members)
		all = append(all, copied)
	}
	return all
}

func (s *Service) mustGroup(address string) *Group {
	i := slices.IndexFunc(s.groups, func(g *Group) bool { return strings.EqualFold(g.Address, address) })
	if i < 0 {
		panic(control.NotFound("no group %q", address))
	}
	return s.groups[i]
}

// SetMember makes a user a member of the group with this address, or removes the member.
func (s *Service) SetMember(group, user string, member bool) {
	s.directory.Lock()
	defer s.directory.Unlock()
	g, u := s.mustGroup(group), s.directory.MustUser(user)
	g.Members = slices.DeleteFunc(g.Members, func(m string) bool { return strings.EqualFold(m, user) })
	delete(s.shares, share{g.ID, u.ID})
	if member {
		g.Members = append(g.Members, u.Address)
		s.shares[share{g.ID, u.ID}] = true
	}
}

// RemoveGroup removes the group with this address and its calendar.
func (s *Service) RemoveGroup(address string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	g := s.mustGroup(address)
	s.groups = slices.DeleteFunc(s.groups, func(other *Group) bool { return other == g })
	delete(s.mailboxes, g.ID)
	s.directory.Release(g.Address)
}

func (g *Group) json() map[string]any {
	types := []any{"Unified"}
	if g.Security || g.list {
		types = []any{}
	}
	return map[string]any{
		"id": g.ID, "displayName": g.Name, "mail": g.Address, "groupTypes": types, "mailEnabled": !g.Security, "securityEnabled": g.Security,
		"description": nil, "mailNickname": strings.SplitN(g.Address, "@", 2)[0], "visibility": "Private",
	}
}

// groupType returns the type group with the properties that matter for calendars. Graph filters groups without further headers by
// these, except groupTypes in a list of members.
func groupType() *odata.Type {
	text := odata.String()
	return &odata.Type{
		Name: "microsoft.graph.group",
		Properties: odata.Properties{
			"id": text.Computed(), "displayName": text, "mail": text, "groupTypes": text.Many(), "mailEnabled": odata.Boolean(), "securityEnabled": odata.Boolean(),
			"description": text, "mailNickname": text, "visibility": text,
		},
		Denied: odata.NewError(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
	}
}

func (s *Service) groupRoutes() []odata.Route {
	t := groupType()
	route := func(path string, do func(*call) (odata.Response, error), options ...string) odata.Route {
		return odata.Route{Method: "GET", Path: path, Type: t, Options: options, Do: func(c *odata.Call) (odata.Response, error) { return do(&call{c, s}) }}
	}
	routes := []odata.Route{
		route("/groups", listGroups, "$select", "$filter", "$top", "$count", "$skip"),
		route("/groups/{group}", getGroup, "$select"),
		{
			Method: "GET", Path: "/groups/{group}/transitiveMembers", Options: []string{"$select", "$top", "$skip"},
			Type: &odata.Type{Name: "microsoft.graph.directoryObject", Open: true, Denied: t.Denied},
			Do:   func(c *odata.Call) (odata.Response, error) { return listMembers(&call{c, s}) },
		},
	}
	for _, path := range []string{"/me/memberOf", "/me/transitiveMemberOf"} {
		routes = append(routes, route(path, memberOf, "$select", "$top", "$skip"))
		for _, cast := range []string{"/graph.group", "/microsoft.graph.group"} {
			routes = append(routes, route(path+cast, memberOf, "$select", "$top", "$skip"))
		}
	}
	return routes
}

// groupScopes returns the scopes that read groups. The permission table has them, but not for paths with the type of the members.
func groupScopes(path string, personal bool) []string {
	if personal {
		return []string{}
	}
	scopes := []string{"GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All", "Group.ReadBasic.All", "Directory.Read.All"}
	if strings.HasPrefix(path, "/me/") {
		scopes = append(scopes, "User.Read")
	}
	return scopes
}

// visible returns the groups of the user's tenant: those whose addresses have one of its domains. Graph does not have dynamic lists.
func (c *call) visible() []*Group {
	return slices.DeleteFunc(slices.Clone(c.s.groups), func(g *Group) bool {
		return g.dynamic || c.s.directory.TenantOf(g.Address) != c.User.Tenant
	})
}

func listGroups(c *call) (odata.Response, error) {
	all := []map[string]any{}
	for _, g := range c.visible() {
		all = append(all, g.json())
	}
	return c.Collection("groups", all)
}

func getGroup(c *call) (odata.Response, error) {
	g, err := c.group()
	if err != nil {
		return odata.Response{}, err
	}
	body, err := c.Project(g.json())
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("groups", body), nil
}

// group returns the group that the path names.
func (c *call) group() (*Group, error) {
	id := c.Params["group"]
	for _, g := range c.visible() {
		if strings.EqualFold(g.ID, id) {
			return g, nil
		}
	}
	return nil, odata.NewError(http.StatusNotFound, "Request_ResourceNotFound", "Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

// memberOf returns the groups of the user: only their ids if the token may not read groups.
func memberOf(c *call) (odata.Response, error) {
	all := []map[string]any{}
	for _, g := range c.visible() {
		if !slices.ContainsFunc(g.Members, func(m string) bool { return strings.EqualFold(m, c.User.Address) }) {
			continue
		}
		body := g.json()
		if !c.Granted(groupScopes("", false)...) {
			body = map[string]any{"id": g.ID}
		}
		body["@odata.type"] = "#microsoft.graph.group"
		all = append(all, body)
	}
	return c.Collection("directoryObjects", all)
}

func (s *Service) groupControls() []control.Operation {
	member := func(member bool) func(r *http.Request) (any, error) {
		return func(r *http.Request) (any, error) {
			s.SetMember(r.PathValue("group"), r.PathValue("user"), member)
			return nil, nil
		}
	}
	return []control.Operation{
		{Method: "GET", Path: "/control/groups", Description: "list the groups", Do: func(*http.Request) (any, error) { return control.ListOf(s.Groups()), nil }},
		{Method: "POST", Path: "/control/groups", Description: "add a Microsoft 365 group with a calendar, or a security group", Do: func(r *http.Request) (any, error) {
			in, err := control.Decode[Group](r)
			if err != nil {
				return nil, err
			}
			if err := control.CheckAddress(in.Address, "project@contoso.example"); err != nil {
				return nil, err
			}
			return s.AddGroup(in), nil
		}},
		{Method: "POST", Path: "/control/lists", Description: "add a distribution list", Do: s.postList},
		{Method: "DELETE", Path: "/control/groups/{group}", Description: "remove a group, by its address, and its calendar", Do: func(r *http.Request) (any, error) {
			s.RemoveGroup(r.PathValue("group"))
			return nil, nil
		}},
		{Method: "PUT", Path: "/control/groups/{group}/members/{user}", Description: "make a user a member of a group", Do: member(true)},
		{Method: "DELETE", Path: "/control/groups/{group}/members/{user}", Description: "remove a member of a group", Do: member(false)},
	}
}
