package metrics_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/web/metrics"
	"github.com/graph2mqtt/graph2mqtt/services"
)

var (
	account  = hub.ID{Account: "work"}
	calendar = hub.ID{Account: "work", Sensor: "calendar"}
	inbox    = hub.ID{Account: "work", Sensor: "inbox"}
	at       = time.UnixMilli(1_800_000_000_500)
)

// newHandler returns a handler with an account and two sensors, in which everything has been counted once.
func newHandler(t *testing.T) (*metrics.Handler, *hub.Hub, *[]metrics.AccountConnection) {
	t.Helper()
	devices := hub.New()
	accounts := &[]metrics.AccountConnection{{ID: "work", SignInExpires: at, ThrottledFor: 90 * time.Second}}
	h, err := metrics.New(metrics.Options{Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Sharded: true})
	if err != nil {
		t.Fatal(err)
	}
	h.Add(metrics.Source{
		Devices:  devices,
		Accounts: func() []metrics.AccountConnection { return *accounts },
		Broker: func() metrics.BrokerConnection {
			return metrics.BrokerConnection{Connected: true, Connects: 2, Published: 300}
		},
		Waiting:       func() map[string]int { return map[string]int{"work": 3} },
		Reload:        func() (time.Time, bool) { return at, false },
		Notifications: func() (uint64, uint64) { return 5, 6 },
	})
	devices.OnPoll(h.Polled)
	devices.Declare(hub.Device{Name: "graph2mqtt"})
	devices.Declare(hub.Device{ID: account, Name: "Contoso"})
	devices.Declare(hub.Device{ID: calendar, Name: "Contoso calendar"})
	devices.Declare(hub.Device{ID: inbox, Name: "Contoso inbox"})
	user := "adele@contoso.com"
	devices.Put(account, hub.State{Account: &hub.AccountStatus{User: &user, SignIn: hub.SignIn{State: "signed_in"}, Missing: []hub.MissingScope{{Sensor: "inbox"}},
		Notifications: &hub.NotificationStatus{State: "degraded", Unannounced: 7, Sensors: []hub.SensorNotifications{{Sensor: "calendar", State: "ok"}, {Sensor: "inbox", State: "degraded"}, {Sensor: "replies", State: "off"}}}}})
	devices.Put(calendar, hub.State{Available: true, State: entity.State{Items: []any{"Budget", "Lunch"}, ItemsKey: "events"}})
	devices.Put(inbox, hub.State{LastSync: at})
	devices.Record(calendar, hub.Poll{At: at, Duration: 200 * time.Millisecond, Next: at.Add(time.Minute)})
	devices.Record(calendar, hub.Poll{At: at.Add(time.Minute), Duration: 20 * time.Second, Next: at.Add(2 * time.Minute), Failure: &hub.Problem{Code: "throttled", Message: "adele@contoso.com must wait"}})
	h.Exchanged("work", "GET", 200, 100*time.Millisecond)
	h.Exchanged("work", "GET", 0, 30*time.Second)
	h.Answered(services.Ref(calendar), "create", services.Response{Op: "create"})
	h.Answered(services.Ref(calendar), "create", services.Response{Op: "create", Error: &services.Failure{Code: services.InvalidArgument}})
	h.Answered(services.Ref(calendar), "", services.Response{Op: "adele@contoso.com", Error: &services.Failure{Code: services.UnknownOp}})
	h.Answered(services.Ref{Account: "adele@contoso.com"}, "", services.Response{Op: "adele", Error: &services.Failure{Code: services.UnknownSensor}})
	h.Answered(services.Ref{}, "ping", services.Response{Op: "ping"})
	h.Served("/metrics", "GET", 200)
	h.Served("", "ADELE", 421)
	return h, devices, accounts
}

// scrape returns the lines about the program's own metrics, without those of buckets.
func scrape(t *testing.T, h http.Handler) (own []string, all string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "graph2mqtt_") && !strings.Contains(line, "_bucket{") {
			own = append(own, strings.TrimPrefix(strings.TrimSpace(line), "graph2mqtt_"))
		}
	}
	return own, w.Body.String()
}

func TestMetrics(t *testing.T) {
	h, devices, accounts := newHandler(t)
	own, all := scrape(t, h)
	want := []string{
		`account_permissions_missing{account="work"} 1`,
		`account_sign_in_expiry_timestamp_seconds{account="work"} 1.8000000005e+09`,
		`account_signed_in{account="work"} 1`,
		`account_unannounced_changes_total{account="work"} 7`,
		`build_info{goversion="GO",version="1.2.3"} 1`,
		`config_last_reload_success_timestamp_seconds 1.8000000005e+09`,
		`config_last_reload_successful 0`,
		`graph_request_duration_seconds_sum 30.1`,
		`graph_request_duration_seconds_count 2`,
		`graph_requests_total{account="work",code="200",method="get"} 1`,
		`graph_requests_total{account="work",code="none",method="get"} 1`,
		`graph_throttled_seconds_total{account="work"} 90`,
		`http_requests_total{code="200",handler="/metrics",method="get"} 1`,
		`http_requests_total{code="421",handler="",method="other"} 1`,
		`mqtt_connected 1`,
		`mqtt_connects_total 2`,
		`mqtt_published_messages_total 300`,
		`notifications_total{outcome="accepted"} 5`,
		`notifications_total{outcome="ignored"} 6`,
		`requests_total{account="",code="ok",op="ping"} 1`,
		`requests_total{account="",code="unknown_sensor",op=""} 1`,
		`requests_total{account="work",code="invalid_argument",op="create"} 1`,
		`requests_total{account="work",code="ok",op="create"} 1`,
		`requests_total{account="work",code="unknown_op",op=""} 1`,
		`requests_waiting{account="work"} 3`,
		`sensor_announced{account="work",sensor="calendar"} 1`,
		`sensor_announced{account="work",sensor="inbox"} 0`,
		`sensor_available{account="work",sensor="calendar"} 1`,
		`sensor_available{account="work",sensor="inbox"} 0`,
		`sensor_items{account="work",sensor="calendar"} 2`,
		`sensor_last_success_timestamp_seconds{account="work",sensor="calendar"} 1.8000000007e+09`,
		`sensor_last_success_timestamp_seconds{account="work",sensor="inbox"} 1.8000000005e+09`,
		`sensor_next_poll_timestamp_seconds{account="work",sensor="calendar"} 1.8000001205e+09`,
		`sensor_poll_duration_seconds_sum{account="work"} 20.2`,
		`sensor_poll_duration_seconds_count{account="work"} 2`,
		`sensor_polls_total{account="work",outcome="ok",sensor="calendar"} 1`,
		`sensor_polls_total{account="work",outcome="throttled",sensor="calendar"} 1`,
		`shards 1`,
	}
	for i, line := range own {
		own[i] = regexp.MustCompile(`goversion="[^"]*"`).ReplaceAllString(line, `goversion="GO"`)
	}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Error(diff)
	}
	for _, private := range []string{"dele", "Contoso", "contoso", "Budget", "must wait"} {
		if strings.Contains(all, private) {
			t.Errorf("the metrics have the word %q", private)
		}
	}
	problems, err := promlint.New(strings.NewReader(all)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}

	// What is no longer configured is forgotten after the next scrape.
	devices.Remove(calendar)
	scrape(t, h)
	own, _ = scrape(t, h)
	if i := slices.IndexFunc(own, func(line string) bool { return strings.Contains(line, `sensor="calendar"`) }); i >= 0 {
		t.Errorf("still has %s", own[i])
	}
	*accounts = nil
	devices.Remove(inbox)
	devices.Remove(account)
	scrape(t, h)
	own, _ = scrape(t, h)
	if i := slices.IndexFunc(own, func(line string) bool { return strings.Contains(line, `account="work"`) }); i >= 0 {
		t.Errorf("still has %s", own[i])
	}
}

// Every metric that is described exists, and has no other labels.
func TestEveryMetricIsDescribed(t *testing.T) {
	h, _, _ := newHandler(t)
	_, all := scrape(t, h)
	types := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE graph2mqtt_(\S+) (\S+)$`).FindAllStringSubmatch(all, -1) {
		types[m[1]] = m[2]
	}
	described := map[string]string{}
	for _, m := range metrics.All() {
		described[m.Name] = m.Type
		if m.Doc == "" || !strings.HasSuffix(m.Doc, ".") {
			t.Errorf("%s is described as %q", m.Name, m.Doc)
		}
	}
	if diff := cmp.Diff(described, types); diff != "" {
		t.Error(diff)
	}
}

// A lines passes on what is written.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

// A client that disconnects before it has its answer is no fault of the bridge.
func TestClientDisconnects(t *testing.T) {
	log := make(lines, 1)
	h, err := metrics.New(metrics.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, disconnect := context.WithCancel(t.Context())
	disconnected := make(chan struct{})
	h.Add(metrics.Source{
		Devices: hub.New(),
		Accounts: func() []metrics.AccountConnection {
			disconnect()
			<-disconnected
			return nil
		},
		Broker:        func() metrics.BrokerConnection { return metrics.BrokerConnection{} },
		Waiting:       func() map[string]int { return nil },
		Reload:        func() (time.Time, bool) { return at, true },
		Notifications: func() (uint64, uint64) { return 0, 0 },
	})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
	close(disconnected)
	if got := <-log; !strings.Contains(got, "level=DEBUG") || !strings.Contains(got, "error encoding and sending metric family") {
		t.Error(got)
	}
}

func TestMethods(t *testing.T) {
	h, _, _ := newHandler(t)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered %d", w.Code)
	}
}

// Several bridges have one set of metrics. When one ends, the series of its accounts end at once, and counters of all do not fall.
func TestSeveralSources(t *testing.T) {
	process := func() (time.Time, bool) { return at.Add(time.Hour), true }
	h, err := metrics.New(metrics.Options{Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Sharded: true, Reload: process})
	if err != nil {
		t.Fatal(err)
	}
	lines := func(prefixes ...string) (found []string) {
		own, _ := scrape(t, h)
		for _, line := range own {
			if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
				found = append(found, line)
			}
		}
		return found
	}
	sums := []string{"config", "mqtt", "notifications", "shards"}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("without a bridge", lines(sums...), `config_last_reload_success_timestamp_seconds 1.8000036005e+09`, `config_last_reload_successful 1`,
		`mqtt_connects_total 0`, `mqtt_published_messages_total 0`, `shards 0`)
	connected := map[string]bool{"a": true, "b": true}
	add := func(id string, published uint64) (remove func()) {
		devices := hub.New()
		devices.OnPoll(h.Polled)
		remove = h.Add(metrics.Source{
			Devices: devices, Waiting: func() map[string]int { return map[string]int{id: 1} },
			Accounts: func() []metrics.AccountConnection { return []metrics.AccountConnection{{ID: id}} },
			Broker: func() metrics.BrokerConnection {
				return metrics.BrokerConnection{Connected: connected[id], Connects: 1, Published: published}
			},
			Reload:        func() (time.Time, bool) { return at, id == "a" },
			Notifications: func() (uint64, uint64) { return 2, 3 },
		})
		sensor := hub.ID{Account: id, Sensor: "calendar"}
		devices.Declare(hub.Device{ID: sensor, Name: "Calendar"})
		devices.Put(sensor, hub.State{Available: true})
		devices.Record(sensor, hub.Poll{At: at, Next: at})
		h.Exchanged(id, "GET", 200, time.Second)
		h.Answered(services.Ref(sensor), "create", services.Response{Op: "create"})
		return remove
	}
	add("a", 10)
	remove := add("b", 20)
	check("two bridges", lines(sums...), `config_last_reload_success_timestamp_seconds 1.8000000005e+09`, `config_last_reload_successful 0`,
		`mqtt_connected 1`, `mqtt_connects_total 2`, `mqtt_published_messages_total 30`, `notifications_total{outcome="accepted"} 4`, `notifications_total{outcome="ignored"} 6`, `shards 2`)
	check("accounts", lines("graph_requests", "requests_", "sensor_available", "sensor_polls"),
		`graph_requests_total{account="a",code="200",method="get"} 1`, `graph_requests_total{account="b",code="200",method="get"} 1`,
		`requests_total{account="a",code="ok",op="create"} 1`, `requests_total{account="b",code="ok",op="create"} 1`,
		`requests_waiting{account="a"} 1`, `requests_waiting{account="b"} 1`,
		`sensor_available{account="a",sensor="calendar"} 1`, `sensor_available{account="b",sensor="calendar"} 1`,
		`sensor_polls_total{account="a",outcome="ok",sensor="calendar"} 1`, `sensor_polls_total{account="b",outcome="ok",sensor="calendar"} 1`)
	connected["b"] = false
	check("one is not connected", lines("mqtt_connected"), `mqtt_connected 0`)
	remove()
	if _, all := scrape(t, h); strings.Contains(all, `account="b"`) || !strings.Contains(all, `account="a"`) {
		t.Errorf("after one has ended:\n%s", all)
	}
	check("one bridge", lines(sums...), `config_last_reload_success_timestamp_seconds 1.8000000005e+09`, `config_last_reload_successful 1`,
		`mqtt_connected 1`, `mqtt_connects_total 2`, `mqtt_published_messages_total 30`, `notifications_total{outcome="accepted"} 4`, `notifications_total{outcome="ignored"} 6`, `shards 1`)
}
