package graph_test

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// In Cairo and Santiago clocks are set forward at midnight: these days begin at 1:00.
func TestStartOfDay(t *testing.T) {
	for _, tt := range []struct {
		zone string
		day  [3]int
		want string
	}{
		{"Europe/Berlin", [3]int{2026, 3, 29}, "2026-03-29T00:00:00+01:00"},
		{"Europe/Berlin", [3]int{2026, 3, 32}, "2026-04-01T00:00:00+02:00"},
		{"Africa/Cairo", [3]int{2026, 4, 24}, "2026-04-24T01:00:00+03:00"},
		{"America/Santiago", [3]int{2026, 9, 6}, "2026-09-06T01:00:00-03:00"},
		{"America/Santiago", [3]int{2026, 9, 7}, "2026-09-07T00:00:00-03:00"},
	} {
		got := graph.StartOfDay(tt.day[0], time.Month(tt.day[1]), tt.day[2], graphtest.Zone(t, tt.zone))
		if got.Format(time.RFC3339) != tt.want {
			t.Errorf("%s %v: got %s, want %s", tt.zone, tt.day, got, tt.want)
		}
	}
}
