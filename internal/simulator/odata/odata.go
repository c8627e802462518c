// Package odata serves Graph's protocol: paths, query options, bodies, pages, delta queries, batches, permissions and errors.
// The resources of Graph register their routes.
package odata

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

// mailboxConcurrency is the number of requests that Exchange serves at a time per mailbox.
const mailboxConcurrency = 4

// maxRequest is the largest body of a request, see https://github.com/microsoftgraph/microsoft-graph-docs/issues/11806.
const maxRequest = 4 << 20

// A Response is the response to a call.
type Response = web.Response

// A Route is one operation of Graph.
type Route struct {
	Method  string
	Path    string // "/me/calendars/{calendar}"; names in braces become parameters of the call
	Type    *Type
	Options []string // supported query options, in lower case
	Do      func(*Call) (Response, error)
}

// A Resource is one part of Graph. All fields are optional.
type Resource struct {
	Routes []Route
	// Permissions are rows of Microsoft's permission table as JSON: "GET /me/calendars/{id}" → "work" and "personal" → scopes. Paths are in
	// lower case with {id} for every parameter. A request without a row is refused.
	Permissions []byte
	// Exceptions returns the scopes of an operation for which the table is silent or wrong; nil if the table applies.
	Exceptions func(method, path string, personal bool) []string
	// Application returns the application permissions that allow an operation; none: it is not available to applications. Paths are those
	// of Permissions. AnyRole leaves the check to the operation. nil: no operation is.
	Application func(method, path string) []string
	Controls    []control.Operation
	// Seed adds sample data: for the user Adele, and with colleagues for all users of the sample tenant.
	Seed func(colleagues bool)
}

// AnyRole stands for any application permission, also one that Exchange assigns: the operation checks it with [Call.GrantedIn].
const AnyRole = "*"

// A Service is one Graph. The lock of its directory guards its state.
type Service struct {
	Directory *directory.Directory

	accessToken func(string) *directory.AccessToken
	routes      []route
	inflight    map[string]int // requests in progress, by mailbox
	deltas      map[string]*deltaState
	deltaTokens []string // oldest first
	refuseGzip  bool
}

// A route is a registered Route.
type route struct {
	Route
	pattern    []string
	table      map[string]map[string][]string
	exceptions func(method, path string, personal bool) []string

	application func(method, path string) []string
}

// New returns a Graph without resources. accessToken returns the valid or expired token with this value, or nil.
func New(d *directory.Directory, accessToken func(string) *directory.AccessToken) *Service {
	return &Service{Directory: d, accessToken: accessToken, inflight: map[string]int{}, deltas: map[string]*deltaState{}}
}

// Register adds a resource.
func (s *Service) Register(r Resource) {
	table := map[string]map[string][]string{}
	if r.Permissions != nil {
		if err := json.Unmarshal(r.Permissions, &table); err != nil {
			panic(err) // embedded file
		}
	}
	if r.Exceptions == nil {
		r.Exceptions = func(string, string, bool) []string { return nil }
	}
	if r.Application == nil {
		r.Application = func(string, string) []string { return nil }
	}
	for _, x := range r.Routes {
		s.routes = append(s.routes, route{x, strings.Split(strings.TrimPrefix(x.Path, "/"), "/"), table, r.Exceptions, r.Application})
	}
}

// RefuseGzip makes Graph answer compressed request bodies with 415, as some of its front ends do.
func (s *Service) RefuseGzip(refuse bool) {
	s.Directory.Lock()
	defer s.Directory.Unlock()
	s.refuseGzip = refuse
}

// A Call is a request to Graph that has passed the checks.
type Call struct {
	Request *http.Request
	Route   Route
	Now     time.Time
	User    *directory.User // of the token
	Params  map[string]string
	Query   url.Values // names in lower case
	Prefer  map[string]string
	Body    []byte
	Header  http.Header // of the response

	// Application is the client id of the application that calls without a user; "": User calls.
	Application string

	service *Service
	route   route
	scopes  []string // of the token
}

// Is reports whether a path belongs to Graph.
func Is(path string) bool {
	return strings.HasPrefix(path, "/v1.0/") || strings.HasPrefix(path, "/beta/") || path == "/v1.0" || path == "/beta"
}

// Serve handles a request. It also returns the address of the token's user, and the function to call when the request has ended: until then it
// counts against the mailbox's concurrency limit.
func (s *Service) Serve(r *http.Request, body []byte, compressed bool) (resp Response, address string, release func()) {
	s.Directory.Lock()
	defer s.Directory.Unlock()
	release = func() {}
	now := s.Directory.Now()
	token, refused := s.authenticate(r, now)
	if refused != nil {
		return refused.Response(now), "", release
	}
	c := &Call{
		service: s, Request: r, Now: now, User: token.User, Application: token.Application, scopes: token.Scopes, Body: body,
		Prefer: preferences(r.Header.Values("Prefer")), Header: http.Header{},
	}
	address = token.User.Address
	resp, err := c.serve(compressed, &release)
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Response(now), address, release
	case err != nil:
		return NewError(http.StatusInternalServerError, "InternalServerError", "%v", err).Response(now), address, release
	}
	header := c.Header
	maps.Copy(header, resp.Header)
	resp.Header = header
	return resp, address, release
}

func (c *Call) serve(compressed bool, release *func()) (Response, error) {
	s := c.service
	if compressed && s.refuseGzip {
		return Response{}, NewError(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content encoding 'gzip' is not supported.")
	}
	if len(c.Body) > maxRequest {
		return Response{}, NewError(http.StatusRequestEntityTooLarge, "BadRequest", "The maximum request length supported is 4MB.")
	}
	if err := c.find(); err != nil {
		return Response{}, err
	}
	if c.Application != "" && strings.HasPrefix(c.Route.Path, "/me") {
		return Response{}, BadRequest("/me request is only valid with delegated authentication flow.")
	}
	if mailbox := c.Owner(); c.Route.Type.Mailbox {
		if s.inflight[mailbox] >= mailboxConcurrency {
			return Response{}, NewError(http.StatusTooManyRequests, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.").With("Retry-After", "1")
		}
		*release = s.acquire(mailbox)
	}
	if !c.permitted() {
		return Response{}, c.Route.Type.Denied
	}
	if err := c.parseQuery(); err != nil {
		return Response{}, err
	}
	return c.Route.Do(c)
}

// acquire counts a request in progress and returns the function that ends it.
func (s *Service) acquire(mailbox string) func() {
	s.inflight[mailbox]++
	return func() {
		s.Directory.Lock()
		defer s.Directory.Unlock()
		s.inflight[mailbox]--
	}
}

// Challenge returns the WWW-Authenticate header of a 401; claims, if given, are those that the next token must satisfy.
func Challenge(host, claims string) string {
	challenge := fmt.Sprintf(`Bearer realm="", authorization_uri="https://%s/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`, host)
	if claims != "" {
		challenge += fmt.Sprintf(`, errorDescription="Continuous access evaluation resulted in challenge with result: InteractionRequired", error="insufficient_claims", claims="%s"`, claims)
	}
	return challenge
}

func (s *Service) authenticate(r *http.Request, now time.Time) (*directory.AccessToken, *Error) {
	refused := func(message string) (*directory.AccessToken, *Error) {
		return nil, NewError(http.StatusUnauthorized, "InvalidAuthenticationToken", "%s", message).With("Www-Authenticate", Challenge(r.Host, ""))
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || value == "" {
		return refused("Access token is empty.")
	}
	t := s.accessToken(value)
	switch {
	case t == nil:
		return refused("Access token validation failure. Invalid audience.")
	case !now.Before(t.Expires):
		return refused("Lifetime validation failed, the token is expired.")
	}
	return t, nil
}

// find looks up the route of the path. Paths are case-insensitive, and a function may have empty parentheses.
func (c *Call) find() error {
	version, path, _ := strings.Cut(strings.TrimPrefix(c.Request.URL.EscapedPath(), "/"), "/")
	if version != "v1.0" {
		return NotSimulated("%s %s: it has v1.0 only.", c.Request.Method, c.Request.URL.Path)
	}
	segments, err := splitPath(path)
	if err != nil {
		return BadRequest("The request URI is not valid: %v.", err)
	}
	allowed := false
	for _, r := range c.service.routes {
		params, ok := r.match(segments)
		if !ok {
			continue
		}
		if allowed = true; r.Method == c.Request.Method {
			c.Route, c.route, c.Params = r.Route, r, params
			return nil
		}
	}
	if allowed && c.Request.Method == http.MethodPut {
		return NewError(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
	}
	return NotSimulated("%s %s.", c.Request.Method, c.Request.URL.Path)
}

// splitPath splits an escaped path into segments. A key may be a segment of its own or in parentheses: events/AAMk… or events('AAMk…').
func splitPath(path string) ([]string, error) {
	var segments []string
	for s := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return nil, err
		}
		if name, key, ok := strings.Cut(plain, "('"); ok && strings.HasSuffix(key, "')") {
			segments = append(segments, name, strings.ReplaceAll(strings.TrimSuffix(key, "')"), "''", "'"))
			continue
		}
		segments = append(segments, plain)
	}
	return segments, nil
}

func (r route) match(segments []string) (map[string]string, bool) {
	if len(r.pattern) != len(segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, p := range r.pattern {
		switch {
		case strings.HasPrefix(p, "{"):
			// A segment such as $count is an operation on the collection, and so is a function without a key.
			if segments[i] == "" || strings.HasPrefix(segments[i], "$") || strings.HasSuffix(segments[i], "()") {
				return nil, false
			}
			params[strings.Trim(p, "{}")] = segments[i]
		case !strings.EqualFold(p, strings.TrimSuffix(segments[i], "()")):
			return nil, false
		}
	}
	return params, true
}

// Owner returns the id of the user or group in the path, or of the signed-in user.
func (c *Call) Owner() string {
	if id, ok := c.Params["user"]; ok {
		if u := c.service.Directory.ByID(id); u != nil {
			return u.ID
		}
		return id
	}
	if id, ok := c.Params["group"]; ok {
		return id
	}
	return c.User.ID
}

// permitted reports whether the token has one of the scopes of the operation.
func (c *Call) permitted() bool {
	path := generalize(c.Route.Path)
	for _, suffix := range []string{"/$count", "/delta"} {
		path = strings.TrimSuffix(path, suffix) // same permissions as the collection
	}
	if c.Application != "" {
		if u := c.service.Directory.ByID(c.Params["user"]); u != nil && u.Tenant != c.User.Tenant {
			return false
		}
		roles := c.route.application(c.Route.Method, path)
		if slices.Contains(roles, AnyRole) {
			return true
		}
		c.scopes = slices.Concat(c.scopes, c.service.Directory.MailboxRoles(c.Application, c.Owner()))
		return c.Granted(roles...)
	}
	if c.Owner() == c.User.ID && strings.HasPrefix(path, "/users/{id}/") {
		path = "/me/" + strings.TrimPrefix(path, "/users/{id}/")
	}
	scopes := c.route.exceptions(c.Route.Method, path, c.User.Personal)
	if scopes == nil {
		scheme := "work"
		if c.User.Personal {
			scheme = "personal"
		}
		scopes = c.route.table[c.Route.Method+" "+path][scheme]
	}
	return c.Granted(scopes...)
}

// generalize turns "/me/calendars/{calendar}" into the permission table's "/me/calendars/{id}".
func generalize(path string) string {
	segments := strings.Split(strings.ToLower(path), "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{id}"
		}
	}
	return strings.Join(segments, "/")
}

// Granted reports whether the token has one of these scopes.
func (c *Call) Granted(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return containsFold(c.scopes, s) })
}

// GrantedIn reports whether the application has one of these roles for the mailbox of a user, by id: in its token, or from Exchange.
func (c *Call) GrantedIn(mailbox string, roles ...string) bool {
	assigned := c.service.Directory.MailboxRoles(c.Application, mailbox)
	return c.Granted(roles...) || slices.ContainsFunc(roles, func(r string) bool { return containsFold(assigned, r) })
}

// preferences parses the Prefer headers: several headers, or several preferences in one, with or without quotes.
func preferences(headers []string) map[string]string {
	p := map[string]string{}
	for _, h := range headers {
		for part := range strings.SplitSeq(h, ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			if k != "" {
				p[strings.ToLower(strings.TrimSpace(k))] = strings.Trim(strings.TrimSpace(v), `"`)
			}
		}
	}
	return p
}

// Applied adds a preference to those that the response reports as applied.
func (c *Call) Applied(preference string) { c.Header.Add("Preference-Applied", preference) }

// Root returns the address of the service as the client called it.
func (c *Call) Root() string { return "https://" + c.Request.Host + "/v1.0" }

// Context returns the value of @odata.context.
func (c *Call) Context(path string) string { return c.Root() + "/$metadata#" + path }

// SelectedContext returns the value of @odata.context with the selected properties.
func (c *Call) SelectedContext(set string) string {
	if s := c.Query.Get("$select"); s != "" {
		set += "(" + s + ")"
	}
	return c.Context(set)
}

// Entity returns the response with one entity of a set, named as in @odata.context: "users".
func (c *Call) Entity(set string, body map[string]any) Response {
	body["@odata.context"] = c.SelectedContext(set) + "/$entity"
	return Response{Status: http.StatusOK, Body: body}
}

// Finish adds what every response of Graph has: the request ids, also in the body of an error, and the content type.
func Finish(resp Response, r *http.Request) Response {
	header := resp.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	id := uuid.NewString()
	client := r.Header.Get("client-request-id")
	if client == "" {
		client = id
	}
	header.Set("request-id", id)
	header.Set("client-request-id", client)
	if e, ok := resp.Body.(errorBody); ok {
		e.Error.Inner.RequestID, e.Error.Inner.ClientRequestID = id, client
		resp.Body = e
	}
	if resp.Body != nil && resp.ContentType == "" {
		resp.ContentType = "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8"
	}
	resp.Header = header
	return resp
}

// Copy returns a value as its JSON decodes: a deep copy that may be changed.
func Copy(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil
	}
	return out
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
}
