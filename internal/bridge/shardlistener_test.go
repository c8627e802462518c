package bridge_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
)

// A process with two bridges has one listener: its health and readiness are those of both, and so are the metrics. A bridge that ends takes
// its series along.
func TestShardListener(t *testing.T) {
	one, two := newHarness(t), newHarness(t)
	for id, h := range map[string]*harness{"work": one, "home": two} {
		h.Configure("  " + id + ": {client_id: $CLIENT, cloud: $CLOUD, timezone: local, sensors: {" + outOfOffice + "}}\n")
		h.SignIn(id)
		h.Start()
	}
	var isMember, isOutdated, hangs atomic.Bool
	with := func(h config.HTTP) *config.Config {
		c := *one.load()
		c.HTTP = h
		return &c
	}
	options := config.HTTP{Listen: "127.0.0.1:0", Password: webPassword, Metrics: true, Pprof: true}
	file := bridge.NewConfigFile(func() config.Sources { return config.Sources{} }, nil, "")
	l, err := bridge.NewShardListener(bridge.ShardListenerOptions{
		Config: with(options), Version: "1.2.3", File: file, Alive: func(time.Duration) bool { return !hangs.Load() }, Standby: isMember.Load, Outdated: isOutdated.Load, Log: slog.New(slog.NewTextHandler(one.Log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	changes, ended := make(chan *config.Config), make(chan error, 1)
	go func() { ended <- l.Run(ctx, changes) }()
	address := one.web(1)
	lacks := func(address string, unwanted ...string) {
		t.Helper()
		code, all := one.get(address+"/metrics", webPassword)
		for _, text := range unwanted {
			if code != http.StatusOK || strings.Contains(all, text) {
				t.Errorf("%d, with %s", code, text)
			}
		}
	}

	// Without a shard it is ready if it takes part.
	one.until(address+"/healthz", "", http.StatusOK)
	one.until(address+"/readyz", "", http.StatusServiceUnavailable)
	isMember.Store(true)
	one.until(address+"/readyz", "", http.StatusOK)
	one.matches(address, `shards 0`, `mqtt_connects_total 0`, `config_last_reload_successful 1`)
	lacks(address, "graph2mqtt_mqtt_connected ", `account="`)
	isMember.Store(false)
	hangs.Store(true)
	one.until(address+"/healthz", "", http.StatusServiceUnavailable)
	hangs.Store(false)

	for _, path := range []string{"/sign-in/", "/sign-in/api/state"} {
		if code, body := one.get(address+path, ""); code != http.StatusServiceUnavailable || body != "the shared state cannot be reached yet, see the log\n" {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	l.Open(openMachine(t, natstest.New(t)))

	removeOne, removeTwo := l.Add(one.bridge), l.Add(two.bridge)
	one.until(address+"/readyz", "", http.StatusOK)
	one.matches(address, `shards 2`, `mqtt_connected 1`, `account_signed_in{account="work"} 1`, `account_signed_in{account="home"} 1`,
		`sensor_available{account="work",sensor="out_of_office"} 1`, `sensor_available{account="home",sensor="out_of_office"} 1`)
	two.Publish("graph2mqtt/home/request/refresh", "{}")
	one.matches(address, `requests_total{account="home",code="ok",op="refresh"} 1`, `sensor_polls_total{account="home",outcome="ok",sensor="out_of_office"} 1`,
		`graph_requests_total{account="home",code="200",method="get"} \d`)

	broker := strings.TrimPrefix(two.Broker.URL(), "mqtt://")
	two.StopBroker()
	one.until(address+"/readyz", "", http.StatusServiceUnavailable)
	one.until(address+"/healthz", "", http.StatusOK)
	one.matches(address, `mqtt_connected 0`)
	two.StartBroker(broker)
	one.until(address+"/readyz", "", http.StatusOK)
	one.matches(address, `mqtt_connected 1`, `mqtt_connects_total [3-9]`)

	for path, want := range map[string]int{"/": http.StatusUnauthorized, "/sign-in/": http.StatusOK, "/sign-in/api/state": http.StatusUnauthorized, "/dav/": http.StatusUnauthorized} {
		if code, body := one.get(address+path, ""); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, _ := one.get(address+"/metrics", ""); code != http.StatusUnauthorized {
		t.Errorf("the metrics without a password: %d", code)
	}
	if code, _ := one.get(address+"/debug/pprof/cmdline", webPassword); code != http.StatusOK {
		t.Errorf("the profiles: %d", code)
	}

	two.Stop()
	removeTwo()
	lacks(address, `account="home"`)
	one.matches(address, `shards 1`, `mqtt_connects_total [3-9]`, `account_signed_in{account="work"} 1`)

	// A changed listener is replaced; one that cannot listen is not.
	changed := options
	changed.Metrics = false
	changes <- with(changed)
	address = one.web(2)
	one.until(address+"/metrics", webPassword, http.StatusNotFound)
	changes <- with(options)
	address = one.web(3)
	one.matches(address, `shards 1`, `account_signed_in{account="work"} 1`)
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	changed = options
	changed.Listen = used.Addr().String()
	changes <- with(changed)
	address = one.web(4)
	one.matches(address, `config_last_reload_successful 0`)
	if found := file.Describe().Problems; len(found) != 1 || !strings.Contains(found[0].Message, "address already in use") {
		t.Errorf("problems %v", found)
	}
	changes <- with(options) // as it is now
	one.matches(address, `config_last_reload_successful 1`)
	one.line(1, regexp.MustCompile(`level=INFO msg="HTTP listener as configured again"`))
	if found := file.Describe().Problems; len(found) > 0 {
		t.Errorf("problems %v", found)
	}

	// A bridge that cannot apply a configuration refuses it for the process.
	refused := one.load()
	running := refused.Accounts["work"].Cloud.Graph
	refused.Accounts["work"].Cloud.Graph = "nowhere"
	one.Give(refused)
	one.matches(address, `config_last_reload_successful 0`)
	if found := file.Describe().Problems; len(found) != 1 || !strings.Contains(found[0].Message, "nowhere") {
		t.Errorf("problems %v", found)
	}
	refused = one.load()
	refused.Accounts["work"].Cloud.Graph = running
	one.Give(refused)
	one.matches(address, `config_last_reload_successful 1`)
	if found := file.Describe().Problems; len(found) > 0 {
		t.Errorf("problems %v", found)
	}
	isOutdated.Store(true)
	one.matches(address, `config_last_reload_successful 0`)

	one.Stop()
	removeOne()
	lacks(address, `account="work"`)
	changes <- with(config.HTTP{})
	for { // it stops after the change was received
		if code, _ := one.get(address+"/healthz", ""); code == 0 {
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The page of a shard has what is about its accounts. The rest, such as the configuration, is that of the process.
func TestShardHandler(t *testing.T) {
	h := newHarness(t)
	h.Configure("  work: {client_id: $CLIENT, cloud: $CLOUD, timezone: local, sensors: {" + outOfOffice + "}}\n")
	h.Start()
	handler, err := h.bridge.ShardHandler(config.HTTP{Listen: "127.0.0.1:0", Calendars: true})
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]int{
		"GET /api/state": http.StatusOK, "POST /api/actions": http.StatusUnsupportedMediaType, "GET /sign-in/api/state": http.StatusUnauthorized, "PROPFIND /dav/": http.StatusUnauthorized,
		"GET /app.js": http.StatusNotFound, "GET /api/form": http.StatusNotFound, "POST /api/links": http.StatusNotFound,
		"POST /api/calendars/password": http.StatusNotFound, "POST /api/configuration/write": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
		if path == "/api/state" && !strings.Contains(w.Body.String(), `"running":""`) {
			t.Errorf("the state is %s", w.Body)
		}
	}
}
