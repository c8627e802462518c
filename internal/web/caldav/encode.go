package caldav

import (
	"slices"
	"time"

	"github.com/emersion/go-ical"
)

const (
	calendarBegin = "BEGIN:VCALENDAR\r\nPRODID:" + productID + "\r\nVERSION:2.0\r\n"
	calendarEnd   = "END:VCALENDAR\r\n"
	// seriesProperty holds the id of the series that an event is an occurrence of.
	seriesProperty = "X-GRAPH2MQTT-SERIES-ID"

	dateLayout = "20060102"
	timeLayout = "20060102T150405Z"
)

// appendCalendar appends the object as a calendar of its own. It is not encoded with package ical, which would take as much memory for each
// object as the answer has.
func (o *object) appendCalendar(b []byte) []byte {
	return append(o.appendComponent(append(b, calendarBegin...)), calendarEnd...)
}

// appendComponent appends the event or the task. Its properties are in alphabetical order, as package ical encodes them.
func (o *object) appendComponent(b []byte) []byte {
	if o.event != nil {
		return o.appendEvent(b)
	}
	return o.appendTask(b)
}

func (o *object) appendEvent(b []byte) []byte {
	f := o.fields
	b = appendLine(b, "BEGIN", ical.CompEvent)
	b = appendTexts(b, ical.PropCategories, f.categories...)
	b = appendLine(b, ical.PropClass, f.class)
	b = appendTexts(b, ical.PropDescription, f.description)
	end, start, layout := ical.PropDateTimeEnd, ical.PropDateTimeStart, timeLayout
	if f.allDay {
		end, start, layout = ical.PropDateTimeEnd+";VALUE=DATE", ical.PropDateTimeStart+";VALUE=DATE", dateLayout
	}
	b = appendTime(b, end, f.end, layout)
	b = appendStamp(b, time.Time{})
	b = appendTime(b, start, f.start, layout)
	b = appendTexts(b, ical.PropLocation, f.location)
	b = appendLine(b, ical.PropStatus, f.status)
	b = appendTexts(b, ical.PropSummary, f.summary)
	transparency := "OPAQUE"
	if f.free {
		transparency = "TRANSPARENT"
	}
	b = appendLine(b, ical.PropTransparency, transparency)
	b = appendTexts(b, ical.PropUID, o.uid)
	if o.link != "" {
		b = appendLine(b, ical.PropURL, o.link)
	}
	b = appendTexts(b, seriesProperty, o.series)
	return appendLine(b, "END", ical.CompEvent)
}

func (o *object) appendTask(b []byte) []byte {
	f, t := o.fields, o.task
	b = appendLine(b, "BEGIN", ical.CompToDo)
	b = appendTexts(b, ical.PropCategories, f.categories...)
	if completed := o.completed(); !completed.IsZero() {
		b = appendTime(b, ical.PropCompleted, completed, timeLayout)
	}
	if !t.Created.IsZero() {
		b = appendTime(b, ical.PropCreated, t.Created, timeLayout)
	}
	b = appendTexts(b, ical.PropDescription, f.description)
	b = appendStamp(b, t.Modified)
	if due, err := time.Parse(time.DateOnly, f.due); err == nil {
		b = appendTime(b, ical.PropDue+";VALUE=DATE", due, dateLayout)
	}
	if !t.Modified.IsZero() {
		b = appendTime(b, ical.PropLastModified, t.Modified, timeLayout)
	}
	priority := "5"
	switch f.importance {
	case "high":
		priority = "1"
	case "low":
		priority = "9"
	}
	b = appendLine(b, ical.PropPriority, priority)
	status := "NEEDS-ACTION"
	switch {
	case f.done:
		status = "COMPLETED"
	case t.Status == "inProgress":
		status = "IN-PROCESS"
	}
	b = appendLine(b, ical.PropStatus, status)
	b = appendTexts(b, ical.PropSummary, f.summary) // Home Assistant does not show a task without one
	b = appendTexts(b, ical.PropUID, o.uid)
	return appendLine(b, "END", ical.CompToDo)
}

// appendLine appends a property whose value needs no escaping.
func appendLine(b []byte, name, value string) []byte {
	b = append(append(b, name...), ':')
	return append(append(b, value...), "\r\n"...)
}

// appendTime appends a time in UTC.
func appendTime(b []byte, name string, at time.Time, layout string) []byte {
	b = append(append(b, name...), ':')
	return append(at.UTC().AppendFormat(b, layout), "\r\n"...)
}

// appendStamp appends DTSTAMP, which is required: the time of the last change, or a fixed time where that is not known, so that what did
// not change is served as it was.
func appendStamp(b []byte, changed time.Time) []byte {
	if changed.IsZero() {
		changed = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return appendTime(b, ical.PropDateTimeStamp, changed, timeLayout)
}

// appendTexts appends a property with a list of texts, unless all are empty.
func appendTexts(b []byte, name string, values ...string) []byte {
	if !slices.ContainsFunc(values, func(v string) bool { return v != "" }) {
		return b
	}
	b = append(append(b, name...), ':')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		written := 0
		for i := range len(v) {
			c := v[i]
			if c != '\\' && c != ';' && c != ',' && c != '\n' && c != '\r' {
				continue
			}
			b = append(b, v[written:i]...)
			switch c {
			case '\n':
				b = append(b, `\n`...)
			case '\r': // no text may have it; it would end the line
			default:
				b = append(b, '\\', c)
			}
			written = i + 1
		}
		b = append(b, v[written:]...)
	}
	return append(b, "\r\n"...)
}
