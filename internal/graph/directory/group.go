package directory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Group is a Microsoft 365 group. Security groups and distribution lists are none: they have no calendar.
type Group struct{ ID, Name, Address string }

type groupDTO struct {
	ID, DisplayName, Mail string
	GroupTypes            []string
}

func groupFields() []string { return []string{"id", "displayName", "mail", "groupTypes"} }

func (d groupDTO) isUnified() bool { return slices.Contains(d.GroupTypes, "Unified") }

func (d groupDTO) group() Group {
	return Group{strings.ToLower(d.ID), cmp.Or(d.DisplayName, d.Mail, d.ID), d.Mail}
}

// Groups returns the Microsoft 365 groups of which the signed-in user is a member, by name.
func Groups(ctx context.Context, g *graph.Client) ([]Group, error) {
	const op = "list the groups"
	all, err := graph.GetAll[groupDTO](ctx, g, op, g.Me().TransitiveMemberOf().GraphGroup().ToGetRequestInformation,
		&users.ItemTransitiveMemberOfGraphGroupRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemTransitiveMemberOfGraphGroupRequestBuilderGetQueryParameters{Select: groupFields(), Top: new(int32(999))},
		})
	if err != nil {
		return nil, err
	}
	groups := []Group{}
	for _, d := range all {
		switch {
		case !graph.IsObjectID(d.ID):
			return nil, graph.Incomplete(op, "id of a group")
		case d.isUnified():
			groups = append(groups, d.group())
		}
	}
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return groups, nil
}

const findGroup = "find the group"

// FindGroup returns the Microsoft 365 group with this id, address or name, whether or not the signed-in user is a member.
func FindGroup(ctx context.Context, g *graph.Client, group string) (Group, error) {
	if group = strings.TrimSpace(group); graph.IsObjectID(group) {
		d, err := graph.Get[groupDTO](ctx, g, findGroup, groupRequest(group), &groupQuery{})
		switch {
		case graph.Is(err, graph.NotFound):
			return Group{}, graph.Explain(err, "there is no group with the id %s in your organization", group)
		case err != nil:
			return Group{}, err
		case !graph.IsObjectID(d.ID):
			return Group{}, graph.Incomplete(findGroup, "id")
		case !d.isUnified():
			return Group{}, notUnified(group)
		}
		return d.group(), nil
	}
	property := "displayName"
	if strings.Contains(group, "@") {
		property = "mail"
	}
	all, err := graph.GetAll[groupDTO](ctx, g, findGroup, groupRequest(""), &groupQuery{filter: fmt.Sprintf("%s eq '%s'", property, strings.ReplaceAll(group, "'", "''"))})
	if err != nil {
		return Group{}, err
	}
	var found []groupDTO
	for _, d := range all {
		if !graph.IsObjectID(d.ID) {
			return Group{}, graph.Incomplete(findGroup, "id of a group")
		}
		if d.isUnified() {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0].group(), nil
	case len(found) > 1:
		var choices []string
		for _, d := range found {
			choices = append(choices, fmt.Sprintf("%s (%s)", strings.ToLower(d.ID), d.Mail))
		}
		slices.Sort(choices)
		return Group{}, groupNotFound("%d groups are named %s; want the id or address of one of them: %s", len(found), group, strings.Join(choices, ", "))
	case len(all) > 0:
		return Group{}, notUnified(group)
	}
	return Group{}, groupNotFound("there is no group %s in your organization; want the id, address or name of a Microsoft 365 group", group)
}

func notUnified(group string) error {
	return groupNotFound("%s is not a Microsoft 365 group, and so has no calendar", group)
}

func groupNotFound(format string, args ...any) error {
	return &graph.Error{Reason: graph.NotFound, Op: findGroup, Explanation: fmt.Sprintf(format, args...)}
}

type groupQuery struct{ filter string }

// groupRequest returns a function that builds the request for a group, or for all groups. The SDK's builders of groups would make
// the program much larger.
func groupRequest(id string) func(context.Context, *groupQuery) (*abstractions.RequestInformation, error) {
	return func(_ context.Context, q *groupQuery) (*abstractions.RequestInformation, error) {
		r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET, "{+baseurl}/groups{/id}{?%24filter,%24select}", map[string]string{})
		if id != "" {
			r.PathParameters["id"] = id
		}
		if q.filter != "" {
			r.QueryParameters["%24filter"] = q.filter
		}
		r.QueryParameters["%24select"] = strings.Join(groupFields(), ",")
		return r, nil
	}
}
