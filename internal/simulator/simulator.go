// Package simulator runs a Microsoft Entra ID and a Microsoft Graph in the process. They refuse what the real services refuse, so
// that code tested against them has a chance to work with Microsoft 365. A Simulator is reachable over HTTPS once started, and in memory at any time.
//
// Its methods control it: they add users, registrations and events, configure the sign-in page, inject faults and
// return the logged requests. They are safe for concurrent use, also from the request hook. The same operations are
// available over HTTP below /control for clients in other processes.
package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/meetings"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/outlook"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/people"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/places"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/planner"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/teams"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/todo"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/users"
)

// Options configure a Simulator. The zero value is usable.
type Options struct {
	Now       func() time.Time // nil: time.Now
	Address   string           // listen address of Start; "": 127.0.0.1:0
	Audience  string           // what long scope names begin with; "": https://graph.microsoft.com
	LoginHost string           // host name in memory; "": login.simulator.test
	GraphHost string           // host name in memory; "": graph.simulator.test
	// Notify sends the change notifications; nil: over the network.
	Notify http.RoundTripper
	// EventHub puts a message into the event hub of an address that starts with "EventHub:"; nil: there is none.
	EventHub func(ctx context.Context, address string, message []byte) error
}

// The parts that a Simulator gets its methods from.
type (
	entraService        = entra.Service
	mailService         = mail.Service
	meetingsService     = meetings.Service
	outlookService      = outlook.Service
	peopleService       = people.Service
	plannerService      = planner.Service
	presenceService     = presence.Service
	todoService         = todo.Service
	teamsService        = teams.Service
	subscriptionService = subscriptions.Service
	placesService       = places.Service
)

// A Simulator is one Entra ID and one Graph with their tenants.
type Simulator struct {
	*entraService
	*mailService
	*meetingsService
	*outlookService
	*peopleService
	*placesService
	*plannerService
	*presenceService
	*todoService
	*teamsService
	*subscriptionService

	options   Options
	directory *directory.Directory
	graph     *odata.Service
	resources []odata.Resource
	controls  http.Handler

	mu        sync.Mutex
	faults    []*Fault
	log       []Request
	total     int
	hook      func(Request)
	listener  net.Listener
	server    *http.Server
	authority *authority
	proxy     *proxy
	closing   bool

	zippers sync.Pool      // of *gzip.Writer
	serving sync.WaitGroup // the server's goroutine and its handlers
}

// New returns an empty Simulator: no user can sign in before AddUser and Register. See Contoso for sample data.
func New(o Options) *Simulator {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Audience == "" {
		o.Audience = "https://graph.microsoft.com"
	}
	if o.LoginHost == "" {
		o.LoginHost = "login.simulator.test"
	}
	if o.GraphHost == "" {
		o.GraphHost = "graph.simulator.test"
	}
	o.Audience = strings.TrimSuffix(o.Audience, "/")
	d := directory.New(o.Now)
	s := &Simulator{
		options: o, directory: d,
		entraService:        entra.New(d, o.Audience),
		meetingsService:     meetings.New(d),
		outlookService:      outlook.New(d),
		peopleService:       people.New(d),
		plannerService:      planner.New(d),
		presenceService:     presence.New(d),
		teamsService:        teams.New(d),
		subscriptionService: subscriptions.New(d, o.Notify, o.EventHub),
	}
	s.placesService = places.New(d, s.outlookService.Share)
	s.mailService = mail.New(d, outlook.Licensed(s.outlookService))
	s.todoService = todo.New(d, outlook.Licensed(s.outlookService), outlook.NextDate)
	s.graph = odata.New(d, s.AccessToken)
	// A new resource is a line here; if it has methods for tests, it is also a type, an embedded field and a line of New above.
	s.resources = []odata.Resource{
		users.Resource(d),
		s.outlookService.Resource(),
		s.mailService.Resource(),
		s.presenceService.Resource(),
		s.plannerService.Resource(),
		s.todoService.Resource(),
		s.teamsService.Resource(),
		s.peopleService.Resource(),
		s.meetingsService.Resource(),
		s.subscriptionService.Resource(),
		s.placesService.Resource(),
	}
	operations := slices.Concat(s.coreControls(), s.entraService.Controls())
	for _, r := range s.resources {
		s.graph.Register(r)
		operations = append(operations, r.Controls...)
	}
	s.controls = control.NewHandler(slices.Concat([]control.Operation{s.rootControl(operations)}, operations), s.local)
	return s
}

// Start serves HTTPS on Options.Address with a certificate of the simulator's own authority.
func (s *Simulator) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return errors.New("start the simulator: already started")
	}
	// Clients check certificates against the system clock, which may differ from Options.Now.
	ca, err := newAuthority(time.Now())
	if err != nil {
		return fmt.Errorf("start the simulator: %w", err)
	}
	config, err := ca.serverConfig()
	if err != nil {
		return fmt.Errorf("start the simulator: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("start the simulator: %w", err)
	}
	s.authority, s.listener = ca, listener
	s.server = s.newServer(s.ServeHTTP, config)
	server := s.server
	s.serving.Go(func() { _ = server.ServeTLS(listener, "", "") })
	return nil
}

// newServer returns a server whose handlers Close waits for. It drops its log: faults make clients disconnect all the time.
func (s *Simulator) newServer(handler http.HandlerFunc, config *tls.Config) *http.Server {
	return &http.Server{Handler: s.counted(handler), TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
}

// counted returns a handler that Close waits for.
func (s *Simulator) counted(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.enterServer() {
			panic(http.ErrAbortHandler)
		}
		defer s.serving.Done()
		handler(w, r)
	}
}

// enterServer registers a running handler unless the server is closing.
func (s *Simulator) enterServer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.serving.Add(1)
	}
	return !s.closing
}

// Close stops the server, aborts its requests and those that it sends, and waits for them.
func (s *Simulator) Close() error {
	defer s.StopNotifications()
	s.mu.Lock()
	server, proxy := s.server, s.proxy
	s.closing = true
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Close()
	if proxy != nil {
		err = errors.Join(err, proxy.close())
	}
	s.serving.Wait()
	return err
}

// LoginURL returns the root of Entra ID, without tenant and trailing slash: the server's after Start, before that the name in memory.
func (s *Simulator) LoginURL() string { return s.root(s.options.LoginHost) }

// GraphURL returns the root of Graph, without version and trailing slash; see LoginURL.
func (s *Simulator) GraphURL() string { return s.root(s.options.GraphHost) }

func (s *Simulator) root(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return "https://" + reachable(s.listener.Addr().(*net.TCPAddr))
	}
	return "https://" + name
}

// reachable returns host and port at which this machine reaches a listener.
func reachable(address *net.TCPAddr) string {
	if address.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", address.Port)
	}
	return address.String()
}

// CA returns the certificate of the simulator's authority in PEM; nil before Start.
func (s *Simulator) CA() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.authority == nil {
		return nil
	}
	return slices.Clone(s.authority.pem)
}
