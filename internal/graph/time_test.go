package graph_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func date(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestTime(t *testing.T) {
	for _, test := range []struct{ dateTime, zone, want, wantErr string }{
		{"2026-07-01T10:00:00.0000000", "UTC", "2026-07-01T10:00:00Z", ""},
		{"2026-07-01T10:00:00", "", "2026-07-01T10:00:00Z", ""},
		{"2026-07-01T10:00:00.5", "UTC", "2026-07-01T10:00:00.5Z", ""},
		{"2026-07-01T10:00:00.1234567", "W. Europe Standard Time", "2026-07-01T10:00:00.1234567+02:00", ""},
		{"2026-01-01T10:00:00.00", "Europe/Vienna", "2026-01-01T10:00:00+01:00", ""},
		{"2026-07-01T10:00:00Z", "Europe/Vienna", "2026-07-01T12:00:00+02:00", ""},
		{"2026-07-01T10:00:00.000-07:00", "UTC", "2026-07-01T17:00:00Z", ""},
		{"2026-07-01T10:00:00", "tzone://Microsoft/Utc", "2026-07-01T10:00:00Z", ""},
		{"0001-01-01T00:00:00Z", "UTC", "0001-01-01T00:00:00Z", ""},
		{"0001-01-01T00:00:00.0000000", "Pacific Standard Time", "0001-01-01T00:00:00Z", ""},
		{"", "", "0001-01-01T00:00:00Z", ""},
		{"2026-07-01T10:00:00", "Nowhere Standard Time", "", `unknown time zone "Nowhere Standard Time"`},
		{"2026-07-01T10:00:00", "Local", "", `unknown time zone "Local"`},
		{"2026-07-01T10:00:00", "../../etc/passwd", "", `unknown time zone "../../etc/passwd"`},
		{"noon", "UTC", "", `not a time: "noon"`},
		{"2026-02-30T10:00:00", "UTC", "", `not a time: "2026-02-30T10:00:00"`},
	} {
		got, err := graph.DateTimeTimeZone{DateTime: test.dateTime, TimeZone: test.zone}.Time()
		switch {
		case err != nil && err.Error() != test.wantErr, err == nil && test.wantErr != "":
			t.Errorf("%s %s: error %v, want %s", test.dateTime, test.zone, err, test.wantErr)
		case err == nil && got.Format(time.RFC3339Nano) != test.want:
			t.Errorf("%s %s: got %s, want %s", test.dateTime, test.zone, got.Format(time.RFC3339Nano), test.want)
		case err == nil && got.IsZero() != strings.HasPrefix(test.want, "0001"):
			t.Errorf("%s %s: no value and zero time differ", test.dateTime, test.zone)
		}
	}
}

func TestDate(t *testing.T) {
	for _, test := range []struct{ dateTime, zone, want, wantErr string }{
		{"2026-07-01T00:00:00.0000000", "UTC", "2026-07-01", ""},
		{"2026-07-01T00:00:00.0000000", "Line Islands Standard Time", "2026-07-01", ""},
		{"2026-07-01T00:00:00-11:00", "Nowhere", "2026-07-01", ""},
		{"2026-07-01", "", "2026-07-01", ""},
		{"0001-01-01T00:00:00Z", "", "", ""},
		{"", "", "", ""},
		{"2026-02-30T00:00:00", "", "", `not a date: "2026-02-30T00:00:00"`},
	} {
		got, err := graph.DateTimeTimeZone{DateTime: test.dateTime, TimeZone: test.zone}.Date()
		if got != test.want || err == nil && test.wantErr != "" || err != nil && err.Error() != test.wantErr {
			t.Errorf("%s %s: got %q, %v; want %q, %s", test.dateTime, test.zone, got, err, test.want, test.wantErr)
		}
	}
}

func TestWritingTimes(t *testing.T) {
	vienna, err := graph.Location("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 7, 1, 0, 30, 0, 123456789, vienna)
	if d := graph.FormatUTC(at); *d.GetDateTime() != "2026-06-30T22:30:00.1234567" || *d.GetTimeZone() != "UTC" {
		t.Errorf("in UTC: %s %s", *d.GetDateTime(), *d.GetTimeZone())
	}
	for _, test := range []struct{ zone, want string }{
		{"Europe/Vienna", "W. Europe Standard Time"},
		{"UTC", "UTC"},
		{"Etc/UTC", "UTC"},
		{"W. Europe Standard Time", "W. Europe Standard Time"},
		{"Europe/Kyiv", "FLE Standard Time"}, // CLDR knows it as Kiev
		{"CET", "Romance Standard Time"},     // the clocks of Brussels
		{"GB", "GMT Standard Time"},
		{"US/Eastern", "Eastern Standard Time"},
		{"Antarctica/Troll", "UTC"}, // Graph knows no such zone
	} {
		zone, err := graph.Location(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		if d := graph.FormatDate(at.In(zone)); *d.GetTimeZone() != test.want || *d.GetDateTime() != at.In(zone).Format("2006-01-02")+"T00:00:00.0000000" {
			t.Errorf("%s: %s %s", test.zone, *d.GetDateTime(), *d.GetTimeZone())
		}
	}
}
