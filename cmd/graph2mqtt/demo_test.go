package main

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// retainedTopics returns the topics of the retained messages of a broker.
func retainedTopics(t *testing.T, broker string) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(retainedPayloads(t, broker)))
}

func retainedPayloads(t *testing.T, broker string) map[string][]byte {
	t.Helper()
	var mu sync.Mutex
	payloads := map[string][]byte{}
	end := make(chan struct{})
	l, err := mqtt.Observe(mqtt.Options{URLs: []string{broker}}, func(m mqtt.Message) {
		if m.Topic == "test/end" {
			close(end)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if m.Retained {
			payloads[m.Topic] = m.Payload
		}
	}, "#")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Publish("test/end", []byte("end"), false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-end:
	case <-time.After(waitTimeout):
		t.Fatal("the broker does not answer")
	}
	mu.Lock()
	defer mu.Unlock()
	return payloads
}

func TestDemo(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	h := newHarness(t)
	p := h.start(t, "demo", "--port", "0")
	url := p.stdout.find(t, regexp.MustCompile(`  broker +(mqtt://127\.0\.0\.1:\d+)\n`))
	for _, want := range []string{
		`  account +adele@contoso\.example, signed in to https://127\.0\.0\.1:\d+\n`,
		`\n  mosquitto_sub -h 127\.0\.0\.1 -p \d+ -v -t 'graph2mqtt/#'\n`,
		`\n  mosquitto_pub -h 127\.0\.0\.1 -p \d+ -t graph2mqtt/demo/out_of_office/set/enabled -m ON\n`,
		`\n\d\d:\d\d:\d\d  Bridge         online\n`,
		`\n\d\d:\d\d:\d\d  Out of office  Off\n`,
		`\n\d\d:\d\d:\d\d  Presence       Available\n`,
		`\n\d\d:\d\d:\d\d  Chats          unread chats: 1, latest: Who is in today\?\n`,
		`\n\d\d:\d\d:\d\d  Planner        open tasks: 2\n`,
		`\n\d\d:\d\d:\d\d  Mail           mails: 2, latest: Your weekly digest\n`,
		`\n\d\d:\d\d:\d\d  Important      mails: 0\n`,
		`\n\d\d:\d\d:\d\d  Shopping       open tasks: 2\n`,
	} {
		p.stdout.find(t, regexp.MustCompile(want))
	}
	page, err := http.Get(p.stdout.find(t, regexp.MustCompile(`  status page +(http://127\.0\.0\.1:\d+)\n`)) + "/api/state")
	if err != nil {
		t.Fatal(err)
	}
	state, err := io.ReadAll(page.Body)
	_ = page.Body.Close()
	if err != nil || page.StatusCode != http.StatusOK || !strings.Contains(string(state), `"user":"adele@contoso.example"`) {
		t.Errorf("the status page: %d %v %s", page.StatusCode, err, state)
	}
	l, err := mqtt.Observe(mqtt.Options{URLs: []string{url}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Publish("graph2mqtt/demo/out_of_office/set/enabled", []byte("ON"), false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`  Out of office  request: set/enabled ON\n`,
		`  Out of office  response: enable: ok\n`,
		`  Out of office  now Always, was Off\n`,
	} {
		p.stdout.find(t, regexp.MustCompile(want))
	}
	if err := l.Publish("graph2mqtt/demo/presence/set/preferred", []byte("DoNotDisturb"), false); err != nil {
		t.Fatal(err)
	}
	p.stdout.find(t, regexp.MustCompile(`  Presence       now DoNotDisturb, was Available\n`))
	create := p.stdout.find(t, regexp.MustCompile(`-m '(\{.*\})'`))
	if err := l.Publish("graph2mqtt/demo/calendar/request/create", []byte(create), false); err != nil {
		t.Fatal(err)
	}
	send := p.stdout.find(t, regexp.MustCompile(`graph2mqtt/demo/mail/request/send \\\n +-m '(\{.*\})'`))
	if err := l.Publish("graph2mqtt/demo/mail/request/send", []byte(send), false); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish("graph2mqtt/demo/shopping/request/new", []byte(`{"subject": "Coffee beans"}`), false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`  Mail           response: send: ok\n`,
		`  Mail           new mail from Adele Vance: Hello\n`,
		`  Mail           new mail from Megan Bowen: Lunch\?\n`,
		`  Mail           the mail from Megan Bowen was read: Lunch\?\n`,
		`  Mail           request: reply \{"message":"Yes, see you there\.",`,
		`  Mail           response: reply: ok\n`,
		`  Shopping       response: new: ok\n`,
		`  Shopping       new task: Coffee beans\n`,
		`  Calendar       response: create: ok\n`,
		`  Calendar       Coffee is new`,
		`  Calendar       (Stand-up) started \(busy on\)\n`, // by itself, after a while
	} {
		p.stdout.find(t, regexp.MustCompile(want))
	}
	if files, err := os.ReadDir(temporary); err != nil || len(files) != 1 {
		t.Errorf("its files: %v, %v", files, err)
	}
	p.interrupt()
	if code := p.wait(t); code != 0 || p.stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if files, err := os.ReadDir(temporary); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if out := p.stdout.String(); !strings.HasSuffix(out, "  Bridge         offline\n\nThe demo has ended and removed everything.\n") || strings.Contains(out, "\x1b") {
		t.Errorf("it ends with %q", out[max(0, len(out)-100):])
	}
}

func TestDemoWithExistingBroker(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"embedded":  func(t *testing.T) string { return startBroker(t).URL() },
		"mosquitto": func(t *testing.T) string { return brokertest.New(t, "").URL },
	} {
		t.Run(name, func(t *testing.T) {
			broker := url(t)
			l, err := mqtt.Observe(mqtt.Options{URLs: []string{broker}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			// Other clients' topics stay.
			const other = "homeassistant/device/graph2mqttish/config"
			if err := l.Publish(other, []byte("{}"), true); err != nil {
				t.Fatal(err)
			}
			h := newHarness(t)
			p := h.start(t, "demo", "--mqtt", broker)
			p.stdout.find(t, regexp.MustCompile(`  Bridge         online\n`))
			held := strings.Join(retainedTopics(t, broker), " ")
			for _, topic := range []string{"graph2mqtt/bridge/state", "graph2mqtt/demo/out_of_office/state", "homeassistant/device/graph2mqtt-demo-out_of_office/config"} {
				if !strings.Contains(held, topic) {
					t.Errorf("no %s among %s", topic, held)
				}
			}
			// A second demo would interfere with the first.
			code, _, stderr := h.call(t, "demo", "--mqtt", broker)
			if code != 1 || stderr != "graph2mqtt: the broker has topics below graph2mqtt already; another graph2mqtt may be using them; choose a different --base-topic\n" {
				t.Errorf("a second one: %d, %s", code, stderr)
			}
			p.interrupt()
			if code := p.wait(t); code != 0 || p.stderr.String() != "" {
				t.Errorf("exit code %d: %s", code, p.stderr)
			}
			if got := retainedTopics(t, broker); len(got) != 1 || got[0] != other {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

func TestDemoWithoutBroker(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	h := newHarness(t)
	code, _, stderr := h.call(t, "demo", "--mqtt", "mqtt://user:secret@127.0.0.1:1")
	if code != 2 || !strings.HasPrefix(stderr, "graph2mqtt: connect to mqtt://127.0.0.1:1: ") || strings.Contains(stderr, "secret") {
		t.Errorf("%d, %s", code, stderr)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(startBroker(t).URL(), "mqtt://"), ":")
	code, _, stderr = h.call(t, "demo", "--port", port)
	if want := "graph2mqtt: embedded broker: listen tcp 127.0.0.1:" + port + ": bind: address already in use; choose another port with --port\n"; code != 2 || stderr != want {
		t.Errorf("%d, %s", code, stderr)
	}
	code, _, stderr = h.call(t, "demo", "--mqtt", "http://127.0.0.1")
	if code != 1 || stderr != "graph2mqtt: --mqtt: want mqtt://HOST:PORT (or mqtts, ws, wss)\n" {
		t.Errorf("%d, %s", code, stderr)
	}
	for _, args := range [][]string{{"demo"}, {"demo", "--clean"}, {"watch"}} {
		code, _, stderr = h.call(t, append(args, "--base-topic", "a/#")...)
		if code != 1 || stderr != "graph2mqtt: --base-topic: want a topic without the wildcards + and #, not \"a/#\"\n" {
			t.Errorf("%v: %d, %s", args, code, stderr)
		}
		code, _, stderr = h.call(t, append(args, "--base-topic", "homeassistant")...)
		if code != 1 || stderr != "graph2mqtt: --base-topic: want a topic other than that of Home Assistant's discovery, not \"homeassistant\"\n" {
			t.Errorf("%v: %d, %s", args, code, stderr)
		}
	}
	if files, err := os.ReadDir(temporary); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// A closed pipe ends the demo, which removes everything.
func TestDemoBrokenPipe(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	broker := startBroker(t).URL()
	p := newHarness(t).startWith(t, func(b []byte) error {
		if bytes.Contains(b, []byte("  Bridge         online")) {
			return syscall.EPIPE
		}
		return nil
	}, "demo", "--mqtt", broker)
	if code := p.wait(t); code != 0 || p.stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if got := retainedTopics(t, broker); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	if files, err := os.ReadDir(temporary); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// --clean removes what a killed demo left, and nothing else.
func TestDemoClean(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	broker := startBroker(t).URL()
	h := newHarness(t)
	clean := func() (int, string, string) { return h.call(t, "demo", "--mqtt", broker, "--clean") }
	p := h.start(t, "demo", "--mqtt", broker)
	p.stdout.find(t, regexp.MustCompile(`  Bridge         online\n`))
	if code, stdout, stderr := clean(); code != 1 || stdout != "" || stderr != "graph2mqtt: the demo that uses the topics below graph2mqtt is still running; stop it first\n" {
		t.Errorf("while it runs: %d, %s%s", code, stdout, stderr)
	}
	left := retainedPayloads(t, broker)
	if files, err := os.ReadDir(temporary); err != nil || len(files) != 1 {
		t.Errorf("its files: %v, %v", files, err)
	}
	p.interrupt()
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}

	l, err := mqtt.Observe(mqtt.Options{URLs: []string{broker}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	publish := func(topic, payload string) {
		t.Helper()
		if err := l.Publish(topic, []byte(payload), true); err != nil {
			t.Fatal(err)
		}
	}
	for topic, payload := range left {
		publish(topic, string(payload))
	}
	publish("graph2mqtt/bridge/state", "offline")
	publish("other/topic", "stays")
	if err := os.MkdirAll(filepath.Join(temporary, demoDirectory+"1", demoState), 0o700); err != nil {
		t.Fatal(err)
	}
	const hint = "graph2mqtt: an earlier demo left topics below graph2mqtt; remove them with: graph2mqtt demo --clean --mqtt URL --base-topic graph2mqtt\n"
	if code, _, stderr := h.call(t, "demo", "--mqtt", broker); code != 1 || stderr != hint {
		t.Errorf("a second one: %d, %s", code, stderr)
	}
	code, stdout, stderr := clean()
	if !regexp.MustCompile(`^Removed topics: \d\d+, directories: 1\.\n$`).MatchString(stdout) || code != 0 || stderr != "" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
	if got := retainedTopics(t, broker); !slices.Equal(got, []string{"other/topic"}) {
		t.Errorf("left: %v", got)
	}
	if files, err := os.ReadDir(temporary); err != nil || len(files) > 0 {
		t.Errorf("left: %v, %v", files, err)
	}

	publish("graph2mqtt/bridge/info", `{"config": {"state_dir": "/var/lib/graph2mqtt"}}`)
	if code, _, stderr := clean(); code != 1 || stderr != "graph2mqtt: the topics below graph2mqtt are not from a demo\n" {
		t.Errorf("another bridge's: %d, %s", code, stderr)
	}
}
