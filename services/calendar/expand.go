package calendar

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/people"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// ExpandGroups is the name of the operation that invites the members of distribution lists.
const ExpandGroups = "expand_groups"

// maxAttendees is the maximum number of attendees that Exchange takes.
//
// https://learn.microsoft.com/graph/api/resources/event
const maxAttendees = 500

// expandOperation returns the operation that creates an event and invites the members of distribution lists.
func expandOperation(c calendars.Calendar) services.Operation {
	return services.Operation{
		Name: ExpandGroups,
		Doc: "Creates an event as create does, and invites the members of distribution lists and groups instead of the lists. If this operation is " +
			"allowed, create does the same with `expand_groups: true`; without it a list is invited as it is. Microsoft Graph cannot read " +
			"personal contact groups and dynamic distribution lists: `not_expanded` in the response names them. Work accounts only.",
		Example:     `{"subject": "Review", "start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00", "attendees": [{"email": "marketing@contoso.example"}]}`,
		Returns:     append(eventResult(), expandedFields()...),
		Permissions: append([]graph.Permission{c.WritePermission()}, people.MemberPermissions()...),
		Optional:    true, WorkOnly: true, Retry: services.IdempotencyKey, New: func() services.Request { return &Create{calendar: c, expands: true, ExpandGroups: true} },
	}
}

// expandedFields documents what the response says about distribution lists.
func expandedFields() []schema.Field {
	return []schema.Field{
		{Key: "expanded", Type: "list of text", Doc: "Addresses of the lists whose members were invited; missing if expand_groups is not set."},
		{Key: "not_expanded", Type: "list of text", Doc: "Addresses that were invited unchanged because Microsoft Graph finds neither a person who signs in with them nor a list with members: " +
			"people outside, contact groups, dynamic and empty distribution lists; missing if expand_groups is not set."},
	}
}

// Expanded is the result of a request that invited the members of distribution lists.
type Expanded struct {
	calendars.Event
	Groups, Unknown []string // addresses
}

// Data returns the response: that of the event, and what became of the lists.
func (e Expanded) Data() any {
	b, err := json.Marshal(e.Event.Data())
	var data map[string]any
	if err == nil {
		err = json.Unmarshal(b, &data)
	}
	if err != nil {
		return e.Event.Data()
	}
	data["expanded"], data["not_expanded"] = append([]string{}, e.Groups...), append([]string{}, e.Unknown...)
	return data
}

// expand replaces the distribution lists among the attendees by their members. Nobody is invited twice, nor is the user.
func expand(ctx context.Context, g *graph.Client, attendees []calendars.Attendee) (all []calendars.Attendee, e Expanded, err error) {
	if err := directory.RequireWork(ctx, g, "no distribution lists"); err != nil {
		return nil, e, err
	}
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return nil, e, err
	}
	all = []calendars.Attendee{}
	add := func(a calendars.Attendee) {
		if !slices.ContainsFunc(all, func(b calendars.Attendee) bool { return strings.EqualFold(a.Address, b.Address) }) {
			all = append(all, a)
		}
	}
	var expanded []calendars.Attendee
	for _, a := range attendees {
		members, kind, err := people.Members(ctx, g, a.Address)
		switch {
		case err != nil:
			return nil, e, err
		case kind == people.GroupAddress && len(members) > 0:
			e.Groups = append(e.Groups, a.Address)
			for _, m := range members {
				if !strings.EqualFold(m, me.Address) {
					expanded = append(expanded, calendars.Attendee{Address: m, Type: a.Type})
				}
			}
			continue
		case kind != people.UserAddress:
			e.Unknown = append(e.Unknown, a.Address)
		}
		add(a)
	}
	for _, a := range expanded { // who is named in the request keeps the role given there
		add(a)
	}
	if len(all) > maxAttendees {
		return nil, e, graph.Invalid("attendees: want at most %d people, not %d with the members of %s", maxAttendees, len(all), strings.Join(e.Groups, ", "))
	}
	return all, e, nil
}
