package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
)

// A RecordedResponse is the complete answer of a handler.
type RecordedResponse struct {
	Status int // 0: the handler wrote nothing, for example because its context was canceled
	Header http.Header
	Body   []byte
}

// Record returns the answer of a handler to a request. If the handler panics, it logs that and returns an answer that says so.
func Record(h http.Handler, r *http.Request, log *slog.Logger) (response *RecordedResponse) {
	w := &responseRecorder{response: RecordedResponse{Header: http.Header{}}}
	defer func() {
		if e := recover(); e != nil { // no server recovers it: the request may be answered for another machine
			logPanic(log, e)
			failed := &responseRecorder{response: RecordedResponse{Header: http.Header{}}}
			refuse(failed, http.StatusInternalServerError, panicMessage)
			response = &failed.response
		}
	}()
	h.ServeHTTP(w, r)
	return &w.response
}

// A responseRecorder is a response writer that keeps the answer.
type responseRecorder struct{ response RecordedResponse }

// Header implements http.ResponseWriter.
func (w *responseRecorder) Header() http.Header { return w.response.Header }

// WriteHeader implements http.ResponseWriter.
func (w *responseRecorder) WriteHeader(code int) {
	if w.response.Status == 0 && code >= 200 {
		w.response.Status = code
	}
}

// Write implements http.ResponseWriter.
func (w *responseRecorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.response.Body = append(w.response.Body, b...)
	return len(b), nil
}

// WriteTo answers a request with the response.
func (a *RecordedResponse) WriteTo(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header)
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // who asked may be gone
}

// requestHead and responseHead are the first line of an encoded request and response. The body follows as it is.
type requestHead struct {
	Method  string      `json:"method"`
	Address string      `json:"address"` // path and query
	Host    string      `json:"host"`
	Remote  string      `json:"remote"` // address of the client
	Header  http.Header `json:"header"`
}

type responseHead struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
}

// EncodeRequest encodes a request for a handler on another machine. It reads the body.
func EncodeRequest(r *http.Request) ([]byte, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	return encode(requestHead{r.Method, r.URL.RequestURI(), r.Host, r.RemoteAddr, r.Header}, body)
}

// DecodeRequest decodes what EncodeRequest returns.
func DecodeRequest(ctx context.Context, encoded []byte) (*http.Request, error) {
	var head requestHead
	body, err := decode(encoded, &head)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, head.Method, head.Address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host, r.RemoteAddr, r.RequestURI = head.Host, head.Remote, head.Address
	if head.Header != nil {
		r.Header = head.Header
	}
	return r, nil
}

// Encode encodes the response for [DecodeResponse] on another machine.
func (a *RecordedResponse) Encode() ([]byte, error) {
	return encode(responseHead{a.Status, a.Header}, a.Body)
}

// DecodeResponse decodes what Encode returns.
func DecodeResponse(encoded []byte) (*RecordedResponse, error) {
	var head responseHead
	body, err := decode(encoded, &head)
	if err != nil {
		return nil, err
	}
	if head.Status < 200 || head.Status > 999 { // WriteHeader would panic
		return nil, fmt.Errorf("the answer has the status %d", head.Status)
	}
	return &RecordedResponse{head.Status, head.Header, body}, nil
}

func encode(head any, body []byte) ([]byte, error) {
	line, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	return append(append(line, '\n'), body...), nil
}

func decode(encoded []byte, head any) (body []byte, err error) {
	line, body, _ := bytes.Cut(encoded, []byte("\n"))
	return body, json.Unmarshal(line, head)
}
