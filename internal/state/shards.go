package state

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	memberPrefix = "member."

	// memberRenewals is the number of announcements in the time of a lease, memberPart the part of it after which a member that did not
	// announce itself does not count: earlier than its leases end, so that others know by then who takes its shards.
	memberRenewals = 4
	memberPart     = 0.75
	// memberTTL is the number of leases after which the server forgets a member.
	memberTTL = 10
	// settleTime is the time for which a process waits for the others to announce themselves before it takes a shard.
	settleTime = time.Second
	// abandonedLeases is the number of leases for which a shard must be free before a process takes it that is not preferred.
	abandonedLeases = 2
	// minKept and maxKept are the numbers of leases for which it keeps such a shard before it lets the preferred one try again.
	minKept, maxKept = 4, 128
	// balanceInterval is the interval at which a process looks for free shards.
	balanceInterval = 250 * time.Millisecond
)

// A memberRecord announces a process that takes shards.
type memberRecord struct {
	Worker string `json:"worker"`
	Host   string `json:"host,omitempty"`   // for people
	Config string `json:"config,omitempty"` // a digest of its configuration, see Dir.Announce
}

// A Shard is a part of the shared state, with the right to work with it.
type Shard struct {
	Number int
	Dir    *Dir // opens the database of the shard
	Lease  *Lease
}

// Shards returns the number of shards of the state.
func (d *Dir) Shards() int {
	if d.shared == nil {
		return 1
	}
	return max(1, d.shared.bucket.cluster.Shards)
}

// ServeShards takes a fair part of the shards of a cluster, and calls serve for each of them, until ctx is done. The context of serve is
// done when the shard is to be given up, or its lease has ended; the shard is released when serve returns. After an error of serve that
// does not wrap ErrLeaseLost all shards are given up, and ServeShards returns it.
func (d *Dir) ServeShards(ctx context.Context, serve func(context.Context, Shard) error) error {
	lock, err := d.lockBridge()
	if err != nil {
		return err
	}
	self := d.leaseRecord()
	b := d.shared.bucket
	defer func() {
		b.isMember.Store(false)
		b.balanced.Store(nil)
		b.outages.Store(nil)
	}()
	w := newWorker(bucketBoard{d.shared.bucket}, self, d.Shards(), d.shared.bucket.configurations, d.log, func(ctx context.Context, shard int, l *Lease) error {
		return serve(ctx, Shard{shard, d.withLease(shard, l), l})
	})
	b.outages.Store(&[]*outage{&w.announcing, &w.following})
	w.onBalance = func(isMember bool) {
		now := time.Now()
		b.isMember.Store(isMember)
		b.balanced.Store(&now)
	}
	keeping, stop := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { d.keepKeys(keeping) })
	err = w.run(ctx)
	stop()
	keeper.Wait()
	return errors.Join(err, d.unlockBridge(lock))
}

// IsMember reports whether this machine takes part in sharing the shards: the servers answer, and the others know of it.
func (d *Dir) IsMember() bool { return d.shared != nil && d.shared.bucket.isMember.Load() }

// Unusable returns why this machine cannot use the shared state while it waits for it or is to take part in sharing the shards, for example
// because the servers do not answer; nil: it can, or another machine has it.
func (d *Dir) Unusable() error {
	if d.shared == nil || d.IsMember() {
		return nil
	}
	outages := d.shared.bucket.outages.Load()
	if outages == nil {
		return nil
	}
	for _, o := range *outages {
		switch err := o.cause(); {
		case errors.Is(err, ErrUnavailable):
			return fmt.Errorf("the shared state cannot be reached: %w", err)
		case err != nil:
			return fmt.Errorf("the shared state cannot be used: %w", err)
		}
	}
	return nil
}

// IsSharing reports whether the loop of ServeShards has run within a time, or does not run now.
func (d *Dir) IsSharing(within time.Duration) bool {
	if d.shared == nil {
		return true
	}
	last := d.shared.bucket.balanced.Load()
	return last == nil || time.Since(*last) < within
}

// A board holds the records of members and of the leases of shards.
type board interface {
	// follow calls f for every record, and for each change of one, until ctx is done or it fails.
	follow(ctx context.Context, f func(entry)) error
	// announce replaces a record, which the servers forget after a time; 0: never. nil removes it.
	announce(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// register returns where the lease of a shard is.
	register(shard int) register
}

// A bucketBoard is the board of a bucket.
type bucketBoard struct{ bucket *bucket }

func (b bucketBoard) follow(ctx context.Context, f func(entry)) error {
	return b.bucket.follow(ctx, []string{memberPrefix + "*", "shard.*." + leaseKey, shardsKey}, f)
}

func (b bucketBoard) announce(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := b.bucket.publish(ctx, message{key: key, value: value, ttl: ttl})
	return err
}

func (b bucketBoard) register(shard int) register {
	return bucketRegister{b.bucket, b.bucket.cluster.prefixOf(shard)}
}

// A seenRecord is a record of the bucket as this process saw it. Times are those of this machine's clock.
type seenRecord struct {
	sequence uint64
	since    time.Time // when the sequence was seen for the first time
	exists   bool
}

// see stores an entry.
func (r *seenRecord) see(e entry, now time.Time) {
	if r.sequence != e.sequence || r.since.IsZero() {
		r.sequence, r.since = e.sequence, now
	}
	r.exists = e.value != nil
}

// A seenMember is a process that has announced itself, as this process saw it.
type seenMember struct {
	seenRecord
	memberRecord
}

// A shardState describes a shard as a worker sees it, and what the worker does with it.
type shardState struct {
	seenRecord
	lease    leaseRecord
	stop     context.CancelFunc // of serving or taking it; nil: neither
	retryAt  time.Time          // the earliest next attempt to take it
	stopping bool

	// Of a shard that was taken although another worker is preferred:
	members   string // at that time
	kept      int    // for how many leases it is kept
	keptUntil time.Time
}

// An endedShard is a shard that is not taken or served any more.
type endedShard struct {
	number int
	taken  bool
	err    error
}

// A worker takes a part of the shards.
type worker struct {
	board board
	self  leaseRecord // without Holder
	log   *slog.Logger
	serve func(ctx context.Context, shard int, l *Lease) error

	following, announcing outage
	taking                []outage // by shard

	configurations *comparison
	onBalance      func(isMember bool) // is called often; isMember: the announcements of this worker come back

	shards  []shardState
	members map[string]*seenMember // by the name of the worker
	begun   time.Time
	current bool      // whether the records are those of now
	settled time.Time // until then the others announce themselves
	ended   chan endedShard
	last    string // what was logged
}

func newWorker(b board, self leaseRecord, shards int, configurations *comparison, log *slog.Logger, serve func(context.Context, int, *Lease) error) *worker {
	return &worker{
		board: b, self: self, log: log, serve: serve, configurations: configurations, shards: make([]shardState, shards), taking: make([]outage, shards), members: map[string]*seenMember{},
		ended: make(chan endedShard), onBalance: func(bool) {},
	}
}

// run takes part until ctx is done or a shard fails.
func (w *worker) run(ctx context.Context) error {
	w.begun = time.Now()
	running, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	entries := make(chan entry)
	parts.Go(func() { w.follow(running, entries) })
	parts.Go(func() { w.announce(running) })
	ticker := time.NewTicker(balanceInterval)
	defer ticker.Stop()
	var failure error
	for failure == nil {
		select {
		case <-ctx.Done():
			stop()
			return w.leave(nil)
		case e := <-entries:
			if e.key == shardsKey {
				failure = w.checkShards(e)
			} else {
				w.see(e, time.Now())
			}
		case e := <-w.ended:
			failure = w.end(e)
		case <-ticker.C:
		}
		if failure == nil {
			w.balance(ctx, time.Now())
		}
	}
	stop()
	return w.leave(failure)
}

// leave gives up all shards and waits until they are released.
func (w *worker) leave(failure error) error {
	for _, s := range w.shards {
		if s.stop != nil {
			s.stop()
		}
	}
	for slices.ContainsFunc(w.shards, func(s shardState) bool { return s.stop != nil }) {
		if err := w.end(<-w.ended); failure == nil {
			failure = err
		}
	}
	return failure
}

// see stores a record that was received.
func (w *worker) see(e entry, now time.Time) {
	if name, ok := strings.CutPrefix(e.key, memberPrefix); ok {
		name, err := unescape(name)
		if err != nil {
			return
		}
		if w.members[name] == nil {
			w.members[name] = &seenMember{}
		}
		m := w.members[name]
		m.see(e, now)
		m.memberRecord = memberRecord{}
		_ = json.Unmarshal(e.value, &m.memberRecord) // a record that was removed is empty
		return
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(e.key, "shard."), ".")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(w.shards) {
		return
	}
	s := &w.shards[n]
	s.see(e, now)
	if s.lease, err = parseLease(e); err != nil {
		w.log.Error("the lease of a shard is unreadable; it is taken when it has expired", "shard", n, "error", err)
		s.lease = leaseRecord{Holder: "unknown", Lease: w.self.Lease}
	}
}

// alive returns the workers that have announced themselves lately, sorted. Without this one the records are not those of now: its own
// announcements do not come back.
func (w *worker) alive(now time.Time) (names []string) {
	timeout := time.Duration(float64(w.self.Lease) * memberPart)
	for name, m := range w.members {
		if now.Sub(m.since) > memberTTL*w.self.Lease {
			delete(w.members, name)
			w.configurations.forget(name)
		}
		if m.exists && now.Sub(m.since) < timeout {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// balance gives up shards that another worker is preferred for, and takes free ones.
func (w *worker) balance(ctx context.Context, now time.Time) {
	names := w.alive(now)
	isCurrent := slices.Contains(names, w.self.Worker)
	if isCurrent && !w.current {
		w.settled = now.Add(settleTime)
	}
	w.onBalance(isCurrent)
	if w.current = isCurrent; !isCurrent {
		return
	}
	for _, name := range names {
		if m := w.members[name]; name != w.self.Worker {
			w.configurations.see(name, m.Config, now)
		}
	}
	preferred := assign(len(w.shards), names)
	members := strings.Join(names, " ")
	for n := range w.shards {
		s := &w.shards[n]
		isPreferred := preferred[n] == w.self.Worker
		switch {
		case s.stop != nil:
			if !isPreferred && !s.stopping && (s.members != members || now.After(s.keptUntil)) {
				s.stopping = true
				s.stop()
			}
		case now.Before(w.settled), now.Before(s.retryAt):
		default:
			free := s.freeSince(w.self, w.begun)
			if isPreferred && !now.Before(free) || now.Sub(free) > abandonedLeases*w.self.Lease {
				w.start(ctx, n, isPreferred, members)
			}
		}
	}
	if members != w.last {
		w.last = members
		w.log.Info("machines of the cluster", "members", members)
	}
}

// freeSince returns the time since when nobody may use the shard, which may be in the future.
func (s *shardState) freeSince(self leaseRecord, begun time.Time) time.Time {
	if s.since.IsZero() { // nobody has had it
		return begun
	}
	return s.since.Add(self.waitFor(s.lease))
}

// start takes a shard and serves it.
func (w *worker) start(ctx context.Context, n int, isPreferred bool, members string) {
	s := &w.shards[n]
	serving, stop := context.WithCancel(ctx)
	s.stop, s.stopping = stop, false
	switch {
	case isPreferred:
		s.members, s.kept = "", 0
	case s.members != members:
		s.members, s.kept = members, minKept
	default: // the preferred one did not take it again
		s.kept = min(2*s.kept, maxKept)
	}
	s.keptUntil = time.Now().Add(time.Duration(s.kept) * w.self.Lease)
	current, revision, self := s.lease, s.sequence, w.self
	self.Holder = uuid.NewString()
	go func() {
		ended := endedShard{number: n}
		defer func() { w.ended <- ended }()
		var l *Lease
		if l, ended.err = takeLease(serving, w.board.register(n), self, current, revision, w.log); ended.err != nil {
			return
		}
		ended.taken = true
		defer l.Release()
		expired := context.AfterFunc(l.Context(), stop)
		defer expired()
		ended.err = w.serve(serving, n, l)
	}()
}

// end records that a shard is not taken or served any more. It returns an error that ends all.
func (w *worker) end(e endedShard) error {
	s := &w.shards[e.number]
	s.stop()
	s.stop = nil
	s.retryAt = time.Now().Add(standbyInterval)
	if e.taken {
		w.taking[e.number].succeeded() // the bridge has logged its start
	}
	switch {
	case e.taken && e.err != nil && !errors.Is(e.err, ErrLeaseLost):
		return e.err
	case e.taken && e.err != nil:
		w.log.Error("stopped a shard: another machine may have it now", "shard", e.number, "error", e.err)
	case !e.taken && !errors.Is(e.err, errConflict) && !errors.Is(e.err, context.Canceled) && w.taking[e.number].failed(e.err):
		w.log.Warn("a shard cannot be taken over", "shard", e.number, "error", e.err, "retry_in", standbyInterval)
	}
	return nil
}

// follow passes on the records of members and leases, and each change of them, until ctx is done.
func (w *worker) follow(ctx context.Context, entries chan<- entry) {
	for ctx.Err() == nil {
		err := w.board.follow(ctx, func(e entry) {
			if w.following.succeeded() {
				w.log.Info("the leases of the shards are followed again")
			}
			select {
			case entries <- e:
			case <-ctx.Done():
			}
		})
		if ctx.Err() == nil && err != nil && w.following.failed(err) {
			w.log.Warn("the leases of the shards cannot be followed", "error", err, "retry_in", standbyInterval)
		}
		sleep(ctx, standbyInterval)
	}
}

// announce announces this worker until ctx is done, and then takes it back.
func (w *worker) announce(ctx context.Context) {
	key := memberPrefix + escape(w.self.Worker)
	ttl := (memberTTL * w.self.Lease).Round(time.Second)
	for ctx.Err() == nil {
		wait := w.self.Lease / memberRenewals
		value, _ := json.Marshal(memberRecord{w.self.Worker, w.self.Host, w.configurations.announced()}) // texts only
		err := w.board.announce(ctx, key, value, ttl)
		switch {
		case err == nil && w.announcing.succeeded():
			w.log.Info("this machine was announced to the others again")
		case err != nil && ctx.Err() == nil && w.announcing.failed(err):
			w.log.Warn("this machine was not announced to the others", "error", err, "retry_in", standbyInterval)
		}
		if err != nil {
			wait = standbyInterval
		}
		sleep(ctx, wait)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if err := w.board.announce(ctx, key, nil, 0); err != nil {
		w.log.Debug("the announcement of this machine expires later", "error", err)
	}
}

// sleep waits for a time, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// assign returns the preferred worker of each shard: that with the highest score for it, of those with less than their part. Every process
// with the same list of workers gets the same result, and a change of the list moves few shards.
func assign(shards int, workers []string) []string {
	most := (shards + len(workers) - 1) / len(workers)
	load := map[string]int{}
	preferred := make([]string, shards)
	for n := range preferred {
		byScore := slices.Clone(workers)
		slices.SortFunc(byScore, func(a, b string) int {
			return cmp.Or(cmp.Compare(score(n, b), score(n, a)), strings.Compare(a, b))
		})
		i := slices.IndexFunc(byScore, func(name string) bool { return load[name] < most })
		preferred[n] = byScore[i]
		load[byScore[i]]++
	}
	return preferred
}

// score returns a number that depends on a shard and a worker only.
func score(shard int, worker string) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", shard, worker))
	return binary.BigEndian.Uint64(sum[:])
}
