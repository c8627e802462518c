//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const (
	outOfOffice    = "graph2mqtt/work/out_of_office/"
	switchTopic    = outOfOffice + "set/enabled"
	switchResponse = outOfOffice + "response/set/enabled"
)

// startBridge starts a house without Home Assistant whose account is signed in, may update and has the automatic replies, polled every
// five seconds. It returns what is on its topics once the sensor is there.
func startBridge(t *testing.T, o MosquittoOptions, settings ...string) (*House, *Subscription) {
	t.Helper()
	t.Parallel()
	h := NewHouse(t, o)
	h.Configure(t, append(settings, "enable_update: true"), "out_of_office: {type: auto_reply, interval: 5s}")
	h.SignIn(t)
	seen := h.Broker.Subscribe(t, "graph2mqtt/#")
	h.Start(t)
	h.online(t, seen)
	return h, seen
}

// online waits until the bridge, the account and the sensor are all oncable.
func (h *House) online(t testing.TB, seen *Subscription) {
	t.Helper()
	for _, topic := range []string{"graph2mqtt/work/state", outOfOffice + "availability", outOfOffice + "commands", "graph2mqtt/bridge/state"} {
		seen.Payload(t, topic, "online")
	}
}

// ask publishes a request of the bridge's and waits for its answer: everything before has been dealt with then.
func (h *House) ask(t testing.TB, seen *Subscription) {
	t.Helper()
	before := seen.Len()
	h.Broker.Publish(t, "graph2mqtt/bridge/request/ping", "{}")
	seen.First(t, "the answer to a ping", before, func(m Message) bool { return m.Topic == "graph2mqtt/bridge/response/ping" })
}

func TestBridgeKilled(t *testing.T) {
	h, seen := startBridge(t, MosquittoOptions{})
	h.Bridge.Kill(t)
	seen.Payload(t, "graph2mqtt/bridge/state", "offline")
	h.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "alwaysEnabled"})
	h.Start(t)
	h.online(t, seen)
	seen.Values(t, outOfOffice+"state", map[string]any{"mode": "alwaysEnabled"})
	h.Stop(t)
	seen.Payload(t, "graph2mqtt/bridge/state", "offline")
}

// TestSecondBridge keeps a second bridge from working on the same state.
func TestSecondBridge(t *testing.T) {
	h, _ := startBridge(t, MosquittoOptions{})
	code, stdout, stderr := h.Program.Run(t, "run")
	if code != 2 || stdout != "" || !strings.Contains(stderr, fmt.Sprintf("another graph2mqtt (process %d) is using", h.Bridge.pid)) {
		t.Errorf("a second bridge ended with %d and said %s%s", code, stdout, stderr)
	}
}

func TestBrokerKilled(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		t.Run(fmt.Sprintf("persistent %v", persistent), func(t *testing.T) {
			h, seen := startBridge(t, MosquittoOptions{Persistent: persistent})
			h.ask(t, seen)
			topics := func() []string { return slices.Sorted(maps.Keys(h.Broker.Retained(t, "#"))) }
			want := topics()
			seen.Close(t)
			h.Broker.Kill()
			h.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "alwaysEnabled"})
			h.Broker.Start()
			seen = h.Broker.Subscribe(t, "graph2mqtt/#")
			h.online(t, seen)
			seen.Values(t, outOfOffice+"state", map[string]any{"mode": "alwaysEnabled"})
			h.ask(t, seen)
			if diff := cmp.Diff(want, topics()); diff != "" {
				t.Errorf("retained topics (-before +after):\n%s", diff)
			}

			// The broker counts packet ids anew: the same message as before is not the same request. So is the second one here.
			for range 2 {
				h.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "disabled"})
				seen.Values(t, outOfOffice+"state", map[string]any{"mode": "disabled"})
				before := seen.Len()
				h.Broker.Publish(t, switchTopic, "ON")
				m := seen.First(t, "the answer", before, func(m Message) bool { return m.Topic == switchResponse })
				if !includes(m.Payload, map[string]any{"status": "ok", "duplicate": false}) {
					t.Errorf("answered %v", m)
				}
				if got := h.Microsoft.AutomaticReplies(simulator.Adele).Status; got != "alwaysEnabled" {
					t.Errorf("Microsoft has %q", got)
				}
				if !persistent {
					seen.Close(t)
					h.Broker.Kill()
					h.Broker.Start()
					seen = h.Broker.Subscribe(t, "graph2mqtt/#")
					h.online(t, seen)
				}
			}
		})
	}
}

// TestGraphAway takes Graph away in several ways: it is told, the values stay until they are stale, and all comes back by itself.
func TestGraphAway(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"unavailable": {Status: 503},
		"reset":       {Reset: true},
		"hangs":       {Delay: simulator.Forever},
		"throttled":   {Status: 429, RetryAfter: "3"},
	} {
		t.Run(name, func(t *testing.T) {
			h, seen := startBridge(t, MosquittoOptions{}, "stale_after: 15s")
			seen.Values(t, "graph2mqtt/work/status", map[string]any{"connected": true})
			states := len(seen.On(outOfOffice + "state"))
			fault.Path, fault.Times = "/v1.0/", -1
			h.Microsoft.Fail(fault)
			if name != "hangs" { // which shows only after a while
				away := seen.First(t, "the account to say so", 0, func(m Message) bool {
					return m.Topic == "graph2mqtt/work/status" && includes(m.Payload, map[string]any{"connected": false})
				})
				var status struct{ Error string }
				away.Decode(t, &status)
				t.Log(status.Error)
				if !strings.HasPrefix(status.Error, "out_of_office: ") {
					t.Errorf("it says %q", status.Error)
				}
				if got := seen.On("graph2mqtt/work/state"); got[len(got)-1] != "online" {
					t.Errorf("the account went %v with the first failure", got)
				}
			}
			seen.Payload(t, outOfOffice+"availability", "offline")
			seen.Payload(t, "graph2mqtt/work/state", "offline")
			if got := len(seen.On(outOfOffice + "state")); got != states {
				t.Errorf("%d states while Graph was away", got-states)
			}
			h.Microsoft.ClearFaults()
			h.online(t, seen)
			seen.Values(t, "graph2mqtt/work/status", map[string]any{"connected": true})
			if got := h.Bridge.Stderr(); strings.Count(got, "level=ERROR")+strings.Count(got, "level=WARN") > 3 {
				t.Errorf("it logged:\n%s", got)
			}
		})
	}
}

// TestRevoked takes the sign-in away from a running bridge and gives it another one.
func TestRevoked(t *testing.T) {
	h, seen := startBridge(t, MosquittoOptions{})
	h.Microsoft.RevokeSessions(simulator.Adele)
	h.Microsoft.ExpireAccessTokens()
	seen.Payload(t, "graph2mqtt/work/state", "offline")
	var status struct {
		SignIn struct{ State, Message string } `json:"sign_in"`
	}
	told := seen.Newest(t, "graph2mqtt/work/status", "asks for a sign-in", func(payload string) bool {
		return strings.Contains(payload, "sign_in_required")
	})
	Message{Payload: told}.Decode(t, &status)
	if !strings.Contains(status.SignIn.Message, "graph2mqtt login work") {
		t.Errorf("it does not say what to do: %q", status.SignIn.Message)
	}
	seen.First(t, "the event", 0, func(m Message) bool {
		return m.Topic == "graph2mqtt/work/event" && includes(m.Payload, map[string]any{"event_type": "sign_in_required"})
	})
	h.Broker.Publish(t, switchTopic, "ON")
	seen.Newest(t, switchResponse, "refuses", func(payload string) bool { return strings.Contains(payload, "sign_in_required") })

	h.SignIn(t)
	h.online(t, seen)
	h.Broker.Publish(t, switchTopic, "ON")
	seen.Values(t, switchResponse, map[string]any{"status": "ok"})
	seen.Values(t, outOfOffice+"state", map[string]any{"mode": "alwaysEnabled"})
}

// TestValueRacesReconnect changes a value twice while what is sent gets lost: the newer one wins for good.
func TestValueRacesReconnect(t *testing.T) {
	t.Parallel()
	h := NewHouse(t, MosquittoOptions{Persistent: true})
	cable := NewCable(t, h.Broker.Addr)
	direct := h.Broker.URL
	h.Broker.URL = "mqtt://" + cable.Addr
	h.Configure(t, []string{"enable_update: true"}, "out_of_office: {type: auto_reply, interval: 5s}")
	h.Broker.URL = direct
	h.SignIn(t)
	seen := h.Broker.Subscribe(t, "graph2mqtt/#")
	h.Start(t)
	h.online(t, seen)

	var requests Record[simulator.Request]
	h.Microsoft.OnRequest(requests.Add)
	polled := func() {
		t.Helper()
		requests.First(t, "a poll", requests.Len(), func(r simulator.Request) bool { return r.Method == "GET" && r.Status == 200 })
	}
	cable.Hold()
	for _, status := range []string{"alwaysEnabled", "disabled", "alwaysEnabled"} {
		h.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: status})
		polled()
	}
	cable.Cut()
	seen.Payload(t, "graph2mqtt/bridge/state", "offline")
	h.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "disabled", ExternalAudience: "none"})
	h.online(t, seen)
	seen.Values(t, outOfOffice+"state", map[string]any{"mode": "disabled", "audience": "none"})
	polled()
	h.ask(t, seen)
	if got := h.Broker.Retained(t, outOfOffice+"state")[outOfOffice+"state"]; !includes(got, map[string]any{"mode": "disabled", "audience": "none"}) {
		t.Errorf("an old value won: %s", got)
	}
	var modes []string
	for _, payload := range seen.On(outOfOffice + "state") {
		var state struct{ Mode, Audience string }
		Message{Payload: payload}.Decode(t, &state)
		modes = append(modes, state.Mode+" "+state.Audience)
	}
	if i := slices.Index(modes, "disabled none"); slices.ContainsFunc(modes[i:], func(mode string) bool { return mode != "disabled none" }) {
		t.Errorf("an old value came after the newest: %v", modes)
	}
}

// TestFullQueue starts the bridge with more commands waiting than the broker keeps and the bridge queues.
func TestFullQueue(t *testing.T) {
	h, seen := startBridge(t, MosquittoOptions{})
	h.Stop(t)
	run(t, strings.Repeat("ON\n", 1100), "mosquitto_pub", h.Broker.client("-q", "1", "-t", switchTopic, "-l")...)
	before := seen.Len()
	start := time.Now()
	h.Start(t)
	h.online(t, seen)
	seen.Await(t, "an answer to each command", func([]Message) bool { return len(seen.On(switchResponse)) >= 1000 })
	t.Logf("1,000 commands that waited were answered in %v", time.Since(start).Round(time.Millisecond))
	counts := map[string]int{}
	for _, m := range seen.Since(before) {
		if m.Topic != switchResponse {
			continue
		}
		var r Response
		m.Decode(t, &r)
		outcome := r.Status
		if r.Error != nil {
			outcome = r.Error.Code
		}
		counts[outcome]++
	}
	t.Log(counts)
	if counts["ok"] < 100 || counts["ok"]+counts["overloaded"] < 1000 {
		t.Errorf("answers: %v", counts)
	}
	h.Broker.Publish(t, switchTopic, "OFF")
	seen.Newest(t, switchResponse, "answers the newest", func(payload string) bool {
		return includes(payload, map[string]any{"op": "disable", "status": "ok"})
	})
}

// TestBacklog publishes a command while the bridge is away: it is done, unless the bridge was away for too long.
func TestBacklog(t *testing.T) {
	for name, maxAge := range map[string]time.Duration{"young": time.Hour, "old": time.Second} {
		t.Run(name, func(t *testing.T) {
			h, seen := startBridge(t, MosquittoOptions{Persistent: true})
			h.ask(t, seen)
			h.Stop(t)
			h.Program.Env = append(h.Program.Env, "GRAPH2MQTT_COMMANDS__MAX_AGE="+maxAge.String())
			h.Broker.Publish(t, switchTopic, "ON")
			if name == "old" {
				time.Sleep(2 * maxAge) // to be away that long is the matter of the test
			}
			h.Start(t)
			var r Response
			Message{Payload: seen.Newest(t, switchResponse, "answers", func(string) bool { return true })}.Decode(t, &r)
			h.ask(t, seen)
			patches := h.Microsoft.Count("PATCH", "")
			switch {
			case name == "young" && (r.Status != "ok" || patches != 1):
				t.Errorf("answered %+v with %d changes, want it done", r, patches)
			case name == "old" && (r.Error == nil || r.Error.Code != "expired" || patches != 0):
				t.Errorf("answered %+v with %d changes, want it expired", r, patches)
			}
		})
	}
}

// A Cable is a network between a client and a server that can fail.
type Cable struct {
	Addr string

	mu    sync.Mutex
	held  bool // what is sent is lost
	conns []net.Conn
}

// NewCable leads from a loopback address of its own to a server's.
func NewCable(t testing.TB, server string) *Cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{Addr: listener.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, client, upstream)
			c.mu.Unlock()
			wg.Go(func() { c.carry(upstream, client) })
			wg.Go(func() { c.carry(client, upstream) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		c.Cut()
		wg.Wait()
	})
	return c
}

func (c *Cable) carry(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		c.mu.Lock()
		held := c.held
		c.mu.Unlock()
		if !held {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Hold loses everything that is sent from now on until Cut.
func (c *Cable) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// Cut ends all connections. New ones work.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}
