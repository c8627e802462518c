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

// startBridge starts the bridge without Home Assistant. Its account is signed in, may update, and has an automatic replies sensor that
// polls every five seconds. It returns when the sensor is online.
func startBridge(t *testing.T, o MosquittoOptions, settings ...string) (*Environment, *Subscription) {
	t.Helper()
	t.Parallel()
	env := NewEnvironment(t, o)
	env.Configure(t, append(settings, "enable_update: true"), "out_of_office: {type: auto_reply, interval: 5s}")
	env.SignIn(t)
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	env.Start(t)
	env.awaitOnline(t, seen)
	return env, seen
}

// awaitOnline waits until the bridge, the account and the sensor are online.
func (env *Environment) awaitOnline(t testing.TB, seen *Subscription) {
	t.Helper()
	for _, topic := range []string{"graph2mqtt/work/state", outOfOffice + "availability", outOfOffice + "commands", "graph2mqtt/bridge/state"} {
		seen.AwaitPayload(t, topic, "online")
	}
}

// ping sends a ping request and waits for the response: everything sent before has been handled by then.
func (env *Environment) ping(t testing.TB, seen *Subscription) {
	t.Helper()
	before := seen.Len()
	env.Broker.Publish(t, "graph2mqtt/bridge/request/ping", "{}")
	seen.AwaitItem(t, "the response to ping", before, func(m Message) bool { return m.Topic == "graph2mqtt/bridge/response/ping" })
}

func TestBridgeKilled(t *testing.T) {
	env, seen := startBridge(t, MosquittoOptions{})
	env.Bridge.Kill(t)
	seen.AwaitPayload(t, "graph2mqtt/bridge/state", "offline")
	env.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "alwaysEnabled"})
	env.Start(t)
	env.awaitOnline(t, seen)
	seen.AwaitValues(t, outOfOffice+"state", map[string]any{"mode": "alwaysEnabled"})
	env.Stop(t)
	seen.AwaitPayload(t, "graph2mqtt/bridge/state", "offline")
}

// TestSecondBridge checks that a second bridge refuses to use the same state directory.
func TestSecondBridge(t *testing.T) {
	env, _ := startBridge(t, MosquittoOptions{})
	code, stdout, stderr := env.Program.Run(t, "run")
	if code != 2 || stdout != "" || !strings.Contains(stderr, fmt.Sprintf("another graph2mqtt (process %d) is using", env.Bridge.pid)) {
		t.Errorf("a second bridge ended with %d: %s%s", code, stdout, stderr)
	}
}

func TestBrokerKilled(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		t.Run(fmt.Sprintf("persistent %v", persistent), func(t *testing.T) {
			env, seen := startBridge(t, MosquittoOptions{Persistent: persistent})
			env.ping(t, seen)
			topics := func() []string { return slices.Sorted(maps.Keys(env.Broker.Retained(t, "#"))) }
			want := topics()
			seen.Close(t)
			env.Broker.Kill()
			env.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "alwaysEnabled"})
			env.Broker.Start()
			seen = env.Broker.Subscribe(t, "graph2mqtt/#")
			env.awaitOnline(t, seen)
			seen.AwaitValues(t, outOfOffice+"state", map[string]any{"mode": "alwaysEnabled"})
			env.ping(t, seen)
			if diff := cmp.Diff(want, topics()); diff != "" {
				t.Errorf("retained topics (-before +after):\n%s", diff)
			}

			// The broker restarts its packet ids: an identical message is a new request. The second iteration checks that, too.
			for range 2 {
				env.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "disabled"})
				seen.AwaitValues(t, outOfOffice+"state", map[string]any{"mode": "disabled"})
				before := seen.Len()
				env.Broker.Publish(t, switchTopic, "ON")
				m := seen.AwaitItem(t, "the response", before, func(m Message) bool { return m.Topic == switchResponse })
				if !hasValues(m.Payload, map[string]any{"status": "ok", "duplicate": false}) {
					t.Errorf("response %v", m)
				}
				if got := env.Microsoft.AutomaticReplies(simulator.Adele).Status; got != "alwaysEnabled" {
					t.Errorf("status at Microsoft: %q", got)
				}
				if !persistent {
					seen.Close(t)
					env.Broker.Kill()
					env.Broker.Start()
					seen = env.Broker.Subscribe(t, "graph2mqtt/#")
					env.awaitOnline(t, seen)
				}
			}
		})
	}
}

// TestGraphUnavailable makes Graph fail in several ways: the failure is reported, values stay until they are stale, and the bridge
// recovers by itself.
func TestGraphUnavailable(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"unavailable": {Status: 503},
		"reset":       {Reset: true},
		"hangs":       {Delay: simulator.Forever},
		"throttled":   {Status: 429, RetryAfter: "3"},
	} {
		t.Run(name, func(t *testing.T) {
			env, seen := startBridge(t, MosquittoOptions{}, "stale_after: 15s")
			seen.AwaitValues(t, "graph2mqtt/work/status", map[string]any{"connected": true})
			env.ping(t, seen) // after all states of the start
			states := len(seen.Payloads(outOfOffice + "state"))
			fault.Path, fault.Times = "/v1.0/", -1
			env.Microsoft.Fail(fault)
			if name != "hangs" { // a hanging request is noticed only at its timeout
				away := seen.AwaitItem(t, "the account to be disconnected", 0, func(m Message) bool {
					return m.Topic == "graph2mqtt/work/status" && hasValues(m.Payload, map[string]any{"connected": false})
				})
				var status struct {
					Error    string
					Problems []struct{ Sensor, Code, Message string }
				}
				away.Decode(t, &status)
				t.Log(status.Error)
				if status.Error == "" || len(status.Problems) != 1 || status.Problems[0].Sensor != "out_of_office" || status.Problems[0].Message != status.Error {
					t.Errorf("status %s, want an error, and the problem of out_of_office", away.Payload)
				}
				if got := seen.Payloads("graph2mqtt/work/state"); got[len(got)-1] != "online" {
					t.Errorf("the account went %v with the first failure", got)
				}
			}
			seen.AwaitPayload(t, outOfOffice+"availability", "offline")
			seen.AwaitPayload(t, "graph2mqtt/work/state", "offline")
			if got := len(seen.Payloads(outOfOffice + "state")); got != states {
				t.Errorf("%d states while Graph was away", got-states)
			}
			env.Microsoft.ClearFaults()
			env.awaitOnline(t, seen)
			seen.AwaitValues(t, "graph2mqtt/work/status", map[string]any{"connected": true})
			if got := env.Bridge.Stderr(); strings.Count(got, "level=ERROR")+strings.Count(got, "level=WARN") > 3 {
				t.Errorf("too many warnings and errors:\n%s", got)
			}
		})
	}
}

// TestSignInRevoked revokes the sign-in of a running bridge and signs in again.
func TestSignInRevoked(t *testing.T) {
	env, seen := startBridge(t, MosquittoOptions{})
	env.Microsoft.RevokeSessions(simulator.Adele)
	env.Microsoft.ExpireAccessTokens()
	seen.AwaitPayload(t, "graph2mqtt/work/state", "offline")
	var status struct {
		SignIn struct{ State, Message string } `json:"sign_in"`
	}
	told := seen.AwaitNewest(t, "graph2mqtt/work/status", "asks for a sign-in", func(payload string) bool {
		return strings.Contains(payload, "sign_in_required")
	})
	Message{Payload: told}.Decode(t, &status)
	if !strings.Contains(status.SignIn.Message, "graph2mqtt login work") {
		t.Errorf("the message lacks the command to run: %q", status.SignIn.Message)
	}
	seen.AwaitItem(t, "the event", 0, func(m Message) bool {
		return m.Topic == "graph2mqtt/work/event" && hasValues(m.Payload, map[string]any{"event_type": "sign_in_required"})
	})
	env.Broker.Publish(t, switchTopic, "ON")
	seen.AwaitNewest(t, switchResponse, "refuses", func(payload string) bool { return strings.Contains(payload, "sign_in_required") })

	env.SignIn(t)
	env.awaitOnline(t, seen)
	env.Broker.Publish(t, switchTopic, "ON")
	seen.AwaitValues(t, switchResponse, map[string]any{"status": "ok"})
	seen.AwaitValues(t, outOfOffice+"state", map[string]any{"mode": "alwaysEnabled"})
	if strings.Contains(env.Bridge.Stderr(), "account=work account=work") {
		t.Error("the log names the account twice")
	}
}

// TestValueRacesReconnect changes a value while publishes are lost: after the reconnect only the newest value is published.
func TestValueRacesReconnect(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{Persistent: true})
	cable := NewProxy(t, env.Broker.Addr)
	direct := env.Broker.URL
	env.Broker.URL = "mqtt://" + cable.Addr
	env.Configure(t, []string{"enable_update: true"}, "out_of_office: {type: auto_reply, interval: 5s}")
	env.Broker.URL = direct
	env.SignIn(t)
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	env.Start(t)
	env.awaitOnline(t, seen)

	var requests Recorder[simulator.Request]
	env.Microsoft.OnRequest(requests.Add)
	polled := func() {
		t.Helper()
		requests.AwaitItem(t, "a poll", requests.Len(), func(r simulator.Request) bool { return r.Method == "GET" && r.Status == 200 })
	}
	cable.Discard()
	for _, status := range []string{"alwaysEnabled", "disabled", "alwaysEnabled"} {
		env.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: status})
		polled()
	}
	cable.Disconnect()
	seen.AwaitPayload(t, "graph2mqtt/bridge/state", "offline")
	env.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: "disabled", ExternalAudience: "none"})
	env.awaitOnline(t, seen)
	seen.AwaitValues(t, outOfOffice+"state", map[string]any{"mode": "disabled", "external_audience": "none"})
	polled()
	env.ping(t, seen)
	if got := env.Broker.Retained(t, outOfOffice+"state")[outOfOffice+"state"]; !hasValues(got, map[string]any{"mode": "disabled", "external_audience": "none"}) {
		t.Errorf("an old value is retained: %s", got)
	}
	var modes []string
	for _, payload := range seen.Payloads(outOfOffice + "state") {
		var state struct {
			Mode     string
			Audience string `json:"external_audience"`
		}
		Message{Payload: payload}.Decode(t, &state)
		modes = append(modes, state.Mode+" "+state.Audience)
	}
	if i := slices.Index(modes, "disabled none"); slices.ContainsFunc(modes[i:], func(mode string) bool { return mode != "disabled none" }) {
		t.Errorf("an old value came after the newest: %v", modes)
	}
}

// TestFullQueue starts the bridge while more commands are waiting than the broker keeps and the bridge queues.
func TestFullQueue(t *testing.T) {
	// Mosquitto keeps 1,000 messages of a session. One of them can be the last one of the bridge itself, which it did not wait for.
	const queued = 1000 - 1
	env, seen := startBridge(t, MosquittoOptions{})
	env.Stop(t)
	runCommand(t, strings.Repeat("ON\n", 1100), "mosquitto_pub", env.Broker.client("-q", "1", "-t", switchTopic, "-l")...)
	before := seen.Len()
	start := time.Now()
	env.Start(t)
	env.awaitOnline(t, seen)
	seen.Await(t, "a response to each command", func([]Message) bool { return len(seen.Payloads(switchResponse)) >= queued })
	t.Logf("the queued commands were answered in %v", time.Since(start).Round(time.Millisecond))
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
	if counts["ok"] < 100 || counts["ok"]+counts["overloaded"] < queued {
		t.Errorf("responses: %v", counts)
	}
	env.Broker.Publish(t, switchTopic, "OFF")
	seen.AwaitNewest(t, switchResponse, "answers the newest command", func(payload string) bool {
		return hasValues(payload, map[string]any{"op": "disable", "status": "ok"})
	})
}

// TestBacklog publishes a command while the bridge is stopped: it is executed unless the bridge was stopped for longer than max_age.
func TestBacklog(t *testing.T) {
	for name, maxAge := range map[string]time.Duration{"young": time.Hour, "old": time.Second} {
		t.Run(name, func(t *testing.T) {
			env, seen := startBridge(t, MosquittoOptions{Persistent: true})
			env.ping(t, seen)
			env.Stop(t)
			env.Program.Env = append(env.Program.Env, "GRAPH2MQTT_COMMANDS__MAX_AGE="+maxAge.String())
			env.Broker.Publish(t, switchTopic, "ON")
			if name == "old" {
				time.Sleep(2 * maxAge) // the test is about the time away
			}
			env.Start(t)
			var r Response
			Message{Payload: seen.AwaitNewest(t, switchResponse, "answers", func(string) bool { return true })}.Decode(t, &r)
			env.ping(t, seen)
			patches := env.Microsoft.Count("PATCH", "")
			switch {
			case name == "young" && (r.Status != "ok" || patches != 1):
				t.Errorf("response %+v after %d changes, want ok", r, patches)
			case name == "old" && (r.Error == nil || r.Error.Code != "expired" || patches != 0):
				t.Errorf("response %+v after %d changes, want expired", r, patches)
			}
		})
	}
}

// A Proxy forwards TCP connections and can discard data or disconnect.
type Proxy struct {
	Addr string

	mu         sync.Mutex
	discarding bool
	conns      []net.Conn
}

// NewProxy listens on a loopback address and forwards to server.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Proxy{Addr: listener.Addr().String()}
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
			wg.Go(func() { c.forward(upstream, client) })
			wg.Go(func() { c.forward(client, upstream) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		c.Disconnect()
		wg.Wait()
	})
	return c
}

func (c *Proxy) forward(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		c.mu.Lock()
		held := c.discarding
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

// Discard drops all data until Disconnect.
func (c *Proxy) Discard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discarding = true
}

// Disconnect closes all connections and forwards new ones again.
func (c *Proxy) Disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discarding = false
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}
