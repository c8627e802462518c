package tasks

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Fields are the properties of a task to set. Nil fields stay unchanged.
type Fields struct {
	Subject     *string
	Description *string
	Due         *time.Time // midnight of the day in the account's zone; zero: none
	Reminder    *time.Time // in its zone; zero: none
	Importance  *string
	Categories  *[]string
	Status      *string
	Recurrence  *graph.Recurrence
}

func (f Fields) model() (models.TodoTaskable, error) {
	var t models.TodoTaskable = models.NewTodoTask()
	if f.Subject != nil {
		t.SetTitle(f.Subject)
	}
	if f.Description != nil {
		t.SetBody(graph.ItemBody(*f.Description, false))
	}
	if f.Due != nil {
		if f.Due.IsZero() {
			t.SetDueDateTime(nil)
		} else {
			t.SetDueDateTime(graph.FormatDate(*f.Due))
		}
	}
	if f.Reminder != nil {
		on := !f.Reminder.IsZero()
		if t.SetIsReminderOn(&on); on {
			t.SetReminderDateTime(graph.FormatTime(*f.Reminder))
		} else {
			t.SetReminderDateTime(nil)
		}
	}
	if f.Importance != nil {
		v, err := models.ParseImportance(*f.Importance)
		if err != nil || v == nil {
			return nil, graph.Invalid("importance: unknown value %q", *f.Importance)
		}
		t.SetImportance(v.(*models.Importance))
	}
	if f.Categories != nil {
		t.SetCategories(*f.Categories)
	}
	if f.Status != nil {
		v, err := models.ParseTaskStatus(*f.Status)
		if err != nil || v == nil {
			return nil, graph.Invalid("status: unknown value %q", *f.Status)
		}
		t.SetStatus(v.(*models.TaskStatus))
	}
	if f.Recurrence != nil {
		series, err := f.Recurrence.Model()
		if err != nil {
			return nil, err
		}
		t.SetRecurrence(series)
	}
	return t, nil
}

// A Changed is the result of creating or changing a task. Steps are those that it had before.
type Changed struct{ Task }

// Data returns the answer to the request that changed it.
func (c Changed) Data() any { return map[string]any{"todo_id": c.ID, "status": c.Status} }

// A Ticked is the result of completing a task. A recurring task may go on under the same id: then its status is not completed.
type Ticked struct{ Task }

// Data returns the answer to the request that completed it.
func (t Ticked) Data() any { return map[string]any{"todo_id": t.ID, "status": Completed} }

// A Deleted is the result of deleting a task.
type Deleted struct{ ID string }

// Data returns the answer to the request that deleted it.
func (d Deleted) Data() any { return map[string]any{"todo_id": d.ID} }

// extensionName is the name of the open extension that holds the key of a task, by which Created finds it.
const (
	extensionName = "graph2mqtt"
	keyProperty   = "request"
)

type extensionDTO struct {
	ID   string `json:"id"`
	Name string `json:"extensionName"`
	Key  string `json:"request"`
}

// Create creates a task in the list with this id. Created finds it by its key.
func Create(ctx context.Context, g *graph.Client, list string, f Fields, key string) (Changed, error) {
	const op = "create the task"
	t, err := f.model()
	if err != nil {
		return Changed{}, err
	}
	extension := models.NewOpenTypeExtension()
	extension.SetExtensionName(new(extensionName))
	extension.SetAdditionalData(map[string]any{keyProperty: key})
	t.SetExtensions([]models.Extensionable{extension})
	d, err := graph.Send[taskDTO](ctx, g, op, tasksOf(g, list).ToPostRequestInformation, t, &users.ItemTodoListsItemTasksRequestBuilderPostRequestConfiguration{Headers: headers()})
	if err != nil {
		return Changed{}, err
	}
	created, err := d.task(op)
	return Changed{created}, graph.Unconfirmed(err)
}

// Created returns the task that Create made with this key in the list with this id, not before since. It reports false if there is
// none.
func Created(ctx context.Context, g *graph.Client, list, key string, since time.Time) (Changed, bool, error) {
	const op = "look for the task"
	find := func(filter *string) ([]taskDTO, error) {
		return graph.GetAll[taskDTO](ctx, g, op, tasksOf(g, list).ToGetRequestInformation, &users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{
			Headers: headers(), QueryParameters: &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{
				Top: new(int32(pageSize)), Select: fields(), Expand: []string{"extensions", "checklistItems"}, Filter: filter,
			},
		})
	}
	all, err := find(new("createdDateTime ge " + since.UTC().Format(time.RFC3339)))
	if graph.Is(err, graph.InvalidArgument) { // without that filter it takes longer
		all, err = find(nil)
	}
	if err != nil {
		return Changed{}, false, err
	}
	for _, d := range all {
		if slices.ContainsFunc(d.Extensions, func(e extensionDTO) bool { return e.ours() && e.Key == key }) {
			t, err := d.task(op)
			return Changed{t}, err == nil, err
		}
	}
	return Changed{}, false, nil
}

// ours reports whether it is the extension that Create writes. The id begins with the name of the type.
func (e extensionDTO) ours() bool {
	return strings.EqualFold(e.Name, extensionName) || strings.EqualFold(e.ID[strings.LastIndexByte(e.ID, '.')+1:], extensionName)
}

// Update changes the task with this id.
func Update(ctx context.Context, g *graph.Client, list, id string, f Fields) (Changed, error) {
	const op = "change the task"
	t, err := f.model()
	if err != nil {
		return Changed{}, err
	}
	d, err := graph.Send[taskDTO](ctx, g, op, tasksOf(g, list).ByTodoTaskId(id).ToPatchRequestInformation, t,
		&users.ItemTodoListsItemTasksTodoTaskItemRequestBuilderPatchRequestConfiguration{Headers: headers()})
	if err != nil {
		return Changed{}, err
	}
	changed, err := d.task(op)
	return Changed{changed}, graph.Unconfirmed(err)
}

// Delete deletes the task with this id.
func Delete(ctx context.Context, g *graph.Client, list, id string) (Deleted, error) {
	return Deleted{id}, graph.Call(ctx, g, "delete the task", tasksOf(g, list).ByTodoTaskId(id).ToDeleteRequestInformation, nil)
}

// A StepChanged is the result of creating or changing a step.
type StepChanged struct {
	TaskID string
	Step
}

// Data returns the answer to the request that changed it.
func (c StepChanged) Data() any {
	return map[string]any{"todo_id": c.TaskID, "checklist_item_id": c.ID}
}

// A StepDeleted is the result of deleting a step.
type StepDeleted struct{ TaskID, ID string }

// Data returns the answer to the request that deleted it.
func (d StepDeleted) Data() any {
	return map[string]any{"todo_id": d.TaskID, "checklist_item_id": d.ID}
}

// CreateStep adds a step to the task with this id.
func CreateStep(ctx context.Context, g *graph.Client, list, task, name string) (StepChanged, error) {
	const op = "create the step"
	var item models.ChecklistItemable = models.NewChecklistItem()
	item.SetDisplayName(&name)
	d, err := graph.Send[stepDTO](ctx, g, op, tasksOf(g, list).ByTodoTaskId(task).ChecklistItems().ToPostRequestInformation, item, nil)
	if err == nil && d.ID == "" {
		err = graph.Unconfirmed(graph.Incomplete(op, "id"))
	}
	return StepChanged{task, d.step()}, err
}

// UpdateStep changes a step of the task with this id. Nil fields stay unchanged.
func UpdateStep(ctx context.Context, g *graph.Client, list, task, id string, name *string, checked *bool) (StepChanged, error) {
	const op = "change the step"
	var item models.ChecklistItemable = models.NewChecklistItem()
	if name != nil {
		item.SetDisplayName(name)
	}
	if checked != nil {
		item.SetIsChecked(checked)
	}
	d, err := graph.Send[stepDTO](ctx, g, op, tasksOf(g, list).ByTodoTaskId(task).ChecklistItems().ByChecklistItemId(id).ToPatchRequestInformation, item, nil)
	if err == nil && d.ID == "" {
		err = graph.Unconfirmed(graph.Incomplete(op, "id"))
	}
	return StepChanged{task, d.step()}, err
}

// DeleteStep deletes a step of the task with this id.
func DeleteStep(ctx context.Context, g *graph.Client, list, task, id string) (StepDeleted, error) {
	return StepDeleted{task, id}, graph.Call(ctx, g, "delete the step", tasksOf(g, list).ByTodoTaskId(task).ChecklistItems().ByChecklistItemId(id).ToDeleteRequestInformation, nil)
}
