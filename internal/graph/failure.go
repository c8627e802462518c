package graph

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// newError converts the error of a request to an *Error, and counts it.
func (c *Client) newError(ctx context.Context, op string, a *answer, err error) error {
	e := &Error{Op: op, Status: a.status, OutcomeUnknown: a.sent && !a.reads}
	var known *Error
	var network net.Error
	err = withoutURL(err)
	switch {
	case errors.As(err, &known): // of the tokens, or never sent
		*e = *known
		e.Op = strings.TrimSuffix(op+": "+known.Op, ": ")
		if e.Reason == Throttled {
			return e
		}
	case a.status != 0 && !a.successful():
		e.setRefusal(a)
	case a.complete:
		e.Reason, e.Err = Refused, err
	case errors.Is(ctx.Err(), context.Canceled):
		if !e.OutcomeUnknown {
			return fmt.Errorf("%s: %w", op, context.Canceled)
		}
		e.Reason, e.Err = Network, context.Canceled
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		e.Reason, e.Message, e.Err = Timeout, "no answer in time", err
		if err == context.DeadlineExceeded {
			e.Err = nil
		}
	default:
		e.Reason, e.Err = Network, withoutNumbers(err)
		if strings.Contains(err.Error(), "malformed") { // and quotes what it is
			e.Err = errors.New("the answer is not HTTP")
		}
	}
	c.counters.errors.Add(1)
	return e
}

// setRefusal fills in the details of Graph's answer.
//
// https://learn.microsoft.com/graph/errors
func (e *Error) setRefusal(a *answer) {
	var body struct {
		Error struct {
			Code, Message string
			InnerError    map[string]any
		}
	}
	_ = json.Unmarshal(a.body, &body) // what stands between us and Graph answers in HTML
	id, _ := body.Error.InnerError["request-id"].(string)
	e.Code = sanitize(body.Error.Code)
	e.Message = sanitize(body.Error.Message)
	e.RequestID = sanitize(cmp.Or(a.header.Get("request-id"), id))
	e.RetryAfter = a.wait
	if e.Code == "MailboxNotEnabledForRESTAPI" || e.Code == "MailboxNotSupportedForRESTAPI" {
		e.Explanation = "the mailbox is not in Exchange Online, or inactive; does the account have a license?"
	}
	switch a.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		e.Reason = InvalidArgument
		if e.Code == "ErrorInvalidIdMalformed" {
			e.Reason = NotFound
		}
	case http.StatusUnauthorized: // with a token that was just renewed: the user cannot help
		e.Reason = Refused
	case http.StatusForbidden:
		e.Reason = PermissionMissing
	case http.StatusNotFound, http.StatusGone:
		e.Reason = NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		e.Reason = Conflict
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		e.Reason = Timeout
	default:
		e.Reason = Refused
	}
	if a.throttled() { // the same error as for the requests that are held back afterwards
		e.Reason, e.Message = Throttled, ""
	}
	switch a.status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
	default: // anything else is a refusal
		e.OutcomeUnknown = false
	}
}

// sanitize makes one short printable line of an external text.
func sanitize(s string) string {
	return Truncate(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " "), 300)
}

// withoutURL drops what net/http adds to errors: the address with its parameters.
func withoutURL(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	return err
}

// connectionNumbers match the parts of HTTP/2 errors that differ between connections.
var connectionNumbers = regexp.MustCompile(`(stream ID|LastStreamID)[ =]\d+[;,] `)

// withoutNumbers drops the local port and the number of the stream, so that the same failure has the same text each time.
func withoutNumbers(err error) error {
	var o *net.OpError
	if errors.As(err, &o) && o.Source != nil {
		c := *o
		c.Source = nil
		return &c
	}
	if text := connectionNumbers.ReplaceAllString(err.Error(), ""); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// retryAfter returns how long an answer asks to wait; 0 where it does not say, or nothing sensible.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(v, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, longestWait.Seconds()) * float64(time.Second))
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date")) // clocks differ
	if err != nil {
		now = time.Now()
	}
	return min(max(until.Sub(now), 0), longestWait)
}
