package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A balancer passes requests on to the listener of one machine.
type balancer struct {
	*httptest.Server

	mu       sync.Mutex
	target   string // host and port
	statuses map[int]int
	changed  chan struct{} // closed at the next answer
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	b := &balancer{statuses: map[int]int{}, changed: make(chan struct{})}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		target := b.target
		b.mu.Unlock()
		out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+target+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		out.Header = r.Header.Clone()
		answer, err := http.DefaultClient.Do(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
		if r.URL.RawQuery != "" { // a validation
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.statuses[answer.StatusCode]++
		close(b.changed)
		b.changed = make(chan struct{})
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *balancer) to(target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.target = target
}

// await waits until at least n requests were answered with a status since the last call of forget.
func (b *balancer) await(t *testing.T, status, n int) {
	t.Helper()
	timeout := time.After(waitTimeout)
	for {
		b.mu.Lock()
		got, changed := b.statuses[status], b.changed
		b.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%d answers with %d; want %d", got, status, n)
		}
	}
}

func (b *balancer) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.statuses)
}

// post sends a notification with a client state, as anybody can, and returns the status of the answer.
func (b *balancer) post(t *testing.T, clientState string) int {
	t.Helper()
	body := fmt.Sprintf(`{"value": [{"subscriptionId": "x", "clientState": %q, "changeType": "updated"}]}`, clientState)
	answer, err := http.Post(b.URL+"/graph", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// A pushHarness has accounts in shards whose mails are announced and not polled.
type pushHarness struct {
	*clusterHarness
	balancer *balancer
	listen   map[string]string // by machine
}

const pushAccounts = 8

func newPushHarness(t *testing.T, cluster string) *pushHarness {
	t.Helper()
	h := &pushHarness{clusterHarness: newClusterHarness(t), balancer: newBalancer(t), listen: map[string]string{}}
	for _, machine := range []string{"a", "b"} {
		h.listen[machine] = fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
	}
	if cluster == "" {
		cluster = fmt.Sprintf("{nats: [%q], lease: 10s, shards: %d}", h.nats.ClientURL, testShards)
	}
	h.configurePush(t, cluster, "safety: 24h")
	for i := range pushAccounts {
		h.loginTo(t, fmt.Sprintf("a%d", i))
	}
	h.balancer.to(h.listen["a"])
	return h
}

func (h *pushHarness) configurePush(t *testing.T, cluster, more string) {
	t.Helper()
	text := fmt.Sprintf("mqtt: {url: %q}\nkey_file: %q\ncluster: %s\nhttp: {listen: \"127.0.0.1:0\", metrics: true}\nnotifications:\n  webhook: {listen: \"127.0.0.1:1\", url: %q}\n  %s\naccounts:\n",
		h.broker.URL(), filepath.Join(h.dir, "shared.key"), cluster, h.balancer.URL+"/graph", more)
	for i := range pushAccounts {
		text += fmt.Sprintf("  a%d:\n    timezone: local\n    %s\n    sensors:\n      mail: {type: email, interval: 12h}\n", i, h.cloud())
	}
	h.write(t, "graph2mqtt.yaml", text)
}

// on sets the environment of a machine, whose listener has an address of its own.
func (h *pushHarness) on(machine string) string {
	h.variables = []string{"GRAPH2MQTT_NOTIFICATIONS__WEBHOOK__LISTEN=" + h.listen[machine]}
	return machine
}

// awaitAccounts waits until a topic of every account has a payload that is as wanted.
func (h *pushHarness) awaitAccounts(t *testing.T, topic string, isWanted func(payload string) bool) {
	t.Helper()
	timeout := time.After(2 * waitTimeout)
	for i := range pushAccounts {
		name := fmt.Sprintf("graph2mqtt/a%d/%s", i, topic)
		for {
			h.mu.Lock()
			got, changed := h.states[name], h.changed
			h.mu.Unlock()
			if isWanted(got) {
				break
			}
			select {
			case <-changed:
			case <-timeout:
				t.Fatalf("%s is %q", name, got)
			}
		}
	}
}

// awaitNotifications waits until the notifications of every account have a state, and returns the message of the last account.
func (h *pushHarness) awaitNotifications(t *testing.T, state string) (message string) {
	t.Helper()
	h.awaitAccounts(t, "status", func(payload string) bool {
		var s hub.AccountStatus
		if json.Unmarshal([]byte(payload), &s) != nil || s.Notifications == nil || s.Notifications.State != state {
			return false
		}
		if m := s.Notifications.Sensors[0].Message; m != nil {
			message = *m
		}
		return true
	})
	return message
}

func (h *pushHarness) awaitUnread(t *testing.T, n int) {
	t.Helper()
	h.awaitAccounts(t, "mail/state", func(payload string) bool {
		var s struct{ Unread int }
		return json.Unmarshal([]byte(payload), &s) == nil && s.Unread == n
	})
}

// unread returns the number of unread mails that an account shows.
func (h *pushHarness) unread(t *testing.T) int {
	t.Helper()
	h.awaitAccounts(t, "mail/state", func(payload string) bool { return payload != "" })
	var s struct{ Unread int }
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := json.Unmarshal([]byte(h.states["graph2mqtt/a0/mail/state"]), &s); err != nil {
		t.Fatal(err)
	}
	return s.Unread
}

func (h *pushHarness) created() int {
	return h.simulator.Count(http.MethodPost, "/v1.0/subscriptions")
}

// All accounts of the test have the same user, so that the list of subscriptions at Microsoft has those of all shards.
//
// Any machine passes a notification to the machine that has the shard. While no machine has the shard, the notification is refused, and
// Microsoft sends it again. No subscription is created anew.
func TestClusterShardNotifications(t *testing.T) {
	t.Parallel()
	h := newPushHarness(t, "")
	killed := h.runProcess(t, h.on("a"))
	h.awaitNotifications(t, "ok")
	if n := h.created(); n != pushAccounts {
		t.Errorf("%d subscriptions were created, want %d", n, pushAccounts)
	}
	b := h.run(t, h.on("b"))
	address := b.stderr.find(t, listeningPattern)
	b.stderr.find(t, startingTimes(testShards/2))
	h.awaitShards(t, "online")
	h.awaitNotifications(t, "ok")
	unread := h.unread(t)
	for _, machine := range []string{"b", "a"} {
		h.balancer.to(h.listen[machine])
		h.balancer.forget()
		unread++
		h.simulator.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News for machine " + machine})
		h.awaitUnread(t, unread)
		h.balancer.await(t, http.StatusAccepted, pushAccounts)
	}
	if n := h.created(); n != pushAccounts {
		t.Errorf("%d subscriptions were created after a machine joined, want %d", n, pushAccounts)
	}

	h.balancer.to(h.listen["b"])
	h.balancer.forget()
	killed()
	unread++
	h.simulator.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News while no machine has the shards"})
	h.balancer.await(t, http.StatusServiceUnavailable, 1)
	for _, clientState := range []string{"", "forged", "forged.AAAA", strings.Repeat("x", 43) + "." + strings.Repeat("A", 55)} {
		if status := h.balancer.post(t, clientState); status != http.StatusAccepted {
			t.Errorf("the client state %q was answered with %d", clientState, status)
		}
	}
	b.stderr.find(t, startingTimes(testShards))
	h.awaitUnread(t, unread)
	h.balancer.await(t, http.StatusAccepted, pushAccounts+4)
	h.awaitAnswer(t, address+"/metrics", 200, `graph2mqtt_notifications_total{outcome="ignored"} 4`)
	h.awaitNotifications(t, "ok")
	if n := h.created(); n != pushAccounts {
		t.Errorf("%d subscriptions were created after a machine failed, want %d", n, pushAccounts)
	}
	if all := h.simulator.Subscriptions(); len(all) != pushAccounts {
		t.Errorf("%d subscriptions exist, want %d", len(all), pushAccounts)
	}
	b.interrupt()
	if code := b.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, b.stderr)
	}
	if text := b.stderr.String(); !strings.Contains(text, `msg="notifications not recorded" component=notifications shard=`) || !strings.Contains(text, `msg="notifications recorded again" component=notifications shard=`) {
		t.Errorf("log:\n%s", text)
	}
}

// What a machine has accepted and could not read any more is read by the one that takes over.
func TestClusterShardNotificationsUnread(t *testing.T) {
	t.Parallel()
	h := newPushHarness(t, "")
	killed := h.runProcess(t, h.on("a"))
	h.awaitNotifications(t, "ok")
	unread := h.unread(t)
	wakeups := h.nats.Count("$KV.graph2mqtt.shard.*.data.wakeups.>")
	h.simulator.Fail(simulator.Fault{Method: http.MethodGet, Path: "/v1.0/me/mailFolders", Status: http.StatusServiceUnavailable, Times: -1})
	h.simulator.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
	h.balancer.await(t, http.StatusAccepted, pushAccounts)
	for end := time.Now().Add(waitTimeout); wakeups() < pushAccounts; runtime.Gosched() { // it was stored before, and is counted a little later
		if time.Now().After(end) {
			t.Fatalf("%d sensors have a record of a notification, want %d", wakeups(), pushAccounts)
		}
	}
	killed()
	h.simulator.ClearFaults()
	created := h.created()
	h.balancer.to(h.listen["b"])
	b := h.run(t, h.on("b"))
	h.awaitUnread(t, unread+1)
	h.awaitNotifications(t, "ok")
	if n := h.created() - created; n != 0 {
		t.Errorf("%d subscriptions were created", n)
	}
	b.interrupt()
	if code := b.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, b.stderr)
	}
	if n := wakeups(); n < 2*pushAccounts {
		t.Errorf("%d records of notifications were written and deleted, want %d: the machine that took over did not know them", n, 2*pushAccounts)
	}
}

// On a machine whose user lacks a permission every account shows it, also those that it takes over later. They are polled as without
// notifications.
func TestClusterShardNotificationsPermission(t *testing.T) {
	t.Parallel()
	s := natstest.New(t, natstest.WithUser("graph2mqtt", "secret", "$GRAPH2MQTT.>"))
	h := newPushHarness(t, fmt.Sprintf("{nats: [%q], username: admin, password: secret, lease: 10s, shards: %d}", s.ClientURL, testShards))
	a := h.run(t, h.on("a"))
	h.awaitNotifications(t, "ok")
	machine := h.on("b")
	h.variables = append(h.variables, "GRAPH2MQTT_CLUSTER__USERNAME=graph2mqtt")
	b := h.run(t, machine)
	b.stderr.find(t, regexp.MustCompile(`msg="notifications cannot be passed to other machines"`))
	a.interrupt()
	const want = `notifications cannot be passed between the machines: the user of NATS lacks a permission: nats: permissions violation: Permissions Violation for Publish to "$GRAPH2MQTT.graph2mqtt.>"`
	if message := h.awaitNotifications(t, "degraded"); message != want {
		t.Errorf("message %q", message)
	}
}

// awaitSubscriptions waits until every account has a subscription to an address, and no other.
func (h *pushHarness) awaitSubscriptions(t *testing.T, url string) {
	t.Helper()
	timeout := time.After(2 * waitTimeout)
	for {
		h.mu.Lock()
		changed := h.changed // each account publishes its status after a change
		h.mu.Unlock()
		all := h.simulator.Subscriptions()
		if len(all) == pushAccounts && !slices.ContainsFunc(all, func(s simulator.Subscription) bool { return s.URL != url }) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("subscriptions %+v, want them at %s", all, url)
		}
	}
}

// A change of the keys of notifications takes effect without a restart of the program.
func TestClusterShardNotificationsReload(t *testing.T) {
	t.Parallel()
	h := newPushHarness(t, "")
	h.variables = nil
	h.configurePush(t, fmt.Sprintf("{nats: [%q], lease: 10s, shards: %d}", h.nats.ClientURL, testShards), "safety: 24h")
	a := h.run(t, h.on("a"))
	h.awaitNotifications(t, "ok")
	second := newBalancer(t)
	second.to(h.listen["a"])
	first := h.balancer
	h.balancer = second
	h.configurePush(t, fmt.Sprintf("{nats: [%q], lease: 10s, shards: %d}", h.nats.ClientURL, testShards), "safety: 24h")
	a.stderr.find(t, startingTimes(2*testShards))
	h.awaitShards(t, "online")
	unread := h.unread(t)
	h.awaitSubscriptions(t, second.URL+"/graph")
	first.to("127.0.0.1:1")
	h.simulator.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
	h.awaitUnread(t, unread+1)
	second.await(t, http.StatusAccepted, pushAccounts)
}
