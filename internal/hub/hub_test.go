package hub_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

var (
	work     = hub.ID{Account: "work"}
	calendar = hub.ID{Account: "work", Sensor: "calendar"}
	inbox    = hub.ID{Account: "work", Sensor: "inbox"}
)

func state(n int) hub.State {
	return hub.State{State: entity.State{Values: map[string]any{"n": n}}, Available: true}
}

// pending returns the updates of a subscription that need no waiting.
func pending(t *testing.T, s *hub.Subscription) []hub.Update {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var us []hub.Update
	for {
		u, err := s.Next(ctx)
		if err != nil {
			return us
		}
		us = append(us, u)
	}
}

func diff(want, got []hub.Update) string { return cmp.Diff(want, got, cmpopts.EquateEmpty()) }

func TestSubscribeBeginsWithEverything(t *testing.T) {
	h := hub.New()
	h.Declare(hub.Device{ID: work, Name: "Work"})
	h.Declare(hub.Device{ID: calendar, Name: "Work calendar"})
	h.Put(calendar, state(1))
	h.Put(calendar, state(2))
	h.Emit(calendar, entity.Event{Type: "event_started"}) // before the first subscription
	h.Ready()
	s := h.Subscribe()
	defer s.Close()
	newest := state(2)
	want := []hub.Update{
		{ID: work, Device: &hub.Device{ID: work, Name: "Work"}},
		{ID: calendar, Device: &hub.Device{ID: calendar, Name: "Work calendar"}, State: &newest},
		{Ready: true},
	}
	if d := diff(want, pending(t, s)); d != "" {
		t.Error(d)
	}
}

func TestUpdates(t *testing.T) {
	one, two := state(1), state(2)
	changed := &hub.Device{ID: calendar, Name: "Renamed"}
	event := entity.Event{Type: "event_started"}
	for _, test := range []struct {
		name string
		do   func(h *hub.Hub)
		want []hub.Update
	}{
		{"nothing", func(*hub.Hub) {}, nil},
		{"only the newest state", func(h *hub.Hub) { h.Put(calendar, one); h.Put(calendar, two) }, []hub.Update{{ID: calendar, State: &two}}},
		{"a device changes with its state", func(h *hub.Hub) { h.Declare(*changed); h.Put(calendar, one) }, []hub.Update{{ID: calendar, Device: changed, State: &one}}},
		{"an assertion carries the state", func(h *hub.Hub) { h.Put(calendar, one); h.Assert(calendar) }, []hub.Update{{ID: calendar, State: &one, Assert: true}}},
		{"nothing to assert", func(h *hub.Hub) { h.Assert(calendar) }, nil},
		{"an event comes after the state", func(h *hub.Hub) { h.Emit(calendar, event); h.Put(calendar, one) }, []hub.Update{{ID: calendar, State: &one}, {ID: calendar, Event: &event}}},
		{"removed", func(h *hub.Hub) {
			h.Put(calendar, one)
			h.Remove(calendar)
			h.Put(calendar, two)
			h.Emit(calendar, event)
		}, []hub.Update{{ID: calendar, Removed: true}}},
		{"removed and declared again", func(h *hub.Hub) { h.Remove(calendar); h.Declare(*changed) }, []hub.Update{{ID: calendar, Removed: true, Device: changed}}},
		{"of an unknown device", func(h *hub.Hub) {
			h.Put(inbox, one)
			h.Assert(inbox)
			h.Emit(inbox, event)
			h.Remove(inbox)
			h.Record(inbox, hub.Poll{})
		}, nil},
		{"ready", func(h *hub.Hub) { h.Ready(); h.Put(calendar, one) }, []hub.Update{{ID: calendar, State: &one}, {Ready: true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := hub.New()
			h.Declare(hub.Device{ID: calendar})
			s := h.Subscribe()
			defer s.Close()
			pending(t, s)
			test.do(h)
			if d := diff(test.want, pending(t, s)); d != "" {
				t.Error(d)
			}
			if more := pending(t, s); len(more) > 0 {
				t.Errorf("handed out twice: %+v", more)
			}
		})
	}
}

func TestEventsAreBounded(t *testing.T) {
	h := hub.New()
	h.Declare(hub.Device{ID: calendar})
	slow, fast := h.Subscribe(), h.Subscribe()
	defer slow.Close()
	defer fast.Close()
	pending(t, fast)
	pending(t, slow)
	var seen int
	for i := range 1500 {
		h.Emit(calendar, entity.Event{Type: fmt.Sprint(i)})
		seen += len(pending(t, fast))
	}
	got := pending(t, slow)
	if len(got) != 1000 || got[0].Event.Type != "500" || got[999].Event.Type != "1499" || slow.Dropped() != 500 {
		t.Errorf("the slow one got %d events and lost %d", len(got), slow.Dropped())
	}
	if seen != 1500 || fast.Dropped() != 0 {
		t.Errorf("the fast one got %d events and lost %d", seen, fast.Dropped())
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New()
		h.Declare(hub.Device{ID: calendar})
		s := h.Subscribe()
		pending(t, s)
		var wg sync.WaitGroup
		var got hub.Update
		wg.Go(func() { got, _ = s.Next(t.Context()) })
		synctest.Wait()
		want := state(3)
		h.Put(calendar, want)
		wg.Wait()
		if d := cmp.Diff(hub.Update{ID: calendar, State: &want}, got); d != "" {
			t.Error(d)
		}
		s.Close()
		h.Put(calendar, state(4))
		if more := pending(t, s); len(more) > 0 {
			t.Errorf("after Close: %+v", more)
		}
	})
}

func TestPolls(t *testing.T) {
	h := hub.New()
	if got, ok := h.Get(calendar); ok {
		t.Errorf("an unknown device: %+v", got)
	}
	h.Declare(hub.Device{ID: calendar})
	for i := range 35 {
		h.Record(calendar, hub.Poll{Duration: time.Duration(i)})
	}
	if got, ok := h.Get(calendar); !ok || got.Device.ID != calendar || len(got.Polls) != 30 || got.Polls[0].Duration != 5 || got.Polls[29].Duration != 34 {
		t.Errorf("got %+v", got)
	}
}

func TestSnapshot(t *testing.T) {
	h := hub.New()
	h.Declare(hub.Device{ID: work, Name: "Work"})
	h.Declare(hub.Device{ID: calendar, Name: "Work calendar"})
	newest := state(2)
	h.Put(calendar, state(1))
	h.Put(calendar, newest)
	h.Record(calendar, hub.Poll{Items: 3})
	want := []hub.Snapshot{
		{Device: hub.Device{ID: work, Name: "Work"}},
		{Device: hub.Device{ID: calendar, Name: "Work calendar"}, State: &newest, Polls: []hub.Poll{{Items: 3}}},
	}
	if d := cmp.Diff(want, h.Snapshot(), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

func TestWatch(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(h *hub.Hub)
		want bool
	}{
		{"nothing", func(*hub.Hub) {}, false},
		{"an event", func(h *hub.Hub) { h.Emit(calendar, entity.Event{Type: "event_started"}) }, false},
		{"of an unknown device", func(h *hub.Hub) { h.Put(inbox, state(1)); h.Record(inbox, hub.Poll{}) }, false},
		{"declared", func(h *hub.Hub) { h.Declare(hub.Device{ID: inbox}) }, true},
		{"removed", func(h *hub.Hub) { h.Remove(calendar) }, true},
		{"a state", func(h *hub.Hub) { h.Put(calendar, state(1)) }, true},
		{"a poll", func(h *hub.Hub) { h.Record(calendar, hub.Poll{}) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := hub.New()
			h.Declare(hub.Device{ID: calendar})
			first, second := h.Watch(), h.Watch()
			test.do(h)
			for _, changed := range []<-chan struct{}{first, second} {
				select {
				case <-changed:
					if !test.want {
						t.Error("a change is reported")
					}
				default:
					if test.want {
						t.Error("no change is reported")
					}
				}
			}
			select {
			case <-h.Watch():
				t.Error("the change is reported twice")
			default:
			}
		})
	}
}
