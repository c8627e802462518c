//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestAutoReply reads, switches, schedules and writes the automatic replies from Home Assistant.
func TestAutoReply(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		const id = "work_out_of_office_"
		const mode, enabled, internal = "select." + id + "mode", "switch." + id + "enabled", "text." + id + "internal_reply"
		const audience = "select." + id + "external_audience"
		env := startEnvironment(t, ha, MosquittoOptions{Persistent: true, Username: "graph2mqtt", Password: "secret"},
			"out_of_office: {type: auto_reply, interval: 5s}")
		replies := func() simulator.AutomaticReplies { return env.Microsoft.AutomaticReplies(simulator.Adele) }
		outlook := func(r simulator.AutomaticReplies) { env.Microsoft.SetAutomaticReplies(simulator.Adele, r) }

		ha.AwaitState(t, mode, "Off")
		ha.AwaitState(t, enabled, "off")
		outlook(simulator.AutomaticReplies{InternalReply: "<p>I am away.</p>", ExternalAudience: "all"})
		ha.AwaitState(t, internal, "I am away.")
		ha.AwaitState(t, audience, "Everyone")

		ha.Service(t, "switch.turn_on", enabled, nil)
		ha.AwaitState(t, enabled, "on")
		ha.AwaitState(t, mode, "Always")
		ha.AwaitState(t, "binary_sensor."+id+"active", "on")
		if got := replies().Status; got != "alwaysEnabled" {
			t.Errorf("status at Microsoft: %q", got)
		}
		ha.AwaitEntity(t, "event."+id+"event", "fired", func(s State) bool {
			return s.Attributes["event_type"] == "auto_reply_changed" && s.Attributes["previous_mode"] == "disabled"
		})
		ha.AwaitEntity(t, "event.work_event", "fired", func(s State) bool { return s.Attributes["event_type"] == "command_ok" })
		ha.Service(t, "select.select_option", audience, map[string]any{"option": "Contacts only"})
		ha.AwaitState(t, audience, "Contacts only")

		for _, text := range []string{`Back on "Monday" <at 9>`, "Grüße & more ⏎ from {{ 1 + 1 }} 日本", "{{ states('sun.sun') }}"} {
			ha.Service(t, "text.set_value", "text."+id+"external_reply", map[string]any{"value": text})
			ha.AwaitEntity(t, "text."+id+"external_reply", "is "+text, func(s State) bool { return s.State == text })
		}
		if err := ha.TryService("text.set_value", internal, map[string]any{"value": strings.Repeat("x", 256)}); err == nil {
			t.Error("Home Assistant accepted a text of 256 characters")
		}
		long := strings.Repeat("Grüße & {{ 1 + 1 }} \"so\"\n", 40)
		ha.Service(t, "notify.send_message", "notify."+id+"long_internal_reply", map[string]any{"message": long})
		ha.AwaitEntity(t, mode, "has the long reply", func(s State) bool {
			reply, _ := s.Attributes["internal_reply"].(string)
			return strings.TrimSpace(reply) == strings.TrimSpace(long)
		})
		short := ha.AwaitEntity(t, internal, "is shortened", func(s State) bool { return strings.HasPrefix(s.State, "Grüße") })
		if n := len([]rune(short.State)); n > 255 {
			t.Errorf("%d characters", n)
		}
		// Writing back the displayed (truncated) text does not overwrite the stored one.
		before := replies().InternalReply
		env.Broker.Publish(t, "graph2mqtt/work/out_of_office/set/internal_reply", short.State)
		ha.Service(t, "select.select_option", audience, map[string]any{"option": "Nobody"})
		ha.AwaitState(t, audience, "Nobody")
		if got := replies().InternalReply; got != before {
			t.Errorf("the long reply is now %q", got)
		}

		// A schedule is made in Outlook and changed in Home Assistant. The switch is on until the schedule ends.
		begin := time.Now().UTC().Add(24 * time.Hour).Truncate(time.Second)
		outlook(simulator.AutomaticReplies{Status: "scheduled", Start: begin, End: begin.Add(time.Hour)})
		ha.AwaitState(t, mode, "Scheduled")
		ha.AwaitState(t, "sensor."+id+"start", begin.Format("2006-01-02T15:04:05+00:00"))
		ha.AwaitState(t, "binary_sensor."+id+"active", "off")
		ha.AwaitState(t, enabled, "on")
		// A datetime without a zone is in the time zone of Home Assistant and of the mailbox.
		if ha.AtLeast(t, 2026, 5) { // earlier versions lack the MQTT datetime platform
			ha.Service(t, "datetime.set_value", "datetime."+id+"end", map[string]any{"datetime": "2030-07-01 18:00:00"})
		} else {
			env.Broker.Publish(t, "graph2mqtt/work/out_of_office/request/update", `{"end": "2030-07-01T18:00:00"}`)
		}
		ha.AwaitState(t, "sensor."+id+"end", "2030-07-01T16:00:00+00:00")

		// After a refused command Home Assistant shows the actual state again.
		env.Microsoft.Fail(simulator.Fault{Method: "PATCH", Path: "/v1.0/me/mailboxSettings", Status: 403, Code: "ErrorAccessDenied"})
		refused := func() {
			t.Helper()
			ha.AwaitEntity(t, "event.work_event", "fired command_failed", func(s State) bool { return s.Attributes["event_type"] == "command_failed" })
		}
		ha.Service(t, "switch.turn_off", enabled, nil)
		refused()
		ha.AwaitState(t, enabled, "on")
		ha.AwaitState(t, mode, "Scheduled")
		ha.Service(t, "switch.turn_off", enabled, nil)
		ha.AwaitState(t, mode, "Off")
		if err := ha.TryService("select.select_option", mode, map[string]any{"option": "sometimes"}); err == nil {
			t.Error("Home Assistant accepted an unknown mode")
		}
		env.Broker.Publish(t, "graph2mqtt/work/out_of_office/set/mode", "sometimes")
		refused()
		ha.AwaitState(t, mode, "Off")

		// The refresh buttons poll Graph immediately.
		for _, button := range []string{"button.work_refresh", "button.graph2mqtt_refresh"} {
			seen := env.Broker.Subscribe(t, "graph2mqtt/#")
			ha.Service(t, "button.press", button, nil)
			seen.AwaitItem(t, "the response to "+button, 0, func(m Message) bool {
				return strings.HasSuffix(m.Topic, "/response/refresh") && hasValues(m.Payload, map[string]any{"status": "ok"})
			})
			seen.Close(t)
		}
		ha.Service(t, "select.select_option", "select.graph2mqtt_log_level", map[string]any{"option": "Debug"})
		ha.AwaitState(t, "select.graph2mqtt_log_level", "Debug")
		ha.CheckLog(t, "websocket_api.http.connection") // Home Assistant logs the calls that it refused

		env.Stop(t)
		ha.AwaitState(t, mode, "unavailable")
		ha.AwaitState(t, "binary_sensor.graph2mqtt_connection", "off")
		ha.CheckLog(t, "websocket_api.http.connection")
	})
}
