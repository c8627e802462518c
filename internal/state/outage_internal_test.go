package state

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A failingMachine is a machine whose requests fail for a reason.
type failingMachine struct {
	machine
	mu     sync.Mutex
	reason error // nil: they succeed
}

func (m *failingMachine) fail(reason error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reason = reason
}

func (m *failingMachine) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason
}

func (m *failingMachine) follow(ctx context.Context, f func(entry)) error {
	if err := m.failure(); err != nil {
		return err
	}
	return m.machine.follow(ctx, f)
}

func (m *failingMachine) announce(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := m.failure(); err != nil {
		return err
	}
	return m.machine.announce(ctx, key, value, ttl)
}

// A failingRegister is a register whose records can be read, but not always written.
type failingRegister struct {
	register
	failure func() error
}

func (r failingRegister) replace(ctx context.Context, expected uint64, record leaseRecord, changes []*change) (uint64, error) {
	if err := r.failure(); err != nil {
		return 0, err
	}
	return r.register.replace(ctx, expected, record, changes)
}

// checkCounts checks how often a log contains each text.
func checkCounts(t *testing.T, log *strings.Builder, want map[string]int) {
	t.Helper()
	for text, n := range want {
		if got := strings.Count(log.String(), text); got != n {
			t.Errorf("%d times %s; want %d", got, text, n)
		}
	}
	if t.Failed() {
		t.Logf("the log:\n%s", log)
	}
}

// What is repeated while the servers do not answer is logged once for each reason, and once when it works again.
func TestOutageOfMembersIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := &failingMachine{machine: machine{board: newMemoryBoard(), name: "a"}}
		w := newWorker(m, leaseRecord{Worker: "a", Lease: 10 * time.Second}, 2, nil, slog.New(slog.NewTextHandler(&log, nil)), func(ctx context.Context, _ int, _ *Lease) error {
			<-ctx.Done()
			return nil
		})
		m.fail(errors.New("no leader"))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.run(ctx) }()
		for _, reason := range []string{"no leader", "no connection", "no leader"} {
			m.fail(errors.New(reason))
			time.Sleep(time.Minute)
		}
		const unfollowed, unannounced = `level=WARN msg="the leases of the shards cannot be followed" error=`, `level=WARN msg="this machine was not announced to the others" error=`
		const followed, announced = `level=INFO msg="the leases of the shards are followed again"`, `level=INFO msg="this machine was announced to the others again"`
		synctest.Wait()
		checkCounts(t, &log, map[string]int{unfollowed + `"no leader"`: 1, unfollowed + `"no connection"`: 1, unannounced + `"no leader"`: 1, unannounced + `"no connection"`: 1, followed: 0, announced: 0})
		m.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		checkCounts(t, &log, map[string]int{unfollowed: 2, unannounced: 2, followed: 1, announced: 1})
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A shard that cannot be taken over is tried twice a second, and so is the state of one shard.
func TestFailureToTakeOverIsLoggedOnce(t *testing.T) {
	full := errors.New("no space left")
	t.Run("shards", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			m := &failingMachine{machine: machine{board: newMemoryBoard(), name: "a"}}
			failing := &failingMachine{reason: full}
			w := newWorker(boardWith{m, failing.failure}, leaseRecord{Worker: "a", Lease: 10 * time.Second}, 2, nil, slog.New(slog.NewTextHandler(&log, nil)), func(ctx context.Context, _ int, _ *Lease) error {
				<-ctx.Done()
				return nil
			})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- w.run(ctx) }()
			time.Sleep(time.Minute)
			synctest.Wait()
			const untaken = `level=WARN msg="a shard cannot be taken over" shard=`
			checkCounts(t, &log, map[string]int{untaken + "0": 1, untaken + "1": 1})
			failing.fail(nil)
			time.Sleep(time.Minute)
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			failing := &failingMachine{reason: full}
			r := failingRegister{&node{register: new(memoryRegister), name: "a"}, failing.failure}
			time.AfterFunc(time.Minute, func() { failing.fail(nil) })
			l, err := acquireLease(t.Context(), r, leaseRecord{Holder: "a1", Worker: "a", Lease: 10 * time.Second}, nil, new(outage), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			l.Release()
			checkCounts(t, &log, map[string]int{`level=WARN msg="the state cannot be taken over" error="no space left"`: 1, "level=WARN": 1})
		})
	})
}

// boardWith is a board on which the leases cannot always be written.
type boardWith struct {
	board
	failure func() error
}

func (b boardWith) register(shard int) register {
	return failingRegister{b.board.register(shard), b.failure}
}
