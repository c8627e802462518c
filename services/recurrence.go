package services

import (
	"strings"
	"time"

	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Recurrence says how something repeats, in the terms of Microsoft's patternedRecurrence. What is not given follows from the first
// start: every week on its weekday, every month on its day.
//
// https://learn.microsoft.com/graph/api/resources/patternedrecurrence
type Recurrence struct {
	Type           string   `json:"type" required:"true" doc:"by what it repeats" enum:"daily,weekly,absoluteMonthly,relativeMonthly,absoluteYearly,relativeYearly"`
	Interval       *int     `json:"interval" doc:"every how many days, weeks, months or years; default: 1"`
	DaysOfWeek     []string `json:"days_of_week" doc:"sunday to saturday, where it repeats by weekday; default: that of the start"`
	FirstDayOfWeek *string  `json:"first_day_of_week" doc:"with weekly: what every second week counts from; default: sunday" enum:"sunday,monday,tuesday,wednesday,thursday,friday,saturday"`
	Index          *string  `json:"index" doc:"with relativeMonthly and relativeYearly: which of these weekdays; default: that of the start" enum:"first,second,third,fourth,last"`
	DayOfMonth     *int     `json:"day_of_month" doc:"with absoluteMonthly and absoluteYearly; default: that of the start"`
	Month          *int     `json:"month" doc:"with absoluteYearly and relativeYearly, 1 to 12; default: that of the start"`
	Until          *string  `json:"until" doc:"the last day on which it may repeat"`
	Count          *int     `json:"count" doc:"how often it takes place; default: without an end"`
}

// Validate finds what cannot be; its errors name the field below this path.
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
		if weekday(d) == nil {
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

// Model is what Graph is told of something that starts for the first time at start, whose zone is that of the series.
func (r *Recurrence) Model(path string, start time.Time) (models.PatternedRecurrenceable, error) {
	pattern, span := models.NewRecurrencePattern(), models.NewRecurrenceRange()
	kind, err := models.ParseRecurrencePatternType(r.Type)
	if err != nil || kind == nil {
		return nil, graph.Invalid("%s.type: unknown type %q", path, r.Type)
	}
	pattern.SetTypeEscaped(kind.(*models.RecurrencePatternType))
	pattern.SetInterval(or(r.Interval, 1))
	if r.Type == "weekly" || strings.HasPrefix(r.Type, "relative") {
		var days []models.DayOfWeek
		for _, d := range r.DaysOfWeek {
			days = append(days, *weekday(d))
		}
		if days == nil {
			days = append(days, *weekday(start.Weekday().String()))
		}
		pattern.SetDaysOfWeek(days)
	}
	if r.Type == "weekly" && r.FirstDayOfWeek != nil {
		pattern.SetFirstDayOfWeek(weekday(*r.FirstDayOfWeek))
	}
	if strings.HasPrefix(r.Type, "relative") {
		index := models.WeekIndex((start.Day() - 1) / 7) // first, second … last
		if r.Index != nil {
			given, err := models.ParseWeekIndex(*r.Index)
			if err != nil || given == nil {
				return nil, graph.Invalid("%s.index: unknown index %q", path, *r.Index)
			}
			index = *given.(*models.WeekIndex)
		}
		pattern.SetIndex(&index)
	}
	if strings.HasPrefix(r.Type, "absolute") {
		pattern.SetDayOfMonth(or(r.DayOfMonth, start.Day()))
	}
	if strings.HasSuffix(r.Type, "Yearly") {
		pattern.SetMonth(or(r.Month, int(start.Month())))
	}

	first, end := serialization.NewDateOnly(start), models.NOEND_RECURRENCERANGETYPE
	span.SetStartDate(first)
	switch {
	case r.Count != nil:
		end = models.NUMBERED_RECURRENCERANGETYPE
		span.SetNumberOfOccurrences(or(r.Count, 0))
	case r.Until != nil:
		last, err := ParseDate(path+".until", *r.Until)
		if err != nil {
			return nil, err
		}
		if last.Format(time.DateOnly) < start.Format(time.DateOnly) {
			return nil, graph.Invalid("%s.until: want a date not before the start, %s, not %s", path, start.Format(time.DateOnly), last.Format(time.DateOnly))
		}
		end = models.ENDDATE_RECURRENCERANGETYPE
		span.SetEndDate(serialization.NewDateOnly(last))
	}
	span.SetTypeEscaped(&end)

	m := models.NewPatternedRecurrence()
	m.SetPattern(pattern)
	m.SetRangeEscaped(span)
	return m, nil
}

func or(given *int, otherwise int) *int32 {
	n := int32(otherwise)
	if given != nil {
		n = int32(*given)
	}
	return &n
}

// weekday is nil for what is none.
func weekday(name string) *models.DayOfWeek {
	day, err := models.ParseDayOfWeek(strings.ToLower(name))
	if err != nil || day == nil {
		return nil
	}
	return day.(*models.DayOfWeek)
}
