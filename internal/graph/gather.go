package graph

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// gatherWindow is how long the first waits for others to ask the same.
const gatherWindow = 50 * time.Millisecond

type gatherKey[K comparable, V any] struct{ name string }

type gathered[K comparable, V any] struct {
	keys    []K
	callers int
	cancel  context.CancelFunc
	done    chan struct{} // then answers and err are there
	answers map[K]V
	err     error
}

// Batch asks once for what several sensors of an account want to know at about the same time, say the presence of 50 users:
// the keys asked for under one name within 50 ms go to one call of ask, that of the first. It is an error of the reason NotFound
// that the answer has nothing about key.
//
// The context that ask gets ends when all who wait for it have left, and the last one to leave waits for ask to return.
func Batch[K comparable, V any](ctx context.Context, c *Client, name string, key K, ask func(context.Context, []K) (map[K]V, error)) (V, error) {
	var none V
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	id := gatherKey[K, V]{name}
	c.gathering.Lock()
	g, ok := c.gathers[id].(*gathered[K, V])
	if !ok {
		g = &gathered[K, V]{done: make(chan struct{})}
		var shared context.Context
		shared, g.cancel = context.WithCancel(context.Background())
		c.gathers[id] = g
		go func() {
			defer close(g.done)
			defer g.cancel()
			g.run(shared, c, id, ask)
		}()
	}
	if !slices.Contains(g.keys, key) {
		g.keys = append(g.keys, key)
	}
	g.callers++
	c.gathering.Unlock()

	select {
	case <-g.done:
	case <-ctx.Done():
		c.gathering.Lock()
		g.callers--
		last := g.callers == 0
		if last {
			g.cancel()
			// Whoever comes now must not find what has been given up.
			if c.gathers[id] == any(g) {
				delete(c.gathers, id)
			}
		}
		c.gathering.Unlock()
		if last {
			<-g.done
		}
		return none, fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if g.err != nil {
		return none, g.err
	}
	v, ok := g.answers[key]
	if !ok {
		return none, &Error{Reason: NotFound, Op: name, Message: "the answer does not have it"}
	}
	return v, nil
}

func (g *gathered[K, V]) run(ctx context.Context, c *Client, id gatherKey[K, V], ask func(context.Context, []K) (map[K]V, error)) {
	window := time.NewTimer(gatherWindow)
	defer window.Stop()
	select {
	case <-window.C:
	case <-ctx.Done():
		g.err = ctx.Err()
		return
	}
	c.gathering.Lock()
	if c.gathers[id] == any(g) {
		delete(c.gathers, id)
	}
	keys := g.keys
	c.gathering.Unlock()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a request for several sensors panicked", "request", id.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			g.err = fmt.Errorf("%s: panic: %v", id.name, p)
		}
	}()
	g.answers, g.err = ask(ctx, keys)
}
