package bridge_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// receiverShards is the number of shards of a cluster in tests of the shared receiver.
const receiverShards = 3

// openMachine opens the state of a cluster as a machine with a directory of its own.
func openMachine(t *testing.T, s *natstest.NATS) *state.Dir {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shared.key"), []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := state.OpenCluster(t.Context(), dir, filepath.Join(dir, "shared.key"), state.ClusterOptions{
		Servers: []string{s.ClientURL}, Bucket: "test", Lease: 5 * time.Second, Shards: receiverShards,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// A taker takes the notifications for a shard on another machine.
type taker struct {
	mu    sync.Mutex
	ids   []string
	all   []string // also those that were forgotten
	err   error
	taken chan struct{}
}

func (k *taker) take(all []subscriptions.Notification) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	for _, n := range all {
		k.ids, k.all = append(k.ids, n.SubscriptionID), append(k.all, n.SubscriptionID)
	}
	select {
	case k.taken <- struct{}{}:
	default:
	}
	return nil
}

func (k *taker) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// got returns the sorted ids, and forgets them.
func (k *taker) got() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.Sorted(slices.Values(k.ids))
	k.ids = nil
	return all
}

// answerShard answers for a shard until the test ends.
func answerShard(t *testing.T, d *state.Dir, shard int, holds ...string) (k *taker, stop func()) {
	t.Helper()
	k = &taker{taken: make(chan struct{}, 1)}
	stop, err := bridge.AnswerShard(d, shard, k.take, holds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return k, stop
}

// askable waits until a shard answers, which other connections know a little later.
func askable(t *testing.T, r *bridge.SharedReceiver, shard int) {
	t.Helper()
	for end := time.Now().Add(waitTimeout); ; {
		err := r.Notify(t.Context(), []subscriptions.Notification{{SubscriptionID: "first", ClientState: r.ClientState(shard, "secret")}})
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// Notifications are passed to the machines that have their shards, in as many messages as the servers demand.
func TestSharedReceiver(t *testing.T) {
	s := natstest.New(t, natstest.WithMaxPayload(8<<10))
	r := bridge.NewSharedReceiver(openMachine(t, s), slog.New(slog.DiscardHandler))
	other := openMachine(t, s)
	one, stopOne := answerShard(t, other, 1, "b", "c")
	two, _ := answerShard(t, other, 2)
	askable(t, r, 1)
	askable(t, r, 2)
	one.got()
	two.got()
	questions := s.Count("$GRAPH2MQTT.>")
	const count = 500
	var all []subscriptions.Notification
	var wantOne, wantTwo []string
	for i := range count {
		n := subscriptions.Notification{SubscriptionID: fmt.Sprintf("%03d", i), ClientState: r.ClientState(1+i%2, fmt.Sprintf("secret of %d", i))}
		all = append(all, n)
		if i%2 == 0 {
			wantOne = append(wantOne, n.SubscriptionID)
		} else {
			wantTwo = append(wantTwo, n.SubscriptionID)
		}
	}
	if err := r.Notify(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{wantOne, wantTwo}, [][]string{one.got(), two.got()}); diff != "" {
		t.Error(diff)
	}
	if n := questions(); n < 4 || n > 40 {
		t.Errorf("%d messages for %d notifications", n, count)
	}

	one.fail(errors.New("the disk is full"))
	err := r.Notify(t.Context(), all[:2])
	if unrecorded := (*subscriptions.UnrecordedError)(nil); !errors.As(err, &unrecorded) || !slices.Equal(unrecorded.Rest, all[:1]) || !strings.Contains(err.Error(), "shard 1: the disk is full") {
		t.Errorf("error: %#v", err)
	}
	if got := two.got(); !slices.Equal(got, []string{"001"}) {
		t.Errorf("the other shard got %q", got)
	}
	one.fail(nil)
	if err := r.Notify(t.Context(), all[:2]); err != nil {
		t.Error(err)
	}

	// Shard 0 has no machine.
	if held, err := r.Held(t.Context(), 0, []string{"a", "b"}); err != nil || !slices.Contains(held, "b") || slices.Contains(held, "a") {
		t.Errorf("others hold %q, %v", held, err)
	}
	if held, err := r.Held(t.Context(), 1, []string{"a", "b"}); !errors.Is(err, state.ErrUnanswered) {
		t.Errorf("others hold %q, %v, but one was not asked", held, err)
	}
	stopOne()
	if err := r.Notify(t.Context(), all[:1]); !errors.Is(err, state.ErrUnanswered) {
		t.Errorf("without a machine: %v", err)
	}
}

// However many notifications strangers send, other machines are not asked.
func TestSharedReceiverIgnoresStrangers(t *testing.T) {
	s := natstest.New(t)
	r := bridge.NewSharedReceiver(openMachine(t, s), slog.New(slog.DiscardHandler))
	k, _ := answerShard(t, openMachine(t, s), 1)
	askable(t, r, 1)
	k.got()
	questions := s.Count("$GRAPH2MQTT.>")
	genuine := r.ClientState(1, "secret")
	_, sealed, _ := strings.Cut(genuine, ".")
	var forged []subscriptions.Notification
	for _, clientState := range []string{"", ".", "secret", "secret.", "secret.x", "other." + sealed, "." + sealed, genuine[:len(genuine)-2], genuine + "AA", strings.Repeat("A", 100),
		r.ClientState(receiverShards, "of an earlier number of shards")} {
		forged = append(forged, subscriptions.Notification{SubscriptionID: "x", ClientState: clientState})
	}
	const rounds = 50
	for range rounds {
		if err := r.Notify(t.Context(), forged); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Ignored(); n != uint64(rounds*len(forged)) {
		t.Errorf("%d notifications were ignored, want %d", n, rounds*len(forged))
	}
	if n := len(genuine); n > 128 {
		t.Errorf("the client state has %d characters, Graph accepts 128", n)
	}
	if err := r.Notify(t.Context(), []subscriptions.Notification{{SubscriptionID: "genuine", ClientState: genuine}}); err != nil {
		t.Fatal(err)
	}
	if got := k.got(); !slices.Equal(got, []string{"genuine"}) {
		t.Errorf("taken: %q", got)
	}
	if n := questions(); n != 1 {
		t.Errorf("%d questions, want one for the genuine notification", n)
	}
}

// A changed listener that cannot be used leaves the running one, and the program.
func TestSharedReceiverKeepsItsListener(t *testing.T) {
	log := &buffer{}
	r := bridge.NewSharedReceiver(openMachine(t, natstest.New(t)), slog.New(slog.NewTextHandler(log, nil)))
	listening := func(address string) *config.Config {
		return &config.Config{Notifications: config.Notifications{
			Webhook:   config.Webhook{Listen: address, URL: "https://hooks.example.com/graph"},
			EventHubs: config.EventHubs{ConsumerGroup: "graph2mqtt"}, // the default
		}}
	}
	first, last := freeAddress(t), freeAddress(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	changes, ended := make(chan *config.Config), make(chan error, 1)
	go func() { ended <- r.Run(ctx, listening(first), changes) }()
	isOpen := func(address string) bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	}
	// A change is taken when what it replaces runs, and the next one when it was applied.
	apply := func(address string) {
		t.Helper()
		for range 2 {
			select {
			case changes <- listening(address):
			case err := <-ended:
				t.Fatalf("it ended: %v", err)
			}
		}
	}
	apply(taken.Addr().String())
	if text := log.String(); !isOpen(first) || !strings.Contains(text, "keeping the running listener") || !strings.Contains(text, "address already in use") {
		t.Errorf("open: %v, log:\n%s", isOpen(first), text)
	}
	apply(last)
	if !isOpen(last) || isOpen(first) {
		t.Errorf("open: the last %v, the first %v", isOpen(last), isOpen(first))
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// startSharedHub starts an event hub of two partitions, and returns the configuration of the machines that share it.
func startSharedHub(t *testing.T, s *natstest.NATS) (cluster *kfake.Cluster, c *config.Config, producer *kgo.Client) {
	t.Helper()
	cluster, connectionString, producer := startHub(t, 2)
	t.Cleanup(producer.Close)
	text := fmt.Sprintf("mqtt: {url: mqtt://127.0.0.1}\ncluster: {nats: [%q], shards: %d}\nnotifications:\n  eventhubs: {connection_string: %q, url: \"EventHub:https://127.0.0.1/eventhubname/graph?tenantId=contoso.example\"}\n"+
		"accounts:\n  work: {client_id: 2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21, cloud: {login: \"https://127.0.0.1:9\", graph: \"https://127.0.0.1:9\"}, sensors: {calendar: {type: calendar}}}\n", s.ClientURL, receiverShards, connectionString)
	file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := runtime.Load(config.Sources{File: file, Environ: []string{"HOME=" + t.TempDir()}}, runtime.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	return cluster, c, producer
}

// sendTo sends a notification to a partition.
func sendTo(t *testing.T, producer *kgo.Client, partition int32, clientState, id string) {
	t.Helper()
	value := fmt.Sprintf(`{"value": [{"subscriptionId": %q, "clientState": %q, "changeType": "updated"}]}`, id, clientState)
	if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: hubName, Partition: partition, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// await waits until these notifications have been taken since the last call, each at least once.
func (k *taker) await(t *testing.T, want ...string) {
	t.Helper()
	timeout := time.After(2 * waitTimeout)
	var all []string
	for {
		all = append(all, k.got()...)
		slices.Sort(all)
		if slices.Equal(slices.Compact(slices.Clone(all)), want) {
			return
		}
		select {
		case <-k.taken:
		case <-timeout:
			t.Fatalf("taken: %q, want %q", all, want)
		}
	}
}

// The machines of a cluster share the messages of an event hub. One for a shard without a machine is read again until a machine has the shard.
func TestSharedEventHub(t *testing.T) {
	s := natstest.New(t)
	cluster, c, producer := startSharedHub(t, s)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	var first *bridge.SharedReceiver
	for range 2 {
		r := bridge.NewSharedReceiver(openMachine(t, s), slog.New(slog.DiscardHandler))
		first = r
		go func() { ended <- r.Run(ctx, c, nil) }()
	}
	k, _ := answerShard(t, openMachine(t, s), 1)
	askable(t, first, 1)
	k.got()
	<-k.taken
	send := func(partition int32, shard int, id string) {
		t.Helper()
		sendTo(t, producer, partition, first.ClientState(shard, "secret"), id)
	}
	send(0, 1, "a")
	send(1, 1, "b")
	k.await(t, "a", "b")
	send(0, 2, "later")
	two, _ := answerShard(t, openMachine(t, s), 2)
	two.await(t, "later")
	send(0, 1, "d") // which is read when the one before counts as read
	k.await(t, "d")
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	read := int64(0)
	for _, commit := range cluster.GroupInfo(hubGroup).Commits[hubName] {
		read += commit.Offset
	}
	if read < 3 {
		t.Errorf("%d messages count as read, want at least 3 of 4", read)
	}
}

// A shard that no machine has holds up the others for a bounded time only. What is for others comes once.
func TestSharedEventHubSkipsShardWithoutMachine(t *testing.T) {
	s := natstest.New(t)
	_, c, producer := startSharedHub(t, s)
	c.Cluster.Lease = 10 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	log := &buffer{}
	r := bridge.NewSharedReceiver(openMachine(t, s), slog.New(slog.NewTextHandler(log, nil)))
	k, _ := answerShard(t, openMachine(t, s), 1)
	askable(t, r, 1)
	k.got()
	// One batch, because it is there before the receiver is.
	for i, shard := range []int{2, 1, 2, 1} {
		sendTo(t, producer, 0, r.ClientState(shard, "secret"), string(rune('a'+i)))
	}
	go func() { ended <- r.Run(ctx, c, nil) }()
	k.await(t, "b", "d")
	sendTo(t, producer, 0, r.ClientState(1, "secret"), "e") // which is read when those before count as read
	k.await(t, "e")
	const skipped = `msg="notifications skipped: no machine has their shard" component=notifications shard=2`
	if text := log.String(); strings.Count(text, `msg="notifications not recorded" component=notifications shard=2`) != 1 || strings.Count(text, skipped) != 1 {
		t.Errorf("log:\n%s", text)
	}
	two, _ := answerShard(t, openMachine(t, s), 2)
	askable(t, r, 2)
	two.await(t, "first")
	if want := `msg="notifications recorded again" component=notifications shard=2 skipped=2`; !strings.Contains(log.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, log)
	}
	sendTo(t, producer, 0, r.ClientState(2, "secret"), "f")
	two.await(t, "f")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if all := k.all; !slices.Equal(all, []string{"first", "b", "d", "e"}) {
		t.Errorf("the other shard got %q, want each once", all)
	}
}
