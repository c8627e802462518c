package config

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Validator is a struct with rules that its types and tags cannot express. Its error may join several, and name the keys
// that they are about with At.
type Validator interface{ Validate() error }

// Decode fills dst, a pointer to a struct that holds its defaults, from raw. It is strict: unknown keys and values of another
// type are problems, and nothing is rounded, bent or guessed. The error is Problems, all of them.
//
// A field is declared with the tags koanf (its key), doc, enum (values, in any case), min, max, example, required:"true" and
// file:"true" (it names a file that must be readable). A field without koanf is not configuration. A pointer is nil until
// given.
//
// mapstructure, koanf's own decoder, is not used: to it 30 is a duration of 30 ns and 1.5 the whole number 1, it writes a
// short list over the beginning of a longer default, and it does not say which keys there are.
func Decode(dst any, raw map[string]any) error {
	d := &decoder{}
	d.object("", raw, reflect.ValueOf(dst).Elem())
	return d.err()
}

// text is a value from the environment, where every value is text.
type text string

// A decoder decodes into structs and collects every problem.
type decoder struct {
	problems Problems
	files    []string // that were read or will be
}

func (d *decoder) problem(path, format string, args ...any) {
	d.problems = append(d.problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return d.problems
}

// A field is a struct field with a configuration key.
type field struct {
	key   string
	deferred bool // decoded by the loader, which knows the kinds
	value reflect.Value
	tag   reflect.StructTag
}

func (m field) secret() bool { return m.value.Type() == reflect.TypeFor[Secret]() }

// structFields returns the fields of structs that have a key, in order of declaration.
func structFields(structs ...reflect.Value) []field {
	var all []field
	for _, v := range structs {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, option, _ := strings.Cut(f.Tag.Get("koanf"), ",")
			switch {
			case f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct:
				all = append(all, structFields(v.Field(i))...)
			case f.IsExported() && key != "" && key != "-":
				all = append(all, field{key: key, deferred: option == "deferred", value: v.Field(i), tag: f.Tag})
			}
		}
	}
	return all
}

// keys returns every key that may be given, sorted.
func keys(ms []field) []string {
	var all []string
	for _, m := range ms {
		all = append(all, m.key)
		if m.secret() {
			all = append(all, m.key+"_file")
		}
	}
	slices.Sort(all)
	return all
}

// object decodes a mapping into a struct.
func (d *decoder) object(path string, raw map[string]any, v reflect.Value) {
	d.decodeInto(path, raw, unknownKeyMessage, v)
}

// decodeInto decodes one mapping into several structs. unknownMessage returns the message about a key that none of them has.
func (d *decoder) decodeInto(path string, raw map[string]any, unknownMessage func(key string, known []string) string, structs ...reflect.Value) {
	ms := structFields(structs...)
	known := keys(ms)
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if !slices.Contains(known, key) {
			d.problem(join(path, quoteKey(key)), "%s", unknownMessage(key, known))
		}
	}
	for _, m := range ms {
		at, given := join(path, m.key), raw[m.key]
		switch {
		case m.deferred:
		case m.secret():
			d.secret(at, m.value, given, raw[m.key+"_file"])
		case given != nil:
			d.value(at, m.value, given, m.tag)
		case m.tag.Get("required") == "true" && m.value.IsZero():
			d.problem(at, "missing%s", exampleHint(m.tag.Get("example")))
		case m.value.Kind() == reflect.Struct && len(structFields(m.value)) > 0:
			if _, ok := m.value.Addr().Interface().(keywordSetter); !ok {
				d.object(at, nil, m.value) // for what it requires
			}
		}
	}
	for _, v := range structs {
		if v, ok := v.Addr().Interface().(Validator); ok {
			d.check(path, v.Validate())
		}
	}
}

// check adds the problems that a Validator found, except for keys that already have one: there it saw the default.
func (d *decoder) check(path string, err error) {
	before := d.problems
	for _, p := range flatten(path, err) {
		if !slices.ContainsFunc(before, func(b Problem) bool { return b.Path == p.Path }) {
			d.problems = append(d.problems, p)
		}
	}
}

func unknownKeyMessage(key string, known []string) string {
	hint := didYouMean(key, known)
	if hint == "" {
		hint = ";"
	}
	return "unknown key" + hint + " known keys: " + strings.Join(known, ", ")
}

func exampleHint(example string) string {
	if example == "" {
		return ""
	}
	return ", such as " + example
}

// secret decodes a secret, given directly or as the name of a file.
func (d *decoder) secret(path string, dst reflect.Value, given, file any) {
	if given != nil && file != nil {
		d.problem(path, "given together with %s_file: only one of them can be right", path[strings.LastIndexByte(path, '.')+1:])
		return
	}
	if given != nil {
		d.value(path, dst, given, "")
		return
	}
	if file == nil {
		return
	}
	path += "_file"
	var name string
	d.value(path, reflect.ValueOf(&name).Elem(), file, "")
	if name == "" {
		return
	}
	content, err := d.read(name)
	content = strings.TrimSuffix(strings.TrimSuffix(content, "\n"), "\r")
	switch {
	case err != nil:
		d.problem(path, "%v", err)
	case content == "":
		d.problem(path, "read %s: there is nothing in it", name)
	}
	dst.SetString(content)
}

// read reads a file of at most 64 KiB.
func (d *decoder) read(name string) (string, error) {
	d.files = append(d.files, name)
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, cause(err))
	}
	defer f.Close()
	const limit = 1 << 16
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, cause(err))
	}
	return string(b), nil
}

// cause returns the error without the operation and path of a PathError.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// A keywordSetter is a struct that can also be given as a single keyword.
type keywordSetter interface{ setKeyword(word string) }

// A defaulter is a struct that sets its own defaults when the decoder creates it.
type defaulter interface{ setDefaults() }

// value decodes raw, which is not nil, into dst.
func (d *decoder) value(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	switch p := dst.Addr().Interface().(type) {
	case *Secret:
		if s, ok := asString(raw); ok {
			*p = Secret(s)
		} else {
			d.problem(path, "want text in quotes")
		}
		return
	case *time.Duration:
		d.duration(path, p, raw, tag)
		return
	case encoding.TextUnmarshaler:
		if s, ok := asString(raw); !ok {
			d.problem(path, "want text, not %s", formatValue(raw))
		} else if err := p.UnmarshalText([]byte(s)); err != nil {
			d.problem(path, "%v", err)
		}
		return
	}
	switch dst.Kind() {
	case reflect.Pointer:
		v := reflect.New(dst.Type().Elem())
		d.value(path, v.Elem(), raw, tag)
		dst.Set(v)
	case reflect.Struct:
		d.structure(path, dst, raw, tag)
	case reflect.Map:
		d.mapping(path, dst, raw)
	case reflect.Slice:
		d.list(path, dst, raw, tag)
	case reflect.Interface:
		if dst.NumMethod() > 0 {
			d.problem(path, "cannot be configured: it is a %s", dst.Type())
			return
		}
		dst.Set(reflect.ValueOf(withoutMark(raw)))
	case reflect.String:
		d.text(path, dst, raw, tag)
	case reflect.Bool:
		d.bool(path, dst, raw)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.integer(path, dst, raw, tag)
	case reflect.Float32, reflect.Float64:
		d.float(path, dst, raw, tag)
	default:
		d.problem(path, "cannot be configured: it is a %s", dst.Type())
	}
}

func (d *decoder) structure(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	w, ok := dst.Addr().Interface().(keywordSetter)
	if word, isText := asString(raw); ok && isText {
		values := enum(tag)
		if found, err := matchEnum(word, values); err == nil {
			w.setKeyword(found)
			return
		}
		d.problem(path, "want %s or a mapping of %s, not %q%s", strings.Join(values, ", "), joinWords(keys(structFields(dst)), "and"), word, didYouMean(word, values))
		return
	}
	m, isMap := raw.(map[string]any)
	if !isMap {
		d.notMapping(path, raw)
		return
	}
	if ok {
		dst.SetZero() // its defaults are those of a word
	}
	d.object(path, m, dst)
}

// notMapping reports a value that is not a mapping. Text is not repeated: it may be an address with a password in it.
func (d *decoder) notMapping(path string, raw any) {
	found := formatValue(raw)
	if _, ok := asString(raw); ok {
		found = "text"
	}
	d.problem(path, "want a mapping of keys, not %s", found)
}

func (d *decoder) mapping(path string, dst reflect.Value, raw any) {
	m, ok := raw.(map[string]any)
	if !ok {
		d.notMapping(path, raw)
		return
	}
	out := reflect.MakeMap(dst.Type())
	for _, key := range slices.Sorted(maps.Keys(m)) {
		v := reflect.New(dst.Type().Elem()).Elem()
		if def, ok := v.Addr().Interface().(defaulter); ok {
			def.setDefaults()
		}
		if m[key] != nil {
			d.value(join(path, quoteKey(key)), v, m[key], "")
		}
		out.SetMapIndex(reflect.ValueOf(key).Convert(dst.Type().Key()), v)
	}
	dst.Set(out)
}

func (d *decoder) list(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	var items []any
	switch v := raw.(type) {
	case []any:
		items = v
	case text:
		for item := range strings.SplitSeq(string(v), ",") {
			items = append(items, text(strings.TrimSpace(item)))
		}
	default:
		d.problem(path, "want a list, not %s", formatValue(raw))
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item == nil {
			d.problem(at, "empty")
			continue
		}
		d.value(at, out.Index(i), item, tag)
	}
	dst.Set(out)
}

func (d *decoder) text(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	s, ok := asString(raw)
	if !ok {
		hint := ""
		if v := reflect.ValueOf(raw); v.Kind() != reflect.Map && v.Kind() != reflect.Slice {
			hint = "; put it in quotes"
		}
		d.problem(path, "want text, not %s%s", formatValue(raw), hint)
		return
	}
	if values := enum(tag); values != nil {
		word, err := matchEnum(s, values)
		if err != nil {
			d.problem(path, "%v", err)
			return
		}
		s = word
	}
	if s == "" && tag.Get("required") == "true" {
		d.problem(path, "empty%s", exampleHint(tag.Get("example")))
		return
	}
	if s != "" && tag.Get("file") == "true" {
		if _, err := d.read(s); err != nil {
			d.problem(path, "%v", err)
		}
	}
	dst.SetString(s)
}

func (d *decoder) bool(path string, dst reflect.Value, raw any) {
	b, ok := raw.(bool)
	if s, isText := raw.(text); isText {
		var err error
		b, err = strconv.ParseBool(strings.ToLower(string(s)))
		ok = err == nil
	}
	if !ok {
		d.problem(path, "want true or false, not %s", formatValue(raw))
		return
	}
	dst.SetBool(b)
}

// integer decodes a whole number without rounding it.
func (d *decoder) integer(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	n, ok := int64(0), true
	switch v := reflect.ValueOf(raw); {
	case v.CanInt():
		n = v.Int()
	case v.CanUint():
		n, ok = int64(v.Uint()), v.Uint() <= math.MaxInt64
	case v.CanFloat(): // every number of JSON
		n, ok = int64(v.Float()), v.Float() == math.Trunc(v.Float()) && math.Abs(v.Float()) < 1<<53
	default:
		s, isText := raw.(text)
		var err error
		n, err = strconv.ParseInt(string(s), 10, 64)
		ok = isText && err == nil
	}
	if !ok {
		d.problem(path, "want a whole number, not %s", formatValue(raw))
		return
	}
	fits := dst.CanInt() && !dst.OverflowInt(n) || dst.CanUint() && n >= 0 && !dst.OverflowUint(uint64(n))
	if !fits {
		d.problem(path, "%d is out of range", n)
		return
	}
	if limit := tag.Get("min"); limit != "" && n < must(strconv.ParseInt(limit, 10, 64)) {
		d.problem(path, "want at least %s, not %d", limit, n)
		return
	}
	if limit := tag.Get("max"); limit != "" && n > must(strconv.ParseInt(limit, 10, 64)) {
		d.problem(path, "want at most %s, not %d", limit, n)
		return
	}
	if dst.CanInt() {
		dst.SetInt(n)
	} else {
		dst.SetUint(uint64(n))
	}
}

func (d *decoder) float(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	n, ok := 0.0, true
	switch v := reflect.ValueOf(raw); {
	case v.CanInt():
		n = float64(v.Int())
	case v.CanFloat():
		n = v.Float()
	default:
		s, isText := raw.(text)
		var err error
		n, err = strconv.ParseFloat(string(s), 64)
		ok = isText && err == nil
	}
	if !ok || math.IsNaN(n) || math.IsInf(n, 0) || dst.OverflowFloat(n) {
		d.problem(path, "want a number, not %s", formatValue(raw))
		return
	}
	if limit := tag.Get("min"); limit != "" && n < must(strconv.ParseFloat(limit, 64)) {
		d.problem(path, "want at least %s, not %v", limit, n)
		return
	}
	if limit := tag.Get("max"); limit != "" && n > must(strconv.ParseFloat(limit, 64)) {
		d.problem(path, "want at most %s, not %v", limit, n)
		return
	}
	dst.SetFloat(n)
}

func (d *decoder) duration(path string, dst *time.Duration, raw any, tag reflect.StructTag) {
	s, ok := asString(raw)
	v, err := time.ParseDuration(s)
	if !ok || err != nil || strings.Trim(s, "+-0123456789.") == "" {
		d.problem(path, "want a duration with a unit, such as 30s, 15m or 24h, not %s", formatValue(raw))
		return
	}
	if limit := tag.Get("min"); limit != "" && v < must(time.ParseDuration(limit)) {
		d.problem(path, "want at least %s, not %s", limit, s)
		return
	}
	if limit := tag.Get("max"); limit != "" && v > must(time.ParseDuration(limit)) {
		d.problem(path, "want at most %s, not %s", limit, s)
		return
	}
	*dst = v
}

// must panics on errors in the tags of the declarations.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func enum(tag reflect.StructTag) []string {
	if e := tag.Get("enum"); e != "" {
		return strings.Split(e, ",")
	}
	return nil
}

// asString returns raw if it is text.
func asString(raw any) (string, bool) {
	switch v := raw.(type) {
	case string:
		return v, true
	case text:
		return string(v), true
	}
	return "", false
}

// withoutMark returns raw with every value of the environment as a plain string.
func withoutMark(raw any) any {
	switch v := raw.(type) {
	case text:
		return string(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = withoutMark(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = withoutMark(value)
		}
		return out
	}
	return raw
}

// formatValue formats a value for an error message, shortened to what helps to find it.
func formatValue(raw any) string {
	if s, ok := asString(raw); ok {
		if r := []rune(s); len(r) > 40 {
			s = string(r[:40]) + "…"
		}
		return strconv.Quote(s)
	}
	switch v := reflect.ValueOf(raw); v.Kind() {
	case reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	}
	if t, ok := raw.(time.Time); ok {
		return "the date " + t.Format(time.RFC3339)
	}
	return fmt.Sprint(raw)
}
