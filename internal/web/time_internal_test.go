package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A pipeListener accepts the ends of pipes, which wait in fake time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// A piped is a server whose clients are pipes.
type piped struct {
	*Server
	listener *pipeListener
	stop     func() error
}

func newPiped(t *testing.T, h http.HandlerFunc) *piped {
	t.Helper()
	s, err := newServer(Options{Password: "hunter2hunter2", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Mount("/page", Page, h)
	p := &piped{Server: s, listener: &pipeListener{make(chan net.Conn), make(chan struct{})}}
	s.listener = s.conns.limit(p.listener)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	p.stop = func() error { cancel(); return <-ended }
	return p
}

// dial connects, and sends text.
func (p *piped) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	p.listener.conns <- server
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
	return client
}

const signedIn = "Authorization: Basic YTpodW50ZXIyaHVudGVyMg==\r\n"

// closedAfter returns the text that is read until a connection is closed, and the time until then.
func closedAfter(c net.Conn) (string, time.Duration) {
	began := time.Now()
	text, _ := io.ReadAll(c) // the server closes it in any way
	return string(text), time.Since(began)
}

// Slow clients lose their connection.
func TestSlowClients(t *testing.T) {
	for _, test := range []struct {
		name, text string
		after      time.Duration
		want       string
	}{
		{"nothing", "", 10 * time.Second, ""},
		{"a part of a header", "GET /page HTTP/1.1\r\nHost: a\r\n", 10 * time.Second, ""},
		{"a part of a body", "POST /page HTTP/1.1\r\nHost: a\r\n" + signedIn + "Content-Length: 10\r\n\r\n12345", time.Minute, "HTTP/1.1 200"},
		{"a part of a body of a stranger", "POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345", time.Minute, "HTTP/1.1 401"},
		{"no further request", "GET /page HTTP/1.1\r\nHost: a\r\n" + signedIn + "\r\n", 90 * time.Second, "HTTP/1.1 200"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var failed error
				p := newPiped(t, func(w http.ResponseWriter, r *http.Request) { _, failed = io.Copy(io.Discard, r.Body) })
				text, after := closedAfter(p.dial(t, test.text))
				if after != test.after || !strings.HasPrefix(text, test.want) {
					t.Errorf("closed after %s, with %q", after, text)
				}
				if strings.Contains(test.name, "body") && strings.Contains(test.text, signedIn) && failed == nil {
					t.Error("the handler read a complete body")
				}
				if err := p.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// When the server stops, what only reads ends at once, and the rest may finish.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends, answers := make(chan string, 2), make(chan string, 2) // in their order
		p := newPiped(t, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(3 * time.Second):
			}
			ends <- r.Method + " " + strconv.FormatBool(errors.Is(r.Context().Err(), context.Canceled))
		})
		get := p.dial(t, "GET /page HTTP/1.1\r\nHost: a\r\n"+signedIn+"\r\n")
		post := p.dial(t, "POST /page HTTP/1.1\r\nHost: a\r\n"+signedIn+"Content-Length: 0\r\n\r\n")
		synctest.Wait()
		for _, c := range []net.Conn{get, post} {
			go func() {
				line, _ := bufio.NewReader(c).ReadString('\n')
				answers <- strings.TrimSpace(line)
			}()
		}
		began := time.Now()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 3*time.Second || took > stopTimeout {
			t.Errorf("stopped after %s", took)
		}
		<-answers
		if first, second, last := <-ends, <-ends, <-answers; first != "GET true" || second != "POST false" || last != "HTTP/1.1 200 OK" {
			t.Errorf("%s, %s, %s", first, second, last)
		}
	})
}

// A peer with many wrong passwords must wait, also with the right one; others need not.
func TestWrongPasswordsAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newServer(Options{Password: "hunter2hunter2", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s.Mount("/page", Page, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
		s.Mount("/own", Delegated, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, given, _ := r.BasicAuth(); given != "generated" {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = io.WriteString(w, "answered")
		}))
		ask := func(path, peer, password string) string {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.RemoteAddr = peer
			if password != "" {
				r.SetBasicAuth("a", password)
			}
			w := &recorder{header: http.Header{}}
			s.Handler().ServeHTTP(w, r)
			return strings.TrimSpace(strconv.Itoa(w.code) + " " + w.header.Get("Retry-After"))
		}
		wants := func(want, path, peer, password string) {
			t.Helper()
			if got := ask(path, peer, password); got != want {
				t.Errorf("%s from %s with %q: %s, want %s", path, peer, password, got, want)
			}
		}
		const attacker, neighbor, other = "[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1"
		for range 5 {
			wants("401", "/page", attacker, "wrong password")
			wants("401", "/own", attacker, "wrong password")
		}
		wants("429 2", "/page", attacker, "wrong password")
		wants("429 2", "/page", attacker, "hunter2hunter2") // or it could be found by the difference
		wants("429 2", "/own", neighbor, "any")
		wants("200", "/own", attacker, "generated") // nobody finds it by trying, and others may share the address
		wants("401", "/own", attacker, "")
		wants("401", "/page", attacker, "") // a browser that has yet to ask
		wants("200", "/page", other, "hunter2hunter2")
		time.Sleep(time.Second)
		wants("200", "/page", attacker, "hunter2hunter2")
		wants("401", "/page", attacker, "wrong password")
		wants("429 2", "/page", attacker, "hunter2hunter2")
		for range 1000 { // they do not prolong it
			ask("/page", attacker, "wrong password")
		}
		time.Sleep(time.Second)
		wants("200", "/page", attacker, "hunter2hunter2")

		// Many peers share one count, so that the memory is bounded.
		for i := range 3 * maxPeers {
			peer := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			ask("/page", netip.AddrPortFrom(peer, 1).String(), "wrong password")
		}
		if n := len(s.failures.until); n > maxPeers+1 {
			t.Errorf("%d peers are remembered", n)
		}
		time.Sleep(failureMax)
		wants("200", "/page", "10.0.11.1:1", "hunter2hunter2")
	})
}

type recorder struct {
	header http.Header
	code   int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
}
func (r *recorder) Write(b []byte) (int, error) { r.WriteHeader(http.StatusOK); return len(b), nil }

// A connection on which a request is served is kept; if all are, no further one is accepted.
func TestConnectionsInUse(t *testing.T) {
	synctest.Test(t, testConnectionsInUse)
}

func testConnectionsInUse(t *testing.T) {
	c := newConns(2)
	add := func() *conn {
		_, server := net.Pipe()
		return c.add(server)
	}
	first, second := add(), add()
	ctx := c.context(t.Context(), first)
	done := c.serve(ctx)
	third := add() // in the place of the second
	if third == nil || second.element != nil || first.element == nil {
		t.Fatal("the wrong connection was closed")
	}
	doneToo := c.serve(c.context(t.Context(), third))
	if add() != nil {
		t.Error("one more was accepted though all are in use")
	}
	done()
	if fourth := add(); fourth == nil || first.element != nil {
		t.Error("none was accepted though one is free")
	}
	doneToo()
	if err := third.Close(); err != nil || c.open.Len() != 1 {
		t.Errorf("%v, %d are open", err, c.open.Len())
	}
}
