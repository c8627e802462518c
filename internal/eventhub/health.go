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
	// A hub cannot be read if there are errors and it has answered nothing for patience, or if it has answered nothing for silence: it
	// answers at least every few seconds.
	patience = 15 * time.Second
	silence  = time.Minute
)

var errClosed = errors.New("it closes the connection while signing in: the connection string may be wrong, or its key renewed")

var errSilent = errors.New("it does not answer, or another program with the same consumer group reads it")

// health records whether the hub answers.
type health struct {
	mu       sync.Mutex
	answered time.Time // when the hub answered a request for messages last, or of a shared group also a heartbeat; zero: never
	failedAt time.Time
	failure  error
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

// problem returns why the hub cannot be read; nil if it can, or that is not known yet.
func (h *health) problem(now, started time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := started
	if h.answered.After(since) {
		since = h.answered
	}
	switch {
	case h.failedAt.After(h.answered) && (h.answered.IsZero() || now.Sub(h.answered) > patience):
		return h.failure
	case now.Sub(since) > silence:
		return errSilent
	}
	return nil
}

// watch reports when the hub cannot be read, and when it can be read again.
func (r *Reader) watch(ctx context.Context) error {
	started := time.Now()
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
		err := r.health.problem(now, started)
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
	isAnswer := key == int16(kmsg.Fetch) || h.reader.options.Shared && key == int16(kmsg.Heartbeat)
	if !isAnswer || e.Err() != nil {
		return
	}
	h.reader.health.mu.Lock()
	defer h.reader.health.mu.Unlock()
	h.reader.health.answered = time.Now()
}
