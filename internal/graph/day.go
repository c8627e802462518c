package graph

import "time"

// StartOfDay returns the first moment of a day. As for [time.Date], the day may be outside the month.
func StartOfDay(year int, month time.Month, day int, loc *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, loc)
	// Where clocks are set forward at midnight, that may be an hour of the day before.
	for date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly); t.Format(time.DateOnly) < date; {
		t = t.Add(time.Hour)
	}
	return t
}
