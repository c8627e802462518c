package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

const password = "hunter2hunter2"

// server is a running server and the address of its root.
type server struct {
	*web.Server
	root string
	stop func() error
}

// start runs a server with a handler for each policy: /open, /page/, /secret and /own.
func start(t *testing.T, o web.Options) *server {
	t.Helper()
	s := &server{}
	o.Listen = "127.0.0.1:0"
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	yes := func() bool { return true }
	if o.Healthy == nil {
		o.Healthy = yes
	}
	if o.Ready == nil {
		o.Ready = yes
	}
	var err error
	if s.Server, err = web.New(o); err != nil {
		t.Fatal(err)
	}
	for pattern, policy := range map[string]web.Policy{"/open": web.Open, "/page/": web.Page, "/secret": web.Secret} {
		s.Mount(pattern, policy, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
				return
			}
			_, _ = io.WriteString(w, "served")
		}))
	}
	s.Mount("/own", web.Delegated, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, given, _ := r.BasicAuth(); given != "own password" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "served")
	}))
	s.Mount("/panic", web.Open, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			_, _ = io.WriteString(w, "begun")
		}
		panic("a mistake")
	}))
	s.root = "http://" + s.Addr()
	if o.Certificate != nil {
		s.root = "https://" + s.Addr()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// request returns a request for a path, changed by the functions.
func (s *server) request(t *testing.T, method, path, body string, changes ...func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.root+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(r)
	}
	return r
}

// do sends a request and returns the answer with its body.
func do(t *testing.T, client *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func signedIn(r *http.Request)      { r.SetBasicAuth("anybody", password) }
func wrongPassword(r *http.Request) { r.SetBasicAuth("anybody", "hunter2hunter") }
func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
}

// A stranger is let in nowhere but where the policy says so.
func TestPolicies(t *testing.T) {
	codes := func(t *testing.T, s *server, changes ...func(*http.Request)) map[string]int {
		t.Helper()
		got := map[string]int{}
		for _, route := range s.Routes() {
			if route.Pattern == "/panic" {
				continue
			}
			answer, _ := do(t, http.DefaultClient, s.request(t, http.MethodGet, route.Pattern, "", changes...))
			got[route.Pattern] = answer.StatusCode
		}
		return got
	}
	with := func(page, secret, own int) map[string]int {
		return map[string]int{"/healthz": 200, "/readyz": 200, "/open": 200, "/page/": page, "/secret": secret, "/own": own}
	}
	for _, test := range []struct {
		name    string
		options web.Options
		changes []func(*http.Request)
		want    map[string]int
	}{
		{"no password given", web.Options{Password: password}, nil, with(401, 401, 401)},
		{"a wrong password", web.Options{Password: password}, []func(*http.Request){wrongPassword}, with(401, 401, 401)},
		{"the password", web.Options{Password: password}, []func(*http.Request){signedIn}, with(200, 200, 401)},
		{"that of a handler", web.Options{Password: password}, []func(*http.Request){func(r *http.Request) { r.SetBasicAuth("a", "own password") }}, with(401, 401, 200)},
		{"an empty password", web.Options{Password: password}, []func(*http.Request){func(r *http.Request) { r.SetBasicAuth("a", "") }}, with(401, 401, 401)},
		{"another scheme", web.Options{Password: password}, []func(*http.Request){header("Authorization", "Bearer "+password)}, with(401, 401, 401)},
		{"no password configured", web.Options{}, nil, with(200, 200, 401)},
		{"a proxy without a password", web.Options{}, []func(*http.Request){header("X-Forwarded-For", "192.0.2.1")}, with(403, 403, 401)},
		{"a proxy with the password", web.Options{Password: password}, []func(*http.Request){header("X-Forwarded-For", "192.0.2.1"), signedIn}, with(200, 200, 401)},
		{"an app, not through ingress", web.Options{Ingress: true}, nil, with(403, 403, 401)},
		{"an app, claiming ingress", web.Options{Ingress: true}, []func(*http.Request){header("X-Forwarded-For", "172.30.32.2"), header("X-Ingress-Path", "/x"), header("X-Remote-User-Id", "1")}, with(403, 403, 401)},
		{"an app with a password, claiming ingress", web.Options{Ingress: true, Password: password}, []func(*http.Request){header("X-Forwarded-For", "172.30.32.2")}, with(401, 401, 401)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, codes(t, start(t, test.options), test.changes...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
