//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const calendarTopic = "graph2mqtt/work/calendar/"

// TestCalendar reads a calendar and creates an event from Home Assistant.
func TestCalendar(t *testing.T) {
	testCalendar(t, "calendar: {type: calendar, interval: 5s}", simulator.Adele)
}

// TestGroupCalendar is TestCalendar for the calendar of a group.
func TestGroupCalendar(t *testing.T) {
	const project = "project@contoso.example"
	testCalendar(t, "calendar: {type: group_calendar, group: "+project+", interval: 5s}", project)
}

// testCalendar runs with a sensor called calendar, of the default calendar of a mailbox. If that is not a user's, it is added as a group.
func testCalendar(t *testing.T, sensor, mailbox string) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := NewEnvironment(t, MosquittoOptions{})
		if mailbox != simulator.Adele {
			env.Microsoft.AddGroup(simulator.Group{Name: "Project", Address: mailbox, Members: []string{simulator.Adele}})
		}
		env.run(t, ha, sensor)
		ha.AwaitState(t, "binary_sensor.work_calendar_busy", "off")
		begin := time.Now().Add(time.Minute).UTC().Truncate(time.Second)
		env.Microsoft.AddEvent(mailbox, "", simulator.Event{
			Subject: `Lunch "Grüße" {{ 1 + 1 }}`, Start: begin, End: begin.Add(time.Hour), Location: "Café", Body: "<p>With <b>Megan</b></p>",
		})
		ha.AwaitState(t, "sensor.work_calendar_next", `Lunch "Grüße" {{ 1 + 1 }}`)
		ha.AwaitState(t, "sensor.work_calendar_next_start", begin.Format("2006-01-02T15:04:05+00:00"))
		ha.Changes.AwaitItem(t, "event_created on the event entity", 0, func(c Change) bool { // the reminder may replace it at once
			return c.EntityID == "event.work_calendar_event" && c.New != nil && c.New.Attributes["event_type"] == "event_created"
		})

		// Create an event the way an automation does.
		now := time.Now().Add(-time.Minute).Truncate(time.Second)
		responses := env.Broker.Subscribe(t, calendarTopic+"response/#")
		ha.Service(t, "mqtt.publish", "", map[string]any{"topic": calendarTopic + "request/create", "qos": 1, "payload": string(encode(t, map[string]any{
			"subject": "Focus", "start": now.Format(time.RFC3339), "end": now.Add(time.Hour).Format(time.RFC3339), "transaction": "focus-1",
		}))})
		responses.AwaitValues(t, calendarTopic+"response/create", map[string]any{"status": "ok", "transaction": "focus-1"})
		ha.AwaitState(t, "binary_sensor.work_calendar_busy", "on")
		ha.AwaitState(t, "sensor.work_calendar_current", "Focus")
		ha.AwaitEntity(t, "binary_sensor.work_calendar_busy", "has both events", func(s State) bool {
			data, _ := s.Attributes["data"].([]any)
			return len(data) == 2 && s.Attributes["message"] == "Focus"
		})

		// Removing the events in Outlook ends them here.
		for _, e := range env.Microsoft.Events(mailbox, "") {
			env.Microsoft.RemoveEvent(mailbox, e["id"].(string))
		}
		ha.AwaitState(t, "binary_sensor.work_calendar_busy", "off")
		ha.AwaitState(t, "sensor.work_calendar_next", "unknown")
		ha.CheckLog(t)
	})
}

// TestEventStartsOnTime checks that the sensor turns on at the second an event starts, even while Graph is slow to answer.
func TestEventStartsOnTime(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{})
	env.Configure(t, nil, "calendar: {type: calendar, interval: 5s}")
	env.SignIn(t)
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	begin := time.Now().Add(10 * time.Second).UTC().Truncate(time.Second)
	env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Stand-up", Start: begin, End: begin.Add(3 * time.Second)})
	env.Start(t)
	seen.AwaitValues(t, calendarTopic+"state", map[string]any{"busy": false, "next": "Stand-up"})

	env.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Delay: 20 * time.Second, Times: -1})
	env.Microsoft.ForgetRequests()
	for _, busy := range []bool{true, false} {
		at := begin
		if !busy {
			at = begin.Add(3 * time.Second)
		}
		seen.AwaitValues(t, calendarTopic+"state", map[string]any{"busy": busy, "next": nil})
		late := time.Since(at)
		t.Logf("busy is %v %v after the second", busy, late.Round(100*time.Microsecond))
		// The bound allows for a loaded machine; a bridge that waited for Graph would be ten seconds late.
		if late < 0 || late > 5*time.Second {
			t.Errorf("busy became %v %v after it should", busy, late)
		}
	}
	if slices.ContainsFunc(env.Microsoft.Requests(), func(r simulator.Request) bool { return !r.Fault }) {
		t.Error("Graph answered, so the test proves nothing")
	}
}

// TestCreateWithLostAnswer drops Graph's response to a create: the event exists once, and the request is answered.
func TestCreateWithLostAnswer(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]simulator.Fault{"reset": {Reset: true}, "timeout": {Status: 504}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := NewEnvironment(t, MosquittoOptions{})
			env.Configure(t, []string{"enable_update: true"}, "calendar: {type: calendar}")
			env.SignIn(t)
			seen := env.Broker.Subscribe(t, "graph2mqtt/#")
			env.Start(t)
			seen.AwaitPayload(t, calendarTopic+"availability", "online")

			fault.Method, fault.Path, fault.Done = "POST", "/v1.0/me/", true
			env.Microsoft.Fail(fault)
			const request = `{"subject": "Review", "start": "2030-01-07T10:00:00", "end": "2030-01-07T11:00:00", "transaction": "review-1"}`
			for i, duplicate := range []bool{false, true} {
				before := seen.Len()
				env.Broker.Publish(t, calendarTopic+"request/create", request)
				m := seen.AwaitItem(t, fmt.Sprintf("response %d", i), before, func(m Message) bool { return m.Topic == calendarTopic+"response/create" })
				if !hasValues(m.Payload, map[string]any{"status": "ok", "duplicate": duplicate}) {
					t.Errorf("response %d: %v", i, m)
				}
			}
			if got := len(env.Microsoft.Events(simulator.Adele, "")); got != 1 {
				t.Errorf("%d events at Microsoft, want 1", got)
			}
			if posts := env.Microsoft.Count("POST", "/v1.0/me/"); posts != 2 {
				t.Errorf("%d posts, want the one without a response and its retry", posts)
			}
		})
	}
}
