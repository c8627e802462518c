package graph

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// batchWindow bounds how long the first caller waits for others to join the batch.
const batchWindow = 50 * time.Millisecond

type batchKey[K comparable, V any] struct {
	name  string
	group any
}

type batch[K comparable, V any] struct {
	keys    []K
	callers int
	cancel  context.CancelFunc
	done    chan struct{} // closed when answers and err are set
	answers map[K]V
	err     error
}

// Batch joins what several sensors of an account read at about the same time, such as the presence of 50 users, into one call:
// the keys of all callers with the same name within 50 ms go to the ask of the first one. It returns an *Error with the reason
// NotFound if the answer lacks key.
//
// The context of ask ends when all callers have given up, and the last one to give up waits for ask to return.
func Batch[K comparable, V any](ctx context.Context, c *Client, name string, key K, ask func(context.Context, []K) (map[K]V, error)) (V, error) {
	return BatchOf(ctx, c, name, nil, key, ask)
}

// BatchOf is Batch for callers that also have the same group, a comparable value: those of other groups do not wait for ask.
func BatchOf[K comparable, V any](ctx context.Context, c *Client, name string, group any, key K, ask func(context.Context, []K) (map[K]V, error)) (V, error) {
	var none V
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	id := batchKey[K, V]{name, group}
	c.mu.Lock()
	b, ok := c.batches[id].(*batch[K, V])
	if !ok {
		b = &batch[K, V]{done: make(chan struct{})}
		var shared context.Context
		shared, b.cancel = context.WithCancel(context.Background())
		c.batches[id] = b
		go func() {
			defer close(b.done)
			defer b.cancel()
			b.run(shared, c, id, ask)
		}()
	}
	if !slices.Contains(b.keys, key) {
		b.keys = append(b.keys, key)
	}
	b.callers++
	c.mu.Unlock()

	select {
	case <-b.done:
	case <-ctx.Done():
		c.mu.Lock()
		b.callers--
		last := b.callers == 0
		if last {
			b.cancel()
			// A later caller must not join a canceled batch.
			if c.batches[id] == any(b) {
				delete(c.batches, id)
			}
		}
		c.mu.Unlock()
		if last {
			<-b.done
		}
		return none, fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if b.err != nil {
		return none, b.err
	}
	v, ok := b.answers[key]
	if !ok {
		return none, &Error{Reason: NotFound, Op: name, Message: "the answer does not have it"}
	}
	return v, nil
}

func (b *batch[K, V]) run(ctx context.Context, c *Client, id batchKey[K, V], ask func(context.Context, []K) (map[K]V, error)) {
	window := time.NewTimer(batchWindow)
	defer window.Stop()
	select {
	case <-window.C:
	case <-ctx.Done():
		b.err = ctx.Err()
		return
	}
	c.mu.Lock()
	if c.batches[id] == any(b) {
		delete(c.batches, id)
	}
	keys := b.keys
	c.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a batched request panicked", "request", id.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			b.err = fmt.Errorf("%s: panic: %v", id.name, p)
		}
	}()
	b.answers, b.err = ask(ctx, keys)
}
