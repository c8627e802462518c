package services

import (
	"errors"
	"math"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Code says why a request was not carried out. The reasons of package graph are codes, too.
type Code string

// The codes of what was refused before Graph was asked, or could not be told.
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

// An Error is a refusal with its code.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// A Response is the answer to one request.
type Response struct {
	Transaction string    `json:"transaction,omitempty"`
	Op          string    `json:"op"`
	Status      string    `json:"status"` // ok or error
	Data        any       `json:"data,omitempty"`
	Error       *Failure  `json:"error,omitempty"`
	Duplicate   bool      `json:"duplicate"` // a copy of an answer given before, or perhaps given before
	ReceivedAt  time.Time `json:"received_at"`
	CompletedAt time.Time `json:"completed_at"`
}

// A Failure is the part of a response that says what went wrong.
type Failure struct {
	Code       Code         `json:"code"`
	Message    string       `json:"message"`
	Retryable  bool         `json:"retryable"`
	RetryAfter int          `json:"retry_after"` // seconds
	Graph      *GraphAnswer `json:"graph,omitempty"`
}

// GraphAnswer is what to tell Microsoft about a request that Graph refused.
type GraphAnswer struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
}

// Succeed completes a response with the result of its operation.
func (r Response) Succeed(result any) Response {
	r.Status = "ok"
	r.Data = result
	if d, ok := result.(interface{ Data() any }); ok {
		r.Data = d.Data()
	}
	r.CompletedAt = time.Now().UTC()
	return r
}

// Fail completes a response with an error.
func (r Response) Fail(err error) Response {
	f := &Failure{Code: Internal, Message: err.Error()}
	var refused *Error
	var e *graph.Error
	switch {
	case errors.As(err, &refused):
		f.Code = refused.Code
		f.Retryable = refused.Code == Overloaded || refused.Code == ShuttingDown
	case errors.As(err, &e):
		f.Code = Code(e.Reason)
		f.Retryable = e.Retryable()
		f.RetryAfter = int(math.Ceil(e.RetryAfter.Seconds()))
		if e.Status != 0 {
			f.Graph = &GraphAnswer{e.Status, e.Code, e.RequestID}
		}
	}
	r.Status = "error"
	r.Error = f
	r.CompletedAt = time.Now().UTC()
	return r
}
