package simulator

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A kind is a type of resource: what it is called in errors, and how its service refuses.
type kind int

const (
	user kind = iota
	settings
	calendar
	event
	teamsPresence
)

// name is the type's in the metadata.
func (k kind) name() string {
	return "microsoft.graph." + [...]string{"user", "mailboxSettings", "calendar", "event", "presence"}[k]
}

// outlook reports whether Exchange serves it, which has errors of its own and takes four requests at a time.
func (k kind) outlook() bool { return k != user && k != teamsPresence }

func (k kind) denied() *failure {
	if k.outlook() {
		return &failure{http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again."}
	}
	if k == teamsPresence {
		return &failure{http.StatusForbidden, "Forbidden", "The application lacks a permission that the request needs."}
	}
	return &failure{http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
}

// A route is one operation of Graph.
type route struct {
	method  string
	path    string // "/me/calendars/{calendar}/events"; names in braces become parameters of the call
	kind    kind
	options []string // the query options that it knows, in lower case
	do      func(*call) (response, error)
}

// A call is a request to Graph that has passed the checks.
type call struct {
	s      *Simulator
	r      *http.Request
	route  route
	now    time.Time
	user   *account // the token's
	scopes []string // the token's
	params map[string]string
	query  url.Values // keys in lower case
	prefer map[string]string
	body   []byte
	header http.Header // of the answer
}

// A failure is Graph's error.
type failure struct {
	status  int
	code    string
	message string
}

func (f *failure) Error() string { return fmt.Sprintf("%d %s: %s", f.status, f.code, f.message) }

func badRequest(format string, args ...any) *failure {
	return &failure{http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...)}
}

func unreadable() *failure {
	return badRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
}

// errorBody is as in https://learn.microsoft.com/graph/errors; the ids are filled in where the answer is written.
type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Inner   struct {
			Date            string `json:"date"`
			RequestID       string `json:"request-id"`
			ClientRequestID string `json:"client-request-id"`
		} `json:"innerError"`
	} `json:"error"`
}

func (f *failure) response(now time.Time) response {
	var b errorBody
	b.Error.Code, b.Error.Message = f.code, f.message
	b.Error.Inner.Date = now.UTC().Format("2006-01-02T15:04:05")
	return response{status: f.status, body: b}
}

// serveGraph also tells whose token it was, and gives what ends the request's share of the mailbox.
func (s *Simulator) serveGraph(r *http.Request, body []byte, zipped bool) (a response, address string, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	release = func() {}
	now := s.now()
	fail := func(f *failure) response { return f.response(now) }

	token, failed := s.authenticate(r, now)
	if failed != nil {
		a = fail(failed)
		a.header = http.Header{"Www-Authenticate": {fmt.Sprintf(`Bearer realm="", authorization_uri="https://%s/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`, r.Host)}}
		return a, "", release
	}
	c := &call{s: s, r: r, now: now, user: token.user, scopes: token.scopes, body: body, prefer: preferences(r.Header.Values("Prefer")), header: http.Header{}}
	address = token.user.Address
	if zipped && s.refuseGzip {
		return fail(&failure{http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content encoding 'gzip' is not supported."}), address, release
	}
	if f := c.find(); f != nil {
		return fail(f), address, release
	}
	if c.route.kind.outlook() {
		if s.outlook.inflight[c.mailbox()] >= 4 {
			a = fail(&failure{http.StatusTooManyRequests, "ApplicationThrottled", "Application is over its MailboxConcurrency limit."})
			a.header = http.Header{"Retry-After": {"1"}}
			return a, address, release
		}
		release = s.outlook.acquire(&s.mu, c.mailbox())
	}
	if !c.permitted() {
		return fail(c.route.kind.denied()), address, release
	}
	if f := c.parseQuery(); f != nil {
		return fail(f), address, release
	}
	a, err := c.route.do(c)
	var refusal *failure
	switch {
	case errors.As(err, &refusal):
		return fail(refusal), address, release
	case err != nil:
		return fail(&failure{http.StatusInternalServerError, "InternalServerError", err.Error()}), address, release
	}
	if a.header == nil {
		a.header = c.header
	}
	return a, address, release
}

func (s *Simulator) authenticate(r *http.Request, now time.Time) (*accessToken, *failure) {
	refused := func(message string) (*accessToken, *failure) {
		return nil, &failure{http.StatusUnauthorized, "InvalidAuthenticationToken", message}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return refused("Access token is empty.")
	}
	t := s.login.access[token]
	switch {
	case t == nil:
		return refused("Access token validation failure. Invalid audience.")
	case !now.Before(t.expires):
		return refused("Lifetime validation failed, the token is expired.")
	}
	return t, nil
}

// find looks the path up. Graph's paths have no case, and know a function with and without its parentheses.
func (c *call) find() *failure {
	path := c.r.URL.EscapedPath()
	if strings.HasPrefix(path, "/beta") {
		return badRequest("The simulator knows v1.0 only.")
	}
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/v1.0"), "/")
	var segments []string
	for s := range strings.SplitSeq(path, "/") {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return badRequest("The path cannot be read.")
		}
		segments = append(segments, plain)
	}
	known := false
	for _, r := range c.s.routes {
		params, ok := r.match(segments)
		if !ok {
			continue
		}
		if known = true; r.method == c.r.Method {
			c.route, c.params = r, params
			return nil
		}
	}
	if known {
		return &failure{http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."}
	}
	return &failure{http.StatusNotFound, "ResourceNotFound", fmt.Sprintf("Resource not found for the segment '%s'.", segments[len(segments)-1])}
}

func (r route) match(segments []string) (map[string]string, bool) {
	pattern := strings.Split(strings.TrimPrefix(r.path, "/"), "/")
	if len(pattern) != len(segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, p := range pattern {
		switch {
		case strings.HasPrefix(p, "{"):
			// What begins so is an operation on the collection, not a key.
			if segments[i] == "" || strings.HasPrefix(segments[i], "$") {
				return nil, false
			}
			params[strings.Trim(p, "{}")] = segments[i]
		case !strings.EqualFold(p, strings.TrimSuffix(segments[i], "()")):
			return nil, false
		}
	}
	return params, true
}

// mailbox is whose mailbox the call is about: the concurrency is counted there.
func (c *call) mailbox() string {
	if id, ok := c.params["user"]; ok {
		if a := c.s.byID(id); a != nil {
			return a.ID
		}
		return id
	}
	if id, ok := c.params["group"]; ok {
		return id
	}
	return c.user.ID
}

//go:embed permissions.json
var permissionsJSON []byte

// permissions are Microsoft's table: by method and path in lower case, by work or personal.
func permissions() map[string]map[string][]string {
	table := map[string]map[string][]string{}
	if err := json.Unmarshal(permissionsJSON, &table); err != nil {
		panic(err) // a file of the program's own
	}
	return table
}

//go:embed scopes.json
var scopesJSON []byte

// scopes are the delegated permissions that there are.
func scopes() []string {
	var names []string
	if err := json.Unmarshal(scopesJSON, &names); err != nil {
		panic(err) // a file of the program's own
	}
	return names
}

// exceptions are the rows in which Microsoft's table is silent or is known to be wrong; nil where it holds.
func exceptions(method, path string, personal bool) []string {
	readers := []string{"Calendars.ReadBasic", "Calendars.Read", "Calendars.ReadWrite"}
	switch {
	case strings.HasPrefix(path, "/groups/"):
		// The table gives Calendars.* for some of these; group calendars have never known them.
		if method == http.MethodGet {
			return []string{"Group.Read.All", "Group.ReadWrite.All"}
		}
		return []string{"Group.ReadWrite.All"}
	case strings.HasSuffix(path, "/calendar/getschedule"):
		if personal {
			return []string{} // not supported
		}
		return readers
	case strings.HasPrefix(path, "/users/{id}/") && strings.Contains(path, "calendar") || strings.HasPrefix(path, "/users/{id}/events"):
		// Somebody else's mailbox. See https://learn.microsoft.com/graph/outlook-get-shared-events-calendars.
		if method == http.MethodGet {
			return []string{"Calendars.Read.Shared", "Calendars.ReadWrite.Shared"}
		}
		return []string{"Calendars.ReadWrite.Shared"}
	case method == http.MethodGet && (path == "/me/calendarview" || path == "/me/calendar" || path == "/me/calendars/{id}"):
		return readers
	case method == http.MethodGet && (strings.HasSuffix(path, "/events/{id}") || strings.HasSuffix(path, "/events/{id}/instances")):
		return readers // the table forgets ReadWrite, and has no instances
	case method == http.MethodPatch && (path == "/me/calendar" || path == "/me/calendars/{id}"):
		return []string{"Calendars.ReadWrite"}
	case path == "/users/{id}":
		// Oneself; getUser looks at the rest.
		return append([]string{"User.Read", "User.ReadWrite"}, "User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All")
	case path == "/users/{id}/presence" && !personal:
		// Somebody else's, for which the table asks too little. See the examples of https://learn.microsoft.com/graph/api/presence-get.
		return []string{"Presence.Read.All"}
	case strings.HasPrefix(path, "/me/presence/") && !personal:
		return []string{"Presence.ReadWrite"} // the table knows them below /users/{id} only
	case path == "/me" && personal:
		return []string{"User.Read", "User.ReadWrite"}
	}
	return nil
}

// permitted compares the token's scopes with the table.
func (c *call) permitted() bool {
	path := strings.TrimSuffix(generalize(c.route.path), "/$count")
	if c.mailbox() == c.user.ID && strings.HasPrefix(path, "/users/{id}/") {
		path = "/me/" + strings.TrimPrefix(path, "/users/{id}/")
	}
	return c.granted(required(c.s.permissions, c.route.method, path, c.user.Personal)...)
}

func required(table map[string]map[string][]string, method, path string, personal bool) []string {
	if scopes := exceptions(method, path, personal); scopes != nil {
		return scopes
	}
	scheme := "work"
	if personal {
		scheme = "personal"
	}
	return table[method+" "+path][scheme]
}

// generalise turns "/me/calendars/{calendar}" into the table's "/me/calendars/{id}".
func generalize(path string) string {
	segments := strings.Split(strings.ToLower(path), "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{id}"
		}
	}
	return strings.Join(segments, "/")
}

// granted reports whether the token has one of these.
func (c *call) granted(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return containsFold(c.scopes, s) })
}

// preferences splits the Prefer headers: several of them, or several in one, with and without quotes.
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

// applied tells the client that a preference was obeyed.
func (c *call) applied(preference string) { c.header.Add("Preference-Applied", preference) }

// context is the address that @odata.context holds.
func (c *call) context(path string) string {
	return "https://" + c.r.Host + "/v1.0/$metadata#" + path
}

// entity is the answer that holds one.
func (c *call) entity(set string, body map[string]any) response {
	selected := ""
	if s := c.query.Get("$select"); s != "" {
		selected = "(" + s + ")"
	}
	body["@odata.context"] = c.context(set + selected + "/$entity")
	return response{status: http.StatusOK, body: body}
}

// decode reads the body into a map, and refuses properties that the type does not have.
func (c *call) decode(known ...string) (map[string]any, error) {
	var body map[string]any
	if err := json.Unmarshal(c.body, &body); err != nil || body == nil {
		return nil, unreadable()
	}
	for k := range body {
		if strings.HasPrefix(k, "@odata.") {
			delete(body, k)
		} else if !slices.Contains(known, k) {
			return nil, badRequest("The property '%s' does not exist on type '%s'. Make sure to only use property names that are defined by the type.", k, c.route.kind.name())
		}
	}
	return body, nil
}

// generic is a value as its JSON decodes: a copy that may be changed.
func jsonCopy(v any) any {
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
