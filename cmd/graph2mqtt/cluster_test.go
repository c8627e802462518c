package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/audit"
	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A clusterHarness has one configuration for several machines, which differ in their state directories.
type clusterHarness struct {
	*harness
	nats   *natstest.NATS
	broker *broker.Broker

	mu        sync.Mutex
	states    map[string]string // by topic, as published last
	responses []services.Response
	removed   []string // topics
	changed   chan struct{}
}

func newClusterHarness(t *testing.T) *clusterHarness {
	t.Helper()
	h := &clusterHarness{harness: newHarness(t), nats: natstest.New(t), broker: startBroker(t), states: map[string]string{}, changed: make(chan struct{})}
	h.write(t, "shared.key", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	h.configureCluster(t, fmt.Sprintf("cluster: {nats: [%q], lease: 5s}", h.nats.ClientURL))
	if err := h.broker.Watch(1, "#", func(topic string, payload []byte, _ bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(payload) == 0 {
			h.removed = append(h.removed, topic)
		}
		h.states[topic] = string(payload)
		var r services.Response
		if strings.HasSuffix(topic, "/response/send") && json.Unmarshal(payload, &r) == nil {
			h.responses = append(h.responses, r)
		}
		close(h.changed)
		h.changed = make(chan struct{})
	}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *clusterHarness) configureCluster(t *testing.T, cluster string) {
	t.Helper()
	h.write(t, "graph2mqtt.yaml", fmt.Sprintf("mqtt: {url: %q}\nkey_file: %q\n%s\naccounts:\n  work:\n    timezone: local\n    %s\n    sensors:\n      out_of_office: {type: auto_reply, interval: 5s}\n",
		h.broker.URL(), filepath.Join(h.dir, "shared.key"), cluster, h.cloud()))
}

// await waits until the last payload of a topic is the wanted one.
func (h *clusterHarness) await(t *testing.T, topic, want string) {
	t.Helper()
	h.awaitPayload(t, topic, want, func(payload string) bool { return payload == want })
}

// awaitPayload waits until the last payload of a topic is one that is wanted, and returns it.
func (h *clusterHarness) awaitPayload(t *testing.T, topic, want string, isWanted func(payload string) bool) string {
	t.Helper()
	timeout := time.After(waitTimeout)
	for {
		h.mu.Lock()
		got, changed := h.states[topic], h.changed
		h.mu.Unlock()
		if isWanted(got) {
			return got
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s is %q; want %q", topic, got, want)
		}
	}
}

// run starts the bridge on a machine.
func (h *clusterHarness) run(t *testing.T, machine string) *process {
	t.Helper()
	return h.start(t, "run", "--state-dir", filepath.Join(h.dir, machine))
}

func (h *clusterHarness) polls() int { return h.simulator.Count("GET", "/v1.0/me/mailboxSettings") }

var (
	startingPattern = regexp.MustCompile(`msg=starting`)
	standbyPattern  = regexp.MustCompile(`msg="standing by: another machine holds the state" host=\S+`)
)

const clusterState = "graph2mqtt/bridge/state"

// A machine that stands by takes over with the sign-in and the data of the one that has ended.
func TestClusterTakeover(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	h.login(t) // on any machine
	a := h.run(t, "a")
	h.await(t, clusterState, "online")
	a.stderr.find(t, startingPattern)

	b := h.run(t, "b")
	b.stderr.find(t, standbyPattern)
	if code, stdout, stderr := h.call(t, "health", "--state-dir", filepath.Join(h.dir, "b")); code != 0 {
		t.Errorf("health of the machine that stands by: %d %s%s", code, stdout, stderr)
	}
	if strings.Contains(b.stderr.String(), "msg=starting") {
		t.Errorf("both machines work:\n%s", b.stderr)
	}
	if code, _, stderr := h.call(t, "state", "copy", "directory", "--state-dir", filepath.Join(h.dir, "c")); code != 2 || !strings.Contains(stderr, "a bridge is running on it; stop it on all machines first") {
		t.Errorf("a copy while the bridge runs: %d %s", code, stderr)
	}

	a.interrupt()
	if code := a.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, a.stderr)
	}
	b.stderr.find(t, startingPattern)
	h.await(t, clusterState, "online")
	if code, stdout, _ := h.call(t, "accounts", "--state-dir", filepath.Join(h.dir, "b")); code != 0 || !strings.Contains(stdout, "signed_in") {
		t.Errorf("accounts: %d\n%s", code, stdout)
	}
	b.interrupt()
	if code := b.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, b.stderr)
	}

	// And back to a machine of its own.
	alone := filepath.Join(h.dir, "c")
	if code, stdout, stderr := h.call(t, "state", "copy", "directory", "--state-dir", alone); code != 0 || !strings.HasPrefix(stdout, "copied 1 files and ") {
		t.Fatalf("copy: %d %s%s", code, stdout, stderr)
	}
	if code, _, stderr := h.call(t, "state", "copy", "nats", "--state-dir", alone); code != 2 || !strings.Contains(stderr, "the bucket graph2mqtt of NATS: the target is not empty") {
		t.Errorf("copy over a copy: %d %s", code, stderr)
	}
	h.configureCluster(t, "")
	if code, stdout, _ := h.call(t, "accounts", "--state-dir", alone); code != 0 || !strings.Contains(stdout, "signed_in") {
		t.Errorf("accounts without the cluster: %d\n%s", code, stdout)
	}
	if code, _, stderr := h.call(t, "state", "copy", "nats", "--state-dir", alone); code != 1 || !strings.Contains(stderr, "cluster.nats is required") {
		t.Errorf("copy without a cluster: %d %s", code, stderr)
	}
}

// When NATS is away, the bridge stops at the end of its lease, keeps the retained values, and goes on when NATS is back.
func TestClusterOutage(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	h.login(t)
	a := h.run(t, "a")
	h.await(t, clusterState, "online")
	const topic = "graph2mqtt/work/out_of_office/state"
	before := h.broker.Retained(topic)
	h.nats.Kill()
	h.await(t, clusterState, "offline")
	a.stderr.find(t, regexp.MustCompile(`msg="stopped: [^"]+" error="this machine does not hold the state any more: the lease of 5s was not renewed in time"`))
	stopped := h.polls()
	if got := h.broker.Retained(topic); string(got) != string(before) || len(got) == 0 {
		t.Errorf("%s was %s and is %s", topic, before, got)
	}
	h.nats.Start()
	h.await(t, clusterState, "online")
	h.awaitPolls(t, stopped+1)
	if a.stderr.String() == "" || len(a.code) > 0 {
		t.Errorf("the program has ended: %s", a.stderr)
	}
}

// With shards it is the same for each of them.
func TestClusterShardsOutage(t *testing.T) {
	t.Parallel()
	const accounts = 6
	h := newClusterHarness(t)
	h.configureShards(t, accounts)
	for i := range accounts {
		h.loginTo(t, fmt.Sprintf("a%d", i))
	}
	a := h.run(t, "a")
	h.awaitShards(t, "online")
	values := map[string]string{}
	for i := range accounts {
		topic := fmt.Sprintf("graph2mqtt/a%d/out_of_office/state", i)
		h.awaitAny(t, topic)
		values[topic] = string(h.broker.Retained(topic))
	}
	h.nats.Kill()
	h.awaitShards(t, "offline")
	a.stderr.find(t, regexp.MustCompile(`msg="stopped a shard: another machine may have it now" shard=\d error="this machine does not hold the state any more: the lease of 10s was not renewed in time"`))
	stopped := h.polls()
	for topic, want := range values {
		if got := string(h.broker.Retained(topic)); got != want || want == "" {
			t.Errorf("%s was %s and is %s", topic, want, got)
		}
	}
	h.nats.Start()
	h.awaitShards(t, "online")
	h.awaitPolls(t, stopped+accounts)
	if len(a.code) > 0 {
		t.Errorf("the program has ended: %s", a.stderr)
	}
}

// awaitAny waits until a topic has a payload.
func (h *clusterHarness) awaitAny(t *testing.T, topic string) {
	t.Helper()
	timeout := time.After(waitTimeout)
	for {
		h.mu.Lock()
		got, changed := h.states[topic], h.changed
		h.mu.Unlock()
		if got != "" {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s has no payload", topic)
		}
	}
}

// Without the key cluster nothing of it runs: no goroutine, and so no connection and no write.
func TestWithoutCluster(t *testing.T) {
	h := newHarness(t)
	b := startBroker(t)
	h.write(t, "graph2mqtt.yaml", fmt.Sprintf("mqtt: {url: %q}\naccounts:\n  work:\n    timezone: local\n    %s\n    sensors:\n      out_of_office: {type: auto_reply, interval: 5s}\n", b.URL(), h.cloud()))
	h.login(t)
	p := h.start(t, "run")
	p.stderr.find(t, startingPattern)
	p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
	if found := clusterGoroutines(t); len(found) > 0 {
		t.Errorf("without cluster these run: %v", found)
	}
	p.interrupt()
	p.wait(t)
	c := newClusterHarness(t)
	c.configureShards(t, 1)
	shared := c.run(t, "a")
	c.awaitShards(t, "online")
	if found := clusterGoroutines(t); len(found) < 3 {
		t.Errorf("with cluster only these run: %v: the check finds nothing", found)
	}
	shared.interrupt()
	shared.wait(t)
}

// clusterGoroutines returns functions of the cluster in the stacks of goroutines.
func clusterGoroutines(t *testing.T) (found []string) {
	t.Helper()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"github.com/nats-io/nats.go.", "internal/state.(*Lease).", "internal/state.(*worker).", "internal/state.(*bucket)."} {
		if strings.Contains(stacks.String(), name) {
			found = append(found, name)
		}
	}
	return found
}

// awaitPolls waits until the sensor has been polled so often.
func (h *clusterHarness) awaitPolls(t *testing.T, n int) {
	t.Helper()
	polled := make(chan struct{}, 1)
	h.simulator.OnRequest(func(simulator.Request) {
		select {
		case polled <- struct{}{}:
		default:
		}
	})
	timeout := time.After(waitTimeout)
	for h.polls() < n {
		select {
		case <-polled:
		case <-timeout:
			t.Fatalf("%d polls; want %d", h.polls(), n)
		}
	}
}

// Polls that change nothing write nothing but the lease.
func TestClusterUnchangedPolls(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	h.login(t)
	leases, snapshots := h.nats.Count("$KV.graph2mqtt.lease"), h.nats.Count("$KV.graph2mqtt.data.snapshots.>")
	a := h.run(t, "a")
	h.await(t, clusterState, "online")
	for snapshots() == 0 { // what the first poll has read is stored some seconds later
		h.awaitPolls(t, h.polls()+1)
	}
	writes := h.nats.Count("$KV.graph2mqtt.*.>")
	first := leases()
	before := h.polls()
	h.awaitPolls(t, before+2)
	if n := writes(); n != 0 {
		t.Errorf("%d writes although nothing changed", n)
	}
	t.Logf("%d polls that changed nothing: %d writes, %d renewals of the lease", h.polls()-before, writes(), leases()-first)
	if leases() == first {
		t.Error("the lease was not renewed: nothing was counted")
	}
	a.interrupt()
	a.wait(t)
	if writes() == 0 {
		t.Error("the end of the bridge was not written: nothing was counted")
	}
}

// With shards, several machines work at the same time, each with a part of the accounts. A machine that ends or joins gives its part to the
// others, and gets one back.
func TestClusterShards(t *testing.T) {
	t.Parallel()
	const accounts = 8
	h := newClusterHarness(t)
	h.configureShards(t, accounts)
	for i := range accounts {
		h.loginTo(t, fmt.Sprintf("a%d", i))
	}
	a := h.run(t, "a")
	h.awaitShards(t, "online")
	b := h.run(t, "b")
	b.stderr.find(t, startingTimes(testShards/2))
	h.awaitShards(t, "online")
	for i := range accounts {
		h.await(t, fmt.Sprintf("graph2mqtt/a%d/state", i), "online")
	}
	for name, p := range map[string]*process{"a": a, "b": b} {
		if code, stdout, stderr := h.call(t, "health", "--state-dir", filepath.Join(h.dir, name)); code != 0 {
			t.Errorf("health of %s: %d %s%s", name, code, stdout, stderr)
		}
		if len(p.code) > 0 {
			t.Fatalf("%s has ended: %s", name, p.stderr)
		}
	}
	a.interrupt()
	if code := a.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, a.stderr)
	}
	b.stderr.find(t, startingTimes(testShards))
	h.awaitShards(t, "online")
	b.interrupt()
	if code := b.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, b.stderr)
	}
	h.awaitShards(t, "offline")
}

// startingTimes matches the log of a machine that has started n bridges.
func startingTimes(n int) *regexp.Regexp {
	return regexp.MustCompile(`(?s)(msg=starting.*){` + fmt.Sprint(n) + `}`)
}

// testShards is the number of shards in tests.
const testShards = 4

// configureShards configures accounts a0, a1 … in shards.
func (h *clusterHarness) configureShards(t *testing.T, accounts int) {
	t.Helper()
	h.configureAccounts(t, accounts, fmt.Sprintf("cluster: {nats: [%q], lease: 10s, shards: %d}", h.nats.ClientURL, testShards))
}

func (h *clusterHarness) configureAccounts(t *testing.T, accounts int, cluster string) {
	t.Helper()
	text := fmt.Sprintf("mqtt: {url: %q}\nkey_file: %q\n%s\naccounts:\n", h.broker.URL(), filepath.Join(h.dir, "shared.key"), cluster)
	for i := range accounts {
		text += fmt.Sprintf("  a%d:\n    timezone: local\n    enable_update: true\n    %s\n    sensors:\n      out_of_office: {type: auto_reply, interval: 5s}\n      mail: {type: email, interval: 1h, allow: [send]}\n", i, h.cloud())
	}
	h.write(t, "graph2mqtt.yaml", text)
}

// shardTopic returns the topic of the availability of a shard.
func shardTopic(shard int) string {
	if shard == 0 {
		return clusterState
	}
	return fmt.Sprintf("graph2mqtt/bridge/shards/%d/state", shard)
}

// awaitShards waits until every shard has a state.
func (h *clusterHarness) awaitShards(t *testing.T, want string) {
	t.Helper()
	for shard := range testShards {
		h.await(t, shardTopic(shard), want)
	}
}

// A machine is killed while it and another one execute requests of all accounts. Each request is executed once and answered, or answered as in
// doubt and executed at most once.
func TestClusterShardRequests(t *testing.T) {
	t.Parallel()
	const accounts, rounds = 8, 12
	h := newClusterHarness(t)
	h.configureShards(t, accounts)
	for i := range accounts {
		h.loginTo(t, fmt.Sprintf("a%d", i))
	}
	killed := h.runProcess(t, "a")
	h.awaitShards(t, "online")
	b := h.run(t, "b")
	b.stderr.find(t, startingTimes(testShards/2))
	h.awaitShards(t, "online")
	var marks []string
	for round := range rounds {
		if round == rounds/2 {
			killed()
		}
		for i := range accounts {
			mark := fmt.Sprintf("mark-%d-%d", i, round)
			marks = append(marks, mark)
			payload := fmt.Sprintf(`{"to": ["megan@contoso.com"], "subject": %q, "message": %q, "transaction": %q}`, mark, mark, mark)
			if err := h.broker.Publish(fmt.Sprintf("graph2mqtt/a%d/mail/request/send", i), []byte(payload), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	responses := map[string]services.Response{}
	for _, mark := range marks {
		responses[mark] = h.awaitResponse(t, mark)
	}
	b.stderr.find(t, startingTimes(testShards))
	h.awaitShards(t, "online")
	sent := map[string]int{}
	for _, m := range h.simulator.SentMails(simulator.Adele) {
		sent[strings.TrimSpace(m.Subject)]++
	}
	counts := map[string]int{}
	for mark, r := range responses {
		outcome := "ok"
		if r.Error != nil {
			outcome = string(r.Error.Code)
		}
		counts[outcome]++
		if n := sent[mark]; n > 1 || outcome == "ok" && n != 1 || outcome != "ok" && outcome != string(services.InDoubt) {
			t.Errorf("%s: %s, sent %d times", mark, outcome, n)
		}
	}
	t.Logf("%d requests while one of two machines was killed: %v", len(marks), counts)
	if counts["ok"] < len(marks)-testShards {
		t.Errorf("%v: want at most one in doubt for each shard", counts)
	}
}

// runProcess starts the bridge on a machine as a process, and returns how to kill it.
func (h *clusterHarness) runProcess(t *testing.T, machine string) (kill func()) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "--state-dir", filepath.Join(h.dir, machine))
	cmd.Env = append(h.environ(), programVariable+"=1")
	output := newOutput()
	cmd.Stdout, cmd.Stderr = output, output
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	})
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("the process %s:\n%s", machine, output)
		}
	})
	return kill
}

// awaitResponse waits for the response to the request with a transaction.
func (h *clusterHarness) awaitResponse(t *testing.T, transaction string) services.Response {
	t.Helper()
	timeout := time.After(waitTimeout + 5*time.Minute) // whether a request in doubt was executed is looked for during a minute, and that again after a takeover
	for {
		h.mu.Lock()
		changed := h.changed
		for _, r := range h.responses {
			if r.Transaction == transaction {
				h.mu.Unlock()
				return r
			}
		}
		h.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no response to %s", transaction)
		}
	}
}

// An installation can be moved to shards and back. No topic is removed, requests are remembered, and the number of shards of a bucket stays.
func TestClusterShardsCopy(t *testing.T) {
	t.Parallel()
	const accounts = 6
	h := newClusterHarness(t)
	h.configureAccounts(t, accounts, "")
	for i := range accounts {
		p := h.start(t, "login", fmt.Sprintf("a%d", i), "--state-dir", filepath.Join(h.dir, "a"))
		h.openURL(t, p.stdout.find(t, linkPattern))
		if code := p.wait(t); code != 0 {
			t.Fatalf("login: exit code %d: %s", code, p.stderr)
		}
	}
	send := func(account int) services.Response {
		t.Helper()
		topic, mark := fmt.Sprintf("graph2mqtt/a%d/mail/request/send", account), fmt.Sprintf("copy-%d", account)
		h.mu.Lock()
		h.responses = nil
		h.mu.Unlock()
		if err := h.broker.Publish(topic, fmt.Appendf(nil, `{"to": ["megan@contoso.com"], "subject": "copy", "message": "copy", "transaction": %q}`, mark), false); err != nil {
			t.Fatal(err)
		}
		return h.awaitResponse(t, mark)
	}
	stop := func(p *process) {
		t.Helper()
		p.interrupt()
		if code := p.wait(t); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.stderr)
		}
	}
	a := h.run(t, "a")
	h.await(t, clusterState, "online")
	for i := range accounts {
		h.await(t, fmt.Sprintf("graph2mqtt/a%d/state", i), "online")
		if r := send(i); r.Error != nil {
			t.Errorf("the first request: %v", r.Error)
		}
	}
	stop(a)

	h.configureShards(t, accounts)
	if code, stdout, stderr := h.call(t, "state", "copy", "nats", "--state-dir", filepath.Join(h.dir, "a")); code != 0 || !strings.HasPrefix(stdout, "copied 6 files and ") {
		t.Fatalf("copy: %d %s%s", code, stdout, stderr)
	}
	b := h.run(t, "b")
	h.awaitShards(t, "online")
	for i := range accounts {
		h.await(t, fmt.Sprintf("graph2mqtt/a%d/state", i), "online")
		if r := send(i); r.Error != nil || !r.Duplicate {
			t.Errorf("the request after the copy: %+v; want a duplicate", r)
		}
	}
	stop(b)
	h.configureAccounts(t, accounts, fmt.Sprintf("cluster: {nats: [%q], lease: 10s, shards: 5}", h.nats.ClientURL))
	if code, _, stderr := h.call(t, "run", "--state-dir", filepath.Join(h.dir, "b")); code != 2 || !strings.Contains(stderr, "the bucket graph2mqtt of NATS was made with cluster.shards: 4, not 5") {
		t.Errorf("with another number of shards: %d %s", code, stderr)
	}

	h.configureShards(t, accounts)
	if code, stdout, stderr := h.call(t, "state", "copy", "directory", "--state-dir", filepath.Join(h.dir, "c")); code != 0 || !strings.HasPrefix(stdout, "copied 6 files and ") {
		t.Fatalf("copy: %d %s%s", code, stdout, stderr)
	}
	h.configureAccounts(t, accounts, "")
	c := h.run(t, "c")
	for i := range accounts {
		h.await(t, fmt.Sprintf("graph2mqtt/a%d/state", i), "online")
		if r := send(i); r.Error != nil || !r.Duplicate {
			t.Errorf("the request after the copy back: %+v; want a duplicate", r)
		}
	}
	stop(c)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, topic := range h.removed {
		if !strings.HasPrefix(topic, "graph2mqtt/bridge/shards/") {
			t.Errorf("%s was removed", topic)
		}
	}
	if n := len(h.simulator.SentMails(simulator.Adele)); n != accounts {
		t.Errorf("%d mails were sent; want %d", n, accounts)
	}
}

// The changes of all machines are in one stream: those that the bridge makes, and those of the command line.
func TestClusterAudit(t *testing.T) {
	h := newClusterHarness(t)
	h.configureAccounts(t, 1, fmt.Sprintf("cluster: {nats: [%q], lease: 2s}\naudit: {stream: changes, max_age: 720h}", h.nats.ClientURL))
	h.loginTo(t, "a0")
	a := h.run(t, "a")
	h.await(t, clusterState, "online")
	if err := h.broker.Publish("graph2mqtt/a0/mail/request/send", []byte(`{"to": ["megan@contoso.com"], "subject": "Secret plan", "message": "x", "transaction": "1"}`), false); err != nil {
		t.Fatal(err)
	}
	h.awaitResponse(t, "1")
	if code, stdout, stderr := h.call(t, "call", "--state-dir", filepath.Join(h.dir, "b"), "a0/out_of_office", "enable", "internal_reply=Secret plan", "transaction=2"); code != 0 {
		t.Fatalf("call: %d %s%s", code, stdout, stderr)
	}
	a.interrupt()
	if code := a.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, a.stderr)
	}
	records := h.nats.Stored("changes")
	if len(records) != 2 {
		t.Fatalf("%d records, want 2", len(records))
	}
	var transactions []string
	for _, r := range records {
		var line audit.Line
		if err := json.Unmarshal(r.Data, &line); err != nil {
			t.Fatalf("%v: %s", err, r.Data)
		}
		if r.Subject != "changes.a0" || line.Account != "a0" || line.Outcome != "ok" || line.User == "" || len(line.GraphRequestIDs) == 0 || strings.Contains(string(r.Data), "Secret plan") {
			t.Errorf("record %s %s", r.Subject, r.Data)
		}
		transactions = append(transactions, line.Transaction)
	}
	slices.Sort(transactions)
	if diff := cmp.Diff([]string{"1", "2"}, transactions); diff != "" {
		t.Error(diff)
	}
}

// The target of a copy must be named.
func TestStateCopyNeedsATarget(t *testing.T) {
	h := newHarness(t)
	for args, quoted := range map[string]string{"": `""`, "both": `"both"`, "nats directory": `"nats directory"`} {
		code, _, stderr := h.call(t, append([]string{"state", "copy"}, strings.Fields(args)...)...)
		if want := "graph2mqtt: state copy: want where to copy to, nats or directory, not " + quoted + "\n"; code != 1 || !strings.HasPrefix(stderr, want) {
			t.Errorf("%q: %d %s", args, code, stderr)
		}
	}
}

// The info of each shard has the configuration of the file, and a list of accounts even if it is empty.
func TestClusterShardInfo(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	h.configureAccounts(t, 1, fmt.Sprintf("http: {listen: '127.0.0.1:0', metrics: true}\ncluster: {nats: [%q], lease: 10s, shards: %d}", h.nats.ClientURL, testShards))
	a := h.run(t, "a")
	h.awaitShards(t, "online")
	accounts := []string{}
	for shard := range testShards {
		topic := strings.Replace(shardTopic(shard), "/state", "/info", 1)
		payload := h.awaitPayload(t, topic, "any", func(payload string) bool { return payload != "" })
		var info struct {
			Accounts *[]string
			Config   map[string]any
		}
		if err := json.Unmarshal([]byte(payload), &info); err != nil || info.Accounts == nil {
			t.Errorf("%s: %v: %s", topic, err, payload)
			continue
		}
		accounts = append(accounts, *info.Accounts...)
		if _, ok := info.Config["http"]; ok || info.Config["cluster"].(map[string]any)["shards"] != testShards*1.0 {
			t.Errorf("%s: %s", topic, payload)
		}
	}
	if !slices.Equal(accounts, []string{"a0"}) {
		t.Errorf("the shards have the accounts %q", accounts)
	}
	a.interrupt()
	if code := a.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// With shards each machine has one listener. It answers from the start on, is ready when the machine takes part, and has the metrics of all
// its shards.
func TestClusterShardListener(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	configure := func(shards int) {
		h.configureAccounts(t, 2, fmt.Sprintf("http: {listen: '127.0.0.1:0', metrics: true}\ncluster: {nats: [%q], lease: 10s, shards: %d}", h.nats.ClientURL, shards))
	}
	configure(testShards)
	h.loginTo(t, "a0")
	h.nats.Kill()
	a := h.run(t, "a")
	address := a.stderr.find(t, listeningPattern)
	h.awaitAnswer(t, address+"/healthz", 200, "ok")
	h.awaitAnswer(t, address+"/readyz", 503, "not ready")
	h.awaitHealth(t, "a", "the shared state cannot be reached: connect to "+h.nats.ClientURL+": NATS does not answer: ")
	for _, path := range []string{"/", "/api/state", "/sign-in/", "/sign-in/api/state"} {
		h.awaitAnswer(t, address+path, 503, "the shared state cannot be reached yet, see the log")
	}
	h.nats.Start()
	h.awaitShards(t, "online")
	h.awaitAnswer(t, address+"/readyz", 200, "ok")
	h.awaitHealth(t, "a", "")
	h.awaitAnswer(t, address+"/metrics", 200, "graph2mqtt_shards 4\n")
	h.awaitAnswer(t, address+"/metrics", 200, `graph2mqtt_account_signed_in{account="a0"} 1`)
	h.awaitAnswer(t, address+"/metrics", 200, `graph2mqtt_account_signed_in{account="a1"} 0`)
	b := h.run(t, "b")
	other := b.stderr.find(t, listeningPattern)
	h.awaitAnswer(t, other+"/metrics", 200, "graph2mqtt_shards 2\n")
	h.awaitAnswer(t, other+"/readyz", 200, "ok")
	h.awaitAnswer(t, address+"/metrics", 200, "graph2mqtt_shards 2\n")

	// With another number of shards, accounts would have two bridges.
	configure(1)
	a.stderr.find(t, regexp.MustCompile(`msg="configuration not applied, keeping the running one" error="cluster.shards was changed, which needs another bucket and a restart of all machines"`))
	h.awaitAnswer(t, address+"/metrics", 200, "graph2mqtt_config_last_reload_successful 0\n")
	h.awaitAnswer(t, address+"/api/state", 200, `"problems":[{"path":"","message":"cluster.shards was changed, which needs another bucket and a restart of all machines"}]`)
	configure(testShards)
	a.stderr.find(t, regexp.MustCompile(`level=INFO msg="configuration valid again"`))
	h.awaitAnswer(t, address+"/metrics", 200, "graph2mqtt_config_last_reload_successful 1\n")

	b.interrupt()
	if code := b.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	h.awaitAnswer(t, address+"/metrics", 200, "graph2mqtt_shards 4\n")
	h.nats.Kill() // at the end of the leases there is no shard
	h.awaitShards(t, "offline")
	h.awaitAnswer(t, address+"/readyz", 503, "not ready")
	h.awaitAnswer(t, address+"/healthz", 200, "ok")
	h.awaitHealth(t, "a", "the shared state cannot be reached: NATS does not answer: no connection to "+h.nats.ClientURL)
	if code, stdout, stderr := h.call(t, "health", "--without-broker", "--state-dir", filepath.Join(h.dir, "a")); code != 0 {
		t.Errorf("a machine that waits would be restarted: %d %s%s", code, stdout, stderr)
	}
	h.awaitAnswer(t, address+"/metrics", 200, "graph2mqtt_shards 0\n")
	a.interrupt()
	if code := a.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// With one shard, a machine is healthy if it works or if another one does, and none is while NATS is away.
func TestClusterHealth(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	h.login(t)
	a := h.run(t, "a")
	h.await(t, clusterState, "online")
	b := h.run(t, "b")
	b.stderr.find(t, standbyPattern)
	h.awaitHealth(t, "a", "")
	h.awaitHealth(t, "b", "")
	h.nats.Kill()
	for _, machine := range []string{"a", "b"} {
		h.awaitHealth(t, machine, "the shared state cannot be reached: NATS does not answer: no connection to "+h.nats.ClientURL)
	}
	h.nats.Start()
	h.awaitHealth(t, "a", "")
	h.awaitHealth(t, "b", "")
	for _, p := range []*process{a, b} {
		p.interrupt()
		if code := p.wait(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// awaitHealth waits until the health command says something about a machine; "": that it is healthy.
func (h *clusterHarness) awaitHealth(t *testing.T, machine, want string) {
	t.Helper()
	code, stderr := 0, ""
	for end := time.Now().Add(waitTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		code, _, stderr = h.call(t, "health", "--state-dir", filepath.Join(h.dir, machine))
		if want == "" && code == 0 || want != "" && code == exitFailed && strings.HasPrefix(stderr, "graph2mqtt: "+want) {
			return
		}
	}
	t.Fatalf("health of %s: %d %s; want %q", machine, code, stderr, want)
}

var listeningPattern = regexp.MustCompile(`msg=listening component=http address=(\S+)`)

// awaitAnswer waits until an address answers with a code and a text.
func (h *clusterHarness) awaitAnswer(t *testing.T, address string, want int, text string) {
	t.Helper()
	code, body := 0, ""
	for end := time.Now().Add(waitTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		code, body, _ = webRequest(t, http.MethodGet, address, "", "", "")
		if code == want && strings.Contains(body, text) {
			return
		}
	}
	t.Fatalf("%s answers %d: %s; want %d with %s", address, code, body, want, text)
}
