// Package web defines the HTTP response that the parts of the simulator return.
package web

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// A Response is JSON or text.
type Response struct {
	Status      int
	Header      http.Header
	Body        any    // encoded as JSON; nil: none
	Text        string // sent if Body is nil
	ContentType string // of Text; of Body only if it is not plain JSON
}

// Encode returns the body and its content type; "" if there is no body.
func (r Response) Encode() (body []byte, contentType string) {
	if r.Body == nil {
		return []byte(r.Text), r.ContentType
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r.Body); err != nil {
		panic(err) // the simulator's own types
	}
	if r.ContentType == "" {
		return b.Bytes(), "application/json; charset=utf-8"
	}
	return b.Bytes(), r.ContentType
}

// Write sends the response. A Content-Type in Header takes precedence.
func (r Response) Write(w http.ResponseWriter) {
	body, contentType := r.Encode()
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	for k, v := range r.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(body)
}
