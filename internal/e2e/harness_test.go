//go:build e2e

package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHarness tests the helpers against hand-written payloads instead of the bridge.
func TestHarness(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		broker := StartMosquitto(t, MosquittoOptions{Persistent: true, Username: "homeassistant", Password: "secret"})
		ha.AddBroker(t, broker)

		type object = map[string]any
		topics := func(names ...string) []object {
			var all []object
			for _, name := range names {
				all = append(all, object{"topic": "graph2mqtt/" + name})
			}
			return all
		}
		origin := object{"name": "graph2mqtt", "sw_version": "1.0.0"}
		entity := func(platform, device, key string, more object) object {
			e := object{
				"platform": platform, "unique_id": "graph2mqtt-" + device + "-" + key, "qos": 1,
				"object_id": "work_out_of_office_" + key, "default_entity_id": platform + ".work_out_of_office_" + key,
			}
			for k, v := range more {
				e[k] = v
			}
			return e
		}
		discover := func(id string, device object, components object) {
			broker.PublishRetained(t, "homeassistant/device/"+id+"/config", string(encode(t, object{
				"device": device, "origin": origin, "components": components,
				"availability": topics("bridge/state", "work/state", "work/out_of_office/availability"), "availability_mode": "all",
			})))
		}
		const sensor = "graph2mqtt/work/out_of_office"
		discover("graph2mqtt-work", object{"identifiers": []string{"graph2mqtt-work"}, "name": "Work"}, object{
			"refresh": object{
				"platform": "button", "unique_id": "graph2mqtt-work-refresh", "object_id": "work_refresh", "default_entity_id": "button.work_refresh",
				"name": "Refresh", "qos": 1, "command_topic": "graph2mqtt/work/request/refresh", "payload_press": "{}",
				"availability": topics("bridge/state"),
			},
		})
		discover("graph2mqtt-work-out_of_office",
			object{"identifiers": []string{"graph2mqtt-work-out_of_office"}, "name": "Work Out of office", "via_device": "graph2mqtt-work"},
			object{
				"mode": entity("sensor", "work-out_of_office", "mode", object{
					"name": "Mode", "device_class": "enum", "options": []string{"disabled", "alwaysEnabled", "scheduled"},
					"state_topic": sensor + "/state", "value_template": "{{ value_json.mode }}", "json_attributes_topic": sensor + "/attributes",
				}),
				"enabled": entity("switch", "work-out_of_office", "enabled", object{
					"name": "Enabled", "state_topic": sensor + "/state", "value_template": "{{ 'ON' if value_json.enabled else 'OFF' }}",
					"command_topic": sensor + "/set/enabled",
					"availability":  topics("bridge/state", "work/state", "work/out_of_office/availability", "work/out_of_office/commands"),
				}),
			})
		set := broker.Subscribe(t, sensor+"/set/#")
		broker.PublishRetained(t, sensor+"/state", `{"mode": "disabled", "enabled": false}`)
		broker.PublishRetained(t, sensor+"/attributes", `{"external_audience": "all"}`)
		for _, name := range []string{"bridge/state", "work/state", "work/out_of_office/availability", "work/out_of_office/commands"} {
			broker.PublishRetained(t, "graph2mqtt/"+name, "online")
		}

		mode := ha.AwaitState(t, "sensor.work_out_of_office_mode", "disabled")
		if got := ha.AwaitEntity(t, mode.EntityID, "has attributes", func(s State) bool { return s.Attributes["external_audience"] != nil }); got.Attributes["external_audience"] != "all" {
			t.Errorf("attributes %v", got.Attributes)
		}
		ha.AwaitState(t, "switch.work_out_of_office_enabled", "off")
		devices := ha.Devices(t)
		if got, want := devices["graph2mqtt-work-out_of_office"].ViaDeviceID, devices["graph2mqtt-work"].ID; got != want || got == "" {
			t.Errorf("the sensor's via_device is %q, want the account's %q", got, want)
		}
		var ids []string
		for _, e := range ha.Entities(t) {
			ids = append(ids, e.EntityID+" "+e.UniqueID)
		}
		want := []string{
			"button.work_refresh graph2mqtt-work-refresh",
			"sensor.work_out_of_office_mode graph2mqtt-work-out_of_office-mode",
			"switch.work_out_of_office_enabled graph2mqtt-work-out_of_office-enabled",
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("entities (-want +got):\n%s", diff)
		}

		ha.Service(t, "switch.turn_on", "switch.work_out_of_office_enabled", nil)
		command := set.AwaitItem(t, "the switch's command", 0, func(Message) bool { return true })
		if want := (Message{Topic: sensor + "/set/enabled", Payload: "ON", QoS: 1}); command != want {
			t.Errorf("received %+v, want %+v", command, want)
		}
		before := set.Len()
		broker.PublishRetained(t, sensor+"/state", `{"mode": "alwaysEnabled", "enabled": true}`)
		ha.AwaitState(t, "switch.work_out_of_office_enabled", "on")
		if got := set.Since(before); len(got) != 0 {
			t.Errorf("a state made Home Assistant send %v", got)
		}
		broker.PublishRetained(t, "graph2mqtt/work/out_of_office/commands", "offline")
		ha.AwaitState(t, "switch.work_out_of_office_enabled", "unavailable")
		ha.CheckLog(t)

		// Home Assistant refuses discovery without a device, so CheckLog must report it.
		before = ha.Logged.Len()
		broker.PublishRetained(t, "homeassistant/device/graph2mqtt-wrong/config", `{"components": {}}`)
		ha.Logged.AwaitItem(t, "the refused device", before, func(LogEntry) bool { return true })
		if got := ha.unexpected(t); len(got) != 1 {
			t.Errorf("unexpected in the log: %v", got)
		}
		if got := ha.unexpected(t, "homeassistant.components.mqtt"); len(got) != 0 {
			t.Errorf("unexpected beside MQTT in the log: %v", got)
		}
		ha.ClearLog(t)
		ha.CheckLog(t)
		broker.PublishRetained(t, "homeassistant/device/graph2mqtt-wrong/config", "")

		ha.Restart(t)
		ha.AwaitState(t, "sensor.work_out_of_office_mode", "alwaysEnabled")
		ha.AwaitState(t, "switch.work_out_of_office_enabled", "unavailable")

		broker.PublishRetained(t, "homeassistant/device/graph2mqtt-work-out_of_office/config", "")
		ha.AwaitGone(t, "sensor.work_out_of_office_mode")
		ha.CheckLog(t)
	})
}
