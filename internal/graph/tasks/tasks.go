// Package tasks is a client for the lists of Microsoft To Do, their tasks and the steps of tasks.
package tasks

import (
	"context"
	"slices"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// ReadPermission returns the permission for reading tasks.
func ReadPermission() graph.Permission {
	return graph.Permission{
		Scope: "Tasks.Read", Alternatives: []string{"Tasks.ReadWrite"},
		Purpose: "reads your tasks and task lists", Impact: "the task lists are unavailable",
	}
}

// WritePermission returns the permission for changing tasks.
func WritePermission() graph.Permission {
	return graph.Permission{
		Scope:   "Tasks.ReadWrite",
		Purpose: "creates, changes and completes tasks", Impact: "the tasks are shown but cannot be changed",
	}
}

// Info describes one list of tasks.
type Info struct {
	ID        string `json:"id"`
	Name      string `json:"displayName"`
	WellKnown string `json:"wellknownListName"` // none, defaultList or flaggedEmails
}

// BuiltIn reports whether To Do made the list, so that it can be neither renamed nor deleted.
func (i Info) BuiltIn() bool { return i.WellKnown == "defaultList" || i.WellKnown == "flaggedEmails" }

// Lists returns the lists of the signed-in user, with those that others share.
func Lists(ctx context.Context, g *graph.Client) ([]Info, error) {
	const op = "list the task lists"
	all, err := graph.GetAll[Info](ctx, g, op, g.Me().Todo().Lists().ToGetRequestInformation, &users.ItemTodoListsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemTodoListsRequestBuilderGetQueryParameters{Top: new(int32(pageSize))},
	})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(i Info) bool { return i.ID == "" }) {
		return nil, graph.Incomplete(op, "id of a list")
	}
	return all, nil
}

// pageSize is the number of lists or tasks that a page has.
const pageSize = 100

// Find returns the list with this name, id or wellknownListName. A name that matches none exactly is compared without case. A list
// that is named by its id needs no request: only Info.ID is set.
func Find(ctx context.Context, g *graph.Client, name string) (Info, error) {
	// An id is not looked up: Graph may leave out a list that somebody shares.
	if graph.IsOutlookID(name) {
		return Info{ID: name}, nil
	}
	return Lookup(ctx, g, name)
}

// Lookup is Find with all properties also of a list that is named by its id.
func Lookup(ctx context.Context, g *graph.Client, name string) (Info, error) {
	all, err := Lists(ctx, g)
	if err != nil {
		return Info{}, err
	}
	return graph.FindByName("task list", name, all, func(i Info) string { return i.ID }, func(i Info) string { return i.Name },
		func(i Info) bool { return i.ID == name },
		func(i Info) bool { return i.Name == name },
		func(i Info) bool { return strings.EqualFold(i.Name, name) },
		func(i Info) bool { return i.BuiltIn() && strings.EqualFold(i.WellKnown, name) },
	)
}

// A ListChanged is the result of creating or renaming a list.
type ListChanged struct{ Info }

// Data returns the answer to the request that changed it.
func (c ListChanged) Data() any { return map[string]any{"list_id": c.ID, "name": c.Name} }

// A ListDeleted is the result of deleting a list.
type ListDeleted struct{ ID string }

// Data returns the answer to the request that deleted it.
func (d ListDeleted) Data() any { return map[string]any{"list_id": d.ID} }

// CreateList creates a list.
func CreateList(ctx context.Context, g *graph.Client, name string) (ListChanged, error) {
	const op = "create the task list"
	list := models.NewTodoTaskList()
	list.SetDisplayName(&name)
	i, err := graph.Send[Info](ctx, g, op, g.Me().Todo().Lists().ToPostRequestInformation, models.TodoTaskListable(list), nil)
	if err == nil && i.ID == "" {
		err = graph.Unconfirmed(graph.Incomplete(op, "id"))
	}
	return ListChanged{i}, err
}

// RenameList renames the list with this id.
func RenameList(ctx context.Context, g *graph.Client, id, name string) (ListChanged, error) {
	list := models.NewTodoTaskList()
	list.SetDisplayName(&name)
	_, err := graph.Send[graph.None](ctx, g, "rename the task list", g.Me().Todo().Lists().ByTodoTaskListId(id).ToPatchRequestInformation, models.TodoTaskListable(list), nil)
	return ListChanged{Info{ID: id, Name: name}}, err
}

// DeleteList deletes the list with this id, and its tasks.
func DeleteList(ctx context.Context, g *graph.Client, id string) (ListDeleted, error) {
	return ListDeleted{id}, graph.Call(ctx, g, "delete the task list", g.Me().Todo().Lists().ByTodoTaskListId(id).ToDeleteRequestInformation, nil)
}

func tasksOf(g *graph.Client, list string) *users.ItemTodoListsItemTasksRequestBuilder {
	return g.Me().Todo().Lists().ByTodoTaskListId(list).Tasks()
}

// headers returns the headers that ask for descriptions as text, and for what prefer names.
func headers(prefer ...string) *abstractions.RequestHeaders {
	h := abstractions.NewRequestHeaders()
	h.Add("Prefer", `outlook.body-content-type="text"`)
	for _, p := range prefer {
		h.Add("Prefer", p)
	}
	return h
}
