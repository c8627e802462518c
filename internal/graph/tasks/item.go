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
	due := make(map[string]string, len(all))
	for _, t := range all {
		due[t.ID] = cmp.Or(t.DueDate(loc), "9999")
	}
	reminder := func(t Task) int64 {
		if t.Reminder.IsZero() {
			return math.MaxInt64
		}
		return t.Reminder.Unix()
	}
	slices.SortFunc(all, func(a, b Task) int {
		switch {
		case a.Done() != b.Done() && a.Done():
			return 1
		case a.Done() != b.Done():
			return -1
		case a.Done():
			return cmp.Or(cmp.Compare(b.Completed, a.Completed), b.Modified.Compare(a.Modified), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Or(cmp.Compare(due[a.ID], due[b.ID]), cmp.Compare(reminder(a), reminder(b)), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
}
