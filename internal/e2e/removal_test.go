//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestRemoval removes sensors and entities from the configuration: Home Assistant removes them, even if it was down meanwhile.
func TestRemoval(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		const first, second, third = "one: {type: auto_reply}", "two: {type: auto_reply}", "three: {type: auto_reply}"
		env := startEnvironment(t, ha, MosquittoOptions{Persistent: true}, first, second, third)
		for _, name := range []string{"one", "two", "three"} {
			ha.AwaitState(t, "select.work_"+name+"_mode", "Off")
		}
		restart := func(settings []string, sensors ...string) {
			t.Helper()
			env.Stop(t)
			env.Configure(t, settings, sensors...)
			env.Start(t)
		}
		updates := []string{"enable_update: true"}

		restart(updates, first, second)
		ha.AwaitGone(t, "select.work_three_mode")
		restart(updates, "one: {type: auto_reply, entities: {active: {enabled: false}}}", second)
		ha.AwaitGone(t, "binary_sensor.work_one_active")
		ha.AwaitState(t, "select.work_one_mode", "Off")
		if ids := slices.Sorted(maps.Keys(ha.Devices(t))); slices.Contains(ids, "graph2mqtt-work-three") || !slices.Contains(ids, "graph2mqtt-work-two") {
			t.Errorf("devices: %v", ids)
		}

		// Home Assistant misses removals while it is down, so the bridge repeats them.
		ha.Stop(t)
		restart(updates, first)
		seen := env.Broker.Subscribe(t, "graph2mqtt/#")
		seen.AwaitPayload(t, "graph2mqtt/work/one/availability", "online")
		ha.Start(t)
		ha.AwaitGone(t, "select.work_two_mode")
		ha.AwaitState(t, "binary_sensor.work_one_active", "off")

		// Without enable_update there are no command entities, and commands are ignored.
		restart(nil, first)
		ha.AwaitGone(t, "switch.work_one_enabled")
		ha.AwaitGone(t, "select.work_one_mode")
		ha.AwaitState(t, "binary_sensor.work_one_active", "off")
		if ha.AtLeast(t, 2026, 11) { // earlier versions keep the read-only twin disabled
			ha.AwaitState(t, "sensor.work_one_mode", "disabled")
		}
		env.Broker.Publish(t, "graph2mqtt/work/one/set/enabled", "ON")
		env.Broker.Publish(t, "graph2mqtt/work/one/request/enable", "{}")
		env.ping(t, seen)
		if got := seen.Payloads("graph2mqtt/work/one/response/set/enabled"); len(got) != 0 || env.Microsoft.Count("PATCH", "") != 0 {
			t.Errorf("a command was executed: %v", got)
		}
		for topic := range env.Broker.Retained(t, "#") {
			if strings.Contains(topic, "two") || strings.Contains(topic, "three") {
				t.Errorf("still retained: %s", topic)
			}
		}
		for _, e := range ha.Entities(t) {
			if !strings.HasPrefix(e.UniqueID, "graph2mqtt-bridge-") && !strings.HasPrefix(e.UniqueID, "graph2mqtt-work-") ||
				strings.Contains(e.UniqueID, "two") || strings.Contains(e.UniqueID, "three") {
				t.Errorf("still there: %+v", e)
			}
		}
		ha.CheckLog(t, slices.Concat(disconnectLogs, removalLogs)...)
	})
}
