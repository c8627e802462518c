//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
)

// Mosquitto runs a real broker and talks to it with Mosquitto's own clients.
type Mosquitto struct {
	*brokertest.Mosquitto
	Options MosquittoOptions
	URL     string // for graph2mqtt's configuration
	Port    int
	dataDir string // the persistence directory; empty unless persistent
}

// MosquittoOptions configure a broker.
type MosquittoOptions struct {
	Persistent         bool   // keep sessions and retained messages across Stop and Kill
	Username, Password string // of the only user; empty: anonymous access
	Certificate, Key   string // PEM files for TLS
	CAFile             string // the CA of Certificate, for clients
	Configuration      string // additional lines of mosquitto.conf
}

// StartMosquitto starts a broker that ends with the test. After Stop or Kill, Start starts it again on the same port.
func StartMosquitto(t testing.TB, o MosquittoOptions) *Mosquitto {
	t.Helper()
	lines, scheme, memory := []string{o.Configuration}, "mqtt", ""
	if o.Persistent {
		memory = t.TempDir()
		lines = append(lines, "persistence true", "persistence_location "+memory+"/", "autosave_on_changes true", "autosave_interval 1")
	}
	if o.Username != "" {
		lines = append(lines, "allow_anonymous false", "password_file "+brokertest.Password(t, o.Username, o.Password))
	}
	if o.Certificate != "" {
		lines, scheme = append(lines, "certfile "+o.Certificate, "keyfile "+o.Key), "mqtts"
	}
	m := &Mosquitto{Mosquitto: brokertest.New(t, strings.Join(lines, "\n")), Options: o, dataDir: memory}
	_, port, err := net.SplitHostPort(m.Addr)
	if err == nil {
		m.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.URL = scheme + "://" + m.Addr
	return m
}

// DeleteData deletes the persisted data of a stopped broker.
func (m *Mosquitto) DeleteData(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(m.dataDir, "mosquitto.db")); err != nil {
		t.Fatal(err)
	}
}

// A Message represents a message as a subscriber received it.
type Message struct {
	Topic   string
	Payload string
	QoS     int
	Retain  bool // it was retained before the subscription
}

func (m Message) String() string {
	retained := ""
	if m.Retain {
		retained = " (retained)"
	}
	return fmt.Sprintf("%s = %s%s", m.Topic, m.Payload, retained)
}

// Decode decodes the JSON payload.
func (m Message) Decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.Payload), into); err != nil {
		t.Fatalf("%v: %v", m, err)
	}
}

// A Subscription records the messages on its topics.
type Subscription struct {
	Recorder[Message]
	process *Process
}

// Close ends the subscription before the test does.
func (s *Subscription) Close(t testing.TB) { s.process.Kill(t) }

// Subscribe subscribes at QoS 1 and records all messages, retained ones first. It returns when the broker has subscribed it.
func (m *Mosquitto) Subscribe(t testing.TB, topics ...string) *Subscription {
	t.Helper()
	return m.subscribe(t, nil, topics)
}

// SubscribeDurable subscribes like Subscribe in a session that the broker keeps under a client id: after Close and with the same id it
// records the messages published meanwhile.
func (m *Mosquitto) SubscribeDurable(t testing.TB, id string, topics ...string) *Subscription {
	t.Helper()
	return m.subscribe(t, []string{"-c", "-i", id}, topics)
}

func (m *Mosquitto) subscribe(t testing.TB, more, topics []string) *Subscription {
	t.Helper()
	s := new(Subscription)
	args := m.client(append(more, "-d", "-q", "1", "-F", "%j")...) // -d reports the SUBACK
	for _, topic := range topics {
		args = append(args, "-t", topic)
	}
	// Without line buffering the SUBACK would stay in the pipe's buffer until the first message.
	s.process = startProcess(t, "mosquitto_sub", exec.Command("stdbuf", append([]string{"-oL", "mosquitto_sub"}, args...)...), func(l Line) {
		if !strings.HasPrefix(l.Text, "{") {
			return
		}
		var message struct {
			Topic, Payload string
			QoS, Retain    int
		}
		if err := json.Unmarshal([]byte(l.Text), &message); err != nil {
			s.End(fmt.Errorf("mosquitto_sub wrote %q: %w", l.Text, err))
			return
		}
		s.Add(Message{message.Topic, message.Payload, message.QoS, message.Retain == 1})
	})
	s.process.AwaitLine(t, "Subscribed (mid: 1)")
	go func() {
		<-s.process.done
		s.End(errors.New("the subscription ended"))
	}()
	return s
}

// Retained returns the retained messages on the topics, by topic.
func (m *Mosquitto) Retained(t testing.TB, topics ...string) map[string]string {
	t.Helper()
	// The broker sends retained messages when it accepts the subscription, so the barrier arrives after them.
	const barrier = "e2e/barrier"
	s := m.Subscribe(t, append(slices.Clone(topics), barrier)...)
	defer s.Close(t)
	m.Publish(t, barrier, "")
	s.AwaitItem(t, "the end of the retained messages", 0, func(m Message) bool { return m.Topic == barrier })
	found := map[string]string{}
	for _, message := range s.All() {
		if message.Retain {
			found[message.Topic] = message.Payload
		}
	}
	return found
}

// Payloads returns the payloads received on a topic so far.
func (s *Subscription) Payloads(topic string) []string {
	var payloads []string
	for _, m := range s.All() {
		if m.Topic == topic {
			payloads = append(payloads, m.Payload)
		}
	}
	return payloads
}

// AwaitPayload waits until the newest message on a topic equals payload.
func (s *Subscription) AwaitPayload(t testing.TB, topic, payload string) {
	t.Helper()
	s.AwaitNewest(t, topic, "says "+payload, func(got string) bool { return got == payload })
}

// AwaitNewest waits until the newest message on a topic satisfies match, and returns its payload. what describes the condition: "has an
// id".
func (s *Subscription) AwaitNewest(t testing.TB, topic, what string, match func(payload string) bool) string {
	t.Helper()
	var newest string
	s.Await(t, "a message on "+topic+" that "+what, func([]Message) bool {
		payloads := s.Payloads(topic)
		if len(payloads) == 0 {
			return false
		}
		newest = payloads[len(payloads)-1]
		return match(newest)
	})
	return newest
}

// Publish publishes a message at QoS 1 and returns when the broker has it.
func (m *Mosquitto) Publish(t testing.TB, topic, payload string) {
	t.Helper()
	m.publish(t, topic, payload)
}

// PublishRetained publishes a retained message at QoS 1, an empty one to remove it, and returns when the broker has it.
func (m *Mosquitto) PublishRetained(t testing.TB, topic, payload string) {
	t.Helper()
	m.publish(t, topic, payload, "-r")
}

func (m *Mosquitto) publish(t testing.TB, topic, payload string, more ...string) {
	t.Helper()
	from := "-s" // reads standard input, which must not be empty
	if payload == "" {
		from = "-n"
	}
	runCommand(t, payload, "mosquitto_pub", m.client(append(more, "-q", "1", "-t", topic, from)...)...)
}

// client returns the arguments with which mosquitto_sub and mosquitto_pub reach the broker, followed by more.
func (m *Mosquitto) client(more ...string) []string {
	args := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(m.Port)}
	if m.Options.Username != "" {
		args = append(args, "-u", m.Options.Username, "-P", m.Options.Password)
	}
	if m.Options.CAFile != "" {
		args = append(args, "--cafile", m.Options.CAFile)
	}
	return append(args, more...)
}

// runCommand runs a command to completion and returns its standard output.
func runCommand(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr.String())
	}
	return string(out)
}

func TestMosquitto(t *testing.T) {
	m := StartMosquitto(t, MosquittoOptions{Persistent: true, Username: "ann", Password: "secret"})
	m.PublishRetained(t, "a/kept", "Grüße,\n\"you\"")
	s := m.Subscribe(t, "a/#")
	m.PublishRetained(t, "a/gone", "soon")
	m.PublishRetained(t, "a/gone", "")
	m.Publish(t, "a/live", "1")
	s.AwaitPayload(t, "a/live", "1")
	want := []Message{
		{Topic: "a/kept", Payload: "Grüße,\n\"you\"", QoS: 1, Retain: true},
		{Topic: "a/gone", Payload: "soon", QoS: 1},
		{Topic: "a/gone", QoS: 1},
		{Topic: "a/live", Payload: "1", QoS: 1},
	}
	if diff := cmp.Diff(want, s.All()); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}

	m.Stop()
	m.Start()
	if diff := cmp.Diff(map[string]string{"a/kept": want[0].Payload}, m.Retained(t, "#")); diff != "" {
		t.Errorf("retained after a restart (-want +got):\n%s", diff)
	}
}
