// Package audit records in a file which changes were made in Microsoft 365. A record does not contain the content of a change.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

const (
	// maxWaiting bounds the records that wait for a file that cannot be written.
	maxWaiting = 1000
	// retryInterval is the pause between two attempts to write to it.
	retryInterval = 10 * time.Second

	mode = 0o600
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

// Options configure a File.
type Options struct {
	Path     string
	MaxSize  int // of a file, in MiB
	MaxFiles int // older ones that are kept
	Log      *slog.Logger
	// OnProblem, which may be nil, is called when Problem has changed. It must not block.
	OnProblem func()
	Retry     time.Duration // between attempts to write; 0: retryInterval
}

// A File is a file with one JSON record per line. Older parts are kept under other names.
type File struct {
	options Options
	file    *lumberjack.Logger
	wake    chan struct{}

	// Used by the writer alone.
	torn    bool        // the last line may be incomplete
	written os.FileInfo // of the file at Path before the last record; nil: there was none

	mu      sync.Mutex // guards what follows
	waiting []Line
	lost    int
	problem string
}

// New returns a File. Nothing is opened before the first record is written.
func New(o Options) *File {
	if o.Retry == 0 {
		o.Retry = retryInterval
	}
	return &File{options: o, wake: make(chan struct{}, 1), file: &lumberjack.Logger{Filename: o.Path, MaxSize: o.MaxSize, MaxBackups: o.MaxFiles}}
}

// Add queues a record for Run. It never waits: if maxWaiting records wait already, the record is lost, and the loss is recorded.
func (f *File) Add(r Line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) >= maxWaiting {
		f.lost++
		return
	}
	f.waiting = append(f.waiting, r)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Problem returns why the last record could not be written; "" if it was.
func (f *File) Problem() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

// Run writes records until ctx is done, and then those that are left.
func (f *File) Run(ctx context.Context) error {
	defer func() { _ = f.file.Close() }() // every record was written
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			f.writeAll()
			return nil
		case <-f.wake:
			if retry != nil {
				continue
			}
		case <-retry:
		}
		if retry = nil; !f.writeAll() {
			retry = time.After(f.options.Retry)
		}
	}
}

// writeAll writes the records that wait. It reports false if one could not be written; it still waits then.
func (f *File) writeAll() bool {
	for {
		r, ok := f.next()
		if !ok {
			return true
		}
		err := f.Write(r)
		f.report(err)
		if err != nil {
			return false
		}
		f.mu.Lock()
		if r.Lost > 0 {
			f.lost -= r.Lost
		} else {
			f.waiting = f.waiting[1:]
		}
		f.mu.Unlock()
	}
}

// next returns the record to be written. Lost ones follow those that wait.
func (f *File) next() (Line, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.waiting) > 0:
		return f.waiting[0], true
	case f.lost > 0:
		return Line{Time: time.Now().UTC(), Lost: f.lost}, true
	}
	return Line{}, false
}

// report records whether a record was written.
func (f *File) report(err error) {
	f.mu.Lock()
	before := f.problem
	if f.problem = ""; err != nil {
		f.problem = err.Error()
	}
	lost, changed := f.lost, f.problem != before
	f.mu.Unlock()
	switch {
	case !changed:
		return
	case err == nil:
		f.options.Log.Info("audit file is written again", "file", f.options.Path, "lost", lost)
	case before == "":
		f.options.Log.Error("audit file cannot be written; requests are still executed", "file", f.options.Path, "error", err, "retry_in", f.options.Retry)
	}
	if f.options.OnProblem != nil {
		f.options.OnProblem()
	}
}

// Write writes a record at once. It must not be called beside Run.
func (f *File) Write(r Line) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("audit record: %w", err)
	}
	if err := f.prepare(); err != nil {
		return err
	}
	line = append(line, '\n')
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	_, err = f.file.Write(line)
	if f.torn = err != nil; f.torn {
		_ = f.file.Close() // the next attempt opens it again
	}
	return err
}

// prepare makes an existing file readable by its owner only; new ones are created so. It closes a file that was renamed, replaced or
// removed since the last record, so that the next one is written to Path.
func (f *File) prepare() error {
	info, err := os.Stat(f.options.Path)
	if !os.SameFile(info, f.written) {
		_ = f.file.Close() // every record was written
	}
	f.written = info
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular() && info.Mode().Perm() != mode:
		return os.Chmod(f.options.Path, mode)
	}
	return nil
}
