package config

import (
	"encoding"
	"reflect"
	"time"
)

// A Field describes one key, for the reference, the schema and the example.
type Field struct {
	Key      string
	Type     string // text, duration, whole number, number, true or false, list of …, mapping, mapping by id, anything
	Doc      string
	Enum     []string // a mapping with an enum can also be one of these words
	Min, Max string
	Example  string
	Default  any // nil: none
	Secret   bool
	Required bool
	Restart  bool    // a change needs a restart
	Fields   []Field // of a mapping
}

// Fields describes the keys of v, a pointer to a struct with its defaults set, in the order of its declaration.
func Fields(v any) []Field { return fieldsOf(reflect.ValueOf(v).Elem()) }

func fieldsOf(v reflect.Value) []Field {
	var all []Field
	for _, m := range structFields(v) {
		f := Field{
			Key: m.key, Type: typeName(m.value.Type()), Doc: m.tag.Get("doc"), Enum: enum(m.tag),
			Min: m.tag.Get("min"), Max: m.tag.Get("max"), Example: m.tag.Get("example"),
			Secret: m.secret(), Required: m.tag.Get("required") == "true", Restart: m.tag.Get("restart") == "true",
		}
		if m.value.Kind() == reflect.Struct && f.Type == "mapping" {
			f.Fields = fieldsOf(m.value)
		}
		if elem, ok := structByID(m.value.Type()); ok {
			v := reflect.New(elem)
			if def, ok := v.Interface().(defaulter); ok {
				def.setDefaults()
			}
			f.Fields = fieldsOf(v.Elem())
		}
		if !f.Secret && !m.value.IsZero() || m.value.Kind() == reflect.Bool {
			f.Default = toMap(m.value, false)
		}
		all = append(all, f)
	}
	return all
}

// structByID returns the struct type of the values of a mapping by id.
func structByID(t reflect.Type) (reflect.Type, bool) {
	if t.Kind() != reflect.Map || t.Elem().Kind() != reflect.Struct {
		return nil, false
	}
	return t.Elem(), true
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Struct:
		return "mapping"
	case reflect.Map:
		return "mapping by id"
	case reflect.Interface:
		return "anything"
	}
	return "whole number"
}

func structToMap(v reflect.Value, reveal bool) any {
	out := map[string]any{}
	for _, m := range structFields(v) {
		if !m.deferred {
			out[m.key] = toMap(m.value, reveal)
		}
	}
	return out
}

// toMap returns a value as it would be written in a file. Secrets are redacted unless reveal is set.
func toMap(v reflect.Value, reveal bool) any {
	// The struct of a sensor also holds what it has read, which goes on changing: only its options may be looked at.
	if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[Cloud]() && !v.Type().Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return structToMap(v, reveal)
	}
	switch x := v.Interface().(type) {
	case Secret:
		switch {
		case x == "":
			return nil
		case reveal:
			return x.Reveal()
		}
		return redacted
	case time.Duration:
		return formatDuration(x)
	case Cloud:
		if x.Name != "custom" && x.CAFile == "" {
			return x.Name
		}
	case encoding.TextMarshaler:
		if b, err := x.MarshalText(); err == nil {
			return string(b)
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return toMap(v.Elem(), reveal)
	case reflect.Struct:
		return structToMap(v, reveal)
	case reflect.Map:
		out := map[string]any{}
		for key, value := range v.Seq2() {
			out[key.String()] = toMap(value, reveal)
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = toMap(v.Index(i), reveal)
		}
		return out
	case reflect.String:
		return v.String()
	}
	return v.Interface()
}
