package state

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A messageLog has the messages that are logged with an attribute host.
type messageLog struct {
	slog.Handler
	mu  *sync.Mutex
	all *[]string
}

func newMessageLog() messageLog {
	return messageLog{slog.DiscardHandler, new(sync.Mutex), new([]string)}
}

func (l messageLog) Enabled(context.Context, slog.Level) bool { return true }

func (l messageLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "machine" {
			l.mu.Lock()
			defer l.mu.Unlock()
			*l.all = append(*l.all, fmt.Sprint(r.Level, " ", r.Message, ": ", a.Value))
		}
		return true
	})
	return nil
}

// take returns the messages since the last call.
func (l messageLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := *l.all
	*l.all = nil
	return all
}

const (
	differs = "WARN another machine has a different configuration: "
	agrees  = "INFO another machine has the same configuration again: "
)

// The digest of a configuration depends on the key. Otherwise, a person who reads the bucket could find short passwords by trying.
func TestDigestNeedsTheKey(t *testing.T) {
	digest := func(key byte) string {
		d := &Dir{shared: &shared{bucket: &bucket{configurations: newComparison(slog.New(slog.DiscardHandler))}}}
		if err := d.setKey(bytes.Repeat([]byte{key}, keySize)); err != nil {
			t.Fatal(err)
		}
		d.Announce([]byte("hunter2"))
		return d.shared.bucket.configurations.announced()
	}
	first, second, other := digest(1), digest(1), digest(2)
	if first != second {
		t.Errorf("one key gives the digests %s and %s", first, second)
	}
	if first == other {
		t.Error("the digest does not depend on the key")
	}
}

// A difference is reported once when it has lasted, and its end only if it was reported.
func TestComparison(t *testing.T) {
	now := time.Now()
	log := newMessageLog()
	c := newComparison(slog.New(log))
	after := func(d time.Duration, own, other string, want ...string) {
		t.Helper()
		now = now.Add(d)
		c.setOwn(own)
		c.see("w", other, now)
		if got := log.take(); !cmp.Equal(got, want) {
			t.Errorf("own %q, other %q: logged %q; want %q", own, other, got, want)
		}
	}
	after(0, "1", "")
	after(rolloutTime, "1", "")
	after(0, "2", "1") // a rollout
	after(rolloutTime-1, "2", "1")
	after(1, "2", "2")
	after(time.Hour, "3", "2")
	after(rolloutTime-1, "4", "2") // changed once more
	after(rolloutTime-1, "4", "2")
	after(1, "4", "2", differs+"w")
	after(time.Hour, "4", "2")
	after(1, "4", "3") // another difference
	after(rolloutTime, "4", "3", differs+"w")
	after(1, "4", "5") // they have never agreed since
	after(1, "4", "4", agrees+"w")
	after(1, "4", "4")
	after(1, "4", "3")
	after(rolloutTime-1, "4", "") // an earlier version
	after(rolloutTime, "4", "3")
}

// A machine that stands by compares its configuration with that of the holder.
func TestStandbyCompares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &memoryRegister{record: leaseRecord{Holder: "b1", Worker: "b", Host: "two", Lease: 10 * time.Second, Config: "2"}, revision: 1}
		log := newMessageLog()
		c := newComparison(slog.New(log))
		c.setOwn("1")
		ctx, stop := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			_, _ = acquireLease(ctx, &node{register: r, name: "a"}, leaseRecord{Holder: "a1", Worker: "a", Lease: 10 * time.Second}, c, new(outage), slog.New(slog.DiscardHandler))
		})
		hold := func(d time.Duration, digest string) []string {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				r.mu.Lock()
				r.revision++
				r.record.Config = digest
				r.mu.Unlock()
			}
			return log.take()
		}
		for i, step := range []struct {
			d      time.Duration
			digest string
			want   []string
		}{
			{rolloutTime - 5*time.Second, "2", nil},
			{10 * time.Second, "2", []string{differs + "b"}},
			{time.Hour, "2", nil},
			{10 * time.Second, "1", []string{agrees + "b"}},
			{time.Hour, "", nil},
		} {
			if got := hold(step.d, step.digest); !cmp.Equal(got, step.want) {
				t.Errorf("step %d: %q; want %q", i, got, step.want)
			}
		}
		stop()
		waiting.Wait()
	})
}

// Machines that work at the same time compare their configurations.
func TestMembersCompare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := newMemoryBoard()
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		logs, comparisons := map[string]messageLog{}, map[string]*comparison{}
		for name, digest := range map[string]string{"a": "1", "b": "1", "c": "2", "old": ""} {
			logs[name] = newMessageLog()
			comparisons[name] = newComparison(slog.New(logs[name]))
			comparisons[name].setOwn(digest)
			w := newWorker(&machine{board: board, name: name}, leaseRecord{Worker: name, Host: "host", Lease: 10 * time.Second}, 8, comparisons[name],
				slog.New(slog.DiscardHandler), func(ctx context.Context, _ int, _ *Lease) error { <-ctx.Done(); return nil })
			running.Go(func() { _ = w.run(ctx) })
		}
		logged := func() (all string) {
			for _, name := range []string{"a", "b", "c", "old"} {
				all += name + ": " + strings.Join(logs[name].take(), ", ") + "\n"
			}
			return all
		}
		time.Sleep(rolloutTime - 10*time.Second)
		if diff := cmp.Diff("a: \nb: \nc: \nold: \n", logged()); diff != "" {
			t.Errorf("during a rollout (-want +got):\n%s", diff)
		}
		time.Sleep(20 * time.Second)
		got := logged()
		for _, want := range []string{"a: " + differs + "c\n", "b: " + differs + "c\n", differs + "a", differs + "b", "old: \n"} {
			if !strings.Contains(got, want) {
				t.Errorf("after it: %s; want %s", got, want)
			}
		}
		comparisons["c"].setOwn("1")
		time.Sleep(20 * time.Second)
		got = logged()
		for _, want := range []string{"a: " + agrees + "c\n", "b: " + agrees + "c\n", agrees + "a", agrees + "b", "old: \n"} {
			if !strings.Contains(got, want) {
				t.Errorf("at the end: %s; want %s", got, want)
			}
		}
		stop()
		running.Wait()
	})
}
