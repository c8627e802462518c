package simulator_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const (
	tasksRead  = "Tasks.Read"
	tasksWrite = "Tasks.ReadWrite"
)

func listPath(v graphClient, name string) string {
	for _, l := range v.s.TodoLists(simulator.Adele) {
		if l.Name == name {
			return "/me/todo/lists/" + url.PathEscape(l.ID)
		}
	}
	v.t.Fatalf("no list %s", name)
	return ""
}

func titles(page map[string]any) []string {
	all := []string{}
	for _, v := range page["value"].([]any) {
		all = append(all, fmt.Sprint(v.(map[string]any)["title"]))
	}
	return all
}

func TestTodoLists(t *testing.T) {
	v := newGraphClient(t, tasksWrite)
	shopping := v.want(201, "POST", "/me/todo/lists", `{"displayName": "Shopping"}`)
	if shopping["wellknownListName"] != "none" || shopping["isOwner"] != true || shopping["isShared"] != false {
		t.Errorf("got %v", shopping)
	}
	var names []string
	page := v.want(200, "GET", "/me/todo/lists?$top=2", "")
	for {
		for _, l := range page["value"].([]any) {
			names = append(names, l.(map[string]any)["displayName"].(string))
		}
		next, ok := page["@odata.nextLink"].(string)
		if !ok {
			break
		}
		page = v.want(200, "GET", next, "")
	}
	if diff := cmp.Diff([]string{"Tasks", "Flagged Emails", "Shopping"}, names); diff != "" {
		t.Error(diff)
	}
	path := listPath(v, "Shopping")
	if l := v.want(200, "PATCH", path, `{"displayName": "Food"}`); l["displayName"] != "Food" {
		t.Errorf("got %v", l)
	}
	v.refused(400, "invalidRequest", "PATCH", path, `{"displayName": ""}`)
	v.refused(400, "BadRequest", "PATCH", path, `{"name": "Food"}`)
	for _, name := range []string{"Tasks", "Flagged Emails"} {
		v.refused(400, "invalidRequest", "PATCH", listPath(v, name), `{"displayName": "x"}`)
		v.refused(400, "invalidRequest", "DELETE", listPath(v, name), "")
	}
	v.want(204, "DELETE", path, "")
	v.refused(404, "ErrorItemNotFound", "GET", path, "")
	v.refused(400, "ErrorInvalidIdMalformed", "GET", "/me/todo/lists/Shopping", "")
	v.refused(501, "NotSimulated", "GET", "/me/todo/lists/delta", "")
	v.refused(501, "NotSimulated", "GET", listPath(v, "Tasks")+"/tasks/x/attachments", "")
	v.refused(501, "NotSimulated", "GET", listPath(v, "Tasks")+"/tasks/x/linkedResources", "")
}

func TestTodoTasks(t *testing.T) {
	v := newGraphClient(t, tasksWrite)
	path := listPath(v, "Tasks") + "/tasks"
	a := v.want(201, "POST", path, `{"title": "a", "dueDateTime": {"dateTime": "2026-07-01T00:00:00", "timeZone": "W. Europe Standard Time"},
		"extensions": [{"@odata.type": "microsoft.graph.openTypeExtension", "extensionName": "x", "y": 1}], "checklistItems": [{"displayName": "s"}]}`)
	if diff := cmp.Diff(map[string]any{"dateTime": "2026-06-30T22:00:00.0000000", "timeZone": "UTC"}, a["dueDateTime"]); diff != "" {
		t.Errorf("the due date %s", diff)
	}
	if a["extensions"] != nil || a["checklistItems"] != nil || a["completedDateTime"] != nil {
		t.Errorf("got %v", a)
	}
	one := path + "/" + url.PathEscape(a["id"].(string))
	expanded := v.want(200, "GET", one+"?$select=id&$expand=extensions,checklistItems", "")
	if e := expanded["extensions"].([]any)[0].(map[string]any); e["id"] != "microsoft.graph.openTypeExtension.x" || e["y"] != 1.0 || len(expanded["checklistItems"].([]any)) != 1 {
		t.Errorf("got %v", expanded)
	}
	for body, code := range map[string]string{
		`{}`: "invalidRequest", `{"title": ""}`: "invalidRequest", `{"title": "x", "due": 1}`: "BadRequest", `{"title": "x", "status": "done"}`: "BadRequest",
		`{"title": "x", "dueDateTime": {"dateTime": "2026-01-01", "timeZone": "Mars"}}`:                                                                                         "TimeZoneNotSupportedException",
		`{"title": "x", "recurrence": {"pattern": {"type": "daily", "interval": 1}, "range": {"type": "noEnd", "startDate": "2026-01-01"}}}`:                                    "invalidRequest",
		`{"title": "x", "dueDateTime": {"dateTime": "2026-01-01", "timeZone": "UTC"}, "recurrence": {"pattern": {"type": "daily", "interval": 0}, "range": {"type": "noEnd"}}}`: "ErrorInvalidRecurrencePattern",
	} {
		v.refused(400, code, "POST", path, body)
	}
	v.want(201, "POST", path, `{"title": "b", "importance": "high", "status": "completed"}`)
	for query, want := range map[string][]string{
		"$filter=status ne 'completed'":                                       {"a"},
		"$filter=status eq 'completed'&$orderby=lastModifiedDateTime desc":    {"b"},
		"$filter=createdDateTime ge 2020-01-01T00:00:00Z&$orderby=title desc": {"b", "a"},
		"$filter=createdDateTime ge 2100-01-01T00:00:00Z":                     {},
		"$top=1&$orderby=dueDateTime/dateTime desc":                           {"a"},
	} {
		if diff := cmp.Diff(want, titles(v.want(200, "GET", path+"?"+strings.ReplaceAll(query, " ", "%20"), ""))); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	if page := v.want(200, "GET", path+"?$top=1&$count=true&$select=id", ""); page["@odata.count"] != 2.0 || page["@odata.nextLink"] == nil {
		t.Errorf("got %v", page)
	}
	v.refused(400, "BadRequest", "GET", path+"?$search=a", "")
	v.refused(400, "BadRequest", "PATCH", one, `{"checklistItems": []}`)
	if a = v.want(200, "PATCH", one, `{"dueDateTime": null, "status": "inProgress"}`); a["dueDateTime"] != nil || a["status"] != "inProgress" {
		t.Errorf("got %v", a)
	}
	a = v.want(200, "PATCH", one, `{"status": "completed"}`)
	if at := a["completedDateTime"].(map[string]any); !strings.HasSuffix(at["dateTime"].(string), "T00:00:00.0000000") || at["timeZone"] != "UTC" {
		t.Errorf("completed %v", at)
	}
	if a = v.want(200, "PATCH", one, `{"status": "notStarted"}`); a["completedDateTime"] != nil {
		t.Errorf("got %v", a)
	}
	steps := one + "/checklistItems"
	step := v.want(201, "POST", steps, `{"displayName": "t"}`)
	v.refused(400, "invalidRequest", "POST", steps, `{"displayName": ""}`)
	if s := v.want(200, "PATCH", steps+"/"+step["id"].(string), `{"isChecked": true}`); s["isChecked"] != true || s["checkedDateTime"] == nil {
		t.Errorf("got %v", s)
	}
	v.want(204, "DELETE", steps+"/"+step["id"].(string), "")
	v.refused(404, "ErrorItemNotFound", "GET", steps+"/"+step["id"].(string), "")
	v.want(204, "DELETE", one, "")
	v.refused(404, "ErrorItemNotFound", "GET", one, "")
}

func TestTodoDelta(t *testing.T) {
	v := newGraphClient(t, tasksRead)
	a := v.s.AddTask(simulator.Adele, "", simulator.Task{Title: "a", Steps: []simulator.TaskStep{{Name: "s"}}})
	v.s.AddTask(simulator.Adele, "", simulator.Task{Title: "b"})
	round := func(address string, headers ...string) (all []map[string]any, link string) {
		t.Helper()
		for {
			_, page := v.do("GET", address, "", headers...)
			if page["value"] == nil {
				t.Fatal(page)
			}
			for _, e := range page["value"].([]any) {
				all = append(all, e.(map[string]any))
			}
			if link, _ := page["@odata.deltaLink"].(string); link != "" {
				return all, link
			}
			address = page["@odata.nextLink"].(string)
		}
	}
	all, link := round(listPath(v, "Tasks")+"/tasks/delta()?$select=id,status", "Prefer", "odata.maxpagesize=1")
	if len(all) != 2 || all[0]["status"] != "notStarted" || all[0]["title"] != nil {
		t.Errorf("got %v", all)
	}
	if all, _ := round(link); len(all) != 0 {
		t.Errorf("got %v", all)
	}
	if err := v.s.ChangeTask(simulator.Adele, a.ID, map[string]any{"checklistItems": []any{}}); err != nil {
		t.Fatal(err)
	}
	if all, _ := round(link); len(all) != 0 {
		t.Errorf("a step alone: got %v", all)
	}
	if err := v.s.CompleteTask(simulator.Adele, a.ID); err != nil {
		t.Fatal(err)
	}
	v.s.RemoveTask(simulator.Adele, "b")
	all, _ = round(link)
	if len(all) != 2 || all[0]["status"] != "completed" || all[1]["@removed"] == nil {
		t.Errorf("got %v", all)
	}
	v.s.ExpireDeltaTokens()
	v.refused(410, "SyncStateNotFound", "GET", link, "")
	v.s.SetTodoOptions(simulator.Adele, simulator.TodoOptions{NoDelta: true, NoOrder: true, NoDateFilter: true})
	v.refused(400, "invalidRequest", "GET", listPath(v, "Tasks")+"/tasks/delta", "")
	v.refused(400, "invalidRequest", "GET", listPath(v, "Tasks")+"/tasks?$orderby=title", "")
	v.refused(400, "invalidRequest", "GET", listPath(v, "Tasks")+"/tasks?$filter=createdDateTime%20ge%202020-01-01T00:00:00Z", "")
}

// Reading needs Tasks.Read or Tasks.ReadWrite, everything else Tasks.ReadWrite, and the tasks of others cannot be reached.
func TestTodoPermissions(t *testing.T) {
	v := newGraphClient(t, tasksRead)
	task := v.s.AddTask(simulator.Adele, "", simulator.Task{Title: "a", Steps: []simulator.TaskStep{{Name: "s"}}})
	v.s.AddTodoList(simulator.Adele, "Own")
	tasks := listPath(v, "Tasks") + "/tasks"
	one := tasks + "/" + url.PathEscape(task.ID)
	step := one + "/checklistItems/" + task.Steps[0].ID
	reads := []string{"/me/todo/lists", listPath(v, "Tasks"), tasks, tasks + "/delta", one, one + "/checklistItems", step}
	writes := [][3]string{
		{"POST", "/me/todo/lists", `{"displayName": "x"}`}, {"PATCH", listPath(v, "Own"), `{"displayName": "Own"}`}, {"POST", tasks, `{"title": "x"}`},
		{"PATCH", one, `{"title": "x"}`}, {"POST", one + "/checklistItems", `{"displayName": "x"}`}, {"PATCH", step, `{"isChecked": true}`}, {"DELETE", step, ""},
		{"DELETE", one, ""}, {"DELETE", listPath(v, "Own"), ""},
	}
	v.token = v.s.Token(simulator.Adele, "Mail.ReadWrite", "User.Read")
	for _, path := range reads {
		v.refused(403, "ErrorAccessDenied", "GET", path, "")
	}
	for _, scope := range []string{tasksRead, tasksWrite} {
		v.token = v.s.Token(simulator.Adele, scope)
		for _, path := range reads {
			v.want(200, "GET", path, "")
		}
	}
	v.token = v.s.Token(simulator.Adele, tasksRead)
	for _, w := range writes {
		v.refused(403, "ErrorAccessDenied", w[0], w[1], w[2])
	}
	v.token = v.s.Token(simulator.Adele, tasksWrite)
	for _, w := range writes {
		if resp, out := v.do(w[0], w[1], w[2]); resp.StatusCode >= 300 {
			t.Errorf("%v: %s %v", w, resp.Status, out)
		}
	}
	megan := v.s.AddUser(simulator.User{Address: "megan@contoso.example", Name: "Megan"})
	v.refused(403, "ErrorAccessDenied", "GET", "/users/"+megan.ID+"/todo/lists", "")
	v.want(200, "GET", "/users/"+adeleID+"/todo/lists", "")

	v.s.AddTodoList(megan.Address, "Ours")
	v.s.AddTask(megan.Address, "Ours", simulator.Task{Title: "a"})
	v.s.ShareTodoList(megan.Address, "Ours", simulator.Adele, false)
	ours := listPath(v, "Ours")
	if l := v.want(200, "GET", ours, ""); l["isOwner"] != false || l["isShared"] != true {
		t.Errorf("got %v", l)
	}
	if diff := cmp.Diff([]string{"a"}, titles(v.want(200, "GET", ours+"/tasks", ""))); diff != "" {
		t.Error(diff)
	}
	v.refused(403, "ErrorAccessDenied", "DELETE", ours, "")
	v.s.ShareTodoList(megan.Address, "Ours", simulator.Adele, true)
	v.refused(403, "ErrorAccessDenied", "GET", ours+"/tasks", "")
}
