package config

import (
	"encoding/json"
	"reflect"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// Shared returns what should be the same on all machines of a cluster, as JSON. It has secrets. What belongs to a machine is left out: the
// connections to the broker and to NATS, the state directory, the listeners, the log, and the files of keys and certificates. Of http, it
// contains the keys that must be the same because users can reach every machine.
func (c *Config) Shared() []byte {
	encode := func(v any) any { return schema.Configuration.Encode(reflect.ValueOf(v).Elem(), true) }
	accounts := map[string]any{}
	for id, a := range c.Accounts {
		account := a.toMap(true)
		delete(account, "certificate_file")
		account["cloud"] = []any{a.Cloud.Login, a.Cloud.Graph, a.Cloud.Audience}
		account["application"] = a.Application
		accounts[id] = account
	}
	shared := withoutZero(map[string]any{
		"mqtt":          map[string]any{"base_topic": c.MQTT.BaseTopic, "client_id": c.MQTT.ClientID},
		"homeassistant": encode(&c.HomeAssistant),
		"commands":      encode(&c.Commands),
		"http":          map[string]any{"password": c.HTTP.Password.Reveal(), "external_url": c.HTTP.ExternalURL, "calendars": c.HTTP.Calendars},
		"attachments":   encode(&c.Attachments),
		"notifications": map[string]any{"url": c.Notifications.URL(), "safety": schema.FormatDuration(c.Notifications.Safety)},
		"audit":         map[string]any{"stream": c.Audit.Stream, "max_age": schema.FormatDuration(c.Audit.MaxAge)},
		"accounts":      accounts,
	})
	b, err := json.Marshal(shared)
	if err != nil {
		panic(err) // texts, numbers, lists and mappings only
	}
	return b
}

// withoutZero returns a value without the keys whose values are empty, so that a key which only a later version has makes no difference
// while it is not used.
func withoutZero(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for key, value := range m {
		value = withoutZero(value)
		x := reflect.ValueOf(value)
		isEmpty := !x.IsValid() || x.IsZero() || (x.Kind() == reflect.Map || x.Kind() == reflect.Slice) && x.Len() == 0
		if !isEmpty {
			out[key] = value
		}
	}
	return out
}
