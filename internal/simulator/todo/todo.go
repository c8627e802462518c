// Package todo simulates Microsoft To Do: lists, tasks, steps, delta queries, recurring tasks and lists of others.
package todo

import (
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the task lists of all users. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	licensed  func(userID string) bool
	nextDate  func(recurrence any, after time.Time) (time.Time, error)
	types     types
	accounts  map[string]*account // by id of the user
	version   int
}

// New returns the task lists of the directory's users. licensed reports whether a user still has a mailbox; nextDate returns the date
// of a patternedRecurrence after another one, the zero time if there is none.
func New(d *directory.Directory, licensed func(userID string) bool, nextDate func(recurrence any, after time.Time) (time.Time, error)) *Service {
	s := &Service{directory: d, licensed: licensed, nextDate: nextDate, types: newTypes(), accounts: map[string]*account{}}
	d.OnAdd(func(u *directory.User) {
		a := &account{prefix: "AAMk" + directory.Random(100)}
		a.lists = []*list{a.newList("Tasks", "defaultList"), a.newList("Flagged Emails", "flaggedEmails")}
		s.accounts[u.ID] = a
	})
	return s
}

//go:embed permissions.json
var permissions []byte

// Resource returns the task lists of Graph.
func (s *Service) Resource() odata.Resource {
	return odata.Resource{Routes: s.routes(), Permissions: permissions, Exceptions: exceptions, Application: application, Controls: s.controls(), Seed: s.seed}
}

// exceptions returns the scopes for which Microsoft's permission table is wrong.
func exceptions(method, path string, _ bool) []string {
	if method == http.MethodDelete && strings.HasSuffix(path, "/lists/{id}") {
		return []string{"Tasks.ReadWrite"} // the table has Tasks.Read too
	}
	return nil
}

// application returns the application permissions for an operation.
func application(method, _ string) []string {
	if method == http.MethodGet {
		return []string{"Tasks.Read.All", "Tasks.ReadWrite.All"}
	}
	return []string{"Tasks.ReadWrite.All"}
}

// TodoOptions are the properties of To Do that Microsoft does not document, and its failures.
type TodoOptions struct {
	// Recurring selects the effect of completing a recurring task. "": the task goes on under its id, and a completed copy has a new one;
	// "new": the task is completed, and the next one has a new id.
	Recurring    string   `json:"recurring"`
	StepsChange  bool     `json:"stepsChange"`  // a change of a step is a change of its task for delta queries and lastModifiedDateTime
	HideLists    []string `json:"hideLists"`    // ids of lists that the listing leaves out
	NoDelta      bool     `json:"noDelta"`      // delta queries are refused
	NoOrder      bool     `json:"noOrder"`      // $orderby of tasks is refused
	NoDateFilter bool     `json:"noDateFilter"` // $filter by createdDateTime is refused
}

// An account holds the lists of a user.
type account struct {
	prefix  string // of all ids
	lists   []*list
	options TodoOptions
}

// A list is a task list.
type list struct {
	id, name, wellKnown string
	owner               *account
	tasks               []*task
	guests              map[*account]*guest
}

// A guest is the share that another user has in a list.
type guest struct {
	id         string // that the list has for the guest
	unreadable bool   // Graph refuses its tasks
}

func (a *account) id(n int) string { return a.prefix + directory.Random(n-len(a.prefix)-1) + "=" }

func (a *account) newList(name, wellKnown string) *list {
	return &list{id: a.id(120), name: name, wellKnown: wellKnown, owner: a, guests: map[*account]*guest{}}
}

// idFor returns the id that the list has for an account.
func (l *list) idFor(a *account) string {
	if g := l.guests[a]; g != nil {
		return g.id
	}
	return l.id
}

// byID returns the list with this id, or nil.
func (a *account) byID(id string) *list {
	i := slices.IndexFunc(a.lists, func(l *list) bool { return l.idFor(a) == id })
	if i < 0 {
		return nil
	}
	return a.lists[i]
}

// A call is a request to Graph.
type call struct {
	*odata.Call
	s *Service
	a *account
	l *list // in the path
	t *task // in the path
}

// handle returns do as the handler of a route. It refuses accounts, lists and tasks that do not exist or that the user may not open.
func (s *Service) handle(do func(*call) (odata.Response, error)) func(*odata.Call) (odata.Response, error) {
	return func(c *odata.Call) (odata.Response, error) {
		owner := c.Owner()
		a := s.accounts[owner]
		switch {
		case a == nil:
			return odata.Response{}, odata.InvalidUser(owner)
		case !s.licensed(owner):
			return odata.Response{}, odata.NoMailbox()
		case owner != c.User.ID && c.Application == "":
			return odata.Response{}, odata.AccessDenied() // delegated permissions are for own tasks only
		}
		call := &call{Call: c, s: s, a: a}
		if id, ok := c.Params["list"]; ok {
			if err := odata.CheckItemID(id); err != nil {
				return odata.Response{}, err
			}
			if call.l = a.byID(id); call.l == nil {
				return odata.Response{}, odata.ItemNotFound()
			}
			if g := call.l.guests[a]; g != nil && g.unreadable && strings.Contains(c.Route.Path, "/tasks") {
				return odata.Response{}, odata.AccessDenied()
			}
		}
		if id, ok := c.Params["task"]; ok {
			if err := odata.CheckItemID(id); err != nil {
				return odata.Response{}, err
			}
			if call.t = call.l.byID(id); call.t == nil {
				return odata.Response{}, odata.ItemNotFound()
			}
		}
		return do(call)
	}
}

func (s *Service) routes() []odata.Route {
	var routes []odata.Route
	query := []string{"$select", "$filter", "$orderby", "$top", "$skip", "$count", "$expand"}
	for _, root := range []string{"/me", "/users/{user}"} {
		add := func(t *odata.Type, method, path string, do func(*call) (odata.Response, error), options ...string) {
			routes = append(routes, odata.Route{Method: method, Path: root + "/todo/lists" + path, Type: t, Options: options, Do: s.handle(do)})
		}
		add(s.types.list, "GET", "", getLists, query...)
		add(s.types.list, "POST", "", createList)
		add(s.types.list, "GET", "/delta", func(*call) (odata.Response, error) {
			return odata.Response{}, odata.NotSimulated("delta queries of task lists.")
		}, odata.DeltaOptions("$select")...)
		add(s.types.list, "GET", "/{list}", getList, "$select", "$expand")
		add(s.types.list, "PATCH", "/{list}", patchList)
		add(s.types.list, "DELETE", "/{list}", deleteList)
		const tasks = "/{list}/tasks"
		add(s.types.task, "GET", tasks, getTasks, query...)
		add(s.types.task, "GET", tasks+"/$count", getTasks, "$filter")
		add(s.types.task, "GET", tasks+"/delta", deltaTasks, odata.DeltaOptions("$select", "$top", "$expand")...)
		add(s.types.task, "POST", tasks, createTask)
		const one = tasks + "/{task}"
		add(s.types.task, "GET", one, getTask, "$select", "$expand")
		add(s.types.task, "PATCH", one, patchTask)
		add(s.types.task, "DELETE", one, deleteTask)
		const steps = one + "/checklistItems"
		add(s.types.step, "GET", steps, getSteps, query...)
		add(s.types.step, "POST", steps, createStep)
		add(s.types.step, "GET", steps+"/{step}", getStep, "$select")
		add(s.types.step, "PATCH", steps+"/{step}", patchStep)
		add(s.types.step, "DELETE", steps+"/{step}", deleteStep)
	}
	return routes
}

// types are the entity types of Graph that this package serves, see https://learn.microsoft.com/graph/api/resources/todotask and the
// others.
type types struct{ list, task, step *odata.Type }

func newTypes() types {
	text, instant, when := odata.String(), odata.DateTimeOffset(), odata.Of(odata.DateTimeType())
	step := odata.MailboxType("checklistItem", odata.Properties{
		"id": text.Computed(), "displayName": text.NotNull(), "isChecked": odata.Boolean().NotNull(), "createdDateTime": instant.Computed(), "checkedDateTime": instant.Computed(),
	})
	pattern := odata.ComplexType("recurrencePattern", odata.Properties{
		"type": text, "interval": odata.Int32(), "daysOfWeek": text.Many(), "dayOfMonth": odata.Int32(), "month": odata.Int32(), "firstDayOfWeek": text, "index": text,
	})
	span := odata.ComplexType("recurrenceRange", odata.Properties{
		"type": text, "startDate": odata.Date(), "endDate": odata.Date(), "numberOfOccurrences": odata.Int32(), "recurrenceTimeZone": text,
	})
	recurrence := odata.ComplexType("patternedRecurrence", odata.Properties{"pattern": odata.Of(pattern), "range": odata.Of(span)})
	task := odata.MailboxType("todoTask", odata.Properties{
		"id": text.Computed(), "title": text.NotNull(), "body": odata.ItemBody(), "bodyLastModifiedDateTime": instant.Computed(),
		"status":     odata.Enum("taskStatus", "notStarted", "inProgress", "completed", "waitingOnOthers", "deferred").NotNull(),
		"importance": odata.Enum("importance", "low", "normal", "high").NotNull(), "categories": text.NotNull().Many(), "isReminderOn": odata.Boolean().NotNull(),
		"startDateTime": when, "dueDateTime": when, "reminderDateTime": when, "completedDateTime": when, "createdDateTime": instant.Computed(),
		"lastModifiedDateTime": instant.Computed(), "hasAttachments": odata.Boolean().Computed(), "recurrence": odata.Of(recurrence),
		"checklistItems": odata.Of(step).NotNull().Many().Link(true), "extensions": odata.Extensions(),
	})
	list := odata.MailboxType("todoTaskList", odata.Properties{
		"id": text.Computed(), "displayName": text.NotNull(), "isOwner": odata.Boolean().Computed(), "isShared": odata.Boolean().Computed(),
		"wellknownListName": odata.Enum("wellknownListName", "none", "defaultList", "flaggedEmails", "unknownFutureValue").Computed(),
	})
	return types{list, task, step}
}

func (s *Service) seed(colleagues bool) {
	if !colleagues {
		return
	}
	today := s.directory.Now().UTC().Truncate(24 * time.Hour)
	s.AddTask(directory.Adele, "", Task{Title: "Water the plants", Due: today, Recurrence: map[string]any{
		"pattern": map[string]any{"type": "daily", "interval": 3.0}, "range": map[string]any{"type": "noEnd", "startDate": today.Format(time.DateOnly)},
	}})
	s.AddTask(directory.Adele, "", Task{Title: "Send the invoice", Due: today.AddDate(0, 0, -1), Importance: "high"})
	s.AddTask(directory.Adele, "", Task{Title: "Book the hotel", Status: "completed"})
	s.AddTodoList(directory.Adele, "Shopping")
	s.AddTask(directory.Adele, "Shopping", Task{Title: "Groceries", Steps: []TaskStep{{Name: "Milk"}, {Name: "Bread", Checked: true}}})
}

// SetTodoOptions changes how To Do behaves for a user.
func (s *Service) SetTodoOptions(address string, o TodoOptions) {
	s.directory.Lock()
	defer s.directory.Unlock()
	if o.Recurring != "" && o.Recurring != "new" {
		panic(control.Invalid("recurring: want new or nothing, not %q", o.Recurring))
	}
	s.mustAccount(address).options = o
}

func (s *Service) mustAccount(address string) *account {
	return s.accounts[s.directory.MustUser(address).ID]
}

// mustList returns the list with this id, wellknownListName or name; "" is the default list.
func (s *Service) mustList(address, name string) *list {
	a := s.mustAccount(address)
	if name == "" {
		name = "defaultList"
	}
	for _, same := range []func(*list) bool{
		func(l *list) bool { return l.idFor(a) == name || l.wellKnown == name },
		func(l *list) bool { return strings.EqualFold(l.name, name) },
	} {
		if i := slices.IndexFunc(a.lists, same); i >= 0 {
			return a.lists[i]
		}
	}
	panic(control.NotFound("%s has no task list %q", address, name))
}

func (s *Service) etag() string {
	s.version++
	return fmt.Sprintf(`W/"%s%08d=="`, "q7rK1cXv3kaJmTn0fEwZyQAA", s.version)
}
