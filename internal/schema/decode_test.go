package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

type place struct {
	Name string  `json:"name" required:"true" doc:"the name"`
	Lat  float64 `json:"lat" min:"-90" max:"90" doc:"the latitude"`
}

type request struct {
	Subject  string         `json:"subject" required:"true" doc:"the title"`
	Show     *string        `json:"show" enum:"free,busy" doc:"as what"`
	Start    time.Time      `json:"start" doc:"when"`
	Length   time.Duration  `json:"length" min:"1m" doc:"how long"`
	Minutes  *int           `json:"minutes" min:"0" max:"60" doc:"a number"`
	Small    uint8          `json:"small" doc:"a small number"`
	AllDay   *bool          `json:"all_day" doc:"whether"`
	Tags     []string       `json:"tags" doc:"words"`
	Place    *place         `json:"place" doc:"where"`
	Places   []place        `json:"places" doc:"more of them"`
	Extra    map[string]any `json:"extra" doc:"anything"`
	Any      any            `json:"any" doc:"anything"`
	Internal chan int
}

func TestDecodeObject(t *testing.T) {
	var got request
	err := schema.DecodeObject([]byte(` {"subject": "x", "show": "BUSY", "start": "2026-01-01T12:00:00Z", "length": "90m", "minutes": 15.0, "small": 2e2, "all_day": false,
		"tags": ["a", ""], "place": {"name": "here", "lat": 1}, "places": [{"name": "b"}], "extra": {"n": 1, "l": [1.5, null]}, "any": {"x": 1}} `), &got)
	busy, minutes, allDay := "busy", 15, false
	want := request{
		Subject: "x", Show: &busy, Start: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Length: 90 * time.Minute, Minutes: &minutes, Small: 200, AllDay: &allDay,
		Tags: []string{"a", ""}, Place: &place{"here", 1}, Places: []place{{Name: "b"}},
		Extra: map[string]any{"n": 1.0, "l": []any{1.5, nil}}, Any: map[string]any{"x": 1.0},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	var m map[string]any
	if err := schema.DecodeObject([]byte(`{"a": 1, "b": [true]}`), &m); err != nil || !cmp.Equal(m, map[string]any{"a": 1.0, "b": []any{true}}) {
		t.Error(m, err)
	}
}

func TestDecodeObjectProblems(t *testing.T) {
	for _, test := range []struct{ object, want string }{
		{``, "want JSON: unexpected end of JSON input"},
		{`noon`, "want JSON: invalid character 'o' in literal null (expecting 'u')"},
		{`[]`, "want a JSON object, not a list"},
		{`null`, "want a JSON object, not null"},
		{`"hunter2"`, `want a JSON object, not "hunter2"`},
		{`{"subject": "x"} {}`, "want JSON: invalid character '{' after top-level value"},
		{`{"subject": "x", "subject": "y"}`, `key "subject" is given twice`},
		{`{"subject": "x", "extra": {"a": 1, "\u0061": 2}}`, `key "a" is given twice`},
		{"{\"subject\": \"\xff\"}", "want UTF-8 text"},
		{`{"subject": "x", "any": ` + strings.Repeat("[", 101) + strings.Repeat("]", 101) + `}`, "want values that are nested at most 100 levels deep"},
		{`{}`, "subject is required"},
		{`{"subject": null}`, "subject is required"},
		{`{"Subject": "x"}`, "subject is required\nSubject: unknown field; did you mean subject? known fields: all_day, any, extra, length, minutes, place, places, show, small, start, subject, tags"},
		// In order of declaration, unknown fields last.
		{`{"zzz": 1, "places": [{"lat": 91}, 5, null], "place": "here", "tags": "a", "all_day": "true", "small": 256, "minutes": 1.5, "length": "30s",
			"start": "noon", "show": 1, "subject": 5, "aaa": 1}`,
			`subject: want text, not 5
show: want one of free, busy, not 1
start: want a time with zone, such as 2026-01-01T12:00:00Z, not "noon"
length: want at least 1m, not 30s
minutes: want a whole number, not 1.5
small: 256 is out of range
all_day: want true or false, not "true"
tags: want a list of text, not "a"
place: want an object, not text
places[0].name is required
places[0].lat: want at most 90, not 91
places[1]: want an object, not 5
places[2] is empty
aaa: unknown field; known fields: all_day, any, extra, length, minutes, place, places, show, small, start, subject, tags
zzz: unknown field; known fields: all_day, any, extra, length, minutes, place, places, show, small, start, subject, tags`},
		{`{"subject": "x", "minutes": 61, "length": 5, "show": "bussy", "small": -1}`, `show: want one of free, busy, not "bussy"; did you mean busy?
length: want a duration with a unit, such as 30s, 15m or 24h, not 5
minutes: want at most 60, not 61
small: -1 is out of range`},
		{`{"subject": "x", "minutes": 123456789012345678901234567890, "show": "` + strings.Repeat("secret ", 9) + `"}`, `show: want one of free, busy, not text of 63 characters
minutes: want a whole number, not 123456789012345678901234567890`},
		{`{"subject": "x", "` + strings.Repeat("long", 5000) + `": 1}`, strings.Repeat("long", 9) + `lon…: unknown field; known fields: all_day, any, extra, length, minutes, place, places, show, small, start, subject, tags`},
	} {
		var r request
		err := schema.DecodeObject([]byte(test.object), &r)
		if diff := cmp.Diff(test.want, fmt.Sprint(err)); diff != "" {
			t.Errorf("%.200s: %s", test.object, diff)
		}
		if problems := (schema.Problems)(nil); !errors.As(err, &problems) {
			t.Errorf("%.200s: the error is a %T", test.object, err)
		}
	}
}

func TestCheckObject(t *testing.T) {
	for object, want := range map[string]string{
		`{"a": {"b": [1]}}`: "<nil>", `{"a": 1, "a": 2}`: `key "a" is given twice`, `[1]`: "want a JSON object, not a list", `{`: "want JSON: unexpected end of JSON input",
	} {
		if got := fmt.Sprint(schema.CheckObject([]byte(object))); got != want {
			t.Errorf("%s: got %s, want %s", object, got, want)
		}
	}
}

// Numbers keep the value that was written, or are refused.
func TestNumbersKeepTheirValue(t *testing.T) {
	type numbers struct {
		I int64   `json:"i" koanf:"i"`
		U uint64  `json:"u" koanf:"u"`
		F float64 `json:"f" koanf:"f"`
	}
	var got numbers
	if err := schema.DecodeObject([]byte(`{"i": 9007199254740993, "u": 9223372036854775807, "f": 1e-3}`), &got); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(numbers{9007199254740993, math.MaxInt64, 0.001}, got); diff != "" {
		t.Error(diff)
	}
	err := schema.Decode(&got, map[string]any{"i": 1.5, "u": -1, "f": math.NaN()})
	want := "f: want a number, not NaN\ni: want a whole number, not 1.5\nu: -1 is out of range"
	if fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestFields(t *testing.T) {
	var got []string
	for _, f := range schema.Object.Fields(&request{}) {
		got = append(got, fmt.Sprint(f.Key, "|", f.Type, "|", f.Enum, "|", f.Required, "|", len(f.Fields)))
	}
	want := []string{"subject|text|[]|true|0", "show|text|[free busy]|false|0", "start|time|[]|false|0", "length|duration|[]|false|0", "minutes|whole number|[]|false|0",
		"small|whole number|[]|false|0", "all_day|true or false|[]|false|0", "tags|list of text|[]|false|0", "place|object|[]|false|2", "places|list of objects|[]|false|2",
		"extra|object by id|[]|false|0", "any|anything|[]|false|0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	table := schema.Table(schema.Object.Fields(&struct {
		Places []place `json:"places" doc:"some | others"`
	}{}))
	if want := "| key | type | default | |\n|---|---|---|---|\n| `places` | list of objects |  | some \\| others |\n| `places[].name` | text | *required* | the name |\n" +
		"| `places[].lat` | number |  | the latitude From -90 to 90. |\n"; table != want {
		t.Error(cmp.Diff(want, table))
	}
}

func TestEncode(t *testing.T) {
	busy := "busy"
	r := request{Subject: "x", Show: &busy, Length: time.Hour, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Places: []place{{Name: "a"}}}
	want := map[string]any{
		"subject": "x", "show": "busy", "start": "2026-01-01T00:00:00Z", "length": "1h", "minutes": nil, "small": uint8(0), "all_day": nil, "tags": []any{}, "place": nil,
		"places": []any{map[string]any{"name": "a", "lat": 0.0}}, "extra": map[string]any{}, "any": nil,
	}
	if diff := cmp.Diff(want, schema.Object.Encode(reflect.ValueOf(&r).Elem(), false)); diff != "" {
		t.Error(diff)
	}
}

func TestLines(t *testing.T) {
	_, lines, err := schema.ParseJSON([]byte("{\n\"a\": {\n\"b.c\": [\n1,\n{\"d\":\n2}]},\n\n\"e\": 1}"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"a": 2, `a."b.c"`: 3, `a."b.c"[0]`: 3, `a."b.c"[1].d`: 5, "a.nosuch": 2, "e": 8, "e.x.y[2]": 8, "nosuch": 0, "": 0} {
		if got := lines.Line(path); got != want {
			t.Errorf("%s: line %d, want %d", path, got, want)
		}
	}
}

// Every input is decoded, or refused with problems of one line each.
func FuzzDecodeObject(f *testing.F) {
	f.Add([]byte(`{"subject": "x", "places": [{"name": "a", "lat": 1e400}], "any": {"a": [null]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r request
		err := schema.DecodeObject(b, &r)
		var problems schema.Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatalf("the error is a %T", err)
		}
		for _, p := range problems {
			if strings.ContainsAny(p.Error(), "\n\r") {
				t.Fatalf("more than one line: %q", p)
			}
		}
		if err == nil && !json.Valid(b) {
			t.Fatal("decoded invalid JSON")
		}
	})
}
