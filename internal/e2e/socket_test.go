//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// A socket represents a WebSocket connection to Home Assistant and follows all states.
type socket struct {
	// Changes records the state changes since the connection was made.
	Changes Recorder[Change]
	// Logged records the warnings and errors since the connection was made, repetitions included.
	Logged Recorder[LogEntry]

	conn *websocket.Conn
	done chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	id      int
	calls   map[int]chan callResult
	events  map[int]func(json.RawMessage)
	states  map[string]State
	stopped error
}

type callResult struct {
	Success bool
	Result  json.RawMessage
	Error   struct{ Code, Message string }
}

// A State represents the state of an entity.
type State struct {
	EntityID    string         `json:"entity_id"`
	State       string         `json:"state"`
	Attributes  map[string]any `json:"attributes"`
	LastChanged time.Time      `json:"last_changed"`
}

// A Change represents a change of an entity's state or attributes.
type Change struct {
	EntityID string `json:"entity_id"`
	Old      *State `json:"old_state"` // nil if it is new
	New      *State `json:"new_state"` // nil if it was removed
}

func (c Change) String() string {
	text := func(s *State) string {
		if s == nil {
			return "nothing"
		}
		return fmt.Sprintf("%q", s.State)
	}
	return fmt.Sprintf("%s: %s, was %s", c.EntityID, text(c.New), text(c.Old))
}

func dialWebSocket(t testing.TB, url, token string) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/api/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	s := &socket{
		conn: conn, done: make(chan struct{}),
		calls: map[int]chan callResult{}, events: map[int]func(json.RawMessage){}, states: map[string]State{},
	}
	var hello struct{ Type, Message string }
	err = errors.Join(
		wsjson.Read(ctx, conn, &hello),
		wsjson.Write(ctx, conn, map[string]any{"type": "auth", "access_token": token}),
		wsjson.Read(ctx, conn, &hello))
	if err != nil || hello.Type != "auth_ok" {
		t.Fatalf("signing in to the WebSocket: %+v %v", hello, err)
	}
	go s.read()
	t.Cleanup(func() {
		if t.Failed() {
			s.dump(t)
		}
		_ = s.conn.CloseNow()
		<-s.done
	})

	s.Subscribe(t, "system_log_event", func(event json.RawMessage) {
		var entry struct{ Data LogEntry }
		if err := json.Unmarshal(event, &entry); err != nil {
			s.Logged.End(err)
			return
		}
		s.Logged.Add(entry.Data)
	})
	s.Subscribe(t, "state_changed", func(event json.RawMessage) {
		var change struct{ Data Change }
		if err := json.Unmarshal(event, &change); err != nil {
			s.Changes.End(err)
			return
		}
		s.mu.Lock()
		if c := change.Data; c.New == nil {
			delete(s.states, c.EntityID)
		} else {
			s.states[c.EntityID] = *c.New
		}
		s.mu.Unlock()
		s.Changes.Add(change.Data)
	})
	var states []State
	s.Call(t, "get_states", nil, &states)
	s.mu.Lock()
	for _, state := range states {
		if _, newer := s.states[state.EntityID]; !newer {
			s.states[state.EntityID] = state
		}
	}
	s.mu.Unlock()
	return s
}

// read dispatches Home Assistant's messages until the connection ends.
func (s *socket) read() {
	defer close(s.done)
	for {
		var message struct {
			ID    int
			Type  string
			Event json.RawMessage
			callResult
		}
		if err := wsjson.Read(context.Background(), s.conn, &message); err != nil {
			s.mu.Lock()
			s.stopped = fmt.Errorf("the WebSocket ended: %w", err)
			for _, call := range s.calls {
				close(call)
			}
			s.calls = nil
			s.mu.Unlock()
			s.Changes.End(s.stopped)
			s.Logged.End(s.stopped)
			return
		}
		s.mu.Lock()
		call, onEvent := s.calls[message.ID], s.events[message.ID]
		delete(s.calls, message.ID)
		s.mu.Unlock()
		switch {
		case message.Type == "event" && onEvent != nil:
			onEvent(message.Event)
		case message.Type == "result" && call != nil:
			call <- message.callResult
		}
	}
}

// call sends a command and decodes its result into out unless that is nil. onEvent is called with the events of a subscription.
func (s *socket) call(kind string, fields map[string]any, out any, onEvent ...func(json.RawMessage)) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	result := make(chan callResult, 1)
	s.mu.Lock()
	if s.stopped != nil {
		s.mu.Unlock()
		return s.stopped
	}
	s.id++
	s.calls[s.id] = result
	for _, f := range onEvent {
		s.events[s.id] = f
	}
	message := map[string]any{"id": s.id, "type": kind}
	maps.Copy(message, fields)
	// Home Assistant requires increasing ids, so the lock is held while writing.
	err := wsjson.Write(ctx, s.conn, message)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	select {
	case answer, ok := <-result:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", kind, s.stopped)
		case !answer.Success:
			return fmt.Errorf("%s: %s: %s", kind, answer.Error.Code, answer.Error.Message)
		case out != nil:
			if err := json.Unmarshal(answer.Result, out); err != nil {
				return fmt.Errorf("%s: %w in %s", kind, err, answer.Result)
			}
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", kind, ctx.Err())
	}
}

// Call sends a command of Home Assistant's WebSocket API and decodes its result into out unless that is nil.
func (s *socket) Call(t testing.TB, kind string, fields map[string]any, out any) {
	t.Helper()
	if err := s.call(kind, fields, out); err != nil {
		t.Fatal(err)
	}
}

// Subscribe calls onEvent with every event of a type, sequentially.
func (s *socket) Subscribe(t testing.TB, event string, onEvent func(event json.RawMessage)) {
	t.Helper()
	if err := s.call("subscribe_events", map[string]any{"event_type": event}, nil, onEvent); err != nil {
		t.Fatal(err)
	}
}

// Service calls a service ("switch.turn_on") with its data, on an entity unless that is empty, and waits for its result.
func (s *socket) Service(t testing.TB, service, entity string, data map[string]any) {
	t.Helper()
	if err := s.TryService(service, entity, data); err != nil {
		t.Fatal(err)
	}
}

// TryService calls a service like Service and returns Home Assistant's error.
func (s *socket) TryService(service, entity string, data map[string]any) error {
	domain, name, _ := strings.Cut(service, ".")
	fields := map[string]any{"domain": domain, "service": name, "service_data": data}
	if data == nil {
		fields["service_data"] = map[string]any{}
	}
	if entity != "" {
		fields["target"] = map[string]any{"entity_id": entity}
	}
	return s.call("call_service", fields, nil)
}

// State returns the current state of an entity.
func (s *socket) State(entity string) (State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.states[entity]
	return state, ok
}

// AwaitState waits until the entity's state equals want, and returns it.
func (s *socket) AwaitState(t testing.TB, entity, want string) State {
	t.Helper()
	return s.AwaitEntity(t, entity, "is "+want, func(state State) bool { return state.State == want })
}

// AwaitEntity waits until the entity exists and satisfies match, and returns its state. what describes the condition: "has two events".
func (s *socket) AwaitEntity(t testing.TB, entity, what string, match func(State) bool) State {
	t.Helper()
	var state State
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	err := s.Changes.Until(ctx, func([]Change) bool {
		var ok bool
		state, ok = s.State(entity)
		return ok && match(state)
	})
	if err != nil {
		t.Fatalf("waiting until %s %s: %v; it is %q %s, and was before:\n%s", entity, what, err, state.State, encode(t, state.Attributes),
			tail(s.History(entity), 40))
	}
	return state
}

// AwaitGone waits until the entity does not exist.
func (s *socket) AwaitGone(t testing.TB, entity string) {
	t.Helper()
	s.Changes.Await(t, entity+" to be removed", func([]Change) bool {
		_, ok := s.State(entity)
		return !ok
	})
}

// History returns the changes of an entity since the connection was made.
func (s *socket) History(entity string) []Change {
	return slices.DeleteFunc(s.Changes.All(), func(c Change) bool { return c.EntityID != entity })
}

// awaitStarted waits until Home Assistant has set up all integrations.
func (s *socket) awaitStarted(t testing.TB) {
	t.Helper()
	var started Recorder[json.RawMessage]
	s.Subscribe(t, "homeassistant_started", started.Add)
	var config struct{ State string }
	s.Call(t, "get_config", nil, &config)
	started.Await(t, "Home Assistant to have started", func(events []json.RawMessage) bool {
		return config.State == "RUNNING" || len(events) > 0
	})
}

// An Entity represents an entry of the entity registry.
type Entity struct {
	EntityID       string  `json:"entity_id"`
	UniqueID       string  `json:"unique_id"`
	Platform       string  `json:"platform"`
	DeviceID       string  `json:"device_id"`
	EntityCategory *string `json:"entity_category"`
	DisabledBy     *string `json:"disabled_by"`
	OriginalName   *string `json:"original_name"`
}

// Entities returns the entities of the MQTT integration, by entity id.
func (s *socket) Entities(t testing.TB) []Entity {
	t.Helper()
	var all []Entity
	s.Call(t, "config/entity_registry/list", nil, &all)
	all = slices.DeleteFunc(all, func(e Entity) bool { return e.Platform != "mqtt" })
	slices.SortFunc(all, func(a, b Entity) int { return cmp.Compare(a.EntityID, b.EntityID) })
	return all
}

// A Device represents an entry of the device registry.
type Device struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	Manufacturer string      `json:"manufacturer"`
	Model        string      `json:"model"`
	SWVersion    string      `json:"sw_version"`
	ViaDeviceID  string      `json:"via_device_id"`
	Identifiers  [][2]string `json:"identifiers"`
}

// Devices returns the devices of the MQTT integration, by the identifier that their discovery gave them.
func (s *socket) Devices(t testing.TB) map[string]Device {
	t.Helper()
	var all []Device
	s.Call(t, "config/device_registry/list", nil, &all)
	devices := map[string]Device{}
	for _, device := range all {
		for _, id := range device.Identifiers {
			if id[0] == "mqtt" {
				devices[id[1]] = device
			}
		}
	}
	return devices
}

// dump logs the MQTT entities and Home Assistant's log, if Home Assistant still answers.
func (s *socket) dump(t testing.TB) {
	var text strings.Builder
	var entities []Entity
	var log []LogEntry
	if s.call("config/entity_registry/list", nil, &entities) != nil || s.call("system_log/list", nil, &log) != nil {
		return
	}
	for _, entity := range entities {
		if entity.Platform == "mqtt" {
			state, _ := s.State(entity.EntityID)
			fmt.Fprintf(&text, "\t%s = %q %s\n", entity.EntityID, state.State, encode(t, state.Attributes))
		}
	}
	t.Logf("Home Assistant has of MQTT:\n%sand logged, the newest first:\n%s", text.String(), tail(log, 40))
}
