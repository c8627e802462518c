package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// EventHubs names an event hub of Azure.
type EventHubs struct {
	ConnectionString Secret `koanf:"connection_string" doc:"The connection string of a policy of the event hub with the right Listen, as Azure shows it."`
	Topic            string `koanf:"topic" example:"graph" doc:"The name of the event hub. Default: the EntityPath of the connection string."`
	ConsumerGroup    string `koanf:"consumer_group" doc:"The name under which Azure remembers what was read. It must be another one for each graph2mqtt that uses the namespace. Azure creates it."`
	URL              string `koanf:"url" example:"EventHub:https://contoso.servicebus.windows.net/eventhubname/graph?tenantId=contoso.com" doc:"The address that Microsoft sends notifications to: EventHub:, then the URL of the event hub, or of a key vault secret with a connection string that has the right Send."`
}

const (
	defaultConsumerGroup = "graph2mqtt"
	kafkaPort            = "9093"
	emulatorPort         = "9092"
)

// An EventHub addresses an event hub.
type EventHub struct {
	Address  string // of the Kafka endpoint
	Host     string
	Name     string
	Emulator bool // on this machine, without encryption
}

// hubName matches the names of event hubs and consumer groups, but for their length.
var hubName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// isHubName reports whether it is the name of an event hub or a consumer group. A limit of 256 in the expression would take 150 KB.
func isHubName(s string) bool { return len(s) <= 256 && hubName.MatchString(s) }

// IsConfigured reports whether one of the keys that have no default is set.
func (e *EventHubs) IsConfigured() bool {
	return cmp.Or(e.ConnectionString.Reveal(), e.Topic, e.URL) != "" || e.ConsumerGroup != defaultConsumerGroup
}

// Validate implements schema.Validator.
func (e *EventHubs) Validate() error {
	if !e.IsConfigured() {
		return nil
	}
	var errs []error
	if e.Topic != "" && !isHubName(e.Topic) {
		errs = append(errs, At("topic", fmt.Errorf("want the name of an event hub: letters, digits, ., - and _, not %s", schema.Quote(e.Topic))))
	}
	if !isHubName(e.ConsumerGroup) {
		errs = append(errs, At("consumer_group", fmt.Errorf("want a name of letters, digits, ., - and _, not %s", schema.Quote(e.ConsumerGroup))))
	}
	hub, err := e.Endpoint()
	errs = append(errs, err)
	switch {
	case e.URL == "":
		errs = append(errs, At("url", errors.New("is required: Microsoft must know where to send notifications")))
	case err == nil:
		errs = append(errs, At("url", checkHubURL(e.URL, hub)))
	}
	return errors.Join(errs...)
}

// Endpoint returns what the connection string and the topic say. An error never repeats the connection string.
func (e *EventHubs) Endpoint() (EventHub, error) {
	const example = "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey=…;EntityPath=graph"
	fail := func(format string, args ...any) (EventHub, error) {
		return EventHub{}, At("connection_string", fmt.Errorf(format, args...))
	}
	if e.ConnectionString == "" {
		return fail("is required: it says which event hub to read")
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(e.ConnectionString.Reveal(), ";") {
		key, value, _ := strings.Cut(part, "=")
		parts[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
	}
	endpoint, err := url.Parse(parts["endpoint"])
	switch {
	case parts["endpoint"] == "":
		return fail("want a connection string with Endpoint, such as %s", example)
	case err != nil, endpoint.Scheme != "sb", endpoint.Hostname() == "", endpoint.User != nil:
		return fail("want a connection string whose Endpoint is an address with sb://, such as %s", example)
	case parts["sharedaccesssignature"] != "":
		return fail("want a connection string with SharedAccessKey instead of SharedAccessSignature, which the Kafka endpoint does not accept, such as %s", example)
	}
	for _, key := range []string{"SharedAccessKeyName", "SharedAccessKey"} {
		if parts[strings.ToLower(key)] == "" {
			return fail("want a connection string with %s, such as %s", key, example)
		}
	}
	hub := EventHub{Host: strings.ToLower(endpoint.Hostname()), Name: cmp.Or(e.Topic, parts["entitypath"]), Emulator: strings.EqualFold(parts["usedevelopmentemulator"], "true")}
	switch {
	case hub.Emulator && !isLoopback(hub.Host):
		return fail("want an emulator on this machine, such as Endpoint=sb://localhost, not on %s: the connection to it is not encrypted", schema.Quote(hub.Host))
	case hub.Emulator:
		hub.Address = joinPort(hub.Host, cmp.Or(endpoint.Port(), emulatorPort))
	default:
		hub.Address = joinPort(hub.Host, kafkaPort)
	}
	switch path := parts["entitypath"]; {
	case hub.Name == "":
		return EventHub{}, At("topic", errors.New("is required: the connection string has no EntityPath, as it is one of a namespace"))
	case e.Topic != "" && path != "" && e.Topic != path:
		return EventHub{}, At("topic", fmt.Errorf("want %s, the EntityPath of the connection string, or none; not %s", schema.Quote(path), schema.Quote(e.Topic)))
	}
	return hub, nil
}

func joinPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// checkHubURL validates the address that Microsoft sends notifications to.
func checkHubURL(address string, hub EventHub) error {
	const want = "want EventHub:https://NAMESPACE.servicebus.windows.net/eventhubname/NAME?tenantId=DOMAIN, or EventHub:https://VAULT.vault.azure.net/secrets/SECRET?tenantId=DOMAIN"
	rest, ok := strings.CutPrefix(address, "EventHub:")
	u, err := url.Parse(rest)
	switch {
	case err == nil && u.User != nil, strings.Contains(address, "SharedAccessKey"): // a secret, which must not be repeated
		return errors.New(want)
	case !ok, err != nil, u.Scheme != "https", u.Hostname() == "", u.Fragment != "":
		return fmt.Errorf("%s, not %s", want, schema.Quote(address))
	}
	kind, name, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	switch {
	case name == "" || kind != "eventhubname" && kind != "secrets":
		return fmt.Errorf("%s, not %s", want, schema.Quote(address))
	case u.Query().Get("tenantId") == "":
		return fmt.Errorf("%s: tenantId is missing, the domain of the tenant of the Azure subscription", want)
	case kind == "secrets":
		return nil
	case !strings.EqualFold(u.Hostname(), hub.Host):
		return fmt.Errorf("want the namespace that the connection string reads, %s, not %s", hub.Host, schema.Quote(u.Hostname()))
	case name != hub.Name:
		return fmt.Errorf("want the event hub that is read, %s, not %s", hub.Name, schema.Quote(name))
	}
	return nil
}

// Hint implements schema.Hinter.
func (e *EventHubs) Hint(key string, _ map[string]any) string {
	return hint(key, map[string]string{
		"connection_string": "connectionstring connection kafka primary_connection_string endpoint",
		"topic":             "eventhub event_hub hub name event_hub_name",
		"consumer_group":    "group group_id consumergroup",
		"url":               "notification_url public_url",
	})
}
