package mail_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	client "github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/mail"
)

func subjects(v any) []string {
	all := []string{}
	for _, m := range v.(mail.Mails).Mails {
		all = append(all, m["subject"].(string))
	}
	return all
}

func TestList(t *testing.T) {
	s := contoso(t)
	s.AddMailFolder(simulator.Adele, "Bills")
	for i := range 30 {
		m := simulator.Mail{Subject: fmt.Sprintf("%02d", i), Received: time.Date(2026, 1, 1+i, 12, 0, 0, 0, time.UTC), Read: i%2 == 0, From: "o'neil@fabrikam.example"}
		if i == 29 {
			m.From, m.Body = "x@fabrikam.example", "A needle and a \"quote\""
		}
		folder := ""
		if i < 2 {
			folder = "Bills"
		}
		s.AddMail(simulator.Adele, folder, m)
	}
	bills := mail.Target{Folder: "Bills"}
	for _, tt := range []struct {
		target   mail.Target
		op       string
		request  string
		want     string
		complete bool
	}{
		{mail.Target{}, "list", `{"limit": 3}`, "29 28 27", false},
		{mail.Target{}, "list", `{"start": "2026-01-05", "end": "2026-01-07T12:00:00Z"}`, "05 04", true},
		{mail.Target{}, "list", `{"from": "O'Neil@fabrikam.example", "is_unread": true, "limit": 2}`, "27 25", false},
		{mail.Target{}, "list", `{"folder": "all", "end": "2026-01-04"}`, "02 01 00", true},
		{bills, "list", `{}`, "01 00", true},
		{bills, "list", `{"folder": "Sent Items"}`, "", true},
		{mail.Target{}, "search", `{"query": "needle"}`, "29", true},
		{mail.Target{}, "search", `{"query": "from:o'neil@fabrikam.example", "limit": 1, "folder": "all"}`, "28", false},
	} {
		got := must(t, s, tt.target, tt.op, tt.request)
		if diff := cmp.Diff(strings.Fields(tt.want), subjects(got)); len(strings.Fields(tt.want))+len(subjects(got)) > 0 && diff != "" || got.(mail.Mails).Complete != tt.complete {
			t.Errorf("%s %s: %s, complete: %v", tt.op, tt.request, diff, got.(mail.Mails).Complete)
		}
	}
	for request, want := range map[string]string{
		`list {"limit": 0}`:   "limit: want 1 to 200, not 0",
		`list {"limit": 201}`: "limit: want 1 to 200, not 201",
		`list {"start": "x"}`: `start: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not "x"`,
		`list {"end": "x"}`:   `end: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not "x"`,
		`list {"start": "2026-01-02", "end": "2026-01-01"}`: `end: want a time after start, "2026-01-02", not "2026-01-01"`,
		`list {"folder": "a//b"}`:                           `folder: want names of folders with / between them, such as Inbox/Bills, not "a//b"`,
		`list {"from": "x"}`:                                `from: want an address, such as ann@contoso.com, not "x"`,
		`search {"query": ""}`:                              "query: want words to search for",
		`get {"message_id": ""}`:                            "message_id: want the id of a mail, as in the list",
		`attachments {"message_id": ""}`:                    "message_id: want the id of a mail, as in the list",
	} {
		op, fields, _ := strings.Cut(request, " ")
		if _, err := call(t, s, mail.Target{}, op, fields); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", request, err, want)
		}
	}
}

// A response stays within the limit of a message, regardless of the mails' content.
func TestAnswersAreBounded(t *testing.T) {
	s := contoso(t)
	var to []string
	for i := range 500 {
		to = append(to, fmt.Sprintf("somebody.with.a.long.name.%03d@contoso.example", i))
	}
	for range 40 {
		s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x", To: to})
	}
	got := must(t, s, mail.Target{}, "list", `{"limit": 40}`).(mail.Mails)
	if n := len(services.Response{}.Succeed(got).Encode()); n > 512<<10 || got.Complete || len(got.Mails) < 10 {
		t.Errorf("%d bytes, %d mails, complete: %v", n, len(got.Mails), got.Complete)
	}
}

func TestGet(t *testing.T) {
	s := contoso(t)
	m := s.DeliverMail(simulator.Adele, simulator.Mail{
		Subject: "x", HTML: true, Body: "<p>" + strings.Repeat("word ", 10_000) + "end</p>", Headers: [][2]string{{"X-Mailer", "cam"}},
		Attachments: []simulator.Attachment{{Name: "a.txt", ContentType: "text/plain", Content: []byte("aaa")}},
	})
	id := `"message_id": "` + m.ImmutableID + `"`
	got := must(t, s, mail.Target{}, "get", `{`+id+`, "headers": true}`).(map[string]any)
	if !strings.HasSuffix(got["body"].(string), "word end") || got["subject"] != "x" || len(got["headers"].([]client.Header)) == 0 {
		t.Errorf("got %v", got)
	}
	if got := must(t, s, mail.Target{}, "get", `{`+id+`}`).(map[string]any); got["headers"] != nil {
		t.Errorf("got %v", got["headers"])
	}
	if got := must(t, s, mail.Target{Mailbox: client.Mailbox{Basic: true}}, "get", `{`+id+`}`).(map[string]any); got["body"] != nil || got["subject"] != "x" {
		t.Errorf("basic: got %v", got)
	}
	files := must(t, s, mail.Target{}, "attachments", `{`+id+`}`).(map[string]any)["attachments"].([]map[string]any)
	if len(files) != 1 || files[0]["name"] != "a.txt" || files[0]["kind"] != "file" || files[0]["type"] != "text/plain" {
		t.Errorf("got %v", files)
	}
	if _, err := call(t, s, mail.Target{}, "get", `{"message_id": "AAMkNone"}`); !graph.Is(err, graph.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestReadPermissions(t *testing.T) {
	shared, basic := mail.Target{Mailbox: client.Mailbox{Address: info}}, mail.Target{Mailbox: client.Mailbox{Basic: true}}
	for _, tt := range []struct {
		target mail.Target
		op     string
		fields string
		want   string
		others []string
	}{
		{mail.Target{}, "list", ``, "Mail.Read", []string{"Mail.Send"}},
		{basic, "list", ``, "Mail.ReadBasic", []string{"Mail.Send"}},
		{shared, "list", ``, "Mail.Read.Shared", []string{"Mail.Read", "Mail.Send.Shared"}},
		{mail.Target{}, "search", `"query": "a"`, "Mail.Read", []string{"Mail.ReadBasic", "Mail.Send"}},
		{mail.Target{}, "get", `"message_id": "ID"`, "Mail.Read", []string{"Mail.Send"}},
		{mail.Target{}, "attachments", `"message_id": "ID"`, "Mail.Read", []string{"Mail.ReadBasic", "Mail.Send"}},
	} {
		s := contoso(t)
		id := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "a"}).ImmutableID
		op, r, err := decode(t, tt.target, tt.op, `{`+strings.Replace(tt.fields, "ID", id, 1)+`}`)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{tt.want}, graph.Scopes(op.Permissions)); diff != "" || !op.Reads {
			t.Errorf("%s: %s", tt.op, diff)
		}
		for _, scope := range tt.others {
			if _, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, scope), services.Attempt{Now: time.Now()}); !graph.Is(err, graph.PermissionMissing) {
				t.Errorf("%s with %s: got %v", tt.op, scope, err)
			}
		}
		if _, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, tt.want), services.Attempt{Now: time.Now()}); err != nil {
			t.Errorf("%s: %v", tt.op, err)
		}
	}
	for _, op := range mail.Operations(basic) {
		if op.Name == "search" || op.Name == "attachments" {
			t.Errorf("%s is offered with Mail.ReadBasic", op.Name)
		}
	}
}
