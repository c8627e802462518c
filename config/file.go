package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

const (
	// maxFile is the size of a configuration file.
	maxFile = 1 << 20
	// maxValues is the number of values in a configuration file, with every alias of YAML expanded. The parsers need time in
	// proportion to its square.
	maxValues = 10_000
)

var extensions = []string{".yaml", ".yml", ".toml", ".json"}

// parseFile parses a file, or the content given instead, by the extension and returns the lines of its keys.
func parseFile(name string, b []byte) (map[string]any, schema.Lines, error) {
	parse := map[string]func([]byte) (map[string]any, schema.Lines, error){
		".yaml": parseYAML, ".yml": parseYAML, ".toml": parseTOML, ".json": parseJSON,
	}[strings.ToLower(filepath.Ext(name))]
	if parse == nil {
		return nil, nil, fmt.Errorf("want a file that ends in %s", schema.JoinWords(extensions, "or"))
	}
	if b == nil {
		var err error
		if b, err = schema.ReadFile(name, maxFile); err != nil {
			return nil, nil, err
		}
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return nil, nil, errors.New("the file is empty")
	case bytes.ContainsRune(b, 0), bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return nil, nil, errors.New("want UTF-8 text, not UTF-16 or binary data")
	case !utf8.Valid(b):
		return nil, nil, schema.Problem{Line: invalidLine(b), Message: "want UTF-8 text; save the file with the encoding UTF-8, not Latin-1 or Windows-1252"}
	}
	return parse(b)
}

// invalidLine returns the first line that is not UTF-8.
func invalidLine(b []byte) int {
	line := 1
	for text := range bytes.Lines(b) {
		if !utf8.Valid(text) {
			break
		}
		line++
	}
	return line
}

var (
	errNoMapping = errors.New("want a mapping of keys at the top")
	errTooMany   = fmt.Errorf("want at most %d values", maxValues)
)

func parseJSON(b []byte) (map[string]any, schema.Lines, error) {
	value, lines, err := schema.ParseJSON(b)
	if err != nil {
		return nil, nil, err
	}
	m, ok := value.(map[string]any)
	switch {
	case !ok:
		return nil, nil, errNoMapping
	case len(lines) > maxValues:
		return nil, nil, errTooMany
	}
	return m, lines, nil
}

func parseYAML(b []byte) (map[string]any, schema.Lines, error) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	var document, second yaml.Node
	if err := d.Decode(&document); err != nil {
		return nil, nil, yamlProblems(err)
	}
	switch err := d.Decode(&second); {
	case err == nil:
		return nil, nil, schema.Problem{Line: second.Line, Message: "want one YAML document, not several: remove the line ---"}
	case !errors.Is(err, io.EOF):
		return nil, nil, yamlProblems(err)
	}
	w := yamlWalk{lines: schema.Lines{}, inside: map[*yaml.Node]bool{}}
	if err := w.node("", &document); err != nil {
		return nil, nil, err
	}
	var m map[string]any
	if err := document.Decode(&m); err != nil {
		return nil, nil, yamlProblems(err)
	}
	return m, w.lines, nil
}

// A yamlWalk records the lines of keys and counts the values of a document as its aliases expand.
type yamlWalk struct {
	lines  schema.Lines
	inside map[*yaml.Node]bool // the anchored nodes around the present one
	values int
}

func (w *yamlWalk) node(path string, n *yaml.Node) error {
	if w.values++; w.values > maxValues {
		return schema.Problem{Line: n.Line, Message: fmt.Sprintf("want at most %d values, with every alias expanded", maxValues)}
	}
	switch n.Kind {
	case yaml.AliasNode:
		if w.inside[n.Alias] {
			return schema.Problem{Line: n.Line, Message: "the alias " + schema.QuoteKey(n.Value) + " refers to a value that contains it"}
		}
		return w.node(path, n.Alias)
	case yaml.DocumentNode, yaml.SequenceNode, yaml.MappingNode:
		w.inside[n] = true
		defer delete(w.inside, n)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return w.each(n.Content, func(int, *yaml.Node) string { return path })
	case yaml.SequenceNode:
		return w.each(n.Content, func(i int, item *yaml.Node) string {
			below := path + "[" + strconv.Itoa(i) + "]"
			w.lines[below] = item.Line
			return below
		})
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, below := n.Content[i], path
			if key.Tag != "!!merge" {
				below = schema.Join(path, schema.QuoteKey(key.Value))
				w.lines[below] = key.Line
			}
			if err := w.node(below, n.Content[i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *yamlWalk) each(nodes []*yaml.Node, path func(int, *yaml.Node) string) error {
	for i, n := range nodes {
		if err := w.node(path(i, n), n); err != nil {
			return err
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`^line (\d+): (.*)$`)

// yamlProblems returns the parser's errors with their lines, and without the content of those lines.
func yamlProblems(err error) error {
	var all []error
	for line := range strings.SplitSeq(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n"), "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "yaml: ")
		if strings.Contains(line, "into map[string]") {
			all = append(all, errNoMapping)
			continue
		}
		p := schema.Problem{Message: line}
		if m := yamlLine.FindStringSubmatch(line); m != nil {
			p.Line, _ = strconv.Atoi(m[1])
			p.Message = m[2]
		}
		switch {
		case strings.HasPrefix(p.Message, "found character that cannot start any token"):
			p.Message += "; indent with spaces, and put text that begins with @, ` or % in quotes"
		case strings.HasPrefix(p.Message, "mapping values are not allowed"):
			p.Message += "; compare the indentation, and put text with a colon and a space in quotes"
		}
		all = append(all, p)
	}
	return errors.Join(all...)
}

func parseTOML(b []byte) (map[string]any, schema.Lines, error) {
	w := tomlWalk{b: b, lines: schema.Lines{}, items: map[string]int{}}
	p := unstable.Parser{}
	p.Reset(b)
	for p.NextExpression() && len(w.lines) <= maxValues {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			w.table = w.keys("", e.Key())
		case unstable.ArrayTable:
			path := w.keys("", e.Key())
			w.table = path + "[" + strconv.Itoa(w.items[path]) + "]"
			w.lines[w.table] = w.lines[path]
			w.items[path]++
		case unstable.KeyValue:
			w.value(w.keys(w.table, e.Key()), e.Value())
		}
	}
	if len(w.lines) > maxValues {
		return nil, nil, errTooMany
	}
	var m map[string]any
	if err := toml.Unmarshal(b, &m); err != nil {
		p := schema.Problem{Message: strings.TrimPrefix(err.Error(), "toml: ")}
		if at := (*toml.DecodeError)(nil); errors.As(err, &at) {
			p.Line, _ = at.Position()
		}
		return nil, nil, p
	}
	return m, w.lines, nil
}

// A tomlWalk records the lines of keys.
type tomlWalk struct {
	b      []byte
	lines  schema.Lines
	table  string         // the path of the present table
	items  map[string]int // the length of arrays of tables
	offset int            // that line belongs to
	line   int
}

// keys returns the path of a dotted key below another.
func (w *tomlWalk) keys(path string, keys unstable.Iterator) string {
	for keys.Next() {
		key := keys.Node()
		path = schema.Join(path, schema.QuoteKey(string(key.Data)))
		if _, ok := w.lines[path]; !ok {
			w.lines[path] = w.lineAt(int(key.Raw.Offset))
		}
	}
	return path
}

func (w *tomlWalk) value(path string, n *unstable.Node) {
	below := n.Children()
	switch n.Kind {
	case unstable.InlineTable:
		for below.Next() {
			w.value(w.keys(path, below.Node().Key()), below.Node().Value())
		}
	case unstable.Array:
		for i := 0; below.Next(); i++ {
			w.value(path+"["+strconv.Itoa(i)+"]", below.Node())
		}
	}
}

// lineAt returns the line of an offset. Offsets mostly grow, so lines are counted from the last one.
func (w *tomlWalk) lineAt(offset int) int {
	if offset < w.offset {
		w.offset, w.line = 0, 0
	}
	w.line += bytes.Count(w.b[w.offset:min(offset, len(w.b))], []byte("\n"))
	w.offset = offset
	return w.line + 1
}
