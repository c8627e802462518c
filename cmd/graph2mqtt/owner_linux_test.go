package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The error for root contains the command that works.
func TestRootIsToldTheCommandOfTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a directory of another user")
	}
	h := newHarness(t)
	state := filepath.Join(h.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(state, 64242, 64242); err != nil {
		t.Fatal(err)
	}
	const refusal = ": it belongs to the user #64242, who could not read what root writes to it; run graph2mqtt as this user, or choose another directory with --state-dir\n"
	code, _, stderr := h.call(t, "login", "work")
	if want := "graph2mqtt: state directory " + state + refusal +
		"Run: sudo -u '#64242' graph2mqtt login work --state-dir " + state + " --config " + filepath.Join(h.dir, "graph2mqtt.yaml") + "\n"; code != exitFailed || stderr != want {
		t.Errorf("exit code %d, %s, want %s", code, stderr, want)
	}
	file := filepath.Join(h.dir, "graph2mqtt.yaml")
	code, _, stderr = h.call(t, "accounts", "--state-dir", state, "--config", file)
	if want := "graph2mqtt: state directory " + state + refusal + "Run: sudo -u '#64242' graph2mqtt accounts --state-dir " + state + " --config " + file + "\n"; code != exitFailed || stderr != want {
		t.Errorf("exit code %d, %s, want %s", code, stderr, want)
	}
}
