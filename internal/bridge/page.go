package bridge

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/caldav"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// mountPage adds the status page to a listener.
func (b *Bridge) mountPage(l *listener, c config.HTTP) error {
	if b.links == nil {
		b.links = OpenSignInLinks(b.options.Dir, b.log)
	}
	handler, err := page.New(b.pageOptions(c, l.server.Addr(), b.links, b.passwords))
	if err != nil {
		return err
	}
	b.options.File.setOnChange(handler.Notify)
	l.server.Mount("/", web.Page, handler)
	l.server.Mount(SignInPath, web.Open, handler.SignInFiles())
	l.server.Mount(page.SignInAPIPath, web.Delegated, handler.SignInAPI())
	l.tasks = append(l.tasks, func(ctx context.Context) error { return b.links.Run(ctx, b.signedInAt) })
	return nil
}

// pageOptions returns the options of the status page for a listener with an address.
func (b *Bridge) pageOptions(c config.HTTP, address string, links *page.Links, passwords *caldav.Credentials) page.Options {
	o := page.Options{
		Version: b.options.Version, Started: b.started, Log: b.log.With("component", "http"), Configuration: b.options.File,
		Hub: b.hub, Dispatcher: b.dispatcher, Account: b.accountInfo, Program: b.programInfo, Requests: b.requests, Links: links,
		Topic: func(id hub.ID) string { return b.topics.Sensor(id.Account, id.Sensor, "") },
		Root:  func(base string) string { return rootURL(base, c.ExternalURL, address) },
	}
	if c.Calendars {
		o.Calendars = calendars{passwords, c.ExternalURL, address}
	}
	return o
}

// handler returns the handler of everything about the accounts of the bridge, for a ShardListener, which authenticates who may see the status
// page, and does the rest of it.
func (b *Bridge) handler(c config.HTTP, links *page.Links, passwords *caldav.Credentials) (http.Handler, error) {
	o := b.pageOptions(c, "", links, passwords)
	o.Configuration = nil
	p, err := page.New(o)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/state", p)
	mux.Handle("/api/actions", p)
	mux.Handle(page.SignInAPIPath, p.SignInAPI())
	var server http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // not that there are none: clients would delete theirs
		http.Error(w, "calendars are off on the machine that has this account: set http.calendars to true on all machines", http.StatusServiceUnavailable)
	})
	if c.Calendars {
		server = b.newCalendarServer(c, passwords)
	}
	for _, pattern := range caldav.Patterns() {
		mux.Handle(pattern, server)
	}
	return mux, nil
}

// SignInPath is the path of the page of sign-in links.
const SignInPath = page.SignInPath

// OpenSignInLinks returns the sign-in links of a state directory. A running bridge reads the changes.
func OpenSignInLinks(dir *state.Dir, log *slog.Logger) *page.Links { return page.OpenLinks(dir, log) }

// signedInAt returns the time of the last sign-in to an account, the zero time if no user is signed in.
func (b *Bridge) signedInAt(account string) time.Time {
	d, _ := b.runtime.Details(account)
	return d.SignedIn
}

// calendars are the credentials of calendar clients, with the addresses that these can use.
type calendars struct {
	*caldav.Credentials
	external, listen string
}

// URL implements page.Calendars. Inside the network of Home Assistant's apps, where CalDAV clients do not use ingress, the program is
// reached by the name of its container.
func (c calendars) URL(base string) string { return rootURL(base, c.external, c.listen) + CalendarPath }

// rootURL returns the address of the listener without a path, for clients that do not use Home Assistant's ingress.
func rootURL(base, external, listen string) string {
	switch {
	case external != "":
		return external
	case base != "":
		return base
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	_, port, _ := net.SplitHostPort(listen) // of a listener
	return "http://" + net.JoinHostPort(strings.ToLower(name), port)
}

// accountInfo describes an account for the status page.
func (b *Bridge) accountInfo(id string) (page.AccountInfo, bool) {
	d, ok := b.runtime.Details(id)
	if !ok {
		return page.AccountInfo{}, false
	}
	info := page.AccountInfo{
		Application: d.Application, Tenant: d.Tenant, Expected: d.Expected, Name: d.User.Name, Address: d.User.Address, SignedIn: d.SignedIn, Expires: d.Expires, ConsentLink: d.ConsentLink, Permissions: []page.PermissionInfo{},
	}
	for _, p := range d.Permissions {
		i := slices.IndexFunc(info.Permissions, func(known page.PermissionInfo) bool { return known.Scope == p.Scope })
		if i < 0 {
			i = len(info.Permissions)
			info.Permissions = append(info.Permissions, page.PermissionInfo{
				Scope: p.Scope, Purpose: p.Purpose, Impact: p.Impact, Sensors: []string{}, Granted: p.Granted, Unavailable: p.Unavailable, Restricted: p.Restricted,
			})
		}
		if known := &info.Permissions[i]; p.Sensor != "" && !slices.Contains(known.Sensors, p.Sensor) {
			known.Sensors = append(known.Sensors, p.Sensor)
		}
	}
	return info, true
}

// programInfo describes the connections for the status page.
func (b *Bridge) programInfo() page.ProgramInfo {
	connection, requests := b.mqtt.Stats(), b.runtime.Stats()
	return page.ProgramInfo{
		Broker: b.mqtt.Broker(), Connected: connection.Connected, Connections: connection.Connections,
		GraphRequests: requests.Requests, GraphErrors: requests.Errors, GraphWaits: requests.Throttled,
	}
}

// completed passes the end of a request on.
func (b *Bridge) completed(ref services.Ref, r services.Response) {
	b.runtime.Completed(ref, r)
	b.requests.Completed(ref, r)
}

// setUpInterval is the interval at which a configuration file that somebody else writes is looked for.
const setUpInterval = 2 * time.Second

// SetUp runs only the listener, with a page that asks for a configuration, until there is a valid one or ctx is done.
func SetUp(ctx context.Context, h config.HTTP, file *ConfigFile, load func() (*config.Config, error), version string, log *slog.Logger) error {
	log = log.With("component", "http")
	handler, err := page.New(page.Options{Version: version, Started: time.Now(), Log: log, Configuration: file})
	if err != nil {
		return err
	}
	o, err := serverOptions(h)
	if err != nil {
		return err
	}
	o.Healthy, o.Ready, o.Log = func() bool { return true }, func() bool { return false }, log
	server, err := web.New(o)
	if err != nil {
		return err
	}
	file.setOnChange(handler.Notify)
	defer file.setOnChange(nil)
	server.Mount("/", web.Page, handler)
	running, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Run(running) }()
	ticker := time.NewTicker(setUpInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-served: // also when ctx is done
			stop()
			return err
		case <-ticker.C:
		case <-file.Written():
		}
		if _, err := load(); err != nil {
			if !file.sources().Missing() {
				file.Report(err)
			}
			continue
		}
		stop()
		return <-served
	}
}
