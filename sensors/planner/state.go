package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/planner"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// The types of the events, in the order of their documentation.
const (
	assigned  = "task_assigned"
	completed = "task_completed"
	changed   = "task_changed"
	removed   = "task_removed"
)

// Entities implements sensors.Source.
func (o *Options) Entities() []entity.Entity {
	return []entity.Entity{
		entity.Count("open", "Open tasks").WithIcon("mdi:clipboard-list").AsPrimary().WithDoc("How many tasks are not completed."),
		entity.Count("overdue", "Overdue tasks").WithIcon("mdi:clipboard-alert").WithDoc("How many open tasks were due before today."),
		entity.Sensor("next_due", "Next due").WithDeviceClass("date").WithIcon("mdi:calendar-clock").WithDoc("When the next open task is due, from today on."),
		entity.EventEntity(assigned, completed, changed, removed).WithIcon("mdi:clipboard-list").WithDoc("Fires when a task is assigned to you, completed, changed, or no longer assigned to you."),
	}
}

// State implements sensors.Source.
func (o *Options) State(s *Snapshot, _, now time.Time) entity.State {
	st := entity.State{ItemsKey: "data"}
	if s == nil {
		return st
	}
	today := now.Format(time.DateOnly)
	open, overdue, next := 0, 0, ""
	listed := make([]Entry, 0, len(s.Tasks))
	for _, e := range s.Tasks {
		if o.lists(e.Task) {
			listed = append(listed, e)
		}
		if e.IsCompleted() {
			continue
		}
		open++
		switch {
		case e.Due == "":
		case e.Due < today:
			overdue++
		case next == "" || e.Due < next:
			next = e.Due
		}
	}
	st.Values = map[string]any{"open": open, "overdue": overdue}
	if next != "" {
		st.Values["next_due"] = entity.Date(next)
		st.Next = dayAfter(next, now)
	}
	slices.SortFunc(listed, Entry.compare)
	st.Items = make([]any, 0, len(listed))
	for _, e := range listed {
		st.Items = append(st.Items, s.item(e))
	}
	return st
}

// dayAfter returns the first moment of the day after a date, in the zone of now.
func dayAfter(date string, now time.Time) time.Time {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return time.Time{}
	}
	return graph.StartOfDay(day.Year(), day.Month(), day.Day()+1, now.Location())
}

// compare orders open tasks before completed ones, then by due date, by priority, and by title.
func (e Entry) compare(o Entry) int {
	rank := func(e Entry) int {
		if e.IsCompleted() {
			return 1
		}
		return 0
	}
	due := func(e Entry) string { return cmp.Or(e.Due, "9999-99-99") }
	priority := func(e Entry) int {
		if e.Priority == nil {
			return 100
		}
		return *e.Priority
	}
	return cmp.Or(cmp.Compare(rank(e), rank(o)), cmp.Compare(due(e), due(o)), cmp.Compare(priority(e), priority(o)), cmp.Compare(e.Title, o.Title), cmp.Compare(e.ID, o.ID))
}

// item returns a task as lists and events show it.
func (s *Snapshot) item(e Entry) map[string]any {
	p := s.Plans[e.PlanID]
	var plan, checklist any
	if p.Title != nil {
		plan = *p.Title
	}
	if e.Checklist != nil {
		items := []any{}
		for _, i := range e.Checklist {
			items = append(items, map[string]any{"title": i.Title, "is_checked": i.Checked})
		}
		checklist = items
	}
	return map[string]any{
		"title": e.Title, "task_id": e.ID, "plan": plan, "bucket": graph.NullIfZero(p.Buckets[e.BucketID]), "due": graph.NullIfZero(e.Due),
		"percent": e.Percent, "priority": graph.NullIfZero(e.PriorityLabel()), "checklist": checklist,
	}
}

// Events implements sensors.Source.
func (o *Options) Events(before, after *Snapshot, _ time.Time) []entity.Event {
	return o.events(before, after, false)
}

// events returns what the change from before to after means. Tasks that are completed and not listed have no other events than their
// reopening.
func (o *Options) events(before, after *Snapshot, own bool) []entity.Event {
	var events []entity.Event
	add := func(what string, s *Snapshot, e Entry) {
		data := s.item(e)
		data["own"] = own
		events = append(events, entity.Event{Type: what, Data: data})
	}
	old := make(map[string]Entry, len(before.Tasks))
	for _, e := range before.Tasks {
		old[e.ID] = e
	}
	for _, e := range after.Tasks {
		was, known := old[e.ID]
		delete(old, e.ID)
		switch {
		case !known:
			if o.lists(e.Task) {
				add(assigned, after, e)
			}
		case e.IsCompleted() && !was.IsCompleted():
			if !o.lists(e.Task) { // its texts are not kept
				percent := e.Percent
				e = was
				e.Percent = percent
			}
			add(completed, after.withTitles(before), e)
		case (o.lists(e.Task) || o.lists(was.Task)) && !e.sameAs(was):
			add(changed, after, e)
		}
	}
	for _, e := range before.Tasks {
		if _, gone := old[e.ID]; gone && o.lists(e.Task) {
			add(removed, before, e)
		}
	}
	return events
}

// withTitles returns s with the titles of the plans that only other has: those of tasks that are no longer listed.
func (s *Snapshot) withTitles(other *Snapshot) *Snapshot {
	c := &Snapshot{Plans: map[string]Plan{}}
	for _, plans := range []map[string]Plan{other.Plans, s.Plans} {
		for id, p := range plans {
			c.Plans[id] = p
		}
	}
	return c
}

// sameAs reports whether the lists show the same of two states of a task. The titles of its plan and its bucket have no part in that.
func (e Entry) sameAs(o Entry) bool {
	if e.Title != o.Title || e.BucketID != o.BucketID || e.PlanID != o.PlanID || e.Due != o.Due || e.Percent != o.Percent || e.PriorityLabel() != o.PriorityLabel() {
		return false
	}
	if e.Checklist == nil || o.Checklist == nil {
		return e.Items == o.Items && e.Active == o.Active
	}
	return slices.Equal(e.Checklist, o.Checklist)
}

// Effects implements sensors.EffectProvider.
func (o *Options) Effects() []sensors.Effect[Snapshot] {
	return []sensors.Effect[Snapshot]{sensors.On(o.apply)}
}

// apply puts in place a task that this program changed.
func (o *Options) apply(s *Snapshot, c planner.Changed, now time.Time) (*Snapshot, []entity.Event) {
	at := slices.IndexFunc(s.Tasks, func(e Entry) bool { return e.ID == c.ID })
	if at < 0 || !c.Own {
		return s, nil // the next poll brings what it means
	}
	after := *s
	after.Tasks = slices.Clone(s.Tasks)
	e := s.Tasks[at]
	replaced := slices.Clone(e.Replaced)
	for _, etag := range []string{e.ETag, c.Replaced} {
		if etag != "" && etag != c.ETag && !slices.Contains(replaced, etag) {
			replaced = append(replaced, etag)
		}
	}
	e.Task, e.WrittenAt = c.Task, now.UTC()
	e.Replaced = replaced[max(0, len(replaced)-maxReplaced):]
	after.Tasks[at] = e
	return &after, o.events(s, &after, true)
}

// describe implements sensors.Kind.Describe.
func describe(e entity.Event) string {
	title, _ := e.Data["title"].(string)
	title = cmp.Or(title, "(no title)")
	switch e.Type {
	case assigned:
		return title + " was assigned"
	case completed:
		return title + " was completed"
	case changed:
		return fmt.Sprintf("%s was changed, %v%% done", title, e.Data["percent"])
	case removed:
		return title + " is no longer assigned"
	}
	return ""
}
