package mqtt

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"
)

// Topics is the base topic of everything that the bridge publishes: "graph2mqtt". If the last name given to its methods is empty, they
// return the prefix of those topics without a slash at its end.
type Topics string

const (
	bridgeName = "bridge"
	shardsName = "shards"
)

// Verbs of a command topic.
const (
	Request = "request" // JSON, answered
	Set     = "set"     // the raw value of a switch, select, text or datetime
)

// Bridge returns a topic of the bridge: <base>/bridge/<name>.
func (t Topics) Bridge(name string) string { return t.join(bridgeName, name) }

// Shard returns a topic of one shard of the bridge: <base>/bridge/shards/<shard>/<name>. Shard 0 has those of the bridge.
func (t Topics) Shard(shard int, name string) string {
	if shard == 0 {
		return t.Bridge(name)
	}
	return t.join(bridgeName, shardsName, strconv.Itoa(shard), name)
}

// ParseShard returns the shard that a topic of a shard of the bridge belongs to; 0 for any other topic.
func (t Topics) ParseShard(topic string) int {
	rest, _ := strings.CutPrefix(topic, t.join(bridgeName, shardsName)+"/")
	number, _, _ := strings.Cut(rest, "/")
	if shard, err := strconv.Atoi(number); err == nil && shard > 0 && strings.HasPrefix(topic, t.Shard(shard, "")+"/") {
		return shard
	}
	return 0
}

// Account returns a topic of an account: <base>/<account>/<name>.
func (t Topics) Account(account, name string) string { return t.join(account, name) }

// Sensor returns a topic of a sensor: <base>/<account>/<sensor>/<name>.
func (t Topics) Sensor(account, sensor, name string) string { return t.join(account, sensor, name) }

// ID returns the id of the device of the bridge, an account or a sensor: "<base>-<account>-<sensor>". It differs from that of any other base:
// a base with a "-", or with characters that a discovery topic cannot have and that become "_", gets a hash.
func (t Topics) ID(keys ...string) string {
	base := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, string(t))
	if base != string(t) {
		sum := sha256.Sum256([]byte(t))
		base += "_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:6])
	}
	return strings.Join(append([]string{base}, keys...), "-")
}

// An Address is a parsed command topic.
type Address struct {
	Account string // or "bridge"
	Shard   int    // of the bridge
	Sensor  string // empty: the account, or the bridge, itself
	Verb    string // Request or Set
	Name    string // the operation, or with Set the entity's key; unchecked, it can be anything, even empty
}

// IsBridge reports whether a is a topic of the bridge.
func (a Address) IsBridge() bool { return a.Account == bridgeName }

// Parse parses a command topic. It reports false for any other topic.
func (t Topics) Parse(topic string) (Address, bool) {
	rest, ok := strings.CutPrefix(topic, string(t)+"/")
	if !ok {
		return Address{}, false
	}
	account, rest, ok := strings.Cut(rest, "/")
	if !ok || account == "" {
		return Address{}, false
	}
	shard := t.ParseShard(topic)
	if shard > 0 {
		rest = strings.TrimPrefix(topic, t.Shard(shard, "")+"/")
	}
	// request/# also matches "request" itself.
	first, name, _ := strings.Cut(rest, "/")
	if first == Request {
		return Address{Account: account, Shard: shard, Verb: Request, Name: name}, true
	}
	verb, name, _ := strings.Cut(name, "/")
	if first == "" || account == bridgeName || verb != Request && verb != Set {
		return Address{}, false
	}
	return Address{Account: account, Sensor: first, Verb: verb, Name: name}, true
}

// Response returns the topic of the response to a message at a: …/response/<operation>, or …/response/set/<entity>.
func (t Topics) Response(a Address) string {
	levels := []string{a.Account}
	if a.Shard > 0 {
		levels = append(levels, shardsName, strconv.Itoa(a.Shard))
	}
	if a.Sensor != "" {
		levels = append(levels, a.Sensor)
	}
	levels = append(levels, "response")
	if a.Verb == Set {
		levels = append(levels, Set)
	}
	if a.Name != "" {
		levels = append(levels, a.Name)
	}
	return t.join(levels...)
}

func (t Topics) join(levels ...string) string {
	return strings.TrimSuffix(string(t)+"/"+strings.Join(levels, "/"), "/")
}
