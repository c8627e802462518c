package tasks

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Item returns t as lists and events show it. Its keys are those of the O365 and MS365 integrations for Home Assistant, for whose
// entities many templates exist; its enumerations have Microsoft's spelling.
func (t Task) Item(loc *time.Location) map[string]any {
	steps := []any{}
	for _, s := range t.Steps {
		steps = append(steps, map[string]any{"id": s.ID, "name": s.Name, "is_checked": s.Checked})
	}
	item := t.Summary(loc)
	item["description"], item["completed"] = graph.NullIfZero(t.Description), graph.NullIfZero(t.Completed)
	item["checklist_items"], item["categories"] = steps, append([]string{}, t.Categories...)
	item["recurring"] = t.Recurring
	return item
}

// Summary returns the part of t's Item that says what is to be done, and when.
func (t Task) Summary(loc *time.Location) map[string]any {
	item := map[string]any{
		"subject": t.Subject, "todo_id": t.ID, "status": graph.NullIfZero(t.Status), "importance": graph.NullIfZero(t.Importance),
		"due": graph.NullIfZero(t.DueDate(loc)), "reminder": nil,
	}
	if !t.Reminder.IsZero() {
		item["reminder"] = t.Reminder.In(loc)
	}
	return item
}

// Sort sorts tasks as lists show them: open ones by due date and reminder, those without one after them; then the completed ones, the
// latest first.
func Sort(all []Task, loc *time.Location) {
	places := make(map[string]Place, len(all))
	for _, t := range all {
		places[t.ID] = t.Place(loc)
	}
	slices.SortFunc(all, func(a, b Task) int { return places[a.ID].Compare(places[b.ID]) })
}

// A Place is the position of a task in a sorted list. JSON can hold it.
type Place struct {
	Done      bool      `json:"d,omitempty"`
	Completed string    `json:"c,omitempty"` // date; only of completed tasks, like Modified
	Modified  time.Time `json:"m,omitzero"`
	Due       string    `json:"u,omitempty"` // date, or later than all; only of open tasks, like the following
	Reminder  int64     `json:"r,omitempty"` // seconds
	Created   time.Time `json:"t,omitzero"`
	ID        string    `json:"i"`
}

// Place returns the position of the task in a list that [Sort] sorted.
func (t Task) Place(loc *time.Location) Place {
	if t.Done() {
		return Place{Done: true, Completed: t.Completed, Modified: t.Modified, ID: t.ID}
	}
	p := Place{Due: cmp.Or(t.DueDate(loc), "9999"), Reminder: math.MaxInt64, Created: t.Created, ID: t.ID}
	if !t.Reminder.IsZero() {
		p.Reminder = t.Reminder.Unix()
	}
	return p
}

// Compare returns a negative number if p is before o, and a positive one if it is after it.
func (p Place) Compare(o Place) int {
	switch {
	case p.Done != o.Done && p.Done:
		return 1
	case p.Done != o.Done:
		return -1
	case p.Done:
		return cmp.Or(cmp.Compare(o.Completed, p.Completed), o.Modified.Compare(p.Modified), cmp.Compare(p.ID, o.ID))
	}
	return cmp.Or(cmp.Compare(p.Due, o.Due), cmp.Compare(p.Reminder, o.Reminder), p.Created.Compare(o.Created), cmp.Compare(p.ID, o.ID))
}
