package config

import (
	"os"
	"path/filepath"
	"testing"
)

// The command line uses the state of the service when it uses the configuration of the service.
func TestStateDirOfTheService(t *testing.T) {
	root := t.TempDir()
	stateDir := func(file string) string {
		t.Helper()
		l := &loader{root: root, env: environment{"HOME=/home/ann"}}
		c := &Config{File: Sources{File: file}.locate(root).file}
		l.stateDir(c)
		return c.StateDir
	}
	file := root + systemConfigDir + "/graph2mqtt.yaml"
	for _, dir := range []string{systemConfigDir, systemStateDir} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	const home = "/home/ann/.local/state/graph2mqtt"
	for of, want := range map[string]string{"": root + systemStateDir, file: root + systemStateDir, filepath.Join(root, "graph2mqtt.yaml"): home} {
		if got := stateDir(of); got != want {
			t.Errorf("%s: got %s, want %s", of, got, want)
		}
	}
	if err := os.RemoveAll(root + systemStateDir); err != nil {
		t.Fatal(err)
	}
	if got := stateDir(""); got != home {
		t.Errorf("without the directory: got %s", got)
	}
}
