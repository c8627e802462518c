package bridge

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// lastSyncEvery is how often last_sync is published: a value that changes with each poll fills Home Assistant's database.
const lastSyncEvery = 5 * time.Minute

// accountStatus is what the account's status topic tells. Every key is always present.
type accountStatus struct {
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
	a.updating.Lock()
	defer a.updating.Unlock()
	session := a.session.Status()
	signedIn := session.State == auth.SignedIn
	s := accountStatus{
		SignIn: a.signInStatus(session), Connected: signedIn, User: text(session.User.Address),
		Granted: sorted(a.session.Granted()), Missing: []missing{},
	}
	var synced time.Time
	polling, fresh := 0, 0
	for _, sensor := range a.all() {
		at, available, err := sensor.status()
		if at.After(synced) {
			synced = at
		}
		if sensor.poller != nil {
			polling++
			if time.Since(at) < sensor.staleAfter() {
				fresh++
			}
		}
		if signedIn && sensor.parent == nil {
			s.Missing = append(s.Missing, a.missing(sensor)...)
		}
		if err != nil && signedIn && !graph.Is(err, graph.PermissionMissing) && !graph.Is(err, graph.SignInRequired) {
			s.Connected = false
			if s.Error == nil {
				s.Error = text(sensor.config.ID + ": " + err.Error())
			}
		}
		if sensor.family != nil {
			continue
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
	m.Retain(a.topic("state"), availability(signedIn && (polling == 0 || fresh > 0)))
	a.tell(session)
}

// tell says once on the log and as an event that a sign-in is required, and that it was done.
func (a *account) tell(s auth.Status) {
	if string(s.State)+s.Message == a.told {
		return
	}
	first := a.told == ""
	a.told = string(s.State) + s.Message
	if s.State == auth.SignedIn {
		a.log.Info("signed in", "granted", strings.Join(sorted(s.Granted), " "))
		if !first {
			a.bridge.mqtt.PublishEvent(a.topic("event"), mqtt.EventPayload(entity.Event{Type: "signed_in", Data: map[string]any{"user": s.User.Address}}))
		}
	} else {
		a.log.Warn("a sign-in is required", "state", s.State, "message", s.Message)
		a.bridge.mqtt.PublishEvent(a.topic("event"), mqtt.EventPayload(entity.Event{Type: "sign_in_required", Data: map[string]any{"message": s.Message}}))
	}
}

// missing says what a sensor would need and was not granted.
func (a *account) missing(s *sensor) []missing {
	granted := a.session.Granted()
	ms := []missing{}
	readable := true
	if s.config.Read {
		for _, n := range s.Permissions() {
			if err := graph.MissingError(granted, []graph.Permission{n}); err != nil {
				readable = false
				ms = append(ms, missing{s.config.ID, n.Scope, err.Error()})
			}
		}
	}
	for _, op := range s.operations {
		for _, n := range op.Permissions {
			if n.Satisfied(granted) || slices.ContainsFunc(ms, func(m missing) bool { return m.Scope == n.Scope }) {
				continue
			}
			message := "read-only: " + n.Scope + " not granted"
			if !s.config.Read || !readable {
				message = n.Scope + " not granted"
			}
			ms = append(ms, missing{s.config.ID, n.Scope, message})
		}
	}
	return ms
}

// ended tells Home Assistant how a request ended.
func (a *account) ended(sensor string, r services.Response) {
	e := entity.Event{Type: "command_ok", Data: map[string]any{"sensor": sensor, "op": r.Op, "transaction": r.Transaction}}
	if r.Error != nil {
		e.Type = "command_failed"
		e.Data["code"], e.Data["message"] = r.Error.Code, r.Error.Message
	}
	a.bridge.mqtt.PublishEvent(a.topic("event"), mqtt.EventPayload(e))
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

// sorted is never nil: in JSON it is a list, be it empty.
func sorted(names []string) []string {
	names = append([]string{}, names...)
	slices.Sort(names)
	return names
}
