// Package services defines operations and executes each request once, with a durable journal. It knows no transport.
package services

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// A RetryPolicy defines how a request of unknown outcome is handled: the program died, or the answer was lost.
type RetryPolicy int

const (
	// Idempotent requests are executed again: doing them twice is doing them once.
	Idempotent RetryPolicy = iota
	// IdempotencyKey requests are executed again, because Graph deduplicates by Attempt.ID.
	IdempotencyKey
	// AtMostOnce requests are never executed again. They are verified (see Verifier), or answered in_doubt.
	AtMostOnce
)

// An Operation is something that can be requested of a target: a sensor, an account or the bridge itself.
type Operation struct {
	Name, Doc   string
	Permissions []graph.Permission
	Optional    bool           // offered only where `allow` names it
	Reads       bool           // changes nothing: needs on_demand, not enable_update; not journalled
	Paged       bool           // it Reads, and its result is a Page; cursors lead from one to the next
	OfGroup     bool           // executed for a group itself, not for the member that a field names
	Immediate   bool           // of the bridge or an account: runs beside the workers, tried once, not journalled
	OwnerOnly   bool           // Immediate, and accepted only where Inbound.Owner is set
	WorkOnly    bool           // not for personal accounts
	UserOnly    string         // why applications, which act without a user, do not have it: "it finds times for yourself"; "": if there is a permission
	Retry       RetryPolicy    // of requests whose outcome is unknown
	New         func() Request // with its defaults set, ready to decode into

	Example string         // a request, as JSON, for the documentation
	Returns []schema.Field // the data of the response, for the documentation; nil: none
}

// A Request is its decoded JSON, bound to its target. It reads what it must know from Graph, never from the sensor.
//
// Its fields carry the tags `json` (the field's name), `doc`, `enum` (values, in any case) and `required:"true"`; what
// the tags cannot express is in a method Validate() error.
type Request interface {
	// Execute carries the request out. The result is passed to Target.OnSuccess, and to the caller as the response's data:
	// either it marshals to that data, or it has a method Data() any that returns it. With an error it is ignored.
	Execute(ctx context.Context, g *graph.Client, a Attempt) (result any, err error)
}

// An Attempt describes one execution of a request.
type Attempt struct {
	ID       string    // a UUID that survives a crash: the key that Graph deduplicates by
	Repeated bool      // tried before, outcome unknown: a delete that finds nothing has succeeded
	Now      time.Time // when the request was received, in the account's time zone
	Position []byte    // of the page, in JSON, see Resume; nil: the first
	Owner    bool      // see Inbound
}

// A Verifier finds out whether an attempt of unknown outcome took effect. Not found is in_doubt, too.
type Verifier interface {
	Verify(ctx context.Context, g *graph.Client, a Attempt) (result any, found bool, err error)
}

// A Ref names what a request is for. Without a sensor it is the account, without an account the bridge.
type Ref struct{ Account, Sensor string }

// An Inbound is a request as a transport received it.
type Inbound struct {
	Target            Ref
	Operation, Entity string // one of both; the payload for an entity is a raw value
	Payload           []byte
	Origin            string         // opaque; equal means the same request delivered twice; empty: not known
	ReplyTo           string         // "mqtt:<topic>": the name of a Replier, and what it needs; empty: no reply
	Received          time.Time      // by the wall clock
	Age               time.Duration  // how long it was under way at most; the longest duration: not known
	Refused           *Error         // the transport's finding: it is only answered
	Owner             bool           // the transport knows that the sender may administer the program, as on the status page
	Accepted          func(error)    // called in the order of Submit: it is durable, or refused and answered; must not block
	Done              func(Response) // called with the response, for callers in this process; must not block
}

// ErrEmptyValue is returned by Target.Parse for an empty value of an entity that is not a text. Such a value is accepted without
// an answer, because a retained command is removed by an empty message.
var ErrEmptyValue = errors.New("want a value, not an empty text")

// A Target is the addressee of a request: a sensor, an account or the bridge.
type Target interface {
	// Operation returns the operation of this name, or the reason why it cannot be requested now: an *Error or a *graph.Error.
	Operation(name string) (Operation, error)
	// Parse returns the operation that a raw value for an entity stands for, and its fields.
	Parse(entity, value string) (operation string, fields map[string]json.RawMessage, err error)
	// Resolve removes the field that names a member of a group from the fields and returns that member, or the target itself
	// if it is no group. It must not wait, except for Execute.
	Resolve(ctx context.Context, fields map[string]json.RawMessage) (Ref, Target, error)
	// Graph returns the account's Graph client.
	Graph() *graph.Client
	// User returns the id of the user who is signed in to the account; "": not known.
	User() string
	// Location returns the account's time zone.
	Location() *time.Location
	// OnSuccess shows the effect of an operation. The returned function, if not nil, writes in the same transaction as the response.
	OnSuccess(ctx context.Context, operation string, result any) (persist func(Tx))
	// OnRejected shows the true state after a request failed.
	OnRejected()
}

// An Explainer is a Target that knows what the user can do about the error of an operation.
type Explainer interface {
	Explain(operation Operation, err error) error
}

// explain returns the error of an operation with what the user can do about it, if the target knows that.
func explain(t Target, operation Operation, err error) error {
	if e, ok := t.(Explainer); ok && err != nil {
		return e.Explain(operation, err)
	}
	return err
}

// A Resolver returns the target of a request, or an *Error.
type Resolver interface{ Resolve(Ref) (Target, error) }

// A Replier sends responses by one transport. It returns nil when the response was delivered or can never be; after an error it is
// called again.
type Replier interface {
	Reply(ctx context.Context, to string, r Response) error
}

// A Guard permits work for a limited time, which may be extended.
type Guard interface {
	Err() error               // nil: permitted
	Context() context.Context // done when the permission has ended
}

// A Tx collects the changes of one transaction.
type Tx interface {
	Put(bucket, key string, value []byte)
	Delete(bucket, key string)
}

// A Store puts changes on disk. Neither method waits.
type Store interface {
	// Commit calls write at once, and done, which may be nil, in the order of the calls on another goroutine after the changes are
	// on disk or have failed.
	Commit(write func(Tx), done func(error))
	// CommitLazily calls write at once and puts the changes on disk with the next commit. They are lost if the process is killed.
	CommitLazily(write func(Tx))
}
