package todo

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

const (
	// readInterval is the time after which the tasks are read although nothing seems to have changed: Graph need not report that a step
	// changed. It is a little shorter than five minutes because polls are not exactly on time.
	readInterval = 4*time.Minute + 30*time.Second
	// maxSingle is the number of tasks from which on their states are read all at once.
	maxSingle = 5
	// maxFinished bounds the completed tasks that one poll reads because they were never seen open.
	maxFinished = 20
	// copyTime bounds the time until the completed copy of a recurring task appears.
	copyTime = 10 * time.Minute
)

// Poll implements sensors.Source.
func (o *Options) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	if last == nil {
		i, err := tasks.Find(ctx, g, o.List)
		if err != nil {
			return nil, err
		}
		s := &Snapshot{ListID: i.ID}
		return s, o.poll(ctx, g, s, nil, now)
	}
	s := last.withoutEvents()
	err := o.poll(ctx, g, s, last, now)
	if graph.Is(err, graph.NotFound) { // it may have been deleted and created again
		i, lost := tasks.Find(ctx, g, o.List)
		if lost != nil {
			return nil, lost
		}
		if i.ID != last.ListID {
			s = &Snapshot{ListID: i.ID}
			err = o.poll(ctx, g, s, nil, now)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// poll asks whether anything changed, and reads the tasks where something did.
func (o *Options) poll(ctx context.Context, g *graph.Client, s, last *Snapshot, now time.Time) error {
	n, err := s.changes(ctx, g, now)
	if err != nil {
		return err
	}
	s.Copies = slices.DeleteFunc(slices.Clone(s.Copies), func(c Copy) bool { return now.Sub(c.At).Abs() > copyTime })
	if len(s.Copies) == 0 {
		s.Copies = nil
	}
	if since := now.Sub(s.ReadAt); last != nil && !n.Any() && since >= 0 && since < readInterval && !sensors.ReadAll(ctx) {
		return nil
	}
	if s.Open, err = tasks.Open(ctx, g, s.ListID); err != nil {
		return err
	}
	if o.ShowCompleted {
		if s.Done, err = tasks.Latest(ctx, g, s.ListID, o.MaxTodos); err != nil {
			return err
		}
	}
	if last != nil {
		if err := o.findOutcomes(ctx, g, s, last, n, now); err != nil {
			return err
		}
	}
	s.ReadAt = now.UTC()
	s.addKnown(n.Changed...)
	s.addKnown(s.Open...)
	s.addKnown(s.Done...)
	return nil
}

// changes asks whether anything changed. The tasks that it returns have their ids and states.
func (s *Snapshot) changes(ctx context.Context, g *graph.Client, now time.Time) (graph.ChangeReport[tasks.Task], error) {
	return graph.Ask(&s.Watch, now,
		func(link string) (graph.DeltaChanges[tasks.Task], error) {
			return tasks.Changes(ctx, g, s.ListID, link)
		},
		func() (graph.Probe, error) { return tasks.ReadProbe(ctx, g, s.ListID) })
}

// findOutcomes finds out what became of the tasks that are no longer open, and which completed ones were never seen open.
func (o *Options) findOutcomes(ctx context.Context, g *graph.Client, s, last *Snapshot, n graph.ChangeReport[tasks.Task], now time.Time) error {
	open, done, changed := byID(s.Open), byID(s.Done), byID(n.Changed)
	var unknown []tasks.Task
	for _, t := range last.Open {
		if _, ok := open[t.ID]; ok {
			continue
		}
		state, ok := changed[t.ID]
		if !ok {
			state, ok = done[t.ID]
		}
		switch {
		case ok && state.Done():
			s.Outcomes = append(s.Outcomes, Outcome{ID: t.ID, Completed: state.Completed})
		case slices.Contains(n.Removed, t.ID):
			s.Outcomes = append(s.Outcomes, Outcome{ID: t.ID, Removed: true})
		default:
			unknown = append(unknown, t)
		}
	}
	if err := o.lookUp(ctx, g, s, unknown); err != nil {
		return err
	}
	for _, t := range last.Done {
		if slices.Contains(n.Removed, t.ID) {
			s.Outcomes = append(s.Outcomes, Outcome{ID: t.ID, Removed: true})
		}
	}
	if n.Incomplete {
		return nil
	}
	known := last.known()
	asked := 0
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		if state := changed[id]; !state.Done() || known[hash(id)] || asked == maxFinished {
			continue
		}
		asked++
		t, err := tasks.Get(ctx, g, s.ListID, id)
		if graph.Is(err, graph.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(s.Copies, func(c Copy) bool { return c.Subject == t.Subject }); i >= 0 {
			s.Copies = slices.Delete(slices.Clone(s.Copies), i, i+1)
			continue
		}
		if t.Done() {
			s.Finished = append(s.Finished, t)
		}
	}
	if len(s.Copies) == 0 {
		s.Copies = nil
	}
	return nil
}

// lookUp finds out what became of tasks that Graph did not report. One that is open after all was moved while the pages were read.
func (o *Options) lookUp(ctx context.Context, g *graph.Client, s *Snapshot, lost []tasks.Task) error {
	var states map[string]tasks.Task
	if len(lost) > maxSingle {
		all, err := tasks.Statuses(ctx, g, s.ListID)
		if err != nil {
			return err
		}
		states = byID(all)
	}
	for _, t := range lost {
		state, ok := states[t.ID]
		if states == nil {
			var err error
			state, err = tasks.Get(ctx, g, s.ListID, t.ID)
			if ok = !graph.Is(err, graph.NotFound); ok && err != nil {
				return err
			}
		}
		switch {
		case !ok:
			s.Outcomes = append(s.Outcomes, Outcome{ID: t.ID, Removed: true})
		case state.Done():
			s.Outcomes = append(s.Outcomes, Outcome{ID: t.ID, Completed: state.Completed})
		case states != nil:
			s.Open = append(s.Open, t)
		default:
			s.Open = append(s.Open, state)
		}
	}
	return nil
}
