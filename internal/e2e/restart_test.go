//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// disconnectLogs match what Home Assistant logs when the broker is down or disconnects during the handshake.
var disconnectLogs = []string{
	"Failed to connect to MQTT server", "Error returned from MQTT server: The connection was lost", "The client is not currently connected",
	"failed to receive on socket",
}

// TestRestarts stops Home Assistant, the broker and the bridge and starts them in every order: afterwards every entity exists once, is
// available and correct, and each command is executed once.
func TestRestarts(t *testing.T) {
	orders := [][3]string{
		{"homeassistant", "broker", "bridge"}, {"homeassistant", "bridge", "broker"}, {"broker", "homeassistant", "bridge"},
		{"broker", "bridge", "homeassistant"}, {"bridge", "homeassistant", "broker"}, {"bridge", "broker", "homeassistant"},
	}
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := startEnvironment(t, ha, MosquittoOptions{Persistent: true}, "out_of_office: {type: auto_reply}")
		ha.AwaitState(t, "switch.work_out_of_office_enabled", "off")
		ids := func() []string {
			var ids []string
			for _, e := range ha.Entities(t) {
				ids = append(ids, e.EntityID)
			}
			return ids
		}
		var want, enabled []string // the golden file without the calendar
		for _, line := range goldenEntities(t, ha) {
			id, _, _ := strings.Cut(line, " ")
			if strings.Contains(id, ".work_calendar_") {
				continue
			}
			want = append(want, id)
			if !strings.Contains(line, " | "+disabled+" | ") {
				enabled = append(enabled, id)
			}
		}
		start := map[string]func(){
			"homeassistant": func() { ha.Start(t) }, "broker": env.Broker.Start, "bridge": func() { env.Start(t) },
		}
		for i, order := range orders {
			// Half of the rounds stop the processes, half kill them; half of them delete the broker's data.
			how := "stopped"
			if i%2 == 0 {
				ha.Stop(t)
				env.Stop(t)
				env.Broker.Stop()
			} else {
				how = "killed"
				env.Broker.Kill()
				env.Bridge.Kill(t)
				ha.Kill(t)
			}
			if i >= len(orders)/2 {
				how += ", the broker's memory lost"
				env.Broker.DeleteData(t)
			}
			what := strings.Join(order[:], ", ") + " after all were " + how
			t.Log(what)
			audience, label := []string{"none", "all"}[i%2], []string{"Nobody", "Everyone"}[i%2]
			env.Microsoft.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{ExternalAudience: audience})
			for _, name := range order {
				start[name]()
			}

			ha.AwaitState(t, "select.work_out_of_office_external_audience", label)
			for _, id := range enabled {
				ha.AwaitEntity(t, id, "is available: "+what, func(s State) bool { return s.State != "unavailable" })
			}
			if diff := cmp.Diff(want, ids()); diff != "" {
				t.Errorf("%s: entities (-want +got):\n%s", what, diff)
			}
			patches := env.Microsoft.Count("PATCH", "")
			service, state := "switch.turn_on", "on"
			if i%2 == 1 {
				service, state = "switch.turn_off", "off"
			}
			ha.Service(t, service, "switch.work_out_of_office_enabled", nil)
			ha.AwaitState(t, "switch.work_out_of_office_enabled", state)
			if got := env.Microsoft.Count("PATCH", "") - patches; got != 1 {
				t.Errorf("%s: %d changes at Microsoft for one command", what, got)
			}
			ha.CheckLog(t, disconnectLogs...)
		}
		env.Stop(t)
	})
}

// TestOneRestart restarts Home Assistant, the broker and the bridge while the others keep running.
func TestOneRestart(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := startEnvironment(t, ha, MosquittoOptions{Persistent: true}, "out_of_office: {type: auto_reply}")
		ha.AwaitState(t, "switch.work_out_of_office_enabled", "off")
		for i, restart := range []func(){
			func() { env.Stop(t); env.Start(t) },
			func() { env.Bridge.Kill(t); env.Start(t) },
			func() { env.Broker.Stop(); env.Broker.Start() },
			func() { env.Broker.Kill(); env.Broker.DeleteData(t); env.Broker.Start() },
			func() { ha.Restart(t) },
			func() { ha.Kill(t); ha.Start(t) },
		} {
			before, noticed := ha.Changes.Len(), i < 4 // a restarted Home Assistant has a new connection
			restart()
			if noticed {
				ha.Changes.AwaitItem(t, "the entity to be unavailable", before, func(c Change) bool {
					return c.EntityID == "switch.work_out_of_office_enabled" && c.New != nil && c.New.State == "unavailable"
				})
			}
			for _, e := range ha.Entities(t) {
				if e.DisabledBy != nil {
					continue
				}
				ha.AwaitEntity(t, e.EntityID, fmt.Sprintf("is available after restart %d", i), func(s State) bool { return s.State != "unavailable" })
			}
			service, state := "switch.turn_on", "on"
			if i%2 == 1 {
				service, state = "switch.turn_off", "off"
			}
			ha.Service(t, service, "switch.work_out_of_office_enabled", nil)
			ha.AwaitState(t, "switch.work_out_of_office_enabled", state)
			ha.CheckLog(t, disconnectLogs...)
		}
	})
}
