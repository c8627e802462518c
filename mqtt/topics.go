package mqtt

import "strings"

// Topics is the base topic below which everything of ours lies: "graph2mqtt". Where the last name given to its methods is empty
// they return what those topics begin with, without a slash at its end.
type Topics string

const bridgeName = "bridge"

// Verbs of a command topic.
const (
	Request = "request" // JSON, answered
	Set     = "set"     // the raw value of a switch, select, text or datetime
)

// Bridge is a topic of the program itself: <base>/bridge/<name>.
func (t Topics) Bridge(name string) string { return t.join(bridgeName, name) }

// Account is a topic of an account: <base>/<account>/<name>.
func (t Topics) Account(account, name string) string { return t.join(account, name) }

// Sensor is a topic of a sensor: <base>/<account>/<sensor>/<name>.
func (t Topics) Sensor(account, sensor, name string) string { return t.join(account, sensor, name) }

// ID is the id of the bridge's, an account's or a sensor's device: "<base>-<account>-<sensor>". What cannot stand in a
// discovery topic, as the slash of a base with levels, becomes an underscore.
func (t Topics) ID(keys ...string) string {
	base := strings.Map(func(r rune) rune {
		if r < 0x80 && (isAlphanumeric(byte(r)) || r == '-' || r == '_') {
			return r
		}
		return '_'
	}, string(t))
	return strings.Join(append([]string{base}, keys...), "-")
}

// An Address is what a command topic names.
type Address struct {
	Account string // or "bridge"
	Sensor  string // empty: the account, or the bridge, itself
	Verb    string // Request or Set
	Name    string // the operation, or with Set the entity's key; anything, even empty, since nobody checked it
}

// Parse takes a command topic apart. It reports false for any other topic.
func (t Topics) Parse(topic string) (Address, bool) {
	rest, ok := strings.CutPrefix(topic, string(t)+"/")
	if !ok {
		return Address{}, false
	}
	account, rest, ok := strings.Cut(rest, "/")
	if !ok || account == "" {
		return Address{}, false
	}
	// request/# also matches "request" itself.
	first, name, _ := strings.Cut(rest, "/")
	if first == Request {
		return Address{Account: account, Verb: Request, Name: name}, true
	}
	verb, name, _ := strings.Cut(name, "/")
	if first == "" || account == bridgeName || verb != Request && verb != Set {
		return Address{}, false
	}
	return Address{Account: account, Sensor: first, Verb: verb, Name: name}, true
}

// Response is where the response to what arrived at a goes: …/response/<operation>, or …/response/set/<entity>.
func (t Topics) Response(a Address) string {
	levels := []string{a.Account}
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

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
