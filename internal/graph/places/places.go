// Package places lists the meeting rooms of an organization.
package places

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Room is a meeting room. Address is that of its mailbox, or its id if the address may not be read.
type Room struct{ Address, Name string }

// Permission returns the permission for listing rooms and room lists.
func Permission() graph.Permission {
	return graph.Permission{
		Scope: "Place.Read.All", Alternatives: []string{"Place.ReadWrite.All"}, Purpose: "lists the rooms of the organization", Impact: "rooms are not found",
	}
}

// MemberPermission returns the permission for listing the rooms in a group.
func MemberPermission() graph.Permission {
	return graph.Permission{
		Scope: "GroupMember.Read.All", Alternatives: []string{"Group.Read.All", "Group.ReadWrite.All"}, Purpose: "lists the rooms in a group", Impact: "rooms are not found",
	}
}

const (
	pageSize = 100
	maxPages = 301 // of 30,000 rooms, with the empty one at the end
)

// Rooms returns the rooms in the room list with this address, or all of the organization for "". Rooms that are hidden from address
// lists are missing.
//
// https://learn.microsoft.com/graph/api/place-list
func Rooms(ctx context.Context, g *graph.Client, list string) ([]Room, error) {
	const op = "list the rooms"
	if g.NationalCloud() {
		return nil, &graph.Error{Reason: graph.NotFound, Op: op, Explanation: "Microsoft lists rooms in the global cloud only; name their addresses"}
	}
	path := "/places/microsoft.graph.room"
	if list != "" {
		path = "/places{/id}/microsoft.graph.roomlist/rooms"
	}
	var rooms []Room
	// Some answers lack the link to the next page, and the last one may be full.
	for page := range maxPages {
		r := request(path, list, map[string]string{"%24select": "displayName,emailAddress", "%24top": strconv.Itoa(pageSize), "%24skip": strconv.Itoa(page * pageSize)})
		var answer struct {
			Value []struct{ DisplayName, EmailAddress string } `json:"value"`
		}
		err := g.Do(ctx, op, r, &answer)
		switch {
		case list != "" && graph.Is(err, graph.NotFound):
			return nil, graph.Explain(err, "there is no room list %s", list)
		case err != nil:
			return nil, err
		case answer.Value == nil:
			return nil, graph.NotAList(op)
		case len(answer.Value) == 0 && len(rooms) == 0:
			return nil, &graph.Error{Reason: graph.NotFound, Op: op, Explanation: "Microsoft lists no room; rooms that are hidden from address lists are not listed"}
		case len(answer.Value) == 0:
			return rooms, nil
		}
		for _, v := range answer.Value {
			if v.EmailAddress != "" {
				rooms = append(rooms, Room{v.EmailAddress, v.DisplayName})
			}
		}
	}
	return nil, &graph.Error{Reason: graph.Refused, Op: op, Err: fmt.Errorf("there are more than %d rooms", (maxPages-1)*pageSize)}
}

// Members returns the rooms in a group, which is named by its id or its address, also those in groups within it.
//
// https://learn.microsoft.com/graph/api/group-list-transitivemembers
func Members(ctx context.Context, g *graph.Client, group string) ([]Room, error) {
	const op = "list the rooms in the group"
	if strings.Contains(group, "@") {
		found, err := graph.List[struct{ ID string }](ctx, g, "find the group", request("/groups{?%24filter,%24select}", "", map[string]string{
			"%24filter": "mail eq '" + strings.ReplaceAll(group, "'", "''") + "'", "%24select": "id",
		}))
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0 || found[0].ID == "":
			return nil, &graph.Error{Reason: graph.NotFound, Op: "find the group", Explanation: fmt.Sprintf("there is no group %s", group)}
		}
		group = found[0].ID
	}
	all, err := graph.List[struct {
		ODataType   string `json:"@odata.type"`
		ID          string `json:"id"`
		Mail        string `json:"mail"`
		DisplayName string `json:"displayName"`
	}](ctx, g, op, request("/groups{/id}/transitiveMembers{?%24select,%24top}", group, map[string]string{"%24select": "id,mail,displayName", "%24top": "999"}))
	switch {
	case graph.Is(err, graph.NotFound):
		return nil, graph.Explain(err, "there is no group %s", group)
	case err != nil:
		return nil, err
	}
	var rooms []Room
	for _, m := range all {
		if address := cmp.Or(m.Mail, m.ID); strings.HasSuffix(m.ODataType, ".user") && address != "" {
			rooms = append(rooms, Room{address, m.DisplayName})
		}
	}
	if len(rooms) == 0 {
		return nil, &graph.Error{Reason: graph.NotFound, Op: op, Explanation: "the group has no members with a mailbox"}
	}
	slices.SortFunc(rooms, func(a, b Room) int { return cmp.Compare(a.Address, b.Address) })
	return rooms, nil
}

// request returns a request for what path names. The SDK's builders of places and groups would make the program much larger.
func request(path, id string, query map[string]string) *abstractions.RequestInformation {
	if !strings.Contains(path, "{?") {
		path += "{?%24select,%24top,%24skip}"
	}
	r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET, "{+baseurl}"+path, map[string]string{})
	if id != "" {
		r.PathParameters["id"] = id
	}
	for key, value := range query {
		r.QueryParameters[key] = value
	}
	return r
}
