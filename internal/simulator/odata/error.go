package odata

import (
	"fmt"
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

// An Error is a Graph error.
type Error struct {
	status  int
	code    string
	message string
	header  http.Header
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

// Refusal returns the status and message for the control API.
func (e *Error) Refusal() (int, string) { return e.status, e.message }

// NewError returns an error with this status and code.
func NewError(status int, code, format string, args ...any) *Error {
	return &Error{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// With adds a header to the response.
func (e *Error) With(name, value string) *Error {
	if e.header == nil {
		e.header = http.Header{}
	}
	e.header.Set(name, value)
	return e
}

// BadRequest returns Graph's error for a request that does not fit the metadata.
func BadRequest(format string, args ...any) *Error {
	return NewError(http.StatusBadRequest, "BadRequest", format, args...)
}

// NotSimulated returns the error for what Graph may do but the simulator does not.
func NotSimulated(format string, args ...any) *Error {
	return NewError(http.StatusNotImplemented, "NotSimulated", "The graph2mqtt simulator does not implement "+format, args...)
}

// unreadable returns the error for a body that is not JSON.
func unreadable() *Error {
	return BadRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
}

// unknownProperty returns the error for a property in a body that the type does not have.
func unknownProperty(name string, t *Type) *Error {
	return BadRequest("The property '%s' does not exist on type '%s'. Make sure to only use property names that are defined by the type.", name, t.Name)
}

// errorBody is the body of an error, see https://learn.microsoft.com/graph/errors. Finish sets the ids.
type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Inner   struct {
			Date            string `json:"date"`
			RequestID       string `json:"request-id"`
			ClientRequestID string `json:"client-request-id"`
		} `json:"innerError"`
	} `json:"error"`
}

// Response returns the error as a response.
func (e *Error) Response(now time.Time) web.Response {
	var b errorBody
	b.Error.Code, b.Error.Message = e.code, e.message
	b.Error.Inner.Date = now.UTC().Format("2006-01-02T15:04:05")
	return web.Response{Status: e.status, Header: e.header, Body: b}
}
