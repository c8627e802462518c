package sensors

import (
	"log/slog"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

const (
	// saveRetry is the pause between a failed commit and the next one.
	saveRetry = 30 * time.Second
	// maxWaitingEvents bounds the events that wait for a commit to succeed; the oldest are dropped first.
	maxWaitingEvents = 1000

	// saveDelay is the time for which a record waits for those of other sensors if no event waits for it: without it the next poll brings the
	// same again. minorDelay applies to one without news.
	saveDelay  = 5 * time.Second
	minorDelay = time.Minute
)

// A commitHook is a transaction that reports when it is on disk or has failed. Events of an operation are passed on with the
// transaction of a Tx that has it; otherwise with one more of the poller's own.
type commitHook interface {
	OnCommit(func(error))
}

// A saver writes the records of one sensor, and passes events on when the record that they follow from is on disk.
type saver struct {
	store    Store
	key      string
	log      *slog.Logger
	onEvents func([]entity.Event)
	changed  chan struct{} // something is to be taken

	outstanding sync.WaitGroup // commits that are not on disk yet

	delivering sync.Mutex // keeps the calls of onEvents in order

	mu        sync.Mutex // guards what follows
	events    []entity.Event
	delivered uint64 // number of events that came before events[0]
	delayed   int    // number of commits that wait for others
	commits   uint64 // number of calls of commit
	lastLoan  uint64 // number of the newest record that was lent
	notice    notice
	lastError string // empty: the last commit succeeded
	stopped   bool
}

// A notice reports the outcomes of commits to the poller.
type notice struct {
	failed bool // a commit failed
	lent   bool // a lent record was written
	again  bool // the record must be written again
}

func newSaver(o PollerOptions) *saver {
	s := &saver{store: o.Store, key: o.Key, log: o.Log, onEvents: o.OnEvents, changed: make(chan struct{}, 1)}
	if s.onEvents == nil {
		s.onEvents = func([]entity.Event) {}
	}
	return s
}

// add has events wait for the next commit.
func (s *saver) add(events []entity.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, events...)
	if n := len(s.events) - maxWaitingEvents; n > 0 {
		s.events = append([]entity.Event(nil), s.events[n:]...)
		s.delivered += uint64(n)
		s.log.Warn("events dropped because no snapshot could be saved", "dropped", n)
	}
}

// waiting returns the number of events that are not passed on yet.
func (s *saver) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// take returns the notice and clears it.
func (s *saver) take() notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.notice
	s.notice = notice{}
	return n
}

func (s *saver) notify(n notice) {
	s.mu.Lock()
	s.notice.failed = s.notice.failed || n.failed
	s.notice.lent = s.notice.lent || n.lent
	s.notice.again = s.notice.again || n.again
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// commit writes a record, within delay if no event waits for it, and then passes on the events that waited.
func (s *saver) commit(record []byte, delay time.Duration) {
	s.mu.Lock()
	s.commits++
	upTo := s.delivered + uint64(len(s.events))
	if len(s.events) > 0 || s.store == nil {
		delay = 0
	}
	if delay > 0 {
		s.delayed++
	}
	s.mu.Unlock()
	if s.store == nil {
		s.finish(upTo, nil)
		return
	}
	s.outstanding.Add(1)
	s.store.CommitWithin(delay, func(tx Tx) { tx.Put(Bucket, s.key, record) }, func(err error) {
		defer s.outstanding.Done()
		if delay > 0 {
			s.mu.Lock()
			s.delayed--
			s.mu.Unlock()
		}
		s.finish(upTo, err)
	})
}

// lend returns a function that writes a record within the transaction of a caller.
func (s *saver) lend(record []byte) (persist func(Tx)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastLoan++
	commits, loan, upTo := s.commits, s.lastLoan, s.delivered+uint64(len(s.events))
	return func(tx Tx) {
		s.mu.Lock()
		if s.stopped || s.commits != commits || s.lastLoan != loan {
			// A newer record that contains the same is written already, or will be.
			s.mu.Unlock()
			return
		}
		hook, hooked := tx.(commitHook)
		if hooked {
			s.outstanding.Add(1)
		}
		again := !hooked && len(s.events) > 0
		s.mu.Unlock()
		tx.Put(Bucket, s.key, record)
		if hooked {
			hook.OnCommit(func(err error) {
				defer s.outstanding.Done()
				s.finish(upTo, err)
			})
		}
		// If the poller has committed a newer record since the check, that one may come first on disk.
		s.mu.Lock()
		again = again || s.commits != commits
		s.mu.Unlock()
		s.notify(notice{lent: true, again: again})
	}
}

// finish ends a commit that makes the events before upTo safe to be passed on.
func (s *saver) finish(upTo uint64, err error) {
	if err != nil {
		s.report(err)
		s.notify(notice{failed: true})
		return
	}
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.mu.Lock()
	var safe []entity.Event
	if upTo > s.delivered {
		n := upTo - s.delivered
		safe = s.events[:n:n]
		s.events = append([]entity.Event(nil), s.events[n:]...)
		s.delivered = upTo
	}
	recovered := s.lastError != ""
	s.lastError = ""
	s.mu.Unlock()
	if recovered {
		s.log.Info("snapshot saved again")
	}
	if len(safe) > 0 {
		s.onEvents(safe)
	}
}

// report logs an error once until a commit succeeds.
func (s *saver) report(err error) {
	s.mu.Lock()
	first := s.lastError != err.Error()
	s.lastError = err.Error()
	s.mu.Unlock()
	if first {
		s.log.Error("snapshot not saved", "error", err)
	}
}

// stop returns when all commits are on disk or have failed. No event is passed on afterwards.
func (s *saver) stop() {
	s.mu.Lock()
	s.stopped = true
	delayed := s.delayed
	s.mu.Unlock()
	if delayed > 0 && s.store != nil {
		s.store.Commit(func(Tx) {}, nil) // those before it do not wait any longer
	}
	s.outstanding.Wait()
}
