package room_test

import (
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/sensors/room"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	services "github.com/graph2mqtt/graph2mqtt/services/room"
)

func TestCases(t *testing.T) { sensorstest.Run(t, room.Kind(), "testdata/cases") }

// A booking is shown at once, unless it is outside of the time that polls read.
func TestBooked(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	midnight := now.Add(-12 * time.Hour)
	s := &room.Snapshot{From: midnight, To: midnight.AddDate(0, 0, 2)}
	for name, test := range map[string]struct {
		start time.Time
		want  any
	}{
		"today":     {now.Add(time.Hour), now.Add(time.Hour)},
		"tomorrow":  {now.AddDate(0, 0, 1), now.AddDate(0, 0, 1)},
		"too late":  {midnight.AddDate(0, 0, 2), nil},
		"next year": {now.AddDate(1, 0, 0), nil},
	} {
		o := &room.Options{}
		for _, effect := range o.Effects() {
			after, _, ok := effect.Apply(s, services.Booked{Booking: calendars.Booking{ID: "1", Start: test.start, End: test.start.Add(time.Hour), Own: true}}, now)
			if !ok {
				continue
			}
			state := o.State(after, time.Time{}, now)
			if got := state.Values["next_start"]; got != test.want {
				t.Errorf("%s: the next meeting starts at %v, want %v", name, got, test.want)
			}
			if want := test.want != nil; len(state.Items) == 1 != want {
				t.Errorf("%s: the list has %v", name, state.Items)
			}
		}
	}
}

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
