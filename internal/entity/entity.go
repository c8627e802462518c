// Package entity defines the Home Assistant entity model shared by sensors and outputs.
package entity

import "time"

// An Entity is one thing that Home Assistant shows or lets its user set. It is made by a constructor, such as [Timestamp], and
// completed by methods, each of which returns a changed copy.
//
// A value that can be set has two entities with the same Key and Name on different platforms, the read-only one first.
type Entity struct {
	Key      string // identifies it in topics and ids, [a-z0-9_]+; it never changes
	Platform string // Home Assistant's: sensor, binary_sensor, event, switch, select, text, datetime, button, notify
	Name     string // in sentence case, without the device's name: "Next event starts"
	Doc      string // one or more sentences for the documentation

	DeviceClass string
	StateClass  string
	Unit        string
	Icon        string // mdi:…
	Category    string // "", "config" or "diagnostic"

	Options  []string          // of an enum sensor or a select: Microsoft's identifiers; of an event entity: the event types
	Labels   map[string]string // of a select: the word that Home Assistant shows for an option; without one the option itself
	Primary  bool              // carries the attributes: one entity of a sensor, and its settable twin
	ValueKey string            // key of the value it shows, if that is not Key
	// Identifiers reports that its values are Microsoft's identifiers, such as DoNotDisturb.
	Identifiers bool
	// Private reports that its value is a text that a person wrote to others: a message or a reply. Only outputs that exist to pass
	// it on show it.
	Private bool

	// Operations are the operations that it requests; it exists only where the configuration offers all of them. A button and a
	// notify entity request the first one. Empty: read-only.
	Operations []string
	// Parse turns a value into an operation and that operation's request. Only a switch, a select, a text and a datetime have
	// one. Callers use Request, which calls it.
	Parse func(value string) (operation string, request map[string]any, err error)
	// MessageField is the field of the request that takes the message of a notify entity. DefaultFields are the other fields, and
	// those of a button's request.
	MessageField  string
	DefaultFields map[string]any
	// LongTexts is the name of the notify entity that takes texts too long for this text entity, if there is one.
	LongTexts string
}

// Sensor returns a sensor entity that shows a text or a number.
func Sensor(key, name string) Entity { return Entity{Key: key, Platform: "sensor", Name: name} }

// Enum returns a sensor entity that shows one of options. Another value is shown as unknown.
func Enum(key, name string, options ...string) Entity {
	e := Sensor(key, name)
	e.DeviceClass, e.Options, e.Identifiers = "enum", options, true
	return e
}

// Timestamp returns a sensor entity that shows a point in time.
func Timestamp(key, name string) Entity {
	e := Sensor(key, name)
	e.DeviceClass = "timestamp"
	return e
}

// Count returns a sensor entity that shows a number of things. It has a history but no unit.
func Count(key, name string) Entity {
	e := Sensor(key, name)
	e.StateClass = "measurement"
	return e
}

// BinarySensor returns a sensor entity that is on or off.
func BinarySensor(key, name string) Entity {
	return Entity{Key: key, Platform: "binary_sensor", Name: name}
}

// EventEntity returns the event entity of a sensor, which fires events of these types.
func EventEntity(types ...string) Entity {
	return Entity{Key: "event", Platform: "event", Name: "Event", Options: types}
}

// Switch returns an entity that is turned on and off. See Sets.
func Switch(key, name string) Entity { return Entity{Key: key, Platform: "switch", Name: name} }

// Select returns an entity with which one of options is chosen. See Sets and WithLabels.
func Select(key, name string, options ...string) Entity {
	return Entity{Key: key, Platform: "select", Name: name, Options: options, Identifiers: true}
}

// Text returns an entity with which a text is edited. See Sets and [Box].
func Text(key, name string) Entity { return Entity{Key: key, Platform: "text", Name: name} }

// DateTime returns an entity with which a point in time is set. See Sets.
func DateTime(key, name string) Entity { return Entity{Key: key, Platform: "datetime", Name: name} }

// Button returns a button that requests operation with these fields.
func Button(key, name, operation string, fields map[string]any) Entity {
	return Entity{Key: key, Platform: "button", Name: name, Operations: []string{operation}, DefaultFields: fields}
}

// Notify returns a notify entity that requests operation with the message in this field of the request.
func Notify(key, name, operation, messageField string) Entity {
	return Entity{Key: key, Platform: "notify", Name: name, Operations: []string{operation}, MessageField: messageField}
}

// Sets makes e request one of operations when it is set; parse chooses it and makes its request.
func (e Entity) Sets(parse func(value string) (operation string, request map[string]any, err error), operations ...string) Entity {
	e.Parse, e.Operations = parse, operations
	return e
}

// SetsField makes e request operation with the value in this field of the request when it is set.
func (e Entity) SetsField(operation, field string) Entity {
	return e.Sets(func(value string) (string, map[string]any, error) {
		return operation, map[string]any{field: value}, nil
	}, operation)
}

// WithLabels sets the words that a select shows for its options.
func (e Entity) WithLabels(labels map[string]string) Entity { e.Labels = labels; return e }

// WithLongTexts names the notify entity that takes texts too long for e.
func (e Entity) WithLongTexts(notify string) Entity { e.LongTexts = notify; return e }

// WithDoc sets the documentation of e.
func (e Entity) WithDoc(sentences string) Entity { e.Doc = sentences; return e }

// WithIcon sets the icon: "mdi:calendar".
func (e Entity) WithIcon(icon string) Entity { e.Icon = icon; return e }

// WithDeviceClass sets Home Assistant's device class: "problem".
func (e Entity) WithDeviceClass(class string) Entity { e.DeviceClass = class; return e }

// InCategory sets the category: "config" or "diagnostic".
func (e Entity) InCategory(category string) Entity { e.Category = category; return e }

// AsPrimary makes e carry the attributes.
func (e Entity) AsPrimary() Entity { e.Primary = true; return e }

// AsIdentifiers marks the values of e as Microsoft's identifiers.
func (e Entity) AsIdentifiers() Entity { e.Identifiers = true; return e }

// AsPrivate marks the value of e as a text that a person wrote to others.
func (e Entity) AsPrivate() Entity { e.Private = true; return e }

// Showing makes e show the value of another key.
func (e Entity) Showing(key string) Entity { e.ValueKey = key; return e }

// IsCommand reports whether the entity requests anything.
func (e Entity) IsCommand() bool { return len(e.Operations) > 0 }

// ShowsValue reports whether the entity shows a value of State.Values.
func (e Entity) ShowsValue() bool {
	switch e.Platform {
	case "event", "button", "notify":
		return false
	}
	return true
}

// StateKey returns the key of the value it shows.
func (e Entity) StateKey() string {
	if e.ValueKey != "" {
		return e.ValueKey
	}
	return e.Key
}

// Label returns the word that is shown for an option.
func (e Entity) Label(option string) string {
	if label, ok := e.Labels[option]; ok {
		return label
	}
	return option
}

// An Event is something that happened at one moment.
type Event struct {
	Type string         // one of the event entity's Options
	Data map[string]any // becomes attributes; never "event_type"
}

// State describes a sensor at one moment. Receivers must not change what it refers to.
type State struct {
	// Values are shown by the entities, by state key: bool (binary_sensor, switch), string, number, time.Time (timestamp,
	// datetime) or Date (date); nil is unknown. A sensor may leave keys out; package sensors adds them as unknown.
	Values map[string]any
	// Texts are the complete texts of those text entities whose value is shortened, by state key.
	Texts      map[string]string
	Attributes map[string]any // of the primary entity
	Items      []any          // the list, most important first; as many as fit are put into the attribute ItemsKey
	ItemsKey   string
	// FirstComplete gives the first item up to half of the room, so that it is shortened less than the others.
	FirstComplete bool
	Events        []Event   // what time alone brought in
	Next          time.Time // when it changes next without Graph; zero: never
}

// A Date is a day without a time or a zone: it never shifts. Its form is 2006-01-02.
type Date string
