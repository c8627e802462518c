package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/chat"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	"github.com/graph2mqtt/graph2mqtt/services"
	chatops "github.com/graph2mqtt/graph2mqtt/services/chat"
)

type (
	snapshot = chat.Snapshot
	driver   = sensorstest.Driver[snapshot]
)

// contoso returns a simulator with colleagues, without chats and teams. Its clock is that of the bubble.
func contoso(t testing.TB) *simulator.Simulator {
	t.Helper()
	s := simulator.Contoso(simulator.Options{Now: time.Now})
	for _, u := range []simulator.User{{Address: simulator.Megan, Name: "Megan Bowen"}, {Address: simulator.Alex, Name: "Alex Wilber"}} {
		s.AddUser(u)
	}
	return s
}

func source(t testing.TB, raw map[string]any) *driver {
	t.Helper()
	o := chat.ChatKind().New().Options().(*chat.Options)
	sensorstest.Decode(t, o, raw)
	return sensorstest.Of(o)
}

func reader(t testing.TB, s *simulator.Simulator) *graph.Client {
	return graphtest.Client(t, s, simulator.Adele, "User.Read", "Chat.Read")
}

// group adds a group chat with a message of Alex's.
func group(s *simulator.Simulator, topic string) string {
	c := s.AddChat(simulator.Chat{Topic: topic, Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}})
	post(s, c.ID, simulator.Alex, "first in "+topic)
	return c.ID
}

func post(s *simulator.Simulator, id, from, body string) simulator.ChatMessage {
	return s.PostChatMessage(id, simulator.ChatMessage{From: from, Body: body})
}

// told returns events as "type preview".
func told(events []entity.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %v", e.Type, e.Data["preview"]))
	}
	return out
}

func expect(t testing.TB, what string, events []entity.Event, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, told(events)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func values(t testing.TB, d *driver, want map[string]any) {
	t.Helper()
	st := d.State(t, time.Now(), time.Now())
	for k, v := range want {
		if got := st.Values[k]; got != v {
			t.Errorf("%s: got %v, want %v", k, got, v)
		}
	}
}

// names returns topics or members of the chats in the list.
func names(st entity.State) []string {
	var out []string
	for _, i := range st.Items {
		item := i.(map[string]any)
		if topic := item["topic"]; topic != nil {
			out = append(out, topic.(string))
		} else {
			out = append(out, fmt.Sprint(item["members"]))
		}
	}
	return out
}

func TestMessagesBetweenTwoPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		lunch, other := group(s, "Lunch"), group(s, "Other")
		g, d := reader(t, s), source(t, nil)
		expect(t, "first poll", d.Poll(t, g, time.Now()))
		time.Sleep(time.Minute)
		expect(t, "idle", d.Poll(t, g, time.Now()))
		for _, body := range []string{"one", "two", "three"} {
			time.Sleep(time.Second)
			post(s, lunch, simulator.Megan, body)
		}
		post(s, other, simulator.Adele, "mine")
		s.ForgetRequests()
		expect(t, "three messages", d.Poll(t, g, time.Now()), "message_received one", "message_received two", "message_received three")
		if n := len(s.Requests()); n != 3 {
			t.Errorf("%d requests, want the page and the messages of two chats", n)
		}
		values(t, d, map[string]any{"latest": "mine", "latest_from": "Adele Vance", "unread": 1})
		expect(t, "once", d.Poll(t, g, time.Now()))
		d.Restart(t)
		expect(t, "after a restart", d.Poll(t, g, time.Now()))

		// What is not a message of somebody else fires no event.
		first := s.ChatMessages(lunch)[0]
		time.Sleep(time.Second)
		s.EditChatMessage(lunch, first.ID, "edited")
		s.DeleteChatMessage(lunch, s.ChatMessages(lunch)[1].ID)
		s.PostChatMessage(lunch, simulator.ChatMessage{Type: "systemEventMessage"})
		post(s, lunch, simulator.Adele, "mine again")
		deleted := post(s, lunch, simulator.Megan, "regretted")
		s.DeleteChatMessage(lunch, deleted.ID)
		expect(t, "no messages", d.Poll(t, g, time.Now()))
		values(t, d, map[string]any{"latest": "mine again"})

		// Many messages take several pages.
		for i := range 120 {
			post(s, lunch, simulator.Alex, fmt.Sprint(i))
		}
		events := d.Poll(t, g, time.Now())
		if len(events) != 120 || events[0].Data["preview"] != "0" || events[119].Data["preview"] != "119" {
			t.Errorf("%d events", len(events))
		}
		// A chat that is new begins with its first message.
		time.Sleep(time.Minute)
		group(s, "New")
		expect(t, "a new chat", d.Poll(t, g, time.Now()), "message_received first in New")
	})
}

// The history of a chat that I am added to is not new.
func TestAddedToAChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		group(s, "Lunch")
		empty := s.AddChat(simulator.Chat{Topic: "Empty", Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}}).ID
		old := s.AddChat(simulator.Chat{Topic: "Project", Members: []string{simulator.Megan, simulator.Alex}}).ID
		g, d := reader(t, s), source(t, nil)
		for i := range 10 {
			expect(t, "poll", d.Poll(t, g, time.Now()))
			time.Sleep(time.Hour)
			post(s, old, simulator.Megan, fmt.Sprint(i))
			time.Sleep(10 * time.Minute)
		}
		expect(t, "poll", d.Poll(t, g, time.Now()))
		time.Sleep(time.Minute)
		s.ChangeChat(old, func(c *simulator.Chat) { c.Members = append(c.Members, simulator.Adele) })
		post(s, old, simulator.Megan, "Welcome")
		post(s, empty, simulator.Alex, "first")
		expect(t, "added", d.Poll(t, g, time.Now()), "message_received Welcome", "message_received first")
	})
}

// Nothing is lost while Graph fails.
func TestEventsSurviveFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		lunch := group(s, "Lunch")
		g, d := reader(t, s), source(t, nil)
		d.Poll(t, g, time.Now())
		time.Sleep(time.Minute)
		post(s, lunch, simulator.Megan, "one")
		for _, f := range []simulator.Fault{
			{Path: "/v1.0/me/chats", Status: 503}, {Path: "/v1.0/chats/", Status: 504}, {Path: "/v1.0/chats/", Reset: true}, {Path: "/v1.0/me/chats", Body: new("{}")},
		} {
			s.Fail(f)
			if events, err := d.TryPoll(t, g, time.Now()); err == nil {
				t.Errorf("%+v: got %v and no error", f, told(events))
			}
			time.Sleep(10 * time.Minute)
		}
		expect(t, "later", d.Poll(t, g, time.Now()), "message_received one")
	})
}

func TestNewestMessageByItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		now := time.Now()
		old := s.AddChat(simulator.Chat{Topic: "Old", Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}, Updated: now.AddDate(-1, 0, 0)})
		fresh := s.AddChat(simulator.Chat{Topic: "Fresh", Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}, Updated: now})
		s.PostChatMessage(fresh.ID, simulator.ChatMessage{From: simulator.Alex, Body: "yesterday", Created: now.Add(-24 * time.Hour)})
		s.PostChatMessage(old.ID, simulator.ChatMessage{From: simulator.Megan, Body: "today", Created: now.Add(-time.Hour), Importance: "urgent", Subject: "Now"})
		d := source(t, nil)
		d.Poll(t, reader(t, s), now)
		st := d.State(t, now, now)
		if st.Values["latest"] != "today" || st.Attributes["chat_id"] != old.ID || st.Attributes["importance"] != "urgent" || st.Attributes["subject"] != "Now" {
			t.Errorf("got %v, %v", st.Values, st.Attributes)
		}
		if diff := cmp.Diff([]string{"Old", "Fresh"}, names(st)); diff != "" {
			t.Error(diff)
		}
		if got := st.Values["latest_received"]; got != now.Add(-time.Hour).Truncate(time.Millisecond) {
			t.Errorf("received %v", got)
		}
	})
}

func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		now := time.Now()
		for _, c := range []struct {
			topic string
			from  string
			view  simulator.Viewpoint
		}{
			{"null", simulator.Megan, simulator.Viewpoint{Null: true}},
			{"year 1", simulator.Megan, simulator.Viewpoint{}},
			{"read", simulator.Megan, simulator.Viewpoint{Read: now.Add(time.Second)}},
			{"since", simulator.Megan, simulator.Viewpoint{Read: now.Add(-time.Second)}},
			{"own", simulator.Adele, simulator.Viewpoint{}},
			{"hidden", simulator.Megan, simulator.Viewpoint{Hidden: true}},
		} {
			id := s.AddChat(simulator.Chat{Topic: c.topic, Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}}).ID
			post(s, id, c.from, "x")
			s.SetViewpoint(simulator.Adele, id, c.view)
		}
		g := reader(t, s)
		d := source(t, nil)
		d.Poll(t, g, now)
		values(t, d, map[string]any{"unread": 3})
		if st := d.State(t, now, now); st.Attributes["unread_complete"] != true || slices.Contains(names(st), "hidden") {
			t.Errorf("got %v, %v", st.Attributes, names(st))
		}
		d = source(t, map[string]any{"include_hidden": true})
		d.Poll(t, g, now)
		values(t, d, map[string]any{"unread": 4})
	})
}

// The senders and types of messages that Teams has.
func TestSendersAndTypes(t *testing.T) {
	identity := func(kind string, fields map[string]any) map[string]any {
		from := map[string]any{"application": nil, "device": nil, "user": nil}
		from[kind] = fields
		return from
	}
	for _, tt := range []struct {
		name    string
		message simulator.ChatMessage
		from    any
		latest  any
		event   bool
	}{
		{"user", simulator.ChatMessage{From: simulator.Megan, Body: "a < b"}, "Megan Bowen", "a < b", true},
		{"HTML", simulator.ChatMessage{From: simulator.Megan, HTML: true, Body: `<p>a &lt; <b>b</b></p><p><emoji alt="🙂"></emoji></p>`}, "Megan Bowen", "a < b 🙂", true},
		{"me", simulator.ChatMessage{From: simulator.Adele, Body: "x"}, "Adele Vance", "x", false},
		{"bot", simulator.ChatMessage{Sender: identity("application", map[string]any{"id": "1", "displayName": "talla", "applicationIdentityType": "bot"}), Body: "x"}, "talla", "x", true},
		{"bot with my id", simulator.ChatMessage{Sender: identity("application", map[string]any{"id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "displayName": "talla"}), Body: "x"}, "talla", "x", true},
		{"device", simulator.ChatMessage{Sender: identity("device", map[string]any{"id": "1", "displayName": "Room"}), Body: "x"}, "Room", "x", true},
		{"federated", simulator.ChatMessage{Sender: identity("user", map[string]any{"id": "2", "displayName": nil, "userIdentityType": "federatedUser"}), Body: "x"}, "Pat of Fabrikam", "x", true},
		{"deleted user", simulator.ChatMessage{Sender: identity("user", map[string]any{"id": "3", "displayName": nil}), Body: "x"}, nil, "x", true},
		{"nobody", simulator.ChatMessage{Body: "x"}, nil, "x", true},
		{"empty from", simulator.ChatMessage{Sender: map[string]any{}, Body: "x"}, nil, "x", true},
		{"picture", simulator.ChatMessage{From: simulator.Megan, HTML: true, Body: `<p><img src="https://x.example/a.png"></p>`}, "Megan Bowen", "(no text)", true},
		{"card with a subject", simulator.ChatMessage{From: simulator.Megan, HTML: true, Body: `<attachment id="1"></attachment>`, Subject: "Card"}, "Megan Bowen", "Card", true},
		{"system", simulator.ChatMessage{Type: "systemEventMessage"}, "Alex Wilber", "before", false},
		{"unknown type", simulator.ChatMessage{Type: "unknownFutureValue"}, "Alex Wilber", "before", false},
		{"chat event", simulator.ChatMessage{Type: "chatEvent"}, "Alex Wilber", "before", false},
		{"typing", simulator.ChatMessage{From: simulator.Megan, Type: "typing"}, "Alex Wilber", "before", false},
		{"deleted", simulator.ChatMessage{From: simulator.Megan, Deleted: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, "Alex Wilber", "before", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := contoso(t)
				id := s.AddChat(simulator.Chat{Topic: "x", Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}, Guests: []simulator.ChatMember{{UserID: "2", Name: "Pat of Fabrikam"}, {UserID: "3"}}}).ID
				post(s, id, simulator.Alex, "before")
				g, known := reader(t, s), source(t, nil)
				known.Poll(t, g, time.Now())
				time.Sleep(time.Minute)
				s.PostChatMessage(id, tt.message)
				events := known.Poll(t, g, time.Now())
				if (len(events) == 1) != tt.event {
					t.Errorf("events %v", told(events))
				}
				first := source(t, nil) // which has not seen the message before
				first.Poll(t, g, time.Now())
				for what, d := range map[string]*driver{"known": known, "first": first} {
					st := d.State(t, time.Now(), time.Now())
					if st.Values["latest_from"] != tt.from || st.Values["latest"] != tt.latest {
						t.Errorf("%s: got %v from %v, want %v from %v", what, st.Values["latest"], st.Values["latest_from"], tt.latest, tt.from)
					}
				}
			})
		})
	}
}

func TestMentions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		s.AddUser(simulator.User{Address: "adele2@contoso.example", Name: "Adele Vance"})
		id := group(s, "Lunch")
		g, d := reader(t, s), source(t, nil)
		d.Poll(t, g, time.Now())
		for _, tt := range []struct {
			name     string
			mentions []simulator.ChatMention
			want     []string
			me, all  bool
		}{
			{"me", []simulator.ChatMention{{Address: simulator.Adele, Name: "Adele"}}, []string{"message_received hi", "mention_received hi"}, true, false},
			{"everybody", []simulator.ChatMention{{Everyone: "chat", Name: "Everyone"}}, []string{"message_received hi", "mention_received hi"}, false, true},
			{"somebody with my name", []simulator.ChatMention{{Address: "adele2@contoso.example", Name: "Adele Vance"}}, []string{"message_received hi"}, false, false},
			{"both", []simulator.ChatMention{{Everyone: "chat", Name: "Everyone"}, {Address: simulator.Adele, Name: "Adele Vance"}}, []string{"message_received hi", "mention_received hi"}, true, true},
			{"nobody", nil, []string{"message_received hi"}, false, false},
		} {
			time.Sleep(time.Minute)
			s.PostChatMessage(id, simulator.ChatMessage{From: simulator.Megan, Body: "hi", Mentions: tt.mentions})
			events := d.Poll(t, g, time.Now())
			expect(t, tt.name, events, tt.want...)
			if len(events) > 0 && (events[0].Data["mentions_me"] != tt.me || events[0].Data["mentions_everyone"] != tt.all) {
				t.Errorf("%s: got %v", tt.name, events[0].Data)
			}
		}
	})
}

func TestManyChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		now := time.Now()
		var ids []string
		for i := range 120 {
			c := s.AddChat(simulator.Chat{Topic: fmt.Sprintf("Chat %d", i), Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}})
			ids = append(ids, c.ID)
			s.PostChatMessage(c.ID, simulator.ChatMessage{From: simulator.Megan, Body: fmt.Sprint(i), Created: now.Add(-time.Duration(i+1) * time.Hour)})
		}
		g := reader(t, s)
		all, byName, byID := source(t, nil), source(t, map[string]any{"chats": []any{"Chat 119"}}), source(t, map[string]any{"chats": []any{ids[119], ids[0]}})
		all.Poll(t, g, now)
		st := all.State(t, now, now)
		if st.Values["unread"] != 50 || st.Attributes["unread_complete"] != false || len(st.Items) != 20 || st.Values["latest"] != "0" {
			t.Errorf("got %v, %v, %d chats", st.Values, st.Attributes["unread_complete"], len(st.Items))
		}
		byName.Poll(t, g, now)
		byID.Poll(t, g, now)
		for _, d := range []*driver{byName, byID} {
			st := d.State(t, now, now)
			if want := len(d.Source.(*chat.Options).Chats); st.Values["unread"] != want || len(st.Items) != want || st.Attributes["unread_complete"] != true {
				t.Errorf("got %v, %d chats", st.Values, len(st.Items))
			}
		}
		if diff := cmp.Diff([]string{"Chat 119"}, names(byName.State(t, now, now))); diff != "" {
			t.Error(diff)
		}
		s.ForgetRequests()
		for _, d := range []*driver{all, byName, byID} {
			expect(t, "idle", d.Poll(t, g, now))
		}
		if n := len(s.Requests()); n != 3 {
			t.Errorf("%d requests for three idle polls", n)
		}
		time.Sleep(time.Minute)
		post(s, ids[119], simulator.Megan, "news")
		for _, d := range []*driver{all, byName, byID} {
			expect(t, "news", d.Poll(t, g, time.Now()), "message_received news")
		}
		values(t, byName, map[string]any{"latest": "news", "unread": 1})

		// More chats change at once than a page has.
		time.Sleep(time.Minute)
		for _, id := range ids {
			post(s, id, simulator.Alex, "all")
		}
		if events := all.Poll(t, g, time.Now()); len(events) != 120 {
			t.Errorf("%d events", len(events))
		}
	})
}

// TestConfiguredChatsBeyondThePage: of configured chats that are not on the page, one is read in a poll, and each every five minutes, so
// that it is seen that the user has read them. One that became unreadable stays as it was.
func TestConfiguredChatsBeyondThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		var ids []string
		for i := range 53 {
			id := s.AddChat(simulator.Chat{Topic: fmt.Sprint("Chat ", i), Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}}).ID
			s.PostChatMessage(id, simulator.ChatMessage{From: simulator.Megan, Body: "x", Created: time.Now().Add(-time.Duration(i+1) * time.Hour)})
			ids = append(ids, id)
		}
		g := reader(t, s)
		d := source(t, map[string]any{"chats": []any{ids[50], ids[51], ids[52]}})
		d.Poll(t, g, time.Now())
		values(t, d, map[string]any{"unread": 3})
		for _, id := range ids[50:] {
			s.SetViewpoint(simulator.Adele, id, simulator.Viewpoint{Read: time.Now()})
		}
		s.ChangeChat(ids[52], func(c *simulator.Chat) { c.Foreign = true })
		for _, want := range []int{3, 3, 3, 3, 2, 1, 1, 1} {
			time.Sleep(time.Minute)
			s.ForgetRequests()
			before := *d.Snapshot
			expect(t, "read", d.Poll(t, g, time.Now()))
			values(t, d, map[string]any{"unread": want})
			if n := len(s.Requests()); n > 2 {
				t.Errorf("%d requests", n)
			}
			if before.Chats[0].Read.Equal(d.Snapshot.Chats[0].Read) && before.Chats[1].Read.Equal(d.Snapshot.Chats[1].Read) && !d.Source.(*chat.Options).Same(&before, d.Snapshot) {
				t.Error("a poll that found nothing changes the snapshot")
			}
		}
		s.SetViewpoint(simulator.Adele, ids[51], simulator.Viewpoint{}) // marked as unread
		time.Sleep(5 * time.Minute)
		for range 3 {
			d.Poll(t, g, time.Now())
		}
		values(t, d, map[string]any{"unread": 2})
	})
}

func TestConfiguredChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		group(s, "Lunch")
		group(s, "LUNCH break")
		group(s, "Lunch break")
		one := s.AddChat(simulator.Chat{Members: []string{simulator.Adele, simulator.Megan}}).ID
		post(s, one, simulator.Megan, "private")
		for range 2 {
			group(s, "Twice")
		}
		g := reader(t, s)
		for name, want := range map[string]string{"Megan Bowen": "private", simulator.Megan: "private", "LUNCH": "first in Lunch", "LUNCH break": "first in LUNCH break", one: "private"} {
			d := source(t, map[string]any{"chats": []any{name}})
			d.Poll(t, g, time.Now())
			values(t, d, map[string]any{"latest": want, "unread": 1})
		}
		for name, want := range map[string]string{
			"lunch break":          `chats[0]: 2 chats are called "lunch break"; want the id, which graph2mqtt discover prints`,
			"Dinner":               `chats[0]: there is no chat "Dinner"; graph2mqtt discover lists all`,
			"Twice":                `chats[0]: 2 chats are called "Twice"; want the id, which graph2mqtt discover prints`,
			"19:nowhere@thread.v2": "read the chat: there is no such chat or message, or you are not in the chat (Graph answered 404 NotFound)",
		} {
			if _, err := source(t, map[string]any{"chats": []any{name}}).TryPoll(t, g, time.Now()); err == nil || err.Error() != want {
				t.Errorf("%s: got %v, want %s", name, err, want)
			}
		}
	})
}

// Chats of other tenants are listed, but refuse everything below them.
func TestForeignChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		lunch := group(s, "Lunch")
		foreign := s.AddChat(simulator.Chat{Topic: "Fabrikam", Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}, Foreign: true}).ID
		post(s, foreign, simulator.Megan, "abroad")
		silent := s.AddChat(simulator.Chat{Topic: "Silent", Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}, Foreign: true}).ID
		s.PostChatMessage(silent, simulator.ChatMessage{Type: "systemEventMessage"})
		g, d := reader(t, s), source(t, nil)
		d.Poll(t, g, time.Now())
		values(t, d, map[string]any{"latest": "abroad", "unread": 2})
		s.ForgetRequests()
		d.Poll(t, g, time.Now())
		if n := len(s.Requests()); n != 1 {
			t.Errorf("%d requests for an idle poll", n)
		}
		time.Sleep(time.Minute)
		post(s, foreign, simulator.Megan, "one")
		post(s, foreign, simulator.Megan, "two")
		post(s, lunch, simulator.Megan, "home")
		expect(t, "news", d.Poll(t, g, time.Now()), "message_received two", "message_received home")
		configured := source(t, map[string]any{"chats": []any{foreign, lunch}})
		configured.Poll(t, g, time.Now())
		values(t, configured, map[string]any{"latest": "home", "unread": 2})
	})
}

func TestMembersAreReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		lunch := group(s, "Lunch")
		g, d := reader(t, s), source(t, nil)
		members := func() int {
			n := 0
			for _, r := range s.Requests() {
				if strings.HasSuffix(r.Path, "/members") {
					n++
				}
			}
			s.ForgetRequests()
			return n
		}
		d.Poll(t, g, time.Now())
		if n := members(); n != 1 {
			t.Errorf("read %d times at first", n)
		}
		time.Sleep(time.Minute)
		post(s, lunch, simulator.Megan, "x")
		d.Poll(t, g, time.Now())
		if n := members(); n != 0 {
			t.Errorf("read %d times after a message", n)
		}
		s.ChangeChat(lunch, func(c *simulator.Chat) { c.Members, c.Topic = c.Members[:2], "Dinner" })
		d.Poll(t, g, time.Now())
		item := d.State(t, time.Now(), time.Now()).Items[0].(map[string]any)
		if n := members(); n != 1 || item["topic"] != "Dinner" || len(item["members"].([]any)) != 2 {
			t.Errorf("read %d times after a change: %v", n, item)
		}
	})
}

func TestBasic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		lunch := group(s, "Lunch")
		g, d := graphtest.Client(t, s, simulator.Adele, "User.Read", "Chat.ReadBasic"), source(t, map[string]any{"basic": true})
		d.Poll(t, g, time.Now())
		values(t, d, map[string]any{"latest": nil, "latest_from": nil, "latest_received": nil, "unread": nil})
		item := d.State(t, time.Now(), time.Now()).Items[0].(map[string]any)
		want := map[string]any{"chat_id": lunch, "chat_type": "group", "topic": "Lunch", "members": []any{"Adele Vance", "Megan Bowen", "Alex Wilber"}, "unread": nil, "web_link": item["web_link"], "last_message": nil}
		if diff := cmp.Diff(want, item); diff != "" {
			t.Error(diff)
		}
		post(s, lunch, simulator.Megan, "x")
		s.ForgetRequests()
		expect(t, "no events", d.Poll(t, g, time.Now()))
		if n := len(s.Requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
		for _, e := range d.Source.Entities() {
			if e.Platform == "event" {
				t.Error("an event entity that never fires")
			}
		}
	})
}

// Reading needs its permissions, each of them, and no other.
func TestPermissions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options map[string]any
		want    []string
	}{
		{"chat", nil, []string{"Chat.Read"}},
		{"basic", map[string]any{"basic": true}, []string{"Chat.ReadBasic"}},
	} {
		s := contoso(t)
		group(s, "Lunch")
		d := source(t, tt.options)
		got := graph.Scopes(d.Source.Permissions())
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if _, err := d.TryPoll(t, graphtest.Client(t, s, simulator.Adele, append(got, "User.Read")...), time.Now()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		lower := []string{"User.Read", "ChatMessage.Send", "Chat.Create"}
		if tt.name == "chat" {
			lower = append(lower, "Chat.ReadBasic")
		}
		if _, err := source(t, tt.options).TryPoll(t, graphtest.Client(t, s, simulator.Adele, lower...), time.Now()); !graph.Is(err, graph.PermissionMissing) {
			t.Errorf("%s without its permission: %v", tt.name, err)
		}
	}
}

func TestPersonalAccount(t *testing.T) {
	s := simulator.ContosoWithColleagues(simulator.Options{Now: time.Now})
	_, err := source(t, nil).TryPoll(t, graphtest.Client(t, s, simulator.Ann, "User.Read", "Chat.Read"), time.Now())
	if want := "a personal Microsoft account has no chats, teams and channels"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestBadOptions(t *testing.T) {
	for _, tt := range []struct {
		options map[string]any
		want    string
	}{
		{map[string]any{"max_chats": 0}, "max_chats: want at least 1, not 0"},
		{map[string]any{"max_chats": 51}, "max_chats: want at most 50, not 51"},
		{map[string]any{"chats": []any{"Lunch", "lunch"}}, "chats[1]: the same as chats[0]"},
		{map[string]any{"chats": []any{" "}}, "chats[0]: want an id or a name, not an empty text"},
		{map[string]any{"notify": map[string]any{}}, "notify.chat: want either chat or to"},
		{map[string]any{"notify": map[string]any{"chat": "Lunch"}}, `notify.chat: want the id of a chat, such as 19:…@thread.v2, not "Lunch"; graph2mqtt discover prints it`},
		{map[string]any{"notify": map[string]any{"to": []any{"ann"}}}, `notify.to[0]: want an address, such as ann@contoso.com, not "ann"`},
	} {
		o := chat.ChatKind().New().Options()
		if err := schema.Decode(o, tt.options); err == nil || err.Error() != tt.want {
			t.Errorf("%v: got %v, want %s", tt.options, err, tt.want)
		}
	}
	for _, tt := range []struct {
		options map[string]any
		want    string
	}{
		{map[string]any{}, "team is required"},
		{map[string]any{"team": "x", "channel": "a", "channels": []any{"b"}}, "channels: not with channel"},
		{map[string]any{"team": "x", "channels": []any{}}, "channels: want at least one channel"},
		{map[string]any{"team": "x", "channels": []any{"a", "A"}}, "channels[1]: the same as channels[0]"},
	} {
		o := chat.ChannelKind().New().Options()
		if err := schema.Decode(o, tt.options); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.options, err, tt.want)
		}
	}
	notifies := &chat.Options{Notify: &chat.Notify{To: []string{"ann@contoso.com"}}}
	if err := notifies.CheckSensor(false, nil); err == nil || err.Error() != "notify: only with enable_update: true" {
		t.Errorf("got %v", err)
	}
	if err := notifies.CheckSensor(true, []string{"react"}); err == nil || err.Error() != "notify: want send in allow as well" {
		t.Errorf("got %v", err)
	}
	if err := (&chat.Options{Basic: true}).CheckOnDemand(); err == nil || err.Error() != "basic: not with on_demand: Chat.ReadBasic does not give messages" {
		t.Errorf("got %v", err)
	}
}

func TestEffects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		lunch := group(s, "Lunch")
		g, d := graphtest.Client(t, s, simulator.Adele, "User.Read", "Chat.ReadWrite"), source(t, nil)
		d.Poll(t, g, time.Now())
		values(t, d, map[string]any{"unread": 1})
		expect(t, "marked", d.Apply(t, marked(t, g, "mark_read", lunch), time.Now()))
		values(t, d, map[string]any{"unread": 0})
		expect(t, "next poll", d.Poll(t, g, time.Now()))
		values(t, d, map[string]any{"unread": 0})
		d.Apply(t, marked(t, g, "mark_unread", lunch), time.Now())
		values(t, d, map[string]any{"unread": 1})
		d.Poll(t, g, time.Now())
		values(t, d, map[string]any{"unread": 1})
	})
}

// marked executes an operation that marks a chat.
func marked(t *testing.T, g *graph.Client, operation, id string) any {
	t.Helper()
	ops := chatops.Operations(false)
	op := ops[slices.IndexFunc(ops, func(op services.Operation) bool { return op.Name == operation })]
	r, err := services.Decode(op, []byte(`{"chat_id": "`+id+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.Execute(t.Context(), g, services.Attempt{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return result
}
