package page_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A site is a page over a hub, with requests and credentials in memory.
type site struct {
	hub     *hub.Hub
	handler *page.StatusPage

	mu        sync.Mutex
	submitted []services.Inbound
	respond   func(services.Inbound) services.Response
	passwords map[string]time.Time
	form      page.Form
	formErr   error
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{hub: hub.New(), passwords: map[string]time.Time{}}
	s.respond = func(r services.Inbound) services.Response {
		return services.Response{Op: r.Operation}.Succeed(map[string]string{"message": "done"})
	}
	var err error
	s.handler, err = page.New(page.Options{
		Version: "1.2.3", Started: time.Now(), Log: slog.New(slog.DiscardHandler), Configuration: s, Hub: s.hub, Dispatcher: s,
		Account: func(id string) (page.AccountInfo, bool) {
			return page.AccountInfo{Tenant: "common", Name: "Adele Vance", Permissions: []page.PermissionInfo{{Scope: "User.Read", Granted: true}}}, id == "work"
		},
		Program:   func() page.ProgramInfo { return page.ProgramInfo{Broker: "mqtt://localhost", Connected: true} },
		Topic:     func(id hub.ID) string { return "graph2mqtt/" + id.Account + "/" + id.Sensor },
		Requests:  page.NewRequests(func(int) []services.Record { return nil }),
		Calendars: s,
	})
	if err != nil {
		t.Fatal(err)
	}
	user := "adele@contoso.example"
	s.hub.Declare(hub.Device{ID: hub.ID{}, Name: "graph2mqtt"})
	s.hub.Declare(hub.Device{ID: hub.ID{Account: "work"}, Name: "Work"})
	s.hub.Put(hub.ID{Account: "work"}, hub.State{Available: true, Account: &hub.AccountStatus{SignIn: hub.SignIn{State: "signed_in"}, User: &user}})
	s.hub.Declare(hub.Device{ID: calendar, Name: "Work calendar", Model: "Calendar", Interval: time.Minute, Entities: []entity.Entity{entity.BinarySensor("busy", "Busy").AsPrimary()}})
	return s
}

var calendar = hub.ID{Account: "work", Sensor: "calendar"}

func (s *site) Submit(r services.Inbound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.submitted = append(s.submitted, r)
	go r.Done(s.respond(r))
}

func (s *site) Renew(account string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[account] = time.Now()
	return "correct horse", nil
}

func (s *site) Created(account string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.passwords[account]
	return at, ok
}

func (s *site) LastUsed(string) time.Time { return time.Time{} }

func (s *site) URL(base string) string { return base + "/dav/" }

func (s *site) Describe() page.ConfigDescription {
	return page.ConfigDescription{File: "graph2mqtt.yaml"}
}
func (s *site) Kinds() []page.FormKind { return []page.FormKind{{Name: "calendar"}} }
func (s *site) Preview(f page.Form) (page.Draft, error) {
	s.form = f
	return page.Draft{Lines: "x: y\n", Digest: "1"}, s.formErr
}
func (s *site) Write(f page.Form, digest string) error { s.form = f; return s.formErr }

// send sends a request and returns the code and the decoded body.
func (s *site) send(t *testing.T, method, path, body string, headers ...string) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	s.handler.ServeHTTP(w, r)
	var decoded map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &decoded); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w.Code, decoded
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/app.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml",
	} {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != want || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %s %s", path, w.Code, got, w.Header().Get("Cache-Control"))
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		again := httptest.NewRecorder()
		s.handler.ServeHTTP(again, r)
		if again.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.Code)
		}
	}
	for _, path := range []string{"/missing.js", "/../page.go", "/assets/app.js", "/index.html/x"} {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code == http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Nothing in the front end makes HTML or code from text, or has an address that is not relative.
func TestFrontEnd(t *testing.T) {
	s := newSite(t)
	modules := []string{"app.js"}
	for i := 0; i < len(modules); i++ {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+modules[i], nil))
		text := w.Body.String()
		for _, refused := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", `fetch("/`, `"/api`, "setAttribute(\"style\""} {
			if strings.Contains(text, refused) {
				t.Errorf("%s has %s", modules[i], refused)
			}
		}
		for line := range strings.Lines(text) {
			if _, module, ok := strings.Cut(strings.TrimSpace(line), `from "./`); ok {
				module = strings.TrimSuffix(module, `";`)
				if !strings.Contains(strings.Join(modules, " "), module) {
					modules = append(modules, module)
				}
			}
		}
	}
	if len(modules) < 10 {
		t.Errorf("only the modules %v", modules)
	}
}

func TestState(t *testing.T) {
	s := newSite(t)
	at := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	s.hub.Put(calendar, hub.State{State: entity.State{
		Values: map[string]any{"busy": true}, Attributes: map[string]any{"body": "a private text"}, Items: []any{"a private text"}, Texts: map[string]string{"busy": "a private text"},
	}, Available: true, LastSync: at})
	s.hub.Record(calendar, hub.Poll{At: at.Add(-time.Minute), Failure: &hub.Problem{Code: "sign_in_required", Message: "not signed in"}})
	s.hub.Record(calendar, hub.Poll{At: at, Duration: 1500 * time.Millisecond, Next: at.Add(time.Minute), Items: 1, ItemsKey: "events"})
	s.hub.Record(calendar, hub.Poll{At: at.Add(time.Minute), Next: at.Add(2 * time.Minute), Failure: &hub.Problem{Code: "throttled", Message: "Microsoft asked to wait"}})
	user := "adele@contoso.example"
	s.hub.Put(hub.ID{Account: "work"}, hub.State{Available: true, Account: &hub.AccountStatus{
		SignIn: hub.SignIn{State: "signed_in"}, User: &user, Problems: []hub.SensorProblem{
			{Sensor: "calendar", Code: "throttled", Message: "shown at the sensor"}, {Sensor: "lists", Code: "timeout", Message: "no answer"}, {Code: "audit_failed", Message: "disk full"},
		},
	}})
	code, body := s.send(t, http.MethodGet, "http://127.0.0.1:8099/api/state", "")
	if code != http.StatusOK {
		t.Fatal(code)
	}
	if text, _ := json.Marshal(body); bytes.Contains(text, []byte("private")) {
		t.Errorf("a private text is in the answer: %s", text)
	}
	state := body["state"].(map[string]any)
	account := state["accounts"].([]any)[0].(map[string]any)
	want := map[string]any{
		"id": "calendar", "name": "Calendar", "type": "Calendar", "topic": "graph2mqtt/work/calendar", "available": true, "problem": nil, "interval": 60.0,
		"values":    []any{map[string]any{"name": "Busy", "kind": "flag", "value": "true"}},
		"last_read": "2026-03-01T09:30:00Z", "next_read": "2026-03-01T09:32:00Z",
		"polls": []any{
			map[string]any{"at": "2026-03-01T09:30:00Z", "ms": 1500.0, "outcome": "ok", "text": "1 item"},
			map[string]any{"at": "2026-03-01T09:31:00Z", "ms": 0.0, "outcome": "throttled", "text": "Microsoft asked to wait"},
		},
	}
	if d := cmp.Diff(want, account["sensors"].([]any)[0]); d != "" {
		t.Error(d)
	}
	if account["user_name"] != "Adele Vance" || account["user"] != "adele@contoso.example" || account["state"] != "signed_in" {
		t.Errorf("got %v", account)
	}
	problems := []any{map[string]any{"sensor": "lists", "code": "timeout", "message": "no answer"}, map[string]any{"code": "audit_failed", "message": "disk full"}}
	if d := cmp.Diff(problems, account["problems"]); d != "" {
		t.Error(d)
	}
	if got := state["calendars"].(map[string]any)["url"]; got != "http://127.0.0.1:8099/dav/" {
		t.Errorf("the address of calendars is %v", got)
	}
	_, body = s.send(t, http.MethodGet, "http://ha.local/api/state", "", "X-Ingress-Path", "/api/hassio_ingress/abc")
	if got := body["state"].(map[string]any)["calendars"].(map[string]any)["url"]; got != "/dav/" {
		t.Errorf("behind ingress the address of calendars is %v", got)
	}
}

// poll requests the state after a version, in the background.
func (s *site) poll(t *testing.T, ctx context.Context, version string) <-chan int {
	t.Helper()
	code := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/state?after="+version, nil))
		code <- w.Code
	}()
	return code
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		version := func() string {
			_, body := s.send(t, http.MethodGet, "/api/state", "")
			return body["version"].(string)
		}
		began := time.Now()
		if code := <-s.poll(t, t.Context(), "another"); code != http.StatusOK || time.Since(began) != 0 {
			t.Errorf("another version: %d after %s", code, time.Since(began))
		}
		if code := <-s.poll(t, t.Context(), version()); code != http.StatusNotModified || time.Since(began) != 25*time.Second {
			t.Errorf("nothing changes: %d after %s", code, time.Since(began))
		}
		for name, change := range map[string]func(){
			"a poll":    func() { s.hub.Record(calendar, hub.Poll{At: time.Now()}) },
			"a state":   func() { s.hub.Put(calendar, hub.State{Available: true, LastSync: time.Now()}) },
			"a request": func() { _, _ = s.Renew("work"); s.handler.Notify() },
		} {
			began := time.Now()
			code := s.poll(t, t.Context(), version())
			time.Sleep(3 * time.Second)
			synctest.Wait()
			change()
			if got := <-code; got != http.StatusOK || time.Since(began) > 4*time.Second {
				t.Errorf("%s: %d after %s", name, got, time.Since(began))
			}
		}
		// A change that changes nothing of what is shown does not answer.
		began = time.Now()
		code := s.poll(t, t.Context(), version())
		time.Sleep(time.Second)
		s.hub.Assert(calendar)
		if got := <-code; got != http.StatusNotModified || time.Since(began) != 25*time.Second {
			t.Errorf("nothing shown changes: %d after %s", got, time.Since(began))
		}
		// Who goes away leaves nothing behind; too many are refused.
		ctx, cancel := context.WithCancel(t.Context())
		for range 32 {
			s.poll(t, ctx, version())
		}
		synctest.Wait()
		if got := <-s.poll(t, t.Context(), version()); got != http.StatusServiceUnavailable {
			t.Errorf("one too many: %d", got)
		}
		cancel()
		synctest.Wait()
		if got := <-s.poll(t, t.Context(), version()); got != http.StatusNotModified {
			t.Errorf("after they went away: %d", got)
		}
	})
}

func TestActions(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		body   string
		target services.Ref
		want   string // operation and payload
	}{
		{`{"operation": "refresh"}`, services.Ref{}, "refresh {}"},
		{`{"account": "work", "operation": "refresh", "sensor": "calendar"}`, services.Ref{Account: "work"}, `refresh {"sensor":"calendar"}`},
		{`{"account": "work", "operation": "sign_in", "way": "browser"}`, services.Ref{Account: "work"}, `sign_in {"way":"browser"}`},
		{`{"account": "work", "operation": "sign_in", "address": "http://localhost/?code=1"}`, services.Ref{Account: "work"}, `sign_in {"address":"http://localhost/?code=1"}`},
		{`{"account": "work", "operation": "sign_out"}`, services.Ref{Account: "work"}, "sign_out {}"},
		{`{"account": "work", "operation": "candidates", "type": "calendar"}`, services.Ref{Account: "work"}, `candidates {"type":"calendar"}`},
		{`{"account": "work", "operation": "rescan"}`, services.Ref{Account: "work"}, "rescan {}"},
	} {
		s.submitted = nil
		code, body := s.send(t, http.MethodPost, "/api/actions", test.body)
		if code != http.StatusOK || body["data"].(map[string]any)["message"] != "done" || len(s.submitted) != 1 {
			t.Fatalf("%s: %d %v", test.body, code, body)
		}
		got := s.submitted[0]
		if text := got.Operation + " " + string(got.Payload); text != test.want || got.Target != test.target || !got.Owner || got.ReplyTo != "" {
			t.Errorf("%s: %+v", test.body, got)
		}
	}
}

func TestRefusedActions(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		path, body string
		code       int
		want       string
	}{
		{"/api/actions", `[]`, 400, "want a JSON object"},
		{"/api/actions", `{"operation": "create", "account": "work"}`, 404, "operation: want one of candidates, refresh, rescan, sign_in, sign_out, not \"create\""},
		{"/api/actions", `{"operation": "sign_out"}`, 404, "operation: want one of refresh, discovery, not \"sign_out\""},
		{"/api/actions", `{"account": "work"}`, 400, "operation is required"},
		{"/api/actions", `{"operation": "refresh", "transaction": "1"}`, 400, `transaction: unknown field`},
		{"/api/actions", `{"operation": "` + strings.Repeat("x", 70_000) + `"}`, 413, "want at most 65536 bytes"},
		{"/api/calendars/password", `{"account": "home"}`, 404, `there is no account "home"`},
		{"/api/calendars/password", `{}`, 400, "account is required"},
		{"/api/configuration/preview", `{"account": "work", "file": "/etc/passwd"}`, 400, "file: unknown field"},
		{"/api/configuration/write", `{}`, 400, "form is required"},
		{"/api/other", `{}`, 404, "there is no such address"},
	} {
		code, body := s.send(t, http.MethodPost, test.path, test.body)
		message, _ := body["error"].(map[string]any)["message"].(string)
		if code != test.code || !strings.Contains(message, test.want) {
			t.Errorf("%s %.60s: %d %s", test.path, test.body, code, message)
		}
	}
	if len(s.submitted) != 0 || len(s.passwords) != 0 {
		t.Error("something was done all the same")
	}
	// Other types than JSON are those of forms, and GET never changes anything.
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded"} {
		if code, _ := s.send(t, http.MethodPost, "/api/actions", `{"operation": "refresh"}`, "Content-Type", kind); code != http.StatusUnsupportedMediaType {
			t.Errorf("the type %q: %d", kind, code)
		}
	}
	for _, path := range []string{"/api/actions", "/api/calendars/password", "/api/configuration/preview", "/api/configuration/write"} {
		if code, _ := s.send(t, http.MethodGet, path, ""); code != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	s.respond = func(r services.Inbound) services.Response {
		return services.Response{Op: r.Operation}.Fail(&services.WaitError{Err: &services.Error{Code: services.Overloaded, Message: "later"}, RetryAfter: 5 * time.Second})
	}
	if code, body := s.send(t, http.MethodPost, "/api/actions", `{"operation": "refresh"}`); code != http.StatusServiceUnavailable || body["error"].(map[string]any)["retry_after"] != 5.0 {
		t.Errorf("the dispatcher's error: %d %v", code, body)
	}
}

func TestPasswordOfCalendars(t *testing.T) {
	s := newSite(t)
	code, body := s.send(t, http.MethodPost, "/api/calendars/password", `{"account": "work"}`)
	if d := cmp.Diff(map[string]any{"user": "work", "password": "correct horse"}, body); code != http.StatusOK || d != "" {
		t.Errorf("%d %s", code, d)
	}
	_, body = s.send(t, http.MethodGet, "/api/state", "")
	if text, _ := json.Marshal(body); bytes.Contains(text, []byte("correct horse")) || !bytes.Contains(text, []byte(`"created":"`)) {
		t.Errorf("the state has the password, or no time of it: %s", text)
	}
}

func TestForms(t *testing.T) {
	s := newSite(t)
	code, body := s.send(t, http.MethodPost, "/api/configuration/preview", `{"account": "work", "sensors": [{"id": "calendar", "type": "calendar", "options": {"calendar": "Birthdays"}}]}`)
	want := page.Form{Account: "work", Sensors: []page.FormSensor{{ID: "calendar", Type: "calendar", Options: map[string]string{"calendar": "Birthdays"}}}}
	if d := cmp.Diff(want, s.form); code != http.StatusOK || body["lines"] != "x: y\n" || d != "" {
		t.Errorf("%d %v %s", code, body, d)
	}
	for _, test := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 200, ""},
		{&page.FormError{Problems: []page.ConfigProblem{{Path: "mqtt.url", Message: "is required"}}}, 400, `{"code":"invalid_argument","message":"the configuration would not be valid","problems":[{"message":"is required","path":"mqtt.url"}]}`},
		{page.ErrFileChanged, 409, `{"code":"conflict","message":"the configuration file was changed meanwhile; look at the lines again"}`},
		{&page.ByHandError{Reason: "it is read-only"}, 409, `{"by_hand":true,"code":"conflict","message":"it is read-only"}`},
		{errors.New("disk full"), 500, `{"code":"internal","message":"disk full"}`},
	} {
		s.formErr = test.err
		code, body := s.send(t, http.MethodPost, "/api/configuration/write", `{"form": {"account": "work"}, "digest": "1"}`)
		var text []byte
		if body["error"] != nil {
			text, _ = json.Marshal(body["error"])
		}
		if code != test.code || string(text) != test.want {
			t.Errorf("%v: %d %s", test.err, code, text)
		}
	}
}

func TestRequests(t *testing.T) {
	received := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	journal := []services.Record{ // newest first
		{Target: services.Ref(calendar), Operation: "create", Received: received.Add(time.Hour)},
		{Target: services.Ref(calendar), Operation: "remove", Received: received, Response: &services.Response{Op: "remove", Status: "ok", CompletedAt: received.Add(time.Second)}},
	}
	requests := page.NewRequests(func(n int) []services.Record { return journal[:min(n, len(journal))] })
	for range 30 {
		requests.Completed(services.Ref(calendar), services.Response{Op: "update", ReceivedAt: received, Data: "a private text"}.Fail(&services.Error{Code: services.InDoubt, Message: "unknown"}))
	}
	h, err := page.New(page.Options{
		Hub: hub.New(), Log: slog.New(slog.DiscardHandler), Configuration: newSite(t), Requests: requests, Program: func() page.ProgramInfo { return page.ProgramInfo{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/state", nil))
	text, _ := io.ReadAll(w.Body)
	var body struct {
		State struct{ Requests []map[string]any }
	}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	got := body.State.Requests
	if len(got) != 20 || got[0]["operation"] != "create" || got[0]["outcome"] != "waiting" || got[0]["completed"] != nil {
		t.Fatalf("got %d: %v", len(got), got)
	}
	if got[1]["outcome"] != "in_doubt" || got[1]["message"] != "unknown" || !strings.Contains(got[1]["advice"].(string), "Look in Microsoft 365") {
		t.Errorf("got %v", got[1])
	}
	if bytes.Contains(text, []byte("private")) {
		t.Errorf("a private text: %s", text)
	}
}
