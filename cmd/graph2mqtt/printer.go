package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fatih/color"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// An eventPrinter says in a line what a message means. Its methods are not called at the same time.
type eventPrinter struct {
	*program
	base    string
	names   map[string]string         // of accounts and sensors, by topic; the topic does for others
	verbose bool                      // each change of a state; else events alone tell of changes
	states  map[string]map[string]any // of sensors, by topic: the last ones
	last    map[string]string         // of other topics
}

// newEventPrinter makes a eventPrinter of the configuration's accounts; with none it tells more, and by topics.
func newEventPrinter(p *program, base string, c *config.Config) *eventPrinter {
	t := &eventPrinter{program: p, base: base, names: map[string]string{}, verbose: c == nil, states: map[string]map[string]any{}, last: map[string]string{}}
	if c == nil {
		return t
	}
	for _, a := range c.Accounts {
		t.names[a.ID] = a.Name
		for _, s := range a.Sensors {
			t.names[a.ID+"/"+s.ID] = s.Name
		}
	}
	return t
}

// heard is told of every message below the base topic.
func (t *eventPrinter) handle(m mqtt.Message) {
	path, ok := strings.CutPrefix(m.Topic, t.base+"/")
	if !ok || len(m.Payload) == 0 {
		return
	}
	levels := strings.Split(path, "/")
	if len(levels) < 2 {
		return
	}
	of, rest := levels[0], levels[1:]
	if len(levels) > 2 && of != "bridge" && !config.Reserved(levels[1]) {
		of, rest = of+"/"+levels[1], levels[2:]
		t.sensor(m, of, rest)
		return
	}
	switch what := strings.Join(rest, "/"); {
	case of == "bridge" && what == "state":
		t.print(m, of, string(m.Payload))
	case of == "bridge" && what == "logging":
		var l struct{ Level, Message, Account, Sensor, Error string }
		if t.verbose && json.Unmarshal(m.Payload, &l) == nil {
			t.print(m, of, t.paint(color.Faint).Sprint(strings.Join(nonEmpty(l.Level+": "+l.Message, l.Account, l.Sensor, l.Error), ", ")))
		}
	case of != "bridge" && what == "state":
		if t.verbose || t.last[of+what] != "" {
			t.printIfChanged(m, of, what, string(m.Payload))
		}
		t.last[of+what] = string(m.Payload)
	case what == "status":
		var s struct {
			SignIn struct{ State, Message string } `json:"sign_in"`
			User   string
			Error  string
		}
		if json.Unmarshal(m.Payload, &s) != nil {
			return
		}
		if s.SignIn.Message != "" {
			t.printIfChanged(m, of, what, t.paint(color.FgYellow).Sprint(s.SignIn.Message))
		} else if t.verbose {
			t.printIfChanged(m, of, what, strings.Join(nonEmpty("signed in as "+s.User, s.Error), "; "))
		}
	default:
		t.request(m, of, rest)
	}
}

// sensor tells of a sensor's topic.
func (t *eventPrinter) sensor(m mqtt.Message, of string, rest []string) {
	switch what := strings.Join(rest, "/"); what {
	case "event":
		if text := t.event(of, m.Payload); text != "" {
			t.print(m, of, text)
		}
	case "state":
		var state map[string]any
		if json.Unmarshal(m.Payload, &state) != nil {
			return
		}
		if t.verbose {
			if text := changes(t.states[of], state); text != "" {
				t.print(m, of, text)
			}
		} else if t.states[of] == nil {
			if !known(state) {
				return // the first answer of Graph comes later
			}
			t.print(m, of, t.summary(state))
		}
		t.states[of] = state
	case "availability":
		payload := string(m.Payload)
		if payload == "offline" && (t.states[of] != nil || t.verbose) {
			t.printIfChanged(m, of, what, t.paint(color.FgYellow).Sprint(payload))
		} else if payload == "online" && t.last[of+what] != "" {
			t.printIfChanged(m, of, what, payload)
		}
	default:
		t.request(m, of, rest)
	}
}

// request tells of what was asked, and of the answer.
func (t *eventPrinter) request(m mqtt.Message, of string, rest []string) {
	cyan, red := t.paint(color.FgCyan), t.paint(color.FgRed)
	switch rest[0] {
	case "set", "request":
		t.print(m, of, cyan.Sprintf("asked: %s %s", strings.Join(rest, "/"), short(m.Payload)))
	case "response":
		var r struct {
			Op, Status string
			Error      struct{ Code, Message string }
		}
		switch err := json.Unmarshal(m.Payload, &r); {
		case err != nil:
		case r.Status == "ok":
			t.print(m, of, cyan.Sprintf("answered: %s is done", r.Op))
		default:
			t.print(m, of, red.Sprintf("answered: %s: %s: %s", r.Op, r.Error.Code, r.Error.Message))
		}
	}
}

// news says something unless it is what was said last of the same.
func (t *eventPrinter) printIfChanged(m mqtt.Message, of, what, text string) {
	if t.last[of+what] != text {
		t.last[of+what] = text
		t.print(m, of, text)
	}
}

// changes are the values of a state that are others than before.
func changes(before, after map[string]any) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(after)) {
		switch v, ok := before[key]; {
		case ok && v == after[key], !ok && after[key] == nil:
		case after[key] == nil:
			parts = append(parts, key+" unknown")
		default:
			parts = append(parts, key+" "+short(fmt.Append(nil, after[key])))
		}
	}
	return strings.Join(parts, ", ")
}

// short is as much of a payload as fits on a line.
func short(payload []byte) string {
	text := []rune(strings.Join(strings.Fields(string(payload)), " "))
	if len(text) > 60 {
		return string(text[:60]) + "…"
	}
	return string(text)
}

func (t *eventPrinter) print(m mqtt.Message, of, text string) {
	name, width := t.names[of], 13
	switch {
	case t.verbose:
		name, width = of, 22
	case of == "bridge":
		name = "Bridge"
	case name == "":
		name = of
	}
	fmt.Fprintf(t.stdout, "%s  %s  %s\n", t.paint(color.Faint).Sprint(m.Received.Format("15:04:05")), t.paint(color.Bold).Sprintf("%-*s", width, name), text)
}

// event tells one event of a sensor.
func (t *eventPrinter) event(sensor string, payload []byte) string {
	var e map[string]any
	if json.Unmarshal(payload, &e) != nil {
		return ""
	}
	subject := fmt.Sprint(e["summary"])
	green := t.paint(color.FgGreen)
	kind := e["event_type"]
	switch kind {
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
	case "status_changed":
		return fmt.Sprintf("now %s, was %s", green.Sprint(presence(e["availability"], e["activity"])), presence(e["previous_availability"], e["previous_activity"]))
	}
	delete(e, "event_type")
	rest, err := json.Marshal(e)
	if err != nil {
		return ""
	}
	return green.Sprint(kind) + " " + short(rest)
}

// presence is an availability, and what somebody does where that says more.
func presence(availability, activity any) string {
	if activity == availability || activity == nil {
		return fmt.Sprint(availability)
	}
	return fmt.Sprintf("%v (%v)", availability, activity)
}

// at is when an event begins.
func at(start any) string {
	if t, err := time.Parse(time.RFC3339, fmt.Sprint(start)); err == nil {
		return ", begins at " + t.Local().Format(time.TimeOnly)
	}
	return ""
}

// busy is what a calendar shows with an event.
func (t *eventPrinter) busy(sensor string) string {
	switch t.states[sensor]["busy"] {
	case true, "ON":
		return " (busy on)"
	case false, "OFF":
		return " (busy off)"
	}
	return ""
}

// known reports whether a state has any value.
func known(state map[string]any) bool {
	for _, v := range state {
		if v != nil && v != "" {
			return true
		}
	}
	return false
}

// summary is what a sensor shows at first.
func (t *eventPrinter) summary(state map[string]any) string {
	for _, s := range []struct{ key, text string }{{"next", "next: %v"}, {"mode", "%v"}, {"availability", "%v"}} {
		if v := state[s.key]; v != nil {
			return fmt.Sprintf(s.text, v)
		}
	}
	return "there"
}
