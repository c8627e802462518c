package bridge_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

const outOfOffice = "out_of_office: {type: auto_reply, interval: 5s}"

func TestAutomaticRepliesAreShown(t *testing.T) {
	h := startOne(t, "", outOfOffice)
	h.Shows("graph2mqtt/bridge/state", "online")
	h.Shows("graph2mqtt/work/state", "online")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "disabled", "active": false, "external_audience": "all"})

	replies := h.Microsoft.AutomaticReplies("adele@contoso.example")
	replies.Status = "alwaysEnabled"
	h.Microsoft.SetAutomaticReplies("adele@contoso.example", replies)
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "alwaysEnabled", "active": true})
	h.Holds("graph2mqtt/work/status", func(p string) bool {
		return includes(p, map[string]any{"connected": true, "user": "adele@contoso.example", "error": nil})
	})
	h.Stop()
	h.Shows("graph2mqtt/bridge/state", "offline")
}

func TestTheSwitchReachesMicrosoftAndItsStateIsPublished(t *testing.T) {
	h := startOne(t, "enable_update: true", "out_of_office: {type: auto_reply}")
	h.Shows("graph2mqtt/work/out_of_office/commands", "online")
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "disabled", "enabled": false})

	mark := h.mark()
	h.Publish("graph2mqtt/work/out_of_office/set/enabled", "ON")
	response := h.Next(mark, "graph2mqtt/work/out_of_office/response/set/enabled", func(string) bool { return true })
	var r struct{ Op, Status string }
	if err := json.Unmarshal([]byte(response), &r); err != nil || r.Op != "enable" || r.Status != "ok" {
		t.Errorf("response %s", response)
	}
	if got := h.Microsoft.AutomaticReplies("adele@contoso.example").Status; got != "alwaysEnabled" {
		t.Errorf("at Microsoft: %s", got)
	}
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "alwaysEnabled", "enabled": true})
	h.Next(mark, "graph2mqtt/work/event", func(p string) bool {
		return includes(p, map[string]any{"event_type": "command_ok", "op": "enable", "sensor": "out_of_office"})
	})

	mark = h.mark()
	h.Publish("graph2mqtt/work/out_of_office/set/mode", "sometimes")
	h.Next(mark, "graph2mqtt/work/out_of_office/response/set/mode", func(p string) bool {
		return strings.Contains(p, `"code":"invalid_argument"`)
	})
	// The state is published again although it is the same, so that the entity shows the actual state.
	h.Next(mark, "graph2mqtt/work/out_of_office/state", func(string) bool { return true })
}

// A request that is sent as if it were a value is answered with its topic.
func TestARequestOnTheTopicOfAValue(t *testing.T) {
	h := startOne(t, "enable_update: true", "calendar: {type: calendar}")
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	for key, want := range map[string]string{
		"create": `calendar has no entity \"create\" that can be set; known: none; requests are published to …/request/create"`,
		"creat":  `calendar has no entity \"creat\" that can be set; known: none"`,
	} {
		mark := h.mark()
		h.Publish("graph2mqtt/work/calendar/set/"+key, "x")
		if got := h.Next(mark, "graph2mqtt/work/calendar/response/set/"+key, func(string) bool { return true }); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWithoutUpdatesNothingCanBeAsked(t *testing.T) {
	h := startOne(t, "enable_update: true", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/commands", "online")
	h.Stop()

	h.one("", outOfOffice)
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/work/out_of_office/commands", "")
	for end := time.Now().Add(waitTimeout); ; { // the session of the first run is still subscribed for a moment
		mark := h.mark()
		h.Publish("graph2mqtt/work/out_of_office/set/enabled", "ON")
		h.Publish("graph2mqtt/work/request/refresh", `{"transaction": "after"}`)
		h.Next(mark, "graph2mqtt/work/response/refresh", func(p string) bool { return strings.Contains(p, "after") })
		all := h.since(mark)
		i := slices.IndexFunc(all, func(m message) bool { return strings.Contains(m.Topic, "out_of_office/response") })
		if i < 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s was answered: a command topic is still subscribed to", all[i].Topic)
		}
	}
	if got := h.Microsoft.AutomaticReplies("adele@contoso.example").Status; got != "disabled" {
		t.Errorf("at Microsoft: %s", got)
	}
}
