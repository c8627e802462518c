package outlook

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A recurrence is a patternedRecurrence. See https://learn.microsoft.com/graph/api/resources/patternedrecurrence.
type recurrence struct {
	kind     string // daily, weekly, absoluteMonthly, relativeMonthly, absoluteYearly, relativeYearly
	interval int
	days     []time.Weekday
	index    int        // of the matching days of a month, from 0; -1: the last
	day      int        // of the month
	month    time.Month // of the year
	first    time.Time  // date
	last     time.Time  // date; zero: none
	count    int        // 0: no limit
}

const (
	maxOccurrences = 5000 // limits a series without an end
	maxInterval    = 999
)

func parseRecurrence(v any) (*recurrence, error) {
	invalid := odata.NewError(http.StatusBadRequest, "ErrorInvalidRecurrencePattern", "The recurrence pattern is invalid.")
	m, _ := v.(map[string]any)
	pattern, _ := m["pattern"].(map[string]any)
	limits, _ := m["range"].(map[string]any)
	if pattern == nil || limits == nil {
		return nil, invalid
	}
	r := &recurrence{interval: 1}
	var err error
	if r.kind, err = odata.ParseEnum("recurrencePatternType", pattern["type"], "daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"); err != nil {
		return nil, err
	}
	if n, ok := pattern["interval"].(float64); ok {
		r.interval = int(n)
	}
	if days, _ := pattern["daysOfWeek"].([]any); len(days) > 0 {
		for _, d := range days {
			i := slices.IndexFunc([]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}, func(n string) bool {
				text, _ := d.(string)
				return strings.EqualFold(n, text)
			})
			if i < 0 {
				return nil, invalid
			}
			r.days = append(r.days, time.Weekday(i))
		}
	}
	text, _ := limits["startDate"].(string)
	if r.first, err = time.Parse(time.DateOnly, text); err != nil || r.interval < 1 || r.interval > maxInterval || r.days == nil && (r.kind == "weekly" || r.relative()) {
		return nil, invalid
	}
	if v := pattern["index"]; v != nil {
		indices := []string{"first", "second", "third", "fourth", "last"}
		index, err := odata.ParseEnum("weekIndex", v, indices...)
		if err != nil {
			return nil, err
		}
		if r.index = slices.Index(indices, index); index == "last" {
			r.index = -1
		}
	}
	r.day, r.month = r.first.Day(), r.first.Month()
	if n, ok := pattern["dayOfMonth"].(float64); ok && n != 0 {
		r.day = int(n)
	}
	if n, ok := pattern["month"].(float64); ok && n != 0 {
		r.month = time.Month(n)
	}
	if r.day < 1 || r.day > 31 || r.month < 1 || r.month > 12 {
		return nil, invalid
	}
	switch limits["type"] {
	case "endDate":
		text, _ := limits["endDate"].(string)
		if r.last, err = time.Parse(time.DateOnly, text); err != nil || r.last.Before(r.first) {
			return nil, invalid
		}
	case "numbered":
		n, _ := limits["numberOfOccurrences"].(float64)
		if r.count = int(n); r.count < 1 {
			return nil, invalid
		}
	case "noEnd":
	default:
		return nil, invalid
	}
	return r, nil
}

// dates yields the dates of the series in order until yield returns false.
func (r *recurrence) dates(yield func(time.Time) bool) {
	n := 0
	emit := func(d time.Time) bool {
		if !r.last.IsZero() && d.After(r.last) || r.count > 0 && n >= r.count || n >= maxOccurrences {
			return false
		}
		n++
		return yield(d)
	}
	for i := 0; ; i += r.interval {
		switch r.kind {
		case "daily":
			if !emit(r.first.AddDate(0, 0, i)) {
				return
			}
		case "weekly":
			week := r.first.AddDate(0, 0, 7*i-int(r.first.Weekday()))
			for day := range 7 {
				d := week.AddDate(0, 0, day)
				if slices.Contains(r.days, d.Weekday()) && !d.Before(r.first) && !emit(d) {
					return
				}
			}
		default:
			month := time.Date(r.first.Year(), r.first.Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC)
			if r.kind == "absoluteYearly" || r.kind == "relativeYearly" {
				month = time.Date(r.first.Year()+i, r.month, 1, 0, 0, 0, 0, time.UTC)
			}
			if d := r.within(month); !d.Before(r.first) && !emit(d) {
				return
			}
		}
	}
}

func (r *recurrence) relative() bool {
	return r.kind == "relativeMonthly" || r.kind == "relativeYearly"
}

// within returns the date in the given month.
func (r *recurrence) within(month time.Time) time.Time {
	length := month.AddDate(0, 1, -1).Day()
	if !r.relative() {
		// In shorter months the 31st is the last day.
		return month.AddDate(0, 0, min(r.day, length)-1)
	}
	var matching []time.Time
	for day := range length {
		if d := month.AddDate(0, 0, day); slices.Contains(r.days, d.Weekday()) {
			matching = append(matching, d)
		}
	}
	if r.index < 0 {
		return matching[len(matching)-1]
	}
	return matching[r.index] // every weekday occurs at least four times in a month
}

// occurrence returns the occurrence of a date; nil if it was removed.
func (e *storedEvent) occurrence(date time.Time) *storedEvent {
	key := date.Format(time.DateOnly)
	if o, ok := e.exceptions[key]; ok {
		return o
	}
	suffix := "Q" + strings.ReplaceAll(key, "-", "") + "="
	o := &storedEvent{
		id: strings.TrimSuffix(e.id, "=") + suffix, immutable: strings.TrimSuffix(e.immutable, "=") + suffix, calendar: e.calendar,
		properties: maps.Clone(e.properties), modified: e.modified, version: e.version, master: e, date: key,
	}
	o.properties["type"], o.properties["recurrence"] = "occurrence", nil
	o.start, o.end = e.start, e.end
	y, m, d := e.start.Wall.Date()
	shift := date.Sub(time.Date(y, m, d, 0, 0, 0, 0, time.UTC))
	o.start.Wall, o.end.Wall = e.start.Wall.Add(shift), e.end.Wall.Add(shift)
	return o
}

// occurrences returns the occurrences of a series that overlap [from, to).
func (e *storedEvent) occurrences(from, to time.Time) []*storedEvent {
	var found []*storedEvent
	for date := range e.repeats.dates {
		o := e.occurrence(date)
		if o != nil && o.overlaps(from, to) {
			found = append(found, o)
		}
		// Two extra days, for exceptions that were moved.
		if date.After(to.UTC().AddDate(0, 0, 2)) {
			break
		}
	}
	return found
}

// occurrenceByID returns the occurrence with that id, or nil.
func (e *storedEvent) occurrenceByID(id string) *storedEvent {
	if len(id) < 9 || !strings.HasPrefix(id, strings.TrimSuffix(e.id, "=")) && !strings.HasPrefix(id, strings.TrimSuffix(e.immutable, "=")) {
		return nil
	}
	for date := range e.repeats.dates {
		if o := e.occurrence(date); o != nil && (o.id == id || o.immutable == id) {
			return o
		}
	}
	return nil
}

// NextDate returns the first date of a patternedRecurrence after a date; the zero time if there is none.
func NextDate(pattern any, after time.Time) (time.Time, error) {
	r, err := parseRecurrence(pattern)
	if err != nil {
		return time.Time{}, err
	}
	for d := range r.dates {
		if d.After(after) {
			return d, nil
		}
	}
	return time.Time{}, nil
}
