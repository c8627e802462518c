// Package natstest runs NATS servers with their MQTT listener for tests.
package natstest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
)

// AckWait is the time after which a server delivers an unacknowledged message again. It is much longer by default.
const AckWait = time.Second

// startTimeout bounds how long servers may take to start.
const startTimeout = 60 * time.Second

// A NATS is a NATS server within the process. Its storage outlives Kill.
type NATS struct {
	URL       string // of its MQTT listener: mqtt://127.0.0.1:…
	ClientURL string // of its own protocol: nats://127.0.0.1:…

	t       testing.TB
	options *server.Options
	server  *server.Server
	log     *serverLog
}

// A serverLog has the newest warnings and errors of a server. The server does not return why it cannot listen.
type serverLog struct {
	mu    sync.Mutex
	lines []string
}

// maxLines bounds the lines of a serverLog.
const maxLines = 20

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

// Warnf, Errorf and Fatalf add a line.
func (l *serverLog) Warnf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	l.lines = l.lines[max(0, len(l.lines)-maxLines):]
}
func (l *serverLog) Errorf(format string, args ...any) { l.Warnf(format, args...) }
func (l *serverLog) Fatalf(format string, args ...any) { l.Warnf(format, args...) }

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// New starts a server with changed options and stops it when the test ends.
func New(t testing.TB, changes ...func(*server.Options)) *NATS {
	t.Helper()
	s := newServer(t, "single")
	for _, change := range changes {
		change(s.options)
	}
	s.Start()
	return s
}

// WithUser is a change that permits a user everything but to publish to the subjects of a filter, and the user admin with the same password
// everything.
func WithUser(name, password, denied string) func(*server.Options) {
	return func(o *server.Options) {
		o.Users = []*server.User{{Username: name, Password: password, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{denied}}}}, {Username: "admin", Password: password}}
	}
}

// WithMaxPayload is a change that limits messages to a size in bytes.
func WithMaxPayload(limit int32) func(*server.Options) {
	return func(o *server.Options) { o.MaxPayload = limit }
}

// NewCluster starts n servers with changed options that share sessions, retained messages and everything else.
func NewCluster(t testing.TB, n int, changes ...func(number int, o *server.Options)) []*NATS {
	t.Helper()
	var all []*NATS
	var routes []string
	for i := range n {
		s := newServer(t, fmt.Sprintf("node%d", i+1))
		s.options.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: porttest.Free(t), NoAdvertise: true} // clients know only the given addresses
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", s.options.Cluster.Port))
		for _, change := range changes {
			change(i, s.options)
		}
		all = append(all, s)
	}
	for _, s := range all {
		s.options.Routes = server.RoutesFromStr(strings.Join(routes, ","))
	}
	StartCluster(all)
	return all
}

// StartCluster starts the servers of a cluster, again after Kill, and waits until they have a leader that can place a stream on each of them.
func StartCluster(all []*NATS) {
	for _, s := range all {
		s.t.Helper()
		s.start()
	}
	for _, s := range all {
		awaitAll(all, "a leader of the cluster", func() bool { return s.server.JetStreamIsCurrent() || s.server.JetStreamIsLeader() })
	}
	awaitAll(all, "all servers of the cluster", func() bool {
		return slices.ContainsFunc(all, func(s *NATS) bool { return len(s.server.JetStreamClusterPeers()) >= len(all) }) // only the leader knows
	})
}

func newServer(t testing.TB, name string) *NATS {
	t.Helper()
	s := &NATS{t: t, options: &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: porttest.Free(t), NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 256 << 20,
		MQTT: server.MQTTOpts{Host: "127.0.0.1", Port: porttest.Free(t), AckWait: AckWait},
	}}
	s.URL = fmt.Sprintf("mqtt://127.0.0.1:%d", s.options.MQTT.Port)
	s.ClientURL = fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port)
	t.Cleanup(s.Kill)
	return s
}

// Start starts the server, again after Kill, on the same port and with what it had stored.
func (s *NATS) Start() {
	s.t.Helper()
	s.start()
	awaitAll([]*NATS{s}, "the server", func() bool { return s.server.ReadyForConnections(time.Second) })
}

func (s *NATS) start() {
	s.t.Helper()
	var err error
	if s.server, err = server.NewServer(s.options.Clone()); err != nil {
		s.t.Fatalf("start NATS: %v", err)
	}
	s.log = new(serverLog)
	s.server.SetLoggerV2(s.log, false, false, false)
	s.server.Start()
}

// Reload changes the options of the running server as a changed configuration file does, and those of later starts.
func (s *NATS) Reload(change func(*server.Options)) {
	s.t.Helper()
	change(s.options)
	if err := s.server.ReloadOptions(s.options.Clone()); err != nil {
		s.t.Fatalf("reload NATS: %v", err)
	}
}

// Restart ends the server and starts it with changed options, which it keeps.
func (s *NATS) Restart(change func(*server.Options)) {
	s.t.Helper()
	s.Kill()
	change(s.options)
	s.Start()
}

// awaitAll waits until f returns true. When it takes too long, the test fails with the logs of the servers.
func awaitAll(all []*NATS, what string, f func() bool) {
	t := all[0].t
	t.Helper()
	for deadline := time.Now().Add(startTimeout); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, s := range all {
				t.Logf("log of %s:\n%s", s.options.ServerName, s.log)
			}
			t.Fatalf("NATS: timed out waiting for %s", what)
		}
	}
}

// connect returns a client of the server.
func (s *NATS) connect() *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect(s.ClientURL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}

// subscribe returns a client that has subscribed to the subjects of a filter.
func (s *NATS) subscribe(filter string) (*nats.Conn, *nats.Subscription) {
	s.t.Helper()
	conn := s.connect()
	sub, err := conn.SubscribeSync(filter)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		s.t.Fatal(err)
	}
	return conn, sub
}

// Count returns a function that returns how many messages clients have published to the subjects of a filter since the call of Count. It
// includes every message that the server has answered.
func (s *NATS) Count(filter string) func() int {
	s.t.Helper()
	conn, sub := s.subscribe(filter)
	return func() int {
		s.t.Helper()
		if err := conn.Flush(); err != nil { // what the server has sent is received before its answer
			s.t.Fatal(err)
		}
		n, _, err := sub.Pending() // nothing takes the messages
		if err != nil {
			s.t.Fatal(err)
		}
		return n
	}
}

// Resend returns a function that requests again what clients request at the subjects of a filter from now on, in the order of the first n
// requests, and waits for each answer.
func (s *NATS) Resend(filter string, n int) (resend func()) {
	s.t.Helper()
	conn, sub := s.subscribe(filter)
	return func() {
		s.t.Helper()
		var all []*nats.Msg
		for range n {
			m, err := sub.NextMsg(startTimeout)
			if err != nil {
				s.t.Fatal(err)
			}
			all = append(all, m)
		}
		for _, m := range all {
			if _, err := conn.Request(m.Subject, m.Data, startTimeout); err != nil {
				s.t.Errorf("sent again to %s: %v", m.Subject, err)
			}
		}
	}
}

// IsLeader reports whether the server leads a stream.
func (s *NATS) IsLeader(stream string) bool {
	return s.server != nil && s.server.JetStreamIsStreamLeader("$G", stream)
}

// Kill ends the server.
func (s *NATS) Kill() {
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.server = nil
	}
}

// Stored returns the messages of a stream.
func (s *NATS) Stored(stream string) []*jetstream.RawStreamMsg {
	s.t.Helper()
	found := s.Stream(stream)
	var all []*jetstream.RawStreamMsg
	for n := range found.CachedInfo().State.LastSeq {
		m, err := found.GetMsg(s.t.Context(), n+1)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// Stream returns a stream.
func (s *NATS) Stream(name string) jetstream.Stream {
	s.t.Helper()
	js, err := jetstream.New(s.connect())
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := js.Stream(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}
