package state_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// upper answers a question with its text in capitals, and counts the questions.
func upper(n *atomic.Int64) func(context.Context, []byte) ([]byte, bool) {
	return func(_ context.Context, question []byte) ([]byte, bool) {
		n.Add(1)
		return []byte(strings.ToUpper(string(question))), true
	}
}

// answers answers until the test ends.
func answers(t *testing.T, d *state.Dir, name string, handle func(context.Context, []byte) ([]byte, bool)) (stop func()) {
	t.Helper()
	stop, err := d.Answer(name, handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return stop
}

// ask asks a question and waits for a short time, as the program does.
func ask(t *testing.T, d *state.Dir, name string, question []byte) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return d.Ask(ctx, name, question)
}

// askUntil asks until there is an answer: that somebody answers reaches the other servers a little later.
func askUntil(t *testing.T, d *state.Dir, name, question string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		answer, err := ask(t, d, name, []byte(question))
		if err == nil {
			return string(answer)
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestQuestions(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL)
	}
	a, _ := machine(t, urls[:1], nil)
	b, _ := machine(t, urls[2:], nil)
	var asked atomic.Int64
	stop := answers(t, b, "shard.1", upper(&asked))
	if got := askUntil(t, a, "shard.1", "hello"); got != "HELLO" {
		t.Errorf("the answer is %q", got)
	}
	if _, err := ask(t, a, "shard.2", []byte("hello")); !errors.Is(err, state.ErrNobodyAnswers) {
		t.Errorf("nobody answers: %v", err)
	}
	answers(t, b, "silent", func(context.Context, []byte) ([]byte, bool) { return nil, false })
	if _, err := ask(t, a, "silent", []byte("hello")); !errors.Is(err, state.ErrUnanswered) {
		t.Errorf("not answered: %v", err)
	}
	for _, d := range []*state.Dir{a, b} {
		if err := d.CheckQuestions(t.Context()); err != nil {
			t.Errorf("check: %v", err)
		}
	}
	servers[1].Kill()
	before := asked.Load()
	if got := askUntil(t, a, "shard.1", "two of three servers"); got != "TWO OF THREE SERVERS" || asked.Load() != before+1 {
		t.Errorf("the answer is %q, to %d questions", got, asked.Load()-before)
	}
	stop()
	for end := time.Now().Add(time.Minute); ; {
		_, err := ask(t, a, "shard.1", nil)
		if errors.Is(err, state.ErrUnanswered) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after the end: %v", err)
		}
	}
	answers(t, a, "shard.1", func(context.Context, []byte) ([]byte, bool) { return []byte("moved"), true })
	if got := askUntil(t, b, "shard.1", "hello"); got != "moved" {
		t.Errorf("after the move: %q", got)
	}
}

// What was not written with the key of the cluster, or for something else, is dropped.
func TestForgedQuestions(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	var asked atomic.Int64
	answers(t, d, "shard.1", upper(&asked))
	conn, err := nats.Connect(s.ClientURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	heard, err := conn.SubscribeSync("$GRAPH2MQTT.test.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := askUntil(t, d, "shard.1", "a secret question"); got != "A SECRET QUESTION" {
		t.Fatalf("the answer is %q", got)
	}
	question, err := heard.NextMsg(waitTime)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(question.Data); strings.Contains(text, "secret") {
		t.Errorf("the question is readable: %q", text)
	}
	_, _ = ask(t, d, "shard.2", []byte("for another"))
	other, err := heard.NextMsg(waitTime)
	if err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	for name, data := range map[string][]byte{"junk": []byte("junk"), "nothing": nil, "of another shard": other.Data} {
		if m, err := conn.Request("$GRAPH2MQTT.test.shard.1", data, 100*time.Millisecond); err == nil {
			t.Errorf("%s was answered: %q", name, m.Data)
		}
	}
	if n := asked.Load() - before; n != 0 {
		t.Errorf("%d forged questions were taken", n)
	}

	// An answer that is forged, or one to another question, is none.
	old, err := conn.Request("$GRAPH2MQTT.test.shard.1", question.Data, waitTime)
	if err != nil {
		t.Fatal(err)
	}
	var reply atomic.Pointer[[]byte]
	if _, err := conn.Subscribe("$GRAPH2MQTT.test.shard.3", func(m *nats.Msg) { _ = m.Respond(*reply.Load()) }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"junk": []byte("junk"), "an answer to another question": old.Data} {
		reply.Store(&data)
		if answer, err := ask(t, d, "shard.3", []byte("a secret question")); err == nil {
			t.Errorf("%s was taken: %q", name, answer)
		}
	}
}

// waitTime bounds waiting for something that happens unless there is a bug.
const waitTime = 30 * time.Second

func TestLargeQuestions(t *testing.T) {
	s := natstest.New(t, natstest.WithMaxPayload(16<<10))
	d, _ := machine(t, []string{s.ClientURL}, nil)
	var asked atomic.Int64
	answers(t, d, "shard.1", upper(&asked))
	large := make([]byte, 20<<10)
	for i := range large {
		large[i] = byte(rand.Uint32())
	}
	if _, err := ask(t, d, "shard.1", large); !errors.Is(err, state.ErrTooLarge) || !strings.Contains(err.Error(), "raise max_payload of the servers") {
		t.Errorf("error: %v", err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d questions", n)
	}
	answers(t, d, "shard.2", func(context.Context, []byte) ([]byte, bool) { return large, true })
	if _, err := ask(t, d, "shard.2", nil); !errors.Is(err, state.ErrTooLarge) {
		t.Errorf("a large answer: %v", err)
	}
	if got := askUntil(t, d, "shard.1", strings.Repeat("compressible ", 5000)); len(got) != 65_000 {
		t.Errorf("%d bytes", len(got))
	}
}

// More questions than are answered at the same time wait for their turn.
func TestManyQuestions(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	const questions, atOnce = 100, 64
	var running, most atomic.Int64
	full := make(chan struct{})
	filled := sync.OnceFunc(func() { close(full) })
	answers(t, d, "shard.1", func(ctx context.Context, question []byte) ([]byte, bool) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == atOnce {
			filled()
		}
		select {
		case <-full:
		case <-ctx.Done():
		}
		return question, true
	})
	errs := make(chan error, questions)
	for i := range questions {
		go func() {
			answer, err := ask(t, d, "shard.1", []byte(fmt.Sprint(i)))
			if err == nil && string(answer) != fmt.Sprint(i) {
				err = fmt.Errorf("%d was answered with %q", i, answer)
			}
			errs <- err
		}()
	}
	for range questions {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n != atOnce {
		t.Errorf("%d questions were answered at the same time", n)
	}
}

// Questions that wait for their turn when no more are answered are the last ones that are.
func TestQuestionsAtTheEnd(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	const questions = 100
	arrived := s.Count("$GRAPH2MQTT.test.shard.1")
	release := make(chan struct{})
	stop, err := d.Answer("shard.1", func(_ context.Context, question []byte) ([]byte, bool) {
		<-release
		return question, true
	})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, questions)
	for range questions {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), waitTime)
			defer cancel()
			_, err := d.Ask(ctx, "shard.1", []byte("hello"))
			errs <- err
		}()
	}
	for end := time.Now().Add(waitTime); arrived() < questions; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d questions", arrived())
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	close(release)
	for range questions {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	<-stopped
}

func TestQuestionsWithoutServers(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	var asked atomic.Int64
	answers(t, d, "shard.1", upper(&asked))
	s.Kill()
	if _, err := ask(t, d, "shard.1", nil); err == nil {
		t.Error("answered without a server")
	}
	if err := d.CheckQuestions(t.Context()); !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("check: %v", err)
	}
	const want = "the shared state cannot be reached: NATS does not answer: no connection to "
	for err := error(nil); err == nil || !strings.Contains(err.Error(), want+s.ClientURL); { // the connection is missed a little later
		err = d.ExplainTimeout(fmt.Errorf("commit: %w", context.DeadlineExceeded))
	}
	if other := errors.New("the disk is full"); d.ExplainTimeout(other) != other || d.ExplainTimeout(nil) != nil {
		t.Error("another error is explained")
	}
	s.Start()
	if got := askUntil(t, d, "shard.1", "again"); got != "AGAIN" {
		t.Errorf("the answer is %q", got)
	}
}

// Each permission that is missing is named.
func TestQuestionPermissions(t *testing.T) {
	const subject = "$GRAPH2MQTT.test.>"
	for name, c := range map[string]struct {
		change func(*server.Permissions)
		want   string
	}{
		"all":       {func(*server.Permissions) {}, ""},
		"publish":   {func(p *server.Permissions) { p.Publish.Allow = p.Publish.Allow[1:] }, `Publish to "$GRAPH2MQTT.test.>"`},
		"subscribe": {func(p *server.Permissions) { p.Subscribe.Allow = p.Subscribe.Allow[1:] }, `Subscription to "$GRAPH2MQTT.test.>"`},
		"responses": {func(p *server.Permissions) { p.Response = nil }, `Publish to "_INBOX.>"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := clusterPermissions()
			p.Publish.Allow = append([]string{subject}, p.Publish.Allow...)
			p.Subscribe.Allow = append([]string{subject}, p.Subscribe.Allow...)
			p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
			c.change(p)
			s := natstest.New(t, func(o *server.Options) {
				o.Users = []*server.User{{Username: "graph2mqtt", Password: "secret", Permissions: p}}
			})
			d, log := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Username, c.Password = "graph2mqtt", "secret" })
			err := d.CheckQuestions(t.Context())
			for _, name := range []string{"shard.1", "shard.2"} { // as for each notification
				_, _ = ask(t, d, name, nil)
			}
			if n := strings.Count(log.String(), "NATS reported an error"); n > 1 || n == 1 && c.want == "" {
				t.Errorf("logged %d times:\n%s", n, log)
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("error: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), "the user of NATS lacks a permission") || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error: %v; want %s", err, c.want)
			}
		})
	}
}

// Machines whose permissions are taken away and granted again reach each other again.
func TestQuestionPermissionsGrantedAgain(t *testing.T) {
	const subject = "$GRAPH2MQTT.test.>"
	permit := func(asks bool) func(*server.Options) {
		return func(o *server.Options) {
			p := clusterPermissions()
			if asks {
				p.Publish.Allow = append(p.Publish.Allow, subject)
				p.Subscribe.Allow = append(p.Subscribe.Allow, subject)
				p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
			}
			o.Users = []*server.User{{Username: "graph2mqtt", Password: "secret", Permissions: p}}
		}
	}
	for name, n := range map[string]int{"one server": 1, "three servers": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var servers []*natstest.NATS
			if n == 1 {
				servers = []*natstest.NATS{natstest.New(t, permit(true))}
			} else {
				servers = natstest.NewCluster(t, n, func(_ int, o *server.Options) { permit(true)(o) })
			}
			user := func(c *state.ClusterOptions) { c.Username, c.Password = "graph2mqtt", "secret" }
			a, _ := machine(t, []string{servers[0].ClientURL}, user)
			b, _ := machine(t, []string{servers[n-1].ClientURL}, user)
			var asked atomic.Int64
			answers(t, b, "shard.1", upper(&asked))
			if got := askUntil(t, a, "shard.1", "before"); got != "BEFORE" {
				t.Errorf("the answer is %q", got)
			}
			for _, s := range servers {
				s.Reload(permit(false))
			}
			for end := time.Now().Add(time.Minute); ; {
				_, err := ask(t, a, "shard.1", []byte("without"))
				if err != nil && strings.Contains(err.Error(), "lacks a permission") {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("without a permission: %v", err)
				}
			}
			for _, s := range servers {
				s.Reload(permit(true))
			}
			if got := askUntil(t, a, "shard.1", "after"); got != "AFTER" {
				t.Errorf("the answer is %q", got)
			}
		})
	}
}

// A machine with another key is neither understood nor understands.
func TestQuestionsWithAnotherKey(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	var asked atomic.Int64
	answers(t, d, "shard.1", upper(&asked))
	t.Setenv("GRAPH2MQTT_KEY", keyOf(2))
	other := natstest.New(t) // the bucket of the other server knows the other key
	stranger, err := state.OpenCluster(t.Context(), t.TempDir(), "", state.ClusterOptions{Servers: []string{other.ClientURL}, Bucket: "test", Lease: time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Close)
	conn, err := nats.Connect(s.ClientURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if m, err := conn.Request("$GRAPH2MQTT.test.shard.1", stranger.Seal([]byte("question"), "question shard.1"), 100*time.Millisecond); err == nil || asked.Load() > 0 {
		t.Errorf("answered: %v", m)
	}
}
