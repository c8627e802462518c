package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

func TestWatch(t *testing.T) {
	h := newHarness(t)
	b, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.configure(t, b.URL())
	h.login(t)
	bridge := h.start(t, "run", "--log-level", "error")
	p := h.start(t, "watch")
	for _, want := range []string{
		`(?m)^\d\d:\d\d:\d\d  bridge +online$`,
		`  work +signed in as adele@contoso\.example\n`,
		`  work +online\n`,
		`  work/out_of_office +active false, enabled false, (.*, )?external_audience all, (.*, )?mode disabled`,
	} {
		p.stdout.find(t, regexp.MustCompile(want))
	}
	narrow := h.start(t, "watch", "work/out_of_office", "--mqtt", b.URL(), "--json")
	narrow.stdout.find(t, regexp.MustCompile(`"topic":"graph2mqtt/work/out_of_office/state","retained":true,"payload":\{"active":`))
	guest, err := mqtt.Observe(mqtt.Options{URLs: []string{b.URL()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	for topic, payload := range map[string]string{"set/enabled": "ON", "set/mode": "sometimes"} {
		if err := guest.Publish("graph2mqtt/work/out_of_office/"+topic, []byte(payload), false); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`  work/out_of_office +request: set/enabled ON\n`,
		`  work/out_of_office +response: enable: ok\n`,
		`  work/out_of_office +response: update: invalid_argument: mode: want one of `,
		`  work/out_of_office +now Always, was Off\n`,
		`  work/out_of_office +active true, enabled true, mode alwaysEnabled\n`,
	} {
		p.stdout.find(t, regexp.MustCompile(want))
	}
	narrow.stdout.find(t, regexp.MustCompile(`"topic":"graph2mqtt/work/out_of_office/set/enabled","retained":false,"payload":"ON"\}\n`))
	bridge.interrupt()
	if code := bridge.wait(t); code != 0 {
		t.Errorf("the bridge: %d, %s", code, bridge.stderr)
	}
	p.stdout.find(t, regexp.MustCompile(`  bridge +offline\n`))
	narrow.interrupt()
	if code := narrow.wait(t); code != 0 || narrow.stderr.String() != "" {
		t.Errorf("%d, %s", code, narrow.stderr)
	}
	for line := range strings.Lines(narrow.stdout.String()) {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil || !strings.HasPrefix(m.Topic, "graph2mqtt/work/out_of_office/") {
			t.Errorf("%v: %s", err, line)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	const waiting = "graph2mqtt: nothing is published below graph2mqtt yet, waiting\n" // of a bridge that takes long to start
	if code := p.wait(t); code != 2 || !strings.HasPrefix(strings.TrimPrefix(p.stderr.String(), waiting), "graph2mqtt: the connection to "+b.URL()+" is lost: ") {
		t.Errorf("%d, %s", code, p.stderr)
	}
}

// A filter that matches nothing is reported, and so is an empty broker.
func TestWatchWithoutMatch(t *testing.T) {
	h := newHarness(t)
	url := startBroker(t).URL()
	h.configure(t, url)
	p := h.start(t, "watch", "work/calender", "bridge")
	l, err := mqtt.Observe(mqtt.Options{URLs: []string{url}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.stderr.find(t, regexp.MustCompile(`graph2mqtt: nothing retained matches work/calender, waiting; the configuration has: bridge, work, work/calendar, work/out_of_office\n`))
	h.start(t, "watch", "--mqtt", url).stderr.find(t, regexp.MustCompile(`graph2mqtt: nothing is published below graph2mqtt yet, waiting\n`))
	if err := l.Publish("graph2mqtt/work/calender/state", []byte(`{"busy": true}`), false); err != nil {
		t.Fatal(err)
	}
	p.stdout.find(t, regexp.MustCompile(`  work/calender +busy true\n`))
}

func TestWatchFails(t *testing.T) {
	h := newHarness(t)
	code, _, stderr := h.call(t, "watch")
	if code != 2 || !strings.HasPrefix(stderr, "graph2mqtt: connect to mqtt://127.0.0.1:1: ") {
		t.Errorf("%d, %s", code, stderr)
	}
	code, _, stderr = h.call(t, "watch", "--mqtt", "mqtt://user:secret@127.0.0.1:1")
	if code != 2 || strings.Contains(stderr, "secret") {
		t.Errorf("%d, %s", code, stderr)
	}
	code, _, stderr = h.call(t, "watch", "--mqtt", "broker")
	if code != 1 || stderr != "graph2mqtt: --mqtt: want mqtt://HOST:PORT (or mqtts, ws, wss)\n" {
		t.Errorf("%d, %s", code, stderr)
	}
}

func TestInitialOrder(t *testing.T) {
	w := &watch{broker: mqtt.Options{Base: "base"}}
	want := []mqtt.Message{
		{Topic: "homeassistant/device/base-work/config", Retained: true},
		{Topic: "base/bridge/state", Retained: true},
		{Topic: "base/work/state", Retained: true},
		{Topic: "base/work/status", Retained: true},
		{Topic: "base/work/calendar/state", Retained: true},
		{Topic: "base/work/calendar/request/create"},
		{Topic: "base/bridge/state"},
	}
	got := slices.Clone(want)
	slices.SortFunc(got[:5], func(a, b mqtt.Message) int { return strings.Compare(b.Topic, a.Topic) })
	slices.SortStableFunc(got, w.compareInitial)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(mqtt.Message{})); diff != "" {
		t.Error(diff)
	}
}
