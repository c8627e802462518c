package runtime

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	listInterval = 10 * time.Minute // between two listings of a group's members, where the kind has no interval
	listRetry    = time.Minute      // after a listing that failed
	listTimeout  = time.Minute
	roomsTimeout = 5 * time.Minute // the same of an organization: 30,000 rooms are 300 pages
	confirmPause = 2 * time.Second // before the second listing that confirms a loss
)

// A group is a sensor that stands for several, such as all calendars. Each member is a sensor of its own.
type group struct {
	sensor *sensor
	source sensors.Group
	due    chan struct{} // list now

	logged bool // the failure of the last listing; only reload uses it

	mu      sync.Mutex
	members []member
	err     error // of the last listing
	listed  bool  // a listing has ended since the start
}

// A member is a member of a group as it is stored.
type member struct {
	sensors.Member
	Slug string // part of its entity ids; it stays when the member is renamed
}

// MemberID returns the id of the sensor of a group's member, which does not change when the member is renamed.
func MemberID(group string, m sensors.Member) string {
	sum := sha256.Sum256([]byte(m.ID))
	return group + "_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:8])
}

func (g *group) sensorID(m sensors.Member) string { return MemberID(g.sensor.config.ID, m) }

// newMember returns the sensor of a member.
func (g *group) newMember(m member) *sensor {
	parent := g.sensor
	c := *parent.config
	c.ID, c.Name, c.Options = g.sensorID(m.Member), m.Name, g.source.Member(m.Member)
	s := parent.account.newSensor(&c)
	s.parent = parent
	s.slug = parent.account.config.ID + "_" + parent.config.ID + "_" + m.Slug
	return s
}

// restored returns the sensors of the members that an earlier run knew.
func (g *group) restored() []*sensor {
	value, err := g.sensor.account.runtime.options.Store.Get(membersBucket, g.sensor.membersKey())
	if err != nil {
		g.sensor.log.Warn("stored members unreadable", "error", err)
	}
	var members []member
	if err != nil || value == nil || json.Unmarshal(value, &members) != nil {
		return nil
	}
	g.mu.Lock()
	g.members = members
	g.mu.Unlock()
	var restored []*sensor
	for _, m := range members {
		if !g.idInUse(m.Member) {
			restored = append(restored, g.newMember(m))
		}
	}
	return restored
}

// idInUse reports whether the id of a member's sensor is that of a configured sensor, which has precedence.
func (g *group) idInUse(m sensors.Member) bool {
	_, used := g.sensor.account.current.Load().Sensors[g.sensorID(m)]
	return used
}

// Run follows the members until ctx is done.
func (g *group) Run(ctx context.Context) error {
	for {
		wait := cmp.Or(g.sensor.kind.ListInterval, listInterval)
		if o, ok := g.sensor.source.Options().(interface{ ListInterval() time.Duration }); ok {
			wait = o.ListInterval()
		}
		if err := g.reload(ctx); err != nil {
			wait = listRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-g.due:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// reload lists the members, starts and stops their sensors accordingly, and logs a failure once.
func (g *group) reload(ctx context.Context) error {
	listed, err := g.list(ctx)
	if err == nil && g.lacks(listed) {
		// Graph sometimes leaves something out. A device that is removed loses its history and its place on dashboards.
		listed, err = g.confirm(ctx, listed)
	}
	if err == nil {
		g.follow(ctx, listed)
	}
	if ctx.Err() != nil {
		return err
	}
	g.mu.Lock()
	before := g.err
	g.err, g.listed = err, true
	g.mu.Unlock()
	switch {
	case err == nil && g.logged:
		g.logged = false
		g.sensor.log.Info("listing recovered")
	case err == nil, g.logged, graph.Is(err, graph.SignInRequired):
	case graph.IsUnauthorized(err) && (before == nil || g.sensor.account.rejected.Load()):
		// The account logs that its sign-in is rejected, which is known when its sensors were polled.
	default:
		g.logged = true
		g.sensor.log.Warn("listing failed", "error", err)
	}
	signal(g.sensor.account.dirty)
	return err
}

// lacks reports whether a member is not listed any more.
func (g *group) lacks(listed []sensors.Member) bool {
	still := ids(listed)
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.members, func(b member) bool { return !still[b.ID] })
}

// confirm lists the members again and adds those that only the first listing has.
func (g *group) confirm(ctx context.Context, first []sensors.Member) ([]sensors.Member, error) {
	if err := graph.Pause(ctx, confirmPause); err != nil {
		return nil, err
	}
	listed, err := g.list(ctx)
	known := ids(listed)
	for _, m := range first {
		if !known[m.ID] {
			listed = append(listed, m)
		}
	}
	return listed, err
}

// ids returns the set of the ids of members.
func ids(members []sensors.Member) map[string]bool {
	all := make(map[string]bool, len(members))
	for _, m := range members {
		all[m.ID] = true
	}
	return all
}

// list returns the members as they are now. An item that is moved while the pages are read can be in two of them.
func (g *group) list(ctx context.Context) ([]sensors.Member, error) {
	if err := g.sensor.account.checkGranted(g.sensor.source.Permissions()); err != nil {
		return nil, err
	}
	timeout := listTimeout
	if g.sensor.account.config.Application {
		timeout = roomsTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	all, err := g.ask(ctx)
	if err != nil {
		return nil, err
	}
	var listed []sensors.Member
	seen := map[string]bool{}
	for _, m := range all {
		if !seen[m.ID] && !g.idInUse(m) {
			listed = append(listed, m)
		}
		seen[m.ID] = true
	}
	return listed, nil
}

// ask asks Graph for the members. A panic is this group's error.
func (g *group) ask(ctx context.Context) (all []sensors.Member, err error) {
	defer func() {
		if r := recover(); r != nil {
			g.sensor.log.Error("listing panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	all, err = g.source.Members(ctx, g.sensor.graph)
	return all, ExplainMailbox(g.sensor.config, g.sensor.source.Permissions(), err)
}

// follow starts the sensors of new members, replaces those of renamed ones, and removes those of lost ones.
func (g *group) follow(ctx context.Context, listed []sensors.Member) {
	g.mu.Lock()
	before := g.members
	g.mu.Unlock()
	known, slugs := map[string]member{}, slugSet{}
	for _, b := range before {
		known[b.ID], slugs[b.Slug] = b, true
	}
	var after []member
	var removed []string
	var added []*sensor
	for _, m := range listed {
		next := member{Member: m}
		b, isKnown := known[m.ID]
		if isKnown {
			next.Slug = b.Slug
		} else {
			next.Slug = slugs.add(m.Name)
		}
		after = append(after, next)
		switch {
		case !isKnown:
			g.sensor.log.Info("member found", "name", m.Name)
			added = append(added, g.newMember(next))
		case b.Name != m.Name:
			g.sensor.log.Info("member renamed", "name", m.Name, "before", b.Name)
			added = append(added, g.newMember(next))
		}
	}
	still := ids(listed)
	for _, b := range before {
		if still[b.ID] {
			continue
		}
		g.sensor.log.Info("member lost", "name", b.Name)
		if !g.idInUse(b.Member) {
			removed = append(removed, g.sensorID(b.Member))
		}
	}
	if slices.Equal(after, before) {
		return
	}
	value, err := json.Marshal(after)
	if err != nil {
		g.sensor.log.Error("members not stored", "error", err)
	} else {
		g.sensor.account.runtime.options.Store.Commit(func(tx services.Tx) { tx.Put(membersBucket, g.sensor.membersKey(), value) }, g.sensor.account.logStoreError)
	}
	g.mu.Lock()
	g.members = after
	g.mu.Unlock()
	g.sensor.account.reconcile(ctx, removed, added)
}

// load lists the members without running them, for [Call].
func (g *group) load(ctx context.Context) error {
	listed, err := g.list(ctx)
	if err != nil {
		return err
	}
	a := g.sensor.account
	var members []member
	slugs := slugSet{}
	for _, m := range listed {
		next := member{Member: m, Slug: slugs.add(m.Name)}
		members = append(members, next)
		s := g.newMember(next)
		a.add(s)
	}
	g.mu.Lock()
	g.members = members
	g.mu.Unlock()
	return nil
}

// resolve takes the field that names a member out of a request's fields and returns the member's sensor.
func (g *group) resolve(fields map[string]json.RawMessage) (*sensor, error) {
	field := g.sensor.kind.MemberField
	var name string
	if json.Unmarshal(fields[field], &name) != nil || name == "" {
		_, names := g.matchMembers("")
		return nil, graph.Invalid("%s is required, as a text, because %s stands for several; known: %s", field, g.sensor.config.ID, list(names))
	}
	found, names := g.matchMembers(name)
	switch len(found) {
	case 0:
		return nil, graph.Invalid("%s: want one of %s, not %s; the request rescan finds new ones", field, list(names), services.QuoteForError(name))
	case 1:
	default:
		var ids []string
		for _, m := range found {
			ids = append(ids, m.ID)
		}
		return nil, graph.Invalid("%s: %d are named %s; want the id of one of them: %s", field, len(found), services.QuoteForError(name), list(ids))
	}
	s := g.sensor.account.sensor(g.sensorID(found[0].Member))
	if s == nil {
		return nil, &services.Error{Code: services.UnknownSensor, Message: fmt.Sprintf("%s: %s is not there any more", field, services.QuoteForError(name))}
	}
	delete(fields, field)
	return s, nil
}

// matchMembers returns the members whose id equals name, else those whose name does, else those whose name does in another case, else
// those with that address; and the names of all.
func (g *group) matchMembers(name string) (found []member, names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		names = append(names, m.Name)
	}
	return graph.Matching(g.members,
		func(m member) bool { return m.ID == name },
		func(m member) bool { return m.Name == name },
		func(m member) bool { return strings.EqualFold(m.Name, name) },
		func(m member) bool { return m.Address != "" && strings.EqualFold(m.Address, name) },
	), names
}

// listingError returns the error of the last listing.
func (g *group) listingError() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// A slugSet has the slugs of members.
type slugSet map[string]bool

// add adds and returns the slug of a name, numbered where another member has it.
func (s slugSet) add(name string) string {
	base := cmp.Or(entity.ShortSlug(name), "unnamed")
	slug := base
	for n := 2; s[slug]; n++ {
		slug = base + "_" + strconv.Itoa(n)
	}
	s[slug] = true
	return slug
}
