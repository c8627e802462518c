package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A control is an operation of the control side over HTTP. It makes calls of the Simulator's methods out of JSON; what it answers is
// JSON, or nothing where it is nil.
type control struct {
	method, path string
	does         string
	query        []string // the names that it knows
	do           func(*Simulator, *http.Request) (any, error)
}

// A list is the answer that holds several.
type list[T any] struct {
	Value []T `json:"value"`
}

func listOf[T any](all []T) list[T] { return list[T]{append([]T{}, all...)} }

// controls are all of them, in the order in which they are explained.
func controls() []control {
	return []control{
		{"GET", "/control", "the addresses, and this list", nil, getControls},

		{"GET", "/control/clock", "the simulator's time", nil, getClock},
		{"PATCH", "/control/clock", "move it, stop it, let it go on", nil, patchClock},

		{"GET", "/control/faults", "the faults that wait for requests", nil, getFaults},
		{"POST", "/control/faults", "spoil the next requests that match", nil, addFault},
		{"DELETE", "/control/faults", "spoil no more", nil, clearFaults},

		{"GET", "/control/requests", "the requests that came, oldest first", []string{"method", "path"}, getRequests},
		{"DELETE", "/control/requests", "forget them", nil, forgetRequests},

		{"GET", "/control/signin", "what happens at the sign-in page", nil, getSignIn},
		{"PUT", "/control/signin", "change that: who signs in, what is refused", nil, putSignIn},
		{"GET", "/control/devices", "the device codes that wait to be entered", nil, getDevices},
		{"POST", "/control/devices/{code}/approve", "enter one, as who signs in", nil, approveDevice},
		{"POST", "/control/devices/{code}/decline", "enter one, and cancel", nil, declineDevice},
		{"PUT", "/control/registrations/{client}", "register an app, or change its registration", nil, putRegistration},

		{"POST", "/control/tokens", "an access token with exactly these scopes, without a sign-in", nil, addToken},
		{"PATCH", "/control/tokens", "how long access tokens live from now on", nil, patchTokens},
		{"POST", "/control/tokens/expire", "every access token that is out expires", nil, expireTokens},

		{"GET", "/control/users", "all users", nil, getUsers},
		{"POST", "/control/users", "add a user with a mailbox", nil, addUser},
		{"POST", "/control/users/{user}/revoke", "the refresh tokens are refused from now on, as after a change of the password", nil, revokeSessions},
		{"PUT", "/control/users/{user}/refreshError", "every refresh ends with this error until the user signs in", nil, putRefreshError},
		{"GET", "/control/users/{user}/consents/{client}", "what the user or an administrator consented to", nil, getConsents},
		{"DELETE", "/control/users/{user}/consents/{client}", "the user takes it back", nil, withdrawConsent},
		{"GET", "/control/users/{user}/mailboxSettings", "the settings as Graph has them", nil, readMailboxSettings},
		{"PATCH", "/control/users/{user}/mailboxSettings", "change what is given, as in Outlook", nil, changeMailboxSettings},
		{"GET", "/control/users/{user}/presence", "the presence that others see", nil, readPresence},
		{"PUT", "/control/users/{user}/presence", "what the user's own Teams says", nil, putPresence},

		{"GET", "/control/users/{user}/calendars", "the user's own calendars", nil, getCalendars},
		{"POST", "/control/users/{user}/calendars", "add one", nil, addCalendar},
		{"PATCH", "/control/users/{user}/calendars/{calendar}", "rename it, or make it one that nobody can change", nil, patchCalendar},
		{"DELETE", "/control/users/{user}/calendars/{calendar}", "remove it with its events", nil, removeCalendar},
		{"GET", "/control/users/{user}/calendars/{calendar}/events", "its events as Graph has them, series not expanded", nil, getEvents},
		{"POST", "/control/users/{user}/calendars/{calendar}/events", "add an event in Graph's form", nil, addEvent},
		{"PATCH", "/control/users/{user}/events/{event}", "change what is given of an event or occurrence", nil, changeEvent},
		{"DELETE", "/control/users/{user}/events/{event}", "remove an event, series or occurrence", nil, removeEvent},
		{"PUT", "/control/users/{user}/shares/{guest}", "let another user see the calendars, or change them", nil, putShare},
		{"POST", "/control/users/{user}/accepted", "accept a calendar that was shared: it stands among the user's own", nil, acceptCalendar},
	}
}

func isControl(path string) bool { return path == "/control" || strings.HasPrefix(path, "/control/") }

func (s *Simulator) newControls() http.Handler {
	mux := http.NewServeMux()
	for _, c := range controls() {
		mux.HandleFunc(c.method+" "+c.path, func(w http.ResponseWriter, r *http.Request) {
			body, err := s.control(c, r)
			a := response{status: http.StatusOK, body: body}
			if m := (*usageError)(nil); errors.As(err, &m) {
				a = m.response()
			} else if body == nil {
				a.status = http.StatusNoContent
			}
			a.write(w, r)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.local() {
			(&usageError{http.StatusForbidden, "the simulator listens beyond this machine: it is controlled through a loopback address only"}).response().write(w, r)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		// What the mux says in its own words.
		said := &recorder{header: http.Header{}}
		mux.ServeHTTP(said, r)
		m := &usageError{said.status, fmt.Sprintf("there is no %s: GET /control lists what there is", r.URL.Path)}
		if allow := said.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			m.text = fmt.Sprintf("want %s, not %s", allow, r.Method)
		}
		m.response().write(w, r)
	})
}

// ControlURL is where the control side is over HTTP; "" where it is refused, because the listener can be reached from other machines.
func (s *Simulator) ControlURL() string {
	if !s.local() {
		return ""
	}
	return s.LoginURL() + "/control"
}

// local reports whether nobody but this machine can reach the listener. What is in memory is local.
func (s *Simulator) local() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener == nil || s.listener.Addr().(*net.TCPAddr).IP.IsLoopback()
}

func (m *usageError) response() response {
	return response{status: m.status, body: map[string]string{"error": m.text}}
}

// control runs one. Every error is a mistake of the client's.
func (s *Simulator) control(c control, r *http.Request) (out any, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *usageError:
			err = p
		default:
			panic(p)
		}
	}()
	for name := range r.URL.Query() {
		if !slices.Contains(c.query, name) {
			return nil, invalid("there is no query parameter %q", name)
		}
	}
	out, err = c.do(s, r)
	var refused *failure
	if errors.As(err, &refused) {
		err = &usageError{refused.status, refused.message}
	}
	return out, err
}

func invalid(format string, args ...any) error {
	return &usageError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// decode reads the body, strictly.
func decode[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&v)
	if err == nil && d.More() {
		return v, invalid("there is more behind the JSON object")
	}
	var kind *json.UnmarshalTypeError
	var dateTimeTimeZone *time.ParseError
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, io.EOF):
		return v, invalid("there is no body: want a JSON object")
	case errors.As(err, &kind):
		name := kind.Field
		if name == "" {
			name = "the body"
		}
		return v, invalid("%s: want %s, not a JSON %s", name, jsonTypeName(kind.Type), kind.Value)
	case errors.As(err, &dateTimeTimeZone):
		return v, invalid(`want a time such as "2026-07-01T09:00:00Z", not %q`, dateTimeTimeZone.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		return v, invalid("there is no property %s", name)
	}
	return v, invalid("the body is no JSON: %s", text)
}

// wanted says a type in JSON's words.
func jsonTypeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonTypeName(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a whole number"
}

// duration reads a time span.
func duration(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, invalid(`%s: want a duration such as "1m30s", not %q`, name, text)
	}
	return d, nil
}

// knownScopes refuses scopes that Graph does not have.
func (s *Simulator) knownScopes(name string, scopes []string) error {
	for _, scope := range scopes {
		if !containsFold(s.scopes, scope) {
			return invalid("%s: there is no permission %q", name, scope)
		}
	}
	return nil
}

func getControls(s *Simulator, _ *http.Request) (any, error) {
	type operation struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		Does   string `json:"does"`
	}
	var operations []operation
	for _, c := range controls() {
		operations = append(operations, operation{c.method, c.path, c.does})
	}
	return struct {
		Login      string      `json:"login"`
		Graph      string      `json:"graph"`
		Audience   string      `json:"audience"`
		Operations []operation `json:"operations"`
	}{s.LoginURL(), s.GraphURL(), s.options.Audience, operations}, nil
}

func getClock(s *Simulator, _ *http.Request) (any, error) {
	c := s.Clock()
	return struct {
		Now    time.Time `json:"now"`
		Offset string    `json:"offset"`
		Frozen bool      `json:"frozen"`
	}{c.Now.UTC(), c.Offset.String(), c.Frozen}, nil
}

func patchClock(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		Now     *time.Time `json:"now"`
		Offset  *string    `json:"offset"`
		Advance *string    `json:"advance"`
		Frozen  *bool      `json:"frozen"`
	}](r)
	if err != nil {
		return nil, err
	}
	var offset, advance time.Duration
	given := 0
	if in.Now != nil {
		given++
	}
	if in.Offset != nil {
		given++
		if offset, err = duration("offset", *in.Offset); err != nil {
			return nil, err
		}
	}
	if in.Advance != nil {
		given++
		if advance, err = duration("advance", *in.Advance); err != nil {
			return nil, err
		}
	}
	if given > 1 {
		return nil, invalid("want one of now, offset and advance")
	}
	if in.Frozen != nil {
		s.FreezeClock(*in.Frozen)
	}
	switch {
	case in.Now != nil:
		s.AdvanceClock(in.Now.Sub(s.Clock().Now))
	case in.Offset != nil:
		s.SetClock(offset)
	default:
		s.AdvanceClock(advance)
	}
	return getClock(s, r)
}

// faultBody is a Fault in JSON.
type faultBody struct {
	Method     string            `json:"method,omitempty"`
	Path       string            `json:"path,omitempty"`
	Times      int               `json:"times,omitempty"`
	Delay      string            `json:"delay,omitempty"` // also "forever"
	Reset      bool              `json:"reset,omitempty"`
	Done       bool              `json:"done,omitempty"`
	Status     int               `json:"status,omitempty"`
	Code       string            `json:"code,omitempty"`
	RetryAfter string            `json:"retryAfter,omitempty"`
	Header     map[string]string `json:"header,omitempty"`
	Body       *string           `json:"body,omitempty"`
	Merge      map[string]any    `json:"merge,omitempty"`
}

func (b faultBody) fault() (Fault, error) {
	f := Fault{
		Method: b.Method, Path: b.Path, Times: b.Times, Reset: b.Reset, Done: b.Done, Status: b.Status, Code: b.Code, RetryAfter: b.RetryAfter,
		Body: b.Body, Merge: b.Merge,
	}
	switch {
	case b.Method != strings.ToUpper(b.Method):
		return f, invalid("method: want it in capitals, not %q", b.Method)
	case b.Path != "" && !strings.HasPrefix(b.Path, "/"):
		return f, invalid("path: want the beginning of one, such as /v1.0/me/events, not %q", b.Path)
	case b.Status != 0 && (b.Status < 200 || b.Status > 599):
		return f, invalid("status: want 200 to 599, not %d", b.Status)
	case b.Delay == "" && !b.Reset && b.Status == 0 && b.RetryAfter == "" && b.Header == nil && b.Body == nil && b.Merge == nil:
		return f, invalid("want one of delay, reset, status, retryAfter, header, body and merge: this spoils nothing")
	}
	if b.Delay == "forever" {
		f.Delay = Forever
	} else if b.Delay != "" {
		d, err := duration("delay", b.Delay)
		if err != nil {
			return f, err
		}
		f.Delay = d
	}
	for k, v := range b.Header {
		if f.Header == nil {
			f.Header = http.Header{}
		}
		f.Header.Set(k, v)
	}
	return f, nil
}

func (f Fault) json() faultBody {
	b := faultBody{
		Method: f.Method, Path: f.Path, Times: f.Times, Reset: f.Reset, Done: f.Done, Status: f.Status, Code: f.Code, RetryAfter: f.RetryAfter,
		Body: f.Body, Merge: f.Merge,
	}
	if f.Delay == Forever {
		b.Delay = "forever"
	} else if f.Delay != 0 {
		b.Delay = f.Delay.String()
	}
	for k := range f.Header {
		if b.Header == nil {
			b.Header = map[string]string{}
		}
		b.Header[k] = f.Header.Get(k)
	}
	return b
}

func getFaults(s *Simulator, _ *http.Request) (any, error) {
	var all []faultBody
	for _, f := range s.Faults() {
		all = append(all, f.json())
	}
	return listOf(all), nil
}

func addFault(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[faultBody](r)
	if err != nil {
		return nil, err
	}
	f, err := in.fault()
	if err != nil {
		return nil, err
	}
	s.Fail(f)
	return getFaults(s, r)
}

func clearFaults(s *Simulator, _ *http.Request) (any, error) {
	s.ClearFaults()
	return nil, nil
}

func getRequests(s *Simulator, r *http.Request) (any, error) {
	type request struct {
		Time   time.Time   `json:"time"`
		Host   string      `json:"host"`
		Method string      `json:"method"`
		Path   string      `json:"path"`
		Query  url.Values  `json:"query"`
		Header http.Header `json:"header"`
		Body   string      `json:"body"`
		User   string      `json:"user"`
		Status int         `json:"status"`
		Fault  bool        `json:"fault"`
	}
	q := r.URL.Query()
	var all []request
	for _, x := range s.Requests() {
		if matches(q.Get("method"), q.Get("path"), x.Method, x.Path) {
			all = append(all, request{x.Time.UTC(), x.Host, x.Method, x.Path, x.Query, x.Header, string(x.Body), x.User, x.Status, x.Fault})
		}
	}
	return listOf(all), nil
}

func forgetRequests(s *Simulator, _ *http.Request) (any, error) {
	s.ForgetRequests()
	return nil, nil
}

func getSignIn(s *Simulator, _ *http.Request) (any, error) {
	in := s.SignIn()
	for _, l := range []*[]string{&in.Declines, &in.AdminOnly, &in.Withhold} {
		*l = append([]string{}, *l...)
	}
	return in, nil
}

func putSignIn(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[SignIn](r)
	if err != nil {
		return nil, err
	}
	if in.User != "" && !slices.ContainsFunc(s.Users(), func(u User) bool { return strings.EqualFold(u.Address, in.User) }) {
		return nil, invalid("user: no user %q", in.User)
	}
	if !in.Refuse.known() {
		return nil, invalid("refuse: the simulator has no error AADSTS%d", in.Refuse)
	}
	if err := errors.Join(s.knownScopes("declines", in.Declines), s.knownScopes("adminOnly", in.AdminOnly), s.knownScopes("withhold", in.Withhold)); err != nil {
		return nil, err
	}
	s.SetSignIn(in)
	return getSignIn(s, r)
}

func getDevices(s *Simulator, _ *http.Request) (any, error) { return listOf(s.DeviceCodes()), nil }

func approveDevice(s *Simulator, r *http.Request) (any, error) {
	return nil, deviceError(s.ApproveDevice(r.PathValue("code")))
}

func declineDevice(s *Simulator, r *http.Request) (any, error) {
	return nil, deviceError(s.DeclineDevice(r.PathValue("code")))
}

func deviceError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*loginError)):
		return &usageError{http.StatusConflict, err.Error()}
	}
	return &usageError{http.StatusNotFound, err.Error()}
}

func putRegistration(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[Registration](r)
	if err != nil {
		return nil, err
	}
	if in.ClientID != "" && in.ClientID != r.PathValue("client") {
		return nil, invalid("clientId: it is %q in the path", r.PathValue("client"))
	}
	in.ClientID = r.PathValue("client")
	s.Register(in)
	return nil, nil
}

func addToken(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		User   string   `json:"user"`
		Scopes []string `json:"scopes"`
	}](r)
	if err != nil {
		return nil, err
	}
	if err := s.knownScopes("scopes", in.Scopes); err != nil {
		return nil, err
	}
	return map[string]string{"accessToken": s.Token(in.User, in.Scopes...)}, nil
}

func patchTokens(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		Lifetime  string `json:"lifetime"`
		RefreshIn string `json:"refreshIn"`
	}](r)
	if err != nil {
		return nil, err
	}
	lifetime, err := duration("lifetime", in.Lifetime)
	if err != nil {
		return nil, err
	}
	var refreshIn time.Duration
	if in.RefreshIn != "" {
		if refreshIn, err = duration("refreshIn", in.RefreshIn); err != nil {
			return nil, err
		}
	}
	if lifetime <= 0 || refreshIn < 0 || refreshIn > lifetime {
		return nil, invalid("want a lifetime above 0 and a refreshIn within it")
	}
	s.SetTokenLifetime(lifetime, refreshIn)
	return nil, nil
}

func expireTokens(s *Simulator, _ *http.Request) (any, error) {
	s.ExpireAccessTokens()
	return nil, nil
}

func getUsers(s *Simulator, _ *http.Request) (any, error) { return listOf(s.Users()), nil }

func addUser(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[User](r)
	if err != nil {
		return nil, err
	}
	if name, domain, _ := strings.Cut(in.Address, "@"); name == "" || domain == "" {
		return nil, invalid("address: want one such as megan@contoso.example, not %q", in.Address)
	}
	return s.AddUser(in), nil
}

func revokeSessions(s *Simulator, r *http.Request) (any, error) {
	s.RevokeSessions(r.PathValue("user"))
	return nil, nil
}

func putRefreshError(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		Error AADSTS `json:"error"`
	}](r)
	if err != nil {
		return nil, err
	}
	if !in.Error.known() {
		return nil, invalid("error: the simulator has no error AADSTS%d", in.Error)
	}
	s.FailRefreshWith(r.PathValue("user"), in.Error)
	return nil, nil
}

func getConsents(s *Simulator, r *http.Request) (any, error) {
	return listOf(s.Consented(r.PathValue("user"), r.PathValue("client"))), nil
}

func withdrawConsent(s *Simulator, r *http.Request) (any, error) {
	s.WithdrawConsent(r.PathValue("user"), r.PathValue("client"))
	return nil, nil
}

// settingsCall does to the user's mailbox what a request to Graph would.
func (s *Simulator) settingsCall(r *http.Request, body []byte, do func(*call) (response, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{s: s, r: r, route: route{kind: settings}, now: s.now(), user: s.mustUser(r.PathValue("user")), query: url.Values{}, body: body, header: http.Header{}}
	_, err := do(c)
	return err
}

func readMailboxSettings(s *Simulator, r *http.Request) (out any, err error) {
	err = s.settingsCall(r, nil, func(c *call) (response, error) {
		a, err := getMailboxSettings(c)
		if body, ok := a.body.(map[string]any); ok {
			delete(body, "@odata.context")
			out = body
		}
		return a, err
	})
	return out, err
}

func changeMailboxSettings(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[map[string]any](r)
	if err != nil {
		return nil, err
	}
	zone, zoned := in["timeZone"]
	name, isText := zone.(string)
	if zoned && !isText {
		return nil, invalid("timeZone: want a string")
	}
	delete(in, "timeZone") // may be one that Graph would refuse
	body, err := json.Marshal(in)
	if err != nil {
		return nil, invalid("the body is no JSON: %v", err)
	}
	if err := s.settingsCall(r, body, patchMailboxSettings); err != nil {
		return nil, err
	}
	if zoned {
		s.SetTimeZone(r.PathValue("user"), name)
	}
	return readMailboxSettings(s, r)
}

// presenceBody is a Presence in JSON.
type presenceBody struct {
	Availability       string    `json:"availability"`
	Activity           string    `json:"activity"`
	Message            string    `json:"message"`
	MessagePublished   time.Time `json:"messagePublished,omitzero"`
	MessageExpires     time.Time `json:"messageExpires,omitzero"`
	OutOfOffice        bool      `json:"outOfOffice"`
	OutOfOfficeMessage string    `json:"outOfOfficeMessage"`
	WorkLocation       string    `json:"workLocation"`
	WorkLocationSource string    `json:"workLocationSource"`
}

func readPresence(s *Simulator, r *http.Request) (any, error) {
	return presenceBody(s.Presence(r.PathValue("user"))), nil
}

func putPresence(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[presenceBody](r)
	if err != nil {
		return nil, err
	}
	s.SetPresence(r.PathValue("user"), Presence(in))
	return readPresence(s, r)
}

func getCalendars(s *Simulator, r *http.Request) (any, error) {
	return listOf(s.Calendars(r.PathValue("user"))), nil
}

func addCalendar(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		Name string `json:"name"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Name == "" {
		return nil, invalid("name: want one")
	}
	return s.AddCalendar(r.PathValue("user"), in.Name), nil
}

func patchCalendar(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		Name     *string `json:"name"`
		ReadOnly *bool   `json:"readOnly"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Name != nil && *in.Name == "" {
		return nil, invalid("name: want one")
	}
	user, calendar := r.PathValue("user"), r.PathValue("calendar")
	if in.ReadOnly != nil {
		s.SetReadOnly(user, calendar, *in.ReadOnly)
	}
	if in.Name != nil {
		s.RenameCalendar(user, calendar, *in.Name)
	}
	return getCalendars(s, r)
}

func removeCalendar(s *Simulator, r *http.Request) (any, error) {
	s.RemoveCalendar(r.PathValue("user"), r.PathValue("calendar"))
	return nil, nil
}

func getEvents(s *Simulator, r *http.Request) (any, error) {
	return listOf(s.Events(r.PathValue("user"), r.PathValue("calendar"))), nil
}

// eventBody reads properties of an event. Any value may be given, but only to properties that events have.
func (s *Simulator) eventBody(r *http.Request) (map[string]any, error) {
	in, err := decode[map[string]any](r)
	if err != nil {
		return nil, err
	}
	known := s.newEvent(&mailbox{}, nil).properties
	also := append(eventProperties(), "start", "end", "originalStartTimeZone", "originalEndTimeZone")
	for name := range in {
		if _, ok := known[name]; !ok && !slices.Contains(also, name) {
			return nil, invalid("an event has no property %q", name)
		}
	}
	return in, nil
}

func addEvent(s *Simulator, r *http.Request) (any, error) {
	in, err := s.eventBody(r)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"start", "end"} {
		if in[name] == nil {
			return nil, invalid(`%s: want one such as {"dateTime": "2026-07-01T09:00:00", "timeZone": "UTC"}`, name)
		}
	}
	id, err := s.AddEventJSON(r.PathValue("user"), r.PathValue("calendar"), in)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": id}, nil
}

func changeEvent(s *Simulator, r *http.Request) (any, error) {
	in, err := s.eventBody(r)
	if err != nil {
		return nil, err
	}
	return nil, s.ChangeEvent(r.PathValue("user"), r.PathValue("event"), in)
}

func removeEvent(s *Simulator, r *http.Request) (any, error) {
	if !s.RemoveEvent(r.PathValue("user"), r.PathValue("event")) {
		return nil, notFound()
	}
	return nil, nil
}

func putShare(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		Write bool `json:"write"`
	}](r)
	if err != nil {
		return nil, err
	}
	s.Share(r.PathValue("user"), r.PathValue("guest"), in.Write)
	return nil, nil
}

func acceptCalendar(s *Simulator, r *http.Request) (any, error) {
	in, err := decode[struct {
		Owner    string `json:"owner"`
		Calendar string `json:"calendar"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.AcceptCalendar(r.PathValue("user"), in.Owner, in.Calendar), nil
}
