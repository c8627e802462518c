// Package metrics serves the metrics of the program in Prometheus's format. What the program knows anyway is read when it is scraped;
// only what happens is counted when it happens.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Devices holds the sensors and accounts; see [hub.Hub].
type Devices interface{ Snapshot() []hub.Snapshot }

// An AccountConnection describes an account's connection to Graph.
type AccountConnection struct {
	ID            string
	SignInExpires time.Time // zero: unknown
	ThrottledFor  time.Duration
}

// A BrokerConnection describes the connection to the broker.
type BrokerConnection struct {
	Connected bool
	Connects  uint64
	Published uint64
}

// Options configure a Handler. The functions are called at each scrape.
type Options struct {
	Version  string
	Devices  Devices
	Accounts func() []AccountConnection
	Broker   func() BrokerConnection
	Waiting  func() map[string]int              // requests by account
	Reload   func() (loaded time.Time, ok bool) // when the running configuration was loaded, and whether it is the newest
	// Notifications returns how many notifications were accepted and ignored. Nil: they are not configured.
	Notifications func() (accepted, ignored uint64)
	Log           *slog.Logger
}

// A Handler serves the metrics and counts what happens. It is safe for concurrent use.
type Handler struct {
	options Options
	serve   http.Handler
	descs   map[string]*prometheus.Desc // of what is read at a scrape

	polls, graph, requests, web *prometheus.CounterVec
	pollDurations               *prometheus.HistogramVec
	graphDurations              prometheus.Histogram

	mu       sync.Mutex
	sensors  map[hub.ID]sensor
	accounts map[string]bool // at the last scrape
}

// A sensor holds what the polls of a sensor told.
type sensor struct{ lastSuccess, next time.Time }

// New returns a handler with a registry of its own.
func New(o Options) (*Handler, error) {
	h := &Handler{options: o, descs: map[string]*prometheus.Desc{}, sensors: map[hub.ID]sensor{}}
	counters := map[string]**prometheus.CounterVec{sensorPolls: &h.polls, graphRequests: &h.graph, requestsTotal: &h.requests, httpRequests: &h.web}
	registry := prometheus.NewRegistry()
	all := []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), h}
	for _, m := range All() {
		switch name := prefix + m.Name; {
		case counters[m.Name] != nil:
			vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: m.Doc}, m.Labels)
			*counters[m.Name] = vec
			all = append(all, vec)
		case m.Name == sensorPollDuration:
			h.pollDurations = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: m.Doc, Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, m.Labels)
			all = append(all, h.pollDurations)
		case m.Name == graphRequestDuration:
			h.graphDurations = prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: m.Doc, Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30}})
			all = append(all, h.graphDurations)
		default:
			h.descs[m.Name] = prometheus.NewDesc(name, m.Doc, m.Labels, nil)
		}
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	h.serve = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn), MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	h.serve.ServeHTTP(w, r)
}

// Polled counts a poll.
func (h *Handler) Polled(id hub.ID, p hub.Poll) {
	outcome := "ok"
	if p.Failure != nil {
		outcome = p.Failure.Code
	}
	h.polls.WithLabelValues(id.Account, id.Sensor, outcome).Inc()
	h.pollDurations.WithLabelValues(id.Account).Observe(p.Duration.Seconds())
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sensors[id]
	s.next = p.Next
	if p.Failure == nil {
		s.lastSuccess = p.At.Add(p.Duration)
	}
	h.sensors[id] = s
}

// Exchanged counts a request of an account to Graph. A status of 0 is no answer.
func (h *Handler) Exchanged(account, method string, status int, took time.Duration) {
	code := "none"
	if status != 0 {
		code = strconv.Itoa(status)
	}
	h.graph.WithLabelValues(account, knownMethod(method), code).Inc()
	h.graphDurations.Observe(took.Seconds())
}

// Answered counts the response to a request for a known operation, or none. The name of an account that does not exist, which may be
// any text, is left out.
func (h *Handler) Answered(target services.Ref, operation string, r services.Response) {
	account, code := target.Account, "ok"
	if r.Error != nil {
		code = string(r.Error.Code)
		if r.Error.Code == services.UnknownSensor && !slices.ContainsFunc(h.options.Accounts(), func(a AccountConnection) bool { return a.ID == account }) {
			account = ""
		}
	}
	h.requests.WithLabelValues(account, operation, code).Inc()
}

// Served counts a request to the listener.
func (h *Handler) Served(route, method string, code int) {
	h.web.WithLabelValues(route, knownMethod(method), strconv.Itoa(code)).Inc()
}

// knownMethod returns a method as a label: a client may send any word.
func knownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PROPPATCH", "REPORT", "MKCALENDAR"}, method) {
		return strings.ToLower(method)
	}
	return "other"
}

// Describe implements prometheus.Collector.
func (h *Handler) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range h.descs {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (h *Handler) Collect(metrics chan<- prometheus.Metric) {
	put := func(kind prometheus.ValueType, name string, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(h.descs[name], kind, value, labels...)
	}
	gauge := func(name string, value float64, labels ...string) { put(prometheus.GaugeValue, name, value, labels...) }
	count := func(name string, value float64, labels ...string) {
		put(prometheus.CounterValue, name, value, labels...)
	}
	moment := func(name string, at time.Time, labels ...string) {
		if !at.IsZero() {
			gauge(name, float64(at.UnixMilli())/1000, labels...)
		}
	}

	gauge(buildInfo, 1, h.options.Version, runtime.Version())
	loaded, ok := h.options.Reload()
	gauge(reloadSuccessful, number(ok))
	moment(reloadSuccessTime, loaded)

	broker := h.options.Broker()
	gauge(mqttConnected, number(broker.Connected))
	count(mqttConnects, float64(broker.Connects))
	count(mqttPublished, float64(broker.Published))

	if h.options.Notifications != nil {
		accepted, ignored := h.options.Notifications()
		count(notificationsTotal, float64(accepted), "accepted")
		count(notificationsTotal, float64(ignored), "ignored")
	}

	waiting := h.options.Waiting()
	accounts := map[string]bool{"": true} // of the bridge's own requests
	for _, a := range h.options.Accounts() {
		accounts[a.ID] = true
		moment(accountSignInExpiry, a.SignInExpires, a.ID)
		count(graphThrottled, a.ThrottledFor.Seconds(), a.ID)
		gauge(requestsWaiting, float64(waiting[a.ID]), a.ID)
	}
	devices := map[hub.ID]bool{}
	polled := h.polled()
	snapshot := h.options.Devices.Snapshot()
	announced := notificationStates(snapshot)
	for _, d := range snapshot {
		id, state := d.Device.ID, d.State
		devices[id] = true
		switch {
		case state == nil, id.Account == "":
		case id.Sensor == "":
			if status := state.Account; status != nil {
				gauge(accountSignedIn, number(status.SignIn.State == signedIn), id.Account)
				gauge(accountMissing, float64(len(status.Missing)), id.Account)
				if n := status.Notifications; n != nil {
					count(accountUnannounced, float64(n.Unannounced), id.Account)
				}
			}
		default:
			s := polled[id]
			if s.lastSuccess.Before(state.LastSync) {
				s.lastSuccess = state.LastSync // of an earlier run
			}
			moment(sensorLastSuccess, s.lastSuccess, id.Account, id.Sensor)
			moment(sensorNextPoll, s.next, id.Account, id.Sensor)
			gauge(sensorAvailable, number(state.Available), id.Account, id.Sensor)
			if s := announced[id]; s != "" && s != notificationsOff {
				gauge(sensorAnnounced, number(s == notificationsOK), id.Account, id.Sensor)
			}
			if state.ItemsKey != "" {
				gauge(sensorItems, float64(len(state.Items)), id.Account, id.Sensor)
			}
		}
	}
	h.prune(accounts, devices)
}

// notificationStates returns the states of the notifications about sensors, as their accounts tell them.
func notificationStates(snapshot []hub.Snapshot) map[hub.ID]string {
	states := map[hub.ID]string{}
	for _, d := range snapshot {
		if d.State == nil || d.State.Account == nil || d.State.Account.Notifications == nil {
			continue
		}
		for _, s := range d.State.Account.Notifications.Sensors {
			states[hub.ID{Account: d.Device.ID.Account, Sensor: s.Sensor}] = s.State
		}
	}
	return states
}

// The states of notifications; see hub.SensorNotifications.
const (
	notificationsOK  = "ok"
	notificationsOff = "off"
)

// signedIn is the state of a sign-in that works; see hub.SignIn.
const signedIn = "signed_in"

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// polled returns what the polls told, by sensor.
func (h *Handler) polled() map[hub.ID]sensor {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[hub.ID]sensor, len(h.sensors))
	for id, s := range h.sensors {
		all[id] = s
	}
	return all
}

// prune forgets the sensors and accounts that are no longer configured.
func (h *Handler) prune(accounts map[string]bool, devices map[hub.ID]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.sensors {
		if !devices[id] {
			delete(h.sensors, id)
			h.polls.DeletePartialMatch(prometheus.Labels{"account": id.Account, "sensor": id.Sensor})
		}
	}
	for id := range h.accounts {
		if !accounts[id] {
			of := prometheus.Labels{"account": id}
			h.pollDurations.DeletePartialMatch(of)
			h.graph.DeletePartialMatch(of)
			h.requests.DeletePartialMatch(of)
		}
	}
	h.accounts = accounts
}
