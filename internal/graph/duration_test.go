package graph_test

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{5 * time.Minute: "PT5M0S", 168 * time.Hour: "PT168H0M0S", 90 * time.Second: "PT1M30S"} {
		if got := graph.FormatDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
