package chat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// referenceAccount returns a client of an account with 20 chats, of which 12 are with one person.
func referenceAccount(t testing.TB) (*graph.Client, *graphtest.Counter) {
	t.Helper()
	s := contoso(t)
	for i := range 20 {
		c := simulator.Chat{Topic: fmt.Sprintf("Project %d", i), Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}}
		if i < 12 {
			address := fmt.Sprintf("colleague%d@contoso.example", i)
			s.AddUser(simulator.User{Address: address, Name: fmt.Sprintf("Colleague %d", i)})
			c = simulator.Chat{Members: []string{simulator.Adele, address}}
		}
		id := s.AddChat(c).ID
		for n := range 10 {
			s.PostChatMessage(id, simulator.ChatMessage{From: c.Members[1], HTML: true, Body: fmt.Sprintf("<p>Message %d of chat %d: %s</p>", n, i, strings.Repeat("lorem ipsum ", 12))})
		}
	}
	return graphtest.Counted(t, s, simulator.Adele, "User.Read", "Chat.Read")
}

// An idle poll costs one request, whatever the number of chats.
func TestIdleCost(t *testing.T) {
	g, wire := referenceAccount(t)
	d := source(t, nil)
	d.Poll(t, g, time.Now())
	if n, _ := wire.Take(); n > 23 {
		t.Errorf("%d requests at first, want who is signed in, the chats, their members and the newest message", n)
	}
	const polls = 5
	for range polls {
		expect(t, "idle", d.Poll(t, g, time.Now()))
	}
	plain := wire.Plain()
	n, bytes := wire.Take()
	if n != polls {
		t.Errorf("%d requests for %d idle polls", n, polls)
	}
	if bytes > polls*4000 || plain > polls*30_000 {
		t.Errorf("%d bytes arrived for an idle poll, %d without compression", bytes/polls, plain/polls)
	}
	before := *d.Snapshot
	d.Poll(t, g, time.Now())
	if !d.Source.(interface {
		Same(a, b *snapshot) bool
	}).Same(&before, d.Snapshot) {
		t.Error("an idle poll changes the snapshot")
	}
}

// BenchmarkIdle measures a minute of the reference account's chats. The MS365 integration for Home Assistant needs 4 requests, and with
// updates 28.
func BenchmarkIdle(b *testing.B) {
	g, wire := referenceAccount(b)
	d := source(b, nil)
	d.Poll(b, g, time.Now())
	wire.Take()
	polls := 0
	for b.Loop() {
		d.Poll(b, g, time.Now()) // with the default interval there is one a minute
		polls++
	}
	plain := wire.Plain()
	requests, bytes := wire.Take()
	b.ReportMetric(float64(requests)/float64(polls), "requests/min")
	b.ReportMetric(float64(bytes)/float64(polls), "bytes/min")
	b.ReportMetric(float64(plain)/float64(polls), "plain-bytes/min")
}
