package todo

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// verifyTime bounds how long something is looked for.
const verifyTime = 30 * time.Second

// verify calls look, with the id of the list, until it finds what a request without an answer made.
func verify(ctx context.Context, g *graph.Client, target Target, look func(ctx context.Context, list string) (any, bool, error)) (any, bool, error) {
	return services.Search(ctx, verifyTime, func(ctx context.Context) (any, bool, error) {
		list, err := target.id(ctx, g)
		if err != nil {
			return nil, false, err
		}
		return look(ctx, list)
	})
}
