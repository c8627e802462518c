package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fatih/color"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// An eventPrinter prints a line for each message that is worth one. Its methods must not be called concurrently.
type eventPrinter struct {
	*program
	base    string
	kinds   []sensors.Kind
	names   map[string]string         // display names, by "account" or "account/sensor"
	verbose bool                      // prints paths and each change of a state; otherwise names, first states and events
	states  map[string]map[string]any // newest states, by "account/sensor"
	last    map[string]string         // newest texts of other topics
}

// newEventPrinter returns a printer with the configuration's names; a verbose one without a configuration.
func newEventPrinter(p *program, base string, c *config.Config) *eventPrinter {
	e := &eventPrinter{
		program: p, base: base, kinds: runtime.Kinds(), names: map[string]string{}, verbose: c == nil, states: map[string]map[string]any{}, last: map[string]string{},
	}
	if c == nil {
		return e
	}
	e.names["bridge"] = "Bridge"
	for _, a := range c.Accounts {
		e.names[a.ID] = a.Name
		for _, s := range a.Sensors {
			e.names[a.ID+"/"+s.ID] = capitalize(s.Name)
		}
	}
	return e
}

func capitalize(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[size:]
}

// handle handles a message below the base topic, or the announcement of a device.
func (e *eventPrinter) handle(m mqtt.Message) {
	path, ok := strings.CutPrefix(m.Topic, e.base+"/")
	switch {
	case len(m.Payload) == 0:
		return
	case !ok:
		e.announcement(m)
		return
	}
	of, rest := splitTopic(path)
	if strings.Contains(of, "/") {
		e.sensor(m, of, rest)
		return
	}
	if len(rest) == 0 {
		return
	}
	switch what := strings.Join(rest, "/"); {
	case of == "bridge" && what == "state":
		e.printIfChanged(m, of, what, string(m.Payload))
	case of == "bridge" && what == "logging":
		var l struct{ Level, Message, Account, Sensor, Error string }
		if e.verbose && json.Unmarshal(m.Payload, &l) == nil {
			e.print(m, of, e.paint(color.Faint).Sprint(strings.Join(nonEmpty(l.Level+": "+l.Message, l.Account, l.Sensor, l.Error), ", ")))
		}
	case of != "bridge" && what == "state":
		if e.verbose || e.last[of+what] != "" {
			e.printIfChanged(m, of, what, string(m.Payload))
		}
		e.last[of+what] = string(m.Payload)
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
			e.printIfChanged(m, of, what, e.paint(color.FgYellow).Sprint(s.SignIn.Message))
		} else if e.verbose {
			user := ""
			if s.User != "" {
				user = "signed in as " + s.User
			}
			e.printIfChanged(m, of, what, strings.Join(nonEmpty(user, s.Error), "; "))
		}
	default:
		e.request(m, of, rest)
	}
}

// splitTopic splits a topic without the base into what it is about ("bridge", "account" or "account/sensor") and the levels below that.
func splitTopic(path string) (of string, rest []string) {
	levels := strings.Split(path, "/")
	if len(levels) > 2 && levels[0] != "bridge" && !config.Reserved(levels[1]) {
		return levels[0] + "/" + levels[1], levels[2:]
	}
	return levels[0], levels[1:]
}

// announcement takes the name of a sensor from the discovery message of its device or of one of its entities, if the name says more
// than the sensor's id.
func (e *eventPrinter) announcement(m mqtt.Message) {
	var a struct {
		Device       struct{ Name string }
		Availability []struct{ Topic string }
	}
	if json.Unmarshal(m.Payload, &a) != nil || a.Device.Name == "" {
		return
	}
	for _, t := range a.Availability {
		path, below := strings.CutPrefix(t.Topic, e.base+"/")
		path, ok := strings.CutSuffix(path, "/availability")
		if !below || !ok || strings.Count(path, "/") != 1 {
			continue
		}
		if fromID := strings.NewReplacer("/", " ", "_", " ").Replace(path); !strings.EqualFold(a.Device.Name, fromID) {
			e.names[path] = a.Device.Name
		}
	}
}

// sensor handles a message of a sensor's topic.
func (e *eventPrinter) sensor(m mqtt.Message, of string, rest []string) {
	switch what := strings.Join(rest, "/"); what {
	case "event":
		kind, text := e.describe(m.Payload)
		if text == "" {
			return
		}
		text = e.paint(color.FgGreen).Sprint(text)
		if kind == "event_started" || kind == "event_ended" {
			text += e.busy(of)
		}
		e.print(m, of, text)
	case "state":
		var state map[string]any
		if json.Unmarshal(m.Payload, &state) != nil {
			return
		}
		if e.verbose {
			if text := changes(e.states[of], state); text != "" {
				e.print(m, of, text)
			}
		} else if e.states[of] == nil {
			if !hasValue(state) {
				return // Graph has not answered yet
			}
			e.print(m, of, e.summarize(state))
		}
		e.states[of] = state
	case "status":
		var s struct{ Message string }
		if json.Unmarshal(m.Payload, &s) != nil {
			return
		}
		if s.Message != "" {
			e.printIfChanged(m, of, what, e.paint(color.FgYellow).Sprint("problem: "+s.Message))
		} else if e.last[of+what] != "" {
			e.printIfChanged(m, of, what, "problem solved")
			delete(e.last, of+what)
		}
	case "availability":
		payload := string(m.Payload)
		if payload == "offline" && (e.states[of] != nil || e.verbose) {
			e.printIfChanged(m, of, what, e.paint(color.FgYellow).Sprint(payload))
		} else if payload == "online" && e.last[of+what] != "" {
			e.printIfChanged(m, of, what, payload)
		}
	default:
		e.request(m, of, rest)
	}
}

// request handles a request or a response.
func (e *eventPrinter) request(m mqtt.Message, of string, rest []string) {
	switch rest[0] {
	case "set", "request":
		name := strings.TrimPrefix(strings.Join(rest, "/"), "request/")
		payload := shorten(m.Payload)
		if payload == "{}" {
			payload = ""
		}
		e.print(m, of, e.paint(color.FgCyan).Sprint(strings.Join(nonEmpty("request:", name, payload), " ")))
	case "response":
		var r struct {
			Op, Status string
			Duplicate  bool
			Data       json.RawMessage
			Error      struct{ Code, Message string }
		}
		switch err := json.Unmarshal(m.Payload, &r); {
		case err != nil:
		case r.Status == "ok":
			text := "response: " + r.Op + ": ok"
			if r.Duplicate {
				text += " (executed before)"
			}
			var signIn struct{ URL, Code string }
			if r.Op == "sign_in" && json.Unmarshal(r.Data, &signIn) == nil && signIn.URL != "" {
				text += ", open " + signIn.URL
				if signIn.Code != "" {
					text += " and enter the code " + signIn.Code
				}
			}
			e.print(m, of, e.paint(color.FgCyan).Sprint(text))
		default:
			e.print(m, of, e.paint(color.FgRed).Sprintf("response: %s: %s: %s", r.Op, r.Error.Code, r.Error.Message))
		}
	}
}

// printIfChanged prints a text unless it is empty or the last one of the same topic.
func (e *eventPrinter) printIfChanged(m mqtt.Message, of, what, text string) {
	if e.last[of+what] == text {
		return
	}
	e.last[of+what] = text
	if text != "" {
		e.print(m, of, text)
	}
}

// print prints a line with the time and the name of what the text is about.
func (e *eventPrinter) print(m mqtt.Message, of, text string) {
	width := 13
	name := cmp.Or(e.names[of], of)
	if e.verbose {
		width = 22
		if name != of { // both: the topic is needed to address it
			name = of + " (" + name + ")"
		}
	}
	fmt.Fprintf(e.stdout, "%s  %s  %s\n", e.paint(color.Faint).Sprint(m.Received.Local().Format(time.TimeOnly)), e.paint(color.Bold).Sprintf("%-*s", width, name), text)
}

// describe returns the type of a sensor's event and a description in the words of the sensor's kind.
func (e *eventPrinter) describe(payload []byte) (kind, text string) {
	var data map[string]any
	if json.Unmarshal(payload, &data) != nil {
		return "", ""
	}
	data = localTimes(data).(map[string]any)
	kind, _ = data["event_type"].(string)
	delete(data, "event_type")
	for _, k := range e.kinds {
		if k.Describe == nil {
			continue
		}
		if text := k.Describe(entity.Event{Type: kind, Data: data}); text != "" {
			return kind, text
		}
	}
	rest, err := json.Marshal(data)
	must(err) // cannot fail: data was decoded from JSON
	return kind, kind + " " + shorten(rest)
}

// busy returns what a calendar shows while an event is on.
func (e *eventPrinter) busy(sensor string) string {
	switch e.states[sensor]["busy"] {
	case true, "ON":
		return " (busy on)"
	case false, "OFF":
		return " (busy off)"
	}
	return ""
}

// localTimes returns v, as decoded from JSON, with all times in this machine's time zone.
func localTimes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		local := map[string]any{}
		for key, value := range v {
			local[key] = localTimes(value)
		}
		return local
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t.Local().Format(time.RFC3339)
		}
	}
	return v
}

// changes lists the values of a state that differ from those before.
func changes(before, after map[string]any) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(after)) {
		old, known := before[key]
		switch value := localTimes(after[key]); {
		case known && reflect.DeepEqual(localTimes(old), value), isEmpty(old) && isEmpty(value):
		case isEmpty(value):
			parts = append(parts, key+" unknown")
		default:
			parts = append(parts, key+" "+shorten(fmt.Append(nil, value)))
		}
	}
	return strings.Join(parts, ", ")
}

func isEmpty(v any) bool { return v == nil || v == "" }

// hasValue reports whether any value of a state is known.
func hasValue(state map[string]any) bool {
	for _, v := range state {
		if !isEmpty(v) {
			return true
		}
	}
	return false
}

// shorten returns as much of a payload as fits on a line.
func shorten(payload []byte) string {
	text := []rune(strings.Join(strings.Fields(string(payload)), " "))
	if len(text) > 60 {
		return string(text[:60]) + "…"
	}
	return string(text)
}

// summarize returns the main value of a sensor's first state.
func (e *eventPrinter) summarize(state map[string]any) string {
	if n := state["matching"]; n != nil {
		text := fmt.Sprintf("mails: %v", n)
		if latest := state["latest_subject"]; latest != nil {
			text += fmt.Sprintf(", latest: %v", latest)
		}
		return text
	}
	if latest, ok := state["latest"].(string); ok {
		text := "latest: " + shorten([]byte(latest))
		if n := state["unread"]; n != nil {
			text = fmt.Sprintf("unread chats: %v, %s", n, text)
		}
		return text
	}
	for _, s := range []struct{ key, text string }{{"next", "next: %s"}, {"mode", "%s"}, {"availability", "%s"}, {"open", "open tasks: %s"}} {
		if v := state[s.key]; v != nil {
			return fmt.Sprintf(s.text, e.label(s.key, fmt.Sprint(v)))
		}
	}
	return "online"
}

// label returns the word that Home Assistant shows for an option of an entity, or the option.
func (e *eventPrinter) label(key, option string) string {
	for _, k := range e.kinds {
		for _, entity := range k.New().Entities() {
			if label := entity.Labels[option]; entity.Key == key && label != "" {
				return label
			}
		}
	}
	return option
}
