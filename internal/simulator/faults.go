package simulator

import (
	"context"
	"maps"
	"math"
	"net/http"
	"time"
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

	Status     int         // answers with this status: 429, 500, 503, 504 …
	Code       string      // error code in the body, such as "slow_down" for the token endpoint; "": the code that fits the status
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

func (f *Fault) carriesOut() bool { return f == nil || f.Done || !f.Reset && f.Status == 0 }

// apply applies the fault to the response and reports whether the response is lost.
func (f *Fault) apply(a response, graph bool, now time.Time) (response, bool) {
	if f == nil {
		return a, false
	}
	if f.Status != 0 {
		code := f.Code
		if code == "" {
			code = codeOf(f.Status)
		}
		if graph {
			a = (&failure{f.Status, code, "The simulator was told to fail."}).response(now)
		} else {
			a = response{status: f.Status, body: map[string]any{"error": code, "error_description": "The simulator was told to fail.", "error_codes": []int{}}}
		}
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	maps.Copy(a.header, f.Header)
	if f.RetryAfter != "" {
		a.header.Set("Retry-After", f.RetryAfter)
	}
	if body, ok := jsonCopy(a.body).(map[string]any); ok && (f.Merge != nil || f.Change != nil) {
		merge(body, f.Merge)
		if f.Change != nil {
			f.Change(body)
		}
		a.body = body
	}
	if f.Body != nil {
		a.body, a.text, a.contentType = nil, *f.Body, "application/json"
	}
	return a, f.Reset
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
