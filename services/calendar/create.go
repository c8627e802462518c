// Package calendar has the operations of a calendar.
package calendar

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/people"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations returns the operations of a calendar. offered names those that the configuration offers, as far as others depend on them.
func Operations(c calendars.Calendar, offered ...string) []services.Operation {
	expands := slices.Contains(offered, ExpandGroups)
	permissions := []graph.Permission{c.WritePermission()}
	cancelDoc := "Cancels a meeting that you organize and notifies the attendees."
	if c.Group != "" {
		cancelDoc = "Cancels a meeting that the group organizes and notifies the attendees. Where Microsoft refuses that, use remove."
	}
	result := eventResult()
	if c.Group == "" {
		result = append(result, expandedFields()...)
	}
	operations := []services.Operation{
		{
			Name: "create", Doc: "Creates an event, or a series of events.",
			Example:     `{"subject": "Dentist", "start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00"}`,
			Returns:     result,
			Permissions: permissions, Retry: services.IdempotencyKey, New: func() services.Request { return &Create{calendar: c, expands: expands} },
		},
		{
			Name: "modify", Doc: "Changes only the given fields of an event. If you change the body of an online meeting, the instructions for joining it are kept.",
			Example:     `{"event_id": "AAMk…", "start": "2026-12-01T11:00:00", "end": "2026-12-01T12:00:00"}`,
			Returns:     eventResult(),
			Permissions: permissions, Retry: services.Idempotent, New: func() services.Request { return &Modify{calendar: c} },
		},
		{
			Name: "remove", Doc: "Removes an event without notifying anybody. For a meeting to which you invited others, use cancel.",
			Example:     `{"event_id": "AAMk…"}`,
			Returns:     removedResult(),
			Permissions: permissions, Retry: services.Idempotent, New: func() services.Request { return &Remove{calendar: c} },
		},
		{
			Name: "cancel", Doc: cancelDoc,
			Example:     `{"event_id": "AAMk…", "message": "Sorry, I am ill."}`,
			Returns:     removedResult(),
			Permissions: permissions, Retry: services.Idempotent, New: func() services.Request { return &Cancel{calendar: c} },
		},
	}
	if c.Group == "" { // a group is not invited
		operations = append(operations, services.Operation{
			Name: "respond", Doc: "Accepts or declines a meeting to which you were invited.",
			Example:     `{"event_id": "AAMk…", "response": "accept"}`,
			Returns:     eventResult(),
			Permissions: permissions, Retry: services.AtMostOnce, New: func() services.Request { return &Respond{calendar: c} },
		}, expandOperation(c))
		if CheckShared(c.Mailbox, createMeeting) == nil {
			operations = append(operations, createMeetingOperation())
		}
	}
	return append(operations, readOperations(c)...)
}

// The names of the operations that are one's own, whatever the mailbox.
const (
	createMeeting = "create_meeting"
	findTimes     = "find_times"
	freeBusy      = "free_busy"
)

// CheckShared returns an error for an operation that does not go with the mailbox of somebody else.
func CheckShared(mailbox, operation string) error {
	why := map[string]string{
		createMeeting: "because the meeting is your own",
		findTimes:     "because it finds times for yourself",
		freeBusy:      "for Microsoft has no such permission",
	}[operation]
	if mailbox == "" || why == "" {
		return nil
	}
	return fmt.Errorf("%s is not offered with shared_mailbox, %s; ask a calendar without it", operation, why)
}

// eventResult documents the response of operations that change an event.
func eventResult() []schema.Field {
	return []schema.Field{
		{Key: "event_id", Type: "text", Doc: "Id of the event."},
		{Key: "ical_uid", Type: "text", Doc: "Id that the event has in every attendee's calendar."},
		{Key: "series_id", Type: "text", Doc: "Id of the series that it is an occurrence of; missing if there is none."},
		{Key: "web_link", Type: "text", Doc: "Link that opens the event in Outlook on the web."},
		{Key: "join_url", Type: "text", Doc: "Link to join the online meeting; missing if there is none."},
	}
}

// removedResult documents the response of operations that remove an event.
func removedResult() []schema.Field {
	return []schema.Field{{Key: "event_id", Type: "text", Doc: "Id of the event."}}
}

// Create puts an event into a calendar.
type Create struct {
	calendar calendars.Calendar
	expands  bool // the configuration offers ExpandGroups

	Subject string `json:"subject" required:"true" doc:"Title."`
	Start   string `json:"start" required:"true" doc:"Start. Uses timezone unless an offset is given. For all-day events, a date."`
	End     string `json:"end" required:"true" doc:"End, like start. For all-day events, the first day after it."`
	EventFields
	ExpandGroups bool `json:"expand_groups" doc:"Invite the members of distribution lists instead of the lists. Needs expand_groups in allow. Default: false; true in the operation expand_groups."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Create) Validate() error {
	if err := services.CheckSubject("subject", r.Subject); err != nil {
		return err
	}
	if err := r.EventFields.Validate(); err != nil {
		return err
	}
	if r.ExpandGroups && r.calendar.Group != "" {
		return graph.Invalid("expand_groups: want false, because the calendar of a group cannot invite the members of distribution lists")
	}
	if r.ExpandGroups && !r.expands {
		return graph.Invalid("expand_groups: want false, which invites a distribution list as it is, or name expand_groups in allow")
	}
	// Which of them comes first is known in the account's zone only.
	if _, err := parse("start", r.Start, r.wholeDays(), time.UTC); err != nil {
		return err
	}
	_, err := parse("end", r.End, r.wholeDays(), time.UTC)
	return err
}

func (r *Create) wholeDays() bool { return r.IsAllDay != nil && *r.IsAllDay }

// Execute implements services.Request.
func (r *Create) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	fields, err := r.fields(a.Now.Location())
	if err != nil {
		return nil, err
	}
	in, err := r.calendar.Find(ctx, g)
	if err != nil {
		return nil, err
	}
	if !r.ExpandGroups {
		return r.calendar.Create(ctx, g, in, fields, a.ID)
	}
	if err := g.CheckGranted(people.MemberPermissions()); err != nil {
		return nil, err
	}
	var expanded Expanded
	if fields.Attendees, expanded, err = expand(ctx, g, fields.Attendees); err != nil {
		return nil, err
	}
	expanded.Event, err = r.calendar.Create(ctx, g, in, fields, a.ID)
	return expanded, err
}

func (r *Create) fields(account *time.Location) (f calendars.Fields, err error) {
	loc, err := r.zone(account)
	if err != nil {
		return f, err
	}
	f.Subject, f.WholeDays, f.AllDay = &r.Subject, r.wholeDays(), r.IsAllDay
	if f.Start, err = parse("start", r.Start, r.wholeDays(), loc); err != nil {
		return f, err
	}
	if f.End, err = parse("end", r.End, r.wholeDays(), loc); err != nil {
		return f, err
	}
	if err := checkOrder(f.Start, f.End, r.wholeDays()); err != nil {
		return f, err
	}
	if r.Recurrence != nil {
		if f.Recurrence, err = r.Recurrence.Pattern("recurrence", f.Start); err != nil {
			return f, err
		}
	}
	r.applyTo(&f)
	if f.ShowAs == nil && r.wholeDays() {
		f.ShowAs = new("free") // as in Outlook; Graph would show it as busy
	}
	return f, nil
}
