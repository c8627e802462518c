package mqtt

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// retained is the set of messages that the broker should hold, and what is still to be done for it. It knows no broker and
// no clock.
type retained struct {
	topics    Topics
	discovery Discovery
	version   string
	pause     time.Duration // between different discovery messages of one topic

	isReady   bool
	devices   map[string]Device   // declared, by id
	entries   map[string]*entry   // by topic
	published map[string][]byte   // what the broker may hold of ours; of topics other than discovery only that it does
	removed   map[string][]byte   // discovery messages whose removal is repeated at the next birth
	owned     map[string][]string // discovery topics by device id
	writes    []write             // what is to be put into the Store before anything else is sent
}

// A write is a change of the Store; a nil value deletes.
type write struct {
	key   string
	value []byte
}

func (r *retained) write(key string, value []byte) { r.writes = append(r.writes, write{key, value}) }

// An entry is one topic and what it should hold.
type entry struct {
	want         []byte   // empty: nothing
	preludes     [][]byte // what is sent first, not retained: Home Assistant forgets only what it is told to forget
	pending      bool     // want is still to be sent
	acknowledged bool     // the broker has taken want
	repeat       bool     // with want the repeated removal is done
	due          time.Time
	last         []byte // sent last
	at           time.Time
	order        string
}

// A publication is what to send now.
type publication struct {
	topic    string
	payload  []byte
	retained bool
}

func newRetained(o Options) *retained {
	return &retained{
		topics: Topics(o.Base), discovery: o.Discovery, version: o.Version, pause: o.Timing.Pause,
		devices: map[string]Device{}, entries: map[string]*entry{}, published: map[string][]byte{}, removed: map[string][]byte{}, owned: map[string][]string{},
	}
}

// retain sets what topic should hold. It reports whether there is anything to do.
func (r *retained) retain(topic string, payload []byte) bool {
	e := r.entries[topic]
	if e == nil {
		e = &entry{}
		r.entries[topic] = e
	} else if bytes.Equal(e.want, payload) {
		return false
	}
	e.want, e.pending, e.preludes = payload, true, nil
	if len(payload) > 0 && !r.isDiscovery(topic) {
		e.due = time.Time{}
	}
	e.order = r.sortKey(topic, len(payload) == 0)
	e.acknowledged, e.repeat = false, false
	if !r.isDiscovery(topic) {
		return true
	}
	if _, removing := diffComponents(r.published[topic], payload); removing != nil {
		e.preludes = [][]byte{removing}
	}
	r.trackRemoval(topic, payload)
	return true
}

// trackRemoval keeps what payload takes away from Home Assistant, together with what was taken away before, until a birth has
// seen it removed.
func (r *retained) trackRemoval(topic string, payload []byte) {
	was, earlier := r.published[topic], r.removed[topic]
	if len(was) == 0 {
		was = earlier
	} else if both, _ := diffComponents(earlier, was); both != nil {
		was = both
	}
	if len(payload) > 0 {
		was, _ = diffComponents(was, payload)
	}
	switch {
	case bytes.Equal(was, earlier):
	case len(was) == 0:
		delete(r.removed, topic)
		r.write(removedKey+topic, nil)
	default:
		r.removed[topic] = was
		r.write(removedKey+topic, was)
	}
}

// setDevice sets the discovery messages of a device.
func (r *retained) setDevice(d Device) bool {
	r.devices[d.ID] = d
	var payloads map[string][]byte
	if r.discovery.Enabled {
		payloads = r.discovery.Payloads(d, r.version)
	}
	changed := false
	for _, topic := range r.owned[d.ID] {
		if _, stays := payloads[topic]; !stays {
			changed = r.retain(topic, nil) || changed
		}
	}
	r.owned[d.ID] = nil
	for topic, payload := range payloads {
		r.owned[d.ID] = append(r.owned[d.ID], topic)
		changed = r.retain(topic, payload) || changed
	}
	return changed
}

// remove empties a device's topics: those of discovery, and then all below its own that belong to no other device.
func (r *retained) remove(id string, now time.Time) bool {
	d, ok := r.devices[id]
	if !ok {
		return false
	}
	for _, topic := range r.owned[id] {
		r.retain(topic, nil)
		if due := r.due(topic, r.entries[topic]); due.After(now) {
			now = due
		}
	}
	delete(r.devices, id)
	delete(r.owned, id)
	for topic, e := range r.entries {
		if len(e.want) > 0 && strings.HasPrefix(topic, d.Topic+"/") && !r.belongsBelow(d, topic) {
			r.empty(topic, now)
		}
	}
	return true
}

// empty removes a topic that is none of discovery: Home Assistant, where it still reads it, would complain of an empty
// state.
func (r *retained) empty(topic string, now time.Time) {
	r.retain(topic, nil)
	if r.discovery.Enabled {
		r.entries[topic].due = now.Add(r.pause)
	}
}

// belongsBelow reports whether a topic below d's is that of a device further down: a sensor's below its account's.
func (r *retained) belongsBelow(d Device, topic string) bool {
	for _, other := range r.devices {
		if len(other.Topic) > len(d.Topic) && strings.HasPrefix(topic, other.Topic+"/") {
			return true
		}
	}
	return false
}

// ready removes what an earlier run published and nobody wants now.
func (r *retained) ready(now time.Time) {
	r.isReady = true
	for topic := range r.published {
		if _, wanted := r.entries[topic]; wanted {
			continue
		}
		p, ok := r.discovery.parseTopic(topic)
		if !ok {
			r.empty(topic, now)
			continue
		}
		r.retain(topic, nil)
		// Where the mode has changed, the same entities come back by other topics. Home Assistant must have forgotten them
		// before: it would refuse the second with the same unique id.
		if p.platform == "device" || !ownTopic(p.platform) {
			for _, again := range r.owned[p.device] {
				r.entries[again].due = now.Add(r.pause)
			}
		}
	}
}

// removeAll removes everything that was ever published.
func (r *retained) removeAll(now time.Time) {
	for id := range r.devices {
		r.remove(id, now)
	}
	for topic := range r.entries {
		r.retain(topic, nil)
	}
	for topic := range r.published {
		r.retain(topic, nil)
	}
}

// republish has one topic sent again.
func (r *retained) republish(topic string) bool {
	e := r.entries[topic]
	if e != nil {
		e.pending = true
	}
	return e != nil
}

// markAllPending has everything sent again; without discovery only what lies below the base topic.
func (r *retained) markAllPending(discovery bool) {
	for topic, e := range r.entries {
		if (len(e.want) > 0 || !e.acknowledged) && (discovery || !r.isDiscovery(topic)) {
			e.pending = true
		}
	}
}

// onBirth has everything sent again to a Home Assistant that has just started, and the removals repeated that it may have
// missed: it forgets only what it knows.
func (r *retained) onBirth() {
	r.markAllPending(true)
	for topic, was := range r.removed {
		e := r.entries[topic]
		if e == nil {
			e = &entry{order: r.sortKey(topic, true)}
			r.entries[topic] = e
		}
		e.pending, e.repeat = true, true
		if announced, removing := diffComponents(was, e.want); announced != nil {
			e.preludes = [][]byte{announced, removing}
		} else {
			e.preludes = [][]byte{was}
		}
	}
}

// next is what to send at now. Where there is nothing, due is when there will be; it is zero where nothing is left.
func (r *retained) next(now time.Time) (p publication, due time.Time, ok bool) {
	if !r.isReady {
		return p, due, false
	}
	var best *entry
	for topic, e := range r.entries {
		if !e.pending {
			continue
		}
		if at := r.due(topic, e); at.After(now) {
			if due.IsZero() || at.Before(due) {
				due = at
			}
			continue
		}
		if best == nil || e.order < best.order {
			best, p.topic = e, topic
		}
	}
	if best == nil {
		return p, due, false
	}
	p.payload, p.retained = best.nextPayload()
	if p.retained {
		best.pending = false
	} else {
		best.preludes = best.preludes[1:]
	}
	best.last, best.at = p.payload, now
	if value := r.ledgerValue(p); value != nil && !bytes.Equal(value, r.published[p.topic]) {
		r.published[p.topic] = value
		r.write(publishedKey+p.topic, value)
	}
	return p, time.Time{}, true
}

// nextPayload is what the entry sends next.
func (e *entry) nextPayload() (payload []byte, last bool) {
	if len(e.preludes) > 0 {
		return e.preludes[0], false
	}
	return e.want, true
}

// due is when an entry's next message may go. A different discovery message must not come before Home Assistant is done
// with the one before: it would lose components.
func (r *retained) due(topic string, e *entry) time.Time {
	payload, _ := e.nextPayload()
	if e.at.IsZero() || !r.isDiscovery(topic) || bytes.Equal(payload, e.last) {
		return e.due
	}
	if at := e.at.Add(r.pause); at.After(e.due) {
		return at
	}
	return e.due
}

// ledgerValue is what is remembered of a publication: a discovery message is needed for removing what is in it, of others
// the topic will do.
func (r *retained) ledgerValue(p publication) []byte {
	switch {
	case !p.retained || len(p.payload) == 0:
		return nil
	case r.isDiscovery(p.topic):
		return p.payload
	}
	return []byte("1")
}

// onAcked is told what the broker has taken.
func (r *retained) onAcked(p publication) {
	e := r.entries[p.topic]
	if !p.retained || e == nil || e.pending || !bytes.Equal(e.want, p.payload) {
		return
	}
	e.acknowledged = true
	if e.repeat {
		e.repeat = false
		delete(r.removed, p.topic)
		r.write(removedKey+p.topic, nil)
	}
	if len(p.payload) > 0 {
		return
	}
	if _, known := r.published[p.topic]; known {
		delete(r.published, p.topic)
		r.write(publishedKey+p.topic, nil)
	}
	// A discovery message that comes back soon must still wait.
	if !r.isDiscovery(p.topic) {
		delete(r.entries, p.topic)
	}
}

// waiting counts what is still to be sent.
func (r *retained) waiting() int {
	n := 0
	for _, e := range r.entries {
		if e.pending {
			n++
		}
	}
	return n
}

func (r *retained) isDiscovery(topic string) bool {
	_, ok := r.discovery.parseTopic(topic)
	return ok
}

// sortKey is where a topic stands: removals first; then the bridge, the accounts, the sensors, and of each its discovery, its
// state, its attributes, the rest, and its availability last: what is days old must not come alive before it is renewed.
// Removals begin with entities that have a topic of their own: after their device Home Assistant would warn of a
// conflicting message.
func (r *retained) sortKey(topic string, removal bool) string {
	group, name := "", ""
	kind := 0
	if p, ok := r.discovery.parseTopic(topic); ok {
		if d, ok := r.devices[p.device]; ok {
			group, _ = strings.CutPrefix(d.Topic, string(r.topics)+"/")
		}
		if (p.platform == "device") == removal {
			kind = 1
		}
		name = topic
	} else {
		rest, _ := strings.CutPrefix(topic, string(r.topics)+"/")
		levels := strings.Split(rest, "/")
		depth := min(len(levels)-1, 2)
		group, name = strings.Join(levels[:depth], "/"), strings.Join(levels[depth:], "/")
		kind = 4
		if i := slices.Index([]string{"state", "attributes"}, name); i >= 0 {
			kind = 2 + i
		}
		if name == "commands" || name == "availability" || depth == 1 && name == "state" {
			kind = 5
		}
	}
	class := 3
	switch {
	case removal:
		class = 0
		// All discovery goes before what lies below it.
		if kind > 1 {
			class = 1
		}
		group = ""
	case group == bridgeName:
		class = 2
	default:
		class += strings.Count(group, "/")
	}
	return fmt.Sprintf("%d %s %d %s", class, group, kind, name)
}
