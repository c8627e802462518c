package bridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// memoryOf runs a Python script and prints the largest amount of memory that it used.
const memoryOf = `
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(open("/proc/self/status").read() if sys.platform == "linux" else "VmHWM: 0 kB")
`

// runImport runs docs/import.py, and kills it when the channel is closed.
func (h *harness) runImport(t *testing.T, sensor, operation, request, file string, kill <-chan struct{}) (memory int, err error) {
	t.Helper()
	address, err := url.Parse(h.Broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	script := exec.CommandContext(ctx, "python3", "-c", memoryOf, "../../docs/import.py", sensor, operation, request, h.path(file), "-h", address.Hostname(), "-p", address.Port())
	script.WaitDelay = waitTimeout // for the program that it runs
	ended := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		select {
		case <-kill:
			cancel()
		case <-ended:
		}
	})
	output, err := script.Output()
	close(ended)
	killer.Wait()
	if err != nil {
		return 0, err
	}
	kilobytes := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(output)
	if kilobytes == nil {
		t.Fatalf("the script printed %s", output)
	}
	memory, err = strconv.Atoi(string(kilobytes[1]))
	return memory << 10, err
}

// lines returns how often each value of a key is in a file of JSON objects.
func lines(t *testing.T, file, key string) map[string]int {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := map[string]int{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var item map[string]any
		if err := json.Unmarshal(s.Bytes(), &item); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		found[fmt.Sprint(item[key])]++
	}
	return found
}

// docs/import.py imports years in constant memory, and goes on after it was killed and the bridge was started again.
func TestImportingYears(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"python3", "mosquitto_rr", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skipf("%s is not installed: %v", name, err)
		}
	}
	h := newHarness(t)
	begin := time.Date(2016, 1, 4, 9, 0, 0, 0, time.UTC)
	const events, mails = 2000, 450 // in ten years
	for i := range events {
		start := begin.Add(time.Duration(i) * 43 * time.Hour)
		h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: fmt.Sprint("Meeting ", i), Start: start, End: start.Add(time.Hour), Body: "<p>" + strings.Repeat("agenda ", 200) + "</p>"})
	}
	for i := range mails {
		h.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: fmt.Sprint("Mail ", i), Received: begin.Add(time.Duration(i) * time.Hour)})
	}
	h.one("", "calendar: {type: calendar, on_demand: true, interval: 1h}", "mail: {type: email, on_demand: true, interval: 1h}")
	h.SignIn("work")
	h.Start()

	const month = `{"start": "2016-01-01", "end": "2016-02-01"}`
	if _, err := h.runImport(t, "work/calendar", "list", `{"start": "2016-01-01", "end": "2015-01-01"}`, "month.jsonl", nil); err == nil {
		t.Error("a wrong request is accepted")
	}
	var exit *exec.ExitError
	_, err := h.runImport(t, "work/calendar", "get", `{"event_id": "x"}`, "one.jsonl", nil)
	if want := "work/calendar get: this operation has no pages to import"; !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), want) {
		t.Errorf("without pages: got %v, want %s", err, want)
	}
	_, err = h.runImport(t, "wrok/calendar", "list", month, "typo.jsonl", nil)
	if want := "wrok/calendar: the broker has nothing on graph2mqtt/wrok/calendar/availability"; !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), want) {
		t.Errorf("a mistyped account: got %v, want %s", err, want)
	}
	away, err := exec.CommandContext(t.Context(), "python3", "../../docs/import.py", "work/calendar", "list", month, h.path("away.jsonl"), "-h", "127.0.0.1", "-p", "1").CombinedOutput()
	if want := "Connection refused\nmosquitto_sub failed; its message is above"; err == nil || !strings.Contains(string(away), want) {
		t.Errorf("without a broker: got %v, %s, want %s", err, away, want)
	}
	small, err := h.runImport(t, "work/calendar", "list", month, "month.jsonl", nil) // the file of the wrong request does not matter
	if err != nil {
		t.Fatal(err)
	}
	if n := len(lines(t, h.path("month.jsonl"), "event_id")); n < 14 || n > 19 {
		t.Errorf("%d events of a month", n)
	}
	if _, err := h.runImport(t, "work/calendar", "list", month, "month.jsonl", nil); err == nil {
		t.Error("the file of an earlier import is overwritten")
	}

	const decade = `{"start": "2016-01-01", "end": "2026-01-01"}`
	kill := make(chan struct{})
	killOnce := sync.OnceFunc(func() { close(kill) })
	h.Microsoft.OnRequest(func(simulator.Request) {
		if state, err := os.ReadFile(h.path("decade.jsonl.state")); err == nil && !strings.Contains(string(state), `"cursor": null`) {
			killOnce() // while it waits for another page
		}
	})
	if _, err := h.runImport(t, "work/calendar", "list", decade, "decade.jsonl", kill); err == nil {
		t.Fatal("the script was not killed")
	}
	h.Microsoft.OnRequest(nil)
	first := lines(t, h.path("decade.jsonl"), "event_id")
	if n := len(first); n == 0 || n == events {
		t.Fatalf("%d events before the script was killed", n)
	}
	h.Stop()
	h.Start()
	large, err := h.runImport(t, "work/calendar", "list", decade, "decade.jsonl", nil)
	if err != nil {
		t.Fatal(err)
	}
	all := lines(t, h.path("decade.jsonl"), "event_id")
	for id, n := range all {
		if n != 1 {
			t.Errorf("%s was imported %d times", id, n)
		}
	}
	if len(all) != events {
		t.Errorf("%d events, want %d", len(all), events)
	}
	t.Logf("memory of the script: %d KiB for a month, %d KiB for ten years", small>>10, large>>10)
	if large > small+10<<20 {
		t.Errorf("the script needs %d KiB for ten years, and %d KiB for a month", large>>10, small>>10)
	}
	if _, err := os.Stat(h.path("decade.jsonl.state")); err == nil {
		t.Error("the state of a complete import was not removed")
	}

	if _, err := h.runImport(t, "work/mail", "list", `{"folder": "all", "limit": 200}`, "mails.jsonl", nil); err != nil {
		t.Fatal(err)
	}
	found := lines(t, h.path("mails.jsonl"), "message_id")
	for id, n := range found {
		if n != 1 {
			t.Errorf("%s was imported %d times", id, n)
		}
	}
	if len(found) < mails {
		t.Errorf("%d mails, want %d", len(found), mails)
	}
}
