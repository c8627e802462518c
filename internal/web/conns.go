package web

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"sync"
)

// conns bounds the connections. A new one replaces one on which no request is served, so that connections that nobody was let in on, or
// that wait for a slow client, keep nobody out.
type conns struct {
	mu   sync.Mutex
	max  int
	open *list.List // of *conn, oldest first
}

// A conn is a connection that knows how many of its requests are served.
type conn struct {
	net.Conn
	of      *conns
	peer    netip.Addr
	element *list.Element // nil: it was closed
	serving int           // guarded by of.mu
}

func newConns(limit int) *conns { return &conns{max: limit, open: list.New()} }

// limit returns a listener that accepts connections within the bound.
func (c *conns) limit(l net.Listener) net.Listener { return &limited{l, c} }

type limited struct {
	net.Listener
	conns *conns
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if added := l.conns.add(accepted); added != nil {
			return added, nil
		}
		_ = accepted.Close() // all others are in use
	}
}

// add adds a connection. It returns nil if there are too many that are in use.
func (c *conns) add(accepted net.Conn) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open.Len() >= c.max && !c.evict() {
		return nil
	}
	added := &conn{Conn: accepted, of: c, peer: parsePeer(accepted.RemoteAddr().String())}
	added.element = c.open.PushBack(added)
	return added
}

// evict closes a connection on which no request is served, and reports whether there is one: the oldest of the peer that has most of
// them, so that a peer with many keeps no other out. It is called with mu held.
func (c *conns) evict() bool {
	idle := map[netip.Addr]int{}
	var most netip.Addr
	for e := c.open.Front(); e != nil; e = e.Next() {
		if of := e.Value.(*conn); of.serving == 0 {
			idle[of.peer]++
			if idle[of.peer] > idle[most] {
				most = of.peer
			}
		}
	}
	for e := c.open.Front(); e != nil; e = e.Next() {
		if of := e.Value.(*conn); of.serving == 0 && of.peer == most {
			c.open.Remove(e)
			of.element = nil
			_ = of.Conn.Close()
			return true
		}
	}
	return false
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.of.mu.Lock()
	if c.element != nil {
		c.of.open.Remove(c.element)
		c.element = nil
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

type connKey struct{}

// context is the ConnContext of a server: it adds the connection to the context of its requests.
func (c *conns) context(ctx context.Context, of net.Conn) context.Context {
	if secured, ok := of.(interface{ NetConn() net.Conn }); ok { // TLS
		of = secured.NetConn()
	}
	return context.WithValue(ctx, connKey{}, of)
}

// serve marks the connection of a request as in use until the returned function is called.
func (c *conns) serve(ctx context.Context) (done func()) {
	of, ok := ctx.Value(connKey{}).(*conn)
	if !ok { // in a test of the handler alone
		return func() {}
	}
	add := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		of.serving += n
		if of.element != nil {
			c.open.MoveToBack(of.element)
		}
	}
	add(1)
	return func() { add(-1) }
}
