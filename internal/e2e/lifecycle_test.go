//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestAccountLifecycle signs in through Home Assistant, adds, renames and removes calendars, sets the presence and reloads the
// configuration.
func TestAccountLifecycle(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := NewEnvironment(t, MosquittoOptions{Persistent: true})
		ha.AddBroker(t, env.Broker)
		env.Configure(t, []string{"enable_update: true", "sign_in_over_mqtt: true"}, "calendars: {type: calendar, calendar: all}", "presence: {type: status, enable_update: true}",
			"out_of_office: {type: auto_reply}")
		env.Start(t)

		const signIn, code, link = "binary_sensor.work_sign_in_required", "sensor.work_sign_in_code", "sensor.work_sign_in_link"
		ha.AwaitState(t, signIn, "on")
		ha.AwaitState(t, code, "unknown")
		ha.AwaitState(t, link, "unknown")
		ha.Service(t, "button.press", "button.work_sign_in", nil)
		asked := ha.AwaitEntity(t, code, "shows a code", func(s State) bool { return s.State != "unknown" && s.State != "unavailable" })
		ha.AwaitEntity(t, link, "shows a link", func(s State) bool { return strings.HasPrefix(s.State, "https://") && s.Attributes["url"] == s.State })
		if err := env.Microsoft.ApproveDevice(asked.State); err != nil {
			t.Fatal(err)
		}
		ha.AwaitState(t, signIn, "off")
		ha.AwaitState(t, code, "unknown") // a code is not shown longer than it is valid
		ha.AwaitState(t, link, "unknown")
		ha.AwaitState(t, "binary_sensor.work_connection", "on")

		const birthdays, holidays = "binary_sensor.work_calendars_birthdays_busy", "binary_sensor.work_calendars_holidays_busy"
		ha.AwaitState(t, birthdays, "off")
		rescan := func() { ha.Service(t, "button.press", "button.work_rescan", nil) }
		uniqueID := func() string {
			for _, e := range ha.Entities(t) {
				if e.EntityID == birthdays {
					return e.UniqueID
				}
			}
			return "gone"
		}
		before := uniqueID()
		env.Microsoft.RenameCalendar(simulator.Adele, "Birthdays", "Parties")
		rescan()
		ha.AwaitEntity(t, birthdays, "has the new name", func(s State) bool { return s.Attributes["friendly_name"] == "Work Parties Busy" })
		if after := uniqueID(); after != before {
			t.Errorf("the unique id is %s after renaming, was %s", after, before)
		}
		env.Microsoft.AddCalendar(simulator.Adele, "Holidays")
		rescan()
		ha.AwaitState(t, holidays, "off")
		env.Microsoft.RemoveCalendar(simulator.Adele, "Holidays")
		rescan()
		ha.AwaitGone(t, holidays)

		ha.Service(t, "select.select_option", "select.work_presence_preferred", map[string]any{"option": "Do not disturb"})
		ha.AwaitState(t, "select.work_presence_preferred", "Do not disturb")
		ha.AwaitState(t, "sensor.work_presence_activity", "DoNotDisturb")
		ha.Service(t, "text.set_value", "text.work_presence_status_message", map[string]any{"value": "At lunch"})
		ha.AwaitState(t, "text.work_presence_status_message", "At lunch")
		ha.Service(t, "button.press", "button.work_presence_clear_status_message", nil)
		ha.AwaitEntity(t, "text.work_presence_status_message", "is empty", func(s State) bool { return s.State == "" || s.State == "unknown" })

		env.Configure(t, []string{"enable_update: true", "sign_in_over_mqtt: true"}, "calendars: {type: calendar, calendar: all}", "out_of_office: {type: auto_reply, nonsense: 1}")
		env.Bridge.AwaitLine(t, "configuration invalid")
		env.Configure(t, []string{"enable_update: true", "sign_in_over_mqtt: true"}, "calendars: {type: calendar, calendar: all}", "out_of_office: {type: auto_reply}")
		ha.AwaitGone(t, "sensor.work_presence_activity")
		ha.AwaitState(t, birthdays, "off")
		env.Stop(t)
		ha.CheckLog(t, removalLogs...)
	})
}
