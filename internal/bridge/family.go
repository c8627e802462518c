package bridge

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

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// membersEvery is how often members are listed anew, membersRetry how soon after a failure.
const (
	membersEvery = 10 * time.Minute
	membersRetry = time.Minute
)

// A family is a sensor that stands for several: all calendars of the account. Each member is a sensor of its own.
type family struct {
	sensor   *sensor
	expander sensors.Expander
	due      chan struct{}

	mu      sync.Mutex
	members []member
	err     error // of the last listing
}

// A member is one that was listed, as it is remembered.
type member struct {
	sensors.Member
	Slug string // of its entities' ids; it stays when the member gets another name
}

// id is the member's as a sensor: it must not change when the member is renamed.
func (f *family) id(m member) string {
	sum := sha256.Sum256([]byte(m.ID))
	return f.sensor.config.ID + "_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:8])
}

// make makes the sensor of a member.
func (f *family) make(m member) *sensor {
	parent := f.sensor
	c := *parent.config
	c.ID, c.Name, c.Options = f.id(m), m.Name, f.expander.Member(m.Member)
	s := newSensor(parent.account, &c, parent.kind)
	s.parent = parent
	s.slug = parent.account.config.ID + "_" + parent.config.ID + "_" + m.Slug
	return s
}

// remembered are the sensors of the members that an earlier run knew.
func (f *family) remembered() []*sensor {
	value, err := f.sensor.account.bridge.families.Get(f.sensor.key())
	if err != nil || value == nil {
		return nil
	}
	var ms []member
	if err := json.Unmarshal(value, &ms); err != nil {
		return nil
	}
	f.mu.Lock()
	f.members = ms
	f.mu.Unlock()
	var ss []*sensor
	for _, m := range ms {
		if !f.taken(m.Member) {
			ss = append(ss, f.make(m))
		}
	}
	return ss
}

// taken reports whether the member's id is that of a configured sensor, which goes before.
func (f *family) taken(m sensors.Member) bool {
	_, taken := f.sensor.account.current.Load().Sensors[f.id(member{Member: m})]
	return taken
}

func (f *family) rescan() {
	select {
	case f.due <- struct{}{}:
	default:
	}
}

// run follows the members until ctx is done.
func (f *family) run(ctx context.Context) {
	a := f.sensor.account
	for {
		wait := membersEvery
		err := f.list(ctx)
		f.mu.Lock()
		known := f.err != nil
		f.err = err
		f.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			wait = membersRetry
			if !known && !graph.Is(err, graph.SignInRequired) {
				f.sensor.log.Warn("listing failed", "error", err)
			}
		}
		a.update()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			return
		case <-f.due:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// list asks who is there now, and starts and ends sensors accordingly.
func (f *family) list(ctx context.Context) error {
	a := f.sensor.account
	if err := a.graph.CheckGranted(f.sensor.Permissions()); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	listed, err := f.ask(asking)
	if err != nil {
		return err
	}
	f.mu.Lock()
	before := f.members
	f.mu.Unlock()
	var after []member
	var gone []string
	var come []*sensor
	for _, m := range listed {
		// Something that is moved while pages are read is in two of them.
		if f.taken(m) || slices.ContainsFunc(after, func(other member) bool { return other.ID == m.ID }) {
			continue
		}
		next := member{Member: m}
		i := slices.IndexFunc(before, func(b member) bool { return b.ID == m.ID })
		if i >= 0 {
			next.Slug = before[i].Slug
		} else {
			next.Slug = f.slug(m.Name, append(slices.Clone(before), after...))
		}
		after = append(after, next)
		switch {
		case i < 0:
			f.sensor.log.Info("found", "name", m.Name)
			come = append(come, f.make(next))
		case before[i].Name != m.Name:
			f.sensor.log.Info("renamed", "name", before[i].Name, "to", m.Name)
			gone, come = append(gone, f.id(next)), append(come, f.make(next))
		}
	}
	for _, b := range before {
		if slices.ContainsFunc(after, func(m member) bool { return m.ID == b.ID }) {
			continue
		}
		f.sensor.log.Info("lost", "name", b.Name)
		if !f.taken(b.Member) {
			gone = append(gone, f.id(b))
		}
	}
	if slices.Equal(after, before) {
		return nil
	}
	value, err := json.Marshal(after)
	if err == nil {
		err = a.bridge.families.Put(f.sensor.key(), value)
	}
	if err != nil {
		f.sensor.log.Error("the members cannot be remembered", "error", err)
	}
	f.mu.Lock()
	f.members = after
	f.mu.Unlock()
	a.change(ctx, gone, come)
	return nil
}

// ask asks who is there now.
func (f *family) ask(ctx context.Context) (listed []sensors.Member, err error) {
	defer func() {
		if r := recover(); r != nil {
			f.sensor.log.Error("listing panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f.expander.Members(ctx, f.sensor.account.graph)
}

// slug is a name as part of an entity's id, which no other member has.
func (f *family) slug(name string, others []member) string {
	base := cmp.Or(mqtt.Slug(name), "unnamed")
	slug := base
	for n := 2; slices.ContainsFunc(others, func(m member) bool { return m.Slug == slug }); n++ {
		slug = base + "_" + strconv.Itoa(n)
	}
	return slug
}

// find are the members that a request names, by name or by the id at Graph, and the names of all.
func (f *family) find(name string) (found []member, known []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		known = append(known, m.Name)
	}
	for _, named := range []func(member) bool{
		func(m member) bool { return m.ID == name },
		func(m member) bool { return m.Name == name },
		func(m member) bool { return strings.EqualFold(m.Name, name) },
	} {
		for _, m := range f.members {
			if named(m) {
				found = append(found, m)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	return found, known
}

// status is how the last listing ended.
func (f *family) status() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// expands reports whether a configured sensor stands for several.
func expands(c *config.Sensor) (sensors.Expander, bool) {
	e, ok := c.Options.(sensors.Expander)
	return e, ok && e.Expands()
}
