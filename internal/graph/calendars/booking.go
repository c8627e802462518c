package calendars

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Booking is an event in the calendar of a room that keeps it busy. Start and End are as those of an Event.
type Booking struct {
	ID                 string
	Start, End         time.Time
	AllDay             bool
	Tentative          bool
	Private            bool
	Subject, Organizer string // of private bookings ""; the subject also unless it was read, the organizer also of own ones
	Own                bool   // the room itself is the organizer
}

// Span returns the start and end of b in the time zone loc.
func (b Booking) Span(loc *time.Location) (start, end time.Time) {
	return Event{Start: b.Start, End: b.End, AllDay: b.AllDay}.Span(loc)
}

// bookingDTO has what an event of the calendar of a room has more than an eventDTO.
type bookingDTO struct {
	eventDTO
	IsOrganizer bool `json:"isOrganizer"`
}

// Bookings returns what keeps the room with this mailbox busy between two instants, by start. Canceled and declined events, and those
// that are shown as free, do not. Without subjects, they are not read.
func Bookings(ctx context.Context, g *graph.Client, mailbox string, from, to time.Time, subjects bool) ([]Booking, error) {
	const op = "read the calendar of the room"
	fields := []string{"id", "start", "end", "isAllDay", "showAs", "sensitivity", "isCancelled", "isOrganizer", "organizer", "responseStatus"}
	if subjects {
		fields = append(fields, "subject")
	}
	c := Calendar{Mailbox: mailbox}
	r, err := c.user(g).Calendar().CalendarView().ToGetRequestInformation(ctx, &users.ItemCalendarCalendarViewRequestBuilderGetRequestConfiguration{
		Headers: headers("text"), QueryParameters: &users.ItemCalendarCalendarViewRequestBuilderGetQueryParameters{
			StartDateTime: new(from.UTC().Format(time.RFC3339)), EndDateTime: new(to.UTC().Format(time.RFC3339)), Select: fields, Top: new(int32(250)),
		},
	})
	if err != nil {
		return nil, err
	}
	page, err := graph.List[bookingDTO](ctx, g, op, r)
	if err != nil {
		return nil, c.explainRead(g, err)
	}
	bookings := []Booking{}
	for _, d := range page {
		e, err := d.event(op)
		if err != nil {
			return nil, err
		}
		if e.Cancelled || e.Response == "declined" || e.ShowAs == "free" {
			continue
		}
		b := BookingOf(e, d.IsOrganizer)
		if b.Organizer != "" {
			b.Organizer = cmp.Or(d.Organizer.EmailAddress.Name, d.Organizer.EmailAddress.Address)
		}
		if !subjects {
			b.Subject = ""
		}
		bookings = append(bookings, b)
	}
	slices.SortFunc(bookings, func(a, b Booking) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	return bookings, nil
}

// BookingOf returns the booking that an event is.
func BookingOf(e Event, own bool) Booking {
	b := Booking{ID: e.ID, Start: e.Start, End: e.End, AllDay: e.AllDay, Tentative: e.ShowAs == "tentative", Own: own}
	if b.Private = e.Sensitivity == "private" || e.Sensitivity == "confidential"; !b.Private {
		b.Subject, b.Organizer = e.Subject, e.Organizer
	}
	if own {
		b.Organizer = ""
	}
	return b
}
