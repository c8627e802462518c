package state_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// keyOf returns a key of 32 equal bytes, in base64.
func keyOf(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) }

// open opens a directory without an external key and returns it with its log.
func open(t testing.TB, dir, keyFile string) (*state.Dir, *bytes.Buffer) {
	t.Helper()
	d, log, err := tryOpen(t, dir, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return d, log
}

func tryOpen(t testing.TB, dir, keyFile string) (*state.Dir, *bytes.Buffer, error) {
	t.Helper()
	log := new(bytes.Buffer)
	d, err := state.Open(dir, keyFile, slog.New(slog.NewTextHandler(log, nil)))
	return d, log, err
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("error:\n  %v\nwant:\n  %s", err, want)
	}
}

func TestOpenCreatesPrivateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	d, log := open(t, dir, "")
	if err := d.Write("file", []byte("text")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, "key": 0o600, "id": 0o600, "file": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q is %o, want %o", name, got, want)
		}
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(d.ID()) {
		t.Errorf("id is %q, want 8 hex digits", d.ID())
	}
	again, _ := open(t, dir, "")
	if again.ID() != d.ID() {
		t.Errorf("id is %q after opening again, was %q", again.ID(), d.ID())
	}
	if got, err := again.Read("file"); err != nil || string(got) != "text" {
		t.Errorf("Read after opening again: %q, %v", got, err)
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
}

func TestOpenRestrictsMode(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, "")
	for _, path := range []string{dir, filepath.Join(dir, "key")} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, log := open(t, dir, "")
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "key"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("mode of %s is %o, want %o", path, info.Mode().Perm(), want)
		}
	}
	for _, want := range []string{"the state directory was accessible to other users", "the key file was accessible to other users"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

// A shared directory given as the state directory by mistake must not become inaccessible to others.
func TestOpenKeepsModeOfSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, log := open(t, dir, "")
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("mode is %o, want 755", info.Mode().Perm())
	}
	if want := "the state directory is accessible to other users and holds unrelated files"; !strings.Contains(log.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, log)
	}
}

func TestOpenWithoutDirectory(t *testing.T) {
	tmp := t.TempDir()
	file := filepath.Join(tmp, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := tryOpen(t, file, "")
	wantError(t, err, "state directory "+file+": this is a file; move it away, or choose a directory with --state-dir")
	_, _, err = tryOpen(t, filepath.Join(file, "below"), "")
	wantError(t, err, "state directory "+file+"/below: not a directory; choose another with --state-dir")
}

func TestKeyPrecedence(t *testing.T) {
	tmp := t.TempDir()
	credentials := filepath.Join(tmp, "credentials")
	keyFile := filepath.Join(tmp, "keyfile")
	if err := os.Mkdir(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{filepath.Join(credentials, "graph2mqtt-key"): keyOf(2), keyFile: "  " + keyOf(3) + "\r\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Each round adds a source with higher precedence; a file written with the previous key shows that another one is used.
	dir := filepath.Join(tmp, "state")
	for i, round := range []struct {
		set     func(t *testing.T)
		keyFile string
	}{
		{set: func(*testing.T) {}},
		{set: func(*testing.T) {}, keyFile: keyFile},
		{set: func(t *testing.T) { t.Setenv("CREDENTIALS_DIRECTORY", credentials) }, keyFile: keyFile},
		{set: func(t *testing.T) { t.Setenv("GRAPH2MQTT_KEY", keyOf(1)) }, keyFile: keyFile},
	} {
		round.set(t)
		d, _ := open(t, dir, round.keyFile)
		if i > 0 {
			_, err := d.Read("file")
			if !errors.Is(err, state.ErrOtherKey) {
				t.Errorf("round %d reads data of the previous round's key: %v", i, err)
			}
		}
		if err := d.Write("file", []byte("text")); err != nil {
			t.Fatal(err)
		}
	}
	// The same key from another source reads the file; the URL alphabet without padding is accepted.
	t.Setenv("GRAPH2MQTT_KEY", strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(keyOf(1)), "="))
	d, _ := open(t, dir, "")
	if got, err := d.Read("file"); err != nil || string(got) != "text" {
		t.Errorf("Read: %q, %v", got, err)
	}
}

func TestOpenRejectsInvalidKey(t *testing.T) {
	const advice = "want 32 bytes in base64, for example the output of: openssl rand -base64 32"
	tmp := t.TempDir()
	for name, test := range map[string]struct{ key, want string }{
		"words":     {"my secret", "the environment variable GRAPH2MQTT_KEY is not base64; " + advice},
		"too short": {base64.StdEncoding.EncodeToString(make([]byte, 16)), "the environment variable GRAPH2MQTT_KEY has 16 bytes; " + advice},
		"too long":  {base64.StdEncoding.EncodeToString(make([]byte, 33)), "the environment variable GRAPH2MQTT_KEY has 33 bytes; " + advice},
		"hex":       {strings.Repeat("ab", 32), "the environment variable GRAPH2MQTT_KEY has 48 bytes; " + advice},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GRAPH2MQTT_KEY", test.key)
			_, _, err := tryOpen(t, tmp, "")
			wantError(t, err, test.want)
		})
	}
	t.Run("no file", func(t *testing.T) {
		_, _, err := tryOpen(t, tmp, "/nonexistent/key")
		wantError(t, err, "key_file: the file /nonexistent/key does not exist; create it with: openssl rand -base64 32 > /nonexistent/key")
	})
	t.Run("directory", func(t *testing.T) {
		_, _, err := tryOpen(t, tmp, tmp)
		wantError(t, err, "read the key file "+tmp+": is a directory")
	})
	t.Run("empty own file", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "key"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := tryOpen(t, dir, "")
		wantError(t, err, "the key file "+dir+"/key has 0 bytes; "+advice)
	})
}

func TestReadMissingFile(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	_, err := d.Read("file")
	wantError(t, err, "read "+d.Path()+"/file: no such file or directory")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestFilesAreEncrypted(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	secret := []byte("a very secret text")
	for range 2 {
		if err := d.Write("file", secret); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(d.Path(), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, secret) {
			t.Errorf("%s contains the plain text", e.Name())
		}
	}
	// Content is bound to its name.
	if err := os.Rename(filepath.Join(d.Path(), "file"), filepath.Join(d.Path(), "other")); err != nil {
		t.Fatal(err)
	}
	_, err = d.Read("other")
	wantError(t, err, d.Path()+"/other is corrupt, and there is no good copy of it")
}

// damages returns damaged versions of b by description.
func damages(b []byte) map[string][]byte {
	flipped := bytes.Clone(b)
	flipped[len(b)-1] ^= 1
	return map[string][]byte{
		"empty":   {},
		"short":   b[:len(b)/2],
		"flipped": flipped,
		"zeroed":  make([]byte, len(b)),
		"text":    []byte(`{"tokens": {}}`),
	}
}

func TestReadCorrupt(t *testing.T) {
	d, log := open(t, t.TempDir(), "")
	file := filepath.Join(d.Path(), "file")
	for i := range 3 {
		if err := d.Write("file", fmt.Append(nil, "text ", i)); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range damages(good) {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := d.Read("file")
			if err != nil || string(got) != "text 1" {
				t.Errorf("Read: %q, %v; want the previous version", got, err)
			}
			if want := "a file is corrupt; using its previous version"; !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %q: %s", want, log)
			}
		})
	}

	// Replacing a corrupt file keeps the good backup.
	if err := d.Write("file", []byte("text 4")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read("file"); err != nil || string(got) != "text 1" {
		t.Errorf("Read: %q, %v; want the good backup", got, err)
	}

	if err := os.WriteFile(file+".previous", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = d.Read("file")
	wantError(t, err, file+" is corrupt, and there is no good copy of it")
	if !errors.Is(err, state.ErrCorrupt) {
		t.Errorf("%v is not ErrCorrupt", err)
	}
}

func TestReadWithOtherKey(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir, "")
	if err := first.Write("file", []byte("text")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GRAPH2MQTT_KEY", keyOf(9))
	second, _ := open(t, dir, "")
	_, err := second.Read("file")
	wantError(t, err, dir+"/file was sealed with another key; give graph2mqtt that key again (GRAPH2MQTT_KEY, the credential graph2mqtt-key or key_file)")
	if !errors.Is(err, state.ErrOtherKey) {
		t.Errorf("%v is not ErrOtherKey", err)
	}
	if got, err := first.Read("file"); err != nil || string(got) != "text" {
		t.Errorf("with the first key: %q, %v", got, err)
	}
}

// Intact content is readable though the id of its key in the header is damaged.
func TestReadWithDamagedKeyID(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	if err := d.Write("file", []byte("text")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.Path(), "file")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len("g2m1")] ^= 1
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read("file"); err != nil || string(got) != "text" {
		t.Errorf("Read: %q, %v", got, err)
	}
}

func TestRemove(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	for range 2 {
		if err := d.Write("file", []byte("text")); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // removing a missing file is not an error
		if err := d.Remove("file"); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if diff := cmp.Diff([]string{"directory.lock", "id", "key"}, left); diff != "" {
		t.Errorf("left in the directory (-want +got):\n%s", diff)
	}
}

func TestVersionDistinguishesContents(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	if err := d.Write("file", []byte("same")); err != nil {
		t.Fatal(err)
	}
	a, err := d.Version("file")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write("file", []byte("same")); err != nil {
		t.Fatal(err)
	}
	b, err := d.Version("file")
	if err != nil {
		t.Fatal(err)
	}
	if a.Equal(b) || !a.Equal(a) {
		t.Error("two versions are equal, or one is not equal to itself")
	}
}

func TestWithLockStopsWaitingWithContext(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	err := d.WithLock(t.Context(), "file", func() error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := d.WithLock(ctx, "file", func() error { t.Error("held twice"); return nil })
		wantError(t, err, "wait for the lock "+d.Path()+"/file.lock, which another process or goroutine holds: context canceled")
		return errors.New("of f")
	})
	wantError(t, err, "of f")
	if err := d.WithLock(t.Context(), "file", func() error { return nil }); err != nil {
		t.Errorf("not released: %v", err)
	}
}
