package graph

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

const (
	// batchWindow bounds the time for which a batch waits for others after a caller has joined.
	batchWindow = 50 * time.Millisecond
	// maxBatchWindow bounds how long the first caller waits, while others keep joining: thousands do not do that within one window.
	maxBatchWindow = time.Second
)

type batchKey[K comparable, V any] struct {
	name  string
	group any
}

type batch[K comparable, V any] struct {
	keys    []K
	known   map[K]bool    // keys
	joined  chan struct{} // receives after a caller has joined
	callers int
	cancel  context.CancelFunc
	done    chan struct{} // closed when answers and err are set
	answers map[K]V
	err     error
}

// Batch joins what several sensors of an account read at about the same time, such as the presence of 50 users, into one call:
// the keys of all callers with the same name, each within 50 ms after another, go to the ask of the first one. It returns an *Error with the reason
// NotFound if the answer lacks key.
//
// The context of ask is in the background if that of the first caller is. It ends when all callers have given up, and the last one to give up
// waits for ask to return.
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
		b = &batch[K, V]{known: map[K]bool{}, joined: make(chan struct{}, 1), done: make(chan struct{})}
		var shared context.Context
		shared, b.cancel = context.WithCancel(inBackgroundAs(ctx))
		c.batches[id] = b
		go func() {
			defer close(b.done)
			defer b.cancel()
			b.run(shared, c, id, ask)
		}()
	}
	if !b.known[key] {
		b.known[key] = true
		b.keys = append(b.keys, key)
	}
	b.callers++
	select {
	case b.joined <- struct{}{}:
	default:
	}
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

// wait waits until no more callers join.
func (b *batch[K, V]) wait(ctx context.Context) error {
	window, end := time.NewTimer(batchWindow), time.NewTimer(maxBatchWindow)
	defer window.Stop()
	defer end.Stop()
	for {
		select {
		case <-b.joined:
			window.Reset(batchWindow)
		case <-window.C:
			return nil
		case <-end.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *batch[K, V]) run(ctx context.Context, c *Client, id batchKey[K, V], ask func(context.Context, []K) (map[K]V, error)) {
	if b.err = b.wait(ctx); b.err != nil {
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
