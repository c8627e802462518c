package state_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
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

// What root writes to the directory of a service's user, the service could not read.
func TestRootRefusesTheDirectoryOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a directory of another user")
	}
	for uid, name := range map[int]string{65534: "nobody", 64242: "#64242"} {
		dir := t.TempDir()
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
		_, _, err := tryOpen(t, dir, "")
		wantError(t, err, fmt.Sprintf("state directory %s: it belongs to the user %s, who could not read what root writes to it; run graph2mqtt as this user, or choose another directory with --state-dir", dir, name))
		var owner *state.OwnerError
		if !errors.As(err, &owner) || owner.User != name || owner.Path != dir {
			t.Errorf("error %#v", owner)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("in the directory: %v (%v)", entries, err)
		}
	}
}
