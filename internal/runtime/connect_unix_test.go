//go:build unix

package runtime_test

import (
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// Opening a named pipe waits for a writer, which would keep every account from starting.
func TestAccountWithANamedPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.pem")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	dir, err := state.Open(t.TempDir(), "", log)
	if err != nil {
		t.Fatal(err)
	}
	for key, set := range map[string]func(*config.Account){
		"certificate_file": func(c *config.Account) { c.CertificateFile = pipe },
		"cloud.ca_file":    func(c *config.Account) { c.Cloud.CAFile = pipe },
	} {
		c := &config.Account{ID: "work", ClientID: "01234567-89ab-cdef-0123-456789abcdef"}
		set(c)
		session, err := runtime.OpenSession(c, dir, log)
		if err != nil {
			t.Fatal(err)
		}
		want := "accounts.work." + key + ": read " + pipe + ": want a regular file, not a named pipe"
		if s := session.Status(); s.State != auth.SignInRequired || s.Message != want {
			t.Errorf("%s: %s: %s, want %s", key, s.State, s.Message, want)
		}
	}
}
