package todo

import (
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

func (s *Service) controls() []control.Operation {
	return []control.Operation{
		{Method: "PUT", Path: "/control/users/{user}/todo", Description: "set how To Do behaves: recurring tasks, hidden lists, what is refused", Do: s.putOptions},
		{Method: "GET", Path: "/control/users/{user}/todoLists", Description: "list the task lists", Do: s.readLists},
		{Method: "POST", Path: "/control/users/{user}/todoLists", Description: "add a task list", Do: s.makeList},
		{Method: "PATCH", Path: "/control/users/{user}/todoLists/{list}", Description: "rename a task list", Do: s.renameList},
		{Method: "DELETE", Path: "/control/users/{user}/todoLists/{list}", Description: "delete a task list", Do: s.dropList},
		{Method: "PUT", Path: "/control/users/{user}/todoLists/{list}/shares/{guest}", Description: "share a task list with another user", Do: s.putShare},
		{Method: "GET", Path: "/control/users/{user}/todoLists/{list}/tasks", Description: "list the tasks in a task list", Do: s.readTasks},
		{Method: "POST", Path: "/control/users/{user}/todoLists/{list}/tasks", Description: "add a task", Do: s.makeTask},
		{Method: "PATCH", Path: "/control/users/{user}/tasks/{task}", Description: "change the given properties of a task, in Graph's format", Do: s.changeTask},
		{Method: "DELETE", Path: "/control/users/{user}/tasks/{task}", Description: "delete a task", Do: s.dropTask},
	}
}

func (s *Service) putOptions(r *http.Request) (any, error) {
	in, err := control.Decode[TodoOptions](r)
	if err != nil {
		return nil, err
	}
	s.SetTodoOptions(r.PathValue("user"), in)
	return nil, nil
}

func (s *Service) readLists(r *http.Request) (any, error) {
	return control.ListOf(s.TodoLists(r.PathValue("user"))), nil
}

type named struct {
	Name string `json:"name"`
}

func (s *Service) makeList(r *http.Request) (any, error) {
	in, err := control.Decode[named](r)
	if err != nil {
		return nil, err
	}
	return s.AddTodoList(r.PathValue("user"), in.Name), nil
}

func (s *Service) renameList(r *http.Request) (any, error) {
	in, err := control.Decode[named](r)
	if err != nil {
		return nil, err
	}
	s.RenameTodoList(r.PathValue("user"), r.PathValue("list"), in.Name)
	return nil, nil
}

func (s *Service) dropList(r *http.Request) (any, error) {
	s.RemoveTodoList(r.PathValue("user"), r.PathValue("list"))
	return nil, nil
}

func (s *Service) putShare(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Unreadable bool `json:"unreadable"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.ShareTodoList(r.PathValue("user"), r.PathValue("list"), r.PathValue("guest"), in.Unreadable), nil
}

// taskBody is a Task in JSON.
type taskBody struct {
	ID         string         `json:"id,omitempty"`
	Title      string         `json:"title"`
	Body       string         `json:"body,omitempty"`
	HTML       bool           `json:"html,omitempty"`
	Status     string         `json:"status,omitempty"`
	Importance string         `json:"importance,omitempty"`
	Categories []string       `json:"categories,omitempty"`
	Due        time.Time      `json:"due,omitzero"`
	Reminder   time.Time      `json:"reminder,omitzero"`
	Completed  string         `json:"completed,omitempty"`
	Created    time.Time      `json:"created,omitzero"`
	Recurrence map[string]any `json:"recurrence,omitempty"`
	Steps      []stepBody     `json:"steps,omitempty"`
}

// stepBody is a TaskStep in JSON.
type stepBody struct {
	ID      string `json:"id,omitempty"`
	Name    string `json:"name"`
	Checked bool   `json:"checked"`
}

func bodyOf(t Task) taskBody {
	b := taskBody{t.ID, t.Title, t.Body, t.HTML, t.Status, t.Importance, t.Categories, t.Due, t.Reminder, t.Completed, t.Created, t.Recurrence, nil}
	for _, step := range t.Steps {
		b.Steps = append(b.Steps, stepBody(step))
	}
	return b
}

func (s *Service) readTasks(r *http.Request) (any, error) {
	all := []taskBody{}
	for _, t := range s.Tasks(r.PathValue("user"), r.PathValue("list")) {
		all = append(all, bodyOf(t))
	}
	return control.ListOf(all), nil
}

func (s *Service) makeTask(r *http.Request) (any, error) {
	in, err := control.Decode[taskBody](r)
	if err != nil {
		return nil, err
	}
	t := Task{"", in.Title, in.Body, in.HTML, in.Status, in.Importance, in.Categories, in.Due, in.Reminder, in.Completed, in.Created, in.Recurrence, nil}
	for _, step := range in.Steps {
		t.Steps = append(t.Steps, TaskStep(step))
	}
	return bodyOf(s.AddTask(r.PathValue("user"), r.PathValue("list"), t)), nil
}

func (s *Service) changeTask(r *http.Request) (any, error) {
	in, err := control.Decode[map[string]any](r)
	if err != nil {
		return nil, err
	}
	return nil, s.ChangeTask(r.PathValue("user"), r.PathValue("task"), in)
}

func (s *Service) dropTask(r *http.Request) (any, error) {
	s.RemoveTask(r.PathValue("user"), r.PathValue("task"))
	return nil, nil
}
