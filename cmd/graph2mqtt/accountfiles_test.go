package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// writeAccount writes the file of an account of the simulated Microsoft 365.
func (h *harness) writeAccount(t *testing.T, name, more string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(h.dir, "accounts.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write(t, "accounts.d/"+name, strings.ReplaceAll(h.cloud(), "\n    ", "\n")+"\n"+more)
}

// Every command knows the accounts in files of their own, and why one cannot be used.
func TestCommandsKnowAccountFiles(t *testing.T) {
	h := newHarness(t)
	h.writeAccount(t, "ann.yaml", "sensors: {calendar: {type: calendar}}\n")
	if code, stdout, stderr := h.call(t, "check"); code != exitOK || stdout+stderr != "" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := h.call(t, "permissions", "ann"); code != exitOK || !strings.Contains(stdout, "ann\tCalendars.Read\tcalendar") || stderr != "" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := h.call(t, "__complete", "login", ""); code != exitOK || !strings.HasPrefix(stdout, "ann\nwork\n") {
		t.Errorf("%d, %s", code, stdout)
	}

	h.writeAccount(t, "ann.yaml", "sensors: {calendar: {type: calender}}\n")
	file := filepath.Join(h.dir, "accounts.d", "ann.yaml")
	problem := "accounts.ann.sensors.calendar.type (" + file + ", line 3): want one of "
	if code, stdout, stderr := h.call(t, "check"); code != exitUsage || !strings.HasPrefix(stdout, problem) || stderr != "" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
	if code, _, stderr := h.call(t, "login", "ann"); code != exitUsage || !strings.Contains(stderr, "graph2mqtt: "+problem) {
		t.Errorf("%d, %s", code, stderr)
	}
	if code, stdout, stderr := h.call(t, "accounts"); code != exitOK || !strings.HasPrefix(stdout, "work\t") || !strings.Contains(stderr, `msg="account file invalid, the account does not run" account=ann file=`) {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}

	for _, what := range []string{"example", "schema"} {
		if code, stdout, _ := h.call(t, "config", what, "--account"); code != exitOK || !strings.Contains(stdout, "client_id") || strings.Contains(stdout, "base_topic") {
			t.Errorf("config %s --account: %d, %s", what, code, stdout)
		}
	}
	if code, _, stderr := h.call(t, "config", "reference", "--account"); code != exitUsage || !strings.Contains(stderr, "unknown flag: --account") {
		t.Errorf("%d, %s", code, stderr)
	}
}

// init writes no account that has a file of its own.
func TestInitWithAccountFiles(t *testing.T) {
	h := newHarness(t)
	if err := os.Remove(filepath.Join(h.dir, "graph2mqtt.yaml")); err != nil {
		t.Fatal(err)
	}
	h.writeAccount(t, "ann.yaml", "sensors: {calendar: {type: calendar}}\n")
	h.writeAccount(t, "bad.yaml", "x: y\n") // does not affect other accounts
	m, _ := mosquitto(t, "ann", "secret")
	args := []string{"--mqtt", m.URL, "--username", "ann", "--client-id", client, "--sensors", "calendar", "--account"}
	h.write(t, "password", "secret")
	args = append([]string{"--password-file", filepath.Join(h.dir, "password")}, args...)
	want := "graph2mqtt: --account: want another id: " + filepath.Join(h.dir, "accounts.d", "ann.yaml") + " has this account\n"
	if code, _, stderr := h.answer(t, nil, append(args, "ann")...); code != exitUsage || stderr != want {
		t.Errorf("%d, %s", code, stderr)
	}
	if code, stdout, stderr := h.answer(t, nil, append(args, "work")...); code != exitOK || stderr != "" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
}

// A running bridge takes a new file in, and says where a mistake in it is.
func TestRunWithAccountFiles(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	b := startBroker(t)
	h.configure(t, b.URL())
	p := h.start(t, "run")
	p.stderr.find(t, regexp.MustCompile(`msg=starting`))
	h.writeAccount(t, "ann.yaml", "sensors: {calendar: {type: calendar}}\n")
	p.stderr.find(t, regexp.MustCompile(`msg="configuration reloaded"`))
	h.writeAccount(t, "ann.yaml", "sensors: [\n")
	p.stderr.find(t, regexp.MustCompile(`msg="account file invalid, keeping the running account" account=ann file=\S+ error="accounts.ann \(\S+ line 3\): `))
	h.writeAccount(t, "bob.yaml", "sensors: {calendar: {type: calendar}}\n")
	log := p.stderr.find(t, regexp.MustCompile(`(?s)(msg="account file invalid.* account=bob .*)`))
	if n := strings.Count(log, "account file invalid"); n != 1 {
		t.Errorf("the mistake is logged %d times:\n%s", n, log)
	}
	p.interrupt()
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
