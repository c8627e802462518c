package simulator

import (
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

// Forever is the Delay of a request that is never answered.
const Forever time.Duration = math.MaxInt64

// A Fault affects the next requests that match. Its fields apply in this order: execute the request or not, delay, answer or not.
type Fault struct {
	Method string // "": any
	Path   string // path prefix: "/v1.0/me/events", "/common/oauth2/v2.0/token"; "": any
	Times  int    // number of requests; 0: one; negative: all until ClearFaults

	Delay time.Duration // delays the response, at most until the client gives up
	Reset bool          // resets the connection instead of answering
	Done  bool          // with Reset or Status: executes the request although the response is lost

	Truncate int // cuts the regular response off after this many bytes of its body, and resets the connection; 0: no

	Status     int         // answers with this status: 429, 500, 503, 504 …
	Code       string      // error code in the body, such as "slow_down" for the token endpoint; "": the code that fits the status
	Message    string      // of the error in the body
	Claims     string      // answers 401 with a challenge for these claims, as JSON: the next token must satisfy them
	RetryAfter string      // value of the header: "5", "1.5", an HTTP date; "": no header
	Header     http.Header // added to the response, for example a WWW-Authenticate with a claims challenge
	Body       *string     // replaces the body, for example "" or "{"; nil: the regular body, or an error

	Merge  map[string]any            // applied to the regular body as a JSON Merge Patch (RFC 7396)
	Change func(body map[string]any) // changes the regular body, for example to an undefined enumeration member
}

// Fail adds a fault after the existing ones. The first matching fault affects a request.
func (s *Simulator) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Times = max(f.Times, -1)
	if f.Claims != "" && f.Status == 0 {
		f.Status = http.StatusUnauthorized
	}
	if f.Times == 0 {
		f.Times = 1
	}
	s.faults = append(s.faults, &f)
}

// Faults returns the active faults in order; Times is the number of requests left.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Fault, len(s.faults))
	for i, f := range s.faults {
		all[i] = *f
	}
	return all
}

// ClearFaults removes all faults.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Simulator) takeFault(method, path string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !matches(f.Method, f.Path, method, path) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			}
		}
		return f
	}
	return nil
}

// executes reports whether the request is executed.
func (f *Fault) executes() bool { return f == nil || f.Done || !f.Reset && f.Status == 0 }

// apply applies the fault to the response and reports whether the response is lost.
func (f *Fault) apply(resp web.Response, r *http.Request, now time.Time) (web.Response, bool) {
	if f == nil {
		return resp, false
	}
	if f.Status != 0 {
		resp = f.failure(r, now)
	}
	header := resp.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	maps.Copy(header, f.Header)
	if f.RetryAfter != "" {
		header.Set("Retry-After", f.RetryAfter)
	}
	resp.Header = header
	if body, ok := odata.Copy(resp.Body).(map[string]any); ok && (f.Merge != nil || f.Change != nil) {
		merge(body, f.Merge)
		if f.Change != nil {
			f.Change(body)
		}
		resp.Body = body
	}
	if f.Body != nil {
		resp.Body, resp.Text, resp.ContentType = nil, *f.Body, "application/json"
		if strings.HasPrefix(*f.Body, "<") {
			resp.ContentType = "text/html; charset=utf-8"
		}
	}
	return resp, f.Reset
}

// failure returns the error response of the fault's status.
func (f *Fault) failure(r *http.Request, now time.Time) web.Response {
	code := cmp.Or(f.Code, codeOf(f.Status))
	message := cmp.Or(f.Message, "The simulator was told to fail.")
	if !odata.Is(r.URL.Path) {
		return web.Response{Status: f.Status, Body: map[string]any{"error": code, "error_description": message, "error_codes": []int{}}}
	}
	e := odata.NewError(f.Status, code, "%s", message)
	if f.Status == http.StatusUnauthorized {
		claims := ""
		if f.Claims != "" {
			claims = base64.StdEncoding.EncodeToString([]byte(f.Claims))
		}
		e = e.With("Www-Authenticate", odata.Challenge(r.Host, claims))
	}
	return e.Response(now)
}

// merge applies a JSON Merge Patch (RFC 7396): null removes, objects are merged, anything else replaces.
func merge(into, patch map[string]any) {
	for k, v := range patch {
		inner, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isObject:
			old, ok := into[k].(map[string]any)
			if !ok {
				old = map[string]any{}
			}
			merge(old, inner)
			into[k] = old
		default:
			into[k] = v
		}
	}
}

// wait reports whether the client is still there after the delay.
func wait(ctx context.Context, delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	var over <-chan time.Time
	// No timer for Forever: a fake clock, such as testing/synctest's, would reach it.
	if delay < Forever {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}

func codeOf(status int) string {
	switch status {
	case http.StatusTooManyRequests:
		return "TooManyRequests"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailable"
	case http.StatusGatewayTimeout:
		return "GatewayTimeout"
	case http.StatusUnauthorized:
		return "InvalidAuthenticationToken"
	case http.StatusForbidden:
		return "ErrorAccessDenied"
	case http.StatusNotFound:
		return "ErrorItemNotFound"
	default:
		return "InternalServerError"
	}
}
