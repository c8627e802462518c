package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

const (
	// maxFile is the size of a file that is read.
	maxFile = 32 << 20
	// maxDepth bounds includes within includes, and aliases within aliases.
	maxDepth = 50
	// maxNodes bounds the values of all files together, with every include and alias expanded.
	maxNodes = 1_000_000
)

// A Directory is the configuration directory of a Home Assistant.
type Directory struct {
	path     string
	problems schema.Problems
	nodes    int // resolved so far
}

// report adds a problem of a file, at a line unless that is 0.
func (d *Directory) report(file string, line int, format string, args ...any) {
	d.problems = append(d.problems, schema.Problem{Path: file, Line: line, Message: fmt.Sprintf(format, args...)})
}

// read reads a text file below the directory. The error is one sentence without the name of the file.
func (d *Directory) read(file string) ([]byte, error) {
	b, err := schema.ReadFile(filepath.Join(d.path, filepath.FromSlash(file)), maxFile)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // Home Assistant ignores it
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}), bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return nil, errors.New("want UTF-8 text, not UTF-16; save it as UTF-8")
	case bytes.IndexByte(b, 0) >= 0:
		return nil, errors.New("want UTF-8 text, not binary data")
	case !utf8.Valid(b):
		line := 1 + bytes.Count(b[:invalid(b)], []byte("\n"))
		return nil, schema.Problem{Line: line, Message: "want UTF-8 text; this line is in another encoding, such as Windows-1252; save the file as UTF-8"}
	}
	return b, nil
}

// invalid returns the position of the first byte that is not UTF-8.
func invalid(b []byte) int {
	at := 0
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// exists reports whether there is such a file. One that may not be looked at exists: reading it gives the reason.
func (d *Directory) exists(file string) bool {
	_, err := os.Stat(filepath.Join(d.path, filepath.FromSlash(file)))
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// parse returns the root of a YAML file; nil if the file is empty.
func (d *Directory) parse(file string) (*yaml.Node, error) {
	b, err := d.read(file)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&document); err != nil {
		if len(bytes.TrimSpace(b)) == 0 || err.Error() == "EOF" { // nothing but comments
			return nil, nil
		}
		return nil, errors.New("want YAML: " + strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return document.Content[0], nil
}

// A value is a value of a YAML or JSON file, with every include resolved.
type value struct {
	file   string
	line   int
	secret string // the name in secrets.yaml, or of an environment variable, whose content is not read
	scalar any    // nil, bool, number or string
	keys   []string
	fields map[string]value // of a mapping, otherwise nil
	list   []value
	isList bool
}

// isNull reports whether there is no value.
func (v value) isNull() bool {
	return v.secret == "" && v.scalar == nil && v.fields == nil && !v.isList
}

// describe names the kind of a value for messages. It never contains a text, which may be secret.
func (v value) describe() string {
	switch {
	case v.secret != "":
		return "a secret"
	case v.fields != nil:
		return "a mapping"
	case v.isList:
		return "a list"
	case v.scalar == nil:
		return "nothing"
	}
	switch v.scalar.(type) {
	case bool:
		return "true or false"
	case string:
		return "a text"
	}
	return "a number"
}

// get returns the value of a key of a mapping.
func (v value) get(key string) value { return v.fields[key] }

// resolve returns the value of a node. Problems are reported.
func (d *Directory) resolve(file string, n *yaml.Node, depth int) value {
	v := value{file: file, line: n.Line}
	d.nodes++
	switch {
	case depth > maxDepth:
		d.report(file, n.Line, "includes or aliases are nested more than %d deep: one of them contains itself", maxDepth)
		return v
	case d.nodes > maxNodes:
		if d.nodes == maxNodes+1 {
			d.report(file, n.Line, "more than %d values with every include and alias expanded", maxNodes)
		}
		return v
	}
	switch n.Kind {
	case yaml.AliasNode:
		return d.resolve(file, n.Alias, depth+1)
	case yaml.SequenceNode:
		v.isList = true
		for _, item := range n.Content {
			v.list = append(v.list, d.resolve(file, item, depth+1))
		}
	case yaml.MappingNode:
		v.fields = map[string]value{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, content := n.Content[i], n.Content[i+1]
			if key.Tag == "!!merge" {
				d.merge(&v, d.resolve(file, content, depth+1))
				continue
			}
			v.set(key.Value, d.resolve(file, content, depth+1))
		}
	case yaml.ScalarNode:
		return d.scalar(file, n, depth)
	}
	return v
}

func (v *value) set(key string, content value) {
	if _, ok := v.fields[key]; !ok {
		v.keys = append(v.keys, key)
	}
	v.fields[key] = content
}

// merge adds the keys of a merge key's value, which do not override others.
func (d *Directory) merge(v *value, from value) {
	all := []value{from}
	if from.isList {
		all = from.list
	}
	for _, m := range all {
		for _, key := range m.keys {
			if _, ok := v.fields[key]; !ok {
				v.set(key, m.fields[key])
			}
		}
	}
}

// scalar returns the value of a scalar, which may have one of Home Assistant's tags.
// See https://www.home-assistant.io/docs/configuration/splitting_configuration/.
func (d *Directory) scalar(file string, n *yaml.Node, depth int) value {
	v := value{file: file, line: n.Line}
	switch n.Tag {
	case "!secret":
		v.secret = n.Value
	case "!env_var":
		v.secret, _, _ = strings.Cut(n.Value, " ")
	case "!input":
		v.scalar = n.Value
	case "!include":
		return d.include(file, n, depth)
	case "!include_dir_list", "!include_dir_merge_list", "!include_dir_named", "!include_dir_merge_named":
		return d.includeDir(file, n, depth)
	default:
		if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
			d.report(file, n.Line, "unknown tag %s; known tags: !secret, !env_var, !include, !include_dir_list, !include_dir_merge_list, !include_dir_named, !include_dir_merge_named", n.Tag)
			return v
		}
		if err := n.Decode(&v.scalar); err != nil {
			v.scalar = n.Value
		}
	}
	return v
}

// include returns the content of the file that a node names.
func (d *Directory) include(file string, n *yaml.Node, depth int) value {
	name := filepath.ToSlash(filepath.Join(filepath.Dir(file), n.Value))
	if filepath.IsAbs(n.Value) {
		relative, err := filepath.Rel(d.path, n.Value)
		if err != nil {
			relative = n.Value
		}
		name = filepath.ToSlash(relative)
	}
	return d.load(name, file, n.Line, depth)
}

// load returns the content of a file, which is included at a line of another one.
func (d *Directory) load(name, from string, line, depth int) value {
	root, err := d.parse(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.report(from, line, "%s does not exist", name)
	case err != nil:
		d.reportFile(name, err)
	case root != nil:
		return d.resolve(name, root, depth+1)
	}
	return value{file: name, line: 1}
}

// reportFile reports the error of reading or parsing a file.
func (d *Directory) reportFile(file string, err error) {
	var p schema.Problem
	switch {
	case errors.As(err, &p):
		d.report(file, p.Line, "%s", p.Message)
	default:
		d.report(file, 0, "%v", schema.Cause(err))
	}
}

// includeDir returns the content of the files in the directory that a node names, and below it.
func (d *Directory) includeDir(file string, n *yaml.Node, depth int) value {
	v := value{file: file, line: n.Line}
	dir := filepath.ToSlash(filepath.Join(filepath.Dir(file), n.Value))
	named := strings.HasSuffix(n.Tag, "named")
	if named {
		v.fields = map[string]value{}
	} else {
		v.isList = true
	}
	names, err := d.yamlFiles(dir)
	if err != nil {
		d.report(file, n.Line, "%s: %v", dir, schema.Cause(err))
		return v
	}
	for _, name := range names {
		content := d.load(name, file, n.Line, depth)
		switch n.Tag {
		case "!include_dir_list":
			v.list = append(v.list, content)
		case "!include_dir_merge_list":
			v.list = append(v.list, content.list...)
		case "!include_dir_named":
			v.set(strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), content)
		default:
			for _, key := range content.keys {
				v.set(key, content.fields[key])
			}
		}
	}
	return v
}

// yamlFiles returns the YAML files in and below a directory, in order, without hidden ones and secrets.
func (d *Directory) yamlFiles(dir string) ([]string, error) {
	var names []string
	root, err := filepath.EvalSymlinks(filepath.Join(d.path, filepath.FromSlash(dir)))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := path != root && strings.HasPrefix(e.Name(), ".")
		if e.IsDir() {
			if hidden {
				return filepath.SkipDir
			}
			return nil
		}
		if !hidden && strings.HasSuffix(e.Name(), ".yaml") && e.Name() != secretsFile {
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(filepath.Join(dir, relative)))
		}
		return nil
	})
	return names, err
}

// secretsFile is the file with the values of !secret.
const secretsFile = "secrets.yaml"

// clientID returns the content of a secret that is the id of an app registration, which is public: every sign-in link shows it. Home
// Assistant looks for a secret in the directory of the file that uses it, and above.
func (d *Directory) clientID(v value) string {
	if v.secret == "" {
		return v.text()
	}
	for dir := filepath.Dir(v.file); ; dir = filepath.Dir(dir) {
		file := filepath.ToSlash(filepath.Join(dir, secretsFile))
		if d.exists(file) {
			root, err := d.parse(file)
			if err != nil {
				d.reportFile(file, err)
				return ""
			}
			for i := 0; root != nil && root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
				if content := root.Content[i+1]; root.Content[i].Value == v.secret && guid.MatchString(content.Value) {
					return content.Value
				}
			}
		}
		if dir == "." || dir == "/" || strings.HasPrefix(dir, "..") {
			return ""
		}
	}
}

// text returns a text, or "" if there is none.
func (v value) text() string {
	switch s := v.scalar.(type) {
	case nil:
		return ""
	case string:
		return s
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(s)
	default:
		return ""
	}
}

// texts returns a list of texts; a single one is a list of one.
func (d *Directory) texts(v value, what string) []string {
	if v.isNull() {
		return nil
	}
	if !v.isList {
		if v.fields != nil {
			d.report(v.file, v.line, "%s: want a list of texts, not %s", what, v.describe())
			return nil
		}
		return []string{v.text()}
	}
	var all []string
	for _, item := range v.list {
		if item.fields != nil || item.isList || item.isNull() {
			d.report(item.file, item.line, "%s: want a list of texts, with %s in it", what, item.describe())
			continue
		}
		all = append(all, item.text())
	}
	return all
}

// boolean returns whether a value is true, in any of the words that Home Assistant accepts.
func (d *Directory) boolean(v value, what string, fallback bool) bool {
	switch s := v.scalar.(type) {
	case bool:
		return s
	case nil:
		if v.isNull() {
			return fallback
		}
	case string:
		switch strings.ToLower(s) {
		case "true", "yes", "on", "enable", "1":
			return true
		case "false", "no", "off", "disable", "0":
			return false
		}
	case int:
		return s != 0
	case float64:
		return s != 0
	}
	d.report(v.file, v.line, "%s: want true or false, not %s", what, v.describe())
	return fallback
}

// number returns a whole number, and whether there is one.
func (d *Directory) number(v value, what string) (n int, ok bool) {
	switch s := v.scalar.(type) {
	case int:
		return s, true
	case float64:
		if s == float64(int(s)) {
			return int(s), true
		}
	case string:
		if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
			return n, true
		}
	case nil:
		if v.isNull() {
			return 0, false
		}
	}
	d.report(v.file, v.line, "%s: want a whole number, not %s", what, v.describe())
	return 0, false
}

// mappings returns the mappings of a list.
func (d *Directory) mappings(v value, what string) []value {
	if v.isNull() {
		return nil
	}
	if !v.isList {
		d.report(v.file, v.line, "%s: want a list, not %s", what, v.describe())
		return nil
	}
	var all []value
	for _, item := range v.list {
		if item.fields == nil {
			d.report(item.file, item.line, "%s: want a mapping, not %s", what, item.describe())
			continue
		}
		all = append(all, item)
	}
	return all
}

// storage decodes a file of the directory .storage. It returns false if there is none.
func (d *Directory) storage(name string, data any) bool {
	file := ".storage/" + name
	if !d.exists(file) {
		return false
	}
	b, err := d.read(file)
	if err != nil {
		d.reportFile(file, err)
		return false
	}
	var document struct{ Data json.RawMessage }
	if err := json.Unmarshal(b, &document); err != nil || document.Data == nil {
		line := 0
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line = 1 + bytes.Count(b[:min(int(syntax.Offset), len(b))], []byte("\n"))
		}
		d.report(file, line, "want JSON as Home Assistant writes it; the file is damaged")
		return false
	}
	if err := json.Unmarshal(document.Data, data); err != nil {
		d.report(file, 0, "want JSON as Home Assistant writes it; the file has other fields")
		return false
	}
	return true
}

// fromJSON returns a decoded JSON value.
func fromJSON(file string, raw any) value {
	v := value{file: file}
	switch x := raw.(type) {
	case map[string]any:
		v.fields = map[string]value{}
		for _, key := range slices.Sorted(maps.Keys(x)) {
			v.set(key, fromJSON(file, x[key]))
		}
	case []any:
		v.isList = true
		for _, item := range x {
			v.list = append(v.list, fromJSON(file, item))
		}
	default:
		v.scalar = x
	}
	return v
}
