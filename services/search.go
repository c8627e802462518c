package services

import (
	"context"
	"errors"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// searchInterval is the time between two calls of the function that [Search] is given.
const searchInterval = 5 * time.Second

// Search calls look until it finds what a request of unknown outcome made, at most for the time limit. Transient errors of look are
// ignored; others end the search.
func Search(ctx context.Context, limit time.Duration, look func(context.Context) (result any, found bool, err error)) (result any, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		result, found, err := look(ctx)
		var e *graph.Error
		switch {
		case found:
			return result, true, nil
		case ctx.Err() != nil:
			return nil, false, nil
		case err != nil && !(errors.As(err, &e) && e.Transient()):
			return nil, false, err
		}
		select {
		case <-ctx.Done():
			return nil, false, nil
		case <-time.After(searchInterval):
		}
	}
}
