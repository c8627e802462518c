package calendar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Calendar says which calendar is meant.
type Calendar struct {
	Mailbox string // address or id of somebody else's mailbox; "": one's own
	Name    string // or id; "": the default calendar
	Basic   bool   // nothing is read that Calendars.ReadBasic does not give
}

// A Listed is one of the calendars of a mailbox.
type Listed struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (c Calendar) user(g *graph.Client) *users.UserItemRequestBuilder {
	if c.Mailbox == "" {
		return g.Me()
	}
	return g.User(c.Mailbox)
}

// List asks for the calendars of the mailbox, of which Name is not considered.
func (c Calendar) List(ctx context.Context, g *graph.Client) ([]Listed, error) {
	const op = "list the calendars"
	top := int32(100)
	r, err := c.user(g).Calendars().ToGetRequestInformation(ctx, &users.ItemCalendarsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemCalendarsRequestBuilderGetQueryParameters{Select: []string{"id", "name"}, Top: &top},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return graph.List[Listed](ctx, g, op, r)
}

// Find asks for the id of the calendar; "" is the default one. A name is compared without case where it does not match
// exactly.
func (c Calendar) Find(ctx context.Context, g *graph.Client) (id string, err error) {
	// An id is taken for what it is: a calendar that somebody delegates is not always listed.
	if c.Name == "" || len(c.Name) > 60 && !strings.Contains(c.Name, " ") {
		return c.Name, nil
	}
	all, err := c.List(ctx, g)
	if err != nil {
		return "", err
	}
	var names []string
	for _, l := range all {
		names = append(names, fmt.Sprintf("%q", l.Name))
	}
	for _, same := range []func(Listed) bool{
		func(l Listed) bool { return l.Name == c.Name },
		func(l Listed) bool { return strings.EqualFold(l.Name, c.Name) },
	} {
		var ids []string
		for _, l := range all {
			if same(l) {
				ids = append(ids, l.ID)
			}
		}
		switch {
		case len(ids) == 1:
			return ids[0], nil
		case len(ids) > 1:
			return "", &graph.Error{Reason: graph.NotFound, Op: "find the calendar", Err: fmt.Errorf("%d calendars are named %q; want the id of one of them: %s", len(ids), c.Name, strings.Join(ids, ", "))}
		}
	}
	slices.Sort(names)
	return "", &graph.Error{Reason: graph.NotFound, Op: "find the calendar", Err: fmt.Errorf("none is named %q; there are: %s", c.Name, strings.Join(names, ", "))}
}

// View asks for all events between two instants, occurrences of series among them. Those without an id or a start are left
// out. The id is that of the calendar, as Find gives it.
func (c Calendar) View(ctx context.Context, g *graph.Client, id string, from, to time.Time) ([]Event, error) {
	const op = "read the calendar"
	start, end := from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)
	top := int32(1000)
	query := users.ItemCalendarCalendarViewRequestBuilderGetQueryParameters{StartDateTime: &start, EndDateTime: &end, Select: fields(c.Basic), Top: &top}
	var r *abstractions.RequestInformation
	var err error
	if id == "" {
		r, err = c.user(g).Calendar().CalendarView().ToGetRequestInformation(ctx, &users.ItemCalendarCalendarViewRequestBuilderGetRequestConfiguration{
			Headers: headers(), QueryParameters: &query,
		})
	} else {
		query := users.ItemCalendarsItemCalendarViewRequestBuilderGetQueryParameters(query)
		r, err = c.user(g).Calendars().ByCalendarId(id).CalendarView().ToGetRequestInformation(ctx, &users.ItemCalendarsItemCalendarViewRequestBuilderGetRequestConfiguration{
			Headers: headers(), QueryParameters: &query,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	answers, err := graph.List[answer](ctx, g, op, r)
	if err != nil {
		return nil, err
	}
	events := make([]Event, 0, len(answers))
	for _, a := range answers {
		if e, ok := a.event(); ok {
			events = append(events, e)
		}
	}
	return events, nil
}

// headers ask for times that need no table, bodies that need no browser, and ids that survive a move.
func headers() *abstractions.RequestHeaders {
	h := abstractions.NewRequestHeaders()
	h.Add("Prefer", `outlook.timezone="UTC"`)
	h.Add("Prefer", `outlook.body-content-type="text"`)
	graph.PreferImmutableIDs(h)
	return h
}

// post makes the request that puts an event into the calendar.
func (c Calendar) post(ctx context.Context, g *graph.Client, id string, e models.Eventable) (*abstractions.RequestInformation, error) {
	if id == "" {
		return c.user(g).Events().ToPostRequestInformation(ctx, e, &users.ItemEventsRequestBuilderPostRequestConfiguration{Headers: headers()})
	}
	return c.user(g).Calendars().ByCalendarId(id).Events().ToPostRequestInformation(ctx, e, &users.ItemCalendarsItemEventsRequestBuilderPostRequestConfiguration{Headers: headers()})
}

var errNoEvent = errors.New("the answer is not an event")
