package state_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// digests returns a function that waits until a record of the bucket has another digest than before, and returns it.
func digests(t *testing.T, s *natstest.NATS, subject string) func(before string) string {
	t.Helper()
	conn, err := nats.Connect(s.ClientURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	written, err := conn.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return func(before string) string {
		t.Helper()
		for {
			m, err := written.NextMsgWithContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var record struct{ Config string }
			if err := json.Unmarshal(m.Data, &record); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(m.Data, []byte("secret")) {
				t.Errorf("the record shows the configuration: %s", m.Data)
			}
			if record.Config != before {
				return record.Config
			}
		}
	}
}

// keepShards has a machine take its part of the shards until the test ends.
func keepShards(t *testing.T, d *state.Dir) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.ServeShards(ctx, func(ctx context.Context, _ state.Shard) error {
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The lease of one shard has the digest of the configuration, which depends on the key and the configuration only, and follows its changes
// with the renewals.
func TestAnnounce(t *testing.T) {
	s := natstest.New(t)
	a, _ := machine(t, []string{s.ClientURL}, nil)
	next := digests(t, s, "$KV.test.lease")
	a.Announce([]byte("secret 1"))
	l := acquire(t, a)
	first := next("")
	a.Announce([]byte("secret 2"))
	second := next(first)
	l.Release()

	b, _ := machine(t, []string{s.ClientURL}, nil)
	b.Announce([]byte("secret 1"))
	acquire(t, b)
	if again := next(second); again != first {
		t.Errorf("two machines with the same configuration announce %s and %s", first, again)
	}
}

// With several shards the members have the digest, and the leases have none.
func TestAnnounceMembers(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) { c.Shards = 2 })
	next, leases := digests(t, s, "$KV.test.member.>"), digests(t, s, "$KV.test.shard.0.lease")
	d.Announce([]byte("secret 1"))
	keepShards(t, d)
	first := next("")
	d.Announce([]byte("secret 2"))
	next(first)
	if !d.IsMember() || !d.IsSharing(time.Minute) || d.IsSharing(0) {
		t.Error("a machine that works does not take part")
	}
	if got := leases("none"); got != "" {
		t.Errorf("a lease has the digest %s", got)
	}
}
