// Package supervisortest is a fake of Home Assistant's Supervisor for tests.
package supervisortest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Token is the token that the fake accepts.
const Token = "0123456789abcdef"

// A Supervisor is a fake of the Supervisor of Home Assistant OS. It answers like the one of August 2026.
type Supervisor struct {
	URL string

	mu       sync.Mutex // guards what follows
	answer   answer
	requests int
	asked    chan struct{} // closed at the next request
}

type answer struct {
	status      int
	contentType string
	body        string
}

// Start starts a fake whose Home Assistant has no broker. It ends with the test.
func Start(t testing.TB) *Supervisor {
	t.Helper()
	s := &Supervisor{asked: make(chan struct{})}
	s.SetNoBroker()
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

func (s *Supervisor) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	close(s.asked)
	s.asked = make(chan struct{})
	a := s.answer
	switch {
	case r.Header.Get("Authorization") == "":
		a = answer{http.StatusUnauthorized, "text/plain; charset=utf-8", "401: Unauthorized"}
	case r.Header.Get("Authorization") != "Bearer "+Token:
		a = answer{http.StatusForbidden, "text/plain; charset=utf-8", "403: Forbidden"}
	case r.Method != http.MethodGet || r.URL.Path != "/services/mqtt":
		a = answer{http.StatusNotFound, "text/plain; charset=utf-8", "404: Not Found"}
	}
	w.Header().Set("Content-Type", a.contentType)
	w.WriteHeader(a.status)
	_, _ = fmt.Fprint(w, a.body)
}

// SetNoBroker makes no app the MQTT broker.
func (s *Supervisor) SetNoBroker() {
	s.SetAnswer(http.StatusBadRequest, `{"result":"error","message":"Service not enabled"}`)
}

// SetBroker makes an app the MQTT broker.
func (s *Supervisor) SetBroker(host string, port int, username, password string) {
	s.SetAnswer(http.StatusOK, fmt.Sprintf(
		`{"result":"ok","data":{"host":%q,"port":%d,"username":%q,"password":%q,"protocol":"3.1.1","ssl":false,"addon":"core_mosquitto"}}`,
		host, port, username, password))
}

// SetAnswer sets the answer to requests for the broker: JSON.
func (s *Supervisor) SetAnswer(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer{status, "application/json; charset=utf-8", body}
}

// Requests returns the number of requests so far, and a channel that is closed at the next one.
func (s *Supervisor) Requests() (n int, next <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.asked
}
