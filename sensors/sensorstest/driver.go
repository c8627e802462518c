// Package sensorstest tests kinds of sensors: a [Driver] calls the functions of a source as a poller does, and [Run] compares what
// folders of answers lead to.
package sensorstest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// Decode decodes options, as the configuration does, and fails the test if they are refused.
func Decode(t testing.TB, options any, raw map[string]any) {
	t.Helper()
	if err := schema.Decode(options, raw); err != nil {
		t.Fatal(err)
	}
}

// A Driver holds a source and its snapshot, as a poller does. Each of its methods fails the test if a function of the source
// changes its arguments, if a snapshot does not survive a restart, or if a state changes before its Next.
type Driver[S any] struct {
	Source   sensors.Source[S]
	Snapshot *S // nil before the first answer
}

// Of returns the driver of a source without an answer.
func Of[S any](source sensors.Source[S]) *Driver[S] { return &Driver[S]{Source: source} }

// Poll polls, puts the answer in place and returns its events.
func (d *Driver[S]) Poll(t testing.TB, g *graph.Client, now time.Time) []entity.Event {
	t.Helper()
	events, err := d.TryPoll(t, g, now)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// TryPoll is Poll for answers that may fail.
func (d *Driver[S]) TryPoll(t testing.TB, g *graph.Client, now time.Time) (events []entity.Event, err error) {
	t.Helper()
	var after *S
	d.unchanged(t, "Poll", func() { after, err = d.Source.Poll(t.Context(), g, d.Snapshot, now) }, d.Snapshot)
	if err != nil {
		return nil, err
	}
	before := d.Snapshot
	if before != nil {
		d.unchanged(t, "Events", func() { events = d.Source.Events(before, after, now) }, before, after)
		if comparer, ok := d.Source.(sensors.Comparer[S]); ok {
			d.unchanged(t, "Same", func() { comparer.Same(before, after) }, before, after)
		}
	}
	d.Snapshot = after
	d.survives(t)
	return events, nil
}

// State returns the state as a poller passes it on, and the time-based events in (since, now].
func (d *Driver[S]) State(t testing.TB, since, now time.Time) entity.State {
	t.Helper()
	var s entity.State
	d.unchanged(t, "State", func() { s = d.Source.State(d.Snapshot, since, now) }, d.Snapshot)
	if s.Next.After(now) {
		for _, at := range []time.Time{now.Add(s.Next.Sub(now) / 2), s.Next.Add(-1)} {
			later := d.Source.State(d.Snapshot, now, at.In(now.Location()))
			later.Events = s.Events
			if reflect.DeepEqual(s, later) { // much faster than cmp
				continue
			}
			if diff := cmp.Diff(s, later); diff != "" && at.After(now) {
				t.Errorf("the state of %s changes by %s, before its next, %s (-%s +%s):\n%s", now, at, s.Next, now, at, diff)
			}
		}
	}
	return sensors.Complete(d.Source.Entities(), s)
}

// Apply applies the result of an operation and returns the events. Before the first answer nothing is applied.
func (d *Driver[S]) Apply(t testing.TB, result any, now time.Time) (events []entity.Event) {
	t.Helper()
	provider, ok := d.Source.(sensors.EffectProvider[S])
	if !ok || d.Snapshot == nil {
		return nil
	}
	for _, effect := range provider.Effects() {
		before := d.Snapshot
		var after *S
		applied := false
		d.unchanged(t, "an effect", func() { after, events, applied = effect.Apply(before, result, now) }, before)
		if applied {
			d.Snapshot = after
			d.survives(t)
			return events
		}
	}
	return nil
}

// Restart replaces the snapshot by what a restart makes of it.
func (d *Driver[S]) Restart(t testing.TB) {
	t.Helper()
	d.Snapshot = decode[S](t, encode(t, d.Snapshot))
}

// survives checks that JSON can hold the snapshot. Only snapshots up to some size are checked, because large ones show nothing more.
func (d *Driver[S]) survives(t testing.TB) {
	t.Helper()
	before := encode(t, d.Snapshot)
	if len(before) > 64<<10 {
		return
	}
	if after := encode(t, decode[S](t, before)); !bytes.Equal(before, after) {
		t.Errorf("the snapshot is another one after a restart (-before +after):\n%s", cmp.Diff(string(before), string(after)))
	}
}

// unchanged calls f and checks that it leaves the snapshots as they were.
func (d *Driver[S]) unchanged(t testing.TB, name string, f func(), snapshots ...*S) {
	t.Helper()
	var before [][]byte
	for _, s := range snapshots {
		before = append(before, encode(t, s))
	}
	f()
	for i, s := range snapshots {
		if after := encode(t, s); !bytes.Equal(before[i], after) {
			t.Errorf("%s changed its argument (-before +after):\n%s", name, cmp.Diff(string(before[i]), string(after)))
		}
	}
}

func encode[S any](t testing.TB, s *S) []byte {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode[S any](t testing.TB, b []byte) *S {
	t.Helper()
	s := new(S)
	if err := json.Unmarshal(b, s); err != nil {
		t.Fatal(err)
	}
	return s
}
