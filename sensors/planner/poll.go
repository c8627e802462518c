package planner

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
)

const (
	// titleInterval is the time between two readings of the titles of a plan and its buckets.
	titleInterval = 24 * time.Hour
	// checklistInterval is the time after which a checklist is read although its task has not changed: the texts in it have no part in
	// the version of the task.
	checklistInterval = time.Hour
	// maxDetails bounds the requests of one poll for titles and checklists. The next poll continues.
	maxDetails = 100
	// requestTime is the longest time that one request may take, and some more.
	requestTime = 35 * time.Second
	// settleTime is the time within which Planner may still list a task as it was before a change by this program.
	settleTime = 5 * time.Minute
	// maxReplaced bounds the replaced versions of a task that are remembered.
	maxReplaced = 10
)

// A Snapshot holds the tasks with their checklists and the titles of their plans.
type Snapshot struct {
	PlanID string // of the option plan; "": not found yet, or all plans
	Plans  map[string]Plan
	Tasks  []Entry // by id
}

// A Plan holds the titles of a plan.
type Plan struct {
	Title   *string           `json:",omitempty"` // nil: not known, or not readable
	Buckets map[string]string `json:",omitempty"` // names by id; "": no such bucket
	ReadAt  time.Time         `json:",omitzero"`  // zero: never
}

// An Entry is a task with what takes requests of its own. Of a completed task that is not listed, only the id and the progress are
// kept.
type Entry struct {
	planner.Task
	Checklist []planner.Item // nil: not known
	Version   *Version       `json:",omitempty"` // of the task when the checklist was read; nil: never

	Replaced  []string  `json:",omitempty"` // versions that this program replaced
	WrittenAt time.Time `json:",omitzero"`  // when it did so last
}

// A Version identifies a state of a task's checklist.
type Version struct {
	ETag          string
	Items, Active int
	ReadAt        time.Time
}

// lists reports whether the task is in the list.
func (o *Options) lists(t planner.Task) bool { return o.ShowCompleted || !t.IsCompleted() }

// Poll implements sensors.Source.
func (o *Options) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	tasks, err := planner.Tasks(ctx, g)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Plans: map[string]Plan{}}
	old := map[string]Entry{}
	if last != nil {
		s.PlanID, s.Plans = last.PlanID, maps.Clone(last.Plans)
		for _, e := range last.Tasks {
			old[e.ID] = e
		}
	}
	r := &reader{g: g, now: now}
	if o.Plan != "" {
		if s.PlanID != "" {
			if err := r.checkPlan(ctx, s, tasks); err != nil {
				return nil, err
			}
		}
		if s.PlanID == "" {
			if s.PlanID, err = findPlan(ctx, g, o.Plan, tasks); err != nil {
				return nil, err
			}
		}
	}
	s.Tasks = make([]Entry, 0, len(tasks))
	for _, t := range tasks {
		if s.PlanID == "" || t.PlanID == s.PlanID {
			s.Tasks = append(s.Tasks, o.entry(t, old[t.ID], now))
		}
	}
	if err := r.readTitles(ctx, o, s); err != nil {
		return nil, err
	}
	return s, r.readChecklists(ctx, o, s)
}

// entry returns the entry of a task as it was listed.
func (o *Options) entry(t planner.Task, old Entry, now time.Time) Entry {
	age := now.Sub(old.WrittenAt)
	settled := old.WrittenAt.IsZero() || age < 0 || age > settleTime
	if !settled && slices.Contains(old.Replaced, t.ETag) {
		t = old.Task
	}
	if !o.lists(t) {
		t = planner.Task{ID: t.ID, Percent: t.Percent}
		old = Entry{Replaced: old.Replaced, WrittenAt: old.WrittenAt}
	}
	e := Entry{Task: t, Checklist: old.Checklist, Version: old.Version}
	if !settled {
		e.Replaced, e.WrittenAt = old.Replaced, old.WrittenAt
	}
	return e
}

// A reader reads titles and checklists. A failure delays them but not the tasks: it ends the reading in this poll.
type reader struct {
	g      *graph.Client
	now    time.Time
	asked  int
	failed bool
}

// next reports whether another request may be sent. It must end before the poll would be given up, which would lose all that was read.
func (r *reader) next(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	if r.failed || r.asked >= maxDetails || ok && time.Until(deadline) < requestTime {
		return false
	}
	r.asked++
	return true
}

// failure records an error. It returns true if only the requested item cannot be read, ever or until the next poll, and an error
// if the caller gave up.
func (r *reader) failure(ctx context.Context, err error) (gone bool, _ error) {
	if ctx.Err() != nil {
		return false, err
	}
	var e *graph.Error
	if gone = unreadable(err); !gone && (!errors.As(err, &e) || e.Reason == graph.Throttled || e.Reason == graph.Timeout || e.Status < http.StatusInternalServerError) {
		r.failed = true
	}
	return gone, nil
}

// unreadable reports whether one item cannot be read although others can.
func unreadable(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && !e.Transient() && (e.Reason == graph.NotFound || e.Reason == graph.PermissionMissing || e.Reason == graph.InvalidArgument)
}

// isDue reports whether something that was read at one time is to be read again. The clock may have been set back.
func (r *reader) isDue(read time.Time, interval time.Duration) bool {
	return read.IsZero() || r.now.Sub(read) >= interval || r.now.Before(read)
}

// checkPlan looks once a day whether the plan of the option plan still exists, and forgets it if not: another one may have its name.
// Planner does not tell a plan that does not exist from one that the user may not see.
func (r *reader) checkPlan(ctx context.Context, s *Snapshot, tasks []planner.Task) error {
	if !r.isDue(s.Plans[s.PlanID].ReadAt, titleInterval) || slices.ContainsFunc(tasks, func(t planner.Task) bool { return t.PlanID == s.PlanID }) {
		return nil
	}
	if _, err := planner.ReadPlan(ctx, r.g, s.PlanID); unreadable(err) {
		delete(s.Plans, s.PlanID)
		s.PlanID = ""
	}
	return ctx.Err()
}

// readTitles reads the titles of the plans and buckets of the listed tasks once a day, and when a task is in a bucket that is not
// known.
func (r *reader) readTitles(ctx context.Context, o *Options, s *Snapshot) error {
	used := map[string]map[string]bool{} // buckets by plan
	if s.PlanID != "" {
		used[s.PlanID] = map[string]bool{}
	}
	for _, e := range s.Tasks {
		if e.PlanID == "" || !o.lists(e.Task) {
			continue
		}
		if used[e.PlanID] == nil {
			used[e.PlanID] = map[string]bool{}
		}
		if e.BucketID != "" {
			used[e.PlanID][e.BucketID] = true
		}
	}
	maps.DeleteFunc(s.Plans, func(id string, _ Plan) bool { return used[id] == nil })
	for _, id := range slices.Sorted(maps.Keys(used)) {
		p := s.Plans[id]
		known := true
		for bucket := range used[id] {
			_, ok := p.Buckets[bucket]
			known = known && ok
		}
		if (!r.isDue(p.ReadAt, titleInterval) && (known || p.Title == nil)) || !r.next(ctx) {
			continue
		}
		read, complete, err := r.readPlan(ctx, id, used[id])
		if err != nil {
			return err
		}
		if complete {
			s.Plans[id] = read
		}
	}
	return nil
}

// readPlan reads the titles of a plan and its buckets. complete is false if they are to be read again at the next poll.
func (r *reader) readPlan(ctx context.Context, id string, used map[string]bool) (p Plan, complete bool, err error) {
	p.ReadAt = r.now.UTC()
	plan, err := planner.ReadPlan(ctx, r.g, id)
	if err != nil {
		gone, err := r.failure(ctx, err)
		return p, gone, err
	}
	p.Title = &plan.Title
	p.Buckets, err = planner.Buckets(ctx, r.g, id)
	if err != nil {
		gone, err := r.failure(ctx, err)
		if !gone || err != nil {
			return p, false, err
		}
		p.Buckets = map[string]string{}
	}
	for bucket := range used { // one that is not listed is not looked for again until tomorrow
		if _, ok := p.Buckets[bucket]; !ok {
			p.Buckets[bucket] = ""
		}
	}
	return p, true, nil
}

// readChecklists reads the checklists of the listed tasks that may have changed.
func (r *reader) readChecklists(ctx context.Context, o *Options, s *Snapshot) error {
	for i := range s.Tasks {
		e := &s.Tasks[i]
		if !o.lists(e.Task) {
			continue
		}
		v := Version{ETag: e.ETag, Items: e.Items, Active: e.Active, ReadAt: r.now.UTC()}
		if e.Items == 0 {
			e.Checklist, e.Version = []planner.Item{}, nil
			continue
		}
		if e.Version != nil && e.Version.ETag == v.ETag && e.Version.Items == v.Items && e.Version.Active == v.Active && !r.isDue(e.Version.ReadAt, checklistInterval) {
			continue
		}
		if !r.next(ctx) {
			continue
		}
		items, err := planner.Checklist(ctx, r.g, e.ID)
		if err != nil {
			gone, err := r.failure(ctx, err)
			if err != nil {
				return err
			}
			if gone {
				e.Checklist, e.Version = nil, &v
			}
			continue
		}
		e.Checklist, e.Version = items, &v
	}
	return nil
}

// Same implements sensors.Comparer: when titles and checklists were read need not be written.
func (o *Options) Same(a, b *Snapshot) bool {
	return reflect.DeepEqual(a.withoutTimes(), b.withoutTimes())
}

func (s *Snapshot) withoutTimes() Snapshot {
	c := Snapshot{PlanID: s.PlanID, Plans: map[string]Plan{}, Tasks: slices.Clone(s.Tasks)}
	for id, p := range s.Plans {
		p.ReadAt = time.Time{}
		c.Plans[id] = p
	}
	for i, e := range c.Tasks {
		if e.Version != nil {
			v := *e.Version
			v.ReadAt = time.Time{}
			c.Tasks[i].Version = &v
		}
	}
	return c
}
