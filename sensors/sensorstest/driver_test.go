package sensorstest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

// A faulty source violates the contract of a source.
type faulty struct {
	changes string // the function that changes its arguments
	restive bool   // the state changes before its Next
}

type list struct{ Items []string }

func (f *faulty) Permissions() []graph.Permission { return nil }
func (f *faulty) Entities() []entity.Entity       { return nil }

func (f *faulty) change(name string, s *list) {
	if f.changes == name && s != nil {
		s.Items[0] = name
	}
}

func (f *faulty) Poll(_ context.Context, _ *graph.Client, last *list, _ time.Time) (*list, error) {
	f.change("Poll", last)
	return &list{Items: []string{"a"}}, nil
}

func (f *faulty) Events(before, after *list, _ time.Time) []entity.Event {
	f.change("Events", after)
	return nil
}

func (f *faulty) State(s *list, _, now time.Time) entity.State {
	f.change("State", s)
	st := entity.State{Next: now.Truncate(time.Hour).Add(time.Hour)}
	if f.restive {
		st.Values = map[string]any{"minute": now.Minute()}
	}
	return st
}

func (f *faulty) Effects() []sensors.Effect[list] {
	return []sensors.Effect[list]{sensors.On(func(s *list, _ string, _ time.Time) (*list, []entity.Event) {
		f.change("an effect", s)
		return s, nil
	})}
}

// A recorder is a test whose errors are expected.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestFaultsAreFound(t *testing.T) {
	now := time.Date(2026, 1, 15, 12, 10, 0, 0, time.UTC)
	for _, tt := range []struct {
		source *faulty
		want   string
	}{
		{&faulty{}, ""},
		{&faulty{changes: "Poll"}, "Poll changed its argument"},
		{&faulty{changes: "Events"}, "Events changed its argument"},
		{&faulty{changes: "State"}, "State changed its argument"},
		{&faulty{changes: "an effect"}, "an effect changed its argument"},
		{&faulty{restive: true}, "the state of 2026-01-15 12:10:00 +0000 UTC changes by"},
	} {
		r := &recorder{TB: t}
		d := sensorstest.Of[list](tt.source)
		d.Poll(r, nil, now)
		d.Poll(r, nil, now)
		d.State(r, now, now)
		d.Apply(r, "result", now)
		if tt.want == "" && len(r.errors) > 0 || tt.want != "" && (len(r.errors) == 0 || !strings.HasPrefix(r.errors[0], tt.want)) {
			t.Errorf("got %q, want %q", r.errors, tt.want)
		}
	}
}
