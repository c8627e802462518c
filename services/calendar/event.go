// Package calendar reads and changes the events of a calendar.
package calendar

import (
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// An Event is one event, or one occurrence of a series, as Graph tells it. Texts of enumerations come as they are; what is
// missing is empty.
type Event struct {
	ID, ICalUID, SeriesID string
	Series                bool // it is a series itself, not what takes place

	Subject string
	// Start and End are instants. Where AllDay, they are days instead: the midnights, in UTC, of dates that have no zone, the
	// end exclusive. See Span.
	Start, End time.Time
	AllDay     bool

	Description string // at most 1,000 characters
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
	Minutes     int // of the reminder, before the start
	JoinURL     string
	WebLink     string
}

// An Attendee is somebody, or some room, that is invited.
type Attendee struct {
	Address, Name, Type, Response string
}

// Span is when e begins and ends for somebody in loc.
func (e Event) Span(loc *time.Location) (start, end time.Time) {
	if !e.AllDay {
		return e.Start.In(loc), e.End.In(loc)
	}
	return midnight(e.Start, loc), midnight(e.End, loc)
}

func midnight(day time.Time, loc *time.Location) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, loc)
}

// Within reports whether any of e is in [from, to), for somebody in loc.
func (e Event) Within(loc *time.Location, from, to time.Time) bool {
	start, end := e.Span(loc)
	return start.Before(to) && (end.After(from) || end.Equal(start) && !start.Before(from))
}

// Data is what a request that made or changed e is answered.
func (e Event) Data() any {
	return struct {
		EventID  string `json:"event_id"`
		ICalUID  string `json:"ical_uid"`
		SeriesID string `json:"series_id,omitempty"`
		WebLink  string `json:"web_link"`
		JoinURL  string `json:"join_url,omitempty"`
	}{e.ID, e.ICalUID, e.SeriesID, e.WebLink, e.JoinURL}
}

// fields are the properties of Graph's event that an Event is made of. Without basic they include the body, which
// Calendars.ReadBasic does not give.
func fields(basic bool) []string {
	f := []string{
		"id", "iCalUId", "seriesMasterId", "subject", "start", "end", "isAllDay", "location", "categories", "sensitivity", "showAs", "importance",
		"attendees", "organizer", "responseStatus", "isCancelled", "isReminderOn", "reminderMinutesBeforeStart", "onlineMeeting", "onlineMeetingUrl", "webLink",
	}
	if !basic {
		f = append(f, "body")
	}
	return f
}

// An answer is Graph's event. Each part of it may be null or missing.
type answer struct {
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
	OnlineMeeting              struct{ JoinURL string }  `json:"onlineMeeting"`
	OnlineMeetingURL           string                    `json:"onlineMeetingUrl"`
	WebLink                    string                    `json:"webLink"`
}

// text is the description, all of it.
func (a answer) text() string { return strings.TrimSpace(a.Body.Content) }

// event reports false for an answer without the least that makes an event: an id and a start.
func (a answer) event() (Event, bool) {
	e := Event{
		ID: a.ID, ICalUID: a.ICalUID, SeriesID: a.SeriesMasterID, Series: a.Type == "seriesMaster",
		Subject: a.Subject, AllDay: a.IsAllDay,
		Description: services.Truncate(a.text(), 1000),
		Location:    a.Location.DisplayName,
		Categories:  a.Categories,
		Sensitivity: a.Sensitivity, ShowAs: a.ShowAs, Importance: a.Importance,
		Organizer: a.Organizer.EmailAddress.Address,
		Response:  a.ResponseStatus.Response,
		Cancelled: a.IsCancelled,
		Reminder:  a.IsReminderOn, Minutes: a.ReminderMinutesBeforeStart,
		JoinURL: a.OnlineMeeting.JoinURL, WebLink: a.WebLink,
	}
	if e.JoinURL == "" {
		e.JoinURL = a.OnlineMeetingURL
	}
	for _, t := range a.Attendees {
		e.Attendees = append(e.Attendees, Attendee{t.EmailAddress.Address, t.EmailAddress.Name, t.Type, t.Status.Response})
	}
	e.Start, e.End = instant(a.Start), instant(a.End)
	if e.ID == "" || e.Start.IsZero() {
		return Event{}, false
	}
	if e.AllDay {
		e.Start, e.End = day(e.Start), day(e.End)
		if !e.End.After(e.Start) {
			e.End = e.Start.AddDate(0, 0, 1)
		}
	} else if e.End.Before(e.Start) {
		e.End = e.Start
	}
	return e, true
}

// instant takes a zone that nobody knows for UTC, which every request asks for.
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

// day is the date that the start or end of an all-day event stands for. Exchange keeps a midnight; where that is one of the
// zone the event was made in, it is that of the nearest one in UTC.
func day(t time.Time) time.Time { return t.Add(12 * time.Hour).Truncate(24 * time.Hour) }
