package status_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/status"
)

// TestCandidates: colleagues are listed where the people may be read, but nobody outside the organization.
func TestCandidates(t *testing.T) {
	own := sensors.Candidate{Name: "My status"}
	for scope, want := range map[string][]sensors.Candidate{
		"User.Read": {own},
		"People.Read": {
			own,
			{Name: "Megan Bowen", Options: map[string]string{"user": simulator.Megan}},
			{Name: "Alex Wilber", Options: map[string]string{"user": simulator.Alex}},
		},
	} {
		s := simulator.ContosoWithColleagues(simulator.Options{})
		got, err := status.Kind().Candidates(t.Context(), graphtest.Client(t, s, simulator.Adele, "Presence.Read", scope))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", scope, d)
		}
	}
}
