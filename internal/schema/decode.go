package schema

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Text is a value from the environment, where every value is text.
type Text string

// A Decoder decodes into structs and collects every problem: unknown and missing keys, values of another type or outside of the
// limits. It rounds, converts and guesses nothing.
type Decoder struct {
	Dialect  Dialect
	Problems Problems
	Files    []string // that were read or are named by a key

	also []string // keys beside those of dst, which messages name as known
}

// Decode decodes raw into dst, a pointer to a struct that holds its defaults, in the dialect Configuration. Its error is
// Problems, sorted by path.
func Decode(dst any, raw map[string]any) error {
	d := &Decoder{}
	d.Decode("", raw, dst)
	d.Problems.Sort()
	return d.Err()
}

// Decode decodes the mapping at path into one or several structs, given as pointers, that hold their defaults.
func (d *Decoder) Decode(path string, raw map[string]any, dst ...any) {
	d.DecodeWith(path, raw, nil, dst...)
}

// DecodeWith is like Decode with the message about a key that none of the structs has; if it is "", a general one is used.
func (d *Decoder) DecodeWith(path string, raw map[string]any, unknown func(key string, known []string) string, dst ...any) {
	var structs []reflect.Value
	for _, v := range dst {
		structs = append(structs, reflect.ValueOf(v).Elem())
	}
	d.object(path, raw, unknown, structs...)
}

// Report adds a problem.
func (d *Decoder) Report(path, format string, args ...any) {
	d.Problems = append(d.Problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Check adds the problems that a Validator found, except for keys that already have one: there it saw the default.
func (d *Decoder) Check(path string, err error) {
	before := d.Problems
	for _, p := range Flatten(path, err) {
		if !slices.ContainsFunc(before, func(b Problem) bool { return b.Path == p.Path }) {
			d.Problems = append(d.Problems, p)
		}
	}
}

// Err returns the problems, if any, as an error.
func (d *Decoder) Err() error {
	if len(d.Problems) == 0 {
		return nil
	}
	return d.Problems
}

func (d *Decoder) object(path string, raw map[string]any, unknown func(key string, known []string) string, structs ...reflect.Value) {
	fields := d.Dialect.structFields(structs...)
	for _, f := range fields {
		at, given := Join(path, f.key), raw[f.key]
		other := f.tag.Get("unless")
		instead := other != "" && raw[other] != nil
		switch {
		case f.deferred:
		case instead && given != nil:
			d.Report(at, "given together with %s: only one of them can be right", other)
		case instead:
		case f.secret():
			d.secret(at, f.value, given, raw[f.key+"_file"])
		case given != nil:
			d.value(at, f.value, given, f.tag)
		case f.required() && f.value.IsZero():
			d.Report(at, "is required%s", exampleHint(f.tag.Get("example")))
		case d.Dialect == Configuration && f.value.Kind() == reflect.Struct && len(d.Dialect.structFields(f.value)) > 0:
			if _, ok := f.value.Addr().Interface().(Keyword); !ok {
				d.object(at, nil, nil, f.value) // for the keys that it requires
			}
		}
	}
	known := keysOf(fields)
	if path == "" && len(d.also) > 0 {
		known = slices.Sorted(slices.Values(append(known, d.also...)))
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if !slices.Contains(known, key) {
			d.Problems = append(d.Problems, Problem{Path: Join(path, QuoteKey(key)), Message: d.unknownMessage(key, known, raw, unknown, structs)})
		}
	}
	if d.Dialect == Object {
		return
	}
	for _, v := range structs {
		if v, ok := v.Addr().Interface().(Validator); ok {
			d.Check(path, v.Validate())
		}
	}
}

func (d *Decoder) unknownMessage(key string, known []string, raw map[string]any, unknown func(key string, known []string) string, structs []reflect.Value) string {
	for _, v := range structs {
		if h, ok := v.Addr().Interface().(Hinter); ok {
			if hint := h.Hint(key, raw); hint != "" {
				return fmt.Sprintf("unknown %s; use %s", d.Dialect.key(), hint)
			}
		}
	}
	if unknown != nil {
		if message := unknown(key, known); message != "" {
			return message
		}
	}
	return d.Dialect.unknownKey(key, known)
}

// maxSecret is the size of a file with a secret.
const maxSecret = 1 << 16

// secret decodes a secret, given directly or as the name of a file.
func (d *Decoder) secret(path string, dst reflect.Value, given, file any) {
	if given != nil && file != nil {
		d.Report(path, "given together with %s_file: only one of them can be right", path[strings.LastIndexByte(path, '.')+1:])
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
	d.Files = append(d.Files, name)
	content, err := readSecret(name)
	if err != nil {
		d.Report(path, "read %s: %v", name, err)
	}
	dst.SetString(content)
}

// readSecret reads the single line of a file. A byte order mark or UTF-16, which editors and shells of Windows write, is an error.
func readSecret(name string) (string, error) {
	b, err := ReadFile(name, maxSecret)
	if err != nil {
		return "", err
	}
	content := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case content == "":
		return "", fmt.Errorf("the file is empty")
	case strings.HasPrefix(content, "\ufeff"):
		return "", fmt.Errorf("want UTF-8 text without a byte order mark")
	case !utf8.ValidString(content), strings.ContainsRune(content, 0):
		return "", fmt.Errorf("want UTF-8 text, not UTF-16 or binary data")
	case strings.ContainsAny(content, "\r\n"):
		return "", fmt.Errorf("want one line, not several")
	}
	return content, nil
}

// value decodes raw, which is not nil, into dst.
func (d *Decoder) value(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	switch p := dst.Addr().Interface().(type) {
	case *Secret:
		if s, ok := AsString(raw); ok {
			*p = Secret(s)
		} else {
			d.Report(path, "want text in quotes")
		}
		return
	case *time.Duration:
		d.duration(path, p, raw, tag)
		return
	case *time.Time:
		s, ok := AsString(raw)
		if !ok || p.UnmarshalText([]byte(s)) != nil {
			d.want(path, dst.Type(), raw)
		}
		return
	case encoding.TextUnmarshaler:
		if s, ok := AsString(raw); !ok {
			d.want(path, dst.Type(), raw)
		} else if err := p.UnmarshalText([]byte(s)); err != nil {
			d.Report(path, "%v", err)
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
		if dst.Kind() != reflect.Interface || dst.NumMethod() > 0 {
			panic(fmt.Sprintf("%s: a %s cannot be decoded", path, dst.Type()))
		}
		if raw != nil {
			dst.Set(reflect.ValueOf(plainValues(raw)))
		}
	}
}

// want reports a value of another type than t.
func (d *Decoder) want(path string, t reflect.Type, raw any) {
	hint := ""
	if _, isText := AsString(raw); !isText && d.Dialect == Configuration && d.Dialect.typeName(t) == "text" && raw != nil {
		if k := reflect.ValueOf(raw).Kind(); k != reflect.Map && k != reflect.Slice {
			hint = "; put it in quotes"
		}
	}
	d.Report(path, "want %s, not %s%s", d.Dialect.describe(d.Dialect.typeName(t)), d.Dialect.format(raw), hint)
}

// describe returns the name of a type as messages use it.
func (d Dialect) describe(typeName string) string {
	switch typeName {
	case "text", "true or false", "anything":
		return typeName
	case "duration":
		return "a duration with a unit, such as 30s, 15m or 24h"
	case "time":
		return "a time with zone, such as 2026-01-01T12:00:00Z"
	case "mapping", "mapping by id":
		return "a mapping of keys"
	case "object", "object by id":
		return "an object"
	}
	return "a " + typeName
}

func (d *Decoder) structure(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	keyword, ok := dst.Addr().Interface().(Keyword)
	if word, isText := AsString(raw); ok && isText {
		words := enum(tag)
		if found, err := MatchEnum(word, words); err == nil {
			keyword.SetKeyword(found)
			return
		}
		d.Report(path, "want one of %s, or a %s of %s, not %s%s", strings.Join(words, ", "), d.Dialect.mapping(),
			JoinWords(keysOf(d.Dialect.structFields(dst)), "and"), Quote(word), didYouMean(word, words))
		return
	}
	m, isMap := raw.(map[string]any)
	if !isMap {
		d.NotMapping(path, raw)
		if h, ok := dst.Addr().Interface().(Hinter); ok {
			if hint := h.Hint("", map[string]any{"": raw}); hint != "" {
				d.Problems[len(d.Problems)-1].Message += "; use " + hint
			}
		}
		return
	}
	if ok {
		dst.SetZero() // its defaults are those of a word
	}
	d.object(path, m, nil, dst)
}

// NotMapping reports a value that is not a mapping. Text is not repeated: it may be an address with a password in it.
func (d *Decoder) NotMapping(path string, raw any) {
	found := d.Dialect.format(raw)
	if _, ok := AsString(raw); ok {
		found = "text"
	}
	d.Report(path, "want %s, not %s", d.Dialect.describe(d.Dialect.mapping()), found)
}

func (d *Decoder) mapping(path string, dst reflect.Value, raw any) {
	m, ok := raw.(map[string]any)
	if !ok {
		d.NotMapping(path, raw)
		return
	}
	out := reflect.MakeMap(dst.Type())
	for _, key := range slices.Sorted(maps.Keys(m)) {
		v := reflect.New(dst.Type().Elem()).Elem()
		if def, ok := v.Addr().Interface().(Defaulter); ok {
			def.SetDefaults()
		}
		if m[key] != nil {
			d.value(Join(path, QuoteKey(key)), v, m[key], "")
		}
		out.SetMapIndex(reflect.ValueOf(key).Convert(dst.Type().Key()), v)
	}
	dst.Set(out)
}

func (d *Decoder) list(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	var items []any
	switch v := raw.(type) {
	case []any:
		items = v
	case Text:
		for item := range strings.SplitSeq(string(v), ",") {
			items = append(items, Text(strings.TrimSpace(item)))
		}
	default:
		d.want(path, dst.Type(), raw)
		return
	}
	if without := tag.Get("nonempty"); without != "" && len(items) == 0 {
		d.Report(path, "want at least one; without the %s: %s", d.Dialect.key(), without)
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item == nil {
			d.Report(at, "is empty")
			continue
		}
		d.value(at, out.Index(i), item, tag)
	}
	dst.Set(out)
}

func (d *Decoder) text(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	s, ok := AsString(raw)
	if !ok {
		if words := enum(tag); words != nil {
			d.Report(path, "want %s, not %s", oneOf(words), d.Dialect.format(raw))
			return
		}
		d.want(path, dst.Type(), raw)
		return
	}
	if words := enum(tag); words != nil {
		word, err := MatchEnum(s, words)
		if err != nil {
			d.Report(path, "%v", err)
			return
		}
		s = word
	}
	if s == "" && tag.Get("required") == "true" && d.Dialect == Configuration {
		d.Report(path, "is required%s", exampleHint(tag.Get("example")))
		return
	}
	if s != "" && tag.Get("file") == "true" {
		d.Files = append(d.Files, s)
	}
	dst.SetString(s)
}

func (d *Decoder) bool(path string, dst reflect.Value, raw any) {
	b, ok := raw.(bool)
	if s, isText := raw.(Text); isText {
		var err error
		b, err = strconv.ParseBool(strings.ToLower(string(s)))
		ok = err == nil
	}
	if !ok {
		d.want(path, dst.Type(), raw)
		return
	}
	dst.SetBool(b)
}

// integer decodes a whole number without rounding it.
func (d *Decoder) integer(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	n, ok := asInteger(raw)
	if !ok {
		d.want(path, dst.Type(), raw)
		return
	}
	if fits := dst.CanInt() && !dst.OverflowInt(n) || dst.CanUint() && n >= 0 && !dst.OverflowUint(uint64(n)); !fits {
		d.Report(path, "%d is out of range", n)
		return
	}
	parse := func(limit string) (int64, error) { return strconv.ParseInt(limit, 10, 64) }
	switch {
	case !inLimits(d, path, tag, n, parse, n):
	case dst.CanInt():
		dst.SetInt(n)
	default:
		dst.SetUint(uint64(n))
	}
}

func asInteger(raw any) (int64, bool) {
	switch v := raw.(type) {
	case Text:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return n, err == nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, true
		}
		f, err := v.Float64() // 1.0, 1e3
		return int64(f), err == nil && isWhole(f)
	}
	switch v := reflect.ValueOf(raw); {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return int64(v.Uint()), v.Uint() <= math.MaxInt64
	case v.CanFloat():
		return int64(v.Float()), isWhole(v.Float())
	}
	return 0, false
}

// isWhole reports whether f is a whole number that a float64 holds exactly.
func isWhole(f float64) bool { return f == math.Trunc(f) && math.Abs(f) < 1<<53 }

func (d *Decoder) float(path string, dst reflect.Value, raw any, tag reflect.StructTag) {
	n, ok := asFloat(raw)
	if !ok || math.IsNaN(n) || math.IsInf(n, 0) || dst.OverflowFloat(n) {
		d.want(path, dst.Type(), raw)
		return
	}
	parse := func(limit string) (float64, error) { return strconv.ParseFloat(limit, 64) }
	if inLimits(d, path, tag, n, parse, n) {
		dst.SetFloat(n)
	}
}

func asFloat(raw any) (float64, bool) {
	switch v := raw.(type) {
	case Text:
		f, err := strconv.ParseFloat(string(v), 64)
		return f, err == nil
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	switch v := reflect.ValueOf(raw); {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

func (d *Decoder) duration(path string, dst *time.Duration, raw any, tag reflect.StructTag) {
	s, ok := AsString(raw)
	v, err := time.ParseDuration(s)
	if !ok || err != nil || strings.Trim(s, "+-0123456789.") == "" {
		d.want(path, reflect.TypeFor[time.Duration](), raw)
		return
	}
	if inLimits(d, path, tag, v, time.ParseDuration, s) {
		*dst = v
	}
}

// inLimits reports whether v is within the limits in the tags of its field, and adds a problem if it is not. given is v as the
// problem shows it.
func inLimits[T cmp.Ordered](d *Decoder, path string, tag reflect.StructTag, v T, parse func(limit string) (T, error), given any) bool {
	if limit := tag.Get("min"); limit != "" && v < must(parse(limit)) {
		d.Report(path, "want at least %s, not %v", limit, given)
		return false
	}
	if limit := tag.Get("max"); limit != "" && v > must(parse(limit)) {
		d.Report(path, "want at most %s, not %v", limit, given)
		return false
	}
	return true
}

// must panics on a mistake in the tags of a declaration.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// AsString returns raw if it is text.
func AsString(raw any) (string, bool) {
	switch v := raw.(type) {
	case string:
		return v, true
	case Text:
		return string(v), true
	}
	return "", false
}

// Format formats a value for an error message of the dialect Configuration, shortened to what helps to find it.
func Format(raw any) string { return Configuration.format(raw) }

func (d Dialect) format(raw any) string {
	if s, ok := AsString(raw); ok {
		return Quote(s)
	}
	switch v := raw.(type) {
	case nil:
		return "null"
	case json.Number:
		return shorten(v.String())
	case time.Time:
		return "the date " + v.Format(time.RFC3339)
	}
	switch reflect.ValueOf(raw).Kind() {
	case reflect.Map:
		if d == Object {
			return "an object"
		}
		return "a mapping"
	case reflect.Slice:
		return "a list"
	}
	return fmt.Sprint(raw)
}
