package todo

import (
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// Effects implements sensors.EffectProvider.
func (o *Options) Effects() []sensors.Effect[Snapshot] {
	return []sensors.Effect[Snapshot]{
		sensors.On(o.applyChange), sensors.On(o.applyCompletion), sensors.On(o.applyDeletion), sensors.On(o.applyStep), sensors.On(o.applyStepDeletion),
	}
}

// put returns s with a task in place, which is removed from where it was.
func (o *Options) put(s *Snapshot, t tasks.Task) *Snapshot {
	after := s.withoutEvents()
	at := slices.IndexFunc(s.Open, func(old tasks.Task) bool { return old.ID == t.ID })
	without := func(all []tasks.Task) []tasks.Task {
		return slices.DeleteFunc(slices.Clone(all), func(old tasks.Task) bool { return old.ID == t.ID })
	}
	after.Done = without(s.Done)
	switch {
	case t.Done():
		after.Open = without(s.Open)
		if o.ShowCompleted {
			after.Done = append([]tasks.Task{t}, after.Done...)
		}
	case at >= 0:
		after.Open = slices.Clone(s.Open)
		after.Open[at] = t
	default:
		after.Open = append(slices.Clone(s.Open), t)
	}
	after.addKnown(t)
	return after
}

// applyChange puts in place a task that was created, changed or reopened.
func (o *Options) applyChange(s *Snapshot, changed tasks.Changed, now time.Time) (*Snapshot, []entity.Event) {
	t := changed.Task
	old, was := find(slices.Concat(s.Open, s.Done), t.ID)
	if was {
		t.Steps = old.Steps
		if old.Equal(t) {
			return s, nil
		}
	}
	what := created
	if was || s.known()[hash(t.ID)] {
		what = changedType
	}
	return o.put(s, t), []entity.Event{eventOf(what, t, true, now)}
}

// applyCompletion takes away a task that was completed, or puts in place the next occurrence of a recurring one.
func (o *Options) applyCompletion(s *Snapshot, ticked tasks.Ticked, now time.Time) (*Snapshot, []entity.Event) {
	t := ticked.Task
	old, was := find(s.Open, t.ID)
	if !was {
		return s, nil // it was completed before, or the next poll brings it
	}
	t.Steps = old.Steps
	after := o.put(s, t)
	if !t.Done() {
		after.Copies = append(slices.Clone(s.Copies), Copy{old.Subject, now.UTC()})
		t = old
		t.Status, t.Completed = tasks.Completed, now.UTC().Format(time.DateOnly)
	}
	return after, []entity.Event{completedEvent(t, true, now)}
}

// applyDeletion takes away a task that was deleted.
func (o *Options) applyDeletion(s *Snapshot, d tasks.Deleted, now time.Time) (*Snapshot, []entity.Event) {
	old, was := find(slices.Concat(s.Open, s.Done), d.ID)
	if !was {
		return s, nil
	}
	after := s.withoutEvents()
	is := func(t tasks.Task) bool { return t.ID == d.ID }
	after.Open, after.Done = slices.DeleteFunc(slices.Clone(s.Open), is), slices.DeleteFunc(slices.Clone(s.Done), is)
	return after, []entity.Event{eventOf(removed, old, true, now)}
}

// changeSteps puts in place a task whose steps change changes.
func (o *Options) changeSteps(s *Snapshot, id string, now time.Time, change func([]tasks.Step) []tasks.Step) (*Snapshot, []entity.Event) {
	old, was := find(slices.Concat(s.Open, s.Done), id)
	if !was {
		return s, nil
	}
	t := old
	t.Steps = change(slices.Clone(old.Steps))
	if old.Equal(t) {
		return s, nil
	}
	return o.put(s, t), []entity.Event{eventOf(changedType, t, true, now)}
}

func (o *Options) applyStep(s *Snapshot, changed tasks.StepChanged, now time.Time) (*Snapshot, []entity.Event) {
	return o.changeSteps(s, changed.TaskID, now, func(steps []tasks.Step) []tasks.Step {
		if i := slices.IndexFunc(steps, func(old tasks.Step) bool { return old.ID == changed.ID }); i >= 0 {
			steps[i] = changed.Step
			return steps
		}
		return append(steps, changed.Step)
	})
}

func (o *Options) applyStepDeletion(s *Snapshot, d tasks.StepDeleted, now time.Time) (*Snapshot, []entity.Event) {
	return o.changeSteps(s, d.TaskID, now, func(steps []tasks.Step) []tasks.Step {
		return slices.DeleteFunc(steps, func(old tasks.Step) bool { return old.ID == d.ID })
	})
}
