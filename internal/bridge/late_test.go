package bridge

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

func TestWhatWaitedInTheBrokerForTooLongIsExpired(t *testing.T) {
	for _, test := range []struct {
		m    mqtt.Message
		want string
	}{
		{mqtt.Message{Away: time.Hour}, ""}, // it came live
		{mqtt.Message{Backlog: true, Away: 15 * time.Minute}, ""},
		{mqtt.Message{Backlog: true, Away: time.Hour}, "waited in the broker while graph2mqtt was away for 1h0m0s, longer than commands.max_age (15m0s)"},
	} {
		got := ""
		if err := late(test.m, 15*time.Minute); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v: %q, want %q", test.m, got, test.want)
		}
	}
}
