package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/supervisor"
)

// appPaths are the paths of an app of Home Assistant and the address of its Supervisor.
type appPaths struct{ config, state, options, supervisor string }

// homeAssistantApp holds what every Home Assistant uses.
var homeAssistantApp = appPaths{
	config:     "/config/graph2mqtt.yaml",
	state:      "/data/state", // /data has other files
	options:    "/data/options.json",
	supervisor: supervisor.Address,
}

const (
	// retryInterval is the first interval after which the Supervisor is asked again for its broker.
	retryInterval = 2 * time.Second
	// brokerTimeout bounds a question to the Supervisor.
	brokerTimeout = 5 * time.Second
	// maxOptions is the size of the file with the options of the app.
	maxOptions = 1 << 20
)

// An app is the program as an app of Home Assistant.
type app struct {
	paths      appPaths
	supervisor *supervisor.Client

	mu     sync.Mutex // guards what follows, and that one question is asked at a time
	broker *supervisor.MQTTService
	err    error // of the last question
	retry  *backoff.ExponentialBackOff
	next   time.Time // before it the Supervisor is not asked again
}

// newApp returns the app, or nil if the program is none.
func (p *program) newApp() *app {
	token := p.environment("SUPERVISOR_TOKEN")
	if token == "" {
		return nil
	}
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = retryInterval, time.Minute
	return &app{paths: p.appPaths, supervisor: supervisor.New(p.appPaths.supervisor, token), retry: retry}
}

// appOptions are the options of the app in Home Assistant, as config.yaml of the app declares them.
type appOptions struct {
	LogLevel string `json:"log_level"`
	URL      string `json:"mqtt_url"`
	Username string `json:"mqtt_username"`
	Password string `json:"mqtt_password"`
}

// readOptions reads the options; without a file there are none.
func (a *app) readOptions() (o appOptions, err error) {
	b, err := schema.ReadFile(a.paths.options, maxOptions)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err == nil && json.Unmarshal(b, &o) != nil {
		err = errors.New("want JSON with the options of the app") // the error of the parser may show a password
	}
	if err != nil {
		return o, config.Problems{{Path: a.paths.options, Message: err.Error()}}
	}
	return o, nil
}

// defaults returns the configuration that Home Assistant gives, by path: the options, and the broker of the Supervisor if it is known and
// the options name none.
func (a *app) defaults() map[string]any {
	o, _ := a.readOptions() // loading the configuration reports the error
	values := map[string]any{"state_dir": a.paths.state}
	set := func(path, value string) {
		if value != "" {
			values[path] = schema.Text(value)
		}
	}
	set("log.level", o.LogLevel)
	set("mqtt.url", o.URL)
	set("mqtt.username", o.Username)
	set("mqtt.password", o.Password)
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.URL == "" && a.broker != nil {
		set("mqtt.url", a.broker.URL)
		if o.Username == "" {
			set("mqtt.username", a.broker.Username)
			set("mqtt.password", a.broker.Password)
		}
	}
	return values
}

// findBroker asks the Supervisor for its broker unless it is known. After a failure it does not ask for a while.
func (a *app) findBroker(ctx context.Context) (found bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broker != nil || time.Now().Before(a.next) {
		return a.broker != nil
	}
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	b, err := a.supervisor.Broker(ctx)
	if a.err = err; err != nil {
		a.next = time.Now().Add(a.retry.NextBackOff())
		return false
	}
	a.broker = &b
	return true
}

// changedBroker asks the Supervisor again for the broker that a configuration has from it. It returns the configuration with that broker if
// it is another one now, or has other credentials, and nil otherwise.
func (a *app) changedBroker(ctx context.Context, c *config.Config) *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broker == nil || c.MQTT.URL != a.broker.URL {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	b, err := a.supervisor.Broker(ctx)
	if err != nil || b == *a.broker { // the broker may be restarting
		return nil
	}
	changed := *c
	changed.MQTT.URL = b.URL
	if c.MQTT.Username == a.broker.Username {
		changed.MQTT.Username, changed.MQTT.Password = b.Username, config.Secret(b.Password)
	}
	a.broker = &b
	return &changed
}

// explainMissingBroker adds the reason to the problem that there is no broker.
func (a *app) explainMissingBroker(missing *config.Problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	missing.Message = fmt.Sprintf("is required: %v; install the app Mosquitto broker, or set mqtt.url or the option mqtt_url of this app", a.err)
}

// missingBroker returns the problem in err that no broker is configured, or nil.
func missingBroker(err error) *config.Problem {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return nil
	}
	i := slices.IndexFunc(problems, func(p config.Problem) bool {
		return (p.Path == "mqtt.url" || p.Path == "mqtt") && strings.HasPrefix(p.Message, "is required")
	})
	if i < 0 {
		return nil
	}
	return &problems[i]
}

// brokerSource names the place that the address of the broker comes from.
func (a *app) brokerSource(c *config.Config) string {
	o, _ := a.readOptions()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.broker != nil && c.MQTT.URL == a.broker.URL:
		return "Home Assistant (" + a.broker.App + ")"
	case o.URL != "" && c.MQTT.URL == o.URL:
		return "the options of the app"
	}
	return "the configuration"
}

// firstConfig loads the configuration. If there is none, it waits for one on the status page if a listener is given; an app also waits
// until a wrong one is corrected, because its Supervisor would start it again and again. It returns no configuration when ctx is done.
func (p *program) firstConfig(ctx context.Context, file *bridge.ConfigFile) (*config.Watcher, *config.Config, error) {
	for {
		w, c, err := config.NewWatcher(p.load)
		switch {
		case err == nil && p.app != nil:
			slog.New(slog.NewTextHandler(p.stderr, nil)).Info("running as an app of Home Assistant", "broker", strings.Join(c.MQTT.Brokers(), ", "), "broker_from", p.app.brokerSource(c))
			return w, c, nil
		case err == nil || p.app == nil && !p.sources().Missing():
			return w, c, err
		}
		if err := p.setUp(ctx, file, err); err != nil || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

// setUp shows the status page until there is a valid configuration. Without a listener it returns the reason why there is none.
func (p *program) setUp(ctx context.Context, file *bridge.ConfigFile, why error) error {
	c, err := config.LoadListener(p.sources())
	if err != nil {
		return err
	}
	if c.HTTP.Listen == "" {
		return why
	}
	log, _ := p.logger(c)
	health := p.waitingHealth(log)
	defer health.close()
	logged := ""
	report := func(err error) {
		switch text := err.Error(); {
		case text == logged:
		case p.sources().Missing():
			logged = text
			log.Warn("waiting for a configuration", "config", p.sources().NewFile())
		default:
			logged = text
			log.Error("configuration invalid, waiting for a change", "error", err)
		}
	}
	report(why)
	return bridge.SetUp(ctx, c.HTTP, file, func() (*config.Config, error) {
		c, err := p.load()
		if err != nil {
			report(err)
		}
		return c, err
	}, readBuild().version, log)
}
