//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestProblem configures a calendar that does not exist: its Problem says so and which calendars there are, the account stays
// connected, and the problem ends when the calendar exists.
func TestProblem(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := startEnvironment(t, ha, MosquittoOptions{}, "out_of_office: {type: auto_reply}", "team: {type: calendar, calendar: Alexx, interval: 5s}")
		const problem, connection = "binary_sensor.work_team_problem", "binary_sensor.work_connection"
		ha.AwaitState(t, problem, "on")
		shown := ha.AwaitEntity(t, problem, "has a message", func(s State) bool { return s.Attributes["message"] != nil })
		message, _ := shown.Attributes["message"].(string)
		for _, want := range []string{"Alexx", "Birthdays"} {
			if !strings.Contains(message, want) {
				t.Errorf("message %q, want %q in it", message, want)
			}
		}
		if shown.Attributes["since"] == nil {
			t.Errorf("attributes %v, want since", shown.Attributes)
		}
		ha.AwaitState(t, "binary_sensor.work_team_busy", "unavailable")
		ha.AwaitState(t, "binary_sensor.work_out_of_office_problem", "off")
		ha.AwaitState(t, "select.work_out_of_office_mode", "Off")
		ha.AwaitState(t, connection, "on")
		ha.AwaitEntity(t, connection, "lists the sensor's problem", func(s State) bool {
			problems, err := json.Marshal(s.Attributes["problems"])
			return err == nil && strings.Contains(string(problems), `"sensor":"team"`)
		})

		env.Microsoft.AddCalendar(simulator.Adele, "Alexx")
		ha.AwaitState(t, problem, "off")
		ha.AwaitState(t, "binary_sensor.work_team_busy", "off")
		ha.AwaitEntity(t, connection, "lists no problem", func(s State) bool {
			problems, _ := s.Attributes["problems"].([]any)
			return s.State == "on" && len(problems) == 0
		})

		// It stays available while the account is signed out, which is not a problem of the sensor.
		env.Microsoft.RevokeSessions(simulator.Adele)
		env.Microsoft.ExpireAccessTokens()
		ha.AwaitState(t, "binary_sensor.work_sign_in_required", "on")
		ha.AwaitState(t, "binary_sensor.work_team_busy", "unavailable")
		ha.AwaitState(t, problem, "off")
		ha.CheckLog(t)
	})
}
