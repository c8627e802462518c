// Package calendars is a client for the calendars of Microsoft Graph and their events.
package calendars

import (
	"context"
	"fmt"
	"slices"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
)

// A Calendar names a calendar.
type Calendar struct {
	Mailbox string // address or id of another user's mailbox; "": the signed-in user's
	Group   string // id, address or name of a Microsoft 365 group, which has one calendar; nothing else is set then
	Name    string // or id; "": the default calendar
	Basic   bool   // only properties that Calendars.ReadBasic allows are read

	ChangeKeys bool // View reads the versions of events
}

// Info describes one calendar of a mailbox.
type Info struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	CanEdit *bool  `json:"canEdit"` // nil: not known
	Color   string `json:"color"`   // Outlook's name of it: "lightBlue", "auto"
	Hex     string `json:"hexColor"`
}

// ReadOnly reports whether Graph says that the signed-in user cannot change the calendar.
func (i Info) ReadOnly() bool { return i.CanEdit != nil && !*i.CanEdit }

func infoFields() []string { return []string{"id", "name", "canEdit", "color", "hexColor"} }

// ReadPermission returns the permission for reading the calendar.
func (c Calendar) ReadPermission() graph.Permission {
	need := graph.Permission{
		Scope:        "Calendars.Read",
		Alternatives: []string{"Calendars.ReadWrite"},
		Purpose:      "reads the events of the calendar",
		Impact:       "the calendar is unavailable",
	}
	switch {
	case c.Group != "":
		need.Scope, need.Alternatives = "Group.Read.All", []string{"Group.ReadWrite.All"}
		need.Purpose = "reads the events of the calendar of a group"
	case c.Mailbox != "":
		need.Scope, need.Alternatives = "Calendars.Read.Shared", []string{"Calendars.ReadWrite.Shared"}
		need.Purpose = "reads the events of a calendar that others share"
	case c.Basic:
		need.Scope, need.Alternatives = "Calendars.ReadBasic", []string{"Calendars.Read", "Calendars.ReadWrite"}
		need.Purpose = "reads the events of the calendar, but not their descriptions"
	}
	return need
}

// WritePermission returns the permission for changing the calendar.
func (c Calendar) WritePermission() graph.Permission {
	need := graph.Permission{
		Scope:   "Calendars.ReadWrite",
		Purpose: "creates and changes events of the calendar",
		Impact:  "the calendar is shown but its events cannot be changed",
	}
	switch {
	case c.Group != "":
		need.Scope = "Group.ReadWrite.All"
		need.Purpose = "creates and changes events of the calendar of a group"
	case c.Mailbox != "":
		need.Scope = "Calendars.ReadWrite.Shared"
	}
	return need
}

// owner returns the builder of what the calendar with this id, as Find returns it, belongs to, and the id that selects the calendar
// there: "" for the default one, and the only one of a group.
func (c Calendar) owner(g *graph.Client, id string) (*users.UserItemRequestBuilder, string) {
	switch {
	case c.Group != "":
		return g.Group(id), ""
	case c.Mailbox != "":
		return g.User(c.Mailbox), id
	}
	return g.Me(), id
}

// user returns the builder of the mailbox.
func (c Calendar) user(g *graph.Client) *users.UserItemRequestBuilder {
	owner, _ := c.owner(g, "")
	return owner
}

// List returns the calendars of the mailbox; Name does not matter.
func (c Calendar) List(ctx context.Context, g *graph.Client) ([]Info, error) {
	const op = "list the calendars"
	all, err := graph.GetAll[Info](ctx, g, op, c.user(g).Calendars().ToGetRequestInformation, &users.ItemCalendarsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemCalendarsRequestBuilderGetQueryParameters{Select: infoFields(), Top: new(int32(100))},
	})
	if err != nil {
		return nil, c.explainRead(g, err)
	}
	if slices.ContainsFunc(all, func(i Info) bool { return i.ID == "" }) {
		return nil, graph.Incomplete(op, "id of a calendar")
	}
	return all, nil
}

// Get returns the calendar with this id, as Find returns it.
func (c Calendar) Get(ctx context.Context, g *graph.Client, id string) (Info, error) {
	const op = "read the calendar's properties"
	var info Info
	var err error
	owner, calendar := c.owner(g, id)
	if calendar == "" {
		info, err = graph.Get[Info](ctx, g, op, owner.Calendar().ToGetRequestInformation, &users.ItemCalendarRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemCalendarRequestBuilderGetQueryParameters{Select: infoFields()},
		})
	} else {
		info, err = graph.Get[Info](ctx, g, op, owner.Calendars().ByCalendarId(calendar).ToGetRequestInformation, &users.ItemCalendarsCalendarItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemCalendarsCalendarItemRequestBuilderGetQueryParameters{Select: infoFields()},
		})
	}
	switch {
	case err != nil:
		return Info{}, c.explainRead(g, err)
	case info.ID == "":
		return Info{}, graph.Incomplete(op, "id")
	}
	return info, nil
}

// Find returns the calendar that Name names. A name that matches none exactly is compared without case. The default calendar and one
// that is named by its id need no request: only Info.ID is set, and is "" for the default calendar. For a group, ID and Name are those
// of the group.
func (c Calendar) Find(ctx context.Context, g *graph.Client) (Info, error) {
	if c.Group != "" {
		group, err := directory.FindGroup(ctx, g, c.Group)
		return Info{ID: group.ID, Name: group.Name}, err
	}
	// An id is not looked up in the list: it may lack a calendar that somebody delegates.
	if c.Name == "" || graph.IsOutlookID(c.Name) {
		return Info{ID: c.Name}, nil
	}
	all, err := c.List(ctx, g)
	if err != nil {
		return Info{}, err
	}
	return graph.FindByName("calendar", c.Name, all, func(i Info) string { return i.ID }, func(i Info) string { return i.Name },
		func(i Info) bool { return i.Name == c.Name },
		func(i Info) bool { return strings.EqualFold(i.Name, c.Name) },
	)
}

// explainRead adds an explanation to err for the user if another user's calendar cannot be read.
func (c Calendar) explainRead(g *graph.Client, err error) error {
	switch {
	case c.Group != "":
		return c.explainGroup(g, err)
	case c.Mailbox == "", g.Application():
	case graph.HasCode(err, "ErrorInvalidUser", "Request_ResourceNotFound"):
		return graph.Explain(err, "there is no mailbox %s; for the calendar of a group use type: group_calendar", c.Mailbox)
	case graph.Is(err, graph.PermissionMissing) && g.Granted(c.ReadPermission()):
		return graph.Explain(err, "%s does not share this calendar with you", c.Mailbox)
	case graph.HasCode(err, "ErrorItemNotFound", "ErrorFolderNotFound"):
		return graph.Explain(err, "%s has no such calendar, or does not share it with you", c.Mailbox)
	}
	return err
}

// explainGroup adds an explanation to err for the user if the calendar of a group cannot be read or changed.
func (c Calendar) explainGroup(g *graph.Client, err error) error {
	switch {
	case graph.Is(err, graph.PermissionMissing) && g.Granted(c.ReadPermission()):
		return graph.Explain(err, "you are not a member of the group %s", c.Group)
	case graph.Is(err, graph.NotFound):
		return graph.Explain(err, "there is no group %s, or it has no calendar", c.Group)
	}
	return err
}

// explainEvent adds an explanation to err for the user if an event in another user's mailbox cannot be reached.
func (c Calendar) explainEvent(g *graph.Client, err error) error {
	if graph.HasCode(err, "ErrorItemNotFound", "ErrorFolderNotFound") {
		return err
	}
	return c.explainRead(g, err)
}

// explainWrite returns an error that explains in the user's words why a calendar cannot be changed. id is that of the calendar, as Find returns it.
func (c Calendar) explainWrite(ctx context.Context, g *graph.Client, id string, err error) error {
	if !graph.Is(err, graph.PermissionMissing) || !g.Granted(c.WritePermission()) {
		return c.explainRead(g, err)
	}
	if g.Application() {
		return err
	}
	if info, unknown := c.Get(ctx, g, id); unknown == nil && info.ReadOnly() {
		return readOnly(info, c.Mailbox)
	}
	if c.Mailbox != "" {
		return graph.Explain(err, "%s does not let you change this calendar", c.Mailbox)
	}
	return c.explainRead(g, err)
}

func readOnly(i Info, mailbox string) error {
	e := &graph.Error{Reason: graph.InvalidArgument, Op: opCreate, Explanation: fmt.Sprintf("the calendar %s is read-only", i.Name)}
	if mailbox != "" {
		e.Explanation += " for you: " + mailbox + " shares it that way"
	}
	return e
}

// headers returns the headers that ask for times in UTC, for immutable ids and for bodies as "text" or "html".
func headers(body string) *abstractions.RequestHeaders {
	h := abstractions.NewRequestHeaders()
	h.Add("Prefer", `outlook.timezone="UTC"`)
	h.Add("Prefer", `outlook.body-content-type="`+body+`"`)
	graph.PreferImmutableIDs(h)
	return h
}
