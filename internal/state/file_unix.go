//go:build !windows

package state

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/google/renameio/v2"
)

// isAccessibleToOthers reports whether a mode gives other users access.
func isAccessibleToOthers(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// isOfOtherUser reports whether a file belongs to another user than that of this process.
func isOfOtherUser(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) != os.Geteuid()
}

// ownerName returns the name of a file's owner, or # and its number, as sudo -u accepts it.
func ownerName(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	id := strconv.FormatUint(uint64(stat.Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "#" + id
}

// replaceFile writes a file atomically and durably.
func replaceFile(file string, b []byte) error {
	if err := renameio.WriteFile(file, b, fileMode, renameio.WithTempDir(filepath.Dir(file)), renameio.WithStaticPermissions(fileMode)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// syncDir writes the entries of a directory to disk.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
