// Package audit records which changes were made in Microsoft 365. A record does not contain the content of a change.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxWaiting bounds the records that wait while none can be written.
	maxWaiting = 1000
	// retryInterval is the pause between two attempts to write.
	retryInterval = 10 * time.Second
)

// A Line describes a request that may have changed something. A Line of lost records has only Time and Lost.
type Line struct {
	Time            time.Time `json:"time"` // when it was completed
	ID              string    `json:"id,omitempty"`
	ReceivedAt      time.Time `json:"received_at,omitzero"`
	Account         string    `json:"account,omitempty"`
	User            string    `json:"user,omitempty"` // who is signed in
	Sensor          string    `json:"sensor,omitempty"`
	Operation       string    `json:"operation,omitempty"`
	Transaction     string    `json:"transaction,omitempty"`
	ReplyTo         string    `json:"reply_to,omitempty"`
	Digest          string    `json:"digest,omitempty"`  // SHA-256 of the request
	Outcome         string    `json:"outcome,omitempty"` // ok, or the code of the error
	GraphStatus     int       `json:"graph_status,omitempty"`
	GraphCode       string    `json:"graph_code,omitempty"`
	GraphRequestIDs []string  `json:"graph_request_ids,omitempty"`
	Lost            int       `json:"lost,omitempty"` // records before this one that could not be written
}

// A Target stores records.
type Target interface {
	// Name names it in the log.
	Name() string
	// Write stores a record, which is given as a line of JSON without its end, too. After an error it is called with the same record again.
	Write(r Line, line []byte) error
	// Close is called when nothing is written for some time.
	Close()
}

// Options configure a Recorder.
type Options struct {
	Target Target
	Log    *slog.Logger
	// OnProblem, which may be nil, is called when Problem has changed. It must not block.
	OnProblem func()
	Retry     time.Duration // between attempts to write; 0: retryInterval
}

// A Recorder writes records to a target.
type Recorder struct {
	options Options
	wake    chan struct{}

	mu      sync.Mutex // guards what follows
	waiting []Line
	lost    int
	problem string
}

// New returns a Recorder. It does not use its target before the first record.
func New(o Options) *Recorder {
	if o.Retry == 0 {
		o.Retry = retryInterval
	}
	return &Recorder{options: o, wake: make(chan struct{}, 1)}
}

// Add queues a record for Run. It never waits: if maxWaiting records wait already, the record is lost, and the loss is recorded.
func (r *Recorder) Add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxWaiting {
		r.lost++
		return
	}
	r.waiting = append(r.waiting, l)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Problem returns why the last record could not be written; "" if it was.
func (r *Recorder) Problem() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problem
}

// Run writes records until ctx is done, and then those that are left.
func (r *Recorder) Run(ctx context.Context) error {
	defer r.options.Target.Close()
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			r.writeAll()
			return nil
		case <-r.wake:
			if retry != nil {
				continue
			}
		case <-retry:
		}
		if retry = nil; !r.writeAll() {
			retry = time.After(r.options.Retry)
		}
	}
}

// writeAll writes the records that wait. It reports false if one could not be written; it still waits then.
func (r *Recorder) writeAll() bool {
	for {
		l, ok := r.next()
		if !ok {
			return true
		}
		err := r.Write(l)
		r.report(err)
		if err != nil {
			return false
		}
		r.mu.Lock()
		if l.Lost > 0 {
			r.lost -= l.Lost
		} else {
			r.waiting = r.waiting[1:]
		}
		r.mu.Unlock()
	}
}

// next returns the record to be written. Lost ones follow those that wait.
func (r *Recorder) next() (Line, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.waiting) > 0:
		return r.waiting[0], true
	case r.lost > 0:
		return Line{Time: time.Now().UTC(), Lost: r.lost}, true
	}
	return Line{}, false
}

// report records whether a record was written.
func (r *Recorder) report(err error) {
	r.mu.Lock()
	before := r.problem
	if r.problem = ""; err != nil {
		r.problem = err.Error()
	}
	lost, changed := r.lost, r.problem != before
	r.mu.Unlock()
	switch {
	case !changed:
		return
	case err == nil:
		r.options.Log.Info("audit records are written again", "target", r.options.Target.Name(), "lost", lost)
	case before == "":
		r.options.Log.Error("audit records cannot be written; requests are still executed", "target", r.options.Target.Name(), "error", err, "retry_in", r.options.Retry)
	}
	if r.options.OnProblem != nil {
		r.options.OnProblem()
	}
}

// Write writes a record at once. It must not be called beside Run.
func (r *Recorder) Write(l Line) error {
	line, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("audit record: %w", err)
	}
	return r.options.Target.Write(l, line)
}
