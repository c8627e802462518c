package graph

import (
	"context"
	"net/http"
	"slices"
	"sync"
)

// maxTracedWrites bounds the request ids that a WriteTrace holds.
const maxTracedWrites = 100

// A WriteTrace holds Graph's ids of requests that may have changed something.
type WriteTrace struct {
	mu  sync.Mutex
	ids []string
}

type writeTraceKey struct{}

// WithWriteTrace returns a context whose requests are traced.
func WithWriteTrace(ctx context.Context) (context.Context, *WriteTrace) {
	t := &WriteTrace{}
	return context.WithValue(ctx, writeTraceKey{}, t), t
}

// RequestIDs returns the ids of the answers so far, in order. They can be given to Microsoft's support.
func (t *WriteTrace) RequestIDs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.ids)
}

// traceWrite adds the answer to a request that may have changed something to the context's trace, if it has one.
func traceWrite(ctx context.Context, response *http.Response) {
	t, ok := ctx.Value(writeTraceKey{}).(*WriteTrace)
	id := sanitize(response.Header.Get("request-id"))
	if !ok || id == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ids) < maxTracedWrites {
		t.ids = append(t.ids, id)
	}
}
