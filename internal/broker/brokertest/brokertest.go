// Package brokertest runs a real Mosquitto for tests.
package brokertest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
)

// A Mosquitto is a broker process on a loopback port that it keeps over restarts.
type Mosquitto struct {
	URL  string // mqtt://127.0.0.1:…
	Addr string // 127.0.0.1:…

	t      testing.TB
	config string
	output *lines

	process *exec.Cmd
	ended   chan struct{}
}

// New starts a Mosquitto with these configuration lines beside its listener and stops it when the test ends. Without
// "allow_anonymous" or "password_file" in them it accepts every client. DIR in the lines is replaced by a directory of its own. Where
// Mosquitto is not installed the test is skipped, unless the environment has CI.
func New(t testing.TB, conf string) *Mosquitto {
	t.Helper()
	if _, err := exec.LookPath(program()); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("Mosquitto is not installed: %v", err)
		}
		t.Skipf("Mosquitto is not installed: %v", err)
	}
	port := porttest.Free(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	dir := t.TempDir()
	if !strings.Contains(conf, "allow_anonymous") && !strings.Contains(conf, "password_file") {
		conf += "\nallow_anonymous true"
	}
	// Started by root it would drop privileges and could not read the directory of the test.
	text := fmt.Sprintf("user root\nlistener %d 127.0.0.1\n%s\n", port, strings.ReplaceAll(conf, "DIR", dir))
	m := &Mosquitto{URL: "mqtt://" + addr, Addr: addr, t: t, config: filepath.Join(dir, "mosquitto.conf"), output: &lines{}}
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() {
			t.Logf("Mosquitto said:\n%s", m.output)
		}
	})
	return m
}

// Password makes a password file for New's configuration and returns its path.
func Password(t testing.TB, user, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mosquitto_passwd", "-b", path, user, password).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("make a password file: %v: %s", err, out)
		}
		t.Skipf("make a password file: %v: %s", err, out)
	}
	return path
}

// Start starts it again after Kill or Stop, on the same port, and waits until it listens.
func (m *Mosquitto) Start() {
	m.t.Helper()
	m.process = exec.Command(program(), "-v", "-c", m.config)
	m.process.Stdout, m.process.Stderr = m.output, m.output
	if err := m.process.Start(); err != nil {
		m.t.Fatalf("start Mosquitto: %v", err)
	}
	ended := make(chan struct{})
	m.ended = ended
	process := m.process
	go func() {
		defer close(ended)
		_ = process.Wait() // killed, mostly
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", m.Addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			m.t.Fatalf("Mosquitto ended:\n%s", m.output)
		default:
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("Mosquitto does not listen: %v\n%s", err, m.output)
		}
	}
}

// Kill ends it like a crash: nothing is saved.
func (m *Mosquitto) Kill() { m.end(os.Kill) }

// Stop shuts it down: with "persistence true" it saves its state.
func (m *Mosquitto) Stop() { m.end(os.Interrupt) }

func (m *Mosquitto) end(signal os.Signal) {
	_ = m.process.Process.Signal(signal) // it may have ended before
	<-m.ended
}

// Log returns its output so far.
func (m *Mosquitto) Log() string { return m.output.String() }

// program prefers the path that Debian installs it to, which an ordinary user's PATH lacks.
func program() string {
	if _, err := os.Stat("/usr/sbin/mosquitto"); err == nil {
		return "/usr/sbin/mosquitto"
	}
	return "mosquitto"
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
