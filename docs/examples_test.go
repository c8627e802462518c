package docs_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// TestExamples executes the example of each operation of a sensor against the simulator, and compares what it returns with what is
// documented. The tests of package bridge execute those of accounts and the bridge.
func TestExamples(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, graphtest.Zone(t, "Europe/Berlin"))
	for _, k := range runtime.Kinds() {
		for i, op := range k.New().Operations() {
			t.Run(k.Name+" "+op.Name, func(t *testing.T) {
				s := simulator.ContosoWithColleagues(simulator.Options{Now: func() time.Time { return now }})
				placeholders := placeholders(t, s, now, op.Name)
				op := configured(t, k, placeholders).Operations()[i]
				example := placeholders.Replace(op.Example)
				g := graphtest.Client(t, s, simulator.Adele, append(graph.Scopes(op.Permissions), "User.Read")...) // which is always granted
				request, err := services.Decode(op, []byte(example))
				if err != nil {
					t.Fatal(err)
				}
				result, err := request.Execute(t.Context(), g, services.Attempt{ID: "7f0c4c9e-3b0e-4f0b-8d2a-2a1c5d6e7f80", Now: now})
				if err != nil {
					t.Fatal(err)
				}
				returned := data(t, result)
				documented := map[string]bool{}
				for _, f := range op.Returns {
					documented[f.Key] = true
					if strings.Contains(f.Doc, "missing if") {
						returned[f.Key] = nil
					}
				}
				if op.Returns == nil && strings.Contains(op.Doc, "fields of the attribute `data[]`") {
					for _, f := range k.Attributes[len(k.Attributes)-1].Fields {
						documented[f.Key] = true
					}
				}
				if diff := cmp.Diff(slices.Sorted(maps.Keys(returned)), slices.Sorted(maps.Keys(documented))); diff != "" {
					t.Errorf("it returns others than documented (-returned +documented):\n%s", diff)
				}
			})
		}
	}
}

// data returns the data of a response.
func data(t *testing.T, result any) map[string]any {
	t.Helper()
	if r, ok := result.(interface{ Data() any }); ok {
		result = r.Data()
	}
	b, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	if fields == nil {
		fields = map[string]any{}
	}
	return fields
}

// placeholders returns the replacements of ids in examples: of options and of the requests of an operation. Each placeholder
// stands for things of one type.
func placeholders(t *testing.T, s *simulator.Simulator, now time.Time, operation string) *strings.Replacer {
	t.Helper()
	return strings.NewReplacer(
		"AAMk…", eventID(t, s, now, operation),
		"AAkA…", s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Lunch", From: simulator.Megan}).ImmutableID,
	)
}

// configured returns a sensor whose required options have the values of their examples.
func configured(t *testing.T, k sensors.Kind, placeholders *strings.Replacer) sensors.Sensor {
	t.Helper()
	sensor := k.New()
	options := map[string]any{}
	for _, f := range config.Fields(sensor.Options()) {
		if f.Required {
			options[f.Key] = placeholders.Replace(f.Example)
		}
	}
	if err := config.Decode(sensor.Options(), options); err != nil {
		t.Fatal(err)
	}
	return sensor
}

// eventID adds a meeting to Adele's calendar and returns its id.
func eventID(t *testing.T, s *simulator.Simulator, now time.Time, operation string) string {
	t.Helper()
	start := now.Add(24 * time.Hour)
	meeting := simulator.Event{Subject: "Planning", Start: start, End: start.Add(time.Hour), Attendees: []simulator.Attendee{{Address: simulator.Megan}}}
	if operation == "respond" {
		meeting.Organizer, meeting.Attendees = simulator.Megan, nil
	}
	return s.AddEvent(simulator.Adele, "", meeting)
}
