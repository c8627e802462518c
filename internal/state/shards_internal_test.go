package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Every process assigns the shards in the same way, to each as many as to others, and a change of the machines moves few.
func TestAssign(t *testing.T) {
	count := func(assigned []string) map[string]int {
		n := map[string]int{}
		for _, name := range assigned {
			n[name]++
		}
		return n
	}
	for _, shards := range []int{1, 2, 3, 8, 64} {
		for _, workers := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d", "e"}} {
			most := (shards + len(workers) - 1) / len(workers)
			for name, n := range count(assign(shards, workers)) {
				if !slices.Contains(workers, name) || n > most {
					t.Errorf("%d shards, %v: %s has %d; want at most %d", shards, workers, name, n, most)
				}
			}
		}
	}
	three, two := assign(64, []string{"a", "b", "c"}), assign(64, []string{"a", "c"})
	moved := 0
	for n := range three {
		if three[n] != two[n] {
			moved++
		}
	}
	t.Logf("%d of 64 shards move when one of three machines ends", moved)
	if moved < 21 || moved > 32 {
		t.Errorf("%d of 64 shards move when one of three machines ends; want its 21 or 22, and few others", moved)
	}
}

// A memoryBoard is the board of all machines of a test. Its revisions grow over all records, as in a bucket.
type memoryBoard struct {
	mu       sync.Mutex
	revision uint64
	records  map[string]entry
	changed  chan struct{} // closed at the next change
}

func newMemoryBoard() *memoryBoard {
	return &memoryBoard{records: map[string]entry{}, changed: make(chan struct{})}
}

// put stores a record. The caller holds mu.
func (b *memoryBoard) put(key string, value []byte) uint64 {
	b.revision++
	b.records[key] = entry{key, b.revision, value}
	close(b.changed)
	b.changed = make(chan struct{})
	return b.revision
}

// A machine is a worker whose connection to the board, or which itself, can fail.
type machine struct {
	board    *memoryBoard
	name     string
	cut      atomic.Bool
	deaf     atomic.Bool                   // nothing is delivered to it
	resume   atomic.Pointer[chan struct{}] // the process is paused until it is closed
	leases   sync.Map                      // by shard
	replaced atomic.Int64                  // attempts to write a lease
	worker   *worker
}

// request performs f as a request to the board, which takes some time and can fail.
func (m *machine) request(ctx context.Context, f func() error) error {
	m.await()
	time.Sleep(delay)
	if !m.cut.Load() {
		return f()
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	<-ctx.Done()
	return fmt.Errorf("%w: timeout", ErrUnavailable)
}

// await returns when the process is not paused.
func (m *machine) await() {
	if c := m.resume.Load(); c != nil {
		<-*c
	}
}

func (m *machine) follow(ctx context.Context, f func(entry)) error {
	var last uint64
	for {
		m.board.mu.Lock()
		changed := m.board.changed
		var all []entry
		for _, e := range m.board.records {
			if e.sequence > last && !m.cut.Load() && !m.deaf.Load() {
				all = append(all, e)
			}
		}
		m.board.mu.Unlock()
		slices.SortFunc(all, func(a, b entry) int { return int(a.sequence) - int(b.sequence) })
		for _, e := range all {
			m.await()
			f(e)
			last = e.sequence
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
			time.Sleep(delay)
		}
	}
}

func (m *machine) announce(ctx context.Context, key string, value []byte, _ time.Duration) error {
	return m.request(ctx, func() error {
		m.board.mu.Lock()
		defer m.board.mu.Unlock()
		m.board.put(key, value)
		return nil
	})
}

func (m *machine) register(shard int) register {
	return machineRegister{m, fmt.Sprintf("shard.%d.lease", shard)}
}

// A machineRegister is the lease of one shard as a machine reaches it.
type machineRegister struct {
	machine *machine
	key     string
}

func (r machineRegister) read(ctx context.Context) (record leaseRecord, revision uint64, err error) {
	err = r.machine.request(ctx, func() (err error) {
		r.machine.board.mu.Lock()
		defer r.machine.board.mu.Unlock()
		e := r.machine.board.records[r.key]
		revision = e.sequence
		record, err = parseLease(e)
		return err
	})
	return record, revision, err
}

func (r machineRegister) replace(ctx context.Context, expected uint64, record leaseRecord, _ []*change) (revision uint64, err error) {
	r.machine.replaced.Add(1)
	err = r.machine.request(ctx, func() error {
		value, err := json.Marshal(record)
		if err != nil {
			return err
		}
		b := r.machine.board
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.records[r.key].sequence != expected {
			return errConflict
		}
		revision = b.put(r.key, value)
		return nil
	})
	return revision, err
}

// holds reports whether the machine believes that it has a shard. A paused one believes nothing.
func (m *machine) holds(shard int) bool {
	if m.resume.Load() != nil {
		return false
	}
	l, ok := m.leases.Load(shard)
	return ok && l.(*Lease).Err() == nil
}

// polls has the polls of accounts in their order.
type polls struct {
	mu    sync.Mutex
	by    []string        // the machine that polled it last, by account
	epoch []uint64        // with which lease
	at    []time.Time     // when
	wrong map[string]bool // what must not happen
}

func (p *polls) poll(account int, machine string, epoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch < p.epoch[account] || epoch == p.epoch[account] && machine != p.by[account] {
		p.wrong[fmt.Sprintf("account %d: %s polled with lease %d after %s with lease %d", account, machine, epoch, p.by[account], p.epoch[account])] = true
	}
	p.by[account], p.epoch[account], p.at[account] = machine, epoch, time.Now()
}

// However one of three machines fails, the others have polled all of its 3,000 accounts within the lease and two seconds, and at no instant
// do two machines believe that they have a shard.
func TestShardTakeover(t *testing.T) {
	t.Parallel()
	const (
		lease, instant   = 10 * time.Second, 20 * time.Millisecond
		shards, accounts = 64, 3000
		interval         = time.Minute // between two polls of an account
	)
	for name, fault := range map[string]struct {
		fail   func(m *machine, kill func())
		repair func(m *machine)
		within time.Duration
	}{
		"killed":  {func(m *machine, kill func()) { m.cut.Store(true); kill() }, func(*machine) {}, lease + 2*time.Second},
		"cut off": {func(m *machine, _ func()) { m.cut.Store(true) }, func(m *machine) { m.cut.Store(false) }, lease + 2*time.Second},
		"paused": {func(m *machine, _ func()) {
			c := make(chan struct{})
			m.resume.Store(&c)
			m.leases.Range(func(_, l any) bool { l.(*Lease).expiry.Stop(); return true }) // its timers stand still
		}, func(m *machine) { close(*m.resume.Swap(nil)) }, lease + 2*time.Second},
		"ended": {func(_ *machine, kill func()) { kill() }, func(*machine) {}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				board := newMemoryBoard()
				all := &polls{by: make([]string, accounts), epoch: make([]uint64, accounts), at: make([]time.Time, accounts), wrong: map[string]bool{}}
				var machines []*machine
				var kills []context.CancelFunc
				var running sync.WaitGroup
				for _, name := range []string{"a", "b", "c"} {
					m := &machine{board: board, name: name}
					ctx, kill := context.WithCancel(t.Context())
					machines, kills = append(machines, m), append(kills, kill)
					m.worker = newWorker(m, leaseRecord{Worker: name, Lease: lease}, shards, nil, slog.New(slog.DiscardHandler), func(ctx context.Context, shard int, l *Lease) error {
						m.leases.Store(shard, l)
						defer m.leases.Delete(shard)
						for {
							for account := shard; account < accounts; account += shards {
								m.await()
								if l.Err() != nil {
									return l.Err()
								}
								all.poll(account, m.name, l.Epoch())
							}
							sleep(ctx, interval)
							if ctx.Err() != nil {
								return nil
							}
						}
					})
					running.Go(func() { _ = m.worker.run(ctx) })
				}
				holders := func() map[*machine]int {
					n := map[*machine]int{}
					for shard := range shards {
						var holder *machine
						for _, m := range machines {
							if m.holds(shard) {
								if holder != nil {
									t.Fatalf("%s and %s have shard %d", holder.name, m.name, shard)
								}
								holder = m
								n[m]++
							}
						}
					}
					return n
				}
				total := func() (n int) {
					for _, held := range holders() {
						n += held
					}
					return n
				}
				// step lets time pass and checks each instant.
				step := func(d time.Duration, until func() bool) (waited time.Duration) {
					for ; waited < d && !until(); waited += instant {
						time.Sleep(instant)
						synctest.Wait()
						holders()
					}
					return waited
				}
				isFair := func() bool {
					n := holders()
					return len(n) == 3 && total() == shards && n[machines[0]] <= 22 && n[machines[1]] <= 22 && n[machines[2]] <= 22
				}
				if took := step(time.Minute, isFair); !isFair() {
					t.Fatalf("the shards are not taken after %s: %v", took, holders())
				}
				first := holders()
				step(3*lease, func() bool { return false })
				if got := holders(); got[machines[0]] != first[machines[0]] || total() != shards {
					t.Fatalf("shards moved without a reason: %v, then %v", first, got)
				}
				failed := time.Now()
				fault.fail(machines[0], kills[0])
				pollsOfOthers := func() (n int) {
					all.mu.Lock()
					defer all.mu.Unlock()
					for account, by := range all.by {
						if by != "a" || all.at[account].After(failed.Add(lease)) {
							n++
						}
					}
					return n
				}
				took := step(time.Minute, func() bool { return pollsOfOthers() == accounts })
				t.Logf("%d accounts on %d shards of the machine that failed were polled by others after %s", accounts-accounts*(shards-first[machines[0]])/shards, first[machines[0]], took)
				if n := pollsOfOthers(); n != accounts || took > fault.within {
					t.Errorf("%d of %d accounts are polled after %s; want all after %s", n, accounts, took, fault.within)
				}
				step(lease, func() bool { return false })
				fault.repair(machines[0])
				if name == "cut off" || name == "paused" {
					if step(time.Minute, isFair); !isFair() {
						t.Errorf("the shards are not shared again: %v", holders())
					}
				}
				step(2*lease, func() bool { return false })
				if total() != shards {
					t.Errorf("%d shards are held", total())
				}
				for _, kill := range kills {
					kill()
				}
				for _, m := range machines {
					m.cut.Store(false)
				}
				running.Wait()
				for what := range all.wrong {
					t.Error(what)
				}
			})
		})
	}
}

// A machine that does not see the records takes nothing, also if it announces itself. The others take its shards, and let it take them again
// from time to time.
func TestDeafMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const lease, shards = 10 * time.Second, 12
		board := newMemoryBoard()
		held := map[string]map[int]bool{"a": {}, "b": {}, "c": {}}
		var mu sync.Mutex
		counts := func() string {
			mu.Lock()
			defer mu.Unlock()
			return fmt.Sprint(len(held["a"]), len(held["b"]), len(held["c"]))
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var deaf *machine
		for _, name := range []string{"a", "b", "c"} {
			m := &machine{board: board, name: name}
			m.deaf.Store(name == "c")
			deaf = m // the last one
			m.worker = newWorker(m, leaseRecord{Worker: name, Lease: lease}, shards, nil, slog.New(slog.DiscardHandler), func(ctx context.Context, shard int, l *Lease) error {
				set := func(has bool) {
					mu.Lock()
					defer mu.Unlock()
					if delete(held[name], shard); has {
						held[name][shard] = true
					}
				}
				set(true)
				defer set(false)
				<-ctx.Done()
				return nil
			})
			running.Go(func() { _ = m.worker.run(ctx) })
		}
		time.Sleep((abandonedLeases + 1) * lease)
		if got := counts(); !strings.HasSuffix(got, " 0") {
			t.Errorf("a, b, c have %s shards; want none for c", got)
		}
		mu.Lock()
		for n := range shards {
			if !held["a"][n] && !held["b"][n] {
				t.Errorf("shard %d is not served", n)
			}
		}
		mu.Unlock()
		if n := deaf.replaced.Load(); n != 0 {
			t.Errorf("a machine that sees nothing tried to take shards %d times", n)
		}
		deaf.deaf.Store(false)
		time.Sleep((minKept + abandonedLeases) * lease)
		if got := counts(); got != "4 4 4" {
			t.Errorf("when it sees the records again, a, b, c have %s shards; want 4 each", got)
		}
		stop()
		running.Wait()
	})
}

// An error of a bridge gives up all shards and is returned; a lost lease does not.
func TestShardFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{board: newMemoryBoard(), name: "a"}
		failure := errors.New("the broker has no such user")
		var served atomic.Int64
		m.worker = newWorker(m, leaseRecord{Worker: "a", Lease: 10 * time.Second}, 8, nil, slog.New(slog.DiscardHandler), func(ctx context.Context, shard int, l *Lease) error {
			if served.Add(1) == 1 {
				return fmt.Errorf("shard %d: %w", shard, ErrLeaseLost)
			}
			if shard == 5 {
				return failure
			}
			<-ctx.Done()
			return nil
		})
		if err := m.worker.run(t.Context()); !errors.Is(err, failure) {
			t.Errorf("got %v; want %v", err, failure)
		}
		for key, e := range m.board.records {
			if strings.HasPrefix(key, memberPrefix) {
				if e.value != nil {
					t.Errorf("%s was not taken back", key)
				}
				continue
			}
			if r, err := parseLease(e); err != nil || r.Holder != "" {
				t.Errorf("%s was not released: %+v, %v", key, r, err)
			}
		}
	})
}
