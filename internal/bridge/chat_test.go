package bridge_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestChatsOverMQTT(t *testing.T) {
	const megan, group = "megan@contoso.example", "19:bridge@thread.v2"
	h := newHarness(t)
	h.Microsoft.AddUser(simulator.User{Address: megan, Name: "Megan Bowen"})
	h.Microsoft.AddChat(simulator.Chat{ID: group, Topic: "Lunch", Members: []string{simulator.Adele, megan}})
	h.Microsoft.PostChatMessage(group, simulator.ChatMessage{From: megan, Body: "Hi"})
	team := h.Microsoft.AddTeam(simulator.Team{Name: "Contoso", Members: []string{simulator.Adele, megan}})
	h.one("enable_update: true", "chats: {type: chat, notify: {to: [megan@contoso.example]}, allow: [default, mark_read]}", "news: {type: channel, team: Contoso, allow: [default, mention_by_address]}")
	h.SignIn("work")
	h.Start()
	h.Values("graph2mqtt/work/chats/state", map[string]any{"latest": "Hi", "latest_from": "Megan Bowen", "unread": 1.0})
	h.Shows("graph2mqtt/work/news/availability", "online")
	answered := func(mark int, topic string) {
		t.Helper()
		if response := h.Next(mark, topic, func(string) bool { return true }); !strings.Contains(response, `"status":"ok"`) {
			t.Errorf("response %s", response)
		}
	}
	request := func(sensor, operation, payload string) {
		t.Helper()
		mark := h.mark()
		h.Publish("graph2mqtt/work/"+sensor+"/request/"+operation, payload)
		answered(mark, "graph2mqtt/work/"+sensor+"/response/"+operation)
	}
	request("chats", "mark_read", `{"chat_id": "`+group+`"}`)
	h.Values("graph2mqtt/work/chats/state", map[string]any{"unread": 0.0})

	mark := h.mark()
	h.Microsoft.PostChatMessage(group, simulator.ChatMessage{From: megan, Body: "Adele?", Mentions: []simulator.ChatMention{{Address: simulator.Adele, Name: "Adele"}}})
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	for _, event := range []string{"message_received", "mention_received"} {
		h.Next(mark, "graph2mqtt/work/chats/event", func(p string) bool {
			return includes(p, map[string]any{"event_type": event, "preview": "Adele?", "mentions_me": true, "chat_id": group})
		})
	}

	// Names are looked up for requests, too, and people for mentions.
	request("news", "send", `{"message": "Hello @megan@contoso.example", "mentions": [{"address": "megan@contoso.example"}]}`)
	posted := h.Microsoft.ChannelMessages(team.ID, team.Channels[0].ID)
	if len(posted) != 1 || posted[0].Body != `Hello <at id="0">Megan Bowen</at>` {
		t.Errorf("at Microsoft: %+v", posted)
	}
	h.Publish("graph2mqtt/work/news/request/reply", `{"message_id": "`+posted[0].ID+`", "message": "Bye"}`)
	h.Next(mark, "graph2mqtt/work/news/response/reply", func(p string) bool { return strings.Contains(p, `"status":"ok"`) })

	// The group that was made for several people is found again after a restart.
	h.Microsoft.AddUser(simulator.User{Address: "lee@contoso.example", Name: "Lee Gu"})
	const both = `{"to": ["megan@contoso.example", "lee@contoso.example"], "message": "Hi both"}`
	request("chats", "send", both)
	chats := len(h.Microsoft.Chats())
	h.Stop()
	h.Start()
	h.Values("graph2mqtt/work/chats/state", map[string]any{"latest": "Hi both"})
	request("chats", "send", both)
	if n := len(h.Microsoft.Chats()); n != chats {
		t.Errorf("%d chats, want %d", n, chats)
	}
}

// What Teams cannot do is refused when the configuration is read.
func TestChatConfiguration(t *testing.T) {
	for sensor, want := range map[string]string{
		"{type: channel, team: Contoso}":                                           "read (line 9): want true, or enable_update: true: the sensor would neither read nor change anything",
		"{type: chat, basic: true, on_demand: true}":                               "basic (line 9): not with on_demand: Chat.ReadBasic does not give messages",
		"{type: chat, notify: {to: [ann@contoso.com]}}":                            "notify (line 9): only with enable_update: true",
		"{type: chat, allow: [forward]}":                                           `allow[0] (line 9): unknown operation "forward"; type chat has: contacts_search, create, history, mark_read, mark_unread, people_search, person, person_full, react, reply, send`,
		"{type: chats}":                                                            "did you mean chat?",
		"{type: channel, enable_update: true, team: x, channel: a, channels: [b]}": "channels (line 9): not with channel",
		"{type: chat, read: false}":                                                "read (line 9): want true, or enable_update: true: the sensor would neither read nor change anything",
	} {
		h := newHarness(t)
		h.one("", "chats: "+sensor)
		_, err := runtime.Load(config.Sources{File: h.path("graph2mqtt.yaml")}, runtime.Kinds())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", sensor, err, want)
		}
	}
	h := newHarness(t)
	h.one("tenant: consumers", "chats: {type: chat}")
	if _, err := runtime.Load(config.Sources{File: h.path("graph2mqtt.yaml")}, runtime.Kinds()); err == nil || !strings.Contains(err.Error(), "chat is for work and school accounts: the tenant consumers has personal ones only") {
		t.Errorf("got %v", err)
	}
	for interval, warned := range map[string]bool{"59s": true, "60s": false} {
		h := newHarness(t)
		h.one("", "chats: {type: chat, interval: "+interval+"}")
		c := h.load()
		if got := len(c.Warnings) == 1 && strings.HasPrefix(c.Warnings[0], "accounts.work.sensors.chats.interval: 59s is less than 1m"); got != warned {
			t.Errorf("%s: %v", interval, c.Warnings)
		}
	}
}
