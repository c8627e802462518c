package calendar

import (
	"cmp"
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

// GroupKind returns the kind group_calendar.
func GroupKind() sensors.Kind {
	kind := Kind()
	kind.Name, kind.Title, kind.MemberField, kind.WorkOnly = "group_calendar", "Group calendar", "group", true
	kind.Aliases = []string{"group", "groups", "group_calendars", "team_calendar"}
	kind.Doc = "The events of the calendar of a Microsoft 365 group that you are a member of. Works like calendar, except that " +
		"a group does not respond to invitations. Its permissions need the consent of an administrator: `graph2mqtt permissions` prints a link to send them."
	kind.New = func() sensors.Sensor { return sensors.Of(&GroupOptions{View: defaultView()}) }
	kind.Candidates = groupCandidates
	kind.Application, kind.OfMailbox, kind.UserOnly = false, false, "Microsoft does not let applications use the calendars of groups"
	kind.Attributes, kind.Events = attributeFields(groupMeetingField()), events(groupMeetingField())
	return kind
}

// target returns the calendar of the group. Without options, it is that of any group.
func (o *GroupOptions) target() calendars.Calendar {
	return calendars.Calendar{Group: cmp.Or(o.Group, all)}
}

// Permissions implements sensors.Source.
func (o *GroupOptions) Permissions() []graph.Permission {
	return []graph.Permission{o.target().ReadPermission()}
}

// Operations implements sensors.OperationProvider.
func (o *GroupOptions) Operations() []services.Operation { return calendar.Operations(o.target()) }

// Poll implements sensors.Source.
func (o *GroupOptions) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	return o.poll(ctx, g, o.target(), last, now)
}

// IsGroup implements sensors.GroupSource.
func (o *GroupOptions) IsGroup() bool { return o.Group == all }

// Members implements sensors.GroupSource.
func (o *GroupOptions) Members(ctx context.Context, g *graph.Client) ([]sensors.Member, error) {
	groups, err := directory.Groups(ctx, g)
	if err != nil {
		return nil, err
	}
	var members []sensors.Member
	for _, group := range groups {
		if !named(o.Except, group.ID, group.Name, group.Address) {
			members = append(members, sensors.Member{ID: group.ID, Name: group.Name, Address: group.Address})
		}
	}
	return members, nil
}

// Member implements sensors.GroupSource.
func (o *GroupOptions) Member(m sensors.Member) sensors.Source[Snapshot] {
	member := *o
	member.Group, member.Except = m.ID, nil
	return &member
}

// groupCandidates lists the groups of the user. One is named by its address, or by its id if it has none of its own.
func groupCandidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	groups, err := directory.Groups(ctx, g)
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for i, group := range groups {
		name := graph.UniqueName(groups, i, func(g directory.Group) string { return g.ID }, func(g directory.Group) string { return g.Address }, all)
		found = append(found, sensors.Candidate{Name: group.Name, Options: map[string]string{"group": name}, SelectedBy: sensors.SelectedBy(func(o *GroupOptions) bool {
			return named([]string{o.Group}, group.ID, group.Name, group.Address) ||
				o.Group == all && !named(o.Except, group.ID, group.Name, group.Address)
		})})
	}
	return found, nil
}
