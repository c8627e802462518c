// Package status shows the presence of a user in Teams.
package status

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/status"
)

// Kind returns the kind status.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:    "status",
		Aliases: []string{"presence", "availability", "teams", "teams_status", "user_status"},
		Title:   "Status",
		Doc: "The presence in Teams, your own or that of another user in your organization. With `enable_update` you can set your own. You are " +
			"in a call if you call or present; a meeting that is only in the calendar does not count. Graph does not return the " +
			"preferred status: the sensor shows the one last set with graph2mqtt until it expires, and does not notice changes made in Teams " +
			"itself. All watched people of an account are read in a single request; each address is looked up once.",
		Interval:   30 * time.Second,
		OwnUpdates: true,
		WorkOnly:   true, Application: true,
		New:        func() sensors.Sensor { return sensors.Of(&Options{keeper: status.NewKeeper()}) },
		Attributes: attributeFields(),
		Events:     events(),
		Describe:   describe,
		Candidates: candidates,
	}
}

const (
	changed     = "status_changed"
	callStarted = "call_started"
	callEnded   = "call_ended"
)

// Options are the options of a status. They are the sensors.Source of a user's presence.
type Options struct {
	User string `koanf:"user" form:"true" example:"ann@contoso.com" doc:"The person whose status is shown, if not you: the address that they sign in with, or their object id. Their status cannot be set."`

	keeper *status.Keeper
}

// A Snapshot is the presence of one user.
type Snapshot struct {
	User      user // the watched user, if another than the signed-in one
	Presence  presence.Presence
	Calling   bool                // in a call, as far as the newest presence that tells
	Preferred *presence.Preferred // as it was last set; nil where it never was
	Kept      status.Kept         // the session that is repeated
}

// Validate returns an error for a user that is neither an address nor an id.
func (o *Options) Validate() error {
	if a, err := mail.ParseAddress(o.User); o.User == "" || o.byID() || err == nil && a.Address == o.User {
		return nil
	}
	return schema.At("user", fmt.Errorf("want an address, such as ann@contoso.com, or an object id, not %q", o.User))
}

// CheckApplication returns an error for options that an organization cannot use.
func (o *Options) CheckApplication() error {
	if o.User == "" {
		return schema.At("user", errors.New("is required in an organization, because no user signs in: want the address of a person, such as ann@contoso.com, or an object id"))
	}
	return nil
}

// byID reports whether the user is named by an id.
func (o *Options) byID() bool { return graph.IsObjectID(o.User) }

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission {
	if o.User == "" {
		return []graph.Permission{{
			Scope:        "Presence.Read",
			Alternatives: []string{"Presence.Read.All"},
			Purpose:      "reads your presence",
			Impact:       "your presence is unavailable",
		}}
	}
	permissions := []graph.Permission{{
		Scope:   "Presence.Read.All",
		Purpose: "reads the presence of another user",
		Impact:  "the presence of others is unavailable",
	}}
	if !o.byID() {
		permissions = append(permissions, graph.Permission{
			Scope:        "User.ReadBasic.All",
			Alternatives: []string{"User.Read.All"},
			Purpose:      "finds another user by their address",
			Impact:       "other users can be named by their id only",
		})
	}
	return permissions
}

// Entities implements sensors.Source.
func (o *Options) Entities() []entity.Entity {
	const icon, config = "mdi:microsoft-teams", "config"
	shown := []entity.Entity{
		entity.Sensor("activity", "Activity").WithDoc("What the person is doing, such as `InAMeeting`. More precise than the availability.").WithIcon(icon).AsPrimary().AsIdentifiers(),
		entity.Enum("availability", "Availability", presence.Availabilities()...).WithDoc("How available the person is.").WithIcon(icon),
		entity.BinarySensor("in_call", "In a call").WithDoc("Whether the person is in a call or presents.").WithIcon("mdi:phone-in-talk"),
		entity.Sensor("status_message", "Status message").WithDoc("The status message, as text.").WithIcon("mdi:message-text").AsPrivate(),
		entity.Enum("work_location", "Work location", presence.WorkLocations()...).WithDoc("Where the person works today.").WithIcon("mdi:office-building-marker"),
		entity.BinarySensor("out_of_office", "Out of office").WithDoc("Whether Teams shows the person as out of office.").WithIcon("mdi:briefcase-off"),
		entity.EventEntity(changed, callStarted, callEnded).WithDoc("Fires when the presence was changed, and when a call starts or ends.").WithIcon(icon),
	}
	if o.User != "" {
		return shown
	}
	return append(shown,
		entity.Select("preferred", "Preferred status", preferable()...).WithDoc("Sets the availability that Teams shows regardless of what you are doing. Automatic: Teams decides.").WithLabels(preferredLabels()).WithIcon("mdi:account-edit").
			Sets(prefer, status.UpdatePreferred, status.ClearPreferred),
		entity.Text("status_message", "Status message").WithDoc("Sets the status message.").WithIcon("mdi:message-text").InCategory(config).SetsField(status.SetMessage, "message"),
		entity.Button("clear_status_message", "Clear status message", status.SetMessage, map[string]any{"message": ""}).WithDoc("Clears the status message.").WithIcon("mdi:message-off").InCategory(config),
		entity.Select("work_location", "Work location", presence.WorkLocations()...).WithDoc("Sets where you work today. Automatic: the location in your calendar applies.").WithLabels(locationLabels()).WithIcon("mdi:office-building-marker").InCategory(config).
			Sets(locate, status.SetLocation, status.ClearLocation),
	)
}

// automatic is the preferred status of a user who has none: Teams decides.
const automatic = "Automatic"

func preferable() []string { return append([]string{automatic}, presence.PreferredAvailabilities()...) }

func preferredLabels() map[string]string {
	return map[string]string{"DoNotDisturb": "Do not disturb", "BeRightBack": "Be right back"}
}

func prefer(value string) (string, map[string]any, error) {
	switch {
	case value == automatic:
		return status.ClearPreferred, nil, nil
	case slices.Contains(presence.PreferredAvailabilities(), value):
		return status.UpdatePreferred, map[string]any{"availability": value}, nil
	}
	return "", nil, fmt.Errorf("want one of %s, not %q", strings.Join(preferable(), ", "), value)
}

func locationLabels() map[string]string {
	return map[string]string{"office": "Office", "remote": "Remote", "timeOff": "Time off", presence.NoLocation: "Automatic"}
}

func locate(value string) (string, map[string]any, error) {
	switch {
	case value == presence.NoLocation:
		return status.ClearLocation, nil, nil
	case slices.Contains(presence.WorkLocations(), value):
		return status.SetLocation, map[string]any{"location": value}, nil
	}
	var known []string
	for _, location := range presence.WorkLocations() {
		known = append(known, locationLabels()[location])
	}
	return "", nil, fmt.Errorf("want one of %s, not %q", strings.Join(known, ", "), value)
}

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation {
	if o.User != "" {
		return nil
	}
	return status.Operations(o.keeper)
}

// CheckOperation returns an error for an operation that the options rule out.
func (o *Options) CheckOperation(name string) error {
	if o.User == "" || !slices.ContainsFunc(status.Operations(o.keeper), func(op services.Operation) bool { return op.Name == name }) {
		return nil
	}
	return fmt.Errorf("%s is not offered with user, because you can set only your own status", name)
}

// Offer sets which operations the configuration offers.
func (o *Options) Offer(operations []string) {
	o.keeper.Allow(slices.Contains(operations, status.Update))
}

// PollAt implements sensors.Deadliner: a kept session is repeated by a poll.
func (o *Options) PollAt(s *Snapshot) time.Time { return s.Kept.Next() }

// Same implements sensors.Comparer: that a session was repeated need not be written.
func (o *Options) Same(a, b *Snapshot) bool {
	x, y := *a, *b
	x.Kept.Sent, y.Kept.Sent = time.Time{}, time.Time{}
	return reflect.DeepEqual(x, y)
}

// Poll implements sensors.Source.
func (o *Options) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	s := new(Snapshot)
	if last != nil {
		*s = *last
	}
	var p *presence.Presence
	var err error
	if o.User == "" {
		if s.Kept, err = o.keeper.Repeat(ctx, g, s.Kept, now); err != nil {
			return nil, err
		}
		p, err = presence.ReadOwn(ctx, g)
	} else {
		p, err = o.read(ctx, g, &s.User, now)
	}
	if err != nil {
		return nil, err
	}
	s.Presence = *p
	s.Presence.Message = inUTC(p.Message)
	if call := p.InCall(); call != nil {
		s.Calling = *call
	}
	return s, nil
}

// read returns the presence of another user. It looks the user up if necessary.
func (o *Options) read(ctx context.Context, g *graph.Client, who *user, now time.Time) (p *presence.Presence, err error) {
	if o.byID() {
		*who = user{ID: strings.ToLower(o.User)}
	} else if who.ID == "" {
		if *who, err = find(ctx, g, o.User, now); err != nil {
			return nil, err
		}
	}
	p, err = presence.Read(ctx, g, who.ID)
	// A user that was removed may have been created again, or the address may now belong to another user.
	if gone := graph.Is(err, graph.NotFound) || err == nil && p.Availability == presence.Unknown; gone && !o.byID() && now.Sub(who.Found) > 24*time.Hour {
		if *who, err = find(ctx, g, o.User, now); err != nil {
			return nil, err
		}
		p, err = presence.Read(ctx, g, who.ID)
	}
	return p, err
}

// A user is the watched user.
type user struct {
	ID    string
	Found time.Time // when the address was looked up
}

// find looks a user up by their address.
func find(ctx context.Context, g *graph.Client, address string, now time.Time) (user, error) {
	id, err := directory.FindID(ctx, g, address)
	return user{id, now.UTC()}, err
}

// differs reports whether the change from p to o is worth an event.
func differs(p, o *presence.Presence) bool {
	return p.Availability != o.Availability || p.Activity != o.Activity || p.Message.Text != o.Message.Text || p.WorkLocation != o.WorkLocation ||
		known(p.OutOfOffice) != known(o.OutOfOffice)
}

func inUTC(m presence.Message) presence.Message {
	m.Published, m.Expiry = m.Published.UTC(), m.Expiry.UTC()
	return m
}

// Effects implements sensors.EffectProvider. The next poll shows the effect of update_user_status, which depends on all reports.
func (o *Options) Effects() []sensors.Effect[Snapshot] {
	return []sensors.Effect[Snapshot]{
		sensors.On(func(s *Snapshot, set presence.Session, now time.Time) (*Snapshot, []entity.Event) {
			var kept status.Kept
			if set.Kept {
				kept = status.Kept{Availability: set.Availability, Activity: set.Activity, Until: set.Until.UTC(), Sent: now.UTC()}
			}
			if kept == s.Kept {
				return s, nil
			}
			after := *s
			after.Kept = kept
			return &after, nil
		}),
		sensors.On(func(s *Snapshot, set presence.Preferred, _ time.Time) (*Snapshot, []entity.Event) {
			after := *s
			set.Until = set.Until.UTC()
			after.Preferred = &set
			return &after, nil
		}),
		sensors.On(func(s *Snapshot, set presence.Message, now time.Time) (*Snapshot, []entity.Event) {
			after := *s
			after.Presence.Message = inUTC(set)
			return &after, o.Events(s, &after, now)
		}),
		sensors.On(func(s *Snapshot, set presence.Location, now time.Time) (*Snapshot, []entity.Event) {
			if set.Source != presence.Manual {
				return s, nil // the next poll shows the one that applies now
			}
			after := *s
			p := &after.Presence
			p.WorkLocation, p.WorkLocationSource, p.Place = set.Type, set.Source, set.PlaceID
			return &after, o.Events(s, &after, now)
		}),
	}
}

// Events implements sensors.Source.
func (o *Options) Events(before, after *Snapshot, now time.Time) []entity.Event {
	var events []entity.Event
	old, p := &before.Presence, &after.Presence
	if differs(old, p) {
		events = append(events, entity.Event{Type: changed, Data: map[string]any{
			"availability": textOrNull(p.Availability), "activity": textOrNull(p.Activity),
			"previous_availability": textOrNull(old.Availability), "previous_activity": textOrNull(old.Activity),
			"status_message": p.Message.At(now).Text, "work_location": textOrNull(p.WorkLocation), "out_of_office": known(p.OutOfOffice),
		}})
	}
	if before.Calling != after.Calling {
		what := callEnded
		if after.Calling {
			what = callStarted
		}
		events = append(events, entity.Event{Type: what, Data: map[string]any{"availability": textOrNull(p.Availability), "activity": textOrNull(p.Activity)}})
	}
	return events
}

// State implements sensors.Source. The expiry of a message is an event only when Graph's answer lacks the message, so that it is
// reported once.
func (o *Options) State(s *Snapshot, _, now time.Time) entity.State {
	if s == nil {
		return entity.State{}
	}
	o.keeper.Follow()
	p := &s.Presence
	message := p.Message.At(now)
	values := map[string]any{
		"activity": textOrNull(p.Activity), "availability": textOrNull(p.Availability), "in_call": known(p.InCall()),
		"status_message": textOrNull(message.Text), "work_location": textOrNull(p.WorkLocation), "out_of_office": known(p.OutOfOffice),
	}
	st := entity.State{Values: values, Next: message.Expiry, Attributes: map[string]any{
		"user_id": textOrNull(p.ID), "availability": textOrNull(p.Availability), "activity": textOrNull(p.Activity), "status_message": message.Text,
		"status_message_published": moment(message.Published, now), "status_message_expires": moment(message.Expiry, now),
		"out_of_office": known(p.OutOfOffice), "out_of_office_message": p.OutOfOfficeMessage,
		"work_location": textOrNull(p.WorkLocation), "work_location_source": textOrNull(p.WorkLocationSource), "work_location_place": textOrNull(p.Place),
	}}
	if o.User != "" {
		return st
	}
	st.Attributes["preferred_until"] = nil
	st.Attributes["kept_until"] = moment(s.Kept.Until, now)
	switch set := s.Preferred; {
	case set == nil:
	case set.Availability == "":
		values["preferred"] = automatic
	case now.Before(set.Until):
		values["preferred"] = set.Availability
		st.Attributes["preferred_until"] = set.Until.In(now.Location())
		if st.Next.IsZero() || set.Until.Before(st.Next) {
			st.Next = set.Until
		}
	}
	return st
}

func known[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func moment(t, now time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.In(now.Location())
}

// describe implements sensors.Kind.Describe.
func describe(e entity.Event) string {
	switch e.Type {
	case changed:
		now, previous := describePresence(e.Data["availability"], e.Data["activity"]), describePresence(e.Data["previous_availability"], e.Data["previous_activity"])
		if now == previous {
			return "details changed, still " + now
		}
		return fmt.Sprintf("now %s, was %s", now, previous)
	case callStarted:
		return "call started"
	case callEnded:
		return "call ended"
	}
	return ""
}

// describePresence returns an availability, and the activity where that says more.
func describePresence(availability, activity any) string {
	switch {
	case availability == nil && activity == nil:
		return "unknown"
	case activity == availability || activity == nil:
		return fmt.Sprint(availability)
	}
	return fmt.Sprintf("%v (%v)", availability, activity)
}
