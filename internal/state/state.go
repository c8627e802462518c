// Package state stores persistent data in one directory (mode 0700): encrypted files and an encrypted key-value database.
//
// Everything except the directory's id is encrypted with AES-256-GCM under one key, see [Open]. A file that was not written
// with that key, or that was written under another name, is reported as corrupt.
package state

import (
	"context"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
)

// ErrCorrupt is wrapped by the errors for data that cannot be read although the key matches. Corrupt data is never deleted.
var ErrCorrupt = errors.New("is corrupt")

// ErrOtherKey is wrapped by the errors for data that was encrypted with another key. It becomes readable when that key is used.
var ErrOtherKey = errors.New("was sealed with another key")

const (
	dirMode  = 0o700
	fileMode = 0o600

	idFile       = "id"
	backupSuffix = ".previous"
	lockSuffix   = ".lock"

	// watchInterval is the interval at which files are compared. Notifications of the file system would not cover every mount.
	watchInterval = 2 * time.Second
	// coarsestTime is the longest time for which a second change may leave the directory with the same time.
	coarsestTime = 3 * time.Second
	// maxWatchInterval is the interval at which changes are reported that the directory's time does not show.
	maxWatchInterval = time.Minute

	// lockRetryInterval separates attempts to take a lock that is held elsewhere. Locks are held for at most one request to
	// Microsoft.
	lockRetryInterval = 25 * time.Millisecond
)

// A Dir is an open state directory. It is safe for concurrent use by several goroutines and processes.
type Dir struct {
	path  string
	id    string
	aead  cipher.AEAD
	keyID [keyIDSize]byte
	log   *slog.Logger

	digestKey [keySize]byte // of the configurations of machines

	shared   *shared // nil: everything is in the directory
	sharedID string
}

// An OwnerError is returned for a state directory that belongs to another user, as whom the program should run.
type OwnerError struct {
	Path   string
	User   string // the name of the owner, or # and its number
	reason string // the predicate of the sentence about the owner
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("state directory %s: it belongs to the user %s, who %s; run graph2mqtt as this user, or choose another directory with --state-dir",
		e.Path, e.User, e.reason)
}

// CheckOwner returns an *OwnerError if this process is root's and the directory is another user's.
func CheckOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 || !isOfOtherUser(info) {
		return nil
	}
	return &OwnerError{Path: dir, User: ownerName(info), reason: "could not read what root writes to it"}
}

// Open opens the state directory and creates it if it does not exist. It takes the key (32 bytes in base64) from the first of
// these that is set: the environment variable GRAPH2MQTT_KEY, the systemd credential graph2mqtt-key, keyFile, and the file
// "key" in the directory, which it creates. Problems that do not prevent operation are logged to log.
func Open(dir, keyFile string, log *slog.Logger) (*Dir, error) {
	return openDir(dir, keyFile, false, log)
}

// openDir opens the directory. In a cluster it creates no key.
func openDir(dir, keyFile string, cluster bool, log *slog.Logger) (*Dir, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	d := &Dir{path: path, log: log}
	if err := d.prepare(); err != nil {
		return nil, err
	}
	// Two processes that start at the same time must not create two keys.
	err = d.WithLock(context.Background(), "directory", func() error {
		if err := d.loadID(); err != nil {
			return err
		}
		return d.loadKey(keyFile, cluster)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Path returns the absolute path of the directory.
func (d *Dir) Path() string { return d.path }

// ID returns the 8 hex digits that identify this state permanently: the directory, or the cluster.
func (d *Dir) ID() string {
	if d.shared != nil {
		return d.sharedID
	}
	return d.id
}

// prepare creates the directory if needed and verifies that it is private and writable.
func (d *Dir) prepare() error {
	if err := CheckOwner(d.path); err != nil {
		return err
	}
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(d.path, dirMode); err != nil {
			return fmt.Errorf("create the state directory %s: %w; choose another with --state-dir", d.path, withoutPath(err))
		}
	case err != nil:
		return fmt.Errorf("state directory %s: %w; choose another with --state-dir", d.path, withoutPath(err))
	case !info.IsDir():
		return fmt.Errorf("state directory %s: this is a file; move it away, or choose a directory with --state-dir", d.path)
	case isAccessibleToOthers(info.Mode()):
		d.restrictMode(info.Mode().Perm())
	}
	probe, err := os.CreateTemp(d.path, ".probe")
	if err != nil {
		if info, statErr := os.Stat(d.path); statErr == nil && isOfOtherUser(info) && ownerName(info) != "root" {
			return &OwnerError{Path: d.path, User: ownerName(info), reason: fmt.Sprintf("does not let user %d write to it", os.Geteuid())}
		}
		return fmt.Errorf("state directory %s: user %d cannot write to it: %w; change its owner (chown %d %s), or choose another with --state-dir",
			d.path, os.Geteuid(), withoutPath(err), os.Geteuid(), d.path)
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// restrictMode removes the permissions of other users, unless the directory holds unrelated files: it may be /tmp or a home directory.
func (d *Dir) restrictMode(mode fs.FileMode) {
	if entries, err := os.ReadDir(d.path); err != nil || len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == idFile }) {
		d.log.Warn("the state directory is accessible to other users and holds unrelated files; choose a separate directory with --state-dir", "dir", d.path, "mode", mode.String())
		return
	}
	if err := os.Chmod(d.path, dirMode); err != nil {
		d.log.Warn("the state directory is accessible to other users and its mode cannot be changed", "dir", d.path, "mode", mode.String(), "error", withoutPath(err))
		return
	}
	d.log.Warn("the state directory was accessible to other users; its mode was changed to 0700", "dir", d.path, "mode", mode.String())
}

var hex8 = regexp.MustCompile(`^[0-9a-f]{8}$`)

func (d *Dir) loadID() error {
	file := d.file(idFile)
	b, err := os.ReadFile(file)
	switch id := strings.TrimSpace(string(b)); {
	case err == nil && hex8.MatchString(id):
		d.id = id
		return nil
	case err == nil:
		d.log.Warn("the id of the state directory was unreadable and was replaced", "file", file)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", file, withoutPath(err))
	}
	random := uuid.New()
	d.id = hex.EncodeToString(random[:4])
	return writeFile(file, []byte(d.id+"\n"))
}

// Read returns the content last written under name. If that is corrupt and the previous version is intact, Read logs a warning
// and returns the previous version. The error wraps fs.ErrNotExist, ErrCorrupt, ErrOtherKey or an error of the disk.
func (d *Dir) Read(name string) ([]byte, error) {
	if d.shared != nil {
		return d.readShared(name)
	}
	plain, err := d.read(name, name)
	if !errors.Is(err, ErrCorrupt) {
		return plain, err
	}
	backup, backupErr := d.read(name+backupSuffix, name)
	if backupErr != nil {
		return nil, fmt.Errorf("%w, and there is no good copy of it", err)
	}
	d.log.Warn("a file is corrupt; using its previous version", "file", d.file(name))
	return backup, nil
}

func (d *Dir) read(file, name string) ([]byte, error) {
	sealed, err := os.ReadFile(d.file(file))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.file(file), withoutPath(err))
	}
	plain, err := d.unseal(sealed, name)
	if err != nil {
		return nil, fmt.Errorf("%s %w", d.file(file), err)
	}
	return plain, nil
}

// Write atomically replaces the content stored under name with plain and keeps the previous version as a backup. The new
// content is on disk when Write returns. Callers that read, change and write must hold the lock, see [Dir.WithLock].
func (d *Dir) Write(name string, plain []byte) error {
	if d.shared != nil {
		return d.writeShared(name, d.sealPacked(plain, name))
	}
	current, err := os.ReadFile(d.file(name))
	switch {
	case err == nil:
		// An unreadable file must not replace a good backup.
		if _, err := d.unseal(current, name); !errors.Is(err, ErrCorrupt) {
			if err := writeFile(d.file(name+backupSuffix), current); err != nil {
				return err
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", d.file(name), withoutPath(err))
	}
	return writeFile(d.file(name), d.seal(plain, name))
}

// Remove deletes the file stored under name and its backup.
func (d *Dir) Remove(name string) error {
	if d.shared != nil {
		return d.writeShared(name, nil)
	}
	// The backup goes first: after a crash in between, it must not be restored.
	for _, file := range []string{d.file(name + backupSuffix), d.file(name)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", file, withoutPath(err))
		}
	}
	return nil
}

// Version returns the version of the content stored under name.
func (d *Dir) Version(name string) (Version, error) {
	if d.shared != nil {
		return d.sharedVersion(name)
	}
	info, err := os.Stat(d.file(name))
	return Version{info: info}, err
}

// Watch calls changed with the name of a file that may have been written or removed, or with "" if that may be any, within two seconds,
// until ctx is done. It returns nil. Changes of the database are not reported.
func (d *Dir) Watch(ctx context.Context, changed func(name string)) error {
	if d.shared != nil {
		d.watchShared(ctx, changed)
		return nil
	}
	// All watchers look at the same moments, because waking up costs more than looking.
	untilLook := func() time.Duration { return time.Until(time.Now().Truncate(watchInterval).Add(watchInterval)) }
	timer := time.NewTimer(untilLook())
	defer timer.Stop()
	var last, reported time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(untilLook())
		}
		// Each write makes another file of the directory, and so changes the time of the directory.
		info, err := os.Stat(d.path)
		if err == nil && info.ModTime().Equal(last) && time.Since(last) >= coarsestTime && time.Since(reported) < maxWatchInterval {
			continue
		}
		if err == nil {
			last = info.ModTime()
		}
		reported = time.Now()
		changed("")
	}
}

// WithLock calls f while holding the named lock, which at most one goroutine of all processes holds at a time. It is not
// reentrant.
func (d *Dir) WithLock(ctx context.Context, name string, f func() error) error {
	lock := flock.New(d.file(name+lockSuffix), flock.SetPermissions(fileMode))
	if _, err := lock.TryLockContext(ctx, lockRetryInterval); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the lock %s, which another process or goroutine holds: %w", lock.Path(), err)
		}
		return fmt.Errorf("lock %s: %w", lock.Path(), withoutPath(err))
	}
	defer lock.Close()
	// The directory itself is prepared before the cluster is known.
	if d.shared != nil {
		return d.withSharedLock(ctx, name, f)
	}
	return f()
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

func writeFile(file string, b []byte) error {
	if err := replaceFile(file, b); err != nil {
		return fmt.Errorf("write %s: %w", file, withoutPath(err))
	}
	return nil
}

// withoutPath returns the system's error without the path, which the errors of this package add themselves.
func withoutPath(err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		return pathErr.Err
	case errors.As(err, &linkErr):
		return linkErr.Err
	}
	return err
}
