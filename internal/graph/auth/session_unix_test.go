//go:build !windows

package auth_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
)

// A disk that hangs delays a reload, but nothing that only needs what is known.
func TestStatusWhileTheDiskHangs(t *testing.T) {
	w := newEnvironment(t)
	s := w.signedIn(reading...)
	file := filepath.Join(w.dir, "tokens-work")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	reloaded := make(chan struct{})
	go func() {
		s.Reload()
		close(reloaded)
	}()
	// Opening it for writing waits until it was opened for reading, which then waits for what is written.
	fifo, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	status := make(chan auth.Status, 1)
	go func() { status <- s.Status() }()
	select {
	case got := <-status:
		if got.State != auth.SignedIn {
			t.Errorf("%s: %s", got.State, got.Message)
		}
	case <-time.After(10 * time.Second):
		t.Error("the status waits for the disk")
	}
	if err := fifo.Close(); err != nil {
		t.Fatal(err)
	}
	<-reloaded
}
