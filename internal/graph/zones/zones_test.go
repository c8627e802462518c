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

// TestLinks pins the aliases that containers and old systems set: each is known, and is the zone that Windows means.
func TestLinks(t *testing.T) {
	for name, want := range map[string]string{
		"GB": "GMT Standard Time", "US/Eastern": "Eastern Standard Time", "US/Pacific": "Pacific Standard Time", "Japan": "Tokyo Standard Time",
		"Asia/Istanbul": "Turkey Standard Time", "Europe/Belfast": "GMT Standard Time", "Etc/Zulu": "UTC", "Zulu": "UTC", "Etc/UTC": "UTC", "UTC": "UTC", "UCT": "UTC",
		"Etc/GMT": "UTC", "GMT": "UTC", "Greenwich": "UTC", "Singapore": "Singapore Standard Time", "NZ": "New Zealand Standard Time", "CET": "Romance Standard Time",
		"EST5EDT": "Eastern Standard Time", "America/Indianapolis": "US Eastern Standard Time", "Asia/Kolkata": "India Standard Time", "Europe/Kyiv": "FLE Standard Time",
	} {
		if got := Windows(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(links) < 140 {
		t.Errorf("%d links", len(links))
	}
	year := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, table := range []map[string]string{links, legacy} {
		for name := range table {
			windows := Windows(name)
			if windows == "" {
				t.Errorf("%s has no Windows name", name)
				continue
			}
			a, err := time.LoadLocation(name)
			if err != nil {
				t.Error(err)
				continue
			}
			b, err := time.LoadLocation(IANA(windows))
			if err != nil {
				t.Error(err)
				continue
			}
			for day := year; day.Year() == 2026; day = day.AddDate(0, 0, 7) {
				if day.In(a).Format("-0700") != day.In(b).Format("-0700") {
					t.Errorf("%s is not %s on %s", name, windows, day)
					break
				}
			}
		}
	}
}
