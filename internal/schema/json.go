package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// maxDepth bounds the nesting of JSON values.
const maxDepth = 100

// Lines maps the paths of values to the lines of their keys.
type Lines map[string]int

// Line returns the line of path or of the nearest value above it; 0 if none is known.
func (l Lines) Line(path string) int {
	for {
		if line, ok := l[path]; ok {
			return line
		}
		if path == "" {
			return 0
		}
		path = parent(path)
	}
}

// parent returns the path without its last key or index.
func parent(path string) string {
	quoted := false
	for i := len(path) - 1; i >= 0; i-- {
		switch c := path[i]; {
		case c == '"' && (i == 0 || path[i-1] != '\\'):
			quoted = !quoted
		case !quoted && (c == '.' || c == '['):
			return path[:i]
		}
	}
	return ""
}

// DecodeObject decodes a JSON object into dst, a pointer to a struct that holds its defaults or to a map. Keys in also are ignored, and
// named as known in the message about another one. Its error is Problems. Validators are not called.
func DecodeObject(b []byte, dst any, also ...string) error {
	object, err := parseObject(b)
	if err != nil {
		return err
	}
	d := Decoder{Dialect: Object, also: also}
	v := reflect.ValueOf(dst).Elem()
	if v.Kind() == reflect.Map {
		d.value("", v, object, "")
	} else {
		d.Decode("", object, dst)
	}
	return d.Err()
}

// CheckObject reports whether b is a JSON object without repeated keys. Its error is Problems.
func CheckObject(b []byte) error {
	_, err := parseObject(b)
	return err
}

// parseObject parses a JSON object. Its error is Problems.
func parseObject(b []byte) (map[string]any, error) {
	value, err := parseJSON(b, nil)
	if err != nil {
		return nil, Flatten("", err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, Problems{{Message: "want a JSON object, not " + Object.format(value)}}
	}
	return object, nil
}

// ParseJSON parses one JSON value, with numbers as json.Number, and returns the lines of its keys. Repeated keys are an error;
// so is anything after the value. Its error is a Problem.
func ParseJSON(b []byte) (any, Lines, error) {
	lines := Lines{}
	v, err := parseJSON(b, lines)
	return v, lines, err
}

func parseJSON(b []byte, lines Lines) (any, error) {
	if !utf8.Valid(b) {
		return nil, Problem{Message: "want UTF-8 text"}
	}
	var checked json.RawMessage
	if err := json.Unmarshal(b, &checked); err != nil {
		p := Problem{Message: "want JSON: " + err.Error()}
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) && lines != nil {
			p.Line = 1 + bytes.Count(b[:min(int(syntax.Offset), len(b))], []byte("\n"))
		}
		return nil, p
	}
	p := jsonParser{d: json.NewDecoder(bytes.NewReader(b)), b: b, lines: lines, line: 1}
	p.d.UseNumber()
	return p.value("", 0)
}

// A jsonParser builds a value from the tokens of valid JSON.
type jsonParser struct {
	d      *json.Decoder
	b      []byte
	lines  Lines // nil: not wanted
	offset int64 // that line belongs to
	line   int
}

func (p *jsonParser) value(path string, depth int) (any, error) {
	token, err := p.d.Token()
	if err != nil {
		return nil, Problem{Message: "want JSON: " + err.Error()}
	}
	if depth > maxDepth {
		return nil, Problem{Line: p.record(""), Message: fmt.Sprintf("want values that are nested at most %d levels deep", maxDepth)}
	}
	switch token {
	case json.Delim('{'):
		return p.object(path, depth)
	case json.Delim('['):
		list := []any{}
		for p.d.More() {
			item, err := p.value(p.join(path, fmt.Sprintf("[%d]", len(list))), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err = p.d.Token()
		return list, err
	}
	return token, nil
}

func (p *jsonParser) object(path string, depth int) (any, error) {
	object := map[string]any{}
	for p.d.More() {
		token, err := p.d.Token()
		if err != nil {
			return nil, Problem{Message: "want JSON: " + err.Error()}
		}
		key := token.(string) // what else a key can be is no JSON
		below := p.join(path, "."+QuoteKey(key))
		line := p.record(below)
		if _, repeated := object[key]; repeated {
			return nil, Problem{Line: line, Message: fmt.Sprintf("key %s is given twice", Quote(key))}
		}
		if object[key], err = p.value(below, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := p.d.Token()
	return object, err
}

func (p *jsonParser) join(path, below string) string {
	switch {
	case p.lines == nil:
		return ""
	case path == "" && below[0] == '.':
		return below[1:]
	}
	return path + below
}

// record records the line of the last token as that of path, and returns it.
func (p *jsonParser) record(path string) int {
	if p.lines == nil {
		return 0
	}
	at := p.d.InputOffset()
	p.line += bytes.Count(p.b[p.offset:at], []byte("\n"))
	p.offset = at
	if path != "" {
		p.lines[path] = p.line
	}
	return p.line
}

// plainValues returns raw with values of the environment as plain strings and numbers of JSON as float64.
func plainValues(raw any) any {
	switch v := raw.(type) {
	case Text:
		return string(v)
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = plainValues(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = plainValues(value)
		}
		return out
	}
	return raw
}
