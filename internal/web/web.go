// Package web is the HTTP listener of the program. Its parts, such as the page and CalDAV, are handlers that are mounted on it; one
// middleware around all of them decides who is let in.
//
// Every request passes, in this order: the check of its Host, which refuses DNS rebinding; the check of its origin, which refuses
// requests that another site makes a browser send; the limit of its body; and the authentication that the [Policy] of its route
// requires.
package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Limits of a listener. Answers are small, except those of CalDAV; the long poll of the page takes 25 s.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = time.Minute      // of a request with its body; then also a handler without an answer ends
	writeTimeout  = 75 * time.Second // from the request's header to the end of the answer
	idleTimeout   = 90 * time.Second
	stopTimeout   = 5 * time.Second // of running requests when the listener stops

	maxHeader  = 32 << 10
	maxBody    = 1 << 20
	maxConns   = 64
	maxStreams = 32 // of an HTTP/2 connection
)

// A Policy defines who may request a route.
type Policy int

// The policies.
const (
	Open      Policy = iota // everybody
	Page                    // who has the password; Home Assistant's ingress has signed the user in
	Secret                  // who has the password, also behind ingress
	Delegated               // everybody: the handler authenticates the request itself, and answers 401 where it does not accept a password
)

// ingress is the address of Home Assistant's ingress inside its network. It is compared with the peer of the TCP connection, never with
// a header.
//
// https://developers.home-assistant.io/docs/add-ons/presentation#ingress
var ingress = netip.MustParseAddr("172.30.32.2")

// Options configure a Server.
type Options struct {
	Listen      string           // "127.0.0.1:8099"
	Certificate *tls.Certificate // nil: HTTP without TLS
	Password    string           // "": routes with the policy Page need none, except that an app needs ingress
	ExternalURL string           // of a reverse proxy; "": none
	Hosts       []string         // host names in lower case
	Ingress     bool             // the program is an app of Home Assistant
	Key         string           // of the configuration, for errors; "": http
	Public      bool             // strangers reach it: it has no password, and nothing but what is mounted
	Healthy     func() bool      // the main loop turns
	Ready       func() bool      // everything has been tried once
	// OnRequest is called after each request with the pattern of its route, "" if it was refused before or there is none. Nil: nothing is.
	OnRequest func(route, method string, code int)
	Log       *slog.Logger
}

// A Route is one mounted handler.
type Route struct {
	Pattern string
	Policy  Policy
}

// A Server is the listener. The parts are mounted before Run.
type Server struct {
	options  Options
	listener net.Listener
	mux      *http.ServeMux
	routes   []Route
	hosts    hosts
	password [32]byte // hash
	failures *Failures
	conns    *conns
	origins  *http.CrossOriginProtection
}

// New listens, and returns a server that answers when Run runs. It must be run or closed.
func New(o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("%s.listen: %w", cmp.Or(o.Key, "http"), err)
	}
	// The configuration refuses this, too, but it does not resolve names.
	if address := listener.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap(); o.Password == "" && !o.Ingress && !o.Public && !address.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("http.password is required: others can reach %s", o.Listen), listener.Close())
	}
	s.listener = s.conns.limit(listener)
	if o.Certificate != nil {
		s.listener = tls.NewListener(s.listener, &tls.Config{
			Certificates: []tls.Certificate{*o.Certificate}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
		})
	}
	return s, nil
}

// newServer returns a server without a listener.
func newServer(o Options) (*Server, error) {
	s := &Server{
		options: o, mux: http.NewServeMux(), hosts: newHosts(o), password: hash(o.Password), failures: NewFailures(),
		conns: newConns(maxConns), origins: http.NewCrossOriginProtection(),
	}
	if u, err := url.Parse(o.ExternalURL); err == nil && u.Host != "" {
		if err := s.origins.AddTrustedOrigin(u.Scheme + "://" + strings.ToLower(u.Host)); err != nil {
			return nil, fmt.Errorf("http.external_url: %w", err)
		}
	}
	if !o.Public {
		s.Mount("/healthz", Open, check(o.Healthy))
		s.Mount("/readyz", Open, check(o.Ready))
	}
	return s, nil
}

// check returns a handler that answers 200 or 503, without details.
func check(ok func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "use GET")
			return
		}
		if !ok() {
			refuse(w, http.StatusServiceUnavailable, "not ready")
			return
		}
		refuse(w, http.StatusOK, "ok")
	})
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Mount adds a handler for a path, or for all paths below a pattern that ends in a slash. It must not be called any more once Run is.
func (s *Server) Mount(pattern string, policy Policy, h http.Handler) {
	s.routes = append(s.routes, Route{pattern, policy})
	s.mux.Handle(pattern, s.authenticated(pattern, policy, h))
}

// Routes returns the mounted routes.
func (s *Server) Routes() []Route { return slices.Clone(s.routes) }

// Close stops listening, for a server that is not run.
func (s *Server) Close() error { return s.listener.Close() }

// Run answers requests until ctx is done. Then it lets running requests finish for a few seconds, except for those that only read:
// their context is canceled at once.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ConnContext: s.conns.context, BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), runKey{}, ctx)
		}, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog: slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug), // anyone who connects can cause these lines
	}
	s.options.Log.Info("listening", "address", s.Addr(), "tls", s.options.Certificate != nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("the HTTP listener failed: %w", err), server.Close())
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-served
	return err
}

// Handler returns the handler of all requests.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// The headers of every answer. Handlers may change those that are about their own content.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; " +
		"base-uri 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

// serve applies everything that does not depend on the route, and passes the request on.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	a := &statusWriter{ResponseWriter: w}
	x := &requestInfo{peer: ParsePeer(r.RemoteAddr)}
	x.ingress = s.options.Ingress && x.peer == ingress
	if s.options.OnRequest != nil {
		defer func() { s.options.OnRequest(x.route, r.Method, cmp.Or(a.code, http.StatusOK)) }()
	}
	if !x.ingress && !s.hosts.allow(r.Host) && s.options.Public {
		refuse(a, http.StatusMisdirectedRequest, "this is another host")
		return
	}
	if !x.ingress && !s.hosts.allow(r.Host) {
		refuse(a, http.StatusMisdirectedRequest, fmt.Sprintf("this is not the host %q; to reach it by this name, add the name to http.hosts", truncate(r.Host)))
		return
	}
	if err := s.origins.Check(r); err != nil {
		refuse(a, http.StatusForbidden, "another site sent this request")
		return
	}
	if r.ContentLength > maxBody {
		refuse(a, http.StatusRequestEntityTooLarge, fmt.Sprintf("want a body of at most %d bytes", maxBody))
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	ctx := context.WithValue(r.Context(), requestInfoKey{}, x)
	if running, ok := ctx.Value(runKey{}).(context.Context); ok && readsOnly(r.Method) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(running, cancel)()
	}
	defer s.recovered(a, x)
	s.mux.ServeHTTP(a, r.WithContext(ctx))
}

// recovered logs the panic of a handler and answers in its place. If it has begun to answer, the connection is closed instead.
func (s *Server) recovered(a *statusWriter, x *requestInfo) {
	switch e := recover(); {
	case e == nil:
	case e == http.ErrAbortHandler:
		panic(e)
	default:
		logPanic(s.options.Log.With("route", x.route), e)
		if a.code != 0 {
			panic(http.ErrAbortHandler)
		}
		refuse(a, http.StatusInternalServerError, panicMessage)
	}
}

// panicMessage is the answer in place of that of a handler that panicked.
const panicMessage = "this failed; see the log"

// logPanic logs the panic of a handler.
func logPanic(log *slog.Logger, e any) {
	log.Error("request handler panicked", "error", fmt.Sprint(e), "stack", string(debug.Stack()))
}

// readsOnly reports whether a request with this method changes nothing.
func readsOnly(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, "PROPFIND", "REPORT"}, method)
}

// A requestInfo holds the facts about a request that the steps of the middleware share.
type requestInfo struct {
	peer    netip.Addr
	ingress bool // it came through Home Assistant's ingress
	route   string
}

type requestInfoKey struct{}

// runKey is the key of the context of Run.
type runKey struct{}

// ParsePeer returns the address at the other end of a connection, invalid if it is unknown.
func ParsePeer(address string) netip.Addr {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// A statusWriter is a response writer that remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (a *statusWriter) WriteHeader(code int) {
	if a.code == 0 && code >= 200 {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *statusWriter) Write(b []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap returns the writer of the server, for http.ResponseController.
func (a *statusWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// refuse answers with a code and one line of text.
func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(message + "\n")) // who asked may be gone
}

// truncate shortens text of a request for an answer.
func truncate(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}
