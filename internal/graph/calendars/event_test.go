package calendars

import (
	"encoding/json"
	"testing"
	"time"
)

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"id":"a","subject":"x","start":{"dateTime":"2026-01-01T12:00:00.0000000","timeZone":"UTC"},"end":{"dateTime":"2026-01-01T13:00:00.0000000","timeZone":"UTC"}}`))
	f.Add([]byte(`{"id":"a","isAllDay":true,"start":{"dateTime":"2026-01-01T16:00:00","timeZone":"Mars"},"end":null,"attendees":[{}],"location":null}`))
	loc, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d eventDTO
		if json.Unmarshal(b, &d) != nil {
			return
		}
		e, err := d.event("read")
		if err != nil {
			return
		}
		if start, end := e.Span(loc); e.ID == "" || end.Before(start) || e.AllDay && !end.After(start) {
			t.Errorf("%s: from %s to %s", b, start, end)
		}
		if n := len([]rune(e.Description)); n > 1000 {
			t.Errorf("a description of %d characters", n)
		}
	})
}

// TestDay pins the date of an all-day event whose midnight Exchange tells in UTC.
func TestDay(t *testing.T) {
	for in, want := range map[string]string{
		"2026-01-15T00:00:00Z": "2026-01-15",
		"2026-01-14T16:00:00Z": "2026-01-15", // Singapore
		"2026-01-15T08:00:00Z": "2026-01-15", // Los Angeles
		"2026-01-14T23:00:00Z": "2026-01-15", // Berlin
		"2026-01-14T12:00:00Z": "2026-01-15", // Fiji
	} {
		at, err := time.Parse(time.RFC3339, in)
		if err != nil {
			t.Fatal(err)
		}
		if got := day(at).Format(time.DateOnly); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
