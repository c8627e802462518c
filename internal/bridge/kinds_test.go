package bridge_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Every kind keeps to the contract of package sensors, whatever it shows.
func TestEveryKindKeepsToTheContract(t *testing.T) {
	for _, k := range bridge.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			for _, problem := range broken(k) {
				t.Error(problem)
			}
		})
	}
}

func TestABrokenKindIsNoticed(t *testing.T) {
	want := []string{
		`no label`,
		`entity Bad: the key is no [a-z0-9_]+`,
		`entity Bad: "senser" is no platform that is known`,
		`entity event: no event types`,
		`entity push: asks for "shove", which is no operation`,
		`entity push: a button sets nothing`,
		`2 primary entities`,
		`operation poke: no documentation`,
		`need Tasks.Reed: no sentence about why, or what is lost without it`,
		`need Tasks.Reed: the permission is not known`,
		`before the first answer: Bad is 1`,
		`before the first answer: events or a next change`,
	}
	if diff := cmp.Diff(want, broken(sensors.Kind{Name: "broken", Doc: "Broken.", Interval: time.Minute, New: func() sensors.Sensor { return new(brokenSensor) }})); diff != "" {
		t.Error(diff)
	}
}

var (
	key       = regexp.MustCompile(`^[a-z0-9_]+$`)
	platforms = []string{"sensor", "binary_sensor", "event", "switch", "select", "text", "datetime", "button", "notify"}
)

// broken says where a kind does not keep to the contract.
func broken(k sensors.Kind) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if k.Title == "" {
		problem("no label")
	}
	if k.Doc == "" || k.Interval < 5*time.Second || !key.MatchString(k.Name) {
		problem("no documentation, no interval or no name")
	}
	s := k.New()
	var operations []services.Operation
	if c, ok := s.(sensors.Commander); ok {
		operations = c.Operations()
	}
	primary := 0
	seen := map[string]bool{}
	for _, e := range s.Entities() {
		bad := func(format string, args ...any) { problem("entity %s: %s", e.Key, fmt.Sprintf(format, args...)) }
		if !key.MatchString(e.Key) {
			bad("the key is no [a-z0-9_]+")
		}
		if seen[e.Key] {
			bad("the key comes twice")
		}
		seen[e.Key] = true
		if !slices.Contains(platforms, e.Platform) {
			bad("%q is no platform that is known", e.Platform)
		}
		if e.Name == "" {
			bad("no name")
		}
		if e.Platform == "event" && len(e.Options) == 0 {
			bad("no event types")
		}
		if e.Primary {
			primary++
		}
		for _, name := range e.Operations {
			if !slices.ContainsFunc(operations, func(op services.Operation) bool { return op.Name == name }) {
				bad("asks for %q, which is no operation", name)
			}
		}
		settable := slices.Contains([]string{"switch", "select", "text", "datetime"}, e.Platform)
		switch {
		case settable && e.Parse == nil:
			bad("cannot be set")
		case !settable && e.Parse != nil:
			bad("a %s sets nothing", e.Platform)
		case e.Platform == "notify" && e.MessageField == "":
			bad("no field for the message")
		case (settable || e.Platform == "notify" || e.Platform == "button") && !e.IsCommand():
			bad("asks for nothing")
		}
		for _, err := range mqtt.CheckAll(mqtt.Discovery{Topic: "homeassistant", Mode: mqtt.ComponentMode}.Payloads(mqtt.Device{
			ID: "a-b-c", Name: "Work thing", Topic: "a/b/c", Slug: "b_c", Availability: []string{"a"}, Components: []mqtt.Component{{Entity: e}},
		}, "1"), "2026.11") {
			if key.MatchString(e.Key) && slices.Contains(platforms, e.Platform) && !(e.Platform == "event" && len(e.Options) == 0) {
				bad("%v", err)
			}
		}
	}
	if len(seen) > 0 && primary != 1 {
		problem("%d primary entities", primary)
	}
	permissions := s.Permissions()
	for _, op := range operations {
		if op.Doc == "" {
			problem("operation %s: no documentation", op.Name)
		}
		permissions = append(permissions, op.Permissions...)
	}
	for _, n := range permissions {
		if n.Purpose == "" || n.Impact == "" {
			problem("need %s: no sentence about why, or what is lost without it", n.Scope)
		}
		if _, ok := graph.LookupScope(n.Scope); !ok || len(n.Alternatives) > 0 && slices.ContainsFunc(n.Alternatives, func(s string) bool { _, ok := graph.LookupScope(s); return !ok }) {
			problem("need %s: the permission is not known", n.Scope)
		}
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	state := s.State(time.Time{}, now)
	for key, v := range state.Values {
		if v != nil {
			problem("before the first answer: %s is %v", key, v)
		}
	}
	if len(state.Events) > 0 || !state.Next.IsZero() {
		problem("before the first answer: events or a next change")
	}
	if r, ok := s.(sensors.Rememberer); ok {
		b, err := json.Marshal(r.Memory())
		if err == nil {
			err = json.Unmarshal(b, r.Memory())
		}
		if err != nil {
			problem("the memory cannot be kept: %v", err)
		}
	}
	if e, ok := s.(sensors.Expander); ok && e.Expands() {
		problem("stands for several by default")
	}
	if strings.Contains(k.Doc, "TODO") {
		problem("unfinished documentation")
	}
	return problems
}

// brokenSensor keeps to nothing.
type brokenSensor struct{ sensors.Sensor }

func (*brokenSensor) Permissions() []graph.Permission {
	return []graph.Permission{{Scope: "Tasks.Reed"}}
}
func (*brokenSensor) Entities() []entity.Entity {
	return []entity.Entity{
		{Key: "Bad", Platform: "senser", Name: "Bad", Primary: true},
		{Key: "event", Platform: "event", Name: "Event", Primary: true},
		{Key: "push", Platform: "button", Name: "Push", Operations: []string{"shove"}, Parse: func(string) (string, map[string]any, error) { return "", nil, nil }},
	}
}

func (*brokenSensor) State(_, now time.Time) entity.State {
	return entity.State{Values: map[string]any{"Bad": 1}, Next: now}
}
func (*brokenSensor) Operations() []services.Operation { return []services.Operation{{Name: "poke"}} }
