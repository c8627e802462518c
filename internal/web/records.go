package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// Files are the encrypted files of the state directory.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, plain []byte) error
	WithLock(ctx context.Context, name string, f func() error) error
	Watch(ctx context.Context, changed func(name string)) error
}

// recordsLockTimeout bounds waiting for another process that changes the same file.
const recordsLockTimeout = 10 * time.Second

// Records holds one value for each account in an encrypted file. It is safe for concurrent use by several goroutines and processes.
type Records[T any] struct {
	files      Files
	name       string // of the file, and of its lock
	unreadable func(error)

	mu     sync.Mutex // guards what follows
	values map[string]T
	failed bool      // the file could not be read, and that was reported
	reread time.Time // when ReadAgain read the file last
}

// OpenRecords returns the records in a file. unreadable is called when the file can no longer be read.
func OpenRecords[T any](files Files, name string, unreadable func(error)) *Records[T] {
	r := &Records[T]{files: files, name: name, unreadable: unreadable}
	r.Reload()
	return r
}

// Watch calls reloaded each time after the file was changed and read again, until ctx is done. reloaded may be nil.
func (r *Records[T]) Watch(ctx context.Context, reloaded func()) error {
	return r.files.Watch(ctx, func(name string) {
		if name != "" && name != r.name {
			return
		}
		r.Reload()
		if reloaded != nil {
			reloaded()
		}
	})
}

// Reload reads the file. One that cannot be read leaves the values as they are.
func (r *Records[T]) Reload() {
	values, err := r.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.values = values
	} else if !r.failed {
		r.unreadable(err)
	}
	r.failed = err != nil
}

// rereadInterval is the least time between two times that ReadAgain reads the file: anybody can look for what is not there.
const rereadInterval = 100 * time.Millisecond

// ReadAgain reads the file because something is not there that another process may have written just now. It reports whether it did.
func (r *Records[T]) ReadAgain() bool {
	r.mu.Lock()
	now := time.Now()
	due := now.Sub(r.reread) >= rereadInterval
	if due {
		r.reread = now
	}
	r.mu.Unlock()
	if due {
		r.Reload()
	}
	return due
}

// Values returns the value of each account as it was last read or changed, not to be modified, and whether the file was readable then.
func (r *Records[T]) Values() (values map[string]T, readable bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.values, !r.failed
}

// Change calls change with the values in the file, and writes them if it returns true. Other processes wait meanwhile.
func (r *Records[T]) Change(change func(values map[string]T) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordsLockTimeout)
	defer cancel()
	return r.files.WithLock(ctx, r.name, func() error {
		values, err := r.read()
		if err != nil {
			return err
		}
		if change(values) {
			b, err := json.Marshal(values)
			if err != nil {
				return err
			}
			if err := r.files.Write(r.name, b); err != nil {
				return err
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.values, r.failed = values, false
		return nil
	})
}

func (r *Records[T]) read() (map[string]T, error) {
	values := map[string]T{}
	b, err := r.files.Read(r.name)
	if errors.Is(err, fs.ErrNotExist) {
		return values, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &values)
	}
	return values, err
}

// NewSecret returns a random text of 130 bits in lower case, which is easy to type.
func NewSecret() string { return strings.ToLower(rand.Text()) }
