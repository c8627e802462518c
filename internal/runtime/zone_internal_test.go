package runtime

import (
	"testing"
	"time"
)

// Graph needs the name of a zone, and has none with the name Local.
func TestTheMachinesZoneHasAName(t *testing.T) {
	for _, test := range []struct{ tz, want string }{
		{"Europe/Berlin", "Europe/Berlin"},
		{":America/New_York", "America/New_York"},
		{"", "UTC"},
	} {
		t.Setenv("TZ", test.tz)
		for _, configured := range []string{"local", "auto", "mailbox"} {
			if got := configuredZone(configured).String(); got != test.want {
				t.Errorf("TZ=%s, timezone: %s is %s, want %s", test.tz, configured, got, test.want)
			}
		}
	}
	if got := configuredZone("Asia/Tokyo").String(); got != "Asia/Tokyo" {
		t.Errorf("Asia/Tokyo is %s", got)
	}
}

func TestZonesWhoseClocksShowTheSame(t *testing.T) {
	zone := func(name string) *time.Location {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return loc
	}
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"Europe/Berlin", "Europe/Paris", true},
		{"Europe/Berlin", "Africa/Lagos", false}, // in summer
		{"Europe/London", "UTC", false},
	} {
		if got := equalZones(zone(test.a), zone(test.b)); got != test.want {
			t.Errorf("%s and %s: %t", test.a, test.b, got)
		}
	}
}
