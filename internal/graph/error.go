package graph

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A Reason says why Graph did not do what it was asked.
type Reason string

// The reasons are codes of responses over MQTT, too.
const (
	SignInRequired    Reason = "sign_in_required"   // no token, and none to be had without the user
	PermissionMissing Reason = "permission_missing" // 403
	InvalidArgument   Reason = "invalid_argument"   // refused before it was sent, or 400 about a value of the user's
	NotFound          Reason = "not_found"          // 404, 410
	Conflict          Reason = "conflict"           // 409, 412
	Throttled         Reason = "throttled"          // 429, or still waiting for a Retry-After
	Network           Reason = "network"            // no connection, or one that broke
	Timeout           Reason = "timeout"            // no answer in time
	Refused           Reason = "graph_error"        // any other answer
)

// An Error is what went wrong with one request. It holds no token, no id and no text of a mail.
type Error struct {
	Reason         Reason
	Op             string // what was tried: "read the mailbox settings"
	Status         int    // HTTP's; 0 without an answer
	Code           string // Graph's: "ErrorItemNotFound"
	Message        string // Graph's
	RequestID      string // to tell Microsoft
	RetryAfter     time.Duration
	OutcomeUnknown bool // the request was sent, and whether it was carried out is not known
	Err            error
}

func (e *Error) Error() string {
	var parts []string
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	switch {
	case e.Status == http.StatusUnauthorized: // the client renews a rejected token
		parts = append(parts, fmt.Sprintf("Microsoft Graph refuses the sign-in (%s) although it was just renewed", strings.TrimSpace("401 "+e.Code)))
	case e.Status != 0:
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("Graph answered %d %s", e.Status, e.Code)))
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same request may succeed later without anybody's doing.
func (e *Error) Retryable() bool {
	return e.Reason == Throttled || e.Reason == Network || e.Reason == Timeout || e.Status >= 500
}

// Is reports whether err is an *Error with this reason.
func Is(err error, r Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == r
}

// Invalid is the error of a value that cannot be right; the message names the field, what would be right, and what was given.
func Invalid(format string, args ...any) error {
	return &Error{Reason: InvalidArgument, Message: fmt.Sprintf(format, args...)}
}
