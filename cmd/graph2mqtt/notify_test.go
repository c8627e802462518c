package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A manager is the side of systemd.
type manager struct {
	*testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn}
}

// wait waits for a report that contains a line.
func (m *manager) wait(line string) {
	m.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(waitTimeout)); err != nil {
		m.Fatal(err)
	}
	b := make([]byte, 4096)
	for seen := ""; ; {
		n, err := m.conn.Read(b)
		if err != nil {
			m.Fatalf("no %s in:\n%s: %v", line, seen, err)
		}
		report := string(b[:n]) + "\n"
		if strings.Contains(report, line+"\n") {
			return
		}
		seen += report
	}
}

func TestReportsToSystemd(t *testing.T) {
	h := newHarness(t)
	for _, name := range []string{filepath.Join(h.dir, "notify"), "@graph2mqtt-test-" + strconv.Itoa(os.Getpid())} {
		m := newManager(t, name)
		h.variables = []string{"NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=20000", "WATCHDOG_PID=" + strconv.Itoa(os.Getpid())}
		h.configure(t, "mqtt://127.0.0.1:1")
		p := h.start(t, "run")
		m.wait("READY=1") // a broker that starts later is no failure
		m.wait("WATCHDOG=1")
		m.wait("STATUS=Not connected to the broker")
		broker := startBroker(t)
		h.configure(t, broker.URL())
		p.interrupt()
		m.wait("STOPPING=1")
		p.wait(t)

		p = h.start(t, "run")
		m.wait("STATUS=Connected to the broker")
		p.interrupt()
		p.wait(t)
	}
}

// The watchdog must not be satisfied by a bridge that hangs.
func TestNoReportOfABridgeThatHangs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	m := newManager(t, name)
	hangs, released := make(chan struct{}), make(chan struct{})
	n := notifier{socket: name, watchdog: 10 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	var running sync.WaitGroup
	running.Go(func() {
		n.run(ctx, func() string {
			if calls.Add(1) == 2 { // the first one is for READY=1
				close(hangs)
				<-released
			}
			return "Connected to the broker"
		})
	})
	defer running.Wait()
	defer cancel()
	m.wait("READY=1")
	<-hangs
	if err := m.conn.SetReadDeadline(time.Now().Add(10 * n.watchdog)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes were reported while it hung", n)
	}
	close(released)
	m.wait("WATCHDOG=1")
}

func TestWatchdogOfAnotherProcess(t *testing.T) {
	for usec, want := range map[string]time.Duration{"": 0, "x": 0, "0": 0, "-1": 0, "30000000": 30 * time.Second} {
		p := &program{environ: []string{"NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=" + usec}}
		if got := p.newNotifier().watchdog; got != want {
			t.Errorf("%s: got %s, want %s", usec, got, want)
		}
	}
	p := &program{environ: []string{"NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=30000000", "WATCHDOG_PID=1"}}
	if got := p.newNotifier().watchdog; got != 0 {
		t.Errorf("the watchdog of another process: %s", got)
	}
}
