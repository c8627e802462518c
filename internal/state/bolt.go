package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// controlBucket holds a value that detects a wrong key before anything is written with it, and the digest of all other buckets.
const controlBucket = "key"

var (
	probeKey  = keyName{controlBucket, "mark"}
	digestKey = keyName{controlBucket, "digest"}
)

// A boltFile is the engine of a database in a file of the state directory.
type boltFile struct {
	dir   *Dir
	path  string
	count func(changes, bytes uint64) // called after each transaction
	bolt  *bbolt.DB
	loss  error // says where a corrupt file was moved to

	commits  int
	testHook func() error // called in each transaction before it is committed
}

func (b *boltFile) open() error {
	d := b.dir
	err := b.openVerified()
	if errors.Is(err, ErrCorrupt) {
		aside, moveErr := moveAside(b.path)
		if moveErr != nil {
			return fmt.Errorf("move the corrupt database %s aside: %w", b.path, withoutPath(moveErr))
		}
		b.loss = fmt.Errorf("the database %w; it was moved to %s and replaced by an empty one: pending requests and stored responses are lost", err, aside)
		d.log.Error("the database was corrupt and was replaced by an empty one: pending requests and stored responses are lost", "error", err, "moved_to", aside)
		err = b.openVerified()
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
func (b *boltFile) openVerified() (err error) {
	sum, err := b.verify()
	if err != nil {
		return fmt.Errorf("%s %w", b.path, err)
	}
	if err := b.create(); err != nil {
		return err
	}
	if b.bolt, err = openBolt(b.path); err != nil {
		return err
	}
	// A commit that fails would be found out too late by the first request.
	if err := b.writeControl(sum); err != nil {
		if !errors.Is(err, ErrCorrupt) { // bbolt may block if it panicked
			b.bolt.Close()
		}
		return fmt.Errorf("%s: %w", b.path, err)
	}
	return nil
}

// create creates the file if there is none. It has its name only when it is complete, so that an empty file is always damage. The error
// begins with the path.
func (b *boltFile) create() error {
	if _, err := os.Lstat(b.path); !errors.Is(err, fs.ErrNotExist) {
		return nil // openBolt reports other errors
	}
	incomplete := b.path + ".new"
	if err := os.Remove(incomplete); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", incomplete, withoutPath(err))
	}
	bolt, err := openBolt(incomplete)
	if err == nil {
		err = bolt.Close()
	}
	if err == nil {
		err = os.Rename(incomplete, b.path)
	}
	if err != nil {
		os.Remove(incomplete)
		return fmt.Errorf("create %s: %w", b.path, withoutPath(err))
	}
	if err := syncDir(b.dir.path); err != nil {
		return fmt.Errorf("create %s: %w", b.path, withoutPath(err))
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
func (b *boltFile) verify() (digest, error) {
	var sum, stored digest
	file, err := os.Open(b.path)
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
		plain, err := b.dir.unseal(sealed, k.sealName())
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
		if _, err := b.dir.unseal(sealed, k.sealName()); err != nil && k.bucket != controlBucket {
			unreadable = true
		}
	})
	if err == nil && !unreadable {
		err = corrupt("values are outdated")
	}
	return sum, err
}

// writeControl writes the control bucket.
func (b *boltFile) writeControl(sum digest) error {
	return b.transact(nil, func(control *bbolt.Bucket) error {
		if err := control.Put([]byte(probeKey.key), b.dir.seal([]byte{1}, probeKey.sealName())); err != nil {
			return err
		}
		return control.Put([]byte(digestKey.key), b.dir.seal(sum.bytes(), digestKey.sealName()))
	})
}

// readDigest returns the digest stored in the control bucket.
func (b *boltFile) readDigest(control *bbolt.Bucket) (digest, error) {
	plain, err := b.dir.unseal(control.Get([]byte(digestKey.key)), digestKey.sealName())
	if err != nil {
		return digest{}, fmt.Errorf("%s: %s/%s %w", b.path, digestKey.bucket, digestKey.key, err)
	}
	sum, ok := parseDigest(plain)
	if !ok {
		return sum, fmt.Errorf("%s: %s/%s %w", b.path, digestKey.bucket, digestKey.key, ErrCorrupt)
	}
	return sum, nil
}

// errUnchanged rolls a transaction back that would change nothing.
var errUnchanged = errors.New("unchanged")

// transact applies changes in one transaction and updates the digest of the content. If control is not nil, it is called instead
// with the control bucket. A transaction that changes nothing is not written.
func (b *boltFile) transact(changes []*change, control func(*bbolt.Bucket) error) (err error) {
	// A damaged or truncated file makes bbolt panic or raises a memory fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("write the database %s: it %w: %v", b.path, ErrCorrupt, p)
		}
	}()
	var t *bbolt.Tx
	changed := uint64(0)
	err = b.bolt.Update(func(tx *bbolt.Tx) error {
		t = tx
		bucket, err := tx.CreateBucketIfNotExists([]byte(controlBucket))
		switch {
		case err != nil:
			return err
		case control != nil:
			err = control(bucket)
		default:
			changed, err = b.apply(tx, bucket, changes)
		}
		if err == nil && b.testHook != nil {
			err = b.testHook()
		}
		return err
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the database %s: %w", b.path, withErrno(err))
	}
	stats := t.Stats()
	b.commits++
	b.count(changed, uint64(stats.GetPageAlloc())+uint64(b.bolt.Info().PageSize))
	return nil
}

// apply applies changes and returns how many there were, or errUnchanged.
func (b *boltFile) apply(tx *bbolt.Tx, control *bbolt.Bucket, changes []*change) (changed uint64, err error) {
	// The digest is read from the transaction, not kept in memory: a commit that reported an error may be on disk nevertheless.
	sum, err := b.readDigest(control)
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		bucket := tx.Bucket([]byte(c.bucket))
		if bucket == nil {
			if c.sealed == nil {
				continue
			}
			if bucket, err = tx.CreateBucket([]byte(c.bucket)); err != nil {
				return 0, err
			}
		}
		old := bucket.Get([]byte(c.key))
		if old != nil {
			sum.toggle(c.keyName, old)
		}
		switch {
		case c.sealed != nil:
			sum.toggle(c.keyName, c.sealed)
			err = bucket.Put([]byte(c.key), c.sealed)
		case old != nil:
			err = bucket.Delete([]byte(c.key))
		default:
			continue
		}
		if err != nil {
			return 0, err
		}
		changed++
	}
	if changed == 0 {
		return 0, errUnchanged
	}
	return changed, control.Put([]byte(digestKey.key), b.dir.seal(sum.bytes(), digestKey.sealName()))
}

// withErrno returns err so that errors.Is finds the system's error in it: bbolt formats some of them as text.
func withErrno(err error) error {
	if errors.As(err, new(syscall.Errno)) {
		return withoutPath(err)
	}
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EFBIG, syscall.ENOMEM} {
		if text, ok := strings.CutSuffix(err.Error(), errno.Error()); ok {
			return fmt.Errorf("%s%w", text, errno)
		}
	}
	return err
}

// view calls f with a snapshot of the database. f should only copy: a long snapshot delays the writer when the file grows.
func (b *boltFile) view(f func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file %w: %v", ErrCorrupt, p)
		}
	}()
	return b.bolt.View(f)
}

// get implements engine.
func (b *boltFile) get(k keyName) (sealed []byte, err error) {
	err = b.view(func(tx *bbolt.Tx) error {
		if in := tx.Bucket([]byte(k.bucket)); in != nil {
			sealed = bytes.Clone(in.Get([]byte(k.key)))
		}
		return nil
	})
	return sealed, err
}

// list implements engine.
func (b *boltFile) list(bucket string) (all []change, err error) {
	err = b.view(func(tx *bbolt.Tx) error {
		in := tx.Bucket([]byte(bucket))
		if in == nil {
			return nil
		}
		return in.ForEach(func(k, v []byte) error {
			all = append(all, change{keyName{bucket, string(k)}, bytes.Clone(v)})
			return nil
		})
	})
	return all, err
}

// write implements engine.
func (b *boltFile) write(changes []*change) error { return b.transact(changes, nil) }

// check implements engine.
func (b *boltFile) check(k keyName, _ int) error {
	if len(k.key) > bbolt.MaxKeySize || len(k.bucket) > bbolt.MaxKeySize {
		return bolterrors.ErrKeyTooLarge
	}
	return nil
}

// close implements engine.
func (b *boltFile) close() error {
	if b.commits > 1 {
		// The other meta page still refers to the state before the last commit, which bbolt would use in silence if the newest
		// were damaged. After one more commit both refer to the same content. Failing this loses nothing.
		_ = b.transact(nil, func(*bbolt.Bucket) error { return nil })
	}
	return b.bolt.Close()
}
