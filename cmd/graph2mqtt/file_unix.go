//go:build !windows

package main

import (
	"os"
	"syscall"
)

// shareWithGroup lets the group of a directory read a file, if root writes it and the group is that of a service.
func shareWithGroup(f *os.File, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || stat.Gid == 0 {
		return nil
	}
	if err := f.Chown(0, int(stat.Gid)); err != nil {
		return err
	}
	return f.Chmod(0o640)
}
