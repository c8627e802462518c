package graph_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// The examples of Microsoft's reference can be read: lists as lists, and every time and zone in them.
func TestDocumentedExamples(t *testing.T) {
	files, err := filepath.Glob("testdata/examples/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	answers, times := 0, 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var examples []struct {
			Method, URL  string
			Status       int
			ResponseBody json.RawMessage
		}
		if err := json.Unmarshal(b, &examples); err != nil {
			t.Fatal(file, err)
		}
		for _, example := range examples {
			name := filepath.Base(file) + " " + example.Method + " " + example.URL
			c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(*http.Request) (*http.Response, error) {
				return graphtest.Answer(example.Status, string(example.ResponseBody)), nil
			})})
			if len(example.ResponseBody) == 0 {
				if err := c.Do(t.Context(), "ask", write(t, c), new(any)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			answers++
			var out any
			if err := c.Do(t.Context(), "ask", read(t, c), &out); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if o, ok := out.(map[string]any); ok {
				if list, ok := o["value"].([]any); ok && o["@odata.nextLink"] == nil {
					got, err := graph.List[json.RawMessage](t.Context(), c, "ask", read(t, c))
					if err != nil || len(got) != len(list) {
						t.Errorf("%s: %d of %d, %v", name, len(got), len(list), err)
					}
				}
			}
			each(out, func(d graph.DateTimeTimeZone) {
				if strings.HasSuffix(d.DateTime, "-value") || strings.HasPrefix(d.DateTime, "String") { // a placeholder
					return
				}
				times++
				at, err := d.Time()
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if date, err := d.Date(); err != nil || !strings.HasPrefix(d.DateTime, date) || at.Format("2006-01-02") != date {
					t.Errorf("%s: %+v is on %q, %v", name, d, date, err)
				}
			})
		}
	}
	if answers < 50 || times < 40 {
		t.Errorf("%d answers, %d times", answers, times)
	}
}

// each calls f with every dateTimeTimeZone in what was decoded.
func each(v any, f func(graph.DateTimeTimeZone)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			each(e, f)
		}
	case map[string]any:
		at, isTime := v["dateTime"].(string)
		if zone, ok := v["timeZone"].(string); ok && isTime {
			f(graph.DateTimeTimeZone{DateTime: at, TimeZone: zone})
		}
		for _, e := range v {
			each(e, f)
		}
	}
}
