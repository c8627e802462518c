package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

const (
	anyBroker = "mqtt://HOST:PORT"
	anyNATS   = "nats://HOST:PORT"
)

// hint returns the key for one of the names in others, which lists names that other programs use for it.
func hint(key string, others map[string]string) string {
	key = strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(key))
	for right, names := range others {
		for name := range strings.FieldsSeq(names) {
			if key == name {
				return right
			}
		}
	}
	return ""
}

// Hint implements schema.Hinter.
func (c *Config) Hint(key string, mapping map[string]any) string {
	right := hint(key, map[string]string{
		"mqtt.url":      "broker host server url uri hostname port mqtt_broker mqtt_host mqtt_server mqtt_url mqtt_port",
		"mqtt.username": "user username mqtt_user mqtt_username",
		"mqtt.password": "password pass mqtt_pass mqtt_password",
		"homeassistant": "home_assistant hass ha",
		"log.level":     "log_level loglevel",
		"log.format":    "log_format",
		"http":          "web frontend ui webui http_server",
		"http.listen":   "listen http_listen",
		"http.metrics":  "metrics prometheus",
	})
	if right == "mqtt.url" {
		return "mqtt.url: " + brokerOf(mapping, "mqtt_")
	}
	return right
}

// Hint implements schema.Hinter.
func (m *MQTT) Hint(key string, mapping map[string]any) string {
	right := hint(key, map[string]string{
		"url":        "broker host server address hostname uri ip port",
		"urls":       "brokers hosts servers addresses uris",
		"username":   "user login",
		"password":   "pass passwd pw",
		"base_topic": "topic prefix topic_prefix",
		"ca_file":    "ca ca_cert cafile ca_certs",
		"cert_file":  "certificate client_cert cert certificate_file",
		"key_file":   "client_key key",
	})
	switch {
	case key == "":
		text, _ := schema.AsString(mapping[""])
		return "mqtt.url: " + broker(text, "")
	case right == "url":
		return "url: " + brokerOf(mapping, "")
	case hint(key, map[string]string{"url": "tls ssl"}) != "":
		return "url: mqtts://HOST:PORT"
	}
	return right
}

// Hint implements schema.Hinter.
func (h *HomeAssistant) Hint(key string, _ map[string]any) string {
	return hint(key, map[string]string{"discovery_topic": "prefix discovery_prefix", "status_topic": "birth_topic birth"})
}

// Hint implements schema.Hinter.
func (a *Account) Hint(key string, _ map[string]any) string {
	return hint(key, map[string]string{
		"client_id": "application_id app_id id", "client_secret": "secret app_secret", "tenant": "tenant_id directory_id",
		"user": "email username mail upn", "timezone": "tz zone time_zone", "certificate_file": "certificate cert_file",
	})
}

// Hint implements schema.Hinter.
func (s *Sensor) Hint(key string, _ map[string]any) string {
	return hint(key, map[string]string{"type": "kind platform", "interval": "refresh scan_interval poll_interval update_interval"})
}

// brokerOf returns the URL of the broker that the keys of a mapping describe in another way, below a prefix or not.
func brokerOf(mapping map[string]any, prefix string) string {
	var host, port string
	for key, value := range Sorted(mapping) {
		switch hint(strings.TrimPrefix(strings.ToLower(key), prefix), map[string]string{"host": "broker host server address hostname uri ip url", "port": "port"}) {
		case "host":
			host, _ = schema.AsString(value)
		case "port":
			port = fmt.Sprint(value)
		}
	}
	return broker(host, port)
}

// broker returns the URL of a broker that is given in another form, or a general one. It never repeats what may be a password.
func broker(host, port string) string { return serverURL(host, port, "mqtt", "mqtts", anyBroker) }

// serverURL returns the URL of a server that is given in another form, or a general one. The schemes are those of connections without and
// with encryption.
func serverURL(host, port, plain, encrypted, general string) string {
	scheme, rest, ok := strings.Cut(host, "://")
	if !ok {
		scheme, rest = plain, host
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		port = ""
	}
	switch scheme {
	case "tcp", "http":
		scheme = plain
	case "ssl", "tls", "https":
		scheme = encrypted
	}
	rest = strings.TrimSuffix(rest, "/")
	switch {
	case !ok && port == "" && rest != "localhost" && !strings.ContainsAny(rest, ".:"), // any word
		rest == "", strings.ContainsAny(rest, "@/? "), len(rest) > 100, scheme != plain && scheme != encrypted:
		return general
	}
	if bracketed := bracket(rest); bracketed != "" {
		rest = bracketed
	}
	if port != "" && (!strings.Contains(rest, ":") || strings.HasSuffix(rest, "]")) {
		rest += ":" + port
	}
	return scheme + "://" + rest
}

// wrongServer returns the error for an address: want, shown, and the address to use instead. That is meant, unless meant is general, because
// the address was not recognized. If shown is "", a recognized address is shown as well, because it contains no password.
func wrongServer(want, address, shown, meant, general string) error {
	if meant == general || meant == address {
		return errors.New(want + shown)
	}
	if shown == "" {
		shown = fmt.Sprintf(", not %q", address)
	}
	return errors.New(want + shown + "; use " + meant)
}

// lacksBrackets reports whether the host of a URL is an IPv6 address without the brackets that it needs.
func lacksBrackets(address string) bool {
	_, rest, ok := strings.Cut(address, "://")
	return ok && bracket(strings.TrimSuffix(rest, "/")) != ""
}

// bracket returns an IPv6 address, with or without a port, in the form that URLs need; "" if it is none.
func bracket(host string) string {
	if strings.Count(host, ":") < 2 || strings.ContainsAny(host, "[]@/") {
		return ""
	}
	i := strings.LastIndexByte(host, ':')
	if ip, err := netip.ParseAddr(host[:i]); err == nil {
		if n, err := strconv.ParseUint(host[i+1:], 10, 16); err == nil && n > 0 {
			return "[" + ip.String() + "]:" + host[i+1:]
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return "[" + ip.String() + "]"
	}
	return ""
}
