package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// An Entry is a mapping to be added to a configuration file.
type Entry struct {
	Path  []string // of the mapping: "accounts", "work"; none: it is a file of its own
	Value Mapping
}

// A Mapping has its keys in order. Its values are text, true or false, and other mappings.
type Mapping []Pair

// A Pair is a key of a Mapping with its value.
type Pair struct {
	Key   string
	Value any
}

// An InsertError explains why entries cannot be added to a file; a person can add the lines by hand.
type InsertError struct{ Reason string }

func (e *InsertError) Error() string { return e.Reason }

// Lines returns entries as a YAML file of their own.
func Lines(entries ...Entry) (string, error) {
	b, err := insertAll(nil, entries)
	return string(b), err
}

// Insert adds entries to the content of the configuration file of this name. Everything else in it stays as it is, comments included.
// An *InsertError is returned for files in which that is not possible.
func Insert(name string, content []byte, entries ...Entry) ([]byte, error) {
	if extension := strings.ToLower(filepath.Ext(name)); extension != ".yaml" && extension != ".yml" {
		return nil, &InsertError{"lines can be added only to a YAML file"}
	}
	return insertAll(content, entries)
}

func insertAll(b []byte, entries []Entry) ([]byte, error) {
	const mark = "\ufeff" // of the byte order
	b, marked := bytes.CutPrefix(b, []byte(mark))
	for _, e := range entries {
		if err := checkMapping(e.Value); err != nil {
			return nil, err
		}
		var err error
		if b, err = insert(b, e); err != nil {
			return nil, err
		}
	}
	if marked {
		b = append([]byte(mark), b...)
	}
	return b, nil
}

// checkMapping refuses text that does not fit on a line.
func checkMapping(m Mapping) error {
	for _, p := range m {
		switch v := p.Value.(type) {
		case Mapping:
			if err := checkMapping(v); err != nil {
				return err
			}
		case string:
			if strings.ContainsFunc(v, unicode.IsControl) || !utf8.ValidString(v) {
				return At(p.Key, errors.New("want text without control characters"))
			}
		}
	}
	return nil
}

// insert adds one entry.
func insert(b []byte, e Entry) ([]byte, error) {
	f, err := readFileText(b)
	if err != nil {
		return nil, err
	}
	before, err := parseValues(b)
	if err != nil {
		return nil, err
	}
	after, err := f.insert(e)
	if err != nil {
		return nil, err
	}
	// The file may be written in a way that the search for the place does not know.
	got, err := parseValues(after)
	if err != nil || !reflect.DeepEqual(got, setPath(before, e.Path, toValues(e.Value))) {
		return nil, &InsertError{"the file is written in a way that lines cannot be added to safely"}
	}
	return after, nil
}

// A fileText is a YAML file as text and as nodes.
type fileText struct {
	text    []byte
	newline string
	root    *yaml.Node // nil: there is no mapping yet
}

func readFileText(b []byte) (*fileText, error) {
	f := &fileText{text: b, newline: "\n"}
	if bytes.Contains(b, []byte("\r\n")) {
		f.newline = "\r\n"
	}
	var document yaml.Node
	if err := yaml.Unmarshal(b, &document); err != nil {
		return nil, yamlProblems(err)
	}
	if document.Kind == 0 || len(document.Content) == 0 || isNull(document.Content[0]) {
		return f, nil
	}
	if f.root = document.Content[0]; f.root.Kind != yaml.MappingNode {
		return nil, errNoMapping
	}
	return f, nil
}

// parseValues returns the values of a file.
func parseValues(b []byte) (map[string]any, error) {
	m := map[string]any{}
	if err := yaml.Unmarshal(b, &m); err != nil {
		return nil, yamlProblems(err)
	}
	return m, nil
}

// isNull reports whether a node is a value that was left out.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == ""
}

// insert returns the text with an entry.
func (f *fileText) insert(e Entry) ([]byte, error) {
	if f.root == nil {
		return f.insertBlock(len(bytes.TrimRight(f.text, " \t\r\n")), 0, nest(e.Path, e.Value))
	}
	in := f.root
	for i, key := range e.Path {
		name, value := lookup(in, key)
		rest := e.Path[i:]
		if name == nil {
			if in.Style&yaml.FlowStyle != 0 {
				return f.insertFlow(in, nest(rest, e.Value))
			}
			indent := in.Content[0].Column - 1
			return f.insertBlock(f.endOf(in, indent), indent, nest(rest, e.Value))
		}
		path := strings.Join(e.Path[:i+1], ".")
		switch {
		case i == len(e.Path)-1 && !isNull(value):
			return nil, At(path, errors.New("is in the file already"))
		case value.Kind == yaml.MappingNode && value.Anchor == "":
			in = value
		case isNull(value) && value.Anchor == "":
			indent := name.Column - 1 + 2
			return f.insertBlock(f.lineEnd(name.Line), indent, nest(e.Path[i+1:], e.Value))
		default:
			return nil, &InsertError{path + " is written in a way that lines cannot be added to safely"}
		}
	}
	return nil, errors.New("an entry needs a path")
}

// lookup returns a key of a mapping and its value, nil if it is not there.
func lookup(m *yaml.Node, key string) (name, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key && m.Content[i].Tag != "!!merge" {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}

// nest returns a mapping in mappings with the keys of a path.
func nest(path []string, m Mapping) Mapping {
	for _, key := range slices.Backward(path) {
		m = Mapping{{key, m}}
	}
	return m
}

// lineEnd returns the offset of the end of a line, counted from 1, without its line break.
func (f *fileText) lineEnd(line int) int {
	offset := f.lineStart(line)
	if i := bytes.IndexByte(f.text[offset:], '\n'); i >= 0 {
		return offset + len(bytes.TrimSuffix(f.text[offset:offset+i], []byte("\r")))
	}
	return len(f.text)
}

func (f *fileText) lineStart(line int) int {
	offset := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(f.text[offset:], '\n')
		if i < 0 {
			return len(f.text)
		}
		offset += i + 1
	}
	return offset
}

// endOf returns the offset of the end of a mapping in block style: that of its last line. Comments at its own indentation belong to it.
func (f *fileText) endOf(m *yaml.Node, indent int) int {
	last := m.Content[len(m.Content)-2].Line
	end := last
	for line := last + 1; f.lineStart(line) < len(f.text); line++ {
		text := string(bytes.TrimRight(f.text[f.lineStart(line):f.lineEnd(line)], " \t"))
		bare := strings.TrimLeft(text, " ")
		if bare == "" {
			continue
		}
		outside := len(text)-len(bare) < indent
		if strings.HasPrefix(text, "...") || strings.HasPrefix(text, "---") || outside && !strings.HasPrefix(bare, "#") {
			break
		}
		if !outside {
			end = line
		}
	}
	return f.lineEnd(end)
}

// insertBlock inserts a mapping in block style as lines after the line that ends at an offset.
func (f *fileText) insertBlock(offset, indent int, m Mapping) ([]byte, error) {
	block, err := YAML(node(m))
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(block, "\n"), "\n") {
		lines = append(lines, strings.Repeat(" ", indent)+line)
	}
	added := strings.Join(lines, f.newline)
	rest := f.text[offset:]
	if offset > 0 {
		added = f.newline + added
	}
	if len(bytes.TrimSpace(rest)) == 0 {
		rest = []byte(f.newline)
	}
	return slices.Concat(f.text[:offset], []byte(added), rest), nil
}

// insertFlow inserts a mapping after the opening brace of a mapping in flow style.
func (f *fileText) insertFlow(in *yaml.Node, m Mapping) ([]byte, error) {
	offset := f.lineStart(in.Line)
	for range in.Column - 1 {
		_, size := utf8.DecodeRune(f.text[offset:])
		offset += size
	}
	if offset >= len(f.text) || f.text[offset] != '{' {
		return nil, &InsertError{"the file is written in a way that lines cannot be added to safely"}
	}
	n := node(m)
	n.Style = yaml.FlowStyle
	text, err := YAML(n)
	if err != nil {
		return nil, err
	}
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(text, "\n"), "{"), "}")
	if len(in.Content) > 0 {
		text += ", "
	}
	return slices.Concat(f.text[:offset+1], []byte(text), f.text[offset+1:]), nil
}

// YAML returns a value or a node as YAML with an indentation of two spaces.
func YAML(v any) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := errors.Join(e.Encode(v), e.Close())
	return b.String(), err
}

// node returns a mapping as YAML. Mappings without other mappings, such as most sensors, are on one line.
func node(m Mapping) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range m {
		value := &yaml.Node{}
		switch v := p.Value.(type) {
		case Mapping:
			value = node(v)
			if p.isSensor(v) {
				value.Style = yaml.FlowStyle
			}
		default:
			_ = value.Encode(v) // text or a bool
		}
		key := &yaml.Node{}
		_ = key.Encode(p.Key)
		n.Content = append(n.Content, key, value)
	}
	return n
}

// isSensor reports whether a mapping is that of a sensor, as the documentation writes it.
func (p Pair) isSensor(m Mapping) bool {
	return slices.ContainsFunc(m, func(p Pair) bool { return p.Key == "type" })
}

func toValues(m Mapping) map[string]any {
	values := map[string]any{}
	for _, p := range m {
		if below, ok := p.Value.(Mapping); ok {
			values[p.Key] = toValues(below)
		} else {
			values[p.Key] = p.Value
		}
	}
	return values
}

// setPath sets the value at a path, where nothing or null is.
func setPath(m map[string]any, path []string, value any) map[string]any {
	switch len(path) {
	case 0: // of a file that was empty
		return value.(map[string]any)
	case 1:
		m[path[0]] = value
		return m
	}
	below, _ := m[path[0]].(map[string]any)
	if below == nil {
		below = map[string]any{}
	}
	m[path[0]] = setPath(below, path[1:], value)
	return m
}

// RedactedYAML returns the configuration with every default as a file, without secrets.
func (c *Config) RedactedYAML() (string, error) {
	text, err := YAML(c.Redacted())
	if err != nil {
		return "", fmt.Errorf("describe the configuration: %w", err)
	}
	return text, nil
}

// CheckID validates the id of an account or a sensor.
func CheckID(id string) error { return checkIdent(id) }

// CheckAccountID validates the id of an account or an organization.
func CheckAccountID(id string) error {
	if id == "bridge" {
		return errors.New("want another id: this one is reserved for the bridge")
	}
	return checkIdent(id)
}
