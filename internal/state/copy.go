package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.etcd.io/bbolt"
)

// Copied counts what [Copy] has copied.
type Copied struct{ Files, Keys int }

// A Placement returns the shard that a record belongs to. If it is not ok, the record is of no use in another number of shards.
type Placement func(bucket, key string, value []byte) (shard int, ok bool)

// Copy copies everything from the directory to the cluster, or back: the files, the database and the id. Nothing may work with either
// meanwhile. A target that has something is refused, or replaced. place is used if the cluster has several shards.
func Copy(ctx context.Context, from, to *Dir, replace bool, place Placement) (n Copied, err error) {
	source, err := from.openForCopy(ctx)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, source.close()) }()
	target, err := to.openForCopy(ctx)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, target.close()) }()
	if err := target.databases[0].DataLoss(); err != nil {
		return n, err
	}
	oldFiles, err := target.fileNames(ctx)
	if err != nil {
		return n, err
	}
	oldKeys := make([][]change, len(target.databases))
	old := 0
	for i, db := range target.databases {
		if oldKeys[i], err = db.engine.all(); err != nil {
			return n, fmt.Errorf("read the database %s: %w", db.path, err)
		}
		old += len(oldKeys[i])
	}
	if len(oldFiles)+old > 0 && !replace {
		return n, fmt.Errorf("%w: it has %d files and %d records", ErrNotEmpty, len(oldFiles), old)
	}
	// Everything is read before anything is written: an unreadable source changes nothing.
	files, err := source.fileNames(ctx)
	if err != nil {
		return n, err
	}
	contents := map[string][]byte{}
	for _, name := range files {
		if contents[name], err = from.Read(name); err != nil {
			return n, err
		}
	}
	records, err := source.records()
	if err != nil {
		return n, err
	}
	if len(source.databases) == 1 && len(target.databases) == 1 {
		place = func(string, string, []byte) (int, bool) { return 0, true }
	}
	parts := make([]map[keyName][]byte, len(target.databases))
	for i := range parts {
		parts[i] = map[keyName][]byte{}
	}
	for k, value := range records {
		shard, ok := place(k.bucket, k.key, value)
		if !ok {
			continue
		}
		n.Keys++
		if len(parts) == 1 {
			shard = 0
		}
		parts[shard][k] = value
	}
	for _, name := range oldFiles {
		if _, ok := contents[name]; !ok {
			if err := to.Remove(name); err != nil {
				return n, err
			}
		}
	}
	for _, name := range files {
		if to.shared != nil {
			// The version is that of the moment, whatever it is.
			if _, err := to.Read(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt) {
				return n, err
			}
		}
		if err := to.Write(name, contents[name]); err != nil {
			return n, err
		}
	}
	for i, db := range target.databases {
		err := db.CommitSync(func(tx Tx) {
			for k, value := range parts[i] {
				tx.Put(k.bucket, k.key, value)
			}
			for _, c := range oldKeys[i] {
				if _, kept := parts[i][c.keyName]; !kept {
					tx.Delete(c.bucket, c.key)
				}
			}
		})
		if err != nil {
			return n, err
		}
	}
	if err := to.setID(ctx, from.ID()); err != nil {
		return n, err
	}
	n.Files = len(files)
	return n, nil
}

// A copySide is the source or the target of a copy.
type copySide struct {
	dir       *Dir
	databases []*Database // by shard
	closers   []func() error
}

func (s *copySide) close() (err error) {
	for _, f := range s.closers {
		err = errors.Join(err, f())
	}
	return err
}

// records returns everything in the databases. What several shards have is of no use in another number of them.
func (s *copySide) records() (map[keyName][]byte, error) {
	all := map[keyName][]byte{}
	for _, db := range s.databases {
		keys, err := db.engine.all()
		if err != nil {
			return nil, fmt.Errorf("read the database %s: %w", db.path, err)
		}
		for _, c := range keys {
			if all[c.keyName], err = db.openValue(c.keyName, c.sealed); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// ErrNotEmpty is wrapped by the error of [Copy] for a target that has something.
var ErrNotEmpty = errors.New("the target is not empty")

// openForCopy opens the database, of a cluster with leases of its own. The lock of the directory belongs to the other side.
func (d *Dir) openForCopy(ctx context.Context) (_ *copySide, err error) {
	side := &copySide{dir: d}
	defer func() {
		if err != nil {
			err = errors.Join(err, side.close())
		}
	}()
	if d.shared == nil {
		db, err := d.OpenDatabase()
		if err != nil {
			return side, err
		}
		side.databases, side.closers = []*Database{db}, []func() error{db.Close}
		return side, nil
	}
	self := d.leaseRecord()
	self.Worker = "copy/" + uuid.NewString()
	c := d.shared.bucket.cluster
	waiting, cancel := context.WithTimeout(ctx, self.Lease+4*standbyInterval)
	defer cancel()
	for shard := range max(1, c.Shards) {
		l, err := acquireLease(waiting, bucketRegister{d.shared.bucket, c.prefixOf(shard)}, self, nil, new(outage), d.log)
		if err != nil {
			if waiting.Err() != nil && ctx.Err() == nil {
				err = errors.New("a bridge is running on it; stop it on all machines first")
			}
			return side, fmt.Errorf("open the database %s: %w", d.shared.bucket.label(), err)
		}
		side.closers = append(side.closers, func() error { l.Release(); return nil })
		db, err := d.withLease(shard, l).OpenDatabase()
		if err != nil {
			return side, err
		}
		side.databases = append(side.databases, db)
		release := side.closers[len(side.closers)-1]
		side.closers[len(side.closers)-1] = func() error { return errors.Join(db.Close(), release()) }
	}
	return side, nil
}

// withLease returns the directory with the database of one shard.
func (d *Dir) withLease(shard int, l *Lease) *Dir {
	part := *d
	part.shared = &shared{bucket: d.shared.bucket, shard: d.shared.bucket.cluster.prefixOf(shard), revisions: map[string]uint64{}, lease: l}
	return &part
}

// fileNames returns the names of the encrypted files.
func (s *copySide) fileNames(ctx context.Context) (names []string, err error) {
	d := s.dir
	if d.shared != nil {
		e := s.databases[0].engine.(*clusterEngine)
		found := map[string]bool{}
		err := e.bucket.scan(ctx, filePrefix+"*", e.shard.leaseKey(), e.revision(), func(f entry) {
			name, err := unescape(strings.TrimPrefix(f.key, filePrefix))
			if err != nil {
				e.bucket.reportForeign(f)
				return
			}
			found[name] = f.value != nil
		})
		for name, exists := range found {
			if exists {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names, err
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", d.path, withoutPath(err))
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || strings.HasSuffix(name, backupSuffix) {
			continue
		}
		b, err := os.ReadFile(d.file(name))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", d.file(name), withoutPath(err))
		}
		if bytes.HasPrefix(b, []byte(formatPrefix)) {
			names = append(names, name)
		}
	}
	return names, nil
}

// setID replaces the id.
func (d *Dir) setID(ctx context.Context, id string) error {
	if d.shared == nil {
		d.id = id
		return writeFile(d.file(idFile), []byte(id+"\n"))
	}
	if _, err := d.shared.bucket.publish(ctx, message{key: idKey, value: []byte(id)}); err != nil {
		return d.sharedError("write", idKey, err)
	}
	d.sharedID = id
	return nil
}

// all implements engine.
func (b *boltFile) all() (all []change, err error) {
	err = b.view(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(bucket []byte, in *bbolt.Bucket) error {
			if string(bucket) == controlBucket {
				return nil
			}
			return in.ForEach(func(k, v []byte) error {
				all = append(all, change{keyName{string(bucket), string(k)}, bytes.Clone(v)})
				return nil
			})
		})
	})
	return all, err
}

// all implements engine.
func (e *clusterEngine) all() ([]change, error) { return e.changes("*.*") }
