package docs_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/people"
)

// TestExamples executes the example of each operation of a sensor against the simulator, and compares what it returns with what is
// documented. The tests of package bridge execute those of accounts and the bridge.
func TestExamples(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, graphtest.Zone(t, "Europe/Berlin"))
	everySensor := sensors.Kind{Name: "every sensor", New: func() sensors.Sensor { return everySensor{runtime.Kinds()[0].New()} }}
	for _, k := range append(runtime.Kinds(), everySensor) {
		for i, op := range k.New().Operations() {
			t.Run(k.Name+" "+op.Name, func(t *testing.T) {
				s := simulator.ContosoWithColleagues(simulator.Options{Now: func() time.Time { return now }})
				placeholders := placeholders(t, s, k.Name, op.Name)
				sensor := configured(t, k, placeholders)
				g := graphtest.Client(t, s, simulator.Adele, append(graph.Scopes(op.Permissions), "User.Read")...) // which is always granted
				if group := sensor.Group(); group != nil {                                                         // a request to it is executed by one of its members
					members, err := group.Members(t.Context(), g)
					if err != nil {
						t.Fatal(err)
					}
					sensor = group.Member(members[0])
				}
				op := sensor.Operations()[i]
				example := placeholders.Replace(op.Example)
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
				if diff := gocmp.Diff(slices.Sorted(maps.Keys(returned)), slices.Sorted(maps.Keys(documented))); diff != "" {
					t.Errorf("it returns others than documented (-returned +documented):\n%s", diff)
				}
			})
		}
	}
}

// everySensor is a sensor with the operations of every sensor only.
type everySensor struct{ sensors.Sensor }

// Operations implements sensors.Sensor.
func (everySensor) Operations() []services.Operation { return people.Operations() }

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

// A thing is created before an example is executed; the ids in examples, of options and of requests, stand for it.
type thing struct {
	Placeholders map[string]string // of ids, as the examples have them, with the path of each in the response, such as steps.0.id
	Kind         string            // in whose examples it is; "": of every kind without its own
	Operation    string            // whose example it is in; "": of every operation without its own
	Path         string            // of the POST that makes the thing, below /control or as Graph has it; may have earlier placeholders
	Scopes       []string          // of Adele, who sends it
	Body         json.RawMessage   // may have earlier placeholders
}

// placeholders makes the things that testdata/examples lists, and returns the replacements of their placeholders.
func placeholders(t *testing.T, s *simulator.Simulator, kind, operation string) *strings.Replacer {
	t.Helper()
	files, err := filepath.Glob("testdata/examples/*.json")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	replacer := func() *strings.Replacer {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(ids)) {
			pairs = append(pairs, name, ids[name])
		}
		return strings.NewReplacer(pairs...)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		var all []thing
		if err := d.Decode(&all); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range all {
			if (p.Kind == "" || p.Kind == kind) && (p.Operation == "" || p.Operation == operation) {
				maps.Copy(ids, p.create(t, s, replacer()))
			}
		}
	}
	return replacer()
}

// create makes the thing and returns its ids by their placeholders.
func (p thing) create(t *testing.T, s *simulator.Simulator, earlier *strings.Replacer) map[string]string {
	t.Helper()
	address := s.GraphURL() + earlier.Replace(p.Path)
	if path, ok := strings.CutPrefix(p.Path, "/control/"); ok {
		address = s.ControlURL() + "/" + earlier.Replace(path)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(earlier.Replace(string(p.Body))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.Token(simulator.Adele, p.Scopes...))
	response, err := (&http.Client{Transport: s.Transport()}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var made any
	if err := json.Unmarshal(b, &made); err != nil {
		t.Fatalf("%s: %v: %s", p.Path, err, b)
	}
	ids := map[string]string{}
	for placeholder, path := range p.Placeholders {
		v := made
		for key := range strings.SplitSeq(path, ".") {
			switch of := v.(type) {
			case map[string]any:
				v = of[key]
			case []any:
				n, err := strconv.Atoi(key)
				if err != nil || n >= len(of) {
					t.Fatalf("%s: no %s in %s", p.Path, path, b)
				}
				v = of[n]
			}
		}
		id, ok := v.(string)
		if !ok {
			t.Fatalf("%s: no %s in %s", p.Path, path, b)
		}
		ids[placeholder] = id
	}
	return ids
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
