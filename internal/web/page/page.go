// Package page serves the status page: a static front end over one JSON snapshot by long poll, and the actions behind its buttons. It
// is one more subscriber of the hub and one more client of the dispatcher.
//
// Whoever serves it authenticates its users; they administer the program. Nothing changes on GET.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	// pollWait bounds the wait of a request for a newer snapshot. Proxies give up after 30 s or more.
	pollWait = 25 * time.Second
	// pollPause is the least time between a change and the snapshot that has it, so that changes that belong together make one.
	pollPause = 250 * time.Millisecond
	// maxWaiting bounds the requests that wait for a newer snapshot.
	maxWaiting = 32
	// maxBody is the size of the largest request.
	maxBody = 64 << 10
	// actionWait bounds how long an action is waited for. The dispatcher answers sooner, and the listener waits longer.
	actionWait = 50 * time.Second
)

// A Dispatcher executes requests; see [services.Dispatcher].
type Dispatcher interface{ Submit(services.Inbound) }

// Options configure a StatusPage.
type Options struct {
	Version string
	Started time.Time
	Log     *slog.Logger

	// Configuration is nil on the page of a shard, which only [Shards] read.
	Configuration Configuration

	// The following are nil while there is no configuration: then the page only asks for one.
	Hub        *hub.Hub
	Dispatcher Dispatcher
	Account    func(id string) (AccountInfo, bool)
	Program    func() ProgramInfo
	Topic      func(hub.ID) string // the first levels of a device's topics
	Requests   *Requests
	Calendars  Calendars // nil: off
	Links      *Links
	// Shards are the shards of a cluster, instead of Hub, Dispatcher, Program, Topic and Requests. nil: the accounts are those of this program.
	Shards *Shards
	// Root returns the address of the listener for others; base is as in [Calendars.URL].
	Root func(base string) string
}

// AccountInfo describes an account beyond its status in the hub.
type AccountInfo struct {
	Application bool      // an organization, to which no user signs in
	Tenant      string    // configured
	Expected    string    // the user who must sign in; "": anyone
	Name        string    // of the user
	Address     string    // of the user
	SignedIn    time.Time // zero: nobody is signed in
	Expires     time.Time // of the sign-in if it is not used
	Permissions []PermissionInfo
	ConsentLink string // for an administrator; "" if there is none
}

// PermissionInfo describes a permission that an account requests.
type PermissionInfo struct {
	Scope       string   `json:"scope"`
	Purpose     string   `json:"purpose"`     // what it is for
	Impact      string   `json:"impact"`      // what is lost without it
	Sensors     []string `json:"sensors"`     // ids; empty: the account itself
	Granted     bool     `json:"granted"`     // it, or one that includes it
	Unavailable bool     `json:"unavailable"` // personal accounts do not have it
	Restricted  bool     `json:"restricted"`  // an administrator must consent, always or by the default policy
}

// ProgramInfo describes the connections of the program.
type ProgramInfo struct {
	Broker        string // address
	Connected     bool
	Connections   uint64 // made to the broker
	GraphRequests uint64
	GraphErrors   uint64
	GraphWaits    uint64 // answers that asked to wait
}

// Calendars are the credentials of the CalDAV server.
type Calendars interface {
	// Renew returns a new password of an account. The earlier one is not accepted any more.
	Renew(account string) (password string, err error)
	// Created returns when the password of an account was made. It reports false if there is none.
	Created(account string) (time.Time, bool)
	// LastUsed returns when a client signed in with it last, the zero time if none has in this run.
	LastUsed(account string) time.Time
	// URL returns the address for clients. base is where the page is served, without a trailing slash; "": behind Home Assistant's
	// ingress, which CalDAV clients do not use.
	URL(base string) string
}

// A StatusPage serves the page. It is safe for concurrent use.
type StatusPage struct {
	options Options
	mux     *http.ServeMux
	assets  map[string]asset
	waiting chan struct{} // has a value for each request that waits

	mu       sync.Mutex
	changed  chan struct{}  // closed by Notify
	rendered *renderedState // the newest snapshot
}

// An asset is a file of the front end.
type asset struct {
	content     []byte
	contentType string
	etag        string
}

//go:embed assets
var assets embed.FS

// New returns the handler of the page, for the root of a listener.
func New(o Options) (*StatusPage, error) {
	files, err := readAssets()
	if err != nil {
		return nil, err
	}
	h := &StatusPage{options: o, mux: http.NewServeMux(), assets: files, waiting: make(chan struct{}, maxWaiting), changed: make(chan struct{})}
	h.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { h.serveAsset(w, r, "index.html") })
	h.mux.HandleFunc("GET /{file}", func(w http.ResponseWriter, r *http.Request) { h.serveAsset(w, r, r.PathValue("file")) })
	h.mux.HandleFunc("GET /api/state", h.serveState)
	h.mux.HandleFunc("GET /api/form", h.serveForm)
	h.mux.HandleFunc("POST /api/actions", h.post(h.act))
	h.mux.HandleFunc("POST /api/links", h.post(h.makeLink))
	h.mux.HandleFunc("POST /api/calendars/password", h.post(h.renewPassword))
	h.mux.HandleFunc("POST /api/configuration/preview", h.post(h.previewForm))
	h.mux.HandleFunc("POST /api/configuration/write", h.post(h.writeForm))
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			writeError(w, http.StatusNotFound, failure{Code: "not_found", Message: "there is no such address"})
			return
		}
		http.NotFound(w, r)
	})
	return h, nil
}

// readAssets returns the files of the front end, which all pages of the program share.
var readAssets = sync.OnceValues(func() (map[string]asset, error) {
	all := map[string]asset{}
	err := fs.WalkDir(assets, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := assets.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		all[strings.TrimPrefix(name, "assets/")] = asset{content, contentTypes[path.Ext(name)], `"` + hex.EncodeToString(sum[:8]) + `"`}
		return nil
	})
	return all, err
})

// contentTypes are fixed, because those of the machine may be wrong. A proxy may remove the charset: the page declares it itself.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// ServeHTTP implements http.Handler.
func (h *StatusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func (h *StatusPage) serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	a, ok := h.assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Cache-Control", "no-cache") // and the tag: a new version is shown at once
	w.Header().Set("ETag", a.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.content))
}

// Notify makes requests that wait look for changes that the hub does not know of.
func (h *StatusPage) Notify() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
	h.rendered = nil
}

// serveState answers with the newest snapshot, when its version differs from that of the query.
func (h *StatusPage) serveState(w http.ResponseWriter, r *http.Request) {
	after := r.URL.Query().Get("after")
	w.Header().Set("Cache-Control", "no-store")
	if h.options.Shards != nil {
		h.options.Shards.await(r.Context())
	}
	current, changes, err := h.current(r, false)
	if h.options.Shards != nil && err == nil && current.version != after && after != "" {
		_ = graph.Pause(r.Context(), otherVersionPause)
		current, changes, err = h.current(r, false)
	}
	if err == nil && current.version == after && after != "" {
		select {
		case h.waiting <- struct{}{}:
			defer func() { <-h.waiting }()
		default:
			w.Header().Set("Retry-After", "5")
			writeError(w, http.StatusServiceUnavailable, failure{Code: "overloaded", Message: "too many pages are open", RetryAfter: 5})
			return
		}
		if current, err = h.await(r, after, changes); errors.Is(err, context.Canceled) {
			return
		}
	}
	switch {
	case err != nil:
		h.options.Log.Error("status page not encoded", "error", err)
		writeError(w, http.StatusInternalServerError, failure{Code: "internal", Message: "the status could not be described; see the log"})
	case current.version == after:
		w.WriteHeader(http.StatusNotModified)
	default:
		writeJSON(w, http.StatusOK, envelope{current.version, time.Now().UTC(), current.state})
	}
}

// An envelope is the answer of api/state.
type envelope struct {
	Version string          `json:"version"`
	Time    time.Time       `json:"time"` // ages are counted from it
	State   json.RawMessage `json:"state"`
}

// waitOf returns how long a request waits for a newer snapshot.
func waitOf(r *http.Request) time.Duration {
	seconds, err := strconv.ParseUint(r.URL.Query().Get("wait"), 10, 16)
	if err != nil {
		return pollWait
	}
	return min(time.Duration(seconds)*time.Second, pollWait)
}

// await waits until the version of the snapshot differs from after, for a while.
func (h *StatusPage) await(r *http.Request, after string, changes []<-chan struct{}) (current *renderedState, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), waitOf(r))
	defer cancel()
	for {
		select {
		case <-changes[0]:
		case <-changes[1]:
		case <-ctx.Done():
		}
		if r.Context().Err() != nil {
			return nil, r.Context().Err()
		}
		_ = graph.Pause(ctx, pollPause)
		if current, changes, err = h.current(r, ctx.Err() != nil); err != nil || current.version != after || ctx.Err() != nil {
			return current, err
		}
	}
}

// A renderedState is a snapshot as JSON.
type renderedState struct {
	state   json.RawMessage
	version string
	base    string            // that it was made for
	changes []<-chan struct{} // closed when it is outdated
}

// current returns the newest snapshot and two channels of which one is closed when there may be a newer one. With refresh it makes a new
// snapshot even if no change was reported, because some values change without a report.
func (h *StatusPage) current(r *http.Request, refresh bool) (*renderedState, []<-chan struct{}, error) {
	base := baseOf(r)
	h.mu.Lock()
	changed, b := h.changed, h.rendered
	h.mu.Unlock()
	if b != nil && !refresh && b.base == base && !isClosed(b.changes[0]) && !isClosed(b.changes[1]) {
		return b, b.changes, nil
	}
	changes := []<-chan struct{}{changed, nil}
	switch { // before the snapshot, so that no change is missed
	case h.options.Hub != nil:
		changes[1] = h.options.Hub.Watch()
	case h.options.Shards != nil:
		changes[1] = h.options.Shards.watch()
	}
	state, err := json.Marshal(h.snapshot(base))
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(state)
	b = &renderedState{state, hex.EncodeToString(sum[:8]), base, changes}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rendered = b
	return b, changes, nil
}

// isClosed reports whether a channel on which nothing is sent is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// baseOf returns the address at which the browser sees the page, or "" behind Home Assistant's ingress.
func baseOf(r *http.Request) string {
	if r.Header.Get("X-Ingress-Path") != "" {
		return ""
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// A failure is the error of an action.
type failure struct {
	Code       string `json:"code"`
	Message    string `json:"message"`
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
	// ByHand reports that the configuration can be changed by hand only.
	ByHand bool `json:"by_hand,omitempty"`
	// Problems lists what is wrong in a form or the configuration.
	Problems []ConfigProblem `json:"problems,omitempty"`
}

func (f failure) Error() string { return f.Message }

// Failures of requests.
var (
	errTooLarge = failure{Code: "too_large", Message: "want at most " + strconv.Itoa(maxBody) + " bytes"}
	errNoAnswer = failure{Code: "timeout", Message: "there was no answer in time"}
)

// unknownAccount returns the failure of a request about an account that is not configured.
func unknownAccount(id string) failure {
	return failure{Code: string(services.UnknownSensor), Message: "there is no account " + services.QuoteForError(id)}
}

// post returns a handler that decodes a JSON object and answers with the result of do.
func (h *StatusPage) post(do func(r *http.Request, body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		// A form of another site cannot have this type without asking first.
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			writeError(w, http.StatusUnsupportedMediaType, failure{Code: "invalid_argument", Message: "want the content type application/json"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			if errors.As(err, new(*http.MaxBytesError)) {
				writeError(w, http.StatusRequestEntityTooLarge, errTooLarge)
				return
			}
			writeError(w, http.StatusBadRequest, failure{Code: "too_large", Message: "the request is incomplete"})
			return
		}
		result, err := do(r, body)
		var f failure
		switch {
		case errors.As(err, &f):
			writeError(w, statusOf(f.Code), f)
		case err != nil:
			h.options.Log.Warn("action on the status page failed", "error", err)
			writeError(w, http.StatusInternalServerError, failure{Code: "internal", Message: err.Error()})
		default:
			writeJSON(w, http.StatusOK, result)
		}
	}
}

// statusOf returns the HTTP status of a code.
func statusOf(code string) int {
	switch services.Code(code) {
	case services.InvalidJSON, services.InvalidArgument:
		return http.StatusBadRequest
	case services.UnknownOp, services.UnknownSensor, "not_found":
		return http.StatusNotFound
	case services.Overloaded, services.ShuttingDown, codeUnreachable:
		return http.StatusServiceUnavailable
	case services.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusConflict
}

// decode decodes a request strictly.
func decode(body []byte, to any) error {
	if err := schema.DecodeObject(body, to); err != nil {
		f := failure{Code: string(services.InvalidArgument), Message: strings.ReplaceAll(err.Error(), "\n", "; ")}
		var problems schema.Problems
		if errors.As(err, &problems) {
			for _, p := range problems {
				f.Problems = append(f.Problems, ConfigProblem{Path: p.Path, Message: p.Message})
			}
		}
		return f
	}
	return nil
}

// An action is a request of a button.
type action struct {
	Account   string `json:"account"`
	Operation string `json:"operation" required:"true"`
	Sensor    string `json:"sensor"`
	Way       string `json:"way"`
	Address   string `json:"address"`
	Type      string `json:"type"`
}

// Operations that the page requests.
var (
	accountOperations = []string{"candidates", "refresh", "rescan", "sign_in", "sign_out"}
	bridgeOperations  = []string{"refresh", "discovery"}
)

// act has the dispatcher execute an operation of an account or of the bridge.
func (h *StatusPage) act(r *http.Request, body []byte) (any, error) {
	var a action
	if err := decode(body, &a); err != nil {
		return nil, err
	}
	if h.options.Dispatcher == nil && h.options.Shards == nil {
		return nil, failure{Code: string(services.Conflict), Message: "there is no configuration yet"}
	}
	offered := accountOperations
	if a.Account == "" {
		offered = bridgeOperations
	}
	if !slices.Contains(offered, a.Operation) {
		return nil, failure{Code: string(services.UnknownOp), Message: "operation: want one of " + strings.Join(offered, ", ") + ", not " + services.QuoteForError(a.Operation)}
	}
	if h.options.Shards != nil {
		ctx, cancel := context.WithTimeout(r.Context(), actionWait)
		defer cancel()
		return h.options.Shards.act(ctx, a)
	}
	return h.execute(r, a)
}

// execute has the dispatcher execute an operation with the rights of the owner.
func (h *StatusPage) execute(r *http.Request, a action) (any, error) {
	fields := map[string]string{}
	for key, value := range map[string]string{"sensor": a.Sensor, "way": a.Way, "address": a.Address, "type": a.Type} {
		if value != "" {
			fields[key] = value
		}
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	done := make(chan services.Response, 1)
	h.options.Dispatcher.Submit(services.Inbound{
		Target: services.Ref{Account: a.Account}, Operation: a.Operation, Payload: payload, Owner: true, Received: time.Now(),
		Done: func(r services.Response) { done <- r },
	})
	ctx, cancel := context.WithTimeout(r.Context(), actionWait)
	defer cancel()
	select {
	case response := <-done:
		if e := response.Error; e != nil {
			return nil, failure{Code: string(e.Code), Message: e.Message, RetryAfter: e.RetryAfter}
		}
		return map[string]any{"data": response.Data}, nil
	case <-ctx.Done():
		return nil, errNoAnswer
	}
}

// renewPassword makes a new password of an account's calendars. It is in no other answer.
func (h *StatusPage) renewPassword(r *http.Request, body []byte) (any, error) {
	var request struct {
		Account string `json:"account" required:"true"`
	}
	if err := decode(body, &request); err != nil {
		return nil, err
	}
	switch {
	case h.options.Calendars == nil:
		return nil, failure{Code: string(services.Conflict), Message: "calendars are off: set http.calendars: true"}
	case !h.hasAccount(request.Account):
		return nil, unknownAccount(request.Account)
	}
	password, err := h.options.Calendars.Renew(request.Account)
	if err != nil {
		return nil, err
	}
	h.options.Log.Info("password of calendars renewed", "account", request.Account)
	h.Notify()
	return map[string]string{"user": request.Account, "password": password}, nil
}

func (h *StatusPage) hasAccount(id string) bool {
	if h.options.Account == nil {
		return false
	}
	_, ok := h.options.Account(id)
	return ok
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // not of what this package answers with
		http.Error(w, "the answer could not be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(code)
	_, _ = w.Write(b) // the browser is gone
}

func writeError(w http.ResponseWriter, code int, f failure) {
	writeJSON(w, code, map[string]failure{"error": f})
}
