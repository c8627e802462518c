package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// syncedEvery is how often the time of the last good answer is written to disk where nothing else is.
const syncedEvery = 5 * time.Minute

// A sensor is one configured sensor in the life of its account. It is the services.Target of the requests to it.
type sensor struct {
	account *account
	config  *config.Sensor
	kind    sensors.Kind
	sensors.Sensor
	entities   []entity.Entity // those that the configuration offers
	operations []services.Operation
	poller     *sensors.Poller // nil: it reads nothing itself
	family     *family         // nil: it stands for itself
	parent     *sensor         // of a member
	slug       string          // of its entities' ids
	log        *slog.Logger
	end        func() // ends run, and waits for it

	mu      sync.Mutex
	shown   *sensors.Shown // nil before the first answer
	synced  time.Time      // the last good answer
	err     error          // of the last poll
	written []byte         // the memory as it is on disk
	kept    time.Time      // when
}

// memory is what outlives a restart.
type memory struct {
	Configuration string          `json:"configuration"` // of another one nothing is taken over
	Since         time.Time       `json:"since"`
	Answered      time.Time       `json:"answered"`
	Answer        json.RawMessage `json:"answer"`
}

func newSensor(a *account, c *config.Sensor, kind sensors.Kind) *sensor {
	s := &sensor{
		account: a, config: c, kind: kind, Sensor: c.Options.(sensors.Sensor), log: a.log.With("sensor", c.ID),
		slug: a.config.ID + "_" + c.ID, end: func() {},
	}
	s.operations = offered(c, s.Sensor)
	if expander, ok := expands(c); ok {
		s.family = &family{sensor: s, expander: expander, due: make(chan struct{}, 1)}
		return s
	}
	s.entities = shownEntities(c, s.Sensor, s.operations)
	if c.Read {
		s.poller = &sensors.Poller{
			Sensor: s.Sensor, Graph: a.graph, Interval: c.Interval, Spread: a.config.ID + " " + kind.Name,
			Zone: a.zone, Log: s.log, Show: s.show, Polled: s.polled,
		}
	}
	return s
}

// prepare takes over what an earlier run left, and declares the sensor's device.
func (s *sensor) prepare() {
	if s.family != nil {
		return
	}
	m := s.account.bridge.mqtt
	m.SetDevice(s.device())
	if s.poller == nil {
		return
	}
	s.remember()
	if !s.poller.Known {
		// Home Assistant must find every value, be it unknown.
		now := time.Now().In(s.account.zone())
		unknown := s.State(time.Time{}, now)
		m.Retain(s.topic("attributes"), mqtt.AttributesPayload(unknown))
		m.Retain(s.topic("state"), mqtt.StatePayload(s.entities, unknown))
	}
}

// run lives the sensor until ctx is done.
func (s *sensor) run(ctx context.Context) {
	switch {
	case s.family != nil:
		s.family.run(ctx)
	case s.poller != nil:
		s.poller.Run(ctx)
	default:
		<-ctx.Done()
	}
}

// leave takes the sensor away from Home Assistant, and forgets it.
func (s *sensor) leave() {
	s.account.bridge.mqtt.Remove(s.deviceID())
	s.forget()
}

func (s *sensor) forget() {
	b := s.account.bridge
	for _, err := range []error{b.memories.Delete(s.key()), b.families.Delete(s.key())} {
		if err != nil {
			s.log.Error("what was remembered cannot be forgotten", "error", err)
		}
	}
}

// replace takes away what the sensor before published and this one does not.
func (s *sensor) replace(before *sensor) {
	m := s.account.bridge.mqtt
	switch {
	case s.family != nil && before.family != nil:
		return
	case s.family != nil:
		before.leave() // a family has no device
		return
	case before.family != nil:
		before.forget()
	}
	if before.poller != nil && s.poller == nil {
		for _, name := range []string{"attributes", "state", "items"} {
			m.Retain(s.topic(name), nil)
		}
	}
	if before.commands() && !s.commands() {
		m.Retain(s.topic("commands"), nil)
	}
	if before.config.PublishItems && !s.config.PublishItems {
		m.Retain(s.topic("items"), nil)
	}
}

// offered are the operations that the configuration lets be asked.
func offered(c *config.Sensor, s sensors.Sensor) []services.Operation {
	commander, ok := s.(sensors.Commander)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(commander.Operations(), func(op services.Operation) bool { return refusal(c, op) != "" })
}

// refusal says why the configuration does not offer an operation; "" where it does.
func refusal(c *config.Sensor, op services.Operation) string {
	switch {
	case op.Reads && !c.OnDemand:
		return op.Name + " is not offered without on_demand: true"
	case !op.Reads && !c.EnableUpdate:
		return op.Name + " is not offered without enable_update: true"
	case (op.Optional || len(c.Allow) > 0) && !slices.Contains(c.Allow, op.Name):
		return op.Name + " is not offered: allow does not name it"
	}
	return ""
}

// shownEntities are those of a sensor's entities that the configuration offers.
func shownEntities(c *config.Sensor, s sensors.Sensor, operations []services.Operation) []entity.Entity {
	return slices.DeleteFunc(s.Entities(), func(e entity.Entity) bool {
		if !c.Read && e.Platform != "notify" && e.Platform != "button" {
			return true
		}
		return slices.ContainsFunc(e.Operations, func(name string) bool {
			return !slices.ContainsFunc(operations, func(op services.Operation) bool { return op.Name == name })
		})
	})
}

func (s *sensor) topic(name string) string {
	return s.account.bridge.topics.Sensor(s.account.config.ID, s.config.ID, name)
}

// configuration is a digest of what the remembered answer depends on.
func (s *sensor) configuration() string {
	b, err := json.Marshal([]any{s.kind.Name, s.config.Options, s.account.config.ClientID})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func (s *sensor) deviceID() string {
	return s.account.bridge.topics.ID(s.account.config.ID, s.config.ID)
}

// key is the sensor's in the database.
func (s *sensor) key() string { return s.account.config.ID + "/" + s.config.ID }

// remember takes over the answer of an earlier run.
func (s *sensor) remember() {
	r, ok := s.Sensor.(sensors.Rememberer)
	if !ok {
		return
	}
	value, err := s.account.bridge.memories.Get(s.key())
	if err != nil || value == nil {
		if err != nil {
			s.log.Warn("what was remembered cannot be read", "error", err)
		}
		return
	}
	var m memory
	if err := json.Unmarshal(value, &m); err != nil || m.Configuration != s.configuration() {
		return
	}
	// What cannot be read must leave nothing behind.
	answer := reflect.New(reflect.TypeOf(r.Memory()).Elem())
	if err := json.Unmarshal(m.Answer, answer.Interface()); err != nil {
		s.log.Warn("what was remembered cannot be read", "error", err)
		return
	}
	reflect.ValueOf(r.Memory()).Elem().Set(answer.Elem())
	s.synced, s.written = m.Answered, m.Answer
	s.poller.Since, s.poller.Known, s.poller.Answered = m.Since, true, m.Answered
}

// keep writes the memory where it changed, or where an event is about to be published: one is never published twice.
func (s *sensor) keep(at time.Time, events bool) {
	r, ok := s.Sensor.(sensors.Rememberer)
	if !ok {
		return
	}
	answer, err := json.Marshal(r.Memory())
	if err != nil {
		s.log.Error("the answer cannot be remembered", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(answer) == string(s.written) && !events && time.Since(s.kept) < syncedEvery {
		return
	}
	value, err := json.Marshal(memory{s.configuration(), at, s.synced, answer})
	if err == nil {
		err = s.account.bridge.memories.Put(s.key(), value)
	}
	if err != nil {
		s.log.Error("the answer cannot be remembered", "error", err)
		return
	}
	s.written, s.kept = answer, time.Now()
}

// show is called by the poller.
func (s *sensor) show(shown sensors.Shown) {
	s.mu.Lock()
	first := s.shown == nil
	s.shown, s.synced = &shown, shown.Answered
	s.mu.Unlock()
	s.keep(shown.At, len(shown.Events) > 0)
	s.publish()
	for _, e := range shown.Events {
		s.account.bridge.mqtt.PublishEvent(s.topic("event"), mqtt.EventPayload(e))
	}
	if first {
		s.account.update()
	}
}

// publish sets what the sensor shows.
func (s *sensor) publish() {
	s.mu.Lock()
	shown := s.shown
	s.mu.Unlock()
	if shown == nil {
		return
	}
	m := s.account.bridge.mqtt
	m.Retain(s.topic("attributes"), mqtt.AttributesPayload(shown.State))
	m.Retain(s.topic("state"), mqtt.StatePayload(s.entities, shown.State))
	if s.config.PublishItems {
		m.Retain(s.topic("items"), mqtt.ItemsPayload(shown.State))
	}
}

// polled is called by the poller.
func (s *sensor) polled(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	s.account.update()
}

// staleAfter is how long the last answer is shown while Graph gives no other.
func (s *sensor) staleAfter() time.Duration {
	return max(s.account.config.StaleAfter, 3*s.config.Interval)
}

// status is what the account must know of the sensor.
func (s *sensor) status() (synced time.Time, available bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.family != nil:
		return s.synced, true, s.family.status()
	case s.poller == nil:
		return s.synced, true, nil
	}
	missing := graph.MissingError(s.account.session.Granted(), s.Permissions())
	return s.synced, missing == nil && s.shown != nil && time.Since(s.synced) < s.staleAfter(), s.err
}

// commandable reports whether every operation that has an entity is granted.
func (s *sensor) commandable() bool {
	for _, e := range s.entities {
		for _, name := range e.Operations {
			if _, err := s.Operation(name); err != nil {
				return false
			}
		}
	}
	return true
}

// Set implements services.Target.
func (s *sensor) Set(key, payload string) (string, map[string]any, error) {
	i := slices.IndexFunc(s.entities, func(e entity.Entity) bool { return e.Key == key && e.Parse != nil })
	if i < 0 {
		var known []string
		for _, e := range s.entities {
			if e.Parse != nil {
				known = append(known, e.Key)
			}
		}
		return "", nil, &services.Error{Code: services.UnknownOp, Message: fmt.Sprintf("%s has no entity %q that can be set; known: %s", s.config.ID, key, list(known))}
	}
	operation, request, err := s.entities[i].Parse(payload)
	if err != nil {
		return "", nil, graph.Invalid("%s: %s", key, err)
	}
	return operation, request, nil
}

// Operation implements services.Target.
func (s *sensor) Operation(name string) (services.Operation, error) {
	commander, _ := s.Sensor.(sensors.Commander)
	var all []services.Operation
	if commander != nil {
		all = commander.Operations()
	}
	i := slices.IndexFunc(all, func(op services.Operation) bool { return op.Name == name })
	if i < 0 {
		var known []string
		for _, op := range all {
			known = append(known, op.Name)
		}
		return services.Operation{}, &services.Error{Code: services.UnknownOp, Message: fmt.Sprintf("a sensor of type %s has no operation %q; known: %s", s.kind.Name, name, list(known))}
	}
	op := all[i]
	if why := refusal(s.config, op); why != "" {
		code := services.UpdatesDisabled
		if op.Reads {
			code = services.NotOnDemand
		}
		return op, &services.Error{Code: code, Message: fmt.Sprintf("%s (accounts.%s.sensors.%s)", why, s.account.config.ID, s.config.ID)}
	}
	return op, s.account.ready(op.Permissions)
}

// Member implements services.Target.
func (s *sensor) Member(request json.RawMessage) (string, json.RawMessage, error) {
	if s.family == nil {
		return s.config.ID, request, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(request, &fields); err != nil {
		return "", nil, err
	}
	field := s.kind.MemberField
	var name string
	if json.Unmarshal(fields[field], &name) != nil || name == "" {
		_, known := s.family.find("")
		return "", nil, graph.Invalid("%s: is required, as a text: %s stands for several; known: %s", field, s.config.ID, list(known))
	}
	found, known := s.family.find(name)
	switch len(found) {
	case 0:
		return "", nil, graph.Invalid("%s: want one of %s, not %s", field, list(known), services.QuoteForError(name))
	case 1:
	default:
		var ids []string
		for _, m := range found {
			ids = append(ids, m.ID)
		}
		return "", nil, graph.Invalid("%s: %d are named %s; want the id of one of them: %s", field, len(found), services.QuoteForError(name), list(ids))
	}
	delete(fields, field)
	rest, err := json.Marshal(fields)
	return s.family.id(found[0]), rest, err
}

// Graph implements services.Target.
func (s *sensor) Graph() *graph.Client { return s.account.graph }

// Zone implements services.Target.
func (s *sensor) Zone() *time.Location { return s.account.zone() }

// OnSuccess implements services.Target.
func (s *sensor) OnSuccess(ctx context.Context, operation string, result any) {
	if s.poller != nil {
		s.poller.Apply(ctx, operation, result)
	}
	s.assert()
}

// OnRejected implements services.Target.
func (s *sensor) OnRejected() { s.assert() }

// assert publishes the state again though it did not change: what set an entity shows what is true.
func (s *sensor) assert() { s.account.bridge.mqtt.Republish(s.topic("state")) }

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
