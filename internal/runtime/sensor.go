package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A sensor is one configured sensor, or one member of a group. It implements services.Target.
type sensor struct {
	account    *account
	config     *config.Sensor
	graph      *graph.Client // of the mailbox of an organization's sensor, otherwise the account's
	kind       sensors.Kind
	source     sensors.Sensor
	entities   []entity.Entity      // those that the configuration offers
	operations []services.Operation // those that the configuration offers
	poller     sensors.Poller       // nil: it reads nothing
	group      *group               // nil: it is one sensor
	parent     *sensor              // of a member, its group
	slug       string               // prefix of its entity ids
	mailbox    string               // of an organization's sensor, as in the resources of subscriptions; otherwise ""
	isNew      bool                 // what was stored is another user's
	log        *slog.Logger

	mu             sync.Mutex
	state          *sensors.State // newest; nil before the first answer
	lastSync       time.Time      // of the last successful poll, by the wall clock
	err            error          // of the last poll
	since          time.Time      // of err
	polledAt       time.Time      // when the last poll began
	unauthorizedAt time.Time      // when the first of the polls began that Graph answered with 401; zero: the last one was not
	requested      bool           // a read was requested
	refreshed      bool           // a requested read has ended
	put            *hub.State     // as given to the hub last
	push           sensorPush
}

func (a *account) newSensor(c *config.Sensor) *sensor {
	kind := a.runtime.kind(c.Type)
	s := &sensor{
		account: a, config: c, graph: a.graph, kind: kind, source: c.Options.(sensors.Sensor), log: a.log.With("sensor", c.ID), slug: sensorSlug(a.config, c),
		mailbox: resourceMailbox(c),
	}
	if c.User != "" {
		s.graph = a.graph.ForMailbox(c.User)
	}
	s.operations = Operations(c)
	if g := s.source.Group(); g != nil {
		s.group = &group{sensor: s, source: g, due: make(chan struct{}, 1)}
		return s
	}
	s.entities = offeredEntities(c, s.source, s.operations)
	return s
}

// open makes the sensor's poller, which continues with the stored snapshot. A sensor with the same id must have ended.
func (s *sensor) open() {
	if s.group != nil || !s.config.Read {
		return
	}
	a := s.account
	s.poller = s.source.NewPoller(sensors.PollerOptions{
		Graph: s.graph, Interval: s.config.Interval, Pause: a.runtime.options.Pause, PhaseKey: s.phaseKey(), Location: a.location, Log: s.log,
		Store: a.runtime.options.Store, Key: s.key(), Stored: s.stored(),
		OnState: s.onState, OnEvents: s.onEvents, OnPoll: s.onPoll,
		Explain: func(err error) error { return ExplainMailbox(s.config, s.source.Permissions(), err) },
	})
	if s.poller.HasAnswer() {
		s.state = &sensors.State{State: s.poller.Initial()}
	}
	if a.runtime.notifier != nil {
		if value, err := a.runtime.options.Store.Get(wakeupsBucket, s.key()); err == nil && value != nil {
			s.push.recorded = true
			s.poller.Wake()
		}
	}
}

// phaseKey returns the key of the sensors that poll at the same moments, because they share requests. Those of different mailboxes share none:
// an organization can have thousands, whose polls are spread over the interval.
func (s *sensor) phaseKey() string {
	return strings.TrimSpace(s.account.config.ID + " " + cmp.Or(s.kind.PollsWith, s.kind.Name) + " " + s.mailbox)
}

// newSensors returns a configured sensor and, of a group, the members that an earlier run knew.
func (a *account) newSensors(c *config.Sensor) []*sensor {
	s := a.newSensor(c)
	if s.group == nil {
		return []*sensor{s}
	}
	return append(s.group.restored(), s)
}

func (s *sensor) id() hub.ID { return hub.ID{Account: s.account.config.ID, Sensor: s.config.ID} }

// key is the sensor's key in buckets of the store.
func (s *sensor) key() string { return s.account.config.ID + "/" + s.config.ID }

// membersKey is the key of a group's members in their bucket: those of another mailbox are others.
func (s *sensor) membersKey() string {
	if s.config.User == "" {
		return s.key()
	}
	return s.key() + " " + strings.ToLower(s.config.User)
}

func (s *sensor) stored() []byte {
	if s.isNew {
		return nil
	}
	record, err := s.account.runtime.options.Store.Get(sensors.Bucket, s.key())
	if err != nil {
		s.log.Warn("stored snapshot unreadable", "error", err)
	}
	return record
}

// declare declares the sensor to the hub. Every value exists from the start, even if it is unknown.
func (s *sensor) declare() {
	if s.group != nil {
		return
	}
	s.account.runtime.options.Hub.Declare(s.device())
	s.mu.Lock()
	if s.put == nil && s.poller != nil && s.state == nil {
		s.put = &hub.State{State: s.poller.Initial()}
	}
	s.mu.Unlock()
	s.publish(true)
}

// Run polls, or follows the members of a group, until ctx is done.
func (s *sensor) Run(ctx context.Context) error {
	switch {
	case s.group != nil:
		return s.group.Run(ctx)
	case s.poller != nil:
		return s.poller.Run(ctx)
	}
	<-ctx.Done()
	return nil
}

// refresh reads as soon as allowed.
func (s *sensor) refresh() {
	if s.poller == nil {
		return
	}
	s.mu.Lock()
	s.requested = true
	s.mu.Unlock()
	s.poller.Refresh()
}

// remove deletes the sensor from the outputs and the store.
func (s *sensor) remove() {
	s.account.runtime.options.Hub.Remove(s.id())
	s.forget()
}

func (s *sensor) forget() {
	s.account.runtime.options.Store.Commit(func(tx services.Tx) {
		tx.Delete(sensors.Bucket, s.key())
		tx.Delete(membersBucket, s.membersKey())
		if s.account.runtime.notifier != nil {
			tx.Delete(wakeupsBucket, s.key())
		}
	}, s.account.logStoreError)
}

// supersede hands over to another sensor with the same id, and deletes what it does not continue. s has ended, successor has not begun.
func (s *sensor) supersede(successor *sensor) {
	switch {
	case successor.poller != nil && successor.poller.HasAnswer(): // with the same options
		successor.lastSync, successor.err, successor.since = s.lastSync, s.err, s.since
	case s.group == nil && successor.group != nil:
		s.remove() // a group has no device
	case s.group != nil && (successor.group == nil || s.membersKey() != successor.membersKey()):
		s.forget()
	}
}

// Operations returns the operations that the configuration of a sensor offers.
func Operations(c *config.Sensor) []services.Operation {
	return slices.DeleteFunc(allOperations(c.Options.(sensors.Sensor)), func(op services.Operation) bool { return refusal(c, op) != "" })
}

// refusal returns the reason why the configuration does not offer an operation, or "".
func refusal(c *config.Sensor, op services.Operation) string {
	switch {
	case userOnly(c, op) != "":
		return op.Name + " is not offered: " + userOnly(c, op)
	case op.Reads && !c.OnDemand:
		return op.Name + " is not offered without on_demand: true"
	case !op.Reads && !c.EnableUpdate:
		return op.Name + " is not offered without enable_update: true"
	case op.Optional && !slices.Contains(c.Allow, op.Name):
		return op.Name + " is offered only where allow names it"
	case !op.Optional && len(c.Allow) > 0 && !slices.Contains(c.Allow, op.Name) && !slices.Contains(c.Allow, allowDefault):
		return op.Name + " is not offered: allow does not name it"
	}
	return ""
}

// allowDefault stands in `allow` for the operations that are offered without it.
const allowDefault = "default"

// offeredEntities returns the entities whose operations are all offered. Without reading only those that show no value are.
func offeredEntities(c *config.Sensor, s sensors.Sensor, operations []services.Operation) []entity.Entity {
	return slices.DeleteFunc(s.Entities(), func(e entity.Entity) bool {
		if !c.Read && e.Platform != "notify" && e.Platform != "button" {
			return true
		}
		return slices.ContainsFunc(e.Operations, func(name string) bool {
			return !slices.ContainsFunc(operations, func(op services.Operation) bool { return op.Name == name })
		})
	})
}

func (s *sensor) onState(state sensors.State) {
	s.mu.Lock()
	first := s.state == nil || s.state.Snapshot == nil // which names what announces its changes
	s.state = &state
	if state.AnsweredAt.After(s.lastSync) {
		s.lastSync = state.AnsweredAt
	}
	s.mu.Unlock()
	s.publish(true)
	if first {
		signal(s.account.dirty)
		s.account.subscriber.changed()
	}
}

func (s *sensor) onEvents(events []entity.Event) {
	s.account.runtime.options.Hub.Emit(s.id(), events...)
}

func (s *sensor) onPoll(p sensors.Poll) {
	s.record(p)
	s.account.subscriber.polled(s, p)
	s.mu.Lock()
	changed := (p.Err == nil) != (s.err == nil) || p.Err != nil && p.Err.Error() != s.err.Error()
	if p.Err == nil {
		s.lastSync = time.Now().Round(0) // by the wall clock: values from before the machine slept are stale
		s.refreshed, s.requested = s.refreshed || s.requested, false
	} else if s.err == nil {
		s.since = p.At
	}
	if !graph.IsUnauthorized(p.Err) {
		s.unauthorizedAt = time.Time{}
	} else if s.unauthorizedAt.IsZero() {
		s.unauthorizedAt = p.At
	}
	s.err, s.polledAt = p.Err, p.At
	s.mu.Unlock()
	if changed {
		s.publish(false)
	}
	signal(s.account.dirty)
}

// record passes a finished poll on to the hub.
func (s *sensor) record(p sensors.Poll) {
	s.mu.Lock()
	var state entity.State
	if s.state != nil {
		state = s.state.State
	}
	s.mu.Unlock()
	poll := hub.Poll{At: p.At.UTC(), Duration: p.Took, Next: p.Next.UTC()}
	if p.Err != nil {
		poll.Failure = failureOf(p.Err)
	} else {
		poll.Items, poll.ItemsKey = len(state.Items), state.ItemsKey
	}
	s.account.runtime.options.Hub.Record(s.id(), poll)
}

// maxFailure bounds the length of the message of a failed poll in the hub.
const maxFailure = 500

// failureOf describes a failed poll.
func failureOf(err error) *hub.Problem {
	p := &hub.Problem{Code: string(services.Internal), Message: err.Error()}
	var e *graph.Error
	if errors.As(err, &e) {
		p.Code = string(e.Reason)
		if e.RequestID != "" {
			p.Message += "; request id " + e.RequestID
		}
	}
	p.Message = services.Truncate(p.Message, maxFailure)
	return p
}

// publish gives the hub the sensor's state if anything but the time of the last read differs from what it has.
func (s *sensor) publish(stateChanged bool) {
	if s.group != nil {
		return
	}
	available, _ := s.available(time.Now())
	commands := s.commandable()
	problem := s.problem()
	s.mu.Lock()
	defer s.mu.Unlock()
	next := hub.State{Available: available, Commands: commands, Problem: problem, LastSync: s.lastSync}
	switch {
	case s.state != nil:
		next.State = s.state.State
	case s.put != nil:
		next.State = s.put.State // unknown values
	}
	next.Events = nil
	if before := s.put; before != nil && !stateChanged && before.Available == next.Available && before.Commands == next.Commands && equalProblem(before.Problem, next.Problem) {
		return
	}
	s.put = &next
	s.account.runtime.options.Hub.Put(s.id(), next)
}

func equalProblem(a, b *hub.Problem) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Code == b.Code && a.Message == b.Message
}

// staleAfter returns how long the last answer is shown while Graph gives no other.
func (s *sensor) staleAfter() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.account.config.StaleAfter, 3*s.config.Interval, 3*s.push.interval)
}

// available reports whether the sensor's values are current, and until when they are if nothing is read.
func (s *sensor) available(now time.Time) (available bool, until time.Time) {
	if s.group != nil || !s.config.Read {
		return true, time.Time{}
	}
	granted := s.account.missingError(s.source.Permissions()) == nil
	staleAfter := s.staleAfter()
	s.mu.Lock()
	defer s.mu.Unlock()
	until = s.lastSync.Add(staleAfter)
	// Which mailboxes an application may read is not known before.
	denied := s.account.config.Application && graph.Is(s.err, graph.PermissionMissing)
	return granted && !denied && s.state != nil && now.Before(until) && !graph.Is(s.err, graph.NotFound), until
}

// problem returns the sensor's problem for the user, nil if there is none. A required sign-in is a problem of the account instead.
func (s *sensor) problem() *hub.Problem {
	if !s.account.signedIn() {
		return nil
	}
	if s.config.Read {
		if err := s.account.missing(s.source.Permissions()); err != nil {
			return &hub.Problem{Code: string(graph.PermissionMissing), Message: err.Error()}
		}
	}
	err := s.pollError()
	if err == nil || graph.Is(err, graph.SignInRequired) {
		return nil
	}
	s.mu.Lock()
	since := s.since
	s.mu.Unlock()
	p := &hub.Problem{Code: string(services.Internal), Message: err.Error(), Since: since.UTC().Truncate(time.Second)}
	var e *graph.Error
	if errors.As(err, &e) {
		p.Code = string(e.Reason)
		if e.Explanation != "" {
			p.Message = e.Explanation
		}
	}
	return p
}

// pollError returns the error of the last poll or listing.
func (s *sensor) pollError() error {
	if s.group != nil {
		return s.group.listingError()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// commandable reports whether the operations behind the sensor's entities can be requested; without such entities, all that are
// offered.
func (s *sensor) commandable() bool {
	var names []string
	for _, e := range s.entities {
		names = append(names, e.Operations...)
	}
	if names == nil {
		names = operationNames(s.operations)
	}
	checker, checks := s.source.Options().(operationChecker)
	return !slices.ContainsFunc(names, func(name string) bool {
		i := slices.IndexFunc(s.operations, func(op services.Operation) bool { return op.Name == name })
		return i < 0 || checks && checker.CheckOperation(name) != nil || s.account.checkGranted(s.operations[i].Permissions) != nil
	})
}

// Parse implements services.Target.
func (s *sensor) Parse(key, value string) (string, map[string]json.RawMessage, error) {
	i := slices.IndexFunc(s.entities, func(e entity.Entity) bool { return e.Key == key && e.Parse != nil })
	if i < 0 {
		if err := s.notOffered(key); err != nil {
			return "", nil, err
		}
		var known []string
		for _, e := range s.entities {
			if e.Parse != nil {
				known = append(known, e.Key)
			}
		}
		hint := ""
		if slices.Contains(operationNames(offeredToAll(s.operations)), key) {
			hint = "; requests are published to …/request/" + key
		}
		return "", nil, &services.Error{Code: services.UnknownOp, Message: fmt.Sprintf("%s has no entity %s that can be set; known: %s%s", s.config.ID, services.QuoteForError(key), list(known), hint)}
	}
	if value == "" && s.entities[i].Platform != "text" {
		return "", nil, services.ErrEmptyValue
	}
	s.mu.Lock()
	var shown entity.State
	if s.state != nil {
		shown = s.state.State
	}
	s.mu.Unlock()
	operation, fields, err := s.entities[i].Request(value, shown)
	if err != nil {
		return "", nil, graph.Invalid("%s: %s", key, err)
	}
	raw := map[string]json.RawMessage{}
	for name, field := range fields {
		if raw[name], err = json.Marshal(field); err != nil {
			return "", nil, err
		}
	}
	return operation, raw, nil
}

// notOffered returns an error that names what the configuration lacks for an entity that the type of the sensor can set, or nil.
func (s *sensor) notOffered(key string) error {
	for _, e := range s.source.Entities() {
		if e.Key != key || e.Parse == nil {
			continue
		}
		for _, name := range e.Operations {
			if _, err := s.configured(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Operation implements services.Target.
func (s *sensor) Operation(name string) (services.Operation, error) {
	op, err := s.configured(name)
	if err != nil {
		return op, err
	}
	return op, s.account.checkGranted(op.Permissions)
}

// configured returns an operation of the sensor's type, with an error where the configuration does not offer it.
func (s *sensor) configured(name string) (services.Operation, error) {
	if o, ok := s.source.Options().(operationChecker); ok {
		if err := o.CheckOperation(name); err != nil {
			return services.Operation{}, &services.Error{Code: services.UnknownOp, Message: err.Error()}
		}
	}
	op, err := FindOperation("a sensor of type "+s.kind.Name, allOperations(s.source), name)
	if err != nil {
		return op, err
	}
	if why := refusal(s.config, op); why != "" {
		code := services.UpdatesDisabled
		switch {
		case userOnly(s.config, op) != "":
			code = services.UnknownOp
		case op.Reads:
			code = services.NotOnDemand
		}
		return op, &services.Error{Code: code, Message: fmt.Sprintf("%s (%s.sensors.%s)", why, s.account.config.Path(), s.config.ID)}
	}
	return op, nil
}

// Resolve implements services.Target.
func (s *sensor) Resolve(_ context.Context, fields map[string]json.RawMessage) (services.Ref, services.Target, error) {
	ref := services.Ref{Account: s.account.config.ID, Sensor: s.config.ID}
	if s.group == nil {
		return ref, s, nil
	}
	member, err := s.group.resolve(fields)
	if err != nil {
		return ref, s, err
	}
	ref.Sensor = member.config.ID
	return ref, member, nil
}

// Graph implements services.Target.
func (s *sensor) Graph() *graph.Client { return s.graph }

// Explain implements services.Explainer.
func (s *sensor) Explain(op services.Operation, err error) error {
	return ExplainMailbox(s.config, op.Permissions, err)
}

// User implements services.Target.
func (s *sensor) User() string { return s.account.userID() }

// Location implements services.Target.
func (s *sensor) Location() *time.Location { return s.account.location() }

// OnSuccess implements services.Target.
func (s *sensor) OnSuccess(ctx context.Context, operation string, result any) (persist func(services.Tx)) {
	if op, err := s.configured(operation); err == nil && op.OfGroup {
		s.relist()
	}
	if s.poller != nil {
		persist = s.poller.Apply(ctx, result)
	}
	s.OnRejected()
	return persist
}

// relist lists the members of the group, which s is or is a member of.
func (s *sensor) relist() {
	for _, of := range []*sensor{s, s.parent} {
		if of != nil && of.group != nil {
			signal(of.group.due)
		}
	}
}

// OnRejected implements services.Target: the entity that sent the command falls back to the actual state.
func (s *sensor) OnRejected() { s.account.runtime.options.Hub.Assert(s.id()) }
