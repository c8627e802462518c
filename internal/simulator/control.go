package simulator

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

// coreControls returns the operations on faults and the request log.
func (s *Simulator) coreControls() []control.Operation {
	return []control.Operation{
		{Method: "GET", Path: "/control/faults", Description: "list the active faults", Do: s.getFaults},
		{Method: "POST", Path: "/control/faults", Description: "add a fault for the next requests that match", Do: s.addFault},
		{Method: "DELETE", Path: "/control/faults", Description: "remove all faults", Do: s.clearFaults},
		{Method: "POST", Path: "/control/deltas/expire", Description: "expire all delta tokens: their links are answered with 410", Do: s.expireDeltas},

		{Method: "GET", Path: "/control/requests", Description: "list the logged requests, oldest first", Query: []string{"method", "path"}, Do: s.getRequests},
		{Method: "DELETE", Path: "/control/requests", Description: "clear the request log", Do: s.forgetRequests},
	}
}

// rootControl returns the operation that lists the others.
func (s *Simulator) rootControl(others []control.Operation) control.Operation {
	root := control.Operation{Method: "GET", Path: control.Root, Description: "read the addresses and this list"}
	type operation struct {
		Method      string `json:"method"`
		Path        string `json:"path"`
		Description string `json:"description"`
	}
	var operations []operation
	for _, o := range append([]control.Operation{root}, others...) {
		operations = append(operations, operation{o.Method, o.Path, o.Description})
	}
	root.Do = func(*http.Request) (any, error) {
		return struct {
			Login      string      `json:"login"`
			Graph      string      `json:"graph"`
			Audience   string      `json:"audience"`
			Operations []operation `json:"operations"`
		}{s.LoginURL(), s.GraphURL(), s.options.Audience, operations}, nil
	}
	return root
}

// ControlURL returns the address of the control API; "" if it is refused because other machines can reach the listener.
func (s *Simulator) ControlURL() string {
	if !s.local() {
		return ""
	}
	return s.LoginURL() + control.Root
}

// local reports whether only this machine can reach the listener.
func (s *Simulator) local() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener == nil || s.listener.Addr().(*net.TCPAddr).IP.IsLoopback()
}

func (s *Simulator) expireDeltas(*http.Request) (any, error) {
	s.ExpireDeltaTokens()
	return nil, nil
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
	Truncate   int               `json:"truncate,omitempty"`
	Code       string            `json:"code,omitempty"`
	Message    string            `json:"message,omitempty"`
	Claims     string            `json:"claims,omitempty"`
	RetryAfter string            `json:"retryAfter,omitempty"`
	Header     map[string]string `json:"header,omitempty"`
	Body       *string           `json:"body,omitempty"`
	Merge      map[string]any    `json:"merge,omitempty"`
}

func (b faultBody) fault() (Fault, error) {
	f := Fault{
		Method: b.Method, Path: b.Path, Times: b.Times, Reset: b.Reset, Done: b.Done, Status: b.Status, Code: b.Code, RetryAfter: b.RetryAfter,
		Truncate: b.Truncate, Message: b.Message, Claims: b.Claims, Body: b.Body, Merge: b.Merge,
	}
	switch {
	case b.Method != strings.ToUpper(b.Method):
		return f, control.Invalid("method: want upper case, such as GET, not %q", b.Method)
	case b.Path != "" && !strings.HasPrefix(b.Path, "/"):
		return f, control.Invalid("path: want a path prefix such as /v1.0/me/events, not %q", b.Path)
	case b.Status != 0 && (b.Status < 200 || b.Status > 599):
		return f, control.Invalid("status: want 200 to 599, not %d", b.Status)
	case b.Truncate < 0:
		return f, control.Invalid("truncate: want at least 0, not %d", b.Truncate)
	case b.Claims != "" && !json.Valid([]byte(b.Claims)):
		return f, control.Invalid("claims: want JSON, not %q", b.Claims)
	case b.Delay == "" && !b.Reset && b.Status == 0 && b.Truncate == 0 && b.Claims == "" && b.RetryAfter == "" && b.Header == nil && b.Body == nil && b.Merge == nil:
		return f, control.Invalid("the fault has no effect: want one of delay, reset, truncate, status, claims, retryAfter, header, body and merge")
	}
	if b.Delay == "forever" {
		f.Delay = Forever
	} else if b.Delay != "" {
		d, err := control.Duration("delay", b.Delay)
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
		Truncate: f.Truncate, Message: f.Message, Claims: f.Claims, Body: f.Body, Merge: f.Merge,
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

func (s *Simulator) getFaults(*http.Request) (any, error) {
	var all []faultBody
	for _, f := range s.Faults() {
		all = append(all, f.json())
	}
	return control.ListOf(all), nil
}

func (s *Simulator) addFault(r *http.Request) (any, error) {
	in, err := control.Decode[faultBody](r)
	if err != nil {
		return nil, err
	}
	f, err := in.fault()
	if err != nil {
		return nil, err
	}
	s.Fail(f)
	return s.getFaults(r)
}

func (s *Simulator) clearFaults(*http.Request) (any, error) {
	s.ClearFaults()
	return nil, nil
}

func (s *Simulator) getRequests(r *http.Request) (any, error) {
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
	return control.ListOf(all), nil
}

func (s *Simulator) forgetRequests(*http.Request) (any, error) {
	s.ForgetRequests()
	return nil, nil
}
