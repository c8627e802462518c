//go:build !windows

package state

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// isAccessibleToOthers reports whether a mode gives other users access.
func isAccessibleToOthers(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

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
