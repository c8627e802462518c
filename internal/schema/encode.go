package schema

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// Encode returns a value as it would be written in a file: structs as mappings, durations as text. Secrets are redacted unless
// reveal is set. Deferred keys are left out.
func (d Dialect) Encode(v reflect.Value, reveal bool) any {
	// A struct may also hold other fields, which change concurrently, so it is not copied as a whole.
	if v.Kind() == reflect.Struct && !v.Type().Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		if v.CanAddr() {
			if k, ok := v.Addr().Interface().(Keyword); ok && k.Keyword() != "" {
				return k.Keyword()
			}
		}
		out := map[string]any{}
		for _, f := range d.structFields(v) {
			if !f.deferred {
				out[f.key] = d.Encode(f.value, reveal)
			}
		}
		return out
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
		return FormatDuration(x)
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
		return d.Encode(v.Elem(), reveal)
	case reflect.Map:
		out := map[string]any{}
		for key, value := range v.Seq2() {
			out[key.String()] = d.Encode(value, reveal)
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = d.Encode(v.Index(i), reveal)
		}
		return out
	case reflect.String:
		return v.String()
	}
	return v.Interface()
}

// FormatDuration formats a duration without trailing zeros: 1h, not 1h0m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
