//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestLastingUnauthorized makes Graph reject every token: the failure is reported once in the log and in the account's status, the
// bridge does not ask for a new token at every poll, and it recovers by itself.
func TestLastingUnauthorized(t *testing.T) {
	env, seen := startBridge(t, MosquittoOptions{})
	seen.AwaitValues(t, "graph2mqtt/work/status", map[string]any{"connected": true})
	tokens := func() []time.Time {
		var times []time.Time
		for _, r := range env.Microsoft.Requests() {
			if strings.HasSuffix(r.Path, "/token") {
				times = append(times, r.Time)
			}
		}
		return times
	}
	before, logged := len(tokens()), len(env.Bridge.Stderr())
	var rejected Recorder[simulator.Request]
	env.Microsoft.OnRequest(func(r simulator.Request) {
		if r.Status == 401 {
			rejected.Add(r)
		}
	})
	env.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: 401, Times: -1})
	reported := seen.AwaitNewest(t, "graph2mqtt/work/status", "is not connected", func(payload string) bool {
		return hasValues(payload, map[string]any{"connected": false})
	})
	var status struct{ Error *string }
	Message{Payload: reported}.Decode(t, &status)
	if status.Error == nil || *status.Error == "" {
		t.Errorf("the status has no error: %s", reported)
	}
	rejected.Await(t, "further polls", func(all []simulator.Request) bool { return len(all) >= 4 })
	problems := slices.DeleteFunc(strings.Split(env.Bridge.Stderr()[logged:], "\n"), func(line string) bool {
		return !strings.Contains(line, "level=WARN") && !strings.Contains(line, "level=ERROR")
	})
	if len(problems) != 1 {
		t.Errorf("%d warnings and errors, want one:\n%s", len(problems), strings.Join(problems, "\n"))
	}
	// A rejected token is not sent again, and the pauses between new ones double.
	renewed := tokens()[before:]
	for i, least := 1, 2*time.Second; i < len(renewed); i, least = i+1, 2*least {
		if pause := renewed[i].Sub(renewed[i-1]); pause < least-100*time.Millisecond {
			t.Errorf("a new token %v after the one before, want at least %v", pause, least)
		}
	}
	env.Microsoft.ClearFaults()
	// The pauses have grown: a refresh does not wait for their end.
	env.Broker.Publish(t, "graph2mqtt/work/request/refresh", "{}")
	seen.AwaitValues(t, "graph2mqtt/work/status", map[string]any{"connected": true})
	env.awaitOnline(t, seen)
}

// TestBrokerRestartKeepsEvents creates events while the broker is stopped: they are published in order when it is back.
func TestBrokerRestartKeepsEvents(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{Persistent: true})
	env.Configure(t, nil, "calendar: {type: calendar, interval: 5s}")
	env.SignIn(t)
	var polls Recorder[simulator.Request]
	env.Microsoft.OnRequest(func(r simulator.Request) {
		if strings.Contains(r.Path, "/calendarView") {
			polls.Add(r)
		}
	})
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	env.Start(t)
	seen.AwaitPayload(t, calendarTopic+"availability", "online")
	seen.AwaitPayload(t, "graph2mqtt/bridge/state", "online")
	seen.Close(t)
	// The broker keeps the session of this subscriber, so the order of the reconnects does not matter.
	env.Broker.SubscribeDurable(t, "events", calendarTopic+"event").Close(t)
	env.Broker.Stop()

	var want []string
	start := time.Now().UTC().Truncate(time.Second).Add(2 * time.Hour)
	for i := range 4 {
		subject := fmt.Sprintf("Meeting %d", i)
		want = append(want, "event_created "+subject)
		before := polls.Len()
		// In the order of their starts two events stay in order even if one poll finds both.
		begin := start.Add(time.Duration(i) * time.Minute)
		env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: subject, Start: begin, End: begin.Add(time.Hour)})
		// The first request may be the end of a poll that asked before the event was there; a poll that finds it needs two.
		polls.Await(t, "the poll that finds the event", func(all []simulator.Request) bool { return len(all) >= before+3 })
	}
	env.Broker.Start()
	events := env.Broker.SubscribeDurable(t, "events", calendarTopic+"event")
	events.Await(t, "an event for each meeting", func(all []Message) bool { return len(all) >= len(want) })
	var got []string
	for _, m := range events.All() {
		var event struct {
			Type    string `json:"event_type"`
			Summary string
		}
		m.Decode(t, &event)
		got = append(got, event.Type+" "+event.Summary)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
