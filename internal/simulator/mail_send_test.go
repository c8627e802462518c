package simulator_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const property = "String {6f1b8a5e-0000-4d56-9d3c-1b2c3d4e5f60} Name graph2mqtt"

// to returns the recipients of a message in JSON.
func to(addresses ...string) string {
	var all []string
	for _, a := range addresses {
		all = append(all, fmt.Sprintf(`{"emailAddress": {"address": %q}}`, a))
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestSendMail(t *testing.T) {
	v := newColleaguesClient(t)
	v.token = v.s.Token(simulator.Adele, "Mail.Send")
	v.want(202, "POST", "/me/sendMail", `{"Message": {
		"subject": "Hello", "body": {"contentType": "HTML", "content": "<img src='cid:logo'>"}, "importance": "high", "internetMessageHeaders": [{"name": "x-id", "value": "1"}],
		"toRecipients": `+to(simulator.Megan, "out@fabrikam.example")+`, "bccRecipients": `+to(simulator.Alex)+`,
		"singleValueExtendedProperties": [{"id": "`+property+`", "value": "7"}],
		"attachments": [{"@odata.type": "#microsoft.graph.fileAttachment", "name": "logo.png", "contentType": "image/png", "contentBytes": "aGVsbG8=", "isInline": true, "contentId": "logo"}]
	}, "SaveToSentItems": true}`)
	sent := v.s.SentMails(simulator.Adele)
	if len(sent) != 1 || sent[0].Subject != "Hello" || sent[0].From != simulator.Adele || sent[0].Draft || !sent[0].Read || !sent[0].HTML || sent[0].Importance != "high" ||
		sent[0].Properties[property] != "7" || !slices.Equal(sent[0].Bcc, []string{simulator.Alex}) {
		t.Fatalf("sent: %+v", sent)
	}
	got := v.s.Mails(simulator.Megan, "")
	if len(got) != 1 || got[0].Read || got[0].FromName != "Adele Vance" || got[0].Bcc != nil || got[0].Properties != nil || got[0].MessageID != sent[0].MessageID {
		t.Fatalf("received: %+v", got)
	}
	if a := got[0].Attachments[0]; string(a.Content) != "hello" || !a.Inline || a.ContentID != "logo" {
		t.Errorf("attachment: %+v", a)
	}
	if diff := cmp.Diff([][2]string{{"x-id", "1"}}, got[0].Headers); diff != "" {
		t.Error(diff)
	}
	if len(v.s.Mails(simulator.Alex, "")) != 1 {
		t.Error("not blind copied")
	}
	v.want(202, "POST", "/me/sendMail", `{"message": {"subject": "secret", "toRecipients": `+to(simulator.Adele)+`}, "saveToSentItems": false}`)
	if n := len(v.s.SentMails(simulator.Adele)); n != 1 {
		t.Errorf("%d sent mails", n)
	}
	if got := v.s.Mails(simulator.Adele, "")[0]; got.Subject != "secret" || got.Read {
		t.Errorf("to oneself: %+v", got)
	}

	v.refused(403, "ErrorAccessDenied", "GET", "/me/messages", "")
	v.token = v.s.Token(simulator.Adele, "Mail.Read")
	v.refused(403, "ErrorAccessDenied", "POST", "/me/sendMail", `{}`)
	filter := "sentDateTime ge 2020-01-01T00:00:00Z and singleValueExtendedProperties/any(p:p/id eq '" + property + "' and p/value eq '7')"
	page := v.want(200, "GET", "/me/mailFolders/sentitems/messages"+query("$filter", filter, "$select", "subject"), "")
	if got := values(page, "subject"); !slices.Equal(got, []string{"Hello"}) {
		t.Errorf("found by property: %v", got)
	}
	page = v.want(200, "GET", "/me/mailFolders/sentitems/messages"+query("$filter", strings.Replace(filter, "'7'", "'8'", 1)), "")
	if len(page["value"].([]any)) != 0 {
		t.Errorf("%v", page)
	}
}

func TestSendMailRefused(t *testing.T) {
	v := newGraphClient(t, "Mail.Send")
	many := make([]string, 501)
	for i := range many {
		many[i] = fmt.Sprintf("%d@fabrikam.example", i)
	}
	message := func(rest string) string {
		return `{"message": {"toRecipients": ` + to("a@fabrikam.example") + `, ` + rest + `}}`
	}
	file := func(rest string) string { return message(`"attachments": [{` + rest + `}]`) }
	for _, test := range []struct {
		status     int
		code, body string
	}{
		{400, "BadRequest", ``}, {400, "BadRequest", `{}`}, {400, "BadRequest", `{"message": null}`}, {400, "BadRequest", `{"message": {"toRecipients": null}, "save": true}`},
		{400, "ErrorInvalidRecipients", `{"message": {"subject": "x"}}`},
		{400, "ErrorInvalidRecipients", `{"message": {"toRecipients": ` + to("nobody") + `}}`},
		{400, "ErrorInvalidRecipients", `{"message": {"toRecipients": ` + to("a@b.example; c@d.example") + `}}`},
		{400, "ErrorExceededMaxRecipientLimit", `{"message": {"toRecipients": ` + to(many...) + `}}`},
		{400, "BadRequest", message(`"title": "x"`)}, {400, "BadRequest", message(`"importance": "urgent"`)}, {400, "BadRequest", message(`"body": "x"`)},
		{400, "ErrorPropertyValidationFailure", message(`"subject": "` + strings.Repeat("x", 256) + `"`)},
		{400, "InvalidInternetMessageHeader", message(`"internetMessageHeaders": [{"name": "id", "value": "1"}]`)},
		{400, "InvalidInternetMessageHeaderCollection", message(`"internetMessageHeaders": [` + strings.Repeat(`{"name": "x-a", "value": "1"},`, 5) + `{"name": "x-a", "value": "1"}]`)},
		{400, "BadRequest", file(`"name": "a", "contentBytes": ""`)},
		{400, "BadRequest", file(`"@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": "?"`)},
		{400, "BadRequest", file(`"@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": "", "path": "/"`)},
		{400, "ErrorRequiredPropertyMissing", file(`"@odata.type": "#microsoft.graph.fileAttachment", "name": "a"`)},
		{400, "ErrorRequiredPropertyMissing", file(`"@odata.type": "#microsoft.graph.fileAttachment", "contentBytes": ""`)},
		{413, "BadRequest", message(`"body": {"content": "` + strings.Repeat("x", 4<<20) + `"}`)},
		{403, "ErrorAccessDenied", message(`"from": ` + strings.Trim(to(simulator.Megan), "[]"))},
	} {
		v.refused(test.status, test.code, "POST", "/me/sendMail", test.body)
	}
	if got := v.s.SentMails(simulator.Adele); len(got) != 0 {
		t.Errorf("sent: %v", got)
	}
	v.want(202, "POST", "/me/sendMail", `{"message": {"toRecipients": `+to(many[:500]...)+`}}`)
	v.s.SetMailboxOptions(simulator.Adele, simulator.MailboxOptions{MaxSize: 1000})
	v.refused(400, "ErrorMessageSizeExceeded", "POST", "/me/sendMail", message(`"body": {"content": "`+strings.Repeat("x", 1001)+`"}`))
	v.want(202, "POST", "/me/sendMail", message(`"body": {"content": "`+strings.Repeat("x", 1000)+`"}`))
}

func TestSendAs(t *testing.T) {
	v := newColleaguesClient(t)
	v.token = v.s.Token(simulator.Adele, "Mail.Send.Shared")
	body := `{"message": {"toRecipients": ` + to(simulator.Alex) + `, "from": ` + strings.Trim(to(simulator.Megan), "[]") + `}}`
	v.refused(403, "ErrorSendAsDenied", "POST", "/me/sendMail", body)
	v.refused(403, "ErrorSendAsDenied", "POST", "/me/sendMail", strings.Replace(body, simulator.Megan, "o'neil@fabrikam.example", 1))
	v.s.SetMailboxRights(simulator.Megan, simulator.Adele, simulator.MailboxRights{SendOnBehalf: true})
	v.want(202, "POST", "/me/sendMail", body)
	if got := v.s.Mails(simulator.Alex, "")[0]; got.From != simulator.Megan || got.Sender != simulator.Adele {
		t.Errorf("on behalf: %+v", got)
	}
	v.s.SetMailboxRights(simulator.Megan, simulator.Adele, simulator.MailboxRights{SendAs: true})
	v.want(202, "POST", "/me/sendMail", strings.Replace(body, simulator.Megan, "MEGAN@contoso.example", 1))
	if got := v.s.Mails(simulator.Alex, "")[0]; !strings.EqualFold(got.From, simulator.Megan) || got.Sender != "" {
		t.Errorf("as: %+v", got)
	}
	if n := len(v.s.SentMails(simulator.Adele)); n != 2 {
		t.Errorf("%d copies in one's own mailbox", n)
	}
	// The other's mailbox in the path needs full access as well.
	path := "/users/" + simulator.Megan + "/sendMail"
	v.refused(403, "ErrorAccessDenied", "POST", path, body)
	v.s.SetMailboxRights(simulator.Megan, simulator.Adele, simulator.MailboxRights{FullAccess: true})
	v.refused(403, "ErrorSendAsDenied", "POST", path, body)
	v.s.SetMailboxRights(simulator.Megan, simulator.Adele, simulator.MailboxRights{FullAccess: true, SendAs: true})
	v.want(202, "POST", path, `{"message": {"toRecipients": `+to(simulator.Alex)+`}}`)
	if got := v.s.SentMails(simulator.Megan); len(got) != 1 || got[0].From != simulator.Megan {
		t.Errorf("in the shared mailbox: %+v", got)
	}
	// One's own mail needs no right.
	v.want(202, "POST", "/me/sendMail", strings.Replace(body, simulator.Megan, simulator.Adele, 1))
	v.token = v.s.Token(simulator.Adele, "Mail.Send")
	v.refused(403, "ErrorAccessDenied", "POST", "/me/sendMail", body)
	v.refused(403, "ErrorAccessDenied", "POST", path, body)
}

func TestDraft(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadWrite", "Mail.Send")
	immutable := []string{"Prefer", `IdType="ImmutableId"`}
	draft := v.want(201, "POST", "/me/messages", `{"subject": "draft", "toRecipients": `+to(simulator.Adele)+`, "isDraft": false, "singleValueExtendedProperties": [{"id": "`+property+`", "value": "1"}]}`, immutable...)
	if draft["isDraft"] != true || draft["from"] != nil || draft["parentFolderId"] != v.want(200, "GET", "/me/mailFolders/drafts", "")["id"] {
		t.Errorf("%v", draft)
	}
	path := "/me/messages/" + draft["id"].(string)
	changed := v.want(200, "PATCH", path, `{"subject": "changed", "body": {"contentType": "text", "content": "x"}}`)
	if changed["subject"] != "changed" || changed["changeKey"] == draft["changeKey"] || changed["bodyPreview"] != "x" {
		t.Errorf("%v", changed)
	}
	v.refused(400, "BadRequest", "PATCH", path, `{"title": "x"}`)
	a := v.want(201, "POST", path+"/attachments", `{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "aGVsbG8="}`)
	if a["size"] != 5.0 {
		t.Errorf("%v", a)
	}
	b := v.want(201, "POST", path+"/attachments", `{"@odata.type": "#microsoft.graph.referenceAttachment", "name": "doc", "sourceUrl": "https://contoso.example"}`)
	v.want(204, "DELETE", path+"/attachments/"+b["id"].(string), "")
	v.refused(413, "BadRequest", "POST", path+"/attachments", `{"@odata.type": "#microsoft.graph.fileAttachment", "name": "big", "contentBytes": "`+base64.StdEncoding.EncodeToString(make([]byte, 3_200_000))+`"}`)
	v.want(202, "POST", path+"/send", "", immutable...)
	v.refused(400, "ErrorInvalidRequest", "POST", path+"/send", "")
	sent := v.s.SentMails(simulator.Adele)
	if len(sent) != 1 || sent[0].ImmutableID != draft["id"] || len(sent[0].Attachments) != 1 || sent[0].Draft || len(v.s.Mails(simulator.Adele, "drafts")) != 0 {
		t.Errorf("%+v", sent)
	}
	if got := v.s.Mails(simulator.Adele, ""); len(got) != 1 || got[0].Attachments[0].Name != "a.txt" {
		t.Errorf("%+v", got)
	}
	// Without recipients it stays a draft.
	empty := v.want(201, "POST", "/me/messages", `{}`)
	v.refused(400, "ErrorInvalidRecipients", "POST", "/me/messages/"+empty["id"].(string)+"/send", "")
	v.want(204, "DELETE", "/me/messages/"+empty["id"].(string), "")
	v.s.SetMailboxOptions(simulator.Adele, simulator.MailboxOptions{MaxSize: 10})
	empty = v.want(201, "POST", "/me/messages", `{}`)
	v.refused(400, "ErrorMessageSizeExceeded", "POST", "/me/messages/"+empty["id"].(string)+"/attachments", `{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "`+base64.StdEncoding.EncodeToString(make([]byte, 11))+`"}`)
	v.token = v.s.Token(simulator.Adele, "Mail.ReadWrite")
	v.refused(403, "ErrorAccessDenied", "POST", "/me/messages/"+empty["id"].(string)+"/send", "")
	v.token = v.s.Token(simulator.Adele, "Mail.Send", "Mail.Read")
	v.refused(403, "ErrorAccessDenied", "POST", "/me/messages", "{}")
}

// put sends a part of an upload without a token.
func put(v graphClient, method, address string, content []byte, first, total int, headers ...string) (int, string, http.Header) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, address, bytes.NewReader(content))
	if err != nil {
		v.t.Fatal(err)
	}
	if method == http.MethodPut {
		r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+len(content)-1, total))
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestUploadSession(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadWrite", "Mail.Send")
	content := bytes.Repeat([]byte("0123456789"), 500_000)
	draft := v.want(201, "POST", "/me/messages", `{"toRecipients": `+to(simulator.Adele)+`}`)
	path := "/me/messages/" + draft["id"].(string) + "/attachments/createUploadSession"
	item := func(size int) string {
		return fmt.Sprintf(`{"AttachmentItem": {"attachmentType": "file", "name": "big.bin", "contentType": "application/x-test", "size": %d}}`, size)
	}
	v.refused(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", "POST", path, item(3<<20-1))
	v.refused(400, "ErrorAttachmentSizeLimitExceeded", "POST", path, item(151<<20))
	v.refused(400, "ErrorInvalidParameter", "POST", path, `{"attachmentItem": {"attachmentType": "file", "size": 5000000}}`)
	v.refused(400, "ErrorInvalidAttachmentType", "POST", path, `{"attachmentItem": {"attachmentType": "item", "name": "x", "size": 5000000}}`)
	session := v.want(201, "POST", path, item(len(content)))
	address := session["uploadUrl"].(string)
	u, err := url.Parse(address)
	if err != nil || u.Host != "outlook.simulator.test" || !slices.Equal(session["nextExpectedRanges"].([]any), []any{"0-"}) {
		t.Fatalf("%v", session)
	}
	if status, body, _ := put(v, "PUT", address, content[:3_000_000], 0, len(content), "Authorization", "Bearer "+v.token); status != 401 {
		t.Errorf("with a token: %d %s", status, body)
	}
	if status, body, _ := put(v, "PUT", address, content[:3_000_000], 0, len(content)); status != 200 || !strings.Contains(body, `"nextExpectedRanges":["3000000"]`) {
		t.Errorf("first part: %d %s", status, body)
	}
	if status, body, _ := put(v, "PUT", address, content[:3_000_000], 0, len(content)); status != 416 {
		t.Errorf("repeated part: %d %s", status, body)
	}
	if status, body, _ := put(v, "PUT", address, content[3_000_000:], 3_000_000, len(content)+1); status != 400 {
		t.Errorf("wrong size: %d %s", status, body)
	}
	if status, body, _ := put(v, "PUT", address, make([]byte, 4<<20+1), 3_000_000, len(content)); status != 413 {
		t.Errorf("too much: %d %s", status, body)
	}
	if status, body, _ := put(v, "GET", address, nil, 0, 0); status != 200 || !strings.Contains(body, `"nextExpectedRanges":["3000000-"]`) {
		t.Errorf("state: %d %s", status, body)
	}
	status, body, header := put(v, "PUT", address, content[3_000_000:], 3_000_000, len(content))
	if status != 201 || body != "" || !strings.Contains(header.Get("Location"), "/Attachments('AAMk") {
		t.Errorf("last part: %d %s %v", status, body, header)
	}
	if status, _, _ := put(v, "GET", address, nil, 0, 0); status != 404 {
		t.Errorf("after the end: %d", status)
	}
	v.want(202, "POST", "/me/messages/"+draft["id"].(string)+"/send", "")
	if a := v.s.Mails(simulator.Adele, "")[0].Attachments; len(a) != 1 || !bytes.Equal(a[0].Content, content) || a[0].ContentType != "application/x-test" {
		t.Error("the file did not arrive")
	}
	for _, r := range v.s.Requests() {
		if strings.Contains(fmt.Sprint(r.Query), u.Query().Get("authtoken")) || len(r.Body) > 1000 {
			t.Errorf("log: %s %v, %d bytes", r.Path, r.Query, len(r.Body))
		}
	}
}

func TestUploadTooLarge(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadWrite")
	v.s.SetMailboxOptions(simulator.Adele, simulator.MailboxOptions{MaxSize: 4 << 20})
	draft := v.want(201, "POST", "/me/messages", `{}`)
	path := "/me/messages/" + draft["id"].(string)
	session := v.want(201, "POST", path+"/attachments/createUploadSession", `{"AttachmentItem": {"attachmentType": "file", "name": "big.bin", "size": 5000000}}`)
	address := session["uploadUrl"].(string)
	if status, body, _ := put(v, "PUT", address, make([]byte, 4_000_000), 0, 5_000_000); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, body, _ := put(v, "PUT", address, make([]byte, 1_000_000), 4_000_000, 5_000_000); status != 400 || !strings.Contains(body, "ErrorMessageSizeExceeded") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := put(v, "DELETE", address, nil, 0, 0); status != 204 {
		t.Errorf("canceled: %d", status)
	}
	if status, _, _ := put(v, "PUT", address, make([]byte, 1_000_000), 4_000_000, 5_000_000); status != 404 {
		t.Errorf("after canceling: %d", status)
	}
	session = v.want(201, "POST", path+"/attachments/createUploadSession", `{"AttachmentItem": {"attachmentType": "file", "name": "big.bin", "size": 5000000}}`)
	v.want(204, "DELETE", path, "")
	v.want(204, "DELETE", "/me/messages/"+v.s.Mails(simulator.Adele, "deleteditems")[0].ID, "")
	if status, _, _ := put(v, "PUT", session["uploadUrl"].(string), make([]byte, 1000), 0, 5_000_000); status != 404 {
		t.Errorf("without its message: %d", status)
	}
}

func TestAnswers(t *testing.T) {
	v := newColleaguesClient(t)
	v.token = v.s.Token(simulator.Adele, "Mail.Send", "Mail.ReadWrite")
	in := v.deliver(simulator.Mail{
		Subject: "Plan", From: simulator.Megan, To: []string{simulator.Adele, simulator.Alex}, Cc: []string{"c@fabrikam.example"}, Body: "original", Conversation: "thread",
		Attachments: []simulator.Attachment{{Name: "a.txt", Content: []byte("x")}},
	})
	path := "/me/messages/" + in.ID
	v.want(202, "POST", path+"/reply", `{"comment": "yes"}`)
	v.want(202, "POST", path+"/replyAll", `{"Comment": "all"}`)
	v.want(202, "POST", path+"/forward", `{"comment": "look", "toRecipients": `+to("f@fabrikam.example")+`}`)
	v.want(202, "POST", path+"/reply", `{"message": {"body": {"contentType": "html", "content": "<b>html</b>"}, "ccRecipients": `+to("d@fabrikam.example")+`, "singleValueExtendedProperties": [{"id": "`+property+`", "value": "1"}]}}`)
	type answer struct {
		Subject, Conversation string
		To, Cc                []string
		HTML                  bool
		Attachments           int
		Property              string
	}
	var got []answer
	for _, m := range v.s.SentMails(simulator.Adele) {
		got = append(got, answer{m.Subject, m.Conversation, m.To, m.Cc, m.HTML, len(m.Attachments), m.Properties[property]})
		if !strings.Contains(m.Body, "original") {
			t.Errorf("body: %s", m.Body)
		}
	}
	slices.Reverse(got)
	if diff := cmp.Diff([]answer{
		{"RE: Plan", "thread", []string{simulator.Megan}, nil, false, 0, ""},
		{"RE: Plan", "thread", []string{simulator.Megan, simulator.Alex}, []string{"c@fabrikam.example"}, false, 0, ""},
		{"FW: Plan", "thread", []string{"f@fabrikam.example"}, nil, false, 1, ""},
		{"RE: Plan", "thread", []string{simulator.Megan}, []string{"d@fabrikam.example"}, true, 0, "1"},
	}, got); diff != "" {
		t.Error(diff)
	}
	v.refused(400, "BadRequest", "POST", path+"/reply", `{"comment": "x", "message": {"body": {"content": "y"}}}`)
	v.refused(400, "ErrorInvalidRecipients", "POST", path+"/forward", `{"comment": "x"}`)
	v.refused(400, "BadRequest", "POST", path+"/reply", `{"text": "x"}`)
	for action, prefix := range map[string]string{"createReply": "RE: ", "createReplyAll": "RE: ", "createForward": "FW: "} {
		draft := v.want(201, "POST", path+"/"+action, "")
		if draft["isDraft"] != true || draft["subject"] != prefix+"Plan" {
			t.Errorf("%s: %v", action, draft)
		}
	}
	v.token = v.s.Token(simulator.Adele, "Mail.ReadWrite")
	for _, action := range []string{"reply", "replyAll", "forward"} {
		v.refused(403, "ErrorAccessDenied", "POST", path+"/"+action, `{"comment": "x"}`)
	}
	v.token = v.s.Token(simulator.Adele, "Mail.Send")
	v.want(202, "POST", path+"/replyAll", `{}`)
	v.refused(403, "ErrorAccessDenied", "POST", path+"/createReply", ``)
}

func TestChangeMessage(t *testing.T) {
	v := newGraphClient(t, "Mail.ReadWrite")
	in := v.deliver(simulator.Mail{Subject: "x"})
	path := "/me/messages/" + in.ImmutableID
	m := v.want(200, "PATCH", path, `{"isRead": true, "categories": ["Red category"], "importance": "low", "flag": {"flagStatus": "flagged",
		"startDateTime": {"dateTime": "2026-07-01T00:00:00", "timeZone": "UTC"}, "dueDateTime": {"dateTime": "2026-07-02T00:00:00", "timeZone": "UTC"}}}`)
	if m["isRead"] != true || m["importance"] != "low" || m["flag"].(map[string]any)["flagStatus"] != "flagged" {
		t.Errorf("%v", m)
	}
	if got := v.s.Mails(simulator.Adele, "")[0]; !got.Read || got.FlagDue != "2026-07-02" || got.Flag != "flagged" || !slices.Equal(got.Categories, []string{"Red category"}) {
		t.Errorf("%+v", got)
	}
	if got := v.want(200, "GET", "/me/mailFolders/inbox", "")["unreadItemCount"]; got != 0.0 {
		t.Errorf("unread: %v", got)
	}
	if m := v.want(200, "PATCH", path, `{"flag": {"flagStatus": "complete"}}`); m["flag"].(map[string]any)["completedDateTime"] == nil {
		t.Errorf("%v", m)
	}
	if m := v.want(200, "PATCH", path, `{"flag": {"flagStatus": "notFlagged"}, "isRead": false}`); !cmp.Equal(m["flag"], any(map[string]any{"flagStatus": "notFlagged"})) || m["isRead"] != false {
		t.Errorf("%v", m)
	}
	for body, code := range map[string]string{
		`{"isRead": "maybe"}`: "BadRequest", `{"subject": "y"}`: "ErrorInvalidPropertySet", `{"isRead": null}`: "BadRequest", ``: "BadRequest",
		`{"flag": {"flagStatus": "red"}}`: "BadRequest", `{"flag": {"flagStatus": "flagged", "dueDateTime": {"dateTime": "2026-07-02T00:00:00", "timeZone": "UTC"}}}`: "BadRequest",
	} {
		v.refused(400, code, "PATCH", path, body)
	}
	moved := v.want(201, "POST", path+"/move", `{"destinationId": "archive"}`)
	if moved["id"] == in.ID || moved["parentFolderId"] != v.want(200, "GET", "/me/mailFolders/archive", "")["id"] {
		t.Errorf("%v", moved)
	}
	v.refused(404, "ErrorItemNotFound", "GET", "/me/messages/"+in.ID, "")
	if got := v.want(200, "GET", path, "", "Prefer", `IdType="ImmutableId"`)["id"]; got != in.ImmutableID {
		t.Errorf("immutable id: %v", got)
	}
	copied := v.want(201, "POST", path+"/copy", `{"destinationId": "inbox"}`)
	if copied["subject"] != "x" || copied["id"] == moved["id"] {
		t.Errorf("%v", copied)
	}
	v.refused(400, "ErrorInvalidIdMalformed", "POST", path+"/move", `{"destinationId": "Bills"}`)
	v.refused(400, "BadRequest", "POST", path+"/move", `{"folder": "inbox"}`)
	v.want(204, "DELETE", path, "")
	if got := v.s.Mails(simulator.Adele, "deleteditems"); len(got) != 1 || got[0].ImmutableID != in.ImmutableID {
		t.Errorf("%+v", got)
	}
	v.want(204, "DELETE", path, "")
	v.refused(404, "ErrorItemNotFound", "DELETE", path, "")
	v.token = v.s.Token(simulator.Adele, "Mail.Read", "Mail.Send")
	for method, p := range map[string]string{"PATCH": "", "DELETE": "", "POST": "/move"} {
		v.refused(403, "ErrorAccessDenied", method, "/me/messages/"+copied["id"].(string)+p, `{}`)
	}
}

// The batch of Microsoft's examples reads mails.
func TestMailInBatch(t *testing.T) {
	v := newGraphClient(t, "Mail.Read")
	v.deliver(simulator.Mail{Subject: "x", Importance: "high"})
	out := v.want(200, "POST", "/$batch", `{"requests": [{"url": "/me/messages?$filter=importance eq 'high'&$select=from,subject,receivedDateTime,bodyPreview", "method": "GET", "id": "2"}]}`)
	response := out["responses"].([]any)[0].(map[string]any)
	if got := values(response["body"].(map[string]any), "subject"); response["status"] != 200.0 || !slices.Equal(got, []string{"x"}) {
		t.Errorf("%v", out)
	}
}

// Every operation needs its permission: it works with each of these scopes alone, and with none of the others.
func TestMailPermissions(t *testing.T) {
	scopes := []string{"Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite", "Mail.Send", "Mail.Read.Shared", "Mail.ReadWrite.Shared", "Mail.Send.Shared", "Calendars.ReadWrite", "MailboxSettings.ReadWrite"}
	basic := []string{"Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite", "Mail.Read.Shared", "Mail.ReadWrite.Shared"}
	read, write, send := basic[1:], []string{"Mail.ReadWrite", "Mail.ReadWrite.Shared"}, []string{"Mail.Send", "Mail.Send.Shared"}
	v := newGraphClient(t)
	v.s.AddUser(simulator.User{Address: "info@contoso.example", Name: "Info"})
	v.s.SetMailboxRights("info@contoso.example", simulator.Adele, simulator.MailboxRights{FullAccess: true, SendAs: true})
	for _, test := range []struct {
		method, path, body string
		own, shared        []string
	}{
		{"GET", "/mailFolders", "", basic, basic[3:]},
		{"GET", "/mailFolders/inbox", "", basic, basic[3:]},
		{"GET", "/mailFolders/inbox/childFolders", "", basic, basic[3:]},
		{"POST", "/mailFolders", "{}", write, write[1:]},
		{"GET", "/messages", "", basic, basic[3:]},
		{"GET", "/mailFolders/inbox/messages", "", basic, basic[3:]},
		{"GET", "/mailFolders/inbox/messages/delta", "", basic, basic[3:]},
		{"GET", "/messages/x", "", basic, basic[3:]},
		{"GET", "/mailFolders/inbox/messages/x", "", basic, basic[3:]},
		{"GET", "/messages/x/attachments", "", read, basic[3:]},
		{"GET", "/messages/x/attachments/x", "", read, basic[3:]},
		{"GET", "/messages/x/attachments/x/$value", "", read, basic[3:]},
		{"POST", "/messages", "", write, write[1:]},
		{"PATCH", "/messages/x", "{}", write, write[1:]},
		{"DELETE", "/messages/x", "", write, write[1:]},
		{"POST", "/messages/x/move", "{}", write, write[1:]},
		{"POST", "/messages/x/copy", "{}", write, write[1:]},
		{"POST", "/messages/x/createReply", "", write, write[1:]},
		{"POST", "/messages/x/createReplyAll", "", write, write[1:]},
		{"POST", "/messages/x/createForward", "", write, write[1:]},
		{"POST", "/messages/x/attachments", "{}", write, write[1:]},
		{"POST", "/messages/x/attachments/createUploadSession", "{}", write, write[1:]},
		{"DELETE", "/messages/x/attachments/x", "", write, write[1:]},
		{"POST", "/sendMail", "{}", send, send[1:]},
		{"POST", "/messages/x/send", "", send, send[1:]},
		{"POST", "/messages/x/reply", "{}", send, send[1:]},
		{"POST", "/messages/x/replyAll", "{}", send, send[1:]},
		{"POST", "/messages/x/forward", "{}", send, send[1:]},
	} {
		for root, allowed := range map[string][]string{"/me": test.own, "/users/" + simulator.Adele: test.own, "/users/info@contoso.example": test.shared} {
			for _, scope := range scopes {
				v.token = v.s.Token(simulator.Adele, scope)
				resp, out := v.do(test.method, root+test.path, test.body)
				if got := resp.StatusCode != 403; got != slices.Contains(allowed, scope) {
					t.Errorf("%s %s with %s: %s %v", test.method, root+test.path, scope, resp.Status, out)
				}
			}
		}
	}
}
