package state_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// asNobody calls f with the file permissions of the user nobody, or unchanged if the test does not run as root.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The setting belongs to the thread, which ends with this goroutine.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
				return
			}
		}
		f()
	}()
	<-done
}

func TestOpenWithoutPermission(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != "/" && strings.Contains(d, t.Name()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "readable"), 0o500); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "readable"), 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	asNobody(t, func() {
		readable := filepath.Join(dir, "readable")
		_, _, err := tryOpen(t, readable, "")
		wantError(t, err, fmt.Sprintf("state directory %s: user %d cannot write to it: permission denied; change its owner (chown %d %s), or choose another with --state-dir",
			readable, os.Geteuid(), os.Geteuid(), readable))
		_, _, err = tryOpen(t, filepath.Join(dir, "new"), "")
		wantError(t, err, "create the state directory "+filepath.Join(dir, "new")+": permission denied; choose another with --state-dir")
	})
}
