// Package hub holds the newest state of every device and passes changes and events on to the outputs that subscribe.
//
// Publishers never wait for subscribers: a subscriber that is slow receives the newest state of a device instead of every state,
// and at most [maxEvents] events wait for it.
package hub

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

const (
	// maxEvents bounds the events that wait for one subscription; the oldest are dropped first.
	maxEvents = 1000
	// maxPolls is the number of polls that are remembered of each device.
	maxPolls = 30
)

// An ID names a device: a sensor, an account (Sensor is empty) or the bridge (both are empty). The keys are the configuration's.
type ID struct{ Account, Sensor string }

// A Device describes what an output shows. It has the same entities for as long as its configuration does not change.
type Device struct {
	ID    ID
	Name  string // display name: "Work calendar"
	Model string // "Calendar"
	Slug  string // prefix of its entity ids: "work_calendar"

	Entities  []entity.Entity
	Overrides map[string]Override // by entity key
	Items     bool                // the complete list is published too
	Commands  bool                // it offers operations, so State.Commands is meaningful
	Interval  time.Duration       // between two polls; 0: it does not poll
	// Application reports that it is the device of an organization, to which no user signs in.
	Application bool
}

// An Override holds the changes that the configuration makes to one entity.
type Override struct {
	Enabled              bool
	Name, Icon, EntityID string // empty: as declared
}

// A State is everything that outputs show of a device at one moment.
type State struct {
	entity.State
	Available bool           // the values are current
	Commands  bool           // its operations can be requested now
	Problem   *Problem       // nil: none, or a device without problems of its own
	LastSync  time.Time      // last successful read; zero: none yet
	Account   *AccountStatus // of an account, otherwise nil
}

// A Problem explains in the user's words why a sensor does not work.
type Problem struct {
	Code    string // as in responses: "not_found"
	Message string
	Since   time.Time
}

// An AccountStatus is the document of an account's status topic. Every key is always present, except notifications.
type AccountStatus struct {
	SignIn    SignIn          `json:"sign_in"`
	Connected bool            `json:"connected"` // something of the account can be read
	User      *string         `json:"user"`
	Granted   []string        `json:"granted"` // scopes
	Missing   []MissingScope  `json:"missing"`
	Problems  []SensorProblem `json:"problems"`
	// ProblemsOmitted is the number of problems that an output leaves out.
	ProblemsOmitted int                 `json:"problems_omitted,omitempty"`
	LastSync        *time.Time          `json:"last_sync"`
	ThrottledUntil  *time.Time          `json:"throttled_until"`
	Error           *string             `json:"error"`
	Notifications   *NotificationStatus `json:"notifications,omitempty"` // left out if they are not configured
}

// NotificationStatus describes how Graph announces changes to an account.
type NotificationStatus struct {
	State       string                `json:"state"`       // ok, degraded or off
	Unannounced int                   `json:"unannounced"` // changes since the start that polls found and nothing announced
	Sensors     []SensorNotifications `json:"sensors"`
	Omitted     int                   `json:"omitted,omitempty"` // sensors that an output leaves out
}

// SensorNotifications describes how Graph announces the changes of a sensor.
type SensorNotifications struct {
	Sensor  string  `json:"sensor"`
	State   string  `json:"state"`   // ok, degraded or off
	Message *string `json:"message"` // why it is not ok
}

// SignIn is the state of an account's sign-in; URL, Code and ExpiresAt are set while one waits for the user.
type SignIn struct {
	State     string     `json:"state"` // as in package auth: signed_in, required, …
	Message   *string    `json:"message"`
	URL       *string    `json:"url"`
	Code      *string    `json:"code"`
	ExpiresAt *time.Time `json:"expires_at"`

	Prompt *Prompt `json:"-"` // set while one waits for the user
}

// A Prompt has what a person must know to complete a sign-in, beside the link and the code.
type Prompt struct {
	Browser   bool     // otherwise it waits for the code
	Redirect  string   // of a sign-in by browser: the beginning of the address on which the browser ends
	Listening bool     // that address is on this machine, and a browser there completes the sign-in by itself
	Note      string   // a warning that the browser may not show that address; usually ""
	Refused   []string // scopes that were refused in this sign-in and are no longer requested
	Why       string   // why they were refused
}

// A MissingScope is a permission that a sensor lacks.
type MissingScope struct {
	Sensor  string `json:"sensor"`
	Scope   string `json:"scope"`
	Message string `json:"message"`
}

// A SensorProblem is the problem of one of an account's sensors.
type SensorProblem struct {
	Sensor  string `json:"sensor"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// A Poll is one finished poll of a sensor.
type Poll struct {
	At       time.Time
	Duration time.Duration
	Next     time.Time // when the next one begins if none is requested
	Items    int       // in the list that the sensor shows, after a poll that succeeded
	ItemsKey string    // "events"; empty: it shows no list
	Failure  *Problem  // nil: it succeeded
}

// A Snapshot describes a device at one moment.
type Snapshot struct {
	Device Device
	State  *State // nil before the first Put
	Polls  []Poll // the last 30, oldest first
}

// A Hub is safe for concurrent use. The zero Hub is not usable; see [New].
type Hub struct {
	mu            sync.Mutex
	devices       map[ID]*device
	order         []ID          // of declaration
	changed       chan struct{} // closed at the next change; nil: nobody waits for it
	ready         bool
	subscriptions map[*Subscription]bool

	onPoll func(ID, Poll) // nil: nobody counts them
}

type device struct {
	declared Device
	state    *State // nil before the first Put
	polls    []Poll // oldest first
}

// New returns an empty hub.
func New() *Hub {
	return &Hub{devices: map[ID]*device{}, subscriptions: map[*Subscription]bool{}}
}

// Declare adds a device, or replaces its description. It precedes the first Put.
func (h *Hub) Declare(d Device) {
	h.mu.Lock()
	defer h.mu.Unlock()
	existing := h.devices[d.ID]
	if existing == nil {
		existing = &device{}
		h.devices[d.ID] = existing
		h.order = append(h.order, d.ID)
	}
	existing.declared = d
	h.notify(d.ID, func(c *change) { c.declared = true })
}

// Remove deletes a device that is no longer configured. Stopping removes nothing.
func (h *Hub) Remove(id ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.devices[id] == nil {
		return
	}
	delete(h.devices, id)
	h.order = slices.DeleteFunc(h.order, func(other ID) bool { return other == id })
	h.notify(id, func(c *change) { *c = change{removed: true} })
}

// Put sets the state of a declared device; for another it does nothing. The state must not be changed afterwards.
func (h *Hub) Put(id ID, s State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.devices[id]; d != nil {
		d.state = &s
		h.notify(id, func(c *change) { c.state = true })
	}
}

// Assert has the state published again although it did not change, so that an entity whose command was refused shows the actual
// state.
func (h *Hub) Assert(id ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.devices[id]; d != nil && d.state != nil {
		h.notify(id, func(c *change) { c.assert = true })
	}
}

// Emit passes events of a declared device on, after the states that were put before them.
func (h *Hub) Emit(id ID, events ...entity.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.devices[id] == nil || len(events) == 0 {
		return
	}
	for s := range h.subscriptions {
		for _, e := range events {
			if len(s.events) == maxEvents {
				s.events = s.events[1:]
				s.dropped++
			}
			s.events = append(s.events, Update{ID: id, Event: &e})
		}
		s.wakeUp()
	}
}

// OnPoll has f called with every poll from now on; nil: nothing. f must not block and not use the hub.
func (h *Hub) OnPoll(f func(ID, Poll)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onPoll = f
}

// Record remembers a finished poll; see [Snapshot].
func (h *Hub) Record(id ID, p Poll) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.devices[id]
	if d == nil {
		return
	}
	if len(d.polls) == maxPolls {
		d.polls = slices.Delete(d.polls, 0, 1)
	}
	d.polls = append(d.polls, p)
	if h.onPoll != nil {
		h.onPoll(id, p)
	}
	h.wakeWatchers()
}

// Snapshot returns every device in the order of declaration.
func (h *Hub) Snapshot() []Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Snapshot, 0, len(h.order))
	for _, id := range h.order {
		d := h.devices[id]
		all = append(all, Snapshot{d.declared, d.state, slices.Clone(d.polls)})
	}
	return all
}

// Watch returns a channel that is closed at the next change of what Snapshot returns. Unlike a subscription it costs nothing while
// nobody waits.
func (h *Hub) Watch() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// wakeWatchers is called with mu held.
func (h *Hub) wakeWatchers() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// Get returns one device as it is now.
func (h *Hub) Get(id ID) (s Snapshot, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.devices[id]
	if d == nil {
		return s, false
	}
	return Snapshot{d.declared, d.state, slices.Clone(d.polls)}, true
}

// Ready marks everything configured as declared, so that outputs may remove what an earlier run left.
func (h *Hub) Ready() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = true
	for s := range h.subscriptions {
		s.ready = true
		s.wakeUp()
	}
}

// notify merges a change of one device into the pending changes of each subscription. It is called with mu held.
func (h *Hub) notify(id ID, merge func(*change)) {
	h.wakeWatchers()
	for s := range h.subscriptions {
		s.merge(id, merge)
	}
}

// Subscribe returns a subscription that begins with every device and its state. It must be closed.
func (h *Hub) Subscribe() *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Subscription{hub: h, wake: make(chan struct{}, 1), changes: map[ID]*change{}, ready: h.ready}
	for _, id := range h.order {
		s.merge(id, func(c *change) { *c = change{declared: true, state: h.devices[id].state != nil} })
	}
	h.subscriptions[s] = true
	s.wakeUp()
	return s
}

// A Subscription returns the changes since the last call of Next. Its methods are for one goroutine; Close is for any.
type Subscription struct {
	hub  *Hub
	wake chan struct{}

	// Guarded by hub.mu.
	changes map[ID]*change
	order   []ID // of changes
	events  []Update
	ready   bool // Ready is still to be returned
	dropped uint64
}

// A change lists the parts of a device that are still to be returned.
type change struct{ removed, declared, state, assert bool }

// An Update is one thing that happened: a change of a device, an event, or that everything is declared.
type Update struct {
	ID      ID
	Removed bool          // the device is no longer configured; with a Device, it was declared anew since
	Device  *Device       // set where it was declared
	State   *State        // the newest, set where it changed
	Assert  bool          // publish the state even if it did not change
	Event   *entity.Event // set alone
	Ready   bool          // set alone: everything is declared
}

// Next returns the next update and waits for one if there is none. Devices come in the order in which they changed, Ready after the
// devices declared before it, and events after the states put before them. The error is that of ctx.
func (s *Subscription) Next(ctx context.Context) (Update, error) {
	for {
		if u, ok := s.take(); ok {
			return u, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Update{}, ctx.Err()
		}
	}
}

// Dropped counts the events that were dropped because the subscriber was slow.
func (s *Subscription) Dropped() uint64 {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.dropped
}

// Close ends the subscription; nothing waits for it any more.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subscriptions, s)
}

func (s *Subscription) take() (Update, bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	switch {
	case len(s.order) > 0:
		id := s.order[0]
		s.order = s.order[1:]
		c := *s.changes[id]
		delete(s.changes, id)
		u := Update{ID: id, Removed: c.removed}
		if d := s.hub.devices[id]; d != nil {
			if c.declared {
				declared := d.declared
				u.Device = &declared
			}
			if c.state || c.assert {
				u.State, u.Assert = d.state, c.assert
			}
		}
		return u, true
	case s.ready:
		s.ready = false
		return Update{Ready: true}, true
	case len(s.events) > 0:
		u := s.events[0]
		s.events = s.events[1:]
		return u, true
	}
	return Update{}, false
}

func (s *Subscription) merge(id ID, merge func(*change)) {
	c := s.changes[id]
	if c == nil {
		c = &change{}
		s.changes[id] = c
		s.order = append(s.order, id)
	}
	merge(c)
	s.wakeUp()
}

func (s *Subscription) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
