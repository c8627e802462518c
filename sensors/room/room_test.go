package room_test

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/sensors/room"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

func TestCases(t *testing.T) { sensorstest.Run(t, room.Kind(), "testdata/cases") }

// A booking that is made, moved or removed is a change. One that enters or leaves the window with time is not.
func TestHasChanged(t *testing.T) {
	day := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return day.Add(time.Duration(hours) * time.Hour) }
	booking := func(from, to int) calendars.Booking { return calendars.Booking{ID: "1", Start: at(from), End: at(to)} }
	snapshot := func(days int, bookings ...calendars.Booking) *room.Snapshot {
		return &room.Snapshot{From: day.AddDate(0, 0, days), To: day.AddDate(0, 0, days+2), Bookings: bookings}
	}
	for name, test := range map[string]struct {
		before, after *room.Snapshot
		want          bool
	}{
		"nothing":           {snapshot(0, booking(9, 10)), snapshot(0, booking(9, 10)), false},
		"made":              {snapshot(0), snapshot(0, booking(9, 10)), true},
		"removed":           {snapshot(0, booking(9, 10)), snapshot(0), true},
		"moved":             {snapshot(0, booking(9, 10)), snapshot(0, booking(9, 11)), true},
		"next day":          {snapshot(0, booking(9, 10)), snapshot(1, booking(50, 51)), false},
		"made the next day": {snapshot(0, booking(9, 10)), snapshot(1, booking(30, 31)), true},
		"over midnight":     {snapshot(0, booking(23, 26)), snapshot(1, booking(23, 26)), false},
	} {
		if got := new(room.Options).HasChanged(test.before, test.after, at(12)); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
