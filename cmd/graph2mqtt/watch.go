package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

func (p *program) watchCommand() *cobra.Command {
	var broker, base string
	asJSON := false
	cmd := &cobra.Command{
		Use:   "watch [FILTER…]",
		Short: "Follow a bridge's topics readably",
		Long: "watch tells what a bridge publishes and what is asked of it, until it is interrupted: first what the broker holds. A FILTER is an account, a\n" +
			"sensor, or any MQTT filter, below the base topic. Without --mqtt the broker is that of the configuration.",
		Example: "  graph2mqtt watch\n" +
			"  graph2mqtt watch work/calendar\n" +
			"  graph2mqtt watch '+/+/response/#' --json\n" +
			"  graph2mqtt watch --mqtt mqtt://192.168.1.10:1883",
		ValidArgsFunction: p.completeFilter,
		RunE: p.do(func(ctx context.Context, filters []string) error {
			o, err := p.watched(broker, base)
			if err != nil {
				return err
			}
			return p.watch(ctx, o, filters, asJSON)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&broker, "mqtt", "", "`URL` of the broker, such as mqtt://user:password@192.168.1.10:1883; otherwise that of the configuration")
	f.StringVar(&base, "base-topic", "", "the beginning of every `topic`; otherwise that of the configuration, or graph2mqtt")
	f.BoolVar(&asJSON, "json", false, "print each message as a line of JSON")
	return cmd
}

// watched is the broker, and the base topic below which to look.
func (p *program) watched(broker, base string) (mqtt.Options, error) {
	if broker != "" {
		o, err := parseBroker(broker)
		o.Base = cmp.Or(base, "graph2mqtt")
		return o, err
	}
	c, err := p.load()
	if err != nil {
		return mqtt.Options{}, err
	}
	o, err := bridge.Broker(c.MQTT)
	o.Base = cmp.Or(base, c.MQTT.BaseTopic)
	return o, err
}

// parseBroker reads the URL of a broker with user and password in it.
func parseBroker(text string) (mqtt.Options, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"mqtt", "mqtts", "ws", "wss"}, u.Scheme) {
		return mqtt.Options{}, &usageError{"--mqtt: want mqtt://HOST:PORT (or mqtts, ws, wss)"} // it may have a password in it
	}
	var o mqtt.Options
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
		u.User = nil
	}
	o.URL = u.String()
	return o, nil
}

func (p *program) watch(ctx context.Context, o mqtt.Options, filters []string, asJSON bool) error {
	handle := newEventPrinter(p, o.Base, nil).handle
	if asJSON {
		handle = p.line
	}
	if len(filters) == 0 {
		filters = []string{"#"}
	}
	var topics []string
	for _, f := range filters {
		f = o.Base + "/" + strings.Trim(strings.TrimPrefix(f, o.Base+"/"), "/")
		if !strings.HasSuffix(f, "#") {
			f += "/#" // which means the topic itself, too
		}
		topics = append(topics, f)
	}
	l, err := mqtt.Observe(o, handle, topics...)
	if err != nil {
		return err
	}
	defer l.Close()
	select {
	case <-ctx.Done():
		return nil // that is how it ends
	case err := <-l.Lost():
		return fmt.Errorf("the connection to %s is lost: %w", o.URL, err)
	}
}

// A heard message as watch prints it for a program.
type watchedMessage struct {
	Received time.Time `json:"received_at"`
	Topic    string    `json:"topic"`
	Retained bool      `json:"retained"`
	Payload  any       `json:"payload"` // objects and lists as they are, everything else as a text
}

func (p *program) line(m mqtt.Message) {
	h := watchedMessage{m.Received.UTC(), m.Topic, m.Retained, string(m.Payload)}
	if text := strings.TrimSpace(string(m.Payload)); json.Valid(m.Payload) && strings.ContainsAny(text[:1], "{[") {
		h.Payload = json.RawMessage(m.Payload)
	}
	b, err := json.Marshal(h)
	must(err)
	fmt.Fprintf(p.stdout, "%s\n", b)
}
