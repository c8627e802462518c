package bridge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	stdruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
)

const webPassword = "hunter2hunter2"

// listening matches the log line about a listener.
var listening = regexp.MustCompile(`msg=listening component=http address=(\S+)`)

// web waits for the n-th listener, counted from 1, and returns its address.
func (h *harness) web(n int) string {
	h.t.Helper()
	return h.line(n, listening)[1]
}

// line waits until the log has n lines that match, and returns the last match.
func (h *harness) line(n int, pattern *regexp.Regexp) []string {
	h.t.Helper()
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if found := pattern.FindAllStringSubmatch(h.Log.String(), -1); len(found) >= n {
			return found[n-1]
		}
	}
	h.t.Fatalf("the log has no %d lines like %s", n, pattern)
	return nil
}

// get returns the code and the body of an answer; 0 without one.
func (h *harness) get(address, password string) (int, string) {
	h.t.Helper()
	return h.request(http.MethodGet, address, password)
}

// request is get with another method.
func (h *harness) request(method, address, password string) (int, string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+address, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if password != "" {
		r.SetBasicAuth("anybody", password)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: waitTimeout}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// showsProblem waits until the status page shows one problem of the configuration, with a text.
func (h *harness) showsProblem(address, text string) {
	h.t.Helper()
	last := ""
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, last = h.get(address+"/api/state", webPassword)
		var e struct {
			State struct {
				Configuration struct{ Problems []page.ConfigProblem }
			}
		}
		if json.Unmarshal([]byte(last), &e) != nil {
			continue
		}
		if found := e.State.Configuration.Problems; len(found) == 1 && strings.Contains(found[0].Message, text) {
			return
		}
	}
	h.t.Fatalf("the page does not show %q: %s", text, last)
}

// until waits until an address answers with a code.
func (h *harness) until(address, password string, want int) {
	h.t.Helper()
	code, body := 0, ""
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if code, body = h.get(address, password); code == want {
			return
		}
	}
	h.t.Fatalf("%s answers %d, want %d: %s", address, code, want, body)
}

// Health depends neither on Microsoft nor on a sign-in, readiness on the broker.
func TestHealthOfTheListener(t *testing.T) {
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0'}"
	h.one("", outOfOffice)
	h.Start() // nobody has signed in
	address := h.web(1)
	h.until(address+"/healthz", "", http.StatusOK)
	h.until(address+"/readyz", "", http.StatusOK)
	h.StopBroker()
	h.until(address+"/readyz", "", http.StatusServiceUnavailable)
	h.until(address+"/healthz", "", http.StatusOK)
	h.StartBroker(strings.TrimPrefix(h.Broker.URL(), "mqtt://"))
	h.until(address+"/readyz", "", http.StatusOK)
	h.Stop()
	if code, _ := h.get(address+"/healthz", ""); code != 0 {
		t.Errorf("answers %d after the end", code)
	}
}

// A reload that changes the listener leaves everything else as it is.
func TestReloadOfTheListener(t *testing.T) {
	h := newHarness(t)
	h.one("", outOfOffice)
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	mark := h.settledMark()
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	reload := func(content string) {
		h.http = content
		h.one("", outOfOffice)
		h.Reload()
	}

	reload("{listen: '127.0.0.1:0', password: " + webPassword + "}")
	first := h.web(1)
	h.until(first+"/healthz", "", http.StatusOK)

	reload("{listen: '" + first + "', password: " + webPassword + "}") // the same port again
	h.web(2)
	h.until(first+"/healthz", "", http.StatusOK)

	reload("{listen: '" + used.Addr().String() + "', password: " + webPassword + "}")
	h.line(1, regexp.MustCompile(`HTTP listener not changed, keeping the running one.*address already in use`))
	if again := h.web(3); again != first {
		t.Errorf("listens on %s instead of %s", again, first)
	}
	h.until(first+"/healthz", "", http.StatusOK)
	h.showsProblem(first, "address already in use")

	reload("")
	h.line(4, regexp.MustCompile(`configuration reloaded`))
	if code, _ := h.get(first+"/healthz", ""); code != 0 {
		t.Errorf("answers %d without a listener", code)
	}
	for _, m := range h.since(mark) {
		if m.Payload == "offline" {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}
}

// newCertificate writes a certificate for this machine and its key, and returns the certificate.
func (h *harness) newCertificate(serial int64) *x509.Certificate {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		h.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(h.path(name), pem.EncodeToMemory(block), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		h.t.Fatal(err)
	}
	return certificate
}

// A renewed certificate is used without a restart.
func TestCertificateOfTheListener(t *testing.T) {
	h := newHarness(t)
	h.http = fmt.Sprintf("{listen: '127.0.0.1:0', tls_cert_file: %q, tls_key_file: %q}", h.path("cert.pem"), h.path("key.pem"))
	h.one("", outOfOffice)
	for serial := range int64(2) {
		pool := x509.NewCertPool()
		pool.AddCert(h.newCertificate(serial + 1))
		if serial == 0 {
			h.Start()
		} else {
			h.Reload()
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}, Timeout: waitTimeout}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.web(int(serial)+1)+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got := answer.TLS.PeerCertificates[0].SerialNumber.Int64(); answer.StatusCode != http.StatusOK || got != serial+1 {
			t.Errorf("%s with the certificate %d, want %d", answer.Status, got, serial+1)
		}
	}
}

// everything is a listener with all its parts.
const everything = "{listen: '127.0.0.1:0', password: " + webPassword + ", metrics: true, pprof: true, calendars: true}"

// A stranger is let in nowhere but where it is harmless.
func TestRoutesOfTheListener(t *testing.T) {
	h := newHarness(t)
	h.http = everything
	h.one("", outOfOffice)
	h.Start()
	address := h.web(1)
	h.until(address+"/readyz", "", http.StatusOK)
	open := map[string]bool{}
	for _, route := range h.bridge.Routes() {
		for _, password := range []string{"", "hunter2hunter"} {
			method, path, ok := strings.Cut(route.Pattern, " ")
			if !ok {
				method, path = http.MethodGet, route.Pattern
			}
			code, body := h.request(method, address+strings.TrimSuffix(path, "{$}"), password)
			switch {
			case route.Policy == web.Open && code < 400:
				open[route.Pattern] = true
			case code == http.StatusUnauthorized, code == http.StatusTooManyRequests && password != "":
			default:
				t.Errorf("%s with the password %q is answered %d: %.100s", route.Pattern, password, code, body)
			}
		}
	}
	if diff := cmp.Diff(map[string]bool{"/healthz": true, "/readyz": true, "/sign-in/": true}, open); diff != "" {
		t.Error(diff)
	}
}

// matches waits until the metrics have a line that matches each pattern.
func (h *harness) matches(address string, patterns ...string) string {
	h.t.Helper()
	var all string
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var code int
		if code, all = h.get(address+"/metrics", webPassword); code != http.StatusOK {
			h.t.Fatalf("%d: %s", code, all)
		}
		patterns = slices.DeleteFunc(patterns, func(p string) bool { return regexp.MustCompile(`(?m)^graph2mqtt_` + p + `$`).MatchString(all) })
		if len(patterns) == 0 {
			return all
		}
	}
	h.t.Fatalf("nothing matches %q in\n%s", patterns, all)
	return ""
}

func TestMetricsOfTheBridge(t *testing.T) {
	rate := stdruntime.MemProfileRate
	stdruntime.MemProfileRate = 0 // as the program begins
	t.Cleanup(func() { stdruntime.MemProfileRate = rate })
	h := newHarness(t)
	h.http = everything
	h.one("", outOfOffice, "calendar: {type: calendar, end_offset: 48h, on_demand: true}")
	h.SignIn("work")
	h.Start()
	address := h.web(1)
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	h.settledMark()
	h.Publish("graph2mqtt/work/calendar/request/list", `{"start": "2030-01-01T00:00:00", "end": "2030-01-02T00:00:00"}`)
	h.Publish("graph2mqtt/work/calendar/request/create", "{}")
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Publish("graph2mqtt/work/calendar/request/adele", "{}")
	h.get(address+"/metrics", "hunter2hunter")
	all := h.matches(address,
		`account_signed_in{account="work"} 1`, `account_sign_in_expiry_timestamp_seconds{account="work"} [1-9].*`, `account_permissions_missing{account="work"} 0`,
		`build_info{goversion="go.*",version="1.2.3"} 1`, `config_last_reload_successful 1`, `config_last_reload_success_timestamp_seconds [1-9].*`,
		`sensor_polls_total{account="work",outcome="ok",sensor="calendar"} [1-9].*`, `sensor_polls_total{account="work",outcome="ok",sensor="out_of_office"} [1-9].*`,
		`sensor_poll_duration_seconds_count{account="work"} [1-9].*`, `sensor_available{account="work",sensor="calendar"} 1`, `sensor_items{account="work",sensor="calendar"} \d+`,
		`sensor_last_success_timestamp_seconds{account="work",sensor="calendar"} [1-9].*`, `sensor_next_poll_timestamp_seconds{account="work",sensor="calendar"} [1-9].*`,
		`graph_requests_total{account="work",code="200",method="get"} [1-9].*`, `graph_request_duration_seconds_count [1-9].*`, `graph_throttled_seconds_total{account="work"} 0`,
		`mqtt_connected 1`, `mqtt_connects_total 1`, `mqtt_published_messages_total [1-9].*`,
		`requests_total{account="work",code="ok",op="list"} 1`, `requests_total{account="work",code="updates_disabled",op="create"} 1`,
		`requests_total{account="work",code="ok",op="refresh"} 1`, `requests_total{account="work",code="unknown_op",op=""} 1`, `requests_total{account="",code="ok",op="ping"} 2`,
		`requests_waiting{account="work"} 0`, `http_requests_total{code="401",handler="/metrics",method="get"} 1`,
	)
	if strings.Contains(strings.ToLower(all), "adele") {
		t.Error("the metrics name a user")
	}
	if code, body := h.get(address+"/debug/pprof/goroutine?debug=1", webPassword); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("%d: %.200s", code, body)
	}
	if stdruntime.MemProfileRate != rate {
		t.Errorf("one allocation of %d bytes is recorded, want %d", stdruntime.MemProfileRate, rate)
	}

	// The counters survive a change of the listener.
	h.http = strings.Replace(everything, ", pprof: true", "", 1)
	h.one("", outOfOffice, "calendar: {type: calendar, end_offset: 48h, on_demand: true}")
	h.Reload()
	address = h.web(2)
	h.matches(address, `requests_total{account="work",code="ok",op="list"} 1`)
	if code, _ := h.get(address+"/debug/pprof/", webPassword); code != http.StatusNotFound {
		t.Errorf("without http.pprof it is answered %d", code)
	}

	// What cannot be applied shows.
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	h.http = "{listen: '" + used.Addr().String() + "', password: " + webPassword + ", metrics: true}"
	h.one("", outOfOffice)
	h.Reload()
	h.matches(h.web(3), `config_last_reload_successful 0`)

	h.http = "{listen: '127.0.0.1:0', password: " + webPassword + "}"
	h.one("", outOfOffice)
	h.Reload()
	if code, _ := h.get(h.web(4)+"/metrics", webPassword); code != http.StatusNotFound {
		t.Errorf("without http.metrics it is answered %d", code)
	}
}

// Without a listener nothing of it runs.
func TestNoListener(t *testing.T) {
	running := func() int {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:stdruntime.Stack(stacks, true)]
		n := 0
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "graph2mqtt/internal/web") || strings.Contains(stack, "net/http.(*Server).Serve(") && !strings.Contains(stack, "simulator") {
				n++
			}
		}
		return n
	}
	for _, test := range []struct {
		http string
		some bool
	}{{"", false}, {"{metrics: true, calendars: true}", false}, {"{listen: '127.0.0.1:0'}", true}} {
		t.Run(fmt.Sprintf("%q", test.http), func(t *testing.T) {
			h := newHarness(t)
			h.http = test.http
			h.one("", outOfOffice)
			before := running()
			h.Start()
			h.Shows("graph2mqtt/bridge/state", "online")
			if test.some {
				h.web(1)
			}
			if n := running() - before; n > 0 != test.some {
				t.Errorf("%d goroutines", n)
			}
			if got := listening.MatchString(h.Log.String()); got != test.some {
				t.Errorf("listens: %v", got)
			}
		})
	}
}

// A bridge that cannot listen does not start.
func TestListenerThatCannotListen(t *testing.T) {
	h := newHarness(t)
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	h.http = "{listen: '" + used.Addr().String() + "'}"
	h.one("", outOfOffice)
	c := h.load()
	_, err = bridge.New(bridge.Options{Config: c, Kinds: runtime.Kinds(), Dir: h.open(c), Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	want := "http.listen: listen tcp " + used.Addr().String() + ": bind: address already in use"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
