package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// What the demo is made of.
const (
	demoAccount  = "work"
	demoCalendar = "calendar"
	demoReplies  = "out_of_office"
	demoPresence = "presence"
)

// A demo is one showing.
type demo struct {
	*program
	port     int    // of the embedded broker
	portSet  bool   // else another one will do, too
	existing string // URL of an existing broker; "": there is the embedded one
	broker   mqtt.Options
	base     string // topic
	dir      string // of the files

	simulator *simulator.Simulator
}

func (p *program) demoCommand() *cobra.Command {
	d := &demo{program: p}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it without an account: a simulated Microsoft 365, a broker and the bridge",
		Long: "demo runs the bridge against a Microsoft 365 that is simulated in the same process, with an MQTT broker of its own, and tells what\n" +
			"happens. It needs no account, no broker and no network, and leaves nothing behind.",
		Example: "  graph2mqtt demo\n" +
			"  graph2mqtt demo --port 11883\n" +
			"  graph2mqtt demo --mqtt mqtt://192.168.1.10:1883",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.IntVar(&d.port, "port", 1883, "`port` of the broker on 127.0.0.1; 0: any; otherwise 1883, or any where that is taken")
	f.StringVar(&d.existing, "mqtt", "", "`URL` of an existing broker instead, such as mqtt://user:password@192.168.1.10:1883")
	f.StringVar(&d.base, "base-topic", "graph2mqtt", "the beginning of every `topic`")
	cmd.RunE = p.do(func(ctx context.Context, _ []string) error {
		d.portSet = f.Changed("port")
		if d.portSet && d.existing != "" {
			return &usageError{"--port is for the demo's own broker: with --mqtt there is none"}
		}
		return d.run(ctx)
	})
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the window is closed
	defer stop()
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // to be interrupted is how a demo ends
		}
	}()
	if d.dir, err = os.MkdirTemp("", "graph2mqtt-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()

	d.simulator = simulator.Contoso(simulator.Options{})
	if err := d.simulator.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.simulator.Close()) }()

	if d.existing != "" {
		if d.broker, err = parseBroker(d.existing); err != nil {
			return err
		}
		if existing, err := d.existingTopics(); err != nil {
			return err
		} else if len(existing) > 0 {
			return &usageError{fmt.Sprintf("the broker has topics below %s already, perhaps those of a graph2mqtt at work: name other ones with --base-topic", d.base)}
		}
		defer func() { err = errors.Join(err, d.cleanup()) }()
	} else {
		b, err := d.startBroker()
		if err != nil {
			return err
		}
		d.broker.URL = b.URL()
		defer func() { err = errors.Join(err, b.Close()) }()
	}
	return d.start(ctx)
}

// embedded starts the broker.
func (d *demo) startBroker() (*broker.Broker, error) {
	b, err := broker.Embedded(fmt.Sprintf("127.0.0.1:%d", d.port))
	switch {
	case err == nil:
		return b, nil
	case !d.portSet:
		return broker.Embedded("127.0.0.1:0")
	}
	return nil, fmt.Errorf("%w; choose another port with --port", err)
}

// show is the demo itself. All of it is what an account, a broker and a configuration in a file would do.
func (d *demo) start(ctx context.Context) error {
	now := time.Now()
	d.seedCalendar(now)
	c, err := d.configure()
	if err != nil {
		return err
	}
	log, level := d.logger(c, true)
	dir, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return err
	}
	a := c.Accounts[demoAccount]
	session, err := runtime.OpenSession(a, dir, log)
	if err != nil {
		return err
	}
	result, err := d.signIn(ctx, a, session)
	if err != nil {
		return err
	}
	d.printIntro(result.User, c, now)

	printer := newEventPrinter(d.program, d.base, c)
	listener, err := mqtt.Observe(d.broker, printer.handle, d.base+"/#")
	if err != nil {
		return err
	}
	defer listener.Close()
	var g errgroup.Group
	living, end := context.WithCancel(ctx)
	g.Go(func() error {
		defer end() // a bridge that fails ends the demo
		return d.serve(living, c, dir, log, level, nil)
	})
	g.Go(func() error { d.runScenario(living); return nil })
	err = g.Wait()
	if err == nil {
		fmt.Fprintln(d.stdout)
		fmt.Fprintln(d.stdout, "The demo is over; nothing of it is left.")
	}
	return err
}

// configure writes and loads a configuration. The user's own, and the environment, must not get into it.
func (d *demo) configure() (*config.Config, error) {
	ca := filepath.Join(d.dir, "ca.pem")
	if err := os.WriteFile(ca, d.simulator.CA(), 0o600); err != nil {
		return nil, err
	}
	credentials := ""
	if d.broker.Username != "" {
		credentials = fmt.Sprintf("\n  username: %q", d.broker.Username)
	}
	if d.broker.Password != "" {
		credentials += fmt.Sprintf("\n  password: %q", d.broker.Password)
	}
	text := fmt.Sprintf(`mqtt:
  url: %q%s
  base_topic: %q
log:
  level: warn
state_dir: %q
accounts:
  %s:
    client_id: %s
    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}
    enable_update: true
    sensors:
      %s: {type: calendar, interval: 5s}
      %s: {type: auto_reply, interval: 5s}
      %s: {type: status, enable_update: true, interval: 5s}
`, d.broker.URL, credentials, d.base, filepath.Join(d.dir, "state"),
		demoAccount, simulator.ContosoClient, d.simulator.LoginURL(), d.simulator.GraphURL(), ca, demoCalendar, demoReplies, demoPresence)
	file := filepath.Join(d.dir, "graph2mqtt.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	flags := map[string]any{}
	if d.flags.logLevel != "" {
		flags["log.level"] = d.flags.logLevel
	}
	if d.flags.logFormat != "" {
		flags["log.format"] = d.flags.logFormat
	}
	return runtime.Load(config.Sources{File: file, Flags: flags}, runtime.Kinds())
}

// signIn signs in as a person would, with a browser that follows every redirect.
func (d *demo) signIn(ctx context.Context, a *config.Account, s *auth.Session) (auth.Result, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.simulator.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var visits errgroup.Group
	result, err := s.SignInByBrowser(ctx, auth.Request{Scopes: runtime.SignInScopes(a), OnPrompt: func(p auth.Prompt) {
		visits.Go(func() error {
			err := visit(ctx, web, p.URL)
			if err != nil {
				cancel(err)
			}
			return err
		})
	}}, auth.Browser{})
	if err != nil {
		cancel(err)
	}
	return result, errors.Join(err, visits.Wait())
}

func visit(ctx context.Context, web *http.Client, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := web.Do(r)
	if err != nil {
		return fmt.Errorf("sign in at the simulated Microsoft: %w", err)
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// introduce says what is there and what to do with it.
func (d *demo) printIntro(user auth.User, c *config.Config, now time.Time) {
	bold, dim := d.paint(color.Bold), d.paint(color.Faint)
	u, _ := url.Parse(d.broker.URL) // it has been connected to
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "1883"
	}
	say := func(format string, args ...any) { fmt.Fprintf(d.stdout, format+"\n", args...) }
	say("%s", bold.Sprint("graph2mqtt demo: a simulated Microsoft 365, the bridge, and MQTT"))
	say("")
	say("  account          %s, signed in to %s", user.Address, d.simulator.LoginURL())
	say("  broker           %s", d.broker.URL)
	say("  configuration    %s", c.File)
	say("")
	say("See all of it:")
	say("  %s", bold.Sprintf("mosquitto_sub -h %s -p %s -v -t '%s/#'", host, port, d.base))
	if d.existing != "" {
		say("  in a Home Assistant that uses this broker: the devices appear by themselves, and go when the demo ends")
	} else {
		say("  in Home Assistant: Settings, Devices & services, Add integration, MQTT: broker %s, port %s, no user", host, port)
	}
	say("")
	say("Change something:")
	say("  %s", bold.Sprintf("mosquitto_pub -h %s -p %s -t %s/%s/%s/set/enabled -m ON", host, port, d.base, demoAccount, demoReplies))
	say("  %s", bold.Sprintf("mosquitto_pub -h %s -p %s -t %s/%s/%s/set/preferred -m DoNotDisturb", host, port, d.base, demoAccount, demoPresence))
	start := now.Add(2 * time.Minute).Truncate(time.Minute)
	say("  %s", bold.Sprintf(`mosquitto_pub -h %s -p %s -t %s/%s/%s/request/create \`, host, port, d.base, demoAccount, demoCalendar))
	say("  %s", bold.Sprintf(`    -m '{"subject": "Coffee", "start": "%s", "end": "%s"}'`, start.Format(time.RFC3339), start.Add(15*time.Minute).Format(time.RFC3339)))
	say("")
	say("%s", dim.Sprint("Ctrl-C ends it and removes everything. This is what happens meanwhile:"))
	say("")
}

// held are the retained topics that a demo below our base topic has, or would have, at the existing broker.
func (d *demo) existingTopics() ([]string, error) {
	marker := d.base + "/" + filepath.Base(d.dir)
	heard := make(chan struct{}, 1)
	var topics []string
	ids := strings.TrimSuffix(mqtt.Topics(d.base).ID("bridge"), "bridge")
	listener, err := mqtt.Observe(d.broker, func(m mqtt.Message) {
		switch levels := strings.Split(m.Topic, "/"); {
		case m.Topic == marker:
			heard <- struct{}{}
		case !m.Retained:
		case strings.HasPrefix(m.Topic, d.base+"/"), len(levels) > 2 && strings.HasPrefix(levels[2], ids):
			topics = append(topics, m.Topic)
		}
	}, d.base+"/#", demoDiscovery+"/+/+/config", demoDiscovery+"/+/+/+/config")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	// What the broker holds comes before what is published afterwards.
	if err := listener.Publish(marker, []byte("end"), false); err != nil {
		return nil, err
	}
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		return nil, errors.New("the broker does not send what was published to it")
	}
	return topics, nil
}

// demoDiscovery is the default of homeassistant.discovery_topic.
const demoDiscovery = "homeassistant"

// sweep empties what the demo has left at the existing broker.
func (d *demo) cleanup() error {
	topics, err := d.existingTopics()
	if err != nil {
		return fmt.Errorf("remove what the demo has published: %w", err)
	}
	// Entities go before their device, and both before the topics that they look at.
	slices.SortStableFunc(topics, func(a, b string) int { return d.removalOrder(a) - d.removalOrder(b) })
	listener, err := mqtt.Observe(d.broker, nil)
	if err != nil {
		return fmt.Errorf("remove what the demo has published: %w", err)
	}
	defer listener.Close()
	for _, topic := range topics {
		if err := listener.Publish(topic, nil, true); err != nil {
			return fmt.Errorf("remove what the demo has published: %w", err)
		}
	}
	return nil
}

func (d *demo) removalOrder(topic string) int {
	switch {
	case strings.HasPrefix(topic, d.base+"/"):
		return 2
	case strings.HasPrefix(topic, demoDiscovery+"/device/"):
		return 1
	}
	return 0
}
