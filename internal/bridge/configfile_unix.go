//go:build unix

package bridge

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner that it had before it was replaced. Only root can; others can only replace their own files.
func keepOwner(name string, before fs.FileInfo) {
	if s, ok := before.Sys().(*syscall.Stat_t); ok {
		_ = os.Chown(name, int(s.Uid), int(s.Gid))
	}
}
