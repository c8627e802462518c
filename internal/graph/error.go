package graph

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Reason classifies why a request to Graph failed.
type Reason string

// The reasons are also the codes of responses over MQTT.
const (
	SignInRequired    Reason = "sign_in_required"   // there is no token without a sign-in by the user
	PermissionMissing Reason = "permission_missing" // 403
	InvalidArgument   Reason = "invalid_argument"   // refused before it was sent, or 400 about a value of the user's
	NotFound          Reason = "not_found"          // 404, 410
	Conflict          Reason = "conflict"           // 409, 412
	Throttled         Reason = "throttled"          // 429, or a Retry-After is still pending
	Network           Reason = "network"            // no connection, or one that broke
	Timeout           Reason = "timeout"            // no answer in time
	Refused           Reason = "graph_error"        // any other answer
)

// An Error describes the failure of one request. It holds no token, no id and no text of a mail.
type Error struct {
	Reason         Reason
	Op             string // the attempted action: "read the mailbox settings"
	Status         int    // HTTP's; 0 without an answer
	Code           string // Graph's: "ErrorItemNotFound"
	Message        string // Graph's
	Explanation    string // in the user's words, instead of Message: "ann@contoso.com does not share this calendar with you"
	RequestID      string // for a support request at Microsoft
	RetryAfter     time.Duration
	OutcomeUnknown bool // a write was sent, and whether it took effect is not known
	Err            error
}

// Error returns one line, which is the same for the answer 429 and for the requests that are held back afterwards.
func (e *Error) Error() string {
	var parts []string
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	answered := ""
	switch {
	case e.Status == http.StatusUnauthorized: // the client renews a rejected token
		answered = fmt.Sprintf("Microsoft Graph refuses the sign-in (%s) although it was just renewed", strings.TrimSpace("401 "+e.Code))
	case e.Status != 0:
		answered = strings.TrimSpace(fmt.Sprintf("Graph answered %d %s", e.Status, e.Code))
	}
	switch {
	case e.Explanation != "" && answered != "":
		return strings.Join(append(parts, e.Explanation+" ("+answered+")"), ": ")
	case e.Explanation != "":
		return strings.Join(append(parts, e.Explanation), ": ")
	case e.Reason == Throttled && e.Message == "" && e.Err == nil:
		return strings.Join(append(parts, "Microsoft asked to wait"), ": ")
	case answered != "":
		parts = append(parts, answered)
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

// Transient reports whether the same request may succeed later without any change. A write that failed with a transient error may
// have taken effect: see OutcomeUnknown.
func (e *Error) Transient() bool {
	return e.OutcomeUnknown || e.Reason == Throttled || e.Reason == Network || e.Reason == Timeout || e.Status >= 500
}

// Retryable reports whether the caller can send the same request again without the risk of doing it twice, and may succeed.
func (e *Error) Retryable() bool { return e.Transient() && !e.OutcomeUnknown }

// Explain returns err with an explanation in the user's words. An err that is no *Error is returned as it is.
func Explain(err error, format string, args ...any) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	explained := *e
	explained.Explanation = fmt.Sprintf(format, args...)
	return &explained
}

// Incomplete returns the error of an answer without a required part: "the answer has no status". Such an answer does not show the
// state at Graph.
func Incomplete(op, lacks string) error {
	return &Error{Reason: Refused, Op: op, Err: errors.New("the answer has no " + lacks)}
}

// Is reports whether err is an *Error with this reason.
func Is(err error, r Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == r
}

// Unconfirmed marks the outcome of a write as unknown: Graph has accepted it, but err made its answer unusable or reading the
// result back impossible.
func Unconfirmed(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Reason: Network, OutcomeUnknown: true, Err: err}
	}
	unconfirmed := *e
	unconfirmed.OutcomeUnknown = true
	return &unconfirmed
}

// HasCode reports whether err is an *Error with one of these codes of Graph's.
func HasCode(err error, codes ...string) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// Invalid returns the error of a wrong value; the message names the field, what is accepted and what was given.
func Invalid(format string, args ...any) error {
	return &Error{Reason: InvalidArgument, Message: fmt.Sprintf(format, args...)}
}
