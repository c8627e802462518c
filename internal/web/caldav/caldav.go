// Package caldav serves calendars and task lists by CalDAV, and by iCalendar for reading alone.
//
// It answers what the clients of docs/calendars.md ask. Each occurrence of a series is an event of its own with its own UID, so that
// clients need not expand rules. Changes go through the dispatcher as any other request.
//
// https://www.rfc-editor.org/rfc/rfc4791
package caldav

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-ical"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Path is the path of CalDAV.
const Path = "/dav/"

const (
	wellKnownPath = "/.well-known/caldav"
	feedPath      = "/ics/"
)

// Patterns returns the patterns of http.ServeMux that the handler serves. PROPFIND is asked of the root because people type addresses
// without a path.
func Patterns() []string {
	return []string{Path, strings.TrimSuffix(Path, "/"), wellKnownPath, feedPath, "PROPFIND /{$}"}
}

// A Collection is a sensor that holds the events of a calendar or tasks. Its methods may be called by several goroutines.
type Collection interface {
	ID() string
	Name() string
	Kind() string // type of the sensor
	HoldsTasks() bool
	Location() *time.Location
	Color() string // such as #0078d4; "": none
	// Check returns the reason why an operation cannot be requested now, or nil.
	Check(operation string) error
	// Version returns a value that differs where the events or tasks that the sensor holds do.
	Version() (any, error)
	// Events returns the events that the sensor holds, their version, and the span in which none is missing. They must not be changed.
	Events() (events []calendars.Event, from, to time.Time, version any, err error)
	// ReadEvents reads all events of another span, and perhaps some near it.
	ReadEvents(ctx context.Context, from, to time.Time) ([]calendars.Event, error)
	// Tasks returns the tasks that the sensor holds, the open ones and completed ones if it shows them, and their version. They must not be changed.
	Tasks() (all []tasks.Task, version any, err error)
	// ReadCompleted reads the completed tasks.
	ReadCompleted(ctx context.Context) ([]tasks.Task, error)
	// OnDemand returns the reason why nothing else may be read than what the sensor holds, or nil.
	OnDemand() error
}

// Options configure a DAVServer.
type Options struct {
	// Collections returns the collections of an account by their ids. ok is false if there is no such account. The error says why they
	// are not known.
	Collections func(account string) (all []Collection, ok bool, err error)
	// Do executes a request and returns its response.
	Do func(context.Context, services.Inbound) services.Response
	// User returns the address of the user who is signed in to an account, "" if it is not known. nil: it never is.
	User        func(account string) string
	Credentials *Credentials
	// Forward has another handler answer a request with the password of an account, perhaps on another machine. nil: this one answers it.
	Forward func(account string, r *http.Request) (*web.RecordedResponse, error)
	Store   Store
	Prefix  string // path in front of all others, as a reverse proxy makes it: "" or "/graph2mqtt"
	Log     *slog.Logger
}

// A DAVServer serves CalDAV and iCalendar. It authenticates each request itself.
type DAVServer struct {
	o        Options
	failures *web.Failures // of addresses with a password in them

	mu      sync.Mutex // guards what follows
	states  map[string]*collectionState
	clients map[string]*client
}

// New returns a handler.
func New(o Options) *DAVServer {
	return &DAVServer{o: o, failures: web.NewFailures(), states: map[string]*collectionState{}, clients: map[string]*client{}}
}

const (
	// answerTimeout bounds the time until a request is answered: the listener cancels what takes longer.
	answerTimeout = 65 * time.Second
	// changeTime is the least time that must be left of it to begin a change.
	changeTime = 20 * time.Second
)

// methods are those that are answered below Path.
const methods = "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH, REPORT, PUT, DELETE"

// ServeHTTP implements http.Handler.
func (h *DAVServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == wellKnownPath:
		w.Header().Set("Location", h.prefix()+Path)
		w.WriteHeader(http.StatusFound)
	case strings.HasPrefix(r.URL.Path, feedPath):
		h.serveFeed(w, r)
	default:
		account, ok := h.authenticate(w, r)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
		defer cancel()
		x := &exchange{DAVServer: h, w: w, r: r.WithContext(ctx), account: account}
		if h.o.Forward != nil {
			x.forward()
			return
		}
		h.serve(x)
	}
}

// forward has another handler answer the request.
func (x *exchange) forward() {
	response, err := x.o.Forward(x.account, x.r)
	if err != nil {
		x.o.Log.Debug("calendar request not answered", "account", x.account, "error", err) // the reason is not for others
		x.w.Header().Set("Retry-After", "5")
		x.writeError(statusError(http.StatusServiceUnavailable, "the account cannot be reached at the moment; try again later"))
		return
	}
	response.WriteTo(x.w)
}

func (h *DAVServer) prefix() string { return strings.TrimSuffix(h.o.Prefix, "/") }

// authenticate returns the account whose password the request has. Otherwise it answers the request. Whoever mounts the handler limits
// how often wrong passwords are tried.
func (h *DAVServer) authenticate(w http.ResponseWriter, r *http.Request) (account string, ok bool) {
	account, password, given := r.BasicAuth()
	if given && h.check(account, password) {
		return account, true
	}
	why := "want the id of an account as the user name, and its calendar password"
	if given {
		why = "wrong user name or calendar password; graph2mqtt calendars ACCOUNT makes a new one"
	}
	unauthorized(w, why)
	return "", false
}

// unauthorized answers a request without the right password.
func unauthorized(w http.ResponseWriter, why string) {
	w.Header().Set("WWW-Authenticate", `Basic realm="graph2mqtt", charset="UTF-8"`)
	plainError(w, http.StatusUnauthorized, why)
}

// check reports whether it is the password of a configured account.
func (h *DAVServer) check(account, password string) bool {
	valid := h.o.Credentials.check(account, password)
	_, configured, _ := h.o.Collections(account)
	return valid && configured
}

// plainError answers with a text that clients show to their user.
func plainError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, message) // the client is gone
}

// An exchange is a request of a client whose account is known, and its answer.
type exchange struct {
	*DAVServer
	w       http.ResponseWriter
	r       *http.Request
	account string
	changed bool // a change was requested
}

// A resourceType is the type of the resource that a path names.
type resourceType int

const (
	rootResource       resourceType = iota
	homeResource                    // the account: its principal and its collections
	collectionResource              // a calendar or a task list
	objectResource
)

// A resourcePath is the parsed path of a request.
type resourcePath struct {
	kind    resourceType
	account string
	id      string // of the collection
	name    string // of the object
}

// parsePath returns what a path names. A slash at the end makes no difference.
func parsePath(path string) (resourcePath, bool) {
	rest, ok := strings.CutPrefix(path+"/", Path)
	if !ok {
		return resourcePath{}, path == "/" || path == ""
	}
	rest = strings.Trim(rest, "/")
	if rest == "" {
		return resourcePath{}, true
	}
	parts := strings.Split(rest, "/")
	p := resourcePath{kind: homeResource, account: parts[0]}
	if len(parts) > 1 {
		p.kind, p.id = collectionResource, parts[1]
	}
	if len(parts) > 2 {
		p.kind, p.name = objectResource, parts[2]
	}
	return p, len(parts) <= 3 && !slices.Contains(parts, "")
}

// address returns the address of a resource.
func (h *DAVServer) address(parts ...string) string {
	path := h.prefix() + Path
	for i, p := range parts {
		path += url.PathEscape(p)
		if i < 2 {
			path += "/"
		}
	}
	return path
}

// An httpError is an answer that is an error. Its text is for the user.
type httpError struct {
	status int
	err    error
	// condition is the name of the condition of WebDAV or CalDAV that failed; "": the answer is plain text.
	condition string
}

func (e *httpError) Error() string { return e.err.Error() }

func statusError(status int, format string, args ...any) error {
	return &httpError{status: status, err: fmt.Errorf(format, args...)}
}

func conditionError(status int, condition, format string, args ...any) error {
	return &httpError{status, fmt.Errorf(format, args...), condition}
}

// serve answers a request.
func (h *DAVServer) serve(x *exchange) {
	p, ok := parsePath(x.r.URL.Path)
	var err error
	switch {
	case !ok:
		err = statusError(http.StatusNotFound, "there is nothing at this address")
	case p.kind != rootResource && p.account != x.account:
		err = statusError(http.StatusForbidden, "this password is for the account %s alone", x.account)
	case x.r.Header.Get("Content-Encoding") != "":
		err = statusError(http.StatusUnsupportedMediaType, "want a request that is not compressed")
	default:
		err = x.dispatch(p)
	}
	if err != nil {
		x.writeError(err)
	}
}

func (x *exchange) dispatch(p resourcePath) error {
	x.w.Header().Set("DAV", "1, 3, calendar-access")
	switch x.r.Method {
	case http.MethodOptions:
		x.w.Header().Set("Allow", methods)
		x.w.WriteHeader(http.StatusOK)
		return nil
	case "PROPFIND":
		return x.propfind(p)
	case "PROPPATCH":
		return x.proppatch(p)
	case "REPORT":
		return x.report(p)
	case http.MethodGet, http.MethodHead:
		return x.get(p)
	case http.MethodPut:
		return x.put(p)
	case http.MethodDelete:
		return x.remove(p)
	}
	x.w.Header().Set("Allow", methods)
	return statusError(http.StatusMethodNotAllowed, "%s is not supported; lists and calendars are made in Outlook and To Do", truncate(x.r.Method))
}

// writeError answers with an error.
func (x *exchange) writeError(err error) {
	var h *httpError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		h = &httpError{status: http.StatusRequestEntityTooLarge, err: fmt.Errorf("want a request of at most %d bytes", large.Limit)}
	case errors.As(err, &h):
	case errors.Is(x.r.Context().Err(), context.Canceled): // the client may wait for it: the program ends, or it took too long
		h = &httpError{status: http.StatusServiceUnavailable, err: errors.New("the answer was interrupted; try again later")}
	case x.r.Context().Err() != nil:
		h = &httpError{status: http.StatusServiceUnavailable, err: errors.New("the answer of Microsoft takes too long; try again later")}
	default: // an empty list would delete everything at the client
		h = &httpError{status: http.StatusServiceUnavailable, err: err}
	}
	x.o.Log.Debug("calendar request failed", "account", x.account, "method", x.r.Method, "status", h.status, "error", h.err)
	if h.condition == "" {
		plainError(x.w, h.status, h.err.Error())
		return
	}
	d := &document{}
	d.begin("error")
	name := dav(h.condition)
	if slices.Contains([]string{"supported-filter", "supported-collation", "valid-calendar-data", "no-uid-conflict", "valid-filter", "max-resource-size", "supported-calendar-component"}, h.condition) {
		name = cal(h.condition)
	}
	d.element(name, "")
	d.element(dav("responsedescription"), escape(h.err.Error()))
	d.WriteString("</D:error>\n")
	x.write(h.status, xmlType, d.Bytes())
}

// collection returns a collection of the account and its state.
func (x *exchange) collection(id string) (Collection, *collectionState, error) {
	all, _, err := x.o.Collections(x.account)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(all, func(c Collection) bool { return c.ID() == id })
	if i < 0 {
		return nil, nil, statusError(http.StatusNotFound, "account %s has no calendar or task list %s", x.account, truncate(id))
	}
	s, err := x.state(x.account, id)
	return all[i], s, err
}

// state returns the state of a collection.
func (h *DAVServer) state(account, id string) (*collectionState, error) {
	key := account + "/" + id
	h.mu.Lock()
	s := h.states[key]
	h.mu.Unlock()
	if s != nil {
		return s, nil
	}
	a, err := loadAliases(h.o.Store, key)
	if err != nil {
		h.o.Log.Error("names of calendar objects unreadable", "account", account, "sensor", id, "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s = h.states[key]; s == nil {
		s = newCollectionState(a)
		h.states[key] = s
	}
	return s, nil
}

// kindOf returns the kind of a collection's components.
func kindOf(c Collection) string {
	if c.HoldsTasks() {
		return ical.CompToDo
	}
	return ical.CompEvent
}
