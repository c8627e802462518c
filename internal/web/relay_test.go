package web_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

// A handler on another machine gets the request as the client sent it, and the client gets its answer.
func TestRelay(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		got := []string{r.Method, r.URL.Path, r.URL.RawQuery, r.Host, r.RemoteAddr, user, password, r.Header.Get("If-Match"), string(body)}
		if diff := cmp.Diff([]string{"PUT", "/dav/work/a b.ics", "x=1%202", "example.com", "192.0.2.1:1234", "work", "secret", `"1"`, "BEGIN\r\nEND\n\x00"}, got); diff != "" {
			t.Error(diff)
		}
		w.Header().Add("ETag", `"2"`)
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusTeapot) // too late
		_, _ = io.WriteString(w, "one\n")
		_, _ = io.WriteString(w, "two")
	})
	r := httptest.NewRequest(http.MethodPut, "http://example.com/dav/work/a%20b.ics?x=1%202", strings.NewReader("BEGIN\r\nEND\n\x00"))
	r.SetBasicAuth("work", "secret")
	r.Header.Set("If-Match", `"1"`)
	encoded, err := web.EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	there, err := web.DecodeRequest(t.Context(), encoded)
	if err != nil {
		t.Fatal(err)
	}
	if encoded, err = web.Record(handler, there, slog.New(slog.DiscardHandler)).Encode(); err != nil {
		t.Fatal(err)
	}
	response, err := web.DecodeResponse(encoded)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	response.WriteTo(w)
	if w.Code != http.StatusCreated || w.Header().Get("ETag") != `"2"` || w.Body.String() != "one\ntwo" {
		t.Errorf("got %d, %v, %q", w.Code, w.Header(), w.Body)
	}
}

// A handler that panics answers that it failed, also after it has begun to answer, and the program goes on.
func TestRelayOfPanic(t *testing.T) {
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	response := web.Record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "begun")
		panic("broken")
	}), httptest.NewRequest(http.MethodGet, "/ics/secret/", nil), log)
	if response.Status != http.StatusInternalServerError || response.Header.Get("Content-Length") != "" || string(response.Body) != "this failed; see the log\n" {
		t.Errorf("got %+v, %q", response, response.Body)
	}
	if text := logged.String(); !strings.Contains(text, `msg="request handler panicked" error=broken stack=`) || strings.Contains(text, "secret") {
		t.Errorf("logged %s", text)
	}
}

// Answers that no handler gave, such as those of a later version, are errors.
func TestRelayOfGarbage(t *testing.T) {
	for _, encoded := range []string{"", "\n", "x\nbody", `{"status": 0}` + "\n", `{"status": 101}` + "\n", `{"status": 12345}` + "\n", "[]\n"} {
		if response, err := web.DecodeResponse([]byte(encoded)); err == nil {
			t.Errorf("%q is the response %v", encoded, response)
		}
	}
	for _, encoded := range []string{"", "x\n", "[]\n", `{"method": "G T", "address": "/"}` + "\n", `{"method": "GET", "address": "%zz"}` + "\n"} {
		if r, err := web.DecodeRequest(t.Context(), []byte(encoded)); err == nil {
			t.Errorf("%q is the request %v", encoded, r)
		}
	}
	silent := web.Record(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), httptest.NewRequest(http.MethodGet, "/", nil), slog.New(slog.DiscardHandler))
	if silent.Status != 0 || silent.Body != nil {
		t.Errorf("got %+v", silent)
	}
	if _, err := web.EncodeRequest(httptest.NewRequest(http.MethodPut, "/", io.MultiReader(strings.NewReader("begin"), broken{}))); err == nil {
		t.Error("a request whose body ends early is passed on")
	}
}

// A broken reader is a connection that ends.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
