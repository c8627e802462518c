package services_test

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/services"
)

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"PT5M": 5 * time.Minute, "PT1H30M": 90 * time.Minute, "PT90S": 90 * time.Second, "P1D": 24 * time.Hour, "P1W": 168 * time.Hour,
		"P1DT1H1M1S": 25*time.Hour + 61*time.Second, "P7D": 168 * time.Hour, "pt1h": time.Hour,
		"1h30m": 90 * time.Minute, "90s": 90 * time.Second, "1.5h": 90 * time.Minute, "168h": 168 * time.Hour,
	} {
		if d, err := services.ParseDuration("f", s); err != nil || d != want {
			t.Errorf("%s: got %v, %v, want %v", s, d, err, want)
		}
	}
	for _, s := range []string{"", "P", "PT", "T1H", "1h PT1H", "P1M", "P1Y", "PT1H ", "PT-1H", "PT1.5H", "P99999D", "-1h", "0s", "500ms", "1.5s", "60", "1d", "soon", "PT99999999999999H"} {
		d, err := services.ParseDuration("f", s)
		if want := `f: want a duration in whole seconds, such as PT1H30M or 1h30m, not "` + s + `"`; err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v", s, d, err)
		}
	}
}
