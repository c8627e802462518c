package bridge_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// members are the topics of the members of the group calendars or todo, by their device's name.
func (h *harness) members() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := map[string]string{}
	for topic, payload := range h.retained {
		id, ok := strings.CutPrefix(topic, "homeassistant/device/graph2mqtt-work-")
		if !ok || !strings.HasPrefix(id, "calendars_") && !strings.HasPrefix(id, "todo_") {
			continue
		}
		var d struct{ Device struct{ Name string } }
		if json.Unmarshal([]byte(payload), &d) == nil {
			found[d.Device.Name] = "graph2mqtt/work/" + strings.TrimSuffix(id, "/config")
		}
	}
	return found
}

// Members waits until there are members of these names, and no others.
func (h *harness) Members(names ...string) map[string]string {
	h.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		h.mu.Lock()
		arrived := h.arrived
		h.mu.Unlock()
		found := h.members()
		if len(found) == len(names) && !slices.ContainsFunc(names, func(n string) bool { return found[n] == "" }) {
			return found
		}
		select {
		case <-arrived:
		case <-deadline:
			h.t.Fatalf("members %v, want %v", found, names)
		}
	}
}

func TestAllCalendars(t *testing.T) {
	t.Parallel()
	h := startOne(t, "enable_update: true", "calendars: {type: calendar, calendar: all}")
	members := h.Members("Work Calendar", "Work Birthdays")
	for _, topic := range members {
		h.Shows(topic+"/availability", "online")
	}
	id := members["Work Birthdays"]
	h.Holds("homeassistant/device/graph2mqtt-work-"+strings.TrimPrefix(id, "graph2mqtt/work/")+"/config", func(p string) bool {
		return strings.Contains(p, `"default_entity_id":"binary_sensor.work_calendars_birthdays_busy"`)
	})

	rescan := func() { h.Publish("graph2mqtt/work/request/rescan", "{}") }
	// One comes.
	h.Microsoft.AddCalendar(simulator.Adele, "Holidays")
	rescan()
	members = h.Members("Work Calendar", "Work Birthdays", "Work Holidays")
	h.Shows(members["Work Holidays"]+"/availability", "online")

	// The second poll of a calendar reads its properties.
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	for _, topic := range members {
		h.Holds(topic+"/attributes", func(p string) bool { return strings.Contains(p, `"can_edit":true`) })
	}

	// One gets another name, and keeps its ids.
	mark := h.settledMark()
	h.Microsoft.RenameCalendar(simulator.Adele, "Birthdays", "Parties")
	rescan()
	members = h.Members("Work Calendar", "Work Parties", "Work Holidays")
	if members["Work Parties"] != id {
		t.Errorf("after another name %s, want %s", members["Work Parties"], id)
	}
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, members["Work Calendar"]) || m.Topic == id+"/availability" {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}

	// A request to all is one to the member it names.
	mark = h.mark()
	h.Publish("graph2mqtt/work/calendars/request/create", `{"transaction": "1", "calendar": "parties", "subject": "Ann", "start": "2030-01-01T20:00:00Z", "end": "2030-01-01T23:00:00Z"}`)
	if r := h.Next(mark, "graph2mqtt/work/calendars/response/create", func(string) bool { return true }); !strings.Contains(r, `"status":"ok"`) {
		t.Errorf("created: %s", r)
	}
	if n := len(h.Microsoft.Events(simulator.Adele, "Parties")); n != 1 {
		t.Errorf("%d events in the calendar", n)
	}
	for payload, want := range map[string]string{
		`{"subject": "Ann", "start": "2030-01-01T20:00:00Z", "end": "2030-01-01T23:00:00Z"}`:                     "calendar is required, as a text, because calendars stands for several; known: Calendar, Holidays, Parties",
		`{"calendar": "Xmas", "subject": "Ann", "start": "2030-01-01T20:00:00Z", "end": "2030-01-01T23:00:00Z"}`: `calendar: want one of Calendar, Holidays, Parties, not \"Xmas\"; the request rescan finds new ones`,
	} {
		mark = h.mark()
		h.Publish("graph2mqtt/work/calendars/request/create", payload)
		if r := h.Next(mark, "graph2mqtt/work/calendars/response/create", func(string) bool { return true }); !strings.Contains(r, want) {
			t.Errorf("%s: %s", payload, r)
		}
	}

	// After a restart they are there without Graph.
	h.Stop()
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: 503, Times: -1})
	mark = h.mark()
	h.Start()
	for _, topic := range members {
		h.Next(mark, topic+"/availability", func(p string) bool { return p == "online" })
	}
	h.Microsoft.ClearFaults()

	// One goes.
	h.Microsoft.RemoveCalendar(simulator.Adele, "Holidays")
	rescan()
	gone := members["Work Holidays"]
	h.Members("Work Calendar", "Work Parties")
	h.Gone(strings.TrimPrefix(gone, "graph2mqtt/work/"))

	// All go with the sensor.
	h.Configure("  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n    sensors: {}\n")
	h.Reload()
	h.Gone("calendars_")
}

func TestTwoCalendarsOfOneName(t *testing.T) {
	h := newHarness(t)
	h.Microsoft.AddCalendar(simulator.Adele, "Team")
	h.Microsoft.AddCalendar(simulator.Adele, "Team")
	h.one("enable_update: true", "calendars: {type: calendar, calendar: all}")
	h.SignIn("work")
	h.Start()
	for _, slug := range []string{"team", "team_2"} {
		h.shows(`"default_entity_id":"binary_sensor.work_calendars_` + slug + `_busy"`)
	}
	mark := h.mark()
	h.Publish("graph2mqtt/work/calendars/request/create", `{"calendar": "Team", "subject": "Ann", "start": "2030-01-01T20:00:00Z", "end": "2030-01-01T23:00:00Z"}`)
	if r := h.Next(mark, "graph2mqtt/work/calendars/response/create", func(string) bool { return true }); !strings.Contains(r, `calendar: 2 are named \"Team\"; want the id of one of them: `) {
		t.Errorf("answer %s", r)
	}
}

// shows waits until a discovery message of a device contains this.
func (h *harness) shows(part string) {
	h.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		h.mu.Lock()
		arrived, found := h.arrived, false
		for topic, payload := range h.retained {
			found = found || strings.HasPrefix(topic, "homeassistant/") && strings.Contains(payload, part)
		}
		h.mu.Unlock()
		if found {
			return
		}
		select {
		case <-arrived:
		case <-deadline:
			h.t.Fatalf("no device has %s", part)
		}
	}
}

// A sensor that is configured goes before a member that would have its id.
func TestAConfiguredSensorByTheIDOfAMember(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const all = "calendars: {type: calendar, calendar: all}"
	h.one("", all)
	h.SignIn("work")
	h.Start()
	topic := h.Members("Work Calendar", "Work Birthdays")["Work Birthdays"]
	id := strings.TrimPrefix(topic, "graph2mqtt/work/")
	h.one("", all, id+": {type: calendar, name: Mine}")
	h.Reload()
	members := h.Members("Work Calendar", "Work Mine")
	if members["Work Mine"] != topic {
		t.Errorf("members %v", members)
	}
	h.Microsoft.AddCalendar(simulator.Adele, "Holidays")
	h.Microsoft.RenameCalendar(simulator.Adele, "Birthdays", "Parties")
	h.Publish("graph2mqtt/work/request/rescan", "{}")
	h.Members("Work Calendar", "Work Mine", "Work Holidays")
	h.Shows(topic+"/availability", "online")
}

func TestASensorThatStandsForOneThenForAll(t *testing.T) {
	h := newHarness(t)
	const one, all = "calendars: {type: calendar}", "calendars: {type: calendar, calendar: all}"
	const config, availability = "homeassistant/device/graph2mqtt-work-calendars/config", "graph2mqtt/work/calendars/availability"
	h.one("", one)
	h.SignIn("work")
	h.Start()
	h.Shows(availability, "online")
	h.one("", all)
	h.Reload()
	members := h.Members("Work Calendar", "Work Birthdays")
	h.Shows(config, "")
	h.Shows(availability, "")
	h.one("", one)
	h.Reload()
	h.Holds(config, func(p string) bool { return p != "" })
	h.Shows(availability, "online")
	for _, topic := range members {
		h.Gone(strings.TrimPrefix(topic, "graph2mqtt/work/"))
	}

	h.one("enable_update: true", "calendars: {type: calendar, read: false}")
	h.Reload()
	h.Shows("graph2mqtt/work/calendars/state", "")
	h.Shows("graph2mqtt/work/calendars/attributes", "")
}
