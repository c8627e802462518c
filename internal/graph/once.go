package graph

import (
	"context"
	"maps"
)

type onceKey[T any] struct {
	name string
	list bool // Relist forgets the value
}

func (k onceKey[T]) isList() bool { return k.list }

// onceSuccess keeps the first value.
type onceSuccess[T any] struct {
	sem   chan struct{} // held by the caller that asks
	value *T
}

// Once returns the value that ask returned when it first succeeded for this client and name. One caller at a time asks; others
// wait for it, and ask themselves if it failed.
func Once[T any](ctx context.Context, c *Client, name string, ask func() (T, error)) (T, error) {
	return once(ctx, c, onceKey[T]{name: name}, ask)
}

// OnceListed is Once for what a list of Graph's shows, such as the id that belongs to a name. Relist makes it ask again.
func OnceListed[T any](ctx context.Context, c *Client, name string, ask func() (T, error)) (T, error) {
	return once(ctx, c, onceKey[T]{name, true}, ask)
}

// Relist forgets the values of OnceListed, also those of the clients of ForMailbox.
func (c *Client) Relist() {
	for _, of := range c.withMailboxes() {
		of.mu.Lock()
		maps.DeleteFunc(of.onces, func(key, _ any) bool { return key.(interface{ isList() bool }).isList() })
		of.mu.Unlock()
	}
}

// Forget forgets the values of Once and OnceListed: another user is signed in.
func (c *Client) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.onces)
}

func once[T any](ctx context.Context, c *Client, id onceKey[T], ask func() (T, error)) (T, error) {
	c.mu.Lock()
	o, ok := c.onces[id].(*onceSuccess[T])
	if !ok {
		o = &onceSuccess[T]{sem: make(chan struct{}, 1)}
		c.onces[id] = o
	}
	c.mu.Unlock()
	var none T
	select {
	case o.sem <- struct{}{}:
		defer func() { <-o.sem }()
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if o.value == nil {
		value, err := ask()
		if err != nil {
			return none, err
		}
		o.value = &value
	}
	return *o.value, nil
}
