// Package metrics serves the metrics of the program in Prometheus's format. What the program knows anyway is read when it is scraped;
// only what happens is counted when it happens.
package metrics

import (
	"context"
	"errors"
	"fmt"
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

// Options configure a Handler.
type Options struct {
	Version string
	Log     *slog.Logger
	Sharded bool // there is a bridge for each shard that the machine has
	// Reload is that of the process, as in Source. Nil: there is only that of the bridge.
	Reload func() (loaded time.Time, ok bool)
	// Ignored returns how many notifications were ignored before they reached a bridge. Nil: the bridges receive them.
	Ignored func() uint64
}

// A Source is a bridge whose metrics a Handler serves. The functions are called at each scrape.
type Source struct {
	Devices  Devices
	Accounts func() []AccountConnection
	Broker   func() BrokerConnection
	Waiting  func() map[string]int              // requests by account
	Reload   func() (loaded time.Time, ok bool) // when the running configuration was loaded, and whether it is the newest
	// Notifications returns how many notifications were accepted and ignored. Nil: they are not configured.
	Notifications func() (accepted, ignored uint64)
}

// totals are counters over all bridges.
type totals struct {
	connects, published, accepted, ignored uint64
	notifications                          bool // they are configured
}

// add adds the counters of a bridge.
func (t *totals) add(s *Source) (connected bool) {
	broker := s.Broker()
	t.connects += broker.Connects
	t.published += broker.Published
	if s.Notifications != nil {
		accepted, ignored := s.Notifications()
		t.accepted += accepted
		t.ignored += ignored
		t.notifications = true
	}
	return broker.Connected
}

// A Handler serves the metrics and counts what happens, of one bridge or of several with different accounts. It is safe for concurrent use.
type Handler struct {
	options Options
	serve   http.Handler
	descs   map[string]*prometheus.Desc // of what is read at a scrape

	polls, graph, requests, web *prometheus.CounterVec
	pollDurations               *prometheus.HistogramVec
	graphDurations              prometheus.Histogram

	mu       sync.Mutex
	sources  []*Source
	ended    totals // of bridges that have ended: a counter does not fall
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
		ErrorLog: errorLog{o.Log}, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
	return h, nil
}

// An errorLog logs what promhttp reports.
type errorLog struct{ log *slog.Logger }

// Println implements promhttp.Logger. A client that does not wait for its answer is no fault.
func (l errorLog) Println(v ...any) {
	level := slog.LevelWarn
	for _, part := range v {
		if err, ok := part.(error); ok && errors.Is(err, context.Canceled) {
			level = slog.LevelDebug
		}
	}
	l.log.Log(context.Background(), level, strings.TrimSpace(fmt.Sprintln(v...)))
}

// Add adds a bridge, until the returned function is called: then the series of its accounts end.
func (h *Handler) Add(s Source) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	added := &s
	h.sources = append(h.sources, added)
	return func() {
		h.mu.Lock()
		h.sources = slices.DeleteFunc(slices.Clone(h.sources), func(s *Source) bool { return s == added })
		h.ended.add(added)
		h.mu.Unlock()
		for _, a := range added.Accounts() {
			h.forget(a.ID)
		}
	}
}

// current returns the bridges, and the counters of those that have ended.
func (h *Handler) current() ([]*Source, totals) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sources, h.ended
}

// connections returns the connections of all accounts to Graph.
func (h *Handler) connections() (all []AccountConnection) {
	sources, _ := h.current()
	for _, s := range sources {
		all = append(all, s.Accounts()...)
	}
	return all
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
		if r.Error.Code == services.UnknownSensor && !slices.ContainsFunc(h.connections(), func(a AccountConnection) bool { return a.ID == account }) {
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
	sources, sum := h.current()
	connected, reloads := true, []func() (time.Time, bool){}
	if h.options.Reload != nil {
		reloads = append(reloads, h.options.Reload)
	}
	accounts := map[string]bool{"": true} // of the bridge's own requests
	var snapshot []hub.Snapshot
	for _, s := range sources {
		connected = sum.add(s) && connected
		reloads = append(reloads, s.Reload)
		waiting := s.Waiting()
		for _, a := range s.Accounts() {
			accounts[a.ID] = true
			moment(accountSignInExpiry, a.SignInExpires, a.ID)
			count(graphThrottled, a.ThrottledFor.Seconds(), a.ID)
			gauge(requestsWaiting, float64(waiting[a.ID]), a.ID)
		}
		snapshot = append(snapshot, s.Devices.Snapshot()...)
	}
	loaded, ok := earliest(reloads)
	gauge(reloadSuccessful, number(ok))
	moment(reloadSuccessTime, loaded)
	if len(sources) > 0 {
		gauge(mqttConnected, number(connected))
	}
	count(mqttConnects, float64(sum.connects))
	count(mqttPublished, float64(sum.published))
	if h.options.Ignored != nil {
		sum.ignored += h.options.Ignored()
	}
	if sum.notifications {
		count(notificationsTotal, float64(sum.accepted), "accepted")
		count(notificationsTotal, float64(sum.ignored), "ignored")
	}
	if h.options.Sharded {
		gauge(shards, float64(len(sources)))
	}

	devices := map[hub.ID]bool{}
	polled := h.polled()
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

// earliest returns when the configuration was loaded that runs everywhere, and whether it is the newest.
func earliest(reloads []func() (time.Time, bool)) (loaded time.Time, ok bool) {
	ok = true
	for i, reload := range reloads {
		at, isNewest := reload()
		if ok = ok && isNewest; i == 0 || at.Before(loaded) {
			loaded = at
		}
	}
	return loaded, ok
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
			h.deleteAccount(id)
		}
	}
	h.accounts = accounts
}

// forget forgets an account and its sensors.
func (h *Handler) forget(account string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.sensors {
		if id.Account == account {
			delete(h.sensors, id)
		}
	}
	h.polls.DeletePartialMatch(prometheus.Labels{"account": account})
	h.deleteAccount(account)
}

// deleteAccount deletes the series of an account, except for those of its sensors.
func (h *Handler) deleteAccount(account string) {
	of := prometheus.Labels{"account": account}
	h.pollDurations.DeletePartialMatch(of)
	h.graph.DeletePartialMatch(of)
	h.requests.DeletePartialMatch(of)
}
