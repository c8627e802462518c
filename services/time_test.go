package services_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/services"
)

func TestParseTime(t *testing.T) {
	berlin := graphtest.Zone(t, "Europe/Berlin")
	for _, tt := range []struct{ in, want string }{
		{"2026-01-01T12:00:00", "2026-01-01T12:00:00+01:00"},
		{"2026-07-01T12:00:00", "2026-07-01T12:00:00+02:00"},
		{"2026-01-01 12:00:00", "2026-01-01T12:00:00+01:00"},
		{"2026-01-01 12:00", "2026-01-01T12:00:00+01:00"},
		{"2026-01-01T12:00", "2026-01-01T12:00:00+01:00"},
		{" 2026-01-01T12:00:00.5 ", "2026-01-01T12:00:00.5+01:00"},
		{"2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z"},
		{"2026-01-01T12:00Z", "2026-01-01T12:00:00Z"},
		{"2026-01-01 12:00:00+02:00", "2026-01-01T12:00:00+02:00"},
		{"2026-01-01 12:00:00 +02:00", "2026-01-01T12:00:00+02:00"},
		{"2026-01-01T12:00:00 -0800", "2026-01-01T12:00:00-08:00"},
		{"2026-01-01T12:00:00.123456+00:00", "2026-01-01T12:00:00.123456Z"},
		{"2026-03-29T01:59:59", "2026-03-29T01:59:59+01:00"}, // before and after the hour that summer time leaves out
		{"2026-03-29T03:00", "2026-03-29T03:00:00+02:00"},
		{"2026-03-29T02:30:00+01:00", "2026-03-29T02:30:00+01:00"},
	} {
		got, err := services.ParseTime("start", tt.in, berlin)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if s := got.Format(time.RFC3339Nano); s != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, s, tt.want)
		}
	}
}

func TestParseTimeRefuses(t *testing.T) {
	for _, in := range []string{"noon", "", "2026-01-01", "12:00", "2026-13-01T12:00:00", "2026-02-30T12:00:00", "1500-01-01T00:00:00", "9999-12-31T23:59:59-23:00", "2026-01-01T25:00:00", "1767268800"} {
		_, err := services.ParseTime("start", in, time.UTC)
		want := "start: want a time with or without zone, such as 2026-01-01T12:00:00, not " + strconv.Quote(in)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

// A time that the clocks skip is refused: an event from 02:30 to 03:15 would end before it begins.
func TestParseTimeRefusesSkippedTimes(t *testing.T) {
	berlin := graphtest.Zone(t, "Europe/Berlin")
	for _, in := range []string{"2026-03-29T02:30:00", "2026-03-29 02:00", "2026-03-29T02:59:59.9"} {
		for _, parse := range []func(field, s string, loc *time.Location) (time.Time, error){services.ParseTime, services.ParseTimeOrDate} {
			_, err := parse("start", in, berlin)
			want := "start: want a time that exists, not " + strconv.Quote(in) + ": the clocks of Europe/Berlin skip it"
			if err == nil || err.Error() != want {
				t.Errorf("%q: got %v, want %s", in, err, want)
			}
		}
		if _, err := services.ParseTime("start", in, time.UTC); err != nil {
			t.Errorf("%q in UTC: %v", in, err)
		}
	}
}

func TestParseTimeOrDate(t *testing.T) {
	berlin := graphtest.Zone(t, "Europe/Berlin")
	for in, want := range map[string]string{
		"2026-01-01": "2026-01-01T00:00:00+01:00", " 2026-07-01 ": "2026-07-01T00:00:00+02:00", "2026-01-01T12:00": "2026-01-01T12:00:00+01:00",
		"2026-01-01T12:00:00Z": "2026-01-01T12:00:00Z",
	} {
		got, err := services.ParseTimeOrDate("start", in, berlin)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: got %v, %v, want %s", in, got, err, want)
		}
	}
	if got, err := services.ParseTimeOrDate("start", "2026-09-06", graphtest.Zone(t, "America/Santiago")); err != nil || got.Format(time.RFC3339) != "2026-09-06T01:00:00-03:00" {
		t.Errorf("a day that begins at 1:00: got %v, %v", got, err)
	}
	for _, in := range []string{"noon", "", "2026-02-30", "1500-01-01", "9999-12-31"} {
		_, err := services.ParseTimeOrDate("end", in, berlin)
		want := "end: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not " + strconv.Quote(in)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

func TestParseDate(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"2026-01-01", "2026-01-01"},
		{" 2026-01-01 ", "2026-01-01"},
		{"2026-01-01T00:00:00", "2026-01-01"},
		{"2026-01-01 00:00:00", "2026-01-01"},
		{"2026-01-01T00:00:00+13:00", "2026-01-01"},
		{"2026-01-01T00:00:00-08:00", "2026-01-01"},
	} {
		got, err := services.ParseDate("start", tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if s := got.Format(time.DateOnly); s != tt.want || got.Location() != time.UTC {
			t.Errorf("%q: got %v, want %s", tt.in, got, tt.want)
		}
	}
	for _, in := range []string{"today", "", "2026-01-01T09:00:00", "2026-01-32", "1500-01-01", "01.02.2026"} {
		_, err := services.ParseDate("end", in)
		want := "end: want a date, such as 2026-01-01, not " + strconv.Quote(in)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-01-01T12:00:00", "2026-01-01 12:00 +01:00", "2026-01-01", "noon", "2026-03-29T02:30:00Z"} {
		f.Add(s)
	}
	loc := graphtest.Zone(f, "America/Los_Angeles")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := services.ParseTime("start", s, loc); err == nil {
			again, err := services.ParseTime("start", got.Format(time.RFC3339Nano), time.UTC)
			if err != nil || !again.Equal(got) {
				t.Errorf("%q is %v, and that is %v (%v)", s, got, again, err)
			}
		}
		if got, err := services.ParseDate("start", s); err == nil {
			again, err := services.ParseDate("start", got.Format(time.DateOnly))
			if err != nil || !again.Equal(got) {
				t.Errorf("%q is %v, and that is %v (%v)", s, got, again, err)
			}
		}
	})
}
