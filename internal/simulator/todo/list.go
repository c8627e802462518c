package todo

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

func (l *list) json(a *account) map[string]any {
	return map[string]any{
		"id": l.idFor(a), "displayName": l.name, "isOwner": l.owner == a, "isShared": len(l.guests) > 0, "wellknownListName": cmp.Or(l.wellKnown, "none"),
	}
}

func getLists(c *call) (odata.Response, error) {
	var all []map[string]any
	for _, l := range c.a.lists {
		if !slices.Contains(c.a.options.HideLists, l.idFor(c.a)) {
			all = append(all, l.json(c.a))
		}
	}
	return c.Collection("users('"+c.User.ID+"')/todo/lists", all)
}

func getList(c *call) (odata.Response, error) { return c.list(http.StatusOK) }

func (c *call) list(status int) (odata.Response, error) {
	body, err := c.Project(c.l.json(c.a))
	if err != nil {
		return odata.Response{}, err
	}
	r := c.Entity("users('"+c.User.ID+"')/todo/lists", body)
	r.Status = status
	return r, nil
}

// name returns the name in the body.
func (c *call) name() (string, error) {
	given, err := c.Decode()
	if err != nil {
		return "", err
	}
	name, _ := given["displayName"].(string)
	if name == "" {
		return "", odata.NewError(http.StatusBadRequest, "invalidRequest", "The property 'displayName' must not be empty.")
	}
	return name, nil
}

func createList(c *call) (odata.Response, error) {
	name, err := c.name()
	if err != nil {
		return odata.Response{}, err
	}
	c.l = c.a.newList(name, "")
	c.a.lists = append(c.a.lists, c.l)
	return c.list(http.StatusCreated)
}

// checkChange refuses to change lists that are built in or that others own.
func (c *call) checkChange() error {
	switch {
	case c.l.owner != c.a:
		return odata.AccessDenied()
	case c.l.wellKnown != "":
		return odata.NewError(http.StatusBadRequest, "invalidRequest", "The list '%s' cannot be changed.", c.l.wellKnown)
	}
	return nil
}

func patchList(c *call) (odata.Response, error) {
	name, err := c.name()
	if err == nil {
		err = c.checkChange()
	}
	if err != nil {
		return odata.Response{}, err
	}
	c.l.name = name
	return c.list(http.StatusOK)
}

func deleteList(c *call) (odata.Response, error) {
	if err := c.checkChange(); err != nil {
		return odata.Response{}, err
	}
	c.l.remove()
	return odata.Response{Status: http.StatusNoContent}, nil
}

// remove takes the list away from its owner and its guests.
func (l *list) remove() {
	drop := func(a *account) {
		a.lists = slices.DeleteFunc(a.lists, func(other *list) bool { return other == l })
	}
	drop(l.owner)
	for a := range l.guests {
		drop(a)
	}
}

// A TodoList is a task list.
type TodoList struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	WellKnown string `json:"wellKnown,omitempty"` // defaultList or flaggedEmails
	Own       bool   `json:"own"`
}

// TodoLists returns the lists of a user.
func (s *Service) TodoLists(address string) []TodoList {
	s.directory.Lock()
	defer s.directory.Unlock()
	a := s.mustAccount(address)
	var all []TodoList
	for _, l := range a.lists {
		all = append(all, l.public(a))
	}
	return all
}

func (l *list) public(a *account) TodoList {
	return TodoList{l.idFor(a), l.name, l.wellKnown, l.owner == a}
}

// AddTodoList adds a list.
func (s *Service) AddTodoList(address, name string) TodoList {
	s.directory.Lock()
	defer s.directory.Unlock()
	a := s.mustAccount(address)
	l := a.newList(name, "")
	a.lists = append(a.lists, l)
	return l.public(a)
}

// RenameTodoList renames a list, given by its id or name.
func (s *Service) RenameTodoList(address, list, name string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustList(address, list).name = name
}

// RemoveTodoList deletes a list, given by its id or name.
func (s *Service) RemoveTodoList(address, list string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustList(address, list).remove()
}

// ShareTodoList adds a list to those of another user, with an id of its own. With unreadable Graph refuses its tasks to that user.
func (s *Service) ShareTodoList(address, list, guestAddress string, unreadable bool) TodoList {
	s.directory.Lock()
	defer s.directory.Unlock()
	l, a := s.mustList(address, list), s.mustAccount(guestAddress)
	if l.guests[a] == nil {
		l.guests[a] = &guest{id: a.id(120)}
		a.lists = append(a.lists, l)
	}
	l.guests[a].unreadable = unreadable
	return l.public(a)
}
