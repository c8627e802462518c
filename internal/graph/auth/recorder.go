package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	msal "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// heard is what came over the wire during one call of MSAL's, of which MSAL tells too little: it takes a grant of less than was
// asked for a failure, and keeps what Entra ID refuses in a text that also holds the request.
type heard struct {
	scope   string
	refused *oauthError // the last answer, if it was one
	strange bool        // the last answer was no JSON
	err     error       // of the last request
}

type heardKey struct{}

func hear(ctx context.Context) (context.Context, *heard) {
	h := new(heard)
	return context.WithValue(ctx, heardKey{}, h), h
}

// error is the error of a call, without anything of its request or answer that is not fit to be printed.
func (h *heard) error(err error) error {
	switch {
	case err == nil:
		return nil
	case h.err != nil:
		return h.err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case h.refused != nil:
		return h.refused
	case h.strange, errors.As(err, new(msal.InvalidJsonErr)): // MSAL's error has the whole answer in it
		return errors.New("the answer is not one of Entra ID's")
	}
	return err
}

// A recorder is a transport that tells the context's heard what it sees. See hear.
type recorder struct{ next http.RoundTripper }

const answerLimit = 1 << 20

func (t recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ok := r.Context().Value(heardKey{}).(*heard)
	if !ok {
		return t.next.RoundTrip(r)
	}
	*h = heard{scope: h.scope}
	res, err := t.next.RoundTrip(r)
	if err != nil {
		h.err = fmt.Errorf("%s: %w", r.URL.Host, err)
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	res.Body.Close()
	if err != nil {
		h.err = fmt.Errorf("%s: %w", r.URL.Host, err)
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		h.strange = true
	}
	switch {
	case res.StatusCode != http.StatusOK:
		h.refused = &oauthError{Status: res.StatusCode, RetryAfter: retryAfter(res.Header)}
		_ = json.Unmarshal(body, h.refused) // whatever of it is there
	case strings.HasSuffix(r.URL.Path, "/token"):
		_ = json.Unmarshal(fields["scope"], &h.scope)
		delete(fields, "scope")
		if !h.strange {
			if body, err = json.Marshal(fields); err != nil {
				return nil, err
			}
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Del("Content-Length")
	return res, nil
}

// An oauthError is Entra ID's refusal, or any other answer that is none of what was asked.
// See https://learn.microsoft.com/entra/identity-platform/reference-error-codes.
type oauthError struct {
	Status      int    `json:"-"`
	Name        string `json:"error"`
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`

	RetryAfter time.Duration `json:"-"`
}

func (e *oauthError) Error() string {
	switch text := e.text(); {
	case text != "":
		return "Microsoft answered " + text
	case e.Name != "":
		return "Microsoft answered " + e.Name
	}
	return fmt.Sprintf("Microsoft answered %d %s", e.Status, http.StatusText(e.Status))
}

// text is what Entra ID says, without the ids that follow.
func (e *oauthError) text() string {
	text, _, _ := strings.Cut(e.Description, "Trace ID:")
	text, _, _ = strings.Cut(text, "\r\n")
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 300 {
		text = string(r[:300]) + "…"
	}
	return text
}

// number is the AADSTS's, 0 where there is none. A redirect tells it in its description only.
func (e *oauthError) number() int {
	if len(e.Codes) > 0 {
		return e.Codes[0]
	}
	digits, ok := strings.CutPrefix(e.Description, "AADSTS")
	if !ok {
		return 0
	}
	digits, _, _ = strings.Cut(digits, ":")
	n, err := strconv.Atoi(strings.TrimSpace(digits))
	if err != nil {
		return 0
	}
	return n
}

// code is what to look it up by.
func (e *oauthError) code() string {
	if n := e.number(); n != 0 {
		return "AADSTS" + strconv.Itoa(n)
	}
	return e.Name
}

// passes reports whether the same request may succeed later without anybody's doing.
func (e *oauthError) passes() bool {
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Name == "temporarily_unavailable" || e.Name == "server_error" || e.Name == ""
}

// refuses reports whether it is the scopes that are refused, so that less may be granted.
func (e *oauthError) refuses() bool {
	switch e.number() {
	case 65001, 65004, 90093, 90094, 90095:
		return true
	case 0:
		return e.Name == "access_denied" || e.Name == "authorization_declined" || e.Name == "consent_required"
	}
	return e.Name == "consent_required"
}

// passing is the error of a request that may succeed later.
func passing(op string, err error) *graph.Error {
	e := &graph.Error{Reason: graph.Network, Op: op, Err: err}
	var o *oauthError
	var timeout net.Error
	switch {
	case errors.As(err, &o) && o.Status == http.StatusTooManyRequests:
		e.Reason, e.RetryAfter, e.Err = graph.Throttled, o.RetryAfter, o
	case errors.As(err, &o):
		// The status makes it one that is retried; the text is Entra ID's and not Graph's.
		*e = graph.Error{Reason: graph.Network, Op: op, Code: o.code(), RetryAfter: o.RetryAfter, Err: o}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = graph.Timeout
	}
	var u *url.Error
	if errors.As(e.Err, &u) {
		e.Err = u.Err
	}
	return e
}

// retryAfter reads the header of that name, seconds or a date.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		return max(0, time.Duration(s*float64(time.Second)))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
