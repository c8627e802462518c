package todo

import (
	"context"
	"errors"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	// verifyTime bounds how long something is looked for; verifyPause separates the attempts.
	verifyTime  = 30 * time.Second
	verifyPause = 5 * time.Second
)

// verify calls look, with the id of the list, until it finds what a request without an answer made.
func verify(ctx context.Context, g *graph.Client, target Target, look func(ctx context.Context, list string) (any, bool, error)) (any, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	for {
		list, err := target.id(ctx, g)
		var found any
		ok := false
		if err == nil {
			found, ok, err = look(ctx, list)
		}
		var e *graph.Error
		switch {
		case ok:
			return found, true, nil
		case ctx.Err() != nil:
			return nil, false, nil
		case err != nil && !(errors.As(err, &e) && e.Transient()):
			return nil, false, err
		}
		select {
		case <-ctx.Done():
			return nil, false, nil
		case <-time.After(verifyPause):
		}
	}
}
