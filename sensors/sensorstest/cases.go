package sensorstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

var update = flag.Bool("update", false, "write the expected files of the cases")

// Run runs every folder in dir as a test case of kind. A folder holds
//
//	case.json         now, timezone and the sensor's options
//	graph/PATH.json   what Graph answers to GET /v1.0/PATH; PATH.post.json to POST. {"error": …} is answered with status 404
//	later/PATH.json   what it answers to a second poll, at the case's "later", where that differs; without the folder there is none
//
// and what is expected, which go test -update writes:
//
//	permissions.json  what reading and each operation need
//	entities.json     what Home Assistant is to show
//	state.json        what the sensor shows after the last poll
//	events.json       what happened, and how Describe says it; only with a second poll
//
// A user's real answer becomes a case by saving it under its path.
//
// The kind documents exactly the attributes and fields of events that the cases have. Every list of fields is in a case.
func Run(t *testing.T, kind sensors.Kind, dir string) {
	t.Helper()
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if f.IsDir() {
			t.Run(f.Name(), func(t *testing.T) { runCase(t, kind, filepath.Join(dir, f.Name())) })
		}
	}
	checkDocumentation(t, kind, dir)
}

// checkDocumentation compares the keys in the expected files with Kind.Attributes and Kind.Events.
func checkDocumentation(t *testing.T, kind sensors.Kind, dir string) {
	t.Helper()
	shown := map[string]bool{}
	fired := map[string]map[string]bool{}
	states, err := filepath.Glob(filepath.Join(dir, "*", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range states {
		var s stateFile
		if err := json.Unmarshal(readFile(t, path), &s); err != nil {
			t.Fatal(err)
		}
		collectKeys(shown, "", map[string]any(s.Attributes))
		if s.ItemsKey != "" {
			collectKeys(shown, "", map[string]any{s.ItemsKey: s.Items})
		}
		events, err := os.ReadFile(filepath.Join(filepath.Dir(path), "events.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var all []eventFile
		if err := errors.Join(err, json.Unmarshal(events, &all)); err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if fired[e.Type] == nil {
				fired[e.Type] = map[string]bool{}
			}
			collectKeys(fired[e.Type], "", e.Data)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(shown)), documentedKeys("", kind.Attributes)); diff != "" {
		t.Errorf("Kind.Attributes is not what the cases show (-shown +documented):\n%s", diff)
	}
	for _, e := range kind.Events {
		keys := map[string]bool{}
		for _, other := range kind.Events {
			if cmp.Equal(other.Fields, e.Fields) { // a case need not have each of them
				maps.Copy(keys, fired[other.Name])
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(keys)), documentedKeys("", e.Fields)); diff != "" {
			t.Errorf("the documented fields of %s are not those in the cases (-fired +documented):\n%s", e.Name, diff)
		}
	}
	for name := range fired {
		if !slices.ContainsFunc(kind.Events, func(e sensors.EventType) bool { return e.Name == name }) {
			t.Errorf("Kind.Events lacks %s", name)
		}
	}
}

// collectKeys adds the paths of the keys in v to keys.
func collectKeys(keys map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			below := strings.TrimPrefix(path+"."+key, ".")
			keys[below] = true
			collectKeys(keys, below, value)
		}
	case []any:
		for _, value := range v {
			collectKeys(keys, path+"[]", value)
		}
	}
}

// documentedKeys returns the paths of the fields, sorted.
func documentedKeys(path string, fields []schema.Field) []string {
	var keys []string
	for _, f := range fields {
		key := path + f.Key
		keys = append(keys, key)
		if strings.HasPrefix(f.Type, "list of ") {
			key += "[]"
		}
		keys = append(keys, documentedKeys(key+".", f.Fields)...)
	}
	slices.Sort(keys)
	return keys
}

// A testCase holds the content of case.json.
type testCase struct {
	Now      string         `json:"now"` // 2026-01-15T12:00:00, in the zone
	Later    string         `json:"later"`
	Timezone string         `json:"timezone"`
	Options  map[string]any `json:"options"`
}

func runCase(t *testing.T, kind sensors.Kind, dir string) {
	var c testCase
	decoder := json.NewDecoder(bytes.NewReader(readFile(t, filepath.Join(dir, "case.json"))))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		t.Fatalf("case.json: %v", err)
	}
	loc, err := time.LoadLocation(c.Timezone)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		now, err := time.ParseInLocation("2006-01-02T15:04:05", s, loc)
		if err != nil {
			t.Fatalf("case.json: %v", err)
		}
		return now
	}
	sensor := kind.New()
	if err := config.Decode(sensor.Options(), c.Options); err != nil {
		t.Fatalf("case.json: %v", err)
	}
	compare(t, dir, "permissions.json", permissionsOf(sensor))
	compare(t, dir, "entities.json", entitiesOf(sensor))
	synctest.Test(t, func(t *testing.T) {
		answers := &files{dirs: []string{filepath.Join(dir, "graph")}}
		var mu sync.Mutex
		var state sensors.State
		var events []entity.Event
		var failed error
		g, err := graph.New(graph.Options{Root: "https://graph.microsoft.com", Transport: answers, ClientID: "client", Tokens: graphtest.Tokens{Scopes: graph.Scopes(sensor.Permissions())}})
		if err != nil {
			t.Fatal(err)
		}
		poller := sensor.NewPoller(sensors.PollerOptions{
			Graph: g, Interval: 24 * 365 * time.Hour, Location: func() *time.Location { return loc }, Log: slog.New(slog.DiscardHandler),
			OnState: func(s sensors.State) {
				mu.Lock()
				defer mu.Unlock()
				state = s
			},
			OnEvents: func(es []entity.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, es...)
			},
			OnPoll: func(p sensors.Poll) {
				mu.Lock()
				defer mu.Unlock()
				if p.Err != nil {
					failed = p.Err
				}
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		time.Sleep(time.Until(at(c.Now)))
		running.Go(func() {
			if err := poller.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		settle()
		if c.Later != "" {
			time.Sleep(time.Until(at(c.Later)) - time.Nanosecond)
			answers.overlay(filepath.Join(dir, "later"))
			time.Sleep(time.Nanosecond)
			poller.Refresh()
			settle()
		}
		mu.Lock()
		defer mu.Unlock()
		for _, problem := range answers.problems() {
			t.Error(problem)
		}
		if failed != nil {
			t.Errorf("the poll failed: %v", failed)
		}
		compare(t, dir, "state.json", stateOf(state.State))
		if c.Later != "" {
			compare(t, dir, "events.json", eventsOf(t, kind, events))
		}
	})
}

// settle waits for a poll. Requests that sensors may share wait for others to join them.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// compare compares v with the expected file, or writes it.
func compare(t *testing.T, dir, name string, v any) {
	t.Helper()
	got := indented(t, v)
	path := filepath.Join(dir, name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, path)), string(got)); diff != "" {
		t.Errorf("%s (-want +got; write it with -update):\n%s", path, diff)
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type permissions struct {
	Read       []string            `json:"read"`
	Operations map[string][]string `json:"operations,omitempty"`
}

func permissionsOf(s sensors.Sensor) permissions {
	p := permissions{Read: graph.Scopes(s.Permissions()), Operations: map[string][]string{}}
	for _, op := range s.Operations() {
		p.Operations[op.Name] = graph.Scopes(op.Permissions)
	}
	return p
}

// An entityFile holds an entity of entities.json.
type entityFile struct {
	Key         string            `json:"key"`
	Platform    string            `json:"platform"`
	Name        string            `json:"name"`
	Primary     bool              `json:"primary,omitempty"`
	DeviceClass string            `json:"device_class,omitempty"`
	StateClass  string            `json:"state_class,omitempty"`
	Unit        string            `json:"unit,omitempty"`
	Icon        string            `json:"icon,omitempty"`
	Category    string            `json:"category,omitempty"`
	Options     []string          `json:"options,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Operations  []string          `json:"operations,omitempty"`
	Message     string            `json:"message_field,omitempty"`
	Fields      map[string]any    `json:"default_fields,omitempty"`
	LongTexts   string            `json:"long_texts,omitempty"`
}

func entitiesOf(s sensors.Sensor) []entityFile {
	var all []entityFile
	for _, e := range s.Entities() {
		all = append(all, entityFile{
			e.Key, e.Platform, e.Name, e.Primary, e.DeviceClass, e.StateClass, e.Unit, e.Icon, e.Category, e.Options, e.Labels, e.Operations,
			e.MessageField, e.DefaultFields, e.LongTexts,
		})
	}
	return all
}

// A stateFile holds the content of state.json.
type stateFile struct {
	Values     map[string]any    `json:"values"`
	Texts      map[string]string `json:"texts,omitempty"`
	Attributes map[string]any    `json:"attributes"`
	ItemsKey   string            `json:"items_key,omitempty"`
	Items      []any             `json:"items,omitempty"`
	Next       *time.Time        `json:"next"`
}

func stateOf(s entity.State) stateFile {
	f := stateFile{s.Values, s.Texts, s.Attributes, s.ItemsKey, s.Items, nil}
	if !s.Next.IsZero() {
		f.Next = &s.Next
	}
	return f
}

// An eventFile holds an event of events.json.
type eventFile struct {
	Type        string         `json:"type"`
	Description string         `json:"description"`
	Data        map[string]any `json:"data"`
}

func eventsOf(t *testing.T, kind sensors.Kind, events []entity.Event) []eventFile {
	t.Helper()
	all := []eventFile{}
	if len(events) > 0 && kind.Describe == nil {
		t.Fatal("the sensor fires events, but Kind.Describe is nil")
	}
	for _, e := range events {
		all = append(all, eventFile{e.Type, kind.Describe(Decoded(t, e)), e.Data})
	}
	return all
}

// Decoded returns e with its data as decoded from JSON, as Kind.Describe takes it.
func Decoded(t testing.TB, e entity.Event) entity.Event {
	t.Helper()
	b, err := json.Marshal(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	e.Data = nil
	if err := json.Unmarshal(b, &e.Data); err != nil {
		t.Fatal(err)
	}
	return e
}

// files answers requests from files below dirs, the last of which comes first.
type files struct {
	mu      sync.Mutex
	dirs    []string
	missing []string
}

func (f *files) overlay(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirs = append(f.dirs, dir)
}

func (f *files) problems() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.missing
}

// RoundTrip implements http.RoundTripper.
func (f *files) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body) // its content does not matter
		_ = r.Body.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/v1.0/")
	if r.Method != http.MethodGet {
		name += "." + strings.ToLower(r.Method)
	}
	status, body := http.StatusOK, []byte(nil)
	for _, dir := range f.dirs {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)+".json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			body = b
		}
	}
	if body == nil {
		f.missing = append(f.missing, fmt.Sprintf("no answer to %s %s; add %s.json", r.Method, r.URL, filepath.Join(f.dirs[0], name)))
		body = []byte(`{"error": {"code": "itemNotFound", "message": "The case has no answer."}}`)
	}
	var failure struct{ Error json.RawMessage }
	if json.Unmarshal(body, &failure) == nil && failure.Error != nil {
		status = http.StatusNotFound
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, nil
}
