package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

func (p *program) watchCommand() *cobra.Command {
	var broker, base string
	asJSON := false
	cmd := &cobra.Command{
		Use:   "watch [FILTER…]",
		Short: "Show what the bridge publishes, in readable form",
		Long: "watch prints what the bridge publishes and every request that it receives, starting with the retained messages, until Ctrl-C. Of a\n" +
			"state it prints only the values that changed. All times are in this machine's time zone.\n\n" +
			"A FILTER is an account, a sensor or any MQTT topic filter, below the base topic. A sensor for several, such as all calendars, has\n" +
			"no topics of its own: watch its account, or the ids that graph2mqtt discover prints. Without --mqtt it uses the broker of the\n" +
			"configuration.",
		Example: "  graph2mqtt watch\n" +
			"  graph2mqtt watch work/calendar\n" +
			"  graph2mqtt watch '+/+/response/#' --json\n" +
			"  graph2mqtt watch --mqtt mqtt://192.168.1.10:1883",
		ValidArgsFunction: p.completeFilter,
		RunE: p.do(func(ctx context.Context, filters []string) error {
			w, err := p.newWatch(broker, base)
			if err != nil {
				return err
			}
			return w.run(ctx, filters, asJSON)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&broker, "mqtt", "", "`URL` of the broker, such as mqtt://user:password@192.168.1.10:1883; default: that of the configuration")
	f.StringVar(&base, "base-topic", "", "base `topic`; default: that of the configuration, or graph2mqtt")
	f.BoolVar(&asJSON, "json", false, "print each message as a line of JSON")
	return cmd
}

// initialQuiet is the pause after which the broker is taken to have sent all retained messages: MQTT does not mark the last one.
const initialQuiet = 500 * time.Millisecond

// A watch follows the topics of a bridge.
type watch struct {
	*program
	broker    mqtt.Options
	config    *config.Config // nil with --mqtt
	discovery string         // topic
}

// newWatch returns a watch of the flags' or the configuration's broker and base topic.
func (p *program) newWatch(broker, base string) (*watch, error) {
	w := &watch{program: p, discovery: demoDiscovery}
	var err error
	if base != "" {
		if err = checkBase(base); err != nil {
			return nil, err
		}
	}
	if broker != "" {
		w.broker, err = parseBroker(broker)
		w.broker.Base = cmp.Or(base, "graph2mqtt")
		return w, err
	}
	if w.config, err = p.load(); err != nil {
		return nil, err
	}
	w.discovery = w.config.HomeAssistant.DiscoveryTopic
	w.broker, err = bridge.Broker(w.config.MQTT)
	w.broker.Base = cmp.Or(base, w.config.MQTT.BaseTopic)
	return w, err
}

// parseBroker parses the URL of a broker that may contain user and password.
func parseBroker(text string) (mqtt.Options, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"mqtt", "mqtts", "ws", "wss"}, u.Scheme) {
		return mqtt.Options{}, &usageError{"--mqtt: want mqtt://HOST:PORT (or mqtts, ws, wss)"} // it may contain a password
	}
	var o mqtt.Options
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
		u.User = nil
	}
	o.URLs = []string{u.String()}
	return o, nil
}

// run prints messages until ctx is done or the connection is lost.
func (w *watch) run(ctx context.Context, filters []string, asJSON bool) error {
	unmatched := map[string]string{} // the argument by topic filter
	for _, f := range filters {
		topic := w.broker.Base + "/" + strings.Trim(strings.TrimPrefix(f, w.broker.Base+"/"), "/")
		if !strings.HasSuffix(topic, "#") {
			topic += "/#" // matches the topic itself, too
		}
		unmatched[topic] = f
	}
	if len(filters) == 0 {
		unmatched[w.broker.Base+"/#"] = ""
	}
	topics := slices.Sorted(maps.Keys(unmatched))
	handle := w.printLine
	var announcements []string
	if !asJSON {
		handle = newEventPrinter(w.program, w.broker.Base, nil).handle
		announcements = []string{w.discovery + "/device/+/config", w.discovery + "/+/+/+/config"} // the names of devices
	}
	messages, done := make(chan mqtt.Message), make(chan struct{})
	defer close(done)
	receive := func(m mqtt.Message) {
		select {
		case messages <- m:
		case <-done:
		}
	}
	observer, err := mqtt.Observe(w.broker, receive, append(announcements, topics...)...)
	if err != nil && len(announcements) > 0 { // this user may not be allowed to read them
		observer, err = mqtt.Observe(w.broker, receive, topics...)
	}
	if err != nil {
		return err
	}
	defer observer.Close()

	// The retained messages come in any order: they are sorted, names first.
	var initial []mqtt.Message
	starting := true
	quiet := time.NewTimer(initialQuiet)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-observer.Lost():
			return fmt.Errorf("the connection to %s is lost: %w", observer.Broker(), err)
		case m := <-messages:
			for topic := range unmatched {
				if mqtt.Matches(topic, m.Topic) {
					delete(unmatched, topic)
				}
			}
			if !starting {
				handle(m)
				continue
			}
			initial = append(initial, m)
			if m.Retained {
				quiet.Reset(initialQuiet)
			}
		case <-quiet.C:
			starting = false
			slices.SortStableFunc(initial, func(a, b mqtt.Message) int { return w.compareInitial(a, b) })
			for _, m := range initial {
				handle(m)
			}
			initial = nil
			for _, f := range config.Sorted(unmatched) {
				w.reportUnmatched(f)
			}
		}
	}
}

// compareInitial orders the first messages: announcements of devices, then the other retained messages by device, then live ones.
func (w *watch) compareInitial(a, b mqtt.Message) int {
	rank := func(m mqtt.Message) int {
		switch {
		case !strings.HasPrefix(m.Topic, w.broker.Base+"/"):
			return 0
		case m.Retained:
			return 1
		}
		return 2
	}
	if c := cmp.Compare(rank(a), rank(b)); c != 0 || rank(a) == 2 {
		return c
	}
	of := func(m mqtt.Message) string {
		about, _ := splitTopic(strings.TrimPrefix(m.Topic, w.broker.Base+"/"))
		return about
	}
	return cmp.Or(cmp.Compare(of(a), of(b)), cmp.Compare(a.Topic, b.Topic))
}

// reportUnmatched prints that a filter has no match yet. The empty filter is the one for everything.
func (w *watch) reportUnmatched(filter string) {
	if filter == "" {
		fmt.Fprintf(w.stderr, "graph2mqtt: nothing is published below %s yet, waiting\n", w.broker.Base)
		return
	}
	known := ""
	if w.config != nil {
		known = "; the configuration has: " + strings.Join(paths(w.config), ", ")
	}
	fmt.Fprintf(w.stderr, "graph2mqtt: nothing retained matches %s, waiting%s\n", filter, known)
}

// A message is printed as JSON by watch.
type message struct {
	Received time.Time `json:"received_at"`
	Topic    string    `json:"topic"`
	Retained bool      `json:"retained"`
	Payload  any       `json:"payload"` // objects and lists as they are, everything else as text
}

// printLine prints a message as a line of JSON.
func (w *watch) printLine(m mqtt.Message) {
	line := message{m.Received.UTC(), m.Topic, m.Retained, string(m.Payload)}
	if text := strings.TrimSpace(string(m.Payload)); json.Valid(m.Payload) && strings.ContainsAny(text[:1], "{[") {
		line.Payload = json.RawMessage(m.Payload)
	}
	b, err := json.Marshal(line)
	must(err)
	fmt.Fprintf(w.stdout, "%s\n", b)
}
