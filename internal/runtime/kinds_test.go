package runtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Every kind satisfies the contract of package sensors.
func TestEveryKindKeepsToTheContract(t *testing.T) {
	for _, k := range runtime.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			for _, problem := range broken(k) {
				t.Error(problem)
			}
		})
	}
}

func TestABrokenKindIsNoticed(t *testing.T) {
	want := []string{
		`no title`,
		`entity Bad: the key is no [a-z0-9_]+`,
		`entity Bad: "senser" is no platform that is known`,
		`entity event: no event types`,
		`entity event: nothing puts the events into words: Describe is nil`,
		`entity push: asks for "shove", which is no operation`,
		`entity push: a button sets nothing`,
		`2 primary entities`,
		`operation poke: no documentation`,
		`need Tasks.Reed: no sentence about why, or what is lost without it`,
		`need Tasks.Reed: the permission is not known`,
		`before the first answer: Bad is 1`,
	}
	if diff := cmp.Diff(want, broken(sensors.Kind{Name: "broken", Doc: "Broken.", Interval: time.Minute, New: func() sensors.Sensor { return sensors.Of(new(brokenOptions)) }})); diff != "" {
		t.Error(diff)
	}
}

var (
	key       = regexp.MustCompile(`^[a-z0-9_]+$`)
	platforms = []string{"sensor", "binary_sensor", "event", "switch", "select", "text", "datetime", "button", "notify"}
)

// Home Assistant accepts entity ids of up to 255 characters. The longest consist of the longest ids and the longest slug of a member.
func TestLongestEntityIDs(t *testing.T) {
	ident := strings.Repeat("a", 64)
	discovery := homeassistant.Discovery{Enabled: true, Topic: "homeassistant", Mode: homeassistant.ComponentMode, QoS: 1, Base: "a"}
	devices := []hub.Device{{ID: hub.ID{Account: ident}, Name: "Account", Slug: ident}, {Name: "Bridge", Slug: entity.ShortSlug(strings.Repeat("a/", 128))}}
	for _, k := range runtime.Kinds() {
		devices = append(devices, hub.Device{
			ID: hub.ID{Account: ident, Sensor: ident}, Name: "Work thing", Slug: ident + "_" + ident + "_" + entity.ShortSlug(strings.Repeat("a", 255)) + "_100", Entities: k.New().Entities(),
		})
	}
	for _, d := range devices {
		checked := 0
		for _, payload := range discovery.Payloads(d) {
			var config struct {
				ID string `json:"default_entity_id"`
			}
			if err := json.Unmarshal(payload, &config); err != nil {
				t.Fatal(err)
			}
			checked++
			if len(config.ID) > 255 || config.ID == "" {
				t.Errorf("entity id %q of %d characters", config.ID, len(config.ID))
			}
		}
		if checked == 0 {
			t.Errorf("%s: no entities", d.Model)
		}
	}
}

// broken lists the ways in which a kind violates the contract.
func broken(k sensors.Kind) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if k.Title == "" {
		problem("no title")
	}
	if k.Doc == "" || k.Interval < 5*time.Second || !key.MatchString(k.Name) {
		problem("no documentation, no interval or no name")
	}
	s := k.New()
	operations := s.Operations()
	primary := map[string]bool{}
	seen := map[string]bool{} // a value that can be set has a twin on another platform
	for _, e := range s.Entities() {
		bad := func(format string, args ...any) { problem("entity %s: %s", e.Key, fmt.Sprintf(format, args...)) }
		if !key.MatchString(e.Key) {
			bad("the key is no [a-z0-9_]+")
		}
		if seen[e.Platform+" "+e.Key] {
			bad("the key comes twice")
		}
		seen[e.Platform+" "+e.Key] = true
		if !slices.Contains(platforms, e.Platform) {
			bad("%q is no platform that is known", e.Platform)
		}
		if e.Name == "" {
			bad("no name")
		}
		if e.Platform == "event" && len(e.Options) == 0 {
			bad("no event types")
		}
		if e.Platform == "event" && k.Describe == nil {
			bad("nothing puts the events into words: Describe is nil")
		}
		if e.Primary {
			primary[e.Key] = true
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
		discovery := homeassistant.Discovery{Enabled: true, Topic: "homeassistant", Mode: homeassistant.ComponentMode, QoS: 1, Base: "a"}
		payloads := discovery.Payloads(hub.Device{ID: hub.ID{Account: "b", Sensor: "c"}, Name: "Work thing", Slug: "b_c", Entities: []entity.Entity{e}})
		for _, err := range mqtttest.CheckAll(payloads, "2026.11") {
			if key.MatchString(e.Key) && slices.Contains(platforms, e.Platform) && !(e.Platform == "event" && len(e.Options) == 0) {
				bad("%v", err)
			}
		}
	}
	if len(seen) > 0 && len(primary) != 1 {
		problem("%d primary entities", len(primary))
	}
	permissions := s.Permissions()
	for _, op := range operations {
		if op.Doc == "" {
			problem("operation %s: no documentation", op.Name)
		}
		if op.Paged && !op.Reads {
			problem("operation %s: pages of a change", op.Name)
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
	initial := s.NewPoller(sensors.PollerOptions{Interval: time.Minute, Log: slog.New(slog.DiscardHandler), Location: func() *time.Location { return time.UTC }}).Initial()
	for key, v := range initial.Values {
		if v != nil && v != "" {
			problem("before the first answer: %s is %v", key, v)
		}
	}
	if len(initial.Events) > 0 {
		problem("before the first answer: events")
	}
	if s.Group() != nil && k.MemberField == "" {
		problem("stands for several, but no field of a request names one of them")
	}
	if strings.Contains(k.Doc, "TODO") {
		problem("unfinished documentation")
	}
	return problems
}

// brokenOptions violate the contract.
type brokenOptions struct{}

func (*brokenOptions) Permissions() []graph.Permission {
	return []graph.Permission{{Scope: "Tasks.Reed"}}
}

func (*brokenOptions) Entities() []entity.Entity {
	return []entity.Entity{
		{Key: "Bad", Platform: "senser", Name: "Bad", Primary: true},
		{Key: "event", Platform: "event", Name: "Event", Primary: true},
		{Key: "push", Platform: "button", Name: "Push", Operations: []string{"shove"}, Parse: func(string) (string, map[string]any, error) { return "", nil, nil }},
	}
}

func (*brokenOptions) Poll(context.Context, *graph.Client, *struct{}, time.Time) (*struct{}, error) {
	return nil, nil
}

func (*brokenOptions) Events(_, _ *struct{}, _ time.Time) []entity.Event { return nil }

func (*brokenOptions) State(_ *struct{}, _, now time.Time) entity.State {
	return entity.State{Values: map[string]any{"Bad": 1}, Next: now, Events: []entity.Event{{Type: "nonsense"}}}
}

func (*brokenOptions) Operations() []services.Operation { return []services.Operation{{Name: "poke"}} }
