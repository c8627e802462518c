//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

var update = flag.Bool("update", false, "write the golden files")

// startEnvironment starts the bridge with a signed-in account that may update, on a broker that Home Assistant uses.
func startEnvironment(t testing.TB, ha *HomeAssistant, o MosquittoOptions, sensors ...string) *Environment {
	t.Helper()
	env := NewEnvironment(t, o)
	env.run(t, ha, sensors...)
	return env
}

// run starts the bridge with a signed-in account that may update, on the environment's broker, which Home Assistant uses.
func (env *Environment) run(t testing.TB, ha *HomeAssistant, sensors ...string) {
	t.Helper()
	ha.AddBroker(t, env.Broker)
	env.Configure(t, []string{"enable_update: true"}, sensors...)
	env.SignIn(t)
	env.Start(t)
}

// disabled marks an entity of the golden file that is registered but disabled at first: the read-only twin of a settable entity.
const disabled = "disabled"

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`)

// goldenState formats an entity's state for the golden file.
func goldenState(s State) string {
	if s.EntityID == "" {
		return disabled
	}
	if timestamp.MatchString(s.State) {
		return "a time"
	}
	return strconv.Quote(s.State)
}

// describeEntities returns one line per entity of the MQTT integration, with everything that automations and dashboards rely on.
func describeEntities(t testing.TB, ha *HomeAssistant) []string {
	t.Helper()
	devices := map[string]Device{}
	identifiers := map[string]string{}
	for identifier, device := range ha.Devices(t) {
		devices[device.ID], identifiers[device.ID] = device, identifier
	}
	var lines []string
	for _, e := range ha.Entities(t) {
		state, _ := ha.State(e.EntityID)
		class, _ := state.Attributes["device_class"].(string)
		category, name := "", ""
		if e.OriginalName != nil {
			name = *e.OriginalName
		}
		if e.EntityCategory != nil {
			category = *e.EntityCategory
		}
		device := devices[e.DeviceID]
		lines = append(lines, strings.Join([]string{
			e.EntityID, e.UniqueID, identifiers[e.DeviceID], "via " + cmp.Or(identifiers[device.ViaDeviceID], "none"),
			device.Name, name, goldenState(state), cmp.Or(class, "-"), cmp.Or(category, "-"),
		}, " | "))
	}
	return lines
}

var goldenFile = filepath.Join("testdata", "entities.txt")

// goldenEntities returns the lines of the golden file that this version of Home Assistant supports: the bridge, the account "work"
// and its sensors "out_of_office" and "calendar".
func goldenEntities(t testing.TB, ha *HomeAssistant) []string {
	t.Helper()
	text, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "datetime.") && !ha.AtLeast(t, 2026, 5) // earlier versions lack the MQTT datetime platform
	})
}

// TestEntities compares the entities of the bridge, an account and its sensors with a golden file: a change in it breaks users.
func TestEntities(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		startEnvironment(t, ha, MosquittoOptions{}, "out_of_office: {type: auto_reply}", "calendar: {type: calendar}")
		// The account's status and the first polls are published last.
		ha.AwaitEntity(t, "sensor.work_last_sync", "is a time", func(s State) bool { return timestamp.MatchString(s.State) })
		ha.AwaitState(t, "select.work_out_of_office_mode", "Off")
		ha.AwaitState(t, "sensor.work_calendar_remaining", "0")
		if !*update {
			for _, line := range goldenEntities(t, ha) {
				fields := strings.Split(line, " | ")
				if fields[6] == disabled {
					continue
				}
				ha.AwaitEntity(t, fields[0], "is "+fields[6], func(s State) bool { return fields[6] == goldenState(s) })
			}
		}
		got := describeEntities(t, ha)
		if *update && ha.AtLeast(t, 2026, 5) {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, goldenFile, strings.Join(got, "\n")+"\n")
		}
		if diff := gocmp.Diff(goldenEntities(t, ha), got); diff != "" {
			t.Errorf("entities (-want +got):\n%s", diff)
		}
		ha.CheckLog(t)
	})
}

// TestReadOnly signs in without the write permission: reading works, command entities are unavailable, and the account says why.
func TestReadOnly(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := NewEnvironment(t, MosquittoOptions{})
		ha.AddBroker(t, env.Broker)
		env.Configure(t, []string{"enable_update: true"}, "out_of_office: {type: auto_reply}")
		env.Microsoft.SetSignIn(simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}})
		env.SignIn(t)
		env.Start(t)
		ha.AwaitState(t, "binary_sensor.work_out_of_office_active", "off")
		for _, id := range []string{"switch.work_out_of_office_enabled", "select.work_out_of_office_mode", "text.work_out_of_office_internal_reply",
			"notify.work_out_of_office_long_internal_reply"} {
			ha.AwaitState(t, id, "unavailable")
		}
		says := ha.AwaitEntity(t, "binary_sensor.work_sign_in_required", "lists the missing permission", func(s State) bool {
			return s.Attributes["missing"] != nil
		})
		missing, err := json.Marshal(says.Attributes["missing"])
		if err != nil {
			t.Fatal(err)
		}
		if want := "read-only: MailboxSettings.ReadWrite not granted"; !strings.Contains(string(missing), want) {
			t.Errorf("missing %s, want %q in it", missing, want)
		}

		responses := env.Broker.Subscribe(t, "graph2mqtt/work/out_of_office/response/#")
		env.Broker.Publish(t, "graph2mqtt/work/out_of_office/request/enable", "{}")
		responses.AwaitValues(t, "graph2mqtt/work/out_of_office/response/enable", map[string]any{"status": "error"})
		if got := env.Microsoft.Count("PATCH", ""); got != 0 {
			t.Errorf("%d changes at Microsoft", got)
		}
		ha.CheckLog(t)

		// A new sign-in beside the running bridge is enough to gain permissions.
		env.Microsoft.SetSignIn(simulator.SignIn{})
		env.SignIn(t)
		ha.AwaitState(t, "switch.work_out_of_office_enabled", "off")
		ha.CheckLog(t)
	})
}
