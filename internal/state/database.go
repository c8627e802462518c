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

	// The one who goes may take a moment: a restarted service begins when the old process has been told to end.
	databaseWait = 2 * time.Second
)

// A Database belongs to the one running bridge. What was put in it is on the disk when Put returns.
type Database struct {
	dir  *Dir
	bolt *bbolt.DB
	lock *flock.Flock
	lost error
}

// Database opens the database, and refuses it to a second bridge. A database that is broken is moved aside and a new one begun,
// see [Database.Lost].
func (d *Dir) Database() (*Database, error) {
	lock := flock.New(d.file(bridgeLock), flock.SetPermissions(fileMode))
	ctx, cancel := context.WithTimeout(context.Background(), databaseWait)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("another graph2mqtt%s is using %s: stop it first, or give this one a directory of its own with --state-dir", d.bridge(), d.path)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), reason(err))
	}
	db := &Database{dir: d, lock: lock}
	if err := db.open(); err != nil {
		lock.Close()
		return nil, err
	}
	return db, nil
}

// bridge names the process that has the database.
func (d *Dir) bridge() string {
	pid, err := os.ReadFile(d.file(bridgePID))
	if err != nil {
		return ""
	}
	return " (process " + strings.TrimSpace(string(pid)) + ")"
}

func (db *Database) open() error {
	d := db.dir
	if err := write(d.file(bridgePID), fmt.Appendln(nil, os.Getpid())); err != nil {
		return err
	}
	path := d.file(databaseFile)
	var err error
	db.bolt, err = openBolt(path)
	if errors.Is(err, ErrCorrupt) {
		aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z")
		db.lost = fmt.Errorf("the database %w; it is kept as %s, and a new one was begun: requests not yet carried out and remembered answers are lost", err, aside)
		d.log.Error("the database was corrupt and is begun anew: requests not yet carried out and remembered answers are lost", "error", err, "kept", aside)
		if err := os.Rename(path, aside); err != nil {
			return fmt.Errorf("move the corrupt database %s away: %w", path, reason(err))
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

// openBolt opens a database and reads all of it, which is little: bbolt finds what is broken only when it comes across it, and
// then panics.
func openBolt(path string) (b *bbolt.DB, err error) {
	// A file cut short is mapped longer than it is; to read there is a fault of the memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			// Not closed: who knows what it would do in this condition. The program opens one database in its life.
			b, err = nil, fmt.Errorf("%s %w: %v", path, ErrCorrupt, p)
		}
	}()
	// The lock beside it keeps other bridges away; bbolt's own is for tools that open the file itself.
	b, err = bbolt.Open(path, fileMode, &bbolt.Options{Timeout: databaseWait})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: another program has it open", path)
	case errors.As(err, new(syscall.Errno)):
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	case err != nil: // what the system does not object to is in the file
		return nil, fmt.Errorf("%s %w: %w", path, ErrCorrupt, err)
	}
	err = b.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(k, v []byte) error {
				crc32.ChecksumIEEE(v) // reads every page of it
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

// keyBucket holds one value by which the key is known before anything is done with the wrong one.
const keyBucket = "key"

func (db *Database) checkKey() error {
	bucket := db.Bucket(keyBucket)
	mark, err := bucket.Get("mark")
	switch {
	case errors.Is(err, ErrOtherKey):
		return fmt.Errorf("the database %s %w; %s; or move the file away, which loses requests not yet carried out and remembered answers", db.bolt.Path(), ErrOtherKey, giveKey)
	case err != nil:
		return err
	case mark == nil:
		return bucket.Put("mark", []byte{1})
	}
	return nil
}

// Lost says that the database had to be begun anew, and where the broken one is; nil where all is well.
func (db *Database) Lost() error { return db.lost }

// Close lets the next bridge in.
func (db *Database) Close() error {
	err := db.bolt.Close()
	os.Remove(db.dir.file(bridgePID))
	return errors.Join(err, db.lock.Close())
}

// Bucket is the part of the database of that name; it needs not be made.
func (db *Database) Bucket(name string) *Bucket { return &Bucket{db: db, name: name} }

// A Bucket is a part of a [Database]. Its methods may be called by several goroutines.
type Bucket struct {
	db   *Database
	name string
}

// sealName is what a value is bound to, so that none can be put in the place of another.
func (b *Bucket) sealName(key string) string { return "database\x00" + b.name + "\x00" + key }

// Get returns the value of a key, nil where there is none.
func (b *Bucket) Get(key string) ([]byte, error) {
	var sealed []byte
	err := b.db.bolt.View(func(tx *bbolt.Tx) error {
		if in := tx.Bucket([]byte(b.name)); in != nil {
			sealed = bytes.Clone(in.Get([]byte(key)))
		}
		return nil
	})
	if err != nil {
		return nil, b.failed("read", key, err)
	}
	if sealed == nil {
		return nil, nil
	}
	plain, err := b.db.dir.unseal(sealed, b.sealName(key))
	if err != nil {
		return nil, b.unreadable(key, err)
	}
	return notNil(plain), nil
}

// Put sets the value of a key.
func (b *Bucket) Put(key string, v []byte) error {
	err := b.db.bolt.Update(func(tx *bbolt.Tx) error {
		in, err := tx.CreateBucketIfNotExists([]byte(b.name))
		if err != nil {
			return err
		}
		return in.Put([]byte(key), b.db.dir.sealed(v, b.sealName(key)))
	})
	return b.failed("write", key, err)
}

// Delete removes a key, if it is there.
func (b *Bucket) Delete(key string) error {
	err := b.db.bolt.Update(func(tx *bbolt.Tx) error {
		if in := tx.Bucket([]byte(b.name)); in != nil {
			return in.Delete([]byte(key))
		}
		return nil
	})
	return b.failed("delete", key, err)
}

// Each calls f with every key and value as they are now, sorted by key, until f fails; f may change the bucket. What cannot be
// read is passed over and named in the error that Each ends with.
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
		return b.failed("read", "", err)
	}
	var unread []error
	for _, p := range pairs {
		plain, err := b.db.dir.unseal(p.sealed, b.sealName(p.key))
		if err != nil {
			unread = append(unread, b.unreadable(p.key, err))
			continue
		}
		if err := f(p.key, notNil(plain)); err != nil {
			return errors.Join(append(unread, err)...)
		}
	}
	return errors.Join(unread...)
}

func (b *Bucket) failed(what, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s/%s in the database %s: %w", what, b.name, key, b.db.dir.file(databaseFile), err)
}

func (b *Bucket) unreadable(key string, err error) error {
	return fmt.Errorf("%s: %s/%s %w", b.db.dir.file(databaseFile), b.name, key, err)
}

// notNil keeps an empty value apart from none.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
