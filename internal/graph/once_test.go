package graph_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

func whoami(ctx context.Context, c *graph.Client) (string, error) {
	return graph.Once(ctx, c, "who", func() (string, error) {
		user, err := graph.Get[event](ctx, c, "read who is signed in", c.Me().ToGetRequestInformation, nil)
		return user.ID, err
	})
}

func TestOnce(t *testing.T) {
	var mu sync.Mutex
	asked, status := 0, 503
	c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return graphtest.Answer(status, `{"id": "1"}`), nil
	})})
	if _, err := whoami(t.Context(), c); err == nil {
		t.Error("no error")
	}
	status = 200
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if got, err := whoami(t.Context(), c); err != nil || got != "1" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestOnceOfAnImpatientCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			select {
			case <-answer:
				return graphtest.Answer(200, `{"id": "1"}`), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})})
		first, leave := context.WithCancel(t.Context())
		second, give := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		go func() { _, err := whoami(first, c); errs <- err }()
		synctest.Wait()
		go func() { _, err := whoami(second, c); errs <- err }()
		go func() { _, err := whoami(t.Context(), c); errs <- err }()
		synctest.Wait()
		give()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		leave()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(answer)
		if err := <-errs; err != nil {
			t.Error(err)
		}
	})
}
