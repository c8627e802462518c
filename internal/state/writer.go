package state

import (
	"errors"
	"fmt"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrClosed is passed to the done function of a commit that was requested after Close.
var ErrClosed = errors.New("database not open")

var errReserved = errors.New("the bucket is reserved")

const (
	// maxBatchCalls and maxBatchBytes bound one transaction, and so its memory and the time that it delays the next one.
	maxBatchCalls = 1000
	maxBatchBytes = 4 << 20

	// lazyDelay bounds how long a lazy change waits for the next commit; lazyRetry applies after a failed one.
	lazyDelay = time.Hour
	lazyRetry = time.Minute
)

// Stats counts what a [Database] has written since it was opened. Opening it writes one transaction.
type Stats struct {
	Commits uint64 // transactions written to disk; bbolt syncs the file twice for each: its pages, then its root
	Changes uint64 // keys set or deleted in them
	Bytes   uint64 // bytes written for them
}

// A keyName identifies a value of the database.
type keyName struct{ bucket, key string }

// sealName returns the name that a value is bound to, so that values cannot be swapped.
func (k keyName) sealName() string { return "database\x00" + k.bucket + "\x00" + k.key }

// A change sets or deletes one key.
type change struct {
	keyName
	sealed []byte // nil deletes the key
}

func (c *change) size() int { return len(c.bucket) + len(c.key) + len(c.sealed) }

// A commitCall is one call of Commit that waits for its transaction.
type commitCall struct {
	changes []*change
	err     error // of an invalid change; excludes the call from the transaction
	done    func(error)
}

func (c *commitCall) size() int {
	n := 0
	for _, ch := range c.changes {
		n += ch.size()
	}
	return n
}

// A Tx collects the changes of one commit. It is valid only inside the function that it was passed to.
type Tx struct {
	db   *Database
	call *commitCall
}

// Put sets the value of key in bucket, which is created if necessary.
func (tx Tx) Put(bucket, key string, value []byte) {
	switch k := (keyName{bucket, key}); {
	case bucket == "":
		tx.fail(k, bolterrors.ErrBucketNameRequired)
	case bucket == controlBucket:
		tx.fail(k, errReserved)
	case key == "":
		tx.fail(k, bolterrors.ErrKeyRequired)
	default:
		// Sealing happens on the goroutine of the caller, so that many callers seal in parallel and no lock is held.
		sealed := tx.db.seal(value, k)
		if err := tx.db.engine.check(k, len(sealed)); err != nil {
			tx.fail(keyName{truncate(bucket), truncate(key)}, err)
			return
		}
		tx.call.changes = append(tx.call.changes, &change{k, sealed})
	}
}

// Delete removes key from bucket if it exists.
func (tx Tx) Delete(bucket, key string) {
	if bucket == controlBucket {
		tx.fail(keyName{bucket, key}, errReserved)
		return
	}
	tx.call.changes = append(tx.call.changes, &change{keyName: keyName{bucket, key}})
}

// Get returns the value of key as this Tx and the commits before it leave it, or nil if it does not exist. Calls that read and
// change the same key concurrently must be serialized by their callers.
func (tx Tx) Get(bucket, key string) ([]byte, error) {
	k := keyName{bucket, key}
	for i := len(tx.call.changes) - 1; i >= 0; i-- {
		if c := tx.call.changes[i]; c.keyName == k {
			return tx.db.openValue(k, c.sealed)
		}
	}
	tx.db.mu.Lock()
	c := tx.db.pending[k]
	tx.db.mu.Unlock()
	if c != nil {
		return tx.db.openValue(k, c.sealed)
	}
	// A change leaves pending only after it is on disk, so the snapshot contains it.
	return tx.db.get(k)
}

func (tx Tx) fail(k keyName, err error) {
	if tx.call.err == nil {
		tx.call.err = tx.db.wrapError("write", k, err)
	}
}

func truncate(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// Commit calls write at once and puts the changes it collects on disk together with those of other calls, in one transaction.
// It does not wait for the disk. The changes of one call are written completely or not at all, and calls in their order.
//
// done, which may be nil, is called in the order of the calls, without a lock held, after the changes are on disk or have failed. It
// must not block and must not call CommitSync. A failed transaction fails all calls in it; later calls are not affected. An invalid
// change fails its own call only. A panic of write is passed on to the caller of Commit.
func (db *Database) Commit(write func(Tx), done func(error)) { db.CommitWithin(0, write, done) }

// CommitWithin is Commit for changes that may wait for others: they are put on disk with the next transaction, at the latest after
// delay or at Close. They are lost if the process is killed before.
func (db *Database) CommitWithin(delay time.Duration, write func(Tx), done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	call := &commitCall{done: done}
	write(Tx{db, call})
	if !db.enqueue(call, delay) {
		// Not in this goroutine: the caller may hold a lock that done needs.
		db.rejected.Go(func() { done(ErrClosed) })
	}
}

func (db *Database) enqueue(call *commitCall, delay time.Duration) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return false
	}
	if call.err != nil {
		call.changes = nil
	}
	for _, c := range call.changes {
		db.dropLazy(c.keyName)
		db.pending[c.keyName] = c
	}
	if due := time.Now().Add(delay); len(db.queue) == 0 || due.Before(db.queueDue) {
		db.queueDue = due
	}
	db.queue = append(db.queue, call)
	if db.queueBytes += call.size(); len(db.queue) >= maxBatchCalls || db.queueBytes >= maxBatchBytes {
		db.queueDue = time.Time{}
	}
	db.wakeWriter()
	return true
}

// CommitSync is Commit for callers that wait: it returns when the changes are on disk or have failed.
func (db *Database) CommitSync(write func(Tx)) error {
	result := make(chan error, 1)
	db.Commit(write, func(err error) { result <- err })
	return <-result
}

// CommitLazily calls write at once and puts the changes it collects on disk with the next commit, at the latest after an hour or
// at Close. A later change of the same key replaces a waiting one. Changes are tried again after a failed transaction, and lost
// if the process is killed. After Close they are dropped.
func (db *Database) CommitLazily(write func(Tx)) {
	call := new(commitCall)
	write(Tx{db, call})
	if call.err != nil {
		db.dir.log.Error("change of the database dropped", "error", call.err)
		return
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return
	}
	if len(db.lazy) == 0 {
		db.lazyDue = time.Now().Add(lazyDelay)
	}
	for _, c := range call.changes {
		db.putLazy(c)
	}
	db.wakeWriter() // to set its timer
}

func (db *Database) putLazy(c *change) {
	db.dropLazy(c.keyName)
	db.pending[c.keyName] = c
	db.lazy[c.keyName] = c
	db.lazyBytes += c.size()
}

func (db *Database) dropLazy(k keyName) {
	if c := db.lazy[k]; c != nil {
		delete(db.lazy, k)
		db.lazyBytes -= c.size()
	}
}

// Stats returns the counters of the database.
func (db *Database) Stats() Stats {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.stats
}

func (db *Database) wakeWriter() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

// A batch is the content of one transaction.
type batch struct {
	calls []*commitCall
	lazy  []*change
}

// runWriter writes batches until the database is closed and nothing is left to write. It is the only writer of the database.
func (db *Database) runWriter() {
	defer close(db.writerDone)
	timer := time.NewTimer(lazyDelay)
	defer timer.Stop()
	for {
		b, wait, closed := db.nextBatch()
		switch {
		case b != nil:
			db.writeBatch(b)
		case closed:
			return
		default:
			timer.Reset(wait)
			select {
			case <-db.wake:
			case <-timer.C:
			}
		}
	}
}

// nextBatch removes the next batch from the queue. If there is none, it returns nil and how long to wait at most.
func (db *Database) nextBatch() (b *batch, wait time.Duration, closed bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	b = new(batch)
	if wait = time.Until(db.queueDue); len(db.queue) > 0 && wait > 0 && !db.closed {
		if len(db.lazy) > 0 {
			wait = min(wait, time.Until(db.lazyDue))
		}
		if wait > 0 && db.lazyBytes <= maxBatchBytes {
			return nil, wait, false
		}
	}
	n, size := 0, 0
	for n < len(db.queue) && n < maxBatchCalls {
		next := size + db.queue[n].size()
		if next > maxBatchBytes && n > 0 {
			break
		}
		size = next
		n++
	}
	b.calls = append(b.calls, db.queue[:n]...)
	clear(db.queue[:n])
	if db.queue = db.queue[n:]; len(db.queue) == 0 {
		db.queue, db.queueBytes = nil, 0
	} else {
		db.queueBytes -= size
	}
	// A lazy change is newer than every queued change of its key, so it may be written only after the whole queue.
	wait = time.Until(db.lazyDue)
	if len(db.queue) == 0 && len(db.lazy) > 0 && (n > 0 || wait <= 0 || db.closed || db.lazyBytes > maxBatchBytes) {
		for _, c := range db.lazy {
			b.lazy = append(b.lazy, c)
		}
		clear(db.lazy)
		db.lazyBytes = 0
	}
	if len(b.calls) == 0 && len(b.lazy) == 0 {
		if len(db.lazy) == 0 {
			wait = lazyDelay
		}
		return nil, wait, db.closed
	}
	return b, 0, db.closed
}

func (db *Database) writeBatch(b *batch) {
	// Of several changes of one key only the last is written.
	last := map[keyName]int{}
	var all, changes []*change
	for _, call := range b.calls {
		all = append(all, call.changes...)
	}
	all = append(all, b.lazy...)
	for i, c := range all {
		last[c.keyName] = i
	}
	for i, c := range all {
		if last[c.keyName] == i {
			changes = append(changes, c)
		}
	}
	var err error
	if len(changes) > 0 {
		err = db.engine.write(changes)
	}

	db.mu.Lock()
	for _, c := range b.lazy {
		// Closing, there is no later commit.
		if err == nil || db.pending[c.keyName] != c {
			continue
		}
		if db.closed {
			db.lazyErr = err
			continue
		}
		if len(db.lazy) == 0 {
			db.lazyDue = time.Now().Add(lazyRetry)
		}
		db.putLazy(c)
	}
	for _, c := range all {
		if db.pending[c.keyName] == c && db.lazy[c.keyName] != c {
			delete(db.pending, c.keyName)
		}
	}
	db.mu.Unlock()

	for _, call := range b.calls {
		switch {
		case call.err != nil:
			call.done(call.err)
		case len(call.changes) > 0:
			call.done(err)
		default:
			call.done(nil)
		}
	}
}

// get returns the stored value of a key, or nil if it does not exist.
func (db *Database) get(k keyName) ([]byte, error) {
	sealed, err := db.engine.get(k)
	if err != nil {
		return nil, db.wrapError("read", k, err)
	}
	return db.openValue(k, sealed)
}

// count adds a transaction to the counters.
func (db *Database) count(changes, bytes uint64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.stats.Commits++
	db.stats.Changes += changes
	db.stats.Bytes += bytes
}

// seal encrypts a value.
func (db *Database) seal(plain []byte, k keyName) []byte {
	if db.packed {
		return db.dir.sealPacked(plain, k.sealName())
	}
	return db.dir.seal(plain, k.sealName())
}

// openValue decrypts a value; nil stays nil.
func (db *Database) openValue(k keyName, sealed []byte) ([]byte, error) {
	if sealed == nil {
		return nil, nil
	}
	open := db.dir.unseal
	if db.packed {
		open = db.dir.unsealPacked
	}
	plain, err := open(sealed, k.sealName())
	if err != nil {
		return nil, fmt.Errorf("%s: %s/%s %w", db.path, k.bucket, k.key, err)
	}
	return notNil(plain), nil
}

func (db *Database) wrapError(action string, k keyName, err error) error {
	return fmt.Errorf("%s %s/%s in the database %s: %w", action, k.bucket, k.key, db.path, err)
}

// notNil returns an empty slice for nil, because nil means that the key does not exist.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
