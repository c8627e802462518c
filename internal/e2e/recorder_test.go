//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// waitTimeout bounds every wait of a test. A loaded machine may need most of it; a test that passes never waits for it to end.
const waitTimeout = 3 * time.Minute

// A Recorder collects items while a test runs. Tests wait for items.
type Recorder[T any] struct {
	mu    sync.Mutex
	items []T
	ended error
	grew  chan struct{} // closed and replaced whenever items or ended change
}

// Add appends an item.
func (r *Recorder[T]) Add(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items = append(r.items, item)
	r.changed()
}

// End ends the recording: every wait that is not satisfied returns why.
func (r *Recorder[T]) End(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = why
	r.changed()
}

func (r *Recorder[T]) changed() {
	if r.grew != nil {
		close(r.grew)
		r.grew = nil
	}
}

// All returns the items recorded so far.
func (r *Recorder[T]) All() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.items)
}

// Since returns the items after the first n.
func (r *Recorder[T]) Since(n int) []T { return r.All()[n:] }

// Len returns the number of items recorded so far.
func (r *Recorder[T]) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.items)
}

// Until returns as soon as done returns true for the recorded items. It calls done at once and after every change.
func (r *Recorder[T]) Until(ctx context.Context, done func([]T) bool) error {
	for {
		r.mu.Lock()
		if r.grew == nil {
			r.grew = make(chan struct{})
		}
		items, ended, grew := slices.Clone(r.items), r.ended, r.grew
		r.mu.Unlock()
		switch {
		case done(items):
			return nil
		case ended != nil:
			return ended
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Await waits until done returns true for the recorded items, and fails the test after waitTimeout.
func (r *Recorder[T]) Await(t testing.TB, what string, done func([]T) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	if err := r.Until(ctx, done); err != nil {
		t.Fatalf("waiting for %s: %v; so far:\n%s", what, err, tail(r.All(), 40))
	}
}

// AwaitItem waits for a matching item after the first n, and returns it.
func (r *Recorder[T]) AwaitItem(t testing.TB, what string, n int, match func(T) bool) T {
	t.Helper()
	var found T
	r.Await(t, what, func(items []T) bool {
		i := slices.IndexFunc(items[n:], match)
		if i >= 0 {
			found = items[n+i]
		}
		return i >= 0
	})
	return found
}

func tail[T any](items []T, n int) string {
	var s string
	if len(items) > n {
		s = fmt.Sprintf("\t… %d before\n", len(items)-n)
		items = items[len(items)-n:]
	}
	for _, item := range items {
		s += fmt.Sprintf("\t%v\n", item)
	}
	return s
}

func TestRecorder(t *testing.T) {
	var r Recorder[int]
	go func() {
		for i := range 100 {
			r.Add(i)
		}
	}()
	if got := r.AwaitItem(t, "50", 0, func(i int) bool { return i == 50 }); got != 50 {
		t.Errorf("got %d", got)
	}
	r.Await(t, "all", func(items []int) bool { return len(items) == 100 })
	if got := r.AwaitItem(t, "one after the first 60", 60, func(int) bool { return true }); got != 60 {
		t.Errorf("got %d", got)
	}

	why := errors.New("it ended")
	r.End(why)
	if err := r.Until(t.Context(), func([]int) bool { return false }); err != why {
		t.Errorf("got %v, want %v", err, why)
	}
}
