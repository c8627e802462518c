package bridge_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
)

// A request that one machine passes to another is answered once: whoever sends its messages again, which needs no key, has no effect.
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
	stop, err := bridge.AnswerRequests(dir, 1, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	resend := s.Resend("$GRAPH2MQTT.*.http.1", 4) // two tickets, the change, and what only reads
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
