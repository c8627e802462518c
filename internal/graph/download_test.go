package graph_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Content is read in parts, whether the server knows ranges or not.
func TestDownload(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10)
	for _, ranges := range []bool{true, false} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				t.Error("no token")
			}
			if ranges {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
				return
			}
			_, _ = w.Write(content)
		})
		var got []byte
		for more := true; more; {
			part, next, err := c.Download(t.Context(), "read it", read(t, c), int64(len(got)), 33)
			if err != nil || len(part) > 33 {
				t.Fatalf("%d bytes, %v", len(part), err)
			}
			got, more = append(got, part...), next
		}
		if !bytes.Equal(got, content) {
			t.Errorf("ranges %v: got %s", ranges, got)
		}
		part, more, err := c.Download(t.Context(), "read it", read(t, c), 90, 10)
		if string(part) != "0123456789" || more || err != nil {
			t.Errorf("ranges %v, the end: %s, %v, %v", ranges, part, more, err)
		}
	}
}

func TestDownloadFails(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
		reason graph.Reason
	}{
		"shorter": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "1234") }, "read it: Graph answered 200: the content is shorter than before", graph.Refused},
		"other range": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}, "read it: Graph answered 206: the answer has another range than requested", graph.Refused},
		"cut": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "123456")
		}, "read it: Graph answered 200: the answer broke off: unexpected EOF", graph.Network},
		"refused": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error": {"code": "ErrorItemNotFound", "message": "Gone."}}`)
		}, "read it: Graph answered 404 ErrorItemNotFound: Gone.", graph.NotFound},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) })
		if _, _, err := c.Download(t.Context(), "read it", read(t, c), 5, 10); err == nil || err.Error() != tt.want || !graph.Is(err, tt.reason) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

// endless is a transport whose responses never end. It counts those that are open.
type endless struct {
	requests, open atomic.Int32
	silent         bool // nothing follows the header
}

func (e *endless) RoundTrip(r *http.Request) (*http.Response, error) {
	e.requests.Add(1)
	e.open.Add(1)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: &endlessBody{e: e, request: r}, Request: r}, nil
}

type endlessBody struct {
	e       *endless
	request *http.Request
	closed  atomic.Bool
}

func (b *endlessBody) Read(p []byte) (int, error) {
	if b.e.silent {
		<-b.request.Context().Done()
	}
	if err := b.request.Context().Err(); err != nil {
		return 0, err
	}
	if b.closed.Load() {
		return 0, errors.New("closed")
	}
	return len(p), nil
}

func (b *endlessBody) Close() error {
	if !b.closed.Swap(true) {
		b.e.open.Add(-1)
	}
	return nil
}

// Parts that follow each other come from one response, which is closed when nothing follows for a minute, and by Close. At most two
// are open.
func TestDownloadContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(endless)
		c := client(t, graph.Options{Transport: e})
		part := func(offset int64) {
			t.Helper()
			if content, more, err := c.Download(t.Context(), "read it", read(t, c), offset, 100); len(content) != 100 || !more || err != nil {
				t.Fatalf("%d bytes, %v, %v", len(content), more, err)
			}
		}
		counts := func(what string, requests, open int32) {
			t.Helper()
			if e.requests.Load() != requests || e.open.Load() != open {
				t.Errorf("%s: %d requests, %d open, want %d and %d", what, e.requests.Load(), e.open.Load(), requests, open)
			}
		}
		for i := range int64(5) {
			part(100 * i)
			time.Sleep(59 * time.Second)
		}
		counts("parts in a row", 1, 1)
		part(0)
		counts("again from the beginning", 2, 2)
		part(0)
		counts("and once more", 3, 2)
		part(100)
		counts("continued", 3, 2)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		counts("a minute later", 3, 0)
		part(200)
		counts("continued too late", 4, 1)
		c.Close()
		counts("closed", 4, 0)
	})
}

// A download is given up like any other request.
func TestDownloadHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(endless)
		e.silent = true
		c := client(t, graph.Options{Transport: e})
		start := time.Now()
		_, _, err := c.Download(t.Context(), "read it", read(t, c), 0, 100)
		if want := "read it: Graph answered 200: no answer in time: the answer broke off: context deadline exceeded"; err == nil || err.Error() != want || !graph.Is(err, graph.Timeout) || time.Since(start) != 30*time.Second {
			t.Errorf("got %v after %s, want %s", err, time.Since(start), want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, _, err := c.Download(ctx, "read it", read(t, c), 0, 100); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := e.open.Load(); n != 0 {
			t.Errorf("%d are open", n)
		}
	})
}

// Memory does not depend on what precedes a part, nor on what follows it.
func TestDownloadInConstantMemory(t *testing.T) {
	const offset = 64 << 20
	chunk := []byte(strings.Repeat("x", 1<<20))
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(chunk); err != nil {
				return // the client has read enough
			}
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	part, more, err := c.Download(t.Context(), "read it", read(t, c), offset, 1000)
	runtime.ReadMemStats(&after)
	if err != nil || len(part) != 1000 || !more {
		t.Fatalf("%d bytes, %v, %v", len(part), more, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("allocated %d bytes", n)
	}
}

// Items are visited without holding their pages.
func TestEach(t *testing.T) {
	requests := 0
	c, srv := serve(t, nil)
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"value": [%d, %d], "@odata.nextLink": "http://%s/v1.0/me/numbers?$skip=%d"}`, 2*requests-1, 2*requests, r.Host, requests)
	})
	graph.SetBounds(c, 1<<20, 10)
	sum := 0
	err := graph.Each(t.Context(), c, "count", read(t, c), func(n int) (bool, error) {
		sum += n
		return n < 5, nil
	})
	if err != nil || sum != 15 || requests != 3 {
		t.Errorf("%v, sum %d, %d requests", err, sum, requests)
	}
	failure := fmt.Errorf("enough")
	if err := graph.Each(t.Context(), c, "count", read(t, c), func(int) (bool, error) { return true, failure }); err != failure {
		t.Errorf("got %v", err)
	}
}
