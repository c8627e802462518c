package bridge_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/web/receiver"
)

// The reference account: what the users of the O365 and MS365 integrations for Home Assistant have. MS365 was measured with the same
// account; of its three mail sensors two show bodies and attachments, which its form suggests.
const (
	referenceGroup = "project@contoso.example"
	referenceLists = "Shopping,Work,Garden" // beside the default list
	unreadFile     = 3 << 20                // bytes of a file in an unread mail
)

// referenceSensors returns the sensors of the reference account, at the intervals of the integrations or at the default ones.
func referenceSensors(peerIntervals bool) string {
	text := `      calendar: {type: calendar}
      family: {type: calendar, calendar: Family}
      projects: {type: calendar, calendar: Projects}
      team: {type: group_calendar, group: ` + referenceGroup + `}
      inbox: {type: email}
      unread: {type: email, is_unread: true, show_body: true, download_attachments: true}
      bills: {type: query, subject_contains: Mail, show_body: true, download_attachments: true}
      presence: {type: status, enable_update: $UPDATES}
      chats: {type: chat$HALF}
      tasks: {type: todo, list: Tasks$HALF}
`
	for list := range strings.SplitSeq(referenceLists, ",") {
		text += "      " + strings.ToLower(list) + ": {type: todo, list: " + list + "$HALF}\n"
	}
	text += "      out_of_office: {type: auto_reply$HALF}\n"
	interval := ""
	if peerIntervals {
		interval = ", interval: 30s" // the other ones are the same
	}
	return strings.ReplaceAll(text, "$HALF", interval)
}

// fillReference fills Adele's account, of which nothing changes by itself within some hours.
func fillReference(s *simulator.Simulator) {
	now := time.Now()
	s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	s.AddUser(simulator.User{Address: simulator.Alex, Name: "Alex Wilber"})
	s.AddCalendar(simulator.Adele, "Family")
	s.AddCalendar(simulator.Adele, "Projects")
	s.AddGroup(simulator.Group{Name: "Project", Address: referenceGroup, Members: []string{simulator.Adele, simulator.Megan}})
	for i := range 10 {
		start := now.Add(6*time.Hour + time.Duration(i)*time.Hour)
		e := simulator.Event{Subject: fmt.Sprint("Meeting ", i), Start: start, End: start.Add(time.Hour), Body: "<p>" + strings.Repeat("agenda ", 40) + "</p>"}
		for _, calendar := range []string{"", "Family", "Projects"} {
			s.AddEvent(simulator.Adele, calendar, e)
		}
		s.AddEvent(referenceGroup, "", e)
	}
	const mails, unread, withFiles = 200, 20, 21
	for i := range mails {
		m := simulator.Mail{
			Subject: fmt.Sprint("Mail ", i), HTML: true, Body: "<p>" + strings.Repeat("lorem ipsum ", 200) + "</p>",
			Received: now.Add(-time.Duration(i+1) * time.Hour), Read: i >= unread,
		}
		if i < withFiles {
			content := make([]byte, 30_000)
			_, _ = rand.Read(content) // never fails
			m.Attachments = []simulator.Attachment{{Name: "photo.jpg", ContentType: "image/jpeg", Content: content}}
		}
		if i == 0 {
			m.Attachments[0].Content = make([]byte, unreadFile)
		}
		s.DeliverMail(simulator.Adele, m)
	}
	for i := range 20 {
		c := simulator.Chat{Topic: fmt.Sprint("Project ", i), Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}}
		if i < 12 {
			address := fmt.Sprintf("colleague%d@contoso.example", i)
			s.AddUser(simulator.User{Address: address, Name: fmt.Sprint("Colleague ", i)})
			c = simulator.Chat{Members: []string{simulator.Adele, address}}
		}
		id := s.AddChat(c).ID
		for n := range 10 {
			s.PostChatMessage(id, simulator.ChatMessage{From: c.Members[1], HTML: true, Body: fmt.Sprintf("<p>Message %d of chat %d: %s</p>", n, i, strings.Repeat("lorem ipsum ", 12))})
		}
	}
	for name := range strings.SplitSeq("Tasks,"+referenceLists, ",") {
		if name != "Tasks" {
			s.AddTodoList(simulator.Adele, name)
		}
		for i := range 40 {
			task := simulator.Task{Title: fmt.Sprintf("Task %d of %s", i, name), Body: "Do not forget it.", Due: now.UTC().Truncate(24*time.Hour).AddDate(0, 0, i)}
			if i >= 30 {
				task.Status = "completed"
			}
			s.AddTask(simulator.Adele, name, task)
		}
	}
}

// The parts of the reference account.
const (
	calendarPart  = "calendars"
	mailPart      = "mail"
	presencePart  = "presence"
	chatPart      = "chats"
	todoPart      = "to-do lists"
	autoReplyPart = "automatic replies"
)

// partOf returns the part of the account that a request is about.
func partOf(path string) string {
	for _, p := range [][2]string{
		{"/mailboxSettings", autoReplyPart}, {"/mailFolders", mailPart}, {"/messages", mailPart}, {"/todo/", todoPart}, {"/chats", chatPart}, {"/presence", presencePart},
		{"/calendar", calendarPart}, {"/events", calendarPart}, {"/groups", calendarPart},
	} {
		if strings.Contains(path, p[0]) {
			return p[1]
		}
	}
	return path
}

// A cost has the requests and the bytes of a minute of an idle account.
type cost struct{ requests, bytes float64 }

// peerCosts returns the costs of MS365, as far as its parts were measured. The unread file makes them 6.2 MB.
func peerCosts(updates bool) map[string]cost {
	all := cost{30, 172_624}
	if updates { // it reads the members of the chats at every poll
		all.requests = 52
	}
	return map[string]cost{calendarPart: {4, 13_994}, mailPart: {12, 136_736}, todoPart: {8, 16_628}, "all": all}
}

// measureReference returns the costs of the parts of the idle reference account, in the bubble of a test, and what was published and
// written in that time.
func measureReference(t *testing.T, peerIntervals, updates, notifications bool) (costs map[string]cost, published map[string]int, commits uint64) {
	t.Helper()
	var mu sync.Mutex
	counting := false
	costs = map[string]cost{}
	var notify atomic.Pointer[runtime.Runtime]
	s := simulator.Contoso(simulator.Options{Notify: roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		receiver.New(receiver.Options{Notify: notify.Load().Notify, Log: testLogger(t)}).ServeHTTP(w, r)
		return w.Result(), nil
	})})
	t.Cleanup(s.StopNotifications)
	fillReference(s)
	var o *runtime.NotificationOptions
	if notifications {
		o = &runtime.NotificationOptions{URL: webhook, Safety: safety}
	}
	f := startFleet(t, fleetSetup{
		accounts: 1, more: fmt.Sprintf("    enable_update: %t\n", updates), sensors: strings.ReplaceAll(referenceSensors(peerIntervals), "$UPDATES", fmt.Sprint(updates)),
		simulator: s, notifications: o, onRuntime: notify.Store,
		transport: func(next http.RoundTripper) http.RoundTripper {
			c := graphtest.NewCounter(next)
			c.OnAnswer = func(r *http.Request, bytes int) {
				mu.Lock()
				defer mu.Unlock()
				if counting {
					part := costs[partOf(r.URL.Path)]
					costs[partOf(r.URL.Path)] = cost{part.requests + 1, part.bytes + float64(bytes)}
				}
			}
			return c
		},
	})
	count := func(on bool) {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		counting = on
	}
	sensors := strings.Count(referenceSensors(peerIntervals), "\n")
	time.Sleep(15 * time.Minute)
	count(true)
	if n := f.Published.holding("availability", "online"); n != sensors {
		t.Fatalf("%d sensors are online, want %d", n, sensors)
	}
	before := f.Database.Stats().Commits
	f.Published.TakeChanges()
	const minutes = 30 // everything that is read at times is read as often as on average
	time.Sleep(minutes * time.Minute)
	count(false)
	var all cost
	for part, c := range costs {
		costs[part] = cost{c.requests / minutes, c.bytes / minutes}
		all = cost{all.requests + c.requests/minutes, all.bytes + c.bytes/minutes}
	}
	costs["all"] = all
	return costs, f.Published.TakeChanges(), f.Database.Stats().Commits - before
}

// referenceTable returns the costs beside those of MS365.
func referenceTable(costs map[string]cost, updates bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s %15s %12s %15s %12s\n", "a minute of", "requests", "bytes", "MS365 requests", "MS365 bytes")
	parts := slices.DeleteFunc(slices.Sorted(maps.Keys(costs)), func(part string) bool { return part == "all" })
	for _, part := range append(parts, "all") {
		peer := [2]string{"", ""}
		if c, ok := peerCosts(updates)[part]; ok {
			peer = [2]string{fmt.Sprint(c.requests), fmt.Sprint(c.bytes)}
		}
		fmt.Fprintf(&b, "%-20s %15.1f %12.0f %15s %12s\n", part, costs[part].requests, costs[part].bytes, peer[0], peer[1])
	}
	return b.String()
}

// The idle reference account costs less than half of what the integrations cost, publishes nothing and writes nothing.
func TestReferenceAccount(t *testing.T) {
	t.Parallel()
	for _, peerIntervals := range []bool{true, false} {
		for _, updates := range []bool{false, true} {
			t.Run(fmt.Sprintf("peer intervals %t, updates %t", peerIntervals, updates), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					costs, published, commits := measureReference(t, peerIntervals, updates, false)
					t.Logf("\n%s", referenceTable(costs, updates))
					most := 20.0
					if peerIntervals {
						most = 26
					}
					if got := costs["all"].requests; got > most {
						t.Errorf("%.1f requests a minute, want at most %.0f", got, most)
					}
					if got := costs["all"].bytes; got > 17_000 {
						t.Errorf("%.0f bytes a minute, want at most 17,000", got)
					}
					if got := costs[mailPart].requests; got > 3 {
						t.Errorf("%.1f requests a minute of mail, want at most 3: sensors of the same folder ask together", got)
					}
					parts := slices.Sorted(maps.Keys(costs))
					if want := []string{"all", autoReplyPart, calendarPart, chatPart, mailPart, presencePart, todoPart}; !slices.Equal(parts, want) {
						t.Errorf("requests of %q, want of %q", parts, want)
					}
					maps.DeleteFunc(published, func(topic string, n int) bool {
						return topic == "graph2mqtt/a000/status" || topic == "graph2mqtt/a000/state" // of the account
					})
					if len(published) > 0 {
						t.Errorf("idle polls published %v", published)
					}
					if commits > 0 {
						t.Errorf("%d commits", commits)
					}
				})
			})
		}
	}
}

// With notifications the calendars, mails and tasks that are announced cost a small part of that, and nothing more is written.
func TestReferenceAccountWithNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		without, _, _ := measureReference(t, false, false, false)
		costs, published, commits := measureReference(t, false, false, true)
		t.Logf("without notifications\n%s\nwith notifications\n%s", referenceTable(without, false), referenceTable(costs, false))
		for part, most := range map[string]float64{mailPart: 0.6, todoPart: 0.7, "all": without["all"].requests - 4} {
			if got := costs[part].requests; got > most {
				t.Errorf("%.1f requests a minute of %s, want at most %.1f", got, part, most)
			}
		}
		maps.DeleteFunc(published, func(topic string, n int) bool {
			return topic == "graph2mqtt/a000/status" || topic == "graph2mqtt/a000/state"
		})
		if len(published) > 0 {
			t.Errorf("idle polls published %v", published)
		}
		if commits > 0 {
			t.Errorf("%d commits", commits)
		}
	})
}

// BenchmarkReferenceAccount measures a minute of the idle reference account beside the MS365 integration for Home Assistant, and prints
// the table of its parts with -v.
func BenchmarkReferenceAccount(b *testing.B) {
	for _, notifications := range []bool{false, true} {
		for i := range 4 {
			peerIntervals, updates := i < 2, i%2 == 1
			b.Run(fmt.Sprintf("peerIntervals=%t,updates=%t,notifications=%t", peerIntervals, updates, notifications), func(b *testing.B) {
				var costs map[string]cost
				for b.Loop() {
					// Only a test has a clock of its own.
					ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { costs, _, _ = measureReference(t, peerIntervals, updates, notifications) })
					}}})
					if !ok {
						b.Fatal("the account could not be measured")
					}
				}
				b.Logf("\n%s", referenceTable(costs, updates))
				b.ReportMetric(costs["all"].requests, "requests/min")
				b.ReportMetric(costs["all"].bytes, "bytes/min")
				b.ReportMetric(peerCosts(updates)["all"].requests, "MS365-requests/min")
				b.ReportMetric(peerCosts(updates)["all"].bytes, "MS365-bytes/min")
			})
		}
	}
}
