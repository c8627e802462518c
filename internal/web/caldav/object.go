package caldav

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

const (
	productID = "-//graph2mqtt//CalDAV//EN"
	extension = ".ics"
	// maxDescription is the length in characters from which on Graph's clients cut descriptions.
	maxDescription = 1000
)

// An object is an event or a task as it is served. Its iCalendar is not kept but encoded when it is sent.
type object struct {
	name   string // last part of its address
	uid    string
	etag   string // with its quotation marks
	fields *fields

	event  *calendars.Event // nil: a task
	series string           // of an event: Graph's id of its series; "": none
	link   string           // of an event: its address in Outlook; "": none
	task   *tasks.Task      // nil: an event
	loc    *time.Location   // of the dates of a task
}

// id returns Graph's id.
func (o *object) id() string {
	if o.event != nil {
		return o.event.ID
	}
	return o.task.ID
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
	name = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10])) + extension
	return name, strings.TrimSuffix(name, extension)
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

// newObject returns an object that is neither an event nor a task yet.
func newObject(id string, alias *alias, f *fields) *object {
	o := &object{fields: f}
	if alias != nil {
		o.name, o.uid = alias.Name, alias.UID
	} else {
		o.name, o.uid = identity(id)
	}
	return o
}

// eventObject returns the object of an event.
func eventObject(e *calendars.Event, alias *alias) *object {
	o := newObject(e.ID, alias, &fields{
		summary: cmp.Or(singleLine(e.Subject), "(no subject)"), description: sanitizeText(e.Description), truncated: isTruncated(e.Description), location: singleLine(e.Location), categories: lines(e.Categories),
		start: e.Start.UTC(), end: e.End.UTC(), allDay: e.AllDay, class: classOf(e.Sensitivity), status: statusOf(e), free: strings.EqualFold(e.ShowAs, "free"),
	})
	o.event, o.series = e, singleLine(e.SeriesID)
	if link, err := url.Parse(e.WebLink); err == nil && link.Scheme == "https" {
		if o.link = link.String(); o.link == e.WebLink {
			o.link = e.WebLink // one text less
		}
	}
	o.setTag()
	return o
}

// taskObject returns the object of a task, whose day of completion and due date are days of loc.
func taskObject(t *tasks.Task, alias *alias, loc *time.Location) *object {
	o := newObject(t.ID, alias, &fields{
		summary: cmp.Or(singleLine(t.Subject), "(no title)"), description: sanitizeText(t.Description), truncated: isTruncated(t.Description), categories: lines(t.Categories),
		due: t.DueDate(loc), done: t.Done(), importance: importanceOf(t.Importance),
	})
	o.task, o.loc = t, loc
	o.setTag()
	return o
}

// setTag sets the ETag, which differs where the iCalendar does.
func (o *object) setTag() {
	sum := sha256.Sum256(o.appendCalendar(make([]byte, 0, 1<<10)))
	o.etag = `"` + hex.EncodeToString(sum[:10]) + `"`
}

// within reports whether the object is in [from, to) by the rules of RFC 4791, section 9.9. Zero times are open ends.
func (o *object) within(from, to time.Time, loc *time.Location) bool {
	if o.event != nil {
		start, end := o.event.Span(loc)
		return (to.IsZero() || start.Before(to)) && (from.IsZero() || end.After(from) || end.Equal(start) && !start.Before(from))
	}
	times := taskTimes{completed: o.completed(), created: o.task.Created}
	if due, err := time.ParseInLocation(time.DateOnly, o.fields.due, o.loc); err == nil {
		times.due = due
	}
	return times.within(from, to)
}

// completed returns the day on which a task was completed, zero if it is not known or the task is open.
func (o *object) completed() time.Time {
	if !o.fields.done {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, o.task.Completed)
	if err != nil {
		return time.Time{}
	}
	return day
}

// taskTimes are the times of a task; a zero one is not set or not known.
type taskTimes struct {
	due                time.Time // the midnight
	completed, created time.Time
}

// within is that of an object.
func (t taskTimes) within(from, to time.Time) bool {
	// before and atMost compare with the ends of the range.
	fromBefore := func(t time.Time) bool { return from.IsZero() || from.Before(t) }
	fromAtMost := func(t time.Time) bool { return from.IsZero() || !from.After(t) }
	toAfter := func(t time.Time) bool { return to.IsZero() || to.After(t) }
	toAtLeast := func(t time.Time) bool { return to.IsZero() || !to.Before(t) }
	switch {
	case !t.due.IsZero():
		return fromBefore(t.due) && toAtLeast(t.due)
	case !t.completed.IsZero() && !t.created.IsZero():
		return (fromAtMost(t.created) || fromAtMost(t.completed)) && (toAtLeast(t.created) || toAtLeast(t.completed))
	case !t.completed.IsZero():
		return fromAtMost(t.completed) && toAtLeast(t.completed)
	case !t.created.IsZero():
		return toAfter(t.created)
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
	if isSanitized(s, false) {
		return s // most texts are, and need no memory of their own then
	}
	return normalize(s)
}

func normalize(s string) string {
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

// isSanitized reports whether sanitizeText, or singleLine for single, would change nothing of a text. It may be wrong about rare ones.
func isSanitized(s string, single bool) bool {
	last := '\n' // as if after a line break
	for i, r := range s {
		space := unicode.IsSpace(r)
		switch {
		case r == '\n':
			if single || i == 0 || last != '\n' && unicode.IsSpace(last) {
				return false
			}
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', r == '\uFEFF', r >= '\uFFFD' && r <= '\uFFFF':
			return false
		case space && (i == 0 || single && (r != ' ' || last == ' ')):
			return false
		}
		last = r
	}
	return s == "" || !unicode.IsSpace(last)
}

// singleLine returns a sanitized text in one line.
func singleLine(s string) string {
	if isSanitized(s, true) {
		return s
	}
	return strings.Join(strings.Fields(normalize(s)), " ")
}

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
