package simulator

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
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

// ServeHTTP serves Graph below /v1.0, the control API below /control and Entra ID everywhere else.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if control.Is(r.URL.Path) {
		s.controls.ServeHTTP(w, r)
		return
	}
	s.serve(w, r)
}

// serve serves Graph and Entra ID.
func (s *Simulator) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, "Request Entity Too Large", http.StatusRequestEntityTooLarge)
		return
	}
	resp, fault, lost := s.exchange(withoutEmptySegments(r), body)
	if lost {
		panic(http.ErrAbortHandler)
	}
	s.send(w, r, resp, fault)
}

// withoutEmptySegments returns the request with //me as /me, as Graph reads it: Microsoft's SDK for Python sends such paths.
func withoutEmptySegments(r *http.Request) *http.Request {
	if !odata.Is(r.URL.Path) || !strings.Contains(r.URL.Path, "//") {
		return r
	}
	collapse := func(path string) string {
		for strings.Contains(path, "//") {
			path = strings.ReplaceAll(path, "//", "/")
		}
		return path
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = collapse(r.URL.Path), collapse(r.URL.RawPath)
	return r
}

// exchange executes a request unless a fault prevents it, and logs it. lost reports that there is no response.
func (s *Simulator) exchange(r *http.Request, body []byte) (resp web.Response, fault *Fault, lost bool) {
	seen := Request{Time: s.directory.Now(), Host: r.Host, Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone()}
	seen.Header.Del("Authorization")
	compressed := r.Header.Get("Content-Encoding") == "gzip"
	if compressed {
		if plain, err := gunzip(body); err == nil {
			body = plain
		}
	}
	seen.Body = redactForm(r, body)
	if seen.Query.Has("authtoken") {
		seen.Query.Set("authtoken", "…")
	}

	fault = s.takeFault(r.Method, r.URL.Path)
	seen.Fault = fault != nil
	if fault.executes() {
		var release func()
		resp, seen.User, release = s.execute(r, body, compressed)
		defer release()
	}
	resp, lost = fault.apply(resp, r, seen.Time)
	if odata.Is(r.URL.Path) {
		resp = odata.Finish(resp, r)
	}
	if fault != nil && !wait(r.Context(), fault.Delay) {
		lost = true
	}
	if !lost {
		seen.Status = resp.Status
	}
	s.record(seen)
	return resp, fault, lost
}

// execute also returns the address of the user, and the function to call when the request has ended.
func (s *Simulator) execute(r *http.Request, body []byte, compressed bool) (resp web.Response, user string, release func()) {
	switch {
	case odata.IsBatch(r):
		resp, user = s.graph.Batch(r, body, s.batched)
		return resp, user, func() {}
	case odata.Is(r.URL.Path):
		return s.graph.Serve(r, body, compressed)
	case mail.IsUpload(r.URL.Path):
		return s.mailService.Upload(r, body), "", func() {}
	default:
		return s.entraService.Serve(r, body), "", func() {}
	}
}

// batched executes a request of a batch. One without a response is a timeout.
func (s *Simulator) batched(r *http.Request) web.Response {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err) // in memory
	}
	resp, _, lost := s.exchange(r, body)
	if lost {
		return odata.Finish(odata.NewError(http.StatusGatewayTimeout, "GatewayTimeout", "The request of the batch got no response.").Response(s.directory.Now()), r)
	}
	return resp
}

// send writes the response, compressed if the client accepts it. A fault may cut it off.
func (s *Simulator) send(w http.ResponseWriter, r *http.Request, resp web.Response, fault *Fault) {
	if fault != nil && fault.Truncate > 0 {
		body, contentType := resp.Encode()
		header := w.Header()
		header.Set("Content-Type", contentType)
		maps.Copy(header, resp.Header)
		header.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(resp.Status)
		_, _ = w.Write(body[:min(fault.Truncate, len(body))])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if body, contentType := resp.Encode(); len(body) > 0 && acceptsGzip(r) {
		resp.Header = resp.Header.Clone()
		if resp.Header == nil {
			resp.Header = http.Header{}
		}
		resp.Header.Set("Content-Encoding", "gzip")
		resp.Header.Add("Vary", "Accept-Encoding")
		resp.Body, resp.Text, resp.ContentType = nil, s.zip(body), contentType
	}
	resp.Write(w)
}

// acceptsGzip reports whether the client accepts compressed responses.
func acceptsGzip(r *http.Request) bool {
	for _, h := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(h, ",") {
			coding, weight, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";")
			if strings.EqualFold(coding, "gzip") && (weight == "" || strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "") {
				return true
			}
		}
	}
	return false
}

func (s *Simulator) zip(b []byte) string {
	var out strings.Builder
	z, ok := s.zippers.Get().(*gzip.Writer) // making one costs more than the rest of most answers
	if ok {
		z.Reset(&out)
	} else {
		z = gzip.NewWriter(&out)
	}
	defer s.zippers.Put(z)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.String()
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

func gunzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, bodyLimit))
}

// redactForm removes the secrets from a form, and the bytes of an upload, so that the request log can be printed.
func redactForm(r *http.Request, body []byte) []byte {
	if odata.Is(r.URL.Path) || len(body) == 0 {
		return body
	}
	if mail.IsUpload(r.URL.Path) {
		return []byte("…")
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
