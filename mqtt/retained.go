package mqtt

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"sort"
	"strings"
	"time"
)

// Rules describe how the consumer of the client's announcements treats topics. An announcement describes entities to the consumer: it
// is a discovery message of Home Assistant. The zero Rules know no announcements.
type Rules struct {
	// StatusTopic is the topic to which the consumer publishes "online" when it has started; everything is then sent again. Empty: none.
	StatusTopic string
	// Watch lists filters that match every announcement; one that another client overwrites is sent again.
	Watch []string
	// Announcement returns the device that an announcement's topic belongs to. It reports false for any other topic.
	Announcement func(topic string) (device string, ok bool)
	// Diff returns what has to precede next, the announcement that follows old on one topic, because the consumer keeps components
	// until they are removed: removing is next with the removal of those that next lacks, announced is next with those
	// components as old had them. Both are nil if next lacks none.
	Diff func(old, next []byte) (announced, removing []byte)
	// Order returns the key by which pending topics are sent, lowest first. Removal says that the topic is to be emptied.
	Order func(topic string, removal bool) string
}

// retained is the set of messages that the broker should hold, and what of it is still to be sent. It knows neither connection nor
// clock. Sending n topics costs n log n.
type retained struct {
	rules Rules
	pause time.Duration // between different payloads of one announcement

	keep func(topic string, payload []byte) bool // nil: see Options

	isReady   bool
	withheld  bool              // announcements are removed until sendAll
	entries   map[string]*entry // by topic
	published map[string][]byte // what the broker may hold of ours: the payload of announcements, of others only that it does
	removed   map[string][]byte // announcements whose removal is repeated at the next birth

	session  int                     // of the broker that is connected to
	sessions []int                   // of all brokers that may hold something of ours
	emptied  map[string]map[int]bool // the sessions at which a published topic was emptied, while others may hold it

	ready    schedule // pending entries that may be sent, suspects first, then by order
	timed    schedule // pending entries that must wait, by time
	awaiting []*entry // pending entries that wait for a commit of writes, by order
	writes   []write  // to be committed
	urgent   bool     // an entry waits for the writes
	issued   uint64   // commits
	sent     uint64   // publications
}

// A write is a change of the Store; a nil value deletes.
type write struct {
	key   string
	value []byte
}

func (r *retained) write(key string, value []byte) { r.writes = append(r.writes, write{key, value}) }

// An entry is one topic and what it should hold.
type entry struct {
	topic        string
	announcement bool
	device       string // of an announcement
	set          []byte // what the topic was set to
	want         []byte // what it should hold now: set, or nothing while announcements are withheld

	preludes     [][]byte // sent first, not retained: the consumer keeps components until they are removed explicitly
	pending      bool     // want is still to be sent
	acknowledged bool     // the broker has taken want
	repeat       bool     // want completes a repeated removal
	notBefore    time.Time
	last         []byte    // sent last
	sentAt       time.Time // zero: nothing was sent
	number       uint64    // of the publication that was sent last
	previous     []byte    // sent before last
	sentBefore   bool      // there was a previous one
	order        string

	losses  int  // connections that were lost while the entry was in flight
	refused int  // size of the smallest payload that the broker did not take; 0: none
	emptied bool // the topic was emptied in place of what the broker does not take

	due    time.Time
	in     *schedule // nil: not scheduled
	index  int       // in the schedule
	commit uint64    // the commit to wait for; 0: none of its own
	waits  bool      // it is in awaiting
}

// A schedule is a heap of entries.
type schedule struct {
	entries []*entry
	before  func(a, b *entry) bool
}

func (s *schedule) Len() int           { return len(s.entries) }
func (s *schedule) Less(i, j int) bool { return s.before(s.entries[i], s.entries[j]) }
func (s *schedule) Swap(i, j int) {
	s.entries[i], s.entries[j] = s.entries[j], s.entries[i]
	s.entries[i].index, s.entries[j].index = i, j
}
func (s *schedule) Push(x any) {
	e := x.(*entry)
	e.in, e.index = s, len(s.entries)
	s.entries = append(s.entries, e)
}
func (s *schedule) Pop() any {
	last := len(s.entries) - 1
	e := s.entries[last]
	s.entries[last] = nil
	s.entries = s.entries[:last]
	e.in = nil
	return e
}

// A publication is a message to be sent now.
type publication struct {
	topic    string
	payload  []byte
	retained bool
	suspect  bool   // connections were lost while it was in flight: it is sent alone
	number   uint64 // of those of all entries
}

func newRetained(rules Rules, pause time.Duration) *retained {
	if rules.Announcement == nil {
		rules.Announcement = func(string) (string, bool) { return "", false }
	}
	if rules.Diff == nil {
		rules.Diff = func(_, _ []byte) (announced, removing []byte) { return nil, nil }
	}
	if rules.Order == nil {
		rules.Order = func(topic string, _ bool) string { return topic }
	}
	r := &retained{
		rules: rules, pause: pause,
		entries: map[string]*entry{}, published: map[string][]byte{}, removed: map[string][]byte{}, emptied: map[string]map[int]bool{},
	}
	r.ready.before = func(a, b *entry) bool {
		// Suspects come first: behind a topic that changes all the time one might never be sent.
		if a.isSuspect() != b.isSuspect() {
			return a.isSuspect()
		}
		return cmp.Or(strings.Compare(a.order, b.order), strings.Compare(a.topic, b.topic)) < 0
	}
	r.timed.before = func(a, b *entry) bool { return a.due.Before(b.due) }
	return r
}

// entry returns the entry of a topic and adds one if there is none.
func (r *retained) entry(topic string) *entry {
	e := r.entries[topic]
	if e == nil {
		e = &entry{topic: topic}
		e.device, e.announcement = r.rules.Announcement(topic)
		e.order = r.rules.Order(topic, true)
		r.entries[topic] = e
	}
	return e
}

// enter begins a connection to the broker of a session. What was emptied at other brokers only is emptied here.
func (r *retained) enter(session int, sessions []int) {
	r.session, r.sessions = session, sessions
	if !r.isReady {
		return
	}
	for topic := range r.published {
		if r.entries[topic] == nil && r.keeps(topic) {
			continue
		}
		if e := r.entry(topic); len(e.want) == 0 && !r.emptied[topic][session] {
			r.apply(e, nil)
		}
	}
}

// isEmptied records that a topic was emptied at the connected broker and reports whether no other one holds it.
func (r *retained) isEmptied(topic string) bool {
	done := r.emptied[topic]
	if done == nil {
		done = map[int]bool{}
		r.emptied[topic] = done
	}
	done[r.session] = true
	for _, session := range r.sessions {
		if !done[session] {
			return false
		}
	}
	delete(r.emptied, topic)
	return true
}

// retain sets what topic should hold. It reports whether there is anything to do.
func (r *retained) retain(topic string, payload []byte) bool {
	e, known := r.entries[topic]
	if !known {
		e = r.entry(topic)
	} else if bytes.Equal(e.set, payload) {
		return false
	}
	e.set = payload
	if e.announcement && r.withheld {
		payload = nil
	}
	if _, holds := r.published[topic]; len(payload) == 0 && len(e.set) > 0 && !known && !holds {
		e.acknowledged = true // withheld, and the broker does not have it
		return false
	}
	if known && bytes.Equal(e.want, payload) {
		return false
	}
	r.apply(e, payload)
	return true
}

// apply has the broker hold payload at e's topic.
func (r *retained) apply(e *entry, payload []byte) {
	if removal := len(payload) == 0; removal != (len(e.want) == 0) || e.want == nil {
		e.order = r.rules.Order(e.topic, removal)
	}
	if len(payload) > 0 {
		delete(r.emptied, e.topic)
	}
	e.want, e.pending, e.preludes = payload, true, nil
	e.acknowledged, e.repeat, e.losses = false, false, 0
	if e.refused > 0 {
		e.losses = suspectAfter // one more connection is enough to know
	}
	switch {
	case e.announcement:
		if _, removing := r.diff(r.published[e.topic], payload); removing != nil {
			e.preludes = [][]byte{removing}
		}
		r.trackRemoval(e.topic, payload)
	case len(payload) > 0:
		e.notBefore = time.Time{}
	}
	r.schedule(e)
}

// trackRemoval remembers what payload removes from the consumer, together with what was removed before, until a birth has seen it
// removed.
func (r *retained) trackRemoval(topic string, payload []byte) {
	was, earlier := r.published[topic], r.removed[topic]
	if len(was) == 0 {
		was = earlier
	} else if both, _ := r.diff(earlier, was); both != nil {
		was = both
	}
	if len(payload) > 0 {
		was, _ = r.diff(was, payload)
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

// diff is Rules.Diff of two announcements; an empty one has nothing to compare.
func (r *retained) diff(old, next []byte) (announced, removing []byte) {
	if len(old) == 0 || len(next) == 0 {
		return nil, nil
	}
	return r.rules.Diff(old, next)
}

// remove empties topics: the announcements first, the others after a pause, since a consumer that still reads them would complain of an
// empty state.
func (r *retained) remove(topics []string, now time.Time) {
	announced, removedAt := false, now
	for _, topic := range topics {
		if e := r.entries[topic]; e != nil && e.announcement {
			announced = true
			r.retain(topic, nil)
			if due := r.dueOf(e); due.After(removedAt) {
				removedAt = due
			}
		}
	}
	for _, topic := range topics {
		if e := r.entries[topic]; e != nil && !e.announcement && len(e.set) > 0 {
			r.retain(topic, nil)
			if announced {
				e.notBefore = removedAt.Add(r.pause)
				r.schedule(e)
			}
		}
	}
}

// keeps reports whether what an earlier run published on a topic stays although this one did not set it.
func (r *retained) keeps(topic string) bool {
	return r.keep != nil && r.keep(topic, r.published[topic])
}

// setReady removes what an earlier run published and this one did not set, unless it is to be kept.
func (r *retained) setReady(now time.Time) {
	r.isReady = true
	fresh := map[string][]*entry{} // announcements that the broker does not hold yet, by device
	for _, e := range r.entries {
		if _, known := r.published[e.topic]; e.announcement && !known && len(e.want) > 0 {
			fresh[e.device] = append(fresh[e.device], e)
		}
	}
	announced := false
	for topic := range r.published {
		if _, ok := r.rules.Announcement(topic); ok {
			announced = true
			break
		}
	}
	for topic := range r.published {
		if e := r.entries[topic]; e != nil && (len(e.set) > 0 || e.pending) || r.keeps(topic) {
			continue
		}
		e := r.entry(topic)
		e.set = nil
		r.apply(e, nil)
		if !e.announcement {
			if announced {
				e.notBefore = now.Add(r.pause)
				r.schedule(e)
			}
			continue
		}
		// The same entities may be announced again on other topics. The consumer must have removed them before: it would refuse a second
		// entity with the same unique id.
		for _, other := range fresh[e.device] {
			other.notBefore = now.Add(r.pause)
			r.schedule(other)
		}
	}
}

// withhold removes every announcement, also those of earlier runs, until sendAll.
func (r *retained) withhold() {
	r.withheld = true
	for topic := range r.published {
		r.entry(topic)
	}
	for _, e := range r.entries {
		if _, known := r.published[e.topic]; e.announcement && (known || len(e.want) > 0) {
			r.apply(e, nil)
		}
	}
}

// sendAll has everything sent again, announcements that were withheld included.
func (r *retained) sendAll() {
	if r.withheld {
		r.withheld = false
		for _, e := range r.entries {
			if e.announcement && len(e.set) > 0 {
				r.apply(e, e.set)
			}
		}
	}
	r.retryRefused()
	r.markAllPending(true)
}

// retryRefused forgets what the broker did not take. It is sent with everything else.
func (r *retained) retryRefused() {
	for _, e := range r.entries {
		e.refused = 0
	}
}

// republish has one topic sent again.
func (r *retained) republish(topic string) bool {
	e := r.entries[topic]
	if e == nil || e.announcement && r.withheld {
		return false
	}
	e.pending = true
	r.schedule(e)
	return true
}

// markAllPending has everything sent again, with or without the announcements.
func (r *retained) markAllPending(announcements bool) {
	for _, e := range r.entries {
		if (len(e.want) > 0 || !e.acknowledged) && (announcements || !e.announcement) {
			e.pending = true
			r.schedule(e)
		}
	}
}

// onBirth has everything sent again to a consumer that has just started, and the removals repeated that it may have missed: it removes
// only components that it has seen announced.
func (r *retained) onBirth(now time.Time) {
	r.markAllPending(true)
	// It does not read the topics of removed devices. They are emptied before it sees those devices announced.
	emptying := false
	for _, e := range r.entries {
		if !e.announcement && e.pending && len(e.want) == 0 {
			e.notBefore, emptying = time.Time{}, true
			r.schedule(e)
		}
	}
	for topic, was := range r.removed {
		e := r.entry(topic)
		e.pending, e.repeat = true, true
		if emptying {
			e.notBefore = now.Add(r.pause)
		}
		if announced, removing := r.diff(was, e.want); announced != nil {
			e.preludes = [][]byte{announced, removing}
		} else {
			e.preludes = [][]byte{was}
		}
		r.schedule(e)
	}
}

// onForeign compares a message that arrived on an announcement's topic with what the topic should hold, and has that sent again if
// another client has overwritten it, which it reports.
func (r *retained) onForeign(topic string, payload []byte, now time.Time) bool {
	e := r.entries[topic]
	if e == nil || !e.announcement || e.pending || !e.acknowledged || bytes.Equal(payload, e.want) ||
		e.sentBefore && bytes.Equal(payload, e.previous) { // an echo of our own message may be late
		return false
	}
	e.pending = true
	e.notBefore = now.Add(r.pause) // two programs that overwrite each other must not do it all the time
	r.schedule(e)
	return true
}

// schedule puts an entry where it belongs: among those that may be sent, or among those that wait for a time.
func (r *retained) schedule(e *entry) {
	if e.in != nil {
		heap.Remove(e.in, e.index)
	}
	if !e.pending || e.waits {
		return
	}
	if e.due = r.dueOf(e); e.due.IsZero() {
		heap.Push(&r.ready, e)
	} else {
		heap.Push(&r.timed, e)
	}
}

// next returns what to send at now. If there is nothing, due is the time at which there will be; it is zero if nothing waits for a
// time. A suspect is sent only where alone is true, and what follows it waits: then, and while the Store has to be written first,
// blocked is true.
func (r *retained) next(now time.Time, alone bool) (p publication, due time.Time, blocked, ok bool) {
	if !r.isReady {
		return p, due, false, false
	}
	r.release(now)
	if len(r.timed.entries) > 0 {
		due = r.timed.entries[0].due
	}
	for len(r.ready.entries) > 0 {
		e := r.ready.entries[0]
		if e.refused > 0 && len(e.want) >= e.refused {
			heap.Pop(&r.ready)
			e.pending = false
			if !e.isStale() {
				continue
			}
			e.emptied, e.sentAt = true, now
			return r.numbered(e, publication{topic: e.topic, retained: true}), time.Time{}, false, true
		}
		if e.isSuspect() && !alone {
			return p, due, true, false
		}
		heap.Pop(&r.ready)
		p = publication{topic: e.topic, suspect: e.isSuspect()}
		p.payload, p.retained = e.nextPayload()
		if value := r.publishedValue(e, p); value != nil && !bytes.Equal(value, r.published[p.topic]) {
			r.published[p.topic] = value
			r.write(publishedKey+p.topic, value)
			e.commit, r.urgent = r.issued+1, true
			r.await(e)
			continue
		}
		if len(r.awaiting) > 0 && r.ready.before(r.awaiting[0], e) {
			e.commit = 0
			r.await(e)
			continue
		}
		if !bytes.Equal(e.last, p.payload) {
			e.previous, e.sentBefore = e.last, !e.sentAt.IsZero()
		}
		e.last, e.sentAt, e.notBefore = p.payload, now, time.Time{}
		if p.retained {
			e.pending, e.emptied = false, false
		} else {
			e.preludes = e.preludes[1:]
			r.schedule(e)
		}
		return r.numbered(e, p), time.Time{}, false, true
	}
	return p, due, len(r.awaiting) > 0, false
}

// numbered returns a publication of an entry with the next number.
func (r *retained) numbered(e *entry, p publication) publication {
	r.sent++
	e.number, p.number = r.sent, r.sent
	return p
}

// release moves the entries whose time has come.
func (r *retained) release(now time.Time) {
	for len(r.timed.entries) > 0 && !r.timed.entries[0].due.After(now) {
		heap.Push(&r.ready, heap.Pop(&r.timed))
	}
}

// suspectIsNext reports whether the next publication is one that is sent alone.
func (r *retained) suspectIsNext(now time.Time) bool {
	if !r.isReady {
		return false
	}
	r.release(now)
	return len(r.ready.entries) > 0 && r.ready.entries[0].isSuspect()
}

// await has an entry wait for a commit, so that nothing is published that would be forgotten, and nothing overtakes it.
func (r *retained) await(e *entry) {
	e.waits = true
	i := sort.Search(len(r.awaiting), func(i int) bool { return r.ready.before(e, r.awaiting[i]) })
	r.awaiting = slices.Insert(r.awaiting, i, e)
}

// takeWrites returns what is to be committed, and the number of the commit.
func (r *retained) takeWrites() ([]write, uint64) {
	if len(r.writes) == 0 {
		return nil, 0
	}
	writes := r.writes
	r.writes, r.urgent = nil, false
	r.issued++
	return writes, r.issued
}

// onCommitted releases the entries that waited for a commit.
func (r *retained) onCommitted(commit uint64) {
	var waiting, released []*entry
	for _, e := range r.awaiting {
		if e.commit > commit {
			waiting = append(waiting, e)
		} else {
			released = append(released, e)
		}
	}
	r.awaiting = waiting
	for _, e := range released {
		e.waits, e.commit = false, 0
		r.schedule(e)
	}
}

// nextPayload returns what the entry sends next, and whether it is the last.
func (e *entry) nextPayload() (payload []byte, last bool) {
	if len(e.preludes) > 0 {
		return e.preludes[0], false
	}
	return e.want, true
}

// dueOf returns when an entry's next message may be sent; zero: at once. A different announcement must not come before the consumer has
// processed the one before: it would lose components.
func (r *retained) dueOf(e *entry) time.Time {
	payload, _ := e.nextPayload()
	if e.sentAt.IsZero() || !e.announcement || bytes.Equal(payload, e.last) {
		return e.notBefore
	}
	if at := e.sentAt.Add(r.pause); at.After(e.notBefore) {
		return at
	}
	return e.notBefore
}

// publishedValue returns what is remembered of a publication: an announcement is needed to remove what is in it, of others the topic
// suffices.
func (r *retained) publishedValue(e *entry, p publication) []byte {
	switch {
	case !p.retained || len(p.payload) == 0:
		return nil
	case e.announcement:
		return p.payload
	}
	return []byte("1")
}

// onAcked records that the broker has taken a publication.
func (r *retained) onAcked(p publication) {
	e := r.entries[p.topic]
	if e == nil {
		return
	}
	r.setLosses(e, 0)
	if !p.retained || e.pending || p.number != e.number || !bytes.Equal(e.want, p.payload) {
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
	if _, known := r.published[p.topic]; known && r.isEmptied(p.topic) {
		delete(r.published, p.topic)
		r.write(publishedKey+p.topic, nil)
	}
	// An announcement that is set again soon must still wait, and one that is withheld may be set again.
	if !e.announcement {
		delete(r.entries, p.topic)
	}
}

// onLost records that the connection was lost by the broker's doing while a publication was in flight. It reports whether the broker does
// not take it, which is certain where it was in flight alone: it is then left out.
func (r *retained) onLost(p publication, alone bool) (refused bool) {
	e := r.entries[p.topic]
	if e == nil {
		return false
	}
	r.setLosses(e, e.losses+1)
	if !alone || e.losses < refusedAfter {
		return false
	}
	e.losses, e.preludes = 0, nil
	e.refused = max(len(p.payload), 1)
	e.pending = e.isStale()
	r.schedule(e)
	return true
}

// setLosses sets the number of lost connections, which decides when a pending entry is sent.
func (r *retained) setLosses(e *entry, n int) {
	if e.losses = n; e.in != nil {
		heap.Fix(e.in, e.index)
	}
}

// isSuspect reports whether connections were lost while the entry was in flight: it is sent alone.
func (e *entry) isSuspect() bool { return e.losses >= suspectAfter }

// isStale reports whether the broker may still hold an older payload in place of one that is too large for it. Announcements stay: without
// them the consumer would forget its settings.
func (e *entry) isStale() bool { return !e.announcement && !e.emptied && e.refused > smallPayload }

// waiting returns the number of entries that are still to be sent.
func (r *retained) waiting() int {
	return len(r.ready.entries) + len(r.timed.entries) + len(r.awaiting)
}
