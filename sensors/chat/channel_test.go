package chat_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/chat"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

func channels(t testing.TB, raw map[string]any) *sensorstest.Driver[chat.ChannelSnapshot] {
	t.Helper()
	o := chat.ChannelKind().New().Options().(*chat.ChannelOptions)
	sensorstest.Decode(t, o, raw)
	return sensorstest.Of(o)
}

// withTeam adds a team with the channels General and News.
func withTeam(t testing.TB) (*simulator.Simulator, simulator.Team) {
	t.Helper()
	s := contoso(t)
	return s, s.AddTeam(simulator.Team{Name: "Contoso", Members: []string{simulator.Adele, simulator.Megan}, Channels: []simulator.Channel{{Name: "General"}, {Name: "News"}}})
}

func TestChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, team := withTeam(t)
		general, news := team.Channels[0].ID, team.Channels[1].ID
		root := s.PostChannelMessage(team.ID, general, simulator.ChatMessage{From: simulator.Megan, Body: "Welcome", Subject: "Hello", Importance: "high"})
		d := channels(t, map[string]any{"team": "contoso", "channels": []any{"general", news}, "max_messages": 2})
		g := graphtest.Client(t, s, simulator.Adele, append(graph.Scopes(d.Source.Permissions()), "User.Read")...)
		expect(t, "first poll", d.Poll(t, g, time.Now()))
		st := d.State(t, time.Now(), time.Now())
		if st.Values["latest"] != "Welcome" || st.Values["latest_from"] != "Megan Bowen" || st.Attributes["subject"] != "Hello" || st.Attributes["channel_id"] != general {
			t.Errorf("got %v, %v", st.Values, st.Attributes)
		}
		s.ForgetRequests()
		expect(t, "idle", d.Poll(t, g, time.Now()))
		for _, r := range s.Requests() {
			if r.Path == "/v1.0/me/joinedTeams" || r.Path == "/v1.0/teams/"+team.ID+"/channels" {
				t.Errorf("asked for %s again", r.Path)
			}
		}
		if n := len(s.Requests()); n != 2 {
			t.Errorf("%d requests for two channels", n)
		}
		time.Sleep(time.Minute)
		s.PostChannelMessage(team.ID, general, simulator.ChatMessage{From: simulator.Megan, Body: "a reply", ReplyTo: root.ID})
		s.PostChannelMessage(team.ID, general, simulator.ChatMessage{From: simulator.Adele, Body: "mine", ReplyTo: root.ID})
		s.PostChannelMessage(team.ID, news, simulator.ChatMessage{From: simulator.Megan, Body: "all", Mentions: []simulator.ChatMention{{Everyone: "team", Name: "Contoso"}}})
		s.PostChannelMessage(team.ID, news, simulator.ChatMessage{Type: "systemEventMessage"})
		events := d.Poll(t, g, time.Now())
		expect(t, "news", events, "message_received a reply", "message_received all", "mention_received all")
		if len(events) > 0 && (events[0].Data["reply_to"] != root.ID || events[0].Data["channel"] != "General") {
			t.Errorf("got %v", events[0].Data)
		}
		st = d.State(t, time.Now(), time.Now())
		if st.Values["latest"] != "all" || len(st.Items) != 2 {
			t.Errorf("got %v, %d messages", st.Values, len(st.Items))
		}
		d.Restart(t)
		expect(t, "after a restart", d.Poll(t, g, time.Now()))

		// More threads begin than a page has.
		time.Sleep(time.Minute)
		for range 45 {
			s.PostChannelMessage(team.ID, general, simulator.ChatMessage{From: simulator.Megan, Body: "x"})
		}
		if events := d.Poll(t, g, time.Now()); len(events) != 45 {
			t.Errorf("%d events", len(events))
		}

		// Names are looked up again by a rescan only.
		g.Relist()
		s.ForgetRequests()
		d.Poll(t, g, time.Now())
		if n := len(s.Requests()); n != 4 {
			t.Errorf("%d requests after a rescan, want the teams, the channels and two channels' messages", n)
		}
	})
}

// A message that appears after a newer one fires its event, and one whose time lies far ahead hides no others. Each fires once.
func TestChannelMessagesOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, team := withTeam(t)
		general := team.Channels[0].ID
		d := channels(t, map[string]any{"team": team.ID, "channel": general})
		g := graphtest.Client(t, s, simulator.Adele, "ChannelMessage.Read.All", "User.Read")
		postAt := func(body string, at time.Time) {
			s.PostChannelMessage(team.ID, general, simulator.ChatMessage{From: simulator.Megan, Body: body, Created: at})
		}
		poll := func(name string, want ...string) {
			t.Helper()
			expect(t, name, d.Poll(t, g, time.Now()), want...)
			expect(t, name+", again", d.Poll(t, g, time.Now()))
			d.Restart(t)
			expect(t, name+", after a restart", d.Poll(t, g, time.Now()))
			time.Sleep(time.Minute)
		}
		poll("empty")
		for i := range 25 { // more than a page
			postAt(fmt.Sprint(i), time.Now())
		}
		if n := len(d.Poll(t, g, time.Now())); n != 25 {
			t.Errorf("%d events for the first messages", n)
		}
		time.Sleep(time.Minute)
		newest := time.Now()
		postAt("newest", newest)
		poll("newest", "message_received newest")
		postAt("late", newest.Add(-5*time.Second))
		poll("late", "message_received late")
		postAt("too late", newest.Add(-15*time.Second))
		poll("too late")
		postAt("tomorrow", time.Now().AddDate(1, 0, 0))
		poll("future", "message_received tomorrow")
		postAt("today", time.Now())
		poll("after the future", "message_received today")
		postAt("now", time.Now())
		poll("long after the future", "message_received now")
	})
}

func TestChannelNames(t *testing.T) {
	s, team := withTeam(t)
	lower := s.AddChannel(team.ID, simulator.Channel{Name: "news"})
	news := team.Channels[1]
	g := graphtest.Client(t, s, simulator.Adele, "User.Read", "ChannelMessage.Read.All", "Team.ReadBasic.All", "Channel.ReadBasic.All")
	for _, tt := range []struct{ team, channel, want string }{
		{"Fabrikam", "General", `find the team: there is no team Fabrikam; there are: Contoso`},
		{"Contoso", "Sports", `find the channel: there is no channel Sports; there are: General, News, news`},
		{"Contoso", "NEWS", "find the channel: 2 channels are named NEWS; want the id of one of them: " + news.ID + ", " + lower.ID},
		{team.ID, "19:x@thread.tacv2", "read the messages of the channel: there is no such team, channel or message (Graph answered 404 NotFound)"},
		{"893075dd-2487-4122-925f-022c42e20265", "19:x@thread.tacv2", "read the messages of the channel: there is no such team, channel or message (Graph answered 404 NotFound)"},
	} {
		d := channels(t, map[string]any{"team": tt.team, "channel": tt.channel})
		if _, err := d.TryPoll(t, g, time.Now()); err == nil || err.Error() != tt.want {
			t.Errorf("%s %s: got %v, want %s", tt.team, tt.channel, err, tt.want)
		}
	}
}

func TestChannelPermissions(t *testing.T) {
	s, team := withTeam(t)
	id := team.Channels[0].ID
	for _, tt := range []struct {
		team, channel string
		want          []string
	}{
		{team.ID, id, []string{"ChannelMessage.Read.All"}},
		{"Contoso", id, []string{"ChannelMessage.Read.All", "Team.ReadBasic.All"}},
		{team.ID, "General", []string{"Channel.ReadBasic.All", "ChannelMessage.Read.All"}},
		{"Contoso", "General", []string{"Channel.ReadBasic.All", "ChannelMessage.Read.All", "Team.ReadBasic.All"}},
	} {
		d := channels(t, map[string]any{"team": tt.team, "channel": tt.channel})
		got := graph.Scopes(d.Source.Permissions())
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s %s: %s", tt.team, tt.channel, diff)
		}
		d.Poll(t, graphtest.Client(t, s, simulator.Adele, append(slices.Clone(got), "User.Read")...), time.Now())
		for i := range got {
			fewer := append(slices.Delete(slices.Clone(got), i, i+1), "User.Read")
			if _, err := d.TryPoll(t, graphtest.Client(t, s, simulator.Adele, fewer...), time.Now()); !graph.Is(err, graph.PermissionMissing) {
				t.Errorf("%s %s without %s: %v", tt.team, tt.channel, got[i], err)
			}
		}
	}
}

func TestCandidates(t *testing.T) {
	s, team := withTeam(t)
	one := s.AddChat(simulator.Chat{Members: []string{simulator.Adele, simulator.Megan}}).ID
	lunch := group(s, "Lunch")
	g := graphtest.Client(t, s, simulator.Adele, "User.Read", "Chat.Read", "Team.ReadBasic.All", "Channel.ReadBasic.All")
	chats, err := chat.ChatKind().Candidates(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range chats {
		got[c.Name] = c.Options["chats"]
	}
	if diff := cmp.Diff(map[string]string{"Megan Bowen": one, "Lunch": lunch}, got); diff != "" {
		t.Error(diff)
	}
	listed, err := chat.ChannelKind().Candidates(t.Context(), g)
	if err != nil || len(listed) != 2 || listed[1].Name != "Contoso News" || !cmp.Equal(listed[1].Options, map[string]string{"team": team.ID, "channel": team.Channels[1].ID}) {
		t.Errorf("got %v, %v", listed, err)
	}
}
