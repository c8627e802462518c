package services

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Write describes a request that was executed and may have changed something, without its content.
type Write struct {
	ID, Transaction, ReplyTo   string
	Account, Sensor, Operation string
	Digest                     string // SHA-256 of the request
	Received, Completed        time.Time
	Outcome                    string       // ok, or the code of the error
	Graph                      *GraphAnswer // with which Graph refused it; nil: it did not
	RequestIDs                 []string     // Graph's, of the requests that may have changed something
}

// traceWrite returns a context to execute a request with, and a function that reports the request as a Write.
func (d *Dispatcher) traceWrite(ctx context.Context) (traced context.Context, report func(*entry, Response)) {
	if d.onWrite == nil {
		return ctx, func(*entry, Response) {}
	}
	traced, trace := graph.WithWriteTrace(ctx)
	return traced, func(e *entry, r Response) {
		w := Write{
			ID: e.ID, Transaction: e.Transaction, ReplyTo: e.ReplyTo, Account: e.Account, Sensor: e.Sensor, Operation: e.Operation,
			Digest: e.Digest, Received: e.Received, Completed: r.CompletedAt, Outcome: r.Status, RequestIDs: trace.RequestIDs(),
		}
		if r.Error != nil {
			w.Outcome, w.Graph = string(r.Error.Code), r.Error.Graph
		}
		d.onWrite(w)
	}
}
