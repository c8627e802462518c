package simulator_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestControlMail(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	users := "/users/" + simulator.Adele
	made := v.control(200, "POST", users+"/mailFolders", `{"path": "Bills/Power", "hidden": true}`)
	if made["path"] != "Bills/Power" || made["hidden"] != true {
		t.Errorf("%v", made)
	}
	in := v.control(200, "POST", users+"/mails", `{"folder": "Bills/Power", "subject": "x", "attachments": [{"kind": "file", "name": "a", "content": "aGVsbG8="}, {"kind": "item", "name": "b"}]}`)
	id := in["id"].(string)
	if m := v.want(200, "GET", "/me/messages/"+id, ""); m["subject"] != "x" || m["hasAttachments"] != true {
		t.Errorf("%v", m)
	}
	changed := v.control(200, "PATCH", users+"/mails/"+id, `{"read": true, "flag": "flagged", "categories": ["a"], "importance": "high", "folder": "inbox"}`)
	if changed["id"] == id || changed["immutableId"] != in["immutableId"] || changed["read"] != true || changed["flag"] != "flagged" || changed["importance"] != "high" {
		t.Errorf("%v", changed)
	}
	if all := v.control(200, "GET", users+"/mails?folder=inbox", "")["value"].([]any); len(all) != 1 {
		t.Errorf("%v", all)
	}
	v.control(204, "POST", users+"/mails", `{"folder": "junkemail", "subject": "many", "count": 5000}`)
	for _, f := range v.control(200, "GET", users+"/mailFolders", "")["value"].([]any) {
		if f := f.(map[string]any); f["wellKnown"] == "junkemail" && (f["total"] != 5000.0 || f["unread"] != 5000.0) {
			t.Errorf("%v", f)
		}
	}
	v.control(204, "POST", users+"/mails", `{"folder": "archive", "count": 2, "attachments": [{"name": "a"}]}`)
	ids := map[any]bool{}
	for _, m := range v.control(200, "GET", users+"/mails?folder=archive", "")["value"].([]any) {
		attachment := m.(map[string]any)["attachments"].([]any)[0].(map[string]any)
		ids[attachment["id"]] = true
	}
	if len(ids) != 2 {
		t.Errorf("%d ids of two attachments", len(ids))
	}
	v.control(204, "DELETE", users+"/mails/"+changed["id"].(string), "")
	v.control(204, "PATCH", users+"/mail", `{"language": "fr"}`)
	if got := v.want(200, "GET", "/me/mailFolders/inbox", "")["displayName"]; got != "Boîte de réception" {
		t.Errorf("%v", got)
	}
	v.control(204, "PUT", users+"/mailboxRights/"+simulator.Adele, `{"fullAccess": true}`)
	for _, test := range []struct {
		status             int
		method, path, body string
		want               string
	}{
		{404, "POST", "/users/nobody/mails", `{}`, `no user "nobody"`},
		{404, "POST", users + "/mails", `{"folder": "None"}`, `no folder "None"`},
		{404, "GET", users + "/mails?folder=None", ``, `no folder "None"`},
		{404, "DELETE", users + "/mails/" + id, ``, "no mail"},
		{404, "PATCH", users + "/mails/x", `{}`, "no mail"},
		{400, "POST", users + "/mails", `{"title": "x"}`, "unknown field"},
		{400, "POST", users + "/mails", `{"id": "x"}`, "id"},
		{400, "POST", users + "/mails", `{"count": 100001}`, "count: want 1 to 100000"},
		{400, "POST", users + "/mails", `{"importance": "urgent"}`, "want low, normal or high"},
		{400, "POST", users + "/mails", `{"flag": "red"}`, "want notFlagged, flagged or complete"},
		{400, "PATCH", users + "/mails/x", `{"flag": "red"}`, "want notFlagged, flagged or complete"},
		{400, "PATCH", users + "/mails/x", `{"importance": "red"}`, "want low, normal or high"},
		{400, "POST", users + "/mails", `{"attachments": [{"kind": "x"}]}`, "want file, item or reference"},
		{400, "POST", users + "/mailFolders", `{"path": "a//b"}`, "separated by slashes"},
		{400, "PATCH", users + "/mail", `{"language": "xx"}`, "want one of en, de, es, fr"},
		{400, "PATCH", users + "/mail", `{"maxSize": -1}`, "want at least 0"},
	} {
		if got := v.control(test.status, test.method, test.path, test.body)["error"]; !strings.Contains(got.(string), test.want) {
			t.Errorf("%s %s %s: %s", test.method, test.path, test.body, got)
		}
	}
}
