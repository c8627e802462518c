package runtime

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A permission is a Guard whose permission a test ends.
type permission struct {
	lifetime func() context.Context
	ended    atomic.Pointer[error] // also while the context is not done yet, as after a pause of the process
}

func (p *permission) Context() context.Context { return p.lifetime() }

func (p *permission) Err() error {
	if err := p.ended.Load(); err != nil {
		return *err
	}
	return nil
}

func TestGuardedTransport(t *testing.T) {
	lost := errors.New("the permission has ended")
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if r.URL.Path == "/slow" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithCancelCause(t.Context())
	p := &permission{lifetime: func() context.Context { return ctx }}
	client := &http.Client{Transport: guardedTransport{http.DefaultTransport, p}}
	defer client.CloseIdleConnections()

	response, err := client.Post(server.URL+"/echo", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(response.Body); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	<-arrived

	// A request that is under way is canceled.
	slow := make(chan error, 1)
	go func() {
		response, err := client.Get(server.URL + "/slow")
		if err == nil {
			err = response.Body.Close()
		}
		slow <- err
	}()
	<-arrived
	cancel(lost)
	if err := <-slow; err == nil {
		t.Error("the request under way succeeded")
	}

	// No further one is sent, whatever the context says.
	p.lifetime = t.Context
	p.ended.Store(&lost)
	if _, err := client.Post(server.URL+"/echo", "text/plain", strings.NewReader("late")); !errors.Is(err, lost) {
		t.Errorf("late request: %v", err)
	}
	if n := len(arrived); n != 0 {
		t.Errorf("%d requests arrived late", n)
	}
}
