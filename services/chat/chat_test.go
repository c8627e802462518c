package chat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/chat"
)

const lunch = simulator.LunchChat

func contoso(t testing.TB) *simulator.Simulator {
	t.Helper()
	return simulator.ContosoWithColleagues(simulator.Options{Now: time.Now})
}

// everything are the operations of chats, and those of a channel that is given by its ids.
func everything() map[string][]services.Operation {
	return map[string][]services.Operation{
		"chat":    chat.Operations(false),
		"channel": chat.ChannelOperations(chat.Target{Team: simulator.ContosoTeam, Channels: []string{simulator.ContosoChannel}}),
	}
}

func find(t testing.TB, ops []services.Operation, name string) services.Operation {
	t.Helper()
	i := slices.IndexFunc(ops, func(op services.Operation) bool { return op.Name == name })
	if i < 0 {
		t.Fatalf("no operation %q", name)
	}
	return ops[i]
}

// call executes a request with these scopes, or with those of its operation.
func call(t testing.TB, s *simulator.Simulator, op services.Operation, request string, scopes ...string) (any, error) {
	t.Helper()
	if scopes == nil {
		scopes = append(graph.Scopes(op.Permissions), "User.Read")
	}
	return callWith(t, graphtest.Client(t, s, simulator.Adele, scopes...), op, request)
}

func callWith(t testing.TB, g *graph.Client, op services.Operation, request string) (any, error) {
	t.Helper()
	r, err := services.Decode(op, []byte(request))
	if err != nil {
		return nil, err
	}
	return r.Execute(t.Context(), g, services.Attempt{ID: "7f0c4c9e-3b0e-4f0b-8d2a-2a1c5d6e7f80", Now: time.Now()})
}

func must(t testing.TB, s *simulator.Simulator, op services.Operation, request string, scopes ...string) any {
	t.Helper()
	v, err := call(t, s, op, request, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func last(s *simulator.Simulator, id string) simulator.ChatMessage {
	all := s.ChatMessages(id)
	return all[len(all)-1]
}

// chatWith returns the id of the chat with exactly these members and no topic, or "".
func chatWith(s *simulator.Simulator, members ...string) string {
	for _, c := range s.Chats() {
		got := slices.Sorted(slices.Values(c.Members))
		if c.Topic == "" && slices.Equal(got, slices.Sorted(slices.Values(append(members, simulator.Adele)))) {
			return c.ID
		}
	}
	return ""
}

func TestSend(t *testing.T) {
	s := contoso(t)
	send := find(t, chat.Operations(false), "send")
	got := must(t, s, send, `{"chat_id": "`+lunch+`", "message": "a < b\nhttps://example.com/?a=1&b=2"}`).(chat.Sent)
	if m := last(s, lunch); m.Body != "a < b\nhttps://example.com/?a=1&b=2" || m.HTML || m.From != simulator.Adele || got.MessageID != m.ID || got.ChatID != lunch {
		t.Errorf("got %+v, %+v", got, m)
	}
	must(t, s, send, `{"chat_id": "`+lunch+`", "message": "<b>x</b>", "content_type": "HTML"}`)
	if m := last(s, lunch); m.Body != "<b>x</b>" || !m.HTML {
		t.Errorf("got %+v", m)
	}
	chats := len(s.Chats())
	private := must(t, s, send, `{"to": ["Megan@contoso.example"], "message": "Hi"}`).(chat.Sent)
	if len(s.Chats()) != chats || private.ChatID != chatWith(s, simulator.Megan) || last(s, private.ChatID).Body != "Hi" {
		t.Errorf("got %+v", private)
	}
	s.AddUser(simulator.User{Address: "o'neil@contoso.example", Name: "Pat O'Neil"})
	must(t, s, send, `{"to": ["o'neil@contoso.example"], "message": "Hi"}`)
	if last(s, chatWith(s, "o'neil@contoso.example")).Body != "Hi" {
		t.Error("no chat with O'Neil")
	}
	chats++
	must(t, s, send, `{"to": ["alex@contoso.example"], "message": "Hi"}`)
	if len(s.Chats()) != chats+1 || last(s, chatWith(s, simulator.Alex)).Body != "Hi" {
		t.Error("no chat with Alex")
	}
}

// Several people get the group that was made for exactly them.
func TestSendToAGroup(t *testing.T) {
	s := contoso(t)
	send := find(t, chat.Operations(false), "send")
	g := graphtest.Client(t, s, simulator.Adele, "User.Read", "ChatMessage.Send", "Chat.Create")
	chats := len(s.Chats())
	var ids []string
	for _, to := range []string{`"megan@contoso.example", "alex@contoso.example"`, `"ALEX@contoso.example", "megan@contoso.example", "alex@contoso.example"`} {
		v, err := callWith(t, g, send, `{"to": [`+to+`], "message": "Hi"}`)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.(chat.Sent).ChatID)
	}
	if len(s.Chats()) != chats+1 || ids[0] != ids[1] || len(s.ChatMessages(ids[0])) != 2 {
		t.Errorf("%d new chats, %v", len(s.Chats())-chats, ids)
	}
	// One that was left is replaced.
	s.ChangeChat(ids[0], func(c *simulator.Chat) { c.Members = []string{simulator.Megan, simulator.Alex} })
	v, err := callWith(t, g, send, `{"to": ["megan@contoso.example", "alex@contoso.example"], "message": "Again"}`)
	if err != nil || v.(chat.Sent).ChatID == ids[0] || last(s, v.(chat.Sent).ChatID).Body != "Again" {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestRefused(t *testing.T) {
	s := contoso(t)
	s.AddUser(simulator.User{Address: "pat@fabrikam.example", Name: "Pat"})
	unknown := "open the chat: Microsoft Teams does not find everybody: want the addresses with which people of your organization sign in; a mail address may differ, and people outside must be in a chat already (Graph answered 404 NotFound)"
	ops := everything()
	for _, tt := range []struct{ kind, operation, request, want string }{
		{"chat", "send", `{"message": "x"}`, "chat_id: want the id of a chat, or to"},
		{"chat", "send", `{"chat_id": "19:x", "to": ["a@contoso.com"], "message": "x"}`, "to: not with chat_id"},
		{"chat", "send", `{"to": [], "message": "x"}`, "to: want at least one address"},
		{"chat", "send", `{"to": ["ann"], "message": "x"}`, `to: want addresses with which people sign in, such as ann@contoso.com, not "ann"`},
		{"chat", "send", `{"to": ["adele@contoso.example"], "message": "x"}`, "to: want the addresses of others, not your own"},
		{"chat", "send", `{"to": ["nobody@contoso.example"], "message": "x"}`, unknown},
		{"chat", "send", `{"to": ["pat@fabrikam.example"], "message": "x"}`, unknown},
		{"chat", "send", `{"chat_id": "19:nowhere@thread.v2", "message": "x"}`, "send the message: there is no such chat or message, or you are not in the chat (Graph answered 404 NotFound)"},
		{"chat", "send", `{"chat_id": "19:x", "message": " "}`, "message: want a text, not an empty one"},
		{"chat", "send", `{"chat_id": "19:x", "message": "` + strings.Repeat("x", 28<<10+1) + `"}`, "message: want at most 28 KB, the limit of Teams, not 28.0 KB"},
		{"chat", "send", `{"chat_id": "19:x", "message": "x", "content_type": "markdown"}`, `content_type: want one of text, html, not "markdown"`},
		{"chat", "send", `{"chat_id": "19:x", "message": "x", "mentions": [{}]}`, "mentions[0]: want one of id (with name), address and everyone"},
		{"chat", "send", `{"chat_id": "19:x", "message": "x", "mentions": [{"id": "1", "name": "A", "everyone": true}]}`, "mentions[0]: want one of id (with name), address and everyone"},
		{"chat", "send", `{"chat_id": "19:x", "message": "x", "mentions": [{"id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd"}]}`, "mentions[0].name: want the name that is shown, with id"},
		{"chat", "send", `{"chat_id": "19:x", "message": "x", "mentions": [{"id": "1", "name": "A"}]}`, `mentions[0].id: want an object id, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd, not "1"`},
		{"chat", "send", `{"chat_id": "19:x", "message": "x", "mentions": [{"address": "ann"}]}`, `mentions[0].address: want an address, such as ann@contoso.com, not "ann"`},
		{"chat", "send", `{"to": ["megan@contoso.example"], "message": "x", "mentions": [{"address": "alex@contoso.example"}]}`, `mentions[0].address: want one of to, not "alex@contoso.example"`},
		{"chat", "send", `{"chat_id": "` + lunch + `", "message": "x", "mentions": [{"address": "alex@contoso.example"}]}`, "mentions[0].address: to find somebody by their address, graph2mqtt needs the permission Chat.ReadBasic or Chat.Read; give id and name instead"},
		{"chat", "reply", `{"chat_id": " ", "message_id": "1", "message": "x"}`, "chat_id: want the id of a chat, as in the list"},
		{"chat", "reply", `{"chat_id": "` + lunch + `", "message_id": "1", "message": "x"}`, "reply to the message: there is no such chat or message, or you are not in the chat (Graph answered 404 NotFound)"},
		{"chat", "react", `{"chat_id": "19:x", "message_id": "1", "reaction": "great"}`, `reaction: want an emoji, or one of like, heart, laugh, surprised, sad, angry, not "great"`},
		{"chat", "react", `{"chat_id": "19:x", "message_id": "1", "reaction": ""}`, `reaction: want an emoji, or one of like, heart, laugh, surprised, sad, angry, not ""`},
		{"chat", "create", `{"to": ["megan@contoso.example"], "topic": "` + strings.Repeat("x", 251) + `"}`, "topic: want at most 250 characters, not 251"},
		{"chat", "mark_read", `{"chat_id": ""}`, "chat_id: want the id of a chat, as in the list"},
		{"chat", "history", `{"chat_id": "19:x", "limit": 0}`, "limit: want 1 to 200, not 0"},
		{"chat", "history", `{"chat_id": "19:x", "start": "2026-01-02", "end": "2026-01-01"}`, `end: want a time after start, "2026-01-02", not "2026-01-01"`},
		{"channel", "send", `{"message": "x", "channel": "Sports"}`, `channel: want one of ` + simulator.ContosoChannel + `, not "Sports"`},
		{"channel", "send", `{"message": "x", "importance": "low"}`, `importance: want one of normal, high, urgent, not "low"`},
		{"channel", "send", `{"message": "x", "mentions": [{"address": "megan@contoso.example"}]}`, "mentions[0].address: only if allow names mention_by_address; give id and name instead"},
		{"channel", "send", `{"message": "x", "mentions": [{"channel": true, "team": true}]}`, "mentions[0]: want one of id (with name), address, channel and team"},
		{"channel", "mention_by_address", `{"message": "x", "mentions": [{"address": "nobody@contoso.example"}]}`, "look up the user: there is no user nobody@contoso.example in your organization (Graph answered 404 Request_ResourceNotFound)"},
		{"channel", "reply", `{"message_id": "1", "message": "x"}`, "reply to the message: there is no such team, channel or message (Graph answered 404 NotFound)"},
		{"channel", "react", `{"message_id": "", "reaction": "like"}`, "message_id: want the id of a message, as in the list"},
	} {
		before := len(s.ChatMessages(lunch)) + len(s.ChannelMessages(simulator.ContosoTeam, simulator.ContosoChannel))
		if _, err := call(t, s, find(t, ops[tt.kind], tt.operation), tt.request); err == nil || err.Error() != tt.want {
			t.Errorf("%s %s %.80s: got %v, want %s", tt.kind, tt.operation, tt.request, err, tt.want)
		}
		if after := len(s.ChatMessages(lunch)) + len(s.ChannelMessages(simulator.ContosoTeam, simulator.ContosoChannel)); after != before {
			t.Errorf("%s %s %.80s: something was sent", tt.kind, tt.operation, tt.request)
		}
	}
	several := chat.ChannelOperations(chat.Target{Team: "Contoso", Channels: []string{"General", "Design"}})
	if _, err := call(t, s, find(t, several, "send"), `{"message": "x"}`); err == nil || err.Error() != "channel is required: want one of General, Design" {
		t.Errorf("got %v", err)
	}
	mark := find(t, ops["chat"], "mark_read")
	g := graphtest.Client(t, s, simulator.Ann, "User.Read", "Chat.ReadWrite")
	if _, err := callWith(t, g, mark, `{"chat_id": "19:x"}`); err == nil || err.Error() != "a personal Microsoft account has no chats, teams and channels" {
		t.Errorf("got %v", err)
	}
}

func TestMentions(t *testing.T) {
	s := contoso(t)
	var megan string
	for _, u := range s.Users() {
		if u.Address == simulator.Megan {
			megan = u.ID
		}
	}
	send := find(t, chat.Operations(false), "send")
	scopes := []string{"User.Read", "ChatMessage.Send", "Chat.Create", "Chat.Read"}
	for _, tt := range []struct{ request, want string }{
		{`"message": "Hi @Megan & all", "mentions": [{"id": "` + megan + `", "name": "Megan"}]`, `Hi <at id="0">Megan</at> &amp; all`},
		{`"message": "Hi @megan@contoso.example\nbye", "mentions": [{"address": "megan@contoso.example"}]`, `Hi <at id="0">Megan Bowen</at><br>bye`},
		{`"message": "Hi @everyone, @Megan Bowen", "mentions": [{"everyone": true}, {"address": "megan@contoso.example"}]`, `Hi <at id="0">Everyone</at>, <at id="1">Megan Bowen</at>`},
		{`"message": "Hi", "mentions": [{"everyone": true}]`, `<at id="0">Everyone</at> Hi`},
		{`"message": "<p>Hi <at id=\"0\">M</at></p>", "content_type": "html", "mentions": [{"id": "` + megan + `", "name": "M"}]`, `<p>Hi <at id="0">M</at></p>`},
	} {
		must(t, s, send, `{"chat_id": "`+lunch+`", `+tt.request+`}`, scopes...)
		if m := last(s, lunch); m.Body != tt.want || !m.HTML {
			t.Errorf("%s: got %q", tt.request, m.Body)
		}
	}
	n := len(s.ChatMessages(lunch))
	if _, err := call(t, s, send, `{"chat_id": "`+lunch+`", "message": "x", "mentions": [{"address": "nobody@contoso.example"}]}`, scopes...); err == nil ||
		err.Error() != `mentions[0].address: want the address of a member of the chat, not "nobody@contoso.example"` {
		t.Errorf("got %v", err)
	}
	if len(s.ChatMessages(lunch)) != n {
		t.Error("a message with a mention that cannot be resolved was sent")
	}
	channel := everything()["channel"]
	posted := func() simulator.ChatMessage {
		all := s.ChannelMessages(simulator.ContosoTeam, simulator.ContosoChannel)
		return all[len(all)-1]
	}
	must(t, s, find(t, channel, "send"), `{"message": "@channel and @team", "mentions": [{"channel": true}, {"team": true}], "subject": "S", "importance": "URGENT"}`)
	if m := posted(); m.Body != `<at id="0">Channel</at> and <at id="1">Team</at>` || m.Subject != "S" || m.Importance != "urgent" {
		t.Errorf("got %+v", m)
	}
	must(t, s, find(t, channel, "mention_by_address"), `{"message": "@megan@contoso.example look", "mentions": [{"address": "megan@contoso.example"}]}`)
	if m := posted(); m.Body != `<at id="0">Megan Bowen</at> look` {
		t.Errorf("got %+v", m)
	}
}

func TestOtherOperations(t *testing.T) {
	s := contoso(t)
	ops := everything()
	message := last(s, lunch)
	must(t, s, find(t, ops["chat"], "reply"), `{"chat_id": "`+lunch+`", "message_id": "`+message.ID+`", "message": "a < b"}`)
	if m := last(s, lunch); !slices.Equal(m.Quotes, []string{message.ID}) || !strings.HasSuffix(m.Body, "a &lt; b") {
		t.Errorf("got %+v", m)
	}
	reactions := func() []simulator.ChatReaction { return s.ChatMessages(lunch)[0].Reactions }
	for _, reaction := range []string{"like", "👍", "🎉"} {
		must(t, s, find(t, ops["chat"], "react"), `{"chat_id": "`+lunch+`", "message_id": "`+message.ID+`", "reaction": "`+reaction+`"}`)
	}
	if diff := cmp.Diff([]simulator.ChatReaction{{User: simulator.Adele, Type: "👍"}, {User: simulator.Adele, Type: "🎉"}}, reactions()); diff != "" {
		t.Error(diff)
	}
	must(t, s, find(t, ops["chat"], "react"), `{"chat_id": "`+lunch+`", "message_id": "`+message.ID+`", "reaction": "🎉", "remove": true}`)
	if len(reactions()) != 1 {
		t.Errorf("got %v", reactions())
	}
	created := must(t, s, find(t, ops["chat"], "create"), `{"to": ["megan@contoso.example"], "topic": "Party"}`).(chat.Created)
	if created.Type != "group" || created.Topic != "Party" {
		t.Errorf("got %+v", created)
	}
	again := must(t, s, find(t, ops["chat"], "create"), `{"to": ["megan@contoso.example"]}`).(chat.Created)
	if again.Type != "oneOnOne" || again.ChatID != chatWith(s, simulator.Megan) {
		t.Errorf("got %+v", again)
	}
	must(t, s, find(t, ops["chat"], "mark_unread"), `{"chat_id": "`+lunch+`"}`)
	if v := s.Viewpoint(simulator.Adele, lunch); !v.Read.Equal(last(s, lunch).Created.Add(-time.Millisecond).Truncate(time.Second)) {
		t.Errorf("got %v", v)
	}
	must(t, s, find(t, ops["chat"], "mark_read"), `{"chat_id": "`+lunch+`"}`)
	if v := s.Viewpoint(simulator.Adele, lunch); v.Read.Before(last(s, lunch).Created) {
		t.Errorf("got %v", v)
	}
	root := s.ChannelMessages(simulator.ContosoTeam, simulator.ContosoChannel)[0]
	reply := must(t, s, find(t, ops["channel"], "reply"), `{"message_id": "`+root.ID+`", "message": "Thanks"}`).(chat.Posted)
	must(t, s, find(t, ops["channel"], "react"), `{"message_id": "`+fmt.Sprint(reply.MessageID)+`", "reply_to": "`+root.ID+`", "reaction": "heart"}`)
	must(t, s, find(t, ops["channel"], "react"), `{"message_id": "`+root.ID+`", "reaction": "heart"}`)
	all := s.ChannelMessages(simulator.ContosoTeam, simulator.ContosoChannel)
	if m := all[len(all)-1]; m.ReplyTo != root.ID || m.Body != "Thanks" || len(m.Reactions) != 1 || len(all[0].Reactions) != 1 {
		t.Errorf("got %+v", m)
	}
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		for i := range 130 {
			s.PostChatMessage(lunch, simulator.ChatMessage{From: simulator.Megan, Body: fmt.Sprint(i)})
			time.Sleep(time.Second)
		}
		s.PostChatMessage(lunch, simulator.ChatMessage{Type: "systemEventMessage"})
		history := find(t, chat.Operations(false), "history")
		list := func(fields string) (texts []string, complete bool) {
			t.Helper()
			return contents(must(t, s, history, `{"chat_id": "`+lunch+`"`+fields+`}`).(services.Page))
		}
		if texts, complete := list(""); len(texts) != 25 || texts[0] != "129" || complete {
			t.Errorf("got %v, %v", texts, complete)
		}
		if texts, complete := list(`, "limit": 200`); len(texts) != 131 || texts[130] != "Pizza at noon?" || !complete {
			t.Errorf("got %d, %v", len(texts), complete)
		}
		at := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }
		if texts, complete := list(fmt.Sprintf(`, "start": %q, "end": %q`, at(10*time.Second), at(5*time.Second))); len(texts) != 5 || !complete {
			t.Errorf("got %v, %v", texts, complete)
		}
	})
}

// contents returns the texts of a page of messages, and whether it is the last one.
func contents(page services.Page) (texts []string, complete bool) {
	m := page.Value.(chat.Messages)
	for _, item := range m.Messages {
		texts = append(texts, item["content"].(string))
	}
	return texts, m.Complete
}

// Each message is on one page, also where several were written at the same time, some are deleted meanwhile and new ones arrive.
func TestPagesOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		const n = 130
		for i := range n {
			s.PostChatMessage(lunch, simulator.ChatMessage{From: simulator.Megan, Body: fmt.Sprint(i)})
			if i%3 == 0 {
				time.Sleep(time.Second)
			}
			if i%10 == 0 {
				s.PostChatMessage(lunch, simulator.ChatMessage{Type: "systemEventMessage"})
			}
		}
		op := find(t, chat.Operations(false), "history")
		g := graphtest.Client(t, s, simulator.Adele, "Chat.Read", "User.Read")
		r, err := services.Decode(op, []byte(`{"chat_id": "`+lunch+`", "limit": 7}`))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for a := (services.Attempt{Now: time.Now()}); ; {
			v, err := r.Execute(t.Context(), g, a)
			if err != nil {
				t.Fatal(err)
			}
			page := v.(services.Page)
			texts, complete := contents(page)
			got = append(got, texts...)
			if complete != (page.Next == nil) || len(texts) > 7 || len(texts) < 7 && !complete {
				t.Fatalf("a page of %q, complete is %t, next %v", texts, complete, page.Next)
			}
			if complete {
				break
			}
			s.PostChatMessage(lunch, simulator.ChatMessage{From: simulator.Megan, Body: "new"})
			if a.Position, err = json.Marshal(page.Next); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != n+1 || got[n] != "Pizza at noon?" {
			t.Fatalf("%d messages: %q", len(got), got)
		}
		for i, text := range got[:n] {
			if !slices.Contains(got, fmt.Sprint(i)) {
				t.Errorf("message %d is missing; at its place is %s", i, text)
			}
		}
	})
}

// Each operation needs its permissions, each of them, and no other.
func TestPermissions(t *testing.T) {
	named := chat.ChannelOperations(chat.Target{Team: "Contoso", Channels: []string{"General"}})
	ops := everything()
	ops["named channel"] = named
	want := map[string]string{
		"chat send": "Chat.Create ChatMessage.Send", "chat reply": "ChatMessage.Send", "chat react": "ChatMessage.Send", "chat create": "Chat.Create",
		"chat mark_read": "Chat.ReadWrite", "chat mark_unread": "Chat.ReadWrite", "chat history": "Chat.Read",
		"channel send": "ChannelMessage.Send", "channel reply": "ChannelMessage.Send", "channel react": "ChannelMessage.Send",
		"channel mention_by_address": "ChannelMessage.Send User.ReadBasic.All",
		"named channel send":         "Channel.ReadBasic.All ChannelMessage.Send Team.ReadBasic.All", "named channel reply": "Channel.ReadBasic.All ChannelMessage.Send Team.ReadBasic.All",
		"named channel react":              "Channel.ReadBasic.All ChannelMessage.Send Team.ReadBasic.All",
		"named channel mention_by_address": "Channel.ReadBasic.All ChannelMessage.Send Team.ReadBasic.All User.ReadBasic.All",
	}
	for kind, operations := range ops {
		for _, op := range operations {
			name := kind + " " + op.Name
			scopes := graph.Scopes(op.Permissions)
			if diff := cmp.Diff(want[name], strings.Join(scopes, " ")); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			for missing := -1; missing < len(scopes); missing++ {
				s := contoso(t)
				request := example(s, op)
				if op.Name == "send" && kind == "chat" {
					request = `{"to": ["alex@contoso.example"], "message": "x"}` // which needs both
				}
				granted := append(slices.Clone(scopes), "User.Read")
				if missing >= 0 {
					granted = slices.Delete(granted, missing, missing+1)
				}
				_, err := call(t, s, op, request, granted...)
				if missing < 0 && err != nil || missing >= 0 && !graph.Is(err, graph.PermissionMissing) {
					t.Errorf("%s with %v: %v", name, granted, err)
				}
			}
		}
	}
	// Chat.ReadWrite covers everything in chats.
	for _, op := range chat.Operations(false) {
		s := contoso(t)
		if _, err := call(t, s, op, example(s, op), "User.Read", "Chat.ReadWrite"); err != nil {
			t.Errorf("%s with Chat.ReadWrite: %v", op.Name, err)
		}
	}
}

// example returns the documented request of an operation.
func example(s *simulator.Simulator, op services.Operation) string {
	return strings.NewReplacer(
		"19:5a1f…@thread.v2", lunch, "1616…", s.ChatMessages(lunch)[0].ID, "1617…", s.ChannelMessages(simulator.ContosoTeam, simulator.ContosoChannel)[0].ID,
	).Replace(op.Example)
}

// Whatever happens to an answer, a request is carried out once or its outcome is in doubt.
func TestLostAnswers(t *testing.T) {
	reading := map[string][]string{"chat": {"Chat.Read"}, "channel": {"ChannelMessage.Read.All"}}
	for _, fault := range []simulator.Fault{{Method: "POST", Status: 504, Done: true}, {Method: "POST", Status: 504}, {Method: "POST", Reset: true, Done: true}, {Method: "POST", Reset: true}} {
		for kind, operations := range everything() {
			for _, op := range operations {
				if op.Reads {
					continue
				}
				for _, readable := range []bool{true, false} {
					for _, request := range []string{"", `{"to": ["alex@contoso.example"], "message": "once"}`, `{"to": ["alex@contoso.example", "megan@contoso.example"], "message": "once"}`} {
						if request != "" && (kind != "chat" || op.Name != "send") {
							continue
						}
						name := fmt.Sprintf("%s %s %s readable %v, status %d done %v", kind, op.Name, request, readable, fault.Status, fault.Done)
						t.Run(name, func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) { lose(t, fault, op, request, readable, reading[kind]) })
						})
					}
				}
			}
		}
	}
}

// lose executes a request whose first answer is lost, as a dispatcher does.
func lose(t *testing.T, fault simulator.Fault, op services.Operation, request string, readable bool, reading []string) {
	s := contoso(t)
	if request == "" {
		request = example(s, op)
	}
	for range 2 { // the same texts were sent before
		s.PostChatMessage(lunch, simulator.ChatMessage{From: simulator.Adele, Body: "The garage door is open."})
		s.PostChannelMessage(simulator.ContosoTeam, simulator.ContosoChannel, simulator.ChatMessage{From: simulator.Adele, Body: "The garage door is open."})
	}
	count := func() int {
		n := 0
		for _, c := range s.Chats() {
			n += len(s.ChatMessages(c.ID)) + 1
		}
		return n + len(s.ChannelMessages(simulator.ContosoTeam, simulator.ContosoChannel))
	}
	scopes := append(graph.Scopes(op.Permissions), "User.Read")
	if readable {
		scopes = append(scopes, reading...)
	}
	g := graphtest.Client(t, s, simulator.Adele, scopes...)
	r, err := services.Decode(op, []byte(request))
	if err != nil {
		t.Fatal(err)
	}
	a := services.Attempt{ID: "7f0c4c9e-3b0e-4f0b-8d2a-2a1c5d6e7f80", Now: time.Now()}
	before := count()
	s.Fail(fault)
	_, err = r.Execute(t.Context(), g, a)
	var e *graph.Error
	if !errors.As(err, &e) || !e.Transient() {
		t.Fatalf("got %v", err)
	}
	executed := false
	inDoubt := false
	switch {
	case e.OutcomeUnknown && op.Retry == services.AtMostOnce:
		v, ok := r.(services.Verifier)
		found := false
		if ok {
			_, found, err = v.Verify(t.Context(), g, a)
		}
		executed, inDoubt = found, !found
		if found && !fault.Done {
			t.Error("found although it was not done")
		}
		sent := op.Name != "create" && !strings.Contains(request, `", "megan@`)
		if sent && readable && fault.Done && !found {
			t.Errorf("not found although it was done: %v", err)
		}
	default:
		if _, err = r.Execute(t.Context(), g, a); err != nil {
			t.Fatal(err)
		}
		executed = true
	}
	if executed == inDoubt {
		t.Error("neither executed nor in doubt")
	}
	most := 1
	if strings.Contains(request, `"to"`) {
		most = 2 // a chat, and a message in it
	}
	switch n := count() - before; {
	case n > most:
		t.Errorf("%d effects, want at most %d", n, most)
	case executed && op.Name != "react" && !strings.HasPrefix(op.Name, "mark") && n != most:
		t.Errorf("%d effects, want %d", n, most)
	}
}
