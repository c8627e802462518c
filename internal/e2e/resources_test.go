//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestResources bounds the memory and CPU time of a running bridge.
func TestResources(t *testing.T) {
	env := NewEnvironment(t, MosquittoOptions{})
	env.Configure(t, nil, "out_of_office: {type: auto_reply, interval: 5s}", "calendar: {type: calendar, interval: 5s}")
	day := time.Now().Truncate(24 * time.Hour)
	for i := range 100 {
		begin := day.Add(time.Duration(i) * 15 * time.Minute)
		env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{
			Subject: fmt.Sprintf("Meeting %d", i), Start: begin, End: begin.Add(10 * time.Minute), Body: strings.Repeat("<p>agenda</p>", 100),
		})
	}
	env.SignIn(t)
	var polls Recorder[simulator.Request]
	env.Microsoft.OnRequest(func(r simulator.Request) {
		if strings.Contains(r.Path, "/calendarView") {
			polls.Add(r)
		}
	})
	env.Start(t)
	poll := func(n int) {
		t.Helper()
		polls.Await(t, "polls", func(all []simulator.Request) bool { return len(all) >= n })
	}
	poll(6) // by then memory use is stable
	before, from := processorTime(t, env.Bridge.pid), time.Now()
	poll(10)
	took, used := time.Since(from), processorTime(t, env.Bridge.pid)-before
	memory := residentMemory(t, env.Bridge.pid)
	t.Logf("memory %.1f MiB; processor time %v in %v with 8 polls (%.2f %%)", float64(memory)/(1<<20), used, took.Round(time.Second), 100*float64(used)/float64(took))
	if memory > 30<<20 {
		t.Errorf("%d bytes of memory, want 30 MiB at most", memory)
	}
	if used > took/50 {
		t.Errorf("%v of processor time in %v, want 2 %% at most", used, took)
	}
}

// residentMemory returns a process's resident memory in bytes.
func residentMemory(t testing.TB, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if fields := strings.Fields(string(line)); len(fields) == 3 && fields[0] == "VmRSS:" {
			kilobytes, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("no VmRSS in %s", status)
	return 0
}

// processorTime returns a process's CPU time, to a hundredth of a second.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(stat), ") ") // the process name before it may contain any character
	var ticks int
	for _, field := range strings.Fields(fields)[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
