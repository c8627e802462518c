package calendars

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const opCreate = "create the event"

// Fields are the properties of an event to set. Nil fields, and a zero Start or End, stay unchanged.
type Fields struct {
	Subject *string
	Body    *Body

	// Start and End are written with their zones, which a series keeps. With WholeDays only their dates are written.
	Start, End time.Time
	WholeDays  bool
	AllDay     *bool // whether the event takes whole days from now on
	Recurrence *graph.Recurrence

	Location        *string
	Categories      []string
	Sensitivity     *string
	ShowAs          *string
	Attendees       []Attendee
	ReminderOn      *bool
	ReminderMinutes *int // before the start
	OnlineMeeting   *bool
}

// A Body is the description of an event as it is written.
type Body struct {
	Content string
	HTML    bool
}

// model returns the body of the request. It depends only on f, so that a repetition sends the same.
func (f Fields) model() (models.Eventable, error) {
	e := models.NewEvent()
	if f.Subject != nil {
		e.SetSubject(f.Subject)
	}
	if f.Body != nil {
		e.SetBody(graph.ItemBody(f.Body.Content, f.Body.HTML))
	}
	write := graph.FormatTime
	if f.WholeDays {
		write = graph.FormatDate
	}
	if !f.Start.IsZero() {
		e.SetStart(write(f.Start))
	}
	if !f.End.IsZero() {
		e.SetEnd(write(f.End))
	}
	if f.AllDay != nil {
		e.SetIsAllDay(f.AllDay)
	}
	if f.Recurrence != nil {
		series, err := f.Recurrence.Model()
		if err != nil {
			return nil, err
		}
		e.SetRecurrence(series)
	}
	if f.Location != nil {
		location := models.NewLocation()
		location.SetDisplayName(f.Location)
		e.SetLocation(location)
	}
	if f.Categories != nil {
		e.SetCategories(f.Categories)
	}
	if f.Sensitivity != nil {
		v, err := models.ParseSensitivity(*f.Sensitivity)
		if err != nil || v == nil {
			return nil, graph.Invalid("sensitivity: unknown value %q", *f.Sensitivity)
		}
		e.SetSensitivity(v.(*models.Sensitivity))
	}
	if f.ShowAs != nil {
		v, err := models.ParseFreeBusyStatus(*f.ShowAs)
		if err != nil || v == nil {
			return nil, graph.Invalid("show_as: unknown value %q", *f.ShowAs)
		}
		e.SetShowAs(v.(*models.FreeBusyStatus))
	}
	if f.Attendees != nil {
		attendees := []models.Attendeeable{}
		for _, a := range f.Attendees {
			kind, err := models.ParseAttendeeType(a.Type)
			if err != nil || kind == nil {
				return nil, graph.Invalid("attendees: unknown type %q", a.Type)
			}
			address := models.NewEmailAddress()
			address.SetAddress(&a.Address)
			attendee := models.NewAttendee()
			attendee.SetEmailAddress(address)
			attendee.SetTypeEscaped(kind.(*models.AttendeeType))
			attendees = append(attendees, attendee)
		}
		e.SetAttendees(attendees)
	}
	if f.ReminderMinutes != nil {
		e.SetReminderMinutesBeforeStart(new(int32(*f.ReminderMinutes)))
		e.SetIsReminderOn(new(true))
	}
	if f.ReminderOn != nil {
		e.SetIsReminderOn(f.ReminderOn)
	}
	if f.OnlineMeeting != nil {
		e.SetIsOnlineMeeting(f.OnlineMeeting)
	}
	return e, nil
}

// checkZone refuses a series in a zone that Graph does not know: written as UTC, it would move by an hour when the clocks change.
func (f Fields) checkZone(series bool) error {
	start := f.Start
	if start.IsZero() {
		start = f.End
	}
	if !series || start.IsZero() || f.WholeDays || graph.ZoneName(start.Location()) != "" {
		return nil
	}
	return graph.Invalid("timezone: Microsoft does not know the time zone %s, so a series in it would move when its clocks change; want another one, such as Europe/Berlin", start.Location())
}

// Create puts an event into the calendar with this id, as Find returns it. Graph ignores a repetition with the same transaction id,
// and answers with the event that it made.
func (c Calendar) Create(ctx context.Context, g *graph.Client, info Info, f Fields, transactionID string) (Event, error) {
	if info.ReadOnly() {
		return Event{}, readOnly(info, c.Mailbox)
	}
	if err := f.checkZone(f.Recurrence != nil); err != nil {
		return Event{}, err
	}
	e, err := f.model()
	if err != nil {
		return Event{}, err
	}
	e.SetTransactionId(&transactionID)
	var d eventDTO
	owner, calendar := c.owner(g, info.ID)
	if calendar == "" {
		d, err = graph.Send[eventDTO](ctx, g, opCreate, owner.Events().ToPostRequestInformation, e,
			&users.ItemEventsRequestBuilderPostRequestConfiguration{Headers: headers("text")})
	} else {
		d, err = graph.Send[eventDTO](ctx, g, opCreate, owner.Calendars().ByCalendarId(calendar).Events().ToPostRequestInformation, e,
			&users.ItemCalendarsItemEventsRequestBuilderPostRequestConfiguration{Headers: headers("text")})
	}
	if err != nil {
		return Event{}, c.explainWrite(ctx, g, info.ID, err)
	}
	created, err := d.event(opCreate)
	return created, graph.Unconfirmed(err)
}

// Update changes an event, one occurrence of a series or a series. A new body of an online meeting keeps the part by which one
// joins it. series is whether the event is a series.
func (c Calendar) Update(ctx context.Context, g *graph.Client, id string, f Fields, series bool) (Event, error) {
	const op = "change the event"
	if err := f.checkZone(series || f.Recurrence != nil); err != nil {
		return Event{}, err
	}
	if f.Body != nil {
		const read = "read the event's body"
		old, err := c.readDTO(ctx, g, read, id, headers("html"), []string{"id", "body", "isOnlineMeeting", "onlineMeeting", "onlineMeetingUrl"})
		switch {
		case err != nil:
			return Event{}, err
		case old.ID == "":
			return Event{}, graph.Incomplete(read, "id")
		}
		if f.Body, err = keepMeeting(old, *f.Body); err != nil {
			return Event{}, err
		}
	}
	e, err := f.model()
	if err != nil {
		return Event{}, err
	}
	event, err := c.event(ctx, g, id)
	if err != nil {
		return Event{}, err
	}
	d, err := graph.Send[eventDTO](ctx, g, op, event.ToPatchRequestInformation, e,
		&users.ItemEventsEventItemRequestBuilderPatchRequestConfiguration{Headers: headers("text")})
	if err != nil {
		return Event{}, c.explainChange(g, err)
	}
	if changed, err := d.event(op); err == nil {
		return changed, nil
	}
	read, err := c.Read(ctx, g, id) // the answer was incomplete
	return read, graph.Unconfirmed(err)
}

// explainChange returns an error that explains in the user's words why an event in somebody else's mailbox cannot be changed.
func (c Calendar) explainChange(g *graph.Client, err error) error {
	if c.Mailbox != "" && !g.Application() && graph.Is(err, graph.PermissionMissing) && g.Granted(c.WritePermission()) {
		return graph.Explain(err, "%s does not let you change this event", c.Mailbox)
	}
	return c.explainEvent(g, err)
}

// Delete removes an event, one occurrence of a series or a series, without a message to the attendees.
func (c Calendar) Delete(ctx context.Context, g *graph.Client, id string) error {
	event, err := c.event(ctx, g, id)
	if err != nil {
		return err
	}
	return c.explainChange(g, graph.Call(ctx, g, "remove the event", event.ToDeleteRequestInformation, nil))
}

// Cancel cancels a meeting that the owner of the calendar organizes. The message to the attendees may be nil.
func (c Calendar) Cancel(ctx context.Context, g *graph.Client, id string, message *string) error {
	var body users.ItemEventsItemCancelPostRequestBodyable = users.NewItemEventsItemCancelPostRequestBody()
	if message != nil {
		body.SetComment(message)
	}
	event, err := c.event(ctx, g, id)
	if err != nil {
		return err
	}
	_, err = graph.Send[graph.None](ctx, g, "cancel the event", event.Cancel().ToPostRequestInformation, body, nil)
	// Microsoft documents it only with Calendars.ReadWrite.
	if c.Group != "" && graph.Is(err, graph.PermissionMissing) && g.Granted(c.WritePermission()) {
		if _, unreadable := c.Read(ctx, g, id); graph.Is(unreadable, graph.PermissionMissing) {
			return c.explainChange(g, err) // the user is not a member
		}
		return graph.Explain(err, "Microsoft does not let you cancel an event of a group; use remove, which sends no message")
	}
	return c.explainChange(g, err)
}

// Removed is the result of an operation that removed an event.
type Removed struct {
	ID        string // of the event, or of the series
	Cancelled bool
}

// Data returns the id of the event, which answers the request that removed it.
func (r Removed) Data() any { return map[string]any{"event_id": r.ID} }

// A Reply is the answer to an invitation.
type Reply struct {
	Response                   string    // accept, tentative or decline
	Send                       bool      // whether the organizer gets a message
	Message                    *string   // in it
	ProposedStart, ProposedEnd time.Time // zero: none; not with accept
}

// Respond answers an invitation.
func (c Calendar) Respond(ctx context.Context, g *graph.Client, id string, r Reply) error {
	const op = "respond to the event"
	event, err := c.event(ctx, g, id)
	if err != nil {
		return err
	}
	switch r.Response {
	case "accept":
		var body users.ItemEventsItemAcceptPostRequestBodyable = users.NewItemEventsItemAcceptPostRequestBody()
		r.fill(body)
		_, err = graph.Send[graph.None](ctx, g, op, event.Accept().ToPostRequestInformation, body, nil)
	case "tentative":
		var body users.ItemEventsItemTentativelyAcceptPostRequestBodyable = users.NewItemEventsItemTentativelyAcceptPostRequestBody()
		r.fill(body)
		if r.proposes() {
			body.SetProposedNewTime(r.proposal())
		}
		_, err = graph.Send[graph.None](ctx, g, op, event.TentativelyAccept().ToPostRequestInformation, body, nil)
	case "decline":
		var body users.ItemEventsItemDeclinePostRequestBodyable = users.NewItemEventsItemDeclinePostRequestBody()
		r.fill(body)
		if r.proposes() {
			body.SetProposedNewTime(r.proposal())
		}
		_, err = graph.Send[graph.None](ctx, g, op, event.Decline().ToPostRequestInformation, body, nil)
	default:
		return graph.Invalid("response: want accept, tentative or decline, not %q", r.Response)
	}
	return c.explainChange(g, err)
}

func (r Reply) fill(body interface {
	SetSendResponse(*bool)
	SetComment(*string)
}) {
	body.SetSendResponse(&r.Send)
	if r.Message != nil { // what is set to nil is sent as null
		body.SetComment(r.Message)
	}
}

func (r Reply) proposes() bool { return !r.ProposedStart.IsZero() }

func (r Reply) proposal() models.TimeSlotable {
	slot := models.NewTimeSlot()
	slot.SetStart(graph.FormatTime(r.ProposedStart))
	slot.SetEnd(graph.FormatTime(r.ProposedEnd))
	return slot
}
