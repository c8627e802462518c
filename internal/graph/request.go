package graph

import (
	"context"
	"fmt"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

// None is the type of the answer to a request without one.
type None = struct{}

// Get sends the request that build returns for configuration, which may be nil, and returns the decoded answer:
//
//	graph.Get[user](ctx, g, "read the user", g.Me().ToGetRequestInformation, nil)
//
// op names the attempted action. For errors see [Client.Do].
func Get[T, C any](ctx context.Context, g *Client, op string, build func(context.Context, *C) (*abstractions.RequestInformation, error), configuration *C) (T, error) {
	var out T
	r, err := build(ctx, configuration)
	if err != nil {
		return out, unbuildable(op, err)
	}
	err = g.Do(ctx, op, r, &out)
	return out, err
}

// GetAll is Get for a collection: it returns the items of all pages.
func GetAll[T, C any](ctx context.Context, g *Client, op string, build func(context.Context, *C) (*abstractions.RequestInformation, error), configuration *C) ([]T, error) {
	r, err := build(ctx, configuration)
	if err != nil {
		return nil, unbuildable(op, err)
	}
	return List[T](ctx, g, op, r)
}

// Send sends the request that build returns for body and configuration, a POST or a PATCH, and returns the decoded answer. With T
// None the answer is ignored; otherwise, where Graph answered without one, T is its zero value.
func Send[T, B, C any](ctx context.Context, g *Client, op string, build func(context.Context, B, *C) (*abstractions.RequestInformation, error), body B, configuration *C) (T, error) {
	var out T
	r, err := build(ctx, body, configuration)
	if err != nil {
		return out, unbuildable(op, err)
	}
	if _, none := any(out).(None); none {
		return out, g.Do(ctx, op, r, nil)
	}
	err = g.Do(ctx, op, r, &out)
	return out, err
}

// Call sends a request that has neither a body nor an answer: a DELETE, or an action without parameters.
func Call[C any](ctx context.Context, g *Client, op string, build func(context.Context, *C) (*abstractions.RequestInformation, error), configuration *C) error {
	r, err := build(ctx, configuration)
	if err != nil {
		return unbuildable(op, err)
	}
	return g.Do(ctx, op, r, nil)
}

func unbuildable(op string, err error) error {
	return fmt.Errorf("%s: the request cannot be made: %w", op, err)
}
