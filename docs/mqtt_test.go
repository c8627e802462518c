package docs_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/audit"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// The messages in mqtt.md have the keys that are published: all of them in a status, no others in a response.
func TestMessagesInDocs(t *testing.T) {
	page, err := os.ReadFile("mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range regexp.MustCompile("(?ms)^```json\n(.*?)^```").FindAllSubmatch(page, -1) {
		n++
		var v any = new(services.Response)
		if bytes.Contains(block[1], []byte(`"sign_in"`)) {
			v = new(hub.AccountStatus)
		} else if bytes.Contains(block[1], []byte(`"graph_request_ids"`)) {
			v = new(audit.Line)
		}
		d := json.NewDecoder(bytes.NewReader(block[1]))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			t.Errorf("%s\n%v", block[1], err)
			continue
		}
		if _, ok := v.(*hub.AccountStatus); !ok {
			continue
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var shown, published map[string]any
		if json.Unmarshal(block[1], &shown) != nil || json.Unmarshal(again, &published) != nil {
			t.Fatal("no JSON")
		}
		if diff := cmp.Diff(published, shown); diff != "" {
			t.Errorf("the status has other keys (-published +shown):\n%s", diff)
		}
	}
	if n < 3 {
		t.Errorf("only %d messages", n)
	}
}

// An emptyStore has nothing stored.
type emptyStore struct{ runtime.Store }

func (emptyStore) Each(string, func(string, []byte) error) error { return nil }

// The events of requests have exactly the fields that are documented.
func TestEventsOfRequests(t *testing.T) {
	h := hub.New()
	h.Declare(hub.Device{ID: hub.ID{Account: "work"}})
	r, err := runtime.New(runtime.Options{Store: emptyStore{}, Hub: h, Log: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := h.Subscribe()
	defer s.Close()
	r.Completed(services.Ref{Account: "work", Sensor: "calendar"}, services.Response{Status: "ok"})
	r.Completed(services.Ref{Account: "work", Sensor: "calendar"}, services.Response{}.Fail(&services.Error{Code: services.Expired}))
	emitted := map[string][]string{}
	for len(emitted) < 2 {
		u, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u.Event != nil {
			emitted[u.Event.Type] = slices.Sorted(maps.Keys(u.Event.Data))
		}
	}
	for _, e := range runtime.EventTypes() {
		var keys []string
		for _, f := range e.Fields {
			keys = append(keys, f.Key)
		}
		slices.Sort(keys)
		if diff := cmp.Diff(emitted[e.Name], keys); diff != "" && emitted[e.Name] != nil {
			t.Errorf("%s (-emitted +documented):\n%s", e.Name, diff)
		}
	}
}
