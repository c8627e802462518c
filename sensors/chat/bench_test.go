package chat_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A counter counts the bytes of answers, as they are and as they arrive from Graph, which compresses them.
type counter struct {
	next http.RoundTripper

	mu             sync.Mutex // guards the following
	plain, arrived int
}

// RoundTrip implements http.RoundTripper.
func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(b))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plain += len(b)
	c.arrived += zipped.Len()
	return resp, err
}

type tokens struct{ s *simulator.Simulator }

func (t tokens) Token(context.Context) (string, error) {
	return t.s.Token(simulator.Adele, t.Granted()...), nil
}
func (t tokens) Renew(ctx context.Context, _, _ string) (string, error) { return t.Token(ctx) }
func (tokens) Personal() bool                                           { return false }
func (tokens) Granted() []string {
	return []string{"User.Read", "Chat.Read", "ChatMessage.Send", "Chat.Create"}
}

// referenceAccount returns a client of an account with 20 chats, of which 12 are with one person.
func referenceAccount(t testing.TB) (*simulator.Simulator, *graph.Client, *counter) {
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
	count := &counter{next: s.Transport()}
	g, err := graph.New(graph.Options{Root: s.GraphURL(), Transport: count, ClientID: simulator.ContosoClient, Tokens: tokens{s}})
	if err != nil {
		t.Fatal(err)
	}
	return s, g, count
}

// An idle poll costs one request, whatever the number of chats.
func TestIdleCost(t *testing.T) {
	s, g, count := referenceAccount(t)
	d := source(t, nil)
	d.Poll(t, g, time.Now())
	if n := len(s.Requests()); n > 23 {
		t.Errorf("%d requests at first, want who is signed in, the chats, their members and the newest message", n)
	}
	s.ForgetRequests()
	count.plain, count.arrived = 0, 0
	const polls = 5
	for range polls {
		expect(t, "idle", d.Poll(t, g, time.Now()))
	}
	if n := len(s.Requests()); n != polls {
		t.Errorf("%d requests for %d idle polls", n, polls)
	}
	if count.arrived > polls*4000 || count.plain > polls*30_000 {
		t.Errorf("%d bytes arrived for an idle poll, %d without compression", count.arrived/polls, count.plain/polls)
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
	s, g, count := referenceAccount(b)
	d := source(b, nil)
	d.Poll(b, g, time.Now())
	s.ForgetRequests()
	count.plain, count.arrived = 0, 0
	polls := 0
	for b.Loop() {
		d.Poll(b, g, time.Now()) // with the default interval there is one a minute
		polls++
	}
	b.ReportMetric(float64(len(s.Requests()))/float64(polls), "requests/min")
	b.ReportMetric(float64(count.arrived)/float64(polls), "bytes/min")
	b.ReportMetric(float64(count.plain)/float64(polls), "plain-bytes/min")
}
