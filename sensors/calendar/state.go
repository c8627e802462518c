package calendar

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Entities implements sensors.Source.
func (o *View) Entities() []entity.Entity {
	const icon = "mdi:calendar"
	return []entity.Entity{
		entity.BinarySensor("busy", "Busy").WithDoc("Whether an event takes place now.").WithIcon(icon).AsPrimary(),
		entity.Sensor("current", "Current event").WithDoc("Subject of the event that takes place now. An event with a time comes before an all-day event.").WithIcon(icon),
		entity.Sensor("next", "Next event").WithDoc("Subject of the next event, up to `end_offset` or the end of the day, whichever is later.").WithIcon(icon),
		entity.Timestamp("current_end", "Current event ends").WithDoc("End of the current event."),
		entity.Timestamp("next_start", "Next event starts").WithDoc("Start of the next event."),
		entity.Timestamp("next_end", "Next event ends").WithDoc("End of the next event."),
		entity.Count("today", "Events today").WithDoc("Number of events today, past ones included.").WithIcon(icon),
		entity.Count("remaining", "Events left today").WithDoc("Number of events today that have not ended.").WithIcon(icon),
		entity.EventEntity(eventTypes()...).WithDoc("Fires when an event starts, ends, is created, changed, canceled or removed, and for reminders.").WithIcon(icon),
	}
}

// An occurrence is a shown event with its times in the account's zone.
type occurrence struct {
	*Entry
	start, end time.Time
}

// State implements sensors.Source.
func (o *View) State(s *Snapshot, since, now time.Time) entity.State {
	st := entity.State{ItemsKey: "data"}
	if s == nil {
		return st
	}
	occurrences := s.occurrences(now.Location())
	today, tomorrow := day(now)
	change := nextChange{now: now}
	change.consider(tomorrow)

	var current, next, listed []occurrence
	horizon := later(now.Add(o.EndOffset), tomorrow)
	from, to := now.Add(o.StartOffset), now.Add(o.EndOffset)
	onToday, remaining := 0, 0
	for _, e := range occurrences {
		change.consider(e.start)
		change.consider(e.end)
		if e.isOngoing(now) {
			current = append(current, e)
		}
		if e.start.After(now) && !e.start.After(horizon) {
			next = append(next, e)
		}
		if e.Within(now.Location(), today, tomorrow) {
			onToday++
			if e.end.After(now) {
				remaining++
			}
		}
		if !e.start.After(to) && (e.end.After(from) || e.start.Equal(e.end) && !e.start.Before(from)) {
			listed = append(listed, e)
		}
		change.consider(e.start.Add(-o.EndOffset))
		leaves := e.end.Add(-o.StartOffset)
		if e.start.Equal(e.end) {
			leaves = leaves.Add(1) // without a length it is listed at its moment
		}
		change.consider(leaves)
		if _, offset := subject(e.Subject); offset != 0 {
			change.consider(e.start.Add(offset))
		}
		if at, ok := e.reminder(now.Location()); ok {
			change.consider(at)
		}
	}

	v := map[string]any{"busy": len(current) > 0, "today": onToday, "remaining": remaining}
	st.Values = v
	if len(current) > 0 {
		v["current"], v["current_end"] = displaySubject(current[0]), current[0].end
	}
	if len(next) > 0 {
		first := slices.MinFunc(next, byStart)
		v["next"], v["next_start"], v["next_end"] = displaySubject(first), first.start, first.end
	}
	if chosen := append(current, next...); len(chosen) > 0 {
		st.Attributes = chosen[0].attributes(now)
	} else {
		st.Attributes = attributesOfNone()
	}
	s.describeCalendar(st.Attributes)
	st.Items = o.items(listed, now)
	st.Events = timeEvents(occurrences, since, now)
	st.Next = change.at
	return st
}

// occurrences returns the shown events: those with a time before those of whole days, each by start.
func (s *Snapshot) occurrences(loc *time.Location) []occurrence {
	occurrences := make([]occurrence, 0, len(s.Entries))
	for i := range s.Entries {
		if e := &s.Entries[i]; e.Shown {
			start, end := e.Span(loc)
			occurrences = append(occurrences, occurrence{e, start, end})
		}
	}
	slices.SortFunc(occurrences, func(a, b occurrence) int {
		if a.AllDay != b.AllDay {
			if a.AllDay {
				return 1
			}
			return -1
		}
		return cmp.Or(byStart(a, b), a.end.Compare(b.end), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.ID, b.ID))
	})
	return occurrences
}

func byStart(a, b occurrence) int { return a.start.Compare(b.start) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A nextChange finds the first moment after now at which the state changes.
type nextChange struct{ now, at time.Time }

func (c *nextChange) consider(t time.Time) {
	if t.After(c.now) && (c.at.IsZero() || t.Before(c.at)) {
		c.at = t
	}
}

// items returns the list: first the current and coming events, the nearest first, then the past ones, the latest first.
func (o *View) items(listed []occurrence, now time.Time) []any {
	slices.SortStableFunc(listed, func(a, b occurrence) int {
		switch aOver, bOver := !a.end.After(now), !b.end.After(now); {
		case aOver && bOver:
			return b.end.Compare(a.end)
		case aOver:
			return 1
		case bOver:
			return -1
		}
		return byStart(a, b)
	})
	if o.MaxResults > 0 && len(listed) > o.MaxResults {
		listed = listed[:o.MaxResults]
	}
	items := make([]any, 0, len(listed))
	for _, e := range listed {
		items = append(items, e.Item(now.Location()))
	}
	return items
}

// attributes returns those that Home Assistant's own calendars have of one event.
func (e occurrence) attributes(now time.Time) map[string]any {
	message, offset := subject(e.Subject)
	start, end := e.When(now.Location())
	return map[string]any{
		"message": message, "all_day": e.AllDay, "start_time": start, "end_time": end, "location": e.Location, "description": e.Description,
		"offset_reached": offset != 0 && !now.Before(e.start.Add(offset)),
	}
}

// describeCalendar adds the attributes of the calendar itself.
func (s *Snapshot) describeCalendar(attributes map[string]any) {
	attributes["color"], attributes["hex_color"], attributes["can_edit"] = nil, nil, nil
	if s.Info == nil {
		return
	}
	if s.Info.Color != "" {
		attributes["color"] = s.Info.Color
	}
	if s.Info.Hex != "" {
		attributes["hex_color"] = s.Info.Hex
	}
	if s.Info.CanEdit != nil {
		attributes["can_edit"] = *s.Info.CanEdit
	}
}

func attributesOfNone() map[string]any {
	return map[string]any{
		"message": nil, "all_day": nil, "start_time": nil, "end_time": nil, "location": nil, "description": nil, "offset_reached": false,
	}
}

// noSubject stands for a missing subject, as in Outlook.
const noSubject = "(no subject)"

// displaySubject returns the subject as a state, of which Home Assistant takes at most 255 characters.
func displaySubject(e occurrence) string {
	text, _ := subject(e.Subject)
	if strings.TrimSpace(text) == "" {
		return noSubject
	}
	return services.Truncate(text, entity.MaxText)
}

var offsetForm = regexp.MustCompile(`\s*!!([+-]?)(\d{0,2}):?(\d{0,3})\s*$`)

// subject splits O365's offset from the end of a subject: "Bus !!-10" and "Bus !!-0:10" reach it ten minutes before the start.
func subject(s string) (text string, offset time.Duration) {
	m := offsetForm.FindStringSubmatchIndex(s)
	if m == nil {
		return s, 0
	}
	group := func(i int) string { return s[m[2*i]:m[2*i+1]] }
	hours, minutes := group(2), group(3)
	if hours+minutes == "" {
		return s, 0 // only exclamation marks
	}
	if !strings.Contains(s[m[0]:], ":") {
		hours, minutes = "", hours+minutes
	}
	h, _ := strconv.Atoi(hours)
	n, _ := strconv.Atoi(minutes)
	offset = time.Duration(h)*time.Hour + time.Duration(n)*time.Minute
	if group(1) == "-" {
		offset = -offset
	}
	return s[:m[0]], offset
}

// timeEvents returns what time brought in (since, now].
func timeEvents(occurrences []occurrence, since, now time.Time) []entity.Event {
	type moment struct {
		at   time.Time
		what string
		e    occurrence
	}
	var moments []moment
	add := func(at time.Time, what string, e occurrence) {
		if at.After(since) && !at.After(now) {
			moments = append(moments, moment{at, what, e})
		}
	}
	for _, e := range occurrences {
		if at, ok := e.reminder(now.Location()); ok {
			add(at, reminder, e)
		}
		add(e.start, started, e)
		add(e.end, ended, e)
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	var events []entity.Event
	for _, m := range moments {
		events = append(events, eventOf(m.what, *m.e.Entry, now.Location()))
	}
	return events
}
