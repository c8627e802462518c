package runtime

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

// maxStatusInterval bounds the wait until the status is evaluated again, because a timer does not run while the machine sleeps.
const maxStatusInterval = 5 * time.Minute

// Event types of an account.
const (
	commandOK      = "command_ok"
	commandFailed  = "command_failed"
	signInRequired = "sign_in_required"
	signedIn       = "signed_in"
)

// updateStatus puts the account's status and the availability of its sensors into the hub where they changed, and returns how long
// they stay as they are if nothing happens.
func (a *account) updateStatus() time.Duration {
	now := time.Now()
	next := now.Add(maxStatusInterval)
	at := func(t time.Time) {
		if t.After(now) {
			next = earlier(next, t)
		}
	}
	signIn := a.signInStatus()
	in := a.signedIn()
	status := &hub.AccountStatus{
		SignIn: signIn, Connected: in, Granted: sorted(a.session.Status().Granted), Missing: []hub.MissingScope{}, Problems: []hub.SensorProblem{},
	}
	status.User = optionalText(a.session.Status().User.Address)
	var lastSync time.Time
	readable, fresh, refreshed := 0, 0, false
	var readings []reading
	for _, s := range a.all() {
		s.publish(false)
		if in && s.parent == nil {
			status.Missing = append(status.Missing, s.missingScopes()...)
		}
		if p := s.problem(); p != nil {
			status.Problems = append(status.Problems, hub.SensorProblem{Sensor: s.config.ID, Code: p.Code, Message: p.Message})
		}
		if s.poller == nil {
			continue
		}
		_, until := s.available(now)
		at(until)
		if now.Before(until) {
			fresh++
		}
		s.mu.Lock()
		if s.err == nil {
			readable++
		}
		readings = append(readings, reading{s, s.err, s.polledAt, s.unauthorizedAt})
		if s.lastSync.After(lastSync) {
			lastSync = s.lastSync
		}
		refreshed = refreshed || s.refreshed
		s.refreshed = false
		s.mu.Unlock()
	}
	rejection := a.reportUnauthorized(readings)
	if in && len(readings) > 0 && readable == 0 {
		status.Connected = false
		switch {
		case rejection != nil:
			status.Error = optionalText(rejection.Error())
		case len(status.Problems) > 0:
			status.Error = optionalText(status.Problems[0].Message)
		}
	}
	if until := a.graph.Stats().ThrottledUntil; until.After(now) {
		status.ThrottledUntil = moment(until)
		at(until)
	}
	if f := a.runtime.options.Problem; f != nil {
		if p := f(); p != nil {
			status.Problems = append(status.Problems, hub.SensorProblem{Code: p.Code, Message: p.Message})
		}
	}
	online := in && (len(readings) == 0 || fresh > 0)

	status.LastSync = moment(lastSync)
	status.Notifications = a.subscriber.status()

	changed := a.status == nil || a.online != online || !reflect.DeepEqual(a.status, status)
	a.status, a.online = status, online
	if changed {
		a.runtime.options.Hub.Put(a.id(), hub.State{Available: online, Commands: true, LastSync: lastSync, Account: status})
	}
	if refreshed {
		a.runtime.options.Hub.Assert(a.id()) // outputs may show the time of the last read less often
	}
	a.reportSignIn()
	return time.Until(next)
}

// signInStatus returns the state of the sign-in, with the user's instructions if one is pending.
func (a *account) signInStatus() hub.SignIn {
	s := a.session.Status()
	in := hub.SignIn{State: string(s.State), Message: optionalText(s.Message)}
	if p := a.signIn.prompt(); p != nil {
		in.URL, in.Code, in.ExpiresAt = optionalText(p.URL), optionalText(p.Code), moment(p.Expires)
		in.Prompt = &hub.Prompt{Browser: p.Code == "", Redirect: p.Redirect, Listening: p.Listening, Note: p.Note, Refused: p.Refused, Why: p.Why}
	} else if err := a.signIn.lastFailure(); err != nil && s.State != auth.SignedIn {
		in.Message = optionalText(err.Error())
	}
	return in
}

// reportSignIn logs and emits once that a sign-in is required, and that it was done.
func (a *account) reportSignIn() {
	s := a.session.Status()
	if application, ok := a.session.(*auth.Application); ok && s.State == auth.SignedIn && !application.HasToken() {
		return // it was not tried yet
	}
	before, now := a.reported, string(s.State)+s.Message
	a.reported = now
	if before == now {
		return
	}
	if s.State == auth.SignedIn {
		a.logSignIn(s)
		if before != "" {
			a.runtime.options.Hub.Emit(a.id(), entity.Event{Type: signedIn, Data: map[string]any{"user": s.User.Address}})
		}
		return
	}
	a.log.Warn("sign-in required", "state", string(s.State), "message", s.Message)
	a.runtime.options.Hub.Emit(a.id(), entity.Event{Type: signInRequired, Data: map[string]any{"message": s.Message}})
}

// logSignIn logs a sign-in. The permissions that Exchange assigns to an application are not known.
func (a *account) logSignIn(s auth.Status) {
	granted := strings.Join(sorted(s.Granted), " ")
	if a.user == nil {
		a.log.Info("signed in as an application", "granted_in_entra_id", granted)
		return
	}
	a.log.Info("signed in", "granted", granted)
}

// missingScopes returns the permissions that the sensor would use and was not granted.
func (s *sensor) missingScopes() []hub.MissingScope {
	a := s.account
	granted := a.session.Granted()
	var missing []hub.MissingScope
	readable := true
	if s.config.Read {
		for _, p := range s.source.Permissions() {
			if err := a.missingError([]graph.Permission{p}); err != nil {
				readable = false
				p = a.permission(p)
				missing = append(missing, hub.MissingScope{Sensor: s.config.ID, Scope: p.Scope, Message: err.Error()})
			}
		}
	}
	for _, op := range s.operations {
		for _, p := range op.Permissions {
			p = a.permission(p)
			if p.Satisfied(granted) || slices.ContainsFunc(missing, func(m hub.MissingScope) bool { return m.Scope == p.Scope }) {
				continue
			}
			message := "read-only: " + p.Scope + " not granted"
			if !s.config.Read || !readable {
				message = p.Scope + " not granted"
			}
			missing = append(missing, hub.MissingScope{Sensor: s.config.ID, Scope: p.Scope, Message: message})
		}
	}
	return missing
}

// permission returns a sensor's permission as the account has it.
func (a *account) permission(p graph.Permission) graph.Permission {
	if a.config.Application {
		p, _ = p.Application()
	}
	return p
}

// optionalText returns nil for "".
func optionalText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// moment returns t in UTC to the second, nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// sorted returns the names sorted, never nil, so that JSON has a list even if it is empty.
func sorted(names []string) []string {
	names = append([]string{}, names...)
	slices.Sort(names)
	return names
}
