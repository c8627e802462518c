package services

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Code is the kind of cause for which a request failed. The reasons of package graph are codes, too.
type Code string

// Codes of requests that were rejected before Graph was asked, and of unknown outcomes.
const (
	InvalidJSON     Code = "invalid_json"
	InvalidArgument Code = Code(graph.InvalidArgument)
	UnknownOp       Code = "unknown_op"
	UnknownSensor   Code = "unknown_sensor"
	UpdatesDisabled Code = "updates_disabled"
	TooLarge        Code = "too_large"
	NotOnDemand     Code = "not_on_demand"
	RetainedRefused Code = "retained_refused"
	Expired         Code = "expired"
	InDoubt         Code = "in_doubt"
	Conflict        Code = Code(graph.Conflict)
	Overloaded      Code = "overloaded"
	ShuttingDown    Code = "shutting_down"
	Internal        Code = "internal"
)

// An Error is a rejection with its code.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// A WaitError rejects a request that may be sent again later.
type WaitError struct {
	Err        *Error
	RetryAfter time.Duration
}

func (e *WaitError) Error() string { return e.Err.Message }
func (e *WaitError) Unwrap() error { return e.Err }

// A LoggedError is an error that was logged where it happened. The failure of its request is not logged again.
type LoggedError struct{ Err error }

func (e *LoggedError) Error() string { return e.Err.Error() }
func (e *LoggedError) Unwrap() error { return e.Err }

// A Response is the response to one request.
type Response struct {
	Transaction string    `json:"transaction,omitempty"`
	Op          string    `json:"op"`
	Status      string    `json:"status"` // ok or error
	Data        any       `json:"data,omitempty"`
	Error       *Failure  `json:"error,omitempty"`
	Cursor      string    `json:"cursor,omitempty"` // of the next page
	Duplicate   bool      `json:"duplicate"`        // it was, or may have been, sent before
	ReceivedAt  time.Time `json:"received_at"`
	CompletedAt time.Time `json:"completed_at"`
}

// A Failure describes why a request failed.
type Failure struct {
	Code       Code         `json:"code"`
	Message    string       `json:"message"`
	Retryable  bool         `json:"retryable"`
	RetryAfter int          `json:"retry_after"` // seconds
	Graph      *GraphAnswer `json:"graph,omitempty"`
}

// A GraphAnswer identifies a request that Graph refused, for Microsoft's support.
type GraphAnswer struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
}

// Succeed returns the response completed with the result of its operation.
func (r Response) Succeed(result any) Response {
	r.Status = "ok"
	r.Data = result
	if d, ok := result.(interface{ Data() any }); ok {
		r.Data = d.Data()
	}
	r.CompletedAt = time.Now().UTC()
	return r
}

// Fail returns the response completed with an error.
func (r Response) Fail(err error) Response {
	f := &Failure{Code: Internal, Message: err.Error()}
	var refused *Error
	var wait *WaitError
	var e *graph.Error
	switch {
	case errors.As(err, &wait):
		f.Code, f.Retryable, f.RetryAfter = wait.Err.Code, true, seconds(wait.RetryAfter)
	case errors.As(err, &refused):
		f.Code = refused.Code
		f.Retryable = refused.Code == Overloaded || refused.Code == ShuttingDown
	case errors.As(err, &e):
		f.Code = Code(e.Reason)
		f.Retryable = e.Retryable()
		f.RetryAfter = seconds(e.RetryAfter)
		if e.Status != 0 {
			f.Graph = &GraphAnswer{e.Status, e.Code, e.RequestID}
		}
	}
	r.Status = "error"
	r.Error = f
	r.CompletedAt = time.Now().UTC()
	return r
}

// seconds returns the whole seconds after which d is over.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// Encode returns the response as JSON. If its data cannot be encoded, it is replaced by an error.
func (r Response) Encode() []byte {
	value, err := json.Marshal(r)
	if err != nil {
		r.Data = nil
		value, _ = json.Marshal(r.Fail(unencodable(err)))
	}
	return value
}

func unencodable(err error) error {
	return fmt.Errorf("the response cannot be encoded as JSON: %w", err)
}

// asDuplicate returns the response marked as a copy.
func (r Response) asDuplicate() Response {
	r.Duplicate = true
	return r
}

const (
	// publishRetryInterval is the pause before a response is sent again.
	publishRetryInterval = time.Second
	// shutdownGrace bounds the sending of the remaining responses at shutdown.
	shutdownGrace = 2 * time.Second
	// maxRejections bounds the responses to requests that are acknowledged before they are answered.
	maxRejections = 10_000
)

// maxHeld bounds the sizes of requests that are accepted only when the response to their rejection was sent: the transport keeps them until
// then. A response that is behind other large requests may take long.
const maxHeld = 16 << 20

// hold has a rejected request accepted by release, and the oldest ones now if they are too large together.
func (d *Dispatcher) hold(a *acceptance, size int) {
	d.mu.Lock()
	a.size = size
	d.held, d.heldBytes = append(d.held, a), d.heldBytes+size
	n := 0
	for ; d.heldBytes > maxHeld; n++ {
		d.heldBytes -= d.held[n].size
	}
	early := slices.Clone(d.held[:n])
	d.held = slices.Delete(d.held, 0, n)
	d.mu.Unlock()
	for _, a := range early {
		d.settle(a, nil)
	}
}

// release accepts a request if that was not done before.
func (d *Dispatcher) release(a *acceptance) {
	d.mu.Lock()
	i := slices.Index(d.held, a)
	if i >= 0 {
		d.held, d.heldBytes = slices.Delete(d.held, i, i+1), d.heldBytes-a.size
	}
	d.mu.Unlock()
	if i >= 0 {
		d.settle(a, nil)
	}
}

// A reply is a response on its way.
type reply struct {
	to       string
	response Response
	sent     func() // called when it was delivered; may be nil
}

// A replyQueue sends replies in order, up to limit at the same time. It is guarded by Dispatcher.mu.
type replyQueue struct {
	limit, active int
	pending       []reply
}

// enqueueReply sends a reply when its turn comes.
func (d *Dispatcher) enqueueReply(q *replyQueue, r reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outstanding++
	q.pending = append(q.pending, r)
	if q.active < q.limit {
		q.active++
		d.replyTasks = append(d.replyTasks, func(ctx context.Context) { d.sendReplies(ctx, q) })
		d.notify()
	}
}

// sendReplies sends the replies of a queue until there are no more, or ctx is done.
func (d *Dispatcher) sendReplies(ctx context.Context, q *replyQueue) {
	for {
		r, ok := d.nextReply(ctx, q)
		if !ok {
			return
		}
		d.step("answering")
		if !d.send(ctx, r) {
			d.mu.Lock()
			q.active--
			d.mu.Unlock()
			return
		}
		d.step("answered")
		if r.sent != nil {
			r.sent()
		}
		d.mu.Lock()
		d.outstanding--
		d.notify()
		d.mu.Unlock()
	}
}

func (d *Dispatcher) nextReply(ctx context.Context, q *replyQueue) (r reply, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil || len(q.pending) == 0 {
		q.active--
		return r, false
	}
	r, q.pending = q.pending[0], q.pending[1:]
	return r, true
}

// send sends a reply, again until it is delivered, and reports whether it was.
func (d *Dispatcher) send(ctx context.Context, r reply) bool {
	scheme, to, _ := strings.Cut(r.to, ":")
	d.mu.Lock()
	replier := d.repliers[scheme]
	d.mu.Unlock()
	if replier == nil {
		if r.to != "" {
			d.log.Error("response not sent: unknown scheme", "operation", r.response.Op, "scheme", Truncate(scheme, maxName))
		}
		return true
	}
	for replier.Reply(ctx, to, r.response) != nil {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(publishRetryInterval):
		}
	}
	return true
}
