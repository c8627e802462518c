//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestTextRoundTrip edits replies in Home Assistant's text box, which has 255 characters and no line breaks: no text is lost.
func TestTextRoundTrip(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := startEnvironment(t, ha, MosquittoOptions{}, "out_of_office: {type: auto_reply, interval: 5s}")
		const box, mode = "text.work_out_of_office_internal_reply", "select.work_out_of_office_mode"
		const topic, response = outOfOffice + "set/internal_reply", outOfOffice + "response/set/internal_reply"
		seen := env.Broker.Subscribe(t, outOfOffice+"response/#")
		stored := func(want string) {
			t.Helper()
			ha.AwaitEntity(t, mode, "has the reply", func(s State) bool {
				reply, _ := s.Attributes["internal_reply"].(string)
				return strings.TrimSpace(reply) == want
			})
		}

		// Line breaks are shown as ⏎, which is converted back to line breaks.
		env.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{ExternalAudience: "all", InternalReply: "<p>I am away.<br>Ask Megan.</p>"})
		ha.AwaitState(t, box, "I am away. ⏎ Ask Megan.")
		stored("I am away.\nAsk Megan.")
		ha.Service(t, "text.set_value", box, map[string]any{"value": "I am away. ⏎ Ask Alex. ⏎ Bye"})
		ha.AwaitState(t, box, "I am away. ⏎ Ask Alex. ⏎ Bye")
		stored("I am away.\nAsk Alex.\nBye")

		// An empty text is a value.
		before := seen.Len()
		ha.Service(t, "text.set_value", box, map[string]any{"value": ""})
		seen.AwaitItem(t, "the response to an empty text", before, func(m Message) bool {
			return m.Topic == response && hasValues(m.Payload, map[string]any{"op": "update", "status": "ok"})
		})
		ha.AwaitState(t, box, "")

		// A long text is set with the notify entity and shown shortened; writing the shortened one back is refused.
		long := strings.Repeat("I am away. Ask Megan. ", 20)
		ha.Service(t, "notify.send_message", "notify.work_out_of_office_long_internal_reply", map[string]any{"message": long})
		stored(strings.TrimSpace(long))
		short := ha.AwaitEntity(t, box, "is shortened", func(s State) bool { return strings.HasSuffix(s.State, "…") })
		if n := len([]rune(short.State)); n > 255 {
			t.Errorf("%d characters", n)
		}
		before = seen.Len()
		ha.Service(t, "text.set_value", box, map[string]any{"value": "Hello! " + short.State[len("I am away."):]})
		refused := seen.AwaitItem(t, "the refusal", before, func(m Message) bool {
			return m.Topic == response && hasValues(m.Payload, map[string]any{"status": "error"})
		})
		var r Response
		refused.Decode(t, &r)
		if r.Error == nil || r.Error.Code != "invalid_argument" || !strings.Contains(r.Error.Message, "Long internal reply") || !strings.Contains(r.Error.Message, "update") {
			t.Errorf("refusal %v, want the notify entity and the request for long texts", refused)
		}
		ha.AwaitState(t, box, short.State)
		stored(strings.TrimSpace(long))

		// A text that ends in … is accepted only when nothing is hidden.
		before = seen.Len()
		env.Broker.Publish(t, topic, "Back soon…")
		seen.AwaitItem(t, "the refusal of a text that ends like a shortened one", before, func(m Message) bool {
			return m.Topic == response && hasValues(m.Payload, map[string]any{"status": "error"})
		})
		ha.Service(t, "text.set_value", box, map[string]any{"value": "Back soon"})
		ha.AwaitState(t, box, "Back soon")
		ha.Service(t, "text.set_value", box, map[string]any{"value": "Back soon…"})
		ha.AwaitState(t, box, "Back soon…")
		stored("Back soon…")
		ha.CheckLog(t)
	})
}
