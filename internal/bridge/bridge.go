// Package bridge wires the program together: configuration, runtime, hub, dispatcher and MQTT.
package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	stdruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/audit"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/eventhub"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web/caldav"
	"github.com/graph2mqtt/graph2mqtt/internal/web/metrics"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/mqtt/inbox"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// healthInterval is the interval at which the bridge publishes its health.
const healthInterval = time.Minute

// Options configure a Bridge.
type Options struct {
	Config  *config.Config
	Kinds   []sensors.Kind
	Dir     *state.Dir
	Lease   *state.Lease // of a Dir in a cluster; otherwise nil
	Shard   int          // of a cluster with several; Config has only its accounts
	Version string
	Log     *slog.Logger
	Level   *slog.LevelVar        // of Log
	Reloads <-chan *config.Config // new configurations to apply; nil: none
	Timing  mqtt.Timing           // of the connection to the broker; zero selects the defaults
	Pause   time.Duration         // see runtime.Options; 0 selects the default
	File    *ConfigFile           // of Config; nil: the status page can only read it
	// Receiver receives the notifications of all shards. nil: the bridge receives its own.
	Receiver *SharedReceiver
	// Outdated reports whether a newer configuration exists that could not be loaded. nil: there is none.
	Outdated func() bool
	OnStep   func(step string) // for tests: see services.DispatcherOptions
	// OnConnectFailed, if set, is called after each attempt to connect to the broker that failed.
	OnConnectFailed func()
}

// A Bridge is the running program.
type Bridge struct {
	options    Options // Config is the one that Run began with
	topics     mqtt.Topics
	hub        *hub.Hub
	database   *state.Database
	runtime    *runtime.Runtime
	dispatcher *services.Dispatcher
	inbox      *inbox.Inbox
	audit      *audit.Recorder // nil: none
	mqtt       *mqtt.Client
	publisher  *homeassistant.Publisher
	log        *slog.Logger
	lines      chan line     // of the log, to be published
	connected  chan struct{} // the connection to the broker was made
	dispatched chan struct{} // closed when no request is executed any more
	started    time.Time
	lastUpkeep atomic.Pointer[time.Time] // the last iteration of the loop of runUpkeep
	listener   *listener                 // nil: none; after New only for runUpkeep
	receiver   *listener                 // of notifications; nil: none
	eventHub   *eventhub.Reader          // of notifications; nil: none
	requests   *page.Requests
	passwords  *caldav.Credentials // of calendar clients; nil before they are offered; as listener
	links      *page.Links         // for signing in; as passwords
	metrics    atomic.Pointer[metrics.Handler]
	held       atomic.Pointer[[]string] // accounts whose topics of an earlier run stay

	mu         sync.Mutex // guards what follows and the order of publications of config
	config     *config.Config
	configured time.Time // when config was set
	unapplied  bool      // a newer configuration could not be applied, or not all of it
}

// ErrRestart is the error of Run when a new configuration needs a new bridge.
var ErrRestart = errors.New("the configuration needs a new bridge")

// New returns a bridge, which holds the state directory until Run returns: a second bridge is refused.
func New(o Options) (_ *Bridge, err error) {
	b := &Bridge{
		options: o, config: o.Config, topics: mqtt.Topics(o.Config.MQTT.BaseTopic), hub: hub.New(), started: time.Now(), configured: time.Now(),
		lines: make(chan line, maxQueuedLines), connected: make(chan struct{}, 1), dispatched: make(chan struct{}),
	}
	if o.File == nil {
		b.options.File = NewConfigFile(func() config.Sources { return config.Sources{File: o.Config.File} }, o.Kinds, "graph2mqtt does not read it again")
	}
	b.options.File.setRunning(o.Config, nil)
	b.log = slog.New(logPublisher{Handler: o.Log.Handler(), lines: b.lines})
	if b.database, err = o.Dir.OpenDatabase(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.database.Close())
		}
	}()
	if err := b.wire(); err != nil {
		return nil, err
	}
	return b, nil
}

// wire makes the parts and connects them.
func (b *Bridge) wire() (err error) {
	c, store := b.config, store{b.database}
	o := runtime.Options{Kinds: b.options.Kinds, Dir: b.options.Dir, Store: store, Hub: b.hub, Log: b.log, Pause: b.options.Pause, OnExchange: b.onExchange, Guard: b.guard(), Notifications: b.notificationOptions(c.Notifications)}
	var onWrite func(services.Write)
	if b.audit = Audit(c.Audit, b.options.Dir, b.log, func() { b.runtime.UpdateStatus() }); b.audit != nil {
		o.Problem = b.auditProblem
		onWrite = func(w services.Write) { b.audit.Add(AuditLine(w, b.runtime.User(w.Account))) }
	}
	if b.runtime, err = runtime.New(o, c.Accounts); err != nil {
		return err
	}
	journal, err := services.OpenJournal(store, b.database.Bucket(services.JournalBucket).Each, b.log)
	if err != nil {
		b.log.Error("requests of an earlier run are lost", "error", err)
	}
	b.requests = page.NewRequests(journal.Newest)
	b.dispatcher = services.NewDispatcher(services.DispatcherOptions{
		Journal: journal, Resolver: b, MaxAge: c.Commands.MaxAge, Queue: c.Commands.Queue, OnCompleted: b.completed, OnResponse: b.onResponse, OnWrite: onWrite, Guard: b.guard(), Sealer: b.options.Dir, Log: b.log, OnStep: b.options.OnStep,
	})
	b.inbox = inbox.New(inbox.Options{Topics: b.topics, Dispatcher: b.dispatcher, Journal: journal, Log: b.log})

	discovery := discoveryOf(c)
	discovery.Shard, discovery.Version = b.options.Shard, b.options.Version
	return b.wireMQTT(discovery)
}

// discoveryOf returns the configured discovery, without the version.
func discoveryOf(c *config.Config) homeassistant.Discovery {
	return homeassistant.Discovery{
		Enabled: c.HomeAssistant.Enabled, Topic: c.HomeAssistant.DiscoveryTopic, StatusTopic: c.HomeAssistant.StatusTopic,
		Mode: homeassistant.Mode(c.HomeAssistant.Discovery), QoS: c.HomeAssistant.QoS, Base: mqtt.Topics(c.MQTT.BaseTopic), Notifications: c.Notifications.Enabled(),
	}
}

// wireMQTT makes the connection to the broker and what depends on it.
func (b *Bridge) wireMQTT(discovery homeassistant.Discovery) error {
	c := b.config
	o, err := Broker(c.MQTT)
	if err != nil {
		return err
	}
	o.ClientID, o.KeepAlive, o.Base, o.Rules = c.MQTT.ClientID, c.MQTT.Keepalive, c.MQTT.BaseTopic, discovery.Rules()
	if o.ClientID == "" {
		o.ClientID = "graph2mqtt-" + b.options.Dir.ID()
	}
	if c.Cluster.Shards > 1 { // the session moves with the shard
		o.ClientID = fmt.Sprintf("%s-%d", o.ClientID, b.options.Shard)
	}
	o.Shard = b.options.Shard
	o.Store, o.Load, o.Log, o.Timing = mqttStore{b.database}, b.database.Bucket(mqtt.Bucket).Each, b.log.With("component", "mqtt"), b.options.Timing
	o.Handle, o.OnConnectFailed, o.Keep = b.inbox.Handle, b.options.OnConnectFailed, b.keepsTopic
	o.OnSession = func(s mqtt.BrokerSession) {
		b.inbox.OnSession(s)
		b.publishInfo()
		select {
		case b.connected <- struct{}{}:
		default:
		}
	}
	if b.mqtt, err = mqtt.New(o); err != nil {
		return err
	}
	if b.options.Lease != nil { // what could not be read before is a consequence of its end
		if err := b.options.Lease.Err(); err != nil {
			return err
		}
	}
	b.holdRefused()
	b.inbox.Attach(b.mqtt)
	b.dispatcher.Register(inbox.Scheme, b.inbox)
	b.publisher = homeassistant.NewPublisher(b.hub, b.mqtt, discovery, b.log)
	if b.options.Receiver == nil {
		log := b.log.With("component", "notifications")
		if b.eventHub, err = readHub(c.Notifications, b.notify, b.runtime.ReportReceiver, false, log); err != nil {
			return err
		}
		if b.receiver, err = receive(c.Notifications, b.notify, log); err != nil {
			return err
		}
	}
	if b.listener, err = b.listen(c.HTTP); err != nil {
		return errors.Join(err, b.receiver.abandon())
	}
	return nil
}

// Run runs until ctx is done. Then it finishes running requests, publishes everything as offline, and returns nil. It
// returns ErrRestart for a configuration that needs a new bridge.
func (b *Bridge) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, b.database.Close()) }()
	if b.options.Shard == 0 {
		b.hub.Declare(hub.Device{Name: "graph2mqtt", Model: "Bridge", Slug: entity.ShortSlug(string(b.topics)), Commands: true})
	}
	b.publishInfo()
	b.publishHealth()
	b.subscribe()

	// The publishers outlive the accounts and the connection outlives the publishers, so that the last results are published.
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()
	if b.options.Lease != nil {
		ended := context.AfterFunc(b.options.Lease.Context(), disconnect)
		defer ended()
	}
	publishing, stopPublishing := context.WithCancel(connected)
	defer stopPublishing()
	var connection, publishers errgroup.Group
	connection.Go(func() error { return b.mqtt.Run(connected) })
	if b.audit != nil {
		connection.Go(func() error { return b.audit.Run(connected) })
	}
	publishers.Go(func() error { return b.publisher.Run(publishing) })
	publishers.Go(func() error { return b.inbox.Run(publishing) })
	publishers.Go(func() error { return b.publishLog(publishing) })

	work, workContext := errgroup.WithContext(ctx)
	b.receiver.start(workContext, work)
	if b.eventHub != nil {
		work.Go(func() error { return b.eventHub.Run(workContext) })
	}
	if b.options.Receiver != nil && b.options.Config.Notifications.Enabled() {
		work.Go(func() error { return b.options.Receiver.passTo(workContext, b) })
	}
	b.listener.start(workContext, work)
	work.Go(func() error { return b.runtime.Run(workContext) })
	work.Go(func() error {
		defer close(b.dispatched)
		return b.dispatcher.Run(workContext)
	})
	work.Go(func() error { return b.runUpkeep(workContext, work) })
	err = work.Wait()
	stopPublishing()
	err = errors.Join(err, publishers.Wait())
	disconnect()
	return errors.Join(err, connection.Wait())
}

// guard returns what permits the bridge to work; nil: nothing limits it.
func (b *Bridge) guard() services.Guard {
	if b.options.Lease == nil {
		return nil
	}
	return b.options.Lease
}

// bridgeTopic returns a topic of the bridge, or of its shard.
func (b *Bridge) bridgeTopic(name string) string { return b.topics.Shard(b.options.Shard, name) }

// Connected reports whether the broker is connected. It takes the locks of the bridge, so it does not return if the bridge hangs.
func (b *Bridge) Connected() bool {
	_ = b.currentConfig()
	_ = b.runtime.Stats()
	return b.mqtt.Stats().Connected
}

// runUpkeep publishes the bridge's health and applies new configurations until ctx is done. A changed listener runs in work.
func (b *Bridge) runUpkeep(ctx context.Context, work *errgroup.Group) error {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		now := time.Now()
		b.lastUpkeep.Store(&now)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			b.publishHealth()
		case <-b.connected:
			b.publishHealth()
		case c := <-b.options.Reloads:
			if err := b.apply(ctx, work, c); err != nil {
				return err
			}
		}
	}
}

// subscribe subscribes to the topics of requests; to those of sensors only where one of an account's sensors offers an operation.
func (b *Bridge) subscribe() {
	filters := []string{b.bridgeTopic("request/#")}
	for id, a := range config.Sorted(b.currentConfig().Accounts) {
		filters = append(filters, b.topics.Account(id, "request/#"))
		for _, s := range a.Sensors {
			if len(runtime.Operations(s)) > 0 {
				filters = append(filters, b.topics.Account(id, "+/request/#"), b.topics.Account(id, "+/set/#"))
				break
			}
		}
	}
	b.mqtt.Subscribe(filters...)
}

func (b *Bridge) currentConfig() *config.Config {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.config
}

func (b *Bridge) setConfig(c *config.Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.config, b.configured, b.unapplied = c, time.Now(), false
}

// isUnapplied reports whether a newer configuration could not be applied, or not all of it.
func (b *Bridge) isUnapplied() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unapplied
}

func (b *Bridge) setUnapplied() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unapplied = true
}

// info is the payload of <base>/bridge/info.
type info struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	LogLevel  string    `json:"log_level"`
	Broker    string    `json:"broker"`
	Accounts  []string  `json:"accounts"`
	Config    any       `json:"config"`
}

func (b *Bridge) publishInfo() {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.config.Redacted()
	if b.config.Cluster.Shards > 1 {
		delete(c, "http") // the listener belongs to the process, so http is empty in the configuration of a shard
	}
	accounts := slices.AppendSeq([]string{}, maps.Keys(b.config.Accounts)) // a list also if there are none
	slices.Sort(accounts)
	b.retain("info", info{
		Version: b.options.Version, StartedAt: b.started.UTC().Truncate(time.Second), LogLevel: levelName(b.options.Level.Level()), Broker: b.mqtt.Broker(),
		Accounts: accounts, Config: c,
	})
}

// health is the payload of <base>/bridge/health.
type health struct {
	Uptime int64       `json:"uptime_s"`
	Memory uint64      `json:"memory_bytes"`
	Graph  graphHealth `json:"graph"`
	MQTT   mqtt.Stats  `json:"mqtt"`
	Inbox  inbox.Stats `json:"inbox"`
}

type graphHealth struct {
	Requests  uint64 `json:"requests"`
	Throttled uint64 `json:"throttled"`
	Errors    uint64 `json:"errors"`
}

func (b *Bridge) publishHealth() {
	var memory stdruntime.MemStats
	stdruntime.ReadMemStats(&memory)
	g := b.runtime.Stats()
	b.retain("health", health{
		Uptime: int64(time.Since(b.started).Seconds()), Memory: memory.Sys - memory.HeapReleased,
		Graph: graphHealth{g.Requests, g.Throttled, g.Errors}, MQTT: b.mqtt.Stats(), Inbox: b.inbox.Stats(),
	})
}

func (b *Bridge) retain(name string, v any) {
	payload, err := json.Marshal(v)
	if err != nil {
		b.log.Error("payload not published", "topic", b.bridgeTopic(name), "error", err)
		return
	}
	b.mqtt.Retain(b.bridgeTopic(name), payload)
}

// levelName returns the configuration's name of a log level.
func levelName(l slog.Level) string { return strings.ToLower(l.String()) }
