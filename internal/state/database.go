package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"strings"
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

// A Database is an encrypted key-value store that one process has open at a time.
type Database struct {
	dir  *Dir
	bolt *bbolt.DB
	lock *flock.Flock
	loss error
}

// OpenDatabase opens the database of the directory, or fails if another process has it open. A corrupt database is moved aside
// and replaced by an empty one, see [Database.DataLoss].
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
	db := &Database{dir: d, lock: lock}
	if err := db.open(); err != nil {
		lock.Close()
		return nil, err
	}
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
	path := d.file(databaseFile)
	var err error
	db.bolt, err = openBolt(path)
	if errors.Is(err, ErrCorrupt) {
		aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z")
		db.loss = fmt.Errorf("the database %w; it was moved to %s and replaced by an empty one: pending requests and stored responses are lost", err, aside)
		d.log.Error("the database was corrupt and was replaced by an empty one: pending requests and stored responses are lost", "error", err, "moved_to", aside)
		if err := os.Rename(path, aside); err != nil {
			return fmt.Errorf("move the corrupt database %s aside: %w", path, withoutPath(err))
		}
		db.bolt, err = openBolt(path)
	}
	if err != nil {
		return fmt.Errorf("open the database %w", err)
	}
	if err := db.checkKey(); err != nil {
		db.bolt.Close()
		return err
	}
	return nil
}

// openBolt opens a database and reads it completely, because bbolt detects damage only on access, and then panics.
func openBolt(path string) (b *bbolt.DB, err error) {
	// Reading a mapped page beyond the end of a truncated file raises a memory fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			// Not closed: closing it in this state may panic or block. A process opens one database only.
			b, err = nil, fmt.Errorf("%s %w: %v", path, ErrCorrupt, p)
		}
	}()
	// The separate lock file excludes other bridges; bbolt's own lock excludes tools that open the file directly.
	b, err = bbolt.Open(path, fileMode, &bbolt.Options{Timeout: openTimeout})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: another program has it open", path)
	case errors.As(err, new(syscall.Errno)):
		return nil, fmt.Errorf("%s: %w", path, withoutPath(err))
	case err != nil: // every error that is not the system's is about the content
		return nil, fmt.Errorf("%s %w: %w", path, ErrCorrupt, err)
	}
	err = b.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(k, v []byte) error {
				crc32.ChecksumIEEE(v) // touches every page
				return nil
			})
		})
	})
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("%s %w: %w", path, ErrCorrupt, err)
	}
	return b, nil
}

// keyBucket holds one value, which detects a wrong key before anything is written with it.
const keyBucket = "key"

func (db *Database) checkKey() error {
	bucket := db.Bucket(keyBucket)
	probe, err := bucket.Get("mark")
	switch {
	case errors.Is(err, ErrOtherKey):
		return fmt.Errorf("the database %s %w; %s; or move the file away, which loses pending requests and stored responses", db.bolt.Path(), ErrOtherKey, otherKeyAdvice)
	case err != nil:
		return err
	case probe == nil:
		return bucket.Put("mark", []byte{1})
	}
	return nil
}

// DataLoss returns an error that says where a corrupt database was moved to, or nil if the database was intact.
func (db *Database) DataLoss() error { return db.loss }

// Close closes the database and releases its lock.
func (db *Database) Close() error {
	err := db.bolt.Close()
	os.Remove(db.dir.file(bridgePID))
	return errors.Join(err, db.lock.Close())
}

// Bucket returns the named bucket, which is created by the first write.
func (db *Database) Bucket(name string) *Bucket { return &Bucket{db: db, name: name} }

// A Bucket is a named set of keys in a [Database]. It is safe for concurrent use.
type Bucket struct {
	db   *Database
	name string
}

// sealName returns the name that a value is bound to, so that values cannot be swapped.
func (b *Bucket) sealName(key string) string { return "database\x00" + b.name + "\x00" + key }

// Get returns the value of key, or nil if it does not exist.
func (b *Bucket) Get(key string) ([]byte, error) {
	var sealed []byte
	err := b.db.bolt.View(func(tx *bbolt.Tx) error {
		if in := tx.Bucket([]byte(b.name)); in != nil {
			sealed = bytes.Clone(in.Get([]byte(key)))
		}
		return nil
	})
	if err != nil {
		return nil, b.wrapError("read", key, err)
	}
	if sealed == nil {
		return nil, nil
	}
	plain, err := b.db.dir.unseal(sealed, b.sealName(key))
	if err != nil {
		return nil, b.valueError(key, err)
	}
	return notNil(plain), nil
}

// Put sets the value of key. It is on disk when Put returns.
func (b *Bucket) Put(key string, v []byte) error {
	err := b.db.bolt.Update(func(tx *bbolt.Tx) error {
		in, err := tx.CreateBucketIfNotExists([]byte(b.name))
		if err != nil {
			return err
		}
		return in.Put([]byte(key), b.db.dir.seal(v, b.sealName(key)))
	})
	return b.wrapError("write", key, err)
}

// Delete removes key if it exists.
func (b *Bucket) Delete(key string) error {
	err := b.db.bolt.Update(func(tx *bbolt.Tx) error {
		if in := tx.Bucket([]byte(b.name)); in != nil {
			return in.Delete([]byte(key))
		}
		return nil
	})
	return b.wrapError("delete", key, err)
}

// Each calls f for every key of a snapshot in sorted order until f returns an error; f may change the bucket. Unreadable values
// are skipped and named in the error that Each returns.
func (b *Bucket) Each(f func(key string, v []byte) error) error {
	type pair struct {
		key    string
		sealed []byte
	}
	var pairs []pair
	err := b.db.bolt.View(func(tx *bbolt.Tx) error {
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
		return b.wrapError("read", "", err)
	}
	var unreadable []error
	for _, p := range pairs {
		plain, err := b.db.dir.unseal(p.sealed, b.sealName(p.key))
		if err != nil {
			unreadable = append(unreadable, b.valueError(p.key, err))
			continue
		}
		if err := f(p.key, notNil(plain)); err != nil {
			return errors.Join(append(unreadable, err)...)
		}
	}
	return errors.Join(unreadable...)
}

func (b *Bucket) wrapError(action, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s/%s in the database %s: %w", action, b.name, key, b.db.dir.file(databaseFile), err)
}

func (b *Bucket) valueError(key string, err error) error {
	return fmt.Errorf("%s: %s/%s %w", b.db.dir.file(databaseFile), b.name, key, err)
}

// notNil returns an empty slice for nil, because nil means that the key does not exist.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
