package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestHealth(t *testing.T) {
	h := newHarness(t)
	healthy := func(want string, args ...string) {
		t.Helper()
		code, stdout, stderr := h.call(t, append([]string{"health"}, args...)...)
		wantCode := exitFailed
		if want == "" {
			wantCode = exitOK
		} else {
			want = "graph2mqtt: " + want + "\n"
		}
		if code != wantCode || stdout != "" || stderr != want {
			t.Errorf("health %v: exit code %d, %s%s, want %d, %s", args, code, stdout, stderr, wantCode, want)
		}
	}
	state := filepath.Join(h.dir, "state")
	healthy("no bridge is running on the state directory " + state)

	p := h.start(t, "run") // its broker does not exist
	p.stderr.find(t, regexp.MustCompile(`msg="cannot connect to the broker"`))
	healthy("the bridge is not connected to the broker; its log has the reason")
	healthy("", "--without-broker")
	p.interrupt()
	p.wait(t)
	healthy("no bridge is running on the state directory "+state, "--without-broker")
	if _, err := os.Stat(filepath.Join(state, healthSocket)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}

	h.configure(t, startBroker(t).URL())
	p = h.start(t, "run")
	p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
	healthy("")
	h.write(t, "graph2mqtt.yaml", "accounts: {") // a running bridge keeps the old configuration
	healthy("")
}

// A bridge that was killed leaves its socket.
func TestHealthAfterACrash(t *testing.T) {
	h := newHarness(t)
	h.configure(t, startBroker(t).URL())
	state := filepath.Join(h.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(state, healthSocket), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if code, _, stderr := h.call(t, "health"); code != exitFailed || stderr != "graph2mqtt: no bridge is running on the state directory "+state+"\n" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	p := h.start(t, "run")
	p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
	if code, _, stderr := h.call(t, "health"); code != exitOK {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}
