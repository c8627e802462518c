package mail_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
)

// serve returns a client of a server that answers with JSON.
func serve(t *testing.T, answer func(r *http.Request) string) *graph.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body := answer(r)
		if strings.HasPrefix(body, `{"error"`) {
			w.WriteHeader(http.StatusBadRequest)
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(srv.Close)
	g, err := graph.New(graph.Options{Root: srv.URL, Tokens: graphtest.Tokens{Scopes: []string{"Mail.Read", "Mail.Read.Shared"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func always(body string) func(*http.Request) string {
	return func(*http.Request) string { return body }
}

func TestSplitPath(t *testing.T) {
	for path, want := range map[string][]string{
		"Inbox": {"Inbox"}, "Inbox/Bills/2026": {"Inbox", "Bills", "2026"}, `a\/b/c`: {"a/b", "c"}, `a\b`: {`a\b`}, "Büro 📁/x": {"Büro 📁", "x"},
		"": nil, "/": nil, "a/": nil, "/a": nil, "a//b": nil, " ": nil,
	} {
		got, err := mail.SplitPath(path)
		if want == nil {
			if err == nil {
				t.Errorf("%q: got %q", path, got)
			}
			continue
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", path, err, diff)
		}
	}
}

func FuzzSplitPath(f *testing.F) {
	f.Add(`a\/b/c`)
	f.Fuzz(func(t *testing.T, path string) {
		names, err := mail.SplitPath(path)
		if err != nil {
			return
		}
		for i, n := range names {
			names[i] = strings.ReplaceAll(n, "/", `\/`)
		}
		again, err := mail.SplitPath(strings.Join(names, "/"))
		if err != nil || len(again) != len(names) {
			t.Errorf("%q: %q, then %q, %v", path, names, again, err)
		}
	})
}

func TestFilter(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		f    mail.Filter
		want string
	}{
		{mail.Filter{}, ""},
		{mail.Filter{Unread: &yes}, "receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false"},
		{mail.Filter{From: "o'neil@x.example", HasAttachments: &no}, "receivedDateTime ge 1900-01-01T00:00:00Z and from/emailAddress/address eq 'o''neil@x.example' and hasAttachments eq false"},
		{mail.Filter{Importance: "high", SubjectContains: "a'b", After: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}, "receivedDateTime ge 2026-01-02T02:04:05Z and importance eq 'high' and contains(subject,'a''b')"},
		{mail.Filter{SubjectIs: "x", Before: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}, "receivedDateTime ge 1900-01-01T00:00:00Z and receivedDateTime lt 2026-01-02T00:00:00Z and subject eq 'x'"},
	} {
		if got := tt.f.String(); got != tt.want || tt.f.IsZero() != (tt.want == "") {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// A mail with null, missing or unknown values does not hide the others.
func TestDamagedMails(t *testing.T) {
	const document = `{"@odata.count": 2, "value": [{"id": "1", "subject": "x"}, {
		"id": "2", "changeKey": "k", "conversationId": "c", "subject": "s", "bodyPreview": "p", "webLink": "w", "importance": "low", "receivedDateTime": "2026-01-15T09:30:00Z",
		"from": {"emailAddress": {"name": "Ann", "address": "ann@contoso.com"}}, "sender": {"emailAddress": {"name": "Ann", "address": "ann@contoso.com"}},
		"toRecipients": [{"emailAddress": {"name": "Ann", "address": "ann@contoso.com"}}], "ccRecipients": [{"emailAddress": {"name": "Ann", "address": "ann@contoso.com"}}],
		"hasAttachments": true, "isRead": true, "categories": ["Red"],
		"flag": {"flagStatus": "flagged", "dueDateTime": {"dateTime": "2026-01-20T00:00:00.0000000", "timeZone": "UTC"}, "completedDateTime": {"dateTime": "2026-01-20T00:00:00.0000000", "timeZone": "UTC"}}}]}`
	graphtest.Damaged(t, []byte(document), func(name string, damaged []byte) {
		l, err := mail.Mailbox{}.List(t.Context(), serve(t, always(string(damaged))), "f", mail.Filter{}, 5)
		essential := strings.Contains(name, "].id is null") || strings.Contains(name, "].id is missing") || strings.HasPrefix(name, ".value is ") || strings.HasPrefix(name, ".@odata.count is ")
		if essential != (err != nil) || err == nil && len(l.Messages) != 2 {
			t.Errorf("%s: got %d, %v", name, len(l.Messages), err)
		}
		for _, m := range l.Messages {
			m.Item(time.UTC)
		}
	})
}

func TestDamagedAnswers(t *testing.T) {
	box, now := mail.Mailbox{}, time.Now()
	for body, want := range map[string]string{
		`{}`:            "ask for changed mails: the answer has no list",
		`{"value": []}`: "ask for changed mails: the answer has no link for the next round",
		`{"value": [{}], "@odata.deltaLink": "x"}`:                        "ask for changed mails: the answer has no id of a mail",
		`{"value": [], "@odata.nextLink": "https://evil.example/x"}`:      "ask for changed mails: Graph's answer leads to another server, https://evil.example",
		`{"value": [], "@odata.nextLink": ":"}`:                           "ask for changed mails: the address of the next page cannot be read",
		`{"error": {"code": "ErrorInternalServerError", "message": "x"}}`: "ask for changed mails: Graph answered 400 ErrorInternalServerError: x",
	} {
		if _, err := box.Changes(t.Context(), serve(t, always(body)), "f", "", now); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", body, err, want)
		}
	}
	if _, err := box.Probe(t.Context(), serve(t, always(`{"value": []}`)), "f"); err == nil || err.Error() != "ask whether mails changed: the answer has no count" {
		t.Errorf("got %v", err)
	}
	if _, err := box.Folder(t.Context(), serve(t, always(`{"displayName": "x"}`)), "f"); err == nil || err.Error() != "read the folder: the answer has no id" {
		t.Errorf("got %v", err)
	}
	if _, err := box.Attachments(t.Context(), serve(t, always(`{}`)), "m"); err == nil || err.Error() != "list the attachments of a mail: the answer is not a list" {
		t.Errorf("got %v", err)
	}
	for _, address := range []string{"ftp://x", "", "https://x"} { // the server of the test is not encrypted
		g := serve(t, func(r *http.Request) string {
			if strings.HasSuffix(r.URL.Path, "createUploadSession") {
				return fmt.Sprintf(`{"uploadUrl": %q}`, address)
			}
			return "{}"
		})
		if err := box.Attach(t.Context(), g, "m", mail.OutgoingFile{Name: "a", Content: make([]byte, 4<<20)}); err == nil || err.Error() != "attach a file to the mail: the address of the upload cannot be used" {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

// A mail that moves from one page to the next while they are read is listed once.
func TestPagesThatShift(t *testing.T) {
	g := serve(t, func(r *http.Request) string {
		if r.URL.Query().Get("$skip") != "" {
			return `{"value": [{"id": "2"}, {"id": "3"}]}`
		}
		return fmt.Sprintf(`{"@odata.count": 3, "value": [{"id": "1"}, {"id": "2"}], "@odata.nextLink": "http://%s/v1.0/me/messages?$skip=2"}`, r.Host)
	})
	l, err := mail.Mailbox{}.List(t.Context(), g, "f", mail.Filter{}, 10)
	var ids []string
	for _, m := range l.Messages {
		ids = append(ids, m.ID)
	}
	if err != nil || l.Count != 3 || !slices.Equal(ids, []string{"1", "2", "3"}) {
		t.Errorf("got %q, %v", ids, err)
	}
}

// Pages without an end are given up, and one that is no list is not taken for the last one.
func TestEndlessPages(t *testing.T) {
	box, all := mail.Mailbox{}, func(mail.Message, mail.Body) bool { return true }
	for value, want := range map[string]string{"[]": "the answer has more than 500 pages", "null": "the answer has no list"} {
		n := 0
		g := serve(t, func(r *http.Request) string {
			n++
			v := value
			if n == 1 {
				v = `[{"id": "1"}]`
			}
			if n > 1000 {
				return `{"value": []}`
			}
			return fmt.Sprintf(`{"@odata.count": 3, "value": %s, "@odata.nextLink": "http://%s/v1.0/me/messages?$skip=%d"}`, v, r.Host, n)
		})
		if l, err := box.List(t.Context(), g, "f", mail.Filter{}, 10); err == nil || err.Error() != "list the mails: "+want {
			t.Errorf("%s: got %d mails, %v", value, len(l.Messages), err)
		}
		n = 0
		if err := box.Scan(t.Context(), g, "f", mail.Filter{}, 10, all); err == nil || err.Error() != "read the bodies of the mails: "+want {
			t.Errorf("%s: got %v", value, err)
		}
	}
}

// The examples of Microsoft's reference can be read.
func TestDocumentedExamples(t *testing.T) {
	b, err := os.ReadFile("../testdata/examples/mail.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples []struct {
		Method, URL  string
		ResponseBody json.RawMessage
	}
	if err := json.Unmarshal(b, &examples); err != nil {
		t.Fatal(err)
	}
	messages, folders, attachments := 0, 0, 0
	for _, e := range examples {
		_, path, _ := strings.Cut(e.URL, "/v1.0/me/")
		path, _, _ = strings.Cut(path, "?")
		parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
		g := serve(t, always(string(e.ResponseBody)))
		var err error
		switch {
		case e.Method != "GET":
		case parts[0] == "messages" && len(parts) == 2:
			_, err = mail.Mailbox{}.ReadDetail(t.Context(), g, "m", true)
			messages++
		case parts[0] == "messages" && len(parts) == 3 && parts[2] == "attachments":
			_, err = mail.Mailbox{}.Attachments(t.Context(), g, "m")
			attachments++
		case parts[0] == "mailFolders" && len(parts) == 2 && parts[1] != "delta":
			_, err = mail.Mailbox{}.Folder(t.Context(), g, "f")
			folders++
		}
		if err != nil {
			t.Errorf("%s: %v", e.URL, err)
		}
	}
	if messages == 0 || folders == 0 || attachments == 0 {
		t.Errorf("%d mails, %d folders, %d lists of attachments", messages, folders, attachments)
	}
}

func TestBody(t *testing.T) {
	for _, tt := range []struct {
		b                mail.Body
		text, markup, in string
		found            bool
	}{
		{mail.Body{Content: "a\r\n\r\n<b>\r\n"}, "a\n\n<b>", "a<br><br>&lt;b&gt;", "A <B>", true},
		{mail.Body{Content: "<p>Power\r\n  bill</p>", HTML: true}, "Power bill", "<p>Power\n  bill</p>", "power BILL", true},
		{mail.Body{Content: "<p>Power</p>", HTML: true}, "Power", "<p>Power</p>", "<p>", false},
		{mail.Body{}, "", "", "x", false},
	} {
		if text, markup, found := tt.b.Text(1000), tt.b.Markup(1000), tt.b.Contains(tt.in); text != tt.text || markup != tt.markup || found != tt.found {
			t.Errorf("%q: got %q, %q, %v", tt.b.Content, text, markup, found)
		}
	}
	long := mail.Body{Content: strings.Repeat("ä", 2000)}
	if n := len([]rune(long.Text(100))); n != 100 {
		t.Errorf("%d characters", n)
	}
}
