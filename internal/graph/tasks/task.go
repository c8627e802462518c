package tasks

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

// Completed is the status of a completed task.
const Completed = "completed"

// maxDescription is the maximum length of a description, in characters.
const maxDescription = 1000

// A Task is a task of a list. Times are in UTC.
type Task struct {
	ID          string
	Subject     string
	Status      string // notStarted, inProgress, completed, waitingOnOthers or deferred
	Importance  string // low, normal or high
	Categories  []string
	Description string    // as text, at most 1,000 characters
	Due         time.Time // midnight in a zone that Graph does not tell, see DueDate; zero: none
	DueZoned    string    // the date, where Graph tells the zone
	Reminder    time.Time // zero: none
	Completed   string    // date; "": not completed
	Created     time.Time // zero: not known
	Modified    time.Time // zero: not known
	Recurring   bool
	Steps       []Step
}

// A Step is a step of a task.
type Step struct {
	ID      string
	Name    string
	Checked bool
	Created time.Time
}

// Done reports whether the task is completed.
func (t Task) Done() bool { return t.Status == Completed }

func (t Task) open() bool { return !t.Done() }

// DueDate returns the day on which the task is due, or "". Graph stores the midnight of its author's time zone as an instant without
// that zone. Midnight in UTC is that date; anything else is rounded to the nearest midnight of loc, which is right for authors less
// than 12 hours away.
func (t Task) DueDate(loc *time.Location) string {
	switch {
	case t.DueZoned != "":
		return t.DueZoned
	case t.Due.IsZero():
		return ""
	case t.Due.Equal(t.Due.Truncate(24 * time.Hour)):
		return t.Due.UTC().Format(time.DateOnly)
	}
	y, m, d := t.Due.In(loc).Date()
	begin := func(day int) time.Time { return graph.StartOfDay(y, m, day, loc) }
	// By the calendar: where clocks skip midnight, the day begins at one o'clock.
	if before, after := t.Due.Sub(begin(d)), begin(d+1).Sub(t.Due); after <= before {
		d++
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// Equal reports whether a and b show the same.
func (t Task) Equal(o Task) bool {
	return t.ID == o.ID && t.Subject == o.Subject && t.Status == o.Status && t.Importance == o.Importance && slices.Equal(t.Categories, o.Categories) &&
		t.Description == o.Description && t.Due.Equal(o.Due) && t.DueZoned == o.DueZoned && t.Reminder.Equal(o.Reminder) && t.Completed == o.Completed &&
		t.Recurring == o.Recurring && slices.EqualFunc(t.Steps, o.Steps, func(a, b Step) bool { return a.ID == b.ID && a.Name == b.Name && a.Checked == b.Checked })
}

type taskDTO struct {
	ID         string   `json:"id"`
	Title      string   `json:"title"`
	Status     string   `json:"status"`
	Importance string   `json:"importance"`
	Categories []string `json:"categories"`
	Body       struct {
		Content     string `json:"content"`
		ContentType string `json:"contentType"`
	} `json:"body"`
	Due        graph.DateTimeTimeZone `json:"dueDateTime"`
	Reminder   graph.DateTimeTimeZone `json:"reminderDateTime"`
	ReminderOn bool                   `json:"isReminderOn"`
	Completed  graph.DateTimeTimeZone `json:"completedDateTime"`
	Created    string                 `json:"createdDateTime"`
	Modified   string                 `json:"lastModifiedDateTime"`
	Recurrence *struct{}              `json:"recurrence"`
	Steps      []stepDTO              `json:"checklistItems"`
	Extensions []extensionDTO         `json:"extensions"`
}

type stepDTO struct {
	ID      string `json:"id"`
	Name    string `json:"displayName"`
	Checked bool   `json:"isChecked"`
	Created string `json:"createdDateTime"`
}

func (d stepDTO) step() Step { return Step{d.ID, d.Name, d.Checked, instant(d.Created)} }

// instant returns a time in UTC; zero for none, and for one that cannot be read: the rest of the task is worth more.
func instant(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// fields returns the properties that are read.
func fields() []string {
	return []string{
		"id", "title", "status", "importance", "categories", "body", "dueDateTime", "reminderDateTime", "isReminderOn", "completedDateTime",
		"createdDateTime", "lastModifiedDateTime", "recurrence",
	}
}

func (d taskDTO) task(op string) (Task, error) {
	if d.ID == "" {
		return Task{}, graph.Incomplete(op, "id of a task")
	}
	t := Task{
		ID: d.ID, Subject: d.Title, Status: graph.Spell(d.Status, statuses()), Importance: strings.ToLower(d.Importance), Created: instant(d.Created), Modified: instant(d.Modified),
		Recurring: d.Recurrence != nil,
	}
	if len(d.Categories) > 0 {
		t.Categories = d.Categories
	}
	if t.Description = d.Body.Content; strings.EqualFold(d.Body.ContentType, "html") {
		t.Description = htmltext.Text(d.Body.Content)
	}
	t.Description = graph.Truncate(strings.TrimSpace(t.Description), maxDescription)
	// A time that cannot be read is none: the rest of the task is worth more.
	if due, err := d.Due.Time(); err == nil && !due.IsZero() {
		t.Due = due.UTC()
		if hour, minute, second := due.Clock(); due.Location() != time.UTC && hour+minute+second == 0 {
			t.DueZoned = due.Format(time.DateOnly)
		}
	}
	if reminder, err := d.Reminder.Time(); err == nil && d.ReminderOn {
		t.Reminder = reminder.UTC()
	}
	if completed, err := d.Completed.Date(); err == nil && t.Done() {
		t.Completed = completed
	}
	for _, s := range d.Steps {
		if s.ID != "" {
			t.Steps = append(t.Steps, s.step())
		}
	}
	return t, nil
}

func statuses() []string {
	return []string{"notStarted", "inProgress", Completed, "waitingOnOthers", "deferred"}
}

func convert(op string, all []taskDTO) ([]Task, error) {
	list := make([]Task, 0, len(all))
	seen := map[string]bool{}
	for _, d := range all {
		t, err := d.task(op)
		if err != nil {
			return nil, err
		}
		if !seen[t.ID] { // a task that moves while pages are read is in two of them
			seen[t.ID] = true
			list = append(list, t)
		}
	}
	return list, nil
}

const (
	opRead     = "read the tasks"
	opReadTask = "read the task"
)

// Open returns the open tasks of the list with this id, with their steps.
func Open(ctx context.Context, g *graph.Client, list string) ([]Task, error) {
	all, err := read(ctx, g, list, "status ne 'completed'")
	return slices.DeleteFunc(all, Task.Done), err
}

// All returns all tasks of the list with this id, with their steps.
func All(ctx context.Context, g *graph.Client, list string) ([]Task, error) {
	return read(ctx, g, list, "")
}

func read(ctx context.Context, g *graph.Client, list, filter string) ([]Task, error) {
	q := &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{Top: new(int32(pageSize)), Select: fields(), Expand: []string{"checklistItems"}}
	if filter != "" {
		q.Filter = &filter
	}
	get := func() ([]taskDTO, error) {
		return graph.GetAll[taskDTO](ctx, g, opRead, tasksOf(g, list).ToGetRequestInformation,
			&users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{Headers: headers(), QueryParameters: q})
	}
	all, err := get()
	if graph.Is(err, graph.InvalidArgument) {
		// To Do does not document which query options go together. Every property is more than needed.
		q.Select = nil
		all, err = get()
	}
	if err != nil {
		return nil, err
	}
	return convert(opRead, all)
}

// Latest returns the tasks that were completed last, at most as many as most, which is at most 1,000.
func Latest(ctx context.Context, g *graph.Client, list string, most int) ([]Task, error) {
	type page struct {
		Value []taskDTO `json:"value"`
	}
	p, err := graph.Get[page](ctx, g, opRead, tasksOf(g, list).ToGetRequestInformation, &users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{
			Top: new(int32(most)), Select: fields(), Expand: []string{"checklistItems"}, Filter: new("status eq 'completed'"), Orderby: []string{"lastModifiedDateTime desc"},
		},
	})
	switch {
	case graph.Is(err, graph.InvalidArgument): // not in this order
		all, err := read(ctx, g, list, "status eq 'completed'")
		all = slices.DeleteFunc(all, Task.open)
		slices.SortStableFunc(all, func(a, b Task) int { return b.Modified.Compare(a.Modified) })
		return all[:min(len(all), most)], err
	case err != nil:
		return nil, err
	case p.Value == nil:
		return nil, graph.Incomplete(opRead, "list")
	}
	all, err := convert(opRead, p.Value)
	return slices.DeleteFunc(all, Task.open), err
}

// Get returns the task with this id, with its steps.
func Get(ctx context.Context, g *graph.Client, list, id string) (Task, error) {
	q := &users.ItemTodoListsItemTasksTodoTaskItemRequestBuilderGetQueryParameters{Select: fields(), Expand: []string{"checklistItems"}}
	get := func() (taskDTO, error) {
		return graph.Get[taskDTO](ctx, g, opReadTask, tasksOf(g, list).ByTodoTaskId(id).ToGetRequestInformation,
			&users.ItemTodoListsItemTasksTodoTaskItemRequestBuilderGetRequestConfiguration{Headers: headers(), QueryParameters: q})
	}
	d, err := get()
	if graph.Is(err, graph.InvalidArgument) { // as in read
		q.Select = nil
		d, err = get()
	}
	if err != nil {
		return Task{}, err
	}
	return d.task(opReadTask)
}

// Statuses returns all tasks of a list with their ids and states only.
func Statuses(ctx context.Context, g *graph.Client, list string) ([]Task, error) {
	all, err := graph.GetAll[taskDTO](ctx, g, opRead, tasksOf(g, list).ToGetRequestInformation, &users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{Top: new(int32(pageSize)), Select: stateFields()},
	})
	if err != nil {
		return nil, err
	}
	return convert(opRead, all)
}

func stateFields() []string { return []string{"id", "status", "completedDateTime"} }
