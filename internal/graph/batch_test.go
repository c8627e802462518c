package graph_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

type contextKey struct{}

func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, graph.Options{})
		var mu sync.Mutex
		var asked [][]string
		ask := func(ctx context.Context, keys []string) (map[string]int, error) {
			if ctx.Value(contextKey{}) != nil {
				t.Error("the context is that of one of the callers")
			}
			mu.Lock()
			asked = append(asked, slices.Sorted(slices.Values(keys)))
			mu.Unlock()
			time.Sleep(time.Second)
			answers := map[string]int{}
			for _, k := range keys {
				if k != "nobody" {
					answers[k] = len(k)
				}
			}
			return answers, nil
		}
		var wg sync.WaitGroup
		want := func(key string, after time.Duration, length int) {
			wg.Go(func() {
				time.Sleep(after)
				ctx := context.WithValue(t.Context(), contextKey{}, true)
				if got, err := graph.Batch(ctx, c, "read the presences", key, ask); err != nil || got != length {
					t.Errorf("%s: %d, %v", key, got, err)
				}
			})
		}
		want("a", 0, 1)
		want("bb", 20*time.Millisecond, 2)
		want("a", 49*time.Millisecond, 1)
		want("late", 110*time.Millisecond, 4)
		wg.Go(func() {
			_, err := graph.Batch(t.Context(), c, "read the presences", "nobody", ask)
			wants(t, err, "read the presences: the answer does not have it", graph.Error{Reason: graph.NotFound})
		})
		wg.Go(func() { // of another type, so another question
			got, err := graph.Batch(t.Context(), c, "read the presences", 7, func(context.Context, []int) (map[int]string, error) { return map[int]string{7: "seven"}, nil })
			if err != nil || got != "seven" {
				t.Errorf("got %q, %v", got, err)
			}
		})
		wg.Wait()
		if diff := cmp.Diff([][]string{{"a", "bb", "nobody"}, {"late"}}, asked); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
	})
}

// A batch takes callers as long as they keep coming, but not for ever.
func TestBatchOfManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, graph.Options{})
		var mu sync.Mutex
		var asked []int
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 39 * time.Millisecond)
				_, err := graph.Batch(t.Context(), c, "read", i, func(_ context.Context, keys []int) (map[int]int, error) {
					mu.Lock()
					defer mu.Unlock()
					asked = append(asked, len(keys))
					answers := map[int]int{}
					for _, k := range keys {
						answers[k] = k
					}
					return answers, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if diff := cmp.Diff([]int{26, 4}, asked); diff != "" { // the first second, and the rest
			t.Errorf("asked for so many at a time (-want +got):\n%s", diff)
		}
	})
}

// Callers of one group do not wait for those of another.
func TestBatchOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, graph.Options{})
		hung := make(chan struct{})
		slow, fast := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := graph.BatchOf(t.Context(), c, "read", "slow", 1, func(context.Context, []int) (map[int]int, error) { <-hung; return map[int]int{1: 1}, nil })
			slow <- err
		}()
		go func() {
			_, err := graph.BatchOf(t.Context(), c, "read", "fast", 2, func(context.Context, []int) (map[int]int, error) { return map[int]int{2: 2}, nil })
			fast <- err
		}()
		if err := <-fast; err != nil {
			t.Error(err)
		}
		close(hung)
		if err := <-slow; err != nil {
			t.Error(err)
		}
	})
}

func TestBatchFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, graph.Options{})
		failure := &graph.Error{Reason: graph.Network, Op: "read"}
		var wg sync.WaitGroup
		for key := range 3 {
			wg.Go(func() {
				_, err := graph.Batch(t.Context(), c, "fail", key, func(context.Context, []int) (map[int]int, error) { return nil, failure })
				if !errors.Is(err, failure) {
					t.Errorf("got %v", err)
				}
				_, err = graph.Batch(t.Context(), c, "panic", key, func(context.Context, []int) (map[int]int, error) { panic("oh") })
				if err == nil || err.Error() != "panic: panic: oh" {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
	})
}

func TestBatchLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, graph.Options{})
		stopped := 0
		answer := make(chan struct{})
		ask := func(ctx context.Context, keys []int) (map[int]int, error) {
			select {
			case <-answer:
				return map[int]int{1: 1, 2: 2}, nil
			case <-ctx.Done():
				time.Sleep(time.Second) // not at once
				stopped++
				return nil, ctx.Err()
			}
		}
		for _, wait := range []time.Duration{10 * time.Millisecond, time.Second} { // while others may join, and while it is asked
			// The first leaves, the second gets its answer.
			first, leave := context.WithCancel(t.Context())
			errs := make(chan error, 2)
			go func() { _, err := graph.Batch(first, c, "wait", 1, ask); errs <- err }()
			synctest.Wait()
			go func() { _, err := graph.Batch(t.Context(), c, "wait", 2, ask); errs <- err }()
			time.Sleep(wait)
			leave()
			if err := <-errs; !errors.Is(err, context.Canceled) || err.Error() != "wait: context canceled" {
				t.Errorf("a caller that left: %v", err)
			}
			time.Sleep(time.Minute)
			close(answer)
			if err := <-errs; err != nil {
				t.Errorf("who stayed: %v", err)
			}
			answer = make(chan struct{})

			// Both leave: then nothing goes on.
			both, leave := context.WithCancel(t.Context())
			for key := range 2 {
				go func() { _, err := graph.Batch(both, c, "wait", key, ask); errs <- err }()
			}
			time.Sleep(wait)
			leave()
			for range 2 {
				if err := <-errs; !errors.Is(err, context.Canceled) {
					t.Errorf("a caller that left: %v", err)
				}
			}
			if want := map[bool]int{true: 1}[wait == time.Second]; stopped != want {
				t.Errorf("after %v: stopped %d times", wait, stopped)
			}
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := graph.Batch(gone, c, "wait", 1, ask); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled beforehand: %v", err)
		}
	})
}

func TestBatchManyGoroutines(t *testing.T) {
	c := client(t, graph.Options{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 5 {
				ctx, cancel := context.WithCancel(t.Context())
				if j%2 == 1 {
					go cancel()
				}
				key := fmt.Sprint(i % 4)
				got, err := graph.Batch(ctx, c, "keys", key, func(_ context.Context, keys []string) (map[string]string, error) {
					answers := map[string]string{}
					for _, k := range keys {
						answers[k] = k
					}
					return answers, nil
				})
				if err == nil && got != key || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %s, %v", key, got, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}
