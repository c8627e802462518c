package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// The unknown values that a bridge publishes before Graph answers print nothing.
func TestPrinterIgnoresUnknownValues(t *testing.T) {
	var out bytes.Buffer
	c := &config.Config{Accounts: map[string]*config.Account{
		"work": {ID: "work", Name: "Work", Sensors: map[string]*config.Sensor{"out": {ID: "out", Name: "Out of office"}}},
	}}
	printer := newEventPrinter(&program{stdout: &out}, "graph2mqtt", c)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range [][2]string{
		{"state", `{"mode": null, "internal_text": ""}`}, {"availability", "offline"},
		{"state", `{"mode": "disabled", "internal_text": "Away"}`}, {"availability", "online"},
		{"availability", "offline"}, {"availability", "online"},
	} {
		printer.handle(mqtt.Message{Topic: "graph2mqtt/work/out/" + m[0], Payload: []byte(m[1]), Received: at})
	}
	want := "03:04:05  Out of office  Off\n03:04:05  Out of office  offline\n03:04:05  Out of office  online\n"
	if got := out.String(); got != want {
		t.Errorf("output:\n%swant:\n%s", got, want)
	}
}

// Without a configuration it prints each change, in one time zone, and members by name.
func TestPrinterPrintsChanges(t *testing.T) {
	var out bytes.Buffer
	printer := newEventPrinter(&program{stdout: &out}, "graph2mqtt", nil)
	received := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	// Times of an account in another zone than this machine's.
	_, offset := received.Zone()
	zone := time.FixedZone("", offset+5400)
	start := time.Date(2026, 1, 2, 5, 0, 0, 0, time.Local)
	const announcement = `{"device": {"name": "Work Müller"}, "availability": [{"topic": "graph2mqtt/work/state"}, {"topic": "graph2mqtt/work/all_abcd2345/availability"}]}`
	for _, m := range [][2]string{
		{"homeassistant/device/graph2mqtt-work-all_abcd2345/config", announcement},
		{"homeassistant/device/graph2mqtt-work-out/config", strings.NewReplacer("all_abcd2345", "out", "Müller", "out").Replace(announcement)},
		{"graph2mqtt/work/status", `{"sign_in": {"state": "signed_in"}, "user": null, "error": null}`},
		{"graph2mqtt/work/all_abcd2345/state", `{"busy": null, "next": "Lunch", "next_start": "` + start.In(zone).Format(time.RFC3339) + `", "today": 1}`},
		{"graph2mqtt/work/all_abcd2345/state", `{"busy": null, "next": "Lunch", "next_start": "` + start.UTC().Format(time.RFC3339) + `", "today": 2, "list": [1]}`},
		{"graph2mqtt/work/all_abcd2345/state", `{"busy": null, "next": null, "next_start": "` + start.UTC().Format(time.RFC3339) + `", "today": 2, "list": [1]}`},
		{"graph2mqtt/work/all_abcd2345/event", `{"event_type": "event_created", "summary": "Lunch", "start": "` + start.In(zone).Format(time.RFC3339) + `"}`},
		{"graph2mqtt/work/all_abcd2345/status", `{"problem": false, "message": null}`},
		{"graph2mqtt/work/all_abcd2345/status", `{"problem": true, "message": "ann@contoso.com does not share this calendar"}`},
		{"graph2mqtt/work/all_abcd2345/status", `{"problem": false, "message": null}`},
		{"graph2mqtt/work/out/request/enable", `{}`},
		{"graph2mqtt/work/out/set/mode", `Always`},
		{"graph2mqtt/work/out/event", `{"event_type": "unknown_thing", "a": 1}`},
		{"graph2mqtt/work/out/attributes", `{"data": []}`},
	} {
		printer.handle(mqtt.Message{Topic: m[0], Payload: []byte(m[1]), Received: received})
	}
	const member = "03:04:05  work/all_abcd2345 (Work Müller)  "
	want := member + "next Lunch, next_start " + start.Format(time.RFC3339) + ", today 1\n" +
		member + "list [1], today 2\n" +
		member + "next unknown\n" +
		member + "Lunch is new, starts 2026-01-02 05:00\n" +
		member + "problem: ann@contoso.com does not share this calendar\n" +
		member + "problem solved\n" +
		"03:04:05  work/out                request: enable\n" +
		"03:04:05  work/out                request: set/mode Always\n" +
		"03:04:05  work/out                unknown_thing {\"a\":1}\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPrinterPrintsResponses(t *testing.T) {
	var out bytes.Buffer
	printer := newEventPrinter(&program{stdout: &out}, "graph2mqtt", nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for _, payload := range []string{
		`{"op": "sign_in", "status": "ok", "data": {"url": "https://microsoft.com/devicelogin", "code": "ABC123"}}`,
		`{"op": "sign_in", "status": "ok", "data": {"url": "https://login.example/authorize"}}`,
		`{"op": "sign_in", "status": "ok", "data": null}`,
		`{"op": "list", "status": "ok", "data": [1]}`,
		`{"op": "create", "status": "ok", "data": {"url": 1}, "duplicate": true}`,
	} {
		printer.handle(mqtt.Message{Topic: "graph2mqtt/work/response/x", Payload: []byte(payload), Received: at})
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		_, text, _ := strings.Cut(line, "response: ")
		got = append(got, strings.TrimSpace(text))
	}
	want := []string{
		"sign_in: ok, open https://microsoft.com/devicelogin and enter the code ABC123",
		"sign_in: ok, open https://login.example/authorize",
		"sign_in: ok",
		"list: ok",
		"create: ok (executed before)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMatches(t *testing.T) {
	for filter, topics := range map[string][2][]string{
		"a/#":         {{"a", "a/b", "a/b/c"}, {"b", "ab"}},
		"a/+/c/#":     {{"a/b/c", "a/b/c/d"}, {"a/b", "a/b/d", "a"}},
		"a/+/state/#": {{"a/work/state"}, {"a/work/out/state"}},
		"a/b":         {{"a/b"}, {"a", "a/b/c"}},
	} {
		for i, want := range []bool{true, false} {
			for _, topic := range topics[i] {
				if mqtt.Matches(filter, topic) != want {
					t.Errorf("%s and %s: %v", filter, topic, !want)
				}
			}
		}
	}
}

// A kind without events has no words for them.
func TestPrinterAcceptsKindsWithoutEvents(t *testing.T) {
	printer := newEventPrinter(new(program), "graph2mqtt", nil)
	printer.kinds = []sensors.Kind{{Name: "todo"}}
	if _, text := printer.describe([]byte(`{"event_type": "event_started"}`)); text != "event_started {}" {
		t.Errorf("got %q", text)
	}
}
