//go:build unix

package schema_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(path("ok"), []byte("12345"), 0o600), os.WriteFile(path("large"), []byte("123456"), 0o600), syscall.Mkfifo(path("pipe"), 0o600),
		os.Symlink("/dev/zero", path("device")), os.Symlink(path("ok"), path("link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"ok": "12345 <nil>", "link": "12345 <nil>", "large": " more than 5 bytes", "pipe": " want a regular file, not a named pipe",
		"device": " want a regular file, not a device", ".": " is a directory", "none": " no such file or directory",
	} {
		b, err := schema.ReadFile(path(name), 5)
		if got := fmt.Sprint(string(b), " ", err); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	// The kernel's files have a size of 0 and a content.
	if b, err := schema.ReadFile("/proc/self/status", 1<<16); err == nil && len(b) == 0 {
		t.Error("nothing was read")
	}
}
