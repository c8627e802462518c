// Package sensors defines the sensor contract and runs the poll loop.
package sensors

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A Kind declares one type of sensor to the configuration, the documentation and the runtime.
type Kind struct {
	Name       string        // the `type` in the configuration
	Aliases    []string      // other words for the type, which an error answers with Name
	Title      string        // the device's model: "Calendar"
	Doc        string        // one paragraph
	Interval   time.Duration // between polls, unless configured
	OwnUpdates bool          // its enable_update is its own, not the account's
	WorkOnly   bool          // not for personal accounts
	WriteOnly  bool          // it reads only if `read: true` is set

	// Application reports that Microsoft has application permissions for it, so that organizations can have it.
	Application bool
	// OfMailbox reports that an organization names a mailbox for it, with the key user: the user whose mailbox that is takes the place of
	// the one who signs in to an account.
	OfMailbox bool
	// UserOnly is the reason why organizations cannot have it: "applications cannot send messages".
	UserOnly string

	// PollsWith names a kind that reads the same thing: sensors of both poll together, so that they share requests; "": none.
	PollsWith string
	// AdvisedInterval is the interval below which a configuration is warned about; 0: none.
	AdvisedInterval time.Duration

	MemberField string // the request field that names a member of a group: "calendar"
	// ListInterval is the time between two listings of a group's members; 0: 10 minutes.
	ListInterval time.Duration
	New          func() Sensor // with its defaults set, ready to decode into Options

	Attributes []schema.Field // of the primary entity, for the documentation
	Events     []EventType    // that the event entity fires, for the documentation

	// Describe returns in a few words what happened: "Standup started". The event's data is as decoded from JSON. It returns "" for a
	// type that the kind does not have. nil: the kind has no events.
	Describe func(entity.Event) string
	// Candidates lists what a sensor can be configured for; nil: there is nothing to choose. It needs CandidatePermissions; nil: the
	// permissions of New's sensor.
	Candidates           func(ctx context.Context, g *graph.Client) ([]Candidate, error)
	CandidatePermissions []graph.Permission
	// OfOrganization reports that Candidates are those of an organization, not of the user of an account.
	OfOrganization bool
}

// ListPermissions returns the permissions that Candidates needs.
func (k Kind) ListPermissions() []graph.Permission {
	if k.CandidatePermissions != nil {
		return k.CandidatePermissions
	}
	return k.New().Permissions()
}

// An EventType documents one type of event.
type EventType struct {
	Name   string         // as in entity.Event: "event_started"
	Doc    string         // when it is fired
	Fields []schema.Field // of its data
}

// A Candidate is one thing that a sensor can be configured for: a calendar, a list.
type Candidate struct {
	Name    string            // as its owner sees it
	Options map[string]string // the options that select it
	Note    string            // what helps to choose, such as how many mails a folder has; "": nothing
	// SelectedBy reports whether a sensor with these options is for the candidate, too; nil: that is not known.
	SelectedBy func(options any) bool
}

// SelectedBy returns a Candidate's SelectedBy for options of the type O.
func SelectedBy[O any](selected func(*O) bool) func(options any) bool {
	return func(options any) bool {
		o, ok := options.(*O)
		return ok && selected(o)
	}
}

// A Source holds a sensor's decoded options and has pure functions over its snapshot S: plain data with exported fields that JSON
// can hold. It is a pointer to a struct; its exported fields are the options.
//
// The poller owns the snapshot, persists it and calls the functions one at a time, except Poll, which runs beside the others. No
// function changes its arguments or what they refer to. Every now has the account's time zone as its location.
type Source[S any] interface {
	// Permissions returns the permissions that reading needs.
	Permissions() []graph.Permission
	// Entities returns the entities of the sensor. They are always the same for one configuration.
	Entities() []entity.Entity
	// Poll asks Graph and returns a new snapshot. It may take long. last is nil before the first answer.
	Poll(ctx context.Context, g *graph.Client, last *S, now time.Time) (*S, error)
	// Events returns what the change from before to after means. Neither is nil.
	Events(before, after *S, now time.Time) []entity.Event
	// State returns the state of s at now. Its Events are the ones that time alone caused in (since, now]. Until its Next it returns
	// the same for the same s, apart from Events. s is nil before the first answer. Values may be left out; they are unknown.
	State(s *S, since, now time.Time) entity.State
}

// An OperationProvider is a Source that offers operations, bound to its calendar, mailbox or list.
type OperationProvider interface {
	Operations() []services.Operation
}

// An EffectProvider is a Source that shows the results of operations at once.
type EffectProvider[S any] interface {
	Effects() []Effect[S]
}

// A ConsistentReader is a Source whose next poll contains what an operation did without delay. It is polled at once after an
// operation whose result changed nothing in the snapshot that a [Comparer] compares, instead of some seconds later.
type ConsistentReader interface {
	ReadsOwnWrites() bool
}

// A Comparer is a Source that knows when a snapshot need not be written.
type Comparer[S any] interface {
	// Same reports whether b differs from a only in what State does not show and what need not be written: the end of a window, a
	// delta link. Such parts are written with the next change, hourly and at stop.
	Same(a, b *S) bool
}

// A ChangeFinder is a Source of which something can change without an event of Events.
type ChangeFinder[S any] interface {
	// HasChanged reports whether the data in the part of the window that a and b share differs. What enters or leaves the window does not count.
	HasChanged(a, b *S, now time.Time) bool
}

// A Deadliner is a Source that must be polled at certain times, however long its interval is.
type Deadliner[S any] interface {
	// PollAt returns when s must be polled at the latest; zero: at the interval.
	PollAt(s *S) time.Time
}

// A FeedProvider is a Source whose changes Graph can announce.
type FeedProvider[S any] interface {
	// ChangeFeed returns what announces the changes of s, which is nil before the first answer.
	ChangeFeed(s *S) ChangeFeed
}

// A ChangeFeed describes the notifications that announce the changes of a sensor.
type ChangeFeed struct {
	Resources  []string         // "/me/events", where /me is the mailbox of an organization's sensor, too; all of them are needed. None: there are none, or none yet
	Item       string           // what %s in Resources stands for: one subscription is for the items of all sensors of the account; "": it is not in there
	Changes    string           // the types of changes that Graph announces: "updated"; "": all
	Partial    bool             // other changes are not announced, so polls stay as frequent as they are
	Reason     string           // why there are none; "": they are not known before the first answer
	Permission graph.Permission // beside those of the sensor, which is not requested: without it there are none. Zero: none
	Lifetime   time.Duration    // the longest of a subscription
	Latency    time.Duration    // within which notifications come

	WorkOnly        bool // personal accounts have none
	UserOnly        bool // applications have none
	ApplicationOnly bool // users have none
	GlobalOnly      bool // national clouds have none
}

// isReadAll is the key of the context of a poll that reads everything.
type isReadAll struct{}

// ReadAll reports whether the poll with this context should read everything, also where nothing seems to have changed: Graph announced
// a change, or polls are rare because it announces them.
func ReadAll(ctx context.Context) bool { return ctx.Value(isReadAll{}) != nil }

// A GroupSource is a Source that may stand for several sensors of its kind: all calendars, all lists.
type GroupSource[S any] interface {
	IsGroup() bool
	Members(ctx context.Context, g *graph.Client) ([]Member, error)
	Member(Member) Source[S]
}

// A Member is one of the things that a group stands for.
type Member struct {
	ID   string // Graph's
	Name string // as its owner sees it; it may change

	Address string `json:",omitempty"` // by which it can be named as well; empty: none
}

// A Group stands for several sensors of its kind.
type Group interface {
	Members(ctx context.Context, g *graph.Client) ([]Member, error)
	Member(Member) Sensor
}

// An Effect applies the results of one type to a snapshot. See [On].
type Effect[S any] struct {
	apply func(s *S, result any, now time.Time) (after *S, events []entity.Event, ok bool)
}

// On returns the effect of operations whose result is an R. apply returns the new snapshot, or s if nothing changes, and the events
// of the change; it does not change s.
func On[R, S any](apply func(s *S, result R, now time.Time) (*S, []entity.Event)) Effect[S] {
	return Effect[S]{func(s *S, result any, now time.Time) (*S, []entity.Event, bool) {
		r, ok := result.(R)
		if !ok {
			return s, nil, false
		}
		after, events := apply(s, r, now)
		return after, events, true
	}}
}

// Apply returns s with the result applied and the events of the change. ok is false for a result of another type.
func (e Effect[S]) Apply(s *S, result any, now time.Time) (after *S, events []entity.Event, ok bool) {
	return e.apply(s, result, now)
}

// A Sensor is a Source whose snapshot type is hidden.
type Sensor interface {
	Options() any // pointer to the options, to decode into
	Permissions() []graph.Permission
	Entities() []entity.Entity
	Operations() []services.Operation
	Group() Group // nil: not a group
	// ChangeFeed returns what announces the changes of a snapshot of the sensor; nil: before the first answer.
	ChangeFeed(snapshot any) ChangeFeed
	NewPoller(PollerOptions) Poller
	// Probe finds out whether reading works: it reads once, and the source's own Probe reads less.
	Probe(ctx context.Context, g *graph.Client, now time.Time) error
}

// A Prober is a Source that knows the least request that shows whether it can be read.
type Prober interface {
	Probe(ctx context.Context, g *graph.Client) error
}

// Of returns the sensor of a source.
func Of[S any](s Source[S]) Sensor { return sensor[S]{s} }

type sensor[S any] struct{ source Source[S] }

// Options implements Sensor.
func (s sensor[S]) Options() any { return s.source }

// Permissions implements Sensor.
func (s sensor[S]) Permissions() []graph.Permission { return s.source.Permissions() }

// Entities implements Sensor.
func (s sensor[S]) Entities() []entity.Entity { return s.source.Entities() }

// Operations implements Sensor.
func (s sensor[S]) Operations() []services.Operation {
	if provider, ok := s.source.(OperationProvider); ok {
		return provider.Operations()
	}
	return nil
}

// Group implements Sensor.
func (s sensor[S]) Group() Group {
	if source, ok := s.source.(GroupSource[S]); ok && source.IsGroup() {
		return group[S]{source}
	}
	return nil
}

// ChangeFeed implements Sensor.
func (s sensor[S]) ChangeFeed(snapshot any) ChangeFeed {
	source, ok := s.source.(FeedProvider[S])
	if !ok {
		return ChangeFeed{Reason: "Microsoft sends no notifications about this"}
	}
	last, _ := snapshot.(*S)
	return source.ChangeFeed(last)
}

// NewPoller implements Sensor.
func (s sensor[S]) NewPoller(o PollerOptions) Poller { return newPoller(s.source, o) }

// Probe implements Sensor.
func (s sensor[S]) Probe(ctx context.Context, g *graph.Client, now time.Time) error {
	if source, ok := s.source.(Prober); ok {
		return source.Probe(ctx, g)
	}
	_, err := s.source.Poll(ctx, g, nil, now)
	return err
}

type group[S any] struct{ source GroupSource[S] }

// Members implements Group.
func (g group[S]) Members(ctx context.Context, client *graph.Client) ([]Member, error) {
	return g.source.Members(ctx, client)
}

// Member implements Group.
func (g group[S]) Member(m Member) Sensor { return Of(g.source.Member(m)) }

// Complete returns s with every value that one of entities shows: those that s leaves out are unknown, and so is an option that an
// entity does not list, because Home Assistant refuses it. Texts are shown as [entity.Box] does. It is what a poller passes on of a
// Source's State.
func Complete(entities []entity.Entity, s entity.State) entity.State {
	values := make(map[string]any, len(s.Values)+len(entities))
	for key, v := range s.Values {
		values[key] = v
	}
	for _, e := range entities {
		key := e.StateKey()
		if !e.ShowsValue() {
			continue
		}
		if _, ok := values[key]; !ok {
			values[key] = nil
		}
		text, ok := s.Values[key].(string)
		switch {
		case !ok:
		case len(e.Options) > 0 && !slices.Contains(e.Options, text):
			values[key] = nil
		case e.Platform == "text":
			shown, complete := entity.Box(text)
			values[key] = shown
			if !complete {
				if s.Texts == nil {
					s.Texts = map[string]string{}
				}
				s.Texts[key] = text
			}
		}
	}
	s.Values = values
	return s
}

// same is the comparison of sources that are no Comparer.
func same[S any](a, b *S) bool { return reflect.DeepEqual(a, b) }
