package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const (
	databaseFile = "graph2mqtt.db"
	bridgeLock   = "bridge.lock"
	bridgePID    = "bridge.pid"

	// openTimeout allows for a service restart, where the new process starts while the old one is shutting down.
	openTimeout = 2 * time.Second
)

// An engine stores the sealed values of a [Database]. One goroutine writes; reads are concurrent.
type engine interface {
	get(k keyName) (sealed []byte, err error) // nil if it does not exist
	list(bucket string) ([]change, error)     // every key of a bucket, sorted
	all() ([]change, error)                   // every key of every bucket
	write(changes []*change) error            // in one transaction, of each key at most one; one that changes nothing is not written
	check(k keyName, size int) error          // whether a key with a sealed value of this size can be stored
	close() error
}

// A Database is an encrypted key-value store that one process has open at a time. One goroutine writes it, see
// [Database.Commit]; reads see what is on disk and do not wait for it. All methods except Close are safe for concurrent use.
type Database struct {
	dir    *Dir
	path   string
	engine engine
	packed bool         // values are compressed before they are encrypted
	lock   *flock.Flock // nil in a cluster
	loss   error

	wake       chan struct{}
	writerDone chan struct{}
	rejected   sync.WaitGroup // done functions of commits after Close

	mu         sync.Mutex
	closed     bool
	queue      []*commitCall
	queueDue   time.Time // of the queue as a whole: its calls are written in order
	queueBytes int
	lazy       map[keyName]*change // waiting for the next commit
	lazyBytes  int
	lazyDue    time.Time
	lazyErr    error               // of lazy changes that were lost when closing
	pending    map[keyName]*change // the newest change of each key that is not on disk
	stats      Stats
}

// OpenDatabase opens the database of the directory, or fails if another process has it open. A process opens it once and passes
// it on. A corrupt database is moved aside and replaced by an empty one, see [Database.DataLoss]. In a cluster the caller has acquired
// the lease.
func (d *Dir) OpenDatabase() (*Database, error) {
	db := &Database{
		dir: d, path: d.file(databaseFile),
		wake: make(chan struct{}, 1), writerDone: make(chan struct{}),
		lazy: map[keyName]*change{}, pending: map[keyName]*change{},
	}
	if err := db.open(); err != nil {
		return nil, err
	}
	go db.runWriter()
	return db, nil
}

func (db *Database) open() (err error) {
	if s := db.dir.shared; s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lease == nil {
			return fmt.Errorf("open the database %s: %w", s.bucket.label(), ErrLeaseLost)
		}
		db.path, db.packed, db.engine = s.bucket.label(), true, &clusterEngine{s.bucket, s.shard, s.lease, db.count}
		return nil
	}
	if db.lock, err = db.dir.lockBridge(); err != nil {
		return err
	}
	b := &boltFile{dir: db.dir, path: db.path, count: db.count}
	if err := b.open(); err != nil {
		db.lock.Close()
		return err
	}
	db.engine, db.loss = b, b.loss
	return nil
}

// lockBridge takes the lock of the process that works with the state in this directory.
func (d *Dir) lockBridge() (*flock.Flock, error) {
	lock := flock.New(d.file(bridgeLock), flock.SetPermissions(fileMode))
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, lockRetryInterval); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("another graph2mqtt%s is using %s: stop it first, or give this one a directory of its own with --state-dir", d.lockHolder(), d.path)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), withoutPath(err))
	}
	if err := writeFile(d.file(bridgePID), fmt.Appendln(nil, os.Getpid())); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// unlockBridge releases the lock.
func (d *Dir) unlockBridge(lock *flock.Flock) error {
	os.Remove(d.file(bridgePID))
	return lock.Close()
}

// lockHolder describes the process that has the database open, for an error message.
func (d *Dir) lockHolder() string {
	pid, err := os.ReadFile(d.file(bridgePID))
	if err != nil {
		return ""
	}
	return " (process " + strings.TrimSpace(string(pid)) + ")"
}

// DataLoss returns an error that says where a corrupt database was moved to, or nil if the database was intact.
func (db *Database) DataLoss() error { return db.loss }

// Close writes what waits to be written, closes the database and releases its lock.
func (db *Database) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		db.rejected.Wait()
		return nil
	}
	db.closed = true
	db.wakeWriter()
	db.mu.Unlock()
	<-db.writerDone
	err := db.engine.close()
	if db.lock != nil {
		err = errors.Join(err, db.dir.unlockBridge(db.lock))
	}
	db.rejected.Wait()
	return errors.Join(db.lazyErr, err)
}

// Bucket returns the named bucket, which is created by the first write.
func (db *Database) Bucket(name string) *Bucket { return &Bucket{db: db, name: name} }

// A Bucket is a named set of keys in a [Database]. It is safe for concurrent use.
type Bucket struct {
	db   *Database
	name string
}

// Get returns the value of key, or nil if it does not exist.
func (b *Bucket) Get(key string) ([]byte, error) { return b.db.get(keyName{b.name, key}) }

// Put sets the value of key. It is on disk when Put returns.
func (b *Bucket) Put(key string, v []byte) error {
	return b.commit(key, "write", func(tx Tx) { tx.Put(b.name, key, v) })
}

// Delete removes key if it exists.
func (b *Bucket) Delete(key string) error {
	return b.commit(key, "delete", func(tx Tx) { tx.Delete(b.name, key) })
}

func (b *Bucket) commit(key, action string, write func(Tx)) error {
	err := b.db.CommitSync(write)
	if errors.Is(err, ErrClosed) {
		return b.db.wrapError(action, keyName{b.name, key}, err)
	}
	return err
}

// Each calls f for every key of a snapshot in sorted order until f returns an error; f may change the bucket. Unreadable values
// are skipped and named in the error that Each returns.
func (b *Bucket) Each(f func(key string, v []byte) error) error {
	pairs, err := b.db.engine.list(b.name)
	if err != nil {
		return b.db.wrapError("read", keyName{b.name, ""}, err)
	}
	var unreadable []error
	for _, p := range pairs {
		plain, err := b.db.openValue(p.keyName, p.sealed)
		if err != nil {
			unreadable = append(unreadable, err)
			continue
		}
		if err := f(p.key, plain); err != nil {
			return errors.Join(append(unreadable, err)...)
		}
	}
	return errors.Join(unreadable...)
}
