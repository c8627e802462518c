// Package room shows whether a meeting room is free.
package room

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/places"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/room"
)

// Kind returns the kind room.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name: "room", Aliases: []string{"rooms", "meeting_room", "room_panel"}, Title: "Room", WorkOnly: true, Application: true, MemberField: "room",
		Doc: "A meeting room: whether it is busy and until when, who organizes the current meeting, and when the next one begins. By default, subjects are not read. " +
			"Of private meetings, only the times are shown. In an organization, no user signs in; in an account, the room must share its calendar with you.",
		Interval:   time.Minute,
		New:        func() sensors.Sensor { return sensors.Of(&Options{BookMinutes: 30, Refresh: 6 * time.Hour}) },
		Attributes: attributeFields(),
		Candidates: candidates, CandidatePermissions: []graph.Permission{places.Permission()}, OfOrganization: true,
	}
}

// candidates lists the rooms of the organization.
func candidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	rooms, err := places.Rooms(ctx, g, "")
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for _, r := range rooms {
		found = append(found, sensors.Candidate{Name: cmp.Or(r.Name, r.Address), Options: map[string]string{"room": r.Address}, SelectedBy: sensors.SelectedBy(func(o *Options) bool {
			return strings.EqualFold(o.Room, r.Address) || slices.ContainsFunc(o.Addresses, func(a string) bool { return strings.EqualFold(a, r.Address) }) ||
				o.Room == all && len(o.Addresses) == 0 && o.List == "" && o.Group == "" && !o.excludes(r.Address, cmp.Or(r.Name, nameOf(r.Address)))
		})})
	}
	return found, nil
}

// all stands for several rooms.
const all = "all"

// Options are the options of a room. They are the sensors.Source of its bookings.
type Options struct {
	Room        string        `koanf:"room" form:"true" required:"true" example:"berlin@contoso.com" doc:"The address of the room, or all: each room of the organization, or of those that addresses, list or group name. Each has a device of its own."`
	Addresses   []string      `koanf:"addresses" nonempty:"the rooms of list or group, or all rooms" doc:"With room: all, the addresses of the rooms."`
	List        string        `koanf:"list" doc:"With room: all, the address of a room list: only its rooms."`
	Group       string        `koanf:"group" doc:"With room: all, the id or the address of a group: only the rooms that are its members."`
	Except      []string      `koanf:"except" doc:"With room: all, the addresses or names of rooms to leave out."`
	Refresh     time.Duration `koanf:"refresh" min:"10m" max:"168h" doc:"With room: all, the interval at which the rooms are listed again, to find new and removed ones. The request rescan lists them at once."`
	ShowSubject bool          `koanf:"show_subject" doc:"Read and show the subjects of meetings, except for private ones. By default, Exchange replaces the subject in the calendar of a room with the name of the organizer."`
	BookMinutes int           `koanf:"book_minutes" min:"5" max:"1440" doc:"Length in minutes of a booking at the room, unless the request gives another one. The booking is shortened if the next meeting begins earlier."`
}

// Validate returns an error for options that cannot work together.
func (o *Options) Validate() error {
	var errs []error
	if o.Room != "" && o.Room != all {
		errs = append(errs, schema.At("room", checkAddress(o.Room)))
	}
	seen := map[string]int{}
	for i, a := range o.Addresses {
		at := fmt.Sprintf("addresses[%d]", i)
		errs = append(errs, schema.At(at, checkAddress(a)))
		if first, ok := seen[strings.ToLower(a)]; ok {
			errs = append(errs, schema.At(at, fmt.Errorf("the same as addresses[%d]", first)))
		} else {
			seen[strings.ToLower(a)] = i
		}
	}
	if o.List != "" {
		errs = append(errs, schema.At("list", checkAddress(o.List)))
	}
	if o.Group != "" {
		errs = append(errs, schema.At("group", checkAddress(o.Group)))
	}
	var selected []string
	for key, given := range map[string]bool{"addresses": len(o.Addresses) > 0, "list": o.List != "", "group": o.Group != "", "except": len(o.Except) > 0} {
		switch {
		case given && o.Room != all:
			errs = append(errs, schema.At(key, errors.New("only with room: all")))
		case given && key != "except":
			selected = append(selected, key)
		}
	}
	if slices.Sort(selected); len(selected) > 1 {
		errs = append(errs, schema.At(selected[1], fmt.Errorf("not with %s: want one of addresses, list and group", selected[0])))
	}
	return errors.Join(errs...)
}

// checkAddress validates the address or the id of a mailbox.
func checkAddress(s string) error {
	if entra.IsMailbox(s) {
		return nil
	}
	return fmt.Errorf("want the address of a room, such as berlin@contoso.com, not %q", s)
}

// A Snapshot holds the bookings of a room between two instants.
type Snapshot struct {
	From, To time.Time
	Bookings []calendars.Booking // by start
}

// mailbox returns the calendar of the room. Without options, it is that of any room.
func (o *Options) mailbox() calendars.Calendar {
	return calendars.Calendar{Mailbox: cmp.Or(o.Room, all)}
}

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission {
	switch {
	case o.Room == all && o.Group != "":
		return append([]graph.Permission{places.MemberPermission()}, o.reading()...)
	case o.Room == all && len(o.Addresses) == 0:
		return append([]graph.Permission{places.Permission()}, o.reading()...)
	}
	return o.reading()
}

// reading returns the permission for reading the calendar of a room.
func (o *Options) reading() []graph.Permission {
	p := o.mailbox().ReadPermission()
	p.Purpose, p.Impact = "reads when rooms are busy", "the room is unavailable"
	return []graph.Permission{p}
}

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation {
	return room.Operations(o.mailbox(), o.BookMinutes)
}

// IsGroup implements sensors.GroupSource.
func (o *Options) IsGroup() bool { return o.Room == all }

// Members implements sensors.GroupSource.
func (o *Options) Members(ctx context.Context, g *graph.Client) ([]sensors.Member, error) {
	var rooms []places.Room
	var err error
	switch {
	case len(o.Addresses) > 0:
		for _, a := range o.Addresses {
			rooms = append(rooms, places.Room{Address: a})
		}
	case o.Group != "":
		rooms, err = places.Members(ctx, g, o.Group)
	default:
		rooms, err = places.Rooms(ctx, g, o.List)
	}
	if err != nil {
		return nil, err
	}
	var members []sensors.Member
	for _, r := range rooms {
		// By the address, so that a room keeps its id if it is named in another way.
		m := sensors.Member{ID: strings.ToLower(r.Address), Name: cmp.Or(r.Name, nameOf(r.Address))}
		if !o.excludes(m.ID, m.Name) {
			members = append(members, m)
		}
	}
	return members, nil
}

// excludes reports whether Except has the address or the name of a room.
func (o *Options) excludes(address, name string) bool {
	return slices.ContainsFunc(o.Except, func(e string) bool { return strings.EqualFold(e, address) || strings.EqualFold(e, name) })
}

// ListInterval returns the time between two listings of the rooms.
func (o *Options) ListInterval() time.Duration { return o.Refresh }

// nameOf returns the name of a room of which only the address is known: "Berlin 2" for berlin-2@contoso.com.
func nameOf(address string) string {
	name, _, _ := strings.Cut(address, "@")
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '-' || r == '_' })
	if len(words) == 0 {
		return address
	}
	words[0] = strings.ToUpper(words[0][:1]) + words[0][1:]
	return strings.Join(words, " ")
}

// Member implements sensors.GroupSource.
func (o *Options) Member(m sensors.Member) sensors.Source[Snapshot] {
	member := *o
	member.Room, member.Addresses, member.List, member.Group, member.Except = m.ID, nil, "", "", nil
	return &member
}

// Poll implements sensors.Source.
func (o *Options) Poll(ctx context.Context, g *graph.Client, _ *Snapshot, now time.Time) (*Snapshot, error) {
	y, m, d := now.Date()
	from, to := graph.StartOfDay(y, m, d, now.Location()), graph.StartOfDay(y, m, d+2, now.Location())
	bookings, err := calendars.Bookings(ctx, g, o.Room, from, to, o.ShowSubject)
	if err != nil {
		return nil, err
	}
	return &Snapshot{from.UTC(), to.UTC(), bookings}, nil
}

// Same implements sensors.Comparer: that time passes need not be written.
func (o *Options) Same(a, b *Snapshot) bool { return slices.EqualFunc(a.Bookings, b.Bookings, same) }

func same(a, b calendars.Booking) bool {
	sameTimes := a.Start.Equal(b.Start) && a.End.Equal(b.End)
	a.Start, a.End, b.Start, b.End = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return sameTimes && a == b
}

// HasChanged implements sensors.ChangeFinder.
func (o *Options) HasChanged(a, b *Snapshot, now time.Time) bool {
	inBoth := func(s *Snapshot) []calendars.Booking {
		return slices.DeleteFunc(slices.Clone(s.Bookings), func(booking calendars.Booking) bool {
			start, end := booking.Span(now.Location())
			return !end.After(a.From) || !end.After(b.From) || !start.Before(a.To) || !start.Before(b.To)
		})
	}
	return !slices.EqualFunc(inBoth(a), inBoth(b), same)
}

// Events implements sensors.Source.
func (o *Options) Events(*Snapshot, *Snapshot, time.Time) []entity.Event { return nil }

// ReadsOwnWrites implements sensors.ConsistentReader.
func (o *Options) ReadsOwnWrites() bool { return true }

// Effects implements sensors.EffectProvider.
func (o *Options) Effects() []sensors.Effect[Snapshot] {
	return []sensors.Effect[Snapshot]{
		sensors.On(func(s *Snapshot, booked room.Booked, now time.Time) (*Snapshot, []entity.Event) {
			if start, end := booked.Span(now.Location()); !start.Before(s.To) || !end.After(s.From) {
				return s, nil // polls do not read it
			}
			return o.replace(s, booked.ID, booked.Booking), nil
		}),
		sensors.On(func(s *Snapshot, ended room.Ended, _ time.Time) (*Snapshot, []entity.Event) {
			i := slices.IndexFunc(s.Bookings, func(b calendars.Booking) bool { return b.ID == ended.ID })
			if i < 0 {
				return s, nil
			}
			b := s.Bookings[i]
			if b.End = ended.End; !b.End.After(b.Start) {
				return o.replace(s, ended.ID), nil
			}
			return o.replace(s, ended.ID, b), nil
		}),
	}
}

// replace returns s with other bookings in the place of the one with an id.
func (o *Options) replace(s *Snapshot, id string, by ...calendars.Booking) *Snapshot {
	after := *s
	after.Bookings = slices.DeleteFunc(slices.Clone(s.Bookings), func(b calendars.Booking) bool { return b.ID == id })
	for _, b := range by {
		if !o.ShowSubject {
			b.Subject = ""
		}
		after.Bookings = append(after.Bookings, b)
	}
	slices.SortFunc(after.Bookings, func(a, b calendars.Booking) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	return &after
}

// MailboxAddress returns the address of the room, "" for several.
func (o *Options) MailboxAddress() string {
	if o.Room == all {
		return ""
	}
	return o.Room
}

// Probe reads the least that shows whether the calendar of the room can be read.
func (o *Options) Probe(ctx context.Context, g *graph.Client) error {
	now := time.Now()
	_, err := calendars.Bookings(ctx, g, o.Room, now, now.Add(time.Minute), false)
	return err
}
