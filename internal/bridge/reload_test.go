package bridge_test

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestANewConfigurationTouchesOnlyWhatChanged(t *testing.T) {
	h := newHarness(t)
	const account = "  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n"
	// With a configured zone no value changes when the zone of the mailbox becomes known.
	const other = "  other:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n    sensors:\n      out_of_office: {type: auto_reply}\n"
	// The permissions to write are granted, and not used yet.
	h.Configure(account + "    enable_update: true\n    sensors:\n      out_of_office: {type: auto_reply}\n      calendar: {type: calendar}\n" + other)
	h.SignIn("work")
	h.SignIn("other")
	h.Configure(account + "    sensors:\n      out_of_office: {type: auto_reply}\n      calendar: {type: calendar}\n" + other)
	h.Start()
	for _, topic := range []string{"work/out_of_office", "work/calendar", "other/out_of_office"} {
		h.Shows("graph2mqtt/"+topic+"/availability", "online")
	}
	h.Shows("graph2mqtt/other/state", "online")
	mark := h.settledMark()
	h.Configure(account + "    enable_update: true\n    sensors:\n      out_of_office: {type: auto_reply}\n      holidays: {type: calendar, calendar: Birthdays}\n" + other)
	h.Reload()
	h.Shows("graph2mqtt/work/holidays/availability", "online")
	h.Shows("graph2mqtt/work/out_of_office/commands", "online")
	h.Shows("homeassistant/device/graph2mqtt-work-calendar/config", "")
	h.Shows("graph2mqtt/work/calendar/state", "")
	h.Publish("graph2mqtt/work/out_of_office/set/enabled", "ON")
	h.Next(mark, "graph2mqtt/work/out_of_office/response/set/enabled", func(string) bool { return true })
	h.Next(mark, "graph2mqtt/work/out_of_office/event", func(string) bool { return true })
	h.Next(mark, "graph2mqtt/work/event", func(p string) bool { return strings.Contains(p, "command_ok") })
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/other/") && !strings.HasSuffix(m.Topic, "/status") || m.Payload == "offline" && m.Topic == "graph2mqtt/bridge/state" {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}

	tomorrow := time.Now().Add(36 * time.Hour)
	h.Microsoft.AddEvent(simulator.Adele, "Birthdays", simulator.Event{Subject: "Ann", Start: tomorrow, End: tomorrow.Add(time.Hour)})
	mark = h.mark()
	h.Configure(account + "    enable_update: true\n    sensors:\n      out_of_office: {type: auto_reply}\n      holidays: {type: calendar, calendar: Birthdays, end_offset: 48h}\n" + other)
	h.Reload()
	h.Next(mark, "graph2mqtt/work/holidays/attributes", func(p string) bool { return strings.Contains(p, "Ann") })
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/work/out_of_office/") {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}

	h.Configure(other)
	h.Reload()
	h.Gone("graph2mqtt/work")
	h.Gone("graph2mqtt-work")
}

// A new key that needs a permission that is not granted is told at once, with what to do.
func TestANewConfigurationThatNeedsAPermission(t *testing.T) {
	h := startOne(t, "", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	mark := h.mark()
	h.one("enable_update: true", outOfOffice, "my_status: {type: status}")
	h.Reload()
	const what = "the configuration needs a permission that is not granted"
	for sensor, text := range map[string]string{
		"out_of_office": "read-only: MailboxSettings.ReadWrite not granted; run: graph2mqtt login work",
		"my_status":     "run: graph2mqtt login work",
	} {
		h.Next(mark, "graph2mqtt/bridge/logging", func(p string) bool {
			return includes(p, map[string]any{"level": "warn", "message": what, "account": "work", "sensor": sensor}) && strings.Contains(p, text)
		})
	}
	h.Holds("graph2mqtt/work/my_status/status", func(p string) bool {
		return includes(p, map[string]any{"problem": true, "code": "permission_missing"}) && strings.Contains(p, "Presence.Read")
	})
	h.Holds("graph2mqtt/work/status", func(p string) bool { return strings.Contains(p, "MailboxSettings.ReadWrite not granted") })
	if lines := h.logged(what); len(lines) != 2 {
		t.Errorf("logged %q, want one line for each sensor", lines)
	}
}

func TestSettingsOfTheConnectionRestartTheBridge(t *testing.T) {
	h := startOne(t, "", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	c := h.load()
	c.HomeAssistant.Discovery = "component"
	h.Give(c)
	if err := <-h.ended; err == nil || !strings.Contains(err.Error(), bridge.ErrRestart.Error()) {
		t.Errorf("the bridge ended with %v", err)
	}
}

// A sensor that continues with a stored snapshot stays available while its account is replaced.
func TestAReplacedAccountStaysAvailable(t *testing.T) {
	h := startOne(t, "", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	mark := h.settledMark()
	for _, after := range []string{"2h", "3h", "4h", "5h"} {
		h.one("stale_after: "+after, outOfOffice)
		h.Reload()
	}
	h.Next(mark, "graph2mqtt/bridge/info", func(p string) bool { return strings.Contains(p, "5h") })
	h.Publish("graph2mqtt/bridge/request/ping", "{}")
	h.Next(mark, "graph2mqtt/bridge/response/ping", func(string) bool { return true })
	for _, m := range h.since(mark) {
		if m.Topic == "graph2mqtt/work/out_of_office/availability" {
			t.Errorf("%s = %s", m.Topic, m.Payload)
		}
	}
}

func TestAConfigurationThatCannotBeApplied(t *testing.T) {
	h := startOne(t, "", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	mark := h.settledMark()
	c := h.load()
	running := c.Accounts["work"].Cloud.Graph
	c.Accounts["work"].Cloud.Graph = "nowhere"
	h.Give(c)
	h.Next(mark, "graph2mqtt/bridge/logging", func(p string) bool {
		return includes(p, map[string]any{"level": "error", "message": "configuration not applied, keeping the running one"}) && strings.Contains(p, "nowhere")
	})
	c = h.load()
	c.Accounts["work"].Cloud.Graph = running
	h.Give(c)
	h.line(1, regexp.MustCompile(`level=INFO msg="configuration unchanged"`))
	// The first configuration still runs, so the third differs from it in one sensor.
	h.one("", outOfOffice, "replies: {type: auto_reply}")
	h.Reload()
	h.Shows("graph2mqtt/work/replies/availability", "online")
	for _, m := range h.since(mark) {
		if m.Topic == "graph2mqtt/work/out_of_office/availability" {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}
}

func TestTheLimitsOfCommandsChangeWithoutANewBridge(t *testing.T) {
	h := startOne(t, "enable_update: true", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/commands", "online")
	mark := h.mark()
	c := h.load()
	c.Commands.Queue = 0
	h.Give(c)
	h.Next(mark, "graph2mqtt/bridge/info", func(p string) bool { return strings.Contains(p, `"queue":0`) })
	h.Publish("graph2mqtt/work/out_of_office/set/enabled", "ON")
	h.Next(mark, "graph2mqtt/work/out_of_office/response/set/enabled", func(p string) bool { return strings.Contains(p, "overloaded") })
}

func TestABridgeThatCannotBeMade(t *testing.T) {
	h := newHarness(t)
	h.one("", outOfOffice)
	c := h.load()
	c.MQTT.CAFile = h.path("missing.pem")
	_, err := bridge.New(bridge.Options{Config: c, Kinds: runtime.Kinds(), Dir: h.open(c), Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	if err == nil || !strings.HasPrefix(err.Error(), "mqtt.ca_file: ") {
		t.Errorf("error %v", err)
	}
	h.Start() // the state directory is free again
}

// With a sensor that reads the mailbox's settings its time zone may be known, too.
func TestTheMailboxsZoneAfterANewConfiguration(t *testing.T) {
	h := newHarness(t)
	const account = "  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    sensors:\n"
	const calendar, replies = "      calendar: {type: calendar}\n", "      out_of_office: {type: auto_reply}\n"
	h.Microsoft.SetTimeZone(simulator.Adele, "Tokyo Standard Time")
	h.Configure(account + calendar + replies)
	h.SignIn("work")
	h.Configure(account + calendar)
	h.Start()
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	h.Configure(account + calendar + replies)
	h.Reload()
	h.Holds("graph2mqtt/work/out_of_office/state", func(p string) bool {
		var state struct{ Start string }
		return json.Unmarshal([]byte(p), &state) == nil && strings.HasSuffix(state.Start, "+09:00")
	})
}
