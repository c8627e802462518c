package state_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// machine opens the state of a cluster as a machine with a directory of its own.
func machine(t testing.TB, urls []string, change func(*state.ClusterOptions)) (*state.Dir, *syncBuffer) {
	t.Helper()
	return machineIn(t, t.TempDir(), urls, change)
}

// keyFile returns a file with the key of all machines.
func keyFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(keyOf(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func machineIn(t testing.TB, dir string, urls []string, change func(*state.ClusterOptions)) (*state.Dir, *syncBuffer) {
	t.Helper()
	c := state.ClusterOptions{Servers: urls, Bucket: "test", Lease: 2 * time.Second}
	if change != nil {
		change(&c)
	}
	log := new(syncBuffer)
	d, err := state.OpenCluster(t.Context(), dir, keyFile(t), c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, log
}

// A syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func acquire(t testing.TB, d *state.Dir) *state.Lease {
	t.Helper()
	l, err := d.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

func TestClusterDatabase(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	l := acquire(t, d)
	db := openDatabase(t, d)
	b := db.Bucket("journal")

	if v, err := b.Get("a"); v != nil || err != nil {
		t.Errorf("Get of nothing: %q, %v; want nil, nil", v, err)
	}
	if err := b.Delete("a"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if got := readAll(t, b); len(got) > 0 {
		t.Errorf("Each of nothing: %v", got)
	}
	want := map[string]string{"b": "a very secret text", "c": "", "d": strings.Repeat("large ", 10_000), "Küche/1 #+.=*>": "odd"}
	err := db.CommitSync(func(tx state.Tx) {
		for k, v := range want {
			tx.Put("journal", k, []byte(v))
		}
		tx.Put("journal", "gone", []byte("1"))
		tx.Put("journal.other", "b", []byte("another bucket"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete("gone"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readAll(t, b)); diff != "" {
		t.Errorf("Each (-want +got):\n%s", diff)
	}
	for k, v := range want {
		if got, err := b.Get(k); err != nil || string(got) != v || got == nil {
			t.Errorf("Get of %q: %d bytes, %v", k, len(got), err)
		}
	}
	stats := db.Stats()
	if stats.Bytes > 2000 {
		t.Errorf("%d bytes were written for a text of 60 kB that repeats itself", stats.Bytes)
	}
	wantError(t, b.Put("", nil), "write journal/ in the database test of NATS: key required")

	// Another machine sees the same once the first has stopped.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	l.Release()
	other, _ := machine(t, []string{s.ClientURL}, nil)
	if other.ID() != d.ID() {
		t.Errorf("ids %s and %s", d.ID(), other.ID())
	}
	begun := time.Now()
	acquire(t, other)
	if waited := time.Since(begun); waited > time.Second {
		t.Errorf("waited %s although the lease was released", waited)
	}
	if diff := cmp.Diff(want, readAll(t, openDatabase(t, other).Bucket("journal"))); diff != "" {
		t.Errorf("on another machine (-want +got):\n%s", diff)
	}
	files, err := filepath.Glob(filepath.Join(d.Path(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := filepath.Base(f); name != "id" && filepath.Ext(name) != ".lock" {
			t.Errorf("the directory has the file %s", name)
		}
	}
}

// A transaction takes place completely or not at all, also if it is larger than JetStream accepts at once.
func TestClusterManyChanges(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	acquire(t, d)
	db := openDatabase(t, d)
	want := map[string]string{}
	err := db.CommitSync(func(tx state.Tx) {
		for i := range 3000 {
			k := fmt.Sprint("k", i)
			want[k] = fmt.Sprint(i)
			tx.Put("mqtt", k, []byte(want[k]))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readAll(t, db.Bucket("mqtt"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClusterValueTooLarge(t *testing.T) {
	s := natstest.New(t, func(o *server.Options) { o.MaxPayload = 100_000 })
	d, _ := machine(t, []string{s.ClientURL}, nil)
	acquire(t, d)
	db := openDatabase(t, d)
	noise := make([]byte, 120_000)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	done := make(chan error, 2)
	db.Commit(func(tx state.Tx) { tx.Put("snapshots", "work/mail", noise) }, func(err error) { done <- err })
	db.Commit(func(tx state.Tx) { tx.Put("snapshots", "work/chat", []byte("small")) }, func(err error) { done <- err })
	want := "write snapshots/work/mail in the database test of NATS: the value has 120041 bytes after compression, but the NATS servers accept at most 95904; " +
		"raise max_payload of the servers, or have fewer items read"
	wantError(t, <-done, want)
	if err := <-done; err != nil {
		t.Errorf("another change: %v", err)
	}
	if err := d.Write("tokens", noise); err == nil || !strings.Contains(err.Error(), "raise max_payload") {
		t.Errorf("a file: %v", err)
	}
}

func TestClusterNeedsTheSameKey(t *testing.T) {
	s := natstest.New(t)
	machine(t, []string{s.ClientURL}, nil)
	c := state.ClusterOptions{Servers: []string{s.ClientURL}, Bucket: "test", Lease: time.Second}
	t.Setenv("GRAPH2MQTT_KEY", keyOf(2))
	_, err := state.OpenCluster(t.Context(), t.TempDir(), "", c, slog.New(slog.DiscardHandler))
	if !errors.Is(err, state.ErrOtherKey) || !strings.Contains(err.Error(), "every machine of a cluster needs the same key") {
		t.Errorf("another key: %v", err)
	}
	t.Setenv("GRAPH2MQTT_KEY", "")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	dir := t.TempDir()
	_, err = state.OpenCluster(t.Context(), dir, "", c, slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(err.Error(), "cluster: every machine needs the same key, and this one has none") {
		t.Errorf("no key: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
}

func TestClusterServerErrors(t *testing.T) {
	open := func(c state.ClusterOptions) error {
		t.Setenv("GRAPH2MQTT_KEY", keyOf(1))
		c.Lease = time.Second
		d, err := state.OpenCluster(t.Context(), t.TempDir(), "", c, slog.New(slog.DiscardHandler))
		if err == nil {
			d.Close()
		}
		return err
	}
	plain := natstest.New(t, func(o *server.Options) { o.JetStream, o.MQTT = false, server.MQTTOpts{} })
	protected := natstest.New(t, func(o *server.Options) { o.Username, o.Password = "graph2mqtt", "secret" })
	for name, test := range map[string]struct {
		cluster state.ClusterOptions
		want    []string
	}{
		"nobody listens": {state.ClusterOptions{Servers: []string{"nats://127.0.0.1:1"}, Bucket: "b"}, []string{"connect to nats://127.0.0.1:1", "NATS does not answer"}},
		"no JetStream":   {state.ClusterOptions{Servers: []string{plain.ClientURL}, Bucket: "b"}, []string{"the bucket b of NATS at " + plain.ClientURL, "NATS does not answer", "JetStream is not enabled on the servers"}},
		"wrong password": {state.ClusterOptions{Servers: []string{protected.ClientURL}, Bucket: "b", Username: "graph2mqtt", Password: "wrong"}, []string{"connect to " + protected.ClientURL + ": NATS refuses cluster.username with its password, or cluster.credentials_file"}},
		"too few servers": {state.ClusterOptions{Servers: []string{protected.ClientURL}, Bucket: "b", Username: "graph2mqtt", Password: "secret", Replicas: 3},
			[]string{"create it with 3 replicas", "set cluster.replicas"}},
	} {
		err := open(test.cluster)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error:\n  %v\nlacks %s", name, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "NATS does not answer") != slices.Contains(test.want, "NATS does not answer") {
			t.Errorf("%s: whether the servers answer: %v", name, err)
		}
		if !errors.Is(err, state.ErrUnavailable) != (name == "too few servers") {
			t.Errorf("%s: whether to try again: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "wrong\"") {
			t.Errorf("%s: the password is in %v", name, err)
		}
	}
	if err := open(state.ClusterOptions{Servers: []string{protected.ClientURL}, Bucket: "b", Username: "graph2mqtt", Password: "secret"}); err != nil {
		t.Errorf("right password: %v", err)
	}
}

func TestClusterFiles(t *testing.T) {
	s := natstest.New(t)
	a, _ := machine(t, []string{s.ClientURL}, nil)
	b, _ := machine(t, []string{s.ClientURL}, nil)
	if _, err := a.Read("tokens-work"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of nothing: %v", err)
	}
	if _, err := a.Version("tokens-work"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Version of nothing: %v", err)
	}
	if err := a.Write("tokens-work", []byte("one")); err != nil {
		t.Fatal(err)
	}
	first, err := a.Version("tokens-work")
	if err != nil || !first.Equal(first) {
		t.Errorf("Version: %v, %v", first, err)
	}
	if got, err := b.Read("tokens-work"); err != nil || string(got) != "one" {
		t.Errorf("Read: %q, %v", got, err)
	}
	if err := b.Write("tokens-work", []byte("two")); err != nil {
		t.Fatal(err)
	}
	if second, err := a.Version("tokens-work"); err != nil || second.Equal(first) {
		t.Errorf("the version did not change: %v", err)
	}
	// The first has not seen the change of the second.
	if err := a.Write("tokens-work", []byte("three")); err == nil || !strings.Contains(err.Error(), "it was changed by another process") {
		t.Errorf("Write over an unread change: %v", err)
	}
	if got, err := a.Read("tokens-work"); err != nil || string(got) != "two" {
		t.Errorf("Read: %q, %v", got, err)
	}
	if err := a.Remove("tokens-work"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read("tokens-work"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read after Remove: %v", err)
	}
	if err := b.Write("tokens-work", []byte("four")); err != nil {
		t.Errorf("Write after Remove: %v", err)
	}
}

// A change by another machine is reported with the name of the file.
func TestClusterWatch(t *testing.T) {
	s := natstest.New(t)
	a, _ := machine(t, []string{s.ClientURL}, nil)
	b, _ := machine(t, []string{s.ClientURL}, nil)
	if err := a.Write("tokens-other", []byte("unchanged")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	notified := make(chan string)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		_ = b.Watch(ctx, func(name string) {
			select {
			case notified <- name:
			case <-ctx.Done():
			}
		})
	})
	// It reports what changes after it has begun, which nobody else knows.
	again := time.NewTicker(300 * time.Millisecond)
	defer again.Stop()
	for i := 0; ; i++ {
		select {
		case name := <-notified:
			if name != "tokens-work" {
				t.Errorf("%q has changed", name)
			}
			return
		case <-again.C:
			if err := a.Write("tokens-work", fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Only one process of all machines is inside the lock.
func TestClusterLock(t *testing.T) {
	s := natstest.New(t)
	var inside, most, total int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 3 {
		d, _ := machine(t, []string{s.ClientURL}, nil)
		for range 3 {
			all.Go(func() {
				err := d.WithLock(t.Context(), "tokens-work", func() error {
					mu.Lock()
					inside++
					total++
					most = max(most, inside)
					mu.Unlock()
					runtime.Gosched()
					mu.Lock()
					inside--
					mu.Unlock()
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if most != 1 || total != 9 {
		t.Errorf("%d at once, %d in all; want 1, 9", most, total)
	}
}

// What a process writes is refused from the moment when another one has taken the state, and nothing of it is stored.
func TestClusterFencing(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	l := acquire(t, d)
	db := openDatabase(t, d)
	if err := db.Bucket("journal").Put("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	// A process on the same directory may take over at once: the first can only be dead.
	thief, err := state.AcquireAgain(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Release()
	if thief.Epoch() <= l.Epoch() {
		t.Errorf("epochs %d and %d", l.Epoch(), thief.Epoch())
	}
	err = db.CommitSync(func(tx state.Tx) {
		tx.Put("journal", "a", []byte("2"))
		tx.Put("journal", "b", []byte("2"))
	})
	if !errors.Is(err, state.ErrLeaseLost) {
		t.Errorf("late write: %v", err)
	}
	<-l.Context().Done()
	if err := l.Err(); !errors.Is(err, state.ErrLeaseLost) || !strings.Contains(err.Error(), "has taken it") {
		t.Errorf("the cause is %v", err)
	}
	l.Release()
	state.SetLease(d, thief)
	if got := readAll(t, openDatabase(t, d).Bucket("journal")); !cmp.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("the bucket has %v", got)
	}
}

// clusterPermissions returns the permissions that a cluster without notifications needs.
func clusterPermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$KV.test.>", "$JS.API.STREAM.INFO.KV_test", "$JS.API.STREAM.CREATE.KV_test", "$JS.API.STREAM.UPDATE.KV_test", "$JS.API.STREAM.MSG.GET.KV_test",
			"$JS.API.CONSUMER.CREATE.KV_test.>", "$JS.API.CONSUMER.DELETE.KV_test.>", "$JS.API.CONSUMER.MSG.NEXT.KV_test.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
}

// The permissions that the documentation names are enough.
func TestClusterPermissions(t *testing.T) {
	s := natstest.New(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "graph2mqtt", Password: "secret", Permissions: clusterPermissions()}}
	})
	user := func(c *state.ClusterOptions) { c.Username, c.Password = "graph2mqtt", "secret" }
	d, log := machine(t, []string{s.ClientURL}, user)
	l := acquire(t, d)
	db := openDatabase(t, d)
	err := db.CommitSync(func(tx state.Tx) { tx.Put("journal", "a", []byte("1")); tx.Put("journal", "b", []byte("2")) })
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, db.Bucket("journal")); len(got) != 2 {
		t.Errorf("the bucket has %v", got)
	}
	if err := d.WithLock(t.Context(), "tokens-work", func() error { return d.Write("tokens-work", []byte("x")) }); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	l.Release()
	if text := log.String(); strings.Contains(text, "NATS reported an error") || strings.Contains(text, "released") {
		t.Errorf("log: %s", text)
	}
}

// A missing permission is named: the servers do not answer a request without it.
func TestClusterPermissionMissing(t *testing.T) {
	s := natstest.New(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "graph2mqtt", Password: "secret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"$KV.test.>"}}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}}
	})
	t.Setenv("GRAPH2MQTT_KEY", keyOf(1))
	c := state.ClusterOptions{Servers: []string{s.ClientURL}, Bucket: "test", Lease: time.Second, Username: "graph2mqtt", Password: "secret"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := state.OpenCluster(ctx, t.TempDir(), "", c, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "the user of NATS lacks a permission") || !strings.Contains(err.Error(), `Publish to "$JS.API.STREAM.INFO.KV_test"`) || !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("error: %v", err)
	}
}

// A bucket that is full refuses what makes it larger, and nothing else: the lease is kept, as on a full disk.
func TestClusterFullBucket(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	l := acquire(t, d)
	db := openDatabase(t, d)
	if err := db.Bucket("journal").Put("a", bytes.Repeat([]byte("random"), 10)); err != nil {
		t.Fatal(err)
	}
	setMaxBytes(t, s, 2000)
	value := make([]byte, 2000)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	if err := db.Bucket("journal").Put("b", value); err == nil || !strings.Contains(err.Error(), "the NATS servers cannot store it: maximum bytes exceeded; raise the limit of the bucket test") {
		t.Errorf("error: %v", err)
	}
	if err := l.Err(); err != nil {
		t.Errorf("the lease: %v", err)
	}
	setMaxBytes(t, s, -1)
	if err := db.Bucket("journal").Put("b", value); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// stream returns the stream of the bucket to a client that may do everything.
func stream(t *testing.T, s *natstest.NATS) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	conn, err := nats.Connect(s.ClientURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_test")
	if err != nil {
		t.Fatal(err)
	}
	return js, stream
}

func setMaxBytes(t *testing.T, s *natstest.NATS, n int64) {
	t.Helper()
	js, stream := stream(t, s)
	c := stream.CachedInfo().Config
	c.MaxBytes = n
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// When the bucket is deleted, the error says so, and the lease ends.
func TestClusterDeletedBucket(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	l := acquire(t, d)
	js, _ := stream(t, s)
	if err := js.DeleteStream(t.Context(), "KV_test"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("tokens-work"); err == nil || !strings.Contains(err.Error(), "the bucket test of NATS was deleted; restore it, or start graph2mqtt again to make an empty one") {
		t.Errorf("read: %v", err)
	}
	<-l.Context().Done()
}

// When the bucket of shards is deleted, sharing them can still be ended.
func TestClusterDeletedBucketOfShards(t *testing.T) {
	s := natstest.New(t)
	d, log := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Shards = 2 })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served, ended := make(chan *state.Lease), make(chan error, 1)
	go func() {
		ended <- d.ServeShards(ctx, func(ctx context.Context, shard state.Shard) error {
			served <- shard.Lease
			<-ctx.Done()
			return nil
		})
	}()
	leases := []*state.Lease{<-served, <-served}
	js, _ := stream(t, s)
	following, err := js.Conn().SubscribeSync("$JS.API.CONSUMER.CREATE.KV_test.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "KV_test"); err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		<-l.Context().Done()
	}
	if text := log.String(); !strings.Contains(text, "the bucket test of NATS was deleted; restore it") || strings.Contains(text, "JetStream") {
		t.Errorf("the log does not tell what is known:\n%s", text)
	}
	if _, err := following.NextMsg(time.Minute); err != nil { // the machine tries to read the records again
		t.Fatal(err)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("it goes on:\n%s", log)
	}
}

// What others write to the bucket is left out and named, and does not hide what is there.
func TestClusterForeignKeys(t *testing.T) {
	s := natstest.New(t)
	d, log := machine(t, []string{s.ClientURL}, nil)
	l := acquire(t, d)
	db := openDatabase(t, d)
	if err := db.Bucket("journal").Put("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := d.Write("tokens-work", []byte("a token")); err != nil {
		t.Fatal(err)
	}
	js, _ := stream(t, s)
	for _, key := range []string{"data.journal.=ZZ", "data.=Z.a", "file.=ZZ"} {
		if _, err := js.Publish(t.Context(), "$KV.test."+key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := readAll(t, db.Bucket("journal")); !cmp.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("the journal has %v", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	l.Release()
	other, _ := open(t, t.TempDir(), "")
	if n, err := state.Copy(t.Context(), d, other, false, nil); err != nil || n != (state.Copied{Files: 1, Keys: 1}) {
		t.Errorf("copied %+v, %v", n, err)
	}
	for _, key := range []string{"data.journal.=ZZ", "data.=Z.a", "file.=ZZ"} {
		if want := `msg="a key of the bucket is not of graph2mqtt and is left out" bucket=test key="` + key + `"`; !strings.Contains(log.String(), want) && !strings.Contains(log.String(), strings.ReplaceAll(want, `"`+key+`"`, key)) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

// What reads the bucket once leaves nothing at the servers.
func TestConsumersAreDeleted(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	acquire(t, d)
	db := openDatabase(t, d)
	_, stream := stream(t, s)
	count := func() (n int, longest time.Duration) {
		for info := range stream.ListConsumers(t.Context()).Info() {
			n++
			longest = max(longest, info.Config.InactiveThreshold)
		}
		return n, longest
	}
	var before int
	for before == 0 { // that of the keys that are kept
		before, _ = count()
	}
	for range 5 {
		readAll(t, db.Bucket("journal"))
	}
	if n, longest := count(); n != before || longest > 30*time.Second {
		t.Errorf("%d consumers, want %d; one stays for %s", n, before, longest)
	}
}
