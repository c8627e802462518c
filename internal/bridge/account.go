package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	// lastSyncEvery is how often last_sync is published: a value that changes with each poll fills Home Assistant's database.
	lastSyncEvery = 5 * time.Minute
	// look is how often what changes by time alone (staleness, throttling) is looked at.
	look = 15 * time.Second
	// zoneEvery is how often the mailbox is asked for its time zone.
	zoneEvery = 24 * time.Hour
	// zoneRetry is how soon after a failure.
	zoneRetry = time.Minute
)

// An account is one configured account in the life of the bridge.
type account struct {
	bridge  *Bridge
	config  *config.Account
	session *auth.Session
	graph   *graph.Client
	desk    *services.Desk
	sensors []*sensor
	log     *slog.Logger

	location atomic.Pointer[time.Location]
	zoneDue  chan struct{}

	mu       sync.Mutex
	lastSync time.Time // as published
	failing  string    // the sign-in state that was logged last
	online   bool
}

func newAccount(b *Bridge, c *config.Account) (*account, error) {
	a := &account{bridge: b, config: c, log: b.log.With("account", c.ID), zoneDue: make(chan struct{}, 1)}
	var err error
	if a.session, err = OpenSession(c, b.options.Dir, a.log); err != nil {
		return nil, err
	}
	transport, err := Transport(c)
	if err != nil {
		return nil, err
	}
	a.graph, err = graph.New(graph.Options{
		Root: c.Cloud.Graph, Transport: transport, Tokens: a.session, ClientID: c.ClientID, Log: a.log,
	})
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", c.ID, err)
	}
	a.rememberZone()
	for _, s := range config.Sorted(c.Sensors) {
		kind := slices.IndexFunc(b.options.Kinds, func(k sensors.Kind) bool { return k.Name == s.Type })
		a.sensors = append(a.sensors, newSensor(a, s, b.options.Kinds[kind]))
	}
	a.desk = &services.Desk{
		Account: c.ID, Journal: b.journal, MaxAge: b.config.Commands.MaxAge, Queue: b.config.Commands.Queue,
		Targets: a.target, Publish: b.mqtt.Send, Empty: func(topic string) { b.mqtt.Retain(topic, nil) }, Ended: a.ended, Log: a.log, Step: b.options.Step,
	}
	a.desk.Open()
	return a, nil
}

// run lives the account until ctx is done.
func (a *account) run(ctx context.Context) error {
	var g errgroup.Group
	for _, s := range a.sensors {
		if s.poller != nil {
			g.Go(func() error { s.poller.Run(ctx); return nil })
		}
	}
	g.Go(func() error { a.desk.Run(ctx); return nil })
	g.Go(func() error { a.session.Watch(ctx); return nil })
	g.Go(func() error { a.watch(ctx); return nil })
	g.Go(func() error { a.keepZone(ctx); return nil })
	return g.Wait()
}

// watch publishes what changes by a sign-in and by time.
func (a *account) watch(ctx context.Context) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-a.session.Changed():
			if a.signedIn() {
				a.refresh()
				select {
				case a.zoneDue <- struct{}{}:
				default:
				}
			}
		}
		a.update()
	}
}

func (a *account) signedIn() bool { return a.session.Status().State == auth.SignedIn }

// ready says why these needs cannot be had now: nil, or a *graph.Error.
func (a *account) ready(needs []graph.Need) error {
	if s := a.session.Status(); s.State != auth.SignedIn {
		return &graph.Error{Reason: graph.SignInRequired, Message: s.Message}
	}
	return graph.Missing(a.session.Granted(), needs)
}

// refresh polls every sensor now.
func (a *account) refresh() {
	for _, s := range a.sensors {
		if s.poller != nil {
			s.poller.Refresh()
		}
	}
}

func (a *account) topic(name string) string { return a.bridge.topics.Account(a.config.ID, name) }

func (a *account) target(id string) (services.Target, error) {
	var known []string
	for _, s := range a.sensors {
		if s.config.ID == id {
			return s, nil
		}
		known = append(known, s.config.ID)
	}
	return nil, &services.Error{Code: services.UnknownSensor, Message: fmt.Sprintf("account %s has no sensor %q; known: %s", a.config.ID, id, list(known))}
}

// ended tells Home Assistant how a request ended.
func (a *account) ended(sensor string, r services.Response) {
	e := entity.Event{Type: "command_ok", Data: map[string]any{"sensor": sensor, "op": r.Op, "transaction": r.Transaction}}
	if r.Error != nil {
		e.Type = "command_failed"
		e.Data["code"], e.Data["message"] = r.Error.Code, r.Error.Message
	}
	a.bridge.mqtt.Emit(a.topic("event"), mqtt.EventPayload(e))
}

// status is what the account's status topic tells. Every key is always present.
type status struct {
	SignIn         signIn     `json:"sign_in"`
	Connected      bool       `json:"connected"` // signed in, and the last polls succeeded
	User           *string    `json:"user"`
	Granted        []string   `json:"granted"`
	Missing        []missing  `json:"missing"`
	LastSync       *time.Time `json:"last_sync"`
	ThrottledUntil *time.Time `json:"throttled_until"`
	Error          *string    `json:"error"`
}

type signIn struct {
	State     auth.State `json:"state"`
	Message   *string    `json:"message"`
	URL       *string    `json:"url"`
	Code      *string    `json:"code"`
	ExpiresAt *time.Time `json:"expires_at"`
}

type missing struct {
	Sensor  string `json:"sensor"`
	Scope   string `json:"scope"`
	Message string `json:"message"`
}

// update publishes the account's status and all availabilities.
func (a *account) update() {
	m := a.bridge.mqtt
	a.mu.Lock()
	defer a.mu.Unlock()
	session := a.session.Status()
	signedIn := session.State == auth.SignedIn
	s := status{SignIn: signIn{State: session.State, Message: text(session.Message)}, Connected: signedIn,
		User: text(session.User.Address), Granted: sorted(a.session.Granted()), Missing: []missing{}}
	var synced time.Time
	alive := len(a.sensors) == 0
	for _, sensor := range a.sensors {
		at, available, err := sensor.status()
		if at.After(synced) {
			synced = at
		}
		alive = alive || sensor.poller == nil || time.Since(at) < sensor.staleAfter()
		if signedIn {
			s.Missing = append(s.Missing, a.missing(sensor)...)
		}
		if err != nil && signedIn && !graph.Is(err, graph.PermissionMissing) && !graph.Is(err, graph.SignInRequired) {
			s.Connected = false
			if s.Error == nil {
				s.Error = text(sensor.config.ID + ": " + err.Error())
			}
		}
		m.Retain(sensor.topic("availability"), availability(available))
		if sensor.commands() {
			m.Retain(sensor.topic("commands"), availability(sensor.commandable()))
		}
	}
	if synced.Sub(a.lastSync) >= lastSyncEvery {
		a.lastSync = synced
	}
	s.LastSync = moment(a.lastSync)
	if until := a.graph.Stats().ThrottledUntil; until.After(time.Now()) {
		s.ThrottledUntil = moment(until)
	}
	payload, err := json.Marshal(s)
	if err != nil {
		a.log.Error("the account's status cannot be written as JSON", "error", err)
		return
	}
	m.Retain(a.topic("status"), payload)
	m.Retain(a.topic("state"), availability(signedIn && alive))
	a.tell(session)
}

// tell says once on the log and as an event that a sign-in is required, and that it was done.
func (a *account) tell(s auth.Status) {
	if string(s.State)+s.Message == a.failing {
		return
	}
	first := a.failing == ""
	a.failing = string(s.State) + s.Message
	if s.State == auth.SignedIn {
		a.log.Info("signed in", "granted", strings.Join(sorted(s.Granted), " "))
		if !first {
			a.bridge.mqtt.Emit(a.topic("event"), mqtt.EventPayload(entity.Event{Type: "signed_in", Data: map[string]any{"user": s.User.Address}}))
		}
	} else {
		a.log.Warn("a sign-in is required", "state", s.State, "message", s.Message)
		a.bridge.mqtt.Emit(a.topic("event"), mqtt.EventPayload(entity.Event{Type: "sign_in_required", Data: map[string]any{"message": s.Message}}))
	}
}

// missing says what a sensor would need and was not granted.
func (a *account) missing(s *sensor) []missing {
	granted := a.session.Granted()
	ms := []missing{}
	readable := true
	if s.poller != nil {
		for _, n := range s.Needs() {
			if err := graph.Missing(granted, []graph.Need{n}); err != nil {
				readable = false
				ms = append(ms, missing{s.config.ID, n.Scope, err.Error()})
			}
		}
	}
	for _, op := range s.operations {
		for _, n := range op.Needs {
			if n.Satisfied(granted) || slices.ContainsFunc(ms, func(m missing) bool { return m.Scope == n.Scope }) {
				continue
			}
			message := "read-only: " + n.Scope + " not granted"
			if s.poller == nil || !readable {
				message = n.Scope + " not granted"
			}
			ms = append(ms, missing{s.config.ID, n.Scope, message})
		}
	}
	return ms
}

// rememberZone sets the account's time zone as far as it is known without asking.
func (a *account) rememberZone() {
	a.location.Store(time.Local)
	switch name := a.config.Timezone; name {
	case "auto", "mailbox":
		value, err := a.bridge.zones.Get(a.zoneKey())
		if err == nil && value != nil && a.asksZone() {
			if loc, err := time.LoadLocation(string(value)); err == nil {
				a.location.Store(loc)
			}
		}
	case "local":
	default:
		if loc, err := time.LoadLocation(name); err == nil { // it was checked when the configuration was loaded
			a.location.Store(loc)
		}
	}
	if a.zone() == time.Local && !a.asksZone() && os.Getenv("TZ") == "" && isUTC(time.Local) {
		a.log.Warn("the machine's time zone is UTC; set TZ, or the account's timezone, where that is wrong")
	}
}

func isUTC(loc *time.Location) bool {
	year := time.Now().Year()
	for _, month := range []time.Month{time.January, time.July} {
		if _, offset := time.Date(year, month, 1, 0, 0, 0, 0, loc).Zone(); offset != 0 {
			return false
		}
	}
	return true
}

func (a *account) zoneKey() string { return a.config.ID }

// asksZone reports whether the mailbox is asked for its time zone: where that is configured, or permitted anyway.
func (a *account) asksZone() bool {
	switch a.config.Timezone {
	case "mailbox":
		return true
	case "auto":
		return slices.ContainsFunc(Needs(a.config), func(n graph.Need) bool { return zoneNeed.Satisfied([]string{n.Scope}) })
	}
	return false
}

func (a *account) zone() *time.Location { return a.location.Load() }

// keepZone follows the mailbox's time zone.
func (a *account) keepZone(ctx context.Context) {
	if !a.asksZone() {
		return
	}
	var told string
	for ctx.Err() == nil {
		wait := zoneRetry
		if a.ready([]graph.Need{zoneNeed}) == nil {
			loc, err := a.graph.MailboxZone(ctx)
			switch {
			case err == nil:
				wait = zoneEvery
				if loc.String() != a.zone().String() {
					a.location.Store(loc)
					if err := a.bridge.zones.Put(a.zoneKey(), []byte(loc.String())); err != nil {
						a.log.Error("the time zone cannot be remembered", "error", err)
					}
					a.refresh()
				}
			case ctx.Err() == nil && err.Error() != told:
				told = err.Error()
				a.log.Warn("the mailbox's time zone is not known", "using", a.zone().String(), "error", err)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.zoneDue:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func availability(online bool) []byte {
	if online {
		return []byte("online")
	}
	return []byte("offline")
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}
