//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const chatTopic = "graph2mqtt/work/chats/"

// TestChat shows a message in Home Assistant, fires its event, and answers it with the notify entity.
func TestChat(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		const group = "19:e2e@thread.v2"
		env := startEnvironment(t, ha, MosquittoOptions{}, "chats: {type: chat, interval: 5s, notify: {chat: '"+group+"'}}")
		ha.AwaitState(t, "sensor.work_chats_unread", "0")
		env.Microsoft.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen"})
		env.Microsoft.AddChat(simulator.Chat{ID: group, Topic: "Lunch", Members: []string{simulator.Adele, "megan@contoso.example"}})
		env.Microsoft.PostChatMessage(group, simulator.ChatMessage{
			From: "megan@contoso.example", HTML: true, Body: `<p><at id="0">Adele Vance</at>, "Grüße" {{ 1 + 1 }}</p>`, Mentions: []simulator.ChatMention{{Address: simulator.Adele, Name: "Adele Vance"}},
		})
		ha.AwaitState(t, "sensor.work_chats_latest", `Adele Vance, "Grüße" {{ 1 + 1 }}`)
		ha.AwaitState(t, "sensor.work_chats_latest_from", "Megan Bowen")
		ha.AwaitState(t, "sensor.work_chats_unread", "1")
		for _, event := range []string{"message_received", "mention_received"} {
			ha.Changes.AwaitItem(t, event+" on the event entity", 0, func(c Change) bool {
				return c.EntityID == "event.work_chats_event" && c.New != nil && c.New.Attributes["event_type"] == event && c.New.Attributes["mentions_me"] == true
			})
		}
		ha.AwaitEntity(t, "sensor.work_chats_latest", "has the chat", func(s State) bool {
			data, _ := s.Attributes["data"].([]any)
			return len(data) == 1 && s.Attributes["chat_id"] == group
		})

		responses := env.Broker.Subscribe(t, chatTopic+"response/#")
		ha.Service(t, "notify.send_message", "notify.work_chats_send", map[string]any{"message": "On <my> way"})
		responses.AwaitValues(t, chatTopic+"response/send", map[string]any{"status": "ok"})
		if m := env.Microsoft.ChatMessages(group); m[len(m)-1].Body != "On <my> way" || m[len(m)-1].From != simulator.Adele {
			t.Errorf("at Microsoft: %+v", m[len(m)-1])
		}
		ha.AwaitState(t, "sensor.work_chats_latest", "On <my> way")
		ha.AwaitState(t, "sensor.work_chats_unread", "0")
		ha.CheckLog(t)
	})
}

// TestSendWithLostAnswer drops Graph's response to a message: it is sent once, and the request is answered.
func TestSendWithLostAnswer(t *testing.T) {
	t.Parallel()
	const group = "19:e2e@thread.v2"
	env := NewEnvironment(t, MosquittoOptions{})
	env.Microsoft.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen"})
	env.Microsoft.AddChat(simulator.Chat{ID: group, Topic: "Lunch", Members: []string{simulator.Adele, "megan@contoso.example"}})
	env.Microsoft.PostChatMessage(group, simulator.ChatMessage{From: simulator.Adele, Body: "Hi", Created: time.Now().Add(-time.Minute)})
	env.Configure(t, []string{"enable_update: true"}, "chats: {type: chat}")
	env.SignIn(t)
	seen := env.Broker.Subscribe(t, "graph2mqtt/#")
	env.Start(t)
	seen.AwaitPayload(t, chatTopic+"availability", "online")
	env.Microsoft.Fail(simulator.Fault{Method: "POST", Path: "/v1.0/chats/", Status: 504, Done: true})
	env.Broker.Publish(t, chatTopic+"request/send", `{"chat_id": "`+group+`", "message": "Hi", "transaction": "1"}`)
	seen.AwaitValues(t, chatTopic+"response/send", map[string]any{"status": "ok", "transaction": "1"})
	if n := len(env.Microsoft.ChatMessages(group)); n != 2 {
		t.Errorf("%d messages, want the earlier one and one more", n)
	}
}
