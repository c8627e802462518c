package homeassistant

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

// The status of an organization with thousands of sensors stays small, and names those that need attention.
func TestStatusOfManySensors(t *testing.T) {
	const n = 5000
	s := hub.AccountStatus{Notifications: &hub.NotificationStatus{State: "degraded"}}
	for i := range n {
		id, state := fmt.Sprintf("room%04d", i), "ok"
		if i == n-1 {
			state = "degraded"
		}
		s.Problems = append(s.Problems, hub.SensorProblem{Sensor: id, Code: "timeout", Message: "no answer in time"})
		s.Notifications.Sensors = append(s.Notifications.Sensors, hub.SensorNotifications{Sensor: id, State: state})
	}
	s.Problems = append(s.Problems, hub.SensorProblem{Code: "audit_failed"}) // of the bridge
	payload := statusPayload(s)
	var got hub.AccountStatus
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	listed := got.Notifications.Sensors
	if len(got.Problems) != 100 || got.ProblemsOmitted != n-99 || got.Problems[0].Code != "audit_failed" || len(listed) != 100 || got.Notifications.Omitted != n-100 {
		t.Errorf("%d problems and %d more, %d sensors and %d more", len(got.Problems), got.ProblemsOmitted, len(listed), got.Notifications.Omitted)
	}
	if listed[0].Sensor != "room4999" || listed[1].Sensor != "room0000" || len(payload) > 20_000 {
		t.Errorf("%d bytes begin with %v", len(payload), listed[:2])
	}
	if len(s.Notifications.Sensors) != n || s.Notifications.Sensors[0].Sensor != "room0000" {
		t.Error("the state in the hub is changed")
	}
}
