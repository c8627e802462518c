package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/net/proxy"
)

// dial opens the network connection of an MQTT connection. It honors the environment's proxy.
func dial(u *url.URL, o paho.ClientOptions) (net.Conn, error) {
	if u.Scheme == "ws" || u.Scheme == "wss" {
		return paho.NewWebsocket(u.String(), o.TLSConfig, o.ConnectTimeout, o.HTTPHeaders, o.WebsocketOptions)
	}
	conn, err := proxy.FromEnvironmentUsing(&net.Dialer{Timeout: o.ConnectTimeout}).Dial("tcp", u.Host)
	if err != nil || u.Scheme != "mqtts" {
		return conn, err
	}
	config := o.TLSConfig.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.ServerName = cmp.Or(config.ServerName, u.Hostname())
	secured := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(context.Background(), o.ConnectTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// connectTimeout bounds an attempt to connect, a write, and each wait of an Observer.
const connectTimeout = 10 * time.Second

// pahoOptions returns the options that every client of the broker has.
func (o Options) pahoOptions(u *url.URL) *paho.ClientOptions {
	c := paho.NewClientOptions()
	c.Servers = []*url.URL{u}
	c.SetProtocolVersion(4).SetUsername(o.Username).SetPassword(o.Password)
	if o.TLS != nil {
		c.SetTLSConfig(o.TLS)
	}
	return c.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(connectTimeout).SetWriteTimeout(connectTimeout)
}

// connect makes a new paho client: one that reconnects by itself forgets whether the broker kept the session, and resends what it had
// stored, however old.
func (c *Client) connect(ctx context.Context) (*connection, bool, error) {
	conn := newConnection(c)
	c.mu.Lock()
	u := c.url()
	c.mu.Unlock()
	o := c.options.pahoOptions(u)
	o.SetClientID(c.options.ClientID).SetCleanSession(false)
	o.SetKeepAlive(cmp.Or(c.options.KeepAlive, time.Minute)).SetPingTimeout(10 * time.Second)
	o.SetOrderMatters(true).SetAutoAckDisabled(true)
	o.SetBinaryWill(c.bridgeTopic("state"), []byte(offline), qos, true)
	o.SetStore(paho.NewMemoryStore())
	// Set before connecting: what waits in the session arrives at once.
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { c.onMessage(conn, m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { conn.lost <- err })
	o.SetCustomOpenConnectionFn(func(u *url.URL, o paho.ClientOptions) (net.Conn, error) {
		socket, err := dial(u, o)
		if err != nil {
			return nil, err
		}
		return &trackedConn{Conn: socket, connection: conn}, nil
	})
	conn.paho = paho.NewClient(o)

	token := conn.paho.Connect().(*paho.ConnectToken)
	select {
	case <-token.Done():
	case <-ctx.Done():
		close(conn.ended)
		conn.paho.Disconnect(0)
		return nil, false, ctx.Err()
	}
	if err := token.Error(); err != nil {
		kind := refusedBy(token.ReturnCode())
		if kind == network {
			err = withoutPahoPrefix(err)
			if cause := conn.readError.Load(); cause != nil && !errors.Is(err, *cause) { // paho's own lacks it
				err = fmt.Errorf("%w: %w", err, *cause)
			}
			kind = kindOf(err)
		}
		return nil, false, &failure{kind: kind, err: err}
	}
	return conn, token.SessionPresent(), nil
}

// A trackedConn notes when the broker was heard and how many acknowledgements were written.
type trackedConn struct {
	net.Conn
	connection *connection
}

func (t *trackedConn) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if n > 0 {
		t.connection.onHeard(time.Now())
	}
	if err != nil {
		t.connection.readError.Store(&err)
	}
	return n, err
}

// puback is the first byte of an acknowledgement (MQTT 3.1.1, section 3.4.1). Paho writes each packet with one call.
const puback = 0x40

func (t *trackedConn) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if err == nil && len(p) > 0 && p[0] == puback {
		t.connection.acksWritten.Add(1)
		if t.connection.confirming.Load() {
			t.connection.client.wakeWriter()
		}
	}
	return n, err
}

// heardFields are written by paho's reader and writer.
type heardFields struct {
	heard       atomic.Int64 // when the broker was last heard, in nanoseconds of the wall clock
	alive       atomic.Int64 // when the process was last known to run
	acksWritten atomic.Uint64
	confirming  atomic.Bool // a confirmation waits
	readError   atomic.Pointer[error]
}

// onHeard notes that the broker was heard. After a pause in which the process did not run, what is read next may have waited for as long.
func (conn *connection) onHeard(now time.Time) {
	conn.checkFrozen(now)
	conn.heard.Store(now.UnixNano())
	conn.alive.Store(now.UnixNano())
}

// checkFrozen starts a new barrier if the process did not run for a while, because it was frozen or the machine suspended: messages that
// arrive before the barrier may have waited since then.
func (conn *connection) checkFrozen(now time.Time) {
	alive := conn.alive.Load()
	if alive == 0 {
		return
	}
	gap := time.Duration(now.UnixNano() - alive)
	if gap <= 2*conn.client.options.Timing.Heartbeat {
		return
	}
	c := conn.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if !conn.hasBacklog() {
		conn.barrierPassed, conn.away = false, gap
		conn.round++
		conn.expectBarriers(c.filters)
	} else {
		conn.away = max(conn.away, gap)
	}
	conn.alive.Store(now.UnixNano())
	conn.barrierDue = true
	c.wakeWriter()
}
