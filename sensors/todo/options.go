package todo

import (
	"errors"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// all is the list that stands for each list.
const all = "all"

// Options are the options of a task list. They are the sensors.Source of its tasks.
type Options struct {
	List           string         `koanf:"list" form:"true" doc:"The name or id of the list; defaultList or flaggedEmails, the built-in lists in any language; or all for every list. With all, new lists are added and deleted ones removed automatically."`
	Except         []string       `koanf:"except" doc:"With list: all, the names or ids of lists to leave out."`
	ShowCompleted  bool           `koanf:"show_completed" doc:"Also show the most recently completed tasks."`
	DueStartOffset *time.Duration `koanf:"due_start_offset" doc:"Show only tasks that are due at this time or later, relative to the start of today, such as -24h for yesterday. Tasks without a due date are not shown." min:"-87840h" max:"87840h"`
	DueEndOffset   *time.Duration `koanf:"due_end_offset" doc:"Show only tasks that are due at this time or earlier, like due_start_offset: 0h is today, 24h tomorrow." min:"-87840h" max:"87840h"`
	MaxTodos       int            `koanf:"max_todos" doc:"Maximum number of tasks in the list. With show_completed, it also limits the completed tasks that are read. The counts include all tasks." min:"1" max:"1000"`
}

// Validate returns an error for options that cannot work together.
func (o *Options) Validate() error {
	var errs []error
	if o.List == "" {
		errs = append(errs, schema.At("list", errors.New("want the name or id of a list, or all")))
	}
	if len(o.Except) > 0 && o.List != all {
		errs = append(errs, schema.At("except", errors.New("only with list: all")))
	}
	if o.DueStartOffset != nil && o.DueEndOffset != nil && *o.DueEndOffset < *o.DueStartOffset {
		errs = append(errs, schema.At("due_end_offset", fmt.Errorf("want at least due_start_offset, %s, not %s", *o.DueStartOffset, *o.DueEndOffset)))
	}
	return errors.Join(errs...)
}

// filter returns a function that reports whether a task is shown at now.
func (o *Options) filter(now time.Time) func(tasks.Task) bool {
	if o.DueStartOffset == nil && o.DueEndOffset == nil {
		return func(tasks.Task) bool { return true }
	}
	loc := now.Location()
	midnight := today(now)
	return func(t tasks.Task) bool {
		due, err := time.Parse(time.DateOnly, t.DueDate(loc))
		return err == nil && (o.DueStartOffset == nil || !due.Before(midnight.Add(*o.DueStartOffset))) && (o.DueEndOffset == nil || !due.After(midnight.Add(*o.DueEndOffset)))
	}
}

// today returns the date of now as its midnight in UTC: dates are compared there because every day has 24 hours and a midnight.
func today(now time.Time) time.Time {
	y, m, d := now.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// tomorrow returns the first moment of the day after that of now.
func tomorrow(now time.Time) time.Time {
	y, m, d := now.Date()
	return graph.StartOfDay(y, m, d+1, now.Location())
}
