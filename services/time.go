package services

import (
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// ParseTime reads the time s of a request's field: with a zone, or without one and then in loc, in the forms that
// RFC 3339 and the templates of Home Assistant have, seconds or not. Its error is an invalid argument that names the
// field.
func ParseTime(field, s string, loc *time.Location) (time.Time, error) {
	if t, ok := parseTime(s, loc); ok {
		return t, nil
	}
	return time.Time{}, graph.Invalid("%s: want a time with or without zone, such as 2026-01-01T12:00:00, not %s", field, QuoteForError(s))
}

// ParseDate reads the day s of a request's field: a date, or the midnight that it begins with. A day has no zone, so
// that of a midnight is left aside. The result is that day's midnight in UTC.
func ParseDate(field, s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, strings.TrimSpace(s))
	ok := err == nil && inRange(t)
	if err != nil {
		t, ok = parseTime(s, time.UTC)
	}
	if hour, minute, second := t.Clock(); !ok || hour+minute+second+t.Nanosecond() != 0 {
		return time.Time{}, graph.Invalid("%s: want a date, such as 2026-01-01, not %s", field, QuoteForError(s))
	}
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC), nil
}

func parseTime(s string, loc *time.Location) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	s = strings.ReplaceAll(s, " ", "")
	for _, layout := range []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02T15:04",
	} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, inRange(t)
		}
	}
	return time.Time{}, false
}

// inRange reports whether Exchange can store t: its calendar begins in 1601 and ends in 4500.
func inRange(t time.Time) bool { return t.Year() > 1601 && t.Year() < 4500 }
