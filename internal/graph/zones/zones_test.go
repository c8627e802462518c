package zones

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func TestTables(t *testing.T) {
	if len(toIANA) != 139 || len(toWindows) != 445 {
		t.Errorf("%d Windows and %d IANA names", len(toIANA), len(toWindows))
	}
	for windows, iana := range toIANA {
		if toWindows[iana] != windows {
			t.Errorf("%s is %s is %s", windows, iana, toWindows[iana])
		}
	}
	for iana, windows := range toWindows {
		if _, err := time.LoadLocation(iana); err != nil {
			t.Error(err)
		}
		if toIANA[windows] == "" {
			t.Errorf("%s: no zone for %s", iana, windows)
		}
	}
}

func TestNames(t *testing.T) {
	if got := IANA("W. Europe Standard Time"); got != "Europe/Berlin" {
		t.Error(got)
	}
	if got := Windows("Europe/Vienna"); got != "W. Europe Standard Time" {
		t.Error(got)
	}
	if IANA("Europe/Vienna") != "" || Windows("Mars") != "" {
		t.Error("a name that is none")
	}
}
