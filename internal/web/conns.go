package web

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// conns limits the number of connections. At the limit, a new connection replaces one on which no request is served, so that idle and
// unauthenticated connections cannot lock out clients.
type conns struct {
	mu   sync.Mutex
	max  int
	open *list.List // of *conn, oldest first
}

// A conn is a connection that counts its running requests.
type conn struct {
	net.Conn
	of      *conns
	peer    netip.Addr
	closed  chan struct{} // closed when the server has closed it
	once    sync.Once     // of closed
	element *list.Element // nil: it does not count any more; guarded by of.mu
	serving int           // guarded by of.mu
}

// closeTimeout bounds the wait until the server has closed a connection that was replaced.
const closeTimeout = 100 * time.Millisecond

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
	added := &conn{Conn: accepted, of: c, peer: ParsePeer(accepted.RemoteAddr().String()), closed: make(chan struct{})}
	replaced, ok := c.replace(added)
	if !ok {
		return nil
	}
	if replaced != nil {
		_ = replaced.Conn.Close()
		// Until the server has noticed it needs its memory.
		select {
		case <-replaced.closed:
		case <-time.After(closeTimeout):
		}
	}
	return added
}

// replace adds a connection to the open ones, and returns the one that it takes the place of, if any. It reports false if there are too
// many that are in use.
func (c *conns) replace(added *conn) (replaced *conn, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open.Len() >= c.max {
		if replaced = c.dispensable(); replaced == nil {
			return nil, false
		}
		c.open.Remove(replaced.element)
		replaced.element = nil
	}
	added.element = c.open.PushBack(added)
	return replaced, true
}

// dispensable returns a connection on which no request is served, nil if there is none: the oldest of the peer that has most of them,
// so that a peer with many keeps no other out. It is called with mu held.
func (c *conns) dispensable() *conn {
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
			return of
		}
	}
	return nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.of.mu.Lock()
	if c.element != nil {
		c.of.open.Remove(c.element)
		c.element = nil
	}
	c.of.mu.Unlock()
	c.once.Do(func() { close(c.closed) })
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
