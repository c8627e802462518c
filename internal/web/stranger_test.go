package web_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

// A page of a foreign name that resolves to this machine is refused.
func TestRebinding(t *testing.T) {
	s := start(t, web.Options{Password: password, Hosts: []string{"graph.example", "fritz.box"}, ExternalURL: "https://Bridge.Example:8443/graph"})
	for host, want := range map[string]int{
		"127.0.0.1": 200, "192.168.1.10:8099": 200, "[::1]:8099": 200, "[fe80::1]": 200, "localhost:8099": 200, "LOCALHOST": 200, "homeassistant": 200,
		"5c53de3b-graph2mqtt:8099": 200, "homeassistant.local:8099": 200, "Homeassistant.LOCAL.": 200, "graph.example": 200, "Graph.Example.:8099": 200, "fritz.box": 200, "bridge.example": 200,
		"attacker.example": 421, "attacker.example:8099": 421, "a.graph.example": 421, "graph.example.attacker.example": 421, "127.0.0.1.attacker.example": 421,
		"local.attacker.example": 421, "xlocal.example": 421, "127.0.0.1.nip.io": 421,
	} {
		answer, body := do(t, http.DefaultClient, s.request(t, http.MethodGet, "/page/", "", signedIn, header("Host", host)))
		if answer.StatusCode != want {
			t.Errorf("%s is answered %d, want %d", host, answer.StatusCode, want)
		}
		if want == http.StatusMisdirectedRequest && !strings.Contains(body, "add the name to http.hosts") {
			t.Errorf("%s: %s", host, body)
		}
	}
}

// Nothing that another site makes a browser send changes anything.
func TestCrossSite(t *testing.T) {
	s := start(t, web.Options{Password: password, ExternalURL: "https://Bridge.Example"})
	for _, test := range []struct {
		method string
		header map[string]string
		want   int
	}{
		{"POST", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"POST", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"POST", map[string]string{"Origin": "https://attacker.example"}, 403},
		{"POST", map[string]string{"Origin": "null"}, 403},
		{"PUT", map[string]string{"Origin": "https://attacker.example"}, 403},
		{"REPORT", map[string]string{"Origin": "https://attacker.example"}, 403},
		{"POST", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": s.root}, 200},
		{"POST", map[string]string{"Origin": s.root}, 200},
		{"POST", map[string]string{"Origin": "https://bridge.example"}, 200},
		{"POST", nil, 200}, // no browser
		{"REPORT", nil, 200},
		{"GET", map[string]string{"Sec-Fetch-Site": "cross-site"}, 200}, // changes nothing, and its answer is not readable there
	} {
		var changes []func(*http.Request)
		for name, value := range test.header {
			changes = append(changes, header(name, value))
		}
		answer, _ := do(t, http.DefaultClient, s.request(t, test.method, "/page/", "x=1", append(changes, signedIn)...))
		if answer.StatusCode != test.want {
			t.Errorf("%s with %v is answered %d, want %d", test.method, test.header, answer.StatusCode, test.want)
		}
	}
}

// Home Assistant's ingress is trusted for the page alone, by the peer's address alone, and only by an app.
func TestIngress(t *testing.T) {
	app := start(t, web.Options{Ingress: true, Password: password})
	bare := start(t, web.Options{Ingress: true})
	program := start(t, web.Options{Password: password})
	for _, test := range []struct {
		server *server
		peer   string
		path   string
		want   int
	}{
		{app, "172.30.32.2:40000", "/page/", 200},
		{app, "[::ffff:172.30.32.2]:40000", "/page/", 200},
		{app, "172.30.32.2:40000", "/secret", 401},
		{app, "172.30.32.2:40000", "/own", 401},
		{app, "172.30.32.1:40000", "/page/", 421}, // Home Assistant itself
		{app, "192.168.1.10:40000", "/page/", 421},
		{bare, "172.30.32.2:40000", "/page/", 200},
		{bare, "172.30.32.2:40000", "/secret", 403},
		{program, "172.30.32.2:40000", "/page/", 421},
	} {
		r := httptest.NewRequest(http.MethodGet, test.path, nil)
		r.RemoteAddr, r.Host = test.peer, "whatever.example" // as the user typed it for Home Assistant
		w := httptest.NewRecorder()
		test.server.Handler().ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%s from %s is answered %d, want %d", test.path, test.peer, w.Code, test.want)
		}
	}
}

// Every answer has the headers that keep a browser from being used against its user.
func TestHeaders(t *testing.T) {
	s := start(t, web.Options{Password: password})
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; " +
			"base-uri 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
	}
	for name, r := range map[string]*http.Request{
		"a page":            s.request(t, http.MethodGet, "/page/", "", signedIn),
		"a stranger":        s.request(t, http.MethodGet, "/page/", ""),
		"no such page":      s.request(t, http.MethodGet, "/nothing", ""),
		"another host":      s.request(t, http.MethodGet, "/page/", "", header("Host", "attacker.example")),
		"another site":      s.request(t, http.MethodPost, "/page/", "", header("Origin", "https://attacker.example")),
		"a preflight":       s.request(t, http.MethodOptions, "/page/", "", header("Origin", "https://attacker.example"), header("Access-Control-Request-Method", "PUT")),
		"health":            s.request(t, http.MethodGet, "/healthz", ""),
		"too large a body":  s.request(t, http.MethodPost, "/page/", strings.Repeat("x", 1<<20+1), signedIn),
		"an unclean path":   s.request(t, http.MethodGet, "//page/../page/", "", signedIn),
		"a handler's error": s.request(t, http.MethodGet, "/own", ""),
	} {
		answer, _ := do(t, http.DefaultClient, r)
		got := map[string]string{}
		for header := range want {
			got[header] = answer.Header.Get(header)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for header := range answer.Header {
			if strings.HasPrefix(header, "Access-Control-") {
				t.Errorf("%s: has the header %s", name, header)
			}
		}
	}
}

// A wrong password gets a clear answer, and nobody learns whether a path exists.
func TestAnswersToStrangers(t *testing.T) {
	var log bytes.Buffer
	s := start(t, web.Options{Password: password, Log: slog.New(slog.NewTextHandler(&log, nil))})
	answer, body := do(t, http.DefaultClient, s.request(t, http.MethodGet, "/page/", ""))
	if got := answer.Header.Get("WWW-Authenticate"); got != `Basic realm="graph2mqtt", charset="UTF-8"` || body != "the password of graph2mqtt is required (http.password)\n" {
		t.Errorf("%s, %s", got, body)
	}
	for range 2 {
		if _, body = do(t, http.DefaultClient, s.request(t, http.MethodGet, "/page/", "", wrongPassword)); body != "the password is wrong: want that of http.password, with any user name\n" {
			t.Error(body)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "wrong password for the HTTP listener"); n != 1 || strings.Contains(log.String(), "hunter2") {
		t.Errorf("logged %d times: %s", n, log.String())
	}
}

// Bodies and headers are bounded.
func TestLargeRequests(t *testing.T) {
	s := start(t, web.Options{Password: password})
	for _, test := range []struct {
		name   string
		size   int
		length int64 // as announced; -1: it comes in parts
		path   string
		want   int
		read   int // of the body at most
	}{
		{"a large body", 1<<20 + 1, 1<<20 + 1, "/page/", 413, 0},
		{"the largest body", 1 << 20, 1 << 20, "/page/", 200, 1 << 20},
		{"a large body in parts", 4 << 20, -1, "/page/", 413, 1<<20 + 64<<10},
		{"a large body to an open route", 4 << 20, -1, "/open", 413, 1<<20 + 64<<10},
		{"a large body of a stranger", 4 << 20, -1, "/secret", 401, 0},
	} {
		body := strings.NewReader(strings.Repeat("x", test.size))
		r := httptest.NewRequest(http.MethodPost, "http://localhost"+test.path, io.NopCloser(body))
		r.ContentLength = test.length
		if test.want != http.StatusUnauthorized {
			signedIn(r)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if read := test.size - body.Len(); w.Code != test.want || read > test.read {
			t.Errorf("%s is answered %d, want %d; %d bytes were read", test.name, w.Code, test.want, read)
		}
	}
	for size, want := range map[int]int{16 << 10: http.StatusOK, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		answer, err := http.DefaultClient.Do(s.request(t, http.MethodGet, "/page/", "", signedIn, header("X-Large", strings.Repeat("x", size))))
		if err != nil && want != http.StatusOK {
			continue // the server closed the connection while the header was being sent
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("a header of %d bytes is answered %d, want %d", size, answer.StatusCode, want)
		}
	}
}

// Thousands of connections of a stranger, most of which say nothing, keep nobody out.
func TestManyConnections(t *testing.T) {
	total := 10_000
	if testing.Short() {
		total = 1000
	}
	s := start(t, web.Options{Password: password})
	stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: time.Minute}
	if c, err := stranger.DialContext(t.Context(), "tcp", s.Addr()); err != nil {
		t.Skipf("no second loopback address: %v", err)
	} else {
		_ = c.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	numbers := make(chan int)
	var flood sync.WaitGroup
	for range 16 {
		flood.Go(func() {
			var open []net.Conn
			for n := range numbers {
				c, err := stranger.DialContext(t.Context(), "tcp", s.Addr())
				if err != nil {
					t.Error(err)
					continue
				}
				switch n % 3 { // what the server does with the connection is its own affair
				case 1:
					_, _ = io.WriteString(c, "GET /page/ HTTP/1.1\r\n")
				case 2:
					_, _ = io.WriteString(c, "POST /page/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
				}
				if open = append(open, c); len(open) > 100 {
					_ = open[0].Close()
					open = open[1:]
				}
			}
			for _, c := range open {
				_ = c.Close()
			}
		})
	}
	for n := range total {
		if n%100 == 99 {
			if answer, body := do(t, client, s.request(t, http.MethodGet, "/page/", "", signedIn)); answer.StatusCode != http.StatusOK {
				t.Errorf("after %d connections: %d, %s", n, answer.StatusCode, body)
			}
			if open := s.Open(); open > 64 {
				t.Errorf("%d connections are open", open)
			}
		}
		numbers <- n
	}
	close(numbers)
	flood.Wait()
	for range total / 10 { // one after the other
		if answer, _ := do(t, client, s.request(t, http.MethodGet, "/healthz", "")); answer.StatusCode != http.StatusOK {
			t.Fatalf("answered %d", answer.StatusCode)
		}
	}
}

// With a certificate only HTTPS is spoken.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, web.Options{Password: password, Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}})
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		client := &http.Client{Transport: transport}
		answer, _ := do(t, client, s.request(t, http.MethodGet, "/page/", "", signedIn))
		if answer.StatusCode != http.StatusOK || answer.ProtoMajor == 2 != http2 {
			t.Errorf("%s %s", answer.Proto, answer.Status)
		}
		transport.CloseIdleConnections()
	}
	if answer, _ := do(t, http.DefaultClient, func() *http.Request {
		r := s.request(t, http.MethodGet, "/page/", "", signedIn)
		r.URL.Scheme = "http"
		return r
	}()); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS it is answered %d", answer.StatusCode)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}}}
	if answer, err := old.Do(s.request(t, http.MethodGet, "/page/", "", signedIn)); err == nil {
		_ = answer.Body.Close()
		t.Error("TLS 1.1 is accepted")
	}
}

// What the configuration refuses is refused here, too, where a name resolves to another address than expected.
func TestNoPasswordBeyondLoopback(t *testing.T) {
	s, err := web.New(web.Options{Listen: "0.0.0.0:0"})
	if err == nil || err.Error() != "http.password is required: others can reach 0.0.0.0:0" {
		t.Errorf("got %v", err)
	}
	if err == nil {
		err = s.Close()
	}
	if errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// Each request is reported once, with the pattern of its route.
func TestRequestsAreReported(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	var log bytes.Buffer
	s := start(t, web.Options{Password: password, Log: slog.New(slog.NewTextHandler(&log, nil)), OnRequest: func(route, method string, code int) {
		mu.Lock()
		defer mu.Unlock()
		got[route+" "+method]++
		got[http.StatusText(code)]++
	}})
	for path, change := range map[string]func(*http.Request){"/page/a/b": signedIn, "/secret": wrongPassword, "/nothing": signedIn, "/open": header("Host", "attacker.example")} {
		do(t, http.DefaultClient, s.request(t, http.MethodGet, path, "", change))
	}
	if answer, body := do(t, http.DefaultClient, s.request(t, http.MethodGet, "/panic", "")); answer.StatusCode != http.StatusInternalServerError || body != "this failed; see the log\n" {
		t.Errorf("%d, %s", answer.StatusCode, body)
	}
	if answer, err := http.DefaultClient.Do(s.request(t, http.MethodPost, "/panic?late", "")); err == nil {
		_, err = io.ReadAll(answer.Body)
		if _ = answer.Body.Close(); err == nil {
			t.Error("an incomplete answer looks complete")
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "request handler panicked"); n != 2 {
		t.Errorf("logged %d panics: %s", n, log.String())
	}
	want := map[string]int{"/panic GET": 1, "/panic POST": 1, "Internal Server Error": 1, "/page/ GET": 1, "/secret GET": 1, " GET": 2, "OK": 2, "Unauthorized": 1, "Not Found": 1, "Misdirected Request": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
