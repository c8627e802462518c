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

// Copy copies everything from the directory to the cluster, or back: the files, the database and the id. Nothing may work with either
// meanwhile. A target that has something is refused, or replaced.
func Copy(ctx context.Context, from, to *Dir, replace bool) (n Copied, err error) {
	source, closeSource, err := from.openForCopy(ctx)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	target, closeTarget, err := to.openForCopy(ctx)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, closeTarget()) }()
	if err := target.DataLoss(); err != nil {
		return n, err
	}
	oldFiles, err := to.fileNames(ctx, target)
	if err != nil {
		return n, err
	}
	oldKeys, err := target.engine.all()
	if err != nil {
		return n, fmt.Errorf("read the database %s: %w", target.path, err)
	}
	if len(oldFiles)+len(oldKeys) > 0 && !replace {
		return n, fmt.Errorf("%w: it has %d files and %d records", ErrNotEmpty, len(oldFiles), len(oldKeys))
	}
	// Everything is read before anything is written: an unreadable source changes nothing.
	files, err := from.fileNames(ctx, source)
	if err != nil {
		return n, err
	}
	contents := map[string][]byte{}
	for _, name := range files {
		if contents[name], err = from.Read(name); err != nil {
			return n, err
		}
	}
	keys, err := source.engine.all()
	if err != nil {
		return n, fmt.Errorf("read the database %s: %w", source.path, err)
	}
	values := make([][]byte, len(keys))
	for i, c := range keys {
		if values[i], err = source.openValue(c.keyName, c.sealed); err != nil {
			return n, err
		}
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
	err = target.CommitSync(func(tx Tx) {
		kept := map[keyName]bool{}
		for i, c := range keys {
			kept[c.keyName] = true
			tx.Put(c.bucket, c.key, values[i])
		}
		for _, c := range oldKeys {
			if !kept[c.keyName] {
				tx.Delete(c.bucket, c.key)
			}
		}
	})
	if err != nil {
		return n, err
	}
	if err := to.setID(ctx, from.ID()); err != nil {
		return n, err
	}
	return Copied{len(files), len(keys)}, nil
}

// ErrNotEmpty is wrapped by the error of [Copy] for a target that has something.
var ErrNotEmpty = errors.New("the target is not empty")

// openForCopy opens the database, of a cluster with a lease of its own. The lock of the directory belongs to the other side.
func (d *Dir) openForCopy(ctx context.Context) (*Database, func() error, error) {
	if d.shared == nil {
		db, err := d.OpenDatabase()
		if err != nil {
			return nil, nil, err
		}
		return db, db.Close, nil
	}
	host, _ := os.Hostname()
	self := leaseRecord{Holder: uuid.NewString(), Worker: "copy/" + uuid.NewString(), Host: host, Lease: d.shared.bucket.cluster.Lease}
	waiting, cancel := context.WithTimeout(ctx, self.Lease+4*standbyInterval)
	defer cancel()
	l, err := acquireLease(waiting, bucketRegister{d.shared.bucket}, self, d.log)
	if err != nil {
		if waiting.Err() != nil && ctx.Err() == nil {
			err = errors.New("a bridge is running on it; stop it on all machines first")
		}
		return nil, nil, fmt.Errorf("open the database %s: %w", d.shared.bucket.label(), err)
	}
	d.shared.mu.Lock()
	d.shared.lease = l
	d.shared.mu.Unlock()
	db, err := d.OpenDatabase()
	if err != nil {
		l.Release()
		return nil, nil, err
	}
	return db, func() error {
		defer l.Release()
		return db.Close()
	}, nil
}

// fileNames returns the names of the encrypted files.
func (d *Dir) fileNames(ctx context.Context, db *Database) (names []string, err error) {
	if d.shared != nil {
		e := db.engine.(*clusterEngine)
		var invalid error
		found := map[string]bool{}
		err := e.bucket.scan(ctx, filePrefix+"*", leaseKey, e.revision(), func(f entry) {
			name, err := unescape(strings.TrimPrefix(f.key, filePrefix))
			if err != nil {
				invalid = err
			}
			found[name] = f.value != nil
		})
		for name, exists := range found {
			if exists {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names, errors.Join(err, invalid)
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
func (e *clusterEngine) all() ([]change, error) { return e.changes(dataPrefix + "*.*") }
