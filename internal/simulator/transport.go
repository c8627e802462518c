package simulator

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/mail"
)

// Transport returns an in-memory transport that serves requests in the caller's goroutine. It works inside
// testing/synctest, and a request ends with its context. It knows the host names of the options and, once started, the server's address.
func (s *Simulator) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Simulator }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.URL.Scheme != "https" || !t.s.serves(r.URL.Host) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}}
	}
	in := r.Clone(r.Context())
	in.Host = r.URL.Host
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:1"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := &recorder{header: http.Header{}}
	var tail io.Reader = strings.NewReader("")
	if aborted := w.serve(t.s, in); aborted && w.status != 0 {
		tail = brokenReader{}
	} else if aborted {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        w.header,
		Body:          io.NopCloser(io.MultiReader(bytes.NewReader(w.body.Bytes()), tail)),
		ContentLength: w.length(),
		Request:       r,
	}, nil
}

// serves reports whether a host is one of the simulator.
func (s *Simulator) serves(host string) bool {
	graph := strings.TrimPrefix(s.GraphURL(), "https://")
	return slices.Contains([]string{s.options.LoginHost, s.options.GraphHost, mail.UploadHost(s.options.GraphHost), graph, mail.UploadHost(graph)}, host)
}

// A recorder is the ResponseWriter of an in-memory request.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// serve reports whether the handler aborted the connection.
func (w *recorder) serve(s *Simulator, r *http.Request) (aborted bool) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			aborted = true
		default:
			panic(p)
		}
	}()
	s.ServeHTTP(w, r)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return false
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// length returns the length of the body that the header announces.
func (w *recorder) length() int64 {
	if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil {
		return n
	}
	return int64(w.body.Len())
}

// A brokenReader is the end of a body that was cut off.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
