package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A memoryRegister is a register that nodes reach through connections which can fail.
type memoryRegister struct {
	mu       sync.Mutex
	record   leaseRecord
	revision uint64
}

// A node is a process that wants the lease.
type node struct {
	register *memoryRegister
	name     string
	cut      atomic.Bool                   // requests are lost
	deaf     atomic.Bool                   // answers are lost
	resume   atomic.Pointer[chan struct{}] // the process is paused until it is closed
	lease    atomic.Pointer[Lease]
	leases   atomic.Int64
}

// delay is the time that a request takes.
const delay = 20 * time.Millisecond

func (n *node) request(ctx context.Context, f func() error) error {
	if c := n.resume.Load(); c != nil {
		<-*c
	}
	time.Sleep(delay)
	if !n.cut.Load() {
		err := f()
		if !n.deaf.Load() {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	<-ctx.Done()
	return fmt.Errorf("%w: timeout", ErrUnavailable)
}

func (n *node) read(ctx context.Context) (r leaseRecord, revision uint64, err error) {
	err = n.request(ctx, func() error {
		n.register.mu.Lock()
		defer n.register.mu.Unlock()
		r, revision = n.register.record, n.register.revision
		return nil
	})
	return r, revision, err
}

func (n *node) replace(ctx context.Context, expected uint64, r leaseRecord, _ []*change) (revision uint64, err error) {
	err = n.request(ctx, func() error {
		n.register.mu.Lock()
		defer n.register.mu.Unlock()
		if n.register.revision != expected {
			return errConflict
		}
		n.register.revision++
		n.register.record, revision = r, n.register.revision
		return nil
	})
	return revision, err
}

// run holds the lease whenever it can, until ctx is done.
func (n *node) run(ctx context.Context, lease time.Duration) {
	for ctx.Err() == nil {
		self := leaseRecord{Holder: fmt.Sprint(n.name, n.leases.Add(1)), Worker: n.name, Lease: lease}
		l, err := acquireLease(ctx, n, self, nil, new(outage), slog.New(slog.DiscardHandler))
		if err != nil {
			return
		}
		n.lease.Store(l)
		select {
		case <-l.Context().Done():
		case <-ctx.Done():
		}
		l.Release()
		n.lease.Store(nil)
	}
}

// holds reports whether the node believes that it has the lease. A paused one believes nothing.
func (n *node) holds() bool {
	if n.resume.Load() != nil {
		return false
	}
	l := n.lease.Load()
	return l != nil && l.Err() == nil
}

// However the holder fails, another node takes over within the lease and two seconds, and at no instant do two believe that they hold it.
func TestTakeover(t *testing.T) {
	const lease, instant = 10 * time.Second, 20 * time.Millisecond
	for name, fault := range map[string]struct {
		fail   func(n *node, kill func())
		repair func(n *node)
		within time.Duration
	}{
		"killed":    {func(n *node, kill func()) { n.cut.Store(true); kill() }, func(*node) {}, lease + 2*time.Second},
		"cut off":   {func(n *node, _ func()) { n.cut.Store(true) }, func(n *node) { n.cut.Store(false) }, lease + 2*time.Second},
		"no answer": {func(n *node, _ func()) { n.deaf.Store(true) }, func(n *node) { n.deaf.Store(false) }, lease + 2*time.Second},
		"paused": {func(n *node, _ func()) {
			c := make(chan struct{})
			n.resume.Store(&c)
			n.lease.Load().expiry.Stop() // its timers stand still
		}, nil, lease + 2*time.Second},
		"ended": {func(_ *node, kill func()) { kill() }, func(*node) {}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				register := new(memoryRegister)
				var nodes []*node
				var kills []context.CancelFunc
				var all sync.WaitGroup
				for _, name := range []string{"a", "b", "c"} {
					n := &node{register: register, name: name}
					ctx, kill := context.WithCancel(t.Context())
					nodes, kills = append(nodes, n), append(kills, kill)
					all.Go(func() { n.run(ctx, lease) })
				}
				holder := func() (holder *node) {
					for _, n := range nodes {
						if n.holds() {
							if holder != nil {
								t.Fatalf("%s and %s hold the lease", holder.name, n.name)
							}
							holder = n
						}
					}
					return holder
				}
				// step lets time pass and checks each instant.
				step := func(d time.Duration, until func() bool) (waited time.Duration) {
					for ; waited < d && !until(); waited += instant {
						time.Sleep(instant)
						synctest.Wait()
						holder()
					}
					return waited
				}
				never := func() bool { return false }
				step(time.Minute, func() bool { return holder() != nil })
				first := holder()
				if first == nil {
					t.Fatal("nobody holds the lease")
				}
				epoch := first.lease.Load().Epoch()
				step(2*lease, never)
				if holder() != first {
					t.Fatal("the holder changed without a reason")
				}
				for i, n := range nodes {
					if n == first {
						fault.fail(n, kills[i])
					}
				}
				took := step(time.Minute, func() bool { h := holder(); return h != nil && h != first })
				second := holder()
				if second == nil || second == first || took > fault.within {
					t.Fatalf("another one took over after %s; want at most %s", took, fault.within)
				}
				if got := second.lease.Load().Epoch(); got <= epoch {
					t.Errorf("the epoch is %d after %d", got, epoch)
				}
				t.Logf("took over after %s", took)
				step(5*time.Second, never)
				if fault.repair != nil {
					fault.repair(first)
				} else {
					l := first.lease.Load()
					if err := l.Err(); !errors.Is(err, ErrLeaseLost) {
						t.Errorf("after the pause the lease is valid: %v", err)
					}
					close(*first.resume.Swap(nil))
					if err := l.write([]*change{{keyName{"a", "b"}, nil}}); !errors.Is(err, ErrLeaseLost) {
						t.Errorf("after the pause a write is accepted: %v", err)
					}
				}
				step(2*lease, never)
				if holder() != second {
					t.Error("the lease did not stay where it was")
				}
				for _, kill := range kills {
					kill()
				}
				for _, n := range nodes {
					n.cut.Store(false)
				}
				all.Wait()
			})
		})
	}
}

// A write whose answer was lost is stored once, and the holder goes on.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		register := new(memoryRegister)
		n := &node{register: register, name: "a"}
		l, err := acquireLease(t.Context(), n, leaseRecord{Holder: "a1", Worker: "a", Lease: 10 * time.Second}, nil, new(outage), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		n.deaf.Store(true)
		time.AfterFunc(time.Second, func() { n.deaf.Store(false) })
		if err := l.write(nil); err != nil {
			t.Errorf("write: %v", err)
		}
		if err := l.write(nil); err != nil {
			t.Errorf("next write: %v", err)
		}
	})
}

// A register whose writes fail although the servers answer.
type brokenRegister struct{ memoryRegister }

func (*brokenRegister) read(context.Context) (leaseRecord, uint64, error) {
	return leaseRecord{}, 1, nil
}

func (r *brokenRegister) replace(_ context.Context, _ uint64, _ leaseRecord, changes []*change) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.revision++; r.revision > 1 {
		return 0, errors.New("no space left")
	}
	return r.revision, nil
}

// A renewal that fails is tried ten times a second, and logged once.
func TestTheSameFailureOfARenewalIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l, err := takeLease(t.Context(), new(brokenRegister), leaseRecord{Holder: "a", Lease: 10 * time.Second}, leaseRecord{}, 0, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		<-l.Context().Done()
		l.Release()
		if n := strings.Count(log.String(), "the lease of the state was not renewed"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
	})
}
