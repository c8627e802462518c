package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/dashboard"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

const dashboardSensors = `{
  calendar: {type: calendar}, room: {type: calendar, shared_mailbox: room@contoso.example, enable_update: false}, project: {type: group_calendar, group: project@contoso.example, enable_update: false},
  out_of_office: {type: auto_reply}, presence: {type: status, enable_update: true}, ann: {type: status, user: ann@contoso.example},
  mail: {type: email, notify: {}}, boss: {type: query, importance: high}, planner: {type: planner}, shopping: {type: todo, list: Shopping},
  chats: {type: chat}, news: {type: channel, team: Contoso, channel: News}}`

// A reader that closes the pipe, such as head, gets no error; a full disk is reported once.
func TestOutputThatCannotBeWritten(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local", "{calendar: {type: calendar}}")
	for _, args := range [][]string{{"dashboard", "work"}, {"dashboard", "work", "--json"}, {"permissions", "--format", "json"}, {"config", "example"}} {
		for failure, want := range map[error]string{syscall.EPIPE: "", syscall.ENOSPC: "graph2mqtt: write the output: no space left on device\n"} {
			p := h.startWith(t, func([]byte) error { return failure }, args...)
			if code := p.wait(t); code != map[bool]int{true: exitOK, false: exitFailed}[want == ""] || p.stderr.String() != want {
				t.Errorf("%v, %v: exit code %d: %s", args, failure, code, p.stderr)
			}
		}
	}
}

func TestDashboard(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "enable_update: true", dashboardSensors)
	code, stdout, stderr := h.call(t, "dashboard", "work")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	golden(t, filepath.Join("testdata", "dashboard.yaml"), stdout)
	code, text, stderr := h.call(t, "dashboard", "work", "--json")
	var fromYAML, fromJSON any
	if err := yaml.Unmarshal([]byte(stdout), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(text), &fromJSON); err != nil || code != 0 || stderr != "" { // JSON is YAML
		t.Fatal(code, stderr, err)
	}
	a, _ := json.Marshal(fromYAML)
	b, _ := json.Marshal(fromJSON)
	if string(a) != string(b) {
		t.Errorf("the JSON differs:\n%s\n%s", a, b)
	}

	// Without updates there is nothing to switch.
	h.configureWork(t, "enable_update: false", "{out_of_office: {type: auto_reply}}")
	if _, stdout, _ := h.call(t, "dashboard", "work"); strings.Contains(stdout, "switch.") || !strings.Contains(stdout, "sensor.work_out_of_office_mode") {
		t.Errorf("a read-only account has\n%s", stdout)
	}
}

func TestDashboardRefuses(t *testing.T) {
	h := newHarness(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"dashboard"}, "want an account; the configuration has: work"},
		{[]string{"dashboard", "home"}, `there is no account "home"; the configuration has: work`},
		{[]string{"dashboard", "work", "twice"}, `unexpected argument "twice"`},
	} {
		code, stdout, stderr := h.call(t, c.args...)
		if code != 1 || stdout != "" || !strings.HasPrefix(stderr, "graph2mqtt: "+c.want+"\n") {
			t.Errorf("%v: %d, %q, %q", c.args, code, stdout, stderr)
		}
	}
	h.write(t, "graph2mqtt.yaml", "mqtt: {url: \"mqtt://127.0.0.1:1\"}\nhomeassistant: {enabled: false}\naccounts: {work: {"+strings.ReplaceAll(h.cloud(), "\n   ", ",")+"}}\n")
	code, _, stderr := h.call(t, "dashboard", "work")
	if want := "graph2mqtt: homeassistant.enabled is false: without discovery there are no entities to show\n"; code != 1 || stderr != want {
		t.Errorf("%d, %q", code, stderr)
	}
}

// The members of a sensor for all lists are read from the broker.
func TestDashboardOfGroup(t *testing.T) {
	t.Parallel()
	b, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeBroker := sync.OnceValue(b.Close)
	t.Cleanup(func() { _ = closeBroker() })
	h := newHarness(t)
	configure := func(more string) {
		h.write(t, "graph2mqtt.yaml", "mqtt: {url: \""+b.URL()+"\"}\n"+more+"accounts:\n  work:\n    "+h.cloud()+"\n    enable_update: true\n    sensors: {todo: {type: todo}, calendar: {type: calendar}}\n")
	}
	configure("")
	entities := func() []string {
		t.Helper()
		code, stdout, stderr := h.call(t, "dashboard", "work", "--json")
		var v dashboard.View
		if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 0 {
			t.Fatal(code, stderr, err)
		}
		return append(v.Entities(), stderr)
	}
	missing := entities()
	if want := "graph2mqtt: the view lacks todo: nothing is announced for it; start the bridge once, and run this command again\n"; missing[len(missing)-1] != want {
		t.Errorf("before the bridge ran: %q", missing)
	}
	h.login(t)
	for mode, topic := range map[string]string{"device": "homeassistant/device/graph2mqtt-work-todo_", "component": "homeassistant/sensor/graph2mqtt-work-todo_"} {
		configure("homeassistant: {discovery: " + mode + "}\n")
		announced := make(chan struct{}, 1)
		observer, err := mqtt.Observe(mqtt.Options{URLs: []string{b.URL()}}, func(m mqtt.Message) {
			if strings.HasPrefix(m.Topic, topic) && strings.Contains(string(m.Payload), "sensor.work_todo_tasks_open") {
				select {
				case announced <- struct{}{}:
				default:
				}
			}
		}, "homeassistant/#")
		if err != nil {
			t.Fatal(err)
		}
		run := h.start(t, "run")
		select {
		case <-announced:
		case <-time.After(waitTimeout):
			t.Fatalf("%s: no member is announced", mode)
		}
		observer.Close()
		run.interrupt()
		run.wait(t)
		got := entities()
		if !slices.Contains(got, "sensor.work_todo_tasks_open") || !slices.Contains(got, "binary_sensor.work_calendar_busy") || got[len(got)-1] != "" {
			t.Errorf("%s: %q", mode, got)
		}
	}
	// Without the broker everything else is shown.
	if err := closeBroker(); err != nil {
		t.Fatal(err)
	}
	got := entities()
	if slices.Contains(got, "sensor.work_todo_tasks_open") || !slices.Contains(got, "binary_sensor.work_calendar_busy") ||
		!strings.HasPrefix(got[len(got)-1], "graph2mqtt: the view lacks todo: their members are announced at the broker: ") {
		t.Errorf("without the broker: %q", got)
	}
}
