package calendars

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// An Item is an event as lists and events show it. Its keys are those of the O365 and MS365 integrations for Home Assistant, for
// whose entities many templates exist; its enumerations have Microsoft's spelling.
type Item struct {
	Summary     string         `json:"summary"`
	Start       any            `json:"start"` // time.Time; of whole days a date, as text
	End         any            `json:"end"`
	AllDay      bool           `json:"all_day"`
	Description string         `json:"description"`
	Location    string         `json:"location"`
	Categories  []string       `json:"categories"`
	Sensitivity any            `json:"sensitivity"`
	ShowAs      any            `json:"show_as"`
	Attendees   []AttendeeItem `json:"attendees"`
	Organizer   any            `json:"organizer"`
	Reminder    map[string]any `json:"reminder"`
	EventID     string         `json:"event_id"`
	UID         string         `json:"uid"` // the same, for templates written for the integrations

	ICalUID        any  `json:"ical_uid"`
	IsCancelled    bool `json:"is_cancelled"`
	ResponseStatus any  `json:"response_status"`
	JoinURL        any  `json:"join_url"`
	DialIn         any  `json:"dial_in"` // DialInItem; nil: none
	Meeting        any  `json:"meeting"` // of Meeting.Item; nil: not known
	WebLink        any  `json:"web_link"`
	Importance     any  `json:"importance"`
	SeriesID       any  `json:"series_id"`
}

// An AttendeeItem is an attendee as an Item shows one.
type AttendeeItem struct {
	Email  string `json:"email"`
	Type   any    `json:"type"`
	Status any    `json:"status"`
	Name   any    `json:"name"`
}

// A DialInItem is a DialIn as an Item shows it.
type DialInItem struct {
	TollNumber     any `json:"toll_number"`
	TollFreeNumber any `json:"toll_free_number"`
	ConferenceID   any `json:"conference_id"`
	QuickDial      any `json:"quick_dial"`
}

// Item returns e as it is shown in the time zone loc.
func (e Event) Item(loc *time.Location) Item {
	i := Item{
		Summary: e.Subject, AllDay: e.AllDay,
		Description: e.Description, Location: e.Location,
		Categories:  append([]string{}, e.Categories...),
		Sensitivity: graph.NullIfZero(e.Sensitivity), ShowAs: graph.NullIfZero(e.ShowAs),
		Attendees: []AttendeeItem{},
		Organizer: graph.NullIfZero(e.Organizer),
		Reminder:  map[string]any{"minutes": e.Minutes, "is_on": e.Reminder},
		EventID:   e.ID, UID: e.ID, ICalUID: graph.NullIfZero(e.ICalUID),
		IsCancelled: e.Cancelled, ResponseStatus: graph.NullIfZero(e.Response),
		JoinURL: graph.NullIfZero(e.JoinURL), WebLink: graph.NullIfZero(e.WebLink), Importance: graph.NullIfZero(e.Importance), SeriesID: graph.NullIfZero(e.SeriesID),
	}
	i.Start, i.End = e.When(loc)
	if d := e.DialIn; d != nil {
		i.DialIn = DialInItem{graph.NullIfZero(d.TollNumber), graph.NullIfZero(d.TollFreeNumber), graph.NullIfZero(d.ConferenceID), graph.NullIfZero(d.QuickDial)}
	}
	if e.Meeting != nil {
		i.Meeting = e.Meeting.Item()
	}
	for _, a := range e.Attendees {
		i.Attendees = append(i.Attendees, AttendeeItem{a.Address, graph.NullIfZero(a.Type), graph.NullIfZero(a.Response), graph.NullIfZero(a.Name)})
	}
	return i
}

// When returns the start and end as they are shown: a time.Time, or the date of a whole day, which has no zone.
func (e Event) When(loc *time.Location) (start, end any) {
	if e.AllDay {
		return e.Start.Format(time.DateOnly), e.End.Format(time.DateOnly)
	}
	return e.Start.In(loc), e.End.In(loc)
}

// Item returns m as an Item shows it.
func (m Meeting) Item() map[string]any {
	var recording any
	if m.Recording != nil {
		recording = *m.Recording
	}
	return map[string]any{
		"meeting_id": graph.NullIfZero(m.MeetingID), "passcode": graph.NullIfZero(m.Passcode), "lobby": graph.NullIfZero(m.Lobby),
		"presenters": graph.NullIfZero(m.Presenters), "recording": recording,
	}
}
