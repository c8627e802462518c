package graph

import "context"

type onceKey[T any] struct{ name string }

// onceSuccess keeps the first value.
type onceSuccess[T any] struct {
	sem   chan struct{} // held by the caller that asks
	value *T
}

// Once returns the value that ask returned when it first succeeded for this client and name. One caller at a time asks; others
// wait for it, and ask themselves if it failed.
func Once[T any](ctx context.Context, c *Client, name string, ask func() (T, error)) (T, error) {
	id := onceKey[T]{name}
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
