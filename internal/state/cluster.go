package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// lockTTL is the time after which the lock of a process that has stopped is taken by another one.
	lockTTL = 15 * time.Second

	// maxChangedFiles is the number of changed files that are reported one by one.
	maxChangedFiles = 1000

	filePrefix = "file."
	lockPrefix = "lock."
	dataPrefix = "data."
	idKey      = "id"
	markKey    = "mark"
	shardsKey  = "shards"
)

// A shardPrefix precedes the keys of a shard: "" if there is only one.
type shardPrefix string

// prefixOf returns the prefix of a shard.
func (c ClusterOptions) prefixOf(shard int) shardPrefix {
	if c.Shards <= 1 {
		return ""
	}
	return shardPrefix(fmt.Sprintf("shard.%d.", shard))
}

func (p shardPrefix) leaseKey() string { return string(p) + leaseKey }

func (p shardPrefix) dataKey(k keyName) string {
	return string(p) + dataPrefix + escape(k.bucket) + "." + escape(k.key)
}

// parseDataKey reverts dataKey.
func (p shardPrefix) parseDataKey(key string) (k keyName, err error) {
	bucket, name, ok := strings.Cut(strings.TrimPrefix(key, string(p)+dataPrefix), ".")
	if !ok {
		return k, ErrCorrupt
	}
	if k.bucket, err = unescape(bucket); err != nil {
		return k, err
	}
	k.key, err = unescape(name)
	return k, err
}

// shared holds what the machines of a cluster share: the files and the database.
type shared struct {
	bucket *bucket
	shard  shardPrefix // of the database

	mu        sync.Mutex
	revisions map[string]uint64 // of files as they were last read or written
	lease     *Lease            // of the database; nil: another process may have it
}

// OpenCluster opens the state that several machines share. Sign-ins and the database are in a bucket of the cluster; the directory, as
// in [Open], holds only what belongs to this machine. The key must exist, because it is the same on all machines.
func OpenCluster(ctx context.Context, dir, keyFile string, c ClusterOptions, log *slog.Logger) (*Dir, error) {
	d, err := openDir(dir, keyFile, true, log)
	if err != nil {
		return nil, err
	}
	b, err := openBucket(ctx, c, log)
	if err != nil {
		return nil, err
	}
	d.shared = &shared{bucket: b, shard: c.prefixOf(0), revisions: map[string]uint64{}}
	if err := d.openShared(ctx); err != nil {
		b.close()
		return nil, err
	}
	return d, nil
}

// openShared verifies the key and reads the id that the machines share.
func (d *Dir) openShared(ctx context.Context) error {
	b := d.shared.bucket
	mark, err := b.getOrCreate(ctx, markKey, d.seal([]byte{1}, sealedFor+markKey))
	if err != nil {
		return d.sharedError("read", markKey, err)
	}
	if _, err := d.unseal(mark, sealedFor+markKey); err != nil {
		return fmt.Errorf("the bucket %s of NATS %w; every machine of a cluster needs the same key", b.cluster.Bucket, err)
	}
	if err := b.checkShards(ctx); err != nil {
		return err
	}
	id, err := b.getOrCreate(ctx, idKey, []byte(d.id))
	if err != nil {
		return d.sharedError("read", idKey, err)
	}
	if !hex8.Match(id) {
		return d.sharedError("read", idKey, ErrCorrupt)
	}
	d.sharedID = string(id)
	return nil
}

// getOrCreate returns the value of a key, which it creates if there is none.
func (b *bucket) getOrCreate(ctx context.Context, key string, value []byte) ([]byte, error) {
	for {
		e, err := b.get(ctx, key)
		if err != nil || e.value != nil {
			return e.value, err
		}
		if _, err := b.publish(ctx, message{key: key, value: value, expect: &e.sequence}); err == nil {
			return value, nil
		} else if !errors.Is(err, errConflict) {
			return nil, err
		}
	}
}

// IsShared reports whether the state is in a cluster.
func (d *Dir) IsShared() bool { return d.shared != nil }

// Close ends the connection to the cluster.
func (d *Dir) Close() {
	if d.shared != nil {
		d.shared.bucket.close()
	}
}

// Acquire waits until no other machine of the cluster works with the state, and returns the right to do so. Until it is released, this
// process alone can open the database.
func (d *Dir) Acquire(ctx context.Context) (*Lease, error) {
	lock, err := d.lockBridge()
	if err != nil {
		return nil, err
	}
	s := d.shared
	failing := new(outage)
	s.bucket.outages.Store(&[]*outage{failing})
	defer s.bucket.outages.Store(nil)
	l, err := acquireLease(ctx, s.register(), d.leaseRecord(), s.bucket.configurations, failing, d.log)
	if err != nil {
		return nil, errors.Join(err, d.unlockBridge(lock))
	}
	s.mu.Lock()
	s.lease = l
	s.mu.Unlock()
	var keeper sync.WaitGroup
	keeper.Go(func() { d.keepKeys(l.Context()) })
	l.release = func() {
		keeper.Wait()
		s.mu.Lock()
		s.lease = nil
		s.mu.Unlock()
		_ = d.unlockBridge(lock)
	}
	return l, nil
}

// leaseRecord returns the record of a new lease of this machine's.
func (d *Dir) leaseRecord() leaseRecord {
	host, _ := os.Hostname() // only for people
	return leaseRecord{Holder: uuid.NewString(), Worker: host + "/" + d.id, Host: host, Lease: d.shared.bucket.cluster.Lease}
}

func (s *shared) register() bucketRegister { return bucketRegister{s.bucket, s.shard} }

func (d *Dir) sharedError(action, name string, err error) error {
	return fmt.Errorf("%s %s in the bucket %s of NATS: %w", action, name, d.shared.bucket.cluster.Bucket, err)
}

// A clusterEngine is the engine of a database in a cluster.
type clusterEngine struct {
	bucket *bucket
	shard  shardPrefix
	lease  *Lease
	count  func(changes, bytes uint64)
}

func (e *clusterEngine) get(k keyName) ([]byte, error) {
	var found entry
	ctx := e.lease.Context()
	err := patiently(ctx, func() (err error) {
		found, err = e.bucket.get(ctx, e.shard.dataKey(k))
		return err
	})
	return found.value, err
}

func (e *clusterEngine) list(bucket string) ([]change, error) {
	return e.changes(escape(bucket) + ".*")
}

// changes returns every key whose end matches filter, sorted.
func (e *clusterEngine) changes(filter string) (all []change, err error) {
	newest := map[keyName][]byte{} // a key that changes meanwhile comes again
	ctx := e.lease.Context()
	err = patiently(ctx, func() error {
		return e.bucket.scan(ctx, string(e.shard)+dataPrefix+filter, e.shard.leaseKey(), e.revision(), func(found entry) {
			k, err := e.shard.parseDataKey(found.key)
			if err != nil {
				e.bucket.reportForeign(found)
				return
			}
			newest[k] = found.value
		})
	})
	switch lost := e.lease.Err(); {
	case err != nil && lost != nil: // what could not be read any more is a consequence
		return nil, lost
	case err != nil:
		return nil, err
	}
	for k, value := range newest {
		if value != nil {
			all = append(all, change{k, value})
		}
	}
	slices.SortFunc(all, func(a, b change) int {
		return cmp.Or(strings.Compare(a.bucket, b.bucket), strings.Compare(a.key, b.key))
	})
	return all, nil
}

// reportForeign logs an entry with a key that graph2mqtt does not write.
func (b *bucket) reportForeign(e entry) {
	if e.value != nil {
		b.log.Warn("a key of the bucket is not of graph2mqtt and is left out", "bucket", b.cluster.Bucket, "key", e.key)
	}
}

// revision returns the revision of the lease, which is newer than everything that was committed before.
func (e *clusterEngine) revision() uint64 {
	e.lease.turn <- struct{}{}
	defer func() { <-e.lease.turn }()
	return e.lease.revision
}

// write implements engine. A call with more changes than JetStream accepts takes several transactions: only the list of published topics
// has as many, and each of its records stands alone.
func (e *clusterEngine) write(changes []*change) error {
	for part := range slices.Chunk(changes, maxChanges) {
		if err := e.lease.write(part); err != nil {
			return fmt.Errorf("write the database %s: %w", e.bucket.label(), err)
		}
		size := 0
		for _, c := range part {
			size += c.size()
		}
		e.count(uint64(len(part)), uint64(size))
	}
	return nil
}

func (e *clusterEngine) check(k keyName, size int) error {
	return e.bucket.check(e.shard.dataKey(k), size)
}

func (e *clusterEngine) close() error { return nil }

// label names the database in messages.
func (b *bucket) label() string { return b.cluster.Bucket + " of NATS" }

// getFile returns the entry of a file. It waits for the servers for a short time.
func (b *bucket) getFile(name string) (e entry, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), fileTimeout)
	defer cancel()
	err = patiently(ctx, func() (err error) {
		e, err = b.get(ctx, filePrefix+escape(name))
		return err
	})
	return e, err
}

// readShared returns a file of the cluster.
func (d *Dir) readShared(name string) ([]byte, error) {
	s := d.shared
	e, err := s.bucket.getFile(name)
	if err != nil {
		return nil, d.sharedError("read", name, err)
	}
	s.mu.Lock()
	s.revisions[name] = e.sequence
	s.mu.Unlock()
	if e.value == nil {
		return nil, d.sharedError("read", name, fs.ErrNotExist)
	}
	plain, err := d.unsealPacked(e.value, name)
	if err != nil {
		return nil, fmt.Errorf("%s in the bucket %s of NATS %w", name, s.bucket.cluster.Bucket, err)
	}
	return plain, nil
}

// writeShared replaces a file of the cluster, or deletes it if sealed is nil, unless another process has changed it since it was read.
func (d *Dir) writeShared(name string, sealed []byte) error {
	s := d.shared
	key := filePrefix + escape(name)
	if err := s.bucket.check(key, len(sealed)); err != nil {
		return d.sharedError("write", name, err)
	}
	s.mu.Lock()
	revision, ok := s.revisions[name]
	delete(s.revisions, name) // after an error it is not known
	s.mu.Unlock()
	ctx := context.Background()
	if !ok {
		e, err := s.bucket.getFile(name)
		if err != nil {
			return d.sharedError("write", name, err)
		}
		revision = e.sequence
	}
	written, err := s.bucket.publish(ctx, message{key: key, value: sealed, expect: &revision})
	if err != nil {
		return d.sharedError("write", name, err)
	}
	s.mu.Lock()
	s.revisions[name] = written
	s.mu.Unlock()
	return nil
}

func (d *Dir) sealPacked(plain []byte, name string) []byte { return d.seal(pack(plain), name) }

func (d *Dir) unsealPacked(sealed []byte, name string) ([]byte, error) {
	packed, err := d.unseal(sealed, name)
	if err != nil {
		return nil, err
	}
	return unpack(packed)
}

// sharedVersion returns the version of a file of the cluster.
func (d *Dir) sharedVersion(name string) (Version, error) {
	e, err := d.shared.bucket.getFile(name)
	switch {
	case err != nil:
		return Version{}, d.sharedError("read", name, err)
	case e.value == nil:
		return Version{}, d.sharedError("read", name, fs.ErrNotExist)
	}
	return Version{sequence: e.sequence}, nil
}

// watchShared calls changed with the names of files of the cluster that were written or removed, until ctx is done. After the servers did
// not answer it calls changed for all.
func (d *Dir) watchShared(ctx context.Context, changed func(name string)) {
	b := d.shared.bucket
	newest := func() (uint64, error) {
		e, err := b.get(ctx, filePrefix+"*")
		return e.sequence, err
	}
	last, err := newest()
	unknown := err != nil
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := newest()
		switch {
		case err != nil:
			unknown = true
			continue
		case unknown, now < last: // a mark of a deleted file has expired
			changed("")
		case now > last:
			if names, err := b.changedFiles(ctx, last); err == nil {
				for _, name := range names {
					changed(name)
				}
			} else {
				changed("")
			}
		}
		last, unknown = now, false
	}
}

// changedFiles returns the names of the files that were changed after a sequence; only "", which stands for any, if there are many.
func (b *bucket) changedFiles(ctx context.Context, sequence uint64) (names []string, err error) {
	for {
		e, err := b.next(ctx, sequence, filePrefix+"*")
		switch {
		case err != nil:
			return nil, err
		case e.sequence == 0:
			return names, nil
		case len(names) >= maxChangedFiles:
			return []string{""}, nil
		}
		name, err := unescape(strings.TrimPrefix(e.key, filePrefix))
		if err != nil {
			return nil, err
		}
		names, sequence = append(names, name), e.sequence
	}
}

// withSharedLock calls f while holding a lock that at most one process of the cluster holds. The caller holds the one of the directory.
func (d *Dir) withSharedLock(ctx context.Context, name string, f func() error) error {
	b := d.shared.bucket
	key := lockPrefix + escape(name)
	owner := []byte(uuid.NewString())
	var seen uint64
	var since time.Time
	var held uint64
	for held == 0 {
		e, err := b.get(ctx, key)
		if err == nil && (e.sequence != seen || since.IsZero()) {
			seen, since = e.sequence, time.Now()
		}
		if err == nil && (e.value == nil || time.Since(since) >= lockTTL) {
			held, err = b.publish(ctx, message{key: key, value: owner, expect: &e.sequence})
		}
		if held != 0 {
			break
		}
		if err != nil && !errors.Is(err, errConflict) {
			return d.sharedError("lock", name, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the lock of %s, which another process holds: %w", name, ctx.Err())
		case <-time.After(retryInterval):
		}
	}
	stop := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() {
		ticker := time.NewTicker(lockTTL / 3)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				if renewed, err := b.publish(context.Background(), message{key: key, value: owner, expect: &held}); err == nil {
					held = renewed
				}
			}
		}
	})
	defer func() {
		close(stop)
		renewing.Wait()
		if _, err := b.publish(context.Background(), message{key: key, expect: &held}); err != nil {
			d.log.Warn("a lock was not released; others wait until it expires", "lock", name, "error", err)
		}
	}()
	return f()
}

// A Version identifies what is stored under a name: each Write makes another one.
type Version struct {
	info     fs.FileInfo
	sequence uint64
}

// Equal reports whether both are the same version. The zero Version is equal to none.
func (v Version) Equal(w Version) bool {
	if v.info == nil || w.info == nil {
		return v.info == nil && w.info == nil && v.sequence == w.sequence && v.sequence != 0
	}
	return os.SameFile(v.info, w.info) && v.info.ModTime().Equal(w.info.ModTime())
}

// keyAdvice is for a machine of a cluster that has no key.
func (d *Dir) keyAdvice() error {
	file := filepath.Join(d.path, defaultKeyFile)
	return fmt.Errorf("cluster: every machine needs the same key, and this one has none: copy the file %s of the machine that was first, or create one for all with: "+
		"openssl rand -base64 32 > %s; key_file, %s and the credential %s work, too", file, file, keyVariable, keyCredential)
}
