package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// homes is the directory with the configuration directories that are migrated.
var homes = filepath.Join(top, "internal", "migrate", "testdata")

// Each configuration becomes one that check accepts, and no secret is shown.
func TestMigrate(t *testing.T) {
	h := newHarness(t)
	names, err := os.ReadDir(homes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		dir := filepath.Join(homes, name.Name())
		code, stdout, stderr := h.call(t, "migrate", dir)
		if code != 0 || stderr != "" {
			t.Errorf("%s: %d, %s", name.Name(), code, stderr)
			continue
		}
		golden(t, filepath.Join("testdata", "migrate_"+name.Name()+".yaml"), stdout)
		for _, secret := range []string{"Zq8~", "a.literal~secret", "Secret~in~an~entry", "Another~secret", "the-password-of-the-broker", "the.boss@"} {
			if strings.Contains(stdout, secret) {
				t.Errorf("%s: the output contains the secret %s…", name.Name(), secret)
			}
		}
		whole := filepath.Join(h.dir, name.Name()+".yaml")
		h.write(t, name.Name()+".yaml", stdout)
		if code, problems, stderr := h.call(t, "check", "--config", whole); code != 0 || problems != "" || stderr != "" {
			t.Errorf("%s: check of the whole output: %d, %s%s", name.Name(), code, problems, stderr)
		}

		// With --write the file has the first part, and the others are printed.
		written := filepath.Join(h.dir, name.Name()+"-written.yaml")
		code, printed, stderr := h.call(t, "migrate", dir, "--write", written)
		text, err := os.ReadFile(written)
		if code != 0 || stderr != "" || err != nil {
			t.Fatalf("%s: %d, %s, %v", name.Name(), code, stderr, err)
		}
		_, rest, _ := strings.Cut(printed, "\n\n")
		var commented strings.Builder
		for line := range strings.Lines(rest) {
			commented.WriteString(strings.TrimRight("# "+strings.TrimSuffix(line, "\n"), " ") + "\n")
		}
		if string(text)+"\n"+commented.String() != stdout {
			t.Errorf("%s: file and output together differ from the output without --write:\n%s\n%s", name.Name(), text, printed)
		}
		if code, problems, stderr := h.call(t, "check", "--config", written); code != 0 || problems != "" || stderr != "" {
			t.Errorf("%s: check of the file: %d, %s%s", name.Name(), code, problems, stderr)
		}
		code, printed, stderr = h.call(t, "migrate", dir, "--write", written)
		if want := "graph2mqtt: --write: " + written + " exists and is not overwritten: want the name of a new file\n"; code != 1 || printed != "" || stderr != want {
			t.Errorf("%s: a second time: %d, %q, %q", name.Name(), code, printed, stderr)
		}
		if again, err := os.ReadFile(written); err != nil || string(again) != string(text) {
			t.Errorf("%s: the file was overwritten: %v", name.Name(), err)
		}
	}
}

func TestMigrateRefuses(t *testing.T) {
	h := newHarness(t)
	h.write(t, "file", "x")
	if err := os.Mkdir(filepath.Join(h.dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(h.dir, name) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 1, "want the configuration directory of Home Assistant, the one with configuration.yaml"},
		{[]string{at("missing")}, 1, at("missing") + " does not exist: want the configuration directory of Home Assistant"},
		{[]string{at("file")}, 1, at("file") + " is a file: want the configuration directory of Home Assistant"},
		{[]string{at("empty")}, 1, at("empty") + " has no configuration.yaml: want the configuration directory of Home Assistant"},
		{[]string{filepath.Join(homes, "o365"), "--write", at("missing/x.yaml")}, 2, "--write: open " + at("missing/x.yaml") + ": no such file or directory"},
	} {
		code, stdout, stderr := h.call(t, append([]string{"migrate"}, c.args...)...)
		if code != c.code || stdout != "" || stderr != "graph2mqtt: "+c.want+"\n" {
			t.Errorf("%v: %d, %q, %q, want %q", c.args, code, stdout, stderr, c.want)
		}
	}
}
