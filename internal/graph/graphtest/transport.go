package graphtest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// A RoundTripper is a function that is an http.RoundTripper.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Answer returns an answer from memory, with pairs of a header and its value.
func Answer(status int, body string, header ...string) *http.Response {
	w := httptest.NewRecorder()
	for i := 0; i < len(header); i += 2 {
		w.Header().Set(header[i], header[i+1])
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
	return w.Result()
}

// JSON is a transport that answers every request with itself.
type JSON string

// RoundTrip implements http.RoundTripper.
func (j JSON) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: int64(len(j)),
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(j))),
	}, nil
}

// A Counter counts answers and their bytes as they arrive.
type Counter struct {
	// OnAnswer, unless nil, is called with each request and the size of its answer as it arrives. It must be set before the first request.
	OnAnswer func(r *http.Request, bytes int)

	next http.RoundTripper

	mu                    sync.Mutex // guards the following
	answers, bytes, plain int
}

// NewCounter returns a Counter of the answers of next.
func NewCounter(next http.RoundTripper) *Counter { return &Counter{next: next} }

// Plain returns the bytes of the answers since the last call of Take as they were before compression.
func (c *Counter) Plain() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plain
}

// Take returns the counts since the last call.
func (c *Counter) Take() (answers, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers, bytes = c.answers, c.bytes
	c.answers, c.bytes, c.plain = 0, 0, 0
	return answers, bytes
}

// RoundTrip implements http.RoundTripper. It asks for a compressed answer, as Go's transport does.
func (c *Counter) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	arrived := len(b)
	if err == nil && resp.Header.Get("Content-Encoding") == "gzip" {
		resp.Header.Del("Content-Encoding")
		resp.ContentLength = -1
		b, err = unzip(b)
	}
	if c.OnAnswer != nil {
		c.OnAnswer(r, arrived)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers++
	c.bytes += arrived
	c.plain += len(b)
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp, err
}

func unzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Unreachable is a transport that gets no answer.
type Unreachable struct{}

// RoundTrip implements http.RoundTripper.
func (Unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no answer")
}
