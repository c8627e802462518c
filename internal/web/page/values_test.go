package page

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

func TestValues(t *testing.T) {
	start := time.Date(2026, 3, 1, 9, 30, 0, 0, time.FixedZone("", 3600))
	entities := []entity.Entity{
		entity.Sensor("latest", "Latest message").AsPrimary().AsPrivate(),
		entity.Count("open", "Open tasks"),
		entity.BinarySensor("busy", "Busy").AsPrimary(),
		entity.Timestamp("start", "Start"),
		entity.DateTime("start", "Start").SetsField("update", "start"),
		entity.Sensor("due", "Next due").WithDeviceClass("date"),
		entity.Enum("mode", "Mode", "alwaysEnabled"),
		entity.Select("mode", "Mode", "alwaysEnabled").WithLabels(map[string]string{"alwaysEnabled": "Always"}),
		entity.Sensor("activity", "Activity").AsIdentifiers(),
		entity.Sensor("reply", "Reply"), // read-only twin of the following
		entity.Text("reply", "Reply"),
		entity.Sensor("subject", "Subject"),
		entity.Sensor("location", "Location"),
		entity.Sensor("zone", "Zone"),
		entity.Button("clear", "Clear", "clear", nil),
		entity.EventEntity("started"),
	}
	got := values(entities, entity.State{Values: map[string]any{
		"latest": "Hello", "open": 3, "busy": true, "start": start, "due": entity.Date("2026-03-02"), "mode": "alwaysEnabled",
		"activity": "InAMeeting", "reply": "I am away", "subject": "GitHub", "location": "", "zone": nil,
	}})
	want := []value{
		{"Busy", flagValue, "true"}, {"Open tasks", textValue, "3"}, {"Start", timeValue, "2026-03-01T08:30:00Z"}, {"Next due", dateValue, "2026-03-02"},
		{"Mode", textValue, "Always"}, {"Activity", textValue, "In a meeting"}, {"Reply", hiddenValue, ""}, {"Subject", textValue, "GitHub"},
		{"Location", textValue, "empty"}, {"Zone", unknownValue, ""}, {"Latest message", hiddenValue, ""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestShortName(t *testing.T) {
	for name, want := range map[string]string{"Work calendar": "Calendar", "Work": "Work", "Work Über uns": "Über uns", "Other thing": "Other thing", "Work ": "Work "} {
		if got := shortName(name, "Work"); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
