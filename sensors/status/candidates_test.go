package status_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/status"
)

// TestCandidates: colleagues are listed where people or chats may be read, but nobody outside the organization.
func TestCandidates(t *testing.T) {
	own := sensors.Candidate{Name: "My status"}
	for scope, want := range map[string][]sensors.Candidate{
		"User.Read": {own},
		"People.Read": {
			own,
			{Name: "Megan Bowen", Options: map[string]string{"user": simulator.Megan}},
			{Name: "Alex Wilber", Options: map[string]string{"user": simulator.Alex}},
		},
		"Chat.ReadBasic": {
			own,
			{Name: "Alex Wilber", Options: map[string]string{"user": simulator.Alex}},
			{Name: "Megan Bowen", Options: map[string]string{"user": simulator.Megan}},
		},
		"People.Read Chat.Read": {
			own,
			{Name: "Megan Bowen", Options: map[string]string{"user": simulator.Megan}},
			{Name: "Alex Wilber", Options: map[string]string{"user": simulator.Alex}},
		},
	} {
		s := simulator.ContosoWithColleagues(simulator.Options{})
		got, err := status.Kind().Candidates(t.Context(), graphtest.Client(t, s, simulator.Adele, append(strings.Fields(scope), "Presence.Read", "User.Read")...))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreFields(sensors.Candidate{}, "SelectedBy")); d != "" {
			t.Errorf("%s (-want +got):\n%s", scope, d)
		}
	}
}
