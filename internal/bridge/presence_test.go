package bridge_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

func TestPresenceIsSetOverMQTT(t *testing.T) {
	h := startOne(t, "", "presence: {type: status, enable_update: true}")
	h.Shows("graph2mqtt/work/presence/commands", "online")
	h.Shows("graph2mqtt/work/presence/availability", "online")
	h.Values("graph2mqtt/work/presence/state", map[string]any{
		"activity": "Available", "availability": "Available", "in_call": false, "status_message": nil, "work_location": "office", "preferred": nil,
	})

	answered := func(mark int, topic, op string) {
		t.Helper()
		response := h.Next(mark, topic, func(string) bool { return true })
		var r struct{ Op, Status string }
		if err := json.Unmarshal([]byte(response), &r); err != nil || r.Op != op || r.Status != "ok" {
			t.Errorf("response %s", response)
		}
	}
	mark := h.mark()
	h.Publish("graph2mqtt/work/presence/set/preferred", "DoNotDisturb")
	answered(mark, "graph2mqtt/work/presence/response/set/preferred", "update_user_preferred_status")
	if got := h.Microsoft.PreferredPresence(simulator.Adele).Activity; got != "DoNotDisturb" {
		t.Errorf("at Microsoft: %q", got)
	}
	h.Values("graph2mqtt/work/presence/state", map[string]any{"preferred": "DoNotDisturb"})
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Values("graph2mqtt/work/presence/state", map[string]any{"activity": "DoNotDisturb"})
	h.Next(mark, "graph2mqtt/work/presence/event", func(p string) bool {
		return includes(p, map[string]any{"event_type": "status_changed", "activity": "DoNotDisturb", "previous_activity": "Available"})
	})

	mark = h.mark()
	h.Publish("graph2mqtt/work/presence/set/preferred", "Sleeping")
	h.Next(mark, "graph2mqtt/work/presence/response/set/preferred", func(p string) bool {
		return strings.Contains(p, `"message":"preferred: want one of Automatic, Available, Busy, DoNotDisturb, BeRightBack, Away, Offline, not \"Sleeping\""`)
	})
	// The state is published again although it is the same, so that the select flips back.
	h.Next(mark, "graph2mqtt/work/presence/state", func(p string) bool { return includes(p, map[string]any{"preferred": "DoNotDisturb"}) })

	mark = h.mark()
	h.Publish("graph2mqtt/work/presence/set/status_message", "At lunch")
	answered(mark, "graph2mqtt/work/presence/response/set/status_message", "set_status_message")
	h.Values("graph2mqtt/work/presence/state", map[string]any{"status_message": "At lunch"})
	// The button sends what its announcement says.
	var device struct {
		Components map[string]struct {
			Topic string `json:"command_topic"`
			Press string `json:"payload_press"`
		}
	}
	announced := h.Holds("homeassistant/device/graph2mqtt-work-presence/config", func(p string) bool { return p != "" })
	if err := json.Unmarshal([]byte(announced), &device); err != nil {
		t.Fatal(err)
	}
	for _, err := range mqtttest.Check("homeassistant/device/graph2mqtt-work-presence/config", []byte(announced), "2025.4") {
		t.Error(err)
	}
	button := device.Components["clear_status_message"]
	mark = h.mark()
	h.Publish(button.Topic, button.Press)
	answered(mark, "graph2mqtt/work/presence/response/set_status_message", "set_status_message")
	h.Values("graph2mqtt/work/presence/state", map[string]any{"status_message": nil})
	if got := h.Microsoft.Presence(simulator.Adele).Message; got != "" {
		t.Errorf("at Microsoft: %q", got)
	}

	mark = h.mark()
	h.Publish("graph2mqtt/work/presence/request/update_user_status", `{"availability": "Busy", "activity": "InACall", "expiration_duration": "30m"}`)
	answered(mark, "graph2mqtt/work/presence/response/update_user_status", "update_user_status")
	h.Publish("graph2mqtt/work/presence/set/preferred", "Automatic")
	h.Values("graph2mqtt/work/presence/state", map[string]any{"preferred": "Automatic"})
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Values("graph2mqtt/work/presence/state", map[string]any{"activity": "InACall", "in_call": true})

	// What was last set outlives a restart.
	h.Stop()
	h.Start()
	h.Values("graph2mqtt/work/presence/state", map[string]any{"preferred": "Automatic"})
}

func TestTheStatusOfOthersIsWatched(t *testing.T) {
	h := newHarness(t)
	megan := h.Microsoft.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan Bowen"})
	h.Microsoft.SetPresence(megan.Address, simulator.Presence{Availability: "Away"})
	h.one("", "megan: {type: status, user: megan@contoso.example}")
	h.SignIn("work")
	h.Start()
	h.Values("graph2mqtt/work/megan/state", map[string]any{"activity": "Away"})
	h.Shows("graph2mqtt/work/megan/commands", "")

	h.one("", "megan: {type: status, user: megan@contoso.example, enable_update: true}")
	_, err := runtime.Load(config.Sources{File: h.path("graph2mqtt.yaml")}, runtime.Kinds())
	if want := "accounts.work.sensors.megan.enable_update (line 9): this sensor has nothing that could be changed"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A request for an entity that the type of the sensor has, and the configuration does not offer, is answered with the key to set.
func TestPresenceIsReadOnly(t *testing.T) {
	h := startOne(t, "enable_update: true", "presence: {type: status}", "out_of_office: {type: auto_reply}")
	h.Shows("graph2mqtt/work/presence/availability", "online")
	mark := h.mark()
	h.Publish("graph2mqtt/work/presence/set/preferred", "DoNotDisturb")
	h.Next(mark, "graph2mqtt/work/presence/response/set/preferred", func(p string) bool {
		return strings.Contains(p, `"code":"updates_disabled","message":"update_user_preferred_status is not offered without enable_update: true (accounts.work.sensors.presence)"`)
	})
}
