package simulator

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	bodyLimit = 8 << 20
	logLimit  = 10_000
)

// A Request is a logged request and its outcome. It contains no tokens, codes or secrets.
type Request struct {
	Time   time.Time
	Host   string
	Method string
	Path   string // "/v1.0/me/events"
	Query  url.Values
	Header http.Header // without Authorization
	Body   []byte      // decompressed; secrets in forms are redacted
	User   string      // address of the token's user; "" without a valid token
	Status int         // 0: not answered
	Fault  bool        // affected by a fault
}

// Requests returns the logged requests, oldest first; at most the last ten thousand.
func (s *Simulator) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count returns the number of logged requests with this method ("": any) and path prefix.
func (s *Simulator) Count(method, path string) int {
	n := 0
	for _, r := range s.Requests() {
		if matches(method, path, r.Method, r.Path) {
			n++
		}
	}
	return n
}

// Total returns the number of all requests since the start.
func (s *Simulator) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// ForgetRequests clears the request log.
func (s *Simulator) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// OnRequest sets a hook that is called after each request before its response is sent, without locks held; nil removes it.
func (s *Simulator) OnRequest(hook func(Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// RefuseGzip makes Graph answer compressed request bodies with 415, as some of its front ends do.
func (s *Simulator) RefuseGzip(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuseGzip = refuse
}

// A response is JSON or text.
type response struct {
	status      int
	header      http.Header
	body        any    // encoded as JSON; nil: none
	text        string // sent instead of body if contentType is set
	contentType string // of text
}

// ServeHTTP serves Graph below /v1.0, the control API below /control and Entra ID everywhere else.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isControl(r.URL.Path) {
		s.controls.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, "Request Entity Too Large", http.StatusRequestEntityTooLarge)
		return
	}
	seen := Request{Time: s.now(), Host: r.Host, Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone()}
	seen.Header.Del("Authorization")
	zipped := r.Header.Get("Content-Encoding") == "gzip"
	if zipped {
		if plain, err := gunzip(body); err == nil {
			body = plain
		}
	}
	seen.Body = redactForm(r, body)

	fault := s.takeFault(r.Method, r.URL.Path)
	seen.Fault = fault != nil
	var a response
	if fault.carriesOut() {
		if isGraph(r.URL.Path) {
			var release func()
			a, seen.User, release = s.serveGraph(r, body, zipped)
			defer release()
		} else {
			a = s.serveLogin(r, body)
		}
	}
	a, lost := fault.apply(a, isGraph(r.URL.Path), seen.Time)
	if fault != nil && !wait(r.Context(), fault.Delay) {
		lost = true
	}
	if !lost {
		seen.Status = a.status
	}
	s.record(seen)
	if lost {
		panic(http.ErrAbortHandler)
	}
	a.write(w, r)
}

func (s *Simulator) record(r Request) {
	s.mu.Lock()
	s.total++
	if len(s.log) >= logLimit {
		s.log = slices.Delete(s.log, 0, logLimit/10)
	}
	s.log = append(s.log, r)
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		hook(r)
	}
}

func (a response) write(w http.ResponseWriter, r *http.Request) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if isGraph(r.URL.Path) {
		id := uuid.NewString()
		w.Header().Set("request-id", id)
		client := r.Header.Get("client-request-id")
		if client == "" {
			client = id
		}
		w.Header().Set("client-request-id", client)
	}
	switch {
	case a.contentType != "":
		w.Header().Set("Content-Type", a.contentType)
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.text)
	case a.body != nil:
		kind := "application/json; charset=utf-8"
		if isGraph(r.URL.Path) {
			kind = "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
		if e, ok := a.body.(errorBody); ok {
			e.Error.Inner.RequestID, e.Error.Inner.ClientRequestID = w.Header().Get("request-id"), w.Header().Get("client-request-id")
			a.body = e
		}
		w.WriteHeader(a.status)
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		_ = e.Encode(a.body)
	default:
		w.WriteHeader(a.status)
	}
}

func gunzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, bodyLimit))
}

// redactForm removes the secrets from a form, so that the request log can be printed.
func redactForm(r *http.Request, body []byte) []byte {
	if isGraph(r.URL.Path) || len(body) == 0 {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return []byte("…")
	}
	for _, k := range []string{"code", "code_verifier", "refresh_token", "device_code", "client_secret", "client_assertion"} {
		if form.Has(k) {
			form.Set(k, "…")
		}
	}
	return []byte(form.Encode())
}

// matches reports whether the request has this method and path prefix. Graph's paths are case-insensitive.
func matches(method, prefix, gotMethod, gotPath string) bool {
	return (method == "" || method == gotMethod) && len(gotPath) >= len(prefix) && strings.EqualFold(gotPath[:len(prefix)], prefix)
}
