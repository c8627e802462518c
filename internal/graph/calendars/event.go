package calendars

import (
	"cmp"
	"context"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	// maxDescription is the maximum length of a description in View, in characters.
	maxDescription = 1000
	// maxView is the longest range whose events Graph lists in one request.
	//
	// https://github.com/microsoftgraph/microsoft-graph-docs/issues/6284
	maxView = 1825 * 24 * time.Hour
)

// An Event is one event, or one occurrence of a series. Enumerations have Microsoft's spelling; a missing value is empty.
type Event struct {
	ID, ICalUID, SeriesID string
	Series                bool // it is a series itself, not one of its occurrences

	Subject string
	// Start and End are instants. Where AllDay, they are days instead: the midnights, in UTC, of dates that have no zone, the
	// end exclusive. See Span.
	Start, End time.Time
	AllDay     bool

	Description string // as text, at most 1,000 characters; Read returns all of it
	Location    string
	Categories  []string
	Sensitivity string
	ShowAs      string
	Importance  string
	Attendees   []Attendee
	Organizer   string // address
	Response    string // of the owner of the calendar
	Cancelled   bool
	Reminder    bool
	Minutes     int     // of the reminder, before the start
	JoinURL     string  // of the online meeting
	DialIn      *DialIn // of the online meeting; nil: none
	WebLink     string
	ChangeKey   string   // of its version; only of a calendar with ChangeKeys
	Meeting     *Meeting // of the online meeting; not read with the event
}

// An Attendee is a person or a room that is invited.
type Attendee struct {
	Address, Name, Type, Response string
}

// DialIn holds the numbers for joining an online meeting by telephone.
type DialIn struct {
	TollNumber     string
	TollFreeNumber string
	ConferenceID   string
	QuickDial      string // number and conference id to dial at once
}

// Span returns the start and end of e in the time zone loc.
func (e Event) Span(loc *time.Location) (start, end time.Time) {
	if !e.AllDay {
		return e.Start.In(loc), e.End.In(loc)
	}
	return startOfDay(e.Start, loc), startOfDay(e.End, loc)
}

// startOfDay returns the first moment in loc of the date of day.
func startOfDay(day time.Time, loc *time.Location) time.Time {
	return graph.StartOfDay(day.Year(), day.Month(), day.Day(), loc)
}

// Within reports whether any part of e is in [from, to), with all-day events in the time zone loc.
func (e Event) Within(loc *time.Location, from, to time.Time) bool {
	start, end := e.Span(loc)
	return start.Before(to) && (end.After(from) || end.Equal(start) && !start.Before(from))
}

// Data returns the ids and links of e, which answer a request that made or changed it.
func (e Event) Data() any {
	return struct {
		EventID  string `json:"event_id"`
		ICalUID  string `json:"ical_uid"`
		SeriesID string `json:"series_id,omitempty"`
		WebLink  string `json:"web_link"`
		JoinURL  string `json:"join_url,omitempty"`
	}{e.ID, e.ICalUID, e.SeriesID, e.WebLink, e.JoinURL}
}

// eventFields returns the properties of Graph's event that an Event is made of. Without basic they include the body, which
// Calendars.ReadBasic does not give.
func eventFields(basic bool) []string {
	f := []string{
		"id", "iCalUId", "seriesMasterId", "subject", "start", "end", "isAllDay", "location", "categories", "sensitivity", "showAs", "importance",
		"attendees", "organizer", "responseStatus", "isCancelled", "isReminderOn", "reminderMinutesBeforeStart", "onlineMeeting", "onlineMeetingUrl", "webLink",
	}
	if !basic {
		f = append(f, "body")
	}
	return f
}

// viewFields returns the properties that View reads.
func (c Calendar) viewFields() []string {
	f := eventFields(c.Basic)
	if c.ChangeKeys {
		f = append(f, "changeKey")
	}
	return f
}

// An eventDTO is Graph's event. Each part of it may be null or missing.
type eventDTO struct {
	ID             string                       `json:"id"`
	ICalUID        string                       `json:"iCalUId"`
	Type           string                       `json:"type"`
	SeriesMasterID string                       `json:"seriesMasterId"`
	Subject        string                       `json:"subject"`
	Body           struct{ Content string }     `json:"body"`
	Start          graph.DateTimeTimeZone       `json:"start"`
	End            graph.DateTimeTimeZone       `json:"end"`
	IsAllDay       bool                         `json:"isAllDay"`
	Location       struct{ DisplayName string } `json:"location"`
	Categories     []string                     `json:"categories"`
	Sensitivity    string                       `json:"sensitivity"`
	ShowAs         string                       `json:"showAs"`
	Importance     string                       `json:"importance"`
	Attendees      []struct {
		Type         string
		Status       struct{ Response string }
		EmailAddress struct{ Name, Address string }
	} `json:"attendees"`
	Organizer struct {
		EmailAddress struct{ Name, Address string }
	} `json:"organizer"`
	ResponseStatus             struct{ Response string } `json:"responseStatus"`
	IsCancelled                bool                      `json:"isCancelled"`
	IsReminderOn               bool                      `json:"isReminderOn"`
	ReminderMinutesBeforeStart int                       `json:"reminderMinutesBeforeStart"`
	IsOnlineMeeting            bool                      `json:"isOnlineMeeting"`
	OnlineMeeting              struct {
		JoinURL         string
		ConferenceID    string
		QuickDial       string
		TollNumber      string
		TollFreeNumbers []string
	} `json:"onlineMeeting"`
	OnlineMeetingURL string `json:"onlineMeetingUrl"`
	WebLink          string `json:"webLink"`
	ChangeKey        string `json:"changeKey"`
}

// text returns the whole description.
func (d eventDTO) text() string { return strings.TrimSpace(d.Body.Content) }

// event returns an error for an answer without the essentials of an event: an id and a start.
func (d eventDTO) event(op string) (Event, error) {
	e := Event{
		ID: d.ID, ICalUID: d.ICalUID, SeriesID: d.SeriesMasterID, Series: d.Type == "seriesMaster",
		Subject: d.Subject, AllDay: d.IsAllDay,
		Description: graph.Truncate(d.text(), maxDescription),
		Location:    d.Location.DisplayName,
		Categories:  d.Categories,
		Sensitivity: d.Sensitivity, ShowAs: d.ShowAs, Importance: d.Importance,
		Organizer: d.Organizer.EmailAddress.Address,
		Response:  d.ResponseStatus.Response,
		Cancelled: d.IsCancelled,
		Reminder:  d.IsReminderOn, Minutes: d.ReminderMinutesBeforeStart,
		JoinURL: d.joinURL(), WebLink: d.WebLink,
		DialIn: d.dialIn(),
	}
	for _, t := range d.Attendees {
		e.Attendees = append(e.Attendees, Attendee{t.EmailAddress.Address, t.EmailAddress.Name, t.Type, t.Status.Response})
	}
	e.Start, e.End = instant(d.Start), instant(d.End)
	switch {
	case e.ID == "":
		return Event{}, graph.Incomplete(op, "id of an event")
	case e.Start.IsZero():
		return Event{}, graph.Incomplete(op, "start of an event")
	}
	if e.AllDay {
		e.Start, e.End = day(e.Start), day(e.End)
		if !e.End.After(e.Start) {
			e.End = e.Start.AddDate(0, 0, 1)
		}
	} else if e.End.Before(e.Start) {
		e.End = e.Start
	}
	return e, nil
}

// joinURL returns the address by which one joins the online meeting, or "".
func (d eventDTO) joinURL() string { return cmp.Or(d.OnlineMeeting.JoinURL, d.OnlineMeetingURL) }

func (d eventDTO) dialIn() *DialIn {
	m := d.OnlineMeeting
	in := DialIn{TollNumber: m.TollNumber, ConferenceID: m.ConferenceID, QuickDial: m.QuickDial}
	if len(m.TollFreeNumbers) > 0 {
		in.TollFreeNumber = m.TollFreeNumbers[0]
	}
	if in == (DialIn{}) {
		return nil
	}
	return &in
}

// instant returns the time in UTC. Every request asks for times in UTC, so a time in an unknown zone is read as one in UTC.
func instant(d graph.DateTimeTimeZone) time.Time {
	t, err := d.Time()
	if err != nil {
		t, _ = graph.DateTimeTimeZone{DateTime: d.DateTime}.Time()
	}
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// day returns the midnight, in UTC, of the start or end of an all-day event. Exchange stores a midnight, perhaps of the zone in which
// the event was made; the date is that of the nearest midnight in UTC.
func day(t time.Time) time.Time { return t.Add(12 * time.Hour).Truncate(24 * time.Hour) }

// View returns all events between two instants, in any order, occurrences of series among them. id is that of the calendar, as
// Find returns it.
func (c Calendar) View(ctx context.Context, g *graph.Client, id string, from, to time.Time) ([]Event, error) {
	const op = "read the calendar"
	events := []Event{}
	seen := map[string]bool{} // an event that lies on the border of two views is in both
	for begin := from; begin.Before(to); begin = begin.Add(maxView) {
		end := begin.Add(maxView)
		if end.After(to) {
			end = to
		}
		r, err := c.view(ctx, g, id, begin, end, nil, 1000)
		if err != nil {
			return nil, err
		}
		page, err := graph.List[eventDTO](ctx, g, op, r)
		if err != nil {
			return nil, c.explainView(g, id, err)
		}
		for _, d := range page {
			e, err := d.event(op)
			if err != nil {
				return nil, err
			}
			if c.ChangeKeys {
				e.ChangeKey = d.ChangeKey
			}
			if !seen[e.ID] {
				seen[e.ID] = true
				events = append(events, e)
			}
		}
	}
	return events, nil
}

// orderedTop is the size of the pages of ViewInOrder: about what one response takes.
const orderedTop = 250

// ViewInOrder calls visit with the events that View returns, in the order of their start, until visit returns false. An event that
// lies on the border of two views comes twice.
func (c Calendar) ViewInOrder(ctx context.Context, g *graph.Client, id string, from, to time.Time, visit func(Event) bool) error {
	const op = "read the calendar"
	more := true
	for begin := from; begin.Before(to) && more; begin = begin.Add(maxView) {
		end := begin.Add(maxView)
		if end.After(to) {
			end = to
		}
		r, err := c.view(ctx, g, id, begin, end, []string{"start/dateTime"}, orderedTop)
		if err != nil {
			return err
		}
		err = graph.Each(ctx, g, op, r, func(d eventDTO) (bool, error) {
			e, err := d.event(op)
			if err != nil {
				return false, err
			}
			more = visit(e)
			return more, nil
		})
		if err != nil {
			return c.explainView(g, id, err)
		}
	}
	return nil
}

func (c Calendar) explainView(g *graph.Client, id string, err error) error {
	if id != "" && c.Mailbox == "" && c.Group == "" && graph.Is(err, graph.NotFound) {
		return graph.Explain(err, "there is no calendar with this id: %s", id)
	}
	return c.explainRead(g, err)
}

// view returns the request for a view.
func (c Calendar) view(ctx context.Context, g *graph.Client, id string, from, to time.Time, order []string, top int32) (*abstractions.RequestInformation, error) {
	query := users.ItemCalendarCalendarViewRequestBuilderGetQueryParameters{
		StartDateTime: new(from.UTC().Format(time.RFC3339)), EndDateTime: new(to.UTC().Format(time.RFC3339)), Select: c.viewFields(), Orderby: order, Top: &top,
	}
	owner, calendar := c.owner(g, id)
	if calendar == "" {
		return owner.Calendar().CalendarView().ToGetRequestInformation(ctx,
			&users.ItemCalendarCalendarViewRequestBuilderGetRequestConfiguration{Headers: headers("text"), QueryParameters: &query})
	}
	ofCalendar := users.ItemCalendarsItemCalendarViewRequestBuilderGetQueryParameters(query)
	return owner.Calendars().ByCalendarId(calendar).CalendarView().ToGetRequestInformation(ctx,
		&users.ItemCalendarsItemCalendarViewRequestBuilderGetRequestConfiguration{Headers: headers("text"), QueryParameters: &ofCalendar})
}

// event returns the builder of the event with this id. A group is looked up once for each client.
func (c Calendar) event(ctx context.Context, g *graph.Client, id string) (*users.ItemEventsEventItemRequestBuilder, error) {
	if c.Group == "" {
		return c.user(g).Events().ByEventId(id), nil
	}
	group, err := graph.Once(ctx, g, "calendar of the group "+c.Group, func() (Info, error) { return c.Find(ctx, g) })
	if err != nil {
		return nil, err
	}
	return g.Group(group.ID).Events().ByEventId(id), nil
}

// Read returns the event or series with this id.
func (c Calendar) Read(ctx context.Context, g *graph.Client, id string) (Event, error) {
	e, _, err := c.ReadWithBody(ctx, g, id)
	return e, err
}

// ReadWithBody is Read, and also returns the whole description; the event has only the beginning of it.
func (c Calendar) ReadWithBody(ctx context.Context, g *graph.Client, id string) (e Event, description string, err error) {
	const op = "read the event"
	d, err := c.readDTO(ctx, g, op, id, headers("text"), append(eventFields(c.Basic), "type"))
	if err != nil {
		return Event{}, "", err
	}
	e, err = d.event(op)
	return e, d.text(), err
}

func (c Calendar) readDTO(ctx context.Context, g *graph.Client, op, id string, headers *abstractions.RequestHeaders, fields []string) (eventDTO, error) {
	event, err := c.event(ctx, g, id)
	if err != nil {
		return eventDTO{}, err
	}
	d, err := graph.Get[eventDTO](ctx, g, op, event.ToGetRequestInformation, &users.ItemEventsEventItemRequestBuilderGetRequestConfiguration{
		Headers: headers, QueryParameters: &users.ItemEventsEventItemRequestBuilderGetQueryParameters{Select: fields},
	})
	return d, c.explainEvent(g, err)
}
