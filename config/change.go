package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// Redacted returns the configuration with every default as it would be written in a file, without secrets.
func (c *Config) Redacted() map[string]any { return c.toMap(false) }

func (c *Config) toMap(reveal bool) map[string]any {
	out := schema.Configuration.Encode(reflect.ValueOf(c).Elem(), reveal).(map[string]any)
	if reveal {
		out["mqtt"].(map[string]any)["ca_file"] = c.MQTT.CAFile + " " + c.Digests["mqtt"]
		out["http"].(map[string]any)["tls_cert_file"] = c.HTTP.TLSCertFile + " " + c.Digests["http"]
		out["notifications"].(map[string]any)["webhook"].(map[string]any)["tls_cert_file"] = c.Notifications.Webhook.TLSCertFile + " " + c.Digests["notifications"]
	}
	accounts := map[string]any{}
	for id, a := range c.Accounts {
		if a.Application && !reveal {
			continue
		}
		account := a.toMap(reveal)
		if reveal {
			account["content of files"] = c.Digests["accounts."+id]
			account["organization"] = a.FederatedTokenFile
			if a.Application {
				account["organization"] = "application " + a.FederatedTokenFile
			}
		}
		accounts[id] = account
	}
	out["accounts"] = accounts
	if len(c.Organizations) > 0 && !reveal {
		organizations := map[string]any{}
		for id, o := range c.Organizations {
			organizations[id] = o.toMap(reveal)
		}
		out["organizations"] = organizations
	}
	return out
}

func (a *Account) toMap(reveal bool) map[string]any {
	out := schema.Configuration.Encode(reflect.ValueOf(a).Elem(), reveal).(map[string]any)
	sensors := map[string]any{}
	for id, s := range a.Sensors {
		sensors[id] = s.toMap(reveal)
	}
	out["sensors"] = sensors
	return out
}

func (s *Sensor) toMap(reveal bool) map[string]any {
	out := schema.Configuration.Encode(reflect.ValueOf(s).Elem(), reveal).(map[string]any)
	options, _ := schema.Configuration.Encode(reflect.ValueOf(decodeTarget(s.Options)), reveal).(map[string]any)
	maps.Copy(out, options)
	if s.User != "" {
		out["user"] = s.User
	}
	return out
}

// Changes lists the differences between two configurations.
type Changes struct {
	Restart  []string // the paths of what takes effect only after a restart: "mqtt.url"
	Keys     []string // the other paths outside of accounts: "log.level"
	Accounts Delta    // by id; changed: something else than its sensors
	Sensors  Delta    // by "account/sensor", of accounts that are in both
}

// A Delta lists ids that were added, removed and changed, sorted.
type Delta struct{ Added, Removed, Changed []string }

// Any reports whether there is any change.
func (c Changes) Any() bool { return !reflect.DeepEqual(c, Changes{}) }

// Has reports whether a key of a section, such as "http", has changed.
func (c Changes) Has(section string) bool {
	return slices.ContainsFunc(c.Keys, func(key string) bool { return strings.HasPrefix(key, section+".") })
}

// Diff compares two configurations, including their secrets, and certificates that are read only once.
func Diff(before, after *Config) Changes {
	var c Changes
	a, b := before.toMap(true), after.toMap(true)
	for _, f := range Fields(&Config{}) {
		if f.Key != "accounts" && f.Key != "organizations" { // these are among the accounts
			c.keys(f.Key, f, a[f.Key], b[f.Key])
		}
	}
	accounts, others := a["accounts"].(map[string]any), b["accounts"].(map[string]any)
	c.Accounts.compare("", accounts, others, func(x map[string]any) map[string]any {
		x = maps.Clone(x)
		delete(x, "sensors")
		return x
	})
	for id, x := range Sorted(accounts) {
		if y, ok := others[id]; ok {
			c.Sensors.compare(id+"/", x.(map[string]any)["sensors"].(map[string]any), y.(map[string]any)["sensors"].(map[string]any),
				func(x map[string]any) map[string]any { return x })
		}
	}
	return c
}

func (c *Changes) keys(path string, f Field, a, b any) {
	switch {
	case reflect.DeepEqual(a, b):
	case len(f.Fields) > 0:
		for _, below := range f.Fields {
			c.keys(schema.Join(path, below.Key), below, a.(map[string]any)[below.Key], b.(map[string]any)[below.Key])
		}
	case f.Restart:
		c.Restart = append(c.Restart, path)
	default:
		c.Keys = append(c.Keys, path)
	}
}

func (d *Delta) compare(prefix string, a, b map[string]any, own func(map[string]any) map[string]any) {
	for _, id := range slices.Sorted(maps.Keys(a)) {
		switch y, ok := b[id]; {
		case !ok:
			d.Removed = append(d.Removed, prefix+id)
		case !reflect.DeepEqual(own(a[id].(map[string]any)), own(y.(map[string]any))):
			d.Changed = append(d.Changed, prefix+id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[id]; !ok {
			d.Added = append(d.Added, prefix+id)
		}
	}
}
