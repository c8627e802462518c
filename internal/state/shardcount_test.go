package state_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A shardedBucket is the bucket of a cluster, which an administrator changes.
type shardedBucket struct {
	t      *testing.T
	server *natstest.NATS
	js     jetstream.JetStream
	stream jetstream.Stream
}

func newShardedBucket(t *testing.T, s *natstest.NATS) *shardedBucket {
	t.Helper()
	js, stream := stream(t, s)
	return &shardedBucket{t, s, js, stream}
}

// remove deletes a key as the command line of NATS does, with this operation.
func (b *shardedBucket) remove(key, operation string) {
	b.t.Helper()
	m := nats.NewMsg("$KV.test." + key)
	m.Header.Set("KV-Operation", operation)
	if operation == "PURGE" {
		m.Header.Set("Nats-Rollup", "sub")
	}
	if _, err := b.js.PublishMsg(b.t.Context(), m); err != nil {
		b.t.Fatal(err)
	}
}

func (b *shardedBucket) put(key, value string) {
	b.t.Helper()
	if _, err := b.js.Publish(b.t.Context(), "$KV.test."+key, []byte(value)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *shardedBucket) value(key string) string {
	b.t.Helper()
	m, err := b.stream.GetLastMsgForSubject(b.t.Context(), "$KV.test."+key)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(m.Data)
}

// conn returns another connection.
func (b *shardedBucket) conn(t *testing.T) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(b.server.ClientURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// open opens the bucket with a number of shards.
func (b *shardedBucket) open(shards int) (log string, err error) {
	b.t.Helper()
	out := new(syncBuffer)
	o := state.ClusterOptions{Servers: []string{b.server.ClientURL}, Bucket: "test", Lease: 2e9, Shards: shards}
	d, err := state.OpenCluster(b.t.Context(), b.t.TempDir(), keyFile(b.t), o, slog.New(slog.NewTextHandler(out, nil)))
	if err == nil {
		d.Close()
	}
	return out.String(), err
}

// takeAll takes all shards once and gives them up.
func takeAll(t *testing.T, d *state.Dir) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	taken := make(chan int)
	ended := make(chan error, 1)
	go func() {
		ended <- d.ServeShards(ctx, func(ctx context.Context, s state.Shard) error {
			select {
			case taken <- s.Number:
			case <-ctx.Done():
			}
			<-ctx.Done()
			return nil
		})
	}()
	for range d.Shards() {
		<-taken
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// A bucket with data of shards that has lost their number is opened with this number only.
func TestShardsKeyMissing(t *testing.T) {
	for _, operation := range []string{"DEL", "PURGE"} {
		t.Run(operation, func(t *testing.T) {
			s := natstest.New(t)
			d, _ := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Shards = 3 })
			b := newShardedBucket(t, s)
			takeAll(t, d)
			b.remove("shards", operation)
			for _, shards := range []int{1, 2, 4} {
				_, err := b.open(shards)
				wantError(t, err, fmt.Sprintf("the bucket test of NATS was made with cluster.shards: 3, not %d; set cluster.shards to 3, or copy the state to another bucket", shards))
			}
			if got := b.value("shards"); got != "" {
				t.Fatalf("a machine that was refused has set the number to %s", got)
			}
			log, err := b.open(3)
			if err != nil || b.value("shards") != "3" || !strings.Contains(log, `msg="the number of shards was missing in the bucket and was written again" bucket=test shards=3`) {
				t.Errorf("%v, shards %s, log:\n%s", err, b.value("shards"), log)
			}
			if log, err := b.open(3); err != nil || strings.Contains(log, "missing") {
				t.Errorf("again: %v, log:\n%s", err, log)
			}

			// Leases of an earlier version do not tell it.
			b.remove("shards", operation)
			for n := range 3 {
				b.put(fmt.Sprintf("shard.%d.lease", n), `{"holder":"","worker":"w","epoch":1,"lease":2000000000}`)
			}
			const unknown = "the bucket test of NATS has data of several shards, but its key shards, the number of shards, is missing; write it again: nats kv put test shards NUMBER, or restore a backup"
			for _, shards := range []int{1, 3, 4} {
				_, err := b.open(shards)
				wantError(t, err, unknown)
			}
			for n := range 3 {
				b.remove(fmt.Sprintf("shard.%d.lease", n), operation)
			}
			b.put("shard.2.data.snapshots.a", "x")
			_, err = b.open(3)
			wantError(t, err, unknown)
			b.put("shards", "3")
			if _, err := b.open(3); err != nil {
				t.Errorf("with the number again: %v", err)
			}
		})
	}
}

// The state of one machine is not opened with several shards, also if the bucket does not have the number.
func TestShardsKeyMissingWithOneShard(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	b := newShardedBucket(t, s)
	b.remove("shards", "DEL")
	if _, err := b.open(2); err != nil { // without data every number is right
		t.Fatal(err)
	}
	b.put("shards", "1")
	acquire(t, d).Release()
	b.remove("shards", "DEL")
	_, err := b.open(2)
	wantError(t, err, "the bucket test of NATS was made with cluster.shards: 1, not 2; set cluster.shards to 1, or copy the state to another bucket")
	if log, err := b.open(1); err != nil || b.value("shards") != "1" || !strings.Contains(log, "was missing") {
		t.Errorf("%v, log:\n%s", err, log)
	}
}

// Machines that work write the keys again that identify the bucket, also with one shard. Others are not written, and a machine that starts
// has the same id and needs the same key.
func TestDeletedKeysAreKept(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			s := natstest.New(t)
			d, log := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Shards = shards })
			b := newShardedBucket(t, s)
			keys := []string{"id", "mark", "shards"}
			before := map[string]string{}
			for _, key := range keys {
				before[key] = b.value(key)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			if shards == 1 {
				l := acquire(t, d)
				go func() {
					<-ctx.Done()
					l.Release()
					ended <- nil
				}()
			} else {
				go func() {
					ended <- d.ServeShards(ctx, func(ctx context.Context, _ state.Shard) error {
						<-ctx.Done()
						return nil
					})
				}()
			}
			for _, operation := range []string{"DEL", "PURGE"} {
				for _, key := range keys {
					b.remove(key, operation)
					got := ""
					for got == "" {
						got = b.value(key)
					}
					if got != before[key] && key != "mark" {
						t.Errorf("%s is %q, want %q", key, got, before[key])
					}
				}
			}
			if n := strings.Count(log.String(), "a key was deleted from the bucket"); n != 2*len(keys) || strings.Contains(log.String(), "not written again") {
				t.Errorf("log:\n%s", log)
			}
			again, _ := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Shards = shards })
			if again.ID() != d.ID() {
				t.Errorf("a machine that starts has the id %s, want %s", again.ID(), d.ID())
			}
			b.put("id", "0123abcd") // by a machine that has started meanwhile
			for !strings.Contains(log.String(), `msg="the id in the bucket was changed`) {
				b.value("id") // takes a moment
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// A machine that works writes the number again, and stops when it has become another one.
func TestShardsKeyChangesWhileRunning(t *testing.T) {
	s := natstest.New(t)
	d, log := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Shards = 3 })
	b := newShardedBucket(t, s)
	written, err := b.conn(t).SubscribeSync("$KV.test.shards")
	if err != nil {
		t.Fatal(err)
	}
	taken, ended := make(chan int, 100), make(chan error, 1)
	go func() {
		ended <- d.ServeShards(t.Context(), func(ctx context.Context, s state.Shard) error {
			taken <- s.Number
			<-ctx.Done()
			return nil
		})
	}()
	for range 3 {
		<-taken
	}
	b.remove("shards", "DEL")
	for {
		m, err := written.NextMsgWithContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "3" {
			break
		}
	}
	if want := `msg="a key was deleted from the bucket and is written again" bucket=test key=shards`; !strings.Contains(log.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, log)
	}
	if len(taken) > 0 {
		t.Errorf("%d shards were taken again", len(taken))
	}
	b.put("shards", "4")
	err = <-ended
	wantError(t, err, "the number of shards in the bucket was changed to 4, and this machine works with 3; write 3 again, or set cluster.shards to 4")
	if errors.Is(err, state.ErrLeaseLost) {
		t.Error("it goes on")
	}
}
