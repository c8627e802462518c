package mqtt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testRules stand for those of Home Assistant: discovery messages below "ha", with components.
func testRules() Rules {
	announcement := func(topic string) (string, bool) {
		levels := strings.Split(topic, "/")
		if levels[0] != "ha" || levels[len(levels)-1] != "config" {
			return "", false
		}
		return levels[2], true
	}
	return Rules{
		StatusTopic: "ha/status", Watch: []string{"ha/device/+/config"}, Announcement: announcement,
		Diff: func(old, next []byte) (announced, removing []byte) {
			var was, is struct{ Components map[string]map[string]any }
			if json.Unmarshal(old, &was) != nil || json.Unmarshal(next, &is) != nil {
				return nil, nil
			}
			announce, remove := map[string]any{}, map[string]any{}
			for key, c := range is.Components {
				announce[key], remove[key] = c, c
			}
			found := false
			for key, c := range was.Components {
				if is.Components[key]["platform"] != c["platform"] {
					found = true
					announce[key], remove[key] = c, map[string]any{"platform": c["platform"]}
				}
			}
			if !found {
				return nil, nil
			}
			return components(announce), components(remove)
		},
		// Removals first, discovery messages before what they describe, entities with their own topic first; then by depth, availability last.
		Order: func(topic string, removal bool) string {
			device, announces := announcement(topic)
			path := strings.Split(strings.Replace(strings.TrimPrefix(device, "g-"), "-", "/", 1), "/")
			own := !strings.HasPrefix(topic, "ha/device/")
			if !announces {
				path = strings.Split(topic, "/")[1:]
				path = path[:min(len(path)-1, 2)]
			}
			kind := slices.Index([]string{"", "", "state", "attributes", "items", "status", "availability", "commands"}, topic[strings.LastIndex(topic, "/")+1:])
			if kind < 0 {
				kind = 4
			}
			if len(path) == 1 && strings.HasSuffix(topic, "/state") {
				kind = 6
			}
			if announces {
				kind = 0
				if own != removal {
					kind = 1
				}
			}
			switch {
			case removal && announces:
				return fmt.Sprint("0 ", kind)
			case removal:
				return fmt.Sprint("1 ", kind)
			case path[0] == "bridge":
				path = nil
			}
			return fmt.Sprintf("2 %d %s %d", len(path), path, kind)
		},
	}
}

func components(c map[string]any) []byte {
	payload, err := json.Marshal(map[string]any{"components": c})
	if err != nil {
		panic(err)
	}
	return payload
}

// A set is a retained set with the announcements of devices.
type set struct {
	*retained
	component bool                // each component has its own topic
	topics    map[string][]string // by device
	all       []write
	commits   int
}

func newSet(t *testing.T, writes ...write) *set {
	t.Helper()
	s := &set{retained: newRetained(testRules(), 10*time.Second), topics: map[string][]string{}}
	for _, w := range writes {
		if topic, ok := strings.CutPrefix(w.key, publishedKey); ok && w.value != nil {
			s.published[topic] = w.value
		} else if topic, ok := strings.CutPrefix(w.key, removedKey); ok && w.value != nil {
			s.removed[topic] = w.value
		}
	}
	return s
}

// declare announces a device with its components: "x" or "platform.x". A datetime has its own topic.
func (s *set) declare(id string, keys ...string) {
	payloads, all := map[string][]byte{}, map[string]any{}
	for _, key := range keys {
		platform, name, ok := strings.Cut(key, ".")
		if !ok {
			platform, name = "sensor", key
		}
		if c := map[string]any{"platform": platform, "id": id + name}; s.component || platform == "datetime" {
			payloads["ha/"+platform+"/"+id+"/"+name+"/config"] = []byte(fmt.Sprint(c))
		} else {
			all[name] = c
		}
	}
	if len(all) > 0 {
		payloads["ha/device/"+id+"/config"] = components(all)
	}
	for _, topic := range s.topics[id] {
		if payloads[topic] == nil {
			s.retain(topic, nil)
		}
	}
	s.topics[id] = nil
	for topic, payload := range payloads {
		s.topics[id] = append(s.topics[id], topic)
		s.retain(topic, payload)
	}
}

// removeDevice removes a device and other topics of it.
func (s *set) removeDevice(id string, now time.Time, topics ...string) {
	s.remove(append(s.topics[id], topics...), now)
	delete(s.topics, id)
}

// stored returns what a Store would hold after writes.
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

// commit stores what is to be written.
func (s *set) commit() {
	if writes, n := s.takeWrites(); n > 0 {
		s.all = append(s.all, writes...)
		s.commits++
		s.onCommitted(n)
	}
}

// drain sends everything that is due at now, each message acknowledged at once.
func drain(s *set, now time.Time) []string {
	var sent []string
	for {
		p, _, _, ok := s.next(now, true)
		if !ok {
			if s.urgent {
				s.commit()
				continue
			}
			s.commit()
			return sent
		}
		sent = append(sent, describe(p))
		s.onAcked(p)
	}
}

// describe names a publication: its topic, and of an announcement the components, with the removed ones in brackets.
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

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestOrder(t *testing.T) {
	r := newSet(t)
	for _, topic := range []string{"g/a/s/availability", "g/a/s/attributes", "g/a/s/items", "g/a/s/state", "g/a/state", "g/a/status", "g/a/s/commands", "g/bridge/info", "g/a/b/state"} {
		r.retain(topic, []byte("1"))
	}
	r.declare("g-a-s", "x", "datetime.y")
	r.declare("g-a", "x")
	r.declare("g-bridge", "x")
	check(t, "before all is declared", drain(r, start))
	r.setReady(start)
	check(t, "start", drain(r, start),
		"ha/device/g-bridge/config x", "g/bridge/info 1",
		"ha/device/g-a/config x", "g/a/status 1", "g/a/state 1",
		"g/a/b/state 1",
		"ha/device/g-a-s/config x", "ha/datetime/g-a-s/y/config", "g/a/s/state 1", "g/a/s/attributes 1", "g/a/s/items 1", "g/a/s/availability 1", "g/a/s/commands 1",
	)
	check(t, "nothing has changed", drain(r, start))
	r.declare("g-a-s", "x", "datetime.y")
	r.declare("g-a", "x")
	r.retain("g/a/s/state", []byte("1"))
	check(t, "the same again", drain(r, start))

	now := start.Add(time.Minute)
	r.removeDevice("g-a", now, "g/a/b/state", "g/a/status", "g/a/state")
	check(t, "an account", drain(r, now), "ha/device/g-a/config empty")
	check(t, "later what is below it, but for its sensors'", drain(r, now.Add(10*time.Second)), "g/a/b/state empty", "g/a/status empty", "g/a/state empty")
	r.removeDevice("g-a-s", now, "g/a/s/availability", "g/a/s/commands", "g/a/s/state", "g/a/s/attributes", "g/a/s/items")
	check(t, "a sensor: its own topics first", drain(r, now), "ha/datetime/g-a-s/y/config empty", "ha/device/g-a-s/config empty")
	check(t, "then what is below it", drain(r, now.Add(10*time.Second)),
		"g/a/s/state empty", "g/a/s/attributes empty", "g/a/s/items empty", "g/a/s/availability empty", "g/a/s/commands empty")
	r.markAllPending(true)
	check(t, "what is removed stays so", drain(r, now), "ha/device/g-bridge/config x", "g/bridge/info 1")
}

func TestDiscoveryIsDebounced(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.declare("g-a-s", "x")
	check(t, "the first goes at once", drain(r, start), "ha/device/g-a-s/config x")
	r.declare("g-a-s", "x", "y")
	r.retain("g/a/s/state", []byte("1"))
	check(t, "a change waits, a state does not", drain(r, start.Add(time.Second)), "g/a/s/state 1")
	r.declare("g-a-s", "x", "y", "z")
	if _, due, _, _ := r.next(start.Add(time.Second), true); !due.Equal(start.Add(10 * time.Second)) {
		t.Errorf("due %v", due)
	}
	check(t, "just before", drain(r, start.Add(10*time.Second-1)))
	check(t, "the last of two changes", drain(r, start.Add(10*time.Second)), "ha/device/g-a-s/config x y z")
	r.markAllPending(true)
	check(t, "the same need not wait", drain(r, start.Add(11*time.Second)), "ha/device/g-a-s/config x y z", "g/a/s/state 1")
	r.declare("g-a-b", "x")
	check(t, "nor does another device", drain(r, start.Add(11*time.Second)), "ha/device/g-a-b/config x")
}

func TestComponentIsRemoved(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *set) *set{
		"while running": func(_ *testing.T, r *set) *set { return r },
		"over a restart": func(t *testing.T, r *set) *set {
			r = newSet(t, stored(r.all...)...)
			r.isReady = true
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSet(t)
			r.setReady(start)
			r.declare("g-a-s", "x", "gone", "switch.other")
			drain(r, start)

			r = change(t, r)
			now := start.Add(time.Minute)
			r.declare("g-a-s", "x", "sensor.other")
			check(t, "removal", drain(r, now), "ha/device/g-a-s/config (live) (gone sensor) (other switch) x")
			check(t, "too soon", drain(r, now.Add(9*time.Second)))
			check(t, "then without it", drain(r, now.Add(10*time.Second)), "ha/device/g-a-s/config other x")

			r = change(t, r)
			r.declare("g-a-s", "x", "sensor.other")
			drain(r, now)
			now = now.Add(time.Minute)
			r.onBirth(now)
			check(t, "birth", drain(r, now), "ha/device/g-a-s/config (live) gone other x")
			check(t, "10 s later", drain(r, now.Add(10*time.Second)), "ha/device/g-a-s/config (live) (gone sensor) (other switch) x")
			check(t, "20 s later", drain(r, now.Add(20*time.Second)), "ha/device/g-a-s/config other x")
			r.onBirth(now.Add(time.Minute))
			check(t, "the next birth", drain(r, now.Add(time.Minute)), "ha/device/g-a-s/config other x")
			if len(r.removed) != 0 {
				t.Errorf("still remembered: %v", r.removed)
			}
		})
	}
}

func TestComponentIsAnnouncedAgain(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.declare("g-a-s", "x", "y", "z")
	drain(r, start)
	r.declare("g-a-s", "x", "y")
	drain(r, start.Add(time.Minute))
	drain(r, start.Add(2*time.Minute))
	r.declare("g-a-s", "x")
	drain(r, start.Add(3*time.Minute))
	drain(r, start.Add(4*time.Minute))
	r.onBirth(start.Add(5 * time.Minute))
	check(t, "both removals", drain(r, start.Add(5*time.Minute)), "ha/device/g-a-s/config (live) x y z")
	r.declare("g-a-s", "x", "y", "z")
	check(t, "wanted again", drain(r, start.Add(6*time.Minute)), "ha/device/g-a-s/config x y z")
	r.onBirth(start.Add(7 * time.Minute))
	check(t, "nothing to remove", drain(r, start.Add(7*time.Minute)), "ha/device/g-a-s/config x y z")
}

func TestDeviceIsRemovedOverRestarts(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.declare("g-a-s", "x", "datetime.y")
	r.declare("g-a-b", "x")
	r.retain("g/a/s/state", []byte("1"))
	drain(r, start)

	r = newSet(t, stored(r.all...)...)
	r.declare("g-a-b", "x")
	r.setReady(start)
	check(t, "removal first", drain(r, start), "ha/datetime/g-a-s/y/config empty", "ha/device/g-a-s/config empty", "ha/device/g-a-b/config x")
	check(t, "then what is below it", drain(r, start.Add(10*time.Second)), "g/a/s/state empty")

	r = newSet(t, stored(append(stored(r.all...), write{publishedKey + "ha/device/g-a-b/config", r.published["ha/device/g-a-b/config"]})...)...)
	r.declare("g-a-b", "x")
	r.setReady(start)
	drain(r, start)
	now := start.Add(time.Minute)
	r.onBirth(now)
	check(t, "birth", drain(r, now), "ha/datetime/g-a-s/y/config (live)", "ha/device/g-a-s/config (live) x", "ha/device/g-a-b/config x")
	check(t, "removed again", drain(r, now.Add(10*time.Second)), "ha/datetime/g-a-s/y/config empty", "ha/device/g-a-s/config empty")
	if left := stored(r.all...); len(left) != 0 {
		t.Errorf("left in the store: %v", left)
	}
	r.onBirth(now.Add(time.Minute))
	check(t, "the next birth", drain(r, now.Add(time.Minute)), "ha/device/g-a-b/config x")
}

// A consumer that starts soon after a removal must not read the topics of the device while they are emptied: it would complain of an empty state.
func TestBirthSoonAfterARemoval(t *testing.T) {
	for _, after := range []time.Duration{3 * time.Second, 10 * time.Second} {
		r := newSet(t)
		r.setReady(start)
		r.declare("g-a-s", "x")
		r.retain("g/a/s/state", []byte("1"))
		drain(r, start)

		now := start.Add(time.Minute)
		r.remove([]string{"ha/device/g-a-s/config", "g/a/s/state"}, now)
		check(t, "removal", drain(r, now), "ha/device/g-a-s/config empty")
		now = now.Add(after)
		r.onBirth(now)
		check(t, "birth", drain(r, now), "g/a/s/state empty")
		check(t, "too soon", drain(r, now.Add(9*time.Second)))
		check(t, "announced", drain(r, now.Add(10*time.Second)), "ha/device/g-a-s/config (live) x")
		check(t, "removed again", drain(r, now.Add(20*time.Second)), "ha/device/g-a-s/config empty")
	}
}

// The same entities on other topics: Home Assistant must have removed the first before the second come.
func TestModeChanges(t *testing.T) {
	topics := map[bool]string{false: "ha/device/g-a-s/config", true: "ha/sensor/g-a-s/x/config"}
	for _, component := range []bool{false, true} {
		r := newSet(t)
		r.component = component
		r.setReady(start)
		r.declare("g-a-s", "x")
		r.retain("g/a/s/state", []byte("1"))
		drain(r, start)

		r = newSet(t, stored(r.all...)...)
		r.component = !component
		r.declare("g-a-s", "x")
		r.retain("g/a/s/state", []byte("1"))
		r.setReady(start)
		check(t, fmt.Sprint("component ", component), drain(r, start), topics[component]+" empty", "g/a/s/state 1")
		if got := drain(r, start.Add(10*time.Second)); len(got) != 1 || !strings.HasPrefix(got[0], topics[!component]) {
			t.Errorf("component %v: then %v", component, got)
		}
	}
}

func TestUnacknowledgedRemovalIsSentAgain(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.retain("g/a/request/x", nil)
	for range 2 {
		if p, _, _, ok := r.next(start, true); !ok || describe(p) != "g/a/request/x empty" {
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

// Removed announcements stay removed until they are wanted again; state topics stay.
func TestRemoveAll(t *testing.T) {
	r := newSet(t, write{publishedKey + "ha/device/g-old/config", []byte("1")})
	r.declare("g-a-s", "x")
	r.retain("g/a/status", []byte("1"))
	r.isReady = true
	drain(r, start)
	r.withhold()
	check(t, "all", drain(r, start.Add(time.Minute)), "ha/device/g-a-s/config empty", "ha/device/g-old/config empty")
	r.declare("g-a-s", "x", "y")
	r.declare("g-a-t", "x")
	r.markAllPending(true)
	check(t, "a change, and a new connection", drain(r, start.Add(2*time.Minute)), "g/a/status 1")
	r.onBirth(start.Add(3 * time.Minute))
	r.republish("ha/device/g-a-s/config")
	check(t, "a birth repeats the removal", drain(r, start.Add(3*time.Minute)), "ha/device/g-a-s/config (live) x", "ha/device/g-old/config (live)", "g/a/status 1")
	check(t, "and completes it", drain(r, start.Add(4*time.Minute)), "ha/device/g-a-s/config empty", "ha/device/g-old/config empty")
	if left := stored(r.all...); len(left) != 1 || left[0].key != publishedKey+"g/a/status" {
		t.Errorf("left in the store: %v", left)
	}
	r.withhold()
	check(t, "again", drain(r, start.Add(5*time.Minute)))
	r.sendAll()
	check(t, "published", drain(r, start.Add(6*time.Minute)), "g/a/status 1", "ha/device/g-a-s/config x y", "ha/device/g-a-t/config x")
}

func TestRemovalAfterChange(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.declare("g-a-s", "x")
	r.retain("g/a/s/state", []byte("1"))
	drain(r, start)
	r.removeDevice("g-a-s", start.Add(time.Second), "g/a/s/state")
	check(t, "too soon", drain(r, start.Add(9*time.Second)))
	check(t, "device", drain(r, start.Add(10*time.Second)), "ha/device/g-a-s/config empty")
	check(t, "below it", drain(r, start.Add(20*time.Second)), "g/a/s/state empty")
	r.removeDevice("g-a-s", start)
	r.retain("g/a/s/state", []byte("2"))
	check(t, "back again", drain(r, start.Add(20*time.Second)), "g/a/s/state 2")
}

func TestForeignAnnouncement(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.declare("g-a-s", "x")
	drain(r, start)
	const topic = "ha/device/g-a-s/config"
	now := start.Add(time.Minute)
	if r.onForeign(topic, r.entries[topic].want, now) || r.onForeign("ha/device/other/config", []byte("x"), now) {
		t.Error("our own message, or another client's topic, is repaired")
	}
	if !r.onForeign(topic, []byte("x"), now) || r.onForeign(topic, []byte("y"), now) {
		t.Error("want it repaired once")
	}
	check(t, "at once", drain(r, now))
	check(t, "after a pause", drain(r, now.Add(10*time.Second)), topic+" x")
}

// Nothing is published before its record is on disk: the record is committed first, in one transaction for everything that is due.
func TestCommitsAreBatched(t *testing.T) {
	r := newSet(t)
	for i := range 100 {
		r.declare(fmt.Sprintf("g-a-s%d", i), "x")
		r.retain(fmt.Sprintf("g/a/s%d/state", i), []byte("1"))
		r.retain(fmt.Sprintf("g/a/s%d/availability", i), []byte("online"))
	}
	r.setReady(start)
	if _, _, blocked, ok := r.next(start, true); ok || !blocked || !r.urgent {
		t.Error("something is sent before it is committed")
	}
	if got := drain(r, start); len(got) != 300 || r.commits != 1 {
		t.Errorf("%d messages and %d commits", len(got), r.commits)
	}
	r.retain("g/a/s1/state", []byte("2"))
	r.markAllPending(true)
	if got := drain(r, start); len(got) != 300 || r.commits != 1 {
		t.Errorf("again: %d messages and %d commits", len(got), r.commits)
	}
	// A known topic does not overtake a new one that comes before it.
	r.retain("g/a/s1/availability", []byte("offline"))
	r.declare("g-a-s1", "x", "y")
	check(t, "waits", nil)
	now := start.Add(time.Minute)
	if p, _, blocked, ok := r.next(now, true); ok || !blocked {
		t.Errorf("got %s", describe(p))
	}
	r.retain("g/a/s0/state", []byte("3"))
	if p, _, _, ok := r.next(now, true); !ok || p.topic != "g/a/s0/state" {
		t.Errorf("got %s", describe(p))
	}
	check(t, "in order", drain(r, now), "ha/device/g-a-s1/config x y", "g/a/s1/availability offline")
}

// A commit that is not the last leaves the order of what waits for a later one.
func TestNothingOvertakesWhatWaitsForALaterCommit(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.retain("g/a/d/state", []byte("1"))
	drain(r, start)
	waits := func(topic string) {
		t.Helper()
		r.retain(topic, []byte("2"))
		if p, _, blocked, ok := r.next(start, true); ok || !blocked {
			t.Errorf("got %s", describe(p))
		}
	}
	waits("g/a/a/state")
	_, first := r.takeWrites()
	waits("g/a/x/state")
	waits("g/a/c/state")
	r.onCommitted(first)
	if p, _, _, ok := r.next(start, true); !ok || p.topic != "g/a/a/state" {
		t.Errorf("got %s", describe(p))
	}
	waits("g/a/d/state")
	check(t, "in order", drain(r, start), "g/a/c/state 2", "g/a/d/state 2", "g/a/x/state 2")
}

// fill sends everything of accounts with five sensors each.
func (s *set) fill(accounts int) {
	for a := range accounts {
		for n := range 5 {
			s.declare(fmt.Sprintf("g-a%d-s%d", a, n), "x")
			for _, name := range []string{"state", "attributes", "availability", "status"} {
				s.retain(fmt.Sprintf("g/a%d/s%d/%s", a, n, name), []byte("1"))
			}
		}
	}
	s.setReady(start)
	drain(s, start)
}

// countComparisons counts the comparisons of entries from now on.
func (s *set) countComparisons() *uint64 {
	count := new(uint64)
	for _, in := range []*schedule{&s.ready, &s.timed} {
		before := in.before
		in.before = func(a, b *entry) bool { *count++; return before(a, b) }
	}
	return count
}

// A reconnect, or a birth, costs n log n.
func TestReconnectIsLinear(t *testing.T) {
	comparisons := func(accounts int) uint64 {
		r := newSet(t)
		r.fill(accounts)
		count := r.countComparisons()
		r.markAllPending(true)
		r.onBirth(start)
		if got := drain(r, start); len(got) != accounts*25 {
			t.Errorf("%d messages", len(got))
		}
		return *count
	}
	hundred, threeHundred := comparisons(100), comparisons(300)
	ratio := float64(threeHundred) / float64(hundred)
	t.Logf("%d comparisons with 100 accounts, %d with 300: %.2f times", hundred, threeHundred, ratio)
	if ratio > 3.5 {
		t.Errorf("%.2f times as many comparisons with 300 accounts as with 100", ratio)
	}
}

func BenchmarkReconnect(b *testing.B) {
	for _, accounts := range []int{100, 300} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			r := newRetained(testRules(), time.Second)
			s := &set{retained: r, topics: map[string][]string{}}
			s.fill(accounts)
			count := s.countComparisons()
			b.ReportAllocs()
			for b.Loop() {
				s.markAllPending(true)
				drain(s, start)
			}
			b.ReportMetric(float64(*count)/float64(b.N), "comparisons/op")
		})
	}
}

// A message that the broker does not accept is found by sending it alone, and left out; the others are sent.
func TestRefusedPublication(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.retain("g/a/s/a", []byte("1"))
	r.retain("g/a/s/b", []byte("too long"))
	drain(r, start)
	lose := func(alone bool) (refused []string) {
		r.markAllPending(true)
		for {
			p, _, blocked, ok := r.next(start, alone)
			if !ok {
				if blocked {
					refused = append(refused, "blocked")
				}
				return refused
			}
			if alone && p.topic != "g/a/s/b" {
				r.onAcked(p)
				continue
			}
			if r.onLost(p, alone) {
				refused = append(refused, p.topic)
			}
		}
	}
	check(t, "first", lose(false))
	check(t, "second", lose(false))
	check(t, "suspects wait until they can be sent alone", lose(false), "blocked")
	check(t, "alone", lose(true), "g/a/s/b")
	check(t, "left out", lose(true))
	r.retain("g/a/s/b", []byte("also too long"))
	check(t, "longer", lose(true))
	r.retain("g/a/s/b", []byte("short"))
	if p, _, _, ok := r.next(start, true); !ok || string(p.payload) != "short" || !p.suspect {
		t.Errorf("got %s, %v", describe(p), ok)
	}
}

// A topic is forgotten when the broker has taken its removal, not an earlier removal of it.
func TestRemovalIsNotTakenForAnEarlierOne(t *testing.T) {
	const topic = "g/a/s/state"
	r := newSet(t)
	r.setReady(start)
	r.retain(topic, []byte("1"))
	drain(r, start)
	var sent []publication
	for _, payload := range []string{"", "2", ""} {
		r.retain(topic, []byte(payload))
		for p, _, _, ok := r.next(start, false); ok; p, _, _, ok = r.next(start, false) {
			sent = append(sent, p)
		}
		r.commit()
		for p, _, _, ok := r.next(start, false); ok; p, _, _, ok = r.next(start, false) {
			sent = append(sent, p)
		}
	}
	if len(sent) != 3 {
		t.Fatalf("%d publications", len(sent))
	}
	for i, p := range sent {
		r.onAcked(p)
		if _, known := r.published[topic]; known != (i < 2) {
			t.Errorf("after the acknowledgement of publication %d the topic is known: %t", i+1, known)
		}
	}
}

// A topic that precedes a suspect and changes all the time does not keep it from being sent alone.
func TestSuspectIsFirst(t *testing.T) {
	r := newSet(t)
	r.setReady(start)
	r.retain("g/a/s/a", []byte("0"))
	r.retain("g/a/s/b", []byte("too long"))
	drain(r, start)
	for range suspectAfter {
		r.onLost(publication{topic: "g/a/s/b", payload: []byte("too long"), retained: true}, false)
	}
	r.markAllPending(true)
	r.retain("g/a/s/a", []byte("1"))
	if !r.suspectIsNext(start) {
		t.Error("the suspect is not next")
	}
	if p, _, blocked, ok := r.next(start, false); ok || !blocked {
		t.Errorf("%s does not wait", describe(p))
	}
	p, _, _, ok := r.next(start, true)
	if !ok || p.topic != "g/a/s/b" || !p.suspect {
		t.Fatalf("got %s, %v", describe(p), ok)
	}
	r.onAcked(p)
	if p, _, _, ok := r.next(start, false); !ok || string(p.payload) != "1" {
		t.Errorf("got %s, %v", describe(p), ok)
	}
}

// A payload that is too large for the broker does not leave the one before it there, which would look current.
func TestRefusedPublicationEmptiesItsTopic(t *testing.T) {
	large, larger := bytes.Repeat([]byte("x"), 2000), bytes.Repeat([]byte("x"), 3000)
	r := newSet(t)
	r.setReady(start)
	const items = "g/a/s/items"
	r.retain(items, []byte("small"))
	drain(r, start)
	// send returns what is sent of the topic; the broker loses the connection to all that is larger than 1000 bytes.
	send := func() (sent []string) {
		for {
			p, _, _, ok := r.next(start, true)
			switch {
			case !ok:
				return sent
			case len(p.payload) > 1000:
				sent = append(sent, "lost")
				r.onLost(p, true)
				if !r.entries[items].pending {
					r.republish(items) // as a reconnect does
				}
			default:
				sent = append(sent, describe(p))
				r.onAcked(p)
			}
		}
	}
	r.retain(items, large)
	var lost []string
	for range refusedAfter {
		lost = append(lost, "lost")
	}
	check(t, "found to be too large", send(), append(lost, describe(publication{topic: items, retained: true}))...)
	r.retain(items, larger)
	check(t, "still empty", send())
	small := describe(publication{topic: items, payload: []byte("small"), retained: true})
	r.retain(items, []byte("small"))
	check(t, "small again", send(), small)
	r.retain(items, larger)
	check(t, "known to be too large", send(), describe(publication{topic: items, retained: true}))
}

// What an earlier run published stays where it is to be kept, at every broker, until it is not.
func TestKeptTopics(t *testing.T) {
	const mine, others, state = "ha/device/mine/config", "ha/device/others/config", "base/mine/state"
	s := newSet(t, write{publishedKey + mine, []byte("mine")}, write{publishedKey + others, []byte("others")}, write{publishedKey + state, []byte("1")})
	kept := true
	s.keep = func(topic string, payload []byte) bool { return kept && (topic == state || string(payload) == "mine") }
	removed := func() []string {
		var topics []string
		for topic, e := range s.entries {
			if e.pending && len(e.want) == 0 {
				topics = append(topics, topic)
			}
		}
		slices.Sort(topics)
		return topics
	}
	now := time.Now()
	s.enter(1, []int{1})
	s.setReady(now)
	s.enter(2, []int{1, 2})
	if diff := cmp.Diff([]string{others}, removed()); diff != "" {
		t.Errorf("while it is kept: %s", diff)
	}
	kept = false
	s.setReady(now)
	if diff := cmp.Diff([]string{state, mine, others}, removed()); diff != "" {
		t.Errorf("afterwards: %s", diff)
	}
}
