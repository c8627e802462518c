package bridge_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A request that one machine passes to another is executed once: sending its recorded messages again, which needs no key, has no effect.
func TestRelayedChangeSentAgain(t *testing.T) {
	s := natstest.New(t)
	dir := openMachine(t, s)
	var mu sync.Mutex
	var got []string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Method+" "+string(body))
		_, _ = io.WriteString(w, "done")
	})
	stop, err := bridge.AnswerRequests(dir, 1, func() bool { return true }, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	resend := s.Resend("$GRAPH2MQTT.*.http.>", 4) // two tickets, the change, and what only reads
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		response, err := bridge.AskRequest(dir, 1, httptest.NewRequestWithContext(t.Context(), method, "/api/actions", strings.NewReader("{}")))
		if err != nil || response.Status != http.StatusOK || string(response.Body) != "done" {
			t.Fatalf("%s: %+v, %v", method, response, err)
		}
	}
	resend()
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"POST {}", "GET {}"}, got); diff != "" {
		t.Error(diff)
	}
}

// A request fails soon after the machine that answers it has failed. A machine that may have lost the shard is not asked.
func TestRelayToAFailedMachine(t *testing.T) {
	s := natstest.New(t)
	asking, failing, former := openMachine(t, s), openMachine(t, s), openMachine(t, s)
	begun := make(chan struct{})
	if _, err := bridge.AnswerRequests(failing, 1, func() bool { return true }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		select {} // the machine has failed
	}), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	stop, err := bridge.AnswerRequests(former, 1, func() bool { return false }, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a machine without the shard is asked")
	}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	asked := make(chan error, 1)
	go func() {
		for { // the servers know a little later who answers
			_, err := bridge.AskRequest(asking, 1, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/dav/", strings.NewReader("{}")))
			select {
			case <-begun:
				asked <- err
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	<-begun
	failing.Close()
	select {
	case err := <-asked:
		if !errors.Is(err, state.ErrUnanswered) {
			t.Errorf("the error is %v", err)
		}
	case <-time.After(waitTimeout):
		t.Error("the request does not fail")
	}
}
