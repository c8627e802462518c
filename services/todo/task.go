package todo

import (
	"context"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// clockSkew bounds the difference between this machine's clock and Exchange's.
const clockSkew = 15 * time.Minute

// TaskFields are the fields that creating and changing a task share.
type TaskFields struct {
	Description *string              `json:"description" doc:"Note, as text."`
	Due         *string              `json:"due" doc:"Day on which it is due. To Do keeps no time."`
	Reminder    *string              `json:"reminder" doc:"Time of the reminder, in the account's time zone unless an offset is given."`
	Importance  *string              `json:"importance" enum:"low,normal,high" doc:"Importance."`
	Categories  *[]string            `json:"categories" doc:"Names of all categories of the task."`
	Recurrence  *services.Recurrence `json:"recurrence" doc:"Repeat the task by this pattern, starting on the due date."`
}

// validate returns an error for values that are wrong in every time zone.
func (f *TaskFields) validate() error {
	if f.Categories != nil {
		for _, c := range *f.Categories {
			if strings.TrimSpace(c) == "" || strings.Contains(c, ",") { // Outlook separates them by commas
				return graph.Invalid("categories: want names without commas, not %s", services.QuoteForError(c))
			}
		}
	}
	if f.Recurrence != nil {
		if err := f.Recurrence.Validate("recurrence"); err != nil {
			return err
		}
	}
	_, err := f.fields(time.UTC)
	// Which times the clocks skip is known in the account's zone only.
	return err
}

// fields returns what to write, without a recurrence.
func (f *TaskFields) fields(loc *time.Location) (w tasks.Fields, err error) {
	w.Description, w.Importance, w.Categories = f.Description, f.Importance, f.Categories
	if f.Due != nil {
		due, err := dueDate(*f.Due, loc)
		if err != nil {
			return w, err
		}
		w.Due = &due
	}
	if f.Reminder != nil {
		at, err := services.ParseTime("reminder", *f.Reminder, loc)
		if err != nil {
			return w, err
		}
		w.Reminder = &at
	}
	return w, nil
}

// dueDate returns when a day begins in loc. A time, which the integrations for Home Assistant accept, stands for its day in loc.
func dueDate(s string, loc *time.Location) (time.Time, error) {
	at, err := services.ParseTimeOrDate("due", s, loc)
	if err != nil {
		return time.Time{}, graph.Invalid("due: want a date, such as 2026-12-01, not %s", services.QuoteForError(s))
	}
	y, m, d := at.In(loc).Date()
	return graph.StartOfDay(y, m, d, loc), nil
}

// Create creates a task.
type Create struct {
	target Target

	Subject string `json:"subject" required:"true" doc:"Title."`
	TaskFields
}

// Validate returns an error for values that Graph would refuse.
func (r *Create) Validate() error {
	if err := checkSubject("subject", r.Subject); err != nil {
		return err
	}
	if r.Recurrence != nil && r.Due == nil {
		return graph.Invalid("recurrence: want due as well, the day on which it is due first")
	}
	return r.validate()
}

// checkSubject returns an error for a title that To Do refuses.
func checkSubject(field, s string) error {
	if strings.TrimSpace(s) == "" {
		return graph.Invalid("%s: want a text that is not empty", field)
	}
	return services.CheckSubject(field, s)
}

// Execute implements services.Request.
func (r *Create) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	w, err := r.fields(a.Now.Location())
	if err != nil {
		return nil, err
	}
	w.Subject = &r.Subject
	if r.Recurrence != nil {
		if w.Recurrence, err = r.Recurrence.Pattern("recurrence", *w.Due); err != nil {
			return nil, err
		}
	}
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	return tasks.Create(ctx, g, list, w, a.ID)
}

// Verify implements services.Verifier.
func (r *Create) Verify(ctx context.Context, g *graph.Client, a services.Attempt) (any, bool, error) {
	return verify(ctx, g, r.target, func(ctx context.Context, list string) (any, bool, error) {
		return tasks.Created(ctx, g, list, a.ID, a.Now.Add(-clockSkew))
	})
}

// Update changes a task.
type Update struct {
	target Target

	TodoID  string  `json:"todo_id" required:"true" doc:"Id of the task, as in the list."`
	Subject *string `json:"subject" doc:"Title."`
	TaskFields
	Status         *string `json:"status" enum:"notStarted,inProgress,waitingOnOthers,deferred" doc:"Status. To complete a task, use complete."`
	RemoveDue      bool    `json:"remove_due" doc:"Remove the due date."`
	RemoveReminder bool    `json:"remove_reminder" doc:"Remove the reminder."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Update) Validate() error {
	if err := checkID(r.TodoID); err != nil {
		return err
	}
	if r.Subject != nil {
		if err := checkSubject("subject", *r.Subject); err != nil {
			return err
		}
	}
	switch {
	case r.RemoveDue && r.Due != nil:
		return graph.Invalid("remove_due: not with due")
	case r.RemoveDue && r.Recurrence != nil:
		return graph.Invalid("remove_due: not with recurrence, which repeats the due date")
	case r.RemoveReminder && r.Reminder != nil:
		return graph.Invalid("remove_reminder: not with reminder")
	case r.Subject == nil && r.TaskFields == (TaskFields{}) && r.Status == nil && !r.RemoveDue && !r.RemoveReminder:
		return graph.Invalid("want a field to change: subject, description, due, reminder, importance, categories, recurrence, status, remove_due or remove_reminder")
	}
	return r.validate()
}

// Execute implements services.Request.
func (r *Update) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	loc := a.Now.Location()
	w, err := r.fields(loc)
	if err != nil {
		return nil, err
	}
	w.Subject, w.Status = r.Subject, r.Status
	if r.RemoveDue {
		w.Due = new(time.Time)
	}
	if r.RemoveReminder {
		w.Reminder = new(time.Time)
	}
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	if r.Recurrence != nil {
		first := w.Due
		if first == nil {
			t, err := tasks.Get(ctx, g, list, r.TodoID)
			if err != nil {
				return nil, err
			}
			date := t.DueDate(loc)
			if date == "" {
				return nil, graph.Invalid("recurrence: want due as well: the task has no due date")
			}
			due, err := dueDate(date, loc)
			if err != nil {
				return nil, err
			}
			first = &due
		}
		if w.Recurrence, err = r.Recurrence.Pattern("recurrence", *first); err != nil {
			return nil, err
		}
	}
	return tasks.Update(ctx, g, list, r.TodoID, w)
}

// Delete deletes a task.
type Delete struct {
	target Target

	TodoID string `json:"todo_id" required:"true" doc:"Id of the task, as in the list."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Delete) Validate() error { return checkID(r.TodoID) }

// Execute implements services.Request.
func (r *Delete) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	deleted, err := tasks.Delete(ctx, g, list, r.TodoID)
	return deleted, goneIfRepeated(err, a)
}

// goneIfRepeated drops the error of a repetition that finds nothing to delete.
func goneIfRepeated(err error, a services.Attempt) error {
	if a.Repeated && graph.Is(err, graph.NotFound) {
		return nil
	}
	return err
}

// Complete completes a task.
type Complete struct {
	target Target

	TodoID string `json:"todo_id" required:"true" doc:"Id of the task, as in the list."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Complete) Validate() error { return checkID(r.TodoID) }

// Execute implements services.Request.
func (r *Complete) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	if a.Repeated {
		// A recurring task may go on under its id. Completing it again would complete the next occurrence.
		t, err := tasks.Get(ctx, g, list, r.TodoID)
		switch {
		case err != nil:
			return nil, err
		case t.Done():
			return tasks.Ticked{Task: t}, nil
		case t.Recurring && !t.Modified.Before(a.Now.Add(-clockSkew)):
			return nil, &services.Error{Code: services.InDoubt, Message: "it is not known whether the recurring task was completed: it was changed at about the same time; it is not completed again"}
		}
	}
	changed, err := tasks.Update(ctx, g, list, r.TodoID, tasks.Fields{Status: new(tasks.Completed)})
	return tasks.Ticked(changed), err
}

// Reopen makes a completed task an open one.
type Reopen struct {
	target Target

	TodoID string `json:"todo_id" required:"true" doc:"Id of the task, as in the list of completed ones."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Reopen) Validate() error { return checkID(r.TodoID) }

// Execute implements services.Request.
func (r *Reopen) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	list, err := r.target.id(ctx, g)
	if err != nil {
		return nil, err
	}
	return tasks.Update(ctx, g, list, r.TodoID, tasks.Fields{Status: new("notStarted")})
}
