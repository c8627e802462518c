//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// checkSwitch switches the automatic replies on and off again, to show that the bridge still receives, answers and publishes.
func (env *Environment) checkSwitch(t testing.TB, seen *Subscription) {
	t.Helper()
	for _, want := range []struct{ payload, op, mode string }{{"ON", "enable", "alwaysEnabled"}, {"OFF", "disable", "disabled"}} {
		before := seen.Len()
		env.Broker.Publish(t, switchTopic, want.payload)
		seen.AwaitItem(t, "the response to "+want.payload, before, func(m Message) bool {
			return m.Topic == switchResponse && hasValues(m.Payload, map[string]any{"op": want.op, "status": "ok"})
		})
		seen.AwaitValues(t, outOfOffice+"state", map[string]any{"mode": want.mode})
	}
}

// checkConnected reports an error if the bridge went offline after the first n messages.
func checkConnected(t testing.TB, seen *Subscription, n int) {
	t.Helper()
	for _, m := range seen.Since(n) {
		if m.Topic == "graph2mqtt/bridge/state" && m.Payload != "online" {
			t.Errorf("the bridge went %s", m.Payload)
		}
	}
}

// TestNamesWithoutResponse sends requests whose response would have a topic that the broker does not accept: it closes the connection of
// a client that publishes one. They are acknowledged without a response, and nothing of them remains after a restart.
func TestNamesWithoutResponse(t *testing.T) {
	env, seen := startBridge(t, MosquittoOptions{Persistent: true})
	env.ping(t, seen)
	before := seen.Len()
	prefix := outOfOffice + "request/"
	for _, topic := range []string{
		outOfOffice + "set/" + strings.Repeat("/", 196) + "x", // the response has a level more than Mosquitto allows
		prefix + strings.Repeat("ä", (65535-len(prefix))/2),   // the response's topic is longer than MQTT allows
		prefix + "create/now",
		prefix + strings.Repeat("x", 65),
	} {
		env.Broker.Publish(t, topic, `{"transaction": "x"}`)
	}
	env.ping(t, seen)
	env.checkSwitch(t, seen)
	checkConnected(t, seen, before)

	for _, restart := range []func(){
		func() { env.Stop(t); env.Start(t) },
		func() {
			seen.Close(t)
			env.Broker.Stop()
			env.Broker.Start()
			seen = env.Broker.Subscribe(t, "graph2mqtt/#")
		},
	} {
		restart()
		env.awaitOnline(t, seen)
		env.ping(t, seen)
		before := seen.Len()
		env.checkSwitch(t, seen)
		checkConnected(t, seen, before)
		for _, m := range seen.All() {
			if _, name, _ := strings.Cut(m.Topic, "/response/"); len(name) > 64 || strings.Contains(strings.TrimPrefix(name, "set/"), "/") {
				t.Errorf("a response on %.80s…", m.Topic)
			}
		}
	}
	for line := range strings.Lines(env.Bridge.Stderr()) {
		if len(line) > 1024 {
			t.Errorf("a log line of %d bytes: %.100s…", len(line), line)
		}
	}
}

// TestBrokerPacketLimit uses a broker that closes the connection of a client with a large message: a response is replaced by a short
// one, a retained message is left out, and everything else keeps working.
func TestBrokerPacketLimit(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{Persistent: true, Configuration: "max_packet_size 20000"})
	env.Configure(t, []string{"enable_update: true"}, "out_of_office: {type: auto_reply, interval: 5s}",
		"calendar: {type: calendar, interval: 5s, on_demand: true, publish_items: true, end_offset: 240h}")
	day := time.Now().UTC().Truncate(time.Hour).Add(time.Hour)
	for i := range 200 {
		start := day.Add(time.Duration(i) * time.Hour)
		env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{
			Subject: fmt.Sprintf("Meeting %d %s", i, strings.Repeat("x", 150)), Start: start, End: start.Add(time.Minute),
		})
	}
	env.SignIn(t)
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	env.Start(t)
	env.awaitOnline(t, seen)
	seen.AwaitPayload(t, calendarTopic+"availability", "online")
	env.Bridge.AwaitLine(t, calendarTopic+"items") // the log names the topic of the message that was left out
	seen.AwaitPayload(t, calendarTopic+"items", "")
	env.awaitOnline(t, seen)
	env.checkSwitch(t, seen)

	before := seen.Len()
	env.Broker.Publish(t, calendarTopic+"request/list", string(encode(t, map[string]any{
		"start": day.Format(time.RFC3339), "end": day.AddDate(0, 0, 9).Format(time.RFC3339), "transaction": "list-1",
	})))
	m := seen.AwaitItem(t, "the short response", before, func(m Message) bool { return m.Topic == calendarTopic+"response/list" })
	var r Response
	m.Decode(t, &r)
	if r.Transaction != "list-1" || r.Status != "error" || r.Error == nil || !slices.Contains([]string{"too_large", "internal"}, r.Error.Code) {
		t.Errorf("response %v", m)
	}
	env.awaitOnline(t, seen)
	env.checkSwitch(t, seen)
	for _, items := range seen.Payloads(calendarTopic + "items") {
		if items != "[]" && items != "" { // before the first poll, and in place of what is too large
			t.Errorf("the broker accepted %d bytes of items", len(items))
		}
	}
}

// TestRefreshFlood checks that requests for a refresh are all answered but do not make the bridge flood Graph.
func TestRefreshFlood(t *testing.T) {
	env, seen := startBridge(t, MosquittoOptions{})
	const rounds, requests, response = 6, 20, "graph2mqtt/work/response/refresh"
	polls := func() int { return env.Microsoft.Count("GET", "/v1.0/me/mailboxSettings") }
	before, start := polls(), time.Now()
	for i := range rounds {
		runCommand(t, strings.Repeat("{}\n", requests), "mosquitto_pub", env.Broker.client("-q", "1", "-t", "graph2mqtt/work/request/refresh", "-l")...)
		seen.Await(t, "a response to each request", func([]Message) bool { return len(seen.Payloads(response)) >= (i+1)*requests })
	}
	for _, r := range responsesOn(t, seen, response) {
		if r.Status != "ok" {
			t.Errorf("response %+v", r)
		}
	}
	// The sensor polls every five seconds by itself, and at most every five seconds because it was asked to.
	if got, most := polls()-before, 2*(int(time.Since(start)/(5*time.Second))+2); got > most {
		t.Errorf("%d polls for %d requests, want at most %d", got, rounds*requests, most)
	}
}

// TestSignInFlood checks that one sign-in at a time is started over MQTT, however often it is requested.
func TestSignInFlood(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{})
	env.Configure(t, []string{"sign_in_over_mqtt: true"}, "out_of_office: {type: auto_reply}")
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	env.Start(t)
	seen.AwaitPayload(t, "graph2mqtt/bridge/state", "online")
	env.ping(t, seen)
	const requests, response = 50, "graph2mqtt/work/response/sign_in"
	runCommand(t, strings.Repeat("{}\n", requests), "mosquitto_pub", env.Broker.client("-q", "1", "-t", "graph2mqtt/work/request/sign_in", "-l")...)
	seen.Await(t, "a response to each request", func([]Message) bool { return len(seen.Payloads(response)) >= requests })
	if got := env.deviceCodes(); got != 1 {
		t.Errorf("%d device codes for %d requests, want 1", got, requests)
	}
}

// deviceCodes returns the number of device codes that were requested.
func (env *Environment) deviceCodes() int {
	n := 0
	for _, r := range env.Microsoft.Requests() {
		if strings.HasSuffix(r.Path, "/devicecode") {
			n++
		}
	}
	return n
}

// TestStrangerSignIn checks that a client of the broker cannot sign in with another user's account.
func TestStrangerSignIn(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{})
	env.Microsoft.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	env.Configure(t, nil, "out_of_office: {type: auto_reply}")
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	env.Start(t)
	seen.AwaitPayload(t, "graph2mqtt/bridge/state", "online")
	env.ping(t, seen)
	const response = "graph2mqtt/work/response/sign_in"
	env.Broker.Publish(t, "graph2mqtt/work/request/sign_in", "{}")
	seen.AwaitValues(t, response, map[string]any{"status": "error"})
	if got := env.deviceCodes(); got != 0 {
		t.Errorf("%d device codes", got)
	}

	// After the first sign-in only the same user can sign in again.
	env.SignIn(t)
	seen.AwaitPayload(t, outOfOffice+"availability", "online")
	env.Microsoft.RevokeSessions(simulator.Adele)
	env.Microsoft.ExpireAccessTokens()
	signIn := func(user string) {
		t.Helper()
		env.Microsoft.SetSignIn(simulator.SignIn{User: user})
		before := seen.Len()
		throttled := func() bool { // at least 10 s lie between two device codes
			sent := seen.Len()
			env.Broker.Publish(t, "graph2mqtt/work/request/sign_in", "{}")
			m := seen.AwaitItem(t, "the response to sign_in", sent, func(m Message) bool { return m.Topic == response })
			var r Response
			m.Decode(t, &r)
			return r.Error != nil && r.Error.Code == "throttled"
		}
		for throttled() {
			time.Sleep(time.Second)
		}
		asked := seen.AwaitItem(t, "a device code", before, func(m Message) bool {
			return m.Topic == "graph2mqtt/work/status" && codeOf(m) != ""
		})
		if err := env.Microsoft.ApproveDevice(codeOf(asked)); err != nil {
			t.Fatal(err)
		}
	}
	env.Broker.Publish(t, "graph2mqtt/work/request/refresh", "{}")
	seen.AwaitPayload(t, "graph2mqtt/work/state", "offline")
	signIn(simulator.Megan)
	seen.AwaitNewest(t, "graph2mqtt/work/status", "refuses the other user", func(payload string) bool {
		return codeOf(Message{Payload: payload}) == "" && strings.Contains(payload, simulator.Megan)
	})
	if slices.ContainsFunc(env.Microsoft.Requests(), func(r simulator.Request) bool {
		return r.User == simulator.Megan && strings.HasPrefix(r.Path, "/v1.0/me/mailboxSettings")
	}) {
		t.Error("the bridge read the stranger's mailbox")
	}
	signIn(simulator.Adele)
	seen.AwaitPayload(t, outOfOffice+"availability", "online")
}

// codeOf returns the device code in an account's status.
func codeOf(m Message) string {
	var status struct {
		SignIn struct{ Code *string } `json:"sign_in"`
	}
	if decode(m.Payload, &status) != nil || status.SignIn.Code == nil {
		return ""
	}
	return *status.SignIn.Code
}

// TestRetainedFlood publishes a command while 5,000 retained ones are waiting: it is not answered last.
func TestRetainedFlood(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{Configuration: "max_queued_messages 20000"})
	env.Configure(t, []string{"enable_update: true"}, "out_of_office: {type: auto_reply}")
	env.SignIn(t)

	const flood = 5000
	options := paho.NewClientOptions().AddBroker("tcp://" + env.Broker.Addr).SetClientID("flood")
	client := paho.NewClient(options)
	wait := func(token paho.Token) {
		t.Helper()
		if !token.WaitTimeout(waitTimeout) || token.Error() != nil {
			t.Fatalf("flooding the broker: %v", token.Error())
		}
	}
	wait(client.Connect())
	defer client.Disconnect(0)
	var last paho.Token
	for i := range flood {
		last = client.Publish(fmt.Sprintf("%srequest/flood%d", outOfOffice, i), 1, true, "{}")
		if i%500 == 0 {
			wait(last)
		}
	}
	wait(last)

	seen := env.Broker.Subscribe(t, outOfOffice+"response/#", "graph2mqtt/bridge/state")
	env.Start(t)
	seen.AwaitPayload(t, "graph2mqtt/bridge/state", "online")
	before, start := seen.Len(), time.Now()
	env.Broker.Publish(t, switchTopic, "ON")
	seen.AwaitItem(t, "the response to the real command", before, func(m Message) bool {
		return m.Topic == switchResponse && hasValues(m.Payload, map[string]any{"status": "ok"})
	})
	refused := len(seen.Since(before)) - 1
	t.Logf("%d refusals before the real response, which took %v", refused, time.Since(start).Round(time.Millisecond))
	if refused > flood/2 {
		t.Errorf("%d of %d refusals came before the response to the real command", refused, flood)
	}
	isFlood := func(m Message) bool { return strings.HasPrefix(m.Topic, outOfOffice+"response/flood") }
	for _, m := range seen.All() {
		if isFlood(m) && !strings.Contains(m.Payload, "retained_refused") {
			t.Errorf("response %v", m)
			break
		}
	}
	if got := env.Microsoft.Count("PATCH", ""); got != 1 {
		t.Errorf("%d changes at Microsoft, want 1", got)
	}
}
