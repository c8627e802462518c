// Package calendar shows a calendar.
package calendar

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

// Kind returns the kind calendar.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:        "calendar",
		Aliases:     []string{"events", "agenda", "schedule", "outlook_calendar"},
		Title:       "Calendar",
		MemberField: "calendar",
		Doc: "The events of a calendar, your own or a shared one: the current event, the next one, and the list. An all-day " +
			"event lasts from midnight to midnight in the account's time zone; a current event with a start time takes precedence over it. " +
			"A poll only asks whether anything changed; the events are read if something has changed, and every 10 minutes.",
		Application: true, OfMailbox: true,
		Interval: 60 * time.Second,
		New: func() sensors.Sensor {
			return sensors.Of(&Options{View: defaultView()})
		},
		Attributes: attributeFields(meetingField()),
		Events:     events(meetingField()),
		Describe:   describe,
		Candidates: candidates,
	}
}

// A Snapshot holds the events of a calendar between two instants.
type Snapshot struct {
	CalendarID string          // of the named calendar; "": the default one
	Info       *calendars.Info // nil: not known
	InfoAt     time.Time       // when it was read; zero: never
	From, To   time.Time       // of the entries
	Entries    []Entry         // by start and id
	Watch      Watch
	Meetings   map[string]MeetingRead // by the id of the event
}

// An Entry is an event and whether the filters let it pass.
type Entry struct {
	calendars.Event
	Shown bool
}

// stableWindow returns the part of the snapshot's time in which no event is missing or found only because of its time zone.
func (s *Snapshot) stableWindow() (from, to time.Time) {
	// By readInterval longer than the window of the options was, so that no new event is missed that enters it before the next reading.
	const slack = allDaySlack - readInterval
	return s.From.Add(slack), s.To.Add(-slack)
}

// allDaySlack bounds the distance of an all-day event from its place in UTC, rounded up to a day.
const allDaySlack = 24 * time.Hour

// infoInterval is the time between two readings of the calendar's properties, which hardly ever change.
const infoInterval = 24 * time.Hour

func (o *Options) target() calendars.Calendar {
	return calendars.Calendar{Mailbox: o.SharedMailbox, Name: o.Calendar, Basic: o.BasicCalendar, ChangeKeys: o.Meetings}
}

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission {
	permissions := []graph.Permission{o.target().ReadPermission()}
	if o.Meetings {
		permissions = append(permissions, calendars.MeetingPermission())
	}
	return permissions
}

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation {
	return calendar.Operations(o.target(), o.offered...)
}

// CheckOperation returns an error for an operation that the options rule out.
func (o *Options) CheckOperation(name string) error {
	return calendar.CheckShared(o.SharedMailbox, name)
}

// Offer sets which operations the configuration offers.
func (o *Options) Offer(operations []string) { o.offered = operations }

// ReadsOwnWrites implements sensors.ConsistentReader: the events of a new series are in the next answer.
func (o *View) ReadsOwnWrites() bool { return true }

// Poll implements sensors.Source.
func (o *Options) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	s, err := o.poll(ctx, g, o.target(), last, now)
	if err != nil {
		return nil, err
	}
	return o.withMeetings(ctx, g, last, s), nil
}

// IsGroup implements sensors.GroupSource.
func (o *Options) IsGroup() bool { return o.Calendar == all }

// Members implements sensors.GroupSource.
func (o *Options) Members(ctx context.Context, g *graph.Client) ([]sensors.Member, error) {
	listed, err := o.target().List(ctx, g)
	if err != nil {
		return nil, err
	}
	var members []sensors.Member
	for _, c := range listed {
		if !named(o.Except, c.ID, c.Name) {
			members = append(members, sensors.Member{ID: c.ID, Name: c.Name})
		}
	}
	return members, nil
}

// named reports whether one of names is, in any case, an item's id or one of its names that are not "".
func named(names []string, of ...string) bool {
	return slices.ContainsFunc(of, func(s string) bool { return s != "" && containsFold(names, s) })
}

// Member implements sensors.GroupSource.
func (o *Options) Member(m sensors.Member) sensors.Source[Snapshot] {
	member := *o
	member.Calendar, member.Except = m.ID, nil
	return &member
}

func (s *Snapshot) sort() {
	slices.SortFunc(s.Entries, func(a, b Entry) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
}

// Same implements sensors.Comparer: that time passes need not be written.
func (o *View) Same(a, b *Snapshot) bool {
	return a.CalendarID == b.CalendarID && reflect.DeepEqual(a.Meetings, b.Meetings) && reflect.DeepEqual(a.Info, b.Info) && slices.EqualFunc(a.Entries, b.Entries, func(a, b Entry) bool { return a.Shown == b.Shown && equal(&a.Event, &b.Event) })
}

// equal reports whether a and b are the same version of an event. It is written out because an answer of many events is compared
// at each poll.
func equal(a, b *calendars.Event) bool {
	return a.ID == b.ID && a.ICalUID == b.ICalUID && a.SeriesID == b.SeriesID && a.Series == b.Series && a.Subject == b.Subject &&
		a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.AllDay == b.AllDay && a.Description == b.Description && a.Location == b.Location &&
		slices.Equal(a.Categories, b.Categories) && a.Sensitivity == b.Sensitivity && a.ShowAs == b.ShowAs && a.Importance == b.Importance &&
		slices.Equal(a.Attendees, b.Attendees) && a.Organizer == b.Organizer && a.Response == b.Response && a.Cancelled == b.Cancelled &&
		a.Reminder == b.Reminder && a.Minutes == b.Minutes && a.JoinURL == b.JoinURL && a.WebLink == b.WebLink &&
		(a.DialIn == nil) == (b.DialIn == nil) && (a.DialIn == nil || *a.DialIn == *b.DialIn)
}

// Effects implements sensors.EffectProvider.
func (o *View) Effects() []sensors.Effect[Snapshot] {
	return []sensors.Effect[Snapshot]{
		sensors.On(o.applyEvent),
		sensors.On(func(s *Snapshot, created calendar.Expanded, now time.Time) (*Snapshot, []entity.Event) {
			return o.applyEvent(s, created.Event, now)
		}),
		sensors.On(o.applyRemoval),
	}
}

// applyEvent puts in place an event that was created or changed.
func (o *View) applyEvent(s *Snapshot, changed calendars.Event, now time.Time) (*Snapshot, []entity.Event) {
	after := *s
	after.Watch.ReadAt = time.Time{} // the next poll must not trust a probe that is a little behind
	entryOf, err := o.filter()
	if err != nil || changed.Series {
		return &after, nil // the next poll brings the occurrences
	}
	e := entryOf(changed)
	after.Entries = slices.DeleteFunc(slices.Clone(s.Entries), func(old Entry) bool { return old.ID == e.ID })
	from, to := s.stableWindow()
	if isNew := len(after.Entries) == len(s.Entries); isNew && !e.Within(now.Location(), from, to) {
		after.Entries = s.Entries
		if !e.Shown {
			return &after, nil
		}
		return &after, []entity.Event{eventOf(created, e, now.Location())}
	}
	after.Entries = append(after.Entries, e)
	after.sort()
	return &after, o.Events(s, &after, now)
}

// applyRemoval takes an event or a series away, or marks it as canceled.
func (o *View) applyRemoval(s *Snapshot, removed calendars.Removed, now time.Time) (*Snapshot, []entity.Event) {
	after := *s
	after.Watch.ReadAt = time.Time{}
	after.Entries = make([]Entry, 0, len(s.Entries))
	for _, e := range s.Entries {
		if e.ID == removed.ID || e.SeriesID == removed.ID {
			if !removed.Cancelled {
				continue
			}
			e.Cancelled = true
			e.Shown = e.Shown && o.IncludeCancelled
		}
		after.Entries = append(after.Entries, e)
	}
	return &after, o.Events(s, &after, now)
}

// day returns when the day of now begins, and when the next one does.
func day(now time.Time) (today, tomorrow time.Time) {
	y, m, d := now.Date()
	return graph.StartOfDay(y, m, d, now.Location()), graph.StartOfDay(y, m, d+1, now.Location())
}
