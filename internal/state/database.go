package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	databaseFile = "graph2mqtt.db"
	bridgeLock   = "bridge.lock"
	bridgePID    = "bridge.pid"

	// openTimeout allows for a service restart, where the new process starts while the old one is shutting down.
	openTimeout = 2 * time.Second
)

// controlBucket holds a value that detects a wrong key before anything is written with it, and the digest of all other buckets.
const controlBucket = "key"

var (
	probeKey  = keyName{controlBucket, "mark"}
	digestKey = keyName{controlBucket, "digest"}
)

// A Database is an encrypted key-value store that one process has open at a time. One goroutine writes it, see
// [Database.Commit]; reads see what is on disk and do not wait for it. All methods except Close are safe for concurrent use.
type Database struct {
	dir  *Dir
	path string
	bolt *bbolt.DB
	lock *flock.Flock
	loss error

	testHook func() error // called in each transaction before it is committed

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
// it on. A corrupt database is moved aside and replaced by an empty one, see [Database.DataLoss].
func (d *Dir) OpenDatabase() (*Database, error) {
	lock := flock.New(d.file(bridgeLock), flock.SetPermissions(fileMode))
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, lockRetryInterval); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("another graph2mqtt%s is using %s: stop it first, or give this one a directory of its own with --state-dir", d.lockHolder(), d.path)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), withoutPath(err))
	}
	db := &Database{
		dir: d, path: d.file(databaseFile), lock: lock,
		wake: make(chan struct{}, 1), writerDone: make(chan struct{}),
		lazy: map[keyName]*change{}, pending: map[keyName]*change{},
	}
	if err := db.open(); err != nil {
		lock.Close()
		return nil, err
	}
	go db.runWriter()
	return db, nil
}

// lockHolder describes the process that has the database open, for an error message.
func (d *Dir) lockHolder() string {
	pid, err := os.ReadFile(d.file(bridgePID))
	if err != nil {
		return ""
	}
	return " (process " + strings.TrimSpace(string(pid)) + ")"
}

func (db *Database) open() error {
	d := db.dir
	if err := writeFile(d.file(bridgePID), fmt.Appendln(nil, os.Getpid())); err != nil {
		return err
	}
	err := db.openVerified()
	if errors.Is(err, ErrCorrupt) {
		aside, moveErr := moveAside(db.path)
		if moveErr != nil {
			return fmt.Errorf("move the corrupt database %s aside: %w", db.path, withoutPath(moveErr))
		}
		db.loss = fmt.Errorf("the database %w; it was moved to %s and replaced by an empty one: pending requests and stored responses are lost", err, aside)
		d.log.Error("the database was corrupt and was replaced by an empty one: pending requests and stored responses are lost", "error", err, "moved_to", aside)
		err = db.openVerified()
	}
	switch {
	case errors.Is(err, ErrOtherKey):
		return fmt.Errorf("the database %w; or move the file away, which loses pending requests and stored responses", err)
	case err != nil:
		return fmt.Errorf("open the database %w", err)
	}
	return nil
}

// moveAside renames a file to a name that does not exist.
func moveAside(path string) (string, error) {
	name := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z")
	for i := 2; ; i++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, os.Rename(path, name)
		}
		name = fmt.Sprintf("%s-%d", strings.TrimSuffix(name, fmt.Sprintf("-%d", i-1)), i)
	}
}

// openVerified verifies the file, opens it and writes to it. The error begins with the path.
func (db *Database) openVerified() (err error) {
	sum, err := db.verify()
	if err != nil {
		return fmt.Errorf("%s %w", db.path, err)
	}
	if err := db.create(); err != nil {
		return err
	}
	if db.bolt, err = openBolt(db.path); err != nil {
		return err
	}
	// A commit that fails would be found out too late by the first request.
	if err := db.writeControl(sum); err != nil {
		if !errors.Is(err, ErrCorrupt) { // bbolt may block if it panicked
			db.bolt.Close()
		}
		return fmt.Errorf("%s: %w", db.path, err)
	}
	return nil
}

// create creates the file if there is none. It has its name only when it is complete, so that an empty file is always damage. The error
// begins with the path.
func (db *Database) create() error {
	if _, err := os.Lstat(db.path); !errors.Is(err, fs.ErrNotExist) {
		return nil // openBolt reports other errors
	}
	incomplete := db.path + ".new"
	if err := os.Remove(incomplete); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", incomplete, withoutPath(err))
	}
	bolt, err := openBolt(incomplete)
	if err == nil {
		err = bolt.Close()
	}
	if err == nil {
		err = os.Rename(incomplete, db.path)
	}
	if err != nil {
		os.Remove(incomplete)
		return fmt.Errorf("create %s: %w", db.path, withoutPath(err))
	}
	if err := syncDir(db.dir.path); err != nil {
		return fmt.Errorf("create %s: %w", db.path, withoutPath(err))
	}
	return nil
}

// openBolt opens a verified file, or creates it. The error begins with the path.
func openBolt(path string) (bolt *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			// Not closed: closing it in this state may panic or block. A process opens one database only.
			err = fmt.Errorf("%s %w: %v", path, ErrCorrupt, p)
		}
	}()
	// The separate lock file excludes other bridges; bbolt's own lock excludes tools that open the file directly. The list of free
	// pages is rebuilt here rather than written with each commit: that writes less, and there is none to be damaged.
	bolt, err = bbolt.Open(path, fileMode, &bbolt.Options{Timeout: openTimeout, NoFreelistSync: true})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: another program has it open", path)
	case errors.As(err, new(syscall.Errno)):
		return nil, fmt.Errorf("%s: %w", path, withoutPath(err))
	case err != nil: // every error that is not the system's is about the content
		return nil, fmt.Errorf("%s %w: %w", path, ErrCorrupt, err)
	}
	return bolt, nil
}

// verify verifies the file, if there is one, and returns the digest of its content.
func (db *Database) verify() (digest, error) {
	var sum, stored digest
	file, err := os.Open(db.path)
	if errors.Is(err, fs.ErrNotExist) {
		return sum, nil
	}
	if err != nil {
		return sum, withoutPath(err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return sum, withoutPath(err)
	case !info.Mode().IsRegular():
		return sum, errors.New("is not a regular file")
	case info.Size() == 0: // bbolt would take it for a new one
		return sum, corrupt("the file is empty")
	}
	var keyErr error
	haveDigest, haveControl := false, false
	txid, err := verifyFile(file, info.Size(), func(k keyName, sealed []byte) {
		if k.bucket != controlBucket {
			sum.toggle(k, sealed)
			return
		}
		haveControl = true
		plain, err := db.dir.unseal(sealed, k.sealName())
		switch {
		case k == digestKey:
			stored, haveDigest = parseDigest(plain)
		case k == probeKey && errors.Is(err, ErrOtherKey):
			keyErr = err
		}
	})
	switch {
	case err != nil:
		return sum, err
	case keyErr != nil:
		return sum, keyErr
	case !haveControl && txid > initialTxid:
		return sum, corrupt("the list of buckets is incomplete")
	case !haveDigest: // an earlier version wrote the file, or just this value is damaged
		return sum, nil
	case sum.keys != stored.keys:
		return sum, corrupt("keys are missing or outdated")
	case sum.values == stored.values:
		return sum, nil
	}
	// An unreadable value is reported where it is read; it need not cost the others.
	unreadable := false
	_, err = verifyFile(file, info.Size(), func(k keyName, sealed []byte) {
		if _, err := db.dir.unseal(sealed, k.sealName()); err != nil && k.bucket != controlBucket {
			unreadable = true
		}
	})
	if err == nil && !unreadable {
		err = corrupt("values are outdated")
	}
	return sum, err
}

// writeControl writes the control bucket.
func (db *Database) writeControl(sum digest) error {
	return db.transact(nil, func(control *bbolt.Bucket) error {
		if err := control.Put([]byte(probeKey.key), db.dir.seal([]byte{1}, probeKey.sealName())); err != nil {
			return err
		}
		return control.Put([]byte(digestKey.key), db.dir.seal(sum.bytes(), digestKey.sealName()))
	})
}

// readDigest returns the digest stored in the control bucket.
func (db *Database) readDigest(control *bbolt.Bucket) (digest, error) {
	plain, err := db.openValue(digestKey, control.Get([]byte(digestKey.key)))
	if err != nil {
		return digest{}, err
	}
	sum, ok := parseDigest(plain)
	if !ok {
		return sum, fmt.Errorf("%s: %s/%s %w", db.path, digestKey.bucket, digestKey.key, ErrCorrupt)
	}
	return sum, nil
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
	if db.stats.Commits > 1 {
		// The other meta page still refers to the state before the last commit, which bbolt would use in silence if the newest
		// were damaged. After one more commit both refer to the same content. Failing this loses nothing.
		db.transact(nil, func(*bbolt.Bucket) error { return nil })
	}
	err := db.bolt.Close()
	os.Remove(db.dir.file(bridgePID))
	db.rejected.Wait()
	return errors.Join(db.lazyErr, err, db.lock.Close())
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
	type pair struct {
		key    string
		sealed []byte
	}
	var pairs []pair
	err := b.db.view(func(tx *bbolt.Tx) error {
		in := tx.Bucket([]byte(b.name))
		if in == nil {
			return nil
		}
		return in.ForEach(func(k, v []byte) error {
			pairs = append(pairs, pair{string(k), bytes.Clone(v)})
			return nil
		})
	})
	if err != nil {
		return b.db.wrapError("read", keyName{b.name, ""}, err)
	}
	var unreadable []error
	for _, p := range pairs {
		plain, err := b.db.openValue(keyName{b.name, p.key}, p.sealed)
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
