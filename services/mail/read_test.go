package mail_test

import (
	"encoding/json"
	"fmt"
	"slices"
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
	for _, m := range listed(v).Mails {
		all = append(all, m["subject"].(string))
	}
	return all
}

func listed(v any) mail.Mails { return v.(services.Page).Value.(mail.Mails) }

// pages executes a request for each of its pages. between, which may be nil, is called before all but the first.
func pages(t testing.TB, s *simulator.Simulator, target mail.Target, name, request string, between func(n int)) (all []services.Page) {
	t.Helper()
	op, r, err := decode(t, target, name, request)
	if err != nil {
		t.Fatal(err)
	}
	if !op.Paged || !op.Reads {
		t.Errorf("%s has no pages", name)
	}
	g := graphtest.Client(t, s, simulator.Adele, append(graph.Scopes(op.Permissions), "User.Read")...)
	a := services.Attempt{Now: time.Now()}
	for {
		v, err := r.Execute(t.Context(), g, a)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(services.Response{}.Succeed(v).Encode()); n > 500<<10 {
			t.Errorf("a page of %d bytes", n)
		}
		page := v.(services.Page)
		if all = append(all, page); page.Next == nil {
			return all
		}
		if len(all) > 10_000 {
			t.Fatal("the pages do not end")
		}
		if a.Position, err = json.Marshal(page.Next); err != nil {
			t.Fatal(err)
		}
		if between != nil {
			between(len(all))
		}
	}
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
		if diff := cmp.Diff(strings.Fields(tt.want), subjects(got)); len(strings.Fields(tt.want))+len(subjects(got)) > 0 && diff != "" || listed(got).Complete != tt.complete || got.(services.Page).Next == nil != tt.complete {
			t.Errorf("%s %s: %s, complete: %v", tt.op, tt.request, diff, listed(got).Complete)
		}
	}
	for request, want := range map[string]string{
		`list {"limit": 0}`:   "limit: want 1 to 200, not 0",
		`list {"limit": 201}`: "limit: want 1 to 200, not 201",
		`list {"start": "x"}`: `start: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not "x"`,
		`list {"end": "x"}`:   `end: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not "x"`,
		`list {"start": "2026-01-02", "end": "2026-01-01"}`:   `end: want a time after start, "2026-01-02", not "2026-01-01"`,
		`list {"folder": "a//b"}`:                             `folder: want names of folders with / between them, such as Inbox/Bills, not "a//b"`,
		`list {"from": "x"}`:                                  `from: want an address, such as ann@contoso.com, not "x"`,
		`search {"query": ""}`:                                "query: want words to search for",
		`get {"message_id": ""}`:                              "message_id: want the id of a mail, as in the list",
		`attachments {"message_id": ""}`:                      "message_id: want the id of a mail, as in the list",
		`attachment {"message_id": "x", "attachment_id": ""}`: "attachment_id: want the id of an attachment, as in attachments",
		`attachment {"message_id": "", "attachment_id": "x"}`: "message_id: want the id of a mail, as in the list",
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
	for i := range 40 {
		s.DeliverMail(simulator.Adele, simulator.Mail{Subject: fmt.Sprint("word ", i), To: to})
	}
	for op, request := range map[string]string{"list": `{"limit": 200}`, "search": `{"query": "word", "limit": 200}`} {
		all := map[string]bool{}
		got := pages(t, s, mail.Target{}, op, request, nil)
		for _, page := range got {
			for _, subject := range subjects(page) {
				if all[subject] {
					t.Errorf("%s: %s comes twice", op, subject)
				}
				all[subject] = true
			}
		}
		if len(all) != 40 || len(got) < 2 || len(got) > 4 {
			t.Errorf("%s: %d pages, %d mails", op, len(got), len(all))
		}
	}
	// One mail alone.
	m := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "long", Body: strings.Repeat("👋<\u2028", 200_000), To: to, Headers: slices.Repeat([][2]string{{"X", strings.Repeat("<", 900)}}, 100)})
	got := must(t, s, mail.Target{}, "get", `{"message_id": "`+m.ImmutableID+`", "headers": true}`)
	if b := services.Response(services.Response{}).Succeed(got).Encode(); len(b) > 512<<10 || !strings.HasSuffix(got.(map[string]any)["body"].(string), "…") || len(got.(map[string]any)["headers"].([]client.Header)) < 5 {
		t.Errorf("%d bytes", len(b))
	}
}

// All mails come once, whatever happens to others while the pages are read, and however many were received in one second.
func TestPagesOfMails(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name            string
		mails, limit    int
		received        func(i int) time.Time
		request         string
		search, removed bool
	}{
		{"apart", 95, 20, func(i int) time.Time { return at.Add(time.Duration(i) * time.Minute) }, ``, false, true},
		{"in pairs", 95, 20, func(i int) time.Time { return at.Add(time.Duration(i/2) * time.Second) }, `, "is_unread": true`, false, true},
		{"at once", 700, 100, func(int) time.Time { return at }, ``, false, false},
		{"one by one", 5, 1, func(int) time.Time { return at }, `, "start": "2026-01-01", "end": "2026-01-01T12:00:01Z"`, false, true},
		{"searched", 95, 20, func(i int) time.Time { return at.Add(time.Duration(i) * time.Minute) }, ``, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso(t)
			mails := map[string]simulator.Mail{}
			for i := range tt.mails {
				m := simulator.Mail{Subject: fmt.Sprintf("mail %d", i), Received: tt.received(i)}
				mails[m.Subject] = s.AddMail(simulator.Adele, "", m)
			}
			op, request := "list", fmt.Sprintf(`{"limit": %d%s}`, tt.limit, tt.request)
			if tt.search {
				op, request = "search", fmt.Sprintf(`{"limit": %d, "query": "mail"}`, tt.limit)
			}
			seen, gone := map[string]bool{}, map[string]bool{}
			var order []string
			collect := func(page services.Page) {
				for _, subject := range subjects(page) {
					if seen[subject] {
						t.Errorf("%s comes twice", subject)
					}
					seen[subject] = true
					order = append(order, subject)
				}
			}
			n := 0
			all := pages(t, s, mail.Target{}, op, request, func(int) {
				// One arrives, one that was returned is moved away, and one that was not.
				n++
				s.DeliverMail(simulator.Adele, simulator.Mail{Subject: fmt.Sprintf("mail new %d", n)})
				if !tt.removed {
					return
				}
				for _, subject := range []string{fmt.Sprintf("mail %d", tt.mails-n), fmt.Sprintf("mail %d", n)} {
					if !gone[subject] {
						gone[subject] = true
						s.MoveMail(simulator.Adele, mails[subject].ID, "archive")
					}
				}
			})
			for _, page := range all {
				collect(page)
			}
			for subject := range mails {
				if !seen[subject] && !gone[subject] {
					t.Errorf("%s is missing", subject)
				}
			}
			if !slices.IsSortedFunc(order, func(a, b string) int { return mails[b].Received.Compare(mails[a].Received) }) {
				t.Error("not the newest first")
			}
			if len(all) < min(3, tt.mails/tt.limit) {
				t.Errorf("%d pages", len(all))
			}
		})
	}
}

// A cursor does not lead into a mailbox that the configuration names no longer.
func TestSearchCursorOfAnotherMailbox(t *testing.T) {
	s := contoso(t)
	for range 3 {
		s.DeliverMail(info, simulator.Mail{Subject: "word"})
	}
	shared := mail.Target{Mailbox: client.Mailbox{Address: info}}
	page := must(t, s, shared, "search", `{"query": "word", "limit": 1}`).(services.Page)
	position, err := json.Marshal(page.Next)
	if err != nil {
		t.Fatal(err)
	}
	_, r, err := decode(t, mail.Target{}, "search", `{"query": "word", "limit": 1}`)
	if err != nil {
		t.Fatal(err)
	}
	g := graphtest.Client(t, s, simulator.Adele, "Mail.Read", "Mail.Read.Shared")
	if _, err := r.Execute(t.Context(), g, services.Attempt{Now: time.Now(), Position: position}); err == nil || err.Error() != services.InvalidCursor().Error() {
		t.Errorf("got %v", err)
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
	files := must(t, s, mail.Target{}, "attachments", `{`+id+`}`).(services.Page).Value.(map[string]any)["attachments"].([]map[string]any)
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
		{mail.Target{}, "attachment", `"message_id": "ID", "attachment_id": "FILE"`, "Mail.Read", []string{"Mail.ReadBasic", "Mail.Send"}},
		{basic, "get", `"message_id": "ID"`, "Mail.ReadBasic", []string{"Mail.Send"}},
		{shared, "search", `"query": "a"`, "Mail.Read.Shared", []string{"Mail.Read", "Mail.Send.Shared"}},
		{shared, "get", `"message_id": "ID"`, "Mail.Read.Shared", []string{"Mail.Read", "Mail.Send.Shared"}},
		{shared, "attachments", `"message_id": "ID"`, "Mail.Read.Shared", []string{"Mail.Read", "Mail.Send.Shared"}},
		{shared, "attachment", `"message_id": "ID", "attachment_id": "FILE"`, "Mail.Read.Shared", []string{"Mail.Read", "Mail.Send.Shared"}},
	} {
		s := contoso(t)
		owner, scope := simulator.Adele, "Mail.Read"
		if tt.target.Mailbox.Address != "" {
			owner, scope = info, "Mail.Read.Shared"
		}
		id := s.DeliverMail(owner, simulator.Mail{Subject: "a", Attachments: []simulator.Attachment{{Name: "a", Content: []byte("a")}}}).ImmutableID
		files, err := client.Mailbox{Address: tt.target.Mailbox.Address}.Attachments(t.Context(), graphtest.Client(t, s, simulator.Adele, scope), id)
		if err != nil {
			t.Fatal(err)
		}
		op, r, err := decode(t, tt.target, tt.op, `{`+strings.NewReplacer("ID", id, "FILE", files[0].ID).Replace(tt.fields)+`}`)
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
		if op.Name == "search" || strings.HasPrefix(op.Name, "attachment") {
			t.Errorf("%s is offered with Mail.ReadBasic", op.Name)
		}
	}
}
