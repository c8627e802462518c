// Package status shows somebody's presence in Teams.
package status

import (
	"context"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/status"
)

// Kind is status.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:  "status",
		Title: "Status",
		Doc: "The presence in Teams: yours, or that of somebody else in your organisation. With updates your own can be set. You are " +
			"in a call while you call or present; a meeting that only the calendar knows of is no call. Graph does not tell the " +
			"preferred status: shown is what was last set here, until it runs out, and what you choose in Teams itself is not " +
			"noticed. All whom an account watches cost one request together, and each address one more, once.",
		Interval:   30 * time.Second,
		OwnUpdates: true,
		WorkOnly:   true,
		New:        func() sensors.Sensor { return new(Sensor) },
	}
}

const (
	changed   = "status_changed"
	automatic = "Automatic" // nothing is preferred
)

// Sensor is the presence of one user.
type Sensor struct {
	User string `koanf:"user" example:"ann@contoso.com" doc:"The one whose status is shown, if not you: the address with which they sign in, or their object id. It cannot be set then."`

	memory memory
}

type memory struct {
	User      user                // who is watched, as far as it is known
	Presence  *presence.Presence  // nil before the first answer
	Preferred *presence.Preferred // as it was last set; nil where it never was
}

// Validate finds a user who is none.
func (s *Sensor) Validate() error {
	if a, err := mail.ParseAddress(s.User); s.User == "" || s.byID() || err == nil && a.Address == s.User {
		return nil
	}
	return config.At("user", fmt.Errorf("want an address, such as ann@contoso.com, or an object id, not %q", s.User))
}

// byID reports whether the user is named by an id.
func (s *Sensor) byID() bool { return len(s.User) == 36 && uuid.Validate(s.User) == nil }

// Permissions implements sensors.Sensor.
func (s *Sensor) Permissions() []graph.Permission {
	if s.User == "" {
		return []graph.Permission{{
			Scope:        "Presence.Read",
			Alternatives: []string{"Presence.Read.All"},
			Purpose:      "reads your presence",
			Impact:       "your presence is unavailable",
		}}
	}
	permissions := []graph.Permission{{
		Scope:   "Presence.Read.All",
		Purpose: "reads the presence of somebody else",
		Impact:  "the presence of others is unavailable",
	}}
	if !s.byID() {
		permissions = append(permissions, graph.Permission{
			Scope:        "User.ReadBasic.All",
			Alternatives: []string{"User.Read.All"},
			Purpose:      "finds somebody else by their address",
			Impact:       "somebody else can be named by their id only",
		})
	}
	return permissions
}

// Entities implements sensors.Sensor.
func (s *Sensor) Entities() []entity.Entity {
	const icon = "mdi:microsoft-teams"
	shown := []entity.Entity{
		{Key: "activity", Platform: "sensor", Name: "Activity", Icon: icon, Primary: true},
		{Key: "availability", Platform: "sensor", Name: "Availability", DeviceClass: "enum", Options: presence.Availabilities(), Icon: icon},
		{Key: "in_call", Platform: "binary_sensor", Name: "In a call", Icon: "mdi:phone-in-talk"},
		{Key: "status_message", Platform: "sensor", Name: "Status message", Icon: "mdi:message-text"},
		{Key: "work_location", Platform: "sensor", Name: "Work location", Icon: "mdi:office-building-marker"},
		{Key: "out_of_office", Platform: "binary_sensor", Name: "Out of office", Icon: "mdi:briefcase-off"},
		{Key: "event", Platform: "event", Name: "Event", Options: []string{changed}, Icon: icon},
	}
	if s.User != "" {
		return shown
	}
	return append(shown,
		entity.Entity{Key: "preferred", Platform: "select", Name: "Preferred status", Icon: "mdi:account-edit", Options: preferable(),
			Operations: []string{status.UpdatePreferred, status.ClearPreferred}, Parse: prefer},
		entity.Entity{Key: "set_status_message", Platform: "text", Name: "Set status message", Icon: "mdi:message-text", Category: "config",
			ValueKey: "status_message", Operations: []string{status.SetMessage}, Parse: setMessage},
		entity.Entity{Key: "clear_status_message", Platform: "button", Name: "Clear status message", Icon: "mdi:message-off", Category: "config",
			Operations: []string{status.SetMessage}, DefaultFields: map[string]any{"message": ""}},
	)
}

func preferable() []string { return append([]string{automatic}, presence.PreferredAvailabilities()...) }

func prefer(payload string) (string, map[string]any, error) {
	switch {
	case payload == automatic:
		return status.ClearPreferred, nil, nil
	case slices.Contains(presence.PreferredAvailabilities(), payload):
		return status.UpdatePreferred, map[string]any{"availability": payload}, nil
	}
	return "", nil, fmt.Errorf("want one of %s, not %q", strings.Join(preferable(), ", "), payload)
}

func setMessage(payload string) (string, map[string]any, error) {
	return status.SetMessage, map[string]any{"message": payload}, nil
}

// Operations implements sensors.Commander.
func (s *Sensor) Operations() []services.Operation {
	if s.User != "" {
		return nil
	}
	return status.Operations()
}

// Memory implements sensors.Rememberer.
func (s *Sensor) Memory() any { return &s.memory }

// Poll implements sensors.Sensor.
func (s *Sensor) Poll(ctx context.Context, g *graph.Client, now time.Time) (sensors.Take, error) {
	if s.User == "" {
		p, err := presence.ReadOwn(ctx, g)
		if err != nil {
			return nil, err
		}
		return func(now time.Time) []entity.Event { return s.take(now, p) }, nil
	}
	who, err := s.who(ctx, g, now)
	if err != nil {
		return nil, err
	}
	p, err := presence.Read(ctx, g, who.ID)
	// Whoever is not there any more may have been made anew, or given the address to another.
	if gone := graph.Is(err, graph.NotFound) || err == nil && p.Availability == presence.Unknown; gone && !s.byID() && now.Sub(who.Found) > 24*time.Hour {
		if who, err = find(ctx, g, s.User, now); err != nil {
			return nil, err
		}
		p, err = presence.Read(ctx, g, who.ID)
	}
	if err != nil {
		return nil, err
	}
	return func(now time.Time) []entity.Event {
		s.memory.User = who
		return s.take(now, p)
	}, nil
}

// who is the user who is watched. What is remembered of them is written by Take alone, and never while a poll runs.
func (s *Sensor) who(ctx context.Context, g *graph.Client, now time.Time) (user, error) {
	switch {
	case s.byID():
		return user{ID: strings.ToLower(s.User)}, nil
	case s.memory.User.ID != "":
		return s.memory.User, nil
	}
	return find(ctx, g, s.User, now)
}

// Apply implements sensors.Applier. What update_user_status comes to among all that say something, the next poll tells.
func (s *Sensor) Apply(now time.Time, operation string, result any) []entity.Event {
	switch set := result.(type) {
	case presence.Preferred:
		s.memory.Preferred = &set
	case presence.Message:
		if s.memory.Presence == nil {
			break
		}
		p := *s.memory.Presence
		p.Message = set
		return s.take(now, &p)
	}
	return nil
}

func (s *Sensor) take(now time.Time, p *presence.Presence) []entity.Event {
	old := s.memory.Presence
	s.memory.Presence = p
	if old == nil || !differs(old, p) {
		return nil
	}
	return []entity.Event{{Type: changed, Data: map[string]any{
		"availability": text(p.Availability), "activity": text(p.Activity),
		"previous_availability": text(old.Availability), "previous_activity": text(old.Activity),
		"status_message": p.Message.At(now).Text, "work_location": text(p.WorkLocation), "out_of_office": known(p.OutOfOffice),
	}}}
}

// State implements sensors.Sensor. That a message has had its time is no event until an answer of Graph comes without it: so
// it is told once.
func (s *Sensor) State(since, now time.Time) entity.State {
	st := entity.State{Values: map[string]any{
		"activity": nil, "availability": nil, "in_call": nil, "status_message": nil, "work_location": nil, "out_of_office": nil,
	}}
	v := st.Values
	if s.User == "" {
		v["preferred"] = nil
	}
	p := s.memory.Presence
	if p == nil {
		return st
	}
	message := p.Message.At(now)
	v["activity"], v["availability"], v["in_call"] = text(p.Activity), option(p.Availability), known(p.InCall())
	v["status_message"], v["work_location"], v["out_of_office"] = message.Text, text(p.WorkLocation), known(p.OutOfOffice)
	st.Attributes = map[string]any{
		"user_id": text(p.ID), "availability": text(p.Availability), "activity": text(p.Activity), "status_message": message.Text,
		"status_message_published": moment(message.Published, now), "status_message_expires": moment(message.Expiry, now),
		"out_of_office": known(p.OutOfOffice), "out_of_office_message": p.OutOfOfficeMessage,
		"work_location": text(p.WorkLocation), "work_location_source": text(p.WorkLocationSource), "work_location_place": text(p.Place),
	}
	st.Next = message.Expiry
	if s.User != "" {
		return st
	}
	st.Attributes["preferred_until"] = nil
	switch set := s.memory.Preferred; {
	case set == nil:
	case set.Availability == "":
		v["preferred"] = automatic
	case now.Before(set.Until):
		v["preferred"] = set.Availability
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

func text(s string) any {
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

// option is what an enum entity shows of a value: Home Assistant refuses what is not in the list.
func option(s string) any {
	if slices.Contains(presence.Availabilities(), s) {
		return s
	}
	return nil
}

// differs reports whether the change is worth an event.
func differs(p, o *presence.Presence) bool {
	return p.Availability != o.Availability || p.Activity != o.Activity || p.Message.Text != o.Message.Text || p.WorkLocation != o.WorkLocation ||
		known(p.OutOfOffice) != known(o.OutOfOffice)
}

// A user is somebody who is watched.
type user struct {
	ID    string
	Found time.Time // when their address was looked up
}

// find looks a user up by their address.
func find(ctx context.Context, g *graph.Client, address string, now time.Time) (user, error) {
	id, err := directory.FindID(ctx, g, address)
	if err != nil {
		return user{}, err
	}
	return user{id, now}, nil
}
