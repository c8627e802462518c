package graph_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
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
