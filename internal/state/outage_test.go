package state_test

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A write waits for servers that are away for less than the lease.
func TestClusterShortOutage(t *testing.T) {
	t.Parallel()
	s := natstest.New(t)
	d, log := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Lease = time.Minute })
	l := acquire(t, d)
	db := openDatabase(t, d)
	if err := db.Bucket("journal").Put("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	done := make(chan error, 1)
	db.Commit(func(tx state.Tx) { tx.Put("journal", "b", []byte("2")) }, func(err error) { done <- err })
	read := make(chan error, 1)
	go func() {
		v, err := db.Bucket("journal").Get("a")
		if err == nil && string(v) != "1" {
			err = fmt.Errorf("the value is %q", v)
		}
		read <- err
	}()
	// A file is not waited for as long: nobody has a lease of it.
	if _, err := d.Read("tokens-work"); !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "no connection to nats://") {
		t.Errorf("a file while the servers are away: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("the write ended while the servers were away: %v", err)
	case err := <-read:
		t.Fatalf("the read ended while the servers were away: %v", err)
	default:
	}
	s.Start()
	if err := <-done; err != nil {
		t.Fatalf("the write after the outage: %v\n%s", err, log)
	}
	if err := <-read; err != nil {
		t.Errorf("the read after the outage: %v", err)
	}
	if err := l.Err(); err != nil {
		t.Errorf("the lease: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, readAll(t, db.Bucket("journal"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// When the servers are away for longer, writes fail and the lease ends. The same process takes the state again when they are back.
func TestClusterLongOutage(t *testing.T) {
	t.Parallel()
	s := natstest.New(t)
	d, log := machine(t, []string{s.ClientURL}, nil)
	l := acquire(t, d)
	db := openDatabase(t, d)
	if err := db.Bucket("journal").Put("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	err := db.Bucket("journal").Put("a", []byte("2"))
	if !errors.Is(err, state.ErrLeaseLost) || !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("a write while the servers are away: %v", err)
	}
	<-l.Context().Done()
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	l.Release()
	s.Start()
	again := acquire(t, d)
	if again.Epoch() != l.Epoch()+1 {
		t.Errorf("epoch %d after %d", again.Epoch(), l.Epoch())
	}
	b := openDatabase(t, d).Bucket("journal")
	if diff := cmp.Diff(map[string]string{"a": "1"}, readAll(t, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := b.Put("a", []byte("3")); err != nil {
		t.Errorf("a write after the outage: %v", err)
	}
	if !strings.Contains(log.String(), "connection to NATS lost") {
		t.Errorf("log: %s", log)
	}
}

// Servers that refuse the credentials of a running machine are tried all the time. The reason is logged once.
func TestRefusedCredentialsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	users := func(password string) func(*server.Options) {
		return func(o *server.Options) { o.Users = []*server.User{{Username: "graph2mqtt", Password: password}} }
	}
	s := natstest.New(t, users("secret"))
	log := new(syncBuffer)
	c := state.ClusterOptions{Servers: []string{s.ClientURL}, Bucket: "test", Lease: 2 * time.Second, Username: "graph2mqtt", Password: "secret"}
	d, err := state.OpenCluster(t.Context(), t.TempDir(), keyFile(t), c, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s.Restart(users("changed")) // a reload that disconnects clients has a data race in the server
	const reported = `msg="NATS reported an error" error="nats: authorization violation"`
	for end := time.Now().Add(time.Minute); strings.Count(log.String(), reported) < 4; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("the servers are not tried again:\n%s", log)
		}
	}
	if n := strings.Count(log.String(), "level=WARN "+reported); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
}

// The state survives the loss of any one of three servers, and so does the lease.
func TestClusterOfThreeServers(t *testing.T) {
	t.Parallel()
	servers := natstest.NewCluster(t, 3)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL)
	}
	d, log := machine(t, urls, func(c *state.ClusterOptions) { c.Lease = 30 * time.Second })
	l := acquire(t, d)
	b := openDatabase(t, d).Bucket("journal")
	want := map[string]string{}
	put := func(k string) {
		t.Helper()
		if err := b.Put(k, []byte(k)); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		want[k] = k
	}
	for i := range 20 {
		put(fmt.Sprint("before", i))
	}
	// The leader of the stream is the worst to lose.
	for _, s := range servers {
		if s.IsLeader("KV_test") {
			s.Kill()
			break
		}
	}
	for i := range 20 {
		put(fmt.Sprint("after", i))
	}
	if err := l.Err(); err != nil {
		t.Errorf("the lease: %v", err)
	}
	if diff := cmp.Diff(want, readAll(t, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(log.String(), "the state is on one NATS server only") {
		t.Error("the bucket has one replica")
	}
}

// If a cluster has too few servers for the bucket, the error says to try again: the other servers may be starting.
func TestClusterTooSmall(t *testing.T) {
	t.Parallel()
	var urls []string
	for _, s := range natstest.NewCluster(t, 3) {
		urls = append(urls, s.ClientURL)
	}
	c := state.ClusterOptions{Servers: urls, Bucket: "test", Lease: 2 * time.Second, Replicas: 5}
	_, err := state.OpenCluster(t.Context(), t.TempDir(), keyFile(t), c, slog.New(slog.DiscardHandler))
	if !errors.Is(err, state.ErrUnavailable) {
		t.Fatalf("not an error after which to try again: %v", err)
	}
	if !strings.Contains(err.Error(), "create it with 5 replicas: ") || strings.Contains(err.Error(), state.ErrUnavailable.Error()) {
		t.Errorf("the error is %q", err)
	}
	c.Replicas = 3
	d, err := state.OpenCluster(t.Context(), t.TempDir(), keyFile(t), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

// Everything can be copied to NATS and back.
func TestCopy(t *testing.T) {
	t.Parallel()
	s := natstest.New(t)
	path := t.TempDir()
	local, _ := open(t, path, keyFile(t))
	if err := local.Write("tokens-work", []byte("a token")); err != nil {
		t.Fatal(err)
	}
	if err := local.Write("tokens-work", []byte("a newer token")); err != nil {
		t.Fatal(err)
	}
	db := openDatabase(t, local)
	if err := db.Bucket("journal").Put("a/b", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := db.Bucket("snapshots").Put("work", []byte(strings.Repeat("x", 5000))); err != nil {
		t.Fatal(err)
	}
	shared, _ := machineIn(t, path, []string{s.ClientURL}, nil)
	if _, err := state.Copy(t.Context(), local, shared, false, nil); err == nil || !strings.Contains(err.Error(), "another graph2mqtt") {
		t.Errorf("copied while a bridge has the directory: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := state.Copy(t.Context(), local, shared, false, nil); err != nil || n != (state.Copied{Files: 1, Keys: 2}) {
		t.Fatalf("%+v, %v", n, err)
	}
	if _, err := state.Copy(t.Context(), local, shared, false, nil); !errors.Is(err, state.ErrNotEmpty) {
		t.Errorf("copied over a copy: %v", err)
	}
	if shared.ID() != local.ID() {
		t.Errorf("ids %s and %s", shared.ID(), local.ID())
	}
	// A change there, and back to another directory.
	l := acquire(t, shared)
	if err := openDatabase(t, shared).Bucket("journal").Put("a/b", []byte("2")); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, t.TempDir(), "")
	if err := other.Write("tokens-old", []byte("old")); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Copy(t.Context(), shared, other, true, nil); err == nil || !strings.Contains(err.Error(), "a bridge is running on it") {
		t.Errorf("copied while a bridge has the cluster: %v", err)
	}
	l.Release()
	if n, err := state.Copy(t.Context(), shared, other, true, nil); err != nil || n != (state.Copied{Files: 1, Keys: 2}) {
		t.Fatalf("%+v, %v", n, err)
	}
	if _, err := other.Read("tokens-old"); err == nil {
		t.Error("the target has what the source has not")
	}
	if got, err := other.Read("tokens-work"); err != nil || string(got) != "a newer token" {
		t.Errorf("the token is %q, %v", got, err)
	}
	back := openDatabase(t, other)
	if got := readAll(t, back.Bucket("journal")); !cmp.Equal(got, map[string]string{"a/b": "2"}) {
		t.Errorf("the journal has %v", got)
	}
	if got := readAll(t, back.Bucket("snapshots")); len(got["work"]) != 5000 {
		t.Errorf("the snapshots have %v", got)
	}
}
