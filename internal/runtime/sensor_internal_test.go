package runtime

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// The monotonic clock stands still while the machine sleeps: with its reading, values of yesterday would be current.
func TestTheLastSyncIsByTheWallClock(t *testing.T) {
	s := &sensor{
		account: &account{config: &config.Account{ID: "work"}, runtime: &Runtime{options: Options{Hub: hub.New()}}},
		config:  &config.Sensor{ID: "calendar"},
	}
	s.onPoll(sensors.Poll{At: time.Now()})
	if s.lastSync.IsZero() || s.lastSync != s.lastSync.Round(0) {
		t.Errorf("last sync %v", s.lastSync)
	}
}
