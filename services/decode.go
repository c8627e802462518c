package services

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Field describes one field of a request, for the documentation.
type Field struct {
	Name, Type, Doc string
	Enum            []string
	Required        bool
}

// Fields describes the fields of a request.
func Fields(r Request) []Field {
	var fs []Field
	for _, f := range fields(reflect.ValueOf(r).Elem()) {
		fs = append(fs, Field{f.name, want(f.value.Type()), f.tag.Get("doc"), f.enum(), f.required()})
	}
	return fs
}

// Decode makes a request of an operation from a JSON object. Unknown and missing fields, wrong types and unknown values of
// enumerations are errors that name the field and what it wants, all of them at once.
func Decode(op Operation, object []byte) (Request, error) {
	r := op.New()
	errs := decode("", object, reflect.ValueOf(r).Elem())
	if len(errs) == 0 {
		if v, ok := r.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		var texts []string
		for _, err := range errs {
			texts = append(texts, err.Error())
		}
		return nil, graph.Invalid("%s", strings.Join(texts, "; "))
	}
	return r, nil
}

type field struct {
	name  string
	tag   reflect.StructTag
	value reflect.Value
}

func (f field) required() bool { return f.tag.Get("required") == "true" }
func (f field) enum() []string {
	if e := f.tag.Get("enum"); e != "" {
		return strings.Split(e, ",")
	}
	return nil
}

func fields(v reflect.Value) []field {
	var fs []field
	for i := range v.NumField() {
		t := v.Type().Field(i)
		name, _, _ := strings.Cut(t.Tag.Get("json"), ",")
		switch {
		case t.Anonymous && name == "" && t.Type.Kind() == reflect.Struct:
			fs = append(fs, fields(v.Field(i))...)
		case t.IsExported() && name != "" && name != "-":
			fs = append(fs, field{name, t.Tag, v.Field(i)})
		}
	}
	return fs
}

func decode(path string, object []byte, v reflect.Value) (errs []error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(object, &given); err != nil || given == nil {
		return []error{at(path, errors.New("want a JSON object"))}
	}
	known := fields(v)
	var names []string
	for _, f := range known {
		names = append(names, f.name)
		raw, ok := given[f.name]
		delete(given, f.name)
		if !ok || string(raw) == "null" {
			if f.required() {
				errs = append(errs, at(join(path, f.name), errors.New("is required")))
			}
			continue
		}
		errs = append(errs, f.decode(join(path, f.name), raw)...)
	}
	var unknown []string
	for name := range given {
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	slices.Sort(names)
	for _, name := range unknown {
		errs = append(errs, at(join(path, Truncate(name, longest)), errors.New("unknown field"+nearest(name, names))))
	}
	return errs
}

func (f field) decode(path string, raw []byte) []error {
	v := f.value
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	_, own := v.Addr().Interface().(json.Unmarshaler)
	switch {
	case own:
	case v.Kind() == reflect.Struct:
		return decode(path, raw, v)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return []error{at(path, fmt.Errorf("want %s, not %s", want(v.Type()), short(raw)))}
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		var errs []error
		for i, item := range items {
			errs = append(errs, decode(fmt.Sprintf("%s[%d]", path, i), item, v.Index(i))...)
		}
		return errs
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		if own {
			return []error{at(path, err)}
		}
		return []error{at(path, fmt.Errorf("want %s, not %s", want(v.Type()), short(raw)))}
	}
	if enum := f.enum(); enum != nil && v.Kind() == reflect.String {
		i := slices.IndexFunc(enum, func(e string) bool { return strings.EqualFold(e, v.String()) })
		if i < 0 {
			return []error{at(path, fmt.Errorf("want one of %s, not %s", strings.Join(enum, ", "), short(raw)))}
		}
		v.SetString(enum[i])
	}
	return nil
}

func want(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return want(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return "a list of texts"
		}
		return "a list of objects"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a text"
}

// short is a value as an error shows it.
func short(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if n := utf8.RuneCount(raw); n > longest {
		return fmt.Sprintf("a value of %d characters", n)
	}
	return string(raw)
}

func nearest(name string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, k); d < distance {
			best, distance = k, d
		}
	}
	text := "; known fields: " + strings.Join(known, ", ")
	if best != "" {
		text = "; did you mean " + best + "?" + text
	}
	return text
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func at(path string, err error) error {
	if path == "" {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
