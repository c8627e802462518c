package mail_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	client "github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/mail"
)

const (
	key  = "7f0c4c9e-3b0e-4f0b-8d2a-2a1c5d6e7f80"
	info = "info@contoso.com"
	to   = `"to": ["megan@contoso.com"], "subject": "Hi", "message": "a < b\nc"`
)

// contoso returns a simulator in which Adele and Megan have empty mailboxes and Adele may use a shared one.
func contoso(t testing.TB) *simulator.Simulator {
	t.Helper()
	s := simulator.Contoso(simulator.Options{Now: time.Now})
	for _, address := range []string{"megan@contoso.com", info} {
		s.AddUser(simulator.User{Address: address, Name: address})
	}
	s.SetMailboxRights(info, simulator.Adele, simulator.MailboxRights{FullAccess: true, SendAs: true})
	return s
}

func decode(t testing.TB, target mail.Target, name, request string) (services.Operation, services.Request, error) {
	t.Helper()
	for _, op := range mail.Operations(target) {
		if op.Name == name {
			r, err := services.Decode(op, []byte(request))
			return op, r, err
		}
	}
	t.Fatalf("no operation %q", name)
	return services.Operation{}, nil, nil
}

// call executes a request with the permissions of its operation.
func call(t testing.TB, s *simulator.Simulator, target mail.Target, name, request string) (any, error) {
	t.Helper()
	op, r, err := decode(t, target, name, request)
	if err != nil {
		return nil, err
	}
	g := graphtest.Client(t, s, simulator.Adele, append(graph.Scopes(op.Permissions), "User.Read")...)
	return r.Execute(t.Context(), g, services.Attempt{ID: key, Now: time.Now()})
}

func must(t testing.TB, s *simulator.Simulator, target mail.Target, name, request string) any {
	t.Helper()
	v, err := call(t, s, target, name, request)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func inbox(t testing.TB, s *simulator.Simulator, address string) simulator.Mail {
	t.Helper()
	all := s.Mails(address, "")
	if len(all) == 0 {
		t.Fatalf("%s has no mail", address)
	}
	return all[0]
}

// A request that is too large is refused with what is too large about it.
func TestTooManyRecipientsAndTooMuchText(t *testing.T) {
	s := contoso(t)
	many := func(n int) string {
		return `["megan@contoso.com"` + strings.Repeat(`, "megan@contoso.com"`, n-1) + "]"
	}
	text := strings.Repeat("x", 3_900_000)
	for request, want := range map[string]string{
		fmt.Sprintf(`send {"to": %s, "subject": "s", "message": "m"}`, many(10_000)):                           "to, cc and bcc: want at most 1000 addresses, not 10000",
		fmt.Sprintf(`send {"to": %s, "bcc": %[1]s, "subject": "s", "message": "m"}`, many(501)):                "to, cc and bcc: want at most 1000 addresses, not 1002",
		fmt.Sprintf(`send {"to": %s, "reply_to": %s, "subject": "s", "message": "m"}`, many(1), many(1001)):    "reply_to: want at most 1000 addresses, not 1001",
		fmt.Sprintf(`send {"to": %s, "subject": %q, "message": "m"}`, many(1), strings.Repeat("ü", 256)):       "subject: want at most 255 characters, not 256",
		fmt.Sprintf(`forward {"message_id": "AAMkAGI2", "to": %s}`, many(1001)):                                "to, cc and bcc: want at most 1000 addresses, not 1001",
		fmt.Sprintf(`send {"to": %s, "subject": "s", "message": %q}`, many(1), strings.Repeat("x", 4_100_000)): "the text has 4.1 MB: a mail may have about 2.9 MB of files and text unless allow names send_large",
		fmt.Sprintf(`send {"to": %s, "subject": "s", "message": "%s\r\n%s"}`, many(1), text, text[:200_000]):   "the text has 4.1 MB: a mail may have about 2.9 MB of files and text unless allow names send_large",
	} {
		name, request, _ := strings.Cut(request, " ")
		if _, err := call(t, s, mail.Target{}, name, request); err == nil || err.Error() != want {
			t.Errorf("%s %.60s: got %v, want %s", name, request, err, want)
		}
	}
	if n := len(s.SentMails(simulator.Adele)); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestSend(t *testing.T) {
	s := contoso(t)
	must(t, s, mail.Target{}, "send", `{"to": ["megan@contoso.com"], "cc": ["x@example.com"], "bcc": ["y@example.com"], "reply_to": ["z@example.com"], "subject": "Hi 👋", "message": "a < b\nc", "importance": "HIGH"}`)
	got := s.SentMails(simulator.Adele)[0]
	if got.Subject != "Hi 👋" || got.Body != "a < b\nc" || got.HTML || got.Importance != "high" || !slices.Equal(got.To, []string{"megan@contoso.com"}) ||
		!slices.Equal(got.Cc, []string{"x@example.com"}) || !slices.Equal(got.Bcc, []string{"y@example.com"}) || !slices.Equal(got.ReplyTo, []string{"z@example.com"}) || got.From != simulator.Adele {
		t.Errorf("got %+v", got)
	}
	if inbox(t, s, "megan@contoso.com").Subject != "Hi 👋" {
		t.Error("it did not arrive")
	}
	must(t, s, mail.Target{}, "send", `{"subject": "Note", "message": "<p>x</p>", "message_is_html": true, "save_to_sent": false}`)
	if m := inbox(t, s, simulator.Adele); m.Subject != "Note" || !m.HTML || !slices.Equal(m.To, []string{simulator.Adele}) {
		t.Errorf("to yourself: got %+v", m)
	}
	if n := len(s.SentMails(simulator.Adele)); n != 1 {
		t.Errorf("%d mails in Sent Items", n)
	}
}

func TestSendAs(t *testing.T) {
	s := contoso(t)
	as := mail.Target{SendAs: []string{info, "Megan@contoso.com"}}
	must(t, s, as, "send", `{"from": "Info@contoso.com", `+to+`}`)
	must(t, s, mail.Target{Mailbox: client.Mailbox{Address: info}}, "send", `{`+to+`}`)
	must(t, s, mail.Target{}, "send", `{"from": "`+strings.ToUpper(simulator.Adele)+`", `+to+`}`)
	var from []string
	for _, m := range s.Mails("megan@contoso.com", "") {
		from = append(from, m.From)
	}
	if diff := cmp.Diff([]string{simulator.Adele, info, info}, from, cmp.Transformer("lower", strings.ToLower)); diff != "" {
		t.Error(diff)
	}
	for name, tt := range map[string]struct {
		target mail.Target
		from   string
		want   string
	}{
		"not allowed":         {mail.Target{}, info, `from: want your own address: send_as names no other, not "info@contoso.com"`},
		"not listed":          {as, "x@contoso.com", `from: want your own address or one of send_as, info@contoso.com, Megan@contoso.com, not "x@contoso.com"`},
		"refused by Exchange": {as, "megan@contoso.com", "send the mail: Exchange does not let you send as megan@contoso.com: you need the right Send As or Send on Behalf there (Graph answered 403 ErrorSendAsDenied)"},
		"apostrophe":          {as, "o'neil@contoso.com", `from: want your own address or one of send_as, info@contoso.com, Megan@contoso.com, not "o'neil@contoso.com"`},
	} {
		if _, err := call(t, s, tt.target, "send", `{"from": "`+tt.from+`", `+to+`}`); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

// An application has no other address than that of the mailbox.
func TestSendAsByAnApplication(t *testing.T) {
	s := contoso(t)
	const id = "3f0e7c52-6a7d-4c1e-9f58-2d4b1a6c8e90"
	g := graphtest.Application(t, s, id).ForMailbox(simulator.Adele)
	s.SetMailboxRoles(id, simulator.Adele, "Mail.Send", "Mail.Read")
	for from, want := range map[string]string{
		strings.ToUpper(simulator.Adele): "",
		info:                             "from: want " + simulator.Adele + `: an application sends as the owner of the mailbox only, not as "info@contoso.com"`,
	} {
		i := slices.IndexFunc(mail.Operations(mail.Target{}), func(op services.Operation) bool { return op.Name == "send" })
		op := mail.Operations(mail.Target{})[i]
		r, err := services.Decode(op, []byte(`{"from": "`+from+`", `+to+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.Execute(t.Context(), g, services.Attempt{ID: "1", Now: time.Now()}); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%s: %v; want %s", from, err, want)
		}
	}
}

func TestFiles(t *testing.T) {
	s := contoso(t)
	outside, dir := t.TempDir(), t.TempDir()
	write := func(path string, content []byte) string {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write(filepath.Join(outside, "secret.txt"), []byte("secret"))
	a := write(filepath.Join(dir, "a.txt"), []byte("aaa"))
	big := write(filepath.Join(dir, "big.bin"), make([]byte, 3_100_000))
	write(filepath.Join(dir, "fits.bin"), make([]byte, 2_900_000))
	link := filepath.Join(dir, "link.txt")
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	target := mail.Target{Directories: []string{dir}}
	png := base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n"))

	must(t, s, target, "send", fmt.Sprintf(`{%s, "attachments": [%q, "data:text/csv;name=b.csv;base64,YmJi", "data:;base64,Yw=="], "photos": ["data:image/png;name=cam.png;base64,%s", "https://example.com/x.png?a=1&b=2"]}`, to, a, png))
	m := s.SentMails(simulator.Adele)[0]
	var names []string
	for _, f := range m.Attachments {
		names = append(names, fmt.Sprintf("%s %s %d %v %s", f.Name, f.ContentType, len(f.Content), f.Inline, f.ContentID))
	}
	want := []string{"a.txt text/plain; charset=utf-8 3 false ", "b.csv text/csv 3 false ", "file application/octet-stream 1 false ", "cam.png image/png 8 true cam.png"}
	if diff := cmp.Diff(want, names, cmp.Transformer("bin", func(s string) string { return strings.Replace(s, "file.bin", "file", 1) })); diff != "" {
		t.Error(diff)
	}
	if want := `a &lt; b<br>c<br><img src="cid:cam.png"><br><img src="https://example.com/x.png?a=1&amp;b=2">`; m.Body != want || !m.HTML {
		t.Errorf("got %q", m.Body)
	}

	must(t, s, target, "send", fmt.Sprintf(`{"subject": "x", "message": "<body>see <img src='cid:cam.png'></body>", "message_is_html": true, "attachments": [%q, %q], "zip_attachments": true, "zip_name": "all.zip", "photos": ["data:image/png;name=cam.png;base64,%s"]}`, a, a, png))
	m = s.SentMails(simulator.Adele)[0]
	if m.Body != "<body>see <img src='cid:cam.png'></body>" || len(m.Attachments) != 2 || m.Attachments[0].Name != "all.zip" {
		t.Fatalf("got %q, %d files", m.Body, len(m.Attachments))
	}
	archive, err := zip.NewReader(bytes.NewReader(m.Attachments[0].Content), int64(len(m.Attachments[0].Content)))
	if err != nil || len(archive.File) != 2 || archive.File[1].Name != "a-2.txt" {
		t.Errorf("got %v", err)
	}
	must(t, s, target, "send", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, filepath.Join(dir, "fits.bin")))

	s.ForgetRequests()
	for request, want := range map[string]string{
		fmt.Sprintf(`"attachments": [%q]`, secret):                   "attachments[0]: want a file in attachments.directories: " + dir,
		fmt.Sprintf(`"attachments": [%q]`, dir+"/../x"):              "attachments[0]: want a file in attachments.directories: " + dir,
		fmt.Sprintf(`"attachments": [%q]`, dir):                      "attachments[0]: want a file in attachments.directories: " + dir,
		fmt.Sprintf(`"attachments": [%q]`, dir+"/none"):              "attachments[0]: the file " + dir + "/none cannot be read: there is no such file",
		fmt.Sprintf(`"attachments": [%q]`, link):                     "attachments[0]: the file " + link + " cannot be read: path escapes from parent",
		fmt.Sprintf(`"photos": [%q]`, big):                           "the files have 3.1 MB: a mail may have about 2.9 MB of files and text unless allow names send_large",
		`"attachments": ["https://example.com/a"]`:                   "attachments[0]: want a path or data:, not an http(s) address: nothing is downloaded",
		`"attachments": ["a.txt"]`:                                   `attachments[0]: want an absolute path, or data:TYPE;name=NAME;base64,CONTENT, not "a.txt"`,
		`"attachments": ["data:text/plain,abc"]`:                     "attachments[0]: want data:TYPE;name=NAME;base64,CONTENT",
		`"attachments": ["data:text/plain;base64,*"]`:                "attachments[0]: the content is not base64",
		`"attachments": ["data:text/plain;name=..%2Fx;base64,YQ=="]`: `attachments[0]: want the name of a file, not "../x"`,
		`"zip_name": "a.zip"`:                                        "zip_name: only with zip_attachments",
		`"zip_name": "a/b", "zip_attachments": true`:                 `zip_name: want the name of a file, not "a/b"`,
		`"cc": ["ann"]`:          `cc: want addresses, such as ann@contoso.com, not "ann"`,
		`"from": "ann"`:          `from: want an address, such as ann@contoso.com, not "ann"`,
		`"importance": "medium"`: `importance: want one of low, normal, high, not "medium"`,
	} {
		if _, err := call(t, s, target, "send", `{`+to+`, `+request+`}`); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", request, err, want)
		}
	}
	if _, err := call(t, s, mail.Target{}, "send", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, a)); err == nil || err.Error() != "attachments[0]: attachments.directories in the configuration names no directory from which files may be sent" {
		t.Errorf("got %v", err)
	}
	if n := s.Count("POST", ""); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := call(t, contoso(t), mail.Target{Directories: []string{dir}}, "send", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, filepath.Join(dir, "sub")))
	if want := "attachments[0]: the file " + dir + "/sub cannot be read: it is not a regular file"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTooManyRecipients(t *testing.T) {
	s := contoso(t)
	var many []string
	for i := range 501 {
		many = append(many, fmt.Sprintf(`"u%d@example.com"`, i))
	}
	request := func(n int) string {
		return `{"to": [` + strings.Join(many[:n], ", ") + `], "subject": "x", "message": "x"}`
	}
	must(t, s, mail.Target{}, "send", request(500))
	_, err := call(t, s, mail.Target{}, "send", request(501))
	if want := "send the mail: Graph answered 400 ErrorExceededMaxRecipientLimit: "; err == nil || !strings.HasPrefix(err.Error(), want) || !graph.HasCode(err, "ErrorExceededMaxRecipientLimit") {
		t.Errorf("got %v, want %s", err, want)
	}
	if n := len(s.SentMails(simulator.Adele)); n != 1 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestAnswers(t *testing.T) {
	s := contoso(t)
	m := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Question", From: "megan@contoso.com", To: []string{simulator.Adele, "x@example.com"}, Body: "Why?", Attachments: []simulator.Attachment{{Name: "a.txt", Content: []byte("a")}}})
	id := `"message_id": "` + m.ImmutableID + `"`
	must(t, s, mail.Target{}, "reply", `{`+id+`, "message": "a < b\nc"}`)
	must(t, s, mail.Target{}, "reply_all", `{`+id+`, "message": "<b>x</b>", "message_is_html": true}`)
	must(t, s, mail.Target{}, "forward", `{`+id+`, "to": ["y@example.com"], "message": "see"}`)
	sent := s.SentMails(simulator.Adele)
	slices.Reverse(sent)
	if len(sent) != 3 || !strings.HasPrefix(sent[0].Body, "a < b\nc") || !slices.Equal(sent[0].To, []string{"megan@contoso.com"}) || sent[0].Subject != "RE: Question" {
		t.Fatalf("reply: got %+v", sent)
	}
	if !strings.Contains(sent[1].Body, "<b>x</b>") || !slices.Equal(sent[1].To, []string{"megan@contoso.com", "x@example.com"}) {
		t.Errorf("reply_all: got %+v", sent[1])
	}
	if !slices.Equal(sent[2].To, []string{"y@example.com"}) || len(sent[2].Attachments) != 1 || !strings.Contains(sent[2].Body, "Why?") {
		t.Errorf("forward: got %+v", sent[2])
	}
}

func TestChanges(t *testing.T) {
	s := contoso(t)
	s.AddMailFolder(simulator.Adele, "Bills/Power")
	m := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "a", Categories: []string{"Red", "Blue"}})
	id := `"message_id": "` + m.ImmutableID + `"`
	now := func() simulator.Mail {
		for _, folder := range []string{"", "Bills/Power", "deleteditems"} {
			for _, m := range s.Mails(simulator.Adele, folder) {
				return m
			}
		}
		t.Fatal("the mail was removed")
		return simulator.Mail{}
	}
	must(t, s, mail.Target{}, "mark_read", `{`+id+`}`)
	if !now().Read {
		t.Error("it is unread")
	}
	must(t, s, mail.Target{}, "mark_read", `{`+id+`, "is_read": false}`)
	if now().Read {
		t.Error("it is read")
	}
	must(t, s, mail.Target{}, "flag", `{`+id+`, "status": "flagged", "due": "2026-01-20"}`)
	if m := now(); m.Flag != "flagged" || m.FlagDue != "2026-01-20" {
		t.Errorf("got %s, %s", m.Flag, m.FlagDue)
	}
	must(t, s, mail.Target{}, "flag", `{`+id+`, "status": "Complete"}`)
	must(t, s, mail.Target{}, "flag", `{`+id+`, "status": "notFlagged"}`)
	must(t, s, mail.Target{}, "categorize", `{`+id+`, "add": ["Green", "red"], "remove": ["blue"]}`)
	if m := now(); !slices.Equal(m.Categories, []string{"Red", "Green"}) || m.Flag != "notFlagged" {
		t.Errorf("got %q, %s", m.Categories, m.Flag)
	}
	must(t, s, mail.Target{}, "categorize", `{`+id+`, "categories": []}`)
	if m := now(); len(m.Categories) != 0 {
		t.Errorf("got %q", m.Categories)
	}
	for range 2 { // doing it again changes nothing
		moved := must(t, s, mail.Target{}, "move", `{`+id+`, "folder": "Bills/Power"}`).(client.Moved)
		if len(s.Mails(simulator.Adele, "Bills/Power")) != 1 || moved.ID != m.ImmutableID {
			t.Errorf("got %+v", moved)
		}
	}
	for range 2 {
		must(t, s, mail.Target{}, "delete", `{`+id+`}`)
		if len(s.Mails(simulator.Adele, "deleteditems")) != 1 {
			t.Error("it is not in Deleted Items")
		}
	}
	for request, want := range map[string]string{
		`flag {` + id + `, "status": "flagged", "start": "2026-01-01"}`:                      "start: want due as well",
		`flag {` + id + `, "status": "complete", "due": "2026-01-01"}`:                       "status: want flagged with start or due, not complete",
		`flag {` + id + `, "status": "flagged", "start": "2026-01-02", "due": "2026-01-01"}`: "due: want a date that is not before start, 2026-01-02, not 2026-01-01",
		`flag {` + id + `, "status": "flagged", "due": "soon"}`:                              `due: want a date, such as 2026-01-01, not "soon"`,
		`flag {` + id + `, "status": "red"}`:                                                 `status: want one of notFlagged, flagged, complete, not "red"`,
		`categorize {` + id + `}`:                                                            "categories: want either categories, or add or remove",
		`categorize {` + id + `, "categories": [], "add": ["x"]}`:                            "categories: want either categories, or add or remove",
		`categorize {` + id + `, "add": ["x,y"]}`:                                            `categories: want names without commas, not "x,y"`,
		`mark_read {"message_id": ""}`:                                                       "message_id: want the id of a mail, as in the list",
		`move {` + id + `, "folder": "a//b"}`:                                                `folder: want names of folders with / between them, such as Inbox/Bills, not "a//b"`,
		`move {` + id + `, "folder": "Bills/Water"}`:                                         "find the folder: there is no folder Water in Bills; there are: Power",
		`forward {` + id + `, "to": []}`:                                                     "to: want at least one address",
	} {
		name, fields, _ := strings.Cut(request, " ")
		if _, err := call(t, s, mail.Target{}, name, fields); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", request, err, want)
		}
	}
}

// Each operation needs exactly the permissions that it requests.
func TestPermissions(t *testing.T) {
	shared := mail.Target{Mailbox: client.Mailbox{Address: info}}
	for _, tt := range []struct {
		name   string
		target mail.Target
		op     string
		fields string
		want   string
		others []string
	}{
		{"send", mail.Target{}, "send", to, "Mail.Send", []string{"Mail.ReadWrite", "Mail.Read"}},
		{"send_as", mail.Target{SendAs: []string{info}}, "send", to + `, "from": "` + info + `"`, "Mail.Send.Shared", []string{"Mail.Send", "Mail.ReadWrite"}},
		{"shared", shared, "send", to, "Mail.Send.Shared", []string{"Mail.Send", "Mail.ReadWrite.Shared"}},
		{"reply", mail.Target{}, "reply", `"message": "x"`, "Mail.Send", []string{"Mail.ReadWrite", "Mail.Read"}},
		{"reply_all", mail.Target{}, "reply_all", `"message": "x"`, "Mail.Send", []string{"Mail.ReadWrite", "Mail.Read"}},
		{"forward", mail.Target{}, "forward", `"to": ["x@example.com"]`, "Mail.Send", []string{"Mail.ReadWrite", "Mail.Read"}},
		{"shared reply", shared, "reply", `"message": "x"`, "Mail.Send.Shared", []string{"Mail.Send", "Mail.ReadWrite.Shared"}},
		{"mark_read", mail.Target{}, "mark_read", ``, "Mail.ReadWrite", []string{"Mail.Read", "Mail.Send"}},
		{"flag", mail.Target{}, "flag", `"status": "flagged"`, "Mail.ReadWrite", []string{"Mail.Read", "Mail.Send"}},
		{"categorize", mail.Target{}, "categorize", `"add": ["x"]`, "Mail.ReadWrite", []string{"Mail.Read", "Mail.Send"}},
		{"move", mail.Target{}, "move", `"folder": "Archive"`, "Mail.ReadWrite", []string{"Mail.Read", "Mail.Send"}},
		{"delete", mail.Target{}, "delete", ``, "Mail.ReadWrite", []string{"Mail.Read", "Mail.Send"}},
		{"shared mark_read", shared, "mark_read", ``, "Mail.ReadWrite.Shared", []string{"Mail.ReadWrite", "Mail.Read.Shared"}},
		{"shared flag", shared, "flag", `"status": "flagged"`, "Mail.ReadWrite.Shared", []string{"Mail.ReadWrite", "Mail.Read.Shared"}},
		{"shared categorize", shared, "categorize", `"add": ["x"]`, "Mail.ReadWrite.Shared", []string{"Mail.ReadWrite", "Mail.Read.Shared"}},
		{"shared delete", shared, "delete", ``, "Mail.ReadWrite.Shared", []string{"Mail.ReadWrite", "Mail.Read.Shared"}},
		{"shared reply_all", shared, "reply_all", `"message": "x"`, "Mail.Send.Shared", []string{"Mail.Send", "Mail.ReadWrite.Shared"}},
		{"shared forward", shared, "forward", `"to": ["x@example.com"]`, "Mail.Send.Shared", []string{"Mail.Send", "Mail.ReadWrite.Shared"}},
		{"shared move", shared, "move", `"folder": "Archive"`, "Mail.ReadWrite.Shared", []string{"Mail.ReadWrite", "Mail.Read.Shared"}},
	} {
		s := contoso(t)
		owner := simulator.Adele
		if tt.target.Mailbox.Address != "" {
			owner = info
		}
		m := s.DeliverMail(owner, simulator.Mail{Subject: "a", From: "megan@contoso.com"})
		fields := tt.fields
		if tt.op != "send" {
			fields = strings.TrimSuffix(`"message_id": "`+m.ImmutableID+`", `+fields, ", ")
		}
		op, r, err := decode(t, tt.target, tt.op, `{`+fields+`}`)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		if diff := cmp.Diff([]string{tt.want}, graph.Scopes(op.Permissions)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		for _, scope := range tt.others {
			if _, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, scope, "User.Read"), services.Attempt{ID: key, Now: time.Now()}); !graph.Is(err, graph.PermissionMissing) {
				t.Errorf("%s with %s: got %v", tt.name, scope, err)
			}
		}
		if _, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, tt.want, "User.Read"), services.Attempt{ID: key, Now: time.Now()}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A mail without an answer is looked for in Sent Items.
func TestVerify(t *testing.T) {
	m := `"message_id": "ID"`
	for _, tt := range []struct{ op, fields string }{
		{"send", to}, {"reply", m + `, "message": "x"`}, {"reply_all", m + `, "message": "<p>x</p>", "message_is_html": true`}, {"forward", m + `, "to": ["x@example.com"]`},
	} {
		t.Run(tt.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := contoso(t)
				id := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "a", From: "megan@contoso.com"}).ImmutableID
				op, r, err := decode(t, mail.Target{}, tt.op, `{`+strings.Replace(tt.fields, "ID", id, 1)+`}`)
				if err != nil {
					t.Fatal(err)
				}
				g := graphtest.Client(t, s, simulator.Adele, "Mail.Send", "Mail.Read", "User.Read")
				a := services.Attempt{ID: key, Now: time.Now()}
				if op.Retry != services.AtMostOnce {
					t.Error("it may be sent twice")
				}
				verifier := r.(services.Verifier)
				start := time.Now()
				if _, found, err := verifier.Verify(t.Context(), g, a); found || err != nil || time.Since(start) < 55*time.Second {
					t.Errorf("before: %v, %v after %s", found, err, time.Since(start))
				}
				s.Fail(simulator.Fault{Method: "POST", Status: http.StatusGatewayTimeout, Done: true, Times: 1})
				if _, err := r.Execute(t.Context(), g, a); err == nil || !isUnknown(err) {
					t.Fatalf("got %v", err)
				}
				if v, found, err := verifier.Verify(t.Context(), g, a); !found || err != nil || v.(mail.Sent).MessageID != s.SentMails(simulator.Adele)[0].ImmutableID {
					t.Errorf("after: %v, %v, %v", v, found, err)
				}
				for _, scopes := range [][]string{{"Mail.Send"}, {"Mail.Send", "Mail.ReadBasic"}} {
					if _, found, err := verifier.Verify(t.Context(), graphtest.Client(t, s, simulator.Adele, scopes...), a); found || err == nil || err.Error() != "the permission Mail.Read is required to find out whether the mail was sent" {
						t.Errorf("%v: %v, %v", scopes, found, err)
					}
				}
			})
		})
	}
}

func isUnknown(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && e.OutcomeUnknown
}

// An automation that answers its own mails comes to an end.
func TestSendsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		g := graphtest.Client(t, s, simulator.Adele, "Mail.Send", "User.Read")
		send := func() error {
			_, r, err := decode(t, mail.Target{}, "send", `{`+to+`}`)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Execute(t.Context(), g, services.Attempt{ID: key, Now: time.Now()})
			return err
		}
		for range 30 {
			if err := send(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		var refused *services.Error
		err := send()
		if !errors.As(err, &refused) || refused.Code != "throttled" || refused.Message != "at most 30 mails per minute are sent; try again in 30s" {
			t.Errorf("got %v", err)
		}
		if f := (services.Response{}).Fail(err).Error; f.Code != "throttled" || !f.Retryable || f.RetryAfter != 30 {
			t.Errorf("answered %+v", f)
		}
		// Answers count like mails, and a mail that is too large does not.
		m := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x"})
		for _, op := range []string{"reply", "reply_all"} {
			_, r, err := decode(t, mail.Target{}, op, `{"message_id": "`+m.ImmutableID+`", "message": "x"}`)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Execute(t.Context(), g, services.Attempt{ID: key, Now: time.Now()}); !errors.As(err, &refused) || refused.Code != "throttled" {
				t.Errorf("%s: got %v", op, err)
			}
		}
		if n := len(s.SentMails(simulator.Adele)); n != 30 {
			t.Errorf("%d mails were sent", n)
		}
		time.Sleep(30 * time.Second)
		if err := send(); err != nil {
			t.Error(err)
		}
	})
}
