package eventhub

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// checkInterval is the time between two looks at the health, and repeatAfter that between two reports of different problems.
	checkInterval = 5 * time.Second
	repeatAfter   = time.Minute
	// A hub cannot be read if there are errors and it has sent nothing for patience, or if it has sent nothing for silence: it answers at
	// least every few seconds.
	patience = 15 * time.Second
	silence  = time.Minute
)

var errClosed = errors.New("it closes the connection while signing in: the connection string may be wrong, or its key renewed")

var errSilent = errors.New("it does not answer, or another program with the same consumer group reads it")

// health records whether the hub can be read.
type health struct {
	mu         sync.Mutex
	partitions int       // that this reader has
	waiting    time.Time // since when the reader waits for messages; zero: it records some, and no others are requested
	answered   time.Time // when the hub sent messages last, or that there are none; zero: never
	fetched    time.Time // its newest answer, until the reader knows whether it has errors
	refusedAt  time.Time // when it refused a partition or the event hub last
	failedAt   time.Time
	failure    error
}

// failed records an error.
func (r *Reader) failed(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	r.health.mu.Lock()
	defer r.health.mu.Unlock()
	r.health.failedAt, r.health.failure = time.Now(), errors.New(r.text(err))
}

// refused records an error that came in place of messages.
func (r *Reader) refused(err error) {
	r.failed(err)
	r.health.mu.Lock()
	defer r.health.mu.Unlock()
	r.health.refusedAt, r.health.fetched = time.Now(), time.Time{}
}

// wait records that the reader begins or ends to wait for messages.
func (h *health) wait(begins bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = time.Time{}
	if begins {
		h.waiting = time.Now()
	}
}

// has records that partitions of topics were added, or taken away.
func (h *health) has(partitions map[string][]int32, sign int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, numbers := range partitions {
		h.partitions += sign * len(numbers)
	}
}

// hasNone records that the reader has no partition any more.
func (h *health) hasNone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.partitions, h.fetched = 0, time.Time{}
}

// fetch records an answer to a request for messages. Until the next one the reader has received the errors that it has.
func (h *health) fetch(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.fetched.IsZero() {
		h.answered = h.fetched
	}
	h.fetched = now
}

// heartbeat records an answer to a heartbeat: what shows that a hub can be read of which others have all partitions.
func (h *health) heartbeat(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.partitions == 0 && now.Sub(h.refusedAt) > patience {
		h.answered = now
	}
}

// silent returns for how long the hub has sent nothing, at most since a time.
func (h *health) silent(since time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(later(h.answered, since))
}

func later(t, u time.Time) time.Time {
	if t.After(u) {
		return t
	}
	return u
}

// problem returns why the hub cannot be read; nil if it can, or that is not known yet.
func (h *health) problem(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.failedAt.After(h.answered) && (h.answered.IsZero() || now.Sub(h.answered) > patience):
		return h.failure
	case !h.waiting.IsZero() && now.Sub(later(h.answered, h.waiting)) > silence:
		return errSilent
	}
	return nil
}

// watch reports when the hub cannot be read, and when it can be read again.
func (r *Reader) watch(ctx context.Context) error {
	var reported error
	var reportedAt time.Time
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		err := r.health.problem(now)
		switch {
		case err == nil && reported == nil:
			continue
		case err == nil:
			r.options.Log.Info("event hub readable again")
		case reported == nil:
			r.options.Log.Warn("event hub not readable", "error", err)
		case err.Error() == reported.Error() || now.Sub(reportedAt) < repeatAfter: // texts of errors may alternate
			continue
		}
		reported, reportedAt = err, now
		r.options.OnState(err)
	}
}

// hooks record the outcome of connections and requests.
type hooks struct{ reader *Reader }

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (h *hooks) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	switch {
	case errors.Is(err, io.EOF):
		h.reader.failed(errClosed)
	case err != nil:
		h.reader.failed(err)
	}
}

// OnGroupManageError implements kgo.HookGroupManageError.
func (h *hooks) OnGroupManageError(err error) { h.reader.failed(err) }

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (h *hooks) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	switch {
	case e.Err() != nil:
	case key == int16(kmsg.Fetch):
		h.reader.health.fetch(time.Now())
	case key == int16(kmsg.Heartbeat) && h.reader.options.Shared:
		h.reader.health.heartbeat(time.Now())
	}
}
