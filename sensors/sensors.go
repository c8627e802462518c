// Package sensors says what a sensor is, and polls it.
package sensors

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A Kind declares one kind of sensor: all that the rest of the program and its documentation may know about it.
type Kind struct {
	Name        string        // the `type` in the configuration
	Title       string        // of a device's model: "Calendar"
	Doc         string        // one paragraph
	Interval    time.Duration // between polls, unless configured
	OwnUpdates  bool          // its enable_update is its own, not the account's
	WorkOnly    bool          // not for personal accounts
	MemberField string        // of an Expander: the field by which a request to all names one, "calendar"
	New         func() Sensor // with its defaults set, ready to decode into
	// Candidates lists what there is that a sensor can be configured for; nil: there is nothing to choose. It needs what New's
	// sensor needs.
	Candidates func(ctx context.Context, g *graph.Client) ([]Candidate, error)
}

// A Candidate is one thing that a sensor can be configured for: a calendar, a list.
type Candidate struct {
	Name    string            // as its owner sees it
	Options map[string]string // by which the configuration names it
}

// A Sensor is its decoded configuration and the last answer of Graph. Every now carries the account's time zone in its
// Location.
type Sensor interface {
	// Permissions are the permissions of reading, as configured.
	Permissions() []graph.Permission
	// Entities are what Home Assistant shows. They never change.
	Entities() []entity.Entity
	// Poll asks Graph. It reads only the configuration of the sensor, changes nothing, and may take long: State and Apply
	// go on meanwhile.
	Poll(ctx context.Context, g *graph.Client, now time.Time) (Take, error)
	// State is what the last answer taken says at now; its Events are what time alone brought in (since, now]. Before
	// the first answer every value is nil. A zero since brings no events.
	State(since, now time.Time) entity.State
}

// Take puts an answer in place and says what is new in it. Take, State, Apply and Memory are never called at the same time.
type Take func(now time.Time) []entity.Event

// A Commander has operations that can be asked of it, bound to its calendar, mailbox or list.
type Commander interface {
	Operations() []services.Operation
}

// An Applier puts an operation's answer in place. A poll in flight is dropped first, for it may be older.
type Applier interface {
	Apply(now time.Time, operation string, result any) []entity.Event
}

// A Rememberer has something that outlives a restart, though not a changed configuration.
type Rememberer interface {
	Memory() any // a pointer that encoding/json can write and read
}

// An Expander stands for several sensors of its kind: all calendars, all lists.
type Expander interface {
	Expands() bool
	Members(ctx context.Context, g *graph.Client) ([]Member, error)
	Member(Member) Sensor
}

// A Member is one of the things that an Expander stands for.
type Member struct {
	ID   string // Graph's
	Name string // as its owner sees it; it may change
}
