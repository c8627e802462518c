package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// isAccessibleToOthers returns false: Windows has access control lists instead of modes, and a profile's directories are private.
func isAccessibleToOthers(fs.FileMode) bool { return false }

// isOfOtherUser returns false: access control lists decide on Windows who may write, not the owner.
func isOfOtherUser(fs.FileInfo) bool { return false }

// ownerName returns no name, because isOfOtherUser returns false.
func ownerName(fs.FileInfo) string { return "" }

// replaceFile writes a file and renames it into place. Directories cannot be synced on Windows.
func replaceFile(file string, b []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"*")
	if err != nil {
		return err
	}
	_, err = temp.Write(b)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}

// syncDir does nothing: directories cannot be synced on Windows.
func syncDir(string) error { return nil }
