package caldav

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

const (
	// cacheTime is the time for which an answer of Graph is used again.
	cacheTime = time.Minute
	// readTimeout bounds one read from Graph.
	readTimeout = 30 * time.Second
	// turnTimeout bounds how long a change waits for others.
	turnTimeout = 30 * time.Second
	// maxWindows bounds the answers that are kept of one calendar.
	maxWindows = 4
	// pastDays and futureDays are the span of a calendar where a client sets no limits.
	pastDays, futureDays = 92, 366
	// maxYears bounds the span of a request.
	maxYears = 20
	oneDay   = 24 * time.Hour
)

// A listing is the objects of a collection, or of a span of it, at one moment. It does not change.
type listing struct {
	objects []*object
	byName  func() []*object      // the same, in the order of their names
	served  func() []servedObject // the same, for a client that was served all
}

func newListing(objects []*object) *listing {
	l := &listing{objects: objects}
	l.byName = sync.OnceValue(func() []*object {
		return slices.SortedFunc(slices.Values(objects), func(a, b *object) int { return strings.Compare(a.name, b.name) })
	})
	l.served = sync.OnceValue(func() []servedObject {
		all := make([]servedObject, len(objects))
		for i, o := range l.byName() {
			all[i] = servedObject{o.name, o.fields}
		}
		return all
	})
	return l
}

// find returns the object with this name, nil if there is none.
func (l *listing) find(name string) *object {
	all := l.byName()
	if i, ok := slices.BinarySearchFunc(all, name, func(o *object, name string) int { return strings.Compare(o.name, name) }); ok {
		return all[i]
	}
	return nil
}

// A window is an answer of Graph.
type window struct {
	*listing
	from, to time.Time // of events
	version  any       // of what the sensor held: a change of that makes it old
	at       time.Time
}

// A collectionState holds what is known of one collection: cached listings, aliases and the log of changes.
type collectionState struct {
	aliases *aliases
	flights singleflight.Group
	turn    chan struct{} // has a value while a client changes the collection

	mu           sync.Mutex      // guards what follows
	latest       *listing        // that was built last
	held         *window         // what the sensor holds
	aliasVersion int             // version of the aliases in held
	windows      []*window       // the newest last
	spans        map[string]span // of events that were read, by name
	generation   int             // counts changes by clients: an older answer is not kept
	log          syncLog
}

func newCollectionState(a *aliases) *collectionState {
	return &collectionState{aliases: a, turn: make(chan struct{}, 1)}
}

// take waits until no other client changes the collection, so that nothing changes between the check of a condition and the change that
// depends on it. The returned function lets the next one go on.
func (s *collectionState) take(ctx context.Context) (done func(), err error) {
	timer := time.NewTimer(turnTimeout)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-timer.C:
		return nil, statusError(http.StatusServiceUnavailable, "other changes of this calendar or list take too long; nothing was changed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// span is the time between two instants; a zero one is open.
type span struct{ from, to time.Time }

// full returns the listing of all objects: all tasks, or the events of the span that is served without a limit.
func (s *collectionState) full(ctx context.Context, c Collection) (*listing, error) {
	if c.HoldsTasks() {
		return s.tasks(ctx, c)
	}
	if c.OnDemand() != nil {
		held, err := s.heldEvents(c)
		if err != nil {
			return nil, err
		}
		return held.listing, nil
	}
	today := time.Now().UTC().Truncate(oneDay)
	return s.events(ctx, c, span{today.AddDate(0, 0, -pastDays), today.AddDate(0, 0, futureDays)})
}

// matching returns the objects that match. It copies nothing if all do.
func matching(all []*object, matches func(*object) bool) []*object {
	first := slices.IndexFunc(all, func(o *object) bool { return !matches(o) })
	if first < 0 {
		return all
	}
	some := slices.Clone(all[:first])
	for _, o := range all[first+1:] {
		if matches(o) {
			some = append(some, o)
		}
	}
	return some
}

// within returns the listing of the objects in a span.
func (l *listing) within(w span, loc *time.Location) *listing {
	objects := matching(l.objects, func(o *object) bool { return o.within(w.from, w.to, loc) })
	if len(objects) == len(l.objects) {
		return l
	}
	return newListing(objects)
}

// events returns the listing of a span, whose open ends are set. What was read for another request does not change it, so that no event
// comes and goes.
func (s *collectionState) events(ctx context.Context, c Collection, w span) (*listing, error) {
	held, err := s.heldEvents(c)
	if err != nil {
		return nil, err
	}
	today := time.Now().UTC().Truncate(oneDay)
	if w.from.IsZero() {
		w.from = today.AddDate(0, 0, -pastDays)
		if !w.to.IsZero() && !w.to.After(w.from) {
			w.from = w.to.AddDate(-1, 0, 0)
		}
	}
	if w.to.IsZero() {
		w.to = today.AddDate(0, 0, futureDays)
		if !w.to.After(w.from) {
			w.to = w.from.AddDate(1, 0, 0)
		}
	}
	if !w.from.Before(held.from) && !w.to.After(held.to) {
		return held.within(w, c.Location()), nil
	}
	if err := c.OnDemand(); err != nil {
		return nil, fmt.Errorf("the calendar is held from %s to %s; for other times: %w", held.from.In(c.Location()).Format("2006-01-02 15:04"), held.to.In(c.Location()).Format("2006-01-02 15:04"), err)
	}
	if w.to.After(w.from.AddDate(maxYears, 0, 0)) {
		return nil, statusError(http.StatusForbidden, "want a time range of at most %d years", maxYears)
	}
	asked := w
	// Whole days, so that the next request finds the same ones.
	w.from, w.to = w.from.UTC().Truncate(oneDay), w.to.UTC().Add(oneDay-1).Truncate(oneDay)
	matches := func(other *window) bool {
		return other.version == held.version && !w.from.Before(other.from) && !w.to.After(other.to)
	}
	found, err := s.window(ctx, matches, fmt.Sprint(w.from.Unix(), w.to.Unix()), func(ctx context.Context) (*window, error) {
		all, err := c.ReadEvents(ctx, w.from, w.to)
		if err != nil {
			return nil, err
		}
		return &window{listing: s.eventListing(all), from: w.from, to: w.to, version: held.version}, nil
	})
	if err != nil {
		return nil, err
	}
	return found.within(asked, c.Location()), nil
}

// tasks returns the listing of all tasks: those that the sensor holds and, if they may be read, the completed ones.
func (s *collectionState) tasks(ctx context.Context, c Collection) (*listing, error) {
	if c.OnDemand() != nil {
		held, err := s.heldWindow(c, func() (*window, error) {
			all, version, err := c.Tasks()
			if err != nil {
				return nil, err
			}
			return &window{listing: s.taskListing(c, all, nil), version: version}, nil
		})
		if err != nil {
			return nil, err
		}
		return held.listing, nil
	}
	version, err := c.Version()
	if err != nil {
		return nil, err
	}
	found, err := s.window(ctx, func(other *window) bool { return other.version == version }, "tasks", func(ctx context.Context) (*window, error) {
		completed, err := c.ReadCompleted(ctx)
		if err != nil {
			return nil, err
		}
		// The newest of what was read meanwhile: a task that was completed may be in both.
		all, version, err := c.Tasks()
		if err != nil {
			return nil, err
		}
		known := make(map[string]bool, len(all))
		for _, t := range all {
			known[t.ID] = true
		}
		completed = slices.DeleteFunc(completed, func(t tasks.Task) bool { return known[t.ID] })
		return &window{listing: s.taskListing(c, all, completed), version: version}, nil
	})
	if err != nil {
		return nil, err
	}
	return found.listing, nil
}

// window returns a kept answer of Graph that matches, or reads one. Those who ask for the same at the same time share it.
func (s *collectionState) window(ctx context.Context, matches func(*window) bool, key string, read func(context.Context) (*window, error)) (*window, error) {
	s.mu.Lock()
	s.windows = slices.DeleteFunc(s.windows, func(w *window) bool { return time.Since(w.at) >= cacheTime })
	i := slices.IndexFunc(s.windows, matches)
	var found *window
	if i >= 0 {
		found = s.windows[i]
	}
	generation := s.generation
	s.mu.Unlock()
	if found != nil {
		return found, nil
	}
	results := s.flights.DoChan(key+" "+strconv.Itoa(generation), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		at := time.Now()
		w, err := read(ctx)
		if err != nil {
			return nil, err
		}
		w.at = at
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.generation == generation {
			s.windows = append(s.windows, w)
			s.windows = s.windows[max(0, len(s.windows)-maxWindows):]
		}
		s.rememberSpans(w.objects)
		return w, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-results:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*window), nil
	}
}

// heldEvents returns the events that the sensor holds.
func (s *collectionState) heldEvents(c Collection) (*window, error) {
	return s.heldWindow(c, func() (*window, error) {
		all, from, to, version, err := c.Events()
		if err != nil {
			return nil, err
		}
		return &window{listing: s.eventListing(all), from: from, to: to, version: version}, nil
	})
}

// heldWindow returns what the sensor holds, and reads it if that has changed.
func (s *collectionState) heldWindow(c Collection, read func() (*window, error)) (*window, error) {
	version, err := c.Version()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	aliasVersion := s.aliases.version()
	if s.held != nil && s.held.version == version && s.aliasVersion == aliasVersion {
		defer s.mu.Unlock()
		return s.held, nil
	}
	s.mu.Unlock()
	w, err := read()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.aliasVersion = w, aliasVersion
	return w, nil
}

// eventListing returns the listing of events. Objects of the listing before that are the same are used again.
func (s *collectionState) eventListing(all []calendars.Event) *listing {
	return s.build(len(all), func(i int, before *listing) *object {
		e := &all[i]
		a := s.aliases.withID(e.ID)
		if o := before.find(nameOf(e.ID, a)); o != nil && o.event != nil && sameEvent(o.event, e) {
			return o
		}
		return eventObject(e, a)
	}, func(a, b *object) int {
		return cmp.Or(a.fields.start.Compare(b.fields.start), cmp.Compare(a.name, b.name))
	})
}

// taskListing is eventListing for tasks: those that the sensor holds, which are not copied, and more.
func (s *collectionState) taskListing(c Collection, held, more []tasks.Task) *listing {
	loc := c.Location()
	return s.build(len(held)+len(more), func(i int, before *listing) *object {
		var t *tasks.Task
		if i < len(held) {
			t = &held[i]
		} else {
			t = &more[i-len(held)]
		}
		a := s.aliases.withID(t.ID)
		if o := before.find(nameOf(t.ID, a)); o != nil && o.task != nil && o.loc == loc && o.task.Modified.Equal(t.Modified) && o.task.Created.Equal(t.Created) && o.task.Equal(*t) {
			return o
		}
		return taskObject(t, a, loc)
	}, nil)
}

// build returns the listing of n objects, which makeObject makes or takes from the listing before.
func (s *collectionState) build(n int, makeObject func(i int, before *listing) *object, order func(a, b *object) int) *listing {
	s.mu.Lock()
	before := s.latest
	s.mu.Unlock()
	if before == nil {
		before = newListing(nil)
	}
	objects := make([]*object, n)
	for i := range objects {
		objects[i] = makeObject(i, before)
	}
	if order != nil {
		slices.SortFunc(objects, order)
	}
	l := newListing(objects)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil || len(objects) >= len(s.latest.objects)/2 { // a short span must not replace a long one
		s.latest = l
	}
	return l
}

// find returns the object with this name, nil if there is none.
func (s *collectionState) find(ctx context.Context, c Collection, name string) (*object, error) {
	found, err := s.findAll(ctx, c, []string{name})
	return found[name], err
}

// findAll returns the objects with these names. It reads as little as possible, and nothing once more for each name.
func (s *collectionState) findAll(ctx context.Context, c Collection, names []string) (map[string]*object, error) {
	found := make(map[string]*object, len(names))
	// take looks the names up, and returns those that are still missing.
	take := func(l *listing, names []string) (missing []string) {
		for _, name := range names {
			if o := l.find(name); o != nil {
				found[name] = o
			} else if name != "" && found[name] == nil {
				missing = append(missing, name)
			}
		}
		return missing
	}
	if !c.HoldsTasks() {
		held, err := s.heldEvents(c)
		if err != nil {
			return nil, err
		}
		names = take(held.listing, names)
		s.mu.Lock()
		windows := slices.Clone(s.windows)
		s.mu.Unlock()
		for _, w := range windows {
			if w.version == held.version && time.Since(w.at) < cacheTime {
				names = take(w.listing, names)
			}
		}
		if c.OnDemand() == nil {
			groups, unknown := s.grouped(names)
			for _, g := range groups {
				l, err := s.events(ctx, c, g.span)
				if err != nil {
					return nil, err
				}
				unknown = append(unknown, take(l, g.names)...)
			}
			names = unknown
		}
	}
	if len(names) == 0 {
		return found, nil
	}
	l, err := s.full(ctx, c)
	if err != nil {
		return nil, err
	}
	take(l, names)
	return found, nil
}

// maxGroup bounds the span of events that are read together to find some of them.
const maxGroup = pastDays*oneDay + futureDays*oneDay

// A spanGroup holds names of events that begin within a span.
type spanGroup struct {
	span
	names []string
}

// grouped returns the names of events whose time is known by spans that have their beginnings, and the other names.
func (s *collectionState) grouped(names []string) (groups []*spanGroup, unknown []string) {
	type known struct {
		name string
		from time.Time
	}
	var all []known
	for _, name := range names {
		s.mu.Lock()
		at, ok := s.spans[name]
		s.mu.Unlock()
		if a, created := s.aliases.withName(name); created && !ok {
			at, ok = span{a.Start, a.End}, !a.Start.IsZero()
		}
		if ok {
			all = append(all, known{name, at.from})
		} else {
			unknown = append(unknown, name)
		}
	}
	slices.SortFunc(all, func(a, b known) int { return a.from.Compare(b.from) })
	for _, k := range all {
		to := k.from.Add(3 * oneDay) // of a whole day, the beginning in any time zone
		if last := len(groups) - 1; last >= 0 && to.Sub(groups[last].from) <= maxGroup {
			groups[last].to, groups[last].names = to, append(groups[last].names, k.name)
			continue
		}
		groups = append(groups, &spanGroup{span{k.from, to}, []string{k.name}})
	}
	return groups, unknown
}

// maxSpans bounds the events whose time is remembered.
const maxSpans = 20_000

// rememberSpans remembers when events are, so that they are found again. It is called with mu held.
func (s *collectionState) rememberSpans(objects []*object) {
	if s.spans == nil || len(s.spans)+len(objects) > maxSpans {
		s.spans = map[string]span{}
	}
	for _, o := range objects {
		if o.event != nil {
			s.spans[o.name] = spanOf(o.fields)
		}
	}
}

// spanOf returns a span that contains the event in any time zone.
func spanOf(f *fields) span {
	if f.allDay {
		return span{f.start.Add(-oneDay), f.end.Add(oneDay)}
	}
	return span{f.start, f.end.Add(time.Second)}
}

// invalidate drops the answers of Graph that a change by a client has outdated.
func (s *collectionState) invalidate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	s.windows = nil
}

// tag returns a text that is the same for the same objects.
func (l *listing) tag() string {
	all := make([]string, 0, len(l.objects))
	for _, o := range l.objects {
		all = append(all, o.name+o.etag)
	}
	slices.Sort(all)
	h := sha256.New()
	for _, s := range all {
		h.Write([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// A syncLog numbers the changes of a collection, so that a client can ask for those after a number.
type syncLog struct {
	epoch   string // random: numbers of another run mean nothing
	last    uint64
	entries map[string]syncEntry // by name
	oldest  uint64               // changes up to this number are not known completely
}

type syncEntry struct {
	etag   string // "": removed
	number uint64
}

// maxRemoved bounds the removed objects that are remembered.
const maxRemoved = 5000

// tokenPrefix is the beginning of each token, which must be a URI.
const tokenPrefix = "urn:graph2mqtt:sync:"

// update numbers what has changed since it was last called.
func (l *syncLog) update(all *listing) {
	if l.entries == nil {
		l.entries, l.epoch = map[string]syncEntry{}, strings.ToLower(rand.Text())[:16]
	}
	for _, o := range all.objects {
		if l.entries[o.name].etag != o.etag {
			l.last++
			l.entries[o.name] = syncEntry{o.etag, l.last}
		}
	}
	removed := 0
	for name, e := range l.entries {
		if e.etag == "" {
			removed++
			continue
		}
		if all.find(name) == nil {
			l.last++
			l.entries[name] = syncEntry{number: l.last}
			removed++
		}
	}
	if removed > maxRemoved {
		for name, e := range l.entries {
			if e.etag == "" {
				delete(l.entries, name)
				l.oldest = max(l.oldest, e.number)
			}
		}
	}
}

// number returns the number in a token, or false if the changes since then are not known.
func (l *syncLog) number(token string) (uint64, bool) {
	text, ok := strings.CutPrefix(token, tokenPrefix+l.epoch+":")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && n <= l.last && n >= l.oldest
}

// A syncChange is an object that was changed or removed.
type syncChange struct {
	name    string
	removed bool
	number  uint64
}

// since returns the changes after a number in their order. For 0 there is nothing to be removed.
func (l *syncLog) since(number uint64) []syncChange {
	var changes []syncChange
	for name, e := range l.entries {
		if e.number > number && (number > 0 || e.etag != "") {
			changes = append(changes, syncChange{name, e.etag == "", e.number})
		}
	}
	slices.SortFunc(changes, func(a, b syncChange) int { return cmp.Compare(a.number, b.number) })
	return changes
}

// A syncAnswer holds the changes of a collection after a token.
type syncAnswer struct {
	*listing
	changes []syncChange
	last    uint64 // number of the newest change
	epoch   string
}

func (a *syncAnswer) token(number uint64) string {
	return tokenPrefix + a.epoch + ":" + strconv.FormatUint(number, 10)
}

// errToken is the error of a token that is not valid.
var errToken = errors.New("the sync-token is not valid any more; begin without one")

// sync returns the changes after a token; "": all objects.
func (s *collectionState) sync(ctx context.Context, c Collection, token string) (*syncAnswer, error) {
	l, err := s.full(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.changesOf(l, token)
}

// changesOf returns the changes of a full listing after a token; "": all objects.
func (s *collectionState) changesOf(l *listing, token string) (*syncAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.update(l)
	var number uint64
	if token != "" {
		var ok bool
		if number, ok = s.log.number(token); !ok {
			return nil, errToken
		}
	}
	return &syncAnswer{l, s.log.since(number), s.log.last, s.log.epoch}, nil
}
