package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// ErrLeaseLost is wrapped by the errors of a process that may not work with the shared state any more.
var ErrLeaseLost = errors.New("this machine does not hold the state any more")

const (
	// usablePart of a lease is used by its holder, counted from before the request that renewed it. Others wait for the whole lease.
	usablePart = 0.8
	// renewals is the number of renewals in the time of a lease.
	renewals = 4
	// standbyInterval is the interval at which a waiting process looks at the lease.
	standbyInterval = 500 * time.Millisecond
)

// A leaseRecord names the process that works with the shared state. It is replaced in every transaction, so that none of an earlier holder succeeds.
type leaseRecord struct {
	Holder string        `json:"holder"`         // of this lease; "": released
	Worker string        `json:"worker"`         // the state directory, which one process uses at a time
	Host   string        `json:"host,omitempty"` // for people
	Epoch  uint64        `json:"epoch"`          // the number of leases before this one
	Lease  time.Duration `json:"lease"`
	Config string        `json:"config,omitempty"` // a digest of the holder's configuration, see Dir.Announce; "": not announced, or by the members
	Shards int           `json:"shards,omitempty"` // the number of shards of the bucket, see bucket.checkShards; 0: one, or an earlier version
}

// A register holds a lease record.
type register interface {
	// read returns the record and its revision; 0: there is none.
	read(ctx context.Context) (leaseRecord, uint64, error)
	// replace writes a record and changes in one transaction, if the record has the expected revision; otherwise it returns errConflict.
	replace(ctx context.Context, expected uint64, r leaseRecord, changes []*change) (revision uint64, err error)
}

// A Lease is the right to work with the shared state, which one process has at a time. It ends when it could not be renewed, or when another
// process has taken it.
type Lease struct {
	register register
	record   leaseRecord
	log      *slog.Logger
	lifetime func() context.Context
	cancel   context.CancelCauseFunc
	expiry   *time.Timer
	renewing sync.WaitGroup
	release  func() // of what the holder has locked locally
	once     sync.Once

	end     atomic.Pointer[time.Time] // of what the holder may use, unless it is renewed
	renewed atomic.Pointer[time.Time] // when the last successful renewal began

	turn     chan struct{} // is full during a transaction
	revision uint64        // belongs to whose turn it is
}

// acquireLease waits until no other process holds the state. self has Holder, Worker, Host and Lease. Meanwhile it compares the holder's
// configuration.
func acquireLease(ctx context.Context, register register, self leaseRecord, configurations *comparison, failing *outage, log *slog.Logger) (*Lease, error) {
	var seen uint64 // the revision since when
	var since time.Time
	waiting := false
	for {
		begun := time.Now()
		current, revision, err := register.read(ctx)
		if err == nil {
			if revision != seen || since.IsZero() {
				seen, since = revision, time.Now()
			}
			if time.Since(since) >= self.waitFor(current) {
				begun = time.Now()
				var l *Lease
				if l, err = takeLease(ctx, register, self, current, revision, log); err == nil {
					return l, nil
				}
			} else if !waiting {
				waiting = true
				log.Info("standing by: another machine holds the state", "host", cmp.Or(current.Host, current.Worker))
			}
			if current.Holder != "" && current.Worker != self.Worker {
				configurations.see(current.Worker, current.Config, time.Now())
			}
		}
		switch {
		case err == nil && failing.succeeded():
			log.Info("the state can be reached again")
		case err != nil && !errors.Is(err, errConflict) && ctx.Err() == nil && failing.failed(err):
			log.Warn("the state cannot be taken over", "error", err, "retry_in", standbyInterval)
		}
		timer := time.NewTimer(standbyInterval - min(standbyInterval, time.Since(begun)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// waitFor returns how long another process may still use the lease, from when it was seen for the first time: only the clock of this machine
// counts.
func (r leaseRecord) waitFor(current leaseRecord) time.Duration {
	if current.Holder == "" || current.Worker == r.Worker {
		return 0
	}
	return max(r.Lease, current.Lease)
}

// takeLease replaces the current record, which nobody may use any more. After an error without an answer the record may be the new one.
func takeLease(ctx context.Context, register register, self, current leaseRecord, revision uint64, log *slog.Logger) (*Lease, error) {
	begun := time.Now()
	self.Epoch = current.Epoch + 1
	revision, err := register.replace(ctx, revision, self, nil)
	if err != nil {
		return nil, err
	}
	return startLease(register, self, revision, begun, log), nil
}

func startLease(register register, record leaseRecord, revision uint64, begun time.Time, log *slog.Logger) *Lease {
	l := &Lease{register: register, record: record, log: log, revision: revision, release: func() {}, turn: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancelCause(context.Background())
	l.lifetime, l.cancel = func() context.Context { return ctx }, cancel
	end := begun.Add(l.usable())
	l.end.Store(&end)
	l.renewed.Store(&begun)
	l.expiry = time.AfterFunc(time.Until(end), l.expire)
	l.renewing.Go(l.renew)
	return l
}

func (l *Lease) usable() time.Duration { return time.Duration(float64(l.record.Lease) * usablePart) }

// Context returns a context that is done when the lease has ended. Its cause wraps ErrLeaseLost.
func (l *Lease) Context() context.Context { return l.lifetime() }

// Epoch returns the number of the lease. A later lease has a higher one.
func (l *Lease) Epoch() uint64 { return l.record.Epoch }

// Err returns nil while the holder may work. It is exact also if the process was paused, when the context is not done yet.
func (l *Lease) Err() error {
	if l.lifetime().Err() != nil {
		return context.Cause(l.lifetime())
	}
	// The monotonic clock may stand still while the machine sleeps.
	if now, end := time.Now(), *l.end.Load(); !now.Before(end) || !now.Round(0).Before(end.Round(0)) {
		l.expireNow()
		return context.Cause(l.lifetime())
	}
	return nil
}

// expire ends the lease if it was not renewed in time.
func (l *Lease) expire() {
	if left := time.Until(*l.end.Load()); left > 0 {
		l.expiry.Reset(left)
		return
	}
	l.expireNow()
}

func (l *Lease) expireNow() {
	l.cancel(fmt.Errorf("%w: the lease of %s was not renewed in time", ErrLeaseLost, l.record.Lease))
}

// renew renews the lease until it has ended.
func (l *Lease) renew() {
	interval := l.record.Lease / renewals
	timer := time.NewTimer(interval)
	defer timer.Stop()
	logged := ""
	for {
		select {
		case <-l.lifetime().Done():
			return
		case <-timer.C:
		}
		// Every transaction renews the lease, too.
		if wait := interval - time.Since(*l.renewed.Load()); wait > 0 {
			timer.Reset(wait)
			continue
		}
		if err := l.write(nil); err != nil && l.lifetime().Err() == nil {
			if message := err.Error(); message != logged {
				l.log.Warn("the lease of the state was not renewed", "error", err, "retry_in", retryInterval)
				logged = message
			}
			timer.Reset(retryInterval)
			continue
		}
		logged = ""
		timer.Reset(interval)
	}
}

// write applies changes in one transaction, which succeeds only as long as nobody else has taken the lease. While the servers do not answer
// it waits for them, until the lease ends.
func (l *Lease) write(changes []*change) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	var last error
	for {
		if err := l.Err(); err != nil {
			if last != nil {
				err = fmt.Errorf("%w: %w", err, last)
			}
			return err
		}
		begun := time.Now()
		ctx, cancel := context.WithDeadline(l.lifetime(), *l.end.Load())
		revision, err := l.register.replace(ctx, l.revision, l.record, changes)
		if errors.Is(err, errConflict) {
			// An earlier attempt without an answer may have been stored.
			var current leaseRecord
			current, revision, err = l.register.read(ctx)
			switch {
			case err == nil && current.Holder == l.record.Holder:
				l.revision, err = revision, errConflict
			case err == nil:
				l.cancel(fmt.Errorf("%w: %s has taken it", ErrLeaseLost, cmp.Or(current.Host, "another machine")))
				err = errConflict
			}
		} else if err == nil {
			l.revision = revision
		}
		cancel()
		switch {
		case err == nil:
			end := begun.Add(l.usable())
			l.renewed.Store(&begun)
			l.end.Store(&end)
			return nil
		case errors.Is(err, errConflict):
			continue
		case !errors.Is(err, ErrUnavailable):
			return err
		}
		last = err
		timer := time.NewTimer(retryInterval)
		select {
		case <-l.lifetime().Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Release ends the lease, so that another process can take it at once.
func (l *Lease) Release() {
	l.once.Do(func() {
		if l.Err() == nil {
			free := l.record
			free.Holder = ""
			l.turn <- struct{}{}
			ctx, cancel := context.WithDeadline(l.lifetime(), *l.end.Load())
			_, err := l.register.replace(ctx, l.revision, free, nil)
			cancel()
			<-l.turn
			if err != nil {
				l.log.Warn("the state was not released; others wait for the end of the lease", "error", err)
			}
		}
		l.cancel(fmt.Errorf("%w: it was released", ErrLeaseLost))
		l.expiry.Stop()
		l.renewing.Wait()
		l.release()
	})
}

// leaseKey is the key of the record in a bucket, which is not encrypted.
const leaseKey = "lease"

// A bucketRegister is the record of a shard in a bucket.
type bucketRegister struct {
	bucket *bucket
	shard  shardPrefix
}

func (r bucketRegister) read(ctx context.Context) (record leaseRecord, revision uint64, err error) {
	e, err := r.bucket.get(ctx, r.shard.leaseKey())
	if err != nil {
		return record, 0, err
	}
	if record, err = parseLease(e); err != nil {
		err = fmt.Errorf("the lease in the bucket %s %w", r.bucket.cluster.Bucket, err)
	}
	return record, e.sequence, err
}

// parseLease returns the record in an entry; the zero value if there is none.
func parseLease(e entry) (record leaseRecord, err error) {
	if e.value == nil {
		return record, nil
	}
	if err := json.Unmarshal(e.value, &record); err != nil {
		return record, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return record, nil
}

func (r bucketRegister) replace(ctx context.Context, expected uint64, record leaseRecord, changes []*change) (uint64, error) {
	if r.shard == "" {
		record.Config = r.bucket.configurations.announced()
	} else {
		record.Shards = r.bucket.cluster.Shards
	}
	value, err := json.Marshal(record)
	if err != nil {
		return 0, err
	}
	messages := make([]message, 0, len(changes)+1)
	for _, c := range changes {
		messages = append(messages, message{key: r.shard.dataKey(c.keyName), value: c.sealed})
	}
	return r.bucket.publish(ctx, append(messages, message{key: r.shard.leaseKey(), value: value, expect: &expected})...)
}
