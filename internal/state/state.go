// Package state keeps what outlives the program in one directory, mode 0700: sealed files and a sealed database.
//
// Everything but the directory's id is sealed with AES-256-GCM under one key, see [Open]. A file that was not written by
// somebody who has the key, or was written under another name, is corrupt.
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
	"github.com/google/renameio/v2"
	"github.com/google/uuid"
)

// ErrCorrupt is in the error of what cannot be read though the key is right. Nothing corrupt is ever deleted.
var ErrCorrupt = errors.New("is corrupt")

// ErrOtherKey is in the error of what was sealed with another key. It is readable again when that key is.
var ErrOtherKey = errors.New("was sealed with another key")

const (
	dirMode  = 0o700
	fileMode = 0o600

	idFile   = "id"
	previous = ".previous"
	lockFile = ".lock"

	// lockRetry is how often a lock that somebody else holds is tried for again. They are held for one request to
	// Microsoft at most, so nobody waits long.
	lockRetry = 25 * time.Millisecond
)

// A Dir is an open state directory. Its methods may be called by several goroutines, and beside other processes.
type Dir struct {
	path string
	id   string
	seal cipher.AEAD
	mark [markSize]byte // of the key
	log  *slog.Logger
}

// Open opens the state directory, and makes it with everything in it where there is none. It takes the key of 32 bytes in base64
// from the environment variable GRAPH2MQTT_KEY, else from the systemd credential graph2mqtt-key, else from keyFile,
// else, where keyFile is empty, from the file key in the directory, which it makes. What is not as it should be, but does not
// keep it from working, goes to log.
func Open(dir, keyFile string, log *slog.Logger) (*Dir, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	d := &Dir{path: path, log: log}
	if err := d.prepare(); err != nil {
		return nil, err
	}
	// Two processes that start at the same time must not make two keys.
	err = d.Locked(context.Background(), "directory", func() error {
		if err := d.openID(); err != nil {
			return err
		}
		return d.openKey(keyFile)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// ID is 8 hex digits that belong to this directory for ever.
func (d *Dir) ID() string { return d.id }

// prepare makes sure that there is a directory of ours that can be written.
func (d *Dir) prepare() error {
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(d.path, dirMode); err != nil {
			return fmt.Errorf("make the state directory %s: %w; name another with --state-dir", d.path, reason(err))
		}
	case err != nil:
		return fmt.Errorf("state directory %s: %w; name another with --state-dir", d.path, reason(err))
	case !info.IsDir():
		return fmt.Errorf("state directory %s: this is a file; move it away, or name a directory with --state-dir", d.path)
	case info.Mode().Perm()&0o077 != 0:
		d.closeToOthers(info.Mode().Perm())
	}
	probe, err := os.CreateTemp(d.path, ".probe")
	if err != nil {
		return fmt.Errorf("state directory %s: user %d cannot write to it: %w; change its owner (chown %d %s), or name another with --state-dir",
			d.path, os.Geteuid(), reason(err), os.Geteuid(), d.path)
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// closeToOthers takes the rights of others away, unless the directory holds somebody else's files: it may be /tmp or a home.
func (d *Dir) closeToOthers(mode fs.FileMode) {
	if entries, err := os.ReadDir(d.path); err != nil || len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == idFile }) {
		d.log.Warn("the state directory is open to other users and holds other files; better give it a directory of its own with --state-dir", "dir", d.path, "mode", mode.String())
		return
	}
	if err := os.Chmod(d.path, dirMode); err != nil {
		d.log.Warn("the state directory is open to other users, and its mode cannot be changed", "dir", d.path, "mode", mode.String(), "error", reason(err))
		return
	}
	d.log.Warn("the state directory was open to other users, its mode is 0700 now", "dir", d.path, "mode", mode.String())
}

var hex8 = regexp.MustCompile(`^[0-9a-f]{8}$`)

func (d *Dir) openID() error {
	file := d.file(idFile)
	b, err := os.ReadFile(file)
	switch id := strings.TrimSpace(string(b)); {
	case err == nil && hex8.MatchString(id):
		d.id = id
		return nil
	case err == nil:
		d.log.Warn("the id of the state directory was unreadable, it has a new one now", "file", file)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", file, reason(err))
	}
	random := uuid.New()
	d.id = hex.EncodeToString(random[:4])
	return write(file, []byte(d.id+"\n"))
}

// Read returns what was last written under name. Where that is corrupt and the copy before it is good, it returns that copy and
// tells the log. The error is fs.ErrNotExist, ErrCorrupt, ErrOtherKey, or of the disk.
func (d *Dir) Read(name string) ([]byte, error) {
	plain, err := d.read(name, name)
	if !errors.Is(err, ErrCorrupt) {
		return plain, err
	}
	before, errBefore := d.read(name+previous, name)
	if errBefore != nil {
		return nil, fmt.Errorf("%w, and there is no good copy of it", err)
	}
	d.log.Warn("a file is corrupt, going on with the copy before it", "file", d.file(name))
	return before, nil
}

func (d *Dir) read(file, name string) ([]byte, error) {
	sealed, err := os.ReadFile(d.file(file))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.file(file), reason(err))
	}
	plain, err := d.unseal(sealed, name)
	if err != nil {
		return nil, fmt.Errorf("%s %w", d.file(file), err)
	}
	return plain, nil
}

// Write puts plain in the place of what was written under name before, all of it or nothing, and keeps the one before as a
// copy. It is on the disk when Write returns. Those who read, change and write hold the lock, see [Dir.Locked].
func (d *Dir) Write(name string, plain []byte) error {
	before, err := os.ReadFile(d.file(name))
	switch {
	case err == nil:
		// A good copy must not be lost to a file that cannot be read.
		if _, err := d.unseal(before, name); !errors.Is(err, ErrCorrupt) {
			if err := write(d.file(name+previous), before); err != nil {
				return err
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", d.file(name), reason(err))
	}
	return write(d.file(name), d.sealed(plain, name))
}

// Remove removes what was written under name, and the copy before it.
func (d *Dir) Remove(name string) error {
	// The copy first: a crash in between must not bring it back.
	for _, file := range []string{d.file(name + previous), d.file(name)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", file, reason(err))
		}
	}
	return nil
}

// Stat tells one version of a file from another: each Write makes another file ([os.SameFile]).
func (d *Dir) Stat(name string) (fs.FileInfo, error) { return os.Stat(d.file(name)) }

// Locked calls f while it holds the lock of that name, which one goroutine of one process holds at a time. It is no lock that the
// same goroutine can take twice.
func (d *Dir) Locked(ctx context.Context, name string, f func() error) error {
	lock := flock.New(d.file(name+lockFile), flock.SetPermissions(fileMode))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the lock %s, which somebody else holds: %w", lock.Path(), err)
		}
		return fmt.Errorf("lock %s: %w", lock.Path(), reason(err))
	}
	defer lock.Close()
	return f()
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

func write(file string, b []byte) error {
	if err := renameio.WriteFile(file, b, fileMode, renameio.WithTempDir(filepath.Dir(file)), renameio.WithStaticPermissions(fileMode)); err != nil {
		return fmt.Errorf("write %s: %w", file, reason(err))
	}
	// The name, too, is to be on the disk.
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("write %s: %w", file, reason(err))
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", file, reason(err))
	}
	return nil
}

// reason is what the system says, without the path, which our own errors name.
func reason(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
