package calendar

import (
	"strings"
	"time"
	"unicode"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

// An item is one event of the list, under the names and with the spelling of the O365 and MS365 integrations for Home Assistant,
// for whose entities many templates exist. What Microsoft calls by a name that they do not know comes as it is.
type item struct {
	Summary     string         `json:"summary"`
	Start       any            `json:"start"` // time.Time; of whole days entity.Date
	End         any            `json:"end"`
	AllDay      bool           `json:"all_day"`
	Description string         `json:"description"`
	Location    string         `json:"location"`
	Categories  []string       `json:"categories"`
	Sensitivity any            `json:"sensitivity"`
	ShowAs      any            `json:"show_as"`
	Attendees   []attendee     `json:"attendees"`
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

type attendee struct {
	Email  string `json:"email"`
	Type   any    `json:"type"`
	Status any    `json:"status"`
	Name   any    `json:"name"`
}

func (e entry) item(loc *time.Location) item {
	i := item{
		Summary: e.Subject, AllDay: e.AllDay,
		Description: e.Description, Location: e.Location,
		Categories:  append([]string{}, e.Categories...),
		Sensitivity: capital(e.Sensitivity), ShowAs: capital(e.ShowAs),
		Attendees: []attendee{},
		Organizer: known(e.Organizer),
		Reminder:  map[string]any{"minutes": e.Minutes, "is_on": e.Event.Reminder},
		UID:       e.ID, ICalUID: known(e.ICalUID),
		IsCancelled: e.Cancelled, ResponseStatus: response(e.Response),
		JoinURL: known(e.JoinURL), WebLink: known(e.WebLink), Importance: known(e.Importance), SeriesID: known(e.SeriesID),
	}
	i.Start, i.End = when(e.Event, loc)
	for _, a := range e.Attendees {
		i.Attendees = append(i.Attendees, attendee{a.Address, known(a.Type), response(a.Response), known(a.Name)})
	}
	return i
}

// when is how the times of an event are shown: the dates of whole days belong to no zone.
func when(e calendar.Event, loc *time.Location) (start, end any) {
	if e.AllDay {
		return entity.Date(e.Start.Format(time.DateOnly)), entity.Date(e.End.Format(time.DateOnly))
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
