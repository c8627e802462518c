package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// Sources name the places that the configuration is loaded from. Each overrides those before it.
type Sources struct {
	File    string         // "": GRAPH2MQTT_CONFIG, else the first file found in the usual directories
	Content []byte         // if not nil, loaded instead of the content of File, which need not exist
	Environ []string       // as os.Environ returns it
	Flags   map[string]any // by path ("log.level"): those that were set on the command line
	// Defaults are overridden by all others. Of the broker they apply as a whole: its address only if no other source names one, and the
	// user name and the password only if no other source names one of the three.
	Defaults map[string]any
}

// Load reads the file, the environment and the flags, and validates everything. Its error is Problems, all of them at once. A
// problem that affects only one account is not an error; it is listed in the account's Problems.
func Load(s Sources, kinds []Kind) (*Config, error) {
	l := &loader{kinds: kinds, env: environment(s.Environ)}
	c := &Config{}
	c.setDefaults()
	c.setIngress(l.env)
	if raw := l.sources(s, c); raw != nil {
		l.Decode("", raw, c)
		l.Check("mqtt", c.MQTT.checkFiles())
		l.Check("http", c.HTTP.checkFiles())
		l.Check("cluster", c.Cluster.checkFiles())
		c.Warnings = append(c.Warnings, c.HTTP.warnings()...)
		l.accounts(c, raw["accounts"], raw["organizations"])
		l.stateDir(c)
		l.machine(c)
	}
	if len(l.Problems) > 0 {
		l.Problems = append(l.Problems, c.AccountProblems()...) // everything at once
	}
	for i, p := range l.Problems {
		l.Problems[i].Line = l.lineOf(p)
	}
	l.Problems.Sort()
	if err := l.Err(); err != nil {
		return nil, err
	}
	slices.Sort(l.Files)
	c.Files = slices.Compact(l.Files)
	c.digests()
	return c, nil
}

// AccountProblems returns the problems of all accounts, sorted by path. `graph2mqtt check` reports them although the bridge can
// run without those accounts.
func (c *Config) AccountProblems() Problems {
	var all Problems
	for _, a := range Sorted(c.Accounts) {
		all = append(all, a.Problems...)
	}
	return all
}

// A loader decodes a whole configuration.
type loader struct {
	schema.Decoder
	kinds []Kind
	env   environment
	root  string // of the file system; "" except in tests
	lines schema.Lines
	// warnings are about sensors.
	warnings []string
	// overridden lists the paths set by the environment or by flags. Their problems have no line, because the file has another value.
	overridden []string
}

// lineOf returns the line that a problem is about, if it is in the file.
func (l *loader) lineOf(p Problem) int {
	for _, path := range l.overridden {
		if p.Path == path || strings.HasPrefix(p.Path, path+".") || strings.HasPrefix(p.Path, path+"[") {
			return 0
		}
	}
	if p.Line != 0 {
		return p.Line
	}
	return l.lines.Line(p.Path)
}

// sources merges all sources. It returns nil if decoding the rest would only report follow-up problems.
func (l *loader) sources(s Sources, c *Config) map[string]any {
	var file map[string]any
	var tried []string
	c.File, tried = l.find(s, c)
	if c.File != "" {
		l.Files = append(l.Files, c.File)
		var err error
		if file, l.lines, err = parseFile(c.File, s.Content); err != nil {
			l.Problems = append(l.Problems, schema.Flatten(c.File, err)...)
			return nil
		}
	}
	values, ignored, problems := l.env.values()
	c.Ignored = ignored
	l.Problems = append(l.Problems, problems...)
	l.overridden = slices.AppendSeq(slices.Collect(maps.Keys(values)), maps.Keys(s.Flags))
	layers := []koanf.Provider{
		confmap.Provider(file, ""), // its keys may have a dot in them
		confmap.Provider(values, "."),
		confmap.Provider(s.Flags, "."),
	}
	raw, err := merge(layers...)
	if err == nil && len(s.Defaults) > 0 {
		raw, err = merge(append([]koanf.Provider{confmap.Provider(withoutBroker(s.Defaults, raw), ".")}, layers...)...)
	}
	if err != nil {
		l.Report("", "%v", err)
		return nil
	}
	if c.File == "" && raw["accounts"] == nil && raw["organizations"] == nil {
		l.Report("", "no configuration: none of %s exists; name one with --config, or write one with `graph2mqtt init`", strings.Join(tried, ", "))
		return nil
	}
	return raw
}

// merge merges layers; each overrides those before it.
func merge(layers ...koanf.Provider) (map[string]any, error) {
	k := koanf.New(".")
	for _, layer := range layers {
		if err := k.Load(layer, nil); err != nil {
			return nil, err
		}
	}
	return k.Raw(), nil
}

// withoutBroker returns the defaults without those of a broker that given overrides: the credentials of one broker must not be sent to
// another.
func withoutBroker(defaults, given map[string]any) map[string]any {
	defaults = maps.Clone(defaults)
	broker, _ := given["mqtt"].(map[string]any)
	address := cmp.Or(broker["url"], broker["urls"])
	if address != nil {
		delete(defaults, "mqtt.url")
	}
	if cmp.Or(address, broker["username"], broker["password"], broker["password_file"]) != nil {
		delete(defaults, "mqtt.username")
		delete(defaults, "mqtt.password")
	}
	return defaults
}

// StateDir returns the state directory, also that of a configuration that is invalid otherwise. Its error is Problems.
func StateDir(s Sources) (string, error) {
	l := &loader{env: environment(s.Environ)}
	c := &Config{}
	c.File, _ = l.find(s, c)
	var file map[string]any
	if c.File != "" {
		file, _, _ = parseFile(c.File, s.Content) // `check` reports why it cannot be read
	}
	values, _, _ := l.env.values()
	for _, source := range []map[string]any{s.Flags, values, file, s.Defaults} {
		if dir, ok := schema.AsString(source["state_dir"]); ok && c.StateDir == "" {
			c.StateDir = dir
		}
	}
	l.stateDir(c)
	return c.StateDir, l.Err()
}

// Find returns the configuration file that Load reads, or "" and the files that it looks for.
func Find(s Sources) (found string, tried []string) {
	l := &loader{env: environment(s.Environ)}
	return l.find(s, &Config{})
}

// named returns the file that a flag or the environment names, or "".
func (s Sources) named() string {
	return cmp.Or(s.File, environment(s.Environ).get("GRAPH2MQTT_CONFIG"))
}

// dirs returns the usual directories of the file.
func (s Sources) dirs() []string {
	dirs := []string{"."}
	if dir := environment(s.Environ).base("XDG_CONFIG_HOME", ".config"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "graph2mqtt"))
	}
	return append(dirs, systemConfigDir)
}

// NewFile returns the file to write where there is none: that which a flag or the environment names, else one in the user's directory.
func (s Sources) NewFile() string {
	if file := s.named(); file != "" {
		return file
	}
	dirs := s.dirs()
	return filepath.Join(dirs[len(dirs)-2], "graph2mqtt.yaml")
}

// Missing reports whether there is no configuration at all: no file, and no account in the environment.
func (s Sources) Missing() bool {
	l := &loader{env: environment(s.Environ)}
	file, _ := l.find(s, &Config{})
	if file != "" {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	values, _, _ := l.env.values()
	for path := range values {
		if strings.HasPrefix(path, "accounts.") || strings.HasPrefix(path, "organizations.") {
			return false
		}
	}
	return true
}

// Broker returns the address of the broker that the configuration has without a file, several as they were given, or "".
func (s Sources) Broker() string {
	values, _, _ := environment(s.Environ).values()
	for _, source := range []map[string]any{s.Flags, values, s.Defaults} {
		for _, key := range []string{"mqtt.url", "mqtt.urls"} {
			if broker, ok := schema.AsString(source[key]); ok && broker != "" {
				return broker
			}
		}
	}
	return ""
}

// LoadListener reads what the listener and the log need from the environment and the flags, where the rest of the configuration is
// missing. Its error is Problems.
func LoadListener(s Sources) (*Config, error) {
	l := &loader{env: environment(s.Environ)}
	c := &Config{}
	c.setDefaults()
	c.setIngress(l.env)
	raw := l.sources(Sources{File: "none.yaml", Content: []byte("{}"), Environ: s.Environ, Flags: s.Flags, Defaults: s.Defaults}, c)
	c.File, c.Files = "", nil
	for key, part := range map[string]any{"http": &c.HTTP, "log": &c.Log} {
		if below, ok := raw[key].(map[string]any); ok {
			l.Decode(key, below, part)
		}
	}
	if _, given := raw["http"]; !given {
		l.Check("http", c.HTTP.Validate())
	}
	l.Check("http", c.HTTP.checkFiles())
	l.Problems.Sort()
	return c, l.Err()
}

// setIngress sets what differs in an app of Home Assistant.
func (c *Config) setIngress(env environment) {
	if c.HTTP.Ingress = env.get("SUPERVISOR_TOKEN") != ""; c.HTTP.Ingress {
		c.HTTP.Listen = ingressListen
	}
}

// find returns the file to read, or "" and the files that were tried.
func (l *loader) find(s Sources, c *Config) (found string, tried []string) {
	if file := s.named(); file != "" {
		return file, nil
	}
	for _, dir := range s.dirs() {
		if dir == systemConfigDir {
			dir = l.root + dir
		}
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

// accounts decodes the accounts, the organizations and their sensors, whose keys depend on the kinds.
func (l *loader) accounts(c *Config, raw, organizations any) {
	all := l.mappings("accounts", raw)
	isEmpty := func(v any) bool { m, ok := v.(map[string]any); return v == nil || ok && len(m) == 0 }
	if isEmpty(raw) && isEmpty(organizations) {
		l.Report("accounts", "is required: want at least one account; `graph2mqtt config example` prints one")
		return
	}
	c.Accounts = map[string]*Account{}
	for id, m := range Sorted(all) {
		path := schema.Join("accounts", schema.QuoteKey(id))
		l.checkAccountID(path, id)
		a := &Account{ID: id, Name: displayName(id)}
		a.setDefaults()
		c.Accounts[id] = a
		l.Decode(path, m, a)
		for _, p := range schema.Flatten(path, a.checkFiles()) {
			p.Line = l.lineOf(p)
			a.Problems = append(a.Problems, p)
		}
		l.sensors(a, path, m["sensors"])
	}
	l.organizations(c, organizations)
	l.collisions(c)
	c.Warnings = append(c.Warnings, l.warnings...)
}

// checkAccountID validates the id of an account or an organization.
func (l *loader) checkAccountID(path, id string) {
	l.Check(path, checkIdent(id))
	if id == "bridge" {
		l.Report(path, "want another id: this one is reserved for the bridge")
	}
}

// mappings returns the mappings below a key by id; null is an empty one.
func (l *loader) mappings(path string, raw any) map[string]map[string]any {
	all, ok := raw.(map[string]any)
	if !ok && raw != nil {
		l.NotMapping(path, raw)
	}
	out := map[string]map[string]any{}
	for id, value := range Sorted(all) {
		m, ok := value.(map[string]any)
		if !ok && value != nil {
			l.NotMapping(schema.Join(path, schema.QuoteKey(id)), value)
			continue
		}
		out[id] = m
	}
	return out
}

func (l *loader) sensors(a *Account, path string, raw any) {
	path = schema.Join(path, "sensors")
	a.Sensors = map[string]*Sensor{}
	for id, m := range Sorted(l.mappings(path, raw)) {
		at := schema.Join(path, schema.QuoteKey(id))
		l.Check(at, checkIdent(id))
		if Reserved(id) {
			l.Report(at, "want another id: this one is reserved for a topic of the account")
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
	s := &Sensor{ID: id, Name: strings.ToLower(displayName(id)), Interval: kind.Interval, Read: !kind.WriteOnly, Personal: entra.IsPersonalTenant(a.Tenant), Application: a.Application, Options: kind.New()}
	if !kind.OwnUpdates {
		s.EnableUpdate = a.EnableUpdate
	}
	if kind.WorkOnly && s.Personal {
		l.Report(schema.Join(path, "type"), "%s is for work and school accounts: the tenant consumers has personal ones only", kind.Name)
	}
	if a.Application && !kind.Application {
		l.Report(schema.Join(path, "type"), "%s is for accounts, to which a user signs in; organizations have %s", kind.Name, l.applicationKinds())
	}
	_, s.OwnUpdate = raw["enable_update"]
	l.DecodeWith(path, raw, l.otherKindMessage(kind), s, decodeTarget(s.Options))
	s.Type = kind.Name
	if s.Interval < kind.AdvisedInterval && s.Read {
		l.warnings = append(l.warnings, fmt.Sprintf("%s.interval: %s is less than %s; Microsoft allows asking Teams for changes once a day, and may throttle or suspend who asks often", path, s.Interval, kind.AdvisedInterval))
	}
	if kind.Check != nil {
		l.Check(path, kind.Check(s))
	}
	return s
}

// applicationKinds names the kinds that organizations can have.
func (l *loader) applicationKinds() string {
	var names []string
	for _, k := range l.kinds {
		if k.Application {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return schema.JoinWords(names, "and")
}

// kind returns the kind of a sensor.
func (l *loader) kind(path string, raw any) *Kind {
	path = schema.Join(path, "type")
	var names []string
	for _, k := range l.kinds {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	known := strings.Join(names, ", ")
	if raw == nil {
		l.Report(path, "is required: want one of %s", known)
		return nil
	}
	word, ok := schema.AsString(raw)
	if !ok {
		l.Report(path, "want one of %s, not %s", known, schema.Format(raw))
		return nil
	}
	if i := slices.IndexFunc(l.kinds, func(k Kind) bool {
		return slices.ContainsFunc(k.Aliases, func(a string) bool { return strings.EqualFold(a, word) })
	}); i >= 0 {
		l.Report(path, "want one of %s, not %s; did you mean %s?", known, schema.Quote(word), l.kinds[i].Name)
		return nil
	}
	name, err := schema.MatchEnum(word, names)
	if err != nil {
		l.Report(path, "%v", err)
		return nil
	}
	return &l.kinds[slices.IndexFunc(l.kinds, func(k Kind) bool { return k.Name == name })]
}

// otherKindMessage returns the message about a key that the kind does not have but others may.
func (l *loader) otherKindMessage(kind *Kind) func(key string, known []string) string {
	return func(key string, known []string) string {
		var have []string
		for _, k := range l.kinds {
			if slices.Contains(schema.Configuration.Keys(decodeTarget(k.New())), key) {
				have = append(have, k.Name)
			}
		}
		if have == nil {
			return ""
		}
		slices.Sort(have)
		return fmt.Sprintf("%s has no such key, only %s; known keys: %s", kind.Name, schema.JoinWords(have, "and"), strings.Join(known, ", "))
	}
}

// collisions reports sensors whose entities would have the same ids in Home Assistant, where account and sensor are joined by an
// underscore.
func (l *loader) collisions(c *Config) {
	seen := map[string]string{}
	for account, a := range Sorted(c.Accounts) {
		for sensor := range Sorted(a.Sensors) {
			path := a.Path() + ".sensors." + sensor
			id := account + "_" + sensor
			if first, ok := seen[id]; ok {
				l.Report(path, "want another id: its entities would have the same ids as those of %s", first)
			}
			seen[id] = path
		}
	}
}

// systemConfigDir holds the configuration of a system service, and systemStateDir, which its package creates, its state.
const (
	systemConfigDir = "/etc/graph2mqtt"
	systemStateDir  = "/var/lib/graph2mqtt"
)

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
	// The command line signs in for the service, so both use the same directory.
	if info, err := os.Stat(l.root + systemStateDir); filepath.Dir(c.File) == l.root+systemConfigDir && err == nil && info.IsDir() {
		c.StateDir = l.root + systemStateDir
		return
	}
	dir := l.env.base("XDG_STATE_HOME", filepath.Join(".local", "state"))
	if dir == "" {
		l.Report("state_dir", "is required: its default needs STATE_DIRECTORY, XDG_STATE_HOME or HOME in the environment")
		return
	}
	c.StateDir = filepath.Join(dir, "graph2mqtt")
}

// decodeTarget returns the struct to decode a kind's options into: the result of the Options method if the value from the kind's
// New has one, otherwise that value.
func decodeTarget(v any) any {
	if o, ok := v.(interface{ Options() any }); ok {
		return o.Options()
	}
	return v
}

// displayName derives a name from an id: "Out of office" from "out_of_office".
func displayName(id string) string {
	name := strings.TrimSpace(strings.ReplaceAll(id, "_", " "))
	if name == "" {
		return id
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// machine validates what the program reads from the environment besides its configuration.
func (l *loader) machine(c *Config) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		if value := l.env.get(name); value != "" && !isProxy(value) {
			l.Report(name, "want the address of a proxy, such as http://proxy.example:3128; as it is, it would be ignored")
		}
	}
	zone := strings.TrimPrefix(l.env.get("TZ"), ":")
	if zone == "" {
		return
	}
	if filepath.IsAbs(zone) {
		if b, err := schema.ReadFile(zone, maxFile); err == nil {
			if _, err := time.LoadLocationFromTZData("TZ", b); err == nil {
				return
			}
		}
	} else if _, err := time.LoadLocation(zone); err == nil {
		return
	}
	c.Warnings = append(c.Warnings, fmt.Sprintf("TZ: the time zone %s is unknown, so UTC is used; want a name such as Europe/Berlin", schema.Quote(zone)))
}

// isProxy reports whether net/http can use the address of a proxy, which it ignores or misunderstands otherwise.
func isProxy(address string) bool {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
