package calendar

import (
	"strings"
	"time"
	"unicode"
)

// An Item is an event as it is shown in a list, under the names and with the spelling of the O365 and MS365 integrations for Home Assistant,
// for whose entities many templates exist. What Microsoft calls by a name that they do not know comes as it is.
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
	Attendees   []Guest        `json:"attendees"`
	Organizer   any            `json:"organizer"`
	Reminder    map[string]any `json:"reminder"`
	UID         string         `json:"uid"`

	ICalUID        any  `json:"ical_uid"`
	IsCancelled    bool `json:"is_cancelled"`
	ResponseStatus any  `json:"response_status"`
	JoinURL        any  `json:"join_url"`
	WebLink        any  `json:"web_link"`
	Importance     any  `json:"importance"`
	SeriesID       any  `json:"series_id"`
}

// A Guest is an attendee as an Item shows one.
type Guest struct {
	Email  string `json:"email"`
	Type   any    `json:"type"`
	Status any    `json:"status"`
	Name   any    `json:"name"`
}

// Item is how e is shown to somebody in loc.
func (e Event) Item(loc *time.Location) Item {
	i := Item{
		Summary: e.Subject, AllDay: e.AllDay,
		Description: e.Description, Location: e.Location,
		Categories:  append([]string{}, e.Categories...),
		Sensitivity: capital(e.Sensitivity), ShowAs: capital(e.ShowAs),
		Attendees: []Guest{},
		Organizer: known(e.Organizer),
		Reminder:  map[string]any{"minutes": e.Minutes, "is_on": e.Reminder},
		UID:       e.ID, ICalUID: known(e.ICalUID),
		IsCancelled: e.Cancelled, ResponseStatus: response(e.Response),
		JoinURL: known(e.JoinURL), WebLink: known(e.WebLink), Importance: known(e.Importance), SeriesID: known(e.SeriesID),
	}
	i.Start, i.End = e.When(loc)
	for _, a := range e.Attendees {
		i.Attendees = append(i.Attendees, Guest{a.Address, known(a.Type), response(a.Response), known(a.Name)})
	}
	return i
}

// When is how the times of an event are shown: the dates of whole days belong to no zone.
func (e Event) When(loc *time.Location) (start, end any) {
	if e.AllDay {
		return e.Start.Format(time.DateOnly), e.End.Format(time.DateOnly)
	}
	return e.Start.In(loc), e.End.In(loc)
}

func known(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// capital spells as O365 does: Busy, WorkingElsewhere.
func capital(s string) any {
	switch s {
	case "normal", "personal", "private", "confidential", "free", "tentative", "busy", "oof", "workingElsewhere", "unknown":
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return known(s)
}

// response spells as MS365 does: tentatively_accepted.
func response(s string) any {
	switch s {
	case "none":
		return nil
	case "tentativelyAccepted", "notResponded":
		var b strings.Builder
		for _, r := range s {
			if unicode.IsUpper(r) {
				b.WriteByte('_')
			}
			b.WriteRune(unicode.ToLower(r))
		}
		return b.String()
	}
	return known(s)
}
