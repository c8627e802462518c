package receiver_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/receiver"
)

func handler(notify func(context.Context, []subscriptions.Notification) error) http.Handler {
	return receiver.New(receiver.Options{Notify: notify, Log: slog.New(slog.DiscardHandler)})
}

func never(t *testing.T) func(context.Context, []subscriptions.Notification) error {
	return func(_ context.Context, all []subscriptions.Notification) error {
		t.Errorf("notified of %v", all)
		return nil
	}
}

func serve(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w
}

// Graph wants its token back, decoded and as plain text.
func TestHandshake(t *testing.T) {
	h := handler(never(t))
	for _, token := range []string{"Validation: Testing client application reachability for subscription Request-Id: 1+2%3", "<script>alert(1)</script>", "ü ✓"} {
		w := serve(h, http.MethodPost, "/graph?validationToken="+url.QueryEscape(token), "")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Body.String() != token {
			t.Errorf("%q: %d %q %q", token, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
	for _, token := range []string{"", strings.Repeat("x", 5000)} {
		if w := serve(h, http.MethodPost, "/graph?validationToken="+token, ""); w.Code != http.StatusBadRequest {
			t.Errorf("a token of %d bytes: %d", len(token), w.Code)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		if w := serve(h, method, "/graph?validationToken=x", ""); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

func TestNotifications(t *testing.T) {
	var got []subscriptions.Notification
	fails := false
	h := handler(func(_ context.Context, all []subscriptions.Notification) error {
		got = all
		if fails {
			return errors.New("the disk is full")
		}
		return nil
	})
	const body = `{"value": [{"subscriptionId": "1", "clientState": "a", "changeType": "updated"}]}`
	w := serve(h, http.MethodPost, "/graph", body)
	if want := []subscriptions.Notification{{SubscriptionID: "1", ClientState: "a"}}; w.Code != http.StatusAccepted || !cmp.Equal(got, want) {
		t.Errorf("%d %+v", w.Code, got)
	}
	fails = true
	if w := serve(h, http.MethodPost, "/graph", body); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("what is not recorded is answered with %d %s", w.Code, w.Body)
	}
	h = handler(never(t))
	for _, body := range []string{"", "{", "x", `{"value": 1}`, "<html>"} {
		if w := serve(h, http.MethodPost, "/graph", body); w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d", body, w.Code)
		}
	}
	tooMany := `{"value": [` + strings.Repeat("{},", subscriptions.MaxNotifications) + "{}]}"
	if w := serve(h, http.MethodPost, "/graph", tooMany); w.Code != http.StatusRequestEntityTooLarge || w.Body.String() != "want at most 1000 notifications in one request\n" {
		t.Errorf("too many: %d %s", w.Code, w.Body)
	}
}

// Nothing takes longer than Graph waits, whatever the disk does.
func TestSlowRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(func(ctx context.Context, _ []subscriptions.Notification) error {
			<-ctx.Done()
			return ctx.Err()
		})
		began := time.Now()
		if w := serve(h, http.MethodPost, "/graph", `{"value": []}`); w.Code != http.StatusServiceUnavailable || time.Since(began) > 3*time.Second {
			t.Errorf("%d after %s", w.Code, time.Since(began))
		}
	})
}

// While nothing can be recorded, a flood of notifications is answered at once, and none of them as accepted.
func TestFloodWhileNothingIsRecorded(t *testing.T) {
	for name, refuse := range map[string]func(context.Context) error{
		"refusing": func(context.Context) error { return errors.New("the disk is full") },
		"hanging":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var works atomic.Bool
				var log bytes.Buffer
				h := receiver.New(receiver.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Notify: func(ctx context.Context, _ []subscriptions.Notification) error {
					if works.Load() {
						return nil
					}
					return refuse(ctx)
				}})
				const perSecond, seconds = 1000, 10
				var codes [600]atomic.Int64
				var slow, slowest atomic.Int64
				for i := range perSecond * seconds {
					time.Sleep(time.Second / perSecond)
					go func() {
						began := time.Now()
						codes[serve(h, http.MethodPost, "/graph", `{"value": [{"subscriptionId": "1"}]}`).Code].Add(1)
						took := time.Since(began)
						slowest.Store(max(slowest.Load(), int64(took)))
						if i > 3*perSecond && took > 0 {
							slow.Add(1)
						}
					}()
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if n := codes[http.StatusServiceUnavailable].Load(); n != perSecond*seconds {
					t.Errorf("%d of %d were answered with 503, %d with 202", n, perSecond*seconds, codes[http.StatusAccepted].Load())
				}
				if d := time.Duration(slowest.Load()); d > 3*time.Second || slow.Load() > seconds {
					t.Errorf("the slowest answer took %s, and %d were not immediate", d, slow.Load())
				}
				works.Store(true)
				for range perSecond {
					if code := serve(h, http.MethodPost, "/graph", `{"value": []}`).Code; code != http.StatusAccepted {
						t.Errorf("%d when it works again", code)
					}
				}
				if a, b := strings.Count(log.String(), "notifications not recorded"), strings.Count(log.String(), "notifications recorded again"); a != 1 || b != 1 {
					t.Errorf("logged %d and %d times\n%s", a, b, &log)
				}
			})
		})
	}
}

// BenchmarkFlood measures the answers to a flood over the network, while notifications are recorded and while they cannot be.
func BenchmarkFlood(b *testing.B) {
	for _, want := range []int{http.StatusAccepted, http.StatusServiceUnavailable} {
		b.Run(http.StatusText(want), func(b *testing.B) {
			addr := server(b, handler(func(context.Context, []subscriptions.Notification) error {
				if want != http.StatusAccepted {
					return errors.New("the disk is full")
				}
				return nil
			}))
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
			defer client.CloseIdleConnections()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res, err := client.Post("http://"+addr+"/graph", "application/json", strings.NewReader(`{"value": [{"subscriptionId": "1", "clientState": "s", "changeType": "updated"}]}`))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if res.StatusCode != want {
						b.Errorf("%d, want %d", res.StatusCode, want)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
		})
	}
}

// server runs the receiver on a listener of its own.
func server(t testing.TB, h http.Handler) string {
	t.Helper()
	s, err := web.New(web.Options{Key: "notifications.webhook", Public: true, Listen: "127.0.0.1:0", ExternalURL: "https://hooks.example.com/graph", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Mount("/graph", web.Open, h)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

// Strangers find nothing but the one path.
func TestListener(t *testing.T) {
	addr := server(t, handler(never(t)))
	for target, want := range map[string]int{
		"POST hooks.example.com /graph?validationToken=x": 200, "POST 127.0.0.1 /graph?validationToken=x": 200, "POST evil.example /graph?validationToken=x": 421,
		"GET hooks.example.com /": 404, "GET hooks.example.com /healthz": 404, "GET hooks.example.com /readyz": 404, "GET hooks.example.com /metrics": 404, "POST hooks.example.com /graph/x": 404,
	} {
		part := strings.Fields(target)
		r, err := http.NewRequestWithContext(t.Context(), part[0], "http://"+addr+part[2], http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = part[1]
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, res.StatusCode, want)
		}
	}
}

func TestHugeBody(t *testing.T) {
	addr := server(t, handler(never(t)))
	huge := `{"value": [{"subscriptionId": "` + strings.Repeat("x", 2<<20) + `"}]}`
	for name, body := range map[string]io.Reader{"of a known length": strings.NewReader(huge), "in chunks": io.MultiReader(strings.NewReader(huge))} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/graph", body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			continue // the connection was closed before all of it was sent
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

// A body that does not come keeps nobody else out.
func TestSlowBody(t *testing.T) {
	addr := server(t, handler(func(context.Context, []subscriptions.Notification) error { return nil }))
	for range 100 { // more than there may be connections
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		fmt.Fprintf(conn, "POST /graph HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: 100\r\n\r\n{")
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"value": []}`
	fmt.Fprintf(conn, "POST /graph HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("%d", res.StatusCode)
	}
}
