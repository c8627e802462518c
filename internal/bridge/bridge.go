// Package bridge wires everything together: an account's life, and the devices of the bridge and of each account.
package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// healthEvery is how often the bridge tells how it is.
const healthEvery = time.Minute

// Options are what a bridge is made of.
type Options struct {
	Config  *config.Config
	Kinds   []sensors.Kind
	Dir     *state.Dir
	Version string
	Log     *slog.Logger
	Level   *slog.LevelVar // of the log
	// Reloads are new configurations to take up while it runs; may be nil.
	Reloads <-chan *config.Config
	// Timing is the broker's connection's; zero: the usual one.
	Timing mqtt.Timing
	// Step is told of each step of a request: where a test lets the program die. Nil outside tests.
	Step func(step string)
}

// A Bridge is the running program.
type Bridge struct {
	options  Options
	config   *config.Config
	topics   mqtt.Topics
	mqtt     *mqtt.Client
	database *state.Database
	memories *state.Bucket // of sensors
	zones    *state.Bucket // of accounts
	families *state.Bucket // members of sensors
	journal  *services.Journal
	log      *slog.Logger
	lines    chan line // of the log, to be published
	started  time.Time

	mu       sync.Mutex
	accounts map[string]*account

	informing sync.Mutex
}

// New makes a bridge. It takes the state directory for itself: a second one is refused.
func New(o Options) (_ *Bridge, err error) {
	b := &Bridge{
		options: o, config: o.Config, topics: mqtt.Topics(o.Config.MQTT.BaseTopic), started: time.Now(), lines: make(chan line, waitingLines),
		accounts: map[string]*account{},
	}
	b.log = slog.New(publisher{Handler: o.Log.Handler(), lines: b.lines})
	if b.database, err = o.Dir.OpenDatabase(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.database.Close())
		}
	}()
	if lost := b.database.DataLoss(); lost != nil {
		b.log.Error("the database could not be read; starting with an empty one", "error", lost)
	}
	b.memories, b.families, b.zones = b.database.Bucket("memories"), b.database.Bucket("families"), b.database.Bucket("zones")
	if b.journal, err = services.OpenJournal(b.database.Bucket("journal")); err != nil {
		b.log.Error("requests of an earlier run are lost", "error", err) // the others are not, nor those to come
	}
	if b.mqtt, err = b.client(); err != nil {
		return nil, err
	}
	for id, c := range config.Sorted(o.Config.Accounts) {
		if b.accounts[id], err = newAccount(b, c); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// all are the accounts by id.
func (b *Bridge) all() []*account {
	b.mu.Lock()
	defer b.mu.Unlock()
	var as []*account
	for _, a := range config.Sorted(b.accounts) {
		as = append(as, a)
	}
	return as
}

func (b *Bridge) account(id string) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accounts[id]
}

// Broker is how the broker is reached.
func Broker(c config.MQTT) (mqtt.Options, error) {
	tls, err := brokerTLS(c)
	return mqtt.Options{URL: c.URL, Username: c.Username, Password: c.Password.Reveal(), TLS: tls}, err
}

func (b *Bridge) client() (*mqtt.Client, error) {
	c, home := b.config.MQTT, b.config.HomeAssistant
	o, err := Broker(c)
	if err != nil {
		return nil, err
	}
	o.ClientID, o.KeepAlive, o.Base, o.Version = c.ClientID, c.Keepalive, c.BaseTopic, b.options.Version
	if o.ClientID == "" {
		o.ClientID = "graph2mqtt-" + b.options.Dir.ID()
	}
	o.Discovery = mqtt.Discovery{Enabled: home.Enabled, Topic: home.DiscoveryTopic, StatusTopic: home.StatusTopic, Mode: mqtt.Mode(home.Discovery)}
	o.Store, o.Log, o.Timing, o.Handle = b.database.Bucket("mqtt"), b.log.With("component", "mqtt"), b.options.Timing, b.handle
	o.Connected = func(present bool, connection uint64) {
		if present {
			return
		}
		if err := b.journal.Session(connection); err != nil {
			b.log.Error("the journal could not be written", "error", err)
		}
	}
	return mqtt.New(o)
}

// ErrRestart is Run's error when a new configuration can only be taken up by a new bridge.
var ErrRestart = errors.New("the configuration needs a new bridge")

// Run lives until ctx is done. Then what runs is finished, everything is said to be offline, and Run returns nil.
func (b *Bridge) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, b.database.Close()) }()
	b.publishInfo()
	b.publishHealth()
	b.mqtt.Declare(b.device())
	for _, a := range b.all() {
		a.prepare()
	}
	b.subscribe()
	b.mqtt.Settle()

	// The connection outlives the accounts: what they still finish is answered.
	connection, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()
	var link errgroup.Group
	link.Go(func() error { return b.mqtt.Run(connection) })
	link.Go(func() error { b.publishLog(connection); return nil })
	start := func(a *account) {
		life, end := context.WithCancel(ctx)
		done := make(chan struct{})
		a.end = func() { end(); <-done }
		go func() { defer close(done); defer end(); a.run(life) }()
	}
	for _, a := range b.all() {
		start(a)
	}
	err = b.live(ctx, start)
	var ending sync.WaitGroup
	for _, a := range b.all() {
		ending.Go(a.end)
	}
	ending.Wait()
	disconnect()
	return errors.Join(err, link.Wait())
}

// live publishes the bridge's health and takes up new configurations.
func (b *Bridge) live(ctx context.Context, start func(*account)) error {
	ticker := time.NewTicker(healthEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			b.publishHealth()
		case c := <-b.options.Reloads:
			if err := b.apply(ctx, c, start); err != nil {
				return err
			}
		}
	}
}

// subscribe subscribes to what can be asked. Sensors' topics are left alone where nothing can be asked of any.
func (b *Bridge) subscribe() {
	filters := []string{b.topics.Bridge("request/#")}
	for _, a := range b.all() {
		filters = append(filters, b.topics.Account(a.config.ID, "request/#"))
		if slices.ContainsFunc(a.all(), func(s *sensor) bool { return len(s.operations) > 0 }) {
			filters = append(filters, b.topics.Account(a.config.ID, "+/request/#"), b.topics.Account(a.config.ID, "+/set/#"))
		}
	}
	b.mqtt.Subscribe(filters...)
}

// info is what <base>/bridge/info tells.
type info struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	LogLevel  string    `json:"log_level"`
	Accounts  []string  `json:"accounts"`
	Config    any       `json:"config"`
}

func (b *Bridge) publishInfo() {
	b.informing.Lock()
	defer b.informing.Unlock()
	b.retain("info", info{b.options.Version, b.started.UTC().Truncate(time.Second), levelName(b.options.Level), slices.Sorted(maps.Keys(b.config.Accounts)), b.config.Redacted()})
}

// health is what <base>/bridge/health tells.
type health struct {
	Uptime int64       `json:"uptime_s"`
	Memory uint64      `json:"memory_bytes"`
	Graph  graphHealth `json:"graph"`
	MQTT   mqtt.Stats  `json:"mqtt"`
}

type graphHealth struct {
	Requests  uint64 `json:"requests"`
	Throttled uint64 `json:"throttled"`
	Errors    uint64 `json:"errors"`
}

func (b *Bridge) publishHealth() {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	h := health{Uptime: int64(time.Since(b.started).Seconds()), Memory: memory.Sys - memory.HeapReleased, MQTT: b.mqtt.Stats()}
	for _, a := range b.all() {
		s := a.graph.Stats()
		h.Graph.Requests += s.Requests
		h.Graph.Throttled += s.Throttled
		h.Graph.Errors += s.Errors
	}
	b.retain("health", h)
}

func (b *Bridge) retain(name string, v any) {
	payload, err := json.Marshal(v)
	if err != nil {
		b.log.Error("a topic's payload cannot be written as JSON", "topic", b.topics.Bridge(name), "error", err)
		return
	}
	b.mqtt.Retain(b.topics.Bridge(name), payload)
}

func levelName(v *slog.LevelVar) string {
	switch l := v.Level(); {
	case l <= slog.LevelDebug:
		return "debug"
	case l <= slog.LevelInfo:
		return "info"
	case l <= slog.LevelWarn:
		return "warn"
	}
	return "error"
}

// SetLevel sets the level of the log by its name.
func (b *Bridge) SetLevel(name string) error {
	var l slog.Level
	switch name {
	case "debug", "info", "warn", "error":
		if err := l.UnmarshalText([]byte(name)); err != nil {
			return err
		}
	default:
		return fmt.Errorf("want one of debug, info, warn, error, not %q", name)
	}
	b.options.Level.Set(l)
	b.publishInfo()
	return nil
}
