// Package room has the operations of a meeting room.
package room

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	defaultMinutes = 30
	// minLength is the shortest booking that is made before the next meeting.
	minLength = 5 * time.Minute
	maxLength = 24 * time.Hour
)

// Operations returns the operations of a room. minutes is the length of a booking unless a request has one; 0 selects 30.
func Operations(c calendars.Calendar, minutes int) []services.Operation {
	write := c.WritePermission()
	write.Purpose, write.Impact = "books rooms in their own calendars", "rooms are shown but cannot be booked at the room"
	permissions := []graph.Permission{write}
	// It finds out whether the room is free.
	read := c.ReadPermission()
	read.Purpose, read.Impact = "finds out whether the room is free", "the room cannot be booked at the room"
	if !slices.Contains(read.Alternatives, write.Scope) {
		permissions = append(permissions, read)
	}
	return []services.Operation{
		{
			Name: "book", Doc: "Books the room in its own calendar, if it is free. Without `minutes`, the booking is shortened to end before the next meeting; with `minutes`, a meeting during that time is a `conflict`.",
			Example: `{"minutes": 15, "subject": "Standup"}`, Permissions: permissions, Retry: services.IdempotencyKey,
			New: func() services.Request {
				return &Book{calendar: c, length: time.Duration(cmp.Or(minutes, defaultMinutes)) * time.Minute}
			},
			Returns: []schema.Field{
				{Key: "event_id", Type: "text", Doc: "Id of the event in the calendar of the room."},
				{Key: "start", Type: "time", Doc: "Start of the booking."},
				{Key: "end", Type: "time", Doc: "End of the booking."},
			},
		},
		{
			Name: "end", Doc: "Ends a booking now. Only a booking that was made at the room can be ended; every other meeting is ended by its organizer.",
			Example: `{"event_id": "AAMkRoom…"}`, Permissions: permissions, Retry: services.Idempotent,
			New: func() services.Request { return &End{calendar: c} },
			Returns: []schema.Field{
				{Key: "event_id", Type: "text", Doc: "Id of the event in the calendar of the room."},
				{Key: "end", Type: "time", Doc: "New end of the booking."},
			},
		},
	}
}

// Book books the room.
type Book struct {
	calendar calendars.Calendar
	length   time.Duration

	Minutes int    `json:"minutes" min:"5" max:"1440" doc:"Length in minutes. Default: the option book_minutes."`
	Start   string `json:"start" doc:"Start, as a time. Default: now."`
	Subject string `json:"subject" doc:"Subject. Default: Booked at the room."`
}

// Validate returns an error for an invalid subject or start.
func (r *Book) Validate() error {
	if err := services.CheckSubject("subject", r.Subject); err != nil {
		return err
	}
	if r.Start == "" {
		return nil
	}
	_, err := services.ParseTime("start", r.Start, time.UTC)
	return err
}

// Execute implements services.Request.
func (r *Book) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	start := a.Now.Truncate(time.Minute)
	if r.Start != "" {
		at, err := services.ParseTime("start", r.Start, a.Now.Location())
		if err != nil {
			return nil, err
		}
		start = at
	}
	length := r.length
	if r.Minutes != 0 {
		length = time.Duration(r.Minutes) * time.Minute
	}
	end := start.Add(length)
	if !end.After(a.Now) {
		return nil, graph.Invalid("start: want a booking that ends in the future, not at %s", end.Format(time.RFC3339))
	}
	bookings, err := calendars.Bookings(ctx, g, r.calendar.Mailbox, start, end, false)
	if err != nil {
		return nil, err
	}
	for _, b := range bookings {
		from, to := b.Span(a.Now.Location())
		switch {
		case !from.Before(end) || !to.After(start):
		case a.Repeated && b.Own && from.Equal(start): // an earlier attempt made it, and Graph recognizes the repetition
			end = to
		case r.Minutes == 0 && !from.Before(start.Add(minLength)):
			end = from
		default:
			return nil, &services.Error{Code: services.Conflict, Message: "the room is busy from " + spanForError(from, to, a.Now)}
		}
	}
	subject := cmp.Or(r.Subject, "Booked at the room")
	e, err := r.calendar.Create(ctx, g, calendars.Info{}, calendars.Fields{Subject: &subject, Start: start, End: end}, a.ID)
	if err != nil {
		return nil, err
	}
	return Booked{calendars.BookingOf(e, true)}, nil
}

// spanForError returns a time span with the date of each time that is on another day than the one before it, which is now for the first.
func spanForError(from, to, now time.Time) string {
	show := func(t, before time.Time) string {
		if t.Format(time.DateOnly) == before.Format(time.DateOnly) {
			return t.Format("15:04")
		}
		return t.Format("2006-01-02 15:04")
	}
	return show(from, now) + " to " + show(to, from)
}

// Booked is the result of a booking.
type Booked struct{ calendars.Booking }

// Data returns the payload of the response.
func (b Booked) Data() any {
	return map[string]any{"event_id": b.ID, "start": b.Start, "end": b.Booking.End}
}

// End ends a booking.
type End struct {
	calendar calendars.Calendar

	EventID string `json:"event_id" doc:"Id of the event in the calendar of the room. Default: the current booking."`
}

// Execute implements services.Request.
func (r *End) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	now := a.Now.Truncate(time.Minute)
	bookings, err := calendars.Bookings(ctx, g, r.calendar.Mailbox, now.Add(-maxLength), now.Add(maxLength), false)
	if err != nil {
		return nil, err
	}
	if r.EventID == "" {
		return r.endCurrent(ctx, g, a, bookings, now)
	}
	e, err := r.calendar.Read(ctx, g, r.EventID) // which may have been named by another of its ids
	switch {
	case a.Repeated && graph.Is(err, graph.NotFound): // an earlier attempt removed it
		return Ended{r.EventID, now}, nil
	case err != nil:
		return nil, err
	}
	for _, b := range bookings {
		if b.ID == e.ID {
			return r.end(ctx, g, b, now, a)
		}
	}
	return nil, &graph.Error{Reason: graph.NotFound, Message: "event_id: the room has no such booking today"}
}

// endCurrent ends the current booking.
func (r *End) endCurrent(ctx context.Context, g *graph.Client, a services.Attempt, bookings []calendars.Booking, now time.Time) (any, error) {
	others := false
	for _, b := range bookings {
		start, end := b.Span(a.Now.Location())
		switch {
		case start.After(a.Now) || !end.After(now) && !(a.Repeated && end.Equal(now)):
		case b.Own:
			return r.end(ctx, g, b, now, a)
		default:
			others = true
		}
	}
	message := "the room is free"
	if others {
		message = "the current meeting was not booked at the room; its organizer ends it"
	}
	return nil, &services.Error{Code: services.Conflict, Message: message}
}

// end ends a booking at now. One that has not begun, or began within the minute, is removed.
func (r *End) end(ctx context.Context, g *graph.Client, b calendars.Booking, now time.Time, a services.Attempt) (any, error) {
	start, end := b.Span(a.Now.Location())
	switch {
	case !b.Own:
		return nil, &services.Error{Code: services.Conflict, Message: "the meeting was not booked at the room; its organizer ends it"}
	case !end.After(now): // it has ended
		return Ended{b.ID, b.End}, nil
	case !start.Before(now):
		if err := r.calendar.Delete(ctx, g, b.ID); err != nil && !(a.Repeated && graph.Is(err, graph.NotFound)) {
			return nil, err
		}
		return Ended{b.ID, b.Start}, nil
	}
	if _, err := r.calendar.Update(ctx, g, b.ID, calendars.Fields{End: now}, false); err != nil {
		return nil, err
	}
	return Ended{b.ID, now.UTC()}, nil
}

// Ended is the result of ending a booking. One whose End is not after its start was removed.
type Ended struct {
	ID  string
	End time.Time
}

// Data returns the payload of the response.
func (e Ended) Data() any { return map[string]any{"event_id": e.ID, "end": e.End} }
