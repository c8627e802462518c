package bridge

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

// While the requests of a bridge that ended are waited for, the listener goes on: its health checks, for example, need the bridges, too.
func TestShardListenerWaitsWithoutLock(t *testing.T) {
	l := &ShardListener{options: ShardListenerOptions{File: &ConfigFile{}}, bridges: map[*Bridge]*shardBridge{}}
	b := &Bridge{options: Options{File: &ConfigFile{}}}
	remove := l.Add(b)
	isFree := false
	l.bridges[b].stop = func() {
		if isFree = l.mu.TryLock(); isFree {
			l.mu.Unlock()
		}
	}
	remove()
	if !isFree || len(l.running()) != 0 {
		t.Errorf("the listener waits with its lock, and has %d bridges", len(l.running()))
	}
}

// A bridge that has ended begins no request, which it could execute in vain or a second time.
func TestEndedBridge(t *testing.T) {
	running, end := context.WithCancel(t.Context())
	asked := 0
	h := until(running, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		end()
		<-r.Context().Done()
	}))
	for range 2 {
		if response := web.Record(h, httptest.NewRequest(http.MethodPost, "/api/actions", nil), slog.New(slog.DiscardHandler)); response.Status != 0 {
			t.Errorf("got %+v", response)
		}
	}
	if asked != 1 {
		t.Errorf("%d requests began", asked)
	}
}
