package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// proxiedHosts returns the hosts of Microsoft that the proxy stands in for.
func proxiedHosts() []string {
	return []string{"graph.microsoft.com", "login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net", "outlook.office.com"}
}

// A proxy is an HTTP proxy that answers CONNECT to Microsoft's hosts itself, and refuses all others.
type proxy struct {
	listener net.Listener
	connect  *http.Server // answers CONNECT
	inner    *http.Server // serves the connections
	tunnels  *tunnelListener
}

// StartProxy serves an HTTP proxy on the address for clients with fixed addresses: set HTTPS_PROXY to ProxyURL and trust CA. Requests to
// graph.microsoft.com, login.microsoftonline.com and outlook.office.com reach the simulator; other hosts are refused. Call it after Start; Close ends it.
func (s *Simulator) StartProxy(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.authority == nil || s.closing:
		return errors.New("start the proxy: the simulator is not running")
	case s.proxy != nil:
		return errors.New("start the proxy: already started")
	}
	config, err := s.authority.serverConfig(proxiedHosts()...)
	if err != nil {
		return fmt.Errorf("start the proxy: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("start the proxy: %w", err)
	}
	p := &proxy{listener: listener, tunnels: newTunnelListener(listener.Addr())}
	p.connect = s.newServer(p.serveConnect, nil)
	p.inner = s.newServer(s.serve, config) // Microsoft's hosts have no control API
	s.proxy = p
	s.serving.Go(func() { _ = p.connect.Serve(listener) })
	s.serving.Go(func() { _ = p.inner.ServeTLS(p.tunnels, "", "") })
	return nil
}

// ProxyURL returns the address of the proxy; "" unless StartProxy was called.
func (s *Simulator) ProxyURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proxy == nil {
		return ""
	}
	return "http://" + reachable(s.proxy.listener.Addr().(*net.TCPAddr))
}

func (p *proxy) close() error {
	return errors.Join(p.connect.Close(), p.tunnels.Close(), p.inner.Close())
}

func (p *proxy) serveConnect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "The proxy of the graph2mqtt simulator supports CONNECT only.", http.StatusMethodNotAllowed)
		return
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != "443" || !slices.Contains(proxiedHosts(), strings.ToLower(host)) {
		http.Error(w, "The proxy of the graph2mqtt simulator does not connect to "+r.Host+".", http.StatusForbidden)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "CONNECT requires HTTP/1.1.", http.StatusHTTPVersionNotSupported)
		return
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	p.tunnels.add(&tunnel{conn, buffered.Reader})
}

// A tunnel is a hijacked connection. The client may have sent data right after CONNECT.
type tunnel struct {
	net.Conn
	reader io.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.reader.Read(p) }

// A tunnelListener accepts the tunnels of a proxy.
type tunnelListener struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newTunnelListener(address net.Addr) *tunnelListener {
	return &tunnelListener{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *tunnelListener) add(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.closed:
		_ = conn.Close()
	}
}

func (l *tunnelListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *tunnelListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *tunnelListener) Addr() net.Addr { return l.address }
