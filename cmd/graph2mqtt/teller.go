package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fatih/color"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// A teller says in a line what a message means. Its methods are not called at the same time.
type teller struct {
	*program
	base   string
	names  map[string]string         // of sensors, by topic
	states map[string]map[string]any // of sensors, by topic: the last ones
}

func newTeller(p *program, base string, c *config.Config) *teller {
	t := &teller{program: p, base: base, names: map[string]string{}, states: map[string]map[string]any{}}
	for _, a := range c.Accounts {
		t.names[a.ID] = a.Name
		for _, s := range a.Sensors {
			t.names[a.ID+"/"+s.ID] = s.Name
		}
	}
	return t
}

// heard is told of every message below the base topic.
func (t *teller) heard(m mqtt.Message) {
	path, ok := strings.CutPrefix(m.Topic, t.base+"/")
	if !ok || len(m.Payload) == 0 {
		return
	}
	levels := strings.Split(path, "/")
	if len(levels) < 2 {
		return
	}
	name, rest := t.names[levels[0]], levels[1:]
	if len(levels) > 2 {
		if n, ok := t.names[levels[0]+"/"+levels[1]]; ok {
			name, rest = n, levels[2:]
		}
	}
	sensor := strings.TrimSuffix(path, "/"+strings.Join(rest, "/"))
	cyan, yellow, red := t.paint(color.FgCyan), t.paint(color.FgYellow), t.paint(color.FgRed)
	switch what := strings.Join(rest, "/"); {
	case path == "bridge/state":
		t.say(m, "Bridge", string(m.Payload))
	case what == "event":
		if text := t.event(sensor, m.Payload); text != "" {
			t.say(m, name, text)
		}
	case what == "state":
		var state map[string]any
		if json.Unmarshal(m.Payload, &state) == nil {
			if t.states[sensor] == nil && name != "" {
				t.say(m, name, t.summary(state))
			}
			t.states[sensor] = state
		}
	case rest[0] == "set" || rest[0] == "request":
		t.say(m, name, cyan.Sprintf("asked: %s %s", what, short(m.Payload)))
	case rest[0] == "response":
		var r struct {
			Op, Status string
			Error      struct{ Code, Message string }
		}
		switch err := json.Unmarshal(m.Payload, &r); {
		case err != nil:
		case r.Status == "ok":
			t.say(m, name, cyan.Sprintf("answered: %s is done", r.Op))
		default:
			t.say(m, name, red.Sprintf("answered: %s: %s: %s", r.Op, r.Error.Code, r.Error.Message))
		}
	case what == "availability" && string(m.Payload) == "offline" && t.states[sensor] != nil:
		t.say(m, name, yellow.Sprint("offline"))
	}
}

// short is as much of a payload as fits on a line.
func short(payload []byte) string {
	text := []rune(strings.Join(strings.Fields(string(payload)), " "))
	if len(text) > 60 {
		return string(text[:60]) + "…"
	}
	return string(text)
}

func (t *teller) say(m mqtt.Message, name, text string) {
	fmt.Fprintf(t.stdout, "%s  %s  %s\n", t.paint(color.Faint).Sprint(m.Received.Format("15:04:05")), t.paint(color.Bold).Sprintf("%-13s", name), text)
}

// event tells one event of a sensor.
func (t *teller) event(sensor string, payload []byte) string {
	var e map[string]any
	if json.Unmarshal(payload, &e) != nil {
		return ""
	}
	subject := fmt.Sprint(e["summary"])
	green := t.paint(color.FgGreen)
	switch kind := e["event_type"]; kind {
	case "event_started":
		return green.Sprint(subject) + " began" + t.busy(sensor)
	case "event_ended":
		return green.Sprint(subject) + " ended" + t.busy(sensor)
	case "event_created":
		return green.Sprint(subject) + " is new" + at(e["start"])
	case "event_changed":
		return green.Sprint(subject) + " was changed" + at(e["start"])
	case "event_cancelled":
		return green.Sprint(subject) + " was cancelled"
	case "event_removed":
		return green.Sprint(subject) + " was removed"
	case "reminder":
		return green.Sprint(subject) + " begins soon"
	case "auto_reply_changed":
		return fmt.Sprintf("now %s, was %s", green.Sprint(e["mode"]), e["previous_mode"])
	}
	return "" // requests are told of by their answers
}

// at is when an event begins.
func at(start any) string {
	if t, err := time.Parse(time.RFC3339, fmt.Sprint(start)); err == nil {
		return ", begins at " + t.Local().Format(time.TimeOnly)
	}
	return ""
}

// busy is what a calendar shows with an event.
func (t *teller) busy(sensor string) string {
	switch t.states[sensor]["busy"] {
	case true, "ON":
		return " (busy on)"
	case false, "OFF":
		return " (busy off)"
	}
	return ""
}

// summary is what a sensor shows at first.
func (t *teller) summary(state map[string]any) string {
	for _, s := range []struct{ key, text string }{{"next", "next: %v"}, {"mode", "%v"}} {
		if v := state[s.key]; v != nil {
			return fmt.Sprintf(s.text, v)
		}
	}
	return "there"
}
