//go:build unix

package mail

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A file that is replaced by a named pipe after its size was read is not waited for.
func TestPipeInPlaceOfFile(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	read := make(chan error, 1)
	go func() {
		_, err := readRegular(root, "pipe", 100)
		read <- err
	}()
	select {
	case err := <-read:
		if !errors.Is(err, errNotRegular) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for somebody who writes to the pipe")
	}
}
