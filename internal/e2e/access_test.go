//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAccessList runs Mosquitto with the access list in the page about security: graph2mqtt and Home Assistant work, and others see only
// what the list lets them see.
func TestAccessList(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		page, err := os.ReadFile("../../docs/security.md")
		if err != nil {
			t.Fatal(err)
		}
		list := regexp.MustCompile("(?ms)^```text\n(user graph2mqtt\n.*?)^```").FindSubmatch(page)
		if list == nil {
			t.Fatal("security.md has no access list")
		}
		file := filepath.Join(t.TempDir(), "acl")
		writeFile(t, file, string(list[1]))
		// Without a file of passwords, Mosquitto lets a client choose its name.
		env := NewEnvironment(t, MosquittoOptions{Configuration: "acl_file " + file})
		as := func(user string) *Mosquitto {
			other := *env.Broker
			other.Options.Username, other.Options.Password = user, "any"
			return &other
		}
		env.Broker = as("graph2mqtt")
		display := as("display").Subscribe(t, "#")
		ha.AddBroker(t, as("homeassistant"))
		env.startCalendars(t, "calendar: {type: calendar}", "out_of_office: {type: auto_reply}") // their passwords are a file, too
		if code, _, stderr := env.Program.Run(t, "link", "work"); code != 0 {                    // links are another file
			t.Fatalf("link ended with %d:\n%s", code, stderr)
		}

		const overwritten = `{"busy": "by Home Assistant"}`
		const enabled, level = "switch.work_out_of_office_enabled", "select.graph2mqtt_log_level"
		ha.AwaitState(t, enabled, "off")
		responses := as("homeassistant").Subscribe(t, "graph2mqtt/#")
		ha.Service(t, "switch.turn_on", enabled, nil)
		ha.AwaitState(t, enabled, "on")
		ha.Service(t, "select.select_option", level, map[string]any{"option": "Debug"})
		ha.AwaitState(t, level, "Debug")
		ha.Service(t, "button.press", "button.work_refresh", nil)
		responses.AwaitValues(t, "graph2mqtt/work/response/refresh", map[string]any{"status": "ok"})
		as("homeassistant").Publish(t, "graph2mqtt/work/out_of_office/request/disable", "{}")
		responses.AwaitValues(t, "graph2mqtt/work/out_of_office/response/disable", map[string]any{"status": "ok"})
		ha.AwaitState(t, enabled, "off")

		// What the others may not do is dropped: had it arrived, it would be answered before the last request.
		as("display").Publish(t, "graph2mqtt/work/out_of_office/request/enable", "{}")
		as("homeassistant").PublishRetained(t, "graph2mqtt/work/calendar/state", overwritten)
		as("homeassistant").Publish(t, "graph2mqtt/bridge/request/ping", "{}")
		responses.AwaitValues(t, "graph2mqtt/bridge/response/ping", map[string]any{"status": "ok"})
		as("homeassistant").Publish(t, "graph2mqtt/work/out_of_office/request/disable", `{"transaction": "last"}`)
		responses.AwaitValues(t, "graph2mqtt/work/out_of_office/response/disable", map[string]any{"transaction": "last"})
		if got := responses.Payloads("graph2mqtt/work/out_of_office/response/enable"); len(got) != 0 { // a switch has a topic of its own
			t.Errorf("responses to enable: %q", got)
		}
		state := as("homeassistant").Subscribe(t, "graph2mqtt/work/calendar/state")
		state.AwaitNewest(t, "graph2mqtt/work/calendar/state", "is the program's", func(payload string) bool { return payload != overwritten })
		display.AwaitNewest(t, "graph2mqtt/work/calendar/state", "has a state", func(payload string) bool { return strings.Contains(payload, "busy") })
		for _, m := range display.All() {
			if m.Topic != "graph2mqtt/work/calendar/state" {
				t.Errorf("the display sees %v", m)
			}
		}
		for _, complaint := range []string{"refuses a subscription", "does not deliver"} {
			if strings.Contains(env.Bridge.Stderr(), complaint) {
				t.Errorf("the bridge logged: %s", env.Bridge.Stderr())
			}
		}
		ha.CheckLog(t)
		checkStateFiles(t, filepath.Join(env.Program.Dir, "state"), string(page))
	})
}

// checkStateFiles compares the files of a state directory with those that the page about security lists, and checks that they are private.
func checkStateFiles(t *testing.T, dir, page string) {
	t.Helper()
	_, table, _ := strings.Cut(page, "| file | content |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	listed := map[string]bool{} // by pattern: whether there is such a file
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			listed[m[1]] = false
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		found := false
		for pattern := range listed {
			if ok, err := filepath.Match(pattern, f.Name()); err != nil {
				t.Fatal(err)
			} else if ok {
				found, listed[pattern] = true, true
			}
		}
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !found || info.Mode().Perm() != 0o600 {
			t.Errorf("%s with mode %o: listed: %t", f.Name(), info.Mode().Perm(), found)
		}
	}
	for pattern, exists := range listed {
		if !exists {
			t.Errorf("there is no %s", pattern)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the state directory: %v, %v", info, err)
	}
}
