package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// releaseStartPages unmaps the code and the constants of the program from its memory. A third of them is used at the start alone. What is
// used again is mapped again, from the page cache.
func releaseStartPages() error {
	// Only there does nothing write to these pages: the loader of a position-independent program changes its constants.
	build, ok := debug.ReadBuildInfo()
	if !ok || !slices.Contains(build.Settings, debug.BuildSetting{Key: "-buildmode", Value: "exe"}) {
		return nil
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	self, err := procfs.Self()
	if err != nil {
		return err
	}
	maps, err := self.ProcMaps()
	if err != nil {
		return err
	}
	for _, m := range maps {
		if m.Pathname != program || m.Perms.Write {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.StartAddr, m.EndAddr-m.StartAddr, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}
