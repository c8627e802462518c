package bridge_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	stdruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

const webPassword = "hunter2hunter2"

// listening matches the log line about a listener.
var listening = regexp.MustCompile(`msg=listening component=http address=(\S+)`)

// web waits for the n-th listener, counted from 1, and returns its address.
func (h *harness) web(n int) string {
	h.t.Helper()
	return h.line(n, listening)[1]
}

// line waits until the log has n lines that match, and returns the last match.
func (h *harness) line(n int, pattern *regexp.Regexp) []string {
	h.t.Helper()
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if found := pattern.FindAllStringSubmatch(h.Log.String(), -1); len(found) >= n {
			return found[n-1]
		}
	}
	h.t.Fatalf("the log has no %d lines like %s", n, pattern)
	return nil
}

// get returns the code and the body of an answer; 0 without one.
func (h *harness) get(address, password string) (int, string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+address, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if password != "" {
		r.SetBasicAuth("anybody", password)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: waitTimeout}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// until waits until an address answers with a code.
func (h *harness) until(address, password string, want int) {
	h.t.Helper()
	code, body := 0, ""
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if code, body = h.get(address, password); code == want {
			return
		}
	}
	h.t.Fatalf("%s answers %d, want %d: %s", address, code, want, body)
}

// Health depends neither on Microsoft nor on a sign-in, readiness on the broker.
func TestHealthOfTheListener(t *testing.T) {
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0'}"
	h.one("", outOfOffice)
	h.Start() // nobody has signed in
	address := h.web(1)
	h.until(address+"/healthz", "", http.StatusOK)
	h.until(address+"/readyz", "", http.StatusOK)
	h.StopBroker()
	h.until(address+"/readyz", "", http.StatusServiceUnavailable)
	h.until(address+"/healthz", "", http.StatusOK)
	h.StartBroker(strings.TrimPrefix(h.Broker.URL(), "mqtt://"))
	h.until(address+"/readyz", "", http.StatusOK)
	h.Stop()
	if code, _ := h.get(address+"/healthz", ""); code != 0 {
		t.Errorf("answers %d after the end", code)
	}
}

// A reload that changes the listener leaves everything else as it is.
func TestReloadOfTheListener(t *testing.T) {
	h := newHarness(t)
	h.one("", outOfOffice)
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	mark := h.settledMark()
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	reload := func(content string) {
		h.http = content
		h.one("", outOfOffice)
		h.Reload()
	}

	reload("{listen: '127.0.0.1:0', password: " + webPassword + "}")
	first := h.web(1)
	h.until(first+"/healthz", "", http.StatusOK)

	reload("{listen: '" + first + "', password: " + webPassword + "}") // the same port again
	h.web(2)
	h.until(first+"/healthz", "", http.StatusOK)

	reload("{listen: '" + used.Addr().String() + "', password: " + webPassword + "}")
	h.line(1, regexp.MustCompile(`HTTP listener not changed, keeping the running one.*address already in use`))
	if again := h.web(3); again != first {
		t.Errorf("listens on %s instead of %s", again, first)
	}
	h.until(first+"/healthz", "", http.StatusOK)

	reload("")
	h.line(4, regexp.MustCompile(`configuration reloaded`))
	if code, _ := h.get(first+"/healthz", ""); code != 0 {
		t.Errorf("answers %d without a listener", code)
	}
	for _, m := range h.since(mark) {
		if m.Payload == "offline" {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}
}

// Without a listener nothing of it runs.
func TestNoListener(t *testing.T) {
	running := func() int {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:stdruntime.Stack(stacks, true)]
		n := 0
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "graph2mqtt/internal/web") || strings.Contains(stack, "net/http.(*Server).Serve(") && !strings.Contains(stack, "simulator") {
				n++
			}
		}
		return n
	}
	for _, test := range []struct {
		http string
		some bool
	}{{"", false}, {"{metrics: true, calendars: true}", false}, {"{listen: '127.0.0.1:0'}", true}} {
		t.Run(fmt.Sprintf("%q", test.http), func(t *testing.T) {
			h := newHarness(t)
			h.http = test.http
			h.one("", outOfOffice)
			before := running()
			h.Start()
			h.Shows("graph2mqtt/bridge/state", "online")
			if test.some {
				h.web(1)
			}
			if n := running() - before; n > 0 != test.some {
				t.Errorf("%d goroutines", n)
			}
			if got := listening.MatchString(h.Log.String()); got != test.some {
				t.Errorf("listens: %v", got)
			}
		})
	}
}

// A bridge that cannot listen does not start.
func TestListenerThatCannotListen(t *testing.T) {
	h := newHarness(t)
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	h.http = "{listen: '" + used.Addr().String() + "'}"
	h.one("", outOfOffice)
	c := h.load()
	_, err = bridge.New(bridge.Options{Config: c, Kinds: runtime.Kinds(), Dir: h.open(c), Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	want := "http.listen: listen tcp " + used.Addr().String() + ": bind: address already in use"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
