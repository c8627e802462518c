package calendar

import (
	"cmp"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// EventFields has the fields that Create and Modify have in common.
type EventFields struct {
	Body                *string              `json:"body" doc:"Description, as text or HTML."`
	Location            *string              `json:"location" doc:"Location, as it is displayed."`
	Categories          []string             `json:"categories" doc:"Names of Outlook categories."`
	Sensitivity         *string              `json:"sensitivity" doc:"How private the event is. Default of a new event: normal." enum:"normal,personal,private,confidential"`
	ShowAs              *string              `json:"show_as" doc:"Availability during the event. Default of a new event: busy, or free for an all-day event." enum:"free,tentative,busy,oof,workingElsewhere,unknown"`
	IsAllDay            *bool                `json:"is_all_day" doc:"Whether it is an all-day event. Start and end are then dates; the end is the first day after the event."`
	Attendees           []AttendeeInput      `json:"attendees" doc:"Who is invited. Outlook sends them a message."`
	IsReminderOn        *bool                `json:"is_reminder_on" doc:"Whether there is a reminder. Default of a new event: as set in Outlook."`
	RemindBeforeMinutes *int                 `json:"remind_before_minutes" doc:"Minutes from the reminder to the start. Switches the reminder on unless is_reminder_on is false."`
	OnlineMeeting       *bool                `json:"online_meeting" doc:"Whether to add an online meeting of the calendar's provider, such as Teams."`
	Recurrence          *services.Recurrence `json:"recurrence" doc:"Creates a series with this recurrence."`
	Timezone            *string              `json:"timezone" doc:"Time zone of times without an offset: an IANA or Windows name. Default: the account's."`
}

// An AttendeeInput is one attendee of a request.
type AttendeeInput struct {
	Email string `json:"email" required:"true" doc:"Address."`
	Type  string `json:"type" doc:"Role of the attendee. Default: required." enum:"required,optional,resource"`
}

// Validate returns an error for values that Graph would refuse.
func (d *EventFields) Validate() error {
	for _, a := range d.Attendees {
		if !isAddress(a.Email) {
			return graph.Invalid("attendees: want an address as email, such as ann@contoso.com, not %s", services.QuoteForError(a.Email))
		}
	}
	if n := d.RemindBeforeMinutes; n != nil && (*n < 0 || *n > 40320) {
		return graph.Invalid("remind_before_minutes: want 0 to 40320, which is four weeks, not %d", *n)
	}
	if d.Recurrence != nil {
		if err := d.Recurrence.Validate("recurrence"); err != nil {
			return err
		}
	}
	_, err := d.zone(time.UTC)
	return err
}

func isAddress(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	return ok && name != "" && domain != ""
}

// zone returns the zone of times that have none.
func (d *EventFields) zone(account *time.Location) (*time.Location, error) {
	if d.Timezone == nil {
		return account, nil
	}
	loc, err := graph.Location(*d.Timezone)
	if err != nil {
		return nil, graph.Invalid("timezone: want a name of IANA or Windows, such as Europe/Berlin, not %s", services.QuoteForError(*d.Timezone))
	}
	return loc, nil
}

// applyTo sets the given fields in f, except for the times.
func (d *EventFields) applyTo(f *calendars.Fields) {
	if d.Body != nil {
		f.Body = &calendars.Body{Content: *d.Body, HTML: htmltext.IsHTML(*d.Body)}
	}
	f.Location, f.Categories, f.Sensitivity, f.ShowAs = d.Location, d.Categories, d.Sensitivity, d.ShowAs
	f.ReminderOn, f.ReminderMinutes, f.OnlineMeeting = d.IsReminderOn, d.RemindBeforeMinutes, d.OnlineMeeting
	if d.Attendees != nil {
		f.Attendees = []calendars.Attendee{}
	}
	for _, a := range d.Attendees {
		f.Attendees = append(f.Attendees, calendars.Attendee{Address: a.Email, Type: cmp.Or(a.Type, "required")})
	}
}

// parse returns the start or the end of an event in loc: a time, or the beginning of a day.
func parse(field, s string, days bool, loc *time.Location) (time.Time, error) {
	if days {
		t, err := services.ParseDate(field, s)
		if err != nil {
			return time.Time{}, err
		}
		return startOfDay(t, loc), nil
	}
	t, err := services.ParseTime(field, s, loc)
	return t.In(loc), err
}

// parsePeriod returns two times in loc, of fields that begin with prefix.
func parsePeriod(prefix string, parse func(field, s string, loc *time.Location) (time.Time, error), from, to string, loc *time.Location) (start, end time.Time, err error) {
	if start, err = parse(prefix+"start", from, loc); err != nil {
		return start, end, err
	}
	if end, err = parse(prefix+"end", to, loc); err != nil {
		return start, end, err
	}
	if !end.After(start) {
		return start, end, graph.Invalid("%[1]send: want a time after %[1]sstart, %[2]s, not %[3]s", prefix, start.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return start, end, nil
}

// checkOrder returns an error for an event that ends before it begins.
func checkOrder(start, end time.Time, days bool) error {
	switch {
	case days && !end.After(start):
		return graph.Invalid("end: want a date after the start, %s, because it is the first day after the event, not %s", start.Format(time.DateOnly), end.Format(time.DateOnly))
	case !days && end.Before(start):
		return graph.Invalid("end: want a time not before the start, %s, not %s", start.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return nil
}

// startOfDay returns the first moment in loc of the date of day.
func startOfDay(day time.Time, loc *time.Location) time.Time {
	return graph.StartOfDay(day.Year(), day.Month(), day.Day(), loc)
}
