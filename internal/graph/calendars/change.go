package calendars

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// HasChanges reports whether Graph documents [Calendar.Changes] for the calendar.
func (c Calendar) HasChanges() bool { return c.Mailbox == "" && c.Group == "" }

// Changes returns what changed between two instants since the round that gave link; in the first round, without a link, all events.
// id is that of the calendar, as Find returns it. Graph reports changes beyond the two instants, too.
//
// https://learn.microsoft.com/graph/api/event-delta
func (c Calendar) Changes(ctx context.Context, g *graph.Client, id string, from, to time.Time, link string) (graph.DeltaChanges[graph.Item], error) {
	const op, item = "ask for changed events", "an event"
	h := headers("text") // the first round has the bodies; fields cannot be selected
	h.Add("Prefer", "odata.maxpagesize=200")
	query := users.ItemCalendarViewDeltaRequestBuilderGetQueryParameters{
		StartDateTime: new(from.UTC().Format(time.RFC3339)), EndDateTime: new(to.UTC().Format(time.RFC3339)),
	}
	owner, calendar := c.owner(g, id)
	if calendar == "" {
		return graph.Delta[graph.Item](ctx, g, op, item, link, h, owner.CalendarView().Delta().ToGetRequestInformation,
			&users.ItemCalendarViewDeltaRequestBuilderGetRequestConfiguration{Headers: h, QueryParameters: &query})
	}
	ofCalendar := users.ItemCalendarsItemCalendarViewDeltaRequestBuilderGetQueryParameters(query)
	return graph.Delta[graph.Item](ctx, g, op, item, link, h, owner.Calendars().ByCalendarId(calendar).CalendarView().Delta().ToGetRequestInformation,
		&users.ItemCalendarsItemCalendarViewDeltaRequestBuilderGetRequestConfiguration{Headers: h, QueryParameters: &ofCalendar})
}

// Probe returns the probe of the calendar with this id, as Find returns it.
func (c Calendar) Probe(ctx context.Context, g *graph.Client, id string) (graph.Probe, error) {
	const op = "ask whether events changed"
	query := users.ItemCalendarEventsRequestBuilderGetQueryParameters{
		Count: new(true), Top: new(int32(1)), Select: []string{"id", "lastModifiedDateTime"}, Orderby: []string{"lastModifiedDateTime desc"},
	}
	owner, calendar := c.owner(g, id)
	if calendar == "" {
		return graph.GetProbe(ctx, g, op, owner.Calendar().Events().ToGetRequestInformation,
			&users.ItemCalendarEventsRequestBuilderGetRequestConfiguration{Headers: headers("text"), QueryParameters: &query})
	}
	ofCalendar := users.ItemCalendarsItemEventsRequestBuilderGetQueryParameters(query)
	return graph.GetProbe(ctx, g, op, owner.Calendars().ByCalendarId(calendar).Events().ToGetRequestInformation,
		&users.ItemCalendarsItemEventsRequestBuilderGetRequestConfiguration{Headers: headers("text"), QueryParameters: &ofCalendar})
}
