package bridge_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestAllGroups pins that all groups of the user are sensors, that a request names one by the field group, and that what it does is
// shown.
func TestAllGroups(t *testing.T) {
	h := newHarness(t)
	h.Microsoft.AddGroup(simulator.Group{Name: "Project", Address: "project@contoso.example", Members: []string{simulator.Adele}})
	h.Microsoft.AddGroup(simulator.Group{Name: "Choir", Address: "choir@contoso.example", Members: []string{simulator.Adele}})
	h.Microsoft.AddGroup(simulator.Group{Name: "Others", Address: "others@contoso.example"})
	h.one("enable_update: true", "calendars: {type: group_calendar, group: all, except: [Choir]}")
	h.SignIn("work")
	h.Start()
	topic := h.Members("Work Project")["Work Project"]
	h.Shows(topic+"/availability", "online")

	mark := h.mark()
	for _, group := range []string{"project", "Project@contoso.example"} { // its address is what discover prints
		h.Publish("graph2mqtt/work/calendars/request/create", `{"transaction": "`+group+`", "group": "`+group+`", "subject": "Retro", "start": "2030-01-01T20:00:00Z", "end": "2030-01-01T23:00:00Z"}`)
		if r := h.Next(mark, "graph2mqtt/work/calendars/response/create", func(p string) bool { return strings.Contains(p, group) }); !strings.Contains(r, `"status":"ok"`) {
			t.Errorf("created by %s: %s", group, r)
		}
	}
	h.Next(mark, topic+"/event", func(p string) bool { return strings.Contains(p, "event_created") && strings.Contains(p, `"own":true`) })
	if n := len(h.Microsoft.Events("project@contoso.example", "")); n != 2 {
		t.Errorf("%d events in the calendar of the group", n)
	}
	mark = h.mark()
	h.Publish("graph2mqtt/work/calendars/request/remove", `{"event_id": "x"}`)
	want := "group is required, as a text, because calendars stands for several; known: Project"
	if r := h.Next(mark, "graph2mqtt/work/calendars/response/remove", func(string) bool { return true }); !strings.Contains(r, want) {
		t.Errorf("without a group: %s", r)
	}
}
