// Package entity holds the words that sensors and MQTT share: what Home Assistant shows of a sensor, and what it shows at one moment.
package entity

import "time"

// An Entity is one thing that Home Assistant shows or lets its user set.
type Entity struct {
	Key      string // its name in topics and ids, [a-z0-9_]+; it never changes
	Platform string // Home Assistant's: sensor, binary_sensor, event, switch, select, text, datetime, button, notify
	Name     string // short, without the device's name: "Next start"

	DeviceClass string
	StateClass  string
	Unit        string
	Icon        string // mdi:…
	Category    string // "", "config" or "diagnostic"

	Options []string // of an enum sensor or a select; the event types of an event entity
	// Labels are the words that Home Assistant shows for a select's options.
	Labels   map[string]string
	Primary  bool   // carries the attributes; one of a sensor's entities, at most
	ValueKey string // key of the value it shows, where that is not its own

	// Operations are what it can ask for; it exists where the configuration offers all of them. A button and a notify
	// entity ask for the first. Empty: read-only.
	Operations []string
	// Parse turns a payload of its command topic into an operation and that operation's request. Only a switch, a select,
	// a text and a datetime have one.
	Parse func(payload string) (operation string, request map[string]any, err error)
	// MessageField is the field of the request that takes the message of a notify entity. Request holds the other fields, and
	// those of a button's.
	MessageField  string
	DefaultFields map[string]any
}

// IsCommand reports whether the entity asks for anything.
func (e Entity) IsCommand() bool { return len(e.Operations) > 0 }

// StateKey is the key of the value it shows.
func (e Entity) StateKey() string {
	if e.ValueKey != "" {
		return e.ValueKey
	}
	return e.Key
}

// An Event is something that happened at one moment.
type Event struct {
	Type string         // one of the event entity's Options
	Data map[string]any // becomes attributes; never "event_type"
}

// State is what a sensor shows at one moment.
type State struct {
	// Values are what the entities show, by entity key: bool (binary_sensor, switch), string, number, time.Time (timestamp,
	// datetime) or Date (date). Every key is always present; nil is unknown.
	Values     map[string]any
	Attributes map[string]any // of the primary entity
	Items      []any          // the list, most important first; as many as fit are put into the attribute ItemsKey
	ItemsKey   string
	Events     []Event   // what time alone brought in
	Next       time.Time // when it changes next without Graph; zero: never
}

// A Date is a day without a time or a zone: it never shifts. Its form is 2006-01-02.
type Date string
