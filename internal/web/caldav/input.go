package caldav

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-ical"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	// maxObject bounds the size of an object in bytes.
	maxObject = 512 << 10
	// maxLineName bounds the part of a line before its value, which is read slowly.
	maxLineName = 32 << 10
	// maxNesting bounds the nesting of components.
	maxNesting = 4
	// maxComponents bounds the components of an object.
	maxComponents = 100
)

// decodeCalendar reads iCalendar. Its errors say what is wrong, without parts of the text.
func decodeCalendar(data []byte) (calendar *ical.Calendar, err error) {
	if err := checkLines(data); err != nil {
		return nil, err
	}
	defer func() { // the library panics on some malformed lines
		if r := recover(); r != nil {
			calendar, err = nil, errors.New("want iCalendar: malformed line")
		}
	}()
	calendar, err = ical.NewDecoder(bytes.NewReader(data)).Decode()
	if err != nil {
		return nil, errors.New("want iCalendar: malformed component or line")
	}
	return calendar, nil
}

// checkLines refuses what the library would read too slowly or too deeply. It looks at lines as they are when they are joined.
func checkLines(data []byte) error {
	var name []byte // the first bytes of a line, before its parameters
	length, named, quoted, valued := 0, false, false, false
	depth, components := 0, 0
	for i, b := range data {
		switch {
		case b == '\n' && i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t'), b == '\r':
			continue
		case (b == ' ' || b == '\t') && i > 0 && data[i-1] == '\n':
			continue
		case b == '\n':
			name, length, named, quoted, valued = name[:0], 0, false, false, false
			continue
		case valued:
			continue
		}
		if length++; length > maxLineName {
			return fmt.Errorf("want iCalendar with at most %d bytes before the value of a line", maxLineName)
		}
		if b == '"' {
			quoted = !quoted
		}
		if named = named || b == ':' || b == ';'; !named && len(name) < len("BEGIN")+1 {
			name = append(name, b)
		}
		if b != ':' || quoted {
			continue
		}
		valued = true
		switch strings.ToUpper(string(name)) {
		case "BEGIN":
			depth++
			components++
		case "END":
			depth--
		}
		if depth > maxNesting || components > maxComponents {
			return fmt.Errorf("want iCalendar with at most %d components, nested at most %d deep", maxComponents, maxNesting)
		}
	}
	return nil
}

// textValue returns the value of a text property. It accepts commas that are not escaped.
func textValue(p *ical.Prop) string {
	if p == nil {
		return ""
	}
	all, err := p.TextList()
	if err != nil {
		return p.Value
	}
	return strings.Join(all, ",")
}

// An input is an event or a task as a client wrote it.
type input struct {
	uid        string
	kind       string // VEVENT or VTODO
	fields     fields
	zone       *time.Location // of the start of an event
	shown      bool           // it says whether the time is free
	recurrence *services.Recurrence
	reminder   *int // minutes before the start; nil: none
}

// An inputError is the error of an object that cannot be stored. Its text is for the user.
type inputError struct{ error }

func invalid(format string, args ...any) error { return &inputError{fmt.Errorf(format, args...)} }

// newInput reads what a client wrote. Times without a zone are in loc.
func newInput(data []byte, kind string, loc *time.Location) (*input, error) {
	calendar, err := decodeCalendar(data)
	if err != nil {
		return nil, &inputError{err}
	}
	var c *ical.Component
	for _, child := range calendar.Children {
		switch {
		case child.Name == ical.CompTimezone:
		case child.Name != kind:
			return nil, invalid("want a %s, not a %s", kind, truncate(child.Name))
		case c != nil:
			return nil, invalid("want one %s: exceptions of a series cannot be written; change its events one by one", kind)
		default:
			c = child
		}
	}
	switch {
	case c == nil:
		return nil, invalid("want a %s", kind)
	case c.Props.Get(ical.PropRecurrenceID) != nil:
		return nil, invalid("RECURRENCE-ID: exceptions of a series cannot be written; change its events one by one")
	case len(c.Props[ical.PropAttendee]) > 0:
		return nil, invalid("ATTENDEE: nobody can be invited from here; invite people in Outlook")
	}
	in := &input{uid: textValue(c.Props.Get(ical.PropUID)), kind: kind}
	if in.uid == "" || len(in.uid) > maxUID || !utf8.ValidString(in.uid) || strings.ContainsFunc(in.uid, unicode.IsControl) {
		return nil, invalid("UID: want 1 to %d bytes of text", maxUID)
	}
	f := &in.fields
	f.summary, f.description = singleLine(textValue(c.Props.Get(ical.PropSummary))), sanitizeText(textValue(c.Props.Get(ical.PropDescription)))
	for _, p := range c.Props[ical.PropCategories] {
		if all, err := p.TextList(); err == nil {
			f.categories = append(f.categories, all...)
		}
	}
	f.categories = lines(f.categories)
	if kind == ical.CompToDo {
		err = in.readTask(c, loc)
	} else {
		err = in.readEvent(c, loc)
	}
	if err == nil {
		err = in.readRecurrence(c)
	}
	return in, err
}

// maxUID bounds the length of a UID, which becomes part of a transaction.
const maxUID = 255

// truncate returns the beginning of a text for an error message.
func truncate(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "…"
	}
	return singleLine(s)
}

func (in *input) readTask(c *ical.Component, loc *time.Location) error {
	f := &in.fields
	f.done = strings.EqualFold(textValue(c.Props.Get(ical.PropStatus)), "COMPLETED")
	f.importance = "normal"
	switch p := strings.TrimSpace(textValue(c.Props.Get(ical.PropPriority))); p {
	case "1", "2", "3", "4":
		f.importance = "high"
	case "6", "7", "8", "9":
		f.importance = "low"
	}
	due := c.Props.Get(ical.PropDue)
	if due == nil {
		return nil
	}
	at, days, err := readTime(due, loc)
	if err != nil {
		return err
	}
	if !days {
		at = at.In(loc)
	}
	f.due, in.zone = at.Format(time.DateOnly), loc
	return nil
}

func (in *input) readEvent(c *ical.Component, loc *time.Location) error {
	f := &in.fields
	f.location = singleLine(textValue(c.Props.Get(ical.PropLocation)))
	f.class = "PUBLIC"
	switch class := strings.ToUpper(textValue(c.Props.Get(ical.PropClass))); class {
	case "PRIVATE", "CONFIDENTIAL":
		f.class = class
	}
	f.status = "CONFIRMED"
	switch status := strings.ToUpper(textValue(c.Props.Get(ical.PropStatus))); status {
	case "TENTATIVE", "CANCELLED":
		f.status = status
	}
	in.shown = c.Props.Get(ical.PropTransparency) != nil || f.status == "TENTATIVE"
	f.free = strings.EqualFold(textValue(c.Props.Get(ical.PropTransparency)), "TRANSPARENT")
	begin := c.Props.Get(ical.PropDateTimeStart)
	if begin == nil {
		return invalid("DTSTART is required")
	}
	start, days, err := readTime(begin, loc)
	if err != nil {
		return err
	}
	in.zone, f.allDay = start.Location(), days
	end := start
	switch last, length := c.Props.Get(ical.PropDateTimeEnd), c.Props.Get(ical.PropDuration); {
	case last != nil:
		var dates bool
		if end, dates, err = readTime(last, loc); err != nil {
			return err
		}
		if dates != days {
			return invalid("DTEND: want a date if DTSTART is one, and a time if it is one")
		}
	case length != nil:
		d, err := length.Duration()
		if err != nil || d < 0 || d > maxDuration {
			return invalid("DURATION: want a duration such as PT1H, of at most a year, not %q", truncate(length.Value))
		}
		end = start.Add(d)
	case days:
		end = start.AddDate(0, 0, 1)
	}
	if days {
		end = time.Date(end.Year(), end.Month(), end.Day(), 0, 0, 0, 0, time.UTC)
		if !end.After(start) {
			end = start.AddDate(0, 0, 1)
		}
	}
	if end.Before(start) {
		return invalid("DTEND: want a time that is not before DTSTART")
	}
	if err := checkYear("DTEND", end); err != nil {
		return err
	}
	f.start, f.end = start.UTC(), end.UTC()
	for _, a := range c.Children {
		trigger := a.Props.Get(ical.PropTrigger)
		if a.Name != ical.CompAlarm || trigger == nil {
			continue
		}
		if d, err := trigger.Duration(); err == nil && d <= 0 && !strings.EqualFold(trigger.Params.Get("RELATED"), "END") {
			minutes := int(-d / time.Minute)
			in.reminder = &minutes
			break
		}
	}
	return nil
}

// maxDuration bounds the length of an event that has no end.
const maxDuration = 366 * oneDay

// readTime reads a date, as its midnight in UTC, or a time in its zone. Its year has four digits, also in other zones.
func readTime(p *ical.Prop, loc *time.Location) (at time.Time, isDate bool, err error) {
	at, isDate, err = readAnyTime(p, loc)
	if err == nil {
		err = checkYear(p.Name, at)
	}
	return at, isDate, err
}

func checkYear(name string, at time.Time) error {
	if year := at.UTC().Year(); year < minYear || year > maxYear {
		return invalid("%s: want a year from %d to %d, not %d", name, minYear, maxYear, year)
	}
	return nil
}

const minYear, maxYear = 2, 9998

func readAnyTime(p *ical.Prop, loc *time.Location) (at time.Time, isDate bool, err error) {
	value := strings.TrimSpace(p.Value)
	if at, err = time.ParseInLocation("20060102", value, time.UTC); err == nil {
		return at, true, nil
	}
	if at, err = time.ParseInLocation("20060102T150405Z", value, time.UTC); err == nil {
		return at, false, nil
	}
	if id := p.Params.Get(ical.PropTimezoneID); id != "" {
		if loc = findZone(id); loc == nil {
			return at, false, invalid("%s: unknown time zone %q", p.Name, truncate(id))
		}
	}
	if at, err = time.ParseInLocation("20060102T150405", value, loc); err != nil {
		return at, false, invalid("%s: want a date or a time, not %q", p.Name, truncate(value))
	}
	return at, false, nil
}

// findZone returns the time zone with this name of IANA or Windows. Some clients write a path before it.
func findZone(id string) *time.Location {
	parts := strings.Split(strings.Trim(id, "/"), "/")
	for n := range parts {
		if loc, err := graph.Location(strings.Join(parts[n:], "/")); err == nil {
			return loc
		}
	}
	return nil
}

// readRecurrence reads the rule of a series.
func (in *input) readRecurrence(c *ical.Component) error {
	for _, name := range []string{ical.PropRecurrenceDates, ical.PropExceptionDates} {
		if c.Props.Get(name) != nil {
			return invalid("%s is not supported", name)
		}
	}
	p := c.Props.Get(ical.PropRecurrenceRule)
	if p == nil {
		return nil
	}
	if in.kind == ical.CompToDo && in.fields.due == "" {
		return invalid("RRULE: want DUE as well, the day on which the task is due first")
	}
	var err error
	in.recurrence, err = newRecurrence(p.Value, in.zone)
	return err
}
