package services

import (
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// ParseTime reads the time s of a request's field: with a zone, or without one and then in loc, in the forms that
// RFC 3339 and the templates of Home Assistant have, seconds or not. Its error is an invalid argument that names the
// field. A time that the clocks of loc skip is one: it would be an hour off.
func ParseTime(field, s string, loc *time.Location) (time.Time, error) {
	t, skipped, ok := parseTime(s, loc)
	switch {
	case skipped:
		return time.Time{}, graph.Invalid("%s: want a time that exists, not %s: the clocks of %s skip it", field, QuoteForError(s), loc)
	case !ok:
		return time.Time{}, graph.Invalid("%s: want a time with or without zone, such as 2026-01-01T12:00:00, not %s", field, QuoteForError(s))
	}
	return t, nil
}

// ParseTimeOrDate is ParseTime for the start or the end of a span, which may also be a date: the moment when
// that day begins in loc.
func ParseTimeOrDate(field, s string, loc *time.Location) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, strings.TrimSpace(s)); err == nil && inRange(day) {
		return graph.StartOfDay(day.Year(), day.Month(), day.Day(), loc), nil
	}
	if _, skipped, ok := parseTime(s, loc); !ok && !skipped {
		return time.Time{}, graph.Invalid("%s: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not %s", field, QuoteForError(s))
	}
	return ParseTime(field, s, loc)
}

// ParseDate reads the day s of a request's field: a date, or the midnight that it begins with. A day has no zone, so
// that of a midnight is left aside. The result is that day's midnight in UTC.
func ParseDate(field, s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, strings.TrimSpace(s))
	ok := err == nil && inRange(t)
	if err != nil {
		t, _, ok = parseTime(s, time.UTC)
	}
	if hour, minute, second := t.Clock(); !ok || hour+minute+second+t.Nanosecond() != 0 {
		return time.Time{}, graph.Invalid("%s: want a date, such as 2026-01-01, not %s", field, QuoteForError(s))
	}
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC), nil
}

// parseTime reports ok for a time that can be stored, and skipped for one that the clocks of loc never show.
func parseTime(s string, loc *time.Location) (t time.Time, skipped, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	s = strings.ReplaceAll(s, " ", "")
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, false, inRange(t)
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if wall, err := time.Parse(layout, s); err == nil {
			t, _ := time.ParseInLocation(layout, s, loc)
			return t, t.Format(time.DateTime) != wall.Format(time.DateTime), inRange(t)
		}
	}
	return time.Time{}, false, false
}

// inRange reports whether Exchange can store t: its calendar begins in 1601 and ends in 4500.
func inRange(t time.Time) bool { return t.Year() > 1601 && t.Year() < 4500 }
