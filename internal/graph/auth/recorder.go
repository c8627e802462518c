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

// exchange records the HTTP exchange of one MSAL call. MSAL treats a partial grant as a failure, and its errors contain the request
// beside the details of a refusal.
type exchange struct {
	scope       string
	refusal     *oauthError // the last answer, if it was a refusal
	invalidJSON bool        // the last answer was not JSON
	err         error       // of the last request
}

type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	h := new(exchange)
	return context.WithValue(ctx, exchangeKey{}, h), h
}

// error returns the error of an MSAL call without the secrets that its request or answer may contain.
func (h *exchange) error(err error) error {
	switch {
	case err == nil:
		return nil
	case h.err != nil:
		return h.err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case h.refusal != nil:
		return h.refusal
	case h.invalidJSON, errors.As(err, new(msal.InvalidJsonErr)): // MSAL's error contains the whole answer
		return errors.New("not an answer of Entra ID")
	}
	return err
}

// recorder is a transport that records requests in the exchange of their context. See withExchange.
type recorder struct{ next http.RoundTripper }

const answerLimit = 1 << 20

func (t recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return t.next.RoundTrip(r)
	}
	*h = exchange{scope: h.scope}
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
		h.invalidJSON = true
	}
	switch {
	case res.StatusCode != http.StatusOK:
		h.refusal = &oauthError{Status: res.StatusCode, RetryAfter: retryAfter(res.Header)}
		_ = json.Unmarshal(body, h.refusal) // the fields that are present
		// MSAL would poll a pending device code itself, ignoring the interval and slow_down.
		body = []byte("{}")
	case strings.HasSuffix(r.URL.Path, "/token"):
		_ = json.Unmarshal(fields["scope"], &h.scope)
		delete(fields, "scope")
		if !h.invalidJSON {
			if body, err = json.Marshal(fields); err != nil {
				return nil, err
			}
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Del("Content-Length")
	return res, nil
}

// oauthError is an error response of Entra ID, or any other unexpected answer.
// See https://learn.microsoft.com/entra/identity-platform/reference-error-codes.
type oauthError struct {
	Status      int    `json:"-"`
	Name        string `json:"error"`
	Suberror    string `json:"suberror"` // or error_subcode in a redirect
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
	Claims      string `json:"claims"` // that the next sign-in must satisfy

	RetryAfter time.Duration `json:"-"`
}

func (e *oauthError) Error() string {
	switch text := e.description(); {
	case text != "":
		return "Microsoft answered " + text
	case e.Name != "":
		return "Microsoft answered " + e.Name
	}
	return fmt.Sprintf("Microsoft answered %d %s", e.Status, http.StatusText(e.Status))
}

// description returns the description without the trailing request ids.
func (e *oauthError) description() string {
	text, _, _ := strings.Cut(e.Description, "Trace ID:")
	text, _, _ = strings.Cut(text, "\r\n")
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 300 {
		text = string(r[:300]) + "…"
	}
	return text
}

// number returns the AADSTS number, or 0. In a redirect it is only part of the description.
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

// code returns the AADSTS code, or the name of the error.
func (e *oauthError) code() string {
	if n := e.number(); n != 0 {
		return "AADSTS" + strconv.Itoa(n)
	}
	return e.Name
}

// isTransient reports whether the same request may succeed later.
func (e *oauthError) isTransient() bool {
	if e.Status >= 500 || e.Status == http.StatusTooManyRequests {
		return true
	}
	switch e.Name {
	case "temporarily_unavailable", "server_error", "authorization_pending", "slow_down", "": // "": not an answer of Entra ID
		return true
	}
	return false
}

// isConsentRefusal reports whether the scopes were refused, so that fewer scopes may be granted.
//
// See https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code#expected-errors and
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow#error-codes-for-authorization-endpoint-errors.
func (e *oauthError) isConsentRefusal() bool {
	switch e.Name {
	case "consent_required", "authorization_declined":
		return true
	case "access_denied":
		return !e.isCanceled() && !e.isAccountRefusal()
	case "invalid_grant", "interaction_required":
		return e.Suberror == "consent_required"
	}
	return false
}

// isCanceled reports whether the user canceled the sign-in itself. Canceling the consent has the number 65004 or none.
func (e *oauthError) isCanceled() bool {
	return e.Name == "access_denied" && e.Suberror == "cancel" && e.number() != 65004 && e.number() != 0
}

// isAccountRefusal reports whether the account may not sign in at all, which Entra ID also calls access_denied.
func (e *oauthError) isAccountRefusal() bool {
	switch e.number() {
	case 50020, 50034, 50105, 50057, 50053, 90072:
		return true
	}
	return false
}

// isRegistrationRefusal reports whether the app registration, its secret or certificate, or the tenant were refused. Signing in again
// does not help.
func (e *oauthError) isRegistrationRefusal() bool {
	switch e.Name {
	case "invalid_client", "unauthorized_client":
		return true
	case "invalid_request":
		switch e.number() {
		case 90002, 900023, 50194, 50011:
			return true
		}
	}
	return false
}

// transientError returns the error of a request that may succeed later.
func transientError(op string, err error) *graph.Error {
	e := &graph.Error{Reason: graph.Network, Op: op, Err: err}
	var o *oauthError
	var timeout net.Error
	switch {
	case errors.As(err, &o) && o.Status == http.StatusTooManyRequests:
		e.Reason, e.RetryAfter, e.Err = graph.Throttled, o.RetryAfter, o
	case errors.As(err, &o):
		// Without the status: Error would attribute it to Graph.
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

// retryAfter returns the delay of the Retry-After header, which holds seconds or a date.
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
