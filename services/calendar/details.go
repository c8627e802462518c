package calendar

import (
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Details are what may be said of an event beside its subject and its times.
type Details struct {
	Body                *string              `json:"body" doc:"text or HTML"`
	Location            *string              `json:"location" doc:"as it is displayed"`
	Categories          []string             `json:"categories" doc:"names of Outlook's categories"`
	Sensitivity         *string              `json:"sensitivity" doc:"default: normal" enum:"normal,personal,private,confidential"`
	ShowAs              *string              `json:"show_as" doc:"default: busy, of whole days free" enum:"free,tentative,busy,oof,workingElsewhere,unknown"`
	IsAllDay            *bool                `json:"is_all_day" doc:"takes whole days; start and end are dates then, the end being the first day after"`
	Attendees           []Invitation         `json:"attendees" doc:"who is invited; they get a message"`
	IsReminderOn        *bool                `json:"is_reminder_on" doc:"default: as set in Outlook"`
	RemindBeforeMinutes *int                 `json:"remind_before_minutes" doc:"when the reminder comes; switches it on unless is_reminder_on says otherwise"`
	OnlineMeeting       *bool                `json:"online_meeting" doc:"with a link to join, as the calendar's provider makes it"`
	Recurrence          *services.Recurrence `json:"recurrence" doc:"makes a series of it"`
	Timezone            *string              `json:"timezone" doc:"of times that have none: an IANA name or one of Windows; default: the account's"`
}

// An Invitation is one attendee of a request.
type Invitation struct {
	Email string `json:"email" required:"true" doc:"address"`
	Type  string `json:"type" required:"true" doc:"what they are there for" enum:"required,optional,resource"`
}

// Validate finds what Graph would refuse.
func (d *Details) Validate() error {
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

// zone is where times without a zone are.
func (d *Details) zone(account *time.Location) (*time.Location, error) {
	if d.Timezone == nil {
		return account, nil
	}
	loc, err := graph.Location(*d.Timezone)
	if err != nil {
		return nil, graph.Invalid("timezone: want a name of IANA or Windows, such as Europe/Berlin, not %s", services.QuoteForError(*d.Timezone))
	}
	return loc, nil
}

// put says in e what is given, and nothing of what is not.
func (d *Details) put(e models.Eventable) error {
	if d.Body != nil {
		body, kind := models.NewItemBody(), models.TEXT_BODYTYPE
		if services.IsHTML(*d.Body) {
			kind = models.HTML_BODYTYPE
		}
		body.SetContentType(&kind)
		body.SetContent(d.Body)
		e.SetBody(body)
	}
	if d.Location != nil {
		location := models.NewLocation()
		location.SetDisplayName(d.Location)
		e.SetLocation(location)
	}
	if d.Categories != nil {
		e.SetCategories(d.Categories)
	}
	if d.Sensitivity != nil {
		v, err := models.ParseSensitivity(*d.Sensitivity)
		if err != nil || v == nil {
			return graph.Invalid("sensitivity: unknown value %q", *d.Sensitivity)
		}
		e.SetSensitivity(v.(*models.Sensitivity))
	}
	if d.ShowAs != nil {
		v, err := models.ParseFreeBusyStatus(*d.ShowAs)
		if err != nil || v == nil {
			return graph.Invalid("show_as: unknown value %q", *d.ShowAs)
		}
		e.SetShowAs(v.(*models.FreeBusyStatus))
	}
	if d.Attendees != nil {
		attendees := []models.Attendeeable{}
		for _, a := range d.Attendees {
			kind, err := models.ParseAttendeeType(a.Type)
			if err != nil || kind == nil {
				return graph.Invalid("attendees: unknown type %q", a.Type)
			}
			address := models.NewEmailAddress()
			address.SetAddress(&a.Email)
			attendee := models.NewAttendee()
			attendee.SetEmailAddress(address)
			attendee.SetTypeEscaped(kind.(*models.AttendeeType))
			attendees = append(attendees, attendee)
		}
		e.SetAttendees(attendees)
	}
	if d.RemindBeforeMinutes != nil {
		minutes, on := int32(*d.RemindBeforeMinutes), true
		e.SetReminderMinutesBeforeStart(&minutes)
		e.SetIsReminderOn(&on)
	}
	if d.IsReminderOn != nil {
		e.SetIsReminderOn(d.IsReminderOn)
	}
	if d.OnlineMeeting != nil {
		e.SetIsOnlineMeeting(d.OnlineMeeting)
	}
	return nil
}

// parse reads the start or the end of an event in loc: a time, or the midnight of a date.
func parse(field, s string, days bool, loc *time.Location) (time.Time, error) {
	if days {
		t, err := services.ParseDate(field, s)
		if err != nil {
			return time.Time{}, err
		}
		return midnight(t, loc), nil
	}
	t, err := services.ParseTime(field, s, loc)
	return t.In(loc), err
}

// parsePeriod reads two times in loc, of fields that begin with prefix.
func parsePeriod(prefix, from, to string, loc *time.Location) (start, end time.Time, err error) {
	if start, err = services.ParseTime(prefix+"start", from, loc); err != nil {
		return start, end, err
	}
	if end, err = services.ParseTime(prefix+"end", to, loc); err != nil {
		return start, end, err
	}
	if !end.After(start) {
		return start, end, graph.Invalid("%[1]send: want a time after %[1]sstart, %[2]s, not %[3]s", prefix, start.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return start, end, nil
}

// order checks that an event does not end before it begins.
func order(start, end time.Time, days bool) error {
	switch {
	case days && !end.After(start):
		return graph.Invalid("end: want a date after the start, %s, for it is the first day after the event, not %s", start.Format(time.DateOnly), end.Format(time.DateOnly))
	case !days && end.Before(start):
		return graph.Invalid("end: want a time not before the start, %s, not %s", start.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return nil
}

// moment is how the time of an event is written. It names the zone rather than giving UTC, for a series keeps its hour in
// its own zone, and Outlook shows in which zone an event was made. Only where the zone has no name that Graph knows, or
// where an hour comes twice, is it UTC.
func moment(t time.Time) models.DateTimeTimeZoneable {
	const form = "2006-01-02T15:04:05.0000000"
	d := graph.FormatDate(t)
	wall := t.Format(form)
	if *d.GetTimeZone() == t.Location().String() || t.Add(time.Hour).Format(form) == wall || t.Add(-time.Hour).Format(form) == wall {
		return graph.FormatUTC(t)
	}
	d.SetDateTime(&wall)
	return d
}
