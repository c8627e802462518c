package mqtt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

func newSet(t *testing.T, mode Mode, writes ...write) *retained {
	t.Helper()
	r := newRetained(Options{
		Base: "g", Discovery: Discovery{Enabled: true, Topic: "ha", Mode: mode}, Timing: Timing{}.withDefaults(),
	})
	for _, w := range writes {
		if topic, ok := strings.CutPrefix(w.key, publishedKey); ok && w.value != nil {
			r.published[topic] = w.value
		} else if topic, ok := strings.CutPrefix(w.key, removedKey); ok && w.value != nil {
			r.removed[topic] = w.value
		}
	}
	return r
}

// stored is what a Store would hold after writes.
func stored(writes ...write) []write {
	var out []write
	for _, w := range writes {
		out = slices.DeleteFunc(out, func(o write) bool { return o.key == w.key })
		if w.value != nil {
			out = append(out, w)
		}
	}
	return out
}

// drain sends all that is due at now, each acknowledged at once.
func drain(r *retained, now time.Time) []string {
	var sent []string
	for {
		p, _, ok := r.next(now)
		if !ok {
			return sent
		}
		sent = append(sent, describe(p))
		r.onAcked(p)
	}
}

// describe names a publication: its topic, and of discovery the components, with the removed in brackets.
func describe(p publication) string {
	text := p.topic
	if !p.retained {
		text += " (live)"
	}
	if len(p.payload) == 0 {
		return text + " empty"
	}
	var root struct{ Components map[string]map[string]any }
	if json.Unmarshal(p.payload, &root) == nil && root.Components != nil {
		var keys []string
		for key, c := range root.Components {
			if len(c) == 1 {
				key = fmt.Sprintf("(%s %v)", key, c["platform"])
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return text + " " + strings.Join(keys, " ")
	}
	if strings.HasPrefix(p.topic, "ha/") {
		return text
	}
	return text + " " + string(p.payload)
}

func sensor(id string, keys ...string) Device {
	path := strings.Split(id, "-")[1:]
	d := Device{ID: id, Name: "X", Topic: "g/" + strings.Join(path, "/"), Slug: strings.Join(path, "_"), Availability: []string{}}
	for _, key := range keys {
		platform, name, ok := strings.Cut(key, ".")
		if !ok {
			platform, name = "sensor", key
		}
		d.Components = append(d.Components, Component{Entity: entity.Entity{Key: name, Platform: platform, Name: "N " + name}})
	}
	return d
}

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestOrder(t *testing.T) {
	r := newSet(t, DeviceMode)
	for _, topic := range []string{"g/a/s/availability", "g/a/s/attributes", "g/a/s/items", "g/a/s/state", "g/a/state", "g/a/status", "g/a/s/commands", "g/bridge/info", "g/a/b/state"} {
		r.retain(topic, []byte("1"))
	}
	for _, d := range []Device{sensor("g-a-s", "x", "datetime.y"), sensor("g-a", "x"), sensor("g-bridge", "x")} {
		r.setDevice(d)
	}
	check(t, "before all is declared", drain(r, start))
	r.ready(start)
	check(t, "start", drain(r, start),
		"ha/device/g-bridge/config x", "g/bridge/info 1",
		"ha/device/g-a/config x", "g/a/status 1", "g/a/state 1",
		"g/a/b/state 1",
		"ha/device/g-a-s/config x", "ha/datetime/g-a-s/y/config", "g/a/s/state 1", "g/a/s/attributes 1", "g/a/s/items 1", "g/a/s/availability 1", "g/a/s/commands 1",
	)
	check(t, "nothing has changed", drain(r, start))
	for _, d := range []Device{sensor("g-a-s", "x", "datetime.y"), sensor("g-a", "x")} {
		r.setDevice(d)
	}
	r.retain("g/a/s/state", []byte("1"))
	check(t, "the same again", drain(r, start))

	now := start.Add(time.Minute)
	r.remove("g-a", now)
	check(t, "an account", drain(r, now), "ha/device/g-a/config empty")
	check(t, "later what is below it, but for its sensors'", drain(r, now.Add(10*time.Second)), "g/a/b/state empty", "g/a/status empty", "g/a/state empty")
	r.remove("g-a-s", now)
	check(t, "a sensor: its own topics first", drain(r, now), "ha/datetime/g-a-s/y/config empty", "ha/device/g-a-s/config empty")
	check(t, "then what is below it", drain(r, now.Add(10*time.Second)),
		"g/a/s/state empty", "g/a/s/attributes empty", "g/a/s/items empty", "g/a/s/availability empty", "g/a/s/commands empty")
	r.markAllPending(true)
	check(t, "what is removed stays so", drain(r, now), "ha/device/g-bridge/config x", "g/bridge/info 1")
}

func TestDiscoveryIsDebounced(t *testing.T) {
	r := newSet(t, DeviceMode)
	r.ready(start)
	r.setDevice(sensor("g-a-s", "x"))
	check(t, "the first goes at once", drain(r, start), "ha/device/g-a-s/config x")
	r.setDevice(sensor("g-a-s", "x", "y"))
	r.retain("g/a/s/state", []byte("1"))
	check(t, "a change waits, a state does not", drain(r, start.Add(time.Second)), "g/a/s/state 1")
	r.setDevice(sensor("g-a-s", "x", "y", "z"))
	if _, due, _ := r.next(start.Add(time.Second)); !due.Equal(start.Add(10 * time.Second)) {
		t.Errorf("due %v", due)
	}
	check(t, "just before", drain(r, start.Add(10*time.Second-1)))
	check(t, "the last of two changes", drain(r, start.Add(10*time.Second)), "ha/device/g-a-s/config x y z")
	r.markAllPending(true)
	check(t, "the same need not wait", drain(r, start.Add(11*time.Second)), "ha/device/g-a-s/config x y z", "g/a/s/state 1")
	r.setDevice(sensor("g-a-b", "x"))
	check(t, "nor does another device", drain(r, start.Add(11*time.Second)), "ha/device/g-a-b/config x")
}

func TestComponentIsRemoved(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *retained) *retained{
		"while running": func(_ *testing.T, r *retained) *retained { return r },
		"over a restart": func(t *testing.T, r *retained) *retained {
			r = newSet(t, DeviceMode, stored(r.writes...)...)
			r.isReady = true
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSet(t, DeviceMode)
			r.ready(start)
			r.setDevice(sensor("g-a-s", "x", "gone", "switch.other"))
			drain(r, start)

			r = change(t, r)
			now := start.Add(time.Minute)
			r.setDevice(sensor("g-a-s", "x", "sensor.other"))
			check(t, "removal", drain(r, now), "ha/device/g-a-s/config (live) (gone sensor) (other switch) x")
			check(t, "too soon", drain(r, now.Add(9*time.Second)))
			check(t, "then without it", drain(r, now.Add(10*time.Second)), "ha/device/g-a-s/config other x")

			r = change(t, r)
			r.setDevice(sensor("g-a-s", "x", "sensor.other"))
			drain(r, now)
			now = now.Add(time.Minute)
			r.onBirth()
			check(t, "birth", drain(r, now), "ha/device/g-a-s/config (live) gone other x")
			check(t, "10 s later", drain(r, now.Add(10*time.Second)), "ha/device/g-a-s/config (live) (gone sensor) (other switch) x")
			check(t, "20 s later", drain(r, now.Add(20*time.Second)), "ha/device/g-a-s/config other x")
			r.onBirth()
			check(t, "the next birth", drain(r, now.Add(time.Minute)), "ha/device/g-a-s/config other x")
			if len(r.removed) != 0 {
				t.Errorf("still remembered: %v", r.removed)
			}
		})
	}
}

func TestComponentComesBack(t *testing.T) {
	r := newSet(t, DeviceMode)
	r.ready(start)
	r.setDevice(sensor("g-a-s", "x", "y", "z"))
	drain(r, start)
	r.setDevice(sensor("g-a-s", "x", "y"))
	drain(r, start.Add(time.Minute))
	drain(r, start.Add(2*time.Minute))
	r.setDevice(sensor("g-a-s", "x"))
	drain(r, start.Add(3*time.Minute))
	drain(r, start.Add(4*time.Minute))
	r.onBirth()
	check(t, "both removals", drain(r, start.Add(5*time.Minute)), "ha/device/g-a-s/config (live) x y z")
	r.setDevice(sensor("g-a-s", "x", "y", "z"))
	check(t, "wanted again", drain(r, start.Add(6*time.Minute)), "ha/device/g-a-s/config x y z")
	r.onBirth()
	check(t, "nothing to remove", drain(r, start.Add(7*time.Minute)), "ha/device/g-a-s/config x y z")
}

func TestDeviceIsRemovedOverRestarts(t *testing.T) {
	r := newSet(t, DeviceMode)
	r.ready(start)
	r.setDevice(sensor("g-a-s", "x", "datetime.y"))
	r.setDevice(sensor("g-a-b", "x"))
	r.retain("g/a/s/state", []byte("1"))
	drain(r, start)

	r = newSet(t, DeviceMode, stored(r.writes...)...)
	r.setDevice(sensor("g-a-b", "x"))
	r.ready(start)
	check(t, "removal first", drain(r, start), "ha/datetime/g-a-s/y/config empty", "ha/device/g-a-s/config empty", "ha/device/g-a-b/config x")
	check(t, "then what is below it", drain(r, start.Add(10*time.Second)), "g/a/s/state empty")

	r = newSet(t, DeviceMode, stored(append(stored(r.writes...), write{publishedKey + "ha/device/g-a-b/config", r.published["ha/device/g-a-b/config"]})...)...)
	r.setDevice(sensor("g-a-b", "x"))
	r.ready(start)
	drain(r, start)
	now := start.Add(time.Minute)
	r.onBirth()
	check(t, "birth", drain(r, now), "ha/datetime/g-a-s/y/config (live)", "ha/device/g-a-s/config (live) x", "ha/device/g-a-b/config x")
	check(t, "removed again", drain(r, now.Add(10*time.Second)), "ha/datetime/g-a-s/y/config empty", "ha/device/g-a-s/config empty")
	if left := stored(r.writes...); len(left) != 0 {
		t.Errorf("left in the store: %v", left)
	}
	r.onBirth()
	check(t, "the next birth", drain(r, now.Add(time.Minute)), "ha/device/g-a-b/config x")
}

// The same entities by other topics: Home Assistant must have forgotten the first before the second come.
func TestModeChanges(t *testing.T) {
	for _, mode := range []Mode{DeviceMode, ComponentMode} {
		r := newSet(t, mode)
		r.ready(start)
		r.setDevice(sensor("g-a-s", "x"))
		r.retain("g/a/s/state", []byte("1"))
		drain(r, start)

		other := map[Mode]Mode{DeviceMode: ComponentMode, ComponentMode: DeviceMode}[mode]
		topics := map[Mode]string{DeviceMode: "ha/device/g-a-s/config", ComponentMode: "ha/sensor/g-a-s/x/config"}
		r = newSet(t, other, stored(r.writes...)...)
		r.setDevice(sensor("g-a-s", "x"))
		r.retain("g/a/s/state", []byte("1"))
		r.ready(start)
		check(t, string(mode), drain(r, start), topics[mode]+" empty", "g/a/s/state 1")
		if got := drain(r, start.Add(10*time.Second)); len(got) != 1 || !strings.HasPrefix(got[0], topics[other]) {
			t.Errorf("%s: then %v", mode, got)
		}
	}
}

func TestUnacknowledgedRemovalIsSentAgain(t *testing.T) {
	r := newSet(t, DeviceMode)
	r.ready(start)
	r.retain("g/a/request/x", nil)
	for range 2 {
		if p, _, ok := r.next(start); !ok || describe(p) != "g/a/request/x empty" {
			t.Fatalf("got %v, %v", describe(p), ok)
		}
		r.markAllPending(true) // the connection was lost
	}
	check(t, "third time", drain(r, start), "g/a/request/x empty")
	r.markAllPending(true)
	check(t, "acknowledged", drain(r, start))
	r.retain("g/a/request/x", nil)
	check(t, "it has come again", drain(r, start), "g/a/request/x empty")
}

func TestClean(t *testing.T) {
	r := newSet(t, DeviceMode, write{publishedKey + "g/old/state", []byte("1")})
	r.setDevice(sensor("g-a-s", "x"))
	r.retain("g/a/status", []byte("1"))
	r.isReady = true
	drain(r, start)
	r.removeAll(start)
	check(t, "all", drain(r, start.Add(time.Minute)), "ha/device/g-a-s/config empty", "g/a/status empty", "g/old/state empty")
	if left := slices.DeleteFunc(stored(r.writes...), func(w write) bool { return strings.HasPrefix(w.key, removedKey) }); len(left) != 0 {
		t.Errorf("left in the store: %v", left)
	}
	r.removeAll(start)
	check(t, "again", drain(r, start.Add(time.Minute)))
}

func TestRemovalAfterChange(t *testing.T) {
	r := newSet(t, DeviceMode)
	r.ready(start)
	r.setDevice(sensor("g-a-s", "x"))
	r.retain("g/a/s/state", []byte("1"))
	drain(r, start)
	r.remove("g-a-s", start.Add(time.Second))
	check(t, "too soon", drain(r, start.Add(9*time.Second)))
	check(t, "device", drain(r, start.Add(10*time.Second)), "ha/device/g-a-s/config empty")
	check(t, "below it", drain(r, start.Add(20*time.Second)), "g/a/s/state empty")
	r.remove("g-a-s", start)
	r.retain("g/a/s/state", []byte("2"))
	check(t, "back again", drain(r, start.Add(20*time.Second)), "g/a/s/state 2")
}

func TestDiscoveryDisabled(t *testing.T) {
	r := newSet(t, DeviceMode, write{publishedKey + "ha/device/g-a-s/config", []byte("{}")})
	r.discovery.Enabled = false
	r.setDevice(sensor("g-a-s", "x"))
	r.retain("g/a/s/state", []byte("1"))
	r.ready(start)
	check(t, "disabled", drain(r, start), "ha/device/g-a-s/config empty", "g/a/s/state 1")
}
