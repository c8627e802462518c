//go:build unix

package mail_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/services/mail"
)

// Reading a named pipe would wait for ever, and reading a device would not end.
func TestPipesAreRefused(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	pipe := filepath.Join(dir, "pipe.txt")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "secret.txt"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe: "it is not a regular file",
		filepath.Join(dir, "folder", "secret.txt"):   "path escapes from parent",
		filepath.Join(dir, "zero"):                   "path escapes from parent",
		filepath.Join(dir, "folder", "..", "secret"): "there is no such file",
	} {
		_, err := call(t, contoso(t), mail.Target{Directories: []string{dir}}, "send", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, path))
		if want := "attachments[0]: the file " + filepath.Clean(path) + " cannot be read: " + want; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
