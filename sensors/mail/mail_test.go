package mail_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/mail"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

const info = "info@contoso.com"

// contoso returns a simulator with an empty mailbox, and a shared one. Its clock is that of the bubble.
func contoso(t testing.TB) *simulator.Simulator {
	t.Helper()
	s := simulator.Contoso(simulator.Options{Now: time.Now})
	for _, m := range s.Mails(simulator.Adele, "") {
		s.RemoveMail(simulator.Adele, m.ID)
	}
	return s
}

type driver = sensorstest.Driver[mail.Snapshot]

func email(t testing.TB, raw map[string]any) *driver {
	t.Helper()
	o := mail.Email().New().Options().(*mail.Options)
	sensorstest.Decode(t, o, raw)
	return sensorstest.Of(o)
}

func query(t testing.TB, raw map[string]any) *driver {
	t.Helper()
	q := mail.Filter().New().Options().(*mail.Query)
	sensorstest.Decode(t, q, raw)
	return sensorstest.Of(q)
}

func client(t testing.TB, s *simulator.Simulator) *graph.Client {
	return graphtest.Client(t, s, simulator.Adele, "Mail.Read", "Mail.Read.Shared")
}

// told returns events as "type subject".
func told(events []entity.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s", e.Type, e.Data["subject"]))
	}
	return out
}

func expect(t testing.TB, what string, events []entity.Event, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, told(events)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// subjects returns those of the list.
func subjects(st entity.State) []string {
	out := []string{}
	for _, i := range st.Items {
		out = append(out, i.(map[string]any)["subject"].(string))
	}
	return out
}

func deliver(s *simulator.Simulator, subject string) simulator.Mail {
	return s.DeliverMail(simulator.Adele, simulator.Mail{Subject: subject, From: "bank@fabrikam.example"})
}

func TestCountsAndCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		now := time.Now()
		s.FillMailFolder(simulator.Adele, "", 6000, func(i int) simulator.Mail {
			return simulator.Mail{Subject: fmt.Sprint(i), Received: now.Add(-time.Duration(i) * time.Minute), Read: i%82 != 0 || i >= 82*73}
		})
		s.AddMailFolder(simulator.Adele, "Other")
		s.FillMailFolder(simulator.Adele, "Other", 427, func(i int) simulator.Mail {
			return simulator.Mail{Subject: fmt.Sprint(i), Received: now}
		})
		d := email(t, map[string]any{"is_unread": true})
		g, wire := graphtest.Counted(t, s, simulator.Adele, "Mail.Read")
		d.Poll(t, g, now)
		st := d.State(t, now, now)
		if st.Values["matching"] != 73 || st.Values["unread"] != 73 || len(st.Items) != 5 || st.Attributes["matching_complete"] != true {
			t.Errorf("got %v, %d items", st.Values, len(st.Items))
		}
		if n := len(s.Requests()); n > 8 {
			t.Errorf("%d requests at first", n)
		}
		s.ForgetRequests()
		wire.Take()
		for range 9 {
			expect(t, "idle", d.Poll(t, g, now))
		}
		answers, bytes := wire.Take()
		if bytes > 9*600 {
			t.Errorf("%d bytes in the answer to an idle poll", bytes/9)
		}
		if answers != 9 {
			t.Errorf("%d requests for 9 idle polls", answers)
		}
		s.ForgetRequests()
		d.Poll(t, g, now)
		if n := len(s.Requests()); n != 3 {
			t.Errorf("%d requests at the tenth poll, want the question for changes, the folder and the list", n)
		}
	})
}

func TestEventsComeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		d := email(t, map[string]any{"max_items": 2})
		g := client(t, s)
		poll := func() []entity.Event {
			time.Sleep(30 * time.Second)
			return d.Poll(t, g, time.Now())
		}
		deliver(s, "before")
		expect(t, "at first", poll())
		a := deliver(s, "a")
		expect(t, "new", poll(), "mail_received a")
		expect(t, "idle", poll())
		d.Restart(t)
		expect(t, "after a restart", poll())
		s.ChangeMail(simulator.Adele, a.ID, func(m *simulator.Mail) { m.Read = true })
		expect(t, "read", poll(), "mail_read a")
		a = s.MoveMail(simulator.Adele, a.ID, "archive")
		expect(t, "moved away", poll(), "mail_removed a")
		s.MoveMail(simulator.Adele, a.ID, "")
		expect(t, "moved back", poll())
		s.ExpireDeltaTokens()
		expect(t, "after a new synchronization", poll())
		s.ExpireDeltaTokens()
		deliver(s, "b")
		expect(t, "new in a new synchronization", poll(), "mail_received b")
		var want []string
		for i := range 25 {
			time.Sleep(time.Second)
			deliver(s, fmt.Sprint(i))
			want = append(want, fmt.Sprintf("mail_received %d", i))
		}
		expect(t, "many", poll(), want...)
		st := d.State(t, time.Now(), time.Now())
		if diff := cmp.Diff([]string{"24", "23"}, subjects(st)); diff != "" || st.Values["matching"] != 28 || st.Values["unread"] != 27 {
			t.Errorf("%s %v", diff, st.Values)
		}
	})
}

// Where Graph refuses the delta query, at first or later, or what replaces it too, each mail is still reported once.
func TestWithoutDelta(t *testing.T) {
	for _, tt := range []struct {
		name        string
		from        int // the poll from which on it is refused
		probe       bool
		idle, after int // requests of an idle poll, and after Graph accepts the query again
	}{{"never", 0, false, 1, 1}, {"no longer", 3, false, 1, 1}, {"nor a probe", 0, true, 2, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := contoso(t)
				refuses, polls, requests := true, 0, 0
				g := graphtest.ClientVia(t, s, graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
					requests++
					isDelta, isProbe := strings.Contains(r.URL.Path, "/messages/delta"), strings.HasPrefix(r.URL.Query().Get("$orderby"), "lastModifiedDateTime")
					if refuses && polls > tt.from && (isDelta || tt.probe && isProbe) {
						return graphtest.Answer(400, `{"error": {"code": "ErrorInvalidRequest", "message": "Not supported."}}`, "Content-Type", "application/json"), nil
					}
					return s.Transport().RoundTrip(r)
				}), simulator.Adele, "Mail.Read")
				d := email(t, map[string]any{"max_items": 2})
				poll := func() []entity.Event {
					time.Sleep(30 * time.Second)
					polls, requests = polls+1, 0
					return d.Poll(t, g, time.Now())
				}
				for i := range 5 {
					deliver(s, fmt.Sprint("before ", i))
				}
				expect(t, "at first", poll())
				a := deliver(s, "a")
				expect(t, "new", poll(), "mail_received a")
				expect(t, "idle", poll())
				b, c := deliver(s, "b"), deliver(s, "c")
				expect(t, "two", poll(), "mail_received b", "mail_received c")
				d.Restart(t)
				expect(t, "after a restart", poll())
				if requests != tt.idle {
					t.Errorf("%d requests of an idle poll, want %d", requests, tt.idle)
				}
				s.ChangeMail(simulator.Adele, c.ID, func(m *simulator.Mail) { m.Read = true })
				expect(t, "read", poll(), "mail_read c")
				s.RemoveMail(simulator.Adele, c.ID)
				expect(t, "removed", poll(), "mail_removed c")
				s.RemoveMail(simulator.Adele, b.ID) // older ones move up
				s.RemoveMail(simulator.Adele, a.ID)
				expect(t, "older ones", poll(), "mail_removed b", "mail_removed a")
				if st := d.State(t, time.Now(), time.Now()); st.Values["matching"] != 5 {
					t.Errorf("got %v", st.Values)
				}
				refuses = false
				time.Sleep(25 * time.Hour)
				expect(t, "accepted again", poll())
				deliver(s, "d")
				expect(t, "new by the delta query", poll(), "mail_received d")
				expect(t, "idle by the delta query", poll())
				if requests != tt.after {
					t.Errorf("%d requests of an idle poll at last, want %d", requests, tt.after)
				}
			})
		})
	}
}

// A folder that was removed and created again is found.
func TestFolderCreatedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		bills := s.AddMailFolder(simulator.Adele, "Bills").ID
		s.AddMail(simulator.Adele, "Bills", simulator.Mail{Subject: "old"})
		removed, renamed := "", false
		g := graphtest.ClientVia(t, s, graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			if removed != "" && strings.Contains(r.URL.Path, removed) {
				return graphtest.Answer(404, `{"error": {"code": "ErrorItemNotFound", "message": "Not found."}}`, "Content-Type", "application/json"), nil
			}
			resp, err := s.Transport().RoundTrip(r)
			if err == nil && renamed && strings.HasSuffix(r.URL.Path, "/mailFolders") { // the removed folder is no longer listed
				b, _ := io.ReadAll(resp.Body)
				resp = graphtest.Answer(200, strings.Replace(strings.Replace(string(b), `"Bills"`, `"Old"`, 1), `"New"`, `"Bills"`, 1), "Content-Type", "application/json")
			}
			return resp, err
		}), simulator.Adele, "Mail.Read")
		d := email(t, map[string]any{"folder": "Bills"})
		d.Poll(t, g, time.Now())
		time.Sleep(time.Minute)
		removed = bills
		if _, err := d.TryPoll(t, g, time.Now()); !graph.Is(err, graph.NotFound) {
			t.Errorf("got %v", err)
		}
		s.AddMailFolder(simulator.Adele, "New")
		s.AddMail(simulator.Adele, "New", simulator.Mail{Subject: "new"})
		renamed = true
		expect(t, "again", d.Poll(t, g, time.Now()), "mail_removed old", "mail_received new")
		time.Sleep(time.Minute)
		s.ForgetRequests()
		expect(t, "idle", d.Poll(t, g, time.Now()))
		if n := len(s.Requests()); n != 1 {
			t.Errorf("%d requests of an idle poll", n)
		}
	})
}

// A mail that leaves a list of unread mails was read; one that newer mails displaced was not.
func TestUnreadList(t *testing.T) {
	for name, raw := range map[string]map[string]any{"own": {}, "shared": {"shared_mailbox": info}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := contoso(t)
				owner := simulator.Adele
				if raw["shared_mailbox"] != nil {
					s.AddUser(simulator.User{Address: info, Name: "Info"})
					s.SetMailboxRights(info, simulator.Adele, simulator.MailboxRights{FullAccess: true})
					owner = info
				}
				put := func(subject string) simulator.Mail {
					time.Sleep(time.Minute)
					return s.DeliverMail(owner, simulator.Mail{Subject: subject})
				}
				raw["is_unread"], raw["max_items"] = true, 2
				d, g := email(t, raw), client(t, s)
				poll := func() []entity.Event {
					time.Sleep(30 * time.Second)
					return d.Poll(t, g, time.Now())
				}
				old := put("old")
				s.ChangeMail(owner, old.ID, func(m *simulator.Mail) { m.Read = true })
				put("a")
				b := put("b")
				expect(t, "at first", poll())
				c := put("c")
				expect(t, "a is displaced", poll(), "mail_received c")
				s.ChangeMail(owner, c.ID, func(m *simulator.Mail) { m.Read = true })
				expect(t, "read", poll(), "mail_read c")
				s.RemoveMail(owner, b.ID)
				expect(t, "removed", poll(), "mail_removed b")
				time.Sleep(time.Minute)
				s.ChangeMail(owner, old.ID, func(m *simulator.Mail) { m.Read = false })
				expect(t, "marked as unread", poll())
				if st := d.State(t, time.Now(), time.Now()); !slices.Equal(subjects(st), []string{"a", "old"}) || st.Values["unread"] != 2 {
					t.Errorf("got %q, %v", subjects(st), st.Values)
				}
			})
		})
	}
}

func TestFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		s.SetMailboxOptions(simulator.Adele, simulator.MailboxOptions{Language: "de"})
		s.AddMailFolder(simulator.Adele, "Bills/Power")
		s.AddMail(simulator.Adele, "Bills/Power", simulator.Mail{Subject: "bill"})
		deliver(s, "inbox")
		now := time.Now()
		for folder, want := range map[string][]string{
			"Inbox": {"inbox"}, "INBOX": {"inbox"}, "Posteingang": {"inbox"}, "Bills/Power": {"bill"}, "bills/power": {"bill"}, "Bills": {}, "Sent Items": {}, "Gesendete Elemente": {},
		} {
			d := email(t, map[string]any{"folder": folder})
			d.Poll(t, client(t, s), now)
			if diff := cmp.Diff(want, subjects(d.State(t, now, now))); diff != "" {
				t.Errorf("%s: %s", folder, diff)
			}
		}
		for folder, want := range map[string]string{
			"Bill":     "find the folder: there is no folder Bill; there are: Archiv, Aufgezeichnete Unterhaltungen, Bills, Entwürfe, Gelöschte Elemente, Gesendete Elemente, Junk-E-Mail, Postausgang, Posteingang",
			"Bills/P":  "find the folder: there is no folder P in Bills; there are: Power",
			"Inbox/x":  "find the folder: there is no folder x in Posteingang; there are none",
			`Bills\/P`: "find the folder: there is no folder Bills/P; there are: Archiv, Aufgezeichnete Unterhaltungen, Bills, Entwürfe, Gelöschte Elemente, Gesendete Elemente, Junk-E-Mail, Postausgang, Posteingang",
		} {
			if _, err := email(t, map[string]any{"folder": folder}).TryPoll(t, client(t, s), now); err == nil || err.Error() != want {
				t.Errorf("%s: got %v, want %s", folder, err, want)
			}
		}
	})
}

// Graph accepts every combination of filters, and they select what they say.
func TestFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		now := time.Now()
		type kind struct {
			key   string
			value any
			apply func(*simulator.Mail)
		}
		kinds := []kind{
			{"is_unread", false, func(m *simulator.Mail) { m.Read = true }},
			{"from", "o'neil@fabrikam.example", func(m *simulator.Mail) { m.From = "o'neil@fabrikam.example" }},
			{"has_attachment", true, func(m *simulator.Mail) { m.Attachments = []simulator.Attachment{{Name: "a.txt", Content: []byte("a")}} }},
			{"importance", "high", func(m *simulator.Mail) { m.Importance = "high" }},
			{"subject_contains", "ann's", func(m *simulator.Mail) { m.Subject = "Ann's bill " + m.Subject }},
			{"body_contains", "pay NOW", func(m *simulator.Mail) {
				m.HTML, m.Body = true, strings.Repeat("<p>word</p>", 200)+"<p>Pay\r\n now</p>"
			}},
		}
		for i := range 1 << len(kinds) {
			m := simulator.Mail{Subject: fmt.Sprintf("%02d", i), Received: now.Add(time.Duration(i) * time.Second)}
			for bit, k := range kinds {
				if i>>bit&1 == 1 {
					k.apply(&m)
				}
			}
			s.DeliverMail(simulator.Adele, m)
		}
		for i := range 1 << len(kinds) {
			raw := map[string]any{"max_items": 100}
			count := 1 << len(kinds)
			for bit, k := range kinds {
				if i>>bit&1 == 1 {
					raw[k.key] = k.value
					count /= 2
				}
			}
			d := query(t, raw)
			d.Poll(t, client(t, s), now)
			st := d.State(t, now, now)
			got := subjects(st)
			numbers := make([]string, len(got))
			for j, subject := range got {
				numbers[j] = subject[len(subject)-2:]
			}
			if st.Values["matching"] != count || len(got) != count || !slices.IsSortedFunc(numbers, func(a, b string) int { return strings.Compare(b, a) }) {
				t.Errorf("%v: %d matching, %d listed, want %d, newest first: %q", raw, st.Values["matching"], len(got), count, numbers)
			}
		}
		d := query(t, map[string]any{"subject_is": "ANN'S BILL 16"})
		d.Poll(t, client(t, s), now)
		if st := d.State(t, now, now); st.Values["matching"] != 1 {
			t.Errorf("subject_is: %v", st.Values)
		}
	})
}

// A text is read once for each version of a mail.
func TestTextsAreReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		for i := range 60 {
			s.DeliverMail(simulator.Adele, simulator.Mail{Subject: fmt.Sprint(i), Body: map[bool]string{true: "needle", false: "hay"}[i%2 == 0], Received: time.Now().Add(time.Duration(i) * time.Second)})
		}
		d, g := query(t, map[string]any{"body_contains": "needle", "max_scan": 40}), client(t, s)
		poll := func() int {
			s.ForgetRequests()
			d.Poll(t, g, time.Now())
			return len(s.Requests())
		}
		if n := poll(); n != 5 {
			t.Errorf("%d requests, want the folder, the question for changes, the list and 2 pages of texts", n)
		}
		if st := d.State(t, time.Now(), time.Now()); st.Values["matching"] != 20 || st.Attributes["matching_complete"] != false {
			t.Errorf("got %v, %v", st.Values, st.Attributes)
		}
		time.Sleep(time.Hour)
		deliver(s, "new")
		if n := poll(); n != 4 {
			t.Errorf("%d requests, want the question for changes, the folder, the list and 1 text", n)
		}
	})
}

// Sensors of one folder share their requests.
func TestRequestsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		deliver(s, "a")
		g := client(t, s)
		ds := []*driver{email(t, nil), email(t, map[string]any{"is_unread": true}), query(t, map[string]any{"importance": "high"})}
		poll := func() int {
			time.Sleep(30 * time.Second)
			s.ForgetRequests()
			var all sync.WaitGroup
			for _, d := range ds {
				all.Go(func() { d.Poll(t, g, time.Now()) })
			}
			all.Wait()
			return len(s.Requests())
		}
		if n := poll(); n != 5 {
			t.Errorf("%d requests at first, want the folder, the question for changes and 3 lists", n)
		}
		if n := poll(); n != 1 {
			t.Errorf("%d requests of an idle folder", n)
		}
		s.ExpireDeltaTokens()
		poll()
		if n := poll(); n != 1 {
			t.Errorf("%d requests after a new synchronization", n)
		}
	})
}

// Each sensor asks for exactly what it needs: without it, Graph refuses.
func TestPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		s.AddUser(simulator.User{Address: info, Name: "Info"})
		s.SetMailboxRights(info, simulator.Adele, simulator.MailboxRights{FullAccess: true})
		s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "a", Attachments: []simulator.Attachment{{Name: "a.txt", Content: []byte("a")}}})
		s.DeliverMail(info, simulator.Mail{Subject: "a"})
		details := map[string]any{"show_body": true, "download_attachments": true}
		for _, tt := range []struct {
			name   string
			d      func() *driver
			want   string
			others []string // none of which will do
		}{
			{"email", func() *driver { return email(t, details) }, "Mail.Read", []string{"Mail.ReadBasic", "Mail.Send"}},
			{"basic", func() *driver { return email(t, map[string]any{"basic": true}) }, "Mail.ReadBasic", []string{"Mail.Send", "User.Read"}},
			{"shared", func() *driver { return email(t, map[string]any{"shared_mailbox": info}) }, "Mail.Read.Shared", []string{"Mail.Read", "Mail.ReadWrite", "Mail.Send.Shared"}},
			{"query", func() *driver { return query(t, map[string]any{"body_contains": "x"}) }, "Mail.Read", []string{"Mail.Send"}}, // with Mail.ReadBasic, Graph leaves the text out
		} {
			d := tt.d()
			if diff := cmp.Diff([]string{tt.want}, graph.Scopes(d.Source.Permissions())); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
			d.Poll(t, graphtest.Client(t, s, simulator.Adele, tt.want), time.Now())
			for _, e := range d.Snapshot.Messages {
				if e.Unreadable {
					t.Errorf("%s: something could not be read with %s", tt.name, tt.want)
				}
			}
			for _, scope := range tt.others {
				d := tt.d()
				if _, err := d.TryPoll(t, graphtest.Client(t, s, simulator.Adele, scope), time.Now()); err == nil && !slices.ContainsFunc(d.Snapshot.Messages, func(e mail.Entry) bool { return e.Body != nil && *e.Body == "" }) {
					t.Errorf("%s: Graph does not refuse %s", tt.name, scope)
				}
			}
		}
	})
}

func TestSharedMailboxExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		s.AddUser(simulator.User{Address: info, Name: "Info"})
		for address, want := range map[string]string{
			info:                 "read the folder: you have no access to the mailbox info@contoso.com (Graph answered 403 ErrorAccessDenied)",
			"nobody@contoso.com": "read the folder: there is no mailbox nobody@contoso.com (Graph answered 404 ",
		} {
			_, err := email(t, map[string]any{"shared_mailbox": address}).TryPoll(t, client(t, s), time.Now())
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", address, err, want)
			}
		}
	})
}

func TestDetails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		var to []string
		for i := range 500 {
			to = append(to, fmt.Sprintf("user%03d@contoso.com", i))
		}
		word := `<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><style>` + strings.Repeat("p.MsoNormal{margin:0}", 5200) + `</style></head><body lang="DE"><p class="MsoNormal"><span style="mso-fareast-language:EN-US">Guten Tag<o:p></o:p></span></p><script>alert(1)</script></body></html>`
		s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Word", To: to, HTML: true, Body: word})
		s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "👋 שלום", To: []string{}, Body: "שלום 👋\r\nb"})
		s.DeliverMail(simulator.Adele, simulator.Mail{Null: []string{"subject", "from", "sender", "body"}})
		s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "files", Attachments: []simulator.Attachment{
			{Name: "big.bin", Size: 40 << 20, ContentType: "application/octet-stream"},
			{Kind: "item", Name: "mail", Item: &simulator.Mail{Subject: "inner"}}, {Kind: "reference", Name: "link", SourceURL: "https://contoso.com"},
		}})
		now := time.Now()
		for raw, want := range map[string]string{"show_body": "Guten Tag", "html_body": "<p>Guten Tag</p>"} {
			d := email(t, map[string]any{raw: true, "download_attachments": true})
			d.Poll(t, client(t, s), now)
			bodies, counts := map[string]any{}, map[string]int{}
			var kinds []string
			for _, i := range d.State(t, now, now).Items {
				b, err := json.Marshal(i)
				if err != nil {
					t.Fatal(err)
				}
				var item struct {
					Subject     string
					Body        any
					To          []string
					Info        []struct{ Kind string } `json:"attachment_info"`
					Unreadable_ bool                    `json:"unreadable"`
				}
				if err := json.Unmarshal(b, &item); err != nil {
					t.Fatal(err)
				}
				bodies[item.Subject], counts[item.Subject] = item.Body, len(item.To)
				for _, a := range item.Info {
					kinds = append(kinds, a.Kind)
				}
				if item.Unreadable_ {
					t.Errorf("%s is unreadable", item.Subject)
				}
			}
			if bodies["Word"] != want || counts["Word"] != 500 || counts["👋 שלום"] != 0 || !strings.HasPrefix(fmt.Sprint(bodies["👋 שלום"]), "שלום 👋") || bodies[""] != "" || !slices.Equal(kinds, []string{"file", "item", "reference"}) {
				t.Errorf("%s: got %q, %v, %v", raw, bodies, counts, kinds)
			}
		}
	})
}

func TestBadOptions(t *testing.T) {
	for _, tt := range []struct {
		raw  map[string]any
		want string
	}{
		{map[string]any{"folder": "a//b"}, `folder: want names of folders with / between them, such as Inbox/Bills, not "a//b"`},
		{map[string]any{"folder": ""}, `folder: want names of folders with / between them, such as Inbox/Bills, not ""`},
		{map[string]any{"max_items": 0}, `max_items: want at least 1, not 0`},
		{map[string]any{"max_items": 101}, `max_items: want at most 100, not 101`},
		{map[string]any{"basic": true, "shared_mailbox": info}, `basic: not with shared_mailbox: Microsoft has no such permission`},
		{map[string]any{"basic": true, "show_body": true}, `basic: not with show_body: Mail.ReadBasic does not give that`},
		{map[string]any{"basic": true, "html_body": true}, `basic: not with html_body: Mail.ReadBasic does not give that`},
		{map[string]any{"basic": true, "download_attachments": true}, `basic: not with download_attachments: Mail.ReadBasic does not give that`},
		{map[string]any{"basic": true, "body_contains": "x"}, `basic: not with body_contains: Mail.ReadBasic does not give that`},
		{map[string]any{"subject_is": "x", "subject_contains": "x"}, `subject_is: not with subject_contains`},
		{map[string]any{"from": "ann"}, `from: want an address, such as ann@contoso.com, not "ann"`},
		{map[string]any{"importance": "medium"}, `importance: want one of low, normal, high, not "medium"`},
	} {
		q := mail.Filter().New().Options().(*mail.Query)
		if err := schema.Decode(q, tt.raw); err == nil || err.Error() != tt.want {
			t.Errorf("%v: got %v, want %s", tt.raw, err, tt.want)
		}
	}
}
