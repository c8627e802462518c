package graph

import (
	"cmp"
	"strings"
	"time"

	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
)

// A Recurrence is the pattern by which an event or a task repeats, in the terms of Microsoft's patternedRecurrence. Zero fields
// follow from Start: every week on its weekday, every month on its day.
//
// https://learn.microsoft.com/graph/api/resources/patternedrecurrence
type Recurrence struct {
	Type           string   // daily, weekly, absoluteMonthly, relativeMonthly, absoluteYearly or relativeYearly
	Interval       int      // in days, weeks, months or years; 0: 1
	DaysOfWeek     []string // sunday to saturday
	FirstDayOfWeek string   // with weekly
	Index          string   // with relative types: first, second, third, fourth or last
	DayOfMonth     int      // with absolute types
	Month          int      // with yearly types

	Start time.Time // when it takes place first, in the zone of the series
	Until time.Time // the last date on which it may take place; zero: without an end, unless Count is set
	Count int       // how often it takes place
}

// Model returns r as it is sent.
func (r Recurrence) Model() (models.PatternedRecurrenceable, error) {
	pattern, span := models.NewRecurrencePattern(), models.NewRecurrenceRange()
	kind, err := models.ParseRecurrencePatternType(r.Type)
	if err != nil || kind == nil {
		return nil, Invalid("recurrence.type: unknown type %q", r.Type)
	}
	pattern.SetTypeEscaped(kind.(*models.RecurrencePatternType))
	pattern.SetInterval(numberOr(r.Interval, 1))
	if r.Type == "weekly" || strings.HasPrefix(r.Type, "relative") {
		names := r.DaysOfWeek
		if len(names) == 0 {
			names = []string{r.Start.Weekday().String()}
		}
		var days []models.DayOfWeek
		for _, name := range names {
			day := weekday(name)
			if day == nil {
				return nil, Invalid("recurrence.days_of_week: unknown day %q", name)
			}
			days = append(days, *day)
		}
		pattern.SetDaysOfWeek(days)
	}
	if r.Type == "weekly" && r.FirstDayOfWeek != "" {
		pattern.SetFirstDayOfWeek(weekday(r.FirstDayOfWeek))
	}
	if strings.HasPrefix(r.Type, "relative") {
		index := models.WeekIndex((r.Start.Day() - 1) / 7) // first, second … last
		if r.Index != "" {
			given, err := models.ParseWeekIndex(r.Index)
			if err != nil || given == nil {
				return nil, Invalid("recurrence.index: unknown index %q", r.Index)
			}
			index = *given.(*models.WeekIndex)
		}
		pattern.SetIndex(&index)
	}
	if strings.HasPrefix(r.Type, "absolute") {
		pattern.SetDayOfMonth(numberOr(r.DayOfMonth, r.Start.Day()))
	}
	if strings.HasSuffix(r.Type, "Yearly") {
		pattern.SetMonth(numberOr(r.Month, int(r.Start.Month())))
	}

	end := models.NOEND_RECURRENCERANGETYPE
	span.SetStartDate(serialization.NewDateOnly(r.Start))
	switch {
	case r.Count > 0:
		end = models.NUMBERED_RECURRENCERANGETYPE
		span.SetNumberOfOccurrences(new(int32(r.Count)))
	case !r.Until.IsZero():
		end = models.ENDDATE_RECURRENCERANGETYPE
		span.SetEndDate(serialization.NewDateOnly(r.Until))
	}
	span.SetTypeEscaped(&end)

	m := models.NewPatternedRecurrence()
	m.SetPattern(pattern)
	m.SetRangeEscaped(span)
	return m, nil
}

func numberOr(n, otherwise int) *int32 {
	return new(int32(cmp.Or(n, otherwise)))
}

// IsWeekday reports whether name is an English weekday, in any case.
func IsWeekday(name string) bool { return weekday(name) != nil }

func weekday(name string) *models.DayOfWeek {
	day, err := models.ParseDayOfWeek(strings.ToLower(name))
	if err != nil || day == nil {
		return nil
	}
	return day.(*models.DayOfWeek)
}
