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

func TestRenamed(t *testing.T) {
	for name, old := range renamed {
		a, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := time.LoadLocation(old)
		if err != nil {
			t.Fatal(err)
		}
		if toWindows[name] != "" || Windows(name) == "" {
			t.Errorf("%s is known as it is, or not at all", name)
		}
		for day := time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC); day.Year() < 2030; day = day.AddDate(0, 0, 1) {
			if day.In(a).Format("-0700") != day.In(b).Format("-0700") {
				t.Errorf("%s is not %s on %s", name, old, day)
				break
			}
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
