package services

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Recurrence is the pattern by which something repeats, in the terms of Microsoft's patternedRecurrence. Omitted fields follow
// from the first start: every week on its weekday, every month on its day.
//
// https://learn.microsoft.com/graph/api/resources/patternedrecurrence
type Recurrence struct {
	Type           string   `json:"type" required:"true" doc:"Pattern by which it repeats." enum:"daily,weekly,absoluteMonthly,relativeMonthly,absoluteYearly,relativeYearly"`
	Interval       *int     `json:"interval" doc:"Number of days, weeks, months or years between two occurrences. Default: 1."`
	DaysOfWeek     []string `json:"days_of_week" doc:"With weekly and the relative types: sunday to saturday. Default: the weekday of the start."`
	FirstDayOfWeek *string  `json:"first_day_of_week" doc:"With weekly and an interval above 1: the first day of a week. Default: sunday." enum:"sunday,monday,tuesday,wednesday,thursday,friday,saturday"`
	Index          *string  `json:"index" doc:"With relativeMonthly and relativeYearly: which of these weekdays in the month. Default: that of the start." enum:"first,second,third,fourth,last"`
	DayOfMonth     *int     `json:"day_of_month" doc:"With absoluteMonthly and absoluteYearly. Default: the day of the start."`
	Month          *int     `json:"month" doc:"With absoluteYearly and relativeYearly: 1 to 12. Default: the month of the start."`
	Until          *string  `json:"until" doc:"Last day on which an occurrence may take place."`
	Count          *int     `json:"count" doc:"Number of occurrences. Default: no end."`
}

// Validate returns an error for impossible values; the errors name the field below path.
func (r *Recurrence) Validate(path string) error {
	for _, n := range []struct {
		name        string
		value       *int
		least, most int
	}{{"interval", r.Interval, 1, 999}, {"day_of_month", r.DayOfMonth, 1, 31}, {"month", r.Month, 1, 12}, {"count", r.Count, 1, 999}} {
		if n.value != nil && (*n.value < n.least || *n.value > n.most) {
			return graph.Invalid("%s.%s: want %d to %d, not %d", path, n.name, n.least, n.most, *n.value)
		}
	}
	for _, d := range r.DaysOfWeek {
		if !graph.IsWeekday(d) {
			return graph.Invalid("%s.days_of_week: want days from sunday to saturday, not %q", path, d)
		}
	}
	if r.Until != nil && r.Count != nil {
		return graph.Invalid("%s: want until or count, not both", path)
	}
	if r.Until != nil {
		if _, err := ParseDate(path+".until", *r.Until); err != nil {
			return err
		}
	}
	return nil
}

// Pattern returns the recurrence of something that starts for the first time at start, whose zone is that of the series. Its
// errors name the field below path.
func (r *Recurrence) Pattern(path string, start time.Time) (*graph.Recurrence, error) {
	p := &graph.Recurrence{
		Type: r.Type, Interval: or(r.Interval), DaysOfWeek: r.DaysOfWeek, FirstDayOfWeek: or(r.FirstDayOfWeek), Index: or(r.Index),
		DayOfMonth: or(r.DayOfMonth), Month: or(r.Month), Count: or(r.Count), Start: start,
	}
	if r.Until == nil {
		return p, nil
	}
	var err error
	if p.Until, err = ParseDate(path+".until", *r.Until); err != nil {
		return nil, err
	}
	if first := start.Format(time.DateOnly); p.Until.Format(time.DateOnly) < first {
		return nil, graph.Invalid("%s.until: want a date not before the start, %s, not %s", path, first, p.Until.Format(time.DateOnly))
	}
	return p, nil
}

// or returns the given value, or else zero.
func or[T any](given *T) (v T) {
	if given != nil {
		v = *given
	}
	return v
}
