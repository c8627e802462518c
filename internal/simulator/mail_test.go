package simulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// values returns a property of every entity of a page.
func values(page map[string]any, name string) []string {
	var all []string
	for _, e := range page["value"].([]any) {
		all = append(all, fmt.Sprint(e.(map[string]any)[name]))
	}
	return all
}

// query returns a query string of pairs.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "?" + q.Encode()
}

// relative returns a link without the root of Graph.
func relative(t *testing.T, v graphClient, page map[string]any, name string) string {
	t.Helper()
	link, _ := page[name].(string)
	path, ok := strings.CutPrefix(link, v.s.GraphURL()+"/v1.0")
	if !ok {
		t.Fatalf("%s: %q in %v", name, link, page)
	}
	return path
}

func (v graphClient) deliver(m simulator.Mail) simulator.Mail {
	return v.s.DeliverMail(simulator.Adele, m)
}

func TestMailFolders(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadBasic")
	v.s.AddMailFolder(simulator.Adele, "Bills/Power")
	v.s.AddMail(simulator.Adele, "Bills/Power", simulator.Mail{Subject: "a"})
	v.s.AddMail(simulator.Adele, "Bills/Power", simulator.Mail{Subject: "b", Read: true})
	page := v.want(200, "GET", "/me/mailFolders?$top=100&$select=displayName,isHidden", "")
	if diff := cmp.Diff([]string{"Archive", "Bills", "Conversation History", "Deleted Items", "Drafts", "Inbox", "Junk Email", "Outbox", "Sent Items"}, values(page, "displayName")); diff != "" {
		t.Error(diff)
	}
	if got := values(v.want(200, "GET", "/me/mailFolders?includeHiddenFolders=true&$top=100", ""), "displayName"); !slices.Contains(got, "Sync Issues") {
		t.Errorf("hidden folders: %v", got)
	}
	bills := v.want(200, "GET", "/me/mailFolders"+query("$filter", "displayName eq 'bills'"), "")["value"].([]any)[0].(map[string]any)
	if bills["childFolderCount"] != 1.0 || bills["totalItemCount"] != 0.0 {
		t.Errorf("%v", bills)
	}
	id := bills["id"].(string)
	if len(id) != 120 || !strings.HasPrefix(id, "AAMk") || !strings.HasSuffix(id, "=") {
		t.Errorf("id of %d characters: %s", len(id), id)
	}
	power := v.want(200, "GET", "/me/mailFolders/"+id+"/childFolders", "")["value"].([]any)[0].(map[string]any)
	if power["displayName"] != "Power" || power["unreadItemCount"] != 1.0 || power["totalItemCount"] != 2.0 || power["parentFolderId"] != id || power["isHidden"] != false {
		t.Errorf("%v", power)
	}
	expanded := v.want(200, "GET", "/me/mailFolders/"+id+"?$expand=childFolders", "")
	if got := expanded["childFolders"].([]any)[0].(map[string]any)["id"]; got != power["id"] {
		t.Errorf("expanded: %v", expanded)
	}
	root := v.want(200, "GET", "/me/mailFolders/msgFolderRoot", "")
	if bills["parentFolderId"] != root["id"] {
		t.Errorf("root: %v", root)
	}
	v.refused(400, "ErrorInvalidIdMalformed", "GET", "/me/mailFolders/Bills", "")
	v.refused(404, "ErrorItemNotFound", "GET", "/me/mailFolders/"+strings.Replace(id, "AAMk", "AAMl", 1), "")
	v.refused(404, "ErrorFolderNotFound", "GET", "/me/mailFolders/searchfolders", "")
	v.refused(400, "RequestBroker--ParseUri", "GET", "/me/mailFolders?$select=name", "")
	v.refused(403, "ErrorAccessDenied", "POST", "/me/mailFolders", `{"displayName": "x"}`)

	v.token = v.s.Token(simulator.Adele, "Mail.ReadWrite")
	made := v.want(201, "POST", "/me/mailFolders/"+id+"/childFolders", `{"displayName": "Water"}`)
	v.refused(409, "ErrorFolderExists", "POST", "/me/mailFolders/"+id+"/childFolders", `{"displayName": "water"}`)
	v.refused(400, "ErrorPropertyValidationFailure", "POST", "/me/mailFolders", `{"displayName": ""}`)
	path := "/me/mailFolders/" + made["id"].(string)
	if got := v.want(200, "PATCH", path, `{"displayName": "Gas"}`)["displayName"]; got != "Gas" {
		t.Errorf("renamed: %v", got)
	}
	v.want(204, "DELETE", path, "")
	if got := v.want(200, "GET", path, "")["parentFolderId"]; got != v.want(200, "GET", "/me/mailFolders/deletedItems", "")["id"] {
		t.Errorf("deleted folder is below %v", got)
	}
	v.refused(403, "ErrorDeleteDistinguishedFolder", "DELETE", "/me/mailFolders/inbox", "")
}

// The names of the default folders follow the language of the mailbox, the well-known names do not.
func TestMailboxLanguage(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadBasic")
	v.s.SetMailboxOptions(simulator.Adele, simulator.MailboxOptions{Language: "de"})
	for _, path := range []string{"/me/mailFolders/inbox", "/me/mailFolders/Inbox", "/me/mailFolders('inbox')"} {
		if got := v.want(200, "GET", path, "")["displayName"]; got != "Posteingang" {
			t.Errorf("%s: %v", path, got)
		}
	}
	v.deliver(simulator.Mail{})
	if got := v.s.Mails(simulator.Adele, "Posteingang"); len(got) != 1 {
		t.Errorf("%v", got)
	}
	page := v.want(200, "GET", "/me/mailFolders"+query("$filter", "displayName eq 'Inbox'"), "")
	if len(page["value"].([]any)) != 0 {
		t.Errorf("%v", page)
	}
}

// A received mail has the properties of Microsoft's examples.
func TestMessage(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	in := v.deliver(simulator.Mail{
		Subject: "Grüße 🎉", From: simulator.Megan, FromName: "Megan O'Neil", To: []string{simulator.Adele}, Cc: []string{"a@fabrikam.example"}, Body: "<html><body><p>Hello <b>you</b></p></body></html>",
		HTML: true, Received: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC), Importance: "high", Categories: []string{"Red category"}, Flag: "flagged", FlagDue: "2026-07-03",
		Headers: [][2]string{{"X-Test", "1"}}, Properties: map[string]string{"String {00020329-0000-0000-c000-000000000046} Name id": "7"},
	})
	if len(in.ID) != 152 || len(in.ImmutableID) != 152 || in.ID == in.ImmutableID {
		t.Errorf("ids of %d and %d characters", len(in.ID), len(in.ImmutableID))
	}
	m := v.want(200, "GET", "/me/messages/"+in.ID, "")
	for name, want := range map[string]any{
		"id": in.ID, "subject": "Grüße 🎉", "receivedDateTime": "2026-07-01T09:00:00Z", "sentDateTime": "2026-07-01T09:00:00Z", "isRead": false, "isDraft": false,
		"importance": "high", "hasAttachments": false, "bodyPreview": "Hello you", "inferenceClassification": "focused", "categories": []any{"Red category"},
		"body":         map[string]any{"contentType": "html", "content": "<html><body><p>Hello <b>you</b></p></body></html>"},
		"from":         map[string]any{"emailAddress": map[string]any{"name": "Megan O'Neil", "address": simulator.Megan}},
		"toRecipients": []any{map[string]any{"emailAddress": map[string]any{"name": "Adele Vance", "address": simulator.Adele}}},
		"flag": map[string]any{
			"flagStatus": "flagged", "startDateTime": map[string]any{"dateTime": "2026-07-03T00:00:00.0000000", "timeZone": "UTC"},
			"dueDateTime": map[string]any{"dateTime": "2026-07-03T00:00:00.0000000", "timeZone": "UTC"},
		},
		"@odata.etag": `W/"` + m["changeKey"].(string) + `"`,
	} {
		if diff := cmp.Diff(want, m[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, name := range []string{"internetMessageHeaders", "uniqueBody", "attachments", "singleValueExtendedProperties"} {
		if _, ok := m[name]; ok {
			t.Errorf("%s is there without being asked for", name)
		}
	}
	resp, text := v.do("GET", "/me/mailFolders/inbox/messages/"+in.ID+"?$select=body,internetMessageHeaders", "", "Prefer", `outlook.body-content-type="text"`, "Prefer", `IdType="ImmutableId"`)
	if diff := cmp.Diff(map[string]any{"contentType": "text", "content": "Hello you\r\n\r\n"}, text["body"]); diff != "" || text["id"] != in.ImmutableID {
		t.Errorf("%v %s", text, diff)
	}
	if got := resp.Header.Values("Preference-Applied"); len(got) != 2 {
		t.Errorf("Preference-Applied: %v", got)
	}
	if diff := cmp.Diff([]any{map[string]any{"name": "X-Test", "value": "1"}}, text["internetMessageHeaders"]); diff != "" {
		t.Error(diff)
	}
	expanded := v.want(200, "GET", "/me/messages/"+in.ID+query("$select", "id", "$expand", "singleValueExtendedProperties($filter=id eq 'String {00020329-0000-0000-C000-000000000046} Name id')"), "")
	if diff := cmp.Diff([]any{map[string]any{"id": "String {00020329-0000-0000-c000-000000000046} Name id", "value": "7"}}, expanded["singleValueExtendedProperties"]); diff != "" {
		t.Error(diff)
	}
	v.refused(404, "ErrorItemNotFound", "GET", "/me/mailFolders/drafts/messages/"+in.ID, "")
	v.refused(400, "ErrorInvalidIdMalformed", "GET", "/me/messages/1", "")
	v.refused(404, "ErrorItemNotFound", "GET", "/me/messages/"+"AAMk"+strings.ToLower(in.ID[4:60])+in.ID[60:], "")
	v.refused(400, "RequestBroker--ParseUri", "GET", "/me/messages/"+in.ID+"?$select=unread", "")
}

func TestMessageWithNull(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	in := v.deliver(simulator.Mail{Null: []string{"subject", "from", "sender", "body"}})
	m := v.want(200, "GET", "/me/messages/"+in.ID, "")
	for _, name := range []string{"subject", "from", "sender", "body"} {
		if got, ok := m[name]; !ok || got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if diff := cmp.Diff([]string{"subject", "from", "sender", "body"}, v.s.Mails(simulator.Adele, "")[0].Null); diff != "" {
		t.Error(diff)
	}
}

// numbered fills the Inbox with n mails, one an hour, the newest last; every third is unread.
func numbered(v graphClient, folder string, n int) {
	v.s.FillMailFolder(simulator.Adele, folder, n, func(i int) simulator.Mail {
		return simulator.Mail{Subject: fmt.Sprint(i), From: fmt.Sprintf("%d@fabrikam.example", i%2), Read: i%3 != 0, Received: time.Date(2026, 7, 1, i, 0, 0, 0, time.UTC), Body: "Body " + fmt.Sprint(i)}
	})
}

func TestMessageList(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	numbered(v, "", 25)
	v.s.AddMail(simulator.Adele, "junkemail", simulator.Mail{Subject: "junk", Received: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
	page := v.want(200, "GET", "/me/mailFolders/inbox/messages?$select=subject&$count=true", "")
	if diff := cmp.Diff([]string{"24", "23", "22", "21", "20", "19", "18", "17", "16", "15"}, values(page, "subject")); diff != "" || page["@odata.count"] != 25.0 {
		t.Errorf("%v %s", page["@odata.count"], diff)
	}
	next := v.want(200, "GET", relative(t, v, page, "@odata.nextLink"), "")
	if got := values(next, "subject"); got[0] != "14" || len(got) != 10 {
		t.Errorf("%v", got)
	}
	if page := v.want(200, "GET", "/me/messages?$top=1000&$select=subject", ""); len(page["value"].([]any)) != 26 || page["@odata.nextLink"] != nil {
		t.Errorf("%d mails, next %v", len(page["value"].([]any)), page["@odata.nextLink"])
	}
	for _, test := range []struct {
		filter, orderby string
		want            []string
	}{
		{"isRead eq false", "", []string{"0", "3", "6"}}, // the order is inferred
		{"receivedDateTime ge 2026-07-01T20:00:00Z", "", []string{"24", "23", "22"}},
		{"receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false", "receivedDateTime desc", []string{"24", "21", "18"}},
		{"receivedDateTime ge 1900-01-01T00:00:00Z and from/emailAddress/address eq '1@FABRIKAM.example'", "receivedDateTime desc", []string{"23", "21", "19"}},
		{"receivedDateTime ge 1900-01-01T00:00:00Z and contains(subject,'2')", "receivedDateTime desc", []string{"24", "23", "22"}},
		{"from/emailAddress/address eq '0@fabrikam.example' and receivedDateTime ge 2026-07-01T00:00:00Z", "from/emailAddress/address,receivedDateTime desc", []string{"24", "22", "20"}},
		{"", "receivedDateTime asc", []string{"0", "1", "2"}},
		{"", "subject desc", []string{"9", "8", "7"}},
	} {
		q := []string{"$select", "subject", "$top", "3"}
		if test.filter != "" {
			q = append(q, "$filter", test.filter)
		}
		if test.orderby != "" {
			q = append(q, "$orderby", test.orderby)
		}
		if diff := cmp.Diff(test.want, values(v.want(200, "GET", "/me/mailFolders/inbox/messages"+query(q...), ""), "subject")); diff != "" {
			t.Errorf("%s, %s: %s", test.filter, test.orderby, diff)
		}
	}
	for _, test := range []struct{ filter, orderby, code string }{
		{"isRead eq false", "receivedDateTime desc", "InefficientFilter"},
		{"isRead eq false and receivedDateTime ge 1900-01-01T00:00:00Z", "receivedDateTime desc", "InefficientFilter"},
		{"receivedDateTime ge 1900-01-01T00:00:00Z", "receivedDateTime desc,subject", "InefficientFilter"},
		{"importance eq 'urgent'", "", "BadRequest"},
		{"unread eq true", "", "RequestBroker--ParseUri"},
		{"from eq 'x'", "", "BadRequest"},
		{"toRecipients/any(r:r/emailAddress/address eq 'x')", "", "ErrorInvalidUrlQueryFilter"},
		{"subject eq 'it's'", "", "BadRequest"},
	} {
		q := []string{"$filter", test.filter}
		if test.orderby != "" {
			q = append(q, "$orderby", test.orderby)
		}
		v.refused(400, test.code, "GET", "/me/messages"+query(q...), "")
	}
	v.refused(400, "ErrorInvalidUrlQueryFilter", "GET", "/me/messages?$top=1001", "")
}

// A filter by body is accepted, and misses what is not in the beginning of the text.
func TestFilterByBody(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	v.deliver(simulator.Mail{Subject: "near", Body: "needle"})
	v.deliver(simulator.Mail{Subject: "far", Body: strings.Repeat("hay ", 100) + "needle"})
	page := v.want(200, "GET", "/me/messages"+query("$filter", "contains(body/content,'needle')"), "")
	if diff := cmp.Diff([]string{"near"}, values(page, "subject")); diff != "" {
		t.Error(diff)
	}
}

func TestMessageSearch(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	july := func(day int) time.Time { return time.Date(2026, 7, day, 12, 0, 0, 0, time.UTC) }
	v.deliver(simulator.Mail{Subject: "Power bill", From: "billing@power.example", Received: july(1), Body: "You owe 42."})
	v.deliver(simulator.Mail{Subject: "Lunch", From: simulator.Megan, FromName: "Megan Bowen", Received: july(2), Body: "About the bill", Attachments: []simulator.Attachment{{Name: "menu.pdf"}}})
	for search, want := range map[string][]string{
		`"bill"`: {"Lunch", "Power bill"}, `"power"`: {"Power bill"}, `lunch`: {"Lunch"}, `"subject:bill"`: {"Power bill"}, `"from:megan"`: {"Lunch"},
		`"bill NOT lunch"`: {"Power bill"}, `"subject:\"power bill\""`: {"Power bill"}, `"owe OR menu"`: {"Power bill"}, `"hasAttachments:true"`: {"Lunch"},
		`"received>=2026-07-02"`: {"Lunch"}, `"received:2026-07-01..2026-07-01"`: {"Power bill"}, `"bil*"`: {"Lunch", "Power bill"}, `"bil"`: nil, `"attachment:menu"`: {"Lunch"},
	} {
		if diff := cmp.Diff(want, values(v.want(200, "GET", "/me/messages"+query("$search", search), ""), "subject")); diff != "" {
			t.Errorf("%s: %s", search, diff)
		}
	}
	page := v.want(200, "GET", "/me/messages"+query("$search", `"bill"`, "$top", "1"), "")
	if got := values(v.want(200, "GET", relative(t, v, page, "@odata.nextLink"), ""), "subject"); !slices.Equal(got, []string{"Power bill"}) {
		t.Errorf("second page: %v", got)
	}
	v.refused(400, "SearchWithFilter", "GET", "/me/messages"+query("$search", `"x"`, "$filter", "isRead eq false"), "")
	v.refused(400, "SearchWithOrderBy", "GET", "/me/messages"+query("$search", `"x"`, "$orderby", "receivedDateTime desc"), "")
	v.refused(400, "SearchWithCount", "GET", "/me/messages"+query("$search", `"x"`, "$count", "true"), "")
	v.refused(400, "BadRequest", "GET", "/me/messages"+query("$search", `subject:bill`), "")
	v.refused(400, "BadRequest", "GET", "/me/messages"+query("$search", `"bill`), "")
}

func TestMessageDelta(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadBasic")
	numbered(v, "", 3)
	immutable := []string{"Prefer", `IdType="ImmutableId"`}
	round := func(path string, headers ...string) ([]map[string]any, string) {
		var all []map[string]any
		for {
			page := v.want(200, "GET", path, "", headers...)
			for _, e := range page["value"].([]any) {
				all = append(all, e.(map[string]any))
			}
			if page["@odata.nextLink"] == nil {
				path = relative(t, v, page, "@odata.deltaLink")
				return all, path
			}
			path = relative(t, v, page, "@odata.nextLink")
		}
	}
	first, link := round("/me/mailFolders/inbox/messages/delta?$select=id", append(immutable, "Prefer", "odata.maxpagesize=2")...)
	if len(first) != 3 || first[0]["subject"] != nil || first[0]["@odata.type"] != "#microsoft.graph.message" {
		t.Errorf("first round: %v", first)
	}
	if u, _ := url.Parse(link); len(u.Query().Get("$deltatoken")) != 200 {
		t.Errorf("link: %s", link)
	}
	if again, _ := round(link, immutable...); len(again) != 0 {
		t.Errorf("nothing happened: %v", again)
	}
	mails := v.s.Mails(simulator.Adele, "")
	v.s.ChangeMail(simulator.Adele, mails[2].ID, func(m *simulator.Mail) { m.Read = true })
	v.s.MoveMail(simulator.Adele, mails[1].ID, "archive")
	v.s.RemoveMail(simulator.Adele, mails[0].ID)
	added := v.deliver(simulator.Mail{Subject: "new"})
	changes, next := round(link, immutable...)
	want := []map[string]any{
		{"id": mails[2].ImmutableID}, {"id": mails[1].ImmutableID, "@removed": map[string]any{"reason": "deleted"}},
		{"id": mails[0].ImmutableID, "@removed": map[string]any{"reason": "deleted"}}, {"id": added.ImmutableID},
	}
	for _, e := range changes {
		delete(e, "@odata.etag")
		delete(e, "@odata.type")
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Error(diff)
	}
	// A link can be used again, and without the preference it gives the other ids.
	if again, _ := round(link); len(again) != 4 || again[1]["id"] != mails[1].ID {
		t.Errorf("again: %v", again)
	}
	if created, link := round("/me/mailFolders/inbox/messages/delta?changeType=created&$select=subject"); len(created) != 2 {
		t.Errorf("%v", created)
	} else {
		v.s.ChangeMail(simulator.Adele, added.ID, func(m *simulator.Mail) { m.Flag = "flagged" })
		v.deliver(simulator.Mail{Subject: "newer"})
		if created, _ := round(link); len(created) != 1 || created[0]["subject"] != "newer" {
			t.Errorf("%v", created)
		}
	}
	v.s.ExpireDeltaTokens()
	v.refused(410, "SyncStateNotFound", "GET", next, "")
	for _, q := range []string{
		query("$filter", "isRead eq false"), query("$filter", "receivedDateTime le 2026-07-01T00:00:00Z"), query("$orderby", "subject"),
		query("$search", `"x"`), query("$count", "true"), query("$skip", "1"),
	} {
		v.refused(400, "ErrorInvalidUrlQuery", "GET", "/me/mailFolders/inbox/messages/delta"+q, "")
	}
	v.refused(400, "BadRequest", "GET", "/me/mailFolders/inbox/messages/delta?changeType=x", "")
}

// A mailbox of 100,000 mails is filled and counted fast, and a filter bounds the first round at 5,000.
func TestLargeMailbox(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	v.s.FillMailFolder(simulator.Adele, "", 100_000, func(i int) simulator.Mail {
		return simulator.Mail{Subject: fmt.Sprint(i), Read: i%100 != 0, Received: time.Date(2026, 1, 1, 0, i, 0, 0, time.UTC)}
	})
	inbox := v.want(200, "GET", "/me/mailFolders/inbox", "")
	if inbox["totalItemCount"] != 100_000.0 || inbox["unreadItemCount"] != 1000.0 {
		t.Errorf("%v", inbox)
	}
	q := query("$filter", "receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false", "$orderby", "receivedDateTime desc", "$top", "1", "$count", "true", "$select", "subject")
	if page := v.want(200, "GET", "/me/mailFolders/inbox/messages"+q, ""); page["@odata.count"] != 1000.0 || page["value"].([]any)[0].(map[string]any)["subject"] != "99900" {
		t.Errorf("%v", page)
	}
	n := 0
	path := "/me/mailFolders/inbox/messages/delta" + query("$select", "id", "$filter", "receivedDateTime ge 2026-02-01T00:00:00Z")
	for requests := 1; ; requests++ {
		page := v.want(200, "GET", path, "", "Prefer", "odata.maxpagesize=1000")
		n += len(page["value"].([]any))
		if page["@odata.nextLink"] == nil {
			if n != 5000 || requests != 5 {
				t.Errorf("%d mails in %d requests", n, requests)
			}
			break
		}
		path = relative(t, v, page, "@odata.nextLink")
	}
}

func TestMessageAttachments(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	in := v.deliver(simulator.Mail{Attachments: []simulator.Attachment{
		{Name: "a.txt", ContentType: "text/plain", Content: []byte("hello")},
		{Name: "logo.png", ContentType: "image/png", Size: 5, Inline: true, ContentID: "logo"},
		{Kind: "item", Name: "Forwarded", Size: 100, Item: &simulator.Mail{Subject: "inner", From: simulator.Megan}},
		{Kind: "reference", Name: "Shared", SourceURL: "https://contoso.example/doc"},
		{Name: "broken.bin", Size: 3_000_000, Unreadable: true},
	}})
	path := "/me/messages/" + in.ID + "/attachments"
	page := v.want(200, "GET", path+"?$select=id,name,size,isInline,contentType,microsoft.graph.fileAttachment/contentId", "")
	var got []map[string]any
	for _, e := range page["value"].([]any) {
		e := e.(map[string]any)
		delete(e, "@odata.mediaContentType")
		if id := e["id"].(string); len(id) < 152 || !strings.HasPrefix(id, "AAMk") {
			t.Errorf("id: %s", id)
		}
		delete(e, "id")
		got = append(got, e)
	}
	if diff := cmp.Diff([]map[string]any{
		{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "size": 5.0, "isInline": false, "contentType": "text/plain", "contentId": nil},
		{"@odata.type": "#microsoft.graph.fileAttachment", "name": "logo.png", "size": 5.0, "isInline": true, "contentType": "image/png", "contentId": "logo"},
		{"@odata.type": "#microsoft.graph.itemAttachment", "name": "Forwarded", "size": 100.0, "isInline": false, "contentType": nil},
		{"@odata.type": "#microsoft.graph.referenceAttachment", "name": "Shared", "size": 0.0, "isInline": false, "contentType": nil},
		{"@odata.type": "#microsoft.graph.fileAttachment", "name": "broken.bin", "size": 3_000_000.0, "isInline": false, "contentType": nil, "contentId": nil},
	}, got); diff != "" {
		t.Error(diff)
	}
	expanded := v.want(200, "GET", "/me/messages/"+in.ID+"?$select=subject&$expand=attachments($select=name,microsoft.graph.fileAttachment/contentId)", "")
	if a := expanded["attachments"].([]any)[1].(map[string]any); a["name"] != "logo.png" || a["contentId"] != "logo" || a["contentBytes"] != nil || a["size"] != nil {
		t.Errorf("expanded: %v", a)
	}
	v.refused(400, "RequestBroker--ParseUri", "GET", "/me/messages/"+in.ID+"?$expand=attachments($select=contentBytes)", "")
	ids := func(i int) string { return path + "/" + in.Attachments[i].ID }
	if a := v.want(200, "GET", ids(0), ""); a["contentBytes"] != "aGVsbG8=" {
		t.Errorf("%v", a)
	}
	r := v.want(200, "GET", ids(2)+"?$expand=microsoft.graph.itemattachment/item", "")
	if item, _ := r["item"].(map[string]any); item["subject"] != "inner" {
		t.Errorf("item: %v", r)
	}
	if a := v.want(200, "GET", ids(3), ""); a["contentBytes"] != nil {
		t.Errorf("reference: %v", a)
	}
	v.refused(500, "ErrorInternalServerError", "GET", ids(4), "")
	v.refused(400, "RequestBroker--ParseUri", "GET", path+"?$select=contentBytes", "")
	v.refused(405, "ErrorInvalidRequest", "GET", ids(3)+"/$value", "")
	v.refused(404, "ErrorItemNotFound", "GET", path+"/"+strings.Replace(in.Attachments[0].ID, "AAMk", "AAMl", 1), "")
	if m := v.want(200, "GET", "/me/messages/"+in.ID+"?$select=hasAttachments", ""); m["hasAttachments"] != true {
		t.Errorf("%v", m)
	}
	inline := v.deliver(simulator.Mail{Attachments: []simulator.Attachment{{Name: "logo.png", Size: 5, Inline: true}}})
	if m := v.want(200, "GET", "/me/messages/"+inline.ID+"?$select=hasAttachments", ""); m["hasAttachments"] != false {
		t.Errorf("inline only: %v", m)
	}
	v.token = v.s.Token(simulator.Adele, "Mail.ReadBasic")
	v.refused(403, "ErrorAccessDenied", "GET", path, "")
}

func TestMailReadBasic(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadBasic")
	in := v.deliver(simulator.Mail{Subject: "x", Body: "secret", Properties: map[string]string{"String 0x1": "1"}})
	m := v.want(200, "GET", "/me/messages/"+in.ID, "")
	for _, name := range []string{"body", "bodyPreview"} {
		if _, ok := m[name]; ok || m["subject"] != "x" {
			t.Errorf("%v", m)
		}
	}
	if m := v.want(200, "GET", "/me/mailFolders/inbox/messages?$select=subject,body,bodyPreview", ""); strings.Contains(fmt.Sprint(m), "secret") {
		t.Errorf("%v", m)
	}
	for _, q := range []string{
		query("$search", `"x"`), query("$filter", "contains(body/content,'x')"), query("$expand", "attachments"), query("$expand", "singleValueExtendedProperties($filter=id eq 'String 0x1')"),
		query("$filter", "singleValueExtendedProperties/any(p:p/id eq 'String 0x1' and p/value eq '1')"),
	} {
		v.refused(403, "ErrorAccessDenied", "GET", "/me/messages"+q, "")
	}
}

func TestSharedMailbox(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	v.s.AddUser(simulator.User{Address: "info@contoso.example", Name: "Info"})
	v.s.DeliverMail("info@contoso.example", simulator.Mail{Subject: "shared"})
	path := "/users/info@contoso.example/mailFolders/inbox/messages"
	v.refused(403, "ErrorAccessDenied", "GET", path, "") // Mail.Read is not enough
	v.token = v.s.Token(simulator.Adele, "Mail.Read.Shared")
	v.refused(403, "ErrorAccessDenied", "GET", path, "") // no right
	v.s.SetMailboxRights("info@contoso.example", simulator.Adele, simulator.MailboxRights{SendAs: true})
	v.refused(403, "ErrorAccessDenied", "GET", path, "")
	v.s.SetMailboxRights("info@contoso.example", simulator.Adele, simulator.MailboxRights{FullAccess: true})
	if got := values(v.want(200, "GET", path, ""), "subject"); !slices.Equal(got, []string{"shared"}) {
		t.Errorf("%v", got)
	}
	v.want(200, "GET", "/me/messages", "")
	v.refused(404, "ErrorInvalidUser", "GET", "/users/nobody@contoso.example/messages", "")
	v.s.RemoveMailbox("info@contoso.example")
	v.refused(404, "MailboxNotEnabledForRESTAPI", "GET", path, "")
}

// Our responses have every property of Microsoft's published examples, and the same status.
func TestPublishedMailExamples(t *testing.T) {
	data, err := os.ReadFile("testdata/mail.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples []struct {
		Method, URL  string
		Status       int
		ResponseBody any
	}
	if err := json.Unmarshal(data, &examples); err != nil {
		t.Fatal(err)
	}
	v := newGraphClient(t, "Mail.ReadWrite")
	bills := v.s.AddMailFolder(simulator.Adele, "Bills/Power")
	parent := v.s.MailFolders(simulator.Adele)[len(v.s.MailFolders(simulator.Adele))-2]
	file := simulator.Attachment{Name: "a.txt", Content: []byte("x")}
	item := simulator.Attachment{Kind: "item", Name: "b", Item: &simulator.Mail{}}
	in := v.s.AddMail(simulator.Adele, bills.Path, simulator.Mail{Attachments: []simulator.Attachment{file, item}, Headers: [][2]string{{"a", "b"}}})
	message := "/me/messages/" + in.ID
	upload := `{"AttachmentItem": {"attachmentType": "file", "name": "x", "size": 4000000}}`
	checked := 0
	for _, e := range examples {
		path, q, _ := strings.Cut(strings.TrimPrefix(e.URL, "https://graph.microsoft.com/v1.0"), "?")
		segments := strings.Split(strings.Trim(path, "/"), "/")
		shape := e.Method + " " + strings.Join(segments[:2], "/")
		if len(segments) > 2 && segments[2] != "delta" {
			shape += "/id"
			if len(segments) > 3 {
				shape += "/" + segments[3]
			}
			if len(segments) > 4 {
				shape += "/" + map[bool]string{true: segments[4], false: "id"}[segments[4] == "delta" || segments[4] == "createUploadSession"]
			}
		}
		ask, body := map[string]string{
			"GET me/mailFolders": "/me/mailFolders", "GET me/mailFolders/id": "/me/mailFolders/" + bills.ID, "GET me/mailFolders/id/childFolders": "/me/mailFolders/" + parent.ID + "/childFolders",
			"GET me/mailFolders/id/messages": "/me/mailFolders/" + bills.ID + "/messages", "GET me/mailFolders/id/messages/delta": "/me/mailFolders/" + bills.ID + "/messages/delta",
			"POST me/mailFolders": "/me/mailFolders", "GET me/messages": "/me/messages", "GET me/messages/id": message, "GET me/messages/id/attachments": message + "/attachments",
			"GET me/messages/id/attachments/id": message + "/attachments/" + in.Attachments[map[bool]int{true: 1}[q != ""]].ID, "POST me/messages": "/me/messages",
			"POST me/messages/id/attachments/createUploadSession": message + "/attachments/createUploadSession",
		}[shape], map[string]string{"POST me/mailFolders": `{"displayName": "x"}`, "POST me/messages": `{}`, "POST me/messages/id/attachments/createUploadSession": upload}[shape]
		if _, isMeeting := first(e.ResponseBody)["meetingMessageType"]; ask == "" || isMeeting {
			continue
		}
		checked++
		if q != "" {
			ask += "?" + q
		}
		resp, got := v.do(e.Method, ask, body)
		if resp.StatusCode != e.Status {
			t.Errorf("%s %s: %s %v, want %d", e.Method, ask, resp.Status, got, e.Status)
			continue
		}
		for k := range first(e.ResponseBody) {
			if _, ok := first(got)[k]; !ok && !strings.Contains(k, "@odata.") {
				t.Errorf("%s %s: %s is missing in %v", e.Method, ask, k, got)
			}
		}
	}
	if checked < 12 {
		t.Errorf("only %d examples were compared", checked)
	}
}

// An idle round of a delta query is small.
func TestIdleDelta(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadBasic")
	id := v.want(200, "GET", "/me/mailFolders/inbox", "")["id"].(string)
	link := v.want(200, "GET", "/me/mailFolders/"+id+"/messages/delta?$select=id", "")["@odata.deltaLink"].(string)
	r, err := http.NewRequestWithContext(t.Context(), "GET", link, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+v.token)
	resp, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || len(b) < 400 || len(b) > 600 {
		t.Errorf("%d bytes, %v: %s", len(b), err, b)
	}
}

// The server serves uploads at another name of this machine.
func TestUploadToServer(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadWrite")
	v.client = v.server()
	draft := v.want(201, "POST", "/me/messages", `{}`)
	path := "/me/messages/" + draft["id"].(string) + "/attachments/createUploadSession"
	address := v.want(201, "POST", path, `{"AttachmentItem": {"attachmentType": "file", "name": "x", "size": 4000000}}`)["uploadUrl"].(string)
	if !strings.HasPrefix(address, "https://localhost:") {
		t.Fatal(address)
	}
	if status, body, _ := put(v, "PUT", address, make([]byte, 4_000_000), 0, 4_000_000); status != 201 {
		t.Errorf("%d %s", status, body)
	}
	if a := v.s.Mails(simulator.Adele, "drafts")[0].Attachments; len(a) != 1 || len(a[0].Content) != 4_000_000 {
		t.Errorf("%d attachments", len(a))
	}
}
