// Package schema decodes values into structs, strictly, and describes those structs. A field is declared once, with struct
// tags; from the declaration come its decoding, the error messages, the reference table, the example and the JSON Schema. The
// configuration, the requests of operations and the control endpoints of the simulator use it alike, so that they report the
// same mistake in the same words.
//
// The tags are:
//
//	koanf, json        the key, in the configuration and in JSON objects (see Dialect)
//	doc                one or more sentences for the documentation
//	enum               the accepted values, separated by commas, in any case
//	min, max           the limits of a number or duration
//	example            a value for the documentation and for error messages
//	required:"true"    the key must be given
//	unless:"KEY"       it need not and must not be given beside this key of the same mapping
//	file:"true"        the value names a file, which Decoder.Files then lists
//	restart:"true"     a change takes effect after a restart
//
// A field without a key is not decoded. A pointer stays nil until a value is given.
//
// mapstructure, which koanf uses itself, and encoding/json are not used for decoding, because both change values silently: to
// mapstructure 30 is a duration of 30 ns and 1.5 the whole number 1, and a short list overwrites only the beginning of a longer
// default; encoding/json accepts repeated and differently capitalized keys; both stop at the first problem or do not name the
// known keys.
package schema

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A Dialect selects the tag that holds the keys, and the words of error messages.
type Dialect int

// The dialects.
const (
	Configuration Dialect = iota // the tag koanf; mappings with keys, from YAML, TOML, JSON and the environment
	Object                       // the tag json; JSON objects with fields
)

func (d Dialect) tag() string {
	if d == Object {
		return "json"
	}
	return "koanf"
}

// key is the word for a key in messages.
func (d Dialect) key() string {
	if d == Object {
		return "field"
	}
	return "key"
}

// mapping is the word for a struct in messages.
func (d Dialect) mapping() string {
	if d == Object {
		return "object"
	}
	return "mapping"
}

// A Validator is a struct with rules that types and tags cannot express. Its error may join several and name the keys that they
// are about with At.
type Validator interface{ Validate() error }

// A Defaulter is a struct that sets its own defaults when the decoder creates it.
type Defaulter interface{ SetDefaults() }

// A Keyword is a struct that can also be given as one of the words of its enum.
type Keyword interface {
	SetKeyword(word string)
	Keyword() string // the word that stands for the present value; "" if none does
}

// A Hinter is a struct that knows other names of its keys. Hint returns what to use instead of an unknown key, such as
// "username", or "". The mapping that the key is in may be used for a complete answer. The key is "", and the mapping has the
// value under it, where something else is given than a mapping.
type Hinter interface {
	Hint(key string, mapping map[string]any) string
}

// A field is a struct field with a key.
type field struct {
	key      string
	deferred bool // the option deferred: its owner decodes it
	value    reflect.Value
	tag      reflect.StructTag
}

func (f field) secret() bool   { return f.value.Type() == reflect.TypeFor[Secret]() }
func (f field) required() bool { return f.tag.Get("required") == "true" }

// structFields returns the fields of structs that have a key, in order of declaration.
func (d Dialect) structFields(structs ...reflect.Value) []field {
	var all []field
	for _, v := range structs {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, option, _ := strings.Cut(f.Tag.Get(d.tag()), ",")
			switch {
			case f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct:
				all = append(all, d.structFields(v.Field(i))...)
			case f.IsExported() && key != "" && key != "-":
				all = append(all, field{key: key, deferred: option == "deferred", value: v.Field(i), tag: f.Tag})
			}
		}
	}
	return all
}

// keysOf returns every key that may be given, sorted.
func keysOf(fields []field) []string {
	var all []string
	for _, f := range fields {
		all = append(all, f.key)
		if f.secret() {
			all = append(all, f.key+"_file")
		}
	}
	slices.Sort(all)
	return all
}

// Keys returns every key of v, a pointer to a struct, sorted.
func (d Dialect) Keys(v any) []string { return keysOf(d.structFields(reflect.ValueOf(v).Elem())) }

func enum(tag reflect.StructTag) []string {
	if e := tag.Get("enum"); e != "" {
		return strings.Split(e, ",")
	}
	return nil
}

// isText reports whether values of type t are given as text that the type parses itself.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// A Field describes one key.
type Field struct {
	Key      string
	Type     string // text, duration, time, whole number, number, true or false, list of …, mapping (object), mapping (object) by id, anything
	Doc      string
	Enum     []string // a mapping with an enum can also be one of these words
	Min, Max string
	Example  string
	Default  any // nil: none
	Secret   bool
	Required bool
	Unless   string  // the key that may be given in place of a required one
	Restart  bool    // a change needs a restart
	Form     bool    // the status page offers it in the form for a sensor
	NonEmpty bool    // an empty list is refused: without the key, the list is not empty
	Fields   []Field // of a mapping, and of the items of a list
}

// Fields describes the keys of v, a pointer to a struct with its defaults set, in order of declaration.
func (d Dialect) Fields(v any) []Field { return d.fieldsOf(reflect.ValueOf(v).Elem()) }

func (d Dialect) fieldsOf(v reflect.Value) []Field {
	var all []Field
	for _, f := range d.structFields(v) {
		described := Field{
			Key: f.key, Type: d.typeName(f.value.Type()), Doc: f.tag.Get("doc"), Enum: enum(f.tag),
			Min: f.tag.Get("min"), Max: f.tag.Get("max"), Example: f.tag.Get("example"),
			Secret: f.secret(), Required: f.required(), Unless: f.tag.Get("unless"), Restart: f.tag.Get("restart") == "true", Form: f.tag.Get("form") == "true",
			NonEmpty: f.tag.Get("nonempty") != "",
		}
		if below, ok := d.structBelow(f.value); ok {
			described.Fields = d.fieldsOf(below)
		}
		if !f.secret() && !f.value.IsZero() || f.value.Kind() == reflect.Bool {
			described.Default = d.Encode(f.value, false)
		}
		all = append(all, described)
	}
	return all
}

// structBelow returns the struct that v has, points to or holds as the values of a mapping or list, with its defaults.
func (d Dialect) structBelow(v reflect.Value) (reflect.Value, bool) {
	t := v.Type()
	if t.Kind() == reflect.Struct && !isText(t) {
		return v, true
	}
	if t.Kind() != reflect.Map && t.Kind() != reflect.Slice && t.Kind() != reflect.Pointer {
		return v, false
	}
	if t = t.Elem(); t.Kind() != reflect.Struct || isText(t) {
		return v, false
	}
	made := reflect.New(t)
	if def, ok := made.Interface().(Defaulter); ok {
		def.SetDefaults()
	}
	return made.Elem(), true
}

func (d Dialect) typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case isText(t):
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.typeName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + plural(d.typeName(t.Elem()))
	case reflect.Struct:
		return d.mapping()
	case reflect.Map:
		return d.mapping() + " by id"
	case reflect.Interface:
		return "anything"
	}
	return "whole number"
}

// plural returns the name of the type of items.
func plural(typeName string) string {
	if typeName == "mapping" || typeName == "object" {
		return typeName + "s"
	}
	return typeName
}
