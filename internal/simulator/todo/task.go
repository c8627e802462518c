package todo

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A task is a stored task.
type task struct {
	id         string
	properties map[string]any // those that a client may set, times in UTC
	location   *time.Location // in which the due date was set: a recurring task keeps it
	created    time.Time
	modified   time.Time
	etag       string
	steps      []map[string]any
	extensions []any
}

const layout = "2006-01-02T15:04:05.0000000"

func utc(t time.Time) map[string]any {
	return map[string]any{"dateTime": t.UTC().Format(layout), "timeZone": "UTC"}
}

func (l *list) byID(id string) *task {
	i := slices.IndexFunc(l.tasks, func(t *task) bool { return t.id == id })
	if i < 0 {
		return nil
	}
	return l.tasks[i]
}

func (s *Service) newTask(l *list) *task {
	now := s.directory.Now()
	t := &task{id: l.owner.id(152), location: time.UTC, created: now, modified: now, etag: s.etag(), properties: map[string]any{
		"title": "", "body": map[string]any{"content": "", "contentType": "text"}, "status": "notStarted", "importance": "normal", "categories": []any{}, "isReminderOn": false,
	}}
	return t
}

func (t *task) json() map[string]any {
	out := maps.Clone(t.properties)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil }) // as Graph does
	out["id"], out["@odata.etag"], out["hasAttachments"] = t.id, t.etag, false
	out["createdDateTime"], out["lastModifiedDateTime"] = t.created.UTC().Format("2006-01-02T15:04:05.0000000Z"), t.modified.UTC().Format("2006-01-02T15:04:05.0000000Z")
	steps := []any{}
	for _, step := range t.steps {
		steps = append(steps, maps.Clone(step)) // it may change before the response is written
	}
	if len(steps) > 0 {
		out["checklistItems"] = steps
	}
	if len(t.extensions) > 0 {
		out["extensions"] = t.extensions
	}
	return out
}

func (c *call) set() string {
	return "users('" + c.User.ID + "')/todo/lists('" + c.Params["list"] + "')/tasks"
}

func (l *list) all() []map[string]any {
	all := make([]map[string]any, 0, len(l.tasks))
	for _, t := range l.tasks {
		all = append(all, t.json())
	}
	return all
}

func getTasks(c *call) (odata.Response, error) {
	if c.a.options.NoOrder && c.Query.Has("$orderby") || c.a.options.NoDateFilter && strings.Contains(strings.ToLower(c.Query.Get("$filter")), "createddatetime") {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "invalidRequest", "Invalid request")
	}
	return c.Collection(c.set(), c.l.all())
}

func deltaTasks(c *call) (odata.Response, error) {
	if c.a.options.NoDelta {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "invalidRequest", "Change tracking is not supported against this list.")
	}
	return c.Delta(func() ([]map[string]any, error) { return c.l.all(), nil })
}

func getTask(c *call) (odata.Response, error) { return c.task(http.StatusOK) }

func (c *call) task(status int) (odata.Response, error) {
	body, err := c.Project(c.t.json())
	if err != nil {
		return odata.Response{}, err
	}
	r := c.Entity(c.set(), body)
	r.Status = status
	return r, nil
}

func createTask(c *call) (odata.Response, error) {
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	if title, _ := given["title"].(string); title == "" {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "invalidRequest", "The property 'title' must not be empty.")
	}
	t := c.s.newTask(c.l)
	extensions, _ := given["extensions"].([]any)
	for _, e := range extensions {
		e, _ := e.(map[string]any)
		name, _ := e["extensionName"].(string)
		if name == "" {
			return odata.Response{}, odata.BadRequest("The property 'extensionName' is required.")
		}
		e["id"] = "microsoft.graph.openTypeExtension." + name
		t.extensions = append(t.extensions, e)
	}
	steps, _ := given["checklistItems"].([]any)
	for _, item := range steps {
		item, _ := item.(map[string]any)
		t.steps = append(t.steps, c.s.newStep(item))
	}
	delete(given, "extensions")
	delete(given, "checklistItems")
	if err := c.s.apply(c.l, t, given); err != nil {
		return odata.Response{}, err
	}
	c.s.insert(c.l, t)
	c.t = t
	return c.task(http.StatusCreated)
}

func patchTask(c *call) (odata.Response, error) {
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	for _, link := range []string{"extensions", "checklistItems"} {
		if _, ok := given[link]; ok {
			return odata.Response{}, odata.BadRequest("The navigation property '%s' cannot be changed with its task.", link)
		}
	}
	if title, ok := given["title"].(string); ok && title == "" {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "invalidRequest", "The property 'title' must not be empty.")
	}
	if err := c.s.apply(c.l, c.t, given); err != nil {
		return odata.Response{}, err
	}
	return c.task(http.StatusOK)
}

func deleteTask(c *call) (odata.Response, error) {
	c.s.remove(c.l, c.t)
	return odata.Response{Status: http.StatusNoContent}, nil
}

func (s *Service) insert(l *list, t *task) {
	l.tasks = append(l.tasks, t)
	s.announce(l, t, "created")
}

func (s *Service) remove(l *list, t *task) {
	l.tasks = slices.DeleteFunc(l.tasks, func(other *task) bool { return other == t })
	s.announce(l, t, "deleted")
}

// announce reports a change of a task to its owner and to those who share the list.
func (s *Service) announce(l *list, t *task, kind string) {
	s.directory.Changed(func() directory.Change {
		c := directory.Change{ID: t.id, Type: kind}
		for user, a := range s.accounts {
			if a == l.owner || l.guests[a] != nil {
				c.Collections = append(c.Collections, "users/"+user+"/todo/lists/"+l.idFor(a)+"/tasks")
			}
		}
		return c
	})
}

// apply changes properties of a task: all of them, or none with an error.
func (s *Service) apply(l *list, t *task, given map[string]any) error {
	after, location := maps.Clone(t.properties), t.location
	for name, v := range given {
		if strings.HasSuffix(name, "DateTime") && v != nil {
			at, err := odata.ParseDateTime(name, v)
			if err != nil {
				return err
			}
			if name == "dueDateTime" {
				location = at.Location
			}
			v = utc(at.Instant())
		}
		after[name] = v
	}
	if r := after["recurrence"]; r != nil {
		if after["dueDateTime"] == nil {
			return odata.NewError(http.StatusBadRequest, "invalidRequest", "A recurring task must have a due date.")
		}
		if _, err := s.nextDate(r, time.Time{}); err != nil {
			return err
		}
	}
	now := s.directory.Now()
	completes := after["status"] == "completed" && t.properties["status"] != "completed"
	t.properties, t.location, t.modified, t.etag = after, location, now, s.etag()
	if slices.Contains(l.tasks, t) {
		s.announce(l, t, "updated")
	}
	switch {
	case completes && after["recurrence"] != nil:
		return s.completeRecurring(l, t)
	case completes:
		s.complete(t)
	case after["status"] != "completed":
		delete(t.properties, "completedDateTime")
	}
	return nil
}

// complete sets the date of the completion: Graph stores the day in UTC.
func (s *Service) complete(t *task) {
	if t.properties["completedDateTime"] == nil {
		t.properties["completedDateTime"] = utc(s.directory.Now().UTC().Truncate(24 * time.Hour))
	}
	t.properties["status"] = "completed"
}

// completeRecurring completes the current occurrence of a recurring task.
func (s *Service) completeRecurring(l *list, t *task) error {
	due, err := odata.ParseDateTime("dueDateTime", t.properties["dueDateTime"])
	if err != nil {
		return err
	}
	y, m, d := due.Instant().In(t.location).Date()
	date := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	next, err := s.nextDate(t.properties["recurrence"], date)
	if err != nil {
		return err
	}
	other := s.newTask(l)
	other.properties, other.location = maps.Clone(t.properties), t.location
	done, open := other, t
	if l.owner.options.Recurring == "new" {
		done, open = t, other
		for _, step := range t.steps {
			step := maps.Clone(step)
			step["isChecked"] = false
			other.steps = append(other.steps, step)
		}
	}
	s.complete(done)
	delete(done.properties, "recurrence")
	if next.IsZero() { // it was the last one
		if done == other {
			s.complete(t)
			delete(t.properties, "recurrence")
		}
		return nil
	}
	move := func(name string) {
		if at, err := odata.ParseDateTime(name, open.properties[name]); err == nil {
			local := at.Instant().In(t.location)
			open.properties[name] = utc(local.AddDate(0, 0, int(next.Sub(date)/(24*time.Hour))))
		}
	}
	move("dueDateTime")
	move("reminderDateTime")
	open.properties["status"] = "notStarted"
	delete(open.properties, "completedDateTime")
	s.insert(l, other)
	return nil
}

// A Task is a task of a list.
type Task struct {
	ID         string // of Tasks: set by the simulator
	Title      string
	Body       string
	HTML       bool   // the body is HTML
	Status     string // "": notStarted
	Importance string // "": normal
	Categories []string
	Due        time.Time      // midnight in the author's zone; zero: none
	Reminder   time.Time      // zero: none
	Completed  string         // date; "": today, of completed tasks
	Created    time.Time      // zero: now
	Recurrence map[string]any // in Graph's format
	Steps      []TaskStep
}

// A TaskStep is a step of a task.
type TaskStep struct {
	ID      string // of Tasks: set by the simulator
	Name    string
	Checked bool
}

// AddTask adds a task to a list, given by its id or name; "" is the default list.
func (s *Service) AddTask(address, list string, in Task) Task {
	s.directory.Lock()
	defer s.directory.Unlock()
	l := s.mustList(address, list)
	t := s.newTask(l)
	if !in.Created.IsZero() {
		t.created = in.Created
	}
	kind := "text"
	if in.HTML {
		kind = "html"
	}
	categories := []any{}
	for _, c := range in.Categories {
		categories = append(categories, c)
	}
	p := map[string]any{
		"title": in.Title, "body": map[string]any{"content": in.Body, "contentType": kind}, "importance": cmp.Or(in.Importance, "normal"), "categories": categories,
		"status": cmp.Or(in.Status, "notStarted"), "isReminderOn": !in.Reminder.IsZero(),
	}
	if !in.Due.IsZero() {
		p["dueDateTime"] = utc(in.Due)
	}
	if !in.Reminder.IsZero() {
		p["reminderDateTime"] = utc(in.Reminder)
	}
	if in.Completed != "" {
		p["completedDateTime"] = map[string]any{"dateTime": in.Completed + "T00:00:00", "timeZone": "UTC"}
	}
	if in.Recurrence != nil {
		p["recurrence"] = in.Recurrence
	}
	if err := s.apply(l, t, p); err != nil {
		panic(control.Invalid("%v", err))
	}
	if in.Due.Location() != time.UTC {
		t.location = in.Due.Location()
	}
	for _, step := range in.Steps {
		t.steps = append(t.steps, s.newStep(map[string]any{"displayName": step.Name, "isChecked": step.Checked}))
	}
	s.insert(l, t)
	return t.public()
}

func (t *task) public() Task {
	out := Task{ID: t.id, Created: t.created}
	text := func(v any) string { s, _ := v.(string); return s }
	p := t.properties
	body, _ := p["body"].(map[string]any)
	out.Title, out.Body, out.HTML = text(p["title"]), text(body["content"]), text(body["contentType"]) == "html"
	out.Status, out.Importance = text(p["status"]), text(p["importance"])
	categories, _ := p["categories"].([]any)
	for _, c := range categories {
		out.Categories = append(out.Categories, text(c))
	}
	at := func(name string) time.Time {
		d, err := odata.ParseDateTime(name, p[name])
		if err != nil {
			return time.Time{}
		}
		return d.Instant()
	}
	if out.Due = at("dueDateTime"); p["isReminderOn"] == true {
		out.Reminder = at("reminderDateTime")
	}
	if completed := at("completedDateTime"); !completed.IsZero() {
		out.Completed = completed.Format(time.DateOnly)
	}
	out.Recurrence, _ = p["recurrence"].(map[string]any)
	for _, step := range t.steps {
		out.Steps = append(out.Steps, TaskStep{text(step["id"]), text(step["displayName"]), step["isChecked"] == true})
	}
	return out
}

// Tasks returns the tasks of a list, given by its id or name; "" is the default list.
func (s *Service) Tasks(address, list string) []Task {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []Task
	for _, t := range s.mustList(address, list).tasks {
		all = append(all, t.public())
	}
	return all
}

// mustTask returns the task with this id or title, and its list.
func (s *Service) mustTask(address, id string) (*list, *task) {
	for _, same := range []func(*task) bool{
		func(t *task) bool { return t.id == id },
		func(t *task) bool { return t.properties["title"] == id },
	} {
		for _, l := range s.mustAccount(address).lists {
			if i := slices.IndexFunc(l.tasks, same); i >= 0 {
				return l, l.tasks[i]
			}
		}
	}
	panic(control.NotFound("%s has no task %q", address, id))
}

// ChangeTask changes properties of a task, given by its id or title, in Graph's format: in another client. The properties checklistItems
// replace all steps.
func (s *Service) ChangeTask(address, id string, properties map[string]any) error {
	s.directory.Lock()
	defer s.directory.Unlock()
	l, t := s.mustTask(address, id)
	given := maps.Clone(properties)
	if steps, ok := given["checklistItems"].([]any); ok {
		delete(given, "checklistItems")
		t.steps = nil
		for _, item := range steps {
			item, _ := item.(map[string]any)
			t.steps = append(t.steps, s.newStep(item))
		}
		s.stepsChanged(l, t)
		if len(given) == 0 {
			return nil
		}
	}
	return s.apply(l, t, given)
}

// CompleteTask completes a task, given by its id or title, in another client.
func (s *Service) CompleteTask(address, id string) error {
	return s.ChangeTask(address, id, map[string]any{"status": "completed"})
}

// RemoveTask deletes a task, given by its id or title.
func (s *Service) RemoveTask(address, id string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	l, t := s.mustTask(address, id)
	s.remove(l, t)
}
