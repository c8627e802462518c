package caldav

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/services"
)

// weekdays are the days of a week as iCalendar and as Graph write them.
func weekdays() (ical, graph []string) {
	return []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}, []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
}

// A rule is an RRULE in parts.
type rule struct {
	frequency       string
	interval, count int
	until           string // date
	days            []string
	index           string // which of the days, first to last
	monthDay, month int
	weekStart       string
}

// newRecurrence returns the recurrence of a series by its RRULE. Graph has fewer patterns.
func newRecurrence(text string, loc *time.Location) (*services.Recurrence, error) {
	r, err := newRule(text, loc)
	if err != nil {
		return nil, err
	}
	unsupported := invalid("RRULE: Outlook has no such pattern")
	out := &services.Recurrence{DaysOfWeek: r.days}
	set := func(to **int, value int) {
		if value != 0 {
			*to = &value
		}
	}
	set(&out.Interval, r.interval)
	set(&out.Count, r.count)
	if r.until != "" {
		out.Until = &r.until
	}
	relative := r.index != ""
	if relative {
		out.Index = &r.index
	}
	switch r.frequency {
	case "DAILY":
		out.Type = "daily"
		if len(r.days) > 0 { // "every weekday"
			if r.interval > 1 {
				return nil, unsupported
			}
			out.Type = "weekly"
		}
	case "WEEKLY":
		out.Type = "weekly"
		if r.interval > 1 {
			first := cmp.Or(r.weekStart, "monday")
			out.FirstDayOfWeek = &first
		}
	case "MONTHLY":
		out.Type = "absoluteMonthly"
		if relative {
			out.Type = "relativeMonthly"
		}
		set(&out.DayOfMonth, r.monthDay)
	case "YEARLY":
		out.Type = "absoluteYearly"
		if relative {
			out.Type = "relativeYearly"
		}
		set(&out.DayOfMonth, r.monthDay)
		set(&out.Month, r.month)
	}
	switch {
	case relative && (r.monthDay != 0 || len(r.days) == 0 || r.frequency == "DAILY" || r.frequency == "WEEKLY"),
		!relative && len(r.days) > 0 && (r.frequency == "MONTHLY" || r.frequency == "YEARLY"),
		r.month != 0 && r.frequency != "YEARLY", r.monthDay != 0 && r.frequency != "MONTHLY" && r.frequency != "YEARLY":
		return nil, unsupported
	}
	return out, nil
}

func newRule(text string, loc *time.Location) (*rule, error) {
	r := &rule{}
	position := 0
	for _, part := range strings.Split(strings.ToUpper(strings.TrimSpace(text)), ";") {
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		wrong := invalid("RRULE: %s=%s is not supported", truncate(name), truncate(value))
		if !ok {
			return nil, invalid("RRULE: want parts such as FREQ=WEEKLY, not %q", truncate(part))
		}
		number := func(to *int, least, most int) bool {
			n, err := strconv.Atoi(value)
			*to = n
			return err == nil && n >= least && n <= most
		}
		switch name {
		case "FREQ":
			r.frequency = value
			ok = slices.Contains([]string{"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}, value)
		case "INTERVAL":
			ok = number(&r.interval, 1, 999)
		case "COUNT":
			ok = number(&r.count, 1, 999)
		case "UNTIL":
			r.until, ok = untilDate(value, loc)
		case "BYDAY":
			ok = r.setDays(value)
		case "BYSETPOS":
			ok = number(&position, -1, 4) && r.setIndex(position)
		case "BYMONTHDAY":
			ok = number(&r.monthDay, 1, 31)
		case "BYMONTH":
			ok = number(&r.month, 1, 12)
		case "WKST":
			short, long := weekdays()
			i := slices.Index(short, value)
			if ok = i >= 0; ok {
				r.weekStart = long[i]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, wrong
		}
	}
	switch {
	case r.frequency == "":
		return nil, invalid("RRULE: FREQ is required")
	case r.count != 0 && r.until != "":
		return nil, invalid("RRULE: want COUNT or UNTIL, not both")
	}
	return r, nil
}

// setDays reads days such as MO,WE or 2TU. It reports false for what Graph cannot express.
func (r *rule) setDays(value string) bool {
	short, long := weekdays()
	for _, day := range strings.Split(value, ",") {
		if len(day) < 2 {
			return false
		}
		i := slices.Index(short, day[len(day)-2:])
		if i < 0 {
			return false
		}
		if number := day[:len(day)-2]; number != "" {
			n, err := strconv.Atoi(number)
			if err != nil || strings.Contains(value, ",") || !r.setIndex(n) {
				return false
			}
		}
		r.days = append(r.days, long[i])
	}
	return true
}

// setIndex sets which of the days of a month are meant.
func (r *rule) setIndex(n int) bool {
	names := map[int]string{1: "first", 2: "second", 3: "third", 4: "fourth", -1: "last"}
	if names[n] == "" || r.index != "" {
		return false
	}
	r.index = names[n]
	return true
}

// untilDate returns the date in loc of the end of a rule.
func untilDate(value string, loc *time.Location) (string, bool) {
	for _, layout := range []string{"20060102", "20060102T150405"} {
		if at, err := time.Parse(layout, value); err == nil {
			return at.Format(time.DateOnly), true
		}
	}
	at, err := time.Parse("20060102T150405Z", value)
	return at.In(loc).Format(time.DateOnly), err == nil
}
