package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// look is how often what changes by time alone (staleness, throttling) is looked at.
const look = 15 * time.Second

// An account is one configured account in the life of the bridge.
type account struct {
	bridge  *Bridge
	config  *config.Account // but for its sensors, which may change: those are in current's
	current atomic.Pointer[config.Account]
	session *auth.Session
	graph   *graph.Client
	desk    *services.Desk
	log     *slog.Logger

	location atomic.Pointer[time.Location]
	zoneDue  chan struct{}

	signing atomic.Pointer[signing] // nil: none was started over MQTT
	todo    chan task
	end     func() // ends run, and waits for it

	mu      sync.Mutex
	sensors map[string]*sensor // members of families among them

	updating sync.Mutex
	lastSync time.Time // as published
	told     string    // the sign-in state that was logged last
}

// A task is something for run to do, with what only run has.
type task func(ctx context.Context, living *sync.WaitGroup, start func(*sensor))

func newAccount(b *Bridge, c *config.Account) (*account, error) {
	a := &account{
		bridge: b, config: c, log: b.log.With("account", c.ID), sensors: map[string]*sensor{},
		zoneDue: make(chan struct{}, 1), todo: make(chan task, 16), end: func() {},
	}
	a.current.Store(c)
	var err error
	if a.session, err = OpenSession(c, b.options.Dir, a.log); err != nil {
		return nil, err
	}
	if a.graph, err = OpenGraph(c, a.session, a.log); err != nil {
		return nil, err
	}
	a.rememberZone()
	for _, configured := range config.Sorted(c.Sensors) {
		for _, s := range a.make(configured) {
			a.sensors[s.config.ID] = s
		}
	}
	a.desk = &services.Desk{
		Account: c.ID, Journal: b.journal, MaxAge: b.config.Commands.MaxAge, Queue: b.config.Commands.Queue,
		Targets: a.target, Publish: b.mqtt.Send, Empty: func(topic string) { b.mqtt.Retain(topic, nil) }, Ended: a.ended, Log: a.log, Step: b.options.Step,
	}
	return a, nil
}

// make makes a configured sensor, and the members that it is known to have.
func (a *account) make(c *config.Sensor) []*sensor {
	s := newSensor(a, c, a.bridge.kind(c.Type))
	if s.family == nil {
		return []*sensor{s}
	}
	return append(s.family.remembered(), s)
}

// prepare takes over what an earlier run left, and declares the account's devices.
func (a *account) prepare() {
	a.desk.Open()
	a.bridge.mqtt.SetDevice(a.device())
	for _, s := range a.all() {
		s.prepare()
	}
	a.update()
}

// run lives the account until ctx is done.
func (a *account) run(ctx context.Context) {
	var living sync.WaitGroup
	defer a.graph.Close()
	defer living.Wait()
	start := func(s *sensor) {
		life, end := context.WithCancel(ctx)
		done := make(chan struct{})
		s.end = func() { end(); <-done }
		living.Go(func() { defer close(done); defer end(); s.run(life) })
	}
	for _, s := range a.all() {
		start(s)
	}
	living.Go(func() { a.desk.Run(ctx) })
	living.Go(func() { a.session.Watch(ctx) })
	living.Go(func() { a.keepZone(ctx) })
	ticker, hourly := time.NewTicker(look), time.NewTicker(extendEvery)
	defer ticker.Stop()
	defer hourly.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-hourly.C:
			living.Go(func() { a.extend(ctx) })
		case do := <-a.todo:
			do(ctx, &living, start)
		case <-a.session.Changed():
			if a.signedIn() {
				a.refresh()
				a.rescan()
				a.askZoneAgain()
			}
		}
		a.update()
	}
}

// change has the account's sensors changed: those that go, by id, and those that come. One that comes by the id of one that
// goes takes its place. It returns when that is done or ctx is.
func (a *account) change(ctx context.Context, gone []string, come []*sensor) {
	done := make(chan struct{})
	select {
	case a.todo <- func(_ context.Context, _ *sync.WaitGroup, start func(*sensor)) {
		defer close(done)
		if ctx.Err() != nil {
			return // who asked for it was taken out meanwhile
		}
		before := a.take(gone)
		for _, s := range come {
			maps.Copy(before, a.take([]string{s.config.ID}))
			a.mu.Lock()
			a.sensors[s.config.ID] = s
			a.mu.Unlock()
			if b, ok := before[s.config.ID]; ok {
				a.removing(func() { s.replace(b) })
				delete(before, s.config.ID)
			}
			s.prepare()
			start(s)
		}
		a.removing(func() {
			for _, s := range before {
				s.leave()
			}
		})
	}:
		select {
		case <-done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

// take ends sensors, with the members of families, and takes them out.
func (a *account) take(ids []string) map[string]*sensor {
	taken := map[string]*sensor{}
	for _, id := range ids {
		s := a.sensor(id)
		if s == nil {
			continue
		}
		s.end()
		a.mu.Lock()
		delete(a.sensors, id)
		a.mu.Unlock()
		taken[id] = s
		if s.family != nil {
			maps.Copy(taken, a.take(a.members(s)))
		}
	}
	return taken
}

// members are the ids of a family's members.
func (a *account) members(of *sensor) []string {
	var ids []string
	for _, s := range a.all() {
		if s.parent == of {
			ids = append(ids, s.config.ID)
		}
	}
	return ids
}

// removing removes topics of sensors that were taken out. An update that began before would publish them again.
func (a *account) removing(remove func()) {
	a.updating.Lock()
	defer a.updating.Unlock()
	remove()
}

// all are the account's sensors by id.
func (a *account) all() []*sensor {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ss []*sensor
	for _, s := range config.Sorted(a.sensors) {
		ss = append(ss, s)
	}
	return ss
}

func (a *account) sensor(id string) *sensor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sensors[id]
}

func (a *account) signedIn() bool { return a.session.Status().State == auth.SignedIn }

// ready says why the permissions are not usable now: nil, or a *graph.Error.
func (a *account) ready(permissions []graph.Permission) error {
	if s := a.session.Status(); s.State != auth.SignedIn {
		return &graph.Error{Reason: graph.SignInRequired, Message: s.Message}
	}
	return graph.MissingError(a.session.Granted(), permissions)
}

// refresh polls every sensor now.
func (a *account) refresh() {
	for _, s := range a.all() {
		if s.poller != nil {
			s.poller.Refresh()
		}
	}
}

// rescan looks for new and lost members of families now.
func (a *account) rescan() {
	for _, s := range a.all() {
		if s.family != nil {
			s.family.rescan()
		}
	}
}

func (a *account) topic(name string) string { return a.bridge.topics.Account(a.config.ID, name) }

// target implements services.Desk's Targets.
func (a *account) target(id string) (services.Target, error) {
	if s := a.sensor(id); s != nil {
		return s, nil
	}
	var known []string
	for _, s := range a.all() {
		known = append(known, s.config.ID)
	}
	return nil, &services.Error{Code: services.UnknownSensor, Message: fmt.Sprintf("account %s has no sensor %q; known: %s", a.config.ID, id, list(known))}
}

// kind is a kind of sensor that the configuration was checked against.
func (b *Bridge) kind(name string) sensors.Kind {
	return b.options.Kinds[slices.IndexFunc(b.options.Kinds, func(k sensors.Kind) bool { return k.Name == name })]
}
