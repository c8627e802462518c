// Package services says what can be asked of a sensor, and sees to it that each request is carried out once and answered.
package services

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// RetryPolicy is what to do with a request whose outcome is not known: the program died, or the answer never came.
type RetryPolicy int

const (
	// Again: doing it twice is doing it once.
	Idempotent RetryPolicy = iota
	// AgainWithKey: Graph deduplicates by Call.ID.
	IdempotencyKey
	// Doubt: never again; it is looked for (Finder), or answered in_doubt.
	AtMostOnce
)

// An Operation is something that can be asked of a sensor.
type Operation struct {
	Name, Doc   string
	Permissions []graph.Permission
	Optional    bool           // offered only where `allow` names it
	Reads       bool           // changes nothing: needs no enable_update, only on_demand; not journalled
	Retry       RetryPolicy    // what to do when its outcome is not known
	New         func() Request // with its defaults set, ready to decode into
}

// A Request is its decoded JSON, bound to its target. It reads what it must know from Graph, never from the sensor.
//
// Its fields carry the tags `json` (the field's name), `doc`, `enum` (values, in any case) and `required:"true"`; what
// the tags cannot express is in a method Validate() error.
type Request interface {
	// Execute carries it out. The result is given to the sensor's Apply, and to the caller as the response's data: either
	// it marshals to that data, or it has a method Data() any that says what to tell.
	Execute(ctx context.Context, g *graph.Client, c Attempt) (result any, err error)
}

// Attempt is what a request is told of its own circumstances.
type Attempt struct {
	ID       string    // a UUID that survives a crash: the key that Graph deduplicates by
	Repeated bool      // tried before, outcome unknown: a delete that finds nothing has succeeded
	Now      time.Time // when it was received, in the account's time zone
}

// A Verifier looks for what a doubtful request may have done.
type Verifier interface {
	Verify(ctx context.Context, g *graph.Client, c Attempt) (result any, happened bool, err error)
}
