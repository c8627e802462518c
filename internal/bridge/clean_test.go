package bridge_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// announcements returns what the broker holds for Home Assistant.
func (h *harness) announcements() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := maps.Clone(h.retained)
	maps.DeleteFunc(held, func(topic, _ string) bool { return !strings.HasPrefix(topic, "homeassistant/") })
	return held
}

func TestAnnouncementsAreRemovedAndPublishedAgain(t *testing.T) {
	h := startOne(t, "enable_update: true", outOfOffice, "calendar: {type: calendar}")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	const calendar, replies = "homeassistant/device/graph2mqtt-work-calendar/config", "homeassistant/device/graph2mqtt-work-out_of_office/config"
	h.Holds(calendar, func(p string) bool { return p != "" })
	before := h.announcements()

	request := func(payload, transaction string) {
		t.Helper()
		mark := h.mark()
		h.Publish("graph2mqtt/bridge/request/discovery", payload)
		h.Next(mark, "graph2mqtt/bridge/response/discovery", func(p string) bool {
			return strings.Contains(p, transaction) && includes(p, map[string]any{"status": "ok"})
		})
	}
	request(`{"action": "clean", "transaction": "t1"}`, "t1")
	h.Gone("homeassistant/")
	for _, topic := range []string{"graph2mqtt/work/state", "graph2mqtt/work/calendar/availability", "graph2mqtt/bridge/state"} {
		h.Shows(topic, "online") // only discovery messages are removed
	}

	// A new sensor is not announced, and a removed one is not announced again.
	h.one("enable_update: true", outOfOffice, "birthdays: {type: calendar, calendar: Birthdays}")
	h.Reload()
	h.Shows("graph2mqtt/work/birthdays/availability", "online")
	h.Shows("graph2mqtt/work/calendar/availability", "")
	if d := cmp.Diff(map[string]string{}, h.announcements()); d != "" {
		t.Errorf("announced although announcements were removed: %s", d)
	}

	request(`{"transaction": "t2"}`, "t2") // publish is the default
	h.Holds("homeassistant/device/graph2mqtt-work-birthdays/config", func(p string) bool { return p != "" })
	h.Holds(replies, func(p string) bool { return p != "" })
	h.Next(0, "homeassistant/device/graph2mqtt-bridge/config", func(p string) bool { return p != "" })
	h.Shows(replies, before[replies])
	for topic := range before {
		if topic != calendar {
			h.Shows(topic, before[topic])
		}
	}
	if after := h.announcements(); after[calendar] != "" || len(after) != len(before) {
		t.Errorf("announced: %d topics, before %d; %s: %q", len(after), len(before), calendar, after[calendar])
	}
	// Home Assistant keeps its entities over the next start of the bridge.
	h.Stop()
	h.Start()
	h.Shows("graph2mqtt/bridge/state", "online")
	h.Shows(replies, before[replies])
}

func TestAReloadThatFailsHalfWayChangesNothing(t *testing.T) {
	h := newHarness(t)
	const account = "  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n    sensors:\n      out_of_office: {type: auto_reply}\n"
	const more = "      calendar: {type: calendar}\n"
	const others = "  another:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    sensors:\n      out_of_office: {type: auto_reply}\n" +
		"  broken:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    sensors:\n      out_of_office: {type: auto_reply}\n"
	h.Configure(account + more)
	h.SignIn("work")
	h.Configure(account)
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	info := h.Holds("graph2mqtt/bridge/info", func(p string) bool { return p != "" })

	// One account is added that could be made, and one that cannot; the configuration's own checks would have found that.
	h.Configure(account + more + others)
	wrong := h.load()
	wrong.Accounts["broken"].Cloud.Graph = "ftp://graph"
	wrong.Log.Level = "error"
	mark := h.settledMark()
	h.Give(wrong)
	h.Next(mark, "graph2mqtt/bridge/logging", func(p string) bool {
		return strings.Contains(p, "configuration not applied, keeping the running one") && strings.Contains(p, "account broken")
	})
	h.Publish("graph2mqtt/work/request/refresh", `{"transaction": "after"}`)
	h.Next(mark, "graph2mqtt/work/response/refresh", func(p string) bool { return strings.Contains(p, "after") })
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/another/") || strings.HasPrefix(m.Topic, "graph2mqtt/work/calendar/") || strings.HasSuffix(m.Topic, "/availability") || m.Topic == "graph2mqtt/bridge/info" {
			t.Errorf("%s = %s, though nothing may change", m.Topic, m.Payload)
		}
	}
	h.Shows("graph2mqtt/bridge/info", info)

	// The next one is compared with the running configuration.
	h.Configure(account + more)
	h.Reload()
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
}
