package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	jsonparser "github.com/knadh/koanf/parsers/json"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
)

// Sources are where the configuration comes from, besides its defaults; each has the last word over those before it.
type Sources struct {
	File    string         // "": GRAPH2MQTT_CONFIG, else the first that is found in the usual places
	Environ []string       // as os.Environ gives it
	Flags   map[string]any // by path ("log.level"): those that were set on the command line
}

// Load reads the file, the environment and the flags, and checks everything. Its error is Problems, all of them at once.
func Load(s Sources, kinds []Kind) (*Config, error) {
	l := &loader{kinds: kinds, env: environment(s.Environ)}
	c := &Config{}
	c.setDefaults()
	raw := l.sources(s, c)
	if raw == nil {
		return nil, l.err()
	}
	l.object("", raw, reflect.ValueOf(c).Elem())
	l.accounts(c, raw["accounts"])
	l.stateDir(c)
	if err := l.err(); err != nil {
		return nil, err
	}
	slices.Sort(l.files)
	c.Files = slices.Compact(l.files)
	return c, nil
}

// A loader decodes a whole configuration.
type loader struct {
	decoder
	kinds []Kind
	env   environment
}

// sources merges all sources. It returns nil if decoding the rest would only report follow-up problems.
func (l *loader) sources(s Sources, c *Config) map[string]any {
	k := koanf.New(".")
	var tried []string
	c.File, tried = l.find(s.File, c)
	if c.File != "" {
		l.files = append(l.files, c.File)
		if err := l.load(k, c.File); err != nil {
			l.problems = append(l.problems, flatten(c.File, err)...)
			return nil
		}
	}
	values, notes, problems := l.env.values()
	c.Warnings = append(c.Warnings, notes...)
	l.problems = append(l.problems, problems...)
	for _, layer := range []map[string]any{values, s.Flags} {
		if err := k.Load(confmap.Provider(layer, "."), nil); err != nil {
			l.problem("", "%v", err)
			return nil
		}
	}
	raw := k.Raw()
	if c.File == "" && raw["accounts"] == nil {
		l.problem("", "no configuration: none of %s is there; name one with --config, or print an example with `graph2mqtt config example`", strings.Join(tried, ", "))
		return nil
	}
	return raw
}

var extensions = []string{".yaml", ".yml", ".toml", ".json"}

// find returns the file to read, or "" and the files that were tried.
func (l *loader) find(file string, c *Config) (found string, tried []string) {
	if file == "" {
		file = l.env.get("GRAPH2MQTT_CONFIG")
	}
	if file != "" {
		return file, nil
	}
	dirs := []string{"."}
	if dir := l.env.base("XDG_CONFIG_HOME", ".config"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "graph2mqtt"))
	}
	for _, dir := range append(dirs, "/etc/graph2mqtt") {
		for _, ext := range extensions {
			name := filepath.Join(dir, "graph2mqtt"+ext)
			if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
				continue
			}
			if found == "" {
				found = name
			} else {
				c.Warnings = append(c.Warnings, fmt.Sprintf("%s is not read: %s comes first", name, found))
			}
		}
		tried = append(tried, filepath.Join(dir, "graph2mqtt.yaml"))
	}
	return found, tried
}

// load parses a file by its extension.
func (l *loader) load(k *koanf.Koanf, name string) error {
	var parser koanf.Parser
	check := func([]byte) error { return nil }
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		parser = yaml.Parser()
	case ".toml":
		parser = toml.Parser()
	case ".json":
		parser, check = jsonparser.Parser(), duplicateKey
	default:
		return fmt.Errorf("want a file that ends in %s", joinWords(extensions, "or"))
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return cause(err)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if len(bytes.TrimSpace(b)) == 0 {
		return errors.New("there is nothing in it")
	}
	if err := withLine(k.Load(rawbytes.Provider(b), parser), b); err != nil {
		return err
	}
	return check(b)
}

// duplicateKey reports a repeated object key, which encoding/json accepts silently, unlike the parsers of YAML and TOML.
func duplicateKey(b []byte) error {
	type level struct {
		keys  map[string]bool // nil: a list
		value bool            // comes next, not a key
	}
	levels := []level{{}}
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if err != nil {
			return nil // its end: that it is JSON is known
		}
		in := &levels[len(levels)-1]
		key, isText := token.(string)
		switch {
		case isText && in.keys != nil && !in.value:
			if in.keys[key] {
				return fmt.Errorf("line %d: mapping key %q already defined", lineOf(b, d.InputOffset()), key)
			}
			in.keys[key], in.value = true, true
			continue
		case token == json.Delim('{'):
			levels = append(levels, level{keys: map[string]bool{}})
			continue
		case token == json.Delim('['):
			levels = append(levels, level{})
			continue
		case token == json.Delim('}'), token == json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
		levels[len(levels)-1].value = false
	}
}

func lineOf(b []byte, offset int64) int {
	return 1 + bytes.Count(b[:min(int(offset), len(b))], []byte("\n"))
}

// withLine returns a parser's error with its line, and without the content of that line.
func withLine(err error, b []byte) error {
	var (
		syntax *json.SyntaxError
		kind   *json.UnmarshalTypeError
		row    interface{ Position() (row, column int) } // of TOML
	)
	const top = "want a mapping of keys at the top"
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", lineOf(b, syntax.Offset), err)
	case errors.As(err, &kind):
		return errors.New(top)
	case errors.As(err, &row):
		line, _ := row.Position()
		return fmt.Errorf("line %d: %s", line, strings.TrimPrefix(err.Error(), "toml: "))
	}
	var all []error
	for line := range strings.SplitSeq(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n"), "\n") {
		line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "yaml: "), "toml: ")
		if strings.Contains(line, "into map[string]") {
			line = top
		}
		all = append(all, errors.New(line))
	}
	return errors.Join(all...)
}

// accounts decodes the accounts and their sensors, whose keys depend on the kinds.
func (l *loader) accounts(c *Config, raw any) {
	all := l.mappings("accounts", raw)
	if m, ok := raw.(map[string]any); raw == nil || ok && len(m) == 0 {
		l.problem("accounts", "missing: want at least one account; `graph2mqtt config example` prints one")
		return
	}
	c.Accounts = map[string]*Account{}
	for id, m := range Sorted(all) {
		path := join("accounts", quoteKey(id))
		switch {
		case !ident.MatchString(id):
			l.problem(path, "want an id of the letters a to z, digits and underscores")
		case id == "bridge":
			l.problem(path, "this id is the bridge's own")
		}
		a := &Account{ID: id, Name: displayName(id)}
		a.setDefaults()
		c.Accounts[id] = a
		l.object(path, m, reflect.ValueOf(a).Elem())
		l.sensors(a, path, m["sensors"])
	}
	l.collisions(c)
}

// mappings returns the mappings below a key by id; null is an empty one.
func (l *loader) mappings(path string, raw any) map[string]map[string]any {
	all, ok := raw.(map[string]any)
	if !ok && raw != nil {
		l.notMapping(path, raw)
	}
	out := map[string]map[string]any{}
	for id, value := range Sorted(all) {
		m, ok := value.(map[string]any)
		if !ok && value != nil {
			l.notMapping(join(path, quoteKey(id)), value)
			continue
		}
		out[id] = m
	}
	return out
}

func (l *loader) sensors(a *Account, path string, raw any) {
	path = join(path, "sensors")
	a.Sensors = map[string]*Sensor{}
	for id, m := range Sorted(l.mappings(path, raw)) {
		at := join(path, quoteKey(id))
		switch {
		case !ident.MatchString(id):
			l.problem(at, "want an id of the letters a to z, digits and underscores")
		case Reserved(id):
			l.problem(at, "this id is a topic of the account's own")
		}
		if s := l.sensor(a, id, at, m); s != nil {
			a.Sensors[id] = s
		}
	}
}

// Reserved reports whether a sensor of this id would take a topic of its account.
func Reserved(id string) bool {
	return slices.Contains([]string{"request", "response", "state", "status", "event"}, id)
}

// sensor decodes one sensor; it returns nil if its kind is unknown.
func (l *loader) sensor(a *Account, id, path string, raw map[string]any) *Sensor {
	kind := l.kind(path, raw["type"])
	if kind == nil {
		return nil
	}
	s := &Sensor{ID: id, Name: displayName(id), Interval: kind.Interval, Read: true, Options: kind.New()}
	if !kind.OwnUpdates {
		s.EnableUpdate = a.EnableUpdate
	}
	if kind.WorkOnly && strings.EqualFold(a.Tenant, "consumers") {
		l.problem(join(path, "type"), "%s is for work and school accounts: the tenant consumers has personal ones only", kind.Name)
	}
	_, s.OwnUpdate = raw["enable_update"]
	l.decodeInto(path, raw, l.otherKindMessage(kind), reflect.ValueOf(s).Elem(), reflect.ValueOf(s.Options).Elem())
	s.Type = kind.Name
	if kind.Check != nil {
		l.check(path, kind.Check(s))
	}
	return s
}

// kind returns the kind of a sensor.
func (l *loader) kind(path string, raw any) *Kind {
	path = join(path, "type")
	var names []string
	for _, k := range l.kinds {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	if raw == nil {
		l.problem(path, "missing: want %s", joinWords(names, "or"))
		return nil
	}
	word, ok := asString(raw)
	if !ok {
		l.problem(path, "want %s, not %s", joinWords(names, "or"), formatValue(raw))
		return nil
	}
	name, err := matchEnum(word, names)
	if err != nil {
		l.problem(path, "%v", err)
		return nil
	}
	return &l.kinds[slices.IndexFunc(l.kinds, func(k Kind) bool { return k.Name == name })]
}

// otherKindMessage returns the message about a key that the kind does not have but others may.
func (l *loader) otherKindMessage(kind *Kind) func(key string, known []string) string {
	return func(key string, known []string) string {
		var have []string
		for _, k := range l.kinds {
			if slices.Contains(keys(structFields(reflect.ValueOf(k.New()).Elem())), key) {
				have = append(have, k.Name)
			}
		}
		if have == nil {
			return unknownKeyMessage(key, known)
		}
		slices.Sort(have)
		return fmt.Sprintf("%s has no such key, only %s; known keys: %s", kind.Name, joinWords(have, "and"), strings.Join(known, ", "))
	}
}

// collisions reports sensors whose entities would have the same ids in Home Assistant, where account and sensor are joined by an
// underscore.
func (l *loader) collisions(c *Config) {
	seen := map[string]string{}
	for account, a := range Sorted(c.Accounts) {
		for sensor := range Sorted(a.Sensors) {
			path := "accounts." + account + ".sensors." + sensor
			id := account + "_" + sensor
			if first, ok := seen[id]; ok {
				l.problem(path, "its entities would have the ids of those of %s", first)
			}
			seen[id] = path
		}
	}
}

// stateDir sets the default state directory.
func (l *loader) stateDir(c *Config) {
	if c.StateDir != "" {
		return
	}
	// systemd separates several by colons.
	if first, _, _ := strings.Cut(l.env.get("STATE_DIRECTORY"), ":"); first != "" {
		c.StateDir = first
		return
	}
	dir := l.env.base("XDG_STATE_HOME", filepath.Join(".local", "state"))
	if dir == "" {
		l.problem("state_dir", "missing: the environment has neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME to find a place by")
		return
	}
	c.StateDir = filepath.Join(dir, "graph2mqtt")
}

// displayName derives a name from an id: "Out of office" from "out_of_office".
func displayName(id string) string {
	name := strings.TrimSpace(strings.ReplaceAll(id, "_", " "))
	if name == "" {
		return id
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// formatDuration formats a duration without trailing zeros: 1h, not 1h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
