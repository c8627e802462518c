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

// A Request is one that came, and how it was answered. It holds no token, code or secret.
type Request struct {
	Time   time.Time
	Host   string
	Method string
	Path   string // "/v1.0/me/events"
	Query  url.Values
	Header http.Header // without Authorization
	Body   []byte      // as it is after decompression; of a form with the secrets blotted out
	User   string      // address of the token's user; "" without a valid token
	Status int         // 0: not answered
	Fault  bool        // a fault struck it
}

// Requests are those that came, oldest first; at most the last ten thousand.
func (s *Simulator) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count is the number of requests in Requests with this method ("": any) and with a path that begins so.
func (s *Simulator) Count(method, path string) int {
	n := 0
	for _, r := range s.Requests() {
		if matches(method, path, r.Method, r.Path) {
			n++
		}
	}
	return n
}

// Total is the number of all requests that ever came.
func (s *Simulator) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// ForgetRequests empties Requests.
func (s *Simulator) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// OnRequest sets what is called after each request, with nothing locked, before its answer leaves; nil: nothing.
func (s *Simulator) OnRequest(hook func(Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// RefuseGzip makes Graph answer compressed bodies 415, as some of its front ends do.
func (s *Simulator) RefuseGzip(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuseGzip = refuse
}

// An answer is what a handler makes of a request: JSON or text.
type response struct {
	status      int
	header      http.Header
	body        any    // marshalled as JSON; nil: none
	text        string // instead of body, where there is a contentType
	contentType string // of text
}

// ServeHTTP is all: Graph below /v1.0, the control side below /control, Entra ID everywhere else.
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

// redactForm takes what is secret out of a form: a log of requests must be fit to be printed.
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

// matches reports whether a pattern of method and path prefix takes a request. Graph's paths have no case.
func matches(method, prefix, gotMethod, gotPath string) bool {
	return (method == "" || method == gotMethod) && len(gotPath) >= len(prefix) && strings.EqualFold(gotPath[:len(prefix)], prefix)
}
