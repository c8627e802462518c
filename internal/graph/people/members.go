package people

import (
	"cmp"
	"context"
	"maps"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// MemberPermissions returns the permissions that Members needs.
func MemberPermissions() []graph.Permission {
	return []graph.Permission{
		{
			Scope: "GroupMember.Read.All", Alternatives: []string{"Group.Read.All", "Group.ReadWrite.All"},
			Purpose: "reads the members of distribution lists to invite them", Impact: "distribution lists are invited as they are",
		},
		{
			Scope: "User.ReadBasic.All", Alternatives: []string{"User.Read.All"},
			Purpose: "reads the addresses of the members of distribution lists", Impact: "distribution lists are invited as they are",
		},
	}
}

// An AddressKind is the kind of thing that an address belongs to.
type AddressKind int

const (
	// UnknownAddress is that of somebody outside, or of a dynamic distribution list, which Graph does not have.
	UnknownAddress AddressKind = iota
	// UserAddress is that of a user of the organization.
	UserAddress
	// GroupAddress is that of a distribution list, a Microsoft 365 group or a mail-enabled security group.
	GroupAddress
)

// Members returns the addresses of the users in the group with this address, also of those in groups within it. For other addresses
// it returns only their kind.
//
// https://learn.microsoft.com/graph/api/group-list-transitivemembers
func Members(ctx context.Context, g *graph.Client, address string) (members []string, kind AddressKind, err error) {
	const op = "look up the distribution list"
	r := groupRequest("/groups{?%24filter,%24select}", "", map[string]string{"%24filter": "mail eq " + quoted(address), "%24select": "id"})
	found, err := graph.List[struct{ ID string }](ctx, g, op, r)
	if err != nil {
		return nil, 0, err
	}
	if len(found) == 0 {
		_, err := graph.Get[struct{ ID string }](ctx, g, "look up the attendee", g.User(address).ToGetRequestInformation, &users.UserItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: []string{"id"}},
		})
		switch {
		case graph.Is(err, graph.NotFound):
			return nil, UnknownAddress, nil
		case err != nil:
			return nil, 0, err
		}
		return nil, UserAddress, nil
	}
	if found[0].ID == "" {
		return nil, 0, graph.Incomplete(op, "id")
	}
	const read = "read the members of the distribution list"
	r = groupRequest("/groups{/id}/transitiveMembers{?%24select,%24top}", found[0].ID, map[string]string{"%24select": "id,mail,userPrincipalName", "%24top": "999"})
	all, err := graph.List[struct {
		ODataType string `json:"@odata.type"`
		personDTO
	}](ctx, g, read, r)
	if err != nil {
		return nil, 0, err
	}
	for _, m := range all {
		// A group within it comes with its own members; devices and apps cannot be invited.
		person := strings.HasSuffix(m.ODataType, ".user") || strings.HasSuffix(m.ODataType, ".orgContact")
		if a := cmp.Or(m.Mail, m.UserPrincipalName); person && a != "" {
			members = append(members, a)
		}
	}
	return members, GroupAddress, nil
}

// groupRequest returns a request for groups. The SDK's builders of groups would make the program much larger.
func groupRequest(path, id string, query map[string]string) *abstractions.RequestInformation {
	r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET, "{+baseurl}"+path, map[string]string{})
	if id != "" {
		r.PathParameters["id"] = id
	}
	maps.Copy(r.QueryParameters, query)
	return r
}
