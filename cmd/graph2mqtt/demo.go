package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// The ids in the demo's configuration.
const (
	demoAccount   = "demo"
	demoCalendar  = "calendar"
	demoReplies   = "out_of_office"
	demoPresence  = "presence"
	demoMail      = "mail"
	demoImportant = "important"
	demoPlanner   = "planner"
	demoTasks     = "shopping"
	demoChats     = "chats"
)

// demoDirectory is the prefix of the name of the demo's directory, by which its state directory is recognized.
const demoDirectory = "graph2mqtt-demo-"

// demoState is the name of the state directory in it.
const demoState = "state"

// A demo runs a broker, the simulator and the bridge.
type demo struct {
	*program
	port     int    // of the embedded broker
	portSet  bool   // otherwise another port is used if this one is in use
	pagePort int    // of the status page
	pageSet  bool   // otherwise another port is used if this one is in use
	page     string // address of the status page
	existing string // URL of an existing broker; empty: the embedded one
	broker   mqtt.Options
	base     string // topic
	dir      string // for the files

	simulator *simulator.Simulator
	observer  *mqtt.Observer // of the demo's topics; it also publishes the scenario's requests
}

func (p *program) demoCommand() *cobra.Command {
	d := &demo{program: p}
	clean := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try graph2mqtt without an account",
		Long: "demo runs the bridge with a simulated Microsoft 365 and an MQTT broker in the same process, and prints what happens. It also\n" +
			"serves the status page on this machine and prints its address. It needs no account, no broker and no network, and removes\n" +
			"everything when it exits.\n\n" +
			"With --mqtt it adds the demo's devices to your own Home Assistant, and removes them when it exits. If it was killed, run it with\n" +
			"--clean and the same --mqtt and --base-topic to remove what is left.",
		Example: "  graph2mqtt demo\n" +
			"  graph2mqtt demo --port 11883\n" +
			"  graph2mqtt demo --mqtt mqtt://192.168.1.10:1883\n" +
			"  graph2mqtt demo --mqtt mqtt://192.168.1.10:1883 --clean",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.IntVar(&d.port, "port", 1883, "`port` of the broker on 127.0.0.1; 0: any free port; default: 1883, or any free port if it is in use")
	f.IntVar(&d.pagePort, "page-port", 8099, "`port` of the status page on 127.0.0.1; 0: any free port; default: 8099, or any free port if it is in use")
	f.StringVar(&d.existing, "mqtt", "", "`URL` of an existing broker to use, such as mqtt://user:password@192.168.1.10:1883")
	f.StringVar(&d.base, "base-topic", "graph2mqtt", "base `topic`")
	f.BoolVar(&clean, "clean", false, "remove what a killed demo left, and exit")
	cmd.RunE = p.do(func(ctx context.Context, _ []string) error {
		d.portSet, d.pageSet = f.Changed("port"), f.Changed("page-port")
		if err := checkBase(d.base); err != nil {
			return err
		}
		switch {
		case d.portSet && d.existing != "":
			return &usageError{"--port does not go with --mqtt: it is the port of the demo's own broker"}
		case d.portSet && clean:
			return &usageError{"--port does not go with --clean: the demo's own broker leaves nothing behind"}
		case d.pageSet && clean:
			return &usageError{"--page-port does not go with --clean, which serves no page"}
		case clean:
			return d.clean()
		}
		return d.run(ctx)
	})
	return cmd
}

// checkBase validates the value of --base-topic.
func checkBase(topic string) error {
	err := config.CheckTopic(topic)
	if err == nil && topic == demoDiscovery {
		err = fmt.Errorf("want a topic other than that of Home Assistant's discovery, not %q", topic)
	}
	if err != nil {
		return &usageError{"--base-topic: " + err.Error()}
	}
	return nil
}

func (d *demo) run(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal is closed
	defer stop()
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // the regular end of a demo
		}
	}()
	if d.dir, err = os.MkdirTemp("", demoDirectory); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()

	d.simulator = simulator.Contoso(simulator.Options{})
	if err := d.simulator.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.simulator.Close()) }()

	if d.existing != "" {
		found, err := d.openExisting()
		if err != nil {
			return err
		}
		if len(found) > 0 {
			if from, running := d.origin(found); from && !running {
				return &usageError{fmt.Sprintf("an earlier demo left topics below %s; remove them with: graph2mqtt demo --clean --mqtt URL --base-topic %s", d.base, d.base)}
			}
			return &usageError{fmt.Sprintf("the broker has topics below %s already; another graph2mqtt may be using them; choose a different --base-topic", d.base)}
		}
		defer func() { err = errors.Join(err, d.cleanup()) }()
	} else {
		b, err := d.startBroker()
		if err != nil {
			return err
		}
		d.broker.URLs = []string{b.URL()}
		defer func() { err = errors.Join(err, b.Close()) }()
	}
	return d.start(ctx)
}

// startBroker starts the embedded broker.
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

// choosePage returns a free address for the status page.
func (d *demo) choosePage() (string, error) {
	for _, port := range []int{d.pagePort, 0} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		switch {
		case err == nil:
			return l.Addr().String(), l.Close()
		case d.pageSet:
			return "", fmt.Errorf("%w; choose another port with --page-port", err)
		}
	}
	return "", errors.New("no port is free for the status page")
}

// start signs in and runs the bridge, as with a real account, broker and configuration file, until ctx is done.
func (d *demo) start(ctx context.Context) (err error) {
	now := time.Now()
	d.seedCalendar(now)
	d.seedPlanner(now)
	d.seedMail(now)
	d.seedTasks(now)
	d.seedChats(now)
	if d.page, err = d.choosePage(); err != nil {
		return err
	}
	c, err := d.configure()
	if err != nil {
		return err
	}
	log, level := d.quietLogger(c)
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
	read := make(chan struct{}) // closed once the mailbox was read: what arrives afterwards is new
	mailRead := sync.OnceFunc(func() { close(read) })
	offline := make(chan struct{}) // closed once the end of the bridge was printed
	bridgeOffline := sync.OnceFunc(func() { close(offline) })
	topics := mqtt.Topics(d.base)
	if d.observer, err = mqtt.Observe(d.broker, func(m mqtt.Message) {
		printer.handle(m)
		switch payload := string(m.Payload); {
		case m.Topic == topics.Sensor(demoAccount, demoMail, "availability") && payload == "online":
			mailRead()
		case m.Topic == topics.Bridge("state") && payload == "offline":
			bridgeOffline()
		}
	}, d.base+"/#"); err != nil {
		return err
	}
	defer d.observer.Close()
	var g errgroup.Group
	running, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error {
		defer stop() // a bridge that fails ends the demo
		return d.serve(running, bridge.Options{Config: c, Dir: dir, Log: log, Level: level})
	})
	g.Go(func() error {
		select {
		case <-read:
			d.runScenario(running)
		case <-running.Done():
		}
		return nil
	})
	err = g.Wait()
	if err == nil {
		select { // the broker delivers the last message after it acknowledged it
		case <-offline:
		case <-d.observer.Lost():
		case <-time.After(5 * time.Second):
		}
		fmt.Fprintln(d.stdout)
		fmt.Fprintln(d.stdout, "The demo has ended and removed everything.")
	}
	return err
}

// configure writes and loads a configuration, independent of the user's own one and of the environment.
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
http:
  listen: %q
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
      %s: {type: email, interval: 5s, download_attachments: true, on_demand: true, allow: [default, mark_read, move], notify: {subject: Message from the demo}}
      %s: {type: query, interval: 5s, importance: high}
      %s: {type: planner, interval: 5s}
      %s: {type: todo, list: %s, interval: 5s}
      %s: {type: chat, interval: 5s}
`, d.broker.URLs[0], credentials, d.base, d.page, filepath.Join(d.dir, demoState),
		demoAccount, simulator.ContosoClient, d.simulator.LoginURL(), d.simulator.GraphURL(), ca, demoCalendar, demoReplies, demoPresence,
		demoMail, demoImportant, demoPlanner, demoTasks, demoList, demoChats)
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
	c, err := runtime.Load(config.Sources{File: file, Flags: flags}, runtime.Kinds())
	if err != nil {
		return nil, err
	}
	c.Warnings = nil // short intervals matter to the real Microsoft only
	return c, nil
}

// signIn signs in like a person whose browser follows every redirect.
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
	cancel(err)
	// A visit that is still under way once the sign-in has succeeded is canceled. If both failed, the visit's error is the cause.
	if visitErr := visits.Wait(); err != nil && visitErr != nil {
		err = visitErr
	}
	return result, err
}

// visit opens an address like a browser.
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

// printIntro prints what runs and how to use it.
func (d *demo) printIntro(user auth.User, c *config.Config, now time.Time) {
	bold, dim := d.paint(color.Bold), d.paint(color.Faint)
	u, _ := url.Parse(d.broker.URLs[0]) // it has been connected to
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "1883"
	}
	say := func(format string, args ...any) { fmt.Fprintf(d.stdout, format+"\n", args...) }
	say("%s", bold.Sprint("graph2mqtt demo: a simulated Microsoft 365, the bridge, and MQTT"))
	say("")
	say("  account          %s, signed in to %s", user.Address, d.simulator.LoginURL())
	say("  broker           %s", d.broker.URLs[0])
	say("  configuration    %s", c.File)
	say("  status page      http://%s", d.page)
	say("")
	say("See everything:")
	say("  %s", bold.Sprintf("mosquitto_sub -h %s -p %s -v -t '%s/#'", host, port, d.base))
	if d.existing != "" {
		say("  in a Home Assistant that uses this broker: the devices appear by themselves and are removed when the demo ends")
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
	say("  %s", bold.Sprintf(`mosquitto_pub -h %s -p %s -t %s/%s/%s/request/send \`, host, port, d.base, demoAccount, demoMail))
	say("  %s", bold.Sprint(`    -m '{"subject": "Hello", "message": "From MQTT"}'`))
	say("  %s", bold.Sprintf(`mosquitto_pub -h %s -p %s -t %s/%s/%s/request/new -m '{"subject": "Coffee beans"}'`, host, port, d.base, demoAccount, demoTasks))
	say("")
	say("%s", dim.Sprint("Press Ctrl-C to stop. Live activity:"))
	say("")
}

// retainedMessages holds payloads by topic.
type retainedMessages map[string][]byte

// openExisting selects the existing broker and returns its existingTopics.
func (d *demo) openExisting() (found retainedMessages, err error) {
	if d.broker, err = parseBroker(d.existing); err != nil {
		return nil, err
	}
	return d.existingTopics()
}

// existingTopics returns the retained messages at the existing broker that a demo below the base topic has, or would replace.
func (d *demo) existingTopics() (retainedMessages, error) {
	marker := d.base + "/" + demoDirectory + "marker"
	marked := make(chan struct{}, 1)
	found := retainedMessages{}
	ids := strings.TrimSuffix(mqtt.Topics(d.base).ID("bridge"), "bridge")
	observer, err := mqtt.Observe(d.broker, func(m mqtt.Message) {
		switch levels := strings.Split(m.Topic, "/"); {
		case m.Topic == marker:
			select {
			case marked <- struct{}{}:
			default:
			}
		case !m.Retained:
		case strings.HasPrefix(m.Topic, d.base+"/"), len(levels) > 2 && strings.HasPrefix(levels[2], ids):
			found[m.Topic] = m.Payload
		}
	}, d.base+"/#", demoDiscovery+"/+/+/config", demoDiscovery+"/+/+/+/config")
	if err != nil {
		return nil, err
	}
	defer observer.Close()
	// A broker sends its retained messages before what is published afterwards.
	if err := observer.Publish(marker, []byte("end"), false); err != nil {
		return nil, err
	}
	select {
	case <-marked:
	case <-time.After(10 * time.Second):
		return nil, errors.New("the broker does not send what was published to it")
	}
	return found, nil
}

// demoDiscovery is the default of homeassistant.discovery_topic.
const demoDiscovery = "homeassistant"

// origin reports whether messages come from a demo, and whether that is running.
func (d *demo) origin(found retainedMessages) (fromDemo, running bool) {
	var info struct {
		Config struct {
			StateDir string `json:"state_dir"`
		}
	}
	topics := mqtt.Topics(d.base)
	fromDemo = json.Unmarshal(found[topics.Bridge("info")], &info) == nil &&
		strings.HasPrefix(filepath.Base(filepath.Dir(info.Config.StateDir)), demoDirectory)
	return fromDemo, string(found[topics.Bridge("state")]) == "online"
}

// clean removes what demos left that were killed: their directories and, at an existing broker, their topics.
func (d *demo) clean() error {
	directories, err := removeLeftDirectories()
	if err != nil {
		return err
	}
	topics := 0
	if d.existing != "" {
		found, err := d.openExisting()
		if err != nil {
			return err
		}
		switch fromDemo, running := d.origin(found); {
		case len(found) > 0 && !fromDemo:
			return &usageError{fmt.Sprintf("the topics below %s are not from a demo", d.base)}
		case len(found) > 0 && running:
			return &usageError{fmt.Sprintf("the demo that uses the topics below %s is still running; stop it first", d.base)}
		}
		if err := d.remove(found); err != nil {
			return err
		}
		topics = len(found)
	}
	_, err = fmt.Fprintf(d.stdout, "Removed topics: %d, directories: %d.\n", topics, directories)
	return err
}

// removeLeftDirectories removes the directories of demos that do not run any more and returns their number.
func removeLeftDirectories() (n int, err error) {
	all, err := filepath.Glob(filepath.Join(os.TempDir(), demoDirectory+"*"))
	if err != nil {
		return 0, err
	}
	for _, dir := range all {
		s, err := state.Open(filepath.Join(dir, demoState), "", slog.New(slog.DiscardHandler))
		if err != nil {
			continue // another user's
		}
		database, err := s.OpenDatabase()
		if err != nil {
			continue // it runs
		}
		if err := errors.Join(database.Close(), os.RemoveAll(dir)); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// cleanup removes the demo's retained messages from the existing broker.
func (d *demo) cleanup() error {
	found, err := d.existingTopics()
	if err == nil {
		err = d.remove(found)
	}
	if err != nil {
		return fmt.Errorf("remove the demo's topics: %w; to remove them later, run: graph2mqtt demo --clean --mqtt URL --base-topic %s", err, d.base)
	}
	return nil
}

// remove removes retained messages from the broker.
func (d *demo) remove(found retainedMessages) error {
	if len(found) == 0 {
		return nil
	}
	observer, err := mqtt.Observe(d.broker, nil)
	if err != nil {
		return err
	}
	defer observer.Close()
	topics := slices.Collect(maps.Keys(found))
	slices.SortFunc(topics, func(a, b string) int {
		return cmp.Or(cmp.Compare(d.removalOrder(a), d.removalOrder(b)), cmp.Compare(a, b))
	})
	for _, topic := range topics {
		if err := observer.Publish(topic, nil, true); err != nil {
			return err
		}
	}
	return nil
}

// removalOrder returns the rank of a topic in the removal: entities before their device, devices before the topics that they use, and
// last the topic by which clean recognizes a demo.
func (d *demo) removalOrder(topic string) int {
	switch {
	case topic == mqtt.Topics(d.base).Bridge("info"):
		return 3
	case strings.HasPrefix(topic, d.base+"/"):
		return 2
	case strings.HasPrefix(topic, demoDiscovery+"/device/"):
		return 1
	}
	return 0
}
