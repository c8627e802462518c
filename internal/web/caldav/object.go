package caldav

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-ical"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

const (
	productID = "-//graph2mqtt//CalDAV//EN"
	// seriesProperty holds the id of the series that an event is an occurrence of.
	seriesProperty = "X-GRAPH2MQTT-SERIES-ID"
	extension      = ".ics"
	// maxDescription is the length in characters from which on Graph's clients cut descriptions.
	maxDescription = 1000
)

// An object is an event or a task as it is served.
type object struct {
	id     string // Graph's
	series string // Graph's id of its series; "": none
	name   string // last part of its address
	uid    string
	etag   string // with its quotation marks
	data   string // iCalendar
	fields *fields

	event     *calendars.Event // nil: a task
	task      *tasks.Task      // nil: an event
	loc       *time.Location   // of the dates of a task
	due       time.Time        // of a task: the midnight; zero: none
	completed time.Time        // of a task; zero: not completed
	created   time.Time        // of a task; zero: not known
}

// fields are the parts of an object that a client can change.
type fields struct {
	summary, description string
	truncated            bool // the description is only the beginning of it
	categories           []string

	// Of an event.
	location   string
	start, end time.Time // of whole days: midnights in UTC of the dates
	allDay     bool
	class      string // PUBLIC, PRIVATE or CONFIDENTIAL
	status     string // CONFIRMED, TENTATIVE or CANCELLED
	free       bool

	// Of a task.
	due        string // date; "": none
	done       bool
	importance string // low, normal or high
}

// identity returns the name and the UID of what has this id.
func identity(id string) (name, uid string) {
	sum := sha256.Sum256([]byte(id))
	uid = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
	return uid + extension, uid
}

// nameOf returns the name of what has this id.
func nameOf(id string, a *alias) string {
	if a != nil {
		return a.Name
	}
	name, _ := identity(id)
	return name
}

// sameEvent reports whether two versions of an event are served alike.
func sameEvent(a, b *calendars.Event) bool {
	return a.ID == b.ID && a.SeriesID == b.SeriesID && a.Subject == b.Subject && a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.AllDay == b.AllDay &&
		a.Description == b.Description && a.Location == b.Location && slices.Equal(a.Categories, b.Categories) && a.Sensitivity == b.Sensitivity &&
		a.ShowAs == b.ShowAs && a.Response == b.Response && a.Cancelled == b.Cancelled && a.WebLink == b.WebLink
}

// component begins the component of an object. DTSTAMP is required; it is the time of the last change, or a fixed time where that is
// not known, so that what did not change is served as it was.
func component(kind, uid string, changed time.Time) *ical.Component {
	c := ical.NewComponent(kind)
	c.Props.SetText(ical.PropUID, uid)
	if changed.IsZero() {
		changed = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	c.Props.SetDateTime(ical.PropDateTimeStamp, changed.UTC().Truncate(time.Second))
	return c
}

func setText(c *ical.Component, name, value string) {
	if value != "" {
		c.Props.SetText(name, value)
	}
}

func setCategories(c *ical.Component, categories []string) {
	if len(categories) == 0 {
		return
	}
	p := ical.NewProp(ical.PropCategories)
	p.SetTextList(categories)
	c.Props.Set(p)
}

// eventObject returns the object of an event.
func eventObject(e *calendars.Event, alias *alias) (*object, error) {
	f := &fields{
		summary: cmp.Or(singleLine(e.Subject), "(no subject)"), description: sanitizeText(e.Description), truncated: isTruncated(e.Description), location: singleLine(e.Location), categories: lines(e.Categories),
		start: e.Start.UTC(), end: e.End.UTC(), allDay: e.AllDay, class: classOf(e.Sensitivity), status: statusOf(e), free: strings.EqualFold(e.ShowAs, "free"),
	}
	o := &object{id: e.ID, series: e.SeriesID, fields: f, event: e}
	o.name, o.uid = identity(e.ID)
	if alias != nil {
		o.name, o.uid = alias.Name, alias.UID
	}
	c := component(ical.CompEvent, o.uid, time.Time{})
	if e.AllDay {
		c.Props.SetDate(ical.PropDateTimeStart, f.start)
		c.Props.SetDate(ical.PropDateTimeEnd, f.end)
	} else {
		c.Props.SetDateTime(ical.PropDateTimeStart, f.start)
		c.Props.SetDateTime(ical.PropDateTimeEnd, f.end)
	}
	c.Props.SetText(ical.PropSummary, f.summary)
	setText(c, ical.PropDescription, f.description)
	setText(c, ical.PropLocation, f.location)
	setCategories(c, f.categories)
	c.Props.SetText(ical.PropStatus, f.status)
	c.Props.SetText(ical.PropClass, f.class)
	transparency := "OPAQUE"
	if f.free {
		transparency = "TRANSPARENT"
	}
	c.Props.SetText(ical.PropTransparency, transparency)
	if link, err := url.Parse(e.WebLink); err == nil && link.Scheme == "https" {
		c.Props.SetURI(ical.PropURL, link)
	}
	if e.SeriesID != "" {
		p := ical.NewProp(seriesProperty)
		p.SetText(singleLine(e.SeriesID))
		p.Params.Del(ical.ParamValue) // it is text anyway
		c.Props.Set(p)
	}
	return o, o.encode(c)
}

// taskObject returns the object of a task, whose day of completion and due date are days of loc.
func taskObject(t *tasks.Task, alias *alias, loc *time.Location) (*object, error) {
	f := &fields{
		summary: cmp.Or(singleLine(t.Subject), "(no title)"), description: sanitizeText(t.Description), truncated: isTruncated(t.Description), categories: lines(t.Categories),
		due: t.DueDate(loc), done: t.Done(), importance: importanceOf(t.Importance),
	}
	o := &object{id: t.ID, fields: f, task: t, loc: loc, created: t.Created}
	o.name, o.uid = identity(t.ID)
	if alias != nil {
		o.name, o.uid = alias.Name, alias.UID
	}
	c := component(ical.CompToDo, o.uid, t.Modified)
	c.Props.SetText(ical.PropSummary, f.summary) // Home Assistant does not show a task without one
	setText(c, ical.PropDescription, f.description)
	setCategories(c, f.categories)
	if due, err := time.Parse(time.DateOnly, f.due); err == nil {
		c.Props.SetDate(ical.PropDue, due)
		o.due = time.Date(due.Year(), due.Month(), due.Day(), 0, 0, 0, 0, loc)
	}
	status := "NEEDS-ACTION"
	switch {
	case f.done:
		status = "COMPLETED"
		if day, err := time.ParseInLocation(time.DateOnly, t.Completed, time.UTC); err == nil {
			o.completed = day
			c.Props.SetDateTime(ical.PropCompleted, day)
		}
	case t.Status == "inProgress":
		status = "IN-PROCESS"
	}
	c.Props.SetText(ical.PropStatus, status)
	p := ical.NewProp(ical.PropPriority)
	p.Value = map[string]string{"high": "1", "low": "9"}[f.importance]
	if p.Value == "" {
		p.Value = "5"
	}
	c.Props.Set(p)
	if !t.Created.IsZero() {
		c.Props.SetDateTime(ical.PropCreated, t.Created.UTC().Truncate(time.Second))
	}
	if !t.Modified.IsZero() {
		c.Props.SetDateTime(ical.PropLastModified, t.Modified.UTC().Truncate(time.Second))
	}
	return o, o.encode(c)
}

// encode sets the data and the ETag.
func (o *object) encode(c *ical.Component) error {
	calendar := newCalendar()
	calendar.Children = []*ical.Component{c}
	var b bytes.Buffer
	if err := ical.NewEncoder(&b).Encode(calendar); err != nil {
		return fmt.Errorf("encode %s: %w", o.uid, err)
	}
	o.data = b.String()
	sum := sha256.Sum256(b.Bytes())
	o.etag = `"` + hex.EncodeToString(sum[:10]) + `"`
	return nil
}

func newCalendar() *ical.Calendar {
	c := ical.NewCalendar()
	c.Props.SetText(ical.PropVersion, "2.0")
	c.Props.SetText(ical.PropProductID, productID)
	return c
}

// body returns the component of the object without the calendar around it.
func (o *object) body() string {
	begin, end := strings.Index(o.data, "BEGIN:V"), strings.LastIndex(o.data, "END:VCALENDAR")
	begin += 1 + strings.Index(o.data[begin+1:], "BEGIN:V")
	return o.data[begin:end]
}

// within reports whether the object is in [from, to) by the rules of RFC 4791, section 9.9. Zero times are open ends.
func (o *object) within(from, to time.Time, loc *time.Location) bool {
	if o.event != nil {
		start, end := o.event.Span(loc)
		return (to.IsZero() || start.Before(to)) && (from.IsZero() || end.After(from) || end.Equal(start) && !start.Before(from))
	}
	// before and atMost compare with the ends of the range.
	fromBefore := func(t time.Time) bool { return from.IsZero() || from.Before(t) }
	fromAtMost := func(t time.Time) bool { return from.IsZero() || !from.After(t) }
	toAfter := func(t time.Time) bool { return to.IsZero() || to.After(t) }
	toAtLeast := func(t time.Time) bool { return to.IsZero() || !to.Before(t) }
	switch {
	case !o.due.IsZero():
		return fromBefore(o.due) && toAtLeast(o.due)
	case !o.completed.IsZero() && !o.created.IsZero():
		return (fromAtMost(o.created) || fromAtMost(o.completed)) && (toAtLeast(o.created) || toAtLeast(o.completed))
	case !o.completed.IsZero():
		return fromAtMost(o.completed) && toAtLeast(o.completed)
	case !o.created.IsZero():
		return toAfter(o.created)
	}
	return true
}

// statusOf returns the STATUS of an event.
func statusOf(e *calendars.Event) string {
	switch {
	case e.Cancelled:
		return "CANCELLED"
	case strings.EqualFold(e.ShowAs, "tentative"), strings.EqualFold(e.Response, "tentativelyAccepted"):
		return "TENTATIVE"
	}
	return "CONFIRMED"
}

// classOf returns the CLASS of an event.
func classOf(sensitivity string) string {
	switch strings.ToLower(sensitivity) {
	case "personal", "private":
		return "PRIVATE"
	case "confidential":
		return "CONFIDENTIAL"
	}
	return "PUBLIC"
}

func importanceOf(s string) string {
	switch s {
	case "low", "high":
		return s
	}
	return "normal"
}

// isTruncated reports whether a description may be only the beginning of one.
func isTruncated(s string) bool {
	return strings.HasSuffix(s, "…") && utf8.RuneCountInString(s) >= maxDescription
}

// sanitizeText removes control characters and normalizes line breaks: Home Assistant cannot read a list with a carriage return.
func sanitizeText(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t', r == '\u2028', r == '\u2029', r == '\u0085':
			return ' '
		case unicode.IsControl(r), r == '\uFEFF', r == '\uFFFE', r == '\uFFFF':
			return -1
		}
		return r
	}, s)
	all := strings.Split(s, "\n")
	for i, l := range all {
		all[i] = strings.TrimRightFunc(l, unicode.IsSpace)
	}
	return strings.TrimSpace(strings.Join(all, "\n"))
}

// singleLine returns a sanitized text in one line.
func singleLine(s string) string { return strings.Join(strings.Fields(sanitizeText(s)), " ") }

// lines returns each text in one line, without empty ones.
func lines(all []string) []string {
	var some []string
	for _, s := range all {
		if s = singleLine(s); s != "" && !slices.Contains(some, s) {
			some = append(some, s)
		}
	}
	return some
}
